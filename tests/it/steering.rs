//! Steering a live session, with the real CLI.

use serde_json::{Value, json};

use crate::support::{AppBuilder, joined, until};

async fn model_of_last_request(app: &crate::support::TestApp) -> Value {
    app.model_requests().await.pop().unwrap()["body"]["model"].take()
}

#[tokio::test]
async fn an_interrupt_keeps_what_was_said_and_the_session_goes_on_with_its_context() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "Remember the number 7.").await;
    let mut stream = client
        .stream(&id, "% bash touch made\n% words 500 every 50ms")
        .await;
    stream.until("tool_result").await;
    let mut events = stream.until("text_delta").await;
    let interrupted = client
        .post(&format!("/api/v1/sessions/{id}/interrupt"), &json!({}))
        .await
        .expect(200);
    assert_eq!(interrupted.body["interrupted"], true);
    events.extend(stream.rest().await);
    assert_eq!(events.last().unwrap()["code"], "turn_interrupted");
    let turn = client
        .get(&format!(
            "/api/v1/sessions/{id}/turns/{}",
            interrupted.text("turn_id")
        ))
        .await
        .expect(200);
    assert_eq!(turn.text("status"), "interrupted");
    assert_eq!(turn.body["tool_calls"][0]["tool"], "Bash");
    assert!(turn.text("text").starts_with("word1"), "{}", turn.body);
    assert!(joined(&events).starts_with("word1"), "{events:?}");
    assert_eq!(
        client
            .answer(&id, "Which number did I ask you to remember?")
            .await,
        "You asked me to remember the number 7."
    );
    let idle = client
        .post(&format!("/api/v1/sessions/{id}/interrupt"), &json!({}))
        .await
        .expect(200);
    assert_eq!(
        (&idle.body["interrupted"], &idle.body["turn_id"]),
        (&json!(false), &Value::Null)
    );
}

#[tokio::test]
async fn a_new_model_and_mode_are_taken_by_the_live_agent_and_by_the_next() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let body = json!({"user_id": "alice", "options": {"model": "claude-opus-4-5", "permission_mode": "dontAsk", "allowed_tools": []}});
    let id = client.session_with(&body).await;
    client.answer(&id, "hello").await;
    let change = json!({"model": "claude-haiku-4-5", "permission_mode": "acceptEdits"});
    let changed = client
        .patch(&format!("/api/v1/sessions/{id}"), &change)
        .await
        .expect(200);
    assert_eq!(changed.body["options"]["model"], "claude-haiku-4-5");
    assert_eq!(changed.body["agent_live"], true, "it was not replaced");
    client.answer(&id, "% write a.txt x\n% say done").await;
    assert_eq!(model_of_last_request(&app).await, "claude-haiku-4-5");
    assert!(
        app.workspace("alice").join("a.txt").exists(),
        "the new mode allows it"
    );

    let folder = app.stop();
    let app = AppBuilder::real().in_folder_of(&folder).start();
    app.client().answer(&id, "hello").await;
    assert_eq!(model_of_last_request(&app).await, "claude-haiku-4-5");
}

#[tokio::test]
async fn a_mode_that_a_live_agent_does_not_take_is_there_with_the_next_turn() {
    let app = AppBuilder::real()
        // As root, the CLI takes this mode only where it is told that it is fenced.
        .with(|settings| {
            settings.agent.environment.insert("IS_SANDBOX".into(), "1".into());
            settings.defaults.allowed_tools = Vec::new();
        })
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "Remember the number 7.").await;
    let change = json!({"permission_mode": "bypassPermissions"});
    client
        .patch(&format!("/api/v1/sessions/{id}"), &change)
        .await
        .expect(200);
    client
        .answer(&id, "% bash chmod 700 .\n% bash touch made\n% say done")
        .await;
    assert!(app.workspace("alice").join("made").exists());
    assert_eq!(
        client
            .answer(&id, "Which number did I ask you to remember?")
            .await,
        "You asked me to remember the number 7."
    );
}

#[tokio::test]
async fn the_context_is_told_also_of_a_session_whose_agent_does_not_live() {
    let app = AppBuilder::real()
        .with(|settings| settings.agent.prewarm = false)
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    let context = client
        .get(&format!("/api/v1/sessions/{id}/context"))
        .await
        .expect(200)
        .body;
    assert!(context["total_tokens"].as_u64().unwrap() > 100, "{context}");
    assert!(
        context["max_tokens"].as_u64() > context["total_tokens"].as_u64(),
        "{context}"
    );
    assert!(!context["categories"].as_array().unwrap().is_empty());
    assert_eq!(app.model_requests().await.len(), 0, "no model is asked");
}

#[tokio::test]
async fn files_are_put_back_to_where_they_were_before_a_turn() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "% write a.txt one\n% say done").await;
    let second = client
        .ask(
            &id,
            "% read a.txt\n% write a.txt two\n% write b.txt new\n% say done",
        )
        .await
        .expect(200)
        .text("turn_id");
    let workspace = app.workspace("alice");
    let read = |name: &str| std::fs::read_to_string(workspace.join(name)).ok();
    let path = format!("/api/v1/sessions/{id}/rewind");
    let rehearsal = client
        .post(&path, &json!({"turn_id": second, "dry_run": true}))
        .await
        .expect(200);
    assert_eq!(
        rehearsal.body["files"].as_array().unwrap().len(),
        2,
        "{}",
        rehearsal.body
    );
    assert_eq!(read("a.txt").as_deref(), Some("two\n"));
    client.post(&path, &json!({"turn_id": second})).await.expect(200);
    assert_eq!((read("a.txt").as_deref(), read("b.txt")), (Some("one\n"), None));
    let unknown = format!("trn_{}", "0".repeat(32));
    client
        .post(&path, &json!({"turn_id": unknown}))
        .await
        .problem(404, "turn_not_found");
}

#[tokio::test]
async fn a_background_task_is_told_of_and_stopped() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let call = json!({"command": "sleep 1000", "description": "Sleeps", "run_in_background": true});
    let mut stream = client
        .stream(&id, &format!("% tool Bash {call}\n% say begun"))
        .await;
    let task = stream.until("task_started").await.pop().unwrap();
    stream.rest().await;
    let asleep = || {
        crate::support::processes_of(app.folder.path())
            .into_iter()
            .any(|pid| {
                std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep")
            })
    };
    until("the command runs", async || asleep().then_some(())).await;
    let stop = format!(
        "/api/v1/sessions/{id}/tasks/{}/stop",
        task["task_id"].as_str().unwrap()
    );
    client.post(&stop, &json!({})).await.expect(204);
    until("the command has ended", async || (!asleep()).then_some(())).await;
}

#[tokio::test]
async fn a_cli_that_does_not_answer_is_told_by_name() {
    let app = AppBuilder::fake()
        .with(|settings| settings.agent.control_timeout = std::time::Duration::from_millis(200))
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    let mut stream = client.stream(&id, "fall-silent").await;
    stream.until("text_delta").await;
    client
        .get(&format!("/api/v1/sessions/{id}/context"))
        .await
        .problem(504, "cli_timeout");
    drop(stream);
    client.delete(&format!("/api/v1/sessions/{id}")).await.expect(204);
}
