//! `session`: sessions, where they are stored, and how long.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::redacted::redact;
use super::{duration, require};

/// Sessions, where they are stored, and how long.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionSection {
    /// What sessions are stored in.
    pub storage: StorageKind,
    /// The database file, for `sqlite`.
    pub sqlite_path: PathBuf,
    /// How many connections read the database file at once, beside the one that writes; for `sqlite`.
    pub sqlite_readers: u32,
    /// How much of the database file each of those connections keeps in memory at most, in bytes; for `sqlite`.
    pub sqlite_cache_bytes: u32,
    /// For `postgresql`, instead of the `pg_` parts: the database's URL, such as
    /// `postgres://user:password@host/database?sslmode=verify-full`. Better set by `DATABASE_URL` or a file. With any
    /// other storage the start is refused.
    #[serde(serialize_with = "redact")]
    pub database_url: Option<SecretString>,
    /// For `postgresql`, instead of the URL: the server's name or address, or the folder of its Unix socket.
    pub pg_host: String,
    /// The server's port.
    pub pg_port: u16,
    /// The database.
    pub pg_database: String,
    /// The user.
    pub pg_user: String,
    /// The user's password. Better set by a variable or a file.
    #[serde(serialize_with = "redact")]
    pub pg_password: Option<SecretString>,
    /// Whether connections are encrypted and what is checked, as PostgreSQL's own `sslmode`; null: what the URL says,
    /// else `prefer`.
    pub pg_tls: Option<PgTls>,
    /// A file of certificates that are trusted; null: the usual authorities.
    pub pg_root_certificate: Option<PathBuf>,
    /// The most connections. A pooler in between must be in session mode.
    pub pg_connections: u32,
    /// How many of them commit writes, each for sessions of its own.
    pub pg_writers: u32,
    /// How long a statement may take.
    #[serde(with = "duration")]
    pub pg_statement_timeout: Duration,
    /// Whether a database that is missing is made.
    pub pg_create_database: bool,
    /// How long a call waits for the store before it is answered that the store does not.
    #[serde(with = "duration")]
    pub store_patience: Duration,
    /// How long a session lives after its last use (a prompt, its end, a resume); 0: for ever. Then it answers 410
    /// `session_expired`.
    #[serde(with = "duration")]
    pub ttl: Duration,
    /// How long after `session.ttl` a session that is not used, expired or closed, is kept before it is removed with
    /// its log (its usage and the user's files stay), and answers 404; null: for ever.
    #[serde(with = "duration::optional")]
    pub removal_delay: Option<Duration>,
    /// How often what is no longer to be kept is looked for.
    #[serde(with = "duration")]
    pub sweep_interval: Duration,
    /// How many sessions, or rows, are removed in one step.
    pub sweep_batch: u32,
}

/// What sessions are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StorageKind {
    /// Nothing: they end with the server.
    Memory,
    /// A file.
    Sqlite,
    /// A PostgreSQL server of version 14 or later.
    #[serde(alias = "postgres")]
    Postgresql,
}

/// Whether connections to PostgreSQL are encrypted and what is checked, as its own `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PgTls {
    /// They are not.
    Disable,
    /// They are if the server insists.
    Allow,
    /// They are if the server can.
    Prefer,
    /// They are, whoever the server is.
    Require,
    /// They are, and an authority vouches for the server.
    VerifyCa,
    /// They are, and an authority vouches for the server by this name.
    VerifyFull,
}

impl Default for SessionSection {
    fn default() -> Self {
        Self {
            storage: StorageKind::Sqlite,
            sqlite_path: "data/paddock.db".into(),
            sqlite_readers: 4,
            sqlite_cache_bytes: 32 * 1024 * 1024,
            database_url: None,
            pg_host: "localhost".to_owned(),
            pg_port: 5432,
            pg_database: "paddock".to_owned(),
            pg_user: "paddock".to_owned(),
            pg_password: None,
            pg_tls: None,
            pg_root_certificate: None,
            pg_connections: 10,
            pg_writers: 2,
            pg_statement_timeout: Duration::from_secs(10),
            pg_create_database: true,
            store_patience: Duration::from_secs(5),
            ttl: Duration::from_hours(7 * 24),
            removal_delay: Some(Duration::from_hours(24)),
            sweep_interval: Duration::from_mins(1),
            sweep_batch: 1000,
        }
    }
}

impl SessionSection {
    /// The TCP port by which the database is reached; `None` when it is a file, or a Unix socket.
    #[must_use]
    pub fn database_port(&self) -> Option<u16> {
        const USUAL: u16 = 5432;
        if self.storage != StorageKind::Postgresql {
            return None;
        }
        match &self.database_url {
            Some(url) => {
                let url = url::Url::parse(url.expose_secret()).ok()?;
                Some(url.port().unwrap_or(USUAL))
            }
            None => (!self.pg_host.starts_with('/')).then_some(self.pg_port),
        }
    }

    pub(super) fn check(&self, problems: &mut Vec<String>) {
        require(
            (1..=64).contains(&self.sqlite_readers),
            problems,
            "session.sqlite_readers: must be between 1 and 64",
        );
        require(
            (2..=1000).contains(&self.pg_connections),
            problems,
            "session.pg_connections: must be between 2 and 1000",
        );
        require(
            self.pg_writers >= 1 && self.pg_writers < self.pg_connections,
            problems,
            "session.pg_writers: must be at least 1, and less than session.pg_connections",
        );
        require(
            self.pg_statement_timeout >= Duration::from_millis(100),
            problems,
            "session.pg_statement_timeout: must be at least 100ms",
        );
        require(
            !self.sweep_interval.is_zero(),
            problems,
            "session.sweep_interval: must be more than 0",
        );
        require(
            (1..=100_000).contains(&self.sweep_batch),
            problems,
            "session.sweep_batch: must be between 1 and 100000",
        );
        let postgres = self.storage == StorageKind::Postgresql;
        require(
            postgres || self.database_url.is_none(),
            problems,
            "session.database_url: is set (DATABASE_URL?), but session.storage is not postgresql; set that, or unset this",
        );
        let usual = Self::default();
        let parts_untouched = self.pg_host == usual.pg_host
            && self.pg_port == usual.pg_port
            && self.pg_database == usual.pg_database
            && self.pg_user == usual.pg_user
            && self.pg_password.is_none();
        require(
            self.database_url.is_none() || parts_untouched,
            problems,
            "session.database_url: is set beside session.pg_host, pg_port, pg_database, pg_user or pg_password; choose one way",
        );
    }
}
