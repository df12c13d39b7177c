//! The agents of this server: starts them, keeps them while they are used, and ends them.
//!
//! At most `max_live` processes live at once. When the pool is full, the agent that has been idle longest makes room;
//! a busy one never does.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::Value;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::actor::ActorLimits;
use super::disk::DiskLimits;
use super::home::Homes;
use super::launch::{Folders, LaunchSettings};
use super::line::{NotAdmitted, OnBusy, TurnControl};
use super::log::LogError;
use super::metrics::AgentMetrics;
use super::pool::Pool;
use super::process::StartError;
use super::questions::QuestionSettings;
use super::resuming::Resuming;
use super::runtime::{Backing, FeedLimits, OpenLog, SessionRuntime};
use super::starting::Purpose;
use super::turn::{OnLost, StartedTurn, TurnPlan, TurnRun};
use super::users::TenantUsers;
use crate::checkpoints::Checkpoints;
use crate::cluster::Cluster;
use crate::domain::{
    Attachment, Clock, EventBody, EventId, Instance, KeyId, Session, SessionId, TenantId, TranscriptPath,
    Turn, TurnError, TurnErrorCode, TurnId, TurnStatus,
};
use crate::lifecycle::{Shutdown, Tasks};
use crate::limits::counter::{Counter, Occupied};
use crate::store::Store;

/// How agents are kept.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// The most processes at once.
    pub max_live: usize,
    /// How long a turn waits for an agent.
    pub queue_timeout: Duration,
    /// The most turns that wait for an agent.
    pub queue_max: usize,
    /// The most turns of one session that wait for the one that runs.
    pub turn_queue_max: usize,
    /// What an agent is told with whose turn is gone on after its server was lost.
    pub resume_prompt: String,
    /// How long an agent may be idle before it is ended.
    pub idle_timeout: Duration,
    /// Whether a session's agent is started before its first prompt.
    pub prewarm: bool,
    /// The most agents that are being started ahead at once.
    pub prewarm_concurrency: usize,
    /// How long an agent must have been idle to make room for one that is started ahead.
    pub prewarm_idle_min: Duration,
    /// How long the CLI may take to answer what it is asked outside the conversation.
    pub control_timeout: Duration,
    /// How long the CLI may take to end a turn that was interrupted, before it is killed.
    pub interrupt_grace: Duration,
    /// The most private memory of all agents together, what they started included, in bytes; 0: no limit.
    pub memory_max_bytes: u64,
    /// How often that memory is looked at.
    pub memory_interval: Duration,
    /// The most helpers at once.
    pub helpers_max: usize,
    /// How much a session's folders may hold.
    pub disk: DiskLimits,
    /// How what agents ask is treated.
    pub questions: QuestionSettings,
    /// How each process is treated.
    pub actor: ActorLimits,
    /// How much of a session's log is held in memory.
    pub feed: FeedLimits,
    /// How much of a transcript may wait for a store that does not take it, in bytes.
    pub transcript_buffer_bytes: usize,
    /// Whether checkpoints are taken in sessions that do not say otherwise.
    pub checkpoints_by_default: bool,
    /// What workspaces were like before and after turns.
    pub checkpoints: Checkpoints,
}

/// What agents live among.
#[derive(Debug)]
pub struct Surroundings {
    /// What is stored.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where background work runs.
    pub tasks: Tasks,
    /// How the server ends.
    pub shutdown: Shutdown,
    /// The other instances, where there can be some.
    pub cluster: Option<Cluster>,
    /// Has turns go on that a lost server left.
    pub resuming: Resuming,
}

