# SPDX-License-Identifier: Apache-2.0
"""The firewall with real packets: a host, two of its networks with containers, and a neighbour outside who may forge routes. Needs root."""
import os
import re
import signal
import shutil
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from netlab import Driver, Lab

BUILD = Path(os.environ.get("CAISSON_BUILD", Path(__file__).resolve().parents[2] / "build"))
EXE = BUILD / "tests/unit/run-firewall"
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not EXE.exists(), reason="needs root and a build")
TABLE = "caisson-0badcafe"
NAT, UNPROTECTED, ROUTED, ISOLATED = range(4)
A4, A6, B4, B6, C4, C6 = "172.30.0.2", "fd30::2", "172.30.0.3", "fd30::3", "172.31.0.2", "fd31::2"
HOST4, HOST6, OUT4, OUT6 = "192.0.2.1", "fd02::1", "192.0.2.2", "fd02::2"
MAC = {"a": "02:00:00:00:30:02", "b": "02:00:00:00:30:03", "c": "02:00:00:00:31:02"}


class World(Lab):
    """host: br0 with a and b, br1 with c, up to outside. Nothing is in the firewall yet but the bridges (unless bare)."""
    def __init__(self, **br0):
        super().__init__()
        self.drivers = []
        h = self.host = self.add("host")
        for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            h.sysctl(name, 1)
        self.bridge(h, "br0", "172.30.0.1/24", "fd30::1/64")
        self.bridge(h, "br1", "172.31.0.1/24", "fd31::1/64")
        self.a = self.container(h, "br0", "a", "cspa", A4 + "/24", A6 + "/64", "172.30.0.1", "fd30::1", MAC["a"])
        self.b = self.container(h, "br0", "b", "cspb", B4 + "/24", B6 + "/64", "172.30.0.1", "fd30::1", MAC["b"])
        self.c = self.container(h, "br1", "c", "cspc", C4 + "/24", C6 + "/64", "172.31.0.1", "fd31::1", MAC["c"])
        o = self.outside = self.add("outside")
        self.cable(h, "up0", o, "eth0")
        for addr in (HOST4 + "/24", HOST6 + "/64"):
            h.ip(f"addr add {addr} dev up0")
        for addr in (OUT4 + "/24", OUT6 + "/64"):
            o.ip(f"addr add {addr} dev eth0")
        h.ip("link set up0 up")
        o.ip("link set eth0 up")
        for c in (self.a, self.b, self.c, o):
            c.serve(80)
        self.fw = self.driver()
        self.fw("open", table=TABLE)
        self.fw("network_add", bridge="br0", **br0)
        self.fw("network_add", bridge="br1")
        self.fw("settle")

    def driver(self, **kw):
        self.drivers.append(Driver(EXE, self.host, **kw))
        return self.drivers[-1]

    def close(self):
        for d in self.drivers:
            d.close()
        super().close()

    def publish(self, port, to=A4, host=None, proto="tcp", bridge="br0", to_port=80, op="ports_add", **kw):
        self.fw(op, ports=[{"proto": proto, "host": host or ("::" if ":" in to else "0.0.0.0"), "port": port, "to": to, "to_port": to_port, "bridge": bridge, **kw}])

    def both(self, port, **kw):
        """a's port 80, TCP and UDP, on all addresses of the host."""
        for proto in ("tcp", "udp"):
            for to in (A4, A6):
                self.publish(port, to, proto=proto, **kw)

    def endpoint(self, who, **kw):
        addrs = {"a": (A4, A6, "br0"), "b": (B4, B6, "br0"), "c": (C4, C6, "br1")}[who]
        self.fw("endpoint_add", **{"id": who, "ifname": "csp" + who, "bridge": addrs[2], "v4": addrs[0], "v6": addrs[1], "mac": MAC[who], **kw})

    def handles(self):
        """Of the table with its base chains, and of a rule: others each time they are made."""
        text = self.host.run("nft", "-a", "list", "table", "inet", TABLE)
        base = re.findall(r"chain (\w+) \{ # handle (\d+)\n\t\ttype", text)
        assert len(base) == 4
        return (re.search(r"handle (\d+)", text).group(1), base), re.search(r"goto translate # handle (\d+)", text).group(1)


@pytest.fixture
def make():
    worlds = []

    def build(**kw):
        worlds.append(World(**kw))
        return worlds[-1]
    yield build
    for w in worlds:
        w.close()


@pytest.fixture
def world(make):
    return make()


PROTOS = ["tcp", "udp"]


# ---- published ports ----

@pytest.mark.parametrize("proto", PROTOS)
@pytest.mark.parametrize("addr,seen", [(HOST4, OUT4), (HOST6, OUT6)])
def test_published_port_from_outside(world, addr, seen, proto):
    assert not world.outside.reaches(addr, 8080, proto)
    world.both(8080)
    assert world.outside.ask(addr, 8080, proto) == (seen, "a")
    for to in (A4, A6):
        world.publish(8080, to, proto=proto, op="ports_remove")
    assert not world.outside.reaches(addr, 8080, proto)


@pytest.mark.parametrize("proto", PROTOS)
@pytest.mark.parametrize("addr", ["127.0.0.1", "127.1.2.3", "::1", HOST4, HOST6, "172.30.0.1", "fd30::1", "172.31.0.1"])
def test_published_port_from_the_host_itself(world, addr, proto):
    world.both(8080)
    assert world.host.ask(addr, 8080, proto) == ("fd30::1" if ":" in addr else "172.30.0.1", "a")


def test_loopback_stream_carries_data_both_ways(world):
    world.both(8080)
    for addr in ("127.0.0.1", "::1"):
        with world.host.connect(addr, 8080) as s:
            s.recv(100)
            block = os.urandom(1 << 20)
            sender = threading.Thread(target=s.sendall, args=(block,))
            sender.start()
            got = b""
            while len(got) < len(block):
                got += s.recv(1 << 16)
            sender.join()
            assert got == block


def br_netfilter(world):
    if not os.path.exists("/proc/sys/net/bridge/bridge-nf-call-iptables"):
        pytest.skip("no br_netfilter in this kernel")
    for family in ("iptables", "ip6tables"):
        world.host.sysctl(f"net.bridge.bridge-nf-call-{family}", 1)


def ask_unconnected(host, addr, port):
    """(answer, whom it is from), as a DNS client would."""
    s = host.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.sendto(b"?", (addr, port))
    data, sender = s.recvfrom(100)
    return data.decode().split(" ")[1], sender[:2]


def test_published_port_from_the_host_itself_with_br_netfilter(world):
    w = world
    w.both(8080)
    w.publish(9090, A6, host="::1", proto="udp")
    br_netfilter(w)
    assert not w.host.reaches("::1", 8080), "this test would not notice"
    assert any("::1" in t for t in w.fw("reachability")["Warnings"])
    w.fw("settle")
    assert not any("::1" in t for t in w.fw("reachability")["Warnings"])
    for proto in PROTOS:
        for addr in ("127.0.0.1", HOST4, HOST6, "::1"):
            assert w.host.ask(addr, 8080, proto)[1] == "a", addr
    assert ask_unconnected(w.host, "::1", 8080) == ("a", ("::1", 8080))
    assert ask_unconnected(w.host, "::1", 9090) == ("a", ("::1", 9090))
    assert ask_unconnected(w.host, A6, 80) == ("a", (A6, 80))
    w.publish(8081, C6, bridge="br1")
    assert w.host.ask("::1", 8081)[1] == "c"
    w.publish(8081, C6, bridge="br1", op="ports_remove")
    with pytest.raises(ConnectionRefusedError):
        w.host.ask("::1", 8081)
    with pytest.raises(ConnectionRefusedError):  # another namespace's ::1 is its own
        w.outside.ask("::1", 8080)
    w.host.serve(7000)
    assert w.host.ask("::1", 7000)[1] == "host"


