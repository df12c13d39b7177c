//! What agents ask, and the answers of people.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, get, post, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use validator::Validate;

use super::paging::PageQuery;
use super::rules::{is_answer, is_system_prompt};
use super::session_id;
use crate::api::ApiLimits;
use crate::api::auth::{AsMember, AsReader, Caller};
use crate::api::idempotency::{Answer, IdempotencyKey, once};
use crate::api::input::{CheckRequest, ValidJson, ValidQuery};
use crate::api::page::{CursorKey, CursorScope, PageView};
use crate::api::problem::{Problem, ProblemCode};
use crate::api::responses::{AnswerProblems, ListInSessionProblems, ListProblems, ReadPermissionProblems};
use crate::domain::{Permission, PermissionDecision, PermissionId, PermissionKind, Principal, SessionId};
use crate::service::{PermissionAnswer, Services};

/// A question of an agent.
#[derive(Debug, Serialize, ToSchema)]
pub struct PermissionView {
    /// Its id.
    #[schema(example = "prm_0199e2ca07d27e5f903b4c6d8e0f2a3b")]
    permission_id: String,
    /// The session whose agent asks.
    #[schema(example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    session_id: String,
    /// The session's user.
    #[schema(example = "alice")]
    user_id: String,
    /// The turn that waits for the answer.
    #[schema(example = "trn_0199e2c9b6c17d4e8f2a3b5c7d9e1f2a")]
    turn_id: String,
    /// What is asked.
    kind: PermissionKind,
    /// The tool.
    #[schema(example = "Bash")]
    tool_name: String,
    /// What it is to be called with; for a question, `questions` in it.
    #[schema(value_type = BTreeMap<String, Value>, example = json!({"command": "git push"}))]
    tool_input: Value,
    /// The call's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "toolu_01A2b3C4d5E6f7G8h9J0kLmN")]
    tool_use_id: Option<String>,
    /// What the call is for, in the agent's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Push the branch")]
    description: Option<String>,
    /// The tool pattern that `remember` allows from then on; absent where it cannot be remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Bash(git push:*)")]
    remembered_as: Option<String>,
    /// When it was asked.
    created_at: DateTime<Utc>,
    /// When it ends without an answer.
    expires_at: DateTime<Utc>,
    /// The answer; null while it waits.
    #[schema(required)]
    resolution: Option<ResolutionView>,
}

/// How a question was answered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PermissionResolution)]
pub struct ResolutionView {
    /// The answer.
    decision: PermissionDecision,
    /// What the agent was told besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Use the staging database instead.")]
    message: Option<String>,
    /// What the tool was called with instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = BTreeMap<String, Value>, required = false, nullable = false, example = json!({"command": "git push --dry-run"}))]
    updated_input: Option<Value>,
    /// The answers to a question, by its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = BTreeMap<String, Value>, required = false, nullable = false, example = json!({"Which library should we use?": "chrono"}))]
    answers: Option<Map<String, Value>>,
    /// Whether the same needs no permission in this session from then on.
    remember: bool,
    /// Who answered: a credential's name, `rule`, or `paddock` for the server itself.
    #[schema(example = "ci")]
    by: String,
    /// When.
    at: DateTime<Utc>,
}

impl From<Permission> for PermissionView {
    fn from(permission: Permission) -> Self {
        Self {
            kind: permission.kind(),
            permission_id: permission.id.to_string(),
            session_id: permission.session.to_string(),
            user_id: permission.user.to_string(),
            turn_id: permission.turn.to_string(),
            tool_name: permission.tool_name,
            tool_input: permission.tool_input,
            tool_use_id: permission.tool_use_id,
            description: permission.description,
            remembered_as: permission.remembered_as,
            created_at: permission.created_at,
            expires_at: permission.expires_at,
            resolution: permission.resolution.map(|resolution| ResolutionView {
                decision: resolution.decision,
                message: resolution.message,
                updated_input: resolution.updated_input,
                answers: resolution.answers,
                remember: resolution.remember,
                by: resolution.by,
                at: resolution.at,
            }),
        }
    }
}

/// An answer to an agent's question.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[schema(example = json!({"decision": "allow", "remember": true}))]
pub struct AnswerPermissionRequest {
    /// Whether it is allowed.
    #[validate(required)]
    #[schema(required, nullable = false)]
    decision: Option<DecisionRequest>,
    /// What the agent is told besides; with `deny`, why.
    #[validate(custom(function = "is_system_prompt", use_context))]
    #[schema(nullable = false, example = "Use the staging database instead.")]
    message: Option<String>,
    /// What the tool is to be called with instead, as a whole.
    #[validate(custom(function = "is_answer", use_context))]
    #[schema(value_type = BTreeMap<String, Value>, required = false, nullable = false, example = json!({"command": "git push --dry-run"}))]
    updated_input: Option<Map<String, Value>>,
    /// Whether the same (`remembered_as`) needs no permission in this session from now on.
    #[schema(nullable = false)]
    remember: Option<bool>,
    /// The answers to a question, by the question's text.
    #[validate(custom(function = "is_answer", use_context))]
    #[schema(value_type = BTreeMap<String, Value>, required = false, nullable = false, example = json!({"Which library should we use?": "chrono"}))]
    answers: Option<Map<String, Value>>,
}

