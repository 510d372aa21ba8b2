"""What a case plays on: a server that it shares with others, or one of its own, and clients."""

import os
import sys

from children import Client, Server

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON, NODE, TLS = "python", "node", "python wss"


class Target:
    """A server that cases share, and how to start another one like it."""

    def __init__(self, name, certificates):
        self.name = name
        self.certificates = certificates
        if name == NODE:
            self.argv = ["node", os.path.join(HERE, "server.js")]
        else:
            self.argv = [sys.executable, os.path.join(HERE, "server.py")]
        self.secure = name == TLS
        self.server = self.start()

    def start(self, port=0):
        return Server(self.argv, port, [self.file("server.pem")] if self.secure else [])

    def file(self, name):
        return os.path.join(self.certificates, name)


class Stage:
    """What a case has to play with; it clears up after it."""

    number = 0

    def __init__(self, program, target):
        Stage.number += 1
        self.program = program
        self.target = target
        self.server = target.server
        self.children = []

    def own_server(self, port=0):
        """A server of this case alone, to be harmed."""
        self.server = self.target.start(port)
        self.children.append(self.server)

    def path(self, path="/"):
        """Unlike that of any other case, so that the server's events can be told apart."""
        return f"{path}{'&' if '?' in path else '?'}case={Stage.number}"

    def connect(self, *args, path="/", host=None, ca="ca.pem", system="other.pem"):
        """A client. The system's authorities are not those of the machine: `system` is."""
        scheme, name = ("wss", "localhost") if self.target.secure else ("ws", "127.0.0.1")
        url = f"{scheme}://{host or name}:{self.server.port}{self.path(path)}"
        trust = ["--ca", self.target.file(ca)] if self.target.secure and ca else []
        argv = [self.program, "connect", "--json", *trust, *args, url]
        client = Client(argv, {"SSL_CERT_FILE": self.target.file(system)})
        self.children.append(client)
        return client

    def open(self, *args, path="/", **want):
        """A client whose first connection is open."""
        client = self.connect(*args, path=path)
        client.expect("open", epoch=1, attempt=0, **want)
        return client

    def saw(self, name, path="/", **want):
        return self.server.saw(name, url=self.path(path), **want)

    def finish(self, client, code=0):
        """The end of the input is the end of the client, and it is a clean one. Code 5: lines
        were sent on a connection that was lost."""
        client.end_input()
        client.expect("close", code=1000, reason="", was_clean=True, retry=None)
        client.exits(code)

    def recovers(self, client, epoch):
        """The next connection opens, and works."""
        client.expect("open", epoch=epoch)
        client.send("here again")
        client.expect("message", epoch=epoch, kind="text", data="here again")

    def transcript(self):
        lines = []
        for child in self.children:
            lines += child.transcript()
        if self.server not in self.children:
            mark = self.path("")
            lines += self.server.transcript(lambda event: event.get("url", "").endswith(mark[1:]))
        return lines

    def clear(self):
        for child in self.children:
            child.kill()
