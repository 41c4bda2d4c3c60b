# SPDX-License-Identifier: Apache-2.0
"""The way from a container to the host's stack past the bridge (src/network/shortcut.c): it is there where it may be, takes what it shall and nothing else."""
import socket
import struct
from contextlib import contextmanager

import pytest

from conftest import Service, wait_for

GUARDED = {"Type": "LinuxInterface", "Settings": {"AntiSpoof": True}}
BLOCK = {"Type": "ACL", "Settings": {"Action": "Block", "Direction": "Out", "Protocols": "6", "RemotePorts": "81"}}
SUBNETS = ["10.1.0.0/24", "fd31::/64"]
HOST4, HOST6 = "10.1.0.1", "fd31::1"
RAW = """
import socket, struct, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, struct.pack("I", 0xca150001))   # what only the program gives
s.bind(("eth0", 0))
for line in sys.stdin:
    s.send(bytes.fromhex(line))
"""
HEAR = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind((sys.argv[1], 0))
print("ready", flush=True)
while True:
    got, addr = s.recvfrom(2000)
    if addr[2] != socket.PACKET_OUTGOING:
        print(got.hex(), flush=True)
"""
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")


def bridge(host):
    return next(name for name in host.links() if name.startswith("br-"))


def has(host, c):
    port = c.document()["HostInterface"]
    return "caisson_host" in host.run("tc", "filter", "show", "dev", port, "ingress")


def wait_on(host, *containers):
    for c in containers:
        wait_for(lambda c=c: has(host, c))


def wait_off(host, *containers):
    for c in containers:
        wait_for(lambda c=c: not has(host, c))


def through_bridge(host):
    """Frames that the bridge gave to the host's stack."""
    return host.ip("-s", "link", "show", bridge(host))[0]["stats64"]["rx"]["packets"]


@pytest.fixture(params=[False, True], ids=["", "br_netfilter"])
def filtered(host, request):
    knobs = [f"/proc/sys/net/bridge/bridge-nf-call-{t}" for t in ("iptables", "ip6tables")]
    if request.param and host.run("test", "-e", knobs[0], check=False).returncode:
        pytest.skip("no br_netfilter here")
    if request.param:
        host.run("sh", "-c", f"echo 1 >{knobs[0]}; echo 1 >{knobs[1]}")


def test_streams_take_it(walled, host, outside, filtered):
    outside.wire(host, "192.0.2.1/24", "192.0.2.2/24")
    outside.serve(80, "outside")
    host.serve(80, "host", v6=True)
    net = walled.network(SUBNETS)
    c, other, without = walled.container(net, policies=[GUARDED]), walled.container(net), walled.container(net, policies=[BLOCK])
    c.serve(80, "c", v6=True)
    wait_on(host, c, other)

    def count(who):
        before = through_bridge(host)
        for address, word in ((HOST4, "host"), (HOST6, "host"), ("192.0.2.1", "outside")):
            assert who.fetch(address, 80)[0] == word
        return through_bridge(host) - before
    for who in (c, other, without):
        count(who)  # and the neighbours know each other
    assert count(c) < 6 and count(other) < 6, "nothing but ARP and neighbour discovery"
    assert count(without) > 10
    assert host.fetch(c.address(), 80) and host.fetch(c.address(n=1), 80) and other.fetch(c.address(), 80) and c.pings(HOST4)
    assert c.run("busybox", "ping", "-c1", "-W2", "-s", "4000", HOST4), "in fragments"


def test_published_ports_and_hairpin(walled, host, filtered):
    """What the host's address leads back to the same bridge, and to the same container."""
    ports = [{"Type": "PortMapping", "Settings": {"Protocol": 6, "InternalPort": 80, "ExternalPort": 8080}}]
    net = walled.network(SUBNETS)
    web, client = walled.container(net, policies=[GUARDED, *ports]), walled.container(net, policies=[GUARDED])
    web.serve(80, "web", v6=True)
    for late in (False, True):
        if late:
            wait_on(host, web, client)
        for c in (web, client):
            assert c.fetch(HOST4, 8080)[0] == "web" and c.fetch(HOST6, 8080)[0] == "web"


def test_a_connection_lives_on_when_it_comes(walled, host, filtered):
    ports = [{"Type": "PortMapping", "Settings": {"Protocol": 6, "InternalPort": 7, "ExternalPort": 8080}}]
    net = walled.network(["10.1.0.0/24"])
    web, client = walled.container(net, policies=[GUARDED, *ports]), walled.container(net, policies=[GUARDED])
    echo = web.popen("busybox", "nc", "-ll", "-p", "7", "-e", "cat")
    talk = client.popen(*PYTHON, TALK, HOST4, "8080")
    assert talk.stdout.readline() == "ready\n"
    wait_on(host, web, client)
    out, _ = talk.communicate("go\n", timeout=30)
    assert out == "the same\n"
    echo.kill()
    echo.wait()


