//! Connections: who has one, and what goes over it.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_ws::{AggregatedMessageStream, CloseCode, Session};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::verbatim::{Heard, Listener};
use super::commands::{Desk, Encoding, InputMessage};
use crate::api::v1::socket::SocketRules;
use crate::api::v1::socket::connection::serve;
use crate::api::v1::socket::line::{End, Line, json};
use crate::domain::{Principal, TenantId, UserId};
use crate::service::{FeedItem, LogStream, Over};

/// What a client is told.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaudeAgentServerOutput)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum OutputMessage {
    /// The connection is there. The first one.
    Connected,
    /// A message of the CLI's, as it is.
    SdkMessage {
        /// The message.
        #[schema(value_type = Object)]
        data: Value,
    },
    /// Something went wrong.
    Error {
        /// What.
        error: String,
    },
    /// What came of a message about a file.
    FileResult {
        /// The message's type.
        operation: &'static str,
        /// `success`, the file's content, or the names in the folder.
        result: Value,
        /// How the content is written.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        encoding: Option<Encoding>,
    },
}

/// A message of a connection: of the client's, or of the server's.
#[derive(Serialize, ToSchema)]
#[schema(as = ClaudeAgentServerMessage)]
#[serde(untagged)]
#[expect(dead_code, reason = "says in the document what goes over a connection")]
pub(super) enum SocketMessage {
    Input(InputMessage),
    Output(OutputMessage),
}

impl OutputMessage {
    /// That something was done with a file.
    pub(super) fn done(operation: &'static str) -> Self {
        Self::FileResult {
            operation,
            result: "success".into(),
            encoding: None,
        }
    }

    /// What is told of an event, if anything is.
    fn of(listener: &mut Listener, item: &FeedItem) -> Option<Self> {
        match listener.hear(item) {
            Heard::Message { message: data, .. } => Some(Self::SdkMessage { data }),
            Heard::Unsaid(Some(error)) => Some(Self::Error { error }),
            Heard::Unsaid(None) | Heard::Over | Heard::Nothing => None,
        }
    }
}

/// Who calls, as far as there is one connection for each.
type Who = (TenantId, String, Option<UserId>);

/// Who is connected to this server.
#[derive(Debug, Clone, Default)]
pub(in crate::dialects) struct Connected(Arc<Mutex<HashSet<Who>>>);

/// A caller's place among the connected; it is free when this is dropped.
pub(super) struct Seat {
    connected: Connected,
    who: Who,
}

impl Connected {
    /// A seat, unless the caller has one.
    pub(super) fn seat(&self, caller: &Principal) -> Option<Seat> {
        let who = who(caller);
        self.lock().insert(who.clone()).then(|| Seat {
            connected: self.clone(),
            who,
        })
    }

    /// Whether the caller is connected.
    pub(super) fn has(&self, caller: &Principal) -> bool {
        self.lock().contains(&who(caller))
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Who>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connected.lock().remove(&self.who);
    }
}

fn who(caller: &Principal) -> Who {
    (caller.tenant, super::mark(caller), caller.user.clone())
}

/// Tells a client why it cannot stay, and closes its connection in order.
pub(super) fn turn_away(socket: Session, rules: &SocketRules, words: &str) {
    let mut line = Line::new(socket, rules.idle_timeout);
    let error = OutputMessage::Error {
        error: words.to_owned(),
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "the connection is the worker's, like any response"
    )]
    actix_web::rt::spawn(async move {
        let told = line.tell(json(&error)).await;
        let end = told.map(|()| End::Close(CloseCode::Normal, ""));
        line.end(end.unwrap_or_else(|end| end)).await;
    });
}

/// Greets a client, and serves it until its connection ends.
pub(super) async fn serve_seated(
    seat: Seat,
    mut line: Line,
    rules: SocketRules,
    desk: Desk,
    incoming: AggregatedMessageStream,
    events: LogStream,
    over: impl Future<Output = Over>,
) {
    match line.tell(json(&OutputMessage::Connected)).await {
        Ok(()) => {
            let mut listener = Listener::default();
            let told = |item: &FeedItem| json(&OutputMessage::of(&mut listener, item)?);
            serve(line, &rules, &desk, incoming, events, told, over).await;
        }
        Err(end) => line.end(end).await,
    }
    drop(seat);
}
