/** A session's conversation, from its first prompt to what is being said now. */

import type { ReactNode } from 'react';
import { useEffect, useMemo, useRef, useState } from 'react';
import { tellChange, useHas } from '../api/context';
import { href } from '../app/router';
import { useT } from '../i18n';
import { ForkDialog } from '../session/ForkDialog';
import { RewindDialog } from '../session/RewindDialog';
import { useSession } from '../session/SessionContext';
import { Button, EmptyState, ErrorNote, Icon, Loading } from '../ui';
import type { Actions } from './actions';
import { ActionsProvider } from './actions';
import { Announcer } from './Announcer';
import { useCheckpoints } from './checkpoints';
import { Composer } from './Composer';
import type { Turn } from './model';
import { openAsks, runningTurn } from './model';
import { Queue } from './Queue';
import { useConversation } from './store';
import { partsInside } from './toolText';
import { Transcript } from './Transcript';
import './conversation.css';

/** The conversation of the SessionProvider's session. `turn` is one that is to be looked at first. */
export function ConversationView(props: { turn?: string | undefined }): ReactNode {
  const t = useT();
  const { session, reload, readOnly, shared } = useSession();
  const { conversation, state, error, store } = useConversation(session.session_id);
  const canRewind = useHas('post', '/api/v1/sessions/{session_id}/turns/{turn_id}/rewind') === true;
  const hasFiles = useHas('get', '/api/v1/sessions/{session_id}/files') === true;
  const [forking, setForking] = useState<Turn | null>(null);
  const [rewinding, setRewinding] = useState<Turn | null>(null);
  const [jump, setJump] = useState(0);
  const running = runningTurn(conversation);
  const kept = useCheckpoints(session.session_id, running?.id ?? '');
  const asks = running === null ? 0 : openAsks(running).length;

  // The session's own view changes with its turns, and with what the log tells of it.
  const mark = `${running?.id ?? ''} ${conversation.updates} ${asks}`;
  const seen = useRef<string | null>(null);
  const ready = state !== 'reading';
  useEffect(() => {
    if (!ready) return;
    if (seen.current !== null && seen.current !== mark) {
      reload();
      tellChange();
    }
    seen.current = mark;
  }, [ready, mark, reload]);

  const actions = useMemo<Actions>(() => {
    if (shared) return {};
    const fileLink = (path: string): string | null => {
      const parts = hasFiles ? partsInside(path, session.cwd) : null;
      return parts === null ? null : href('sessions', session.session_id, 'files', ...parts);
    };
    const rewind = canRewind && !readOnly ? { rewind: setRewinding } : {};
    return { fork: setForking, kept, fileLink, ...rewind };
  }, [shared, readOnly, canRewind, kept, hasFiles, session.cwd, session.session_id]);

  const empty = conversation.entries.length === 0;
  return (
    <ActionsProvider value={actions}>
      <div className="conversation">
        {empty && state === 'reading' ? (
          <Loading />
        ) : empty && state !== 'failed' ? (
          <div className="conversation-empty">
            <EmptyState
              icon="chat"
              title={t('conversation.empty')}
              hint={readOnly ? t('conversation.emptyClosed') : t('conversation.emptyHint')}
            />
          </div>
        ) : (
          <Transcript key={session.session_id} conversation={conversation} target={props.turn ?? null} jump={jump} />
        )}
        <Announcer conversation={conversation} ready={ready} />
        <div className="conversation-foot">
          {state === 'waiting' && (
            <p className="connection" role="status">
              <Icon name="refresh" size={15} />
              {t('conversation.reconnecting')}
            </p>
          )}
          {state === 'failed' && (
            <div className="composer-error">
              <ErrorNote error={error} onRetry={store.retry} />
            </div>
          )}
          <Queue queue={conversation.queue} />
          {readOnly ? (
            !shared && <ClosedNote />
          ) : (
            <Composer
              key={session.session_id}
              running={running?.id ?? null}
              onSubmitted={(turn) => {
                store.submitted(turn);
                setJump((old) => old + 1);
              }}
            />
          )}
        </div>
      </div>
      {forking && (
        <ForkDialog
          turn={forking}
          kept={kept.get(forking.id)?.before === true}
          conversation={conversation}
          onClose={() => setForking(null)}
        />
      )}
      {rewinding && <RewindDialog turn={rewinding} onClose={() => setRewinding(null)} />}
    </ActionsProvider>
  );
}

function ClosedNote(): ReactNode {
  const t = useT();
  const { session } = useSession();
  const [fork, setFork] = useState(false);
  const text =
    session.status === 'active'
      ? t('session.readerHint')
      : session.status === 'closed'
        ? t('session.closedHint')
        : t('session.expiredHint');
  return (
    <div className="note closed-note">
      <Icon name="info" />
      <div className="note-body">{text}</div>
      {session.status !== 'active' && (
        <Button small icon="fork" onClick={() => setFork(true)}>
          {t('session.fork')}
        </Button>
      )}
      {fork && <ForkDialog turn={null} kept={false} conversation={null} onClose={() => setFork(false)} />}
    </div>
  );
}
