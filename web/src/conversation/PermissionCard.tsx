/** What an agent asks, and the ways to answer: allow, deny with a reason, change the input, choose. */

import type { ReactNode } from 'react';
import { useId, useState } from 'react';
import { PaddockError, sessionPath } from '../api/api';
import { useApi, useNow } from '../api/context';
import type { JsonObject, PermissionAnswer } from '../api/types';
import { useFormat, useT } from '../i18n';
import { useSession } from '../session/SessionContext';
import { Badge, Button, ErrorNote, Icon, TextArea, useToast } from '../ui';
import { EditDiff, editsOf } from './EditDiff';
import { Markdown } from './Markdown';
import type { Ask } from './model';
import { Questions } from './Questions';
import { relative, toolLabel } from './toolText';

interface CardProps {
  request: Ask['request'];
  resolution: Ask['resolution'];
  /** Whether its turn is over; it can then not be answered any more. */
  over: boolean;
  /** Whether the card of the call is around it, which tells the tool and its input. */
  within?: boolean;
  /** What the tool was called with. A plan stands there, and not in the question. */
  input?: JsonObject | undefined;
}

/** A question in its conversation. */
export function PermissionCard(props: CardProps): ReactNode {
  const { session, readOnly } = useSession();
  const request = { ...props.request, session_id: session.session_id };
  return <Question {...props} cwd={session.cwd} request={request} readOnly={readOnly} />;
}

/** A question anywhere; its request names the session. */
export function Question(props: CardProps & { readOnly: boolean; cwd: string; onAnswered?: () => void }): ReactNode {
  const t = useT();
  const { request, resolution } = props;
  if (resolution !== null)
    return <Resolution request={request} resolution={resolution} within={props.within === true} />;
  if (props.over) return <p className="ask-over">{t('permission.over')}</p>;
  return (
    <div className="ask" role="group" aria-label={t('permission.asks', { tool: toolLabel(request.tool_name) })}>
      {request.kind === 'tool' && (
        <p className="ask-title">
          <Icon name="shield" size={16} />
          <span>{t('permission.mayIt', { tool: toolLabel(request.tool_name) })}</span>
        </p>
      )}
      {request.kind === 'plan' && (
        <>
          <p className="ask-title">
            <Icon name="list" size={16} />
            <span>{t('permission.plan')}</span>
          </p>
          <div className="ask-plan">
            <Markdown text={String(request.tool_input.plan ?? props.input?.plan ?? t('permission.planAbove'))} />
          </div>
        </>
      )}
      {!props.within && request.kind === 'tool' && <AskedInput request={request} cwd={props.cwd} />}
      {props.readOnly ? (
        <p className="muted">{t('permission.readOnly')}</p>
      ) : (
        <Answers request={request} onAnswered={props.onAnswered ?? (() => {})} />
      )}
      <Expires at={request.expires_at} />
    </div>
  );
}

function Expires(props: { at: string }): ReactNode {
  const t = useT();
  const format = useFormat();
  useNow(15_000);
  return <p className="ask-expires">{t('permission.expires', { at: format.relative(props.at) })}</p>;
}

function AskedInput(props: { request: Ask['request']; cwd: string }): ReactNode {
  const { tool_name, tool_input } = props.request;
  const edits = editsOf(tool_name, tool_input);
  const path = tool_input.file_path ?? tool_input.notebook_path;
  return (
    <div className="ask-input">
      {typeof path === 'string' && <p className="mono ask-path">{relative(path, props.cwd)}</p>}
      {edits !== null ? (
        <EditDiff edits={edits} />
      ) : tool_name === 'Bash' ? (
        <pre className="input-code">{String(tool_input.command ?? '')}</pre>
      ) : (
        <pre className="input-code">{JSON.stringify(tool_input, null, 2)}</pre>
      )}
    </div>
  );
}

function Resolution(props: {
  request: Ask['request'];
  resolution: NonNullable<Ask['resolution']>;
  within: boolean;
}): ReactNode {
  const t = useT();
  const { decision, by, message, remember } = props.resolution;
  const word =
    decision === 'allow'
      ? t(props.request.kind === 'question' ? 'permission.answered' : 'permission.allowed')
      : decision === 'deny'
        ? t('permission.denied')
        : t(`permission.${decision as 'expired'}`);
  return (
    <div className="ask-resolved">
      {!(props.within && decision === 'deny') && (
        <Badge tone={decision === 'allow' ? 'good' : decision === 'deny' ? 'bad' : 'neutral'}>{word}</Badge>
      )}
      <span>{t('permission.by', { by })}</span>
      {remember && <span>{t('permission.remembered')}</span>}
      {message && <span className="ask-message">“{message}”</span>}
    </div>
  );
}

