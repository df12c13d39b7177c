//! What can go wrong in a use case, by what the caller can do about it.

use std::time::Duration;

use super::log_reader::ReadError;
use crate::agent::handle::AskError;
use crate::agent::log::LogError;
use crate::agent::{ElsewhereError, SteeringError, TurnRefused};
use crate::checkpoints::CheckpointError;
use crate::cluster::{PeerError, PeerRefusal};
use crate::domain::{PermissionDecision, TurnError, TurnErrorCode, TurnId};
use crate::files::FileError;
use crate::limits::TooOften;
use crate::security::workspace::WorkspaceError;
use crate::security::workspace_copy::CopyError;
use crate::store::StoreError;

/// Why a use case did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such tenant.
    #[error("there is no such tenant")]
    TenantNotFound,
    /// A tenant has the name.
    #[error("a tenant of this name exists")]
    TenantExists,
    /// There is no such key of the tenant.
    #[error("there is no such key")]
    KeyNotFound,
    /// A living key of the tenant has the name.
    #[error("a key of this name exists")]
    KeyNameTaken,
    /// A key cannot be so.
    #[error("{field}: {reason}")]
    Key {
        /// The part of it.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A budget that covers the session is spent.
    #[error("the budget is spent: {budget}")]
    BudgetExceeded {
        /// Which one.
        budget: String,
    },
    /// There is no such budget of the tenant.
    #[error("there is no such budget")]
    BudgetNotFound,
    /// It was done as often as it may be for now.
    #[error("{what} of this {whose} are limited to {limit} a minute")]
    RateLimited {
        /// What.
        what: &'static str,
        /// Of whom: tenant, key or address.
        whose: &'static str,
        /// How often.
        limit: u32,
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// There are as many as there may be.
    #[error("the limit {limit} is reached: {most}")]
    QuotaReached {
        /// The limit, by its name in the tenant's limits.
        limit: &'static str,
        /// How many there may be.
        most: u32,
    },
    /// The tenant has as many budgets as it may.
    #[error("a tenant has at most {most} budgets")]
    TooManyBudgets {
        /// The most.
        most: u32,
    },
    /// There are more sums than are told at once.
    #[error("there are more than {most} sums; ask for a shorter time, or group by less")]
    TooManySums {
        /// The most that are told.
        most: usize,
    },
    /// The tenant has no credential of its own.
    #[error("the tenant has no credential of its own")]
    CredentialNotFound,
    /// The model's API does not take the credential.
    #[error("the model's API does not take the credential")]
    CredentialRefused,
    /// The model's API did not tell.
    #[error("the model's API cannot be reached")]
    ModelUnreachable,
    /// Nothing secret is stored without a key to seal it with.
    #[error("no sealing key is configured (auth.sealing_key)")]
    SealingOff,
    /// Only the gateway can use this.
    #[error("the model gateway is switched off (model.gateway)")]
    GatewayOff,
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
    /// As many turns of the session wait as may.
    #[error("as many turns of the session wait as may")]
    TurnQueueFull {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// The cursor is of another session's log.
    #[error("the cursor is none of this session's log")]
    CursorForeign,
    /// The log has not come to the cursor.
    #[error("the session's log has not come to this cursor")]
    CursorAhead {
        /// When trying again makes sense, at an instance that may know more by then.
        retry_after: Duration,
    },
    /// There is no such webhook of the tenant.
    #[error("there is no such webhook")]
    WebhookNotFound,
    /// There is no such delivery of the webhook.
    #[error("there is no such delivery")]
    DeliveryNotFound,
    /// A webhook cannot be so.
    #[error("the URL {reason}")]
    Webhook {
        /// What is wrong with its URL.
        reason: &'static str,
    },
    /// The tenant does not show sessions by links.
    #[error("the tenant's policy does not allow links that show sessions (share_links)")]
    SharesForbidden,
    /// There is no such link of the session.
    #[error("there is no such link")]
    ShareNotFound,
    /// The workspace has no repository of its own.
    #[error("the workspace is not a git repository: it has no folder .git of its own")]
    NotARepository,
    /// `git` is not there, or cannot be started.
    #[error("git is not installed where this server runs, or cannot be started (git.path)")]
    GitUnavailable,
    /// As many run as may.
    #[error("as much of git runs as may (git.concurrency_max)")]
    GitBusy {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// It took too long.
    #[error("git took longer than it may (git.timeout, git.clone_timeout)")]
    GitTimeout,
    /// `git` does not do that.
    #[error("{why}")]
    GitFailed {
        /// What it says.
        why: String,
    },
    /// There is no such commit.
    #[error("there is no such branch, tag or commit")]
    RefNotFound,
    /// Nothing changed.
    #[error("there is nothing to commit")]
    NothingToCommit,
    /// The repository may not be cloned.
    #[error("{reason}")]
    SourceRefused {
        /// Why not.
        reason: String,
    },
    /// The repository was not cloned.
    #[error("{why}")]
    CloneFailed {
        /// What `git` says.
        why: String,
    },
    /// There is no such template.
    #[error("there is no such template")]
    TemplateNotFound,
    /// The session's folders hold more than they may.
    #[error("the session's folders hold more than they may (isolation.disk_max_bytes)")]
    WorkspaceFull,
    /// There is no such turn of the session.
    #[error("there is no such turn")]
    TurnNotFound,
    /// There is no such message of the session, or it is no place to fork at.
    #[error("there is no such message to fork at")]
    MessageNotFound,
    /// The turn has no such checkpoint, or no longer.
    #[error("there is no checkpoint of this turn")]
    CheckpointNotFound,
    /// There is no such question of the session's agent.
    #[error("there is no such question")]
    PermissionNotFound,
    /// The question has its answer, or is over.
    #[error("the question is answered already: {decision}")]
    PermissionAnswered {
        /// The answer.
        decision: PermissionDecision,
    },
    /// The answer is none to this question.
    #[error("{field}: {reason}")]
    Answer {
        /// The part of the answer.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An attachment cannot be sent.
    #[error("attachment {index} {reason}")]
    Attachment {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// An option is not for sessions to set.
    #[error("the option {option} may not be set")]
    OptionForbidden {
        /// Which one.
        option: String,
    },
    /// A request of the same idempotency key is being begun.
    #[error("a request with this key is being begun")]
    RequestInProgress {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// The idempotency key was used for another request.
    #[error("this key was used for another request")]
    KeyReused,
    /// The CLI does not do that, at least not now.
    #[error("the CLI refused: {0}")]
    CliRefused(String),
    /// The CLI did not answer in time.
    #[error("the CLI did not answer in time")]
    CliTimeout,
    /// The workspace was not copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The credential does not allow it.
    #[error("{reason}")]
    Forbidden {
        /// Why not.
        reason: &'static str,
    },
    /// The workspace cannot be used.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// As many archives and searches are worked on as may be at once.
    #[error("as many archives and searches are worked on as may be at once (files.heavy_max)")]
    FilesBusy {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// A file of a workspace cannot be used as it was asked for.
    #[error(transparent)]
    File(#[from] FileError),
    /// The server is stopping.
    #[error("the server is stopping")]
    ShuttingDown {
        /// When trying again, most likely at another instance, makes sense.
        retry_after: Duration,
    },
    /// The instance that has the session takes no request that is so long.
    #[error(
        "the instance that has the session takes no request that is so long (instance.message_max_bytes)"
    )]
    TooLongForInstance,
    /// Another instance has the session, or may have it, and does not do its part now.
    #[error("the instance that has the session does not answer")]
    InstanceUnreachable {
        /// When trying again makes sense.
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

impl From<CheckpointError> for Error {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::NotFound => Self::CheckpointNotFound,
            error @ (CheckpointError::Damaged(_) | CheckpointError::Failed(_)) => Self::Internal {
                action: "the session's checkpoints cannot be used",
                source: Box::new(error),
            },
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => Self::Store(error),
            error @ ReadError::Render(_) => Self::Internal {
                action: "the session's log was not read",
                source: Box::new(error),
            },
        }
    }
}

impl From<TooOften> for Error {
    fn from(error: TooOften) -> Self {
        match error {
            TooOften::Limited {
                what,
                whose,
                limit,
                wait,
            } => Self::RateLimited {
                what,
                whose,
                limit,
                retry_after: wait,
            },
            TooOften::Store(error) => Self::Store(error),
        }
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        match error {
            LogError::SessionMissing => Self::SessionNotFound,
            // It moves in this very moment.
            LogError::Elsewhere(_) | LogError::Fenced | LogError::Store(StoreError::StaleEpoch { .. }) => {
                Self::InstanceUnreachable {
                    retry_after: RETRY_SOON,
                }
            }
            LogError::Store(error) => Self::Store(error),
            error => Self::Internal {
                action: "the session's log was not written",
                source: Box::new(error),
            },
        }
    }
}

impl From<ElsewhereError> for Error {
    fn from(error: ElsewhereError) -> Self {
        let failed = |action| {
            move |source| Self::Internal {
                action,
                source: Box::new(source),
            }
        };
        match error {
            ElsewhereError::Store(error) => Self::Store(error),
            ElsewhereError::Log(error) => error.into(),
            ElsewhereError::Steering(error) => error.into(),
            ElsewhereError::Peer(PeerError::TooLong { .. }) => Self::TooLongForInstance,
            ElsewhereError::Peer(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the instance that has a session does not answer"
                );
                Self::InstanceUnreachable {
                    retry_after: RETRY_SOON,
                }
            }
            ElsewhereError::Refused(PeerRefusal::NotHere) => Self::InstanceUnreachable {
                retry_after: RETRY_SOON,
            },
            ElsewhereError::Refused(PeerRefusal::QueueFull) => Self::TurnQueueFull {
                retry_after: RETRY_SOON,
            },
            ElsewhereError::Refused(PeerRefusal::ShuttingDown) => Self::ShuttingDown {
                retry_after: RETRY_SOON,
            },
            ElsewhereError::Refused(PeerRefusal::SessionGone) => Self::SessionClosed,
            ElsewhereError::Refused(PeerRefusal::CliRefused { message }) => Self::CliRefused(message),
            ElsewhereError::Refused(PeerRefusal::CliTimeout) => Self::CliTimeout,
            error @ (ElsewhereError::Refused(PeerRefusal::Failed { .. }) | ElsewhereError::Odd) => {
                failed("the instance that has the session did not do it")(error)
            }
        }
    }
}

impl From<SteeringError> for Error {
    fn from(error: SteeringError) -> Self {
        match error {
            SteeringError::NoAgent(error) => Self::Agent(error),
            SteeringError::Ask(AskError::Refused(why)) => Self::CliRefused(why),
            SteeringError::Ask(AskError::TimedOut) => Self::CliTimeout,
            SteeringError::Ask(AskError::Gone(gone)) => Self::Agent(TurnError {
                code: TurnErrorCode::AgentCrashed,
                message: gone.to_string(),
            }),
        }
    }
}

impl From<TurnRefused> for Error {
    fn from(refused: TurnRefused) -> Self {
        match refused {
            TurnRefused::Busy | TurnRefused::Elsewhere(_) => Self::SessionBusy {
                retry_after: RETRY_SOON,
            },
            TurnRefused::QueueFull => Self::TurnQueueFull {
                retry_after: RETRY_SOON,
            },
            TurnRefused::ShuttingDown => Self::ShuttingDown {
                retry_after: RETRY_SOON,
            },
            TurnRefused::Log(error) => error.into(),
        }
    }
}
