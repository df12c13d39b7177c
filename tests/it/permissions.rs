//! What agents ask, and who answers: people, rules, the clock. With the real CLI.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{AppBuilder, Client, Stream, TestApp, until};

fn app() -> TestApp {
    AppBuilder::real()
        .with(|settings| settings.defaults.allowed_tools = Vec::new())
        .start()
}

/// A session whose agent asks, and the turn that waits.
async fn asking(client: &Client, prompt: &str) -> (String, Stream, Value) {
    let body = json!({"user_id": "alice", "options": {"permission_mode": "default"}});
    let id = client.session_with(&body).await;
    let mut stream = client.stream(&id, prompt).await;
    let request = stream.until("permission_request").await.pop().unwrap();
    (id, stream, request)
}

async fn answer(client: &Client, session: &str, request: &Value, body: &Value) -> crate::support::Answer {
    let id = request["permission_id"].as_str().unwrap();
    client
        .post(&format!("/api/v1/sessions/{session}/permissions/{id}"), body)
        .await
}

fn resolved(events: &[Value]) -> &Value {
    events
        .iter()
        .find(|event| event["type"] == "permission_resolved")
        .unwrap_or_else(|| panic!("not resolved: {events:?}"))
}

#[tokio::test]
async fn a_tool_waits_for_a_persons_answer_which_counts_once() {
    let app = app();
    let client = app.client();
    let (id, stream, request) = asking(&client, "% bash touch made\n% say done").await;
    assert_eq!(
        (
            request["kind"].as_str(),
            request["tool_name"].as_str(),
            &request["tool_input"]["command"]
        ),
        (Some("tool"), Some("Bash"), &json!("touch made"))
    );
    let turn = request["turn_id"].as_str().unwrap();
    let turn_path = format!("/api/v1/sessions/{id}/turns/{turn}");
    assert_eq!(
        client.get(&turn_path).await.expect(200).text("status"),
        "awaiting_permission"
    );
    for list in [
        format!("/api/v1/sessions/{id}/permissions"),
        "/api/v1/permissions".to_owned(),
    ] {
        let listed = client.get(&list).await.expect(200).body;
        assert_eq!(
            listed["data"][0]["permission_id"], request["permission_id"],
            "{list}"
        );
    }
    assert!(!app.workspace("alice").join("made").exists());

    let allowed = answer(&client, &id, &request, &json!({"decision": "allow"}))
        .await
        .expect(200);
    assert_eq!(allowed.body["resolution"]["decision"], "allow");
    let events = stream.rest().await;
    assert_eq!(resolved(&events)["decision"], "allow");
    assert_eq!(events.last().unwrap()["type"], "done");
    assert!(app.workspace("alice").join("made").exists());
    answer(&client, &id, &request, &json!({"decision": "deny"}))
        .await
        .problem(409, "permission_answered");
    let listed = client.get("/api/v1/permissions").await.expect(200).body;
    assert_eq!(listed["data"], json!([]), "what is answered waits no more");
    let kept = format!(
        "/api/v1/sessions/{id}/permissions/{}",
        request["permission_id"].as_str().unwrap()
    );
    assert_eq!(
        client.get(&kept).await.expect(200).body["resolution"]["by"],
        allowed.body["resolution"]["by"]
    );
}

#[tokio::test]
async fn a_denied_tool_is_told_why_and_the_turn_goes_on() {
    let app = app();
    let client = app.client();
    let (id, stream, request) = asking(&client, "% bash touch made\n% results\n% say went on").await;
    let body = json!({"decision": "deny", "message": "Not on a Friday."});
    answer(&client, &id, &request, &body).await.expect(200);
    let done = stream.rest().await.pop().unwrap();
    let text = done["text"].as_str().unwrap();
    assert!(
        text.contains("Not on a Friday.") && text.contains("went on"),
        "{text}"
    );
    assert!(!app.workspace("alice").join("made").exists());
}

#[tokio::test]
async fn a_tool_is_called_with_what_the_answer_says_instead() {
    let app = app();
    let client = app.client();
    let (id, stream, request) = asking(&client, "% bash touch made\n% say done").await;
    let body = json!({"decision": "allow", "updated_input": {"command": "touch other"}});
    answer(&client, &id, &request, &body).await.expect(200);
    stream.rest().await;
    let workspace = app.workspace("alice");
    assert!(workspace.join("other").exists() && !workspace.join("made").exists());
}

