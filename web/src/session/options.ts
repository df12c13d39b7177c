/** What a session can be told to do, as the console offers it. */

import type { Api } from '../api/api';
import { useApi, useLoad } from '../api/context';
import type { ModelView, SessionView } from '../api/types';

/** What tools may do without asking, from careful to bold. */
export const modes = ['plan', 'default', 'acceptEdits', 'auto', 'dontAsk', 'bypassPermissions'] as const;

/** One of them. */
export type Mode = (typeof modes)[number];

/** Asking for the models starts a CLI, so they are asked for once. */
const known = new WeakMap<Api, Promise<ModelView[]>>();

/** The models that the server offers; empty until they are known. */
export function useModels(): ModelView[] {
  const api = useApi();
  const read = async (): Promise<ModelView[]> => {
    const asked = known.get(api) ?? api.get<{ data: ModelView[] }>('/api/v1/models').then((answer) => answer.data);
    known.set(api, asked);
    try {
      return await asked;
    } catch (error) {
      known.delete(api);
      throw error;
    }
  };
  return useLoad(read, [api]).data ?? [];
}

/** How a session stands, in a word. */
export type SessionState = 'asking' | 'busy' | 'idle' | 'closed' | 'expired';

/** That word. `asking` are the sessions whose agents wait for an answer. */
export function stateOf(session: SessionView, asking: Set<string>): SessionState {
  if (session.status !== 'active') return session.status;
  if (asking.has(session.session_id)) return 'asking';
  return session.busy ? 'busy' : 'idle';
}

/** A title made of a prompt: the beginning of its first line. */
export function titleOf(prompt: string): string {
  const line =
    prompt
      .trim()
      .split('\n')[0]
      ?.replace(/^[#>%*\-\s]+/, '')
      .trim() ?? '';
  return line.length > 64 ? `${line.slice(0, 63).trimEnd()}…` : line;
}
