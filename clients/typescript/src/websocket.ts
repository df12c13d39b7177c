/** Which WebSocket is used, and how it is spoken to. */

/** A class with the interface of the browsers' `WebSocket`; that of the package `ws` is one too. */
export type WebSocketConstructor = new (url: string) => object;

/** What of a WebSocket is used here. */
export interface Wire {
  onopen: (() => void) | null;
  onmessage: ((message: { data: unknown }) => void) | null;
  onclose: ((closed: { code: number; reason: string }) => void) | null;
  onerror: ((error: { message?: string }) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

type WireConstructor = new (url: string, options?: { headers: Record<string, string> }) => Wire;

/**
 * Opens a WebSocket, not waiting for it: the given one, the platform's, or that of the package `ws`.
 *
 * @param headers are sent with the handshake; only `ws` can, so it is taken then
 * @throws Error when there is none
 */
export async function openWire(
  url: string,
  given?: WebSocketConstructor,
  headers?: Record<string, string>,
): Promise<Wire> {
  if (headers !== undefined) return new (await loadWs())(url, { headers });
  const found = given ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  return found === undefined ? new (await loadWs())(url) : new (found as unknown as WireConstructor)(url);
}

async function loadWs(): Promise<WireConstructor> {
  try {
    return (await import('ws')).default as unknown as WireConstructor;
  } catch (error) {
    throw new Error('there is no WebSocket here: install the package `ws`, or give one as `webSocket`', {
      cause: error,
    });
  }
}

/** Lets go of a WebSocket: nothing of it is heard any more, however long its closing takes. */
export function drop(wire: Wire, code = 1000): void {
  wire.onopen = null;
  wire.onmessage = null;
  wire.onclose = null;
  // An error after this is expected where the other side is gone; unheard, it would end a Node process.
  wire.onerror = () => {};
  wire.close(code);
}

/** The text of a message, or null when it is none. */
export function textOf(data: unknown): string | null {
  if (typeof data === 'string') return data;
  return data instanceof Uint8Array ? new TextDecoder().decode(data) : null;
}
