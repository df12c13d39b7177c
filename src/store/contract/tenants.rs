//! Tenants, their keys, and the audit of what is done to them. What is audited is entered in the same step as the change.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::rate::{Rate, Taken};
use crate::domain::{
    ApiKey, AuditEntry, AuditHash, AuditNote, KeyDigest, KeyId, Tenant, TenantChange, TenantId, TenantName,
    UserId,
};
use crate::store::Result;

/// Tenants.
#[async_trait]
pub trait TenantStore: Send + Sync {
    /// The tenant of that name: the one that is stored, else `tenant`, which is then stored.
    async fn ensure_tenant(&self, tenant: &Tenant) -> Result<Tenant>;

    /// Stores a new tenant; whether it did: not when another has the name.
    async fn insert_tenant(&self, tenant: &Tenant, note: &AuditNote) -> Result<bool>;

    /// Changes a tenant and answers it as it then is. `None` when there is none.
    async fn update_tenant(
        &self,
        tenant: TenantId,
        change: &TenantChange,
        note: &AuditNote,
    ) -> Result<Option<Tenant>>;

    /// The tenant of that name.
    async fn find_tenant(&self, name: &TenantName) -> Result<Option<Tenant>>;

    /// The tenant of that id.
    async fn get_tenant(&self, id: TenantId) -> Result<Option<Tenant>>;

    /// Up to `limit` tenants by their names, of those after `after`.
    async fn list_tenants(&self, after: Option<&TenantName>, limit: u32) -> Result<Vec<Tenant>>;
}

/// Keys.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Stores a key; whether it did: not when a living key of the tenant has the name.
    async fn insert_key(&self, tenant: TenantId, key: &ApiKey, note: &AuditNote) -> Result<bool>;

    /// The key of this digest and whose it is, whether or not it still lives. The one lookup without a tenant: it is
    /// what finds the tenant.
    async fn find_key(&self, digest: KeyDigest) -> Result<Option<(TenantId, ApiKey)>>;

    /// The key of this id.
    async fn get_key(&self, tenant: TenantId, id: KeyId) -> Result<Option<ApiKey>>;

    /// Up to `limit` keys of a tenant, newest first, of those before `before`.
    async fn list_keys(&self, tenant: TenantId, before: Option<KeyId>, limit: u32) -> Result<Vec<ApiKey>>;

    /// Revokes a key and answers it as it then is; one that is revoked stays as it was, and nothing is noted. `None` when
    /// there is none.
    async fn revoke_key(
        &self,
        tenant: TenantId,
        id: KeyId,
        at: DateTime<Utc>,
        note: &AuditNote,
    ) -> Result<Option<ApiKey>>;

    /// Notes that a key was used.
    async fn note_key_use(&self, tenant: TenantId, id: KeyId, at: DateTime<Utc>) -> Result<()>;

    /// Whether there is a key that is not revoked, of any tenant.
    async fn has_key(&self) -> Result<bool>;
}

/// The audit: one chain for the platform, in which each entry is bound to the one before.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Enters notes that go with no change of the store's.
    async fn append_audit(&self, notes: &[AuditNote]) -> Result<()>;

    /// Up to `limit` entries, newest first, of those before `before`; a tenant's alone where one is given.
    async fn list_audit(
        &self,
        tenant: Option<TenantId>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>>;

    /// Up to `limit` entries in their order, of those after `after`.
    async fn read_audit(&self, after: u64, limit: u32) -> Result<Vec<AuditEntry>>;

    /// The number and the hash of the last entry, as they were kept beside the entries.
    async fn audit_head(&self) -> Result<Option<(u64, AuditHash)>>;
}

/// How often things are done, where servers count together.
#[async_trait]
pub trait RateStore: Send + Sync {
    /// Takes up to `wanted` from a bucket, which is full when nobody has taken from it.
    async fn take_tokens(&self, bucket: &str, rate: Rate, wanted: u32, now: DateTime<Utc>) -> Result<Taken>;

    /// Forgets up to `limit` buckets that are full; how many.
    async fn forget_buckets(&self, now: DateTime<Utc>, limit: u32) -> Result<u64>;
}

/// What stands in the ledger in the place of a user who was erased.
pub const ERASED: &str = "erased";

/// Erasing what belongs to a user, or to a tenant.
#[async_trait]
pub trait ErasureStore: Send + Sync {
    /// Removes a user's sessions with all that they have, its keys and its budgets, and what requests of the tenant were
    /// answered with; in the ledger, [`ERASED`] takes the user's place. How many sessions. Their logs and transcripts are
    /// unreachable from then on, and freed by [`PlatformStore::purge_removed`].
    ///
    /// [`PlatformStore::purge_removed`]: super::PlatformStore::purge_removed
    async fn erase_user(&self, tenant: TenantId, user: &UserId, note: &AuditNote) -> Result<u64>;

    /// The same for all of a tenant's users, and for its keys, budgets, credential, policy and limits. What is left is the
    /// tenant's id, under this name and suspended, for the ledger and the audit.
    async fn erase_tenant(&self, tenant: TenantId, name: &TenantName, note: &AuditNote) -> Result<u64>;

    /// Takes what was removed out of the store's own files, as far as the store can be told to.
    async fn scrub(&self) -> Result<()>;
}
