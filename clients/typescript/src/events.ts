/**
 * The events of a session's log, as `StreamEvent` in the OpenAPI document describes them.
 *
 * Field names are those of the wire. Times are RFC 3339 texts in UTC, costs are US dollars.
 */

import type { Attachment, JsonObject, PermissionDecision, PermissionKind, PermissionMode, Usage } from './types.js';

/** What every event has. */
export interface EventBase {
  /** Its place in the session's log: a whole number that only rises, at most 2^53 - 1. */
  id: number;
  /** The turn it belongs to (`trn_…`), if to one. */
  turn_id?: string | null;
  /** When it was written. */
  created_at: string;
}

/** The user's prompt. */
export interface MessageEvent extends EventBase {
  type: 'message';
  /** The prompt. */
  text: string;
  /** What was sent with it, without its content. */
  attachments?: Attachment[];
}

/** The turn waits. */
export interface TurnQueuedEvent extends EventBase {
  type: 'turn_queued';
  /** How many turns are served before it is, itself included. */
  position: number;
  /** For what: the session's turn before it, or a free agent. */
  waits_for: 'session' | 'agent';
}

/** The first event of a turn's stream. */
export interface SessionEvent extends EventBase {
  type: 'session';
  /** The session's id. */
  session_id: string;
  /** The CLI's own id of the conversation. */
  claude_session_id: string;
  /** The model that was asked for; absent: the CLI's choice. */
  model?: string | null;
  /** What tools may do without asking. */
  permission_mode?: PermissionMode | null;
}

/** The turn runs. */
export interface TurnStartedEvent extends EventBase {
  type: 'turn_started';
}

/** A turn that another server began goes on. What it said so far is told anew. */
export interface TurnResumedEvent extends EventBase {
  type: 'turn_resumed';
  /** All that the assistant has said of the turn so far; it takes the place of the pieces before. */
  text: string;
}

/** A piece of the answer. */
export interface TextDeltaEvent extends EventBase {
  type: 'text_delta';
  /** The piece. */
  text: string;
}

/** A piece of the model's thinking. */
export interface ThinkingDeltaEvent extends EventBase {
  type: 'thinking_delta';
  /** The piece. */
  text: string;
}

/** A text that was told and does not count: the model's answer broke off and began again. */
export interface TextRetractedEvent extends EventBase {
  type: 'text_retracted';
  /** The text that does not count. */
  text: string;
}

/** The agent calls a tool. */
export interface ToolUseEvent extends EventBase {
  type: 'tool_use';
  /** The tool's name. */
  tool_name: string;
  /** What it is called with. */
  tool_input: JsonObject;
  /** The call's id. */
  tool_use_id: string;
  /** The call of the sub-agent that makes this one, if one does. */
  parent_tool_use_id?: string | null;
}

/** A tool has answered. */
export interface ToolResultEvent extends EventBase {
  type: 'tool_result';
  /** The call's id. */
  tool_use_id: string;
  /** A text, or a list of content blocks. */
  content: unknown;
  /** Whether the tool failed. */
  is_error: boolean;
  /** The call of the sub-agent that made the call, if one did. */
  parent_tool_use_id?: string | null;
}

/** A whole message of the assistant, one for each content block. */
export interface AssistantMessageEvent extends EventBase {
  type: 'assistant_message';
  /** The content blocks, as the Messages API has them. */
  content: JsonObject[];
  /** The API's id of the message; blocks of one message share it. */
  message_id?: string | null;
  /** The model that wrote it. */
  model?: string | null;
  /** The call of the sub-agent that wrote it, if one did. */
  parent_tool_use_id?: string | null;
}

/** A message of the CLI, verbatim. Comes only where the session keeps them and `raw` asks for them. */
export interface AgentMessageEvent extends EventBase {
  type: 'agent_message';
  /** The message. */
  message: JsonObject;
}

/** The agent asks, and the turn waits for the answer. */
export interface PermissionRequestEvent extends EventBase {
  type: 'permission_request';
  /** The question's id (`prm_…`). */
  permission_id: string;
  /** What is asked. */
  kind: PermissionKind;
  /** The tool. */
  tool_name: string;
  /** What it is to be called with; for a question, `questions` in it. */
  tool_input: JsonObject;
  /** The call's id. */
  tool_use_id?: string | null;
  /** What the call is for, in the agent's words. */
  description?: string | null;
  /** The tool pattern that `remember` allows from then on; absent where it cannot be remembered. */
  remembered_as?: string | null;
  /** When it ends without an answer. */
  expires_at: string;
}

/** What the agent asked is answered. */
export interface PermissionResolvedEvent extends EventBase {
  type: 'permission_resolved';
  /** The question's id. */
  permission_id: string;
  /** The tool. */
  tool_name: string;
  /** The call's id. */
  tool_use_id?: string | null;
  /** The answer. */
  decision: PermissionDecision;
  /** Who answered: a credential's name, `rule`, or `paddock` for the server itself. */
  by: string;
  /** What the agent was told besides. */
  message?: string | null;
  /** Whether the same needs no permission in this session from then on. */
  remember?: boolean;
}

/** A task begins beside the conversation: a sub-agent, or a command in the background. */
export interface TaskStartedEvent extends EventBase {
  type: 'task_started';
  /** Its id. */
  task_id: string;
  /** The call that began it. */
  tool_use_id?: string | null;
  /** What it is for. */
  description?: string | null;
}

/** A task is over. */
export interface TaskEndedEvent extends EventBase {
  type: 'task_ended';
  /** Its id. */
  task_id: string;
  /** How: `completed`, `failed`, `stopped`. */
  status?: string | null;
  /** What came of it. */
  summary?: string | null;
}

