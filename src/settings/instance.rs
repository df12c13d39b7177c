//! `instance`: this server as one of several that share a PostgreSQL database.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{duration, require};
use crate::domain::InstanceName;

/// This server as one of several that share a PostgreSQL database.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InstanceSection {
    /// What this instance is called, over its restarts; no two that run may be called the same. Null: the machine's
    /// name and the port.
    pub id: Option<InstanceName>,
    /// Where the other instances reach this one. Null: its address (the machine's name where it listens on all) and
    /// port.
    pub advertise_url: Option<Url>,
    /// How long it counts as alive each time that it says so: so long after it is lost do its sessions go on
    /// elsewhere.
    #[serde(with = "duration")]
    pub lease_ttl: Duration,
    /// How often it says that it lives.
    #[serde(with = "duration")]
    pub heartbeat_interval: Duration,
    /// How long another instance may take to answer.
    #[serde(with = "duration")]
    pub peer_timeout: Duration,
    /// How long the instance that had a session may take to end its agent, before one is started here.
    #[serde(with = "duration")]
    pub handover_timeout: Duration,
    /// The longest request of one instance to another, and the longest line of a log that one tells another, in bytes: more than
    /// the longest prompt with its attachments, and than the longest event.
    pub message_max_bytes: usize,
    /// By how many seconds this machine's clock is taken to be wrong: for tests of what wrong clocks do.
    pub clock_offset_seconds: i64,
}

impl Default for InstanceSection {
    fn default() -> Self {
        Self {
            id: None,
            advertise_url: None,
            lease_ttl: Duration::from_secs(7),
            heartbeat_interval: Duration::from_secs(2),
            peer_timeout: Duration::from_secs(5),
            handover_timeout: Duration::from_secs(2),
            message_max_bytes: 256 * 1024 * 1024,
            clock_offset_seconds: 0,
        }
    }
}

impl InstanceSection {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        require(
            self.message_max_bytes > 0,
            problems,
            "instance.message_max_bytes: must be more than 0",
        );
        for (time, name) in [
            (self.heartbeat_interval, "heartbeat_interval"),
            (self.peer_timeout, "peer_timeout"),
            (self.handover_timeout, "handover_timeout"),
        ] {
            require(
                !time.is_zero(),
                problems,
                &format!("instance.{name}: must be more than 0"),
            );
        }
        require(
            self.lease_ttl >= self.heartbeat_interval * 2,
            problems,
            "instance.lease_ttl: must be at least twice instance.heartbeat_interval, or one late heartbeat ends all agents",
        );
        let offset_max = 86_400;
        require(
            (-offset_max..=offset_max).contains(&self.clock_offset_seconds),
            problems,
            "instance.clock_offset_seconds: must be at most a day",
        );
        let usable = |url: &Url| ["http", "https"].contains(&url.scheme()) && url.host().is_some();
        require(
            self.advertise_url.as_ref().is_none_or(usable),
            problems,
            "instance.advertise_url: must begin with http:// or https:// and name a host",
        );
    }
}