@pytest.mark.parametrize("filtered", [0, 1], ids=["", "br_netfilter"])
def test_loopback6_reaches_a_container_without_ipv6(world, filtered):
    """By connect(2), of the host's processes only, where nobody said 0.0.0.0; and again after the engine's death."""
    w = world
    if filtered:
        br_netfilter(w)
        w.fw("settle")
    for proto in PROTOS:
        w.publish(8080, proto=proto, by_loopback6=True)
        w.publish(8081, proto=proto)
        assert w.host.ask("::1", 8080, proto) == ("172.30.0.1", "a")
        with pytest.raises(ConnectionRefusedError):
            w.host.ask("::1", 8081, proto)
        for elsewhere in (w.outside, w.a, w.b, w.c):    # their ::1 is their own
            with pytest.raises(ConnectionRefusedError):
                elsewhere.ask("::1", 8080, proto)
    w.a.serve(8080, name="own")
    assert w.a.ask("::1", 8080)[1] == "own"
    with w.host.connect("::1", 8080, "udp") as s:       # an answer is from whom was asked
        w.host.open.remove(s)
        s.send(b"?")
        assert s.recvfrom(100)[1][:2] == ("::1", 8080)
    only = w.host.socket(socket.AF_INET6, socket.SOCK_STREAM)
    only.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    with pytest.raises(OSError):
        only.connect(("::1", 8080))
    w.fw.kill()
    with pytest.raises(ConnectionRefusedError):
        w.host.ask("::1", 8080)
    w.fw = w.driver()
    w.fw("open", table=TABLE)
    w.fw("network_add", bridge="br0")
    w.publish(8080, by_loopback6=True)
    w.fw("settle")
    assert w.host.ask("::1", 8080)[1] == "a" and w.host.ask("127.0.0.1", 8080)[1] == "a"
    w.publish(8080, by_loopback6=True, op="ports_remove")
    with pytest.raises(ConnectionRefusedError):
        w.host.ask("::1", 8080)


def test_loopback6_stays_while_the_engine_is_away(world, tmp_path, request):
    """As what nftables does; the next life takes the programs over, and with the last published port they go."""
    w, pins = world, tmp_path / "bpf"
    pins.mkdir()
    request.addfinalizer(lambda: subprocess.run(["umount", "-l", pins], capture_output=True, check=False))  # of a failed test
    (pins / "not-ours").write_text("what is below the mount is no concern of ours")
    w.host.serve(7000)

    def begin(*ports):
        w.fw = w.driver()
        w.fw("open", table=TABLE, bpf_dir=str(pins))
        w.fw("network_add", bridge="br0")
        for port in ports:
            w.publish(port, by_loopback6=True)
            w.publish(port, by_loopback6=True, proto="udp")

    def answers(port):
        return w.host.ask("::1", port) == w.host.ask("::1", port, "udp") == ("172.30.0.1", "a") and w.host.ask("::1", 7000)[1] == "host"
    w.fw("close")
    begin()
    w.fw("settle")
    assert not os.path.ismount(pins), "nothing without a port that needs it"
    for port in (8080, 8081):
        w.publish(port, by_loopback6=True)
        w.publish(port, by_loopback6=True, proto="udp")
    assert answers(8080) and answers(8081)
    flow = w.host.connect("::1", 8080, "udp")
    w.fw.kill()
    assert answers(8080) and answers(8081)
    flow.send(b"?")
    assert flow.recvfrom(100)[1][:2] == ("::1", 8080)
    begin(8081, 8082)
    assert answers(8080) and answers(8081), "what was stays until all is there again"
    w.fw("settle")
    assert answers(8081) and answers(8082)
    flow.send(b"?")
    assert flow.recvfrom(100)[1][:2] == ("::1", 8080), "flows are remembered"
    for proto in PROTOS:
        with pytest.raises(ConnectionRefusedError):
            w.host.ask("::1", 8080, proto)
    w.fw("close")
    assert answers(8081) and answers(8082)
    begin(8081)
    w.fw("settle")
    w.publish(8081, by_loopback6=True, op="ports_remove")
    w.publish(8081, by_loopback6=True, op="ports_remove", proto="udp")
    w.fw("close")
    assert not os.path.ismount(pins) and (pins / "not-ours").exists()
    begin(8081)
    w.fw("settle")
    w.fw.kill()
    assert os.path.ismount(pins) and answers(8081)
    begin()
    w.fw("settle")
    assert not os.path.ismount(pins), "nobody has such a port any more"
    with pytest.raises(ConnectionRefusedError):
        w.host.ask("::1", 8081)


def test_without_bpf_the_rest_works(world, tmp_path):
    w = world
    w.fw.kill()
    w.drivers.clear()
    script = tmp_path / "driver"
    script.write_text(f"#!/bin/sh\nexec unshare -m sh -c 'mount -t tmpfs none /sys/fs/cgroup && exec {EXE}'\n")   # no cgroup2 to be found
    script.chmod(0o755)
    w.drivers.append(Driver(script, w.host))
    w.fw = w.drivers[0]
    w.fw("open", table=TABLE)
    w.fw("network_add", bridge="br0")
    w.fw("settle")
    assert any("::1" in t for t in w.fw("reachability")["Warnings"]), "before a port needs it, too"
    w.publish(8080, by_loopback6=True)
    assert w.host.ask("127.0.0.1", 8080)[1] == "a" and w.outside.ask(HOST4, 8080)[1] == "a"
    with pytest.raises(ConnectionRefusedError):
        w.host.ask("::1", 8080)
    assert any("::1" in t for t in w.fw("reachability")["Warnings"])


@pytest.mark.parametrize("filtered", [0, 1], ids=["", "br_netfilter"])
@pytest.mark.parametrize("proto", PROTOS)
def test_hairpin(world, proto, filtered):
    if filtered:
        br_netfilter(world)
        for veth in ("cspa", "cspb"):
            world.host.ip(f"link set {veth} type bridge_slave hairpin on")
    world.both(8080)
    for client in (world.a, world.b, world.c):
        for addr in (HOST4, HOST6, "172.30.0.1", "fd30::1"):
            seen, name = client.ask(addr, 8080, proto)
            assert name == "a"
            assert seen == ("fd30::1" if ":" in addr else "172.30.0.1"), client.name


def test_a_specific_address_comes_before_all_addresses(world):
    world.host.ip("addr add 192.0.2.9/24 dev up0")
    world.publish(8080, host="192.0.2.9")
    assert world.outside.ask("192.0.2.9", 8080)[1] == "a"
    assert not world.outside.reaches(HOST4, 8080)
    assert not world.host.reaches("127.0.0.1", 8080)
    world.publish(8080, C4, bridge="br1")
    assert world.outside.ask("192.0.2.9", 8080)[1] == "a"
    assert world.outside.ask(HOST4, 8080)[1] == "c"
    world.publish(8080, host="192.0.2.9", op="ports_remove")
    assert world.outside.ask("192.0.2.9", 8080)[1] == "c"


def test_outgoing_port_8080_is_not_caught(world):
    """Only what is addressed to the host is translated."""
    world.both(8080)
    world.outside.serve(8080)
    assert world.a.ask(OUT4, 8080) == (HOST4, "outside")
    assert world.host.ask(OUT4, 8080)[1] == "outside"


@pytest.mark.parametrize("everywhere", [0, 1], ids=["", "route_localnet"])
def test_published_on_loopback_is_for_the_host_only(world, everywhere):
    w = world
    for proto in PROTOS:
        w.publish(8080, host="127.0.0.1", proto=proto)
        w.publish(8080, A6, host="::1", proto=proto)
    send_loopback_out(w.outside, HOST4, HOST6)
    send_loopback_out(w.b, "172.30.0.1", "fd30::1")
    send_loopback_out(w.c, "172.31.0.1", "fd31::1")
    if everywhere:  # kube-proxy does that
        w.host.sysctl("net.ipv4.conf.all.route_localnet", 1)
    for proto in PROTOS:
        assert w.host.ask("127.0.0.1", 8080, proto)[1] == "a"
        assert w.host.ask("::1", 8080, proto)[1] == "a"
        for h, s4, s6 in ((w.outside, OUT4, OUT6), (w.b, B4, B6), (w.c, C4, C6)):
            for addr in (HOST4, HOST6, "172.30.0.1"):
                assert not h.reaches(addr, 8080, proto, 0.3)
            for addr, source in (("127.0.0.1", s4), ("::1", s6)):
                with pytest.raises(OSError):
                    h.ask(addr, 8080, proto, 0.3, source=(source, 0))
    w.fw.kill()
    w.drivers.clear()
    w.host.nft(f"flush chain inet {TABLE} prerouting; add rule inet {TABLE} prerouting goto translate")
    assert w.outside.ask("127.0.0.1", 8080, source=(OUT4, 0))[1] == "a", "this test would not notice"


