//! Webhooks: events are sent where tenants want them, signed, at least once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::support::{AppBuilder, Client, read_request, until};

/// What a hook got.
#[derive(Debug, Clone)]
struct Received {
    headers: Vec<(String, String)>,
    body: String,
}

impl Received {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no {name}: {:?}", self.headers)).1
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Whether it is signed with this secret, as Standard Webhooks has it.
    fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
        let signed = format!(
            "{}.{}.{}",
            self.header("webhook-id"),
            self.header("webhook-timestamp"),
            self.body
        );
        self.header("webhook-signature").split(' ').any(|signature| {
            let signature = STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
            ring::hmac::verify(&key, signed.as_bytes(), &signature).is_ok()
        })
    }
}

/// Takes what is sent, and answers as it was told to.
#[derive(Clone)]
struct Receiver {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    /// What the next ones are answered; then 200. Nothing at all where it is 0.
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Receiver {
    async fn start(answers: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, answers)
    }

    fn on(listener: TcpListener, answers: &[u16]) -> Self {
        let hook = Self {
            port: listener.local_addr().unwrap().port(),
            received: Arc::default(),
            answers: Arc::new(Mutex::new(answers.iter().copied().collect())),
        };
        let own = hook.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(own.clone().take(stream));
            }
        });
        hook
    }

    async fn take(self, mut stream: tokio::net::TcpStream) {
        let Some((head, body)) = read_request(&mut stream).await else {
            return;
        };
        let headers = head.lines().skip(1).filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_lowercase(), value.to_owned()))
        });
        let received = Received {
            headers: headers.collect(),
            body,
        };
        self.received.lock().unwrap().push(received);
        let status = self.answers.lock().unwrap().pop_front().unwrap_or(200);
        if status == 0 {
            std::future::pending::<()>().await;
        }
        let location = format!("location: http://127.0.0.1:{}/elsewhere\r\n", self.port);
        let answer =
            format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n{location}\r\n");
        let _gone = stream.write_all(answer.as_bytes()).await;
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    fn all(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// What it got, once that is so many.
    async fn got(&self, count: usize) -> Vec<Received> {
        until("enough was received", async || {
            let all = self.all();
            (all.len() >= count).then_some(all)
        })
        .await
    }
}

/// A server that sends to this machine, and tries again soon.
fn near(tries: usize) -> AppBuilder {
    AppBuilder::fake().with(|settings| {
        settings.webhooks.allow_http = true;
        settings.webhooks.allowed_networks = vec!["127.0.0.0/8".to_owned().try_into().unwrap()];
        settings.webhooks.schedule = vec![Duration::from_millis(1); tries];
        settings.webhooks.poll_interval = Duration::from_millis(10);
    })
}

async fn webhook(client: &Client, url: &str, events: &[&str]) -> Value {
    let body = json!({"url": url, "events": events});
    client.post("/api/v1/webhooks", &body).await.expect(201).body
}

fn path(webhook: &Value, rest: &str) -> String {
    format!(
        "/api/v1/webhooks/{}{rest}",
        webhook["webhook_id"].as_str().unwrap()
    )
}

async fn deliveries(client: &Client, webhook: &Value, query: &str) -> Vec<Value> {
    let page = client
        .get(&path(webhook, &format!("/deliveries?{query}")))
        .await
        .expect(200);
    page.body["data"].as_array().unwrap().clone()
}

/// The deliveries that stand so, once they are so many.
async fn settled(client: &Client, webhook: &Value, status: &str, count: usize) -> Vec<Value> {
    until("they are settled", async || {
        let found = deliveries(client, webhook, &format!("status={status}")).await;
        (found.len() >= count).then_some(found)
    })
    .await
}

