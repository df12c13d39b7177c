//! Checkpoints: what a session's workspace was like before and after its turns, what a turn changed, and going back.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use validator::{Validate, ValidationError};

use super::diffs::{CONTEXT_USUAL, DiffFormat};
use super::paging::PageQuery;
use super::rules::page_limit;
use super::sessions::SessionView;
use super::{session_id, turn_id};
use crate::api::ApiLimits;
use crate::api::auth::{AsFileGuest, AsMember, Caller};
use crate::api::idempotency::{Answer, IdempotencyKey, once};
use crate::api::input::{CheckRequest, ValidJson, ValidQuery};
use crate::api::page::{CursorKey, CursorScope, PageView};
use crate::api::problem::{FieldError, Problem};
use crate::api::responses::{ListInSessionProblems, RewindTurnProblems, TurnDiffProblems};
use crate::domain::{Checkpoint, CheckpointFailure, Diff, Moment};
use crate::service::{DiffOrder, RewindOrder, Services};

/// The longest path of something in a workspace, in bytes.
const PATH_MAX_BYTES: usize = 4096;

/// What a workspace was like at a moment of a turn.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckpointView {
    /// The turn.
    #[schema(example = "trn_0199e2c9b6c17d4e8f2a3b5c7d9e1f2a")]
    turn_id: String,
    /// When, of the turn.
    moment: Moment,
    /// When it was taken.
    created_at: DateTime<Utc>,
    /// How many files it has.
    #[schema(example = 128)]
    files: u64,
    /// How long they are together, in bytes.
    #[schema(example = 524_288)]
    bytes: u64,
    /// How much of that no earlier one had, in bytes.
    #[schema(example = 4096)]
    stored_bytes: u64,
    /// How much was not kept (files that are too large or cannot be read, pipes) and stays as it is when it is gone back.
    #[schema(example = 0)]
    not_kept: u64,
    /// Why there is nothing to go back to; null when there is.
    #[schema(required, example = json!(null))]
    failure: Option<CheckpointFailure>,
}

impl From<Checkpoint> for CheckpointView {
    fn from(checkpoint: Checkpoint) -> Self {
        Self {
            turn_id: checkpoint.turn.to_string(),
            moment: checkpoint.moment,
            created_at: checkpoint.created_at,
            files: checkpoint.files,
            bytes: checkpoint.bytes,
            stored_bytes: checkpoint.stored_bytes,
            not_kept: checkpoint.not_kept,
            failure: checkpoint.failure,
        }
    }
}

/// List a session's checkpoints
///
/// What is kept of its workspace, newest first: for each turn, how it was before and after. Those that could not be taken are
/// listed with the reason. A session whose option `checkpoints` is off has none.
///
/// **Permissions**: `guest` of a link that shows the session's files, or `reader`.
#[utoipa::path(
    tag = "Checkpoints",
    operation_id = "list_checkpoints",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), PageQuery),
    responses((status = 200, description = "A page of checkpoints", body = PageView<CheckpointView>), ListInSessionProblems)
)]
#[get("/api/v1/sessions/{session_id}/checkpoints")]
pub(in crate::api) async fn list_checkpoints(
    caller: Caller<AsFileGuest>,
    path: web::Path<String>,
    query: ValidQuery<PageQuery>,
    limits: web::Data<ApiLimits>,
    cursors: web::Data<CursorKey>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let id = session_id(&path)?;
    let filter = [id.to_string()];
    let scope = CursorScope {
        list: "checkpoints",
        tenant: caller.tenant,
        filter: &filter,
    };
    let before = query.0.key::<u64>(&cursors, scope)?;
    let page = services
        .checkpoints
        .list(&caller, id, before, query.0.size(&limits))
        .await?;
    Ok(HttpResponse::Ok().json(PageView::<CheckpointView>::of(page, &cursors, scope)))
}

/// Which part of a diff is told, and how.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub struct TurnDiffQuery {
    /// Of this file, or of what lies in this folder: a relative path without `..`.
    #[validate(custom(function = "is_relative"))]
    #[param(example = "src/main.rs", max_length = 4096)]
    path: Option<String>,
    /// How many lines that did not change are told around those that did; 3 when absent.
    #[serde(default, deserialize_with = "page_limit")]
    #[validate(range(max = 1000, message = "must be at most 1000"))]
    #[param(minimum = 0, maximum = 1000, example = 3)]
    context: Option<u32>,
    /// `structured` or `unified`; when absent, by `Accept`.
    #[param(inline, example = "structured")]
    format: Option<DiffFormat>,
}

