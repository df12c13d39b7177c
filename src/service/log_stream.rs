//! A session's log as a stream, for whoever sends it on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt as _, stream};

use super::error::Error;
use super::log_reader::LogReader;
use crate::agent::feed::FeedItem;

/// One event, or why there are no more.
type Read = Result<Arc<FeedItem>, Error>;

/// Events of a log, in their order; after an error, nothing more. Dropping it leaves the log, and the turn, alone.
pub struct LogStream(Pin<Box<dyn Stream<Item = Read>>>);

impl std::fmt::Debug for LogStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStream").finish_non_exhaustive()
    }
}

impl Stream for LogStream {
    type Item = Read;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl LogStream {
    pub(super) fn of(items: impl Stream<Item = Read> + 'static) -> Self {
        Self(Box::pin(items))
    }

    /// What a reader finds; where it follows, also what comes, until nothing will.
    pub(super) fn read(reader: LogReader, follow: bool) -> Self {
        let batches = stream::unfold(Some(reader), move |reader| async move {
            let mut reader = reader?;
            loop {
                reader.mark();
                // Before the look: what came before the end is read all the same.
                let is_over = !follow || reader.has_ended();
                match reader.read().await {
                    Ok(items) if !items.is_empty() => {
                        let items: Vec<Read> = items.into_iter().map(Ok).collect();
                        return Some((stream::iter(items), Some(reader)));
                    }
                    Ok(_nothing) if is_over => return None,
                    Ok(_nothing) => reader.changed().await,
                    // Told, so that nobody takes what came so far for all there is.
                    Err(error) => return Some((stream::iter(vec![Err(error.into())]), None)),
                }
            }
        });
        Self::of(batches.flatten())
    }

    /// The same, up to the last event of the first turn that ends.
    pub(super) fn until_terminal(self) -> Self {
        Self::of(stream::unfold(Some(self), |rest| async move {
            let mut rest = rest?;
            let item = rest.next().await?;
            let goes_on = item.as_ref().is_ok_and(|item| !item.terminal);
            Some((item, goes_on.then_some(rest)))
        }))
    }

    /// The same, with each event as this tells it.
    pub(super) fn map_items(self, tell: fn(Arc<FeedItem>) -> Read) -> Self {
        Self::of(self.map(move |item| item.and_then(tell)))
    }

    /// The same, up to when this comes.
    pub(super) fn until<T>(self, over: impl Future<Output = T> + 'static) -> Self {
        Self::of(self.take_until(over))
    }

    /// The same, if there is anything in it.
    pub(super) async fn unless_empty(mut self) -> Option<Self> {
        let first = self.next().await?;
        Some(Self::of(stream::iter([first]).chain(self)))
    }
}
