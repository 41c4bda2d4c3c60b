# SPDX-License-Identifier: Apache-2.0
"""What options of networks and of the daemon promise, as packets see it from a neighbour of the host, and what a refusal leaves as it was."""
import json
import sqlite3
import subprocess

import pytest

import caisson_fixture as fx
from box import Boxes, Networks, create
from netns import fetch, in_netns, lookup
from test_containers_net import interfaces, ip, publish, server, settings
from test_parent_networks import kernel_has

# says to everybody with which address they come
MIRROR = """
import socket
s = socket.create_server(("", 7777), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    c, peer = s.accept()
    c.sendall(peer[0].removeprefix("::ffff:").encode())
    c.close()
"""
SEEN_AS = 'import socket, sys; print(socket.create_connection((sys.argv[1], 7777), timeout=5).makefile().read())'


@pytest.fixture
def outside(net_engine):
    o = net_engine.netns.neighbour()
    o.mirror = o.popen("/usr/bin/python3", "-c", MIRROR, stdout=subprocess.PIPE, text=True)
    assert o.mirror.stdout.readline() == "ready\n"
    yield o
    o.mirror.kill()
    o.mirror.communicate()
    o.close()


def seen_as(box, address):
    done = in_netns(box.pid, "/usr/bin/python3", "-c", SEEN_AS, address)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def addresses(netns, dev):
    return [a["local"] for a in json.loads(netns.run("ip", "-j", "addr", "show", dev).stdout)[0]["addr_info"]]


# -- addresses ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("driver", ["bridge", "macvlan"])
@pytest.mark.parametrize("option", ["com.docker.network.advertise_addr_nmsgs", "com.docker.network.advertise_addr_ms"])
def test_what_is_not_done_is_said(net_engine, driver, option):
    answer = net_engine.http.post("/networks/create", body={"Name": "undone", "Driver": driver, "Options": {option: "2"}})
    assert answer.status == 501 and option in answer.message


def test_auxiliary_addresses_are_nobodys(networks, net_boxes):
    networks.create("aux", IPAM={"Config": [{"Subnet": "10.110.0.0/29", "AuxiliaryAddresses": {"printer": "10.110.0.2", "nas": "10.110.0.4"}}]})
    boxes = [net_boxes.sleeper(network="aux") for _ in range(3)]
    assert [ip(b, "aux") for b in boxes] == ["10.110.0.3", "10.110.0.5", "10.110.0.6"]
    a = net_boxes.create("true", network="aux").post("start")
    assert "no available IPv4 addresses" in a.message, a
    cfg = {"EndpointsConfig": {"aux": {"IPAMConfig": {"IPv4Address": "10.110.0.4"}}}}
    a = net_boxes.create("true", network="aux", NetworkingConfig=cfg).post("start")
    assert a.status == 403 and "in use" in a.message, a


def test_unique_local_addresses_of_the_default_bridge(fresh):
    """IPv6 on the default bridge, and nothing said of its prefix: one of this host's own, the same with the next daemon."""
    eng = fresh(netns=True, config={"ipv6": True, "dns-opts": ["timeout:3"]})
    b = Boxes(eng).sleeper(network="bridge")
    subnet = eng.http.get("/networks/bridge").json["IPAM"]["Config"][1]["Subnet"]
    assert subnet.startswith("fd") and settings(b, "bridge")["GlobalIPv6Address"].startswith(subnet.split("::")[0])
    assert "options timeout:3" in b.exec("cat /etc/resolv.conf")[1]
    eng.restart()
    assert eng.http.get("/networks/bridge").json["IPAM"]["Config"][1]["Subnet"] == subnet


def test_gateways_of_the_daemon_for_ipv6(fresh):
    eng = fresh(netns=True, config={"ipv6": True, "bip6": "fd00:111::1/64", "default-gateway-v6": "fd00:111::fe"})
    b = Boxes(eng).sleeper(network="bridge")
    assert "default via fd00:111::fe" in b.exec("ip -6 route")[1]
    assert "fd00:111::1" in addresses(eng.netns, next(n for n in eng.netns.links() if n.startswith("csb-")))


