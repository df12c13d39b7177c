//! Why requests are not done, by name: with which status, and what it is called for people.

use actix_web::http::StatusCode;
use serde::Serialize;
use strum::{Display, EnumIter, IntoStaticStr};
use utoipa::ToSchema;

use crate::domain::TurnErrorCode;

/// Why a request was not done, by name. The names are part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Display, IntoStaticStr, EnumIter, ToSchema)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ProblemCode {
    /// Fields are missing, unknown, or have values that cannot be used; `errors` lists them all.
    ValidationFailed,
    /// Query parameters are unknown, or have values that cannot be used; `errors` lists them all.
    InvalidQuery,
    /// The cursor is none that a list of this kind gave, or none of this session's log.
    InvalidCursor,
    /// The session's log has not come to this cursor.
    CursorAhead,
    /// The body is not JSON.
    MalformedJson,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The body is longer than the server takes.
    BodyTooLarge,
    /// The body did not arrive in time.
    RequestTimeout,
    /// There is nothing at this path.
    NotFound,
    /// This path does not take this method; `Allow` lists those it takes.
    MethodNotAllowed,
    /// A credential is missing, or not known.
    Unauthenticated,
    /// The credential does not allow this.
    Forbidden,
    /// The issuer of login tokens does not answer, and without its keys no token can be taken.
    IssuerUnavailable,
    /// There is no such tenant, or it is not the caller's to see.
    TenantNotFound,
    /// A tenant of this name exists.
    TenantExists,
    /// The tenant's credentials are not taken for now.
    TenantSuspended,
    /// There is no such key of the tenant.
    KeyNotFound,
    /// A key of this name exists, and is not revoked.
    KeyNameTaken,
    /// The tenant has no credential of its own for the model.
    CredentialNotFound,
    /// The model's API does not take the credential.
    CredentialRefused,
    /// The model's API cannot be reached, or failed.
    ModelUnreachable,
    /// No sealing key is configured, and nothing secret is stored without one.
    SealingOff,
    /// The model gateway is switched off, and with it what only the gateway can use.
    GatewayOff,
    /// There is no such session.
    SessionNotFound,
    /// Another turn of the session runs.
    SessionBusy,
    /// As many turns of the session wait as may.
    TurnQueueFull,
    /// There is no such webhook of the tenant.
    WebhookNotFound,
    /// There is no such delivery of the webhook.
    DeliveryNotFound,
    /// This path takes a WebSocket's handshake only.
    UpgradeRequired,
    /// Pages of this web origin may not connect.
    OriginForbidden,
    /// The tenant's policy does not allow links that show sessions.
    SharesForbidden,
    /// There is no such link of the session.
    ShareNotFound,
    /// The workspace has no repository of its own.
    NotARepository,
    /// `git` is not there, or cannot be started.
    GitUnavailable,
    /// As much of `git` runs as may.
    GitBusy,
    /// `git` took longer than it may.
    GitTimeout,
    /// `git` does not do this; `detail` says why.
    GitFailed,
    /// There is no such branch, tag or commit.
    RefNotFound,
    /// Nothing changed that could be committed.
    NothingToCommit,
    /// The repository may not be cloned; `detail` says why.
    SourceRefused,
    /// The repository was not cloned; `detail` says what `git` says.
    CloneFailed,
    /// There is no such template.
    TemplateNotFound,
    /// There is no such turn of the session.
    TurnNotFound,
    /// There is no such message of the session, or it is no place to fork at.
    MessageNotFound,
    /// The turn has no such checkpoint, or no longer.
    CheckpointNotFound,
    /// There is no such question of the session's agent.
    PermissionNotFound,
    /// The question of the agent is answered, or over.
    PermissionAnswered,
    /// An option is not for sessions to set; `detail` names it.
    OptionForbidden,
    /// The first request with this idempotency key is being begun.
    RequestInProgress,
    /// The idempotency key was used for another request.
    KeyReused,
    /// The CLI does not do this now; `detail` says why.
    CliRefused,
    /// The CLI did not answer in time.
    CliTimeout,
    /// The session is closed and cannot come back.
    SessionClosed,
    /// The session was not used for longer than sessions live.
    SessionExpired,
    /// The workspace's path leads out of the user's tree.
    WorkspaceRefused,
    /// The workspace's folder does not exist; resuming the session makes it again.
    WorkspaceMissing,
    /// Something on the workspace's path is not a folder.
    WorkspaceNotAFolder,
    /// The workspace to copy into is not empty.
    WorkspaceNotEmpty,
    /// The workspace is larger than may be copied.
    WorkspaceTooLarge,
    /// The workspace cannot be used.
    WorkspaceUnavailable,
    /// There is no such file or folder in the workspace.
    FileNotFound,
    /// The path leads out of the workspace.
    FileOutside,
    /// It is a folder, a pipe, or the like, where a file is wanted.
    NotAFile,
    /// It is not a folder, or something on the way to it is none.
    NotAFolder,
    /// There is something of this name.
    FileExists,
    /// The folder is not empty.
    FolderNotEmpty,
    /// A folder cannot be moved or copied into itself.
    FolderIntoItself,
    /// The file is not in the state that `If-Match` or `If-None-Match` tells.
    PreconditionFailed,
    /// The file has no bytes there.
    RangeNotSatisfiable,
    /// The file, or the archive, is longer than may be.
    FileTooLarge,
    /// The archive is not taken; `detail` says why. Nothing of it was unpacked.
    ArchiveRefused,
    /// The body broke off; nothing was written.
    UploadBroken,
    /// As many archives and searches are worked on as may be at once.
    FilesBusy,
    /// The CLI cannot be started: it is missing, or not executable.
    AgentUnavailable,
    /// The CLI ended, or said nothing, before it was ready.
    AgentStartFailed,
    /// The CLI ended in the middle of the turn.
    AgentCrashed,
    /// All agents are in use.
    AgentsExhausted,
    /// The CLI no longer has the conversation.
    ConversationLost,
    /// The model's API answered with an error.
    ModelError,
    /// The answer did not take the form of the session's `output_schema`.
    OutputInvalid,
    /// The CLI ended the turn with an error of its own.
    TurnFailed,
    /// The turn was interrupted; what was done so far is kept.
    TurnInterrupted,
    /// The session's folders hold more than they may; the turn was stopped.
    WorkspaceFull,
    /// A budget that covers the session is spent; `detail` names it.
    BudgetExceeded,
    /// There is no such budget of the tenant.
    BudgetNotFound,
    /// The tenant has as many budgets as it may.
    TooManyBudgets,
    /// It was done as often as it may be for now; `Retry-After` says when it may be done again.
    RateLimited,
    /// There are as many as there may be; `detail` names the limit.
    QuotaReached,
    /// The turn reached the time limit that was asked for.
    TurnTimeout,
    /// The server ended while the turn ran: some of its tools may have run.
    TurnUnknown,
    /// Another instance has the session and does not answer now, or just lost it; the same request may work in a moment.
    InstanceUnreachable,
    /// The server stops; another instance, or this one later, takes the request.
    ShuttingDown,
    /// The store does not answer, or did not take the turn's events.
    StoreUnavailable,
    /// The store cannot be written.
    StoreReadOnly,
    /// The store's disk is full.
    StoreFull,
    /// A fault of the server's.
    Internal,
}

