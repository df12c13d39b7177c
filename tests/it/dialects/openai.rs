//! `openai`: chat completions, and the official clients.

use reqwest::Method;
use serde_json::{Value, json};

use super::chunks;
use super::recorded::Recorder;
use crate::support::{Answer, AppBuilder, Client, read};

const CHAT: &str = "/v1/chat/completions";

fn asked(messages: &Value) -> Value {
    json!({"model": "claude-code", "messages": messages})
}

fn user(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

async fn say(client: &Client, body: &Value) -> String {
    let answer = client.post(CHAT, body).await.expect(200);
    content(&answer)
}

fn content(answer: &Answer) -> String {
    answer.body["choices"][0]["message"]["content"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[track_caller]
fn is_error(answer: Answer, status: u16, param: Option<&str>, code: &str) {
    let answer = answer.expect(status);
    let error = &answer.body["error"];
    assert_eq!(
        (error["param"].as_str(), error["code"].as_str()),
        (param, Some(code)),
        "{}",
        answer.body
    );
    assert!(error["message"].as_str().is_some_and(|words| !words.is_empty()));
    assert!(error["type"].is_string());
}

#[tokio::test]
async fn every_documented_exchange_is_as_it_was() {
    let app = AppBuilder::real().start();
    let mut recorder = Recorder::new(app.client(), &app.folder.path().join("workspaces"));
    recorder.get("/v1/models").await.expect(200);
    recorder.get("/v1/models/claude-code").await.expect(200);
    recorder.get("/v1/models/gpt-4").await.expect(404);
    let mut body = asked(&json!([{"role": "system", "content": "Be brief."},
        {"role": "user", "content": "I look.\n% bash echo hello\n% say done"}]));
    recorder.post(CHAT, &body).await.expect(200);
    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    recorder.post(CHAT, &body).await.expect(200);
    let failing = asked(&user("% fail 400"));
    recorder.post(CHAT, &failing).await;
    recorder
        .post(CHAT, &json!({"model": "claude-code"}))
        .await
        .expect(400);
    let mut warm = asked(&user("Hello"));
    warm["temperature"] = json!(0.2);
    recorder.post(CHAT, &warm).await.expect(400);
    insta::assert_snapshot!(recorder.into_text());
}

#[tokio::test]
async fn a_user_is_remembered_and_told_only_what_is_new() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let mut first = asked(&user("Remember the number 42"));
    first["user"] = "alice".into();
    let answer = say(&client, &first).await;
    let question = "Which number did I ask you to remember?";
    let mut second = asked(&json!([{"role": "user", "content": "Remember the number 42"},
        {"role": "assistant", "content": answer}, {"role": "user", "content": question}]));
    second["user"] = "alice".into();
    assert!(say(&client, &second).await.contains("42"));
    // What was asked is the question alone: the rest the session knows.
    let sessions = client.get("/api/v1/sessions?user_id=alice").await.body;
    let id = sessions["data"][0]["session_id"].as_str().unwrap().to_owned();
    let messages = client.get(&format!("/api/v1/sessions/{id}/messages")).await.body;
    let prompts: Vec<_> = messages["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|message| message["role"] == "user" && message["content"][0]["type"] == "text")
        .map(|message| message["content"][0]["text"].as_str().unwrap())
        .collect();
    assert_eq!(prompts, ["Remember the number 42", question]);
    // Another user, and nobody, know nothing of it; whoever knows nothing is told all that was said.
    second["user"] = "bob".into();
    let messages = second["messages"].clone();
    second["messages"] = user(question);
    assert!(!say(&client, &second).await.contains("42"));
    let mut third = asked(&messages);
    third["messages"][2]["content"] = "Hello".into();
    say(&client, &third).await;
    let told = app.model_requests().await.last().unwrap().to_string();
    assert!(
        told.contains(r"[user]\nRemember the number 42\n\n[assistant]\n"),
        "{told}"
    );
}

#[tokio::test]
async fn a_header_names_a_session_and_one_without_a_name_is_not_kept() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let send = async |name: Option<&str>, body: &Value| {
        let mut request = client.request(Method::POST, CHAT).json(body);
        if let Some(name) = name {
            request = request.header("x-session-id", name);
        }
        read(request.send().await.unwrap()).await
    };
    let mine = send(Some("mine"), &asked(&user("one"))).await.expect(200);
    let id = mine.header("x-session-id").to_owned();
    for name in ["mine", &id] {
        let again = send(Some(name), &asked(&user("recall"))).await.expect(200);
        assert_eq!(again.header("x-session-id"), id);
        assert!(content(&again).contains("one"), "{}", again.body);
    }
    // Other instructions are another conversation.
    let instructed =
        json!([{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "recall"}]);
    let other = send(Some("mine"), &asked(&instructed)).await.expect(200);
    assert_ne!(other.header("x-session-id"), id);
    let once = send(None, &asked(&user("one"))).await.expect(200);
    let closed = client
        .get(&format!("/api/v1/sessions/{}", once.header("x-session-id")))
        .await;
    assert_eq!(closed.expect(200).body["status"], "closed");
    let refused = send(Some("two words"), &asked(&user("one"))).await;
    is_error(refused, 400, Some("x-session-id"), "invalid_value");
    let foreign = format!("ses_{}", "0".repeat(32));
    let refused = send(Some(&foreign), &asked(&user("one"))).await;
    is_error(refused, 404, None, "session_not_found");
}

#[tokio::test]
async fn a_history_that_a_session_knows_may_be_longer_than_a_prompt() {
    let app = AppBuilder::fake()
        .with(|settings| settings.limits.message_max_bytes = 100)
        .start();
    let client = app.client();
    let mut first = asked(&user("hello"));
    first["user"] = "alice".into();
    say(&client, &first).await;
    let long = json!([{"role": "user", "content": "hello"}, {"role": "assistant", "content": "x".repeat(200)},
        {"role": "user", "content": "and now?"}]);
    let mut known = asked(&long);
    known["user"] = "alice".into();
    say(&client, &known).await;
    // Whoever knows nothing of it would have to be told.
    is_error(
        client.post(CHAT, &asked(&long)).await,
        400,
        Some("messages"),
        "invalid_value",
    );
    let left = client.get("/api/v1/sessions?status=active").await.expect(200);
    assert_eq!(
        left.body["data"].as_array().unwrap().len(),
        1,
        "nothing is left of what was refused"
    );
}

#[tokio::test]
async fn calls_of_tools_are_hidden_unless_the_server_is_set_to_show_them() {
    let body = asked(&user("I look.\n% bash echo hello\n% say done"));
    for shows in [false, true] {
        let app = AppBuilder::real()
            .with(|settings| settings.dialects.openai_shows_tools = shows)
            .start();
        let client = app.client();
        let whole = say(&client, &body).await;
        let mut streamed = body.clone();
        streamed["stream"] = true.into();
        let answer = client.post(CHAT, &streamed).await.expect(200);
        let text = answer.raw.strip_suffix("data: [DONE]\n\n").unwrap();
        let pieces = chunks(text);
        let joined: String = pieces
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
            .collect();
        assert_eq!(joined, whole);
        assert_eq!(whole.contains("[Bash] {"), shows, "{whole}");
        assert_eq!(pieces.last().unwrap()["choices"][0]["finish_reason"], "stop");
        let id = &pieces[0]["id"];
        assert!(pieces.iter().all(|chunk| chunk["id"] == *id));
    }
}

#[tokio::test]
async fn what_an_agent_cannot_heed_is_refused_by_name() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    for (name, value) in [
        ("temperature", json!(0.2)),
        ("n", json!(2)),
        ("max_tokens", json!(100)),
        ("tools", json!([{"type": "function"}])),
        ("response_format", json!({"type": "json_object"})),
        ("logprobs", json!(true)),
        ("stop", json!("x")),
        ("seed", json!(1)),
        ("of_tomorrow", json!("x")),
    ] {
        let mut body = asked(&user("hello"));
        body[name] = value;
        is_error(
            client.post(CHAT, &body).await,
            400,
            Some(name),
            "unsupported_parameter",
        );
    }
    // What says nothing is taken.
    let mut body = asked(&user("hello"));
    for (name, value) in [
        ("temperature", json!(1)),
        ("n", json!(1)),
        ("tools", json!([])),
        ("response_format", json!({"type": "text"})),
        ("logprobs", json!(false)),
        ("stop", Value::Null),
        ("stream_options", Value::Null),
    ] {
        body[name] = value;
    }
    say(&client, &body).await;
    for (field, body) in [
        ("model", json!({"messages": user("hello")})),
        ("messages", json!({"model": "claude-code", "messages": []})),
        (
            "messages",
            asked(&json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])),
        ),
        (
            "messages[0].role",
            asked(&json!([{"role": "tool", "content": "a"}])),
        ),
        (
            "messages[0].content",
            asked(&json!([{"role": "user", "content": 5}])),
        ),
        (
            "messages[0].content",
            asked(
                &json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/a.png"}}]}]),
            ),
        ),
        ("messages", asked(&user(" "))),
    ] {
        is_error(client.post(CHAT, &body).await, 400, Some(field), "invalid_value");
    }
    let mut body = asked(&user("hello"));
    body["model"] = "gpt-4".into();
    is_error(
        client.post(CHAT, &body).await,
        404,
        Some("model"),
        "model_not_found",
    );
    body = asked(&user("hello"));
    body["user"] = "not/a/user".into();
    is_error(client.post(CHAT, &body).await, 400, Some("user"), "invalid_value");
}

#[tokio::test]
async fn a_turn_that_fails_is_an_error_and_in_a_stream_an_event() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let mut body = asked(&user("exit 3"));
    let failed = client.post(CHAT, &body).await;
    // The official clients ask again after most errors, and a turn is not to run twice for that.
    assert_eq!(failed.header("x-should-retry"), "false");
    is_error(failed, 502, None, "agent_crashed");
    body["stream"] = true.into();
    let answer = client.post(CHAT, &body).await.expect(200);
    let last = chunks(&answer.raw).pop().unwrap();
    assert_eq!(last["error"]["code"], "agent_crashed", "{last}");
    assert!(!answer.raw.contains("[DONE]"));
}

#[tokio::test]
async fn an_image_goes_with_its_prompt() {
    let app = AppBuilder::real().start();
    let image = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let parts = json!([{"role": "user", "content": [{"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": image}}]}]);
    say(&app.client(), &asked(&parts)).await;
    let asked = app.model_requests().await;
    let found = asked
        .iter()
        .any(|request| request.to_string().contains("iVBORw0KGgo"));
    assert!(found, "the model was shown no image");
}
