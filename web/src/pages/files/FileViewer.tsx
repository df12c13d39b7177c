/** What is in a file: text with line numbers, or a picture. Never HTML. A text can be changed, unless somebody else did. */

import type { ReactNode } from 'react';
import { useEffect, useMemo, useState } from 'react';
import { PaddockError, sessionPath } from '../../api/api';
import { useApi, useLoad } from '../../api/context';
import { useFormat, useT } from '../../i18n';
import { Badge, Button, CopyButton, EmptyState, ErrorNote, Icon, Loading, Menu, useToast } from '../../ui';
import type { Asked } from './FileDialogs';
import type { FileView } from './files';
import { SHOWN_BYTES, contentOf } from './files';

interface ViewerProps {
  session: string;
  file: FileView;
  readOnly: boolean;
  onAsk: (asked: Asked) => void;
  /** Something was changed here. */
  onChanged: () => void;
  /** On a phone: back to the tree. */
  onBack: () => void;
}

/** The viewer. */
export function FileViewer(props: ViewerProps): ReactNode {
  const t = useT();
  const { file } = props;
  if (file.kind === 'folder') {
    return (
      <>
        {file.path !== '' && <Head {...props} />}
        <EmptyState icon="folder" title={file.path === '' ? t('files.choose') : t('files.folder')} hint={props.readOnly ? undefined : t('files.dropHint')} />
      </>
    );
  }
  if (file.kind !== 'file') {
    return (
      <>
        <Head {...props} />
        <EmptyState icon="link" title={t('files.link')} hint={file.link_target} />
      </>
    );
  }
  return <RegularFile {...props} />;
}

function RegularFile(props: ViewerProps): ReactNode {
  const t = useT();
  const format = useFormat();
  const api = useApi();
  const { file, session, readOnly } = props;
  const [editing, setEditing] = useState(false);
  const content = useLoad((signal) => contentOf(api, session, file, signal), [api, session, file.path, file.etag]);
  const shown = content.data;
  useEffect(() => {
    if (shown?.kind !== 'picture') return;
    return () => URL.revokeObjectURL(shown.url);
  }, [shown]);
  const editable = !readOnly && shown?.kind === 'text' && shown.whole;
  if (editing && shown?.kind === 'text') {
    return (
      <Editor
        {...props}
        text={shown.text}
        etag={shown.etag}
        onClose={() => setEditing(false)}
        onSaved={() => {
          setEditing(false);
          content.reload();
          props.onChanged();
        }}
      />
    );
  }
  return (
    <>
      <Head {...props}>
        {shown?.kind === 'text' && <CopyButton text={shown.text} label={t('files.copyText')} />}
        {editable && (
          <Button small icon="edit" onClick={() => setEditing(true)}>
            {t('files.edit')}
          </Button>
        )}
      </Head>
      {content.error != null && <ErrorNote error={content.error} onRetry={content.reload} />}
      {shown === undefined && content.error == null && <Loading />}
      {shown?.kind === 'binary' && <EmptyState icon="file" title={t('files.binary')} hint={t('files.binaryHint', { size: format.bytes(file.size_bytes) })} />}
      {shown?.kind === 'picture' && (
        <div className="picture" tabIndex={0} role="region" aria-label={file.name}>
          <img src={shown.url} alt={t('files.pictureOf', { name: file.name })} />
        </div>
      )}
      {shown?.kind === 'text' && (
        <>
          {!shown.whole && <p className="note-line">{t('files.cut', { size: format.bytes(SHOWN_BYTES) })}</p>}
          <Text name={file.path} text={shown.text} />
        </>
      )}
    </>
  );
}

/** A text with the numbers of its lines, as it is. */
function Text(props: { name: string; text: string }): ReactNode {
  const t = useT();
  const numbers = useMemo(() => {
    const lines = props.text.split('\n').length - (props.text.endsWith('\n') ? 1 : 0);
    return Array.from({ length: Math.max(1, lines) }, (_, at) => at + 1).join('\n');
  }, [props.text]);
  if (props.text === '') return <EmptyState icon="file" title={t('files.emptyFile')} />;
  return (
    <div className="text" tabIndex={0} role="region" aria-label={props.name}>
      <pre className="text-numbers" aria-hidden="true">
        {numbers}
      </pre>
      <pre className="text-lines">{props.text}</pre>
    </div>
  );
}

