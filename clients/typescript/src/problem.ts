/** What goes wrong: an answer that says no, no answer at all, or an answer that makes no sense. */

import type { JsonObject } from './types.js';

/** One field, or query parameter, that cannot be used. */
export interface FieldError {
  /** Its path: `options.max_turns`. */
  field: string;
  /** What is wrong with it, by name: `missing`, `unknown`, `wrong_type`, or a rule's name. */
  code: string;
  /** What is wrong with it, in words. */
  message: string;
}

/** What a {@link PaddockError} is made of. */
export interface PaddockErrorInit {
  status: number;
  code: string;
  title: string;
  detail?: string | null;
  errors?: FieldError[];
  requestId?: string | null;
  turnId?: string | null;
  retryAfterSeconds?: number | null;
}

/** The server's answer was a problem (RFC 9457), or an error of something between the client and the server. */
export class PaddockError extends Error {
  override readonly name = 'PaddockError';
  /** The HTTP status. */
  readonly status: number;
  /** Why, by name: `session_busy`, `validation_failed`, … Empty when what answered was not Paddock, such as a proxy. */
  readonly code: string;
  /** What the problem is called, for people. */
  readonly title: string;
  /** What it means here; null when there is no more to say. */
  readonly detail: string | null;
  /** The fields that cannot be used, all of them; mostly empty. */
  readonly errors: FieldError[];
  /** The request's id, to be found in the server's log; null when there was none. */
  readonly requestId: string | null;
  /** The turn that ended this way; null when it is not about one. */
  readonly turnId: string | null;
  /** After how many seconds trying again makes sense; null when the server does not say. */
  readonly retryAfterSeconds: number | null;

  constructor(init: PaddockErrorInit) {
    const fields = (init.errors ?? []).map((error) => `${error.field} ${error.message}`).join('; ');
    const words = [init.title, init.detail, fields].filter(Boolean).join(': ');
    super(`${init.status} ${init.code || 'error'}: ${words}`);
    this.status = init.status;
    this.code = init.code;
    this.title = init.title;
    this.detail = init.detail ?? null;
    this.errors = init.errors ?? [];
    this.requestId = init.requestId ?? null;
    this.turnId = init.turnId ?? null;
    this.retryAfterSeconds = init.retryAfterSeconds ?? null;
  }

  /** The error that a problem document is. `status` and `retryAfter` (the header) count where it does not say. */
  static of(problem: JsonObject, status = 0, retryAfter: string | null = null): PaddockError {
    const text = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);
    return new PaddockError({
      status: typeof problem.status === 'number' ? problem.status : status,
      code: text(problem.code) ?? '',
      title: text(problem.title) ?? 'The server answered with an error',
      detail: text(problem.detail),
      errors: Array.isArray(problem.errors) ? (problem.errors as FieldError[]) : [],
      requestId: text(problem.request_id),
      turnId: text(problem.turn_id),
      retryAfterSeconds: readRetryAfter(retryAfter),
    });
  }

  /** The error that a response is whose status says no. Its body is read. */
  static async from(response: Response): Promise<PaddockError> {
    const body = await response.text();
    const retryAfter = response.headers.get('retry-after');
    const type = response.headers.get('content-type') ?? '';
    if (type.startsWith('application/problem+json')) {
      try {
        return PaddockError.of(JSON.parse(body) as JsonObject, response.status, retryAfter);
      } catch {
        // It calls itself a problem and is none: it is told as any other body.
      }
    }
    return new PaddockError({
      status: response.status,
      code: '',
      title: response.statusText || 'The server answered with an error',
      detail: body.slice(0, 500) || null,
      requestId: response.headers.get('x-request-id'),
      retryAfterSeconds: readRetryAfter(retryAfter),
    });
  }
}

/** There was no answer, or it broke off: whether the server got the request is not known. */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';
}

/** What came is not what this API sends: a body that is no JSON, or a line that is too long. Trying again is no help. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

/** The seconds of a `Retry-After`, which is a number or a date. */
function readRetryAfter(header: string | null): number | null {
  if (header === null || header.trim() === '') return null;
  if (/^\s*\d+\s*$/.test(header)) return Number(header);
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.max(0, Math.ceil((date - Date.now()) / 1000));
}
