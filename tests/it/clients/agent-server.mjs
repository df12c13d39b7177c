// A client of the WebSocket: configures, connects, sends a prompt, prints what comes: node agent-server.mjs HOST:PORT
import { createRequire } from 'node:module';

const require = createRequire(process.env.TEST_CLIENTS + '/');
const { WebSocket } = require('ws');
const host = process.argv[2];
const configured = await fetch(`http://${host}/config`, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({ systemPrompt: 'You are a helpful coding assistant.', allowedTools: ['Read', 'Write'] }),
});
const types = [];
const socket = new WebSocket(`ws://${host}/ws`);
socket.on('open', () => {
  const message = { role: 'user', content: 'Hello' };
  const data = { type: 'user', session_id: crypto.randomUUID(), parent_tool_use_id: null, message };
  socket.send(JSON.stringify({ type: 'user_message', data }));
});
socket.on('message', (bytes) => {
  const message = JSON.parse(bytes.toString());
  types.push(message.type === 'sdk_message' ? message.data.type : message.type);
  if (message.data?.type === 'result') {
    console.log(JSON.stringify({ configured: configured.status, types, result: message.data.result }));
    socket.close();
  }
});
