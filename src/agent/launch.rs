//! How a session's CLI is started: its arguments, its environment, and what it is told over its input.
//!
//! Nothing of a tenant stands among the arguments, where every process of the machine can read it: prompts go over
//! the input, credentials over the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::ExposeSecret as _;

use serde_json::{Map, Value, json};

use super::control_group::ControlGroup;
use super::fence::Fence;
use super::home::Home;
use super::process::{self, Program, StartError};
use crate::domain::{CredentialKind, Session, SessionOptions, SettingSource};
use crate::gateway::credential::Credential;
use crate::gateway::{Door, Gateway};
use crate::jail::Level;
use crate::limits::Limits;
use crate::protocol::control::{INITIALIZE_FIELDS, Initialize};
use crate::security::workspace::{Workspace, WorkspaceIdentity};

/// What all agents of a server share.
#[derive(Debug)]
pub struct LaunchSettings {
    /// The CLI: a path, or a name to be looked up in `PATH`.
    pub cli_path: PathBuf,
    /// Variables that every agent gets, from the server's environment and settings. No secrets.
    pub environment: BTreeMap<String, OsString>,
    /// Where the model's API is, where there is no gateway; the CLI's own choice when absent.
    pub model_base_url: Option<String>,
    /// How the CLI proves itself to the model's API, where there is no gateway.
    pub credential: Option<Credential>,
    /// What agents talk to instead of the model's API.
    pub gateway: Option<Gateway>,
    /// What fences agents in.
    pub fence: Fence,
    /// What a new private home begins with.
    pub home_template: Option<PathBuf>,
    /// The program that guards agents; `None` where there are no guardians.
    pub guardian: Option<PathBuf>,
    /// MCP servers that every session has, by name; a session's own of the same name comes before.
    pub mcp_servers: Map<String, Value>,
    /// The folders of plugins that every session has.
    pub plugins: Vec<PathBuf>,
    /// What tenants may ask for; anything when absent.
    pub limits: Option<Arc<Limits>>,
}

/// The folders that a session's agent works with, open.
#[derive(Debug)]
pub struct Folders {
    /// Its workspace.
    pub workspace: Workspace,
    /// All of its user's.
    pub tree: Workspace,
    /// What it works in besides.
    pub added: Vec<Workspace>,
    /// The plugins that it brings.
    pub plugins: Vec<Workspace>,
}

impl Folders {
    /// Which folders they are.
    pub(super) fn identity(&self) -> Vec<WorkspaceIdentity> {
        let all = [&self.workspace]
            .into_iter()
            .chain(&self.added)
            .chain(&self.plugins);
        all.map(Workspace::identity).collect()
    }
}

/// Where the gateway listens.
const GATEWAY_HOST: &str = "127.0.0.1";

/// The variable by which the CLI is told a credential of this kind.
fn variable(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::ApiKey => "ANTHROPIC_API_KEY",
        CredentialKind::AuthToken => "ANTHROPIC_AUTH_TOKEN",
        CredentialKind::OauthToken => "CLAUDE_CODE_OAUTH_TOKEN",
    }
}

/// What an agent gets of its own: a way to the model, and a user of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Means<'a> {
    /// Its door to the gateway, if there is one.
    pub door: Option<&'a Door>,
    /// The user that it runs under; the server's own when absent.
    pub user: Option<u32>,
    /// The control group that it is put into, if it has one.
    pub control_group: Option<&'a ControlGroup>,
    /// The trace in which it is started, for the CLI's own and for what its tools run.
    pub traceparent: Option<&'a str>,
    /// Whether it reaches the model, and nothing else of the network.
    pub model_only: bool,
}

impl LaunchSettings {
    /// The CLI's path, if it is there and executable.
    pub fn locate_cli(&self) -> Result<PathBuf, StartError> {
        let search_path = self
            .environment
            .get("PATH")
            .and_then(|path| path.to_str())
            .unwrap_or_default();
        process::locate(&self.cli_path, search_path)
    }

    /// What to start for a session, in these folders.
    pub fn program(
        &self,
        session: &Session,
        home: &Home,
        folders: &Folders,
        means: Means<'_>,
    ) -> Result<Program, StartError> {
        let resume = session.conversation_started || home.has_transcript(session.claude_session_id);
        let conversation = session.claude_session_id;
        let mut arguments = base_arguments(session.options.setting_sources.as_deref().unwrap_or_default());
        arguments.push(if resume {
            format!("--resume={conversation}")
        } else {
            format!("--session-id={conversation}")
        });
        // What it writes down is kept in the store, from where any machine can go on with it.
        arguments.push("--session-mirror".to_owned());
        arguments.extend(option_arguments(&session.options));
        let asked_for = session.options.env.iter().flatten();
        Ok(Program {
            path: self.locate_cli()?,
            arguments,
            environment: self.agent_environment(home, folders.workspace.path(), asked_for, means),
            working_dir: folders.workspace.as_current_dir(),
            guardian: self.guardian.clone(),
            jail: self.fence.of_session(folders, home, &means),
        })
    }

