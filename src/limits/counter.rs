//! How many of something a tenant has at once on this server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::TenantId;

/// Counts by tenant. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<Mutex<HashMap<TenantId, u32>>>);

/// One that counts until it is dropped.
#[derive(Debug)]
pub struct Occupied {
    counter: Counter,
    tenant: TenantId,
}

impl Counter {
    /// One more of the tenant's, if it has fewer than `most`; 0 is no limit.
    #[must_use]
    pub fn occupy(&self, tenant: TenantId, most: u32) -> Option<Occupied> {
        let mut counted = self.lock();
        let own = counted.entry(tenant).or_default();
        if most > 0 && *own >= most {
            return None;
        }
        *own += 1;
        drop(counted);
        Some(self.one(tenant))
    }

    /// One more of the tenant's, however many it has.
    #[must_use]
    pub fn join(&self, tenant: TenantId) -> Occupied {
        *self.lock().entry(tenant).or_default() += 1;
        self.one(tenant)
    }

    fn one(&self, tenant: TenantId) -> Occupied {
        Occupied {
            counter: self.clone(),
            tenant,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        let mut counted = self.counter.lock();
        if let Some(own) = counted.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                counted.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemClock;

    #[test]
    fn each_tenant_has_its_own_number_and_what_ends_makes_room() {
        let counter = Counter::default();
        let (one, other) = (TenantId::generate(&SystemClock), TenantId::generate(&SystemClock));
        let first = counter.occupy(one, 1).unwrap();
        assert!(counter.occupy(one, 1).is_none());
        let _others = counter.occupy(other, 1).unwrap();
        drop(first);
        let _again = counter.occupy(one, 1).unwrap();
        let _more = counter.occupy(one, 0).unwrap();
        let _another = counter.join(one);
        assert_eq!(counter.lock()[&one], 3);
    }
}
