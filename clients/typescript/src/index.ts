/** The client of Paddock. */

export * from './account.js';
export { Paddock } from './client.js';
export type { Prompt } from './client.js';
export * from './events.js';
export * from './options.js';
export type { OnPermission, PermissionContext, PermissionReply } from './permissions.js';
export { ConnectionError, PaddockError, ProtocolError } from './problem.js';
export type { FieldError, PaddockErrorInit } from './problem.js';
export { Session } from './session.js';
export { SessionSocket } from './socket.js';
export type { Ack } from './socket.js';
export { SseParser, readSse } from './sse.js';
export type { ReadOptions, SseFrame } from './sse.js';
export type { Fetch } from './transport.js';
export * from './types.js';
export type { WebSocketConstructor } from './websocket.js';
