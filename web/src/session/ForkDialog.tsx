/** Making a session that goes on from where this one is, or was. */

import type { ReactNode } from 'react';
import { useState } from 'react';
import { sessionPath } from '../api/api';
import { useApi } from '../api/context';
import type { ForkSessionRequest, SessionView } from '../api/types';
import { href, navigate } from '../app/router';
import type { Conversation, Turn } from '../conversation/model';
import { useT } from '../i18n';
import { Checkbox, Field, FormDialog, Select } from '../ui';
import { useSession } from './SessionContext';

type Point = 'after' | 'before' | 'before-files';

/**
 * The dialog. With a turn the fork ends there; without, it has the whole conversation. `kept` is whether it is known how
 * the files were before that turn.
 */
export function ForkDialog(props: {
  turn: Turn | null;
  kept: boolean;
  conversation: Conversation | null;
  onClose: () => void;
}): ReactNode {
  const t = useT();
  const api = useApi();
  const { session } = useSession();
  const { turn } = props;
  const earlier = turn === null ? null : turnBefore(props.conversation, turn);
  const [point, setPoint] = useState<Point>('after');
  const [title, setTitle] = useState(
    t('fork.titleOf', { title: session.title ?? t('session.untitled') }).slice(0, 200),
  );
  const [copy, setCopy] = useState(false);
  const [subdir, setSubdir] = useState(`fork-${Date.now().toString(36)}`);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);

  const points: { value: Point; label: string }[] = [{ value: 'after', label: t('fork.after') }];
  if (earlier !== null) points.push({ value: 'before', label: t('fork.before') });
  if (props.kept && turn !== null) points.push({ value: 'before-files', label: t('fork.beforeFiles') });
  const withFiles = copy || point === 'before-files';

  const submit = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    const request: ForkSessionRequest = {};
    if (title.trim() !== '') request.title = title.trim();
    if (withFiles) Object.assign(request, { subdir: subdir.trim(), copy_workspace: true });
    if (point === 'before-files' && turn !== null) request.turn_id = turn.id;
    else if (point === 'before' && earlier !== null) request.message_id = earlier.lastMessageId;
    else if (turn !== null) request.message_id = turn.lastMessageId;
    try {
      const made = await api.post<SessionView>(sessionPath(session.session_id, 'fork'), request);
      props.onClose();
      navigate(href('sessions', made.session_id));
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };

  return (
    <FormDialog
      title={t('fork.title')}
      submit={t('fork.submit')}
      onClose={props.onClose}
      onSubmit={() => void submit()}
      busy={busy}
      error={error}
    >
      <p className="muted">{t('fork.lead')}</p>
      <Field
        label={t('session.titleLabel')}
        value={title}
        maxLength={200}
        onChange={(event) => setTitle(event.target.value)}
      />
      {turn !== null && points.length > 1 && (
        <Select
          label={t('fork.point')}
          options={points}
          value={point}
          onChange={(event) => setPoint(event.target.value as Point)}
        />
      )}
      <Checkbox
        label={t('fork.copy')}
        hint={t('fork.copyHint')}
        checked={withFiles}
        disabled={point === 'before-files'}
        onChange={(event) => setCopy(event.target.checked)}
      />
      {withFiles && (
        <Field
          label={t('session.subdir')}
          hint={t('fork.subdirHint')}
          value={subdir}
          onChange={(event) => setSubdir(event.target.value)}
          className="mono"
        />
      )}
    </FormDialog>
  );
}

function turnBefore(conversation: Conversation | null, turn: Turn): Turn | null {
  const turns = (conversation?.entries ?? []).filter((entry) => entry.type === 'turn');
  const at = turns.findIndex((other) => other.id === turn.id);
  return turns[at - 1] ?? null;
}
