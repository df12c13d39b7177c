// How an answer is shown: with stand-ins, laid out, and cut where it is long.

const WIDTH = 124;
const LINES = 30;
const LINE = 330;
const CUT = '… (cut)';

// Of these, only a part tells something; what else there is changes with every new figure or operation, or from run to run.
const PARTS = [
  [/^GET .*\/metrics$/, (text) => text.split('\n')
    .filter((line) => /paddock_(agents|turns_waiting|agent_crashes)(_total)?[{ ]/.test(line))
    // The series of one metric come in any order.
    .reduce((blocks, line) => {
      if (line.startsWith('# HELP')) blocks.push([]);
      blocks.at(-1).push(line);
      return blocks;
    }, []).flatMap(([help, type, ...series]) => [help, type, ...series.sort()]).join('\n')],
  [/^GET .*\/openapi\.json$/, (text) => {
    const { openapi, info } = JSON.parse(text);
    return JSON.stringify({ openapi, info });
  }],
  [/^GET .*\/files\/archive(\?|$)/, () => '(the archive)'],
  [/^GET .*\/export$/, (text) => text.split('\n').slice(0, 4).join('\n')],
];

/** JSON, with what fits on a line on one. */
function layOut(value, indent = '') {
  const flat = inline(value);
  if (value === null || typeof value !== 'object' || flat.length + indent.length <= WIDTH) return flat;
  const inner = `${indent}  `;
  const entries = Array.isArray(value)
    ? value.map((entry) => inner + layOut(entry, inner))
    : Object.entries(value).map(([key, entry]) => `${inner}${JSON.stringify(key)}: ${layOut(entry, inner)}`);
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  return entries.length ? `${open}\n${entries.join(',\n')}\n${indent}${close}` : open + close;
}

function inline(value) {
  if (Array.isArray(value)) return `[${value.map(inline).join(', ')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  return `{${Object.entries(value).map(([key, entry]) => `${JSON.stringify(key)}: ${inline(entry)}`).join(', ')}}`;
}

/** The lines of a stream or of JSON lines, with the pieces of a text but the first two left out: how many there are may differ. */
function streamed(text, placeholders) {
  const blocks = text.trimEnd().split(text.includes('\ndata:') ? /\n\n+/ : '\n').filter((block) => !/^:/.test(block));
  let pieces = 0;
  const out = [];
  for (const block of blocks) {
    const [, head = '', data] = block.match(/^([\s\S]*?)(\{.*)$/) ?? [null, block];
    if (data?.includes('"type":"text_delta"')) {
      pieces += 1;
      if (pieces === 3) out.push(text.includes('\ndata:') ? ': … (cut: more pieces of text)' : CUT);
      if (pieces > 2) continue;
    } else pieces = 0;
    out.push(placeholders.text(head) + (data ? JSON.stringify(placeholders.json(JSON.parse(data))) : ''));
  }
  return out.join(text.includes('\ndata:') ? '\n\n' : '\n');
}

function shorten(text, cut) {
  const lines = text.split('\n').map((line) => (line.length > LINE ? `${line.slice(0, LINE)}${CUT}` : line));
  const long = lines.length > LINES;
  if (long) lines.length = LINES;
  if (long || cut) lines.push(CUT);
  return { text: lines.join('\n'), whole: !long && !cut && !lines.some((line) => line.endsWith(CUT)) };
}

/** An answer's body as it is shown: `{text, info}`, `info` being the language of the block. Empty where there is none. */
export function shown({ item, response }, placeholders) {
  if (response.body === '') return { text: '', info: '' };
  const [, part] = PARTS.find(([of]) => response.status === 200 && of.test(`${item.request.method} ${item.request.url.raw}`)) ?? [];
  const text = part ? part(response.body) : response.body;
  const cut = part !== undefined;
  const type = response.type.split(';')[0];
  if (/[/+]json$/.test(type)) {
    const laid = shorten(layOut(placeholders.json(JSON.parse(text))), cut);
    return { text: laid.text, info: laid.whole ? 'json' : 'console' };
  }
  const stream = ['text/event-stream', 'application/x-ndjson'].includes(type);
  const plain = stream ? streamed(text, placeholders)
    : type === 'text/csv' ? placeholders.text(text.trimEnd().replaceAll('\r\n', '\n')).replace(/,\d+,\d{5,},\d+,0,0,[\d.]+$/gm, ',12,12000,30,0,0,0.05')
      : placeholders.text(text);
  return { text: shorten(plain, cut).text, info: 'console' };
}
