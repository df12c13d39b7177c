//! An answer: whole, or in the CLI's messages as they come.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::Value;

use super::super::frames::{self, Told};
use super::super::iso_of;
use super::super::verbatim::{Heard, Listener};
use super::refusal::{Failure, Refusal};
use super::views::{AnsweredView, SseView};
use crate::domain::SessionId;
use crate::service::LogStream;

/// An answer that is to come.
#[derive(Debug, Default)]
pub(super) struct Answer {
    listener: Listener,
    sequence: u32,
    /// The CLI's id of the conversation.
    conversation: Option<String>,
    result: String,
}

impl Answer {
    /// What the CLI's message is to the client.
    fn message(&mut self, message: Value, at: &str) -> SseView {
        let text = |field: &str| message.get(field).and_then(Value::as_str);
        if let Some(conversation) = text("session_id") {
            self.conversation = Some(conversation.to_owned());
        }
        if let (Some("result"), Some(result)) = (text("type"), text("result")) {
            result.clone_into(&mut self.result);
        }
        self.sequence = self.sequence.saturating_add(1);
        SseView::Message {
            kind: "claude_code_message",
            session_id: self.conversation.clone(),
            message,
            timestamp: iso_of(at),
            sequence: self.sequence,
        }
    }

    /// What the CLI said at last; where it said nothing, that the turn is over.
    fn summary(&mut self) -> String {
        let result = std::mem::take(&mut self.result);
        if result.is_empty() {
            "Query completed".to_owned()
        } else {
            result
        }
    }

    /// The whole answer.
    pub(super) async fn whole(mut self, mut events: LogStream) -> Result<AnsweredView, Refusal> {
        while let Some(item) = events.next().await {
            let item = item.map_err(|error| Refusal::of(error, Failure::Send))?;
            if let Some(error) = frames::failure(&item) {
                return Err(Refusal::of(error, Failure::Send));
            }
            if let Heard::Message { message, at } = self.listener.hear(&item) {
                self.message(message, &at);
            }
            if let (true, Some(turn)) = (item.terminal, item.turn) {
                return Ok(AnsweredView {
                    message_id: turn.as_uuid().to_string(),
                    response: self.summary(),
                    session_id: self.conversation,
                });
            }
        }
        Err(Refusal::internal())
    }

    /// The answer as server-sent events.
    pub(super) fn into_frames(
        mut self,
        session: SessionId,
        events: LogStream,
        heartbeat: Duration,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> {
        let connected = SseView::Connected {
            session_id: session.to_string(),
        };
        let first = stream::iter([Ok(Bytes::from(frame("connected", &connected)))]);
        first.chain(frames::of_turn(events, heartbeat, move |told| {
            let item = match told {
                Told::Event(item) => item,
                Told::Broken(words) => {
                    let error = words.to_owned();
                    return frame("error", &SseView::Error { error });
                }
            };
            if let Some(error) = frames::failure(item) {
                let error = Refusal::of(error, Failure::Send).message().to_owned();
                return frame("error", &SseView::Error { error });
            }
            if let Heard::Message { message, at } = self.listener.hear(item) {
                return frame("message", &self.message(message, &at));
            }
            if !item.terminal {
                return Vec::new();
            }
            let complete = SseView::Complete {
                summary: self.summary(),
                session_id: self.conversation.take(),
            };
            frame("complete", &complete)
        }))
    }
}

fn frame(name: &str, view: &SseView) -> Vec<u8> {
    let mut frame = format!("event: {name}\n").into_bytes();
    frame.extend(frames::data(view));
    frame
}
