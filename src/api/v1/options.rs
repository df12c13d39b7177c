//! How a session's agents are run, as requests say it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use validator::Validate;

use super::rules::{
    are_agents, are_dirs, are_mcp_servers, are_plugins, are_rules, are_tools, are_variables, is_budget,
    is_schema, is_system_prompt, is_word,
};
use crate::api::ApiLimits;
use crate::domain::{Effort, PermissionMode, PermissionRule, Plugin, SessionOptions, SettingSource, Subdir};

/// How a session's agents are run.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[schema(as = SessionOptionsRequest)]
pub struct SessionOptionsRequest {
    /// The model, by the name that `GET /api/v1/models` tells, or any that the CLI takes.
    #[validate(custom(function = "is_word"))]
    #[schema(nullable = false, example = "opus")]
    model: Option<String>,
    /// The model that is asked when the model is overloaded.
    #[validate(custom(function = "is_word"))]
    #[schema(nullable = false, example = "haiku")]
    fallback_model: Option<String>,
    /// How much the model is to think.
    #[schema(nullable = false)]
    effort: Option<Effort>,
    /// Replaces the CLI's system prompt.
    #[validate(custom(function = "is_system_prompt", use_context))]
    #[schema(nullable = false, example = "You keep the books of a small shop.")]
    system_prompt: Option<String>,
    /// Is added after the system prompt.
    #[validate(custom(function = "is_system_prompt", use_context))]
    #[schema(nullable = false, example = "Answer in German.")]
    append_system_prompt: Option<String>,
    /// What tools may do without asking.
    #[schema(nullable = false)]
    permission_mode: Option<PermissionMode>,
    /// Who answers when a tool needs a permission, by tool; the first rule that matches counts, before the server's. What
    /// no rule matches is asked of a person.
    #[validate(custom(function = "are_rules", use_context))]
    #[schema(nullable = false)]
    permission_rules: Option<Vec<PermissionRule>>,
    /// Tools, or tool patterns, that need no permission.
    #[validate(custom(function = "are_tools", use_context))]
    #[schema(nullable = false, example = json!(["Read", "Bash(git:*)"]))]
    allowed_tools: Option<Vec<String>>,
    /// Tools that are not offered to the model.
    #[validate(custom(function = "are_tools", use_context))]
    #[schema(nullable = false, example = json!(["WebFetch"]))]
    disallowed_tools: Option<Vec<String>>,
    /// The most model requests of one turn.
    #[validate(range(min = 1, max = 1000, message = "must be between 1 and 1000"))]
    #[schema(nullable = false, minimum = 1, maximum = 1000, example = 50)]
    max_turns: Option<u32>,
    /// The most that the life of one agent process may cost, in USD, by the CLI's own count.
    #[validate(custom(function = "is_budget"))]
    #[schema(nullable = false, example = 1.5)]
    max_budget_usd: Option<f64>,
    /// Sub-agents by name, as the CLI defines them: `description` and `prompt`, and what else it knows.
    #[validate(custom(function = "are_agents", use_context))]
    #[schema(value_type = BTreeMap<String, Value>, required = false, nullable = false, example = json!({"reviewer": {"description": "Reviews code", "prompt": "You review code."}}))]
    agents: Option<Map<String, Value>>,
    /// MCP servers by name, as the CLI defines them: `command`, `args` and `env`, or `type`, `url` and `headers`. The
    /// values of `env` and `headers` are not shown again.
    #[validate(custom(function = "are_mcp_servers", use_context))]
    #[schema(value_type = BTreeMap<String, Value>, required = false, nullable = false, example = json!({"search": {"type": "http", "url": "https://mcp.example.com"}}))]
    mcp_servers: Option<Map<String, Value>>,
    /// Plugins in the user's tree.
    #[serde(default)]
    #[validate(custom(function = "are_plugins", use_context))]
    #[schema(nullable = false)]
    plugins: Option<Vec<PluginRequest>>,
    /// Whose settings the CLI reads besides: the private home's, the workspace's for everyone, the workspace's for one.
    #[schema(nullable = false)]
    setting_sources: Option<Vec<SettingSource>>,
    /// Folders of the user's tree that the agent works in besides its workspace; made if they are missing.
    #[validate(custom(function = "are_dirs", use_context))]
    #[schema(nullable = false, example = json!(["shared/docs"]))]
    add_dirs: Option<Vec<String>>,
    /// The JSON schema that each turn's answer must match, an object's; the answer comes as `structured_output`.
    #[validate(custom(function = "is_schema", use_context))]
    #[schema(value_type = BTreeMap<String, Value>, required = false, nullable = false, example = json!({"type": "object", "properties": {"files": {"type": "integer"}}, "required": ["files"]}))]
    output_schema: Option<Value>,
    /// Variables that the agent and its tools get, of those that the server lets sessions set.
    #[validate(custom(function = "are_variables", use_context))]
    #[schema(nullable = false, example = json!({"BUILD_MODE": "test"}))]
    env: Option<BTreeMap<String, String>>,
    /// Whether the CLI's own messages are kept in the log besides, verbatim, as `agent_message`; no when absent. They are
    /// read with `raw=true`.
    #[schema(nullable = false)]
    agent_messages: Option<bool>,
    /// Whether what the workspace is like is kept before and after each turn, so that a turn's changes can be told, and gone
    /// back from; when absent, as the server is set.
    #[schema(nullable = false)]
    checkpoints: Option<bool>,
}

/// A plugin.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginRequest {
    /// `local`.
    #[serde(rename = "type")]
    pub(super) kind: PluginKind,
    /// Its folder, from the user's tree downwards.
    #[schema(example = "plugins/mine")]
    pub(super) path: String,
}

/// Where a plugin is.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PluginKind {
    /// In the user's tree.
    Local,
}

impl From<SessionOptionsRequest> for SessionOptions {
    fn from(asked: SessionOptionsRequest) -> Self {
        // Paths were checked with the request.
        let subdir = |path: String| path.parse::<Subdir>().ok();
        Self {
            model: asked.model,
            fallback_model: asked.fallback_model,
            effort: asked.effort,
            system_prompt: asked.system_prompt,
            append_system_prompt: asked.append_system_prompt,
            permission_mode: asked.permission_mode,
            permission_rules: asked.permission_rules,
            allowed_tools: asked.allowed_tools,
            disallowed_tools: asked.disallowed_tools,
            max_turns: asked.max_turns,
            max_budget_usd: asked.max_budget_usd,
            agents: asked.agents,
            mcp_servers: asked.mcp_servers,
            plugins: asked.plugins.map(|plugins| {
                let local = |plugin: PluginRequest| match plugin.kind {
                    PluginKind::Local => subdir(plugin.path).map(|path| Plugin::Local { path }),
                };
                plugins.into_iter().filter_map(local).collect()
            }),
            setting_sources: asked.setting_sources,
            add_dirs: asked
                .add_dirs
                .map(|dirs| dirs.into_iter().filter_map(subdir).collect()),
            output_schema: asked.output_schema,
            env: asked.env,
            agent_messages: asked.agent_messages,
            checkpoints: asked.checkpoints,
        }
    }
}
