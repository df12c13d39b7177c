/** Files that go with a prompt. */

import type { AttachmentRequest } from '../api/types';

/** A file that was chosen, dropped or pasted. */
export interface Chosen {
  key: string;
  name: string;
  mediaType: string;
  size: number;
  data: string;
  /** A small picture of it, where it is one. */
  preview: string | null;
}

let last = 0;

/** Reads files. What a browser has no type for is told as text; the server looks whether it is. */
export function readFiles(files: Iterable<File>): Promise<Chosen[]> {
  return Promise.all([...files].map(readFile));
}

async function readFile(file: File): Promise<Chosen> {
  const url = await new Promise<string>((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error ?? new Error(file.name));
    reader.readAsDataURL(file);
  });
  last += 1;
  const mediaType = mediaTypeOf(file);
  return {
    key: `file-${last}`,
    name: file.name || 'file',
    mediaType,
    size: file.size,
    data: url.slice(url.indexOf(',') + 1),
    preview: mediaType.startsWith('image/') ? url : null,
  };
}

/** What a file is told as: code and configuration are text, whatever a browser calls them. */
export function mediaTypeOf(file: { type: string }): string {
  const { type } = file;
  if (type === '') return 'text/plain';
  if (/^(text|image)\//.test(type) || type === 'application/pdf' || type === 'application/json')
    return type.split(';')[0] ?? type;
  return /javascript|typescript|xml|yaml|toml|sh$|sql|x-/.test(type) ? 'text/plain' : type;
}

/** As the API takes it. */
export function attachmentOf(file: Chosen): AttachmentRequest {
  return { name: file.name, media_type: file.mediaType, data: file.data };
}
