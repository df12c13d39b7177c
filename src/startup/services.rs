//! Puts the use cases together.

use std::sync::Arc;

use super::{parts, webhooks};
use crate::agent::Agents;
use crate::api::HttpMetrics;
use crate::cluster::Cluster;
use crate::domain::Clock;
use crate::gateway::Gateway;
use crate::jail::Level;
use crate::lifecycle::{Shutdown, Tasks};
use crate::limits::Limits;
use crate::security::sealing::SealingKeys;
use crate::security::webhook_signing::WebhookSigner;
use crate::security::workspace::Workspaces;
use crate::service::{
    AuthenticationService, BeginningService, CheckpointService, CredentialService, DeliveryMetrics,
    ErasureService, EventRules, EventService, FileService, ForkService, GitService, HealthService,
    Idempotency, MetricsService, ModelService, PeerService, PermissionService, Services, SessionRules,
    SessionService, ShareService, SpendingService, SteeringService, TenantService, TurnRules, TurnService,
    WebhookService,
};
use crate::settings::Settings;
use crate::store::Store;

/// What the use cases are made of.
pub(super) struct Parts<'a> {
    pub(super) settings: &'a Settings,
    pub(super) store: Arc<dyn Store>,
    pub(super) agents: Agents,
    pub(super) workspaces: Arc<Workspaces>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shutdown: Shutdown,
    pub(super) tasks: Tasks,
    pub(super) isolation: Level,
    pub(super) limits: Arc<Limits>,
    pub(super) authentication: Arc<AuthenticationService>,
    pub(super) sealing: SealingKeys,
    pub(super) gateway: Option<Gateway>,
    pub(super) signer: WebhookSigner,
    pub(super) deliveries: DeliveryMetrics,
    pub(super) requests: HttpMetrics,
    pub(super) cluster: Option<Cluster>,
}