def send_loopback_out(h, gw4, gw6):
    """Its own 127.0.0.1 and ::1 are no more; both are somewhere behind the host."""
    h.ip("addr flush dev lo")
    h.ip("link set lo down")
    h.ip(f"route add 127.0.0.1/32 via {gw4}")
    h.ip(f"-6 route add ::1/128 via {gw6}")
    h.sysctl("net.ipv4.conf.all.route_localnet", 1)


def test_containers_do_not_reach_the_hosts_loopback(world):
    w = world
    w.host.serve(9000, "127.0.0.1")
    send_loopback_out(w.b, "172.30.0.1", "fd30::1")

    def reaches():
        try:
            return bool(w.b.ask("127.0.0.1", 9000, timeout=0.4, source=(B4, 0)))
        except OSError:
            return False
    assert w.host.sysctl("net.ipv4.conf.br0.route_localnet") == "1"
    assert not reaches()
    w.fw.kill()  # so that nobody restores it
    w.drivers.clear()
    w.host.nft(f"flush chain bridge {TABLE} loopback")
    assert not reaches(), "a new connection is dropped, from whatever port of the bridge"
    w.host.nft(f"flush chain inet {TABLE} loopback")
    assert reaches(), "this test would not notice"


@pytest.mark.parametrize("where", ["endpoint", "shared"])
def test_no_packet_reaches_the_hosts_loopback(world, where):
    """What conntrack does not see, either: neither from an endpoint nor from another port of a bridge that may have some."""
    w = world
    rx = w.host.socket(socket.AF_INET, socket.SOCK_DGRAM)
    rx.bind(("127.0.0.1", 9000))
    rx.settimeout(0.4)
    send_loopback_out(w.b, "172.30.0.1", "fd30::1")
    w.host.nft("table ip untracked { chain c { type filter hook prerouting priority -301; notrack; }; }")
    if where == "shared":
        w.host.ip("link set br0 type bridge forward_delay 0")
        w.host.ip("link set cspb down")
        w.host.ip("link set cspb name lan0 up")
        w.fw("network_add", bridge="br0", shared=True)
        w.b.ip("route replace 127.0.0.1/32 via 172.30.0.1")
        w.host.serve(9001)
        assert w.b.ask("172.30.0.1", 9001, timeout=5)[1] == "host", "the link is not up again"
    tx = w.b.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tx.bind((B4, 0))

    def reaches():
        tx.sendto(b"x", ("127.0.0.1", 9000))
        try:
            return rx.recv(10) == b"x"
        except TimeoutError:
            return False
    assert not reaches()
    w.fw.kill()
    w.drivers.clear()
    w.host.nft(f"flush chain {'bridge' if where == 'endpoint' else 'inet'} {TABLE} loopback")
    assert reaches(), "this test would not notice"


def test_containers_reach_the_hosts_own_services(world):
    world.host.serve(9000)
    assert world.a.ask("172.30.0.1", 9000) == (A4, "host")
    assert world.a.ask(HOST4, 9000) == (A4, "host")


def test_conflicts_and_what_is_refused(world):
    w = world
    w.publish(8080)
    code, text = w.fw.error("ports_add", ports=[{"host": "0.0.0.0", "port": 8081, "to": A4, "to_port": 80, "bridge": "br0"},
                                                {"host": "0.0.0.0", "port": 8080, "to": B4, "to_port": 80, "bridge": "br0"}])
    assert code == "CONFLICT" and text == "port 8080/tcp on 0.0.0.0 is published already"
    assert not w.outside.reaches(HOST4, 8081), "half of a failed call stays"
    w.publish(8081)
    for want, bad in (("INVALID", {"host": "::", "port": 1, "to": A4, "to_port": 80, "bridge": "br0"}),
                      ("INVALID", {"host": "0.0.0.0", "port": 0, "to": A4, "to_port": 80, "bridge": "br0"}),
                      ("INVALID", {"proto": "icmp", "host": "0.0.0.0", "port": 1, "to": A4, "to_port": 80, "bridge": "br0"}),
                      ("NOT_FOUND", {"host": "0.0.0.0", "port": 1, "to": A4, "to_port": 80, "bridge": "br9"})):
        assert w.fw.error("ports_add", ports=[bad])[0] == want
    w.fw("network_add", bridge="br1", internal=True)
    assert w.fw.error("ports_add", ports=[{"host": "0.0.0.0", "port": 1, "to": C4, "to_port": 80, "bridge": "br1"}])[0] == "UNSUPPORTED"
    assert w.fw.error("network_add", bridge='x"; flush')[0] == "INVALID"


def test_udp_client_that_never_pauses_reaches_the_new_container(world):
    """moby#8795: the kernel remembers a flow to nobody, and goes on sending it there."""
    s = world.outside.connect(HOST4, 8080, "udp", timeout=0.05)
    answers = []
    for i in range(100):
        if i == 5:
            world.publish(8080, proto="udp")
        try:
            s.send(b"?")
            answers.append(s.recv(100))
            break
        except OSError:
            pass
    assert answers == [f"{OUT4} a".encode()]
    world.publish(8080, proto="udp", op="ports_remove")
    world.publish(8080, C4, proto="udp", bridge="br1")
    s.settimeout(2)
    s.send(b"?")
    assert s.recv(100) == f"{OUT4} c".encode()


# ---- isolation ----

def test_masquerading_and_source_address(make):
    w = make()
    assert w.a.ask(OUT4, 80) == (HOST4, "outside")
    assert w.a.ask(OUT6, 80) == (HOST6, "outside")
    w.host.ip("addr add 192.0.2.9/24 dev up0")
    w.host.ip("addr add fd02::9/64 dev up0")
    w.fw("network_add", bridge="br0", snat4="192.0.2.9", snat6="fd02::9")
    assert w.a.ask(OUT4, 80)[0] == "192.0.2.9"
    assert w.a.ask(OUT6, 80)[0] == "fd02::9"
    w.fw("network_add", bridge="br0", snat4=HOST4, snat6=HOST6)
    assert w.a.ask(OUT4, 80)[0] == HOST4
    assert w.a.ask(OUT6, 80)[0] == HOST6


def test_networks_are_isolated_from_each_other(world):
    for addr in (C4, C6):
        assert not world.a.reaches(addr, 80)
        assert not world.a.reaches(addr, 80, "udp")
        assert not world.a.pings(addr)
    assert world.a.reaches(B4, 80) and world.a.reaches(B6, 80)
    assert world.host.reaches(C4, 80), "the host itself may"


def forge_routes(w):
    for net, gw in (("172.30.0.0/24", HOST4), ("fd30::/64", HOST6)):
        w.outside.ip(f"route add {net} via {gw}")


def test_container_addresses_cannot_be_reached_from_outside(world):
    world.both(8080)
    world.a.serve(81)
    forge_routes(world)
    for addr in (A4, A6):
        assert not world.outside.reaches(addr, 80)
        assert not world.outside.reaches(addr, 81)
        assert not world.outside.pings(addr)


def test_gateway_mode_unprotected(make):
    w = make(mode4=UNPROTECTED, mode6=UNPROTECTED)
    forge_routes(w)
    for addr in (A4, A6):
        assert w.outside.ask(addr, 80)[1] == "a"
        assert w.outside.pings(addr)
        assert w.c.ask(addr, 80) == (C4 if addr == A4 else C6, "a"), "nor is it closed to other networks (Docker since 29)"
    w.both(8080)
    assert w.outside.ask(HOST4, 8080) == (OUT4, "a")


def test_gateway_mode_unprotected_keeps_its_own_apart(make):
    """Without inter-container communication, not even by way of the host."""
    w = make(mode4=UNPROTECTED, mode6=UNPROTECTED, no_icc=True)
    w.endpoint("a")
    w.endpoint("b")
    assert not w.b.reaches(A4, 80) and w.c.reaches(A4, 80)
    w.b.ip(f"route add {A4} via 172.30.0.1")
    w.b.ip(f"route add {A6} via fd30::1")
    assert not w.b.reaches(A4, 80) and not w.b.reaches(A6, 80)


