//! Tenants, keys and the audit from the command line, beside a server on the same store.

use std::path::Path;
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::Value;
use sqlx::Connection as _;

use crate::support::{Client, Served, paddock, until};

/// What a command prints, and whether it did what it was told.
fn run(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = paddock(folder).args(arguments).output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(printed).unwrap())
}

fn done(folder: &Path, arguments: &[&str]) -> String {
    let (done, printed) = run(folder, arguments);
    assert!(done, "{arguments:?}: {printed}");
    printed.trim().to_owned()
}

fn json(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let printed = done(folder, &[arguments, &["--json"]].concat());
    printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn the_first_start_makes_one_key_and_shows_it_once() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let start = || {
        let mut command = paddock(folder.path());
        command.arg("serve").env("PADDOCK__AUTH__ENABLED", "true");
        Served::of(command, Arc::clone(&folder))
    };
    let first = start();
    let key = first
        .welcome
        .split_whitespace()
        .find(|word| word.starts_with("pdk_key_"))
        .unwrap()
        .to_owned();
    first
        .client()
        .get("/api/v1/sessions")
        .await
        .problem(401, "unauthenticated");
    let admin = Client::new(first.address, Some(key.clone()));
    admin.get("/api/v1/admin/tenants").await.expect(200);
    first.signal(Signal::INT);
    assert_eq!(first.ended().0, Some(0));
    let second = start();
    assert!(!second.welcome.contains("pdk_key_"), "{}", second.welcome);
    let admin = Client::new(second.address, Some(key));
    admin.get("/api/v1/admin/tenants").await.expect(200);
}

#[tokio::test]
async fn tenants_and_keys_are_made_beside_a_server_that_runs() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let at = folder.path();
    let made = json(at, &["tenant", "create", "acme"]);
    assert_eq!(made[0]["name"], "acme");
    let (again, printed) = run(at, &["tenant", "create", "acme"]);
    assert!(
        !again && printed.contains("a tenant of this name exists"),
        "{printed}"
    );

    let limits = ["tenant", "update", "acme", "--limits", r#"{"turns_max": 3}"#];
    assert_eq!(json(at, &limits)[0]["limits"]["turns_max"], 3);
    assert!(!run(at, &["tenant", "update", "acme", "--limits", r#"{"turns": 3}"#]).0);

    let mut command = paddock(at);
    command.arg("serve").env("PADDOCK__AUTH__ENABLED", "true");
    let served = Served::of(command, Arc::clone(&folder));
    let key = [
        "key", "create", "--tenant", "acme", "--name", "ci", "--user", "alice",
    ];
    let printed = done(at, &key);
    let client = Client::new(served.address, Some(printed));
    client.session("alice").await;
    let keys = json(at, &["key", "list", "--tenant", "acme"]);
    assert_eq!((keys.len(), keys[0]["user_id"].as_str()), (1, Some("alice")));
    let id = keys[0]["key_id"].as_str().unwrap();

    done(at, &["tenant", "suspend", "acme"]);
    until("the server knows", async || {
        let answer = client.get("/api/v1/sessions").await;
        (answer.status == 403).then(|| answer.problem(403, "tenant_suspended"))
    })
    .await;
    done(at, &["tenant", "unsuspend", "acme"]);
    let usage = json(at, &["usage", "--by", "user", "--tenant", "acme"]);
    assert_eq!(usage, [] as [Value; 0], "nobody asked the model");
    done(at, &["key", "revoke", "--tenant", "acme", id]);
    until("the server knows", async || {
        (client.get("/api/v1/sessions").await.status == 401).then_some(())
    })
    .await;
    let actions: Vec<_> = json(at, &["audit", "list", "--tenant", "acme"])
        .iter()
        .map(|entry| entry["action"].as_str().unwrap().to_owned())
        .filter(|action| action != "key_refused")
        .collect();
    let changes = [
        "key_revoked",
        "tenant_changed",
        "tenant_changed",
        "key_created",
        "tenant_changed",
        "tenant_created",
    ];
    assert_eq!(actions, changes);
}

#[tokio::test]
async fn whatever_is_changed_in_the_audit_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for tenant in ["one", "two", "three"] {
        done(at, &["tenant", "create", tenant]);
    }
    let verified = json(at, &["audit", "verify"]);
    assert_eq!(verified[0]["entries"], 3);
    assert_eq!(verified[0]["hash"].as_str().unwrap().len(), 64);
    let file = at.join("data/paddock.db");
    let mut database = sqlx::SqliteConnection::connect(&format!("sqlite://{}", file.display()))
        .await
        .unwrap();
    for (change, undo, found) in [
        (
            "UPDATE audit_entries SET text = replace(text, 'two', 'six') WHERE number = 2",
            "UPDATE audit_entries SET text = replace(text, 'six', 'two') WHERE number = 2",
            "entry 2 does not follow",
        ),
        (
            "UPDATE audit_entries SET number = 9 WHERE number = 2",
            "UPDATE audit_entries SET number = 2 WHERE number = 9",
            "entry 3 does not follow",
        ),
        (
            "UPDATE audit_entries SET number = -3 WHERE number = 3",
            "UPDATE audit_entries SET number = 3 WHERE number = -3",
            "ends with entry 2, and once had 3",
        ),
    ] {
        sqlx::query(change).execute(&mut database).await.unwrap();
        let (whole, printed) = run(at, &["audit", "verify"]);
        assert!(!whole && printed.contains(found), "{change}: {printed}");
        sqlx::query(undo).execute(&mut database).await.unwrap();
        done(at, &["audit", "verify"]);
    }
}
