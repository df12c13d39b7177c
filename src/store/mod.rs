//! Storage: narrow traits, composed into one [`Store`], and their implementations.
//!
//! What is written here outlives the process; an answer of `Ok` means that it is durable. Every method that touches
//! a tenant's data takes the tenant first, and a row of another tenant is the same as no row. Each write to a
//! session's turns, log or transcript carries the [`Epoch`](crate::domain::Epoch) under which its writer owns the
//! session; a stale one is refused.
//!
//! Start reading at [`contract`], which says what every store does. [`memory`] is the plainest store that does it;
//! [`sql`] is one body of SQL for two engines, [`sqlite`] and [`postgres`], each of which is one small file.
//! `conformance` holds all three to the same cases. [`archive`] moves everything from one store to another.

pub mod archive;
#[cfg(test)]
mod conformance;
pub mod contract;
mod deltas;
mod error;
pub mod memory;
mod metrics;
pub mod postgres;
pub mod sql;
pub mod sqlite;
mod terms;

pub use contract::{
    AuditStore, Begun, BudgetStore, CredentialStore, ERASED, ErasureStore, EventLog, IdempotencyStore,
    KeyStore, LogBounds, PermissionFilter, PermissionStore, PlatformStore, RateStore, RequestAnswer,
    RestoreStore, SessionStore, ShareStore, Store, TenantStore, TranscriptAppended, TranscriptStore,
    TrimKind, TurnEnd, TurnStore, UsageLedger, WebhookStore,
};
pub use error::StoreError;
pub use metrics::StoreMetrics;

/// What store methods answer.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Refuses text that not every store can keep.
fn storable(what: &'static str, text: Option<&str>) -> Result<()> {
    if text.is_some_and(|text| text.contains('\0')) {
        Err(StoreError::Unstorable { what })
    } else {
        Ok(())
    }
}
