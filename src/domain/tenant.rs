//! Tenants: whom keys belong to, what their sessions may ask for, and how much of it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::pattern::any_matches;
use super::{PermissionMode, Plugin, SessionOptions, TenantId, TenantName};

/// Whom keys belong to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name, which never changes.
    pub name: TenantName,
    /// When it was first known.
    pub created_at: DateTime<Utc>,
    /// Since when its credentials are not taken, if they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_at: Option<DateTime<Utc>>,
    /// What its sessions may ask for.
    #[serde(default)]
    pub policy: TenantPolicy,
    /// How much it may ask for.
    #[serde(default)]
    pub limits: TenantLimits,
}

impl Tenant {
    /// A tenant that can be used.
    #[must_use]
    pub fn new(id: TenantId, name: TenantName, created_at: DateTime<Utc>) -> Self {
        Self {
            id,
            name,
            created_at,
            suspended_at: None,
            policy: TenantPolicy::default(),
            limits: TenantLimits::default(),
        }
    }
}

/// What is changed of a tenant. `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TenantChange {
    /// Whether its credentials are not taken.
    pub suspended: Option<bool>,
    /// Its policy, as a whole.
    pub policy: Option<TenantPolicy>,
    /// Its limits, as a whole.
    pub limits: Option<TenantLimits>,
}

/// Which network a tenant's agents get, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TenantNetwork {
    /// The model alone.
    Gateway,
    /// What the server's settings say.
    Server,
}

/// What becomes of a turn whose server did not live to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLostTurn {
    /// It ends as `unknown`: some of its tools may have run.
    #[default]
    Unknown,
    /// The agent is told to look at what it has done and to go on, at another instance or once the server is back. What it
    /// was doing when its server was lost may be done twice.
    Resume,
}

/// What a tenant's sessions may ask for. A list that is absent allows all that the server allows; names may end in `*`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"models": ["claude-haiku-*"], "denied_tools": ["WebFetch"], "network": "gateway", "on_lost": "resume"}))]
pub struct TenantPolicy {
    /// The permission modes that sessions may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission_modes: Option<Vec<PermissionMode>>,
    /// The models that may be asked, also by sub-agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// The tools that sessions may allow without a permission.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// Tools that are offered to the model in no session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied_tools: Option<Vec<String>>,
    /// The MCP servers that sessions may bring, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_servers: Option<Vec<String>>,
    /// The commands that MCP servers of sessions may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_commands: Option<Vec<String>>,
    /// The plugins that sessions may have, by path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugins: Option<Vec<String>>,
    /// The variables that sessions may set, of those that the server lets sessions set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
    /// Which network its agents get, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<TenantNetwork>,
    /// What becomes of turns whose server does not live to end them; `unknown` where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_lost: Option<OnLostTurn>,
    /// Whether sessions may be shown by links to people without a credential; links that were made show nothing while it is no.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub share_links: bool,
    /// What sessions get that do not say otherwise, before the server's own defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defaults: Option<SessionOptions>,
}

impl TenantPolicy {
    /// The option of a session that is forbidden, if one is: its path.
    #[must_use]
    pub fn forbidden(&self, options: &SessionOptions) -> Option<String> {
        let mode = options.permission_mode.filter(|mode| {
            let allowed = self.permission_modes.as_ref();
            allowed.is_some_and(|allowed| !allowed.contains(mode))
        });
        if mode.is_some() {
            return Some("permission_mode".to_owned());
        }
        for (name, model) in [
            ("model", &options.model),
            ("fallback_model", &options.fallback_model),
        ] {
            if model
                .as_deref()
                .is_some_and(|model| !allows(self.models.as_ref(), model))
            {
                return Some(name.to_owned());
            }
        }
        let tools = options.allowed_tools.iter().flatten();
        for tool in tools {
            if !allows(self.tools.as_ref(), tool_name(tool)) {
                return Some(format!("allowed_tools.{tool}"));
            }
        }
        for (name, server) in options.mcp_servers.iter().flatten() {
            let command = server.get("command").and_then(Value::as_str);
            let is_allowed = allows(self.mcp_servers.as_ref(), name)
                && command.is_none_or(|command| allows(self.mcp_commands.as_ref(), command));
            if !is_allowed {
                return Some(format!("mcp_servers.{name}"));
            }
        }
        for Plugin::Local { path } in options.plugins.iter().flatten() {
            if !allows(self.plugins.as_ref(), path.as_str()) {
                return Some(format!("plugins.{path}"));
            }
        }
        for name in options.env.iter().flat_map(|env| env.keys()) {
            if !allows(self.env.as_ref(), name) {
                return Some(format!("env.{name}"));
            }
        }
        None
    }

    /// The options of a session that asks for these: the tenant's defaults where they are silent, and without the tools that
    /// no session has.
    #[must_use]
    pub fn applied_to(&self, options: SessionOptions) -> SessionOptions {
        let mut options = options.or(self.defaults.clone().unwrap_or_default());
        if let Some(denied) = &self.denied_tools {
            let tools = options.disallowed_tools.get_or_insert_default();
            let missing: Vec<_> = denied
                .iter()
                .filter(|tool| !tools.contains(tool))
                .cloned()
                .collect();
            tools.extend(missing);
        }
        options
    }
}

fn allows(patterns: Option<&Vec<String>>, name: &str) -> bool {
    patterns.is_none_or(|patterns| any_matches(patterns, name))
}

/// The tool of a tool pattern: `Bash` of `Bash(git:*)`.
fn tool_name(pattern: &str) -> &str {
    pattern.split('(').next().unwrap_or(pattern)
}