impl CheckRequest for TurnDiffQuery {}

/// Whether it can be the path of something in a workspace.
fn is_relative(path: &str) -> Result<(), ValidationError> {
    let is_odd = |part: &str| matches!(part, "" | "." | "..");
    if path.len() > PATH_MAX_BYTES || path.split('/').any(is_odd) {
        let words = "must be a relative path without `..`, of at most 4096 bytes";
        return Err(ValidationError::new("invalid_path").with_message(words.into()));
    }
    Ok(())
}

/// Tell what a turn changed
///
/// Every file of the workspace that was another when the turn had ended: what the agent's file tools changed, and what its
/// commands did. As JSON, or as unified text (`Accept: text/x-diff`, or `format=unified`). What is too much is left out, and
/// `truncated` says so. 404 `checkpoint_not_found` where the session keeps no checkpoints, and until the turn has ended.
///
/// **Permissions**: `guest` of a link that shows the session's files, or `reader`.
#[utoipa::path(
    tag = "Checkpoints",
    operation_id = "get_turn_diff",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), ("turn_id" = String, Path, description = "The turn", example = "trn_0199e2c9b6c17d4e8f2a3b5c7d9e1f2a"), TurnDiffQuery),
    responses(
        (status = 200, description = "What it changed", content((Diff = "application/json"), (String = "text/x-diff"))),
        TurnDiffProblems,
    )
)]
#[get("/api/v1/sessions/{session_id}/turns/{turn_id}/diff")]
pub(in crate::api) async fn get_turn_diff(
    caller: Caller<AsFileGuest>,
    path: web::Path<(String, String)>,
    query: ValidQuery<TurnDiffQuery>,
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (session, turn) = (session_id(&path.0)?, turn_id(&path.1)?);
    let asked = query.0;
    let format = DiffFormat::of(asked.format, &request);
    let order = DiffOrder {
        path: asked.path,
        context: asked.context.unwrap_or(CONTEXT_USUAL) as usize,
    };
    let diff = services.checkpoints.diff(&caller, session, turn, order).await?;
    Ok(format.answer(&diff))
}

/// What is to be as it was.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[schema(example = json!({"files": true, "conversation": true}))]
pub struct RewindTurnRequest {
    /// Whether the workspace is to be as it was; yes when absent.
    #[schema(nullable = false)]
    files: Option<bool>,
    /// Whether the agent is to know no more of the conversation than it did; yes when absent.
    #[schema(nullable = false)]
    conversation: Option<bool>,
}

impl CheckRequest for RewindTurnRequest {
    fn check_inner(&self, _limits: &ApiLimits) -> Vec<FieldError> {
        if self.files == Some(false) && self.conversation == Some(false) {
            let words = "must not be false beside `conversation`: nothing would be done";
            return vec![FieldError::new("files", "empty", words)];
        }
        Vec::new()
    }
}

/// Go back to before a turn
///
/// Makes the workspace what it was before the turn, and has the agent know no more of the conversation than it did then; the
/// next prompt goes on from there. What came since stays in the log, and an event of type `session_rewound` says that it
/// was gone back. What lies outside of the workspace is not undone, and neither is what was not kept of it. It can be gone
/// back to any turn that has a checkpoint, also to one that was gone back from.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Checkpoints",
    operation_id = "rewind_turn",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again, and is answered with what was answered the first time", example = "7c1b6d1e-order-4711"), ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), ("turn_id" = String, Path, description = "The turn", example = "trn_0199e2c9b6c17d4e8f2a3b5c7d9e1f2a")),
    request_body = RewindTurnRequest,
    responses((status = 200, description = "The session", body = SessionView), RewindTurnProblems)
)]
#[post("/api/v1/sessions/{session_id}/turns/{turn_id}/rewind")]
pub(in crate::api) async fn rewind_turn(
    caller: Caller<AsMember>,
    path: web::Path<(String, String)>,
    body: ValidJson<RewindTurnRequest>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (session, turn) = (session_id(&path.0)?, turn_id(&path.1)?);
    let order = RewindOrder {
        turn,
        files: body.0.files.unwrap_or(true),
        conversation: body.0.conversation.unwrap_or(true),
    };
    once(&caller, &services, key.with(body.1), async || {
        let details = services.checkpoints.rewind(&caller, session, order).await?;
        Answer::new(StatusCode::OK, &SessionView::from(details))
    })
    .await
}
