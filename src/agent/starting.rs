//! How a session gets its agent: a place in the pool, a private home, the conversation, a process.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use super::actor::{self, Belongings};
use super::disk::DiskLimits;
use super::handle::{Agent, AgentEnd};
use super::home::Home;
use super::launch::{Folders, Means};
use super::log::{Hold, LogError};
use super::manager::Shared;
use super::pool::{Entry, Place, Refused};
use super::process::{Process, Program, StartError};
use super::runtime::{Backing, LiveAgent, SessionRuntime};
use super::transcript;
use super::users::UserError;
use crate::domain::{
    Session, SessionId, Tenant, TenantId, TenantNetwork, TenantPolicy, TurnError, TurnErrorCode, UserId,
};
use crate::gateway::meter::Account;
use crate::gateway::{Door, DoorClosed};
use crate::limits::counter::Occupied;
use crate::protocol::control::Initialize;
use crate::security::ownership;
use crate::security::workspace::Workspace;
use crate::store::StoreError;
use crate::telemetry;

/// Why there is no agent for a session.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAgent {
    #[error("all agents are in use, and none became free in time")]
    Exhausted,
    #[error("all agents are in use, and as many turns wait for one as may")]
    QueueFull,
    #[error("the server is stopping")]
    Closed,
    #[error(transparent)]
    NotOwned(#[from] LogError),
    #[error("the CLI cannot be started: {0}")]
    Unavailable(#[from] StartError),
    #[error("the tenant cannot be read from the store")]
    Tenant(#[source] StoreError),
    #[error("the session's private home cannot be made")]
    Home(#[source] io::Error),
    #[error(transparent)]
    Door(#[from] DoorClosed),
    #[error("no control group can be had for the agent")]
    ControlGroup(#[source] io::Error),
    #[error("no user of the machine can be had for the tenant")]
    User(#[source] UserError),
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
            Self::Exhausted | Self::QueueFull => TurnErrorCode::AgentsExhausted,
            Self::Closed => TurnErrorCode::ServerShutdown,
            Self::Unavailable(_) => TurnErrorCode::AgentUnavailable,
            Self::Home(_) | Self::Door(_) | Self::ControlGroup(_) | Self::User(_) | Self::StartFailed(_) => {
                TurnErrorCode::AgentStartFailed
            }
            Self::ConversationLost => TurnErrorCode::ConversationLost,
            Self::Transcript(_) | Self::Tenant(_) | Self::NotOwned(_) => TurnErrorCode::StoreUnavailable,
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

/// What a session's agent is to change belongs to the user that it runs under.
pub(super) async fn give_to(user: u32, home: &Home, folders: &Folders) -> io::Result<()> {
    let handle = |workspace: &Workspace| workspace.dir().as_fd().try_clone_to_owned();
    let (home, tree) = (home.clone(), handle(&folders.tree)?);
    let workspaces = [&folders.workspace].into_iter().chain(&folders.added);
    let workspaces = workspaces.map(handle).collect::<io::Result<Vec<_>>>()?;
    // Folders may hold much.
    off_the_runtime(move || {
        home.give_to(user)?;
        ownership::let_through_parent(&tree, user)?;
        ownership::give(&tree, user)?;
        workspaces
            .iter()
            .try_for_each(|workspace| ownership::give(workspace, user))
    })
    .await
}

/// Does what may take its time with files.
pub(super) async fn off_the_runtime<T: Send + 'static>(
    what: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(what)
        .await
        .map_err(io::Error::other)?
}

async fn end(slot: &mut Option<LiveAgent>) {
    if let Some(old) = slot.take() {
        old.agent.stop().await;
    }
}

/// For what an agent is started.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// For a turn, which waits for a place and is told its position.
    Turn(&'a watch::Sender<usize>),
    /// Ahead of the first prompt, if there is room.
    Ahead,
}

impl Shared {
    /// The session's agent, ready: the one that lives, else a new one.
    pub(super) async fn ensure_agent(
        &self,
        runtime: &Arc<SessionRuntime>,
        session: &Session,
        folders: &Folders,
        purpose: Purpose<'_>,
    ) -> Result<Agent, NoAgent> {
        let began = Instant::now();
        let living = self.living(runtime, session, folders).await;
        let is_new = living.is_none();
        let agent = if let Some(agent) = living {
            agent
        } else {
            let span = tracing::info_span!("agent.start", session.id = %session.id);
            let new = self.new_agent(runtime, session, folders, purpose);
            new.instrument(span).await?
        };
        match agent.ready().await {
            Ok(_) => {
                if is_new {
                    self.metrics
                        .agent_ready(began.elapsed(), matches!(purpose, Purpose::Ahead));
                }
                self.pool.note_change();
                Ok(agent)
            }
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

    /// The session's agent, if it lives and serves; one that does not is ended, and its place is free.
    async fn living(&self, runtime: &SessionRuntime, session: &Session, folders: &Folders) -> Option<Agent> {
        let mut slot = runtime.agent.lock().await;
        let serves = |live: &&LiveAgent| live.serves(session, folders) && !live.is_left_over(&runtime.log);
        if let Some(live) = slot.as_ref().filter(serves) {
            return Some(live.agent.clone());
        }
        end(&mut slot).await;
        None
    }

    /// A new agent for the session. The place is waited for without the slot, so that what else is asked of the session
    /// does not wait with it.
    async fn new_agent(
        &self,
        runtime: &Arc<SessionRuntime>,
        session: &Session,
        folders: &Folders,
        purpose: Purpose<'_>,
    ) -> Result<Agent, NoAgent> {
        // Where there are others, an agent is started only for a session that is this instance's.
        let hold = match self.cluster {
            Some(_) => runtime.log.take().await?,
            None => Hold::ALONE,
        };
        let occupied = self.one_of_tenants(runtime, purpose).await?;
        let place = self.place(runtime, purpose).await?.with(occupied);
        let mut slot = runtime.agent.lock().await;
        if !runtime.log.covers(hold) {
            return Err(LogError::Fenced.into());
        }
        if runtime.feed.has_ended() {
            // It was closed in the meantime: what is started now would be nobody's.
            return Err(LogError::SessionMissing.into());
        }
        let serves = |live: &&LiveAgent| live.serves(session, folders) && !live.is_left_over(&runtime.log);
        if let Some(live) = slot.as_ref().filter(serves) {
            // Another was quicker; the place goes back.
            return Ok(live.agent.clone());
        }
        end(&mut slot).await;
        let agent = self.start_agent(runtime, session, folders, place, hold).await?;
        runtime.touch();
        *slot = Some(LiveAgent::new(agent.clone(), session, folders, hold));
        Ok(agent)
    }

    async fn start_agent(
        &self,
        runtime: &Arc<SessionRuntime>,
        session: &Session,
        folders: &Folders,
        place: Place,
        hold: Hold,
    ) -> Result<Agent, NoAgent> {
        let home = self.homes.of(session.tenant, session.id);
        if home.create().map_err(NoAgent::Home)?
            && let Some(template) = self.launch.home_template.clone()
        {
            let home = home.clone();
            let filled = off_the_runtime(move || home.fill_from(&template)).await;
            filled.map_err(NoAgent::Home)?;
        }
        let is_stale = self.cluster.is_some() && runtime.home_is_stale(hold);
        if is_stale {
            home.forget_transcripts().map_err(NoAgent::Home)?;
        }
        if (session.conversation_started || is_stale) && !home.has_transcript(session.claude_session_id) {
            self.give_transcript_back(session, &home).await?;
        }
        runtime.note_home(hold);
        let user = self.user_of(session.tenant).await?;
        if let Some(user) = user {
            give_to(user, &home, folders).await.map_err(NoAgent::Home)?;
        }
        let account = Some((session.id, session.user.clone()));
        let door = self.open_door(session.tenant, account).await?;
        let groups = self.launch.fence.control_groups.as_ref();
        let control_group = groups
            .map(|groups| groups.make(session.id))
            .transpose()
            .map_err(NoAgent::ControlGroup)?;
        let traceparent = telemetry::traceparent(&Span::current());
        let means = Means {
            door: door.as_ref(),
            user,
            control_group: control_group.as_ref(),
            traceparent: traceparent.as_deref(),
            model_only: self.policy_of(session.tenant).await?.network == Some(TenantNetwork::Gateway),
        };
        let program = self.launch.program(session, &home, folders, means)?;
        let initialize = self.launch.initialize(&session.options, folders);
        let kept = transcript::keep(
            runtime,
            hold,
            home.projects_dir(),
            self.settings.transcript_buffer_bytes,
            &self.tasks,
        );
        let belongings = Belongings {
            place,
            transcript: Some(kept),
            door,
            control_group,
        };
        self.take_over(&program, &initialize, belongings)
    }

    /// The tenant, with the limits that hold for it, if it is known.
    async fn tenant(&self, tenant: TenantId) -> Result<Option<Tenant>, NoAgent> {
        match &self.launch.limits {
            Some(limits) => limits.of(tenant).await.map_err(NoAgent::Tenant),
            None => Ok(None),
        }
    }

    pub(super) async fn policy_of(&self, tenant: TenantId) -> Result<TenantPolicy, NoAgent> {
        let found = self.tenant(tenant).await?;
        Ok(found.map(|tenant| tenant.policy).unwrap_or_default())
    }

    /// How much the folders of a tenant's session may hold.
    pub(super) async fn disk_limits(&self, tenant: TenantId) -> DiskLimits {
        let limits = self
            .tenant(tenant)
            .await
            .ok()
            .flatten()
            .map(|tenant| tenant.limits);
        let own = limits.unwrap_or_default();
        let usual = self.settings.disk;
        DiskLimits {
            max_bytes: own.workspace_max_bytes.unwrap_or(usual.max_bytes),
            max_entries: own.workspace_max_entries.unwrap_or(usual.max_entries),
            interval: usual.interval,
        }
    }

    /// One of the agents that the tenant may have; the one of its own that was idle longest makes room.
    async fn one_of_tenants(
        &self,
        runtime: &SessionRuntime,
        purpose: Purpose<'_>,
    ) -> Result<Option<Occupied>, NoAgent> {
        let tenant = self.tenant(runtime.tenant).await?;
        let Some(most) = tenant
            .and_then(|tenant| tenant.limits.agents_max)
            .filter(|most| *most > 0)
        else {
            return Ok(None);
        };
        let deadline = Instant::now() + self.settings.queue_timeout;
        let mut changes = self.pool.watch();
        loop {
            changes.borrow_and_update();
            if let Some(occupied) = self.agents_of_tenants.occupy(runtime.tenant, most) {
                return Ok(Some(occupied));
            }
            if matches!(purpose, Purpose::Ahead) {
                return Err(NoAgent::Exhausted);
            }
            let own =
                |other: &SessionRuntime| other.tenant == runtime.tenant && other.session != runtime.session;
            if let Some(idle) = self.take_longest_idle(own, std::time::Duration::ZERO) {
                self.metrics.agent_evicted("room");
                idle.agent.stop().await;
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep_until(deadline) => return Err(NoAgent::Exhausted),
            }
        }
    }

    /// The agent's way to the model, where there is a gateway.
    async fn open_door(
        &self,
        tenant: TenantId,
        session: Option<(SessionId, UserId)>,
    ) -> Result<Option<Door>, NoAgent> {
        match &self.launch.gateway {
            Some(gateway) => Ok(Some(gateway.open_door(Account { tenant, session }).await?)),
            None => Ok(None),
        }
    }

    /// The user of the machine that a tenant's agents run under, where tenants have users.
    pub(super) async fn user_of(&self, tenant: TenantId) -> Result<Option<u32>, NoAgent> {
        match self.launch.fence.users {
            Some(users) => {
                let user = self.users.of(&*self.store, users, tenant).await;
                user.map(Some).map_err(NoAgent::User)
            }
            None => Ok(None),
        }
    }

    /// Fills a home that does not have the conversation from the store.
    async fn give_transcript_back(&self, session: &Session, home: &Home) -> Result<(), NoAgent> {
        let stored = self
            .store
            .read_transcript(session.tenant, session.id)
            .await
            .map_err(NoAgent::Transcript)?;
        let (conversation, home) = (session.claude_session_id, home.clone());
        let written = off_the_runtime(move || transcript::give_back(&stored, conversation, &home)).await;
        if written.map_err(NoAgent::Home)? {
            tracing::info!(session.id = %session.id, "a conversation was brought back from the store");
        }
        Ok(())
    }

    fn take_over(
        &self,
        program: &Program,
        initialize: &Initialize,
        belongings: Belongings,
    ) -> Result<Agent, NoAgent> {
        let (process, pipes) = Process::start(program)?;
        Ok(actor::take_over(
            process,
            pipes,
            initialize,
            self.settings.actor.clone(),
            Arc::clone(&self.metrics),
            belongings,
            &self.tasks,
        ))
    }

    async fn place(&self, runtime: &SessionRuntime, purpose: Purpose<'_>) -> Result<Place, NoAgent> {
        match purpose {
            Purpose::Turn(position) => self.wait_for_place(runtime, position).await,
            Purpose::Ahead => self.spare_place(runtime).await.ok_or(NoAgent::Exhausted),
        }
    }

    /// A place in the pool, waited for in turn; idle agents make room, the one that was idle longest first.
    async fn wait_for_place(
        &self,
        runtime: &SessionRuntime,
        position: &watch::Sender<usize>,
    ) -> Result<Place, NoAgent> {
        let mut ticket = match self.pool.enter(runtime.tenant) {
            Ok(Entry::Place(place)) => return Ok(place),
            Ok(Entry::Queued(ticket)) => ticket,
            Err(Refused::Closed) => return Err(NoAgent::Closed),
            Err(Refused::QueueFull) => return Err(NoAgent::QueueFull),
        };
        let deadline = Instant::now() + self.settings.queue_timeout;
        let mut changes = self.pool.watch();
        loop {
            changes.borrow_and_update();
            self.make_room(runtime);
            let now = ticket.position();
            position.send_if_modified(|told| {
                let news = now > 0 && *told != now;
                *told = if news { now } else { *told };
                news
            });
            tokio::select! {
                biased;
                place = ticket.granted() => return place.ok_or(NoAgent::Closed),
                _ = changes.changed() => {}
                () = tokio::time::sleep_until(deadline) => return Err(NoAgent::Exhausted),
            }
        }
    }

    /// A place that nobody waits for: a free one, or that of an agent that has been idle for long.
    async fn spare_place(&self, runtime: &SessionRuntime) -> Option<Place> {
        if let Some(place) = self.pool.try_enter() {
            return Some(place);
        }
        let idle = self.take_longest_idle(
            |other| other.session != runtime.session,
            self.settings.prewarm_idle_min,
        )?;
        idle.agent.stop().await;
        self.metrics.agent_evicted("room");
        self.pool.try_enter()
    }

    /// Ends idle agents for those who wait, one each.
    fn make_room(&self, wanted_by: &SessionRuntime) {
        while let Some(making_room) = self.pool.make_room() {
            let Some(idle) = self.take_longest_idle(
                |other| other.session != wanted_by.session,
                std::time::Duration::ZERO,
            ) else {
                return;
            };
            self.metrics.agent_evicted("room");
            self.tasks.spawn(async move {
                idle.agent.stop().await;
                drop(making_room);
            });
        }
    }

    /// Takes away the agent that has been idle longest of those that may be, if that is at least this long.
    pub(super) fn take_longest_idle(
        &self,
        may_be: impl Fn(&SessionRuntime) -> bool,
        at_least: std::time::Duration,
    ) -> Option<LiveAgent> {
        let now = Instant::now();
        let runtimes: Vec<_> = self.lock_runtimes().values().cloned().collect();
        let mut idle: Vec<_> = runtimes
            .iter()
            .filter(|runtime| may_be(runtime) && !runtime.is_busy())
            .map(|runtime| (runtime.used_at(), runtime))
            .filter(|(used_at, _)| now.duration_since(*used_at) >= at_least)
            .collect();
        idle.sort_by_key(|(used_at, _)| *used_at);
        idle.into_iter()
            .find_map(|(_, runtime)| runtime.take_idle_agent())
    }

    /// Asks a CLI about itself, in a process and a home for that alone.
    pub(super) async fn ask_models(&self) -> Result<Value, NoAgent> {
        let nobody = SessionRuntime::new(
            Backing {
                store: Arc::clone(&self.store),
                clock: Arc::clone(&self.clock),
                cluster: None,
                resuming: None,
            },
            TenantId::generate(&*self.clock),
            SessionId::generate(&*self.clock),
            self.settings.feed,
        );
        let place = self.wait_for_place(&nobody, &watch::Sender::new(0)).await?;
        let home = self.homes.of(nobody.tenant, nobody.session);
        home.create().map_err(NoAgent::Home)?;
        let door = self.open_door(nobody.tenant, None).await?;
        // It is told nothing, and there is no tenant to whom a user would belong: the first one is as good as any.
        let user = self.launch.fence.users.map(|users| users.first);
        if let Some(user) = user {
            home.give_to(user).map_err(NoAgent::Home)?;
        }
        let means = Means {
            door: door.as_ref(),
            user,
            control_group: None,
            traceparent: None,
            model_only: false,
        };
        let program = self.launch.probe(&home, means)?;
        let belongings = Belongings {
            place,
            transcript: None,
            door,
            control_group: None,
        };
        let agent = self.take_over(&program, &Initialize::default(), belongings)?;
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
