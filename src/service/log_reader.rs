//! Reads a session's log from a cursor on: what is stored and what comes, by one path.
//!
//! A reader holds its cursor and nothing of the log's. It looks into the log's tail in memory, is sent to the store for what is
//! not there, and waits for a level: what came between two looks is found by the second. However slow it is, it costs
//! nobody else anything, and it is told by name what is no longer to be had.

use std::sync::Arc;

use tokio::sync::watch;

use crate::agent::feed::{FeedItem, FeedRead};
use crate::agent::{OpenLog, Reading};
use crate::domain::{Clock, Event, EventBody, EventId, EventQuery};
use crate::store::{Store, StoreError};

/// How much of stored events is read at once, in bytes of JSON, if there is more than one.
const BATCH_BYTES: usize = 256 * 1024;

/// Why a log was not read on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An event has no JSON form.
    #[error("an event cannot be rendered")]
    Render(#[from] serde_json::Error),
}

type Result<T> = std::result::Result<T, ReadError>;

/// Reads a session's log.
pub(super) struct LogReader {
    log: OpenLog,
    newest: watch::Receiver<EventId>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// What is read; what came up to `after` was.
    query: EventQuery,
    /// The most events that are read at once.
    batch: u32,
    /// How many stored ones are, as they are long.
    stored_batch: u32,
    _counted: Reading,
}

impl LogReader {
    /// A reader of what `query` says, from its cursor on.
    pub(super) fn new(
        log: OpenLog,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        query: EventQuery,
        batch: u32,
        counted: Reading,
    ) -> Self {
        Self {
            newest: log.feed().watch(),
            log,
            store,
            clock,
            query,
            batch,
            stored_batch: batch,
            _counted: counted,
        }
    }

    /// From now on, what is published ends a wait.
    pub(super) fn mark(&mut self) {
        self.newest.borrow_and_update();
    }

    /// Waits until something was published since the mark.
    pub(super) async fn changed(&mut self) {
        if self.newest.changed().await.is_err() {
            // The log is held open, and its tail with it.
            std::future::pending::<()>().await;
        }
    }

    /// Whether nothing will come any more.
    pub(super) fn has_ended(&self) -> bool {
        self.log.feed().has_ended()
    }

    /// The next events that are there; none when all were read.
    pub(super) async fn read(&mut self) -> Result<Vec<Arc<FeedItem>>> {
        loop {
            let read = self.log.feed().read_after(self.query.after, self.batch as usize);
            let items = match read {
                FeedRead::Items(mut items) => {
                    let Some(last) = items.last() else {
                        return Ok(items);
                    };
                    self.query.after = last.id;
                    items.retain(|item| self.query.takes(item.kind, item.turn));
                    items
                }
                FeedRead::Stored { up_to } => {
                    let items = self.read_stored(up_to).await?;
                    if items.is_empty() && up_to.is_none_or(|up_to| self.query.after < up_to) {
                        return Ok(items);
                    }
                    items
                }
            };
            if !items.is_empty() {
                return Ok(items);
            }
        }
    }

    /// Reads from the store; everything that was kept up to `up_to` is there.
    async fn read_stored(&mut self, up_to: Option<EventId>) -> Result<Vec<Arc<FeedItem>>> {
        let (tenant, session) = (self.log.tenant(), self.log.session());
        let events = self
            .store
            .read_events(tenant, session, &self.query, self.stored_batch)
            .await?;
        // After the look at the events: what was removed in the middle of it is noticed.
        let Some(bounds) = self.store.log_bounds(tenant, session).await? else {
            self.query.after = self.query.after.max(up_to.unwrap_or(EventId::START));
            return Ok(Vec::new());
        };
        if bounds.trimmed_to > self.query.after {
            return Ok(vec![self.gap(bounds.trimmed_to).await?]);
        }
        if let Some(last) = events.last() {
            self.query.after = last.id;
            let items: Vec<_> = events.iter().map(render).collect::<Result<_>>()?;
            self.fit_batch(items.iter().map(|item| item.json.len()).sum());
            return Ok(items);
        }
        if let Some(up_to) = up_to {
            let lost_to = self.log.feed().lost_to();
            if self.query.wants_deltas() && self.query.after < lost_to && lost_to <= up_to {
                return Ok(vec![self.gap(lost_to).await?]);
            }
            self.query.after = self.query.after.max(up_to);
        }
        Ok(Vec::new())
    }

    /// Tells that events up to `missing` are not to be had, and goes on after it. The gap's own place is the one before
    /// the first event that is, so that whoever goes on from it misses nothing.
    async fn gap(&mut self, missing: EventId) -> Result<Arc<FeedItem>> {
        let rest = EventQuery {
            deltas: true,
            ..EventQuery::after(missing)
        };
        let (tenant, session) = (self.log.tenant(), self.log.session());
        let first = self.store.read_events(tenant, session, &rest, 1).await?;
        let next = missing.next().unwrap_or(missing);
        let first_available = first.first().map_or(next, |event| event.id);
        self.query.after = first_available.previous().max(missing);
        render(&Event {
            id: self.query.after,
            turn_id: self.query.turn,
            created_at: self.clock.now(),
            body: EventBody::Gap { first_available },
        })
    }

    /// Long events are read a few at a time.
    fn fit_batch(&mut self, bytes: usize) {
        self.stored_batch = if bytes > BATCH_BYTES {
            (self.stored_batch / 4).max(1)
        } else {
            self.stored_batch.saturating_mul(2).min(self.batch)
        };
    }

    /// Where it is.
    pub(super) fn cursor(&self) -> EventId {
        self.query.after
    }
}

/// An event as readers get it.
pub(super) fn render(event: &Event) -> Result<Arc<FeedItem>> {
    Ok(Arc::new(FeedItem::render(event)?))
}