#[tokio::test]
async fn what_is_remembered_needs_no_permission_in_this_session_even_with_a_new_agent() {
    let app = AppBuilder::real()
        .with(|settings| {
            settings.defaults.allowed_tools = Vec::new();
            settings.permissions.rules =
                serde_json::from_value(json!([{"tool": "Bash(touch b*)", "decision": "deny"}])).unwrap();
        })
        .start();
    let client = app.client();
    let (id, stream, request) = asking(&client, "% bash touch a\n% bash touch a\n% say done").await;
    let rule = request["remembered_as"].as_str().unwrap().to_owned();
    answer(
        &client,
        &id,
        &request,
        &json!({"decision": "allow", "remember": true}),
    )
    .await
    .expect(200);
    let events = stream.rest().await;
    assert_eq!(
        events.last().unwrap()["type"],
        "done",
        "it was asked once: {events:?}"
    );
    let session = client
        .get(&format!("/api/v1/sessions/{id}"))
        .await
        .expect(200)
        .body;
    assert_eq!(session["options"]["allowed_tools"], json!([rule]));

    let folder = app.stop();
    let app = AppBuilder::real()
        .in_folder_of(&folder)
        .with(|settings| {
            settings.permissions.rules =
                serde_json::from_value(json!([{"tool": "*", "decision": "deny"}])).unwrap();
        })
        .start();
    std::fs::remove_file(app.workspace("alice").join("a")).unwrap();
    app.client().answer(&id, "% bash touch a\n% say done").await;
    assert!(app.workspace("alice").join("a").exists());
}

#[tokio::test]
async fn a_question_is_answered_by_choices() {
    let app = app();
    let client = app.client();
    let option = |label: &str| json!({"label": label, "description": label});
    let questions = json!({"questions": [{"question": "Which?", "header": "Pick", "multiSelect": false,
        "options": [option("red"), option("blue")]}]});
    let (id, stream, request) =
        asking(&client, &format!("% tool AskUserQuestion {questions}\n% results")).await;
    assert_eq!(request["kind"], "question");
    for wrong in [
        json!({"decision": "allow"}),
        json!({"decision": "allow", "answers": {"Whence?": "red"}}),
        json!({"decision": "deny", "answers": {"Which?": "red"}}),
        json!({"decision": "allow", "remember": true, "answers": {"Which?": "red"}}),
        json!({"decision": "perhaps"}),
        json!({}),
    ] {
        answer(&client, &id, &request, &wrong)
            .await
            .problem(422, "validation_failed");
    }
    let body = json!({"decision": "allow", "answers": {"Which?": "blue"}});
    answer(&client, &id, &request, &body).await.expect(200);
    let done = stream.rest().await.pop().unwrap();
    assert!(done["text"].as_str().unwrap().contains("blue"), "{done}");
}

#[tokio::test]
async fn a_plan_is_approved_or_not() {
    let app = app();
    let client = app.client();
    let body = json!({"user_id": "alice", "options": {"permission_mode": "plan"}});
    let id = client.session_with(&body).await;
    let prompt = "% tool ToolSearch {\"query\": \"select:ExitPlanMode\", \"max_results\": 5}\n% tool ExitPlanMode {\"plan\": \"Do it\"}\n% say done";
    let mut stream = client.stream(&id, prompt).await;
    let request = stream.until("permission_request").await.pop().unwrap();
    assert_eq!(request["kind"], "plan", "{request}");
    answer(
        &client,
        &id,
        &request,
        &json!({"decision": "deny", "message": "Think again."}),
    )
    .await
    .expect(200);
    assert_eq!(stream.rest().await.pop().unwrap()["type"], "done");
}

#[tokio::test]
async fn rules_answer_without_a_person_the_sessions_own_first() {
    let app = AppBuilder::real()
        .with(|settings| {
            settings.defaults.allowed_tools = Vec::new();
            settings.permissions.rules = serde_json::from_value(json!([
                {"tool": "Bash(mkdir:*)", "decision": "allow"},
                {"tool": "*", "decision": "deny"},
            ]))
            .unwrap();
        })
        .start();
    let client = app.client();
    let options = json!({"permission_mode": "default",
        "permission_rules": [{"tool": "Bash(mkdir mine)", "decision": "deny"}]});
    let id = client
        .session_with(&json!({"user_id": "alice", "options": options}))
        .await;
    let stream = client
        .stream(
            &id,
            "% bash mkdir made\n% bash mkdir mine\n% bash touch x\n% bash mkdir y; touch z\n% say done",
        )
        .await;
    let events = stream.rest().await;
    let decisions: Vec<_> = events
        .iter()
        .filter(|event| event["type"] == "permission_resolved")
        .map(|event| (event["decision"].as_str().unwrap(), event["by"].as_str().unwrap()))
        .collect();
    assert_eq!(
        decisions,
        [
            ("allow", "rule"),
            ("deny", "rule"),
            ("deny", "rule"),
            ("deny", "rule")
        ]
    );
    let workspace = app.workspace("alice");
    assert!(workspace.join("made").exists());
    for name in ["mine", "x", "y", "z"] {
        assert!(!workspace.join(name).exists(), "{name}");
    }
}

