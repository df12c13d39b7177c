//! The problems that operations can answer with, as the OpenAPI document lists them.

use std::collections::BTreeMap;

use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{ContentBuilder, Ref, RefOr};

use super::problem::PROBLEM_JSON;
use super::problem::ProblemCode as Code;

/// What every operation that needs a credential can answer.
const CALLER: &[Code] = &[
    Code::Unauthenticated,
    Code::Forbidden,
    Code::TenantSuspended,
    Code::RateLimited,
    Code::IssuerUnavailable,
    Code::Internal,
    Code::StoreUnavailable,
];
const LIST: &[Code] = &[Code::InvalidCursor, Code::InvalidQuery];
const BODY: &[Code] = &[
    Code::MalformedJson,
    Code::RequestTimeout,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
    Code::ValidationFailed,
];
const FIELD: &[Code] = &[Code::ValidationFailed];
const OPTION: &[Code] = &[Code::OptionForbidden];
/// What an operation that is done once under an idempotency key can answer.
const ONCE: &[Code] = &[Code::ValidationFailed, Code::RequestInProgress, Code::KeyReused];
const QUOTA: &[Code] = &[Code::QuotaReached];
const SESSION: &[Code] = &[Code::SessionNotFound];
/// What an operation that needs a session in use can answer.
const IN_USE: &[Code] = &[Code::SessionNotFound, Code::SessionClosed, Code::SessionExpired];
const WRITE: &[Code] = &[Code::StoreReadOnly, Code::StoreFull];
const WORKSPACE: &[Code] = &[
    Code::WorkspaceRefused,
    Code::WorkspaceMissing,
    Code::WorkspaceNotAFolder,
    Code::WorkspaceUnavailable,
];
/// What an operation that asks for something in a workspace can answer.
const FILE: &[Code] = &[
    Code::FileNotFound,
    Code::FileOutside,
    Code::NotAFolder,
    Code::InvalidQuery,
];
const CONTENT: &[Code] = &[Code::NotAFile, Code::RangeNotSatisfiable];
const NEW_FILE: &[Code] = &[
    Code::FileExists,
    Code::FolderNotEmpty,
    Code::FolderIntoItself,
    Code::NotAFile,
    Code::WorkspaceFull,
    Code::FilesBusy,
];
const REMOVED_FILE: &[Code] = &[Code::FolderNotEmpty, Code::PreconditionFailed];
const WRITTEN_FILE: &[Code] = &[
    Code::NotAFile,
    Code::PreconditionFailed,
    Code::FileTooLarge,
    Code::UploadBroken,
    Code::RequestTimeout,
    Code::WorkspaceFull,
    Code::ValidationFailed,
];
const UPLOAD: &[Code] = &[Code::FileExists, Code::UnsupportedMediaType];
const UNPACK: &[Code] = &[
    Code::ArchiveRefused,
    Code::FileExists,
    Code::FileTooLarge,
    Code::UploadBroken,
    Code::RequestTimeout,
    Code::WorkspaceFull,
    Code::ValidationFailed,
];
const HEAVY: &[Code] = &[Code::FilesBusy];
const AGENT: &[Code] = &[
    Code::AgentUnavailable,
    Code::AgentStartFailed,
    Code::AgentsExhausted,
];
const TURN_START: &[Code] = &[
    Code::QuotaReached,
    Code::BudgetExceeded,
    Code::SessionBusy,
    Code::TurnQueueFull,
    Code::RequestInProgress,
    Code::KeyReused,
    Code::ShuttingDown,
];
const TURN: &[Code] = &[Code::TurnNotFound];
const CHECKPOINT: &[Code] = &[Code::TurnNotFound, Code::CheckpointNotFound];
const QUERY: &[Code] = &[Code::InvalidQuery];
const BUSY: &[Code] = &[Code::SessionBusy, Code::ShuttingDown, Code::InstanceUnreachable];
/// What an operation that asks `git` can answer.
const GIT: &[Code] = &[
    Code::NotARepository,
    Code::GitUnavailable,
    Code::GitBusy,
    Code::GitTimeout,
    Code::GitFailed,
    Code::WorkspaceFull,
    Code::ShuttingDown,
];
const REF: &[Code] = &[Code::RefNotFound];
const COMMIT: &[Code] = &[Code::NothingToCommit];
/// What can come of a workspace that begins with something.
const BEGINNING: &[Code] = &[
    Code::SourceRefused,
    Code::CloneFailed,
    Code::TemplateNotFound,
    Code::WorkspaceNotEmpty,
    Code::WorkspaceTooLarge,
    Code::WorkspaceFull,
    Code::GitUnavailable,
    Code::GitBusy,
    Code::GitTimeout,
    Code::ShuttingDown,
];
const SHARE: &[Code] = &[Code::ShareNotFound];
const NO_SHARES: &[Code] = &[Code::SharesForbidden];
const WEBHOOK: &[Code] = &[Code::WebhookNotFound];
const DELIVERY: &[Code] = &[Code::DeliveryNotFound];
const SOCKET: &[Code] = &[Code::UpgradeRequired, Code::OriginForbidden];
const CURSOR: &[Code] = &[Code::InvalidCursor, Code::CursorAhead];
const STEERING: &[Code] = &[Code::CliRefused, Code::CliTimeout, Code::AgentCrashed];
const ANSWERED: &[Code] = &[Code::PermissionAnswered];
const PERMISSION: &[Code] = &[Code::PermissionNotFound];
const FORK: &[Code] = &[
    Code::MessageNotFound,
    Code::WorkspaceNotEmpty,
    Code::WorkspaceTooLarge,
];
const TENANT: &[Code] = &[Code::TenantNotFound];
const NEW_TENANT: &[Code] = &[Code::TenantExists];
const KEY: &[Code] = &[Code::KeyNotFound];
const NEW_KEY: &[Code] = &[Code::KeyNameTaken];
const BUDGET: &[Code] = &[Code::BudgetNotFound];
const BUDGETS_FULL: &[Code] = &[Code::TooManyBudgets, Code::GatewayOff];
const USAGE: &[Code] = &[Code::InvalidQuery, Code::TenantNotFound];
const CREDENTIAL: &[Code] = &[Code::TenantNotFound, Code::CredentialNotFound];
const SEALING: &[Code] = &[
    Code::SealingOff,
    Code::GatewayOff,
    Code::CredentialRefused,
    Code::ModelUnreachable,
];
const TURN_END: &[Code] = &[
    Code::AgentCrashed,
    Code::ConversationLost,
    Code::ModelError,
    Code::OutputInvalid,
    Code::TurnFailed,
    Code::TurnInterrupted,
    Code::TurnTimeout,
    Code::TurnUnknown,
    Code::WorkspaceFull,
    Code::BudgetExceeded,
];

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident: [$($group:ident),* $(,)?];)*) => {
        $(
            $(#[$doc])*
            pub struct $name;

            impl utoipa::IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    responses(&[$($group),*])
                }
            }
        )*
    };
}

