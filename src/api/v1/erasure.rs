//! Erasing users and tenants, and handing out what belongs to a user.

use actix_web::http::header;
use actix_web::{HttpResponse, delete, get, web};
use serde::Serialize;
use tokio_util::io::ReaderStream;
use utoipa::ToSchema;

use super::tenant_name;
use crate::api::auth::{AsAdmin, AsOwner, Caller};
use crate::api::problem::{FieldError, Problem, ProblemCode};
use crate::api::responses::{EraseProblems, ExportProblems};
use crate::domain::UserId;
use crate::service::Services;

/// What was erased.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErasedView {
    /// How many sessions, with all that they had.
    #[schema(example = 7)]
    sessions: u64,
}

fn user_id(text: &str) -> Result<UserId, Problem> {
    text.parse().map_err(|error: crate::domain::InvalidName| {
        let error = FieldError::new("user_id", "invalid_name", error.to_string());
        Problem::fields(ProblemCode::ValidationFailed, vec![error])
    })
}

/// Erase a user
///
/// Ends the user's agents and removes sessions with their logs and transcripts, files, private homes and keys, for good.
/// The ledger keeps what was spent, without the user's name; the audit keeps that this happened. What requests of the tenant
/// were answered with under idempotency keys is forgotten. A user that is not known is erased already.
///
/// **Permissions**: `owner` of the tenant, or `admin`.
#[utoipa::path(
    tag = "Admin",
    operation_id = "erase_user",
    params(("tenant" = String, Path, description = "The tenant's name", example = "acme"), ("user_id" = String, Path, description = "The user", example = "alice")),
    responses((status = 200, description = "What was erased", body = ErasedView), EraseProblems)
)]
#[delete("/api/v1/admin/tenants/{tenant}/users/{user_id}")]
pub(in crate::api) async fn erase_user(
    caller: Caller<AsOwner>,
    path: web::Path<(String, String)>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (tenant, user) = (tenant_name(&path.0)?, user_id(&path.1)?);
    let erased = services.erasure.erase_user(&caller, &tenant, &user).await?;
    Ok(HttpResponse::Ok().json(ErasedView {
        sessions: erased.sessions,
    }))
}

/// Erase a tenant
///
/// What erasing each of its users does, and its keys, budgets, credential, policy and limits; its name is free again. Not
/// with a credential of the tenant's own.
///
/// **Permissions**: `admin`.
#[utoipa::path(
    tag = "Admin",
    operation_id = "erase_tenant",
    params(("tenant" = String, Path, description = "The tenant's name", example = "acme")),
    responses((status = 200, description = "What was erased", body = ErasedView), EraseProblems)
)]
#[delete("/api/v1/admin/tenants/{tenant}")]
pub(in crate::api) async fn erase_tenant(
    caller: Caller<AsAdmin>,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let erased = services
        .erasure
        .erase_tenant(&caller, &tenant_name(&path)?)
        .await?;
    Ok(HttpResponse::Ok().json(ErasedView {
        sessions: erased.sessions,
    }))
}

/// Export a user
///
/// What belongs to the user, as JSON lines: first what this is, then sessions, turns, events, transcripts, questions and
/// what was used (`record` names each), files in pieces of base64, and last how many lines there were.
///
/// **Permissions**: `owner` of the tenant, or `admin`.
#[utoipa::path(
    tag = "Admin",
    operation_id = "export_user",
    params(("tenant" = String, Path, description = "The tenant's name", example = "acme"), ("user_id" = String, Path, description = "The user", example = "alice")),
    responses((status = 200, description = "JSON lines", content_type = "application/x-ndjson", body = String, example = json!("{\"format\":\"paddock-part\",\"version\":1,\"tenant\":\"acme\",\"user\":\"alice\"}\n{\"end\":{\"records\":0}}\n")), ExportProblems)
)]
#[get("/api/v1/admin/tenants/{tenant}/users/{user_id}/export")]
pub(in crate::api) async fn export_user(
    caller: Caller<AsOwner>,
    path: web::Path<(String, String)>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (tenant, user) = (tenant_name(&path.0)?, user_id(&path.1)?);
    let file = services.erasure.export(&caller, &tenant, Some(&user)).await?;
    Ok(handed_out(file, &format!("{tenant}-{user}")))
}

/// Export a tenant
///
/// What belongs to the tenant, in the form of a user's; its budgets too, and no keys and no credentials.
///
/// **Permissions**: `owner` of the tenant, or `admin`.
#[utoipa::path(
    tag = "Admin",
    operation_id = "export_tenant",
    params(("tenant" = String, Path, description = "The tenant's name", example = "acme")),
    responses((status = 200, description = "JSON lines", content_type = "application/x-ndjson", body = String, example = json!("{\"format\":\"paddock-part\",\"version\":1,\"tenant\":\"acme\",\"user\":null}\n{\"end\":{\"records\":0}}\n")), ExportProblems)
)]
#[get("/api/v1/admin/tenants/{tenant}/export")]
pub(in crate::api) async fn export_tenant(
    caller: Caller<AsOwner>,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let tenant = tenant_name(&path)?;
    let file = services.erasure.export(&caller, &tenant, None).await?;
    Ok(handed_out(file, tenant.as_str()))
}

fn handed_out(file: std::fs::File, name: &str) -> HttpResponse {
    let disposition = format!("attachment; filename=\"{name}.ndjson\"");
    HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .insert_header((header::CONTENT_DISPOSITION, disposition))
        .streaming(ReaderStream::new(tokio::fs::File::from_std(file)))
}
