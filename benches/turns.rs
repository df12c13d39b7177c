//! What the platform adds to the CLI: turns through a served Paddock beside the same turns of the raw CLI, on the same
//! scripted model, in one run and taken by turns. And what a session and a streamed event cost the server.
//!
//! `PADDOCK_CLI_PATH=$(scripts/install-cli.sh) cargo bench --bench turns` prints the figures of `docs/PERFORMANCE.md`.
//! Tried only (`cargo test --benches`, `--test`), it does each thing once.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a benchmark may panic, prints, and starts processes"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use scripted_model::{Options, ScriptedModel};
use serde_json::{Value, json};

const PROMPT: &str = "% words 5";

fn main() {
    let tried = std::env::args().any(|argument| argument == "--test");
    let cargo_bench = std::env::args().any(|argument| argument == "--bench");
    let Some(cli) = std::env::var_os("PADDOCK_CLI_PATH").map(PathBuf::from) else {
        println!("turns: set PADDOCK_CLI_PATH to the CLI's binary; nothing is measured");
        return;
    };
    let rounds = if tried || !cargo_bench { 1 } else { 40 };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let model = {
        let _inside = runtime.enter();
        ScriptedModel::start(Options::default()).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &cli, &model.base_url(), &[]);
    runtime.block_on(async {
        warm_turns(&server, &cli, &model.base_url(), folder.path(), rounds).await;
        first_turns(&server, &cli, &model.base_url(), folder.path(), rounds.min(15)).await;
    });
    drop(server);
    let folder = tempfile::tempdir().unwrap();
    let fake = PathBuf::from(env!("CARGO_BIN_EXE_fake-claude"));
    let server = Server::start(
        folder.path(),
        &fake,
        &model.base_url(),
        &[
            ("PADDOCK__AGENT__MAX_LIVE", "200"),
            ("PADDOCK__AGENT__PREWARM", "false"),
        ],
    );
    runtime.block_on(cost(&server, if rounds == 1 { 2 } else { 100 }));
}

/// From a warm process's prompt to the first piece of text.
async fn warm_turns(server: &Server, cli: &Path, model: &str, folder: &Path, rounds: usize) {
    let mut raw = Raw::start(cli, model, folder);
    raw.first_delta();
    let session = server.session("warm").await;
    server.first_delta(&session).await;
    let (mut of_raw, mut of_ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        of_raw.push(raw.first_delta());
        of_ours.push(server.first_delta(&session).await);
    }
    report("warm turn, prompt to first delta", &mut of_raw, &mut of_ours);
}

/// From the wish to talk to the first piece of text: a cold spawn beside a session that was made a moment ago.
async fn first_turns(server: &Server, cli: &Path, model: &str, folder: &Path, rounds: usize) {
    let (mut of_raw, mut at_once, mut after_a_moment) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let began = Instant::now();
        let mut raw = Raw::start(cli, model, folder);
        raw.first_delta();
        of_raw.push(began.elapsed());
        drop(raw);

        let session = server.session(&format!("once-{round}")).await;
        let began = Instant::now();
        server.first_delta(&session).await;
        at_once.push(began.elapsed());
        server.close(&session).await;

        let session = server.session(&format!("later-{round}")).await;
        // As long as a person takes to write something short.
        tokio::time::sleep(Duration::from_secs(2)).await;
        after_a_moment.push(server.first_delta(&session).await);
        server.close(&session).await;
    }
    let mut of_raw_again = of_raw.clone();
    report(
        "first turn at once after create, beside a cold spawn",
        &mut of_raw,
        &mut at_once,
    );
    report(
        "first turn 2 s after create, beside a cold spawn",
        &mut of_raw_again,
        &mut after_a_moment,
    );
}

/// What sessions and streamed events cost the server, with the stand-in for the CLI, which costs it the same.
async fn cost(server: &Server, sessions: usize) {
    const WORDS: usize = 500;
    let memory_before = server.memory_bytes();
    let mut ids = Vec::new();
    for number in 0..sessions {
        let id = server.session(&format!("cost-{number}")).await;
        server.stream(&id, "hello").await;
        ids.push(id);
    }
    let memory_idle = server.memory_bytes();
    let cpu_before = server.cpu();
    let began = Instant::now();
    let mut events = 0;
    for id in &ids {
        events += server.stream(id, &format!("words {WORDS} every 0ms")).await;
    }
    let (cpu, took) = (server.cpu().saturating_sub(cpu_before), began.elapsed());
    println!(
        "server: {:.0} KB a live session (of {sessions}), {:.1} us of CPU a streamed event ({events} events in {:.1} s, stored, rendered and sent)",
        (memory_idle.saturating_sub(memory_before)) as f64 / sessions as f64 / 1024.0,
        cpu.as_secs_f64() * 1e6 / events as f64,
        took.as_secs_f64(),
    );
}

fn report(what: &str, raw: &mut [Duration], ours: &mut [Duration]) {
    let millis = |times: &mut [Duration], share: usize| {
        times.sort();
        times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0
    };
    let (raw_median, ours_median) = (millis(raw, 50), millis(ours, 50));
    println!(
        "{what}: raw {raw_median:.1} ms, ours {ours_median:.1} ms at the median ({:.2}x, {:+.1} ms); p90 {:.1} and {:.1} ms; n={}",
        ours_median / raw_median,
        ours_median - raw_median,
        millis(raw, 90),
        millis(ours, 90),
        raw.len(),
    );
}

