//! What was sent to a webhook, what is to be, and what is sent again.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, get, post, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

use super::super::events::cursor;
use super::super::rules::{page_limit, within_page_limit};
use super::super::session_id;
use super::webhook_id;
use crate::api::ApiLimits;
use crate::api::auth::{AsOwner, Caller};
use crate::api::idempotency::{Answer, IdempotencyKey, once};
use crate::api::input::{CheckRequest, ValidJson, ValidQuery};
use crate::api::page::{CursorKey, CursorScope, PageView, page_size};
use crate::api::problem::{Problem, ProblemCode};
use crate::api::responses::{DeliveryProblems, ListWebhookProblems, RedeliverProblems, ReplayProblems};
use crate::domain::{Delivery, DeliveryAttempt, DeliveryStatus, EventId, EventKind};
use crate::service::Services;

/// An event on its way to a webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub struct DeliveryView {
    /// The message's id, as in the header `webhook-id`.
    #[schema(example = "msg_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f_42")]
    message_id: String,
    /// The event's session.
    #[schema(example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    session_id: String,
    /// The event's place in its session's log.
    #[schema(example = 42)]
    event_id: u64,
    /// The event's type.
    event_type: EventKind,
    /// Where it is.
    status: DeliveryStatus,
    /// How often it was tried.
    #[schema(example = 1)]
    attempts: u32,
    /// When it is tried next; null when it is not.
    #[schema(required)]
    next_attempt_at: Option<DateTime<Utc>>,
    /// When the event was written, or it was asked for again.
    created_at: DateTime<Utc>,
    /// What came of the last try; null before the first.
    #[schema(required)]
    last_attempt: Option<DeliveryAttempt>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            message_id: delivery.message().to_string(),
            session_id: delivery.session.to_string(),
            event_id: delivery.event.get(),
            event_type: delivery.kind,
            status: delivery.status,
            attempts: delivery.attempts,
            next_attempt_at: delivery.due_at,
            created_at: delivery.created_at,
            last_attempt: delivery.last,
        }
    }
}

/// Which deliveries, and which page of them.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct DeliveriesQuery {
    /// Those that are there; `dead` are the dead letters. All when absent.
    #[param(inline)]
    status: Option<DeliveryStatus>,
    /// How many entries at most.
    #[serde(default, deserialize_with = "page_limit")]
    #[validate(custom(function = "within_page_limit", use_context))]
    #[param(minimum = 1, example = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(example = "pS9kQ0m1xV3bT7yWn2rLfDE3")]
    cursor: Option<String>,
}

impl CheckRequest for DeliveriesQuery {}

/// How many deliveries were made again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Redelivered)]
pub struct RedeliveredView {
    /// How many.
    #[schema(example = 4)]
    redelivered: u64,
}

/// From where on a session's events are sent again.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
pub struct ReplayRequest {
    /// The session.
    #[validate(required)]
    #[schema(required, nullable = false, example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    session_id: Option<String>,
    /// What came after the event of this `id`; from the beginning when absent.
    #[schema(nullable = false, example = 42)]
    after: Option<u64>,
}

impl CheckRequest for ReplayRequest {}

/// What is sent again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Replayed)]
pub struct ReplayedView {
    /// How many events.
    #[schema(example = 128)]
    replayed: u64,
    /// The last of them, to be sent as `after` for what comes after it; null when there was none.
    #[schema(required, example = 170)]
    last_event_id: Option<u64>,
}

/// List a webhook's deliveries
///
/// Newest first; with `status=dead`, the dead letters.
///
/// **Permissions**: `owner`.
#[utoipa::path(
    tag = "Webhooks",
    operation_id = "list_deliveries",
    params(("webhook_id" = String, Path, description = "The webhook", example = "whk_0199e2b34b167c93947f8a012c4d5e6f"), DeliveriesQuery),
    responses((status = 200, description = "A page of deliveries", body = PageView<DeliveryView>), ListWebhookProblems)
)]
#[get("/api/v1/webhooks/{webhook_id}/deliveries")]
pub(in crate::api) async fn list_deliveries(
    caller: Caller<AsOwner>,
    path: web::Path<String>,
    query: ValidQuery<DeliveriesQuery>,
    limits: web::Data<ApiLimits>,
    cursors: web::Data<CursorKey>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (id, query) = (webhook_id(&path)?, query.0);
    let status = query.status.map(|status| status.to_string()).unwrap_or_default();
    let filter = [id.to_string(), status];
    let scope = CursorScope {
        list: "deliveries",
        tenant: caller.tenant,
        filter: &filter,
    };
    let before = query.cursor.as_deref();
    let before = before.map(|text| cursors.read::<u64>(scope, text)).transpose()?;
    let size = page_size(query.limit, &limits);
    let page = services
        .webhooks
        .deliveries(&caller, id, query.status, before, size)
        .await?;
    Ok(HttpResponse::Ok().json(PageView::<DeliveryView>::of(page, &cursors, scope)))
}

