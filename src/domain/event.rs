//! Events: the entries of a session's log.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strum::{Display, EnumDiscriminants, EnumString, IntoStaticStr};
use utoipa::ToSchema;

use super::{
    Attachment, BudgetNotice, ClaudeSessionId, EventId, MicroUsd, PermissionDecision, PermissionId,
    PermissionKind, PermissionMode, SessionChange, TurnErrorCode, TurnId, Usage,
};

/// One entry of a session's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its place.
    pub id: EventId,
    /// The turn it belongs to, if to one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub turn_id: Option<TurnId>,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, EnumDiscriminants, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[strum_discriminants(
    name(EventKind),
    doc = "An event's type, as the wire and the store name it.",
    derive(
        Hash,
        PartialOrd,
        Ord,
        Display,
        EnumString,
        IntoStaticStr,
        strum::EnumIter,
        Serialize,
        Deserialize,
        ToSchema
    ),
    serde(rename_all = "snake_case"),
    strum(serialize_all = "snake_case")
)]
pub enum EventBody {
    /// The user's prompt.
    Message {
        /// The prompt.
        #[schema(example = "What is in this folder?")]
        text: String,
        /// What was sent with it, without its content.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        attachments: Vec<Attachment>,
    },
    /// The turn waits.
    TurnQueued {
        /// For what.
        waits_for: WaitsFor,
        /// How many are served before it is, itself included.
        #[schema(example = 1)]
        position: usize,
    },
    /// The session as the turn finds it.
    Session {
        /// The session's id.
        #[schema(value_type = String, example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
        session_id: super::SessionId,
        /// The CLI's own id of the conversation.
        #[schema(value_type = String, example = "3f2a1b0c-9d8e-4f7a-8b6c-5d4e3f2a1b0c")]
        claude_session_id: ClaudeSessionId,
        /// The model that was asked for; absent: the CLI's choice.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[schema(example = "opus")]
        model: Option<String>,
        /// What tools may do without asking.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        permission_mode: Option<PermissionMode>,
    },
    /// The turn began.
    TurnStarted {},
    /// The server on which the turn ran was lost, and it goes on. What was said before counts as far as it is named here.
    TurnResumed {
        /// All that the assistant has said of the turn so far.
        #[schema(example = "There are two files:")]
        text: String,
    },
    /// A piece of the assistant's text.
    TextDelta {
        /// The piece.
        #[schema(example = "There are")]
        text: String,
    },
    /// A piece of the assistant's thinking.
    ThinkingDelta {
        /// The piece.
        #[schema(example = "I list the folder first.")]
        text: String,
    },
    /// The model was asked again after its answer broke off: the text since the last whole message does not count.
    TextRetracted {
        /// The text that does not count.
        #[schema(example = "There is")]
        text: String,
    },
    /// The assistant calls a tool.
    ToolUse {
        /// The tool's name.
        #[schema(example = "Bash")]
        tool_name: String,
        /// What it is called with.
        #[schema(value_type = BTreeMap<String, Value>, example = json!({"command": "ls"}))]
        tool_input: Value,
        /// The call's id.
        #[schema(example = "toolu_01A2b3C4d5E6f7G8h9J0kLmN")]
        tool_use_id: String,
        /// The call of the sub-agent that makes this one, if one does.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        parent_tool_use_id: Option<String>,
    },
    /// A tool answered.
    #[schema(example = json!({
        "type": "tool_result",
        "tool_use_id": "toolu_01A2b3C4d5E6f7G8h9J0kLmN",
        "content": "README.md\nnotes.txt",
        "is_error": false
    }))]
    ToolResult {
        /// The call's id.
        #[schema(example = "toolu_01A2b3C4d5E6f7G8h9J0kLmN")]
        tool_use_id: String,
        /// Text, or a list of content blocks.
        #[schema(value_type = Value)]
        content: Value,
        /// Whether the tool failed.
        is_error: bool,
        /// The call of the sub-agent that made the call, if one did.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        parent_tool_use_id: Option<String>,
    },
    /// A whole message, or block of one, of the assistant, as the Messages API has it.
    AssistantMessage {
        /// The content blocks.
        #[schema(value_type = Vec<Object>, example = json!([{"type": "text", "text": "There are two files: notes.txt and README.md."}]))]
        content: Vec<Value>,
        /// The model that wrote it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[schema(example = "claude-opus-5-5")]
        model: Option<String>,
        /// The API's id of the message; blocks of one message share it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[schema(example = "msg_01XyZ2abCdEfGhJkLmNoPqRs")]
        message_id: Option<String>,
        /// The call of the sub-agent that wrote it, if one did.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        parent_tool_use_id: Option<String>,
    },
    /// A message of the CLI, verbatim, where the session keeps them (`options.agent_messages`).
    AgentMessage {
        /// The message.
        #[schema(value_type = BTreeMap<String, Value>, example = json!({"type": "assistant", "message": {"role": "assistant", "content": [{"type": "text", "text": "There are two files: notes.txt and README.md."}]}}))]
        message: Value,
    },
    /// The agent asks; the turn waits for the answer.
    PermissionRequest {
        /// The question's id.
        #[schema(value_type = String, example = "prm_0199e2ca07d27e5f903b4c6d8e0f2a3b")]
        permission_id: PermissionId,
        /// What is asked.
        kind: PermissionKind,
        /// The tool.
        #[schema(example = "Bash")]
        tool_name: String,
        /// What it is to be called with.
        #[schema(value_type = BTreeMap<String, Value>, example = json!({"command": "git push"}))]
        tool_input: Value,
        /// The call's id.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[schema(example = "toolu_01A2b3C4d5E6f7G8h9J0kLmN")]
        tool_use_id: Option<String>,
        /// What the call is for, in the agent's words.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[schema(example = "Push the branch")]
        description: Option<String>,
        /// The tool pattern that "remember" allows from then on; absent where it cannot be remembered.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[schema(example = "Bash(git push:*)")]
        remembered_as: Option<String>,
        /// When it ends without an answer.
        expires_at: DateTime<Utc>,
    },
    /// What the agent asked was answered.
    PermissionResolved {
        /// The question's id.
        #[schema(value_type = String, example = "prm_0199e2ca07d27e5f903b4c6d8e0f2a3b")]
        permission_id: PermissionId,
        /// The tool.
        #[schema(example = "Bash")]
        tool_name: String,
        /// The call's id.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[schema(example = "toolu_01A2b3C4d5E6f7G8h9J0kLmN")]
        tool_use_id: Option<String>,
        /// The answer.
        decision: PermissionDecision,
        /// Who answered: a credential's name, `rule`, or `paddock` for the server itself.
        #[schema(example = "ci")]
        by: String,
        /// What the agent was told besides.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[schema(example = "Use the staging database instead.")]
        message: Option<String>,
        /// Whether the same needs no permission in this session from now on.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        remember: bool,
    },
    /// A task runs beside the conversation: a sub-agent, or a command in the background.
    TaskStarted {
        /// Its id.
        #[schema(example = "b7c3f9d1e")]
        task_id: String,
        /// What it is for.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[schema(example = "Run the tests")]
        description: Option<String>,
        /// The call that began it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[schema(example = "toolu_01A2b3C4d5E6f7G8h9J0kLmN")]
        tool_use_id: Option<String>,
    },
    /// A task ended.
    TaskEnded {
        /// Its id.
        #[schema(example = "b7c3f9d1e")]
        task_id: String,
        /// How: `completed`, `failed`, `stopped`.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[schema(example = "completed")]
        status: Option<String>,
        /// What came of it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[schema(example = "All 128 tests passed")]
        summary: Option<String>,
    },
    /// A client stopped a task.
    TaskStopped {
        /// Its id.
        #[schema(example = "b7c3f9d1e")]
        task_id: String,
    },
    /// Files were put back to where they were before a turn.
    FilesRewound {
        /// The turn.
        #[schema(value_type = String, example = "trn_0199e2c9b6c17d4e8f2a3b5c7d9e1f2a")]
        before_turn: TurnId,
        /// The files.
        #[schema(example = json!(["notes.txt"]))]
        files: Vec<String>,
    },
    /// The session went back to where it was before a turn. What came since stays in the log, and is no longer known to the
    /// agent, or no longer in the workspace.
    SessionRewound {
        /// The turn.
        #[schema(value_type = String, example = "trn_0199e2c9b6c17d4e8f2a3b5c7d9e1f2a")]
        before_turn: TurnId,
        /// Whether the workspace is as it was.
        files: bool,
        /// Whether the conversation is as it was.
        conversation: bool,
        /// What was not kept of the workspace, and is as it was found: the first hundred of it.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        #[schema(example = json!(["model.bin"]))]
        not_kept: Vec<String>,
    },
    /// The conversation could not be gone on with and began anew, as the client had asked for in that case.
    ConversationReset {
        /// The CLI's id of the new conversation.
        #[schema(value_type = String, example = "3f2a1b0c-9d8e-4f7a-8b6c-5d4e3f2a1b0c")]
        claude_session_id: ClaudeSessionId,
    },
    /// What the turn used.
    Usage {
        /// Tokens.
        usage: Usage,
        /// Cost, in USD.
        #[serde(rename = "cost_usd", with = "super::money::usd")]
        #[schema(value_type = f64, example = 0.0042)]
        cost: MicroUsd,
    },
    /// Much of a budget that covers the session is spent.
    BudgetWarning(BudgetNotice),
    /// The session's title, metadata or options changed.
    SessionUpdated {
        /// The title, if it changed; null when it was removed.
        #[serde(skip_serializing_if = "Option::is_none", default, with = "present")]
        #[schema(value_type = Option<String>, example = "Tidy up the tests")]
        title: Option<Option<String>>,
        /// The metadata, if it changed.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[schema(value_type = Option<BTreeMap<String, Value>>, example = json!({"ticket": "OPS-1234"}))]
        metadata: Option<Map<String, Value>>,
        /// The model, if it changed; null when it is left to the CLI.
        #[serde(skip_serializing_if = "Option::is_none", default, with = "present")]
        #[schema(value_type = Option<String>, example = "opus")]
        model: Option<Option<String>>,
        /// What tools may do without asking, if that changed.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        permission_mode: Option<PermissionMode>,
        /// A tool pattern that needs no permission from now on.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[schema(example = "Bash(git push:*)")]
        allowed_tool: Option<String>,
    },
    /// The turn completed. The last event of its turn.
    Done {
        /// All that the assistant said: the turn's text deltas joined.
        #[schema(example = "There are two files: notes.txt and README.md.")]
        text: String,
        /// Tokens.
        usage: Usage,
        /// Cost, in USD.
        #[serde(rename = "cost_usd", with = "super::money::usd")]
        #[schema(value_type = f64, example = 0.0042)]
        cost: MicroUsd,
        /// Why the model stopped.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[schema(example = "end_turn")]
        stop_reason: Option<String>,
        /// The answer in the form that the session's schema asks for.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        #[schema(value_type = Option<BTreeMap<String, Value>>, example = json!({"files": 2}))]
        structured_output: Option<Value>,
    },
    /// The turn did not complete. The last event of its turn.
    Error {
        /// Why, in words.
        #[schema(example = "the agent ended unexpectedly")]
        error: String,
        /// Why, by name.
        code: TurnErrorCode,
    },
    /// Events between here and the one before are no longer to be had.
    Gap {
        /// The first id that is to be had.
        #[schema(value_type = u64, example = 40)]
        first_available: EventId,
    },
}

