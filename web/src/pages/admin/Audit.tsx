/** The audit, newest first. Tenants are told apart by the server; what is read of it is filtered here. */

import type { ReactNode } from 'react';
import { useMemo, useState } from 'react';
import { path } from '../../api/api';
import { useApi, useLoad } from '../../api/context';
import { useMe } from '../../app/auth';
import { useFormat, useT } from '../../i18n';
import { Button, EmptyState, ErrorNote, Field, Loading, Select, Table, useToast } from '../../ui';
import type { AuditView, TenantView } from './admin';
import { all } from './admin';

/** The list. */
export function Audit(): ReactNode {
  const t = useT();
  const format = useFormat();
  const api = useApi();
  const me = useMe();
  const toast = useToast();
  const [tenant, setTenant] = useState('');
  const [action, setAction] = useState('');
  const [text, setText] = useState('');
  const [older, setOlder] = useState<{ of: unknown; data: AuditView[]; next: string | null } | null>(null);
  const [busy, setBusy] = useState(false);
  const tenants = useLoad(
    (signal) => (me.role === 'admin' ? all<TenantView>(api, path('admin', 'tenants'), signal) : Promise.resolve([])),
    [api, me.role],
  );
  const first = useLoad((signal) => api.list<AuditView>(path('admin', 'audit'), { tenant, limit: 100 }, signal), [api, tenant]);
  const more = older !== null && older.of === first.data ? older : null;
  const entries = useMemo(() => [...(first.data?.data ?? []), ...(more?.data ?? [])], [first.data, more]);
  const next = more === null ? (first.data?.next_cursor ?? null) : more.next;
  const actions = useMemo(() => [...new Set(entries.map((entry) => entry.action))].sort(), [entries]);
  const names = new Map((tenants.data ?? []).map((one) => [one.tenant_id, one.name]));
  const wanted = text.trim().toLowerCase();
  const shown = entries.filter(
    (entry) =>
      (action === '' || entry.action === action) &&
      (wanted === '' || [entry.actor, entry.target, entry.address, entry.action, JSON.stringify(entry.details)].join(' ').toLowerCase().includes(wanted)),
  );
  const readMore = async (): Promise<void> => {
    setBusy(true);
    try {
      const page = await api.list<AuditView>(path('admin', 'audit'), { tenant, limit: 100, cursor: next });
      setOlder({ of: first.data, data: [...(more?.data ?? []), ...page.data], next: page.next_cursor });
    } catch (error) {
      toast.fail(error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <div className="audit-filters">
        {me.role === 'admin' && (
          <Select
            label={t('admin.tenant')}
            value={tenant}
            onChange={(event) => setTenant(event.target.value)}
            options={[{ value: '', label: t('admin.anyTenant') }, ...(tenants.data ?? []).map((one) => ({ value: one.name, label: one.name }))]}
          />
        )}
        <Select
          label={t('admin.action')}
          value={action}
          onChange={(event) => setAction(event.target.value)}
          options={[{ value: '', label: t('admin.anyAction') }, ...actions.map((value) => ({ value, label: value }))]}
        />
        <Field label={t('common.search')} type="search" value={text} onChange={(event) => setText(event.target.value)} />
        <Button icon="refresh" busy={first.loading} onClick={first.reload}>
          {t('common.reload')}
        </Button>
      </div>
      {first.error != null && <ErrorNote error={first.error} onRetry={first.reload} />}
      {first.data === undefined && first.error == null && <Loading />}
      {first.data !== undefined &&
        (shown.length === 0 ? (
          <EmptyState icon="list" title={t('admin.noAudit')} />
        ) : (
          <Table
            caption={t('admin.audit')}
            rows={shown}
            rowKey={(entry) => String(entry.number)}
            columns={[
              { key: 'number', head: t('admin.number'), numeric: true, cell: (entry) => entry.number },
              { key: 'at', head: t('admin.at'), cell: (entry) => <time dateTime={entry.at}>{format.dateTime(entry.at)}</time> },
              { key: 'actor', head: t('admin.actor'), cell: (entry) => entry.actor },
              { key: 'action', head: t('admin.action'), cell: (entry) => <code>{entry.action}</code> },
              { key: 'target', head: t('admin.target'), cell: (entry) => <span className="audit-target">{entry.target}</span> },
              ...(me.role === 'admin'
                ? [{ key: 'tenant', head: t('admin.tenant'), cell: (entry: AuditView) => (entry.tenant_id === null ? '–' : (names.get(entry.tenant_id) ?? entry.tenant_id)) }]
                : []),
              { key: 'address', head: t('admin.address'), cell: (entry) => entry.address ?? '–' },
              { key: 'details', head: t('admin.details'), cell: (entry) => (Object.keys(entry.details).length === 0 ? '' : <code className="audit-details">{JSON.stringify(entry.details)}</code>) },
            ]}
          />
        ))}
      {next !== null && (
        <div className="view-actions">
          <Button busy={busy} onClick={() => void readMore()}>
            {t('admin.olderAudit')}
          </Button>
        </div>
      )}
    </>
  );
}
