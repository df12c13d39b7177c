/** The folders and files as a tree. A folder is read when it is opened; arrow keys go through it. */

import type { KeyboardEvent, ReactNode } from 'react';
import { useEffect, useRef, useState } from 'react';
import { PaddockError } from '../../api/api';
import { useApi } from '../../api/context';
import { useFormat, useT } from '../../i18n';
import { Button, ErrorNote, Icon, Spinner } from '../../ui';
import type { FileView } from './files';
import { entriesOf, folderOf } from './files';

interface Folder {
  entries: FileView[];
  next: string | null;
  loading: boolean;
  error: unknown;
}

/** The tree. It is read again when `round` changes. */
export function FileTree(props: { session: string; chosen: string; round: number; onOpen: (path: string) => void }): ReactNode {
  const t = useT();
  const format = useFormat();
  const api = useApi();
  const { session, chosen, round } = props;
  const [folders, setFolders] = useState<ReadonlyMap<string, Folder>>(new Map());
  const [open, setOpen] = useState<ReadonlySet<string>>(() => new Set(ancestors(chosen)));
  const [current, setCurrent] = useState(chosen);
  const tree = useRef<HTMLDivElement>(null);

  const put = (path: string, change: (old: Folder) => Folder): void => {
    setFolders((old) => new Map(old).set(path, change(old.get(path) ?? { entries: [], next: null, loading: false, error: null })));
  };
  const read = async (path: string, cursor: string | null): Promise<void> => {
    put(path, (old) => ({ ...old, loading: true, error: null }));
    try {
      const page = await entriesOf(api, session, path, cursor);
      put(path, (old) => ({
        entries: cursor === null ? page.data : [...old.entries, ...page.data],
        next: page.next_cursor,
        loading: false,
        error: null,
      }));
    } catch (error) {
      const gone = error instanceof PaddockError && error.status === 404 && path !== '';
      if (gone) setOpen((old) => new Set([...old].filter((other) => other !== path)));
      put(path, (old) => ({ entries: gone ? [] : old.entries, next: gone ? null : old.next, loading: false, error: gone ? null : error }));
    }
  };
  useEffect(() => {
    for (const path of new Set(['', ...open])) void read(path, null);
    // What is open is read again; what is opened later is read then.
  }, [session, round]);
  useEffect(() => {
    setCurrent(chosen);
    const missing = ancestors(chosen).filter((path) => !open.has(path));
    if (missing.length === 0) return;
    setOpen(new Set([...open, ...missing]));
    for (const path of missing) void read(path, null);
  }, [chosen]);

  const rows: { entry: FileView; level: number; at: number; of: number }[] = [];
  const collect = (path: string, level: number): void => {
    const entries = folders.get(path)?.entries ?? [];
    for (const [at, entry] of entries.entries()) {
      rows.push({ entry, level, at: at + 1, of: entries.length });
      if (entry.kind === 'folder' && open.has(entry.path)) collect(entry.path, level + 1);
    }
  };
  collect('', 1);

  const toggle = (path: string, wanted: boolean): void => {
    const next = new Set(open);
    if (wanted) next.add(path);
    else next.delete(path);
    setOpen(next);
    if (wanted && !folders.has(path)) void read(path, null);
  };
  const focus = (path: string): void => {
    setCurrent(path);
    tree.current?.querySelector<HTMLElement>(`[data-path="${CSS.escape(path)}"]`)?.focus();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const at = rows.findIndex((row) => row.entry.path === current);
    const row = rows[at];
    const isFolder = row?.entry.kind === 'folder';
    const isOpen = row !== undefined && open.has(row.entry.path);
    const to = (index: number): void => {
      const next = rows[index];
      if (next !== undefined) focus(next.entry.path);
    };
    if (event.key === 'ArrowDown') to(at + 1);
    else if (event.key === 'ArrowUp') to(Math.max(0, at - 1));
    else if (event.key === 'Home') to(0);
    else if (event.key === 'End') to(rows.length - 1);
    else if (event.key === 'ArrowRight' && row && isFolder) isOpen ? to(at + 1) : toggle(row.entry.path, true);
    else if (event.key === 'ArrowLeft' && row) {
      if (isFolder && isOpen) toggle(row.entry.path, false);
      else if (folderOf(row.entry.path) !== '') focus(folderOf(row.entry.path));
    } else if ((event.key === 'Enter' || event.key === ' ') && row) {
      if (isFolder) toggle(row.entry.path, !isOpen);
      props.onOpen(row.entry.path);
    } else return;
    event.preventDefault();
  };

  const root = folders.get('');
  const reachable = rows.some((row) => row.entry.path === current) ? current : rows[0]?.entry.path;
  return (
    <div className="tree-box">
      {root?.error != null && <ErrorNote error={root.error} onRetry={() => void read('', null)} />}
      {root !== undefined && !root.loading && root.error == null && rows.length === 0 && <p className="tree-empty muted">{t('files.empty')}</p>}
      {rows.length > 0 && (
        <div ref={tree} role="tree" aria-label={t('files.title')} className="tree" onKeyDown={onKeyDown}>
          {rows.map(({ entry, level, at, of }) => {
            const folder = entry.kind === 'folder';
            const isOpen = folder && open.has(entry.path);
            return (
              <div
                key={entry.path}
                role="treeitem"
                aria-level={level}
                aria-posinset={at}
                aria-setsize={of}
                aria-expanded={folder ? isOpen : undefined}
                aria-selected={entry.path === chosen}
                tabIndex={entry.path === reachable ? 0 : -1}
                data-path={entry.path}
                className="tree-row"
                style={{ paddingInlineStart: `${level * 0.9}rem` }}
                onFocus={() => setCurrent(entry.path)}
                onClick={() => {
                  if (folder) toggle(entry.path, !isOpen);
                  props.onOpen(entry.path);
                }}
              >
                <span className="tree-sign">{folder && <Icon name={isOpen ? 'chevronDown' : 'chevronRight'} size={14} />}</span>
                <Icon name={folder ? 'folder' : entry.kind === 'link' ? 'link' : 'file'} size={15} />
                <span className="tree-name">{entry.name}</span>
                {entry.kind === 'file' && <span className="tree-size">{format.bytes(entry.size_bytes)}</span>}
                {folder && folders.get(entry.path)?.loading && isOpen && <Spinner small />}
              </div>
            );
          })}
        </div>
      )}
      {[...folders].map(
        ([path, folder]) =>
          folder.next !== null &&
          (path === '' || open.has(path)) && (
            <Button key={path} small look="quiet" busy={folder.loading} onClick={() => void read(path, folder.next)}>
              {t('files.moreOf', { folder: path === '' ? t('files.workspace') : path })}
            </Button>
          ),
      )}
    </div>
  );
}

/** The folders that lead to a path: `a`, `a/b` for `a/b/c`. */
function ancestors(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_, at) => parts.slice(0, at + 1).join('/')).filter(Boolean);
}
