/** The console's client: requests with the key, problems as errors, and logs that are followed over cuts. */

import type { PaddockEvent } from '@paddock/client/events.js';
import { readEvent } from '@paddock/client/events.js';
import { ConnectionError, PaddockError } from '@paddock/client/problem.js';
import { newIdempotencyKey } from '@paddock/client/retry.js';
import { follow } from '@paddock/client/stream.js';
import type { Page } from './types';

export { ConnectionError, PaddockError };

/** Values of query parameters; those that are undefined, null or empty are left out. */
export type Query = Record<string, string | number | boolean | null | undefined>;

/** What goes with a request. */
export interface RequestOptions {
  query?: Query;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** JSON, unless it is bytes, a form or a text of the `content-type` in `headers`. */
  body?: unknown;
}

/** What of a log is followed. */
export interface EventsOptions {
  after?: number;
  deltas?: boolean;
  signal?: AbortSignal;
  /** Is told when the stream is being opened, and when it is open. */
  onState?: (state: 'connecting' | 'open') => void;
}

/** `/api/v1/…`, each part escaped. */
export function path(...parts: string[]): string {
  return `/api/v1/${parts.map(encodeURIComponent).join('/')}`;
}

/** The path of something that belongs to a session. */
export function sessionPath(sessionId: string, ...parts: string[]): string {
  return path('sessions', sessionId, ...parts);
}

/** One server, seen with one key. */
export class Api {
  #operations: Promise<Set<string>> | undefined;

  /**
   * @param key the API key; undefined where the server asks for none
   * @param onRefused is told when the key is no longer good
   */
  constructor(
    readonly key: string | undefined,
    private readonly onRefused: (error: PaddockError) => void = () => {},
  ) {}

  /** Sends a request. The response's status is 2xx or 304; everything else throws. */
  async raw(method: string, to: string, options: RequestOptions = {}): Promise<Response> {
    const headers = new Headers({ accept: 'application/json', ...options.headers });
    if (this.key !== undefined) headers.set('authorization', `Bearer ${this.key}`);
    const init: RequestInit = { method, headers, cache: 'no-store', credentials: 'omit' };
    if (options.signal) init.signal = options.signal;
    if (options.body !== undefined) {
      if (isVerbatim(options.body)) init.body = options.body;
      else if (typeof options.body === 'string' && headers.has('content-type')) init.body = options.body;
      else {
        headers.set('content-type', 'application/json');
        init.body = JSON.stringify(options.body);
      }
    }
    let response: Response;
    try {
      response = await fetch(address(to, options.query), init);
    } catch (error) {
      if (options.signal?.aborted) throw options.signal.reason;
      throw new ConnectionError('the server does not answer', { cause: error });
    }
    if (response.ok || response.status === 304) return response;
    const error = await PaddockError.from(response);
    if (error.status === 401) this.onRefused(error);
    throw error;
  }

  /** Reads JSON. */
  async get<T>(to: string, query?: Query, signal?: AbortSignal): Promise<T> {
    return this.#json<T>('GET', to, { ...(query && { query }), ...(signal && { signal }) });
  }

  /** A page of a list. */
  list<T>(to: string, query?: Query, signal?: AbortSignal): Promise<Page<T>> {
    return this.get<Page<T>>(to, query, signal);
  }

  /** Creates or runs something. It has an idempotency key of its own, unless the headers name one. */
  post<T>(to: string, body?: unknown, options: RequestOptions = {}): Promise<T> {
    const headers = { 'idempotency-key': newIdempotencyKey(), ...options.headers };
    return this.#json<T>('POST', to, { ...options, headers, body });
  }

  /** Changes something. */
  patch<T>(to: string, body: unknown, options: RequestOptions = {}): Promise<T> {
    return this.#json<T>('PATCH', to, { ...options, body });
  }

  /** Puts something in its place. */
  put<T>(to: string, body: unknown, options: RequestOptions = {}): Promise<T> {
    return this.#json<T>('PUT', to, { ...options, body });
  }

  /** Removes something. */
  delete<T = undefined>(to: string, options: RequestOptions = {}): Promise<T> {
    return this.#json<T>('DELETE', to, options);
  }

  /** A session's log after an event, and what comes. It goes on by itself after a cut; each event comes once. */
  events(sessionId: string, options: EventsOptions = {}): AsyncGenerator<PaddockEvent, void, undefined> {
    const open = async (after: number | undefined, signal: AbortSignal): Promise<Response | null> => {
      const headers: Record<string, string> = { accept: 'text/event-stream' };
      if (after !== undefined) headers['last-event-id'] = String(after);
      const query = { deltas: options.deltas };
      options.onState?.('connecting');
      const response = await this.raw('GET', sessionPath(sessionId, 'events'), { headers, query, signal });
      options.onState?.('open');
      return response.status === 204 ? null : response;
    };
    const source = { open, endsWithTurn: false, endsInOrder: false, after: options.after, signal: options.signal };
    return follow(source, { maxRetries: 1000, maxReconnects: 1000, idleMs: 45_000 });
  }

  /** A session's log up to now, without pieces of text, in batches. It is read in one go, however long it is. */
  async *history(
    sessionId: string,
    after: number,
    signal: AbortSignal,
  ): AsyncGenerator<PaddockEvent[], void, undefined> {
    const headers = { accept: 'application/x-ndjson' };
    const query = { deltas: false, follow: false, after: after > 0 ? after : undefined };
    const response = await this.raw('GET', sessionPath(sessionId, 'events'), { headers, query, signal });
    const reader = response.body?.getReader();
    const decoder = new TextDecoder();
    let rest = '';
    while (reader !== undefined) {
      const { done, value } = await reader.read();
      const lines = (rest + decoder.decode(value, { stream: !done })).split('\n');
      rest = done ? '' : (lines.pop() ?? '');
      const events = lines.filter((line) => line.trim() !== '').map((line) => readEvent(JSON.parse(line)));
      yield events.filter((event) => event !== null);
      if (done) return;
    }
  }

  /** Saves what an address answers as a file. */
  async download(to: string, name: string, query?: Query): Promise<void> {
    const response = await this.raw('GET', to, { headers: { accept: '*/*' }, ...(query && { query }) });
    const link = document.createElement('a');
    link.href = URL.createObjectURL(await response.blob());
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  /** Whether the server has an operation: `has('get', '/api/v1/templates')`, with `{session_id}` as OpenAPI has it. */
  async has(method: string, template: string): Promise<boolean> {
    this.#operations ??= this.#readOperations();
    return (await this.#operations).has(`${method.toLowerCase()} ${shape(template)}`);
  }

  async #readOperations(): Promise<Set<string>> {
    const document = await this.get<{ paths?: Record<string, Record<string, unknown>> }>('/openapi.json');
    const found = new Set<string>();
    for (const [template, item] of Object.entries(document.paths ?? {})) {
      for (const method of Object.keys(item)) found.add(`${method} ${shape(template)}`);
    }
    return found;
  }

  async #json<T>(method: string, to: string, options: RequestOptions): Promise<T> {
    const response = await this.raw(method, to, options);
    const text = await response.text();
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }
}

function address(to: string, query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') search.set(name, String(value));
  }
  const text = search.toString();
  return text === '' ? to : `${to}?${text}`;
}

function isVerbatim(body: unknown): body is Blob | ArrayBuffer | FormData | Uint8Array<ArrayBuffer> {
  return body instanceof Blob || body instanceof ArrayBuffer || body instanceof FormData || body instanceof Uint8Array;
}

/** A path without the names of its parameters. */
function shape(template: string): string {
  return template.replace(/\{[^}]*\}/g, '{}');
}
