# SPDX-License-Identifier: Apache-2.0
"""The daemon dies between any two steps of what is done to networks; an admin takes things away by hand. Afterwards the host is what the API says."""
import http.client
import os
import random
import re
import subprocess
import threading
import time

import pytest

import caisson_fixture as fx
from box import Box, Boxes, create
from netns import fetch, in_netns
from test_containers_net import interfaces, ip, publish, server, settings

SLEEP = ["sleep", "1000"]
ROUNDS = int(os.environ.get("CAISSON_FAULT_ROUNDS", "6"))
SEED = int(os.environ.get("CAISSON_FAULT_SEED", str(random.randrange(1 << 30))))


class NetLoad:
    """Hands that make networks and containers, connect, disconnect, stop, remove, until the daemon is gone."""

    def __init__(self, engine, rng, number):
        self.engine, self.rng, self.number = engine, rng, number
        self.over, self.problems = threading.Event(), []

    def step(self, rng, name, port):
        post, delete = self.engine.http.post, self.engine.http.delete
        nets = [f"{name}-{i}" for i in range(2)]
        for n in nets:
            self.check(post("/networks/create", body={"Name": n, "EnableIPv6": rng.random() < 0.3}, rec=False), 201, 409)
        a = create(self.engine, SLEEP, network=nets[0], name=name + "-box", NetworkingConfig={"EndpointsConfig": {nets[0]: {"Aliases": ["svc"]}}},
                   Host=publish(p80_tcp={"HostPort": str(port)}, p81_udp={"HostPort": ""}))
        self.check(a, 201)
        box = Box(self.engine, a.json["Id"])
        self.check(box.post("start", rec=False), 204)
        for _ in range(rng.randrange(1, 4)):
            self.check(post(f"/networks/{nets[1]}/connect", body={"Container": box.id, "EndpointConfig": {"GwPriority": rng.randrange(-1, 2)}}, rec=False), 200)
            if rng.random() < 0.4:
                self.check(box.post("restart", {"t": 0}, rec=False), 204)
            self.check(post(f"/networks/{nets[1]}/disconnect", body={"Container": box.id}, rec=False), 200)
        self.check(delete(box.url, {"force": 1}, rec=False), 204)
        for n in nets:
            self.check(delete("/networks/" + n, rec=False), 204)

    def check(self, answer, *good):
        if answer.status not in good:
            self.problems.append((answer.status, answer.message))

    def worker(self, seed, index):
        rng, n = random.Random(seed), 0
        while not self.over.is_set():
            try:
                self.step(rng, f"k{self.number}-{index}-{n}", 19000 + index)
                n += 1
            except (OSError, ValueError, http.client.HTTPException):
                return

    def run_until_kill(self, delay):
        threads = [threading.Thread(target=self.worker, args=(self.rng.random(), i)) for i in range(4)]
        for t in threads:
            t.start()
        time.sleep(delay)       # the moment of death is what is varied
        self.engine.kill()
        self.over.set()
        for t in threads:
            t.join(20)
            assert not t.is_alive()


def kernel_is_as_told(eng):
    """Every interface, address and element belongs to a container or a network that the API lists."""
    nets = {n["Id"]: n for n in (eng.http.get("/networks/" + n["Id"], rec=False).json for n in eng.http.get("/networks", rec=False).json)}
    running = [eng.http.get(f"/containers/{c['Id']}/json", rec=False).json for c in eng.http.get("/containers/json", rec=False).json]
    endpoints = [s for c in running for s in c["NetworkSettings"]["Networks"].values() if s["EndpointID"]]
    links = eng.netns.links()
    bridges = {n for n, l in links.items() if l.get("linkinfo", {}).get("info_kind") == "bridge"}
    assert bridges == {"br-" + i[:12] for i, n in nets.items() if n["Driver"] == "bridge" and n["Name"] != "bridge"} | {f"csb-{eng.instance()}"}
    plugged = [n for n, l in links.items() if l.get("master") in bridges]
    assert len(plugged) == len(endpoints), (plugged, endpoints)
    for c in running:
        have = in_netns(c["State"]["Pid"], "ip", "-o", "addr").stdout
        mine = {s["IPAddress"] for s in c["NetworkSettings"]["Networks"].values()}
        assert set(re.findall(r"eth\d\s+inet ([\d.]+)/", have)) == mine, (c["Name"], have, mine)
    for n in nets.values():
        assert set(n["Containers"]) <= {c["Id"] for c in running}, n
    published = {int(b["HostPort"]) for c in running for bindings in c["NetworkSettings"]["Ports"].values() for b in bindings or [] if b["HostPort"].startswith("19")}
    text = eng.netns.nft()
    assert {int(p) for p in re.findall(r"\b(190\d\d)\b", text)} == {p for p in published if p < 19100}


