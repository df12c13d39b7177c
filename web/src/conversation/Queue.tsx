/** Prompts that wait for the turns before them. */

import type { ReactNode } from 'react';
import { useState } from 'react';
import { sessionPath } from '../api/api';
import { useApi } from '../api/context';
import { useT } from '../i18n';
import { useSession } from '../session/SessionContext';
import { Button, Icon, useToast } from '../ui';
import type { Queued } from './model';

/** The queue. Each prompt can be taken back. */
export function Queue(props: { queue: Queued[] }): ReactNode {
  const t = useT();
  if (props.queue.length === 0) return null;
  return (
    <section className="queue" aria-label={t('queue.title')}>
      <h2 className="queue-title">
        <Icon name="clock" size={14} />
        {t('queue.count', { count: props.queue.length })}
      </h2>
      <ol>
        {props.queue.map((queued) => (
          <QueuedPrompt key={queued.turnId} queued={queued} />
        ))}
      </ol>
    </section>
  );
}

function QueuedPrompt(props: { queued: Queued }): ReactNode {
  const t = useT();
  const api = useApi();
  const toast = useToast();
  const { session, readOnly } = useSession();
  const [busy, setBusy] = useState(false);
  const { turnId, prompt } = props.queued;
  const cancel = async (): Promise<void> => {
    setBusy(true);
    try {
      await api.post(sessionPath(session.session_id, 'turns', turnId, 'cancel'));
    } catch (error) {
      toast.fail(error);
      setBusy(false);
    }
  };
  return (
    <li className="queued">
      <span className="truncate">{prompt ?? '…'}</span>
      {!readOnly && (
        <Button
          look="quiet"
          small
          icon="close"
          busy={busy}
          aria-label={t('queue.cancel')}
          onClick={() => void cancel()}
        />
      )}
    </li>
  );
}
