//! Webhooks: where a tenant's events are sent.

pub mod deliveries;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, delete, get, patch, post, web};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use validator::{Validate, ValidationError};

use super::paging::PageQuery;
use super::rules::{is_title, present, rule};
use crate::api::ApiLimits;
use crate::api::auth::{AsOwner, Caller};
use crate::api::idempotency::{Answer, IdempotencyKey, once};
use crate::api::input::{CheckRequest, ValidJson, ValidQuery};
use crate::api::page::{CursorKey, CursorScope, PageView};
use crate::api::problem::{FieldError, Problem, ProblemCode};
use crate::api::responses::{
    ChangeWebhookProblems, CreateWebhookProblems, ListWebhooksProblems, RotateWebhookProblems,
    WebhookProblems,
};
use crate::domain::{DisabledReason, EventKind, Webhook, WebhookId};
use crate::service::{NewWebhook, Services, WebhookOrder};

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub struct WebhookView {
    /// Its id.
    #[schema(example = "whk_0199e2b34b167c93947f8a012c4d5e6f")]
    webhook_id: String,
    /// Where events are sent.
    #[schema(example = "https://example.com/hooks/paddock")]
    url: String,
    /// What people call it.
    #[schema(required, example = "Build results")]
    description: Option<String>,
    /// The types of events that are sent.
    #[schema(example = json!(["done", "error"]))]
    events: Vec<EventKind>,
    /// Whether events are sent.
    enabled: bool,
    /// Why not, if not.
    #[schema(required)]
    disabled_reason: Option<DisabledReason>,
    /// Since when not.
    #[schema(required)]
    disabled_at: Option<DateTime<Utc>>,
    /// Since when every try failed, if the last one did.
    #[schema(required)]
    failing_since: Option<DateTime<Utc>>,
    /// When it was made.
    created_at: DateTime<Utc>,
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        Self {
            webhook_id: webhook.id.to_string(),
            url: webhook.url,
            description: webhook.description,
            events: webhook.kinds,
            enabled: webhook.disabled.is_none(),
            disabled_reason: webhook.disabled.map(|disabled| disabled.reason),
            disabled_at: webhook.disabled.map(|disabled| disabled.at),
            failing_since: webhook.failing_since,
            created_at: webhook.created_at,
        }
    }
}

/// A webhook that was just made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewWebhook)]
pub struct NewWebhookView {
    /// The webhook.
    #[serde(flatten)]
    webhook: WebhookView,
    /// What signs what is sent to it: `whsec_` and base64, as Standard Webhooks has it. Null in the answer to a request that
    /// was sent again.
    #[schema(nullable = true, example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    secret: Option<String>,
}

/// What signs what is sent to a webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookSecret)]
pub struct WebhookSecretView {
    /// The secret: `whsec_` and base64.
    #[schema(nullable = true, example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    secret: Option<String>,
    /// Until when the secret before signs too, if it was just replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    previous_signs_until: Option<DateTime<Utc>>,
}

/// A webhook to be made.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
pub struct CreateWebhookRequest {
    /// Where events are to be sent.
    #[validate(required)]
    #[schema(required, nullable = false, example = "https://example.com/paddock")]
    url: Option<String>,
    /// What people call it.
    #[validate(custom(function = "is_title", use_context))]
    #[schema(nullable = false, example = "Build results")]
    description: Option<String>,
    /// The types of events that are to be sent; pieces of text and gaps cannot be.
    #[validate(required, custom(function = "are_sendable"))]
    #[schema(required, nullable = false, example = json!(["done", "error", "permission_request"]))]
    events: Option<Vec<EventKind>>,
}

impl CheckRequest for CreateWebhookRequest {}

/// What is to be changed of a webhook. What is absent stays as it is.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
pub struct UpdateWebhookRequest {
    /// Where events are to be sent.
    #[schema(nullable = false, example = "https://example.com/hooks/paddock")]
    url: Option<String>,
    /// What people call it; null removes it.
    #[serde(default, deserialize_with = "present")]
    #[validate(custom(function = "is_title", use_context))]
    #[schema(value_type = Option<String>, required = false, example = "Build results")]
    #[expect(clippy::option_option, reason = "absent, null and a value are three things")]
    description: Option<Option<String>>,
    /// The types of events that are to be sent.
    #[validate(custom(function = "are_sendable"))]
    #[schema(nullable = false, example = json!(["done", "error"]))]
    events: Option<Vec<EventKind>>,
    /// Whether events are sent. What waited while they were not is sent then.
    #[schema(nullable = false)]
    enabled: Option<bool>,
}

