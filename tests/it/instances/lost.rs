//! Instances that are lost, frozen, cut off, restarted: each a process of its own, as they are run.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::{Node, Nodes, follow, ids, status_of};
use crate::support::{joined, processes_of, until};

/// How soon another instance goes on.
const GOES_ON_WITHIN: Duration = Duration::from_secs(10);

/// A session with something to remember, and a turn in it that will not end, at this instance; its id and the turn's.
async fn in_a_turn(node: &Node) -> (String, String) {
    let client = node.client();
    let session = client.session("alice").await;
    client.answer(&session, "the word is maple").await;
    let path = format!("/api/v1/sessions/{session}/turns");
    let turn = client
        .post(&path, &json!({"message": "words 2000 every 20ms"}))
        .await;
    let turn = turn.expect(202).text("turn_id");
    let mut events = follow(&client, &session, 0).await;
    events.until("turn_started").await;
    events.until("turn_started").await;
    for _ in 0..3 {
        events.until("text_delta").await;
    }
    (session, turn)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sessions_of_an_instance_that_is_killed_go_on_at_another_within_ten_seconds() {
    let nodes = Nodes::new();
    let (one, two) = (nodes.start("one"), nodes.start("two"));
    let (session, turn) = in_a_turn(&one).await;
    let mut elsewhere = follow(&two.client(), &session, 0).await;
    let mut seen = Vec::new();
    while seen.len() < 12 {
        seen.push(elsewhere.next().await.unwrap());
    }
    one.signal(Signal::KILL);
    let lost = Instant::now();
    two.client()
        .ask(&session, "too early")
        .await
        .problem(409, "session_busy");
    // Whoever follows hears of it without asking.
    seen.extend(elsewhere.until("error").await);
    assert!(lost.elapsed() < GOES_ON_WITHIN, "{:?}", lost.elapsed());
    assert_eq!(seen.last().unwrap()["code"], "turn_unknown");
    assert_eq!(status_of(&two.client(), &session, &turn).await, "unknown");
    assert!(
        ids(&seen).is_sorted_by(|one, next| one < next),
        "ids of a new epoch come after all of the old"
    );
    let text = two.client().answer(&session, "recall").await;
    assert_eq!(text, "the word is maple");
    assert!(lost.elapsed() < GOES_ON_WITHIN + Duration::from_secs(2));
    until("nothing of the lost instance's agents is left", async || {
        processes_of(one.folder.path()).is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_was_frozen_finds_itself_fenced_and_joins_anew() {
    let nodes = Nodes::new();
    let (one, two) = (nodes.start("one"), nodes.start("two"));
    let (session, turn) = in_a_turn(&one).await;
    one.signal(Signal::STOP);
    let lost = Instant::now();
    until("the other goes on", async || {
        let answer = two.client().ask(&session, "recall").await;
        (answer.status == 200).then(|| assert_eq!(answer.text("text"), "the word is maple"))
    })
    .await;
    assert!(lost.elapsed() < GOES_ON_WITHIN, "{:?}", lost.elapsed());
    one.signal(Signal::CONT);
    until("its agents are ended", async || {
        let server = i32::try_from(one.pid()).unwrap();
        let left = processes_of(one.folder.path());
        left.iter().all(|pid| *pid == server).then_some(())
    })
    .await;
    // What it still had to say of the turn is not taken, and it serves again.
    until("it has joined anew", async || {
        let answer = one.client().ask(&session, "recall").await;
        (answer.status == 200).then(|| assert_eq!(answer.text("text"), "the word is maple, recall"))
    })
    .await;
    let mut events = follow(&two.client(), &session, 0).await;
    let mut all = Vec::new();
    for _ in 0..3 {
        all.extend(events.until("done").await);
    }
    assert!(ids(&all).is_sorted_by(|one, next| one < next));
    let of_turn: Vec<_> = all.iter().filter(|event| event["turn_id"] == turn).collect();
    assert_eq!(
        of_turn.last().unwrap()["code"],
        "turn_unknown",
        "nothing comes after its end"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_started_again_under_its_name_goes_on_at_once() {
    let nodes = Nodes::new();
    let one = nodes.start("one");
    let (session, turn) = in_a_turn(&one).await;
    one.signal(Signal::KILL);
    let again = nodes.start("one");
    assert_eq!(status_of(&again.client(), &session, &turn).await, "unknown");
    assert_eq!(
        again.client().answer(&session, "recall").await,
        "the word is maple"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_whose_name_another_has_taken_ends() {
    let nodes = Nodes::new();
    let (one, two) = (nodes.start("same"), nodes.start("same"));
    let (code, ..) = one.ended();
    assert_eq!(code, Some(1));
    let session = two.client().session("alice").await;
    assert_eq!(two.client().answer(&session, "hello").await, "You said: hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_told_to_end_lets_turns_end_and_gives_its_sessions_back() {
    let nodes = Nodes::new();
    let (one, two) = (nodes.start("one"), nodes.start("two"));
    let (idle, busy) = (
        one.client().session("alice").await,
        one.client().session("bob").await,
    );
    one.client().answer(&idle, "the word is maple").await;
    let mut stream = one.client().stream(&busy, "words 100 every 10ms").await;
    stream.until("turn_started").await;
    one.signal(Signal::TERM);
    until("it is not ready", async || {
        (one.client().get("/health/ready").await.status == 503).then_some(())
    })
    .await;
    one.client().ask(&idle, "no").await.problem(503, "shutting_down");
    // While it drains, what it does not use goes on elsewhere.
    assert_eq!(two.client().answer(&idle, "recall").await, "the word is maple");
    let events = stream.rest().await;
    assert_eq!(events.last().unwrap()["type"], "done");
    assert_eq!(joined(&events), events.last().unwrap()["text"].as_str().unwrap());
    let (code, ..) = one.ended();
    assert_eq!(code, Some(0));
    let started = Instant::now();
    two.client().answer(&busy, "hello").await;
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "it was given back: nobody waits for its lease"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_are_minutes_wrong_break_nothing() {
    let nodes = Nodes::new();
    let early = nodes.start_with("early", &[("PADDOCK__INSTANCE__CLOCK_OFFSET_SECONDS", "-420")]);
    let late = nodes.start_with("late", &[("PADDOCK__INSTANCE__CLOCK_OFFSET_SECONDS", "420")]);
    let session = early.client().session("alice").await;
    let mut times = Vec::new();
    for node in [&early, &late, &early, &late] {
        node.client().answer(&session, "hello").await;
        let path = format!("/api/v1/sessions/{session}");
        times.push(node.client().get(&path).await.text("last_active_at"));
    }
    assert!(times.is_sorted_by(|one, next| one < next), "{times:?}");
    let (session, turn) = in_a_turn(&late).await;
    late.signal(Signal::KILL);
    until("the other goes on", async || {
        let status = status_of(&early.client(), &session, &turn).await;
        (status == "unknown").then_some(())
    })
    .await;
}
