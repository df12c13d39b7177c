//! A conversation's history.

use actix_web::{HttpResponse, get, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::paging::PageQuery;
use super::session_id;
use crate::api::ApiLimits;
use crate::api::auth::{AsGuest, Caller};
use crate::api::input::ValidQuery;
use crate::api::page::{CursorKey, CursorScope, PageView};
use crate::api::problem::Problem;
use crate::api::responses::ListInSessionProblems;
use crate::domain::{Event, EventBody, EventId};
use crate::service::Services;

/// A message of a conversation.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageView {
    /// Its place in the session's log.
    #[schema(example = 42)]
    id: u64,
    /// The turn it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "trn_0199e2c9b6c17d4e8f2a3b5c7d9e1f2a")]
    turn_id: Option<String>,
    /// Who speaks.
    role: MessageRole,
    /// Its content blocks, as the Messages API has them.
    #[schema(value_type = Vec<Object>, example = json!([{"type": "text", "text": "There are two files: notes.txt and README.md."}]))]
    content: Vec<Value>,
    /// The model that wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "claude-opus-5-5")]
    model: Option<String>,
    /// The tool call of the sub-agent that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "toolu_01A2b3C4d5E6f7G8h9J0kLmN")]
    parent_tool_use_id: Option<String>,
    /// When it was written.
    created_at: DateTime<Utc>,
}

/// Who speaks.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageRole {
    /// The user.
    User,
    /// The assistant.
    Assistant,
    /// A tool.
    Tool,
}

impl MessageView {
    /// The message that an event is, if it is one.
    fn of(event: Event) -> Option<Self> {
        let (role, content, model, parent_tool_use_id) = match event.body {
            EventBody::Message { text, .. } => (
                MessageRole::User,
                vec![json!({"type": "text", "text": text})],
                None,
                None,
            ),
            EventBody::AssistantMessage {
                content,
                model,
                parent_tool_use_id,
                ..
            } => (MessageRole::Assistant, content, model, parent_tool_use_id),
            EventBody::ToolResult {
                tool_use_id,
                content,
                is_error,
                parent_tool_use_id,
            } => {
                let block = json!({
                    "type": "tool_result", "tool_use_id": tool_use_id, "content": content, "is_error": is_error
                });
                (MessageRole::Tool, vec![block], None, parent_tool_use_id)
            }
            _ => return None,
        };
        Some(Self {
            id: event.id.get(),
            turn_id: event.turn_id.map(|turn| turn.to_string()),
            role,
            content,
            model,
            parent_tool_use_id,
            created_at: event.created_at,
        })
    }
}

/// List a session's messages
///
/// The conversation so far, oldest first: prompts, the assistant's messages (one for each content block, as the agent
/// tells them), and what tools answered.
///
/// **Permissions**: `guest` of the session, or `reader`.
#[utoipa::path(
    tag = "Sessions",
    operation_id = "list_messages",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), PageQuery),
    responses(
        (status = 200, description = "A page of messages", body = PageView<MessageView>),
        ListInSessionProblems,
    )
)]
#[get("/api/v1/sessions/{session_id}/messages")]
pub(in crate::api) async fn list_messages(
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
        list: "messages",
        tenant: caller.tenant,
        filter: &filter,
    };
    let after = query.0.key::<u64>(&cursors, scope)?;
    let after = after.and_then(EventId::from_number).unwrap_or(EventId::START);
    let page = services
        .sessions
        .messages(&caller, id, after, query.0.size(&limits))
        .await?;
    Ok(HttpResponse::Ok().json(PageView {
        data: page.items.into_iter().filter_map(MessageView::of).collect(),
        next_cursor: page.next.map(|id| cursors.write(scope, &id)),
    }))
}
