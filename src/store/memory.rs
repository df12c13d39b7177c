//! Keeps everything in memory: for tests and a first look. It ends with the process.
//!
//! It is also the plainest statement of what a store does, to which the others are held.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{EventLog, PlatformStore, Result, SessionStore, StoreError, TenantStore, TurnEnd, TurnStore};
use crate::domain::{
    Epoch, Event, EventId, EventKind, Page, Session, SessionChange, SessionFilter, SessionId, SessionStatus,
    Tenant, TenantId, TenantName, Turn, TurnId,
};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    /// Guarded by a std mutex: every method is one short step.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tenants: HashMap<TenantName, Tenant>,
    sessions: BTreeMap<SessionId, Record>,
}

#[derive(Debug)]
struct Record {
    session: Session,
    epoch: u32,
    last_event: EventId,
    turns: BTreeMap<TurnId, Turn>,
    events: Vec<Event>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn find(&self, tenant: TenantId, id: SessionId) -> Option<&Record> {
        self.sessions
            .get(&id)
            .filter(|record| record.session.tenant == tenant)
    }

    fn find_mut(&mut self, tenant: TenantId, id: SessionId) -> Option<&mut Record> {
        self.sessions
            .get_mut(&id)
            .filter(|record| record.session.tenant == tenant)
    }

    /// The session's record, if it is owned under `epoch` and `events` may be appended.
    fn owned(
        &mut self,
        tenant: TenantId,
        session: SessionId,
        epoch: Epoch,
        events: &[Event],
    ) -> Result<&mut Record> {
        let record = self
            .find_mut(tenant, session)
            .ok_or(StoreError::SessionGone { session })?;
        if record.epoch != epoch.get() {
            return Err(StoreError::StaleEpoch { session, epoch });
        }
        let mut last = record.last_event;
        for event in events {
            if event.id <= last {
                return Err(StoreError::IdsTaken { session });
            }
            last = event.id;
        }
        Ok(record)
    }
}

impl Record {
    fn append(&mut self, events: &[Event]) {
        self.events.extend_from_slice(events);
        self.last_event = self.events.last().map_or(self.last_event, |event| event.id);
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
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn insert_session(&self, tenant: TenantId, session: &Session) -> Result<()> {
        let session = Session {
            tenant,
            ..session.clone()
        };
        let record = Record {
            epoch: 0,
            last_event: EventId::START,
            turns: BTreeMap::new(),
            events: Vec::new(),
            session,
        };
        self.lock().sessions.insert(record.session.id, record);
        Ok(())
    }

    async fn find_session(&self, tenant: TenantId, id: SessionId) -> Result<Option<Session>> {
        Ok(self.lock().find(tenant, id).map(|record| record.session.clone()))
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
            .map(|record| &record.session)
            .filter(|session| session.tenant == tenant)
            .filter(|session| before.is_none_or(|before| session.id < before))
            .filter(|session| filter.user.as_ref().is_none_or(|user| session.user == *user))
            .filter(|session| filter.status.is_none_or(|status| session.status == status))
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
        let mut state = self.lock();
        let Some(record) = state.find_mut(tenant, id) else {
            return Ok(None);
        };
        let session = &mut record.session;
        if session.status != SessionStatus::Active {
            return Ok(None);
        }
        if let Some(title) = &change.title {
            session.title.clone_from(title);
        }
        if let Some(metadata) = &change.metadata {
            session.metadata.clone_from(metadata);
        }
        Ok(Some(session.clone()))
    }

    async fn close_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        at: DateTime<Utc>,
    ) -> Result<Option<Session>> {
        let mut state = self.lock();
        let Some(record) = state.find_mut(tenant, id) else {
            return Ok(None);
        };
        record.session.status = SessionStatus::Closed;
        record.session.closed_at.get_or_insert(at);
        Ok(Some(record.session.clone()))
    }

