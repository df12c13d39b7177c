//! Use cases: what the platform does, without HTTP. Every method takes the caller first and decides itself what of
//! the tenant's data the caller may see; a foreign id answers like an unknown one.

mod attachments;
mod authentication;
mod beginning;
mod checkpoints;
mod conversation;
mod credentials;
mod delivering;
mod delivery_metrics;
mod erasure;
mod error;
mod events;
mod failures;
mod files;
mod forking;
mod git;
mod health;
mod housekeeping;
mod idempotency;
mod log_reader;
mod log_stream;
mod metrics;
mod models;
mod peers;
mod permissions;
mod process_metrics;
mod sessions;
mod shares;
mod spending;
mod standing;
mod steering;
mod tenants;
mod turn_stream;
mod turns;
mod webhooks;

use std::sync::Arc;

pub use crate::agent::feed::FeedItem;
pub use crate::agent::{OnBusy, OnLost};
pub use crate::checkpoints::{CheckpointError, DiffOrder};
pub use crate::cluster::PeerRequest;
pub use crate::files::listing::{Glob, Held, ListOrder, Position};
pub use crate::files::packing::ArchiveFormat;
pub use crate::files::searching::{Hit, Hits, SearchLimits, SearchOrder};
pub use crate::files::unpacking::{UnpackLimits, Unpacked};
pub use crate::files::{Entry, EntryKind, Expected, FileError};
pub use crate::limits::{Counted, Limits, Standing};
pub use crate::security::keys::KeyIdentity;
pub use crate::security::signing::hmac_by;
pub use crate::security::workspace::WorkspaceError;
pub use crate::security::workspace_copy::{CopyError, CopyLimits};
pub use crate::store::StoreError;
pub use attachments::{NewAttachment, is_supported};
pub use authentication::{AuthenticationRules, AuthenticationService, Unauthenticated};
pub use beginning::{Beginning, BeginningService, Template};
pub use checkpoints::{CheckpointService, RewindOrder};
pub use credentials::{CredentialInfo, CredentialService, ResealError, reseal};
pub use delivering::{DeliveryRules, Dispatcher};
pub use delivery_metrics::DeliveryMetrics;
pub use erasure::{Erased, ErasureService};
pub use error::Error;
pub use events::{EventOrder, EventRules, EventService};
pub use files::{FileRules, FileService, IncomingArchive, Writing, WrittenFile};
pub use forking::{ForkOrder, ForkService};
pub use git::{
    CloneRules, CommitOrder, GitCredential, GitDiffOrder, GitRules, GitService, RestoreOrder, SourceOrder,
};
pub use health::{HealthReport, HealthService, ModelAccess};
pub use housekeeping::{Housekeeping, KeepRules, Swept};
pub use idempotency::{Idempotency, Once};
pub use log_stream::LogStream;
pub use metrics::{METRICS_TYPE, MetricsService};
pub use models::{ModelInfo, ModelService};
pub use peers::PeerService;
pub use permissions::{PermissionAnswer, PermissionService};
pub use sessions::{NewSession, SessionDetails, SessionQuery, SessionRules, SessionService, SessionState};
pub use shares::ShareService;
pub use spending::{BudgetOrder, SpendingService, UsageFilter};
pub use standing::Over;
pub use steering::{Rewound, SteeringService};
pub use tenants::{AuditBroken, AuditRecord, NewKey, TenantService, verify_audit};
pub use turns::{TurnDetails, TurnOrder, TurnRules, TurnService};
pub use webhooks::{NewWebhook, WebhookOrder, WebhookRules, WebhookService};

/// All use cases, as the layers above hold them.
#[derive(Debug, Clone)]
pub struct Services {
    /// Sessions and their history.
    pub sessions: Arc<SessionService>,
    /// Turns.
    pub turns: Arc<TurnService>,
    /// Reading sessions' logs.
    pub events: Arc<EventService>,
    /// Files of workspaces.
    pub files: Arc<FileService>,
    /// What workspaces were like before and after turns.
    pub checkpoints: Arc<CheckpointService>,
    /// Repositories in workspaces.
    pub git: Arc<GitService>,
    /// Sessions whose workspaces begin with something.
    pub beginnings: Arc<BeginningService>,
    /// Forks of sessions.
    pub forks: Arc<ForkService>,
    /// Live agents, outside the conversation.
    pub steering: Arc<SteeringService>,
    /// Links by which sessions are shown.
    pub shares: Arc<ShareService>,
    /// What agents ask.
    pub permissions: Arc<PermissionService>,
    /// Tenants, their keys, and the audit.
    pub tenants: Arc<TenantService>,
    /// Erasing users and tenants.
    pub erasure: Arc<ErasureService>,
    /// Webhooks.
    pub webhooks: Arc<WebhookService>,
    /// What other instances ask.
    pub peers: Arc<PeerService>,
    /// Requests that are sent again.
    pub idempotency: Arc<Idempotency>,
    /// Budgets, and what was spent.
    pub spending: Arc<SpendingService>,
    /// Tenants' own credentials for the model's API.
    pub credentials: Arc<CredentialService>,
    /// Models.
    pub models: Arc<ModelService>,
    /// What is counted and measured.
    pub metrics: Arc<MetricsService>,
    /// Who calls.
    pub authentication: Arc<AuthenticationService>,
    /// How the server is.
    pub health: Arc<HealthService>,
}
