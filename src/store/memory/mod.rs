//! Keeps everything in memory: for tests and a first look. It ends with the process.
//!
//! It is also the plainest statement of what a store does, to which the others are held.

mod money;
mod platform;
mod records;
mod sessions;
mod shares;
mod tenants;
mod turns;
mod webhooks;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::{Result, StoreError, StoreMetrics};
use crate::domain::{
    ApiKey, AuditEntry, Budget, BudgetId, Delivery, EntryId, Epoch, Event, EventId, KeyId, LedgerEntry,
    Permission, PermissionId, Session, SessionId, Share, ShareId, StoredCredential, Tenant, TenantId,
    TenantName, TranscriptEntry, TranscriptPath, Turn, TurnId, Webhook, WebhookId,
};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    /// Guarded by a std mutex: every method is one short step.
    state: Mutex<State>,
    metrics: StoreMetrics,
}

#[derive(Debug, Default)]
struct State {
    tenants: BTreeMap<TenantName, Tenant>,
    sessions: BTreeMap<SessionId, Kept>,
    permissions: BTreeMap<PermissionId, (TenantId, Permission)>,
    keys: BTreeMap<KeyId, (TenantId, ApiKey)>,
    shares: BTreeMap<ShareId, (TenantId, Share)>,
    audit: Vec<AuditEntry>,
    buckets: HashMap<String, u64>,
    credentials: HashMap<TenantId, StoredCredential>,
    ledger: BTreeMap<EntryId, (TenantId, LedgerEntry)>,
    budgets: BTreeMap<BudgetId, (TenantId, Budget)>,
    running: BTreeMap<EntryId, money::Running>,
    webhooks: BTreeMap<WebhookId, (TenantId, Webhook)>,
    deliveries: BTreeMap<u64, Delivery>,
    /// The number of the newest delivery.
    deliveries_made: u64,
    requests: HashMap<(TenantId, String), Request>,
    secrets: HashMap<String, [u8; 32]>,
}

/// A session and all that it has.
#[derive(Debug)]
struct Kept {
    session: Session,
    epoch: u32,
    turns: BTreeMap<TurnId, Turn>,
    events: Vec<Event>,
    trimmed_to: EventId,
    transcript: BTreeMap<TranscriptPath, Vec<TranscriptEntry>>,
}

/// A request that was begun.
#[derive(Debug)]
struct Request {
    fingerprint: [u8; 32],
    began_at: DateTime<Utc>,
    answer: Option<Vec<u8>>,
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
    fn find(&self, tenant: TenantId, id: SessionId) -> Option<&Kept> {
        self.sessions
            .get(&id)
            .filter(|kept| kept.session.tenant == tenant)
    }

    fn find_mut(&mut self, tenant: TenantId, id: SessionId) -> Option<&mut Kept> {
        self.sessions
            .get_mut(&id)
            .filter(|kept| kept.session.tenant == tenant)
    }

    /// The session, if it is owned under `epoch` and `events` may be appended.
    fn owned(
        &mut self,
        tenant: TenantId,
        session: SessionId,
        epoch: Epoch,
        events: &[Event],
    ) -> Result<&mut Kept> {
        let kept = self
            .find_mut(tenant, session)
            .ok_or(StoreError::SessionGone { session })?;
        if kept.epoch != epoch.get() {
            return Err(StoreError::StaleEpoch { session, epoch });
        }
        let mut last = kept.last_event();
        for event in events {
            if event.id <= last {
                return Err(StoreError::IdsTaken { session });
            }
            last = event.id;
        }
        Ok(kept)
    }
}

impl Kept {
    fn new(session: Session, epoch: u32) -> Self {
        Self {
            session,
            epoch,
            turns: BTreeMap::new(),
            events: Vec::new(),
            trimmed_to: EventId::START,
            transcript: BTreeMap::new(),
        }
    }

    fn last_event(&self) -> EventId {
        self.events.last().map_or(EventId::START, |event| event.id)
    }

    fn has_unfinished_turn(&self) -> bool {
        self.turns.values().any(|turn| turn.outcome.is_none())
    }

    fn has_running_turn(&self) -> bool {
        self.turns
            .values()
            .any(|turn| turn.outcome.is_none() && !turn.queued)
    }

    fn touch(&mut self, at: DateTime<Utc>) {
        self.session.last_active_at = self.session.last_active_at.max(at);
    }

    fn raise_epoch(&mut self) -> Result<Epoch> {
        let session = self.session.id;
        let epoch = Epoch::new(self.epoch + 1).ok_or(StoreError::EpochsUsedUp { session })?;
        self.epoch = epoch.get();
        Ok(epoch)
    }

    /// Appends entries that the file does not have yet; how many.
    fn write_down(&mut self, path: &TranscriptPath, entries: Vec<TranscriptEntry>) -> u64 {
        let file = self.transcript.entry(path.clone()).or_default();
        let mut stored = 0;
        for entry in entries {
            let uuid = entry.uuid();
            if uuid.is_none() || file.iter().all(|other| other.uuid() != uuid) {
                file.push(entry);
                stored += 1;
            }
        }
        stored
    }
}
