/** Tells which part of a Markdown text that still grows will not change any more. */

/**
 * A text in two: up to the last blank line that surely ends a block, and the rest.
 *
 * Surely: outside of a fence, and followed by a line that goes on with no list, quotation or table.
 */
export function splitSettled(text: string): [string, string] {
  let settled = 0;
  let fence: string | null = null;
  let blank = false;
  let start = 0;
  while (start < text.length) {
    const end = text.indexOf('\n', start);
    const stop = end < 0 ? text.length : end;
    const line = text.slice(start, stop);
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1];
    if (fence !== null) {
      if (mark?.startsWith(fence) && line.trim() === mark) fence = null;
      blank = false;
    } else {
      // The last line may still become anything.
      if (blank && end >= 0 && /^(?:[^\s>|*+\-\d[]|\*\*)/.test(line)) settled = start;
      if (mark !== undefined) fence = mark;
      blank = line.trim() === '';
    }
    start = stop + 1;
  }
  return [text.slice(0, settled), text.slice(settled)];
}
