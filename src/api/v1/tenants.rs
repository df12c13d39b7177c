//! Tenants.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, get, patch, post, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use validator::Validate;

use super::options::SessionOptionsRequest;
use super::paging::PageQuery;
use super::rules::{are_names, is_tenant_name};
use super::{checked, tenant_name};
use crate::api::ApiLimits;
use crate::api::auth::{AsAdmin, AsOwner, Caller};
use crate::api::idempotency::{Answer, IdempotencyKey, once};
use crate::api::input::{CheckRequest, ValidJson, ValidQuery, broken_rules};
use crate::api::page::{CursorKey, CursorScope, PageView};
use crate::api::problem::{FieldError, Problem};
use crate::api::responses::{ChangeTenantProblems, CreateTenantProblems, ListProblems, ReadTenantProblems};
use crate::domain::{
    OnLostTurn, PermissionMode, SessionOptions, Tenant, TenantChange, TenantLimits, TenantName,
    TenantNetwork, TenantPolicy,
};
use crate::service::Services;

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantView {
    /// Its id.
    #[schema(example = "ten_0199e2b018e37f60a14c5d7e9f1a2b3c")]
    tenant_id: String,
    /// Its name: the first part of its users' paths. It never changes.
    #[schema(example = "acme")]
    name: String,
    /// When it was first known.
    created_at: DateTime<Utc>,
    /// Since when its credentials are not taken; null while they are.
    #[schema(required)]
    suspended_at: Option<DateTime<Utc>>,
    /// What its sessions may ask for; what is absent is as the server allows.
    policy: TenantPolicy,
    /// How much it may ask for; what is absent is as the server's settings say.
    limits: TenantLimits,
}

impl From<Tenant> for TenantView {
    fn from(tenant: Tenant) -> Self {
        Self {
            tenant_id: tenant.id.to_string(),
            name: tenant.name.to_string(),
            created_at: tenant.created_at,
            suspended_at: tenant.suspended_at,
            policy: TenantPolicy {
                defaults: tenant.policy.defaults.as_ref().map(SessionOptions::shown),
                ..tenant.policy
            },
            limits: tenant.limits,
        }
    }
}

/// A tenant to be made.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
pub struct CreateTenantRequest {
    /// Its name.
    #[validate(required, custom(function = "is_tenant_name"))]
    #[schema(required, nullable = false, example = "acme")]
    name: Option<String>,
    /// What its sessions may ask for.
    #[schema(nullable = false)]
    policy: Option<PolicyRequest>,
    /// How much it may ask for.
    #[schema(nullable = false)]
    limits: Option<TenantLimits>,
}

impl CheckRequest for CreateTenantRequest {
    fn check_inner(&self, limits: &ApiLimits) -> Vec<FieldError> {
        self.policy
            .as_ref()
            .map(|policy| policy.check(limits))
            .unwrap_or_default()
    }
}

/// What a tenant's sessions may ask for. A list that is absent allows all that the server allows; names may end in `*`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"models": ["claude-haiku-*"], "denied_tools": ["WebFetch"], "network": "gateway", "on_lost": "resume"}))]
pub struct PolicyRequest {
    /// The permission modes that sessions may have.
    #[schema(nullable = false)]
    permission_modes: Option<Vec<PermissionMode>>,
    /// The models that may be asked, also by sub-agents.
    #[schema(nullable = false, example = json!(["claude-haiku-*"]))]
    models: Option<Vec<String>>,
    /// The tools that sessions may allow without a permission.
    #[schema(nullable = false)]
    tools: Option<Vec<String>>,
    /// Tools that are offered to the model in no session.
    #[schema(nullable = false)]
    denied_tools: Option<Vec<String>>,
    /// The MCP servers that sessions may bring, by name.
    #[schema(nullable = false)]
    mcp_servers: Option<Vec<String>>,
    /// The commands that MCP servers of sessions may be.
    #[schema(nullable = false)]
    mcp_commands: Option<Vec<String>>,
    /// The plugins that sessions may have, by path.
    #[schema(nullable = false)]
    plugins: Option<Vec<String>>,
    /// The variables that sessions may set, of those that the server lets sessions set.
    #[schema(nullable = false)]
    env: Option<Vec<String>>,
    /// Which network its agents get, at most.
    #[schema(nullable = false)]
    network: Option<TenantNetwork>,
    /// What becomes of turns whose server does not live to end them; `unknown` where it is absent.
    #[schema(nullable = false)]
    on_lost: Option<OnLostTurn>,
    /// Whether sessions may be shown by links to people without a credential; no when absent. Links that were made show nothing
    /// while it is no.
    #[schema(nullable = false)]
    share_links: Option<bool>,
    /// What sessions get that do not say otherwise, before the server's own defaults.
    #[schema(nullable = false)]
    defaults: Option<SessionOptionsRequest>,
}

impl PolicyRequest {
    fn check(&self, limits: &ApiLimits) -> Vec<FieldError> {
        let lists = [
            ("models", &self.models),
            ("tools", &self.tools),
            ("denied_tools", &self.denied_tools),
            ("mcp_servers", &self.mcp_servers),
            ("mcp_commands", &self.mcp_commands),
            ("plugins", &self.plugins),
            ("env", &self.env),
        ];
        let mut errors: Vec<_> = lists
            .into_iter()
            .filter_map(|(name, list)| {
                let error = are_names(list.as_deref().unwrap_or_default(), limits).err()?;
                let words = error.message.unwrap_or_default();
                Some(FieldError::new(format!("policy.{name}"), error.code, words))
            })
            .collect();
        if let Some(defaults) = &self.defaults {
            errors.extend(broken_rules("policy.defaults", defaults, limits));
        }
        errors
    }
}

