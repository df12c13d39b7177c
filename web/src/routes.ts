/** Which path shows what. Each page is loaded when it is first shown. */

import type { ComponentType } from 'react';
import { lazy } from 'react';
import type { Params } from './app/router';

/** What every page is given. */
export interface PageProps {
  params: Params;
}

/** A path and its page. Pages of a session are shown inside its frame, with `useSession()`. */
export interface Route {
  pattern: string;
  page: ComponentType<PageProps>;
  /** Whether it is shown inside a session's frame; its pattern has `:session` then. */
  inSession?: boolean;
  /** Whether it is shown without a key, and without the shell. */
  open?: boolean;
}

const conversation = lazy(() => import('./pages/conversation/ConversationPage'));
const files = lazy(() => import('./pages/files/FilesPage'));

export const routes: Route[] = [
  { pattern: '/', page: lazy(() => import('./pages/sessions/SessionsPage')) },
  { pattern: '/sessions', page: lazy(() => import('./pages/sessions/SessionsPage')) },
  { pattern: '/sessions/:session', page: conversation, inSession: true },
  { pattern: '/sessions/:session/turns/:turn', page: conversation, inSession: true },
  {
    pattern: '/sessions/:session/turns/:turn/diff',
    page: lazy(() => import('./pages/diff/TurnDiffPage')),
    inSession: true,
  },
  { pattern: '/sessions/:session/files/*path', page: files, inSession: true },
  { pattern: '/sessions/:session/changes', page: lazy(() => import('./pages/diff/ChangesPage')), inSession: true },
  { pattern: '/sessions/:session/log', page: lazy(() => import('./pages/log/LogPage')), inSession: true },
  { pattern: '/inbox', page: lazy(() => import('./pages/inbox/InboxPage')) },
  { pattern: '/usage', page: lazy(() => import('./pages/usage/UsagePage')) },
  { pattern: '/admin/*rest', page: lazy(() => import('./pages/admin/AdminPage')) },
  { pattern: '/shared/:token', page: lazy(() => import('./pages/shared/SharedPage')), open: true },
];