def test_gateway_mode_routed(make):
    w = make(mode4=ROUTED, mode6=ROUTED)
    w.a.serve(81)
    forge_routes(w)
    w.both(8080)
    for addr, host in ((A4, HOST4), (A6, HOST6)):
        assert w.outside.ask(addr, 80)[1] == "a"
        assert w.c.ask(addr, 80) == (C4 if addr == A4 else C6, "a"), "what is published, other networks may reach as well"
        assert w.outside.pings(addr)
        assert not w.outside.reaches(addr, 81)
        assert not w.outside.reaches(host, 8080)
        assert w.a.ask(OUT4 if addr == A4 else OUT6, 80)[0] == addr, "no masquerading"
    w.both(8080, op="ports_remove")
    assert not w.outside.reaches(A4, 80)


@pytest.mark.parametrize("how", [{"direct": True}, {"trusted": "up0"}])
def test_direct_routing_to_published_ports(make, how):
    w = make(**how)
    w.a.serve(81)
    forge_routes(w)
    w.both(8080)
    for addr in (A4, A6):
        assert w.outside.ask(addr, 80)[1] == "a"
        assert not w.outside.reaches(addr, 81)
    assert w.c.reaches(A4, 80) == ("direct" in how)
    w.both(8080, op="ports_remove")
    assert not w.outside.reaches(A4, 80)


def test_internal_network(make):
    w = make(internal=True)
    w.host.serve(9000)
    forge_routes(w)
    w.publish(8080, C4, bridge="br1")
    assert w.a.reaches(B4, 80)
    assert w.host.reaches(A4, 80)
    assert w.a.reaches("172.30.0.1", 9000) and w.a.reaches("fd30::1", 9000)
    for addr, port in ((OUT4, 80), (OUT6, 80), (C4, 80), (HOST4, 9000), (HOST6, 9000), ("172.31.0.1", 9000), (HOST4, 8080), ("172.30.0.1", 8080)):
        assert not w.a.reaches(addr, port, timeout=0.3), addr
    for client in (w.outside, w.c):
        assert not client.reaches(A4, 80) and not client.reaches(A6, 80)
    w.host.nft("add table ip admin; add chain ip admin p { type nat hook prerouting priority -100; }; add rule ip admin p tcp dport 7000 dnat to 172.30.0.2:80")
    assert not w.outside.reaches(HOST4, 7000), "not even by a translation of somebody else's"


def test_gateway_mode_isolated(make):
    w = make(internal=True, mode4=ISOLATED, mode6=ISOLATED)
    w.host.serve(9000)
    assert w.a.reaches(B4, 80)
    for addr in ("172.30.0.1", "fd30::1"):
        assert not w.a.reaches(addr, 9000)
        assert not w.a.pings(addr)


def test_icc_off_and_links(make):
    w = make(no_icc=True)
    w.endpoint("a")
    w.endpoint("b")
    w.both(8080)
    for proto in PROTOS:
        assert not w.b.reaches(A4, 80, proto) and not w.b.reaches(A6, 80, proto)
        assert w.b.ask(HOST4, 8080, proto)[1] == "a", "published is published"
        assert w.b.ask(OUT4, 80, proto)[1] == "outside"
    assert not w.b.pings(A4)
    link = {"from": B4, "to": A4, "port": 80}
    w.fw("link_add", **link)
    assert w.b.ask(A4, 80) == (B4, "a")
    assert not w.a.reaches(B4, 80), "a link has one direction"
    assert not w.b.reaches(A4, 80, "udp")
    w.fw("link_add", **link)
    w.fw("link_remove", **link)
    assert w.b.reaches(A4, 80), "counted"
    w.fw("link_remove", **link)
    assert not w.b.reaches(A4, 80)
    w.fw("link_add", **{"from": B6, "to": A6, "port": 80})
    for c in (w.a, w.b):
        c.ip("neigh flush dev eth0")
    assert w.b.ask(A6, 80) == (B6, "a")
    assert not w.a.reaches(B6, 80)
    w.fw("network_add", bridge="br0")
    assert w.b.reaches(A4, 80), "icc on again"


# ---- who sends as whom ----

def frame(src, dst, kind, payload):
    def mac(m):
        return bytes.fromhex(m.replace(":", ""))
    return mac(dst) + mac(src) + struct.pack("!H", kind) + payload


def arp(op, mac, ip, target="172.30.0.3"):
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, op) + bytes.fromhex(mac.replace(":", "")) + socket.inet_aton(ip) + bytes(6) + socket.inet_aton(target)


def ip4(src, dst=B4):
    return struct.pack("!BBHHHBBH", 0x45, 0, 28, 1, 0, 64, 17, 0) + socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack("!HHHH", 5000, 5001, 8, 0)


def ip6(src, dst=B6, payload=struct.pack("!HHHH", 5000, 5001, 8, 1), nxt=17):
    return struct.pack("!IHBB", 6 << 28, len(payload), nxt, 255) + socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst) + payload


def nd(kind, target, rest=b""):
    return bytes([kind, 0, 0, 0, 0x60, 0, 0, 0]) + (socket.inet_pton(socket.AF_INET6, target) if target else b"") + rest


LL_A = "fe80::ff:fe00:3002"
GOOD = {
    "own IPv4": frame(MAC["a"], MAC["b"], 0x800, ip4(A4)),
    "own IPv6": frame(MAC["a"], MAC["b"], 0x86dd, ip6(A6)),
    "own link-local": frame(MAC["a"], MAC["b"], 0x86dd, ip6(LL_A)),
    "own ARP": frame(MAC["a"], MAC["b"], 0x806, arp(2, MAC["a"], A4)),
    "ARP probe": frame(MAC["a"], MAC["b"], 0x806, arp(1, MAC["a"], "0.0.0.0")),
    "own advertisement": frame(MAC["a"], MAC["b"], 0x86dd, ip6(A6, payload=nd(136, A6), nxt=58)),
    "is my address free": frame(MAC["a"], MAC["b"], 0x86dd, ip6("::", "ff02::1:ff00:2", nd(135, A6), 58)),
    "further address": frame(MAC["a"], MAC["b"], 0x800, ip4("172.30.0.77")),
    "address on its other network": frame(MAC["a"], MAC["b"], 0x800, ip4("172.31.0.50")),
}
BAD = {
    "another MAC": frame(MAC["c"], MAC["b"], 0x800, ip4(A4)),
    "another IPv4": frame(MAC["a"], MAC["b"], 0x800, ip4("172.30.0.9")),
    "gateway's IPv4": frame(MAC["a"], MAC["b"], 0x800, ip4("172.30.0.1")),
    "another IPv6": frame(MAC["a"], MAC["b"], 0x86dd, ip6("fd30::9")),
    "another link-local": frame(MAC["a"], MAC["b"], 0x86dd, ip6("fe80::1")),
    "ARP for another": frame(MAC["a"], MAC["b"], 0x806, arp(2, MAC["a"], "172.30.0.1")),
    "ARP with another's MAC": frame(MAC["a"], MAC["b"], 0x806, arp(2, MAC["c"], A4)),
    "advertisement for another": frame(MAC["a"], MAC["b"], 0x86dd, ip6(A6, payload=nd(136, "fd30::1"), nxt=58)),
    "router advertisement": frame(MAC["a"], MAC["b"], 0x86dd, ip6(LL_A, "ff02::1", nd(134, "", bytes(8)), 58)),
    "redirect": frame(MAC["a"], MAC["b"], 0x86dd, ip6(LL_A, B6, nd(137, "fd30::9", bytes(16)), 58)),
    "tagged frame": frame(MAC["a"], MAC["b"], 0x8100, struct.pack("!HH", 5, 0x800) + ip4("172.30.0.9")),
}


def lock(w, who):
    """As the network service does with the port of an endpoint."""
    w.host.run("bridge", "fdb", "replace", MAC[who], "dev", f"csp{who}", "master", "static")
    w.host.run("bridge", "link", "set", "dev", f"csp{who}", "learning", "off", "locked", "on")


