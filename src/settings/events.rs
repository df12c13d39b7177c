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
    /// How long a write waits for others to be committed with it. At 0, those that come while another commit is under
    /// way still share the next one.
    #[serde(with = "duration")]
    pub commit_window: Duration,
    /// The most writes that are committed together.
    pub commit_group_max: usize,
    /// The most writes that wait to be committed; further ones wait for a place.
    pub commit_queue: usize,
    /// How much of a message's pieces gathers before they are stored, in bytes; a whole event stores them earlier.
    pub delta_segment_bytes: usize,
    /// How long pieces of messages are kept after their turn; the whole messages stay.
    #[serde(with = "duration")]
    pub delta_retention: Duration,
    /// How long events other than messages are kept; 0: as long as messages. A tenant's limits
    /// `delta_retention_seconds`, `event_retention_seconds` and `message_retention_seconds` count more than these
    /// three.
    #[serde(with = "duration")]
    pub retention: Duration,
    /// How long messages are kept: prompts, answers, what tools answered; 0: as long as their session.
    #[serde(with = "duration")]
    pub message_retention: Duration,
}

impl Default for EventsSection {
    fn default() -> Self {
        Self {
            feed_max_bytes: 8 * 1024 * 1024,
            heartbeat: Duration::from_secs(10),
            read_batch: 256,
            commit_window: Duration::ZERO,
            commit_group_max: 256,
            commit_queue: 1024,
            delta_segment_bytes: 64 * 1024,
            delta_retention: Duration::from_hours(1),
            retention: Duration::ZERO,
            message_retention: Duration::ZERO,
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
        require(
            self.commit_window <= Duration::from_secs(1),
            problems,
            "events.commit_window: must be at most 1s",
        );
        for (value, name) in [
            (self.commit_group_max, "commit_group_max"),
            (self.commit_queue, "commit_queue"),
        ] {
            require(
                (1..=100_000).contains(&value),
                problems,
                &format!("events.{name}: must be between 1 and 100000"),
            );
        }
    }
}
