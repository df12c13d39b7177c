/** Where prompts are written. What is written is kept for each session until it is sent. */

import type { ClipboardEvent, KeyboardEvent, ReactNode } from 'react';
import { useEffect, useLayoutEffect, useRef, useState } from 'react';
import { newIdempotencyKey } from '@paddock/client/retry.js';
import { ConnectionError, sessionPath } from '../api/api';
import { useApi } from '../api/context';
import type { SessionView, TurnView } from '../api/types';
import { useFormat, useT } from '../i18n';
import { ModeMenu, ModelMenu } from '../session/SessionMenus';
import { titleOf } from '../session/options';
import { useSession } from '../session/SessionContext';
import { Button, ErrorNote, Icon } from '../ui';
import type { Chosen } from './attachments';
import { attachmentOf, readFiles } from './attachments';

interface Draft {
  text: string;
  files: Chosen[];
}

/** What is written and not sent, by session. It goes with the page. */
const drafts = new Map<string, Draft>();

/** On a touch screen Enter is the only way to a new line; the button sends. */
const touch = matchMedia('(hover: none) and (pointer: coarse)').matches;

/** The field, with what can be attached and switched below it. `running` is the turn that runs. */
export function Composer(props: { running: string | null; onSubmitted: (turn: TurnView) => void }): ReactNode {
  const t = useT();
  const format = useFormat();
  const api = useApi();
  const busy = props.running !== null;
  const { session, setSession } = useSession();
  const id = session.session_id;
  const [draft, setDraft] = useState<Draft>(() => drafts.get(id) ?? { text: '', files: [] });
  const [sending, setSending] = useState(false);
  const [stopping, setStopping] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [over, setOver] = useState(false);
  const field = useRef<HTMLTextAreaElement>(null);
  const picker = useRef<HTMLInputElement>(null);

  useEffect(() => {
    if (draft.text === '' && draft.files.length === 0) drafts.delete(id);
    else drafts.set(id, draft);
  }, [id, draft]);
  // What was to be stopped is over, and the next one may run already.
  useEffect(() => setStopping(false), [props.running]);
  useLayoutEffect(() => {
    const shown = field.current;
    if (shown === null) return;
    shown.style.height = 'auto';
    shown.style.height = `${Math.min(shown.scrollHeight + 2, 0.4 * window.innerHeight)}px`;
  }, [draft.text]);
  useEffect(() => {
    // On a touch screen that would open the keyboard over the conversation.
    if (!touch) field.current?.focus();
  }, []);

  const attach = async (files: Iterable<File>): Promise<void> => {
    try {
      const read = await readFiles(files);
      setDraft((old) => ({ ...old, files: [...old.files, ...read] }));
    } catch (problem) {
      setError(problem);
    }
  };

  // What had no answer may have been taken all the same: sent once more, it is the same request.
  const lastTry = useRef<{ draft: Draft; key: string } | null>(null);
  const keyOf = (sent: Draft): string => {
    const before = lastTry.current;
    const same =
      before !== null &&
      before.draft.text === sent.text &&
      before.draft.files.every((file, at) => file === sent.files[at]);
    const key = same && before.draft.files.length === sent.files.length ? before.key : newIdempotencyKey();
    lastTry.current = { draft: sent, key };
    return key;
  };

  const send = async (): Promise<void> => {
    const sent = draft;
    if (sent.text.trim() === '' || sending) return;
    setSending(true);
    setError(null);
    // The field is free at once; what could not be sent comes back.
    setDraft({ text: '', files: [] });
    try {
      const attachments = sent.files.length > 0 ? { attachments: sent.files.map(attachmentOf) } : {};
      const headers = { 'idempotency-key': keyOf(sent) };
      const body = { message: sent.text, on_busy: 'queue', ...attachments };
      props.onSubmitted(await api.post<TurnView>(sessionPath(id, 'turns'), body, { headers }));
      lastTry.current = null;
      // A session that has no name yet is called after its first prompt.
      const title = titleOf(sent.text);
      if (session.title === null && session.message_count === 0 && title !== '') {
        api.patch<SessionView>(sessionPath(id), { title }).then(setSession, () => {});
      }
    } catch (problem) {
      // A refusal is an answer; the same prompt may be taken later, as another request.
      if (!(problem instanceof ConnectionError)) lastTry.current = null;
      setError(problem);
      setDraft((now) => ({
        text: now.text === '' ? sent.text : `${sent.text}\n${now.text}`,
        files: [...sent.files, ...now.files],
      }));
    }
    setSending(false);
  };

  const stop = async (): Promise<void> => {
    setStopping(true);
    try {
      await api.post(sessionPath(id, 'interrupt'));
    } catch (problem) {
      setError(problem);
      setStopping(false);
    }
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    // While characters are being composed, Enter takes one of them; some browsers tell that by the code alone.
    if (event.nativeEvent.isComposing || event.keyCode === 229) return;
    if (event.key === 'Enter' && !event.shiftKey && !event.altKey && !touch) {
      event.preventDefault();
      void send();
    } else if (event.key === 'Escape' && busy && !stopping) {
      event.preventDefault();
      void stop();
    }
  };

  const onPaste = (event: ClipboardEvent): void => {
    const files = [...event.clipboardData.files];
    if (files.length === 0) return;
    event.preventDefault();
    void attach(files);
  };

  return (
    <div
      className="composer-frame"
      onDragOver={(event) => {
        if (![...event.dataTransfer.types].includes('Files')) return;
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        void attach(event.dataTransfer.files);
      }}
    >
      {error !== null && (
        <div className="composer-error">
          <ErrorNote error={error} />
          <Button look="quiet" small icon="close" aria-label={t('common.close')} onClick={() => setError(null)} />
        </div>
      )}
      <form
        className={over ? 'composer composer-over' : 'composer'}
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        {draft.files.length > 0 && (
          <ul className="chips composer-files" aria-label={t('conversation.attachments')}>
            {draft.files.map((file) => (
              <li key={file.key} className="chip">
                {file.preview ? <img src={file.preview} alt="" /> : <Icon name="file" size={14} />}
                <span className="truncate">{file.name}</span>
                <span className="muted">{format.bytes(file.size)}</span>
                <button
                  type="button"
                  className="chip-remove"
                  aria-label={t('composer.remove', { name: file.name })}
                  onClick={() => setDraft((old) => ({ ...old, files: old.files.filter((other) => other !== file) }))}
                >
                  <Icon name="close" size={13} />
                </button>
              </li>
            ))}
          </ul>
        )}
        <label className="sr-only" htmlFor="composer">
          {t('composer.label')}
        </label>
        <textarea
          id="composer"
          ref={field}
          rows={1}
          value={draft.text}
          placeholder={over ? t('composer.drop') : busy ? t('composer.placeholderBusy') : t('composer.placeholder')}
          aria-describedby="composer-hint"
          enterKeyHint={touch ? 'enter' : 'send'}
          onChange={(event) => {
            const { value } = event.target;
            setDraft((old) => ({ ...old, text: value }));
          }}
          onKeyDown={onKeyDown}
          onPaste={onPaste}
        />
        <div className="composer-bar">
          <input
            ref={picker}
            type="file"
            multiple
            hidden
            onChange={(event) => {
              void attach(event.target.files ?? []);
              event.target.value = '';
            }}
          />
          <Button
            look="quiet"
            small
            icon="paperclip"
            aria-label={t('composer.attach')}
            onClick={() => picker.current?.click()}
          />
          <ModeMenu />
          <ModelMenu />
          <span id="composer-hint" className="composer-hint">
            {busy ? t('composer.hintBusy') : t('composer.hint')}
          </span>
          {busy && (
            <Button small icon="stop" busy={stopping} onClick={() => void stop()}>
              {t('composer.stop')}
            </Button>
          )}
          <Button
            type="submit"
            look="primary"
            small
            icon="send"
            disabled={draft.text.trim() === ''}
            aria-label={busy ? t('composer.queue') : t('composer.send')}
          />
        </div>
      </form>
    </div>
  );
}
