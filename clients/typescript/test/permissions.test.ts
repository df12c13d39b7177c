import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import type { OnPermission, Paddock, PaddockEvent, PermissionRequestEvent, Session } from '@paddock/client';

import { PATIENCE, clientOf, collect, startServer, until } from './server.js';
import type { Server } from './server.js';

const PROMPT = '% bash echo made > made\n% results';

let server: Server;
let paddock: Paddock;
before(async () => {
  server = await startServer();
  paddock = clientOf(server);
}, PATIENCE);
after(() => server?.stop());

/** A session whose agent asks before it runs a command. */
function asking(): Promise<Session> {
  return paddock.sessions.create({ options: { permission_mode: 'default', allowed_tools: [] } });
}

function resolved(events: PaddockEvent[]): string[] {
  return events.flatMap((event) => (event.type === 'permission_resolved' ? [event.decision] : []));
}

describe('what an agent asks', PATIENCE, () => {
  it('is answered by the callback of a stream', async () => {
    const session = await asking();
    const asked: PermissionRequestEvent[] = [];
    const events = await collect(
      session.stream(PROMPT, {
        onPermission: (request, context) => {
          assert.equal(context.sessionId, session.id);
          asked.push(request);
          return 'allow';
        },
      }),
    );
    assert.deepEqual(asked.map((request) => [request.kind, request.tool_name]), [['tool', 'Bash']]);
    assert.equal(asked[0]?.tool_input.command, 'echo made > made');
    assert.deepEqual(resolved(events), ['allow']);
    const result = events.find((event) => event.type === 'tool_result');
    assert.ok(result?.type === 'tool_result' && !result.is_error, JSON.stringify(result));
    assert.equal(events.at(-1)?.type, 'done');
  });

  it('is not asked again of those who read the log later', async () => {
    const session = await asking();
    const asked: (string | null | undefined)[] = [];
    const onPermission: OnPermission = (request) => {
      asked.push(request.turn_id);
      return 'allow';
    };
    await collect(session.stream(PROMPT, { onPermission }));
    const [answered] = asked.splice(0);
    // Only the questions come, and nothing that tells how they ended.
    const questions = session.events({ types: ['permission_request'], onPermission });
    assert.equal((await questions.next()).value?.turn_id, answered);
    const turn = await session.submit(PROMPT);
    assert.equal((await questions.next()).value?.turn_id, turn.turn_id);
    await until(session.events({ turn: turn.turn_id }), 'done');
    assert.deepEqual(asked, [turn.turn_id]);
    await questions.return();
  });

  it('is refused with a word to the agent, or allowed with another input', async () => {
    const session = await asking();
    const refused = await collect(
      session.stream(PROMPT, { onPermission: async () => ({ decision: 'deny', message: 'Not today.' }) }),
    );
    assert.deepEqual(resolved(refused), ['deny']);
    assert.match(JSON.stringify(refused.find((event) => event.type === 'tool_result')), /Not today\./);
    const changed = await collect(
      session.stream(PROMPT, {
        onPermission: () => ({ decision: 'allow', updated_input: { command: 'echo other words' } }),
      }),
    );
    assert.match(JSON.stringify(changed.find((event) => event.type === 'tool_result')), /other words/);
  });

  it('is left to others by a callback that says nothing, which hears that it is over', async () => {
    const session = await asking();
    let signal: AbortSignal | undefined;
    const events = await collect(
      session.stream(PROMPT, {
        onPermission: async (request, context) => {
          signal = context.signal;
          const [waiting] = await collectPermissions(session);
          assert.equal(waiting?.permission_id, request.permission_id);
          await paddock.permissions.answer(session.id, request.permission_id, { decision: 'deny' });
          return undefined;
        },
      }),
    );
    assert.deepEqual(resolved(events), ['deny']);
    assert.ok(signal?.aborted);
    assert.equal((await collectPermissions(session)).length, 0);
  });

  it('ends the stream when the callback throws, and still waits for others', async () => {
    const session = await asking();
    const onPermission = (): never => {
      throw new Error('the dialog is broken');
    };
    await assert.rejects(collect(session.stream(PROMPT, { onPermission })), /the dialog is broken/);
    const [waiting] = await collectPermissions(session);
    assert.equal(waiting?.tool_name, 'Bash');
    const answered = await paddock.permissions.answer(session.id, waiting.permission_id, { decision: 'allow' });
    assert.equal(answered.resolution?.decision, 'allow');
    assert.deepEqual(resolved(await until(session.events(), 'done')), ['allow']);
  });

  it('is answered by the callback of a socket, once', async () => {
    const session = await asking();
    let asked = 0;
    const socket = session.socket({
      onPermission: () => {
        asked += 1;
        return { decision: 'allow', remember: true };
      },
    });
    // It would keep the process alive if the test failed.
    after(() => socket.close());
    await socket.message('% bash touch made');
    assert.deepEqual(resolved(await until(socket, 'done')), ['allow']);
    // What is remembered is not asked again.
    await socket.message('% bash touch made');
    assert.deepEqual(resolved(await until(socket, 'done')), []);
    assert.equal(asked, 1);
  });
});

async function collectPermissions(session: Session) {
  const all = [];
  for await (const permission of session.permissions()) all.push(permission);
  return all;
}
