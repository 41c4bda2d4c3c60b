# SPDX-License-Identifier: Apache-2.0
"""Published ports as somebody meets them who has run into each of Docker's old bugs with them."""
import json
import socket
import subprocess
import threading
import time

import caisson_fixture as fx
from box import Boxes, Networks
from netns import fetch, in_netns
from test_containers_net import ip, publish, server, settings
from unixhttp import TIME_FACTOR

SLEEP = ["sleep", "1000"]
# Answers each datagram with its word, the client's address and port; ends with its input.
UDP = r"""
import socket, sys
s = socket.socket(socket.AF_INET6 if sys.argv[3] == "6" else socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", int(sys.argv[1])))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(65000)
    s.sendto(f"{sys.argv[2]} {peer[0]} {peer[1]} {len(data)}".encode(), peer)
"""
# One socket with a fixed port: a line in, a datagram out, the answer (and from whom) or "-" back.
ASK = r"""
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", int(sys.argv[1])))
s.settimeout(0.3)
for line in sys.stdin:
    host, port, size = line.split()
    s.sendto(b"x" * int(size), (host, int(port)))
    try:
        data, peer = s.recvfrom(65000)
        print(data.decode(), peer[0], peer[1], flush=True)
    except OSError:
        print("-", flush=True)
"""


class Asker:
    def __init__(self, place, port=40001):
        self.p = place.popen("/usr/bin/python3", "-c", ASK, str(port), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, host, port, size=10):
        self.p.stdin.write(f"{host} {port} {size}\n")
        self.p.stdin.flush()
        return self.p.stdout.readline().split()

    def close(self):
        self.p.stdin.close()
        self.p.wait()
        self.p.stdout.close()


