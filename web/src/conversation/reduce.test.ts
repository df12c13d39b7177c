/** The reducer against events as a server sends them. */

import type { PaddockEvent } from '@paddock/client/events.js';
import { describe, expect, it } from 'vitest';
import type { Conversation, Tool, Turn } from './model';
import { nothing, openAsks, runningTurn } from './model';
import { reduce, withPrompt } from './reduce';
import { rowsOf } from './rows';

let last = 0;
/** An event of turn `t1`, with the next id. */
function event(type: string, rest: Record<string, unknown> = {}): PaddockEvent {
  last += 10;
  const created_at = new Date(Date.UTC(2026, 0, 1) + last * 100).toISOString();
  return { id: last, turn_id: 't1', created_at, type, ...rest } as unknown as PaddockEvent;
}
const text = (said: string, rest = {}) =>
  event('assistant_message', { content: [{ type: 'text', text: said }], ...rest });
const begin = (prompt = 'Hello', rest = {}) => [
  event('message', { text: prompt, ...rest }),
  event('session', rest),
  event('turn_started', rest),
];
const done = (said = '', rest = {}) =>
  event('done', { text: said, usage: { output_tokens: 2 }, cost_usd: 0.5, stop_reason: 'end_turn', ...rest });
function turn(conversation: Conversation, at = 0): Turn {
  const turns = conversation.entries.filter((entry) => entry.type === 'turn');
  const found = turns[at];
  if (!found) throw new Error(`there is no turn ${at}`);
  return found;
}
const said = (conversation: Conversation) =>
  turn(conversation).blocks.map((block) =>
    'text' in block ? block.text : block.type === 'tool' ? block.name : block.type,
  );

