//! What several instances cost: going on after one is lost, steering a turn from another instance, following one, moving a
//! session, and telling each other.
//!
//! `cargo bench --bench instances` prints the figures of `docs/PERFORMANCE.md`. Tried only (`cargo test --benches`, `--test`), it
//! does the same a few times.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a benchmark may panic, prints, and starts processes"
)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use paddock::domain::{
    ClaudeSessionId, Clock as _, Instance, InstanceId, Session, SessionId, SessionOptions, SessionStatus,
    SystemClock, Tenant, TenantId,
};
use paddock::store::postgres::{PostgresOptions, PostgresStore, PostgresTarget};
use paddock::store::sql::CommitOptions;
use paddock::store::{SessionStore as _, TenantStore as _};
use private_postgres::Cluster;
use serde_json::{Value, json};
use tokio::task::JoinSet;

fn main() {
    let tried = std::env::args().any(|argument| argument == "--test");
    let measured = std::env::args().any(|argument| argument == "--bench") && !tried;
    let (losses, times, moves) = if measured { (7, 100, 2000) } else { (1, 3, 20) };
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let database = Cluster::start_durable().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let url = database.url("instances");
        let one = Server::start(folder.path(), "one", &url);
        let two = Server::start(folder.path(), "two", &url);
        steering(&one, &two, times).await;
        following(&one, &two, times).await;
        moving(&one, &two, times).await;
        drop((one, two));
        for listeners in [0, 10, 50] {
            telling(&database.url(&format!("telling_{listeners}")), moves, listeners).await;
        }
        losing(folder.path(), &url, losses).await;
    });
}

fn told(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "instances: {what}: p50 {:.1?}, p99 {:.1?}, most {:.1?} of {}",
        at(50),
        at(99),
        at(100),
        times.len()
    );
}

/// From when an interrupt is sent to when its turn has ended: at the instance that runs it, and at the other.
async fn steering(one: &Server, two: &Server, times: usize) {
    let session = one.session().await;
    for (door, what) in [(one, "at the same instance"), (two, "at the other")] {
        let (mut interrupts, mut changes) = (Vec::new(), Vec::new());
        for _ in 0..times {
            let mut events = one.stream(&session, "never-end").await;
            events.until("turn_started").await;
            let began = Instant::now();
            let answer = door.post(&format!("{session}/interrupt"), &json!({})).await;
            assert!(answer["turn_id"].is_string(), "{answer}");
            events.until("error").await;
            interrupts.push(began.elapsed());
            let began = Instant::now();
            door.patch(&session, &json!({"title": format!("{}", changes.len())}))
                .await;
            changes.push(began.elapsed());
        }
        told(
            &format!("an interrupt, until the turn has ended, {what}"),
            interrupts,
        );
        told(
            &format!("a change of the session, until it is in the log, {what}"),
            changes,
        );
    }
}

/// How much later a piece of text is at the other instance than at the one that runs the turn.
async fn following(one: &Server, two: &Server, times: usize) {
    let session = one.session().await;
    one.turn(&session, "words 1").await;
    let mut arrivals = Vec::new();
    let mut readers = JoinSet::new();
    for (at, server) in [one, two].into_iter().enumerate() {
        let mut events = server.events(&session).await;
        readers.spawn(async move { (at, events.arrivals(2).await) });
    }
    one.turn(&session, &format!("words {} every 20ms", times * 2))
        .await;
    let mut both = readers.join_all().await;
    both.sort_by_key(|(at, _)| *at);
    for (id, here) in &both[0].1 {
        if let Some(there) = both[1].1.get(id) {
            arrivals.push(there.saturating_duration_since(*here));
        }
    }
    told("a piece of text, at the other instance after this one", arrivals);
}

