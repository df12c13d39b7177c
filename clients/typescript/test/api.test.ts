import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { ConnectionError, Paddock, PaddockError, ProtocolError } from '@paddock/client';
import type { Fetch } from '@paddock/client';

import { startProxy } from './proxy.js';
import { PATIENCE, clientOf, startServer } from './server.js';
import type { Server } from './server.js';

let server: Server;
let paddock: Paddock;
before(async () => {
  server = await startServer();
  paddock = clientOf(server);
}, PATIENCE);
after(() => server?.stop());

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

/** The problem that a call is refused with. */
async function problem(call: Promise<unknown>): Promise<PaddockError> {
  const error: unknown = await call.then(
    () => assert.fail('it was not refused'),
    (error: unknown) => error,
  );
  assert.ok(error instanceof PaddockError, String(error));
  return error;
}

/** A fetch that answers itself as long as it has answers, and keeps the keys that it saw. */
function answering(...answers: Response[]): { fetch: Fetch; keys: (string | null)[] } {
  const keys: (string | null)[] = [];
  const fetch: Fetch = async (input, init) => {
    keys.push(new Headers(init.headers).get('idempotency-key'));
    return answers.shift() ?? globalThis.fetch(input, init);
  };
  return { fetch, keys };
}

describe('sessions', PATIENCE, () => {
  it('are made, found, changed, listed page after page, and closed', async () => {
    const mark = `list-${Date.now()}`;
    const made = [];
    for (const title of ['one', 'two', 'three']) {
      made.push(await paddock.sessions.create({ title, metadata: { mark } }));
    }
    const found = await paddock.sessions.get(made[0]!.id);
    assert.equal(found.view.title, 'one');
    assert.equal(found.view.user_id, 'alice');
    assert.equal((await found.update({ title: 'first' })).view.title, 'first');
    assert.equal((await found.refresh()).view.title, 'first');

    const listed = await all(paddock.sessions.list({ metadata: { mark }, limit: 1 }));
    assert.deepEqual(listed.map((session) => session.id).sort(), made.map((session) => session.id).sort());
    await found.delete();
    assert.equal((await found.refresh()).view.status, 'closed');
    assert.equal((await problem(found.chat('Hello'))).code, 'session_closed');
  });

  it('answer, remember, and go on in a fork', async () => {
    const session = await paddock.sessions.create();
    const answer = await session.chat('Remember the word plum.');
    assert.equal(answer.text, 'I will remember that.');
    assert.equal(answer.stop_reason, 'end_turn');
    assert.ok((answer.usage.output_tokens ?? 0) > 0);
    const turn = await paddock.turns.get(session.id, answer.turn_id);
    assert.deepEqual([turn.status, turn.text], ['completed', answer.text]);
    const roles = (await all(session.messages({ limit: 1 }))).map((message) => message.role);
    assert.deepEqual(roles, ['user', 'assistant']);

    const fork = await session.fork({ title: 'a fork' });
    assert.notEqual(fork.id, session.id);
    assert.match((await fork.chat('Which word did I ask you to remember?')).text, /plum/);
    assert.equal((await (await session.resume()).refresh()).view.message_count, 1);
  });

  it('tell of the server, the caller, and what was used', async () => {
    assert.equal((await paddock.health()).status, 'healthy');
    assert.equal(typeof (await paddock.me()).tenant, 'string');
    assert.ok((await paddock.models()).length > 0);
    const session = await paddock.sessions.create();
    await session.chat('Hello');
    const [sum] = await paddock.usage({ session_id: session.id, group_by: ['session'] });
    assert.equal(sum?.session_id, session.id);
    assert.ok(sum.requests >= 1);
  });

  it('have turns that are submitted, interrupted and cancelled', async () => {
    const session = await paddock.sessions.create();
    const running = await session.submit('% say so\n% hang');
    const waiting = await session.submit({ message: 'Hello', on_busy: 'queue' });
    await paddock.turns.cancel(session.id, waiting.turn_id);
    for await (const event of session.events({ turn: running.turn_id })) {
      if (event.type === 'text_delta') break;
    }
    assert.deepEqual((await session.interrupt()).turn_id, running.turn_id);
    let last;
    for await (const event of session.events({ turn: running.turn_id })) last = event;
    assert.ok(last?.type === 'error' && last.code === 'turn_interrupted', JSON.stringify(last));
    const turns = await all(session.turns());
    assert.deepEqual(
      turns.map((turn) => [turn.turn_id, turn.status]),
      [
        [waiting.turn_id, 'interrupted'],
        [running.turn_id, 'interrupted'],
      ],
    );
  });
});

