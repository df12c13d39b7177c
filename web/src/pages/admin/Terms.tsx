/** What a tenant may ask for and how much. An owner reads it; an admin changes it. */

import type { FormEvent, ReactNode } from 'react';
import { useState } from 'react';
import { useApi } from '../../api/context';
import { useMe } from '../../app/auth';
import type { Key } from '../../i18n';
import { useFormat, useT } from '../../i18n';
import { Button, ErrorNote, Field, FormDialog, TextArea, useToast } from '../../ui';
import type { TenantView } from './admin';
import { LIMITS, tenantPath } from './admin';

/** The terms. */
export function Terms(props: { tenant: TenantView; onChanged: (tenant: TenantView) => void }): ReactNode {
  const me = useMe();
  return me.role === 'admin' ? <Change {...props} /> : <Read tenant={props.tenant} />;
}

function Read(props: { tenant: TenantView }): ReactNode {
  const t = useT();
  const format = useFormat();
  const { limits, policy } = props.tenant;
  return (
    <>
      <h3>{t('admin.limits')}</h3>
      <dl className="terms">
        {LIMITS.map((name) => (
          <div key={name}>
            <dt>{t(`limit.${name}` as Key)}</dt>
            <dd>{limits[name] === undefined ? <span className="muted">{t('admin.asServer')}</span> : format.number(limits[name])}</dd>
          </div>
        ))}
      </dl>
      <h3>{t('admin.policy')}</h3>
      {Object.keys(policy).length === 0 ? <p className="muted">{t('admin.asServer')}</p> : <pre className="plain card card-body">{JSON.stringify(policy, null, 2)}</pre>}
    </>
  );
}

function Change(props: { tenant: TenantView; onChanged: (tenant: TenantView) => void }): ReactNode {
  const t = useT();
  const api = useApi();
  const toast = useToast();
  const { tenant } = props;
  const [limits, setLimits] = useState<Record<string, string>>(() =>
    Object.fromEntries(Object.entries(tenant.limits).map(([name, value]) => [name, String(value)])),
  );
  const [policy, setPolicy] = useState(() => JSON.stringify(tenant.policy, null, 2));
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const parsed = parse(policy);
  const wrong = LIMITS.filter((name) => !/^\d*$/.test(limits[name]?.trim() ?? ''));
  const change = async (body: unknown, said: string): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      props.onChanged(await api.patch<TenantView>(tenantPath(tenant.name), body));
      toast.say(said);
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  const save = (event: FormEvent): void => {
    event.preventDefault();
    if (parsed === null || wrong.length > 0) return;
    const set = LIMITS.filter((name) => (limits[name]?.trim() ?? '') !== '').map((name) => [name, Number(limits[name])]);
    void change({ limits: Object.fromEntries(set), policy: parsed }, t('admin.saved'));
  };
  const suspended = tenant.suspended_at !== null;
  return (
    <form className="stack" onSubmit={save} noValidate>
      <h3>{t('admin.limits')}</h3>
      <p className="muted">{t('admin.limitsHint')}</p>
      <div className="form-grid">
        {LIMITS.map((name) => (
          <Field
            key={name}
            label={t(`limit.${name}` as Key)}
            inputMode="numeric"
            placeholder={t('admin.asServer')}
            value={limits[name] ?? ''}
            error={wrong.includes(name) ? t('admin.wholeNumber') : null}
            onChange={(event) => setLimits({ ...limits, [name]: event.target.value })}
          />
        ))}
      </div>
      <h3>{t('admin.policy')}</h3>
      <TextArea
        label={t('admin.policyJson')}
        hint={t('admin.policyHint')}
        className="mono terms-policy"
        spellCheck={false}
        value={policy}
        error={parsed === null ? t('admin.noObject') : null}
        onChange={(event) => setPolicy(event.target.value)}
      />
      <ErrorNote error={error} />
      <div className="view-actions">
        <Button type="submit" look="primary" busy={busy} disabled={parsed === null || wrong.length > 0}>
          {t('common.save')}
        </Button>
        <Button look={suspended ? 'plain' : 'danger'} onClick={() => (suspended ? void change({ suspended: false }, t('admin.saved')) : setAsking(true))}>
          {suspended ? t('admin.letIn') : t('admin.suspend')}
        </Button>
      </div>
      {asking && (
        <FormDialog
          title={t('admin.suspendTitle', { name: tenant.name })}
          submit={t('admin.suspend')}
          danger
          onClose={() => setAsking(false)}
          onSubmit={() => {
            setAsking(false);
            void change({ suspended: true }, t('admin.saved'));
          }}
        >
          <p>{t('admin.suspendText')}</p>
        </FormDialog>
      )}
    </form>
  );
}

/** An object, or null for what is none. */
function parse(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text.trim() === '' ? '{}' : text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
