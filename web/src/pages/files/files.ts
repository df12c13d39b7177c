/** The API of files, and what can be known of a file by its name and its first bytes. */

import { sessionPath } from '../../api/api';
import type { Api } from '../../api/api';
import type { Page } from '../../api/types';

/** A file, a folder, a link. */
export interface FileView {
  path: string;
  name: string;
  kind: 'file' | 'folder' | 'link' | 'other';
  size_bytes: number;
  modified_at: string;
  mode: string;
  etag: string | null;
  link_target?: string | null;
}

/** A line that was searched for. */
export interface FoundLine {
  path: string;
  line: number;
  column: number;
  text: string;
}

/** The start of a file that is shown, in bytes. */
export const SHOWN_BYTES = 512 * 1024;
/** The largest picture that is shown, in bytes. */
export const PICTURE_BYTES = 20 * 1024 * 1024;
/** The entries of a folder that are read before more are asked for. */
const PAGE = 200;

/** The entries of one folder, folders first. */
export async function entriesOf(api: Api, session: string, path: string, cursor: string | null, signal?: AbortSignal): Promise<Page<FileView>> {
  const page = await api.list<FileView>(sessionPath(session, 'files'), { path, limit: PAGE, cursor }, signal);
  const rank = (entry: FileView): number => (entry.kind === 'folder' ? 0 : 1);
  return { ...page, data: [...page.data].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name)) };
}

/** One file or folder; the workspace itself has an empty path. */
export function stat(api: Api, session: string, path: string, signal?: AbortSignal): Promise<FileView> {
  return api.get<FileView>(sessionPath(session, 'files', 'stat'), { path }, signal);
}

/** What can be shown of a file. */
export type Content =
  | { kind: 'text'; text: string; whole: boolean; etag: string | null }
  | { kind: 'picture'; url: string; etag: string | null }
  | { kind: 'binary' };

const pictures: Record<string, string> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
  avif: 'image/avif',
  bmp: 'image/bmp',
  ico: 'image/x-icon',
  svg: 'image/svg+xml',
};

/** Reads a file, or its start. A picture's address has to be given back. */
export async function contentOf(api: Api, session: string, file: FileView, signal: AbortSignal): Promise<Content> {
  const to = sessionPath(session, 'files', 'content');
  const picture = pictures[file.name.split('.').pop()?.toLowerCase() ?? ''];
  if (picture !== undefined && file.size_bytes <= PICTURE_BYTES) {
    const response = await api.raw('GET', to, { query: { path: file.path }, headers: { accept: '*/*' }, signal });
    // By its name: what the file says of itself is nobody's business here. An <img> runs no scripts.
    const blob = new Blob([await response.arrayBuffer()], { type: picture });
    return { kind: 'picture', url: URL.createObjectURL(blob), etag: response.headers.get('etag') };
  }
  const whole = file.size_bytes <= SHOWN_BYTES;
  const headers: Record<string, string> = { accept: '*/*' };
  if (!whole) headers.range = `bytes=0-${SHOWN_BYTES - 1}`;
  const response = await api.raw('GET', to, { query: { path: file.path }, headers, signal });
  const bytes = new Uint8Array(await response.arrayBuffer()).slice(0, SHOWN_BYTES);
  const text = textOf(bytes, whole);
  return text === null ? { kind: 'binary' } : { kind: 'text', text, whole, etag: response.headers.get('etag') };
}

/** Bytes as text, if they are UTF-8 without zeros. What was cut may end in the middle of a letter. */
export function textOf(bytes: Uint8Array, whole: boolean): string | null {
  if (bytes.includes(0)) return null;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes, { stream: !whole });
  } catch {
    return null;
  }
}

/** The folder that something lies in; that of the workspace's own entries is empty. */
export function folderOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '';
}

/** A name in a folder. */
export function inFolder(folder: string, name: string): string {
  return folder === '' ? name : `${folder}/${name}`;
}

/** A file to be uploaded, and where it goes below the folder that is uploaded to. */
export interface Upload {
  file: File;
  path: string;
}

/** What was dropped: files, and those in folders. */
export async function dropped(transfer: DataTransfer): Promise<Upload[]> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry != null);
  if (entries.length === 0) return [...transfer.files].map((file) => ({ file, path: file.name }));
  const found: Upload[] = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

async function walk(entry: FileSystemEntry, found: Upload[]): Promise<void> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    found.push({ file, path: entry.fullPath.replace(/^\//, '') });
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  // A reader gives some at a time, and none at the end.
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return;
    for (const inside of some) await walk(inside, found);
  }
}

/** Sends files into a folder. */
export function upload(api: Api, session: string, folder: string, files: readonly Upload[], overwrite: boolean): Promise<{ data: FileView[] }> {
  const form = new FormData();
  for (const { file, path } of files) form.append('file', file, path);
  return api.post(sessionPath(session, 'files', 'upload'), form, { query: { path: folder, overwrite } });
}

/** The form of an archive, by its name. */
export function archiveFormat(name: string): 'zip' | 'tar.gz' | null {
  if (name.endsWith('.zip')) return 'zip';
  return name.endsWith('.tar.gz') || name.endsWith('.tgz') ? 'tar.gz' : null;
}
