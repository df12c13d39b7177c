/** Routes in the fragment of the address: `#/sessions/ses_1/files/src/main.rs`. */

import type { AnchorHTMLAttributes, ReactNode } from 'react';
import { useSyncExternalStore } from 'react';

/** The parts of a path that a pattern names. */
export type Params = Record<string, string>;

/** The path of the address that is shown, without its query. */
export function currentPath(): string {
  const [path = ''] = location.hash.replace(/^#/, '').split('?');
  return path === '' ? '/' : path;
}

/** The query of the address that is shown: `#/usage?by=day`. */
export function currentQuery(): URLSearchParams {
  return new URLSearchParams(location.hash.split('?')[1] ?? '');
}

/** Goes to a path. */
export function navigate(to: string, options: { replace?: boolean } = {}): void {
  if (options.replace) {
    history.replaceState(history.state, '', `#${to}`);
    dispatchEvent(new HashChangeEvent('hashchange'));
  } else {
    location.hash = to;
  }
}

function subscribe(onChange: () => void): () => void {
  addEventListener('hashchange', onChange);
  return () => removeEventListener('hashchange', onChange);
}

/** The path that is shown. */
export function usePath(): string {
  return useSyncExternalStore(subscribe, currentPath);
}

/** One parameter of the fragment's query; null when it is absent. */
export function useQueryParam(name: string): string | null {
  return useSyncExternalStore(subscribe, () => currentQuery().get(name));
}

/**
 * The parameters of a path that a pattern matches, null when it does not.
 * `:name` is one part, `*name` at the end is the rest, which may be empty.
 */
export function match(pattern: string, path: string): Params | null {
  const wanted = pattern.split('/').filter(Boolean);
  const given = path.split('/').filter(Boolean);
  const params: Params = {};
  for (const [at, part] of wanted.entries()) {
    if (part.startsWith('*')) {
      params[part.slice(1)] = given.slice(at).map(decode).join('/');
      return params;
    }
    const value = given[at];
    if (value === undefined) return null;
    if (part.startsWith(':')) params[part.slice(1)] = decode(value);
    else if (part !== value) return null;
  }
  return given.length === wanted.length ? params : null;
}

/** A path of parts, each escaped, slashes too: `href('sessions', id, 'files', ...parts)`. */
export function href(...parts: string[]): string {
  return `/${parts.map(encodeURIComponent).join('/')}`;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** A link to a path of the console. */
export function Link(props: { to: string; children: ReactNode } & AnchorHTMLAttributes<HTMLAnchorElement>): ReactNode {
  const { to, ...rest } = props;
  return <a href={`#${to}`} {...rest} />;
}
