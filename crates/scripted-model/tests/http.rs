//! The scripted model as its clients meet it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code may panic")]

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use scripted_model::{Options, ScriptedModel, StartError};
use serde_json::{Value, json};

struct Model {
    model: ScriptedModel,
    http: reqwest::Client,
}

impl Model {
    fn start() -> Self {
        let model = ScriptedModel::start(Options::default()).unwrap();
        Self {
            model,
            http: {
                // It speaks no TLS, but wants to be able to, where the whole workspace is built.
                let _installed = rustls::crypto::ring::default_provider().install_default();
                reqwest::Client::builder().no_proxy().build().unwrap()
            },
        }
    }

    async fn post(&self, body: &Value) -> reqwest::Response {
        let url = format!("{}/v1/messages?beta=true", self.model.base_url());
        self.http
            .post(url)
            .header("x-api-key", "k")
            .json(body)
            .send()
            .await
            .unwrap()
    }

    async fn ask(&self, messages: Value) -> Value {
        self.post(&json!({"model": "m", "max_tokens": 9, "messages": messages}))
            .await
            .json()
            .await
            .unwrap()
    }

    async fn prompt(&self, prompt: &str) -> Value {
        self.ask(json!([{"role": "user", "content": prompt}])).await
    }

    async fn events(&self, prompt: &str) -> Vec<Value> {
        let body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": prompt}]});
        let response = self.post(&body).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        events(&response.text().await.unwrap())
    }
}

fn events(stream: &str) -> Vec<Value> {
    stream
        .split_terminator("\n\n")
        .map(|frame| {
            let (event, data) = frame.split_once('\n').unwrap();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(event.strip_prefix("event: "), data["type"].as_str());
            data
        })
        .collect()
}

fn text(message: &Value) -> String {
    let blocks = message["content"].as_array().unwrap();
    blocks
        .iter()
        .filter_map(|block| block["text"].as_str())
        .collect::<Vec<_>>()
        .join("|")
}

#[tokio::test]
async fn plain_words_are_echoed_and_what_was_to_be_remembered_is_known() {
    let model = Model::start();
    assert_eq!(text(&model.prompt("Hello").await), "You said: Hello");
    let asked = json!([
        {"role": "user", "content": "Remember the number 42."},
        {"role": "assistant", "content": "I will remember that."},
        {"role": "user", "content": "Which number did I ask you to remember?"}
    ]);
    assert_eq!(
        text(&model.ask(asked).await),
        "You asked me to remember the number 42."
    );
}

#[tokio::test]
async fn a_stream_has_the_apis_events_in_the_apis_order_and_says_what_the_whole_message_says() {
    let model = Model::start();
    let script = "% think Let me see\n% say one two\n% usage input=7 output=8 cache_read=9";
    let stream = model.events(script).await;
    let types: Vec<_> = stream
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(types.first(), Some(&"message_start"));
    assert_eq!(types[types.len() - 2..], ["message_delta", "message_stop"]);
    let starts = types
        .iter()
        .filter(|kind| **kind == "content_block_start")
        .count();
    assert_eq!(
        (
            starts,
            types.iter().filter(|kind| **kind == "content_block_stop").count()
        ),
        (2, 2)
    );
    assert_eq!(stream[0]["message"]["usage"]["input_tokens"], 7);
    let joined: String = stream
        .iter()
        .filter_map(|event| event["delta"]["text"].as_str())
        .collect();
    assert_eq!(joined, "one two");

    let whole = model.prompt(script).await;
    assert_eq!(whole["content"][0]["thinking"], "Let me see");
    assert!(whole["content"][0]["signature"].is_string());
    assert_eq!(text(&whole), "one two");
    assert_eq!(whole["usage"]["output_tokens"], 8);
    assert_eq!(whole["usage"]["cache_read_input_tokens"], 9);
}

