//! An answer: whole, or in chunks as it comes.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt as _};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::refusal::Refusal;
use super::requests::Asked;
use crate::dialects::frames::{self, Told};
use crate::domain::{EventKind, Usage};
use crate::service::{FeedItem, LogStream};

/// A completed chat.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenaiChatCompletion)]
pub(super) struct CompletionView {
    /// Its id.
    #[schema(example = "chatcmpl-0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    id: String,
    /// `chat.completion`.
    #[schema(example = "chat.completion")]
    object: &'static str,
    /// When it was asked for, in seconds since 1970.
    #[schema(example = 1_795_253_400)]
    created: i64,
    /// The model, as it was asked for.
    #[schema(example = "claude-code")]
    model: String,
    /// The answer, one.
    choices: Vec<ChoiceView>,
    /// What was used.
    usage: UsageView,
}

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenaiChoice)]
struct ChoiceView {
    /// 0.
    #[schema(example = 0)]
    index: u32,
    /// What was said.
    message: MessageView,
    /// Null: nothing is known of it.
    #[schema(required, value_type = Option<BTreeMap<String, Value>>, example = json!(null))]
    logprobs: Option<()>,
    /// Why it ended: `stop`, `length` or `content_filter`.
    #[schema(example = "stop")]
    finish_reason: &'static str,
}

/// What was said.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenaiMessage)]
struct MessageView {
    /// `assistant`.
    #[schema(example = "assistant")]
    role: &'static str,
    /// The text.
    #[schema(example = "There are two files: notes.txt and README.md.")]
    content: String,
    /// Null.
    #[schema(required, example = json!(null))]
    refusal: Option<String>,
}

/// A piece of an answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenaiChunk)]
pub(super) struct ChunkView {
    /// The completion's id.
    #[schema(example = "chatcmpl-0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    id: String,
    /// `chat.completion.chunk`.
    #[schema(example = "chat.completion.chunk")]
    object: &'static str,
    /// When it was asked for, in seconds since 1970.
    #[schema(example = 1_795_253_400)]
    created: i64,
    /// The model, as it was asked for.
    #[schema(example = "claude-code")]
    model: String,
    /// The piece; none in the chunk that tells what was used.
    choices: Vec<ChunkChoiceView>,
    /// What was used, in the last chunk, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    usage: Option<UsageView>,
}

/// A piece of an answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenaiChunkChoice)]
struct ChunkChoiceView {
    /// 0.
    #[schema(example = 0)]
    index: u32,
    /// What is added.
    delta: DeltaView,
    /// Why it ended, in the last piece.
    #[schema(required, example = json!(null))]
    finish_reason: Option<&'static str>,
}

/// What is added.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = OpenaiDelta)]
struct DeltaView {
    /// `assistant`, in the first piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "assistant")]
    role: Option<&'static str>,
    /// Text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "There are")]
    content: Option<String>,
}

/// What was used, in tokens.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = OpenaiUsage)]
struct UsageView {
    /// Of all that the model read.
    #[schema(example = 812)]
    prompt_tokens: u64,
    /// Of all that it wrote.
    #[schema(example = 96)]
    completion_tokens: u64,
    /// Both.
    #[schema(example = 908)]
    total_tokens: u64,
    /// Of what it read.
    prompt_tokens_details: PromptTokensView,
}

/// Tokens that were read.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = OpenaiPromptTokens)]
struct PromptTokensView {
    /// From the cache.
    #[schema(example = 640)]
    cached_tokens: u64,
}

impl From<Usage> for UsageView {
    fn from(usage: Usage) -> Self {
        let completion_tokens = usage.output_tokens;
        Self {
            prompt_tokens: usage.total().saturating_sub(completion_tokens),
            completion_tokens,
            total_tokens: usage.total(),
            prompt_tokens_details: PromptTokensView {
                cached_tokens: usage.cache_read_input_tokens,
            },
        }
    }
}

/// An answer that is to come.
pub(super) struct Answer {
    /// By the turn, as soon as that is known.
    id: String,
    created: i64,
    model: String,
    include_usage: bool,
    /// Whether calls of tools are told in the text.
    shows_tools: bool,
}

/// What an event adds to an answer.
enum Part {
    Text(String),
    /// The end of what was said so far does not count.
    Retracted(String),
    /// This, of what was said so far, counts.
    Kept(String),
    Done {
        finish_reason: &'static str,
        usage: UsageView,
    },
    Failed(Refusal),
    Nothing,
}

impl Answer {
    pub(super) fn new(asked: &Asked, now: DateTime<Utc>, shows_tools: bool) -> Self {
        Self {
            id: String::new(),
            created: now.timestamp(),
            model: asked.model.clone(),
            include_usage: asked.include_usage,
            shows_tools,
        }
    }

