//! What a request may spend is set aside before it is sent; what it did spend is entered in the ledger when it is over,
//! however it ends.
//!
//! While it runs, what is seen of it is noted in the store. Should the server die, that is what it is billed at.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::Shared;
use super::meter::Meter;
use super::metrics::GatewayMetrics;
use super::refusal::Refusal;
use crate::domain::{
    Clock, EntryId, LedgerEntry, MicroUsd, Payer, Reservation, Reserved, Spender, TenantId, Usage,
};
use crate::lifecycle::Tasks;
use crate::limits::prices::{Rates, Used};
use crate::store::{Store, StoreError};

/// How often what is seen of a request is noted, while it changes.
const NOTED_EVERY: Duration = Duration::from_secs(1);
/// How often it is noted that a request runs, while nothing changes.
pub(super) const RENEWED_EVERY: Duration = Duration::from_secs(15);
/// How long is waited before budgets are asked again, at first and at most.
const ASKED_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// How long is waited before an entry is offered again to a store that does not take it.
const RETRIES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_mins(1),
];

/// A request that is to be paid for. Dropped, it is settled.
pub(super) struct Bill {
    meter: Meter,
    tenant: TenantId,
    entry: LedgerEntry,
    rates: Rates,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    metrics: GatewayMetrics,
    noted_at: Instant,
    noted: Usage,
}

/// What a request is billed by.
pub(super) struct Order<'a> {
    pub(super) model: &'a str,
    pub(super) body_bytes: usize,
    pub(super) max_tokens: u64,
    pub(super) payer: Payer,
}

impl Bill {
    /// Sets aside what the request may spend; waits for others that run, while they hold what it needs.
    pub(super) async fn open(
        gateway: &Shared,
        meter: &Meter,
        spender: Spender,
        order: &Order<'_>,
    ) -> Result<Self, Refusal> {
        let now = gateway.clock.now();
        let rates = gateway
            .settings
            .prices
            .rates(order.model, now.date_naive())
            .ok_or_else(|| Refusal::Price(order.model.chars().take(100).collect()))?;
        let mut reservation = Reservation {
            entry: LedgerEntry {
                id: EntryId::generate(&*gateway.clock),
                spender,
                model: order.model.to_owned(),
                usage: Usage::default(),
                cost: MicroUsd::ZERO,
                payer: order.payer,
                at: now,
            },
            estimate: rates.estimate(order.body_bytes, order.max_tokens),
        };
        reserve(gateway, meter, &mut reservation).await?;
        Ok(Self {
            meter: meter.clone(),
            tenant: meter.tenant(),
            entry: reservation.entry,
            rates,
            store: Arc::clone(&gateway.store),
            clock: Arc::clone(&gateway.clock),
            tasks: gateway.tasks.clone(),
            metrics: gateway.metrics.clone(),
            noted_at: Instant::now(),
            noted: Usage::default(),
        })
    }

    /// Takes note of what was used so far.
    pub(super) fn see(&mut self, used: Used) {
        if used.usage != self.entry.usage {
            self.entry.usage = used.usage;
            self.entry.cost = self.rates.cost(used);
            let entry = &self.entry;
            self.meter
                .count(entry.spender.turn, entry.id, entry.usage, entry.cost);
        }
        let wait = if self.noted == Usage::default() && self.entry.usage != Usage::default() {
            Duration::ZERO
        } else if self.noted == self.entry.usage {
            RENEWED_EVERY
        } else {
            NOTED_EVERY
        };
        if self.noted_at.elapsed() >= wait {
            self.note();
        }
    }

    /// Has it noted that the request runs, and what was seen of it.
    pub(super) fn note(&mut self) {
        self.noted_at = Instant::now();
        self.noted = self.entry.usage;
        let (store, tenant, seen) = (Arc::clone(&self.store), self.tenant, self.entry.clone());
        let now = self.clock.now();
        self.tasks.spawn(async move {
            if let Err(error) = store.note_seen(tenant, &seen, now).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what was seen of a request was not noted"
                );
            }
        });
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        let (store, meter, tenant, entry) = (
            Arc::clone(&self.store),
            self.meter.clone(),
            self.tenant,
            self.entry.clone(),
        );
        let metrics = self.metrics.clone();
        meter.settling().send_modify(|open| *open += 1);
        self.tasks.spawn(async move {
            settle(&*store, &meter, &metrics, tenant, &entry).await;
            meter.settling().send_modify(|open| *open -= 1);
        });
    }
}

async fn settle(
    store: &dyn Store,
    meter: &Meter,
    metrics: &GatewayMetrics,
    tenant: TenantId,
    entry: &LedgerEntry,
) {
    for wait in RETRIES {
        match store.settle(tenant, entry).await {
            Ok(warnings) => {
                metrics.settled(entry.usage, entry.cost);
                for warning in &warnings {
                    metrics.warned(warning.percent);
                }
                return meter.warn(warnings);
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "an entry of the ledger is offered again"
            ),
        }
        tokio::time::sleep(wait).await;
    }
    metrics.not_settled();
    // It is settled later, with what was noted of it.
    tracing::error!(tenant.id = %tenant, entry.id = %entry.id, model = entry.model, cost = entry.cost.get(),
        "an entry of the ledger was not taken");
}

async fn reserve(gateway: &Shared, meter: &Meter, reservation: &mut Reservation) -> Result<(), Refusal> {
    let begun = Instant::now();
    let mut wait = ASKED_AGAIN.0;
    loop {
        match gateway.store.reserve(meter.tenant(), reservation).await {
            Ok(Reserved::Granted) => return Ok(()),
            Ok(Reserved::Exhausted(budget)) => {
                let refusal = Refusal::Budget(budget.describe());
                meter.exhaust(reservation.entry.spender.turn, *budget);
                return Err(refusal);
            }
            Ok(Reserved::Waits(budget)) => {
                if begun.elapsed() + wait > gateway.settings.budget_wait {
                    return Err(Refusal::BudgetBusy(budget.describe()));
                }
            }
            Err(error) => return Err(no_ledger(&error)),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(ASKED_AGAIN.1);
        reservation.entry.at = gateway.clock.now();
    }
}

fn no_ledger(error: &StoreError) -> Refusal {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "the ledger does not take a request"
    );
    Refusal::Ledger
}

/// Settles what servers left that are gone: requests that were last known to run before `before`; how many.
pub async fn settle_abandoned(store: &dyn Store, before: DateTime<Utc>) -> Result<u64, StoreError> {
    const BATCH: u32 = 200;
    let mut settled = 0;
    loop {
        let batch = store.settle_abandoned(before, BATCH).await?;
        settled += batch;
        if batch < u64::from(BATCH) {
            return Ok(settled);
        }
    }
}
