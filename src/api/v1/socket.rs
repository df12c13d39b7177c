//! A session over a WebSocket: its events come, commands go. Each message is one JSON object.

mod commands;
pub mod connection;
pub mod line;

use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use bytestring::ByteString;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

use super::events::{kinds, order_of};
use super::rules::flag;
use super::session_id;
use crate::api::ApiLimits;
use crate::api::auth::{AsReader, Authenticator, Caller, caller_of_socket};
use crate::api::idempotency::{Answer, IdempotencyKey, once};
use crate::api::input::{CheckRequest, ValidQuery};
use crate::api::problem::{FieldError, Problem, ProblemCode};
use crate::api::responses::{SocketProblems, TicketProblems};
use crate::service::{FeedItem, Services};
use commands::Desk;
use connection::serve;
use line::{Line, bounded};

pub use commands::{SocketCommand, SocketReply};

/// How connections are treated that stay open.
#[derive(Debug, Clone)]
pub struct SocketRules {
    /// The longest frame of a client, in bytes.
    pub frame_max_bytes: usize,
    /// The longest message of a client, in bytes.
    pub message_max_bytes: usize,
    /// How often a ping is sent.
    pub ping_interval: Duration,
    /// How long a client may be silent, or not take what is sent.
    pub idle_timeout: Duration,
    /// The web origins besides our own whose pages may connect; `*` alone for all.
    pub origins: Vec<String>,
}

/// A ticket.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SocketTicket)]
pub struct TicketView {
    /// The ticket, told this once.
    #[schema(nullable = true, example = "eyJudW1iZXIiOiIwMTk5ZTJjYiJ9.9sV7xB1nK8mQ4fR2")]
    ticket: String,
    /// When it ends.
    expires_at: DateTime<Utc>,
}

/// Get a ticket for a WebSocket
///
/// Browsers cannot send a key with a WebSocket. With a ticket in the address instead of a key, one connection to this session
/// can be opened, once, for a short while; it may do what the caller may.
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "Events",
    operation_id = "issue_socket_ticket",
    params(
        ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"),
        ("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key gives no second ticket, and tells none", example = "7c1b6d1e-order-4711"),
    ),
    responses((status = 201, description = "A ticket", body = TicketView), TicketProblems)
)]
#[post("/api/v1/sessions/{session_id}/ws-ticket")]
pub(in crate::api) async fn issue_ticket(
    caller: Caller<AsReader>,
    key: IdempotencyKey,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let session = session_id(&path)?;
    once(&caller, &services, key.alone(), async || {
        let (ticket, expires_at) = services.authentication.issue_ticket(&caller, session).await?;
        let view = json!({"expires_at": expires_at});
        let answer = Answer::new(StatusCode::CREATED, &view)?;
        Ok(answer.with_secret("ticket", ticket.expose_secret().into()))
    })
    .await
}

/// What of a log comes, and by what right.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct SocketQuery {
    /// What came after the event of this `id`; from the beginning when absent.
    #[param(example = "42")]
    after: Option<String>,
    /// Whether pieces of text come too; yes when absent.
    #[serde(default, deserialize_with = "flag")]
    deltas: Option<bool>,
    /// Whether the CLI's own messages (`agent_message`) come too, where the session keeps them; no when absent.
    #[serde(default, deserialize_with = "flag")]
    raw: Option<bool>,
    /// Only events of these types, apart by commas.
    #[param(example = "message,done,error")]
    types: Option<String>,
    /// A ticket for this session, in place of a key.
    #[param(example = "eyJudW1iZXIiOiIwMTk5ZTJjYiJ9.9sV7xB1nK8mQ4fR2")]
    ticket: Option<String>,
}

impl CheckRequest for SocketQuery {
    fn check_inner(&self, _limits: &ApiLimits) -> Vec<FieldError> {
        kinds(self.types.as_deref()).err().into_iter().collect()
    }
}

/// Open a WebSocket to a session
///
/// The session's events come as they do from `events`, each a text message (`StreamEvent`); commands go the other way
/// (`SocketCommand`), and each is answered by an `ack` or a `refused` with its `ref` (`SocketReply`). Several clients may be
/// connected at once. A client that lost the connection goes on with `after`.
///
/// It is closed with 1000 when the session is closed, 1001 when the server stops, 1002 after what is no WebSocket, 1003
/// after a binary message, 1008 when the credential is no longer good, 1009 after a message that is too long, 1011 when the
/// log cannot be read, 4408 when the client was silent for too long.
///
/// **Permissions**: `reader`; commands but `ping` ask for `member`.
#[utoipa::path(
    tag = "Events",
    operation_id = "open_socket",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), SocketQuery),
    responses(
        (status = 101, description = "The connection is a WebSocket; what is sent is a `SocketCommand`, what comes a `StreamEvent` or a `SocketReply`"),
        (status = 204, description = "Nothing came after the cursor, and nothing will"),
        SocketProblems,
    )
)]
#[get("/api/v1/sessions/{session_id}/ws")]
pub(in crate::api) async fn open_socket(
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
    authenticator: web::Data<Authenticator>,
    limits: web::Data<ApiLimits>,
    rules: web::Data<SocketRules>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (session, query) = (session_id(&path), ValidQuery::<SocketQuery>::of(&request));
    let ticket = query.as_ref().ok().and_then(|query| query.0.ticket.as_deref());
    // Whoever may not connect is told nothing of what is wrong besides.
    let caller = match &session {
        Ok(session) => caller_of_socket(&request, ticket, *session).await?,
        Err(_) => Caller::<AsReader>::of(&request).await?,
    };
    check_origin(&request, &rules.origins)?;
    let (session, query) = (session?, query?.0);
    let order = order_of(
        session,
        query.after.as_deref(),
        query.types.as_deref(),
        query.deltas,
        query.raw,
    )?;
    let Some(events) = services.events.open(&caller, order).await? else {
        return Ok(HttpResponse::NoContent().finish());
    };
    let (response, socket, incoming) = actix_ws::handle(&request, payload)
        .map_err(|error| Problem::new(ProblemCode::UpgradeRequired).with_detail(error.to_string()))?;
    let incoming = bounded(incoming, &rules);
    let over = services.events.over(&caller);
    let rules = rules.get_ref().clone();
    let line = Line::new(socket, rules.idle_timeout);
    let desk = Desk {
        caller,
        session,
        limits,
        services,
        authenticator,
    };
    let served = async move {
        let told = |event: &FeedItem| ByteString::try_from(event.json.clone()).ok();
        serve(line, &rules, &desk, incoming, events, told, over).await;
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "the connection is the worker's, like any response; what a command begins does not depend on it"
    )]
    actix_web::rt::spawn(served);
    Ok(response)
}

/// Refuses pages of other web origins: a browser connects for any page, and sends what credentials it has.
pub fn check_origin(request: &HttpRequest, allowed: &[String]) -> Result<(), Problem> {
    let Some(origin) = request.headers().get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let own = origin.split_once("://").map(|(_, host)| host);
    let is_own = own.is_some() && own == host;
    if is_own || allowed.iter().any(|allowed| allowed == "*" || allowed == origin) {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::OriginForbidden)
        .with_detail(format!("`{origin}` is not among api.cors_origins")))
}
