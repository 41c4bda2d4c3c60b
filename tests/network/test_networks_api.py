# SPDX-License-Identifier: Apache-2.0
"""/networks: shapes, filters, refusals and events, as Docker has them."""
import json

import pytest

from box import Events, Networks, create

PREDEFINED = ("bridge", "host", "none")


def names(engine, version=None, **filters):
    a = engine.http.get("/networks", {"filters": json.dumps(filters)} if filters else None, version=version)
    assert a.status == 200, a
    return {n["Name"] for n in a.json}


# -- shapes ---------------------------------------------------------------------------------------------------------------

def test_predefined_networks(net_engine, networks):
    assert set(PREDEFINED) <= names(net_engine)
    b = networks.inspect("bridge")
    assert b["Driver"] == "bridge" and b["EnableIPv4"] and not b["EnableIPv6"] and b["Scope"] == "local"
    assert b["Options"]["com.docker.network.bridge.default_bridge"] == "true"
    assert b["Options"]["com.docker.network.bridge.name"] in net_engine.netns.links()
    assert b["IPAM"]["Config"][0]["Subnet"] == "172.17.0.0/16" and b["IPAM"]["Config"][0]["Gateway"] == "172.17.0.1"
    assert networks.inspect("host")["Driver"] == "host" and networks.inspect("none")["Driver"] == "null"
    assert networks.inspect("none")["IPAM"] == {"Driver": "default", "Options": None, "Config": []}


def test_create_and_inspect(net_engine, networks):
    ident = networks.create("shape", Driver="bridge", Labels={"a": "b"}, Options={"com.docker.network.driver.mtu": "1400"}, EnableIPv6=True, Attachable=True,
                            IPAM={"Driver": "default", "Config": [{"Subnet": "10.61.0.0/16", "IPRange": "10.61.5.0/24", "Gateway": "10.61.5.254",
                                                                   "AuxiliaryAddresses": {"router": "10.61.5.7"}}, {"Subnet": "fd00:61::/64"}]})
    n = networks.inspect("shape")
    assert n["Id"] == ident == networks.inspect(ident[:12])["Id"] == networks.inspect(ident)["Id"]
    assert n["Labels"] == {"a": "b"} and n["Options"] == {"com.docker.network.driver.mtu": "1400"} and n["Attachable"] and n["EnableIPv6"]
    assert n["IPAM"]["Config"][0] == {"Subnet": "10.61.0.0/16", "IPRange": "10.61.5.0/24", "Gateway": "10.61.5.254", "AuxiliaryAddresses": {"router": "10.61.5.7"}}
    assert n["IPAM"]["Config"][1]["Subnet"] == "fd00:61::/64" and n["Containers"] == {}
    link = net_engine.netns.links()["br-" + ident[:12]]
    assert link["mtu"] == 1400
    addresses = json.loads(net_engine.netns.run("ip", "-j", "addr", "show", "br-" + ident[:12]).stdout)[0]["addr_info"]
    assert {"10.61.5.254", "fd00:61::1"} <= {a["local"] for a in addresses}


def test_shapes_by_version(net_engine, networks, net_boxes):
    networks.subnet("versions", "10.62.0.0/24")
    box = net_boxes.sleeper(network="versions")
    old, new = networks.inspect("versions", "1.45"), networks.inspect("versions", "1.52")
    assert "EnableIPv4" not in old and new["EnableIPv4"] is True
    assert "Status" not in old
    assert new["Status"] == {"IPAM": {"Subnets": {"10.62.0.0/24": {"IPsInUse": 4, "DynamicIPsAvailable": 252}}}}
    for bits, left in ((56, 2**64 - 1), (64, 2**64 - 2), (65, 2**63 - 2)):       # as many as the number can say
        networks.create(f"versions{bits}", EnableIPv4=False, EnableIPv6=True, IPAM={"Config": [{"Subnet": f"fd00:62:{bits}::/{bits}"}]})
        assert networks.inspect(f"versions{bits}", "1.52")["Status"]["IPAM"]["Subnets"] == {f"fd00:62:{bits}::/{bits}": {"IPsInUse": 2, "DynamicIPsAvailable": left}}
    assert new["Containers"][box.id]["IPv4Address"] == "10.62.0.2/24" and new["Containers"][box.id]["MacAddress"]
    listed = {v: next(n for n in net_engine.http.get("/networks", version=v).json if n["Name"] == "versions") for v in ("1.27", "1.45", "1.52")}
    assert set(listed["1.27"]["Containers"]) == {box.id} and listed["1.45"]["Containers"] == {} and "Containers" not in listed["1.52"]


