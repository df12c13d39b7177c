//! `Idempotency-Key`: what is sent twice is done once.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, AppBuilder, Client, TestApp, read, until};

async fn send(client: &Client, key: &str, path: &str, body: Option<&Value>) -> Answer {
    let request = client.request(Method::POST, path).header("idempotency-key", key);
    let request = match body {
        Some(body) => request.json(body),
        None => request,
    };
    read(request.send().await.unwrap()).await
}

fn app() -> TestApp {
    AppBuilder::fake()
        .with_keys(&[
            ("root", "admin", "default", None),
            ("acme", "owner", "acme", None),
            ("alice", "member", "acme", Some("alice")),
            ("bob", "member", "acme", Some("bob")),
            ("rival", "owner", "rival", None),
        ])
        .start()
}

async fn sessions(client: &Client) -> usize {
    let page = client.get("/api/v1/sessions").await.expect(200).body;
    page["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn the_same_request_is_answered_with_the_same_and_another_is_refused() {
    let app = app();
    let acme = app.client_with("acme");
    let body = json!({"user_id": "alice", "title": "one"});
    let first = send(&acme, "k1", "/api/v1/sessions", Some(&body))
        .await
        .expect(201);
    let again = send(&acme, "k1", "/api/v1/sessions", Some(&body))
        .await
        .expect(201);
    assert_eq!(first.body, again.body);
    assert_eq!(first.header("location"), again.header("location"));
    assert_eq!(sessions(&acme).await, 1);
    let other = json!({"user_id": "alice", "title": "two"});
    send(&acme, "k1", "/api/v1/sessions", Some(&other))
        .await
        .problem(409, "key_reused");
    // A key is its tenant's, and its user's where the credential acts for one.
    let rival = app.client_with("rival");
    let of_rival = send(&rival, "k1", "/api/v1/sessions", Some(&body))
        .await
        .expect(201);
    assert_ne!(of_rival.text("session_id"), first.text("session_id"));
    let alice = app.client_with("alice");
    let of_alice = send(&alice, "k1", "/api/v1/sessions", Some(&body))
        .await
        .expect(201);
    assert_ne!(of_alice.text("session_id"), first.text("session_id"));
    send(&app.client_with("bob"), "k1", "/api/v1/sessions", Some(&body))
        .await
        .problem(403, "forbidden");
}

#[tokio::test]
async fn what_was_refused_may_be_sent_again() {
    let app = app();
    let acme = app.client_with("acme");
    let path = "/api/v1/admin/tenants/acme/keys";
    let body = json!({"name": "ci", "role": "reader"});
    let taken = send(&acme, "a", path, Some(&body)).await.expect(201);
    send(&acme, "b", path, Some(&body))
        .await
        .problem(409, "key_name_taken");
    acme.delete(taken.header("location")).await.expect(200);
    send(&acme, "b", path, Some(&body)).await.expect(201);
}

#[tokio::test]
async fn a_new_key_is_shown_once_also_to_whoever_asks_again() {
    let app = app();
    let acme = app.client_with("acme");
    let path = "/api/v1/admin/tenants/acme/keys";
    let body = json!({"name": "ci", "role": "reader"});
    let first = send(&acme, "a", path, Some(&body)).await.expect(201);
    let again = send(&acme, "a", path, Some(&body)).await.expect(201);
    assert_eq!(again.body["key"], Value::Null);
    assert_eq!(again.text("key_id"), first.text("key_id"));
    let secret = first.text("key");
    let folder = app.stop();
    for name in ["paddock.db", "paddock.db-wal"] {
        let bytes = std::fs::read(folder.path().join(name)).unwrap_or_default();
        let kept = bytes
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!kept, "{name}");
    }
}

#[tokio::test]
async fn every_post_takes_a_key() {
    let app = app();
    let (root, acme) = (app.client_with("root"), app.client_with("acme"));
    let id = acme.session("alice").await;
    let path = |rest: &str| format!("/api/v1/sessions/{id}{rest}");
    acme.answer(&id, "hello").await;
    let turn = acme.get(&path("/turns")).await.expect(200).body["data"][0]["turn_id"]
        .as_str()
        .unwrap()
        .to_owned();
    for (number, (client, path, body)) in [
        (
            &root,
            "/api/v1/admin/tenants".to_owned(),
            Some(json!({"name": "newco"})),
        ),
        (&acme, path("/fork"), Some(json!({}))),
        (&acme, path("/resume"), None),
        (&acme, path("/interrupt"), None),
        (&acme, path(&format!("/turns/{turn}/cancel")), None),
        (&acme, path("/messages"), Some(json!({"message": "hello"}))),
        (&acme, path("/turns"), Some(json!({"message": "hello"}))),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("key-{number}");
        let first = send(client, &key, &path, body.as_ref()).await;
        assert!(first.status.is_success(), "{path}: {}", first.body);
        until("the turn has ended", async || {
            let page = acme
                .get(&format!("/api/v1/sessions/{id}/turns"))
                .await
                .expect(200)
                .body;
            (page["data"][0]["status"] == "completed").then_some(())
        })
        .await;
        let again = send(client, &key, &path, body.as_ref()).await;
        assert_eq!(first.status, again.status, "{path}");
        let told = |answer: &Answer| {
            let field = ["turn_id", "session_id", "tenant_id"]
                .into_iter()
                .find(|field| answer.body[field].is_string());
            answer.body[field.unwrap()].clone()
        };
        assert_eq!(told(&first), told(&again), "{path}");
    }
    let turns = acme.get(&path("/turns")).await.expect(200).body;
    assert_eq!(turns["data"].as_array().unwrap().len(), 3, "each once");
}

#[tokio::test]
async fn whoever_asks_while_the_first_one_is_at_it_gets_its_answer() {
    let app = app();
    let acme = app.client_with("acme");
    let id = acme.session("alice").await;
    acme.answer(&id, "hello").await;
    let path = format!("/api/v1/sessions/{id}/fork");
    let body = json!({"copy_workspace": false});
    let all = (0..8).map(|_| send(&acme, "same", &path, Some(&body)));
    let answers = futures_util::future::join_all(all).await;
    let ids: std::collections::BTreeSet<_> = answers
        .into_iter()
        .map(|answer| answer.expect(201).text("session_id"))
        .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(sessions(&acme).await, 2);
}
