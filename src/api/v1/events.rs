//! A session's log: as server-sent events, as lines of JSON, or in pages.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, HttpResponse, get, web};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use strum::IntoEnumIterator as _;
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

use super::rules::{flag, page_limit, within_page_limit};
use super::{session_id, turn_id};
use crate::api::ApiLimits;
use crate::api::auth::{AsGuest, Caller};
use crate::api::input::{CheckRequest, ValidQuery};
use crate::api::page::page_size;
use crate::api::problem::{FieldError, Problem, ProblemCode};
use crate::api::responses::EventProblems;
use crate::api::streams::{self, Framing};
use crate::domain::{EventBody, EventId, EventKind, SessionId};
use crate::service::{EventOrder, LogStream, Services};

/// One event of a session's log: `data` of a server-sent event, a line of JSON, an entry of a page, a message of a WebSocket.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StreamEvent, example = json!({
    "id": 42,
    "turn_id": "trn_0199e2c9b6c17d4e8f2a3b5c7d9e1f2a",
    "created_at": "2026-11-21T09:30:00Z",
    "type": "text_delta",
    "text": "There are"
}))]
pub struct StreamEventView {
    /// Its place in the session's log, also the `id` of the server-sent event.
    #[schema(example = 42)]
    id: u64,
    /// The turn it belongs to, if to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "trn_0199e2c9b6c17d4e8f2a3b5c7d9e1f2a")]
    turn_id: Option<String>,
    /// When it was written.
    created_at: DateTime<Utc>,
    /// What happened.
    #[serde(flatten)]
    body: EventBody,
}

/// A page of a session's log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventPage)]
pub struct EventPageView {
    /// The events, oldest first.
    #[schema(value_type = Vec<StreamEventView>)]
    data: Vec<Box<RawValue>>,
    /// What to send as `after` for the next page; null when there is none yet.
    #[schema(required, example = "42")]
    next_cursor: Option<String>,
}

/// The place in a log after which its client goes on: the header `Last-Event-ID`.
#[derive(Debug)]
pub(in crate::api) struct LastEventId(pub(super) Option<EventId>);

impl FromRequest for LastEventId {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let read = match request.headers().get("last-event-id") {
            None => Ok(None),
            // What an EventSource that had no event yet would say.
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => cursor(value.to_str().unwrap_or_default()).map(Some),
        };
        ready(read.map(Self))
    }
}

/// The place that a cursor names.
pub(super) fn cursor(text: &str) -> Result<EventId, Problem> {
    let number = text.parse().ok().and_then(EventId::from_number);
    number.ok_or_else(|| {
        Problem::new(ProblemCode::InvalidCursor)
            .with_detail("a cursor is the `id` of an event of this session, or 0")
    })
}

/// What of a log is read.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct EventsQuery {
    /// What came after the event of this `id`; from the beginning when absent. `Last-Event-ID` counts more.
    #[param(example = "42")]
    after: Option<String>,
    /// Whether pieces of text are read too, as far as they are kept; yes when absent.
    #[serde(default, deserialize_with = "flag")]
    deltas: Option<bool>,
    /// Whether the CLI's own messages (`agent_message`) are read too, where the session keeps them; no when absent.
    #[serde(default, deserialize_with = "flag")]
    raw: Option<bool>,
    /// Only events of these types, apart by commas; pieces of text are read when their types are named.
    #[param(example = "message,done,error")]
    types: Option<String>,
    /// Only events of this turn. A stream that follows ends with the turn's last event.
    #[param(example = "trn_0199e2c9b6c17d4e8f2a3b5c7d9e1f2a")]
    turn: Option<String>,
    /// Whether what comes is waited for. When absent: yes for server-sent events, no for lines of JSON. Pages never wait.
    #[serde(default, deserialize_with = "flag")]
    follow: Option<bool>,
    /// How many entries a page has at most. Streams have no such limit.
    #[serde(default, deserialize_with = "page_limit")]
    #[validate(custom(function = "within_page_limit", use_context))]
    #[param(minimum = 1, example = 50)]
    limit: Option<u32>,
}

impl CheckRequest for EventsQuery {
    fn check_inner(&self, _limits: &ApiLimits) -> Vec<FieldError> {
        kinds(self.types.as_deref()).err().into_iter().collect()
    }
}

/// The types of a list.
pub(super) fn kinds(list: Option<&str>) -> Result<Vec<EventKind>, FieldError> {
    let names = list.iter().flat_map(|names| names.split(','));
    names
        .map(|name| {
            name.trim().parse().map_err(|_unknown| {
                let known: Vec<_> = EventKind::iter().map(|kind| kind.to_string()).collect();
                let words = format!("`{name}` is none of {}", known.join(", "));
                FieldError::new("types", "unknown_type", words)
            })
        })
        .collect()
}

