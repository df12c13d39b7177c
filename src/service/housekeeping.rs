//! Removes what is no longer to be kept: expired sessions, what removed sessions left, old pieces of messages, old
//! events. A little at a time, so that it is never in the way, for as long as the server runs.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::idempotency::forget_old;
use super::sessions::border;
use crate::agent::Agents;
use crate::cluster::Cluster;
use crate::domain::{Clock, Tenant, TenantId, TenantName};
use crate::gateway::billing::settle_abandoned;
use crate::lifecycle::Shutdown;
use crate::store::{Result, Store, TrimKind};

/// How long things are kept.
#[derive(Debug, Clone)]
pub struct KeepRules {
    /// How long a session lives after its last use; zero: for ever.
    pub ttl: Duration,
    /// How long one that has expired is kept; for ever when absent.
    pub removal_delay: Option<Duration>,
    /// How long pieces of messages are kept after their turn.
    pub delta_retention: Duration,
    /// How long events other than messages are kept; zero: as long as messages.
    pub retention: Duration,
    /// How long messages are kept; zero: as long as their session.
    pub message_retention: Duration,
    /// How often it is looked.
    pub sweep_interval: Duration,
    /// How long it is kept what requests with idempotency keys were answered with.
    pub answer_retention: Duration,
    /// After how long a request for the model counts as abandoned whose server does not tell of it.
    pub abandoned_after: Duration,
    /// How long what was sent to webhooks is kept.
    pub delivery_retention: Duration,
    /// How many sessions, or rows, are removed in one step.
    pub sweep_batch: u32,
}

/// What one look removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Sessions.
    pub sessions: u64,
    /// Rows that removed sessions had left.
    pub left_behind: u64,
    /// Rows of pieces of messages.
    pub deltas: u64,
    /// Rows of events.
    pub events: u64,
    /// Requests for the model that were abandoned, and were settled.
    pub abandoned: u64,
}

/// Removes what is no longer to be kept.
#[derive(Debug)]
pub struct Housekeeping {
    store: Arc<dyn Store>,
    agents: Agents,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
    rules: KeepRules,
    /// The instances, where there can be several: one looks for all.
    cluster: Option<Cluster>,
}

