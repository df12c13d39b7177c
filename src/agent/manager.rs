//! The agents of this server: starts them, keeps them while they are used, and ends them.
//!
//! At most `max_live` processes live at once. When the pool is full, the agent that has been idle longest makes room;
//! a busy one never does.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::Instant;

use super::actor::{self, ActorLimits, AgentCounters};
use super::handle::{Agent, AgentEnd};
use super::home::{Home, Homes};
use super::launch::{self, LaunchSettings};
use super::log::LogError;
use super::process::{Process, Program, StartError};
use super::runtime::{FeedLimits, LiveAgent, SessionRuntime};
use super::transcript::{self, TranscriptQueue};
use super::turn::{StartedTurn, TurnPlan, TurnRun};
use crate::domain::{
    Clock, EventBody, Session, SessionId, SessionOptions, TenantId, Turn, TurnError, TurnErrorCode, TurnId,
};
use crate::lifecycle::{Shutdown, Tasks};
use crate::protocol::control::Initialize;
use crate::security::workspace::Workspace;
use crate::store::{Store, StoreError};

/// How agents are kept.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// The most processes at once.
    pub max_live: usize,
    /// How long an agent may be idle before it is ended.
    pub idle_timeout: Duration,
    /// Whether a session's agent is started before its first prompt.
    pub prewarm: bool,
    /// How long the CLI may take to end a turn that was interrupted, before it is killed.
    pub interrupt_grace: Duration,
    /// How each process is treated.
    pub actor: ActorLimits,
    /// How much of a session's log is held in memory.
    pub feed: FeedLimits,
    /// How much of a transcript may wait for a store that does not take it, in bytes.
    pub transcript_buffer_bytes: usize,
}

