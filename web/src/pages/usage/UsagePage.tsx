/** What was used and what it cost, by day and by who or what used it; and what is left of the budgets. */

import type { ReactNode } from 'react';
import { useCallback, useMemo, useState } from 'react';
import { path } from '../../api/api';
import { useApi, useLoad } from '../../api/context';
import type { BudgetView, MeView, UsageView } from '../../api/types';
import { useMe } from '../../app/auth';
import { Link, href } from '../../app/router';
import type { Key } from '../../i18n';
import { useFormat, useT } from '../../i18n';
import { Button, EmptyState, ErrorNote, Loading, Page, Select, Table, Tabs, useToast } from '../../ui';
import { Budget } from './Budget';
import { Chart } from './Chart';
import type { Group } from './usage';
import { cachedOf, daysUntil, inputOf, outputOf, perDay, subjectOf, tokensOf, total } from './usage';
import './usage.css';

/** The page. */
export default function UsagePage(): ReactNode {
  const t = useT();
  const api = useApi();
  const me = useMe();
  const toast = useToast();
  const [span, setSpan] = useState('30');
  const [group, setGroup] = useState<Group>('user');
  const days = useMemo(() => daysUntil(new Date(), Number(span)), [span]);
  const from = `${days[0] ?? ''}T00:00:00Z`;
  const csv = (): void => {
    api
      .raw('GET', path('usage'), { query: { group_by: `day,${group}`, from }, headers: { accept: 'text/csv' } })
      .then(async (response) => {
        const link = document.createElement('a');
        link.href = URL.createObjectURL(await response.blob());
        link.download = `usage-${group}.csv`;
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
      })
      .catch(toast.fail);
  };
  const groups: Group[] = me.role === 'admin' ? ['user', 'model', 'session', 'key', 'tenant'] : ['user', 'model', 'session', 'key'];
  return (
    <Page
      title={t('usage.title')}
      lead={me.role === 'admin' ? t('usage.leadAdmin') : t('usage.lead', { tenant: me.tenant })}
      actions={
        <>
          <Select
            label={t('usage.span')}
            hideLabel
            value={span}
            onChange={(event) => setSpan(event.target.value)}
            options={['7', '30', '90'].map((count) => ({ value: count, label: t('usage.days', { count }) }))}
          />
          <Button icon="download" onClick={csv}>
            CSV
          </Button>
        </>
      }
    >
      <Budgets />
      <ByDay days={days} from={from} />
      <section className="usage-part" aria-label={t('usage.by')}>
        <h2>{t('usage.by')}</h2>
        <Tabs label={t('usage.by')} current={group} onChange={setGroup} tabs={groups.map((id) => ({ id, label: t(`usage.group.${id}` as Key) }))}>
          <By group={group} from={from} />
        </Tabs>
      </section>
    </Page>
  );
}

function Budgets(): ReactNode {
  const t = useT();
  const api = useApi();
  const me = useLoad((signal) => api.get<MeView>(path('me'), undefined, signal), [api]);
  const budgets: BudgetView[] = me.data?.budgets ?? [];
  if (budgets.length === 0) return null;
  return (
    <section className="usage-part" aria-label={t('usage.budgets')}>
      <h2>{t('usage.budgets')}</h2>
      <div className="budgets">
        {budgets.map((budget) => (
          <Budget key={budget.budget_id} budget={budget} />
        ))}
      </div>
    </section>
  );
}

function useUsage(groupBy: string, from: string) {
  const api = useApi();
  return useLoad(
    async (signal) => (await api.get<{ data: UsageView[] }>(path('usage'), { group_by: groupBy, from }, signal)).data,
    [api, groupBy, from],
  );
}

