/** The console: the door, the shell, and the page that the address names. */

import type { ReactNode } from 'react';
import { Component, Suspense, useEffect } from 'react';
import { I18nProvider, useT } from '../i18n';
import { routes } from '../routes';
import { SessionFrame } from '../session/SessionFrame';
import { ButtonLink, ErrorNote, Loading, Page, ToastProvider } from '../ui';
import { AuthProvider, useDoor } from './auth';
import { InboxProvider } from './inbox';
import { href, match, navigate, usePath } from './router';
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
    const { page: Shown } = found.route;
    return (
      <Guard key={path}>
        <Suspense fallback={<Loading />}>
          <Shown params={found.params} />
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
  if (auth.me.role === 'guest' && auth.api.key !== undefined) return <ToShare token={auth.api.key} />;
  return (
    <InboxProvider>
      <Shell>
        <CurrentPage />
      </Shell>
    </InboxProvider>
  );
}

/** Who holds a share reads one session, and has a page for that. */
function ToShare(props: { token: string }): ReactNode {
  useEffect(() => navigate(href('shared', props.token), { replace: true }), [props.token]);
  return <Loading />;
}

function CurrentPage(): ReactNode {
  const t = useT();
  const path = usePath();
  const found = find(path);
  if (found === null) {
    return (
      <Page title={t('app.notFound')} lead={t('app.notFoundHint')}>
        <div className="row">
          <ButtonLink to="/sessions">{t('app.backToSessions')}</ButtonLink>
        </div>
      </Page>
    );
  }
  const { page: Shown, inSession } = found.route;
  const page = (
    <Guard key={found.route.pattern}>
      <Suspense fallback={<Loading />}>
        <Shown params={found.params} />
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
    const { error } = this.state;
    // After the server was replaced, parts that were not loaded yet are gone: the page has to be loaded anew.
    const gone = error instanceof Error && /dynamically imported|Importing a module/.test(error.message);
    return <Crashed error={error} onRetry={() => (gone ? location.reload() : this.setState({ error: null }))} />;
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
