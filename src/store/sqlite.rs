//! SQLite: everything in one file, which needs nothing beside it.
//!
//! One connection writes, a pool of others reads (write-ahead log). `synchronous = FULL`: what is acknowledged is on
//! the disk. The SQL is in [`sql`](super::sql); here is only what this engine does its own way.

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustix::fs::FlockOperation;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Connection as _, Executor as _};

use super::sql::engine::{Answer, Engine, OpenTransaction, Transaction, driver_query, explain_without_code};
use super::sql::migrate::{self, PendingMigration};
use super::sql::statement::Statement;
use super::sql::{CommitOptions, SqlStore};
use super::{Result, StoreError};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long another process may take to migrate the file. If it dies, its lock goes with it.
const MIGRATION_PATIENCE: Duration = Duration::from_mins(10);

/// A store in a file.
pub type SqliteStore = SqlStore<SqliteEngine>;

/// Where and how a file is opened.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The file; it and its folder are made if need be, for this user alone.
    pub path: PathBuf,
    /// How many connections read, beside the one that writes.
    pub readers: u32,
    /// How much of the file each connection keeps in memory at most, in bytes.
    pub cache_bytes: u32,
    /// How long a write waits for another process that holds the file, and any call for a connection.
    pub patience: Duration,
    /// How writes of several sessions are committed together.
    pub commit: CommitOptions,
}

/// The connections to a file.
#[derive(Debug)]
pub struct SqliteEngine {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the file and brings it to this version's schema.
    pub async fn open(options: SqliteOptions) -> Result<Self> {
        make_private(&options.path)?;
        run_migrations(&options).await?;
        let connect = connect_options(&options);
        let pool = || SqlitePoolOptions::new().acquire_timeout(options.patience);
        let writer = pool()
            .max_connections(1)
            .connect_with(connect.clone())
            .await
            .map_err(|error| SqliteEngine::explain("open the database", error))?;
        let readers = pool()
            .max_connections(options.readers)
            .connect_lazy_with(connect.pragma("query_only", "on"));
        let engine = SqliteEngine { writer, readers };
        // More lanes would only queue for the one connection that writes.
        Ok(Self::on(engine, &options.commit, 1, options.patience))
    }

    /// Brings a file to this version's schema, and leaves it.
    pub async fn migrate(options: &SqliteOptions) -> Result<Vec<PendingMigration>> {
        let pending = Self::pending_migrations(options).await?;
        make_private(&options.path)?;
        run_migrations(options).await?;
        Ok(pending)
    }

    /// What a file lacks of this version's schema. Writes nothing.
    pub async fn pending_migrations(options: &SqliteOptions) -> Result<Vec<PendingMigration>> {
        if !options.path.exists() {
            return Ok(migrate::all(&MIGRATIONS));
        }
        let explain = |error| SqliteEngine::explain("read the database's version", error);
        let mut connection = sqlx::SqliteConnection::connect_with(
            &SqliteConnectOptions::new()
                .filename(&options.path)
                .read_only(true)
                .busy_timeout(options.patience),
        )
        .await
        .map_err(explain)?;
        let has_table: Option<(i64,)> =
            sqlx::query_as("SELECT 1 FROM sqlite_master WHERE name = '_sqlx_migrations'")
                .fetch_optional(&mut connection)
                .await
                .map_err(explain)?;
        let applied = match has_table {
            None => Vec::new(),
            Some(_) => sqlx::query_as(migrate::APPLIED)
                .fetch_all(&mut connection)
                .await
                .map_err(explain)?,
        };
        connection.close().await.map_err(explain)?;
        migrate::pending(&MIGRATIONS, &applied)
    }

    #[cfg(test)]
    pub(in crate::store) fn writer_for_tests(&self) -> &SqlitePool {
        &self.engine().writer
    }
}

fn connect_options(options: &SqliteOptions) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(&options.path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // What is deleted is overwritten: erasing somebody is to leave nothing in the file.
        .pragma("secure_delete", "on")
        // Negative: in KiB.
        .pragma("cache_size", format!("-{}", (options.cache_bytes / 1024).max(1)))
        .busy_timeout(options.patience)
}

