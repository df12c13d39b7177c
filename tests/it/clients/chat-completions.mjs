// The official TypeScript client, as its documentation shows it: node chat-completions.mjs BASE_URL KEY
import { createRequire } from 'node:module';

const require = createRequire(process.env.TEST_CLIENTS + '/');
const OpenAI = require('openai');
const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const told = { models: [], errors: [] };
for await (const model of client.models.list()) told.models.push(model.id);

const completion = await client.chat.completions.create({
  model: 'claude-code',
  messages: [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Remember the number 42' },
  ],
  user: 'typescript',
});
told.answer = completion.choices[0].message.content;
told.finish_reason = completion.choices[0].finish_reason;
told.total_tokens = completion.usage.total_tokens;

const stream = await client.chat.completions.create({
  model: 'claude-code',
  messages: [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Which number did I ask you to remember?' },
  ],
  user: 'typescript',
  stream: true,
  stream_options: { include_usage: true },
});
told.streamed = '';
told.pieces = 0;
for await (const chunk of stream) {
  const piece = chunk.choices[0]?.delta?.content;
  if (piece) {
    told.streamed += piece;
    told.pieces += 1;
  }
  if (chunk.usage) told.streamed_tokens = chunk.usage.total_tokens;
}

const refused = async (client, change) => {
  const asked = { model: 'claude-code', messages: [{ role: 'user', content: 'Hello' }], ...change };
  try {
    await client.chat.completions.create(asked);
  } catch (error) {
    told.errors.push([error.constructor.name, error.code, error.param]);
  }
};
await refused(client, { model: 'gpt-4' });
await refused(client, { temperature: 0.2 });
await refused(new OpenAI({ baseURL, apiKey: 'wrong-key-of-nobody', maxRetries: 0 }), {});
console.log(JSON.stringify(told));
