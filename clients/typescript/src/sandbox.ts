/**
 * `ClaudeAgentClient`: the client of claude-agent-server's WebSocket protocol, with the interface of the original.
 *
 * It speaks to any server of that protocol by `connectionUrl`, or makes an E2B sandbox with one in it. There is one
 * connection at a time and no replay; programs that are written anew are better served by `Paddock`.
 */

import { ConnectionError, PaddockError } from './problem.js';
import type { JsonObject } from './types.js';
import type { Wire } from './websocket.js';
import { drop, openWire, textOf } from './websocket.js';

/** The port of the server in a sandbox. */
const SANDBOX_PORT = 3000;
/** How long the server may take to say `connected`, in milliseconds. */
const CONNECT_MS = 30_000;

/** How the agent is to be run. Paddock refuses options that are not named here; other servers may take them. */
export interface QueryConfig {
  /** Sub-agents by name. */
  agents?: JsonObject;
  /** Tools that need no permission. */
  allowedTools?: string[];
  /** The system prompt, or the preset with something added. */
  systemPrompt?: string | { type: 'preset'; preset: 'claude_code'; append?: string };
  /** The model. */
  model?: string;
  /** MCP servers by name. */
  mcpServers?: JsonObject;
  /** Other options of the SDK. */
  [option: string]: unknown;
}

/** Options of the client. What is not named here is {@link QueryConfig}. */
export interface ClaudeAgentClientOptions extends QueryConfig {
  /** The key of E2B; `E2B_API_KEY` when absent. */
  e2bApiKey?: string;
  /** The key that the agent's model is asked with. In a sandbox, `ANTHROPIC_API_KEY` when absent. */
  anthropicApiKey?: string;
  /** The template of the sandbox; `claude-agent-server` when absent. */
  template?: string;
  /** How long the sandbox lives, in milliseconds; 300000 when absent. */
  timeoutMs?: number;
  /** Whether what happens is written to the console. */
  debug?: boolean;
  /** A server to connect to in place of a sandbox: `http://127.0.0.1:3000`. */
  connectionUrl?: string;
  /** A key of that server, sent as `Authorization: Bearer`. On the WebSocket, that takes Node: browsers send no headers. */
  apiKey?: string;
}

/** A message of the user, as the CLI's SDK has it. */
export interface SDKUserMessage {
  type: 'user';
  session_id: string;
  parent_tool_use_id: string | null;
  message: { role: 'user'; content: string | JsonObject[] };
  uuid?: string;
}

/** What is sent. */
export type WSInputMessage = { type: 'user_message'; data: SDKUserMessage } | { type: 'interrupt' };

/** What comes. `data` of `sdk_message` is a message of the CLI's SDK, verbatim. */
export type WSOutputMessage =
  | { type: 'connected' }
  | { type: 'sdk_message'; data: JsonObject & { type: string } }
  | { type: 'info'; data: string }
  | { type: 'error'; error: string };

/** What of the package `e2b` is used. */
interface E2b {
  Sandbox: {
    create(template: string, options: { apiKey?: string; timeoutMs: number }): Promise<E2bSandbox>;
  };
}

interface E2bSandbox {
  getHost(port: number): string;
  kill(): Promise<unknown>;
}

/** A connection to an agent behind claude-agent-server's protocol. */
export class ClaudeAgentClient {
  readonly #options: ClaudeAgentClientOptions & { template: string; timeoutMs: number };
  readonly #listeners = new Set<(message: WSOutputMessage) => void>();
  #sandbox: E2bSandbox | undefined;
  #wire: Wire | undefined;

  constructor(options: ClaudeAgentClientOptions = {}) {
    this.#options = { ...options, template: options.template ?? 'claude-agent-server', timeoutMs: options.timeoutMs ?? 300_000 };
  }

