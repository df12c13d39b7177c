/** Reads a session's log and goes on with what comes, over cuts; hands on many events at once, so that little is drawn. */

import { useEffect, useState } from 'react';
import { PaddockError, sessionPath } from '../../api/api';
import type { Api } from '../../api/api';
import type { PaddockEvent } from '../../api/types';

/** The events that are kept in memory; older ones are left out. */
export const KEPT = 50_000;
/** How long after a cut it is asked again, in milliseconds. */
const AGAIN_MS = 2000;

/** What is read of a log. */
export interface LogOptions {
  deltas: boolean;
  raw: boolean;
}

/** How the reading stands. */
export interface LogState {
  events: PaddockEvent[];
  /** Whether older events were left out. */
  cut: boolean;
  state: 'reading' | 'following' | 'cut-off' | 'ended';
  error: unknown;
}

const EMPTY: LogState = { events: [], cut: false, state: 'reading', error: null };

/** The log of a session, as far as it is read. */
export function useLog(api: Api, session: string, options: LogOptions): LogState {
  const { deltas, raw } = options;
  const [state, setState] = useState<LogState>(EMPTY);
  useEffect(() => {
    setState(EMPTY);
    const controller = new AbortController();
    const { signal } = controller;
    let waiting: PaddockEvent[] = [];
    let frame = 0;
    const flush = (): void => {
      frame = 0;
      const came = waiting;
      waiting = [];
      setState((old) => {
        const all = old.events.concat(came);
        return { ...old, events: all.length > KEPT ? all.slice(-KEPT) : all, cut: old.cut || all.length > KEPT };
      });
    };
    const put = (events: PaddockEvent[]): void => {
      waiting.push(...events);
      frame ||= requestAnimationFrame(flush);
    };
    const read = async (): Promise<void> => {
      let after = 0;
      while (!signal.aborted) {
        try {
          for await (const events of linesOf(api, session, { deltas, raw, after }, signal)) {
            if (events.length === 0) setState((old) => (old.state === 'following' ? old : { ...old, state: 'following', error: null }));
            after = events.at(-1)?.id ?? after;
            put(events);
          }
          if (signal.aborted) return;
          // It was closed in order: the session is over.
          setState((old) => ({ ...old, state: 'ended' }));
          return;
        } catch (error) {
          if (signal.aborted) return;
          const final = error instanceof PaddockError && error.status < 500 && error.status !== 429;
          setState((old) => ({ ...old, state: 'cut-off', error }));
          if (final) return;
          await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
        }
      }
    };
    void read();
    return () => {
      controller.abort();
      cancelAnimationFrame(frame);
    };
  }, [api, session, deltas, raw]);
  return state;
}

/** The lines of the log, as many at once as arrive; an empty list when the answer has begun. */
async function* linesOf(
  api: Api,
  session: string,
  query: LogOptions & { after: number },
  signal: AbortSignal,
): AsyncGenerator<PaddockEvent[]> {
  const response = await api.raw('GET', sessionPath(session, 'events'), {
    query: { ...query, follow: true },
    headers: { accept: 'application/x-ndjson' },
    signal,
  });
  yield [];
  if (response.status === 204 || response.body === null) return;
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    const events = lines.filter((line) => line.trim() !== '').map((line) => JSON.parse(line) as PaddockEvent);
    if (events.length > 0) yield events;
  }
}
