//! `claude-code-sse`: sessions in memory of their client, and prompts whose answers come as `connected`, `message`, `tool_use`
//! and `completed`.
//!
//! What its documentation shows is kept: `content` is text, `tool_use` is sent, `completed` has a result, and a session
//! remembers. A workspace is a folder of the caller's tree, never any folder of the machine.

mod answer;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;

use actix_web::http::StatusCode;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, delete, get, post, web};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use utoipa::openapi::RefOr;
use utoipa::openapi::response::Response;
use utoipa::{IntoResponses, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use self::answer::{Frame, frames_of};
use super::{asking, frames, iso, listing, refusing};
use crate::api::ApiLimits;
use crate::api::auth::{AsMember, AsReader, Caller};
use crate::api::input::read_bytes;
use crate::api::problem::{Problem, ProblemCode};
use crate::domain::{Principal, SessionId, SessionOptions, UserId};
use crate::service::{
    Error, LogStream, NewSession, OnBusy, Services, SessionDetails, SessionState, TurnOrder,
};

/// What is sent of a turn's events; without a character set, as the original sends it.
const EVENT_STREAM: &str = "text/event-stream";

/// Its routes.
pub(super) fn add_paths(config: &mut ServiceConfig<'_>) {
    config
        .service(create_session)
        .service(list_sessions)
        .service(delete_session)
        .service(stream_prompt)
        .service(execute);
}

/// Its routes that the platform has too.
pub(super) fn add_platform_paths(config: &mut ServiceConfig<'_>) {
    config.service(get_health);
}

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaudeCodeSseHealth)]
pub struct HealthView {
    /// `ok`.
    #[schema(example = "ok")]
    status: &'static str,
    /// The folder that all workspaces lie in.
    #[schema(example = "/var/lib/paddock/workspaces")]
    workspace: String,
    /// When that is so.
    #[schema(example = "2026-11-21T09:30:00.000Z")]
    timestamp: String,
}

/// A session to be made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = ClaudeCodeSseCreateSession)]
pub struct CreateSessionRequest {
    /// The folder that it works in: of the caller's tree, by a path in it, or by its whole path. The tree itself when absent.
    #[schema(nullable = false, example = "my-project")]
    workspace: Option<String>,
}

/// A prompt.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = ClaudeCodeSsePrompt)]
pub struct PromptRequest {
    /// The prompt.
    #[schema(required, nullable = false, example = "What is in this folder?")]
    prompt: Option<String>,
    /// The folder to work in, where the prompt brings its own session.
    #[schema(nullable = false, example = "my-project")]
    workspace: Option<String>,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaudeCodeSseSession)]
pub struct SessionView {
    /// Its id.
    #[serde(rename = "sessionId")]
    #[schema(example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    session_id: String,
    /// The folder that it works in.
    #[schema(example = "/var/lib/paddock/workspaces/default/alice/my-project")]
    workspace: String,
    /// When it was made.
    #[schema(example = "2026-11-21T09:30:00.000Z")]
    created: String,
}

/// A session in a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaudeCodeSseListed)]
pub struct ListedView {
    /// Its id.
    #[serde(rename = "sessionId")]
    #[schema(example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    session_id: String,
}

/// Sessions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaudeCodeSseList)]
pub struct ListView {
    /// The newest active ones.
    sessions: Vec<ListedView>,
    /// How many these are.
    #[schema(example = 1)]
    count: usize,
}

/// A session that was deleted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaudeCodeSseDeleted)]
pub struct DeletedView {
    /// `Session deleted`.
    #[schema(example = "Session deleted")]
    message: &'static str,
    /// Its id.
    #[serde(rename = "sessionId")]
    #[schema(example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    session_id: String,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaudeCodeSseError)]
pub struct ErrorView {
    /// In words.
    error: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    message: Option<String>,
}

/// Why something was refused.
struct Refusal {
    status: StatusCode,
    body: ErrorView,
    problem: Option<Box<Problem>>,
}

impl Refusal {
    fn new(status: StatusCode, error: &str) -> Self {
        Self {
            status,
            body: ErrorView {
                error: error.to_owned(),
                message: None,
            },
            problem: None,
        }
    }

