//! `webhooks`: events that are sent to where tenants want them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::api::Network;
use super::{duration, require};

/// Events that are sent to where tenants want them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhooksSection {
    /// The most webhooks of a tenant.
    pub max_per_tenant: u32,
    /// How long is waited before each try, counted from the one before; after the last, what failed is a dead letter.
    #[serde(with = "duration::list")]
    pub schedule: Vec<Duration>,
    /// How long a try may take.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// The most tries at once, on each instance.
    pub concurrency_max: usize,
    /// The most tries at once of one webhook, so that a slow one does not hold up the others.
    pub webhook_concurrency_max: u32,
    /// How often it is looked for what is due.
    #[serde(with = "duration")]
    pub poll_interval: Duration,
    /// After how long of nothing but failures a webhook is switched off; 0: never.
    #[serde(with = "duration")]
    pub disable_after: Duration,
    /// How long the secret before the current one still signs too.
    #[serde(with = "duration")]
    pub rotation_grace: Duration,
    /// How long what was delivered, and dead letters, are kept.
    #[serde(with = "duration")]
    pub retention: Duration,
    /// The most events of one replay.
    pub replay_max: u32,
    /// Whether webhooks may be without TLS.
    pub allow_http: bool,
    /// The private networks that webhooks may be in: addresses, or networks such as `10.0.0.0/8`. None by default.
    pub allowed_networks: Vec<Network>,
}

impl Default for WebhooksSection {
    fn default() -> Self {
        let (minutes, hours) = (Duration::from_mins, Duration::from_hours);
        Self {
            max_per_tenant: 20,
            schedule: vec![
                Duration::ZERO,
                Duration::from_secs(5),
                minutes(5),
                minutes(30),
                hours(2),
                hours(5),
                hours(10),
                hours(10),
            ],
            timeout: Duration::from_secs(15),
            concurrency_max: 64,
            webhook_concurrency_max: 4,
            poll_interval: Duration::from_millis(500),
            disable_after: hours(5 * 24),
            rotation_grace: hours(24),
            retention: hours(30 * 24),
            replay_max: 10_000,
            allow_http: false,
            allowed_networks: Vec::new(),
        }
    }
}

impl WebhooksSection {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        require(
            (1..=100).contains(&self.schedule.len()),
            problems,
            "webhooks.schedule: must have 1 to 100 entries",
        );
        for (time, name) in [(self.timeout, "timeout"), (self.poll_interval, "poll_interval")] {
            require(
                !time.is_zero(),
                problems,
                &format!("webhooks.{name}: must be more than 0"),
            );
        }
        require(
            self.concurrency_max > 0 && self.webhook_concurrency_max > 0,
            problems,
            "webhooks.concurrency_max, webhooks.webhook_concurrency_max: must be at least 1",
        );
        require(
            (1..=100_000).contains(&self.replay_max),
            problems,
            "webhooks.replay_max: must be between 1 and 100000",
        );
    }
}
