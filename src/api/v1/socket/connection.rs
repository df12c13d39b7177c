//! One open WebSocket: events out, commands in, one after the other, until either side has had enough.

use std::future::Future;
use std::pin::Pin;

use actix_web::web;
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, ProtocolError, Session};
use bytestring::ByteString;
use futures_util::StreamExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::SocketRules;
use super::commands::{Desk, SocketReply};
use crate::api::ApiLimits;
use crate::api::auth::Authenticator;
use crate::domain::{Principal, SessionId};
use crate::service::{FeedItem, LogStream, Over, Services};

/// The code of a connection that is closed because its client was silent.
const SILENT: u16 = 4408;

/// One open WebSocket.
pub(super) struct Connection {
    pub(super) socket: Session,
    pub(super) caller: Principal,
    pub(super) session: SessionId,
    pub(super) rules: SocketRules,
    pub(super) limits: web::Data<ApiLimits>,
    pub(super) services: web::Data<Services>,
    pub(super) authenticator: web::Data<Authenticator>,
}

/// Why a connection ends.
enum End {
    /// In order, with this code.
    Close(CloseCode, &'static str),
    /// The client is gone, or takes nothing.
    Gone,
}

type Working<'a> = Pin<Box<dyn Future<Output = SocketReply> + 'a>>;

impl Connection {
    /// Serves until the connection ends.
    pub(super) async fn serve(
        self,
        mut incoming: AggregatedMessageStream,
        mut events: LogStream,
        over: impl Future<Output = Over>,
    ) {
        let mut line = Line {
            socket: self.socket,
            patience: self.rules.idle_timeout,
        };
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
        // One at a time: commands are done in the order in which they came, and a client cannot have many under way.
        let mut working: Option<Working<'_>> = None;
        let end = loop {
            let step = tokio::select! {
                message = incoming.recv(), if working.is_none() => {
                    heard = Instant::now();
                    match message {
                        Some(Ok(AggregatedMessage::Text(text))) => {
                            let desk = &desk;
                            working = Some(Box::pin(async move { desk.answer(&text).await }));
                            Ok(())
                        }
                        Some(Ok(AggregatedMessage::Ping(sent))) => line.pong(&sent).await,
                        Some(Ok(AggregatedMessage::Pong(_))) => Ok(()),
                        Some(Ok(AggregatedMessage::Binary(_))) => {
                            Err(End::Close(CloseCode::Unsupported, "messages are text"))
                        }
                        Some(Ok(AggregatedMessage::Close(_))) => Err(End::Close(CloseCode::Normal, "")),
                        Some(Err(error)) => Err(of_protocol(&error)),
                        None => Err(End::Gone),
                    }
                }
                reply = finished(&mut working) => {
                    working = None;
                    heard = Instant::now();
                    line.reply(&reply).await
                }
                event = events.next() => match event {
                    Some(Ok(event)) => line.event(&event).await,
                    Some(Err(error)) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "a connection's log cannot be read");
                        Err(End::Close(CloseCode::Error, "the log cannot be read"))
                    }
                    None => Err(End::Close(CloseCode::Normal, "nothing more will come")),
                },
                _ = pings.tick() => {
                    if working.is_none() && heard.elapsed() >= self.rules.idle_timeout {
                        Err(End::Close(CloseCode::Other(SILENT), "silent for too long"))
                    } else {
                        line.ping().await
                    }
                }
                why = &mut over => Err(match why {
                    Over::Credential => End::Close(CloseCode::Policy, "the credential is no longer good"),
                    Over::Shutdown => End::Close(CloseCode::Away, "the server stops"),
                }),
            };
            if let Err(end) = step {
                break end;
            }
        };
        line.end(end).await;
    }
}

/// The answer to the command that is under way; never where none is.
async fn finished(working: &mut Option<Working<'_>>) -> SocketReply {
    match working {
        Some(working) => working.await,
        None => std::future::pending().await,
    }
}

fn of_protocol(error: &ProtocolError) -> End {
    match error {
        // What is too long over all its frames is told as an error of reading.
        ProtocolError::Overflow | ProtocolError::Io(_) => {
            End::Close(CloseCode::Size, "the message is too long")
        }
        _ => End::Close(CloseCode::Protocol, "that is no WebSocket"),
    }
}

/// What is sent, and how long a client may not take it.
struct Line {
    socket: Session,
    patience: std::time::Duration,
}

impl Line {
    async fn event(&mut self, event: &FeedItem) -> Result<(), End> {
        match ByteString::try_from(event.json.clone()) {
            Ok(text) => self.text(text).await,
            Err(_not_text) => Err(End::Close(CloseCode::Error, "the log cannot be read")),
        }
    }

    async fn reply(&mut self, reply: &SocketReply) -> Result<(), End> {
        match serde_json::to_string(reply) {
            Ok(text) => self.text(text.into()).await,
            Err(_no_json) => Err(End::Close(CloseCode::Error, "an answer cannot be written")),
        }
    }

    async fn text(&mut self, text: ByteString) -> Result<(), End> {
        taken(timeout(self.patience, self.socket.text(text)).await)
    }

    async fn pong(&mut self, sent: &[u8]) -> Result<(), End> {
        taken(timeout(self.patience, self.socket.pong(sent)).await)
    }

    async fn ping(&mut self) -> Result<(), End> {
        taken(timeout(self.patience, self.socket.ping(b"")).await)
    }

    async fn end(self, end: End) {
        let End::Close(code, words) = end else { return };
        let reason = CloseReason {
            code,
            description: (!words.is_empty()).then(|| words.to_owned()),
        };
        // A client that is gone needs no goodbye.
        let _gone = timeout(self.patience, self.socket.close(Some(reason))).await;
    }
}

/// A client that takes nothing for so long is as good as gone.
fn taken<L, C>(sent: Result<Result<(), C>, L>) -> Result<(), End> {
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_closed)) => Err(End::Gone),
        Err(_late) => Err(End::Gone),
    }
}