/// The CLI by itself, talked to over its pipes.
struct Raw {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Raw {
    fn start(cli: &Path, model: &str, folder: &Path) -> Self {
        let home = folder.join(format!("raw-{}", uuid::Uuid::new_v4()));
        let work = home.join("work");
        std::fs::create_dir_all(&work).unwrap();
        let mut child = Command::new(cli)
            .args([
                "--print",
                "--input-format=stream-json",
                "--output-format=stream-json",
                "--verbose",
                "--include-partial-messages",
                "--permission-prompt-tool=stdio",
                "--setting-sources=",
            ])
            .arg(format!("--session-id={}", uuid::Uuid::new_v4()))
            .current_dir(&work)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", &home)
            .env("CLAUDE_CONFIG_DIR", home.join(".claude"))
            .env("ANTHROPIC_BASE_URL", model)
            .env("ANTHROPIC_API_KEY", "scripted")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let hello =
            json!({"type": "control_request", "request_id": "i", "request": {"subtype": "initialize"}});
        writeln!(stdin, "{hello}").unwrap();
        until(&mut stdout, |message| message["type"] == "control_response");
        Self { child, stdin, stdout }
    }

    fn first_delta(&mut self) -> Duration {
        let prompt = json!({"type": "user", "message": {"role": "user", "content": PROMPT}, "parent_tool_use_id": null, "session_id": ""});
        let began = Instant::now();
        writeln!(self.stdin, "{prompt}").unwrap();
        until(&mut self.stdout, |message| {
            message["event"]["delta"]["type"] == "text_delta"
        });
        let took = began.elapsed();
        until(&mut self.stdout, |message| message["type"] == "result");
        took
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn until(lines: &mut impl std::io::BufRead, is_it: impl Fn(&Value) -> bool) {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the CLI ended");
        if serde_json::from_str(&line).is_ok_and(|message| is_it(&message)) {
            return;
        }
    }
}

/// The server as people run it.
struct Server {
    child: Child,
    base: String,
    http: reqwest::Client,
}

impl Server {
    fn start(folder: &Path, cli: &Path, model: &str, more: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_paddock"))
            .arg("serve")
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("PADDOCK__API__PORT", "0")
            .env("PADDOCK__AGENT__CLI_PATH", cli)
            .env("PADDOCK__TELEMETRY__LOG_FILTER", "error")
            // To tell what the fence costs: none, landlock, namespaces.
            .env(
                "PADDOCK__ISOLATION__LEVEL",
                std::env::var_os("PADDOCK_BENCH_ISOLATION").unwrap_or_else(|| "best".into()),
            )
            .env("ANTHROPIC_BASE_URL", model)
            .env("ANTHROPIC_API_KEY", "scripted")
            .envs(more.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let base = loop {
            let line = lines.next().expect("the server says where it listens").unwrap();
            if let Some((_, rest)) = line.split_once("listens on ") {
                break rest.split_whitespace().next().unwrap().to_owned();
            }
        };
        // Read on, so that the pipe never fills.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            base,
            http: {
                // It speaks no TLS, but wants to be able to.
                let _installed = rustls::crypto::ring::default_provider().install_default();
                reqwest::Client::new()
            },
        }
    }

    async fn session(&self, user: &str) -> String {
        let request = self.http.post(format!("{}/api/v1/sessions", self.base));
        let answer: Value = request
            .json(&json!({"user_id": user}))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        answer["session_id"].as_str().unwrap().to_owned()
    }

    async fn close(&self, session: &str) {
        let request = self
            .http
            .delete(format!("{}/api/v1/sessions/{session}", self.base));
        assert_eq!(request.send().await.unwrap().status(), 204);
    }

    async fn first_delta(&self, session: &str) -> Duration {
        let began = Instant::now();
        let mut first = None;
        self.read_stream(session, PROMPT, |text| {
            if first.is_none() && text.contains("\"text_delta\"") {
                first = Some(began.elapsed());
            }
        })
        .await;
        first.expect("there is a piece of text")
    }

    /// How many events a turn had.
    async fn stream(&self, session: &str, prompt: &str) -> usize {
        let mut events = 0;
        self.read_stream(session, prompt, |text| events += text.matches("\ndata: ").count())
            .await;
        events
    }

    async fn read_stream(&self, session: &str, prompt: &str, mut look: impl FnMut(&str)) {
        let request = self
            .http
            .post(format!("{}/api/v1/sessions/{session}/stream", self.base));
        let mut response = request.json(&json!({"message": prompt})).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let mut done = false;
        while let Some(chunk) = response.chunk().await.unwrap() {
            let text = String::from_utf8_lossy(&chunk);
            done |= text.contains("\"type\":\"done\"");
            look(&text);
        }
        assert!(done, "the turn did not complete");
    }

    /// Its own private memory, without what it started.
    fn memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Its own time on processors.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let ticks = |at: usize| fields.get(at).unwrap().parse::<u64>().unwrap();
        Duration::from_millis((ticks(11) + ticks(12)) * 10)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
