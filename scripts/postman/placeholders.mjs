// Puts stand-ins in the place of what differs from run to run, so that two runs give the same text.

const TIME = '2026-01-31T12:00:00.000000Z';
const LATER = '2026-02-07T12:00:00.000000Z';

// Numbers that depend on the machine, its paths and its clock. A nought stays one.
const FIGURES = {
  input_tokens: 12000, tokens: 1200, total_tokens: 12000, spent_tokens: 60000, cost_usd: 0.05, reported_cost_usd: 0.05,
  spent_usd: 0.25, left_usd: 24.75, percent: 1, uptime_seconds: 3.5,
};

// Whether these are filled depends on the moment or the machine.
const STATES = { agent_live: true, isolation: 'namespaces', problems: [] };

/** One run's stand-ins: the same thing gets the same one wherever it is met. */
export class Placeholders {
  #seen = new Map();
  #texts = [];

  /** Has `text`, literally, stand as `instead` from now on. */
  put(text, instead) {
    if (text && !this.#texts.some(([known]) => known === text)) {
      this.#texts.push([text, instead]);
      this.#texts.sort(([a], [b]) => b.length - a.length);
    }
  }

  #number(kind, text) {
    const key = `${kind} ${text}`;
    if (!this.#seen.has(key)) {
      const known = [...this.#seen.keys()].filter((other) => other.startsWith(`${kind} `)).length;
      this.#seen.set(key, known + 1);
    }
    return this.#seen.get(key);
  }

  /** A text with stand-ins. */
  text(text) {
    let out = text;
    for (const [known, instead] of this.#texts) out = out.replaceAll(known, instead);
    return out
      .replace(/\b(ses|trn|ten|key|whk|bdg|prm|shr)_([0-9a-f]{32})/g, (whole, kind, hex) => (
        /^0+$/.test(hex) ? whole : `${kind}_${String(this.#number(kind, hex)).padStart(32, '0')}`))
      .replace(/"[0-9a-f]+-[0-9a-f]{12,}-[0-9a-f]+"/g, '"2f-18a-2a"')
      .replace(/\bmsg_([0-9a-f]{32})_/g, (_, hex) => `msg_${String(this.#number('ses', hex)).padStart(32, '0')}_`)
      .replace(/\bpdk_key_[\w-]{43}/g, 'pdk_key_EXAMPLE')
      .replace(/\bpdk_share_[\w-]{43}/g, 'pdk_share_EXAMPLE')
      .replace(/\bwhsec_[A-Za-z0-9+/]+=*/g, 'whsec_EXAMPLE')
      .replace(/\b[0-9a-f]{40}\b/g, (id) => String(this.#number('commit', id)).padStart(40, '0'))
      .replace(/msg_scripted_(\d+)/g, (_, number) => `msg_scripted_${this.#number('message', number)}`)
      .replace(/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, (uuid) => (
        `00000000-0000-4000-8000-${String(this.#number('uuid', uuid)).padStart(12, '0')}`))
      .replace(/(?<![0-9a-z])\d{12,16}(?![0-9a-z])/g, (id) => (/^0+\d{0,3}$/.test(id) ? id : String(100_000_000_000 + this.#number('event', id))))
      .replace(/claude-\d{4,6}\//g, 'claude-1000/')
      .replace(/\b(?!2099)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z/g, TIME)
      .replace(/\b(?!2099)\d{4}-\d\d-\d\dT00:00:00Z/g, '2026-02-01T00:00:00Z');
  }

  /** A value of JSON with stand-ins. */
  json(value, key = '') {
    if (Array.isArray(value)) return key === 'problems' ? STATES.problems : value.map((entry) => this.json(entry, key));
    if (value !== null && typeof value === 'object') {
      // How much of a turn that is interrupted reaches the ledger depends on the moment.
      if ('requests' in value) value = { ...value, requests: 12, output_tokens: 30 };
      return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, this.json(entry, name)]));
    }
    if (value === null) return value;
    if (key in STATES) return STATES[key];
    if (key in FIGURES) return value > 0 ? FIGURES[key] : value;
    if (key === 'request_id') return '0'.repeat(32);
    if (key === 'hash') return '0'.repeat(64);
    if (key === 'ticket') return 'TICKET';
    if (key === 'authored_at') return TIME;
    if (key === 'period_start') return '2026-01-31';
    if (key === 'next_cursor' && !/^\d+$/.test(value)) return 'CURSOR';
    if (/^(expires_at|previous_signs_until)$/.test(key) && !String(value).startsWith('2099')) return LATER;
    if (typeof value === 'number') return value >= 1e11 ? Number(this.text(String(value))) : value;
    return typeof value === 'string' ? this.text(value) : value;
  }
}
