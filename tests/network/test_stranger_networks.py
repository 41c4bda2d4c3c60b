# SPDX-License-Identifier: Apache-2.0
"""What somebody tries who knows Docker's networks and not this engine: odd input, full subnets, many at once, several hosts."""
import json
import re
import threading

import pytest

import caisson_fixture as fx
from box import Boxes, Networks
from netns import fetch, in_netns
from test_containers_net import interfaces, ip, publish, server, settings

SLEEP = ["sleep", "1000"]


def at_once(work, things, workers):
    """Runs work(thing) for all of them, so many at a time; what they returned, in their order."""
    todo, out = list(enumerate(things)), {}

    def run():
        while True:
            try:
                i, t = todo.pop(0)
            except IndexError:
                return
            out[i] = work(t)
    threads = [threading.Thread(target=run) for _ in range(workers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return [out[i] for i in range(len(things))]


# -- creation -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("status,words,body", [
    (400, "address 10.30.0.0 is reserved", {"IPAM": {"Config": [{"Subnet": "10.30.0.0/24", "Gateway": "10.30.0.0"}]}}),
    (400, "address 10.30.0.255 is reserved", {"IPAM": {"Config": [{"Subnet": "10.30.0.0/24", "Gateway": "10.30.0.255"}]}}),
    (400, "doesn't contain this address", {"IPAM": {"Config": [{"Subnet": "10.30.0.0/24", "Gateway": "10.31.0.1"}]}}),
    (400, "10.30.0.1 is already in use", {"IPAM": {"Config": [{"Subnet": "10.30.0.0/24", "Gateway": "10.30.0.1", "AuxiliaryAddresses": {"a": "10.30.0.1"}}]}}),
    (400, "invalid subnet", {"IPAM": {"Config": [{"Gateway": "10.30.0.1"}]}}),
    (400, "should be 10.30.0.64/26", {"IPAM": {"Config": [{"Subnet": "10.30.0.0/24", "IPRange": "10.30.0.77/26"}]}}),
    (403, "overlap", {"IPAM": {"Config": [{"Subnet": "10.30.0.0/24"}, {"Subnet": "10.30.0.0/25"}]}}),
    (400, "no interface of a network can have such addresses", {"EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "ff02::/64"}]}}),
    (400, "no interface of a network can have such addresses", {"IPAM": {"Config": [{"Subnet": "224.0.5.0/24"}]}}),
    (400, "no interface of a network can have such addresses", {"IPAM": {"Config": [{"Subnet": "127.0.0.0/8"}]}}),
    (400, "no interface of a network can have such addresses", {"IPAM": {"Config": [{"Subnet": "127.0.1.0/24"}]}}),
    (400, "IPv4", {"EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "::ffff:10.30.0.0/120"}]}}),
    (400, "can only be used for an internal network", {"Options": {"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}}),
    (400, "loopback interface", {"Driver": "macvlan", "Options": {"parent": "lo"}}),
    (404, "plugin", {"Driver": "BRIDGE"}),
    (400, "ParseBool", {"Options": {"com.docker.network.bridge.enable_icc": "maybe"}}),
    (400, "mtu", {"Options": {"com.docker.network.driver.mtu": "-5"}}),
])
def test_what_cannot_be_made(net_engine, status, words, body):
    links = set(net_engine.netns.links())
    a = net_engine.http.post("/networks/create", body={"Name": "cannot", **body})
    if a.status == 201:
        net_engine.http.delete("/networks/" + a.json["Id"])
    assert a.status == status and words in a.message, a
    assert "Transparent" not in a.message and "NetAdapterName" not in a.message       # words of another API
    assert {n for n in net_engine.netns.links() if not n.startswith("csp")} <= links and net_engine.http.get("/networks/cannot").status == 404


def test_only_ipv6(net_engine, networks, net_boxes):
    """A network without IPv4: address, route, files, names, and a port that is published for IPv6 only."""
    networks.create("six-only", EnableIPv4=False, EnableIPv6=True)
    n = networks.inspect("six-only")
    assert [c["Subnet"].startswith("fd") for c in n["IPAM"]["Config"]] == [True] and not n["EnableIPv4"]
    web = server(net_boxes, "only six", network="six-only", name="so-web", Host=publish(p80_tcp={"HostPort": "18600"}))
    s = settings(web, "six-only")
    assert s["IPAddress"] == "" and s["Gateway"] == "" and s["GlobalIPv6Address"].startswith("fd") and s["MacAddress"]
    assert settings(web)["Ports"]["80/tcp"] == [{"HostIp": "::", "HostPort": "18600"}]
    user = net_boxes.sleeper(network="six-only")
    assert not re.search(r"eth0\s+inet ", interfaces(user)) and "default via" in user.exec("ip -6 route")[1]
    assert f"{s['GlobalIPv6Address']}\t{web.id[:12]}" in web.exec("cat /etc/hosts")[1]
    assert fetch(user, f"http://[{s['GlobalIPv6Address']}]/") == "only six"
    fx.wait_for(lambda: net_engine.netns.fetch("http://[::1]:18600/", check=False) == "only six\n", what="the port on ::1")
    assert net_engine.netns.fetch("http://127.0.0.1:18600/", check=False, timeout=1) is None


def test_a_full_subnet_and_its_recovery(net_engine, networks, net_boxes):
    """A /29 has five addresses for containers: the sixth is told so, nothing of it stays, and it starts when another has gone."""
    networks.subnet("tiny", "10.33.0.0/29")
    made = [net_boxes.start(SLEEP, network="tiny") for _ in range(5)]
    sixth = net_boxes.create(SLEEP, network="tiny")
    for _ in range(3):
        a = sixth.post("start")
        assert a.status == 403 and "no available IPv4 addresses on this network's address pools: 10.33.0.0/29" in a.message, a
    assert sixth.inspect()["State"]["Status"] == "created" and settings(sixth, "tiny")["IPAddress"] == ""
    other = net_boxes.start(SLEEP, network="bridge")
    assert "no available" in networks.connect("tiny", other, expect=a.status).message.lower()
    assert "tiny" not in settings(other)["Networks"]
    gone = ip(made[2], "tiny")
    made[2].rm()
    sixth.start()
    assert ip(sixth, "tiny") == gone
    networks.disconnect("tiny", made[0])
    networks.connect("tiny", other)
    assert len({ip(b, "tiny") for b in (made[1], made[3], made[4], sixth, other)}) == 5


def test_a_range_is_for_what_is_chosen_only(networks, net_boxes):
    """--ip-range bounds what the engine chooses; a static address may be anywhere in the subnet."""
    networks.create("ranged", IPAM={"Config": [{"Subnet": "10.34.0.0/24", "IPRange": "10.34.0.64/30", "Gateway": "10.34.0.1", "AuxiliaryAddresses": {"x": "10.34.0.65"}}]})
    made = [net_boxes.start(SLEEP, network="ranged") for _ in range(3)]
    assert {ip(b, "ranged") for b in made} == {"10.34.0.64", "10.34.0.66", "10.34.0.67"}
    static = net_boxes.start(SLEEP, network="ranged", NetworkingConfig={"EndpointsConfig": {"ranged": {"IPAMConfig": {"IPv4Address": "10.34.0.200"}}}})
    assert ip(static, "ranged") == "10.34.0.200"
    aux = net_boxes.create(SLEEP, network="ranged", NetworkingConfig={"EndpointsConfig": {"ranged": {"IPAMConfig": {"IPv4Address": "10.34.0.65"}}}})
    assert aux.post("start").status in (403, 409)


@pytest.mark.parametrize("six", [False, True])
def test_who_is_connected_is_announced(net_engine, networks, net_boxes, six):
    """The host has just talked to the address, which has another hardware address from now on. (Those of networks with IPv6 only are random.)"""
    networks.subnet("told", "fd00:47::/64" if six else "10.47.0.0/24", EnableIPv4=not six, EnableIPv6=six)
    address, ping = ("fd00:47::2", "ping6") if six else ("10.47.0.2", "ping")
    box = net_boxes.sleeper(network="bridge")
    for n in range(4):
        config = {"IPAMConfig": {"IPv6Address" if six else "IPv4Address": address}}       # waits for the one before
        networks.connect("told", box, **config, **({} if six else {"MacAddress": f"02:00:00:00:47:0{n}"}))
        assert net_engine.netns.run("busybox", ping, "-c1", "-W1", address, check=False).returncode == 0, n
        networks.disconnect("told", box)


@pytest.mark.parametrize("how", ["start", "rm -f", "stop, rm"])
def test_who_comes_back_has_its_address(networks, net_boxes, how):
    """As with dockerd, whose stop and rm wait for the address: proxies look it up once."""
    networks.subnet("again", "10.46.0.0/24")
    seen = set()
    for _ in range(10):
        b = net_boxes.sleeper(network="again", name="again-web")
        seen.add(ip(b, "again"))
        if how != "rm -f":
            b.post("stop", {"t": 5})
        if how == "start":
            seen.add(ip(b.start(), "again"))
        b.rm()
    assert seen == {"10.46.0.2"}


def test_fifty_on_one_network(net_engine, networks, net_boxes):
    networks.subnet("fifty", "10.35.0.0/24")
    made = [net_boxes.create(SLEEP, network="fifty", name=f"fifty-{i}") for i in range(50)]
    assert set(at_once(lambda b: b.post("start").status, made, 20)) == {204}
    members = networks.inspect("fifty")["Containers"]
    assert len({m["IPv4Address"] for m in members.values()}) == len({m["MacAddress"] for m in members.values()}) == 50
    last = made[-1]
    assert all(last.exec(f"ping -c1 -W3 {members[b.id]['IPv4Address'].split('/')[0]}")[0] == 0 for b in made[:-1:16])
    assert set(at_once(lambda b: b.rm().status, made, 20)) == {204}
    fx.wait_for(lambda: not net_engine.network_leaks(), what="no leaks")


def test_a_network_over_a_route_of_the_host(net_engine, networks, net_boxes):
    """As in Docker a subnet that is asked for may lie within a route of the host's (the host reaches the container, the rest of the route stays),
    and one that the engine chooses never does."""
    outside = net_engine.netns.neighbour()
    try:
        for n in range(17, 32):
            net_engine.netns.run("ip", "route", "replace", f"172.{n}.128.0/17", "via", outside.address)
        networks.create("chosen")
        assert networks.inspect("chosen")["IPAM"]["Config"][0]["Subnet"].startswith("192.168.")
        networks.subnet("asked", "172.25.200.0/24")
        web = server(net_boxes, "within", network="asked")
        assert net_engine.netns.fetch(f"http://{ip(web, 'asked')}/") == "within\n"
        assert f"via {outside.address}" in net_engine.netns.run("ip", "route", "get", "172.25.201.1").stdout
    finally:
        for n in range(17, 32):
            net_engine.netns.run("ip", "route", "del", f"172.{n}.128.0/17", check=False)
        outside.close()


# -- ways into and out of networks ----------------------------------------------------------------------------------------

def test_exposed_ports_of_networks_that_publish(net_engine, networks, net_boxes):
    """dockerd shows ports of networks that publish only, whatever an image exposes."""
    networks.create("ex-in", Internal=True)
    for net, want in (("none", {}), ("ex-in", {}), ("bridge", {"99/tcp": None})):
        assert settings(net_boxes.start(SLEEP, network=net, ExposedPorts={"99/tcp": {}}))["Ports"] == want, net
    b = net_boxes.start(SLEEP, network="host", ExposedPorts={"99/tcp": {}})
    assert settings(b)["Ports"] == {}
    assert next(c for c in net_engine.http.get("/containers/json").json if c["Id"] == b.id)["Ports"] == []


def test_connections_of_a_stopped_container(net_engine, networks, net_boxes):
    networks.subnet("st-a", "10.36.1.0/24")
    networks.subnet("st-b", "10.36.2.0/24")
    b = net_boxes.create(SLEEP, network="st-a")
    networks.connect("st-b", b, IPAMConfig={"IPv4Address": "10.36.2.98"})
    networks.connect("st-b", b, IPAMConfig={"IPv4Address": "10.36.2.97"})      # it replaces the other, as in dockerd
    b.start()
    assert (ip(b, "st-a"), ip(b, "st-b")) == ("10.36.1.2", "10.36.2.97")
    b.post("stop", {"t": 0})
    assert net_engine.http.delete("/networks/st-b").status == 204       # a container that does not run does not keep it
    a = b.post("start")
    assert a.status == 404 and " not found" in a.message, a
    networks.disconnect("st-b", b, force=True)
    b.start()
    assert set(settings(b)["Networks"]) == {"st-a"}


def test_disconnect_by_force_of_what_is_not_there(networks, net_boxes):
    networks.create("frc")
    b = net_boxes.start(SLEEP, network="frc", name="frc-box")
    networks.disconnect("frc", b, force=True)
    assert "frc" not in settings(b)["Networks"] and "eth" not in interfaces(b)
    assert "is not connected" in networks.disconnect("frc", b, force=True, expect=500).message
    a = networks.engine.http.post("/networks/frc/disconnect", body={"Container": "nosuch", "Force": True})
    assert a.status == 404, a


def test_a_missing_link_is_no_missing_image(net_engine):
    """A 404 would make docker pull the image (moby#39823)."""
    a = net_engine.cli("run", "--rm", "--link", "nosuch:x", fx.ROOTFS, "true")
    assert a.returncode == 125 and "could not get container for nosuch" in a.stderr and "Unable to find image" not in a.stderr


def test_connects_and_disconnects_at_once(net_engine, networks, net_boxes):
    """Many hands at one container and one network: no state but connected or not, and nothing left."""
    for i in range(4):
        networks.subnet(f"cd-{i}", f"10.37.{i}.0/24")
    b = net_boxes.start(SLEEP, network="bridge")

    def toggle(i):
        seen = set()
        for n in range(6):
            verb = "connect" if n % 2 == 0 else "disconnect"
            seen.add(net_engine.http.post(f"/networks/cd-{i % 4}/{verb}", body={"Container": b.id}).status)
        return seen
    assert set().union(*at_once(toggle, range(8), 8)) <= {200, 403, 500}
    for i in range(4):
        if f"cd-{i}" in settings(b)["Networks"]:
            networks.disconnect(f"cd-{i}", b)
    assert set(settings(b)["Networks"]) == {"bridge"}
    assert re.findall(r"^\d+: (\w+)", interfaces(b), re.M) and "eth1" not in interfaces(b) and "10.37." not in b.exec("cat /etc/hosts")[1]


# -- other drivers --------------------------------------------------------------------------------------------------------

def test_macvlan(net_engine, networks, net_boxes):
    """Its containers are on the parent's wire with addresses of their own."""
    outside = net_engine.netns.neighbour("10.38.0", "2001:db8:38::")
    try:
        a = net_engine.http.post("/networks/create", body={"Name": "mac", "Driver": "macvlan", "Options": {"parent": "out0"},
                                                           "IPAM": {"Config": [{"Subnet": "10.38.0.0/24", "IPRange": "10.38.0.128/25", "Gateway": "10.38.0.2"}]}})
        if a.status == 501:
            assert "this kernel has no macvlan links" in a.message
            return
        assert a.status == 201, a
        networks.made.append(a.json["Id"])
        one, two = net_boxes.start(SLEEP, network="mac"), net_boxes.start(SLEEP, network="mac", Host=publish(p80_tcp={"HostPort": "18601"}))
        assert ip(one, "mac").startswith("10.38.0.1") and settings(two)["Ports"] == {}
        assert one.exec("ping -c1 -W3 10.38.0.2")[0] == 0 and one.exec(f"ping -c1 -W3 {ip(two, 'mac')}")[0] == 0
        assert outside.pings(ip(one, "mac"), timeout=3)
        one.rm()
        two.rm()
        fx.wait_for(lambda: not [n for n, l in net_engine.netns.links().items() if l.get("linkinfo", {}).get("info_kind") == "macvlan"], what="no macvlan")
        assert "out0" in net_engine.netns.links()
    finally:
        for b in net_boxes.made:
            b.rm()
        networks.clean()
        outside.close()


def test_overlay_of_two_engines(fresh):
    """One subnet over two hosts by static peers, as docs/networks.md says it is made."""
    one, two = fresh(netns=True), fresh(netns=True)
    one.netns.run("ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire0", "netns", str(two.netns.pid))
    for eng, n in ((one, 1), (two, 2)):
        eng.netns.run("ip", "addr", "add", f"192.0.2.{n}/24", "dev", "wire0")
        eng.netns.run("ip", "link", "set", "wire0", "up")
    boxes = []
    for eng, n, other in ((one, 1, 2), (two, 2, 1)):
        made = eng.cli("network", "create", "-d", "overlay", "--subnet", "10.39.0.0/24", "--ip-range", f"10.39.0.{64 * n}/26", "--gateway", f"10.39.0.{n}",
                       "-o", f"caisson.network.overlay.address=192.0.2.{n}", "-o", f"caisson.network.overlay.peers=10.39.0.0/24@192.0.2.{other}", "mesh")
        assert made.returncode == 0, made.stderr
        boxes.append(server(Boxes(eng), f"from {n}", network="mesh"))
    a, b = boxes
    assert ip(a, "mesh") != ip(b, "mesh")
    fx.wait_for(lambda: fetch(a, f"http://{ip(b, 'mesh')}/") == "from 2", what="the way over the wire")
    assert fetch(b, f"http://{ip(a, 'mesh')}/") == "from 1"
    one.restart()
    assert fetch(b, f"http://{ip(a, 'mesh')}/") == "from 1"
    for eng in (one, two):
        eng.remove_all()
        assert not [n for n, l in eng.netns.links().items() if l.get("linkinfo", {}).get("info_kind") == "vxlan"]
