# SPDX-License-Identifier: Apache-2.0
"""Published ports, isolation, names and balancers: the service with firewall and resolver behind it."""
import subprocess
import time

import pytest

from caisson_fixture import wait_for
from conftest import HcnError, Service, guid


def port(internal, external=0, vip="", **more):
    return {"Type": "PortMapping", "Settings": {"Protocol": 6, "InternalPort": internal, "ExternalPort": external, "VIP": vip, **more}}


def published(c, i=0):
    return [p["Settings"]["ExternalPort"] for p in c.document(i)["Policies"] if p["Type"] == "PortMapping"]


@pytest.mark.parametrize("filtered", [0, 1], ids=["", "br_netfilter"])
def test_a_published_port_from_everywhere(walled, host, outside, filtered):
    host.run("sh", "-c", f"for f in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do [ ! -e $f ] || echo {filtered} >$f; done")
    outside.wire(host, "192.0.2.1/24", "192.0.2.2/24")
    net = walled.network(["10.1.0.0/24"])
    c, other = walled.container(net, policies=[port(80, 8080)]), walled.container(net)
    c.serve(80, "web")
    assert outside.fetch("192.0.2.2", 8080) == ["web", "192.0.2.1"]
    assert host.fetch("127.0.0.1", 8080)[0] == "web" and host.fetch("192.0.2.2", 8080)[0] == "web"
    assert other.fetch("192.0.2.2", 8080)[0] == "web" and c.fetch("192.0.2.2", 8080)[0] == "web"  # hairpin
    outside.run("ip", "route", "add", "10.1.0.0/24", "via", "192.0.2.2")
    assert outside.fetch(c.address(), 80, timeout=0.3) is None  # moby#22054's neighbours: only what is published, only where
    walled("remove", c.ns, c.ep)
    assert outside.fetch("192.0.2.2", 8080, timeout=0.3) is None
    walled("add", c.ns, c.ep)
    assert outside.fetch("192.0.2.2", 8080) == ["web", "192.0.2.1"]


def test_dual_stack_ports(walled, host, outside):
    outside.wire(host, "2001:db8::1/64", "2001:db8::2/64")
    c = walled.container(walled.network(["10.1.0.0/24", "fd00:1::/64"]), policies=[port(80, 8080)])
    c.serve(80, "web", v6=True)
    assert outside.fetch("2001:db8::2", 8080) == ["web", "2001:db8::1"]
    assert host.fetch("::1", 8080)[0] == "web" and host.fetch("127.0.0.1", 8080)[0] == "web"


def test_ephemeral_ports_ranges_and_conflicts(walled, host):
    net = walled.network(["10.1.0.0/24"])
    a = walled.container(net, policies=[port(80), port(81, 9000, ExternalPortEnd=9002)])
    b = walled.container(net, policies=[port(80), port(81, 9000, ExternalPortEnd=9002)])
    assert published(a)[1] == 9000 and published(b)[1] == 9001 and published(a)[0] != published(b)[0]
    a.serve(80, "a")
    assert host.fetch("127.0.0.1", published(a)[0])[0] == "a"
    ns, e = walled.namespace(), walled.endpoint(net, policies=[port(1, 9001)])
    with pytest.raises(HcnError, match="port is already allocated") as err:
        walled("add", ns, e)
    assert err.value.code == 0x803B0013
    assert walled("query", "ns", ns)["Resources"] == [] and walled("query", "ep", e)["HostComputeNamespace"] == ""
    host.serve(9100, "stranger")
    taken = walled.endpoint(net, policies=[port(1, 9100)])
    with pytest.raises(HcnError, match="address already in use.*python3") as err:
        walled("add", ns, taken)
    assert err.value.code == 0x803B0013
    walled("delete", "ep", b.ep)
    walled("add", ns, e)  # and now it is free


