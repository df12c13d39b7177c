//! The tail of a session's log in memory: what its live readers follow.
//!
//! Readers hold a cursor and wait on a level, never on an edge: whatever was published between two looks is found by
//! the second look, so nothing falls between replay and live. Memory is bounded; what is no longer in it, or never was,
//! is in the store, and readers are sent there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// What an item takes in memory besides its JSON, in bytes, about.
const ITEM_BYTES: usize = 160;

impl FeedItem {
    /// What it takes in memory, in bytes, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.json.len() + ITEM_BYTES
    }

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
    /// What comes after the cursor is not held.
    Stored {
        /// Up to where all that was kept is in the store. Absent while the log is not written by this process: then it is
        /// all there.
        up_to: Option<EventId>,
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
    /// The last event that is not held; nothing is known of the log before it is written by this process.
    dropped_to: Option<EventId>,
    /// The last event that readers saw and the store did not take.
    lost_to: EventId,
    /// Whether nothing will come any more.
    ended: bool,
}

impl Feed {
    /// An empty feed that holds at most `max_bytes` of events, and at least the newest one.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            tail: Mutex::default(),
            last: watch::Sender::new(EventId::START),
        }
    }

    /// Publishes events, in the order of their ids.
    pub fn publish(&self, items: impl IntoIterator<Item = FeedItem>) {
        let last = {
            let mut tail = self.lock();
            for item in items {
                tail.bytes += item.weight();
                tail.items.push_back(Arc::new(item));
            }
            while tail.bytes > self.max_bytes && tail.items.len() > 1 {
                if let Some(oldest) = tail.items.pop_front() {
                    tail.bytes -= oldest.weight();
                    tail.dropped_to = Some(oldest.id);
                }
            }
            tail.items.back().map(|item| item.id)
        };
        if let Some(last) = last {
            self.last.send_replace(last);
        }
    }

    /// Says that everything up to `id` is in the store: this process writes the log from there on. What it wrote before,
    /// and others after that, is not held.
    pub fn start_after(&self, id: EventId) {
        let mut tail = self.lock();
        tail.items.clear();
        tail.bytes = 0;
        tail.dropped_to = tail.dropped_to.max(Some(id));
    }

    /// The same, of a log that another instance writes; whoever waits looks again.
    pub fn mirror_from(&self, id: EventId) {
        self.start_after(id);
        self.wake();
    }

    /// Says that the store did not take what readers saw, up to `id`.
    pub fn note_lost(&self, id: EventId) {
        let mut tail = self.lock();
        tail.lost_to = tail.lost_to.max(id);
    }

    /// The last event that readers saw and the store did not take; the log's start where there is none.
    #[must_use]
    pub fn lost_to(&self) -> EventId {
        self.lock().lost_to
    }

    /// Says that nothing will come any more.
    pub fn end(&self) {
        self.lock().ended = true;
        self.last.send_modify(|_| {});
    }

    /// Lets those look again who wait.
    pub fn wake(&self) {
        self.last.send_modify(|_| {});
    }

    /// Says that the log is not written here any more: what comes next is in the store, or is heard of otherwise.
    pub fn forget(&self) {
        let mut tail = self.lock();
        let (lost_to, ended) = (tail.lost_to, tail.ended);
        *tail = Tail {
            lost_to,
            ended,
            ..Tail::default()
        };
        drop(tail);
        self.wake();
    }

    /// Whether nothing will come any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// The newest event that was published; the log's start where none was.
    #[must_use]
    pub fn newest(&self) -> EventId {
        *self.last.borrow()
    }

    /// Up to `limit` events after `cursor`.
    #[must_use]
    pub fn read_after(&self, cursor: EventId, limit: usize) -> FeedRead {
        let tail = self.lock();
        if tail.dropped_to.is_none_or(|dropped| cursor < dropped) {
            return FeedRead::Stored {
                up_to: tail.dropped_to,
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

    fn lock(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn started() -> Feed {
        let feed = Feed::new(1 << 20);
        feed.start_after(item(0, "").id);
        feed
    }

    fn ids(read: FeedRead) -> Vec<u64> {
        match read {
            FeedRead::Items(items) => items.iter().map(|item| item.id.sequence()).collect(),
            FeedRead::Stored { up_to } => panic!("not held up to {up_to:?}"),
        }
    }

    #[track_caller]
    fn stored(read: FeedRead) -> Option<u64> {
        match read {
            FeedRead::Items(items) => panic!("held: {items:?}"),
            FeedRead::Stored { up_to } => up_to.map(EventId::sequence),
        }
    }

    #[test]
    fn a_cursor_reads_exactly_what_came_after_it() {
        let feed = started();
        feed.publish([item(1, "a"), item(3, "b"), item(4, "c")]);
        assert_eq!(ids(feed.read_after(item(0, "").id, 10)), [1, 3, 4]);
        assert_eq!(ids(feed.read_after(item(1, "").id, 10)), [3, 4]);
        assert_eq!(
            ids(feed.read_after(item(2, "").id, 1)),
            [3],
            "a cursor between ids, a limit of one"
        );
        assert!(ids(feed.read_after(item(4, "").id, 10)).is_empty());
    }

    #[test]
    fn what_was_there_before_this_process_wrote_is_looked_for_in_the_store() {
        let feed = Feed::new(1 << 20);
        assert_eq!(stored(feed.read_after(EventId::START, 10)), None);
        feed.start_after(item(7, "").id);
        assert_eq!(stored(feed.read_after(item(6, "").id, 10)), Some(7));
        assert!(ids(feed.read_after(item(7, "").id, 10)).is_empty());
        feed.publish([item(8, "a")]);
        feed.start_after(item(20, "").id);
        assert_eq!(
            stored(feed.read_after(item(8, "").id, 10)),
            Some(20),
            "another owner came between: what it wrote is in the store"
        );
    }

    #[test]
    fn memory_is_bounded_and_a_reader_behind_the_bound_is_sent_to_the_store() {
        let feed = Feed::new(item(1, "xxxx").weight() * 3);
        feed.start_after(item(0, "").id);
        for sequence in 1..=100 {
            feed.publish([item(sequence, "xxxx")]);
        }
        assert!(feed.tail.lock().unwrap().bytes <= feed.max_bytes);
        let up_to = stored(feed.read_after(item(1, "").id, 10)).expect("it is known up to where");
        let cursor = item(u32::try_from(up_to).unwrap(), "").id;
        assert!(!ids(feed.read_after(cursor, 10)).is_empty());
    }

    #[test]
    fn the_newest_event_is_held_even_if_it_alone_is_over_the_bound() {
        let feed = Feed::new(1);
        feed.start_after(EventId::START);
        feed.publish([item(1, "a")]);
        assert_eq!(ids(feed.read_after(EventId::START, 10)), [1]);
    }

    #[tokio::test]
    async fn what_is_published_before_a_reader_waits_wakes_it_all_the_same() {
        let feed = started();
        let mut last = feed.watch();
        let seen = *last.borrow_and_update();
        feed.publish([item(1, "a")]);
        last.changed().await.unwrap();
        assert!(*last.borrow() > seen);
        feed.end();
        last.changed().await.unwrap();
        assert!(feed.has_ended());
    }
}
