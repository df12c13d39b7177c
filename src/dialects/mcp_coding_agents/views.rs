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
    status: &'static str,
    /// When that is so.
    timestamp: String,
    /// How many sessions there are.
    sessions: SessionCountView,
}

/// How many sessions there are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsSessionCount)]
struct SessionCountView {
    /// That are active.
    active: u64,
    /// The same: others are not counted.
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
    pub(super) id: String,
    /// What people call it.
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
    session_id: String,
    /// Its model, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    model: Option<String>,
    /// `active`, `expired` or `ended`.
    status: &'static str,
    /// When it was made.
    created_at: String,
    /// When it expires if it is not used; null: never.
    #[schema(required)]
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
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
}

/// Sessions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsList)]
pub(super) struct ListView {
    /// The sessions.
    sessions: Vec<ListedView>,
    /// How many these are.
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
    last_activity: String,
    /// How many prompts it had.
    message_count: u64,
    /// How its agents are run.
    config: ConfigView,
    /// What its client attached.
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
}

/// How a session's agents are run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsConfig)]
#[serde(rename_all = "camelCase")]
struct ConfigView {
    /// The folder that they work in.
    cwd: String,
    /// What tools may do without asking.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    permission_mode: Option<String>,
    /// The most model requests of a turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
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
    pub(super) message_id: String,
    /// The CLI's result.
    pub(super) response: String,
    /// The CLI's id of the conversation.
    pub(super) session_id: Option<String>,
}

/// Where an answer can be followed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsRedirect)]
#[serde(rename_all = "camelCase")]
pub(super) struct RedirectView {
    /// That it can.
    message: &'static str,
    /// Where.
    stream_url: String,
    /// `POST`.
    method: &'static str,
    /// With these headers.
    #[schema(value_type = Object)]
    headers: Value,
    /// And this body.
    #[schema(value_type = Object)]
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
        kind: &'static str,
        /// The CLI's id of the conversation.
        session_id: Option<String>,
        /// The message.
        #[schema(value_type = Object)]
        message: Value,
        /// When it was said.
        timestamp: String,
        /// The how many-th of the turn it is, from 1.
        sequence: u32,
    },
    /// `complete`: the turn has completed. The last one.
    Complete {
        /// The CLI's result.
        summary: String,
        /// The CLI's id of the conversation.
        session_id: Option<String>,
    },
    /// `error`: the turn did not complete. The last one.
    Error {
        /// Why.
        error: String,
    },
    /// `connected`: the first one.
    Connected {
        /// The session.
        session_id: String,
    },
}

/// A part of a history.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsHistory)]
#[serde(rename_all = "camelCase")]
pub(super) struct HistoryView {
    /// The session.
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
    pub(super) id: u64,
    /// `user`, `assistant`, `system`, `result`, or whatever the CLI says.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// What the CLI says besides.
    #[schema(required)]
    pub(super) subtype: Option<String>,
    /// The message.
    #[schema(value_type = Object)]
    pub(super) content: Value,
    /// The how many-th of its turn it is; the prompt is 0.
    pub(super) sequence: u32,
    /// When, in UTC: `YYYY-MM-DD HH:MM:SS`.
    pub(super) timestamp: String,
    /// `user` for prompts, `sdk` for the CLI's messages.
    pub(super) source: &'static str,
}

/// Which part of a history it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsPagination)]
#[serde(rename_all = "camelCase")]
pub(super) struct PaginationView {
    /// The most messages.
    pub(super) limit: usize,
    /// How many come before.
    pub(super) offset: usize,
    /// How many there are.
    pub(super) total: usize,
    /// Whether there are any after these.
    pub(super) has_more: bool,
}
