import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { ConnectionError, ProtocolError, SseParser, readSse } from '@paddock/client';
import type { SseFrame } from '@paddock/client';

/** What a parser makes of pieces. */
function parsed(...pieces: string[]): SseFrame[] {
  const parser = new SseParser();
  return pieces.flatMap((piece) => parser.push(piece));
}

/** A body of these pieces. */
function body(...pieces: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece);
      controller.close();
    },
  });
}

async function read(stream: ReadableStream<Uint8Array>): Promise<string[]> {
  const all: string[] = [];
  for await (const frame of readSse(stream)) all.push(frame.data);
  return all;
}

describe('the reader of server-sent events', () => {
  it('joins data lines, and keeps the id until there is another', () => {
    assert.deepEqual(parsed('id: 1\ndata: a\ndata: b\n\nevent: x\ndata:c\n\ndata:  d\nid\n\n'), [
      { id: '1', event: 'message', data: 'a\nb' },
      { id: '1', event: 'x', data: 'c' },
      { id: '', event: 'message', data: ' d' },
    ]);
  });

  it('takes every line end, and every cut between any two characters', () => {
    const text = 'id: 7\r\ndata: one\r\n\r\ndata: two\rdata: three\r\r: nothing\ndata: four\n\n';
    const whole = parsed(text);
    assert.deepEqual(
      whole.map((frame) => frame.data),
      ['one', 'two\nthree', 'four'],
    );
    for (let at = 0; at <= text.length; at += 1) {
      assert.deepEqual(parsed(text.slice(0, at), text.slice(at)), whole, `cut at ${at}`);
    }
    assert.deepEqual(parsed(...text), whole);
  });

  it('passes over comments, fields that it does not know, and frames without data', () => {
    assert.deepEqual(parsed(': alive\n\nevent: x\n\nother: y\nno colon\n\nid: a\0b\ndata: z\n\n'), [
      { id: '', event: 'message', data: 'z' },
    ]);
  });

  it('remembers how long to wait, if that is a number', () => {
    const parser = new SseParser();
    parser.push('retry: 2000\n\nretry: soon\n\n');
    assert.equal(parser.retryMs, 2000);
  });

  it('makes no frame of what is not complete', () => {
    assert.deepEqual(parsed('data: a\n\ndata: b\n'), [{ id: '', event: 'message', data: 'a' }]);
  });

  it('refuses a line, or data, that is too long', () => {
    assert.throws(() => new SseParser(10).push('data: 12345678901\n\n'), ProtocolError);
    const piecemeal = new SseParser(10);
    piecemeal.push('data: 1234');
    assert.throws(() => piecemeal.push('567'), ProtocolError);
    assert.throws(() => new SseParser(10).push('data: 1234\n'.repeat(4)), ProtocolError);
    assert.equal(new SseParser(10).push('data: 1234\n\n').length, 1);
  });

  it('reads characters that are cut anywhere, and drops a byte order mark', async () => {
    const bytes = new TextEncoder().encode('\uFEFFdata: äöü 漢字 😀\n\n');
    for (let at = 0; at <= bytes.length; at += 1) {
      assert.deepEqual(await read(body(bytes.subarray(0, at), bytes.subarray(at))), ['äöü 漢字 😀'], `cut at ${at}`);
    }
  });

  it('tells a body that breaks off from one that ends, and one that is silent', async () => {
    const broken = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.error(new TypeError('terminated'));
      },
    });
    await assert.rejects(read(broken), ConnectionError);
    const cancelled = new Promise<void>((resolve) => {
      const silent = new ReadableStream<Uint8Array>({ cancel: () => resolve() });
      const frames = readSse(silent, { idleMs: 5 });
      void assert.rejects(frames.next(), /nothing came for 5 ms/);
    });
    await cancelled;
  });

  it('cancels the body when its loop is left', async () => {
    let cancelled = false;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(new TextEncoder().encode('data: a\n\n'));
      },
      cancel() {
        cancelled = true;
      },
    });
    for await (const frame of readSse(endless)) {
      assert.equal(frame.data, 'a');
      break;
    }
    assert.ok(cancelled);
  });
});
