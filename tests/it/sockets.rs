//! Sessions over web sockets: events come, commands go.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::{AppBuilder, Client, PATIENCE, Socket, TestApp, joined, key};

/// Opens a connection, with these headers.
async fn open(
    app: &TestApp,
    session: &str,
    query: &str,
    headers: &[(&'static str, &str)],
) -> Result<Socket, Error> {
    Socket::open(app, &format!("/api/v1/sessions/{session}/ws?{query}"), headers).await
}

/// The status that a connection was refused with.
#[track_caller]
fn refused(opened: Result<Socket, Error>) -> u16 {
    match opened {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was opened"),
    }
}

impl Socket {
    /// Events up to the first of this type, without replies; and the replies among them.
    async fn until(&mut self, kind: &str) -> (Vec<Value>, Vec<Value>) {
        let (mut events, mut replies) = (Vec::new(), Vec::new());
        loop {
            let next = self.next().await;
            let found = next["type"] == kind;
            if next["id"].is_u64() {
                events.push(next);
            } else {
                replies.push(next);
            }
            if found {
                return (events, replies);
            }
        }
    }

    /// The answer to a command.
    async fn ask(&mut self, command: &Value) -> Value {
        self.send(command).await;
        loop {
            let next = self.next().await;
            if !next["id"].is_u64() {
                assert_eq!(next["ref"], command["ref"]);
                return next;
            }
        }
    }
}

async fn log(client: &Client, session: &str) -> Vec<Value> {
    let page = client
        .get(&format!("/api/v1/sessions/{session}/events?limit=200"))
        .await
        .expect(200);
    assert!(page.body["next_cursor"].is_null());
    page.body["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_turn_is_taken_and_followed_and_what_comes_is_the_log() {
    let app = AppBuilder::real().start();
    let session = app.client().session("alice").await;
    let mut socket = open(&app, &session, "", &[]).await.unwrap();
    socket
        .send(&json!({"type": "message", "ref": "one", "message": "% bash echo hello\n% results"}))
        .await;
    let (events, mut replies) = socket.until("done").await;
    if replies.is_empty() {
        replies.push(socket.next().await);
    }
    assert_eq!(replies.len(), 1);
    assert_eq!(
        (&replies[0]["type"], &replies[0]["ref"]),
        (&json!("ack"), &json!("one"))
    );
    assert_eq!(replies[0]["turn_id"], events.last().unwrap()["turn_id"]);
    assert_eq!(joined(&events), "hello");
    assert_eq!(events, log(&app.client(), &session).await);
}

#[tokio::test]
async fn a_lost_connection_goes_on_at_any_place_in_the_middle_of_a_turn() {
    let app = AppBuilder::real().start();
    let session = app.client().session("alice").await;
    let mut socket = open(&app, &session, "", &[]).await.unwrap();
    socket
        .send(&json!({"type": "message", "message": "% words 25 every 20ms"}))
        .await;
    let mut events = Vec::new();
    // Every few events, the connection is lost.
    loop {
        let next = socket.next().await;
        if !next["id"].is_u64() {
            continue;
        }
        let is_last = next["type"] == "done";
        events.push(next);
        if is_last {
            break;
        }
        if events.len() % 4 == 0 {
            let after = format!("after={}", events.last().unwrap()["id"]);
            socket = open(&app, &session, &after, &[]).await.unwrap();
        }
    }
    assert_eq!(events, log(&app.client(), &session).await);
    let only = format!("after={}&types=done", events[0]["id"]);
    let mut socket = open(&app, &session, &only, &[]).await.unwrap();
    assert_eq!(socket.next().await, *events.last().unwrap());
}

#[tokio::test]
async fn several_clients_see_the_same_and_each_may_steer() {
    let app = AppBuilder::fake().start();
    let session = app.client().session("alice").await;
    let mut one = open(&app, &session, "deltas=false", &[]).await.unwrap();
    let mut other = open(&app, &session, "deltas=false", &[]).await.unwrap();
    one.send(&json!({"type": "message", "message": "never-end"}))
        .await;
    other.until("turn_started").await;
    let interrupted = other.ask(&json!({"type": "interrupt", "ref": "i"})).await;
    assert_eq!(interrupted["of"], "interrupt");
    assert!(interrupted["turn_id"].is_string());
    let (seen, _) = one.until("error").await;
    assert_eq!(seen.last().unwrap()["code"], "turn_interrupted");
    let changed = other
        .ask(&json!({"type": "set_permission_mode", "permission_mode": "plan", "ref": "m"}))
        .await;
    assert_eq!(changed["type"], "ack");
    let (seen, _) = one.until("session_updated").await;
    assert_eq!(seen.last().unwrap()["permission_mode"], "plan");
    assert_eq!(
        other.ask(&json!({"type": "set_model", "model": "opus"})).await["type"],
        "ack"
    );
    assert_eq!(
        other.ask(&json!({"type": "ping", "ref": "p"})).await,
        json!({"type": "pong", "ref": "p"})
    );
}

#[tokio::test]
async fn what_an_agent_asks_is_answered_over_the_connection() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let session = client
        .session_with(&json!({"user_id": "alice", "options": {"permission_mode": "default"}}))
        .await;
    let mut socket = open(&app, &session, "", &[]).await.unwrap();
    socket
        .send(&json!({"type": "message", "message": "permission Bash"}))
        .await;
    let (events, _) = socket.until("permission_request").await;
    let permission = events.last().unwrap()["permission_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let unknown = "prm_00000000000000000000000000000000";
    let lost = json!({"type": "permission", "permission_id": unknown, "decision": "allow", "ref": "x"});
    assert_eq!(socket.ask(&lost).await["problem"]["code"], "permission_not_found");
    let allow = json!({"type": "permission", "permission_id": permission, "decision": "allow", "ref": "y"});
    socket.send(&allow).await;
    let (events, replies) = socket.until("done").await;
    let resolved = events
        .iter()
        .find(|event| event["type"] == "permission_resolved")
        .unwrap();
    assert_eq!(resolved["decision"], "allow");
    assert!(
        replies
            .iter()
            .any(|reply| reply["ref"] == "y" && reply["type"] == "ack"),
        "{replies:?}"
    );
}

#[tokio::test]
async fn the_same_message_with_the_same_key_runs_once() {
    let app = AppBuilder::fake().start();
    let session = app.client().session("alice").await;
    let mut socket = open(&app, &session, "types=done,message", &[]).await.unwrap();
    let command = json!({"type": "message", "message": "hello", "idempotency_key": "k", "ref": "r"});
    let first = socket.ask(&command).await;
    let mut socket = open(&app, &session, "types=done,message", &[]).await.unwrap();
    let again = socket.ask(&command).await;
    assert_eq!(
        (&first["type"], &first["turn_id"]),
        (&again["type"], &again["turn_id"])
    );
    let other = json!({"type": "message", "message": "other", "idempotency_key": "k", "ref": "r"});
    assert_eq!(socket.ask(&other).await["problem"]["code"], "key_reused");
    let (_, _) = open(&app, &session, "", &[]).await.unwrap().until("done").await;
    let prompts = log(&app.client(), &session).await;
    assert_eq!(
        prompts.iter().filter(|event| event["type"] == "message").count(),
        1
    );
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_its_ref_and_the_connection_stays() {
    let app = AppBuilder::fake()
        .with_keys(&[
            ("acme-member", "member", "acme", None),
            ("acme-reader", "reader", "acme", None),
        ])
        .start();
    let session = app.client_with("acme-member").session("alice").await;
    let bearer = |name: &str| format!("Bearer {}", key(name));
    let mut socket = open(&app, &session, "", &[("authorization", &bearer("acme-member"))])
        .await
        .unwrap();
    for (command, code, field) in [
        (json!({"type": "nonsense"}), "validation_failed", "type"),
        (json!({}), "validation_failed", "type"),
        (json!({"type": 7}), "validation_failed", "type"),
        (json!({"type": "message"}), "validation_failed", "message"),
        (
            json!({"type": "message", "message": "x", "extra": 1}),
            "validation_failed",
            "extra",
        ),
        (
            json!({"type": "permission", "decision": "allow"}),
            "validation_failed",
            "permission_id",
        ),
        (json!({"type": "set_model"}), "validation_failed", "model"),
        (
            json!({"type": "set_model", "model": "x", "title": "y"}),
            "validation_failed",
            "title",
        ),
        (
            json!({"type": "set_permission_mode", "permission_mode": "root"}),
            "validation_failed",
            "permission_mode",
        ),
        (json!({"type": "ping", "loud": true}), "validation_failed", "loud"),
    ] {
        let mut command = command;
        command["ref"] = json!("r");
        let reply = socket.ask(&command).await;
        assert_eq!(
            (
                &reply["type"],
                &reply["problem"]["code"],
                &reply["problem"]["errors"][0]["field"]
            ),
            (&json!("refused"), &json!(code), &json!(field)),
            "{command}"
        );
    }
    for text in ["", "[]", "{", "null", "\"x\""] {
        socket.0.send(Message::text(text)).await.unwrap();
        assert_eq!(
            socket.next().await["problem"]["code"],
            "malformed_json",
            "{text:?}"
        );
    }
    let mut reader = open(&app, &session, "", &[("authorization", &bearer("acme-reader"))])
        .await
        .unwrap();
    let reply = reader
        .ask(&json!({"type": "message", "message": "hello", "ref": "r"}))
        .await;
    assert_eq!(reply["problem"]["code"], "forbidden");
    assert_eq!(reader.ask(&json!({"type": "ping"})).await["type"], "pong");
    assert_eq!(
        log(&app.client_with("acme-reader"), &session).await,
        [] as [Value; 0]
    );
}

#[tokio::test]
async fn only_a_handshake_from_a_page_that_may_and_with_a_cursor_of_the_log_is_let_in() {
    let app = AppBuilder::fake()
        .with(|settings| settings.api.cors_origins = vec!["https://app.example.com".into()])
        .start();
    let client = app.client();
    let session = client.session("alice").await;
    client.answer(&session, "one").await;
    let path = format!("/api/v1/sessions/{session}/ws");
    client.get(&path).await.problem(426, "upgrade_required");
    let own = format!("http://{}", app.address);
    for (origin, is_let_in) in [
        (own.as_str(), true),
        ("https://app.example.com", true),
        ("https://evil.example.com", false),
        ("null", false),
        ("http://127.0.0.1", false),
    ] {
        let opened = open(&app, &session, "", &[("origin", origin)]).await;
        if is_let_in {
            opened.unwrap();
        } else {
            assert_eq!(refused(opened), 403, "{origin}");
        }
    }
    for (query, status) in [
        ("after=x", 400),
        ("after=1", 400),
        ("types=no", 422),
        ("since=1", 422),
    ] {
        assert_eq!(refused(open(&app, &session, query, &[]).await), status, "{query}");
    }
    let unknown = "ses_00000000000000000000000000000000";
    assert_eq!(refused(open(&app, unknown, "", &[]).await), 404);
}

#[tokio::test]
async fn a_ticket_opens_its_session_once_for_a_while_and_for_no_more_than_its_holder_may() {
    let app = AppBuilder::fake()
        .with(|settings| settings.websocket.ticket_ttl = Duration::from_secs(2))
        .with_keys(&[
            ("acme-member", "member", "acme", None),
            ("acme-reader", "reader", "acme", None),
            ("rival-member", "member", "rival", None),
        ])
        .start();
    let member = app.client_with("acme-member");
    let session = member.session("alice").await;
    let other = member.session("alice").await;
    let foreign = app.client_with("rival-member").session("eve").await;
    let ticket = async |client: &Client, session: &str| {
        let path = format!("/api/v1/sessions/{session}/ws-ticket");
        client.send(Method::POST, &path, None).await
    };
    let query = |ticket: &str| format!("ticket={ticket}");
    let given = ticket(&member, &session).await.expect(201).text("ticket");
    let mut socket = open(&app, &session, &query(&given), &[]).await.unwrap();
    assert_eq!(
        socket
            .ask(&json!({"type": "message", "message": "hello", "ref": "r"}))
            .await["type"],
        "ack"
    );
    assert_eq!(
        refused(open(&app, &session, &query(&given), &[]).await),
        401,
        "once"
    );
    let given = ticket(&member, &session).await.text("ticket");
    for session in [&other, &foreign] {
        assert_eq!(refused(open(&app, session, &query(&given), &[]).await), 401);
    }
    let changed = format!("{given}x");
    assert_eq!(refused(open(&app, &session, &query(&changed), &[]).await), 401);
    assert_eq!(
        refused(open(&app, &session, "", &[]).await),
        401,
        "nothing at all"
    );
    ticket(&member, &foreign).await.problem(404, "session_not_found");
    let of_reader = ticket(&app.client_with("acme-reader"), &session)
        .await
        .expect(201)
        .text("ticket");
    let mut socket = open(&app, &session, &query(&of_reader), &[]).await.unwrap();
    let reply = socket.ask(&json!({"type": "interrupt", "ref": "r"})).await;
    assert_eq!(reply["problem"]["code"], "forbidden");
    let late = ticket(&member, &session).await.text("ticket");
    crate::support::until("the ticket has ended", async || {
        // One that has ended is not used up by being tried.
        let opened = open(&app, &session, &query(&late), &[]).await;
        (opened.is_err()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_connection_is_closed_by_a_code_that_says_why() {
    let app = AppBuilder::fake()
        .with(|settings| {
            settings.websocket.message_max_bytes = 1000;
            settings.websocket.frame_max_bytes = 1000;
        })
        .start();
    let client = app.client();
    let session = client.session("alice").await;
    let mut socket = open(&app, &session, "", &[]).await.unwrap();
    socket.0.send(Message::binary(vec![1, 2])).await.unwrap();
    assert_eq!(socket.closed().await.0, 1003);
    let mut socket = open(&app, &session, "", &[]).await.unwrap();
    socket
        .send(&json!({"type": "ping", "ref": "x".repeat(2000)}))
        .await;
    assert_eq!(socket.closed().await.0, 1009);
    let mut socket = open(&app, &session, "", &[]).await.unwrap();
    socket.0.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.0.next().await {}
    let socket = open(&app, &session, "", &[]).await.unwrap();
    client
        .delete(&format!("/api/v1/sessions/{session}"))
        .await
        .expect(204);
    assert_eq!(socket.closed().await.0, 1000);
    let session = client.session("alice").await;
    let socket = open(&app, &session, "", &[]).await.unwrap();
    app.stopper.stop_within(Duration::from_secs(5));
    assert_eq!(socket.closed().await.0, 1001);
}

#[tokio::test]
async fn pings_are_sent_and_a_client_that_answers_none_is_let_go() {
    let app = AppBuilder::fake()
        .with(|settings| {
            settings.websocket.ping_interval = Duration::from_millis(50);
            settings.websocket.idle_timeout = Duration::from_millis(400);
        })
        .start();
    let session = app.client().session("alice").await;
    let mut lively = open(&app, &session, "", &[]).await.unwrap();
    let url = format!("ws://{}/api/v1/sessions/{session}/ws", app.address);
    let stream = TcpStream::connect(app.address).await.unwrap();
    let (mut silent, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    // What is read below the protocol is answered by nobody.
    let mut raw = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(silent.get_mut(), &mut raw);
    let answering = async {
        loop {
            assert!(matches!(lively.message().await, Message::Ping(_)));
        }
    };
    tokio::select! {
        read = tokio::time::timeout(PATIENCE, read) => { read.unwrap().unwrap(); }
        () = answering => {}
    }
    let code = 4408_u16.to_be_bytes();
    assert!(raw.windows(2).any(|two| two == code), "{raw:?}");
    assert_eq!(lively.ask(&json!({"type": "ping"})).await["type"], "pong");
}

#[tokio::test]
async fn a_key_that_is_revoked_loses_its_connection() {
    let app = AppBuilder::fake()
        .with(|settings| settings.auth.recheck_interval = Duration::from_millis(20))
        .with_keys(&[("root", "admin", "default", None)])
        .start();
    let admin = app.client_with("root");
    let keys = "/api/v1/admin/tenants/default/keys";
    let made = admin
        .post(keys, &json!({"name": "n", "role": "member"}))
        .await
        .expect(201);
    let client = Client::new(app.address, Some(made.text("key")));
    let session = client.session("alice").await;
    let bearer = format!("Bearer {}", made.text("key"));
    let socket = open(&app, &session, "", &[("authorization", &bearer)])
        .await
        .unwrap();
    admin
        .delete(&format!("{keys}/{}", made.text("key_id")))
        .await
        .expect(200);
    assert_eq!(socket.closed().await.0, 1008);
    assert_eq!(client.get("/api/v1/me").await.status, StatusCode::UNAUTHORIZED);
}