@pytest.mark.parametrize("locked", [False, True], ids=["", "locked"])
def test_nobody_sends_as_somebody_else(world, locked):
    w = world
    tx = w.a.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    tx.bind(("eth0", 0))
    rx = w.b.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    rx.bind(("eth0", 0))

    def arrives(data, wait):
        mark = frame(MAC["a"], MAC["b"], 0x800, ip4(A4)[:-8] + struct.pack("!HHHH", 6000, os.getpid() & 0xffff, 8, 0))
        tx.send(data)
        tx.send(mark)  # what comes after it has overtaken nothing: one queue
        rx.settimeout(wait)
        found = False
        while True:
            got, addr = rx.recvfrom(2000)
            if addr[2] == socket.PACKET_OUTGOING:
                continue
            if got[:len(mark)] == mark:
                return found
            # a tag is stripped on the way up; then source and the rest tell
            found |= got[:len(data)] == data or (data[12:14] == b"\x81\x00" and got[12:12 + len(data) - 16] == data[16:])
    for name, data in {**GOOD, **BAD}.items():
        assert arrives(data, 5), f"without protection: {name}"
    w.fw("endpoint_add", id="a2", ifname="cspz", bridge="br1", v4="172.31.0.50", mac=MAC["a"], sandbox="s")
    w.endpoint("a", antispoof=True, more=["172.30.0.77"], sandbox="s", locked=locked)
    if locked:
        w.host.run("bridge", "fdb", "del", MAC["c"], "dev", "cspa", "master")  # learned above
        lock(w, "a")
    for name, data in GOOD.items():
        assert arrives(data, 5), name
    for name, data in BAD.items():
        assert not arrives(data, 5), name
    w.fw("endpoint_remove", id="a2")
    assert not arrives(GOOD["address on its other network"], 5)
    w.fw("endpoint_remove", id="a")
    assert arrives(BAD["another IPv4"], 5)
    assert arrives(BAD["another MAC"], 5) != locked


def test_protected_containers_work(world):
    w = world
    for name in "abc":
        w.endpoint(name, antispoof=True, locked=True)
        lock(w, name)
    w.both(8080)
    assert f'"cspa" . {A4}' in w.host.run("nft", "list", "set", "bridge", TABLE, "passing4"), "one look is enough for what is right"
    assert w.a.ask(B4, 80)[1] == "b" and w.a.ask(B6, 80)[1] == "b"
    assert w.outside.ask(HOST4, 8080) == (OUT4, "a") and w.outside.ask(HOST6, 8080) == (OUT6, "a")
    assert w.a.ask(OUT4, 80)[1] == "outside" and w.a.ask(OUT6, 80)[1] == "outside"
    assert w.host.ask("::1", 8080)[1] == "a"
    w.a.ip("neigh flush dev eth0")
    assert w.a.ask(B6, 80)[1] == "b"


# ---- ACLs ----

def test_acl_whitelist_in(world):
    w = world
    w.a.serve(81)
    w.both(8080)
    w.endpoint("a", acls=[{"block": True, "priority": 9000},
                          {"protocols": "6", "local_ports": "80,443-500,450-600", "remote_addresses": f"{B4}, fd30::/64", "priority": 100}])
    for addr in (A4, A6):
        assert w.b.ask(addr, 80)[1] == "a"
        assert not w.b.reaches(addr, 81)
        assert not w.b.reaches(addr, 80, "udp")
    assert not w.outside.reaches(HOST4, 8080), "the client's address is what counts"
    assert not w.b.pings(A4)
    # answers to what it begins itself pass
    for proto in PROTOS:
        assert w.a.ask(B4, 80, proto)[1] == "b"
        assert w.a.ask(OUT6, 80, proto)[1] == "outside"
    assert w.a.pings(B4)
    w.endpoint("a")
    assert w.b.reaches(A4, 81) and w.outside.reaches(HOST4, 8080)


def test_acl_out(world):
    w = world
    acl = {"block": True, "out": True, "protocols": "tcp", "remote_addresses": f"{OUT4}/32,{B6}", "remote_ports": "80"}
    w.endpoint("a", acls=[acl])
    assert not w.a.reaches(OUT4, 80) and not w.a.reaches(B6, 80)
    assert w.a.reaches(OUT6, 80) and w.a.reaches(B4, 80) and w.a.reaches(OUT4, 80, "udp")
    assert w.b.reaches(A6, 80), "answers are not new"
    w.endpoint("a", acls=[{**acl, "priority": 2}, {"out": True, "remote_addresses": "192.0.2.0/24", "priority": 1}])
    assert w.a.reaches(OUT4, 80), "a lower priority is asked first"
    w.fw("settle")
    assert w.a.reaches(OUT4, 80) and not w.a.reaches(B6, 80)
    w.fw("endpoint_remove", id="a")
    assert w.a.reaches(B6, 80)
    assert "acl1" not in w.host.run("nft", "list", "table", "bridge", TABLE)


@pytest.mark.parametrize("gone", ["flush map bridge {0} acl_{1}", "flush chain bridge {0} acl1_{1}"])
def test_what_meets_no_verdict_of_an_acl_is_dropped(world, gone):
    """Such is a packet that is under way while chains of ACLs are replaced: it may find no verdict, or a chain that for it has no rules yet."""
    w = world
    w.endpoint("a", acls=[{"block": True, "local_ports": "81"}, {"block": True, "out": True, "remote_ports": "81"}])
    assert w.b.ask(A4, 80)[1] == "a" and w.a.ask(B4, 80)[1] == "b"
    w.fw.kill()  # who would repair it
    w.drivers.clear()
    w.host.nft(gone.format(TABLE, "in"))
    assert not w.b.reaches(A4, 80) and w.a.ask(B4, 80)[1] == "b", "answers are known"
    w.host.nft(gone.format(TABLE, "out"))
    assert not w.a.reaches(B4, 80)


def test_acl_that_lets_nothing_out_lets_answers_out(world):
    w = world
    w.endpoint("a", acls=[{"block": True, "out": True}])
    w.both(8080)
    for c in (w.a, w.b):
        c.ip("neigh flush dev eth0")
    for proto in PROTOS:
        for addr, seen in ((A4, B4), (A6, B6)):
            assert w.b.ask(addr, 80, proto) == (seen, "a")
        assert w.outside.ask(HOST4, 8080, proto)[1] == "a" and w.outside.ask(HOST6, 8080, proto)[1] == "a"
        assert not w.a.reaches(B4, 80, proto) and not w.a.reaches(OUT6, 80, proto)
    assert w.b.pings(A4) and not w.a.pings(B4)


@pytest.mark.parametrize("member,value", [("protocols", "6,999"), ("protocols", "gre"), ("local_ports", "0"), ("local_ports", "90-80"), ("remote_ports", "80,"),
                                          ("remote_addresses", "10.0.0.0/33"), ("local_addresses", "10.0.0.1; drop"), ("local_ports", "80 } drop {")])
def test_bad_acls_are_named(world, member, value):
    acl = {member: value} if "ports" not in member else {"protocols": "tcp", member: value}
    code, text = world.fw.error("endpoint_add", id="a", ifname="cspa", bridge="br0", v4=A4, mac=MAC["a"], acls=[{}, acl])
    assert code == "INVALID" and "ACL policy 2" in text and member.replace("_", "") in text.lower(), text
    assert world.fw.error("endpoint_add", id="a", ifname="cspa", bridge="br0", v4=A4, mac=MAC["a"], acls=[{"protocols": "1", "local_ports": "80"}])[0] == "INVALID"


# ---- load balancers ----

