//! A turn's events as frames of another system's stream.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;
use serde_json::Value;

use crate::api::problem::Problem;
use crate::domain::{EventKind, TurnError};
use crate::service::{Error, FeedItem, LogStream};

/// What there is to be told.
#[derive(Clone, Copy)]
pub(super) enum Told<'a> {
    /// An event of the turn.
    Event(&'a FeedItem),
    /// That the stream breaks off here, and why, in words.
    Broken(&'static str),
}

/// Why the turn did not complete, if that is what an event tells.
pub(super) fn failure(item: &FeedItem) -> Option<Error> {
    let (EventKind::Error, Some(turn)) = (item.kind, item.turn) else {
        return None;
    };
    let event: Value = serde_json::from_slice(&item.json).ok()?;
    let error = TurnError {
        code: serde_json::from_value(event.get("code")?.clone()).ok()?,
        message: event.get("error")?.as_str()?.to_owned(),
    };
    Some(Error::TurnEnded { turn, error })
}

/// A frame that holds one JSON object.
pub(super) fn data(value: &impl Serialize) -> Vec<u8> {
    let mut frame = b"data: ".to_vec();
    // What is sent here has a JSON form.
    let _rendered = serde_json::to_writer(&mut frame, value);
    frame.extend_from_slice(b"\n\n");
    frame
}

/// A response that is a stream of server-sent events.
pub(super) fn response(content_type: &'static str) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, content_type))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        // Proxies that would compress or collect the stream are told not to.
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header(("x-accel-buffering", "no"));
    response
}

/// The frames of a turn, as `frame_of` makes them, and a comment after each silence.
pub(super) fn of_turn(
    events: LogStream,
    heartbeat: Duration,
    frame_of: impl FnMut(Told<'_>) -> Vec<u8> + 'static,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    of_items(events, heartbeat, b": keep-alive\n\n", frame_of)
}

/// The frames of events, as `frame_of` makes them, and this comment after each silence.
pub(super) fn of_items(
    events: impl Stream<Item = Result<Arc<FeedItem>, Error>> + 'static,
    heartbeat: Duration,
    comment: &'static [u8],
    frame_of: impl FnMut(Told<'_>) -> Vec<u8> + 'static,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let events = Box::pin(events);
    let frames = stream::unfold(
        (Some(events), frame_of),
        move |(events, mut frame_of)| async move {
            let mut events = events?;
            let (frame, goes_on) = match tokio::time::timeout(heartbeat, events.next()).await {
                Ok(Some(Ok(item))) => (frame_of(Told::Event(&item)), true),
                Ok(Some(Err(error))) => (frame_of(Told::Broken(Problem::from(error).code.title())), false),
                Ok(None) => return None,
                Err(_silence) => (comment.to_vec(), true),
            };
            Some((Bytes::from(frame), (goes_on.then_some(events), frame_of)))
        },
    );
    frames
        .filter(|frame| std::future::ready(!frame.is_empty()))
        .map(Ok)
}
