//! `claude-agent-http`: the exchanges that its documentation shows, and the errors of its framework.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::chunks;
use super::recorded::Recorder;
use crate::support::{Answer, AppBuilder, Client, until};

const BASE: &str = "/compat/claude-agent-http";

struct Dialect(Client);

impl Dialect {
    async fn get(&self, path: &str) -> Answer {
        self.0.get(&format!("{BASE}{path}")).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.0.post(&format!("{BASE}{path}"), body).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.0.delete(&format!("{BASE}{path}")).await
    }

    /// A body as it stands.
    async fn raw(&self, method: Method, path: &str, body: &'static str) -> Answer {
        let request = self.0.request(method, &format!("{BASE}{path}"));
        let request = request.header("content-type", "application/json").body(body);
        crate::support::read(request.send().await.unwrap()).await
    }

    async fn session(&self) -> String {
        let made = self.post("/api/v1/sessions", &json!({"user_id": "alice"})).await;
        made.expect(201).text("session_id")
    }

    /// The chunks of an answer.
    async fn chunks(&self, session: &str, message: &str) -> Vec<Value> {
        let body = json!({"session_id": session, "message": message});
        let answer = self.post("/api/v1/chat/stream", &body).await.expect(200);
        assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
        chunks(&answer.raw)
    }
}

fn kinds(chunks: &[Value]) -> Vec<&str> {
    chunks
        .iter()
        .map(|chunk| chunk["type"].as_str().unwrap())
        .collect()
}

