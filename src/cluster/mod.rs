//! The other instances of the server: who lives, with whom a session is, and asking the one that has it.
//!
//! There is a [`Cluster`] only where several instances can share a store. What they agree on, they agree on in the
//! database: with whom a session is, under which epoch, and who lives. They tell each other of it by notifications, and ask
//! each other by HTTP. An instance that could not say in time that it lives counts itself as dead before others may:
//! it then has nothing, until it has joined anew.

mod membership;
mod messages;
mod notices;
mod peers;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

pub use membership::JoinError;
pub use messages::{
    Begun, LogLine, PeerAnswer, PeerCommand, PeerQuestion, PeerRefusal, PeerRequest, PeerTurn,
};
pub use peers::{PeerError, PeerLog};

use crate::domain::{
    Claim, Instance, InstanceId, InstanceName, SessionId, SessionStanding, SharedClock, TenantId,
};
use crate::security::peer_tokens::PeerTokens;
use crate::store::StoreError;
use crate::store::sql::instances::Instances;

/// How many notices may wait for one who hears them; whoever falls behind looks at everything.
const NOTICES: usize = 4096;

/// How an instance is one of several.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// What it is called.
    pub name: InstanceName,
    /// Where others reach it.
    pub url: String,
    /// For how long it lives each time that it says so.
    pub lease_ttl: Duration,
    /// How often it says so.
    pub heartbeat_interval: Duration,
    /// How long another instance may take to answer.
    pub peer_timeout: Duration,
    /// The longest line of a log that one tells another, in bytes.
    pub message_max_bytes: usize,
    /// How long another instance may take to end the agent of a session that was taken from it.
    pub handover_timeout: Duration,
}

/// The instances, as this one knows them. Clones share it.
#[derive(Debug, Clone)]
pub struct Cluster(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: ClusterSettings,
    instances: Instances,
    clock: Arc<SharedClock>,
    tokens: PeerTokens,
    http: reqwest::Client,
    member: watch::Sender<Member>,
    heard: broadcast::Sender<Heard>,
}

/// How this instance stands.
#[derive(Debug, Clone)]
struct Member {
    own: Instance,
    /// Until when it lives at least, as far as it knows; past that it is to have nothing.
    until: Option<Instant>,
    /// All that live.
    alive: Arc<[Instance]>,
    /// Whether another server has this instance's name.
    superseded: bool,
}

/// What those hear who work with sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Another instance has taken a session, under this epoch.
    Taken(SessionId, crate::domain::Epoch),
    /// A session is with no instance.
    Free(SessionId),
    /// A session is no more.
    Gone(TenantId, SessionId),
    /// Something may have been missed: everything is to be looked at.
    Missed,
}

impl Cluster {
    /// This run, if it lives as far as it knows.
    #[must_use]
    pub fn own_id(&self) -> Option<InstanceId> {
        let member = self.0.member.borrow();
        let lives = member.until.is_some_and(|until| Instant::now() < until);
        lives.then_some(member.own.id)
    }

    /// What this instance is called.
    #[must_use]
    pub fn name(&self) -> &InstanceName {
        &self.0.settings.name
    }

    /// All instances that live, as of the last time that this one said that it does.
    #[must_use]
    pub fn alive(&self) -> Arc<[Instance]> {
        Arc::clone(&self.0.member.borrow().alive)
    }

    /// Whether another server has taken this instance's name, for which this one ends.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.0.member.borrow().superseded
    }

    /// Whether this instance does what one does for all: the one that joined first.
    #[must_use]
    pub fn leads(&self) -> bool {
        let own = self.own_id();
        own.is_some() && self.alive().first().map(|first| first.id) == own
    }

    /// Takes a session for this instance, if no other is in a turn of it.
    pub async fn claim(&self, tenant: TenantId, session: SessionId) -> Result<Claim, StoreError> {
        match self.own_id() {
            Some(own) => self.0.instances.claim(tenant, session, own).await,
            None => Ok(Claim::Fenced),
        }
    }

    /// Gives a session back.
    pub async fn release(&self, session: SessionId) -> Result<(), StoreError> {
        match self.own_id() {
            Some(own) => self.0.instances.release(session, own).await,
            // Nothing is its own any more.
            None => Ok(()),
        }
    }

    /// The other instance that has a session, if one does that lives.
    pub async fn other_holder(
        &self,
        tenant: TenantId,
        session: SessionId,
    ) -> Result<Option<Instance>, StoreError> {
        let holder = self.0.instances.holder(tenant, session).await?;
        let own = self.0.member.borrow().own.id;
        Ok(holder.filter(|holder| holder.id != own))
    }

    /// How sessions of a tenant are, over all instances.
    pub async fn standing(
        &self,
        tenant: TenantId,
        sessions: &[SessionId],
    ) -> Result<Vec<(SessionId, SessionStanding)>, StoreError> {
        self.0.instances.standing(tenant, sessions).await
    }

    /// Up to `limit` sessions with turns that no instance that lives runs.
    pub async fn abandoned(&self, limit: u32) -> Result<Vec<(TenantId, SessionId)>, StoreError> {
        self.0.instances.abandoned(limit).await
    }

    /// Forgets instances that are dead and have left nothing; how many.
    pub async fn bury(&self) -> Result<u64, StoreError> {
        self.0.instances.bury().await
    }

    /// Tells all instances that a session is no more.
    pub async fn tell_gone(&self, tenant: TenantId, session: SessionId) -> Result<(), StoreError> {
        self.0.instances.tell_gone(tenant, session).await
    }

    /// Hears what happens to sessions from now on.
    #[must_use]
    pub fn hear(&self) -> broadcast::Receiver<Heard> {
        self.0.heard.subscribe()
    }

    /// How often this instance says that it lives.
    #[must_use]
    pub fn heartbeat_interval(&self) -> Duration {
        self.0.settings.heartbeat_interval
    }

    /// Whether this is what another instance proves itself with to this one.
    #[must_use]
    pub fn is_peer(&self, token: &str) -> bool {
        let own = self.0.member.borrow().own.id;
        self.0.tokens.is_for(own, token)
    }
}
