/** When something is tried again, and after how long. */

import { ConnectionError, PaddockError } from './problem.js';

/** The first wait, in milliseconds. Each further one may be twice as long. */
const FIRST_WAIT_MS = 250;
/** The longest wait that is of the client's own making, in milliseconds. */
const LONGEST_WAIT_MS = 8_000;
/** The longest wait that a server may ask for, in milliseconds; past it, its refusal is the answer. */
const LONGEST_ASKED_WAIT_MS = 60_000;

/** Problems that pass by themselves, whatever their status. */
const PASSING = new Set(['request_in_progress', 'cursor_ahead', 'instance_unreachable', 'shutting_down']);

/**
 * Whether the same request may have another answer in a moment.
 *
 * No turn's own failure is one: the same key would only tell it again.
 */
export function isPassing(error: unknown): boolean {
  if (error instanceof ConnectionError) return true;
  if (!(error instanceof PaddockError) || error.turnId !== null) return false;
  if ((error.retryAfterSeconds ?? 0) * 1000 > LONGEST_ASKED_WAIT_MS) return false;
  if (PASSING.has(error.code)) return true;
  if (error.status === 429 || error.status === 503) {
    if (error.retryAfterSeconds !== null) return true;
  }
  // What is no problem document is a proxy's, which lost the server for a moment.
  return error.code === '' && [502, 503, 504].includes(error.status);
}

/**
 * How long to wait before the next try, in milliseconds.
 *
 * @param failures how many tries failed before this one
 * @param error why the last try failed; a `Retry-After` is waited for, and a little longer
 * @param first the first wait, in milliseconds
 */
export function waitBefore(failures: number, error: unknown, first = FIRST_WAIT_MS): number {
  const most = Math.max(first, LONGEST_WAIT_MS);
  const ceiling = Math.min(most, first * 2 ** Math.min(failures, 16));
  // Many clients that lost one server do not come back at the same moment.
  const wait = ceiling / 2 + (Math.random() * ceiling) / 2;
  const asked = error instanceof PaddockError ? (error.retryAfterSeconds ?? 0) * 1000 : 0;
  return asked > 0 ? asked + Math.random() * FIRST_WAIT_MS : wait;
}

/** Resolves after `ms` milliseconds; rejects with the signal's reason as soon as that is aborted. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal?.addEventListener('abort', stop, { once: true });
  });
}

/** A key that no other request has. */
export function newIdempotencyKey(): string {
  // Older runtimes and pages without TLS have no randomUUID. The key has to be new, not secret.
  const random = (): string => Math.random().toString(36).slice(2);
  return globalThis.crypto?.randomUUID?.() ?? `${Date.now().toString(36)}-${random()}${random()}`;
}
