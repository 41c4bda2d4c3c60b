# SPDX-License-Identifier: Apache-2.0
"""The embedded DNS: odd answers of upstream servers, odd questions, a flood next door. As test_resolver.py; needs root, no engine."""
import contextlib
import random
import socket
import threading
import time

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from test_resolver import (NXDOMAIN, PORT, REFUSED, SERVER, data, make, ns, pytestmark, query, r, read_tcp,  # noqa: F401
                           tcp, udp, upstreams)
from threadns import Namespace
from upstream import MANY, reply


# What upstream servers answer

def upstream_bytes(u, name, f):
    """f(wire, proto) -> answers, for this one name."""
    answers = u.answers
    u.answers = lambda wire, proto: f(wire, proto) if name.encode() in wire.lower() else answers(wire, proto)


def chain(query, *names, end="192.0.2.7", section="answer"):
    a = dns.message.make_response(query, recursion_available=True)
    for owner, target in zip(names, names[1:]):
        a.answer.append(dns.rrset.from_text(owner, 60, "IN", "CNAME", target))
    if end:
        getattr(a, section).append(dns.rrset.from_text(names[-1], 60, "IN", "A", end))
    return a


def test_chains_of_aliases(r, ns, upstreams):
    """They reach the client as they are: to follow them is the upstream server's task, and the client's to refuse a loop."""
    u = upstreams()
    shapes = {"long": chain, "loop": lambda q, *n: chain(q, *n, n[0], end=None), "aside": lambda q, *n: chain(q, *n, section="additional")}
    sent = {}

    def answer(wire, proto):
        q = dns.message.from_wire(wire)
        first = q.question[0].name.to_text()
        kind = first.lower().split(".")[0]
        sent[kind, proto] = shapes[kind](q, first, *(f"c{i}.example.net." for i in range(60)))
        return [sent[kind, proto].to_wire()]
    upstream_bytes(u, "chain", answer)
    for kind in shapes:
        for ask in (udp, tcp):
            a = ask(ns, f"{kind}.chain.Example", use_edns=0, payload=4096)
            good = sent[kind, ask.__name__]
            assert a.answer == good.answer and a.additional == good.additional and len(a.answer) >= 60 and not a.flags & dns.flags.TC
        a = udp(ns, f"{kind}.chain.Example")
        assert a.flags & dns.flags.TC and not a.answer


def test_truncated_answers_have_an_opt(r, ns, upstreams):
    """A resolver that gets none back thinks that EDNS is not known here, and asks again without (RFC 6891 6.1.1)."""
    upstreams()
    a = udp(ns, "shout.example.com", use_edns=0, payload=1232, want_dnssec=True)
    assert a.flags & dns.flags.TC and a.answer == [] and a.edns == 0 and a.ednsflags & dns.flags.DO
    assert len(data(tcp(ns, "shout.example.com", use_edns=0, payload=1232))) == MANY
    assert udp(ns, "shout.example.com").edns == -1


def test_dnssec_bits_and_options_pass(r, ns, upstreams):
    u, asked = upstreams(), []

    def answer(wire, proto):
        asked.append(wire)
        a = reply(dns.message.from_wire(wire))
        a.use_edns(0, dns.flags.DO, 1232, options=[dns.edns.GenericOption(65001, b"back")])
        a.flags |= dns.flags.AD
        return [a.to_wire()]
    upstream_bytes(u, "signed", answer)
    for ask in (udp, tcp):
        q = query("signed.example.com", use_edns=0, payload=1400, want_dnssec=True, options=[dns.edns.GenericOption(65002, b"forth")])
        a = ask(ns, "signed.example.com", use_edns=0, payload=1400, want_dnssec=True, options=[dns.edns.GenericOption(65002, b"forth")])
        assert asked[-1][2:] == q.to_wire()[2:]
        assert a.ednsflags & dns.flags.DO and a.flags & dns.flags.AD and a.options[0].to_wire() == b"back"


