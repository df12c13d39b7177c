//! PostgreSQL, version 14 or later: for several instances of the server, or one that needs more than a file.
//!
//! The SQL is in [`sql`](super::sql); here is only what this engine does its own way. It needs a server, or a pooler in
//! session mode: statements are prepared, and connections have settings.

use std::future::Future;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::migrate::Migrator;
use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions, PgRow, PgSslMode, Postgres,
};
use sqlx::{Connection as _, Executor as _};

use super::sql::engine::{Answer, Engine, OpenTransaction, Transaction, driver_query, explain_without_code};
use super::sql::migrate::{self, PendingMigration};
use super::sql::statement::Statement;
use super::sql::{CommitOptions, SqlStore};
use super::{Result, StoreError};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// The oldest version that has all that the SQL uses.
const OLDEST_SERVER: u32 = 14;
/// How much longer than the server a call waits for a statement's end, before it gives the connection up for lost.
const LOST_AFTER: Duration = Duration::from_secs(2);

/// A store on a PostgreSQL server.
pub type PostgresStore = SqlStore<PostgresEngine>;

/// Which database, and how it is used.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Where it is.
    pub target: PostgresTarget,
    /// Whether and how connections are encrypted; what the URL says when absent.
    pub tls: Option<PgSslMode>,
    /// The certificates that are trusted; those of the system's usual authorities when absent.
    pub root_certificate: Option<PathBuf>,
    /// The most connections.
    pub connections: u32,
    /// How many of them commit writes, each for sessions of its own.
    pub writers: u32,
    /// How long any call waits for a connection, and how long a write is tried again when the server does not answer.
    pub patience: Duration,
    /// How long a statement may take.
    pub statement_timeout: Duration,
    /// Whether a database that is missing is made.
    pub create_database: bool,
    /// How writes of several sessions are committed together.
    pub commit: CommitOptions,
}

/// Where a database is.
#[derive(Debug, Clone)]
pub enum PostgresTarget {
    /// By a URL, which may hold a password.
    Url(SecretString),
    /// By its parts.
    Parts {
        /// A name, an address, or the folder of a Unix socket.
        host: String,
        /// The port.
        port: u16,
        /// The database.
        database: String,
        /// The user.
        user: String,
        /// The user's password.
        password: Option<SecretString>,
    },
}

/// The connections to a database.
#[derive(Debug)]
pub struct PostgresEngine {
    pool: PgPool,
    call_timeout: Duration,
    /// How further connections are made.
    connect: PgConnectOptions,
}

impl PostgresEngine {
    /// The same database, by a connection that nothing else waits for.
    #[cfg(not(test))]
    pub(in crate::store) fn lifeline(&self) -> Self {
        Self {
            pool: PgPoolOptions::new()
                .max_connections(1)
                .acquire_timeout(self.call_timeout)
                .connect_lazy_with(self.connect.clone()),
            call_timeout: self.call_timeout,
            connect: self.connect.clone(),
        }
    }
}

/// A connection on which what is told on a channel is heard.
pub(in crate::store) async fn listener(engine: &PostgresEngine) -> Result<PgListener> {
    // It keeps the connection; and a lost one is for whoever hears to notice, since what was told meanwhile is lost too.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(engine.call_timeout)
        .connect_lazy_with(engine.connect.clone());
    let mut listener = PgListener::connect_with(&pool)
        .await
        .map_err(explain("listen to other instances"))?;
    listener.ignore_pool_close_event(true);
    listener.eager_reconnect(false);
    Ok(listener)
}

impl PostgresStore {
    /// Connects to the database, makes it if it is missing and may be made, and brings it to this version's schema.
    pub async fn open(options: PostgresOptions) -> Result<Self> {
        let mut connection = connect(&options, options.create_database).await?;
        let weak: (String,) = sqlx::query_as("SHOW synchronous_commit")
            .fetch_one(&mut connection)
            .await
            .map_err(explain("ask the server how it commits"))?;
        MIGRATIONS
            .run(&mut connection)
            .await
            .map_err(migrate::explain::<PostgresEngine>)?;
        connection.close().await.map_err(explain("close a connection"))?;

        let timeout_ms = options.statement_timeout.as_millis().to_string();
        let mut connect = connect_options(&options)?.options([("statement_timeout", timeout_ms.as_str())]);
        if weak.0 == "off" {
            // What is acknowledged is durable, whatever the server does for others.
            connect = connect.options([("synchronous_commit", "on")]);
        }
        let pool = PgPoolOptions::new()
            .max_connections(options.connections)
            .acquire_timeout(options.patience)
            .connect_lazy_with(connect.clone());
        let engine = PostgresEngine {
            connect,
            pool,
            call_timeout: options.statement_timeout + LOST_AFTER,
        };
        Ok(Self::on(
            engine,
            &options.commit,
            options.writers,
            options.patience,
        ))
    }

