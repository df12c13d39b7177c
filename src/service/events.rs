//! Reading a session's log: all at once, a page at a time, or as it comes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::authentication::AuthenticationService;
use super::error::{Error, RETRY_SOON};
use super::log_reader::{LogReader, ReadError};
use super::log_stream::LogStream;
use super::sessions::SessionService;
use super::standing::{Over, until_over};
use crate::agent::feed::FeedItem;
use crate::agent::{Agents, OpenLog};
use crate::domain::{
    Clock, Event, EventBody, EventId, EventKind, EventQuery, Principal, Session, SessionId, SessionStatus,
    TurnId,
};
use crate::lifecycle::Shutdown;
use crate::store::Store;
use strum::IntoEnumIterator as _;

/// What of a session's log is read.
#[derive(Debug, Clone)]
pub struct EventOrder {
    /// The session.
    pub session: SessionId,
    /// What came after this one.
    pub after: EventId,
    /// Events of these types; of all when empty.
    pub kinds: Vec<EventKind>,
    /// Whether pieces of messages are read too.
    pub deltas: bool,
    /// Whether the CLI's own messages are read too, where they are kept. Naming their type asks for them too.
    pub raw: bool,
    /// Events of this turn.
    pub turn: Option<TurnId>,
    /// Whether what comes is waited for.
    pub follow: bool,
}

/// How logs are read.
#[derive(Debug, Clone, Copy)]
pub struct EventRules {
    /// The most events that are read at once.
    pub read_batch: u32,
    /// How often it is looked whether those who follow still may.
    pub recheck_interval: Duration,
}

/// Reads logs.
#[derive(Debug)]
pub struct EventService {
    store: Arc<dyn Store>,
    agents: Agents,
    sessions: Arc<SessionService>,
    authentication: Arc<AuthenticationService>,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
    rules: EventRules,
}

impl EventService {
    /// The use cases over these parts.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        agents: Agents,
        sessions: Arc<SessionService>,
        authentication: Arc<AuthenticationService>,
        clock: Arc<dyn Clock>,
        shutdown: Shutdown,
        rules: EventRules,
    ) -> Self {
        Self {
            store,
            agents,
            sessions,
            authentication,
            clock,
            shutdown,
            rules,
        }
    }

    /// What is read of a log. A stream that follows ends when the session is closed or removed, with the last event of the
    /// turn if only one turn is read, when the caller's credential is no longer good, and when the server stops. `None` when
    /// it would follow, and nothing will ever come.
    pub async fn read(&self, caller: &Principal, order: EventOrder) -> Result<Option<LogStream>, Error> {
        let follows = order.follow;
        let stream = self.open(caller, order).await?;
        Ok(stream.map(|stream| {
            if follows {
                stream.until(self.over(caller))
            } else {
                stream
            }
        }))
    }

    /// Ends when the caller is to be let go who follows a log.
    pub fn over(&self, caller: &Principal) -> impl Future<Output = Over> + 'static {
        until_over(
            Arc::clone(&self.authentication),
            caller.clone(),
            self.shutdown.clone(),
            self.rules.recheck_interval,
        )
    }

    /// The last event of a session's log, as of now.
    pub async fn last(&self, caller: &Principal, session: SessionId) -> Result<EventId, Error> {
        self.sessions.find(caller, session).await?;
        let log = self.agents.open_log(caller.tenant, session);
        let bounds = self.store.log_bounds(caller.tenant, session).await?;
        let stored = bounds.ok_or(Error::SessionNotFound)?.last;
        Ok(stored.max(log.feed().newest()))
    }

    /// The same as [`Self::read`], for whoever sees to it that the caller is let go.
    pub async fn open(&self, caller: &Principal, order: EventOrder) -> Result<Option<LogStream>, Error> {
        // Only of what is the caller's is anything opened.
        self.sessions.find(caller, order.session).await?;
        let log = self.agents.open_log(caller.tenant, order.session);
        // Again: what closed it before the log was opened is seen now, and what does later ends the reading.
        let session = self.sessions.find(caller, order.session).await?;
        check_cursor(&*self.store, &self.agents, &log, order.after).await?;
        let turn_is_over = match order.turn {
            Some(turn) => {
                let turn = self.store.find_turn(caller.tenant, session.id, turn).await?;
                turn.ok_or(Error::TurnNotFound)?.outcome.is_some()
            }
            None => false,
        };
        let is_over = turn_is_over || session.status == SessionStatus::Closed;
        let one_turn = order.turn.is_some();
        let query = EventQuery {
            after: order.after,
            until: None,
            kinds: kinds_of(caller, &session, &order)?,
            deltas: order.deltas,
            turn: order.turn,
        };
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let reading = self.agents.metrics().reading();
        let reader = LogReader::new(log, store, clock, query, self.rules.read_batch, reading);
        let is_guest = caller.guest.is_some();
        let told = |stream: LogStream| {
            if is_guest {
                stream.map_items(for_guest)
            } else {
                stream
            }
        };
        if !order.follow {
            return Ok(Some(told(LogStream::read(reader, false))));
        }
        let stream = told(LogStream::read(reader, !is_over));
        let stream = if one_turn { stream.until_terminal() } else { stream };
        if is_over {
            return Ok(stream.unless_empty().await);
        }
        Ok(Some(stream))
    }
}

