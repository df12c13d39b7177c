//! `session`: sessions and where they are stored.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{duration, require};

/// Sessions and where they are stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionSection {
    /// What sessions are stored in.
    pub storage: StorageKind,
    /// The database file, for `sqlite`.
    pub sqlite_path: PathBuf,
    /// How many connections read the database file at once, beside the one that writes; for `sqlite`.
    pub sqlite_readers: u32,
    /// How long a call waits for the store before it is answered that the store does not.
    #[serde(with = "duration")]
    pub store_patience: Duration,
    /// How long a session lives after its last use; 0: for ever.
    #[serde(with = "duration")]
    pub ttl: Duration,
}

/// What sessions are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StorageKind {
    /// Nothing: they end with the server.
    Memory,
    /// A file.
    Sqlite,
}

impl Default for SessionSection {
    fn default() -> Self {
        Self {
            storage: StorageKind::Sqlite,
            sqlite_path: "data/paddock.db".into(),
            sqlite_readers: 4,
            store_patience: Duration::from_secs(5),
            ttl: Duration::from_hours(7 * 24),
        }
    }
}

impl SessionSection {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        require(
            (1..=64).contains(&self.sqlite_readers),
            problems,
            "session.sqlite_readers: must be between 1 and 64",
        );
    }
}
