// Runs the tests of the console, one after the other, against one server.
import assert from 'node:assert/strict';
import budget from './budget.mjs';
import conversations from './conversations.mjs';
import files from './files.mjs';
import { openHarness } from './harness.mjs';
import signingIn from './signing-in.mjs';
import views from './views.mjs';

const tests = [...budget, ...signingIn, ...conversations, ...files, ...views];

/** Runs them, or those whose names have a text. Resolves to the names of those that failed. */
export async function runTests(options) {
  const chosen = tests.filter(({ name }) => name.includes(options.only ?? ''));
  if (chosen.length === 0) throw new Error(`no test has “${options.only}” in its name`);
  const harness = await openHarness(options);
  const failed = [];
  try {
    for (const { name, run } of chosen) {
      const begun = Date.now();
      harness.problems.length = 0;
      try {
        await run(harness);
        assert.deepEqual(harness.problems, [], 'the browser tells of problems');
        console.log(`  ok    ${name} (${((Date.now() - begun) / 1000).toFixed(1)} s)`);
      } catch (error) {
        failed.push(name);
        await harness.failed(name);
        console.log(`  FAIL  ${name}\n${String(error.stack ?? error).replace(/^/gm, '        ')}`);
        if (harness.problems.length > 0) console.log(`        ${harness.problems.join('\n        ')}`);
      } finally {
        await harness.close();
      }
    }
  } finally {
    await harness.stop();
  }
  return failed;
}
