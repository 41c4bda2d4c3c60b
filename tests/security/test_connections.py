# SPDX-License-Identifier: Apache-2.0
"""Clients that hold on to connections: silent ones, half requests, answers that never end. Others must not notice."""
import os
import resource
import socket
import time

import pytest

import caisson_fixture as fx
from caisson_fixture import wait_for

pytestmark = [pytest.mark.caisson, pytest.mark.timeout(240)]
MANY = int(os.environ.get("CAISSON_CONNECTIONS", "10000"))
HALVES = [b"GET /_ping HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"G", b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
          b"POST /containers/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"]
PING = b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def room():
    """Descriptors for ourselves; gives how many connections we may hold."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = MANY + 500
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (want, max(hard, want)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(want, hard), hard))
    yield min(MANY, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def answered(s):
    """Reads the answer to a PING; header and body may come apart. False when the connection has ended instead."""
    text = b""
    while not text.endswith(b"\r\n\r\nOK"):
        more = s.recv(65536)
        if not more:
            return False
        text += more
    return text.startswith(b"HTTP/1.1 200")


class Held:
    """Connections to the engine that we keep. One that is closed or reset by the engine is fine: it stays in the list."""

    def __init__(self, engine):
        self.engine, self.socks = engine, []

    def open(self, data=b"", answer=False):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(60)
        self.socks.append(s)
        try:
            wait_for(lambda: self._connected(s), 60, "a place in the socket's queue")
            if data:
                s.sendall(data)
            assert not answer or answered(s)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return s

    def _connected(self, s):
        try:
            s.connect(self.engine.sock)
        except BlockingIOError:     # we are faster than the engine takes them
            return False
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for s in self.socks:
            s.close()
        self.socks = []


def now(engine):
    """(threads, descriptors, KiB resident)"""
    proc = f"/proc/{engine.proc.pid}"
    with open(proc + "/status", encoding="utf-8") as f:
        rss = int(next(l for l in f if l.startswith("VmRSS")).split()[1])
    return len(os.listdir(proc + "/task")), len(os.listdir(proc + "/fd")), rss


def answers(engine):
    a = engine.http.get("/containers/json", timeout=60, rec=False)
    assert a.status == 200, a


def settled(engine, before):
    """All threads and descriptors of connections are gone, and so is their memory."""
    wait_for(lambda: now(engine)[0] <= before[0] + 8 and now(engine)[1] <= before[1] + 8, 60, "connections' threads and descriptors gone")
    wait_for(lambda: now(engine)[2] <= before[2] + (16 << 10), 60, "connections' memory gone")
    answers(engine)


@pytest.mark.unsanitized
@pytest.mark.parametrize("kind", ["silent", "half requests", "idle after a request"])
def test_ten_thousand_connections(fresh, room, kind):
    """More than are ever served at once. Whoever asks something meanwhile gets his answer; memory, threads and descriptors have a bound."""
    engine = fresh(prepare=False)
    before = now(engine)
    most = (0, 0, 0)
    with Held(engine) as held:
        for n in range(room if kind == "silent" else min(room, 1500)):
            held.open({"silent": b"", "half requests": HALVES[n % len(HALVES)]}.get(kind, PING), kind == "idle after a request")
            if n % 500 == 499:
                answers(engine)
                most = tuple(map(max, most, now(engine)))
        answers(engine)
        assert most[0] - before[0] < 2000 and most[1] - before[1] < 2000, most
        assert most[2] - before[2] < 256 << 10, most
    settled(engine, before)
    print(f"{kind}: {n + 1} connections; threads, descriptors, KiB: before {before}, most {most}, after {now(engine)}")


def test_the_longest_silence_ends_first(fresh):
    """A connection that was used a moment ago is not the one that has to go, and one that is at work never is."""
    engine = fresh(prepare=False)
    with Held(engine) as held:
        old = held.open(PING, answer=True)
        stream = held.open(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stream.recv(12) == b"HTTP/1.1 200"
        kept = held.open(PING, answer=True)
        for _ in range(10):
            for _ in range(100):
                held.open()
            held.open(PING, answer=True)        # they are taken in their order: now all have been
            kept.sendall(PING)
            assert answered(kept)
        old.settimeout(30)      # less than the time that a silent connection has anyhow
        assert old.recv(65536) == b""
        assert engine.http.post("/volumes/create", body={"Name": "told-of"}).status == 201
        text = b""
        while b"told-of" not in text:       # the events' connection has been silent for longer than any
            more = stream.recv(65536)
            assert more, text
            text += more
        assert engine.http.delete("/volumes/told-of").status == 204


class Poor(fx.Engine):
    """An engine with few descriptors, which it cannot raise."""

    def _command(self):
        return ["prlimit", "--nofile=1024:1024", "setpriv", "--bounding-set", "-sys_resource", *super()._command()]


def test_no_descriptors_to_spare(room):
    """Requests without an end that are too many get a 503, and all is well when they have gone. The limits follow the descriptors that there are."""
    engine = Poor()
    try:
        engine.start().prepare()
        with open(f"/proc/{engine.proc.pid}/limits", encoding="utf-8") as f:
            assert any(l.split()[:5] == ["Max", "open", "files", "1024", "1024"] for l in f)
        before = now(engine)
        with Held(engine) as held:
            for _ in range(2000):
                held.open()
            answers(engine)
            for n in range(1000):
                head = held.open(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").recv(12)
                if head == b"HTTP/1.1 503":
                    break
                assert head == b"HTTP/1.1 200", head
            a = engine.http.get("/containers/json", rec=False)
            assert n > 100 and a.status == 503 and "too many requests at once" in a.message, (n, a)
            held.socks[2001].close()
            wait_for(lambda: engine.http.get("/containers/json", rec=False).status == 200, 60, "room again")
        settled(engine, before)
        from box import Boxes
        assert Boxes(engine).run("echo well").out == "well\n"
    finally:
        engine.close()