def test_ports_change_while_it_runs(walled, host):
    c = walled.container(walled.network(["10.1.0.0/24"]), policies=[port(80, 8080)])
    c.serve(80, "web")
    change = lambda how, p: walled("modify", "ep", c.ep, {"ResourceType": "Policy", "RequestType": how, "Settings": p})
    change("Add", port(80, 8081))
    assert host.fetch("127.0.0.1", 8080) and host.fetch("127.0.0.1", 8081)
    change("Update", port(80, 8082))
    assert not host.fetch("127.0.0.1", 8080, timeout=0.3) and host.fetch("127.0.0.1", 8082)
    host.serve(8083, "stranger")
    with pytest.raises(HcnError):
        change("Update", port(80, 8083))
    assert host.fetch("127.0.0.1", 8082)[0] == "web" and published(c) == [8082]


def test_many_policies_in_one_change(walled, host):
    """{"Policies": […]}, as the HCN schema has it: all of them or none."""
    c = walled.container(walled.network(["10.1.0.0/24"]), policies=[port(80, 8080)])
    c.serve(80, "web")
    change = lambda how, *p: walled("modify", "ep", c.ep, {"ResourceType": "Policy", "RequestType": how, "Settings": {"Policies": list(p)}})
    change("Add", port(80, 8081), port(81, 8082), port(80, 8083))
    assert published(c) == [8080, 8081, 8082, 8083] and host.fetch("127.0.0.1", 8083)[0] == "web"
    for how, code, *policies in (("Add", 0x803B0012, port(80, 8084), port(81, 8082)), ("Add", 0x803B0012, port(80, 8084), port(80, 8084)),
                                 ("Remove", 0x803B0008, port(80, 8080), port(80, 8084)), ("Remove", 0x803B0008, port(80, 8080), port(80, 8080)),
                                 ("Add", 0x803B001B), ("Add", 0x803B000E, port(80, 8084), {"Type": "Wall", "Settings": {}})):
        with pytest.raises(HcnError) as err:
            change(how, *policies)
        assert err.value.code == code
    assert published(c) == [8080, 8081, 8082, 8083] and host.fetch("127.0.0.1", 8080)[0] == "web"
    change("Remove", port(80, 8083), port(80, 8080))
    assert published(c) == [8081, 8082] and not host.fetch("127.0.0.1", 8080, timeout=0.3)
    change("Update", port(80, 8080), port(80, 8083))
    assert published(c) == [8080, 8083] and host.fetch("127.0.0.1", 8083)[0] == "web" and not host.fetch("127.0.0.1", 8081, timeout=0.3)


def test_addresses_of_one_port_have_one_number(walled, host):
    """Where the service picks it. Mappings that are in each other's way, or differ in more than the address, have their own."""
    host.run("ip", "addr", "add", "192.0.2.9/32", "dev", "lo")
    net = walled.network(["10.1.0.0/24", "fd00:1::/64"], EnableIPv6=True)
    free = [port(80, vip="127.0.0.1"), port(80, vip="192.0.2.9"), port(80, vip="::1")]
    numbers = published(walled.container(net, policies=free))
    assert numbers[0] == numbers[1] == numbers[2] > 0
    host.serve(9101, "stranger")
    within = [port(80, 9100, "127.0.0.1", ExternalPortEnd=9103), port(80, 9100, "192.0.2.9", ExternalPortEnd=9103)]
    assert published(walled.container(net, policies=[port(1, 9100, "192.0.2.9"), *within])) == [9100, 9102, 9102]
    assert published(walled.container(net, policies=[port(80, 9110, "0.0.0.0", ExternalPortEnd=9113), port(80, 9110, "::", ExternalPortEnd=9113)])) == [9110, 9110]
    apart = published(walled.container(net, policies=[port(80, vip="127.0.0.1"), port(81, vip="192.0.2.9"), port(80), port(80, vip="0.0.0.0")]))
    assert 0 not in apart and apart[2] != apart[3]


