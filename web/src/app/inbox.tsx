/** What agents ask, read every few seconds for the whole console. */

import type { ReactNode } from 'react';
import { createContext, useContext, useEffect, useMemo } from 'react';
import { useApi, useChange, useLoad, usePoll } from '../api/context';
import type { PermissionView } from '../api/types';
import { setWaiting } from './title';

interface Inbox {
  /** The questions that wait, oldest first. */
  waiting: PermissionView[];
  /** Whether there are more than are shown. */
  more: boolean;
  /** The sessions whose agents wait for an answer. */
  sessions: Set<string>;
  error: unknown;
  loading: boolean;
  reload: () => void;
}

const InboxContext = createContext<Inbox | null>(null);
const EVERY_MS = 5000;

/** Reads the inbox for what is inside. */
export function InboxProvider(props: { children: ReactNode }): ReactNode {
  const api = useApi();
  const read = useLoad((signal) => api.list<PermissionView>('/api/v1/permissions', { limit: 100 }, signal), [api]);
  usePoll(read.refresh, EVERY_MS);
  useChange(read.reload);
  const value = useMemo<Inbox>(() => {
    const waiting = read.data?.data ?? [];
    return {
      waiting,
      more: (read.data?.next_cursor ?? null) !== null,
      sessions: new Set(waiting.map((question) => question.session_id)),
      error: read.error,
      loading: read.loading && read.data === undefined,
      reload: read.reload,
    };
  }, [read.data, read.error, read.loading, read.reload]);
  const count = value.waiting.length;
  useEffect(() => {
    setWaiting(count);
    return () => setWaiting(0);
  }, [count]);
  return <InboxContext.Provider value={value}>{props.children}</InboxContext.Provider>;
}

/** The inbox. */
export function useInbox(): Inbox {
  const inbox = useContext(InboxContext);
  if (inbox === null) throw new Error('there is no InboxProvider');
  return inbox;
}
