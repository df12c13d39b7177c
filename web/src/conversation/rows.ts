/** A conversation in rows, of which the list draws only those that are seen. */

import type { Block, Conversation, Notice, Turn } from './model';

/** A row. `block` rows carry what a sub-agent did below its call, and stand close to the next when both are calls. */
export type Row = (
  | { kind: 'prompt'; key: string; turn: Turn }
  | { kind: 'block'; key: string; turn: Turn; block: Block; inside: Inside; tight: boolean }
  | { kind: 'foot'; key: string; turn: Turn }
  | { kind: 'notice'; key: string; notice: Notice; open: boolean }
) & {
  /** Whether it was gone back from. */
  gone?: true;
};

/** The blocks of sub-agents, by the call that they belong to. */
export type Inside = ReadonlyMap<string, Block[]>;

const none: Inside = new Map();
/** What a turn's rows are does not change unless the turn does. */
const known = new WeakMap<Turn, Row[]>();

/** All rows, in order. What was gone back from is among them where its notice is `opened`. */
export function rowsOf(conversation: Conversation, opened: ReadonlySet<string> = new Set()): Row[] {
  const rows: Row[] = [];
  for (const entry of conversation.entries) {
    if (entry.type === 'turn') rows.push(...rowsOfTurn(entry));
    else if (isShown(entry)) {
      const open = opened.has(entry.key);
      if (open && entry.gone) {
        for (const gone of entry.gone) {
          if (gone.type === 'turn') rows.push(...rowsOfTurn(gone).map((row): Row => ({ ...row, gone: true })));
        }
      }
      rows.push({ kind: 'notice', key: entry.key, notice: entry, open });
    }
  }
  return rows;
}

/** Changes of the session that its head shows are not told once more. */
function isShown(notice: Notice): boolean {
  return (
    notice.what !== 'updated' ||
    'model' in notice.detail ||
    'permission_mode' in notice.detail ||
    'allowed_tool' in notice.detail
  );
}

function rowsOfTurn(turn: Turn): Row[] {
  const before = known.get(turn);
  if (before !== undefined) return before;
  const inside = insideOf(turn.blocks);
  const calls = new Set(turn.blocks.filter((block) => block.type === 'tool').map((tool) => tool.key));
  const outer = turn.blocks.filter(
    (block) => !(block.parent !== null && calls.has(block.parent)) && !(block.type === 'notice' && !isShown(block)),
  );
  const rows: Row[] = [{ kind: 'prompt', key: turn.id, turn }];
  for (const [at, block] of outer.entries()) {
    const tight = block.type === 'tool' && outer[at + 1]?.type === 'tool';
    rows.push({ kind: 'block', key: `${turn.id}/${block.key}`, turn, block, inside, tight });
  }
  rows.push({ kind: 'foot', key: `${turn.id}/foot`, turn });
  known.set(turn, rows);
  return rows;
}

function insideOf(blocks: Block[]): Inside {
  let inside: Map<string, Block[]> | null = null;
  for (const block of blocks) {
    if (block.parent === null) continue;
    inside ??= new Map();
    const list = inside.get(block.parent);
    if (list === undefined) inside.set(block.parent, [block]);
    else list.push(block);
  }
  return inside ?? none;
}

/** What is written in a row, in small letters, for looking through it. */
export function textOfRow(row: Row): string {
  switch (row.kind) {
    case 'prompt':
      return row.turn.prompt.toLowerCase();
    case 'block':
      return [row.block, ...insideAll(row.block, row.inside)].map(textOfBlock).join('\n').toLowerCase();
    case 'foot':
      return row.turn.error?.message.toLowerCase() ?? '';
    case 'notice':
      return '';
  }
}

function insideAll(block: Block, inside: Inside): Block[] {
  return (inside.get(block.key) ?? []).flatMap((child) => [child, ...insideAll(child, inside)]);
}

function textOfBlock(block: Block): string {
  switch (block.type) {
    case 'text':
    case 'thinking':
      return block.text;
    case 'tool': {
      const content = block.result?.content;
      const output = typeof content === 'string' ? content : JSON.stringify(content ?? '');
      return `${block.name} ${JSON.stringify(block.input)} ${output}`;
    }
    case 'ask':
      return `${block.request.tool_name} ${JSON.stringify(block.request.tool_input)}`;
    case 'other':
    case 'notice':
      return '';
  }
}
