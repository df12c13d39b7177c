//! What is answered.

use actix_web::HttpRequest;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::super::iso;
use super::requests::Send;
use crate::service::{HealthReport, SessionDetails, SessionState};

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsHealth)]
pub(super) struct HealthView {
    /// `healthy` or `unhealthy`.
    #[schema(example = "healthy")]
    status: &'static str,
    /// When that is so.
    #[schema(example = "2026-11-21T09:30:00.000Z")]
    timestamp: String,
    /// How many sessions there are.
    sessions: SessionCountView,
}

/// How many sessions there are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsSessionCount)]
struct SessionCountView {
    /// That are active.
    #[schema(example = 12)]
    active: u64,
    /// The same: others are not counted.
    #[schema(example = 12)]
    total: u64,
}

impl HealthView {
    pub(super) fn new(report: &HealthReport, now: DateTime<Utc>) -> Self {
        let active = report.active_sessions.unwrap_or_default();
        Self {
            status: if report.healthy { "healthy" } else { "unhealthy" },
            timestamp: iso(now),
            sessions: SessionCountView {
                active,
                total: active,
            },
        }
    }
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsModel)]
pub(super) struct ModelView {
    /// What to ask for it with.
    #[schema(example = "opus")]
    pub(super) id: String,
    /// What people call it.
    #[schema(example = "Opus")]
    pub(super) name: String,
}

/// Models.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsModels)]
pub(super) struct ModelsView {
    /// The models.
    pub(super) models: Vec<ModelView>,
}

/// A session that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsCreated)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreatedView {
    /// Its id.
    #[schema(example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    session_id: String,
    /// Its model, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "opus")]
    model: Option<String>,
    /// `active`, `expired` or `ended`.
    #[schema(example = "active")]
    status: &'static str,
    /// When it was made.
    #[schema(example = "2026-11-21T09:30:00.000Z")]
    created_at: String,
    /// When it expires if it is not used; null: never.
    #[schema(required, example = "2026-11-28T09:30:00.000Z")]
    expires_at: Option<String>,
}

impl From<&SessionDetails> for CreatedView {
    fn from(details: &SessionDetails) -> Self {
        Self {
            session_id: details.session.id.to_string(),
            model: details.session.options.model.clone(),
            status: match details.state {
                SessionState::Active => "active",
                SessionState::Expired => "expired",
                SessionState::Closed => "ended",
            },
            created_at: iso(details.session.created_at),
            expires_at: details.expires_at.map(iso),
        }
    }
}

/// A session in a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsListed)]
pub(super) struct ListedView {
    #[serde(flatten)]
    session: CreatedView,
    /// What its client attached.
    #[schema(value_type = BTreeMap<String, Value>, example = json!({"ticket": "OPS-1234"}))]
    metadata: Map<String, Value>,
}

/// Sessions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsList)]
pub(super) struct ListView {
    /// The sessions.
    sessions: Vec<ListedView>,
    /// How many these are.
    #[schema(example = 1)]
    total: usize,
}

impl ListView {
    pub(super) fn of(found: &[SessionDetails]) -> Self {
        let view = |details: &SessionDetails| ListedView {
            session: details.into(),
            metadata: details.session.metadata.clone(),
        };
        Self {
            sessions: found.iter().map(view).collect(),
            total: found.len(),
        }
    }
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsSession)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionView {
    #[serde(flatten)]
    session: CreatedView,
    /// When it was last used.
    #[schema(example = "2026-11-21T09:30:00.000Z")]
    last_activity: String,
    /// How many prompts it had.
    #[schema(example = 3)]
    message_count: u64,
    /// How its agents are run.
    config: ConfigView,
    /// What its client attached.
    #[schema(value_type = BTreeMap<String, Value>, example = json!({"ticket": "OPS-1234"}))]
    metadata: Map<String, Value>,
}

/// How a session's agents are run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsConfig)]
#[serde(rename_all = "camelCase")]
struct ConfigView {
    /// The folder that they work in.
    #[schema(example = "/var/lib/paddock/workspaces/default/alice/my-project")]
    cwd: String,
    /// What tools may do without asking.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "acceptEdits")]
    permission_mode: Option<String>,
    /// The most model requests of a turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 10)]
    max_turns: Option<u32>,
}

impl From<&SessionDetails> for SessionView {
    fn from(details: &SessionDetails) -> Self {
        let session = &details.session;
        Self {
            session: details.into(),
            last_activity: iso(session.last_active_at),
            message_count: session.message_count,
            config: ConfigView {
                cwd: details.cwd.display().to_string(),
                permission_mode: session.options.permission_mode.map(|mode| mode.to_string()),
                max_turns: session.options.max_turns,
            },
            metadata: session.metadata.clone(),
        }
    }
}

/// What comes of a prompt.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsSent)]
#[serde(untagged)]
pub(super) enum SendView {
    /// The answer.
    Answered(AnsweredView),
    /// Where the answer can be followed.
    Redirect(RedirectView),
}

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsAnswer)]
#[serde(rename_all = "camelCase")]
pub(super) struct AnsweredView {
    /// The turn, as a UUID.
    #[schema(example = "0199e2c8-a5b0-7c3f-9d1e-2a4b6c8d0e1f")]
    pub(super) message_id: String,
    /// The CLI's result.
    #[schema(example = "There are two files: notes.txt and README.md.")]
    pub(super) response: String,
    /// The CLI's id of the conversation.
    #[schema(example = "3f2a1b0c-9d8e-4f7a-8b6c-5d4e3f2a1b0c")]
    pub(super) session_id: Option<String>,
}

