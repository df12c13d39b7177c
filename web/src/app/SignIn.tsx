/** Signing in with an API key. The address stays, so that one goes on where one was going. */

import type { FormEvent, ReactNode } from 'react';
import { useEffect, useRef, useState } from 'react';
import { PaddockError } from '../api/api';
import { useT } from '../i18n';
import { Button, Checkbox, ErrorNote, Field, Icon } from '../ui';
import { useDoor } from './auth';
import { Preferences } from './Preferences';
import { setTitle } from './title';

/** The page that asks for a key. */
export function SignIn(props: { reason: string | null }): ReactNode {
  const t = useT();
  const { signIn } = useDoor();
  const [key, setKey] = useState('');
  const [keep, setKeep] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => {
    setTitle(t('signIn.title'));
    form.current?.querySelector('input')?.focus();
  }, [t]);
  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    if (key.trim() === '') {
      setError('empty');
      return;
    }
    setBusy(true);
    setError(null);
    try {
      await signIn(key.trim(), keep);
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  const refused = error instanceof PaddockError && error.status === 401;
  const inField = error === 'empty' ? t('signIn.needed') : refused ? (error.detail ?? t('signIn.refused')) : null;
  return (
    <main className="sign-in">
      <form ref={form} className="sign-in-card" onSubmit={(event) => void submit(event)} noValidate>
        <div className="brand brand-large">
          <img src={`${import.meta.env.BASE_URL}icon.svg`} alt="" width={36} height={36} />
          <span>Paddock</span>
        </div>
        <div>
          <h1>{t('signIn.title')}</h1>
          <p className="muted">{t('signIn.lead')}</p>
        </div>
        {props.reason && error === null && (
          <div className="note note-attention" role="status">
            <Icon name="info" />
            <div className="note-body">{t('signIn.ended', { reason: props.reason })}</div>
          </div>
        )}
        <Field
          label={t('signIn.key')}
          type="password"
          autoComplete="current-password"
          spellCheck={false}
          value={key}
          onChange={(event) => setKey(event.target.value)}
          hint={t('signIn.keyHint')}
          error={inField}
        />
        <Checkbox
          label={t('signIn.remember')}
          hint={t('signIn.rememberHint')}
          checked={keep}
          onChange={(event) => setKeep(event.target.checked)}
        />
        {error !== null && inField === null && <ErrorNote error={error} />}
        <Button type="submit" look="primary" busy={busy} className="button-wide">
          {busy ? t('signIn.checking') : t('signIn.submit')}
        </Button>
      </form>
      <Preferences />
    </main>
  );
}