    fn part(&mut self, item: &FeedItem) -> Part {
        if let Some(turn) = item.turn.filter(|_| self.id.is_empty()) {
            self.id = format!("chatcmpl-{}", turn.as_uuid().simple());
        }
        let Ok(event) = serde_json::from_slice::<Value>(&item.json) else {
            return Part::Failed(Refusal::internal());
        };
        let text = |field: &str| event.get(field).and_then(Value::as_str).unwrap_or_default();
        match item.kind {
            EventKind::TextDelta => Part::Text(text("text").to_owned()),
            EventKind::TextRetracted => Part::Retracted(text("text").to_owned()),
            EventKind::TurnResumed => Part::Kept(text("text").to_owned()),
            EventKind::ToolUse if self.shows_tools && event.get("parent_tool_use_id").is_none() => {
                let input = event.get("tool_input").cloned().unwrap_or_default();
                Part::Text(format!("\n\n[{}] {input}\n\n", text("tool_name")))
            }
            EventKind::Done => {
                let usage: Usage = event
                    .get("usage")
                    .and_then(|usage| serde_json::from_value(usage.clone()).ok())
                    .unwrap_or_default();
                let finish_reason = match text("stop_reason") {
                    "max_tokens" | "max_turns" | "max_budget" => "length",
                    "refusal" => "content_filter",
                    _ => "stop",
                };
                Part::Done {
                    finish_reason,
                    usage: usage.into(),
                }
            }
            EventKind::Error => {
                Part::Failed(frames::failure(item).map_or_else(Refusal::internal, Refusal::from))
            }
            _ => Part::Nothing,
        }
    }

    /// The whole answer.
    pub(super) async fn whole(mut self, mut events: LogStream) -> Result<CompletionView, Refusal> {
        let mut content = String::new();
        while let Some(item) = events.next().await {
            match self.part(&*item?) {
                Part::Text(text) => content.push_str(&text),
                Part::Retracted(text) => {
                    let kept = content.strip_suffix(text.as_str()).map(str::len);
                    content.truncate(kept.unwrap_or(content.len()));
                }
                Part::Kept(text) => content = text,
                Part::Done { finish_reason, usage } => {
                    return Ok(CompletionView {
                        id: self.id,
                        object: "chat.completion",
                        created: self.created,
                        model: self.model,
                        choices: vec![ChoiceView {
                            index: 0,
                            message: MessageView {
                                role: "assistant",
                                content,
                                refusal: None,
                            },
                            logprobs: None,
                            finish_reason,
                        }],
                        usage,
                    });
                }
                Part::Failed(refusal) => return Err(refusal),
                Part::Nothing => {}
            }
        }
        Err(Refusal::internal())
    }

    /// The answer in chunks, as it comes.
    pub(super) fn into_chunks(
        mut self,
        events: LogStream,
        heartbeat: Duration,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> {
        let mut has_begun = false;
        frames::of_turn(events, heartbeat, move |told| {
            let part = match told {
                Told::Event(item) => self.part(item),
                Told::Broken(_words) => Part::Failed(Refusal::internal()),
            };
            let mut frames = Vec::new();
            if !has_begun {
                has_begun = true;
                frames.extend(self.piece(Some("assistant"), Some(String::new()), None));
            }
            match part {
                Part::Text(text) => frames.extend(self.piece(None, Some(text), None)),
                // What was told cannot be taken back.
                Part::Retracted(_) | Part::Kept(_) | Part::Nothing => {}
                Part::Done { finish_reason, usage } => {
                    frames.extend(self.piece(None, None, Some(finish_reason)));
                    if self.include_usage {
                        frames.extend(frames::data(&self.chunk(Vec::new(), Some(usage))));
                    }
                    frames.extend_from_slice(b"data: [DONE]\n\n");
                }
                Part::Failed(refusal) => frames.extend(frames::data(&refusal.into_view())),
            }
            frames
        })
    }

    fn piece(
        &self,
        role: Option<&'static str>,
        content: Option<String>,
        finish_reason: Option<&'static str>,
    ) -> Vec<u8> {
        let choice = ChunkChoiceView {
            index: 0,
            delta: DeltaView { role, content },
            finish_reason,
        };
        frames::data(&self.chunk(vec![choice], None))
    }

    fn chunk(&self, choices: Vec<ChunkChoiceView>, usage: Option<UsageView>) -> ChunkView {
        ChunkView {
            id: self.id.clone(),
            object: "chat.completion.chunk",
            created: self.created,
            model: self.model.clone(),
            choices,
            usage,
        }
    }
}
