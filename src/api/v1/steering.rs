//! Steering a session's live agent outside the conversation.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use validator::Validate;

use super::{session_id, turn_id};
use crate::api::ApiLimits;
use crate::api::auth::{AsMember, AsReader, Caller};
use crate::api::idempotency::{Answer, IdempotencyKey, once};
use crate::api::input::{CheckRequest, ValidJson};
use crate::api::problem::Problem;
use crate::api::responses::{RewindProblems, SteeringProblems, StopTaskProblems};
use crate::service::Services;

/// How full a session's context is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContextView {
    /// The model whose context it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "claude-opus-5-5")]
    model: Option<String>,
    /// Tokens in it.
    #[schema(example = 18500)]
    total_tokens: u64,
    /// Tokens that fit into it.
    #[schema(example = 200_000)]
    max_tokens: u64,
    /// What takes them.
    categories: Vec<ContextCategoryView>,
}

/// A part of a context.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ContextCategoryView {
    /// Which part it is, by a name that stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "messages")]
    id: Option<String>,
    /// Which part it is, for people.
    #[schema(example = "Messages")]
    name: String,
    /// Its tokens.
    #[schema(example = 2500)]
    tokens: u64,
    /// `used`, `free`, `buffer` or `deferred`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "used")]
    kind: Option<String>,
}

/// Get a session's context usage
///
/// How full the model's context is, as the CLI tells it. Starts the session's agent if it does not live.
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "Steering",
    operation_id = "get_context_usage",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    responses((status = 200, description = "The usage", body = ContextView), SteeringProblems)
)]
#[get("/api/v1/sessions/{session_id}/context")]
pub(in crate::api) async fn get_context_usage(
    caller: Caller<AsReader>,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let told = services
        .steering
        .context_usage(&caller, session_id(&path)?)
        .await?;
    let number = |name: &str| told.get(name).and_then(Value::as_u64).unwrap_or(0);
    let categories = told
        .get("categories")
        .cloned()
        .unwrap_or(Value::Array(Vec::new()));
    Ok(HttpResponse::Ok().json(ContextView {
        model: told.get("model").and_then(Value::as_str).map(ToOwned::to_owned),
        total_tokens: number("totalTokens"),
        max_tokens: number("maxTokens"),
        categories: serde_json::from_value(categories).unwrap_or_default(),
    }))
}

/// A session's MCP servers.
#[derive(Debug, Serialize, ToSchema)]
pub struct McpServersView {
    /// The servers, as the CLI tells them: `name`, `status` and more.
    #[schema(value_type = Vec<Object>, example = json!([{"name": "search", "status": "connected"}]))]
    data: Value,
}

/// List a session's MCP servers
///
/// Which there are and whether they are connected, as the CLI tells it. Starts the session's agent if it does not live.
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "Steering",
    operation_id = "list_mcp_servers",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    responses((status = 200, description = "The servers", body = McpServersView), SteeringProblems)
)]
#[get("/api/v1/sessions/{session_id}/mcp")]
pub(in crate::api) async fn list_mcp_servers(
    caller: Caller<AsReader>,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let data = services.steering.mcp_status(&caller, session_id(&path)?).await?;
    Ok(HttpResponse::Ok().json(McpServersView {
        data: hide_secrets(data),
    }))
}

/// What servers are configured with may hold secrets.
fn hide_secrets(mut servers: Value) -> Value {
    for server in servers.as_array_mut().into_iter().flatten() {
        if let Some(server) = server.as_object_mut() {
            server.remove("config");
        }
    }
    servers
}

/// Stop a task
///
/// Stops a task that runs beside the conversation: a sub-agent, or a command in the background (events of type
/// `task_started` name them). One that does not run is fine.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Steering",
    operation_id = "stop_task",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again, and is answered with what was answered the first time", example = "7c1b6d1e-order-4711"), ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), ("task_id" = String, Path, description = "The task", example = "b7c3f9d1e")),
    responses((status = 204, description = "It does not run"), StopTaskProblems)
)]
#[post("/api/v1/sessions/{session_id}/tasks/{task_id}/stop")]
pub(in crate::api) async fn stop_task(
    caller: Caller<AsMember>,
    path: web::Path<(String, String)>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (session, task) = path.into_inner();
    let session = session_id(&session)?;
    once(&caller, &services, key.alone(), async || {
        services.steering.stop_task(&caller, session, task).await?;
        Ok(Answer::empty(StatusCode::NO_CONTENT))
    })
    .await
}

/// To what files are to be put back.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
pub struct RewindFilesRequest {
    /// The turn before which they were as they are to be.
    #[validate(required)]
    #[schema(required, nullable = false, example = "trn_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    turn_id: Option<String>,
    /// Whether nothing is to be changed, only told; `false` when absent.
    #[schema(nullable = false)]
    dry_run: Option<bool>,
}

impl CheckRequest for RewindFilesRequest {}

/// What putting files back came to, or would come to.
#[derive(Debug, Serialize, ToSchema)]
pub struct RewindView {
    /// The files.
    #[schema(example = json!(["notes.txt"]))]
    files: Vec<String>,
    /// Lines that come back.
    #[schema(example = 3)]
    insertions: u64,
    /// Lines that go.
    #[schema(example = 1)]
    deletions: u64,
    /// Whether nothing was changed.
    dry_run: bool,
}

/// Rewind files
///
/// Puts the files that the agent's file tools have changed back to where they were before a turn; what commands did is
/// not undone, and the conversation stays. The CLI keeps what this takes in the session's private home, so it is refused
/// (409 `cli_refused`) once that is gone.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Steering",
    operation_id = "rewind_files",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again, and is answered with what was answered the first time", example = "7c1b6d1e-order-4711"), ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    request_body = RewindFilesRequest,
    responses((status = 200, description = "What it came to", body = RewindView), RewindProblems)
)]
#[post("/api/v1/sessions/{session_id}/rewind")]
pub(in crate::api) async fn rewind_files(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    body: ValidJson<RewindFilesRequest>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let asked = body.0;
    let turn = turn_id(&asked.turn_id.unwrap_or_default())?;
    let dry_run = asked.dry_run.unwrap_or(false);
    let session = session_id(&path)?;
    once(&caller, &services, key.with(body.1), async || {
        let rewound = services
            .steering
            .rewind_files(&caller, session, turn, dry_run)
            .await?;
        let view = RewindView {
            files: rewound.files,
            insertions: rewound.insertions,
            deletions: rewound.deletions,
            dry_run,
        };
        Answer::new(StatusCode::OK, &view)
    })
    .await
}
