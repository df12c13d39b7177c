//! Turns: a prompt goes in, its answer comes back whole or event by event.

use std::time::Duration;

use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, post, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use validator::{Validate, ValidationError};

use super::rules::rule;
use super::session_id;
use crate::api::ApiLimits;
use crate::api::auth::{AsMember, Caller};
use crate::api::input::{CheckRequest, ValidJson};
use crate::api::problem::{Problem, ProblemCode};
use crate::api::responses::{StreamProblems, TurnProblems};
use crate::api::sse;
use crate::domain::{EventBody, Principal, SessionId, ToolCall, Turn, Usage};
use crate::service::{Services, TurnOrder};

/// A prompt for a session.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
pub struct ChatRequest {
    /// The session.
    #[validate(required)]
    #[schema(required, nullable = false, example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    session_id: Option<String>,
    /// The prompt.
    #[validate(required, custom(function = "is_prompt", use_context))]
    #[schema(required, nullable = false, example = "What is in this folder?")]
    message: Option<String>,
    /// After how many seconds the turn is to be interrupted if it has not ended.
    #[validate(custom(function = "is_timeout", use_context))]
    #[schema(nullable = false, minimum = 1, example = 120)]
    timeout: Option<u64>,
}

impl CheckRequest for ChatRequest {}

/// A prompt for the session of the path.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
pub struct MessageRequest {
    /// The prompt.
    #[validate(required, custom(function = "is_prompt", use_context))]
    #[schema(required, nullable = false, example = "What is in this folder?")]
    message: Option<String>,
    /// After how many seconds the turn is to be interrupted if it has not ended.
    #[validate(custom(function = "is_timeout", use_context))]
    #[schema(nullable = false, minimum = 1, example = 120)]
    timeout: Option<u64>,
}

impl CheckRequest for MessageRequest {}

fn is_prompt(message: &str, limits: &ApiLimits) -> Result<(), ValidationError> {
    if message.trim().is_empty() {
        return Err(rule("blank", "must not be blank"));
    }
    if message.contains('\0') {
        return Err(rule("control_character", "must not hold NUL"));
    }
    if message.len() > limits.message_max_bytes {
        return Err(rule(
            "too_long",
            format!("must have at most {} bytes", limits.message_max_bytes),
        ));
    }
    Ok(())
}

fn is_timeout(seconds: u64, limits: &ApiLimits) -> Result<(), ValidationError> {
    let most = limits.turn_timeout_max.as_secs();
    if (1..=most).contains(&seconds) {
        Ok(())
    } else {
        Err(rule(
            "out_of_range",
            format!("must be between 1 and {most} seconds"),
        ))
    }
}

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatView {
    /// The session.
    session_id: String,
    /// The turn.
    turn_id: String,
    /// All that the assistant said, block after block, with a blank line between two.
    text: String,
    /// The tools that were called, in order.
    tool_calls: Vec<ToolCall>,
    /// Tokens used.
    usage: Usage,
    /// What the turn cost, in USD, by the CLI's own count.
    cost_usd: f64,
    /// Why the model stopped: `end_turn`, `max_tokens`, `max_turns`, `max_budget`, …
    #[schema(required)]
    stop_reason: Option<String>,
    /// When the turn ended.
    timestamp: DateTime<Utc>,
}

impl ChatView {
    fn of(turn: Turn) -> Option<Self> {
        let outcome = turn.outcome?;
        Some(Self {
            session_id: turn.session.to_string(),
            turn_id: turn.id.to_string(),
            text: outcome.text,
            tool_calls: outcome.tool_calls,
            usage: outcome.usage,
            cost_usd: outcome.cost.as_usd(),
            stop_reason: outcome.stop_reason,
            timestamp: outcome.ended_at,
        })
    }
}

/// One event of a stream: `data` of a server-sent event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StreamEvent)]
pub struct StreamEventView {
    /// Its place in the session's log, also the `id` of the server-sent event.
    id: u64,
    /// The turn.
    turn_id: String,
    /// When it was written.
    created_at: DateTime<Utc>,
    /// What happened.
    #[serde(flatten)]
    body: EventBody,
}