def test_ports_of_several_endpoints_at_once(walled, host, outside):
    """What comes by IPv4 goes to one, what comes by IPv6 to another; all of the change or nothing of it."""
    outside.wire(host, "192.0.2.1/24", "192.0.2.2/24")
    outside.wire(host, "2001:db8::1/64", "2001:db8::2/64", name="wire6")
    four, both = walled.network(["10.1.0.0/24"], name="four"), walled.network(["10.2.0.0/24", "fd00:2::/64"], name="both", EnableIPv6=True)
    c = walled.container(four, both)
    c.serve(80, "web", v6=True)
    other = walled.container(four, policies=[port(80, 9005)])
    place = lambda *p: walled("modify", "ns", c.ns, {"ResourceType": "PortMapping", "RequestType": "Update",
                                                     "Settings": {"Ports": [{"EndpointId": c.eps[i], "Policy": m} for i, m in p]}})
    place((0, port(80, 8080, "0.0.0.0")), (1, port(80, 8080, "::")), (0, port(80, vip="0.0.0.0")), (1, port(80, vip="::")), (0, port(81, 9000, "0.0.0.0", ExternalPortEnd=9003)),
          (1, port(81, 9000, "::", ExternalPortEnd=9003)))
    n = published(c, 0)[1]
    assert published(c, 0) == published(c, 1) == [8080, n, 9000] and n > 0
    leads = lambda: {(p["HostAddress"], p["HostPort"]): p["Address"] for p in walled("reachability")["Ports"] if p["Endpoint"] in c.eps}
    assert leads()[("0.0.0.0", n)] == c.address(0) and leads()[("::", n)] == c.address(1, 1)
    for address in ("192.0.2.2", "2001:db8::2"):
        assert outside.fetch(address, 8080)[0] == "web" and outside.fetch(address, n)[0] == "web"
    before = c.document(0)["Policies"], c.document(1)["Policies"], leads()
    # one cannot be had: a stranger's, another endpoint's, of an endpoint that is not here, an address that it has not, no port mapping
    host.serve(9001, "stranger")
    for code, p in ((0x803B0013, (0, port(82, 9001, "0.0.0.0"))), (0x803B0013, (1, port(82, 9005, "0.0.0.0"))), (0x803B001B, (0, port(82, 9006, "::")))):
        with pytest.raises(HcnError):
            place((1, port(80, 8080, "0.0.0.0")), (1, port(80, 8080, "::")), p)
        assert (c.document(0)["Policies"], c.document(1)["Policies"], leads()) == before
        assert outside.fetch("192.0.2.2", 8080)[0] == "web"
    with pytest.raises(HcnError, match="no endpoint of this namespace"):
        walled("modify", "ns", c.ns, {"ResourceType": "PortMapping", "RequestType": "Update", "Settings": {"Ports": [{"EndpointId": other.ep, "Policy": port(80, 8081)}]}})
    with pytest.raises(HcnError, match="no PortMapping"):
        place((0, {"Type": "ACL", "Settings": {"Action": "Block", "Direction": "In"}}))
    with pytest.raises(HcnError):
        walled("modify", "ns", c.ns, {"ResourceType": "PortMapping", "RequestType": "Add", "Settings": {"Ports": []}})
    # IPv4 moves, IPv6 stays, the rest is free again
    place((1, port(80, 8080, "0.0.0.0")), (1, port(80, 8080, "::")))
    assert leads() == {("0.0.0.0", 8080): c.address(1), ("::", 8080): c.address(1, 1)} and published(c, 0) == []
    assert outside.fetch("192.0.2.2", 8080)[0] == "web" and outside.fetch("2001:db8::2", 8080)[0] == "web"
    host.serve(9000, "free")
    host.serve(n, "free", v6=True)
    # an endpoint that leaves takes its own along
    place((0, port(80, 8080, "0.0.0.0")), (1, port(80, 8080, "::")))
    walled("remove", c.ns, c.eps[1])
    assert leads() == {("0.0.0.0", 8080): c.address(0)} and outside.fetch("192.0.2.2", 8080)[0] == "web"
    place()
    assert leads() == {}
    host.serve(8080, "free", v6=True)