impl ProblemCode {
    /// The status it is answered with.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::InvalidCursor | Self::MalformedJson | Self::UploadBroken => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden
            | Self::OriginForbidden
            | Self::TenantSuspended
            | Self::SharesForbidden
            | Self::SourceRefused
            | Self::WorkspaceRefused
            | Self::FileOutside
            | Self::OptionForbidden => StatusCode::FORBIDDEN,
            Self::NotFound
            | Self::TenantNotFound
            | Self::KeyNotFound
            | Self::BudgetNotFound
            | Self::CredentialNotFound
            | Self::SessionNotFound
            | Self::WebhookNotFound
            | Self::DeliveryNotFound
            | Self::ShareNotFound
            | Self::RefNotFound
            | Self::TemplateNotFound
            | Self::TurnNotFound
            | Self::MessageNotFound
            | Self::FileNotFound
            | Self::CheckpointNotFound
            | Self::PermissionNotFound => StatusCode::NOT_FOUND,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TurnQueueFull | Self::RateLimited | Self::QuotaReached => StatusCode::TOO_MANY_REQUESTS,
            Self::SessionBusy
            | Self::CursorAhead
            | Self::NotARepository
            | Self::GitFailed
            | Self::NothingToCommit
            | Self::TenantExists
            | Self::KeyNameTaken
            | Self::TooManyBudgets
            | Self::SealingOff
            | Self::GatewayOff
            | Self::PermissionAnswered
            | Self::RequestInProgress
            | Self::KeyReused
            | Self::CliRefused
            | Self::TurnInterrupted
            | Self::WorkspaceNotEmpty
            | Self::WorkspaceTooLarge
            | Self::WorkspaceMissing
            | Self::WorkspaceNotAFolder
            | Self::NotAFile
            | Self::NotAFolder
            | Self::FileExists
            | Self::FolderNotEmpty
            | Self::FolderIntoItself
            | Self::ConversationLost => StatusCode::CONFLICT,
            Self::SessionClosed | Self::SessionExpired => StatusCode::GONE,
            Self::BodyTooLarge | Self::FileTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BudgetExceeded => StatusCode::PAYMENT_REQUIRED,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::ValidationFailed
            | Self::InvalidQuery
            | Self::CredentialRefused
            | Self::ArchiveRefused
            | Self::CloneFailed => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TurnUnknown | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::AgentStartFailed
            | Self::AgentCrashed
            | Self::ModelError
            | Self::ModelUnreachable
            | Self::OutputInvalid
            | Self::TurnFailed => StatusCode::BAD_GATEWAY,
            Self::WorkspaceUnavailable
            | Self::FilesBusy
            | Self::GitUnavailable
            | Self::GitBusy
            | Self::IssuerUnavailable
            | Self::AgentUnavailable
            | Self::AgentsExhausted
            | Self::InstanceUnreachable
            | Self::ShuttingDown
            | Self::StoreUnavailable
            | Self::StoreReadOnly => StatusCode::SERVICE_UNAVAILABLE,
            Self::TurnTimeout | Self::CliTimeout | Self::GitTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::StoreFull | Self::WorkspaceFull => StatusCode::INSUFFICIENT_STORAGE,
        }
    }

    /// What it is called for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::ValidationFailed => "The request has fields that cannot be used",
            Self::InvalidQuery => "The request has query parameters that cannot be used",
            Self::InvalidCursor => "The cursor cannot be used",
            Self::CursorAhead => "The log has not come to this cursor",
            Self::MalformedJson => "The body is not JSON",
            Self::UnsupportedMediaType => "The body is not declared as JSON",
            Self::BodyTooLarge => "The body is too large",
            Self::RequestTimeout => "The body did not arrive in time",
            Self::NotFound => "There is nothing here",
            Self::MethodNotAllowed => "This path does not take this method",
            Self::Unauthenticated => "A valid credential is needed",
            Self::Forbidden => "The credential does not allow this",
            Self::IssuerUnavailable => "The issuer of tokens does not answer",
            Self::TenantNotFound => "There is no such tenant",
            Self::TenantExists => "A tenant of this name exists",
            Self::TenantSuspended => "The tenant is suspended",
            Self::KeyNotFound => "There is no such key",
            Self::KeyNameTaken => "A key of this name exists",
            Self::CredentialNotFound => "The tenant has no credential of its own",
            Self::CredentialRefused => "The model's API does not take the credential",
            Self::ModelUnreachable => "The model's API cannot be reached",
            Self::SealingOff => "No sealing key is configured",
            Self::GatewayOff => "The model gateway is switched off",
            Self::SessionNotFound => "There is no such session",
            Self::SessionBusy => "The session is busy with another turn",
            Self::TurnQueueFull => "As many turns of the session wait as may",
            Self::WebhookNotFound => "There is no such webhook",
            Self::DeliveryNotFound => "There is no such delivery",
            Self::SharesForbidden => "The tenant does not show sessions by links",
            Self::ShareNotFound => "There is no such link",
            Self::NotARepository => "The workspace is not a git repository",
            Self::GitUnavailable => "git cannot be started",
            Self::GitBusy => "As much of git runs as may",
            Self::GitTimeout => "git took longer than it may",
            Self::GitFailed => "git does not do this",
            Self::RefNotFound => "There is no such branch, tag or commit",
            Self::NothingToCommit => "There is nothing to commit",
            Self::SourceRefused => "The repository may not be cloned",
            Self::CloneFailed => "The repository was not cloned",
            Self::TemplateNotFound => "There is no such template",
            Self::UpgradeRequired => "This path takes a WebSocket's handshake only",
            Self::OriginForbidden => "Pages of this web origin may not connect",
            Self::TurnNotFound => "There is no such turn",
            Self::MessageNotFound => "There is no such message to fork at",
            Self::CheckpointNotFound => "There is no checkpoint of this turn",
            Self::PermissionNotFound => "There is no such question",
            Self::PermissionAnswered => "The question is answered already",
            Self::OptionForbidden => "The option may not be set",
            Self::RequestInProgress => "A request with this key is being begun",
            Self::KeyReused => "The key was used for another request",
            Self::CliRefused => "The CLI does not do this now",
            Self::CliTimeout => "The CLI did not answer in time",
            Self::SessionClosed => "The session is closed",
            Self::SessionExpired => "The session has expired",
            Self::WorkspaceRefused => "The workspace lies outside the user's tree",
            Self::WorkspaceMissing => "The workspace's folder does not exist",
            Self::WorkspaceNotAFolder => "The workspace is not a folder",
            Self::WorkspaceNotEmpty => "The new workspace is not empty",
            Self::WorkspaceTooLarge => "The workspace is larger than may be copied",
            Self::WorkspaceUnavailable => "The workspace cannot be used",
            Self::FileNotFound => "There is no such file or folder",
            Self::FileOutside => "The path leads out of the workspace",
            Self::NotAFile => "It is not a file",
            Self::NotAFolder => "It is not a folder",
            Self::FileExists => "There is something of this name already",
            Self::FolderNotEmpty => "The folder is not empty",
            Self::FolderIntoItself => "A folder cannot be put into itself",
            Self::PreconditionFailed => "The file is not as the request says that it is",
            Self::RangeNotSatisfiable => "The file has no bytes there",
            Self::FileTooLarge => "The file is too large",
            Self::ArchiveRefused => "The archive is not taken",
            Self::UploadBroken => "The body broke off",
            Self::FilesBusy => "As many archives and searches are worked on as may be",
            Self::AgentUnavailable => "The CLI cannot be started",
            Self::AgentStartFailed => "The CLI did not get ready",
            Self::AgentCrashed => "The CLI ended in the middle of the turn",
            Self::AgentsExhausted => "All agents are in use",
            Self::ConversationLost => "The CLI no longer has the conversation",
            Self::ModelError => "The model's API answered with an error",
            Self::OutputInvalid => "The answer did not take the wanted form",
            Self::WorkspaceFull => "The session's folders hold more than they may",
            Self::BudgetExceeded => "The budget is spent",
            Self::BudgetNotFound => "There is no such budget",
            Self::TooManyBudgets => "The tenant has as many budgets as it may",
            Self::RateLimited => "It was done as often as it may be for now",
            Self::QuotaReached => "There are as many as there may be",
            Self::TurnInterrupted => "The turn was interrupted",
            Self::TurnFailed => "The CLI ended the turn with an error",
            Self::TurnTimeout => "The turn reached its time limit",
            Self::TurnUnknown => "What became of the turn is not known",
            Self::InstanceUnreachable => "The instance that has the session does not answer",
            Self::ShuttingDown => "The server is stopping",
            Self::StoreUnavailable => "The store does not answer",
            Self::StoreReadOnly => "The store cannot be written",
            Self::StoreFull => "The store's disk is full",
            Self::Internal => "The server failed",
        }
    }
}

