//! Requests that are sent again: the second one gets what the first one was answered with.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::Instant;

use super::error::{Error, RETRY_SOON};
use crate::domain::{Clock, Principal, TurnReceipt};
use crate::store::{Begun, Store};

/// How long a request may take before it counts as given up.
const GIVEN_UP: TimeDelta = TimeDelta::minutes(2);
/// How long is waited before it is looked again whether the first one is done: at first, and at most.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// What makes a request the same as another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// The key that its client gave it.
    pub key: String,
    /// A digest of what it asks for.
    pub fingerprint: [u8; 32],
}

/// Remembers what requests were answered with.
#[derive(Debug)]
pub struct Idempotency {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// How long the second of two waits for the first.
    patience: Duration,
}

impl Idempotency {
    /// In this store; the second of two requests waits so long for the first.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, patience: Duration) -> Self {
        Self {
            store,
            clock,
            patience,
        }
    }

    /// Begins a request of the caller's: `None` when it is new, else what it was answered with the first time, once that is
    /// known.
    pub async fn begin(&self, caller: &Principal, once: &Once) -> Result<Option<Vec<u8>>, Error> {
        let begun_at = Instant::now();
        let mut wait = LOOK_AGAIN.0;
        // What one caller may see is not another's to be told: each has keys of its own.
        let key = own_key(caller, once);
        loop {
            let now = self.clock.now();
            let begun = self
                .store
                .begin_request(caller.tenant, &key, once.fingerprint, now, now - GIVEN_UP)
                .await?;
            match begun {
                Begun::New => return Ok(None),
                Begun::Different => return Err(Error::KeyReused),
                Begun::Done(answer) => return Ok(Some(answer)),
                Begun::InProgress if begun_at.elapsed() + wait > self.patience => {
                    return Err(Error::RequestInProgress {
                        retry_after: RETRY_SOON,
                    });
                }
                Begun::InProgress => {}
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LOOK_AGAIN.1);
        }
    }

    /// Keeps what a request was answered with.
    pub async fn finish(&self, caller: &Principal, once: &Once, answer: &[u8]) -> Result<(), Error> {
        let key = own_key(caller, once);
        Ok(self.store.finish_request(caller.tenant, &key, answer).await?)
    }

    /// Forgets a request that did nothing, so that it may be sent again.
    pub async fn forget(&self, caller: &Principal, once: &Once) {
        let key = own_key(caller, once);
        if let Err(error) = self.store.forget_request(caller.tenant, &key).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a request that did nothing was not forgotten"
            );
        }
    }

    /// The same as [`Self::begin`], for a request that begins a turn: its receipt.
    pub(super) async fn begin_turn(
        &self,
        caller: &Principal,
        once: &Once,
    ) -> Result<Option<TurnReceipt>, Error> {
        let answer = self.begin(caller, once).await?;
        let read = |answer: Vec<u8>| {
            serde_json::from_slice(&answer).map_err(|error| Error::Internal {
                action: "what a request was answered with cannot be read",
                source: Box::new(error),
            })
        };
        answer.map(read).transpose()
    }
}

/// The key as it is stored: a caller that acts for one user has its own, so that it is never told another's answer.
pub(super) fn own_key(caller: &Principal, once: &Once) -> String {
    match &caller.user {
        Some(user) => format!("{user}/{}", once.key),
        None => format!("/{}", once.key),
    }
}

/// Forgets what requests were answered with before `before`; how many.
pub(super) async fn forget_old(
    store: &dyn Store,
    before: chrono::DateTime<chrono::Utc>,
    batch: u32,
) -> crate::store::Result<u64> {
    let mut forgotten = 0;
    loop {
        let some = store.forget_requests(before, batch).await?;
        forgotten += some;
        if some < u64::from(batch) {
            return Ok(forgotten);
        }
    }
}
