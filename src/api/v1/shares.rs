//! Links by which a session is shown.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use validator::Validate;

use super::paging::PageQuery;
use super::session_id;
use crate::api::ApiLimits;
use crate::api::auth::{AsMember, Caller};
use crate::api::idempotency::{Answer, IdempotencyKey, once};
use crate::api::input::{CheckRequest, ValidJson, ValidQuery};
use crate::api::page::{CursorKey, CursorScope, PageView};
use crate::api::problem::{FieldError, Problem, ProblemCode};
use crate::api::responses::{CreateShareProblems, ListInSessionProblems, ShareProblems};
use crate::domain::{Share, ShareId};
use crate::service::Services;

/// A link to be made.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[schema(example = json!({"expires_in_s": 86400, "files": true}))]
pub struct CreateShareRequest {
    /// After how many seconds it ends: at most `auth.share_link_ttl_max`; `auth.share_link_ttl` when absent.
    #[schema(nullable = false, minimum = 1, example = 86400)]
    expires_in_s: Option<u64>,
    /// Whether it shows the session's files too; no when absent.
    #[schema(nullable = false)]
    files: Option<bool>,
}

impl CheckRequest for CreateShareRequest {
    fn check_inner(&self, limits: &ApiLimits) -> Vec<FieldError> {
        let most = limits.share_ttl_max.as_secs();
        if self.expires_in_s.is_none_or(|asked| (1..=most).contains(&asked)) {
            return Vec::new();
        }
        let words = format!("must be from 1 to {most} seconds");
        vec![FieldError::new("expires_in_s", "out_of_range", words)]
    }
}

/// A link by which a session is shown, without what opens it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShareView {
    /// Its id.
    #[schema(example = "shr_0199e2cf5d1c7b3a8e4f6a7b8c9d0e1f")]
    share_id: String,
    /// The one session that it shows.
    #[schema(example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    session_id: String,
    /// Whether it shows the session's files too.
    files: bool,
    /// What the credential is called that made it.
    #[schema(example = "ci")]
    created_by: String,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it ends by itself.
    expires_at: DateTime<Utc>,
    /// When it was revoked; null while it is not.
    #[schema(required)]
    revoked_at: Option<DateTime<Utc>>,
}

impl From<Share> for ShareView {
    fn from(share: Share) -> Self {
        Self {
            share_id: share.id.to_string(),
            session_id: share.session.to_string(),
            files: share.files,
            created_by: share.created_by,
            created_at: share.created_at,
            expires_at: share.expires_at,
            revoked_at: share.revoked_at,
        }
    }
}

/// A link that was just made.
#[derive(Serialize, ToSchema)]
pub struct CreatedShareView {
    /// The bearer credential that it is. It is shown this once, and is kept nowhere: null where the same request is sent again under
    /// its idempotency key.
    #[schema(required, example = "pdk_share_mJ0u8bqk4Q2y9m3S1n5rX7tVwZ6aBcDeFgHiJkLmNoP")]
    token: Option<String>,
    /// The console's page that shows the session, at the address by which this server was asked. What follows `#` is the
    /// browser's own, and reaches no server. Null where the token is.
    #[schema(
        required,
        example = "http://127.0.0.1:8000/#/shared/pdk_share_mJ0u8bqk4Q2y9m3S1n5rX7tVwZ6aBcDeFgHiJkLmNoP"
    )]
    url: Option<String>,
    /// All else of it.
    #[serde(flatten)]
    view: ShareView,
}

/// The link of a path. What is no link's id is as unknown as one that nobody has.
fn share_id(text: &str) -> Result<ShareId, Problem> {
    text.parse()
        .map_err(|_not_an_id| Problem::new(ProblemCode::ShareNotFound))
}

/// Share a session
///
/// Makes a link by which whoever has it may look at this session, and at nothing else: the session, its messages, turns and
/// events, and with `files` its files. It changes nothing and sees no metadata, no options but the model and the permission
/// mode, and no budgets. The answer is the only one that holds the token.
///
/// **Permissions**: `member`, where the tenant's policy says `share_links`.
#[utoipa::path(
    tag = "Shares",
    operation_id = "create_share",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again, and is answered with what was answered the first time", example = "7c1b6d1e-order-4711"), ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    request_body = CreateShareRequest,
    responses((status = 201, description = "The link, shown once", body = CreatedShareView), CreateShareProblems)
)]
#[post("/api/v1/sessions/{session_id}/shares")]
pub(in crate::api) async fn create_share(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    body: ValidJson<CreateShareRequest>,
    key: IdempotencyKey,
    request: HttpRequest,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let session = session_id(&path)?;
    let asked = body.0;
    let ttl = asked.expires_in_s.map_or(limits.share_ttl, Duration::from_secs);
    once(&caller, &services, key.with(body.1), async || {
        let files = asked.files.unwrap_or(false);
        let (made, token) = services.shares.create(&caller, session, ttl, files).await?;
        let location = format!("/api/v1/sessions/{session}/shares");
        let url = {
            let asked_at = request.connection_info();
            let (scheme, host) = (asked_at.scheme(), asked_at.host());
            format!("{scheme}://{host}/#/shared/{}", token.expose_secret())
        };
        let answer = Answer::new(StatusCode::CREATED, &ShareView::from(made))?.at(location);
        let answer = answer.with_secret("token", token.expose_secret().into());
        Ok(answer.with_secret("url", url.into()))
    })
    .await
}

/// List a session's links
///
/// Newest first, also those that are over.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Shares",
    operation_id = "list_shares",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), PageQuery),
    responses((status = 200, description = "A page of links", body = PageView<ShareView>), ListInSessionProblems)
)]
#[get("/api/v1/sessions/{session_id}/shares")]
pub(in crate::api) async fn list_shares(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    query: ValidQuery<PageQuery>,
    limits: web::Data<ApiLimits>,
    cursors: web::Data<CursorKey>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let session = session_id(&path)?;
    let filter = [session.to_string()];
    let scope = CursorScope {
        list: "shares",
        tenant: caller.tenant,
        filter: &filter,
    };
    let before = query.0.key::<ShareId>(&cursors, scope)?;
    let page = services
        .shares
        .list(&caller, session, before, query.0.size(&limits))
        .await?;
    Ok(HttpResponse::Ok().json(PageView::<ShareView>::of(page, &cursors, scope)))
}

/// Revoke a link
///
/// It shows nothing from then on; other instances follow within seconds (`auth.cache_ttl`), and streams that are open end
/// within `auth.recheck_interval`. Its record stays. Revoking a revoked link changes nothing.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Shares",
    operation_id = "revoke_share",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), ("share_id" = String, Path, description = "The link", example = "shr_0199e2cf5d1c7b3a8e4f6a7b8c9d0e1f")),
    responses((status = 204, description = "It is revoked"), ShareProblems)
)]
#[delete("/api/v1/sessions/{session_id}/shares/{share_id}")]
pub(in crate::api) async fn revoke_share(
    caller: Caller<AsMember>,
    path: web::Path<(String, String)>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (session, share) = (session_id(&path.0)?, share_id(&path.1)?);
    services.shares.revoke(&caller, session, share).await?;
    Ok(HttpResponse::NoContent().finish())
}
