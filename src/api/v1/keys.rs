//! Keys of tenants.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, delete, get, post, web};
use chrono::{DateTime, Utc};
use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use validator::Validate;

use super::paging::PageQuery;
use super::rules::{are_networks, is_key_name, is_user_id};
use super::{checked, tenant_name};
use crate::api::ApiLimits;
use crate::api::auth::{AsOwner, Caller};
use crate::api::idempotency::{Answer, IdempotencyKey, once};
use crate::api::input::{CheckRequest, ValidJson, ValidQuery};
use crate::api::page::{CursorKey, CursorScope, PageView};
use crate::api::problem::{Problem, ProblemCode};
use crate::api::responses::{CreateKeyProblems, KeyProblems, ListInTenantProblems};
use crate::domain::{ApiKey, KeyId, Role};
use crate::service::{NewKey, Services};

/// A key, without itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyView {
    /// Its id.
    #[schema(example = "key_0199e2b129f47a71b25d6e8f0a2b3c4d")]
    key_id: String,
    /// What people call it.
    #[schema(example = "ci")]
    name: String,
    /// What it allows.
    role: Role,
    /// The one user that it acts for; null for any of the tenant's.
    #[schema(required, example = "alice")]
    user_id: Option<String>,
    /// The networks that it may be used from; any when empty.
    #[schema(example = json!(["192.0.2.0/24"]))]
    networks: Vec<String>,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it ends by itself; null for never.
    #[schema(required)]
    expires_at: Option<DateTime<Utc>>,
    /// When it was revoked; null while it is not.
    #[schema(required)]
    revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to about a minute; null for never.
    #[schema(required)]
    last_used_at: Option<DateTime<Utc>>,
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            key_id: key.id.to_string(),
            name: key.name,
            role: key.role,
            user_id: key.user.map(|user| user.to_string()),
            networks: key.networks.iter().map(ToString::to_string).collect(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            last_used_at: key.last_used_at,
        }
    }
}

/// A key that was just made.
#[derive(Serialize, ToSchema)]
pub struct CreatedKeyView {
    /// The key itself. It is shown this once, and is kept nowhere: null where the same request is sent again under its
    /// idempotency key.
    #[schema(required, example = "pdk_key_mJ0u8bqk4Q2y9m3S1n5rX7tVwZ6aBcDeFgHiJkLmNoP")]
    key: Option<String>,
    /// All else of it.
    #[serde(flatten)]
    view: KeyView,
}

impl CreatedKeyView {
    /// The key itself, and all else of it.
    #[must_use]
    pub fn new(secret: &SecretString, key: ApiKey) -> Self {
        Self {
            key: Some(secret.expose_secret().to_owned()),
            view: key.into(),
        }
    }
}

/// A key to be made.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[schema(example = json!({"name": "ci", "role": "member", "user_id": "alice", "networks": ["192.0.2.0/24"]}))]
pub struct CreateKeyRequest {
    /// What people call it: 1 to 100 characters. One living key of a tenant has a name.
    #[validate(required, custom(function = "is_key_name"))]
    #[schema(required, nullable = false, min_length = 1, max_length = 100, example = "ci")]
    name: Option<String>,
    /// What it allows; no more than the credential that makes it.
    #[validate(required)]
    #[schema(required, nullable = false)]
    role: Option<Role>,
    /// The one user that it acts for; any of the tenant's when absent. Not for owners and admins.
    #[validate(custom(function = "is_user_id"))]
    #[schema(nullable = false, example = "alice")]
    user_id: Option<String>,
    /// When it ends by itself; never when absent.
    #[schema(nullable = false)]
    expires_at: Option<DateTime<Utc>>,
    /// The networks that it may be used from: at most 50; any when absent.
    #[validate(custom(function = "are_networks"))]
    #[schema(nullable = false, max_items = 50, example = json!(["192.0.2.0/24"]))]
    networks: Option<Vec<String>>,
}

impl CheckRequest for CreateKeyRequest {}

/// The key of a path. What is no key's id is as unknown as one that nobody has.
fn key_id(text: &str) -> Result<KeyId, Problem> {
    text.parse()
        .map_err(|_not_an_id| Problem::new(ProblemCode::KeyNotFound))
}

