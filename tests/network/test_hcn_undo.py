# SPDX-License-Identifier: Apache-2.0
"""What fails leaves nothing behind, and what was there before stays as it was."""
import os
from pathlib import Path

import pytest

from conftest import Container, HcnError, guid, wait_for
from test_hcn_edge import port


def left(host):
    """Interfaces that are ours, or look like it."""
    return [n for n in host.links() if n.startswith(("br-", "csv", "cst", "mine")) or "." in n]


def gateways(container):
    return [(r["gateway"], r["dev"]) for r in container.ip("route", "show", "default")]


def test_a_bridge_with_an_mtu_that_none_can_have(service, host):
    for wanted in ({}, {"Name": "mine1"}):
        with pytest.raises(HcnError, match="Mtu: 10 is not within 68"):
            service.network(["10.1.0.0/24"], Mtu=10, **wanted)
        assert not left(host)
    service.network(["10.1.0.0/24"], Name="mine1")
    assert host.links()["mine1"]["ifalias"].startswith("caisson:")


def test_a_vlan_of_an_interface_that_is_down(service, host):
    """Linux makes it, and does not set it up."""
    host.run("ip", "link", "add", "par0", "type", "veth", "peer", "name", "far0")
    policies = [{"Type": "NetAdapterName", "Settings": {"NetworkAdapterName": "par0"}}, {"Type": "VLAN", "Settings": {"IsolationId": 50}}]
    with pytest.raises(HcnError, match="set the VLAN up|no VLAN links"):
        service.network(["10.1.0.0/24"], type="Transparent", policies=policies)
    assert not left(host)


def test_a_vxlan_larger_than_its_wire(service, host):
    host.run("ip", "link", "add", "par0", "type", "veth", "peer", "name", "far0")
    policies = [{"Type": "NetAdapterName", "Settings": {"NetworkAdapterName": "par0"}}, {"Type": "VSID", "Settings": {"IsolationId": 7}}]
    with pytest.raises(HcnError, match="prepare the VXLAN port"):
        service.network(["10.1.0.0/24"], type="Overlay", policies=policies, Mtu=9000)
    assert not left(host)


def test_ipv6_of_a_bridge_of_the_users_stays(service, host):
    host.run("ip", "link", "add", "mine0", "type", "bridge")
    host.run("ip", "addr", "add", "fd00:9::1/64", "dev", "mine0", "nodad")
    service.network(["10.1.0.0/24"], Name="mine0")
    assert "fd00:9::1" in host.run("ip", "-6", "addr", "show", "dev", "mine0")


def test_routes_by_a_bridge_of_the_users_are_the_hosts(service, host):
    """As those by the parent of a macvlan: what is not a network's own subnet is somebody's."""
    host.run("ip", "link", "add", "mine0", "type", "bridge")
    service.network(["10.1.0.0/24"], Name="mine0")
    host.run("ip", "route", "add", "172.16.0.0/14", "dev", "mine0")
    net = service.network(name="two")
    assert service("query", "net", net)["Ipams"][0]["Subnets"][0]["IpAddressPrefix"] == "172.20.0.0/16"


def test_an_attach_that_fails_leaves_the_default_route(service):
    c = service.container(service.network(["10.1.0.0/24", "fd00:1::/64"]))
    two = service.network(["10.2.0.0/24", "fd00:2::/64"], name="two")
    first = {"Type": "LinuxInterface", "Settings": {"GatewayPriority": 5}}
    bad = service.endpoint(two, ips=["10.2.0.9"], policies=[first], Routes=[{"NextHop": "127.0.0.1", "DestinationPrefix": "10.99.0.0/16"}])
    with pytest.raises(HcnError, match="set a route"):
        service("add", c.ns, bad)
    assert gateways(c) == [("10.1.0.1", "eth0")] and [r["gateway"] for r in c.ip("-6", "route", "show", "default")] == ["fd00:1::1"]
    assert len(c.ip("link")) == 2
    service("add", c.ns, service.endpoint(two, policies=[first]))
    assert gateways(c) == [("10.2.0.1", "eth1")]


def balancer(*vips, to=(), port=80):
    return {"HostComputeEndpoints": list(to), "FrontendVIPs": list(vips), "PortMappings": [{"Protocol": 6, "InternalPort": 80, "ExternalPort": port}]}


def test_virtual_addresses_of_a_balancer(walled):
    """All of them or none; those that are taken away answer no more."""
    net = walled.network(["10.1.0.0/24"])
    a, client = walled.container(net), walled.container(net)
    a.serve(80, "a")
    reached = lambda vip: client.fetch(vip, 80, timeout=0.3) is not None
    one, two, three = guid(), guid(), guid()
    walled("lb", one, balancer("10.9.0.2", to=[a.ep]))
    with pytest.raises(HcnError, match="has another one"):
        walled("lb", two, balancer("10.9.0.1", "10.9.0.2", to=[a.ep]))
    assert not reached("10.9.0.1") and reached("10.9.0.2")
    walled("lb", three, balancer("10.9.0.1", "10.9.0.3", to=[a.ep]))
    update = lambda id, doc: walled("modify", "lb", id, {"ResourceType": "LoadBalancer", "RequestType": "Update", "Settings": doc})
    with pytest.raises(HcnError, match="has another one"):
        update(three, balancer("10.9.0.4", "10.9.0.2", to=[a.ep]))
    assert [reached(f"10.9.0.{i}") for i in range(1, 5)] == [True, True, True, False]
    update(three, balancer("10.9.0.3", "10.9.0.4", to=[a.ep]))
    assert [reached(f"10.9.0.{i}") for i in range(1, 5)] == [False, True, True, True]
    update(three, balancer("10.9.0.4", "10.9.0.3", to=[a.ep]))
    assert [reached(f"10.9.0.{i}") for i in range(1, 5)] == [False, True, True, True]
    walled("delete", "lb", three)
    assert [reached(f"10.9.0.{i}") for i in range(1, 5)] == [False, True, False, False]