def test_filters(net_engine, networks, net_boxes):
    networks.create("f-one", Labels={"kind": "a"})
    networks.create("f-two", Internal=True)
    net_boxes.sleeper(network="f-one")
    assert names(net_engine, name=["f-"]) == {"f-one", "f-two"}
    assert names(net_engine, name=["f-"], label=["kind=a"]) == {"f-one"}
    assert names(net_engine, name=["f-"], dangling=["true"]) == {"f-two"}
    assert names(net_engine, name=["f-"], dangling=["false"]) == {"f-one"}
    assert names(net_engine, type=["builtin"]) == set(PREDEFINED)
    assert not names(net_engine, type=["custom"]) & set(PREDEFINED)
    assert names(net_engine, driver=["host"]) == {"host"}
    assert names(net_engine, scope=["swarm"]) == set()
    assert names(net_engine, id=[networks.made[-1][:20]]) == {"f-two"}
    for bad in ({"dangling": ["x"]}, {"type": ["x"]}, {"what": ["x"]}):
        assert net_engine.http.get("/networks", {"filters": json.dumps(bad)}).status == 400


@pytest.mark.caisson
def test_prefixes_are_compared_as_numbers(networks):
    """moby since it has netip: 2001:389::0/96 is what docker-py's own tests write."""
    networks.create("n-zero", EnableIPv6=True, IPAM={"Config": [{"Subnet": "2001:389:0::/64", "IPRange": "2001:389::0/96", "Gateway": "2001:389::ffff"}]})


# -- refusals -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("status,message,body", [
    (403, "operation is not permitted on predefined bridge network", {"Name": "bridge"}),
    (403, "operation is not permitted on predefined none network", {"Name": "none"}),
    (400, "name is empty", {"Name": ""}),
    (404, 'plugin "weave" not found', {"Name": "x", "Driver": "weave"}),
    (404, 'plugin "weave" not found', {"Name": "x", "IPAM": {"Driver": "weave"}}),
    (403, 'only one instance of "host" network is allowed', {"Name": "x", "Driver": "host"}),
    (400, "invalid subnet 10.0.0.1/24: it should be 10.0.0.0/24", {"Name": "x", "IPAM": {"Config": [{"Subnet": "10.0.0.1/24"}]}}),
    (400, "IPv4 or IPv6 must be enabled", {"Name": "x", "EnableIPv4": False}),
    (403, "This node is not a swarm manager", {"Name": "x", "Driver": "overlay"}),
    (501, "there is no swarm", {"Name": "x", "Scope": "swarm"}),
    (404, 'configuration network "nosuch" does not exist', {"Name": "x", "ConfigFrom": {"Network": "nosuch"}}),
])
def test_create_refusals(networks, status, message, body):
    a = networks.engine.http.post("/networks/create", body=body)
    assert a.status == status and message in a.message, a


def test_subnets_of_a_size(fresh):
    """"0.0.0.0/24", "::/120": any of that size from the pools, and the same with the next daemon."""
    eng = fresh(netns=True)
    nets = Networks(eng)
    nets.create("four", IPAM={"Config": [{"Subnet": "0.0.0.0/24"}]})
    nets.create("six", EnableIPv4=False, EnableIPv6=True, IPAM={"Config": [{"Subnet": "::/120"}]})
    nets.create("both", EnableIPv6=True, IPAM={"Config": [{"Subnet": "0.0.0.0/26"}, {"Subnet": "::/64"}]})
    subnets = lambda: {n: [c["Subnet"] for c in nets.inspect(n)["IPAM"]["Config"]] for n in ("four", "six", "both")}
    chosen = subnets()
    assert [[s.split("/")[1] for s in v] for v in chosen.values()] == [["24"], ["120"], ["26", "64"]] and chosen["six"][0].startswith("fd")
    eng.restart(graceful=True)
    assert subnets() == chosen


def test_the_subnet_of_ipv4_is_shown_first(networks):
    given = [{"Subnet": "fd00:84::/64", "Gateway": "fd00:84::9"}, {"Subnet": "10.84.0.0/24", "IPRange": "10.84.0.128/25", "Gateway": "10.84.0.9"}]
    networks.create("order", EnableIPv6=True, IPAM={"Config": given})
    assert networks.inspect("order")["IPAM"]["Config"] == given[::-1]
    networks.create("order2", EnableIPv6=True, IPAM={"Config": [{"Subnet": "fd00:85::/64"}]})
    assert [":" in c["Subnet"] for c in networks.inspect("order2")["IPAM"]["Config"]] == [False, True]