#[tokio::test]
async fn an_event_is_sent_signed_and_tells_where_it_is_from() {
    let hook = Receiver::start(&[]).await;
    let app = near(3).start();
    let client = app.client();
    let made = webhook(&client, &hook.url(), &["message", "done"]).await;
    let session = client.session("alice").await;
    client.answer(&session, "hello").await;
    let received = hook.got(2).await;
    assert_eq!(settled(&client, &made, "delivered", 2).await.len(), 2);
    let log = client
        .get(&format!("/api/v1/sessions/{session}/events?types=message,done"))
        .await
        .expect(200);
    for event in log.body["data"].as_array().unwrap() {
        let one = received
            .iter()
            .find(|one| one.json()["data"]["event"] == *event)
            .unwrap_or_else(|| panic!("{event} was sent"));
        let told = one.json();
        assert_eq!(told["type"], event["type"]);
        assert_eq!(told["timestamp"], event["created_at"]);
        assert_eq!(
            (&told["data"]["session_id"], &told["data"]["user_id"]),
            (&json!(session), &json!("alice"))
        );
        assert!(one.is_signed_with(made["secret"].as_str().unwrap()));
        assert!(!one.is_signed_with("whsec_AAAA"));
        let message = format!("msg_{}_{}", session.strip_prefix("ses_").unwrap(), event["id"]);
        assert_eq!(one.header("webhook-id"), message);
        assert_eq!(one.header("content-type"), "application/json");
    }
    let secret = client.get(&path(&made, "/secret")).await.expect(200);
    assert_eq!(secret.body["secret"], made["secret"]);
    assert_eq!(secret.header("cache-control"), "no-store");
}

#[tokio::test]
async fn what_is_not_taken_is_tried_again_under_the_same_id_and_a_redirect_is_not_followed() {
    let hook = Receiver::start(&[500, 302]).await;
    let app = near(5).start();
    let client = app.client();
    let made = webhook(&client, &hook.url(), &["done"]).await;
    let session = client.session("alice").await;
    client.answer(&session, "hello").await;
    let delivered = settled(&client, &made, "delivered", 1).await;
    assert_eq!(
        (&delivered[0]["attempts"], &delivered[0]["last_attempt"]["status"]),
        (&json!(3), &json!(200))
    );
    let received = hook.all();
    assert_eq!(received.len(), 3);
    assert!(
        received
            .iter()
            .all(|one| one.header("webhook-id") == received[0].header("webhook-id"))
    );
    let known = client.get(&path(&made, "")).await.expect(200).body;
    assert_eq!(known["failing_since"], Value::Null);
}

#[tokio::test]
async fn dead_letters_are_listed_and_sent_again_when_asked_for() {
    let hook = Receiver::start(&[500, 500, 500, 500]).await;
    let app = near(2).start();
    let client = app.client();
    let made = webhook(&client, &hook.url(), &["message", "done"]).await;
    let session = client.session("alice").await;
    client.answer(&session, "hello").await;
    let dead = settled(&client, &made, "dead", 2).await;
    assert!(
        dead.iter()
            .all(|one| one["attempts"] == 2 && one["next_attempt_at"].is_null())
    );
    assert_eq!(
        dead[0]["last_attempt"]["error"],
        "it answered 500 Internal Server Error"
    );
    let known = client.get(&path(&made, "")).await.expect(200).body;
    assert!(known["failing_since"].is_string() && known["enabled"] == true);
    let one = path(
        &made,
        &format!(
            "/deliveries/{}/redeliver",
            dead[0]["message_id"].as_str().unwrap()
        ),
    );
    let again = client.send(Method::POST, &one, None).await.expect(202).body;
    assert_eq!(again["message_id"], dead[0]["message_id"]);
    settled(&client, &made, "delivered", 1).await;
    let rest = client
        .send(Method::POST, &path(&made, "/redeliver"), None)
        .await
        .expect(202)
        .body;
    assert_eq!(rest["redelivered"], 1);
    settled(&client, &made, "delivered", 2).await;
    let none = client
        .send(Method::POST, &path(&made, "/redeliver"), None)
        .await
        .expect(202)
        .body;
    assert_eq!(none["redelivered"], 0);
    let unknown = path(
        &made,
        "/deliveries/msg_00000000000000000000000000000000_1/redeliver",
    );
    client
        .send(Method::POST, &unknown, None)
        .await
        .problem(404, "delivery_not_found");
}

