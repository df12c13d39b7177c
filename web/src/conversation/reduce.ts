/** Makes a conversation of the events of a log. It changes nothing that it is given. */

import type { PaddockEvent } from '@paddock/client/events.js';
import type { JsonObject } from '../api/types';
import type { Ask, Block, Conversation, Notice, Queued, Tool, Turn, Words } from './model';

/** How the events were read. */
export interface Reading {
  /** Whether pieces of text were among them. Without them, they are asked for from the last whole message on. */
  deltas: boolean;
}

/**
 * The conversation with these events taken in. Events that it has already are passed over, so a log may be read again.
 *
 * What did not change stays the same object: turns, and their blocks.
 */
export function reduce(
  conversation: Conversation,
  events: readonly PaddockEvent[],
  reading: Reading = { deltas: true },
): Conversation {
  const draft = new Draft(conversation, reading);
  for (const event of events) draft.take(event);
  return draft.done();
}

/** The conversation with the text of a prompt that waits. */
export function withPrompt(conversation: Conversation, turnId: string, prompt: string): Conversation {
  const queue = conversation.queue.map((queued) => (queued.turnId === turnId ? { ...queued, prompt } : queued));
  return { ...conversation, queue };
}

class Draft {
  readonly #before: Conversation;
  readonly #entries: Conversation['entries'];
  #queue: Queued[];
  #lastId: number;
  #deltaId: number;
  #updates: number;
  #changed = false;
  /** The turns that are this draft's own, and may be changed. */
  readonly #own = new Set<Turn>();

  constructor(
    conversation: Conversation,
    private readonly reading: Reading,
  ) {
    this.#before = conversation;
    this.#entries = [...conversation.entries];
    this.#queue = conversation.queue;
    this.#lastId = conversation.lastId;
    this.#deltaId = conversation.deltaId;
    this.#updates = conversation.updates;
  }

