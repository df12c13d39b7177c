//! What requests must be like.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::super::asking::wrong_with;
use super::refusal::Refusal;
use crate::api::ApiLimits;
use crate::domain::{PermissionMode, SessionOptions};

/// The permission modes that the original takes.
const MODES: [PermissionMode; 4] = [
    PermissionMode::Default,
    PermissionMode::AcceptEdits,
    PermissionMode::BypassPermissions,
    PermissionMode::Plan,
];
/// The most model requests of a turn where the request says nothing, or 0.
const MAX_TURNS: u32 = 10;

/// A session to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = McpCodingAgentsCreateSession)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "says in the document what `read_create` reads")]
#[schema(example = json!({"model": "opus", "cwd": "my-project", "permissionMode": "acceptEdits", "maxTurns": 10, "metadata": {"ticket": "OPS-1234"}}))]
pub(super) struct CreateSessionRequest {
    /// The model.
    #[schema(example = "opus")]
    model: Option<String>,
    /// The folder of the caller's tree that it works in: by a path in it, or by its whole path. The tree itself when absent.
    #[schema(example = "my-project")]
    cwd: Option<String>,
    /// What tools may do without asking: `default`, `acceptEdits`, `bypassPermissions` or `plan`. As the server has it when absent.
    #[schema(example = "acceptEdits")]
    permission_mode: Option<String>,
    /// Is added after the system prompt.
    #[schema(example = "Answer in German.")]
    append_system_prompt: Option<String>,
    /// The most model requests of a turn; 10 when absent or 0.
    #[schema(example = 10)]
    max_turns: Option<u32>,
    /// Anything of the client's own.
    #[schema(value_type = Option<BTreeMap<String, Value>>, example = json!({"ticket": "OPS-1234"}))]
    metadata: Option<Map<String, Value>>,
}

/// A prompt.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = McpCodingAgentsMessage)]
#[expect(dead_code, reason = "says in the document what `read_send` reads")]
pub(super) struct SendMessageRequest {
    /// The prompt.
    #[schema(example = "What is in this folder?")]
    prompt: String,
    /// Whether the client would rather follow the answer.
    stream: Option<bool>,
    /// After how many milliseconds the turn is interrupted; never when absent or 0.
    #[schema(example = 120_000)]
    timeout: Option<u64>,
}

/// A session to be made, read.
pub(super) struct Create {
    pub(super) cwd: Option<PathBuf>,
    pub(super) metadata: Map<String, Value>,
    pub(super) options: SessionOptions,
}

/// A prompt, read.
pub(super) struct Send {
    pub(super) prompt: String,
    pub(super) stream: bool,
    pub(super) timeout: Option<Duration>,
    /// The same in milliseconds, as it was sent.
    pub(super) timeout_ms: Option<u64>,
}

pub(super) fn read_create(body: Value, limits: &ApiLimits) -> Result<Create, Refusal> {
    let mut body = object(body)?;
    let model = text(&mut body, "model")?.filter(|model| !model.is_empty());
    let model_too = text(&mut body, "claudeCodeModel")?.filter(|model| !model.is_empty());
    let cwd = text(&mut body, "cwd")?.filter(|path| !path.is_empty());
    let permission_mode = match body.remove("permissionMode") {
        None | Some(Value::Null) => None,
        Some(mode) => Some(
            MODES
                .into_iter()
                .find(|known| mode == known.to_string())
                .ok_or_else(|| {
                    Refusal::invalid(
                        "Invalid permissionMode. Must be one of: default, acceptEdits, bypassPermissions, plan",
                    )
                })?,
        ),
    };
    let append_system_prompt = text(&mut body, "appendSystemPrompt")?.filter(|text| !text.is_empty());
    let too_long = append_system_prompt
        .as_ref()
        .is_some_and(|text| text.len() > limits.system_prompt_max_bytes || text.contains('\0'));
    if too_long {
        let most = limits.system_prompt_max_bytes;
        return Err(Refusal::invalid(&format!(
            "appendSystemPrompt must have at most {most} bytes, and no NUL"
        )));
    }
    let max_turns = match body.remove("maxTurns") {
        None | Some(Value::Null) => MAX_TURNS,
        Some(turns) => match turns.as_u64().and_then(|turns| u32::try_from(turns).ok()) {
            Some(0) => MAX_TURNS,
            Some(turns) if turns <= 1000 => turns,
            _ => return Err(Refusal::invalid("maxTurns must be a number from 0 to 1000")),
        },
    };
    let metadata = match body.remove("metadata") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(metadata)) => metadata,
        Some(_) => return Err(Refusal::invalid("metadata must be an object")),
    };
    let length = serde_json::to_vec(&metadata).map_or(usize::MAX, |json| json.len());
    if length > limits.metadata_max_bytes {
        let most = limits.metadata_max_bytes;
        return Err(Refusal::invalid(&format!(
            "metadata must have at most {most} bytes of JSON"
        )));
    }
    // Which the original takes and does nothing with.
    for name in ["maxMessages", "includeSystemMessages"] {
        if body.remove(name).is_some_and(|value| !value.is_null()) {
            return Err(Refusal::invalid(&format!("{name} is not supported")));
        }
    }
    Ok(Create {
        cwd: cwd.map(PathBuf::from),
        metadata,
        options: SessionOptions {
            model: model.or(model_too),
            permission_mode,
            append_system_prompt,
            max_turns: Some(max_turns),
            ..SessionOptions::default()
        },
    })
}

pub(super) fn read_send(body: Value, limits: &ApiLimits) -> Result<Send, Refusal> {
    let mut body = object(body)?;
    let prompt = match body.remove("prompt") {
        None => return Err(Refusal::invalid("Missing required field: prompt")),
        Some(Value::String(prompt)) => prompt,
        Some(_) => return Err(Refusal::invalid("Field \"prompt\" must be a string")),
    };
    if let Some(words) = wrong_with(&prompt, limits) {
        return Err(Refusal::invalid(&format!("Field \"prompt\" {words}")));
    }
    let most = u64::try_from(limits.turn_timeout_max.as_millis()).unwrap_or(u64::MAX);
    let timeout_ms = match body.remove("timeout") {
        None | Some(Value::Null) => None,
        Some(timeout) => match timeout.as_u64() {
            Some(0) => None,
            Some(timeout) if timeout <= most => Some(timeout),
            _ => {
                return Err(Refusal::invalid(&format!(
                    "timeout must be a number of milliseconds, at most {most}"
                )));
            }
        },
    };
    let stream = body.remove("stream");
    Ok(Send {
        prompt,
        // Whatever JavaScript takes for true.
        stream: stream.is_some_and(|stream| !matches!(stream, Value::Null | Value::Bool(false))),
        timeout: timeout_ms.map(Duration::from_millis),
        timeout_ms,
    })
}

fn object(body: Value) -> Result<Map<String, Value>, Refusal> {
    match body {
        Value::Object(body) => Ok(body),
        _ => Err(Refusal::invalid("Request body must be an object")),
    }
}

fn text(body: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Refusal> {
    match body.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::invalid("Invalid request body format")),
    }
}
