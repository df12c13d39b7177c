//! What this process knows of one session: its log, its running turn, and its agent if one lives.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;
use tokio::time::Instant;

use super::feed::Feed;
use super::handle::Agent;
use super::launch::Folders;
use super::line::TurnLine;
use super::log::{Hold, SessionLog};
use super::mirror::Mirrored;
use super::resuming::Resuming;
use crate::cluster::Cluster;
use crate::domain::{ClaudeSessionId, Clock, Session, SessionId, SessionOptions, TenantId};
use crate::security::workspace::WorkspaceIdentity;
use crate::store::Store;

/// How much of a session's log is held in memory.
#[derive(Debug, Clone, Copy)]
pub struct FeedLimits {
    /// For live readers, in bytes.
    pub max_bytes: usize,
    /// Of pieces of messages before they are stored, in bytes.
    pub delta_segment_bytes: usize,
}

/// What sessions' logs are written by.
#[derive(Debug, Clone)]
pub(super) struct Backing {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    /// The other instances, where there can be some.
    pub(super) cluster: Option<Cluster>,
    /// Has lost turns go on; without it they end.
    pub(super) resuming: Option<Resuming>,
}

/// One session, as far as this process is concerned with it.
#[derive(Debug)]
pub(super) struct SessionRuntime {
    pub(super) tenant: TenantId,
    pub(super) session: SessionId,
    pub(super) feed: Arc<Feed>,
    pub(super) log: SessionLog,
    /// Held while an agent is started or ended, so that a session never has two.
    pub(super) agent: tokio::sync::Mutex<Option<LiveAgent>>,
    /// Its turns: the one that runs, and those that wait.
    pub(super) line: TurnLine,
    used_at: Mutex<Instant>,
    /// Whether it went back to before a turn: whoever looked it up before that knows of another conversation.
    rewound: AtomicBool,
    /// The hold of the session since which its private home is as the store has the conversation.
    home_of: Mutex<Option<Hold>>,
    /// What has this process hear of the session while another instance writes its log.
    mirrored: Mutex<Weak<Mirrored>>,
    /// Changes when something is heard of the session from other instances.
    news: watch::Sender<u64>,
}

/// A session's log, opened to be read. While one is held, what this process knows of the session is not forgotten, so that
/// its readers hear of what comes.
#[derive(Debug, Clone)]
pub struct OpenLog {
    runtime: Arc<SessionRuntime>,
    mirrored: Option<Arc<Mirrored>>,
}

impl OpenLog {
    pub(super) fn of(runtime: Arc<SessionRuntime>, mirrored: Option<Arc<Mirrored>>) -> Self {
        Self { runtime, mirrored }
    }

    /// Waits until it is known what the instance that writes the log has of it, if another does.
    pub async fn settled(&self) {
        if let Some(mirrored) = &self.mirrored {
            mirrored.settled().await;
        }
    }

    /// Whether it is known what the instance that writes the log has of it.
    #[must_use]
    pub fn is_mirrored(&self) -> bool {
        self.mirrored
            .as_ref()
            .is_none_or(|mirrored| mirrored.is_settled())
    }

    /// The log's tail in memory.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.runtime.feed
    }

    /// Whose session it is of.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        self.runtime.tenant
    }

    /// The session that it is of.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.runtime.session
    }
}

/// An agent, and what it was started with.
#[derive(Debug)]
pub(super) struct LiveAgent {
    pub(super) agent: Agent,
    folders: Vec<WorkspaceIdentity>,
    conversation: ClaudeSessionId,
    options: SessionOptions,
    /// The hold of the session in which it was started.
    hold: Hold,
}

impl LiveAgent {
    pub(super) fn new(agent: Agent, session: &Session, folders: &Folders, hold: Hold) -> Self {
        Self {
            agent,
            folders: folders.identity(),
            conversation: session.claude_session_id,
            options: session.options.clone(),
            hold,
        }
    }

    /// Whether it was started in a hold of the session that is over: another instance may have gone on since.
    pub(super) fn is_left_over(&self, log: &SessionLog) -> bool {
        !log.covers(self.hold)
    }