/// What a turn waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// The turns of its session that came before.
    Session,
    /// An agent: all that there may be are at work.
    Agent,
}

/// Which events of a session's log are read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EventQuery {
    /// Those after this one.
    pub after: EventId,
    /// Those up to this one.
    pub until: Option<EventId>,
    /// Those of these types; of all when empty.
    pub kinds: Vec<EventKind>,
    /// Whether pieces of messages are read too, as far as they are still kept. Naming their types asks for them too.
    pub deltas: bool,
    /// Those of this turn.
    pub turn: Option<TurnId>,
}

impl EventQuery {
    /// All whole events after `after`.
    #[must_use]
    pub fn after(after: EventId) -> Self {
        Self {
            after,
            ..Self::default()
        }
    }

    /// The same, of these types only.
    #[must_use]
    pub fn of_kinds(self, kinds: &[EventKind]) -> Self {
        Self {
            kinds: kinds.to_vec(),
            ..self
        }
    }

    /// Whether an event is such a one.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        event.id > self.after
            && self.until.is_none_or(|until| event.id <= until)
            && self.takes(event.body.kind(), event.turn_id)
    }

    /// Whether events of this type and turn are read, wherever they are.
    #[must_use]
    pub fn takes(&self, kind: EventKind, turn: Option<TurnId>) -> bool {
        let of_kind = if self.kinds.is_empty() {
            self.deltas || !kind.is_delta()
        } else {
            self.kinds.contains(&kind)
        };
        of_kind && (self.turn.is_none() || self.turn == turn)
    }

    /// Whether it can match a piece of a message.
    #[must_use]
    pub fn wants_deltas(&self) -> bool {
        if self.kinds.is_empty() {
            self.deltas
        } else {
            self.kinds.iter().any(|kind| kind.is_delta())
        }
    }
}

