/** The console: the door, the shell, and the page that the address names. */

import type { ReactNode } from 'react';
import { Component, Suspense, useEffect } from 'react';
import { I18nProvider, useT } from '../i18n';
import { routes } from '../routes';
import { SessionFrame } from '../session/SessionFrame';
import { ButtonLink, EmptyState, ErrorNote, Loading, ToastProvider } from '../ui';
import { AuthProvider, useDoor } from './auth';
import { InboxProvider } from './inbox';
import { match, usePath } from './router';
import { Shell } from './Shell';
import { SignIn } from './SignIn';

/** Everything. */
export function App(): ReactNode {
  return (
    <I18nProvider>
      <ToastProvider>
        <Door />
      </ToastProvider>
    </I18nProvider>
  );
}

/** Shares are looked at without a key of one's own; everything else asks for one. */
function Door(): ReactNode {
  const path = usePath();
  const found = find(path);
  useEffect(() => {
    const mark = (): void => {
      document.body.dataset.navigated = 'yes';
    };
    addEventListener('hashchange', mark);
    return () => removeEventListener('hashchange', mark);
  }, []);
  if (found?.route.open) {
    const { page: Page } = found.route;
    return (
      <Guard key={path}>
        <Suspense fallback={<Loading />}>
          <Page params={found.params} />
        </Suspense>
      </Guard>
    );
  }
  return (
    <AuthProvider>
      <Inside />
    </AuthProvider>
  );
}

function Inside(): ReactNode {
  const { auth } = useDoor();
  if (auth.state === 'checking') return <Loading />;
  if (auth.state === 'out') return <SignIn reason={auth.reason} />;
  return (
    <InboxProvider>
      <Shell>
        <CurrentPage />
      </Shell>
    </InboxProvider>
  );
}

function CurrentPage(): ReactNode {
  const t = useT();
  const path = usePath();
  const found = find(path);
  if (found === null) {
    return (
      <EmptyState icon="search" title={t('app.notFound')} hint={t('app.notFoundHint')}>
        <ButtonLink to="/sessions">{t('app.backToSessions')}</ButtonLink>
      </EmptyState>
    );
  }
  const { page: Page, inSession } = found.route;
  const page = (
    <Guard key={found.route.pattern}>
      <Suspense fallback={<Loading />}>
        <Page params={found.params} />
      </Suspense>
    </Guard>
  );
  const session = found.params.session;
  if (!inSession || session === undefined) return page;
  return (
    <SessionFrame key={session} id={session}>
      {page}
    </SessionFrame>
  );
}

function find(path: string) {
  for (const route of routes) {
    const params = match(route.pattern, path);
    if (params !== null) return { route, params };
  }
  return null;
}

/** Shows what went wrong in a page, in its place. */
class Guard extends Component<{ children: ReactNode }, { error: unknown }> {
  override state: { error: unknown } = { error: null };

  static getDerivedStateFromError(error: unknown): { error: unknown } {
    return { error };
  }

  override render(): ReactNode {
    if (this.state.error === null) return this.props.children;
    return <Crashed error={this.state.error} onRetry={() => this.setState({ error: null })} />;
  }
}

function Crashed(props: { error: unknown; onRetry: () => void }): ReactNode {
  const t = useT();
  return (
    <div className="page">
      <ErrorNote title={t('app.crashed')} error={props.error} onRetry={props.onRetry} />
    </div>
  );
}
