"""The processes of a test: clients and servers that tell what happens in lines of JSON."""

import json
import os
import signal
import subprocess
import threading
import time

PATIENCE = 20.0  # seconds, for anything that is waited for
SHOWN = 200  # characters of a line in a transcript

# The keys of each event, in their order; more may follow.
KEYS = {
    "open": ["t_ms", "epoch", "attempt", "protocol", "headers", "profile"],
    "message": ["t_ms", "epoch", "kind"],
    "error": ["t_ms", "epoch", "err_code", "err_msg", "detail", "http_status"],
    "close": ["t_ms", "epoch", "code", "reason", "was_clean", "retry"],
    "send": ["t_ms", "outcome", "err_code"],
}


class Failed(Exception):
    """What was expected did not happen."""


def check(condition, complaint):
    if not condition:
        raise Failed(complaint)


def matches(event, name, want):
    return event["event"] == name and all(event.get(key) == want[key] for key in want)


def short(value):
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"


class Child:
    """A process; its events and its errors are read as they come, so that it never blocks."""

    def __init__(self, argv, env=None):
        self.argv = argv
        self.events = []
        self.errors = []
        self.ended = False
        self.news = threading.Condition()
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(os.environ, **(env or {})),
        )
        self.readers = [
            threading.Thread(target=self._read_events, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self.readers:
            reader.start()

    def _read_events(self):
        for line in self.process.stdout:
            try:
                event = json.loads(line)
                event["event"]  # every line has one
            except (ValueError, KeyError, TypeError):
                event = {"event": "not JSON", "line": line.decode("utf-8", "replace")}
            with self.news:
                self.events.append(event)
                self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    def _read_errors(self):
        for line in self.process.stderr:
            self.errors.append(line.decode("utf-8", "replace").rstrip())

    def wait_for(self, pick, what):
        """What `pick` makes of the events so far, once that is not None."""
        deadline = time.monotonic() + PATIENCE
        with self.news:
            while True:
                found = pick(self.events)
                if found is not None:
                    return found
                left = deadline - time.monotonic()
                check(not self.ended, f"{self.argv[0]} ended before {what}")
                check(left > 0, f"not within {PATIENCE:.0f} s: {what}")
                self.news.wait(left)

    def write(self, data):
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"{self.argv[0]} has ended and takes no input") from None

    def end_input(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended already

    def wait(self):
        """The exit code, when all output has been read."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.argv[0]} did not end within {PATIENCE:.0f} s") from None
        for reader in self.readers:
            reader.join(PATIENCE)
        return code

    def kill(self):
        """As `kill -9`: nothing of it is left when this returns."""
        self.process.kill()
        self.process.wait()
        self.end_input()
        for reader in self.readers:
            reader.join(PATIENCE)
        self.process.stdout.close()
        self.process.stderr.close()

    def transcript(self, about=lambda event: True):
        shown = [" ".join(self.argv)]
        with self.news:
            shown += [short(event) for event in self.events if about(event)]
        return shown + [f"stderr: {short(line)}" for line in self.errors]


class Client(Child):
    """`wxsocket connect --json`, and how far its events have been looked at."""

    def __init__(self, argv, env):
        super().__init__(argv, env)
        self.seen = 0
        self.sends_seen = 0

    def _next(self, what):
        """The next event, sends aside."""

        def pick(events):
            for index in range(self.seen, len(events)):
                if events[index]["event"] != "send":
                    self.seen = index + 1
                    return events[index]
            return None

        event = self.wait_for(pick, what)
        keys = ["event", *KEYS.get(event["event"], ["such an event"])]
        check(list(event)[: len(keys)] == keys, f"expected the keys {keys} in {short(event)}")
        return event

    def expect(self, name, **want):
        """The very next event, which must be this one."""
        what = f"{name} {short(want)}"
        event = self._next(what)
        check(matches(event, name, want), f"expected {what}, got {short(event)}")
        return event

    def until(self, name, **want):
        """The first such event; others before it do not matter."""
        while True:
            event = self._next(f"{name} {short(want)}")
            if matches(event, name, want):
                return event

    def send(self, *lines):
        self.write(b"".join(line.encode() + b"\n" for line in lines))

    def outcome(self, want):
        """What became of the next line sent."""

        def pick(events):
            sends = [event for event in events if event["event"] == "send"]
            return sends[self.sends_seen] if len(sends) > self.sends_seen else None

        event = self.wait_for(pick, "the outcome of a line")
        self.sends_seen += 1
        check(list(event)[1:] == KEYS["send"], f"keys of {short(event)}")
        check(event["outcome"] == want, f"expected a line to be {want}, got {short(event)}")

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def exits(self, want):
        """It ends with this code, and tells nothing more."""
        code = self.wait()
        rest = [event for event in self.events[self.seen :] if event["event"] != "send"]
        check(not rest, f"expected no more events, got {short(rest)}")
        check(code == want, f"expected exit code {want}, got {code}")


class Server(Child):
    """A server that tells its port, and then what it sees."""

    def __init__(self, argv, port=0, extra=(), env=None):
        super().__init__([*argv, str(port), *extra], env)
        try:
            self.port = self.saw("listening")["port"]
        except Failed as failed:
            self.kill()
            raise Failed("\n".join([str(failed), *self.errors])) from None

    def saw(self, name, **want):
        """The first such event since its start, now or later."""

        def pick(events):
            return next((event for event in events if matches(event, name, want)), None)

        return self.wait_for(pick, f"{name} {short(want)} at the server")