    /// Of a session that was to be made.
    fn of_creation(error: Error) -> Self {
        let problem = Problem::from(error);
        Self {
            status: problem.code.status(),
            body: ErrorView {
                error: "Failed to create session".to_owned(),
                message: Some(refusing::words(&problem).to_owned()),
            },
            problem: Some(Box::new(problem)),
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self {
            status: problem.code.status(),
            body: ErrorView {
                error: problem.code.title().to_owned(),
                message: problem.detail.clone(),
            },
            problem: Some(Box::new(problem)),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Problem::from(error).into()
    }
}

fn answer(result: Result<HttpResponse, Refusal>) -> HttpResponse {
    result.unwrap_or_else(|refusal| {
        refusing::respond(refusal.status, refusal.problem.as_deref(), &refusal.body)
    })
}

/// What any operation can be refused with, as the OpenAPI document lists it.
pub struct RefusalResponses;

impl IntoResponses for RefusalResponses {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let statuses = [
            (400, "There is no prompt, or the body is no JSON"),
            (401, "No credential, or one that is not known"),
            (402, "A budget is spent"),
            (
                403,
                "The credential does not allow it, or the folder is not the caller's",
            ),
            (404, "There is no such session"),
            (408, "The body did not arrive in time"),
            (409, "The folder cannot be used as it is"),
            (410, "The session is closed"),
            (413, "The body is too long"),
            (422, "The folder's name cannot be used"),
            (429, "Too often, or as many as there may be"),
            (500, "It failed"),
            (502, "The instance that has the session does not answer"),
            (503, "The store, or the agent, is not there"),
            (507, "The store is full"),
        ];
        refusing::documented("ClaudeCodeSseError", &statuses)
    }
}

/// How the server is
///
/// **Permissions**: none.
#[utoipa::path(
    tag = "claude-code-sse",
    operation_id = "claude_code_sse_health",
    security(()),
    responses((status = 200, description = "It answers", body = HealthView))
)]
#[get("/health")]
async fn get_health(services: web::Data<Services>) -> HttpResponse {
    HttpResponse::Ok().json(HealthView {
        status: "ok",
        workspace: services.sessions.workspaces_dir().display().to_string(),
        timestamp: iso(services.sessions.now()),
    })
}

/// Make a session
///
/// For the user that the credential acts for, else for `dialects.user_id`. The body may be left out.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "claude-code-sse",
    operation_id = "claude_code_sse_create_session",
    request_body(content = Option<CreateSessionRequest>),
    responses((status = 200, description = "The session", body = SessionView), RefusalResponses)
)]
#[post("/api/sessions")]
async fn create_session(
    request: HttpRequest,
    body: web::Payload,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> HttpResponse {
    let created = async {
        let caller = Caller::<AsMember>::of(&request).await?;
        let asked: CreateSessionRequest = read(&request, body, &limits).await?;
        let made = make(&services, &limits, &caller, asked.workspace).await?;
        Ok(HttpResponse::Ok().json(SessionView {
            session_id: made.session.id.to_string(),
            workspace: made.cwd.display().to_string(),
            created: iso(made.session.created_at),
        }))
    };
    answer(created.await)
}

/// List sessions
///
/// The newest active ones, at most `dialects.list_max` of them.
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "claude-code-sse",
    operation_id = "claude_code_sse_list_sessions",
    responses((status = 200, description = "Their ids", body = ListView), RefusalResponses)
)]
#[get("/api/sessions")]
async fn list_sessions(
    request: HttpRequest,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> HttpResponse {
    let listed = async {
        let caller = Caller::<AsReader>::of(&request).await?;
        let found = listing::newest(&services, &caller, None, limits.dialect_list_max).await?;
        let sessions: Vec<_> = found
            .iter()
            .map(|details| ListedView {
                session_id: details.session.id.to_string(),
            })
            .collect();
        Ok(HttpResponse::Ok().json(ListView {
            count: sessions.len(),
            sessions,
        }))
    };
    answer(listed.await)
}

/// Delete a session
///
/// Its turn and its agent are ended, for good.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "claude-code-sse",
    operation_id = "claude_code_sse_delete_session",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    responses(
        (status = 200, description = "It is deleted", body = DeletedView),
        (status = 404, description = "There is no such session", body = ErrorView),
        RefusalResponses,
    )
)]
#[delete("/api/sessions/{session_id}")]
async fn delete_session(
    request: HttpRequest,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> HttpResponse {
    let deleted = async {
        let caller = Caller::<AsMember>::of(&request).await?;
        let id = find(&services, &caller, &path, "Session not found").await?;
        services.sessions.close(&caller, id).await?;
        Ok(HttpResponse::Ok().json(DeletedView {
            message: "Session deleted",
            session_id: id.to_string(),
        }))
    };
    answer(deleted.await)
}

/// Send a prompt and follow the answer
///
/// Frames as server-sent events: `connected`, then `message`s and `tool_use`s, then one `completed` or `error`. A prompt for a session
/// that is at work waits for its turn.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "claude-code-sse",
    operation_id = "claude_code_sse_stream",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    request_body = PromptRequest,
    responses(
        (status = 200, description = "Server-sent events, each a frame", body = Frame, content_type = "text/event-stream"),
        RefusalResponses,
    )
)]
#[post("/api/stream/{session_id}")]
async fn stream_prompt(
    request: HttpRequest,
    path: web::Path<String>,
    body: web::Payload,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> HttpResponse {
    let streamed = async {
        let caller = Caller::<AsMember>::of(&request).await?;
        let asked: PromptRequest = read(&request, body, &limits).await?;
        let prompt = prompt(asked.prompt, &limits)?;
        let words = "Session not found. Create a session first.";
        let session = find(&services, &caller, &path, words).await?;
        let events = begin(&services, &caller, session, prompt).await?;
        Ok(frames::response(EVENT_STREAM).streaming(frames_of(session, events, limits.heartbeat)))
    };
    answer(streamed.await)
}

/// Run a prompt in a session of its own
///
/// As `POST /api/stream/{session_id}`. The session is deleted when its answer has been sent; if the client leaves before, it expires.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "claude-code-sse",
    operation_id = "claude_code_sse_execute",
    request_body = PromptRequest,
    responses(
        (status = 200, description = "Server-sent events, each a frame", body = Frame, content_type = "text/event-stream"),
        RefusalResponses,
    )
)]
#[post("/api/execute")]
async fn execute(
    request: HttpRequest,
    body: web::Payload,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> HttpResponse {
    let streamed = async {
        let caller = Caller::<AsMember>::of(&request).await?;
        let asked: PromptRequest = read(&request, body, &limits).await?;
        let prompt = prompt(asked.prompt, &limits)?;
        let made = make(&services, &limits, &caller, asked.workspace).await?;
        let session = made.session.id;
        let begun = begin(&services, &caller, session, prompt).await;
        let close = async move {
            asking::close(&services, &caller, session).await;
            Ok(Bytes::new())
        };
        let events = match begun {
            Ok(events) => events,
            Err(refusal) => {
                // Nothing is to be left of what was refused.
                let _closed: Result<_, Infallible> = close.await;
                return Err(refusal);
            }
        };
        let frames = frames_of(session, events, limits.heartbeat);
        let closing = stream::once(close);
        Ok(frames::response(EVENT_STREAM).streaming(frames.chain(closing)))
    };
    answer(streamed.await)
}

/// A body's fields; none where there is no body, or it is no JSON by its type.
async fn read<T: for<'a> Deserialize<'a> + Default>(
    request: &HttpRequest,
    body: web::Payload,
    limits: &ApiLimits,
) -> Result<T, Refusal> {
    let body = read_bytes(request, body.into_inner(), limits).await?;
    let is_json = request
        .mime_type()
        .ok()
        .flatten()
        .is_some_and(|mime| mime.subtype() == "json");
    if body.is_empty() || !is_json {
        return Ok(T::default());
    }
    serde_json::from_slice(&body).map_err(|error| {
        let problem = Problem::new(ProblemCode::MalformedJson).with_detail(error.to_string());
        problem.into()
    })
}

fn prompt(asked: Option<String>, limits: &ApiLimits) -> Result<String, Refusal> {
    let prompt = asked.unwrap_or_default();
    if prompt.trim().is_empty() {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "Prompt is required"));
    }
    if prompt.contains('\0') {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "Prompt must not hold NUL"));
    }
    if prompt.len() > limits.message_max_bytes {
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "Prompt is too long"));
    }
    Ok(prompt)
}

