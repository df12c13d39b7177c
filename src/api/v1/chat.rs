//! Turns: a prompt goes in, its answer comes back whole or event by event.

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, post, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use validator::{Validate, ValidationError};

use super::events::{LastEventId, StreamEventView};
use super::rules::rule;
use super::session_id;
use super::turns::TurnView;
use crate::api::ApiLimits;
use crate::api::auth::{AsMember, Caller};
use crate::api::idempotency::IdempotencyKey;
use crate::api::input::{CheckRequest, ValidJson};
use crate::api::problem::{Problem, ProblemCode};
use crate::api::responses::{StreamProblems, SubmitProblems, TurnProblems};
use crate::api::streams::{self, Framing};
use crate::domain::{Principal, SessionId, ToolCall, Turn, Usage};
use crate::service::{NewAttachment, OnBusy, OnLost, Once, Services, TurnOrder, is_supported};

/// Defines a request that gives a session a prompt, with these fields before the common ones.
macro_rules! prompt_request {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        #[derive(Debug, Deserialize, Validate, ToSchema)]
        #[serde(deny_unknown_fields)]
        #[validate(context = ApiLimits)]
        $(#[$doc])*
        pub struct $name {
            $($(#[$field_doc])* $field: $type,)*
            /// The prompt.
            #[validate(required, custom(function = "is_prompt", use_context))]
            #[schema(required, nullable = false, example = "What is in this folder?")]
            message: Option<String>,
            /// Images and documents that go with it.
            #[validate(custom(function = "are_attachments", use_context))]
            #[schema(nullable = false)]
            attachments: Option<Vec<AttachmentRequest>>,
            /// After how many seconds the turn is to be interrupted if it has not ended.
            #[validate(custom(function = "is_timeout", use_context))]
            #[schema(nullable = false, minimum = 1, example = 120)]
            timeout: Option<u64>,
            /// What is done when the session has a turn already; `reject` when absent.
            #[schema(nullable = false)]
            on_busy: Option<OnBusyRequest>,
            /// What is done when the CLI no longer has the conversation; `fail` when absent.
            #[schema(nullable = false)]
            on_lost: Option<OnLostRequest>,
        }

        impl CheckRequest for $name {}

        impl $name {
            fn prompt(self) -> Prompt {
                Prompt {
                    message: self.message.unwrap_or_default(),
                    attachments: self.attachments.unwrap_or_default(),
                    timeout: self.timeout,
                    on_busy: self.on_busy.unwrap_or(OnBusyRequest::Reject),
                    on_lost: self.on_lost.unwrap_or(OnLostRequest::Fail),
                }
            }
        }
    };
}

prompt_request! {
    /// A prompt for a session.
    #[schema(example = json!({"session_id": "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f", "message": "What is in this folder?", "timeout": 120}))]
    ChatRequest {
        /// The session.
        #[validate(required)]
        #[schema(required, nullable = false, example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
        session_id: Option<String>,
    }
}

prompt_request! {
    /// A prompt for the session of the path.
    #[schema(example = json!({"message": "What is in this folder?", "timeout": 120}))]
    MessageRequest {}
}

/// What is done when a session has a turn already.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBusyRequest {
    /// The prompt is refused: 409 `session_busy`.
    Reject,
    /// The prompt waits for the turns before it.
    Queue,
    /// The turn that has the session is interrupted, and the prompt is next.
    Interrupt,
}

/// What is done when the CLI no longer has a session's conversation.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLostRequest {
    /// The turn fails with `conversation_lost`, and nothing is changed.
    Fail,
    /// The conversation begins anew, and an event of type `conversation_reset` says so.
    Fresh,
}

/// A file that goes with a prompt: sent along as `data`, or in the workspace at `path`.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "error.png", "media_type": "image/png", "data": "iVBORw0KGgo="}))]
pub struct AttachmentRequest {
    /// What it is called.
    #[serde(default)]
    #[schema(nullable = false, example = "error.png")]
    name: Option<String>,
    /// What it is: an image (PNG, JPEG, GIF, WebP), `application/pdf`, `application/json` or a text.
    #[serde(default)]
    #[schema(nullable = false, example = "image/png")]
    media_type: Option<String>,
    /// Its content, in base64.
    #[serde(default)]
    #[schema(nullable = false, format = Byte, example = "iVBORw0KGgo=")]
    data: Option<String>,
    /// Its path in the workspace, in place of `media_type` and `data`.
    #[serde(default)]
    #[schema(nullable = false, example = "screenshots/error.png")]
    path: Option<String>,
}

