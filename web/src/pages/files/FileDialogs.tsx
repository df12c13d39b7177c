/** What is asked before something is made, moved, written over or removed. */

import type { ReactNode } from 'react';
import { useState } from 'react';
import { sessionPath } from '../../api/api';
import { useApi } from '../../api/context';
import { useT } from '../../i18n';
import { Checkbox, Field, FormDialog, Labelled, useToast } from '../../ui';
import type { FileView } from './files';
import { archiveFormat, inFolder } from './files';

/** What is asked. */
export type Asked =
  | { kind: 'file'; folder: string }
  | { kind: 'folder'; folder: string }
  | { kind: 'move'; file: FileView }
  | { kind: 'copy'; file: FileView }
  | { kind: 'delete'; file: FileView }
  | { kind: 'unpack'; folder: string }
  | { kind: 'overwrite'; detail: string; again: () => void };

interface DialogProps<T> {
  session: string;
  asked: T;
  onClose: () => void;
  /** It is done; with what is to be shown now, if that is another. */
  onDone: (open?: string) => void;
}

/** The dialog for what is asked. */
export function FileDialogs(props: DialogProps<Asked>): ReactNode {
  const { asked, ...rest } = props;
  switch (asked.kind) {
    case 'file':
    case 'folder':
      return <NewDialog {...rest} asked={asked} />;
    case 'move':
    case 'copy':
      return <MoveDialog {...rest} asked={asked} />;
    case 'delete':
      return <DeleteDialog {...rest} asked={asked} />;
    case 'unpack':
      return <UnpackDialog {...rest} asked={asked} />;
    case 'overwrite':
      return <OverwriteDialog {...rest} asked={asked} />;
  }
}

/** Does something, and keeps what went wrong. */
function useDoing(onDone: () => void): { busy: boolean; error: unknown; run: (work: () => Promise<unknown>) => void } {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const run = (work: () => Promise<unknown>): void => {
    setBusy(true);
    setError(null);
    work().then(onDone, (problem: unknown) => {
      setError(problem);
      setBusy(false);
    });
  };
  return { busy, error, run };
}

function NewDialog(props: DialogProps<{ kind: 'file' | 'folder'; folder: string }>): ReactNode {
  const t = useT();
  const api = useApi();
  const [name, setName] = useState('');
  const { asked, session } = props;
  const path = inFolder(asked.folder, name.trim());
  const { busy, error, run } = useDoing(() => props.onDone(path));
  const make = (): Promise<unknown> =>
    asked.kind === 'folder'
      ? api.post(sessionPath(session, 'files', 'folders'), { path })
      : api.raw('PUT', sessionPath(session, 'files', 'content'), {
          query: { path, parents: true },
          headers: { 'if-none-match': '*', 'content-type': 'application/octet-stream' },
          body: new Blob([]),
        });
  return (
    <FormDialog
      title={asked.kind === 'folder' ? t('files.newFolder') : t('files.newFile')}
      submit={t('files.make')}
      busy={busy}
      disabled={name.trim() === ''}
      error={error}
      onClose={props.onClose}
      onSubmit={() => run(make)}
    >
      <Field
        label={t('files.name')}
        hint={t('files.inFolder', { folder: asked.folder || t('files.workspace') })}
        value={name}
        autoFocus
        onChange={(event) => setName(event.target.value)}
      />
    </FormDialog>
  );
}

function MoveDialog(props: DialogProps<{ kind: 'move' | 'copy'; file: FileView }>): ReactNode {
  const t = useT();
  const api = useApi();
  const { asked, session } = props;
  const [to, setTo] = useState(asked.file.path);
  const [overwrite, setOverwrite] = useState(false);
  const { busy, error, run } = useDoing(() => props.onDone(to.trim()));
  const body = { from: asked.file.path, to: to.trim(), ...(overwrite ? { overwrite } : {}) };
  return (
    <FormDialog
      title={asked.kind === 'move' ? t('files.move') : t('files.copyFile')}
      submit={asked.kind === 'move' ? t('files.move') : t('files.copyFile')}
      busy={busy}
      disabled={to.trim() === '' || to.trim() === asked.file.path}
      error={error}
      onClose={props.onClose}
      onSubmit={() => run(() => api.post(sessionPath(session, 'files', asked.kind), body))}
    >
      <Field label={t('files.newPath')} hint={t('files.newPathHint')} value={to} autoFocus onChange={(event) => setTo(event.target.value)} />
      <Checkbox label={t('files.overwrite')} checked={overwrite} onChange={(event) => setOverwrite(event.target.checked)} />
    </FormDialog>
  );
}

function DeleteDialog(props: DialogProps<{ kind: 'delete'; file: FileView }>): ReactNode {
  const t = useT();
  const api = useApi();
  const { file } = props.asked;
  const folder = file.kind === 'folder';
  const { busy, error, run } = useDoing(() => props.onDone(''));
  const headers: Record<string, string> = file.etag === null ? {} : { 'if-match': file.etag };
  return (
    <FormDialog
      title={t('files.deleteTitle', { name: file.name })}
      submit={t('common.delete')}
      danger
      busy={busy}
      error={error}
      onClose={props.onClose}
      onSubmit={() => run(() => api.delete(sessionPath(props.session, 'files'), { query: { path: file.path, recursive: folder }, headers }))}
    >
      <p>{folder ? t('files.deleteFolder', { path: file.path }) : t('files.deleteFile', { path: file.path })}</p>
    </FormDialog>
  );
}

function UnpackDialog(props: DialogProps<{ kind: 'unpack'; folder: string }>): ReactNode {
  const t = useT();
  const api = useApi();
  const toast = useToast();
  const [file, setFile] = useState<File | null>(null);
  const [overwrite, setOverwrite] = useState(false);
  const { folder } = props.asked;
  const format = file === null ? null : archiveFormat(file.name);
  const { busy, error, run } = useDoing(() => props.onDone());
  const send = async (): Promise<void> => {
    const type = format === 'zip' ? 'application/zip' : 'application/gzip';
    const done = await api.post<{ files: number }>(sessionPath(props.session, 'files', 'archive'), file, {
      query: { path: folder, format, overwrite },
      headers: { 'content-type': type },
    });
    toast.say(t('files.unpacked', { count: done.files }));
  };
  return (
    <FormDialog
      title={t('files.unpack')}
      submit={t('files.unpackNow')}
      busy={busy}
      disabled={format === null}
      error={error}
      onClose={props.onClose}
      onSubmit={() => run(send)}
    >
      <Labelled
        label={t('files.archive')}
        hint={t('files.inFolder', { folder: folder || t('files.workspace') })}
        error={file !== null && format === null ? t('files.noArchive') : null}
      >
        {(wired) => <input {...wired} type="file" accept=".zip,.tar.gz,.tgz" className="input" onChange={(event) => setFile(event.target.files?.[0] ?? null)} />}
      </Labelled>
      <Checkbox label={t('files.overwrite')} checked={overwrite} onChange={(event) => setOverwrite(event.target.checked)} />
    </FormDialog>
  );
}

function OverwriteDialog(props: DialogProps<{ kind: 'overwrite'; detail: string; again: () => void }>): ReactNode {
  const t = useT();
  return (
    <FormDialog
      title={t('files.existsTitle')}
      submit={t('files.overwriteNow')}
      danger
      onClose={props.onClose}
      onSubmit={() => {
        props.onClose();
        props.asked.again();
      }}
    >
      <p>{t('files.existsText')}</p>
      {props.asked.detail && <p className="muted">{props.asked.detail}</p>}
    </FormDialog>
  );
}
