//! What SQLite's errors mean to callers.

use crate::store::StoreError;

/// Names what was tried when it failed.
pub(super) fn explain(action: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| match primary_code(&error) {
        // SQLITE_BUSY, SQLITE_LOCKED, SQLITE_IOERR, SQLITE_CANTOPEN
        Some(5 | 6 | 10 | 14) => StoreError::Unavailable(Box::new(error)),
        // SQLITE_READONLY
        Some(8) => StoreError::ReadOnly(Box::new(error)),
        // SQLITE_FULL
        Some(13) => StoreError::Full(Box::new(error)),
        Some(_) => failed(action, error),
        None => match error {
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Io(_) => StoreError::Unavailable(Box::new(error)),
            error => failed(action, error),
        },
    }
}

/// A fault of ours.
pub(super) fn failed(
    action: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> StoreError {
    StoreError::Failed {
        action,
        source: Box::new(source),
    }
}

/// Something stored that cannot be read as what it should be.
pub(super) fn corrupt(
    what: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError::Corrupt {
        what,
        source: source.into(),
    }
}

/// The database's own code, without its extension.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    Some(code.parse::<u32>().ok()? & 0xff)
}