  done(): Conversation {
    if (!this.#changed) return this.#before;
    return {
      entries: this.#entries,
      queue: this.#queue,
      lastId: this.#lastId,
      deltaId: this.#deltaId,
      updates: this.#updates,
    };
  }

  take(event: PaddockEvent): void {
    const isDelta = event.type === 'text_delta' || event.type === 'thinking_delta' || event.type === 'text_retracted';
    const ends = event.type === 'done' || event.type === 'error';
    if (isDelta ? event.id <= this.#deltaId : event.id <= this.#lastId && !(ends && this.#runs(event.turn_id))) return;
    this.#changed = true;
    if (isDelta) this.#deltaId = event.id;
    this.#lastId = Math.max(this.#lastId, event.id);
    if (this.reading.deltas) this.#deltaId = Math.max(this.#deltaId, event.id);
    else if (isBoundary(event)) this.#deltaId = event.id;
    this.#apply(event);
  }

  #apply(event: PaddockEvent): void {
    switch (event.type) {
      case 'message':
        this.#begin(event.turn_id ?? `copied-${event.id}`, event);
        break;
      case 'turn_queued':
        this.#enqueue(event.turn_id ?? '', event.created_at);
        break;
      case 'session':
        this.#change(event.turn_id, (turn) => {
          turn.model = event.model ?? turn.model;
        });
        break;
      case 'turn_started':
        this.#change(event.turn_id, (turn) => {
          turn.status = 'running';
          turn.startedAt = event.created_at;
        });
        break;
      case 'turn_resumed':
        this.#change(event.turn_id, (turn) => resume(turn, event.text, event.id, event.created_at));
        break;
      case 'text_delta':
        this.#change(event.turn_id, (turn) => stream(turn, 'text', event.text, event.id));
        break;
      case 'thinking_delta':
        this.#change(event.turn_id, (turn) => stream(turn, 'thinking', event.text, event.id));
        break;
      case 'text_retracted':
        this.#change(event.turn_id, dropStreaming);
        break;
      case 'assistant_message':
        this.#change(this.#homeOf(event.parent_tool_use_id, event.turn_id), (turn) => {
          const parent = event.parent_tool_use_id ?? null;
          if (parent === null) trimmed(turn, event.created_at);
          if (parent === null) turn.model = event.model ?? turn.model;
          if (parent === null) turn.lastMessageId = event.id;
          for (const [at, content] of event.content.entries())
            say(turn, content, parent, `${event.id}-${at}`, event.created_at);
        });
        break;
      case 'tool_use':
        this.#change(this.#homeOf(event.parent_tool_use_id, event.turn_id), (turn) =>
          call(turn, {
            key: event.tool_use_id,
            parent: event.parent_tool_use_id ?? null,
            name: event.tool_name,
            input: event.tool_input,
            startedAt: event.created_at,
          }),
        );
        break;
      case 'tool_result':
        this.#change(this.#homeOf(event.tool_use_id, event.turn_id), (turn) => {
          const result = { content: event.content, isError: event.is_error, at: event.created_at };
          changeTool(turn, event.tool_use_id, (tool) => ({ ...tool, result }));
          if (event.parent_tool_use_id == null) turn.lastMessageId = event.id;
        });
        break;
      case 'permission_request': {
        const { id: _, type: __, turn_id, created_at, ...asked } = event;
        const ask: Ask = {
          type: 'ask',
          key: event.permission_id,
          parent: null,
          request: { ...asked, session_id: '', turn_id: turn_id ?? '', created_at },
          resolution: null,
        };
        this.#change(this.#homeOf(event.tool_use_id, event.turn_id), (turn) => put(turn, ask));
        break;
      }
      case 'permission_resolved':
        this.#change(this.#homeOf(event.tool_use_id, event.turn_id), (turn) =>
          resolve(turn, event.permission_id, {
            decision: event.decision,
            by: event.by,
            message: event.message ?? null,
            remember: event.remember ?? false,
          }),
        );
        break;
      case 'task_started':
        this.#change(this.#homeOf(event.tool_use_id, event.turn_id), (turn) => {
          if (event.tool_use_id == null) return;
          const task = { id: event.task_id, status: null, summary: null, endedAt: null };
          changeTool(turn, event.tool_use_id, (tool) => ({ ...tool, task }));
        });
        break;
      case 'task_ended':
      case 'task_stopped': {
        const status = event.type === 'task_ended' ? (event.status ?? 'completed') : 'stopped';
        const summary = event.type === 'task_ended' ? (event.summary ?? null) : null;
        const home = this.#turnWhere((block) => block.type === 'tool' && block.task?.id === event.task_id);
        this.#change(home, (turn) => {
          turn.blocks = turn.blocks.map((block) =>
            block.type === 'tool' && block.task?.id === event.task_id
              ? {
                  ...block,
                  task: {
                    id: event.task_id,
                    status,
                    summary: summary ?? block.task.summary,
                    endedAt: event.created_at,
                  },
                }
              : block,
          );
        });
        break;
      }
      case 'usage':
        this.#change(event.turn_id, (turn) => {
          turn.usage = event.usage;
          turn.costUsd = event.cost_usd;
        });
        break;
      case 'done':
        this.#change(event.turn_id, (turn) => {
          finish(turn, event.created_at);
          if (event.text !== '' && !turn.blocks.some((block) => block.type === 'text' && block.parent === null)) {
            turn.blocks = [...turn.blocks, words('text', `done-${event.id}`, null, event.text)];
          }
          turn.status = 'completed';
          turn.usage = event.usage;
          turn.costUsd = event.cost_usd;
          turn.stopReason = event.stop_reason ?? null;
          turn.structured = event.structured_output ?? null;
        });
        break;
      case 'error':
        if (event.turn_id) this.#dequeue(event.turn_id);
        this.#change(event.turn_id, (turn) => {
          finish(turn, event.created_at);
          turn.status = 'failed';
          turn.error = { code: event.code, message: event.error };
        });
        break;
      case 'conversation_reset':
        this.#note('reset', event, {});
        break;
      case 'files_rewound':
        this.#note('rewound', event, { turn_id: event.before_turn, files: event.files.length });
        break;
      case 'budget_warning':
        this.#note('budget', event, { percent: event.percent, period: event.period, scope: event.scope });
        break;
      case 'session_updated': {
        this.#updates += 1;
        const { id: _, type: __, turn_id: ___, created_at: ____, ...detail } = event;
        this.#note('updated', event, detail);
        break;
      }
      case 'gap':
        this.#note('gap', event, {});
        break;
      case 'unknown':
        if (event.event.type === 'session_rewound') this.#rewind(event.event, event);
        break;
      case 'agent_message':
        break;
      default:
        if ((event as { type: string }).type === 'session_rewound') this.#rewind(event as unknown as JsonObject, event);
    }
  }

  /** A prompt begins its turn, whether it waited or not. */
  #begin(id: string, event: Extract<PaddockEvent, { type: 'message' }>): void {
    this.#dequeue(id);
    if (this.#find(id) !== null) return;
    // A fork has its original's messages, without turns of its own.
    const copied = event.turn_id == null;
    const turn: Turn = {
      type: 'turn',
      id,
      prompt: event.text,
      attachments: event.attachments ?? [],
      status: copied ? 'completed' : 'waiting',
      startedAt: event.created_at,
      endedAt: copied ? event.created_at : null,
      copied,
      blocks: [],
      usage: null,
      costUsd: null,
      stopReason: null,
      error: null,
      structured: null,
      model: null,
      lastMessageId: event.id,
    };
    // One turn at a time: those before are over, even where what ended them is no longer kept.
    const last = this.#search(() => true);
    if (last?.endedAt === null) this.#change(last.id, (before) => over(before, event.created_at));
    this.#own.add(turn);
    this.#entries.push(turn);
  }

  #enqueue(id: string, at: string): void {
    // One that has begun waits for an agent, not behind another turn.
    if (this.#find(id) !== null || this.#queue.some((queued) => queued.turnId === id)) return;
    this.#queue = [...this.#queue, { turnId: id, prompt: null, at }];
  }

  #dequeue(id: string): void {
    if (this.#queue.some((queued) => queued.turnId === id)) {
      this.#queue = this.#queue.filter((queued) => queued.turnId !== id);
    }
  }

  #note(what: Notice['what'], event: PaddockEvent, detail: JsonObject): void {
    const notice: Notice = {
      type: 'notice',
      key: `${what}-${event.id}`,
      parent: null,
      what,
      at: event.created_at,
      detail,
    };
    const turn = event.turn_id ? this.#find(event.turn_id) : null;
    if (turn !== null && turn.endedAt === null)
      this.#change(turn.id, (own) => {
        own.blocks = [...own.blocks, notice];
      });
    else this.#entries.push(notice);
  }

  /** The session goes on from before a turn: that turn and what came after are put aside. */
  #rewind(sent: JsonObject, event: PaddockEvent): void {
    const before = String(sent.before_turn ?? sent.turn_id ?? '');
    const detail = { before, files: sent.files === true, conversation: sent.conversation === true };
    const gone = detail.conversation ? this.#putAside(before) : [];
    const notice: Notice = {
      type: 'notice',
      key: `rewound-${event.id}`,
      parent: null,
      what: 'rewound',
      at: event.created_at,
      detail,
    };
    if (gone.length > 0) notice.gone = gone;
    this.#entries.push(notice);
  }

  #putAside(before: string): Conversation['entries'] {
    const isIt = (entry: Turn | Notice): boolean => entry.type === 'turn' && entry.id === before;
    const at = this.#entries.findIndex(isIt);
    if (at >= 0) return this.#entries.splice(at);
    // One that was gone back from: what led to it counts again.
    for (const [place, entry] of this.#entries.entries()) {
      const aside = entry.type === 'notice' ? (entry.gone ?? []) : [];
      const found = aside.findIndex(isIt);
      if (found < 0) continue;
      const [, ...since] = this.#entries.splice(place);
      this.#entries.push(...aside.slice(0, found));
      return [...aside.slice(found), ...since];
    }
    return [];
  }

  /** Changes a turn, on a copy that is this draft's own. */
  #change(id: string | null | undefined, change: (turn: Turn) => void): void {
    if (id == null) return;
    for (let at = this.#entries.length - 1; at >= 0; at -= 1) {
      const entry = this.#entries[at];
      if (entry?.type !== 'turn' || entry.id !== id) continue;
      let turn = entry;
      if (!this.#own.has(turn)) {
        turn = { ...entry };
        this.#own.add(turn);
        this.#entries[at] = turn;
      }
      change(turn);
      return;
    }
  }

  #find(id: string): Turn | null {
    return this.#search((turn) => turn.id === id);
  }

  #runs(id: string | null | undefined): boolean {
    if (id == null) return false;
    return this.#find(id)?.endedAt === null;
  }

  /** The turn of a tool's call. A sub-agent in the background may outlive the turn that began it. */
  #homeOf(toolUseId: string | null | undefined, turnId: string | null | undefined): string | null {
    const found =
      toolUseId == null ? null : this.#turnWhere((block) => block.type === 'tool' && block.key === toolUseId);
    return found ?? turnId ?? this.#copiedTurn();
  }

  /** The turn that messages without one belong to. */
  #copiedTurn(): string | null {
    const last = this.#search(() => true);
    return last?.copied ? last.id : null;
  }

  #turnWhere(holds: (block: Block) => boolean): string | null {
    return this.#search((turn) => turn.blocks.some(holds))?.id ?? null;
  }

  #search(holds: (turn: Turn) => boolean): Turn | null {
    for (let at = this.#entries.length - 1; at >= 0; at -= 1) {
      const entry = this.#entries[at];
      if (entry?.type === 'turn' && holds(entry)) return entry;
    }
    return null;
  }
}

