//! What every store does. Each trait is narrow, and all of them together are a [`Store`].

mod money;
mod platform;
mod records;
mod sessions;
mod shares;
mod tenants;
mod transcripts;
mod turns;
mod webhooks;

use std::fmt::Debug;

pub use money::{BudgetStore, UsageLedger};
pub use platform::{PlatformStore, RestoreStore};
pub use records::{Begun, CredentialStore, IdempotencyStore, PermissionFilter, PermissionStore};
pub use sessions::SessionStore;
pub use shares::ShareStore;
pub use tenants::{AuditStore, ERASED, ErasureStore, KeyStore, RateStore, TenantStore};
pub(in crate::store) use transcripts::parse_lines;
pub use transcripts::{TranscriptAppended, TranscriptStore};
pub use turns::{EventLog, LogBounds, RequestAnswer, TrimKind, TurnEnd, TurnStore};
pub use webhooks::WebhookStore;

/// All of it: what the layers above hold.
pub trait Store:
    TenantStore
    + SessionStore
    + TurnStore
    + EventLog
    + TranscriptStore
    + PermissionStore
    + KeyStore
    + ShareStore
    + AuditStore
    + ErasureStore
    + RateStore
    + UsageLedger
    + BudgetStore
    + CredentialStore
    + IdempotencyStore
    + WebhookStore
    + RestoreStore
    + PlatformStore
    + Debug
    + Send
    + Sync
{
}

impl<T> Store for T where
    T: TenantStore
        + SessionStore
        + TurnStore
        + EventLog
        + TranscriptStore
        + PermissionStore
        + KeyStore
        + ShareStore
        + AuditStore
        + ErasureStore
        + RateStore
        + UsageLedger
        + BudgetStore
        + CredentialStore
        + IdempotencyStore
        + WebhookStore
        + RestoreStore
        + PlatformStore
        + Debug
        + Send
        + Sync
{
}
