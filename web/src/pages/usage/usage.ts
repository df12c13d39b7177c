/** Sums of what was used, by day and by something else. */

import type { UsageView } from '../../api/types';

/** What sums are told apart by besides the day. */
export type Group = 'user' | 'model' | 'session' | 'key' | 'tenant';

/** The days of a time, as the ledger names them (UTC), the last one today's. */
export function daysUntil(now: Date, count: number): string[] {
  const day = 86_400_000;
  const today = Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate());
  return Array.from({ length: count }, (_, at) => new Date(today - (count - 1 - at) * day).toISOString().slice(0, 10));
}

/** The tokens that the model read and had not read before. */
export function inputOf(row: UsageView): number {
  return (row.input_tokens ?? 0) + (row.cache_creation_input_tokens ?? 0);
}

/** The tokens that the model had in its cache. */
export function cachedOf(row: UsageView): number {
  return row.cache_read_input_tokens ?? 0;
}

/** The tokens that the model wrote. */
export function outputOf(row: UsageView): number {
  return row.output_tokens ?? 0;
}

/** All tokens of a sum. */
export function tokensOf(row: UsageView): number {
  return inputOf(row) + cachedOf(row) + outputOf(row);
}

/** A value for each day; none is 0. */
export function perDay(rows: readonly UsageView[], days: readonly string[], value: (row: UsageView) => number): number[] {
  const sums = new Map<string, number>();
  for (const row of rows) if (row.day) sums.set(row.day, (sums.get(row.day) ?? 0) + value(row));
  return days.map((day) => sums.get(day) ?? 0);
}

/** What a sum is of. */
export function subjectOf(row: UsageView, group: Group): string | null {
  const { user_id, model, session_id, key_id, tenant_id } = row;
  return { user: user_id, model, session: session_id, key: key_id, tenant: tenant_id }[group] ?? null;
}

/** One sum of many. */
export function total(rows: readonly UsageView[]): { requests: number; input: number; output: number; cached: number; cost: number } {
  const sum = { requests: 0, input: 0, output: 0, cached: 0, cost: 0 };
  for (const row of rows) {
    sum.requests += row.requests;
    sum.input += inputOf(row);
    sum.output += outputOf(row);
    sum.cached += cachedOf(row);
    sum.cost += row.cost_usd;
  }
  return sum;
}
