/** The list of sessions: looked through, filtered, and kept up to date. */

import type { KeyboardEvent, ReactNode } from 'react';
import { useCallback, useEffect, useRef, useState } from 'react';
import type { Query } from '../../api/api';
import { useApi, usePoll } from '../../api/context';
import type { Page as ApiPage, SessionView } from '../../api/types';
import { useMe } from '../../app/auth';
import { Link, href } from '../../app/router';
import { useFormat, useT } from '../../i18n';
import { StateBadge } from '../../session/StateBadge';
import { Button, EmptyState, ErrorNote, Field, Icon, Loading, Page, Select } from '../../ui';
import { NewSession } from './NewSession';
import './sessions.css';

const PAGE = 50;
const EVERY_MS = 5000;
const TYPING_MS = 250;

interface Filters {
  q: string;
  status: string;
  user_id: string;
  metadata: string;
}

const noFilters: Filters = { q: '', status: 'active', user_id: '', metadata: '' };
/** The filters stay when one comes back to the list. */
let lastFilters = noFilters;

/** The page. */
export default function SessionsPage(): ReactNode {
  const t = useT();
  const me = useMe();
  const [filters, setFilters] = useState(lastFilters);
  const [more, setMore] = useState(lastFilters.user_id !== '' || lastFilters.metadata !== '');
  const [creating, setCreating] = useState(false);
  lastFilters = filters;
  const change = (part: Partial<Filters>): void => setFilters((old) => ({ ...old, ...part }));
  const settled = useSettled(filters);
  const list = useSessions(settled);
  const mayCreate = me.role !== 'reader' && me.role !== 'guest';
  const filtered = settled.q !== '' || settled.user_id !== '' || settled.metadata !== '' || settled.status !== 'active';
  const create = mayCreate && (
    <Button look="primary" icon="plus" onClick={() => setCreating(true)}>
      {t('sessions.new')}
    </Button>
  );
  return (
    <Page title={t('app.sessions')} actions={create}>
      <form className="filters" role="search" onSubmit={(event) => event.preventDefault()}>
        <div className="filters-search">
          <Icon name="search" size={16} />
          <Field
            label={t('sessions.search')}
            hideLabel
            type="search"
            placeholder={t('sessions.search')}
            value={filters.q}
            onChange={(event) => change({ q: event.target.value })}
          />
        </div>
        <Select
          label={t('sessions.status')}
          hideLabel
          value={filters.status}
          onChange={(event) => change({ status: event.target.value })}
          options={(['active', 'closed', 'expired', 'all'] as const).map((value) => ({
            value,
            label: t(`sessions.status.${value}`),
          }))}
        />
        <Button
          look="quiet"
          icon="filter"
          aria-expanded={more}
          aria-label={t('sessions.filters')}
          onClick={() => setMore(!more)}
        />
        {more && (
          <div className="filters-more">
            {me.user_id === null && (
              <Field
                label={t('session.user')}
                value={filters.user_id}
                onChange={(event) => change({ user_id: event.target.value })}
              />
            )}
            <Field
              label={t('session.metadata')}
              placeholder="key=value"
              value={filters.metadata}
              onChange={(event) => change({ metadata: event.target.value })}
            />
          </div>
        )}
      </form>
      <ErrorNote error={list.error} onRetry={list.reload} />
      {list.sessions === null ? (
        list.error === null && <Loading />
      ) : list.sessions.length === 0 ? (
        filtered ? (
          <EmptyState icon="search" title={t('sessions.noneFound')}>
            <Button onClick={() => setFilters(noFilters)}>{t('sessions.clear')}</Button>
          </EmptyState>
        ) : (
          <EmptyState icon="chat" title={t('sessions.none')} hint={t('sessions.noneHint')}>
            {create}
          </EmptyState>
        )
      ) : (
        <SessionList sessions={list.sessions} />
      )}
      {list.cursor !== null && (
        <div className="row-center">
          <Button busy={list.loadingMore} onClick={() => void list.loadMore()}>
            {t('common.loadMore')}
          </Button>
        </div>
      )}
      {creating && <NewSession users={usersOf(list.sessions)} onClose={() => setCreating(false)} />}
    </Page>
  );
}

