/** A session's log as it is, for developers: every event, filtered, followed, and looked into. */

import { useVirtualizer } from '@tanstack/react-virtual';
import type { KeyboardEvent, ReactNode } from 'react';
import { useEffect, useMemo, useRef, useState } from 'react';
import { useApi } from '../../api/context';
import type { PaddockEvent } from '../../api/types';
import { useFormat, useT } from '../../i18n';
import { useSession } from '../../session/SessionContext';
import { Badge, Button, Checkbox, CopyButton, EmptyState, ErrorNote, Field } from '../../ui';
import type { Tone } from '../../ui';
import { JsonTree } from './JsonTree';
import { KEPT, useLog } from './reader';
import '../../styles/views.css';
import './log.css';

const ROW_PX = 30;

const tones: Record<string, Tone> = {
  message: 'busy',
  done: 'good',
  error: 'bad',
  permission_request: 'attention',
  tool_use: 'busy',
  gap: 'attention',
};

/** The page. */
export default function LogPage(): ReactNode {
  const t = useT();
  const format = useFormat();
  const api = useApi();
  const { session } = useSession();
  const [deltas, setDeltas] = useState(false);
  const [raw, setRaw] = useState(false);
  const [follow, setFollow] = useState(true);
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const [text, setText] = useState('');
  const [chosen, setChosen] = useState<number | null>(null);
  const log = useLog(api, session.session_id, { deltas, raw });
  const counts = useMemo(() => {
    const all = new Map<string, number>();
    for (const event of log.events) all.set(event.type, (all.get(event.type) ?? 0) + 1);
    return [...all].sort(([a], [b]) => a.localeCompare(b));
  }, [log.events]);
  const shown = useMemo(() => {
    const wanted = text.trim().toLowerCase();
    if (hidden.size === 0 && wanted === '') return log.events;
    return log.events.filter(
      (event) => !hidden.has(event.type) && (wanted === '' || JSON.stringify(event).toLowerCase().includes(wanted)),
    );
  }, [log.events, hidden, text]);
  const event = chosen === null ? undefined : log.events.find((one) => one.id === chosen);
  const toggle = (type: string): void => {
    const next = new Set(hidden);
    if (!next.delete(type)) next.add(type);
    setHidden(next);
  };
  return (
    <div className="log">
      <div className="log-bar">
        <div className="log-filters">
          <Field label={t('log.search')} hideLabel type="search" placeholder={t('log.search')} value={text} onChange={(one) => setText(one.target.value)} />
          <Checkbox label={t('log.follow')} checked={follow} onChange={(one) => setFollow(one.target.checked)} />
          <Checkbox label={t('log.deltas')} checked={deltas} onChange={(one) => setDeltas(one.target.checked)} />
          <Checkbox label={t('log.raw')} checked={raw} onChange={(one) => setRaw(one.target.checked)} />
          <CopyButton label={t('log.copyAll')} text={() => shown.map((one) => JSON.stringify(one)).join('\n')} />
          <span className="log-state" role="status">
            <Badge dot tone={log.state === 'following' ? 'good' : log.state === 'cut-off' ? 'bad' : 'neutral'}>
              {t(`log.state.${log.state}`)}
            </Badge>{' '}
            {t('log.count', { shown: format.number(shown.length), count: format.number(log.events.length) })}
          </span>
        </div>
        <div className="log-types" role="group" aria-label={t('log.types')}>
          {counts.map(([type, count]) => (
            <button key={type} type="button" className="log-chip" aria-pressed={!hidden.has(type)} onClick={() => toggle(type)}>
              {type} <span className="log-chip-count">{format.compact(count)}</span>
            </button>
          ))}
          {hidden.size > 0 && (
            <Button small look="quiet" onClick={() => setHidden(new Set())}>
              {t('common.showAll')}
            </Button>
          )}
        </div>
        {log.cut && <p className="note-line">{t('log.cut', { count: format.number(KEPT) })}</p>}
        {raw && session.options.agent_messages !== true && <p className="note-line">{t('log.noRaw')}</p>}
        {log.error != null && <ErrorNote error={log.error} />}
      </div>
      <div className={event === undefined ? 'log-body' : 'log-body log-split'}>
        {shown.length === 0 ? (
          <EmptyState icon="code" title={log.events.length > 0 ? t('log.allHidden') : log.state === 'reading' ? t('app.loading') : t('log.empty')} />
        ) : (
          <Rows events={shown} chosen={chosen} follow={follow} onChoose={setChosen} onLeaveEnd={() => setFollow(false)} />
        )}
        {event && (
          <aside className="log-inspector" aria-label={t('log.inspector')}>
            <header className="log-inspector-head">
              <h2>
                {event.type} <code>{event.id}</code>
              </h2>
              <CopyButton label={t('log.copyOne')} text={() => JSON.stringify(event, null, 2)} />
              <Button small look="quiet" icon="close" aria-label={t('common.close')} onClick={() => setChosen(null)} />
            </header>
            <div className="log-json" tabIndex={0} role="region" aria-label={t('log.json')}>
              <JsonTree key={event.id} value={event} />
            </div>
          </aside>
        )}
      </div>
    </div>
  );
}

