/** A session over a WebSocket that comes back by itself. */

import type { PaddockEvent } from './events.js';
import { readEvent } from './events.js';
import { Mailbox } from './mailbox.js';
import type { CallOptions, CommandOptions, SocketOptions } from './options.js';
import type { Asker } from './permissions.js';
import { ConnectionError, PaddockError, ProtocolError } from './problem.js';
import { isPassing, newIdempotencyKey, pause, waitBefore } from './retry.js';
import type { Source } from './stream.js';
import { Place } from './stream.js';
import type { Transport } from './transport.js';
import { path } from './transport.js';
import type { JsonObject, MessageRequest, PermissionAnswer, PermissionMode, SessionView } from './types.js';
import type { WebSocketConstructor, Wire } from './websocket.js';
import { drop, openWire, textOf } from './websocket.js';

/** How many commands may wait for their answers. */
const COMMANDS_MAX = 1000;

/** The codes with which the server closes after a message that it cannot take: none, not a text, too long. */
const UNREADABLE = [1002, 1003, 1009];

/** How a command was answered. */
export interface Ack {
  /** The turn that it began, or interrupted; null when it is about none. */
  turnId: string | null;
}

/** What a socket is made of. */
export interface SocketLink {
  transport: Transport;
  sessionId: string;
  webSocket: WebSocketConstructor | undefined;
  /** How many tries may fail one after the other. */
  maxReconnects: number;
  asker: Source['asker'];
}

/** A command that is not answered yet. */
interface Pending {
  text: string;
  /** Whether it may be sent again when its answer was lost. */
  repeatable: boolean;
  sent: boolean;
  resolve(ack: Ack): void;
  reject(error: unknown): void;
}

/** How a connection ended. */
interface Closed {
  code: number;
  reason: string;
  /** Whether it was ever open. */
  opened: boolean;
}

/**
 * A session over a WebSocket: commands go, events come. It connects at once, and again whenever the connection is lost.
 *
 * `for await (const event of socket)` takes the events, each once and in order, whatever is cut; it ends when the session
 * is closed or {@link close} is called, and throws when the server refuses or cannot be reached any more. Leaving the loop
 * leaves the socket open, and another loop goes on behind it.
 *
 * Commands resolve when the server has acknowledged them, and reject with a PaddockError when it refuses, with a
 * ConnectionError when the socket ends first. One whose answer was lost is sent again where that does no harm; an
 * `interrupt` is not, as it might meet the next turn.
 */
export class SessionSocket implements AsyncIterable<PaddockEvent> {
  readonly #link: SocketLink;
  readonly #options: SocketOptions;
  readonly #place: Place;
  readonly #mailbox: Mailbox<PaddockEvent>;
  readonly #pending = new Map<string, Pending>();
  readonly #ending = new AbortController();
  readonly #asker: Asker | undefined;
  #wire: Wire | undefined;
  /** Ends the connection that is open; what waits for its end goes on. */
  #cut: ((closed: Closed) => void) | undefined;
  /** Whether events were passed over because nobody took those before them. They are asked for again. */
  #lagging = false;
  #heard = false;
  #references = 0;

