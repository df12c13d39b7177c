//! Permissions, keys, the ledger of usage, and records of requests that must not be done twice.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::{
    ApiKey, KeyDigest, KeyId, Permission, PermissionId, PermissionResolution, SessionId, StoredCredential,
    TenantId, UsageQuery, UsageRecord, UsageSum, UserId,
};
use crate::store::Result;

/// Questions of agents whether they may use tools.
#[async_trait]
pub trait PermissionStore: Send + Sync {
    /// Stores a question that waits for its answer.
    ///
    /// # Errors
    /// `SessionGone` when the session is not there.
    async fn insert_permission(&self, tenant: TenantId, permission: &Permission) -> Result<()>;

    /// The question.
    async fn find_permission(&self, tenant: TenantId, id: PermissionId) -> Result<Option<Permission>>;

    /// Up to `limit` questions without an answer, oldest first, of those after `after`.
    async fn list_pending_permissions(
        &self,
        tenant: TenantId,
        filter: &PermissionFilter,
        after: Option<PermissionId>,
        limit: u32,
    ) -> Result<Vec<Permission>>;

    /// Answers a question, and tells how it stands then: the first answer stays. `None` when there is no such
    /// question.
    async fn resolve_permission(
        &self,
        tenant: TenantId,
        id: PermissionId,
        resolution: &PermissionResolution,
    ) -> Result<Option<Permission>>;
}

/// Which questions a list holds. `None` does not filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PermissionFilter {
    /// Those of this session.
    pub session: Option<SessionId>,
    /// Those of this user's sessions.
    pub user: Option<UserId>,
}

/// Keys.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Stores a key; whether it did: not when a living key of the tenant has the name.
    async fn insert_key(&self, tenant: TenantId, key: &ApiKey) -> Result<bool>;

    /// The key of this digest and whose it is, whether or not it still lives. The one lookup without a tenant: it is
    /// what finds the tenant.
    async fn find_key(&self, digest: KeyDigest) -> Result<Option<(TenantId, ApiKey)>>;

    /// Up to `limit` keys of a tenant, newest first, of those before `before`.
    async fn list_keys(&self, tenant: TenantId, before: Option<KeyId>, limit: u32) -> Result<Vec<ApiKey>>;

    /// Revokes a key and answers it as it then is; one that is revoked stays as it was. `None` when there is none.
    async fn revoke_key(&self, tenant: TenantId, id: KeyId, at: DateTime<Utc>) -> Result<Option<ApiKey>>;

    /// Notes that a key was used.
    async fn note_key_use(&self, tenant: TenantId, id: KeyId, at: DateTime<Utc>) -> Result<()>;
}

/// The ledger: who used how much.
#[async_trait]
pub trait UsageLedger: Send + Sync {
    /// Enters records. Of one of a turn and model that is entered already, the larger figures stand: entering the same
    /// twice changes nothing, and figures that grow may come in any order.
    async fn record_usage(&self, tenant: TenantId, records: &[UsageRecord]) -> Result<()>;

    /// Sums of the records that match, in the order of what they are told apart by.
    async fn sum_usage(&self, tenant: TenantId, query: &UsageQuery) -> Result<Vec<UsageSum>>;

    /// Up to `limit` records in the order of their turns and models, of those after `after`.
    async fn list_usage(
        &self,
        tenant: TenantId,
        after: Option<&UsageRecord>,
        limit: u32,
    ) -> Result<Vec<UsageRecord>>;
}

/// What comes of beginning a request under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is new, or the one that began it is given up: do it.
    New,
    /// It is being done.
    InProgress,
    /// It was done; this was answered.
    Done(Vec<u8>),
    /// The key was used for another request.
    Different,
}

/// Requests that must not be done twice, by the keys that clients give them.
#[async_trait]
pub trait IdempotencyStore: Send + Sync {
    /// Begins a request. One that began before `given_up` and is not done may be begun again.
    async fn begin_request(
        &self,
        tenant: TenantId,
        key: &str,
        fingerprint: [u8; 32],
        now: DateTime<Utc>,
        given_up: DateTime<Utc>,
    ) -> Result<Begun>;

    /// Keeps what a request was answered with.
    async fn finish_request(&self, tenant: TenantId, key: &str, answer: &[u8]) -> Result<()>;

    /// Forgets a request that was not done, so that it may be sent again.
    async fn forget_request(&self, tenant: TenantId, key: &str) -> Result<()>;
}

/// Tenants' own credentials for the model's API, sealed.
#[async_trait]
pub trait CredentialStore: Send + Sync {
    /// Stores the tenant's credential in place of the one it had.
    async fn set_model_credential(&self, tenant: TenantId, credential: &StoredCredential) -> Result<()>;

    /// Stores the same credential, sealed anew, unless another was set meanwhile; whether it did.
    async fn replace_model_credential(
        &self,
        tenant: TenantId,
        old: &StoredCredential,
        new: &StoredCredential,
    ) -> Result<bool>;

    /// The tenant's credential.
    async fn find_model_credential(&self, tenant: TenantId) -> Result<Option<StoredCredential>>;

    /// Removes the tenant's credential; whether there was one.
    async fn remove_model_credential(&self, tenant: TenantId) -> Result<bool>;
}
