# SPDX-License-Identifier: Apache-2.0
"""macvlan and ipvlan: containers on the wire of an interface of the host's. Where the kernel lacks such links, what the user is told;
`make check-v2` runs the rest."""
import pytest

import caisson_fixture as fx
from box import Boxes, Networks
from netns import lookup
from test_containers_net import interfaces, ip, settings


def kernel_has(net_engine, kind, **extra):
    words = [w for k, v in extra.items() for w in (k, v)]
    made = net_engine.netns.run("ip", "link", "add", "probe0", "link", "out0", "type", kind, *words, check=False).returncode == 0
    if made:
        net_engine.netns.run("ip", "link", "del", "probe0")
    return made


def on_wire(net_engine, networks, kind, parent="out0", subnet="192.0.2", **options):
    """The network, or None after the refusal has been looked at."""
    vlan = "." in parent and not kernel_has(net_engine, "vlan", id="49")
    lacks = "VLAN" if vlan else None if kernel_has(net_engine, kind) else kind
    body = {"Driver": kind, "Options": {"parent": parent, **options},
            "IPAM": {"Config": [{"Subnet": f"{subnet}.0/24", "IPRange": f"{subnet}.128/25", "Gateway": f"{subnet}.2"}]}}
    if not lacks:
        return networks.create("lan", **body)
    a = networks.create("lan", 501, **body)
    assert f"this kernel has no {lacks} links" in a.message, a
    assert "lan" not in {n["Name"] for n in net_engine.http.get("/networks").json}
    return None


@pytest.fixture
def lan(net_engine):
    """The other host on the cable that out0 is the end of."""
    other = net_engine.netns.neighbour()
    yield other
    other.close()


@pytest.mark.parametrize("kind,options", [
    ("macvlan", {"com.docker.network.driver.mtu": "1300"}), ("macvlan", {"macvlan_mode": "private"}), ("ipvlan", {"com.docker.network.driver.mtu": "1300"}), ("ipvlan", {"ipvlan_mode": "l3"}), ("ipvlan", {"ipvlan_flag": "private"})])
def test_on_the_wire(net_engine, networks, net_boxes, lan, kind, options):
    if not on_wire(net_engine, networks, kind, **options):
        return
    n = networks.inspect("lan")
    assert n["Driver"] == kind and n["Options"] == {"parent": "out0", **options}
    a, b = net_boxes.sleeper(network="lan", name="wire-a"), net_boxes.sleeper(network="lan", name="wire-b")
    s = settings(a, "lan")
    assert s["IPAddress"].startswith("192.0.2.1") and s["IPAddress"] in interfaces(a) and s["IPAddress"] != ip(b, "lan")
    parent = net_engine.netns.links()["out0"]
    own = a.exec("cat /sys/class/net/eth0/address")[1].strip()
    assert (own == s["MacAddress"] != parent["address"]) if kind == "macvlan" else own == parent["address"]
    routes = a.exec("ip route")[1]
    if options.get("ipvlan_mode") == "l3":       # no layer 2 that could know the way back: the neighbour is told
        assert "default dev eth0" in routes
        lan.run("ip", "route", "add", "192.0.2.128/25", "via", lan.gateway)
    else:
        assert "default via 192.0.2.2" in routes
    assert a.exec(f"ping -c1 -W4 {lan.address}")[0] == 0 and lan.pings(ip(a, "lan"), timeout=4)
    assert a.exec("cat /sys/class/net/eth0/mtu")[1].strip() == options.get("com.docker.network.driver.mtu", "1500")
    private = "private" in options.values()
    assert (a.exec(f"ping -c1 -W{1 if private else 4} {ip(b, 'lan')}")[0] == 0) != private
    assert lookup(a, "wire-b") == [ip(b, "lan")]
    a.post("stop", {"t": 0})
    fx.wait_for(lambda: not lan.pings(s["IPAddress"]), what="the interface to go")    # the answer to stop does not wait for it
    a.start()
    assert a.exec(f"ping -c1 -W4 {lan.address}")[0] == 0


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_without_a_parent(net_engine, networks, net_boxes, lan, kind):
    """Its containers reach each other and nothing else, as dockerd's on a dummy; what they are on is the network's, over a restart, too."""
    able = kernel_has(net_engine, kind)
    a = networks.create("alone", 201 if able else 501, Driver=kind, IPAM={"Config": [{"Subnet": "10.82.60.0/24"}]})
    if not able:
        assert f"this kernel has no {kind} links" in a.message and not [n for n in net_engine.netns.links() if n.startswith("dm-")]
        return
    one, two = net_boxes.sleeper(network="alone", name="alone-1"), net_boxes.sleeper(network="alone", name="alone-2")
    assert networks.inspect("alone")["Options"] == {}
    assert one.exec(f"ping -c1 -W4 {ip(two, 'alone')}")[0] == 0 and lookup(one, "alone-2") == [ip(two, "alone")]
    assert one.exec(f"ping -c1 -W1 {lan.address}")[0] != 0 and not net_engine.netns.pings(ip(one, "alone"))
    assert "default" not in one.exec("ip route")[1], "another network's way out would lose to it"
    own = {n for n in net_engine.netns.links() if n.startswith(("dm-", "dn-"))}
    assert len(own) == 2
    net_engine.restart()
    assert net_engine.netns.links().keys() >= own and one.exec(f"ping -c1 -W4 {ip(two, 'alone')}")[0] == 0
    for box in (one, two):
        box.rm()
    assert net_engine.http.delete("/networks/alone").status == 204
    fx.wait_for(lambda: not [n for n in net_engine.netns.links() if n.startswith(("dm-", "dn-"))], 30, what="the pair to go")


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_tagged(net_engine, networks, net_boxes, lan, kind):
    """parent=out0.50: the sub-interface is the network's, and goes with it."""
    ident = on_wire(net_engine, networks, kind, "out0.50", "10.82.50")
    if not ident:
        return
    lan.run("ip", "link", "add", "tagged", "link", "eth0", "type", "vlan", "id", "50")
    lan.run("ip", "addr", "add", "10.82.50.2/24", "dev", "tagged")
    lan.run("ip", "link", "set", "tagged", "up")
    made = net_engine.netns.links()["out0.50"]
    assert made["linkinfo"]["info_kind"] == "vlan" and made["linkinfo"]["info_data"]["id"] == 50
    b = net_boxes.sleeper(network="lan")
    assert b.exec("ping -c1 -W4 10.82.50.2")[0] == 0
    assert lan.run("ip", "neigh", "show", ip(b, "lan")).stdout.split()[2] == "tagged"
    b.rm()
    assert net_engine.http.delete("/networks/" + ident).status == 204
    assert "out0.50" not in net_engine.netns.links()


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_a_daemon_that_was_killed(fresh, kind):
    """The next one finds the interfaces in their namespaces and gives nobody else their addresses."""
    eng = fresh(netns=True)
    other, nets, boxes = eng.netns.neighbour(), Networks(eng), Boxes(eng)
    try:
        if not on_wire(eng, nets, kind):
            return
        stays, ends = boxes.sleeper(network="lan", name="stays"), boxes.sleeper(network="lan", name="ends")
        before = ip(stays, "lan")
        eng.kill()
        eng.start()
        assert ip(stays, "lan") == before and other.pings(before, timeout=4)
        late = boxes.sleeper(network="lan")
        assert ip(late, "lan") not in (before, ip(ends, "lan")) and other.pings(ip(late, "lan"), timeout=4)
        assert lookup(stays, "ends") == [ip(ends, "lan")]
        boxes.clean()
        nets.clean()
    finally:
        other.close()
