"""The events of a session's log: dictionaries, told apart by ``type``.

``Event`` is the union of all that are known; a type checker narrows it by ``event["type"] == "text_delta"``. An event
of a type that a newer server adds comes as it is, so code that branches on ``type`` should leave the others alone.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from .types import PermissionMode, Usage

__all__ = [
    "AgentMessageEvent",
    "AssistantMessageEvent",
    "BudgetWarningEvent",
    "ConversationResetEvent",
    "DoneEvent",
    "ErrorEvent",
    "Event",
    "FilesRewoundEvent",
    "GapEvent",
    "MessageEvent",
    "PermissionRequestEvent",
    "PermissionResolvedEvent",
    "SessionEvent",
    "SessionRewoundEvent",
    "SessionUpdatedEvent",
    "TaskEndedEvent",
    "TaskStartedEvent",
    "TaskStoppedEvent",
    "TextDeltaEvent",
    "TextRetractedEvent",
    "ThinkingDeltaEvent",
    "ToolResultEvent",
    "ToolUseEvent",
    "TurnQueuedEvent",
    "TurnResumedEvent",
    "TurnStartedEvent",
    "UsageEvent",
]

# What may be absent stands in classes of its own: `NotRequired` is younger than Python 3.10.


class _InTurn(TypedDict, total=False):
    turn_id: str
    """The turn that it belongs to, if to one."""


class _Event(_InTurn):
    id: int
    """Its place in the session's log; only rises. A place to go on after."""
    created_at: str


class _Parent(TypedDict, total=False):
    parent_tool_use_id: str
    """The call of the sub-agent that it belongs to, if to one."""


class _MessageOptional(TypedDict, total=False):
    attachments: list[dict[str, Any]]
    """``media_type``, ``size_bytes``, and ``name`` of what was sent with it."""


class MessageEvent(_Event, _MessageOptional):
    """The user's prompt. In the log only."""

    type: Literal["message"]
    text: str


class TurnQueuedEvent(_Event):
    """The turn waits: for the turns before it in its session, or for an agent."""

    type: Literal["turn_queued"]
    waits_for: Literal["session", "agent"]
    position: int
    """How many are served before it is, itself included."""


class _SessionOptional(TypedDict, total=False):
    model: str
    permission_mode: PermissionMode


class SessionEvent(_Event, _SessionOptional):
    """The session as the turn finds it."""

    type: Literal["session"]
    session_id: str
    claude_session_id: str


class TurnStartedEvent(_Event):
    """The turn began."""

    type: Literal["turn_started"]


class TurnResumedEvent(_Event):
    """The turn's server was lost, and it goes on. Of the text before, only ``text`` counts."""

    type: Literal["turn_resumed"]
    text: str


class TextDeltaEvent(_Event):
    """A piece of the assistant's text."""

    type: Literal["text_delta"]
    text: str


class ThinkingDeltaEvent(_Event):
    """A piece of the assistant's thinking."""

    type: Literal["thinking_delta"]
    text: str


class TextRetractedEvent(_Event):
    """The model was asked again after its answer broke off: ``text`` does not count.

    It is what was said since the last whole message.
    """

    type: Literal["text_retracted"]
    text: str


class ToolUseEvent(_Event, _Parent):
    """The assistant calls a tool."""

    type: Literal["tool_use"]
    tool_name: str
    tool_input: dict[str, Any]
    tool_use_id: str


class ToolResultEvent(_Event, _Parent):
    """A tool answered."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[dict[str, Any]]
    is_error: bool


class _AssistantOptional(TypedDict, total=False):
    model: str
    message_id: str
    """The API's id of the message; blocks of one message share it."""


class AssistantMessageEvent(_Event, _Parent, _AssistantOptional):
    """A whole message, or block of one, of the assistant. In the log only."""

    type: Literal["assistant_message"]
    content: list[dict[str, Any]]


class AgentMessageEvent(_Event):
    """A message of the CLI, verbatim. In the log only, with ``raw``, of sessions with ``agent_messages``."""

    type: Literal["agent_message"]
    message: dict[str, Any]


class _RequestOptional(TypedDict, total=False):
    tool_use_id: str
    description: str
    remembered_as: str


class PermissionRequestEvent(_Event, _RequestOptional):
    """The agent asks; the turn waits for the answer."""

    type: Literal["permission_request"]
    permission_id: str
    kind: Literal["tool", "question", "plan"]
    tool_name: str
    tool_input: dict[str, Any]
    expires_at: str


