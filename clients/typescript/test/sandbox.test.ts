import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { ConnectionError, PaddockError } from '@paddock/client';
import { ClaudeAgentClient } from '@paddock/client/sandbox';
import type { WSInputMessage, WSOutputMessage } from '@paddock/client/sandbox';

import { startFakeAgentServer } from './fake-agent-server.js';
import type { FakeAgentServer } from './fake-agent-server.js';
import { PATIENCE, startServer } from './server.js';
import type { Server } from './server.js';

const HELLO: WSInputMessage = {
  type: 'user_message',
  data: { type: 'user', session_id: '', parent_tool_use_id: null, message: { role: 'user', content: 'Hello' } },
};

let fake: FakeAgentServer;
before(async () => {
  fake = await startFakeAgentServer('pk_secret');
});
after(() => fake.stop());

/** Messages up to the first of this type. */
function messagesUntil(client: ClaudeAgentClient, type: WSOutputMessage['type']): Promise<WSOutputMessage[]> {
  return new Promise((resolve) => {
    const all: WSOutputMessage[] = [];
    const forget = client.onMessage((message) => {
      all.push(message);
      if (message.type !== type) return;
      forget();
      resolve(all);
    });
  });
}

describe('the client of a sandbox, against a fake of its server', PATIENCE, () => {
  it('configures, connects, and passes messages both ways', async () => {
    const client = new ClaudeAgentClient({
      connectionUrl: `${fake.url}/`,
      apiKey: 'pk_secret',
      e2bApiKey: 'not for the server',
      debug: false,
      anthropicApiKey: 'sk-test',
      model: 'haiku',
      allowedTools: ['Read'],
    });
    assert.throws(() => client.send(HELLO), /^Error: WebSocket is not connected$/);
    const connected = messagesUntil(client, 'connected');
    await client.start();
    assert.deepEqual(await connected, [{ type: 'connected' }]);
    assert.deepEqual(fake.configs, [{ anthropicApiKey: 'sk-test', model: 'haiku', allowedTools: ['Read'] }]);
    assert.deepEqual(fake.authorizations, ['Bearer pk_secret', 'Bearer pk_secret']);

    let heard = 0;
    const forget = client.onMessage(() => (heard += 1));
    forget();
    const answer = messagesUntil(client, 'sdk_message');
    client.send(HELLO);
    assert.deepEqual((await answer).map((message) => message.type), ['info', 'sdk_message']);
    assert.deepEqual(fake.received, [HELLO]);
    assert.equal(heard, 0);

    const second = new ClaudeAgentClient({ connectionUrl: fake.url, apiKey: 'pk_secret' });
    await assert.rejects(second.start(), /Server already has an active connection/);
    await client.stop();
    assert.throws(() => client.send(HELLO), /WebSocket is not connected/);
  });

  it('says so when it is refused, and when nobody answers', async () => {
    const stranger = new ClaudeAgentClient({ connectionUrl: fake.url, apiKey: 'pk_other' });
    await assert.rejects(stranger.start(), (error) => error instanceof PaddockError && error.status === 401);
    const gone = await startFakeAgentServer();
    await gone.stop();
    await assert.rejects(new ClaudeAgentClient({ connectionUrl: gone.url }).start(), ConnectionError);
  });

  it('says what it takes to make a sandbox where that is missing', async () => {
    await assert.rejects(new ClaudeAgentClient({ e2bApiKey: 'none' }).start(), /takes the package `e2b`/);
  });
});

describe('the client of a sandbox, against a real server', PATIENCE, () => {
  let server: Server;
  before(async () => {
    server = await startServer();
  });
  after(() => server.stop());

  it('configures, connects, and is answered', async () => {
    const client = new ClaudeAgentClient({
      connectionUrl: server.url,
      ...(server.key === undefined ? {} : { apiKey: server.key }),
      systemPrompt: 'Be brief.',
    });
    await client.start();
    try {
      const result = new Promise<unknown>((resolve, reject) => {
        client.onMessage((message) => {
          if (message.type === 'error') reject(new Error(message.error));
          if (message.type === 'sdk_message' && message.data.type === 'result') resolve(message.data.result);
        });
      });
      client.send(HELLO);
      assert.equal(await result, 'You said: Hello');
    } finally {
      await client.stop();
    }
  });
});