impl From<TurnErrorCode> for ProblemCode {
    fn from(code: TurnErrorCode) -> Self {
        match code {
            TurnErrorCode::AgentUnavailable => Self::AgentUnavailable,
            TurnErrorCode::AgentStartFailed => Self::AgentStartFailed,
            TurnErrorCode::AgentCrashed => Self::AgentCrashed,
            TurnErrorCode::AgentsExhausted => Self::AgentsExhausted,
            TurnErrorCode::ConversationLost => Self::ConversationLost,
            TurnErrorCode::ModelError => Self::ModelError,
            TurnErrorCode::OutputInvalid => Self::OutputInvalid,
            TurnErrorCode::TurnFailed => Self::TurnFailed,
            TurnErrorCode::WorkspaceFull => Self::WorkspaceFull,
            TurnErrorCode::BudgetExceeded => Self::BudgetExceeded,
            TurnErrorCode::TurnInterrupted => Self::TurnInterrupted,
            TurnErrorCode::TurnTimeout => Self::TurnTimeout,
            TurnErrorCode::ServerShutdown => Self::ShuttingDown,
            TurnErrorCode::SessionClosed => Self::SessionClosed,
            TurnErrorCode::TurnUnknown => Self::TurnUnknown,
            TurnErrorCode::StoreUnavailable => Self::StoreUnavailable,
        }
    }
}
