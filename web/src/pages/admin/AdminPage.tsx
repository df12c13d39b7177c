/** Tenants, their keys, limits and budgets, and the audit: of all tenants for an admin, of its own for an owner. */

import type { ReactNode } from 'react';
import { useApi, useLoad } from '../../api/context';
import { useMe } from '../../app/auth';
import { href } from '../../app/router';
import { useT } from '../../i18n';
import type { PageProps } from '../../routes';
import { Badge, ButtonLink, EmptyState, ErrorNote, Loading, Page, TabLinks } from '../../ui';
import type { TenantView } from './admin';
import { tenantPath } from './admin';
import { Audit } from './Audit';
import { Budgets } from './Budgets';
import { Keys } from './Keys';
import { Tenants } from './Tenants';
import { Terms } from './Terms';
import '../../styles/views.css';
import './admin.css';

/** The page. */
export default function AdminPage(props: PageProps): ReactNode {
  const t = useT();
  const me = useMe();
  const [first = '', name, part = 'keys'] = (props.params.rest ?? '').split('/').filter(Boolean);
  const admin = me.role === 'admin';
  if (!admin && me.role !== 'owner') return <EmptyState icon="shield" title={t('admin.forbidden')} hint={t('admin.forbiddenHint')} />;
  const tabs = [
    { to: href('admin'), label: admin ? t('admin.tenants') : t('admin.tenant'), current: first !== 'audit' },
    { to: href('admin', 'audit'), label: t('admin.audit'), current: first === 'audit' },
  ];
  const tenant = first === 'tenants' && name !== undefined ? name : admin ? null : me.tenant;
  return (
    <Page
      title={t('admin.title')}
      actions={
        first !== 'audit' && tenant !== null && admin ? (
          <ButtonLink icon="chevronLeft" to={href('admin')}>
            {t('admin.allTenants')}
          </ButtonLink>
        ) : undefined
      }
    >
      <TabLinks label={t('admin.parts')} tabs={tabs} />
      {first === 'audit' ? <Audit /> : tenant === null ? <Tenants /> : <Tenant key={tenant} name={tenant} part={part} />}
    </Page>
  );
}

function Tenant(props: { name: string; part: string }): ReactNode {
  const t = useT();
  const api = useApi();
  const { name, part } = props;
  const tenant = useLoad((signal) => api.get<TenantView>(tenantPath(name), undefined, signal), [api, name]);
  if (tenant.error) return <ErrorNote error={tenant.error} onRetry={tenant.reload} />;
  if (tenant.data === undefined) return <Loading />;
  const tab = (id: string, label: string) => ({ to: href('admin', 'tenants', name, id), label, current: part === id });
  return (
    <section className="stack" aria-label={name}>
      <div className="row">
        <h2>{name}</h2>
        {tenant.data.suspended_at !== null && <Badge tone="bad">{t('admin.suspended')}</Badge>}
        <code className="muted">{tenant.data.tenant_id}</code>
      </div>
      <TabLinks
        label={t('admin.partsOf', { tenant: name })}
        tabs={[tab('keys', t('admin.keys')), tab('terms', t('admin.terms')), tab('budgets', t('admin.budgets'))]}
      />
      {part === 'terms' ? (
        <Terms key={JSON.stringify(tenant.data)} tenant={tenant.data} onChanged={tenant.setData} />
      ) : part === 'budgets' ? (
        <Budgets tenant={name} />
      ) : (
        <Keys tenant={name} />
      )}
    </section>
  );
}
