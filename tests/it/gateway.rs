//! The model gateway: the credential stays with it, what passes is left as it is, and what is used is counted.

use std::sync::Arc;
use std::time::Duration;

use paddock::domain::{
    Clock, CredentialKind, SessionId, SystemClock, Tenant, TenantId, TenantLimits, TurnId, Usage, UsageGroup,
    UsageQuery, UserId,
};
use paddock::gateway::credential::{Credential, Credentials};
use paddock::gateway::meter::Account;
use paddock::gateway::{Door, Gateway, GatewaySettings};
use paddock::lifecycle::Tasks;
use paddock::limits::prices::{PriceTable, UnknownModel};
use paddock::limits::rate::RateLimiter;
use paddock::limits::tenants::Tenants;
use paddock::limits::{KeyRates, Limits};
use paddock::security::sealing::SealingKeys;
use paddock::store::memory::MemoryStore;
use paddock::store::{Store, TenantStore as _, UsageLedger as _};
use reqwest::{Method, Response};
use scripted_model::{Options, ScriptedModel};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{AppBuilder, Client, paddock, until};

const REAL_KEY: &str = "sk-real-key-of-the-platform";

/// A gateway on an upstream, with one door.
struct Stage {
    gateway: Gateway,
    door: Door,
    store: Arc<MemoryStore>,
    tenant: TenantId,
    http: reqwest::Client,
}

impl Stage {
    async fn on(upstream: &str, change: impl FnOnce(&mut GatewaySettings, &mut Credential)) -> Self {
        Self::limited(upstream, TenantLimits::default(), change).await
    }

    async fn limited(
        upstream: &str,
        limits: TenantLimits,
        change: impl FnOnce(&mut GatewaySettings, &mut Credential),
    ) -> Self {
        let mut settings = GatewaySettings {
            upstream: upstream.parse().unwrap(),
            models: Vec::new(),
            prices: PriceTable::new(Vec::new(), UnknownModel::Free),
            budget_wait: Duration::from_secs(20),
            request_max_bytes: 1024 * 1024,
            request_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(20),
            silence_timeout: Duration::from_secs(20),
            connections_max: 8,
        };
        let mut credential = Credential {
            kind: CredentialKind::ApiKey,
            secret: REAL_KEY.to_owned().into(),
        };
        change(&mut settings, &mut credential);
        let store = Arc::new(MemoryStore::new());
        let held: Arc<dyn Store> = Arc::clone(&store) as _;
        let credentials = Credentials::new(Some(credential), SealingKeys::default(), Arc::clone(&held));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let tasks = Tasks::on(tokio::runtime::Handle::current());
        let tenant = TenantId::generate(&SystemClock);
        let known = Tenant::new(tenant, "acme".parse().unwrap(), SystemClock.now());
        store.ensure_tenant(&known).await.unwrap();
        let tenants = Arc::new(Tenants::new(Arc::clone(&held), Duration::ZERO));
        let rates = RateLimiter::new(Arc::clone(&clock), None);
        let limits = Arc::new(Limits::new(tenants, rates, KeyRates::default(), limits));
        let gateway = Gateway::new(settings, credentials, limits, held, clock, tasks).unwrap();
        let door = gateway.open_door(account(tenant)).await.unwrap();
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        Self {
            gateway,
            door,
            store,
            tenant,
            http: Client::new(address, None).http().clone(),
        }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.door.base_url()))
            .bearer_auth(self.door.token().expose_secret())
    }

    async fn message(&self, script: &str, stream: bool) -> Response {
        let body = json!({"model": "claude-opus-5-5", "max_tokens": 100, "stream": stream, "messages": [{"role": "user", "content": script}]});
        self.request(Method::POST, "/v1/messages")
            .json(&body)
            .send()
            .await
            .unwrap()
    }

    /// What the ledger has, by model.
    async fn used(&self) -> Vec<(String, Usage)> {
        let query = UsageQuery {
            by: vec![UsageGroup::Model],
            ..UsageQuery::default()
        };
        let sums = self.store.sum_usage(Some(self.tenant), &query).await.unwrap();
        sums.into_iter()
            .map(|sum| (sum.model.unwrap(), sum.usage))
            .collect()
    }

    /// Waits until the ledger has these, of the model that is asked.
    async fn until_used(&self, input: u64, output: u64) {
        until("the ledger has what was used", async || {
            let used = self.used().await;
            let right = |(model, used): &(String, Usage)| {
                model == "claude-opus-5-5" && (used.input_tokens, used.output_tokens) == (input, output)
            };
            used.iter().all(right).then_some(()).filter(|()| !used.is_empty())
        })
        .await;
    }
}