@pytest.mark.parametrize("proto", ["udp", "tcp"])
def test_case_of_upstream_is_nobodys(r, ns, upstreams, proto):
    """0x20: an answer in any case is taken, and the client has its own back, in question and owner alike."""
    u = upstreams()
    rng = random.Random(7)

    def answer(wire, proto):
        w = reply(dns.message.from_wire(wire)).to_wire()
        return [w[:12] + bytes(c ^ 32 if chr(c).isalpha() and rng.random() < 0.5 else c for c in w[12:29]) + w[29:]]
    upstream_bytes(u, "mixed", answer)
    for name in ("mixed.example.co", "MiXed.eXampLE.co", "MIXED.EXAMPLE.CO"):
        a = globals()[proto](ns, name)
        assert a.question[0].name.to_text() == name + "." == a.answer[0].name.to_text() and data(a) == ["192.0.2.1"]


def test_an_upstream_that_hangs_up(make, ns, upstreams):
    """In the middle of an answer, in front of it, after half a length: the next server is asked at once."""
    r = make(try_ms=3000, total_ms=9000)
    r("network", "n1", "front")
    r("ns", "k", ns.path, "net=n1")
    r.conf.write_text("nameserver 127.9.9.1\nnameserver 127.9.9.2\n")
    time.sleep(1.1)
    upstreams("127.9.9.2", "192.0.2.2")
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.9.9.1", PORT))
        s.listen(8)
        cuts = [0, 1, 2, 3, 14, 40]

        def serve():
            for cut in cuts:
                conn, _ = s.accept()
                with conn:
                    wire = conn.recv(4096)
                    out = reply(dns.message.from_wire(wire[2:]), count=MANY).to_wire(max_size=65535)
                    conn.sendall((len(out).to_bytes(2, "big") + out)[:cut])
        t = threading.Thread(target=serve)
        t.start()
        for _ in cuts:
            began = time.monotonic()
            assert data(tcp(ns, "www.example.com")) == ["192.0.2.2"] and time.monotonic() - began < 2  # before try_ms
        t.join()
    s = r.stats()
    assert s["pending"] == 0 and s["timeouts"] == 0


def test_time_with_a_dead_server(make, ns, upstreams):
    """With the times that the engine uses: one that refuses costs nothing, one that is silent 1.5 s, for each question."""
    r = make(try_ms=1500, total_ms=4500)
    r("network", "n1", "front")
    r("ns", "k", ns.path, "net=n1")
    upstreams("127.9.9.2", "192.0.2.2")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.9.9.4", PORT))
        for first, low, high in (("127.9.9.1", 0, 1.2), ("127.9.9.4", 1.4, 4)):
            r.conf.write_text(f"nameserver {first}\nnameserver 127.9.9.2\n")
            time.sleep(1.1)
            for _ in range(2):
                began = time.monotonic()
                assert data(udp(ns, "www.example.com")) == ["192.0.2.2"]
                assert low <= time.monotonic() - began < high


# Questions that nobody should ask

def raw_question(name, kind=1, klass=1, flags=b"\x01\0", qd=1):
    return b"\x12\x34" + flags + qd.to_bytes(2, "big") + bytes(6) + name + kind.to_bytes(2, "big") + klass.to_bytes(2, "big")


def labels(*parts):
    return b"".join(bytes([len(p)]) + p for p in parts) + b"\0"


def ask_raw(ns, wire):
    """The same by UDP and TCP, or it fails."""
    with ns.socket() as s, ns.socket(socket.SOCK_STREAM) as t:
        s.connect(SERVER)
        s.send(wire)
        a = s.recv(65535)
        t.connect(SERVER)
        t.sendall(len(wire).to_bytes(2, "big") + wire)
        with t.makefile("rb") as f:
            b = f.read(int.from_bytes(f.read(2), "big"))
    assert a == b
    return a


def test_odd_questions(r, ns, upstreams):
    u = upstreams()
    web = labels(b"web")
    assert ask_raw(ns, raw_question(web, qd=0))[3] & 15 == dns.rcode.FORMERR
    two = raw_question(web, qd=2) + web + b"\0\1\0\1"
    none = b"\x12\x34\x01\0" + bytes(8)
    for wire in (two, none, raw_question(b"\xc0\x0c"), raw_question(b"\x40" + b"x" * 64 + b"\0"), raw_question(b"\x3fweb")):
        assert ask_raw(ns, wire)[3] & 15 == dns.rcode.FORMERR, wire
    for klass in (3, 4, 254, 255):   # CH, HS, NONE, ANY
        assert ask_raw(ns, raw_question(web, klass=klass))[3] & 15 == REFUSED
        assert ask_raw(ns, raw_question(labels(b"version", b"bind"), 16, klass))[3] & 15 == REFUSED
    assert data(udp(ns, "web", "ANY")) == ["10.0.0.2"]
    assert udp(ns, "www.example.com", "ANY").rcode() == tcp(ns, "www.example.com", "ANY").rcode() == REFUSED
    assert u.seen == []


