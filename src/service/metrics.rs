//! What is counted and measured, in the text that Prometheus reads.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::error::Error;
use super::process_metrics::ProcessMetrics;
use crate::agent::Agents;

/// What is told beside the figures.
pub const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Tells what is counted and measured.
#[derive(Debug)]
pub struct MetricsService {
    registry: Registry,
    agents: Agents,
    live: Family<[(&'static str, &'static str); 1], Gauge>,
    waiting: Family<[(&'static str, &'static str); 1], Gauge>,
    memory: Gauge,
}

impl MetricsService {
    /// What these agents count, how many there are, and what `others` register.
    #[must_use]
    pub fn new(agents: Agents, others: impl FnOnce(&mut Registry)) -> Self {
        let mut all = Registry::default();
        all.register_collector(Box::new(ProcessMetrics));
        let registry = all.sub_registry_with_prefix("paddock");
        agents.metrics().register(registry);
        others(registry);
        let (live, waiting, memory) = (Family::default(), Family::default(), Gauge::default());
        registry.register("agents", "Live agents; by state: busy, idle", live.clone());
        registry.register(
            "turns_waiting",
            "Turns that wait; by what for: agent, session",
            waiting.clone(),
        );
        registry.register(
            "agent_memory_bytes",
            "Private memory of all agents and what they started, as of the last look; 0 where nobody looks",
            memory.clone(),
        );
        Self {
            registry: all,
            agents,
            live,
            waiting,
            memory,
        }
    }

    /// All of it, as it is now.
    pub fn render(&self) -> Result<String, Error> {
        let counts = self.agents.counts();
        let set = |family: &Family<_, Gauge>, label, value: &'static str, number: usize| {
            family
                .get_or_create(&[(label, value)])
                .set(i64::try_from(number).unwrap_or(i64::MAX));
        };
        set(&self.live, "state", "busy", counts.busy.min(counts.live));
        set(
            &self.live,
            "state",
            "idle",
            counts.live.saturating_sub(counts.busy),
        );
        set(&self.waiting, "for", "agent", counts.waiting_for_agent);
        set(&self.waiting, "for", "session", counts.waiting_for_session);
        self.memory
            .set(i64::try_from(self.agents.memory_bytes()).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode(&mut text, &self.registry).map_err(|error| Error::Internal {
            action: "metrics were not rendered",
            source: Box::new(error),
        })?;
        Ok(text)
    }
}
