# SPDX-License-Identifier: Apache-2.0
"""Advisories and promises about networks, seen from containers and from a neighbour of the host. docs/security.md names these tests."""
import json
import subprocess
from pathlib import Path

import caisson_fixture as fx
from box import Boxes, create
from netns import fetch, in_netns, lookup
from test_containers_net import ip, publish, server


# Says what it is asked for, and that there is no such name.
ASKED = """import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 53))
print("ready", flush=True)
while True:
    m, a = s.recvfrom(999)
    print(m, flush=True)
    s.sendto(m[:2] + b"\\x81\\x83" + m[4:], a)
"""


def test_cve_2024_29018_internal_networks_ask_nobody_outside():
    """A query from a container on internal networks only must not reach the host's resolver; that of another does."""
    eng = fx.Engine(netns=True)
    try:
        # whoever the host asks, he is here now
        servers = {w[1] for f in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf") if Path(f).exists() for w in map(str.split, Path(f).read_text().splitlines())
                   if w[:1] == ["nameserver"] and "." in w[1]}
        for address in servers:
            if not address.startswith("127."):
                eng.netns.run("ip", "addr", "add", address + "/32", "dev", "lo")
        eng.start().prepare()
        asked = eng.netns.popen("/usr/bin/python3", "-uc", ASKED, stdout=subprocess.PIPE, text=True)
        assert asked.stdout.readline() == "ready\n"
        boxes = Boxes(eng)
        eng.http.post("/networks/create", body={"Name": "inner", "Internal": True})
        eng.http.post("/networks/create", body={"Name": "outer"})
        box, peer, other = boxes.sleeper(network="inner"), boxes.sleeper(network="inner", name="peer"), boxes.sleeper(network="outer")
        assert lookup(box, "peer") == [ip(peer, "inner")]
        assert lookup(box, "secret.example.com") == []
        assert not servers or lookup(other, "open.example.com") == []
        asked.kill()
        text = asked.communicate()[0]
        assert "secret" not in text and ("open" in text or not servers), (text, servers)
    finally:
        eng.close()


def test_a_loopback_port_stays_there_after_the_hosts_rules_were_flushed(net_engine, networks, net_boxes):
    """CVE-2025-54388, -54410: a firewall's reload must neither open what is published on 127.0.0.1, nor join networks."""
    outside = net_engine.netns.neighbour()
    try:
        networks.subnet("apart", "10.84.0.0/24")
        stranger, other = net_boxes.sleeper(network="apart"), server(net_boxes, "other", network="apart")
        secret = server(net_boxes, "secret", network="bridge", Host=publish(p80_tcp={"HostIp": "127.0.0.1", "HostPort": "18500"}))
        server(net_boxes, "open", network="bridge", Host=publish(p80_tcp={"HostPort": "18501"}))
        outside.run("ip", "route", "add", "172.17.0.0/16", "via", outside.gateway)
        net_engine.netns.run("nft", "flush", "ruleset")
        fx.wait_for(lambda: outside.fetch(f"http://{outside.gateway}:18501/", check=False) == "open\n", what="our table again")
        assert outside.fetch(f"http://{outside.gateway}:18500/", check=False, timeout=1) is None
        assert outside.fetch(f"http://{ip(secret)}/", check=False, timeout=1) is None       # by the route from above
        assert fetch(stranger, f"http://{ip(secret)}/", timeout=1) is None
        assert fetch(stranger, f"http://{ip(other, 'apart')}/") == "other"
        assert net_engine.netns.fetch("http://127.0.0.1:18500/") == "secret\n"
    finally:
        outside.close()


def test_neighbours_do_not_reach_containers_by_routes(net_engine, net_boxes):
    """CVE-2020-13401's kin and CVE-2025-54388: who has a route to the bridge gets no unpublished port."""
    outside = net_engine.netns.neighbour()
    try:
        web = server(net_boxes, "unpublished", network="bridge")
        outside.run("ip", "route", "add", "172.17.0.0/16", "via", outside.gateway)
        assert outside.fetch(f"http://{ip(web)}/", check=False, timeout=1) is None
        assert net_engine.netns.fetch(f"http://{ip(web)}/") == "unpublished\n"
    finally:
        outside.close()


def test_containers_do_not_reach_the_hosts_loopback(net_engine, net_boxes):
    listener = net_engine.netns.popen("busybox", "httpd", "-f", "-p", "127.0.0.1:18502", "-h", "/etc")
    try:
        fx.wait_for(lambda: net_engine.netns.fetch("http://127.0.0.1:18502/hostname", check=False) is not None, what="the listener")
        box = net_boxes.sleeper(network="bridge", CapAdd=["NET_ADMIN"])
        in_netns(box.pid, "ip", "route", "add", "127.0.0.0/8", "via", "172.17.0.1")
        for address in ("172.17.0.1", "127.0.0.1"):
            assert fetch(box, f"http://{address}:18502/hostname", timeout=1) is None
    finally:
        listener.kill()
        listener.wait()


