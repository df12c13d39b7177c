//! `events`: the event log and its readers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{duration, require};

/// The event log and its readers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsSection {
    /// How much of a session's log is held in memory for live readers, in bytes. A reader that falls further behind
    /// reads whole messages from the store instead of pieces of text.
    pub feed_max_bytes: usize,
    /// How long a stream may be silent before a comment is sent to keep proxies from closing it.
    #[serde(with = "duration")]
    pub heartbeat: Duration,
    /// How many events are read at once for a reader.
    pub read_batch: u32,
}

impl Default for EventsSection {
    fn default() -> Self {
        Self {
            feed_max_bytes: 8 * 1024 * 1024,
            heartbeat: Duration::from_secs(10),
            read_batch: 256,
        }
    }
}

impl EventsSection {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        require(
            !self.heartbeat.is_zero(),
            problems,
            "events.heartbeat: must be more than 0",
        );
        require(
            (1..=100_000).contains(&self.read_batch),
            problems,
            "events.read_batch: must be between 1 and 100000",
        );
    }
}
