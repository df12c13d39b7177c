/** Links under which others may read a session: made, shown once, revoked. */

import type { ReactNode } from 'react';
import { useState } from 'react';
import { PaddockError, sessionPath } from '../../api/api';
import { useApi, useLoad } from '../../api/context';
import { useFormat, useT } from '../../i18n';
import { useSession } from '../../session/SessionContext';
import { Button, Checkbox, CopyButton, Dialog, ErrorNote, Icon, Loading, Select, Table, useToast } from '../../ui';
import '../../styles/views.css';
import './shared.css';

interface ShareView {
  share_id: string;
  created_at?: string;
  expires_at: string | null;
  files: boolean;
  revoked_at?: string | null;
}

const HOUR_S = 3600;
const spans = [
  { seconds: HOUR_S, key: 'share.hour' },
  { seconds: 24 * HOUR_S, key: 'share.day' },
  { seconds: 7 * 24 * HOUR_S, key: 'share.week' },
  { seconds: 30 * 24 * HOUR_S, key: 'share.month' },
] as const;

/** The dialog. */
export function ShareDialog(props: { onClose: () => void }): ReactNode {
  const t = useT();
  const format = useFormat();
  const api = useApi();
  const toast = useToast();
  const { session } = useSession();
  const to = sessionPath(session.session_id, 'shares');
  const [span, setSpan] = useState(String(spans[2].seconds));
  const [files, setFiles] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [link, setLink] = useState<string | null>(null);
  const shares = useLoad(async (signal) => (await api.list<ShareView>(to, undefined, signal)).data, [api, to]);
  const forbidden = [error, shares.error].find((one) => one instanceof PaddockError && one.code === 'shares_forbidden');
  const make = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      const share = await api.post<ShareView & { token: string }>(to, { expires_in_s: Number(span), files });
      // In the fragment: that is sent to no server, and to no page that is gone to from there.
      setLink(`${location.origin}${location.pathname}#/shared/${encodeURIComponent(share.token)}`);
      shares.reload();
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };
  const revoke = async (share: ShareView): Promise<void> => {
    try {
      await api.delete(sessionPath(session.session_id, 'shares', share.share_id));
      toast.say(t('share.revoked'));
      shares.reload();
    } catch (problem) {
      setError(problem);
    }
  };
  const living = (shares.data ?? []).filter((share) => share.revoked_at == null);
  return (
    <Dialog title={t('share.title')} onClose={props.onClose} wide>
      <div className="dialog-body">
        <p>{t('share.lead')}</p>
        {link !== null && (
          <div className="share-link">
            <label htmlFor="share-link">{t('share.link')}</label>
            <div className="row">
              <input id="share-link" className="input mono" readOnly value={link} onFocus={(event) => event.target.select()} />
              <CopyButton text={link} small={false} label={t('share.copy')} />
            </div>
            <p className="field-hint">{t('share.once')}</p>
          </div>
        )}
        {forbidden ? (
          <div className="note note-attention">
            <Icon name="info" />
            <div className="note-body">{t('share.forbidden')}</div>
          </div>
        ) : (
          <>
            <form
              className="share-form"
              onSubmit={(event) => {
                event.preventDefault();
                void make();
              }}
            >
              <Select
                label={t('share.lasts')}
                value={span}
                onChange={(event) => setSpan(event.target.value)}
                options={spans.map(({ seconds, key }) => ({ value: String(seconds), label: t(key) }))}
              />
              <Checkbox label={t('share.files')} hint={t('share.filesHint')} checked={files} onChange={(event) => setFiles(event.target.checked)} />
              <Button type="submit" look="primary" icon="link" busy={busy}>
                {t('share.make')}
              </Button>
            </form>
            <ErrorNote error={error ?? shares.error} />
          </>
        )}
        {shares.loading && shares.data === undefined && <Loading />}
        {living.length > 0 && (
          <Table
            caption={t('share.living')}
            rows={living}
            rowKey={(share) => share.share_id}
            columns={[
              { key: 'id', head: t('share.id'), cell: (share) => <code>{share.share_id}</code> },
              { key: 'ends', head: t('share.ends'), cell: (share) => (share.expires_at === null ? t('admin.never') : format.dateTime(share.expires_at)) },
              { key: 'files', head: t('session.files'), cell: (share) => (share.files ? t('common.yes') : t('common.no')) },
              {
                key: 'do',
                head: <span className="sr-only">{t('admin.actions')}</span>,
                cell: (share) => (
                  <Button small look="quiet" onClick={() => void revoke(share)}>
                    {t('admin.revoke')}
                  </Button>
                ),
              },
            ]}
          />
        )}
      </div>
    </Dialog>
  );
}
