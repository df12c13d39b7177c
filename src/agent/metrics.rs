//! What is counted and measured of agents and turns, in Prometheus' terms.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::domain::{MicroUsd, TurnStatus};

/// Upper bounds in seconds: from a warm first delta to a turn of half an hour.
const BOUNDS: [f64; 15] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0,
];

/// How turns end.
const ENDS: [TurnStatus; 5] = [
    TurnStatus::Completed,
    TurnStatus::Failed,
    TurnStatus::Interrupted,
    TurnStatus::TimedOut,
    TurnStatus::Unknown,
];

/// Why an agent was ended while its session went on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: String,
}

/// For what an agent was started.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Purpose {
    purpose: &'static str,
}

/// One who reads a session's log; counted until it is dropped.
#[derive(Debug)]
pub struct Reading(Gauge);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts and measures over all agents of a server.
#[derive(Debug)]
pub struct AgentMetrics {
    starts: Family<Purpose, Histogram>,
    turns: Family<Status, Histogram>,
    first_delta: Histogram,
    evictions: Family<Reason, Counter>,
    crashes: Counter,
    garbage_lines: Counter,
    metered: Counter,
    reported: Counter,
    readers: Gauge,
}

fn seconds() -> Histogram {
    Histogram::new(BOUNDS)
}

impl Default for AgentMetrics {
    fn default() -> Self {
        Self {
            starts: Family::new_with_constructor(seconds),
            turns: Family::new_with_constructor(seconds),
            first_delta: seconds(),
            evictions: Family::default(),
            crashes: Counter::default(),
            garbage_lines: Counter::default(),
            metered: Counter::default(),
            reported: Counter::default(),
            readers: Gauge::default(),
        }
    }
}

impl AgentMetrics {
    /// Makes them part of what is told. What is told by a label is told from the beginning, as zero.
    pub fn register(&self, registry: &mut Registry) {
        for purpose in ["turn", "ahead"] {
            drop(self.starts.get_or_create(&Purpose { purpose }));
        }
        for reason in ["idle", "room", "memory", "moved"] {
            drop(self.evictions.get_or_create(&Reason { reason }));
        }
        for status in ENDS {
            let status = status.to_string();
            drop(self.turns.get_or_create(&Status { status }));
        }
        registry.register_with_unit(
            "agent_start",
            "From the wish for an agent until it is ready, waiting included; by purpose: turn, or ahead",
            Unit::Seconds,
            self.starts.clone(),
        );
        registry.register_with_unit(
            "turn",
            "From the taking of a turn until its end, waiting included; by how it ended",
            Unit::Seconds,
            self.turns.clone(),
        );
        registry.register_with_unit(
            "turn_first_delta",
            "From the taking of a turn until its first piece of text",
            Unit::Seconds,
            self.first_delta.clone(),
        );
        registry.register(
            "agent_evictions",
            "Agents that were ended while their session went on; by reason: idle, room, memory, moved (to another instance)",
            self.evictions.clone(),
        );
        registry.register(
            "agent_crashes",
            "Agents that ended in the middle of a turn",
            self.crashes.clone(),
        );
        registry.register(
            "agent_garbage_lines",
            "Lines of agents that were no messages and were skipped",
            self.garbage_lines.clone(),
        );
        registry.register(
            "turn_cost_metered_micro_usd",
            "What turns cost that the CLI gave an account of, by the gateway's account",
            self.metered.clone(),
        );
        registry.register(
            "turn_cost_reported_micro_usd",
            "What the same turns cost by the CLI's account",
            self.reported.clone(),
        );
        registry.register(
            "log_readers",
            "Those who read a session's log now: streams, sockets, and who waits for a turn",
            self.readers.clone(),
        );
    }

    /// Counts one who reads a log.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.readers.inc();
        Reading(self.readers.clone())
    }

    /// Counts what a turn cost by the gateway's account, and by the CLI's.
    pub(super) fn accounts_compared(&self, metered: MicroUsd, reported: MicroUsd) {
        self.metered.inc_by(metered.get());
        self.reported.inc_by(reported.get());
    }

    pub(super) fn agent_ready(&self, after: Duration, ahead: bool) {
        let purpose = if ahead { "ahead" } else { "turn" };
        self.starts
            .get_or_create(&Purpose { purpose })
            .observe(after.as_secs_f64());
    }

    pub(super) fn turn_ended(&self, status: TurnStatus, after: Duration) {
        let status = status.to_string();
        self.turns
            .get_or_create(&Status { status })
            .observe(after.as_secs_f64());
    }

    pub(super) fn first_delta(&self, after: Duration) {
        self.first_delta.observe(after.as_secs_f64());
    }

    pub(super) fn agent_evicted(&self, reason: &'static str) {
        self.evictions.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn agent_crashed(&self) {
        self.crashes.inc();
    }

    pub(super) fn garbage_line(&self) {
        self.garbage_lines.inc();
    }

    /// How many lines of all agents were no messages.
    #[must_use]
    pub fn garbage_lines(&self) -> u64 {
        self.garbage_lines.get()
    }
}
