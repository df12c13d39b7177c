/** Of which turns a session keeps what its workspace was like. */

import { useEffect, useRef } from 'react';
import { sessionPath } from '../api/api';
import { useApi, useHas, useLoad } from '../api/context';

/** By turn: whether it is kept how the workspace was before it, and after. */
export type Kept = ReadonlyMap<string, { before: boolean; after: boolean }>;

interface CheckpointView {
  turn_id: string;
  moment: 'before' | 'after';
  /** Why there is nothing to go back to. */
  failure?: string | null;
}

const nothing: Kept = new Map();
const PAGES_MAX = 20;

/** The turns, read again when `mark` changes. Nothing where the server, or the session, keeps none. */
export function useCheckpoints(sessionId: string, mark: string): Kept {
  const api = useApi();
  const has = useHas('get', '/api/v1/sessions/{session_id}/checkpoints') === true;
  const read = useLoad(
    async (signal) => {
      const kept = new Map<string, { before: boolean; after: boolean }>();
      if (!has) return kept;
      let cursor: string | null = null;
      for (let page = 0; page < PAGES_MAX; page += 1) {
        const answer: { data: CheckpointView[]; next_cursor: string | null } = await api.list(
          sessionPath(sessionId, 'checkpoints'),
          { limit: 200, cursor },
          signal,
        );
        for (const { turn_id, moment, failure } of answer.data) {
          const known = kept.get(turn_id) ?? { before: false, after: false };
          kept.set(turn_id, { ...known, [moment]: failure == null });
        }
        cursor = answer.next_cursor;
        if (cursor === null) break;
      }
      return kept;
    },
    [api, sessionId, has],
  );
  useReloadOn(mark, read.reload);
  return read.data ?? nothing;
}

/** Reads again when a mark changes, and keeps what was read until then. */
function useReloadOn(mark: string, reload: () => void): void {
  const seen = useRef(mark);
  useEffect(() => {
    if (seen.current === mark) return;
    seen.current = mark;
    reload();
  }, [mark, reload]);
}