impl AttachmentRequest {
    /// The attachment that it is, or what is wrong with it.
    fn read(&self) -> Result<NewAttachment, &'static str> {
        match (&self.data, &self.path) {
            (Some(data), None) => {
                let media_type = self.media_type.as_deref().ok_or("needs a media_type")?;
                if !is_supported(media_type) {
                    return Err("is of a media_type that models do not take");
                }
                if self
                    .name
                    .as_ref()
                    .is_some_and(|name| name.chars().count() > 200 || name.contains('\0'))
                {
                    return Err("has a name that cannot be used");
                }
                Ok(NewAttachment::Data {
                    name: self.name.clone(),
                    media_type: media_type.to_owned(),
                    data: STANDARD.decode(data).map_err(|_garbage| "is not base64")?,
                })
            }
            (None, Some(path)) if self.media_type.is_none() && self.name.is_none() => path
                .parse()
                .map(NewAttachment::Path)
                .map_err(|_odd| "has a path that cannot be used"),
            (None, Some(_)) => Err("with a path takes no name and no media_type"),
            _ => Err("must have either data or path"),
        }
    }
}

fn are_attachments(attachments: &[AttachmentRequest], limits: &ApiLimits) -> Result<(), ValidationError> {
    if attachments.len() > limits.attachments_max {
        return Err(rule(
            "too_many",
            format!("must have at most {} entries", limits.attachments_max),
        ));
    }
    for (index, attachment) in attachments.iter().enumerate() {
        if let Err(words) = attachment.read() {
            return Err(rule("invalid_attachment", format!("entry {index} {words}")));
        }
    }
    Ok(())
}

/// What all requests say of a prompt.
struct Prompt {
    message: String,
    attachments: Vec<AttachmentRequest>,
    timeout: Option<u64>,
    on_busy: OnBusyRequest,
    on_lost: OnLostRequest,
}

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
    #[schema(example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    session_id: String,
    /// The turn.
    #[schema(example = "trn_0199e2c9b6c17d4e8f2a3b5c7d9e1f2a")]
    turn_id: String,
    /// All that the assistant said, block after block, with a blank line between two.
    #[schema(example = "There are two files: notes.txt and README.md.")]
    text: String,
    /// The tools that were called, in order.
    tool_calls: Vec<ToolCall>,
    /// The answer in the form that the session's `output_schema` asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = BTreeMap<String, Value>, required = false, nullable = false, example = json!({"files": 2}))]
    structured_output: Option<Value>,
    /// Tokens used.
    usage: Usage,
    /// What the turn cost, in USD, by the CLI's own count.
    #[schema(example = 0.0042)]
    cost_usd: f64,
    /// Why the model stopped: `end_turn`, `max_tokens`, `max_turns`, `max_budget`, …
    #[schema(required, example = "end_turn")]
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
            structured_output: outcome.structured_output,
            usage: outcome.usage,
            cost_usd: outcome.cost.as_usd(),
            stop_reason: outcome.stop_reason,
            timestamp: outcome.ended_at,
        })
    }
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
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key does not run again, and answers with the same turn", example = "7c1b6d1e-order-4711")),
    request_body = ChatRequest,
    responses(
        (status = 200, description = "The answer", body = ChatView),
        TurnProblems,
    )
)]
#[post("/api/v1/chat")]
pub(in crate::api) async fn chat(
    caller: Caller<AsMember>,
    key: IdempotencyKey,
    body: ValidJson<ChatRequest>,
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let ValidJson(mut asked, digest) = body;
    let session = session_id(&asked.session_id.take().unwrap_or_default())?;
    let order = order(session, asked.prompt(), key.with(digest));
    wait(&caller, &request, &services, order).await
}

/// Send a message and follow the answer
///
/// Runs one turn in the session that the body names, and sends its events as they come, the last of them exactly one
/// `done` or `error`. What is wrong before the turn begins is an HTTP error, not a stream. If the client leaves, the
/// turn goes on, and its answer is in the session's messages. A client that lost the stream goes on with the session's
/// events, or sends the request again with the same `Idempotency-Key` and with `Last-Event-ID`, and gets the rest.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Chat",
    operation_id = "stream_chat",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key does not run again, and answers with the same turn", example = "7c1b6d1e-order-4711"),
        ("Last-Event-ID" = Option<String>, Header, description = "With the `Idempotency-Key` of a request that was sent before: the `id` of the last event that its client got. The stream goes on after it", example = "42"),
    ),
    request_body = ChatRequest,
    responses(
        (status = 200, description = "Server-sent events, each a `StreamEvent`", body = StreamEventView, content_type = "text/event-stream"),
        StreamProblems,
    )
)]
#[post("/api/v1/chat/stream")]
pub(in crate::api) async fn stream_chat(
    caller: Caller<AsMember>,
    key: IdempotencyKey,
    last: LastEventId,
    body: ValidJson<ChatRequest>,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let ValidJson(mut asked, digest) = body;
    let session = session_id(&asked.session_id.take().unwrap_or_default())?;
    let order = order(session, asked.prompt(), key.with(digest));
    follow(&caller, &services, &limits, order, last).await
}

