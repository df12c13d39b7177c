// An archive, as `paddock import` reads it, of one session with a very long log: what nobody waits for in a test.
import { createHash } from 'node:crypto';

const TENANT = 'ten_01a2039e006470e59af9b68235795bdf';
const SESSION = 'ses_01a2039e07ef7f60a1a327d51299a8bf';
const CLI_SESSION = '01a2039e-07f0-70f9-ad01-76c593ed3c8b';
/** How far the ids of two events are apart; the lower bits are the session's. */
const STEP = 8192;
const USAGE = { input_tokens: 1200, output_tokens: 40, cache_read_input_tokens: 0, cache_creation_input_tokens: 0 };

/** The session of the archive, and its tenant's name. */
export const long = { tenant: 'long', session: SESSION, title: 'Ten thousand events' };

/** The archive's text: turns of ten events each, which call a tool and say what they found. */
export function longSession(turns) {
  // Up to now, so that it has not expired; whole seconds have no fraction in an archive.
  const begun = Math.floor(Date.now() / 1000) * 1000 - turns * 60_000;
  const at = (turn, second) => new Date(begun + turn * 60_000 + second * 1000).toISOString().replace('.000', '');
  const turnId = (turn) => `trn_01a2039e${(turn + 4096).toString(16).padStart(4, '0')}7000800000000000${turn.toString(16).padStart(4, '0')}`;
  const records = [
    { record: 'tenant', tenant: { id: TENANT, name: long.tenant, created_at: at(0, 0), policy: {}, limits: {} } },
    {
      record: 'session',
      session: {
        id: SESSION, tenant: TENANT, user: 'alice', subdir: null, title: long.title, metadata: {},
        options: { permission_mode: 'acceptEdits', allowed_tools: ['Read'], disallowed_tools: [], setting_sources: [] },
        claude_session_id: CLI_SESSION, conversation_started: true, status: 'active', message_count: turns,
        created_at: at(0, 0), last_active_at: at(turns, 0), closed_at: null,
      },
      epoch: 1,
      trimmed_to: 0,
    },
  ];
  // Turns are told newest first, events oldest first.
  for (let turn = turns - 1; turn >= 0; turn -= 1) {
    records.push({
      record: 'turn',
      turn: {
        id: turnId(turn), session: SESSION, message: `Look into file ${turn}`, started_at: at(turn, 0), queued: false,
        outcome: {
          status: 'completed', text: answer(turn), tool_calls: [], usage: USAGE, cost: 5200,
          reported: { usage: USAGE, cost: 5200 }, stop_reason: 'end_turn', error: null, ended_at: at(turn, 9),
        },
      },
    });
  }
  let id = 137438963903;
  for (let turn = 0; turn < turns; turn += 1) {
    const call = `toolu_${turn}`;
    const input = { file_path: `/work/file-${turn}.txt` };
    const events = [
      { type: 'message', text: `Look into file ${turn}` },
      { type: 'session', session_id: SESSION, claude_session_id: CLI_SESSION, permission_mode: 'acceptEdits' },
      { type: 'turn_started' },
      { type: 'assistant_message', content: [{ text: `I look into **file ${turn}**.`, type: 'text' }], model: 'claude-opus-5-5', message_id: `msg_a${turn}` },
      { type: 'tool_use', tool_name: 'Read', tool_input: input, tool_use_id: call },
      { type: 'assistant_message', content: [{ id: call, input, name: 'Read', type: 'tool_use' }], model: 'claude-opus-5-5', message_id: `msg_a${turn}` },
      { type: 'tool_result', tool_use_id: call, content: `line ${turn}\n`.repeat(8), is_error: false },
      { type: 'assistant_message', content: [{ text: answer(turn), type: 'text' }], model: 'claude-opus-5-5', message_id: `msg_b${turn}` },
      { type: 'usage', usage: USAGE, cost_usd: 0.0052 },
      { type: 'done', text: answer(turn), usage: USAGE, cost_usd: 0.0052, stop_reason: 'end_turn' },
    ];
    for (const [second, event] of events.entries()) {
      records.push({ record: 'event', session: SESSION, event: { id, turn_id: turnId(turn), created_at: at(turn, second), ...event } });
      id += STEP;
    }
  }
  const lines = records.map((record) => `${JSON.stringify(record)}\n`).join('');
  const sha256 = createHash('sha256').update(lines).digest('hex');
  return `{"format":"paddock-archive","version":2}\n${lines}{"end":{"records":${records.length},"sha256":"${sha256}"}}\n`;
}

function answer(turn) {
  return `File ${turn} holds eight lines:\n\n- the first is \`line ${turn}\`\n- so are the others\n\n| lines | words |\n| --- | --- |\n| 8 | 16 |`;
}