TALK = """
import socket, sys, time
for _ in range(100):
    try:
        s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
        break
    except OSError:
        time.sleep(0.05)
f = s.makefile("rw")
f.write("one\\n"); f.flush()
assert f.readline() == "one\\n"
print("ready", flush=True)
sys.stdin.readline()
f.write("two\\n"); f.flush()
print("the same" if f.readline() == "two\\n" else "lost", flush=True)
"""


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def ip4(src, dst, port=5000):
    head = struct.pack("!BBHHHBBH", 0x45, 0, 28, 1, 0, 64, 17, 0) + socket.inet_aton(src) + socket.inet_aton(dst)
    total = sum(struct.unpack("!10H", head))
    while total > 0xffff:
        total = (total & 0xffff) + (total >> 16)
    return head[:10] + struct.pack("!H", total ^ 0xffff) + head[12:] + struct.pack("!HHHH", port, port + 1, 8, 0)


def ip6(src, dst=HOST6, payload=struct.pack("!HHHH", 5000, 5001, 8, 1), nxt=17):
    return struct.pack("!IHBB", 6 << 28, len(payload), nxt, 255) + socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst) + payload


def frames(own, host, a4, a6):
    """{name: (frame, whether it may reach the host's stack)}"""
    def f(payload, kind=0x800, to=host, by=own):
        return to + by + struct.pack("!H", kind) + payload

    def nd(kind, rest):
        return bytes([kind, 0, 0, 0, 0x60, 0, 0, 0]) + rest
    raw6 = socket.inet_pton(socket.AF_INET6, HOST6)
    return {
        "own IPv4": (f(ip4(a4, HOST4)), True),
        "own IPv6": (f(ip6(a6), 0x86dd), True),
        "hop by hop": (f(ip6(a6, payload=b"\x11\0\x05\x02\0\0\x01\0" + struct.pack("!HHHH", 5000, 5001, 8, 1), nxt=0), 0x86dd), True),
        "another MAC": (f(ip4(a4, HOST4), by=mac("02:00:00:00:00:99")), False),
        "another IPv4": (f(ip4("10.1.0.99", HOST4)), False),
        "the host's IPv4": (f(ip4(HOST4, HOST4)), False),
        "no IPv4": (f(ip4("0.0.0.0", HOST4)), False),
        "loopback's IPv4": (f(ip4("127.0.0.1", HOST4)), False),
        "to loopback": (f(ip4(a4, "127.0.0.1")), False),
        "to loopback's far end": (f(ip4(a4, "127.255.255.254")), False),
        "another IPv6": (f(ip6("fd31::99"), 0x86dd), False),
        "no IPv6": (f(ip6("::"), 0x86dd), False),
        "IPv4 as IPv6": (f(ip4(a4, HOST4), 0x86dd), False),
        "tagged": (f(struct.pack("!HH", 5, 0x800) + ip4("10.1.0.99", HOST4), 0x8100), False),
        "router advertisement": (f(ip6(a6, payload=nd(134, bytes(8)), nxt=58), 0x86dd), False),
        "redirect": (f(ip6(a6, payload=nd(137, bytes(32)), nxt=58), 0x86dd), False),
        "advertisement for the host": (f(ip6(a6, payload=nd(136, raw6), nxt=58), 0x86dd), False),
        "cut IPv4": (f(ip4("10.1.0.99", HOST4)[:14]), False),
        "no type": (f(ip4(a4, HOST4), 0), False),
    }


@contextmanager
def ear(host, dev):
    p = host.popen(*PYTHON, HEAR, dev)
    try:
        assert p.stdout.readline() == "ready\n"
        yield p.stdout
    finally:
        p.kill()
        p.wait()


@pytest.mark.parametrize("late", [False, True], ids=["before", "with it"])
@pytest.mark.parametrize("to", ["host", "container"])
def test_nothing_else_takes_it(walled, host, filtered, late, to):
    """What the host's stack and other containers get from a guarded container is the same with and without it."""
    net = walled.network(SUBNETS)
    c, other = walled.container(net, policies=[GUARDED]), walled.container(net, policies=[GUARDED])
    where, dev = (host, bridge(host)) if to == "host" else (other, "eth0")
    own, target = (mac(x.ip("link", "show", "dev", d)[0]["address"]) for x, d in ((c, "eth0"), (where, dev)))
    assert c.fetch(HOST4, 9) is None  # the neighbours know each other
    if late:
        wait_on(host, c)
    with ear(where, dev) as heard:
        for name, (frame, good) in frames(own, target, c.address(), c.address(n=1)).items():
            if late:
                assert has(host, c)
            end = target + own + b"\x08\0" + ip4(c.address(), HOST4, port=6000)
            c.pipe(f"{frame.hex()}\n{end.hex()}\n", *PYTHON, RAW)
            found = False
            while True:
                got = bytes.fromhex(heard.readline())
                if got[:len(end)] == end:
                    break
                found |= got[:len(frame)] == frame or (name == "tagged" and got[12:40] == frame[16:44])
            assert found == good, name


