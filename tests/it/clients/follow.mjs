// Follows a session's log over a WebSocket with `ws`, from the last id on whenever the connection is lost.
import { createRequire } from 'node:module';

const require = createRequire(process.argv[4]);
const WebSocket = require('ws');
const [url, lastType] = process.argv.slice(2);
const events = [];
let connections = 0;

function connect() {
  connections += 1;
  const after = events.length ? events[events.length - 1].id : 0;
  const socket = new WebSocket(`${url}?after=${after}`);
  let done = false;
  socket.on('message', (data) => {
    const event = JSON.parse(data.toString());
    events.push(event);
    if (event.type === lastType) {
      done = true;
      socket.close();
    }
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    if (done) console.log(JSON.stringify({ events, connections }));
    else setTimeout(connect, 20);
  });
}
connect();
