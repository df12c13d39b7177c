//! What an agent uses of the model, entered in the ledger by turn and model.
//!
//! Entries hold the running totals of a turn and model. A ledger keeps the larger figure of two, so entering one twice, or
//! an older one late, changes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::{Clock, MicroUsd, SessionId, TenantId, TurnId, Usage, UsageRecord, UserId};
use crate::lifecycle::Tasks;
use crate::store::{Store, StoreError};

/// How often an entry is offered to a store that does not take it, and how long is waited in between.
const RETRIES: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_mins(1),
];

/// Whose requests a door's are.
#[derive(Debug, Clone)]
pub struct Account {
    /// The tenant.
    pub tenant: TenantId,
    /// The user and the session; nobody's where the CLI is asked about itself.
    pub session: Option<(SessionId, UserId)>,
}

/// Counts what one agent uses.
#[derive(Debug, Clone)]
pub struct Meter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    account: Account,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    /// The turn that runs, or ran last.
    turn: Option<TurnId>,
    /// What that turn used, by model; before the agent's first turn, what will be its.
    used: BTreeMap<String, Usage>,
}

impl Meter {
    pub(super) fn new(account: Account, store: Arc<dyn Store>, clock: Arc<dyn Clock>, tasks: Tasks) -> Self {
        Self {
            inner: Arc::new(Inner {
                account,
                store,
                clock,
                tasks,
                counted: Mutex::default(),
            }),
        }
    }

    /// Whose it is.
    pub(super) fn tenant(&self) -> TenantId {
        self.inner.account.tenant
    }

    /// From now on, what is used is this turn's.
    pub fn begin_turn(&self, turn: TurnId) {
        let mut counted = self.lock();
        // What was used before the first turn is entered with the first.
        if counted.turn.replace(turn).is_some() {
            counted.used.clear();
        }
    }

    /// Counts what a response used, and has it entered.
    pub(super) fn count(&self, model: &str, used: Usage) {
        if used == Usage::default() {
            return;
        }
        let Some((session, owner)) = self.inner.account.session.clone() else {
            return;
        };
        let mut counted = self.lock();
        let total = counted.used.entry(model.to_owned()).or_default();
        *total = total.plus(used);
        let Some(turn) = counted.turn else { return };
        let at = self.inner.clock.now();
        let records = counted
            .used
            .iter()
            .map(|(model, usage)| UsageRecord {
                turn,
                model: model.clone(),
                session,
                user: owner.clone(),
                usage: *usage,
                cost: MicroUsd::ZERO,
                at,
            })
            .collect::<Vec<_>>();
        drop(counted);
        let meter = self.clone();
        self.inner.tasks.spawn(async move { meter.enter(&records).await });
    }

    async fn enter(&self, records: &[UsageRecord]) {
        for wait in RETRIES {
            match self.try_enter(records).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "usage was not entered in the ledger; it is tried again"
                ),
            }
            tokio::time::sleep(wait).await;
        }
        if let Err(error) = self.try_enter(records).await {
            tracing::error!(error = &error as &dyn std::error::Error, usage = ?records,
                "usage was not entered in the ledger, and is lost");
        }
    }

    async fn try_enter(&self, records: &[UsageRecord]) -> Result<(), StoreError> {
        self.inner
            .store
            .record_usage(self.inner.account.tenant, records)
            .await
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.inner.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
