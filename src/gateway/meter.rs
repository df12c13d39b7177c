//! What an agent uses of the model, entered in the ledger by turn and model.
//!
//! Entries hold the running totals of a turn and model. A ledger keeps the larger figure of two, so entering one twice, or
//! an older one late, changes nothing.

use std::collections::{BTreeMap, BTreeSet};
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

/// How long an answer's figures wait for the turn's end, with which they cost no write of their own. So long a killed server
/// may have lost.
const MOMENT: Duration = Duration::from_millis(250);

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
    /// What that turn and the one before used so far, by model; under no turn, what will be the first one's.
    used: BTreeMap<(Option<TurnId>, String), Usage>,
    /// The turns of which the ledger does not have all of this.
    unentered: BTreeSet<TurnId>,
}

impl Counted {
    fn of(&self, turn: TurnId) -> Vec<(String, Usage)> {
        let own = self.used.iter().filter(|((of, _), _)| *of == Some(turn));
        own.map(|((_, model), used)| (model.clone(), *used)).collect()
    }
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

    /// The turn that runs, or ran last.
    pub(super) fn turn(&self) -> Option<TurnId> {
        self.lock().turn
    }

    /// From now on, what is asked for is this turn's.
    pub fn begin_turn(&self, turn: TurnId) {
        let mut counted = self.lock();
        let before = counted.turn.replace(turn);
        let used = std::mem::take(&mut counted.used);
        for ((of, model), usage) in used {
            if of.is_none() {
                // What was used before the first turn is the first one's.
                counted.unentered.insert(turn);
                counted.used.insert((Some(turn), model), usage);
            } else if of == before {
                // An answer may still be on its way.
                counted.used.insert((of, model), usage);
            }
        }
        let waits = counted.unentered.contains(&turn);
        drop(counted);
        if waits {
            self.enter_soon(turn);
        }
    }

    /// Counts what an answer used that was asked for in this turn, and has it entered.
    pub(super) fn count(&self, turn: Option<TurnId>, model: &str, used: Usage) {
        if used == Usage::default() || self.inner.account.session.is_none() {
            return;
        }
        let mut counted = self.lock();
        let turn = turn.or(counted.turn);
        let total = counted.used.entry((turn, model.to_owned())).or_default();
        *total = total.plus(used);
        let Some(turn) = turn else { return };
        let is_first = counted.unentered.insert(turn);
        drop(counted);
        if is_first {
            self.enter_soon(turn);
        }
    }

    /// What a turn used so far, by model, for one who enters it at once.
    #[must_use]
    pub fn take(&self, turn: TurnId) -> Vec<(String, Usage)> {
        let mut counted = self.lock();
        counted.unentered.remove(&turn);
        counted.of(turn)
    }

    /// Has what a turn used entered after all: who took it could not.
    pub fn put_back(&self, turn: TurnId) {
        if self.lock().unentered.insert(turn) {
            self.enter_soon(turn);
        }
    }

    /// Has what a turn used entered in a moment, unless the turn's end is quicker.
    fn enter_soon(&self, turn: TurnId) {
        let meter = self.clone();
        self.inner.tasks.spawn(async move {
            tokio::time::sleep(MOMENT).await;
            let Some((session, owner)) = &meter.inner.account.session else {
                return;
            };
            let used = {
                let mut counted = meter.lock();
                if !counted.unentered.remove(&turn) {
                    return;
                }
                counted.of(turn)
            };
            let at = meter.inner.clock.now();
            let records: Vec<_> = used
                .into_iter()
                .map(|(model, usage)| UsageRecord {
                    turn,
                    model,
                    session: *session,
                    user: owner.clone(),
                    usage,
                    cost: MicroUsd::ZERO,
                    at,
                })
                .collect();
            meter.enter(&records).await;
        });
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
