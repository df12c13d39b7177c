/** The budgets of a tenant: set and removed. */

import type { ReactNode } from 'react';
import { useState } from 'react';
import { useApi, useLoad } from '../../api/context';
import type { BudgetView } from '../../api/types';
import type { Key } from '../../i18n';
import { useT } from '../../i18n';
import { Button, EmptyState, ErrorNote, Field, FormDialog, Loading, Select, useToast } from '../../ui';
import { Budget } from '../usage/Budget';
import { all, tenantPath } from './admin';

/** The list. */
export function Budgets(props: { tenant: string }): ReactNode {
  const t = useT();
  const api = useApi();
  const toast = useToast();
  const { tenant } = props;
  const [making, setMaking] = useState(false);
  const [removing, setRemoving] = useState<BudgetView | null>(null);
  const [error, setError] = useState<unknown>(null);
  const budgets = useLoad((signal) => all<BudgetView>(api, tenantPath(tenant, 'budgets'), signal), [api, tenant]);
  if (budgets.error) return <ErrorNote error={budgets.error} onRetry={budgets.reload} />;
  if (budgets.data === undefined) return <Loading />;
  const remove = async (budget: BudgetView): Promise<void> => {
    try {
      await api.delete(tenantPath(tenant, 'budgets', budget.budget_id));
      setRemoving(null);
      toast.say(t('budget.removed'));
      budgets.reload();
    } catch (problem) {
      setError(problem);
    }
  };
  return (
    <>
      <div className="view-actions">
        <Button look="primary" icon="plus" onClick={() => setMaking(true)}>
          {t('budget.new')}
        </Button>
      </div>
      {budgets.data.length === 0 && <EmptyState icon="chart" title={t('budget.none')} hint={t('budget.noneHint')} />}
      <div className="budgets">
        {budgets.data.map((budget) => (
          <Budget key={budget.budget_id} budget={budget}>
            <div className="view-actions">
              <Button
                small
                look="quiet"
                icon="trash"
                onClick={() => {
                  setError(null);
                  setRemoving(budget);
                }}
              >
                {t('budget.remove')}
              </Button>
            </div>
          </Budget>
        ))}
      </div>
      {making && (
        <NewBudget
          tenant={tenant}
          onClose={() => setMaking(false)}
          onMade={() => {
            setMaking(false);
            budgets.reload();
          }}
        />
      )}
      {removing && (
        <FormDialog title={t('budget.remove')} submit={t('budget.remove')} danger error={error} onClose={() => setRemoving(null)} onSubmit={() => void remove(removing)}>
          <p>{t('budget.removeText')}</p>
        </FormDialog>
      )}
    </>
  );
}

function NewBudget(props: { tenant: string; onClose: () => void; onMade: () => void }): ReactNode {
  const t = useT();
  const api = useApi();
  const [scope, setScope] = useState('tenant');
  const [subject, setSubject] = useState('');
  const [period, setPeriod] = useState('month');
  const [usd, setUsd] = useState('');
  const [tokens, setTokens] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const set = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      await api.put(tenantPath(props.tenant, 'budgets'), {
        scope,
        period,
        ...(scope === 'tenant' ? {} : { subject: subject.trim() }),
        ...(usd === '' ? {} : { max_usd: Number(usd) }),
        ...(tokens === '' ? {} : { max_tokens: Number(tokens) }),
      });
      props.onMade();
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  const options = (prefix: string, values: string[]) => values.map((value) => ({ value, label: t(`budget.${prefix}.${value}` as Key) }));
  return (
    <FormDialog
      title={t('budget.new')}
      submit={t('common.save')}
      busy={busy}
      disabled={(usd === '' && tokens === '') || (scope !== 'tenant' && subject.trim() === '')}
      error={error}
      onClose={props.onClose}
      onSubmit={() => void set()}
    >
      <Select label={t('budget.scope')} value={scope} onChange={(event) => setScope(event.target.value)} options={options('scope', ['tenant', 'user', 'key', 'session'])} />
      {scope !== 'tenant' && <Field label={t('budget.subject')} hint={t('budget.subjectHint')} value={subject} onChange={(event) => setSubject(event.target.value)} />}
      <Select label={t('budget.period')} value={period} onChange={(event) => setPeriod(event.target.value)} options={options('period', ['day', 'month', 'total'])} />
      <Field label={t('budget.maxUsd')} optional type="number" min="0" step="any" value={usd} onChange={(event) => setUsd(event.target.value)} />
      <Field label={t('budget.maxTokens')} optional type="number" min="0" step="1" value={tokens} onChange={(event) => setTokens(event.target.value)} />
    </FormDialog>
  );
}
