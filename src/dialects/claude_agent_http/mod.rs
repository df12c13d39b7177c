//! `claude-agent-http`: sessions by id, a question and its answer, whole or as a stream of chunks; `FastAPI`'s errors.
//!
//! What its documentation promises is kept, also where its code fell short of it: `tool_calls` and `tool_use` are told,
//! `timeout` is heeded, and a client that leaves spoils nothing.

mod refusal;
mod requests;
mod stream;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use self::refusal::{DetailView, Refusal, RefusalProblems, TurnRefusalProblems, answer};
use self::requests::{ChatRequest, CreateSessionRequest, read_chat, read_create};
use self::stream::ChunkView;
use super::listing;
use crate::api::ApiLimits;
use crate::api::auth::{AsMember, AsReader, Caller, RequiredRole};
use crate::api::fallback::KnownPaths;
use crate::api::input::read_bytes;
use crate::domain::{Principal, SessionId, UserId};
use crate::service::{NewSession, Services, SessionDetails, SessionState};

/// The version that clients of the original see.
const VERSION: &str = "1.0.0";

/// Its routes.
pub(super) fn add_paths(config: &mut ServiceConfig<'_>) {
    config
        .service(get_root)
        .service(get_health)
        .service(create_session)
        .service(list_sessions)
        .service(get_session)
        .service(delete_session)
        .service(resume_session)
        .service(chat)
        .service(stream_chat);
}

/// What is at its root.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaudeAgentHttpRoot)]
pub struct RootView {
    /// The original's name.
    #[schema(example = "Claude Agent HTTP API")]
    name: &'static str,
    /// The original's version.
    #[schema(example = "1.0.0")]
    version: &'static str,
    /// Where the documentation is.
    #[schema(example = "/docs")]
    docs: &'static str,
    /// Where it tells how it is.
    #[schema(example = "/health")]
    health: &'static str,
}

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaudeAgentHttpHealth)]
pub struct HealthView {
    /// `healthy` or `unhealthy`.
    #[schema(example = "healthy")]
    status: &'static str,
    /// The original's version.
    #[schema(example = "1.0.0")]
    version: &'static str,
    /// How many sessions are active.
    #[schema(example = 12)]
    active_sessions: u64,
    /// What it stores in; `unknown` while that does not answer.
    #[schema(example = "sqlite")]
    storage_type: &'static str,
    /// How long it has run, in seconds; absent while it is unhealthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, example = 86400.5)]
    uptime_seconds: Option<f64>,
    /// What is wrong; absent while it is healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    error: Option<String>,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaudeAgentHttpSession)]
pub struct SessionView {
    /// Its id.
    #[schema(example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    session_id: String,
    /// The user that it is for.
    #[schema(example = "alice")]
    user_id: String,
    /// The folder that it works in.
    #[schema(example = "/var/lib/paddock/workspaces/default/alice/my-project")]
    cwd: String,
    /// When it was made: UTC, without a zone.
    #[schema(example = "2026-11-21T09:30:00.000000")]
    created_at: String,
    /// When it was last used: UTC, without a zone.
    #[schema(example = "2026-11-21T09:30:00.000000")]
    last_active_at: String,
    /// How many prompts it had.
    #[schema(example = 3)]
    message_count: u64,
    /// `active`.
    #[schema(example = "active")]
    status: &'static str,
    /// What its client attached.
    #[schema(value_type = BTreeMap<String, Value>, example = json!({"ticket": "OPS-1234"}))]
    metadata: Map<String, Value>,
}

impl From<SessionDetails> for SessionView {
    fn from(details: SessionDetails) -> Self {
        let session = details.session;
        Self {
            session_id: session.id.to_string(),
            user_id: session.user.to_string(),
            cwd: details.cwd.display().to_string(),
            created_at: naive(session.created_at),
            last_active_at: naive(session.last_active_at),
            message_count: session.message_count,
            status: "active",
            metadata: session.metadata,
        }
    }
}

/// A tool that was called.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaudeAgentHttpToolCall)]
pub struct ToolCallView {
    /// Its name.
    #[schema(example = "Bash")]
    tool: String,
    /// What it was called with.
    #[schema(value_type = BTreeMap<String, Value>, example = json!({"command": "ls"}))]
    input: Value,
}

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaudeAgentHttpAnswer)]
pub struct ChatView {
    /// The session.
    #[schema(example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    session_id: String,
    /// All that the assistant said.
    #[schema(example = "There are two files: notes.txt and README.md.")]
    text: String,
    /// The tools that were called, in order.
    tool_calls: Vec<ToolCallView>,
    /// When it ended: UTC, without a zone.
    #[schema(example = "2026-11-21T09:30:00.000000")]
    timestamp: String,
}

