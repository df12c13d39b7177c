//! A session's history, counted from its beginning.

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::views::{HistoryEntryView, HistoryView, PaginationView};
use crate::domain::{EventKind, TurnId};
use crate::service::{Error, FeedItem, LogStream, SessionDetails};

/// So many messages of a history, after `offset` others. All of it is read, since all of it is counted.
pub(super) async fn page(
    details: &SessionDetails,
    mut events: LogStream,
    limit: usize,
    offset: usize,
) -> Result<HistoryView, Error> {
    let (mut messages, mut total) = (Vec::new(), 0_usize);
    let mut turn: Option<TurnId> = None;
    let mut sequence = 0;
    while let Some(item) = events.next().await {
        let item = item?;
        // What lies before a gap is no longer there, and not counted.
        if !matches!(item.kind, EventKind::Message | EventKind::AgentMessage) {
            continue;
        }
        sequence = match item.kind {
            EventKind::Message => 0,
            _ if item.turn == turn => sequence + 1,
            _ => 1,
        };
        turn = item.turn;
        if total >= offset && messages.len() < limit {
            messages.extend(entry(details, &item, sequence));
        }
        total = total.saturating_add(1);
    }
    let shown = offset.saturating_add(messages.len());
    Ok(HistoryView {
        session_id: details.session.id.to_string(),
        messages,
        pagination: PaginationView {
            limit,
            offset,
            total,
            has_more: shown < total,
        },
    })
}

fn entry(details: &SessionDetails, item: &FeedItem, sequence: u32) -> Option<HistoryEntryView> {
    let mut event: Value = serde_json::from_slice(&item.json).ok()?;
    let at = event.get("created_at")?.as_str()?.parse::<DateTime<Utc>>().ok()?;
    let is_prompt = item.kind == EventKind::Message;
    let content = if is_prompt {
        let conversation = details.session.claude_session_id.to_string();
        json!({"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": event.get("text")?}]},
            "parent_tool_use_id": null, "session_id": conversation})
    } else {
        event.get_mut("message")?.take()
    };
    let text = |field: &str| content.get(field).and_then(Value::as_str).map(ToOwned::to_owned);
    Some(HistoryEntryView {
        id: item.id.get(),
        kind: text("type").unwrap_or_default(),
        subtype: text("subtype"),
        sequence,
        timestamp: at.format("%Y-%m-%d %H:%M:%S").to_string(),
        source: if is_prompt { "user" } else { "sdk" },
        content,
    })
}
