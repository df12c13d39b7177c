/** The head of a session: its name, whose it is, how it stands, and what can be done with it. */

import type { ReactNode } from 'react';
import { useT } from '../i18n';
import { useSession } from './SessionContext';

/** The head. */
export function SessionHead(): ReactNode {
  const t = useT();
  const { session } = useSession();
  return (
    <header className="session-head">
      <h1 tabIndex={-1}>{session.title ?? t('session.untitled')}</h1>
    </header>
  );
}
