//! Server-sent events: a turn's events as they come, and a sign of life while none do.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};

use crate::service::{StreamItem, TurnStream};

/// How soon a browser is to reconnect, in milliseconds.
const RETRY: &str = "retry: 2000\n\n";
/// What is sent while nothing happens.
const COMMENT: &[u8] = b": keep-alive\n\n";

/// A response that follows a turn. A client that leaves ends the response, not the turn.
#[must_use]
pub fn response(events: TurnStream, heartbeat: Duration) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        // Proxies that would compress or collect the stream are told not to.
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(frames(events, heartbeat))
}

fn frames(
    events: impl Stream<Item = StreamItem> + Unpin,
    heartbeat: Duration,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let start = stream::iter([Bytes::from_static(RETRY.as_bytes())]);
    let rest = stream::unfold(events, move |mut events| async move {
        let frame = match tokio::time::timeout(heartbeat, events.next()).await {
            Ok(Some(item)) => frame(&item),
            Ok(None) => return None,
            Err(_silence) => Bytes::from_static(COMMENT),
        };
        Some((frame, events))
    });
    start.chain(rest).map(Ok)
}

/// JSON has no line breaks, so an event is one `data` line.
fn frame(item: &StreamItem) -> Bytes {
    let mut frame = BytesMut::with_capacity(item.json.len() + 40);
    frame.put_slice(b"id: ");
    frame.put_slice(item.id.to_string().as_bytes());
    frame.put_slice(b"\ndata: ");
    frame.put_slice(&item.json);
    frame.put_slice(b"\n\n");
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::EventId;

    #[tokio::test(start_paused = true)]
    async fn silence_is_filled_with_comments_and_events_are_framed() {
        let item = StreamItem {
            id: EventId::from_number(7).unwrap(),
            json: Bytes::from_static(b"{\"a\":1}"),
        };
        let late = stream::once(async {
            tokio::time::sleep(Duration::from_secs(25)).await;
            item
        });
        let frames = frames(Box::pin(late), Duration::from_secs(10));
        let sent: Vec<_> = frames
            .map(|frame| String::from_utf8(frame.unwrap().to_vec()).unwrap())
            .collect()
            .await;
        assert_eq!(
            sent,
            [
                "retry: 2000\n\n",
                ": keep-alive\n\n",
                ": keep-alive\n\n",
                "id: 7\ndata: {\"a\":1}\n\n"
            ]
        );
    }
}
