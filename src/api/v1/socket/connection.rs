//! One open WebSocket: events out, commands in, one after the other, until either side has had enough.

use std::future::Future;
use std::pin::Pin;

use actix_web::web;
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, Session};
use futures_util::StreamExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::SocketRules;
use super::commands::{Desk, SocketReply};
use super::line::{End, Line, SILENT, of_protocol};
use crate::api::ApiLimits;
use crate::api::auth::Authenticator;
use crate::domain::{Principal, SessionId};
use crate::service::{LogStream, Over, Services};

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

type Working<'a> = Pin<Box<dyn Future<Output = SocketReply> + 'a>>;

impl Connection {
    /// Serves until the connection ends.
    pub(super) async fn serve(
        self,
        mut incoming: AggregatedMessageStream,
        mut events: LogStream,
        over: impl Future<Output = Over>,
    ) {
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
                    line.json(&reply).await
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
                why = &mut over => Err(why.into()),
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