impl EventKind {
    /// Whether events of this type are pieces of a message that is kept whole beside them.
    #[must_use]
    pub const fn is_delta(self) -> bool {
        matches!(self, Self::TextDelta | Self::ThinkingDelta)
    }

    /// The types that a conversation's history is made of.
    pub const MESSAGES: [Self; 3] = [Self::Message, Self::AssistantMessage, Self::ToolResult];

    /// Whether events of this type are messages of the conversation.
    #[must_use]
    pub fn is_message(self) -> bool {
        Self::MESSAGES.contains(&self)
    }
}

impl EventBody {
    /// What tells of a change of a session.
    #[must_use]
    pub fn of_change(change: &SessionChange) -> Self {
        Self::SessionUpdated {
            title: change.title.clone(),
            metadata: change.metadata.clone(),
            model: change.model.clone(),
            permission_mode: change.permission_mode,
            allowed_tool: change.allow_tool.clone(),
        }
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        EventKind::from(self)
    }

    /// Whether it is kept in the store: all but pieces of a message that is kept whole, and what only a reader's
    /// position makes true.
    #[must_use]
    pub const fn is_durable(&self) -> bool {
        !matches!(
            self,
            Self::TextDelta { .. } | Self::ThinkingDelta { .. } | Self::Gap { .. }
        )
    }