/// What of a session's log is read, from its beginning where no place is named.
pub(super) fn order_of(
    session: SessionId,
    after: Option<&str>,
    types: Option<&str>,
    deltas: Option<bool>,
    raw: Option<bool>,
) -> Result<EventOrder, Problem> {
    let after = after.map(cursor).transpose()?;
    let kinds = kinds(types).map_err(|error| Problem::fields(ProblemCode::InvalidQuery, vec![error]))?;
    Ok(EventOrder {
        session,
        after: after.unwrap_or(EventId::START),
        kinds,
        deltas: deltas.unwrap_or(true),
        raw: raw.unwrap_or(false),
        turn: None,
        follow: true,
    })
}

/// Read or follow a session's events
///
/// The session's log, from its beginning or after a cursor: in pages (`application/json`), as lines (`application/x-ndjson`)
/// or as server-sent events (`text/event-stream`), by `Accept`. The events and their ids are the same in all of them, and
/// on a WebSocket. Reading after an id gives exactly what came later, once. Events that are no longer kept are told by
/// a `gap` with the first id that is.
///
/// A stream that follows ends when the session is closed or removed; asked for again, it is then 204, which tells an
/// `EventSource` to stop.
///
/// **Permissions**: `guest` of the session, or `reader`.
#[utoipa::path(
    tag = "Events",
    operation_id = "read_events",
    params(
        ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"),
        EventsQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event that the client got, as an `EventSource` sends it; counts more than `after`", example = "42"),
    ),
    responses(
        (status = 200, description = "Events", content(
            (EventPageView = "application/json"),
            (StreamEventView = "application/x-ndjson"),
            (StreamEventView = "text/event-stream"),
        )),
        (status = 204, description = "Nothing came after the cursor, and nothing will"),
        EventProblems,
    )
)]
#[get("/api/v1/sessions/{session_id}/events")]
pub(in crate::api) async fn read_events(
    caller: Caller<AsGuest>,
    path: web::Path<String>,
    query: ValidQuery<EventsQuery>,
    last: LastEventId,
    request: HttpRequest,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (session, query) = (session_id(&path)?, query.0);
    let framing = wanted(&request);
    let follow = query.follow.unwrap_or(framing == Some(Framing::Sse));
    let refuse = |field: &str, words: &str| {
        let error = FieldError::new(field, "not_together", words);
        Err(Problem::fields(ProblemCode::InvalidQuery, vec![error]))
    };
    if framing.is_none() && follow {
        return refuse("follow", "a page waits for nothing; ask for a stream by `Accept`");
    }
    if framing.is_some() && query.limit.is_some() {
        return refuse("limit", "a stream has no such limit; ask for a page by `Accept`");
    }
    let order = order_of(
        session,
        query.after.as_deref(),
        query.types.as_deref(),
        query.deltas,
        query.raw,
    )?;
    let order = EventOrder {
        after: last.0.unwrap_or(order.after),
        turn: query.turn.as_deref().map(turn_id).transpose()?,
        follow,
        ..order
    };
    let Some(events) = services.events.read(&caller, order).await? else {
        return Ok(HttpResponse::NoContent().finish());
    };
    match framing {
        Some(framing) => Ok(streams::response(events, framing, limits.heartbeat)),
        None => page(events, page_size(query.limit, &limits)).await,
    }
}

/// How the client wants the log: as a stream, or in pages.
fn wanted(request: &HttpRequest) -> Option<Framing> {
    let accept = request
        .headers()
        .get(header::ACCEPT)?
        .to_str()
        .ok()?
        .to_ascii_lowercase();
    [Framing::Sse, Framing::Ndjson]
        .into_iter()
        .find(|framing| accept.contains(framing.media_type()))
}

async fn page(events: LogStream, size: u32) -> Result<HttpResponse, Problem> {
    let size = size as usize;
    let mut items: Vec<_> = events.take(size.saturating_add(1)).try_collect().await?;
    let is_last = items.len() <= size;
    items.truncate(size);
    let next_cursor = items.last().filter(|_| !is_last).map(|last| last.id.to_string());
    let data = items.iter().map(|item| serde_json::from_slice(&item.json));
    let data = data.collect::<Result<_, _>>().map_err(|error| {
        tracing::error!(%error, "an event was not rendered as JSON");
        Problem::new(ProblemCode::Internal)
    })?;
    Ok(HttpResponse::Ok().json(EventPageView { data, next_cursor }))
}
