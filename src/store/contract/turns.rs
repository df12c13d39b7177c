//! Turns and the log of events.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::{
    ClaudeSessionId, Epoch, Event, EventId, EventQuery, LedgerEntry, Page, SessionId, TenantId, Turn, TurnId,
    TurnOutcome,
};
use crate::store::Result;

/// Turns. At most one turn of a session has begun and has no outcome; others may wait for it.
#[async_trait]
pub trait TurnStore: Send + Sync {
    /// In one step: stores a turn that is yet to begin, appends `events`, and keeps what the request that asks for it is
    /// answered with, if that may be sent again. Refused for a closed session.
    ///
    /// # Errors
    /// As [`TurnStore::begin_turn`].
    async fn queue_turn_once(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        turn: &Turn,
        events: &[Event],
        answer: Option<&RequestAnswer>,
    ) -> Result<()>;

    /// The same, for a request that is not sent again.
    async fn queue_turn(&self, tenant: TenantId, epoch: Epoch, turn: &Turn, events: &[Event]) -> Result<()> {
        self.queue_turn_once(tenant, epoch, turn, events, None).await
    }

    /// In one step: stores a turn that has begun, be it new or queued, appends `events`, counts the prompt and marks the
    /// session as used at `turn.started_at`. Refused for a closed session, and while another turn that has begun has no
    /// outcome.
    ///
    /// # Errors
    /// `Unstorable` for a prompt that holds NUL; besides those of [`EventLog::append_events`].
    async fn begin_turn(&self, tenant: TenantId, epoch: Epoch, turn: &Turn, events: &[Event]) -> Result<()> {
        self.begin_turn_once(tenant, epoch, turn, events, None).await
    }

    /// The same; and in the same step keeps what the request that asks for it is answered with.
    async fn begin_turn_once(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        turn: &Turn,
        events: &[Event],
        answer: Option<&RequestAnswer>,
    ) -> Result<()>;

    /// In one step: stores a turn's outcome, appends `events`, enters its usage in the ledger, marks the session as
    /// used at the turn's end, and notes what the CLI told of the conversation. A turn that has an outcome keeps it.
    async fn finish_turn(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        end: &TurnEnd,
        events: &[Event],
    ) -> Result<()>;

    /// The turn.
    async fn find_turn(&self, tenant: TenantId, session: SessionId, id: TurnId) -> Result<Option<Turn>>;

    /// Up to `limit` turns of a session, newest first, of those before `before`. The page's key is the last one's id.
    async fn list_turns(
        &self,
        tenant: TenantId,
        session: SessionId,
        before: Option<TurnId>,
        limit: u32,
    ) -> Result<Page<Turn, TurnId>>;

    /// The turns of a session that have no outcome, in their order: one that runs, those that wait for it, and those
    /// that their server did not live to finish.
    async fn unfinished_turns(&self, tenant: TenantId, session: SessionId) -> Result<Vec<Turn>>;
}

/// What a request that may be sent again is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestAnswer {
    /// The key that its client gave it.
    pub key: String,
    /// The answer.
    pub answer: Vec<u8>,
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
    /// What is entered in the ledger: nothing where the gateway does that.
    pub usage: Vec<LedgerEntry>,
}

/// The log of a session's events.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Appends events in the order given. Their ids must rise, and lie above all that are stored. Pieces of messages
    /// are kept too, and can be trimmed apart from the rest.
    ///
    /// # Errors
    /// `SessionGone`, `StaleEpoch`, `IdsTaken`; nothing is kept then.
    async fn append_events(
        &self,
        tenant: TenantId,
        session: SessionId,
        epoch: Epoch,
        events: &[Event],
    ) -> Result<()>;

    /// Up to `limit` events that match, in order.
    async fn read_events(
        &self,
        tenant: TenantId,
        session: SessionId,
        query: &EventQuery,
        limit: u32,
    ) -> Result<Vec<Event>>;

    /// How far a log reaches; `None` when there is no such session. Costs the same for a log of any length.
    async fn log_bounds(&self, tenant: TenantId, session: SessionId) -> Result<Option<LogBounds>>;

    /// Removes up to `limit` rows of events that a tenant's sessions wrote before `before`, of those not in a turn
    /// that has no outcome; how many. Zero means that there are no more. What is left of a log's old part, if anything,
    /// is not all of it: up to where that is so is in its [`LogBounds`].
    async fn trim_events(
        &self,
        tenant: TenantId,
        kind: TrimKind,
        before: DateTime<Utc>,
        limit: u32,
    ) -> Result<u64>;
}

/// How far a log reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogBounds {
    /// The last event that is kept; the start where there is none.
    pub last: EventId,
    /// The last event that was removed because of its age, pieces of messages aside; the start where none was.
    pub trimmed_to: EventId,
}

/// Which events are removed when they are old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrimKind {
    /// Pieces of messages.
    Deltas,
    /// All but the messages of the conversation: see [`EventKind::is_message`](crate::domain::EventKind::is_message).
    Events,
    /// The messages too.
    All,
}
