/** The client that the components below use, and hooks that read with it. */

import { createContext, useCallback, useContext, useEffect, useRef, useState } from 'react';
import type { Api } from './api';

const ApiContext = createContext<Api | null>(null);

/** Gives a client to what is inside. */
export const ApiProvider = ApiContext.Provider;

/** The client. */
export function useApi(): Api {
  const api = useContext(ApiContext);
  if (api === null) throw new Error('there is no ApiProvider');
  return api;
}

/** How a read stands. `data` stays while it is read again. */
export interface Load<T> {
  data: T | undefined;
  error: unknown;
  loading: boolean;
  /** Reads again. */
  reload: () => void;
  /** Reads again, unless it is being read: a slow answer is waited for. */
  refresh: () => void;
  /** Puts something in place of what was read. */
  setData: (data: T) => void;
}

/** Reads something, and again whenever a dependency changes. A read that is overtaken is given up. */
export function useLoad<T>(read: (signal: AbortSignal) => Promise<T>, dependencies: readonly unknown[]): Load<T> {
  const [state, setState] = useState<{ data: T | undefined; error: unknown; loading: boolean }>({
    data: undefined,
    error: undefined,
    loading: true,
  });
  const [round, setRound] = useState(0);
  const latest = useRef(read);
  latest.current = read;
  const key = useRef(dependencies);
  useEffect(() => {
    const changed =
      key.current.length !== dependencies.length || key.current.some((value, at) => value !== dependencies[at]);
    key.current = dependencies;
    const controller = new AbortController();
    // What was wrong stays until it is known to be well again.
    setState((old) => (changed ? { data: undefined, error: undefined, loading: true } : { ...old, loading: true }));
    latest.current(controller.signal).then(
      (data) => {
        if (!controller.signal.aborted) setState({ data, error: undefined, loading: false });
      },
      (error: unknown) => {
        if (!controller.signal.aborted) setState((old) => ({ ...old, error, loading: false }));
      },
    );
    return () => controller.abort();
    // The dependencies are the caller's.
  }, [...dependencies, round]);
  const reload = useCallback(() => setRound((old) => old + 1), []);
  const loading = useRef(true);
  loading.current = state.loading;
  const refresh = useCallback(() => {
    if (!loading.current) reload();
  }, [reload]);
  const setData = useCallback((data: T) => setState({ data, error: undefined, loading: false }), []);
  return { ...state, reload, refresh, setData };
}

/** Calls something every so often while the page is looked at, and at once when it is looked at again. */
export function usePoll(call: () => void, everyMs: number, active = true): void {
  const latest = useRef(call);
  latest.current = call;
  useEffect(() => {
    if (!active) return;
    const tick = (): void => {
      if (document.visibilityState === 'visible') latest.current();
    };
    const timer = setInterval(tick, everyMs);
    document.addEventListener('visibilitychange', tick);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', tick);
    };
  }, [everyMs, active]);
}

/** Whether the server has an operation; undefined until that is known. */
export function useHas(method: string, template: string): boolean | undefined {
  const api = useApi();
  return useLoad(() => api.has(method, template).catch(() => false), [api, method, template]).data;
}

const changes = new EventTarget();

/** Tells that sessions, or what they ask, have changed, so that lists need not wait until they are next read. */
export function tellChange(): void {
  changes.dispatchEvent(new Event('change'));
}

/** Is called when such a change is told. */
export function useChange(call: () => void): void {
  const latest = useRef(call);
  latest.current = call;
  useEffect(() => {
    const listener = (): void => latest.current();
    changes.addEventListener('change', listener);
    return () => changes.removeEventListener('change', listener);
  }, []);
}

/** The time, told anew every so often. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
