/** The head of a session: its name, whose it is, how it stands, and what can be done with it. */

import type { ReactNode } from 'react';
import { Suspense, lazy, useEffect, useRef, useState } from 'react';
import { sessionPath } from '../api/api';
import { useApi, useHas } from '../api/context';
import type { SessionView } from '../api/types';
import { useMe } from '../app/auth';
import { href, navigate } from '../app/router';
import { useFormat, useT } from '../i18n';
import { Field, FormDialog, Icon, Menu, useToast } from '../ui';
import { DetailsDialog } from './DetailsDialog';
import { ForkDialog } from './ForkDialog';
import { useSession } from './SessionContext';
import { StateBadge } from './StateBadge';

const ShareDialog = lazy(async () => ({ default: (await import('../pages/shared/ShareDialog')).ShareDialog }));

type Open = 'rename' | 'close' | 'fork' | 'share' | 'details' | null;

/** The head. */
export function SessionHead(): ReactNode {
  const t = useT();
  const me = useMe();
  const { session, readOnly } = useSession();
  const hasShares = useHas('post', '/api/v1/sessions/{session_id}/shares') === true;
  const [open, setOpen] = useState<Open>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  const title = session.title ?? t('session.untitled');
  const mayWrite = me.role !== 'reader' && me.role !== 'guest';
  useEffect(() => {
    // On the conversation the field for prompts has it.
    if (document.body.dataset.navigated && document.activeElement === document.body)
      heading.current?.focus({ preventScroll: true });
  }, []);
  return (
    <header className="session-head">
      <div className="session-title">
        <h1 ref={heading} tabIndex={-1} title={title}>
          {title}
        </h1>
        <p className="session-facts">
          <span className="fact">
            <Icon name="user" size={13} />
            {session.user_id}
          </span>
          {session.subdir && (
            <span className="fact mono">
              <Icon name="folder" size={13} />
              {session.subdir}
            </span>
          )}
          {session.agent_live && session.status === 'active' && (
            <span className="fact fact-live">
              <span className="light light-live" aria-hidden="true" />
              {t('session.live')}
            </span>
          )}
        </p>
      </div>
      <StateBadge session={session} />
      <Menu
        label={t('common.moreActions')}
        items={[
          !readOnly && { label: t('session.rename'), icon: 'edit', onSelect: () => setOpen('rename') },
          mayWrite && { label: t('session.fork'), icon: 'fork', onSelect: () => setOpen('fork') },
          mayWrite && hasShares && { label: t('session.share'), icon: 'share', onSelect: () => setOpen('share') },
          { label: t('session.details'), icon: 'info', onSelect: () => setOpen('details') },
          !readOnly && '-',
          !readOnly && { label: t('session.close'), icon: 'close', danger: true, onSelect: () => setOpen('close') },
        ]}
      />
      {open === 'rename' && <RenameDialog onClose={() => setOpen(null)} />}
      {open === 'close' && <CloseDialog onClose={() => setOpen(null)} />}
      {open === 'fork' && <ForkDialog turn={null} kept={false} conversation={null} onClose={() => setOpen(null)} />}
      {open === 'share' && (
        <Suspense>
          <ShareDialog onClose={() => setOpen(null)} />
        </Suspense>
      )}
      {open === 'details' && <DetailsDialog onClose={() => setOpen(null)} />}
    </header>
  );
}

function RenameDialog(props: { onClose: () => void }): ReactNode {
  const t = useT();
  const api = useApi();
  const { session, setSession } = useSession();
  const [title, setTitle] = useState(session.title ?? '');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const submit = async (): Promise<void> => {
    setBusy(true);
    try {
      setSession(
        await api.patch<SessionView>(sessionPath(session.session_id), {
          title: title.trim() === '' ? null : title.trim(),
        }),
      );
      props.onClose();
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return (
    <FormDialog
      title={t('session.rename')}
      submit={t('common.save')}
      onClose={props.onClose}
      onSubmit={() => void submit()}
      busy={busy}
      error={error}
    >
      <Field
        label={t('session.titleLabel')}
        value={title}
        autoFocus
        onChange={(event) => setTitle(event.target.value)}
      />
    </FormDialog>
  );
}

function CloseDialog(props: { onClose: () => void }): ReactNode {
  const t = useT();
  const api = useApi();
  const toast = useToast();
  const format = useFormat();
  const { session } = useSession();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const submit = async (): Promise<void> => {
    setBusy(true);
    try {
      await api.delete(sessionPath(session.session_id));
      props.onClose();
      toast.say(t('session.closed'));
      navigate(href('sessions'));
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return (
    <FormDialog
      title={t('session.close')}
      submit={t('session.closeSubmit')}
      danger
      onClose={props.onClose}
      onSubmit={() => void submit()}
      busy={busy}
      error={error}
    >
      <p>{t('session.closeLead')}</p>
      <p className="muted">
        {t('session.closeFacts', { at: format.dateTime(session.created_at), count: session.message_count })}
      </p>
    </FormDialog>
  );
}