/// One process at a time: the driver has no lock of its own for SQLite.
async fn run_migrations(options: &SqliteOptions) -> Result<()> {
    let _locked = lock_for_migration(&options.path).await?;
    let explain = |error| SqliteEngine::explain("open the database", error);
    // Foreign keys are off on this connection: a table that is made anew must not take the rows of others with it.
    let connect = connect_options(options).foreign_keys(false);
    let mut connection = sqlx::SqliteConnection::connect_with(&connect)
        .await
        .map_err(explain)?;
    let migrated = MIGRATIONS.run(&mut connection).await;
    connection.close().await.map_err(explain)?;
    migrated.map_err(migrate::explain::<SqliteEngine>)
}

async fn lock_for_migration(database: &Path) -> Result<std::fs::File> {
    let mut name = database.as_os_str().to_owned();
    name.push("-migration.lock");
    // Not the database's own file: closing that would undo the locks that SQLite has on it in this process.
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(PathBuf::from(name))
        .map_err(explain_io)?;
    let deadline = tokio::time::Instant::now() + MIGRATION_PATIENCE;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(errno) => return Err(StoreError::Unavailable(Arc::new(errno))),
        }
    }
}

fn explain_io(source: std::io::Error) -> StoreError {
    match source.kind() {
        std::io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly(Arc::new(source)),
        std::io::ErrorKind::StorageFull => StoreError::Full(Arc::new(source)),
        _ => StoreError::failed("make the database's file", source),
    }
}

fn make_private(path: &Path) -> Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new()
            .recursive(true)
            // The file is closed to others by itself; beside it may lie what is not.
            .mode(0o711)
            .create(folder)
            .map_err(explain_io)?;
    }
    match std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(explain_io(error)),
        _ => {}
    }
    // Asked here, since SQLite only says that it cannot open what it cannot write.
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK)
        .map_err(|errno| StoreError::ReadOnly(Arc::new(errno)))
}

#[async_trait]
impl Engine for SqliteEngine {
    const BACKEND: &'static str = "sqlite";
    /// One transaction writes at a time.
    const LOCK_ROWS: &'static str = "";
    /// To bind a value, the driver looks through the names of those before it: many rows at once are slower than few.
    const ROWS_A_STATEMENT: usize = 16;

    type Row = SqliteRow;
    type Transaction = SqliteTransaction;

    async fn read(&self, statement: Statement) -> Answer<Vec<SqliteRow>> {
        driver_query!(statement).fetch_all(&self.readers).await
    }

    async fn begin(&self) -> Answer<SqliteTransaction> {
        let mut transaction = OpenTransaction::on(self.writer.acquire().await?);
        // It holds the file from its start.
        transaction.connection().execute("BEGIN IMMEDIATE").await?;
        Ok(SqliteTransaction(transaction))
    }

    fn explain(action: &'static str, error: sqlx::Error) -> StoreError {
        match primary_code(&error) {
            // SQLITE_BUSY, SQLITE_LOCKED, SQLITE_IOERR, SQLITE_CANTOPEN
            Some(5 | 6 | 10 | 14) => StoreError::Unavailable(Arc::new(error)),
            // SQLITE_READONLY
            Some(8) => StoreError::ReadOnly(Arc::new(error)),
            // SQLITE_FULL
            Some(13) => StoreError::Full(Arc::new(error)),
            Some(_) => StoreError::failed(action, error),
            None => explain_without_code(action, error),
        }
    }

    async fn scrub(&self) -> Answer<()> {
        // What was overwritten in the file still stands in the log beside it.
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&self.writer)
            .await
            .map(|_| ())
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// A transaction on the connection that writes.
#[derive(Debug)]
pub struct SqliteTransaction(OpenTransaction<Sqlite>);

#[async_trait]
impl Transaction for SqliteTransaction {
    type Row = SqliteRow;

    async fn run(&mut self, statement: Statement) -> Answer<u64> {
        let done = driver_query!(statement).execute(self.0.connection()).await?;
        Ok(done.rows_affected())
    }

    async fn rows(&mut self, statement: Statement) -> Answer<Vec<SqliteRow>> {
        driver_query!(statement).fetch_all(self.0.connection()).await
    }

    async fn commit(mut self) -> Answer<()> {
        self.0.connection().execute("COMMIT").await?;
        self.0.ended();
        Ok(())
    }

    async fn roll_back(mut self) -> Answer<()> {
        self.0.connection().execute("ROLLBACK").await?;
        self.0.ended();
        Ok(())
    }
}

/// The database's own code, without its extension.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    Some(code.parse::<u32>().ok()? & 0xff)
}
