//! What concerns the whole platform.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Kept, MemoryStore};
use crate::domain::{
    Delivery, Epoch, Permission, PermissionDecision, PermissionId, PermissionResolution, SessionId,
    SessionStatus, TenantId, TranscriptEntry,
};
use crate::store::archive::Record;
use crate::store::{PlatformStore, RestoreStore, Result, StoreError, StoreMetrics};

#[async_trait]
impl PlatformStore for MemoryStore {
    fn backend(&self) -> &'static str {
        "memory"
    }

    fn metrics(&self) -> &StoreMetrics {
        &self.metrics
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    async fn count_active_sessions(&self, used_after: Option<DateTime<Utc>>) -> Result<u64> {
        let state = self.lock();
        let active = state
            .sessions
            .values()
            .map(|kept| &kept.session)
            .filter(|session| session.status == SessionStatus::Active)
            .filter(|session| used_after.is_none_or(|border| session.last_active_at > border));
        Ok(active.count() as u64)
    }

    async fn sessions_with_unfinished_turns(
        &self,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<(TenantId, SessionId)>> {
        let state = self.lock();
        let unfinished = state.sessions.values().filter(|kept| kept.has_unfinished_turn());
        let mut found: Vec<_> = unfinished
            .map(|kept| (kept.session.tenant, kept.session.id))
            .filter(|(_, session)| after.is_none_or(|after| *session > after))
            .collect();
        found.sort_unstable_by_key(|(_, session)| *session);
        found.truncate(limit as usize);
        Ok(found)
    }

    async fn unused_sessions(
        &self,
        unused_since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<(TenantId, SessionId)>> {
        let state = self.lock();
        let mut unused: Vec<_> = state
            .sessions
            .values()
            .filter(|kept| kept.session.last_active_at <= unused_since && !kept.has_unfinished_turn())
            .map(|kept| &kept.session)
            .collect();
        unused.sort_by_key(|session| session.last_active_at);
        Ok(unused
            .into_iter()
            .take(limit as usize)
            .map(|session| (session.tenant, session.id))
            .collect())
    }

    async fn purge_removed(&self, _limit: u32) -> Result<u64> {
        // A session is removed with all that it has.
        Ok(0)
    }

    async fn expire_permissions(&self, now: DateTime<Utc>, limit: u32) -> Result<u64> {
        let mut state = self.lock();
        let ended = state
            .permissions
            .values_mut()
            .filter(|(_, permission)| permission.resolution.is_none() && permission.expires_at <= now)
            .take(limit as usize);
        let mut expired = 0;
        for (_, permission) in ended {
            permission.resolution = Some(PermissionResolution::by_server(PermissionDecision::Expired, now));
            expired += 1;
        }
        Ok(expired)
    }

    async fn forget_requests(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        let mut left = limit;
        self.lock().requests.retain(|_, request| {
            let old = request.began_at < before && left > 0;
            left -= u32::from(old);
            !old
        });
        Ok(u64::from(limit - left))
    }

    async fn ensure_secret(&self, name: &str, new: [u8; 32]) -> Result<[u8; 32]> {
        Ok(*self.lock().secrets.entry(name.to_owned()).or_insert(new))
    }

    async fn close(&self) {}
}

#[async_trait]
impl RestoreStore for MemoryStore {
    async fn is_empty(&self) -> Result<bool> {
        Ok(self.lock().tenants.is_empty())
    }

    async fn session_epoch(&self, tenant: TenantId, id: SessionId) -> Result<Option<Epoch>> {
        let epoch = self.lock().find(tenant, id).map(|kept| kept.epoch);
        epoch
            .map(|epoch| Epoch::new(epoch).ok_or(StoreError::EpochsUsedUp { session: id }))
            .transpose()
    }

    async fn list_permissions(
        &self,
        tenant: TenantId,
        after: Option<PermissionId>,
        limit: u32,
    ) -> Result<Vec<Permission>> {
        let state = self.lock();
        Ok(state
            .permissions
            .values()
            .filter(|(owner, permission)| *owner == tenant && after.is_none_or(|after| permission.id > after))
            .take(limit as usize)
            .map(|(_, permission)| permission.clone())
            .collect())
    }

    async fn restore(&self, records: &[Record]) -> Result<()> {
        let mut state = self.lock();
        for record in records.iter().cloned() {
            let kept_of = |session| StoreError::SessionGone { session };
            match record {
                Record::Tenant { tenant } => {
                    state.tenants.insert(tenant.name.clone(), *tenant);
                }
                Record::Key { tenant, key } => {
                    state.keys.insert(key.id, (tenant, key));
                }
                Record::Credential { tenant, credential } => {
                    state.credentials.insert(tenant, credential);
                }
                Record::Audit { entry, .. } => state.audit.push(entry),
                Record::Budget { tenant, budget } => {
                    state.budgets.insert(budget.id, (tenant, budget));
                }
                Record::Usage { tenant, usage } => {
                    state.enter_usage(tenant, &usage);
                }
                Record::Session {
                    session,
                    epoch,
                    trimmed_to,
                } => {
                    let kept = Kept {
                        trimmed_to,
                        ..Kept::new(*session, epoch)
                    };
                    state.sessions.insert(kept.session.id, kept);
                }
                Record::Turn { turn } => {
                    let id = turn.session;
                    let kept = state.sessions.get_mut(&id).ok_or_else(|| kept_of(id))?;
                    kept.turns.insert(turn.id, *turn);
                }
                Record::Event { session, event } => {
                    let kept = state.sessions.get_mut(&session).ok_or_else(|| kept_of(session))?;
                    kept.events.push(*event);
                }
                Record::TranscriptEntry { session, path, line } => {
                    let entry = TranscriptEntry::parse(line)
                        .map_err(|reason| StoreError::corrupt("entry of a transcript", reason))?;
                    let kept = state.sessions.get_mut(&session).ok_or_else(|| kept_of(session))?;
                    kept.write_down(&path, vec![entry]);
                }
                Record::Webhook { tenant, webhook } => {
                    state.webhooks.insert(webhook.id, (tenant, *webhook));
                }
                Record::Delivery { delivery } => {
                    let number = state.next_delivery();
                    let delivery = Delivery { number, ..*delivery };
                    state.deliveries.insert(number, delivery);
                }
                Record::Share { tenant, share } => state.restore_share(tenant, &share)?,
                Record::Permission { tenant, permission } => {
                    state.permissions.insert(permission.id, (tenant, *permission));
                }
            }
        }
        Ok(())
    }
}
