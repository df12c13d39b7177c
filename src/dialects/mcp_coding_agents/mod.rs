//! `mcp-coding-agents`: its REST interface: sessions whose answers come in the CLI's own messages, and their history.
//!
//! Every operation but health asks for a credential. Its sessions are those that keep the CLI's messages
//! (`options.agent_messages`); others are not there for it.

mod answer;
mod history;
mod refusal;
mod requests;
mod views;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use self::answer::Answer;
use self::refusal::{ErrorView, Failure, Refusal, RefusalResponses, TurnRefusalResponses, answered};
use self::requests::{CreateSessionRequest, SendMessageRequest};
use self::views::{
    AnsweredView, CreatedView, HealthView, HistoryView, ListView, ModelView, ModelsView, RedirectView,
    SendView, SessionView, SseView,
};
use super::asking::{self, user_of};
use super::{frames, listing};
use crate::api::ApiLimits;
use crate::api::auth::{AsMember, AsReader, Caller, RequiredRole};
use crate::domain::{EventId, EventKind, Principal, SessionId, SessionOptions};
use crate::service::{
    Error, EventOrder, LogStream, NewSession, OnBusy, Services, SessionDetails, SessionState, TurnOrder,
};

/// Its routes.
pub(super) fn add_paths(config: &mut ServiceConfig<'_>) {
    config
        .service(get_health)
        .service(list_models)
        .service(create_session)
        .service(list_sessions)
        .service(get_session)
        .service(end_session)
        .service(send_message)
        .service(list_messages)
        .service(stream_message);
}

/// How the server is
///
/// **Permissions**: none.
#[utoipa::path(
    tag = "mcp-coding-agents",
    operation_id = "mcp_coding_agents_health",
    security(()),
    responses(
        (status = 200, description = "It does its work", body = HealthView),
        (status = 503, description = "Its store does not answer", body = HealthView),
    )
)]
#[get("/api/v1/health")]
async fn get_health(services: web::Data<Services>) -> HttpResponse {
    let report = services.health.report().await;
    let view = HealthView::new(&report, services.sessions.now());
    if report.healthy {
        HttpResponse::Ok().json(view)
    } else {
        HttpResponse::ServiceUnavailable().json(view)
    }
}

/// List models
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "mcp-coding-agents",
    operation_id = "mcp_coding_agents_list_models",
    responses((status = 200, description = "Those that the CLI offers", body = ModelsView), RefusalResponses)
)]
#[get("/api/v1/models")]
async fn list_models(request: HttpRequest, services: web::Data<Services>) -> HttpResponse {
    let listed = async {
        let caller = caller::<AsReader>(&request).await?;
        let models = services.models.list(&caller).await?;
        let view = |model: crate::service::ModelInfo| ModelView {
            id: model.id,
            name: model.name,
        };
        Ok(HttpResponse::Ok().json(ModelsView {
            models: models.into_iter().map(view).collect(),
        }))
    };
    answered(&request, listed.await)
}

/// Make a session
///
/// For the user that the credential acts for, else for `dialects.user_id`. No model is asked.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "mcp-coding-agents",
    operation_id = "mcp_coding_agents_create_session",
    request_body = CreateSessionRequest,
    responses((status = 201, description = "The session", body = CreatedView), RefusalResponses)
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
        let body = asking::json(&request, body, &limits).await?;
        let asked = requests::read_create(body, &limits)?;
        let user = user_of(&caller, &limits);
        let subdir = match &asked.cwd {
            Some(path) => services.sessions.subdir_of(&caller, &user, path),
            None => Ok(None),
        };
        let made = async {
            let new = NewSession {
                user,
                subdir: subdir?,
                title: None,
                metadata: asked.metadata,
                options: SessionOptions {
                    agent_messages: Some(true),
                    ..asked.options
                },
            };
            services.sessions.create(&caller, new).await
        };
        let made = made.await.map_err(|error| Refusal::of(error, Failure::Create))?;
        Ok(HttpResponse::Created().json(CreatedView::from(&made)))
    };
    answered(&request, created.await)
}

