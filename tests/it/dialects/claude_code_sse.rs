//! `claude-code-sse`: what its documentation shows, and its own clients.

use reqwest::Method;
use serde_json::{Value, json};

use super::chunks;
use super::recorded::Recorder;
use crate::support::{Answer, AppBuilder, Client, until};

async fn frames(client: &Client, path: &str, body: &Value) -> Vec<Value> {
    let answer = client.post(path, body).await.expect(200);
    assert_eq!(answer.header("content-type"), "text/event-stream");
    chunks(&answer.raw)
}

async fn session(client: &Client) -> String {
    client
        .post("/api/sessions", &json!({}))
        .await
        .expect(200)
        .text("sessionId")
}

/// Fails unless it is a time as JavaScript writes one.
#[track_caller]
fn is_iso(time: &Value) {
    let time = time.as_str().unwrap();
    assert!(
        time.len() == 24 && time.ends_with('Z') && time.parse::<chrono::DateTime<chrono::Utc>>().is_ok(),
        "{time}"
    );
}

#[tokio::test]
async fn sessions_are_made_listed_and_deleted() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    // As its Python client sends it: without a body.
    let request = client.request(Method::POST, "/api/sessions");
    let made = crate::support::read(request.send().await.unwrap())
        .await
        .expect(200);
    is_iso(&made.body["created"]);
    assert!(
        made.text("workspace").ends_with("/default/default"),
        "{}",
        made.body
    );
    let id = made.text("sessionId");
    let listed = client.get("/api/sessions").await.expect(200);
    assert_eq!(listed.body, json!({"sessions": [{"sessionId": id}], "count": 1}));
    let deleted = client.delete(&format!("/api/sessions/{id}")).await.expect(200);
    assert_eq!(
        deleted.body,
        json!({"message": "Session deleted", "sessionId": id})
    );
    for id in [id.as_str(), "not-an-id"] {
        let gone = client.delete(&format!("/api/sessions/{id}")).await.expect(404);
        assert_eq!(gone.body, json!({"error": "Session not found"}));
        let path = format!("/api/stream/{id}");
        let gone = client.post(&path, &json!({"prompt": "hello"})).await.expect(404);
        assert_eq!(
            gone.body,
            json!({"error": "Session not found. Create a session first."})
        );
        // Before it is looked whether there is such a session.
        let empty = client.post(&path, &json!({"prompt": ""})).await.expect(400);
        assert_eq!(empty.body, json!({"error": "Prompt is required"}));
    }
    assert_eq!(
        client.get("/api/sessions").await.body,
        json!({"sessions": [], "count": 0})
    );
    let empty = client.post("/api/execute", &json!({})).await.expect(400);
    assert_eq!(empty.body, json!({"error": "Prompt is required"}));
    let torn = client
        .request(Method::POST, "/api/sessions")
        .header("content-type", "application/json")
        .body("{");
    let torn: Answer = crate::support::read(torn.send().await.unwrap()).await;
    assert!(!torn.expect(400).text("error").is_empty());
}

#[tokio::test]
async fn a_workspace_is_a_folder_of_the_callers_tree() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let make = async |workspace: &str| {
        client
            .post("/api/sessions", &json!({"workspace": workspace}))
            .await
    };
    let tree = make("").await.expect(200).text("workspace");
    for (asked, made) in [
        ("project", format!("{tree}/project")),
        (&*format!("{tree}/project/part"), format!("{tree}/project/part")),
        (&tree, tree.clone()),
    ] {
        assert_eq!(make(asked).await.expect(200).text("workspace"), made);
    }
    let outside = format!("{tree}-of-another");
    for asked in ["/etc", "../other", &outside, "/custom/workspace"] {
        let refused = make(asked).await;
        assert!(
            [403, 409].contains(&refused.status.as_u16()),
            "{asked}: {}",
            refused.body
        );
        assert_eq!(refused.body["error"], "Failed to create session");
        assert!(refused.body["message"].is_string());
    }
}

