/** The server that the tests speak to: the one that the environment names, or one that is started for them. */

import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { Paddock } from '@paddock/client';
import type { PaddockEvent, PaddockOptions, Session } from '@paddock/client';

/** Longest time that a test may take. */
export const PATIENCE = { timeout: 60_000 };

const REPOSITORY = fileURLToPath(new URL('../../../../', import.meta.url));

/** A running server. */
export interface Server {
  url: string;
  key: string | undefined;
  stop(): Promise<void>;
}

/** `PADDOCK_URL` (with `PADDOCK_KEY`), or a server of the binary `PADDOCK_BIN` with data of its own. */
export async function startServer(): Promise<Server> {
  const given = process.env.PADDOCK_URL;
  if (given !== undefined) return { url: given, key: process.env.PADDOCK_KEY, stop: async () => {} };
  const binary = process.env.PADDOCK_BIN;
  if (binary === undefined || !existsSync(binary)) {
    throw new Error('set PADDOCK_URL to a server, or PADDOCK_BIN to the paddock binary (cargo build --bin paddock)');
  }
  const cli = process.env.PADDOCK__AGENT__CLI_PATH ?? execFileSync(join(REPOSITORY, 'scripts/install-cli.sh')).toString().trim();
  const folder = mkdtempSync(join(tmpdir(), 'paddock-client-'));
  // Agents may run under users of their own, which must get to their folders.
  chmodSync(folder, 0o755);
  const child = spawn(binary, ['serve'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      PADDOCK__MODEL__SCRIPTED: 'true',
      PADDOCK__AGENT__CLI_PATH: cli,
      PADDOCK__API__PORT: '0',
      PADDOCK__SESSION__SQLITE_PATH: join(folder, 's.db'),
      PADDOCK__USER__BASE_DIR: join(folder, 'users'),
      // The fence is what other tests look at; here it would only ask for what a machine may not have.
      PADDOCK__ISOLATION__LEVEL: 'none',
    },
  });
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  const stop = async (): Promise<void> => {
    process.removeListener('exit', kill);
    if (child.exitCode === null) {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    return { url: await listening(child), key: undefined, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The address that the server says it listens on. */
async function listening(child: ChildProcess): Promise<string> {
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-4000);
  });
  for await (const line of createInterface({ input: child.stdout! })) {
    const found = /listens on (http:\/\/\S+)/.exec(line);
    if (found?.[1] !== undefined) {
      // Nobody reads what else it says; a full pipe would stop it.
      child.stdout?.resume();
      return found[1];
    }
  }
  throw new Error(`the server ended before it listened: ${said}`);
}

/** A client of a server, straight or through something at `url`. */
export function clientOf(server: Server, options: Partial<PaddockOptions> = {}): Paddock {
  return new Paddock({ baseUrl: server.url, apiKey: server.key, userId: 'alice', ...options });
}

/** All events, to the end of what yields them. */
export async function collect(events: AsyncIterable<PaddockEvent>): Promise<PaddockEvent[]> {
  const all: PaddockEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

/** Events up to the first one of a type, which is the last. */
export async function until(events: AsyncIterable<PaddockEvent>, type: PaddockEvent['type']): Promise<PaddockEvent[]> {
  const all: PaddockEvent[] = [];
  for await (const event of events) {
    all.push(event);
    if (event.type === type) return all;
  }
  throw new Error(`no ${type} among ${all.map((event) => event.type).join(', ')}`);
}

/** A session's whole log, as it is. */
export function logOf(session: Session): Promise<PaddockEvent[]> {
  return collect(session.events({ follow: false }));
}
