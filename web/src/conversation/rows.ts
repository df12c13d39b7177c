/** A conversation in rows, of which the list draws only those that are seen. */

import type { Block, Conversation, Notice, Turn } from './model';

/** A row. `block` rows carry what a sub-agent did below its call. */
export type Row =
  | { kind: 'prompt'; key: string; turn: Turn }
  | { kind: 'block'; key: string; turn: Turn; block: Block; inside: Inside }
  | { kind: 'foot'; key: string; turn: Turn }
  | { kind: 'notice'; key: string; notice: Notice };

/** The blocks of sub-agents, by the call that they belong to. */
export type Inside = ReadonlyMap<string, Block[]>;

const none: Inside = new Map();
/** What a turn's rows are does not change unless the turn does. */
const known = new WeakMap<Turn, Row[]>();

/** All rows, in order. */
export function rowsOf(conversation: Conversation): Row[] {
  const rows: Row[] = [];
  for (const entry of conversation.entries) {
    if (entry.type === 'turn') rows.push(...rowsOfTurn(entry));
    else if (isShown(entry)) rows.push({ kind: 'notice', key: entry.key, notice: entry });
  }
  return rows;
}

/** Changes of the session that its head shows are not told once more. */
function isShown(notice: Notice): boolean {
  return notice.what !== 'updated' || 'model' in notice.detail || 'permission_mode' in notice.detail || 'allowed_tool' in notice.detail;
}

function rowsOfTurn(turn: Turn): Row[] {
  const before = known.get(turn);
  if (before !== undefined) return before;
  const inside = insideOf(turn.blocks);
  const rows: Row[] = [{ kind: 'prompt', key: turn.id, turn }];
  for (const block of turn.blocks) {
    if (isInside(block, turn.blocks)) continue;
    if (block.type === 'notice' && !isShown(block)) continue;
    rows.push({ kind: 'block', key: `${turn.id}/${block.key}`, turn, block, inside });
  }
  rows.push({ kind: 'foot', key: `${turn.id}/foot`, turn });
  known.set(turn, rows);
  return rows;
}

function isInside(block: Block, blocks: Block[]): boolean {
  return block.parent !== null && blocks.some((other) => other.type === 'tool' && other.key === block.parent);
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
