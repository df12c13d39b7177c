//! What is counted and measured of a store, in Prometheus' terms. The store in memory commits nothing and counts nothing.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::StoreError;

/// Upper bounds in seconds: from a read that is in memory to a database that was away for a while.
const BOUNDS: [f64; 13] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];
/// Upper bounds of how many writes share a commit.
const GROUPS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// Counts and measures of one store. Clones share them.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    reads: Histogram,
    log_writes: Histogram,
    log_events: Counter,
    commits: Histogram,
    groups: Histogram,
    errors: Family<Kind, Counter>,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            reads: Histogram::new(BOUNDS),
            log_writes: Histogram::new(BOUNDS),
            log_events: Counter::default(),
            commits: Histogram::new(BOUNDS),
            groups: Histogram::new(GROUPS),
            errors: Family::default(),
        }
    }
}

impl StoreMetrics {
    /// Makes them part of what is told. What is told by a label is told from the beginning, as zero.
    pub fn register(&self, registry: &mut Registry) {
        for kind in ["unavailable", "read_only", "full", "corrupt", "failed"] {
            drop(self.errors.get_or_create(&Kind { kind }));
        }
        registry.register_with_unit(
            "store_read",
            "A query that only reads, waiting for a connection included",
            Unit::Seconds,
            self.reads.clone(),
        );
        registry.register_with_unit(
            "log_write",
            "A write to a session's log, from being queued until it is durable or refused",
            Unit::Seconds,
            self.log_writes.clone(),
        );
        registry.register(
            "log_events",
            "Events that were made durable",
            self.log_events.clone(),
        );
        registry.register_with_unit(
            "store_commit",
            "A commit of a group of writes, further tries included",
            Unit::Seconds,
            self.commits.clone(),
        );
        registry.register(
            "store_commit_writes",
            "How many writes shared a commit",
            self.groups.clone(),
        );
        registry.register(
            "store_errors",
            "What the store could not do; by kind: unavailable, read_only, full, corrupt, failed",
            self.errors.clone(),
        );
    }

    pub(super) fn read(&self, took: Duration) {
        self.reads.observe(took.as_secs_f64());
    }

    pub(super) fn log_written(&self, events: usize, took: Duration) {
        self.log_events.inc_by(u64::try_from(events).unwrap_or(u64::MAX));
        self.log_writes.observe(took.as_secs_f64());
    }

    pub(super) fn committed(&self, writes: usize, took: Duration) {
        self.groups
            .observe(u32::try_from(writes).map_or(f64::INFINITY, f64::from));
        self.commits.observe(took.as_secs_f64());
    }

    /// Counts an error that is the store's own, and hands it on.
    pub(super) fn failed(&self, error: StoreError) -> StoreError {
        let kind = match &error {
            StoreError::Unavailable(_) => "unavailable",
            StoreError::ReadOnly(_) => "read_only",
            StoreError::Full(_) => "full",
            StoreError::Corrupt { .. } => "corrupt",
            StoreError::Failed { .. } => "failed",
            // Answers to what was asked, and what a start is refused for.
            _ => return error,
        };
        self.errors.get_or_create(&Kind { kind }).inc();
        error
    }
}
