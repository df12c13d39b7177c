//! `mcp-coding-agents`: what its documentation shows, and its table of errors.

use std::time::Duration;

use private_postgres::Cluster;
use reqwest::Method;
use serde_json::{Value, json};

use super::recorded::Recorder;
use crate::support::{Answer, AppBuilder, Client, TestApp, read};

const API: &str = "/compat/mcp-coding-agents/api/v1";

fn at(path: &str) -> String {
    format!("{API}{path}")
}

async fn session(client: &Client) -> String {
    let made = client.post(&at("/sessions"), &json!({})).await.expect(201);
    made.text("sessionId")
}

/// The events of a stream, by name.
fn events(answer: &Answer) -> Vec<(String, Value)> {
    let frames = answer
        .raw
        .split_terminator("\n\n")
        .filter(|frame| !frame.starts_with(':'));
    frames
        .map(|frame| {
            let (name, data) = frame.split_once('\n').unwrap();
            let data = data.strip_prefix("data: ").unwrap();
            let name = name.strip_prefix("event: ").unwrap();
            (name.to_owned(), serde_json::from_str(data).unwrap())
        })
        .collect()
}

/// Fails unless the answer is this error, in this system's envelope.
#[track_caller]
fn is_error(answer: Answer, status: u16, code: &str, message: &str) -> Answer {
    let answer = answer.expect(status);
    let error = &answer.body["error"];
    assert_eq!(
        (error["code"].as_str(), error["message"].as_str()),
        (Some(code), Some(message)),
        "{}",
        answer.body
    );
    assert_eq!(answer.body["requestId"], answer.header("x-request-id"));
    assert!(answer.body["timestamp"].as_str().unwrap().ends_with('Z'));
    answer
}

#[tokio::test]
async fn every_documented_exchange_is_as_it_was() {
    let app = AppBuilder::real().start();
    let mut recorder = Recorder::new(app.client(), &app.folder.path().join("workspaces"));
    recorder.get(&at("/health")).await;
    let asked = json!({"model": "haiku", "cwd": "project", "permissionMode": "bypassPermissions",
        "appendSystemPrompt": "Be brief.", "maxTurns": 5, "metadata": {"project": "my-app"}});
    let made = recorder.post(&at("/sessions"), &asked).await.expect(201);
    let id = made.text("sessionId");
    recorder.get(&at("/sessions")).await.expect(200);
    let path = at(&format!("/sessions/{id}"));
    recorder.get(&path).await.expect(200);
    let prompt = json!({"prompt": "I look.\n% bash echo hello\n% say done"});
    recorder
        .post(&format!("{path}/messages"), &prompt)
        .await
        .expect(200);
    let streamed = json!({"prompt": "Hello", "stream": true, "timeout": 30_000});
    recorder
        .post(&format!("{path}/messages"), &streamed)
        .await
        .expect(200);
    recorder
        .post(&format!("{path}/stream"), &prompt)
        .await
        .expect(200);
    recorder
        .get(&format!("{path}/messages?limit=3&offset=1"))
        .await
        .expect(200);
    recorder.get(&path).await.expect(200);
    recorder.delete(&path).await.expect(204);
    recorder.delete(&path).await.expect(204);
    recorder.get(&path).await.expect(200);
    recorder
        .post(&format!("{path}/messages"), &prompt)
        .await
        .expect(404);
    insta::assert_snapshot!(recorder.into_text());
}

#[tokio::test]
async fn a_history_is_in_the_order_in_which_it_was_said() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let id = session(&client).await;
    let path = at(&format!("/sessions/{id}/messages"));
    for prompt in ["one", "two"] {
        client.post(&path, &json!({"prompt": prompt})).await.expect(200);
    }
    let history = client.get(&path).await.expect(200).body;
    let messages = history["messages"].as_array().unwrap();
    let prompts: Vec<_> = messages
        .iter()
        .enumerate()
        .filter(|(_, message)| message["source"] == "user")
        .map(|(index, message)| (index, message["content"]["message"]["content"][0]["text"].clone()))
        .collect();
    assert_eq!(prompts[0], (0, json!("one")));
    assert!(prompts[1].0 > 1 && prompts[1].1 == "two", "{prompts:?}");
    let before = &messages[prompts[1].0 - 1];
    assert_eq!(
        (&before["type"], &before["source"]),
        (&json!("result"), &json!("sdk"))
    );
    let ids: Vec<_> = messages
        .iter()
        .map(|message| message["id"].as_u64().unwrap())
        .collect();
    assert!(ids.is_sorted());
    let total = messages.len();
    assert_eq!(
        history["pagination"],
        json!({"limit": 100, "offset": 0, "total": total, "hasMore": false})
    );
    for (query, limit, shown, more) in [
        ("?limit=2", 2, 2, true),
        ("?limit=0", 100, total, false),
        ("?limit=many&offset=1", 100, total - 1, false),
        ("?limit=-3&offset=-1", 100, total, false),
        ("?offset=1000", 100, 0, false),
    ] {
        let page = client.get(&format!("{path}{query}")).await.expect(200).body;
        assert_eq!(page["messages"].as_array().unwrap().len(), shown, "{query}");
        assert_eq!(
            (&page["pagination"]["limit"], &page["pagination"]["hasMore"]),
            (&json!(limit), &json!(more)),
            "{query}"
        );
    }
}