/// What is not told to those who came by a link: the CLI's own messages, which name its tools, servers and folders; what
/// clients attach to a session; and the tenant's money.
const NOT_FOR_GUESTS: [EventKind; 3] = [
    EventKind::AgentMessage,
    EventKind::SessionUpdated,
    EventKind::BudgetWarning,
];

/// The types that are read, all when empty.
fn kinds_of(caller: &Principal, session: &Session, order: &EventOrder) -> Result<Vec<EventKind>, Error> {
    if caller.guest.is_some() {
        return kinds_for_guest(order);
    }
    let leaves_any_out = order.kinds.is_empty() && !order.raw && session.options.agent_messages == Some(true);
    if !leaves_any_out {
        return Ok(order.kinds.clone());
    }
    Ok(EventKind::iter()
        .filter(|kind| *kind != EventKind::AgentMessage && (order.deltas || !kind.is_delta()))
        .collect())
}

/// The same for whoever came by a link.
fn kinds_for_guest(order: &EventOrder) -> Result<Vec<EventKind>, Error> {
    if order.raw || order.kinds.iter().any(|kind| NOT_FOR_GUESTS.contains(kind)) {
        return Err(Error::Forbidden {
            reason: "a link does not show events of these types",
        });
    }
    if !order.kinds.is_empty() {
        return Ok(order.kinds.clone());
    }
    Ok(EventKind::iter()
        .filter(|kind| !NOT_FOR_GUESTS.contains(kind) && (order.deltas || !kind.is_delta()))
        .collect())
}

/// An event as it is told to those who came by a link: not who answered a question.
fn for_guest(item: Arc<FeedItem>) -> Result<Arc<FeedItem>, Error> {
    if item.kind != EventKind::PermissionResolved {
        return Ok(item);
    }
    let hidden = serde_json::from_slice(&item.json).and_then(|mut event: Event| {
        if let EventBody::PermissionResolved { by, message, .. } = &mut event.body {
            "somebody".clone_into(by);
            *message = None;
        }
        FeedItem::render(&event)
    });
    Ok(Arc::new(hidden.map_err(ReadError::Render)?))
}

/// Refuses a cursor that is none of this log's, or that it has not reached.
pub(super) async fn check_cursor(
    store: &dyn Store,
    agents: &Agents,
    log: &OpenLog,
    cursor: EventId,
) -> Result<(), Error> {
    if !cursor.is_of(log.session()) {
        return Err(Error::CursorForeign);
    }
    let bounds = store.log_bounds(log.tenant(), log.session()).await?;
    let bounds = bounds.ok_or(Error::SessionNotFound)?;
    if cursor <= bounds.last {
        return Ok(());
    }
    // What is shown and not stored yet is known where the log is written.
    log.settled().await;
    if cursor > log.feed().newest() && !agents.may_have_shown(log, cursor).await? {
        return Err(Error::CursorAhead {
            retry_after: RETRY_SOON,
        });
    }
    Ok(())
}
