/** The keys of a tenant: made, shown once, revoked. */

import type { ReactNode } from 'react';
import { useState } from 'react';
import { useApi, useLoad } from '../../api/context';
import { useMe } from '../../app/auth';
import { useFormat, useT } from '../../i18n';
import { Badge, Button, Checkbox, CopyButton, Dialog, EmptyState, ErrorNote, Field, FormDialog, Icon, Loading, Select, Table, useToast } from '../../ui';
import type { KeyView } from './admin';
import { all, rolesOf, stateOf, tenantPath } from './admin';

const tones = { active: 'good', revoked: 'bad', expired: 'neutral' } as const;

/** The list. */
export function Keys(props: { tenant: string }): ReactNode {
  const t = useT();
  const format = useFormat();
  const api = useApi();
  const toast = useToast();
  const { tenant } = props;
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<{ name: string; key: string } | null>(null);
  const [revoking, setRevoking] = useState<KeyView | null>(null);
  const [over, setOver] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const keys = useLoad((signal) => all<KeyView>(api, tenantPath(tenant, 'keys'), signal), [api, tenant]);
  if (keys.error) return <ErrorNote error={keys.error} onRetry={keys.reload} />;
  if (keys.data === undefined) return <Loading />;
  const shown = keys.data.filter((key) => over || stateOf(key) === 'active');
  const revoke = async (key: KeyView): Promise<void> => {
    try {
      await api.delete(tenantPath(tenant, 'keys', key.key_id));
      setRevoking(null);
      toast.say(t('admin.revoked', { name: key.name }));
      keys.reload();
    } catch (problem) {
      setError(problem);
    }
  };
  return (
    <>
      <div className="view-actions">
        <Button look="primary" icon="key" onClick={() => setMaking(true)}>
          {t('admin.newKey')}
        </Button>
        <Checkbox label={t('admin.showOver')} checked={over} onChange={(event) => setOver(event.target.checked)} />
      </div>
      {shown.length === 0 ? (
        <EmptyState icon="key" title={t('admin.noKeys')} />
      ) : (
        <Table
          caption={t('admin.keys')}
          rows={shown}
          rowKey={(key) => key.key_id}
          columns={[
            { key: 'name', head: t('admin.name'), cell: (key) => <span title={key.key_id}>{key.name}</span> },
            { key: 'role', head: t('admin.role'), cell: (key) => key.role },
            { key: 'user', head: t('admin.user'), cell: (key) => key.user_id ?? <span className="muted">{t('admin.anyUser')}</span> },
            { key: 'state', head: t('admin.state'), cell: (key) => <Badge tone={tones[stateOf(key)]}>{t(`admin.key.${stateOf(key)}`)}</Badge> },
            { key: 'used', head: t('admin.used'), cell: (key) => (key.last_used_at ? format.relative(key.last_used_at) : <span className="muted">{t('admin.never')}</span>) },
            { key: 'ends', head: t('admin.ends'), cell: (key) => (key.expires_at ? format.date(key.expires_at) : <span className="muted">{t('admin.never')}</span>) },
            { key: 'from', head: t('admin.networks'), cell: (key) => (key.networks.length > 0 ? key.networks.join(', ') : <span className="muted">{t('admin.anywhere')}</span>) },
            {
              key: 'do',
              head: <span className="sr-only">{t('admin.actions')}</span>,
              cell: (key) =>
                stateOf(key) === 'active' && (
                  <Button
                    small
                    look="quiet"
                    aria-label={t('admin.revokeOf', { name: key.name })}
                    onClick={() => {
                      setError(null);
                      setRevoking(key);
                    }}
                  >
                    {t('admin.revoke')}
                  </Button>
                ),
            },
          ]}
        />
      )}
      {making && (
        <NewKey
          tenant={tenant}
          onClose={() => setMaking(false)}
          onMade={(key) => {
            setMaking(false);
            setMade(key);
            keys.reload();
          }}
        />
      )}
      {made && <MadeKey name={made.name} secret={made.key} onClose={() => setMade(null)} />}
      {revoking && (
        <FormDialog
          title={t('admin.revokeTitle', { name: revoking.name })}
          submit={t('admin.revoke')}
          danger
          error={error}
          onClose={() => setRevoking(null)}
          onSubmit={() => void revoke(revoking)}
        >
          <p>{t('admin.revokeText')}</p>
        </FormDialog>
      )}
    </>
  );
}

function NewKey(props: { tenant: string; onClose: () => void; onMade: (key: { name: string; key: string }) => void }): ReactNode {
  const t = useT();
  const api = useApi();
  const me = useMe();
  const [name, setName] = useState('');
  const [role, setRole] = useState('member');
  const [user, setUser] = useState('');
  const [ends, setEnds] = useState('');
  const [networks, setNetworks] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const forOne = role === 'reader' || role === 'member';
  const make = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    const list = networks.split(/[\s,]+/).filter(Boolean);
    try {
      const key = await api.post<KeyView & { key: string | null }>(tenantPath(props.tenant, 'keys'), {
        name: name.trim(),
        role,
        ...(forOne && user.trim() !== '' ? { user_id: user.trim() } : {}),
        // To the end of that day, here.
        ...(ends === '' ? {} : { expires_at: new Date(`${ends}T23:59:59`).toISOString() }),
        ...(list.length > 0 ? { networks: list } : {}),
      });
      props.onMade({ name: key.name, key: key.key ?? '' });
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return (
    <FormDialog
      title={t('admin.newKey')}
      submit={t('admin.make')}
      busy={busy}
      disabled={name.trim() === ''}
      error={error}
      onClose={props.onClose}
      onSubmit={() => void make()}
    >
      <Field label={t('admin.name')} hint={t('admin.keyNameHint')} value={name} autoFocus onChange={(event) => setName(event.target.value)} />
      <Select
        label={t('admin.role')}
        hint={t(`admin.role.${role}` as 'admin.role.member')}
        value={role}
        onChange={(event) => setRole(event.target.value)}
        options={rolesOf(me).map((value) => ({ value, label: value }))}
      />
      {forOne && <Field label={t('admin.user')} hint={t('admin.userHint')} optional value={user} onChange={(event) => setUser(event.target.value)} />}
      <Field label={t('admin.lastDay')} hint={t('admin.lastDayHint')} optional type="date" value={ends} onChange={(event) => setEnds(event.target.value)} />
      <Field label={t('admin.networks')} hint={t('admin.networksHint')} optional value={networks} onChange={(event) => setNetworks(event.target.value)} />
    </FormDialog>
  );
}

/** The one time that a key is seen. */
function MadeKey(props: { name: string; secret: string; onClose: () => void }): ReactNode {
  const t = useT();
  const { name, secret, onClose } = props;
  return (
    <Dialog title={t('admin.keyMade', { name })} onClose={onClose}>
      <div className="dialog-body">
        <div className="note note-attention">
          <Icon name="alert" />
          <div className="note-body">{t('admin.keyOnce')}</div>
        </div>
        <div className="secret">
          <code data-secret tabIndex={0} aria-label={t('admin.theKey')}>
            {secret}
          </code>
          <CopyButton text={secret} small={false} label={t('admin.copyKey')} />
        </div>
      </div>
      <footer className="dialog-foot">
        <Button look="primary" onClick={onClose}>
          {t('admin.keyKept')}
        </Button>
      </footer>
    </Dialog>
  );
}
