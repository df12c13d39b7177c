//! What the stores cost: appends beside a bare insert of the same rows, and what a million sessions do to a page.
//!
//! Each figure of ours stands beside a bare one of the same run, so that the ratio holds on any machine. PostgreSQL is a
//! private cluster that waits for the disk, as it is run for earnest.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark may panic"
)]

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use paddock::domain::{
    ClaudeSessionId, Clock as _, Epoch, Event, EventBody, EventId, Session, SessionFilter, SessionId,
    SessionOptions, SessionStatus, SystemClock, Tenant, TenantId,
};
use paddock::store::Store;
use paddock::store::postgres::{PostgresOptions, PostgresStore, PostgresTarget};
use paddock::store::sql::CommitOptions;
use paddock::store::sqlite::{SqliteOptions, SqliteStore};
use private_postgres::Cluster;
use sqlx::postgres::PgPool;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Postgres, QueryBuilder, Sqlite};
use tokio::runtime::Runtime;
use uuid::Uuid;

/// How many sessions append at once, and how many events each.
const SHAPES: [(usize, u32); 3] = [(1, 1), (1, 20), (16, 20)];
const MILLION: i64 = 1_000_000;
/// What stands for a million when it is only seen whether the benchmark runs.
const FOR_A_TRY: i64 = 10_000;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn commit() -> CommitOptions {
    CommitOptions {
        window: Duration::ZERO,
        group_max: 256,
        queue: 1024,
    }
}

async fn sqlite(folder: &tempfile::TempDir) -> Arc<dyn Store> {
    let options = SqliteOptions {
        path: folder.path().join("paddock.db"),
        readers: 4,
        cache_bytes: 32 * 1024 * 1024,
        patience: Duration::from_mins(1),
        commit: commit(),
    };
    Arc::new(SqliteStore::open(options).await.unwrap())
}

async fn postgres(cluster: &Cluster, database: &str) -> Arc<dyn Store> {
    let options = PostgresOptions {
        target: PostgresTarget::Url(cluster.url(database).into()),
        tls: None,
        root_certificate: None,
        connections: 10,
        writers: 2,
        patience: Duration::from_mins(1),
        statement_timeout: Duration::from_mins(1),
        create_database: true,
        commit: commit(),
    };
    Arc::new(PostgresStore::open(options).await.unwrap())
}

fn session_of(tenant: TenantId) -> Session {
    let now = SystemClock.now();
    Session {
        id: SessionId::generate(&SystemClock),
        tenant,
        user: "alice".parse().unwrap(),
        subdir: None,
        title: Some("Tidy up the tests".into()),
        metadata: serde_json::Map::new(),
        options: SessionOptions::default(),
        claude_session_id: ClaudeSessionId::generate(&SystemClock),
        conversation_started: false,
        status: SessionStatus::Active,
        message_count: 0,
        created_at: now,
        last_active_at: now,
        closed_at: None,
    }
}

async fn tenant(store: &dyn Store) -> TenantId {
    let tenant = Tenant::new(
        TenantId::generate(&SystemClock),
        "acme".parse().unwrap(),
        SystemClock.now(),
    );
    store.ensure_tenant(&tenant).await.unwrap().id
}

fn body() -> EventBody {
    EventBody::Message {
        text: "x".repeat(400),
        attachments: Vec::new(),
    }
}

/// Sessions that append, each to its own log.
struct Writers {
    store: Arc<dyn Store>,
    tenant: TenantId,
    sessions: Vec<(SessionId, Epoch, Cell<u32>)>,
}

impl Writers {
    async fn new(store: Arc<dyn Store>, count: usize) -> Self {
        let tenant = tenant(&*store).await;
        let mut sessions = Vec::new();
        for _ in 0..count {
            let session = session_of(tenant);
            store.insert_session(tenant, &session).await.unwrap();
            let epoch = store.acquire_session(tenant, session.id).await.unwrap().unwrap();
            sessions.push((session.id, epoch, Cell::new(0)));
        }
        Self {
            store,
            tenant,
            sessions,
        }
    }

