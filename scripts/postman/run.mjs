// Runs the Postman collection with newman against a live server, and tells what was asked and answered.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const collectionFile = path.join(root, 'postman_collection.json');

// newman and the like are not the project's own dependencies; scripts/install-test-tools.sh puts them here.
const tools = createRequire(path.join(root, 'tools/test-clients/package.json'));

/** A package of tools/test-clients. */
export function tool(name) {
  try {
    return tools(name);
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    throw new Error(`${name} is not installed; run scripts/install-test-tools.sh`);
  }
}

/** The collection, as it stands in the file. */
export function readCollection() {
  return JSON.parse(fs.readFileSync(collectionFile, 'utf8'));
}

/** The requests of a collection or folder, in order, however deep they lie. */
export function requestsOf(folder) {
  return folder.item.flatMap((item) => (item.item ? requestsOf(item) : [item]));
}

/** The lines of an item's script. */
export function scriptOf(item, listen) {
  return (item.event ?? []).filter((event) => event.listen === listen).flatMap((event) => event.script.exec).join('\n');
}

/**
 * Runs the collection from top to bottom. Resolves to
 * `exchanges`: for each request of the collection, in its order, `{item, request, response, variables}` of its last answer (a
 * request that waits for something is sent several times), or `{item}` if it was not sent;
 * `assertions`: how many held or failed; `failures`: a line for each thing that failed.
 */
export function run(collection, baseUrl, adminKey) {
  const newman = tool('newman');
  const { Collection } = tool('postman-collection');
  const sdk = new Collection(collection);
  // In the order of the file: newman's items are the same ones, with ids.
  const ids = [];
  sdk.forEachItem((item) => ids.push(item.id));
  const exchanges = requestsOf(collection).map((item) => ({ item, assertions: [] }));
  const byId = new Map(ids.map((id, index) => [id, exchanges[index]]));
  const failures = [];
  let assertions = 0;
  // What the scripts have set so far.
  let set = {};

  return new Promise((resolve, reject) => {
    const emitter = newman.run({
      collection: sdk,
      envVar: [{ key: 'base_url', value: baseUrl }, { key: 'admin_key', value: adminKey }],
      reporters: [],
      timeoutRequest: 60_000,
      timeoutScript: 10_000,
    }, (error) => (error ? reject(error) : resolve({ exchanges, failures, assertions })));

    emitter.on('request', (error, { item, request, response }) => {
      if (error) return failures.push(`${item.name}: ${error.message}`);
      const exchange = byId.get(item.id);
      Object.assign(exchange, {
        request: {
          method: request.method,
          url: request.url.toString(),
          headers: Object.fromEntries(request.headers.members.map(({ key, value }) => [key.toLowerCase(), value])),
          body: request.body?.raw,
        },
        response: {
          status: response.code,
          reason: response.reason(),
          type: response.headers.get('Content-Type') ?? '',
          body: response.text(),
        },
        // As they were when the request was sent: the script that looks at its answer has not run yet.
        variables: { ...set, base_url: baseUrl, admin_key: adminKey },
      });
    });
    emitter.on('assertion', (error, { item, assertion, skipped }) => {
      assertions += 1;
      byId.get(item.id).assertions.push(assertion);
      if (error) failures.push(`${item.name}: ${assertion}: ${error.message}`);
      if (skipped) failures.push(`${item.name}: ${assertion}: is skipped`);
    });
    // An exception in a script, before or behind its assertions.
    emitter.on('script', (error, { item, execution }) => {
      if (execution?.collectionVariables) {
        set = Object.fromEntries(execution.collectionVariables.values.map(({ key, value }) => [key, value]));
      }
      if (error) failures.push(`${item.name}: its script failed: ${error.message}`);
    });
  });
}
