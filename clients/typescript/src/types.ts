/**
 * The shapes of the API, as the OpenAPI document of the server (`GET /openapi.json`) describes them.
 *
 * Field names are those of the wire (snake_case). Times are RFC 3339 texts in UTC, costs are US dollars, `timeout` is in
 * seconds. What the server may leave out is optional here; what it may send as null says so.
 */

/** A JSON object of which no more is known. */
export type JsonObject = Record<string, unknown>;

/** What tools may do without asking, in the CLI's own words. */
export type PermissionMode = 'default' | 'acceptEdits' | 'plan' | 'dontAsk' | 'auto' | 'bypassPermissions';

/** What an agent asks: to call a tool, a question to the user, or whether to carry out a plan. */
export type PermissionKind = 'tool' | 'question' | 'plan';

/** How a question was answered, or ended without an answer. */
export type PermissionDecision = 'allow' | 'deny' | 'expired' | 'withdrawn';

/** Whether a session can be used. */
export type SessionStatus = 'active' | 'closed' | 'expired';

/** Where a turn is. */
export type TurnStatus =
  | 'queued'
  | 'running'
  | 'awaiting_permission'
  | 'completed'
  | 'failed'
  | 'interrupted'
  | 'timed_out'
  | 'unknown';

/** Tokens that were used, by the kind they are priced by. */
export interface Usage {
  /** Input tokens that were neither read from nor written to the prompt cache. */
  input_tokens?: number;
  /** Output tokens. */
  output_tokens?: number;
  /** Input tokens read from the prompt cache. */
  cache_read_input_tokens?: number;
  /** Input tokens written to the prompt cache. */
  cache_creation_input_tokens?: number;
}

/** Who answers when a tool needs a permission; the first rule that matches counts. */
export interface PermissionRule {
  /** For which calls: `WebFetch`, `*`, `Bash(git status:*)`, `Write(docs/*)`. */
  tool: string;
  /** The answer; `ask` asks a person. */
  decision: 'allow' | 'deny' | 'ask';
}

/** How a session's agents are run. What is absent is filled by the server's defaults. */
export interface SessionOptions {
  /** The model, by a name that {@link ModelView.id} tells, or any that the CLI takes. */
  model?: string | null;
  /** Replaces the CLI's system prompt. */
  system_prompt?: string | null;
  /** Is added after the system prompt. */
  append_system_prompt?: string | null;
  /** What tools may do without asking. */
  permission_mode?: PermissionMode | null;
  /** Who answers when a tool needs a permission, by tool. */
  permission_rules?: PermissionRule[] | null;
  /** Tools, or tool patterns, that need no permission. */
  allowed_tools?: string[] | null;
  /** Tools that are not offered to the model. */
  disallowed_tools?: string[] | null;
  /** The most model requests of one turn. */
  max_turns?: number | null;
  /** The most that the life of one agent process may cost, in US dollars. */
  max_budget_usd?: number | null;
  /** How much the model is to think. */
  effort?: 'low' | 'medium' | 'high' | 'xhigh' | 'max' | null;
  /** The model that is asked when the model is overloaded. */
  fallback_model?: string | null;
  /** Sub-agents by name, as the CLI defines them. */
  agents?: JsonObject | null;
  /** MCP servers by name, as the CLI defines them. */
  mcp_servers?: JsonObject | null;
  /** Plugins in the user's tree. */
  plugins?: { type: 'local'; path: string }[] | null;
  /** Whose settings the CLI reads besides. */
  setting_sources?: ('user' | 'project' | 'local')[] | null;
  /** Folders of the user's tree that the agent works in besides its workspace. */
  add_dirs?: string[] | null;
  /** The JSON schema that each turn's answer must match, an object's. */
  output_schema?: JsonObject | null;
  /** Variables that the agent and its tools get. */
  env?: Record<string, string> | null;
  /** Whether the CLI's own messages are kept in the log, for `raw`. */
  agent_messages?: boolean | null;
  /** Whether what the workspace is like is kept before and after each turn. */
  checkpoints?: boolean | null;
}

