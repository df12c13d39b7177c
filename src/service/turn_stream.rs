//! The events of one turn, from its first to its last, as they come.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream;
use tokio::sync::watch;

use crate::agent::StartedTurn;
use crate::agent::feed::{Feed, FeedItem, FeedRead};
use crate::domain::{Clock, Event, EventBody, EventId, EventKind, EventQuery, TenantId, Turn};
use crate::store::Store;

/// The events that a client of a turn sees.
const SHOWN: [EventKind; 18] = [
    EventKind::TurnQueued,
    EventKind::Session,
    EventKind::TurnStarted,
    EventKind::TextDelta,
    EventKind::ThinkingDelta,
    EventKind::TextRetracted,
    EventKind::ToolUse,
    EventKind::ToolResult,
    EventKind::PermissionRequest,
    EventKind::PermissionResolved,
    EventKind::TaskStarted,
    EventKind::TaskEnded,
    EventKind::ConversationReset,
    EventKind::BudgetWarning,
    EventKind::Usage,
    EventKind::Gap,
    EventKind::Done,
    EventKind::Error,
];

/// One event of a turn.
#[derive(Debug, Clone)]
pub struct StreamItem {
    /// Its place in the session's log.
    pub id: EventId,
    /// The event as one JSON object.
    pub json: Bytes,
}

/// The events of one turn; ends after its last one. Dropping it leaves the turn alone.
pub struct TurnStream(Pin<Box<dyn Stream<Item = StreamItem>>>);

impl std::fmt::Debug for TurnStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TurnStream").finish_non_exhaustive()
    }
}

impl Stream for TurnStream {
    type Item = StreamItem;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl TurnStream {
    pub(super) fn follow(
        started: StartedTurn,
        store: Arc<dyn Store>,
        tenant: TenantId,
        clock: Arc<dyn Clock>,
        read_batch: u32,
    ) -> Self {
        let reader = Reader {
            cursor: started.after,
            last: started.feed.watch(),
            feed: started.feed,
            turn: started.turn,
            ended: started.ended,
            store,
            tenant,
            clock,
            read_batch,
            ready: VecDeque::new(),
            finished: false,
        };
        Self(Box::pin(stream::unfold(reader, |mut reader| async move {
            let item = reader.next().await?;
            Some((item, reader))
        })))
    }
}

struct Reader {
    cursor: EventId,
    feed: Arc<Feed>,
    last: watch::Receiver<EventId>,
    turn: Turn,
    ended: watch::Receiver<Option<Arc<Turn>>>,
    store: Arc<dyn Store>,
    tenant: TenantId,
    clock: Arc<dyn Clock>,
    read_batch: u32,
    ready: VecDeque<StreamItem>,
    finished: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<StreamItem> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            if self.finished {
                return None;
            }
            // Before the look at the feed: what is published after it wakes the wait below.
            self.last.borrow_and_update();
            let ended = self.ended.borrow_and_update().clone();
            self.read().await;
            if self.ready.is_empty() && !self.finished {
                match ended {
                    // Its last event was not stored, or is no longer kept; the client is told all the same.
                    Some(turn) => self.end_unlogged(&turn),
                    None => self.wait().await,
                }
            }
        }
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.last.changed() => {}
            changed = self.ended.changed() => if changed.is_err() {
                // The turn's task is gone without an outcome: nothing more will come.
                self.finished = true;
            },
        }
    }

    async fn read(&mut self) {
        match self.feed.read_after(self.cursor, self.read_batch as usize) {
            FeedRead::Items(items) => {
                for item in items {
                    self.take(&item);
                }
            }
            FeedRead::Behind { first_available } => self.catch_up(first_available).await,
        }
    }

    /// Reads from the store what has left memory, and tells that pieces of text are missing.
    async fn catch_up(&mut self, first_available: EventId) {
        let stored = self
            .store
            .read_events(
                self.tenant,
                self.turn.session,
                &EventQuery {
                    deltas: true,
                    ..EventQuery::after(self.cursor)
                },
                self.read_batch,
            )
            .await;
        let missed = match stored {
            Ok(events) => events
                .into_iter()
                .take_while(|event| event.id < first_available)
                .collect(),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a reader that fell behind was not helped"
                );
                Vec::new()
            }
        };
        if missed.is_empty() {
            // Everything before the first event in memory is told, as far as it was kept.
            self.cursor =
                EventId::from_number(first_available.get().saturating_sub(1)).unwrap_or(first_available);
            self.tell(EventBody::Gap { first_available });
            return;
        }
        for event in &missed {
            if let Ok(item) = FeedItem::render(event) {
                self.take(&item);
            }
        }
    }

    fn take(&mut self, item: &FeedItem) {
        self.cursor = item.id;
        if item.turn != Some(self.turn.id) || self.finished {
            return;
        }
        self.finished = item.terminal;
        if SHOWN.contains(&item.kind) {
            self.ready.push_back(StreamItem {
                id: item.id,
                json: item.json.clone(),
            });
        }
    }

    fn end_unlogged(&mut self, turn: &Turn) {
        self.finished = true;
        let Some(outcome) = turn.outcome.clone() else {
            return;
        };
        self.tell(match outcome.error {
            Some(error) => EventBody::Error {
                error: error.message,
                code: error.code,
            },
            None => EventBody::Done {
                text: outcome.text,
                usage: outcome.usage,
                cost: outcome.cost,
                stop_reason: outcome.stop_reason,
                structured_output: outcome.structured_output,
            },
        });
    }

    /// Tells something that is true of this reader alone, under the id of what it was told last.
    fn tell(&mut self, body: EventBody) {
        let event = Event {
            id: self.cursor,
            turn_id: Some(self.turn.id),
            created_at: self.clock.now(),
            body,
        };
        if let Ok(item) = FeedItem::render(&event) {
            self.ready.push_back(StreamItem {
                id: item.id,
                json: item.json,
            });
        }
    }
}
