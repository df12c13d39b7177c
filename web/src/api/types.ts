/** The shapes of the API that the console uses: those of the client, and those that it does not have yet. */

export type { BudgetView, HealthView, UsageView } from '@paddock/client/account.js';
export type { KnownEvent, PaddockEvent } from '@paddock/client/events.js';
export type {
  Attachment,
  AttachmentRequest,
  JsonObject,
  MessageRequest,
  ModelView,
  PermissionAnswer,
  PermissionView,
  SessionStatus,
  TurnView,
  Usage,
} from '@paddock/client/types.js';
import type { MeView as ClientMeView } from '@paddock/client/account.js';
import type {
  CreateSessionRequest as ClientCreateSessionRequest,
  ForkSessionRequest as ClientForkSessionRequest,
  SessionOptions as ClientSessionOptions,
  SessionView as ClientSessionView,
} from '@paddock/client/types.js';

/** A page of a list. */
export interface Page<T> {
  data: T[];
  next_cursor: string | null;
}

/** The caller. A guest holds a share, and reads one session. */
export type MeView = Omit<ClientMeView, 'role'> & { role: ClientMeView['role'] | 'guest'; session_id?: string | null };

/** How a session's agents are run. */
export type SessionOptions = ClientSessionOptions & { checkpoints?: boolean | null };

/** A session. */
export type SessionView = Omit<ClientSessionView, 'options'> & { options: SessionOptions };

/** A session to be made. */
export type CreateSessionRequest = Omit<ClientCreateSessionRequest, 'options'> & {
  options?: SessionOptions;
  template?: string;
  source?: { git_url: string; ref?: string; credential?: { username?: string; password: string } };
};

/** How a session is to be forked. */
export type ForkSessionRequest = ClientForkSessionRequest & { turn_id?: string };

/** A template that a session's workspace can begin with. */
export interface TemplateView {
  name: string;
  description: string;
}

/** One line of a hunk. */
export interface DiffLine {
  kind: 'context' | 'added' | 'removed';
  old_line: number | null;
  new_line: number | null;
  text: string;
  no_newline?: boolean;
}

/** Lines that changed, and those around them. */
export interface DiffHunk {
  old_start: number;
  old_lines: number;
  new_start: number;
  new_lines: number;
  header: string;
  lines: DiffLine[];
}

/** What changed in one file. */
export interface DiffFile {
  path: string;
  old_path?: string | null;
  status: 'added' | 'modified' | 'deleted' | 'renamed' | 'copied' | 'type_changed';
  binary: boolean;
  additions: number;
  deletions: number;
  truncated: boolean;
  hunks: DiffHunk[];
}

/** What changed. */
export interface DiffView {
  files: DiffFile[];
  additions: number;
  deletions: number;
  truncated: boolean;
}
