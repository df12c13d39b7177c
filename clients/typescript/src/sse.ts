/** Server-sent events, read as the HTML standard says. */

import { ConnectionError, ProtocolError } from './problem.js';

/** The longest line, and the longest `data` of one frame, in UTF-16 units. An event of a log is one line. */
export const LINE_MAX = 32 * 1024 * 1024;

/** What is dispatched at an empty line. */
export interface SseFrame {
  /** The last `id` that was told, in this frame or before; empty when none was. */
  id: string;
  /** The frame's type: `message` when it names none. */
  event: string;
  /** Its data lines, with line feeds between. */
  data: string;
}

/** Makes frames of pieces of text, wherever these are cut. */
export class SseParser {
  /** The last `retry` that was told, in milliseconds; undefined when none was. */
  retryMs: number | undefined;

  #partial = '';
  #afterReturn = false;
  #id = '';
  #event = '';
  #data: string[] = [];
  #dataLength = 0;

  /** @param lineMax the longest line, and the longest data of one frame, in UTF-16 units */
  constructor(private readonly lineMax: number = LINE_MAX) {}

  /**
   * The frames that are complete with this piece. What is not complete when the text ends is no frame.
   *
   * @throws ProtocolError when a line, or the data of a frame, is too long
   */
  push(piece: string): SseFrame[] {
    const frames: SseFrame[] = [];
    let start = 0;
    // A carriage return and a line feed are one line end, even when they come apart.
    if (this.#afterReturn && piece.length > 0) {
      this.#afterReturn = false;
      if (piece[0] === '\n') start = 1;
    }
    const ends = /[\r\n]/g;
    for (;;) {
      ends.lastIndex = start;
      const end = ends.exec(piece);
      const stop = end?.index ?? piece.length;
      if (this.#partial.length + stop - start > this.lineMax) throw tooLong(this.lineMax);
      const line = this.#partial + piece.slice(start, stop);
      if (end === null) {
        this.#partial = line;
        return frames;
      }
      this.#partial = '';
      this.#take(line, frames);
      start = stop + 1;
      if (end[0] === '\r') {
        if (start === piece.length) this.#afterReturn = true;
        else if (piece[start] === '\n') start += 1;
      }
    }
  }

  #take(line: string, frames: SseFrame[]): void {
    if (line === '') {
      if (this.#data.length > 0) {
        frames.push({ id: this.#id, event: this.#event || 'message', data: this.#data.join('\n') });
      }
      this.#event = '';
      this.#data = [];
      this.#dataLength = 0;
      return;
    }
    const colon = line.indexOf(':');
    // A line that begins with a colon is a comment, a sign of life.
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const skip = line[colon + 1] === ' ' ? 2 : 1;
    const value = colon < 0 ? '' : line.slice(colon + skip);
    switch (field) {
      case 'data':
        this.#dataLength += value.length + 1;
        if (this.#dataLength > this.lineMax + 1) throw tooLong(this.lineMax);
        this.#data.push(value);
        break;
      case 'event':
        this.#event = value;
        break;
      case 'id':
        if (!value.includes('\0')) this.#id = value;
        break;
      case 'retry':
        if (/^\d+$/.test(value)) this.retryMs = Number(value);
        break;
      default:
      // Fields that are not known are passed over.
    }
  }
}

/** How a body is read. */
export interface ReadOptions {
  /** What makes frames of the text. */
  parser?: SseParser;
  /** After how many milliseconds without a byte the connection counts as lost; never when absent. */
  idleMs?: number;
}

/**
 * The frames of a response's body. Leaving the loop cancels the body.
 *
 * @throws ConnectionError when it breaks off or is silent for too long, ProtocolError when a line is too long
 */
export async function* readSse(
  body: ReadableStream<Uint8Array>,
  options: ReadOptions = {},
): AsyncGenerator<SseFrame, void, undefined> {
  const parser = options.parser ?? new SseParser();
  // One decoder for all pieces: a character may be cut anywhere. It also drops a byte order mark at the start.
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (;;) {
      const piece = await readPiece(reader, options.idleMs);
      if (piece === null) return;
      yield* parser.push(decoder.decode(piece, { stream: true }));
    }
  } finally {
    // The reader may be gone already, and its reason was told.
    reader.cancel().catch(() => {});
  }
}

async function readPiece(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  idleMs: number | undefined,
): Promise<Uint8Array | null> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    const reading = reader.read();
    const silence = new Promise<never>((_, reject) => {
      if (idleMs === undefined) return;
      timer = setTimeout(() => {
        reject(new ConnectionError(`nothing came for ${idleMs} ms`));
        reading.catch(() => {});
      }, idleMs);
    });
    const { done, value } = await Promise.race([reading, silence]);
    return done ? null : value;
  } catch (error) {
    if (error instanceof ConnectionError) throw error;
    throw new ConnectionError(`the stream broke off: ${String(error)}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

function tooLong(most: number): ProtocolError {
  return new ProtocolError(`a line of the stream has more than ${most} characters`);
}
