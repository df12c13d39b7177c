//! The handle on an agent: what the rest of the server holds of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::process::ExitStatus;
use super::transcript::{Kept, TranscriptLost, TranscriptQueue};
use crate::domain::{KeyId, TurnId};
use crate::gateway::Meter;
use crate::protocol::message::CliMessage;

/// Where an agent is in its life.
#[derive(Debug, Clone)]
pub enum AgentState {
    /// It is being initialised.
    Starting,
    /// It takes turns.
    Ready(Arc<serde_json::Value>),
    /// Its process has ended.
    Ended(Arc<AgentEnd>),
}

/// How an agent ended.
#[derive(Debug, Clone)]
pub struct AgentEnd {
    /// How its process ended.
    pub status: ExitStatus,
    /// Whether it had been ready.
    pub was_ready: bool,
    /// Whether it was ended because it did not get ready in time.
    pub start_timed_out: bool,
    /// What it complained of last: its own error messages, and the tail of its standard error.
    pub complaint: String,
}

impl AgentEnd {
    /// Whether the CLI said that it does not have the conversation it was to resume.
    #[must_use]
    pub fn conversation_lost(&self) -> bool {
        self.complaint.contains("No conversation found with session ID")
    }
}

/// A handle on an agent. The agent is told to end when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Agent {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) state: watch::Receiver<AgentState>,
    /// Keeps what its CLI writes down, if that is kept.
    pub(super) transcript: Option<TranscriptQueue>,
    /// Counts what it uses of the model, if that goes through the gateway.
    pub(super) meter: Option<Meter>,
    /// Its process id, for logs.
    pub pid: Option<u32>,
}

/// A message of the running turn.
#[derive(Debug)]
pub struct TurnMessage {
    /// The message.
    pub message: CliMessage,
    /// The line that it came as, where it is to be kept.
    pub line: Option<String>,
}

/// Messages of the running turn.
pub type TurnMessages = mpsc::Receiver<TurnMessage>;

/// What an agent's actor is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Run a turn.
    Turn {
        prompt: Uuid,
        line: Bytes,
        /// Whether its messages are handed on with the lines that they came as.
        verbatim: bool,
        messages: mpsc::Sender<TurnMessage>,
    },
    /// Give the CLI a line: an answer to what it asked.
    Send(Bytes),
    /// Ask the CLI.
    Ask {
        subtype: &'static str,
        fields: Map<String, Value>,
        answer: oneshot::Sender<Result<Value, String>>,
    },
    /// End the running turn.
    Interrupt,
    /// End the process in order.
    Stop,
    /// Kill the process.
    Kill,
}

/// The agent has ended, or is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent has ended")]
pub struct Gone;

/// Why the CLI did not answer what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Its process has ended.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// It took too long.
    #[error("the CLI did not answer in time")]
    TimedOut,
    /// It answered that it does not do that.
    #[error("the CLI refused: {0}")]
    Refused(String),
}

impl Agent {
    /// Whether both handles are on the same agent.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.commands.same_channel(&other.commands)
    }

    /// Waits until it is ready, or has ended.
    pub async fn ready(&self) -> Result<Arc<serde_json::Value>, Arc<AgentEnd>> {
        let mut state = self.state.clone();
        loop {
            match &*state.borrow_and_update() {
                AgentState::Ready(info) => return Ok(Arc::clone(info)),
                AgentState::Ended(end) => return Err(Arc::clone(end)),
                AgentState::Starting => {}
            }
            if state.changed().await.is_err() {
                return Err(Arc::new(vanished()));
            }
        }
    }

    /// Waits until its process has ended.
    pub async fn ended(&self) -> Arc<AgentEnd> {
        let mut state = self.state.clone();
        loop {
            if let AgentState::Ended(end) = &*state.borrow_and_update() {
                return Arc::clone(end);
            }
            if state.changed().await.is_err() {
                return Arc::new(vanished());
            }
        }
    }

    /// Whether its process lives.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !matches!(*self.state.borrow(), AgentState::Ended(_)) && !self.commands.is_closed()
    }

    /// Hands it a turn's prompt, under an id. Its messages come up to and including the `result` that belongs to the prompt, with their
    /// lines if they are wanted `verbatim`; if they end before, the process has ended.
    pub async fn start_turn(
        &self,
        turn: TurnId,
        key: Option<KeyId>,
        prompt: Uuid,
        line: Bytes,
        verbatim: bool,
    ) -> Result<TurnMessages, Gone> {
        let (messages, received) = mpsc::channel(32);
        if let Some(meter) = &self.meter {
            meter.begin_turn(turn, key);
        }
        self.commands
            .send(Command::Turn {
                prompt,
                line,
                verbatim,
                messages,
            })
            .await
            .map_err(|_closed| Gone)?;
        Ok(received)
    }

    /// Waits until all that its CLI wrote down so far is stored; whether there was anything.
    pub(super) async fn flush_transcript(&self) -> Result<bool, TranscriptLost> {
        let Some(transcript) = &self.transcript else {
            return Ok(false);
        };
        let (flushed, is_flushed) = oneshot::channel();
        transcript
            .send(Kept::Flush(flushed))
            .await
            .map_err(|_closed| TranscriptLost)?;
        is_flushed.await.unwrap_or(Err(TranscriptLost))
    }

    /// Asks the CLI something, and waits for its answer for at most `patience`.
    pub(super) async fn ask(
        &self,
        subtype: &'static str,
        fields: Map<String, Value>,
        patience: Duration,
    ) -> Result<Value, AskError> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Ask {
            subtype,
            fields,
            answer,
        };
        let asked = async {
            self.commands.send(command).await.map_err(|_closed| Gone)?;
            match answered.await {
                Ok(answer) => answer.map_err(AskError::Refused),
                Err(_dropped) => Err(AskError::Gone(Gone)),
            }
        };
        tokio::time::timeout(patience, asked)
            .await
            .unwrap_or(Err(AskError::TimedOut))
    }

    /// Gives the CLI a line.
    pub(super) async fn send(&self, line: Bytes) -> Result<(), Gone> {
        self.commands
            .send(Command::Send(line))
            .await
            .map_err(|_closed| Gone)
    }

    /// Asks it to end the running turn.
    pub async fn interrupt(&self) -> Result<(), Gone> {
        self.commands
            .send(Command::Interrupt)
            .await
            .map_err(|_closed| Gone)
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(&self) -> Arc<AgentEnd> {
        // If the mailbox is closed, it is ending already.
        let _ending = self.commands.send(Command::Stop).await;
        self.ended().await
    }

    /// Kills it, and waits until it has ended.
    pub async fn kill(&self) -> Arc<AgentEnd> {
        let _ending = self.commands.send(Command::Kill).await;
        self.ended().await
    }
}

fn vanished() -> AgentEnd {
    AgentEnd {
        status: ExitStatus {
            code: None,
            signal: None,
        },
        was_ready: false,
        start_timed_out: false,
        complaint: "its actor ended".to_owned(),
    }
}
