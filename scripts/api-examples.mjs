#!/usr/bin/env node
// Writes docs/API_EXAMPLES.md, and the saved answers of postman_collection.json, from a run of the collection against a real server.
//
//   scripts/api-examples.mjs            starts a server of its own (PADDOCK_BIN, else target/release or target/debug) and writes
//   scripts/api-examples.mjs --check    writes nothing; fails if the files are not what would be written
//   PADDOCK_ADMIN_KEY=… scripts/api-examples.mjs [--check] http://127.0.0.1:8000    uses that server, which should be fresh
import fs from 'node:fs';
import path from 'node:path';
import { check, curl } from './postman/curl.mjs';
import { Placeholders } from './postman/placeholders.mjs';
import { collectionFile, readCollection, requestsOf, root, run } from './postman/run.mjs';
import { shown } from './postman/shown.mjs';
import { serve } from './serve.mjs';

const page = path.join(root, 'docs/API_EXAMPLES.md');

process.on('uncaughtException', (error) => {
  console.error(`api-examples: ${error.message}`);
  process.exit(1);
});

/** What the server is run with, besides the paths and the secrets. */
const SETTINGS = { PADDOCK__MODEL__SCRIPTED: 'true', PADDOCK__SESSION__STORAGE: 'sqlite' };

/** The answers of a run with stand-ins, and how they are shown: `[{…exchange, text, info, command}]`. */
function examples(collection, exchanges) {
  const placeholders = new Placeholders();
  for (const { request, response, variables } of exchanges) {
    if (variables.tenant) placeholders.put(variables.tenant, 'acme');
    placeholders.put(variables.base_url, 'http://127.0.0.1:8000');
    const [, folder] = response.body.match(/"cwd":"([^"]+)\/workspaces\//) ?? [];
    placeholders.put(folder, '/var/lib/paddock');
    placeholders.put(folder?.replace(/[^A-Za-z0-9]/g, '-'), '-var-lib-paddock');
    for (const [, task] of response.body.matchAll(/"task_id":"([^"]+)"/g)) placeholders.put(task, 'b1a2c3d4e');
    if (!request) throw new Error('a request was not sent');
  }
  return exchanges.map((exchange) => {
    const streams = exchange.response.type.startsWith('text/event-stream');
    return { ...exchange, ...shown(exchange, placeholders), command: curl(collection, exchange.item.request, streams) };
  });
}

/** The collection with these answers saved in it. */
function saved(collection, entries) {
  const language = (type) => (/[/+]json/.test(type) ? 'json' : 'text');
  for (const { item, response, text } of entries) {
    const type = response.type.split(';')[0];
    item.response = [{
      name: `${response.status} ${response.reason}`,
      originalRequest: { method: item.request.method, header: item.request.header, ...(item.request.body ? { body: item.request.body } : {}), url: item.request.url },
      status: response.reason,
      code: response.status,
      _postman_previewlanguage: language(type),
      header: type ? [{ key: 'Content-Type', value: type }] : [],
      cookie: [],
      body: text,
    }];
  }
  return `${JSON.stringify(collection, null, '\t')}\n`;
}

