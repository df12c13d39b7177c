//! Who works in a round: clients that ask, at any door, and again when they are not answered; and readers that follow.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::chance::Chance;
use super::place::Speaks;
use crate::support::{Client, PATIENCE};

const SESSIONS: usize = 3;
const CLIENTS_OF_EACH: usize = 2;
/// How long a client tries to have a turn taken.
const TRIES_FOR: Duration = Duration::from_secs(2);
/// How long it waits for each answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What a client was told of a turn that it asked for.
#[derive(Debug, Clone)]
pub(super) enum Told {
    /// It was taken: its id, and its text where it completed.
    Taken { turn: String, text: Option<String> },
    /// It was refused: it must not have run.
    Refused,
    /// Nothing for certain.
    Nothing,
}

/// What everyone saw.
#[derive(Default)]
pub(super) struct Seen {
    /// What each id of each session meant, by whoever told it.
    pub(super) by_id: HashMap<(String, u64), Value>,
    /// What readers read, in their order, by session.
    pub(super) readers: Vec<(String, Vec<Value>)>,
    /// What clients were told, by the mark in their prompt.
    pub(super) told: BTreeMap<String, (String, Told)>,
    /// The logs at the end.
    pub(super) logs: BTreeMap<String, Vec<Value>>,
    /// What the conversations hold at the end.
    pub(super) recalled: BTreeMap<String, String>,
}

/// A round.
pub(super) struct Round {
    doors: Vec<SocketAddr>,
    speaks: Speaks,
    http: reqwest::Client,
    seed: u64,
    sessions: Vec<String>,
    seen: Mutex<Seen>,
    /// Where the logs end, once they do.
    ends: watch::Sender<Option<BTreeMap<String, u64>>>,
    readers: tokio::sync::Mutex<JoinSet<()>>,
}

impl Round {
    pub(super) async fn begin(doors: Vec<SocketAddr>, speaks: Speaks, seed: u64) -> Self {
        let http = Client::new(doors[0], None).http().clone();
        let mut round = Self {
            doors,
            speaks,
            http,
            seed,
            sessions: Vec::new(),
            seen: Mutex::default(),
            ends: watch::Sender::new(None),
            readers: tokio::sync::Mutex::default(),
        };
        let mut chance = Chance::new(!seed);
        let on_lost = ["unknown", "resume"][usize::from(!seed.is_multiple_of(2))];
        let policy = json!({"policy": {"on_lost": on_lost}});
        let tenant = "/api/v1/admin/tenants/default";
        let is_set = |answer: &Option<(u16, Value)>| matches!(answer, Some((200, _)));
        while !is_set(
            &round
                .call(&mut chance, Method::PATCH, tenant, None, Some(&policy))
                .await,
        ) {}
        while round.sessions.len() < SESSIONS {
            let body = json!({"user_id": format!("user-{}", round.sessions.len())});
            let made = round
                .call(&mut chance, Method::POST, "/api/v1/sessions", None, Some(&body))
                .await;
            if let Some((201, made)) = made {
                round
                    .sessions
                    .push(made["session_id"].as_str().unwrap().to_owned());
            }
        }
        round
    }

