"""Plays `wxsocket connect --json` against servers that are not ours.

Called by `run` beside it, with the program, a directory with the certificates, and words that
choose the cases whose names contain one of them (all, if there is none).

Nothing here sleeps: what is to happen is waited for, as an event of the client or the server.
"""

import signal
import sys
import traceback

from children import Failed, check
from stage import NODE, PYTHON, TLS, Stage, Target

MIB = 2**20

# The stable numbers of errors (`ErrorKind`).
CONNECTION_LOST = 600003
REFUSED = 690002
TLS_UNTRUSTED = 690012
TLS_HOST_MISMATCH = 690013
HTTP_STATUS = 690020
SUBPROTOCOL = 690022
HEARTBEAT_TIMEOUT = 690040
RECONNECT_LIMIT = 690050

SOON = ("--delay", "20ms", "--max-attempts", "unlimited")
CASES = []


def case(name, on=(PYTHON, NODE, TLS)):
    def add(play):
        CASES.append((name, on, play))
        return play

    return add


# ---- opening --------------------------------------------------------------------------------


@case("open")
def opens(stage):
    client = stage.connect()
    event = client.expect("open", epoch=1, attempt=0, protocol=None)
    header = {name.lower(): value for name, value in event["headers"]}
    check(header.get("upgrade") == "websocket", f"no Upgrade in {event}")
    check("sec-websocket-accept" in header, f"no Sec-WebSocket-Accept in {event}")
    profile = [
        "fetchStart", "domainLookUpStart", "domainLookUpEnd", "connectStart", "connectEnd",
        "rtt", "handshakeCost", "cost",
    ]
    check(list(event["profile"]) == profile, f"the profile of {event}")
    stage.saw("open", protocol=None)
    stage.finish(client)


@case("no extension is used, though the server has permessage-deflate")
def no_extension(stage):
    client = stage.connect()
    event = client.expect("open")
    names = [name.lower() for name, _ in event["headers"]]
    check("sec-websocket-extensions" not in names, f"an extension in {event}")
    seen = stage.saw("open", extensions=[])
    names = [name.lower() for name, _ in seen["headers"]]
    check("sec-websocket-extensions" not in names, f"an extension was offered in {seen}")
    stage.finish(client)


@case("sub-protocol chosen")
def protocol_chosen(stage):
    client = stage.open("--protocol", "interop.v1", "--protocol", "interop.v2", protocol="interop.v2")
    seen = stage.saw("open", protocol="interop.v2")
    offer = ["Sec-WebSocket-Protocol", "interop.v1, interop.v2"]
    check(offer in seen["headers"], f"no {offer} in {seen}")
    stage.finish(client)


@case("no sub-protocol in common")
def protocol_not_chosen(stage):
    client = stage.connect("--no-reconnect", "--protocol", "interop.v1")
    client.expect("error", epoch=1, err_code=SUBPROTOCOL)
    client.expect("close", epoch=1, code=1006, was_clean=False, retry=None)
    client.exits(4)


@case("headers sent")
def headers(stage):
    sent = [["X-Interop", "one: two"], ["x-again", "a"], ["x-again", "b"], ["User-Agent", "interop"]]
    client = stage.open(*(word for name, value in sent for word in ("-H", f"{name}: {value}")))
    seen = stage.saw("open")["headers"]
    names = [name for name, _ in sent]
    check([pair for pair in seen if pair[0] in names] == sent, f"expected {sent} in {seen}")
    stage.finish(client)


# ---- echo -----------------------------------------------------------------------------------


def echo_text(stage, text):
    client = stage.open()
    client.send(text)
    client.outcome("sent")
    client.expect("message", epoch=1, kind="text", data=text)
    stage.finish(client)
    stage.saw("close", code=1000, messages=1)


def echo_binary(stage, data):
    client = stage.open("--binary-hex")
    client.send(data.hex())
    client.outcome("sent")
    client.expect("message", epoch=1, kind="binary", hex=data.hex())
    stage.finish(client)
    stage.saw("close", code=1000, messages=1)


@case("echo text")
def text(stage):
    echo_text(stage, "hello")


@case("echo empty text")
def empty_text(stage):
    echo_text(stage, "")