/** A task was stopped by a client. */
export interface TaskStoppedEvent extends EventBase {
  type: 'task_stopped';
  /** Its id. */
  task_id: string;
}

/** Files were put back to where they were before a turn. */
export interface FilesRewoundEvent extends EventBase {
  type: 'files_rewound';
  /** The turn before which they were so. */
  before_turn: string;
  /** The files. */
  files: string[];
}

/** The session went back to where it was before a turn. */
export interface SessionRewoundEvent extends EventBase {
  type: 'session_rewound';
  /** The turn before which it was so. */
  before_turn: string;
  /** Whether the workspace is as it was. */
  files: boolean;
  /** Whether the conversation is as it was. */
  conversation: boolean;
  /** The files that were not kept, and are as they were found. */
  not_kept?: string[];
}

/** The CLI no longer had the conversation, and it began anew. */
export interface ConversationResetEvent extends EventBase {
  type: 'conversation_reset';
  /** The CLI's id of the new conversation. */
  claude_session_id: string;
}

/** What the turn has used. */
export interface UsageEvent extends EventBase {
  type: 'usage';
  /** Tokens. */
  usage: Usage;
  /** Cost, in US dollars. */
  cost_usd: number;
}

/** A part of a budget is spent. */
export interface BudgetWarningEvent extends EventBase {
  type: 'budget_warning';
  /** The part that was passed, in percent. */
  percent: number;
  /** In what time. */
  period: 'day' | 'month' | 'total';
  /** Whose spending counts: `tenant`, `user`, `key` or `session`. */
  scope: string;
  /** Which user, key or session. */
  subject?: string | null;
  /** What was spent, in US dollars. */
  spent_usd: number;
  /** The tokens that were used, of all kinds. */
  spent_tokens: number;
}

/** The session was changed. Only what changed is there. */
export interface SessionUpdatedEvent extends EventBase {
  type: 'session_updated';
  /** The title; null when it was removed. */
  title?: string | null;
  /** The metadata, as a whole. */
  metadata?: JsonObject | null;
  /** The model; null when it is left to the CLI. */
  model?: string | null;
  /** What tools may do without asking. */
  permission_mode?: PermissionMode | null;
  /** A tool pattern that needs no permission from now on. */
  allowed_tool?: string | null;
}

/** The turn is complete. The last event of its stream. */
export interface DoneEvent extends EventBase {
  type: 'done';
  /** All that the assistant said: the turn's text deltas joined. */
  text: string;
  /** Tokens. */
  usage: Usage;
  /** Cost, in US dollars. */
  cost_usd: number;
  /** Why the model stopped: `end_turn`, `max_tokens`, … */
  stop_reason?: string | null;
  /** The answer in the form that the session's `output_schema` asks for. */
  structured_output?: JsonObject | null;
}

/** The turn did not complete. The last event of its stream. */
export interface ErrorEvent extends EventBase {
  type: 'error';
  /** Why, by name: `turn_interrupted`, `turn_timeout`, `model_error`, … */
  code: string;
  /** Why, in words. */
  error: string;
}

/** What came before is no longer kept. Its own `id` is a place to go on from. */
export interface GapEvent extends EventBase {
  type: 'gap';
  /** The first id that is to be had. */
  first_available: number;
}

/** Every event that this version of the client knows. */
export type KnownEvent =
  | MessageEvent
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
  | GapEvent;

/** The type of an event, by its name on the wire. */
export type EventType = KnownEvent['type'];

/**
 * An event of a type that this version of the client does not know.
 *
 * Its `type` is the literal `unknown`, so that the union stays discriminated; what the server sent is in `event`.
 */
export interface UnknownEvent extends EventBase {
  type: 'unknown';
  /** The event as it came, with its own `type`. */
  event: JsonObject & { type: string };
}

/** An event of a session's log, told apart by `type`. */
export type PaddockEvent = KnownEvent | UnknownEvent;

const KNOWN: Record<EventType, true> = {
  message: true,
  turn_queued: true,
  session: true,
  turn_started: true,
  turn_resumed: true,
  text_delta: true,
  thinking_delta: true,
  text_retracted: true,
  tool_use: true,
  tool_result: true,
  assistant_message: true,
  agent_message: true,
  permission_request: true,
  permission_resolved: true,
  task_started: true,
  task_ended: true,
  task_stopped: true,
  files_rewound: true,
  session_rewound: true,
  conversation_reset: true,
  usage: true,
  budget_warning: true,
  session_updated: true,
  done: true,
  error: true,
  gap: true,
};

/**
 * The event that a parsed JSON value is, or `null` when it is none: every event has a numeric `id` and a `type`.
 *
 * Fields beyond those are taken as the server sends them; a type that is not known becomes an {@link UnknownEvent}.
 */
export function readEvent(value: unknown): PaddockEvent | null {
  if (typeof value !== 'object' || value === null) return null;
  const sent = value as JsonObject;
  if (typeof sent.id !== 'number' || typeof sent.type !== 'string') return null;
  if (Object.hasOwn(KNOWN, sent.type)) return sent as unknown as KnownEvent;
  return {
    id: sent.id,
    turn_id: typeof sent.turn_id === 'string' ? sent.turn_id : null,
    created_at: typeof sent.created_at === 'string' ? sent.created_at : '',
    type: 'unknown',
    event: sent as JsonObject & { type: string },
  };
}

/** Whether an event is a turn's last one. */
export function isTerminal(event: PaddockEvent): event is DoneEvent | ErrorEvent {
  return event.type === 'done' || event.type === 'error';
}
