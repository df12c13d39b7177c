//! Storage: narrow traits, composed into one [`Store`], and their implementations.
//!
//! What is written here outlives the process; an answer of `Ok` means that it is durable. Every method that touches
//! a tenant's data takes the tenant first, and a row of another tenant is the same as no row. Each write to a
//! session's turns or log carries the [`Epoch`] under which its writer owns the session; a stale one is refused.

#[cfg(test)]
mod conformance;
mod error;
pub mod memory;
pub mod sqlite;

use std::fmt::Debug;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::{
    ClaudeSessionId, Epoch, Event, EventId, EventKind, Page, Session, SessionChange, SessionFilter,
    SessionId, Tenant, TenantId, Turn, TurnId, TurnOutcome,
};

pub use error::StoreError;

/// What store methods answer.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Tenants.
#[async_trait]
pub trait TenantStore: Send + Sync {
    /// The tenant of that name: the one that is stored, else `tenant`, which is then stored.
    async fn ensure_tenant(&self, tenant: &Tenant) -> Result<Tenant>;
}

/// Sessions.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Stores a new session. Its log is empty and its epoch zero.
    async fn insert_session(&self, tenant: TenantId, session: &Session) -> Result<()>;

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

    /// Closes a session and answers it as it then is; one that is closed stays as it was. `None` when there is none.
    async fn close_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        at: DateTime<Utc>,
    ) -> Result<Option<Session>>;

    /// Takes the ownership of a session's log: raises its epoch by one and answers the new one; `None` when there
    /// is no such session. Whoever held it before is refused from now on.
    async fn acquire_session(&self, tenant: TenantId, id: SessionId) -> Result<Option<Epoch>>;
}

/// Turns. At most one turn of a session has no outcome.
#[async_trait]
pub trait TurnStore: Send + Sync {
    /// In one step: stores a turn without outcome, appends `events`, counts the prompt and marks the session as used
    /// at `turn.started_at`. Refused for a closed session, and while another turn has no outcome.
    async fn begin_turn(&self, tenant: TenantId, epoch: Epoch, turn: &Turn, events: &[Event]) -> Result<()>;

    /// In one step: stores a turn's outcome, appends `events`, marks the session as used at the turn's end, and notes
    /// what the CLI told of the conversation. A turn that has an outcome keeps it.
    async fn finish_turn(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        end: &TurnEnd,
        events: &[Event],
    ) -> Result<()>;

    /// The turn.
    async fn find_turn(&self, tenant: TenantId, session: SessionId, id: TurnId) -> Result<Option<Turn>>;

    /// The turns of a session that have no outcome: one that runs, or one that its server did not live to finish.
    async fn unfinished_turns(&self, tenant: TenantId, session: SessionId) -> Result<Vec<Turn>>;
}

/// What is stored when a turn ends.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnEnd {
    /// The turn's session.
    pub session: SessionId,
    /// The turn.
    pub turn: TurnId,
    /// How it ended.
    pub outcome: TurnOutcome,
    /// The CLI's id of the conversation as the turn left it; `None` leaves what is stored.
    pub claude_session_id: Option<ClaudeSessionId>,
    /// Whether the CLI answered in it. Once true, a session's flag stays true.
    pub conversation_started: bool,
}

/// The log of a session's durable events.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Appends events in the order given. Their ids must rise, and lie above all that are stored.
    async fn append_events(
        &self,
        tenant: TenantId,
        session: SessionId,
        epoch: Epoch,
        events: &[Event],
    ) -> Result<()>;

    /// Up to `limit` events after `after`, in order; only those of `kinds`, unless that is empty.
    async fn read_events(
        &self,
        tenant: TenantId,
        session: SessionId,
        after: EventId,
        kinds: &[EventKind],
        limit: u32,
    ) -> Result<Vec<Event>>;
}

/// What concerns the whole platform and no tenant alone.
#[async_trait]
pub trait PlatformStore: Send + Sync {
    /// The name of the backend: `memory`, `sqlite` or `postgresql`.
    fn backend(&self) -> &'static str;

    /// Whether it answers.
    async fn ping(&self) -> Result<()>;

    /// How many sessions are active.
    async fn count_active_sessions(&self) -> Result<u64>;

    /// Up to `limit` sessions that have a turn without outcome.
    async fn sessions_with_unfinished_turns(&self, limit: u32) -> Result<Vec<(TenantId, SessionId)>>;

    /// Lets go of everything it holds, in order. It is not used afterwards.
    async fn close(&self);
}

/// All of it: what the layers above hold.
pub trait Store:
    TenantStore + SessionStore + TurnStore + EventLog + PlatformStore + Debug + Send + Sync
{
}

impl<T> Store for T where
    T: TenantStore + SessionStore + TurnStore + EventLog + PlatformStore + Debug + Send + Sync
{
}
