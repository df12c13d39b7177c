/** The tenants, for an admin. */

import type { ReactNode } from 'react';
import { useState } from 'react';
import { path } from '../../api/api';
import { useApi, useLoad } from '../../api/context';
import { Link, href, navigate } from '../../app/router';
import { useFormat, useT } from '../../i18n';
import { Badge, Button, ErrorNote, Field, FormDialog, Loading, Table } from '../../ui';
import type { TenantView } from './admin';
import { all } from './admin';

/** The list. */
export function Tenants(): ReactNode {
  const t = useT();
  const format = useFormat();
  const api = useApi();
  const [making, setMaking] = useState(false);
  const tenants = useLoad((signal) => all<TenantView>(api, path('admin', 'tenants'), signal), [api]);
  if (tenants.error) return <ErrorNote error={tenants.error} onRetry={tenants.reload} />;
  if (tenants.data === undefined) return <Loading />;
  return (
    <>
      <div className="view-actions">
        <Button look="primary" icon="plus" onClick={() => setMaking(true)}>
          {t('admin.newTenant')}
        </Button>
      </div>
      <Table
        caption={t('admin.tenants')}
        rows={tenants.data}
        rowKey={(tenant) => tenant.tenant_id}
        columns={[
          { key: 'name', head: t('admin.name'), cell: (tenant) => <Link to={href('admin', 'tenants', tenant.name, 'keys')}>{tenant.name}</Link> },
          {
            key: 'state',
            head: t('admin.state'),
            cell: (tenant) => (tenant.suspended_at === null ? <Badge tone="good">{t('admin.active')}</Badge> : <Badge tone="bad">{t('admin.suspended')}</Badge>),
          },
          { key: 'limits', head: t('admin.limits'), numeric: true, cell: (tenant) => format.number(Object.keys(tenant.limits).length) },
          { key: 'made', head: t('admin.made'), cell: (tenant) => <time dateTime={tenant.created_at}>{format.date(tenant.created_at)}</time> },
          { key: 'id', head: t('admin.id'), cell: (tenant) => <code>{tenant.tenant_id}</code> },
        ]}
      />
      {making && <NewTenant onClose={() => setMaking(false)} />}
    </>
  );
}

function NewTenant(props: { onClose: () => void }): ReactNode {
  const t = useT();
  const api = useApi();
  const [name, setName] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const make = async (): Promise<void> => {
    setBusy(true);
    try {
      const tenant = await api.post<TenantView>(path('admin', 'tenants'), { name: name.trim() });
      navigate(href('admin', 'tenants', tenant.name, 'keys'));
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return (
    <FormDialog
      title={t('admin.newTenant')}
      submit={t('admin.make')}
      busy={busy}
      disabled={name.trim() === ''}
      error={error}
      onClose={props.onClose}
      onSubmit={() => void make()}
    >
      <Field label={t('admin.name')} hint={t('admin.tenantNameHint')} value={name} autoFocus onChange={(event) => setName(event.target.value)} />
    </FormDialog>
  );
}