/// A turn that is to be run.
#[derive(Debug)]
pub struct NewTurn {
    /// In which session.
    pub session: Session,
    /// In which folders.
    pub folders: Folders,
    /// The prompt's text, for the log.
    pub message: String,
    /// The prompt as the CLI gets it: a text, or the Messages API's content blocks.
    pub content: Value,
    /// What is sent with it.
    pub attachments: Vec<Attachment>,
    /// When it is to be interrupted if it has not ended.
    pub timeout: Option<Duration>,
    /// What is done when the session has a turn already.
    pub on_busy: OnBusy,
    /// What is done when the CLI no longer has the conversation.
    pub on_lost: OnLost,
    /// The idempotency key of the request that asks for it, under which its receipt is kept once it is stored.
    pub request_key: Option<String>,
    /// The key that asks for it, if one does.
    pub key: Option<KeyId>,
    /// Counts as one of the tenant's turns until it has ended.
    pub occupied: Occupied,
}

/// What lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentCounts {
    /// Processes.
    pub live: usize,
    /// Sessions in a turn.
    pub busy: usize,
    /// Turns that wait for an agent.
    pub waiting_for_agent: usize,
    /// Turns that wait for the one that has their session.
    pub waiting_for_session: usize,
}

/// Why a turn was not taken. Nothing is stored of it.
#[derive(Debug, thiserror::Error)]
pub enum TurnRefused {
    /// Another turn of the session runs.
    #[error("the session is busy with another turn")]
    Busy,
    /// As many turns of the session wait as may.
    #[error("as many turns of the session wait as may")]
    QueueFull,
    /// The server is stopping.
    #[error("the server is stopping")]
    ShuttingDown,
    /// Another instance has the session, and is in a turn of it.
    #[error("the session is with instance {}", .0.name)]
    Elsewhere(Instance),
    /// Its first events were not stored.
    #[error(transparent)]
    Log(LogError),
}

impl From<LogError> for TurnRefused {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Elsewhere(instance) => Self::Elsewhere(instance),
            error => Self::Log(error),
        }
    }
}

/// The agents of this server. Clones share them.
#[derive(Debug, Clone)]
pub struct Agents {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: AgentSettings,
    pub(super) launch: LaunchSettings,
    pub(super) homes: Homes,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tasks: Tasks,
    pub(super) shutdown: Shutdown,
    /// The other instances, where there can be some.
    pub(super) cluster: Option<Cluster>,
    resuming: Resuming,
    pub(super) pool: Pool,
    /// Bounds the agents that are being started ahead.
    ahead: Semaphore,
    /// Bounds the helpers.
    pub(super) helpers: Semaphore,
    pub(super) metrics: Arc<AgentMetrics>,
    /// What all agents took when that was last looked at, in bytes.
    pub(super) memory_bytes: AtomicU64,
    models: OnceCell<Value>,
    /// The users of the machine that tenants' agents run under.
    pub(super) users: TenantUsers,
    /// How many agents tenants have.
    pub(super) agents_of_tenants: Counter,
    /// Guarded by a std mutex: held for a look-up or a removal, never across an await.
    runtimes: Mutex<HashMap<SessionId, Arc<SessionRuntime>>>,
}

impl Agents {
    /// No agents yet.
    #[must_use]
    pub fn new(
        settings: AgentSettings,
        launch: LaunchSettings,
        homes: Homes,
        surroundings: Surroundings,
    ) -> Self {
        let Surroundings {
            store,
            clock,
            tasks,
            shutdown,
            cluster,
            resuming,
        } = surroundings;
        Self {
            shared: Arc::new(Shared {
                pool: Pool::new(settings.max_live, settings.queue_max),
                ahead: Semaphore::new(settings.prewarm_concurrency),
                helpers: Semaphore::new(settings.helpers_max),
                metrics: Arc::default(),
                memory_bytes: AtomicU64::new(0),
                settings,
                launch,
                homes,
                store,
                clock,
                tasks,
                shutdown,
                cluster,
                resuming,
                models: OnceCell::new(),
                users: TenantUsers::default(),
                agents_of_tenants: Counter::default(),
                runtimes: Mutex::default(),
            }),
        }
    }