/// A turn at the instance that had the last one, and at the other.
async fn moving(one: &Server, two: &Server, times: usize) {
    let session = one.session().await;
    one.turn(&session, "words 1").await;
    let (mut stays, mut moves) = (Vec::new(), Vec::new());
    for _ in 0..times / 2 {
        for (server, is_move) in [(one, false), (two, true), (two, false), (one, true)] {
            let began = Instant::now();
            server.turn(&session, "words 1").await;
            let kind = if is_move { &mut moves } else { &mut stays };
            kind.push(began.elapsed());
        }
    }
    told("a turn where the session is", stays);
    told("a turn at the other instance, to which the session moves", moves);
}

/// How long it takes until another instance goes on with what a killed one had.
async fn losing(folder: &Path, url: &str, losses: usize) {
    let two = Server::start(folder, "two", url);
    let (mut heard, mut usable) = (Vec::new(), Vec::new());
    for _ in 0..losses {
        let one = Server::start(folder, "one", url);
        let session = one.session().await;
        let mut events = one.stream(&session, "never-end").await;
        events.until("turn_started").await;
        let mut elsewhere = two.events(&session).await;
        elsewhere.until("turn_started").await;
        let began = Instant::now();
        drop(one);
        elsewhere.until("error").await;
        heard.push(began.elapsed());
        two.turn(&session, "words 1").await;
        usable.push(began.elapsed());
    }
    told(
        "from a kill to turn_unknown at the other instance (lease 7 s)",
        heard,
    );
    told("from a kill to a turn that has ended there", usable);
}

/// Moves of sessions between two members, which all listeners are told of.
async fn telling(url: &str, moves: usize, listeners: usize) {
    let patience = Duration::from_secs(30);
    let options = PostgresOptions {
        target: PostgresTarget::Url(url.to_owned().into()),
        tls: None,
        root_certificate: None,
        connections: 8,
        writers: 2,
        patience,
        statement_timeout: patience,
        create_database: true,
        commit: CommitOptions {
            window: Duration::ZERO,
            group_max: 256,
            queue: 64,
        },
    };
    let store = PostgresStore::open(options).await.unwrap();
    let instances = store.instances();
    let (clock, now) = (SystemClock, SystemClock.now());
    let tenant = Tenant::new(TenantId::generate(&clock), "acme".parse().unwrap(), now);
    let tenant = store.ensure_tenant(&tenant).await.unwrap().id;
    let mut members = Vec::new();
    for name in ["one", "two"] {
        let member = Instance {
            id: InstanceId::generate(&clock),
            name: name.parse().unwrap(),
            url: "http://nowhere".to_owned(),
            joined_at: now,
        };
        instances.join(&member, Duration::from_mins(10)).await.unwrap();
        members.push(member.id);
    }
    let mut sessions = Vec::new();
    for _ in 0..8 {
        let session = Session {
            id: SessionId::generate(&clock),
            tenant,
            user: "alice".parse().unwrap(),
            subdir: None,
            title: None,
            metadata: serde_json::Map::new(),
            options: SessionOptions::default(),
            claude_session_id: ClaudeSessionId::generate(&clock),
            conversation_started: false,
            status: SessionStatus::Active,
            message_count: 0,
            created_at: now,
            last_active_at: now,
            closed_at: None,
        };
        store.insert_session(tenant, &session).await.unwrap();
        sessions.push(session.id);
    }
    let mut hearing = JoinSet::new();
    for _ in 0..listeners {
        let mut notices = instances.listen().await.unwrap();
        hearing.spawn(async move {
            for _ in 0..moves {
                notices.next().await.unwrap();
            }
        });
    }
    let began = Instant::now();
    let mut moving = JoinSet::new();
    for session in sessions {
        let (instances, members) = (instances.clone(), members.clone());
        moving.spawn(async move {
            for number in 0..moves / 8 {
                instances
                    .claim(tenant, session, members[number % 2])
                    .await
                    .unwrap();
            }
        });
    }
    moving.join_all().await;
    let took = began.elapsed();
    // What is told is heard: of the moves that there were.
    hearing.abort_all();
    println!(
        "instances: {moves} moves of sessions, eight at once, with {listeners} listeners: {:.2?} each",
        took / u32::try_from(moves).unwrap()
    );
}