    /// Brings a database to this version's schema, and leaves it; what it lacked.
    pub async fn migrate(options: &PostgresOptions) -> Result<Vec<PendingMigration>> {
        let mut connection = connect(options, options.create_database).await?;
        let pending = pending_on(&mut connection).await?;
        MIGRATIONS
            .run(&mut connection)
            .await
            .map_err(migrate::explain::<PostgresEngine>)?;
        connection.close().await.map_err(explain("close a connection"))?;
        Ok(pending)
    }

    /// What a database lacks of this version's schema. Writes nothing.
    pub async fn pending_migrations(options: &PostgresOptions) -> Result<Vec<PendingMigration>> {
        let mut connection = match connect(options, false).await {
            Err(StoreError::NoDatabase(_)) if options.create_database => {
                return Ok(migrate::all(&MIGRATIONS));
            }
            connected => connected?,
        };
        let pending = pending_on(&mut connection).await?;
        connection.close().await.map_err(explain("close a connection"))?;
        Ok(pending)
    }

    /// What time it is by the server's clock.
    pub async fn server_time(options: &PostgresOptions) -> Result<DateTime<Utc>> {
        let mut connection = connect(options, false).await?;
        let (now,): (DateTime<Utc>,) = sqlx::query_as("SELECT clock_timestamp()")
            .fetch_one(&mut connection)
            .await
            .map_err(explain("ask the server for its time"))?;
        connection.close().await.map_err(explain("close a connection"))?;
        Ok(now)
    }

    #[cfg(test)]
    pub(in crate::store) fn pool_for_tests(&self) -> &PgPool {
        &self.engine().pool
    }
}

async fn pending_on(connection: &mut PgConnection) -> Result<Vec<PendingMigration>> {
    let explain = || explain("read the database's version");
    let (has_table,): (bool,) = sqlx::query_as("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(explain())?;
    let applied = if has_table {
        sqlx::query_as(migrate::APPLIED)
            .fetch_all(&mut *connection)
            .await
            .map_err(explain())?
    } else {
        Vec::new()
    };
    migrate::pending(&MIGRATIONS, &applied)
}

fn connect_options(options: &PostgresOptions) -> Result<PgConnectOptions> {
    let mut connect = match &options.target {
        PostgresTarget::Url(url) => {
            PgConnectOptions::from_str(url.expose_secret()).map_err(explain("read the database's URL"))?
        }
        PostgresTarget::Parts {
            host,
            port,
            database,
            user,
            password,
        } => {
            let connect = PgConnectOptions::new_without_pgpass()
                .host(host)
                .port(*port)
                .database(database)
                .username(user);
            match password {
                Some(password) => connect.password(password.expose_secret()),
                None => connect,
            }
        }
    };
    if let Some(mode) = options.tls {
        connect = connect.ssl_mode(mode);
    }
    if let Some(path) = &options.root_certificate {
        connect = connect.ssl_root_cert(path);
    }
    Ok(connect.application_name("paddock"))
}

/// A connection to the database, for what comes before the pool. It has no time limit for statements: a migration may
/// take long, and ten instances wait for the one that migrates.
async fn connect(options: &PostgresOptions, create: bool) -> Result<PgConnection> {
    let connect = connect_options(options)?;
    let mut connection = match within(options.patience, PgConnection::connect_with(&connect)).await {
        Err(error) if create && has_code(&error, NO_DATABASE) => {
            create_database(options, &connect).await?;
            within(options.patience, PgConnection::connect_with(&connect)).await
        }
        connected => connected,
    }
    .map_err(|error| {
        if has_code(&error, NO_DATABASE) {
            return StoreError::NoDatabase(database_of(&connect));
        }
        match error {
            // Whatever keeps us from connecting may end by itself; what is wrong with the settings is told at once.
            error @ (sqlx::Error::Tls(_) | sqlx::Error::Protocol(_)) => {
                StoreError::Unavailable(Arc::new(error))
            }
            error => explain("connect to the database")(error),
        }
    })?;
    let (version,): (String,) = sqlx::query_as("SHOW server_version_num")
        .fetch_one(&mut connection)
        .await
        .map_err(explain("ask the server for its version"))?;
    let number: u32 = version.parse().unwrap_or(0);
    if number / 10_000 < OLDEST_SERVER {
        return Err(StoreError::ServerTooOld {
            found: format!("{}.{}", number / 10_000, number % 10_000),
            oldest: OLDEST_SERVER,
        });
    }
    Ok(connection)
}

fn database_of(connect: &PgConnectOptions) -> String {
    // A server's rule: without a name, the database is called as the user is.
    connect
        .get_database()
        .unwrap_or_else(|| connect.get_username())
        .to_owned()
}

async fn create_database(options: &PostgresOptions, connect: &PgConnectOptions) -> Result<()> {
    let name = database_of(connect);
    let mut connection = within(
        options.patience,
        PgConnection::connect_with(&connect.clone().database("postgres")),
    )
    .await
    .map_err(explain("connect to the server to make the database"))?;
    // A name cannot be bound. Quoted, it is a name whatever it holds.
    let create = format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\""));
    let created = connection.execute(sqlx::AssertSqlSafe(create)).await;
    match created {
        // Another instance was quicker.
        Err(error) if has_code(&error, DUPLICATE_DATABASE) || has_code(&error, UNIQUE_VIOLATION) => {}
        Err(error) => return Err(explain("make the database")(error)),
        Ok(_) => tracing::info!(database = name, "made the database"),
    }
    connection.close().await.map_err(explain("close a connection"))
}

