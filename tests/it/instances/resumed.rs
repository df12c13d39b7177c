//! Turns that go on after their server was lost, where the tenant asks for that.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Node, Nodes, follow, ids, status_of};
use crate::support::{Client, Served, joined, paddock, real_cli, until};

/// What agents are told here when they go on.
const GO_ON: &str = "% bash echo again >> made.txt\n% say went on";

fn environment() -> Vec<(&'static str, String)> {
    vec![
        ("PADDOCK__AGENT__CLI_PATH", real_cli().display().to_string()),
        ("PADDOCK__AGENT__RESUME_PROMPT", GO_ON.to_owned()),
    ]
}

fn start(nodes: &Nodes, name: &str) -> Node {
    let environment = environment();
    let environment: Vec<_> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    nodes.start_with(name, &environment)
}

async fn ask_for_it(client: &Client) {
    let change = json!({"policy": {"on_lost": "resume"}});
    client
        .patch("/api/v1/admin/tenants/default", &change)
        .await
        .expect(200);
}

async fn session(client: &Client) -> String {
    let body = json!({"user_id": "alice", "options": {"allowed_tools": ["Bash"]}});
    client.session_with(&body).await
}

async fn submit(client: &Client, session: &str, message: &str) -> String {
    let path = format!("/api/v1/sessions/{session}/turns");
    let turn = client.post(&path, &json!({"message": message})).await;
    turn.expect(202).text("turn_id")
}

async fn turn(client: &Client, session: &str, turn: &str) -> Value {
    let path = format!("/api/v1/sessions/{session}/turns/{turn}");
    client.get(&path).await.expect(200).body
}

/// A turn that has done something, has said half of something, and will not end; what was told of it.
async fn half_done(client: &Client, session: &str) -> (String, Vec<Value>) {
    let prompt = "I begin.\n% bash echo once >> made.txt\n% words 4000 every 20ms";
    let id = submit(client, session, prompt).await;
    let mut events = follow(client, session, 0).await;
    let mut seen = events.until("tool_result").await;
    for _ in 0..20 {
        seen.extend(events.until("text_delta").await);
    }
    // Pieces are kept with the next whole event, or once there are enough of them.
    (id, seen)
}