def test_a_bridge_has_one_network(networks):
    networks.create("first", Options={"com.docker.network.bridge.name": "cst-one-br"})
    a = networks.create("second", expect=403, Options={"com.docker.network.bridge.name": "cst-one-br"})
    assert a.message.endswith("conflicts with network first (cst-one-br): networks have same bridge name"), a.message


def test_names_are_unique(networks):
    networks.create("once")
    a = networks.create("once", expect=409, CheckDuplicate=False)
    assert a.message == "network with name once already exists"
    networks.create("once", expect=409, version="1.30")


def test_overlapping_subnets(networks):
    networks.subnet("over-a", "10.63.0.0/16")
    a = networks.create("over-b", expect=403, IPAM={"Config": [{"Subnet": "10.63.4.0/24"}]})
    assert "Pool overlaps with other one on this address space" in a.message
    assert "over-b" not in names(networks.engine)
    networks.subnet("over-b", "10.64.0.0/24")       # the name is free


def test_remove_refusals(net_engine, networks, net_boxes):
    assert net_engine.http.delete("/networks/nosuch").message == "network nosuch not found"
    a = net_engine.http.delete("/networks/bridge")
    assert a.status == 403 and a.message == "bridge is a pre-defined network and cannot be removed"
    networks.create("busy")
    box = net_boxes.sleeper(network="busy", name="busy-box")
    a = net_engine.http.delete("/networks/busy")
    assert a.status == 403 and 'network busy has active endpoints (name:"busy-box" id:"' in a.message, a
    box.rm()
    assert net_engine.http.delete("/networks/busy").status == 204


def test_ambiguous_prefix(net_engine, networks):
    made = [networks.create(f"amb{i}") for i in range(17)]      # two of them share their first digit
    first = next(c for c in "0123456789abcdef" if sum(i.startswith(c) for i in made) > 1)
    a = net_engine.http.get("/networks/" + first)
    assert a.status == 400 and "is ambiguous" in a.message and "based on ID prefix" in a.message


def test_config_only(net_engine, networks, net_boxes):
    networks.create("conf", ConfigOnly=True, IPAM={"Config": [{"Subnet": "10.65.0.0/24"}]}, Options={"com.docker.network.driver.mtu": "1300"})
    assert networks.inspect("conf")["Driver"] == "null"
    assert create(net_engine, "true", network="conf").status == 403
    ident = networks.create("from-conf", ConfigFrom={"Network": "conf"}, Internal=True)
    n = networks.inspect("from-conf")
    assert n["ConfigFrom"] == {"Network": "conf"} and n["Internal"] and n["IPAM"]["Config"][0]["Subnet"] == "10.65.0.0/24"
    assert net_engine.netns.links()["br-" + ident[:12]]["mtu"] == 1300
    a = net_engine.http.delete("/networks/conf")
    assert a.status == 403 and 'configuration network "conf" is in use' in a.message
    assert net_engine.http.delete("/networks/from-conf").status == 204


# -- the rest -------------------------------------------------------------------------------------------------------------

def test_prune(net_engine, networks, net_boxes):
    networks.create("p-used")
    networks.create("p-free", Labels={"keep": "no"})
    networks.create("p-keep", Labels={"keep": "yes"})
    net_boxes.sleeper(network="p-used")
    a = net_engine.http.post("/networks/prune", {"filters": json.dumps({"label!": ["keep=yes"]})})
    assert a.status == 200 and "p-free" in a.json["NetworksDeleted"] and not {"p-used", "p-keep"} & set(a.json["NetworksDeleted"])
    assert net_engine.http.post("/networks/prune", {"filters": json.dumps({"until": ["1h"]})}).json == {"NetworksDeleted": None}
    assert net_engine.http.post("/networks/prune", {"filters": json.dumps({"what": ["1h"]})}).status == 400


def test_events(net_engine, networks, net_boxes):
    with Events(net_engine, type=["network"]) as seen:
        ident = networks.create("ev")
        assert seen.until("create", ident)["Actor"]["Attributes"] == {"name": "ev", "type": "bridge"}
        box = net_boxes.sleeper(network="ev")
        assert seen.until("connect", ident)["Actor"]["Attributes"]["container"] == box.id
        box.rm()
        assert seen.until("disconnect", ident)["Actor"]["Attributes"]["container"] == box.id
        stopped = net_boxes.create("true", network="ev")        # from one that never ran as well
        networks.disconnect("ev", stopped)
        stopped.rm()
        net_engine.http.delete("/networks/ev")
        assert seen.until("destroy", ident)["Actor"]["Attributes"]["name"] == "ev"
        assert [e["Actor"]["Attributes"]["container"] for e in seen.seen if e["Action"] == "disconnect" and e["Actor"]["ID"] == ident] == [box.id, stopped.id]