#[tokio::test]
async fn what_happened_before_is_sent_from_a_cursor_on() {
    let hook = Receiver::start(&[]).await;
    let app = near(2).start();
    let client = app.client();
    let (session, other) = (client.session("alice").await, client.session("bob").await);
    for prompt in ["one", "two", "three"] {
        client.answer(&session, prompt).await;
    }
    client.answer(&other, "else").await;
    let made = webhook(&client, &hook.url(), &["done"]).await;
    let log = client
        .get(&format!("/api/v1/sessions/{session}/events?types=done"))
        .await
        .expect(200)
        .body;
    let ids: Vec<_> = log["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["id"].as_u64().unwrap())
        .collect();
    let replay = async |body: &Value| client.post(&path(&made, "/replay"), body).await;
    let after = json!({"session_id": session, "after": ids[0]});
    let told = replay(&after).await.expect(202).body;
    assert_eq!(told, json!({"replayed": 2, "last_event_id": ids[2]}));
    let received = hook.got(2).await;
    let mut sent: Vec<_> = received
        .iter()
        .map(|one| one.json()["data"]["event"]["id"].as_u64().unwrap())
        .collect();
    sent.sort_unstable();
    assert_eq!(sent, ids[1..]);
    let whole = json!({"session_id": session});
    assert_eq!(replay(&whole).await.expect(202).body["replayed"], 3);
    replay(&json!({"session_id": session, "after": 1}))
        .await
        .problem(400, "invalid_cursor");
    let unknown = json!({"session_id": "ses_00000000000000000000000000000000"});
    replay(&unknown).await.problem(404, "session_not_found");
}

#[tokio::test]
async fn nothing_is_lost_when_the_receiver_and_the_server_are_away() {
    let spot = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = spot.local_addr().unwrap().port();
    drop(spot);
    let app = near(50).start();
    let client = app.client();
    let url = format!("http://127.0.0.1:{port}/hook");
    let made = webhook(&client, &url, &["done"]).await;
    let session = client.session("alice").await;
    for prompt in ["one", "two", "three", "four", "five"] {
        client.answer(&session, prompt).await;
    }
    until("it was tried", async || {
        let tried = deliveries(&client, &made, "").await;
        tried
            .iter()
            .any(|one| one["last_attempt"]["error"] == "no connection")
            .then_some(())
    })
    .await;
    let folder = app.folder.clone();
    drop(app);
    let hook = Receiver::on(TcpListener::bind(("127.0.0.1", port)).await.unwrap(), &[]);
    let app = near(50).in_folder_of(&folder).start();
    settled(&app.client(), &made, "delivered", 5).await;
    let mut texts: Vec<_> = hook
        .all()
        .iter()
        .map(|one| one.json()["data"]["event"]["text"].as_str().unwrap().to_owned())
        .collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), 5, "{texts:?}");
}

#[tokio::test]
async fn private_addresses_are_refused_by_their_name_too() {
    let app = AppBuilder::fake()
        .with(|settings| {
            settings.webhooks.allow_http = true;
            settings.webhooks.schedule = vec![Duration::ZERO];
            settings.webhooks.poll_interval = Duration::from_millis(10);
        })
        .start();
    let client = app.client();
    let try_url = async |url: &str| {
        let body = json!({"url": url, "events": ["done"]});
        client.post("/api/v1/webhooks", &body).await
    };
    for wrong in [
        "http://127.0.0.1/x",
        "http://[::1]/x",
        "http://169.254.169.254/latest/meta-data",
        "http://2130706433/",
        "ftp://example.com/",
        "https://user:pass@example.com/",
        "not a url",
        "",
        &format!("https://example.com/{}", "x".repeat(3000)),
    ] {
        let refused = try_url(wrong).await.problem(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["field"], "url", "{wrong}");
    }
    let hook = Receiver::start(&[]).await;
    let made = try_url(&format!("http://localhost:{}/x", hook.port))
        .await
        .expect(201)
        .body;
    let session = client.session("alice").await;
    client.answer(&session, "hello").await;
    let dead = settled(&client, &made, "dead", 1).await;
    assert_eq!(dead[0]["last_attempt"]["error"], "it leads to a private address");
    assert!(hook.all().is_empty());
    let closed = AppBuilder::fake().start();
    let plain = json!({"url": "http://example.com/x", "events": ["done"]});
    closed
        .client()
        .post("/api/v1/webhooks", &plain)
        .await
        .problem(422, "validation_failed");
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_holds_up_nobody_else() {
    let hanging = Receiver::start(&[0; 100]).await;
    let hook = Receiver::start(&[]).await;
    let app = near(2)
        .with(|settings| {
            settings.webhooks.timeout = Duration::from_mins(1);
            settings.webhooks.concurrency_max = 5;
        })
        .start();
    let client = app.client();
    let slow = webhook(&client, &hanging.url(), &["message", "turn_started", "done"]).await;
    let made = webhook(&client, &hook.url(), &["done"]).await;
    let session = client.session("alice").await;
    for _ in 0..3 {
        client.answer(&session, "hello").await;
    }
    settled(&client, &made, "delivered", 3).await;
    assert_eq!(
        hanging.all().len(),
        4,
        "no more at once than one webhook may have"
    );
    assert_eq!(deliveries(&client, &slow, "status=pending").await.len(), 9);
}

#[tokio::test]
async fn a_webhook_is_of_its_tenant_alone() {
    let hook = Receiver::start(&[]).await;
    let app = near(2)
        .with_keys(&[
            ("acme-owner", "owner", "acme", None),
            ("acme-alice", "owner", "acme", Some("alice")),
            ("rival-owner", "owner", "rival", None),
        ])
        .start();
    let (acme, rival) = (app.client_with("acme-owner"), app.client_with("rival-owner"));
    let made = webhook(&acme, &hook.url(), &["done"]).await;
    let (own, foreign) = (acme.session("alice").await, rival.session("eve").await);
    rival.answer(&foreign, "secret").await;
    acme.answer(&own, "hello").await;
    let received = hook.got(1).await;
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].json()["data"]["session_id"], json!(own));
    for rest in ["", "/secret", "/deliveries"] {
        rival
            .get(&path(&made, rest))
            .await
            .problem(404, "webhook_not_found");
    }
    let theirs = json!({"session_id": foreign});
    acme.post(&path(&made, "/replay"), &theirs)
        .await
        .problem(404, "session_not_found");
    let list = rival.get("/api/v1/webhooks").await.expect(200).body;
    assert_eq!(list["data"], json!([]));
    app.client_with("acme-alice")
        .get("/api/v1/webhooks")
        .await
        .problem(403, "forbidden");
}