    /// Takes a turn and answers once its first events are stored. From then on it runs to its end, whoever waits.
    pub async fn start_turn(&self, new: NewTurn) -> Result<StartedTurn, TurnRefused> {
        if self.shared.shutdown.has_begun() {
            return Err(TurnRefused::ShuttingDown);
        }
        let runtime = self.shared.runtime(new.session.tenant, new.session.id);
        if !runtime.log.is_owned() {
            // A turn that a lost server left may have to go on first.
            runtime.log.take().await?;
        }
        let now = self.shared.clock.now();
        let turn = Turn {
            id: TurnId::generate(&*self.shared.clock),
            session: new.session.id,
            message: new.message,
            started_at: now,
            queued: false,
            key: new.key,
            deadline: new
                .timeout
                .and_then(|timeout| now.checked_add_signed(TimeDelta::from_std(timeout).ok()?)),
            outcome: None,
        };
        let (control, signals) = TurnControl::new(turn.id);
        let admission = runtime
            .line
            .enter(&control, new.on_busy, self.shared.settings.turn_queue_max)
            .map_err(|refused| match refused {
                NotAdmitted::Busy => TurnRefused::Busy,
                NotAdmitted::Full => TurnRefused::QueueFull,
            })?;
        if self.shared.shutdown.has_begun() {
            // It began meanwhile, and may have looked already for what it waits for.
            return Err(TurnRefused::ShuttingDown);
        }
        runtime.touch();
        let plan = TurnPlan {
            session: new.session,
            folders: new.folders,
            turn,
            content: new.content,
            attachments: new.attachments,
            timeout: new.timeout,
            on_lost: new.on_lost,
            request_key: new.request_key,
            _occupied: new.occupied,
        };
        let run = TurnRun::new(Arc::clone(&self.shared), runtime, control, signals, plan);
        // Begun in a task of its own: a caller that goes away now must not leave a turn that is stored and not run.
        let (taken, is_taken) = tokio::sync::oneshot::channel();
        let span = run.span();
        self.shared
            .tasks
            .spawn(run.run(admission, taken).instrument(span));
        is_taken.await.unwrap_or(Err(TurnRefused::ShuttingDown))
    }

    /// A turn that has its session here, or waits for it: to be followed, from its first event on if `after` is before
    /// that.
    #[must_use]
    pub fn follow(&self, turn: &Turn, after: EventId) -> Option<StartedTurn> {
        let runtime = self.shared.known(turn.session)?;
        let control = runtime.line.find(turn.id)?;
        Some(StartedTurn {
            turn: turn.clone(),
            after,
            ended: control.ended(),
        })
    }

    /// A session's log, to be read: what comes from now on is heard of.
    #[must_use]
    pub fn open_log(&self, tenant: TenantId, session: SessionId) -> OpenLog {
        let runtime = self.shared.runtime(tenant, session);
        let mirrored = self.shared.mirror(&runtime);
        OpenLog::of(runtime, mirrored)
    }

    /// The log of a session that is this instance's.
    #[must_use]
    pub fn open_own_log(&self, session: SessionId) -> Option<OpenLog> {
        let runtime = self.shared.known(session)?;
        runtime.log.is_owned().then(|| OpenLog::of(runtime, None))
    }

    /// Up to where a session's log is in the store, if it is written here.
    pub async fn stored_to(&self, session: SessionId) -> Option<EventId> {
        self.shared.known(session)?.log.stored_to().await
    }

    /// Where a turn without outcome is, if it is alive here.
    #[must_use]
    pub fn turn_status_here(&self, session: SessionId, turn: TurnId) -> Option<TurnStatus> {
        let control = self.shared.known(session)?.line.find(turn)?;
        Some(control.status())
    }

    /// Starts a session's agent in the background, so that its next prompt meets a live process. Not when there is no
    /// room: an agent that was used a moment ago does not make way for one that may never be.
    pub fn prewarm(&self, session: Session, folders: Folders) {
        if !self.shared.settings.prewarm || self.shared.shutdown.has_begun() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let ahead = async move {
            let Ok(_one_of_few) = shared.ahead.acquire().await else {
                return;
            };
            let runtime = shared.runtime(session.tenant, session.id);
            let started = shared.ensure_agent(&runtime, &session, &folders, Purpose::Ahead);
            if let Err(error) = started.await {
                tracing::info!(session.id = %session.id, error = &error as &dyn std::error::Error,
                    "no agent was started ahead of the first prompt");
            }
        };
        // Part of the request that has it started.
        self.shared.tasks.spawn(ahead.in_current_span());
    }

