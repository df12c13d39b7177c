//! What readers of logs cost, and how long an event takes to all of them: a thousand on one session, and two thousand sessions
//! with a reader each, on the stand-in for the CLI.
//!
//! `cargo bench --bench readers` prints the figures of `docs/PERFORMANCE.md`. Tried only (`cargo test --benches`, `--test`), it
//! does the same with a few.

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
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// When each event came to one reader, by its id.
type Arrivals = BTreeMap<u64, Instant>;

fn main() {
    let tried = std::env::args().any(|argument| argument == "--test");
    let measured = std::env::args().any(|argument| argument == "--bench") && !tried;
    let (readers, sessions, words) = if measured { (1000, 2000, 200) } else { (5, 5, 3) };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    runtime.block_on(async {
        one_session(&server, readers, words).await;
        many_sessions(&server, sessions).await;
    });
}

async fn one_session(server: &Server, readers: usize, words: usize) {
    let session = server.session().await;
    server.turn(&session, "words 1").await;
    let before = server.resident();
    let mut following = JoinSet::new();
    for _ in 0..readers {
        let reader = Reader::open(server, &session).await;
        following.spawn(reader.until_done(2));
    }
    let each = server.resident().saturating_sub(before) / readers as u64;
    println!("readers: {readers} on one session: {each} bytes each");
    let prompt = format!("words {words} every 20ms");
    server.turn(&session, &prompt).await;
    let all: Vec<Arrivals> = following.join_all().await;
    let mut spreads: Vec<Duration> = Vec::new();
    for id in all[0].keys() {
        let times: Vec<_> = all.iter().filter_map(|arrivals| arrivals.get(id)).collect();
        assert_eq!(times.len(), readers, "each has each event");
        let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        spreads.push(last.duration_since(**first));
    }
    spreads.sort();
    let at = |percent: usize| spreads[(spreads.len() - 1) * percent / 100];
    println!(
        "readers: one event to all of {readers}, from the first to the last: p50 {:?}, p99 {:?} of {} events",
        at(50),
        at(99),
        spreads.len()
    );
}

async fn many_sessions(server: &Server, count: usize) {
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(server.session().await);
    }
    let before = server.resident();
    let mut following = JoinSet::new();
    for session in &sessions {
        let reader = Reader::open(server, session).await;
        following.spawn(reader.until_done(1));
    }
    let each = server.resident().saturating_sub(before) / count as u64;
    println!("readers: {count} sessions with a reader each: {each} bytes each");
    let began = Instant::now();
    let mut turns = JoinSet::new();
    for session in &sessions {
        let (http, base, session) = (server.http.clone(), server.base.clone(), session.clone());
        // As many at once as there are agents.
        if turns.len() >= 8 {
            turns.join_next().await.unwrap().unwrap();
        }
        turns.spawn(async move { turn(&http, &base, &session, "words 3").await });
    }
    turns.join_all().await;
    let all = following.join_all().await;
    assert!(
        all.iter().all(|arrivals| !arrivals.is_empty()),
        "each has its own"
    );
    println!(
        "readers: a turn in each of {count} sessions, each told to its reader: {:?}",
        began.elapsed()
    );
}

/// A reader of a log, with as little of its own as can be.
struct Reader(tokio::io::BufReader<TcpStream>);

impl Reader {
    async fn open(server: &Server, session: &str) -> Self {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let request = format!(
            "GET /api/v1/sessions/{session}/events HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reader = Self(tokio::io::BufReader::with_capacity(1024, stream));
        loop {
            let line = reader.line().await;
            if line.starts_with("retry:") {
                return reader;
            }
        }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).await.unwrap();
        assert!(read > 0, "the stream goes on");
        line
    }

    /// Reads until so many turns are over; when the events of the last one came.
    async fn until_done(mut self, turns: usize) -> Arrivals {
        let (mut arrivals, mut over, mut id) = (Arrivals::new(), 0, 0);
        loop {
            let line = self.line().await;
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.trim().parse().unwrap();
            } else if let Some(data) = line.strip_prefix("data: ") {
                arrivals.insert(id, Instant::now());
                if data.contains("\"type\":\"done\"") {
                    over += 1;
                    if over == turns {
                        return arrivals;
                    }
                    arrivals.clear();
                }
            }
        }
    }
}

struct Server {
    child: Child,
    base: String,
    http: reqwest::Client,
}

impl Server {
    fn start(folder: &std::path::Path) -> Self {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let mut child = Command::new(env!("CARGO_BIN_EXE_paddock"))
            .arg("serve")
            .current_dir(folder)
            .env("PADDOCK__API__PORT", "0")
            .env("PADDOCK__MODEL__SCRIPTED", "true")
            .env("PADDOCK__AGENT__CLI_PATH", env!("CARGO_BIN_EXE_fake-claude"))
            .env("PADDOCK__AGENT__PREWARM", "false")
            .env("PADDOCK__ISOLATION__LEVEL", "none")
            .env("PADDOCK__ISOLATION__REQUIRED", "false")
            .env("PADDOCK__TELEMETRY__LOG_FILTER", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let base = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                Some(
                    line.split_once("listens on ")?
                        .1
                        .split_whitespace()
                        .next()?
                        .to_owned(),
                )
            })
            .expect("the server says where it listens");
        // Read on, so that the pipe never fills.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            base,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    async fn session(&self) -> String {
        let answer = self
            .http
            .post(format!("{}/api/v1/sessions", self.base))
            .json(&json!({"user_id": "alice"}))
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["session_id"].as_str().unwrap().to_owned()
    }

    async fn turn(&self, session: &str, prompt: &str) {
        turn(&self.http, &self.base, session, prompt).await;
    }

    /// What it holds in memory, in bytes.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

async fn turn(http: &reqwest::Client, base: &str, session: &str, prompt: &str) {
    let url = format!("{base}/api/v1/sessions/{session}/messages");
    let answer = http
        .post(url)
        .json(&json!({"message": prompt}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
}