impl Housekeeping {
    /// Over these parts, by these rules.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        agents: Agents,
        clock: Arc<dyn Clock>,
        shutdown: Shutdown,
        rules: KeepRules,
        cluster: Option<Cluster>,
    ) -> Self {
        Self {
            store,
            agents,
            clock,
            shutdown,
            rules,
            cluster,
        }
    }

    /// Looks again and again, for as long as the server runs.
    pub async fn run(self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.rules.sweep_interval) => {}
                () = self.shutdown.begun() => return,
            }
            if self.cluster.as_ref().is_some_and(|cluster| !cluster.leads()) {
                continue;
            }
            match self.sweep().await {
                Ok(swept) if swept == Swept::default() => {}
                Ok(swept) => tracing::info!(
                    sessions = swept.sessions,
                    left_behind = swept.left_behind,
                    deltas = swept.deltas,
                    events = swept.events,
                    abandoned_requests = swept.abandoned,
                    "removed what is no longer to be kept"
                ),
                // The next look finds the same again.
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "not everything that is no longer to be kept was removed"
                ),
            }
        }
    }

    /// Looks once.
    pub async fn sweep(&self) -> Result<Swept> {
        let now = self.clock.now();
        let mut swept = Swept::default();
        let (rules, ttl) = (&self.rules, self.rules.ttl);
        if let Some(delay) = rules.removal_delay.filter(|_| !ttl.is_zero())
            && let Some(unused_since) = border(now, ttl.checked_add(delay))
        {
            swept.sessions = self.repeat(Step::Remove { unused_since }).await?;
        }
        if let Some(before) = border(now, Some(rules.abandoned_after)) {
            swept.abandoned = settle_abandoned(&*self.store, before).await?;
        }
        if let Some(before) = border(now, Some(rules.answer_retention)) {
            forget_old(&*self.store, before, rules.sweep_batch).await?;
        }
        // What is full is as if it had never been; nobody needs to be told.
        while self.store.forget_buckets(now, rules.sweep_batch).await? >= u64::from(rules.sweep_batch) {}
        if let Some(before) = border(now, Some(rules.delivery_retention)) {
            while self.store.forget_deliveries(before, rules.sweep_batch).await?
                >= u64::from(rules.sweep_batch)
            {}
        }
        swept.left_behind = self.repeat(Step::Purge).await?;
        self.trim_logs(now, &mut swept).await?;
        Ok(swept)
    }

    /// Removes what is too old of tenants' logs, of each by its own limits.
    async fn trim_logs(&self, now: DateTime<Utc>, swept: &mut Swept) -> Result<()> {
        const TENANTS_AT_ONCE: u32 = 100;
        let mut after: Option<TenantName> = None;
        loop {
            let tenants = self.store.list_tenants(after.as_ref(), TENANTS_AT_ONCE).await?;
            let Some(last) = tenants.last() else {
                return Ok(());
            };
            after = Some(last.name.clone());
            for tenant in &tenants {
                for (kind, age) in self.retention_of(tenant) {
                    let Some(before) = border(now, age) else { continue };
                    let step = Step::Trim {
                        tenant: tenant.id,
                        kind,
                        before,
                    };
                    let trimmed = self.repeat(step).await?;
                    match kind {
                        TrimKind::Deltas => swept.deltas += trimmed,
                        TrimKind::Events | TrimKind::All => swept.events += trimmed,
                    }
                }
            }
        }
    }

    /// How old what a tenant's logs hold may be; any age where there is none.
    fn retention_of(&self, tenant: &Tenant) -> [(TrimKind, Option<Duration>); 3] {
        let unless_zero = |age: Duration| Some(age).filter(|age| !age.is_zero());
        let own = |seconds: Option<u64>, default: Option<Duration>| match seconds {
            Some(seconds) => unless_zero(Duration::from_secs(seconds)),
            None => default,
        };
        let (rules, limits) = (&self.rules, tenant.limits);
        [
            (
                TrimKind::All,
                own(
                    limits.message_retention_seconds,
                    unless_zero(rules.message_retention),
                ),
            ),
            (
                TrimKind::Events,
                own(limits.event_retention_seconds, unless_zero(rules.retention)),
            ),
            (
                TrimKind::Deltas,
                own(limits.delta_retention_seconds, Some(rules.delta_retention)),
            ),
        ]
    }

    /// Takes steps until one finds nothing, or the server is to end; how much they did.
    async fn repeat(&self, step: Step) -> Result<u64> {
        let mut done = 0;
        while !self.shutdown.has_begun() {
            match self.take(step).await? {
                0 => break,
                some => done += some,
            }
        }
        Ok(done)
    }

    async fn take(&self, step: Step) -> Result<u64> {
        let limit = self.rules.sweep_batch;
        match step {
            Step::Remove { unused_since } => self.remove_sessions(unused_since, limit).await,
            Step::Purge => self.store.purge_removed(limit).await,
            Step::Trim { tenant, kind, before } => self.store.trim_events(tenant, kind, before, limit).await,
        }
    }

    async fn remove_sessions(&self, unused_since: DateTime<Utc>, limit: u32) -> Result<u64> {
        let mut removed = 0;
        for (tenant, session) in self.store.unused_sessions(unused_since, limit).await? {
            if self.shutdown.has_begun() {
                break;
            }
            // It takes no turn any more. Done before it is forgotten, so that nothing is left that nobody knows.
            self.agents.remove_checkpoints(tenant, session).await;
            if self.store.remove_session(tenant, session, unused_since).await? {
                self.agents.close(tenant, session).await;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// One of the things that are done a little at a time.
#[derive(Debug, Clone, Copy)]
enum Step {
    Remove {
        unused_since: DateTime<Utc>,
    },
    Purge,
    Trim {
        tenant: TenantId,
        kind: TrimKind,
        before: DateTime<Utc>,
    },
}