def settled(eng, where):
    """What is taken down behind an answer gets its moment."""
    last = []

    def good():
        try:
            kernel_is_as_told(eng)
        except AssertionError as err:
            last[:] = [str(err)]
            return False
        return True
    try:
        fx.wait_for(good, timeout=2)
    except AssertionError:
        raise AssertionError(f"{where}: {last[0]}") from None


@pytest.mark.timeout(30 + ROUNDS * 8)
def test_killed_under_a_load_of_networks(fresh):
    rng = random.Random(SEED)
    eng = fresh(netns=True)
    for number in range(ROUNDS):
        where = f"round {number}, seed {SEED}"
        load = NetLoad(eng, rng, number)
        load.run_until_kill(rng.uniform(0.02, 0.35))
        eng.start()
        assert not load.problems, (where, load.problems)
        settled(eng, where)
        for n in eng.http.get("/containers/json", {"all": 1}).json:     # what is there can be used
            b = Box(eng, n["Id"])
            if b.state["Running"]:
                b.post("restart", {"t": 0})
            else:
                a = b.post("start")
                assert a.status in (204, 404), (where, a)
        settled(eng, where)
        eng.remove_all()
        eng.check_leaks()


@pytest.mark.parametrize("command", [("flush", "ruleset"), ("delete", "table", "inet", "caisson"), ("flush", "table", "inet", "caisson")])
def test_an_admin_takes_our_rules_away(net_engine, net_boxes, command):
    name = next(w.split()[2] for w in net_engine.netns.nft().splitlines() if w.startswith("table inet caisson"))
    b = server(net_boxes, "ruled", network="bridge", Host=publish(p80_tcp={"HostPort": "18640"}))

    def rules():
        return sorted(net_engine.netns.run("nft", "-s", "list", "ruleset").stdout.splitlines())
    net_engine.netns.run("nft", "flush", "ruleset")     # chains that other tests' networks needed go with the first repair
    fx.wait_for(lambda: any("18640" in line for line in rules()), timeout=30, what="the port")
    before = rules()
    net_engine.netns.run("nft", *[name if w == "caisson" else w for w in command])
    fx.wait_for(lambda: rules() == before, timeout=30, what="the same rules")
    assert net_engine.netns.fetch("http://127.0.0.1:18640/") == "ruled\n" and b


@pytest.mark.parametrize("net", ["bridge", "gone"])
def test_a_bridge_is_deleted_by_hand(net_engine, networks, net_boxes, net):
    """The next container that starts makes it again, and those that were on it are on it again."""
    if net == "gone":
        networks.subnet("gone", ["10.53.0.0/24", "fd00:53::/64"], EnableIPv6=True)
    name = networks.inspect("bridge")["Options"]["com.docker.network.bridge.name"] if net == "bridge" else "br-" + networks.made[-1][:12]
    old = server(net_boxes, "old", network=net, Host=publish(p80_tcp={"HostPort": "18641"}))
    assert net_engine.netns.fetch("http://127.0.0.1:18641/") == "old\n"
    addresses = net_engine.netns.run("ip", "-o", "addr", "show", "dev", name).stdout.split("\n")
    net_engine.netns.run("ip", "link", "del", name)
    new = net_boxes.start(SLEEP, network=net)
    assert net_engine.netns.run("ip", "-o", "addr", "show", "dev", name).stdout.count("inet") == "".join(addresses).count("inet")
    assert new.exec(f"ping -c1 -W2 {ip(old, net)}")[0] == 0
    fx.wait_for(lambda: net_engine.netns.fetch("http://127.0.0.1:18641/", check=False) == "old\n", what="the port")
    assert new.exec(f"ping -c1 -W2 {settings(new, net)['Gateway']}")[0] == 0
    assert len([n for n, l in net_engine.netns.links().items() if l.get("master") == name]) == 2
    if net == "gone":
        assert new.exec(f"ping -6 -c1 -W2 {settings(old, net)['GlobalIPv6Address']}")[0] == 0


