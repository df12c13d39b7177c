// How much there is to load, and how soon the first page stands.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { web } from './harness.mjs';

const BYTES_MAX = 350 * 1024;
const FIRST_PAGE_MS = 1000;

function filesIn(folder) {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const file = path.join(folder, entry.name);
    return entry.isDirectory() ? filesIn(file) : [file];
  });
}

export default [
  {
    name: 'all of the console is at most 350 kB, compressed',
    async run() {
      const bytes = filesIn(path.join(web, 'dist')).reduce((sum, file) => sum + gzipSync(fs.readFileSync(file), { level: 9 }).length, 0);
      console.log(`    ${Math.round(bytes / 1024)} kB`);
      assert.ok(bytes <= BYTES_MAX, `${bytes} bytes`);
    },
  },
  {
    name: 'the first page stands within a second',
    async run(h) {
      const times = [];
      // Nothing is in its cache: each context begins empty. The best counts: other work on the machine is not the page's.
      for (let round = 0; round < 3; round += 1) {
        const page = await h.page();
        await page.getByLabel(h.t('signIn.key'), { exact: true }).waitFor();
        times.push(await page.evaluate(() => Math.round(performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? performance.now())));
        await h.close();
      }
      console.log(`    ${times.join(', ')} ms`);
      assert.ok(Math.min(...times) <= FIRST_PAGE_MS, `${times} ms`);
    },
  },
];
