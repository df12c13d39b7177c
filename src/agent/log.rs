//! The writer of one session's log: gives ids, writes durable events to the store, then shows them.
//!
//! There is one for a session in a process. It owns the session under an epoch that it takes from the store when it
//! first writes. Where several instances share the store, it owns it until another takes it; whatever was begun under
//! an earlier `Hold` writes nothing any more.

mod ownership;
mod settling;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use tokio::sync::{Mutex, watch};

use super::feed::{Feed, FeedItem};
use super::line::TurnLine;
use super::resuming::Resuming;
use super::runtime::{Backing, FeedLimits};
use crate::cluster::Cluster;
use crate::domain::{
    Clock, Epoch, Event, EventBody, EventId, Instance, SessionId, TenantId, TranscriptPath, Turn, TurnId,
    TurnReceipt,
};
use crate::store::{RequestAnswer, Store, StoreError, TranscriptAppended, TurnEnd};

/// Why the log did not take an entry.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The session is not stored.
    #[error("the session does not exist")]
    SessionMissing,
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another instance has the session, and is in a turn of it.
    #[error("the session is with instance {}", .0.name)]
    Elsewhere(Instance),
    /// What was to be written belongs to a time before another instance took the session, or this one was taken for dead.
    #[error("another instance has taken the session")]
    Fenced,
    /// The epoch's ids are used up; the next write takes a new epoch.
    #[error("the epoch's event ids are used up")]
    IdsUsedUp,
    /// The event has no JSON form.
    #[error("an event cannot be rendered")]
    Render(#[from] serde_json::Error),
}

/// A stretch of time in which a session was this instance's without a break. What a turn or an agent writes belongs to the
/// one in which it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hold(u64);

impl Hold {
    /// The only one where there is one instance.
    pub(super) const ALONE: Self = Self(0);
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
    /// The other instances, where there can be some.
    cluster: Option<Cluster>,
    /// Has lost turns go on; without it they end.
    resuming: Option<Resuming>,
    /// Held across the store's write, so that ids are published in the order in which they were given.
    ownership: Mutex<State>,
    /// The epoch under which the session is owned, and in which hold, as far as is known.
    held: watch::Sender<Option<(Epoch, Hold)>>,
    /// Another instance has taken the session under this epoch, or the session is not: 0.
    revoked: AtomicU32,
}

