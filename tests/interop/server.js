// An echo server on npm `ws`, with commands. Arguments: the port (0 picks one).
// Reports what it sees as lines of JSON on standard output; ends when its standard input does.
// It understands the same URLs and commands as server.py beside it, which explains them.
'use strict';

const http = require('http');
const { WebSocketServer } = require('ws');

const PREFERRED_PROTOCOL = 'interop.v2';
const visits = new Map();

function say(event, fields) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');
}

function pairs(raw) {
  const headers = [];
  for (let i = 0; i < raw.length; i += 2) headers.push([raw[i], raw[i + 1]]);
  return headers;
}

function refuse(info, answer) {
  const url = new URL(info.req.url, 'ws://server');
  const visit = (visits.get(info.req.url) || 0) + 1;
  visits.set(info.req.url, visit);
  info.req.visit = visit;
  const status = /^\/refuse\/(\d+)$/.exec(url.pathname);
  if (!status || visit > Number(url.searchParams.get('times'))) return answer(true);
  const seconds = url.searchParams.get('retry-after');
  answer(false, Number(status[1]), `refused ${visit}`, seconds ? { 'Retry-After': seconds } : {});
}

function command(ws, words) {
  const [name, first, ...rest] = words.split(' ');
  switch (name) {
    case '/close':
      if (first) ws.close(Number(first), rest.join(' '));
      else ws.close();
      break;
    case '/drop':
      ws.terminate();
      break;
    case '/probe':
      ws.once('pong', (data) => ws.send(`pong ${data}`));
      ws.ping(first);
      break;
    case '/fragments':
      ws.send(first, { fin: false });
      rest.forEach((part, i) => ws.send(part, { fin: i === rest.length - 1 }));
      break;
    default:
      ws.close(1008, `no such command: ${name}`);
  }
}

function serve(ws, request) {
  const url = request.url;
  const mute = url.startsWith('/mute?') && request.visit === 1;
  const seen = { messages: 0, heartbeat: 0, ping: 0 };
  say('open', {
    url,
    headers: pairs(request.rawHeaders),
    protocol: ws.protocol || null,
    extensions: ws.extensions ? ws.extensions.split(', ') : [],
  });
  ws.on('ping', () => say('ping', { url, number: ++seen.ping }));
  ws.on('message', (data, isBinary) => {
    const text = isBinary ? null : data.toString();
    if (text === 'ping') {
      say('heartbeat', { url, number: ++seen.heartbeat });
      if (!mute) ws.send('pong');
      return;
    }
    seen.messages += 1;
    if (text !== null && text.startsWith('/')) command(ws, text);
    else ws.send(data, { binary: isBinary });
  });
  ws.on('error', () => {}); // 'close' follows, and says 1006
  ws.on('close', (code, reason) => {
    say('close', { url, code, reason: reason.toString(), messages: seen.messages });
  });
}

const server = http.createServer();
const sockets = new WebSocketServer({
  server,
  perMessageDeflate: true,
  verifyClient: refuse,
  handleProtocols: (offered) => offered.has(PREFERRED_PROTOCOL) && PREFERRED_PROTOCOL,
});
sockets.on('connection', serve);
server.listen(Number(process.argv[2]), '127.0.0.1', () => {
  say('listening', { port: server.address().port });
});
process.stdin.on('end', () => process.exit(0)).resume();
