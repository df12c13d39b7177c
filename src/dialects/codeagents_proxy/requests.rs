//! What a request asks for.

use actix_web::http::header::HeaderValue;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::super::asking;
use super::refusal::Refusal;
use crate::api::ApiLimits;
use crate::domain::SessionOptions;

/// The longest name of a conversation.
const ID_MAX: usize = 128;

/// A run, or a look at the one that goes on.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CodeagentsProxyRun)]
#[expect(dead_code, reason = "says in the document what `read` reads")]
#[schema(example = json!({"conversation_id": "my-conversation", "text": "What is in this folder?", "cwd": "my-project", "max_turns": 50}))]
pub(super) struct RunRequest {
    /// The conversation, by the client's name for it; `session_id` says the same.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "my-conversation")]
    conversation_id: String,
    /// The prompt; `prompt` says the same. Without one, the run that goes on is followed.
    #[schema(example = "What is in this folder?")]
    text: Option<String>,
    /// The folder of the caller's tree: by its whole path, or a path in the tree. A conversation is bound to its first one.
    #[schema(example = "my-project")]
    cwd: Option<String>,
    /// Tools that need no permission.
    #[schema(example = json!(["Read", "Grep"]))]
    allowed_tools: Option<Vec<String>>,
    /// Replaces the system prompt; or `{"type": "preset", "preset": "claude_code", "append": TEXT}`.
    #[schema(value_type = Option<Value>)]
    system_prompt: Option<Value>,
    /// The most model requests of a run.
    #[schema(example = 50)]
    max_turns: Option<u32>,
    /// The model.
    #[schema(example = "opus")]
    model: Option<String>,
    /// What tools may do without asking.
    #[schema(example = "acceptEdits")]
    permission_mode: Option<String>,
    /// MCP servers by name, as the CLI defines them.
    #[schema(value_type = Option<BTreeMap<String, Value>>, example = json!({"search": {"type": "http", "url": "https://mcp.example.com"}}))]
    mcp_servers: Option<Map<String, Value>>,
}

/// A request, read.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: String,
    pub(super) text: Option<String>,
    pub(super) cwd: Option<String>,
    /// The number of the last event that the client has.
    pub(super) since: u64,
    options: Map<String, Value>,
}

impl Asked {
    /// How the conversation's agents are to be run.
    pub(super) fn options(&self, limits: &ApiLimits) -> Result<SessionOptions, Refusal> {
        asking::options(self.options.clone(), limits).map_err(|words| Refusal::bad(&words))
    }
}

/// Whether a text can be the name of a conversation.
pub(super) fn is_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.len() <= ID_MAX
        && text.bytes().all(fits)
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// The number that a text is; 0 when there is none.
pub(super) fn number(text: Option<&str>) -> Option<u64> {
    match text.map(str::trim) {
        None | Some("") => Some(0),
        Some(text) => text.parse().ok(),
    }
}

/// In the order in which the original looks.
pub(super) fn read(body: Value, last: Option<&HeaderValue>, limits: &ApiLimits) -> Result<Asked, Refusal> {
    let Value::Object(mut body) = body else {
        return Err(Refusal::bad("The body must be an object."));
    };
    body.retain(|_, value| !value.is_null());
    let (text, prompt) = (body.remove("text"), body.remove("prompt"));
    let said = |value: Option<Value>| match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Some(_) => Err(Refusal::bad("text must be a string.")),
    };
    let text = match said(text)? {
        None => said(prompt)?,
        text => text,
    };
    let id = match body
        .remove("conversation_id")
        .or_else(|| body.remove("session_id"))
    {
        None => return Err(Refusal::bad("conversation_id is required.")),
        Some(Value::String(id)) => id.trim().to_owned(),
        Some(_) => return Err(Refusal::bad("conversation_id must be a string.")),
    };
    body.remove("session_id");
    if !is_id(&id) {
        return Err(Refusal::bad("Invalid id format."));
    }
    let since = last.map(|last| last.to_str().unwrap_or("-"));
    let since = number(since).ok_or_else(|| Refusal::bad("Invalid Last-Event-ID header."))?;
    let cwd = match body.remove("cwd") {
        Some(Value::String(cwd)) if !cwd.trim().is_empty() => Some(cwd.trim().to_owned()),
        _ => None,
    };
    if let Some(words) = text.as_deref().and_then(|text| asking::wrong_with(text, limits)) {
        return Err(Refusal::bad(&format!("text {words}.")));
    }
    let asked = Asked {
        id,
        text,
        cwd,
        since,
        options: options(body)?,
    };
    // Before anything is done.
    asked.options(limits)?;
    Ok(asked)
}

/// The rest of a body, as options of a session.
fn options(mut body: Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    let mut options = Map::new();
    if let Some(Value::Array(tools)) = body.remove("allowed_tools") {
        options.insert("allowed_tools".to_owned(), tools.into());
    }
    match body.remove("system_prompt") {
        Some(Value::Object(preset)) => {
            let is_own = preset.get("type").is_none_or(|kind| kind == "preset")
                && preset.get("preset").is_none_or(|name| name == "claude_code");
            if !is_own {
                return Err(Refusal::bad(
                    "system_prompt must be a string, or the preset claude_code.",
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
    for name in ["max_turns", "model", "permission_mode", "mcp_servers"] {
        if let Some(value) = body.remove(name) {
            options.insert(name.to_owned(), value);
        }
    }
    // A conversation always goes on, and only in itself.
    for name in ["resume", "continue_conversation"] {
        if body.remove(name).is_some_and(|value| value != false) {
            return Err(Refusal::bad(&format!("{name} is not supported.")));
        }
    }
    match body.keys().next() {
        Some(other) => Err(Refusal::bad(&format!("{other} is not supported."))),
        None => Ok(options),
    }
}
