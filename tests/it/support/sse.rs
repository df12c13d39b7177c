//! Reads server-sent events as they come.

use std::collections::VecDeque;

use reqwest::Response;
use serde_json::{Value, json};

use super::{PATIENCE, contract};

/// One frame of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Frame {
    Event { id: u64, data: Value },
    Comment(String),
    Retry(u64),
}

/// A stream that is being read. Dropping it drops the connection.
pub(crate) struct Stream {
    response: Response,
    unread: String,
    frames: VecDeque<Frame>,
}

impl Stream {
    pub(crate) fn of(response: Response) -> Self {
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(header("content-type").as_deref(), Some("text/event-stream"));
        assert_eq!(header("cache-control").as_deref(), Some("no-cache"));
        assert_eq!(header("x-accel-buffering").as_deref(), Some("no"));
        assert!(header("x-request-id").is_some());
        Self::behind_a_proxy(response)
    }

    /// One that came through a proxy, which keeps what was meant for it.
    pub(crate) fn behind_a_proxy(response: Response) -> Self {
        Self {
            response,
            unread: String::new(),
            frames: VecDeque::new(),
        }
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn next_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Some(frame);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk())
                .await
                .expect("the stream goes on");
            let Some(chunk) = chunk.unwrap() else {
                assert_eq!(self.unread, "", "the stream ended in the middle of a frame");
                return None;
            };
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
            while let Some((frame, rest)) = self.unread.split_once("\n\n") {
                self.frames.push_back(parse(frame));
                self.unread = String::from(rest);
            }
        }
    }

    /// The next event's data; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Frame::Event { id, data } = self.next_frame().await? {
                assert_eq!(data["id"], id, "the frame's id is the event's");
                let schema = json!({"$ref": "#/components/schemas/StreamEvent"});
                let wrong = contract::errors(&schema, &data);
                assert!(wrong.is_empty(), "{wrong:?}: {data}");
                return Some(data);
            }
        }
    }

    /// The next event of this type, and those before it.
    pub(crate) async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self
                .next()
                .await
                .unwrap_or_else(|| panic!("no `{kind}` among {events:?}"));
            let found = event["type"] == kind;
            events.push(event);
            if found {
                return events;
            }
        }
    }

    /// All events up to the end.
    pub(crate) async fn rest(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

fn parse(frame: &str) -> Frame {
    if let Some(comment) = frame.strip_prefix(':') {
        return Frame::Comment(comment.trim().to_owned());
    }
    if let Some(retry) = frame.strip_prefix("retry: ") {
        return Frame::Retry(retry.parse().unwrap());
    }
    let (id, data) = frame
        .split_once('\n')
        .unwrap_or_else(|| panic!("not a frame: {frame:?}"));
    Frame::Event {
        id: id.strip_prefix("id: ").unwrap().parse().unwrap(),
        data: serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap(),
    }
}

/// The text that a client joins from a turn's events.
pub(crate) fn joined(events: &[Value]) -> String {
    let mut text = String::new();
    for event in events {
        let piece = event["text"].as_str().unwrap_or_default();
        match event["type"].as_str() {
            Some("text_delta") => text.push_str(piece),
            Some("turn_resumed") => piece.clone_into(&mut text),
            Some("text_retracted") => text = text.strip_suffix(piece).unwrap().to_owned(),
            _ => {}
        }
    }
    text
}