type Mode = 'ask' | 'deny' | 'edit';

function Answers(props: { request: Ask['request']; onAnswered: () => void }): ReactNode {
  const t = useT();
  const api = useApi();
  const toast = useToast();
  const { request } = props;
  const [mode, setMode] = useState<Mode>('ask');
  const [busy, setBusy] = useState<string | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [message, setMessage] = useState('');
  const [input, setInput] = useState(() => JSON.stringify(request.tool_input, null, 2));
  const hint = useId();

  const answer = async (which: string, body: PermissionAnswer): Promise<void> => {
    setBusy(which);
    setError(null);
    try {
      await api.post(sessionPath(request.session_id, 'permissions', request.permission_id), body);
      props.onAnswered();
    } catch (problem) {
      const late = problem instanceof PaddockError && problem.code === 'permission_answered';
      if (late) {
        // Somebody else was faster: the log tells what they answered.
        toast.say(t('permission.late'));
        props.onAnswered();
      } else setError(problem);
    }
    setBusy(null);
  };
  const deny = (): Promise<void> =>
    answer('deny', message.trim() === '' ? { decision: 'deny' } : { decision: 'deny', message: message.trim() });

  const edited = parseObject(input);
  if (request.kind === 'question') {
    return (
      <>
        <Questions
          input={request.tool_input}
          busy={busy}
          onAnswer={(answers) => void answer('allow', { decision: 'allow', answers })}
          onDeny={() => void deny()}
        />
        <ErrorNote error={error} />
      </>
    );
  }
  return (
    <>
      {mode === 'ask' && (
        <div className="row">
          <Button
            look="primary"
            small
            busy={busy === 'allow'}
            disabled={busy !== null}
            onClick={() => void answer('allow', { decision: 'allow' })}
          >
            {request.kind === 'plan' ? t('permission.approve') : t('permission.allow')}
          </Button>
          {request.remembered_as && (
            <Button
              small
              busy={busy === 'remember'}
              disabled={busy !== null}
              aria-describedby={hint}
              onClick={() => void answer('remember', { decision: 'allow', remember: true })}
            >
              {t('permission.allowAlways')}
            </Button>
          )}
          <Button small disabled={busy !== null} onClick={() => setMode('deny')}>
            {request.kind === 'plan' ? t('permission.reject') : t('permission.deny')}
          </Button>
          {request.kind === 'tool' && (
            <Button look="quiet" small icon="edit" disabled={busy !== null} onClick={() => setMode('edit')}>
              {t('permission.edit')}
            </Button>
          )}
          {request.remembered_as && (
            <span id={hint} className="ask-remembered">
              {t('permission.allowAlwaysHint')} <code>{request.remembered_as}</code>
            </span>
          )}
        </div>
      )}
      {mode === 'deny' && (
        <div className="ask-form">
          <TextArea
            label={t('permission.why')}
            optional
            autoFocus
            rows={2}
            value={message}
            onChange={(event) => setMessage(event.target.value)}
          />
          <div className="row">
            <Button look="danger" small busy={busy === 'deny'} onClick={() => void deny()}>
              {t('permission.deny')}
            </Button>
            <Button small onClick={() => setMode('ask')}>
              {t('common.cancel')}
            </Button>
          </div>
        </div>
      )}
      {mode === 'edit' && (
        <div className="ask-form">
          <TextArea
            label={t('permission.input')}
            className="mono"
            autoFocus
            rows={8}
            spellCheck={false}
            value={input}
            error={edited === null ? t('permission.notJson') : null}
            onChange={(event) => setInput(event.target.value)}
          />
          <div className="row">
            <Button
              look="primary"
              small
              busy={busy === 'edit'}
              disabled={edited === null}
              onClick={() => edited && void answer('edit', { decision: 'allow', updated_input: edited })}
            >
              {t('permission.allowEdited')}
            </Button>
            <Button small onClick={() => setMode('ask')}>
              {t('common.cancel')}
            </Button>
          </div>
        </div>
      )}
      <ErrorNote error={error} />
    </>
  );
}

function parseObject(text: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : null;
  } catch {
    return null;
  }
}