/// Send a message and wait for the answer
///
/// Runs one turn in the session that the body names. If the client leaves, the turn goes on, and its answer is in the
/// session's messages. A turn that does not complete is a problem that carries its `turn_id`.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Chat",
    operation_id = "chat",
    request_body = ChatRequest,
    responses(
        (status = 200, description = "The answer", body = ChatView),
        TurnProblems,
    )
)]
#[post("/api/v1/chat")]
pub(in crate::api) async fn chat(
    caller: Caller<AsMember>,
    body: ValidJson<ChatRequest>,
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let ChatRequest {
        session_id: session,
        message,
        timeout,
    } = body.0;
    let session = session_id(&session.unwrap_or_default())?;
    wait(&caller, &request, &services, order(session, message, timeout)).await
}

/// Send a message and follow the answer
///
/// Runs one turn in the session that the body names, and sends its events as they come, the last of them exactly one
/// `done` or `error`. What is wrong before the turn begins is an HTTP error, not a stream. If the client leaves, the
/// turn goes on, and its answer is in the session's messages.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Chat",
    operation_id = "stream_chat",
    request_body = ChatRequest,
    responses(
        (status = 200, description = "Server-sent events, each a `StreamEvent`", body = StreamEventView, content_type = "text/event-stream"),
        StreamProblems,
    )
)]
#[post("/api/v1/chat/stream")]
pub(in crate::api) async fn stream_chat(
    caller: Caller<AsMember>,
    body: ValidJson<ChatRequest>,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let ChatRequest {
        session_id: session,
        message,
        timeout,
    } = body.0;
    let session = session_id(&session.unwrap_or_default())?;
    follow(&caller, &services, &limits, order(session, message, timeout)).await
}

/// Send a message to a session and wait for the answer
///
/// As `POST /api/v1/chat`, with the session in the path.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Chat",
    operation_id = "send_message",
    params(("session_id" = String, Path, description = "The session")),
    request_body = MessageRequest,
    responses(
        (status = 200, description = "The answer", body = ChatView),
        TurnProblems,
    )
)]
#[post("/api/v1/sessions/{session_id}/messages")]
pub(in crate::api) async fn send_message(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    body: ValidJson<MessageRequest>,
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let order = order(session_id(&path)?, body.0.message, body.0.timeout);
    wait(&caller, &request, &services, order).await
}

/// Send a message to a session and follow the answer
///
/// As `POST /api/v1/chat/stream`, with the session in the path.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Chat",
    operation_id = "stream_message",
    params(("session_id" = String, Path, description = "The session")),
    request_body = MessageRequest,
    responses(
        (status = 200, description = "Server-sent events, each a `StreamEvent`", body = StreamEventView, content_type = "text/event-stream"),
        StreamProblems,
    )
)]
#[post("/api/v1/sessions/{session_id}/stream")]
pub(in crate::api) async fn stream_message(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    body: ValidJson<MessageRequest>,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let order = order(session_id(&path)?, body.0.message, body.0.timeout);
    follow(&caller, &services, &limits, order).await
}

fn order(session: SessionId, message: Option<String>, timeout: Option<u64>) -> TurnOrder {
    TurnOrder {
        session,
        message: message.unwrap_or_default(),
        timeout: timeout.map(Duration::from_secs),
    }
}

async fn wait(
    caller: &Principal,
    request: &HttpRequest,
    services: &Services,
    order: TurnOrder,
) -> Result<HttpResponse, Problem> {
    let turn = services.turns.run(caller, order).await?;
    request.extensions_mut().insert(turn.id);
    let view = ChatView::of(turn).ok_or_else(|| Problem::new(ProblemCode::Internal))?;
    Ok(HttpResponse::Ok().json(view))
}

async fn follow(
    caller: &Principal,
    services: &Services,
    limits: &ApiLimits,
    order: TurnOrder,
) -> Result<HttpResponse, Problem> {
    let events = services.turns.stream(caller, order).await?;
    Ok(sse::response(events, limits.heartbeat))
}
