//! Checkpoints: what a turn changed, going back, and forks from before a turn.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{AppBuilder, Client, TestApp, until};

const WHICH: &str = "Which number did I ask you to remember?";

/// A session of alice's that keeps checkpoints, in a folder of its own.
async fn session(client: &Client) -> String {
    let body = json!({"user_id": "alice", "subdir": "one", "options": {"checkpoints": true}});
    client.session_with(&body).await
}

/// The turn that a prompt made.
async fn turn(client: &Client, session: &str, prompt: &str) -> String {
    client.ask(session, prompt).await.expect(200).text("turn_id")
}

fn in_workspace(app: &TestApp, path: &str) -> PathBuf {
    app.workspace("alice").join("one").join(path)
}

async fn diff(client: &Client, session: &str, turn: &str, query: &str) -> crate::support::Answer {
    client
        .get(&format!("/api/v1/sessions/{session}/turns/{turn}/diff{query}"))
        .await
}

async fn rewind(client: &Client, session: &str, turn: &str, body: &Value) -> crate::support::Answer {
    client
        .post(&format!("/api/v1/sessions/{session}/turns/{turn}/rewind"), body)
        .await
}

async fn checkpoints(client: &Client, session: &str) -> Vec<Value> {
    let path = format!("/api/v1/sessions/{session}/checkpoints");
    let listed = client.get(&path).await.expect(200);
    listed.body["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_a_command_changed_is_told_in_its_turns_diff() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = session(&client).await;
    turn(
        &client,
        &id,
        "% bash printf 'one\\ntwo\\n' > a.txt; printf x > gone\n% say done",
    )
    .await;
    let second = turn(
        &client,
        &id,
        "% bash printf 'one\\n2\\n' > a.txt; rm gone; mkdir sub; printf new > sub/b; chmod 755 sub/b\n% say done",
    )
    .await;
    let told = diff(&client, &id, &second, "").await.expect(200).body;
    let files: Vec<_> = told["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| (file["path"].as_str().unwrap(), file["status"].as_str().unwrap()))
        .collect();
    assert_eq!(
        files,
        [("a.txt", "modified"), ("gone", "deleted"), ("sub/b", "added")]
    );
    let lines = &told["files"][0]["hunks"][0]["lines"];
    assert_eq!(
        lines[1],
        json!({"kind": "removed", "old_line": 2, "new_line": null, "text": "two"})
    );
    assert_eq!(told["files"][2]["new_mode"], "100755");
    let text = diff(&client, &id, &second, "?format=unified&path=a.txt&context=0")
        .await
        .expect(200);
    assert!(text.header("content-type").starts_with("text/x-diff"));
    assert_eq!(
        text.raw,
        "diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -2 +2 @@\n-two\n+2\n"
    );
    let wrong = diff(&client, &id, &second, "?path=../x").await;
    wrong.problem(422, "invalid_query");
    // A turn that changed nothing has an empty one, and its checkpoints cost nothing.
    let third = turn(&client, &id, "hello").await;
    let nothing = diff(&client, &id, &third, "").await.expect(200).body;
    assert_eq!(nothing["files"], json!([]));
    let listed = checkpoints(&client, &id).await;
    let told: Vec<_> = listed
        .iter()
        .map(|kept| {
            (
                kept["turn_id"].as_str().unwrap(),
                kept["moment"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told[..3],
        [(&*third, "after"), (&*third, "before"), (&*second, "after")]
    );
    assert_eq!(listed.len(), 6);
    assert_eq!(
        (
            &listed[0]["files"],
            &listed[0]["stored_bytes"],
            &listed[0]["failure"]
        ),
        (&json!(2), &json!(0), &Value::Null)
    );
    let page = client
        .get(&format!("/api/v1/sessions/{id}/checkpoints?limit=2"))
        .await
        .expect(200);
    let rest = client
        .get(&format!(
            "/api/v1/sessions/{id}/checkpoints?cursor={}",
            page.text("next_cursor")
        ))
        .await
        .expect(200);
    assert_eq!(rest.body["data"].as_array().unwrap()[..], listed[2..]);
}

#[tokio::test]
async fn a_rewind_makes_files_and_conversation_what_they_were_and_can_itself_be_gone_back_from() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = session(&client).await;
    client
        .answer(&id, "Remember the number 1.\n% write a.txt first")
        .await;
    client.answer(&id, "Remember the number 1.").await;
    let second = turn(&client, &id, "Remember the number 2.").await;
    let third = turn(
        &client,
        &id,
        "% bash echo third > a.txt; mkdir new; echo x > new/file\n% say done",
    )
    .await;
    client.answer(&id, "Remember the number 3.").await;
    let messages = client
        .get(&format!("/api/v1/sessions/{id}/messages"))
        .await
        .expect(200)
        .body;
    let before = client
        .get(&format!("/api/v1/sessions/{id}"))
        .await
        .expect(200)
        .body;
    // Before the second: the first is known, and no more.
    let rewound = rewind(&client, &id, &second, &json!({})).await.expect(200);
    assert_eq!(rewound.text("session_id"), id);
    assert_eq!(
        std::fs::read_to_string(in_workspace(&app, "a.txt")).unwrap(),
        "first\n"
    );
    assert!(!in_workspace(&app, "new").exists());
    assert_eq!(
        client.answer(&id, WHICH).await,
        "You asked me to remember the number 1."
    );
    let asked = app.model_requests().await.pop().unwrap()["body"]["messages"].to_string();
    assert!(
        !asked.contains("number 2") && !asked.contains("number 3"),
        "{asked}"
    );
    // The log has all of it, and says so.
    let after = client
        .get(&format!("/api/v1/sessions/{id}/messages"))
        .await
        .expect(200)
        .body;
    let all = messages["data"].as_array().unwrap();
    assert_eq!(after["data"].as_array().unwrap()[..all.len()], all[..]);
    let events = client
        .get(&format!("/api/v1/sessions/{id}/events?types=session_rewound"))
        .await
        .expect(200)
        .body;
    let event = &events["data"][0];
    assert_eq!(
        (&event["before_turn"], &event["files"], &event["conversation"]),
        (&json!(second), &json!(true), &json!(true))
    );
    assert_eq!(events["data"].as_array().unwrap().len(), 1);
    // Forward again, to a turn that is no longer part of the conversation; the files stay.
    rewind(&client, &id, &third, &json!({"files": false}))
        .await
        .expect(200);
    assert_eq!(
        client.answer(&id, WHICH).await,
        "You asked me to remember the number 2."
    );
    assert!(!in_workspace(&app, "new").exists());
    // Files alone.
    std::fs::write(in_workspace(&app, "a.txt"), "by hand").unwrap();
    rewind(&client, &id, &third, &json!({"conversation": false}))
        .await
        .expect(200);
    assert_eq!(
        std::fs::read_to_string(in_workspace(&app, "a.txt")).unwrap(),
        "first\n"
    );
    assert_eq!(
        client.answer(&id, WHICH).await,
        "You asked me to remember the number 2."
    );
    // Done again, it comes to the same; and it is the same session.
    for _ in 0..2 {
        rewind(&client, &id, &second, &json!({})).await.expect(200);
    }
    let now = client
        .get(&format!("/api/v1/sessions/{id}"))
        .await
        .expect(200)
        .body;
    assert_eq!(now["created_at"], before["created_at"]);
    // It holds without this server, and without the agent's home.
    let folder = app.stop();
    std::fs::remove_dir_all(folder.path().join("homes")).unwrap();
    let app = AppBuilder::real().in_folder_of(&folder).start();
    assert_eq!(
        app.client().answer(&id, WHICH).await,
        "You asked me to remember the number 1."
    );
}

#[tokio::test]
async fn a_rewind_to_the_beginning_leaves_nothing_to_remember() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = session(&client).await;
    let first = turn(&client, &id, "Remember the number 7.").await;
    rewind(&client, &id, &first, &json!({})).await.expect(200);
    let text = client.answer(&id, WHICH).await;
    assert!(!text.contains('7'), "{text}");
    let second = turn(&client, &id, "Remember the number 8.").await;
    client.answer(&id, "Remember the number 9.").await;
    rewind(&client, &id, &second, &json!({})).await.expect(200);
    let text = client.answer(&id, WHICH).await;
    assert!(!text.contains(['7', '8', '9']), "{text}");
}

#[tokio::test]
async fn a_fork_can_begin_before_a_turn_with_the_files_as_they_were() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = session(&client).await;
    client.answer(&id, "% write a.txt first\n% say done").await;
    client.answer(&id, "Remember the number 1.").await;
    let second = turn(&client, &id, "Remember the number 2.\n% write a.txt second").await;
    client.answer(&id, "Remember the number 3.").await;
    let fork = client
        .post(
            &format!("/api/v1/sessions/{id}/fork"),
            &json!({"turn_id": second, "subdir": "two", "copy_workspace": true}),
        )
        .await
        .expect(201);
    let fork = fork.text("session_id");
    let read = |path: &str| std::fs::read_to_string(app.workspace("alice").join(path)).unwrap();
    assert_eq!(
        (read("one/a.txt").as_str(), read("two/a.txt").as_str()),
        ("second\n", "first\n")
    );
    assert_eq!(
        client.answer(&fork, WHICH).await,
        "You asked me to remember the number 1."
    );
    assert_eq!(
        client.answer(&id, WHICH).await,
        "You asked me to remember the number 3."
    );
    // A whole fork of a session that went back has what it went on with.
    rewind(&client, &id, &second, &json!({})).await.expect(200);
    client.answer(&id, "Remember the number 4.").await;
    let whole = client
        .post(&format!("/api/v1/sessions/{id}/fork"), &json!({}))
        .await
        .expect(201)
        .text("session_id");
    let messages = client
        .get(&format!("/api/v1/sessions/{whole}/messages"))
        .await
        .expect(200)
        .body
        .to_string();
    for (word, is_there) in [
        ("number 1.", true),
        ("number 2.", false),
        ("number 3.", false),
        ("number 4.", true),
    ] {
        assert_eq!(messages.contains(word), is_there, "{word} {messages}");
    }
    assert_eq!(
        client.answer(&whole, WHICH).await,
        "You asked me to remember the number 4."
    );
    let both = json!({"turn_id": second, "message_id": 1});
    client
        .post(&format!("/api/v1/sessions/{id}/fork"), &both)
        .await
        .problem(422, "validation_failed");
}

#[tokio::test]
async fn a_session_that_keeps_none_has_none_and_the_servers_default_is_for_those_that_do_not_say() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let id = client.session("alice").await;
    let turn_id = turn(&client, &id, "hello").await;
    assert_eq!(checkpoints(&client, &id).await, Vec::<Value>::new());
    diff(&client, &id, &turn_id, "")
        .await
        .problem(404, "checkpoint_not_found");
    rewind(&client, &id, &turn_id, &json!({}))
        .await
        .problem(404, "checkpoint_not_found");
    client
        .post(
            &format!("/api/v1/sessions/{id}/fork"),
            &json!({"turn_id": turn_id, "subdir": "two", "copy_workspace": true}),
        )
        .await
        .problem(404, "checkpoint_not_found");
    let unknown = format!("trn_{}", "0".repeat(32));
    diff(&client, &id, &unknown, "")
        .await
        .problem(404, "turn_not_found");
    rewind(&client, &id, &unknown, &json!({}))
        .await
        .problem(404, "turn_not_found");
    rewind(
        &client,
        &id,
        &turn_id,
        &json!({"files": false, "conversation": false}),
    )
    .await
    .problem(422, "validation_failed");
    assert!(
        !app.folder.path().join("checkpoints").exists(),
        "nothing is made for nothing"
    );
    let app = AppBuilder::fake()
        .with(|settings| settings.checkpoints.enabled = true)
        .start();
    let client = app.client();
    let (on, off) = (
        client.session("alice").await,
        client
            .session_with(&json!({"user_id": "alice", "options": {"checkpoints": false}}))
            .await,
    );
    for (id, kept) in [(on, 2), (off, 0)] {
        client.answer(&id, "hello").await;
        assert_eq!(checkpoints(&client, &id).await.len(), kept);
    }
}

#[tokio::test]
async fn a_busy_session_does_not_go_back() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = session(&client).await;
    let first = turn(&client, &id, "hello").await;
    let mut stream = client.stream(&id, "% words 500 every 50ms").await;
    stream.until("text_delta").await;
    rewind(&client, &id, &first, &json!({}))
        .await
        .problem(409, "session_busy");
    client
        .post(&format!("/api/v1/sessions/{id}/interrupt"), &json!({}))
        .await
        .expect(200);
    stream.rest().await;
    rewind(&client, &id, &first, &json!({})).await.expect(200);
}

