import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { ConnectionError, PaddockError } from '@paddock/client';
import type { Fetch, Paddock, PaddockEvent } from '@paddock/client';

import { startProxy } from './proxy.js';
import { PATIENCE, clientOf, collect, logOf, startServer, until } from './server.js';
import type { Server } from './server.js';

const WORDS = '% words 60 every 20ms';
const SAID = Array.from({ length: 60 }, (_, index) => `word${index + 1}`).join(' ');

let server: Server;
let paddock: Paddock;
before(async () => {
  server = await startServer();
  paddock = clientOf(server);
}, PATIENCE);
after(() => server?.stop());

/** The pieces of text, joined. */
function text(events: PaddockEvent[]): string {
  return events.map((event) => (event.type === 'text_delta' ? event.text : '')).join('');
}

/** That events come in order and once, by their ids. */
function assertRising(events: PaddockEvent[]): void {
  const ids = events.map((event) => event.id);
  assert.deepEqual(ids, [...new Set(ids)].sort((a, b) => a - b));
}

/** What of a log a turn's own stream tells. */
function ofStream(events: PaddockEvent[]): PaddockEvent[] {
  return events.filter((event) => event.type !== 'message' && event.type !== 'assistant_message');
}

describe('the stream of a turn', PATIENCE, () => {
  it('is told from its session to its end', async () => {
    const session = await paddock.sessions.create();
    // On a busy server it may wait for an agent first.
    const all = await collect(session.stream('% say one two'));
    const events = all.filter((event) => event.type !== 'turn_queued');
    assert.deepEqual(
      [events[0]?.type, events[1]?.type, events.at(-1)?.type],
      ['session', 'turn_started', 'done'],
    );
    assert.equal(text(events).trim(), 'one two');
    assert.deepEqual(all, ofStream(await logOf(session)));
  });

  it('goes on by itself when it is cut in the middle of frames: all events once, in order, as in the log', async () => {
    const session = await paddock.sessions.create();
    const proxy = await startProxy(server.url, { count: 4, after: 1700 });
    const events = await collect(clientOf(server, { baseUrl: proxy.url }).stream(session.id, WORDS));
    assert.equal(proxy.cuts, 4);
    assertRising(events);
    const last = events.at(-1);
    assert.ok(last?.type === 'done', JSON.stringify(last));
    assert.equal(last.text.trim(), SAID);
    assert.equal(text(events), last.text);
    assert.deepEqual(events, ofStream(await logOf(session)));
    let turns = 0;
    for await (const turn of session.turns()) turns += Number(turn.turn_id === last.turn_id) || 100;
    assert.equal(turns, 1);
    await proxy.close();
  });

  it('begins once, even when the first answers are lost', async () => {
    const session = await paddock.sessions.create();
    const proxy = await startProxy(server.url, { count: 2, after: 0 });
    const events = await collect(clientOf(server, { baseUrl: proxy.url }).stream(session.id, 'Hello'));
    assert.equal(proxy.cuts, 2);
    assert.equal(text(events), 'You said: Hello');
    assert.equal((await session.refresh()).view.message_count, 1);
    await proxy.close();
  });

  it('is gone on with by another client that has its key and the last id', async () => {
    const session = await paddock.sessions.create();
    const idempotencyKey = `stream-${session.id}`;
    const before: PaddockEvent[] = [];
    for await (const event of session.stream(WORDS, { idempotencyKey })) {
      before.push(event);
      if (before.length === 10) break;
    }
    const lastEventId = before.at(-1)!.id;
    const rest = await collect(clientOf(server).stream(session.id, WORDS, { idempotencyKey, lastEventId }));
    assert.deepEqual([...before, ...rest], ofStream(await logOf(session)));
    assert.throws(() => session.stream(WORDS, { lastEventId }), TypeError);
  });

  it('ends with an error event when the turn fails, and throws when it cannot begin', async () => {
    const session = await paddock.sessions.create();
    const failed = await collect(session.stream({ message: '% hang', timeout: 1 }));
    const last = failed.at(-1);
    assert.ok(last?.type === 'error' && last.code === 'turn_timeout', JSON.stringify(last));
    await session.delete();
    await assert.rejects(collect(session.stream('Hello')), (error) => {
      return error instanceof PaddockError && error.code === 'session_closed';
    });
  });

  it('stops for a signal, and the turn goes on', async () => {
    const session = await paddock.sessions.create();
    const controller = new AbortController();
    const stream = session.stream(WORDS, { signal: controller.signal });
    await assert.rejects(async () => {
      for await (const event of stream) {
        if (event.type === 'text_delta') controller.abort(new Error('enough'));
      }
    }, /enough/);
    const done = (await until(session.events(), 'done')).at(-1);
    assert.ok(done?.type === 'done' && done.text.trim() === SAID);
  });

  it('gives up when the server stays away', async () => {
    const session = await paddock.sessions.create();
    const proxy = await startProxy(server.url, { count: 1, after: 1700 });
    const cut = clientOf(server, { baseUrl: proxy.url, maxReconnects: 1 });
    const events: PaddockEvent[] = [];
    await assert.rejects(async () => {
      for await (const event of cut.stream(session.id, WORDS)) {
        events.push(event);
        if (events.length === 1) void proxy.close();
      }
    }, ConnectionError);
    assertRising(events);
  });
});

