/** The frame of a session's pages: its name, how it stands, its tabs and what can be done with it. */

import type { ReactNode } from 'react';
import { useEffect, useMemo } from 'react';
import { PaddockError } from '../api/api';
import { sessionPath } from '../api/api';
import { useApi, useLoad, usePoll } from '../api/context';
import type { SessionView } from '../api/types';
import { useMe } from '../app/auth';
import { href, usePath } from '../app/router';
import { setTitle } from '../app/title';
import { useT } from '../i18n';
import { ButtonLink, EmptyState, ErrorNote, Loading, TabLinks } from '../ui';
import { SessionHead } from './SessionHead';
import type { SessionHere } from './SessionContext';
import { SessionProvider } from './SessionContext';

/** Reads the session of the address and shows a page of it. */
export function SessionFrame(props: { id: string; children: ReactNode }): ReactNode {
  const t = useT();
  const api = useApi();
  const me = useMe();
  const path = usePath();
  const { id } = props;
  const read = useLoad((signal) => api.get<SessionView>(sessionPath(id), undefined, signal), [api, id]);
  usePoll(read.refresh, 15_000, read.data?.status === 'active');
  const title = read.data?.title ?? t('session.untitled');
  useEffect(() => {
    setTitle(title);
  }, [title]);
  const here = useMemo<SessionHere | null>(() => {
    if (read.data === undefined) return null;
    const readOnly = me.role === 'reader' || me.role === 'guest' || read.data.status !== 'active';
    return { session: read.data, reload: read.reload, setSession: read.setData, readOnly, shared: false };
  }, [read.data, read.reload, read.setData, me.role]);
  if (here === null) {
    if (read.error instanceof PaddockError && read.error.status === 404) {
      return (
        <EmptyState icon="chat" title={t('session.notFound')} hint={t('app.notFoundHint')}>
          <ButtonLink to="/sessions">{t('app.backToSessions')}</ButtonLink>
        </EmptyState>
      );
    }
    return read.error === undefined ? <Loading /> : <ErrorNote error={read.error} onRetry={read.reload} />;
  }
  const base = href('sessions', id);
  const tab = (to: string, label: string, current: boolean) => ({ to, label, current });
  const part = path.split('/')[3];
  return (
    <SessionProvider value={here}>
      <div className="session">
        <SessionHead />
        <TabLinks
          label={t('session.parts')}
          tabs={[
            tab(base, t('session.conversation'), part === undefined || (part === 'turns' && !path.endsWith('/diff'))),
            tab(`${base}/files`, t('session.files'), part === 'files'),
            tab(`${base}/changes`, t('session.changes'), part === 'changes' || path.endsWith('/diff')),
            tab(`${base}/log`, t('session.log'), part === 'log'),
          ]}
        />
        <div className="session-body">{props.children}</div>
      </div>
    </SessionProvider>
  );
}