describe('problems', PATIENCE, () => {
  it('say what is wrong, with which fields, and by which request', async () => {
    const unknown = await problem(paddock.sessions.get('ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f'));
    assert.deepEqual([unknown.status, unknown.code], [404, 'session_not_found']);
    assert.ok(unknown.requestId);
    const invalid = await problem(paddock.sessions.create({ user_id: 'no/such', options: { max_turns: 0 } }));
    assert.deepEqual([invalid.status, invalid.code], [422, 'validation_failed']);
    assert.deepEqual(invalid.errors.map((error) => error.field).sort(), ['options.max_turns', 'user_id']);
    assert.match(invalid.message, /user_id/);
  });

  it('say when to come back, and are not tried again where that is no help', async () => {
    const session = await paddock.sessions.create();
    await session.submit('% hang');
    const seen = answering();
    const busy = await problem(clientOf(server, { fetch: seen.fetch }).chat(session.id, 'Hello'));
    assert.deepEqual([busy.status, busy.code, seen.keys.length], [409, 'session_busy', 1]);
    assert.ok((busy.retryAfterSeconds ?? 0) >= 1);
    await session.delete();
  });

  it('carry the turn that failed', async () => {
    const session = await paddock.sessions.create();
    const failed = await problem(session.chat({ message: '% hang', timeout: 1 }));
    assert.deepEqual([failed.status, failed.code], [504, 'turn_timeout']);
    assert.equal((await all(session.turns()))[0]?.turn_id, failed.turnId);
  });

  it('are of the connection when there is no answer, and of the protocol when it is no JSON', async () => {
    const proxy = await startProxy(server.url, { count: Infinity, after: 0 });
    const cut = clientOf(server, { baseUrl: proxy.url, maxRetries: 1 });
    await assert.rejects(cut.me(), ConnectionError);
    assert.equal(proxy.cuts, 2);
    await proxy.close();
    await assert.rejects(cut.me(), ConnectionError);
    const { fetch } = answering(new Response('<html>'));
    await assert.rejects(clientOf(server, { fetch }).me(), ProtocolError);
  });

  it('give way to the reason of a signal', async () => {
    const session = await paddock.sessions.create();
    const controller = new AbortController();
    const chat = session.chat('% hang', { signal: controller.signal });
    for await (const event of session.events()) {
      if (event.type === 'turn_started') break;
    }
    controller.abort(new Error('enough'));
    await assert.rejects(chat, /enough/);
    await session.delete();
  });
});

describe('a request that is sent again', PATIENCE, () => {
  it('runs one turn, however often its answer is lost', async () => {
    const session = await paddock.sessions.create();
    const proxy = await startProxy(server.url, { count: 3, after: 0 });
    const cut = clientOf(server, { baseUrl: proxy.url });
    const turn = await cut.submit(session.id, 'Hello');
    const answer = await cut.chat(session.id, { message: 'Hello again', on_busy: 'queue' });
    assert.equal(proxy.cuts, 3);
    assert.equal(answer.text, 'You said: Hello again');
    const turns = await all(session.turns());
    assert.deepEqual(
      turns.map((entry) => entry.turn_id),
      [answer.turn_id, turn.turn_id],
    );
    await proxy.close();
  });

  it('makes one session, and closes it once', async () => {
    const title = `once-${Date.now()}`;
    const lostCreate = await startProxy(server.url, { count: 2, after: 0 });
    const session = await clientOf(server, { baseUrl: lostCreate.url }).sessions.create({ title });
    assert.equal(lostCreate.cuts, 2);
    assert.equal((await all(paddock.sessions.list({ q: title }))).length, 1);
    await lostCreate.close();
    const lostDelete = await startProxy(server.url, { count: 1, after: 0 });
    await clientOf(server, { baseUrl: lostDelete.url }).sessions.delete(session.id);
    assert.equal((await paddock.sessions.get(session.id)).view.status, 'closed');
    await lostDelete.close();
  });

  it('has the same key, and waits as long as it is told', async () => {
    const session = await paddock.sessions.create();
    const { fetch, keys } = answering(
      new Response('', { status: 503, headers: { 'retry-after': '1' } }),
      new Response('', { status: 429, headers: { 'retry-after': '0' } }),
      new Response('<html>bad gateway</html>', { status: 502 }),
    );
    const began = Date.now();
    const answer = await clientOf(server, { fetch }).chat(session.id, 'Hello');
    assert.ok(Date.now() - began >= 1000);
    assert.equal(answer.text, 'You said: Hello');
    assert.equal(keys.length, 4);
    assert.ok(keys[0]);
    assert.equal(new Set(keys).size, 1);
    assert.equal((await all(session.turns())).length, 1);
  });

  it('is given up when the server says no, or too late', async () => {
    const { fetch, keys } = answering(
      new Response('', { status: 429 }),
      new Response('', { status: 503, headers: { 'retry-after': '3600' } }),
    );
    const client = clientOf(server, { fetch });
    assert.equal((await problem(client.me())).status, 429);
    assert.equal((await problem(client.me())).retryAfterSeconds, 3600);
    assert.equal(keys.length, 2);
  });

  it('with a key of the caller is the same request', async () => {
    const session = await paddock.sessions.create();
    const first = await session.chat('Hello', { idempotencyKey: `key-${session.id}` });
    const second = await session.chat('Hello', { idempotencyKey: `key-${session.id}` });
    assert.equal(second.turn_id, first.turn_id);
    const reused = await problem(session.chat('Bye', { idempotencyKey: `key-${session.id}` }));
    assert.equal(reused.code, 'key_reused');
  });
});