  /**
   * Makes the sandbox if there is no `connectionUrl`, sends the configuration, connects, and waits for `connected`.
   *
   * @throws PaddockError when the server refuses the configuration, ConnectionError when it cannot be reached, when it has
   * a connection already, or when it does not say `connected` within 30 s; nothing is left open then
   */
  async start(): Promise<void> {
    if (this.#wire !== undefined) throw new ConnectionError('the client is started already');
    try {
      const url = this.#options.connectionUrl?.replace(/\/+$/, '') ?? (await this.#makeSandbox());
      await this.#configure(url);
      await this.#connect(`${url.replace(/^http/, 'ws')}/ws`);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Tells a function every message that comes; what it returns takes that back. */
  onMessage(listener: (message: WSOutputMessage) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Sends a message. Throws `WebSocket is not connected` before {@link start} and after the connection has ended. */
  send(message: WSInputMessage): void {
    if (this.#wire === undefined) throw new Error('WebSocket is not connected');
    this.#log('sent', message.type);
    this.#wire.send(JSON.stringify(message));
  }

  /** Closes the connection, and ends the sandbox if there is one. */
  async stop(): Promise<void> {
    if (this.#wire !== undefined) drop(this.#wire);
    this.#wire = undefined;
    const sandbox = this.#sandbox;
    this.#sandbox = undefined;
    await sandbox?.kill();
  }

  async #makeSandbox(): Promise<string> {
    const { template, timeoutMs } = this.#options;
    const apiKey = this.#options.e2bApiKey ?? environment('E2B_API_KEY');
    const { Sandbox } = await loadE2b();
    this.#log('making a sandbox of', template);
    this.#sandbox = await Sandbox.create(template, { timeoutMs, ...(apiKey === undefined ? {} : { apiKey }) });
    return `https://${this.#sandbox.getHost(SANDBOX_PORT)}`;
  }

  async #configure(url: string): Promise<void> {
    const { e2bApiKey, template, timeoutMs, debug, connectionUrl, apiKey, ...config } = this.#options;
    // The keys of other services stay here: the server has no use for them.
    if (connectionUrl === undefined) config.anthropicApiKey ??= environment('ANTHROPIC_API_KEY');
    const headers: Record<string, string> = { 'content-type': 'application/json', ...this.#authorization() };
    let response: Response;
    try {
      response = await fetch(`${url}/config`, { method: 'POST', headers, body: JSON.stringify(config) });
    } catch (error) {
      throw new ConnectionError(`no answer from ${url}`, { cause: error });
    }
    if (!response.ok) throw await PaddockError.from(response);
    await response.text();
  }

  async #connect(url: string): Promise<void> {
    const headers = this.#authorization();
    const wire = await openWire(url, undefined, headers);
    this.#wire = wire;
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        const fail = (words: string): void => reject(new ConnectionError(words));
        timer = setTimeout(() => fail(`the server did not say that it is connected within ${CONNECT_MS} ms`), CONNECT_MS);
        wire.onmessage = ({ data }) => {
          const message = this.#read(data);
          if (message === null) return;
          if (message.type === 'connected') resolve();
          else if (message.type === 'error') fail(message.error);
          for (const listener of [...this.#listeners]) listener(message);
        };
        wire.onerror = ({ message }) => fail(message ?? 'the connection failed');
        wire.onclose = ({ code }) => {
          this.#log('closed with', code);
          if (this.#wire === wire) this.#wire = undefined;
          fail(`the connection was closed with ${code}`);
        };
      });
    } finally {
      clearTimeout(timer);
    }
  }

  #read(data: unknown): WSOutputMessage | null {
    try {
      const message = JSON.parse(textOf(data) ?? '') as WSOutputMessage;
      this.#log('came', message.type);
      return message;
    } catch {
      // The original passes over what it cannot read, too.
      this.#log('came something that is no JSON');
      return null;
    }
  }

  #authorization(): Record<string, string> | undefined {
    const { apiKey } = this.#options;
    return apiKey === undefined ? undefined : { authorization: `Bearer ${apiKey}` };
  }

  #log(...words: unknown[]): void {
    if (this.#options.debug === true) console.debug('[ClaudeAgentClient]', ...words);
  }
}

function environment(name: string): string | undefined {
  return typeof process === 'undefined' ? undefined : process.env[name];
}

async function loadE2b(): Promise<E2b> {
  // The name is not a literal: who connects to a server of their own needs no such package, to build or to run.
  const name = 'e2b';
  try {
    return (await import(name)) as E2b;
  } catch (error) {
    throw new Error('a sandbox takes the package `e2b`; install it, or give a `connectionUrl`', { cause: error });
  }
}
