//! A client of web sockets.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{PATIENCE, TestApp};

/// An open connection.
pub(crate) struct Socket(pub(crate) WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Opens a connection to a path of a server, with these headers.
    pub(crate) async fn open(
        app: &TestApp,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Error> {
        let mut request = format!("ws://{}{path}", app.address)
            .into_client_request()
            .unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, response) = tokio_tungstenite::connect_async(request).await?;
        assert!(response.headers().contains_key("x-request-id"));
        Ok(Self(socket))
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(crate) async fn message(&mut self) -> Message {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
        next.expect("something comes").expect("it is open").unwrap()
    }

    /// The next message that is JSON.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match self.message().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The code and reason that it is closed with.
    pub(crate) async fn closed(mut self) -> (u16, String) {
        loop {
            if let Message::Close(frame) = self.message().await {
                return frame.map_or((1005, String::new()), |frame| {
                    (frame.code.into(), frame.reason.to_string())
                });
            }
        }
    }
}

/// A prompt, as clients of the dialect `claude-agent-server` send it.
pub(crate) fn user_message(text: &str) -> Value {
    json!({"type": "user_message", "data": {"type": "user", "session_id": "the-clients-own", "parent_tool_use_id": null,
        "message": {"role": "user", "content": text}}})
}

/// What the CLI says, up to its result, over a connection of the dialect `claude-agent-server`.
pub(crate) async fn turn_over(socket: &mut Socket) -> Vec<Value> {
    let mut said = Vec::new();
    loop {
        let next = socket.next().await;
        assert_eq!(next["type"], "sdk_message", "{next}");
        let is_last = next["data"]["type"] == "result";
        said.push(next["data"].clone());
        if is_last {
            return said;
        }
    }
}