class _ResolvedOptional(TypedDict, total=False):
    tool_use_id: str
    message: str
    remember: bool


class PermissionResolvedEvent(_Event, _ResolvedOptional):
    """What the agent asked was answered, or is over."""

    type: Literal["permission_resolved"]
    permission_id: str
    tool_name: str
    decision: Literal["allow", "deny", "expired", "withdrawn"]
    by: str


class _TaskStartedOptional(TypedDict, total=False):
    description: str
    tool_use_id: str


class TaskStartedEvent(_Event, _TaskStartedOptional):
    """A task runs beside the conversation: a sub-agent, or a command in the background."""

    type: Literal["task_started"]
    task_id: str


class _TaskEndedOptional(TypedDict, total=False):
    status: str
    """``completed``, ``failed``, ``stopped``."""
    summary: str


class TaskEndedEvent(_Event, _TaskEndedOptional):
    """A task ended."""

    type: Literal["task_ended"]
    task_id: str


class TaskStoppedEvent(_Event):
    """A client stopped a task."""

    type: Literal["task_stopped"]
    task_id: str


class FilesRewoundEvent(_Event):
    """Files were put back to where they were before a turn."""

    type: Literal["files_rewound"]
    before_turn: str
    files: list[str]


class _SessionRewoundOptional(TypedDict, total=False):
    not_kept: list[str]
    """The files that were not kept, and are as they were found."""


class SessionRewoundEvent(_Event, _SessionRewoundOptional):
    """The session went back to where it was before a turn."""

    type: Literal["session_rewound"]
    before_turn: str
    files: bool
    conversation: bool


class ConversationResetEvent(_Event):
    """The conversation was lost and began anew, as ``on_lost`` asked for."""

    type: Literal["conversation_reset"]
    claude_session_id: str


class UsageEvent(_Event):
    """What the turn used; the cost in USD."""

    type: Literal["usage"]
    usage: Usage
    cost_usd: float


class _BudgetOptional(TypedDict, total=False):
    subject: str


class BudgetWarningEvent(_Event, _BudgetOptional):
    """Much of a budget that covers the session is spent."""

    type: Literal["budget_warning"]
    scope: str
    period: Literal["day", "month", "total"]
    percent: int
    """The part that was passed: 75 or 95."""
    spent_usd: float
    spent_tokens: int


class _UpdatedOptional(TypedDict, total=False):
    title: str | None
    metadata: dict[str, Any]
    model: str | None
    permission_mode: PermissionMode
    allowed_tool: str


class SessionUpdatedEvent(_Event, _UpdatedOptional):
    """The session changed; what did not change is absent. In the log only."""

    type: Literal["session_updated"]


class _DoneOptional(TypedDict, total=False):
    stop_reason: str
    structured_output: Any


class DoneEvent(_Event, _DoneOptional):
    """The turn completed. The last event of its turn; the cost in USD."""

    type: Literal["done"]
    text: str
    """All that the assistant said."""
    usage: Usage
    cost_usd: float


class ErrorEvent(_Event):
    """The turn did not complete. The last event of its turn."""

    type: Literal["error"]
    error: str
    """Why, in words."""
    code: str
    """Why, by name: ``turn_interrupted``, ``turn_timeout``, ``model_error``, …"""


class GapEvent(_Event):
    """Events between here and the one before are no longer kept. Go on; whole messages stand in the log."""

    type: Literal["gap"]
    first_available: int


Event = (
    MessageEvent
    | TurnQueuedEvent
    | SessionEvent
    | TurnStartedEvent
    | TurnResumedEvent
    | TextDeltaEvent
    | ThinkingDeltaEvent
    | TextRetractedEvent
    | ToolUseEvent
    | ToolResultEvent
    | AssistantMessageEvent
    | AgentMessageEvent
    | PermissionRequestEvent
    | PermissionResolvedEvent
    | TaskStartedEvent
    | TaskEndedEvent
    | TaskStoppedEvent
    | FilesRewoundEvent
    | SessionRewoundEvent
    | ConversationResetEvent
    | UsageEvent
    | BudgetWarningEvent
    | SessionUpdatedEvent
    | DoneEvent
    | ErrorEvent
    | GapEvent
)
"""One entry of a session's log."""