#[tokio::test]
async fn a_webhook_is_changed_switched_off_and_removed_and_what_waited_is_sent_then() {
    let hook = Receiver::start(&[]).await;
    let app = near(3)
        .with(|settings| settings.webhooks.max_per_tenant = 1)
        .start();
    let client = app.client();
    let made = webhook(&client, &hook.url(), &["done"]).await;
    let body = json!({"url": hook.url(), "events": ["done"]});
    client
        .post("/api/v1/webhooks", &body)
        .await
        .problem(429, "quota_reached");
    let old = made["secret"].as_str().unwrap().to_owned();
    let rotated = client
        .send(Method::POST, &path(&made, "/secret"), None)
        .await
        .expect(200)
        .body;
    let new = rotated["secret"].as_str().unwrap().to_owned();
    assert!(new != old && rotated["previous_signs_until"].is_string());
    let session = client.session("alice").await;
    client.answer(&session, "one").await;
    let received = hook.got(1).await;
    assert!(received[0].is_signed_with(&new) && received[0].is_signed_with(&old));
    let change = async |body: &Value| client.patch(&path(&made, ""), body).await;
    let off = change(&json!({"enabled": false})).await.expect(200).body;
    assert_eq!(
        (&off["enabled"], &off["disabled_reason"]),
        (&json!(false), &json!("asked"))
    );
    client.answer(&session, "two").await;
    let on = json!({"enabled": true, "events": ["message"], "description": "x"});
    assert_eq!(change(&on).await.expect(200).body["events"], json!(["message"]));
    client.answer(&session, "three").await;
    let received = hook.got(2).await;
    assert_eq!(
        received[1].json()["data"]["event"]["text"],
        "three",
        "what came while it was off was not for it"
    );
    hook.answers.lock().unwrap().push_back(410);
    client.answer(&session, "four").await;
    until("it is switched off", async || {
        let known = client.get(&path(&made, "")).await.expect(200).body;
        (known["disabled_reason"] == "gone").then_some(())
    })
    .await;
    for wrong in [
        json!({}),
        json!({"events": []}),
        json!({"events": ["text_delta"]}),
        json!({"events": ["x"]}),
    ] {
        change(&wrong).await.problem(422, "validation_failed");
    }
    client.delete(&path(&made, "")).await.expect(204);
    client
        .get(&path(&made, ""))
        .await
        .problem(404, "webhook_not_found");
    let audit = client.get("/api/v1/admin/audit").await.expect(200).body;
    let actions: Vec<_> = audit["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    for action in ["webhook_created", "webhook_changed", "webhook_removed"] {
        assert!(actions.contains(&action), "{action}: {actions:?}");
    }
}