describe('a conversation of a log', () => {
  it('joins pieces of text, and puts the whole message in their place', () => {
    const pieces = [...begin(), event('text_delta', { text: 'Hel' }), event('text_delta', { text: 'lo' })];
    const live = reduce(nothing, pieces);
    expect(said(live)).toEqual(['Hello']);
    const key = turn(live).blocks[0]?.key;
    const whole = reduce(live, [text('Hello!')]);
    expect(said(whole)).toEqual(['Hello!']);
    expect(turn(whole).blocks[0]).toMatchObject({ key, streaming: false });
  });

  it('is the same whether it is read in one go, event by event, twice, or without pieces', () => {
    const events = [
      ...begin(),
      event('thinking_delta', { text: 'hm' }),
      event('assistant_message', { content: [{ type: 'thinking', thinking: 'hm' }] }),
      event('text_delta', { text: 'I look.' }),
      text('I look.'),
      event('tool_use', { tool_name: 'Bash', tool_input: { command: 'ls' }, tool_use_id: 'u1' }),
      event('assistant_message', { content: [{ type: 'tool_use', id: 'u1', name: 'Bash', input: { command: 'ls' } }] }),
      event('tool_result', { tool_use_id: 'u1', content: 'a', is_error: false }),
      event('text_delta', { text: '\n\nDone.' }),
      text('Done.'),
      done('I look.\n\nDone.'),
    ];
    const whole = reduce(nothing, events);
    expect(said(whole)).toEqual(['hm', 'I look.', 'Bash', 'Done.']);
    let slow = nothing;
    for (const one of events) slow = reduce(slow, [one]);
    expect(slow).toEqual(whole);
    expect(reduce(whole, events)).toBe(whole);
    const durable = reduce(
      nothing,
      events.filter((one) => !one.type.endsWith('delta')),
      { deltas: false },
    );
    expect(said(durable)).toEqual(said(whole));
  });

  it('takes in the pieces that a history without them left out, once', () => {
    const start = begin();
    const pieces = [event('text_delta', { text: 'One ' }), event('text_delta', { text: 'two ' })];
    const queued = event('turn_queued', { turn_id: 't2', waits_for: 'session', position: 1 });
    const rest = event('text_delta', { text: 'three' });
    const history = reduce(nothing, [...start, queued], { deltas: false });
    expect(history.deltaId).toBe(start[2]?.id);
    expect(history.lastId).toBe(queued.id);
    const live = reduce(history, [...pieces, queued, rest]);
    expect(said(live)).toEqual(['One two three']);
    expect(live.queue).toHaveLength(1);
  });

  it('keeps what did not change as it was', () => {
    const before = reduce(nothing, [...begin(), text('One'), done('One'), ...begin('Again', { turn_id: 't2' })]);
    const after = reduce(before, [event('text_delta', { text: 'x', turn_id: 't2' })]);
    expect(turn(after, 0)).toBe(turn(before, 0));
    expect(turn(after, 1)).not.toBe(turn(before, 1));
    expect(turn(before, 1).blocks).toEqual([]);
  });

  it('shows a prompt that waits in the queue until its turn begins', () => {
    let now = reduce(nothing, [...begin(), event('turn_queued', { turn_id: 't2', waits_for: 'session', position: 1 })]);
    now = withPrompt(now, 't2', 'Next');
    expect(now.queue).toMatchObject([{ turnId: 't2', prompt: 'Next' }]);
    now = reduce(now, [done(), ...begin('Next', { turn_id: 't2' })]);
    expect(now.queue).toEqual([]);
    expect(turn(now, 1).prompt).toBe('Next');
    expect(runningTurn(now)?.id).toBe('t2');
  });

  it('takes a prompt out of the queue that was withdrawn', () => {
    const start = begin();
    const queued = event('turn_queued', { turn_id: 't2', waits_for: 'session', position: 1 });
    const withdrawn = event('error', { turn_id: 't2', code: 'turn_interrupted', error: 'the turn was interrupted' });
    const now = reduce(nothing, [...start, queued, withdrawn]);
    expect(now.queue).toEqual([]);
    expect(runningTurn(now)?.id).toBe('t1');
  });

  it('puts a question on the call that it is about, and its answer too', () => {
    const start = begin();
    const call = event('tool_use', { tool_name: 'Write', tool_input: {}, tool_use_id: 'u1' });
    const request = event('permission_request', {
      permission_id: 'p1',
      kind: 'tool',
      tool_name: 'Write',
      tool_input: {},
      tool_use_id: 'u1',
      expires_at: '2026-01-08T00:00:00Z',
    });
    const asked = reduce(nothing, [...start, call, request]);
    expect(openAsks(turn(asked))).toHaveLength(1);
    const resolved = event('permission_resolved', {
      permission_id: 'p1',
      tool_name: 'Write',
      tool_use_id: 'u1',
      decision: 'deny',
      by: 'ci',
    });
    const answered = reduce(asked, [resolved]);
    expect(openAsks(turn(answered))).toEqual([]);
    expect((turn(answered).blocks[0] as Tool).ask?.resolution).toMatchObject({ decision: 'deny', by: 'ci' });
    const other = reduce(nothing, [...start, request, { ...call, id: request.id + 1 } as PaddockEvent]);
    expect(turn(other).blocks).toHaveLength(1);
  });

  it("keeps a sub-agent's work under the call that began it, also after that turn", () => {
    const now = reduce(nothing, [
      ...begin(),
      event('tool_use', { tool_name: 'Agent', tool_input: {}, tool_use_id: 'a1' }),
      event('task_started', { task_id: 'k1', tool_use_id: 'a1' }),
      event('tool_use', { tool_name: 'Bash', tool_input: {}, tool_use_id: 'u1', parent_tool_use_id: 'a1' }),
      done(),
      ...begin('Next', { turn_id: 't2' }),
      event('tool_result', {
        turn_id: 't2',
        tool_use_id: 'u1',
        content: 'x',
        is_error: false,
        parent_tool_use_id: 'a1',
      }),
      text('I looked.', { turn_id: 't2', parent_tool_use_id: 'a1' }),
      event('task_ended', { turn_id: 't2', task_id: 'k1', status: 'completed', summary: 'I looked.' }),
    ]);
    const [agent, bash, words] = turn(now).blocks as [Tool, Tool, { parent: string }];
    expect(agent.task).toMatchObject({ status: 'completed', summary: 'I looked.' });
    expect(bash).toMatchObject({ parent: 'a1', result: { content: 'x' } });
    expect(words.parent).toBe('a1');
    expect(turn(now, 1).blocks).toEqual([]);
  });

  it('knows that turns are over whose ends are no longer kept', () => {
    const only = (prompt: string, turn_id: string) => [
      event('message', { text: prompt, turn_id }),
      text('Said', { turn_id }),
    ];
    const now = reduce(
      nothing,
      [...only('One', 't1'), event('message', { text: 'Two', turn_id: 't2' }), ...only('Three', 't3')],
      {
        deltas: false,
      },
    );
    expect([0, 1, 2].map((at) => turn(now, at).status)).toEqual(['completed', 'completed', 'completed']);
    expect(runningTurn(now)).toBeNull();
    expect(runningTurn(reduce(now, begin('Four', { turn_id: 't4' })))?.id).toBe('t4');
  });

  it('drops what was said and does not count', () => {
    const now = reduce(nothing, [
      ...begin(),
      event('text_delta', { text: 'Half' }),
      event('text_retracted', { text: 'Half' }),
    ]);
    expect(turn(now).blocks).toEqual([]);
    expect(said(reduce(now, [event('text_delta', { text: 'Whole' }), text('Whole')]))).toEqual(['Whole']);
  });

  it('puts what a resumed turn has said so far in the place of its pieces', () => {
    const now = reduce(nothing, [
      ...begin(),
      text('One'),
      event('text_delta', { text: '\n\nTw' }),
      event('turn_resumed', { text: 'One\n\nTwo' }),
    ]);
    expect(said(now)).toEqual(['One', 'notice', 'Two']);
  });

  it('ends a turn by done, or by error, once', () => {
    const ended = reduce(nothing, [...begin(), event('text_delta', { text: 'Hi' }), done('Hi')]);
    expect(turn(ended)).toMatchObject({ status: 'completed', costUsd: 0.5, stopReason: 'end_turn' });
    expect(turn(ended).blocks[0]).toMatchObject({ streaming: false });
    expect(runningTurn(ended)).toBeNull();
    const failing = reduce(nothing, begin());
    // The end of a turn that could not be stored has the id of the event before it.
    const failed = reduce(failing, [
      { ...event('error', { code: 'storage', error: 'gone' }), id: failing.lastId } as PaddockEvent,
    ]);
    expect(turn(failed)).toMatchObject({ status: 'failed', error: { code: 'storage' } });
  });

  it('puts aside what came after the turn that it was rewound to, and takes it up again', () => {
    const rewound = (before_turn: string, conversation = true): PaddockEvent =>
      event('unknown', { turn_id: null, event: { type: 'session_rewound', before_turn, files: true, conversation } });
    const shown = (conversation: Conversation): string[] =>
      conversation.entries.map((entry) =>
        entry.type === 'turn' ? entry.id : `${entry.what}:${(entry.gone ?? []).length}`,
      );
    let now = reduce(nothing, [
      ...begin(),
      done(),
      ...begin('Two', { turn_id: 't2' }),
      done('', { turn_id: 't2' }),
      ...begin('Three', { turn_id: 't3' }),
      done('', { turn_id: 't3' }),
      rewound('t2'),
    ]);
    expect(shown(now)).toEqual(['t1', 'rewound:2']);
    now = reduce(now, [...begin('Four', { turn_id: 't4' }), done('', { turn_id: 't4' }), rewound('t3')]);
    expect(shown(now)).toEqual(['t1', 't2', 'rewound:2']);
    // A client that knows the event tells it as it is.
    now = reduce(now, [
      event('session_rewound', { turn_id: null, before_turn: 't1', files: true, conversation: false }),
    ]);
    expect(shown(now)).toEqual(['t1', 't2', 'rewound:2', 'rewound:0']);
    expect(rowsOf(now).filter((row) => row.kind === 'prompt')).toHaveLength(2);
    const opened = new Set(now.entries.filter((entry) => entry.type === 'notice').map((entry) => entry.key));
    expect(
      rowsOf(now, opened)
        .filter((row) => row.kind === 'prompt')
        .map((row) => row.gone === true),
    ).toEqual([false, false, true, true]);
  });

  it('shows what a fork took over as turns that are over', () => {
    const of = { turn_id: null };
    const now = reduce(nothing, [
      event('message', { text: 'One', ...of }),
      text('First', of),
      event('assistant_message', { content: [{ type: 'tool_use', id: 'u1', name: 'Bash', input: {} }], ...of }),
      event('tool_result', { tool_use_id: 'u1', content: 'x', is_error: false, ...of }),
      event('message', { text: 'Two', ...of }),
      text('Second', of),
      ...begin('Three'),
    ]);
    expect(said(now)).toEqual(['First', 'Bash']);
    expect(turn(now)).toMatchObject({ copied: true, status: 'completed' });
    expect((turn(now).blocks[1] as Tool).result).toMatchObject({ content: 'x' });
    expect(turn(now, 1).prompt).toBe('Two');
    expect(runningTurn(now)?.prompt).toBe('Three');
  });

  it('takes a single turn of ten thousand events, and makes rows of it, quickly', () => {
    const many = begin();
    for (let at = 0; at < 3300; at += 1) {
      const id = `long-${at}`;
      const parent_tool_use_id = at % 3 === 1 ? `long-${at - 1}` : null;
      many.push(event('tool_use', { tool_name: 'Bash', tool_input: {}, tool_use_id: id, parent_tool_use_id }));
      many.push(
        event('assistant_message', {
          content: [{ type: 'tool_use', id, name: 'Bash', input: {} }],
          parent_tool_use_id,
        }),
      );
      many.push(event('tool_result', { tool_use_id: id, content: 'x', is_error: false, parent_tool_use_id }));
    }
    const began = performance.now();
    const now = reduce(nothing, many);
    expect(rowsOf(now)).toHaveLength(2200 + 2);
    expect(performance.now() - began).toBeLessThan(2000);
  });

  it('takes ten thousand events quickly', () => {
    const many: PaddockEvent[] = [];
    for (let at = 0; at < 1000; at += 1) {
      const of = { turn_id: `many-${at}` };
      many.push(...begin('Prompt', of));
      for (let piece = 0; piece < 5; piece += 1) many.push(event('text_delta', { text: 'word ', ...of }));
      many.push(text('word word word word word', of), done('', of));
    }
    const began = performance.now();
    const now = reduce(nothing, many);
    expect(performance.now() - began).toBeLessThan(2000);
    expect(now.entries).toHaveLength(1000);
  });
});