    async fn acquire_session(&self, tenant: TenantId, id: SessionId) -> Result<Option<Epoch>> {
        let mut state = self.lock();
        let Some(record) = state.find_mut(tenant, id) else {
            return Ok(None);
        };
        let epoch = Epoch::new(record.epoch + 1).ok_or(StoreError::EpochsUsedUp { session: id })?;
        record.epoch = epoch.get();
        Ok(Some(epoch))
    }
}

#[async_trait]
impl TurnStore for MemoryStore {
    async fn begin_turn(&self, tenant: TenantId, epoch: Epoch, turn: &Turn, events: &[Event]) -> Result<()> {
        let session = turn.session;
        let mut state = self.lock();
        let record = state.owned(tenant, session, epoch, events)?;
        if record.session.status != SessionStatus::Active {
            return Err(StoreError::SessionGone { session });
        }
        if record.turns.values().any(|other| other.outcome.is_none()) {
            return Err(StoreError::TurnUnfinished { session });
        }
        record.turns.insert(turn.id, turn.clone());
        record.append(events);
        record.session.message_count += 1;
        record.session.last_active_at = turn.started_at;
        Ok(())
    }

    async fn finish_turn(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        end: &TurnEnd,
        events: &[Event],
    ) -> Result<()> {
        let mut state = self.lock();
        let record = state.owned(tenant, end.session, epoch, events)?;
        let Some(turn) = record
            .turns
            .get_mut(&end.turn)
            .filter(|turn| turn.outcome.is_none())
        else {
            return Ok(());
        };
        turn.outcome = Some(end.outcome.clone());
        record.append(events);
        record.session.last_active_at = end.outcome.ended_at;
        record.session.conversation_started |= end.conversation_started;
        if let Some(id) = end.claude_session_id {
            record.session.claude_session_id = id;
        }
        Ok(())
    }

    async fn find_turn(&self, tenant: TenantId, session: SessionId, id: TurnId) -> Result<Option<Turn>> {
        Ok(self
            .lock()
            .find(tenant, session)
            .and_then(|record| record.turns.get(&id))
            .cloned())
    }

    async fn unfinished_turns(&self, tenant: TenantId, session: SessionId) -> Result<Vec<Turn>> {
        let state = self.lock();
        let turns = state
            .find(tenant, session)
            .into_iter()
            .flat_map(|record| record.turns.values());
        Ok(turns.filter(|turn| turn.outcome.is_none()).cloned().collect())
    }
}

#[async_trait]
impl EventLog for MemoryStore {
    async fn append_events(
        &self,
        tenant: TenantId,
        session: SessionId,
        epoch: Epoch,
        events: &[Event],
    ) -> Result<()> {
        self.lock().owned(tenant, session, epoch, events)?.append(events);
        Ok(())
    }

    async fn read_events(
        &self,
        tenant: TenantId,
        session: SessionId,
        after: EventId,
        kinds: &[EventKind],
        limit: u32,
    ) -> Result<Vec<Event>> {
        let state = self.lock();
        let Some(record) = state.find(tenant, session) else {
            return Ok(Vec::new());
        };
        let from = record.events.partition_point(|event| event.id <= after);
        Ok(record
            .events
            .iter()
            .skip(from)
            .filter(|event| kinds.is_empty() || kinds.contains(&event.body.kind()))
            .take(limit as usize)
            .cloned()
            .collect())
    }
}

#[async_trait]
impl PlatformStore for MemoryStore {
    fn backend(&self) -> &'static str {
        "memory"
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    async fn count_active_sessions(&self) -> Result<u64> {
        let state = self.lock();
        let active = state
            .sessions
            .values()
            .filter(|record| record.session.status == SessionStatus::Active);
        Ok(active.count() as u64)
    }

    async fn sessions_with_unfinished_turns(&self, limit: u32) -> Result<Vec<(TenantId, SessionId)>> {
        let state = self.lock();
        let unfinished = state
            .sessions
            .values()
            .filter(|record| record.turns.values().any(|turn| turn.outcome.is_none()));
        Ok(unfinished
            .take(limit as usize)
            .map(|record| (record.session.tenant, record.session.id))
            .collect())
    }

    async fn close(&self) {}
}
