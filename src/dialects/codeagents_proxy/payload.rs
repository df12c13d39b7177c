//! The CLI's messages as this system tells them: fewer fields, and numbers from 1 on.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::super::verbatim::{Heard, Listener};
use crate::service::FeedItem;

/// One of the CLI's messages, as far as it is told.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CodeagentsProxyEvent)]
#[serde(untagged)]
#[schema(example = json!({"type": "assistant", "message": {"role": "assistant", "model": "claude-opus-5-5", "content": [{"type": "text", "text": "There are two files: notes.txt and README.md."}]}}))]
pub(super) enum Payload {
    /// `system`: as the CLI says it.
    #[schema(value_type = SystemPayload)]
    System(Value),
    /// `assistant` or `user`: a message.
    Message(MessagePayload),
    /// `result`: the run is over. The last one.
    Result(Box<ResultPayload>),
}

/// What the CLI says of itself.
#[derive(Debug, ToSchema)]
#[schema(as = CodeagentsProxySystem)]
#[expect(dead_code, reason = "says in the document what `told` hands on")]
struct SystemPayload {
    /// `system`.
    #[schema(rename = "type", pattern = "^system$", example = "system")]
    kind: String,
    /// What it is about; `init` at the beginning.
    #[schema(example = "init")]
    subtype: Option<String>,
}

/// A message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CodeagentsProxyMessage)]
pub(super) struct MessagePayload {
    /// `assistant` or `user`.
    #[serde(rename = "type")]
    #[schema(example = "assistant")]
    kind: &'static str,
    /// The message: `role`, `content`, and of the assistant's the `model`.
    #[schema(value_type = BTreeMap<String, Value>, example = json!({"role": "assistant", "model": "claude-opus-5-5", "content": [{"type": "text", "text": "There are two files: notes.txt and README.md."}]}))]
    message: ContentPayload,
}

/// What a message says.
#[derive(Debug, Serialize)]
struct ContentPayload {
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<Value>,
    content: Value,
}

/// The end of a run.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = CodeagentsProxyResult)]
pub(super) struct ResultPayload {
    /// `result`.
    #[serde(rename = "type")]
    #[schema(example = "result")]
    kind: &'static str,
    /// The CLI's word for how it ended; `proxy_error` or `proxy_finished` where the CLI said nothing.
    #[schema(example = "success")]
    subtype: String,
    /// How long it took, in milliseconds.
    #[schema(example = 2150)]
    duration_ms: u64,
    /// How long the model took of that.
    #[schema(example = 1900)]
    duration_api_ms: u64,
    /// Whether it failed.
    is_error: bool,
    /// How many model requests it took.
    #[schema(example = 1)]
    num_turns: u64,
    /// The CLI's id of the conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "3f2a1b0c-9d8e-4f7a-8b6c-5d4e3f2a1b0c")]
    session_id: Option<String>,
    /// What it cost, in USD, by the CLI's own count.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 0.0042)]
    total_cost_usd: Option<f64>,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, Value>>, nullable = false, example = json!({"input_tokens": 812, "output_tokens": 96}))]
    usage: Option<Value>,
    /// What was said at last, or why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "There are two files: notes.txt and README.md.")]
    result: Option<String>,
    /// The answer in the form that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, Value>>, nullable = false, example = json!({"files": 2}))]
    structured_output: Option<Value>,
}

/// Counts what is told of a log.
#[derive(Debug, Default)]
pub(super) struct Numbered {
    listener: Listener,
    last: u64,
}

impl Numbered {
    /// The number of an event, and the event as it is told, if it is.
    pub(super) fn take(&mut self, item: &FeedItem) -> Option<(u64, String)> {
        let payload = match self.listener.hear(item) {
            Heard::Message { message, .. } => told(message)?,
            Heard::Unsaid(error) => Payload::Result(Box::new(ended(error))),
            Heard::Over | Heard::Nothing => return None,
        };
        let json = serde_json::to_string(&payload).ok()?;
        self.last += 1;
        Some((self.last, json))
    }
}

/// Of a run that the CLI did not end.
fn ended(error: Option<String>) -> ResultPayload {
    ResultPayload {
        kind: "result",
        subtype: if error.is_some() {
            "proxy_error"
        } else {
            "proxy_finished"
        }
        .to_owned(),
        is_error: error.is_some(),
        result: error.map(|error| format!("ERROR: {error}")),
        ..ResultPayload::default()
    }
}

/// One of the CLI's messages as it is told, if it is.
fn told(mut message: Value) -> Option<Payload> {
    let kind = match message.get("type")?.as_str()? {
        "system" => return Some(Payload::System(message)),
        "assistant" => "assistant",
        "user" => "user",
        "result" => return Some(Payload::Result(Box::new(result(&mut message)))),
        _ => return None,
    };
    let inner = message.get_mut("message")?;
    let content = match inner.get_mut("content")?.take() {
        Value::Array(blocks) => Value::Array(blocks.iter().filter_map(block).collect()),
        text => text,
    };
    let model = (kind == "assistant")
        .then(|| inner.get("model").cloned())
        .flatten();
    Some(Payload::Message(MessagePayload {
        kind,
        message: ContentPayload {
            role: kind,
            model,
            content,
        },
    }))
}

fn block(block: &Value) -> Option<Value> {
    let fields: &[&str] = match block.get("type")?.as_str()? {
        "text" => &["text"],
        "thinking" => &["thinking", "signature"],
        "tool_use" => &["id", "name", "input"],
        "tool_result" => &["tool_use_id", "content", "is_error"],
        _ => return None,
    };
    let mut kept = Map::new();
    kept.insert("type".to_owned(), json!(block.get("type")?));
    for field in fields {
        if let Some(value) = block.get(*field).filter(|value| !value.is_null()) {
            kept.insert((*field).to_owned(), value.clone());
        }
    }
    Some(Value::Object(kept))
}

fn result(message: &mut Value) -> ResultPayload {
    let number = |field: &str| message.get(field).and_then(Value::as_u64).unwrap_or_default();
    let text = |field: &str| message.get(field).and_then(Value::as_str).map(ToOwned::to_owned);
    ResultPayload {
        kind: "result",
        subtype: text("subtype").unwrap_or_default(),
        duration_ms: number("duration_ms"),
        duration_api_ms: number("duration_api_ms"),
        is_error: message
            .get("is_error")
            .and_then(Value::as_bool)
            .unwrap_or_default(),
        num_turns: number("num_turns"),
        session_id: text("session_id"),
        total_cost_usd: message.get("total_cost_usd").and_then(Value::as_f64),
        result: text("result"),
        usage: message.get_mut("usage").map(Value::take),
        structured_output: message.get_mut("structured_output").map(Value::take),
    }
}
