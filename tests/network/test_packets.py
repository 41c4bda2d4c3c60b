# SPDX-License-Identifier: Apache-2.0
"""How large the packets are that TCP makes for containers, and that what they carry arrives, wherever they go."""
import hashlib
import json
import random
import subprocess

import pytest

from conftest import Service

USUAL, LARGE = 65536, 262144
SIZE = 8 << 20

# The largest IPv4 packet of TCP that each device takes: IFLA_GSO_IPV4_MAX_SIZE, which Debian 12's ip(8) does not show.
SIZES = r"""
import json, socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
s.send(struct.pack("IHHII", 32, 18, 0x301, 1, 0) + bytes(16))
found, more = {}, True
while more:
    data = s.recv(1 << 18)
    while data:
        size, kind = struct.unpack_from("IH", data)
        rest, attrs = data[32:size], {}
        more = kind == 16
        while more and len(rest) >= 4:
            n, a = struct.unpack_from("HH", rest)
            attrs[a], rest = rest[4:n], rest[(n + 3) & ~3:]
        if more:
            found[attrs[3][:-1].decode()] = struct.unpack("I", attrs[63])[0] if 63 in attrs else None
        data = data[(size + 3) & ~3:]
print(json.dumps(found))
"""
# Takes one connection after the other to its end; says of each what came (a digest), and the largest packet seen on the way since the last one.
SINK = r"""
import hashlib, socket, sys, threading
ears = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
ears.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
largest = [0]
def listen():
    room = bytearray(64)
    while True:
        largest[0] = max(largest[0], ears.recv_into(room, 64, socket.MSG_TRUNC))
threading.Thread(target=listen, daemon=True).start()
s = socket.create_server(("", int(sys.argv[1])))
print("ready", flush=True)
while True:
    c, _ = s.accept()
    h = hashlib.sha256()
    while data := c.recv(1 << 20):
        h.update(data)
    c.close()
    print(h.hexdigest(), largest[0], flush=True)
    largest[0] = 0
"""
SOURCE = r"""
import random, socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=30) as s:
    s.sendall(random.Random(7).randbytes(int(sys.argv[3])))
"""


class Sink:
    def __init__(self, place, port=5000):
        self.port = port
        self.p = subprocess.Popen(place.command("/usr/bin/python3", "-c", SINK, str(port)), stdout=subprocess.PIPE, text=True)
        place.servers = [*place.servers, self.p]
        assert self.p.stdout.readline() == "ready\n"

    def gets(self, source, address, port=None):
        """Sends SIZE bytes there; the largest packet. What comes is what was sent."""
        source.run("/usr/bin/python3", "-c", SOURCE, address, str(port or self.port), str(SIZE), timeout=60)
        digest, largest = self.p.stdout.readline().split()
        assert digest == self.digest
        return int(largest)


@pytest.fixture(scope="module", autouse=True)
def digest():
    Sink.digest = hashlib.sha256(random.Random(7).randbytes(SIZE)).hexdigest()


def sizes(place):
    found = json.loads(place.run("/usr/bin/python3", "-c", SIZES))
    if found["lo"] is None:
        pytest.skip("Linux 6.3 is the first with such packets of IPv4")
    return found


def test_as_large_as_the_way_out_allows(host, outside):
    """Containers' own interfaces take what the host's devices take; without a way out the most. The host's side always does."""
    assert sizes(host)["lo"] == USUAL
    s = Service(host, Firewall=True)
    s("settle")
    try:
        free = s.container(s.network(["10.9.0.0/24"], Name="free0"))
        assert sizes(free)["eth0"] == LARGE and sizes(host)["free0"] == LARGE
        host.wire(outside, "192.0.2.1/24", "192.0.2.2/24")
        assert sizes(host)["wire0"] == USUAL
        bound = s.container(s.network(["10.9.1.0/24"], Name="bound0"))
        assert sizes(bound)["eth0"] == USUAL and sizes(host)["bound0"] == LARGE
        inner = s.container(s.network(["10.9.2.0/24"], type="Internal", Name="inner0"))
        assert sizes(inner)["eth0"] == LARGE and sizes(host)["inner0"] == LARGE
        outer = [v for k, v in sizes(host).items() if k.startswith("csp")]
        assert outer and set(outer) == {LARGE}
    finally:
        s.close()


def test_what_large_packets_carry_arrives(host, outside):
    """Between host and container, between containers, by a published port, and through a device that takes only small ones; with br_netfilter and without."""
    s = Service(host, Firewall=True)
    s("settle")
    try:
        net = s.network(["10.9.0.0/24"])
        port = {"Type": "PortMapping", "Settings": {"Protocol": 6, "InternalPort": 5000, "ExternalPort": 5001}}
        a, b = s.container(net, policies=[port]), s.container(net)
        if sizes(a)["eth0"] != LARGE:
            pytest.fail("nothing large to be seen")
        host.wire(outside, "192.0.2.1/24", "192.0.2.2/24")
        outside.run("ip", "route", "add", "default", "via", "192.0.2.1")
        in_a, at_home, abroad = Sink(a), Sink(host), Sink(outside)
        for filtered in (0, 1):
            host.run("sh", "-c", f"for f in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do [ ! -e $f ] || echo {filtered} >$f; done")
            ways = [(in_a, host, a.address()), (in_a, b, a.address()), (at_home, a, "10.9.0.1"), (in_a, host, "127.0.0.1", 5001), (in_a, outside, "192.0.2.1", 5001),
                    (abroad, a, "192.0.2.2")]
            largest = [sink.gets(*way) for sink, *way in ways]
            assert max(largest[:3]) > USUAL, largest
            assert largest[5] <= USUAL, "a device was given what it does not take"
    finally:
        s.close()


def test_a_bridge_of_the_users_is_left_as_it_is(host):
    host.run("ip", "link", "add", "own0", "type", "bridge")
    s = Service(host)
    try:
        c = s.container(s.network(["10.9.3.0/24"], Name="own0"))
        assert sizes(c)["eth0"] == USUAL and sizes(host)["own0"] == USUAL
    finally:
        s.close()
