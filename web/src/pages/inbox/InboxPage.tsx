/** What agents ask, over all sessions; oldest first. */

import type { ReactNode } from 'react';
import { useEffect, useState } from 'react';
import { sessionPath } from '../../api/api';
import { useApi, useLoad } from '../../api/context';
import type { JsonObject, PermissionView, SessionView } from '../../api/types';
import { useInbox } from '../../app/inbox';
import { useMe } from '../../app/auth';
import { Link, href } from '../../app/router';
import { Question } from '../../conversation/PermissionCard';
import { toolIcon, toolLabel } from '../../conversation/toolText';
import { useFormat, useT } from '../../i18n';
import { EmptyState, ErrorNote, Icon, Loading, Page } from '../../ui';
import '../../conversation/conversation.css';
import './inbox.css';

/** The page. */
export default function InboxPage(): ReactNode {
  const t = useT();
  const me = useMe();
  const inbox = useInbox();
  // What was answered here goes at once, not when the inbox is next read.
  const [answered, setAnswered] = useState<ReadonlySet<string>>(new Set());
  useEffect(() => setAnswered(new Set()), []);
  const waiting = inbox.waiting.filter((question) => !answered.has(question.permission_id));
  const readOnly = me.role === 'reader' || me.role === 'guest';
  return (
    <Page title={t('inbox.title')} lead={t('inbox.lead')}>
      <ErrorNote error={inbox.error} onRetry={inbox.reload} />
      {inbox.loading ? (
        <Loading />
      ) : waiting.length === 0 ? (
        <EmptyState icon="inbox" title={t('inbox.empty')} hint={t('inbox.emptyHint')} />
      ) : (
        <ul className="inbox" aria-label={t('inbox.title')}>
          {waiting.map((question) => (
            <li key={question.permission_id}>
              <Waiting
                question={question}
                readOnly={readOnly}
                onAnswered={() => {
                  setAnswered((old) => new Set(old).add(question.permission_id));
                  inbox.reload();
                }}
              />
            </li>
          ))}
        </ul>
      )}
      {inbox.more && <p className="muted">{t('inbox.more')}</p>}
    </Page>
  );
}

function Waiting(props: { question: PermissionView; readOnly: boolean; onAnswered: () => void }): ReactNode {
  const t = useT();
  const api = useApi();
  const format = useFormat();
  const { question } = props;
  const session = useLoad(
    (signal) => api.get<SessionView>(sessionPath(question.session_id), undefined, signal),
    [api, question.session_id],
  ).data;
  // What a plan says stands in the call that proposes it.
  const input = useLoad(
    async (signal) => {
      if (question.kind !== 'plan' || question.tool_input.plan !== undefined) return null;
      const query = { turn: question.turn_id, types: 'tool_use', limit: 200 };
      const page = await api.list<{ tool_use_id: string; tool_input: JsonObject }>(
        sessionPath(question.session_id, 'events'),
        query,
        signal,
      );
      return page.data.find((call) => call.tool_use_id === question.tool_use_id)?.tool_input ?? null;
    },
    [api, question.permission_id],
  ).data;
  const to = href('sessions', question.session_id, 'turns', question.turn_id);
  return (
    <article className="card inbox-card" aria-label={toolLabel(question.tool_name)}>
      <header className="inbox-head">
        <Icon name={toolIcon(question.tool_name)} size={16} />
        <Link to={to} className="inbox-session">
          {session?.title ?? t('session.untitled')}
        </Link>
        <span className="muted">{question.user_id}</span>
        <time dateTime={question.created_at} title={format.dateTime(question.created_at)} className="muted">
          {format.relative(question.created_at)}
        </time>
      </header>
      <Question
        input={input ?? undefined}
        cwd={session?.cwd ?? ''}
        request={question}
        resolution={null}
        over={false}
        readOnly={props.readOnly}
        onAnswered={props.onAnswered}
      />
    </article>
  );
}