struct Server {
    child: Child,
    base: String,
    http: reqwest::Client,
}

impl Server {
    fn start(folder: &Path, name: &str, url: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_paddock"))
            .arg("serve")
            .current_dir(folder)
            .env("PADDOCK__API__PORT", "0")
            .env("PADDOCK__MODEL__SCRIPTED", "true")
            .env("PADDOCK__SESSION__STORAGE", "postgresql")
            .env("PADDOCK__SESSION__DATABASE_URL", url)
            .env("PADDOCK__AGENT__HOMES_DIR", folder.join(format!("homes-{name}")))
            .env("PADDOCK__AGENT__CLI_PATH", env!("CARGO_BIN_EXE_fake-claude"))
            .env("PADDOCK__AGENT__PREWARM", "false")
            .env("PADDOCK__INSTANCE__ID", name)
            .env("PADDOCK__ISOLATION__LEVEL", "none")
            .env("PADDOCK__ISOLATION__REQUIRED", "false")
            .env("PADDOCK__TELEMETRY__LOG_FILTER", "error")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listens = |line: String| {
            let (_, rest) = line.split_once("listens on ")?;
            rest.split_whitespace().next().map(ToOwned::to_owned)
        };
        let base = lines.by_ref().map_while(Result::ok).find_map(listens);
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            base: base.expect("the server says where it listens"),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1/sessions/{path}", self.base)
    }

    async fn session(&self) -> String {
        let url = format!("{}/api/v1/sessions", self.base);
        let request = self.http.post(url).json(&json!({"user_id": "alice"}));
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["session_id"].as_str().unwrap().to_owned()
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.http.post(self.url(path)).json(body).send().await.unwrap();
        answer.json().await.unwrap()
    }

    async fn patch(&self, session: &str, body: &Value) {
        let answer = self
            .http
            .patch(self.url(session))
            .json(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }

    async fn turn(&self, session: &str, prompt: &str) {
        let answer = self
            .post(&format!("{session}/messages"), &json!({"message": prompt}))
            .await;
        assert!(answer["text"].is_string(), "{answer}");
    }

    async fn stream(&self, session: &str, prompt: &str) -> Events {
        let url = self.url(&format!("{session}/stream"));
        Events::of(
            self.http
                .post(url)
                .json(&json!({"message": prompt}))
                .send()
                .await
                .unwrap(),
        )
    }

    async fn events(&self, session: &str) -> Events {
        let request = self.http.get(self.url(&format!("{session}/events")));
        Events::of(
            request
                .header("accept", "text/event-stream")
                .send()
                .await
                .unwrap(),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Server-sent events.
struct Events {
    bytes: std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    unread: String,
}

impl Events {
    fn of(answer: reqwest::Response) -> Self {
        assert_eq!(answer.status(), 200);
        Self {
            bytes: Box::pin(answer.bytes_stream()),
            unread: String::new(),
        }
    }

    async fn next(&mut self) -> Value {
        loop {
            if let Some((frame, rest)) = self.unread.split_once("\n\n") {
                let event = frame.lines().find_map(|line| line.strip_prefix("data: "));
                let event = event.map(|data| serde_json::from_str(data).unwrap());
                self.unread = rest.to_string();
                if let Some(event) = event {
                    return event;
                }
                continue;
            }
            let more = self.bytes.next().await.expect("the stream goes on").unwrap();
            self.unread.push_str(std::str::from_utf8(&more).unwrap());
        }
    }

    async fn until(&mut self, kind: &str) {
        while self.next().await["type"] != kind {}
    }

    /// When each piece of text of the last of so many turns came.
    async fn arrivals(&mut self, turns: usize) -> BTreeMap<u64, Instant> {
        let (mut arrivals, mut over) = (BTreeMap::new(), 0);
        while over < turns {
            let event = self.next().await;
            if event["type"] == "text_delta" && over + 1 == turns {
                arrivals.insert(event["id"].as_u64().unwrap(), Instant::now());
            }
            over += usize::from(event["type"] == "done");
        }
        arrivals
    }
}
