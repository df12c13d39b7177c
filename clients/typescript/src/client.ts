/** The client: every operation of the API that a user of sessions needs. */

import type { HealthView, MeView, UsageQuery, UsageView } from './account.js';
import type { PaddockEvent } from './events.js';
import type {
  CallOptions,
  CommandOptions,
  EventsOptions,
  ListOptions,
  ListSessionsOptions,
  PaddockOptions,
  SocketOptions,
  StreamOptions,
} from './options.js';
import type { OnPermission } from './permissions.js';
import { Asker } from './permissions.js';
import { newIdempotencyKey } from './retry.js';
import { Session } from './session.js';
import { SessionSocket } from './socket.js';
import type { FollowRules, Source } from './stream.js';
import { follow } from './stream.js';
import type { Call, Query } from './transport.js';
import { Transport, path } from './transport.js';
import type {
  ChatView,
  CreateSessionRequest,
  ForkSessionRequest,
  InterruptView,
  MessageRequest,
  MessageView,
  ModelView,
  PermissionAnswer,
  PermissionView,
  SessionView,
  TurnView,
  UpdateSessionRequest,
} from './types.js';

/** A prompt: a text, or a text with what goes with it. */
export type Prompt = string | MessageRequest;

/**
 * A Paddock server.
 *
 * Every call may throw PaddockError (the server refuses), ConnectionError (no answer, after all retries) and the reason of
 * its signal. Calls that create or run something are sent with an idempotency key, so that a retry does nothing twice.
 */
export class Paddock {
  readonly #transport: Transport;
  readonly #rules: FollowRules;
  readonly #options: PaddockOptions;

  /** @throws TypeError when `baseUrl` is no address */
  constructor(options: PaddockOptions) {
    const base = new URL(options.baseUrl);
    this.#options = options;
    const maxRetries = options.maxRetries ?? 5;
    const address = `${base.origin}${base.pathname}`.replace(/\/+$/, '');
    this.#transport = new Transport(address, options.apiKey, maxRetries, options.fetch);
    this.#rules = { maxRetries, maxReconnects: options.maxReconnects ?? 20, idleMs: options.idleMs ?? 45_000 };
  }

