# SPDX-License-Identifier: Apache-2.0
"""The embedded DNS in namespaces that are made for it, against upstream servers that misbehave. Needs root; no engine."""
import contextlib
import json
import os
import random
import resource
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from threadns import Namespace
from upstream import MANY, Upstream

BUILD = Path(os.environ.get("CAISSON_BUILD", Path(__file__).resolve().parents[2] / "build"))
EXE = BUILD / "tests/unit/run-resolver"
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not EXE.exists(), reason="needs root and a build")
SERVER = ("127.0.0.11", 53)
PORT = 5353  # of upstream servers, on loopback addresses that nobody else uses
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5


class Resolver:
    def __init__(self, tmp, env=None, files=None, **options):
        self.conf, self.uplink = tmp / "resolv.conf", tmp / "uplink.conf"
        if not self.conf.exists():
            self.conf.write_text("nameserver 127.9.9.1\n")
        options = {"resolv_conf": self.conf, "uplink": self.uplink, "port": PORT, "try_ms": 200, "total_ms": 1000, **options}
        self.proc = subprocess.Popen([EXE, *(f"{k.replace('_', '-')}={v}" for k, v in options.items())], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True, bufsize=1, env={**os.environ, **(env or {})},
                                     preexec_fn=files and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))))
        assert self.proc.stdout.readline() == "ok\n"

    def raw(self, *words):
        self.proc.stdin.write(" ".join(map(str, words)) + "\n")
        return self.proc.stdout.readline().strip()

    def __call__(self, *words):
        r = self.raw(*words)
        assert r.startswith("ok"), r
        return json.loads(r[3:]) if len(r) > 3 else None

    def stats(self, key=""):
        return self("stats", *([key] if key else []))

    def fds(self):
        return len(os.listdir(f"/proc/{self.proc.pid}/fd"))

    def close(self):
        self.proc.stdin.close()
        assert self.proc.wait(20) == 0
        self.proc.stdout.close()


@pytest.fixture
def make(tmp_path):
    made = []

    def f(**kw):
        made.append(Resolver(tmp_path, **kw))
        return made[-1]
    yield f
    for r in made:
        if r.proc.poll() is None:
            r.close()


@pytest.fixture
def ns():
    n = Namespace()
    yield n
    n.close()


@pytest.fixture
def upstreams():
    made = []

    def f(ip="127.9.9.1", *args, **kw):
        made.append(Upstream(ip, PORT, *args, **kw))
        return made[-1]
    yield f
    for u in made:
        u.close()


@pytest.fixture
def r(make, ns):
    """A resolver with one network, two endpoints and one namespace."""
    r = make()
    r("network", "n1", "front")
    r("endpoint", "n1", "e1", "web", "0123456789ab,app", "10.0.0.2,fd00::2")
    r("endpoint", "n1", "e2", "web2", "app", "10.0.0.3")
    r("ns", "k", ns.path, "net=n1")
    return r


def query(name, kind="A", **kw):
    return dns.message.make_query(name, kind, **kw)


def udp(ns, name, kind="A", **kw):
    q = query(name, kind, **kw)
    with ns.socket() as s:
        s.connect(SERVER)
        s.send(q.to_wire())
        a = dns.message.from_wire(s.recv(65535))
    assert a.id == q.id and a.flags & dns.flags.QR and a.question == q.question
    return a


def send_tcp(s, q):
    wire = q if isinstance(q, bytes) else q.to_wire()
    s.sendall(len(wire).to_bytes(2, "big") + wire)


def read_tcp(f):
    head = f.read(2)
    return dns.message.from_wire(f.read(int.from_bytes(head, "big"))) if head else None


def tcp(ns, name, kind="A", **kw):
    q = query(name, kind, **kw)
    with ns.socket(socket.SOCK_STREAM) as s:
        s.connect(SERVER)
        send_tcp(s, q)
        with s.makefile("rb") as f:
            a = read_tcp(f)
    assert a.id == q.id and a.question == q.question
    return a


def data(a):
    return sorted(str(rr) for rrset in a.answer for rr in rrset)


def eventually(f, seconds=8):
    end = time.monotonic() + seconds
    while not (v := f()):
        assert time.monotonic() < end, "never came true"
        time.sleep(0.02)
    return v


# What is ours