def test_names_of_interfaces_and_bridges_without_an_address(net_engine, networks, net_boxes):
    ident = networks.create("lan", IPAM={"Config": [{"Subnet": "10.112.0.0/24"}]},
                            Options={"com.docker.network.container_iface_prefix": "lan", "com.docker.network.bridge.inhibit_ipv4": "true"})
    a, b = net_boxes.sleeper(network="lan"), net_boxes.sleeper(network="lan")
    assert "lan0" in interfaces(a) and "eth0" not in interfaces(a) and a.exec(f"ping -c1 -W2 {ip(b, 'lan')}")[0] == 0
    assert addresses(net_engine.netns, "br-" + ident[:12]) == []


def test_a_family_by_option(networks):
    networks.create("by-option", Options={"com.docker.network.enable_ipv4": "false", "com.docker.network.enable_ipv6": "true"})
    n = networks.inspect("by-option")
    assert not n["EnableIPv4"] and n["EnableIPv6"] and [c["Subnet"][:2] for c in n["IPAM"]["Config"]] == ["fd"]


@pytest.mark.parametrize("body", [
    {"Driver": "macvlan", "Options": {"parent": "out0"}}, {"Driver": "macvlan"}, {"Driver": "ipvlan", "Options": {"parent": "out0"}},
    {"Internal": True, "Options": {"com.docker.network.bridge.gateway_mode_ipv4": "isolated", "com.docker.network.bridge.gateway_mode_ipv6": "isolated"}},
    {"Internal": True, "EnableIPv6": False, "Options": {"com.docker.network.bridge.inhibit_ipv4": "true"}}])
def test_no_address_is_kept_for_a_gateway_that_nobody_would_use(net_engine, networks, net_boxes, outside, body):
    """As in Docker since 29: the router of a LAN is whatever the user says that it is, and no default route leads to a guess."""
    subnets = [{"Subnet": "10.116.0.0/24"}, {"Subnet": "fd00:116::/64"}][:1 if body.get("EnableIPv6") is False else 2]
    body = {"EnableIPv6": True, **body}
    a = net_engine.http.post("/networks/create", body={"Name": "ungated", **body, "IPAM": {"Config": subnets}})
    if a.status == 501:
        pytest.skip(a.message)
    assert a.status == 201, a
    networks.made.append(a.json["Id"])
    assert networks.inspect("ungated")["IPAM"]["Config"] == subnets
    b = net_boxes.sleeper(network="ungated")
    s = settings(b, "ungated")
    assert (s["IPAddress"], s["Gateway"], s["IPv6Gateway"]) == ("10.116.0.1", "", "")
    assert "default" not in b.exec("ip route; ip -6 route")[1]
    net_boxes.clean()
    networks.clean()
    if "Driver" in body:     # and where one is named, it is used, if there is a LAN
        networks.create("ungated", **body, IPAM={"Config": [{**subnets[0], "Gateway": "10.116.0.9"}, subnets[1]]})
        b = net_boxes.sleeper(network="ungated")
        assert settings(b, "ungated")["Gateway"] == ("10.116.0.9" if "Options" in body else "") and ("default via 10.116.0.9" in b.exec("ip route")[1]) == ("Options" in body)


def test_a_lan_without_a_gateway_leaves_the_default_route_to_others(networks, net_boxes, outside):
    """Its name is the first of the two."""
    networks.create("a-lan", Driver="macvlan", Options={"parent": "out0"}, IPAM={"Config": [{"Subnet": "10.117.0.0/24"}]})
    networks.subnet("b-bridge", "10.118.0.0/24")
    b = net_boxes.create("sleep 60", network="a-lan")
    networks.connect("b-bridge", b)
    b.start()
    assert "default via 10.118.0.1" in b.exec("ip route")[1]