impl CheckRequest for UpdateWebhookRequest {
    fn check_inner(&self, _limits: &ApiLimits) -> Vec<FieldError> {
        let is_empty = self.url.is_none()
            && self.description.is_none()
            && self.events.is_none()
            && self.enabled.is_none();
        let words = "must name a field to change: url, description, events, enabled";
        is_empty
            .then(|| FieldError::new("", "empty", words))
            .into_iter()
            .collect()
    }
}

fn are_sendable(kinds: &[EventKind]) -> Result<(), ValidationError> {
    if kinds.is_empty() {
        return Err(rule("empty", "must name at least one type".to_owned()));
    }
    match kinds
        .iter()
        .find(|kind| kind.is_delta() || **kind == EventKind::Gap)
    {
        Some(kind) => Err(rule("not_sendable", format!("`{kind}` is not sent to webhooks"))),
        None => Ok(()),
    }
}

/// The webhook of a path.
fn webhook_id(text: &str) -> Result<WebhookId, Problem> {
    text.parse()
        .map_err(|_not_an_id| Problem::new(ProblemCode::WebhookNotFound))
}

/// Make a webhook
///
/// From then on, every event of the tenant's sessions of one of these types is sent there, at least once, signed by Standard
/// Webhooks: `{"type", "timestamp", "data": {"session_id", "user_id", "event"}}`. `webhook-id` is the same over all tries.
/// Events may come in another order than they happened; `data.event.id` tells it. What is not taken (2xx) is tried
/// again for about 28 hours, then it is a dead letter.
///
/// **Permissions**: `owner`.
#[utoipa::path(
    tag = "Webhooks",
    operation_id = "create_webhook",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key makes no second webhook, and tells no secret", example = "7c1b6d1e-order-4711")),
    request_body = CreateWebhookRequest,
    responses(
        (status = 201, description = "The webhook, and its secret", body = NewWebhookView, headers(("Location" = String, description = "The webhook's path"))),
        CreateWebhookProblems,
    )
)]
#[post("/api/v1/webhooks")]
pub(in crate::api) async fn create_webhook(
    caller: Caller<AsOwner>,
    key: IdempotencyKey,
    body: ValidJson<CreateWebhookRequest>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let ValidJson(asked, digest) = body;
    let new = NewWebhook {
        url: asked.url.unwrap_or_default(),
        description: asked.description,
        kinds: asked.events.unwrap_or_default(),
    };
    once(&caller, &services, key.with(digest), async || {
        let (webhook, secret) = services.webhooks.create(&caller, new).await?;
        let location = format!("/api/v1/webhooks/{}", webhook.id);
        let answer = Answer::new(StatusCode::CREATED, &WebhookView::from(webhook))?;
        Ok(answer
            .at(location)
            .with_secret("secret", secret.expose_secret().into()))
    })
    .await
}

/// List webhooks
///
/// **Permissions**: `owner`.
#[utoipa::path(
    tag = "Webhooks",
    operation_id = "list_webhooks",
    params(PageQuery),
    responses((status = 200, description = "A page of webhooks", body = PageView<WebhookView>), ListWebhooksProblems)
)]
#[get("/api/v1/webhooks")]
pub(in crate::api) async fn list_webhooks(
    caller: Caller<AsOwner>,
    query: ValidQuery<PageQuery>,
    limits: web::Data<ApiLimits>,
    cursors: web::Data<CursorKey>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let scope = CursorScope {
        list: "webhooks",
        tenant: caller.tenant,
        filter: &[],
    };
    let after = query.0.key::<WebhookId>(&cursors, scope)?;
    let page = services
        .webhooks
        .list(&caller, after, query.0.size(&limits))
        .await?;
    Ok(HttpResponse::Ok().json(PageView::<WebhookView>::of(page, &cursors, scope)))
}

