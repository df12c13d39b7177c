//! Turns: a prompt goes in; its answer is waited for, or followed event by event. The turn itself needs neither.

use std::sync::Arc;
use std::time::Duration;

use super::error::Error;
use super::sessions::SessionService;
use super::turn_stream::TurnStream;
use crate::agent::{Agents, StartedTurn};
use crate::domain::{Clock, Principal, SessionId, Turn};
use crate::store::Store;

/// A prompt for a session.
#[derive(Debug, Clone)]
pub struct TurnOrder {
    /// The session.
    pub session: SessionId,
    /// The prompt.
    pub message: String,
    /// When the turn is to be interrupted if it has not ended.
    pub timeout: Option<Duration>,
}

/// Turns.
#[derive(Debug)]
pub struct TurnService {
    store: Arc<dyn Store>,
    agents: Agents,
    sessions: Arc<SessionService>,
    clock: Arc<dyn Clock>,
    /// How many stored events are read at once for a reader that fell behind.
    read_batch: u32,
}

impl TurnService {
    /// The use cases over these parts.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        agents: Agents,
        sessions: Arc<SessionService>,
        clock: Arc<dyn Clock>,
        read_batch: u32,
    ) -> Self {
        Self {
            store,
            agents,
            sessions,
            clock,
            read_batch,
        }
    }

    /// Runs a turn and waits for its end. The turn goes on if the caller does not wait that long.
    ///
    /// # Errors
    /// Also when the turn did not complete: [`Error::TurnEnded`].
    pub async fn run(&self, caller: &Principal, order: TurnOrder) -> Result<Turn, Error> {
        let started = self.start(caller, order).await?;
        let mut ended = started.ended;
        let turn = ended
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|turn| turn.clone());
        let turn = turn.map(Arc::unwrap_or_clone).ok_or_else(|| Error::Internal {
            action: "a turn was lost",
            source: "the task that ran it ended without an outcome".into(),
        })?;
        match turn.outcome.as_ref().and_then(|outcome| outcome.error.clone()) {
            Some(error) => Err(Error::TurnEnded { turn: turn.id, error }),
            None => Ok(turn),
        }
    }

    /// Begins a turn and follows its events. The turn goes on if the stream is dropped.
    pub async fn stream(&self, caller: &Principal, order: TurnOrder) -> Result<TurnStream, Error> {
        let started = self.start(caller, order).await?;
        Ok(TurnStream::follow(
            started,
            Arc::clone(&self.store),
            caller.tenant,
            Arc::clone(&self.clock),
            self.read_batch,
        ))
    }

    async fn start(&self, caller: &Principal, order: TurnOrder) -> Result<StartedTurn, Error> {
        let session = self.sessions.find_usable(caller, order.session).await?;
        let workspace = self.sessions.workspace(caller, &session).await?;
        Ok(self
            .agents
            .start_turn(session, workspace, order.message, order.timeout)
            .await?)
    }
}
