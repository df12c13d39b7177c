/** What stands below a turn: that it runs, or what it took, and what can be done with it. */

import type { ReactNode } from 'react';
import { useNow } from '../api/context';
import { href } from '../app/router';
import { useFormat, useT } from '../i18n';
import { useSession } from '../session/SessionContext';
import { Icon, Menu, Spinner, copyText, useToast } from '../ui';
import { useActions } from './actions';
import type { Turn } from './model';
import { openAsks } from './model';

/** The foot of a turn. */
export function TurnFoot(props: { turn: Turn; gone: boolean }): ReactNode {
  const { turn } = props;
  return (
    <div className="reading turn-foot">
      {turn.error !== null && <TurnError error={turn.error} />}
      {turn.structured !== null && <pre className="output">{JSON.stringify(turn.structured, null, 2)}</pre>}
      {turn.endedAt === null ? <Working turn={turn} /> : <Took turn={turn} gone={props.gone} />}
    </div>
  );
}

function TurnError(props: { error: { code: string; message: string } }): ReactNode {
  const t = useT();
  const { code, message } = props.error;
  if (code === 'turn_interrupted') {
    return (
      <p className="notice">
        <span>{t('conversation.interrupted')}</span>
      </p>
    );
  }
  return (
    <div className="note note-bad">
      <Icon name="alert" />
      <div className="note-body">
        <strong>{t('conversation.failed')}</strong>
        <p>{message}</p>
        <small>{code}</small>
      </div>
    </div>
  );
}

function Working(props: { turn: Turn }): ReactNode {
  const t = useT();
  const format = useFormat();
  const { turn } = props;
  const now = useNow(1000);
  const took = Math.max(0, now - new Date(turn.startedAt).getTime());
  const asks = openAsks(turn).length > 0;
  const text = asks
    ? t('conversation.waitsForYou')
    : turn.status === 'waiting'
      ? t('conversation.waitsForAgent')
      : t('conversation.working');
  return (
    <p className={asks ? 'working working-asks' : 'working'}>
      {asks ? <Icon name="shield" size={16} /> : <Spinner small />}
      <span>{text}</span>
      {took >= 1000 && <span className="tool-time">{format.duration(Math.floor(took / 1000) * 1000)}</span>}
    </p>
  );
}

function Took(props: { turn: Turn; gone: boolean }): ReactNode {
  const t = useT();
  const format = useFormat();
  const toast = useToast();
  const { session, shared } = useSession();
  const { fork, rewind, kept } = useActions();
  const { turn, gone } = props;
  const states = kept?.get(turn.id);
  const usage = turn.usage ?? {};
  const input =
    (usage.input_tokens ?? 0) + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0);
  const took = new Date(turn.endedAt ?? turn.startedAt).getTime() - new Date(turn.startedAt).getTime();
  const to = href('sessions', session.session_id, 'turns', turn.id);
  const copyLink = (): void => {
    void copyText(`${location.origin}${location.pathname}#${to}`).then(() => toast.say(t('common.copied')), toast.fail);
  };
  const unusual = turn.stopReason !== null && turn.stopReason !== 'end_turn';
  return (
    <div className="took">
      {turn.copied ? (
        <span>{t('conversation.copied')}</span>
      ) : turn.usage === null && turn.error === null ? (
        <span>{format.dateTime(turn.startedAt)}</span>
      ) : (
        <span title={format.dateTime(turn.startedAt)}>{format.duration(took)}</span>
      )}
      {turn.usage !== null && (
        <span
          title={t('conversation.tokensDetail', {
            input: format.number(usage.input_tokens ?? 0),
            read: format.number(usage.cache_read_input_tokens ?? 0),
            created: format.number(usage.cache_creation_input_tokens ?? 0),
            output: format.number(usage.output_tokens ?? 0),
          })}
        >
          {t('conversation.tokens', { input: format.compact(input), output: format.compact(usage.output_tokens ?? 0) })}
        </span>
      )}
      {turn.costUsd !== null && <span>{format.money(turn.costUsd)}</span>}
      {turn.model && <span className="took-model">{turn.model}</span>}
      {unusual && <span>{t('conversation.stopped', { reason: turn.stopReason ?? '' })}</span>}
      {!shared && (
        <Menu
          small
          up
          label={t('conversation.turnActions')}
          items={[
            !turn.copied && { label: t('conversation.copyLink'), icon: 'link', onSelect: copyLink },
            states?.before && states.after && { label: t('conversation.whatChanged'), icon: 'diff', to: `${to}/diff` },
            fork && !gone && { label: t('conversation.fork'), icon: 'fork', onSelect: () => fork(turn) },
            rewind && states?.before && '-',
            rewind &&
              states?.before && { label: t('conversation.rewind'), icon: 'rewind', onSelect: () => rewind(turn) },
          ]}
        />
      )}
    </div>
  );
}
