//! What is written to the CLI: prompts, control requests, and answers to what it asks. One line of JSON each.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The id of the `initialize` request; the answer to it says that the CLI is ready.
pub const INITIALIZE_ID: &str = "initialize";

/// Which fields of `initialize` the CLI is to wait for before it starts, besides those that it waits for anyway.
pub const INITIALIZE_FIELDS: &str = "settings,disallowedTools";

/// What the CLI is told before its first prompt, where no other process of the machine can read it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Initialize {
    /// Replaces its system prompt.
    pub system_prompt: Option<String>,
    /// Is added after its system prompt.
    pub append_system_prompt: Option<String>,
    /// Sub-agents by name.
    pub agents: Map<String, Value>,
    /// MCP servers by name.
    pub mcp_servers: Map<String, Value>,
    /// The folders of plugins.
    pub plugins: Vec<String>,
    /// The schema of the answer.
    pub output_schema: Option<Value>,
    /// Tools that the model is not offered.
    pub disallowed_tools: Vec<String>,
    /// Settings, above those of any file.
    pub settings: Map<String, Value>,
}

impl Initialize {
    /// The request's line.
    #[must_use]
    pub fn to_line(&self) -> Bytes {
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value, given: bool| {
            if given {
                fields.insert(name.to_owned(), value);
            }
        };
        set(
            "systemPrompt",
            json!([self.system_prompt]),
            self.system_prompt.is_some(),
        );
        set(
            "appendSystemPrompt",
            json!(self.append_system_prompt),
            self.append_system_prompt.is_some(),
        );
        set("agents", json!(self.agents), !self.agents.is_empty());
        set(
            "mcpServers",
            json!(self.mcp_servers),
            !self.mcp_servers.is_empty(),
        );
        let plugins: Vec<_> = self
            .plugins
            .iter()
            .map(|path| json!({"type": "local", "path": path}))
            .collect();
        set("plugins", json!(plugins), !plugins.is_empty());
        set(
            "jsonSchema",
            json!(self.output_schema),
            self.output_schema.is_some(),
        );
        // These two are waited for (`INITIALIZE_FIELDS`), so they are told even where they say nothing.
        set("disallowedTools", json!(self.disallowed_tools), true);
        set("settings", json!(self.settings), true);
        request(INITIALIZE_ID, "initialize", fields)
    }
}

/// A prompt, under an id of ours, which the CLI names again in what it tells of the prompt. `content` is a text, or a
/// list of the Messages API's content blocks.
#[must_use]
pub fn prompt(id: Uuid, content: &Value) -> Bytes {
    line(&json!({
        "type": "user",
        "message": {"role": "user", "content": content},
        "parent_tool_use_id": null,
        "session_id": "",
        "uuid": id.hyphenated().to_string(),
    }))
}

/// Asks something of the CLI.
#[must_use]
pub fn request(id: &str, subtype: &str, mut fields: Map<String, Value>) -> Bytes {
    fields.insert("subtype".to_owned(), subtype.into());
    line(&json!({"type": "control_request", "request_id": id, "request": fields}))
}

/// Answers that a tool may be used, with this input, and what else is allowed from now on.
#[must_use]
pub fn allow_tool(request_id: &str, input: &Value, updates: &[Value]) -> Bytes {
    let mut answer = json!({"behavior": "allow", "updatedInput": input});
    if let (false, Some(answer)) = (updates.is_empty(), answer.as_object_mut()) {
        answer.insert("updatedPermissions".to_owned(), updates.into());
    }
    success(request_id, &answer)
}

/// An update of permissions: calls like `rule` (`Bash(touch x:*)`) need none for the rest of the process's life.
#[must_use]
pub fn allow_rule(rule: &str) -> Value {
    let parts = rule.strip_suffix(')').and_then(|rule| rule.split_once('('));
    let rule = match parts {
        Some((tool, content)) => json!({"toolName": tool, "ruleContent": content}),
        None => json!({"toolName": rule}),
    };
    json!({"type": "addRules", "rules": [rule], "behavior": "allow", "destination": "session"})
}

/// Answers that a tool may not be used.
#[must_use]
pub fn deny_tool(request_id: &str, message: &str) -> Bytes {
    success(request_id, &json!({"behavior": "deny", "message": message}))
}

/// Answers that a question is not understood.
#[must_use]
pub fn refuse(request_id: &str, error: &str) -> Bytes {
    line(&json!({
        "type": "control_response",
        "response": {"subtype": "error", "request_id": request_id, "error": error},
    }))
}

fn success(request_id: &str, answer: &Value) -> Bytes {
    line(&json!({
        "type": "control_response",
        "response": {"subtype": "success", "request_id": request_id, "response": answer},
    }))
}

fn line(message: &impl Serialize) -> Bytes {
    // Only a map with keys that are no strings has no JSON form; none is written here.
    let mut text = serde_json::to_vec(message).unwrap_or_default();
    text.push(b'\n');
    text.into()
}
