//! What an agent uses up is its own: a full disk, and a crowd of files.

use std::time::Duration;

use serde_json::json;

use crate::support::AppBuilder;

#[tokio::test]
async fn a_turn_whose_folders_hold_too_much_is_ended_with_all_that_it_started() {
    let app = AppBuilder::real()
        .with(|settings| {
            settings.isolation.disk_max_bytes = 64 * 1024 * 1024;
            settings.isolation.disk_interval = Duration::from_millis(100);
        })
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    client
        .ask(
            &id,
            "% bash (i=0; while true; do i=$((i+1)); head -c 4000000 /dev/zero > f$i; done) & sleep 600",
        )
        .await
        .problem(507, "workspace_full");
    let used = || {
        let entries = std::fs::read_dir(app.workspace("alice")).unwrap();
        entries
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum::<u64>()
    };
    let left = used();
    for entry in std::fs::read_dir(app.workspace("alice")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert!(left > 64 * 1024 * 1024 && left < 8 * 1024 * 1024 * 1024);
    assert_eq!(
        client.answer(&id, "% say again").await,
        "again",
        "there is room again"
    );
    assert_eq!(used(), 0, "what filled the disk has ended");
}

#[tokio::test]
async fn a_turn_that_makes_too_many_files_is_ended() {
    let app = AppBuilder::real()
        .with(|settings| {
            settings.isolation.disk_max_entries = 2000;
            settings.isolation.disk_interval = Duration::from_millis(100);
        })
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    let many = r#"% bash perl -e 'for (1 .. 1000000) { open F, ">", "f$_" } sleep 600'"#;
    client.ask(&id, many).await.problem(507, "workspace_full");
    let turns = client
        .get(&format!("/api/v1/sessions/{id}/turns"))
        .await
        .expect(200);
    assert_eq!(turns.body["data"][0]["status"], json!("failed"));
}
