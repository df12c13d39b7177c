//! The writer of one session's log: gives ids, writes durable events to the store, then shows them.
//!
//! There is one for a session in a process. It owns the session under an epoch that it takes from the store when it
//! first writes, and takes anew when the store says that another owner has come between.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::feed::{Feed, FeedItem};
use super::line::TurnLine;
use super::questions::resolved;
use super::runtime::FeedLimits;
use crate::domain::{
    Clock, Epoch, Event, EventBody, EventId, MicroUsd, PermissionDecision, PermissionResolution, SessionId,
    TenantId, TranscriptPath, Turn, TurnError, TurnErrorCode, TurnId, TurnOutcome, TurnReceipt, Usage,
};
use crate::store::{PermissionFilter, RequestAnswer, Store, StoreError, TranscriptAppended, TurnEnd};

/// Why the log did not take an entry.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The session is not stored.
    #[error("the session does not exist")]
    SessionMissing,
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The epoch's ids are used up; the next write takes a new epoch.
    #[error("the epoch's event ids are used up")]
    IdsUsedUp,
    /// The event has no JSON form.
    #[error("an event cannot be rendered")]
    Render(#[from] serde_json::Error),
}

/// Writes one session's log.
#[derive(Debug)]
pub struct SessionLog {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    tenant: TenantId,
    session: SessionId,
    feed: Arc<Feed>,
    /// The turns that are alive in this process.
    line: TurnLine,
    /// How much of pieces of messages gathers before they are stored.
    limits: FeedLimits,
    /// Held across the store's write, so that ids are published in the order in which they were given.
    ownership: Mutex<Option<Ownership>>,
}

#[derive(Debug)]
struct Ownership {
    epoch: Epoch,
    last: EventId,
    /// Pieces of messages that were shown and are not stored yet. They go with the next whole event: so the store
    /// never has an event without the pieces before it.
    pieces: Vec<Event>,
    /// How long their texts are, and they themselves as readers get them.
    pieces_bytes: usize,
    shown_bytes: usize,
}

impl Ownership {
    fn next_id(&mut self) -> Result<EventId, LogError> {
        self.last = self.last.next().ok_or(LogError::IdsUsedUp)?;
        Ok(self.last)
    }
}

