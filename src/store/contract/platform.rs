//! What concerns the whole platform and no tenant alone.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::{Epoch, SessionId, TenantId};
use crate::store::archive::Record;
use crate::store::{Result, StoreMetrics};

/// What concerns the whole platform and no tenant alone.
#[async_trait]
pub trait PlatformStore: Send + Sync {
    /// The name of the backend: `memory`, `sqlite` or `postgresql`.
    fn backend(&self) -> &'static str;

    /// What is counted and measured of it.
    fn metrics(&self) -> &StoreMetrics;

    /// Whether it answers.
    async fn ping(&self) -> Result<()>;

    /// How many sessions are active and, where a time is given, were last used after it.
    async fn count_active_sessions(&self, used_after: Option<DateTime<Utc>>) -> Result<u64>;

    /// Up to `limit` sessions that have a turn without outcome.
    async fn sessions_with_unfinished_turns(
        &self,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<(TenantId, SessionId)>>;

    /// Up to `limit` sessions that were last used at `unused_since` or before and have no turn without outcome, those
    /// that were not used for longest first.
    async fn unused_sessions(
        &self,
        unused_since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<(TenantId, SessionId)>>;

    /// Frees up to about `limit` rows that removed sessions left; how many. Zero means that there are no more.
    async fn purge_removed(&self, limit: u32) -> Result<u64>;

    /// Answers up to `limit` questions that ended at `now` or before with `expired`; how many.
    async fn expire_permissions(&self, now: DateTime<Utc>, limit: u32) -> Result<u64>;

    /// Forgets up to `limit` requests that began before `before`; how many.
    async fn forget_requests(&self, before: DateTime<Utc>, limit: u32) -> Result<u64>;

    /// The secret of that name: the one that is stored, else `new`, which is then stored.
    async fn ensure_secret(&self, name: &str, new: [u8; 32]) -> Result<[u8; 32]>;

    /// Lets go of everything it holds, in order. It is not used afterwards.
    async fn close(&self);
}

/// How everything moves from one store to another; see [`archive`](crate::store::archive).
#[async_trait]
pub trait RestoreStore: Send + Sync {
    /// Whether there is no tenant.
    async fn is_empty(&self) -> Result<bool>;

    /// The epoch of a session.
    async fn session_epoch(&self, tenant: TenantId, id: SessionId) -> Result<Option<Epoch>>;

    /// Up to `limit` questions of a tenant, with or without answers, oldest first, of those after `after`.
    async fn list_permissions(
        &self,
        tenant: TenantId,
        after: Option<crate::domain::PermissionId>,
        limit: u32,
    ) -> Result<Vec<crate::domain::Permission>>;

    /// Stores records as they are, in one step. They come in the order of the archive: each after what it belongs to.
    async fn restore(&self, records: &[Record]) -> Result<()>;
}