impl Parts<'_> {
    /// The use cases.
    pub(super) fn into_services(self) -> Services {
        let settings = self.settings;
        let store = || Arc::clone(&self.store);
        let clock = || Arc::clone(&self.clock);
        let agents = || self.agents.clone();
        let sessions = Arc::new(SessionService::new(
            store(),
            agents(),
            Arc::clone(&self.workspaces),
            clock(),
            Arc::clone(&self.limits),
            SessionRules {
                defaults: settings.defaults.options(),
                environment: settings.agent.session_environment.clone(),
                ttl: settings.session.ttl,
            },
        ));
        let (events, metrics) = (self.events(&sessions), self.metrics());
        let (webhooks, files, shares) = (
            self.webhooks(&sessions),
            self.files(&sessions),
            self.shares(&sessions),
        );
        let patience = settings.limits.idempotency_wait;
        let idempotency = Arc::new(Idempotency::new(store(), clock(), patience));
        let turns = Arc::new(self.turns(&sessions, &idempotency));
        let peers = PeerService::new(
            store(),
            agents(),
            Arc::clone(&sessions),
            Arc::clone(&turns),
            self.cluster.clone(),
        );
        let (forks, checkpoints) = (self.forks(&sessions), self.checkpoints(&sessions));
        let (git, beginnings) = self.beginnings(&sessions);
        let tenants = Arc::new(TenantService::new(
            store(),
            Arc::clone(self.limits.tenants()),
            Arc::clone(&self.authentication),
            clock(),
        ));
        let erasure = ErasureService::new(
            store(),
            agents(),
            self.workspaces,
            Arc::clone(&tenants),
            Arc::clone(self.limits.tenants()),
            Arc::clone(&self.authentication),
            clock(),
        );
        let spending = SpendingService::new(
            store(),
            Arc::clone(&tenants),
            clock(),
            settings.model.gateway,
            settings.limits.usage_rows_max,
        );
        let credentials =
            CredentialService::new(store(), self.sealing, self.gateway, Arc::clone(&tenants), clock());
        let permissions = PermissionService::new(store(), agents(), Arc::clone(&sessions), clock());
        Services {
            sessions: Arc::clone(&sessions),
            turns,
            peers: Arc::new(peers),
            events: Arc::new(events),
            files: Arc::new(files),
            checkpoints: Arc::new(checkpoints),
            git,
            beginnings,
            forks: Arc::new(forks),
            steering: Arc::new(SteeringService::new(store(), agents(), Arc::clone(&sessions))),
            shares: Arc::new(shares),
            permissions: Arc::new(permissions),
            tenants,
            erasure: Arc::new(erasure),
            webhooks: Arc::new(webhooks),
            idempotency,
            spending: Arc::new(spending),
            credentials: Arc::new(credentials),
            models: Arc::new(ModelService::new(agents())),
            metrics: Arc::new(metrics),
            authentication: self.authentication,
            health: Arc::new(HealthService::new(
                store(),
                sessions,
                agents(),
                self.shutdown,
                parts::model_access(&settings.model),
                self.isolation.into(),
                self.cluster,
            )),
        }
    }

    fn metrics(&self) -> MetricsService {
        MetricsService::new(self.agents.clone(), |registry| {
            self.requests.register(registry);
            self.store.metrics().register(registry);
            self.deliveries.register(registry);
            if let Some(gateway) = &self.gateway {
                gateway.metrics().register(registry);
            }
        })
    }

    fn events(&self, sessions: &Arc<SessionService>) -> EventService {
        EventService::new(
            Arc::clone(&self.store),
            self.agents.clone(),
            Arc::clone(sessions),
            Arc::clone(&self.authentication),
            Arc::clone(&self.clock),
            self.shutdown.clone(),
            EventRules {
                read_batch: self.settings.events.read_batch,
                recheck_interval: self.settings.auth.recheck_interval,
            },
        )
    }

    fn turns(&self, sessions: &Arc<SessionService>, idempotency: &Arc<Idempotency>) -> TurnService {
        TurnService::new(
            Arc::clone(&self.store),
            self.agents.clone(),
            Arc::clone(sessions),
            Arc::clone(&self.clock),
            Arc::clone(&self.limits),
            Arc::clone(idempotency),
            TurnRules {
                read_batch: self.settings.events.read_batch,
                attachment_max_bytes: self.settings.limits.attachment_max_bytes,
            },
        )
    }

    fn beginnings(&self, sessions: &Arc<SessionService>) -> (Arc<GitService>, Arc<BeginningService>) {
        let rules = parts::git_rules(self.settings);
        let git = Arc::new(GitService::new(self.agents.clone(), Arc::clone(sessions), rules));
        let beginnings = BeginningService::new(
            Arc::clone(sessions),
            Arc::clone(&git),
            Arc::clone(&self.clock),
            self.tasks.clone(),
            parts::templates(self.settings),
            parts::copy_limits(self.settings),
        );
        (git, Arc::new(beginnings))
    }

    fn forks(&self, sessions: &Arc<SessionService>) -> ForkService {
        ForkService::new(
            Arc::clone(&self.store),
            self.agents.clone(),
            Arc::clone(sessions),
            Arc::clone(&self.clock),
            parts::copy_limits(self.settings),
        )
    }

    fn checkpoints(&self, sessions: &Arc<SessionService>) -> CheckpointService {
        CheckpointService::new(
            Arc::clone(&self.store),
            self.agents.clone(),
            Arc::clone(sessions),
            Arc::clone(&self.clock),
            parts::diff_limits(self.settings),
        )
    }

    fn shares(&self, sessions: &Arc<SessionService>) -> ShareService {
        ShareService::new(
            Arc::clone(&self.store),
            Arc::clone(sessions),
            Arc::clone(&self.authentication),
            Arc::clone(&self.limits),
            Arc::clone(&self.clock),
        )
    }

    fn files(&self, sessions: &Arc<SessionService>) -> FileService {
        FileService::new(
            Arc::clone(sessions),
            Arc::clone(&self.clock),
            Arc::clone(&self.limits),
            parts::file_rules(self.settings),
        )
    }

    fn webhooks(&self, sessions: &Arc<SessionService>) -> WebhookService {
        WebhookService::new(
            Arc::clone(&self.store),
            self.agents.clone(),
            Arc::clone(sessions),
            Arc::clone(&self.clock),
            self.signer.clone(),
            webhooks::rules(self.settings),
        )
    }
}
