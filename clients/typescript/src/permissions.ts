/** Callbacks that answer what agents ask. */

import type { PaddockEvent, PermissionRequestEvent } from './events.js';
import { isTerminal } from './events.js';
import { PaddockError } from './problem.js';
import type { PermissionAnswer, PermissionView } from './types.js';

/** What a callback is told besides the question. */
export interface PermissionContext {
  /** The session whose agent asks. */
  sessionId: string;
  /** Is aborted when the question is answered by somebody else, is over, or is followed no more. */
  signal: AbortSignal;
}

/** A callback's answer; `undefined` leaves the question to others. */
export type PermissionReply = PermissionAnswer | 'allow' | 'deny' | undefined;

/**
 * Is asked for each question of an agent that still waits for an answer; what it returns is posted.
 *
 * What it throws ends the stream or the socket that it belongs to. The question then still waits for others.
 */
export type OnPermission = (
  request: PermissionRequestEvent,
  context: PermissionContext,
) => PermissionReply | Promise<PermissionReply>;

/** What questions are read and answered by. */
export interface PermissionDesk {
  get(sessionId: string, permissionId: string): Promise<PermissionView>;
  answer(sessionId: string, permissionId: string, answer: PermissionAnswer): Promise<PermissionView>;
}

/** Asks a callback for each question that passes by in the events of one session. */
export class Asker {
  readonly #open = new Map<string, { turn: string | null; controller: AbortController }>();
  #stopped = false;

  /** @param fail is told what goes wrong, whether the callback threw or the answer was not taken */
  constructor(
    private readonly desk: PermissionDesk,
    private readonly sessionId: string,
    private readonly onPermission: OnPermission,
    private readonly fail: (error: unknown) => void,
  ) {}

  /** Looks at an event. Events that come twice are no harm. */
  see(event: PaddockEvent): void {
    if (this.#stopped) return;
    if (event.type === 'permission_request' && !this.#open.has(event.permission_id)) {
      const controller = new AbortController();
      this.#open.set(event.permission_id, { turn: event.turn_id ?? null, controller });
      void this.#ask(event, controller.signal).catch((error: unknown) => {
        if (!this.#stopped) this.fail(error);
      });
    } else if (event.type === 'permission_resolved') {
      this.#close(event.permission_id);
    } else if (isTerminal(event)) {
      for (const [id, { turn }] of this.#open) {
        if (turn === (event.turn_id ?? null)) this.#close(id);
      }
    }
  }

  /** Asks no more, and takes back what is asked. */
  stop(): void {
    this.#stopped = true;
    for (const id of [...this.#open.keys()]) this.#close(id);
  }

  #close(id: string): void {
    this.#open.get(id)?.controller.abort();
    this.#open.delete(id);
  }

  async #ask(request: PermissionRequestEvent, signal: AbortSignal): Promise<void> {
    const id = request.permission_id;
    try {
      // What is read of the past may be answered long since; nobody is to be bothered with that.
      const { resolution } = await this.desk.get(this.sessionId, id);
      if (resolution !== null || signal.aborted) return;
      const reply = await this.onPermission(request, { sessionId: this.sessionId, signal });
      if (reply === undefined || signal.aborted) return;
      await this.desk.answer(this.sessionId, id, typeof reply === 'string' ? { decision: reply } : reply);
    } catch (error) {
      const code = error instanceof PaddockError ? error.code : '';
      // Somebody else was faster, or the question is over.
      if (signal.aborted || code === 'permission_answered' || code === 'permission_not_found') return;
      throw error;
    }
  }
}
