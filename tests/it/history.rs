//! Holds what clients get against the log: whoever loses its connection again and again, at any place, over any transport,
//! gets every event once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use rand::RngExt as _;
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, PATIENCE, Served, joined, paddock, real_cli, until};

/// How many clients there are, and how often each connection is lost in all.
const CLIENTS: usize = 8;
const RECONNECTS: usize = 1000;

/// What one client has of a log so far.
struct Reader {
    client: Client,
    address: std::net::SocketAddr,
    session: String,
    got: Vec<Value>,
}

impl Reader {
    fn after(&self) -> u64 {
        self.got.last().map_or(0, |event| event["id"].as_u64().unwrap())
    }

    fn path(&self, rest: &str) -> String {
        format!(
            "/api/v1/sessions/{}/events?after={}{rest}",
            self.session,
            self.after()
        )
    }

    /// Connects over one of the transports, takes up to `most` bytes or events, and is cut off.
    async fn connect(&mut self, transport: u32, most: usize) {
        match transport {
            0 => self.stream("text/event-stream", most).await,
            1 => self.stream("application/x-ndjson", most).await,
            2 => self.socket(most).await,
            _ => {
                let page = self
                    .client
                    .get(&self.path(&format!("&limit={}", most.clamp(1, 200))))
                    .await;
                self.got
                    .extend(page.expect(200).body["data"].as_array().unwrap().iter().cloned());
            }
        }
    }

    /// Takes so many bytes at most; what is not whole by then is lost.
    async fn stream(&mut self, media_type: &str, most: usize) {
        let request = self.client.request(Method::GET, &self.path("&follow=true"));
        let mut response = request.header(ACCEPT, media_type).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let mut text = String::new();
        // One that waits for what comes is cut off too.
        while let Ok(Ok(Some(chunk))) =
            tokio::time::timeout(Duration::from_millis(30), response.chunk()).await
        {
            text.push_str(std::str::from_utf8(&chunk).unwrap());
            if text.len() >= most * 100 {
                text.truncate(most * 100);
                break;
            }
        }
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines() {
            let line = line.strip_prefix("data: ").unwrap_or(line);
            if line.starts_with('{') {
                self.got.push(serde_json::from_str(line).unwrap());
            }
        }
    }

    async fn socket(&mut self, most: usize) {
        let url = format!(
            "ws://{}/api/v1/sessions/{}/ws?after={}",
            self.address,
            self.session,
            self.after()
        );
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        for _ in 0..most {
            match tokio::time::timeout(Duration::from_millis(30), socket.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => self.got.push(serde_json::from_str(&text).unwrap()),
                Ok(Some(Ok(_))) => {}
                _ => break,
            }
        }
    }
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

async fn history(served: Served, prompt: &str) {
    let client = served.client();
    let session = client.session("alice").await;
    client.answer(&session, "warm").await;
    let before = descriptors(served.pid());
    let (over, reconnects) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut readers = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let (over, reconnects) = (Arc::clone(&over), Arc::clone(&reconnects));
        let mut reader = Reader {
            client: client.clone(),
            address: served.address,
            session: session.clone(),
            got: Vec::new(),
        };
        readers.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let (transport, most) = {
                    let mut random = rand::rng();
                    (random.random_range(0..4), random.random_range(1..30))
                };
                reader.connect(transport, most).await;
                reconnects.fetch_add(1, Ordering::Relaxed);
            }
            // What is left, each over another transport.
            let transport = u32::try_from(number % 4).unwrap();
            loop {
                let had = reader.got.len();
                reader.connect(transport, 150).await;
                if reader.got.len() == had {
                    return reader.got;
                }
            }
        });
    }
    let mut texts = Vec::new();
    while reconnects.load(Ordering::Relaxed) < RECONNECTS {
        texts.push(client.answer(&session, prompt).await);
    }
    over.store(true, Ordering::Relaxed);
    let mut log = Vec::new();
    loop {
        let after = log
            .last()
            .map_or(0, |event: &Value| event["id"].as_u64().unwrap());
        let page = client
            .get(&format!(
                "/api/v1/sessions/{session}/events?after={after}&limit=200"
            ))
            .await;
        let page = page.expect(200).body;
        log.extend(page["data"].as_array().unwrap().iter().cloned());
        if page["next_cursor"].is_null() {
            break;
        }
    }
    while let Some(got) = tokio::time::timeout(PATIENCE, readers.join_next())
        .await
        .expect("they end")
    {
        let got = got.unwrap();
        assert_eq!(got.len(), log.len());
        assert!(got == log, "what a client joined is the log");
    }
    let turns: Vec<_> = log.chunk_by(|a, b| a["turn_id"] == b["turn_id"]).collect();
    assert_eq!(turns.len(), texts.len() + 1);
    for (turn, text) in turns[1..].iter().zip(&texts) {
        assert_eq!(joined(turn), *text);
    }
    until("the connections are gone", async || {
        (descriptors(served.pid()) <= before + 16).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reconnects_during_turns_of_the_stand_in_lose_and_repeat_nothing() {
    let folder = tempfile::tempdir().unwrap();
    history(Served::start(folder), "words 40 every 5ms").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reconnects_during_turns_of_the_real_cli_lose_and_repeat_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = paddock(folder.path());
    command.env("PADDOCK__AGENT__CLI_PATH", real_cli()).arg("serve");
    history(
        Served::of(command, folder),
        "% think Hm\n% words 40 every 5ms\n% bash echo hello\n% results",
    )
    .await;
}

/// What a process holds in memory, in bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

/// A turn of 50,000 pieces that is followed; how much more the server holds afterwards, in bytes.
async fn long_turn(served: &Served, session: &str) -> (u64, String) {
    let before = resident(served.pid());
    let body = json!({"session_id": session, "message": "words 50000"});
    let events = served
        .client()
        .open("/api/v1/chat/stream", &body)
        .await
        .rest()
        .await;
    let text = events.last().unwrap()["text"].as_str().unwrap().to_owned();
    assert_eq!(joined(&events), text);
    (resident(served.pid()).saturating_sub(before), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_reads_nothing_costs_little_and_delays_nobody() {
    let served = Served::start(tempfile::tempdir().unwrap());
    let client = served.client();
    // Without it, twice: the first time the server takes what it needs for any turn.
    let mut without = 0;
    for _ in 0..2 {
        let session = client.session("alice").await;
        without = long_turn(&served, &session).await.0;
    }
    // What the allocator keeps differs from time to time; what a reader costs it costs every time.
    let mut least = u64::MAX;
    for _ in 0..3 {
        let session = client.session("alice").await;
        let request = client.request(Method::GET, &format!("/api/v1/sessions/{session}/events"));
        let mut slow = request.header(ACCEPT, "text/event-stream").send().await.unwrap();
        // Others get theirs meanwhile.
        let (with, text) = long_turn(&served, &session).await;
        let mut read = String::new();
        let ends = |read: &str| {
            let line = read.trim_end().rsplit_once('\n').map_or("", |(_, line)| line);
            line.contains("\"type\":\"done\"") && read.ends_with("\n\n")
        };
        while !ends(&read) {
            let chunk = tokio::time::timeout(PATIENCE, slow.chunk()).await.unwrap();
            read.push_str(std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap());
        }
        let events: Vec<Value> = read
            .lines()
            .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
            .collect();
        assert_eq!(joined(&events), text, "and it, when it reads at last");
        least = least.min(with);
        if least < without + 10 * 1024 * 1024 {
            return;
        }
    }
    panic!("{least} bytes more at least, {without} without it");
}
