#!/usr/bin/env node
// Uses the web console in Chromium, against a real server with the real CLI on the scripted model. The tests are in web/tests.
//
//   scripts/check-console.mjs [TEXT]    starts a server of its own (PADDOCK_BIN, else target/release or target/debug) and runs the
//                                       tests whose names have the text, or all; make web first
//
// PADDOCK_CHROMIUM names another Chromium than /usr/bin/chromium, PADDOCK_SCREENS another folder for pictures than
// target/console-screens.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { serve } from './serve.mjs';
import { longSession } from '../web/tests/archive.mjs';
import { runTests } from '../web/tests/run.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
/** Of ten events each. */
const LONG_TURNS = 1000;
const SETTINGS = { PADDOCK__MODEL__SCRIPTED: 'true', PADDOCK__SESSION__STORAGE: 'sqlite' };

const executable = process.env.PADDOCK_CHROMIUM ?? '/usr/bin/chromium';
const screens = path.resolve(process.env.PADDOCK_SCREENS ?? path.join(root, 'target/console-screens'));
const begun = Date.now();
let server;
let failed = [];
try {
  if (!fs.existsSync(executable)) throw new Error(`there is no ${executable}; scripts/install-test-tools.sh installs it`);
  server = await serve('console', SETTINGS, ({ binary, folder, env }) => {
    const file = path.join(folder, 'long.jsonl');
    fs.writeFileSync(file, longSession(LONG_TURNS));
    execFileSync(binary, ['import', file], { cwd: folder, env, stdio: ['ignore', 'ignore', 'inherit'] });
  });
  const page = await fetch(`${server.url}/console/`);
  if (!(await page.text()).includes('/console/assets/')) throw new Error('the console is not in the binary; make web, and build it again');
  failed = await runTests({ url: server.url, adminKey: server.adminKey, screens, executable, only: process.argv[2] });
} catch (error) {
  console.error(`check-console: ${error.message}`);
  process.exitCode = 1;
} finally {
  await server?.stop();
}
if (failed.length > 0) {
  console.error(`check-console: ${failed.length} failed; pictures are in ${screens}`);
  process.exitCode = 1;
} else if (!process.exitCode) console.log(`check-console: all is well (${Math.round((Date.now() - begun) / 1000)} s); pictures are in ${screens}`);