#[tokio::test]
async fn tools_are_called_in_rounds_and_beside_each_other() {
    let model = Model::start();
    let script = "% bash one\n% +bash two\n% write a.txt three\n% results";
    let mut messages = vec![json!({"role": "user", "content": script})];
    let mut rounds = Vec::new();
    loop {
        let message = model.ask(json!(messages)).await;
        if message["stop_reason"] == "end_turn" {
            assert_eq!(text(&message), "done 1\ndone 2\ndone 1");
            break;
        }
        assert_eq!(message["stop_reason"], "tool_use");
        let calls: Vec<Value> = message["content"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|block| block["type"] == "tool_use")
            .cloned()
            .collect();
        rounds.push(
            calls
                .iter()
                .map(|call| call["name"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>(),
        );
        messages.push(json!({"role": "assistant", "content": message["content"]}));
        let results: Vec<_> = (1..)
            .zip(&calls)
            .map(|(number, call)| json!({"type": "tool_result", "tool_use_id": call["id"], "content": format!("done {number}")}))
            .collect();
        messages.push(json!({"role": "user", "content": results}));
    }
    assert_eq!(rounds, [vec!["Bash", "Bash"], vec!["Write"]]);
}

#[tokio::test]
async fn errors_have_the_apis_shape_and_happen_as_often_as_they_are_told_to() {
    let model = Model::start();
    for (status, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ] {
        let prompt = format!("% fail {status} retry-after=3 times 2\n% say after");
        for _ in 0..2 {
            let body = json!({"messages": [{"role": "user", "content": prompt}]});
            let failed = model.post(&body).await;
            assert_eq!(failed.status().as_u16(), status);
            assert_eq!(failed.headers()["retry-after"], "3");
            assert_eq!(failed.json::<Value>().await.unwrap()["error"]["type"], kind);
        }
        assert_eq!(text(&model.prompt(&prompt).await), "after");
    }
}

#[tokio::test]
async fn a_stream_can_break_off_with_an_error_or_without_a_word() {
    let model = Model::start();
    let stream = model.events("some\n% overloaded times 1\n% say after").await;
    assert_eq!(stream.last().unwrap()["error"]["type"], "overloaded_error");
    let body = json!({"stream": true, "messages": [{"role": "user", "content": "some\n% drop times 1\n% say after"}]});
    model
        .post(&body)
        .await
        .text()
        .await
        .expect_err("the connection was dropped");
    assert!(
        model
            .post(&body)
            .await
            .text()
            .await
            .unwrap()
            .contains("message_stop"),
        "and only once"
    );
}

#[tokio::test]
async fn words_come_one_by_one_and_a_hang_says_nothing_more() {
    let model = Model::start();
    let began = Instant::now();
    let stream = model.events("% words 4 every 30ms").await;
    assert!(began.elapsed() >= Duration::from_millis(90));
    let joined: String = stream
        .iter()
        .filter_map(|event| event["delta"]["text"].as_str())
        .collect();
    assert_eq!(joined, "word1 word2 word3 word4");

    let body = json!({"stream": true, "messages": [{"role": "user", "content": "before\n% hang"}]});
    let mut response = model.post(&body).await;
    let mut told = String::new();
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout(Duration::from_millis(300), response.chunk()).await {
        told.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert!(
        told.contains("before") && !told.contains("message_stop"),
        "{told}"
    );
}

#[tokio::test]
async fn stop_reasons_are_the_scripts() {
    let model = Model::start();
    assert_eq!(
        model.prompt("% say x\n% stop max_tokens").await["stop_reason"],
        "max_tokens"
    );
    assert_eq!(model.prompt("% stop refusal").await["content"], json!([]));
}

#[tokio::test]
async fn what_it_was_asked_can_be_looked_at_and_forgotten() {
    let model = Model::start();
    model.prompt("look at me").await;
    let recorded = model.model.recorded();
    assert_eq!(recorded[0].body["messages"][0]["content"], "look at me");
    assert!(
        recorded[0]
            .headers
            .contains(&("x-api-key".to_owned(), "k".to_owned()))
    );
    let url = format!("{}/_scripted/requests", model.model.base_url());
    let over_http: Value = model.http.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(over_http[0]["path"], "/v1/messages");
    assert_eq!(
        model.http.delete(&url).send().await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    assert!(model.model.recorded().is_empty());
}

#[tokio::test]
async fn the_rest_of_the_api_answers_too() {
    let model = Model::start();
    let base = model.model.base_url();
    assert_eq!(
        model.http.head(&base).send().await.unwrap().status(),
        StatusCode::OK
    );
    let models: Value = model
        .http
        .get(format!("{base}/v1/models"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert!(models["data"].as_array().is_some_and(|data| !data.is_empty()));
    let counted = model
        .http
        .post(format!("{base}/v1/messages/count_tokens"))
        .json(&json!({"messages": []}));
    let counted: Value = counted.send().await.unwrap().json().await.unwrap();
    assert!(counted["input_tokens"].is_u64());
    let missing = model.http.get(format!("{base}/v1/nothing")).send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        missing.json::<Value>().await.unwrap()["error"]["type"],
        "not_found_error"
    );
    let nonsense = model
        .http
        .post(format!("{base}/v1/messages"))
        .body("{")
        .send()
        .await
        .unwrap();
    assert_eq!(nonsense.status(), StatusCode::BAD_REQUEST);
}

#[test]
fn it_listens_on_loopback_only() {
    let open = Options {
        host: "0.0.0.0".parse().unwrap(),
        ..Options::default()
    };
    assert!(matches!(
        ScriptedModel::start(open),
        Err(StartError::NotLoopback(_))
    ));
}

#[test]
fn once_stopped_it_is_gone() {
    let model = ScriptedModel::start(Options::default()).unwrap();
    let address = model.address();
    model.stop();
    std::net::TcpStream::connect(address).expect_err("nobody listens");
}
