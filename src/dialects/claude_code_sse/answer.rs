//! An answer as frames: pieces of text gathered to whole messages, so that nothing told has to be taken back.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::dialects::frames::{self, Told};
use crate::dialects::iso_of;
use crate::domain::{EventKind, SessionId};
use crate::service::{FeedItem, LogStream};

/// A frame of an answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaudeCodeSseFrame)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Frame {
    /// The first one.
    Connected {
        /// The session.
        #[serde(rename = "sessionId")]
        #[schema(example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
        session_id: String,
    },
    /// A whole message of the assistant.
    Message {
        /// Its text.
        #[schema(example = "There are two files: notes.txt and README.md.")]
        content: String,
        /// When it was said.
        #[schema(example = "2026-11-21T09:30:00.000Z")]
        timestamp: String,
    },
    /// The assistant calls a tool.
    ToolUse {
        /// The tool.
        tool: ToolView,
        /// When it is called.
        #[schema(example = "2026-11-21T09:30:00.000Z")]
        timestamp: String,
    },
    /// The turn did not complete. The last one.
    Error {
        /// Why.
        #[schema(example = "the agent ended unexpectedly")]
        error: String,
        /// When.
        #[schema(example = "2026-11-21T09:30:00.000Z")]
        timestamp: String,
    },
    /// The turn has completed. The last one.
    Completed {
        /// What it came to: `text`, `usage`, `cost_usd`, `stop_reason`.
        #[schema(value_type = BTreeMap<String, Value>, example = json!({"text": "There are two files: notes.txt and README.md.", "usage": {"input_tokens": 812, "output_tokens": 96}, "cost_usd": 0.0042, "stop_reason": "end_turn"}))]
        result: Value,
        /// When.
        #[schema(example = "2026-11-21T09:30:00.000Z")]
        timestamp: String,
    },
}

/// A tool that is called.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaudeCodeSseTool)]
pub(super) struct ToolView {
    /// Its name.
    #[schema(example = "Bash")]
    name: String,
    /// What it is called with.
    #[schema(value_type = BTreeMap<String, Value>, example = json!({"command": "ls"}))]
    input: Value,
}

/// All frames of a turn.
pub(super) fn frames_of(
    session: SessionId,
    events: LogStream,
    heartbeat: Duration,
) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
    let connected = Frame::Connected {
        session_id: session.to_string(),
    };
    let first = stream::iter([Ok(Bytes::from(frames::data(&connected)))]);
    let mut speech = Speech::default();
    first.chain(frames::of_turn(events, heartbeat, move |told| {
        speech.frames(told).iter().flat_map(frames::data).collect()
    }))
}

/// Gathers pieces of text to whole messages, which are what this dialect tells: so nothing has to be taken back.
#[derive(Default)]
struct Speech {
    /// What was said since the last message.
    text: String,
    /// All that was said in messages.
    told: String,
    /// When the last event was.
    timestamp: String,
}

impl Speech {
    fn frames(&mut self, told: Told<'_>) -> Vec<Frame> {
        let item = match told {
            Told::Event(item) => item,
            Told::Broken(words) => {
                return vec![Frame::Error {
                    error: words.to_owned(),
                    timestamp: self.timestamp.clone(),
                }];
            }
        };
        let Ok(event) = serde_json::from_slice::<Value>(&item.json) else {
            return Vec::new();
        };
        let at = event.get("created_at").and_then(Value::as_str);
        self.timestamp = iso_of(at.unwrap_or_default());
        self.frames_of(item, &event)
    }

    fn frames_of(&mut self, item: &FeedItem, event: &Value) -> Vec<Frame> {
        let text = |field: &str| event.get(field).and_then(Value::as_str).unwrap_or_default();
        let timestamp = self.timestamp.clone();
        match item.kind {
            EventKind::TextDelta => {
                self.text.push_str(text("text"));
                Vec::new()
            }
            EventKind::TextRetracted => {
                if let Some(kept) = self.text.strip_suffix(text("text")) {
                    self.text = kept.to_owned();
                }
                Vec::new()
            }
            EventKind::TurnResumed => {
                // What was told in messages stays; what was not is told anew.
                let rest = text("text").strip_prefix(self.told.as_str());
                rest.unwrap_or_default().clone_into(&mut self.text);
                Vec::new()
            }
            EventKind::ToolUse if event.get("parent_tool_use_id").is_none() => {
                let mut frames = self.message();
                frames.push(Frame::ToolUse {
                    tool: ToolView {
                        name: text("tool_name").to_owned(),
                        input: event.get("tool_input").cloned().unwrap_or_default(),
                    },
                    timestamp,
                });
                frames
            }
            EventKind::Done => {
                let mut frames = self.message();
                let part = |field: &str| event.get(field).cloned().unwrap_or_default();
                frames.push(Frame::Completed {
                    result: json!({"text": part("text"), "usage": part("usage"), "cost_usd": part("cost_usd"),
                        "stop_reason": part("stop_reason")}),
                    timestamp,
                });
                frames
            }
            EventKind::Error => {
                let mut frames = self.message();
                frames.push(Frame::Error {
                    error: text("error").to_owned(),
                    timestamp,
                });
                frames
            }
            _ => Vec::new(),
        }
    }

    /// What was said since the last message, if anything was.
    fn message(&mut self) -> Vec<Frame> {
        let said = std::mem::take(&mut self.text);
        self.told.push_str(&said);
        let content = said.trim_start_matches('\n').to_owned();
        if content.is_empty() {
            return Vec::new();
        }
        vec![Frame::Message {
            content,
            timestamp: self.timestamp.clone(),
        }]
    }
}