function Rows(props: {
  events: PaddockEvent[];
  chosen: number | null;
  follow: boolean;
  onChoose: (id: number) => void;
  onLeaveEnd: () => void;
}): ReactNode {
  const t = useT();
  const format = useFormat();
  const { events, chosen, follow } = props;
  const box = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: events.length,
    getScrollElement: () => box.current,
    estimateSize: () => ROW_PX,
    overscan: 20,
    getItemKey: (at) => events[at]?.id ?? at,
  });
  useEffect(() => {
    const list = box.current;
    if (follow && list) list.scrollTop = list.scrollHeight;
  }, [follow, events.length]);
  const onKeyDown = (event: KeyboardEvent): void => {
    const at = events.findIndex((one) => one.id === chosen);
    const next = { ArrowDown: at + 1, ArrowUp: Math.max(0, at - 1), Home: 0, End: events.length - 1 }[event.key];
    const wanted = next === undefined ? undefined : events[next];
    if (next === undefined || wanted === undefined) return;
    event.preventDefault();
    props.onLeaveEnd();
    props.onChoose(wanted.id);
    virtual.scrollToIndex(next, { align: 'auto' });
  };
  return (
    <div
      ref={box}
      className="log-rows"
      role="listbox"
      tabIndex={0}
      aria-label={t('log.events')}
      aria-activedescendant={chosen === null ? undefined : `event-${chosen}`}
      onKeyDown={onKeyDown}
      onWheel={(event) => {
        if (event.deltaY < 0) props.onLeaveEnd();
      }}
    >
      <div className="virtual-space" role="presentation" style={{ height: virtual.getTotalSize() }}>
        {virtual.getVirtualItems().map((seen) => {
          const event = events[seen.index];
          if (event === undefined) return null;
          return (
            <div
              key={seen.key}
              id={`event-${event.id}`}
              role="option"
              aria-selected={event.id === chosen}
              aria-setsize={events.length}
              aria-posinset={seen.index + 1}
              className="log-row"
              style={{ height: ROW_PX, transform: `translateY(${seen.start}px)` }}
              onClick={() => props.onChoose(event.id)}
            >
              <span className="log-id">{event.id}</span>
              <time className="log-time" dateTime={event.created_at}>
                {format.time(event.created_at)}
              </time>
              <span className="log-type">
                <Badge tone={tones[event.type] ?? 'neutral'}>{event.type}</Badge>
              </span>
              <span className="log-text">{summary(event)}</span>
            </div>
          );
        })}
      </div>
    </div>
  );
}

/** What an event says, in one line. */
function summary(event: PaddockEvent): string {
  const { id: _id, type: _type, created_at: _at, turn_id: _turn, ...rest } = event as unknown as Record<string, unknown>;
  const text = typeof rest.text === 'string' ? rest.text : JSON.stringify(rest);
  return text.slice(0, 300).replace(/\s+/g, ' ');
}
