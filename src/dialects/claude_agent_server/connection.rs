//! One open connection: the CLI's messages out, the client's in, one after the other.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::web;
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, Session};
use futures_util::StreamExt as _;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval};
use utoipa::ToSchema;

use super::super::verbatim::{Heard, Listener};
use super::commands::{Desk, Encoding, InputMessage};
use crate::api::ApiLimits;
use crate::api::auth::Authenticator;
use crate::api::v1::socket::SocketRules;
use crate::api::v1::socket::line::{End, Line, SILENT, of_protocol};
use crate::domain::{Principal, SessionId, TenantId, UserId};
use crate::service::{FeedItem, LogStream, Over, Services};

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
        let told = line.json(&error).await;
        let end = told.map(|()| End::Close(CloseCode::Normal, ""));
        line.end(end.unwrap_or_else(|end| end)).await;
    });
}

/// One open connection.
pub(super) struct Connection {
    pub(super) seat: Seat,
    pub(super) socket: Session,
    pub(super) caller: Principal,
    pub(super) session: SessionId,
    pub(super) rules: SocketRules,
    pub(super) limits: web::Data<ApiLimits>,
    pub(super) services: web::Data<Services>,
    pub(super) authenticator: web::Data<Authenticator>,
}

type Working<'a> = Pin<Box<dyn Future<Output = Option<OutputMessage>> + 'a>>;

impl Connection {
    /// Serves until the connection ends.
    pub(super) async fn serve(
        self,
        mut incoming: AggregatedMessageStream,
        mut events: LogStream,
        over: impl Future<Output = Over>,
    ) {
        let _seat = self.seat;
        let mut line = Line::new(self.socket, self.rules.idle_timeout);
        let desk = Desk {
            caller: self.caller,
            session: self.session,
            limits: self.limits,
            services: self.services,
            authenticator: self.authenticator,
        };
        let mut over = std::pin::pin!(over);
        let mut pings = interval(self.rules.ping_interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        let mut heard = Instant::now();
        let mut listener = Listener::default();
        // One at a time: messages are done in the order in which they came.
        let mut working: Option<Working<'_>> = None;
        let mut step = line.json(&OutputMessage::Connected).await;
        let end = loop {
            if let Err(end) = step {
                break end;
            }
            step = tokio::select! {
                message = incoming.recv(), if working.is_none() => {
                    heard = Instant::now();
                    match message {
                        Some(Ok(AggregatedMessage::Text(text))) => {
                            let desk = &desk;
                            working = Some(Box::pin(async move { desk.take(text.as_bytes()).await }));
                            Ok(())
                        }
                        Some(Ok(AggregatedMessage::Binary(text))) => {
                            let desk = &desk;
                            working = Some(Box::pin(async move { desk.take(&text).await }));
                            Ok(())
                        }
                        Some(Ok(AggregatedMessage::Ping(sent))) => line.pong(&sent).await,
                        Some(Ok(AggregatedMessage::Pong(_))) => Ok(()),
                        Some(Ok(AggregatedMessage::Close(_))) => Err(End::Close(CloseCode::Normal, "")),
                        Some(Err(error)) => Err(of_protocol(&error)),
                        None => Err(End::Gone),
                    }
                }
                told = finished(&mut working) => {
                    working = None;
                    heard = Instant::now();
                    match told {
                        Some(told) => line.json(&told).await,
                        None => Ok(()),
                    }
                }
                event = events.next() => match event {
                    Some(Ok(item)) => match OutputMessage::of(&mut listener, &item) {
                        Some(told) => line.json(&told).await,
                        None => Ok(()),
                    },
                    Some(Err(error)) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "a connection's log cannot be read");
                        Err(End::Close(CloseCode::Error, "the log cannot be read"))
                    }
                    None => Err(End::Close(CloseCode::Normal, "the conversation has ended")),
                },
                _ = pings.tick() => {
                    if working.is_none() && heard.elapsed() >= self.rules.idle_timeout {
                        Err(End::Close(CloseCode::Other(SILENT), "silent for too long"))
                    } else {
                        line.ping().await
                    }
                }
                why = &mut over => Err(why.into()),
            };
        };
        line.end(end).await;
    }
}

/// What came of the message that is worked on; never where none is.
async fn finished(working: &mut Option<Working<'_>>) -> Option<OutputMessage> {
    match working {
        Some(working) => working.await,
        None => std::future::pending().await,
    }
}
