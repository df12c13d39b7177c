//! How the server is, as far as it can tell itself.

use std::sync::Arc;
use std::time::Duration;

use strum::IntoStaticStr;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::Error;
use super::sessions::SessionService;

use crate::agent::Agents;
use crate::cluster::Cluster;
use crate::lifecycle::Shutdown;
use crate::store::Store;

/// How long the store may take to answer before it counts as gone.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// A count of sessions stands for this many times as long as it took, so that counting a million of them, for whoever
/// asks how often, never takes more than a small part of the store's time.
const COUNT_STANDS: u32 = 20;

/// Where answers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ModelAccess {
    /// A model, with a credential.
    Anthropic,
    /// The scripted model: no model at all.
    Scripted,
    /// Nowhere: no credential is configured.
    MissingCredential,
}

/// How the server is.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct HealthReport {
    /// Whether it does its work.
    pub healthy: bool,
    /// Whether it takes new work.
    pub ready: bool,
    /// Its version.
    pub version: &'static str,
    /// What it stores in.
    pub storage: &'static str,
    /// Whether the store answers.
    pub storage_ok: bool,
    /// Whether the CLI is there and executable.
    pub cli_ok: bool,
    /// How many sessions are active; absent when the store does not answer.
    pub active_sessions: Option<u64>,
    /// How many agent processes live.
    pub live_agents: usize,
    /// How many sessions are in a turn.
    pub busy_agents: usize,
    /// How many agent processes live that no turn uses.
    pub idle_agents: usize,
    /// How many turns wait, for an agent or for a turn before them.
    pub queued_turns: usize,
    /// What fences agents in.
    pub isolation: &'static str,
    /// Where answers come from.
    pub model: &'static str,
    /// How long it has run.
    pub uptime: Duration,
    /// How many lines of agents were no messages.
    pub garbage_lines: u64,
    /// What is wrong, in words.
    pub problems: Vec<String>,
}

/// Tells how the server is.
#[derive(Debug)]
pub struct HealthService {
    store: Arc<dyn Store>,
    sessions: Arc<SessionService>,
    agents: Agents,
    shutdown: Shutdown,
    model: ModelAccess,
    /// The instances, where there can be several.
    cluster: Option<Cluster>,
    /// What fences agents in, as was tried.
    isolation: &'static str,
    started: Instant,
    /// The last count, and until when it stands. Held while it is counted: who asks meanwhile waits for it.
    counted: Mutex<Option<(u64, Instant)>>,
}

impl HealthService {
    /// The health of a server of these parts that starts now.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        sessions: Arc<SessionService>,
        agents: Agents,
        shutdown: Shutdown,
        model: ModelAccess,
        isolation: &'static str,
        cluster: Option<Cluster>,
    ) -> Self {
        Self {
            store,
            sessions,
            agents,
            shutdown,
            model,
            cluster,
            isolation,
            started: Instant::now(),
            counted: Mutex::new(None),
        }
    }

    /// How the server is now.
    pub async fn report(&self) -> HealthReport {
        let mut problems = Vec::new();
        let counted = tokio::time::timeout(STORE_PATIENCE, self.active_sessions()).await;
        let active_sessions = match counted {
            Ok(Ok(count)) => Some(count),
            Ok(Err(error)) => {
                problems.push(error.to_string());
                None
            }
            Err(_late) => {
                problems.push("the store does not answer in time".to_owned());
                None
            }
        };
        let cli = self.agents.check_cli();
        if let Err(error) = &cli {
            problems.push(format!("the CLI cannot be started: {error}"));
        }
        if self.model == ModelAccess::MissingCredential {
            problems.push("no credential for the model is configured".to_owned());
        }
        let shutting_down = self.is_shutting_down();
        if shutting_down {
            problems.push("the server is stopping".to_owned());
        }
        let fenced = self
            .cluster
            .as_ref()
            .is_some_and(|cluster| cluster.own_id().is_none());
        if fenced {
            problems.push("this instance is taken for dead by the others, and joins them anew".to_owned());
        }
        let counts = self.agents.counts();
        let (storage_ok, cli_ok) = (active_sessions.is_some(), cli.is_ok());
        HealthReport {
            healthy: storage_ok,
            ready: storage_ok && cli_ok && !shutting_down && !fenced,
            version: env!("CARGO_PKG_VERSION"),
            storage: self.store.backend(),
            storage_ok,
            cli_ok,
            active_sessions,
            live_agents: counts.live,
            busy_agents: counts.busy,
            idle_agents: counts.live.saturating_sub(counts.busy),
            queued_turns: counts.waiting_for_agent + counts.waiting_for_session,
            isolation: self.isolation,
            model: self.model.into(),
            uptime: self.started.elapsed(),
            garbage_lines: self.agents.metrics().garbage_lines(),
            problems,
        }
    }

    /// How many sessions are active, by a store that answers now.
    async fn active_sessions(&self) -> Result<u64, Error> {
        let mut counted = self.counted.lock().await;
        if let Some((count, until)) = *counted
            && Instant::now() < until
        {
            self.store.ping().await?;
            return Ok(count);
        }
        let began = Instant::now();
        let count = self.sessions.count_active().await?;
        *counted = Some((count, Instant::now() + began.elapsed() * COUNT_STANDS));
        Ok(count)
    }

    /// Whether new work is refused.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.shutdown.has_begun()
    }
}
