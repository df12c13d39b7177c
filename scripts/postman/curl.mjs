// A request of the collection as a curl command. What is a variable of the collection is a variable of the shell.
import { execFile } from 'node:child_process';
import http from 'node:http';
import { promisify } from 'node:util';

const NAMES = { base_url: 'PADDOCK_URL', api_key: 'PADDOCK_KEY', admin_key: 'PADDOCK_ADMIN_KEY' };
const nameOf = (variable) => NAMES[variable] ?? variable.toUpperCase();
const VARIABLE = /\{\{(\w+)\}\}/g;

/** A word of the shell: in single quotes, or in double ones where there are variables. */
function quoted(text) {
  if (!text.includes('{{')) {
    if (text.includes("'")) throw new Error(`a single quote in ${text}`);
    return `'${text}'`;
  }
  return `"${text.replace(/[\\"$`]/g, '\\$&').replace(VARIABLE, (_, name) => `$${nameOf(name)}`)}"`;
}

function compact(raw) {
  try {
    // Variables that are no strings would not be JSON.
    return JSON.stringify(JSON.parse(raw), null, 1).replace(/\n\s*/g, ' ').replace(/([[{]) /g, '$1').replace(/ ([\]}])/g, '$1');
  } catch {
    return raw;
  }
}

/** The command, as lines of a shell script. */
export function curl(collection, { method, url, header, body, auth = collection.auth }, streams) {
  const words = [`curl -sS${streams ? 'N' : ''}`];
  if (method !== (body ? 'POST' : 'GET')) words[0] += ` -X ${method}`;
  words[0] += ` ${quoted(url.raw)}`;
  if (auth.type === 'bearer') words.push(`-H ${quoted(`Authorization: Bearer ${auth.bearer[0].value}`)}`);
  for (const { key, value } of header ?? []) words.push(`-H ${quoted(`${key}: ${value}`)}`);
  const lines = [];
  for (const word of words) {
    if (lines.length && `${lines.at(-1)} ${word}`.length <= 124) lines.push(`${lines.pop()} ${word}`);
    else lines.push(word);
  }
  let document = [];
  if (body) {
    const short = compact(body.raw);
    // A script of several lines, or a text with variables, stands as a document.
    if (short.includes('\r')) {
      // A form, whose line breaks are of two characters.
      if (/['%\\]|\{\{/.test(short)) throw new Error(`what printf would change in ${short}`);
      lines[0] = `printf '%b' '${short.replaceAll('\r', '\\r').replaceAll('\n', '\\n')}' |\n  ${lines[0]}`;
      lines.push('--data-binary @-');
    } else if (short.length <= 110 && !/[{]{2}|'/.test(short)) lines.push(`-d '${short}'`);
    else {
      const text = short.length <= 110 ? short : body.raw;
      const variables = text.includes('{{');
      if (variables && /[$`]|\\[\\$`]/.test(text)) throw new Error(`what the shell would change in ${text}`);
      lines.push(`-d @- <<${variables ? 'JSON' : "'JSON'"}`);
      document = [...text.replace(VARIABLE, (_, name) => `$${nameOf(name)}`).split('\n'), 'JSON'];
    }
  }
  return [lines.join(' \\\n  '), ...document].join('\n');
}

/** Runs commands against a server that answers with what it was asked, and tells which of them ask for something else than newman did. */
export async function check(commands) {
  const echo = http.createServer((request, response) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => response.end(JSON.stringify({
      method: request.method, path: request.url, headers: request.headers, body: Buffer.concat(pieces).toString(),
    })));
  });
  await new Promise((resolve) => { echo.listen(0, '127.0.0.1', resolve); });
  const address = `http://127.0.0.1:${echo.address().port}`;
  const meaning = (text = '') => { try { return JSON.stringify(JSON.parse(text)); } catch { return text; } };
  const wrong = [];
  try {
    for (const { item, command, request, variables } of commands) {
      const env = { PATH: process.env.PATH };
      for (const [name, value] of Object.entries(variables)) env[nameOf(name)] = String(value);
      env.PADDOCK_URL = address;
      const { stdout } = await promisify(execFile)('bash', ['-euc', command], { env });
      const asked = JSON.parse(stdout);
      const path = request.url.replace(/^https?:\/\/[^/]+/, '');
      const pairs = [['method', asked.method, request.method], ['path', asked.path, path],
        ['body', meaning(asked.body), meaning(request.body)],
        ...['authorization', 'content-type', 'idempotency-key', 'last-event-id']
          .map((name) => [name, asked.headers[name], request.headers[name]])];
      if (request.headers.accept !== '*/*') pairs.push(['accept', asked.headers.accept, request.headers.accept]);
      for (const [what, one, other] of pairs) {
        if (one === other) continue;
        const values = what === 'authorization' ? '' : `: ${one}, and ${other}`;
        wrong.push(`${item.name}: the curl command's ${what} is not newman's${values}`);
      }
    }
  } finally {
    echo.close();
  }
  return wrong;
}