fn of_type<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_whose_instance_is_killed_goes_on_at_another_from_where_its_agent_was() {
    let nodes = Nodes::new();
    let (one, two) = (start(&nodes, "one"), start(&nodes, "two"));
    let client = two.client();
    ask_for_it(&client).await;
    let session = session(&one.client()).await;
    let (turn_id, seen) = half_done(&one.client(), &session).await;
    let mut elsewhere = follow(&client, &session, seen.last().unwrap()["id"].as_u64().unwrap()).await;
    one.signal(Signal::KILL);
    let after = elsewhere.until("done").await;
    let all: Vec<_> = seen.iter().chain(&after).cloned().collect();
    assert!(ids(&all).is_sorted_by(|one, next| one < next));
    assert_eq!(of_type(&all, "turn_started").len(), 1);
    let resumed = of_type(&after, "turn_resumed");
    assert_eq!(resumed.len(), 1);
    assert_eq!(resumed[0]["turn_id"], turn_id);
    assert_eq!(resumed[0]["text"], "I begin.", "half a sentence does not count");
    let done = after.last().unwrap();
    assert_eq!(
        (&done["turn_id"], &done["text"]),
        (&json!(turn_id), &json!("I begin.\n\nwent on"))
    );
    assert_eq!(joined(&all), "I begin.\n\nwent on");

    let ended = turn(&client, &session, &turn_id).await;
    assert_eq!(ended["status"], "completed");
    assert_eq!(ended["text"], done["text"]);
    let calls: Vec<_> = ended["tool_calls"].as_array().unwrap().iter().collect();
    assert_eq!(calls.len(), 2, "what it did before counts too");
    assert!(calls.iter().all(|call| call["is_error"] == false), "{calls:?}");
    let made = nodes.shared.path().join("workspaces/default/alice/made.txt");
    assert_eq!(
        std::fs::read_to_string(made).unwrap(),
        "once\nagain\n",
        "and is not done twice"
    );
    // Its agent knows what it was asked, once.
    let recalled = client.answer(&session, "% recall").await;
    assert_eq!(recalled.matches("I begin.").count(), 1, "{recalled}");
    // What it used before its server was lost is in its account.
    let cost = |field: &str| ended[field].as_f64().unwrap();
    assert!(cost("cost_usd") > 1.4 * cost("reported_cost_usd"), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_turn_goes_on_is_busy_and_the_request_sent_again_gets_that_turn() {
    let nodes = Nodes::new();
    let environment = [("PADDOCK__AGENT__RESUME_PROMPT", "words 200 every 10ms")];
    let (one, two) = (
        nodes.start_with("one", &environment),
        nodes.start_with("two", &environment),
    );
    let client = two.client();
    ask_for_it(&client).await;
    let session = one.client().session("alice").await;
    let send = async |client: &Client| {
        let body = json!({"session_id": session, "message": "words 300 every 10ms"});
        let request = client.request(reqwest::Method::POST, "/api/v1/chat");
        let response = request.header("idempotency-key", "k1").json(&body).send().await;
        response.ok()
    };
    let (client_of_one, mut events) = (one.client(), follow(&client, &session, 0).await);
    let (lost, ()) = tokio::join!(send(&client_of_one), async {
        events.until("text_delta").await;
        one.signal(Signal::KILL);
    });
    assert!(lost.is_none_or(|response| response.status() != 200));
    events.until("turn_resumed").await;
    client.ask(&session, "now?").await.problem(409, "session_busy");
    let answer: Value = send(&client).await.unwrap().json().await.unwrap();
    let done = events.until("done").await;
    assert_eq!(answer["turn_id"], done.last().unwrap()["turn_id"]);
    assert_eq!(answer["text"], done.last().unwrap()["text"]);
    assert_eq!(client.answer(&session, "now?").await, "You said: now?");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_at_an_instance_that_was_frozen_gets_the_answer_that_another_brought_about() {
    let nodes = Nodes::new();
    let (one, two) = (nodes.start("one"), nodes.start("two"));
    ask_for_it(&two.client()).await;
    let session = one.client().session("alice").await;
    let (client, mut events) = (one.client(), follow(&two.client(), &session, 0).await);
    let (answer, ()) = tokio::join!(client.ask(&session, "words 100 every 10ms"), async {
        events.until("text_delta").await;
        one.signal(Signal::STOP);
        events.until("done").await;
        one.signal(Signal::CONT);
    });
    let answer = answer.expect(200);
    assert!(answer.text("text").ends_with(" word100"));
    assert_eq!(
        status_of(&two.client(), &session, &answer.text("turn_id")).await,
        "completed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_goes_on_only_so_often_and_not_without_its_folder() {
    let nodes = Nodes::new();
    let environment = [("PADDOCK__AGENT__TURN_RESUMES_MAX", "1")];
    let start = |name| nodes.start_with(name, &environment);
    let (one, two) = (start("one"), start("two"));
    ask_for_it(&one.client()).await;
    let session = one.client().session("alice").await;
    let turn = submit(&one.client(), &session, "words 4000 every 10ms").await;
    let mut events = follow(&two.client(), &session, 0).await;
    events.until("text_delta").await;
    one.signal(Signal::KILL);
    events.until("turn_resumed").await;
    events.until("text_delta").await;
    two.signal(Signal::KILL);
    let three = start("three");
    until("it is settled", async || {
        let status = status_of(&three.client(), &session, &turn).await;
        (status == "unknown").then_some(())
    })
    .await;
    assert_eq!(three.client().answer(&session, "hello").await, "You said: hello");

    let turn = submit(&three.client(), &session, "words 4000 every 10ms").await;
    let mut events = follow(&three.client(), &session, 0).await;
    until("it is at work", async || {
        let event = events.next().await.unwrap();
        (event["type"] == "text_delta" && event["turn_id"] == turn).then_some(())
    })
    .await;
    std::fs::remove_dir_all(nodes.shared.path().join("workspaces/default/alice")).unwrap();
    three.signal(Signal::KILL);
    let four = start("four");
    until("it is settled", async || {
        let status = status_of(&four.client(), &session, &turn).await;
        (status == "unknown").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_is_one_server_a_turn_goes_on_once_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let start = |folder: std::sync::Arc<tempfile::TempDir>| {
        let mut command = paddock(folder.path());
        command.arg("serve").envs(environment());
        Served::of(command, folder)
    };
    let server = start(folder.into());
    let client = server.client();
    ask_for_it(&client).await;
    let session = session(&client).await;
    let (turn_id, _seen) = half_done(&client, &session).await;
    server.signal(Signal::KILL);
    let (.., folder) = server.ended();
    let server = start(folder);
    let client = server.client();
    until("it has ended", async || {
        let ended = turn(&client, &session, &turn_id).await;
        (ended["status"] == "completed").then(|| assert_eq!(ended["text"], "I begin.\n\nwent on"))
    })
    .await;
    let made = server
        .folder
        .path()
        .join("data/workspaces/default/alice/made.txt");
    assert_eq!(std::fs::read_to_string(made).unwrap(), "once\nagain\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_lost_agent_asked_is_withdrawn_and_asked_anew_by_the_one_that_goes_on() {
    let nodes = Nodes::new();
    let (one, two) = (nodes.start("one"), nodes.start("two"));
    let client = two.client();
    ask_for_it(&client).await;
    let session = one.client().session("alice").await;
    let mut events = follow(&client, &session, 0).await;
    submit(&one.client(), &session, "permission Write").await;
    let first = events.until("permission_request").await;
    one.signal(Signal::KILL);
    let told = events.until("permission_request").await;
    let resolved = of_type(&told, "permission_resolved");
    assert_eq!(resolved[0]["decision"], "withdrawn");
    assert_eq!(
        resolved[0]["permission_id"],
        first.last().unwrap()["permission_id"]
    );
    let path = format!(
        "/api/v1/sessions/{session}/permissions/{}",
        told.last().unwrap()["permission_id"].as_str().unwrap()
    );
    client
        .post(&path, &json!({"decision": "allow"}))
        .await
        .expect(200);
    events.until("done").await;
    tokio::time::timeout(Duration::from_millis(1), events.next())
        .await
        .unwrap_err();
}