problems! {
    /// Of an operation that makes a session.
    CreateProblems: [CALLER, ONCE, BODY, OPTION, QUOTA, WRITE, WORKSPACE, BEGINNING];
    /// Of an operation that lists sessions.
    ListProblems: [CALLER, LIST];
    /// Of an operation that lists what a session has.
    ListInSessionProblems: [CALLER, LIST, SESSION];
    /// Of an operation that reads a session.
    ReadProblems: [CALLER, SESSION];
    /// Of an operation that changes a session.
    ChangeProblems: [CALLER, BODY, OPTION, IN_USE, WRITE];
    /// Of an operation that closes a session.
    CloseProblems: [CALLER, SESSION, WRITE];
    /// Of an operation that makes a session ready.
    ResumeProblems: [CALLER, ONCE, IN_USE, WORKSPACE];
    /// Of an operation that follows a turn.
    StreamProblems: [CALLER, BODY, CURSOR, IN_USE, WRITE, WORKSPACE, TURN_START];
    /// Of an operation that takes a turn and waits for nothing.
    SubmitProblems: [CALLER, BODY, IN_USE, WRITE, WORKSPACE, TURN_START];
    /// Of an operation that reads a session's log.
    EventProblems: [CALLER, LIST, CURSOR, SESSION, TURN];
    /// Of an operation that waits for a turn's end.
    TurnProblems: [CALLER, BODY, IN_USE, WRITE, WORKSPACE, TURN_START, AGENT, TURN_END];
    /// Of an operation that reads a turn.
    ReadTurnProblems: [CALLER, SESSION, TURN];
    /// Of an operation that cancels a turn.
    CancelTurnProblems: [CALLER, ONCE, SESSION, TURN];
    /// Of an operation that interrupts a session.
    InterruptProblems: [CALLER, ONCE, IN_USE];
    /// Of an operation that reads a question of an agent.
    ReadPermissionProblems: [CALLER, SESSION, PERMISSION];
    /// Of an operation that answers a question of an agent.
    AnswerProblems: [CALLER, ONCE, BODY, IN_USE, WRITE, PERMISSION, ANSWERED];
    /// Of an operation that lists files.
    ListFilesProblems: [CALLER, LIST, SESSION, WORKSPACE, FILE];
    /// Of an operation that looks at a file.
    ReadFileProblems: [CALLER, SESSION, WORKSPACE, FILE];
    /// Of an operation that reads a file.
    ReadContentProblems: [CALLER, SESSION, WORKSPACE, FILE, CONTENT];
    /// Of an operation that finds text in files.
    SearchFilesProblems: [CALLER, SESSION, WORKSPACE, FILE, HEAVY];
    /// Of an operation that packs a folder.
    PackProblems: [CALLER, SESSION, WORKSPACE, FILE, HEAVY];
    /// Of an operation that puts something into a workspace.
    NewFileProblems: [CALLER, ONCE, BODY, IN_USE, WORKSPACE, FILE, NEW_FILE];
    /// Of an operation that removes something.
    RemoveFileProblems: [CALLER, IN_USE, WORKSPACE, FILE, REMOVED_FILE];
    /// Of an operation that writes a file.
    WriteFileProblems: [CALLER, IN_USE, WORKSPACE, FILE, WRITTEN_FILE];
    /// Of an operation that writes several files.
    UploadProblems: [CALLER, IN_USE, WORKSPACE, FILE, WRITTEN_FILE, UPLOAD];
    /// Of an operation that unpacks an archive.
    UnpackProblems: [CALLER, IN_USE, WORKSPACE, FILE, UNPACK, HEAVY];
    /// Of an operation that asks a session's CLI.
    SteeringProblems: [CALLER, IN_USE, WORKSPACE, AGENT, STEERING];
    /// Of an operation that stops a task.
    StopTaskProblems: [CALLER, ONCE, IN_USE, WORKSPACE, AGENT, STEERING];
    /// Of an operation that puts files back.
    RewindProblems: [CALLER, ONCE, BODY, IN_USE, WORKSPACE, AGENT, STEERING, TURN];
    /// Of an operation that forks a session.
    ForkProblems: [CALLER, ONCE, BODY, OPTION, QUOTA, IN_USE, WRITE, WORKSPACE, FORK, CHECKPOINT];
    /// Of an operation that tells what a turn changed.
    TurnDiffProblems: [CALLER, QUERY, SESSION, CHECKPOINT];
    /// Of an operation that goes back to before a turn.
    RewindTurnProblems: [CALLER, ONCE, BODY, IN_USE, WRITE, WORKSPACE, BUSY, CHECKPOINT];
    /// Of an operation that gives a ticket.
    TicketProblems: [CALLER, ONCE, SESSION, WRITE];
    /// Of an operation that opens a WebSocket.
    SocketProblems: [CALLER, LIST, CURSOR, SESSION, TURN, WRITE, SOCKET];
    /// Of an operation that asks how a repository stands.
    GitProblems: [CALLER, IN_USE, WORKSPACE, GIT];
    /// Of an operation that asks what differs.
    GitDiffProblems: [CALLER, LIST, IN_USE, WORKSPACE, GIT, REF];
    /// Of an operation that lists commits.
    GitLogProblems: [CALLER, LIST, IN_USE, WORKSPACE, GIT, REF];
    /// Of an operation that makes a commit.
    CommitProblems: [CALLER, ONCE, BODY, IN_USE, WORKSPACE, GIT, REF, COMMIT];
    /// Of an operation that puts files back.
    RestoreProblems: [CALLER, ONCE, BODY, IN_USE, WORKSPACE, GIT, REF];
    /// Of an operation that makes a link to a session.
    CreateShareProblems: [CALLER, ONCE, BODY, SESSION, NO_SHARES, WRITE];
    /// Of an operation that revokes a link to a session.
    ShareProblems: [CALLER, SESSION, SHARE, WRITE];
    /// Of an operation that makes a webhook.
    CreateWebhookProblems: [CALLER, ONCE, BODY, QUOTA, WRITE];
    /// Of an operation that lists webhooks.
    ListWebhooksProblems: [CALLER, LIST];
    /// Of an operation that looks at, or removes, a webhook.
    WebhookProblems: [CALLER, WEBHOOK, WRITE];
    /// Of an operation that changes a webhook.
    ChangeWebhookProblems: [CALLER, BODY, WEBHOOK, WRITE];
    /// Of an operation that replaces a webhook's secret.
    RotateWebhookProblems: [CALLER, ONCE, WEBHOOK, WRITE];
    /// Of an operation that lists what a webhook has.
    ListWebhookProblems: [CALLER, LIST, WEBHOOK];
    /// Of an operation that sends one message again.
    DeliveryProblems: [CALLER, ONCE, WEBHOOK, DELIVERY, WRITE];
    /// Of an operation that sends messages again.
    RedeliverProblems: [CALLER, ONCE, WEBHOOK, WRITE];
    /// Of an operation that sends events again.
    ReplayProblems: [CALLER, ONCE, BODY, CURSOR, WEBHOOK, SESSION, WRITE];
    /// Of an operation that makes a tenant.
    CreateTenantProblems: [CALLER, ONCE, BODY, WRITE, NEW_TENANT];
    /// Of an operation that looks at a tenant.
    ReadTenantProblems: [CALLER, TENANT];
    /// Of an operation that changes a tenant.
    ChangeTenantProblems: [CALLER, BODY, WRITE, TENANT];
    /// Of an operation that lists what a tenant has.
    ListInTenantProblems: [CALLER, LIST, TENANT];
    /// Of an operation that erases.
    EraseProblems: [CALLER, FIELD, WRITE, TENANT, WORKSPACE];
    /// Of an operation that hands out what belongs to somebody.
    ExportProblems: [CALLER, FIELD, TENANT];
    /// Of an operation that makes a key.
    CreateKeyProblems: [CALLER, ONCE, BODY, WRITE, TENANT, NEW_KEY];
    /// Of an operation that looks at, or revokes, a key.
    KeyProblems: [CALLER, WRITE, TENANT, KEY];
    /// Of an operation that sets a budget.
    SetBudgetProblems: [CALLER, BODY, WRITE, TENANT, BUDGETS_FULL];
    /// Of an operation that removes a budget.
    BudgetProblems: [CALLER, WRITE, TENANT, BUDGET];
    /// Of an operation that tells usage.
    UsageProblems: [CALLER, USAGE];
    /// Of an operation that tells who calls.
    MeProblems: [CALLER];
    /// Of an operation that looks at, or removes, a tenant's credential.
    CredentialProblems: [CALLER, WRITE, CREDENTIAL];
    /// Of an operation that sets a tenant's credential.
    SetCredentialProblems: [CALLER, BODY, WRITE, TENANT, SEALING];
    /// Of an operation that tells figures.
    MetricsProblems: [CALLER];
    /// Of an operation that asks the CLI.
    ModelsProblems: [CALLER, AGENT];
}

fn responses(groups: &[&[Code]]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<&'static str>> = BTreeMap::new();
    for code in groups.iter().copied().flatten() {
        by_status
            .entry(code.status().as_u16())
            .or_default()
            .push(code.into());
    }
    by_status
        .into_iter()
        .map(|(status, codes)| (status.to_string(), response(&codes.join(", ")).into()))
        .collect()
}

fn response(codes: &str) -> Response {
    let problem = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    ResponseBuilder::new()
        .description(codes)
        .content(PROBLEM_JSON, problem)
        .build()
}