def test_networks_are_apart(walled, host, outside):
    outside.wire(host, "192.0.2.1/24", "192.0.2.2/24")
    outside.serve(80, "world")
    one, two = walled.network(["10.1.0.0/24"], name="one"), walled.network(["10.2.0.0/24"], name="two")
    inside = walled.network(["10.3.0.0/24"], name="inside", type="Internal")
    a, b, c = walled.container(one), walled.container(two), walled.container(inside)
    b.serve(80, "b")
    assert a.fetch("10.2.0.2", 80, timeout=0.3) is None
    assert a.fetch("192.0.2.1", 80) == ["world", "192.0.2.2"]  # masqueraded
    c.run("ip", "route", "add", "default", "via", "10.3.0.1")  # even so
    assert c.fetch("192.0.2.1", 80, timeout=0.3) is None and c.pings("10.3.0.1")


@pytest.mark.parametrize("filtered", [0, 1])
def test_no_talk_between_containers_but_by_link(walled, host, filtered):
    host.run("sh", "-c", f"for f in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do [ ! -e $f ] || echo {filtered} >$f; done")
    net = walled.network(["10.1.0.0/24"], InterContainer=False)
    exposed = [{"Type": "LinuxInterface", "Settings": {"ExposedPorts": ["80/tcp", "8000-8002/tcp"]}}, {"Type": "DnsNames", "Settings": {"Names": ["db"]}}]
    db = walled.container(net, policies=exposed)
    for port in (80, 81, 8000, 8002, 8003):
        db.serve(port, "db")
    stranger = walled.container(net)
    assert stranger.fetch(db.address(), 80, timeout=0.3) is None
    links = [{"Type": "DnsNames", "Settings": {"Names": ["web"], "Links": {"database": db.ep}}}]
    web = walled.container(net, policies=links, dns={"Resolver": True})
    for port in (80, 8000, 8002):
        assert web.fetch(db.address(), port)[0] == "db"
    for port in (81, 8003):
        assert web.fetch(db.address(), port, timeout=0.3) is None
    assert lookup(web, "database") == [db.address()]


def lookup(c, name, family="AF_INET"):
    code = f"""
import socket, struct
q = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + b"".join(bytes([len(x)]) + x.encode() for x in "{name}".split(".")) + b"\\0" + struct.pack(">2H", {1 if family == "AF_INET" else 28}, 1)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); s.sendto(q, ("127.0.0.11", 53))
r = s.recv(512); n, i = struct.unpack(">H", r[6:8])[0], len(q)
for _ in range(n):
    l = struct.unpack(">H", r[i + 10:i + 12])[0]; print(socket.inet_ntop(socket.{family}, r[i + 12:i + 12 + l])); i += 12 + l
"""
    return c.run("/usr/bin/python3", "-c", code).split()


def test_names(walled):
    one, two = walled.network(["10.1.0.0/24", "fd00:1::/64"], name="one"), walled.network(["10.2.0.0/24"], name="two")
    named = lambda *names: [{"Type": "DnsNames", "Settings": {"Names": list(names)}}]
    web = walled.container(one, policies=named("web", "abcdef012345", "www"))
    client = walled.container(one, dns={"Resolver": True})
    assert lookup(client, "web") == lookup(client, "WWW") == lookup(client, "web.one") == [web.address()]
    assert lookup(client, "web", "AF_INET6") == ["fd00:1::2"]
    far = walled.container(two, policies=named("far"))
    assert lookup(client, "far") == []
    e = walled.endpoint(two)
    walled("add", client.ns, e)
    assert lookup(client, "far") == [far.address()]
    walled("remove", client.ns, e)
    assert lookup(client, "far") == []
    walled("modify", "ep", web.ep, {"ResourceType": "Policy", "RequestType": "Update", "Settings": named("renamed")[0]})
    assert lookup(client, "renamed") == [web.address()] and lookup(client, "web") == []
    walled("delete", "ns", web.ns)
    assert lookup(client, "renamed") == []