def test_members_of_an_acl(walled):
    """A protocol may be a number; priorities are 16 bits wide."""
    net = walled.network(["10.1.0.0/24"])
    acl = lambda **s: {"Type": "ACL", "Settings": {"Action": "Block", "Direction": "In", **s}}
    c, other = walled.container(net, policies=[acl(Protocols=17)]), walled.container(net)
    c.serve(80, "c")
    assert other.fetch(c.address(), 80)
    for priority in (65536, -1):
        with pytest.raises(HcnError, match="Priority"):
            walled.endpoint(net, policies=[acl(Priority=priority)])


def test_what_cannot_be_changed_of_an_overlay(service, host):
    peer = lambda at: {"Type": "RemoteSubnetRoute", "Settings": {"DestinationPrefix": "10.1.0.0/24", "IsolationId": 7, "ProviderAddress": at}}
    net = service.network(["10.1.0.0/24"], type="Overlay", policies=[{"Type": "VSID", "Settings": {"IsolationId": 7}}, peer("192.0.2.2")])
    off = {"Type": "LinuxBridge", "Settings": {"InterContainer": False}}
    with pytest.raises(HcnError, match="only RemoteSubnetRoute can be changed") as e:
        service("modify", "net", net, {"ResourceType": "Policy", "RequestType": "Add", "Settings": off})
    assert e.value.code == 0x803B0015
    assert off not in service("query", "net", net)["Policies"]
    with pytest.raises(HcnError, match="Refresh is not possible"):
        service("modify", "net", net, {"ResourceType": "Policy", "RequestType": "Refresh", "Settings": off})
    vxlan = next(n for n in host.links() if n.startswith("csv"))
    with pytest.raises(HcnError, match="nowhere is no address"):
        service("modify", "net", net, {"ResourceType": "Policy", "RequestType": "Update", "Settings": peer("nowhere")})
    assert "192.0.2.2" in host.run("bridge", "fdb", "show", "dev", vxlan), "the peers that there are stay"


def test_a_port_mapping_is_what_it_says(service):
    """Whatever members a client leaves away, before and after the endpoint has been somewhere."""
    net = service.network(["10.1.0.0/24"])
    short = {"Type": "PortMapping", "Settings": {"Protocol": 6, "InternalPort": 80, "ExternalPort": 8080}}
    c = service.container(net, policies=[short])
    change = lambda how: service("modify", "ep", c.ep, {"ResourceType": "Policy", "RequestType": how, "Settings": short})
    with pytest.raises(HcnError, match="there already"):
        change("Add")
    change("Remove")
    assert c.document()["Policies"] == []
    service("remove", c.ns, c.ep)
    change("Add")
    service("add", c.ns, c.ep)
    change("Remove")


def sockets(service):
    return {os.readlink(f) for f in Path(f"/proc/{service.process.pid}/fd").iterdir() if os.readlink(f).startswith("socket:")}


def test_ports_stay_while_links_change(walled):
    """The host's reservation is not let go of, nor is a port closed for a moment, because a link goes."""
    net = walled.network(["10.1.0.0/24"], InterContainer=False)
    target = walled.container(net, policies=[{"Type": "DnsNames", "Settings": {"Names": ["t"]}}, {"Type": "LinuxInterface", "Settings": {"ExposedPorts": ["80/tcp"]}}])
    names = lambda **links: {"Type": "DnsNames", "Settings": {"Names": ["c"], "Links": links}}
    c = walled.container(net, policies=[port(80, 8080), names(t=target.ep)])
    target.serve(80, "t")
    before, ports = sockets(walled), walled("reachability")["Ports"]
    change = lambda how: walled("modify", "ep", c.ep, {"ResourceType": "Policy", "RequestType": "Update", "Settings": how})
    assert ports and c.fetch(target.address(), 80)
    change(names())
    assert before <= sockets(walled) and walled("reachability")["Ports"] == ports and c.fetch(target.address(), 80, timeout=0.3) is None
    change(names(t=target.ep))
    assert before <= sockets(walled) and c.fetch(target.address(), 80)


def test_everybody_at_the_same_objects(walled, host):
    """Two namespaces want one endpoint, a third thread another in the first, and they are changed and looked at meanwhile: each is somewhere or nowhere, and works."""
    net = walled.network(["10.1.0.0/24", "fd00:1::/64"])
    a, b = (walled.namespace(Resolver=True) for _ in range(2))
    one, two = (walled.endpoint(net, policies=[{"Type": "DnsNames", "Settings": {"Names": [n]}}]) for n in ("one", "two"))
    walled("race", 60, net, one, two, a, b, 8080)
    for ns in (a, b):
        assert walled("query", "ns", ns)["Resources"] == []
    assert [walled("query", "ep", e)["HostComputeNamespace"] for e in (one, two)] == ["", ""]
    wait_for(lambda: not [n for n, link in host.links().items() if n.startswith("csp") and link.get("ifalias")])
    for ns, e in ((b, one), (a, two)):
        walled("add", ns, e)
    c, d = Container(walled, b, [one]), Container(walled, a, [two])
    assert c.pings(d.address()) and c.addresses("eth0")[0].startswith("10.1.0.") and len(c.ip("link")) == 2
