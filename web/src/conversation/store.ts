/** A conversation that is kept up to date: read once, then followed. The last few stay, so that going back is quick. */

import type { PaddockEvent } from '@paddock/client/events.js';
import { useEffect, useMemo, useSyncExternalStore } from 'react';
import type { Api } from '../api/api';
import { sessionPath } from '../api/api';
import { useApi } from '../api/context';
import type { TurnView } from '../api/types';
import type { Conversation } from './model';
import { nothing } from './model';
import { reduce, withPrompt } from './reduce';

/** How a conversation stands. */
export interface Snapshot {
  conversation: Conversation;
  /** `reading` its history, `live`, `waiting` to be connected again, `ended` with its session, or `failed`. */
  state: 'reading' | 'live' | 'waiting' | 'ended' | 'failed';
  error: unknown;
}

/** While the history is read, it is shown this often. */
const SHOW_EVERY_MS = 250;
/** Pages that nobody sees need not be drawn at every frame. */
const HIDDEN_MS = 500;
const KEPT = 6;

/** One session's conversation. */
export class ConversationStore {
  #snapshot: Snapshot = { conversation: nothing, state: 'reading', error: null };
  readonly #listeners = new Set<() => void>();
  #pending: PaddockEvent[] = [];
  #scheduled = false;
  #followers = 0;
  #controller: AbortController | null = null;
  readonly #prompts = new Map<string, string | null>();

  constructor(
    private readonly api: Api,
    private readonly sessionId: string,
  ) {}

  readonly snapshot = (): Snapshot => this.#snapshot;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Follows the log until the function that it returns is called. */
  follow(): () => void {
    this.#followers += 1;
    if (this.#followers === 1) void this.#run();
    return () => {
      this.#followers -= 1;
      if (this.#followers > 0) return;
      this.#controller?.abort();
      this.#controller = null;
    };
  }

  /** Tries again after a failure. */
  readonly retry = (): void => {
    this.#controller?.abort();
    if (this.#followers > 0) void this.#run();
  };

  /** Tells of a turn that this page has submitted. */
  submitted(turn: TurnView): void {
    this.#prompts.set(turn.turn_id, turn.message);
    this.#set({ conversation: withPrompt(this.#snapshot.conversation, turn.turn_id, turn.message) });
  }

  async #run(): Promise<void> {
    const controller = new AbortController();
    this.#controller = controller;
    const { signal } = controller;
    try {
      const known = this.#snapshot.conversation;
      if (known.lastId === 0) this.#set({ state: 'reading', error: null });
      let shown = performance.now();
      let reading = known;
      for await (const events of this.api.history(this.sessionId, known.deltaId, signal)) {
        reading = reduce(reading, events, { deltas: false });
        if (performance.now() - shown < SHOW_EVERY_MS) continue;
        this.#set({ conversation: reading });
        shown = performance.now();
      }
      this.#set({ conversation: reading });
      this.#askForPrompts();
      let opening: 'connecting' | 'open' = 'connecting';
      const onState = (state: 'connecting' | 'open'): void => {
        if (!signal.aborted && state === 'open') this.#set({ state: 'live', error: null });
        // A connection that is made at once is no news.
        else setTimeout(() => !signal.aborted && opening === 'connecting' && this.#set({ state: 'waiting' }), 1500);
        opening = state;
      };
      for await (const event of this.api.events(this.sessionId, { after: reading.deltaId, signal, onState })) {
        this.#pending.push(event);
        this.#schedule();
      }
      this.#flush();
      this.#set({ state: 'ended' });
    } catch (error) {
      if (!signal.aborted) this.#set({ state: 'failed', error });
    }
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const flush = (): void => {
      this.#scheduled = false;
      this.#flush();
    };
    if (document.visibilityState === 'visible') requestAnimationFrame(flush);
    else setTimeout(flush, HIDDEN_MS);
  }

  #flush(): void {
    if (this.#pending.length === 0) return;
    const events = this.#pending;
    this.#pending = [];
    this.#set({ conversation: reduce(this.#snapshot.conversation, events) });
    this.#askForPrompts();
  }

  /** The log tells the text of a prompt that waits when its turn begins; until then it is asked for. */
  #askForPrompts(): void {
    for (const { turnId, prompt } of this.#snapshot.conversation.queue) {
      if (prompt !== null) continue;
      const known = this.#prompts.get(turnId);
      if (typeof known === 'string') {
        this.#set({ conversation: withPrompt(this.#snapshot.conversation, turnId, known) });
      } else if (known === undefined) {
        this.#prompts.set(turnId, null);
        this.api.get<TurnView>(sessionPath(this.sessionId, 'turns', turnId)).then(
          (turn) => this.submitted(turn),
          () => this.#prompts.delete(turnId),
        );
      }
    }
  }

  #set(change: Partial<Snapshot>): void {
    this.#snapshot = { ...this.#snapshot, ...change };
    for (const listener of this.#listeners) listener();
  }
}

/** Of each client, the conversations that were looked at last. */
const stores = new WeakMap<Api, Map<string, ConversationStore>>();

function storeOf(api: Api, sessionId: string): ConversationStore {
  let kept = stores.get(api);
  if (kept === undefined) {
    kept = new Map();
    stores.set(api, kept);
  }
  const store = kept.get(sessionId) ?? new ConversationStore(api, sessionId);
  // The one that is used is the youngest.
  kept.delete(sessionId);
  kept.set(sessionId, store);
  const oldest = kept.keys().next().value;
  if (kept.size > KEPT && oldest !== undefined) kept.delete(oldest);
  return store;
}

/** A session's conversation, as it goes on. */
export function useConversation(sessionId: string): Snapshot & { store: ConversationStore } {
  const api = useApi();
  const store = useMemo(() => storeOf(api, sessionId), [api, sessionId]);
  useEffect(() => store.follow(), [store]);
  const snapshot = useSyncExternalStore(store.subscribe, store.snapshot);
  return { ...snapshot, store };
}
