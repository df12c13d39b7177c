/** A session, and what can be done with it without naming it each time. */

import type { Paddock, Prompt } from './client.js';
import type { PaddockEvent } from './events.js';
import type {
  CallOptions,
  CommandOptions,
  EventsOptions,
  ListOptions,
  SocketOptions,
  StreamOptions,
} from './options.js';
import type { SessionSocket } from './socket.js';
import type {
  ChatView,
  ForkSessionRequest,
  InterruptView,
  MessageView,
  PermissionView,
  SessionView,
  TurnView,
  UpdateSessionRequest,
} from './types.js';

/** A session as it was when it was read. Each method is the client's of the same name, for this session. */
export class Session {
  /** Its id (`ses_…`). */
  readonly id: string;

  /**
   * @param client the client that it was read with
   * @param view what the server said of it; it does not change by itself, {@link refresh} reads it anew
   */
  constructor(
    private readonly client: Paddock,
    readonly view: SessionView,
  ) {
    this.id = view.session_id;
  }

  /** The session as it is now. */
  refresh(options?: CallOptions): Promise<Session> {
    return this.client.sessions.get(this.id, options);
  }

  /** Changes what is named; the session as it is then. */
  update(change: UpdateSessionRequest, options?: CallOptions): Promise<Session> {
    return this.client.sessions.update(this.id, change, options);
  }

  /** Closes it for good. */
  delete(options?: CallOptions): Promise<void> {
    return this.client.sessions.delete(this.id, options);
  }

  /** Starts its agent ahead of the next prompt. */
  resume(options?: CommandOptions): Promise<Session> {
    return this.client.sessions.resume(this.id, options);
  }

  /** A new session that goes on from where this one is, or was. */
  fork(request?: ForkSessionRequest, options?: CommandOptions): Promise<Session> {
    return this.client.sessions.fork(this.id, request, options);
  }

  /** Sends a prompt and waits for the whole answer. */
  chat(prompt: Prompt, options?: CommandOptions): Promise<ChatView> {
    return this.client.chat(this.id, prompt, options);
  }

  /** Sends a prompt and yields the events of its turn. */
  stream(prompt: Prompt, options?: StreamOptions): AsyncGenerator<PaddockEvent, void, undefined> {
    return this.client.stream(this.id, prompt, options);
  }

  /** Sends a prompt and waits for nothing. */
  submit(prompt: Prompt, options?: CommandOptions): Promise<TurnView> {
    return this.client.submit(this.id, prompt, options);
  }

  /** Ends the turn that runs. */
  interrupt(options?: CommandOptions): Promise<InterruptView> {
    return this.client.interrupt(this.id, options);
  }

  /** The conversation, oldest first. */
  messages(options?: ListOptions): AsyncGenerator<MessageView, void, undefined> {
    return this.client.messages(this.id, options);
  }

  /** Its turns, newest first. */
  turns(options?: ListOptions): AsyncGenerator<TurnView, void, undefined> {
    return this.client.turns.list(this.id, options);
  }

  /** Its questions that wait. */
  permissions(options?: ListOptions): AsyncGenerator<PermissionView, void, undefined> {
    return this.client.permissions.list(this.id, options);
  }

  /** Its log, and what comes. */
  events(options?: EventsOptions): AsyncGenerator<PaddockEvent, void, undefined> {
    return this.client.events(this.id, options);
  }

  /** A connection that takes commands and tells events. */
  socket(options?: SocketOptions): SessionSocket {
    return this.client.socket(this.id, options);
  }
}
