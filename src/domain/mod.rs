//! Plain types that every layer speaks: ids, principals, sessions, turns, events, usage, money, time.
//!
//! Nothing here does IO, and nothing here uses another module of the project. A value of one of these types is
//! valid by construction: text from outside becomes a [`UserId`] or a [`Subdir`] by being parsed, once.

pub mod attachment;
pub mod audit;
pub mod budget;
pub mod checkpoint;
pub mod clock;
pub mod credential;
mod dialect;
pub mod diff;
pub mod event;
pub mod event_id;
pub mod file_path;
pub mod git;
pub mod ids;
pub mod instance;
pub mod key;
pub mod ledger;
pub mod money;
pub mod names;
pub mod options;
pub mod page;
pub mod pattern;
pub mod permission;
pub mod principal;
pub mod rate;
pub mod session;
pub mod share;
pub mod tenant;
pub mod transcript;
pub mod turn;
pub mod usage;
pub mod webhook;

pub use attachment::Attachment;
pub use audit::{AuditAction, AuditEntry, AuditHash, AuditNote};
pub use budget::{
    Amount, Budget, BudgetNotice, BudgetPeriod, BudgetScope, BudgetStanding, BudgetVerdict, BudgetWarning,
    Reserved,
};
pub use checkpoint::{Checkpoint, CheckpointFailure, Moment};
pub use clock::{Clock, ManualClock, SharedClock, SystemClock};
pub use credential::{CredentialKind, StoredCredential};
pub use dialect::Dialect;
pub use diff::{Diff, DiffHunk, DiffLine, DiffLineKind, FileDiff, FileDiffStatus};
pub use event::{Event, EventBody, EventKind, EventQuery, WaitsFor};
pub use event_id::{Epoch, EventId};
pub use file_path::FilePath;
pub use git::{CommitId, GitChange, GitChangeKind, GitCommit, GitStatus, InvalidCommitId, LogPlace};
pub use ids::{
    BudgetId, ClaudeSessionId, EntryId, InstanceId, KeyId, PermissionId, SessionId, ShareId, TenantId,
    TurnId, WebhookId,
};
pub use instance::{Claim, Instance, InstanceName, SessionStanding};
pub use key::{ApiKey, KeyDigest};
pub use ledger::{LedgerEntry, Payer, Reservation, Spender, UsageGroup, UsageQuery, UsageSum};
pub use money::MicroUsd;
pub use names::{InvalidName, Subdir, TenantName, UserId};
pub use options::{Effort, PermissionMode, Plugin, SessionOptions, SettingSource, hide_mcp_secrets};
pub use page::Page;
pub use permission::{
    Permission, PermissionDecision, PermissionKind, PermissionResolution, PermissionRule, RuleDecision,
};
pub use principal::{Guest, Principal, Role};
pub use session::{Activity, Session, SessionChange, SessionFilter, SessionStatus};
pub use share::Share;
pub use tenant::{
    OnLostTurn, Room, SessionQuota, Tenant, TenantChange, TenantLimits, TenantNetwork, TenantPolicy,
};
pub use transcript::{
    BadEntry, EntryPlace, InvalidPath, Transcript, TranscriptEntry, TranscriptFile, TranscriptPath,
};
pub use turn::{Reported, ToolCall, Turn, TurnError, TurnErrorCode, TurnOutcome, TurnReceipt, TurnStatus};
pub use usage::Usage;
pub use webhook::{
    Delivery, DeliveryAttempt, DeliveryStatus, Disabled, DisabledReason, InvalidMessageId, MessageId,
    Redelivery, Webhook, WebhookChange,
};
