import { expect, test } from 'vitest';
import type { UsageView } from '../../api/types';
import { daysUntil, perDay, total } from './usage';

const row = (day: string, cost: number): UsageView => ({
  day,
  requests: 1,
  input_tokens: 10,
  output_tokens: 2,
  cache_read_input_tokens: 5,
  cache_creation_input_tokens: 1,
  cost_usd: cost,
});

test('days end today and go over the end of a month', () => {
  expect(daysUntil(new Date('2026-03-01T00:30:00Z'), 3)).toEqual(['2026-02-27', '2026-02-28', '2026-03-01']);
});

test('days without use are zero, and several sums of a day are added', () => {
  const rows = [row('2026-03-01', 0.5), row('2026-03-01', 0.25)];
  expect(perDay(rows, ['2026-02-28', '2026-03-01'], (one) => one.cost_usd)).toEqual([0, 0.75]);
});

test('tokens that were written into the cache count as read from the prompt', () => {
  expect(total([row('2026-03-01', 1), row('2026-03-02', 2)])).toEqual({ requests: 2, input: 22, output: 4, cached: 10, cost: 3 });
});