#[tokio::test]
async fn an_answer_comes_in_messages_with_its_tools_and_its_result_and_is_remembered() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = session(&client).await;
    let path = format!("/api/stream/{id}");
    let prompt = json!({"prompt": "I look.\n% bash echo hello\n% say done"});
    let all = frames(&client, &path, &prompt).await;
    let kinds: Vec<_> = all.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["connected", "message", "tool_use", "message", "completed"]
    );
    assert_eq!(all[0], json!({"type": "connected", "sessionId": id}));
    assert_eq!(
        (&all[1]["content"], &all[3]["content"]),
        (&json!("I look."), &json!("done"))
    );
    assert_eq!(all[2]["tool"]["name"], "Bash");
    assert_eq!(all[2]["tool"]["input"]["command"], "echo hello");
    assert_eq!(all[4]["result"]["text"], "I look.\n\ndone");
    assert!(all[4]["result"]["usage"]["input_tokens"].as_u64().unwrap() > 0);
    all[1..].iter().for_each(|frame| is_iso(&frame["timestamp"]));
    frames(&client, &path, &json!({"prompt": "Remember the number 42"})).await;
    let all = frames(
        &client,
        &path,
        &json!({"prompt": "Which number did I ask you to remember?"}),
    )
    .await;
    assert!(all[1]["content"].as_str().unwrap().contains("42"), "{all:?}");

    let all = frames(&client, "/api/execute", &json!({"prompt": "% say once"})).await;
    assert_eq!(
        (&all[1]["content"], &all[2]["type"]),
        (&json!("once"), &json!("completed"))
    );
    assert_ne!(all[0]["sessionId"], id);
    until("the session of the one prompt is gone", async || {
        let listed = client.get("/api/sessions").await.body;
        (listed == json!({"sessions": [{"sessionId": id}], "count": 1})).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_turn_that_fails_ends_with_an_error_and_prompts_for_one_session_run_one_after_the_other() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let id = session(&client).await;
    let path = format!("/api/stream/{id}");
    let (words, exit) = (
        json!({"prompt": "words 20 every 10ms"}),
        json!({"prompt": "exit 3"}),
    );
    let (all, after) = tokio::join!(frames(&client, &path, &words), frames(&client, &path, &exit));
    let mut ends = [&all, &after].map(|frames| frames.last().unwrap()["type"].as_str().unwrap());
    ends.sort_unstable();
    assert_eq!(ends, ["completed", "error"]);
    let failed = [&all, &after]
        .into_iter()
        .find(|frames| frames.last().unwrap()["type"] == "error");
    let error = failed.unwrap().last().unwrap()["error"].as_str().unwrap();
    assert!(error.contains("the CLI ended"), "{error}");
}

#[tokio::test]
async fn a_client_that_leaves_spoils_nothing() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let id = session(&client).await;
    let path = format!("/api/stream/{id}");
    let request = client
        .request(Method::POST, &path)
        .json(&json!({"prompt": "words 50 every 10ms"}));
    let mut left = request.send().await.unwrap();
    left.chunk().await.unwrap();
    drop(left);
    let all = frames(&client, &path, &json!({"prompt": "hello"})).await;
    assert_eq!(all[1]["content"], "You said: hello");
}

#[tokio::test]
async fn under_a_prefix_it_tells_how_it_is_too() {
    let app = AppBuilder::fake()
        .with(|settings| settings.dialects.claude_code_sse.prefix = "/sse".to_owned())
        .start();
    let url = format!("http://{}/sse/health", app.address);
    let health: Value = app
        .client()
        .http()
        .get(url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(health["status"], "ok");
    is_iso(&health["timestamp"]);
    assert!(
        health["workspace"].as_str().unwrap().ends_with("workspaces"),
        "{health}"
    );
}

#[tokio::test]
async fn of_a_prompt_that_is_refused_no_session_is_left() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let limits = json!({"limits": {"turns_max": 1}});
    client
        .patch("/api/v1/admin/tenants/default", &limits)
        .await
        .expect(200);
    let id = session(&client).await;
    let request = client
        .request(Method::POST, &format!("/api/stream/{id}"))
        .json(&json!({"prompt": "never-end"}));
    let mut at_work = request.send().await.unwrap();
    at_work.chunk().await.unwrap();
    let refused = client.post("/api/execute", &json!({"prompt": "hello"})).await;
    assert!(!refused.expect(429).text("error").is_empty());
    let listed = client.get("/api/sessions").await.body;
    assert_eq!(listed, json!({"sessions": [{"sessionId": id}], "count": 1}));
}

#[tokio::test]
async fn every_documented_exchange_is_as_it_was() {
    let app = AppBuilder::real().start();
    let mut recorder = Recorder::new(app.client(), &app.folder.path().join("workspaces"));
    let made = recorder
        .post("/api/sessions", &json!({"workspace": "project"}))
        .await
        .expect(200);
    let session = made.text("sessionId");
    recorder.get("/api/sessions").await.expect(200);
    let prompt = json!({"prompt": "I look.\n% bash echo hello\n% say done"});
    recorder
        .post(&format!("/api/stream/{session}"), &prompt)
        .await
        .expect(200);
    recorder
        .post(&format!("/api/stream/{session}"), &json!({}))
        .await
        .expect(400);
    recorder.post("/api/stream/nobody", &prompt).await.expect(404);
    recorder.post("/api/execute", &prompt).await.expect(200);
    recorder.post("/api/execute", &json!({})).await.expect(400);
    recorder
        .delete(&format!("/api/sessions/{session}"))
        .await
        .expect(200);
    recorder
        .delete(&format!("/api/sessions/{session}"))
        .await
        .expect(404);
    insta::assert_snapshot!(recorder.into_text());
}
