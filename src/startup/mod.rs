//! The one place where the parts are put together.
//!
//! [`Application::build`] makes everything and binds the port; [`Application::run_until_stopped`] serves until it is
//! told to end. Tests build the same value on port 0.

pub mod access;
mod cluster;
pub mod doctor;
mod fence;
mod listening;
mod parts;
mod services;
pub mod stores;
mod webhooks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use scripted_model::ScriptedModel;
use secrecy::SecretString;
use tokio::sync::oneshot;
use utoipa::openapi::OpenApi;

use self::listening::{Ports, stop_listening};
use crate::agent::home::Homes;
use crate::agent::launch::LaunchSettings;
use crate::agent::{Agents, Resuming, Surroundings};
use crate::api::page::CursorKey;
use crate::api::{ApiState, Authenticator, HttpMetrics};
use crate::cluster::{Cluster, JoinError};
use crate::console::Console;
use crate::dialects;
use crate::domain::{Clock, Dialect, SharedClock};
use crate::gateway::billing::settle_abandoned;
use crate::lifecycle::{Shutdown, Tasks};
use crate::security::sealing::SealingKeys;
use crate::security::tls;
use crate::security::workspace::{WorkspaceError, Workspaces};
use crate::service::{Housekeeping, Services};
use crate::settings::Settings;
use crate::store::{Store, StoreError};

