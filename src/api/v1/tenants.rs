//! Tenants.

use actix_web::http::header;
use actix_web::{HttpResponse, get, patch, post, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use validator::Validate;

use super::paging::PageQuery;
use super::rules::is_tenant_name;
use super::{checked, tenant_name};
use crate::api::ApiLimits;
use crate::api::auth::{AsAdmin, AsOwner, Caller};
use crate::api::input::{CheckRequest, ValidJson, ValidQuery};
use crate::api::page::{CursorKey, CursorScope, PageView};
use crate::api::problem::Problem;
use crate::api::responses::{ChangeTenantProblems, CreateTenantProblems, ListProblems, ReadTenantProblems};
use crate::domain::{Tenant, TenantChange, TenantName};
use crate::service::Services;

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantView {
    /// Its id.
    tenant_id: String,
    /// Its name: the first part of its users' paths. It never changes.
    #[schema(example = "acme")]
    name: String,
    /// When it was first known.
    created_at: DateTime<Utc>,
    /// Since when its credentials are not taken; null while they are.
    #[schema(required)]
    suspended_at: Option<DateTime<Utc>>,
}

impl From<Tenant> for TenantView {
    fn from(tenant: Tenant) -> Self {
        Self {
            tenant_id: tenant.id.to_string(),
            name: tenant.name.to_string(),
            created_at: tenant.created_at,
            suspended_at: tenant.suspended_at,
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
}

impl CheckRequest for CreateTenantRequest {}

/// What is to be changed of a tenant. What is not named stays as it is.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
pub struct UpdateTenantRequest {
    /// Whether its credentials are refused. Sessions and turns that run are left alone.
    #[validate(required)]
    #[schema(required, nullable = false)]
    suspended: Option<bool>,
}

impl CheckRequest for UpdateTenantRequest {}

/// Make a tenant
///
/// **Permissions**: `admin`.
#[utoipa::path(
    tag = "Admin",
    operation_id = "create_tenant",
    request_body = CreateTenantRequest,
    responses((status = 201, description = "It is made", body = TenantView), CreateTenantProblems)
)]
#[post("/api/v1/admin/tenants")]
pub(in crate::api) async fn create_tenant(
    caller: Caller<AsAdmin>,
    body: ValidJson<CreateTenantRequest>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let name = checked("name", body.0.name.as_deref().unwrap_or_default())?;
    let tenant = services.tenants.create(&caller, name).await?;
    let location = format!("/api/v1/admin/tenants/{}", tenant.name);
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .json(TenantView::from(tenant)))
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
    params(("tenant" = String, Path, description = "The tenant's name")),
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
    params(("tenant" = String, Path, description = "The tenant's name")),
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
    };
    let tenant = services
        .tenants
        .update(&caller, &tenant_name(&path)?, &change)
        .await?;
    Ok(HttpResponse::Ok().json(TenantView::from(tenant)))
}
