//! The stores in SQL databases: one body of SQL, written once, for every [`Engine`].
//!
//! Each file here is one room: sessions, turns, events, and so on. What differs between engines is in the engine's
//! file, never in a method. Writes that belong to a session's log are committed in groups, by `writer`.

mod audit;
mod budgets;
mod credentials;
pub mod engine;
mod erasure;
mod events;
mod idempotency;
pub mod instances;
mod keys;
mod ledger;
pub mod migrate;
mod money;
mod permissions;
mod platform;
mod rates;
mod restore;
mod rows;
mod sessions;
mod shares;
pub mod statement;
mod tenants;
mod transcripts;
mod turns;
mod webhooks;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{Instrument as _, Span};

use self::engine::{Engine, Row, Transaction as _};
use self::statement::Statement;
use self::writer::GroupWriter;
use super::{Result, StoreError, StoreMetrics};

/// How writes of several sessions are committed together.
#[derive(Debug, Clone)]
pub struct CommitOptions {
    /// How long a write waits for others to join it. At zero it waits for none, but those that come while another
    /// group is being committed still make one group.
    pub window: Duration,
    /// The most writes of one group.
    pub group_max: usize,
    /// The most writes that wait. Further ones wait for a place first.
    pub queue: usize,
}

/// A store in a SQL database.
#[derive(Debug)]
pub struct SqlStore<E: Engine> {
    database: Arc<Database<E>>,
    writer: GroupWriter<E>,
}

/// A database, as the files of this folder use it.
#[derive(Debug)]
struct Database<E> {
    engine: E,
    metrics: StoreMetrics,
    /// Every statement that was run, by where it is written.
    #[cfg(test)]
    seen: std::sync::Mutex<Vec<Statement>>,
}

/// A transaction that writes. Dropped before it is committed, it is undone.
struct Transaction<E: Engine> {
    inner: E::Transaction,
    database: Arc<Database<E>>,
}

impl<E: Engine> SqlStore<E> {
    /// A store on a database of this version's schema. Must be called on the main runtime.
    pub(super) fn on(engine: E, commit: &CommitOptions, lanes: u32, patience: Duration) -> Self {
        let database = Arc::new(Database {
            engine,
            metrics: StoreMetrics::default(),
            #[cfg(test)]
            seen: std::sync::Mutex::default(),
        });
        Self {
            writer: GroupWriter::start(&database, commit, lanes, patience),
            database,
        }
    }

    #[cfg(test)]
    pub(super) fn engine(&self) -> &E {
        &self.database.engine
    }

    /// One of each statement that was run so far, by where it is written and what its text is.
    #[cfg(test)]
    pub(in crate::store) fn seen(&self) -> Vec<Statement> {
        self.database.seen.lock().unwrap().clone()
    }

    /// The rows that a query finds.
    async fn read(&self, action: &'static str, statement: Statement) -> Result<Vec<E::Row>> {
        self.database.read(action, statement).await
    }

    /// The row that a query finds, if it finds one.
    async fn read_one(&self, action: &'static str, statement: Statement) -> Result<Option<E::Row>> {
        Ok(self.read(action, statement).await?.into_iter().next())
    }

    /// A transaction that writes.
    async fn begin(&self) -> Result<Transaction<E>> {
        Database::begin(&self.database).await
    }

    /// Runs one statement that writes; how many rows it wrote.
    async fn write(&self, action: &'static str, statement: Statement) -> Result<u64> {
        let mut transaction = self.begin().await?;
        let written = transaction.run(action, statement).await?;
        transaction.commit().await?;
        Ok(written)
    }

    /// Runs one statement that writes; the rows that it answers.
    async fn write_returning(&self, action: &'static str, statement: Statement) -> Result<Vec<E::Row>> {
        let mut transaction = self.begin().await?;
        let rows = transaction.rows(action, statement).await?;
        transaction.commit().await?;
        Ok(rows)
    }
}

impl<E: Engine> Database<E> {
    async fn read(&self, action: &'static str, statement: Statement) -> Result<Vec<E::Row>> {
        #[cfg(test)]
        self.note(&statement);
        check(action, &statement)?;
        let began = Instant::now();
        let span = part_of_a_trace(|| tracing::debug_span!("store.read", store.action = action));
        let read = self.engine.read(statement).instrument(span).await;
        self.metrics.read(began.elapsed());
        read.map_err(|error| self.explain(action, error))
    }

    /// What an error means; counted, if it is the store's own.
    fn explain(&self, action: &'static str, error: sqlx::Error) -> StoreError {
        self.metrics.failed(E::explain(action, error))
    }

    async fn begin(database: &Arc<Self>) -> Result<Transaction<E>> {
        let inner = database
            .engine
            .begin()
            .await
            .map_err(|error| database.explain("begin a transaction", error))?;
        Ok(Transaction {
            inner,
            database: Arc::clone(database),
        })
    }

    #[cfg(test)]
    fn note(&self, statement: &Statement) {
        let mut seen = self.seen.lock().unwrap();
        let same = |other: &Statement| {
            other.written_at() == statement.written_at() && other.text() == statement.text()
        };
        if !seen.iter().any(same) {
            seen.push(statement.clone());
        }
    }
}

/// A span within what asks for it; what the server does by itself is part of no trace.
fn part_of_a_trace(span: impl FnOnce() -> Span) -> Span {
    if Span::current().is_none() {
        Span::none()
    } else {
        span()
    }
}

/// Text that one engine keeps and the other does not is refused by both.
fn check(action: &'static str, statement: &Statement) -> Result<()> {
    if statement.holds_nul() {
        Err(StoreError::Unstorable { what: action })
    } else {
        Ok(())
    }
}

impl<E: Engine> Transaction<E> {
    async fn run(&mut self, action: &'static str, statement: Statement) -> Result<u64> {
        #[cfg(test)]
        self.database.note(&statement);
        check(action, &statement)?;
        self.inner
            .run(statement)
            .await
            .map_err(|error| self.database.explain(action, error))
    }

    async fn rows(&mut self, action: &'static str, statement: Statement) -> Result<Vec<E::Row>> {
        #[cfg(test)]
        self.database.note(&statement);
        check(action, &statement)?;
        self.inner
            .rows(statement)
            .await
            .map_err(|error| self.database.explain(action, error))
    }

    async fn row(&mut self, action: &'static str, statement: Statement) -> Result<Option<E::Row>> {
        Ok(self.rows(action, statement).await?.into_iter().next())
    }

    async fn commit(self) -> Result<()> {
        self.inner
            .commit()
            .await
            .map_err(|error| self.database.explain("commit a transaction", error))
    }

    /// Undoes it without giving the connection up.
    async fn roll_back(self) -> Result<()> {
        self.inner
            .roll_back()
            .await
            .map_err(|error| self.database.explain("undo a transaction", error))
    }
}

/// A count that a row answers as `n`.
fn count(row: Option<&impl Row>) -> Result<u64> {
    let n = row.map_or(Ok(0), |row| row.integer("n"))?;
    u64::try_from(n).map_err(|error| StoreError::corrupt("count", error))
}