/// Fails unless the answer has these fields, in this order.
#[track_caller]
fn has_fields(answer: &Answer, names: &[&str]) {
    let place = |name: &&str| answer.raw.find(&format!("\"{name}\":")).unwrap();
    assert!(names.iter().map(place).is_sorted(), "{}", answer.raw);
    assert_eq!(
        answer.body.as_object().unwrap().len(),
        names.len(),
        "{}",
        answer.raw
    );
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one request after the other")]
async fn the_requests_of_its_collection_get_the_answers_that_they_are_documented_to_get() {
    let app = AppBuilder::real().start();
    let dialect = Dialect(app.client());
    let health = dialect.get("/health").await.expect(200);
    has_fields(
        &health,
        &[
            "status",
            "version",
            "active_sessions",
            "storage_type",
            "uptime_seconds",
        ],
    );
    assert_eq!(
        (health.text("status"), health.text("version")),
        ("healthy".into(), "1.0.0".into())
    );
    let root = dialect.get("/").await.expect(200);
    let card = r#"{"name":"Claude Agent HTTP API","version":"1.0.0","docs":"/docs","health":"/health"}"#;
    assert_eq!(root.raw, card);

    let sessions = "/api/v1/sessions";
    let first = dialect
        .post(sessions, &json!({"user_id": "testuser"}))
        .await
        .expect(201);
    let second = json!({"user_id": "testuser", "subdir": "my-project"});
    let second = dialect.post(sessions, &second).await.expect(201);
    let metadata = json!({"app": "demo", "env": "test"});
    let third = json!({"user_id": "testuser", "metadata": metadata});
    let third = dialect.post(sessions, &third).await.expect(201);
    has_fields(
        &third,
        &[
            "session_id",
            "user_id",
            "cwd",
            "created_at",
            "last_active_at",
            "message_count",
            "status",
            "metadata",
        ],
    );
    assert_eq!(third.body["metadata"], metadata);
    assert_eq!(first.body["metadata"], json!({}));
    assert!(
        second.text("cwd").ends_with("/testuser/my-project"),
        "{}",
        second.body
    );
    let time = third.text("created_at");
    let naive = chrono::NaiveDateTime::parse_from_str(&time, "%Y-%m-%dT%H:%M:%S%.6f");
    assert_eq!(naive.map(|_| time.len()), Ok(26), "{time}");
    assert_eq!(
        (third.body["status"].as_str(), &third.body["message_count"]),
        (Some("active"), &json!(0))
    );

    let all = dialect.get(sessions).await.expect(200).body;
    let ids = [&third, &second, &first].map(|made| made.text("session_id"));
    assert_eq!(all, json!(ids));
    assert_eq!(
        dialect
            .get("/api/v1/sessions?user_id=testuser")
            .await
            .expect(200)
            .body,
        all
    );
    for nobody in ["nobody", "not%20a%20name"] {
        let none = dialect.get(&format!("{sessions}?user_id={nobody}")).await;
        assert_eq!(none.expect(200).body, json!([]));
    }
    let one = format!("{sessions}/{}", ids[0]);
    assert_eq!(dialect.get(&one).await.expect(200).text("session_id"), ids[0]);
    let resumed = dialect
        .post(&format!("{one}/resume"), &json!(null))
        .await
        .expect(200);
    assert_eq!(resumed.text("session_id"), ids[0]);
    let deleted = dialect.delete(&one).await.expect(204);
    assert_eq!(deleted.raw, "");
    let question = json!({"session_id": ids[0], "message": "Hello"});
    let late = dialect.post("/api/v1/chat", &question).await.expect(404);
    assert_eq!(late.raw, r#"{"detail":"Session not found or expired"}"#);
    let late = dialect.post("/api/v1/chat/stream", &question).await.expect(200);
    assert_eq!(
        late.raw,
        "data: {\"type\": \"error\", \"error\": \"Session not found or expired\"}\n\n"
    );
    for path in [one.clone(), format!("{sessions}/not-an-id")] {
        let gone = dialect.get(&path).await.expect(404);
        assert_eq!(gone.raw, r#"{"detail":"Session not found"}"#);
        let gone = dialect.delete(&path).await.expect(404);
        assert_eq!(gone.raw, r#"{"detail":"Session not found"}"#);
        let gone = dialect
            .post(&format!("{path}/resume"), &json!(null))
            .await
            .expect(404);
        assert_eq!(gone.raw, r#"{"detail":"Session not found or expired"}"#);
    }
    assert_eq!(dialect.get(sessions).await.body, json!([ids[1], ids[2]]));
}

#[tokio::test]
async fn an_answer_has_its_text_and_its_tool_calls_whole_and_in_chunks() {
    let app = AppBuilder::real().start();
    let dialect = Dialect(app.client());
    let session = dialect.session().await;
    let ask = async |message: &str| {
        let body = json!({"session_id": session, "message": message});
        dialect.post("/api/v1/chat", &body).await.expect(200)
    };
    ask("Remember the number 42").await;
    let answer = ask("Which number did I ask you to remember?").await;
    has_fields(&answer, &["session_id", "text", "tool_calls", "timestamp"]);
    assert!(answer.text("text").contains("42"));
    assert_eq!(answer.body["tool_calls"], json!([]));
    let answer = ask("I look.\n% bash echo hello\n% say done").await;
    assert_eq!(answer.text("text"), "I look.\n\ndone");
    assert_eq!(answer.body["tool_calls"][0]["tool"], "Bash");
    assert_eq!(answer.body["tool_calls"][0]["input"]["command"], "echo hello");
    assert_eq!(answer.body["tool_calls"][0].as_object().unwrap().len(), 2);

    let all = dialect
        .chunks(&session, "I look.\n% bash echo hello\n% say done")
        .await;
    assert!(
        all.iter().all(|chunk| chunk.as_object().unwrap().len() == 5),
        "{all:?}"
    );
    let mut seen = kinds(&all);
    seen.dedup();
    assert_eq!(seen, ["text_delta", "tool_use", "text_delta", "done"]);
    let text: String = all.iter().filter_map(|chunk| chunk["text"].as_str()).collect();
    assert_eq!(text, "I look.\n\ndone");
    let tool = all.iter().find(|chunk| chunk["type"] == "tool_use").unwrap();
    assert_eq!(
        (&tool["tool_name"], &tool["tool_input"]["command"]),
        (&json!("Bash"), &json!("echo hello"))
    );
    assert_eq!(
        all.last().unwrap().to_string(),
        json!({"type": "done", "text": null, "tool_name": null, "tool_input": null, "error": null})
            .to_string()
    );
}

#[tokio::test]
async fn a_busy_session_a_time_limit_and_a_dead_agent_are_told_and_spoil_nothing() {
    let app = AppBuilder::fake().start();
    let dialect = Dialect(app.client());
    let session = dialect.session().await;
    let ask = async |message: &str, timeout: u64| {
        let body = json!({"session_id": session, "message": message, "timeout": timeout});
        dialect.post("/api/v1/chat", &body).await
    };
    let busy = async {
        until("the session is busy", async || {
            let details = app.client().get(&format!("/api/v1/sessions/{session}")).await;
            (details.body["busy"] == true).then_some(())
        })
        .await;
        let refused = ask("too", 5).await.expect(429);
        assert_eq!(
            refused.raw,
            r#"{"detail":"Session is busy processing another request"}"#
        );
        assert!(!refused.header("retry-after").is_empty());
        let all = dialect.chunks(&session, "too").await;
        assert_eq!(
            all,
            [json!({"type": "error", "error": "Session is busy processing another request"})]
        );
        dialect
            .get(&format!("/api/v1/sessions/{session}"))
            .await
            .expect(200);
    };
    let (late, ()) = tokio::join!(ask("never-end", 1), busy);
    let late = late.expect(504).text("detail");
    assert!(late.starts_with("Failed to send message: "), "{late}");
    let broken = ask("exit 3", 60).await.expect(500).text("detail");
    assert!(
        broken.starts_with("Failed to send message: the CLI ended"),
        "{broken}"
    );
    let all = dialect.chunks(&session, "exit 3").await;
    assert_eq!(kinds(&all).last(), Some(&"error"));
    assert!(
        all.last().unwrap()["error"]
            .as_str()
            .unwrap()
            .contains("the CLI ended")
    );

    // A client that leaves spoils no later answer.
    let body = json!({"session_id": session, "message": "words 50 every 10ms"});
    let request = app
        .client()
        .request(Method::POST, &format!("{BASE}/api/v1/chat/stream"))
        .json(&body);
    let mut left = request.send().await.unwrap();
    left.chunk().await.unwrap();
    drop(left);
    until("the turn has ended", async || {
        let answer = ask("hello", 60).await;
        (answer.status == 200).then(|| assert_eq!(answer.text("text"), "You said: hello"))
    })
    .await;
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one entry for each thing that can be wrong")]
async fn what_is_wrong_with_a_request_is_told_as_its_framework_tells_it() {
    let app = AppBuilder::fake().start();
    let dialect = Dialect(app.client());
    let long_user = "a".repeat(65);
    let long_subdir = "a".repeat(201);
    let wrong = |kind: &str, field: &str, words: &str, input: Value, context: Option<Value>| {
        let mut error = json!({"type": kind, "loc": ["body", field], "msg": words, "input": input});
        if let Some(context) = context {
            error["ctx"] = context;
        }
        error
    };
    let refused = |words: &str, field: &str, input: &str| {
        let words = format!("Value error, {words}");
        wrong(
            "value_error",
            field,
            &words,
            json!(input),
            Some(json!({"error": {}})),
        )
    };
    let name = "user_id must contain only alphanumeric, underscore, or hyphen";
    for (body, expected) in [
        (
            json!({}),
            wrong("missing", "user_id", "Field required", json!({}), None),
        ),
        (
            json!({"user_id": 5}),
            wrong(
                "string_type",
                "user_id",
                "Input should be a valid string",
                json!(5),
                None,
            ),
        ),
        (
            json!({"user_id": ""}),
            wrong(
                "string_too_short",
                "user_id",
                "String should have at least 1 character",
                json!(""),
                Some(json!({"min_length": 1})),
            ),
        ),
        (
            json!({"user_id": long_user}),
            wrong(
                "string_too_long",
                "user_id",
                "String should have at most 64 characters",
                json!(long_user),
                Some(json!({"max_length": 64})),
            ),
        ),
        (json!({"user_id": "al ice"}), refused(name, "user_id", "al ice")),
        (json!({"user_id": "alice\n"}), refused(name, "user_id", "alice\n")),
        (
            json!({"user_id": "alice", "subdir": "a/../b"}),
            refused("Path traversal (..) not allowed in subdir", "subdir", "a/../b"),
        ),
        (
            json!({"user_id": "alice", "subdir": "/etc"}),
            refused("Absolute path not allowed in subdir", "subdir", "/etc"),
        ),
        (
            json!({"user_id": "alice", "subdir": long_subdir}),
            wrong(
                "string_too_long",
                "subdir",
                "String should have at most 200 characters",
                json!(long_subdir),
                Some(json!({"max_length": 200})),
            ),
        ),
        (
            json!({"user_id": "alice", "metadata": []}),
            wrong(
                "dict_type",
                "metadata",
                "Input should be a valid dictionary",
                json!([]),
                None,
            ),
        ),
    ] {
        let answer = dialect.post("/api/v1/sessions", &body).await.expect(422);
        assert_eq!(answer.body, json!({"detail": [expected]}), "{body}");
    }
    let session = dialect.session().await;
    for (message, timeout, expected) in [
        (
            json!(" "),
            json!(5),
            refused("Message cannot be empty", "message", " "),
        ),
        (
            json!("x"),
            json!(0),
            wrong(
                "greater_than_equal",
                "timeout",
                "Input should be greater than or equal to 1",
                json!(0),
                Some(json!({"ge": 1})),
            ),
        ),
        (
            json!("x"),
            json!(601),
            wrong(
                "less_than_equal",
                "timeout",
                "Input should be less than or equal to 600",
                json!(601),
                Some(json!({"le": 600})),
            ),
        ),
        (
            json!("x"),
            json!(1.5),
            wrong(
                "int_type",
                "timeout",
                "Input should be a valid integer",
                json!(1.5),
                None,
            ),
        ),
    ] {
        for path in ["/api/v1/chat", "/api/v1/chat/stream"] {
            let body = json!({"session_id": session, "message": message, "timeout": timeout});
            let answer = dialect.post(path, &body).await.expect(422);
            assert_eq!(answer.body, json!({"detail": [expected]}), "{body}");
        }
    }
    let answer = dialect
        .post("/api/v1/chat", &json!({"session_id": "a b"}))
        .await
        .expect(422);
    let kinds: Vec<_> = answer.body["detail"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| &error["type"])
        .collect();
    assert_eq!(kinds, ["value_error", "missing"]);
    for (body, expected) in [
        (
            "",
            json!({"type": "missing", "loc": ["body"], "msg": "Field required", "input": null}),
        ),
        (
            "[]",
            json!({"type": "model_attributes_type", "loc": ["body"], "input": [],
                "msg": "Input should be a valid dictionary or object to extract fields from"}),
        ),
    ] {
        let answer = dialect
            .raw(Method::POST, "/api/v1/sessions", body)
            .await
            .expect(422);
        assert_eq!(answer.body, json!({"detail": [expected]}));
    }
    let torn = dialect
        .raw(Method::POST, "/api/v1/sessions", "{\"user_id\": }")
        .await
        .expect(422);
    let torn = &torn.body["detail"][0];
    assert_eq!(
        (&torn["type"], &torn["loc"], &torn["msg"]),
        (
            &json!("json_invalid"),
            &json!(["body", 12]),
            &json!("JSON decode error")
        )
    );
    assert_eq!(
        dialect.get("/nothing").await.expect(404).raw,
        r#"{"detail":"Not Found"}"#
    );
    let wrong_method = dialect.delete("/api/v1/chat").await.expect(405);
    assert_eq!(wrong_method.raw, r#"{"detail":"Method Not Allowed"}"#);
    assert_eq!(wrong_method.header("allow"), "POST");
}

#[tokio::test]
async fn it_is_where_the_settings_say_and_lists_as_much_as_they_say() {
    let app = AppBuilder::fake()
        .with(|settings| {
            settings.dialects.claude_agent_http.prefix = "/old".to_owned();
            settings.dialects.list_max = 2;
        })
        .start();
    let client = app.client().http().clone();
    let url = |path: &str| format!("http://{}{path}", app.address);
    for _ in 0..3 {
        let made = client
            .post(url("/old/api/v1/sessions"))
            .json(&json!({"user_id": "alice"}));
        assert_eq!(made.send().await.unwrap().status(), 201);
    }
    let listed: Vec<String> = client
        .get(url("/old/api/v1/sessions"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(listed.len(), 2, "the newest");
    let document: Value = client
        .get(url("/openapi.json"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert!(document["paths"].get("/old/api/v1/chat").is_some());
    assert_eq!(client.get(url(BASE)).send().await.unwrap().status(), 404);
    let without = AppBuilder::fake()
        .with(|settings| settings.dialects.claude_agent_http.enabled = false)
        .start();
    let path = format!("{BASE}/health");
    let asked = without
        .client()
        .http()
        .get(format!("http://{}{path}", without.address));
    assert_eq!(
        asked
            .timeout(Duration::from_secs(5))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
}

#[tokio::test]
async fn every_documented_exchange_is_as_it_was() {
    let app = AppBuilder::real().start();
    let mut recorder = Recorder::new(app.client(), &app.folder.path().join("workspaces"));
    let at = |path: &str| format!("{BASE}{path}");
    recorder.get(&at("/health")).await.expect(200);
    recorder.get(&at("/")).await.expect(200);
    let sessions = at("/api/v1/sessions");
    let whole =
        json!({"user_id": "testuser", "subdir": "my-project", "metadata": {"env": "test", "app": "demo"}});
    let made = recorder.post(&sessions, &whole).await.expect(201);
    let session = made.text("session_id");
    recorder.get(&sessions).await.expect(200);
    recorder
        .get(&format!("{sessions}?user_id=testuser"))
        .await
        .expect(200);
    recorder.get(&format!("{sessions}/{session}")).await.expect(200);
    recorder
        .send(Method::POST, &format!("{sessions}/{session}/resume"), &[], None)
        .await
        .expect(200);
    let message =
        json!({"session_id": session, "message": "I look.\n% bash echo hello\n% say done", "timeout": 60});
    recorder.post(&at("/api/v1/chat"), &message).await.expect(200);
    recorder
        .post(&at("/api/v1/chat/stream"), &message)
        .await
        .expect(200);
    recorder
        .post(&sessions, &json!({"user_id": "a b", "subdir": "../x"}))
        .await
        .expect(422);
    recorder
        .send(Method::POST, &sessions, &[], Some("{"))
        .await
        .expect(422);
    recorder
        .send(Method::PUT, &format!("{sessions}/{session}"), &[], None)
        .await
        .expect(405);
    recorder.get(&at("/nowhere")).await.expect(404);
    recorder
        .delete(&format!("{sessions}/{session}"))
        .await
        .expect(204);
    recorder.get(&format!("{sessions}/{session}")).await.expect(404);
    recorder.post(&at("/api/v1/chat"), &message).await.expect(404);
    recorder
        .post(&at("/api/v1/chat/stream"), &message)
        .await
        .expect(200);
    insta::assert_snapshot!(recorder.into_text());
}
