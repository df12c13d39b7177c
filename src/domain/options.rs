//! Options: how a session's agents are run. What the CLI defines (sub-agents, MCP servers, schemas) is carried as it
//! was sent.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strum::{Display, EnumString};
use utoipa::ToSchema;

use super::{PermissionRule, Subdir};

/// What stands in the place of a secret where options are shown.
const HIDDEN: &str = "***";

/// How a session's agents are run. Absent means: as the CLI does by itself.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"model": "opus", "permission_mode": "acceptEdits", "allowed_tools": ["Bash", "Read", "Write", "Edit", "Glob", "Grep"]}))]
pub struct SessionOptions {
    /// The model, by the name the CLI takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The model that is asked when the model is overloaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_model: Option<String>,
    /// How much the model is to think.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effort: Option<Effort>,
    /// Replaces the CLI's system prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// Is added after the system prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub append_system_prompt: Option<String>,
    /// What tools may do without asking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission_mode: Option<PermissionMode>,
    /// Who answers when a tool needs a permission, by tool; the first rule that matches counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission_rules: Option<Vec<PermissionRule>>,
    /// Tools, or tool patterns, that need no permission.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_tools: Option<Vec<String>>,
    /// Tools that are not offered to the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disallowed_tools: Option<Vec<String>>,
    /// The most model requests of one turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<u32>,
    /// The most that the life of one agent process may cost, in USD, by the CLI's own count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_budget_usd: Option<f64>,
    /// Sub-agents by name, as the CLI defines them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub agents: Option<Map<String, Value>>,
    /// MCP servers by name, as the CLI defines them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub mcp_servers: Option<Map<String, Value>>,
    /// Plugins in the user's tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugins: Option<Vec<Plugin>>,
    /// Whose settings the CLI reads besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting_sources: Option<Vec<SettingSource>>,
    /// Folders of the user's tree that the agent works in besides its workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub add_dirs: Option<Vec<Subdir>>,
    /// The JSON schema that each turn's answer must match.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub output_schema: Option<Value>,
    /// Variables that the agent and its tools get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// Whether the CLI's own messages are kept in the log besides, verbatim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_messages: Option<bool>,
    /// Whether what the workspace is like is kept before and after each turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<bool>,
}

impl SessionOptions {
    /// These options, with `defaults` where they are silent.
    #[must_use]
    pub fn or(self, defaults: Self) -> Self {
        Self {
            model: self.model.or(defaults.model),
            fallback_model: self.fallback_model.or(defaults.fallback_model),
            effort: self.effort.or(defaults.effort),
            system_prompt: self.system_prompt.or(defaults.system_prompt),
            append_system_prompt: self.append_system_prompt.or(defaults.append_system_prompt),
            permission_mode: self.permission_mode.or(defaults.permission_mode),
            permission_rules: self.permission_rules.or(defaults.permission_rules),
            allowed_tools: self.allowed_tools.or(defaults.allowed_tools),
            disallowed_tools: self.disallowed_tools.or(defaults.disallowed_tools),
            max_turns: self.max_turns.or(defaults.max_turns),
            max_budget_usd: self.max_budget_usd.or(defaults.max_budget_usd),
            agents: self.agents.or(defaults.agents),
            mcp_servers: self.mcp_servers.or(defaults.mcp_servers),
            plugins: self.plugins.or(defaults.plugins),
            setting_sources: self.setting_sources.or(defaults.setting_sources),
            add_dirs: self.add_dirs.or(defaults.add_dirs),
            output_schema: self.output_schema.or(defaults.output_schema),
            env: self.env.or(defaults.env),
            agent_messages: self.agent_messages.or(defaults.agent_messages),
            checkpoints: self.checkpoints.or(defaults.checkpoints),
        }
    }

    /// The same as it may be shown: without the values of variables, and of what MCP servers are told in secret.
    #[must_use]
    pub fn shown(&self) -> Self {
        let mut shown = self.clone();
        for value in shown.env.iter_mut().flat_map(BTreeMap::values_mut) {
            HIDDEN.clone_into(value);
        }
        shown.mcp_servers.iter_mut().for_each(hide_mcp_secrets);
        shown
    }
}

/// Takes out what MCP servers are told in secret.
pub fn hide_mcp_secrets(servers: &mut Map<String, Value>) {
    for server in servers.values_mut() {
        for secrets in ["env", "headers"] {
            if let Some(Value::Object(values)) = server.get_mut(secrets) {
                values.values_mut().for_each(|value| *value = HIDDEN.into());
            }
        }
    }
}

impl fmt::Debug for SessionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = serde_json::to_value(self.shown()).unwrap_or_default();
        write!(f, "SessionOptions({shown})")
    }
}

/// How much the model is to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, ToSchema)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Effort {
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// More.
    Xhigh,
    /// As much as it can.
    Max,
}

/// Whose settings the CLI reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, ToSchema)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum SettingSource {
    /// Those of the session's private home.
    User,
    /// Those that the workspace holds for everyone.
    Project,
    /// Those that the workspace holds for one.
    Local,
}

/// A plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Plugin {
    /// A folder.
    Local {
        /// Its path from the user's tree downwards.
        #[schema(value_type = String)]
        path: Subdir,
    },
}

/// What tools may do without asking, in the CLI's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, ToSchema)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
pub enum PermissionMode {
    /// What is not allowed by a rule is asked for.
    Default,
    /// File edits in the workspace need no permission.
    AcceptEdits,
    /// The agent plans and changes nothing.
    Plan,
    /// What is not allowed by a rule is denied.
    DontAsk,
    /// The CLI's classifier decides.
    Auto,
    /// Nothing is asked.
    BypassPermissions,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_fall_back_one_by_one() {
        let asked = SessionOptions {
            model: Some("a".into()),
            ..SessionOptions::default()
        };
        let defaults = SessionOptions {
            model: Some("b".into()),
            max_turns: Some(3),
            ..SessionOptions::default()
        };
        let merged = asked.or(defaults);
        assert_eq!(merged.model.as_deref(), Some("a"));
        assert_eq!(merged.max_turns, Some(3));
    }

    #[test]
    fn permission_modes_are_spelled_as_the_cli_does() {
        assert_eq!(PermissionMode::AcceptEdits.to_string(), "acceptEdits");
        assert_eq!(serde_json::to_value(PermissionMode::DontAsk).unwrap(), "dontAsk");
    }

    #[test]
    fn secrets_are_neither_shown_nor_printed() {
        let options: SessionOptions = serde_json::from_value(json!({
            "env": {"TOKEN": "secret-1"},
            "mcp_servers": {
                "a": {"command": "x", "env": {"KEY": "secret-2"}},
                "b": {"type": "http", "url": "https://b", "headers": {"Authorization": "secret-3"}},
            },
        }))
        .unwrap();
        let shown = serde_json::to_string(&options.shown()).unwrap();
        for text in [shown, format!("{options:?}")] {
            assert!(!text.contains("secret"), "{text}");
            assert!(text.contains("https://b") && text.contains("TOKEN"), "{text}");
        }
    }
}
