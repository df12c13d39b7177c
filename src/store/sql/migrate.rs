//! Migrations: what a database lacks, and what it means when they fail.

use sqlx::migrate::{MigrateError, Migrator};

use super::engine::Engine;
use crate::store::{Result, StoreError};

/// A migration that a database lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingMigration {
    /// Its number.
    pub version: i64,
    /// What it brings.
    pub description: String,
}

/// Finds what was applied to a database that has the table of it.
pub(in crate::store) const APPLIED: &str = "SELECT version, checksum FROM _sqlx_migrations ORDER BY version";

/// All of them.
pub(in crate::store) fn all(migrations: &Migrator) -> Vec<PendingMigration> {
    migrations
        .iter()
        .map(|migration| PendingMigration {
            version: migration.version,
            description: migration.description.to_string(),
        })
        .collect()
}

/// Those that are not among the applied ones, which must all be known and the same.
pub(in crate::store) fn pending(
    migrations: &Migrator,
    applied: &[(i64, Vec<u8>)],
) -> Result<Vec<PendingMigration>> {
    for (version, checksum) in applied {
        match migrations.iter().find(|migration| migration.version == *version) {
            None => return Err(StoreError::TooNew { version: *version }),
            Some(known) if known.checksum.as_ref() != checksum => {
                return Err(StoreError::Foreign { version: *version });
            }
            Some(_) => {}
        }
    }
    let mut pending = all(migrations);
    pending.retain(|migration| applied.iter().all(|(version, _)| *version != migration.version));
    Ok(pending)
}

/// What it means that migrations did not run.
pub(in crate::store) fn explain<E: Engine>(error: MigrateError) -> StoreError {
    const ACTION: &str = "bring the database to this version's schema";
    match error {
        MigrateError::VersionMissing(version) => StoreError::TooNew { version },
        MigrateError::VersionMismatch(version) => StoreError::Foreign { version },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => E::explain(ACTION, error),
        error => StoreError::failed(ACTION, error),
    }
}