def test_a_container_dies_before_it_leaves_its_networks(net_engine, networks, net_boxes):
    """The order that dockerd 20.10 has."""
    ident = networks.create("ev-die")
    with Events(net_engine, type=["network", "container"]) as seen:
        box = net_boxes.sleeper(network="ev-die")
        box.kill()
        seen.until("die", box.id)
        assert seen.until("disconnect", ident)["Actor"]["Attributes"]["container"] == box.id
        box.rm()
        seen.until("destroy", box.id)


def test_a_mac_address_twice_is_the_users_affair(net_engine, networks, net_boxes):
    """As with dockerd: it may be meant, as for two that never send at once. Each has it."""
    networks.create("macs")
    mac = "02:42:0a:00:00:77"
    for name in ("mac-one", "mac-two"):
        b = net_boxes.sleeper(network="macs", name=name, NetworkingConfig={"EndpointsConfig": {"macs": {"MacAddress": mac}}})
        assert b.inspect()["NetworkSettings"]["Networks"]["macs"]["MacAddress"] == mac


def test_networks_outlive_the_daemon(fresh):
    eng = fresh(netns=True)
    ident = eng.http.post("/networks/create", body={"Name": "stay", "Labels": {"x": "y"}, "IPAM": {"Config": [{"Subnet": "10.66.0.0/24"}]}}).json["Id"]
    chosen = eng.http.post("/networks/create", body={"Name": "chosen"}).json["Id"]
    before = [eng.http.get(f"/networks/{i}").json for i in (ident, chosen, "bridge")]
    eng.restart()
    assert [eng.http.get(f"/networks/{i}").json for i in (ident, chosen, "bridge")] == before
    eng.restart(graceful=True)
    assert [eng.http.get(f"/networks/{i}").json for i in (ident, chosen, "bridge")] == before
    assert f"br-{ident[:12]}" in eng.netns.links()
    # removed while it was down by nobody: what the kernel lost comes back
    eng.kill()
    eng.netns.run("ip", "link", "del", f"br-{ident[:12]}")
    eng.start()
    assert f"br-{ident[:12]}" in eng.netns.links()


def test_killed_in_creations(fresh):
    """SIGKILL at any moment of creating networks: the next start has those that were answered, and no bridge of others."""
    eng = fresh(netns=True)
    import threading
    for _ in range(3):
        answered = []

        def make(eng=eng, answered=answered):
            try:
                for i in range(30):
                    a = eng.http.post("/networks/create", body={"Name": f"k{len(answered)}-{i}"}, rec=False)
                    if a.status != 201:
                        return
                    answered.append(a.json["Id"])
            except OSError:
                return
        t = threading.Thread(target=make)
        t.start()
        while len(answered) < 5 and t.is_alive():
            pass
        eng.kill()
        t.join()
        eng.start()
        have = {n["Id"] for n in eng.http.get("/networks").json}
        assert set(answered) <= have
        bridges = {n for n, l in eng.netns.links().items() if n.startswith("br-")}
        assert bridges == {"br-" + i[:12] for i in have if eng.http.get("/networks/" + i).json["Driver"] == "bridge" and eng.http.get("/networks/" + i).json["Name"] != "bridge"}
        eng.remove_all()


@pytest.mark.parametrize("name", ["all", "default", ".", "a/b", "a-name-that-is-too-long"])
def test_a_bridge_needs_a_name_that_an_interface_can_have(net_engine, name):
    a = net_engine.http.post("/networks/create", body={"Name": "odd-bridge", "Options": {"com.docker.network.bridge.name": name}})
    assert a.status == 400 and "not a name of an interface" in a.message


def test_the_list_has_no_names_of_endpoints(net_engine, net_boxes, networks):
    """Aliases and DNS names are inspect's; lists show null, in all versions."""
    networks.create("brief")
    b = net_boxes.create("sleep 1000", Host={"NetworkMode": "brief"}, NetworkingConfig={"EndpointsConfig": {"brief": {"Aliases": ["al"]}}}).start()
    assert "al" in b.inspect()["NetworkSettings"]["Networks"]["brief"]["Aliases"]
    for version in ("1.24", "1.44", "1.55"):
        one = [c for c in net_engine.http.get("/containers/json", version=version).json if c["Id"] == b.id][0]["NetworkSettings"]["Networks"]["brief"]
        assert one["IPAddress"] and one["Aliases"] is None and not one.get("DNSNames")