def test_name_servers_of_networks_and_endpoints(service):
    """Where the namespace has none of its own; the endpoint comes before its network."""
    net, other = guid(), guid()
    service("net", net, {"Name": "dns", "Ipams": [{"Subnets": [{"IpAddressPrefix": "10.1.0.0/24"}]}], "Dns": {"ServerList": ["10.1.0.10"]}})
    service("net", other, {"Name": "other", "Ipams": [{"Subnets": [{"IpAddressPrefix": "10.2.0.0/24"}]}]})
    servers = [service.container(net, ips=[f"10.1.0.{n}"]) for n in (10, 11, 12)]
    processes = []
    try:
        for i, c in enumerate(servers):
            code = f"""import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 53))
print("ready", flush=True)
while True:
    q, a = s.recvfrom(999)
    s.sendto(q[:2] + bytes([0x81, 0x80]) + q[4:6] + bytes([0, 1, 0, 0, 0, 0]) + q[12:] + bytes([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, {i}]), a)"""
            processes.append(subprocess.Popen(c.command("/usr/bin/python3", "-c", code), stdout=subprocess.PIPE, text=True))
            assert processes[-1].stdout.readline() == "ready\n"
        asks = lambda c: lookup(c, "www.example.com")
        a = service.container(net, dns={"Resolver": True})
        b = service.container(net, dns={"Resolver": True}, Dns={"ServerList": ["10.1.0.11"]})
        c = service.container(net, dns={"Resolver": True, "ServerList": ["10.1.0.12"]}, Dns={"ServerList": ["10.1.0.11"]})
        assert [asks(x) for x in (a, b, c)] == [["192.0.2.0"], ["192.0.2.1"], ["192.0.2.2"]]
        service("add", a.ns, service.endpoint(other, Dns={"ServerList": ["10.1.0.12"]}))
        assert asks(a) == ["192.0.2.2"]
        service("modify", "net", net, {"ResourceType": "DNS", "RequestType": "Update", "Settings": {"ServerList": ["10.1.0.11"]}})
        d = service.container(net, dns={"Resolver": True})
        assert [asks(x) for x in (a, b, c, d)] == [["192.0.2.2"], ["192.0.2.1"], ["192.0.2.2"], ["192.0.2.1"]]
        service("modify", "net", net, {"ResourceType": "DNS", "RequestType": "Update", "Settings": {"ServerList": ["10.1.0.10"]}})
        assert asks(d) == ["192.0.2.0"]
    finally:
        for p in processes:
            p.kill()
            p.communicate()


def test_after_a_restart_ports_names_and_walls_are_back(host, outside):
    outside.wire(host, "192.0.2.1/24", "192.0.2.2/24")
    policies = [port(80, 8080), {"Type": "DnsNames", "Settings": {"Names": ["web"]}}]
    first = Service(host, Firewall=True)
    first("settle")
    net = first.network(["10.1.0.0/24"])
    c = first.container(net, policies=policies, dns={"Resolver": True})
    c.serve(80, "web")
    first.kill()
    assert outside.fetch("192.0.2.2", 8080) == ["web", "192.0.2.1"]  # with nobody there
    second = Service(host, Firewall=True)
    second.network(["10.1.0.0/24"], id=net)
    second.namespace(pid=c.pid, id=c.ns, Resolver=True)
    second.endpoint(net, id=c.ep, ips=["10.1.0.2"], policies=policies)
    second("add", c.ns, c.ep)
    assert outside.fetch("192.0.2.2", 8080) == ["web", "192.0.2.1"]
    second("settle")
    assert outside.fetch("192.0.2.2", 8080) == ["web", "192.0.2.1"] and lookup(c, "web") == ["10.1.0.2"]
    with pytest.raises(HcnError, match="already allocated"):
        second.container(net, policies=[port(1, 8080)])
    second.close()
    first.close()


def test_a_load_balancer(walled, host):
    net = walled.network(["10.1.0.0/24"])
    a, b, client = walled.container(net), walled.container(net), walled.container(net)
    a.serve(80, "a")
    b.serve(80, "b")
    lb = guid()
    doc = {"HostComputeEndpoints": [a.ep, b.ep], "FrontendVIPs": ["10.9.9.9"], "PortMappings": [{"Protocol": 6, "InternalPort": 80, "ExternalPort": 88}]}
    walled("lb", lb, doc)
    assert client.words("10.9.9.9", 88, 40) == {"a", "b"}
    walled("delete", "ns", a.ns)
    walled("delete", "ep", a.ep)
    assert client.words("10.9.9.9", 88, 10) == {"b"}
    walled("modify", "lb", lb, {"ResourceType": "LoadBalancer", "RequestType": "Update", "Settings": {**doc, "HostComputeEndpoints": []}})
    assert client.fetch("10.9.9.9", 88, timeout=0.3) is None
    assert walled("query", "lb", lb)["HostComputeEndpoints"] == []
    walled("delete", "lb", lb)
    assert walled("list", "lb") == []


