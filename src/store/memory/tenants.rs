//! Tenants, keys, and the audit.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{MemoryStore, State};
use crate::domain::rate::{Rate, Taken};
use crate::domain::{
    ApiKey, AuditEntry, AuditHash, AuditNote, BudgetScope, KeyDigest, KeyId, Tenant, TenantChange, TenantId,
    TenantName, UserId,
};
use crate::store::{AuditStore, ERASED, ErasureStore, KeyStore, RateStore, Result, StoreError, TenantStore};

impl State {
    pub(super) fn enter_audit(&mut self, note: &AuditNote) -> Result<()> {
        let last = self.audit.last().map(|entry| (entry.number, entry.hash));
        let entry =
            AuditEntry::after(last, note).map_err(|error| StoreError::failed("write the audit", error))?;
        self.audit.push(entry);
        Ok(())
    }
}

#[async_trait]
impl TenantStore for MemoryStore {
    async fn ensure_tenant(&self, tenant: &Tenant) -> Result<Tenant> {
        Ok(self
            .lock()
            .tenants
            .entry(tenant.name.clone())
            .or_insert_with(|| tenant.clone())
            .clone())
    }

    async fn insert_tenant(&self, tenant: &Tenant, note: &AuditNote) -> Result<bool> {
        let mut state = self.lock();
        if state.tenants.contains_key(&tenant.name) {
            return Ok(false);
        }
        state.enter_audit(note)?;
        state.tenants.insert(tenant.name.clone(), tenant.clone());
        Ok(true)
    }

    async fn update_tenant(
        &self,
        id: TenantId,
        change: &TenantChange,
        note: &AuditNote,
    ) -> Result<Option<Tenant>> {
        let mut state = self.lock();
        let Some(tenant) = state.tenants.values_mut().find(|tenant| tenant.id == id) else {
            return Ok(None);
        };
        match change.suspended {
            Some(true) => {
                tenant.suspended_at.get_or_insert(note.at);
            }
            Some(false) => tenant.suspended_at = None,
            None => {}
        }
        if let Some(policy) = &change.policy {
            tenant.policy.clone_from(policy);
        }
        if let Some(limits) = change.limits {
            tenant.limits = limits;
        }
        let changed = tenant.clone();
        state.enter_audit(note)?;
        Ok(Some(changed))
    }

    async fn find_tenant(&self, name: &TenantName) -> Result<Option<Tenant>> {
        Ok(self.lock().tenants.get(name).cloned())
    }

    async fn get_tenant(&self, id: TenantId) -> Result<Option<Tenant>> {
        let state = self.lock();
        Ok(state.tenants.values().find(|tenant| tenant.id == id).cloned())
    }

    async fn list_tenants(&self, after: Option<&TenantName>, limit: u32) -> Result<Vec<Tenant>> {
        let state = self.lock();
        let tenants = state.tenants.values();
        Ok(tenants
            .filter(|tenant| after.is_none_or(|after| tenant.name > *after))
            .take(limit as usize)
            .cloned()
            .collect())
    }
}

#[async_trait]
impl KeyStore for MemoryStore {
    async fn insert_key(&self, tenant: TenantId, key: &ApiKey, note: &AuditNote) -> Result<bool> {
        let mut state = self.lock();
        let taken = key.revoked_at.is_none()
            && state.keys.values().any(|(owner, other)| {
                *owner == tenant && other.name == key.name && other.revoked_at.is_none()
            });
        if !taken {
            state.enter_audit(note)?;
            state.keys.insert(key.id, (tenant, key.clone()));
        }
        Ok(!taken)
    }

    async fn find_key(&self, digest: KeyDigest) -> Result<Option<(TenantId, ApiKey)>> {
        let state = self.lock();
        Ok(state.keys.values().find(|(_, key)| key.digest == digest).cloned())
    }

    async fn get_key(&self, tenant: TenantId, id: KeyId) -> Result<Option<ApiKey>> {
        let state = self.lock();
        let found = state.keys.get(&id).filter(|(owner, _)| *owner == tenant);
        Ok(found.map(|(_, key)| key.clone()))
    }

    async fn list_keys(&self, tenant: TenantId, before: Option<KeyId>, limit: u32) -> Result<Vec<ApiKey>> {
        let state = self.lock();
        Ok(state
            .keys
            .values()
            .rev()
            .filter(|(owner, key)| *owner == tenant && before.is_none_or(|before| key.id < before))
            .take(limit as usize)
            .map(|(_, key)| key.clone())
            .collect())
    }

    async fn revoke_key(
        &self,
        tenant: TenantId,
        id: KeyId,
        at: DateTime<Utc>,
        note: &AuditNote,
    ) -> Result<Option<ApiKey>> {
        let mut state = self.lock();
        let Some((_, key)) = state.keys.get_mut(&id).filter(|(owner, _)| *owner == tenant) else {
            return Ok(None);
        };
        let is_first = key.revoked_at.is_none();
        key.revoked_at.get_or_insert(at);
        let revoked = key.clone();
        if is_first {
            state.enter_audit(note)?;
        }
        Ok(Some(revoked))
    }

