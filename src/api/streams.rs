//! Events as they come, as server-sent events or as lines of JSON; and a sign of life while none do.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};

use crate::service::{Error, FeedItem, LogStream};

/// How soon a browser is to reconnect, in milliseconds.
const RETRY: &[u8] = b"retry: 2000\n\n";

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// As server-sent events.
    Sse,
    /// As lines of JSON; an empty line is a sign of life.
    Ndjson,
}

impl Framing {
    /// The media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Sse => "text/event-stream",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    const fn start(self) -> &'static [u8] {
        match self {
            Self::Sse => RETRY,
            Self::Ndjson => b"",
        }
    }

    const fn sign_of_life(self) -> &'static [u8] {
        match self {
            Self::Sse => b": keep-alive\n\n",
            Self::Ndjson => b"\n",
        }
    }

    /// JSON has no line breaks, so an event is one line.
    fn frame(self, item: &FeedItem) -> Bytes {
        let mut frame = BytesMut::with_capacity(item.json.len() + 40);
        if self == Self::Sse {
            frame.put_slice(b"id: ");
            frame.put_slice(item.id.to_string().as_bytes());
            frame.put_slice(b"\ndata: ");
        }
        frame.put_slice(&item.json);
        frame.put_slice(match self {
            Self::Sse => b"\n\n",
            Self::Ndjson => b"\n",
        });
        frame.freeze()
    }
}

/// A response that sends events on. A client that leaves ends the response and nothing else; one that reads slowly is read
/// for as slowly.
#[must_use]
pub fn response(events: LogStream, framing: Framing, heartbeat: Duration) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, framing.media_type()))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        // Proxies that would compress or collect the stream are told not to.
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(frames(events, framing, heartbeat))
}

fn frames(
    events: impl Stream<Item = Result<Arc<FeedItem>, Error>> + Unpin,
    framing: Framing,
    heartbeat: Duration,
) -> impl Stream<Item = Result<Bytes, Error>> {
    let start = stream::iter([Bytes::from_static(framing.start())]);
    let rest = stream::unfold(events, move |mut events| async move {
        let frame = match tokio::time::timeout(heartbeat, events.next()).await {
            Ok(Some(Ok(item))) => Ok(framing.frame(&item)),
            // The response breaks off: a client that is not told of its end knows that there is more.
            Ok(Some(Err(error))) => Err(error),
            Ok(None) => return None,
            Err(_silence) => Ok(Bytes::from_static(framing.sign_of_life())),
        };
        Some((frame, events))
    });
    start
        .filter(|start| std::future::ready(!start.is_empty()))
        .map(Ok)
        .chain(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventId, EventKind};

    async fn sent(framing: Framing) -> Vec<String> {
        let item = Arc::new(FeedItem {
            id: EventId::from_number(7).unwrap(),
            turn: None,
            kind: EventKind::Done,
            terminal: true,
            json: Bytes::from_static(b"{\"a\":1}"),
        });
        let late = stream::once(async {
            tokio::time::sleep(Duration::from_secs(25)).await;
            Ok(item)
        });
        frames(Box::pin(late), framing, Duration::from_secs(10))
            .map(|frame| String::from_utf8(frame.unwrap().to_vec()).unwrap())
            .collect()
            .await
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_filled_and_events_are_framed() {
        assert_eq!(
            sent(Framing::Sse).await,
            [
                "retry: 2000\n\n",
                ": keep-alive\n\n",
                ": keep-alive\n\n",
                "id: 7\ndata: {\"a\":1}\n\n"
            ]
        );
        assert_eq!(sent(Framing::Ndjson).await, ["\n", "\n", "{\"a\":1}\n"]);
    }
}