#[tokio::test]
async fn two_prompts_at_once_are_worked_on_one_after_the_other() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let id = session(&client).await;
    let path = at(&format!("/sessions/{id}/stream"));
    let ask = async |prompt: &str| client.post(&path, &json!({"prompt": prompt})).await.expect(200);
    let (one, two) = tokio::join!(ask("words 20 every 10ms"), ask("two"));
    for answer in [one, two] {
        let events = events(&answer);
        assert_eq!(events[0], ("connected".to_owned(), json!({"sessionId": id})));
        let sequence: Vec<_> = events
            .iter()
            .filter(|(name, _)| name == "message")
            .map(|(_, data)| data["sequence"].as_u64().unwrap())
            .collect();
        assert_eq!(sequence, (1..=sequence.len() as u64).collect::<Vec<_>>());
        assert_eq!(events.last().unwrap().0, "complete");
    }
}

#[tokio::test]
async fn a_turn_that_fails_or_takes_too_long_says_so() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let id = session(&client).await;
    let send = at(&format!("/sessions/{id}/messages"));
    let late = client
        .post(&send, &json!({"prompt": "never-end", "timeout": 200}))
        .await;
    let message = late.body["error"]["message"].as_str().unwrap().to_owned();
    is_error(late, 408, "REQUEST_TIMEOUT", &message);
    let died = client.post(&send, &json!({"prompt": "exit 3"})).await;
    let message = died.body["error"]["message"].as_str().unwrap().to_owned();
    is_error(died, 500, "MESSAGE_SEND_FAILED", &message);
    let stream = at(&format!("/sessions/{id}/stream"));
    let died = client
        .post(&stream, &json!({"prompt": "exit 3"}))
        .await
        .expect(200);
    let events = events(&died);
    let (name, data) = events.last().unwrap();
    assert_eq!((name.as_str(), data), ("error", &json!({"error": message})));
    // The session is none the worse.
    client.post(&send, &json!({"prompt": "hello"})).await.expect(200);
}

#[tokio::test]
async fn a_client_that_leaves_ends_nothing() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let id = session(&client).await;
    let stream = at(&format!("/sessions/{id}/stream"));
    let body = json!({"prompt": "words 10 every 20ms"});
    let request = client.request(Method::POST, &stream).json(&body);
    let mut response = request.send().await.unwrap();
    response.chunk().await.unwrap();
    drop(response);
    let answer = client
        .post(
            &at(&format!("/sessions/{id}/messages")),
            &json!({"prompt": "hello"}),
        )
        .await
        .expect(200);
    assert!(!answer.text("response").contains("word"), "{}", answer.body);
    let history = client.get(&at(&format!("/sessions/{id}/messages"))).await.body;
    assert!(history.to_string().contains("word10"), "{history}");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_as_the_original_does() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let create = |body: Value| {
        let client = client.clone();
        async move { client.post(&at("/sessions"), &body).await }
    };
    let invalid = |answer, message: &str| {
        is_error(answer, 400, "INVALID_REQUEST", message);
    };
    invalid(create(json!("text")).await, "Request body must be an object");
    let modes = "Invalid permissionMode. Must be one of: default, acceptEdits, bypassPermissions, plan";
    invalid(create(json!({"permissionMode": "all"})).await, modes);
    invalid(create(json!({"model": 5})).await, "Invalid request body format");
    invalid(create(json!({"cwd": []})).await, "Invalid request body format");
    invalid(
        create(json!({"maxTurns": -1})).await,
        "maxTurns must be a number from 0 to 1000",
    );
    invalid(
        create(json!({"metadata": "m"})).await,
        "metadata must be an object",
    );
    invalid(
        create(json!({"maxMessages": 5})).await,
        "maxMessages is not supported",
    );
    let outside = create(json!({"cwd": "/etc"})).await;
    assert_eq!(outside.body["error"]["code"], "WORKSPACE_REFUSED");
    let torn = client
        .request(Method::POST, &at("/sessions"))
        .header("content-type", "application/json")
        .body("{");
    let torn = read(torn.send().await.unwrap()).await.expect(400);
    assert_eq!(torn.body["error"]["code"], "INVALID_REQUEST");

    let id = session(&client).await;
    let send = |id: &str, body: Value| {
        let (client, path) = (client.clone(), at(&format!("/sessions/{id}/messages")));
        async move { client.post(&path, &body).await }
    };
    invalid(send(&id, json!({})).await, "Missing required field: prompt");
    invalid(
        send(&id, json!({"prompt": 5})).await,
        "Field \"prompt\" must be a string",
    );
    invalid(
        send(&id, json!({"prompt": ""})).await,
        "Field \"prompt\" must not be blank",
    );
    let long = "timeout must be a number of milliseconds, at most 3600000";
    invalid(send(&id, json!({"prompt": "p", "timeout": -1})).await, long);
    // Whether there is such a session comes first.
    let native = client.session("alice").await;
    for id in ["none", &native] {
        let missing = send(id, json!({})).await;
        is_error(
            missing,
            404,
            "SESSION_NOT_FOUND",
            &format!("Session {id} not found"),
        );
        for method in [Method::GET, Method::DELETE] {
            let missing = client.send(method, &at(&format!("/sessions/{id}")), None).await;
            is_error(
                missing,
                404,
                "SESSION_NOT_FOUND",
                &format!("Session {id} not found"),
            );
        }
        let history = client.get(&at(&format!("/sessions/{id}/messages"))).await;
        is_error(
            history,
            404,
            "SESSION_NOT_FOUND",
            &format!("Session {id} not found"),
        );
    }
}