#[derive(Debug)]
struct State {
    owned: Option<Ownership>,
    hold: Hold,
    /// The epoch before.
    last_epoch: Option<Epoch>,
    /// The turn whose end was told and not stored, if there is one.
    told_end: Option<TurnId>,
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
        backing: Backing,
        tenant: TenantId,
        session: SessionId,
        feed: Arc<Feed>,
        line: TurnLine,
        limits: FeedLimits,
    ) -> Self {
        let Backing {
            store,
            clock,
            cluster,
            resuming,
        } = backing;
        Self {
            store,
            clock,
            tenant,
            session,
            feed,
            line,
            limits,
            cluster,
            resuming,
            ownership: Mutex::new(State {
                owned: None,
                hold: Hold::ALONE,
                last_epoch: None,
                told_end: None,
            }),
            held: watch::Sender::new(None),
            revoked: AtomicU32::new(0),
        }
    }

    /// Takes the session if it is not held, and gives every turn that its last owner left without an outcome the
    /// outcome `unknown`, or has it go on.
    pub(super) async fn take(&self) -> Result<Hold, LogError> {
        let mut state = self.ownership.lock().await;
        self.owned(&mut state, None).await?;
        Ok(state.hold)
    }

    /// Stores a new turn and its first events; answers the id before the first of them. In the same
    /// step it is kept that the request of this key began it.
    pub(super) async fn begin_turn(
        &self,
        hold: Hold,
        turn: &Turn,
        bodies: Vec<EventBody>,
        key: Option<&str>,
    ) -> Result<EventId, LogError> {
        let mut state = self.ownership.lock().await;
        let before = self.owned(&mut state, Some(hold)).await?.last;
        let answer = receipt(key, turn.id, before);
        self.write(
            &mut state,
            Some(turn.id),
            Some(hold),
            bodies,
            async |epoch, events| {
                self.store
                    .begin_turn_once(self.tenant, epoch, turn, events, answer.as_ref())
                    .await
            },
        )
        .await?;
        Ok(before)
    }

    /// Stores a turn that waits for others, and its first events; answers the id before the first of them. In the
    /// same step it is kept that the request of this key asked for it.
    pub(super) async fn queue_turn(
        &self,
        turn: &Turn,
        bodies: Vec<EventBody>,
        key: Option<&str>,
    ) -> Result<(EventId, Hold), LogError> {
        let mut state = self.ownership.lock().await;
        let before = self.owned(&mut state, None).await?.last;
        let answer = receipt(key, turn.id, before);
        self.write(&mut state, Some(turn.id), None, bodies, async |epoch, events| {
            self.store
                .queue_turn_once(self.tenant, epoch, turn, events, answer.as_ref())
                .await
        })
        .await?;
        Ok((before, state.hold))
    }

    /// Stores events, then shows them: those of a turn that began in a hold, or of none.
    pub(super) async fn append(
        &self,
        turn: Option<(TurnId, Hold)>,
        bodies: Vec<EventBody>,
    ) -> Result<(), LogError> {
        if bodies.is_empty() {
            return Ok(());
        }
        let mut state = self.ownership.lock().await;
        let (turn, hold) = turn.unzip();
        self.write(&mut state, turn, hold, bodies, async |epoch, events| {
            self.store
                .append_events(self.tenant, self.session, epoch, events)
                .await
        })
        .await
    }

    /// Shows pieces of messages, and stores them a little later.
    pub(super) async fn show(
        &self,
        turn: TurnId,
        hold: Hold,
        bodies: Vec<EventBody>,
    ) -> Result<(), LogError> {
        let mut state = self.ownership.lock().await;
        let owned = self.owned(&mut state, Some(hold)).await?;
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
        self.write(&mut state, None, Some(hold), Vec::new(), async |epoch, events| {
            self.store
                .append_events(self.tenant, self.session, epoch, events)
                .await
        })
        .await
    }

    /// Stores lines that the CLI wrote down. Events do not wait for that: the lines have an order of their own, and are
    /// fenced by the epoch alone. Those of an agent belong to the hold in which it was started.
    pub(super) async fn append_transcript(
        &self,
        hold: Option<Hold>,
        path: &TranscriptPath,
        lines: &[String],
    ) -> Result<TranscriptAppended, LogError> {
        let epoch = {
            let mut state = self.ownership.lock().await;
            self.owned(&mut state, hold).await?.epoch
        };
        let appended = self
            .store
            .append_transcript(self.tenant, self.session, epoch, path, lines)
            .await;
        match appended {
            Err(StoreError::SessionGone { .. }) => Err(LogError::SessionMissing),
            Err(error) => {
                if matches!(error, StoreError::StaleEpoch { .. }) {
                    let mut state = self.ownership.lock().await;
                    // Unless it was taken anew meanwhile.
                    if state.owned.as_ref().is_some_and(|owned| owned.epoch == epoch) {
                        self.give_up(&mut state);
                    }
                }
                Err(error.into())
            }
            Ok(appended) => Ok(appended),
        }
    }

    /// Stores a turn's outcome and its last events, then shows them.
    pub(super) async fn finish_turn(
        &self,
        hold: Hold,
        end: &TurnEnd,
        bodies: Vec<EventBody>,
    ) -> Result<(), LogError> {
        let mut state = self.ownership.lock().await;
        self.write(
            &mut state,
            Some(end.turn),
            Some(hold),
            bodies,
            async |epoch, events| self.store.finish_turn(self.tenant, epoch, end, events).await,
        )
        .await
    }

    async fn write(
        &self,
        state: &mut State,
        turn: Option<TurnId>,
        hold: Option<Hold>,
        bodies: Vec<EventBody>,
        store: impl AsyncFnOnce(Epoch, &[Event]) -> Result<(), StoreError>,
    ) -> Result<(), LogError> {
        let owned = self.owned(state, hold).await?;
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
                self.give_up(state);
            }
            return Err(error.into());
        }
        self.publish(events.get(shown..).unwrap_or_default()).map(|_| ())
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
mod tests;
