//! What the CLI tells: one JSON object a line.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::question::{ControlRequest, ControlResponse, control_request, control_response};
use crate::domain::{MicroUsd, Usage};

/// One message of the CLI. What the server does not act on is [`CliMessage::Other`].
#[derive(Debug, Clone, PartialEq)]
pub enum CliMessage {
    /// What the CLI tells of itself: `init` at the start of each turn, and much else.
    System(SystemMessage),
    /// A piece of the model's stream.
    StreamEvent(StreamEvent),
    /// A whole message of the assistant, or a block of one.
    Assistant(AssistantMessage),
    /// A message in the user's role: the prompt replayed, or what tools answered.
    User(UserMessage),
    /// The end of a turn.
    Result(TurnResult),
    /// What became of a prompt, by the id that it was sent with.
    CommandLifecycle {
        /// The prompt's id.
        prompt: Option<Uuid>,
        /// `queued`, `started`, `completed`, …
        state: String,
    },
    /// The CLI asks something.
    ControlRequest(ControlRequest),
    /// The CLI answers something.
    ControlResponse(ControlResponse),
    /// The CLI takes back what it asked.
    ControlCancelRequest {
        /// What it asked.
        request_id: String,
    },
    /// What the CLI has just written down of the conversation.
    TranscriptMirror {
        /// The file that it wrote to.
        file: PathBuf,
        /// The lines that it wrote, in order.
        lines: Vec<String>,
    },
    /// Anything else, or a message of a known type that does not look like one.
    Other {
        /// Its type, as far as it has one.
        kind: String,
    },
}

impl CliMessage {
    /// Whether it is of the conversation, as SDKs hand it to their users: neither a piece of a message that comes whole, nor
    /// between the CLI and the server.
    #[must_use]
    pub fn is_conversation(&self) -> bool {
        match self {
            Self::System(_) | Self::Assistant(_) | Self::User(_) | Self::Result(_) => true,
            // Those of tomorrow too.
            Self::Other { kind } => !kind.is_empty() && kind != "keep_alive" && !kind.starts_with("control_"),
            Self::StreamEvent(_)
            | Self::CommandLifecycle { .. }
            | Self::ControlRequest(_)
            | Self::ControlResponse(_)
            | Self::ControlCancelRequest { .. }
            | Self::TranscriptMirror { .. } => false,
        }
    }
}

/// What the CLI tells of itself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SystemMessage {
    /// What it tells of: `init`, `status`, …
    pub subtype: String,
    /// The conversation it is in.
    #[serde(default)]
    pub session_id: Option<Uuid>,
    /// The background task that it tells of, if of one.
    #[serde(default)]
    pub task_id: Option<String>,
    /// What the task is for.
    #[serde(default)]
    pub description: Option<String>,
    /// How the task stands.
    #[serde(default)]
    pub status: Option<String>,
    /// What came of the task.
    #[serde(default)]
    pub summary: Option<String>,
    /// The call that began the task.
    #[serde(default)]
    pub tool_use_id: Option<String>,
}

/// A piece of the model's stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEvent {
    /// The piece.
    pub delta: StreamDelta,
    /// The call of the sub-agent whose stream it is, if it is one's.
    pub parent_tool_use_id: Option<String>,
}

/// What a piece of the model's stream says, as far as the server acts on it.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamDelta {
    /// A message begins.
    MessageStart,
    /// Text.
    Text(String),
    /// Thinking.
    Thinking(String),
    /// Why the message ends.
    StopReason(String),
    /// Anything else.
    Other,
}

/// A whole message of the assistant, or a block of one.
#[derive(Debug, Clone, PartialEq)]
pub struct AssistantMessage {
    /// The API's id of the message; the blocks of one message share it.
    pub id: Option<String>,
    /// The model that wrote it.
    pub model: Option<String>,
    /// Its blocks.
    pub content: Vec<ContentBlock>,
    /// Its blocks, verbatim.
    pub raw_content: Vec<Value>,
    /// The call of the sub-agent that wrote it, if one did.
    pub parent_tool_use_id: Option<String>,
}

/// A message in the user's role.
#[derive(Debug, Clone, PartialEq)]
pub struct UserMessage {
    /// Its blocks; a plain text is one block.
    pub content: Vec<ContentBlock>,
    /// The call of the sub-agent that it belongs to, if to one.
    pub parent_tool_use_id: Option<String>,
}

