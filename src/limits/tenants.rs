//! Tenants, as they were a moment ago: every request asks for one, and few change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{Tenant, TenantId};
use crate::store::{Result, Store};

/// The most tenants that are remembered.
const REMEMBERED: usize = 10_000;

/// Finds tenants, and believes for a while that they are as they were found: another instance may change one.
#[derive(Debug)]
pub struct Tenants {
    store: Arc<dyn Store>,
    stands: Duration,
    known: Mutex<HashMap<TenantId, (Instant, Arc<Tenant>)>>,
}

impl Tenants {
    /// Those of this store; what was found stands for so long.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, stands: Duration) -> Self {
        Self {
            store,
            stands,
            known: Mutex::default(),
        }
    }

    /// The tenant of this id.
    pub async fn get(&self, id: TenantId) -> Result<Option<Arc<Tenant>>> {
        let remembered = self.lock().get(&id).cloned();
        if let Some((since, tenant)) = remembered
            && since.elapsed() < self.stands
        {
            return Ok(Some(tenant));
        }
        let since = Instant::now();
        let Some(tenant) = self.store.get_tenant(id).await?.map(Arc::new) else {
            return Ok(None);
        };
        let mut known = self.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(id, (since, Arc::clone(&tenant)));
        Ok(Some(tenant))
    }

    /// Forgets how a tenant was: it was changed here.
    pub fn forget(&self, id: TenantId) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, (Instant, Arc<Tenant>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