@pytest.mark.parametrize("ask", [udp, tcp])
def test_names(r, ns, ask):
    assert data(ask(ns, "web")) == ["10.0.0.2"]
    assert data(ask(ns, "WEB.Front", "AAAA")) == ["fd00::2"]
    assert data(ask(ns, "0123456789ab")) == ["10.0.0.2"]
    assert data(ask(ns, "app")) == ["10.0.0.2", "10.0.0.3"]
    a = ask(ns, "web2", "AAAA")
    assert data(a) == [] and a.rcode() == NOERROR
    assert data(ask(ns, "2.0.0.10.in-addr.arpa", "PTR")) == ["web.front."]
    assert dns.flags.to_text(a.flags) == "QR RD RA"
    assert a.edns == -1 and ask(ns, "web", use_edns=0).edns == 0


def test_real_clients(r, ns, tmp_path):
    conf = tmp_path / "inside.conf"
    conf.write_text("nameserver 127.0.0.11\noptions ndots:0\n")
    r("ns-update", "k", "net=n1", "internal")

    def inside(*argv):
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        return ns.run(lambda: subprocess.run(["unshare", "-m", "sh", "-c", script, conf, *argv], capture_output=True, text=True, timeout=30))
    out = inside("/usr/bin/python3", "-c", "import socket; print(sorted(socket.gethostbyname_ex('app')[2]))")  # glibc
    assert out.stdout == "['10.0.0.2', '10.0.0.3']\n", out
    assert inside("getent", "hosts", "10.0.0.3").stdout.split() == ["10.0.0.3", "web2.front"]
    out = inside("busybox", "nslookup", "web").stdout
    assert "Server:\t\t127.0.0.11" in out and "10.0.0.2" in out and "fd00::2" in out
    out = inside("busybox", "nslookup", "nobody.example.com")     # internal: there is no such name, and nothing to wait for
    assert out.returncode != 0 and out.stdout.count("NXDOMAIN") >= 1 and "SERVFAIL" not in out.stdout
    assert {udp(ns, "nobody.example.com", kind).rcode() for kind in ("A", "AAAA", "PTR", "MX")} == {NXDOMAIN} == {tcp(ns, "nobody").rcode()}


def test_scope(r, ns):
    other = Namespace()
    try:
        r("network", "n2", "back")
        r("endpoint", "n2", "e3", "db", "-", "10.1.0.2")
        r("endpoint", "n2", "e4", "web", "-", "10.1.0.9")
        r("ns", "o", other.path, "net=n2", "link=n1:web2:www", "internal")
        assert data(udp(other, "db")) == ["10.1.0.2"]
        assert data(udp(other, "web")) == ["10.1.0.9"]
        assert data(udp(other, "www")) == ["10.0.0.3"]
        for name in ("web2", "app", "web.front"):
            assert udp(other, name).rcode() == NXDOMAIN
        r("ns-update", "k", "net=n1", "internal")
        assert udp(ns, "db").rcode() == udp(ns, "www").rcode() == NXDOMAIN
        r("ns-update", "k", "net=n1", "net=n2", "internal")  # connected
        assert data(udp(ns, "db")) == ["10.1.0.2"] and data(udp(ns, "web")) == ["10.0.0.2"]
        r("ns-update", "k", "net=n2", "internal")  # disconnected from the first
        assert data(udp(ns, "web")) == ["10.1.0.9"] and udp(ns, "web2").rcode() == NXDOMAIN
        r("endpoint-remove", "n2", "e4")
        assert udp(ns, "web").rcode() == NXDOMAIN
        r("network-remove", "n2")
        assert udp(ns, "db").rcode() == NXDOMAIN
    finally:
        other.close()


def test_warm(make, ns):
    """A namespace of the pool: there before anybody knows whose it will be. libldns comes with the first query only."""
    r = make()
    maps = Path(f"/proc/{r.proc.pid}/maps")
    r("ns", "k", ns.path, "none")
    r("network", "n1", "front")
    r("endpoint", "n1", "e1", "web", "-", "10.0.0.2")
    assert "libldns" not in maps.read_text() and "libcrypto" not in maps.read_text()
    assert udp(ns, "web").rcode() == udp(ns, "example.com").rcode() == REFUSED
    assert "libldns" in maps.read_text()
    r("ns-update", "k", "net=n1")
    assert data(udp(ns, "web")) == ["10.0.0.2"]
    assert r.raw("ns", "k", ns.path, "net=n1").startswith("error CONFLICT")
    assert data(udp(ns, "web")) == ["10.0.0.2"], "the refused one took the port"
    assert r.raw("ns-update", "nosuch", "net=n1").startswith("error NOT_FOUND")
    r("ns-update", "k", "none")
    assert udp(ns, "web").rcode() == REFUSED