/** A paragraph, or an entry of a list, in lines of a readable length. */
function wrapped(text, indent = '') {
  const lines = [];
  // What stands in backticks, and a link, stays on its line.
  for (const word of text.match(/(?:`[^`]*`|\[[^\]]*\]\([^)]*\)|\S)+/g)) {
    if (lines.length && `${lines.at(-1)} ${word}`.length <= 124) lines.push(`${lines.pop()} ${word}`);
    else lines.push(lines.length ? indent + word : word);
  }
  return lines.join('\n');
}

const anchor = (title) => title.toLowerCase().replace(/[^\w\- ]/g, '').replaceAll(' ', '-');
const asked = ({ method, url }) => `${method} ${url.raw.replace('{{base_url}}', '').replace(/\{\{(\w+)\}\}/g, '{$1}')}`;

const intro = (settings) => `# API by example

Every operation of the API, with what it really answers. Written by \`scripts/api-examples.mjs\` from a run of
[\`postman_collection.json\`](../postman_collection.json) against a server; \`make test\` checks that it is still so. What each field
means is in the OpenAPI document (\`/openapi.json\`, and as a page at \`/docs/\`). The dialects' operations are in
[DIALECTS.md](DIALECTS.md).

Stand-ins are: ids (numbered as they come up), times, secrets, the tenant's name, the server's folder, tokens, money, and whether an
agent lives. All else is as it was answered; JSON is laid out anew, and \`${'… (cut)'}\` stands where there was more.

The server of the run, on the scripted model (answers cost nothing; a prompt that begins with \`%\` is a
[script](../crates/scripted-model/README.md)):

\`\`\`sh no-run
export PADDOCK_ADMIN_KEY="$(openssl rand -hex 24)"
${settings} \\
  PADDOCK__AUTH__ADMIN_KEY="$PADDOCK_ADMIN_KEY" PADDOCK__AUTH__SEALING_KEY="$(openssl rand -hex 32)" \\
  PADDOCK__AGENT__CLI_PATH="$(scripts/install-cli.sh)" paddock serve
\`\`\`

The commands need \`$PADDOCK_URL\` (\`http://127.0.0.1:8000\`), \`$PADDOCK_ADMIN_KEY\`, and \`$PADDOCK_KEY\`, the key that
[Make a key](#make-a-key) answers. \`$TENANT\` and \`$IDEMPOTENCY_KEY\` are of your choice. Other variables are taken from
earlier answers: \`$SESSION_ID\` is the \`session_id\` of [Create a session](#create-a-session), and so on.

The collection runs in Postman too: set its variables \`base_url\` and \`admin_key\`, and run it from top to bottom.`;

/** The page. */
function written(collection, entries) {
  const settings = Object.entries(SETTINGS).map(([name, value]) => `${name}=${value}`).join(' ');
  const out = [intro(settings), '', '## Contents', ''];
  for (const folder of collection.item) {
    const links = requestsOf(folder).map(({ name }) => `[${name}](#${anchor(name)})`);
    out.push(wrapped(`- **${folder.name}**: ${links.join(' · ')}`, '  '));
  }
  const byItem = new Map(entries.map((entry) => [entry.item, entry]));
  const before = new Map();
  for (const folder of collection.item) {
    out.push('', `## ${folder.name}`, '', wrapped(folder.description));
    for (const item of requestsOf(folder)) {
      const { response, text, info, command } = byItem.get(item);
      const type = response.type.split(';')[0];
      const status = `${response.status} ${response.reason}${type ? `, \`${type}\`` : ', without a body'}`;
      out.push('', `### ${item.name}`, '', wrapped(`\`${asked(item.request)}\` – ${item.request.description}`), '```sh no-run', command, '```');
      const same = text.length > 300 && before.get(text);
      if (same) out.push(`${status}: the same as in [${same}](#${anchor(same)}).`);
      else if (text) out.push(`${status}:`, `\`\`\`${info}`, text, '```');
      else out.push(`${status}.`);
      before.set(text, item.name);
    }
  }
  return `${out.join('\n')}\n`;
}

const checking = process.argv.includes('--check');
const [url] = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const server = url ? { url: url.replace(/\/+$/, ''), adminKey: process.env.PADDOCK_ADMIN_KEY, stop: async () => {} } : await serve('examples', SETTINGS);
const collection = readCollection();
let result;
try {
  if (!server.adminKey) throw new Error('PADDOCK_ADMIN_KEY is to be set to the admin key of that server');
  result = await run(collection, server.url, server.adminKey);
} finally {
  await server.stop();
}
const entries = result.failures.length === 0 ? examples(collection, result.exchanges) : [];
const wrong = result.failures.length === 0 ? await check(entries) : result.failures;
// What goes wrong first has the rest go wrong.
for (const line of wrong.slice(0, 20)) console.error(`api-examples: ${line}`);
if (wrong.length > 20) console.error(`api-examples: and ${wrong.length - 20} more`);
if (wrong.length > 0) process.exit(1);

const files = [[page, written(collection, entries)], [collectionFile, saved(collection, entries)]];
let differs = false;
for (const [file, text] of files) {
  const before = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '';
  if (before === text) continue;
  differs = true;
  const [old, now] = [before.split('\n'), text.split('\n')];
  const at = now.findIndex((line, n) => line !== old[n]);
  const name = path.relative(root, file);
  if (!checking) {
    fs.writeFileSync(file, text);
    console.log(`api-examples: wrote ${name}, ${now.length - 1} lines`);
  } else {
    console.error(`api-examples: ${name} is not what the server answers; from line ${at + 1} on:\n  is       ${(old[at] ?? '(its end)').slice(0, 300)}\n  is to be ${(now[at] ?? '(its end)').slice(0, 300)}`);
  }
}
if (checking && differs) {
  console.error('api-examples: run scripts/api-examples.mjs, look at the difference, and commit it');
  process.exit(1);
}
if (!differs) console.log(`api-examples: ${files.map(([file]) => path.relative(root, file)).join(' and ')} are what the server answers`);
