//! From what a use case says went wrong to what the client is told.

use std::error::Error as StdError;

use super::problem::{FieldError, Problem, ProblemCode};
use crate::service::{CopyError, Error, FileError, StoreError, Unauthenticated, WorkspaceError};

impl From<Unauthenticated> for Problem {
    fn from(refused: Unauthenticated) -> Self {
        let code = match refused {
            Unauthenticated::Store(error) => return Error::Store(error).into(),
            Unauthenticated::Suspended => ProblemCode::TenantSuspended,
            Unauthenticated::Network | Unauthenticated::TokenTenant => ProblemCode::Forbidden,
            Unauthenticated::SharesOff => ProblemCode::SharesForbidden,
            Unauthenticated::IssuerAway => ProblemCode::IssuerUnavailable,
            Unauthenticated::Missing
            | Unauthenticated::Unknown
            | Unauthenticated::Expired
            | Unauthenticated::Ticket
            | Unauthenticated::Token(_)
            | Unauthenticated::ShareUnknown
            | Unauthenticated::ShareExpired
            | Unauthenticated::ShareRevoked
            | Unauthenticated::Revoked => ProblemCode::Unauthenticated,
        };
        Self::new(code).with_detail(refused.to_string())
    }
}

impl From<Error> for Problem {
    #[expect(clippy::too_many_lines, reason = "one line for each way to fail")]
    fn from(error: Error) -> Self {
        let code = code_of(&error);
        let mut problem = Self::new(code);
        match &error {
            Error::RateLimited {
                retry_after, limit, ..
            } => {
                problem.rate_limit = Some(*limit);
                problem.retry_after = Some(*retry_after);
                problem.detail = Some(error.to_string());
            }
            Error::SessionBusy { retry_after }
            | Error::TurnQueueFull { retry_after }
            | Error::RequestInProgress { retry_after }
            | Error::CursorAhead { retry_after }
            | Error::FilesBusy { retry_after }
            | Error::GitBusy { retry_after }
            | Error::InstanceUnreachable { retry_after }
            | Error::ShuttingDown { retry_after } => {
                problem.retry_after = Some(*retry_after);
            }
            Error::TurnEnded { turn, error } => {
                problem.turn_id = Some(*turn);
                problem.detail = Some(error.message.clone());
            }
            Error::Agent(error) => problem.detail = Some(error.message.clone()),
            Error::Forbidden { reason } => problem.detail = Some((*reason).to_owned()),
            Error::Answer { field, reason } => {
                problem.errors = vec![FieldError::new(*field, "not_an_answer", *reason)];
            }
            Error::Webhook { reason } => {
                problem.errors = vec![FieldError::new("url", "invalid_url", *reason)];
            }
            Error::Key { field, reason } => {
                problem.errors = vec![FieldError::new(*field, "invalid_key", *reason)];
            }
            Error::Attachment { index, reason } => {
                let field = format!("attachments[{index}]");
                problem.errors = vec![FieldError::new(field, "invalid_attachment", reason)];
            }
            Error::TooManySums { .. } => {
                let words = error.to_string();
                problem.errors = vec![FieldError::new("group_by", "too_many", words)];
            }
            Error::Store(_)
            | Error::Workspace(_)
            | Error::File(FileError::Path(_))
            | Error::Copy(_)
            | Error::Internal { .. } => {
                log_cause(code, &error);
            }
            Error::QuotaReached { .. }
            | Error::BudgetExceeded { .. }
            | Error::TooManyBudgets { .. }
            | Error::OptionForbidden { .. }
            | Error::PermissionAnswered { .. }
            | Error::CursorForeign
            | Error::SharesForbidden
            | Error::NotARepository
            | Error::GitUnavailable
            | Error::GitTimeout
            | Error::GitFailed { .. }
            | Error::SourceRefused { .. }
            | Error::CloneFailed { .. }
            | Error::WorkspaceFull
            | Error::TooLongForInstance
            | Error::File(_)
            | Error::CliRefused(_) => {
                problem.detail = Some(error.to_string());
            }
            Error::TenantNotFound
            | Error::TenantExists
            | Error::KeyNotFound
            | Error::KeyNameTaken
            | Error::BudgetNotFound
            | Error::CredentialNotFound
            | Error::CredentialRefused
            | Error::ModelUnreachable
            | Error::SealingOff
            | Error::GatewayOff
            | Error::SessionNotFound
            | Error::SessionClosed
            | Error::SessionExpired
            | Error::WebhookNotFound
            | Error::DeliveryNotFound
            | Error::ShareNotFound
            | Error::RefNotFound
            | Error::NothingToCommit
            | Error::TemplateNotFound
            | Error::TurnNotFound
            | Error::MessageNotFound
            | Error::CheckpointNotFound
            | Error::PermissionNotFound
            | Error::KeyReused
            | Error::CliTimeout => {}
        }
        if matches!(
            code,
            ProblemCode::AgentsExhausted
                | ProblemCode::InstanceUnreachable
                | ProblemCode::StoreUnavailable
                | ProblemCode::ShuttingDown
        ) {
            problem
                .retry_after
                .get_or_insert(std::time::Duration::from_secs(2));
        }
        problem
    }
}

