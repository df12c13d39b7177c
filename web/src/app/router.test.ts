/** Paths and patterns. */

import { describe, expect, it } from 'vitest';
import { href, match } from './router';

describe('a route', () => {
  it('matches its parts, and no more', () => {
    expect(match('/sessions/:session', '/sessions/ses_1')).toEqual({ session: 'ses_1' });
    expect(match('/sessions/:session', '/sessions')).toBeNull();
    expect(match('/sessions/:session', '/sessions/ses_1/log')).toBeNull();
    expect(match('/', '/')).toEqual({});
  });

  it('has the rest of a path, escaped or not', () => {
    expect(match('/sessions/:session/files/*path', '/sessions/s/files/src/a%20b.rs')).toEqual({
      session: 's',
      path: 'src/a b.rs',
    });
    expect(match('/sessions/:session/files/*path', '/sessions/s/files')).toEqual({ session: 's', path: '' });
    expect(match('/x/:y', '/x/%E0%A4%A')).toEqual({ y: '%E0%A4%A' });
  });

  it('is made of parts that are escaped', () => {
    expect(href('sessions', 'a/b c')).toBe('/sessions/a%2Fb%20c');
    expect(match('/sessions/:session', href('sessions', 'a/b c'))).toEqual({ session: 'a/b c' });
  });
});
