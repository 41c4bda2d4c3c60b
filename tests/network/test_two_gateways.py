# SPDX-License-Identifier: Apache-2.0
"""Containers whose IPv4 goes out by one network and whose IPv6 by another: ports are published by both, and move with either (moby#48323, moby#51999)."""
import subprocess
import threading

import pytest

import caisson_fixture as fx
from netns import fetch
from test_containers_net import ip, publish, server, settings

BPF = "cannot be reached through ::1"
ECHO = """
import socket, threading
s = socket.create_server(("", 7000), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
def serve(c):
    while d := c.recv(100):
        c.sendall(d)
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""
# one connection: what it says comes back, whenever a line is wanted
TALK = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
for line in sys.stdin:
    s.sendall(b"x")
    print(s.recv(1).decode(), flush=True)
"""
# new connections, until a few after the end of the input: how many, how many were refused, how many came to nothing
KNOCK = """
import select, socket, sys
tries = refused = lost = 0
more = 5
while more:
    more -= bool(select.select([sys.stdin], [], [], 0)[0])
    if tries == 3:
        print("ready", flush=True)
    tries += 1
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3) as s:
            s.sendall(b"x")
            lost += s.recv(1) != b"x"
    except ConnectionRefusedError:
        refused += 1
    except OSError:
        lost += 1
print(tries, refused, lost)
"""
# listens where it is told, IPv6 for itself alone
HOLD = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
if ":" in sys.argv[1]:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
s.bind((sys.argv[1], int(sys.argv[2])))
s.listen()
print("ready", flush=True)
sys.stdin.read()
"""


class Talk:
    """An established flow."""

    def __init__(self, place, address, port):
        self.p = place.popen("/usr/bin/python3", "-c", TALK, address, str(port), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def lives(self):
        try:
            self.p.stdin.write("\n")
            self.p.stdin.flush()
        except BrokenPipeError:
            return False
        return self.p.stdout.readline() == "x\n"

    def close(self):
        self.p.kill()
        self.p.communicate()


class Knock:
    def __init__(self, place, address, port):
        self.p = place.popen("/usr/bin/python3", "-c", KNOCK, address, str(port), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.p.stdout.readline() == "ready\n"

    def end(self):
        return [int(n) for n in self.p.communicate()[0].split()]


class Stranger:
    """A program of the host's with a port."""

    def __init__(self, place, address, port):
        self.p = place.popen("/usr/bin/python3", "-c", HOLD, address, str(port), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.got = self.p.stdout.readline() == "ready\n"

    def close(self):
        self.p.kill()
        self.p.communicate()


def is_free(place, address, port):
    s = Stranger(place, address, port)
    s.close()
    return s.got


@pytest.fixture
def outside(net_engine):
    o = net_engine.netns.neighbour()
    fx.wait_for(lambda: o.pings(o.gateway6), what="the cable")
    yield o
    o.close()


@pytest.fixture
def nets(networks):
    """four: IPv4 alone; six: IPv6 alone; both."""
    networks.subnet("tg-four", "10.121.1.0/24")
    networks.subnet("tg-six", "fd00:121:2::/64", EnableIPv4=False, EnableIPv6=True)
    networks.subnet("tg-both", ["10.121.3.0/24", "fd00:121:3::/64"], EnableIPv6=True)
    return networks


def on(**priorities):
    return {"NetworkingConfig": {"EndpointsConfig": {"tg-" + n: {"GwPriority": p} for n, p in priorities.items()}}}


def bindings(box, port="80/tcp"):
    return [(b["HostIp"], int(b["HostPort"])) for b in settings(box)["Ports"][port] or []]


def rows(engine, box):
    return {(r["HostAddress"], r["HostPort"]): r["Address"] for r in engine.http.get("/networks/reachability").json["Ports"] if r["Name"] == box.inspect()["Name"].strip("/")}


def six(box, net):
    return settings(box, "tg-" + net)["GlobalIPv6Address"]


def reached(place, at, port, word, timeout=2):
    return place.fetch(f"http://{at}:{port}/", check=False, timeout=timeout) == word + "\n"


@pytest.mark.caisson
def test_each_family_goes_by_its_own_network(net_engine, nets, net_boxes, outside):
    """The highest priority has no IPv6: its network has the ports of IPv4, the other one those of IPv6, with one number."""
    b = server(net_boxes, "gates", network="tg-four", name="tg-web", ExposedPorts={"80/tcp": {}, "443/tcp": {}},
               Host=publish(p80_tcp=[{"HostPort": "18160"}, {"HostPort": ""}], p81_tcp=[{"HostIp": "127.0.0.1", "HostPort": ""}, {"HostIp": "::1", "HostPort": ""}]),
               **on(four=5, both=0))
    assert "default via 10.121.1.1" in b.exec("ip route")[1] and "default via fd00:121:3::1" in b.exec("ip -6 route")[1]
    fixed, picked = bindings(b)[:2], bindings(b)[2:]
    assert fixed == [("0.0.0.0", 18160), ("::", 18160)]
    assert [h for h, _ in picked] == ["0.0.0.0", "::"] and picked[0][1] == picked[1][1] > 1024
    loop = bindings(b, "81/tcp")
    assert [h for h, _ in loop] == ["127.0.0.1", "::1"] and loop[0][1] == loop[1][1]
    assert settings(b)["Ports"]["443/tcp"] is None
    row = next(c for c in net_engine.http.get("/containers/json").json if c["Id"] == b.id)
    assert {(p["IP"], p["PublicPort"]) for p in row["Ports"] if p["PrivatePort"] == 80} == {*fixed, *picked}
    assert rows(net_engine, b)[("0.0.0.0", 18160)] == ip(b, "tg-four") and rows(net_engine, b)[("::", 18160)] == six(b, "both")
    other = net_boxes.sleeper(network="tg-both")
    for port in (18160, picked[0][1]):
        for at in (outside.gateway, f"[{outside.gateway6}]"):
            assert reached(outside, at, port, "gates"), at
            assert fetch(other, f"http://{at}:{port}/") == "gates" and fetch(b, f"http://{at}:{port}/") == "gates"
        for at in ("127.0.0.1", "[::1]", outside.gateway, f"[{outside.gateway6}]"):
            assert reached(net_engine.netns, at, port, "gates"), at
    b.post("stop", {"t": 0})
    assert is_free(net_engine.netns, "0.0.0.0", 18160) and is_free(net_engine.netns, "::", 18160)
    b.start()
    assert bindings(b)[:2] == fixed
    fx.wait_for(lambda: reached(outside, f"[{outside.gateway6}]", 18160, "gates"), what="the port after a start")


@pytest.mark.caisson
def test_ipv6_comes_and_goes_while_it_runs(net_engine, nets, net_boxes, outside):
    """Meanwhile ::1 has a container's IPv4 address behind it no more, and an IPv4 connection does not notice."""
    b = server(net_boxes, "late", network="tg-four", Host=publish(p80_tcp=[{"HostPort": "18161"}, {"HostPort": ""}], p7000_tcp={"HostPort": "18162"}))
    echo = subprocess.Popen(["nsenter", "--net", "-t", str(b.pid), "/usr/bin/python3", "-c", ECHO], stdout=subprocess.PIPE, text=True)
    assert echo.stdout.readline() == "ready\n"
    lo6 = not [w for w in net_engine.http.get("/networks/reachability").json["Warnings"] if BPF in w]
    talk = Talk(outside, outside.gateway, 18162)
    try:
        number = bindings(b)[1][1]
        for _ in range(2):
            assert bindings(b) == [("0.0.0.0", 18161), ("0.0.0.0", number)] and talk.lives()
            assert not lo6 or reached(net_engine.netns, "[::1]", 18161, "late")
            assert not reached(outside, f"[{outside.gateway6}]", 18161, "late", timeout=0.5)
            nets.connect("tg-six", b)
            assert bindings(b) == [("0.0.0.0", 18161), ("::", 18161), ("0.0.0.0", number), ("::", number)] and talk.lives()
            assert rows(net_engine, b)[("::", number)] == six(b, "six") and rows(net_engine, b)[("0.0.0.0", number)] == ip(b, "tg-four")
            for at in (outside.gateway, f"[{outside.gateway6}]"):
                assert reached(outside, at, 18161, "late") and reached(outside, at, number, "late"), at
            assert reached(net_engine.netns, "[::1]", number, "late")
            nets.disconnect("tg-six", b)
        nets.connect("tg-six", b)
        flow6 = Talk(outside, outside.gateway6, 18162)
        nets.disconnect("tg-four", b)
        assert bindings(b) == [("::", 18161), ("::", number)] and flow6.lives()
        assert is_free(net_engine.netns, "0.0.0.0", 18161) and not is_free(net_engine.netns, "::", 18161)
        flow6.close()
    finally:
        talk.close()
        echo.kill()
        echo.communicate()


@pytest.mark.caisson
def test_ports_follow_each_gateway_without_a_gap(net_engine, nets, net_boxes, outside):
    """A network with a higher priority for both families comes and goes: what is established goes on, and the port is closed at no moment."""
    b = server(net_boxes, "moving", network="tg-four", Host=publish(p80_tcp={"HostPort": "18163"}, p7000_tcp={"HostPort": "18164"}), **on(four=5, six=3))
    echo = subprocess.Popen(["nsenter", "--net", "-t", str(b.pid), "/usr/bin/python3", "-c", ECHO], stdout=subprocess.PIPE, text=True)
    assert echo.stdout.readline() == "ready\n"
    hosts = outside.gateway, outside.gateway6
    both = [("0.0.0.0", 18163), ("::", 18163)]
    talks = [Talk(outside, at, 18164) for at in hosts]
    at_home = {"0.0.0.0": ip(b, "tg-four"), "::": six(b, "six")}
    leads = lambda: {host: to for (host, port), to in rows(net_engine, b).items() if port == 18163}
    try:
        assert bindings(b) == both and leads() == at_home and all(t.lives() for t in talks)
        for _ in range(3):
            knocks = [Knock(outside, at, 18164) for at in hosts]
            nets.connect("tg-both", b, GwPriority=9)
            assert bindings(b) == both and leads() == {"0.0.0.0": ip(b, "tg-both"), "::": six(b, "both")}
            assert all(t.lives() for t in talks)
            for k in knocks:
                tries, refused, lost = k.end()
                assert tries >= 8 and not refused and not lost, (tries, refused, lost)
            knocks = [Knock(outside, at, 18164) for at in hosts]
            nets.disconnect("tg-both", b)
            assert leads() == at_home and all(t.lives() for t in talks)
            for k in knocks:    # what was on its way by the network that left is lost
                tries, refused, lost = k.end()
                assert tries >= 8 and not refused and lost <= 1, (tries, refused, lost)
        nets.connect("tg-both", b, GwPriority=4)     # between the two: one family only
        assert leads() == {"0.0.0.0": ip(b, "tg-four"), "::": six(b, "both")}
        assert all(t.lives() for t in talks)
        assert reached(outside, outside.gateway, 18163, "moving") and reached(outside, f"[{outside.gateway6}]", 18163, "moving")
    finally:
        for t in talks:
            t.close()
        echo.kill()
        echo.communicate()


@pytest.mark.caisson
def test_a_port_that_one_family_cannot_have(net_engine, nets, net_boxes):
    """Nothing stays reserved, and what can be chosen is free in both."""
    host = net_engine.netns
    want = net_boxes.create("exec sleep 1000", network="tg-four", name="tg-wants", Host=publish(p80_tcp={"HostPort": "18165"}, p81_tcp={"HostPort": "18166"}), **on(four=1, six=0))
    for address in ("::", "0.0.0.0"):
        stranger = Stranger(host, address, 18166)
        a = want.post("start")
        shown = "[::]" if address == "::" else address
        assert a.status == 500 and f"failed to bind host port for {shown}:18166/tcp: address already in use" in a.message and "held by python3" in a.message, a
        for at in ("0.0.0.0", "::"):
            assert is_free(host, at, 18165)
        stranger.close()
        assert is_free(host, "0.0.0.0", 18166) and is_free(host, "::", 18166)
        assert not rows(net_engine, want)
    assert want.post("start").status == 204
    second = net_boxes.create("true", network="tg-six", Host=publish(p80_tcp={"HostIp": "::1", "HostPort": "18165"}))
    a = second.post("start")
    assert a.status == 500 and "Bind for [::1]:18165 failed: port is already allocated" in a.message and "tg-wants" in a.message, a
    stranger = Stranger(host, "::", 18170)
    ranged = net_boxes.sleeper(network="tg-four", Host=publish(p80_tcp={"HostPort": "18170-18172"}), **on(four=1, six=0))
    assert bindings(ranged) == [("0.0.0.0", 18171), ("::", 18171)]
    assert is_free(host, "0.0.0.0", 18170)
    stranger.close()


@pytest.mark.caisson
def test_a_connect_that_cannot_have_the_ports(net_engine, nets, net_boxes, outside):
    b = server(net_boxes, "stays", network="tg-six", Host=publish(p80_tcp={"HostPort": "18173"}, p81_tcp={"HostPort": ""}))
    before = settings(b)
    stranger = Stranger(net_engine.netns, "0.0.0.0", 18173)
    a = net_engine.http.post("/networks/tg-four/connect", body={"Container": b.id, "EndpointConfig": {"GwPriority": 9}})
    assert a.status >= 400 and "driver failed programming external connectivity" in a.message and "0.0.0.0:18173" in a.message, a
    assert settings(b) == before and reached(outside, f"[{outside.gateway6}]", 18173, "stays")
    number = bindings(b, "81/tcp")[0][1]
    assert is_free(net_engine.netns, "0.0.0.0", number) and not is_free(net_engine.netns, "::", number)
    stranger.close()
    nets.connect("tg-four", b, GwPriority=9)
    assert bindings(b) == [("0.0.0.0", 18173), ("::", 18173)] and bindings(b, "81/tcp") == [("0.0.0.0", number), ("::", number)]
    assert reached(outside, outside.gateway, 18173, "stays")


@pytest.mark.caisson
def test_an_address_that_nothing_leads_to_any_more(net_engine, nets, net_boxes):
    """It is published again as soon as something does."""
    b = server(net_boxes, "one", network="tg-four", Host=publish(p80_tcp=[{"HostIp": "127.0.0.1", "HostPort": "18174"}, {"HostIp": "::1", "HostPort": "18174"}]), **on(four=1, six=0))
    both = [("127.0.0.1", 18174), ("::1", 18174)]
    assert bindings(b) == both
    nets.disconnect("tg-six", b)
    assert bindings(b) == both[:1] and is_free(net_engine.netns, "::1", 18174)
    assert reached(net_engine.netns, "127.0.0.1", 18174, "one") and not reached(net_engine.netns, "[::1]", 18174, "one", timeout=0.5)
    nets.connect("tg-both", b, GwPriority=-1)
    assert bindings(b) == both and reached(net_engine.netns, "[::1]", 18174, "one")
    assert rows(net_engine, b)[("127.0.0.1", 18174)] == ip(b, "tg-four")


@pytest.mark.caisson
def test_each_network_says_its_own_default_address(networks, nets, net_boxes):
    networks.subnet("tg-local", "10.121.4.0/24", Options={"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"})
    b = net_boxes.sleeper(network="tg-local", Host=publish(p80_tcp={"HostPort": "18175"}), **on(local=1, six=0))
    assert bindings(b) == [("127.0.0.1", 18175), ("::", 18175)]


@pytest.mark.caisson
def test_an_isolated_network_leads_nowhere(net_engine, networks, nets, net_boxes):
    """Its IPv6 is no way out: ::1 is still the IPv4 address's."""
    networks.subnet("tg-inner", "fd00:121:5::/64", EnableIPv4=False, EnableIPv6=True, Internal=True)
    b = server(net_boxes, "inner", network="tg-four", Host=publish(p80_tcp={"HostPort": "18176"}), **on(four=0, inner=7))
    assert bindings(b) == [("0.0.0.0", 18176)]
    if not [w for w in net_engine.http.get("/networks/reachability").json["Warnings"] if BPF in w]:
        assert reached(net_engine.netns, "[::1]", 18176, "inner")


@pytest.mark.caisson
def test_an_interface_without_ipv6_on_a_network_with_it(nets, net_boxes, net_engine):
    """What the network promises its own sysctl takes away: the other one has IPv6."""
    body = on(both=5, six=0)
    body["NetworkingConfig"]["EndpointsConfig"]["tg-both"]["DriverOpts"] = {"com.docker.network.endpoint.sysctls": "net.ipv6.conf.IFNAME.disable_ipv6=1"}
    b = server(net_boxes, "mixed", network="tg-both", Host=publish(p80_tcp=[{"HostPort": "18177"}, {"HostPort": ""}]), **body)
    number = bindings(b)[2][1]
    assert bindings(b) == [("0.0.0.0", 18177), ("::", 18177), ("0.0.0.0", number), ("::", number)]
    assert rows(net_engine, b)[("::", 18177)] == six(b, "six")
    assert reached(net_engine.netns, "[::1]", number, "mixed") and reached(net_engine.netns, "127.0.0.1", 18177, "mixed")


@pytest.mark.caisson
def test_a_restart_of_the_engine(fresh):
    """Both ways are served while nobody is there, and the next engine knows who has what."""
    from box import Boxes, Networks
    eng = fresh(netns=True)
    boxes, nets = Boxes(eng), Networks(eng)
    outside = eng.netns.neighbour()
    nets.subnet("tg-four", "10.121.1.0/24")
    nets.subnet("tg-both", ["10.121.3.0/24", "fd00:121:3::/64"], EnableIPv6=True)
    b = server(boxes, "again", network="tg-four", Host=publish(p80_tcp=[{"HostPort": "18178"}, {"HostPort": ""}]), **on(four=2, both=1))
    before, there = settings(b), rows(eng, b)
    assert len(bindings(b)) == 4 and len(there) == 4
    failures, stop = [], threading.Event()

    def traffic():
        while not stop.is_set():
            failures.extend(at for at in (outside.gateway, f"[{outside.gateway6}]") if not reached(outside, at, 18178, "again", timeout=3))
    t = threading.Thread(target=traffic)
    t.start()
    try:
        for graceful in (False, True):
            eng.restart(graceful=graceful)
            assert settings(b) == before and rows(eng, b) == there
            assert not is_free(eng.netns, "0.0.0.0", 18178) and not is_free(eng.netns, "::", 18178)
    finally:
        stop.set()
        t.join()
    assert not failures
    nets.disconnect("tg-both", b)
    assert bindings(b) == [p for p in [(h["HostIp"], int(h["HostPort"])) for h in before["Ports"]["80/tcp"]] if p[0] == "0.0.0.0"]
    assert not reached(outside, f"[{outside.gateway6}]", 18178, "again", timeout=0.5) and reached(outside, outside.gateway, 18178, "again")
    b.rm()
    assert is_free(eng.netns, "0.0.0.0", 18178) and is_free(eng.netns, "::", 18178)
    outside.close()