def test_acls(walled):
    net = walled.network(["10.1.0.0/24"])
    acl = lambda **s: {"Type": "ACL", "Settings": {"Action": "Block", "Direction": "In", "Protocols": "6", "LocalPorts": "81", **s}}
    c = walled.container(net, policies=[acl()])
    c.serve(80, "c")
    c.serve(81, "c")
    other = walled.container(net)
    assert other.fetch(c.address(), 80) and other.fetch(c.address(), 81, timeout=0.3) is None
    walled("modify", "ep", c.ep, {"ResourceType": "Policy", "RequestType": "Remove", "Settings": acl()})
    assert other.fetch(c.address(), 81)


def test_nobody_sends_with_anothers_address(walled):
    net = walled.network(["10.1.0.0/24"])
    thief = walled.container(net, policies=[{"Type": "LinuxInterface", "Settings": {"AntiSpoof": True}}])
    free = walled.container(net)
    other = walled.container(net)
    for c, reached in ((thief, False), (free, True)):
        c.run("ip", "addr", "add", "10.1.0.77/24", "dev", "eth0")
        assert (c.run("busybox", "ping", "-c1", "-W1", "-I", "10.1.0.77", other.address(), check=False).returncode == 0) == reached


SEND = """
import socket, struct, sys
to, source, own = sys.argv[1:]
raw = lambda mac: bytes.fromhex(mac.replace(":", ""))
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
s.send(raw(to) + raw(source) + b"\\x08\\0" + struct.pack("!BBHHHBBH", 0x45, 0, 20, 1, 0, 64, 254, 0) + socket.inet_aton(own) + socket.inet_aton("10.1.0.250"))
"""
HEAR = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x800))
s.bind(("eth0", 0))
s.settimeout(float(sys.argv[1]))
print("ready", flush=True)
try:
    while (got := s.recv(100))[23] != 254:
        pass
    print(got[6:12].hex(":"))
except TimeoutError:
    print("nothing")
"""


def hears(listener, sender, to, source, wait):
    """Whether a frame of the sender's that bears its IPv4 address reaches the listener."""
    with subprocess.Popen(["nsenter", "--net", "-t", str(listener.pid), "/usr/bin/python3", "-c", HEAR, str(wait)], stdout=subprocess.PIPE, text=True) as p:
        assert p.stdout.readline() == "ready\n"
        sender.run("/usr/bin/python3", "-c", SEND, to, source, sender.address())
        return p.stdout.readline() == source + "\n"


def test_the_bridge_knows_who_is_where(walled, host):
    """AntiSpoof holds for hardware addresses by the port itself; and nobody else hears what is meant for one who has not said anything yet."""
    net = walled.network(["10.1.0.0/24"])
    guarded, free = ({"Type": "LinuxInterface", "Settings": {"AntiSpoof": on}} for on in (True, False))
    thief, quiet, third = walled.container(net, policies=[guarded]), walled.container(net, policies=[guarded]), walled.container(net)
    mac = {c: c.ip("link", "show", "dev", "eth0")[0]["address"] for c in (thief, quiet, third)}
    bridge = next(name for name in host.links() if name.startswith("br-"))
    host.run("ip", "link", "set", bridge, "type", "bridge", "fdb_flush")  # what it has learned, as after five silent minutes
    assert not hears(thief, third, mac[quiet], mac[third], 0.5), "flooded"
    assert hears(quiet, third, mac[quiet], mac[third], 5)
    for policy, other in ((None, False), (free, True), (guarded, False)):
        if policy:
            walled("modify", "ep", thief.ep, {"ResourceType": "Policy", "RequestType": "Update", "Settings": policy})
        port_ = next(link["linkinfo"]["info_slave_data"] for link in host.ip("-d", "link") if link.get("ifalias", "").endswith(thief.ep))
        assert port_["locked"] != other and port_["learning"] == other
        assert hears(third, thief, mac[third], "02:00:00:00:00:99", 5 if other else 0.5) == other
        assert hears(third, thief, mac[third], mac[thief], 5)


