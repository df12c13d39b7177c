//! The plug pulled: a process that writes to a store is killed at random moments, and what it was told is durable is
//! there.
//!
//! The writer is this very test binary, run again for one ignored test. It appends to several sessions at once, so that
//! their writes share commits, and tells of each write once it is acknowledged.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use paddock::domain::{
    ClaudeSessionId, Clock as _, Event, EventBody, EventId, EventQuery, Session, SessionId, SessionOptions,
    SessionStatus, SystemClock, Tenant, TenantId,
};
use paddock::store::Store;
use paddock::store::postgres::{PostgresOptions, PostgresStore, PostgresTarget};
use paddock::store::sql::CommitOptions;
use paddock::store::sqlite::{SqliteOptions, SqliteStore};

use crate::support::cluster;

const SESSIONS: usize = 4;
/// The most events of one write.
const EVENTS: u64 = 5;
/// What the writer is told: the store's place, the tenant, and the sessions.
const STORE: &str = "PADDOCK_CRASH_STORE";
const TENANT: &str = "PADDOCK_CRASH_TENANT";
const SESSION_IDS: &str = "PADDOCK_CRASH_SESSIONS";
/// How many rounds instead of the usual number.
const ROUNDS: &str = "PADDOCK_CRASH_ROUNDS";

async fn open(place: &str) -> Arc<dyn Store> {
    let commit = CommitOptions {
        window: Duration::ZERO,
        group_max: 256,
        queue: 64,
    };
    let patience = Duration::from_secs(30);
    if place.starts_with("postgres:") {
        let options = PostgresOptions {
            target: PostgresTarget::Url(place.to_owned().into()),
            tls: None,
            root_certificate: None,
            connections: 4,
            writers: 2,
            patience,
            statement_timeout: patience,
            create_database: true,
            commit,
        };
        return Arc::new(PostgresStore::open(options).await.unwrap());
    }
    let options = SqliteOptions {
        path: PathBuf::from(place),
        readers: 2,
        cache_bytes: 32 * 1024 * 1024,
        patience,
        commit,
    };
    Arc::new(SqliteStore::open(options).await.unwrap())
}

