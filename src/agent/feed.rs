//! The tail of a session's log in memory: what its live readers follow.
//!
//! Readers hold a cursor and wait on a level, never on an edge: whatever was published between two looks is found by
//! the second look, so nothing falls between replay and live. Memory is bounded; a reader that is slower than the
//! bound is told that it fell behind and reads the durable events from the store.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::domain::{Event, EventId, EventKind, TurnId};

/// An event as readers get it: rendered once, however many read it.
#[derive(Debug, Clone)]
pub struct FeedItem {
    /// Its place in the log.
    pub id: EventId,
    /// The turn it belongs to, if to one.
    pub turn: Option<TurnId>,
    /// Its type.
    pub kind: EventKind,
    /// Whether it is the last of its turn.
    pub terminal: bool,
    /// The event as one JSON object.
    pub json: Bytes,
}

impl FeedItem {
    /// Renders an event.
    ///
    /// # Errors
    /// If it has no JSON form, which no event of ours is without.
    pub fn render(event: &Event) -> Result<Self, serde_json::Error> {
        Ok(Self {
            id: event.id,
            turn: event.turn_id,
            kind: event.body.kind(),
            terminal: event.body.is_terminal(),
            json: serde_json::to_vec(event)?.into(),
        })
    }
}

/// What a look at the feed finds.
#[derive(Debug)]
pub enum FeedRead {
    /// The events after the cursor, in order; empty when there are none yet.
    Items(Vec<Arc<FeedItem>>),
    /// Events after the cursor have left memory; `first_available` is the first that has not.
    Behind {
        /// The first event that is still held.
        first_available: EventId,
    },
}

/// The tail of one session's log.
#[derive(Debug)]
pub struct Feed {
    max_bytes: usize,
    tail: Mutex<Tail>,
    last: watch::Sender<EventId>,
}

/// Guarded by a std mutex: it is held for a push or a copy of references, never across an await.
#[derive(Debug, Default)]
struct Tail {
    items: VecDeque<Arc<FeedItem>>,
    bytes: usize,
    /// The last event that is no longer held.
    dropped_to: EventId,
}

impl Feed {
    /// An empty feed that holds at most `max_bytes` of rendered events, and at least the newest one.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            tail: Mutex::default(),
            last: watch::Sender::new(EventId::START),
        }
    }

    /// A feed that holds nothing: all that came after `id` is in the store.
    #[must_use]
    pub fn behind(id: EventId) -> Self {
        let feed = Self::new(0);
        feed.start_after(EventId::from_number(EventId::MAX).unwrap_or(id));
        feed
    }

    /// Publishes events, in the order of their ids.
    pub fn publish(&self, items: impl IntoIterator<Item = FeedItem>) {
        let last = {
            let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            for item in items {
                tail.bytes += item.json.len();
                tail.items.push_back(Arc::new(item));
            }
            while tail.bytes > self.max_bytes && tail.items.len() > 1 {
                if let Some(oldest) = tail.items.pop_front() {
                    tail.bytes -= oldest.json.len();
                    tail.dropped_to = oldest.id;
                }
            }
            tail.items.back().map(|item| item.id)
        };
        if let Some(last) = last {
            self.last.send_replace(last);
        }
    }

    /// Says that everything up to `id` is in the store only: where a feed starts that did not see the log's start.
    pub fn start_after(&self, id: EventId) {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.items.is_empty() {
            tail.dropped_to = tail.dropped_to.max(id);
        }
    }

    /// Up to `limit` events after `cursor`.
    #[must_use]
    pub fn read_after(&self, cursor: EventId, limit: usize) -> FeedRead {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if cursor < tail.dropped_to {
            let next = EventId::from_number(tail.dropped_to.get() + 1).unwrap_or(tail.dropped_to);
            return FeedRead::Behind {
                first_available: tail.items.front().map_or(next, |first| first.id),
            };
        }
        let from = tail.items.partition_point(|item| item.id <= cursor);
        FeedRead::Items(tail.items.iter().skip(from).take(limit).cloned().collect())
    }

    /// Tells the newest id, now and whenever it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<EventId> {
        self.last.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Epoch, EventBody};

    fn item(sequence: u32, text: &str) -> FeedItem {
        FeedItem::render(&Event {
            id: EventId::new(Epoch::new(1).unwrap(), sequence),
            turn_id: None,
            created_at: chrono::DateTime::UNIX_EPOCH,
            body: EventBody::TextDelta {
                text: text.to_owned(),
            },
        })
        .unwrap()
    }

    fn ids(read: FeedRead) -> Vec<u64> {
        match read {
            FeedRead::Items(items) => items.iter().map(|item| item.id.get() & 0xffff_ffff).collect(),
            FeedRead::Behind { first_available } => panic!("behind; first is {first_available}"),
        }
    }

    #[test]
    fn a_cursor_reads_exactly_what_came_after_it() {
        let feed = Feed::new(1 << 20);
        feed.publish([item(1, "a"), item(3, "b"), item(4, "c")]);
        assert_eq!(ids(feed.read_after(EventId::START, 10)), [1, 3, 4]);
        assert_eq!(ids(feed.read_after(item(1, "").id, 10)), [3, 4]);
        assert_eq!(
            ids(feed.read_after(item(2, "").id, 1)),
            [3],
            "a cursor between ids, a limit of one"
        );
        assert!(ids(feed.read_after(item(4, "").id, 10)).is_empty());
    }

    #[test]
    fn memory_is_bounded_and_a_reader_behind_the_bound_is_told() {
        let feed = Feed::new(item(1, "xxxx").json.len() * 3);
        for sequence in 1..=100 {
            feed.publish([item(sequence, "xxxx")]);
        }
        assert!(feed.tail.lock().unwrap().bytes <= feed.max_bytes);
        let FeedRead::Behind { first_available } = feed.read_after(item(1, "").id, 10) else {
            panic!("events were lost in silence")
        };
        assert!(
            !ids(feed.read_after(EventId::from_number(first_available.get() - 1).unwrap(), 10)).is_empty()
        );
    }

    #[test]
    fn the_newest_event_is_held_even_if_it_alone_is_over_the_bound() {
        let feed = Feed::new(1);
        feed.publish([item(1, "a")]);
        assert_eq!(ids(feed.read_after(EventId::START, 10)), [1]);
    }

    #[tokio::test]
    async fn what_is_published_before_a_reader_waits_wakes_it_all_the_same() {
        let feed = Feed::new(1 << 20);
        let mut last = feed.watch();
        let seen = *last.borrow_and_update();
        feed.publish([item(1, "a")]);
        last.changed().await.unwrap();
        assert!(*last.borrow() > seen);
    }
}
