//! What can go wrong in a store, by what its callers can do about it.

use std::sync::Arc;

use crate::domain::{Epoch, SessionId};

/// A source that the store does not name further. Shared, since one failed commit fails all that it would have made
/// durable.
type Source = Arc<dyn std::error::Error + Send + Sync>;

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It does not answer, or answers too late; trying again later may help.
    #[error("the store does not answer")]
    Unavailable(#[source] Source),
    /// It cannot be written: the file or its file system is read-only.
    #[error("the store is read-only")]
    ReadOnly(#[source] Source),
    /// Its disk is full.
    #[error("the store's disk is full")]
    Full(#[source] Source),
    /// Another owner has taken the session since.
    #[error("session {session} is no longer owned under epoch {}", epoch.get())]
    StaleEpoch {
        /// The session.
        session: SessionId,
        /// The epoch that the refused write carried.
        epoch: Epoch,
    },
    /// There is no such session, or it is closed.
    #[error("session {session} is not there, or closed")]
    SessionGone {
        /// The session.
        session: SessionId,
    },
    /// Events were given ids that do not rise above those that are stored.
    #[error("events of session {session} were given ids that are taken")]
    IdsTaken {
        /// The session.
        session: SessionId,
    },
    /// Another turn of the session has no outcome.
    #[error("session {session} has another turn without outcome")]
    TurnUnfinished {
        /// The session.
        session: SessionId,
    },
    /// The database was written by a later version of this program.
    #[error(
        "the database was written by a later version of Paddock (it has migration {version}); run that version"
    )]
    TooNew {
        /// The migration that this version does not know.
        version: i64,
    },
    /// The database's migrations are not this program's.
    #[error(
        "migration {version} of the database is not the one that this program has; was it made by another build?"
    )]
    Foreign {
        /// The migration that differs.
        version: i64,
    },
    /// The database server is too old.
    #[error("PostgreSQL {found} is too old: version {oldest} or later is needed")]
    ServerTooOld {
        /// Its version.
        found: String,
        /// The oldest that will do.
        oldest: u32,
    },
    /// There is no such database, and none may be made.
    #[error("there is no database `{0}`; create it, or allow it with session.pg_create_database")]
    NoDatabase(String),
    /// The server does not let this user in.
    #[error("the database server refuses the user or the password")]
    Refused(#[source] Source),
    /// A text that not every store can keep.
    #[error("{what} holds NUL, which cannot be stored")]
    Unstorable {
        /// What holds it.
        what: &'static str,
    },
    /// The session has been owned so often that no event of a further epoch could be numbered.
    #[error("session {session} has used up its epochs")]
    EpochsUsedUp {
        /// The session.
        session: SessionId,
    },
    /// What is stored cannot be read as what it should be.
    #[error("stored {what} cannot be read")]
    Corrupt {
        /// What was read.
        what: &'static str,
        /// Why it cannot be read.
        #[source]
        source: Source,
    },
    /// Anything else: a fault of ours, such as a broken constraint.
    #[error("the store failed to {action}")]
    Failed {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: Source,
    },
}

impl StoreError {
    /// Anything else: a fault of ours.
    pub(super) fn failed(
        action: &'static str,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Failed {
            action,
            source: Arc::new(source),
        }
    }

    /// Something stored that cannot be read as what it should be.
    pub(super) fn corrupt(
        what: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Corrupt {
            what,
            source: source.into().into(),
        }
    }
}