fn keyed() -> TestApp {
    AppBuilder::fake()
        .with_keys(&[
            ("root", "admin", "default", None),
            ("acme", "member", "acme", None),
        ])
        .start()
}

#[tokio::test]
async fn every_operation_but_health_asks_for_a_key() {
    let app = keyed();
    for path in ["/models", "/sessions", "/sessions/s/messages"] {
        let missing = app.client().get(&at(path)).await;
        is_error(missing, 401, "MISSING_API_KEY", "Missing x-api-key header");
        let wrong = app
            .client()
            .request(Method::GET, &at(path))
            .header("x-api-key", "nobody");
        let wrong = read(wrong.send().await.unwrap()).await;
        is_error(wrong, 403, "INVALID_API_KEY", "Invalid API key");
    }
    app.client().get(&at("/health")).await.expect(200);
    let known = app
        .client()
        .request(Method::GET, &at("/sessions"))
        .header("x-api-key", crate::support::key("acme"));
    read(known.send().await.unwrap()).await.expect(200);
}

#[tokio::test]
async fn limits_are_told_and_kept() {
    let app = keyed();
    let limits = json!({"limits": {"requests_per_minute": 3, "sessions_max": 1}});
    let tenant = "/api/v1/admin/tenants/acme";
    app.client_with("root").patch(tenant, &limits).await.expect(200);
    let client = app.client_with("acme");
    let made = client.post(&at("/sessions"), &json!({})).await.expect(201);
    assert_eq!(made.header("x-ratelimit-limit"), "3");
    assert_eq!(made.header("x-ratelimit-remaining"), "2");
    let reset: i64 = made.header("x-ratelimit-reset").parse().unwrap();
    assert!(reset > chrono::Utc::now().timestamp_millis() - 1000, "{reset}");
    let full = client.post(&at("/sessions"), &json!({})).await;
    let message = full.body["error"]["message"].as_str().unwrap().to_owned();
    let full = is_error(full, 429, "MAX_SESSIONS_REACHED", &message);
    assert_eq!(full.header("x-ratelimit-remaining"), "1");
    client.get(&at("/sessions")).await.expect(200);
    let often = client.get(&at("/sessions")).await;
    let often = is_error(often, 429, "RATE_LIMIT_EXCEEDED", "Too many requests");
    assert_eq!(often.body["error"]["details"]["limit"], 3);
    assert_eq!(often.header("x-ratelimit-remaining"), "0");
    assert!(!often.header("retry-after").is_empty());
}

#[tokio::test]
async fn without_its_store_each_operation_says_by_name_what_failed() {
    let mut own = Cluster::start().unwrap();
    let app = AppBuilder::fake()
        .on_database(&own.url("paddock"))
        .with(|settings| settings.session.store_patience = Duration::from_millis(200))
        .start();
    let client = app.client();
    let id = session(&client).await;
    own.stop().unwrap();
    let (one, prompt) = (format!("/sessions/{id}"), json!({"prompt": "hello"}));
    for (method, path, body, code) in [
        (
            Method::POST,
            "/sessions",
            Some(&json!({})),
            "SESSION_CREATE_FAILED",
        ),
        (Method::GET, "/sessions", None, "LIST_SESSIONS_FAILED"),
        (Method::GET, &one, None, "GET_SESSION_FAILED"),
        (Method::DELETE, &one, None, "END_SESSION_FAILED"),
        (
            Method::GET,
            &format!("{one}/messages"),
            None,
            "GET_MESSAGES_FAILED",
        ),
        (
            Method::POST,
            &format!("{one}/messages"),
            Some(&prompt),
            "MESSAGE_SEND_FAILED",
        ),
    ] {
        let answer = client.send(method, &at(path), body).await.expect(503);
        assert_eq!(answer.body["error"]["code"], code, "{}", answer.body);
        assert_eq!(answer.body["requestId"], answer.header("x-request-id"));
    }
    let health = client.get(&at("/health")).await.expect(503);
    assert_eq!(health.body["status"], "unhealthy");
    own.start_again().unwrap();
}
