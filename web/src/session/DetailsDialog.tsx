/** All that is known of a session. */

import type { ReactNode } from 'react';
import { PaddockError, sessionPath } from '../api/api';
import { useApi, useLoad } from '../api/context';
import { useFormat, useT } from '../i18n';
import { CopyButton, Dialog } from '../ui';
import { useSession } from './SessionContext';

interface ContextView {
  total_tokens: number;
  max_tokens: number;
  categories: { name: string; tokens: number }[];
}

/** The dialog. */
export function DetailsDialog(props: { onClose: () => void }): ReactNode {
  const t = useT();
  const api = useApi();
  const format = useFormat();
  const { session } = useSession();
  // The agent tells; where none lives, nothing is known.
  const asked = useLoad(
    (signal) =>
      session.agent_live
        ? api
            .get<ContextView>(sessionPath(session.session_id, 'context'), undefined, signal)
            .catch((error: unknown) => {
              if (error instanceof PaddockError) return null;
              throw error;
            })
        : Promise.resolve(null),
    [api, session.session_id, session.agent_live],
  );
  const context = asked.data ?? null;
  const fact = (label: string, value: ReactNode): ReactNode => (
    <div>
      <dt>{label}</dt>
      <dd>{value}</dd>
    </div>
  );
  const metadata = Object.keys(session.metadata).length > 0;
  return (
    <Dialog title={t('session.details')} onClose={props.onClose} wide>
      <div className="dialog-body">
        <dl className="facts">
          {fact(
            t('session.id'),
            <span className="row">
              <code>{session.session_id}</code>
              <CopyButton text={session.session_id} />
            </span>,
          )}
          {fact(t('session.user'), session.user_id)}
          {fact(t('session.cwd'), <code>{session.cwd}</code>)}
          {fact(t('session.created'), format.dateTime(session.created_at))}
          {fact(t('session.lastActive'), format.dateTime(session.last_active_at))}
          {session.expires_at &&
            session.status === 'active' &&
            fact(t('session.expires'), format.dateTime(session.expires_at))}
          {session.closed_at && fact(t('session.closedAt'), format.dateTime(session.closed_at))}
          {fact(t('session.prompts'), format.number(session.message_count))}
          {context &&
            fact(
              t('session.context'),
              <>
                <meter
                  min={0}
                  max={context.max_tokens}
                  value={context.total_tokens}
                  aria-label={t('session.context')}
                />{' '}
                {t('session.contextOf', {
                  used: format.compact(context.total_tokens),
                  most: format.compact(context.max_tokens),
                })}
              </>,
            )}
        </dl>
        {metadata && (
          <section>
            <h3>{t('session.metadata')}</h3>
            <pre className="input-code">{JSON.stringify(session.metadata, null, 2)}</pre>
          </section>
        )}
        <section>
          <h3>{t('session.options')}</h3>
          <pre className="input-code">{JSON.stringify(session.options, null, 2)}</pre>
        </section>
      </div>
    </Dialog>
  );
}