/// A block of a message, as far as the server acts on it.
#[derive(Debug, Clone, PartialEq)]
pub enum ContentBlock {
    /// Text.
    Text(String),
    /// A call of a tool.
    ToolUse {
        /// The call's id.
        id: String,
        /// The tool.
        name: String,
        /// What it is called with.
        input: Value,
    },
    /// What a tool answered.
    ToolResult {
        /// The call's id.
        tool_use_id: String,
        /// Text, or a list of blocks.
        content: Value,
        /// Whether the tool failed.
        is_error: bool,
    },
    /// Anything else.
    Other,
}

/// The end of a turn.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnResult {
    /// `success`, `error_during_execution`, `error_max_turns`, `error_max_budget_usd`, …
    pub subtype: String,
    /// Whether it ended in an error; can be so with `success` too.
    pub is_error: bool,
    /// The last text, or the error's.
    pub result: Option<String>,
    /// What went wrong.
    pub errors: Vec<String>,
    /// Why the model stopped.
    pub stop_reason: Option<String>,
    /// The status with which the model's API refused, if it did.
    pub api_error_status: Option<u16>,
    /// Tokens of this turn.
    pub usage: Usage,
    /// What the process has cost so far, this turn and those before.
    pub total_cost: MicroUsd,
    /// What this turn cost, where the CLI tells it.
    pub turn_cost: Option<MicroUsd>,
    /// The answer in the form that the session's schema asks for.
    pub structured_output: Option<Value>,
    /// The prompts that it answers, where the CLI tells them.
    pub prompts: Vec<Uuid>,
    /// The conversation it was in.
    pub session_id: Option<Uuid>,
}

impl TurnResult {
    /// Whether the CLI ends after this result.
    #[must_use]
    pub fn ends_process(&self) -> bool {
        matches!(self.subtype.as_str(), "error_max_turns" | "error_max_budget_usd")
    }
}

/// A line that is not a JSON object with a type.
#[derive(Debug, thiserror::Error)]
#[error("not a JSON object with a type")]
pub struct NotAMessage(#[source] serde_json::Error);

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl CliMessage {
    /// Reads a line.
    ///
    /// # Errors
    /// Only if it is not a JSON object with a type.
    pub fn parse(line: &str) -> Result<Self, NotAMessage> {
        let Typed { kind, fields } = serde_json::from_str(line).map_err(NotAMessage)?;
        if kind == "transcript_mirror" {
            // Read anew: its entries are carried as they are written.
            return Ok(transcript_mirror(line).unwrap_or(Self::Other { kind }));
        }
        Ok(read(&kind, Value::Object(fields)).unwrap_or(Self::Other { kind }))
    }
}

fn read(kind: &str, fields: Value) -> Option<CliMessage> {
    match kind {
        "system" => serde_json::from_value(fields).ok().map(CliMessage::System),
        "stream_event" => {
            let delta = stream_delta(fields.get("event")?);
            Some(CliMessage::StreamEvent(StreamEvent {
                delta,
                parent_tool_use_id: parent(&fields),
            }))
        }
        "assistant" => assistant(&fields).map(CliMessage::Assistant),
        "user" => Some(CliMessage::User(UserMessage {
            content: content_blocks(fields.get("message")?.get("content")?),
            parent_tool_use_id: parent(&fields),
        })),
        "result" => serde_json::from_value::<RawResult>(fields)
            .ok()
            .map(|raw| CliMessage::Result(raw.into())),
        "command_lifecycle" => Some(CliMessage::CommandLifecycle {
            prompt: text(&fields, "command_uuid").and_then(|id| id.parse().ok()),
            state: text(&fields, "state")?,
        }),
        "control_request" => control_request(&fields).map(CliMessage::ControlRequest),
        "control_response" => control_response(&fields).map(CliMessage::ControlResponse),
        "control_cancel_request" => Some(CliMessage::ControlCancelRequest {
            request_id: text(&fields, "request_id")?,
        }),
        _ => None,
    }
}

fn transcript_mirror(line: &str) -> Option<CliMessage> {
    #[derive(Deserialize)]
    struct Mirror<'a> {
        #[serde(rename = "filePath")]
        file: PathBuf,
        #[serde(borrow)]
        entries: Vec<&'a RawValue>,
    }
    let mirror: Mirror<'_> = serde_json::from_str(line).ok()?;
    Some(CliMessage::TranscriptMirror {
        file: mirror.file,
        lines: mirror
            .entries
            .iter()
            .map(|entry| entry.get().to_owned())
            .collect(),
    })
}

