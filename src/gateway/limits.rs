//! What a tenant may ask of the model: which models, how much at once, how often.

use std::sync::Arc;

use super::refusal::Refusal;
use crate::domain::pattern::any_matches;
use crate::domain::{Tenant, TenantId};
use crate::limits::Limits;
use crate::limits::counter::{Counter, Occupied};

/// What tenants ask for now.
#[derive(Debug)]
pub(super) struct ModelLimits {
    /// The models that the platform allows. Empty: all.
    models: Vec<String>,
    limits: Arc<Limits>,
    running: Counter,
}

/// A request that may run; it counts until it is dropped.
#[derive(Debug)]
pub(super) struct Admission {
    _running: Occupied,
}

impl ModelLimits {
    pub(super) fn new(models: Vec<String>, limits: Arc<Limits>) -> Self {
        Self {
            models,
            limits,
            running: Counter::default(),
        }
    }

    /// The tenant whose agent asks.
    pub(super) async fn tenant(&self, tenant: TenantId) -> Result<Option<Tenant>, Refusal> {
        self.limits.of(tenant).await.map_err(|error| {
            tracing::error!(tenant.id = %tenant, error = &error as &dyn std::error::Error, "a tenant cannot be read");
            Refusal::Ledger
        })
    }

    /// Whether this model may be asked.
    pub(super) fn check_model(&self, tenant: Option<&Tenant>, model: &str) -> Result<(), Refusal> {
        let policy = tenant.and_then(|tenant| tenant.policy.models.as_deref());
        let platform = self.models.is_empty() || any_matches(&self.models, model);
        if platform && policy.is_none_or(|models| any_matches(models, model)) {
            Ok(())
        } else {
            Err(Refusal::Model(model.chars().take(100).collect()))
        }
    }

    /// Counts a request of the tenant, if it may run now.
    pub(super) async fn admit(&self, id: TenantId, tenant: Option<&Tenant>) -> Result<Admission, Refusal> {
        let limits = tenant.map(|tenant| tenant.limits).unwrap_or_default();
        // What is refused for want of a place costs nothing of the rate.
        let running = self.running.occupy(id, limits.model_requests_max.unwrap_or(0));
        let running = running.ok_or(Refusal::Concurrency)?;
        let per_minute = limits.model_requests_per_minute.unwrap_or(0);
        match self.limits.count_model_request(id, per_minute).await {
            Ok(None) => Ok(Admission { _running: running }),
            Ok(Some(wait)) => Err(Refusal::Rate(wait)),
            Err(_) => Err(Refusal::Ledger),
        }
    }
}