def test_no_spoofing_without_icc(networks, net_boxes):
    """On a network whose containers may not talk to each other nobody answers for somebody else's address."""
    networks.subnet("quiet", "10.85.0.0/24", Options={"com.docker.network.bridge.enable_icc": "false"})
    victim, evil = net_boxes.sleeper(network="quiet"), net_boxes.sleeper(network="quiet")
    assert evil.exec("ping -c1 -W2 10.85.0.1")[0] == 0
    in_netns(evil.pid, "ip", "addr", "add", ip(victim, "quiet") + "/32", "dev", "eth0")
    assert in_netns(evil.pid, "busybox", "ping", "-c1", "-W1", "-I", ip(victim, "quiet"), "10.85.0.1").returncode != 0


FORGE = """
import socket, sys
mac = bytes.fromhex(sys.argv[1].replace(":", ""))
victim, claimed, at = bytes.fromhex(sys.argv[2].replace(":", "")), socket.inet_aton(sys.argv[3]), socket.inet_aton(sys.argv[4])
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
s.send(victim + mac + bytes.fromhex("08060001080006040002") + mac + claimed + victim + at)
"""


def forges(evil, victim, net, gateway):
    """Whether `evil` makes `victim` believe that it is the gateway."""
    def known():
        for n in in_netns(victim.pid, "ip", "neigh", "show", gateway).stdout.splitlines():
            return n.split("lladdr ")[1].split()[0] if "lladdr" in n else None
    mac = {b: b.inspect()["NetworkSettings"]["Networks"][net]["MacAddress"] for b in (evil, victim)}
    in_netns(victim.pid, "sysctl", "-qw", "net.ipv4.neigh.eth0.locktime=0")      # else the kernel keeps for a second what it has just learnt
    in_netns(victim.pid, "ip", "neigh", "flush", "dev", "eth0")
    assert victim.exec(f"ping -c1 -W3 {gateway}")[0] == 0
    before = known()
    assert before and before != mac[evil]
    done = in_netns(evil.pid, "/usr/bin/python3", "-c", FORGE, mac[evil], mac[victim], gateway, ip(victim, net))
    assert done.returncode == 0, done.stderr
    assert victim.exec(f"ping -c1 -W3 {ip(evil, net)}")[0] == 0      # what was sent before this has come
    return known() == mac[evil]


def test_nobody_forges_arp(networks, net_boxes):
    """CAP_NET_RAW is among the default capabilities; the policy holds where there is no CAP_NET_ADMIN and nobody has switched it off."""
    networks.subnet("town", "10.86.0.0/24")
    option = "caisson.network.endpoint.antispoof"
    victim = net_boxes.sleeper(network="town")

    def box(value=None, **host):
        more = {"NetworkingConfig": {"EndpointsConfig": {"town": {"DriverOpts": {option: value}}}}} if value else {}
        return net_boxes.sleeper(network="town", Host=host, **more)
    for evil, expected in ((box(), False), (box(CapAdd=["NET_ADMIN"]), True), (box(CapAdd=["ALL"], CapDrop=["NET_ADMIN"]), False), (box(Privileged=True), True),
                           (box("false"), True), (box("true", CapAdd=["NET_ADMIN"]), False)):
        assert forges(evil, victim, "town", "10.86.0.1") == expected
    a = create(net_boxes.engine, "true", network="town", NetworkingConfig={"EndpointsConfig": {"town": {"DriverOpts": {option: "perhaps"}}}})
    assert a.status == 400 and "invalid value for " + option in a.message