async fn make(
    services: &Services,
    limits: &ApiLimits,
    caller: &Principal,
    workspace: Option<String>,
) -> Result<SessionDetails, Refusal> {
    let user: UserId = caller.user.clone().unwrap_or_else(|| limits.dialect_user.clone());
    let made = async {
        let workspace = workspace.filter(|path| !path.is_empty());
        let subdir = match workspace.map(PathBuf::from) {
            Some(path) => services.sessions.subdir_of(caller, &user, &path)?,
            None => None,
        };
        let new = NewSession {
            user,
            subdir,
            title: None,
            metadata: Map::new(),
            options: SessionOptions::default(),
        };
        services.sessions.create(caller, new).await
    };
    made.await.map_err(Refusal::of_creation)
}

/// An active session's id.
async fn find(services: &Services, caller: &Principal, id: &str, words: &str) -> Result<SessionId, Refusal> {
    let missing = || Refusal::new(StatusCode::NOT_FOUND, words);
    let id = id.parse::<SessionId>().map_err(|_invalid| missing())?;
    match services.sessions.get(caller, id).await {
        Ok(details) if details.state == SessionState::Active => Ok(id),
        Ok(_) | Err(Error::SessionNotFound) => Err(missing()),
        Err(error) => Err(error.into()),
    }
}

async fn begin(
    services: &Services,
    caller: &Principal,
    session: SessionId,
    message: String,
) -> Result<LogStream, Refusal> {
    let order = TurnOrder {
        on_busy: OnBusy::Queue,
        ..TurnOrder::new(session, message)
    };
    Ok(services.turns.stream(caller, order, None).await?)
}