async fn within<T>(limit: Duration, call: impl Future<Output = Answer<T>>) -> Answer<T> {
    tokio::time::timeout(limit, call)
        .await
        .unwrap_or_else(|_late| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

const NO_DATABASE: &str = "3D000";
const DUPLICATE_DATABASE: &str = "42P04";
const UNIQUE_VIOLATION: &str = "23505";

fn code_of(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    code_of(error).as_deref() == Some(code)
}

fn explain(action: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| PostgresEngine::explain(action, error)
}

#[async_trait]
impl Engine for PostgresEngine {
    const BACKEND: &'static str = "postgresql";
    const LOCK_ROWS: &'static str = " FOR NO KEY UPDATE";
    /// Each statement is a way to the server and back.
    const ROWS_A_STATEMENT: usize = 256;

    type Row = PgRow;
    type Transaction = PostgresTransaction;

    async fn read(&self, statement: Statement) -> Answer<Vec<PgRow>> {
        let mut connection = self.pool.acquire().await?;
        let found = within(
            self.call_timeout,
            driver_query!(statement).fetch_all(&mut *connection),
        )
        .await;
        if matches!(found, Err(sqlx::Error::Io(_))) {
            connection.close_on_drop();
        }
        found
    }

    async fn begin(&self) -> Answer<PostgresTransaction> {
        let mut transaction = OpenTransaction::on(self.pool.acquire().await?);
        within(self.call_timeout, transaction.connection().execute("BEGIN")).await?;
        Ok(PostgresTransaction {
            transaction,
            call_timeout: self.call_timeout,
        })
    }

    fn explain(action: &'static str, error: sqlx::Error) -> StoreError {
        match code_of(&error).as_deref() {
            Some("53100") => StoreError::Full(Arc::new(error)),
            // A standby, or a server that was told to be read-only.
            Some("25006") => StoreError::ReadOnly(Arc::new(error)),
            Some(code) if code.starts_with("28") => StoreError::Refused(Arc::new(error)),
            // Connection lost; out of resources; server ends or starts; statement cancelled or out of time; locked;
            // serialisation and deadlock, which a later try does not meet.
            Some(code)
                if ["08", "53", "57", "58"]
                    .iter()
                    .any(|class| code.starts_with(class))
                    || ["55P03", "40001", "40P01", "25P03"].contains(&code) =>
            {
                StoreError::Unavailable(Arc::new(error))
            }
            Some(_) => StoreError::failed(action, error),
            None => explain_without_code(action, error),
        }
    }

    async fn scrub(&self) -> Answer<()> {
        // Its own housekeeping (autovacuum) does that, and its backups are not ours to change.
        Ok(())
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

/// A transaction.
#[derive(Debug)]
pub struct PostgresTransaction {
    transaction: OpenTransaction<Postgres>,
    call_timeout: Duration,
}

#[async_trait]
impl Transaction for PostgresTransaction {
    type Row = PgRow;

    async fn run(&mut self, statement: Statement) -> Answer<u64> {
        let query = driver_query!(statement).execute(self.transaction.connection());
        Ok(within(self.call_timeout, query).await?.rows_affected())
    }

    async fn rows(&mut self, statement: Statement) -> Answer<Vec<PgRow>> {
        let query = driver_query!(statement).fetch_all(self.transaction.connection());
        within(self.call_timeout, query).await
    }

    async fn commit(mut self) -> Answer<()> {
        let query = self.transaction.connection().execute("COMMIT");
        within(self.call_timeout, query).await?;
        self.transaction.ended();
        Ok(())
    }

    async fn roll_back(mut self) -> Answer<()> {
        let query = self.transaction.connection().execute("ROLLBACK");
        within(self.call_timeout, query).await?;
        self.transaction.ended();
        Ok(())
    }
}
