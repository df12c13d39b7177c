//! What the SQL body needs of a database engine. Everything that differs between engines is behind this trait.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::pool::PoolConnection;
use sqlx::{ColumnIndex, Database, Decode, Type};
use uuid::Uuid;

use super::statement::Statement;
use crate::store::{Result, StoreError};

/// What an engine's driver answers.
pub type Answer<T> = std::result::Result<T, sqlx::Error>;

/// A database engine, with the connections to one database.
#[async_trait]
pub trait Engine: Debug + Send + Sync + 'static {
    /// What the store on it is called.
    const BACKEND: &'static str;
    /// What locks the rows that a query finds until the transaction ends, where more than one transaction can write.
    const LOCK_ROWS: &'static str;

    /// The most rows of one statement that writes several.
    const ROWS_A_STATEMENT: usize;

    /// A row that was found.
    type Row: Row;
    /// A transaction that writes. Dropped before it is committed, it is undone.
    type Transaction: Transaction<Row = Self::Row>;

    /// Rows that a query finds.
    async fn read(&self, statement: Statement) -> Answer<Vec<Self::Row>>;

    /// Begins a transaction: what it reads is still so when it writes.
    async fn begin(&self) -> Answer<Self::Transaction>;

    /// What an error means.
    fn explain(action: &'static str, error: sqlx::Error) -> StoreError;

    /// Takes what was deleted out of the database's files.
    async fn scrub(&self) -> Answer<()>;

    /// Lets go of all connections.
    async fn close(&self);
}

/// A transaction that writes.
#[async_trait]
pub trait Transaction: Send {
    /// A row that was found.
    type Row: Row;

    /// Runs a statement; how many rows it wrote.
    async fn run(&mut self, statement: Statement) -> Answer<u64>;

    /// Runs a statement; the rows that it answers.
    async fn rows(&mut self, statement: Statement) -> Answer<Vec<Self::Row>>;

    /// Makes it durable.
    async fn commit(self) -> Answer<()>;

    /// Undoes it.
    async fn roll_back(self) -> Answer<()>;
}

/// A connection with a transaction that is open: it is closed, which undoes the transaction, unless that has ended.
/// The driver's own transactions are not used, since they count on a database that never ends one by itself; SQLite
/// does so when its disk is full.
#[derive(Debug)]
pub struct OpenTransaction<D: Database> {
    connection: PoolConnection<D>,
    open: bool,
}

impl<D: Database> OpenTransaction<D> {
    /// On a connection where one is about to begin.
    pub fn on(connection: PoolConnection<D>) -> Self {
        Self {
            connection,
            open: true,
        }
    }

    /// The connection.
    pub fn connection(&mut self) -> &mut D::Connection {
        &mut self.connection
    }

    /// The transaction has ended, and the connection can be used again.
    pub fn ended(&mut self) {
        self.open = false;
    }
}

impl<D: Database> Drop for OpenTransaction<D> {
    fn drop(&mut self) {
        if self.open {
            self.connection.close_on_drop();
        }
    }
}

/// A row that was found. A column that is not there, or is of another type, is `Corrupt`.
pub trait Row: Send + Sync {
    /// A truth value.
    fn boolean(&self, column: &'static str) -> Result<bool>;
    /// A number, or null.
    fn integer_or_null(&self, column: &'static str) -> Result<Option<i64>>;
    /// A text, or null.
    fn text_or_null(&self, column: &'static str) -> Result<Option<String>>;
    /// An id, or null.
    fn uuid_or_null(&self, column: &'static str) -> Result<Option<Uuid>>;
    /// A time, or null.
    fn time_or_null(&self, column: &'static str) -> Result<Option<DateTime<Utc>>>;
    /// Bytes, or null.
    fn bytes_or_null(&self, column: &'static str) -> Result<Option<Vec<u8>>>;

    /// A number.
    fn integer(&self, column: &'static str) -> Result<i64> {
        self.integer_or_null(column)?.ok_or_else(|| missing(column))
    }

    /// A text.
    fn text(&self, column: &'static str) -> Result<String> {
        self.text_or_null(column)?.ok_or_else(|| missing(column))
    }

    /// An id.
    fn uuid(&self, column: &'static str) -> Result<Uuid> {
        self.uuid_or_null(column)?.ok_or_else(|| missing(column))
    }

    /// A time.
    fn time(&self, column: &'static str) -> Result<DateTime<Utc>> {
        self.time_or_null(column)?.ok_or_else(|| missing(column))
    }

    /// Bytes.
    fn bytes(&self, column: &'static str) -> Result<Vec<u8>> {
        self.bytes_or_null(column)?.ok_or_else(|| missing(column))
    }
}

fn missing(column: &'static str) -> StoreError {
    StoreError::corrupt(column, "it is null")
}

impl<R> Row for R
where
    R: sqlx::Row + Send + Sync,
    &'static str: ColumnIndex<R>,
    bool: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    i64: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    String: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    Uuid: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    DateTime<Utc>: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: for<'r> Decode<'r, R::Database> + Type<R::Database>,
{
    fn boolean(&self, column: &'static str) -> Result<bool> {
        get(self, column)?.ok_or_else(|| missing(column))
    }

    fn integer_or_null(&self, column: &'static str) -> Result<Option<i64>> {
        get(self, column)
    }

    fn text_or_null(&self, column: &'static str) -> Result<Option<String>> {
        get(self, column)
    }

    fn uuid_or_null(&self, column: &'static str) -> Result<Option<Uuid>> {
        get(self, column)
    }

    fn time_or_null(&self, column: &'static str) -> Result<Option<DateTime<Utc>>> {
        get(self, column)
    }

    fn bytes_or_null(&self, column: &'static str) -> Result<Option<Vec<u8>>> {
        get(self, column)
    }
}

fn get<R, T>(row: &R, column: &'static str) -> Result<Option<T>>
where
    R: sqlx::Row,
    &'static str: ColumnIndex<R>,
    T: for<'r> Decode<'r, <R as sqlx::Row>::Database> + Type<<R as sqlx::Row>::Database>,
    <R as sqlx::Row>::Database: Database,
{
    row.try_get(column)
        .map_err(|error| StoreError::corrupt(column, error))
}

/// What an error means that is the driver's own, and has no code of the database's.
pub(in crate::store) fn explain_without_code(action: &'static str, error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        // A server that goes down in the middle of what it says.
        | sqlx::Error::Protocol(_)
        | sqlx::Error::Io(_) => StoreError::Unavailable(Arc::new(error)),
        error => StoreError::failed(action, error),
    }
}

/// Binds a statement's values and makes it the driver's. The one place where text becomes SQL: a [`Statement`] is made
/// of literals only.
macro_rules! driver_query {
    ($statement:expr) => {{
        use $crate::store::sql::statement::Value;
        let (text, values) = $statement.into_parts();
        let mut query = sqlx::query(sqlx::AssertSqlSafe(text));
        for value in values {
            query = match value {
                Value::Bool(value) => query.bind(value),
                Value::Integer(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Uuid(value) => query.bind(value),
                Value::Time(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
            };
        }
        query
    }};
}
pub(in crate::store) use driver_query;