/** Whether what was streamed before an event is whole by then. */
function isBoundary(event: PaddockEvent): boolean {
  if (event.type === 'assistant_message') return event.parent_tool_use_id == null;
  return event.type === 'turn_started' || event.type === 'done' || event.type === 'error' || event.type === 'message';
}

function words(type: Words['type'], key: string, parent: string | null, text: string): Words {
  return { type, key, parent, text, streaming: false };
}

/** A piece of what is being said; it goes to the end of what is being said already. */
function stream(turn: Turn, type: Words['type'], piece: string, id: number): void {
  const last = turn.blocks[turn.blocks.length - 1];
  if (last?.type === type && last.streaming) {
    turn.blocks = [...turn.blocks.slice(0, -1), { ...last, text: last.text + piece }];
    return;
  }
  const at = turn.blocks.findLastIndex((block) => block.type === type && block.streaming);
  const found = turn.blocks[at];
  if (found?.type === type) {
    turn.blocks = turn.blocks.with(at, { ...found, text: found.text + piece });
    return;
  }
  // Blank lines set blocks of one turn apart, and are not part of either.
  const text = piece.replace(/^\n+/, '');
  turn.blocks = [...turn.blocks, { type, key: `live-${id}`, parent: null, text, streaming: true }];
}

/** A block of a whole message. It takes the place of the pieces that it came in. */
function say(turn: Turn, content: JsonObject, parent: string | null, key: string, at: string): void {
  if (content.type === 'text' || content.type === 'thinking') {
    const { type } = content;
    const text = String((type === 'text' ? content.text : content.thinking) ?? '');
    const live = parent === null ? turn.blocks.findIndex((block) => block.type === type && block.streaming) : -1;
    const found = turn.blocks[live];
    if (found?.type === type) turn.blocks = turn.blocks.with(live, { ...found, text, streaming: false });
    else if (text.trim() !== '') turn.blocks = [...turn.blocks, words(type, key, parent, text)];
  } else if (content.type === 'tool_use') {
    call(turn, {
      key: String(content.id),
      parent,
      name: String(content.name),
      input: (content.input ?? {}) as JsonObject,
      startedAt: at,
    });
  } else if (content.type !== 'redacted_thinking') {
    turn.blocks = [...turn.blocks, { type: 'other', key, parent, content }];
  }
}