    /// What a session's CLI is told before its first prompt.
    #[must_use]
    pub fn initialize(&self, options: &SessionOptions, folders: &Folders) -> Initialize {
        let mut mcp_servers = self.mcp_servers.clone();
        mcp_servers.extend(options.mcp_servers.clone().unwrap_or_default());
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let own_plugins = folders.plugins.iter().map(|plugin| text(plugin.path()));
        Initialize {
            system_prompt: options.system_prompt.clone(),
            append_system_prompt: options.append_system_prompt.clone(),
            agents: options.agents.clone().unwrap_or_default(),
            mcp_servers,
            plugins: self
                .plugins
                .iter()
                .map(|path| text(path))
                .chain(own_plugins)
                .collect(),
            output_schema: options.output_schema.clone(),
            disallowed_tools: options.disallowed_tools.clone().unwrap_or_default(),
            settings: settings(options, folders),
        }
    }

    /// What to start to ask the CLI about itself.
    pub fn probe(&self, home: &Home, means: Means<'_>) -> Result<Program, StartError> {
        Ok(Program {
            path: self.locate_cli()?,
            arguments: base_arguments(&[]),
            environment: self.agent_environment(home, home.path(), [], means),
            working_dir: home.path().to_owned(),
            guardian: self.guardian.clone(),
            jail: self.fence.of_nobody(home, &means),
        })
    }

    /// Ours come last: what a session asks for cannot take their place.
    fn agent_environment<'a>(
        &self,
        home: &Home,
        shown_dir: &Path,
        asked_for: impl IntoIterator<Item = (&'a String, &'a String)>,
        means: Means<'_>,
    ) -> BTreeMap<String, OsString> {
        let mut environment = self.environment.clone();
        environment.extend(
            asked_for
                .into_iter()
                .map(|(name, value)| (name.clone(), value.into())),
        );
        let mut set = |name: &str, value: OsString| environment.insert(name.to_owned(), value);
        set("HOME", home.path().into());
        set("PWD", shown_dir.into());
        set("CLAUDE_CONFIG_DIR", home.config_dir().into());
        set("TMPDIR", home.temporary_dir().into());
        set("CLAUDE_CODE_TMPDIR", home.temporary_dir().into());
        for switch in [
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
            "CLAUDE_CODE_DISABLE_AUTO_MEMORY",
            // So that files can be put back to where they were at an earlier prompt.
            "CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING",
            "DISABLE_TELEMETRY",
            "DISABLE_ERROR_REPORTING",
            "DISABLE_AUTOUPDATER",
        ] {
            set(switch, "1".into());
        }
        if self.fence.level > Level::None {
            // So that it lets tools do as they are allowed to, also where the server is root.
            set("IS_SANDBOX", "1".into());
        }
        if let Some(traceparent) = means.traceparent {
            set("TRACEPARENT", traceparent.into());
            set("CLAUDE_CODE_PROPAGATE_TRACEPARENT", "1".into());
        }
        if let Some(door) = means.door {
            set("ANTHROPIC_BASE_URL", door.base_url().into());
            set("ANTHROPIC_AUTH_TOKEN", door.token().expose_secret().into());
            // A proxy is for what lies beyond the machine.
            let direct = match self.environment.get("NO_PROXY").and_then(|list| list.to_str()) {
                Some(list) => format!("{list},{GATEWAY_HOST}"),
                None => GATEWAY_HOST.to_owned(),
            };
            set("NO_PROXY", direct.into());
            return environment;
        }
        if let Some(url) = &self.model_base_url {
            set("ANTHROPIC_BASE_URL", url.into());
        }
        if let Some(Credential { kind, secret }) = &self.credential {
            set(variable(*kind), secret.expose_secret().into());
        }
        environment
    }
}

/// What the CLI takes from settings only.
fn settings(options: &SessionOptions, folders: &Folders) -> Map<String, Value> {
    let mut permissions = Map::new();
    if let Some(allowed) = options.allowed_tools.as_ref().filter(|tools| !tools.is_empty()) {
        permissions.insert("allow".to_owned(), json!(allowed));
    }
    if !folders.added.is_empty() {
        let paths: Vec<_> = folders
            .added
            .iter()
            .map(|added| added.path().to_string_lossy())
            .collect();
        permissions.insert("additionalDirectories".to_owned(), json!(paths));
    }
    let mut settings = Map::new();
    if !permissions.is_empty() {
        settings.insert("permissions".to_owned(), permissions.into());
    }
    settings
}

fn base_arguments(setting_sources: &[SettingSource]) -> Vec<String> {
    let sources: Vec<_> = setting_sources.iter().map(ToString::to_string).collect();
    let mut arguments = [
        "--print",
        "--input-format=stream-json",
        "--output-format=stream-json",
        "--verbose",
        "--include-partial-messages",
        "--permission-prompt-tool=stdio",
        // What is of a tenant comes over the input.
        "--await-initialize",
    ]
    .map(ToOwned::to_owned)
    .to_vec();
    arguments.push(format!("--initialize-fields={INITIALIZE_FIELDS}"));
    // Neither the machine's nor the workspace's settings reach an agent that does not ask for them.
    arguments.push(format!("--setting-sources={}", sources.join(",")));
    arguments
}

fn option_arguments(options: &SessionOptions) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            // One word each, so that no value is taken for an option.
            arguments.push(format!("--{name}={value}"));
        }
    };
    add("model", options.model.clone());
    add("fallback-model", options.fallback_model.clone());
    add("effort", options.effort.map(|effort| effort.to_string()));
    add(
        "permission-mode",
        options.permission_mode.map(|mode| mode.to_string()),
    );
    add("max-turns", options.max_turns.map(|turns| turns.to_string()));
    add(
        "max-budget-usd",
        options.max_budget_usd.map(|usd| usd.to_string()),
    );
    arguments
}