def test_an_interface_is_deleted_by_hand(net_engine, networks, net_boxes):
    """The container has none then; stop, disconnect, remove and start go on as if nothing had been."""
    networks.subnet("cut", "10.54.0.0/24")
    b = net_boxes.start(SLEEP, network="cut")
    for verb in ("restart", "reconnect", "remove"):
        outer = next(n for n, l in net_engine.netns.links().items() if l.get("master") == "br-" + networks.made[-1][:12])
        net_engine.netns.run("ip", "link", "del", outer)
        assert "eth0" not in interfaces(b)
        if verb == "restart":
            assert b.post("restart", {"t": 0}).status == 204
        elif verb == "reconnect":
            networks.disconnect("cut", b)
            networks.connect("cut", b)
        else:
            assert b.rm().status == 204
            break
        assert b.exec("ping -c1 -W2 10.54.0.1")[0] == 0
    fx.wait_for(lambda: not net_engine.network_leaks(), what="no leaks")


def test_a_container_undoes_its_own_network(net_engine, networks, net_boxes):
    """Addresses, routes and the resolver's table taken away from within, with NET_ADMIN: nothing of it hinders the end."""
    networks.subnet("undo", "10.55.0.0/24")
    networks.subnet("undo2", "10.56.0.0/24")
    b = net_boxes.start(SLEEP, network="undo")
    for argv in (("ip", "addr", "flush", "dev", "eth0"), ("ip", "link", "set", "eth0", "name", "hidden"), ("nft", "flush", "ruleset"), ("ip", "link", "set", "lo", "down")):
        in_netns(b.pid, *argv)
    in_netns(b.pid, "ip", "link", "set", "hidden", "down")
    networks.connect("undo2", b)
    networks.disconnect("undo", b)
    assert b.post("restart", {"t": 0}).status == 204
    assert list(settings(b)["Networks"]) == ["undo2"] and b.exec("ping -c1 -W2 10.56.0.1")[0] == 0
    assert b.rm().status == 204
    fx.wait_for(lambda: not net_engine.network_leaks(), what="no leaks")


def test_both_daemons_publish(fresh):
    """Two daemons on one host: what one has published the other is refused, each by its own table, and the end of one is nothing to the other."""
    one = fresh(netns=True)
    two = fx.Engine(netns=True)
    two.netns.close()
    two.netns = one.netns
    try:
        two.start().prepare()
        a = server(Boxes(one), "one", network="bridge", Host=publish(p80_tcp={"HostPort": "18650"}))
        b = server(Boxes(two), "two", network="bridge", Host=publish(p80_tcp={"HostPort": "18651"}))
        c = Boxes(two).create(SLEEP, network="bridge", Host=publish(p80_tcp={"HostPort": "18650"}))
        refused = c.post("start")
        assert refused.status == 500 and "caissond" in refused.message, refused
        for box in (a, b):
            assert [one.netns.fetch(f"http://127.0.0.1:{p}/") for p in (18650, 18651)] == ["one\n", "two\n"]
            assert fetch(box, f"http://{settings(box, 'bridge')['Gateway']}:18650/") == "one" and fetch(box, f"http://{settings(box, 'bridge')['Gateway']}:18651/") == "two"
        assert fetch(a, f"http://{ip(b)}/", timeout=1) is None
        two.remove_all()
        two.stop()
        assert one.netns.fetch("http://127.0.0.1:18650/") == "one\n" and fetch(a, "http://172.17.0.1:18650/") == "one"
        two.start()
    finally:
        class Kept:
            command, close = one.netns.command, staticmethod(lambda: None)
        two.network_leaks = one.network_leaks = lambda: {}
        two.netns = Kept()
        two.close()
