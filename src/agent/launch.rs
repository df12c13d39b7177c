//! How a session's CLI is started: its arguments, its environment, and what it is told over its input.
//!
//! Nothing of a tenant stands among the arguments, where every process of the machine can read it: prompts go over
//! the input, credentials over the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use super::home::Home;
use super::process::{self, Program, StartError};
use crate::domain::{Session, SessionOptions};
use crate::protocol::control::Initialize;

/// What all agents of a server share.
#[derive(Debug)]
pub struct LaunchSettings {
    /// The CLI: a path, or a name to be looked up in `PATH`.
    pub cli_path: PathBuf,
    /// Variables that every agent gets, from the server's environment and settings. No secrets.
    pub environment: BTreeMap<String, OsString>,
    /// Where the model's API is; the CLI's own choice when absent.
    pub model_base_url: Option<String>,
    /// How the CLI proves itself to the model's API.
    pub credential: Option<ModelCredential>,
}

/// How the CLI proves itself to the model's API.
#[derive(Debug)]
pub enum ModelCredential {
    /// An API key, sent as `x-api-key`.
    ApiKey(SecretString),
    /// A token, sent as a bearer.
    AuthToken(SecretString),
    /// A long-lived OAuth token of the CLI's own login.
    OauthToken(SecretString),
}

impl ModelCredential {
    fn variable(&self) -> (&'static str, &SecretString) {
        match self {
            Self::ApiKey(secret) => ("ANTHROPIC_API_KEY", secret),
            Self::AuthToken(secret) => ("ANTHROPIC_AUTH_TOKEN", secret),
            Self::OauthToken(secret) => ("CLAUDE_CODE_OAUTH_TOKEN", secret),
        }
    }
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

    /// What to start for a session whose workspace is `working_dir` (and is called `shown_dir`).
    pub fn program(
        &self,
        session: &Session,
        home: &Home,
        working_dir: PathBuf,
        shown_dir: &Path,
    ) -> Result<Program, StartError> {
        let resume = session.conversation_started || home.has_transcript(session.claude_session_id);
        let conversation = session.claude_session_id;
        let mut arguments = base_arguments();
        arguments.push(if resume {
            format!("--resume={conversation}")
        } else {
            format!("--session-id={conversation}")
        });
        // What it writes down is kept in the store, from where any machine can go on with it.
        arguments.push("--session-mirror".to_owned());
        arguments.extend(option_arguments(&session.options));
        Ok(Program {
            path: self.locate_cli()?,
            arguments,
            environment: self.agent_environment(home, shown_dir),
            working_dir,
        })
    }

    /// What to start to ask the CLI about itself.
    pub fn probe(&self, home: &Home) -> Result<Program, StartError> {
        Ok(Program {
            path: self.locate_cli()?,
            arguments: base_arguments(),
            environment: self.agent_environment(home, home.path()),
            working_dir: home.path().to_owned(),
        })
    }

    fn agent_environment(&self, home: &Home, shown_dir: &Path) -> BTreeMap<String, OsString> {
        let mut environment = self.environment.clone();
        let mut set = |name: &str, value: OsString| environment.insert(name.to_owned(), value);
        set("HOME", home.path().into());
        set("PWD", shown_dir.into());
        set("CLAUDE_CONFIG_DIR", home.config_dir().into());
        set("TMPDIR", home.temporary_dir().into());
        set("CLAUDE_CODE_TMPDIR", home.temporary_dir().into());
        for switch in [
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
            "CLAUDE_CODE_DISABLE_AUTO_MEMORY",
            "DISABLE_TELEMETRY",
            "DISABLE_ERROR_REPORTING",
            "DISABLE_AUTOUPDATER",
        ] {
            set(switch, "1".into());
        }
        if let Some(url) = &self.model_base_url {
            set("ANTHROPIC_BASE_URL", url.into());
        }
        if let Some(credential) = &self.credential {
            let (name, secret) = credential.variable();
            set(name, secret.expose_secret().into());
        }
        environment
    }
}

/// What the CLI is told before its first prompt.
#[must_use]
pub fn initialize(options: &SessionOptions) -> Initialize {
    Initialize {
        system_prompt: options.system_prompt.clone(),
        append_system_prompt: options.append_system_prompt.clone(),
    }
}

fn base_arguments() -> Vec<String> {
    [
        "--print",
        "--input-format=stream-json",
        "--output-format=stream-json",
        "--verbose",
        "--include-partial-messages",
        "--permission-prompt-tool=stdio",
        // Neither the machine's nor the workspace's settings reach an agent.
        "--setting-sources=",
    ]
    .map(ToOwned::to_owned)
    .to_vec()
}

fn option_arguments(options: &SessionOptions) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            // One word each, so that no value is taken for an option.
            arguments.push(format!("--{name}={value}"));
        }
    };
    let list = |tools: &Option<Vec<String>>| {
        tools
            .as_ref()
            .filter(|tools| !tools.is_empty())
            .map(|tools| tools.join(","))
    };
    add("model", options.model.clone());
    add(
        "permission-mode",
        options.permission_mode.map(|mode| mode.to_string()),
    );
    add("allowedTools", list(&options.allowed_tools));
    add("disallowedTools", list(&options.disallowed_tools));
    add("max-turns", options.max_turns.map(|turns| turns.to_string()));
    add(
        "max-budget-usd",
        options.max_budget_usd.map(|usd| usd.to_string()),
    );
    arguments
}
