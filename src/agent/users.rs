//! Which user of the machine a tenant's agents run under: one for each tenant, the same on all servers of a store.
//!
//! A tenant looks for its place where its id says, and takes the next one that is free, as in a hash table; the store
//! tells who came first.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::fence::Users;
use crate::domain::TenantId;
use crate::store::{Store, StoreError};

/// How many places are looked at before they count as all taken.
const TRIES: u32 = 1000;

/// The users that tenants were found to have.
#[derive(Debug, Default)]
pub(super) struct TenantUsers {
    known: Mutex<HashMap<TenantId, u32>>,
}

/// Why a tenant has no user.
#[derive(Debug, thiserror::Error)]
pub(super) enum UserError {
    /// They are all taken.
    #[error("all of the users are other tenants' (isolation.uids)")]
    AllTaken,
    /// The store does not say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TenantUsers {
    /// The tenant's user.
    pub(super) async fn of(
        &self,
        store: &dyn Store,
        users: Users,
        tenant: TenantId,
    ) -> Result<u32, UserError> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(user) = known().get(&tenant) {
            return Ok(*user);
        }
        let mut name = [0; 32];
        for (place, byte) in name.iter_mut().zip(tenant.as_uuid().as_bytes()) {
            *place = *byte;
        }
        // The first user is nobody's: who asks the CLI about itself runs under it.
        let count = users.count.saturating_sub(1).max(1);
        let (_, low) = tenant.as_uuid().as_u64_pair();
        let begin = u32::try_from(low % u64::from(count)).unwrap_or(0);
        for offset in 0..TRIES.min(count) {
            let place = (begin + offset) % count;
            let owner = store.ensure_secret(&format!("agent_user/{place}"), name).await?;
            if owner == name {
                let user = users.first + 1 + place;
                known().insert(tenant, user);
                return Ok(user);
            }
        }
        Err(UserError::AllTaken)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::domain::SystemClock;
    use crate::store::memory::MemoryStore;

    const FEW: Users = Users {
        first: 5000,
        count: 9,
    };

    #[tokio::test]
    async fn each_tenant_has_a_user_of_its_own_on_every_server() {
        let store = MemoryStore::new();
        let tenants: Vec<_> = (0..8).map(|_| TenantId::generate(&SystemClock)).collect();
        let mut all = HashSet::new();
        let (one, other) = (TenantUsers::default(), TenantUsers::default());
        for tenant in &tenants {
            let user = one.of(&store, FEW, *tenant).await.unwrap();
            assert!((5001..5009).contains(&user));
            assert!(all.insert(user), "{user} is another's");
            assert_eq!(other.of(&store, FEW, *tenant).await.unwrap(), user);
        }
        let refused = one.of(&store, FEW, TenantId::generate(&SystemClock)).await;
        assert!(matches!(refused, Err(UserError::AllTaken)));
    }
}