/// Why a turn was not begun. Nothing is stored of it.
#[derive(Debug, thiserror::Error)]
pub enum TurnRefused {
    /// Another turn of the session runs.
    #[error("the session is busy with another turn")]
    Busy,
    /// The server is stopping.
    #[error("the server is stopping")]
    ShuttingDown,
    /// Its first events were not stored.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Why there is no agent for a session.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAgent {
    #[error("all agents are in use")]
    Exhausted,
    #[error("the server is stopping")]
    Closed,
    #[error("the CLI cannot be started: {0}")]
    Unavailable(#[from] StartError),
    #[error("the session's private home cannot be made")]
    Home(#[source] io::Error),
    #[error("{}", describe_start(.0))]
    StartFailed(Arc<AgentEnd>),
    #[error("the CLI no longer has this conversation")]
    ConversationLost,
    #[error("the conversation cannot be read from the store")]
    Transcript(#[source] StoreError),
}

impl NoAgent {
    pub(super) fn to_turn_error(&self) -> TurnError {
        let code = match self {
            Self::Exhausted => TurnErrorCode::AgentsExhausted,
            Self::Closed => TurnErrorCode::ServerShutdown,
            Self::Unavailable(_) => TurnErrorCode::AgentUnavailable,
            Self::Home(_) | Self::StartFailed(_) => TurnErrorCode::AgentStartFailed,
            Self::ConversationLost => TurnErrorCode::ConversationLost,
            Self::Transcript(_) => TurnErrorCode::StoreUnavailable,
        };
        TurnError {
            code,
            message: self.to_string(),
        }
    }
}

fn describe_start(end: &AgentEnd) -> String {
    let how = if end.start_timed_out {
        "was not ready in time".to_owned()
    } else {
        format!("ended with {}", end.status)
    };
    if end.complaint.is_empty() {
        format!("the CLI {how} before it was ready")
    } else {
        format!("the CLI {how} before it was ready: {}", end.complaint)
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
    launch: LaunchSettings,
    homes: Homes,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tasks: Tasks,
    shutdown: Shutdown,
    permits: Arc<Semaphore>,
    counters: Arc<AgentCounters>,
    models: OnceCell<Value>,
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
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        shutdown: Shutdown,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(settings.max_live));
        Self {
            shared: Arc::new(Shared {
                settings,
                launch,
                homes,
                store,
                clock,
                tasks,
                shutdown,
                permits,
                counters: Arc::default(),
                models: OnceCell::new(),
                runtimes: Mutex::default(),
            }),
        }
    }

    /// Begins a turn and answers once its first events are stored. From then on it runs to its end, whoever waits.
    pub async fn start_turn(
        &self,
        session: Session,
        workspace: Workspace,
        message: String,
        timeout: Option<Duration>,
    ) -> Result<StartedTurn, TurnRefused> {
        if self.shared.shutdown.has_begun() {
            return Err(TurnRefused::ShuttingDown);
        }
        let runtime = self.shared.runtime(session.tenant, session.id);
        let turn = Turn {
            id: TurnId::generate(&*self.shared.clock),
            session: session.id,
            message,
            started_at: self.shared.clock.now(),
            outcome: None,
        };
        let place = SessionRuntime::reserve(&runtime, turn.id).ok_or(TurnRefused::Busy)?;
        let run = TurnRun::new(
            Arc::clone(&self.shared),
            place,
            TurnPlan {
                session,
                workspace,
                turn,
                timeout,
            },
        );
        // Begun in a task of its own: a caller that goes away now must not leave a turn that is stored and not run.
        let (begun, is_begun) = tokio::sync::oneshot::channel();
        self.shared.tasks.spawn(run.run(begun));
        is_begun.await.unwrap_or(Err(TurnRefused::ShuttingDown))
    }

    /// Starts a session's agent in the background, so that its next prompt meets a live process.
    pub fn prewarm(&self, session: Session, workspace: Workspace) {
        if !self.shared.settings.prewarm || self.shared.shutdown.has_begun() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(async move {
            let runtime = shared.runtime(session.tenant, session.id);
            if let Err(error) = shared.ensure_agent(&runtime, &session, &workspace).await {
                tracing::warn!(session.id = %session.id, error = &error as &dyn std::error::Error,
                    "no agent was started ahead of the first prompt");
            }
        });
    }

    /// Appends an event that belongs to no turn to a session's log.
    pub async fn record(
        &self,
        tenant: TenantId,
        session: SessionId,
        body: EventBody,
    ) -> Result<(), LogError> {
        self.shared
            .runtime(tenant, session)
            .log
            .append(None, vec![body])
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

    /// Ends a session's turn and agent and removes its private home; answers when nothing of it is left.
    pub async fn close(&self, tenant: TenantId, session: SessionId) {
        let shared = Arc::clone(&self.shared);
        let closing = self
            .shared
            .tasks
            .spawn(async move { shared.close(tenant, session).await });
        if closing.await.is_err() {
            tracing::error!(session.id = %session, "a session's agent was not ended in order");
        }
    }

    /// Gives every turn that an earlier process left without an outcome the outcome `unknown`.
    pub async fn settle_unfinished(&self) -> Result<u64, LogError> {
        const BATCH: u32 = 100;
        let mut settled = 0;
        loop {
            let sessions = self.shared.store.sessions_with_unfinished_turns(BATCH).await?;
            if sessions.is_empty() {
                return Ok(settled);
            }
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

    /// Waits for running turns, at most `drain`, interrupts the rest, and ends every agent.
    pub async fn shut_down(&self, drain: Duration) {
        let runtimes: Vec<_> = self.shared.lock_runtimes().values().cloned().collect();
        let all_idle = async {
            for runtime in &runtimes {
                runtime.until_idle().await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(drain, all_idle) => {}
            () = self.shared.shutdown.forced() => {}
        }
        // From here on no agent is started; those that are being started are waited for below.
        self.shared.permits.close();
        let runtimes: Vec<_> = self.shared.lock_runtimes().values().cloned().collect();
        for runtime in &runtimes {
            runtime.stop_turn(TurnErrorCode::ServerShutdown);
        }
        let endings = runtimes.iter().map(|runtime| async {
            runtime.until_idle().await;
            if let Some(live) = runtime.agent.lock().await.take() {
                live.agent.stop().await;
            }
        });
        futures_util::future::join_all(endings).await;
    }

    /// How many processes live, and how many turns run.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let live = self.shared.settings.max_live - self.shared.permits.available_permits();
        let busy = self
            .shared
            .lock_runtimes()
            .values()
            .filter(|runtime| runtime.is_busy())
            .count();
        (live, busy)
    }

    /// How many lines of all agents were no messages.
    #[must_use]
    pub fn garbage_lines(&self) -> u64 {
        self.shared.counters.garbage_lines.load(Ordering::Relaxed)
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
    fn lock_runtimes(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<SessionRuntime>>> {
        self.runtimes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this process knows of a session, made when it knows nothing yet.
    fn runtime(&self, tenant: TenantId, session: SessionId) -> Arc<SessionRuntime> {
        let mut runtimes = self.lock_runtimes();
        let runtime = runtimes.entry(session).or_insert_with(|| {
            Arc::new(SessionRuntime::new(
                Arc::clone(&self.store),
                Arc::clone(&self.clock),
                tenant,
                session,
                self.settings.feed,
            ))
        });
        Arc::clone(runtime)
    }

    fn known(&self, session: SessionId) -> Option<Arc<SessionRuntime>> {
        self.lock_runtimes().get(&session).cloned()
    }

    /// The session's agent, ready: the one that lives, else a new one.
    pub(super) async fn ensure_agent(
        &self,
        runtime: &Arc<SessionRuntime>,
        session: &Session,
        workspace: &Workspace,
    ) -> Result<Agent, NoAgent> {
        let mut slot = runtime.agent.lock().await;
        let agent = match &*slot {
            Some(live) if live.serves(workspace) => live.agent.clone(),
            _ => {
                if let Some(old) = slot.take() {
                    old.agent.stop().await;
                }
                let agent = self.start_agent(runtime, session, workspace).await?;
                runtime.touch();
                *slot = Some(LiveAgent::new(agent.clone(), workspace));
                agent
            }
        };
        drop(slot);
        match agent.ready().await {
            Ok(_) => Ok(agent),
            Err(end) => {
                runtime.forget(&agent).await;
                Err(if end.conversation_lost() {
                    NoAgent::ConversationLost
                } else {
                    NoAgent::StartFailed(end)
                })
            }
        }
    }

    async fn start_agent(
        &self,
        runtime: &Arc<SessionRuntime>,
        session: &Session,
        workspace: &Workspace,
    ) -> Result<Agent, NoAgent> {
        let permit = self.permit(runtime).await?;
        let home = self.homes.of(session.tenant, session.id);
        home.create().map_err(NoAgent::Home)?;
        if session.conversation_started && !home.has_transcript(session.claude_session_id) {
            self.give_transcript_back(session, &home).await?;
        }
        let program = self
            .launch
            .program(session, &home, workspace.as_current_dir(), workspace.path())?;
        let kept = transcript::keep(
            runtime,
            home.projects_dir(),
            self.settings.transcript_buffer_bytes,
            &self.tasks,
        );
        self.take_over(
            &program,
            &launch::initialize(&session.options),
            permit,
            Some(kept),
        )
    }

    /// Fills a home that does not have the conversation from the store.
    async fn give_transcript_back(&self, session: &Session, home: &Home) -> Result<(), NoAgent> {
        let stored = self
            .store
            .read_transcript(session.tenant, session.id)
            .await
            .map_err(NoAgent::Transcript)?;
        let (conversation, home) = (session.claude_session_id, home.clone());
        let write = move || transcript::give_back(&stored, conversation, &home);
        let written = tokio::task::spawn_blocking(write)
            .await
            .map_err(|error| NoAgent::Home(io::Error::other(error)))?;
        if written.map_err(NoAgent::Home)? {
            tracing::info!(session.id = %session.id, "a conversation was brought back from the store");
        }
        Ok(())
    }

    fn take_over(
        &self,
        program: &Program,
        initialize: &Initialize,
        permit: OwnedSemaphorePermit,
        transcript: Option<TranscriptQueue>,
    ) -> Result<Agent, NoAgent> {
        let (process, pipes) = Process::start(program)?;
        let limits = self.settings.actor.clone();
        let counters = Arc::clone(&self.counters);
        Ok(actor::take_over(
            process,
            pipes,
            initialize,
            limits,
            counters,
            permit,
            transcript,
            &self.tasks,
        ))
    }

    /// A place in the pool, made free if need be by ending the agent that has been idle longest.
    async fn permit(&self, wanted_by: &SessionRuntime) -> Result<OwnedSemaphorePermit, NoAgent> {
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(NoAgent::Closed),
            Err(TryAcquireError::NoPermits) => {}
        }
        let idle = self.take_longest_idle(wanted_by).ok_or(NoAgent::Exhausted)?;
        idle.agent.stop().await;
        // Its place is given back a moment after its end is told.
        let freed = tokio::time::timeout(
            self.settings.actor.stop_grace,
            Arc::clone(&self.permits).acquire_owned(),
        );
        match freed.await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(NoAgent::Exhausted),
        }
    }

    fn take_longest_idle(&self, wanted_by: &SessionRuntime) -> Option<LiveAgent> {
        let runtimes: Vec<_> = self.lock_runtimes().values().cloned().collect();
        let mut idle: Vec<_> = runtimes
            .iter()
            .filter(|runtime| runtime.session != wanted_by.session && !runtime.is_busy())
            .map(|runtime| (runtime.used_at(), runtime))
            .collect();
        idle.sort_by_key(|(used_at, _)| *used_at);
        idle.into_iter()
            .find_map(|(_, runtime)| runtime.take_idle_agent())
    }

    async fn reap_idle(&self) {
        let now = Instant::now();
        let runtimes: Vec<_> = self.lock_runtimes().values().cloned().collect();
        for runtime in &runtimes {
            if now.duration_since(runtime.used_at()) >= self.settings.idle_timeout
                && let Some(idle) = runtime.take_idle_agent()
            {
                tracing::info!(session.id = %runtime.session, "ended an idle agent");
                idle.agent.stop().await;
            }
        }
        drop(runtimes);
        // What only this map still holds, and holds no agent, is not needed.
        self.lock_runtimes()
            .retain(|_, runtime| Arc::strong_count(runtime) > 1 || runtime.is_busy() || runtime.is_live());
    }

    async fn close(&self, tenant: TenantId, session: SessionId) {
        if let Some(runtime) = self.known(session) {
            runtime.stop_turn(TurnErrorCode::SessionClosed);
            runtime.until_idle().await;
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

    async fn ask_models(&self) -> Result<Value, NoAgent> {
        let nobody = SessionRuntime::new(
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            TenantId::generate(&*self.clock),
            SessionId::generate(&*self.clock),
            self.settings.feed,
        );
        let permit = self.permit(&nobody).await?;
        let home = self.homes.of(nobody.tenant, nobody.session);
        home.create().map_err(NoAgent::Home)?;
        let agent = self.take_over(
            &self.launch.probe(&home)?,
            &launch::initialize(&SessionOptions::default()),
            permit,
            None,
        )?;
        let answer = agent.ready().await;
        agent.stop().await;
        if let Err(error) = home.remove() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a temporary home was not removed"
            );
        }
        let answer = answer.map_err(NoAgent::StartFailed)?;
        Ok(answer.get("models").cloned().unwrap_or(Value::Array(Vec::new())))
    }
}