def test_an_acl_ends_it_at_once(walled, host):
    net = walled.network(SUBNETS)
    c = walled.container(net, policies=[GUARDED])
    born = walled.container(net, policies=[GUARDED, BLOCK])
    host.serve(80, "host", v6=True)
    host.serve(81, "host", v6=True)
    wait_on(host, c)
    assert c.fetch(HOST4, 81) and c.fetch(HOST6, 81)
    walled("modify", "ep", c.ep, {"ResourceType": "Policy", "RequestType": "Add", "Settings": BLOCK})
    assert not has(host, c)
    walled.container(net, policies=[GUARDED])
    wait_on(host, walled.container(net, policies=[GUARDED]))  # so long that the others would have it by now
    for x in (c, born):
        assert not has(host, x)
        assert x.fetch(HOST4, 81, timeout=0.3) is None and x.fetch(HOST6, 81, timeout=0.3) is None and x.fetch(HOST4, 80)
    walled("modify", "ep", c.ep, {"ResourceType": "Policy", "RequestType": "Remove", "Settings": BLOCK})
    wait_on(host, c)
    assert c.fetch(HOST4, 81)


def test_bridge_rules_of_the_host_are_heeded(walled, host):
    net = walled.network(SUBNETS)
    c = walled.container(net, policies=[GUARDED])
    host.serve(80, "host")
    wait_on(host, c)
    host.run("nft", "add table bridge theirs")
    host.run("nft", "add chain bridge theirs plain; add chain inet theirs none", check=False)
    assert has(host, c) and c.fetch(HOST4, 80)
    host.run("nft", "add chain bridge theirs in { type filter hook prerouting priority 0; }; add rule bridge theirs in tcp dport 80 drop")
    wait_off(host, c)
    assert c.fetch(HOST4, 80, timeout=0.3) is None
    late = walled.container(net, policies=[GUARDED])
    host.run("nft", "add chain bridge theirs out { type filter hook output priority 0; }; delete chain bridge theirs in")
    assert c.fetch(HOST4, 80) and late.fetch(HOST4, 80) and not has(host, c)
    host.run("nft", "delete table bridge theirs")
    wait_on(host, c, late)
    assert c.fetch(HOST4, 80)
    host.run("nft", "flush ruleset")  # ours come back; where they are away it lets no more through than with them
    wait_for(lambda: "caisson" in host.run("nft", "list", "tables"))
    wait_on(host, c, late)


def test_rules_that_were_there_before(host):
    host.run("nft", "add table bridge theirs; add chain bridge theirs in { type filter hook input priority 0; }")
    s = Service(host, Firewall=True)
    try:
        s("settle")
        c = s.container(s.network(SUBNETS), policies=[GUARDED])
        host.run("nft", "add chain bridge theirs more { type filter hook output priority 0; }")
        host.run("sleep", "1.5")
        assert not has(host, c)
        host.run("nft", "delete table bridge theirs")
        wait_on(host, c)
    finally:
        s.close()


def test_another_instance_is_no_stranger(walled, host):
    other = Service(host, Firewall=True, Instance="caisson-0badcafe")
    try:
        other("settle")
        c, d = walled.container(walled.network(["10.1.0.0/24"]), policies=[GUARDED]), other.container(other.network(["10.2.0.0/24"], name="other"), policies=[GUARDED])
        wait_on(host, c, d)
        host.serve(80, "host")
        assert c.fetch("10.1.0.1", 80) and d.fetch("10.2.0.1", 80) and c.fetch("10.2.0.1", 80)
    finally:
        other.close()


def test_a_bridge_made_again(walled, host):
    """It would lead to an interface that is no more."""
    net = walled.network(SUBNETS)
    c = walled.container(net, policies=[GUARDED])
    host.serve(80, "host")
    wait_on(host, c)
    host.run("ip", "link", "del", bridge(host))
    walled.container(net, policies=[GUARDED])
    wait_for(lambda: c.fetch(HOST4, 80, timeout=0.5))
    assert has(host, c)