function Head(props: ViewerProps & { children?: ReactNode }): ReactNode {
  const t = useT();
  const format = useFormat();
  const api = useApi();
  const toast = useToast();
  const { file, session, readOnly } = props;
  const download = (): void => {
    const folder = file.kind === 'folder';
    const to = sessionPath(session, 'files', folder ? 'archive' : 'content');
    const name = folder ? `${file.name}.tar.gz` : file.name;
    api.download(to, name, folder ? { path: file.path, format: 'tar.gz' } : { path: file.path }).catch(toast.fail);
  };
  return (
    <header className="file-head">
      <Button small look="quiet" icon="chevronLeft" className="file-back" aria-label={t('files.backToTree')} onClick={props.onBack} />
      <div className="file-title">
        <h2>
          <Icon name={file.kind === 'folder' ? 'folder' : 'file'} size={16} /> <span>{file.path}</span>
        </h2>
        <p className="muted">
          {file.kind === 'file' && `${format.bytes(file.size_bytes)} · `}
          <time dateTime={file.modified_at} title={format.dateTime(file.modified_at)}>
            {format.relative(file.modified_at)}
          </time>
          {' · '}
          <code>{file.mode}</code>
        </p>
      </div>
      <div className="view-actions">
        {props.children}
        <Button small look="quiet" icon="download" aria-label={t('files.download')} onClick={download} />
        {!readOnly && (
          <Menu
            small
            label={t('files.actionsOf', { name: file.name })}
            items={[
              { label: t('files.move'), icon: 'edit', onSelect: () => props.onAsk({ kind: 'move', file }) },
              { label: t('files.copyFile'), icon: 'copy', onSelect: () => props.onAsk({ kind: 'copy', file }) },
              '-',
              { label: t('common.delete'), icon: 'trash', danger: true, onSelect: () => props.onAsk({ kind: 'delete', file }) },
            ]}
          />
        )}
      </div>
    </header>
  );
}

function Editor(props: ViewerProps & { text: string; etag: string | null; onClose: () => void; onSaved: () => void }): ReactNode {
  const t = useT();
  const api = useApi();
  const toast = useToast();
  const { file, session } = props;
  const [text, setText] = useState(props.text);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const changed = text !== props.text;
  const conflict = error instanceof PaddockError && error.status === 412;
  useEffect(() => {
    if (!changed) return;
    const warn = (event: BeforeUnloadEvent): void => event.preventDefault();
    addEventListener('beforeunload', warn);
    return () => removeEventListener('beforeunload', warn);
  }, [changed]);
  const save = async (over: boolean): Promise<void> => {
    setBusy(true);
    setError(null);
    const headers: Record<string, string> = { 'content-type': 'application/octet-stream' };
    if (!over && props.etag !== null) headers['if-match'] = props.etag;
    try {
      await api.raw('PUT', sessionPath(session, 'files', 'content'), { query: { path: file.path }, headers, body: new Blob([text]) });
      toast.say(t('files.saved', { name: file.name }));
      props.onSaved();
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return (
    <form
      className="editor"
      onSubmit={(event) => {
        event.preventDefault();
        void save(false);
      }}
      onKeyDown={(event) => {
        if ((event.ctrlKey || event.metaKey) && event.key === 's') {
          event.preventDefault();
          void save(false);
        }
      }}
    >
      <header className="file-head">
        <div className="file-title">
          <h2>
            <Icon name="edit" size={16} /> <span>{file.path}</span> {changed && <Badge tone="attention">{t('files.unsaved')}</Badge>}
          </h2>
        </div>
        <div className="view-actions">
          <Button small onClick={props.onClose}>
            {t('common.cancel')}
          </Button>
          <Button small type="submit" look="primary" busy={busy} disabled={!changed}>
            {t('common.save')}
          </Button>
        </div>
      </header>
      {conflict ? (
        <div className="note note-attention" role="alert">
          <Icon name="alert" />
          <div className="note-body">{t('files.conflict')}</div>
          <Button small onClick={props.onSaved}>
            {t('files.takeTheirs')}
          </Button>
          <Button small look="danger" onClick={() => void save(true)}>
            {t('files.takeMine')}
          </Button>
        </div>
      ) : (
        <ErrorNote error={error} />
      )}
      <textarea
        className="editor-text"
        aria-label={t('files.textOf', { name: file.path })}
        value={text}
        spellCheck={false}
        autoCapitalize="off"
        autoComplete="off"
        onChange={(event) => setText(event.target.value)}
      />
    </form>
  );
}
