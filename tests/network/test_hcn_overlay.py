# SPDX-License-Identifier: Apache-2.0
"""Two network namespaces as hosts, one subnet over both."""
import pytest

from conftest import HcnError, Host, Service, wait_for


def overlay(s, vni=4096, peers=(), host_port=True, **more):
    policies = [{"Type": "VSID", "Settings": {"IsolationId": vni}}]
    policies += [{"Type": "RemoteSubnetRoute", "Settings": {"DestinationPrefix": p[0], "IsolationId": vni, "ProviderAddress": p[1],
                                                            **({"DistributedRouterMacAddress": p[2]} if len(p) > 2 else {})}} for p in peers]
    gateway = {"IpAddressPrefix": "10.50.0.0/24", "Routes": [{"NextHop": "10.50.0.254" if s.host.first else "10.50.0.253", "DestinationPrefix": "0.0.0.0/0"}]}
    return s.network([gateway], type="Overlay", name="mesh", policies=policies, **more)


@pytest.fixture
def pair():
    a, b = Host(), Host()
    a.first, b.first = True, False
    a.wire(b, "192.0.2.1/24", "192.0.2.2/24")
    services = Service(a, Firewall=True), Service(b, Firewall=True)
    for s in services:
        s("settle")
    yield services
    for s in services:
        s.close()
        s.host.close()


def test_one_subnet_over_two_hosts(pair):
    one, two = pair
    na, nb = overlay(one, peers=[("10.50.0.0/24", "192.0.2.2")]), overlay(two, peers=[("10.50.0.0/24", "192.0.2.1")])
    a, b = one.container(na, ips=["10.50.0.10"]), two.container(nb, ips=["10.50.0.20"])
    b.serve(80, "b")
    wait_for(lambda: a.pings("10.50.0.20"), timeout=30)
    assert a.fetch("10.50.0.20", 80) == ["b", "10.50.0.10"]
    assert a.ip("link", "show", "dev", "eth0")[0]["mtu"] == 1450
    assert a.ip("route", "show", "default") == []  # no way out by this network


def test_peers_come_and_go(pair):
    one, two = pair
    na, nb = overlay(one), overlay(two, peers=[("10.50.0.0/24", "192.0.2.1")])
    a, b = one.container(na, ips=["10.50.0.10"]), two.container(nb, ips=["10.50.0.20"])
    assert not a.pings("10.50.0.20")
    peer = {"Type": "RemoteSubnetRoute", "Settings": {"DestinationPrefix": "10.50.0.20/32", "IsolationId": 4096, "ProviderAddress": "192.0.2.2",
                                                      "DistributedRouterMacAddress": b.document()["MacAddress"]}}
    change = lambda how: one("modify", "net", na, {"ResourceType": "Policy", "RequestType": how, "Settings": peer})
    change("Add")
    # by its entry; asked for by ARP, which the VXLAN port answers itself. The first ping's question was lost, the kernel asks once in a second
    wait_for(lambda: a.pings("10.50.0.20"), timeout=30)
    vxlan = next(n for n in one.host.links() if n.startswith("csv"))
    assert b.ip("link", "show", "dev", "eth0")[0]["address"] in one.host.run("bridge", "fdb", "show", "dev", vxlan)
    change("Remove")
    assert b.ip("link", "show", "dev", "eth0")[0]["address"] not in one.host.run("bridge", "fdb", "show", "dev", vxlan)


def test_taken_over_and_removed(pair):
    one, _ = pair
    net = overlay(one, peers=[("10.50.0.0/24", "192.0.2.2")])
    before = {n: link["ifindex"] for n, link in one.host.links().items() if n.startswith(("br-", "csv"))}
    assert len(before) == 2
    one.kill()
    again = Service(one.host)
    policies = [{"Type": "VSID", "Settings": {"IsolationId": 4096}}]
    again.network(["10.50.0.0/24"], type="Overlay", name="mesh", policies=policies, id=net)
    assert again("settle")["Links"] == []
    assert {n: link["ifindex"] for n, link in one.host.links().items() if n.startswith(("br-", "csv"))} == before
    again("delete", "net", net)
    wait_for(lambda: not [n for n in one.host.links() if n.startswith(("br-", "csv"))])
    again.close()


def test_what_an_overlay_needs(pair):
    with pytest.raises(HcnError, match="VSID") as e:
        pair[0].network(["10.50.0.0/24"], type="Overlay")
    assert e.value.code == 0x803B000A
    with pytest.raises(HcnError, match="ProviderAddress"):
        overlay(pair[0], peers=[("10.50.0.0/24", "nowhere")])
    assert not [n for n in pair[0].host.links() if n.startswith(("br-", "csv"))]
