/** Who is signed in. The key is in memory, or in this tab's storage when that is asked for. */

import type { ReactNode } from 'react';
import { createContext, useCallback, useContext, useEffect, useMemo, useRef, useState } from 'react';
import { Api, PaddockError } from '../api/api';
import { ApiProvider } from '../api/context';
import type { MeView } from '../api/types';

const STORED = 'paddock.key';

/** How the sign-in stands. */
export type Auth =
  { state: 'checking' } | { state: 'out'; reason: string | null } | { state: 'in'; me: MeView; api: Api };

interface Door {
  auth: Auth;
  /** Tries a key; throws what the server answers. */
  signIn: (key: string, keep: boolean) => Promise<void>;
  signOut: () => void;
}

const DoorContext = createContext<Door | null>(null);

/** The sign-in, and how to change it. */
export function useDoor(): Door {
  const door = useContext(DoorContext);
  if (door === null) throw new Error('there is no AuthProvider');
  return door;
}

/** The caller. */
export function useMe(): MeView {
  const { auth } = useDoor();
  if (auth.state !== 'in') throw new Error('nobody is signed in');
  return auth.me;
}

/** Keeps the sign-in for what is inside. */
export function AuthProvider(props: { children: ReactNode }): ReactNode {
  const [auth, setAuth] = useState<Auth>({ state: 'checking' });
  const current = useRef<Api | null>(null);

  const leave = useCallback((reason: string | null): void => {
    current.current = null;
    store(null);
    setAuth({ state: 'out', reason });
  }, []);

  const enter = useCallback(
    async (key: string | undefined, keep: boolean): Promise<void> => {
      let checked = false;
      // A request of a key that was left meanwhile signs nobody out.
      const api: Api = new Api(key, (error) => {
        if (checked && current.current === api) leave(error.detail ?? error.title);
      });
      const me = await api.get<MeView>('/api/v1/me');
      checked = true;
      current.current = api;
      if (key !== undefined) store(keep ? key : null);
      setAuth({ state: 'in', me, api });
    },
    [leave],
  );

  useEffect(() => {
    // Without a key too: a server on loopback may ask for none.
    const stored = readStored();
    enter(stored ?? undefined, true).catch((error: unknown) => {
      const refused = error instanceof PaddockError && error.status === 401;
      leave(stored !== null && refused ? (error.detail ?? error.title) : refused ? null : String(error));
    });
  }, [enter, leave]);

  const door = useMemo<Door>(
    () => ({ auth, signIn: (key, keep) => enter(key, keep), signOut: () => leave(null) }),
    [auth, enter, leave],
  );
  return (
    <DoorContext.Provider value={door}>
      {auth.state === 'in' ? <ApiProvider value={auth.api}>{props.children}</ApiProvider> : props.children}
    </DoorContext.Provider>
  );
}

function readStored(): string | null {
  try {
    return sessionStorage.getItem(STORED);
  } catch {
    return null;
  }
}

function store(key: string | null): void {
  try {
    if (key === null) sessionStorage.removeItem(STORED);
    else sessionStorage.setItem(STORED, key);
  } catch {
    // The key is then in memory alone.
  }
}
