// Starts a server of its own for a script: in an empty folder, on a free port, with the scripted model and a key made for it.
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

/**
 * Starts a server (PADDOCK_BIN, else target/release or target/debug) with some settings, after `prepare({binary, folder, env})`.
 * Resolves to `{url, adminKey, stop}`.
 */
export async function serve(name, settings, prepare = () => {}) {
  const built = ['target/release/paddock', 'target/debug/paddock'].map((file) => path.join(root, file));
  const binary = process.env.PADDOCK_BIN ?? built.find((file) => fs.existsSync(file));
  if (!binary) throw new Error('there is no server; build one (cargo build) or name it in PADDOCK_BIN');
  const cli = process.env.PADDOCK_CLI_PATH ?? execFileSync(path.join(root, 'scripts/install-cli.sh'), { encoding: 'utf8' }).trim();
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), `paddock-${name}-`));
  // Agents of other users of the machine pass through it.
  fs.chmodSync(folder, 0o711);
  const adminKey = randomBytes(24).toString('hex');
  const own = Object.fromEntries(Object.entries(process.env).filter(([variable]) => !/^(PADDOCK_|CLAUDE_|ANTHROPIC_|DATABASE_URL|OTEL_)/.test(variable)));
  const env = {
    ...own, ...settings,
    PADDOCK__API__PORT: '0',
    PADDOCK__AGENT__CLI_PATH: cli,
    PADDOCK__AUTH__ADMIN_KEY: adminKey,
    PADDOCK__AUTH__SEALING_KEY: randomBytes(32).toString('hex'),
  };
  try {
    await prepare({ binary: path.resolve(binary), folder, env });
  } catch (error) {
    fs.rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  const server = spawn(path.resolve(binary), ['serve'], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], env });
  const ended = new Promise((resolve) => {
    server.once('exit', resolve);
    // One that could not be started does not exit.
    server.once('error', resolve);
  });
  const stop = async () => {
    server.kill('SIGINT');
    await ended;
    fs.rmSync(folder, { recursive: true, force: true });
  };
  // Whoever ends this script ends its server.
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop().then(() => process.exit(1)));
  let log = '';
  const url = await new Promise((resolve, reject) => {
    const heard = (piece) => {
      log += piece;
      const [, address] = log.match(/listens on (http:\/\/\S+)/) ?? [];
      if (address) resolve(address);
    };
    server.stdout.on('data', heard);
    server.stderr.on('data', heard);
    server.once('error', (error) => reject(new Error(`the server cannot be started: ${error.message}`)));
    ended.then((code) => reject(new Error(`the server ended with ${code}:\n${log}`)));
  }).catch(async (error) => {
    await stop();
    throw error;
  });
  return { url, adminKey, stop };
}