def test_reachability(net_engine, net_boxes):
    b = net_boxes.sleeper(network="bridge", name="reach-box", Host=publish(p80_tcp={"HostIp": "127.0.0.1", "HostPort": "18503"}, p81_tcp={"HostPort": "18504"}))
    report = net_engine.http.get("/networks/reachability").json
    rows = {p["HostPort"]: p for p in report["Ports"]}
    assert rows[18503]["ReachableFrom"] == ["host"] and rows[18504]["ReachableFrom"] == ["host", "containers", "outside"]
    assert rows[18503]["Name"] == "reach-box" and rows[18503]["Address"] == ip(b) and report["Intact"] and report["HostChains"] == []
    assert b.post("rename", {"name": "reach-renamed"}).status == 204
    assert {p["Name"] for p in net_engine.http.get("/networks/reachability").json["Ports"] if p["HostPort"] in rows} == {"reach-renamed"}
    net_engine.netns.run("nft", "-f", "-", stdin="table inet other { chain f { type filter hook forward priority 0; policy drop; }; }")
    try:
        report = net_engine.http.get("/networks/reachability").json
        assert [c["Table"] for c in report["HostChains"]] == ["other"] and any("inet other f" in w for w in report["Warnings"])
        shown = subprocess.run([str(fx.BUILD / "caisson"), "-H", "unix://" + net_engine.sock, "network", "reachability"], capture_output=True, text=True, check=True)
        assert "127.0.0.1:18503" in shown.stdout and "reach-renamed" in shown.stdout and "drops (policy): inet other f, hook forward" in shown.stdout
        assert "WARNING: the host's firewall (chain inet other f) drops forwarded traffic" in shown.stderr
        for given, expected in (("json", report), ("{{range .Ports}}{{println .HostPort .ReachableFrom}}{{end}}", "18503 [host]\n18504 [host containers outside]\n\n")):
            text = subprocess.run([str(fx.BUILD / "caisson"), "-H", "unix://" + net_engine.sock, "network", "reachability", "--format", given], capture_output=True, text=True,
                                  check=True).stdout
            assert (json.loads(text) if given == "json" else text) == expected
    finally:
        net_engine.netns.run("nft", "delete", "table", "inet", "other")


def test_hostile_network_requests(net_engine, networks):
    """Whatever is in a request, the answer is a refusal, not a crash, and nothing is left of it."""
    bad = ["x" * 300, "a\nb", {"a": 1}, ["x"], 7, None]
    before = net_engine.http.get("/networks").json
    for v in bad:
        for body in ({"Name": v}, {"Name": "h", "Driver": v}, {"Name": "h", "IPAM": {"Config": [{"Subnet": v}]}}, {"Name": "h", "Options": {"com.docker.network.bridge.name": v}},
                     {"Name": "h", "IPAM": v}, {"Name": "h", "ConfigFrom": v}, {"Name": "h", "Labels": v}):
            a = net_engine.http.post("/networks/create", body=body)
            assert a.status in (201, 400, 404), (body, a)
            if a.status == 201:
                net_engine.http.delete("/networks/" + a.json["Id"])
    for subnet in ("0.0.0.0/0", "127.0.0.0/8", "224.0.0.0/4", "10.0.0.0/32", "::/0", "fe80::/64", "::1/128", "255.255.255.255/32", "169.254.0.0/16"):
        a = net_engine.http.post("/networks/create", body={"Name": "h", "EnableIPv6": True, "IPAM": {"Config": [{"Subnet": subnet}]}})
        assert a.status in (201, 400, 403), (subnet, a)
        if a.status == 201:
            net_engine.http.delete("/networks/" + a.json["Id"])
    for ref in ("%2e%2e", "a%2fb", "x" * 5000, "%00"):
        assert net_engine.http.get("/networks/" + ref).status in (400, 404, 414)
    assert net_engine.http.get("/networks").json == before


def test_a_foreign_bridge_is_not_taken(net_engine, networks):
    """A network may be put on a bridge that is there; removing the network must not remove it, nor somebody else's interface."""
    net_engine.netns.run("ip", "link", "add", "host-br", "type", "bridge")
    try:
        ident = networks.create("on-host-br", Options={"com.docker.network.bridge.name": "host-br"}, IPAM={"Config": [{"Subnet": "10.86.0.0/24"}]})
        assert net_engine.http.delete("/networks/" + ident).status == 204
        assert "host-br" in net_engine.netns.links()
        a = net_engine.http.post("/networks/create", body={"Name": "on-lo", "Options": {"com.docker.network.bridge.name": "lo"}})
        assert a.status in (400, 403, 409, 500) and "lo" in net_engine.netns.links(), a
    finally:
        net_engine.netns.run("ip", "link", "del", "host-br", check=False)


GROUP = r"""
import socket, struct, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))

def sum16(b):
    n = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    while n >> 16:
        n = (n >> 16) + (n & 0xffff)
    return ~n & 0xffff

def packet(source, to):
    word = b"by group"
    if ":" in to:
        ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, to)
        udp = struct.pack("!HHH", 5000, 18505, 16)
        return b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, 16, 17, 64) + ends + udp + struct.pack("!H", sum16(ends + struct.pack("!II", 16, 17) + udp + b"\0\0" + word)) + word
    head = struct.pack("!BBHHHBB", 0x45, 0, 36, 1, 0, 64, 17)
    ends = socket.inet_aton(source) + socket.inet_aton(to)
    return b"\x08\0" + head + struct.pack("!H", sum16(head + b"\0\0" + ends)) + ends + struct.pack("!HHHH", 5000, 18505, 16, 0) + word

for end in sys.argv[1:]:
    source, to = end.split("-")
    for group in [s.getsockname()[4]] + [bytes.fromhex("0180c20000%02x" % last) for last in range(16)]:
        s.send((group if group[0] & 1 else b"\xff" * 6) + s.getsockname()[4] + packet(source, to))
"""
HEARD = """
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", 18505))
print("ready", flush=True)
while (got := s.recvfrom(100))[0] != b"end":
    print(got, flush=True)
"""