    async fn append(&self, events: u32) {
        let created_at = SystemClock.now();
        let appends = self.sessions.iter().map(|(session, epoch, last)| {
            let first = last.get() + 1;
            last.set(last.get() + events);
            let events: Vec<_> = (first..first + events)
                .map(|sequence| Event {
                    id: EventId::new(*epoch, sequence),
                    turn_id: None,
                    created_at,
                    body: body(),
                })
                .collect();
            async move {
                self.store
                    .append_events(self.tenant, *session, *epoch, &events)
                    .await
                    .unwrap();
            }
        });
        futures_util::future::join_all(appends).await;
    }
}

/// The rows that the same appends would make, as one plain insert writes them.
struct Bare {
    sessions: Vec<Uuid>,
    last: Cell<i64>,
}

macro_rules! bare_insert {
    ($database:ty, $pool:expr, $bare:expr, $events:expr) => {{
        let created_at: DateTime<Utc> = SystemClock.now();
        let first = $bare.last.get() + 1;
        $bare.last.set($bare.last.get() + i64::from($events));
        let rows: Vec<_> = $bare
            .sessions
            .iter()
            .flat_map(|session| (first..first + i64::from($events)).map(move |id| (*session, id)))
            .collect();
        let mut query = QueryBuilder::<$database>::new(
            "INSERT INTO bare_events (session_id, id, turn_id, kind, created_at, body) ",
        );
        query.push_values(rows, |mut row, (session, id)| {
            row.push_bind(session)
                .push_bind(id)
                .push_bind(None::<Uuid>)
                .push_bind("message")
                .push_bind(created_at)
                .push_bind(serde_json::to_string(&body()).unwrap());
        });
        let mut transaction = $pool.begin().await.unwrap();
        query.build().execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }};
}

fn bare(sessions: usize) -> Bare {
    Bare {
        sessions: (0..sessions).map(|_| Uuid::new_v4()).collect(),
        last: Cell::new(0),
    }
}

