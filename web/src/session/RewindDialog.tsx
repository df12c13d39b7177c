/** Going back to before a turn: its files, the conversation, or both. */

import type { ReactNode } from 'react';
import { useState } from 'react';
import { sessionPath } from '../api/api';
import { useApi } from '../api/context';
import type { SessionView } from '../api/types';
import type { Turn } from '../conversation/model';
import { useT } from '../i18n';
import { Checkbox, FormDialog, useToast } from '../ui';
import { useSession } from './SessionContext';

/** The dialog. */
export function RewindDialog(props: { turn: Turn; onClose: () => void }): ReactNode {
  const t = useT();
  const api = useApi();
  const toast = useToast();
  const { session, setSession } = useSession();
  const [files, setFiles] = useState(true);
  const [conversation, setConversation] = useState(true);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const submit = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      setSession(
        await api.post<SessionView>(sessionPath(session.session_id, 'turns', props.turn.id, 'rewind'), {
          files,
          conversation,
        }),
      );
      toast.say(t('rewind.done'));
      props.onClose();
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return (
    <FormDialog
      title={t('rewind.title')}
      submit={t('rewind.submit')}
      danger
      onClose={props.onClose}
      onSubmit={() => void submit()}
      busy={busy}
      disabled={!files && !conversation}
      error={error}
    >
      <p>{t('rewind.lead')}</p>
      <blockquote className="rewind-prompt">{props.turn.prompt.slice(0, 300)}</blockquote>
      <Checkbox
        label={t('rewind.files')}
        hint={t('rewind.filesHint')}
        checked={files}
        onChange={(event) => setFiles(event.target.checked)}
      />
      <Checkbox
        label={t('rewind.conversation')}
        hint={t('rewind.conversationHint')}
        checked={conversation}
        onChange={(event) => setConversation(event.target.checked)}
      />
    </FormDialog>
  );
}
