/**
 * A conversation in the terminal.
 *
 *     npm run build && npx tsx examples/chat.ts http://127.0.0.1:8000
 *
 * The key, if the server needs one, is taken from `PADDOCK_KEY`. An empty line ends the conversation.
 */

import { stdin, stdout } from 'node:process';
import { createInterface } from 'node:readline/promises';

import { Paddock } from '@paddock/client';

const baseUrl = process.argv[2] ?? 'http://127.0.0.1:8000';
const paddock = new Paddock({ baseUrl, apiKey: process.env.PADDOCK_KEY, userId: 'alice' });
const session = await paddock.sessions.create({ title: 'A conversation in the terminal' });
const terminal = createInterface({ input: stdin, output: stdout });
let isOpen = true;
terminal.once('close', () => (isOpen = false));

while (isOpen) {
  const prompt = await terminal.question('> ');
  if (prompt.trim() === '') break;
  const events = session.stream(prompt, {
    onPermission: async (request) => {
      const answer = await terminal.question(`\n${request.tool_name} ${JSON.stringify(request.tool_input)} [y/N] `);
      return answer === 'y' ? 'allow' : 'deny';
    },
  });
  for await (const event of events) {
    if (event.type === 'text_delta') stdout.write(event.text);
    else if (event.type === 'tool_use') stdout.write(`\n[${event.tool_name}]\n`);
    else if (event.type === 'error') stdout.write(`\n${event.code}: ${event.error}`);
  }
  stdout.write('\n');
}
terminal.close();
await session.delete();
