//! What the CLI itself said, as a session's log keeps it.

use serde_json::Value;

use crate::domain::EventKind;
use crate::service::FeedItem;

/// What is heard of the CLI, and of the turn's end.
pub(super) enum Heard {
    /// A message of the CLI's, and when it was said (RFC 3339).
    Message {
        /// The message.
        message: Value,
        /// When.
        at: String,
    },
    /// The turn is over, and the CLI said so before.
    Over,
    /// The turn is over without a word of the CLI's: why, if it failed.
    Unsaid(Option<String>),
    /// Nothing.
    Nothing,
}

/// Listens to turn after turn.
#[derive(Debug, Default)]
pub(super) struct Listener {
    /// Whether the CLI has ended the turn that goes on.
    has_result: bool,
}

impl Listener {
    pub(super) fn hear(&mut self, item: &FeedItem) -> Heard {
        let Ok(mut event) = serde_json::from_slice::<Value>(&item.json) else {
            return Heard::Nothing;
        };
        let text = |event: &Value, field: &str| Some(event.get(field)?.as_str()?.to_owned());
        match item.kind {
            EventKind::AgentMessage => {
                let at = text(&event, "created_at").unwrap_or_default();
                let message = event.get_mut("message").map(Value::take).unwrap_or_default();
                self.has_result |= message.get("type").is_some_and(|kind| kind == "result");
                Heard::Message { message, at }
            }
            EventKind::Done | EventKind::Error if std::mem::take(&mut self.has_result) => Heard::Over,
            EventKind::Done => Heard::Unsaid(None),
            EventKind::Error => Heard::Unsaid(Some(text(&event, "error").unwrap_or_default())),
            _ => Heard::Nothing,
        }
    }
}