/// Get a webhook
///
/// **Permissions**: `owner`.
#[utoipa::path(
    tag = "Webhooks",
    operation_id = "get_webhook",
    params(("webhook_id" = String, Path, description = "The webhook", example = "whk_0199e2b34b167c93947f8a012c4d5e6f")),
    responses((status = 200, description = "The webhook", body = WebhookView), WebhookProblems)
)]
#[get("/api/v1/webhooks/{webhook_id}")]
pub(in crate::api) async fn get_webhook(
    caller: Caller<AsOwner>,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let webhook = services.webhooks.get(&caller, webhook_id(&path)?).await?;
    Ok(HttpResponse::Ok().json(WebhookView::from(webhook)))
}

/// Change a webhook
///
/// **Permissions**: `owner`.
#[utoipa::path(
    tag = "Webhooks",
    operation_id = "update_webhook",
    params(("webhook_id" = String, Path, description = "The webhook", example = "whk_0199e2b34b167c93947f8a012c4d5e6f")),
    request_body = UpdateWebhookRequest,
    responses((status = 200, description = "The webhook, changed", body = WebhookView), ChangeWebhookProblems)
)]
#[patch("/api/v1/webhooks/{webhook_id}")]
pub(in crate::api) async fn update_webhook(
    caller: Caller<AsOwner>,
    path: web::Path<String>,
    body: ValidJson<UpdateWebhookRequest>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let asked = body.0;
    let order = WebhookOrder {
        url: asked.url,
        description: asked.description,
        kinds: asked.events,
        enabled: asked.enabled,
    };
    let webhook = services
        .webhooks
        .update(&caller, webhook_id(&path)?, order)
        .await?;
    Ok(HttpResponse::Ok().json(WebhookView::from(webhook)))
}

/// Remove a webhook
///
/// With what waits for it.
///
/// **Permissions**: `owner`.
#[utoipa::path(
    tag = "Webhooks",
    operation_id = "remove_webhook",
    params(("webhook_id" = String, Path, description = "The webhook", example = "whk_0199e2b34b167c93947f8a012c4d5e6f")),
    responses((status = 204, description = "It is removed"), WebhookProblems)
)]
#[delete("/api/v1/webhooks/{webhook_id}")]
pub(in crate::api) async fn remove_webhook(
    caller: Caller<AsOwner>,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    services.webhooks.remove(&caller, webhook_id(&path)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Get a webhook's secret
///
/// **Permissions**: `owner`.
#[utoipa::path(
    tag = "Webhooks",
    operation_id = "get_webhook_secret",
    params(("webhook_id" = String, Path, description = "The webhook", example = "whk_0199e2b34b167c93947f8a012c4d5e6f")),
    responses((status = 200, description = "The secret", body = WebhookSecretView), WebhookProblems)
)]
#[get("/api/v1/webhooks/{webhook_id}/secret")]
pub(in crate::api) async fn get_webhook_secret(
    caller: Caller<AsOwner>,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let secret = services.webhooks.secret(&caller, webhook_id(&path)?).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(WebhookSecretView {
            secret: Some(secret.expose_secret().to_owned()),
            previous_signs_until: None,
        }))
}

/// Give a webhook a new secret
///
/// The one before signs too, for a day.
///
/// **Permissions**: `owner`.
#[utoipa::path(
    tag = "Webhooks",
    operation_id = "rotate_webhook_secret",
    params(
        ("webhook_id" = String, Path, description = "The webhook", example = "whk_0199e2b34b167c93947f8a012c4d5e6f"),
        ("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key makes no second secret, and tells none", example = "7c1b6d1e-order-4711"),
    ),
    responses((status = 200, description = "The new secret", body = WebhookSecretView), RotateWebhookProblems)
)]
#[post("/api/v1/webhooks/{webhook_id}/secret")]
pub(in crate::api) async fn rotate_webhook_secret(
    caller: Caller<AsOwner>,
    path: web::Path<String>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let id = webhook_id(&path)?;
    once(&caller, &services, key.alone(), async || {
        let (secret, until) = services.webhooks.rotate(&caller, id).await?;
        let view = WebhookSecretView {
            secret: None,
            previous_signs_until: Some(until),
        };
        let answer = Answer::new(StatusCode::OK, &view)?;
        Ok(answer.with_secret("secret", secret.expose_secret().into()))
    })
    .await
}