fn text(fields: &Value, name: &str) -> Option<String> {
    fields.get(name)?.as_str().map(ToOwned::to_owned)
}

fn parent(fields: &Value) -> Option<String> {
    text(fields, "parent_tool_use_id")
}

fn stream_delta(event: &Value) -> StreamDelta {
    let delta = event.get("delta").unwrap_or(&Value::Null);
    let read = match event.get("type").and_then(Value::as_str) {
        Some("message_start") => Some(StreamDelta::MessageStart),
        Some("content_block_delta") => match delta.get("type").and_then(Value::as_str) {
            Some("text_delta") => text(delta, "text").map(StreamDelta::Text),
            Some("thinking_delta") => text(delta, "thinking").map(StreamDelta::Thinking),
            _ => None,
        },
        Some("message_delta") => text(delta, "stop_reason").map(StreamDelta::StopReason),
        _ => None,
    };
    read.unwrap_or(StreamDelta::Other)
}

fn assistant(fields: &Value) -> Option<AssistantMessage> {
    let message = fields.get("message")?;
    let raw_content = message.get("content")?.as_array()?.clone();
    Some(AssistantMessage {
        id: text(message, "id"),
        model: text(message, "model"),
        content: raw_content.iter().map(content_block).collect(),
        raw_content,
        parent_tool_use_id: parent(fields),
    })
}

fn content_blocks(content: &Value) -> Vec<ContentBlock> {
    match content {
        Value::String(text) => vec![ContentBlock::Text(text.clone())],
        Value::Array(blocks) => blocks.iter().map(content_block).collect(),
        _ => Vec::new(),
    }
}

fn content_block(block: &Value) -> ContentBlock {
    let read = || match block.get("type")?.as_str()? {
        "text" => Some(ContentBlock::Text(text(block, "text")?)),
        "tool_use" => Some(ContentBlock::ToolUse {
            id: text(block, "id")?,
            name: text(block, "name")?,
            input: block.get("input").cloned().unwrap_or(Value::Null),
        }),
        "tool_result" => Some(ContentBlock::ToolResult {
            tool_use_id: text(block, "tool_use_id")?,
            content: block.get("content").cloned().unwrap_or(Value::Null),
            is_error: block.get("is_error").and_then(Value::as_bool).unwrap_or(false),
        }),
        _ => None,
    };
    read().unwrap_or(ContentBlock::Other)
}

#[derive(Deserialize)]
struct RawResult {
    subtype: String,
    #[serde(default)]
    is_error: bool,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    errors: Vec<Value>,
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(default)]
    api_error_status: Option<u16>,
    #[serde(default)]
    usage: Value,
    #[serde(default)]
    total_cost_usd: f64,
    #[serde(default)]
    model_usage_since_last_result: Option<Map<String, Value>>,
    #[serde(default)]
    structured_output: Option<Value>,
    #[serde(default)]
    user_message_uuid: Option<Uuid>,
    #[serde(default)]
    user_message_uuids: Vec<Uuid>,
    #[serde(default)]
    session_id: Option<Uuid>,
}

