/** A fake of claude-agent-server: what its protocol says, without an agent. One connection at a time. */

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { WebSocketServer } from 'ws';

/** A fake that runs. */
export interface FakeAgentServer {
  url: string;
  /** What was sent to `/config`, in order. */
  configs: unknown[];
  /** The `Authorization` of each request, in order; null where there was none. */
  authorizations: (string | null)[];
  /** What came over the WebSocket, in order. */
  received: unknown[];
  stop(): Promise<void>;
}

/** Starts a fake that takes this key, or any caller when there is none. */
export async function startFakeAgentServer(key?: string): Promise<FakeAgentServer> {
  const [configs, authorizations, received] = [[] as unknown[], [] as (string | null)[], [] as unknown[]];
  const allows = (authorization: string | undefined): boolean => {
    authorizations.push(authorization ?? null);
    return key === undefined || authorization === `Bearer ${key}`;
  };
  const server = createServer((request, response) => {
    if (!allows(request.headers.authorization)) {
      response.writeHead(401).end();
      return;
    }
    let body = '';
    request.setEncoding('utf8').on('data', (piece: string) => (body += piece));
    request.on('end', () => {
      const config: unknown = JSON.parse(body);
      configs.push(config);
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ success: true, config }));
    });
  });
  const sockets = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request, socket, head) => {
    if (!allows(request.headers.authorization)) {
      socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(request, socket, head, (connection) => {
      const say = (message: object): void => connection.send(JSON.stringify(message));
      if (sockets.clients.size > 1) {
        say({ type: 'error', error: 'Server already has an active connection' });
        connection.close(1000);
        return;
      }
      say({ type: 'connected' });
      connection.on('message', (data) => {
        const message = JSON.parse(data.toString()) as { type: string };
        received.push(message);
        if (message.type !== 'user_message') return;
        connection.send('this is no JSON');
        say({ type: 'info', data: 'a word on the side' });
        say({ type: 'sdk_message', data: { type: 'result', subtype: 'success', result: 'done' } });
      });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    configs,
    authorizations,
    received,
    async stop() {
      for (const connection of sockets.clients) connection.terminate();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
