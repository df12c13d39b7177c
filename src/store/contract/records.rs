//! Permissions, and records of requests that must not be done twice.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::{
    AuditNote, Permission, PermissionId, PermissionResolution, SessionId, StoredCredential, TenantId, UserId,
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

    /// Answers a question, and tells how it stands then: the first answer stays, and that alone is noted. `None` when
    /// there is no such question.
    async fn resolve_permission(
        &self,
        tenant: TenantId,
        id: PermissionId,
        resolution: &PermissionResolution,
        note: Option<&AuditNote>,
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
    async fn set_model_credential(
        &self,
        tenant: TenantId,
        credential: &StoredCredential,
        note: &AuditNote,
    ) -> Result<()>;

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
    async fn remove_model_credential(&self, tenant: TenantId, note: &AuditNote) -> Result<bool>;
}
