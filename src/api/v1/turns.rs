//! Turns: how they stand, and how they are ended early.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, get, post, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::paging::PageQuery;
use super::{session_id, turn_id};
use crate::api::ApiLimits;
use crate::api::auth::{AsGuest, AsMember, Caller};
use crate::api::idempotency::{Answer, IdempotencyKey, once};
use crate::api::input::ValidQuery;
use crate::api::page::{CursorKey, CursorScope, PageView};
use crate::api::problem::Problem;
use crate::api::responses::{CancelTurnProblems, InterruptProblems, ListInSessionProblems, ReadTurnProblems};
use crate::domain::{ToolCall, TurnErrorCode, TurnId, TurnStatus, Usage};
use crate::service::{Services, TurnDetails};

/// A turn.
#[derive(Debug, Serialize, ToSchema)]
pub struct TurnView {
    /// Its id.
    #[schema(example = "trn_0199e2c9b6c17d4e8f2a3b5c7d9e1f2a")]
    turn_id: String,
    /// Its session.
    #[schema(example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    session_id: String,
    /// Where it is.
    status: TurnStatus,
    /// The prompt.
    #[schema(example = "What is in this folder?")]
    message: String,
    /// All that the assistant said; empty until the turn has ended.
    #[schema(example = "There are two files: notes.txt and README.md.")]
    text: String,
    /// The tools that were called, in order.
    tool_calls: Vec<ToolCall>,
    /// The answer in the form that the session's `output_schema` asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = BTreeMap<String, Value>, required = false, nullable = false, example = json!({"files": 2}))]
    structured_output: Option<Value>,
    /// Tokens used.
    usage: Usage,
    /// What it cost, in USD, by the CLI's own count.
    #[schema(example = 0.0042)]
    cost_usd: f64,
    /// What it cost by the CLI's own account, where that was counted apart from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 0.0042)]
    reported_cost_usd: Option<f64>,
    /// Why the model stopped; null until then.
    #[schema(required, example = "end_turn")]
    stop_reason: Option<String>,
    /// Why it did not complete; null when it did, and until it ends.
    #[schema(required)]
    error: Option<TurnErrorView>,
    /// When it was taken; once it has begun: when it began.
    started_at: DateTime<Utc>,
    /// When it ended; null until then.
    #[schema(required)]
    ended_at: Option<DateTime<Utc>>,
}

/// Why a turn did not complete.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TurnError)]
pub struct TurnErrorView {
    /// The reason, by name.
    code: TurnErrorCode,
    /// The reason, in words.
    #[schema(example = "the agent ended unexpectedly")]
    message: String,
}

impl TurnView {
    /// Its path.
    pub(super) fn path(&self) -> String {
        format!("/api/v1/sessions/{}/turns/{}", self.session_id, self.turn_id)
    }
}

impl From<TurnDetails> for TurnView {
    fn from(details: TurnDetails) -> Self {
        let turn = details.turn;
        let mut view = Self {
            turn_id: turn.id.to_string(),
            session_id: turn.session.to_string(),
            status: details.status,
            message: turn.message,
            text: String::new(),
            tool_calls: Vec::new(),
            structured_output: None,
            usage: Usage::default(),
            cost_usd: 0.0,
            reported_cost_usd: None,
            stop_reason: None,
            error: None,
            started_at: turn.started_at,
            ended_at: None,
        };
        if let Some(outcome) = turn.outcome {
            view.text = outcome.text;
            view.tool_calls = outcome.tool_calls;
            view.structured_output = outcome.structured_output;
            view.usage = outcome.usage;
            view.cost_usd = outcome.cost.as_usd();
            view.reported_cost_usd = outcome.reported.map(|reported| reported.cost.as_usd());
            view.stop_reason = outcome.stop_reason;
            view.error = outcome.error.map(|error| TurnErrorView {
                code: error.code,
                message: error.message,
            });
            view.ended_at = Some(outcome.ended_at);
        }
        view
    }
}