    /// Asks at any door; nothing where nobody answers.
    async fn call(
        &self,
        chance: &mut Chance,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Option<(u16, Value)> {
        let request = self.request(chance, method, path, key, body);
        let answer = request.timeout(ANSWER_WITHIN).send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.unwrap_or(Value::Null)))
    }

    fn request(
        &self,
        chance: &mut Chance,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> reqwest::RequestBuilder {
        let door = self.doors[chance.below(self.doors.len())];
        let mut request = self.http.request(method, format!("http://{door}{path}"));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        match body {
            Some(body) => request.json(body),
            None => request,
        }
    }

    fn prompt(&self, chance: &mut Chance, mark: &str) -> String {
        let words = format!("words {} every {}ms", 3 + chance.below(40), 1 + chance.below(30));
        match (self.speaks, chance.below(4)) {
            (Speaks::StandIn, 0) => mark.to_owned(),
            (Speaks::StandIn, 1) => format!("permission Bash\n{mark}"),
            (Speaks::StandIn, _) => format!("{words}\n{mark}"),
            (Speaks::RealCli, 0) => format!("% say {mark}"),
            (Speaks::RealCli, _) => format!("% say {mark}\n% {words}"),
        }
    }

    /// Has a turn taken, if it can be: the same request again and again until there is an answer.
    async fn turn(&self, chance: &mut Chance, session: &str, mark: &str, submit: bool) {
        let on_busy = ["reject", "queue", "queue", "interrupt"][chance.below(4)];
        let body = json!({"message": self.prompt(chance, mark), "on_busy": on_busy});
        let path = format!(
            "/api/v1/sessions/{session}/{}",
            if submit { "turns" } else { "messages" }
        );
        let started = Instant::now();
        let mut told = Told::Nothing;
        while started.elapsed() < TRIES_FOR {
            let Some((status, answer)) = self
                .call(chance, Method::POST, &path, Some(mark), Some(&body))
                .await
            else {
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            if let Some(turn) = answer["turn_id"].as_str() {
                let text = (status == 200).then(|| answer["text"].as_str().unwrap().to_owned());
                told = Told::Taken {
                    turn: turn.to_owned(),
                    text,
                };
                break;
            }
            match (status, answer["code"].as_str().unwrap_or_default()) {
                (409, "session_busy") | (429, "turn_queue_full") | (410, _) => {
                    told = Told::Refused;
                    break;
                }
                (409, "request_in_progress") | (500..600, _) => sleep(Duration::from_millis(100)).await,
                other => panic!("round {}: an odd answer to a turn: {other:?} {answer}", self.seed),
            }
        }
        self.lock()
            .told
            .insert(mark.to_owned(), (session.to_owned(), told));
    }

    /// Begins to follow a turn, and is cut off.
    async fn cut_stream(&self, chance: &mut Chance, session: &str, mark: &str) {
        let body = json!({"message": self.prompt(chance, mark), "on_busy": "queue"});
        let path = format!("/api/v1/sessions/{session}/stream");
        let request = self.request(chance, Method::POST, &path, Some(mark), Some(&body));
        let told = Told::Nothing;
        self.lock()
            .told
            .insert(mark.to_owned(), (session.to_owned(), told));
        let reading = async {
            if let Ok(answer) = request.send().await {
                let mut bytes = answer.bytes_stream();
                while bytes.next().await.is_some_and(|bytes| bytes.is_ok()) {}
            }
        };
        let _cut = tokio::time::timeout(chance.time(1, 600), reading).await;
    }

    async fn client(self: Arc<Self>, mut chance: Chance, session: String, name: String, until: Instant) {
        let mut number = 0;
        while Instant::now() < until {
            number += 1;
            let mark = format!("mark-{}-{name}-{number}", self.seed);
            let base = format!("/api/v1/sessions/{session}");
            let chance = &mut chance;
            match chance.below(20) {
                0..=9 => self.turn(chance, &session, &mark, false).await,
                10..=12 => self.turn(chance, &session, &mark, true).await,
                13..=14 => self.cut_stream(chance, &session, &mark).await,
                15..=16 => {
                    let _any = self
                        .call(chance, Method::POST, &format!("{base}/interrupt"), None, None)
                        .await;
                }
                17..=18 => self.answer_questions(chance, &session).await,
                _ => {
                    let body = json!({"title": mark});
                    let _any = self.call(chance, Method::PATCH, &base, None, Some(&body)).await;
                }
            }
        }
    }

    async fn answer_questions(&self, chance: &mut Chance, session: &str) {
        let path = format!("/api/v1/sessions/{session}/permissions");
        let Some((200, asked)) = self.call(chance, Method::GET, &path, None, None).await else {
            return;
        };
        for question in asked["data"].as_array().into_iter().flatten() {
            let path = format!("{path}/{}", question["permission_id"].as_str().unwrap());
            let body = json!({"decision": "allow"});
            let _any = self.call(chance, Method::POST, &path, None, Some(&body)).await;
        }
    }

    /// Follows a session to the end of its log, cut off at random and going on anywhere.
    async fn reader(self: Arc<Self>, mut chance: Chance, session: String) {
        let (mut read, mut cursor) = (Vec::new(), 0);
        let mut ends = self.ends.subscribe();
        loop {
            if let Some(ends) = &*ends.borrow_and_update()
                && cursor >= ends[&session]
            {
                break;
            }
            let path = format!("/api/v1/sessions/{session}/events?after={cursor}");
            let request = self
                .request(&mut chance, Method::GET, &path, None, None)
                .header("accept", "text/event-stream");
            let following = self.follow(request, &session, &mut read, &mut cursor, &mut ends);
            let _cut = tokio::time::timeout(chance.time(50, 1500), following).await;
            sleep(Duration::from_millis(5)).await;
        }
        self.lock().readers.push((session, read));
    }

    async fn follow(
        &self,
        request: reqwest::RequestBuilder,
        session: &str,
        read: &mut Vec<Value>,
        cursor: &mut u64,
        ends: &mut watch::Receiver<Option<BTreeMap<String, u64>>>,
    ) {
        let Ok(answer) = request.send().await else { return };
        if answer.status() != 200 {
            sleep(Duration::from_millis(50)).await;
            return;
        }
        let (mut bytes, mut unread) = (answer.bytes_stream(), String::new());
        while let Some(Ok(more)) = bytes.next().await {
            unread.push_str(std::str::from_utf8(&more).unwrap());
            while let Some((frame, rest)) = unread.split_once("\n\n") {
                let data = frame.lines().find_map(|line| line.strip_prefix("data: "));
                if let Some(data) = data {
                    let event: Value = serde_json::from_str(data).unwrap();
                    *cursor = event["id"].as_u64().unwrap();
                    self.saw(session, &event);
                    read.push(event);
                }
                unread = rest.to_owned();
            }
            if let Some(ends) = &*ends.borrow()
                && *cursor >= ends[session]
            {
                return;
            }
        }
    }

    /// No id ever means two things.
    fn saw(&self, session: &str, event: &Value) {
        if event["type"] == "gap" {
            return;
        }
        let id = event["id"].as_u64().unwrap();
        let mut seen = self.lock();
        let before = seen
            .by_id
            .entry((session.to_owned(), id))
            .or_insert_with(|| event.clone());
        assert_eq!(before, event, "round {}: id {id} means two things", self.seed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Lets all turns end, has the readers read to the end of the logs, and tells what everyone saw.
    pub(super) async fn settle(&self) -> Seen {
        let mut chance = Chance::new(self.seed);
        let mut logs = BTreeMap::new();
        for session in &self.sessions {
            let base = format!("/api/v1/sessions/{session}");
            let started = Instant::now();
            loop {
                let busy = self.call(&mut chance, Method::GET, &base, None, None).await;
                if matches!(&busy, Some((200, session)) if session["busy"] == false) {
                    break;
                }
                assert!(
                    started.elapsed() < PATIENCE,
                    "round {}: turns do not end: {busy:?}",
                    self.seed
                );
                let path = format!("{base}/interrupt");
                let _any = self.call(&mut chance, Method::POST, &path, None, None).await;
                sleep(Duration::from_millis(50)).await;
            }
            if self.speaks == Speaks::StandIn {
                let recalled = self.recall(&mut chance, &base).await;
                self.lock().recalled.insert(session.clone(), recalled);
            }
            logs.insert(session.clone(), self.log(&mut chance, &base).await);
        }
        let ends = logs.iter().map(|(session, log)| {
            let last = log.last().map_or(0, |event| event["id"].as_u64().unwrap());
            (session.clone(), last)
        });
        self.ends.send_replace(Some(ends.collect()));
        let mut readers = self.readers.lock().await;
        let read = async {
            while let Some(read) = readers.join_next().await {
                read.unwrap();
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, read).await;
        assert!(
            in_time.is_ok(),
            "round {}: a reader does not come to the end of its log",
            self.seed
        );
        for (session, log) in &logs {
            for event in log {
                self.saw(session, event);
            }
        }
        let mut seen = self.lock();
        seen.logs = logs;
        std::mem::take(&mut *seen)
    }

    async fn recall(&self, chance: &mut Chance, base: &str) -> String {
        let started = Instant::now();
        loop {
            let path = format!("{base}/messages");
            let body = json!({"message": "recall"});
            let told = self.call(chance, Method::POST, &path, None, Some(&body)).await;
            if let Some((200, told)) = told {
                return told["text"].as_str().unwrap().to_owned();
            }
            assert!(
                started.elapsed() < PATIENCE,
                "round {}: nothing is recalled: {told:?}",
                self.seed
            );
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn log(&self, chance: &mut Chance, base: &str) -> Vec<Value> {
        let started = Instant::now();
        loop {
            let request = self
                .request(chance, Method::GET, &format!("{base}/events"), None, None)
                .header("accept", "application/x-ndjson");
            if let Ok(answer) = request.send().await
                && answer.status() == 200
                && let Ok(text) = answer.text().await
            {
                let lines = text.lines().filter(|line| !line.is_empty());
                return lines.map(|line| serde_json::from_str(line).unwrap()).collect();
            }
            assert!(
                started.elapsed() < PATIENCE,
                "round {}: a log cannot be read",
                self.seed
            );
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Works for so long.
pub(super) async fn work(round: &Arc<Round>, chance: &mut Chance, time: Duration) {
    let until = Instant::now() + time;
    let mut clients = JoinSet::new();
    for (which, session) in round.sessions.iter().enumerate() {
        for number in 0..CLIENTS_OF_EACH {
            let name = format!("{which}-{number}");
            clients.spawn(Arc::clone(round).client(chance.fork(), session.clone(), name, until));
        }
        let reader = Arc::clone(round).reader(chance.fork(), session.clone());
        round.readers.lock().await.spawn(reader);
    }
    while let Some(worked) = clients.join_next().await {
        worked.unwrap();
    }
}
