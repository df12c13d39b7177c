//! One open WebSocket: events out, messages in, one after the other, until either side has had enough. What they say is for
//! a [`Desk`]: the API's own, or another system's.

use std::future::Future;
use std::pin::Pin;

use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode};
use bytestring::ByteString;
use futures_util::StreamExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::SocketRules;
use super::line::{End, Line, SILENT, of_protocol};
use crate::service::{FeedItem, LogStream, Over};

/// Does what clients ask for.
pub trait Desk {
    /// Whether messages may be bytes; they are closed with 1003 if not.
    const TAKES_BYTES: bool;

    /// Does what a message asks for; what the client is told of it, if anything.
    fn answer(&self, message: &[u8]) -> impl Future<Output = Option<ByteString>>;
}

type Working<'a> = Pin<Box<dyn Future<Output = Option<ByteString>> + 'a>>;

/// Serves until the connection ends. Of events the client is told what `told` makes of them, if anything.
pub async fn serve(
    mut line: Line,
    rules: &SocketRules,
    desk: &impl Desk,
    mut incoming: AggregatedMessageStream,
    mut events: LogStream,
    mut told: impl FnMut(&FeedItem) -> Option<ByteString>,
    over: impl Future<Output = Over>,
) {
    let mut over = std::pin::pin!(over);
    let mut pings = interval(rules.ping_interval);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.reset();
    let mut heard = Instant::now();
    // One at a time: messages are answered in the order in which they came, and a client cannot have many under way.
    let mut working: Option<Working<'_>> = None;
    let end = loop {
        let step = tokio::select! {
            message = incoming.recv(), if working.is_none() => {
                heard = Instant::now();
                match message {
                    Some(Ok(AggregatedMessage::Text(text))) => {
                        working = Some(Box::pin(async move { desk.answer(text.as_bytes()).await }));
                        Ok(())
                    }
                    Some(Ok(AggregatedMessage::Binary(bytes))) => take_bytes(desk, bytes, &mut working),
                    Some(Ok(AggregatedMessage::Ping(sent))) => line.pong(&sent).await,
                    Some(Ok(AggregatedMessage::Pong(_))) => Ok(()),
                    Some(Ok(AggregatedMessage::Close(_))) => Err(End::Close(CloseCode::Normal, "")),
                    Some(Err(error)) => Err(of_protocol(&error)),
                    None => Err(End::Gone),
                }
            }
            answer = finished(&mut working) => {
                working = None;
                heard = Instant::now();
                line.tell(answer).await
            }
            event = events.next() => match event {
                Some(Ok(event)) => line.tell(told(&event)).await,
                Some(Err(error)) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a connection's log cannot be read");
                    Err(End::Close(CloseCode::Error, "the log cannot be read"))
                }
                None => Err(End::Close(CloseCode::Normal, "nothing more will come")),
            },
            _ = pings.tick() => {
                if working.is_none() && heard.elapsed() >= rules.idle_timeout {
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

fn take_bytes<'a, D: Desk>(
    desk: &'a D,
    bytes: actix_web::web::Bytes,
    working: &mut Option<Working<'a>>,
) -> Result<(), End> {
    if !D::TAKES_BYTES {
        return Err(End::Close(CloseCode::Unsupported, "messages are text"));
    }
    *working = Some(Box::pin(async move { desk.answer(&bytes).await }));
    Ok(())
}

/// The answer to the message that is worked on; never where none is.
async fn finished(working: &mut Option<Working<'_>>) -> Option<ByteString> {
    match working {
        Some(working) => working.await,
        None => std::future::pending().await,
    }
}
