/** A budget, and how much of it is spent. */

import type { ReactNode } from 'react';
import type { BudgetView } from '../../api/types';
import type { Key } from '../../i18n';
import { useFormat, useT } from '../../i18n';
import './usage.css';

/** The budget. Its words say all that its bar shows. */
export function Budget(props: { budget: BudgetView; children?: ReactNode }): ReactNode {
  const t = useT();
  const format = useFormat();
  const { budget } = props;
  const label = t('budget.of', { scope: t(`budget.scope.${budget.scope}` as Key), period: t(`budget.period.${budget.period}` as Key) });
  const level = budget.percent >= 100 ? 'budget-spent' : budget.percent >= 80 ? 'budget-near' : '';
  return (
    <div className="budget card">
      <p className="budget-name">
        {label}
        {budget.subject && <code> {budget.subject}</code>}
      </p>
      <progress className={level} max={100} value={Math.min(100, budget.percent)} aria-label={label} />
      <p className="budget-words">
        {budget.max_usd !== null && t('budget.money', { spent: format.money(budget.spent_usd), most: format.money(budget.max_usd) })}
        {budget.max_usd !== null && budget.max_tokens !== null && ' · '}
        {budget.max_tokens !== null && t('budget.tokens', { spent: format.compact(budget.spent_tokens), most: format.compact(budget.max_tokens) })}
        {' · '}
        {t('budget.percent', { percent: budget.percent })}
      </p>
      {budget.resets_at && <p className="muted budget-words">{t('budget.resets', { at: format.dateTime(budget.resets_at) })}</p>}
      {props.children}
    </div>
  );
}