#[tokio::test]
async fn a_workspace_that_is_too_large_does_not_end_a_turn_and_is_told() {
    let app = AppBuilder::real()
        .with(|settings| {
            settings.checkpoints.max_entries = 3;
            settings.checkpoints.max_file_bytes = 4;
        })
        .start();
    let client = app.client();
    let id = session(&client).await;
    let first = turn(
        &client,
        &id,
        "% bash printf 12345 > big; printf 1 > a\n% say done",
    )
    .await;
    let listed = checkpoints(&client, &id).await;
    assert_eq!(
        (&listed[0]["files"], &listed[0]["not_kept"]),
        (&json!(1), &json!(1))
    );
    let second = turn(
        &client,
        &id,
        "% bash printf 123456 > big; touch b c d\n% say done",
    )
    .await;
    let listed = checkpoints(&client, &id).await;
    assert_eq!(listed[0]["failure"], "too_many_entries");
    diff(&client, &id, &second, "")
        .await
        .problem(404, "checkpoint_not_found");
    rewind(&client, &id, &second, &json!({})).await.expect(200);
    assert_eq!(
        std::fs::read_to_string(in_workspace(&app, "big")).unwrap(),
        "123456"
    );
    assert!(!in_workspace(&app, "d").exists());
    let events = client
        .get(&format!("/api/v1/sessions/{id}/events?types=session_rewound"))
        .await
        .expect(200)
        .body;
    assert_eq!(events["data"][0]["not_kept"], json!(["big"]));
    rewind(&client, &id, &first, &json!({})).await.expect(200);
    assert!(!in_workspace(&app, "big").exists());
}