fn append(c: &mut Criterion) {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_durable().unwrap();
    let (lite, server, lite_pool, server_pool) = runtime.block_on(async {
        let lite = sqlite(&folder).await;
        let server = postgres(&cluster, "append").await;
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("bare.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let lite_pool: SqlitePool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .unwrap();
        sqlx::query(
            "CREATE TABLE bare_events (session_id BLOB NOT NULL, id INTEGER NOT NULL, turn_id BLOB, \
             kind TEXT NOT NULL, created_at TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (session_id, id)) \
             STRICT, WITHOUT ROWID",
        )
        .execute(&lite_pool)
        .await
        .unwrap();
        let server_pool = PgPool::connect(&cluster.url("append")).await.unwrap();
        sqlx::query("CREATE TABLE bare_events (LIKE events INCLUDING ALL)")
            .execute(&server_pool)
            .await
            .unwrap();
        (lite, server, lite_pool, server_pool)
    });
    for (sessions, events) in SHAPES {
        let mut group = c.benchmark_group("append");
        group.throughput(Throughput::Elements(sessions as u64 * u64::from(events)));
        let shape = format!("{sessions}x{events}");
        let writers = runtime.block_on(Writers::new(Arc::clone(&lite), sessions));
        let plain = bare(sessions);
        group.bench_function(BenchmarkId::new("sqlite-bare", &shape), |b| {
            b.iter(|| runtime.block_on(async { bare_insert!(Sqlite, lite_pool, plain, events) }));
        });
        group.bench_function(BenchmarkId::new("sqlite", &shape), |b| {
            b.iter(|| runtime.block_on(writers.append(events)));
        });
        let writers = runtime.block_on(Writers::new(Arc::clone(&server), sessions));
        let plain = bare(sessions);
        group.bench_function(BenchmarkId::new("postgresql-bare", &shape), |b| {
            b.iter(|| runtime.block_on(async { bare_insert!(Postgres, server_pool, plain, events) }));
        });
        group.bench_function(BenchmarkId::new("postgresql", &shape), |b| {
            b.iter(|| runtime.block_on(writers.append(events)));
        });
        group.finish();
    }
}

/// Fills a store with sessions that have been there for long.
async fn fill(store: &dyn Store, folder: &tempfile::TempDir, cluster: &Cluster, count: i64) -> TenantId {
    let tenant = tenant(store).await;
    let columns = "INSERT INTO sessions (id, tenant_id, user_id, title, metadata, options, claude_session_id, \
                   conversation_started, status, message_count, created_at, last_active_at)";
    if store.backend() == "sqlite" {
        let url = format!("sqlite://{}", folder.path().join("paddock.db").display());
        let pool = SqlitePool::connect(&url).await.unwrap();
        let fill = format!(
            "{columns} WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2) \
             SELECT randomblob(16), ?1, 'user-' || (i % (?2 / 50)), NULL, '{{}}', '{{}}', randomblob(16), 0, 'active', 0, ?3, ?3 \
             FROM n"
        );
        sqlx::query(sqlx::AssertSqlSafe(fill))
            .bind(tenant.as_uuid())
            .bind(count)
            .bind(SystemClock.now())
            .execute(&pool)
            .await
            .unwrap();
        pool.close().await;
    } else {
        let pool = PgPool::connect(&cluster.url(&format!("list{count}")))
            .await
            .unwrap();
        let fill = format!(
            "{columns} SELECT gen_random_uuid(), $1, 'user-' || (i % ($2 / 50)), NULL, '{{}}', '{{}}', gen_random_uuid(), \
             false, 'active', 0, $3, $3 FROM generate_series(1, $2) AS i"
        );
        sqlx::query(sqlx::AssertSqlSafe(fill))
            .bind(tenant.as_uuid())
            .bind(count)
            .bind(SystemClock.now())
            .execute(&pool)
            .await
            .unwrap();
        sqlx::query("VACUUM ANALYZE sessions")
            .execute(&pool)
            .await
            .unwrap();
        pool.close().await;
    }
    tenant
}

fn sessions(c: &mut Criterion) {
    let runtime = runtime();
    let cluster = Cluster::start_durable().unwrap();
    let measured = std::env::args().any(|argument| argument == "--bench");
    // To fill a database takes long; whoever asks for appends alone does not wait for it.
    if std::env::args().any(|argument| argument.starts_with("append")) {
        return;
    }
    for count in [1_000, if measured { MILLION } else { FOR_A_TRY }] {
        let folder = tempfile::tempdir().unwrap();
        let stores = runtime.block_on(async {
            [
                sqlite(&folder).await,
                postgres(&cluster, &format!("list{count}")).await,
            ]
        });
        for store in stores {
            let tenant = runtime.block_on(fill(&*store, &folder, &cluster, count));
            let name = |what: &str| BenchmarkId::new(format!("{}-{what}", store.backend()), count);
            let mut group = c.benchmark_group("sessions");
            let filters = [
                ("page", SessionFilter::default()),
                (
                    "page-of-user",
                    SessionFilter {
                        user: Some("user-7".parse().unwrap()),
                        status: Some(SessionStatus::Active),
                        ..SessionFilter::default()
                    },
                ),
            ];
            for (what, filter) in filters {
                group.bench_function(name(what), |b| {
                    b.iter(|| {
                        let page = runtime.block_on(store.list_sessions(tenant, &filter, None, 50));
                        black_box(page.unwrap());
                    });
                });
            }
            group.bench_function(name("create"), |b| {
                b.iter(|| {
                    let session = session_of(tenant);
                    runtime.block_on(store.insert_session(tenant, &session)).unwrap();
                });
            });
            let session = session_of(tenant);
            runtime.block_on(store.insert_session(tenant, &session)).unwrap();
            group.bench_function(name("touch"), |b| {
                b.iter(|| {
                    let touched = store.touch_session(tenant, session.id, SystemClock.now());
                    assert!(runtime.block_on(touched).unwrap());
                });
            });
            group.finish();
            runtime.block_on(store.close());
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(4)).warm_up_time(Duration::from_secs(1));
    targets = append, sessions
}
criterion_main!(benches);
