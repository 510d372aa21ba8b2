"""An echo server on Python `websockets`, with commands.

Arguments: the port (0 picks one) and, for wss, a PEM file with certificate and key.
It reports what it sees as lines of JSON on standard output, and ends when its standard input does.

URLs: `/mute?…` swallows heartbeats on its first connection; `/refuse/STATUS?times=N` refuses
the first N upgrades, with `&retry-after=SECONDS` if given; all others are served well.
A URL is counted as a whole, so any further query makes it a new one.

Messages are sent back, but for `ping`, answered by `pong`, and for these:
  /close [CODE [REASON]]   close, without a code if there is none
  /drop                    end the TCP connection without a word
  /probe DATA              send a protocol Ping, and `pong DATA` when its Pong is there
  /fragments A B …         send `AB…` as one message in a frame for each part
"""

import asyncio
import json
import ssl
import sys
import threading
from collections import Counter
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode

PREFERRED_PROTOCOL = "interop.v2"
VISITS = Counter()


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


class Connection(ServerConnection):
    """A connection that tells of protocol Pings, which the library answers in silence."""

    pings = 0

    def process_event(self, event):
        if getattr(event, "opcode", None) is Opcode.PING:
            self.pings += 1
            say("ping", url=self.request.path, number=self.pings)
        super().process_event(event)


def refuse(connection, request):
    VISITS[request.path] += 1
    connection.visit = VISITS[request.path]
    url = urlsplit(request.path)
    query = parse_qs(url.query)
    times = int(query.get("times", ["0"])[0])
    if not url.path.startswith("/refuse/") or connection.visit > times:
        return None
    response = connection.respond(int(url.path[len("/refuse/"):]), f"refused {connection.visit}")
    if "retry-after" in query:
        response.headers["Retry-After"] = query["retry-after"][0]
    return response


def choose(_protocol, offered):
    return PREFERRED_PROTOCOL if PREFERRED_PROTOCOL in offered else None


async def command(connection, words):
    name, *rest = words.split(" ")
    if name == "/close":
        code = int(rest[0]) if rest else None
        await connection.close(code, " ".join(rest[1:]))
    elif name == "/drop":
        connection.transport.abort()
    elif name == "/probe":
        await (await connection.ping(rest[0]))
        await connection.send(f"pong {rest[0]}")
    elif name == "/fragments":
        await connection.send(rest)
    else:
        await connection.close(1008, f"no such command: {name}")


async def converse(connection):
    """Answers message after message; the number of those that were no heartbeats."""
    url = connection.request.path
    mute = url.startswith("/mute?") and connection.visit == 1
    messages = heartbeats = 0
    try:
        async for message in connection:
            if message == "ping":
                heartbeats += 1
                say("heartbeat", url=url, number=heartbeats)
                if not mute:
                    await connection.send("pong")
                continue
            messages += 1
            if isinstance(message, str) and message.startswith("/"):
                await command(connection, message)
            else:
                await connection.send(message)
    except ConnectionClosed:
        pass  # the close is reported by its code
    return messages


async def handle(connection):
    url = connection.request.path
    say(
        "open",
        url=url,
        headers=list(connection.request.headers.raw_items()),
        protocol=connection.subprotocol,
        extensions=[extension.name for extension in connection.protocol.extensions],
    )
    messages = await converse(connection)
    await connection.wait_closed()
    say(
        "close",
        url=url,
        code=connection.close_code,
        reason=connection.close_reason,
        messages=messages,
    )


async def main(port, certificate=None):
    tls = None
    if certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def await_end():
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(ended.set)

    server = await serve(
        handle,
        "127.0.0.1",
        int(port),
        ssl=tls,
        compression="deflate",
        create_connection=Connection,
        max_size=16 * 2**20,
        ping_interval=None,
        process_request=refuse,
        select_subprotocol=choose,
    )
    say("listening", port=server.sockets[0].getsockname()[1])
    threading.Thread(target=await_end, daemon=True).start()
    await ended.wait()
    server.close(close_connections=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