def udp_server(box, word, port=53, family="4"):
    p = subprocess.Popen(["nsenter", "--net", "-t", str(box.pid), "--", "/usr/bin/python3", "-c", UDP, str(port), word, family],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert p.stdout.readline() == "ready\n"
    return p


def end(*processes):
    for p in processes:
        p.kill()
        p.wait()
        p.stdout.close()


def test_udp_keeps_the_client_and_its_answers_come_from_the_port(net_engine, net_boxes):
    outside = net_engine.netns.neighbour()
    b = net_boxes.start(SLEEP, network="bridge", Host=publish(p53_udp={"HostPort": "18610"}))
    s, ask = udp_server(b, "one"), Asker(outside)
    try:
        fx.wait_for(lambda: ask(outside.gateway, 18610)[0] == "one", what="the port")
        assert ask(outside.gateway, 18610) == ["one", outside.address, "40001", "10", outside.gateway, "18610"]
        assert ask(outside.gateway, 18610, 20000)[3] == "20000"        # in fragments
        home = Asker(net_engine.netns)
        try:
            assert home("127.0.0.1", 18610)[-2:] == ["127.0.0.1", "18610"]
        finally:
            home.close()
    finally:
        ask.close()
        end(s)
        outside.close()


def test_udp_clients_follow_the_container(net_engine, net_boxes):
    """A client that never pauses meets a port before it is published, then one container, then another: what conntrack remembers of the last one
    must not keep it there (moby#8795, #15127)."""
    outside = net_engine.netns.neighbour()
    ask = Asker(outside)
    made = []
    try:
        assert ask(outside.gateway, 18611) == ["-"]     # an entry of conntrack for the host itself
        a = net_boxes.start(SLEEP, network="bridge", Host=publish(p53_udp={"HostPort": "18611"}))
        made.append(udp_server(a, "first"))
        fx.wait_for(lambda: ask(outside.gateway, 18611)[0] == "first", timeout=5, what="the first one")
        a.rm()
        ask(outside.gateway, 18611)
        b = net_boxes.start(SLEEP, network="bridge", Host=publish(p53_udp={"HostPort": "18611"}))
        assert ip(b)
        made.append(udp_server(b, "second"))
        fx.wait_for(lambda: ask(outside.gateway, 18611)[0] == "second", timeout=5, what="the second one")
        net_engine.restart()
        assert ask(outside.gateway, 18611)[0] == "second"
    finally:
        ask.close()
        end(*made)
        outside.close()


def test_what_was_asked_for_holds_after_the_daemon(fresh):
    """0.0.0.0 is not all addresses: neither before nor after a restart of the daemon is such a port open for IPv6. Nor the other way round."""
    eng = fresh(netns=True)
    boxes = Boxes(eng)
    eng.http.post("/networks/create", body={"Name": "dual", "EnableIPv6": True})
    boxes_of = {"0.0.0.0": server(boxes, "four", network="dual", Host=publish(p80_tcp={"HostIp": "0.0.0.0", "HostPort": "18620"})),
                "::": server(boxes, "six", network="dual", Host=publish(p80_tcp={"HostIp": "::", "HostPort": "18621"})),
                "": server(boxes, "both", network="dual", Host=publish(p80_tcp={"HostPort": "18622"}))}

    def look():
        return ([[(p["HostIp"], p["HostPort"]) for p in settings(b)["Ports"]["80/tcp"]] for b in boxes_of.values()],
                [(eng.netns.fetch(f"http://127.0.0.1:{p}/", check=False, timeout=1), eng.netns.fetch(f"http://[::1]:{p}/", check=False, timeout=1)) for p in (18620, 18621, 18622)])
    want = ([[("0.0.0.0", "18620")], [("::", "18621")], [("0.0.0.0", "18622"), ("::", "18622")]],
            [("four\n", None), (None, "six\n"), ("both\n", "both\n")])
    fx.wait_for(lambda: look()[1] == want[1], what=f"the ports: {look()}")
    assert look() == want
    eng.restart()
    assert look() == want
    eng.restart(graceful=True)
    assert look() == want


def test_each_family_is_published_where_it_has_its_way_out(fresh):
    """A network that comes first and has no IPv6 does not keep another's from being published (moby's TestAllPortMappingsAreReturned)."""
    eng = fresh(netns=True)
    nets, boxes = Networks(eng), Boxes(eng)
    outside = eng.netns.neighbour()
    nets.subnet("a-four", "10.66.0.0/24")
    nets.subnet("b-six", "fd00:66::/64", EnableIPv4=False, EnableIPv6=True)
    both = [{"HostIp": "0.0.0.0", "HostPort": "18640"}, {"HostIp": "::", "HostPort": "18640"}]
    nets_of = {"EndpointsConfig": {"a-four": {}, "b-six": {}}}
    b = server(boxes, "families", network="a-four", NetworkingConfig=nets_of, ExposedPorts={"80/tcp": {}, "81/tcp": {}},
               Host=publish(p80_tcp={"HostPort": "18640"}))
    named = server(boxes, "named", network="a-four", NetworkingConfig=nets_of,
                   Host=publish(p80_tcp=[{"HostIp": "127.0.0.1", "HostPort": "18641"}, {"HostIp": "::1", "HostPort": "18642"}, {"HostIp": "::", "HostPort": ""}]))

    def reached():
        return (outside.fetch(f"http://{outside.gateway}:18640/", check=False, timeout=1), outside.fetch(f"http://[{outside.gateway6}]:18640/", check=False, timeout=1),
                eng.netns.fetch("http://127.0.0.1:18640/", check=False, timeout=1), eng.netns.fetch("http://[::1]:18640/", check=False, timeout=1))
    try:
        ports = settings(b)["Ports"]
        assert ports == {"80/tcp": both, "81/tcp": None}
        as_named = settings(named)["Ports"]
        assert [p["HostIp"] for p in as_named["80/tcp"]] == ["127.0.0.1", "::1", "::"]
        assert eng.netns.fetch("http://127.0.0.1:18641/") == eng.netns.fetch("http://[::1]:18642/") == "named\n"
        assert reached() == ("families\n",) * 4
        for graceful in False, True:
            eng.restart(graceful=graceful)
            assert settings(b)["Ports"] == ports and settings(named)["Ports"] == as_named and reached() == ("families\n",) * 4
        nets.disconnect("b-six", b)     # what is left has no address for ::1
        assert settings(b)["Ports"]["80/tcp"] == both[:1] and reached()[:3] == ("families\n", None, "families\n")
        nets.connect("b-six", b)
        assert settings(b)["Ports"]["80/tcp"] == both and reached() == ("families\n",) * 4
        nets.disconnect("a-four", b)
        assert settings(b)["Ports"]["80/tcp"] == both[1:] and reached()[:2] == (None, "families\n")
    finally:
        outside.close()


def test_localhost_of_both_families(net_engine, net_boxes):
    """A container has IPv4 only, and still answers at http://localhost/ whichever address that is; not where 0.0.0.0 was asked for, as with dockerd."""
    server(net_boxes, "all", network="bridge", Host=publish(p80_tcp={"HostPort": "18640"}))
    server(net_boxes, "four", network="bridge", Host=publish(p80_tcp={"HostIp": "0.0.0.0", "HostPort": "18641"}))
    server(net_boxes, "here", network="bridge", Host=publish(p80_tcp={"HostIp": "127.0.0.1", "HostPort": "18642"}))
    assert net_engine.netns.fetch("http://[::1]:18640/") == "all\n" and net_engine.netns.fetch("http://127.0.0.1:18640/") == "all\n"
    assert net_engine.netns.fetch("http://[::1]:18641/", check=False) is None and net_engine.netns.fetch("http://127.0.0.1:18641/") == "four\n"
    assert net_engine.netns.fetch("http://[::1]:18642/", check=False) is None and net_engine.netns.fetch("http://127.0.0.1:18642/") == "here\n"
    net_engine.restart()
    assert net_engine.netns.fetch("http://[::1]:18640/") == "all\n"


def test_a_listener_on_loopback6_is_not_taken_the_place_of(net_engine, net_boxes):
    """Whoever has the port of ::1 keeps it: publishing it for all says who it is. With 0.0.0.0 there is no quarrel."""
    code = "import socket; s = socket.create_server(('::1', 18643), family=socket.AF_INET6); print('ready', flush=True); input()"
    own = net_engine.netns.popen("/usr/bin/python3", "-c", code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert own.stdout.readline() == "ready\n"
        r = net_boxes.create(SLEEP, network="bridge", Host=publish(p80_tcp={"HostPort": "18643"})).post("start")
        assert r.status == 500 and "address already in use" in r.message and "[::]:18643" in r.message and "python3" in r.message, r.message
        server(net_boxes, "four", network="bridge", Host=publish(p80_tcp={"HostIp": "0.0.0.0", "HostPort": "18643"}))
    finally:
        own.stdin.close()
        own.wait()
        own.stdout.close()


def test_a_thousand_ports(net_engine, net_boxes):
    """One container with a thousand of them; they all answer to their own port, and all are free afterwards."""
    ports = {f"{p}/tcp": [{"HostPort": str(p)}] for p in range(20000, 21000)}
    b = server(net_boxes, "thousand", port=20500, network="bridge", Host={"PortBindings": ports}, ExposedPorts={p: {} for p in ports})
    assert len(settings(b)["Ports"]) == 1000
    shown = net_engine.cli("ps", "--filter", "id=" + b.id, "--format", "{{.Ports}}", check=True).stdout.strip()
    assert shown == "0.0.0.0:20000-20999->20000-20999/tcp"
    assert net_engine.netns.fetch("http://127.0.0.1:20500/") == "thousand\n"
    assert net_engine.netns.fetch("http://127.0.0.1:20501/", check=False, timeout=1) is None
    other = net_boxes.create(SLEEP, network="bridge", Host=publish(p80_tcp={"HostPort": "20999"}))
    assert other.post("start").status == 500
    b.rm()
    other.start()
    assert "20500" not in net_engine.netns.nft()


def test_a_thousand_ports_move(net_engine, networks, net_boxes):
    """To the network that has the way out, and back; within seconds, since it is one change."""
    networks.subnet("th-a", "10.34.1.0/24")
    networks.subnet("th-b", "10.34.2.0/24")
    ports = {f"{p}/tcp": [{"HostPort": str(p)}] for p in range(20000, 21000)}
    b = server(net_boxes, "thousand", port=20500, network="th-a", Host={"PortBindings": ports})
    before, begin = settings(b)["Ports"], time.monotonic()
    networks.connect("th-b", b, GwPriority=5)
    assert settings(b)["Ports"] == before and net_engine.netns.fetch("http://127.0.0.1:20500/") == "thousand\n"
    networks.disconnect("th-b", b)
    assert settings(b)["Ports"] == before and net_engine.netns.fetch("http://127.0.0.1:20500/") == "thousand\n"
    assert time.monotonic() - begin < 10 * TIME_FACTOR


def test_fixed_ports_come_before_ranges(net_boxes):
    """Docker since 28: who may have any of a range does not take the one that another needs."""
    b = net_boxes.start(SLEEP, network="bridge", Host=publish(p80_tcp={"HostPort": "18640-18641"}, p81_tcp={"HostPort": "18640"}))
    assert {p: v[0]["HostPort"] for p, v in settings(b)["Ports"].items()} == {"80/tcp": "18641", "81/tcp": "18640"}


def test_one_free_port_for_all_addresses(net_engine, net_boxes):
    """Docker since 28: bindings that differ in the address alone get the same number, also after a move."""
    for wanted in ("", "18642-18649"):
        both = {"80/tcp": [{"HostIp": ip_, "HostPort": wanted} for ip_ in ("127.0.0.1", "127.0.0.2")]}
        b = net_boxes.start(SLEEP, network="bridge", Host={"PortBindings": both})
        one, two = settings(b)["Ports"]["80/tcp"]
        assert one["HostPort"] == two["HostPort"] and {one["HostIp"], two["HostIp"]} == {"127.0.0.1", "127.0.0.2"}


def test_the_holder_is_that_of_the_port_in_the_message(net_boxes):
    has = [net_boxes.start(SLEEP, name=f"holds-{n}", network="bridge", Host=publish(**{f"p{n}_tcp": {"HostIp": address, "HostPort": str(n)}}))
           for n, address in ((18652, ""), (18651, ""), (18650, "127.0.0.2"))]
    wants = net_boxes.create(SLEEP, network="bridge", Host=publish(p80_tcp={"HostIp": "127.0.0.1", "HostPort": "18650"}, p81_tcp={"HostPort": "18651"}, p82_tcp={"HostPort": "18652"}))
    a = wants.post("start")
    assert a.status == 500 and "0.0.0.0:18651 failed: port is already allocated (container holds-18651 has it)" in a.message, a
    has[1].rm()
    a = wants.post("start")
    assert "0.0.0.0:18652 failed: port is already allocated (container holds-18652 has it)" in a.message, a


def test_the_holder_is_named_when_a_network_is_connected(networks, net_boxes):
    networks.create("named-in", Internal=True)
    networks.create("named-out")
    net_boxes.start(SLEEP, name="holds-18655", network="bridge", Host=publish(p80_tcp={"HostPort": "18655"}))
    b = net_boxes.start(SLEEP, network="named-in", Host=publish(p80_tcp={"HostPort": "18655"}))   # publishes nothing there
    a = networks.engine.http.post("/networks/named-out/connect", body={"Container": b.id})
    assert a.status == 500 and a.message.startswith("driver failed programming external connectivity on endpoint "), a
    assert a.message.endswith("0.0.0.0:18655 failed: port is already allocated (container holds-18655 has it)"), a
    assert list(settings(b)["Networks"]) == ["named-in"]


def test_restarts_pick_ephemeral_ports_and_keep_fixed_ones(net_engine, net_boxes):
    b = server(net_boxes, "again", network="bridge", Host={**publish(p80_tcp={"HostPort": "18630"}, p81_tcp={"HostPort": ""})})
    for verb in ("restart", "restart"):
        b.post(verb, {"t": 0})
        ports = settings(b)["Ports"]
        assert ports["80/tcp"][0]["HostPort"] == "18630" and int(ports["81/tcp"][0]["HostPort"]) >= 32768
        fx.wait_for(lambda: net_engine.netns.fetch("http://127.0.0.1:18630/", check=False) == "again\n", what="the port")
    assert net_engine.cli("port", b.id, "80", check=True).stdout == "0.0.0.0:18630\n"
    assert net_engine.cli("port", b.id, "99/udp").returncode == 1
    b.kill()
    assert net_engine.cli("port", b.id, check=True).stdout == ""


def test_killed_containers_let_go_of_their_ports(net_engine, net_boxes):
    """Whoever ends in whatever way, the next one gets the port at once."""
    for n in range(12):
        b = net_boxes.start(["sh", "-c", "sleep 1000"], network="bridge", Host={**publish(p80_tcp={"HostPort": "18631"}), "AutoRemove": n % 2 == 0})
        if n % 3 == 0:
            subprocess.run(["kill", "-9", str(b.pid)], check=True)
            b.post("wait", {"condition": "not-running"})
        elif n % 3 == 1:
            b.kill()
        else:
            b.rm()
        fx.wait_for(lambda b=b: not net_engine.http.get(b.url + "/json").body.count(b'"Running":true'), what="the end")


def test_a_race_for_one_port(net_engine, net_boxes):
    """Twelve want it at once: one gets it, the others are told who has it, and it is his."""
    made = [net_boxes.create(SLEEP, network="bridge", name=f"race-{i}", Host=publish(p80_tcp={"HostPort": "18632"})) for i in range(12)]
    answers = {}

    def start(b):
        answers[b.id] = b.post("start")
    threads = [threading.Thread(target=start, args=(b,)) for b in made]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    won = [b for b in made if answers[b.id].status == 204]
    assert len(won) == 1, answers
    assert all("port is already allocated" in answers[b.id].message for b in made if b not in won)
    assert settings(won[0])["Ports"]["80/tcp"] == [{"HostIp": "0.0.0.0", "HostPort": "18632"}]
    won[0].rm()
    fx.wait_for(lambda: not net_engine.network_leaks(), what="no leaks")


def test_ports_of_a_network_that_is_left_and_joined(net_engine, networks, net_boxes):
    """disconnect, connect: the ports are gone, and back, as they were asked for."""
    networks.subnet("pj", "10.45.0.0/24")
    b = server(net_boxes, "joined", network="pj", Host=publish(p80_tcp={"HostPort": "18633"}))
    networks.disconnect("pj", b)
    assert settings(b)["Ports"] == {} and net_engine.netns.fetch("http://127.0.0.1:18633/", check=False, timeout=1) is None
    networks.connect("pj", b)
    assert settings(b)["Ports"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "18633"}]}
    fx.wait_for(lambda: net_engine.netns.fetch("http://127.0.0.1:18633/", check=False) == "joined\n", what="the port")


