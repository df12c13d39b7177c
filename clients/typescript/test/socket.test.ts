import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { ConnectionError, PaddockError } from '@paddock/client';
import type { Paddock, PaddockEvent, SessionSocket, SocketOptions } from '@paddock/client';

import { startProxy } from './proxy.js';
import { PATIENCE, clientOf, collect, logOf, startServer, until } from './server.js';
import type { Server } from './server.js';

const WORDS = '% words 60 every 20ms';

let server: Server;
let paddock: Paddock;
before(async () => {
  server = await startServer();
  paddock = clientOf(server);
}, PATIENCE);
const opened: SessionSocket[] = [];
after(async () => {
  // One that a failed test left open would keep the process alive.
  for (const socket of opened) socket.close();
  await server?.stop();
});

/** A socket that is closed after the tests at the latest. */
function open(id: string, options?: SocketOptions, client = paddock): SessionSocket {
  const socket = client.socket(id, options);
  opened.push(socket);
  return socket;
}

function isRefusal(code: string) {
  return (error: unknown): boolean => error instanceof PaddockError && error.code === code;
}

describe('a socket', PATIENCE, () => {
  it('takes commands, answers each, and tells what comes of them', async () => {
    const session = await paddock.sessions.create();
    const socket = open(session.id);
    await socket.ping();
    const { turnId } = await socket.message('% say hello');
    const events = await until(socket, 'done');
    assert.ok(events.some((event) => event.type === 'message' && event.turn_id === turnId));
    assert.deepEqual(events, await logOf(session));

    await socket.setPermissionMode('plan');
    const updated = (await until(socket, 'session_updated')).at(-1);
    assert.ok(updated?.type === 'session_updated' && updated.permission_mode === 'plan');
    await socket.setModel('haiku');
    assert.equal((await session.refresh()).view.options.model, 'haiku');
    await socket.setModel(null);
    assert.equal((await session.refresh()).view.options.model ?? null, null);
    socket.close();
  });

  it('interrupts, refuses, and tells why', async () => {
    const session = await paddock.sessions.create();
    const socket = open(session.id);
    assert.equal((await socket.interrupt()).turnId, null);
    const { turnId } = await socket.message('% say so\n% hang');
    await assert.rejects(socket.message('Hello'), isRefusal('session_busy'));
    await assert.rejects(socket.message('  '), (error) => {
      return error instanceof PaddockError && error.status === 422 && error.errors[0]?.field === 'message';
    });
    await assert.rejects(
      socket.permission('prm_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f', { decision: 'allow' }),
      isRefusal('permission_not_found'),
    );
    await until(socket, 'text_delta');
    assert.equal((await socket.interrupt()).turnId, turnId);
    const last = (await until(socket, 'error')).at(-1);
    assert.ok(last?.type === 'error' && last.code === 'turn_interrupted');
    socket.close();
  });

  it('comes back by itself when it is cut: all events once, in order, as in the log', async () => {
    const session = await paddock.sessions.create();
    const proxy = await startProxy(server.url, { count: 4, after: 1700, only: /upgrade: websocket/i });
    const socket = open(session.id, {}, clientOf(server, { baseUrl: proxy.url }));
    await socket.message(WORDS);
    const events = await until(socket, 'done');
    assert.equal(proxy.cuts, 4);
    assert.deepEqual(events, await logOf(session));
    assert.equal(socket.lastEventId, events.at(-1)?.id);
    socket.close();
    await proxy.close();
  });

  it('sends a prompt again whose acknowledgement was lost, and it runs once', async () => {
    const session = await paddock.sessions.create();
    // The handshake's answer has about 200 bytes; what is cut is what comes after the prompt was sent.
    const proxy = await startProxy(server.url, { count: 3, after: 300, only: /upgrade: websocket/i });
    const socket = open(session.id, {}, clientOf(server, { baseUrl: proxy.url }));
    const { turnId } = await socket.message('Hello');
    const events = await until(socket, 'done');
    assert.equal(proxy.cuts, 3);
    assert.equal(events.at(-1)?.turn_id, turnId);
    assert.equal((await session.refresh()).view.message_count, 1);
    socket.close();
    await proxy.close();
  });

  it('keeps no more events than it may, and loses none', async () => {
    const session = await paddock.sessions.create();
    await session.chat('% words 40');
    const socket = open(session.id, { bufferMax: 5 });
    await socket.message('% words 40');
    await until(session.events({ after: await lastDone(session) }), 'done');
    const events: PaddockEvent[] = [];
    for await (const event of socket) {
      events.push(event);
      if (events.filter((each) => each.type === 'done').length === 2) break;
    }
    assert.deepEqual(events, await logOf(session));
    socket.close();
  });

  it('goes on after an id, and tells only what is asked for', async () => {
    const session = await paddock.sessions.create();
    await session.chat('one');
    const socket = open(session.id, { after: await lastDone(session), types: ['message', 'done'] });
    await socket.message('two');
    assert.deepEqual((await until(socket, 'done')).map((event) => event.type), ['message', 'done']);
    socket.close();
  });

  it('ends when the session is closed, and cannot be opened then', async () => {
    const session = await paddock.sessions.create();
    const socket = open(session.id);
    await socket.ping();
    await session.delete();
    await collect(socket);
    await assert.rejects(socket.ping(), ConnectionError);
    const late = open(session.id, { after: (await logOf(session)).at(-1)?.id ?? 0 });
    assert.deepEqual(await collect(late), []);
  });

  it('throws when there is no such session, and when the server stays away', async () => {
    const nowhere = open('ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f');
    const [command, loop] = await Promise.allSettled([nowhere.ping(), collect(nowhere)]);
    for (const outcome of [command, loop]) {
      assert.ok(outcome.status === 'rejected' && isRefusal('session_not_found')(outcome.reason), outcome.status);
    }
    const proxy = await startProxy(server.url, { count: Infinity, after: 0 });
    const session = await paddock.sessions.create();
    const away = open(session.id, {}, clientOf(server, { baseUrl: proxy.url, maxReconnects: 1 }));
    await assert.rejects(collect(away), ConnectionError);
    await proxy.close();
  });

  it('rejects what waits when it is closed, and ends for a signal', async () => {
    const session = await paddock.sessions.create();
    const socket = open(session.id);
    const ping = socket.ping();
    socket.close();
    await assert.rejects(ping, ConnectionError);
    assert.deepEqual(await collect(socket), []);
    const controller = new AbortController();
    const aborted = open(session.id, { signal: controller.signal });
    await aborted.ping();
    controller.abort(new Error('enough'));
    await assert.rejects(collect(aborted), /enough/);
  });
});

/** The id of the end of a session's last turn. */
async function lastDone(session: Parameters<typeof logOf>[0]): Promise<number> {
  const done = (await logOf(session)).filter((event) => event.type === 'done').at(-1);
  return done?.id ?? assert.fail('no turn is done');
}