  /** For the client's own use: `client.socket(id)` makes one. */
  constructor(link: SocketLink, options: SocketOptions) {
    this.#link = link;
    this.#options = options;
    this.#place = new Place(options.after);
    this.#mailbox = new Mailbox(options.bufferMax ?? 10_000, () => this.#catchUp());
    this.#asker = link.asker?.((error) => this.#end({ error }));
    const stop = (): void => this.#end({ error: options.signal?.reason });
    if (options.signal?.aborted) stop();
    options.signal?.addEventListener('abort', stop, { once: true });
    this.#ending.signal.addEventListener('abort', () => options.signal?.removeEventListener('abort', stop));
    void this.#run().then(
      () => this.#end(),
      (error: unknown) => this.#end({ error }),
    );
  }

  /** The id of the last event that came; undefined before the first. */
  get lastEventId(): number | undefined {
    return this.#place.last;
  }

  /** Gives the session a prompt. Resolves to the turn when that is taken; what comes of it is told by events. */
  async message(prompt: string | MessageRequest, options: CommandOptions = {}): Promise<{ turnId: string }> {
    const asked = typeof prompt === 'string' ? { message: prompt } : prompt;
    const key = options.idempotencyKey ?? newIdempotencyKey();
    const { turnId } = await this.#command('message', { ...asked, idempotency_key: key }, options);
    if (turnId === null) throw new ProtocolError('the server took a prompt and named no turn');
    return { turnId };
  }

  /** Interrupts the turn that runs; `turnId` is null when none does. */
  interrupt(options: CallOptions = {}): Promise<Ack> {
    return this.#command('interrupt', {}, options, false);
  }

  /** Answers a question of the agent. */
  async permission(permissionId: string, answer: PermissionAnswer, options: CallOptions = {}): Promise<void> {
    await this.#command('permission', { permission_id: permissionId, ...answer }, options);
  }

  /** Sets the model; null leaves it to the CLI. */
  async setModel(model: string | null, options: CallOptions = {}): Promise<void> {
    await this.#command('set_model', { model }, options);
  }

  /** Sets what tools may do without asking. */
  async setPermissionMode(mode: PermissionMode, options: CallOptions = {}): Promise<void> {
    await this.#command('set_permission_mode', { permission_mode: mode }, options);
  }

  /** Resolves when the server has answered. */
  async ping(options: CallOptions = {}): Promise<void> {
    await this.#command('ping', {}, options);
  }

  /** Closes the connection. What the session does goes on; commands that wait are rejected, and loops end. */
  close(): void {
    this.#end();
  }

  /** Takes events. Several loops share them: each event comes to one. */
  [Symbol.asyncIterator](): AsyncIterator<PaddockEvent, undefined, undefined> {
    return { next: () => this.#mailbox.take() };
  }

  #command(type: string, fields: object, options: CallOptions, repeatable = true): Promise<Ack> {
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#ending.signal.aborted) return Promise.reject(new ConnectionError('the socket is closed'));
    if (this.#pending.size >= COMMANDS_MAX) {
      return Promise.reject(new ConnectionError('too many commands wait for their answers'));
    }
    this.#references += 1;
    const reference = String(this.#references);
    const text = JSON.stringify({ type, ref: reference, ...fields });
    return new Promise((resolve, reject) => {
      const abandon = (): void => {
        this.#pending.delete(reference);
        reject(signal?.reason);
      };
      const settle = <T>(then: (value: T) => void) => (value: T): void => {
        signal?.removeEventListener('abort', abandon);
        then(value);
      };
      signal?.addEventListener('abort', abandon, { once: true });
      const command = { text, repeatable, sent: false, resolve: settle(resolve), reject: settle(reject) };
      this.#pending.set(reference, command);
      if (this.#wire !== undefined) this.#send(this.#wire, command);
    });
  }

  #send(wire: Wire, command: Pending): void {
    command.sent = true;
    wire.send(command.text);
  }

  /** Connects, again and again, until there is nothing more to come. */
  async #run(): Promise<void> {
    const { signal } = this.#ending;
    for (let failures = 0; !signal.aborted; ) {
      let lost: unknown;
      try {
        const closed = await this.#connection();
        if (signal.aborted) return;
        if (closed.code === 1000) return;
        if (!closed.opened && (await this.#isOver())) return;
        lost = new ConnectionError(`the socket was closed: ${closed.code} ${closed.reason}`.trim());
      } catch (error) {
        if (signal.aborted) return;
        if (!isPassing(error)) throw error;
        lost = error;
      }
      failures = this.#heard ? 0 : failures + 1;
      if (failures > this.#link.maxReconnects) throw lost;
      await pause(waitBefore(failures, lost), signal);
    }
  }

  /** One connection, from its beginning to its end. */
  async #connection(): Promise<Closed> {
    this.#heard = false;
    this.#lagging = false;
    const wire = await openWire(await this.#address(), this.#link.webSocket);
    let opened = false;
    let heartbeat: ReturnType<typeof setInterval> | undefined;
    const closed = await new Promise<Closed>((resolve) => {
      this.#cut = (closed) => {
        drop(wire);
        resolve(closed);
      };
      if (this.#ending.signal.aborted) this.#cut({ code: 1000, reason: 'closed', opened: false });
      wire.onopen = () => {
        opened = true;
        this.#wire = wire;
        heartbeat = this.#watch(wire);
        for (const command of this.#pending.values()) this.#send(wire, command);
      };
      wire.onmessage = ({ data }) => this.#hear(textOf(data));
      // Not every implementation closes what was never open.
      wire.onerror = ({ message }) => {
        if (!opened) this.#cut?.({ code: 1006, reason: message ?? '', opened });
      };
      wire.onclose = ({ code, reason }) => resolve({ code, reason, opened });
    });
    clearInterval(heartbeat);
    this.#cut = undefined;
    this.#wire = undefined;
    // What the server could not read, it could not read the next time either.
    const unreadable = UNREADABLE.includes(closed.code);
    for (const [reference, command] of this.#pending) {
      if (!command.sent || (command.repeatable && !unreadable)) continue;
      this.#pending.delete(reference);
      const words = `the connection was lost before the answer came: ${closed.code} ${closed.reason}`;
      command.reject(new ConnectionError(words.trim()));
    }
    return closed;
  }

  /** Pings when it is silent, and cuts the connection when it stays so: a lost network tells nobody. */
  #watch(wire: Wire): ReturnType<typeof setInterval> {
    let [heard, asked] = [true, false];
    const onmessage = wire.onmessage;
    wire.onmessage = (message) => {
      heard = true;
      onmessage?.(message);
    };
    return setInterval(() => {
      if (heard) asked = false;
      else if (asked) this.#cut?.({ code: 1006, reason: 'silent for too long', opened: true });
      else {
        asked = true;
        wire.send(JSON.stringify({ type: 'ping', ref: 'heartbeat' }));
      }
      heard = false;
    }, this.#options.heartbeatMs ?? 20_000);
  }

  /** Where to connect: after the last event, with a ticket in place of the key, which browsers cannot send. */
  async #address(): Promise<string> {
    const { transport, sessionId } = this.#link;
    let ticket: string | undefined;
    if (transport.apiKey !== undefined) {
      const { signal } = this.#ending;
      const response = await transport.send({ method: 'POST', path: path('sessions', sessionId, 'ws-ticket'), signal });
      ticket = ((await response.json()) as { ticket: string }).ticket;
    }
    const { deltas, raw, types } = this.#options;
    const query = { after: this.#place.last, deltas, raw, types: types?.join(','), ticket };
    return transport.url(path('sessions', sessionId, 'ws'), query).replace(/^http/, 'ws');
  }

  /** Why a connection was refused, which a WebSocket does not tell: throws if the session says so. */
  async #isOver(): Promise<boolean> {
    const { transport, sessionId } = this.#link;
    const call = { method: 'GET', path: path('sessions', sessionId), signal: this.#ending.signal } as const;
    const view = (await (await transport.send(call)).json()) as SessionView;
    return view.status !== 'active';
  }

  #hear(text: string | null): void {
    this.#heard = true;
    let value: unknown;
    try {
      value = JSON.parse(text ?? '');
    } catch (error) {
      this.#end({ error: new ProtocolError('what came is no JSON', { cause: error }) });
      return;
    }
    const event = readEvent(value);
    if (event === null) this.#answered(value as JsonObject);
    else if (!this.#lagging) this.#deliver(event);
  }

  #deliver(event: PaddockEvent): void {
    if (this.#mailbox.isFull) {
      this.#lagging = true;
    } else if (this.#place.moveTo(event)) {
      this.#mailbox.put(event);
      this.#asker?.see(event);
    }
  }

  /** Asks again for what was passed over. The log has it, so nothing is lost. */
  #catchUp(): void {
    if (!this.#lagging) return;
    this.#lagging = false;
    this.#cut?.({ code: 1006, reason: 'what was passed over is asked for again', opened: true });
  }

  #answered(reply: JsonObject): void {
    const reference = typeof reply.ref === 'string' ? reply.ref : '';
    const command = this.#pending.get(reference);
    if (command === undefined) return;
    this.#pending.delete(reference);
    if (reply.type === 'refused') command.reject(PaddockError.of(reply.problem as JsonObject));
    else command.resolve({ turnId: typeof reply.turn_id === 'string' ? reply.turn_id : null });
  }

  #end(failed?: { error: unknown }): void {
    if (this.#ending.signal.aborted) return;
    this.#ending.abort();
    this.#asker?.stop();
    this.#mailbox.end(failed);
    this.#cut?.({ code: 1000, reason: 'closed', opened: true });
    const error = failed?.error ?? new ConnectionError('the socket is closed');
    for (const command of this.#pending.values()) command.reject(error);
    this.#pending.clear();
  }
}