    /// Appends lines to a session's transcript.
    pub async fn write_transcript(
        &self,
        tenant: TenantId,
        session: SessionId,
        path: &TranscriptPath,
        lines: &[String],
    ) -> Result<(), LogError> {
        let runtime = self.shared.runtime(tenant, session);
        runtime.log.append_transcript(None, path, lines).await.map(|_| ())
    }

    /// Appends events that belong to no turn to the log of a session that is this instance's, or can be.
    pub async fn record_here(
        &self,
        tenant: TenantId,
        session: SessionId,
        bodies: Vec<EventBody>,
    ) -> Result<(), LogError> {
        self.shared
            .runtime(tenant, session)
            .log
            .append(None, bodies)
            .await
    }

    /// Whether a session's agent lives.
    #[must_use]
    pub fn is_live(&self, session: SessionId) -> bool {
        self.shared
            .known(session)
            .is_some_and(|runtime| runtime.is_live())
    }

    /// Whether a turn of the session runs.
    #[must_use]
    pub fn is_busy(&self, session: SessionId) -> bool {
        self.shared
            .known(session)
            .is_some_and(|runtime| runtime.is_busy())
    }

    /// Ends a session's turn and agent here and removes its private home; answers when nothing of it is left.
    pub async fn close_here(&self, tenant: TenantId, session: SessionId) {
        let shared = Arc::clone(&self.shared);
        let closing = self
            .shared
            .tasks
            .spawn(async move { shared.close(tenant, session).await });
        if closing.await.is_err() {
            tracing::error!(session.id = %session, "a session's agent was not ended in order");
        }
    }

    /// Gives every turn that an earlier process left without an outcome the outcome `unknown`, or has it go on, where this is the
    /// only one; in how many sessions.
    pub async fn settle_unfinished(&self) -> Result<u64, LogError> {
        const BATCH: u32 = 100;
        let (mut settled, mut after) = (0, None);
        loop {
            let sessions = self
                .shared
                .store
                .sessions_with_unfinished_turns(after, BATCH)
                .await?;
            let Some((_, last)) = sessions.last() else {
                return Ok(settled);
            };
            after = Some(*last);
            for (tenant, session) in sessions {
                self.shared.runtime(tenant, session).log.take().await?;
                settled += 1;
            }
        }
    }

    /// Ends idle agents, for as long as the server runs.
    pub async fn reap(&self) {
        let interval =
            (self.shared.settings.idle_timeout / 4).clamp(Duration::from_millis(50), Duration::from_secs(30));
        loop {
            tokio::select! {
                () = tokio::time::sleep(interval) => self.shared.reap_idle().await,
                () = self.shared.shutdown.begun() => return,
            }
        }
    }

