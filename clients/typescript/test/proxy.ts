/** Stands between a client and the server, and cuts connections in the middle of what comes. */

import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';

/** Which connections are cut, and when. */
export interface Cuts {
  /** How many are cut. */
  count: number;
  /** After how many bytes of the server's; 0: before the first. */
  after: number;
  /** Only those whose first request has this in its head. */
  only?: RegExp;
}

/** A proxy that runs. */
export interface CuttingProxy {
  url: string;
  /** How many connections were cut. */
  readonly cuts: number;
  close(): Promise<void>;
}

/** Starts a proxy to a server. Cuts are never at the end of a frame; every other one is a reset. */
export async function startProxy(serverUrl: string, plan: Cuts): Promise<CuttingProxy> {
  const server = new URL(serverUrl);
  const open = new Set<Socket>();
  let cuts = 0;
  const listener = createServer((client) => {
    const upstream = connect(Number(server.port), server.hostname);
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        open.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    let head = '';
    client.on('data', (piece) => {
      if (!head.includes('\r\n\r\n')) head += piece.toString('latin1');
      upstream.write(piece);
    });
    let passed = 0;
    let isCut = false;
    upstream.on('data', (piece) => {
      if (isCut) return;
      passed += piece.length;
      const isMeant = plan.only === undefined || plan.only.test(head);
      if (!isMeant || cuts >= plan.count || passed <= plan.after) {
        client.write(piece);
        return;
      }
      isCut = true;
      cuts += 1;
      let part = piece.subarray(0, Math.max(0, piece.length - (passed - plan.after)));
      while (part.length > 0 && /\s/.test(String.fromCharCode(part[part.length - 1]!))) part = part.subarray(0, -1);
      const isReset = cuts % 2 === 0;
      const cut = (): void => void (isReset ? client.resetAndDestroy() : client.destroy());
      if (part.length === 0) cut();
      else client.write(part, cut);
    });
  });
  // One that a failed test left open does not keep the process alive.
  listener.unref();
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return {
    url: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    get cuts() {
      return cuts;
    },
    async close() {
      for (const socket of open) socket.destroy();
      listener.close();
      await once(listener, 'close');
    },
  };
}