describe('the events of a session', PATIENCE, () => {
  it('are followed over cuts, and end when the session is closed', async () => {
    const session = await paddock.sessions.create();
    const proxy = await startProxy(server.url, { count: 3, after: 1700 });
    const following = clientOf(server, { baseUrl: proxy.url }).events(session.id);
    await session.submit(WORDS);
    const events: PaddockEvent[] = [];
    for await (const event of following) {
      events.push(event);
      if (event.type === 'done') await session.delete();
    }
    assert.equal(proxy.cuts, 3);
    assertRising(events);
    const log = await logOf(session);
    assert.deepEqual(events, log.slice(0, events.length));
    assert.equal(events.filter((event) => event.type === 'done').length, 1);
    await proxy.close();
  });

  it('are read after an id, of some types, of one turn, and without pieces', async () => {
    const session = await paddock.sessions.create();
    const one = await session.chat('one');
    const two = await session.chat('two');
    const log = await logOf(session);
    const middle = log.find((event) => event.type === 'done')!.id;
    const later = await collect(session.events({ follow: false, after: middle }));
    assert.deepEqual(later, log.filter((event) => event.id > middle));
    const prompts = await collect(session.events({ follow: false, types: ['message', 'done'] }));
    assert.deepEqual(prompts.map((event) => event.type), ['message', 'done', 'message', 'done']);
    const ofTwo = await collect(session.events({ turn: two.turn_id, deltas: false }));
    assert.ok(ofTwo.every((event) => event.turn_id === two.turn_id && event.type !== 'text_delta'));
    assert.equal(ofTwo.at(-1)?.type, 'done');
    assert.notEqual(one.turn_id, two.turn_id);
  });

  it('of types that are not known are passed on, and so are gaps; what comes twice is not', async () => {
    const sent = [
      { id: 5, created_at: 't', type: 'gap', first_available: 6 },
      { id: 6, created_at: 't', type: 'invented', shape: 'round' },
      { id: 6, created_at: 't', type: 'invented', shape: 'round' },
      { id: 4, created_at: 't', type: 'turn_started' },
      { id: 7, created_at: 't', type: 'turn_started' },
    ];
    const frames = sent.map((event) => `id: ${event.id}\ndata: ${JSON.stringify(event)}\n\n`).join('');
    const fetch: Fetch = async () => new Response(frames, { headers: { 'content-type': 'text/event-stream' } });
    const events = await collect(clientOf(server, { fetch }).events('ses_any', { follow: false, after: 5 }));
    assert.deepEqual(events.map((event) => [event.id, event.type]), [[5, 'gap'], [6, 'unknown'], [7, 'turn_started']]);
    const unknown = events[1];
    assert.ok(unknown?.type === 'unknown' && unknown.event.type === 'invented' && unknown.event.shape === 'round');
  });

  it('are refused after a cursor of another log', async () => {
    const session = await paddock.sessions.create();
    await assert.rejects(collect(session.events({ after: 12345 })), (error) => {
      return error instanceof PaddockError && error.code === 'invalid_cursor' && error.status === 400;
    });
  });
});
