//! What is counted and measured of deliveries to webhooks, in Prometheus' terms.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::domain::DeliveryStatus;

/// Upper bounds in seconds.
const BOUNDS: [f64; 9] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 30.0];

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// Counts and measures of all deliveries. Clones share them.
#[derive(Debug, Clone)]
pub struct DeliveryMetrics {
    tries: Family<Outcome, Counter>,
    took: Histogram,
}

impl Default for DeliveryMetrics {
    fn default() -> Self {
        Self {
            tries: Family::default(),
            took: Histogram::new(BOUNDS),
        }
    }
}

impl DeliveryMetrics {
    /// Makes them part of what is told. What is told by a label is told from the beginning, as zero.
    pub fn register(&self, registry: &mut Registry) {
        for outcome in ["delivered", "failed", "dead"] {
            drop(self.tries.get_or_create(&Outcome { outcome }));
        }
        registry.register(
            "webhook_tries",
            "Tries to deliver an event; by outcome: delivered, failed (it is tried again), dead (it is not)",
            self.tries.clone(),
        );
        registry.register_with_unit(
            "webhook_try",
            "A try to deliver an event, however it ended",
            Unit::Seconds,
            self.took.clone(),
        );
    }

    pub(super) fn tried(&self, state: DeliveryStatus, took: Duration) {
        let outcome = match state {
            DeliveryStatus::Delivered => "delivered",
            DeliveryStatus::Pending => "failed",
            DeliveryStatus::Dead => "dead",
        };
        self.tries.get_or_create(&Outcome { outcome }).inc();
        self.took.observe(took.as_secs_f64());
    }
}