@case("echo non-ASCII text")
def non_ascii_text(stage):
    echo_text(stage, "Grüße, 你好, こんにちは, 안녕, مرحبا, 👋🏽 👨‍👩‍👧 \u2028 𠮷 \t\x00\x7f\ufffd\ufeff")


@case("echo 1 MiB of text")
def much_text(stage):
    echo_text(stage, "0123456789abcdef" * (MIB // 16))


@case("echo 1 MiB of non-ASCII text")
def much_non_ascii_text(stage):
    echo_text(stage, "x" + "猫" * ((MIB - 1) // 3))


@case("echo binary")
def binary(stage):
    echo_binary(stage, bytes(range(256)))


@case("echo empty binary")
def empty_binary(stage):
    echo_binary(stage, b"")


@case("echo 1 MiB of binary")
def much_binary(stage):
    echo_binary(stage, bytes(range(256)) * (MIB // 256))


@case("echo 2000 messages in order")
def many(stage):
    client = stage.open("--queue-messages", "2000")
    texts = [f"message {number}" for number in range(2000)]
    client.send(*texts)
    for text in texts:
        client.expect("message", epoch=1, kind="text", data=text)
    stage.finish(client)
    stage.saw("close", code=1000, messages=2000)


@case("a message in fragments")
def fragments(stage):
    client = stage.open()
    client.send("/fragments grüße 你好 👋 end")
    client.expect("message", epoch=1, kind="text", data="grüße你好👋end")
    stage.finish(client)


@case("protocol Ping of the server is answered")
def server_ping(stage):
    client = stage.open()
    client.send("/probe life")
    client.expect("message", epoch=1, kind="text", data="pong life")
    stage.finish(client)


# ---- closing --------------------------------------------------------------------------------


@case("our close is seen as 1000")
def our_close(stage):
    client = stage.open()
    stage.finish(client)
    stage.saw("close", code=1000, reason="", messages=0)


@case("Ctrl-C closes with 1000")
def interrupted(stage):
    client = stage.open()
    client.interrupt()
    client.expect("close", code=1000, reason="", was_clean=True, retry=None)
    client.exits(0)
    stage.saw("close", code=1000, reason="", messages=0)


@case("input that ends before the open is sent")
def early_input(stage):
    client = stage.connect("--linger", "20s")
    client.send("one", "two")
    client.end_input()
    client.expect("open", epoch=1)
    client.expect("message", epoch=1, data="one")
    client.expect("message", epoch=1, data="two")
    client.interrupt()
    client.expect("close", code=1000, was_clean=True, retry=None)
    client.exits(0)
    stage.saw("close", code=1000, messages=2)


def closed_by_server(stage, command, code, reason=""):
    client = stage.open(*SOON)
    client.send(command)
    event = client.expect("close", epoch=1, code=code, reason=reason, was_clean=True)
    check(event["retry"] == {"attempt": 1, "max": None, "delay_ms": 20}, f"the retry in {event}")
    # The server has our answer: its own code, or none if it gave none.
    stage.saw("close", code=code)
    stage.recovers(client, epoch=2)
    stage.finish(client)


@case("server closes with 4001 and a reason")
def close_4001(stage):
    closed_by_server(stage, "/close 4001 session expired, 再见", 4001, "session expired, 再见")


@case("server closes with 1000")
def close_1000(stage):
    closed_by_server(stage, "/close 1000", 1000)


@case("server closes with 1011 and a reason")
def close_1011(stage):
    closed_by_server(stage, "/close 1011 out of order", 1011, "out of order")


@case("server closes without a code")
def close_1005(stage):
    closed_by_server(stage, "/close", 1005)


@case("a final close code ends it")
def close_final(stage):
    client = stage.open("--preset", "use-ws")
    client.send("/close 1000 done")
    client.expect("close", epoch=1, code=1000, reason="done", was_clean=True, retry=None)
    client.exits(4)


# ---- heartbeat ------------------------------------------------------------------------------

BEATS = 6


@case("heartbeat keeps the connection, out of sight")
def heartbeat(stage):
    client = stage.open("--heartbeat-interval", "50ms", "--heartbeat-timeout", "10s", "--strict-pong")
    # The next beat is due 50 ms after a pong that was understood, and only then.
    stage.saw("heartbeat", number=BEATS)
    client.send("and?")
    client.expect("message", epoch=1, data="and?")
    stage.finish(client)


@case("heartbeat by protocol Ping")
def heartbeat_ping(stage):
    client = stage.open(
        "--heartbeat-ping", "--heartbeat-interval", "50ms", "--heartbeat-timeout", "10s", "--strict-pong"
    )
    stage.saw("ping", number=BEATS)
    client.send("and?")
    client.expect("message", epoch=1, data="and?")
    stage.finish(client)


@case("a server that ignores heartbeats is left, and found again")
def heartbeat_ignored(stage):
    beat = ("--heartbeat-interval", "50ms", "--heartbeat-timeout", "1s")
    client = stage.open(*SOON, *beat, path="/mute?")
    client.expect("error", epoch=1, err_code=HEARTBEAT_TIMEOUT, http_status=None)
    client.expect("close", epoch=1, code=1006, reason="heartbeat timeout", was_clean=False)
    # Aborted, not closed politely.
    stage.saw("close", path="/mute?", code=1006)
    stage.recovers(client, epoch=2)
    stage.finish(client)


@case("a frozen server is left, and found again when it thaws")
def frozen(stage):
    stage.own_server()
    client = stage.open(*SOON, "--heartbeat-interval", "50ms", "--heartbeat-timeout", "1s")
    stage.server.process.send_signal(signal.SIGSTOP)
    client.expect("error", epoch=1, err_code=HEARTBEAT_TIMEOUT)
    client.expect("close", epoch=1, code=1006, reason="heartbeat timeout", was_clean=False)
    stage.server.process.send_signal(signal.SIGCONT)
    stage.recovers(client, epoch=2)
    stage.finish(client)


# ---- losing the server ----------------------------------------------------------------------


@case("a drop without a close frame")
def drop(stage):
    client = stage.open(*SOON)
    client.send("/drop")
    client.expect("error", epoch=1, err_code=CONNECTION_LOST, http_status=None)
    client.expect("close", epoch=1, code=1006, reason="", was_clean=False)
    stage.recovers(client, epoch=2)
    stage.finish(client, code=5)


@case("kill -9 and restart of the server")
def restart(stage):
    stage.own_server()
    port = stage.server.port
    client = stage.open(*SOON)
    client.send("before")
    client.outcome("sent")
    client.expect("message", epoch=1, data="before")
    stage.server.kill()
    client.expect("error", epoch=1, err_code=CONNECTION_LOST)
    client.expect("close", epoch=1, code=1006, was_clean=False)
    client.expect("error", epoch=2, err_code=REFUSED, http_status=None)
    client.send("in between")
    client.outcome("queued")
    stage.own_server(port)
    event = client.until("open")
    check(event["epoch"] > 2, f"the epoch of {event}")
    check(event["attempt"] == event["epoch"] - 1, f"the attempt of {event}")
    client.expect("message", epoch=event["epoch"], data="in between")
    client.send("after")
    client.expect("message", epoch=event["epoch"], data="after")
    stage.finish(client, code=5)
    stage.saw("close", code=1000, messages=2)


@case("the limit of attempts")
def limit(stage):
    stage.own_server()
    client = stage.open("--delay", "20ms", "--max-attempts", "2")
    stage.server.kill()
    client.expect("error", epoch=1, err_code=CONNECTION_LOST)
    event = client.expect("close", epoch=1, code=1006)
    check(event["retry"] == {"attempt": 1, "max": 2, "delay_ms": 20}, f"the retry in {event}")
    client.expect("error", epoch=2, err_code=REFUSED)
    client.expect("close", epoch=2, code=1006)
    client.until("error", err_code=RECONNECT_LIMIT)
    client.expect("close", epoch=3, code=1006, was_clean=False, retry=None)
    client.exits(3)


# ---- refused upgrades -----------------------------------------------------------------------


@case("upgrade refused with 401")
def unauthorized(stage):
    client = stage.connect("--no-reconnect", path="/refuse/401?times=1")
    event = client.expect("error", epoch=1, err_code=HTTP_STATUS, http_status=401)
    check(event["http_body"].startswith("refused 1"), f"the body in {event}")
    client.expect("close", epoch=1, code=1006, was_clean=False, retry=None)
    client.exits(4)


@case("upgrade refused with 503 and Retry-After")
def unavailable(stage):
    client = stage.connect(*SOON, path="/refuse/503?times=1&retry-after=1")
    event = client.expect("error", epoch=1, err_code=HTTP_STATUS, http_status=503)
    header = {name.lower(): value for name, value in event["http_headers"]}
    check(header.get("retry-after") == "1", f"no Retry-After in {event}")
    closed = client.expect("close", epoch=1, code=1006, was_clean=False)
    # What the server asks for, and at most 5 s of chance on top.
    check(1000 <= closed["retry"]["delay_ms"] <= 6000, f"the delay in {closed}")
    opened = client.expect("open", epoch=2, attempt=1)
    # Lines bear the time when they were written; on a busy machine that of the close is late.
    waited = opened["t_ms"] - closed["t_ms"]
    check(waited >= 500, f"opened again after {waited} ms")
    stage.finish(client)


@case("upgrade refused again and again")
def unavailable_for_good(stage):
    client = stage.connect("--delay", "20ms", "--max-attempts", "2", path="/refuse/503?times=9")
    for epoch in (1, 2):
        client.expect("error", epoch=epoch, err_code=HTTP_STATUS, http_status=503)
        client.expect("close", epoch=epoch, code=1006)
    client.until("error", epoch=3, err_code=RECONNECT_LIMIT)
    client.expect("close", epoch=3, code=1006, retry=None)
    client.exits(3)


@case("401 over TLS is final for the resilient preset", on=(TLS,))
def unauthorized_for_good(stage):
    client = stage.connect("--preset", "resilient", path="/refuse/401?times=9")
    client.expect("error", epoch=1, err_code=HTTP_STATUS, http_status=401)
    client.expect("close", epoch=1, code=1006, retry=None)
    client.exits(4)


# ---- TLS ------------------------------------------------------------------------------------


@case("the system's authorities are trusted", on=(TLS,))
def system_authority(stage):
    client = stage.connect(ca=None, system="ca.pem")
    client.expect("open", epoch=1)
    stage.finish(client)


def no_tls(stage, client, err_code):
    client.expect("error", epoch=1, err_code=err_code, http_status=None)
    client.expect("close", epoch=1, code=1006, was_clean=False, retry=None)
    client.exits(4)


@case("a server of an unknown authority is not trusted", on=(TLS,))
def unknown_authority(stage):
    no_tls(stage, stage.connect("--no-reconnect", ca=None), TLS_UNTRUSTED)


@case("another authority does not vouch for the server", on=(TLS,))
def other_authority(stage):
    no_tls(stage, stage.connect("--no-reconnect", ca="other.pem"), TLS_UNTRUSTED)


@case("a certificate for another host is not accepted", on=(TLS,))
def other_host(stage):
    no_tls(stage, stage.connect("--no-reconnect", host="127.0.0.1"), TLS_HOST_MISMATCH)


# ---- running --------------------------------------------------------------------------------


def play(program, target, name, script):
    """One line, and a transcript if it failed; whether it passed."""
    stage = Stage(program, target)
    try:
        script(stage)
        print(f"ok interop {target.name}: {name}", flush=True)
        return True
    except Failed as failed:
        print(f"FAILED interop {target.name}: {name}\n  {failed}")
    except Exception:  # a mistake in a case is a failure of that case
        print(f"FAILED interop {target.name}: {name}\n{traceback.format_exc()}")
    finally:
        stage.clear()
    for line in stage.transcript():
        print(f"  | {line}")
    sys.stdout.flush()
    return False


def main(program, certificates, *words):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = []
    for target_name in (PYTHON, NODE, TLS):
        chosen = [
            (name, script)
            for name, on, script in CASES
            if target_name in on and (not words or any(word in name for word in words))
        ]
        if not chosen:
            continue
        target = Target(target_name, certificates)
        try:
            results += [play(program, target, name, script) for name, script in chosen]
        finally:
            target.server.kill()
    passed = sum(results)
    print(f"{passed} passed, {len(results) - passed} failed")
    return 0 if results and passed == len(results) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