def test_one_family_routed(fresh):
    eng = fresh(netns=True)
    nets, boxes = Networks(eng), Boxes(eng)
    nets.subnet("half", ["10.120.0.0/24", "fd00:120::/64"], EnableIPv6=True, Options={"com.docker.network.bridge.gateway_mode_ipv4": "routed"})
    b = boxes.sleeper(network="half", Host=publish(p80_tcp={"HostPort": "18160"}, p81_tcp={"HostIp": "127.0.0.1", "HostPort": "18161"}))
    want = {"80/tcp": [{"HostIp": "::", "HostPort": "18160"}, {"HostIp": "0.0.0.0", "HostPort": ""}], "81/tcp": [{"HostIp": "0.0.0.0", "HostPort": ""}]}
    assert settings(b)["Ports"] == want
    eng.restart()
    assert settings(b)["Ports"] == want


def test_routed_beside_the_way_out(fresh):
    """Published ports are open on a routed network that has not the default route, too (as in Docker since 29), and stay what they are on the other."""
    eng = fresh(netns=True)
    nets, boxes = Networks(eng), Boxes(eng)
    wire = eng.netns.neighbour()
    nets.subnet("a-nat", ["10.121.0.0/24", "fd00:121::/64"], EnableIPv6=True)
    nets.subnet("b-routed", ["10.122.0.0/24", "fd00:122::/64"], EnableIPv6=True, Options={f"com.docker.network.bridge.gateway_mode_ipv{v}": "routed" for v in "46"})
    b = server(boxes, "beside", network="a-nat", NetworkingConfig={"EndpointsConfig": {"a-nat": {}, "b-routed": {}}}, Host=publish(p80_tcp={"HostPort": "18170"}))
    b.exec("mkdir -p /x && echo more >/x/index.html && httpd -p 81 -h /x")

    def reached(net="b-routed"):
        s = settings(b, net)
        at = [f"{wire.gateway}:18170", f"[{wire.gateway6}]:18170", s["IPAddress"], f"[{s['GlobalIPv6Address']}]", s["IPAddress"] + ":81"]
        return [wire.fetch(f"http://{a}/", check=False, timeout=1) == "beside\n" for a in at]
    try:
        assert reached() == [True] * 4 + [False]
        eng.restart()
        assert reached() == [True] * 4 + [False]
        nets.disconnect("a-nat", b)         # now it is the way out
        assert reached() == [False, False, True, True, False]
        nets.connect("a-nat", b)
        assert reached() == [True] * 4 + [False]
        nets.disconnect("b-routed", b)
        nets.connect("b-routed", b)
        assert reached() == [True] * 4 + [False] and reached("a-nat") == [True, True, False, False, False]
        assert [p["HostPort"] for p in settings(b)["Ports"]["80/tcp"]] == ["18170", "18170"]
    finally:
        wire.close()


# knows no name, and tells which it was asked for
ASKED = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("192.0.2.53", 53))
print("ready", flush=True)
while True:
    q, peer = s.recvfrom(4096)
    print(q[13:13 + q[12]].decode(), flush=True)
    s.sendto(q[:2] + b"\\x81\\x83" + q[4:6] + bytes(6) + q[12:q.index(b"\\0", 12) + 5], peer)