/// A time as Python's `isoformat` writes one without a zone.
fn naive(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

/// What this dialect is
///
/// **Permissions**: none.
#[utoipa::path(
    tag = "claude-agent-http",
    operation_id = "claude_agent_http_root",
    security(()),
    responses((status = 200, description = "What it is", body = RootView))
)]
#[get("/")]
async fn get_root() -> HttpResponse {
    HttpResponse::Ok().json(RootView {
        name: "Claude Agent HTTP API",
        version: VERSION,
        docs: "/docs",
        health: "/health",
    })
}

/// How the server is
///
/// **Permissions**: none.
#[utoipa::path(
    tag = "claude-agent-http",
    operation_id = "claude_agent_http_health",
    security(()),
    responses(
        (status = 200, description = "It does its work", body = HealthView),
        (status = 503, description = "Its store does not answer", body = HealthView),
    )
)]
#[get("/health")]
async fn get_health(services: web::Data<Services>) -> HttpResponse {
    let report = services.health.report().await;
    let (mut response, view) = if report.healthy {
        let view = HealthView {
            status: "healthy",
            version: VERSION,
            active_sessions: report.active_sessions.unwrap_or_default(),
            storage_type: report.storage,
            uptime_seconds: Some(report.uptime.as_secs_f64()),
            error: None,
        };
        (HttpResponse::Ok(), view)
    } else {
        let view = HealthView {
            status: "unhealthy",
            version: VERSION,
            active_sessions: 0,
            storage_type: "unknown",
            uptime_seconds: None,
            error: Some(report.problems.join("; ")),
        };
        (HttpResponse::ServiceUnavailable(), view)
    };
    response.json(view)
}