/// Send a message to a session and wait for the answer
///
/// As `POST /api/v1/chat`, with the session in the path.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Chat",
    operation_id = "send_message",
    params(
        ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"),
        ("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key does not run again, and answers with the same turn", example = "7c1b6d1e-order-4711"),
    ),
    request_body = MessageRequest,
    responses(
        (status = 200, description = "The answer", body = ChatView),
        TurnProblems,
    )
)]
#[post("/api/v1/sessions/{session_id}/messages")]
pub(in crate::api) async fn send_message(
    caller: Caller<AsMember>,
    key: IdempotencyKey,
    path: web::Path<String>,
    body: ValidJson<MessageRequest>,
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let ValidJson(asked, digest) = body;
    let order = order(session_id(&path)?, asked.prompt(), key.with(digest));
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
    params(
        ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"),
        ("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key does not run again, and answers with the same turn", example = "7c1b6d1e-order-4711"),
        ("Last-Event-ID" = Option<String>, Header, description = "With the `Idempotency-Key` of a request that was sent before: the `id` of the last event that its client got. The stream goes on after it", example = "42"),
    ),
    request_body = MessageRequest,
    responses(
        (status = 200, description = "Server-sent events, each a `StreamEvent`", body = StreamEventView, content_type = "text/event-stream"),
        StreamProblems,
    )
)]
#[post("/api/v1/sessions/{session_id}/stream")]
pub(in crate::api) async fn stream_message(
    caller: Caller<AsMember>,
    key: IdempotencyKey,
    last: LastEventId,
    path: web::Path<String>,
    body: ValidJson<MessageRequest>,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let ValidJson(asked, digest) = body;
    let order = order(session_id(&path)?, asked.prompt(), key.with(digest));
    follow(&caller, &services, &limits, order, last).await
}

/// The turn that a request asks for.
pub(super) fn turn_of(session: SessionId, asked: MessageRequest, once: Option<Once>) -> TurnOrder {
    order(session, asked.prompt(), once)
}

fn order(session: SessionId, prompt: Prompt, once: Option<Once>) -> TurnOrder {
    TurnOrder {
        session,
        message: prompt.message,
        // They were read when the request was checked.
        attachments: prompt
            .attachments
            .iter()
            .filter_map(|attachment| attachment.read().ok())
            .collect(),
        timeout: prompt.timeout.map(Duration::from_secs),
        on_busy: match prompt.on_busy {
            OnBusyRequest::Reject => OnBusy::Reject,
            OnBusyRequest::Queue => OnBusy::Queue,
            OnBusyRequest::Interrupt => OnBusy::Interrupt,
        },
        on_lost: match prompt.on_lost {
            OnLostRequest::Fail => OnLost::Fail,
            OnLostRequest::Fresh => OnLost::Fresh,
        },
        once,
    }
}

/// Submit a message without waiting
///
/// Takes one turn and answers at once. `GET` the turn to see how it stands, or follow the session's events.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Turns",
    operation_id = "submit_turn",
    params(
        ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"),
        ("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key does not run again, and answers with the same turn", example = "7c1b6d1e-order-4711"),
    ),
    request_body = MessageRequest,
    responses(
        (status = 202, description = "The turn, as it was taken", body = TurnView, headers(("Location" = String, description = "The turn's path"))),
        SubmitProblems,
    )
)]
#[post("/api/v1/sessions/{session_id}/turns")]
pub(in crate::api) async fn submit_turn(
    caller: Caller<AsMember>,
    key: IdempotencyKey,
    path: web::Path<String>,
    body: ValidJson<MessageRequest>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let ValidJson(asked, digest) = body;
    let order = order(session_id(&path)?, asked.prompt(), key.with(digest));
    let view = TurnView::from(services.turns.submit(&caller, order).await?);
    Ok(HttpResponse::Accepted()
        .insert_header((header::LOCATION, view.path()))
        .json(view))
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
    LastEventId(last): LastEventId,
) -> Result<HttpResponse, Problem> {
    if last.is_some() && order.once.is_none() {
        // It would be a new turn, and the client would take its events for the rest of another.
        return Err(Problem::new(ProblemCode::InvalidCursor).with_detail(
            "`Last-Event-ID` goes with the `Idempotency-Key` of the request whose stream is to go on",
        ));
    }
    let events = services.turns.stream(caller, order, last).await?;
    Ok(streams::response(events, Framing::Sse, limits.heartbeat))
}
