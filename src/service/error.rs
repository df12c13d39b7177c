//! What can go wrong in a use case, by what the caller can do about it.

use std::time::Duration;

use crate::agent::TurnRefused;
use crate::agent::log::LogError;
use crate::domain::{TurnError, TurnId};
use crate::security::workspace::WorkspaceError;
use crate::store::StoreError;

/// Why a use case did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such session, or it is not the caller's to see.
    #[error("there is no such session")]
    SessionNotFound,
    /// The session was closed and cannot come back.
    #[error("the session is closed")]
    SessionClosed,
    /// The session was not used for longer than sessions live.
    #[error("the session has expired")]
    SessionExpired,
    /// Another turn of the session runs.
    #[error("the session is busy with another turn")]
    SessionBusy {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// The credential does not allow it.
    #[error("{reason}")]
    Forbidden {
        /// Why not.
        reason: &'static str,
    },
    /// The workspace cannot be used.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The server is stopping.
    #[error("the server is stopping")]
    ShuttingDown {
        /// When trying again, most likely at another instance, makes sense.
        retry_after: Duration,
    },
    /// The turn ended, and did not complete.
    #[error("{}", error.message)]
    TurnEnded {
        /// The turn.
        turn: TurnId,
        /// Why it did not complete.
        error: TurnError,
    },
    /// What was asked for needs the CLI, and it did not answer.
    #[error("{}", .0.message)]
    Agent(TurnError),
    /// The store did not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A fault of ours.
    #[error("{action}")]
    Internal {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// How long a client is asked to wait for a busy session or a stopping server.
pub(super) const RETRY_SOON: Duration = Duration::from_secs(2);

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        match error {
            LogError::SessionMissing => Self::SessionNotFound,
            LogError::Store(error) => Self::Store(error),
            error => Self::Internal {
                action: "the session's log was not written",
                source: Box::new(error),
            },
        }
    }
}

impl From<TurnRefused> for Error {
    fn from(refused: TurnRefused) -> Self {
        match refused {
            TurnRefused::Busy => Self::SessionBusy {
                retry_after: RETRY_SOON,
            },
            TurnRefused::ShuttingDown => Self::ShuttingDown {
                retry_after: RETRY_SOON,
            },
            TurnRefused::Log(error) => error.into(),
        }
    }
}
