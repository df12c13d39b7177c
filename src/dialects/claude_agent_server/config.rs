//! How a conversation's agents are to be run, and what of it is refused.

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::super::asking;
use super::refusal::Refusal;
use crate::api::ApiLimits;
use crate::domain::{SessionOptions, hide_mcp_secrets};

/// What the official client sends besides, for itself.
const OF_THE_CLIENT: [&str; 5] = ["e2bApiKey", "template", "timeoutMs", "debug", "connectionUrl"];

/// How a conversation's agents are run.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ClaudeAgentServerConfig)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "says in the document what `read` reads")]
#[schema(example = json!({"model": "opus", "allowedTools": ["Read", "Grep"], "systemPrompt": "You keep the books of a small shop."}))]
pub(super) struct QueryConfig {
    /// Sub-agents by name, as the CLI defines them.
    #[schema(value_type = Option<BTreeMap<String, Value>>, example = json!({"reviewer": {"description": "Reviews code", "prompt": "You review code."}}))]
    agents: Option<Map<String, Value>>,
    /// Tools that need no permission.
    #[schema(example = json!(["Read", "Grep"]))]
    allowed_tools: Option<Vec<String>>,
    /// Replaces the system prompt; or `{"type": "preset", "preset": "claude_code", "append": TEXT}`.
    #[schema(value_type = Option<Value>)]
    system_prompt: Option<Value>,
    /// The model.
    #[schema(example = "opus")]
    model: Option<String>,
    /// MCP servers by name, of type `http` or `sse`.
    #[schema(value_type = Option<BTreeMap<String, Value>>, example = json!({"search": {"type": "http", "url": "https://mcp.example.com"}}))]
    mcp_servers: Option<Map<String, Value>>,
    /// The key with which the model is asked. It is not told again.
    #[schema(write_only, example = "sk-ant-api03-of-the-caller")]
    anthropic_api_key: Option<String>,
}

/// A configuration, read.
#[derive(Debug, Default)]
pub(super) struct Config {
    /// As it may be told.
    pub(super) shown: Map<String, Value>,
    pub(super) options: SessionOptions,
    pub(super) key: Option<SecretString>,
}

pub(super) fn read(body: Value, limits: &ApiLimits) -> Result<Config, Refusal> {
    let Value::Object(mut body) = body else {
        return Err(Refusal::bad("Configuration must be an object"));
    };
    body.retain(|name, value| !value.is_null() && !OF_THE_CLIENT.contains(&name.as_str()));
    let key = match body.remove("anthropicApiKey") {
        None => None,
        Some(Value::String(key)) if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Some(SecretString::from(key))
        }
        Some(_) => return Err(Refusal::bad("anthropicApiKey must be a key")),
    };
    let mut shown = body.clone();
    if let Some(Value::Object(servers)) = shown.get_mut("mcpServers") {
        hide_mcp_secrets(servers);
    }
    let length = serde_json::to_vec(&shown).map_or(usize::MAX, |json| json.len());
    if length > limits.metadata_max_bytes {
        let most = limits.metadata_max_bytes;
        return Err(Refusal::bad(&format!(
            "Configuration must have at most {most} bytes of JSON (limits.metadata_max_bytes)"
        )));
    }
    let options = asking::options(options(body)?, limits).map_err(|words| Refusal::bad(&words))?;
    Ok(Config { shown, options, key })
}

fn options(mut body: Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    let mut options = Map::new();
    match body.remove("systemPrompt") {
        Some(Value::Object(preset)) => {
            if preset.get("type") != Some(&json!("preset"))
                || preset.get("preset") != Some(&json!("claude_code"))
            {
                return Err(Refusal::bad(
                    "systemPrompt must be a string, or the preset claude_code",
                ));
            }
            if let Some(append) = preset.get("append") {
                options.insert("append_system_prompt".to_owned(), append.clone());
            }
        }
        Some(text) => {
            options.insert("system_prompt".to_owned(), text);
        }
        None => {}
    }
    if let Some(mut agents) = body.remove("agents") {
        for agent in agents.as_object_mut().into_iter().flat_map(Map::values_mut) {
            let description = agent.get("description").cloned();
            // The original's own example has none.
            if let (Some(agent), Some(description)) = (agent.as_object_mut(), description) {
                agent.entry("prompt").or_insert(description);
            }
        }
        options.insert("agents".to_owned(), agents);
    }
    if let Some(servers) = body.remove("mcpServers") {
        for (name, server) in servers.as_object().into_iter().flatten() {
            let kind = server.get("type").and_then(Value::as_str);
            if !matches!(kind, Some("http" | "sse")) {
                return Err(Refusal::bad(&format!(
                    "mcpServers.{name} must be of type http or sse: programs cannot be chosen here"
                )));
            }
        }
        options.insert("mcp_servers".to_owned(), servers);
    }
    for (name, ours) in [("allowedTools", "allowed_tools"), ("model", "model")] {
        if let Some(value) = body.remove(name) {
            options.insert(ours.to_owned(), value);
        }
    }
    match body.keys().next() {
        Some(other) => Err(Refusal::bad(&format!("{other} cannot be set here"))),
        None => Ok(options),
    }
}
