"""The shapes of what is sent and what comes: plain dictionaries, as the JSON has them.

Times are texts of RFC 3339 in UTC. Money is in USD, tokens are counts. A field that a newer server adds is there too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

__all__ = [
    "Attachment",
    "Budget",
    "ChatAnswer",
    "Effort",
    "Health",
    "Interrupted",
    "Me",
    "Message",
    "Model",
    "OnBusy",
    "OnLost",
    "Permission",
    "PermissionAnswer",
    "PermissionMode",
    "PermissionResolution",
    "PermissionRule",
    "Session",
    "SessionOptions",
    "SessionStatus",
    "ToolCall",
    "Turn",
    "TurnError",
    "TurnStatus",
    "Usage",
    "UsageSum",
]

PermissionMode = Literal["default", "acceptEdits", "plan", "dontAsk", "auto", "bypassPermissions"]
"""What tools may do without asking."""
Effort = Literal["low", "medium", "high", "xhigh", "max"]
"""How much the model is to think."""
OnBusy = Literal["reject", "queue", "interrupt"]
"""What is done when a session has a turn already: 409 ``session_busy``, wait in line, or interrupt that turn."""
OnLost = Literal["fail", "fresh"]
"""What is done when the conversation is lost: fail with ``conversation_lost``, or begin anew."""
SessionStatus = Literal["active", "closed", "expired"]
"""Whether a session can be used."""
TurnStatus = Literal[
    "queued", "running", "awaiting_permission", "completed", "failed", "interrupted", "timed_out", "unknown"
]
"""Where a turn is. ``unknown``: the server was lost while it ran, and its tools may have run."""


class Usage(TypedDict):
    """Tokens, by the kind that they are priced by."""

    input_tokens: int
    """Input that was neither read from nor written to the prompt cache."""
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int


class PermissionRule(TypedDict):
    """Who answers when a tool needs a permission; the first rule that matches counts."""

    tool: str
    """``WebFetch``, ``*``, ``Bash(git status:*)``, ``Write(docs/*)``."""
    decision: Literal["allow", "deny", "ask"]


class SessionOptions(TypedDict, total=False):
    """How a session's agents are run; what is absent is as the server's defaults have it."""

    model: str | None
    fallback_model: str | None
    effort: Effort | None
    system_prompt: str | None
    append_system_prompt: str | None
    permission_mode: PermissionMode | None
    permission_rules: Sequence[PermissionRule] | None
    allowed_tools: Sequence[str] | None
    """Tools, or patterns of tools, that need no permission."""
    disallowed_tools: Sequence[str] | None
    """Tools that are not offered to the model."""
    max_turns: int | None
    """The most model requests of one turn, 1 to 1000."""
    max_budget_usd: float | None
    """The most that the life of one agent process may cost, in USD."""
    agents: Mapping[str, Any] | None
    """Sub-agents by name, as the CLI defines them."""
    mcp_servers: Mapping[str, Any] | None
    """MCP servers by name, as the CLI defines them. Values of ``env`` and ``headers`` are not shown again."""
    plugins: Sequence[Mapping[str, str]] | None
    setting_sources: Sequence[Literal["user", "project", "local"]] | None
    add_dirs: Sequence[str] | None
    """Folders of the user's tree that the agent works in besides its workspace."""
    output_schema: Mapping[str, Any] | None
    """The JSON schema that each turn's answer must match; it comes as ``structured_output``."""
    env: Mapping[str, str] | None
    agent_messages: bool | None
    """Whether the CLI's own messages are kept in the log too; they are read with ``raw``."""
    checkpoints: bool | None
    """Whether what the workspace is like is kept before and after each turn."""


class SourceCredential(TypedDict, total=False):
    """How one proves oneself to where a repository is."""

    username: str
    password: str


class Source(TypedDict, total=False):
    """A repository that a workspace begins with a clone of."""

    git_url: str
    """``https://``, without a user or password in it."""
    ref: str
    """The branch or tag that is checked out; the repository's own choice when absent."""
    credential: SourceCredential
    """Used for this one clone, and kept nowhere."""


class Session(TypedDict):
    """A conversation bound to a folder."""

    session_id: str
    user_id: str
    subdir: str | None
    """The folder in the user's tree that it works in; ``None``: the tree itself."""
    cwd: str
    title: str | None
    metadata: dict[str, Any]
    options: SessionOptions
    claude_session_id: str
    status: SessionStatus
    message_count: int
    busy: bool
    """Whether a turn runs."""
    agent_live: bool
    created_at: str
    last_active_at: str
    expires_at: str | None
    closed_at: str | None


class _ToolCallEnd(TypedDict, total=False):
    output: str | list[dict[str, Any]]
    """What it answered; absent when the turn ended before it did."""
    is_error: bool


class ToolCall(_ToolCallEnd):
    """A tool that the agent called, and what came of it."""

    tool: str
    input: dict[str, Any]
    tool_use_id: str


class _Structured(TypedDict, total=False):
    structured_output: Any
    """The answer in the form of the session's ``output_schema``; absent without one."""


class ChatAnswer(_Structured):
    """A turn's whole answer."""

    session_id: str
    turn_id: str
    text: str
    tool_calls: list[ToolCall]
    usage: Usage
    cost_usd: float
    stop_reason: str | None
    timestamp: str


class TurnError(TypedDict):
    """Why a turn did not complete."""

    code: str
    message: str


class _TurnOptional(TypedDict, total=False):
    reported_cost_usd: float
    """What it cost by the CLI's own account, where that was counted apart from it."""


class Turn(_Structured, _TurnOptional):
    """One prompt and what came of it."""

    turn_id: str
    session_id: str
    status: TurnStatus
    message: str
    """The prompt."""
    text: str
    """All that the assistant said; empty until the turn has ended."""
    tool_calls: list[ToolCall]
    usage: Usage
    cost_usd: float
    stop_reason: str | None
    error: TurnError | None
    started_at: str
    ended_at: str | None


class Interrupted(TypedDict):
    """What an interrupt came to."""

    session_id: str
    interrupted: bool
    """Whether a turn ran."""
    turn_id: str | None


class Attachment(TypedDict, total=False):
    """What goes with a prompt: either ``media_type`` and ``data`` (and ``name``), or ``path`` alone."""

    name: str
    media_type: str
    data: str
    """The content, in base64."""
    path: str
    """Where it is in the workspace."""


class _MessageOptional(TypedDict, total=False):
    turn_id: str
    model: str
    parent_tool_use_id: str


class Message(_MessageOptional):
    """A message of a conversation."""

    id: int
    role: Literal["user", "assistant", "tool"]
    content: list[dict[str, Any]]
    """Content blocks, as the Messages API has them."""
    created_at: str


class _ResolutionOptional(TypedDict, total=False):
    message: str
    updated_input: dict[str, Any]
    answers: dict[str, Any]


class PermissionResolution(_ResolutionOptional):
    """How a question of an agent was answered."""

    decision: Literal["allow", "deny", "expired", "withdrawn"]
    remember: bool
    by: str
    """A credential's name, ``rule``, or ``paddock`` for the server itself."""
    at: str


class _PermissionOptional(TypedDict, total=False):
    tool_use_id: str
    description: str
    remembered_as: str
    """The pattern that ``remember`` allows from then on; absent where it cannot be remembered."""


class Permission(_PermissionOptional):
    """A question of an agent."""

    permission_id: str
    session_id: str
    user_id: str
    turn_id: str
    kind: Literal["tool", "question", "plan"]
    tool_name: str
    tool_input: dict[str, Any]
    """What the tool is to be called with; for a question, ``questions`` in it."""
    created_at: str
    expires_at: str
    resolution: PermissionResolution | None
    """``None`` while it waits."""


class _AnswerOptional(TypedDict, total=False):
    message: str
    updated_input: Mapping[str, Any]
    remember: bool
    answers: Mapping[str, Any]


class PermissionAnswer(_AnswerOptional):
    """An answer to a question of an agent. ``allow()`` and ``deny()`` make one."""

    decision: Literal["allow", "deny"]


class _UsageGroup(TypedDict, total=False):
    day: str
    tenant_id: str
    user_id: str
    key_id: str
    session_id: str
    model: str


class UsageSum(Usage, _UsageGroup):
    """A sum of what was used. Of what sums are told apart by, only what was asked for is there."""

    requests: int
    cost_usd: float


class Budget(TypedDict):
    """A budget and how it stands in its period."""

    budget_id: str
    scope: Literal["tenant", "user", "key", "session"]
    subject: str | None
    period: Literal["day", "month", "total"]
    period_start: str
    resets_at: str | None
    max_usd: float | None
    max_tokens: int | None
    spent_usd: float
    spent_tokens: int
    reserved_usd: float
    """What requests that run may spend at most."""
    reserved_tokens: int
    percent: int


class Me(TypedDict):
    """The caller, and what is left to it."""

    tenant_id: str
    tenant: str
    role: Literal["guest", "reader", "member", "owner", "admin"]
    user_id: str | None
    """The one user that the credential acts for; ``None``: any of the tenant's."""
    session_id: str | None
    """The one session that a guest may look at; ``None`` for all others."""
    files: bool | None
    credential: str
    key_id: str | None
    budgets: list[Budget]
    left_usd: float | None


class Model(TypedDict):
    """A model that sessions can ask for."""

    id: str
    name: str
    description: str


class Health(TypedDict):
    """How the server is."""

    status: Literal["healthy", "unhealthy"]
    ready: bool
    version: str
    storage: str
    storage_ok: bool
    cli_ok: bool
    active_sessions: int | None
    live_agents: int
    busy_agents: int
    idle_agents: int
    queued_turns: int
    isolation: str
    model: str
    uptime_seconds: float
    garbage_lines: int
    problems: list[str]
