//! The chunks of an answer, as they come.

use std::time::Duration;

use actix_web::HttpResponse;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::frames::{self, Told};
use super::refusal::Refusal;
use crate::domain::EventKind;
use crate::service::{FeedItem, LogStream};

/// What is sent of a turn's events.
const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

/// A chunk. All fields are always there.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ClaudeAgentHttpChunk)]
pub(super) struct ChunkView {
    /// `text_delta`, `tool_use`, `done` or `error`.
    #[serde(rename = "type")]
    #[schema(example = "text")]
    kind: &'static str,
    /// A piece of the answer.
    #[schema(example = "There are")]
    text: Option<String>,
    /// The tool that is called.
    #[schema(example = "Bash")]
    tool_name: Option<String>,
    /// What it is called with.
    #[schema(value_type = Option<BTreeMap<String, Value>>, example = json!({"command": "ls"}))]
    tool_input: Option<Value>,
    /// Why the turn did not complete.
    #[schema(example = json!(null))]
    error: Option<String>,
}

impl ChunkView {
    fn error(words: String) -> Self {
        Self {
            kind: "error",
            error: Some(words),
            ..Self::default()
        }
    }

    /// The chunk that an event is, if it is one.
    fn of(item: &FeedItem) -> Option<Self> {
        let event: Value = serde_json::from_slice(&item.json).ok()?;
        let text = |field: &str| Some(event.get(field)?.as_str()?.to_owned());
        match item.kind {
            EventKind::TextDelta => Some(Self {
                kind: "text_delta",
                text: text("text"),
                ..Self::default()
            }),
            EventKind::ToolUse if event.get("parent_tool_use_id").is_none() => Some(Self {
                kind: "tool_use",
                tool_name: text("tool_name"),
                tool_input: event.get("tool_input").cloned(),
                ..Self::default()
            }),
            EventKind::Done => Some(Self {
                kind: "done",
                ..Self::default()
            }),
            EventKind::Error => Some(Self::error(text("error").unwrap_or_default())),
            _ => None,
        }
    }
}

/// A response that sends a turn's chunks on.
pub(super) fn response(events: LogStream, heartbeat: Duration) -> HttpResponse {
    let chunks = frames::of_turn(events, heartbeat, |told| {
        let chunk = match told {
            Told::Event(item) => ChunkView::of(item),
            Told::Broken(words) => Some(ChunkView::error(words.to_owned())),
        };
        chunk.map(|chunk| frames::data(&chunk)).unwrap_or_default()
    });
    frames::response(EVENT_STREAM).streaming(chunks)
}

/// A response that says in a chunk why there is no turn; where that is no chunk, why it is refused.
pub(super) fn refused(refusal: Refusal) -> Result<HttpResponse, Refusal> {
    let Some(words) = refusal.as_chunk() else {
        return Err(refusal);
    };
    // Of two fields, and spaced: so does the original.
    let frame = format!(
        "data: {{\"type\": \"error\", \"error\": {}}}\n\n",
        Value::from(words)
    );
    Ok(frames::response(EVENT_STREAM).body(frame))
}
