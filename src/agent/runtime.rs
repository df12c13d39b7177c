//! What this process knows of one session: its log, its running turn, and its agent if one lives.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::feed::Feed;
use super::handle::Agent;
use super::log::SessionLog;
use crate::domain::{Clock, SessionId, TenantId, TurnErrorCode, TurnId};
use crate::security::workspace::{Workspace, WorkspaceIdentity};
use crate::store::Store;

/// How much of a session's log is held in memory.
#[derive(Debug, Clone, Copy)]
pub struct FeedLimits {
    /// For live readers, in bytes.
    pub max_bytes: usize,
    /// Of pieces of messages before they are stored, in bytes.
    pub delta_segment_bytes: usize,
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
    /// The running turn; a level that can be waited for.
    turn: watch::Sender<Option<RunningTurn>>,
    used_at: Mutex<Instant>,
}

/// A turn that runs, and how to stop it.
#[derive(Debug, Clone)]
struct RunningTurn {
    id: TurnId,
    stop: Arc<watch::Sender<Option<TurnErrorCode>>>,
}

/// An agent and the workspace it was started in.
#[derive(Debug)]
pub(super) struct LiveAgent {
    pub(super) agent: Agent,
    workspace: WorkspaceIdentity,
}

impl LiveAgent {
    pub(super) fn new(agent: Agent, workspace: &Workspace) -> Self {
        Self {
            agent,
            workspace: workspace.identity(),
        }
    }

    /// Whether it lives, and in this very folder: one that was removed and made again is another.
    pub(super) fn serves(&self, workspace: &Workspace) -> bool {
        self.agent.is_alive() && self.workspace == workspace.identity()
    }
}

/// The right to run a turn of a session, given back when dropped. There is one at a time.
#[derive(Debug)]
pub(super) struct TurnPlace {
    pub(super) runtime: Arc<SessionRuntime>,
    pub(super) stop: watch::Receiver<Option<TurnErrorCode>>,
}

impl Drop for TurnPlace {
    fn drop(&mut self) {
        self.runtime.touch();
        self.runtime.turn.send_replace(None);
    }
}

impl SessionRuntime {
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        tenant: TenantId,
        session: SessionId,
        limits: FeedLimits,
    ) -> Self {
        let feed = Arc::new(Feed::new(limits.max_bytes));
        Self {
            tenant,
            session,
            log: SessionLog::new(
                store,
                clock,
                tenant,
                session,
                Arc::clone(&feed),
                limits.delta_segment_bytes,
            ),
            feed,
            agent: tokio::sync::Mutex::new(None),
            turn: watch::Sender::new(None),
            used_at: Mutex::new(Instant::now()),
        }
    }

    /// Reserves the session for a turn; `None` while another runs.
    pub(super) fn reserve(runtime: &Arc<Self>, id: TurnId) -> Option<TurnPlace> {
        let (stop, stopped) = watch::channel(None);
        let mut turn = Some(RunningTurn {
            id,
            stop: Arc::new(stop),
        });
        let free = runtime.turn.send_if_modified(|current| {
            let free = current.is_none();
            if free {
                *current = turn.take();
            }
            free
        });
        runtime.touch();
        free.then(|| TurnPlace {
            runtime: Arc::clone(runtime),
            stop: stopped,
        })
    }

    /// Asks the running turn, if one runs, to end for this reason. The first reason stands.
    pub(super) fn stop_turn(&self, reason: TurnErrorCode) {
        let Some(turn) = self.turn.borrow().clone() else {
            return;
        };
        tracing::debug!(turn.id = %turn.id, %reason, "a turn is stopped");
        turn.stop.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(reason);
            }
            first
        });
    }

    /// Waits until no turn runs.
    pub(super) async fn until_idle(&self) {
        let mut turn = self.turn.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        let _idle = turn.wait_for(Option::is_none).await;
    }

    pub(super) fn is_busy(&self) -> bool {
        self.turn.borrow().is_some()
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

    /// Drops the agent from the session if it still is the session's.
    pub(super) async fn forget(&self, agent: &Agent) {
        let mut slot = self.agent.lock().await;
        if slot.as_ref().is_some_and(|live| live.agent.is_same(agent)) {
            *slot = None;
        }
    }

    pub(super) fn touch(&self) {
        *self.used_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(super) fn used_at(&self) -> Instant {
        *self.used_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
