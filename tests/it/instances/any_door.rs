//! What comes to one instance about a session that another has.

use serde_json::json;

use super::{follow, ids, live_agents, status_of, two, two_with};
use crate::support::{AppBuilder, joined, until};

#[tokio::test]
async fn a_session_goes_on_at_whichever_instance_its_next_turn_comes_to() {
    let [one, two] = two(AppBuilder::real);
    let session = one.client().session("alice").await;
    one.client().answer(&session, "Remember the number 42.").await;
    let path = format!("/api/v1/sessions/{session}");
    for (app, other) in [(&two, &one), (&one, &two), (&two, &one)] {
        let text = app.client().answer(&session, "% recall").await;
        assert!(text.contains("42"), "{text}");
        assert_eq!((live_agents(app).await, live_agents(other).await), (1, 0));
        for client in [one.client(), two.client()] {
            let seen = client.get(&path).await.expect(200).body;
            assert_eq!(
                (&seen["agent_live"], &seen["busy"]),
                (&json!(true), &json!(false))
            );
        }
    }
    assert_eq!(one.client().get(&path).await.body["message_count"], 4);
}

#[tokio::test]
async fn a_session_that_is_in_a_turn_elsewhere_is_busy_is_waited_for_and_is_interrupted() {
    let [one, two] = two(AppBuilder::fake);
    let session = one.client().session("alice").await;
    let mut running = one.client().stream(&session, "never-end").await;
    running.until("turn_started").await;
    two.client()
        .ask(&session, "hello")
        .await
        .problem(409, "session_busy");
    let seen = two.client().get(&format!("/api/v1/sessions/{session}")).await;
    assert_eq!(
        (&seen.body["agent_live"], &seen.body["busy"]),
        (&json!(true), &json!(true))
    );
    // One waits, the other comes before it and interrupts.
    let path = format!("/api/v1/sessions/{session}/turns");
    let waits = json!({"message": "waited", "on_busy": "queue"});
    let waits = two.client().post(&path, &waits).await.expect(202).text("turn_id");
    assert_eq!(status_of(&two.client(), &session, &waits).await, "queued");
    let body = json!({"session_id": session, "message": "urgent", "on_busy": "interrupt"});
    let urgent = two.client().open("/api/v1/chat/stream", &body).await;
    assert_eq!(urgent.rest().await.last().unwrap()["text"], "You said: urgent");
    assert_eq!(running.rest().await.last().unwrap()["code"], "turn_interrupted");
    until("the one that waits has ended", async || {
        let status = status_of(&two.client(), &session, &waits).await;
        (status == "completed").then_some(())
    })
    .await;
    assert_eq!(
        (live_agents(&one).await, live_agents(&two).await),
        (1, 0),
        "it stayed where it was"
    );
}

#[tokio::test]
async fn a_turn_is_interrupted_and_its_questions_are_answered_at_the_other_instance() {
    let [one, two] = two(AppBuilder::fake);
    let session = one.client().session("alice").await;
    let mut running = one.client().stream(&session, "permission Bash").await;
    let asked = running.until("permission_request").await.pop().unwrap();
    let (turn, permission) = (
        asked["turn_id"].as_str().unwrap(),
        asked["permission_id"].as_str().unwrap(),
    );
    assert_eq!(
        status_of(&two.client(), &session, turn).await,
        "awaiting_permission"
    );
    let path = format!("/api/v1/sessions/{session}/permissions/{permission}");
    two.client()
        .post(&path, &json!({"decision": "allow"}))
        .await
        .expect(200);
    let events = running.rest().await;
    assert_eq!(events.last().unwrap()["type"], "done");
    let mut running = one.client().stream(&session, "never-end").await;
    running.until("turn_started").await;
    let path = format!("/api/v1/sessions/{session}/interrupt");
    let interrupted = two.client().post(&path, &json!({})).await.expect(200);
    assert!(interrupted.body["turn_id"].is_string(), "{}", interrupted.body);
    assert_eq!(running.rest().await.last().unwrap()["code"], "turn_interrupted");
}

#[tokio::test]
async fn a_session_is_changed_and_closed_at_the_other_instance() {
    let [one, two] = two(AppBuilder::fake);
    let session = one.client().session("alice").await;
    one.client().answer(&session, "hello").await;
    let path = format!("/api/v1/sessions/{session}");
    let mut events = follow(&one.client(), &session, 0).await;
    two.client()
        .patch(&path, &json!({"model": "sonnet", "title": "new"}))
        .await
        .expect(200);
    assert_eq!(
        events.until("session_updated").await.last().unwrap()["title"],
        "new"
    );
    assert_eq!(
        (live_agents(&one).await, live_agents(&two).await),
        (1, 0),
        "it stayed where it was"
    );
    let mut running = one.client().stream(&session, "never-end").await;
    running.until("turn_started").await;
    two.client().delete(&path).await.expect(204);
    assert_eq!(running.rest().await.last().unwrap()["code"], "session_closed");
    assert_eq!(live_agents(&one).await, 0);
    events.rest().await;
    let homes = one.folder.path().join("homes");
    let tenant = std::fs::read_dir(&homes).unwrap().next().unwrap().unwrap().path();
    assert_eq!(
        std::fs::read_dir(tenant).unwrap().count(),
        0,
        "nothing of it is left"
    );
}

