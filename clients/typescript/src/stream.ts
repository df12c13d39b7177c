/** Streams of events that go on by themselves after a cut, each event once and in order. */

import type { PaddockEvent } from './events.js';
import { isTerminal, readEvent } from './events.js';
import type { Asker } from './permissions.js';
import { ConnectionError, ProtocolError } from './problem.js';
import { isPassing, pause, waitBefore } from './retry.js';
import { SseParser, readSse } from './sse.js';

/** How streams deal with cuts. */
export interface FollowRules {
  /** How many tries may fail one after the other before the first event. */
  maxRetries: number;
  /** How many tries may fail one after the other later on. */
  maxReconnects: number;
  /** After how many milliseconds without a byte a connection counts as lost. */
  idleMs: number;
}

/** What is followed. */
export interface Source {
  /**
   * Opens the stream after an event, or where it begins. Null: nothing came after it, and nothing will.
   */
  open(after: number | undefined, signal: AbortSignal): Promise<Response | null>;
  /** Whether a turn's last event is the stream's last one. */
  endsWithTurn: boolean;
  /** Whether a stream that ends in order has told everything. */
  endsInOrder: boolean;
  /** Where to begin: after the event of this id. */
  after?: number | undefined;
  /** The user's signal. */
  signal?: AbortSignal | undefined;
  /** Makes what answers questions on the way. */
  asker?: ((fail: (error: unknown) => void) => Asker) | undefined;
}

/** Tells which events were delivered already, by their ids. */
export class Place {
  #type: string | undefined;

  /** @param last the id of the last event that was delivered, if one was */
  constructor(public last: number | undefined) {}

  /** Whether an event is new; if so, the place moves on to it. */
  moveTo(event: PaddockEvent): boolean {
    const same = event.id === this.last;
    // Two kinds may have the id of the event before them: the end of a turn that could not be stored, and a gap.
    const shares = same && event.type !== this.#type && (isTerminal(event) || event.type === 'gap');
    if (this.last !== undefined && event.id <= this.last && !shares) return false;
    this.last = event.id;
    this.#type = event.type;
    return true;
  }
}

/**
 * The events of a source. After a cut it is opened again after the last event that was delivered.
 *
 * Nothing is sent before the first event is asked for. Leaving the loop closes the connection and nothing else.
 *
 * @throws PaddockError when the server refuses, ConnectionError when too many tries failed one after the other,
 * ProtocolError when what comes is no event, the signal's reason when that is aborted
 */
export async function* follow(source: Source, rules: FollowRules): AsyncGenerator<PaddockEvent, void, undefined> {
  const place = new Place(source.after);
  const controller = new AbortController();
  const abort = (): void => controller.abort(source.signal?.reason);
  if (source.signal?.aborted) abort();
  source.signal?.addEventListener('abort', abort, { once: true });
  const asker = source.asker?.((error) => controller.abort(error));
  let [failures, came, firstWaitMs] = [0, false, undefined as number | undefined];
  try {
    for (;;) {
      let lost: unknown;
      try {
        const response = await source.open(place.last, controller.signal);
        if (response === null) return;
        const parser = new SseParser();
        for await (const event of eventsOf(response, parser, rules.idleMs)) {
          firstWaitMs = parser.retryMs;
          if (!place.moveTo(event)) continue;
          [failures, came] = [0, true];
          asker?.see(event);
          yield event;
          controller.signal.throwIfAborted();
          if (source.endsWithTurn && isTerminal(event)) return;
        }
        if (source.endsInOrder) return;
        lost = new ConnectionError('the stream ended early');
      } catch (error) {
        controller.signal.throwIfAborted();
        if (!isPassing(error)) throw error;
        lost = error;
      }
      if (failures >= (came ? rules.maxReconnects : rules.maxRetries)) throw lost;
      // A connection that brought something and was cut is taken up again almost at once; one that fails again and
      // again waits for what the server named, and longer.
      const wait = failures === 0 ? waitBefore(0, lost) : waitBefore(failures - 1, lost, firstWaitMs);
      failures += 1;
      await pause(wait, controller.signal);
    }
  } finally {
    source.signal?.removeEventListener('abort', abort);
    asker?.stop();
    controller.abort();
  }
}

async function* eventsOf(
  response: Response,
  parser: SseParser,
  idleMs: number,
): AsyncGenerator<PaddockEvent, void, undefined> {
  if (response.body === null) throw new ProtocolError('the answer has no body');
  for await (const frame of readSse(response.body, { parser, idleMs })) {
    let value: unknown;
    try {
      value = JSON.parse(frame.data);
    } catch (error) {
      throw new ProtocolError('what came is no event: it is no JSON', { cause: error });
    }
    const event = readEvent(value);
    if (event === null) throw new ProtocolError('what came is no event: it has no id, or no type');
    yield event;
  }
}
