//! Tenants' own credentials for the model's API. They can be written, and never read.

use actix_web::{HttpResponse, delete, get, put, web};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use validator::{Validate, ValidationError};

use super::tenant_name;
use crate::api::ApiLimits;
use crate::api::auth::{AsOwner, Caller};
use crate::api::input::{CheckRequest, ValidJson};
use crate::api::problem::{Problem, ProblemCode};
use crate::api::responses::{CredentialProblems, SetCredentialProblems};
use crate::domain::{CredentialKind, TenantName};
use crate::service::{CredentialInfo, Services};

/// The longest credential, in bytes.
const SECRET_MAX_BYTES: usize = 4096;

/// A credential to be set.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
pub struct SetCredentialRequest {
    /// What kind it is.
    #[validate(required)]
    #[schema(required, nullable = false)]
    kind: Option<CredentialKind>,
    /// The credential: 1 to 4096 visible ASCII letters. It is sealed at once, and never shown.
    #[validate(required, custom(function = "is_secret"))]
    #[schema(required, nullable = false, value_type = String, write_only, min_length = 1, max_length = 4096, example = "sk-ant-api03-of-the-tenant")]
    secret: Option<Hidden>,
    /// Whether the model's API is asked first whether it takes it; `true` when absent.
    #[schema(nullable = false)]
    test: Option<bool>,
}

/// A text that is not shown.
#[derive(Deserialize)]
#[serde(transparent)]
struct Hidden(SecretString);

/// The rules of requests tell what they are about; not of this.
impl Serialize for Hidden {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl std::fmt::Debug for SetCredentialRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetCredentialRequest")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl CheckRequest for SetCredentialRequest {}

fn is_secret(secret: &Hidden) -> Result<(), ValidationError> {
    let text = secret.0.expose_secret();
    let fits = (1..=SECRET_MAX_BYTES).contains(&text.len());
    if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(ValidationError::new("secret").with_message("must be 1 to 4096 visible ASCII letters".into()))
    }
}

/// What may be told of a credential.
#[derive(Debug, Serialize, ToSchema)]
pub struct CredentialView {
    /// The tenant.
    #[schema(example = "acme")]
    tenant: String,
    /// What kind it is.
    kind: CredentialKind,
    /// When it was set.
    set_at: DateTime<Utc>,
}

impl CredentialView {
    fn of(tenant: &TenantName, info: &CredentialInfo) -> Self {
        Self {
            tenant: tenant.to_string(),
            kind: info.kind,
            set_at: info.set_at,
        }
    }
}

/// Set a tenant's credential for the model
///
/// From the next request on, the tenant's agents reach the model with it; the agents themselves never have it. It takes
/// the place of the one that was set before. Other instances follow within ten seconds.
///
/// **Permissions**: `owner` of the tenant, or `admin`.
#[utoipa::path(
    tag = "Admin",
    operation_id = "set_model_credential",
    params(("tenant" = String, Path, description = "The tenant's name", example = "acme")),
    request_body = SetCredentialRequest,
    responses((status = 200, description = "It is set", body = CredentialView), SetCredentialProblems)
)]
#[put("/api/v1/admin/tenants/{tenant}/model-credential")]
pub(in crate::api) async fn set_model_credential(
    caller: Caller<AsOwner>,
    path: web::Path<String>,
    body: ValidJson<SetCredentialRequest>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let tenant = tenant_name(&path)?;
    // Both are there, as was checked.
    let (Some(kind), Some(secret)) = (body.0.kind, body.0.secret) else {
        return Err(Problem::new(ProblemCode::ValidationFailed));
    };
    let set = services
        .credentials
        .set(&caller, &tenant, kind, &secret.0, body.0.test.unwrap_or(true))
        .await?;
    Ok(HttpResponse::Ok().json(CredentialView::of(&tenant, &set)))
}

/// Get a tenant's credential for the model
///
/// What kind it is and since when; never itself.
///
/// **Permissions**: `owner` of the tenant, or `admin`.
#[utoipa::path(
    tag = "Admin",
    operation_id = "get_model_credential",
    params(("tenant" = String, Path, description = "The tenant's name", example = "acme")),
    responses((status = 200, description = "It is set", body = CredentialView), CredentialProblems)
)]
#[get("/api/v1/admin/tenants/{tenant}/model-credential")]
pub(in crate::api) async fn get_model_credential(
    caller: Caller<AsOwner>,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let tenant = tenant_name(&path)?;
    let info = services.credentials.get(&caller, &tenant).await?;
    Ok(HttpResponse::Ok().json(CredentialView::of(&tenant, &info)))
}

/// Remove a tenant's credential for the model
///
/// From the next request on, the tenant's agents reach the model with the platform's.
///
/// **Permissions**: `owner` of the tenant, or `admin`.
#[utoipa::path(
    tag = "Admin",
    operation_id = "remove_model_credential",
    params(("tenant" = String, Path, description = "The tenant's name", example = "acme")),
    responses((status = 204, description = "It is removed"), CredentialProblems)
)]
#[delete("/api/v1/admin/tenants/{tenant}/model-credential")]
pub(in crate::api) async fn remove_model_credential(
    caller: Caller<AsOwner>,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    services.credentials.remove(&caller, &tenant_name(&path)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
