//! `codeagents-proxy`: conversations in folders, whose events are counted.

use reqwest::Method;
use serde_json::{Value, json};

use super::recorded::Recorder;
use crate::support::{Answer, AppBuilder, Client, read, until};

const RUN: &str = "/v1/agent/stream";

fn run(conversation: &str, text: &str) -> Value {
    json!({"conversation_id": conversation, "text": text, "cwd": "project"})
}

/// The numbered events of a stream.
fn numbered(answer: &Answer) -> Vec<(u64, Value)> {
    let frames = answer
        .raw
        .split_terminator("\n\n")
        .filter(|frame| !frame.starts_with(':'));
    frames
        .map(|frame| {
            let (id, data) = frame.split_once('\n').unwrap();
            let id = id.strip_prefix("id: ").unwrap().parse().unwrap();
            (
                id,
                serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap(),
            )
        })
        .collect()
}

/// The lines of a replay.
fn lines(answer: &Answer) -> Vec<Value> {
    let lines = answer.raw.lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn replay(client: &Client, conversation: &str, since: &str) -> Answer {
    let path = format!("/v1/conversations/{conversation}/events{since}");
    client.get(&path).await
}

async fn after(client: &Client, body: &Value, last: &str) -> Answer {
    let request = client.request(Method::POST, RUN).header("last-event-id", last);
    read(request.json(body).send().await.unwrap()).await
}

/// Begins a run, and leaves as soon as something of it came.
async fn begin(client: &Client, body: &Value) {
    let request = client.request(Method::POST, RUN).json(body);
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.chunk().await.unwrap();
}

#[track_caller]
fn is_bad(answer: Answer, message: &str) {
    let answer = answer.expect(400);
    assert_eq!(answer.body, json!({"error": "bad_request", "message": message}));
}

#[tokio::test]
async fn every_documented_exchange_is_as_it_was() {
    let app = AppBuilder::real().start();
    let mut recorder = Recorder::new(app.client(), &app.folder.path().join("workspaces"));
    recorder.get("/healthz").await.expect(200);
    let first = json!({"conversation_id": "c1", "text": "I look.\n% bash echo hello\n% say done", "cwd": "project",
        "allowed_tools": ["Bash"], "system_prompt": "Be brief.", "max_turns": 5, "model": "haiku",
        "permission_mode": "acceptEdits", "mcp_servers": {}});
    recorder.post(RUN, &first).await.expect(200);
    let again = json!({"session_id": "c1", "prompt": "Hello", "cwd": "project"});
    let headers = [("Last-Event-ID", "6")];
    recorder
        .send(Method::POST, RUN, &headers, Some(&again.to_string()))
        .await
        .expect(200);
    recorder
        .get("/v1/conversations/c1/events?since=5")
        .await
        .expect(200);
    recorder
        .get("/v1/conversations/c1/events?since=1000")
        .await
        .expect(200);
    recorder.get("/v1/conversations/c2/events").await.expect(404);
    recorder
        .get("/v1/conversations/c1/events?since=x")
        .await
        .expect(400);
    let elsewhere = json!({"conversation_id": "c1", "text": "Hello", "cwd": "other"});
    recorder.post(RUN, &elsewhere).await.expect(409);
    recorder
        .post(RUN, &json!({"conversation_id": "c1", "cwd": "project"}))
        .await
        .expect(400);
    insta::assert_snapshot!(recorder.into_text());
}

#[tokio::test]
async fn events_are_counted_over_runs_and_restarts_and_read_again_as_they_were() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let first = numbered(&client.post(RUN, &run("c", "one")).await.expect(200));
    let count = first.len() as u64;
    assert_eq!(
        first.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        (1..=count).collect::<Vec<_>>()
    );
    assert_eq!(first.last().unwrap().1["type"], "result");
    let folder = app.stop();
    let app = AppBuilder::fake().in_folder_of(&folder).start();
    let client = app.client();
    // Without a number, all is told again.
    let second = numbered(&client.post(RUN, &run("c", "two")).await.expect(200));
    assert_eq!(second[..first.len()], first);
    let total = second.len() as u64;
    let third = numbered(
        &after(&client, &run("c", "three"), &total.to_string())
            .await
            .expect(200),
    );
    assert_eq!(third[0].0, total + 1);
    let all: Vec<_> = second.into_iter().chain(third).map(|(_, event)| event).collect();
    assert_eq!(lines(&replay(&client, "c", "").await.expect(200)), all);
    let rest = replay(&client, "c", &format!("?since={total}")).await.expect(200);
    let before = usize::try_from(total).unwrap();
    assert_eq!(lines(&rest), all[before..]);
    assert_eq!(rest.header("content-type"), "application/x-ndjson");
    // A number beyond the end hides nothing of the new run.
    let fourth = numbered(&after(&client, &run("c", "four"), "5000").await.expect(200));
    assert_eq!(fourth[0].0, all.len() as u64 + 1);
}

#[tokio::test]
async fn a_client_that_left_attaches_to_the_run_that_goes_on() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let long = "words 30 every 20ms";
    begin(&client, &run("c", long)).await;
    let other = run("c", "something else");
    let refused = client.post(RUN, &other).await.expect(409);
    assert_eq!(
        refused.body,
        json!({"error": "conversation_already_running", "conversation_id": "c"})
    );
    is_bad(
        client.post(RUN, &json!({"conversation_id": "c"})).await,
        "cwd is required to attach.",
    );
    let elsewhere = json!({"conversation_id": "c", "cwd": "elsewhere"});
    let refused = client.post(RUN, &elsewhere).await.expect(409);
    assert_eq!(refused.body["error"], "conversation_cwd_mismatch");
    let attach = json!({"conversation_id": "c", "cwd": "project"});
    let same = run("c", long);
    let (without_text, with_text) = tokio::join!(client.post(RUN, &attach), after(&client, &same, "1"));
    let (all, rest) = (
        numbered(&without_text.expect(200)),
        numbered(&with_text.expect(200)),
    );
    assert_eq!(all[1..], rest);
    assert_eq!(all.last().unwrap().1["subtype"], "success");
    let told: Vec<_> = all.into_iter().map(|(_, event)| event).collect();
    assert_eq!(lines(&replay(&client, "c", "").await), told);
}