#[tokio::test]
async fn events_are_followed_at_any_instance_pieces_of_text_too() {
    let [one, two] = two(AppBuilder::fake);
    let session = one.client().session("alice").await;
    let mut followers = [
        follow(&one.client(), &session, 0).await,
        follow(&two.client(), &session, 0).await,
    ];
    let mut all = [Vec::new(), Vec::new()];
    // The session moves from the one to the other and back while both are followed.
    for app in [&one, &two, &one] {
        app.client().answer(&session, "words 30 every 5ms").await;
        for (follower, all) in followers.iter_mut().zip(&mut all) {
            all.extend(follower.until("done").await);
        }
    }
    assert_eq!(all[0], all[1], "the same events, with the same ids");
    assert!(ids(&all[0]).is_sorted_by(|one, next| one < next));
    let deltas = all[1]
        .iter()
        .filter(|event| event["type"] == "text_delta")
        .count();
    assert!(deltas >= 3 * 25, "{deltas} pieces came live");
    let text = joined(&all[1]);
    assert!(!text.is_empty());
}

#[tokio::test]
async fn a_reader_goes_on_at_the_other_instance_in_the_middle_of_a_turn() {
    let [one, two] = two_with(AppBuilder::fake, |settings| {
        // Nothing of the text is stored before the turn ends.
        settings.events.delta_segment_bytes = 1 << 20;
    });
    let session = one.client().session("alice").await;
    let mut stream = one.client().stream(&session, "words 60 every 10ms").await;
    let mut seen = Vec::new();
    while seen.len() < 20 {
        seen.push(stream.next().await.unwrap());
    }
    drop(stream);
    for app in [&two, &one, &two] {
        let after = seen.last().unwrap()["id"].as_u64().unwrap();
        let mut rest = follow(&app.client(), &session, after).await;
        for _ in 0..8 {
            seen.push(rest.next().await.unwrap());
        }
    }
    let after = seen.last().unwrap()["id"].as_u64().unwrap();
    seen.extend(follow(&two.client(), &session, after).await.until("done").await);
    assert!(ids(&seen).is_sorted_by(|one, next| one < next));
    let done = seen.last().unwrap()["text"].as_str().unwrap();
    assert_eq!(joined(&seen), done, "not a piece is lost or told twice");
}

#[tokio::test]
async fn the_same_request_at_both_instances_runs_once() {
    let [one, two] = two(AppBuilder::fake);
    let session = one.client().session("alice").await;
    let path = format!("/api/v1/sessions/{session}/messages");
    let send = async |client: crate::support::Client| {
        let request = client
            .request(reqwest::Method::POST, &path)
            .header("idempotency-key", "once")
            .json(&json!({"message": "words 30 every 10ms"}));
        crate::support::read(request.send().await.unwrap())
            .await
            .expect(200)
            .body
    };
    let (first, second) = tokio::join!(send(one.client()), send(two.client()));
    assert_eq!(first["turn_id"], second["turn_id"]);
    assert_eq!(first["text"], second["text"]);
    let session = one.client().get(&format!("/api/v1/sessions/{session}")).await;
    assert_eq!(session.body["message_count"], 1);
}

#[tokio::test]
async fn nobody_but_an_instance_gets_at_what_instances_ask_each_other() {
    let [one, _two] = two(AppBuilder::fake);
    let session = one.client().session("alice").await;
    let log = format!("/internal/v1/logs/ten_01a20083f7bf770688e24d6c06517f43/{session}");
    for key in [None, Some("guess".to_owned())] {
        let client = crate::support::Client::new(one.address, key);
        client.get(&log).await.problem(404, "not_found");
        let command = json!({"tenant": "x", "session": session, "command": {"do": "close"}});
        client
            .post("/internal/v1/commands", &command)
            .await
            .problem(404, "not_found");
    }
}

#[tokio::test]
async fn a_prompt_that_is_too_long_to_be_passed_on_is_refused_by_name() {
    let [one, two] = two_with(AppBuilder::fake, |settings| {
        settings.instance.message_max_bytes = 4096;
    });
    let session = one.client().session("alice").await;
    let mut stream = one.client().stream(&session, "words 2000 every 10ms").await;
    stream.until("text_delta").await;
    let queue = async |length: usize| {
        let body = json!({"message": "x".repeat(length), "on_busy": "queue"});
        two.client()
            .post(&format!("/api/v1/sessions/{session}/turns"), &body)
            .await
    };
    let refused = queue(5000).await;
    assert!(refused.text("detail").contains("instance.message_max_bytes"));
    refused.problem(413, "body_too_large");
    queue(100).await.expect(202);
}