/// List sessions
///
/// Those of this dialect among the newest `dialects.list_max` active sessions, most recently used first.
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "mcp-coding-agents",
    operation_id = "mcp_coding_agents_list_sessions",
    responses((status = 200, description = "The sessions", body = ListView), RefusalResponses)
)]
#[get("/api/v1/sessions")]
async fn list_sessions(
    request: HttpRequest,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> HttpResponse {
    let listed = async {
        let caller = caller::<AsReader>(&request).await?;
        let found = listing::newest(&services, &caller, None, limits.dialect_list_max).await;
        let mut found = found.map_err(|error| Refusal::of(error, Failure::List))?;
        found.retain(is_ours);
        found.sort_by_key(|details| std::cmp::Reverse(details.session.last_active_at));
        Ok(HttpResponse::Ok().json(ListView::of(&found)))
    };
    answered(&request, listed.await)
}

/// Look a session up
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "mcp-coding-agents",
    operation_id = "mcp_coding_agents_get_session",
    params(("id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    responses(
        (status = 200, description = "The session", body = SessionView),
        (status = 404, description = "There is no such session", body = ErrorView),
        RefusalResponses,
    )
)]
#[get("/api/v1/sessions/{id}")]
async fn get_session(
    request: HttpRequest,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> HttpResponse {
    let found = async {
        let caller = caller::<AsReader>(&request).await?;
        let details = find(&services, &caller, &path, Failure::Get).await?;
        Ok(HttpResponse::Ok().json(SessionView::from(&details)))
    };
    answered(&request, found.await)
}

/// End a session
///
/// Its turn and its agent are ended, for good. It can still be looked up.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "mcp-coding-agents",
    operation_id = "mcp_coding_agents_end_session",
    params(("id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    responses((status = 204, description = "It has ended"), RefusalResponses)
)]
#[delete("/api/v1/sessions/{id}")]
async fn end_session(
    request: HttpRequest,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> HttpResponse {
    let ended = async {
        let caller = caller::<AsMember>(&request).await?;
        let details = find(&services, &caller, &path, Failure::End).await?;
        let closed = services.sessions.close(&caller, details.session.id).await;
        closed.map_err(|error| Refusal::of(error, Failure::End))?;
        Ok(HttpResponse::NoContent().finish())
    };
    answered(&request, ended.await)
}

/// Send a prompt and wait for the answer
///
/// With `stream`, where the answer can be followed; nothing is run then. A prompt for a session that is at work waits for its turn.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "mcp-coding-agents",
    operation_id = "mcp_coding_agents_send_message",
    params(("id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    request_body = SendMessageRequest,
    responses((status = 200, description = "The answer; with `stream`, where it can be followed", body = SendView), TurnRefusalResponses)
)]
#[post("/api/v1/sessions/{id}/messages")]
async fn send_message(
    request: HttpRequest,
    path: web::Path<String>,
    body: web::Payload,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> HttpResponse {
    let sent = async {
        let caller = caller::<AsMember>(&request).await?;
        let (order, asked) = order(&services, &limits, &caller, &request, &path, body).await?;
        if asked.stream {
            let view = RedirectView::new(&request, &asked);
            return Ok(HttpResponse::Ok().json(SendView::Redirect(view)));
        }
        let events = begin(&services, &caller, order, Failure::Send).await?;
        let view: AnsweredView = Answer::default().whole(events).await?;
        Ok(HttpResponse::Ok().json(SendView::Answered(view)))
    };
    answered(&request, sent.await)
}

/// Send a prompt and follow the answer
///
/// Server-sent events: `connected`, then a `message` for each message of the CLI, then one `complete` or `error`. The turn goes on if
/// the client leaves.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "mcp-coding-agents",
    operation_id = "mcp_coding_agents_stream_message",
    params(("id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    request_body = SendMessageRequest,
    responses(
        (status = 200, description = "Server-sent events with names, each with one of these", body = SseView, content_type = "text/event-stream"),
        TurnRefusalResponses,
    )
)]
#[post("/api/v1/sessions/{id}/stream")]
async fn stream_message(
    request: HttpRequest,
    path: web::Path<String>,
    body: web::Payload,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> HttpResponse {
    let streamed = async {
        let caller = caller::<AsMember>(&request).await?;
        let (order, _) = order(&services, &limits, &caller, &request, &path, body).await?;
        let session = order.session;
        let events = begin(&services, &caller, order, Failure::Stream).await?;
        // Without a character set, as the original sends it.
        let mut response = frames::response("text/event-stream");
        Ok(response.streaming(Answer::default().into_frames(session, events, limits.heartbeat)))
    };
    answered(&request, streamed.await)
}

/// Which part of a history is read.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct HistoryQuery {
    /// The most messages; 100 when absent or no number, and never more than `limits.page_max`.
    #[param(example = "100")]
    limit: Option<String>,
    /// How many messages come before; 0 when absent or no number.
    #[param(example = "0")]
    offset: Option<String>,
}

/// Read a session's history
///
/// Prompts and the CLI's messages, oldest first.
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "mcp-coding-agents",
    operation_id = "mcp_coding_agents_list_messages",
    params(("id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), HistoryQuery),
    responses((status = 200, description = "Messages", body = HistoryView), RefusalResponses)
)]
#[get("/api/v1/sessions/{id}/messages")]
async fn list_messages(
    request: HttpRequest,
    path: web::Path<String>,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> HttpResponse {
    let read = async {
        let caller = caller::<AsReader>(&request).await?;
        let details = find(&services, &caller, &path, Failure::History).await?;
        let query = web::Query::<HistoryQuery>::from_query(request.query_string()).ok();
        let number = |text: Option<String>| text.and_then(|text| text.parse::<usize>().ok());
        let (limit, offset) = query.map_or((None, None), |query| {
            let query = query.into_inner();
            (number(query.limit), number(query.offset))
        });
        let limit = limit.filter(|limit| *limit > 0).unwrap_or(100);
        let limit = limit.min(limits.page_max as usize);
        let order = EventOrder {
            session: details.session.id,
            after: EventId::START,
            kinds: vec![EventKind::Message, EventKind::AgentMessage],
            deltas: false,
            raw: true,
            turn: None,
            follow: false,
        };
        let events = services.events.read(&caller, order).await;
        let events = events.map_err(|error| Refusal::of(error, Failure::History))?;
        let events = events.ok_or_else(Refusal::internal)?;
        let view = history::page(&details, events, limit, offset.unwrap_or(0)).await;
        let view = view.map_err(|error| Refusal::of(error, Failure::History))?;
        Ok(HttpResponse::Ok().json(view))
    };
    answered(&request, read.await)
}

/// Whoever calls; the original tells a key that is missing from one that is wrong.
async fn caller<R: RequiredRole>(request: &HttpRequest) -> Result<Principal, Refusal> {
    let sent_any = ["x-api-key", header::AUTHORIZATION.as_str()]
        .iter()
        .any(|name| request.headers().contains_key(*name));
    let caller = Caller::<R>::of(request).await;
    caller.map_err(|problem| Refusal::of_caller(problem, sent_any))
}

/// Whether a session keeps what this dialect tells.
fn is_ours(details: &SessionDetails) -> bool {
    details.session.options.agent_messages == Some(true)
}

/// A session, however it stands.
async fn find(
    services: &Services,
    caller: &Principal,
    id: &str,
    doing: Failure,
) -> Result<SessionDetails, Refusal> {
    let missing = || Refusal::no_session(id);
    let parsed = id.parse::<SessionId>().map_err(|_invalid| missing())?;
    match services.sessions.get(caller, parsed).await {
        Ok(details) if is_ours(&details) => Ok(details),
        Ok(_) | Err(Error::SessionNotFound) => Err(missing()),
        Err(error) => Err(Refusal::of(error, doing)),
    }
}

/// What is to be run, and what was asked; who asks for nothing of a session is told that first.
async fn order(
    services: &Services,
    limits: &ApiLimits,
    caller: &Principal,
    request: &HttpRequest,
    id: &str,
    body: web::Payload,
) -> Result<(TurnOrder, requests::Send), Refusal> {
    let details = find(services, caller, id, Failure::Send).await?;
    if details.state != SessionState::Active {
        return Err(Refusal::no_session(id));
    }
    let body = asking::json(request, body, limits).await?;
    let asked = requests::read_send(body, limits)?;
    let order = TurnOrder {
        timeout: asked.timeout,
        on_busy: OnBusy::Queue,
        ..TurnOrder::new(details.session.id, asked.prompt.clone())
    };
    Ok((order, asked))
}

async fn begin(
    services: &Services,
    caller: &Principal,
    order: TurnOrder,
    doing: Failure,
) -> Result<LogStream, Refusal> {
    let begun = services.turns.stream_verbatim(caller, order).await;
    begun.map_err(|error| Refusal::of(error, doing))
}