    async fn note_key_use(&self, tenant: TenantId, id: KeyId, at: DateTime<Utc>) -> Result<()> {
        let mut state = self.lock();
        if let Some((_, key)) = state.keys.get_mut(&id).filter(|(owner, _)| *owner == tenant) {
            key.last_used_at = Some(at);
        }
        Ok(())
    }

    async fn has_key(&self) -> Result<bool> {
        Ok(self.lock().keys.values().any(|(_, key)| key.revoked_at.is_none()))
    }
}

#[async_trait]
impl RateStore for MemoryStore {
    async fn take_tokens(&self, bucket: &str, rate: Rate, wanted: u32, now: DateTime<Utc>) -> Result<Taken> {
        let mut state = self.lock();
        let full_at = state.buckets.entry(bucket.to_owned()).or_default();
        let now = u64::try_from(now.timestamp_micros()).unwrap_or(0);
        let (taken, then) = rate.take(*full_at, now, wanted);
        *full_at = then;
        Ok(taken)
    }

    async fn forget_buckets(&self, now: DateTime<Utc>, limit: u32) -> Result<u64> {
        let now = u64::try_from(now.timestamp_micros()).unwrap_or(0);
        let mut left = limit;
        self.lock().buckets.retain(|_, full_at| {
            let full = *full_at < now && left > 0;
            left -= u32::from(full);
            !full
        });
        Ok(u64::from(limit - left))
    }
}

#[async_trait]
impl AuditStore for MemoryStore {
    async fn append_audit(&self, notes: &[AuditNote]) -> Result<()> {
        let mut state = self.lock();
        notes.iter().try_for_each(|note| state.enter_audit(note))
    }

    async fn list_audit(
        &self,
        tenant: Option<TenantId>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>> {
        let state = self.lock();
        let concerns =
            |entry: &&AuditEntry| tenant.is_none() || entry.note().is_ok_and(|note| note.tenant == tenant);
        Ok(state
            .audit
            .iter()
            .rev()
            .filter(|entry| before.is_none_or(|before| entry.number < before))
            .filter(concerns)
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn read_audit(&self, after: u64, limit: u32) -> Result<Vec<AuditEntry>> {
        let state = self.lock();
        let entries = state.audit.iter().filter(|entry| entry.number > after);
        Ok(entries.take(limit as usize).cloned().collect())
    }

    async fn audit_head(&self) -> Result<Option<(u64, AuditHash)>> {
        Ok(self.lock().audit.last().map(|entry| (entry.number, entry.hash)))
    }
}

impl State {
    fn erase(&mut self, tenant: TenantId, user: Option<&UserId>) -> u64 {
        let is_theirs =
            |owner: &TenantId, of: &UserId| *owner == tenant && user.is_none_or(|user| of == user);
        let mut gone = Vec::new();
        self.sessions.retain(|id, kept| {
            let erased = is_theirs(&kept.session.tenant, &kept.session.user);
            if erased {
                gone.push(*id);
            }
            !erased
        });
        self.permissions
            .retain(|_, (_, permission)| !gone.contains(&permission.session));
        self.deliveries
            .retain(|_, delivery| !gone.contains(&delivery.session));
        self.shares.retain(|_, (_, share)| !gone.contains(&share.session));
        self.settle_of(|owner, spender| is_theirs(&owner, &spender.user));
        for (owner, entry) in self.ledger.values_mut() {
            if is_theirs(owner, &entry.spender.user)
                && let Ok(erased) = ERASED.parse()
            {
                entry.spender.user = erased;
            }
        }
        self.requests.retain(|(owner, _), _| *owner != tenant);
        gone.len() as u64
    }
}

#[async_trait]
impl ErasureStore for MemoryStore {
    async fn erase_user(&self, tenant: TenantId, user: &UserId, note: &AuditNote) -> Result<u64> {
        let mut state = self.lock();
        state.enter_audit(note)?;
        state
            .keys
            .retain(|_, (owner, key)| *owner != tenant || key.user.as_ref() != Some(user));
        let scope = BudgetScope::User(user.clone());
        state
            .budgets
            .retain(|_, (owner, budget)| *owner != tenant || budget.scope != scope);
        Ok(state.erase(tenant, Some(user)))
    }

    async fn erase_tenant(&self, tenant: TenantId, name: &TenantName, note: &AuditNote) -> Result<u64> {
        let mut state = self.lock();
        state.enter_audit(note)?;
        state.keys.retain(|_, (owner, _)| *owner != tenant);
        state.budgets.retain(|_, (owner, _)| *owner != tenant);
        state.credentials.remove(&tenant);
        state.webhooks.retain(|_, (owner, _)| *owner != tenant);
        let known = state.tenants.values().find(|known| known.id == tenant).cloned();
        if let Some(known) = known {
            state.tenants.remove(&known.name);
            let erased = Tenant {
                suspended_at: known.suspended_at.or(Some(note.at)),
                ..Tenant::new(tenant, name.clone(), known.created_at)
            };
            state.tenants.insert(name.clone(), erased);
        }
        Ok(state.erase(tenant, None))
    }

    async fn scrub(&self) -> Result<()> {
        Ok(())
    }
}
