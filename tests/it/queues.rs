//! Turns that wait: for the turn that has their session, and for an agent; and requests that are sent again.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, AppBuilder, Client, Stream, read, until};

async fn submit(client: &Client, session: &str, message: &str, on_busy: &str) -> Answer {
    let body = json!({"message": message, "on_busy": on_busy});
    client
        .post(&format!("/api/v1/sessions/{session}/turns"), &body)
        .await
}

async fn turn(client: &Client, session: &str, id: &str) -> Value {
    client
        .get(&format!("/api/v1/sessions/{session}/turns/{id}"))
        .await
        .expect(200)
        .body
}

async fn ended(client: &Client, session: &str, id: &str) -> Value {
    until("the turn has ended", async || {
        let turn = turn(client, session, id).await;
        (!turn["ended_at"].is_null()).then_some(turn)
    })
    .await
}

#[tokio::test]
async fn a_submitted_turn_is_polled_until_it_has_ended() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let taken = submit(&client, &id, "% wait 300ms\n% say slow", "reject")
        .await
        .expect(202);
    let turn_id = taken.text("turn_id");
    assert_eq!(
        taken.header("location"),
        format!("/api/v1/sessions/{id}/turns/{turn_id}")
    );
    assert!(
        ["queued", "running"].contains(&taken.text("status").as_str()),
        "{}",
        taken.body
    );
    let turn = ended(&client, &id, &turn_id).await;
    assert_eq!(
        (turn["status"].as_str(), turn["text"].as_str()),
        (Some("completed"), Some("slow"))
    );
    let listed = client
        .get(&format!("/api/v1/sessions/{id}/turns"))
        .await
        .expect(200)
        .body;
    assert_eq!(listed["data"][0], turn);
}

#[tokio::test]
async fn turns_of_a_session_wait_in_order_and_each_gets_its_own_answer() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let first = submit(&client, &id, "% wait 500ms\n% say one", "queue")
        .await
        .expect(202)
        .text("turn_id");
    submit(&client, &id, "% say no", "reject")
        .await
        .problem(409, "session_busy");
    let second = submit(&client, &id, "% say two", "queue").await.expect(202);
    assert_eq!(second.text("status"), "queued");
    let body = json!({"message": "% say three", "on_busy": "queue"});
    let stream = client.open(&format!("/api/v1/sessions/{id}/stream"), &body).await;
    let events = stream.rest().await;
    assert_eq!(
        (
            events[0]["type"].as_str(),
            events[0]["waits_for"].as_str(),
            events[0]["position"].as_u64()
        ),
        (Some("turn_queued"), Some("session"), Some(2))
    );
    assert_eq!(events.last().unwrap()["text"], "three");
    assert_eq!(ended(&client, &id, &first).await["text"], "one");
    assert_eq!(ended(&client, &id, &second.text("turn_id")).await["text"], "two");
    let messages = client
        .get(&format!("/api/v1/sessions/{id}/messages"))
        .await
        .expect(200)
        .body;
    let roles: Vec<_> = messages["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["role"].clone())
        .collect();
    assert_eq!(
        json!(roles),
        json!(["user", "assistant", "user", "assistant", "user", "assistant"])
    );
}

#[tokio::test]
async fn a_turn_that_interrupts_is_next_and_the_interrupted_one_says_so() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let mut stream = client.stream(&id, "% words 500 every 50ms").await;
    stream.until("text_delta").await;
    let waits = submit(&client, &id, "% say later", "queue")
        .await
        .expect(202)
        .text("turn_id");
    let body = json!({"message": "% say now", "on_busy": "interrupt"});
    let urgent = client
        .post(&format!("/api/v1/sessions/{id}/messages"), &body)
        .await
        .expect(200);
    assert_eq!(urgent.text("text"), "now");
    assert_eq!(stream.rest().await.pop().unwrap()["code"], "turn_interrupted");
    let waited = ended(&client, &id, &waits).await;
    assert_eq!(waited["text"], "later");
    let urgent = turn(&client, &id, &urgent.text("turn_id")).await;
    assert!(urgent["started_at"].as_str() < waited["started_at"].as_str());
}