@pytest.mark.parametrize("vip,to", [("10.99.0.1", [A4, B4]), ("fd99::1", [A6, B6])])
def test_load_balancer(world, vip, to):
    w = world
    w.outside.ip(f"route add {vip} via {HOST6 if ':' in vip else HOST4}")
    w.host.ip(f"route add {vip} dev lo")  # something for output to route by
    w.fw("lb_add", id="l", vip=vip, port=80, to_port=80, to=to)
    for client in (w.outside, w.c, w.host):
        assert {client.ask(vip, 80)[1] for _ in range(40)} == {"a", "b"}, client.name
    assert {w.a.ask(vip, 80)[1] for _ in range(40)} == {"a", "b"}, "one of the endpoints is a client, too"
    assert w.outside.ask(vip, 80)[0] == (OUT6 if ":" in vip else OUT4)
    assert w.fw.error("lb_add", id="m", vip=vip, port=80, to_port=80, to=to, sticky=True)[0] == "CONFLICT"
    w.fw("lb_add", id="l", vip=vip, port=80, to_port=80, to=to, sticky=True)
    assert len({w.outside.ask(vip, 80)[1] for _ in range(20)}) == 1
    w.fw("settle")
    assert len({w.outside.ask(vip, 80)[1] for _ in range(20)}) == 1
    w.fw("lb_add", id="l", vip=vip, port=80, to_port=80, to=to[1:])
    assert {w.outside.ask(vip, 80)[1] for _ in range(20)} == {"b"}
    w.fw("settle")
    assert {w.outside.ask(vip, 80)[1] for _ in range(20)} == {"b"}
    w.fw("lb_remove", id="l")
    assert not w.outside.reaches(vip, 80)


def test_damage_elsewhere_leaves_balancers_alone(world):
    """Their maps can only be made anew together with their rules: not for a set that is none of theirs."""
    w = world
    w.host.ip("route add 10.99.0.1 dev lo")
    w.fw("lb_add", id="l", vip="10.99.0.1", port=80, to_port=80, to=[A4, B4])

    def handles():
        text = w.host.run("nft", "-a", "list", "table", "inet", TABLE)
        return re.findall(r"(?:map (?:balance|sticky)|dnat.* map @(?:balance|sticky)).*# handle (\d+)", text)

    def repaired(damage):
        w.host.nft(damage)
        until(lambda: "masquerade" in w.host.run("nft", "list", "chain", "inet", TABLE, "inward") and len(handles()) == 8)
        return handles()
    before = handles()
    assert len(before) == 8
    assert repaired(f"flush chain inet {TABLE} inward") == before
    assert repaired(f"flush map inet {TABLE} balance4; flush chain inet {TABLE} inward") == before
    assert w.host.ask("10.99.0.1", 80)[1] in "ab"
    rule = before[-1]
    after = repaired(f"replace rule inet {TABLE} balance handle {rule} accept; flush chain inet {TABLE} inward")
    assert after != before and w.host.ask("10.99.0.1", 80)[1] in "ab"


def test_balancers_are_remade_without_a_gap(world, tmp_path):
    """A packet that is on its way when their maps go would find nothing in them, so they go when nothing leads there any more; connections come in all the while."""
    w = world
    w.outside.ip(f"route add 10.99.0.1 via {HOST4}")
    for vip in ("10.99.0.1", "10.99.0.2"):
        w.fw("lb_add", id=vip, vip=vip, port=80, to_port=80, to=[A4, B4])
    failures, rounds, stop = [], [0] * 3, threading.Event()

    def ask(n):
        while not stop.is_set():
            try:
                assert w.outside.ask("10.99.0.1", 80, timeout=30)[1] in "ab"
                rounds[n] += 1
            except Exception as e:  # pylint: disable=broad-except
                failures.append(repr(e))

    def inet():
        return w.host.run("nft", "list", "table", "inet", TABLE)
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(rounds))]
    log = tmp_path / "monitor"
    with log.open("w") as out, subprocess.Popen(w.host.command("nft", "monitor"), pass_fds=[w.host.fd], stdout=out) as monitor:
        try:
            until(lambda: w.host.nft("add table inet other; delete table inet other") or "delete table inet other" in log.read_text())
            for t in threads:
                t.start()
            for _ in range(3):
                made = sum(rounds)
                w.host.nft(f"add rule inet {TABLE} balance counter; flush chain inet {TABLE} inward")
                until(lambda: "counter" not in inet() and "aside" not in inet() and "daddr ::1" in inet())
                until(lambda made=made: failures or sum(rounds) > made + 20)
        finally:
            stop.set()
            for t in threads:
                if t.ident:
                    t.join()
            monitor.terminate()
    assert not failures
    way, remade = "balance", 0
    for transaction in log.read_text().split("# new generation"):
        deleted = re.findall(rf"delete (?:map|set) inet {TABLE} ((?:aside_)?(?:balance|sticky)\d)", transaction)
        assert all(m.startswith("aside") != (way == "balance_aside") for m in deleted), (way, deleted)
        remade += "balance4" in deleted
        way = (re.findall(rf"add rule inet {TABLE} translate goto (\w+)", transaction) or [way])[-1]
    assert remade == 3 and way == "balance"
    # what a daemon left that was killed meanwhile
    maps = "".join(f"map aside_{m}{v} {{ typeof ip{f} daddr . meta l4proto . th dport . numgen random mod 420 : ip{f} daddr . th dport; }}\n"
                   for m in ("balance", "sticky") for v, f in (("4", ""), ("6", "6")))
    w.host.nft(f"table inet {TABLE} {{\n{maps}chain balance_aside {{ accept\n}}\n}}\nflush chain inet {TABLE} translate\nadd rule inet {TABLE} translate goto balance_aside\n")
    w.fw("settle")
    assert "aside" not in inet() and w.outside.ask("10.99.0.1", 80)[1] in "ab"


# ---- with others on the host ----

@pytest.mark.parametrize("priority", [0, 10, 300])
def test_a_drop_of_the_hosts_stays_a_drop(world, priority):
    """moby#22054"""
    world.both(8080)
    assert world.outside.reaches(HOST4, 8080)
    world.host.nft(f"add table inet admin; add chain inet admin f {{ type filter hook forward priority {priority}; policy drop; }};"
                   "add rule inet admin f ct state established,related accept; add rule inet admin f iifname br0 accept")
    assert not world.outside.reaches(HOST4, 8080) and not world.outside.reaches(HOST6, 8080)
    assert world.a.reaches(OUT4, 80)
    r = world.fw("reachability")
    assert r["HostChains"] == [{"Family": "inet", "Table": "admin", "Chain": "f", "Hook": "forward", "Priority": priority, "Drops": "policy"}]
    assert any("inet admin f" in text for text in r["Warnings"])
    world.host.nft("add rule inet admin f ct status dnat accept")
    assert world.outside.reaches(HOST4, 8080)


def test_reachability(world):
    w = world
    w.endpoint("a", name="web")
    w.both(8080)
    w.publish(9090, C4, host="127.0.0.1", bridge="br1")
    w.host.nft("add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy accept; }; add rule ip filter FORWARD counter reject;"
               "add table ip6 x; add chain ip6 x i { type filter hook input priority 5; policy drop; }; add chain ip6 x q { type filter hook forward priority 5; };"
               "add rule ip6 x q tcp dport 1 drop")
    r = w.fw("reachability")
    assert r["Enabled"] and r["Intact"] and r["Table"] == TABLE
    assert len(r["Ports"]) == 5
    assert r["Ports"][0] == {"Protocol": "tcp", "HostAddress": "0.0.0.0", "HostPort": 8080, "Address": A4, "Port": 80, "Endpoint": "a", "Name": "web", "Bridge": "br0",
                             "ReachableFrom": ["host", "containers", "outside"]}
    assert r["Ports"][4]["HostAddress"] == "127.0.0.1" and r["Ports"][4]["ReachableFrom"] == ["host"]
    assert sorted((c["Table"], c["Hook"], c["Drops"]) for c in r["HostChains"]) == [("filter", "forward", "last rule"), ("x", "input", "policy")]
    assert any("ufw" in t for t in r["Warnings"]) and not any("ip_forward" in t for t in r["Warnings"])
    w.host.sysctl("net.ipv4.ip_forward", 0)
    assert any("ip_forward" in t for t in w.fw("reachability")["Warnings"])