    /// How long the text of a piece of a message is, in bytes; zero for anything else.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        match self {
            Self::TextDelta { text } | Self::ThinkingDelta { text } => text.len(),
            _ => 0,
        }
    }

    /// Whether it is the last of its turn.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Error { .. })
    }
}

/// A field whose presence says something and whose value may be null.
mod present {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(
        clippy::option_option,
        clippy::ref_option,
        reason = "absent, null and a value are three things"
    )]
    pub(super) fn serialize<S: Serializer>(
        value: &Option<Option<String>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().and_then(Option::as_ref).serialize(serializer)
    }

    #[expect(clippy::option_option, reason = "absent, null and a value are three things")]
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<String>>, D::Error> {
        Option::<String>::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Epoch;

    #[test]
    fn an_event_is_one_flat_object() {
        let event = Event {
            id: EventId::new(Epoch::new(1).unwrap(), 7),
            turn_id: None,
            created_at: DateTime::UNIX_EPOCH,
            body: EventBody::TextDelta { text: "hi".into() },
        };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"id": event.id.get(), "created_at": "1970-01-01T00:00:00Z",
                "type": "text_delta", "text": "hi"})
        );
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }

    #[test]
    fn a_removed_title_is_null_and_an_untouched_one_absent() {
        let nothing = SessionChange::default();
        let removed = EventBody::of_change(&SessionChange {
            title: Some(None),
            ..nothing.clone()
        });
        let json = serde_json::to_value(&removed).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"type": "session_updated", "title": null})
        );
        assert_eq!(serde_json::from_value::<EventBody>(json).unwrap(), removed);
        let untouched = EventBody::of_change(&nothing);
        assert_eq!(
            serde_json::to_value(&untouched).unwrap(),
            serde_json::json!({"type": "session_updated"})
        );
    }
}