fn account(tenant: TenantId) -> Account {
    let user: UserId = "alice".parse().unwrap();
    Account {
        tenant,
        session: Some((SessionId::generate(&SystemClock), user)),
    }
}

fn model() -> ScriptedModel {
    ScriptedModel::start(Options::default()).unwrap()
}

/// A stand-in for the model's API that does what no real one would: each connection is the test's own.
async fn stand_in() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// Reads one request, whole.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "the request ends early");
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("content-length:")
                    .map(|n| n.trim().parse::<usize>().unwrap())
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
    }
}

/// How many tokens of output a stream told last.
fn output_told(stream: &str) -> u64 {
    let (_, rest) = stream.rsplit_once("\"output_tokens\":").unwrap();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

async fn error_of(response: Response) -> (u16, String, Value) {
    let status = response.status().as_u16();
    let retry = response.headers().get("x-should-retry").is_some();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["type"], "error");
    let kind = body["error"]["type"].as_str().unwrap().to_owned();
    (
        status,
        kind,
        json!({"final": retry, "message": body["error"]["message"]}),
    )
}

#[tokio::test]
async fn a_request_passes_as_it_is_but_for_its_credential() {
    let (listener, url) = stand_in().await;
    let stage = Stage::on(&format!("{url}/prefix/"), |_, _| ()).await;
    let body = r#"{"model":"claude-opus-5-5","a_field_of_tomorrow":{"x":[1,2]},"messages":[]}"#;
    let asked = stage
        .request(Method::POST, "/v1/messages?beta=true")
        .header("x-api-key", "of-the-agent")
        .header("anthropic-version", "2023-06-01")
        .header("anthropic-beta", "one,two")
        .header("x-header-of-tomorrow", "yes")
        .header("content-type", "application/json")
        .body(body);
    let answered = tokio::spawn(asked.send());
    let (mut upstream, _) = listener.accept().await.unwrap();
    let seen = read_request(&mut upstream).await;
    let head = seen.to_lowercase();
    assert!(
        seen.starts_with("POST /prefix/v1/messages?beta=true HTTP/1.1\r\n"),
        "{seen}"
    );
    assert!(seen.ends_with(body), "{seen}");
    for line in [
        "anthropic-version: 2023-06-01",
        "anthropic-beta: one,two",
        "x-header-of-tomorrow: yes",
    ] {
        assert!(head.contains(line), "{seen}");
    }
    assert!(head.contains(&format!("x-api-key: {REAL_KEY}")));
    assert!(
        !head.contains("authorization") && !seen.contains(stage.door.token().expose_secret()),
        "{seen}"
    );
    let answer = "HTTP/1.1 418 Teapot\r\nx-answer-of-tomorrow: 1\r\nretry-after: 7\r\nset-cookie: a=b\r\ncontent-length: 4\r\n\r\nteas";
    upstream.write_all(answer.as_bytes()).await.unwrap();
    let answer = answered.await.unwrap().unwrap();
    assert_eq!(answer.status(), 418);
    assert_eq!(answer.headers()["x-answer-of-tomorrow"], "1");
    assert_eq!(answer.headers()["retry-after"], "7");
    assert!(answer.headers().get("set-cookie").is_none());
    assert_eq!(answer.text().await.unwrap(), "teas");
}