impl SessionLog {
    /// The log of `session`, to be shown in `feed`.
    #[must_use]
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        tenant: TenantId,
        session: SessionId,
        feed: Arc<Feed>,
        line: TurnLine,
        limits: FeedLimits,
    ) -> Self {
        Self {
            store,
            clock,
            tenant,
            session,
            feed,
            line,
            limits,
            ownership: Mutex::new(None),
        }
    }

    /// Takes the session if it is not held, and gives every turn that its last owner left without an outcome the
    /// outcome `unknown`.
    pub async fn take(&self) -> Result<(), LogError> {
        let mut ownership = self.ownership.lock().await;
        self.owned(&mut ownership).await.map(|_| ())
    }

    /// Lets the session go: the next write takes it anew, and settles what was left without an outcome.
    pub async fn let_go(&self) {
        let owned = self.ownership.lock().await.take();
        self.give_up(owned);
    }

    /// Stores a new turn and its first events; answers the id before the first of them. In the same
    /// step it is kept that the request of this key began it.
    pub async fn begin_turn(
        &self,
        turn: &Turn,
        bodies: Vec<EventBody>,
        key: Option<&str>,
    ) -> Result<EventId, LogError> {
        let mut ownership = self.ownership.lock().await;
        let before = self.owned(&mut ownership).await?.last;
        let answer = receipt(key, turn.id, before);
        self.write(&mut ownership, Some(turn.id), bodies, async |epoch, events| {
            self.store
                .begin_turn_once(self.tenant, epoch, turn, events, answer.as_ref())
                .await
        })
        .await?;
        Ok(before)
    }

    /// Stores a turn that waits for others, and its first events; answers the id before the first of them. In the
    /// same step it is kept that the request of this key asked for it.
    pub async fn queue_turn(
        &self,
        turn: &Turn,
        bodies: Vec<EventBody>,
        key: Option<&str>,
    ) -> Result<EventId, LogError> {
        let mut ownership = self.ownership.lock().await;
        let before = self.owned(&mut ownership).await?.last;
        let answer = receipt(key, turn.id, before);
        self.write(&mut ownership, Some(turn.id), bodies, async |epoch, events| {
            self.store
                .queue_turn_once(self.tenant, epoch, turn, events, answer.as_ref())
                .await
        })
        .await?;
        Ok(before)
    }

    /// Stores events, then shows them.
    pub async fn append(&self, turn: Option<TurnId>, bodies: Vec<EventBody>) -> Result<(), LogError> {
        if bodies.is_empty() {
            return Ok(());
        }
        let mut ownership = self.ownership.lock().await;
        self.write(&mut ownership, turn, bodies, async |epoch, events| {
            self.store
                .append_events(self.tenant, self.session, epoch, events)
                .await
        })
        .await
    }

    /// Shows pieces of messages, and stores them a little later.
    pub async fn show(&self, turn: TurnId, bodies: Vec<EventBody>) -> Result<(), LogError> {
        let mut ownership = self.ownership.lock().await;
        let owned = self.owned(&mut ownership).await?;
        let events = self.number(owned, Some(turn), bodies)?;
        owned.shown_bytes += self.publish(&events)?;
        for event in events.into_iter().filter(|event| event.body.kind().is_delta()) {
            owned.pieces_bytes += event.body.text_bytes();
            owned.pieces.push(event);
        }
        // What readers can no longer find in memory must be in the store by then.
        let FeedLimits {
            max_bytes,
            delta_segment_bytes,
        } = self.limits;
        if owned.pieces_bytes < delta_segment_bytes && owned.shown_bytes < max_bytes / 2 {
            return Ok(());
        }
        self.write(&mut ownership, None, Vec::new(), async |epoch, events| {
            self.store
                .append_events(self.tenant, self.session, epoch, events)
                .await
        })
        .await
    }

    /// Stores lines that the CLI wrote down. Events do not wait for that: the lines have an order of their own, and are
    /// fenced by the epoch alone.
    pub async fn append_transcript(
        &self,
        path: &TranscriptPath,
        lines: &[String],
    ) -> Result<TranscriptAppended, LogError> {
        let epoch = {
            let mut ownership = self.ownership.lock().await;
            self.owned(&mut ownership).await?.epoch
        };
        let appended = self
            .store
            .append_transcript(self.tenant, self.session, epoch, path, lines)
            .await;
        match appended {
            Err(StoreError::SessionGone { .. }) => Err(LogError::SessionMissing),
            Err(error) => {
                if matches!(error, StoreError::StaleEpoch { .. }) {
                    let mut ownership = self.ownership.lock().await;
                    // Unless it was taken anew meanwhile.
                    let stale = ownership.take_if(|owned| owned.epoch == epoch);
                    self.give_up(stale);
                }
                Err(error.into())
            }
            Ok(appended) => Ok(appended),
        }
    }

    /// Stores a turn's outcome and its last events, then shows them.
    pub async fn finish_turn(&self, end: &TurnEnd, bodies: Vec<EventBody>) -> Result<(), LogError> {
        let mut ownership = self.ownership.lock().await;
        self.write(&mut ownership, Some(end.turn), bodies, async |epoch, events| {
            self.store.finish_turn(self.tenant, epoch, end, events).await
        })
        .await
    }

    async fn write(
        &self,
        ownership: &mut Option<Ownership>,
        turn: Option<TurnId>,
        bodies: Vec<EventBody>,
        store: impl AsyncFnOnce(Epoch, &[Event]) -> Result<(), StoreError>,
    ) -> Result<(), LogError> {
        let owned = self.owned(ownership).await?;
        // Ids of a write that failed are not given again: whether the store has them is not known.
        let new = self.number(owned, turn, bodies)?;
        let epoch = owned.epoch;
        owned.pieces_bytes = 0;
        owned.shown_bytes = 0;
        let mut events = std::mem::take(&mut owned.pieces);
        let shown = events.len();
        events.extend(new);
        if let Err(error) = store(epoch, &events).await {
            if let Some(lost) = shown.checked_sub(1).and_then(|last| events.get(last)) {
                self.feed.note_lost(lost.id);
            }
            if matches!(error, StoreError::StaleEpoch { .. }) {
                *ownership = None;
            }
            return Err(error.into());
        }
        self.publish(events.get(shown..).unwrap_or_default()).map(|_| ())
    }

    async fn owned<'a>(&self, ownership: &'a mut Option<Ownership>) -> Result<&'a mut Ownership, LogError> {
        if let Some(used_up) = ownership.take_if(|owned| owned.last.is_near_the_end()) {
            self.store_pieces(&used_up).await?;
        }
        match ownership {
            Some(owned) => Ok(owned),
            None => Ok(ownership.insert(self.acquire().await?)),
        }
    }

    /// Stores what was shown under an epoch that is not written under any more.
    async fn store_pieces(&self, owned: &Ownership) -> Result<(), LogError> {
        let Some(last) = owned.pieces.last() else {
            return Ok(());
        };
        let stored = self
            .store
            .append_events(self.tenant, self.session, owned.epoch, &owned.pieces)
            .await;
        Ok(stored.inspect_err(|_| self.feed.note_lost(last.id))?)
    }

    /// Gives up an ownership that is not believed in any more; what was shown and not stored is lost.
    fn give_up(&self, owned: Option<Ownership>) {
        if let Some(lost) = owned.and_then(|owned| owned.pieces.last().map(|piece| piece.id)) {
            self.feed.note_lost(lost);
        }
    }

    async fn acquire(&self) -> Result<Ownership, LogError> {
        let epoch = self
            .store
            .acquire_session(self.tenant, self.session)
            .await?
            .ok_or(LogError::SessionMissing)?;
        let mut owned = Ownership {
            epoch,
            last: EventId::new(epoch, 0).of(self.session),
            pieces: Vec::new(),
            pieces_bytes: 0,
            shown_bytes: 0,
        };
        self.feed.start_after(owned.last);
        for turn in self.store.unfinished_turns(self.tenant, self.session).await? {
            if self.line.find(turn.id).is_none() {
                self.settle(&mut owned, &turn).await?;
            }
        }
        Ok(owned)
    }

    /// Ends a turn whose server did not live to end it. What the tools of one that had begun did is not known, and it
    /// is not run again; one that waited did not run.
    async fn settle(&self, owned: &mut Ownership, turn: &Turn) -> Result<(), LogError> {
        let (code, message) = if turn.queued {
            (
                TurnErrorCode::ServerShutdown,
                "the server ended before this turn began; it did not run",
            )
        } else {
            (
                TurnErrorCode::TurnUnknown,
                "the server ended while this turn ran; some of its tools may have run",
            )
        };
        let error = TurnError {
            code,
            message: message.to_owned(),
        };
        let mut bodies = self.withdraw_questions(turn.id).await?;
        bodies.push(EventBody::Error {
            error: error.message.clone(),
            code: error.code,
        });
        let end = TurnEnd {
            session: self.session,
            turn: turn.id,
            outcome: TurnOutcome {
                status: error.code.status(),
                text: String::new(),
                tool_calls: Vec::new(),
                structured_output: None,
                usage: Usage::default(),
                cost: MicroUsd::ZERO,
                reported: None,
                stop_reason: None,
                error: Some(error),
                ended_at: self.clock.now(),
            },
            claude_session_id: None,
            conversation_started: false,
            usage: Vec::new(),
        };
        let events = self.number(owned, Some(turn.id), bodies)?;
        self.store
            .finish_turn(self.tenant, owned.epoch, &end, &events)
            .await?;
        self.publish(&events).map(|_| ())
    }

    /// Ends what the agent of a turn asked that is over.
    async fn withdraw_questions(&self, turn: TurnId) -> Result<Vec<EventBody>, LogError> {
        const BATCH: u32 = 100;
        let filter = PermissionFilter {
            session: Some(self.session),
            user: None,
        };
        let mut events = Vec::new();
        let mut after = None;
        loop {
            let batch = self
                .store
                .list_pending_permissions(self.tenant, &filter, after, BATCH)
                .await?;
            after = batch.last().map(|permission| permission.id);
            for permission in batch.iter().filter(|permission| permission.turn == turn) {
                let withdrawn =
                    PermissionResolution::by_server(PermissionDecision::Withdrawn, self.clock.now());
                let standing = self
                    .store
                    .resolve_permission(self.tenant, permission.id, &withdrawn, None)
                    .await?;
                if let Some(resolution) = standing.and_then(|standing| standing.resolution) {
                    events.push(resolved(permission, &resolution));
                }
            }
            if batch.len() < BATCH as usize {
                return Ok(events);
            }
        }
    }

    fn number(
        &self,
        owned: &mut Ownership,
        turn_id: Option<TurnId>,
        bodies: Vec<EventBody>,
    ) -> Result<Vec<Event>, LogError> {
        let created_at = self.clock.now();
        bodies
            .into_iter()
            .map(|body| {
                Ok(Event {
                    id: owned.next_id()?,
                    turn_id,
                    created_at,
                    body,
                })
            })
            .collect()
    }

    /// Shows events; what they take in memory, in bytes.
    fn publish(&self, events: &[Event]) -> Result<usize, LogError> {
        let items = events
            .iter()
            .map(FeedItem::render)
            .collect::<Result<Vec<_>, _>>()?;
        let bytes = items.iter().map(FeedItem::weight).sum();
        self.feed.publish(items);
        Ok(bytes)
    }
}

