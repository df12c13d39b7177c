//! Keeps everything in one SQLite file, which needs nothing beside it.
//!
//! One connection writes, a pool of others reads (write-ahead log). `synchronous = FULL`: what is acknowledged is on
//! the disk. The SQL is written so that PostgreSQL takes it too.

mod errors;
mod events;
mod rows;
mod sessions;
mod turns;

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
    SqliteTransaction,
};

use self::errors::{explain, failed};
use super::{PlatformStore, Result, StoreError};
use crate::domain::{SessionId, SessionStatus, TenantId};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Where and how a file is opened.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The file; it and its folder are made if need be, for this user alone.
    pub path: PathBuf,
    /// How many connections read, beside the one that writes.
    pub readers: u32,
    /// How long a write waits for another process that holds the file, and any call for a connection.
    pub patience: Duration,
}

/// A store in a file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the file and brings it to this version's schema.
    pub async fn open(options: SqliteOptions) -> Result<Self> {
        make_private(&options)?;
        let connect = SqliteConnectOptions::new()
            .filename(&options.path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(options.patience);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(options.patience)
            .connect_with(connect.clone())
            .await
            .map_err(explain("open the database"))?;
        MIGRATIONS.run(&writer).await.map_err(explain_migration)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(options.readers)
            .acquire_timeout(options.patience)
            .connect_lazy_with(connect.pragma("query_only", "on"));
        Ok(Self { writer, readers })
    }

    #[cfg(test)]
    pub(in crate::store) fn writer_for_tests(&self) -> &SqlitePool {
        &self.writer
    }

    /// A transaction that holds the file from its start, so that what it reads is still so when it writes.
    async fn write(&self) -> Result<SqliteTransaction<'_>> {
        const BEGIN: &str = "BEGIN IMMEDIATE";
        let begun = match self.writer.begin_with(BEGIN).await {
            // SQLite itself ends a transaction for which the disk has no room, and the driver goes on counting it:
            // such a connection is of no more use.
            Err(sqlx::Error::InvalidSavePointStatement) => {
                let spoilt = self
                    .writer
                    .acquire()
                    .await
                    .map_err(explain("reach the database"))?;
                spoilt.close().await.map_err(explain("close a connection"))?;
                self.writer.begin_with(BEGIN).await
            }
            begun => begun,
        };
        begun.map_err(explain("begin a transaction"))
    }
}

async fn commit(transaction: SqliteTransaction<'_>) -> Result<()> {
    transaction
        .commit()
        .await
        .map_err(explain("commit a transaction"))
}

fn make_private(options: &SqliteOptions) -> Result<()> {
    let io = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly(Box::new(source)),
        std::io::ErrorKind::StorageFull => StoreError::Full(Box::new(source)),
        _ => failed("make the database's file", source),
    };
    if let Some(folder) = options
        .path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(io)?;
    }
    match std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&options.path)
    {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(io(error)),
        _ => {}
    }
    // Asked here, since SQLite only says that it cannot open what it cannot write.
    rustix::fs::access(&options.path, rustix::fs::Access::WRITE_OK)
        .map_err(|errno| StoreError::ReadOnly(Box::new(errno)))
}

fn explain_migration(error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMissing(version) => StoreError::TooNew { version },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            explain("bring the database to this version's schema")(error)
        }
        error => failed("bring the database to this version's schema", error),
    }
}

#[async_trait]
impl PlatformStore for SqliteStore {
    fn backend(&self) -> &'static str {
        "sqlite"
    }

    async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1")
            .execute(&self.readers)
            .await
            .map_err(explain("answer"))?;
        Ok(())
    }

    async fn count_active_sessions(&self) -> Result<u64> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sessions WHERE status = $1")
            .bind(SessionStatus::Active.to_string())
            .fetch_one(&self.readers)
            .await
            .map_err(explain("count sessions"))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn sessions_with_unfinished_turns(&self, limit: u32) -> Result<Vec<(TenantId, SessionId)>> {
        let found: Vec<(uuid::Uuid, uuid::Uuid)> = sqlx::query_as(
            "SELECT sessions.tenant_id, sessions.id FROM turns JOIN sessions ON sessions.id = turns.session_id \
             WHERE turns.outcome IS NULL LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(explain("find unfinished turns"))?;
        Ok(found
            .into_iter()
            .map(|(tenant, id)| (TenantId::from_uuid(tenant), SessionId::from_uuid(id)))
            .collect())
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
