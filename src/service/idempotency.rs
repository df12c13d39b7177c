//! Requests that are sent again: the second one gets what the first one began.

use std::sync::Arc;

use super::error::{Error, RETRY_SOON};
use crate::domain::{Clock, TenantId, TurnReceipt};
use crate::store::{Begun, Store};
use chrono::TimeDelta;

/// How long a request may take to begin its turn before it counts as given up.
const GIVEN_UP: TimeDelta = TimeDelta::minutes(2);

/// What makes a request the same as another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// The key that its client gave it.
    pub key: String,
    /// A digest of what it asks for.
    pub fingerprint: [u8; 32],
}

/// Remembers which request began which turn.
#[derive(Debug)]
pub(super) struct Idempotency {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Idempotency {
    pub(super) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Begins a request: `None` when it is new, else the receipt of the turn that it began the first time.
    pub(super) async fn begin(&self, tenant: TenantId, once: &Once) -> Result<Option<TurnReceipt>, Error> {
        let now = self.clock.now();
        let begun = self
            .store
            .begin_request(tenant, &once.key, once.fingerprint, now, now - GIVEN_UP)
            .await?;
        match begun {
            Begun::New => Ok(None),
            Begun::InProgress => Err(Error::RequestInProgress {
                retry_after: RETRY_SOON,
            }),
            Begun::Different => Err(Error::KeyReused),
            Begun::Done(receipt) => {
                let receipt = serde_json::from_slice(&receipt).map_err(|error| Error::Internal {
                    action: "what a request was answered with cannot be read",
                    source: Box::new(error),
                })?;
                Ok(Some(receipt))
            }
        }
    }

    /// Forgets a request that began nothing, so that it may be sent again.
    pub(super) async fn forget(&self, tenant: TenantId, once: &Once) {
        if let Err(error) = self.store.forget_request(tenant, &once.key).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a request that began nothing was not forgotten"
            );
        }
    }
}