#[tokio::test]
async fn a_question_that_nobody_answers_ends_as_the_settings_say() {
    for (on_timeout, made) in [("deny", false), ("allow", true)] {
        let app = AppBuilder::real()
            .with(|settings| {
                settings.defaults.allowed_tools = Vec::new();
                settings.permissions.timeout = Duration::from_millis(300);
                settings.permissions.on_timeout = serde_json::from_value(json!(on_timeout)).unwrap();
            })
            .start();
        let client = app.client();
        let (id, stream, request) = asking(&client, "% bash touch made\n% say done").await;
        let events = stream.rest().await;
        assert_eq!(
            (
                resolved(&events)["decision"].as_str(),
                resolved(&events)["by"].as_str()
            ),
            (Some("expired"), Some("paddock"))
        );
        assert_eq!(events.last().unwrap()["type"], "done");
        assert_eq!(app.workspace("alice").join("made").exists(), made, "{on_timeout}");
        answer(&client, &id, &request, &json!({"decision": "allow"}))
            .await
            .problem(409, "permission_answered");
    }
}

#[tokio::test]
async fn more_questions_than_may_wait_are_denied() {
    let app = AppBuilder::real()
        .with(|settings| {
            settings.defaults.allowed_tools = Vec::new();
            settings.permissions.pending_max = 0;
            settings.defaults.permission_mode = Some(paddock::domain::PermissionMode::Default);
        })
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    let text = client.answer(&id, "% bash touch made\n% results").await;
    assert!(text.contains("Too many questions"), "{text}");
}

#[tokio::test]
async fn a_question_is_withdrawn_when_its_turn_is_interrupted() {
    let app = app();
    let client = app.client();
    let (id, stream, request) = asking(&client, "% say before\n% bash touch made\n% say after").await;
    client
        .post(&format!("/api/v1/sessions/{id}/interrupt"), &json!({}))
        .await
        .expect(200);
    let events = stream.rest().await;
    assert_eq!(resolved(&events)["decision"], "withdrawn");
    assert_eq!(events.last().unwrap()["code"], "turn_interrupted");
    answer(&client, &id, &request, &json!({"decision": "allow"}))
        .await
        .problem(409, "permission_answered");
    assert_eq!(client.answer(&id, "next").await, "You said: next");
}

#[tokio::test]
async fn a_question_that_the_server_did_not_survive_is_withdrawn_and_its_turn_says_so() {
    let app = app();
    let client = app.client();
    let (id, stream, request) = asking(&client, "% bash touch made\n% say done").await;
    drop(stream);
    // As after `kill -9`: a new server finds the turn unfinished, and the question waiting.
    let copy = tempfile::tempdir().unwrap();
    let turn = request["turn_id"].as_str().unwrap().to_owned();
    for name in ["paddock.db", "paddock.db-wal", "paddock.db-shm"] {
        let from = app.folder.path().join(name);
        if from.exists() {
            std::fs::copy(from, copy.path().join(name)).unwrap();
        }
    }
    let other = AppBuilder::real()
        .with(|settings| settings.session.sqlite_path = copy.path().join("paddock.db"))
        .start();
    let client = other.client();
    let asked = answer(&client, &id, &request, &json!({"decision": "allow"})).await;
    asked.problem(409, "permission_answered");
    let turn = client
        .get(&format!("/api/v1/sessions/{id}/turns/{turn}"))
        .await
        .expect(200);
    assert_eq!(
        (turn.text("status").as_str(), turn.body["error"]["code"].as_str()),
        ("unknown", Some("turn_unknown"))
    );
}

#[tokio::test]
async fn a_reader_sees_what_is_asked_and_only_a_member_answers() {
    let app = AppBuilder::real()
        .with_keys(&[
            ("member", "member", "acme", None),
            ("reader", "reader", "acme", None),
            ("bob", "member", "acme", Some("bob")),
            ("rival", "owner", "rival", None),
        ])
        .with(|settings| settings.defaults.allowed_tools = Vec::new())
        .start();
    let client = app.client_with("member");
    let (id, stream, request) = asking(&client, "% bash touch made\n% say done").await;
    let reader = app.client_with("reader");
    assert_eq!(
        reader.get("/api/v1/permissions").await.expect(200).body["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    answer(&reader, &id, &request, &json!({"decision": "allow"}))
        .await
        .problem(403, "forbidden");
    for stranger in ["bob", "rival"] {
        let stranger = app.client_with(stranger);
        assert_eq!(
            stranger.get("/api/v1/permissions").await.expect(200).body["data"],
            json!([])
        );
        answer(&stranger, &id, &request, &json!({"decision": "allow"}))
            .await
            .problem(404, "session_not_found");
    }
    answer(&client, &id, &request, &json!({"decision": "deny"}))
        .await
        .expect(200);
    stream.rest().await;
    until("nothing waits", async || {
        let listed = reader.get("/api/v1/permissions").await.expect(200).body;
        listed["data"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
}