impl From<PolicyRequest> for TenantPolicy {
    fn from(asked: PolicyRequest) -> Self {
        Self {
            permission_modes: asked.permission_modes,
            models: asked.models,
            tools: asked.tools,
            denied_tools: asked.denied_tools,
            mcp_servers: asked.mcp_servers,
            mcp_commands: asked.mcp_commands,
            plugins: asked.plugins,
            env: asked.env,
            network: asked.network,
            on_lost: asked.on_lost,
            share_links: asked.share_links.unwrap_or(false),
            defaults: asked.defaults.map(Into::into),
        }
    }
}

/// What is to be changed of a tenant. What is not named stays as it is.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
pub struct UpdateTenantRequest {
    /// Whether its credentials are refused. Sessions and turns that run are left alone.
    #[schema(nullable = false)]
    suspended: Option<bool>,
    /// What its sessions may ask for, as a whole. Sessions that there are keep their options.
    #[schema(nullable = false)]
    policy: Option<PolicyRequest>,
    /// How much it may ask for, as a whole.
    #[schema(nullable = false)]
    limits: Option<TenantLimits>,
}

impl CheckRequest for UpdateTenantRequest {
    fn check_inner(&self, limits: &ApiLimits) -> Vec<FieldError> {
        if self.suspended.is_none() && self.policy.is_none() && self.limits.is_none() {
            let words = "must name a field to change: suspended, policy, limits";
            return vec![FieldError::new("", "empty", words)];
        }
        self.policy
            .as_ref()
            .map(|policy| policy.check(limits))
            .unwrap_or_default()
    }
}

/// Make a tenant
///
/// **Permissions**: `admin`.
#[utoipa::path(
    tag = "Admin",
    operation_id = "create_tenant",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again, and is answered with what was answered the first time", example = "7c1b6d1e-order-4711")),
    request_body = CreateTenantRequest,
    responses((status = 201, description = "It is made", body = TenantView), CreateTenantProblems)
)]
#[post("/api/v1/admin/tenants")]
pub(in crate::api) async fn create_tenant(
    caller: Caller<AsAdmin>,
    body: ValidJson<CreateTenantRequest>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let name = checked("name", body.0.name.as_deref().unwrap_or_default())?;
    let terms = TenantChange {
        suspended: None,
        policy: body.0.policy.map(Into::into),
        limits: body.0.limits,
    };
    once(&caller, &services, key.with(body.1), async || {
        let tenant = services.tenants.create(&caller, name, terms).await?;
        let location = format!("/api/v1/admin/tenants/{}", tenant.name);
        Ok(Answer::new(StatusCode::CREATED, &TenantView::from(tenant))?.at(location))
    })
    .await
}

/// List tenants
///
/// By their names. An owner sees its own.
///
/// **Permissions**: `owner`.
#[utoipa::path(
    tag = "Admin",
    operation_id = "list_tenants",
    params(PageQuery),
    responses((status = 200, description = "A page of tenants", body = PageView<TenantView>), ListProblems)
)]
#[get("/api/v1/admin/tenants")]
pub(in crate::api) async fn list_tenants(
    caller: Caller<AsOwner>,
    query: ValidQuery<PageQuery>,
    limits: web::Data<ApiLimits>,
    cursors: web::Data<CursorKey>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let scope = CursorScope {
        list: "tenants",
        tenant: caller.tenant,
        filter: &[],
    };
    let after = query.0.key::<TenantName>(&cursors, scope)?;
    let page = services
        .tenants
        .list(&caller, after, query.0.size(&limits))
        .await?;
    Ok(HttpResponse::Ok().json(PageView::<TenantView>::of(page, &cursors, scope)))
}

/// Get a tenant
///
/// **Permissions**: `owner` of the tenant, or `admin`.
#[utoipa::path(
    tag = "Admin",
    operation_id = "get_tenant",
    params(("tenant" = String, Path, description = "The tenant's name", example = "acme")),
    responses((status = 200, description = "The tenant", body = TenantView), ReadTenantProblems)
)]
#[get("/api/v1/admin/tenants/{tenant}")]
pub(in crate::api) async fn get_tenant(
    caller: Caller<AsOwner>,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let tenant = services.tenants.get(&caller, &tenant_name(&path)?).await?;
    Ok(HttpResponse::Ok().json(TenantView::from(tenant)))
}

/// Change a tenant
///
/// Other instances follow within seconds (`auth.cache_ttl`).
///
/// **Permissions**: `admin`.
#[utoipa::path(
    tag = "Admin",
    operation_id = "update_tenant",
    params(("tenant" = String, Path, description = "The tenant's name", example = "acme")),
    request_body = UpdateTenantRequest,
    responses((status = 200, description = "The tenant as it now is", body = TenantView), ChangeTenantProblems)
)]
#[patch("/api/v1/admin/tenants/{tenant}")]
pub(in crate::api) async fn update_tenant(
    caller: Caller<AsAdmin>,
    path: web::Path<String>,
    body: ValidJson<UpdateTenantRequest>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let change = TenantChange {
        suspended: body.0.suspended,
        policy: body.0.policy.map(Into::into),
        limits: body.0.limits,
    };
    let tenant = services
        .tenants
        .update(&caller, &tenant_name(&path)?, &change)
        .await?;
    Ok(HttpResponse::Ok().json(TenantView::from(tenant)))
}
