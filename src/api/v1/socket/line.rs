//! An open connection: what is sent on it, and why it ends.

use actix_ws::{AggregatedMessageStream, CloseCode, CloseReason, MessageStream, ProtocolError, Session};
use bytestring::ByteString;
use serde::Serialize;
use tokio::time::timeout;

use super::SocketRules;
use crate::service::Over;

/// The code of a connection that is closed because its client was silent.
pub const SILENT: u16 = 4408;

/// Why a connection ends.
#[derive(Debug)]
pub enum End {
    /// In order, with this code.
    Close(CloseCode, &'static str),
    /// The client is gone, or takes nothing.
    Gone,
}

impl From<Over> for End {
    fn from(why: Over) -> Self {
        match why {
            Over::Credential => Self::Close(CloseCode::Policy, "the credential is no longer good"),
            Over::Shutdown => Self::Close(CloseCode::Away, "the server stops"),
        }
    }
}

/// Why a connection ends whose client does not keep to the protocol.
#[must_use]
pub fn of_protocol(error: &ProtocolError) -> End {
    match error {
        // What is too long over all its frames is told as an error of reading.
        ProtocolError::Overflow | ProtocolError::Io(_) => {
            End::Close(CloseCode::Size, "the message is too long")
        }
        _ => End::Close(CloseCode::Protocol, "that is no WebSocket"),
    }
}

/// A client's messages, none of them longer than the rules allow.
#[must_use]
pub fn bounded(incoming: MessageStream, rules: &SocketRules) -> AggregatedMessageStream {
    incoming
        .max_frame_size(rules.frame_max_bytes)
        .aggregate_continuations()
        .max_continuation_size(rules.message_max_bytes)
}

/// What is sent, and how long a client may not take it.
pub struct Line {
    socket: Session,
    patience: std::time::Duration,
}

impl Line {
    /// A connection whose client may take so long to take what is sent.
    #[must_use]
    pub fn new(socket: Session, patience: std::time::Duration) -> Self {
        Self { socket, patience }
    }

    /// Tells the client something, if there is anything to tell.
    pub async fn tell(&mut self, text: Option<ByteString>) -> Result<(), End> {
        match text {
            Some(text) => taken(timeout(self.patience, self.socket.text(text)).await),
            None => Ok(()),
        }
    }

    /// Answers a ping.
    pub async fn pong(&mut self, sent: &[u8]) -> Result<(), End> {
        taken(timeout(self.patience, self.socket.pong(sent)).await)
    }

    /// Asks for a sign of life.
    pub async fn ping(&mut self) -> Result<(), End> {
        taken(timeout(self.patience, self.socket.ping(b"")).await)
    }

    /// Closes the connection, and says why.
    pub async fn end(self, end: End) {
        let End::Close(code, words) = end else { return };
        let reason = CloseReason {
            code,
            description: (!words.is_empty()).then(|| words.to_owned()),
        };
        // A client that is gone needs no goodbye.
        let _gone = timeout(self.patience, self.socket.close(Some(reason))).await;
    }
}

/// What is told as JSON.
pub fn json(value: &impl Serialize) -> Option<ByteString> {
    // What is told has a JSON form.
    Some(serde_json::to_string(value).ok()?.into())
}

/// A client that takes nothing for so long is as good as gone.
fn taken<L, C>(sent: Result<Result<(), C>, L>) -> Result<(), End> {
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_closed)) => Err(End::Gone),
        Err(_late) => Err(End::Gone),
    }
}
