//! Sessions.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Kept, MemoryStore};
use crate::domain::{
    Epoch, Page, Room, Session, SessionChange, SessionFilter, SessionId, SessionQuota, SessionStatus,
    TenantId,
};
use crate::store::{Result, SessionStore, storable, terms};

/// Whether a session is one of those that a filter asks for.
fn matches(session: &Session, filter: &SessionFilter) -> bool {
    let found_by = terms::of_session(session.title.as_deref(), &session.metadata);
    filter.user.as_ref().is_none_or(|user| session.user == *user)
        && filter.status.is_none_or(|status| session.status == status)
        && filter
            .activity
            .is_none_or(|activity| activity.covers(session.last_active_at))
        && filter
            .metadata
            .iter()
            .all(|(key, value)| found_by.contains(&terms::of_metadata(key, value)))
        && filter.title.as_ref().is_none_or(|title| {
            let (from, to) = terms::of_search(title);
            found_by.range(from..to).next().is_some()
        })
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn insert_session(&self, tenant: TenantId, session: &Session) -> Result<()> {
        storable("a title", session.title.as_deref())?;
        let session = Session {
            tenant,
            ..session.clone()
        };
        self.lock().sessions.insert(session.id, Kept::new(session, 0));
        Ok(())
    }

    async fn insert_session_within(
        &self,
        tenant: TenantId,
        session: &Session,
        quota: &SessionQuota,
    ) -> Result<Room> {
        storable("a title", session.title.as_deref())?;
        let mut state = self.lock();
        for (most, user, full) in [
            (quota.of_tenant, None, Room::TenantFull),
            (quota.of_user, Some(&session.user), Room::UserFull),
        ] {
            let Some(most) = most else { continue };
            let counts = |kept: &&Kept| {
                kept.session.tenant == tenant
                    && kept.session.status == SessionStatus::Active
                    && user.is_none_or(|user| kept.session.user == *user)
                    && quota
                        .used_after
                        .is_none_or(|border| kept.session.last_active_at > border)
            };
            if state.sessions.values().filter(counts).count() >= most as usize {
                return Ok(full);
            }
        }
        let kept = Kept::new(
            Session {
                tenant,
                ..session.clone()
            },
            0,
        );
        state.sessions.insert(session.id, kept);
        Ok(Room::Free)
    }

    async fn find_session(&self, tenant: TenantId, id: SessionId) -> Result<Option<Session>> {
        Ok(self.lock().find(tenant, id).map(|kept| kept.session.clone()))
    }

    async fn list_sessions(
        &self,
        tenant: TenantId,
        filter: &SessionFilter,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Page<Session, SessionId>> {
        let state = self.lock();
        let limit = limit as usize;
        let found = state
            .sessions
            .values()
            .rev()
            .map(|kept| &kept.session)
            .filter(|session| session.tenant == tenant)
            .filter(|session| before.is_none_or(|before| session.id < before))
            .filter(|session| matches(session, filter))
            .take(limit.saturating_add(1))
            .cloned()
            .collect();
        Ok(Page::cut(found, limit, |session: &Session| session.id))
    }

    async fn update_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        change: &SessionChange,
    ) -> Result<Option<Session>> {
        storable("a title", change.title.as_ref().and_then(Option::as_deref))?;
        let mut state = self.lock();
        let Some(kept) = state.find_mut(tenant, id) else {
            return Ok(None);
        };
        let session = &mut kept.session;
        if session.status != SessionStatus::Active {
            return Ok(None);
        }
        if let Some(title) = &change.title {
            session.title.clone_from(title);
        }
        if let Some(metadata) = &change.metadata {
            session.metadata.clone_from(metadata);
        }
        session.options = change.apply_to(std::mem::take(&mut session.options));
        if let Some(conversation) = change.new_conversation {
            session.claude_session_id = conversation;
            session.conversation_started = change.conversation_goes_on;
        }
        Ok(Some(session.clone()))
    }

    async fn touch_session(&self, tenant: TenantId, id: SessionId, at: DateTime<Utc>) -> Result<bool> {
        let mut state = self.lock();
        let active = state
            .find_mut(tenant, id)
            .filter(|kept| kept.session.status == SessionStatus::Active);
        Ok(active.map(|kept| kept.touch(at)).is_some())
    }

    async fn close_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        at: DateTime<Utc>,
    ) -> Result<Option<Session>> {
        let mut state = self.lock();
        let Some(kept) = state.find_mut(tenant, id) else {
            return Ok(None);
        };
        kept.session.status = SessionStatus::Closed;
        kept.session.closed_at.get_or_insert(at);
        Ok(Some(kept.session.clone()))
    }

    async fn acquire_session(&self, tenant: TenantId, id: SessionId) -> Result<Option<Epoch>> {
        let mut state = self.lock();
        let Some(kept) = state.find_mut(tenant, id) else {
            return Ok(None);
        };
        kept.raise_epoch().map(Some)
    }

    async fn remove_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        unused_since: DateTime<Utc>,
    ) -> Result<bool> {
        let mut state = self.lock();
        let unused = state
            .find(tenant, id)
            .is_some_and(|kept| kept.session.last_active_at <= unused_since && !kept.has_unfinished_turn());
        if unused {
            state.sessions.remove(&id);
            state
                .permissions
                .retain(|_, (_, permission)| permission.session != id);
            state.deliveries.retain(|_, delivery| delivery.session != id);
            state.shares.retain(|_, (_, share)| share.session != id);
        }
        Ok(unused)
    }
}