/** A session to be made. */
export interface CreateSessionRequest {
  /** The user that it is for: 1 to 64 of `A-Z a-z 0-9 _ -`. May be left out when the client has a `userId`. */
  user_id?: string;
  /** The folder in the user's tree that it works in: relative, without `..`, at most 200 characters. */
  subdir?: string;
  /** What people call it. */
  title?: string;
  /** Anything of the client's own; comes back as it is. */
  metadata?: JsonObject;
  /** How its agents are run. */
  options?: SessionOptions;
  /** A repository that its workspace, which must be new or empty, begins with a clone of. */
  source?: Source;
  /** A template of the server that its workspace, which must be new or empty, begins with a copy of. */
  template?: string;
}

/** A repository to begin with. */
export interface Source {
  /** Where it is: `https://`, without a user or password in it. */
  git_url: string;
  /** The branch or tag that is checked out; the repository's own choice when absent. */
  ref?: string;
  /** How one proves oneself there. It is used for this one clone and kept nowhere. */
  credential?: { username?: string; password: string };
}

/** What to change in a session. What is absent stays as it is. */
export interface UpdateSessionRequest {
  /** The title; null removes it. */
  title?: string | null;
  /** The metadata, as a whole. */
  metadata?: JsonObject;
  /** The model; null leaves it to the CLI. */
  model?: string | null;
  /** What tools may do without asking. */
  permission_mode?: PermissionMode;
}

/** How a session is to be forked. */
export interface ForkSessionRequest {
  /** The `id` of the last message that the fork has; all when absent. */
  message_id?: number;
  /** As the original's when absent. */
  title?: string;
  /** As the original's when absent. */
  metadata?: JsonObject;
  /** Its workspace; the original's when absent. */
  subdir?: string;
  /** Whether the original's workspace is copied into `subdir`, which must be new or empty. */
  copy_workspace?: boolean;
  /** The turn before which the fork begins, its files too where they are copied; not together with `message_id`. */
  turn_id?: string;
}

/** A session. */
export interface SessionView {
  /** Its id (`ses_…`). */
  session_id: string;
  /** The user that it is for. */
  user_id: string;
  /** The folder in the user's tree that it works in; null: the tree itself. */
  subdir: string | null;
  /** The folder that it works in, as the server sees it. */
  cwd: string;
  /** What people call it. */
  title: string | null;
  /** What its client attached. */
  metadata: JsonObject;
  /** How its agents are run, without secrets. */
  options: SessionOptions;
  /** Whether it can be used. */
  status: SessionStatus;
  /** Whether a turn runs. */
  busy: boolean;
  /** Whether its agent lives; if not, the next prompt starts one. */
  agent_live: boolean;
  /** The CLI's own id of the conversation. */
  claude_session_id: string;
  /** How many prompts it has taken. */
  message_count: number;
  /** When it was made. */
  created_at: string;
  /** When it was made or last took or finished a turn. */
  last_active_at: string;
  /** When it expires if it is not used; null: never. */
  expires_at: string | null;
  /** When it was closed; null while it is not. */
  closed_at: string | null;
}

/** A file that goes with a prompt: `media_type` and `data` (base64), or `path` in the workspace. */
export interface AttachmentRequest {
  /** What it is called. */
  name?: string;
  /** What it is: an image (PNG, JPEG, GIF, WebP), `application/pdf`, `application/json` or a text. */
  media_type?: string;
  /** Its content, in base64. */
  data?: string;
  /** Its path in the workspace, in place of the others. */
  path?: string;
}

/** What was sent with a prompt, without its content. */
export interface Attachment {
  /** What it is. */
  media_type: string;
  /** Its name, or its path in the workspace. */
  name?: string | null;
  /** How long it is, in bytes. */
  size_bytes: number;
}

/** A prompt for a session. */
export interface MessageRequest {
  /** The prompt. */
  message: string;
  /** Images and documents that go with it. */
  attachments?: AttachmentRequest[];
  /** After how many seconds the turn is to be interrupted if it has not ended. */
  timeout?: number;
  /** What is done when the session has a turn already: refuse (409 `session_busy`, the default), wait, or interrupt it. */
  on_busy?: 'reject' | 'queue' | 'interrupt';
  /** What is done when the CLI no longer has the conversation: `fail` (the default) or begin anew. */
  on_lost?: 'fail' | 'fresh';
}

/** A tool that the agent called, and what came of it. */
export interface ToolCall {
  /** The tool's name. */
  tool: string;
  /** The call's id. */
  tool_use_id: string;
  /** What it was called with. */
  input: JsonObject;
  /** What it answered: a text, or a list of content blocks. Absent when the turn ended before it did. */
  output?: unknown;
  /** Whether it failed. */
  is_error?: boolean | null;
}