  /** Sessions. */
  readonly sessions = {
    /** Makes a session. It costs no model call. */
    create: async (request: CreateSessionRequest = {}, options: CommandOptions = {}): Promise<Session> => {
      const body = { user_id: this.#options.userId, ...request };
      return new Session(this, await this.#command<SessionView>(path('sessions'), body, options));
    },
    /** A session, as it is. Throws PaddockError `session_not_found`. */
    get: async (id: string, options: CallOptions = {}): Promise<Session> => {
      return new Session(this, await this.#get<SessionView>(path('sessions', id), {}, options));
    },
    /** All sessions that match, newest first, page after page. */
    list: (options: ListSessionsOptions = {}): AsyncGenerator<Session, void, undefined> => {
      return this.#listSessions(options);
    },
    /** Changes what is named. */
    update: async (id: string, change: UpdateSessionRequest, options: CallOptions = {}): Promise<Session> => {
      const call: Call = { method: 'PATCH', path: path('sessions', id), body: change };
      return new Session(this, await this.#transport.json<SessionView>(withSignal(call, options)));
    },
    /** Closes a session: its agent ends, and it cannot come back. */
    delete: async (id: string, options: CallOptions = {}): Promise<void> => {
      const call: Call = { method: 'DELETE', path: path('sessions', id), goneIsDone: true };
      await this.#transport.json<undefined>(withSignal(call, options));
    },
    /** Starts a session's agent ahead of its next prompt. */
    resume: async (id: string, options: CommandOptions = {}): Promise<Session> => {
      return new Session(this, await this.#command<SessionView>(path('sessions', id, 'resume'), undefined, options));
    },
    /** Makes a session that goes on from where this one is, or was. */
    fork: async (id: string, request: ForkSessionRequest = {}, options: CommandOptions = {}): Promise<Session> => {
      return new Session(this, await this.#command<SessionView>(path('sessions', id, 'fork'), request, options));
    },
  };

  /** Turns. */
  readonly turns = {
    /** A turn. Throws PaddockError `turn_not_found`. */
    get: (sessionId: string, turnId: string, options: CallOptions = {}): Promise<TurnView> => {
      return this.#get<TurnView>(path('sessions', sessionId, 'turns', turnId), {}, options);
    },
    /** All turns of a session, newest first. */
    list: (sessionId: string, options: ListOptions = {}): AsyncGenerator<TurnView, void, undefined> => {
      return this.#list<TurnView>(path('sessions', sessionId, 'turns'), {}, options);
    },
    /** Takes a turn back that waits, or interrupts it if it runs. */
    cancel: (sessionId: string, turnId: string, options: CommandOptions = {}): Promise<TurnView> => {
      return this.#command<TurnView>(path('sessions', sessionId, 'turns', turnId, 'cancel'), undefined, options);
    },
  };

  /** What agents ask. */
  readonly permissions = {
    /** All questions that wait: of one session, or of all that the caller may see. */
    list: (sessionId?: string, options: ListOptions = {}): AsyncGenerator<PermissionView, void, undefined> => {
      const of = sessionId === undefined ? path('permissions') : path('sessions', sessionId, 'permissions');
      return this.#list<PermissionView>(of, {}, options);
    },
    /** A question. Throws PaddockError `permission_not_found`. */
    get: (sessionId: string, permissionId: string, options: CallOptions = {}): Promise<PermissionView> => {
      return this.#get<PermissionView>(path('sessions', sessionId, 'permissions', permissionId), {}, options);
    },
    /** Answers a question. Throws PaddockError `permission_answered` when somebody else was faster. */
    answer: (
      sessionId: string,
      permissionId: string,
      answer: PermissionAnswer,
      options: CommandOptions = {},
    ): Promise<PermissionView> => {
      const to = path('sessions', sessionId, 'permissions', permissionId);
      return this.#command<PermissionView>(to, answer, options);
    },
  };

  /**
   * Sends a prompt and waits for the whole answer. A turn that does not complete is a PaddockError with its `turnId`.
   *
   * A connection that is lost meanwhile, or cut by whatever allows no long waits, is opened again for the same turn.
   */
  chat(sessionId: string, prompt: Prompt, options: CommandOptions = {}): Promise<ChatView> {
    return this.#command<ChatView>(path('sessions', sessionId, 'messages'), messageOf(prompt), options);
  }

  /**
   * Sends a prompt and yields the events of its turn, the last of them `done` or `error`.
   *
   * The turn begins when the first event is asked for. After a cut the stream goes on by itself. Leaving the loop leaves the
   * turn alone; {@link interrupt} ends it.
   *
   * @throws TypeError for a `lastEventId` without an `idempotencyKey`
   */
  stream(
    sessionId: string,
    prompt: Prompt,
    options: StreamOptions = {},
  ): AsyncGenerator<PaddockEvent, void, undefined> {
    if (options.lastEventId !== undefined && options.idempotencyKey === undefined) {
      throw new TypeError('lastEventId goes with the idempotencyKey of the stream that is to go on');
    }
    const key = options.idempotencyKey ?? newIdempotencyKey();
    const body = messageOf(prompt);
    const source: Source = {
      open: (after, signal) => {
        const headers = streamHeaders(after);
        return this.#transport.send({
          method: 'POST',
          path: path('sessions', sessionId, 'stream'),
          body,
          key,
          headers,
          signal,
        });
      },
      endsWithTurn: true,
      endsInOrder: false,
      after: options.lastEventId,
      signal: options.signal,
      asker: this.#asker(sessionId, options.onPermission),
    };
    return follow(source, this.#rules);
  }

  /** Sends a prompt and waits for nothing: the turn, as it was taken. */
  submit(sessionId: string, prompt: Prompt, options: CommandOptions = {}): Promise<TurnView> {
    return this.#command<TurnView>(path('sessions', sessionId, 'turns'), messageOf(prompt), options);
  }

  /** Ends the turn that runs; what was done so far is kept. When none runs, nothing happens. */
  interrupt(sessionId: string, options: CommandOptions = {}): Promise<InterruptView> {
    return this.#command<InterruptView>(path('sessions', sessionId, 'interrupt'), undefined, options);
  }

  /** The whole conversation, oldest first: prompts, what the assistant said, what tools answered. */
  messages(sessionId: string, options: ListOptions = {}): AsyncGenerator<MessageView, void, undefined> {
    return this.#list<MessageView>(path('sessions', sessionId, 'messages'), {}, options);
  }

  /**
   * Yields a session's log, from its beginning or after an event, and what comes, until the session is closed.
   *
   * After a cut it goes on by itself. Each event comes once and in order; `gap` tells of what is no longer kept.
   */
  events(sessionId: string, options: EventsOptions = {}): AsyncGenerator<PaddockEvent, void, undefined> {
    const query: Query = {
      deltas: options.deltas,
      raw: options.raw,
      types: options.types?.join(','),
      turn: options.turn,
      follow: options.follow,
    };
    const source: Source = {
      open: async (after, signal) => {
        const headers = streamHeaders(after);
        const of = path('sessions', sessionId, 'events');
        const response = await this.#transport.send({ method: 'GET', path: of, query, headers, signal });
        return response.status === 204 ? null : response;
      },
      endsWithTurn: options.turn !== undefined,
      endsInOrder: options.follow === false,
      after: options.after,
      signal: options.signal,
      asker: this.#asker(sessionId, options.onPermission),
    };
    return follow(source, this.#rules);
  }

  /** A connection to a session that takes commands and tells events. It begins to connect at once; close it after use. */
  socket(sessionId: string, options: SocketOptions = {}): SessionSocket {
    const asker = this.#asker(sessionId, options.onPermission);
    const link = {
      transport: this.#transport,
      sessionId,
      webSocket: this.#options.webSocket,
      maxReconnects: this.#rules.maxReconnects,
      asker,
    };
    return new SessionSocket(link, options);
  }

  /** What was used, in sums. */
  async usage(query: UsageQuery = {}, options: CallOptions = {}): Promise<UsageView[]> {
    const asked: Query = { ...query, group_by: query.group_by?.join(',') };
    return (await this.#get<{ data: UsageView[] }>(path('usage'), asked, options)).data;
  }

  /** Who the caller is, and what is left to it. */
  me(options: CallOptions = {}): Promise<MeView> {
    return this.#get<MeView>(path('me'), {}, options);
  }

  /** The models that sessions can ask for. */
  async models(options: CallOptions = {}): Promise<ModelView[]> {
    return (await this.#get<{ data: ModelView[] }>(path('models'), {}, options)).data;
  }

  /** How the server is; also when it is not well, as long as it says so. */
  health(options: CallOptions = {}): Promise<HealthView> {
    const call: Call = { method: 'GET', path: '/health', also: [503] };
    return this.#transport.json<HealthView>(withSignal(call, options));
  }

  async *#listSessions(options: ListSessionsOptions): AsyncGenerator<Session, void, undefined> {
    const query: Query = { user_id: options.user_id ?? this.#options.userId, status: options.status, q: options.q };
    for (const [key, value] of Object.entries(options.metadata ?? {})) query[`metadata.${key}`] = value;
    for await (const view of this.#list<SessionView>(path('sessions'), query, options)) {
      yield new Session(this, view);
    }
  }

  #list<T>(of: string, query: Query, options: ListOptions): AsyncGenerator<T, void, undefined> {
    return this.#transport.pages<T>(of, { ...query, limit: options.limit }, options.signal);
  }

  #get<T>(of: string, query: Query, options: CallOptions): Promise<T> {
    return this.#transport.json<T>(withSignal({ method: 'GET', path: of, query }, options));
  }

  #command<T>(to: string, body: unknown, options: CommandOptions): Promise<T> {
    // One key for all tries of this call.
    const key = options.idempotencyKey ?? newIdempotencyKey();
    return this.#transport.json<T>(withSignal({ method: 'POST', path: to, body, key }, options));
  }

  #asker(sessionId: string, onPermission: OnPermission | undefined): Source['asker'] {
    if (onPermission === undefined) return undefined;
    return (fail) => new Asker(this.permissions, sessionId, onPermission, fail);
  }
}

function messageOf(prompt: Prompt): MessageRequest {
  return typeof prompt === 'string' ? { message: prompt } : prompt;
}

function streamHeaders(after: number | undefined): Record<string, string> {
  const headers: Record<string, string> = { accept: 'text/event-stream' };
  if (after !== undefined) headers['last-event-id'] = String(after);
  return headers;
}

function withSignal(call: Call, options: CallOptions): Call {
  return options.signal === undefined ? call : { ...call, signal: options.signal };
}
