//! The writer of one session's log: gives ids, writes durable events to the store, then shows them.
//!
//! There is one for a session in a process. It owns the session under an epoch that it takes from the store when it
//! first writes, and takes anew when the store says that another owner has come between.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::feed::{Feed, FeedItem};
use super::line::TurnLine;
use super::questions::resolved;
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
    delta_segment_bytes: usize,
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
    pieces_bytes: usize,
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
        delta_segment_bytes: usize,
    ) -> Self {
        Self {
            store,
            clock,
            tenant,
            session,
            feed,
            line,
            delta_segment_bytes,
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
        *self.ownership.lock().await = None;
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
        self.publish(&events)?;
        for event in events.into_iter().filter(|event| event.body.kind().is_delta()) {
            owned.pieces_bytes += event.body.text_bytes();
            owned.pieces.push(event);
        }
        if owned.pieces_bytes < self.delta_segment_bytes {
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
                    ownership.take_if(|owned| owned.epoch == epoch);
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
        let mut events = std::mem::take(&mut owned.pieces);
        let shown = events.len();
        events.extend(new);
        if let Err(error) = store(epoch, &events).await {
            if matches!(error, StoreError::StaleEpoch { .. }) {
                *ownership = None;
            }
            return Err(error.into());
        }
        self.publish(events.get(shown..).unwrap_or_default())
    }

    async fn owned<'a>(&self, ownership: &'a mut Option<Ownership>) -> Result<&'a mut Ownership, LogError> {
        match ownership {
            Some(owned) => Ok(owned),
            None => Ok(ownership.insert(self.acquire().await?)),
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
            last: EventId::new(epoch, 0),
            pieces: Vec::new(),
            pieces_bytes: 0,
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
        self.publish(&events)
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

    fn publish(&self, events: &[Event]) -> Result<(), LogError> {
        let items = events
            .iter()
            .map(FeedItem::render)
            .collect::<Result<Vec<_>, _>>()?;
        self.feed.publish(items);
        Ok(())
    }
}

/// What a request of this key is answered with when it is sent again.
fn receipt(key: Option<&str>, turn: TurnId, after: EventId) -> Option<RequestAnswer> {
    Some(RequestAnswer {
        key: key?.to_owned(),
        answer: serde_json::to_vec(&TurnReceipt { turn, after }).ok()?,
    })
}
