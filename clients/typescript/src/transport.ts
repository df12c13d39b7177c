/** Requests: how they are sent, tried again, and read. */

import { ConnectionError, PaddockError, ProtocolError } from './problem.js';
import { isPassing, pause, waitBefore } from './retry.js';

/** A function like the platform's own `fetch`. */
export type Fetch = (input: string, init: RequestInit) => Promise<Response>;

/** Values of query parameters; those that are undefined are left out. */
export type Query = Record<string, string | number | boolean | undefined>;

/** A request. */
export interface Call {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Its path from the server's root: `/api/v1/me`. */
  path: string;
  query?: Query;
  /** Is sent as JSON. */
  body?: unknown;
  /** Its `Idempotency-Key`. */
  key?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Statuses past 299 whose body is an answer all the same. */
  also?: number[];
  /** Whether 404 and 410 mean that an earlier try, whose answer was lost, has done it. */
  goneIsDone?: boolean;
}

/** The parts of a path, safe to be put together. */
export function path(...parts: string[]): string {
  return `/api/v1/${parts.map(encodeURIComponent).join('/')}`;
}

/** Sends requests to one server. */
export class Transport {
  readonly #fetch: Fetch;

  /**
   * @param baseUrl where the server is, with or without a path, without a slash at the end
   * @param apiKey is sent as `Authorization: Bearer`
   * @param maxRetries how often a request is sent again at most
   */
  constructor(
    readonly baseUrl: string,
    readonly apiKey: string | undefined,
    readonly maxRetries: number,
    given?: Fetch,
  ) {
    // Called as a function of its own: some runtimes refuse a `fetch` that is called as a method.
    const fetch = given ?? globalThis.fetch;
    this.#fetch = (input, init) => fetch(input, init);
  }

  /** The address of a path. */
  url(path: string, query: Query = {}): string {
    const pairs = Object.entries(query).filter((pair) => pair[1] !== undefined);
    const search = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)]));
    return `${this.baseUrl}${path}${pairs.length > 0 ? `?${search.toString()}` : ''}`;
  }

  /**
   * Sends a request once.
   *
   * @throws PaddockError when the answer says no, ConnectionError when there is none, the signal's reason when aborted
   */
  async send(call: Call): Promise<Response> {
    const headers: Record<string, string> = { accept: 'application/json', ...call.headers };
    if (this.apiKey !== undefined) headers.authorization = `Bearer ${this.apiKey}`;
    if (call.key !== undefined) headers['idempotency-key'] = call.key;
    const init: RequestInit = { method: call.method, headers };
    if (call.body !== undefined) {
      headers['content-type'] = 'application/json';
      init.body = JSON.stringify(call.body);
    }
    if (call.signal !== undefined) init.signal = call.signal;
    return this.#answered(call.signal, async () => {
      const response = await this.#fetch(this.url(call.path, call.query), init);
      if (response.ok || call.also?.includes(response.status)) return response;
      throw await PaddockError.from(response);
    });
  }

  /**
   * Sends a request, again and again where that may help, and reads its answer as JSON. 204 is `undefined`.
   *
   * Requests that create or run something need a `key`, or they might do it twice.
   *
   * @throws as {@link send}, and ProtocolError when the answer is no JSON
   */
  async json<T>(call: Call): Promise<T> {
    let mayBeDone = false;
    for (let failures = 0; ; failures += 1) {
      try {
        const response = await this.send(call);
        // The body may break off too: then the request is sent again like any other that had no answer.
        const text = await this.#answered(call.signal, () => response.text());
        return parse(response.status === 204 || text === '' ? undefined : text) as T;
      } catch (error) {
        if (mayBeDone && error instanceof PaddockError && (error.status === 404 || error.status === 410)) {
          return undefined as T;
        }
        if (!isPassing(error) || failures >= this.maxRetries) throw error;
        mayBeDone ||= call.goneIsDone === true && error instanceof ConnectionError;
        await pause(waitBefore(failures, error), call.signal);
      }
    }
  }

  /** All entries of a list, page after page. A page is fetched when the entries before it are used up. */
  async *pages<T>(path: string, query: Query, signal?: AbortSignal): AsyncGenerator<T, void, undefined> {
    let cursor: string | undefined;
    do {
      const call: Call = { method: 'GET', path, query: { ...query, cursor } };
      if (signal !== undefined) call.signal = signal;
      const page = await this.json<{ data: T[]; next_cursor: string | null }>(call);
      yield* page.data;
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
  }

  async #answered<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (error instanceof PaddockError) throw error;
      throw new ConnectionError(`no answer from ${this.baseUrl}: ${reason(error)}`, { cause: error });
    }
  }
}

/** Why something failed, in words; the platform's `fetch` keeps the reason in `cause`. */
export function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message;
}

function parse(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ProtocolError('the answer is no JSON; is this the address of a Paddock server?', { cause: error });
  }
}
