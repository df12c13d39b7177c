//! Turns: one prompt and all that follows until its result.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{Display, EnumString, IntoStaticStr};
use utoipa::ToSchema;

use super::{EventId, KeyId, MicroUsd, SessionId, TurnId, Usage};

/// One prompt and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Its id.
    pub id: TurnId,
    /// The session it belongs to.
    pub session: SessionId,
    /// The prompt.
    pub message: String,
    /// When it was taken; once it has begun: when it began.
    pub started_at: DateTime<Utc>,
    /// Whether it waits for turns before it and has not begun.
    #[serde(default)]
    pub queued: bool,
    /// The key that asked for it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// When it is to be interrupted if it has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DateTime<Utc>>,
    /// How it ended; `None` while it runs.
    pub outcome: Option<TurnOutcome>,
}

/// What a request that may be sent again is answered by: the turn that it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnReceipt {
    /// The turn.
    pub turn: TurnId,
    /// The event before its first one.
    pub after: EventId,
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TurnOutcome {
    /// Its last status.
    pub status: TurnStatus,
    /// All that the assistant said, block after block, with a blank line between two: the turn's `text_delta`s
    /// joined.
    pub text: String,
    /// The tools it called, in order.
    pub tool_calls: Vec<ToolCall>,
    /// The answer in the form that the session's schema asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured_output: Option<Value>,
    /// Tokens used.
    pub usage: Usage,
    /// What it cost, at the prices of the settings; by the CLI's own count where there is no gateway.
    pub cost: MicroUsd,
    /// What the CLI says that it used and cost, where that was counted apart from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Reported>,
    /// Why the model stopped (`end_turn`, `max_tokens`, `max_turns`, …); absent when it did not get that far.
    pub stop_reason: Option<String>,
    /// Why it did not complete; present exactly when the status is not `completed`.
    pub error: Option<TurnError>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
}

/// What the CLI says that a turn used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// Tokens.
    pub usage: Usage,
    /// Cost, at the CLI's own prices.
    pub cost: MicroUsd,
}

/// Where a turn is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, ToSchema)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[schema(example = "completed")]
pub enum TurnStatus {
    /// It waits: for turns before it, or for an agent.
    Queued,
    /// The agent is at it.
    Running,
    /// The agent has asked something and waits for the answer.
    AwaitingPermission,
    /// The agent answered.
    Completed,
    /// It ended in an error.
    Failed,
    /// It was interrupted.
    Interrupted,
    /// It ran into the time limit that its client asked for.
    TimedOut,
    /// The server ended while it ran: some of its tools may have run.
    Unknown,
}

/// A tool that the agent called, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolCall {
    /// The tool's name.
    #[schema(example = "Bash")]
    pub tool: String,
    /// What it was called with.
    #[schema(value_type = BTreeMap<String, Value>, example = json!({"command": "ls"}))]
    pub input: Value,
    /// What it answered: text, or a list of content blocks. Absent when the turn ended before it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value, required = false)]
    pub output: Option<Value>,
    /// Whether it failed. Absent when it has not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_error: Option<bool>,
    /// The call's id.
    #[schema(example = "toolu_01A2b3C4d5E6f7G8h9J0kLmN")]
    pub tool_use_id: String,
}

/// Why a turn did not complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnError {
    /// The reason, by name.
    pub code: TurnErrorCode,
    /// The reason, in words that a client may see.
    pub message: String,
}

/// Why a turn did not complete, by name. The names are part of the API.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    strum::EnumIter,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TurnErrorCode {
    /// The CLI cannot be started: it is missing, or not executable.
    AgentUnavailable,
    /// The CLI was started and ended, or said nothing, before it was ready.
    AgentStartFailed,
    /// The CLI ended in the middle of the turn.
    AgentCrashed,
    /// All agents are in use, and none became free in time.
    AgentsExhausted,
    /// The answer did not take the form that the session's schema asks for.
    OutputInvalid,
    /// The CLI no longer has the conversation.
    ConversationLost,
    /// The model's API answered with an error.
    ModelError,
    /// The CLI ended the turn with an error of its own.
    TurnFailed,
    /// The time limit that the client asked for was reached.
    TurnTimeout,
    /// A client interrupted it.
    TurnInterrupted,
    /// The server was told to stop and the drain limit was reached.
    ServerShutdown,
    /// The session's folders held more than they may.
    WorkspaceFull,
    /// A budget that covers it is spent.
    BudgetExceeded,
    /// The session was closed while it ran.
    SessionClosed,
    /// The server ended while it ran: some of its tools may have run.
    TurnUnknown,
    /// The store did not take the turn's events.
    StoreUnavailable,
}

impl TurnErrorCode {
    /// The status of a turn that ended for this reason.
    #[must_use]
    pub const fn status(self) -> TurnStatus {
        match self {
            Self::TurnTimeout => TurnStatus::TimedOut,
            Self::ServerShutdown | Self::SessionClosed | Self::TurnInterrupted => TurnStatus::Interrupted,
            Self::TurnUnknown => TurnStatus::Unknown,
            _ => TurnStatus::Failed,
        }
    }
}
