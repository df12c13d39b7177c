/** The session that a page is about. */

import type { ReactNode } from 'react';
import { createContext, useContext } from 'react';
import type { SessionView } from '../api/types';

/** The session, and what pages of it need to know. */
export interface SessionHere {
  session: SessionView;
  /** Reads it again. */
  reload: () => void;
  /** Puts a newer view in its place. */
  setSession: (session: SessionView) => void;
  /** Whether nothing can be changed: a guest, a reader, or a session that is closed. */
  readOnly: boolean;
  /** Whether it is looked at with a share; links to what guests cannot read are left out. */
  shared: boolean;
}

const SessionContext = createContext<SessionHere | null>(null);

/** Gives a session to what is inside. */
export function SessionProvider(props: { value: SessionHere; children: ReactNode }): ReactNode {
  return <SessionContext.Provider value={props.value}>{props.children}</SessionContext.Provider>;
}

/** The session that this page is about. */
export function useSession(): SessionHere {
  const here = useContext(SessionContext);
  if (here === null) throw new Error('this page is not in a session');
  return here;
}