/** A tool is called. The same call is told by an event of its own, and by the whole message. */
function call(turn: Turn, called: Pick<Tool, 'key' | 'parent' | 'name' | 'input' | 'startedAt'>): void {
  if (turn.blocks.some((block) => block.type === 'tool' && block.key === called.key)) return;
  const asked = turn.blocks.find((block) => block.type === 'ask' && block.request.tool_use_id === called.key);
  const tool: Tool = { type: 'tool', ...called, result: null, task: null, ask: asked?.type === 'ask' ? asked : null };
  turn.blocks = [...turn.blocks.filter((block) => block !== asked), tool];
}

function changeTool(turn: Turn, id: string, change: (tool: Tool) => Tool): void {
  const at = turn.blocks.findLastIndex((block) => block.type === 'tool' && block.key === id);
  const tool = turn.blocks[at];
  if (tool?.type === 'tool') turn.blocks = turn.blocks.with(at, change(tool));
}

/** A question goes with the call that it is about. */
function put(turn: Turn, ask: Ask): void {
  const id = ask.request.tool_use_id;
  if (id != null && turn.blocks.some((block) => block.type === 'tool' && block.key === id)) {
    changeTool(turn, id, (tool) => ({ ...tool, ask }));
  } else turn.blocks = [...turn.blocks, ask];
}

function resolve(turn: Turn, permissionId: string, resolution: NonNullable<Ask['resolution']>): void {
  turn.blocks = turn.blocks.map((block) => {
    if (block.type === 'ask' && block.key === permissionId) return { ...block, resolution };
    if (block.type === 'tool' && block.ask?.key === permissionId)
      return { ...block, ask: { ...block.ask, resolution } };
    return block;
  });
}

function dropStreaming(turn: Turn): void {
  turn.blocks = turn.blocks.filter((block) => !('streaming' in block && block.streaming));
}

/** Another server goes on: what was said counts as it is told now. */
function resume(turn: Turn, told: string, id: number, at: string): void {
  dropStreaming(turn);
  const said = turn.blocks
    .filter((block) => block.type === 'text' && block.parent === null)
    .map((block) => (block as Words).text)
    .join('\n\n');
  const notice: Notice = { type: 'notice', key: `resumed-${id}`, parent: null, what: 'resumed', at, detail: {} };
  turn.blocks = [...turn.blocks, notice];
  if (told.length > said.length && told.startsWith(said)) stream(turn, 'text', told.slice(said.length), id);
}

/** A turn that speaks before it begins has lost its beginning, and its end, to the log's retention: it is long over. */
function trimmed(turn: Turn, at: string): void {
  if (turn.status === 'waiting' && !turn.copied) over(turn, at);
}

function over(turn: Turn, at: string): void {
  finish(turn, at);
  turn.status = 'completed';
}

/** The turn is over: nothing is being said any more, and nobody waits for an answer. */
function finish(turn: Turn, at: string): void {
  turn.endedAt = at;
  if (!turn.blocks.some((block) => 'streaming' in block && block.streaming)) return;
  turn.blocks = turn.blocks.map((block) =>
    'streaming' in block && block.streaming ? { ...block, streaming: false } : block,
  );
}
