/** What is around every page: the navigation, who is signed in, and the switches. On a phone it is a drawer. */

import type { ReactNode } from 'react';
import { Suspense, lazy, useEffect, useRef, useState } from 'react';
import { ConnectionError } from '../api/api';
import { useApi, useLoad } from '../api/context';
import type { HealthView } from '../api/types';
import { useT } from '../i18n';
import type { IconName } from '../ui';
import { Badge, Button, Icon, Menu } from '../ui';
import { useDoor, useMe } from './auth';
import { useInbox } from './inbox';
import { Preferences } from './Preferences';
import { RecentSessions } from './RecentSessions';
import { usePath } from './router';

const NewSession = lazy(async () => ({ default: (await import('../pages/sessions/NewSession')).NewSession }));

/** The shell around a page. */
export function Shell(props: { children: ReactNode }): ReactNode {
  const t = useT();
  const path = usePath();
  const [open, setOpen] = useState(false);
  const opener = useRef<HTMLButtonElement>(null);
  const main = useRef<HTMLElement>(null);
  useEffect(() => setOpen(false), [path]);
  useEffect(() => {
    if (!open) return;
    const onKey = (event: KeyboardEvent): void => {
      if (event.key !== 'Escape') return;
      setOpen(false);
      opener.current?.focus();
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [open]);
  return (
    <div className={open ? 'shell shell-open' : 'shell'}>
      <button type="button" className="skip" onClick={() => main.current?.focus()}>
        {t('app.skip')}
      </button>
      <header className="topbar">
        <Button
          ref={opener}
          look="quiet"
          icon="menu"
          aria-label={t('app.menu')}
          aria-expanded={open}
          aria-controls="sidebar"
          onClick={() => setOpen(!open)}
        />
        <Brand />
        <InboxLink />
      </header>
      <Sidebar open={open} />
      {open && (
        <button type="button" className="scrim" aria-label={t('app.closeMenu')} onClick={() => setOpen(false)} />
      )}
      <main ref={main} className="main" tabIndex={-1} inert={open}>
        <Offline />
        {props.children}
      </main>
    </div>
  );
}

/** Says that the server does not answer; what is on the page is then as it was. */
function Offline(): ReactNode {
  const t = useT();
  const { error } = useInbox();
  return (
    <div role="status">
      {error instanceof ConnectionError && (
        <p className="offline">
          <Icon name="alert" size={15} />
          {t('app.offline')}
        </p>
      )}
    </div>
  );
}

function Brand(): ReactNode {
  return (
    <a className="brand" href="#/sessions">
      <img src={`${import.meta.env.BASE_URL}icon.svg`} alt="" width={24} height={24} />
      <span>Paddock</span>
    </a>
  );
}

function InboxLink(): ReactNode {
  const t = useT();
  const { waiting } = useInbox();
  return (
    <a
      className="topbar-inbox button button-quiet button-bare"
      href="#/inbox"
      aria-label={`${t('app.inbox')} (${waiting.length})`}
    >
      <Icon name="inbox" />
      {waiting.length > 0 && <span className="count">{waiting.length}</span>}
    </a>
  );
}

function Sidebar(props: { open: boolean }): ReactNode {
  const t = useT();
  const path = usePath();
  const me = useMe();
  const api = useApi();
  const { signOut } = useDoor();
  const { waiting, more } = useInbox();
  const [creating, setCreating] = useState(false);
  const mayCreate = me.role !== 'reader' && me.role !== 'guest';
  const box = useRef<HTMLElement>(null);
  const health = useLoad((signal) => api.get<HealthView>('/health', undefined, signal), [api]).data;
  useEffect(() => {
    if (props.open) box.current?.querySelector<HTMLElement>('a, button')?.focus();
  }, [props.open]);
  const entry = (to: string, icon: IconName, label: string, extra?: ReactNode): ReactNode => {
    const current = path === to || path.startsWith(`${to}/`) || (to === '/sessions' && path === '/');
    return (
      <li>
        <a href={`#${to}`} className="nav-link" aria-current={current ? 'page' : undefined}>
          <Icon name={icon} />
          <span>{label}</span>
          {extra}
        </a>
      </li>
    );
  };
  return (
    <aside id="sidebar" ref={box} className="sidebar" aria-label={t('app.sidebar')}>
      <Brand />
      {mayCreate && (
        <Button icon="plus" className="new-session" onClick={() => setCreating(true)}>
          {t('sessions.new')}
        </Button>
      )}
      {creating && (
        <Suspense>
          <NewSession users={[]} onClose={() => setCreating(false)} />
        </Suspense>
      )}
      <nav aria-label={t('app.navigation')}>
        <ul className="nav">
          {entry('/sessions', 'chat', t('app.sessions'))}
          {entry(
            '/inbox',
            'inbox',
            t('app.inbox'),
            waiting.length > 0 && (
              <span className="count" aria-label={t('inbox.count', { count: waiting.length })}>
                {more ? `${waiting.length}+` : waiting.length}
              </span>
            ),
          )}
          {entry('/usage', 'chart', t('app.usage'))}
          {(me.role === 'owner' || me.role === 'admin') && entry('/admin', 'shield', t('app.admin'))}
        </ul>
      </nav>
      <RecentSessions />
      <div className="sidebar-foot">
        {health?.model === 'scripted' && (
          <div className="sidebar-note" title={t('app.scriptedHint')}>
            <Badge tone="attention" icon="info">
              {t('app.scripted')}
            </Badge>
          </div>
        )}
        <div className="sidebar-row">
          <Menu
            up
            start
            icon="user"
            label={t('app.account')}
            items={[
              { label: t('app.apiDocs'), icon: 'book', href: '/docs/' },
              '-',
              { label: t('app.signOut'), icon: 'signOut', onSelect: signOut },
            ]}
          >
            <span className="who">
              <span className="who-name">{me.user_id ?? me.credential}</span>
              <span className="who-role">
                {me.tenant} · {me.role}
              </span>
            </span>
          </Menu>
          <Preferences up />
        </div>
      </div>
    </aside>
  );
}