    /// Whether it lives, has these options, and works in these very folders: one that was removed and made again is
    /// another.
    pub(super) fn serves(&self, session: &Session, folders: &Folders) -> bool {
        self.agent.is_alive()
            && self.conversation == session.claude_session_id
            && self.options == session.options
            && self.folders == folders.identity()
    }

    /// Notes that it was brought to these options.
    pub(super) fn note_options(&mut self, options: SessionOptions) {
        self.options = options;
    }

    pub(super) fn options(&self) -> &SessionOptions {
        &self.options
    }

    /// Notes under which id the conversation goes on.
    pub(super) fn note_conversation(&mut self, conversation: ClaudeSessionId) {
        self.conversation = conversation;
    }
}

impl SessionRuntime {
    pub(super) fn new(backing: Backing, tenant: TenantId, session: SessionId, limits: FeedLimits) -> Self {
        let feed = Arc::new(Feed::new(limits.max_bytes));
        let line = TurnLine::default();
        Self {
            tenant,
            session,
            log: SessionLog::new(backing, tenant, session, Arc::clone(&feed), line.clone(), limits),
            feed,
            agent: tokio::sync::Mutex::new(None),
            line,
            used_at: Mutex::new(Instant::now()),
            rewound: AtomicBool::new(false),
            home_of: Mutex::default(),
            mirrored: Mutex::default(),
            news: watch::Sender::new(0),
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.line.is_busy()
    }

    pub(super) fn is_live(&self) -> bool {
        // While the slot is held, an agent is being started or ended.
        self.agent.try_lock().map_or(true, |slot| {
            slot.as_ref().is_some_and(|live| live.agent.is_alive())
        })
    }

    /// Takes the agent away if it lives, no turn needs it, and nobody is just starting or ending it.
    pub(super) fn take_idle_agent(&self) -> Option<LiveAgent> {
        let mut slot = self.agent.try_lock().ok()?;
        if self.is_busy() { None } else { slot.take() }
    }

    /// The live agent, if there is one.
    pub(super) async fn live_agent(&self) -> Option<Agent> {
        let slot = self.agent.lock().await;
        slot.as_ref()
            .filter(|live| live.agent.is_alive())
            .map(|live| live.agent.clone())
    }

    /// Drops the agent from the session if it still is the session's.
    pub(super) async fn forget(&self, agent: &Agent) {
        let mut slot = self.agent.lock().await;
        if slot.as_ref().is_some_and(|live| live.agent.is_same(agent)) {
            *slot = None;
        }
    }

    /// Whether the private home may be behind the store, since another instance may have gone on with the conversation.
    pub(super) fn home_is_stale(&self, hold: Hold) -> bool {
        *self.home_of.lock().unwrap_or_else(PoisonError::into_inner) != Some(hold)
    }

    /// Notes that the private home is as the store has the conversation.
    pub(super) fn note_home(&self, hold: Hold) {
        *self.home_of.lock().unwrap_or_else(PoisonError::into_inner) = Some(hold);
    }

    /// What has this process hear of the session, by `make` if nothing does yet.
    pub(super) fn mirrored(&self, begin: impl FnOnce() -> Arc<Mirrored>) -> Arc<Mirrored> {
        let mut mirrored = self.mirrored.lock().unwrap_or_else(PoisonError::into_inner);
        mirrored.upgrade().unwrap_or_else(|| {
            let new = begin();
            *mirrored = Arc::downgrade(&new);
            new
        })
    }

    /// Says that something was heard of the session from other instances.
    pub(super) fn note_news(&self) {
        self.news.send_modify(|heard| *heard = heard.wrapping_add(1));
    }

    /// Tells when something is heard.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Notes that it goes back to before a turn.
    pub(super) fn note_rewound(&self) {
        self.rewound.store(true, Ordering::Release);
    }

    /// Whether what was looked up of it may be of before it went back.
    pub(super) fn was_rewound(&self) -> bool {
        self.rewound.load(Ordering::Acquire)
    }

    pub(super) fn touch(&self) {
        *self.used_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(super) fn used_at(&self) -> Instant {
        *self.used_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