    /// Ends turns that wait, waits for running ones, at most `drain`, interrupts the rest, and ends every agent.
    pub async fn shut_down(&self, drain: Duration) {
        let runtimes: Vec<_> = self.shared.lock_runtimes().values().cloned().collect();
        for runtime in &runtimes {
            runtime.line.stop_waiting(TurnErrorCode::ServerShutdown);
        }
        let all_idle = async {
            for runtime in &runtimes {
                runtime.line.until_empty().await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(drain, all_idle) => {}
            () = self.shared.shutdown.forced() => {}
        }
        // From here on no agent is started; those that are being started are waited for below.
        self.shared.pool.close();
        self.shared.ahead.close();
        let runtimes: Vec<_> = self.shared.lock_runtimes().values().cloned().collect();
        for runtime in &runtimes {
            runtime.line.stop_all(TurnErrorCode::ServerShutdown);
        }
        let endings = runtimes.iter().map(|runtime| async {
            runtime.line.until_empty().await;
            if let Some(live) = runtime.agent.lock().await.take() {
                live.agent.stop().await;
            }
        });
        futures_util::future::join_all(endings).await;
    }

    /// What lives, and what waits.
    #[must_use]
    pub fn counts(&self) -> AgentCounts {
        let (live, waiting_for_agent) = self.shared.pool.counts();
        let runtimes = self.shared.lock_runtimes();
        AgentCounts {
            live,
            busy: runtimes.values().filter(|runtime| runtime.is_busy()).count(),
            waiting_for_agent,
            waiting_for_session: runtimes.values().map(|runtime| runtime.line.waiting()).sum(),
        }
    }

    /// What is counted and measured.
    #[must_use]
    pub fn metrics(&self) -> &AgentMetrics {
        &self.shared.metrics
    }

    /// Whether the CLI is there and executable.
    pub fn check_cli(&self) -> Result<(), StartError> {
        self.shared.launch.locate_cli().map(|_| ())
    }

    /// The models that the CLI offers, as it tells them: asked once, of a process started for that alone.
    pub async fn models(&self) -> Result<Value, TurnError> {
        let shared = Arc::clone(&self.shared);
        // On the main runtime: a process belongs there, and the answer is for everyone who waits.
        let asked = self.shared.tasks.spawn(async move {
            let models = shared.models.get_or_try_init(|| shared.ask_models()).await;
            models.cloned().map_err(|error| error.to_turn_error())
        });
        asked.await.unwrap_or_else(|_| {
            Err(TurnError {
                code: TurnErrorCode::AgentStartFailed,
                message: "the question was not finished".into(),
            })
        })
    }
}

impl Shared {
    pub(super) fn lock_runtimes(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<SessionRuntime>>> {
        self.runtimes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this process knows of a session, made when it knows nothing yet.
    pub(super) fn runtime(&self, tenant: TenantId, session: SessionId) -> Arc<SessionRuntime> {
        let mut runtimes = self.lock_runtimes();
        let runtime = runtimes.entry(session).or_insert_with(|| {
            Arc::new(SessionRuntime::new(
                self.backing(),
                tenant,
                session,
                self.settings.feed,
            ))
        });
        Arc::clone(runtime)
    }

    fn backing(&self) -> Backing {
        Backing {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            cluster: self.cluster.clone(),
            resuming: Some(self.resuming.clone()),
        }
    }

    pub(super) fn known(&self, session: SessionId) -> Option<Arc<SessionRuntime>> {
        self.lock_runtimes().get(&session).cloned()
    }

    async fn reap_idle(&self) {
        let now = Instant::now();
        let runtimes: Vec<_> = self.lock_runtimes().values().cloned().collect();
        for runtime in &runtimes {
            if now.duration_since(runtime.used_at()) >= self.settings.idle_timeout
                && let Some(idle) = runtime.take_idle_agent()
            {
                tracing::info!(session.id = %runtime.session, "ended an idle agent");
                self.metrics.agent_evicted("idle");
                idle.agent.stop().await;
            }
        }
        self.release_idle(&runtimes).await;
        drop(runtimes);
        // What only this map still holds, and holds no agent, is not needed.
        self.lock_runtimes()
            .retain(|_, runtime| Arc::strong_count(runtime) > 1 || runtime.is_busy() || runtime.is_live());
    }

    pub(super) async fn close(&self, tenant: TenantId, session: SessionId) {
        if let Some(runtime) = self.known(session) {
            runtime.line.stop_all(TurnErrorCode::SessionClosed);
            runtime.line.until_empty().await;
            // Before the agent is looked for: none is started from here on.
            runtime.feed.end();
            if let Some(live) = runtime.agent.lock().await.take() {
                live.agent.stop().await;
            }
            self.lock_runtimes().remove(&session);
        }
        if let Err(error) = self.homes.of(tenant, session).remove() {
            tracing::warn!(session.id = %session, error = &error as &dyn std::error::Error,
                "a closed session's private home was not removed");
        }
    }
}
