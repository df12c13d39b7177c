//! Links by which sessions are shown.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{MemoryStore, State};
use crate::domain::{AuditNote, KeyDigest, SessionId, Share, ShareId, TenantId};
use crate::store::{Result, ShareStore, StoreError};

impl State {
    /// Stores a link to a session of this tenant.
    pub(super) fn restore_share(&mut self, tenant: TenantId, share: &Share) -> Result<()> {
        let session = share.session;
        if self.find(tenant, session).is_none() {
            return Err(StoreError::SessionGone { session });
        }
        self.shares.insert(share.id, (tenant, share.clone()));
        Ok(())
    }
}

#[async_trait]
impl ShareStore for MemoryStore {
    async fn insert_share(&self, tenant: TenantId, share: &Share, note: &AuditNote) -> Result<()> {
        let mut state = self.lock();
        state.restore_share(tenant, share)?;
        state.enter_audit(note)
    }

    async fn find_share(&self, digest: KeyDigest) -> Result<Option<(TenantId, Share)>> {
        let state = self.lock();
        let mut shares = state.shares.values();
        Ok(shares.find(|(_, share)| share.digest == digest).cloned())
    }

    async fn get_share(&self, tenant: TenantId, id: ShareId) -> Result<Option<Share>> {
        let state = self.lock();
        let found = state.shares.get(&id).filter(|(owner, _)| *owner == tenant);
        Ok(found.map(|(_, share)| share.clone()))
    }

    async fn list_shares(
        &self,
        tenant: TenantId,
        session: Option<SessionId>,
        before: Option<ShareId>,
        limit: u32,
    ) -> Result<Vec<Share>> {
        let state = self.lock();
        Ok(state
            .shares
            .values()
            .rev()
            .filter(|(owner, share)| *owner == tenant && session.is_none_or(|id| share.session == id))
            .filter(|(_, share)| before.is_none_or(|before| share.id < before))
            .take(limit as usize)
            .map(|(_, share)| share.clone())
            .collect())
    }

    async fn revoke_share(
        &self,
        tenant: TenantId,
        id: ShareId,
        at: DateTime<Utc>,
        note: &AuditNote,
    ) -> Result<Option<Share>> {
        let mut state = self.lock();
        let Some((_, share)) = state.shares.get_mut(&id).filter(|(owner, _)| *owner == tenant) else {
            return Ok(None);
        };
        let is_first = share.revoked_at.is_none();
        share.revoked_at.get_or_insert(at);
        let revoked = share.clone();
        if is_first {
            state.enter_audit(note)?;
        }
        Ok(Some(revoked))
    }
}