/// The numbers that a session's events carry, in order.
async fn numbers(store: &dyn Store, tenant: TenantId, session: SessionId) -> Vec<u64> {
    let mut query = EventQuery::default();
    let mut numbers = Vec::new();
    loop {
        let events = store.read_events(tenant, session, &query, 1000).await.unwrap();
        let Some(last) = events.last() else { return numbers };
        query.after = last.id;
        for event in events {
            let EventBody::Message { text, .. } = event.body else {
                panic!("{event:?}")
            };
            numbers.push(text.split(' ').next().unwrap().parse().unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is run by the crash tests, and never ends by itself"]
async fn the_writer() {
    let store = open(&std::env::var(STORE).unwrap()).await;
    let tenant: TenantId = std::env::var(TENANT).unwrap().parse().unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for (index, id) in std::env::var(SESSION_IDS).unwrap().split(',').enumerate() {
        let (store, session): (_, SessionId) = (Arc::clone(&store), id.parse().unwrap());
        writers.spawn(async move {
            let epoch = store.acquire_session(tenant, session).await.unwrap().unwrap();
            let mut number = numbers(&*store, tenant, session)
                .await
                .last()
                .copied()
                .unwrap_or(0);
            let mut id = EventId::new(epoch, 0);
            loop {
                let length = RandomState::new().hash_one(number) % EVENTS + 1;
                let events: Vec<_> = (0..length)
                    .map(|_| {
                        number += 1;
                        id = id.next().unwrap();
                        Event {
                            id,
                            turn_id: None,
                            created_at: SystemClock.now(),
                            body: EventBody::Message {
                                text: format!("{number} {}", "x".repeat(200)),
                                attachments: Vec::new(),
                            },
                        }
                    })
                    .collect();
                store
                    .append_events(tenant, session, epoch, &events)
                    .await
                    .unwrap();
                let mut out = std::io::stdout().lock();
                writeln!(out, "ack {index} {number}").unwrap();
                out.flush().unwrap();
            }
        });
    }
    writers.join_next().await.unwrap().unwrap();
}

fn start_writer(place: &str, tenant: TenantId, sessions: &[SessionId]) -> Child {
    let ids: Vec<_> = sessions.iter().map(ToString::to_string).collect();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::the_writer", "--ignored", "--nocapture"])
        .env(STORE, place)
        .env(TENANT, tenant.to_string())
        .env(SESSION_IDS, ids.join(","))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Lets a writer write for a random while, kills it, and answers the last number that each session was told of.
fn write_and_kill(place: &str, tenant: TenantId, sessions: &[SessionId], told: &mut BTreeMap<usize, u64>) {
    let mut writer = start_writer(place, tenant, sessions);
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let random = RandomState::new().hash_one(told.len());
    let mut take = |line: String| {
        let Some(rest) = line.split("ack ").nth(1) else {
            return false;
        };
        let (index, number) = rest.split_once(' ').unwrap();
        told.insert(index.parse().unwrap(), number.parse().unwrap());
        true
    };
    let mut acknowledged = 0;
    while acknowledged < 1 + random % 40 {
        acknowledged += u64::from(take(lines.next().expect("the writer writes").unwrap()));
    }
    // A random moment is what this is about.
    std::thread::sleep(Duration::from_micros(random / 40 % 3000));
    writer.kill().unwrap();
    writer.wait().unwrap();
    for line in lines.map_while(Result::ok) {
        // The last line may have been cut off by the kill; what was not told whole was not told.
        if line.split(' ').count() == 3 {
            take(line);
        }
    }
}

async fn rounds(place: &str, usual: u64) {
    let rounds = std::env::var(ROUNDS).map_or(usual, |rounds| rounds.parse().unwrap());
    let tenant = Tenant::new(
        TenantId::generate(&SystemClock),
        "acme".parse().unwrap(),
        SystemClock.now(),
    );
    let mut sessions = Vec::new();
    let store = open(place).await;
    let tenant = store.ensure_tenant(&tenant).await.unwrap().id;
    for _ in 0..SESSIONS {
        let now = SystemClock.now();
        let session = Session {
            id: SessionId::generate(&SystemClock),
            tenant,
            user: "alice".parse().unwrap(),
            subdir: None,
            title: None,
            metadata: serde_json::Map::new(),
            options: SessionOptions::default(),
            claude_session_id: ClaudeSessionId::generate(&SystemClock),
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
    store.close().await;
    let mut told = BTreeMap::new();
    for round in 0..rounds {
        write_and_kill(place, tenant, &sessions, &mut told);
        let store = open(place).await;
        for (index, session) in sessions.iter().enumerate() {
            let numbers = numbers(&*store, tenant, *session).await;
            let stored = numbers.len() as u64;
            assert!(
                numbers.iter().copied().eq(1..=stored),
                "round {round}: session {index} has a gap or an event twice: {numbers:?}"
            );
            let acknowledged = told.get(&index).copied().unwrap_or(0);
            assert!(
                (acknowledged..=acknowledged + EVENTS).contains(&stored),
                "round {round}: session {index} was told of {acknowledged} and has {stored}"
            );
            // What was on its way and arrived counts from here on as told.
            told.insert(index, stored);
        }
        store.close().await;
        if round % 20 == 19 {
            // The log is read anew each round; it must not grow without end.
            shorten(place, tenant, &mut sessions, &mut told).await;
        }
    }
}

/// Goes on with new sessions.
async fn shorten(place: &str, tenant: TenantId, sessions: &mut [SessionId], told: &mut BTreeMap<usize, u64>) {
    let store = open(place).await;
    for id in sessions {
        let old = store.find_session(tenant, *id).await.unwrap().unwrap();
        let new = Session {
            id: SessionId::generate(&SystemClock),
            ..old
        };
        store.insert_session(tenant, &new).await.unwrap();
        *id = new.id;
    }
    told.clear();
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sqlite_acknowledged_is_there_after_the_writer_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    rounds(folder.path().join("paddock.db").to_str().unwrap(), 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_postgresql_acknowledged_is_there_after_the_writer_was_killed() {
    rounds(&cluster().url(&cluster().new_name()), 50).await;
}
