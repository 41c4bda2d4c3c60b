# SPDX-License-Identifier: Apache-2.0
"""Bandwidth, MTU, isolation of single endpoints, and networks on a parent interface."""
import pytest

from conftest import HcnError, guid

SEND = """
import socket, sys, time
s = socket.create_connection((sys.argv[1], 9))
t = time.monotonic()
s.sendall(b"x" * int(sys.argv[2]))
s.shutdown(socket.SHUT_WR)
s.recv(1)
print(time.monotonic() - t)
"""
SINK = """
import socket
s = socket.create_server(("", 9))
print("ready", flush=True)
while True:
    c, _ = s.accept()
    while c.recv(1 << 16):
        pass
    c.close()
"""


def qos(rate):
    return {"Type": "QOS", "Settings": {"MaximumOutgoingBandwidthInBytes": rate}}


def test_a_bandwidth_limit_limits(service):
    import subprocess
    net = service.network(["10.1.0.0/24"])
    slow, sink = service.container(net, policies=[qos(2 << 20)]), service.container(net)
    p = subprocess.Popen(sink.command("/usr/bin/python3", "-c", SINK), stdout=subprocess.PIPE, text=True)
    sink.servers = [p]
    assert p.stdout.readline() == "ready\n"
    seconds = lambda n: float(slow.run("/usr/bin/python3", "-c", SEND, sink.address(), str(n)))
    kinds = lambda: [q["kind"] for q in slow_qdiscs(slow)]
    assert seconds(2 << 20) > 0.8 and kinds() == ["tbf"]  # a second, but for the bucket; longer on a busy machine
    change = lambda how, p: service("modify", "ep", slow.ep, {"ResourceType": "Policy", "RequestType": how, "Settings": p})
    change("Remove", qos(2 << 20))
    assert "tbf" not in kinds() and seconds(2 << 20) > 0
    change("Add", qos(1 << 20))
    assert seconds(1 << 20) > 0.7 and kinds() == ["tbf"]


def slow_qdiscs(c):
    import json
    return json.loads(c.run("tc", "-j", "qdisc", "show", "dev", "eth0"))


def test_mtu(service, host):
    net = service.network(["10.1.0.0/24"], Mtu=1400)
    a, b = service.container(net), service.container(net, policies=[{"Type": "InterfaceParameters", "Settings": {"Mtu": 1300}}])
    assert a.ip("link", "show", "dev", "eth0")[0]["mtu"] == 1400 and b.ip("link", "show", "dev", "eth0")[0]["mtu"] == 1300
    links = host.links()
    assert all(link["mtu"] == 1400 for n, link in links.items() if n.startswith("br-") or link.get("master"))


def test_an_endpoint_that_talks_to_no_other(service):
    net = service.network(["10.1.0.0/24"])
    a, b, c = service.container(net, Flags=2), service.container(net, Flags=2), service.container(net)
    assert not a.pings(b.address()) and a.pings(c.address()) and a.pings("10.1.0.1")


def test_a_network_of_one_subnet_and_two_addresses(service):
    net = service.network(["10.1.0.0/31"])  # RFC 3021: the gateway and one container
    c = service.container(net)
    assert c.address() == "10.1.0.1" and c.pings("10.1.0.0")
    with pytest.raises(HcnError, match="no available"):
        service.endpoint(net)


def test_private_and_disabled_host_port(service, host):
    for doc in ({"Type": "Private"}, {"Type": "NAT", "Flags": 1024}):
        net = guid()
        service("net", net, {**doc, "Name": "p", "Ipams": [{"Subnets": [{"IpAddressPrefix": "10.1.0.0/24"}]}]})
        a, b = service.container(net), service.container(net)
        assert a.pings(b.address()) and not a.pings("10.1.0.1")
        bridge = next(link for n, link in host.links().items() if n.startswith("br-"))
        assert host.ip("addr", "show", "dev", bridge["ifname"])[0]["addr_info"] == []
        for c in (a, b):
            service("delete", "ns", c.ns)
            service("delete", "ep", c.ep)
        service("delete", "net", net)


@pytest.mark.parametrize("type,kind", [("Transparent", "macvlan"), ("L2Bridge", "ipvlan")])
def test_networks_on_a_parent(service, host, outside, type, kind):
    outside.wire(host, "192.0.2.1/24", "192.0.2.2/24")
    parent = [{"Type": "NetAdapterName", "Settings": {"NetworkAdapterName": "wire0"}}]
    with pytest.raises(HcnError, match="parent interface nothing0 does not exist") as e:
        service.network(["10.1.0.0/24"], type=type, policies=[{"Type": "NetAdapterName", "Settings": {"NetworkAdapterName": "nothing0"}}])
    assert e.value.code == 0x803B0006
    if host.run("ip", "link", "add", "probe0", "link", "wire0", "type", kind, check=False).returncode != 0:
        with pytest.raises(HcnError, match=f"this kernel has no {kind} links") as e:
            service.network(["192.0.2.0/24"], type=type, policies=parent)
        assert e.value.code == 0x803B0015
        return
    host.run("ip", "link", "del", "probe0")
    subnet = {"IpAddressPrefix": "192.0.2.0/24", "IpRange": "192.0.2.128/25", "Routes": [{"NextHop": "192.0.2.1", "DestinationPrefix": "0.0.0.0/0"}]}
    net = service.network([subnet], type=type, policies=parent)
    a, b = service.container(net), service.container(net)
    assert a.pings("192.0.2.1") and a.pings(b.address()) and a.ip("route", "show", "default")[0]["gateway"] == "192.0.2.1"
    assert service("stats", a.ep)["PacketsSent"] > 0
    service("remove", a.ns, a.ep)
    assert len(a.ip("link")) == 1
