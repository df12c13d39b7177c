//! The events of one turn, from its first to its last, as they come.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;

use super::log_reader::{LogReader, render};
use super::log_stream::LogStream;
use crate::agent::StartedTurn;
use crate::agent::feed::FeedItem;
use crate::domain::{Clock, Event, EventBody, EventKind, Turn};

/// How long is waited before a store that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// The events that a client of a turn sees.
pub(super) const SHOWN: [EventKind; 19] = [
    EventKind::TurnQueued,
    EventKind::Session,
    EventKind::TurnStarted,
    EventKind::TurnResumed,
    EventKind::TextDelta,
    EventKind::ThinkingDelta,
    EventKind::TextRetracted,
    EventKind::ToolUse,
    EventKind::ToolResult,
    EventKind::PermissionRequest,
    EventKind::PermissionResolved,
    EventKind::TaskStarted,
    EventKind::TaskEnded,
    EventKind::ConversationReset,
    EventKind::BudgetWarning,
    EventKind::Usage,
    EventKind::Gap,
    EventKind::Done,
    EventKind::Error,
];

/// What the CLI itself says of a turn, where the session keeps it, and how the turn ends.
pub(super) const VERBATIM: [EventKind; 3] = [EventKind::AgentMessage, EventKind::Done, EventKind::Error];

/// The events of a turn, from where the reader is; ends after its last one. Dropping it leaves the turn alone.
pub(super) fn follow(started: StartedTurn, reader: LogReader, clock: Arc<dyn Clock>) -> LogStream {
    let follower = Follower {
        reader,
        turn: started.turn,
        ended: started.ended,
        clock,
        finished: false,
    };
    let batches = stream::unfold(follower, |mut follower| async move {
        let items = follower.next().await?;
        Some((stream::iter(items.into_iter().map(Ok)), follower))
    });
    LogStream::of(batches.flatten())
}

struct Follower {
    reader: LogReader,
    turn: Turn,
    ended: watch::Receiver<Option<Arc<Turn>>>,
    clock: Arc<dyn Clock>,
    finished: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Vec<Arc<FeedItem>>> {
        while !self.finished {
            // Before the look at the log: what is published after it wakes the wait below.
            self.reader.mark();
            let ended = self.ended.borrow_and_update().clone();
            match (self.reader.read().await, ended) {
                (Ok(items), _) if !items.is_empty() => {
                    self.finished = items.last().is_some_and(|item| item.terminal);
                    return Some(items);
                }
                // Its last event was not stored, or is no longer kept; the client is told all the same.
                (_, Some(turn)) => {
                    self.finished = true;
                    return self.unlogged_end(&turn).map(|end| vec![end]);
                }
                (Ok(_nothing), None) => self.wait().await,
                (Err(error), None) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a turn's reader waits for the store"
                    );
                    tokio::time::sleep(ASK_AGAIN).await;
                }
            }
        }
        None
    }

    async fn wait(&mut self) {
        tokio::select! {
            () = self.reader.changed() => {}
            changed = self.ended.changed() => if changed.is_err() {
                // The turn's task is gone without an outcome: nothing more will come.
                self.finished = true;
            },
        }
    }

    /// The end of a turn whose last event is not in the log, under the id of what its client was told last.
    fn unlogged_end(&self, turn: &Turn) -> Option<Arc<FeedItem>> {
        let outcome = turn.outcome.clone()?;
        let body = match outcome.error {
            Some(error) => EventBody::Error {
                error: error.message,
                code: error.code,
            },
            None => EventBody::Done {
                text: outcome.text,
                usage: outcome.usage,
                cost: outcome.cost,
                stop_reason: outcome.stop_reason,
                structured_output: outcome.structured_output,
            },
        };
        render(&Event {
            id: self.reader.cursor(),
            turn_id: Some(self.turn.id),
            created_at: self.clock.now(),
            body,
        })
        .ok()
    }
}