@pytest.mark.parametrize("how", [["bridge", "link", "set", "dev", "PORT", "locked", "off"], ["ip", "link", "set", "PORT", "type", "bridge_slave", "locked", "off"]], ids=["bridge", "ip"])
def test_a_port_that_somebody_unlocks_is_locked_again(walled, host, how):
    """Once, and again; one that AntiSpoof does not hold for stays as somebody made it."""
    net = walled.network(["10.1.0.0/24"])
    guarded, free = (walled.container(net, policies=[{"Type": "LinuxInterface", "Settings": {"AntiSpoof": on}}]) for on in (True, False))

    def link(c):
        return next(link for link in host.ip("-d", "link") if link.get("ifalias", "").endswith(c.ep))

    def state(c):
        return {k: link(c)["linkinfo"]["info_slave_data"][k] for k in ("locked", "learning")}
    if "locked" not in link(guarded)["linkinfo"]["info_slave_data"]:
        pytest.skip("Linux 5.17")
    for _ in range(3):
        assert state(guarded) == {"locked": True, "learning": False}
        host.run(*(link(guarded)["ifname"] if word == "PORT" else word for word in how))
        wait_for(lambda: state(guarded) == {"locked": True, "learning": False}, what="the lock")
    host.run("bridge", "link", "set", "dev", link(free)["ifname"], "learning", "off")
    assert guarded.pings("10.1.0.1") and state(free) == {"locked": False, "learning": False}
    walled("modify", "ep", guarded.ep, {"ResourceType": "Policy", "RequestType": "Update", "Settings": {"Type": "LinuxInterface", "Settings": {"AntiSpoof": False}}})
    assert state(guarded) == {"locked": False, "learning": True}
    time.sleep(0.3)
    assert state(guarded) == {"locked": False, "learning": True}


def test_reachability(walled):
    c = walled.container(walled.network(["10.1.0.0/24"]), policies=[port(80, 8080, "127.0.0.1")], Name="web")
    p = walled("reachability")["Ports"]
    assert [(x["HostAddress"], x["HostPort"], x["Endpoint"], x["Name"]) for x in p] == [("127.0.0.1", 8080, c.ep, "web")]


def covered(path):
    """A prefix for the driver: it does not see this file."""
    return ["unshare", "--mount", "sh", "-c", f'mount --bind /dev/null {path} && exec "$0"']


def test_without_names_of_protocols(host):
    """A minimal Debian has no /etc/protocols (netbase)."""
    s = Service(host, Firewall=True, prefix=covered("/etc/protocols"))
    try:
        s("settle")
        c = s.container(s.network(["10.1.0.0/24"]), policies=[port(80, 8080)])
        c.serve(80, "web")
        assert host.fetch("127.0.0.1", 8080)[0] == "web"
    finally:
        s.close()


def test_nobody_is_let_in_without_rules(host):
    """The firewall cannot be made at the start: each endpoint tries again, and says why not."""
    library = next(line.split()[-1] for line in host.run("ldconfig", "-p").splitlines() if "libnftables.so.1" in line)
    s = Service(host, Firewall=True, prefix=covered(library))
    try:
        with pytest.raises(HcnError):
            s("settle")
        net, ns = s.network(["10.1.0.0/24"]), s.namespace()
        ep = s.endpoint(net)
        with pytest.raises(HcnError, match="the firewall is not there.*libnftables"):
            s("add", ns, ep)
        assert "table inet caisson" not in host.run("nft", "list", "tables")
        host.run("nsenter", "--mount", "-t", str(s.process.pid), "umount", library)
        s("add", ns, ep)
        assert "table inet caisson" in host.run("nft", "list", "tables")
        s("delete", "ns", ns)
        s("delete", "ep", ep)
    finally:
        s.close()
