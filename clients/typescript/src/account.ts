/** Shapes of what concerns the caller and the server rather than a session: usage, budgets, the caller, health. */

import type { Usage } from './types.js';

/** What usage is asked for. */
export interface UsageQuery {
  /** What sums are told apart by. One sum of all when absent. */
  group_by?: ('day' | 'tenant' | 'user' | 'key' | 'session' | 'model')[];
  /** From then on, RFC 3339. */
  from?: string;
  /** Before then, RFC 3339. */
  before?: string;
  /** That of this tenant, by its name; the caller's when absent. */
  tenant?: string;
  /** That of this user. */
  user_id?: string;
  /** That of this key. */
  key_id?: string;
  /** That of this session. */
  session_id?: string;
}

/** A sum of what was used. Of what sums are told apart by, only what was asked for is there. */
export interface UsageView extends Usage {
  /** The day, in UTC: `2026-01-31`. */
  day?: string | null;
  /** The tenant's id. */
  tenant_id?: string | null;
  /** The user. */
  user_id?: string | null;
  /** The key; absent also for what no key asked for. */
  key_id?: string | null;
  /** The session. */
  session_id?: string | null;
  /** The model. */
  model?: string | null;
  /** How many requests of the model. */
  requests: number;
  /** Cost, in US dollars. */
  cost_usd: number;
}

/** A budget, and what is spent of it. */
export interface BudgetView {
  /** Its id. */
  budget_id: string;
  /** Whose spending counts. */
  scope: 'tenant' | 'user' | 'key' | 'session';
  /** Which user, key or session; null for the tenant's. */
  subject: string | null;
  /** In what time. */
  period: 'day' | 'month' | 'total';
  /** When the period began, in UTC: `2026-01-31`. */
  period_start: string;
  /** When the next one begins; null for never. */
  resets_at: string | null;
  /** The most money, in US dollars; null for any. */
  max_usd: number | null;
  /** The most tokens of all kinds; null for any. */
  max_tokens: number | null;
  /** What was spent in the period, in US dollars. */
  spent_usd: number;
  /** The tokens that were used in it. */
  spent_tokens: number;
  /** What requests that run may spend at most, in US dollars. */
  reserved_usd: number;
  /** The tokens that they may use at most. */
  reserved_tokens: number;
  /** How much is spent, in percent. */
  percent: number;
}

/** The caller, and what is left to it. */
export interface MeView {
  /** The tenant's id. */
  tenant_id: string;
  /** The tenant's name. */
  tenant: string;
  /** What the credential allows, from least to most. */
  role: 'guest' | 'reader' | 'member' | 'owner' | 'admin';
  /** The one user that it acts for; null for any of the tenant's. */
  user_id: string | null;
  /** The one session that a guest may look at; null for all others. */
  session_id: string | null;
  /** Whether a guest may look at the session's files; null for all others. */
  files: boolean | null;
  /** What the credential is called. */
  credential: string;
  /** The key; null where it is none. */
  key_id: string | null;
  /** The budgets that it meets. */
  budgets: BudgetView[];
  /** The least that is left of them, in US dollars; null where none has a limit of money. */
  left_usd: number | null;
}

/** How the server is. */
export interface HealthView {
  /** `healthy`, or `unhealthy` when the store does not answer. */
  status: string;
  /** Whether it takes new work. */
  ready: boolean;
  /** Its version. */
  version: string;
  /** What it stores in. */
  storage: string;
  /** Whether the store answers. */
  storage_ok: boolean;
  /** Whether the CLI is there and executable. */
  cli_ok: boolean;
  /** How many sessions are active; null when the store does not answer. */
  active_sessions: number | null;
  /** How many agent processes live. */
  live_agents: number;
  /** How many sessions are in a turn. */
  busy_agents: number;
  /** How many agent processes live that no turn uses. */
  idle_agents: number;
  /** How many turns wait. */
  queued_turns: number;
  /** What fences agents in: `namespaces`, `landlock`, or `none`. */
  isolation: string;
  /** Where answers come from: `anthropic`, `scripted`, or `missing_credential`. */
  model: string;
  /** How long it has run, in seconds. */
  uptime_seconds: number;
  /** How many lines of agents' output were no messages, and were skipped. */
  garbage_lines: number;
  /** What is wrong, in words. */
  problems: string[];
}