/// Make a session
///
/// No model is asked. Fields that the original does not know are ignored, as it does.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "claude-agent-http",
    operation_id = "claude_agent_http_create_session",
    request_body = CreateSessionRequest,
    responses((status = 201, description = "The session", body = SessionView), RefusalProblems)
)]
#[post("/api/v1/sessions")]
async fn create_session(
    request: HttpRequest,
    body: web::Payload,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> HttpResponse {
    let created = async {
        let caller = caller::<AsMember>(&request).await?;
        let asked = read_create(&read_bytes(&request, body.into_inner(), &limits).await?, &limits)?;
        let new = NewSession {
            user: asked.user,
            subdir: asked.subdir,
            title: None,
            metadata: asked.metadata,
            options: crate::domain::SessionOptions::default(),
        };
        let made = services.sessions.create(&caller, new).await;
        let made = made.map_err(Refusal::of_creation)?;
        Ok(HttpResponse::Created().json(SessionView::from(made)))
    };
    answer(created.await)
}

/// List sessions
///
/// The ids of the newest active sessions, at most `dialects.list_max` of them.
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "claude-agent-http",
    operation_id = "claude_agent_http_list_sessions",
    params(("user_id" = Option<String>, Query, description = "Those of this user", example = "alice")),
    responses((status = 200, description = "Their ids", body = Vec<String>, example = json!(["ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"])), RefusalProblems)
)]
#[get("/api/v1/sessions")]
async fn list_sessions(
    request: HttpRequest,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> HttpResponse {
    let listed = async {
        let caller = caller::<AsReader>(&request).await?;
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
        let pairs = pairs.map(web::Query::into_inner).unwrap_or_default();
        let user = pairs.into_iter().find(|(name, _)| name == "user_id");
        let user = match user.map(|(_, user)| user.parse::<UserId>()) {
            None => None,
            Some(Ok(user)) => Some(user),
            // Nobody is called that.
            Some(Err(_)) => return Ok(HttpResponse::Ok().json(Vec::<String>::new())),
        };
        let found = listing::newest(&services, &caller, user, limits.dialect_list_max).await?;
        let ids: Vec<_> = found
            .iter()
            .map(|details| details.session.id.to_string())
            .collect();
        Ok(HttpResponse::Ok().json(ids))
    };
    answer(listed.await)
}

/// Look a session up
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "claude-agent-http",
    operation_id = "claude_agent_http_get_session",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    responses(
        (status = 200, description = "The session", body = SessionView),
        (status = 404, description = "There is none, or it has expired", body = DetailView),
        RefusalProblems,
    )
)]
#[get("/api/v1/sessions/{session_id}")]
async fn get_session(
    request: HttpRequest,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> HttpResponse {
    let found = async {
        let caller = caller::<AsReader>(&request).await?;
        let details = find(&services, &caller, &path).await?;
        Ok(HttpResponse::Ok().json(SessionView::from(details)))
    };
    answer(found.await)
}

/// Delete a session
///
/// Its turn and its agent are ended, for good.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "claude-agent-http",
    operation_id = "claude_agent_http_delete_session",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 404, description = "There is none, or it has expired", body = DetailView),
        RefusalProblems,
    )
)]
#[delete("/api/v1/sessions/{session_id}")]
async fn delete_session(
    request: HttpRequest,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> HttpResponse {
    let deleted = async {
        let caller = caller::<AsMember>(&request).await?;
        let details = find(&services, &caller, &path).await?;
        services.sessions.close(&caller, details.session.id).await?;
        Ok(HttpResponse::NoContent().finish())
    };
    answer(deleted.await)
}

/// Make a session ready
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "claude-agent-http",
    operation_id = "claude_agent_http_resume_session",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    responses(
        (status = 200, description = "The session", body = SessionView),
        (status = 404, description = "There is none, or it has expired", body = DetailView),
        RefusalProblems,
    )
)]
#[post("/api/v1/sessions/{session_id}/resume")]
async fn resume_session(
    request: HttpRequest,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> HttpResponse {
    let resumed = async {
        let caller = caller::<AsMember>(&request).await?;
        let id = path.parse::<SessionId>().map_err(|_invalid| Refusal::gone())?;
        let details = services.sessions.resume(&caller, id).await;
        let details = details.map_err(Refusal::of_turn)?;
        Ok(HttpResponse::Ok().json(SessionView::from(details)))
    };
    answer(resumed.await)
}

/// Send a message and wait for the answer
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "claude-agent-http",
    operation_id = "claude_agent_http_chat",
    request_body = ChatRequest,
    responses((status = 200, description = "The answer", body = ChatView), TurnRefusalProblems)
)]
#[post("/api/v1/chat")]
async fn chat(
    request: HttpRequest,
    body: web::Payload,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> HttpResponse {
    let answered = async {
        let caller = caller::<AsMember>(&request).await?;
        let order = read_chat(&read_bytes(&request, body.into_inner(), &limits).await?, &limits)?;
        let turn = services.turns.run(&caller, order).await;
        let turn = turn.map_err(Refusal::of_turn)?;
        let outcome = turn.outcome.ok_or_else(Refusal::internal)?;
        let calls = outcome.tool_calls.into_iter().map(|call| ToolCallView {
            tool: call.tool,
            input: call.input,
        });
        Ok(HttpResponse::Ok().json(ChatView {
            session_id: turn.session.to_string(),
            text: outcome.text,
            tool_calls: calls.collect(),
            timestamp: naive(outcome.ended_at),
        }))
    };
    answer(answered.await)
}

/// Send a message and follow the answer
///
/// Chunks as server-sent events without ids, the last of them one `done` or `error`. A session that is not there or is busy is
/// an `error` chunk too, with status 200.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "claude-agent-http",
    operation_id = "claude_agent_http_stream_chat",
    request_body = ChatRequest,
    responses(
        (status = 200, description = "Server-sent events, each a chunk", body = ChunkView, content_type = "text/event-stream"),
        TurnRefusalProblems,
    )
)]
#[post("/api/v1/chat/stream")]
async fn stream_chat(
    request: HttpRequest,
    body: web::Payload,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> HttpResponse {
    let streamed = async {
        let caller = caller::<AsMember>(&request).await?;
        let body = read_bytes(&request, body.into_inner(), &limits).await?;
        let begun = async {
            let order = read_chat(&body, &limits)?;
            let begun = services.turns.stream(&caller, order, None).await;
            begun.map_err(Refusal::of_turn)
        };
        match begun.await {
            Ok(events) => Ok(stream::response(events, limits.heartbeat)),
            Err(refusal) => stream::refused(refusal),
        }
    };
    answer(streamed.await)
}

async fn caller<R: RequiredRole>(request: &HttpRequest) -> Result<Principal, Refusal> {
    Ok(Caller::<R>::of(request).await?)
}

/// An active session.
async fn find(services: &Services, caller: &Principal, id: &str) -> Result<SessionDetails, Refusal> {
    let id = id.parse::<SessionId>().map_err(|_invalid| Refusal::not_found())?;
    let details = services.sessions.get(caller, id).await;
    let details = details.map_err(Refusal::of_lookup)?;
    if details.state == SessionState::Active {
        Ok(details)
    } else {
        Err(Refusal::not_found())
    }
}

/// What no route takes, as `FastAPI` says it.
pub(super) async fn not_here(request: HttpRequest) -> HttpResponse {
    let known = request.app_data::<web::Data<KnownPaths>>();
    match known.and_then(|known| known.methods(request.path())) {
        Some(methods) => {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed").into_response_allowing(methods)
        }
        None => Refusal::new(StatusCode::NOT_FOUND, "Not Found").into_response(),
    }
}