/// Make a key
///
/// The answer is the only one that holds the key itself: only its SHA-256 is kept.
///
/// **Permissions**: `owner` of the tenant, or `admin`.
#[utoipa::path(
    tag = "Admin",
    operation_id = "create_key",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again, and is answered with what was answered the first time", example = "7c1b6d1e-order-4711"), ("tenant" = String, Path, description = "The tenant's name", example = "acme")),
    request_body = CreateKeyRequest,
    responses((status = 201, description = "The key, shown once", body = CreatedKeyView), CreateKeyProblems)
)]
#[post("/api/v1/admin/tenants/{tenant}/keys")]
pub(in crate::api) async fn create_key(
    caller: Caller<AsOwner>,
    path: web::Path<String>,
    body: ValidJson<CreateKeyRequest>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let tenant = tenant_name(&path)?;
    let asked = body.0;
    let (Some(name), Some(role)) = (asked.name, asked.role) else {
        return Err(Problem::new(ProblemCode::ValidationFailed));
    };
    let networks = asked.networks.unwrap_or_default();
    let new = NewKey {
        name,
        role,
        user: asked.user_id.map(|user| checked("user_id", &user)).transpose()?,
        expires_at: asked.expires_at,
        networks: networks
            .iter()
            .map(|network| checked::<IpNet>("networks", network))
            .collect::<Result<_, _>>()?,
    };
    once(&caller, &services, key.with(body.1), async || {
        let (made, secret) = services.tenants.create_key(&caller, &tenant, new).await?;
        let location = format!("/api/v1/admin/tenants/{tenant}/keys/{}", made.id);
        let answer = Answer::new(StatusCode::CREATED, &KeyView::from(made))?.at(location);
        Ok(answer.with_secret("key", secret.expose_secret().into()))
    })
    .await
}

/// List keys
///
/// Newest first, also those that are over.
///
/// **Permissions**: `owner` of the tenant, or `admin`.
#[utoipa::path(
    tag = "Admin",
    operation_id = "list_keys",
    params(("tenant" = String, Path, description = "The tenant's name", example = "acme"), PageQuery),
    responses((status = 200, description = "A page of keys", body = PageView<KeyView>), ListInTenantProblems)
)]
#[get("/api/v1/admin/tenants/{tenant}/keys")]
pub(in crate::api) async fn list_keys(
    caller: Caller<AsOwner>,
    path: web::Path<String>,
    query: ValidQuery<PageQuery>,
    limits: web::Data<ApiLimits>,
    cursors: web::Data<CursorKey>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let tenant = tenant_name(&path)?;
    let filter = [tenant.to_string()];
    let scope = CursorScope {
        list: "keys",
        tenant: caller.tenant,
        filter: &filter,
    };
    let before = query.0.key::<KeyId>(&cursors, scope)?;
    let page = services
        .tenants
        .list_keys(&caller, &tenant, before, query.0.size(&limits))
        .await?;
    Ok(HttpResponse::Ok().json(PageView::<KeyView>::of(page, &cursors, scope)))
}

/// Get a key
///
/// **Permissions**: `owner` of the tenant, or `admin`.
#[utoipa::path(
    tag = "Admin",
    operation_id = "get_key",
    params(("tenant" = String, Path, description = "The tenant's name", example = "acme"), ("key_id" = String, Path, description = "The key", example = "key_0199e2b129f47a71b25d6e8f0a2b3c4d")),
    responses((status = 200, description = "The key, without itself", body = KeyView), KeyProblems)
)]
#[get("/api/v1/admin/tenants/{tenant}/keys/{key_id}")]
pub(in crate::api) async fn get_key(
    caller: Caller<AsOwner>,
    path: web::Path<(String, String)>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (tenant, id) = (tenant_name(&path.0)?, key_id(&path.1)?);
    let key = services.tenants.get_key(&caller, &tenant, id).await?;
    Ok(HttpResponse::Ok().json(KeyView::from(key)))
}

/// Revoke a key
///
/// It opens nothing from then on; other instances follow within seconds (`auth.cache_ttl`). Its record stays. Revoking a
/// revoked key changes nothing.
///
/// **Permissions**: `owner` of the tenant, or `admin`.
#[utoipa::path(
    tag = "Admin",
    operation_id = "revoke_key",
    params(("tenant" = String, Path, description = "The tenant's name", example = "acme"), ("key_id" = String, Path, description = "The key", example = "key_0199e2b129f47a71b25d6e8f0a2b3c4d")),
    responses((status = 200, description = "The key, revoked", body = KeyView), KeyProblems)
)]
#[delete("/api/v1/admin/tenants/{tenant}/keys/{key_id}")]
pub(in crate::api) async fn revoke_key(
    caller: Caller<AsOwner>,
    path: web::Path<(String, String)>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (tenant, id) = (tenant_name(&path.0)?, key_id(&path.1)?);
    let key = services.tenants.revoke_key(&caller, &tenant, id).await?;
    Ok(HttpResponse::Ok().json(KeyView::from(key)))
}