def test_reachability_while_others_change_their_rules(world):
    """A long chain comes in many pieces, and the kernel says when it has changed between them."""
    w = world
    rules = "".join(f"add rule inet busy fw ip saddr 10.{i // 250}.{i % 250}.1 accept\n" for i in range(4000))
    w.host.nft("add table inet busy; add chain inet busy fw { type filter hook forward priority 0; policy drop; }\n" + rules)
    churn = subprocess.Popen(w.host.command("sh", "-c", "while :; do echo 'add table inet other; delete table inet other'; done | nft -i"), pass_fds=[w.host.fd],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        for _ in range(40):
            assert [c["Chain"] for c in w.fw("reachability")["HostChains"]] == ["fw"]
    finally:
        os.killpg(churn.pid, signal.SIGKILL)
        churn.wait()


def test_reachability_and_old_iptables(world):
    """Tables of iptables-legacy, which nft does not show. Looking makes none."""
    w = world
    report = lambda: w.fw("reachability")
    names = lambda: w.host.run("cat", "/proc/net/ip_tables_names", "/proc/net/ip6_tables_names", fail=True).split()
    assert report()["HostChains"] == [] and not any("legacy" in t for t in report()["Warnings"]) and names() == []
    for family in ("iptables", "ip6tables"):
        if not w.host.run(family + "-legacy", "-S", fail=True):
            pytest.skip("the kernel has no old iptables")
    assert report()["HostChains"] == [] and not any("legacy" in t for t in report()["Warnings"]) and names() == ["filter", "filter"]
    w.host.run("iptables-legacy", "-A", "FORWARD", "-p", "tcp", "--dport", "80", "-j", "DROP")
    w.host.run("ip6tables-legacy", "-t", "mangle", "-A", "PREROUTING", "-j", "ACCEPT")
    w.host.run("iptables-legacy", "-t", "nat", "-A", "PREROUTING", "-j", "ACCEPT")
    told = [t for t in report()["Warnings"] if "legacy" in t]
    assert len(told) == 2 and "iptables-legacy in filter FORWARD," in told[0] and "ip6tables-legacy in mangle PREROUTING," in told[1], told
    assert report()["HostChains"] == []
    w.host.run("ip6tables-legacy", "-P", "FORWARD", "DROP")
    assert report()["HostChains"] == [{"Family": "ip6", "Table": "filter", "Chain": "FORWARD", "Hook": "forward", "Priority": 0, "Drops": "policy"}]
    assert any("chain ip6 filter FORWARD" in t for t in report()["Warnings"])


def until(what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.05)
    raise AssertionError("never")


DAMAGE = ["flush ruleset", f"delete table inet {TABLE}", f"delete table bridge {TABLE}", f"flush table inet {TABLE}", f"flush chain inet {TABLE} published", f"flush map inet {TABLE} any4",
          f"delete element inet {TABLE} any4 {{ tcp . 8080 }}"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_by_others_is_repaired(world, damage):
    w = world
    w.both(8080)
    w.endpoint("a", antispoof=True, acls=[{"block": True, "local_ports": "81"}])
    if "element" in damage:
        damage = damage.replace("tcp . 8080", f"tcp . 8080 : {A4} . 80")
    before = w.host.run("nft", "list", "ruleset")
    w.host.nft(damage)
    until(lambda: sorted(w.host.run("nft", "list", "ruleset")) == sorted(before))
    assert w.outside.ask(HOST4, 8080) == (OUT4, "a") and w.outside.ask(HOST6, 8080) == (OUT6, "a")
    # and once more, as a firewall is reloaded more than once
    w.host.nft(damage)
    until(lambda: w.outside.reaches(HOST4, 8080))


def test_own_changes_and_other_tables_are_no_damage(world):
    w = world
    w.endpoint("b", acls=[{"block": True}])  # the first one brings a base chain
    before = w.handles()
    for i in range(20):
        w.publish(8000 + i)
        w.endpoint("a", antispoof=bool(i % 2))
        w.publish(8000 + i, op="ports_remove")
        w.host.nft("add table inet other; add chain inet other c; add rule inet other c drop; flush table inet other; delete table inet other")
    w.endpoint("b", acls=[{"block": True}])  # by libnftables
    w.endpoint("b")
    w.host.nft("add table inet other")
    assert w.handles() == before
    w.fw("settle")
    settled = w.handles()
    time.sleep(0.3)  # long enough for a repair that must not come
    assert w.handles() == settled and settled[0] == before[0] and settled[1] != before[1]


def ruleset(w):
    """Without the order of elements and chains, nor the numbers of ACLs' chains."""
    return sorted(", ".join(sorted(re.sub(r"acl\d+", "acl", line).split(", "))) for line in w.host.run("nft", "list", "ruleset").splitlines())


def test_chains_that_few_need_come_with_the_first_who_does(world):
    """What only internal or isolated networks, icc=false and ACLs need costs others nothing."""
    w = world

    def hooks():
        return sorted(re.findall(r"type filter hook (input|forward priority 0|postrouting)", w.host.run("nft", "list", "ruleset")))
    w.host.serve(7000)
    assert hooks() == [] and w.c.reaches(HOST4, 7000) and w.a.reaches(B4, 80)
    w.fw("network_add", bridge="br1", internal=True)
    assert hooks() == ["input"] and not w.c.reaches(HOST4, 7000) and w.c.reaches("172.31.0.1", 7000)
    w.endpoint("b", acls=[{"block": True, "local_ports": "80", "protocols": "6"}])
    assert hooks() == ["input", "postrouting"] and not w.a.reaches(B4, 80) and w.a.reaches(B4, 80, "udp")
    w.endpoint("b")
    w.fw("network_add", bridge="br0", no_icc=True)
    assert [h.split()[0] for h in hooks()] == ["forward", "input"] and not w.a.reaches(B4, 80, "udp")
    w.fw("network_add", bridge="br0")
    w.fw("network_add", bridge="br1")
    w.fw("settle")
    assert hooks() == [] and w.c.reaches(HOST4, 7000) and w.a.reaches(B4, 80)


def test_settling_puts_right_what_is_wrong_and_leaves_the_rest(world):
    """The next life of the engine takes over the tables: base chains stay, what nobody has added again goes, what is missing comes, and what is not ours goes."""
    w = world

    def fill():
        w.both(8080)
        w.publish(8081)
        w.endpoint("a", antispoof=True, acls=[{"block": True, "local_ports": "81"}])
        w.endpoint("b", acls=[{"block": True, "local_ports": "82"}])
        w.endpoint("c", antispoof=True)
        w.fw("lb_add", id="l", vip="10.99.0.1", port=80, to_port=80, to=[A4, B4])
        w.fw("close_host")
    fill()
    first, want = w.handles(), ruleset(w)

    def again():
        w.fw.kill()
        w.fw = w.driver()
        w.fw("open", table=TABLE)
        w.fw("network_add", bridge="br0")
        w.fw("network_add", bridge="br1")
        fill()
    again()
    w.fw("settle")
    assert ruleset(w) == want and w.handles()[0] == first[0]
    again()
    w.host.nft(f"insert rule inet {TABLE} published accept; add chain inet {TABLE} foreign; add rule inet {TABLE} foreign drop; flush chain inet {TABLE} to_us;"
               f"add element inet {TABLE} any4 {{ tcp . 7777 : {A4} . 80 }}; delete element inet {TABLE} any4 {{ tcp . 8080 : {A4} . 80 }};"
               f"delete element inet {TABLE} any4 {{ tcp . 8081 : {A4} . 80 }}; add element inet {TABLE} any4 {{ tcp . 8081 : {B4} . 80 }};"
               f"flush set bridge {TABLE} guarded; flush set bridge {TABLE} passing4; flush map bridge {TABLE} acl_in; flush chain inet {TABLE} balance; flush map inet {TABLE} balance4")
    assert ruleset(w) != want
    w.fw("settle")
    assert ruleset(w) == want and w.handles()[0] == first[0]
    assert w.outside.ask(HOST4, 8080)[1] == "a" and w.outside.ask(HOST4, 8081)[1] == "a" and not w.outside.reaches(HOST4, 7777)
    again()
    version = re.search(r'comment "([0-9a-f]{16})"', w.host.run("nft", "list", "table", "inet", TABLE)).group(1)
    w.host.nft(w.host.run("nft", "list", "table", "bridge", TABLE).join([f"delete table bridge {TABLE}\n", ""]).replace(version, "0123456789abcdef"))
    assert ruleset(w) != want
    w.fw("settle")  # rules of another version: made anew
    assert ruleset(w) == want and w.handles()[0] != first[0]


def test_change_while_the_table_is_gone(world):
    """Between the damage and its repair calls come in: they repair it themselves."""
    w = world
    w.both(8080)
    for i in range(10):
        w.host.nft("flush ruleset")
        w.publish(9000 + i)
        assert w.outside.ask(HOST4, 9000 + i)[1] == "a"
        assert w.outside.ask(HOST4, 8080)[1] == "a"


def test_what_goes_goes_though_the_kernel_refuses(world):
    """What is withdrawn while our tables cannot be changed is nobody's any more, and out of the kernel when they can."""
    w = world
    w.publish(8080)
    w.endpoint("a", antispoof=True)
    w.fw("lb_add", id="l", vip="10.99.0.1", port=80, to_port=80, to=[A4])
    thief = subprocess.Popen(w.host.command("nft", "-i"), pass_fds=[w.host.fd], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        # a table with an owner is nobody else's to change
        print("; ".join(f"delete table {f} {TABLE}; add table {f} {TABLE} {{ flags owner; }}" for f in ("inet", "bridge")), file=thief.stdin, flush=True)
        until(lambda: w.host.run("nft", "list", "ruleset").count("flags owner") == 2)
        for op, args in (("lb_remove", {"id": "l"}), ("endpoint_remove", {"id": "a"})):
            assert w.fw.error(op, **args)
        with pytest.raises(AssertionError):
            w.publish(8080, op="ports_remove")
        assert w.fw.error("endpoint_add", id="b", ifname="cspb", bridge="br0", v4=B4, mac=MAC["b"], antispoof=True)
    finally:
        thief.kill()
        thief.wait()
    w.endpoint("b", antispoof=True)
    text = w.host.run("nft", "list", "table", "inet", TABLE)
    assert "8080" not in text and "10.99.0.1" not in text and "cspa" not in w.host.run("nft", "list", "table", "bridge", TABLE)
    w.publish(8080, to=B4)
    assert w.outside.ask(HOST4, 8080)[1] == "b"
    w.fw("lb_add", id="m", vip="10.99.0.1", port=80, to_port=80, to=[B4])


def test_a_table_of_others_is_never_touched(make):
    w = make()
    w.host.nft("add table inet keep; add set inet keep s { type ipv4_addr; elements = { 10.0.0.1 } }; add table ip filter; add chain ip filter INPUT { type filter hook input priority 0; }")
    before = w.host.run("nft", "-a", "list", "table", "inet", "keep") + w.host.run("nft", "-a", "list", "table", "ip", "filter")
    w.both(8080)
    w.fw("settle")
    w.fw("delete_tables")
    assert w.host.run("nft", "-a", "list", "table", "inet", "keep") + w.host.run("nft", "-a", "list", "table", "ip", "filter") == before
    assert TABLE not in w.host.run("nft", "list", "tables")


def test_switched_off_nothing_is_touched(world):
    w = world
    w.fw("delete_tables")
    w.host.sysctl("net.ipv4.conf.br0.route_localnet", 0)
    before = w.host.run("nft", "list", "ruleset"), w.host.run("ip", "-6", "route", "show", "table", "local")
    d = w.driver()
    d("open", table="caisson-1", disabled=True)
    d("network_add", bridge="br0")
    d("endpoint_add", id="a", ifname="cspa", bridge="br0", v4=A4, mac=MAC["a"], antispoof=True, acls=[{"block": True}])
    d("settle")
    d("ports_add", ports=[{"host": "0.0.0.0", "port": 8080, "to": A4, "to_port": 80, "bridge": "br0"}])
    assert not w.outside.reaches(HOST4, 8080)
    r = d("reachability")
    assert not r["Enabled"] and len(r["Ports"]) == 1 and any("switched off" in t for t in r["Warnings"])
    assert (w.host.run("nft", "list", "ruleset"), w.host.run("ip", "-6", "route", "show", "table", "local")) == before
    assert w.host.sysctl("net.ipv4.conf.br0.route_localnet") == "0"


@pytest.mark.timeout(120)
def test_many_threads_while_others_flush(world):
    w = world
    w.both(8080)
    stop = threading.Event()

    def flush():
        while not stop.is_set():
            w.host.nft("flush ruleset")
            stop.wait(0.05)
    t = threading.Thread(target=flush)
    t.start()
    try:
        w.fw("stress", threads=4, rounds=60, to=A4, bridge="br0")
    finally:
        stop.set()
        t.join()
    until(lambda: TABLE in w.host.tables())
    w.fw("settle")
    rules = w.host.run("nft", "list", "table", "inet", TABLE)
    assert sorted(re.findall(r"tcp . (2\d+) :", rules)) == ["20059", "21059", "22059", "23059"]
    assert "stress" not in w.host.run("nft", "list", "table", "bridge", TABLE)
    assert w.outside.ask(HOST4, 8080)[1] == "a" and w.outside.ask(HOST4, 22059)[1] == "a"


# ---- the engine's death ----

def test_killed_and_settled_without_a_gap(world):
    """What was published works on without us; what settles replaces it in one step, and connections stay."""
    w = world
    w.both(8080)
    w.publish(8081)
    kept = w.outside.connect(HOST4, 8080)
    kept.recv(100)
    w.fw.kill()
    w.drivers.clear()
    assert w.outside.ask(HOST4, 8080)[1] == "a"
    failures, rounds, stop = [], [0] * 4, threading.Event()

    def ask(n):
        while not stop.is_set():
            try:
                assert w.outside.ask(HOST4, 8080, timeout=30)[1] == "a"
                rounds[n] += 1
            except Exception as e:  # pylint: disable=broad-except
                failures.append(repr(e))
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(rounds))]
    for t in threads:
        t.start()
    w.fw = w.driver()
    w.fw("open", table=TABLE)
    w.fw("network_add", bridge="br0")
    w.fw("network_add", bridge="br1")
    w.both(8080)
    assert w.outside.ask(HOST4, 8081)[1] == "a", "before settle the old table is in force"
    settled = 0
    while settled < 30 or (sum(rounds) < 1000 and not failures):
        w.fw("settle")
        settled += 1
    stop.set()
    for t in threads:
        t.join()
    assert not failures
    assert not w.outside.reaches(HOST4, 8081), "what nobody has added again is gone"
    kept.send(b"still there")
    assert kept.recv(100) == b"still there"


def test_two_instances_do_not_meet(world):
    w = world
    w.both(8080)
    d = w.driver()
    d("open", table="caisson-2")
    d("network_add", bridge="br7")
    d("settle")
    d("delete_tables")
    assert w.outside.ask(HOST4, 8080)[1] == "a"
    code, text = w.driver().error("open", table="no table; flush")
    assert code == "INVALID" and "table" in text


# ---- ten thousand ----

def traced(log):
    """What one call sent to nf_tables: (system calls, bytes)."""
    calls = [line for line in log.read_text().splitlines() if "NETLINK" in line or "sendto(" in line or "recvfrom(" in line or "sendmsg(" in line or "recvmsg(" in line]
    sent = [int(line.rsplit("=", 1)[1].split()[0]) for line in calls if "sendto(" in line or "sendmsg(" in line]
    return len(calls), sum(sent)


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
@pytest.mark.timeout(120)
def test_port_number_ten_thousand_costs_what_the_first_did(world, tmp_path):
    w = world
    costs = []
    first, many = 1000, 10000

    def cost(port):
        log = tmp_path / f"trace{port}"
        tracer = subprocess.Popen(["strace", "-f", "-e", "trace=sendto,sendmsg,recvfrom,recvmsg", "-p", str(w.fw.process.pid), "-o", str(log)], stderr=subprocess.PIPE, text=True)
        try:
            assert "attached" in tracer.stderr.readline()
            w.publish(port)
        finally:
            tracer.terminate()
            tracer.wait()
        costs.append(traced(log))
    cost(900)
    assert costs[0][0] >= 2 and costs[0][1] > 100, costs
    w.fw("ports_add", host="0.0.0.0", port=first, count=many, to=A4, to_port=80, bridge="br0")
    cost(901)
    assert costs[0] == costs[1]
    for port in (900, 901, first, first + many // 2, first + many - 1):
        assert w.outside.ask(HOST4, port)[1] == "a"
    w.fw("settle")
    assert w.outside.ask(HOST4, first + many - 1)[1] == "a"
    w.fw("ports_remove", host="0.0.0.0", port=first, count=many, to=A4, to_port=80, bridge="br0")
    assert not w.outside.reaches(HOST4, first + many - 1)
    assert w.outside.ask(HOST4, 900)[1] == "a"