def test_ports_of_the_host_while_forwarding_is_switched_off(fresh):
    """net.ipv4.ip_forward is switched on for a network; without it nothing but the host reaches a container. The engine that may not do so says it."""
    eng = fx.Engine(netns=True, config={"ip-forward": False})
    try:
        eng.netns.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
        eng.start().prepare()
        b = server(Boxes(eng), "near", network="bridge", Host=publish(p80_tcp={"HostPort": "18634"}))
        assert eng.netns.run("sysctl", "-n", "net.ipv4.ip_forward").stdout == "0\n"
        assert eng.netns.fetch(f"http://{ip(b)}/") == "near\n" and eng.netns.fetch("http://127.0.0.1:18634/") == "near\n"
        assert "IPv4Forwarding" in eng.http.get("/info").json and not eng.http.get("/info").json["IPv4Forwarding"]
    finally:
        eng.close()


def test_a_listener_of_the_host_in_a_foreign_namespace_is_no_hindrance(net_engine, net_boxes):
    """The same port within containers, in the host's network and published elsewhere."""
    a = server(net_boxes, "a", port=18635, network="bridge")
    b = server(net_boxes, "b", port=80, network="bridge", Host=publish(p80_tcp={"HostPort": "18635"}))
    assert net_engine.netns.fetch("http://127.0.0.1:18635/") == "b\n" and net_engine.netns.fetch(f"http://{ip(a)}:18635/") == "a\n"
    host = net_boxes.start("httpd -f -p 18635", network="host")
    assert host.wait() != 0         # the port is held, and its bind is refused
    assert fetch(a, "http://172.17.0.1:18635/") == "b" and b
