//! Settings: defaults, then `config.yaml`, then the environment; the last one that speaks wins.
//!
//! A key that nobody knows fails the start with its path, and all wrong values are told at once. This is the only
//! place that reads the process's environment.

mod agent;
mod api;
mod auth;
mod checkpoints;
mod defaults;
mod dialects;
mod duration;
mod environment;
mod events;
mod extensions;
mod files;
mod git;
mod instance;
mod isolation;
mod limits;
mod load;
mod model;
mod permissions;
mod prices;
mod redacted;
mod session;
mod telemetry;
mod tenants;
mod user;
mod webhooks;
mod websocket;
mod workspaces;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use agent::AgentSection;
pub use api::{ApiSection, Network};
pub use auth::{AuthSection, KeySettings, OidcSettings};
pub use checkpoints::CheckpointsSection;
pub use defaults::DefaultsSection;
pub use dialects::{AnonymousSettings, DialectSettings, DialectsSection};
pub use environment::{ALIASES, process_environment};
pub use events::EventsSection;
pub use extensions::{McpServers, PluginSettings};
pub use files::FilesSection;
pub use git::GitSection;
pub use instance::InstanceSection;
pub use isolation::{IsolationLevel, IsolationScope, IsolationSection, NamedNetwork, NetworkSetting};
pub use limits::LimitsSection;
pub use load::{LoadOptions, SettingsError};
pub use model::ModelSection;
pub use permissions::{OnTimeout, PermissionsSection};
pub use prices::{PriceSettings, UnknownPrice};
pub use session::{PgTls, SessionSection, StorageKind};
pub use telemetry::{LogFormat, TelemetrySection};
pub use tenants::{RatesSection, TenantsSection};
pub use user::UserSection;
pub use webhooks::WebhooksSection;
pub use websocket::WebsocketSection;
pub use workspaces::{TemplateSettings, WorkspacesSection};

/// Everything that can be set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Users' folders.
    pub user: UserSection,
    /// Sessions and where they are stored.
    pub session: SessionSection,
    /// The HTTP server.
    pub api: ApiSection,
    /// What requests may ask for at most.
    pub limits: LimitsSection,
    /// Files of workspaces over the API.
    pub files: FilesSection,
    /// What sessions get that do not say otherwise.
    pub defaults: DefaultsSection,
    /// Who may call.
    pub auth: AuthSection,
    /// MCP servers that every session has, by name, as the CLI defines them; a session's own of the same name comes
    /// before. Printed without the values of `env` and `headers`.
    pub mcp_servers: McpServers,
    /// Plugins that every session has.
    pub plugins: Vec<PluginSettings>,
    /// Who answers what agents ask.
    pub permissions: PermissionsSection,
    /// The agents' processes.
    pub agent: AgentSection,
    /// What workspaces were like before and after turns.
    pub checkpoints: CheckpointsSection,
    /// What fences agents in.
    pub isolation: IsolationSection,
    /// What workspaces can begin with.
    pub workspaces: WorkspacesSection,
    /// Repositories in workspaces.
    pub git: GitSection,
    /// This server as one of several.
    pub instance: InstanceSection,
    /// The event log and its readers.
    pub events: EventsSection,
    /// Connections on which events come and commands go.
    pub websocket: WebsocketSection,
    /// Events that are sent to where tenants want them.
    pub webhooks: WebhooksSection,
    /// Other systems' wire formats.
    pub dialects: DialectsSection,
    /// The model's API.
    pub model: ModelSection,
    /// How much tenants may ask for.
    pub tenants: TenantsSection,
    /// How often keys and addresses may do things.
    pub rates: RatesSection,
    /// Logs.
    pub telemetry: TelemetrySection,
}

impl Settings {
    /// Whether all that can call act for the same user.
    #[must_use]
    pub fn is_for_one_user(&self) -> bool {
        self.auth.is_for_one_user() && !self.dialects.has_anonymous()
    }

    /// What is wrong with these values, one sentence each, beginning with the setting's path.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.session.check(&mut problems);
        self.api.check(&mut problems);
        self.limits.check(&mut problems);
        self.files.check(&mut problems);
        self.defaults.check(&mut problems);
        self.auth.check(self.api.host, &mut problems);
        self.mcp_servers.check(&mut problems);
        self.plugins.iter().for_each(|plugin| plugin.check(&mut problems));
        self.permissions.check(&mut problems);
        self.agent.check(&mut problems);
        self.checkpoints.check(&mut problems);
        self.isolation.check(self, &mut problems);
        self.workspaces.check(&mut problems);
        self.git.check(&mut problems);
        self.instance.check(&mut problems);
        self.events.check(&mut problems);
        self.websocket.check(&mut problems);
        self.webhooks.check(&mut problems);
        self.dialects.check(&mut problems);
        self.model.check(&mut problems);
        self.telemetry.check(&mut problems);
        let checkpoints = self.checkpoints.folder(&self.agent.homes_dir);
        for (path, name) in [
            (&self.session.sqlite_path, "session.sqlite_path"),
            (&self.agent.homes_dir, "agent.homes_dir"),
            (&checkpoints, "checkpoints.dir"),
        ] {
            require(
                !lies_in(path, &self.user.base_dir),
                &mut problems,
                &format!("{name}: lies in user.base_dir, where agents write; choose a path outside"),
            );
        }
        require(
            !lies_in(&checkpoints, &self.agent.homes_dir),
            &mut problems,
            "checkpoints.dir: lies in agent.homes_dir, where agents write; choose a path outside",
        );
        problems
    }
}

/// Whether a path lies in a folder, as both are written.
fn lies_in(path: &Path, folder: &Path) -> bool {
    match (std::path::absolute(path), std::path::absolute(folder)) {
        (Ok(path), Ok(folder)) => path.starts_with(folder),
        _ => false,
    }
}

/// Adds a problem unless `good`.
fn require(good: bool, problems: &mut Vec<String>, problem: &str) {
    if !good {
        problems.push(problem.to_owned());
    }
}