fn code_of(error: &Error) -> ProblemCode {
    match error {
        Error::TenantNotFound => ProblemCode::TenantNotFound,
        Error::TenantExists => ProblemCode::TenantExists,
        Error::KeyNotFound => ProblemCode::KeyNotFound,
        Error::KeyNameTaken => ProblemCode::KeyNameTaken,
        Error::BudgetExceeded { .. } => ProblemCode::BudgetExceeded,
        Error::BudgetNotFound => ProblemCode::BudgetNotFound,
        Error::RateLimited { .. } => ProblemCode::RateLimited,
        Error::QuotaReached { .. } => ProblemCode::QuotaReached,
        Error::TooManyBudgets { .. } => ProblemCode::TooManyBudgets,
        Error::TooManySums { .. } => ProblemCode::InvalidQuery,
        Error::CredentialNotFound => ProblemCode::CredentialNotFound,
        Error::CredentialRefused => ProblemCode::CredentialRefused,
        Error::ModelUnreachable => ProblemCode::ModelUnreachable,
        Error::SealingOff => ProblemCode::SealingOff,
        Error::GatewayOff => ProblemCode::GatewayOff,
        Error::SessionNotFound => ProblemCode::SessionNotFound,
        Error::SessionClosed => ProblemCode::SessionClosed,
        Error::SessionExpired => ProblemCode::SessionExpired,
        Error::SessionBusy { .. } => ProblemCode::SessionBusy,
        Error::TurnQueueFull { .. } => ProblemCode::TurnQueueFull,
        Error::WebhookNotFound => ProblemCode::WebhookNotFound,
        Error::DeliveryNotFound => ProblemCode::DeliveryNotFound,
        Error::SharesForbidden => ProblemCode::SharesForbidden,
        Error::ShareNotFound => ProblemCode::ShareNotFound,
        Error::NotARepository => ProblemCode::NotARepository,
        Error::GitUnavailable => ProblemCode::GitUnavailable,
        Error::GitBusy { .. } => ProblemCode::GitBusy,
        Error::GitTimeout => ProblemCode::GitTimeout,
        Error::GitFailed { .. } => ProblemCode::GitFailed,
        Error::RefNotFound => ProblemCode::RefNotFound,
        Error::NothingToCommit => ProblemCode::NothingToCommit,
        Error::SourceRefused { .. } => ProblemCode::SourceRefused,
        Error::CloneFailed { .. } => ProblemCode::CloneFailed,
        Error::TemplateNotFound => ProblemCode::TemplateNotFound,
        Error::WorkspaceFull => ProblemCode::WorkspaceFull,
        Error::CursorForeign => ProblemCode::InvalidCursor,
        Error::CursorAhead { .. } => ProblemCode::CursorAhead,
        Error::TurnNotFound => ProblemCode::TurnNotFound,
        Error::MessageNotFound => ProblemCode::MessageNotFound,
        Error::CheckpointNotFound => ProblemCode::CheckpointNotFound,
        Error::PermissionNotFound => ProblemCode::PermissionNotFound,
        Error::PermissionAnswered { .. } => ProblemCode::PermissionAnswered,
        Error::Answer { .. } | Error::Attachment { .. } | Error::Key { .. } | Error::Webhook { .. } => {
            ProblemCode::ValidationFailed
        }
        Error::OptionForbidden { .. } => ProblemCode::OptionForbidden,
        Error::RequestInProgress { .. } => ProblemCode::RequestInProgress,
        Error::KeyReused => ProblemCode::KeyReused,
        Error::CliRefused(_) => ProblemCode::CliRefused,
        Error::CliTimeout => ProblemCode::CliTimeout,
        Error::Copy(CopyError::NotEmpty) => ProblemCode::WorkspaceNotEmpty,
        Error::Copy(CopyError::TooLarge) => ProblemCode::WorkspaceTooLarge,
        Error::Copy(CopyError::Failed(_)) => ProblemCode::WorkspaceUnavailable,
        Error::Forbidden { .. } => ProblemCode::Forbidden,
        Error::InstanceUnreachable { .. } => ProblemCode::InstanceUnreachable,
        Error::TooLongForInstance => ProblemCode::BodyTooLarge,
        Error::ShuttingDown { .. } => ProblemCode::ShuttingDown,
        Error::TurnEnded { error, .. } | Error::Agent(error) => error.code.into(),
        Error::FilesBusy { .. } => ProblemCode::FilesBusy,
        Error::File(error) => code_of_file(error),
        Error::Workspace(error) => match error {
            WorkspaceError::Missing => ProblemCode::WorkspaceMissing,
            WorkspaceError::NotAFolder => ProblemCode::WorkspaceNotAFolder,
            WorkspaceError::Outside => ProblemCode::WorkspaceRefused,
            WorkspaceError::Denied(_) | WorkspaceError::Failed(_) => ProblemCode::WorkspaceUnavailable,
        },
        Error::Store(error) => match error {
            StoreError::Unavailable(_) | StoreError::Refused(_) | StoreError::StaleEpoch { .. } => {
                ProblemCode::StoreUnavailable
            }
            StoreError::ReadOnly(_) => ProblemCode::StoreReadOnly,
            StoreError::Full(_) => ProblemCode::StoreFull,
            StoreError::SessionGone { .. } => ProblemCode::SessionClosed,
            _ => ProblemCode::Internal,
        },
        Error::Internal { .. } => ProblemCode::Internal,
    }
}