#[tokio::test]
async fn a_waiting_turn_is_cancelled_without_having_run() {
    let app = AppBuilder::fake()
        .with(|settings| settings.agent.turn_queue_max = 1)
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    let first = submit(&client, &id, "never-end", "queue")
        .await
        .expect(202)
        .text("turn_id");
    let second = submit(&client, &id, "hello", "queue")
        .await
        .expect(202)
        .text("turn_id");
    let full = submit(&client, &id, "hello", "queue")
        .await
        .problem(429, "turn_queue_full");
    assert!(!full.header("retry-after").is_empty());
    let cancel = |turn: String| {
        let (client, path) = (&client, format!("/api/v1/sessions/{id}/turns/{turn}/cancel"));
        async move { client.post(&path, &json!({})).await.expect(202) }
    };
    cancel(second.clone()).await;
    let cancelled = ended(&client, &id, &second).await;
    assert_eq!(
        (cancelled["status"].as_str(), cancelled["error"]["code"].as_str()),
        (Some("interrupted"), Some("turn_interrupted"))
    );
    assert_eq!(turn(&client, &id, &first).await["status"], "running");
    cancel(first.clone()).await;
    assert_eq!(ended(&client, &id, &first).await["status"], "interrupted");
    assert_eq!(
        cancel(first).await.text("status"),
        "interrupted",
        "what has ended stays"
    );
    let session = client
        .get(&format!("/api/v1/sessions/{id}"))
        .await
        .expect(200)
        .body;
    assert_eq!(session["message_count"], 1, "what did not run is not counted");
    assert_eq!(client.answer(&id, "next").await, "You said: next");
}

#[tokio::test]
async fn turns_wait_for_an_agent_in_turn_over_tenants_and_are_told_their_position() {
    let app = AppBuilder::fake()
        .with_keys(&[("busy", "member", "busy", None), ("rare", "member", "rare", None)])
        .with(|settings| {
            settings.agent.max_live = 1;
            settings.agent.prewarm = false;
        })
        .start();
    let (busy, rare) = (app.client_with("busy"), app.client_with("rare"));
    let holder = busy.session("alice").await;
    let holding = submit(&busy, &holder, "never-end", "reject")
        .await
        .expect(202)
        .text("turn_id");
    until("the holder has the agent", async || {
        (turn(&busy, &holder, &holding).await["status"] == "running").then_some(())
    })
    .await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let id = busy.session("alice").await;
        let turn = submit(&busy, &id, "words 1 every 50ms", "reject")
            .await
            .expect(202)
            .text("turn_id");
        waiting.push((id, turn));
    }
    until("they wait", async || {
        let health = app.client().get("/health").await.expect(200).body;
        (health["queued_turns"] == 3).then_some(())
    })
    .await;
    let one = rare.session("bob").await;
    let stream = rare.stream(&one, "hello").await;
    busy.post(&format!("/api/v1/sessions/{holder}/interrupt"), &json!({}))
        .await
        .expect(200);
    let events = stream.rest().await;
    let queued: Vec<_> = events
        .iter()
        .filter(|event| event["type"] == "turn_queued")
        .collect();
    assert_eq!(
        (queued[0]["waits_for"].as_str(), queued[0]["position"].as_u64()),
        (Some("agent"), Some(2)),
        "after one of the other tenant's, not after all: {events:?}"
    );
    assert_eq!(events.last().unwrap()["type"], "done");
    let rare_turn = rare
        .get(&format!("/api/v1/sessions/{one}/turns"))
        .await
        .expect(200)
        .body;
    for (id, turn_id) in &waiting {
        assert_eq!(ended(&busy, id, turn_id).await["status"], "completed");
    }
    let last = turn(&busy, &waiting[2].0, &waiting[2].1).await;
    assert!(rare_turn["data"][0]["ended_at"].as_str() < last["ended_at"].as_str());
}

#[tokio::test]
async fn the_wait_for_an_agent_is_bounded_in_length_and_time() {
    let app = AppBuilder::fake()
        .with(|settings| {
            settings.agent.max_live = 1;
            settings.agent.prewarm = false;
            settings.agent.queue_max = 1;
            settings.agent.queue_timeout = Duration::from_secs(2);
        })
        .start();
    let client = app.client();
    let holder = client.session("alice").await;
    submit(&client, &holder, "never-end", "reject").await.expect(202);
    until("the holder has the agent", async || {
        let health = client.get("/health").await.expect(200).body;
        (health["live_agents"] == 1).then_some(())
    })
    .await;
    let (waits, none) = (client.session("bob").await, client.session("carol").await);
    let late = submit(&client, &waits, "hello", "reject")
        .await
        .expect(202)
        .text("turn_id");
    until("one waits", async || {
        let health = client.get("/health").await.expect(200).body;
        (health["queued_turns"] == 1).then_some(())
    })
    .await;
    let full = client.ask(&none, "hello").await.problem(503, "agents_exhausted");
    assert!(!full.header("retry-after").is_empty());
    assert_eq!(
        ended(&client, &waits, &late).await["error"]["code"],
        "agents_exhausted"
    );
}

