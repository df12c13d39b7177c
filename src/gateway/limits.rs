//! What a tenant may ask of the model: which models, how much at once, how often.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;
use crate::domain::TenantId;

/// What each tenant may ask for.
#[derive(Debug, Clone, Default)]
pub struct LimitSettings {
    /// The models, by name; a name that ends in `*` stands for all that begin so. Empty: all.
    pub models: Vec<String>,
    /// The most requests at once; `None`: no limit.
    pub concurrency: Option<NonZeroU32>,
    /// The most requests a minute; `None`: no limit.
    pub per_minute: Option<NonZeroU32>,
}

/// What tenants ask for now.
#[derive(Debug)]
pub(super) struct TenantLimits {
    settings: LimitSettings,
    running: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
    rate: Option<RateLimiter<TenantId, DefaultKeyedStateStore<TenantId>, DefaultClock>>,
}

/// A request that may run; it counts until it is dropped.
#[derive(Debug)]
pub(super) struct Admission {
    _permit: Option<OwnedSemaphorePermit>,
}

impl TenantLimits {
    pub(super) fn new(settings: LimitSettings) -> Self {
        Self {
            running: Mutex::default(),
            rate: settings
                .per_minute
                .map(|most| RateLimiter::keyed(Quota::per_minute(most))),
            settings,
        }
    }

    /// Whether this model may be asked.
    pub(super) fn check_model(&self, model: &str) -> Result<(), Refusal> {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => model.starts_with(beginning),
            None => pattern == model,
        };
        if self.settings.models.is_empty() || self.settings.models.iter().any(matches) {
            Ok(())
        } else {
            Err(Refusal::Model(model.chars().take(100).collect()))
        }
    }

    /// Counts a request of the tenant, if it may run now.
    pub(super) fn admit(&self, tenant: TenantId) -> Result<Admission, Refusal> {
        // What is refused for want of a place costs nothing of the rate.
        let permit = match self.settings.concurrency {
            Some(most) => Some(self.take_place(tenant, most)?),
            None => None,
        };
        if let Some(rate) = &self.rate
            && let Err(not_until) = rate.check_key(&tenant)
        {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            return Err(Refusal::Rate(wait));
        }
        Ok(Admission { _permit: permit })
    }

    fn take_place(&self, tenant: TenantId, most: NonZeroU32) -> Result<OwnedSemaphorePermit, Refusal> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let most = most.get() as usize;
        // Those who ask for nothing are forgotten.
        running.retain(|other, places| *other == tenant || places.available_permits() < most);
        let places = running
            .entry(tenant)
            .or_insert_with(|| Arc::new(Semaphore::new(most)));
        Arc::clone(places)
            .try_acquire_owned()
            .map_err(|_none| Refusal::Concurrency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemClock;

    fn limits(settings: LimitSettings) -> TenantLimits {
        TenantLimits::new(settings)
    }

    #[test]
    fn models_are_allowed_by_name_or_by_their_beginning() {
        let some = limits(LimitSettings {
            models: vec!["claude-haiku-*".into(), "claude-opus-5-5".into()],
            ..LimitSettings::default()
        });
        assert_eq!(some.check_model("claude-haiku-5-5"), Ok(()));
        assert_eq!(some.check_model("claude-opus-5-5"), Ok(()));
        for other in ["claude-opus-5-5-1m", "claude-sonnet-5-5", ""] {
            assert_eq!(some.check_model(other), Err(Refusal::Model(other.into())));
        }
        assert_eq!(limits(LimitSettings::default()).check_model("any"), Ok(()));
    }

    #[test]
    fn one_tenants_requests_take_no_place_of_anothers() {
        let one_at_once = limits(LimitSettings {
            concurrency: NonZeroU32::new(1),
            ..LimitSettings::default()
        });
        let (one, other) = (TenantId::generate(&SystemClock), TenantId::generate(&SystemClock));
        let running = one_at_once.admit(one).unwrap();
        assert_eq!(one_at_once.admit(one).unwrap_err(), Refusal::Concurrency);
        let _others = one_at_once.admit(other).unwrap();
        drop(running);
        let _again = one_at_once.admit(one).unwrap();
    }

    #[test]
    fn a_tenant_that_asks_too_often_is_told_when_to_ask_again() {
        let one_a_minute = limits(LimitSettings {
            per_minute: NonZeroU32::new(1),
            ..LimitSettings::default()
        });
        let tenant = TenantId::generate(&SystemClock);
        let _first = one_a_minute.admit(tenant).unwrap();
        let Err(Refusal::Rate(wait)) = one_a_minute.admit(tenant) else {
            panic!("the second is refused");
        };
        assert!(wait.as_secs() > 30, "{wait:?}");
    }
}
