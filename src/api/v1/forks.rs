//! Forks: new sessions with the conversation of another.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, post, web};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use validator::Validate;

use super::rules::{is_metadata, is_subdir, is_title};
use super::sessions::SessionView;
use super::{checked, session_id, turn_id};
use crate::api::ApiLimits;
use crate::api::auth::{AsMember, Caller};
use crate::api::idempotency::{Answer, IdempotencyKey, once};
use crate::api::input::{CheckRequest, ValidJson};
use crate::api::problem::{FieldError, Problem, ProblemCode};
use crate::api::responses::ForkProblems;
use crate::domain::EventId;
use crate::service::{ForkOrder, Services};

/// How a session is to be forked.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[schema(example = json!({"message_id": 42, "title": "Another way", "subdir": "my-project-2", "copy_workspace": true}))]
pub struct ForkSessionRequest {
    /// The `id` of the last message that the fork has, from the list of messages; all when absent.
    #[schema(nullable = false, example = 42)]
    message_id: Option<u64>,
    /// The first turn that the fork does not have, with what it changed; instead of `message_id`. With `copy_workspace`, the files
    /// are as they were before it.
    #[schema(nullable = false, example = "trn_0199e2c9b6c17d4e8f2a3b5c7d9e1f2a")]
    turn_id: Option<String>,
    /// What people call it; as the original when absent.
    #[validate(custom(function = "is_title", use_context))]
    #[schema(nullable = false, example = "Another way")]
    title: Option<String>,
    /// What its client attaches; as the original when absent.
    #[validate(custom(function = "is_metadata", use_context))]
    #[schema(value_type = BTreeMap<String, Value>, required = false, nullable = false, example = json!({"ticket": "OPS-1234"}))]
    metadata: Option<Map<String, Value>>,
    /// Its workspace; the original's when absent.
    #[validate(custom(function = "is_subdir"))]
    #[schema(nullable = false, example = "my-project-2", max_length = 200)]
    subdir: Option<String>,
    /// Whether the original's workspace is copied into `subdir`, which must be new or empty; `false` when absent.
    #[schema(nullable = false)]
    copy_workspace: Option<bool>,
}

impl CheckRequest for ForkSessionRequest {
    fn check_inner(&self, _limits: &ApiLimits) -> Vec<FieldError> {
        if self.turn_id.is_some() && self.message_id.is_some() {
            let words = "is not taken together with `message_id`";
            return vec![FieldError::new("turn_id", "not_together", words)];
        }
        if self.copy_workspace == Some(true) && self.subdir.is_none() {
            let words = "is needed to copy the workspace into";
            return vec![FieldError::new("subdir", "missing", words)];
        }
        Vec::new()
    }
}

/// Fork a session
///
/// Makes a new session that goes on from where this one is, or was at an earlier message. This one stays as it is.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Sessions",
    operation_id = "fork_session",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again, and is answered with what was answered the first time", example = "7c1b6d1e-order-4711"), ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    request_body = ForkSessionRequest,
    responses(
        (status = 201, description = "The new session", body = SessionView, headers(("Location" = String, description = "The session's path"))),
        ForkProblems,
    )
)]
#[post("/api/v1/sessions/{session_id}/fork")]
pub(in crate::api) async fn fork_session(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    body: ValidJson<ForkSessionRequest>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let asked = body.0;
    let message =
        |id: u64| EventId::from_number(id).ok_or_else(|| Problem::new(ProblemCode::MessageNotFound));
    let order = ForkOrder {
        up_to: asked.message_id.map(message).transpose()?,
        before: asked.turn_id.as_deref().map(turn_id).transpose()?,
        title: asked.title,
        metadata: asked.metadata,
        subdir: asked
            .subdir
            .as_deref()
            .map(|subdir| checked("subdir", subdir))
            .transpose()?,
        copy_workspace: asked.copy_workspace.unwrap_or(false),
    };
    let session = session_id(&path)?;
    once(&caller, &services, key.with(body.1), async || {
        let view = SessionView::from(services.forks.fork(&caller, session, order).await?);
        Ok(Answer::new(StatusCode::CREATED, &view)?.at(view.path()))
    })
    .await
}
