//! What instances ask each other, as JSON. An instance of another version may not know all of it: what it does not
//! know, it refuses by name.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::{
    Attachment, Epoch, EventBody, EventId, EventKind, Permission, Principal, SessionId, TenantId, TurnId,
    TurnStatus,
};

/// Something that the instance is to do which has a session.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum PeerCommand {
    /// Interrupt a turn: this one, else the one that runs.
    Interrupt {
        /// Which.
        turn: Option<TurnId>,
    },
    /// Bring an answer to the turn whose agent asked.
    Answer {
        /// The question, with the answer.
        permission: Box<Permission>,
    },
    /// Bring the agent to the options that the session has now.
    ApplyOptions,
    /// Append events that belong to no turn.
    Record {
        /// The events.
        bodies: Vec<EventBody>,
    },
    /// End the turn and the agent: the session is closed.
    Close,
    /// End the agent: the session is another instance's, from this epoch on.
    Drop {
        /// The epoch, by its number.
        epoch: u32,
    },
    /// Ask the CLI.
    Ask(PeerQuestion),
    /// Tell where a turn is.
    TurnStatus {
        /// Which.
        turn: TurnId,
    },
    /// Take a turn.
    Begin(Box<PeerTurn>),
}

/// Something that is asked of a session's CLI.
#[derive(Debug, Serialize, Deserialize)]
pub struct PeerQuestion {
    /// Who asks.
    pub caller: Principal,
    /// What.
    pub question: Value,
}

/// A turn for a session that another instance has.
#[derive(Debug, Serialize, Deserialize)]
pub struct PeerTurn {
    /// Who asks for it.
    pub caller: Principal,
    /// The prompt's text, for the log.
    pub message: String,
    /// The prompt as the CLI gets it.
    pub content: Value,
    /// What is sent with it.
    pub attachments: Vec<Attachment>,
    /// When it is to be interrupted if it has not ended.
    pub timeout: Option<Duration>,
    /// Whether it interrupts the turn that runs, instead of waiting for it.
    pub interrupts: bool,
    /// Whether a lost conversation begins anew.
    pub fresh_if_lost: bool,
    /// The idempotency key of the request that asks for it.
    pub request_key: Option<String>,
}

/// A command, and whose session it is about.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerRequest {
    /// Whose.
    pub tenant: TenantId,
    /// Which session.
    pub session: SessionId,
    /// The command.
    pub command: PeerCommand,
}

/// What an instance answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum PeerAnswer {
    /// It is done.
    Done,
    /// This turn was interrupted, if any was there.
    Interrupted {
        /// Which.
        turn: Option<TurnId>,
    },
    /// Whether a turn takes the answer.
    Answered {
        /// Whether.
        taken: bool,
    },
    /// What the CLI said.
    Said {
        /// What.
        value: Value,
    },
    /// Where a turn is, if it is alive there.
    TurnStatus {
        /// Where.
        status: Option<TurnStatus>,
    },
    /// The turn was taken.
    Begun(Begun),
    /// It is not done.
    Refused(PeerRefusal),
}

/// A turn that was taken.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Begun {
    /// Which.
    pub turn: TurnId,
    /// The id before its first event.
    pub after: EventId,
}

/// Why an instance does not do what it is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum PeerRefusal {
    /// It does not have the session.
    NotHere,
    /// As many turns of the session wait as may.
    QueueFull,
    /// It is stopping.
    ShuttingDown,
    /// The session is closed, or is no more.
    SessionGone,
    /// The CLI refused.
    CliRefused {
        /// What it said.
        message: String,
    },
    /// The CLI did not answer in time.
    CliTimeout,
    /// Something else, in words.
    Failed {
        /// The words.
        message: String,
    },
}

/// A line of a log as another instance follows it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLine {
    /// What comes next comes after what is in the store.
    Start {
        /// Up to where all is in the store.
        stored: EventId,
        /// The newest event that was shown so far.
        shown: EventId,
    },
    /// An event.
    Item {
        /// Its place.
        id: EventId,
        /// The turn it belongs to.
        turn: Option<TurnId>,
        /// Its type.
        kind: EventKind,
        /// Whether it is the last of its turn.
        terminal: bool,
        /// The event as clients get it.
        event: Box<RawValue>,
    },
    /// Nothing came for a while.
    Alive,
}

impl PeerCommand {
    /// That the session is another's from this epoch on.
    #[must_use]
    pub const fn drop_for(epoch: Epoch) -> Self {
        Self::Drop { epoch: epoch.get() }
    }
}
