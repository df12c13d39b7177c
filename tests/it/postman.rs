//! The Postman collection, run by newman against a live server: a request for every native operation, each with assertions.

use std::process::{Command, Stdio};
use std::time::Duration;

use secrecy::SecretString;

use crate::support::AppBuilder;

/// newman runs each assertion in a sandbox of its own, which takes long on a machine that does other things too.
const PATIENCE: Duration = Duration::from_mins(5);

#[tokio::test]
async fn the_postman_collection_asks_for_every_operation_and_gets_what_it_expects() {
    let key = "an-admin-key-of-the-collection";
    let app = AppBuilder::real()
        .with(|settings| {
            settings.auth.admin_key = Some(SecretString::from(key));
            settings.auth.sealing_key = Some(SecretString::from("07".repeat(32)));
        })
        .start();
    let mut command = tokio::process::Command::from(Command::new("node"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("scripts/check-postman.mjs")
        .arg(format!("http://{}", app.address))
        .env("PADDOCK_ADMIN_KEY", key)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.expect("newman ends in time").unwrap();
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{told}");
    assert!(told.contains(" 0 wrong"), "{told}");
}