function ByDay(props: { days: readonly string[]; from: string }): ReactNode {
  const t = useT();
  const format = useFormat();
  const { days } = props;
  const usage = useUsage('day', props.from);
  const rows = usage.data;
  const formatDay = useCallback(
    (day: string) => new Intl.DateTimeFormat(document.documentElement.lang || 'en', { month: 'short', day: 'numeric', timeZone: 'UTC' }).format(new Date(`${day}T00:00:00Z`)),
    [],
  );
  const cost = useMemo(() => [{ label: t('usage.cost'), color: 'var(--accent)', values: perDay(rows ?? [], days, (row) => row.cost_usd) }], [rows, days, t]);
  const tokens = useMemo(
    () => [
      { label: t('usage.cached'), color: 'var(--line-strong)', values: perDay(rows ?? [], days, cachedOf) },
      { label: t('usage.input'), color: 'var(--busy)', values: perDay(rows ?? [], days, inputOf) },
      { label: t('usage.output'), color: 'var(--accent)', values: perDay(rows ?? [], days, outputOf) },
    ],
    [rows, days, t],
  );
  if (usage.error) return <ErrorNote error={usage.error} onRetry={usage.reload} />;
  if (rows === undefined) return <Loading />;
  if (rows.length === 0) return <EmptyState icon="chart" title={t('usage.none')} hint={t('usage.noneHint')} />;
  const sum = total(rows);
  const figure = (label: string, value: string): ReactNode => (
    <div className="figure">
      <dt>{label}</dt>
      <dd>{value}</dd>
    </div>
  );
  return (
    <>
      <dl className="figures">
        {figure(t('usage.cost'), format.money(sum.cost))}
        {figure(t('usage.requests'), format.number(sum.requests))}
        {figure(t('usage.input'), format.compact(sum.input))}
        {figure(t('usage.cached'), format.compact(sum.cached))}
        {figure(t('usage.output'), format.compact(sum.output))}
      </dl>
      <div className="charts">
        <Chart label={t('usage.costByDay')} days={days} series={cost} format={format.money} formatDay={formatDay} />
        <Chart label={t('usage.tokensByDay')} days={days} series={tokens} format={format.compact} formatDay={formatDay} />
      </div>
      <details className="usage-table">
        <summary>{t('usage.tableByDay')}</summary>
        <UsageTable caption={t('usage.tableByDay')} head={t('usage.day')} rows={[...rows].reverse()} nameOf={(row) => row.day ?? ''} />
      </details>
    </>
  );
}

function By(props: { group: Group; from: string }): ReactNode {
  const t = useT();
  const { group } = props;
  const usage = useUsage(group, props.from);
  if (usage.error) return <ErrorNote error={usage.error} onRetry={usage.reload} />;
  if (usage.data === undefined) return <Loading />;
  if (usage.data.length === 0) return <EmptyState icon="chart" title={t('usage.none')} />;
  const name = (row: UsageView): ReactNode => {
    const subject = subjectOf(row, group);
    if (subject === null) return <span className="muted">{t('usage.nobody')}</span>;
    return group === 'session' ? <Link to={href('sessions', subject)}>{subject}</Link> : subject;
  };
  const rows = [...usage.data].sort((a, b) => b.cost_usd - a.cost_usd || tokensOf(b) - tokensOf(a));
  return (
    <div className="usage-by">
      <UsageTable caption={t('usage.by')} head={t(`usage.group.${group}` as Key)} rows={rows} nameOf={name} />
    </div>
  );
}

function UsageTable(props: { caption: string; head: string; rows: readonly UsageView[]; nameOf: (row: UsageView) => ReactNode }): ReactNode {
  const t = useT();
  const format = useFormat();
  const { rows } = props;
  const sum = total(rows);
  const most = Math.max(...rows.map((row) => row.cost_usd), 0);
  return (
    <Table
      caption={props.caption}
      rows={rows}
      rowKey={(row) => [row.day, row.user_id, row.model, row.session_id, row.key_id, row.tenant_id].join(' ')}
      columns={[
        { key: 'name', head: props.head, cell: props.nameOf },
        {
          key: 'cost',
          head: t('usage.cost'),
          numeric: true,
          cell: (row) => (
            <span className="share">
              <span className="share-bar" aria-hidden="true">
                <span style={{ width: `${most === 0 ? 0 : (row.cost_usd / most) * 100}%` }} />
              </span>
              {format.money(row.cost_usd)}
            </span>
          ),
        },
        { key: 'requests', head: t('usage.requests'), numeric: true, cell: (row) => format.number(row.requests) },
        { key: 'input', head: t('usage.input'), numeric: true, cell: (row) => format.number(inputOf(row)) },
        { key: 'cached', head: t('usage.cached'), numeric: true, cell: (row) => format.number(cachedOf(row)) },
        { key: 'output', head: t('usage.output'), numeric: true, cell: (row) => format.number(outputOf(row)) },
      ]}
      foot={
        <tr>
          <td>{t('usage.total')}</td>
          <td className="numeric">{format.money(sum.cost)}</td>
          <td className="numeric">{format.number(sum.requests)}</td>
          <td className="numeric">{format.number(sum.input)}</td>
          <td className="numeric">{format.number(sum.cached)}</td>
          <td className="numeric">{format.number(sum.output)}</td>
        </tr>
      }
    />
  );
}