impl CheckRequest for AnswerPermissionRequest {}

impl From<AnswerPermissionRequest> for PermissionAnswer {
    fn from(asked: AnswerPermissionRequest) -> Self {
        Self {
            allow: asked.decision == Some(DecisionRequest::Allow),
            message: asked.message,
            updated_input: asked.updated_input,
            remember: asked.remember.unwrap_or(false),
            answers: asked.answers,
        }
    }
}

/// Whether something is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecisionRequest {
    /// It is.
    Allow,
    /// It is not.
    Deny,
}

pub(super) fn permission_id(text: &str) -> Result<PermissionId, Problem> {
    text.parse()
        .map_err(|_not_an_id| Problem::new(ProblemCode::PermissionNotFound))
}

async fn list(
    caller: &Principal,
    session: Option<SessionId>,
    query: PageQuery,
    limits: &ApiLimits,
    cursors: &CursorKey,
    services: &Services,
) -> Result<HttpResponse, Problem> {
    let filter = [
        session.map(|session| session.to_string()).unwrap_or_default(),
        caller.user.as_ref().map(ToString::to_string).unwrap_or_default(),
    ];
    let scope = CursorScope {
        list: "permissions",
        tenant: caller.tenant,
        filter: &filter,
    };
    let after = query.key::<PermissionId>(cursors, scope)?;
    let page = services
        .permissions
        .list(caller, session, after, query.size(limits))
        .await?;
    Ok(HttpResponse::Ok().json(PageView::<PermissionView>::of(page, cursors, scope)))
}

/// List what agents ask
///
/// The questions of all of the tenant's agents that wait for an answer, oldest first: an inbox.
///
/// **Permissions**: `reader`; a credential that acts for one user sees that user's only.
#[utoipa::path(
    tag = "Permissions",
    operation_id = "list_permissions",
    params(PageQuery),
    responses((status = 200, description = "A page of questions", body = PageView<PermissionView>), ListProblems)
)]
#[get("/api/v1/permissions")]
pub(in crate::api) async fn list_permissions(
    caller: Caller<AsReader>,
    query: ValidQuery<PageQuery>,
    limits: web::Data<ApiLimits>,
    cursors: web::Data<CursorKey>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    list(&caller, None, query.0, &limits, &cursors, &services).await
}

/// List what a session's agent asks
///
/// Those that wait for an answer, oldest first.
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "Permissions",
    operation_id = "list_session_permissions",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), PageQuery),
    responses((status = 200, description = "A page of questions", body = PageView<PermissionView>), ListInSessionProblems)
)]
#[get("/api/v1/sessions/{session_id}/permissions")]
pub(in crate::api) async fn list_session_permissions(
    caller: Caller<AsReader>,
    path: web::Path<String>,
    query: ValidQuery<PageQuery>,
    limits: web::Data<ApiLimits>,
    cursors: web::Data<CursorKey>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let session = session_id(&path)?;
    list(&caller, Some(session), query.0, &limits, &cursors, &services).await
}

/// Get a question of an agent
///
/// Answered or not.
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "Permissions",
    operation_id = "get_permission",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), ("permission_id" = String, Path, description = "The question", example = "prm_0199e2ca07d27e5f903b4c6d8e0f2a3b")),
    responses((status = 200, description = "The question", body = PermissionView), ReadPermissionProblems)
)]
#[get("/api/v1/sessions/{session_id}/permissions/{permission_id}")]
pub(in crate::api) async fn get_permission(
    caller: Caller<AsReader>,
    path: web::Path<(String, String)>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (session, id) = (session_id(&path.0)?, permission_id(&path.1)?);
    let permission = services.permissions.get(&caller, session, id).await?;
    Ok(HttpResponse::Ok().json(PermissionView::from(permission)))
}

/// Answer a question of an agent
///
/// The first answer counts; a later one is 409 `permission_answered`. The turn goes on at once.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Permissions",
    operation_id = "answer_permission",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again, and is answered with what was answered the first time", example = "7c1b6d1e-order-4711"), ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), ("permission_id" = String, Path, description = "The question", example = "prm_0199e2ca07d27e5f903b4c6d8e0f2a3b")),
    request_body = AnswerPermissionRequest,
    responses((status = 200, description = "The question, answered", body = PermissionView), AnswerProblems)
)]
#[post("/api/v1/sessions/{session_id}/permissions/{permission_id}")]
pub(in crate::api) async fn answer_permission(
    caller: Caller<AsMember>,
    path: web::Path<(String, String)>,
    body: ValidJson<AnswerPermissionRequest>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (session, id) = (session_id(&path.0)?, permission_id(&path.1)?);
    let answer = PermissionAnswer::from(body.0);
    once(&caller, &services, key.with(body.1), async || {
        let permission = services.permissions.answer(&caller, session, id, answer).await?;
        Answer::new(StatusCode::OK, &PermissionView::from(permission))
    })
    .await
}
