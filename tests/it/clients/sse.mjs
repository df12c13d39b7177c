// A client that keys on `data: ` lines and their `type`: node sse.mjs BASE_URL
const base = process.argv[2];
const { sessionId } = await (await fetch(`${base}/api/sessions`, { method: 'POST' })).json();
const response = await fetch(`${base}/api/stream/${sessionId}`, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({ prompt: 'I look.\n% bash echo hello\n% say done' }),
});
const decoder = new TextDecoder();
const frames = [];
let buffer = '';
for await (const chunk of response.body) {
  buffer += decoder.decode(chunk, { stream: true });
  const lines = buffer.split('\n');
  buffer = lines.pop();
  for (const line of lines) if (line.startsWith('data: ')) frames.push(JSON.parse(line.slice(6)));
}
const deleted = await (await fetch(`${base}/api/sessions/${sessionId}`, { method: 'DELETE' })).json();
console.log(JSON.stringify({
  types: frames.map((frame) => frame.type),
  texts: frames.filter((frame) => frame.type === 'message').map((frame) => frame.content),
  deleted: deleted.message,
}));
