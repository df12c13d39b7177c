//! `websocket`: connections on which events come and commands go.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{duration, require};

/// Connections on which events come and commands go.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebsocketSection {
    /// The longest frame that a client may send, in bytes.
    pub frame_max_bytes: usize,
    /// The longest message that a client may send, over all its frames, in bytes.
    pub message_max_bytes: usize,
    /// How often a ping is sent.
    #[serde(with = "duration")]
    pub ping_interval: Duration,
    /// How long a client may be silent, or not take what is sent, before the connection is ended. A client that answers
    /// pings is not silent.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
    /// How long a ticket opens a connection, once.
    #[serde(with = "duration")]
    pub ticket_ttl: Duration,
}

impl Default for WebsocketSection {
    fn default() -> Self {
        Self {
            frame_max_bytes: 10 * 1024 * 1024,
            message_max_bytes: 10 * 1024 * 1024,
            ping_interval: Duration::from_secs(20),
            idle_timeout: Duration::from_mins(1),
            ticket_ttl: Duration::from_secs(30),
        }
    }
}

impl WebsocketSection {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        for (size, name) in [
            (self.frame_max_bytes, "frame_max_bytes"),
            (self.message_max_bytes, "message_max_bytes"),
        ] {
            require(
                size > 0,
                problems,
                &format!("websocket.{name}: must be at least 1"),
            );
        }
        for (time, name) in [
            (self.ping_interval, "ping_interval"),
            (self.ticket_ttl, "ticket_ttl"),
        ] {
            require(
                !time.is_zero(),
                problems,
                &format!("websocket.{name}: must be more than 0"),
            );
        }
        require(
            self.idle_timeout > self.ping_interval,
            problems,
            "websocket.idle_timeout: must be more than websocket.ping_interval, or nobody could answer in time",
        );
    }
}