impl From<RawResult> for TurnResult {
    fn from(raw: RawResult) -> Self {
        let sum = |models: Map<String, Value>| {
            let cost = |model: &Value| Some(MicroUsd::from_usd(model.get("costUSD")?.as_f64()?));
            models
                .values()
                .filter_map(cost)
                .fold(MicroUsd::ZERO, MicroUsd::plus)
        };
        let turn_cost = raw.model_usage_since_last_result.map(sum);
        let as_text = |value: &Value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), ToOwned::to_owned)
        };
        let mut prompts = raw.user_message_uuids;
        prompts.extend(raw.user_message_uuid.filter(|_| prompts.is_empty()));
        Self {
            subtype: raw.subtype,
            is_error: raw.is_error,
            result: raw.result.as_str().map(ToOwned::to_owned),
            errors: raw.errors.iter().map(as_text).collect(),
            stop_reason: raw.stop_reason,
            api_error_status: raw.api_error_status,
            usage: serde_json::from_value(raw.usage).unwrap_or_default(),
            total_cost: MicroUsd::from_usd(raw.total_cost_usd),
            turn_cost,
            structured_output: raw.structured_output,
            prompts,
            session_id: raw.session_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(message: &Value) -> CliMessage {
        CliMessage::parse(&message.to_string()).unwrap()
    }

    #[test]
    fn what_the_cli_writes_down_is_carried_verbatim() {
        let line = r#"{"type":"transcript_mirror","filePath":"/h/projects/-w/c.jsonl","entries":[{"b":1.50, "a":"\u0041"},7]}"#;
        assert_eq!(
            CliMessage::parse(line).unwrap(),
            CliMessage::TranscriptMirror {
                file: "/h/projects/-w/c.jsonl".into(),
                lines: vec![r#"{"b":1.50, "a":"\u0041"}"#.to_owned(), "7".to_owned()],
            }
        );
        let odd = CliMessage::parse(r#"{"type":"transcript_mirror","entries":7}"#).unwrap();
        assert!(matches!(odd, CliMessage::Other { .. }), "{odd:?}");
    }

    #[test]
    fn a_result_tells_whose_it_is_and_what_the_turn_cost() {
        let id = "0199e2c8-a5b0-7c3f-9d1e-2a4b6c8d0e1f";
        // As CLI 2.1.329 writes it, shortened.
        let CliMessage::Result(result) = parse(&json!({
            "type": "result", "subtype": "success", "is_error": false, "result": "hello", "stop_reason": "end_turn",
            "session_id": id, "total_cost_usd": 0.00028, "num_turns": 1, "api_error_status": null,
            "usage": {"input_tokens": 10, "output_tokens": 5, "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 2, "server_tool_use": {"web_search_requests": 0}},
            "model_usage_since_last_result": {"a": {"costUSD": 0.0001}, "b": {"costUSD": 0.00004}},
            "user_message_uuid": id, "user_message_uuids": [id], "terminal_reason": "completed"
        })) else {
            panic!("not read as a result")
        };
        assert_eq!(
            (result.total_cost, result.turn_cost),
            (MicroUsd::new(280), Some(MicroUsd::new(140)))
        );
        assert_eq!(result.prompts, [id.parse::<Uuid>().unwrap()]);
        assert_eq!(
            (result.usage.input_tokens, result.usage.cache_read_input_tokens),
            (10, 2)
        );
        assert!(!result.ends_process());
    }

    #[test]
    fn an_older_result_without_the_newer_fields_is_read_too() {
        let read = parse(&json!({"type": "result", "subtype": "error_max_turns", "is_error": true}));
        let CliMessage::Result(result) = read else {
            panic!("{read:?}")
        };
        assert!(result.ends_process() && result.prompts.is_empty() && result.turn_cost.is_none());
    }

    #[test]
    fn what_is_new_or_odd_is_let_through() {
        for odd in [
            json!({"type": "message_of_next_year"}),
            json!({"type": "assistant", "message": "not an object"}),
            json!({"type": "result", "subtype": 5}),
            json!({"type": "system"}),
            json!({"type": "control_request", "request": {}}),
        ] {
            assert!(matches!(parse(&odd), CliMessage::Other { .. }), "{odd}");
        }
        let stream = parse(&json!({"type": "stream_event", "event": {"type": "event_of_next_year"}}));
        assert!(matches!(
            stream,
            CliMessage::StreamEvent(StreamEvent {
                delta: StreamDelta::Other,
                ..
            })
        ));
    }

    #[test]
    fn what_is_no_object_with_a_type_is_an_error() {
        for line in ["", "null", "3", "[1]", "{}", "{\"type\": 5}", "{\"type\": \"x\""] {
            assert!(CliMessage::parse(line).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_too_odd(line in "\\PC{0,80}", kind in "(system|assistant|user|result|stream_event|control_request)",
            field in "(message|event|request|response|subtype|content)", value in "(null|3|\\[\\]|\\{\\}|\"x\"|[a-z]{3})") {
            let _read = CliMessage::parse(&line);
            let _read = CliMessage::parse(&format!("{{\"type\": \"{kind}\", \"{field}\": {value}}}"));
        }
    }
}