#[tokio::test]
async fn what_is_kept_is_the_servers_own_and_goes_with_its_session_its_user_and_its_tenant() {
    let app = AppBuilder::real()
        .with(|settings| settings.checkpoints.enabled = true)
        .with_keys(&[
            ("root", "admin", "default", None),
            ("acme", "owner", "acme", None),
        ])
        .start();
    let folder = app.folder.path().join("checkpoints");
    let kept = || {
        let tenants = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        tenants
            .flat_map(|tenant| std::fs::read_dir(tenant.path()).into_iter().flatten().flatten())
            .count()
    };
    let acme = app.client_with("acme");
    for user in ["alice", "bob"] {
        let id = acme.session(user).await;
        let path = folder.display();
        let text = acme
            .answer(
                &id,
                &format!("% bash ls {path} && echo seen; echo over\n% results"),
            )
            .await;
        assert!(text.contains("over"), "{text}");
        if rustix_is_root() {
            assert!(!text.contains("seen"), "{text}");
        }
    }
    let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(kept(), 2);
    let root = app.client_with("root");
    root.delete("/api/v1/admin/tenants/acme/users/alice")
        .await
        .expect(200);
    assert_eq!(kept(), 1);
    root.delete("/api/v1/admin/tenants/acme").await.expect(200);
    assert_eq!(kept(), 0);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

/// Whether the tests run as root: then agents run under users of their own, and are shut in.
fn rustix_is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}

#[tokio::test]
async fn what_is_kept_goes_with_a_session_that_is_no_longer_kept() {
    let app = AppBuilder::fake()
        .with(|settings| {
            settings.checkpoints.enabled = true;
            settings.session.ttl = Duration::from_millis(1500);
            settings.session.removal_delay = Some(Duration::from_millis(100));
            settings.session.sweep_interval = Duration::from_millis(50);
        })
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "hello").await;
    let folder = app.folder.path().join("checkpoints");
    let tenant = std::fs::read_dir(&folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert_eq!(std::fs::read_dir(&tenant).unwrap().count(), 1);
    until("its checkpoints are gone", async || {
        (std::fs::read_dir(&tenant).unwrap().count() == 0).then_some(())
    })
    .await;
}
