//! What is counted and measured of requests to the model, in Prometheus' terms.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use strum::VariantNames as _;

use super::refusal::Refusal;
use crate::domain::budget::WARNING_PERCENTS;
use crate::domain::{MicroUsd, Usage};

/// Upper bounds in seconds: from an answer out of a cache to a long one.
const BOUNDS: [f64; 13] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What tokens were used as.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tokens {
    kind: &'static str,
}

/// How far a budget is used up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Share {
    percent: u64,
}

/// Counts and measures of a gateway. Clones share them.
#[derive(Debug, Clone)]
pub struct GatewayMetrics {
    requests: Family<Outcome, Counter>,
    running: Gauge,
    first_byte: Histogram,
    whole: Histogram,
    tokens: Family<Tokens, Counter>,
    cost: Counter,
    unsettled: Counter,
    warnings: Family<Share, Counter>,
}

impl Default for GatewayMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            running: Gauge::default(),
            first_byte: Histogram::new(BOUNDS),
            whole: Histogram::new(BOUNDS),
            tokens: Family::default(),
            cost: Counter::default(),
            unsettled: Counter::default(),
            warnings: Family::default(),
        }
    }
}

impl GatewayMetrics {
    /// Makes them part of what is told. What is told by a label is told from the beginning, as zero.
    pub fn register(&self, registry: &mut Registry) {
        let refusals = Refusal::VARIANTS.iter().copied();
        for outcome in ["answered", "upstream_error", "broken_off"]
            .into_iter()
            .chain(refusals)
        {
            drop(self.requests.get_or_create(&Outcome { outcome }));
        }
        for (kind, _) in kinds(Usage::default()) {
            drop(self.tokens.get_or_create(&Tokens { kind }));
        }
        for percent in WARNING_PERCENTS {
            drop(self.warnings.get_or_create(&Share { percent }));
        }
        registry.register(
            "gateway_requests",
            "Requests of agents to the model; by outcome: answered, upstream_error, broken_off, or why it was refused",
            self.requests.clone(),
        );
        registry.register(
            "gateway_requests_running",
            "Requests whose answer is on its way",
            self.running.clone(),
        );
        registry.register_with_unit(
            "gateway_first_byte",
            "From sending a request until the head of its answer",
            Unit::Seconds,
            self.first_byte.clone(),
        );
        registry.register_with_unit(
            "gateway_request",
            "From sending a request until the end of its answer, however it ended",
            Unit::Seconds,
            self.whole.clone(),
        );
        registry.register(
            "gateway_tokens",
            "Tokens that were used; by kind: input, output, cache_read, cache_creation",
            self.tokens.clone(),
        );
        registry.register(
            "gateway_cost_micro_usd",
            "What was entered in the ledger, by the prices that are set",
            self.cost.clone(),
        );
        registry.register(
            "gateway_ledger_failures",
            "Entries that the ledger did not take in time; they are settled later with what was noted of them",
            self.unsettled.clone(),
        );
        registry.register(
            "budget_warnings",
            "Budgets of which a share was used up; by percent",
            self.warnings.clone(),
        );
    }

    pub(super) fn refused(&self, why: &'static str) {
        self.requests.get_or_create(&Outcome { outcome: why }).inc();
    }

    /// The head of an answer has come; it is on its way until [`Self::ended`].
    pub(super) fn begun(&self, after: Duration) {
        self.first_byte.observe(after.as_secs_f64());
        self.running.inc();
    }

    pub(super) fn ended(&self, outcome: &'static str, after: Duration) {
        self.running.dec();
        self.whole.observe(after.as_secs_f64());
        self.requests.get_or_create(&Outcome { outcome }).inc();
    }

    /// What a request used is in the ledger.
    pub(super) fn settled(&self, usage: Usage, cost: MicroUsd) {
        for (kind, tokens) in kinds(usage) {
            self.tokens.get_or_create(&Tokens { kind }).inc_by(tokens);
        }
        self.cost.inc_by(cost.get());
    }

    pub(super) fn not_settled(&self) {
        self.unsettled.inc();
    }

    pub(super) fn warned(&self, percent: u64) {
        self.warnings.get_or_create(&Share { percent }).inc();
    }
}

/// Tokens by what they were used as.
fn kinds(usage: Usage) -> [(&'static str, u64); 4] {
    [
        ("input", usage.input_tokens),
        ("output", usage.output_tokens),
        ("cache_read", usage.cache_read_input_tokens),
        ("cache_creation", usage.cache_creation_input_tokens),
    ]
}