/// What a request of this key is answered with when it is sent again.
fn receipt(key: Option<&str>, turn: TurnId, after: EventId) -> Option<RequestAnswer> {
    Some(RequestAnswer {
        key: key?.to_owned(),
        answer: serde_json::to_vec(&TurnReceipt { turn, after }).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::feed::FeedRead;
    use crate::domain::{
        Attachment, EventQuery, Session, SessionOptions, SessionStatus, SystemClock, Tenant,
    };
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn an_epoch_whose_ids_are_nearly_used_up_makes_way_and_nothing_shown_is_lost() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let now = clock.now();
        let tenant = Tenant::new(TenantId::generate(&*clock), "acme".parse().unwrap(), now);
        let tenant = store.ensure_tenant(&tenant).await.unwrap().id;
        let session = Session {
            id: SessionId::generate(&*clock),
            tenant,
            user: "alice".parse().unwrap(),
            subdir: None,
            title: None,
            metadata: serde_json::Map::new(),
            options: SessionOptions::default(),
            claude_session_id: crate::domain::ClaudeSessionId::generate(&*clock),
            conversation_started: false,
            status: SessionStatus::Active,
            message_count: 0,
            created_at: now,
            last_active_at: now,
            closed_at: None,
        };
        store.insert_session(tenant, &session).await.unwrap();
        let feed = Arc::new(Feed::new(1 << 20));
        let limits = FeedLimits {
            max_bytes: 1 << 20,
            delta_segment_bytes: 1 << 16,
        };
        let log = SessionLog::new(
            Arc::clone(&store),
            Arc::clone(&clock),
            tenant,
            session.id,
            Arc::clone(&feed),
            TurnLine::default(),
            limits,
        );
        log.take().await.unwrap();
        let turn = TurnId::generate(&*clock);
        let piece = EventBody::TextDelta { text: "x".into() };
        log.show(turn, vec![piece]).await.unwrap();
        let near_the_end = EventId::new(Epoch::new(1).unwrap(), u32::MAX).of(session.id);
        log.ownership.lock().await.as_mut().unwrap().last = near_the_end;
        let said = EventBody::Message {
            text: "y".into(),
            attachments: Vec::<Attachment>::new(),
        };
        log.append(Some(turn), vec![said]).await.unwrap();
        let everything = EventQuery {
            deltas: true,
            ..EventQuery::default()
        };
        let events = store
            .read_events(tenant, session.id, &everything, 9)
            .await
            .unwrap();
        assert_eq!(events.len(), 2);
        assert!(events[1].id >= EventId::new(Epoch::new(2).unwrap(), 0));
        let held = feed.read_after(events[0].id, 9);
        assert!(matches!(held, FeedRead::Stored { .. }), "{held:?}");
        let next = EventId::new(Epoch::new(2).unwrap(), 0).of(session.id);
        let held = feed.read_after(next, 9);
        assert!(
            matches!(&held, FeedRead::Items(items) if items.len() == 1),
            "{held:?}"
        );
    }
}
