/** What tells how things stand: badges, spinners, empty places, errors. */

import type { ReactNode } from 'react';
import { ConnectionError, PaddockError } from '../api/api';
import { useT } from '../i18n';
import { Button } from './Button';
import type { IconName } from './Icon';
import { Icon } from './Icon';

/** What a badge's colour means. */
export type Tone = 'plain' | 'neutral' | 'good' | 'busy' | 'attention' | 'bad';

/** A short word with a colour; the word says everything that the colour does. */
export function Badge(props: { tone?: Tone; icon?: IconName; dot?: boolean; children: ReactNode }): ReactNode {
  return (
    <span className={`badge badge-${props.tone ?? 'neutral'}`}>
      {props.dot && <span className="badge-dot" aria-hidden="true" />}
      {props.icon && <Icon name={props.icon} size={13} />}
      {props.children}
    </span>
  );
}

/** Something is under way. */
export function Spinner(props: { small?: boolean; label?: string }): ReactNode {
  return (
    <span className={props.small ? 'spinner spinner-small' : 'spinner'} {...(props.label ? { role: 'status' } : {})}>
      {props.label && <span className="sr-only">{props.label}</span>}
    </span>
  );
}

/** A page or a part of one is being read. */
export function Loading(): ReactNode {
  const t = useT();
  return (
    <div className="loading">
      <Spinner label={t('app.loading')} />
    </div>
  );
}

/** There is nothing here, and what to do about it. */
export function EmptyState(props: {
  icon?: IconName;
  title: string;
  hint?: ReactNode;
  children?: ReactNode;
}): ReactNode {
  return (
    <div className="empty">
      {props.icon && (
        <span className="empty-icon">
          <Icon name={props.icon} size={26} />
        </span>
      )}
      <p className="empty-title">{props.title}</p>
      {props.hint && <p className="empty-hint">{props.hint}</p>}
      {props.children && <div className="empty-actions">{props.children}</div>}
    </div>
  );
}

/** An error in words. Without an error there is nothing to see. */
export function ErrorNote(props: { error: unknown; onRetry?: () => void; title?: string }): ReactNode {
  const t = useT();
  const { error } = props;
  if (error === undefined || error === null) return null;
  const problem = error instanceof PaddockError ? error : null;
  return (
    <div className="note note-bad" role="alert">
      <Icon name="alert" />
      <div className="note-body">
        <strong>{props.title ?? problem?.title ?? t('error.title')}</strong>
        {errorDetail(error, t('error.connection')) && <p>{errorDetail(error, t('error.connection'))}</p>}
        {problem !== null && problem.errors.length > 0 && (
          <ul>
            {problem.errors.map((field) => (
              <li key={`${field.field} ${field.code}`}>
                <code>{field.field}</code> {field.message}
              </li>
            ))}
          </ul>
        )}
        {problem?.requestId && <small>{t('error.requestId', { id: problem.requestId })}</small>}
      </div>
      {props.onRetry && (
        <Button small onClick={props.onRetry} icon="refresh">
          {t('common.retry')}
        </Button>
      )}
    </div>
  );
}

function errorDetail(error: unknown, connection: string): string | null {
  if (error instanceof PaddockError) return error.detail;
  if (error instanceof ConnectionError) return connection;
  return error instanceof Error ? error.message : String(error);
}

/** An error in one line, for a toast. */
export function errorText(error: unknown): string {
  if (error instanceof PaddockError) {
    const fields = error.errors.map((field) => `${field.field} ${field.message}`).join('; ');
    return [error.title, error.detail, fields].filter(Boolean).join(': ');
  }
  return error instanceof Error ? error.message : String(error);
}