/// Send a message again
///
/// Delivered or not; its tries begin anew.
///
/// **Permissions**: `owner`.
#[utoipa::path(
    tag = "Webhooks",
    operation_id = "redeliver_message",
    params(
        ("webhook_id" = String, Path, description = "The webhook", example = "whk_0199e2b34b167c93947f8a012c4d5e6f"),
        ("message_id" = String, Path, description = "The message", example = "msg_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f_42"),
        ("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again", example = "7c1b6d1e-order-4711"),
    ),
    responses((status = 202, description = "The delivery, pending", body = DeliveryView), DeliveryProblems)
)]
#[post("/api/v1/webhooks/{webhook_id}/deliveries/{message_id}/redeliver")]
pub(in crate::api) async fn redeliver_message(
    caller: Caller<AsOwner>,
    path: web::Path<(String, String)>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let id = webhook_id(&path.0)?;
    let message = path
        .1
        .parse()
        .map_err(|_not_an_id| Problem::new(ProblemCode::DeliveryNotFound))?;
    once(&caller, &services, key.alone(), async || {
        let delivery = services.webhooks.redeliver(&caller, id, message).await?;
        Answer::new(StatusCode::ACCEPTED, &DeliveryView::from(delivery))
    })
    .await
}

/// Send all dead letters again
///
/// Their tries begin anew.
///
/// **Permissions**: `owner`.
#[utoipa::path(
    tag = "Webhooks",
    operation_id = "redeliver_dead",
    params(
        ("webhook_id" = String, Path, description = "The webhook", example = "whk_0199e2b34b167c93947f8a012c4d5e6f"),
        ("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again", example = "7c1b6d1e-order-4711"),
    ),
    responses((status = 202, description = "How many there are", body = RedeliveredView), RedeliverProblems)
)]
#[post("/api/v1/webhooks/{webhook_id}/redeliver")]
pub(in crate::api) async fn redeliver_dead(
    caller: Caller<AsOwner>,
    path: web::Path<String>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let id = webhook_id(&path)?;
    once(&caller, &services, key.alone(), async || {
        let redelivered = services.webhooks.redeliver_dead(&caller, id).await?;
        Answer::new(StatusCode::ACCEPTED, &RedeliveredView { redelivered })
    })
    .await
}

/// Send a session's events again
///
/// Those after a cursor, of the types that the webhook wants, whether or not they were delivered: for what happened before
/// the webhook was made, or while it was switched off. As many at once as `webhooks.replay_max`.
///
/// **Permissions**: `owner`.
#[utoipa::path(
    tag = "Webhooks",
    operation_id = "replay_events",
    params(
        ("webhook_id" = String, Path, description = "The webhook", example = "whk_0199e2b34b167c93947f8a012c4d5e6f"),
        ("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again", example = "7c1b6d1e-order-4711"),
    ),
    request_body = ReplayRequest,
    responses((status = 202, description = "What is sent again", body = ReplayedView), ReplayProblems)
)]
#[post("/api/v1/webhooks/{webhook_id}/replay")]
pub(in crate::api) async fn replay_events(
    caller: Caller<AsOwner>,
    path: web::Path<String>,
    key: IdempotencyKey,
    body: ValidJson<ReplayRequest>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let ValidJson(asked, digest) = body;
    let (id, session) = (
        webhook_id(&path)?,
        session_id(&asked.session_id.unwrap_or_default())?,
    );
    let after = asked.after.map(|after| cursor(&after.to_string())).transpose()?;
    let after = after.unwrap_or(EventId::START);
    once(&caller, &services, key.with(digest), async || {
        let (replayed, last) = services.webhooks.replay(&caller, id, session, after).await?;
        let view = ReplayedView {
            replayed,
            last_event_id: last.map(EventId::get),
        };
        Answer::new(StatusCode::ACCEPTED, &view)
    })
    .await
}