def test_namespace_with_loopback_down(make):
    n = Namespace(up=False)
    try:
        r = make()
        r("network", "n1", "front")
        r("endpoint", "n1", "e1", "web", "-", "10.0.0.2")
        r("ns", "k", n.path, "net=n1")
        assert data(udp(n, "web")) == data(tcp(n, "web")) == ["10.0.0.2"]
    finally:
        n.close()


def test_container_has_port_53(r, ns):
    """Whoever runs a name server in a container binds 0.0.0.0:53, and has it on every other address."""
    nc = ns.run(lambda: subprocess.Popen(["busybox", "nc", "-l", "-p", "53"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE))
    try:
        eventually(lambda: ":0035 " in ns.run(lambda: Path("/proc/thread-self/net/tcp").read_text() + Path("/proc/thread-self/net/tcp6").read_text()))
        assert nc.poll() is None
        assert data(tcp(ns, "web")) == ["10.0.0.2"]
    finally:
        nc.kill()
        nc.communicate()
    u = ns.socket()
    u.bind(("0.0.0.0", 53))
    t = ns.socket(socket.SOCK_STREAM)
    t.bind(("0.0.0.0", 53))
    t.listen(1)
    with u, t, ns.socket() as c, ns.socket(socket.SOCK_STREAM) as ct:
        assert data(udp(ns, "web")) == data(tcp(ns, "web")) == ["10.0.0.2"]
        c.sendto(b"for the container", ("127.0.0.1", 53))
        message, peer = u.recvfrom(100)
        assert message == b"for the container"
        u.sendto(b"from it", peer)
        assert c.recvfrom(100) == (b"from it", ("127.0.0.1", 53))
        ct.connect(("127.0.0.1", 53))
        t.accept()[0].close()


def test_container_with_a_firewall_of_its_own(r, ns):
    rules = """table inet own {
        chain in { type filter hook input priority 0; policy drop; ct state established,related accept; ct state new ip daddr 127.0.0.11 accept; }
        chain out { type filter hook output priority 0; policy drop; ct state new,established accept; }
    }\n"""
    ns.run(lambda: subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True))
    assert data(udp(ns, "web")) == data(tcp(ns, "web")) == ["10.0.0.2"]