#[tokio::test]
async fn one_run_at_a_time_in_a_folder() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    begin(&client, &run("one", "never-end")).await;
    let busy = client.post(RUN, &run("two", "hello")).await.expect(409);
    let tree = app.workspace("default").canonicalize().unwrap();
    let cwd = tree.join("project").display().to_string();
    assert_eq!(
        busy.body,
        json!({"error": "agent_folder_busy", "cwd": cwd, "retry_after_ms": 2000})
    );
    // The same folder by its whole path; another one; and the same conversation.
    let mut whole = run("two", "hello");
    whole["cwd"] = cwd.into();
    client.post(RUN, &whole).await.expect(409);
    whole["cwd"] = "another".into();
    client.post(RUN, &whole).await.expect(200);
    let id = client
        .get("/api/v1/sessions?metadata.codeagents_conversation=one")
        .await
        .body["data"][0]["session_id"]
        .clone();
    let interrupt = format!("/api/v1/sessions/{}/interrupt", id.as_str().unwrap());
    client.post(&interrupt, &json!({})).await.expect(200);
    until("the folder is free", async || {
        let free = client.post(RUN, &run("three", "hello")).await;
        (free.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn of_many_that_want_a_folder_at_once_one_gets_it() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let begun = futures_util::future::join_all((0..6).map(|number| {
        let (client, body) = (client.clone(), run(&format!("c{number}"), "never-end"));
        async move {
            let response = client
                .request(Method::POST, RUN)
                .json(&body)
                .send()
                .await
                .unwrap();
            response.status().as_u16()
        }
    }))
    .await;
    assert_eq!(
        begun.iter().filter(|status| **status == 200).count(),
        1,
        "{begun:?}"
    );
    assert_eq!(
        begun.iter().filter(|status| **status == 409).count(),
        5,
        "{begun:?}"
    );
}

#[tokio::test]
async fn a_run_that_breaks_off_ends_in_one_result_that_says_so() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let died = numbered(&client.post(RUN, &run("c", "exit 3")).await.expect(200));
    let results: Vec<_> = died
        .iter()
        .filter(|(_, event)| event["type"] == "result")
        .collect();
    assert_eq!(results.len(), 1, "{died:?}");
    let result = &results[0].1;
    assert_eq!(
        (&result["subtype"], &result["is_error"]),
        (&json!("proxy_error"), &json!(true))
    );
    assert!(
        result["result"].as_str().unwrap().starts_with("ERROR: "),
        "{result}"
    );
    let next = numbered(
        &after(&client, &run("c", "hello"), &died.len().to_string())
            .await
            .expect(200),
    );
    assert_eq!(next[0].0, died.len() as u64 + 1);
    assert_eq!(next.last().unwrap().1["subtype"], "success");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_in_the_originals_order() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    for (body, message) in [
        (json!({"text": 5}), "text must be a string."),
        (json!({"text": "t"}), "conversation_id is required."),
        (json!({"conversation_id": 5}), "conversation_id must be a string."),
        (json!({"conversation_id": ".c"}), "Invalid id format."),
        (json!({"conversation_id": "x".repeat(129)}), "Invalid id format."),
        (
            json!({"conversation_id": "c"}),
            "text required to start a new run.",
        ),
        (
            json!({"conversation_id": "c", "text": " "}),
            "text required to start a new run.",
        ),
        (
            json!({"conversation_id": "c", "text": "t"}),
            "cwd must be a non-empty string.",
        ),
        (
            json!({"conversation_id": "c", "text": "t", "cwd": " "}),
            "cwd must be a non-empty string.",
        ),
        (
            json!({"conversation_id": "c", "text": "t", "cwd": "p", "resume": "x"}),
            "resume is not supported.",
        ),
        (
            json!({"conversation_id": "c", "text": "t", "cwd": "p", "tool_approvals": {}}),
            "tool_approvals is not supported.",
        ),
        (json!([]), "The body must be an object."),
    ] {
        is_bad(client.post(RUN, &body).await, message);
    }
    for last in ["x", "-1", "1.5"] {
        is_bad(
            after(&client, &run("c", "t"), last).await,
            "Invalid Last-Event-ID header.",
        );
    }
    is_bad(replay(&client, "c", "?since=x").await, "Invalid since parameter.");
    is_bad(replay(&client, ".c", "").await, "Invalid id format.");
    for outside in ["/etc", "../other", "~/x/../../y"] {
        let mut body = run("c", "t");
        body["cwd"] = outside.into();
        let refused = client.post(RUN, &body).await.expect(403);
        assert_eq!(refused.body["error"], "workspace_refused", "{outside}");
    }
    let unknown = replay(&client, "c", "").await.expect(404);
    assert_eq!(
        unknown.body,
        json!({"error": "conversation_unknown", "conversation_id": "c"}),
        "what was refused left nothing"
    );
    after(&client, &run("c", "hello"), " ").await.expect(200);
    let mut changed = run("c", "hello");
    changed["system_prompt"] = "Another.".into();
    is_bad(
        client.post(RUN, &changed).await,
        "system_prompt cannot change in a conversation.",
    );
    changed["system_prompt"] = Value::Null;
    changed["model"] = "opus".into();
    client.post(RUN, &changed).await.expect(200);
}
