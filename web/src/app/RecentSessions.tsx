/** The sessions that were used last, with how they stand. */

import type { ReactNode } from 'react';
import { useApi, useChange, useLoad, usePoll } from '../api/context';
import type { SessionView } from '../api/types';
import { useT } from '../i18n';
import { useInbox } from './inbox';
import { Link, href, usePath } from './router';

const SHOWN = 12;
const EVERY_MS = 10_000;

/** A short list in the sidebar. */
export function RecentSessions(): ReactNode {
  const t = useT();
  const api = useApi();
  const path = usePath();
  const { sessions: asking } = useInbox();
  const read = useLoad((signal) => api.list<SessionView>('/api/v1/sessions', { limit: SHOWN }, signal), [api]);
  usePoll(read.refresh, EVERY_MS);
  useChange(read.reload);
  const sessions = read.data?.data ?? [];
  if (sessions.length === 0) return <div className="sidebar-space" />;
  return (
    <nav className="recent" aria-label={t('app.recent')}>
      <h2 className="recent-head">{t('app.recent')}</h2>
      <ul>
        {sessions.map((session) => {
          const to = href('sessions', session.session_id);
          const state = asking.has(session.session_id) ? 'asking' : session.busy ? 'busy' : 'idle';
          return (
            <li key={session.session_id}>
              <Link
                to={to}
                className="recent-link"
                aria-current={path === to || path.startsWith(`${to}/`) ? 'page' : undefined}
              >
                <span className={`light light-${state}`} aria-hidden="true" />
                <span className="recent-title">{session.title ?? t('session.untitled')}</span>
                {state !== 'idle' && <span className="sr-only">({t(`session.state.${state}`)})</span>}
              </Link>
            </li>
          );
        })}
      </ul>
    </nav>
  );
}