/// List a session's turns
///
/// Newest first.
///
/// **Permissions**: `guest` of the session, or `reader`.
#[utoipa::path(
    tag = "Turns",
    operation_id = "list_turns",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), PageQuery),
    responses((status = 200, description = "A page of turns", body = PageView<TurnView>), ListInSessionProblems)
)]
#[get("/api/v1/sessions/{session_id}/turns")]
pub(in crate::api) async fn list_turns(
    caller: Caller<AsGuest>,
    path: web::Path<String>,
    query: ValidQuery<PageQuery>,
    limits: web::Data<ApiLimits>,
    cursors: web::Data<CursorKey>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let id = session_id(&path)?;
    let filter = [id.to_string()];
    let scope = CursorScope {
        list: "turns",
        tenant: caller.tenant,
        filter: &filter,
    };
    let before = query.0.key::<TurnId>(&cursors, scope)?;
    let page = services
        .turns
        .list(&caller, id, before, query.0.size(&limits))
        .await?;
    Ok(HttpResponse::Ok().json(PageView::<TurnView>::of(page, &cursors, scope)))
}

/// Get a turn
///
/// How it stands, and once it has ended what came of it.
///
/// **Permissions**: `guest` of the session, or `reader`.
#[utoipa::path(
    tag = "Turns",
    operation_id = "get_turn",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), ("turn_id" = String, Path, description = "The turn", example = "trn_0199e2c9b6c17d4e8f2a3b5c7d9e1f2a")),
    responses((status = 200, description = "The turn", body = TurnView), ReadTurnProblems)
)]
#[get("/api/v1/sessions/{session_id}/turns/{turn_id}")]
pub(in crate::api) async fn get_turn(
    caller: Caller<AsGuest>,
    path: web::Path<(String, String)>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (session, turn) = (session_id(&path.0)?, turn_id(&path.1)?);
    let details = services.turns.get(&caller, session, turn).await?;
    Ok(HttpResponse::Ok().json(TurnView::from(details)))
}

/// Cancel a turn
///
/// Interrupts it if it runs, and takes it out of the line if it waits; what was done so far is kept. A turn that has
/// ended stays as it is. The answer tells how the turn stands at this moment: the end of one that runs takes a little
/// longer.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Turns",
    operation_id = "cancel_turn",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again, and is answered with what was answered the first time", example = "7c1b6d1e-order-4711"), ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), ("turn_id" = String, Path, description = "The turn", example = "trn_0199e2c9b6c17d4e8f2a3b5c7d9e1f2a")),
    responses((status = 202, description = "The turn", body = TurnView), CancelTurnProblems)
)]
#[post("/api/v1/sessions/{session_id}/turns/{turn_id}/cancel")]
pub(in crate::api) async fn cancel_turn(
    caller: Caller<AsMember>,
    path: web::Path<(String, String)>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (session, turn) = (session_id(&path.0)?, turn_id(&path.1)?);
    once(&caller, &services, key.alone(), async || {
        let details = services.turns.cancel(&caller, session, turn).await?;
        Answer::new(StatusCode::ACCEPTED, &TurnView::from(details))
    })
    .await
}

/// What an interrupt came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct InterruptView {
    /// The session.
    #[schema(example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    session_id: String,
    /// Whether a turn ran.
    interrupted: bool,
    /// The turn that is interrupted; null when none ran.
    #[schema(required, example = "trn_0199e2c9b6c17d4e8f2a3b5c7d9e1f2a")]
    turn_id: Option<String>,
}

/// Interrupt a session's turn
///
/// Ends the turn that runs; what was done so far is kept, and the session takes its next prompt with its context
/// intact. When no turn runs, nothing happens.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Turns",
    operation_id = "interrupt_session",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again, and is answered with what was answered the first time", example = "7c1b6d1e-order-4711"), ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    responses((status = 200, description = "What it came to", body = InterruptView), InterruptProblems)
)]
#[post("/api/v1/sessions/{session_id}/interrupt")]
pub(in crate::api) async fn interrupt_session(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let session = session_id(&path)?;
    once(&caller, &services, key.alone(), async || {
        let turn = services.turns.interrupt(&caller, session).await?;
        let view = InterruptView {
            session_id: session.to_string(),
            interrupted: turn.is_some(),
            turn_id: turn.map(|turn| turn.to_string()),
        };
        Answer::new(StatusCode::OK, &view)
    })
    .await
}