def test_long_and_odd_names(r, ns, upstreams):
    u = upstreams()
    longest = labels(b"a" * 63, b"b" * 63, b"c" * 63, b"d" * 61)
    assert len(longest) == 255
    odd = [longest, labels(b"e" * 63), labels(b"nul\0in", b"side"), labels(b"dot.in", b"side"), labels(b"we", b"b\0"), labels(b"web\0"), labels(b"web.front"),
           labels(b"web\0", b"front"), labels(b"\xff\xc0\x0c", b"x"), labels(b" ", b"\\"), labels(*[b"z"] * 127), b"\0"]
    upstream = []

    def answer(wire, proto):
        upstream.append(wire[2:])
        return [wire[:2] + b"\x81\x83" + wire[4:]]
    u.answers = answer
    for name in odd:
        wire = raw_question(name)
        a = ask_raw(ns, wire)
        assert a[:2] == wire[:2] and a[3] & 15 == NXDOMAIN and a[12:] == wire[12:], name
        assert upstream[-2:] == [wire[2:]] * 2, name  # as it was: no name of ours is found by a part of it
    too_long = labels(b"a" * 63, b"b" * 63, b"c" * 63, b"d" * 62)
    assert ask_raw(ns, raw_question(too_long))[3] & 15 == dns.rcode.FORMERR
    assert ask_raw(ns, raw_question(labels(*[b"z"] * 128)))[3] & 15 == dns.rcode.FORMERR
    assert data(udp(ns, "web")) == ["10.0.0.2"]


def test_pipelined_in_odd_pieces(r, ns, upstreams):
    """Several messages in a stream that is cut within lengths."""
    upstreams()
    wires = [query(("web", "www.example.com", "web2")[i % 3], id=i).to_wire() for i in range(9)]
    stream = b"".join(len(w).to_bytes(2, "big") + w for w in wires)
    cut, at = [], 0
    for w in wires:
        cut += [at + 1, at + 2 + len(w) // 2]
        at += 2 + len(w)
    with ns.socket(socket.SOCK_STREAM) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.connect(SERVER)
        for a, b in zip([0, *cut], [*cut, len(stream)]):
            s.sendall(stream[a:b])
            time.sleep(0.01)
        with s.makefile("rb") as f:
            got = {a.id: data(a) for a in (read_tcp(f) for _ in wires)}
    assert got == {i: [("10.0.0.2", "192.0.2.1", "10.0.0.3")[i % 3]] for i in range(9)}


@pytest.mark.parametrize("name", ["web", "www.example.com"])
def test_a_flood_next_door(r, ns, upstreams, name):
    """10,000 queries a second, and more, from one container: its neighbour has its answers all the same."""
    upstreams()
    other, stop, sent = Namespace(), threading.Event(), [0]

    def flood():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(SERVER)
            s.setblocking(False)
            wire = query(name).to_wire()
            while not stop.is_set():
                end = time.monotonic() + 0.01
                for _ in range(150):
                    with contextlib.suppress(BlockingIOError):
                        s.send(wire)
                        sent[0] += 1
                time.sleep(max(0, end - time.monotonic()))
    t = threading.Thread(target=lambda: ns.run(flood))
    try:
        r("ns", "o", other.path, "net=n1")
        t.start()
        time.sleep(0.5)
        assert sent[0] > 2000
        times = []
        for i in range(200):
            began = time.monotonic()
            assert data(udp(other, "web")) == ["10.0.0.2"]
            times.append(time.monotonic() - began)
        assert sorted(times)[100] < 0.05 and max(times) < 1
    finally:
        stop.set()
        t.join()
        other.close()