/// How much a tenant may ask for. What is absent is as the server's settings say; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"requests_per_minute": 600, "sessions_max": 100, "turns_max": 20, "agents_max": 10}))]
pub struct TenantLimits {
    /// The most requests to this API a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// The most sessions made a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions_per_minute: Option<u32>,
    /// The most turns begun a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns_per_minute: Option<u32>,
    /// The most active sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions_max: Option<u32>,
    /// The most active sessions of one user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_sessions_max: Option<u32>,
    /// The most turns at once, waiting ones included, on each instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns_max: Option<u32>,
    /// The most live agents, on each instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agents_max: Option<u32>,
    /// The most that the folders of a session may hold while a turn runs, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_max_bytes: Option<u64>,
    /// The most files, folders and links in them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_max_entries: Option<u64>,
    /// The most requests of the model at once, on each instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_requests_max: Option<u32>,
    /// The most requests of the model a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_requests_per_minute: Option<u32>,
    /// How long pieces of messages are kept after they were written, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta_retention_seconds: Option<u64>,
    /// How long events other than messages are kept, in seconds; never longer than messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_retention_seconds: Option<u64>,
    /// How long messages are kept, in seconds: prompts, answers, what tools answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_retention_seconds: Option<u64>,
}

impl TenantLimits {
    /// These limits, with `defaults` where they are silent.
    #[must_use]
    pub fn or(self, defaults: Self) -> Self {
        Self {
            requests_per_minute: self.requests_per_minute.or(defaults.requests_per_minute),
            sessions_per_minute: self.sessions_per_minute.or(defaults.sessions_per_minute),
            turns_per_minute: self.turns_per_minute.or(defaults.turns_per_minute),
            sessions_max: self.sessions_max.or(defaults.sessions_max),
            user_sessions_max: self.user_sessions_max.or(defaults.user_sessions_max),
            turns_max: self.turns_max.or(defaults.turns_max),
            agents_max: self.agents_max.or(defaults.agents_max),
            workspace_max_bytes: self.workspace_max_bytes.or(defaults.workspace_max_bytes),
            workspace_max_entries: self.workspace_max_entries.or(defaults.workspace_max_entries),
            model_requests_max: self.model_requests_max.or(defaults.model_requests_max),
            model_requests_per_minute: self
                .model_requests_per_minute
                .or(defaults.model_requests_per_minute),
            delta_retention_seconds: self.delta_retention_seconds.or(defaults.delta_retention_seconds),
            event_retention_seconds: self.event_retention_seconds.or(defaults.event_retention_seconds),
            message_retention_seconds: self
                .message_retention_seconds
                .or(defaults.message_retention_seconds),
        }
    }
}

/// How many active sessions there may be; `None`: any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionQuota {
    /// Of the tenant.
    pub of_tenant: Option<u32>,
    /// Of one user.
    pub of_user: Option<u32>,
    /// Those count that were used after this time; all where none is given.
    pub used_after: Option<DateTime<Utc>>,
}

/// Whether there is room for another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Free,
    /// The tenant has as many as it may.
    TenantFull,
    /// The user has as many as it may.
    UserFull,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(json: &str) -> SessionOptions {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_policy_names_the_option_that_it_forbids() {
        let policy: TenantPolicy = serde_json::from_str(
            r#"{"permission_modes": ["default", "plan"], "models": ["claude-haiku-*"], "tools": ["Read", "mcp__git__*"],
                "mcp_servers": ["git"], "mcp_commands": ["npx"], "plugins": ["approved/*"], "env": ["TEAM_*"]}"#,
        )
        .unwrap();
        for (asked, forbidden) in [
            (
                r#"{"permission_mode": "bypassPermissions"}"#,
                Some("permission_mode"),
            ),
            (
                r#"{"permission_mode": "plan", "model": "claude-haiku-5-5"}"#,
                None,
            ),
            (r#"{"model": "opus"}"#, Some("model")),
            (r#"{"fallback_model": "opus"}"#, Some("fallback_model")),
            (r#"{"allowed_tools": ["Read(x)", "mcp__git__log"]}"#, None),
            (
                r#"{"allowed_tools": ["Bash(git:*)"]}"#,
                Some("allowed_tools.Bash(git:*)"),
            ),
            (r#"{"mcp_servers": {"git": {"command": "npx"}}}"#, None),
            (
                r#"{"mcp_servers": {"git": {"command": "sh"}}}"#,
                Some("mcp_servers.git"),
            ),
            (
                r#"{"mcp_servers": {"web": {"url": "https://x"}}}"#,
                Some("mcp_servers.web"),
            ),
            (
                r#"{"plugins": [{"type": "local", "path": "mine"}]}"#,
                Some("plugins.mine"),
            ),
            (r#"{"env": {"TEAM_A": "1", "PATH": "x"}}"#, Some("env.PATH")),
        ] {
            assert_eq!(policy.forbidden(&options(asked)).as_deref(), forbidden, "{asked}");
            assert_eq!(TenantPolicy::default().forbidden(&options(asked)), None);
        }
    }

    #[test]
    fn a_policys_defaults_fill_what_is_silent_and_denied_tools_are_always_denied() {
        let policy: TenantPolicy = serde_json::from_str(
            r#"{"defaults": {"model": "haiku", "disallowed_tools": ["WebSearch"]}, "denied_tools": ["WebFetch"]}"#,
        )
        .unwrap();
        let applied = policy.applied_to(options(r#"{"model": "opus"}"#));
        assert_eq!(applied.model.as_deref(), Some("opus"));
        assert_eq!(applied.disallowed_tools.unwrap(), ["WebSearch", "WebFetch"]);
        let applied = policy.applied_to(options(r#"{"disallowed_tools": ["WebFetch"]}"#));
        assert_eq!(applied.model.as_deref(), Some("haiku"));
        assert_eq!(applied.disallowed_tools.unwrap(), ["WebFetch"]);
    }
}
