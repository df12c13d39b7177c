//! Sessions.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::{
    Epoch, Page, Room, Session, SessionChange, SessionFilter, SessionId, SessionQuota, TenantId,
};
use crate::store::Result;

/// Sessions.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Stores a new session. Its log is empty and its epoch zero.
    ///
    /// # Errors
    /// `Unstorable` for a title that holds NUL.
    async fn insert_session(&self, tenant: TenantId, session: &Session) -> Result<()>;

    /// The same, in one step with counting, if there is room for it; what was found.
    async fn insert_session_within(
        &self,
        tenant: TenantId,
        session: &Session,
        quota: &SessionQuota,
    ) -> Result<Room>;

    /// The session, whatever its status.
    async fn find_session(&self, tenant: TenantId, id: SessionId) -> Result<Option<Session>>;

    /// Up to `limit` sessions, newest first, of those made before `before`. The page's key is the last one's id.
    async fn list_sessions(
        &self,
        tenant: TenantId,
        filter: &SessionFilter,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Page<Session, SessionId>>;

    /// Changes an active session and answers it as it then is; `None` when there is none, or it is closed.
    async fn update_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        change: &SessionChange,
    ) -> Result<Option<Session>>;

    /// Marks an active session as used, and answers whether there is one. Time never goes back.
    async fn touch_session(&self, tenant: TenantId, id: SessionId, at: DateTime<Utc>) -> Result<bool>;

    /// Closes a session and answers it as it then is; one that is closed stays as it was. `None` when there is none.
    async fn close_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        at: DateTime<Utc>,
    ) -> Result<Option<Session>>;

    /// Takes the ownership of a session's log from whoever has it: raises its epoch by one, and answers
    /// the new epoch; `None` when there is no such session. Whoever held it is refused from now on.
    async fn acquire_session(&self, tenant: TenantId, id: SessionId) -> Result<Option<Epoch>>;

    /// Removes a session that was last used at `unused_since` or before and has no turn without outcome; whether it
    /// did. Its log and transcript are unreachable from then on, and freed by [`PlatformStore::purge_removed`].
    ///
    /// [`PlatformStore::purge_removed`]: super::PlatformStore::purge_removed
    async fn remove_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        unused_since: DateTime<Utc>,
    ) -> Result<bool>;
}