def test_a_bridge_with_another_address(walled, host):
    c = walled.container(walled.network(SUBNETS), policies=[GUARDED])
    host.serve(80, "host")
    wait_on(host, c)
    host.run("ip", "link", "set", bridge(host), "address", "02:00:00:00:12:34")
    c.run("ip", "neigh", "flush", "dev", "eth0")
    assert c.fetch(HOST4, 80)
    host.run("ip", "link", "set", bridge(host), "mtu", "1280")  # smaller than what the container sends
    assert c.run("busybox", "ping", "-c1", "-W2", "-s", "1400", HOST4, check=False).returncode == 0


def test_after_a_restart(host):
    first = Service(host, Firewall=True)
    first("settle")
    net = first.network(SUBNETS)
    c = first.container(net, policies=[GUARDED])
    host.serve(80, "host")
    wait_on(host, c)
    name = c.document()["HostInterface"]
    first.kill()

    def life(firewall):
        s = Service(host, Firewall=firewall)
        s.network(SUBNETS, id=net)
        s.namespace(pid=c.pid, id=c.ns)
        s.endpoint(net, id=c.ep, ips=[c4, c6], policies=[GUARDED])
        s("add", c.ns, c.ep)
        c.service = s
        return s
    c4, c6 = c.addresses("eth0")[0].split("/")[0], next(a.split("/")[0] for a in c.addresses("eth0") if a.startswith("fd31"))
    assert "caisson_host" in host.run("tc", "filter", "show", "dev", name, "ingress") and c.fetch(HOST4, 80), "it works while nobody is there"
    second = life(True)
    host.run("sleep", "1.5")
    assert not has(host, c), "nothing before the rules are in force"
    second("settle")
    wait_on(host, c)
    assert c.fetch(HOST4, 80)
    second.kill()
    third = life(False)
    third("settle")
    assert not has(host, c) and c.fetch(HOST4, 80)
    third.close()
    second.close()
    first.close()


COUNT = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
s.bind(("", 7))
print("ready", flush=True)
n = 0
while s.recv(100) != b"end":
    n += 1
print(n, flush=True)
"""
SPRAY = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 7))
n, end = 0, time.monotonic() + 2
while time.monotonic() < end:
    s.send(b"x")
    n += 1
    time.sleep(0.00001)
s.send(b"end")
print(n)
"""


def test_nothing_is_lost_when_it_comes(walled, host):
    net = walled.network(["10.1.0.0/24"])
    warm, other = walled.container(net, policies=[GUARDED]), walled.container(net, walled.network(["10.2.0.0/24"], name="second"))
    for c, dev in ((warm, 0), (other, 1)):  # a pair of the pool's, and one that was made for a second network
        counter = c.popen(*PYTHON, COUNT)
        assert counter.stdout.readline() == "ready\n"
        sent = host.run(*PYTHON, SPRAY, c.address(dev))
        assert has(host, c)
        assert counter.communicate(timeout=30)[0] == sent


def test_where_it_is_not(walled, host):
    """A bridge of the user's has ports and rules that we do not know of; a private network has no host."""
    host.run("ip", "link", "add", "mine", "type", "bridge")
    host.run("ip", "addr", "add", "10.3.0.1/24", "dev", "mine")
    host.run("ip", "link", "set", "mine", "up")
    shared = walled.container(walled.network(["10.3.0.0/24"], name="shared", Name="mine"), policies=[GUARDED])
    private = walled.container(walled.network(["10.4.0.0/24"], name="private", type="Private"), policies=[GUARDED])
    inner = walled.container(walled.network(["10.5.0.0/24"], name="inner", type="Internal"), policies=[GUARDED])
    wait_on(host, inner)
    assert not has(host, shared) and not has(host, private)
    host.serve(80, "host")
    assert shared.fetch("10.3.0.1", 80) and inner.fetch("10.5.0.1", 80)
    assert inner.fetch("10.3.0.1", 80, timeout=0.3) is None, "of the host an internal network reaches its own address alone"


def test_filters_of_others_stay(walled, host):
    """Here: one that lets pass what goes to port 81, and with that ends the asking of filters."""
    c = walled.container(walled.network(SUBNETS), policies=[GUARDED])
    port = c.document()["HostInterface"]
    host.run("tc", "filter", "add", "dev", port, "ingress", "prio", "1", "protocol", "ip", "u32", "match", "ip", "dport", "81", "0xffff", "flowid", "1:1")
    host.serve(80, "host")
    host.serve(81, "host")
    wait_on(host, c)

    def count(to):
        before = through_bridge(host)
        for _ in range(3):
            assert c.fetch(HOST4, to)
        return through_bridge(host) - before
    count(80)
    assert count(80) < 6 and count(81) > 10
    walled("modify", "ep", c.ep, {"ResourceType": "Policy", "RequestType": "Add", "Settings": BLOCK})
    assert "u32" in host.run("tc", "filter", "show", "dev", port, "ingress") and not has(host, c)