/// How long open connections may take to end once nothing new is served.
const CONNECTION_GRACE: Duration = Duration::from_secs(1);
/// How long background tasks may take to end once everything has been told to.
const TASK_GRACE: Duration = Duration::from_secs(10);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// Its address is taken, or not ours.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its store cannot be opened.
    #[error("the session store cannot be opened (session.storage)")]
    Store(#[from] StoreError),
    /// The folder for workspaces cannot be used.
    #[error("the folder for workspaces cannot be used (user.base_dir)")]
    Workspaces(#[from] WorkspaceError),
    /// The folder for private homes cannot be used.
    #[error("the folder for private homes cannot be used (agent.homes_dir)")]
    Homes(#[source] std::io::Error),
    /// What fences agents in.
    #[error(transparent)]
    Fence(#[from] fence::FenceError),
    /// The model gateway does not start.
    #[error("the model gateway does not start")]
    Gateway(#[from] crate::gateway::GatewayError),
    /// The scripted model does not start.
    #[error("the scripted model does not start (model.scripted)")]
    ScriptedModel(#[from] scripted_model::StartError),
    /// This server cannot be one of several.
    #[error("the instances that share the store cannot be joined")]
    Join(#[from] JoinError),
    /// Another server has taken this instance's name.
    #[error("another server runs under this instance's name (instance.id)")]
    Superseded,
    /// TLS cannot be spoken.
    #[error("TLS cannot be spoken")]
    Tls(#[source] rustls::Error),
    /// Spans cannot be sent.
    #[error("the client that sends spans cannot be made")]
    TraceClient(#[source] reqwest::Error),
    /// Nothing can be sent to webhooks.
    #[error("what sends events to webhooks cannot be made")]
    Webhooks(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A key's setting cannot be used.
    #[error("{setting} cannot be used: {problem}")]
    Key {
        /// The setting.
        setting: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// What an earlier process left cannot be settled.
    #[error("turns that an earlier process left unfinished cannot be settled")]
    Settle(#[from] crate::agent::log::LogError),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random(#[source] getrandom::Error),
    /// The HTTP server failed.
    #[error("the HTTP server failed")]
    Http(#[source] std::io::Error),
}

/// A server that is bound and not yet run.
pub struct Application {
    servers: listening::Servers,
    address: SocketAddr,
    dialects: Vec<(Dialect, SocketAddr)>,
    agents: Agents,
    store: Arc<dyn Store>,
    tasks: Tasks,
    shutdown: Shutdown,
    drain_timeout: Duration,
    drain: Arc<tokio::sync::watch::Sender<Option<Duration>>>,
    /// Kept for the server's life: agents talk to it.
    scripted_model: Option<ScriptedModel>,
    /// The key that was made because there was none.
    first_key: Option<SecretString>,
    /// Has it leave the instances that share its store.
    leave: Option<oneshot::Sender<()>>,
    cluster: Option<Cluster>,
}

impl std::fmt::Debug for Application {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Application")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// How a server is asked to end.
#[derive(Debug, Clone)]
pub struct Stopper {
    shutdown: Shutdown,
    drain: Arc<tokio::sync::watch::Sender<Option<Duration>>>,
}

impl Stopper {
    /// Takes no new turns, and lets running ones end, for at most `drain`.
    pub fn stop_within(&self, drain: Duration) {
        self.drain.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(drain);
            }
            first
        });
        self.shutdown.begin();
    }

    /// Ends everything at once.
    pub fn force(&self) {
        self.stop_within(Duration::ZERO);
        self.shutdown.force();
    }
}

impl Application {
    /// Makes all parts and binds the port. Must be called on the main runtime, which must outlive the server.
    pub async fn build(settings: Settings) -> Result<Self, StartupError> {
        let listening = Ports::bind(&settings)?;
        let (address, dialects) = (listening.address, listening.of_dialects());
        let offset = TimeDelta::seconds(settings.instance.clock_offset_seconds);
        let shared_clock = Arc::new(SharedClock::wrong_by(offset));
        let clock: Arc<dyn Clock> = Arc::<SharedClock>::clone(&shared_clock);
        let tasks = Tasks::on(tokio::runtime::Handle::current());
        let shutdown = Shutdown::new();
        let (store, instances) = stores::open_shared(&settings).await?;
        let user = &settings.user;
        let workspaces = Arc::new(Workspaces::open(&user.base_dir, user.auto_create_dir)?);
        let homes = Homes::open(&settings.agent.homes_dir).map_err(StartupError::Homes)?;
        let scripted_model = scripted_model(&settings)?;
        let guardian = parts::guardian(settings.agent.guardian_path.clone());
        let fence = fence::build(&settings, guardian.as_deref(), &homes).await?;
        let isolation = fence.level;
        let sealing = sealing_keys(&settings)?;
        let limits = Arc::new(parts::limits(&settings, &store, &clock));
        let model = scripted_model.as_ref();
        let gateway = parts::gateway(&settings, model, &sealing, &limits, &store, &clock, &tasks)?;
        let cluster = cluster::join(&settings, address, &*store, instances, &shared_clock).await?;
        let (resuming, lost_turns) = Resuming::new(Arc::clone(&limits), settings.agent.turn_resumes_max);
        let agents = Agents::new(
            parts::agent_settings(&settings),
            LaunchSettings {
                guardian,
                fence,
                gateway: gateway.clone(),
                limits: Some(Arc::clone(&limits)),
                ..parts::launch_settings(&settings, model)
            },
            homes,
            Surroundings {
                store: Arc::clone(&store),
                clock: Arc::clone(&clock),
                tasks: tasks.clone(),
                shutdown: shutdown.clone(),
                cluster: cluster.clone(),
                resuming,
            },
        );
        settle_left_over(&agents, cluster.as_ref(), &*store, &*clock).await?;
        let leave = cluster
            .as_ref()
            .map(|cluster| cluster::start(cluster, &agents, &tasks, &shutdown));
        start_chores(
            &settings,
            &store,
            &agents,
            &clock,
            &tasks,
            &shutdown,
            cluster.as_ref(),
        );
        let (signer, deliveries) = webhooks::start(&settings, &store, &clock, &tasks, &shutdown).await?;

        let (authentication, first_key) =
            access::authentication(&settings, &store, limits.tenants(), &clock).await?;
        let authentication = Arc::new(authentication);
        let requests = HttpMetrics::default();
        let services = services::Parts {
            settings: &settings,
            store: Arc::clone(&store),
            agents: agents.clone(),
            workspaces,
            clock: Arc::clone(&clock),
            shutdown: shutdown.clone(),
            tasks: tasks.clone(),
            isolation,
            limits: Arc::clone(&limits),
            authentication: Arc::clone(&authentication),
            sealing,
            gateway,
            signer,
            deliveries,
            requests: requests.clone(),
            cluster: cluster.clone(),
        }
        .into_services();
        let (turns, told) = (Arc::clone(&services.turns), shutdown.clone());
        tasks.spawn(async move { turns.resume_lost(lost_turns, told).await });
        let authenticator = Authenticator::new(authentication, limits);
        let state = api_state(&settings, services, authenticator, &*store, requests).await?;
        Ok(Self {
            servers: listening.serve(&settings, &state)?,
            address,
            dialects,
            agents,
            store,
            tasks,
            shutdown,
            drain_timeout: settings.api.drain_timeout,
            drain: Arc::new(tokio::sync::watch::Sender::new(None)),
            scripted_model,
            first_key,
            leave,
            cluster,
        })
    }

    /// The key that was made because there was none, to be shown this once.
    pub fn take_first_key(&mut self) -> Option<SecretString> {
        self.first_key.take()
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The addresses of dialects that have one of their own.
    #[must_use]
    pub fn dialect_addresses(&self) -> &[(Dialect, SocketAddr)] {
        &self.dialects
    }

    /// The scripted model, if answers come from it.
    #[must_use]
    pub fn scripted_model(&self) -> Option<&ScriptedModel> {
        self.scripted_model.as_ref()
    }

    /// How to ask it to end.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper {
            shutdown: self.shutdown.clone(),
            drain: Arc::clone(&self.drain),
        }
    }

    /// Serves until it is asked to end, then ends in order: turns, agents, connections, tasks, store.
    pub async fn run_until_stopped(self) -> Result<(), StartupError> {
        let handles = self.servers.handles();
        let mut serving = std::pin::pin!(self.servers.run());
        tokio::select! {
            served = &mut serving => return served,
            () = self.shutdown.begun() => {}
        }
        let drain = self.drain.borrow().unwrap_or(self.drain_timeout);
        tracing::info!(
            drain_seconds = drain.as_secs_f64(),
            "stopping; no new turns are taken"
        );
        // The port stays open meanwhile: new turns are told that the server stops, and running ones are answered.
        tokio::select! {
            served = &mut serving => served?,
            () = self.agents.shut_down(drain) => {}
        }
        self.shutdown.end_streams();
        if let Some(leave) = self.leave {
            // Whoever hears it leaves; if nobody does, it has left.
            let _told = leave.send(());
        }
        stop_listening(&handles, &self.shutdown, serving).await?;
        if !self.tasks.wait(TASK_GRACE).await {
            tracing::error!(tasks = self.tasks.running(), "not every task ended in time");
        }
        if let Some(model) = self.scripted_model {
            model.stop();
        }
        self.store.close().await;
        if self.cluster.is_some_and(|cluster| cluster.is_superseded()) {
            return Err(StartupError::Superseded);
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// The scripted model, where answers are to come from it.
fn scripted_model(settings: &Settings) -> Result<Option<ScriptedModel>, StartupError> {
    let start = || ScriptedModel::start(scripted_model::Options::default());
    Ok(settings.model.scripted.then(start).transpose()?)
}

/// Settles what servers left that are gone.
async fn settle_left_over(
    agents: &Agents,
    cluster: Option<&Cluster>,
    store: &dyn Store,
    clock: &dyn Clock,
) -> Result<(), StartupError> {
    if let Some(cluster) = cluster {
        agents.settle_once(cluster).await?;
        return Ok(());
    }
    // Nobody else has this store, so what is not settled was left by a server that is gone.
    settle_abandoned(store, clock.now()).await?;
    let settled = agents.settle_unfinished().await?;
    if settled > 0 {
        tracing::warn!(
            sessions = settled,
            "settled turns that an earlier process left unfinished, or goes on with them"
        );
    }
    Ok(())
}

/// The OpenAPI document of a server with these settings.
#[must_use]
pub fn openapi(settings: &Settings) -> OpenApi {
    dialects::openapi(&parts::mounts(&settings.dialects))
}

async fn api_state(
    settings: &Settings,
    services: Services,
    authenticator: Authenticator,
    store: &dyn Store,
    metrics: HttpMetrics,
) -> Result<ApiState, StartupError> {
    Ok(ApiState {
        services,
        authenticator,
        limits: parts::api_limits(settings),
        // The same for all servers on a store, and after a restart.
        cursors: CursorKey::new(stores::shared_secret(store, "cursors").await?),
        sockets: parts::socket_rules(settings),
        metrics,
        console: settings.api.console.then(Console::built_in),
    })
}

/// Starts what is done now and then.
fn start_chores(
    settings: &Settings,
    store: &Arc<dyn Store>,
    agents: &Agents,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
    shutdown: &Shutdown,
    cluster: Option<&Cluster>,
) {
    let reaper = agents.clone();
    tasks.spawn(async move { reaper.reap().await });
    let watcher = agents.clone();
    tasks.spawn(async move { watcher.watch_memory().await });
    let housekeeping = Housekeeping::new(
        Arc::clone(store),
        agents.clone(),
        Arc::clone(clock),
        shutdown.clone(),
        parts::keep_rules(settings),
        cluster.cloned(),
    );
    tasks.spawn(housekeeping.run());
}

/// The client by which spans are sent.
pub fn trace_client(timeout: Duration) -> Result<reqwest::Client, StartupError> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::client().map_err(StartupError::Tls)?)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout)
        .build();
    client.map_err(StartupError::TraceClient)
}

/// The keys that secrets in the store are sealed with; none where none is set.
pub fn sealing_keys(settings: &Settings) -> Result<SealingKeys, StartupError> {
    match &settings.auth.sealing_key {
        None => Ok(SealingKeys::default()),
        Some(text) => SealingKeys::parse(text).map_err(|error| StartupError::Key {
            setting: "auth.sealing_key",
            problem: error.to_string(),
        }),
    }
}
