/** Options of the client and of its calls. */

import type { EventType } from './events.js';
import type { OnPermission } from './permissions.js';
import type { Fetch } from './transport.js';
import type { SessionStatus } from './types.js';
import type { WebSocketConstructor } from './websocket.js';

/** How a client is made. */
export interface PaddockOptions {
  /** Where the server is: `http://127.0.0.1:8000`, or with the path that a proxy puts before it. */
  baseUrl: string;
  /** A key of the tenant, or a login token. A server on loopback may need none. */
  apiKey?: string;
  /** The user that sessions are made for, and listed of, when none is named. */
  userId?: string;
  /** In place of the platform's own `fetch`. */
  fetch?: Fetch;
  /** In place of the platform's own `WebSocket`, or of the package `ws` where there is none. */
  webSocket?: WebSocketConstructor;
  /** How often a request is sent again at most; 5 when absent, 0 for never. */
  maxRetries?: number;
  /** How often in a row a stream or a socket that was open tries to come back; 20 when absent. */
  maxReconnects?: number;
  /** After how many milliseconds of silence a stream counts as lost; 45000 when absent. The server speaks every 10 s. */
  idleMs?: number;
}

/** Options of every call. */
export interface CallOptions {
  /** Ends the call; it rejects with the signal's reason. What the server has begun goes on. */
  signal?: AbortSignal;
}

/** Options of calls that create or run something. */
export interface CommandOptions extends CallOptions {
  /**
   * 1 to 255 visible ASCII characters; made up when absent. The same call with the same key is done once, however often
   * and from wherever it is sent.
   */
  idempotencyKey?: string;
}

/** Options of lists. */
export interface ListOptions extends CallOptions {
  /** How many entries a page has; the server's default when absent. All pages are read anyway. */
  limit?: number;
}

/** Which sessions are listed. */
export interface ListSessionsOptions extends ListOptions {
  /** Those of this user. */
  user_id?: string;
  /** Those of this status; active ones when absent. */
  status?: SessionStatus | 'all';
  /** Those in whose title a word begins so. */
  q?: string;
  /** Those whose metadata has these texts under these keys. */
  metadata?: Record<string, string>;
}

/** Options of a turn's stream. */
export interface StreamOptions extends CommandOptions {
  /** Answers what the agent asks. */
  onPermission?: OnPermission;
  /** Goes on with a stream of this `idempotencyKey` after the event of this id, also in another process. */
  lastEventId?: number;
}

/** What of a log is followed. */
export interface LogOptions {
  /** What came after the event of this id; from the beginning when absent. */
  after?: number;
  /** Only events of these types. */
  types?: EventType[];
  /** Whether pieces of text come too; yes when absent. */
  deltas?: boolean;
  /** Whether the CLI's own messages (`agent_message`) come too, where the session keeps them; no when absent. */
  raw?: boolean;
  /** Answers what the agent asks. */
  onPermission?: OnPermission;
}

/** Options of following a log. */
export interface EventsOptions extends LogOptions, CallOptions {
  /** Only events of this turn; the stream ends with its last one. */
  turn?: string;
  /** Whether what comes is waited for; yes when absent. */
  follow?: boolean;
}

/** Options of a socket. */
export interface SocketOptions extends LogOptions, CallOptions {
  /** How many events may wait for the loop that takes them; 10000 when absent. More are fetched when it has. */
  bufferMax?: number;
  /** After how many milliseconds of silence the server is pinged; 20000 when absent. As long again, and it counts as lost. */
  heartbeatMs?: number;
}

