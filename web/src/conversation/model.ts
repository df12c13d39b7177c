/** What a conversation is made of, as it is shown: turns, each with its blocks, and notices between them. */

import type { Attachment, JsonObject, PermissionView, Usage } from '../api/types';

/** What an agent asks, and what was answered. */
export interface Ask {
  type: 'ask';
  key: string;
  parent: string | null;
  request: Omit<PermissionView, 'resolution' | 'user_id'>;
  resolution: { decision: string; by: string; message: string | null; remember: boolean } | null;
}

/** Something that was said, or thought. `streaming` while it is still being written. */
export interface Words {
  type: 'text' | 'thinking';
  key: string;
  parent: string | null;
  text: string;
  streaming: boolean;
}

/** A tool that was called. */
export interface Tool {
  type: 'tool';
  /** The call's id. */
  key: string;
  parent: string | null;
  name: string;
  input: JsonObject;
  startedAt: string;
  result: { content: unknown; isError: boolean; at: string } | null;
  ask: Ask | null;
  /** The task that the call began, when it goes on beside the conversation. */
  task: { id: string; status: string | null; summary: string | null; endedAt: string | null } | null;
}

/** A block that is none of those, as it came. */
export interface Other {
  type: 'other';
  key: string;
  parent: string | null;
  content: JsonObject;
}

/** Something that happened, in a line. */
export interface Notice {
  type: 'notice';
  key: string;
  parent: string | null;
  what: 'reset' | 'rewound' | 'budget' | 'updated' | 'resumed' | 'gap' | 'task';
  at: string;
  detail: JsonObject;
  /** What was gone back from: it counts no more, and can be gone back to. */
  gone?: (Turn | Notice)[];
}

/** A part of a turn. */
export type Block = Words | Tool | Ask | Other | Notice;

/** One prompt, and all that followed. */
export interface Turn {
  type: 'turn';
  id: string;
  prompt: string;
  attachments: Attachment[];
  /** `waiting`: for an agent. */
  status: 'waiting' | 'running' | 'completed' | 'failed';
  startedAt: string;
  endedAt: string | null;
  blocks: Block[];
  usage: Usage | null;
  costUsd: number | null;
  stopReason: string | null;
  error: { code: string; message: string } | null;
  structured: JsonObject | null;
  model: string | null;
  /** Whether a fork took it over from its original; it has no id of its own then, and no figures. */
  copied: boolean;
  /** The id of its last message in the log; a fork may end there. */
  lastMessageId: number;
}

/** A prompt that waits until the turns before it are over. */
export interface Queued {
  turnId: string;
  /** Null until it is known. */
  prompt: string | null;
  at: string;
}

/** A conversation. */
export interface Conversation {
  entries: (Turn | Notice)[];
  queue: Queued[];
  /** The last event that was taken in. */
  lastId: number;
  /** Up to where pieces of text were taken in; it is behind `lastId` when the log was read without them. */
  deltaId: number;
  /** How often the session itself was changed. */
  updates: number;
}

/** A conversation of which nothing is known. */
export const nothing: Conversation = { entries: [], queue: [], lastId: 0, deltaId: 0, updates: 0 };

/** The turn that runs; null when none does. */
export function runningTurn(conversation: Conversation): Turn | null {
  for (let at = conversation.entries.length - 1; at >= 0; at -= 1) {
    const entry = conversation.entries[at];
    if (entry?.type === 'turn') return entry.endedAt === null ? entry : null;
  }
  return null;
}

/** What the turn's agent waits for an answer to. */
export function openAsks(turn: Turn): Ask[] {
  return turn.blocks
    .map((block) => (block.type === 'tool' ? block.ask : block.type === 'ask' ? block : null))
    .filter((ask) => ask !== null && ask.resolution === null) as Ask[];
}