fn with_key<'a>(
    client: &'a Client,
    path: &'a str,
    key: &'a str,
    body: &'a Value,
) -> impl Future<Output = Answer> + 'a {
    let request = client
        .request(Method::POST, path)
        .header("idempotency-key", key)
        .json(body);
    async { read(request.send().await.unwrap()).await }
}

#[tokio::test]
async fn a_request_that_is_sent_again_with_its_key_does_not_run_again() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let path = format!("/api/v1/sessions/{id}/messages");
    let body = json!({"message": "% bash echo x >> log\n% say done"});
    let (one, two) = tokio::join!(
        with_key(&client, &path, "k1", &body),
        with_key(&client, &path, "k1", &body)
    );
    let mut answers = [one, two];
    // The second may come before the first has begun its turn.
    for answer in &mut answers {
        while answer.body["code"] == "request_in_progress" {
            *answer = with_key(&client, &path, "k1", &body).await;
        }
    }
    let again = with_key(&client, &path, "k1", &body).await.expect(200);
    for answer in &answers {
        assert_eq!((answer.status.as_u16(), &answer.body), (200, &again.body));
    }
    let log = std::fs::read_to_string(app.workspace("alice").join("log")).unwrap();
    assert_eq!(log, "x\n", "it ran once");

    let other = json!({"message": "% say other"});
    with_key(&client, &path, "k1", &other)
        .await
        .problem(409, "key_reused");
    with_key(&client, &path, &"k".repeat(256), &body)
        .await
        .problem(422, "validation_failed");
    let folder = app.stop();
    let app = AppBuilder::real().in_folder_of(&folder).start();
    let after = with_key(&app.client(), &path, "k1", &body).await.expect(200);
    assert_eq!(after.body, again.body, "also after a restart");
}

#[tokio::test]
async fn a_stream_that_is_asked_for_again_tells_the_whole_turn() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let path = format!("/api/v1/sessions/{id}/stream");
    let body = json!({"message": "% words 20 every 20ms"});
    let open = || async {
        let request = client
            .request(Method::POST, &path)
            .header("idempotency-key", "s1")
            .json(&body);
        Stream::of(request.send().await.unwrap())
    };
    let mut first = open().await;
    first.until("text_delta").await;
    drop(first);
    let live = open().await.rest().await;
    let replayed = open().await.rest().await;
    let text = |events: &[Value]| crate::support::joined(events);
    assert_eq!(text(&live), text(&replayed));
    assert_eq!(live.last(), replayed.last());
    assert_eq!(live[0]["type"], "session", "{live:?}");
    assert_eq!(app.model_requests().await.len(), 1);
}

#[tokio::test]
async fn a_turn_that_waits_when_the_server_stops_is_told_not_to_have_run() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let id = client.session("alice").await;
    submit(&client, &id, "never-end", "queue").await.expect(202);
    let second = submit(&client, &id, "hello", "queue")
        .await
        .expect(202)
        .text("turn_id");
    let folder = app.stop();
    let app = AppBuilder::fake().in_folder_of(&folder).start();
    let turn = turn(&app.client(), &id, &second).await;
    assert_eq!(
        (turn["status"].as_str(), turn["error"]["code"].as_str()),
        (Some("interrupted"), Some("server_shutdown"))
    );
}

#[tokio::test]
async fn a_lost_conversation_begins_anew_only_where_that_is_asked_for() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "Remember the number 7.").await;
    let before = client
        .get(&format!("/api/v1/sessions/{id}"))
        .await
        .expect(200)
        .text("claude_session_id");
    let folder = app.stop();
    std::fs::remove_dir_all(folder.path().join("homes")).unwrap();
    let database = crate::transcripts::database(folder.path()).await;
    sqlx::query("DELETE FROM transcript_entries")
        .execute(&database)
        .await
        .unwrap();
    database.close().await;
    let app = AppBuilder::real().in_folder_of(&folder).start();
    let client = app.client();
    client.ask(&id, "hello").await.problem(409, "conversation_lost");
    let body = json!({"message": "% say hello again", "on_lost": "fresh"});
    let stream = client.open(&format!("/api/v1/sessions/{id}/stream"), &body).await;
    let events = stream.rest().await;
    let reset = events
        .iter()
        .find(|event| event["type"] == "conversation_reset")
        .unwrap();
    assert_eq!(events.last().unwrap()["text"], "hello again");
    let after = client
        .get(&format!("/api/v1/sessions/{id}"))
        .await
        .expect(200)
        .text("claude_session_id");
    assert_ne!(after, before);
    assert_eq!(reset["claude_session_id"], after);
    client.answer(&id, "next").await;
}
