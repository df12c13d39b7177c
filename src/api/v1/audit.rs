//! The audit.

use actix_web::{HttpResponse, get, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

use super::rules::{page_limit, within_page_limit};
use super::tenant_name;
use crate::api::ApiLimits;
use crate::api::auth::{AsOwner, Caller};
use crate::api::input::{CheckRequest, ValidQuery};
use crate::api::page::{CursorKey, CursorScope, PageView, page_size};
use crate::api::problem::Problem;
use crate::api::responses::ListInTenantProblems;
use crate::domain::AuditAction;
use crate::service::{AuditRecord, Services};

/// An entry of the audit.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditView {
    /// Its number in the platform's chain.
    #[schema(example = 17)]
    number: u64,
    /// When it happened.
    at: DateTime<Utc>,
    /// The tenant that it concerns; null for the platform.
    #[schema(required, example = "ten_0199e2b018e37f60a14c5d7e9f1a2b3c")]
    tenant_id: Option<String>,
    /// Who did it: a credential's name.
    #[schema(example = "admin")]
    actor: String,
    /// Where the request came from; null where it did not come over the network.
    #[schema(required, example = "192.0.2.7")]
    address: Option<String>,
    /// What happened.
    action: AuditAction,
    /// What it was done to: an id or a name.
    #[schema(example = "key_0199e2b129f47a71b25d6e8f0a2b3c4d")]
    target: String,
    /// What else is to be known of it.
    #[schema(value_type = BTreeMap<String, Value>, example = json!({"name": "ci"}))]
    details: Map<String, Value>,
    /// The entry's hash, which covers the one before.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    hash: String,
}

impl From<AuditRecord> for AuditView {
    fn from(AuditRecord { number, note, hash }: AuditRecord) -> Self {
        Self {
            number,
            at: note.at,
            tenant_id: note.tenant.map(|tenant| tenant.to_string()),
            actor: note.actor,
            address: note.address.map(|address| address.to_string()),
            action: note.action,
            target: note.target,
            details: note.details,
            hash,
        }
    }
}

/// Which page of the audit.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct AuditQuery {
    /// The tenant's alone, by its name.
    #[param(example = "acme")]
    tenant: Option<String>,
    /// How many entries at most.
    #[serde(default, deserialize_with = "page_limit")]
    #[validate(custom(function = "within_page_limit", use_context))]
    #[param(minimum = 1, example = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(example = "pS9kQ0m1xV3bT7yWn2rLfDE3")]
    cursor: Option<String>,
}

impl CheckRequest for AuditQuery {}

/// List the audit
///
/// Newest first: administrative changes, refused credentials, people's answers to agents' questions. An owner sees what
/// concerns its own tenant.
///
/// **Permissions**: `owner`.
#[utoipa::path(
    tag = "Admin",
    operation_id = "list_audit",
    params(AuditQuery),
    responses((status = 200, description = "A page of the audit", body = PageView<AuditView>), ListInTenantProblems)
)]
#[get("/api/v1/admin/audit")]
pub(in crate::api) async fn list_audit(
    caller: Caller<AsOwner>,
    query: ValidQuery<AuditQuery>,
    limits: web::Data<ApiLimits>,
    cursors: web::Data<CursorKey>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let asked = query.0;
    let tenant = asked.tenant.as_deref().map(tenant_name).transpose()?;
    let filter = [tenant.as_ref().map(ToString::to_string).unwrap_or_default()];
    let scope = CursorScope {
        list: "audit",
        tenant: caller.tenant,
        filter: &filter,
    };
    let before = asked
        .cursor
        .as_deref()
        .map(|cursor| cursors.read::<u64>(scope, cursor))
        .transpose()?;
    let page = services
        .tenants
        .audit(&caller, tenant.as_ref(), before, page_size(asked.limit, &limits))
        .await?;
    Ok(HttpResponse::Ok().json(PageView::<AuditView>::of(page, &cursors, scope)))
}
