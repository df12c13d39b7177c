/** A session that was shared, for whoever has the link. It is read with the link's token, and cannot be changed. */

import type { ComponentType, ReactNode } from 'react';
import { Suspense, lazy, useMemo, useState } from 'react';
import { Api, PaddockError, path, sessionPath } from '../../api/api';
import { ApiProvider, useApi, useLoad } from '../../api/context';
import type { MeView, SessionView } from '../../api/types';
import { Preferences } from '../../app/Preferences';
import { useFormat, useT } from '../../i18n';
import type { PageProps } from '../../routes';
import type { SessionHere } from '../../session/SessionContext';
import { SessionProvider } from '../../session/SessionContext';
import { Badge, EmptyState, ErrorNote, Loading, Tabs } from '../../ui';
import { FilesBrowser } from '../files/FilesBrowser';
import './shared.css';

const Conversation = lazy<ComponentType<PageProps>>(() => import('../conversation/ConversationPage'));

/** The page. */
export default function SharedPage(props: PageProps): ReactNode {
  const token = props.params.token ?? '';
  const api = useMemo(() => new Api(token), [token]);
  return (
    <ApiProvider value={api}>
      <Shared />
    </ApiProvider>
  );
}

function Shared(): ReactNode {
  const t = useT();
  const api = useApi();
  const [part, setPart] = useState<'conversation' | 'files'>('conversation');
  const [chosen, setChosen] = useState('');
  const read = useLoad(
    async (signal) => {
      const me = await api.get<MeView>(path('me'), undefined, signal);
      if (me.role !== 'guest' || !me.session_id) throw new Error(t('shared.noShare'));
      const id = me.session_id;
      const session = await api.get<SessionView>(sessionPath(id), undefined, signal);
      // A share may be of the conversation alone; the server knows.
      const files = await api.get(sessionPath(id, 'files'), { limit: 1 }, signal).then(
        () => true,
        () => false,
      );
      return { session, files };
    },
    [api],
  );
  const { data, reload } = read;
  const here = useMemo<SessionHere | null>(
    () => (data === undefined ? null : { session: data.session, reload, setSession: () => {}, readOnly: true, shared: true }),
    [data, reload],
  );
  if (here === null || data === undefined) {
    if (read.error === undefined) return <Loading />;
    const refused = read.error instanceof PaddockError && (read.error.status === 401 || read.error.status === 403 || read.error.status === 404);
    return (
      <main className="shared">
        {refused ? <EmptyState icon="share" title={t('shared.over')} hint={t('shared.overHint')} /> : <ErrorNote error={read.error} onRetry={reload} />}
      </main>
    );
  }
  const conversation = (
    <Suspense fallback={<Loading />}>
      <Conversation params={{ session: here.session.session_id }} />
    </Suspense>
  );
  return (
    <SessionProvider value={here}>
      <div className="shared">
        <SharedHead session={here.session} />
        <main className="shared-main">
          {data.files ? (
            <Tabs
              label={t('session.parts')}
              current={part}
              onChange={setPart}
              tabs={[
                { id: 'conversation', label: t('session.conversation') },
                { id: 'files', label: t('session.files') },
              ]}
            >
              {part === 'files' ? <FilesBrowser path={chosen} onOpen={setChosen} /> : conversation}
            </Tabs>
          ) : (
            conversation
          )}
        </main>
      </div>
    </SessionProvider>
  );
}

function SharedHead(props: { session: SessionView }): ReactNode {
  const t = useT();
  const format = useFormat();
  const { session } = props;
  const title = session.title ?? t('session.untitled');
  document.title = `${title} · Paddock`;
  return (
    <header className="shared-head">
      <img src={`${import.meta.env.BASE_URL}icon.svg`} alt="" width={24} height={24} />
      <div className="shared-title">
        <h1>{title}</h1>
        <p className="muted">{format.dateTime(session.created_at)}</p>
      </div>
      <Badge icon="eye">{t('shared.readOnly')}</Badge>
      <Preferences />
    </header>
  );
}
