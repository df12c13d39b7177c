/** A tree of the files, and beside it what is chosen in it. */

import type { DragEvent, ReactNode } from 'react';
import { useCallback, useRef, useState } from 'react';
import { PaddockError, sessionPath } from '../../api/api';
import { useApi, useHas, useLoad } from '../../api/context';
import { useT } from '../../i18n';
import { useSession } from '../../session/SessionContext';
import { Button, EmptyState, ErrorNote, Icon, Loading, Menu, useToast } from '../../ui';
import { FileDialogs } from './FileDialogs';
import type { Asked } from './FileDialogs';
import { FileSearch } from './FileSearch';
import { FileTree } from './FileTree';
import { FileViewer } from './FileViewer';
import type { FileView, Upload } from './files';
import { dropped, folderOf, stat, upload } from './files';
import '../../styles/views.css';
import './files.css';

/** The workspace itself, which has no name. */
const WORKSPACE: FileView = { path: '', name: '', kind: 'folder', size_bytes: 0, modified_at: '', mode: '', etag: null };

/** The browser. `path` is what is chosen; the workspace itself when it is empty. */
export function FilesBrowser(props: { path: string; onOpen: (path: string) => void }): ReactNode {
  const t = useT();
  const there = useHas('get', '/api/v1/sessions/{session_id}/files');
  if (there === undefined) return <Loading />;
  if (!there) return <EmptyState icon="folder" title={t('files.absent')} hint={t('view.absentHint')} />;
  return <Browser {...props} />;
}

function Browser(props: { path: string; onOpen: (path: string) => void }): ReactNode {
  const t = useT();
  const api = useApi();
  const toast = useToast();
  const { session, readOnly } = useSession();
  const id = session.session_id;
  const { path, onOpen } = props;
  const [round, setRound] = useState(0);
  const [asked, setAsked] = useState<Asked | null>(null);
  const [sending, setSending] = useState(false);
  const [over, setOver] = useState(false);
  const [query, setQuery] = useState('');
  const picker = useRef<HTMLInputElement>(null);
  const reload = useCallback(() => setRound((old) => old + 1), []);
  const chosen = useLoad(
    (signal) => (path === '' ? Promise.resolve(WORKSPACE) : stat(api, id, path, signal)),
    [api, id, path, round],
  );
  const file = chosen.data;
  const folder = file === undefined || file.kind === 'folder' ? path : folderOf(path);

  const send = async (files: readonly Upload[], into: string, overwrite = false): Promise<void> => {
    if (files.length === 0) return;
    setSending(true);
    try {
      const { data } = await upload(api, id, into, files, overwrite);
      toast.say(t('files.uploaded', { count: data.length }));
      reload();
    } catch (error) {
      if (error instanceof PaddockError && error.code === 'file_exists' && !overwrite) {
        setAsked({ kind: 'overwrite', detail: error.detail ?? '', again: () => void send(files, into, true) });
      } else toast.fail(error);
    } finally {
      setSending(false);
    }
  };
  const onDrop = (event: DragEvent): void => {
    event.preventDefault();
    setOver(false);
    if (readOnly) return;
    dropped(event.dataTransfer).then((files) => send(files, folder), toast.fail);
  };
  const archive = (format: 'zip' | 'tar.gz'): void => {
    const name = `${folder.split('/').pop() || session.title || 'workspace'}.${format}`;
    api.download(sessionPath(id, 'files', 'archive'), name, { path: folder, format }).catch(toast.fail);
  };

  return (
    <div
      className={over ? 'files files-over' : 'files'}
      onDragOver={(event) => {
        if (readOnly || !event.dataTransfer.types.includes('Files')) return;
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setOver(false);
      }}
      onDrop={onDrop}
    >
      <div className={query !== '' || (path !== '' && file?.kind !== 'folder') ? 'files-side files-side-behind' : 'files-side'}>
        <div className="files-bar">
          <FileSearch query={query} onSearch={setQuery} />
          <div className="files-tools">
            {!readOnly && (
              <>
                <Button small icon="upload" busy={sending} onClick={() => picker.current?.click()}>
                  {t('files.upload')}
                </Button>
                <input
                  ref={picker}
                  type="file"
                  multiple
                  hidden
                  aria-label={t('files.upload')}
                  onChange={(event) => {
                    const files = [...(event.target.files ?? [])].map((one) => ({ file: one, path: one.name }));
                    event.target.value = '';
                    void send(files, folder);
                  }}
                />
                <Button small look="quiet" icon="plus" aria-label={t('files.newFile')} onClick={() => setAsked({ kind: 'file', folder })} />
                <Button small look="quiet" icon="folder" aria-label={t('files.newFolder')} onClick={() => setAsked({ kind: 'folder', folder })} />
              </>
            )}
            <Menu
              small
              start
              label={t('files.moreActions')}
              items={[
                { label: t('files.archiveZip'), icon: 'download', onSelect: () => archive('zip') },
                { label: t('files.archiveTar'), icon: 'download', onSelect: () => archive('tar.gz') },
                !readOnly && { label: t('files.unpack'), icon: 'upload', onSelect: () => setAsked({ kind: 'unpack', folder }) },
                '-',
                { label: t('common.reload'), icon: 'refresh', onSelect: reload },
              ]}
            />
          </div>
          <p className="files-where muted">
            <Icon name="folder" size={14} /> {folder === '' ? t('files.workspace') : folder}
          </p>
        </div>
        <FileTree session={id} chosen={path} round={round} onOpen={onOpen} />
      </div>
      <div className="files-main">
        {query !== '' ? (
          <FileSearch.Results session={id} query={query} path="" onOpen={(to) => { setQuery(''); onOpen(to); }} onClose={() => setQuery('')} />
        ) : chosen.error instanceof PaddockError && chosen.error.status === 404 ? (
          <EmptyState icon="file" title={t('files.gone')} hint={path}>
            <Button onClick={() => onOpen('')}>{t('files.toWorkspace')}</Button>
          </EmptyState>
        ) : chosen.error ? (
          <ErrorNote error={chosen.error} onRetry={chosen.reload} />
        ) : file === undefined ? (
          <Loading />
        ) : (
          <FileViewer
            key={`${file.path} ${file.etag ?? ''}`}
            session={id}
            file={file}
            readOnly={readOnly}
            onAsk={setAsked}
            onChanged={reload}
            onBack={() => onOpen(folderOf(path))}
          />
        )}
      </div>
      {over && <div className="files-drop">{t('files.dropInto', { folder: folder || t('files.workspace') })}</div>}
      {asked && (
        <FileDialogs
          session={id}
          asked={asked}
          onClose={() => setAsked(null)}
          onDone={(to) => {
            setAsked(null);
            reload();
            if (to !== undefined) onOpen(to);
          }}
        />
      )}
    </div>
  );
}