/** The rows. The arrow keys go from one to the next. */
function SessionList(props: { sessions: SessionView[] }): ReactNode {
  const t = useT();
  const format = useFormat();
  const box = useRef<HTMLUListElement>(null);
  const onKeyDown = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    const links = [...(box.current?.querySelectorAll('a') ?? [])];
    const at = links.indexOf(document.activeElement as HTMLAnchorElement);
    const next = links[at + step];
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
  };
  return (
    <ul ref={box} className="sessions card" aria-label={t('app.sessions')} onKeyDown={onKeyDown}>
      {props.sessions.map((session) => (
        <li key={session.session_id}>
          <Link to={href('sessions', session.session_id)} className="session-row">
            <span className="session-row-main">
              <span className={session.title ? 'session-row-title' : 'session-row-title muted'}>
                {session.title ?? t('session.untitled')}
              </span>
              <span className="session-row-facts">
                <span className="fact">
                  <Icon name="user" size={13} />
                  {session.user_id}
                </span>
                {session.subdir && (
                  <span className="fact">
                    <Icon name="folder" size={13} />
                    {session.subdir}
                  </span>
                )}
                {session.agent_live && session.status === 'active' && (
                  <span className="fact">
                    <span className="light light-live" aria-hidden="true" />
                    {t('session.live')}
                  </span>
                )}
                <span>{t('sessions.prompts', { count: session.message_count })}</span>
                {Object.entries(session.metadata)
                  .slice(0, 2)
                  .map(([key, value]) => (
                    <span key={key} className="tag">
                      {key}={typeof value === 'string' ? value : JSON.stringify(value)}
                    </span>
                  ))}
              </span>
            </span>
            <span className="session-row-side">
              <StateBadge session={session} />
              <time dateTime={session.last_active_at} title={format.dateTime(session.last_active_at)}>
                {format.relative(session.last_active_at)}
              </time>
            </span>
          </Link>
        </li>
      ))}
    </ul>
  );
}

/** What was typed, once it is not typed on for a moment. */
function useSettled(filters: Filters): Filters {
  const [settled, setSettled] = useState(filters);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(filters), TYPING_MS);
    return () => clearTimeout(timer);
  }, [filters]);
  return settled;
}

function queryOf(filters: Filters): Query {
  const query: Query = { q: filters.q.trim(), status: filters.status, user_id: filters.user_id.trim(), limit: PAGE };
  const [key, value] = splitOnce(filters.metadata.trim());
  if (key !== '' && value !== '') query[`metadata.${key}`] = value;
  return query;
}

function splitOnce(text: string): [string, string] {
  const at = text.indexOf('=');
  return at < 0 ? [text, ''] : [text.slice(0, at).trim(), text.slice(at + 1).trim()];
}

interface Sessions {
  sessions: SessionView[] | null;
  cursor: string | null;
  error: unknown;
  loadingMore: boolean;
  reload: () => void;
  loadMore: () => Promise<void>;
}

/** The sessions of the filters. The first page is read again and again; what is on later pages stays as it was read. */
function useSessions(filters: Filters): Sessions {
  const api = useApi();
  const [sessions, setSessions] = useState<SessionView[] | null>(null);
  const [cursor, setCursor] = useState<string | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [loadingMore, setLoadingMore] = useState(false);
  const round = useRef(0);
  const reading = useRef(false);

  const read = useCallback(
    async (fresh: boolean): Promise<void> => {
      round.current += 1;
      const mine = round.current;
      reading.current = true;
      try {
        const page = await api.list<SessionView>('/api/v1/sessions', queryOf(filters));
        if (mine !== round.current) return;
        setSessions((old) => (fresh || old === null ? page.data : merge(page, old)));
        setCursor((old) => (fresh ? page.next_cursor : old));
        setError(null);
      } catch (problem) {
        if (mine === round.current) setError(problem);
      }
      if (mine === round.current) reading.current = false;
    },
    [api, filters],
  );
  useEffect(() => void read(true), [read]);
  usePoll(() => {
    // A slow answer is waited for.
    if (!reading.current) void read(false);
  }, EVERY_MS);

  const loadMore = async (): Promise<void> => {
    if (cursor === null) return;
    setLoadingMore(true);
    try {
      const page = await api.list<SessionView>('/api/v1/sessions', { ...queryOf(filters), cursor });
      setSessions((old) => [
        ...(old ?? []),
        ...page.data.filter((session) => !old?.some((known) => known.session_id === session.session_id)),
      ]);
      setCursor(page.next_cursor);
    } catch (problem) {
      setError(problem);
    }
    setLoadingMore(false);
  };
  return { sessions, cursor, error, loadingMore, reload: () => void read(true), loadMore };
}

/** The first page anew, and what was read of later pages. */
function merge(page: ApiPage<SessionView>, old: SessionView[]): SessionView[] {
  if (page.next_cursor === null) return page.data;
  const first = new Set(page.data.map((session) => session.session_id));
  return [...page.data, ...old.slice(PAGE).filter((session) => !first.has(session.session_id))];
}

function usersOf(sessions: SessionView[] | null): string[] {
  return [...new Set((sessions ?? []).map((session) => session.user_id))].slice(0, 20);
}