/** A whole answer. */
export interface ChatView {
  /** The session. */
  session_id: string;
  /** The turn. */
  turn_id: string;
  /** All that the assistant said, block after block, with a blank line between two. */
  text: string;
  /** The tools that were called, in order. */
  tool_calls: ToolCall[];
  /** The answer in the form that the session's `output_schema` asks for. */
  structured_output?: JsonObject;
  /** Tokens used. */
  usage: Usage;
  /** What the turn cost, in US dollars. */
  cost_usd: number;
  /** Why the model stopped: `end_turn`, `max_tokens`, `max_turns`, `max_budget`, … */
  stop_reason: string | null;
  /** When the turn ended. */
  timestamp: string;
}

/** A turn. */
export interface TurnView {
  /** Its id (`trn_…`). */
  turn_id: string;
  /** Its session. */
  session_id: string;
  /** Where it is. */
  status: TurnStatus;
  /** The prompt. */
  message: string;
  /** All that the assistant said; empty until the turn has ended. */
  text: string;
  /** The tools that were called, in order. */
  tool_calls: ToolCall[];
  /** The answer in the form that the session's `output_schema` asks for. */
  structured_output?: JsonObject;
  /** Tokens. */
  usage: Usage;
  /** What it cost, in US dollars. */
  cost_usd: number;
  /** What it cost by the CLI's own account, where that was counted apart from it. */
  reported_cost_usd?: number | null;
  /** Why the model stopped; null until then. */
  stop_reason: string | null;
  /** Why it did not complete, by name and in words; null if it did or has not ended. */
  error: { code: string; message: string } | null;
  /** When it was taken; once it has begun: when it began. */
  started_at: string;
  /** When it ended; null until then. */
  ended_at: string | null;
}

/** What an interrupt came to. */
export interface InterruptView {
  /** The session. */
  session_id: string;
  /** Whether a turn ran. */
  interrupted: boolean;
  /** The turn that is interrupted; null when none ran. */
  turn_id: string | null;
}

/** A message of a conversation. */
export interface MessageView {
  /** Its place in the session's log. */
  id: number;
  /** The turn it belongs to. */
  turn_id?: string | null;
  /** Who speaks. */
  role: 'user' | 'assistant' | 'tool';
  /** Its content blocks, as the Messages API has them. */
  content: JsonObject[];
  /** The model that wrote it. */
  model?: string | null;
  /** The tool call of the sub-agent that it belongs to. */
  parent_tool_use_id?: string | null;
  /** When it was written. */
  created_at: string;
}

/** A question of an agent. */
export interface PermissionView {
  /** Its id (`prm_…`). */
  permission_id: string;
  /** The session whose agent asks. */
  session_id: string;
  /** The session's user. */
  user_id: string;
  /** The turn that waits for the answer. */
  turn_id: string;
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
  /** When it was asked. */
  created_at: string;
  /** When it ends without an answer. */
  expires_at: string;
  /** The answer; null while it waits. */
  resolution: PermissionResolution | null;
}

/** How a question was answered. */
export interface PermissionResolution {
  /** The answer. */
  decision: PermissionDecision;
  /** What the agent was told besides. */
  message?: string | null;
  /** What the tool was called with instead. */
  updated_input?: JsonObject;
  /** The answers to a question, by its text. */
  answers?: JsonObject;
  /** Whether the same needs no permission in this session from then on. */
  remember: boolean;
  /** Who answered: a credential's name, `rule`, or `paddock` for the server itself. */
  by: string;
  /** When. */
  at: string;
}

/** An answer to an agent's question. */
export interface PermissionAnswer {
  /** Whether it is allowed. */
  decision: 'allow' | 'deny';
  /** What the agent is told besides; with `deny`, why. */
  message?: string;
  /** What the tool is to be called with instead, as a whole. */
  updated_input?: JsonObject;
  /** Whether the same (`remembered_as`) needs no permission in this session from now on. */
  remember?: boolean;
  /** The answers to a question, by the question's text. */
  answers?: JsonObject;
}

/** A model that sessions can ask for. */
export interface ModelView {
  /** What to ask for it with. */
  id: string;
  /** What people call it. */
  name: string;
  /** What it is good for. */
  description: string;
}
