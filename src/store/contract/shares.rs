//! Links by which sessions are shown.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::{AuditNote, KeyDigest, SessionId, Share, ShareId, TenantId};
use crate::store::Result;

/// Links by which sessions are shown. They are removed with their session.
#[async_trait]
pub trait ShareStore: Send + Sync {
    /// Stores a link.
    ///
    /// # Errors
    /// `SessionGone` when the session is not there; then nothing is noted.
    async fn insert_share(&self, tenant: TenantId, share: &Share, note: &AuditNote) -> Result<()>;

    /// The link whose token has this digest and whose it is, whether or not it still lives. Like a key's digest, it is what
    /// finds the tenant.
    async fn find_share(&self, digest: KeyDigest) -> Result<Option<(TenantId, Share)>>;

    /// The link of this id.
    async fn get_share(&self, tenant: TenantId, id: ShareId) -> Result<Option<Share>>;

    /// Up to `limit` links, newest first, of those before `before`; of one session alone where it is given.
    async fn list_shares(
        &self,
        tenant: TenantId,
        session: Option<SessionId>,
        before: Option<ShareId>,
        limit: u32,
    ) -> Result<Vec<Share>>;

    /// Revokes a link of a session's and answers it as it then is; one that is revoked stays as it was, and nothing is noted.
    /// `None` when there is none.
    async fn revoke_share(
        &self,
        tenant: TenantId,
        id: ShareId,
        at: DateTime<Utc>,
        note: &AuditNote,
    ) -> Result<Option<Share>>;
}