fn code_of_file(error: &FileError) -> ProblemCode {
    match error {
        FileError::Missing => ProblemCode::FileNotFound,
        FileError::Outside => ProblemCode::FileOutside,
        FileError::NotAFile => ProblemCode::NotAFile,
        FileError::NotAFolder => ProblemCode::NotAFolder,
        FileError::Exists => ProblemCode::FileExists,
        FileError::NotEmpty => ProblemCode::FolderNotEmpty,
        FileError::IntoItself => ProblemCode::FolderIntoItself,
        FileError::Changed => ProblemCode::PreconditionFailed,
        FileError::TooLong { .. } => ProblemCode::FileTooLarge,
        FileError::Full => ProblemCode::WorkspaceFull,
        FileError::Name(_) => ProblemCode::ValidationFailed,
        FileError::Pattern(_) => ProblemCode::InvalidQuery,
        FileError::Archive(_) => ProblemCode::ArchiveRefused,
        FileError::Path(_) => ProblemCode::WorkspaceUnavailable,
    }
}

/// The client is told the name; whoever runs the server is told the causes.
fn log_cause(code: ProblemCode, error: &Error) {
    let cause: &dyn StdError = error;
    if code.status().is_server_error() {
        tracing::error!(%code, error = cause, "a request failed");
    } else {
        tracing::debug!(%code, error = cause, "a request was refused");
    }
}