"""


def test_internal_lans_do_not_ask_the_hosts_servers(fresh, tmp_path):
    """CVE-2024-29018 on macvlan: --internal means it there, too. Without it the host's servers are asked, even if no packet comes through."""
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.53\n")
    eng = fresh(netns=True, args=["--resolv-conf", str(tmp_path / "resolv.conf")])
    wire = eng.netns.neighbour()
    eng.netns.run("ip", "addr", "add", "192.0.2.53/32", "dev", "lo")
    nets, boxes = Networks(eng), Boxes(eng)
    server = eng.netns.popen("/usr/bin/python3", "-c", ASKED, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == "ready\n"
        for name, internal in (("secret", True), ("open", False)):
            nets.create(name, Driver="macvlan", Internal=internal, Options={"parent": "out0"}, IPAM={"Config": [{"Subnet": "10.119.0.0/24", "Gateway": "10.119.0.1"}]})
            b = boxes.sleeper(network=name)
            lookup(b, name)
            assert ("default" in b.exec("ip route")[1]) != internal and settings(b, name)["Gateway"] == ("" if internal else "10.119.0.1")
            boxes.clean()
            nets.clean()
        assert server.stdout.readline() == "open\n"
    finally:
        server.kill()
        server.communicate()
        wire.close()


# -- as whom, and from where ----------------------------------------------------------------------------------------------

def test_source_addresses(net_engine, networks, net_boxes, outside):
    for a in ("192.0.2.9/24", "2001:db8:2::9/64"):
        net_engine.netns.run("ip", "addr", "add", a, "dev", "out0", *(["nodad", "preferred_lft", "0"] if ":" in a else []))
    both = lambda name, n, **options: networks.create(name, EnableIPv6=True, Options={"com.docker.network." + k: v for k, v in options.items()},
                                                      IPAM={"Config": [{"Subnet": f"10.113.{n}.0/24"}, {"Subnet": f"fd00:113:{n}::/64"}]})
    both("src-usual", 1)
    both("src-own", 2, **{"host_ipv4": "192.0.2.9", "host_ipv6": "2001:db8:2::9"})
    both("src-none", 3, **{"bridge.enable_ip_masquerade": "false"})
    want = {"src-usual": ("192.0.2.1", "2001:db8:2::1"), "src-own": ("192.0.2.9", "2001:db8:2::9")}
    for net in ("src-usual", "src-own", "src-none"):
        b = net_boxes.sleeper(network=net)
        got = seen_as(b, outside.address), seen_as(b, outside.address6)
        assert got == want.get(net, (ip(b, net), settings(b, net)["GlobalIPv6Address"])), net


@pytest.mark.parametrize("mode,published,other", [("nat", False, False), ("nat-unprotected", True, True), ("routed", True, False)])
def test_gateway_modes(networks, net_boxes, outside, mode, published, other):
    """Ports of a container at its own addresses, by somebody who has a route there."""
    networks.subnet("modes", ["10.114.0.0/24", "fd00:114::/64"], EnableIPv6=True,
                    Options={f"com.docker.network.bridge.gateway_mode_ipv{v}": mode for v in "46"})
    b = server(net_boxes, "moded", network="modes", Host=publish(p80_tcp={"HostPort": "18150"}))
    b.exec("mkdir -p /x && echo more >/x/index.html && httpd -p 81 -h /x")
    for at in (ip(b, "modes"), f"[{settings(b, 'modes')['GlobalIPv6Address']}]"):
        assert (outside.fetch(f"http://{at}/", check=False, timeout=2 if published else 0.5) == "moded\n") == published, at
        assert (outside.fetch(f"http://{at}:81/", check=False, timeout=2 if other else 0.5) == "more\n") == other, at
    host_port = "" if mode == "routed" else "18150"          # of the host's: there is none
    assert settings(b)["Ports"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": host_port}, {"HostIp": "::", "HostPort": host_port}]}
    listed = next(c["Ports"] for c in networks.engine.http.get("/containers/json").json if c["Id"] == b.id)
    assert [p.get("PublicPort") for p in listed] == ([None] if mode == "routed" else [18150, 18150])
    for at in (outside.gateway, f"[{outside.gateway6}]"):
        assert (outside.fetch(f"http://{at}:18150/", check=False, timeout=0.5 if mode == "routed" else 2) == "moded\n") == (mode != "routed"), at


def test_trusted_interfaces(net_engine, networks, net_boxes, outside):
    stranger = net_engine.netns.neighbour("192.0.3", "2001:db8:3::", "out1")
    try:
        networks.subnet("trust", "10.115.0.0/24", Options={"com.docker.network.bridge.trusted_host_interfaces": "out0"})
        b = server(net_boxes, "trusted", network="trust", Host=publish(p80_tcp={"HostIp": "127.0.0.1", "HostPort": "18151"}))
        assert outside.fetch(f"http://{ip(b, 'trust')}/") == "trusted\n"
        assert stranger.fetch(f"http://{ip(b, 'trust')}/", check=False, timeout=0.5) is None
    finally:
        stranger.close()


def test_direct_routing_of_the_daemon(fresh):
    eng = fresh(netns=True, config={"allow-direct-routing": True})
    outside = eng.netns.neighbour()
    try:
        b = server(Boxes(eng), "direct", network="bridge", Host=publish(p80_tcp={"HostPort": "18152"}))
        b.exec("mkdir -p /x && echo more >/x/index.html && httpd -p 81 -h /x")
        assert outside.fetch(f"http://{ip(b)}/") == "direct\n"
        assert outside.fetch(f"http://{ip(b)}:81/", check=False, timeout=0.5) is None
    finally:
        outside.close()


# -- where they do nothing ------------------------------------------------------------------------------------------------

EVERY = {"com.docker.network.bridge.enable_icc": "true", "com.docker.network.bridge.enable_ip_masquerade": "true", "com.docker.network.bridge.inhibit_ipv4": "false",
         "com.docker.network.bridge.trusted_host_interfaces": ":out0::out1:", "com.docker.network.host_ipv4": "192.0.2.1", "com.docker.network.host_ipv6": "2001:db8:2::1",
         **{f"com.docker.network.bridge.gateway_mode_ipv{v}": "routed" for v in "46"}}


@pytest.mark.parametrize("driver,body", [
    ("bridge", {}), ("bridge", {"EnableIPv6": True}), ("bridge", {"EnableIPv4": False, "EnableIPv6": True}), ("bridge", {"Internal": True}),
    ("bridge", {"Internal": True, "EnableIPv6": True}), ("macvlan", {}), ("macvlan", {"Internal": True}), ("ipvlan", {})])
@pytest.mark.parametrize("more", [{}, {"com.docker.network.bridge.enable_ip_masquerade": "false", "com.docker.network.bridge.inhibit_ipv4": "true",
                                       "com.docker.network.bridge.gateway_mode_ipv4": "nat-unprotected", "com.docker.network.bridge.gateway_mode_ipv6": "nat"}])
def test_options_that_a_network_does_nothing_with(net_engine, networks, net_boxes, outside, driver, body, more):
    """dockerd takes them on any bridge, and its other drivers do not look at them."""
    options = {**EVERY, **more}
    able = driver == "bridge" or kernel_has(net_engine, driver)
    a = networks.create("all-options", 201 if able else 501, Driver=driver, Options=options, **body)
    if not able:
        assert f"this kernel has no {driver} links" in a.message
        return
    assert networks.inspect("all-options")["Options"] == options
    b = net_boxes.sleeper(network="all-options", ExposedPorts={"80/tcp": {}}, Host=publish(p80_tcp={}))
    assert settings(b, "all-options")["IPAddress" if body.get("EnableIPv4", True) else "GlobalIPv6Address"] in interfaces(b)


def test_families_of_a_network_on_a_parent(net_engine, networks, outside):
    for body, want in (({}, ["4"]), ({"EnableIPv6": True}, ["4", "6"]), ({"EnableIPv4": False, "EnableIPv6": True}, ["6"])):
        if not kernel_has(net_engine, "macvlan"):
            return
        networks.create("families", Driver="macvlan", **body)
        subnets = [c["Subnet"] for c in networks.inspect("families")["IPAM"]["Config"]]
        assert ["6" if ":" in s else "4" for s in subnets] == want, (body, subnets)
        net_engine.http.delete("/networks/families")


def test_no_way_out_of_an_internal_network_on_a_parent(net_engine, networks, net_boxes, outside):
    """On the wire, with an address that is the gateway's and nobody else's, and no default route."""
    if not kernel_has(net_engine, "macvlan"):
        return
    networks.create("inside-lan", Driver="macvlan", Internal=True, Options={"parent": "out0"}, IPAM={"Config": [{"Subnet": "10.119.0.0/24", "Gateway": "10.119.0.1"}]})
    assert networks.inspect("inside-lan")["IPAM"]["Config"] == [{"Subnet": "10.119.0.0/24", "Gateway": "10.119.0.1"}]
    b = net_boxes.sleeper(network="inside-lan")
    assert ip(b, "inside-lan") == "10.119.0.2" and settings(b, "inside-lan")["Gateway"] == "" and "default" not in b.exec("ip route")[1]


def test_dns_options_that_nobody_knows(networks, net_boxes):
    """Any text is one for dockerd; it is the container's libc that makes of it what it can."""
    networks.create("odd-dns")
    odd = ["zz", "ndots:x", "use-vc", "ndots:", "timeout:-1"]
    for network in ("odd-dns", "bridge"):
        b = net_boxes.sleeper(network=network, Host={"DnsOptions": odd})
        assert "options " + " ".join(odd) in b.exec("cat /etc/resolv.conf")[1]


# -- refusals -------------------------------------------------------------------------------------------------------------

def test_ports_are_back_after_a_connect_that_fails(net_engine, networks, net_boxes):
    """The new network would have had the way out, and cannot have the port, of which somebody else has the part that it needs: the old one has it as before."""
    networks.subnet("back-b", "fd00:116::/64", EnableIPv4=False, EnableIPv6=True)
    networks.subnet("back-a", ["10.116.2.0/24", "fd00:117::/64"], EnableIPv6=True)
    taker = net_engine.netns.popen("/usr/bin/python3", "-c", "import socket; s = socket.create_server(('', 18153)); print('ready', flush=True); s.accept()",
                                   stdout=subprocess.PIPE, text=True)
    try:
        assert taker.stdout.readline() == "ready\n"
        b = server(net_boxes, "back", network="back-b", Host=publish(p80_tcp={"HostPort": "18153"}, p81_tcp={}))
        before = settings(b)
        assert net_engine.netns.fetch("http://[::1]:18153/") == "back\n"
        a = net_engine.http.post("/networks/back-a/connect", body={"Container": b.id, "EndpointConfig": {"GwPriority": 9}})
        assert a.status == 500 and "18153" in a.message, a
        assert settings(b) == before and net_engine.netns.fetch("http://[::1]:18153/") == "back\n"
        assert "default via fd00:116::1" in b.exec("ip -6 route")[1]
        net_engine.restart()
        assert settings(b)["Ports"] == before["Ports"] and net_engine.netns.fetch("http://[::1]:18153/") == "back\n"
    finally:
        taker.kill()
        taker.communicate()


def test_a_port_of_a_family_stays_where_it_has_its_way_out(net_engine, networks, net_boxes):
    networks.subnet("stay-b", ["10.116.1.0/24", "fd00:116::/64"], EnableIPv6=True)
    networks.subnet("stay-a", "10.116.2.0/24")
    b = server(net_boxes, "stays", network="stay-b", Host=publish(p80_tcp={"HostIp": "::1", "HostPort": "18154"}))
    networks.connect("stay-a", b, GwPriority=9)
    assert "default via 10.116.2.1" in b.exec("ip route")[1] and net_engine.netns.fetch("http://[::1]:18154/") == "stays\n"


@pytest.mark.parametrize("port", ["80/icmp", "80/TCPP", "80/", "http/tcp", "99999/tcp"])
def test_ports_that_are_none(net_engine, port):
    for body in ({"HostConfig": {"PortBindings": {port: [{"HostPort": "18154"}]}}}, {"ExposedPorts": {port: {}}}):
        a = net_engine.http.post("/containers/create", body={"Image": "caisson/base", "Cmd": ["true"], **body})
        if a.status == 201:
            net_engine.http.delete("/containers/" + a.json["Id"])
        assert a.status == 400, (port, body, a)


def test_bindings_of_a_range_are_none(net_engine):
    """Each port has its own: dockerd refuses them, and so do we, rather than publish the first."""
    a = net_engine.http.post("/containers/create", body={"Image": "caisson/base", "Cmd": ["true"], "HostConfig": {"PortBindings": {"8000-8001/tcp": [{"HostPort": "18154"}]}}})
    assert a.status == 400 and a.message == 'invalid port specification: "8000-8001"', a


@pytest.mark.parametrize("names", ["a/b", "out0:a23456789012345x", "out0:..", "a b"])
def test_trusted_interfaces_that_are_none(net_engine, names):
    a = net_engine.http.post("/networks/create", body={"Name": "odd-trust", "Options": {"com.docker.network.bridge.trusted_host_interfaces": names}})
    if a.status == 201:
        net_engine.http.delete("/networks/odd-trust")
    assert a.status == 400 and "not names of interfaces" in a.message, a


@pytest.mark.parametrize("sysctl,text", [
    ("net.ipv4.conf.IFNAME.a.b=1", "expected sysctl 'net.ipv4.conf.IFNAME.a.b=1' to have format net.X.Y.IFNAME.Z"),
    ("net.ipv4.conf.ifname.forwarding", "expected sysctl 'net.ipv4.conf.ifname.forwarding' to have format name=value"),
    ("net.ipv4.conf.IFNAME=1.2", "unrecognised network interface sysctl 'net.ipv4.conf.IFNAME=1.2'"),
    ("net.ipv4.conf.IFNAME.=1", "unrecognised network interface sysctl 'net.ipv4.conf.IFNAME.=1'")])
def test_sysctls_of_interfaces_that_are_none(net_engine, net_boxes, sysctl, text):
    """When they are asked for; dockerd leaves the first two to the start of the container."""
    opts = {"DriverOpts": {"com.docker.network.endpoint.sysctls": sysctl}}
    a = net_engine.http.post("/containers/create", body={"Image": "caisson/base", "Cmd": ["true"], "NetworkingConfig": {"EndpointsConfig": {"bridge": opts}}})
    if a.status == 201:
        net_engine.http.delete("/containers/" + a.json["Id"])
    assert a.status == 400 and text in a.message, a


def test_the_last_of_two_counts(networks, net_boxes):
    """Sysctls of one name and links of one alias, as in dockerd."""
    networks.create("twice")
    x, y = (net_boxes.sleeper(network="twice", name=n) for n in ("twice-x", "twice-y"))
    opts = {"DriverOpts": {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.ifname.log_martians=0"}, "Links": ["twice-x:al", "twice-y:al"]}
    b = net_boxes.sleeper(network="twice", NetworkingConfig={"EndpointsConfig": {"twice": opts}})
    assert b.exec("cat /proc/sys/net/ipv4/conf/eth0/log_martians")[1] == "0\n"
    assert lookup(b, "al") == [ip(y, "twice")]


def test_a_value_of_a_sysctl_may_have_dots(net_boxes):
    opts = {"DriverOpts": {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.forwarding=1.5"}}
    a = net_boxes.create("true", network="bridge", NetworkingConfig={"EndpointsConfig": {"bridge": opts}}).post("start")
    assert a.status >= 400 and "net/ipv4/conf/eth0/forwarding" in a.message, a  # the kernel's word


@pytest.mark.parametrize("subnet", ["fe80::/80", "fe80::/10", "fe80::1:0/112"])
def test_subnets_within_what_every_interface_has(net_engine, subnet):
    a = net_engine.http.post("/networks/create", body={"Name": "link-local", "EnableIPv6": True, "IPAM": {"Config": [{"Subnet": subnet}]}})
    if a.status == 201:
        net_engine.http.delete("/networks/link-local")
    assert a.status == 400 and f"'{subnet}' clashes with the Link-Local prefix 'fe80::/64'" in a.message, a


def test_a_network_of_an_older_version_that_is_refused_now(fresh):
    """It is there, says what is wrong with it, and can be removed; nothing else suffers."""
    eng = fresh(netns=True)
    net, boxes = Networks(eng), Boxes(eng)
    ident = net.create("old", EnableIPv6=True, IPAM={"Config": [{"Subnet": "10.117.0.0/24"}, {"Subnet": "fd00:117::/80", "Gateway": "fd00:117::1"}]})
    net.create("trusting", Options={"com.docker.network.bridge.trusted_host_interfaces": "out0"})
    eng.stop()
    with sqlite3.connect(eng.data / "caisson.db") as db:
        for old, new in (("fd00:117::", "fe80::"), ('"out0"', '"out0:a/b"')):
            assert db.execute("UPDATE networks SET doc = replace(doc, ?, ?) WHERE instr(doc, ?)", (old, new, old)).rowcount == 1
    db.close()
    eng.start()
    why = "IpAddressPrefix: fe80::/80 overlaps fe80::/64, which every interface has with that length"
    assert any("network=old" in line and why in line for line in eng.tail(200).splitlines())
    assert net.inspect("old")["Id"] == ident
    a = boxes.create("true", network="old").post("start")
    assert a.status == 503 and f"network old cannot be used: {why}" in a.message, a
    assert ip(boxes.sleeper(network="trusting"), "trusting")
    assert eng.http.delete("/networks/old").status == 204


def test_a_network_on_a_parent_of_an_older_version_without_the_ipv6_that_it_should_have(fresh):
    """It has it now, and keeps it; who runs there keeps what he has until he starts again."""
    eng = fresh(netns=True)
    net, boxes, lan = Networks(eng), Boxes(eng), eng.netns.neighbour()
    try:
        if not kernel_has(eng, "macvlan"):
            return
        net.create("old-lan", Driver="macvlan", IPAM={"Config": [{"Subnet": "10.121.0.0/24"}]})
        b = boxes.sleeper(network="old-lan")
        before = interfaces(b)
        eng.stop()
        with sqlite3.connect(eng.data / "caisson.db") as db:
            assert db.execute("UPDATE networks SET doc = replace(doc, '\"EnableIPv6\":false', '\"EnableIPv6\":true') WHERE instr(doc, 'old-lan')").rowcount == 1
        db.close()
        eng.start()
        six = net.inspect("old-lan")["IPAM"]["Config"][1]["Subnet"]
        assert six.startswith("fd") and interfaces(b) == before and ip(b, "old-lan") == "10.121.0.1"
        other = boxes.sleeper(network="old-lan")
        assert settings(other, "old-lan")["GlobalIPv6Address"].startswith(six.split("::")[0])
        eng.restart()
        assert net.inspect("old-lan")["IPAM"]["Config"][1]["Subnet"] == six and interfaces(b) == before
        b.post("restart", {"t": 0})
        assert settings(b, "old-lan")["GlobalIPv6Address"] in interfaces(b)
    finally:
        boxes.clean()
        lan.close()


@pytest.mark.parametrize("driver,options,mtu", [("bridge", {}, "67"), ("bridge", {"EnableIPv6": True}, "1279"), ("macvlan", {}, "20")])
def test_an_mtu_that_no_interface_can_have(net_engine, driver, options, mtu):
    links = {n for n in net_engine.netns.links() if not n.startswith("csp")}
    a = net_engine.http.post("/networks/create", body={"Name": "small", "Driver": driver, "Options": {"com.docker.network.driver.mtu": mtu}, **options})
    if a.status == 201:
        net_engine.http.delete("/networks/small")
    assert a.status == 400 and "mtu" in a.message.lower(), a
    assert {n for n in net_engine.netns.links() if not n.startswith("csp")} == links