def test_no_way_past_the_bridge(net_engine, networks, net_boxes):
    """Frames to the bridge's own group (IEEE 802.1D, 01-80-C2-00-00-0x) go to the port itself, past all that looks at what comes into a bridge."""
    net_engine.netns.run("ip", "addr", "add", "192.0.2.99/32", "dev", "lo")
    net_engine.netns.run("ip", "addr", "add", "fd87::99/128", "dev", "lo")
    body = {"EnableIPv6": True, "Internal": True, "IPAM": {"Config": [{"Subnet": "10.87.0.0/24"}, {"Subnet": "fd87:1::/64"}]}}
    try:
        networks.create("grouped", **body)
        victim, evil, admin = (net_boxes.sleeper(network="grouped", Host={"CapAdd": caps}) for caps in ([], [], ["NET_ADMIN"]))
        for rp_filter in "0", "2":
            net_engine.netns.run("sysctl", "-qw", f"net.ipv4.conf.all.rp_filter={rp_filter}")
            listener = net_engine.netns.popen("/usr/bin/python3", "-c", HEARD, stdout=subprocess.PIPE, text=True)
            assert listener.stdout.readline() == "ready\n"
            six = lambda b: b.inspect()["NetworkSettings"]["Networks"]["grouped"]["GlobalIPv6Address"]
            for box, *ends in ((evil, f"{ip(victim, 'grouped')}-10.87.0.1", f"{six(victim)}-fd87:1::1"), (admin, f"{ip(admin, 'grouped')}-192.0.2.99", f"{six(admin)}-fd87::99")):
                done = in_netns(box.pid, "/usr/bin/python3", "-c", GROUP, *ends)
                assert done.returncode == 0, done.stderr
            net_engine.netns.run("/usr/bin/python3", "-c", "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'end', ('127.0.0.1', 18505))")
            heard = listener.stdout.read()
            assert heard == "", heard
            listener.wait()
    finally:
        net_engine.netns.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")
        net_engine.netns.run("ip", "addr", "del", "192.0.2.99/32", "dev", "lo")
        net_engine.netns.run("ip", "addr", "del", "fd87::99/128", "dev", "lo")


def test_a_macvlan_without_a_parent_does_not_reach_the_host(net_engine, networks, net_boxes):
    """It has a link of its own, whose other end is the host's."""
    networks.subnet("nowhere", ["10.88.0.0/24", "fd88::/64"], Driver="macvlan", EnableIPv6=True)
    for address in "192.0.2.98/32", "fd87::98/128":
        net_engine.netns.run("ip", "addr", "add", address, "dev", "lo")
    try:
        box = net_boxes.sleeper(network="nowhere", Host={"CapAdd": ["NET_ADMIN"]})
        stub = next(mac for name, mac in ((l["ifname"], l["address"]) for l in net_engine.netns.links().values()) if name.startswith("dn-"))
        for rp_filter in "0", "2":
            net_engine.netns.run("sysctl", "-qw", f"net.ipv4.conf.all.rp_filter={rp_filter}")
            net_engine.netns.run("ip", "route", "replace", "10.88.0.0/24", "dev", "lo")      # loosely it is there
            listener = net_engine.netns.popen("/usr/bin/python3", "-c", HEARD, stdout=subprocess.PIPE, text=True)
            assert listener.stdout.readline() == "ready\n"
            for to in "192.0.2.98", "fd87::98":
                in_netns(box.pid, "ip", "route", "replace", to, "dev", "eth0")
                in_netns(box.pid, "/usr/bin/python3", "-c", f"import socket; socket.socket(socket.AF_INET{6 if ':' in to else ''}, socket.SOCK_DGRAM).sendto(b'by name', ('{to}', 18505))")
            in_netns(box.pid, "/usr/bin/python3", "-c", GROUP, f"{ip(box, 'nowhere')}-192.0.2.98", "fd88::9-fd87::98")
            net_engine.netns.run("/usr/bin/python3", "-c", "import socket, time; time.sleep(0.3); socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'end', ('127.0.0.1', 18505))")
            heard = listener.stdout.read()
            assert heard == "", heard
            listener.wait()
            assert stub not in in_netns(box.pid, "ip", "neigh").stdout
    finally:
        net_engine.netns.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")
        net_engine.netns.run("ip", "route", "del", "10.88.0.0/24", "dev", "lo")
        for address in "192.0.2.98/32", "fd87::98/128":
            net_engine.netns.run("ip", "addr", "del", address, "dev", "lo")