/// Where an answer can be followed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsRedirect)]
#[serde(rename_all = "camelCase")]
pub(super) struct RedirectView {
    /// That it can.
    #[schema(example = "Use SSE endpoint for streaming responses")]
    message: &'static str,
    /// Where.
    #[schema(example = "/api/v1/sessions/ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f/stream")]
    stream_url: String,
    /// `POST`.
    #[schema(example = "POST")]
    method: &'static str,
    /// With these headers.
    #[schema(value_type = BTreeMap<String, Value>, example = json!({"Content-Type": "application/json", "Accept": "text/event-stream"}))]
    headers: Value,
    /// And this body.
    #[schema(value_type = BTreeMap<String, Value>, example = json!({"prompt": "What is in this folder?"}))]
    body: Value,
}

impl RedirectView {
    pub(super) fn new(request: &HttpRequest, asked: &Send) -> Self {
        let mut body = json!({"prompt": asked.prompt});
        if let (Some(timeout), Some(body)) = (asked.timeout_ms, body.as_object_mut()) {
            body.insert("timeout".to_owned(), timeout.into());
        }
        let path = request.path();
        let session = path.strip_suffix("/messages").unwrap_or(path);
        Self {
            message: "Use SSE endpoint for streaming responses",
            stream_url: format!("{session}/stream"),
            method: "POST",
            headers: json!({"Content-Type": "application/json", "Accept": "text/event-stream"}),
            body,
        }
    }
}

/// What a server-sent event holds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsEvent)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(super) enum SseView {
    /// `message`: a message of the CLI's.
    Message {
        /// `claude_code_message`.
        #[serde(rename = "type")]
        #[schema(example = "claude_code_message")]
        kind: &'static str,
        /// The CLI's id of the conversation.
        #[schema(example = "3f2a1b0c-9d8e-4f7a-8b6c-5d4e3f2a1b0c")]
        session_id: Option<String>,
        /// The message.
        #[schema(value_type = BTreeMap<String, Value>, example = json!({"type": "assistant", "message": {"role": "assistant", "content": [{"type": "text", "text": "There are two files: notes.txt and README.md."}]}}))]
        message: Value,
        /// When it was said.
        #[schema(example = "2026-11-21T09:30:00.000Z")]
        timestamp: String,
        /// The how many-th of the turn it is, from 1.
        #[schema(example = 1)]
        sequence: u32,
    },
    /// `complete`: the turn has completed. The last one.
    Complete {
        /// The CLI's result.
        #[schema(example = "There are two files: notes.txt and README.md.")]
        summary: String,
        /// The CLI's id of the conversation.
        #[schema(example = "3f2a1b0c-9d8e-4f7a-8b6c-5d4e3f2a1b0c")]
        session_id: Option<String>,
    },
    /// `error`: the turn did not complete. The last one.
    Error {
        /// Why.
        #[schema(example = "the agent ended unexpectedly")]
        error: String,
    },
    /// `connected`: the first one.
    #[schema(max_properties = 1)]
    Connected {
        /// The session.
        #[schema(example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
        session_id: String,
    },
}

/// A part of a history.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsHistory)]
#[serde(rename_all = "camelCase")]
pub(super) struct HistoryView {
    /// The session.
    #[schema(example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    pub(super) session_id: String,
    /// The messages, oldest first.
    pub(super) messages: Vec<HistoryEntryView>,
    /// Which part it is.
    pub(super) pagination: PaginationView,
}

/// A message of a history.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsHistoryEntry)]
pub(super) struct HistoryEntryView {
    /// Its place in the session's log.
    #[schema(example = 42)]
    pub(super) id: u64,
    /// `user`, `assistant`, `system`, `result`, or whatever the CLI says.
    #[serde(rename = "type")]
    #[schema(example = "assistant")]
    pub(super) kind: String,
    /// What the CLI says besides.
    #[schema(required, example = json!(null))]
    pub(super) subtype: Option<String>,
    /// The message.
    #[schema(value_type = BTreeMap<String, Value>, example = json!({"type": "assistant", "message": {"role": "assistant", "content": [{"type": "text", "text": "There are two files: notes.txt and README.md."}]}}))]
    pub(super) content: Value,
    /// The how many-th of its turn it is; the prompt is 0.
    #[schema(example = 1)]
    pub(super) sequence: u32,
    /// When, in UTC: `YYYY-MM-DD HH:MM:SS`.
    #[schema(example = "2026-11-21 09:30:00")]
    pub(super) timestamp: String,
    /// `user` for prompts, `sdk` for the CLI's messages.
    #[schema(example = "sdk")]
    pub(super) source: &'static str,
}

/// Which part of a history it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsPagination)]
#[serde(rename_all = "camelCase")]
pub(super) struct PaginationView {
    /// The most messages.
    #[schema(example = 100)]
    pub(super) limit: usize,
    /// How many come before.
    #[schema(example = 0)]
    pub(super) offset: usize,
    /// How many there are.
    #[schema(example = 2)]
    pub(super) total: usize,
    /// Whether there are any after these.
    pub(super) has_more: bool,
}