#[tokio::test]
async fn a_token_of_the_clis_own_login_goes_with_the_beta_that_it_needs() {
    let model = model();
    let stage = Stage::on(&model.base_url(), |_, credential| {
        credential.kind = CredentialKind::OauthToken;
    })
    .await;
    assert_eq!(stage.message("% say hi", false).await.status(), 200);
    let recorded: Value = stage
        .http
        .get(format!("{}/_scripted/requests", model.base_url()))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let headers = recorded[0]["headers"].to_string();
    assert!(
        headers.contains(&format!("Bearer {REAL_KEY}")) && headers.contains("oauth-2025-04-20"),
        "{headers}"
    );
    assert!(!headers.contains("x-api-key"), "{headers}");
}

#[tokio::test]
async fn a_stream_is_handed_on_delta_by_delta() {
    let (listener, url) = stand_in().await;
    let stage = Stage::on(&url, |_, _| ()).await;
    let asked = stage
        .request(Method::POST, "/v1/messages")
        .json(&json!({"model": "m", "stream": true}));
    let answered = tokio::spawn(asked.send());
    let (mut upstream, _) = listener.accept().await.unwrap();
    read_request(&mut upstream).await;
    upstream
        .write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .await
        .unwrap();
    let mut answer = answered.await.unwrap().unwrap();
    for number in 0..20 {
        let event = format!("event: ping\ndata: {{\"n\":{number}}}\n\n");
        upstream
            .write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
            .await
            .unwrap();
        // The next one is written when this one has come: nothing waits for more.
        assert_eq!(answer.chunk().await.unwrap().unwrap(), event.as_bytes());
    }
    upstream.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(answer.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn what_is_used_is_counted_however_the_answer_ends() {
    let model = model();
    let stage = Stage::on(&model.base_url(), |_, _| ()).await;
    let turn = || {
        stage
            .door
            .meter()
            .begin_turn(TurnId::generate(&SystemClock), None);
    };
    // Before the first turn, what is used belongs to none.
    stage
        .message("% usage input=3 output=2\n% say hi", false)
        .await
        .text()
        .await
        .unwrap();
    stage.until_used(3, 2).await;
    turn();
    // Whole, and streamed.
    stage
        .message("% usage input=10 output=20\n% say hi", false)
        .await
        .text()
        .await
        .unwrap();
    stage.until_used(13, 22).await;
    stage
        .message("% usage input=100 output=200\n% say hi", true)
        .await
        .text()
        .await
        .unwrap();
    stage.until_used(113, 222).await;
    // Of another turn.
    turn();
    stage
        .message("% usage input=1000 output=2000\n% say hi", true)
        .await
        .text()
        .await
        .unwrap();
    stage.until_used(1113, 2222).await;
    // Broken off by the other end: what it had told so far.
    turn();
    let script = "% usage input=10000 output=20000\n% words 20 every 20ms\n% drop";
    let mut broken = stage.message(script, true).await;
    let mut told = String::new();
    while let Ok(Some(bytes)) = broken.chunk().await {
        told.push_str(&String::from_utf8_lossy(&bytes));
    }
    assert!(!told.contains("message_stop"), "it broke off");
    let output = output_told(&told);
    stage.until_used(11113, 2222 + output).await;
    // Broken off by the agent.
    turn();
    let mut left = stage
        .message("% usage input=100000 output=5\n% words 500 every 50ms", true)
        .await;
    left.chunk().await.unwrap().unwrap();
    drop(left);
    until("the input of a stream that was left is counted", async || {
        (stage.used().await[0].1.input_tokens == 111_113).then_some(())
    })
    .await;
    // What uses nothing.
    turn();
    let before = stage.used().await;
    for script in ["% fail 529", "% fail 400"] {
        stage.message(script, true).await.text().await.unwrap();
    }
    let counted = stage
        .request(Method::POST, "/v1/messages/count_tokens")
        .json(&json!({"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "hello"}]}))
        .send()
        .await
        .unwrap();
    assert!(
        counted.json::<Value>().await.unwrap()["input_tokens"]
            .as_u64()
            .unwrap()
            > 0
    );
    assert_eq!(stage.used().await, before);
}

#[tokio::test]
async fn only_its_own_token_opens_a_door_and_only_while_its_agent_lives() {
    let model = model();
    let stage = Stage::on(&model.base_url(), |_, _| ()).await;
    let other = stage
        .gateway
        .open_door(account(TenantId::generate(&SystemClock)))
        .await
        .unwrap();
    let url = format!("{}/v1/models", stage.door.base_url());
    for wrong in [other.token().expose_secret(), "", "pdk_agent_", REAL_KEY] {
        let refused = stage.http.get(&url).bearer_auth(wrong).send().await.unwrap();
        let (status, kind, told) = error_of(refused).await;
        assert_eq!(
            (status, kind.as_str(), &told["final"]),
            (401, "authentication_error", &json!(true))
        );
    }
    assert_eq!(stage.http.get(&url).send().await.unwrap().status(), 401);
    let by_key = stage
        .http
        .get(&url)
        .header("x-api-key", stage.door.token().expose_secret());
    assert_eq!(by_key.send().await.unwrap().status(), 200);
    // Whether anyone is there may be asked by all.
    assert_eq!(
        stage
            .http
            .head(stage.door.base_url())
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    drop(stage.door);
    until("the door is closed", async || {
        stage.http.get(&url).send().await.is_err().then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_the_cli_does_not_need_is_not_forwarded() {
    let (listener, url) = stand_in().await;
    let stage = Stage::on(&url, |_, _| ()).await;
    for (method, path) in [
        (Method::GET, "/v1/files"),
        (Method::POST, "/v1/messages/batches"),
        (Method::GET, "/v1/organizations/me"),
        (Method::DELETE, "/v1/messages"),
        (Method::POST, "/v1/messages/../files"),
        (Method::GET, "/v1/models/..%2ffiles"),
        (Method::GET, "/v1/models/"),
        (Method::POST, "/api/oauth/token"),
    ] {
        let (status, kind, _) = error_of(stage.request(method, path).send().await.unwrap()).await;
        assert_eq!((status, kind.as_str()), (404, "not_found_error"), "{path}");
    }
    for (body, status, kind) in [
        ("nonsense".to_owned(), 400, "invalid_request_error"),
        ("{}".to_owned(), 400, "invalid_request_error"),
        ("x".repeat(1024 * 1024 + 1), 413, "request_too_large"),
    ] {
        let refused = stage
            .request(Method::POST, "/v1/messages")
            .body(body)
            .send()
            .await
            .unwrap();
        let told = error_of(refused).await;
        assert_eq!((told.0, told.1.as_str()), (status, kind));
    }
    assert!(
        tokio::time::timeout(Duration::from_millis(1), listener.accept())
            .await
            .is_err(),
        "nothing came through"
    );
}

#[tokio::test]
async fn a_tenants_limits_are_told_in_the_apis_own_shape() {
    let model = model();
    let limits = TenantLimits {
        model_requests_max: Some(1),
        model_requests_per_minute: Some(3),
        ..TenantLimits::default()
    };
    let stage = Stage::limited(&model.base_url(), limits, |settings, _| {
        settings.models = vec!["claude-opus-*".into()];
    })
    .await;
    let other_model = json!({"model": "claude-haiku-5-5", "messages": []});
    let refused = stage
        .request(Method::POST, "/v1/messages")
        .json(&other_model)
        .send()
        .await
        .unwrap();
    let (status, kind, told) = error_of(refused).await;
    assert_eq!(
        (status, kind.as_str(), &told["final"]),
        (403, "permission_error", &json!(true))
    );
    assert!(told["message"].as_str().unwrap().contains("claude-haiku-5-5"));
    let mut first = stage.message("% words 200 every 50ms", true).await;
    first.chunk().await.unwrap().unwrap();
    let at_once = stage.message("% say hi", true).await;
    assert_eq!(at_once.headers()["retry-after"], "1");
    let (status, kind, told) = error_of(at_once).await;
    assert_eq!(
        (status, kind.as_str(), &told["final"]),
        (429, "rate_limit_error", &json!(false))
    );
    drop(first);
    until("the place is free", async || {
        (stage.message("% say hi", false).await.status() == 200).then_some(())
    })
    .await;
    // What was refused for want of a place did not count; the third one did.
    until("the rate is used up", async || {
        let answer = stage.message("% say hi", false).await;
        let wait: u64 = answer
            .headers()
            .get("retry-after")?
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        (answer.status() == 429 && wait > 5).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_upstream_that_is_silent_or_away_is_told_as_such() {
    let (listener, url) = stand_in().await;
    let quick = |settings: &mut GatewaySettings, _: &mut Credential| {
        settings.silence_timeout = Duration::from_millis(100);
    };
    let stage = Stage::on(&url, quick).await;
    let (status, kind, _) = error_of(stage.message("hello", true).await).await;
    assert_eq!((status, kind.as_str()), (504, "timeout_error"));
    // In the middle of a stream.
    let (_silent, _) = listener.accept().await.unwrap();
    let answering = async {
        let (mut upstream, _) = listener.accept().await.unwrap();
        read_request(&mut upstream).await;
        let begin = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: ping\ndata: {}\n\n";
        upstream.write_all(begin.as_bytes()).await.unwrap();
        upstream
    };
    let (answer, _upstream) = tokio::join!(stage.message("hello", true), answering);
    let text = answer.text().await.unwrap();
    assert!(text.contains("event: ping") && text.ends_with("\n\n"), "{text}");
    assert!(
        text.contains("event: error") && text.contains("timeout_error"),
        "{text}"
    );
    drop(listener);
    let (status, kind, told) = error_of(stage.message("hello", true).await).await;
    assert_eq!(
        (status, kind.as_str(), &told["final"]),
        (502, "api_error", &json!(false))
    );
    assert!(!told["message"].as_str().unwrap().contains("127.0.0.1"), "{told}");
}

/// A server that reaches a scripted model with a credential of its own.
fn with_key(model: &ScriptedModel) -> AppBuilder {
    let url = model.base_url().parse().unwrap();
    AppBuilder::real().with(move |settings| {
        settings.model.scripted = false;
        settings.model.base_url = Some(url);
        settings.model.api_key = Some(REAL_KEY.to_owned().into());
    })
}

async fn keys_seen(model: &ScriptedModel, client: &Client) -> Vec<String> {
    let url = format!("{}/_scripted/requests", model.base_url());
    let recorded: Vec<Value> = client.http().get(url).send().await.unwrap().json().await.unwrap();
    let of = |request: &Value| {
        let headers = request["headers"].as_array().unwrap().clone();
        headers
            .iter()
            .find(|header| header[0] == "x-api-key")
            .map(|header| header[1].as_str().unwrap().to_owned())
    };
    recorded.iter().filter_map(of).collect()
}

#[tokio::test]
async fn an_agent_never_sees_the_key_that_it_works_with() {
    let model = model();
    for level in [
        paddock::settings::IsolationLevel::Landlock,
        paddock::settings::IsolationLevel::Namespaces,
    ] {
        let app = with_key(&model)
            .with(|settings| settings.isolation.level = level)
            .start();
        let client = app.client();
        let id = client.session("alice").await;
        let look = "% bash env; cat /proc/*/environ /proc/self/maps; grep -r 'sk-[r]eal' ~ . /tmp $TMPDIR && echo it is in files\n% results";
        let seen = client.answer(&id, look).await;
        assert!(
            seen.contains("ANTHROPIC_BASE_URL=http://127.0.0.1:") && seen.contains("pdk_agent_"),
            "{seen}"
        );
        assert!(
            !seen.contains("sk-real") && !seen.contains("it is in files"),
            "{seen}"
        );
        assert!(keys_seen(&model, &client).await.iter().all(|key| key == REAL_KEY));
    }
}

#[tokio::test]
async fn a_model_that_is_not_allowed_is_told_by_the_cli() {
    let app = AppBuilder::real()
        .with(|settings| settings.model.allowed_models = vec!["claude-opus-*".into()])
        .start();
    let client = app.client();
    let id = client
        .session_with(&json!({"user_id": "alice", "options": {"model": "claude-haiku-5-5"}}))
        .await;
    let told = client
        .ask(&id, "% say hi")
        .await
        .problem(502, "model_error")
        .text("detail");
    assert!(
        told.contains("claude-haiku-5-5") && told.contains("not allowed"),
        "{told}"
    );
}

/// The ledger, as the archive of a server in this folder tells it.
fn ledger(folder: &std::path::Path) -> Vec<Value> {
    let database = folder.join("paddock.db");
    let output = paddock(folder)
        .arg("export")
        .env("PADDOCK__SESSION__SQLITE_PATH", database)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|record| {
            record["kind"] == "usage" || record.get("usage").is_some_and(|usage| usage["turn"].is_string())
        })
        .collect()
}

#[tokio::test]
async fn the_ledger_has_what_the_cli_used_of_the_model_by_turn_and_model() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let first = client
        .ask(&id, "% usage input=100 output=10\n% say one")
        .await
        .expect(200);
    let cost = first.body["cost_usd"].as_f64().unwrap();
    // A tool: two answers of the model in one turn.
    client
        .ask(
            &id,
            "% usage input=1000 output=100\n% bash true\n% usage input=1000 output=100\n% say two",
        )
        .await
        .expect(200);
    let folder = app.stop();
    let ledger = ledger(folder.path());
    let sums: Vec<_> = ledger
        .iter()
        .map(|record| {
            let entry = &record["usage"];
            (
                entry["usage"]["input_tokens"].as_u64().unwrap(),
                entry["usage"]["output_tokens"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(sums, [(100, 10), (1000, 100), (1000, 100)], "{ledger:?}");
    assert!(
        ledger
            .iter()
            .all(|record| record["usage"]["model"].as_str().unwrap().starts_with("claude-")),
        "{ledger:?}"
    );
    let entered = ledger[0]["usage"]["cost"].as_f64().unwrap() / 1_000_000.0;
    assert!((entered - cost).abs() < 0.000_002, "{entered} {cost}");
}

#[tokio::test]
async fn a_tenants_own_credential_is_used_and_kept_sealed() {
    let model = model();
    let app = with_key(&model)
        .with(|settings| settings.auth.sealing_key = Some("ab".repeat(32).into()))
        .with_keys(&[
            ("root", "admin", "default", None),
            ("acme", "owner", "acme", None),
            ("rival", "owner", "rival", None),
        ])
        .start();
    let (admin, acme, rival) = (
        app.client_with("root"),
        app.client_with("acme"),
        app.client_with("rival"),
    );
    let path = "/api/v1/admin/tenants/acme/model-credential";
    admin.get(path).await.problem(404, "credential_not_found");
    admin
        .get("/api/v1/admin/tenants/nobody/model-credential")
        .await
        .problem(404, "tenant_not_found");
    acme.get(path).await.problem(404, "credential_not_found");
    rival.get(path).await.problem(404, "tenant_not_found");
    let secret = "sk-own-key-of-acme";
    let put = async |body: Value| admin.send(Method::PUT, path, Some(&body)).await;
    put(json!({"kind": "api_key"}))
        .await
        .problem(422, "validation_failed");
    put(json!({"kind": "api_key", "secret": "two words"}))
        .await
        .problem(422, "validation_failed");
    put(json!({"kind": "password", "secret": "x"}))
        .await
        .problem(422, "validation_failed");
    put(json!({"kind": "api_key", "secret": "sk-refused-by-the-api"}))
        .await
        .problem(422, "credential_refused");
    admin.get(path).await.problem(404, "credential_not_found");
    put(json!({"kind": "api_key", "secret": "sk-refused-by-the-api", "test": false}))
        .await
        .expect(200);
    let set = put(json!({"kind": "api_key", "secret": secret}))
        .await
        .expect(200);
    assert_eq!(
        (set.text("tenant").as_str(), set.text("kind").as_str()),
        ("acme", "api_key")
    );
    let shown = admin.get(path).await.expect(200).body;
    assert!(!shown.to_string().contains(secret) && shown["set_at"].is_string());
    let (of_acme, of_rival) = (acme.session("alice").await, rival.session("alice").await);
    acme.answer(&of_acme, "% say hi").await;
    assert!(keys_seen(&model, &admin).await.iter().any(|key| key == secret));
    rival.answer(&of_rival, "% say hi").await;
    assert_eq!(keys_seen(&model, &admin).await.last().unwrap(), REAL_KEY);
    // Removed, the platform's is used from the next request on.
    admin.send(Method::DELETE, path, None).await.expect(204);
    admin
        .send(Method::DELETE, path, None)
        .await
        .problem(404, "credential_not_found");
    acme.answer(&of_acme, "% say hi").await;
    assert_eq!(keys_seen(&model, &admin).await.last().unwrap(), REAL_KEY);
    put(json!({"kind": "auth_token", "secret": secret}))
        .await
        .expect(200);
    let folder = app.stop();
    for file in ["paddock.db", "paddock.db-wal"] {
        let bytes = std::fs::read(folder.path().join(file)).unwrap_or_default();
        assert!(
            !bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes()),
            "{file}"
        );
    }
    // The keys are changed: the old one opens, the new one seals, and then the old one is not needed.
    let reseal = |keys: &str| {
        paddock(folder.path())
            .arg("reseal")
            .env("PADDOCK__SESSION__SQLITE_PATH", folder.path().join("paddock.db"))
            .env("PADDOCK__AUTH__SEALING_KEY", keys)
            .output()
            .unwrap()
    };
    let (old, new) = ("ab".repeat(32), "cd".repeat(32));
    assert!(
        !reseal(&new).status.success(),
        "without the old key there is nothing to open it with"
    );
    let told = |output: std::process::Output| String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        told(reseal(&format!("{new},{old}"))),
        "sealed 1 credentials anew\n"
    );
    assert_eq!(told(reseal(&new)), "sealed 0 credentials anew\n");
}

#[tokio::test]
async fn a_credential_is_refused_where_nothing_could_seal_or_use_it() {
    let body = json!({"kind": "api_key", "secret": "x"});
    let path = "/api/v1/admin/tenants/default/model-credential";
    let app = AppBuilder::fake().start();
    app.client()
        .send(Method::PUT, path, Some(&body))
        .await
        .problem(409, "sealing_off");
    let app = AppBuilder::fake()
        .with(|settings| {
            settings.model.gateway = false;
            settings.auth.sealing_key = Some("ab".repeat(32).into());
        })
        .start();
    app.client()
        .send(Method::PUT, path, Some(&body))
        .await
        .problem(409, "gateway_off");
}

#[tokio::test]
async fn without_a_gateway_the_agent_gets_the_credential_and_the_turn_is_entered_as_a_whole() {
    let model = model();
    let port = url::Url::parse(&model.base_url()).unwrap().port().unwrap();
    let app = with_key(&model)
        .with(|settings| {
            settings.model.gateway = false;
            settings.isolation.network = paddock::settings::NetworkSetting::Ports(vec![port]);
        })
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    let seen = client
        .answer(&id, "% usage input=50 output=5\n% bash env\n% results")
        .await;
    assert!(seen.contains(REAL_KEY), "{seen}");
    let folder = app.stop();
    let ledger = ledger(folder.path());
    assert!(
        ledger.len() == 1 && ledger[0]["usage"]["usage"]["input_tokens"].as_u64().unwrap() >= 50,
        "{ledger:?}"
    );
}
