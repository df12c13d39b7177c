//! Other systems' clients at whichever instance a proxy sends them to: sessions that go by a name are found there too.

use reqwest::Method;
use serde_json::json;

use super::two;
use crate::support::{AppBuilder, Client, Socket, TestApp, turn_over, user_message};

async fn complete(client: &Client, prompt: &str) -> String {
    let body =
        json!({"model": "claude-code", "user": "alice", "messages": [{"role": "user", "content": prompt}]});
    let answer = client.post("/v1/chat/completions", &body).await.expect(200);
    answer.body["choices"][0]["message"]["content"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// What the CLI says last to a prompt over the WebSocket dialect.
async fn over_a_socket(app: &TestApp, prompt: &str) -> String {
    let mut socket = Socket::open(app, "/ws", &[]).await.unwrap();
    assert_eq!(socket.next().await["type"], "connected");
    socket.send(&user_message(prompt)).await;
    let said = turn_over(&mut socket).await;
    said.last().unwrap()["result"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_conversation_that_goes_by_a_name_goes_on_at_the_other_instance() {
    let [one, other] = two(AppBuilder::real);
    let question = "Which number did I ask you to remember?";
    complete(&one.client(), "Remember the number 42").await;
    assert!(complete(&other.client(), question).await.contains("42"));
    over_a_socket(&one, "Remember the number 7").await;
    let answer = over_a_socket(&other, question).await;
    assert!(answer.contains('7'), "{answer}");
}

#[tokio::test]
async fn a_run_is_attached_to_and_keeps_its_folder_at_the_other_instance() {
    let [one, other] = two(AppBuilder::fake);
    let run = |conversation: &str, text: &str| json!({"conversation_id": conversation, "text": text, "cwd": "project"});
    let long = "words 40 every 20ms";
    let begun = one
        .client()
        .request(Method::POST, "/v1/agent/stream")
        .json(&run("c", long));
    let mut begun = begun.send().await.unwrap();
    begun.chunk().await.unwrap();
    let busy = other
        .client()
        .post("/v1/agent/stream", &run("another", "hello"))
        .await
        .expect(409);
    assert_eq!(busy.body["error"], "agent_folder_busy");
    let attached = other
        .client()
        .post("/v1/agent/stream", &run("c", long))
        .await
        .expect(200);
    let mut rest = String::new();
    while let Some(chunk) = begun.chunk().await.unwrap() {
        rest.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let last = |text: &str| text.rsplit("data: ").next().unwrap().to_owned();
    assert!(last(&rest).contains("\"subtype\":\"success\""), "{rest}");
    assert_eq!(last(&rest), last(&attached.raw));
    other
        .client()
        .post("/v1/agent/stream", &run("another", "hello"))
        .await
        .expect(200);
}
