//! Permissions, credentials, and requests.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{MemoryStore, Request, State};
use crate::domain::{AuditNote, Permission, PermissionId, PermissionResolution, StoredCredential, TenantId};
use crate::store::{
    Begun, CredentialStore, IdempotencyStore, PermissionFilter, PermissionStore, RequestAnswer, Result,
    StoreError,
};

#[async_trait]
impl PermissionStore for MemoryStore {
    async fn insert_permission(&self, tenant: TenantId, permission: &Permission) -> Result<()> {
        let session = permission.session;
        let mut state = self.lock();
        if state.find(tenant, session).is_none() {
            return Err(StoreError::SessionGone { session });
        }
        state
            .permissions
            .insert(permission.id, (tenant, permission.clone()));
        Ok(())
    }

    async fn find_permission(&self, tenant: TenantId, id: PermissionId) -> Result<Option<Permission>> {
        let state = self.lock();
        let found = state.permissions.get(&id).filter(|(owner, _)| *owner == tenant);
        Ok(found.map(|(_, permission)| permission.clone()))
    }

    async fn list_pending_permissions(
        &self,
        tenant: TenantId,
        filter: &PermissionFilter,
        after: Option<PermissionId>,
        limit: u32,
    ) -> Result<Vec<Permission>> {
        let state = self.lock();
        Ok(state
            .permissions
            .values()
            .filter(|(owner, permission)| *owner == tenant && permission.resolution.is_none())
            .map(|(_, permission)| permission)
            .filter(|permission| after.is_none_or(|after| permission.id > after))
            .filter(|permission| filter.session.is_none_or(|session| permission.session == session))
            .filter(|permission| filter.user.as_ref().is_none_or(|user| permission.user == *user))
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn resolve_permission(
        &self,
        tenant: TenantId,
        id: PermissionId,
        resolution: &PermissionResolution,
        note: Option<&AuditNote>,
    ) -> Result<Option<Permission>> {
        let mut state = self.lock();
        let found = state
            .permissions
            .get_mut(&id)
            .filter(|(owner, _)| *owner == tenant);
        let Some((_, permission)) = found else {
            return Ok(None);
        };
        let is_first = permission.resolution.is_none();
        permission.resolution.get_or_insert_with(|| resolution.clone());
        let standing = permission.clone();
        if let Some(note) = note.filter(|_| is_first) {
            state.enter_audit(note)?;
        }
        Ok(Some(standing))
    }
}

#[async_trait]
impl CredentialStore for MemoryStore {
    async fn set_model_credential(
        &self,
        tenant: TenantId,
        credential: &StoredCredential,
        note: &AuditNote,
    ) -> Result<()> {
        let mut state = self.lock();
        state.enter_audit(note)?;
        state.credentials.insert(tenant, credential.clone());
        Ok(())
    }

    async fn replace_model_credential(
        &self,
        tenant: TenantId,
        old: &StoredCredential,
        new: &StoredCredential,
    ) -> Result<bool> {
        let mut state = self.lock();
        let stored = state.credentials.get_mut(&tenant);
        let Some(stored) = stored.filter(|stored| stored.sealed == old.sealed) else {
            return Ok(false);
        };
        stored.sealed.clone_from(&new.sealed);
        Ok(true)
    }

    async fn find_model_credential(&self, tenant: TenantId) -> Result<Option<StoredCredential>> {
        Ok(self.lock().credentials.get(&tenant).cloned())
    }

    async fn remove_model_credential(&self, tenant: TenantId, note: &AuditNote) -> Result<bool> {
        let mut state = self.lock();
        let removed = state.credentials.remove(&tenant).is_some();
        if removed {
            state.enter_audit(note)?;
        }
        Ok(removed)
    }
}

impl State {
    pub(super) fn keep_answer(&mut self, tenant: TenantId, answer: Option<&RequestAnswer>) {
        let Some(RequestAnswer { key, answer }) = answer else {
            return;
        };
        if let Some(request) = self.requests.get_mut(&(tenant, key.clone())) {
            request.answer.get_or_insert_with(|| answer.clone());
        }
    }
}

#[async_trait]
impl IdempotencyStore for MemoryStore {
    async fn begin_request(
        &self,
        tenant: TenantId,
        key: &str,
        fingerprint: [u8; 32],
        now: DateTime<Utc>,
        given_up: DateTime<Utc>,
    ) -> Result<Begun> {
        let mut state = self.lock();
        let Some(known) = state.requests.get_mut(&(tenant, key.to_owned())) else {
            let request = Request {
                fingerprint,
                began_at: now,
                answer: None,
            };
            state.requests.insert((tenant, key.to_owned()), request);
            return Ok(Begun::New);
        };
        if known.fingerprint != fingerprint {
            return Ok(Begun::Different);
        }
        if let Some(answer) = &known.answer {
            return Ok(Begun::Done(answer.clone()));
        }
        if known.began_at < given_up {
            known.began_at = now;
            return Ok(Begun::New);
        }
        Ok(Begun::InProgress)
    }

    async fn finish_request(&self, tenant: TenantId, key: &str, answer: &[u8]) -> Result<()> {
        let answer = RequestAnswer {
            key: key.to_owned(),
            answer: answer.to_vec(),
        };
        self.lock().keep_answer(tenant, Some(&answer));
        Ok(())
    }

    async fn forget_request(&self, tenant: TenantId, key: &str) -> Result<()> {
        let key = (tenant, key.to_owned());
        let mut state = self.lock();
        if state
            .requests
            .get(&key)
            .is_some_and(|request| request.answer.is_none())
        {
            state.requests.remove(&key);
        }
        Ok(())
    }
}