@pytest.mark.unsanitized  # whose runtime must be the first to be preloaded
def test_without_nftables(make, ns, tmp_path):
    source = tmp_path / "no.c"
    source.write_text("#include <errno.h>\n#include <stddef.h>\nvoid *mnl_socket_open2(int bus, int flags)\n{\n\terrno = EPROTONOSUPPORT;\n\treturn NULL;\n}\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "no.so", source], check=True)
    r = make(env={"LD_PRELOAD": f"{os.environ.get('LD_PRELOAD', '')} {tmp_path / 'no.so'}".strip()})
    r("network", "n1", "front")
    r("endpoint", "n1", "e1", "web", "-", "10.0.0.2")
    r("ns", "k", ns.path, "net=n1")
    assert data(udp(ns, "web")) == data(tcp(ns, "web")) == ["10.0.0.2"]
    assert "caisson_dns" not in ns.run(lambda: subprocess.run(["nft", "list", "tables"], capture_output=True, text=True)).stdout


# Upstream

def test_forward(r, ns, upstreams):
    u = upstreams()
    a = udp(ns, "www.example.com")
    assert data(a) == ["192.0.2.1"] and a.flags & dns.flags.RA
    assert data(udp(ns, "single")) == ["192.0.2.1"]
    assert udp(ns, "nx.example.com").rcode() == NXDOMAIN
    a = udp(ns, "www.example.com", "AAAA")
    assert a.rcode() == NOERROR and data(a) == []
    a = udp(ns, "LowER.eXample.com")  # upstream's spelling is another
    assert data(a) == ["192.0.2.1"] and a.question[0].name.to_text() == "LowER.eXample.com."
    option = dns.edns.GenericOption(65001, b"kept")
    udp(ns, "edns.example.com", use_edns=0, options=[option])
    assert data(tcp(ns, "overtcp.example.com")) == ["192.0.2.1"]
    assert ("overtcp.example.com", "tcp") in u.seen and not any(n.startswith("web") for n in u.names())
    s = r.stats("k")
    assert s["forwarded"] == s["answered"] == 7 and s["pending"] == 0 and s["strays"] == 0


def test_ports_and_ids(r, ns, upstreams):
    u = upstreams()
    for i in range(200):
        udp(ns, f"x{i}.example.com", id=7)
    assert len(u.ports) > 150 and len(set(u.ids)) > 190
    steps = {(b - a) % 65536 for a, b in zip(u.ids, u.ids[1:])}
    assert len(steps) > 150


@pytest.mark.parametrize("kind", ["garbage", "wrongid", "wrongname"])
def test_strays(r, ns, upstreams, kind):
    upstreams()
    assert data(udp(ns, f"{kind}.example.com")) == ["192.0.2.1"]
    assert r.stats()["strays"] >= 1
    assert tcp(ns, f"{kind}.example.com").rcode() == SERVFAIL  # a stream in which that stands is no good any more
    assert data(udp(ns, "web")) == ["10.0.0.2"]


def test_answer_from_elsewhere(r, ns, upstreams):
    """An answer with the right id to the right port, from another address: the kernel does not deliver it."""
    u = upstreams()
    forged = []

    def forge(wire, peer):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.9.9.66", PORT))
            q = dns.message.from_wire(wire)
            a = dns.message.make_response(q)
            a.answer.append(dns.rrset.from_text(q.question[0].name, 60, "IN", "A", "203.0.113.66"))
            s.sendto(a.to_wire(), peer)
            forged.append(peer)
    answers, udp_socket = u.answers, u.udp

    class Spy:
        def __getattr__(self, k):
            return getattr(udp_socket, k)

        def fileno(self):
            return udp_socket.fileno()

        def recvfrom(self, n):
            wire, peer = udp_socket.recvfrom(n)
            forge(wire, peer)
            return wire, peer
    u.udp = Spy()
    u.answers = lambda wire, proto: (time.sleep(0.05), answers(wire, proto))[1]
    udp(ns, "first.example.com")  # select still waits on the socket itself
    assert data(udp(ns, "www.example.com")) == ["192.0.2.1"]
    assert forged


def test_truncation(r, ns, upstreams):
    upstreams()
    a = udp(ns, "many.example.com")
    assert a.flags & dns.flags.TC and len(data(a)) == 0
    assert len(data(tcp(ns, "many.example.com"))) == MANY
    a = udp(ns, "shout.example.com")  # 1,600 bytes for a client that takes 512
    assert a.flags & dns.flags.TC and data(a) == []
    assert len(data(udp(ns, "shout.example.com", use_edns=0, payload=4096))) == MANY


def test_several_servers(r, ns, upstreams):
    r.conf.write_text("nameserver 127.9.9.3\nnameserver 127.9.9.1\nnameserver 127.9.9.2\n")  # nobody listens on .3
    time.sleep(1.1)  # resolv.conf is looked at once in a second
    one, two = upstreams("127.9.9.1", "192.0.2.1"), upstreams("127.9.9.2", "192.0.2.2")
    assert data(udp(ns, "www.example.com")) == ["192.0.2.1"]
    assert two.seen == []
    two.answers = lambda wire, proto: [Upstream.answers(two, wire.replace(b"servfail", b"okokokok").replace(b"silent", b"quietx").replace(b"refused", b"allowed"), proto)[0]
                                       .replace(b"okokokok", b"servfail").replace(b"quietx", b"silent").replace(b"allowed", b"refused")]
    for kind in ("servfail", "refused", "silent"):
        assert data(udp(ns, f"{kind}.example.com")) == ["192.0.2.2"], kind
        assert one.names().count(f"{kind}.example.com") == 1 or kind == "silent"
    assert udp(ns, "nx.example.com").rcode() == NXDOMAIN  # an answer: the next one is not asked
    assert "nx.example.com" not in two.names()
    assert data(tcp(ns, "refused.example.com")) == ["192.0.2.2"]


def test_failures_without_a_question(r, ns, upstreams):
    """Servers that do not understand a query answer with a header alone: a failure like any other, not a stray that is waited past."""
    r.conf.write_text("nameserver 127.9.9.1\nnameserver 127.9.9.2\n")
    time.sleep(1.1)
    one, two = upstreams("127.9.9.1", "192.0.2.1"), upstreams("127.9.9.2", "192.0.2.2")
    began = time.monotonic()
    for ask in (udp, tcp):
        a = ask(ns, "bareform.example.com", use_edns=0)
        assert a.rcode() == dns.rcode.FORMERR and a.edns < 0 and a.question[0].name.to_text() == "bareform.example.com."
        assert data(ask(ns, "bareform.example.com")) == ["192.0.2.1"]
        assert ask(ns, "bareserv.example.com").rcode() == SERVFAIL
    assert "bareform.example.com" not in two.names() and two.names().count("bareserv.example.com") == 2
    assert time.monotonic() - began < 0.5 and r.stats()["strays"] == 0


def test_nobody_answers(r, ns, upstreams):
    u = upstreams()
    began = time.monotonic()
    with ns.socket() as s:
        s.connect(SERVER)
        s.send(query("silent.example.com").to_wire())
        for _ in range(100):  # names of ours go on meanwhile
            assert data(udp(ns, "web")) == ["10.0.0.2"]
        a = dns.message.from_wire(s.recv(65535))
    assert a.rcode() == SERVFAIL and 0.9 < time.monotonic() - began < 5
    assert u.names().count("silent.example.com") >= 3  # asked again meanwhile
    assert udp(ns, "onlywrong.example.com").rcode() == SERVFAIL
    assert tcp(ns, "silent.example.com").rcode() == SERVFAIL
    s = r.stats()
    assert s["timeouts"] == 3 and s["pending"] == 0
    u.close()
    began = time.monotonic()
    assert udp(ns, "gone.example.com").rcode() == SERVFAIL
    assert tcp(ns, "gone.example.com").rcode() == SERVFAIL
    assert time.monotonic() - began < 0.9, "a refused connection was waited for"
    u.close = lambda: None


def test_limits_of_queries(make, ns, upstreams):
    upstreams()
    r = make(max_pending=50, max_pending_each=30, total_ms=2000)
    other = Namespace()
    try:
        for key, n in (("k", ns), ("o", other)):
            r("network", "n1", "front")
            r("endpoint", "n1", "e1", "web", "-", "10.0.0.2")
            r("ns", key, n.path, "net=n1")
        fds = r.fds()

        def burst(sock):
            sock.connect(SERVER)
            for i in range(60):
                sock.send(query(f"silent-{i}.example.com").to_wire())
            return [dns.message.from_wire(sock.recv(65535)).rcode() for _ in range(60)]
        with ns.socket() as s, other.socket() as o:
            got = {}
            threads = [threading.Thread(target=lambda k=k, x=x: got.update({k: burst(x)})) for k, x in (("k", s), ("o", o))]
            [t.start() for t in threads]
            assert data(udp(ns, "web")) == ["10.0.0.2"]
            [t.join() for t in threads]
        assert max(got["k"].count(SERVFAIL), got["o"].count(SERVFAIL)) <= 30
        assert got["k"].count(SERVFAIL) + got["o"].count(SERVFAIL) == 50
        assert got["k"].count(REFUSED) + got["o"].count(REFUSED) == 70
        assert data(udp(ns, "www.example.com")) == ["192.0.2.1"]
        with ns.socket() as s:
            assert burst(s).count(SERVFAIL) == 30
        eventually(lambda: r.fds() <= fds + 1)
    finally:
        other.close()


def test_limit_of_descriptors(make, ns, upstreams):
    """Containers must not be able to take all descriptors of the engine by asking much."""
    upstreams()
    r = make(files=256)
    r("network", "n1", "front")
    r("endpoint", "n1", "e1", "web", "-", "10.0.0.2")
    r("ns", "k", ns.path, "net=n1")
    fds, held = r.fds(), []
    with ns.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        s.connect(SERVER)
        for i in range(300):
            s.send(query(f"silent-{i}.example.com").to_wire())
        for _ in range(60):
            held.append(ns.socket(socket.SOCK_STREAM))
            held[-1].connect(SERVER)
        eventually(lambda: r.stats()["tcp"] == 60 and r.stats()["queries"] == 300)
        assert r.fds() <= fds + 64
        assert data(udp(ns, "web")) == data(tcp(ns, "web")) == ["10.0.0.2"]
        assert [dns.message.from_wire(s.recv(65535)).rcode() for _ in range(300)] == [SERVFAIL] * 300
    for t in held:
        t.close()
    assert data(udp(ns, "www.example.com")) == ["192.0.2.1"]


def test_host_configuration_changes(r, ns, upstreams):
    upstreams("127.9.9.1", "192.0.2.1")
    upstreams("127.9.9.2", "192.0.2.2")
    assert data(udp(ns, "www.example.com")) == ["192.0.2.1"]
    new = r.conf.with_suffix(".new")
    new.write_text("# replaced\nnameserver 127.9.9.2\n")
    new.rename(r.conf)
    eventually(lambda: data(udp(ns, "www.example.com")) == ["192.0.2.2"])
    r.conf.unlink()
    eventually(lambda: udp(ns, "www.example.com").rcode() == SERVFAIL)
    r.conf.write_text("nameserver 127.9.9.1\n")
    eventually(lambda: data(udp(ns, "www.example.com")) == ["192.0.2.1"])


def test_systemd_resolved(r, ns, upstreams):
    """The stub is asked (it knows which domain belongs to which link); the servers behind it only when it is not there."""
    r.conf.write_text("nameserver 127.0.0.53\noptions edns0 trust-ad\n")
    r.uplink.write_text("nameserver 127.9.9.2\n")
    time.sleep(1.1)
    upstreams("127.9.9.2", "192.0.2.2")
    assert data(udp(ns, "www.example.com")) == ["192.0.2.2"]
    stub = upstreams("127.0.0.53", "192.0.2.53")
    assert data(udp(ns, "www.example.com")) == ["192.0.2.53"]
    assert stub.names() == ["www.example.com"]


def test_servers_with_ipv6(r, ns, upstreams):
    r.conf.write_text("nameserver ::1\n")
    time.sleep(1.1)
    upstreams("::1", "192.0.2.6")
    assert data(udp(ns, "www.example.com")) == data(tcp(ns, "www.example.com")) == ["192.0.2.6"]
    r("ns-update", "k", "net=n1", "server=::1")
    assert udp(ns, "www.example.com").rcode() == SERVFAIL
    upstreams("::1", "192.0.2.66", make=ns.run)
    assert data(udp(ns, "www.example.com")) == ["192.0.2.66"]


def test_own_servers_are_asked_from_within(r, ns, upstreams):
    outside = upstreams("127.9.9.1", "192.0.2.1")
    r("ns-update", "k", "net=n1", "server=127.9.9.1")
    assert udp(ns, "www.example.com").rcode() == SERVFAIL and outside.seen == []
    upstreams("127.9.9.1", "192.0.2.7", make=ns.run)
    assert data(udp(ns, "www.example.com")) == data(tcp(ns, "www.example.com")) == ["192.0.2.7"]
    r("ns-update", "k", "net=n1", "server=127.9.9.1", "internal")  # within, everything is the network's business
    assert data(udp(ns, "www.example.com")) == ["192.0.2.7"]
    r("ns-update", "k", "net=n1", "server=127.0.0.11")  # ourselves
    assert udp(ns, "www.example.com").rcode() == SERVFAIL
    assert r.stats()["queries"] == 5
    assert outside.seen == []


def test_internal(r, ns, upstreams):
    """CVE-2024-29018: a container without a way out must not talk to the world by names."""
    u = upstreams()
    r("ns-update", "k", "net=n1", "internal")
    for ask in (udp, tcp):
        assert ask(ns, "secret.attacker.example").rcode() == NXDOMAIN
        assert ask(ns, "secret").rcode() == NXDOMAIN and ask(ns, "secret").edns == -1
        a = ask(ns, "secret", want_dnssec=True)     # RFC 6891: who asks with EDNS gets some back, also with bad news
        assert a.rcode() == NXDOMAIN and a.edns == 0 and a.payload == 4096 and a.ednsflags & dns.flags.DO
        assert ask(ns, "1.1.168.192.in-addr.arpa", "PTR").rcode() == NXDOMAIN
        assert data(ask(ns, "web")) == ["10.0.0.2"]
    assert u.seen == [] and r.stats()["forwarded"] == 0


def test_ndots(r, ns, upstreams):
    u = upstreams()
    r("ns-update", "k", "net=n1", "ndots")
    a = udp(ns, "single")
    assert a.rcode() == NOERROR and data(a) == [] and u.seen == []
    assert data(udp(ns, "www.example.com")) == ["192.0.2.1"]


# Clients that behave badly

def test_garbage(r, ns):
    rng = random.Random(1)
    good = query("web", use_edns=0).to_wire()

    def flood():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(SERVER)
            s.setblocking(False)
            for _ in range(20000):
                b = bytearray(rng.randbytes(rng.randrange(1, 80)) if rng.random() < 0.5 else good)
                for _ in range(rng.randrange(0, 6)):
                    b[rng.randrange(len(b))] = rng.randrange(256)
                if len(b) > 2:
                    b[2] |= 0x80 if rng.random() < 0.1 else 0
                try:
                    s.send(b)
                    s.recv(65535)
                except OSError:
                    pass
            s.setblocking(True)
            s.settimeout(5)
            s.send(b"\0" * 65000)  # too long for a query
    r("ns-update", "k", "net=n1", "internal")
    ns.run(flood)
    assert data(tcp(ns, "web")) == ["10.0.0.2"]
    for _ in range(10):     # as every resolver asks again: what comes while its socket is full is lost
        with contextlib.suppress(TimeoutError):
            assert data(udp(ns, "web")) == ["10.0.0.2"]
            break
    else:
        raise AssertionError("no answer over UDP")
    s = r.stats()
    assert s["malformed"] > 1000 and s["queries"] > 2000


def test_answers_are_not_answered(r, ns):
    answer = dns.message.make_response(query("web")).to_wire()
    with ns.socket() as s:
        s.connect(SERVER)
        s.send(answer)
        s.send(query("web", id=9).to_wire())
        assert dns.message.from_wire(s.recv(65535)).id == 9  # the first that comes
        s.setblocking(False)
        with pytest.raises(BlockingIOError):
            s.recv(1)


def test_tcp_pipelined(r, ns, upstreams):
    upstreams()
    with ns.socket(socket.SOCK_STREAM) as s:
        s.connect(SERVER)
        names = [f"x{i}.example.com" if i % 3 == 0 else "web" for i in range(150)]
        queries = {q.id: q for q in (query(n, id=i) for i, n in enumerate(names))}
        stream = b"".join(len(w).to_bytes(2, "big") + w for w in (q.to_wire() for q in queries.values()))
        s.sendall(stream)
        s.shutdown(socket.SHUT_WR)  # it says no more, and hears everything
        with s.makefile("rb") as f:
            got = {}
            while a := read_tcp(f):
                got[a.id] = a
        assert got.keys() == queries.keys()
        for i, a in got.items():
            assert a.question == queries[i].question and data(a) == (["192.0.2.1"] if i % 3 == 0 else ["10.0.0.2"])


def test_tcp_byte_by_byte(r, ns):
    wire = query("web").to_wire()
    with ns.socket(socket.SOCK_STREAM) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.connect(SERVER)
        for b in len(wire).to_bytes(2, "big") + wire:
            s.send(bytes([b]))
        with s.makefile("rb") as f:
            assert data(read_tcp(f)) == ["10.0.0.2"]


@pytest.mark.parametrize("junk", [b"\0\0", b"\xff\xff" + b"x" * 70, b"GET / HTTP/1.0\r\n\r\n"])
def test_tcp_garbage_is_hung_up_on(r, ns, junk):
    with ns.socket(socket.SOCK_STREAM) as s:
        s.connect(SERVER)
        s.sendall(junk)
        try:
            assert s.recv(1) == b""
        except ConnectionResetError:
            pass


def test_tcp_slow_clients(make, ns):
    r = make(tcp_idle_ms=700, max_connections_each=8)
    r("network", "n1", "front")
    r("endpoint", "n1", "e1", "web", "-", "10.0.0.2")
    r("ns", "k", ns.path, "net=n1")
    fds = r.fds()
    socks = [ns.socket(socket.SOCK_STREAM) for _ in range(40)]
    for s in socks:
        s.connect(SERVER)
        s.send(b"\0")  # and no more
    eventually(lambda: r.stats()["tcp"] == 40)
    assert r.fds() <= fds + 8
    assert data(tcp(ns, "web")) == ["10.0.0.2"]
    for s in socks:
        try:
            assert s.recv(1) == b""  # at the latest by its idle time
        except ConnectionResetError:
            pass
        s.close()
    eventually(lambda: r.fds() <= fds + 1)


def test_tcp_client_that_does_not_read(r, ns):
    for i in range(300):
        r("endpoint", "n1", f"m{i}", f"m{i}", "many", f"10.2.{i // 250}.{i % 250 + 1}")
    wire = query("many").to_wire()
    one = len(wire).to_bytes(2, "big") + wire
    with ns.socket(socket.SOCK_STREAM, timeout=1) as s:
        s.connect(SERVER)
        try:
            for _ in range(40):
                s.sendall(one * 500)  # 4,800 bytes of answer each: 96 MB
        except OSError:
            pass
        assert data(udp(ns, "web")) == ["10.0.0.2"]
        rss = next(int(x.split()[1]) for x in Path(f"/proc/{r.proc.pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
        assert rss < (20_000 if BUILD.name == "build" else 200_000)  # sanitizers have memory of their own
        s.settimeout(8)
        with s.makefile("rb") as f:  # it reads after all, and everything is in order
            assert len(data(read_tcp(f))) == 300


# Load

def test_fifty_thousand(r, ns):
    """None is lost: as many as a window of 500 lets, then one by one, each from a port of its own."""
    wire = query("web", id=0).to_wire()

    def window():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            s.connect(SERVER)
            s.settimeout(10)
            for base in range(0, 40000, 500):
                for i in range(base, base + 500):
                    s.send((i & 0xffff).to_bytes(2, "big") + wire[2:])
                ids = {int.from_bytes(s.recv(512)[:2], "big") for _ in range(500)}
                assert ids == {i & 0xffff for i in range(base, base + 500)}

    def ports():
        for i in range(10000):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(10)
                s.sendto(i.to_bytes(2, "big") + wire[2:], SERVER)
                a, peer = s.recvfrom(512)
                assert a[:2] == i.to_bytes(2, "big") and peer == SERVER
    ns.run(window)
    ns.run(ports)
    conntrack = Path("/proc/sys/net/netfilter/nf_conntrack_count")
    assert not conntrack.exists() or ns.run(conntrack.read_text).strip() == "0"
    s = r.stats("k")
    assert s["queries"] == s["local"] == 50000 and s["unsent"] == 0


def test_many_that_come_at_once(r, ns):
    wire = query("web", id=0).to_wire()
    os.kill(r.proc.pid, signal.SIGSTOP)
    try:
        with ns.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            s.connect(SERVER)
            n = 200
            for i in range(n):
                s.send(i.to_bytes(2, "big") + wire[2:])
            os.kill(r.proc.pid, signal.SIGCONT)
            assert {int.from_bytes(s.recv(512)[:2], "big") for _ in range(n)} == set(range(n))
    finally:
        os.kill(r.proc.pid, signal.SIGCONT)


def test_changes_while_queries_go_on(r, ns):
    stop, wrong, asked = threading.Event(), [], [0]

    def ask():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(10)
            s.connect(SERVER)
            while not stop.is_set():
                for name, good in (("web", {"10.0.0.2"}), ("moving", {"10.5.0.1", "10.5.0.2"})):
                    s.send(query(name).to_wire())
                    a = set(data(dns.message.from_wire(s.recv(65535))))
                    asked[0] += 1
                    if not a or not a <= good:
                        wrong.append((name, a))
    r("endpoint", "n1", "mv", "moving", "-", "10.5.0.1")
    t = threading.Thread(target=lambda: ns.run(ask))
    t.start()
    try:
        for i in range(1500):
            r("endpoint", "n1", f"x{i % 200}", f"x{i % 200}", f"alias{i % 7}", f"10.3.0.{i % 200 + 1}")
            r("endpoint", "n1", "mv", "moving", "-", f"10.5.0.{i % 2 + 1}")
            r("ns-update", "k", "net=n1", *(["ndots"] if i % 2 else []))
            if i % 3 == 0:
                r("endpoint-remove", "n1", f"x{i % 200}")
            assert data(udp(ns, f"alias{i % 7}")) if i % 100 == 1 else True
    finally:
        stop.set()
        t.join()
    assert wrong == [] and asked[0] > 100


# Coming and going

def test_namespaces_come_and_go(r, ns, upstreams):
    upstreams()
    fds = r.fds()
    for i in range(60):
        n = Namespace()
        r("ns", f"g{i}", n.path, "net=n1")
        assert data(udp(n, "web")) == ["10.0.0.2"]
        with n.socket() as s, n.socket(socket.SOCK_STREAM) as t:  # under way at the removal
            s.sendto(query("silent.example.com").to_wire(), SERVER)
            t.connect(SERVER)
            send_tcp(t, query("silent.example.com"))
            eventually(lambda: r.stats(f"g{i}")["pending"] == 2)
            r("ns-remove", f"g{i}")
            assert r.raw("stats", f"g{i}").startswith("error NOT_FOUND")
            try:
                assert t.recv(1) == b""
            except ConnectionResetError:
                pass
        n.close()
    eventually(lambda: r.fds() <= fds + 1)
    assert r.stats()["pending"] == 0
    assert data(udp(ns, "web")) == ["10.0.0.2"]


def test_after_a_kill(r, make, ns):
    r.proc.kill()
    r.proc.wait()
    s = ns.socket(timeout=0.2)
    s.connect(SERVER)
    s.send(query("web").to_wire())
    with pytest.raises(TimeoutError):  # no ECONNREFUSED, after which libcs would give up: they will ask again
        s.recv(1)
    again = make()
    again("network", "n1", "front")
    again("endpoint", "n1", "e1", "web", "-", "10.0.0.4")
    again("ns", "k", ns.path, "net=n1")
    s.settimeout(8)
    s.send(query("web").to_wire())
    assert data(dns.message.from_wire(s.recv(512))) == ["10.0.0.4"]
    s.close()
    assert data(udp(ns, "web")) == data(tcp(ns, "web")) == ["10.0.0.4"]
    rules = ns.run(lambda: subprocess.run(["nft", "list", "table", "ip", "caisson_dns"], capture_output=True, text=True)).stdout
    assert rules.count("dport 53") == 2, "the dead one's rules are still there"
