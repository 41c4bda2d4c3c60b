# SPDX-License-Identifier: Apache-2.0
"""The daemon dies, or a call of it fails, at the N-th step of an operation on networks: it has happened or it has not, nothing is left, it can be done again.

CAISSON_STEPS=all: each step of each operation; a number: so many of each; otherwise one, another each day. CAISSON_FAULT_SEED chooses them again."""
import datetime
import errno
import http.client
import json
import os
import random
import threading
import time

import pytest

import steps as st
from box import Box, create
from caisson_fixture import KIND, sanitized, wait_for
from unixhttp import TIME_FACTOR

pytestmark = [pytest.mark.caisson, pytest.mark.unsanitized,
              pytest.mark.skipif(KIND != "caisson" or sanitized() or not st.library(), reason="needs a compiler, and a daemon that can be preloaded")]
ALL = os.environ.get("CAISSON_STEPS") == "all"
FIRST = int(os.environ.get("CAISSON_STEPS_FROM", "1"))
FEW = os.environ.get("CAISSON_STEPS", "1") == "1"
ROUNDS = 1 if ALL else int(os.environ.get("CAISSON_STEPS", "1"))
SEED = os.environ.get("CAISSON_FAULT_SEED") or datetime.date.today().isoformat()
LONG = 120 if FEW else 3600 * 4
WAIT = "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"
DIED = (OSError, http.client.HTTPException)
LOG_EXPECTED = ("belongs to nothing",)


class Ground:
    """An engine with a network and a container on it that live through everything."""

    def __init__(self):
        self.engine = st.SteppedEngine()
        self.engine.start().prepare()
        self.engine.netns.run("ip", "link", "add", "out0", "type", "veth", "peer", "name", "out1")
        for name, address in (("out0", "192.0.2.1/24"), ("out1", None)):
            if address:
                self.engine.netns.run("ip", "addr", "add", address, "dev", name)
            self.engine.netns.run("ip", "link", "set", name, "up")
        self.http, self.steps = self.engine.http, self.engine.steps
        self.network("home", "10.91.0.0/24", v6="fd91::/64")
        self.network("inner", "10.90.0.0/24", v6="fd90::/64", Internal=True, Labels={"stays": "1"})    # its chain in the firewall stays when the last such network goes
        self.peer = self.box("peer", "home")

    def network(self, name, subnet, v6=None, expect=201, **body):
        config = [{"Subnet": subnet}] + ([{"Subnet": v6}] if v6 else [])
        a = self.http.post("/networks/create", body={"Name": name, "IPAM": {"Config": config}, "EnableIPv6": bool(v6), **body}, timeout=20)
        assert expect is None or a.status == expect, a
        return a

    def box(self, name, network, start=True, ports=None, ip=None):
        cfg = {"Host": {"PortBindings": ports}, "ExposedPorts": {k: {} for k in ports}} if ports else {}
        if ip:
            cfg["NetworkingConfig"] = {"EndpointsConfig": {network: {"IPAMConfig": ip}}}
        a = create(self.engine, ["sh", "-c", WAIT], name=name, network=network, **cfg)
        assert a.status == 201, a
        b = Box(self.engine, a.json["Id"])
        return b.start() if start else b

    def has(self, name):
        a = self.http.get("/networks/" + name)
        assert a.status in (200, 404), a
        return a.status == 200

    def find(self, name):
        a = self.http.get(f"/containers/{name}/json")
        assert a.status in (200, 404), a
        return a.json if a.status == 200 else None

    def remove(self, name):
        a = self.http.delete("/containers/" + name, {"force": 1})
        assert a.status in (204, 404), a

    def addresses(self, box, network):
        s = box.inspect()["NetworkSettings"]["Networks"][network]
        return s["IPAddress"], s["GlobalIPv6Address"]

    def talk(self, a, b, network):
        """By name and by address of each family, both ways."""
        pid_a, pid_b, name = a.pid, b.pid, b.inspect()["Name"][1:]
        ip, ip6 = self.addresses(b, network)
        assert st.resolves(pid_a, name) == [ip], f"{name} on {network}"
        for address in filter(None, (ip, ip6)):
            assert st.reaches(pid_a, pid_b, address, 5000), (network, address)

    def tidy(self):
        """After a failure: the next operation begins anew."""
        self.steps.disarm()
        if not self.engine.alive():
            self.engine.start()
        for name in ("it", "that", "other", "one", "two"):
            self.remove(name)
        assert self.http.delete("/networks/net").status in (204, 404)

    def home_is_well(self):
        assert self.peer.state["Running"]
        assert st.resolves(self.peer.pid, "peer") == [self.addresses(self.peer, "home")[0]]


# ---- the operations: ready (to their start), act, done (has it happened?), check (by packets), reset ----

class CreateNetwork:
    name, driver, options, v6, internal = "create", "bridge", {}, "fd92::/64", False
    subnet = "10.92.0.0/24"
    kind = None     # of link, which not every kernel has

    def usable(self, g):
        if not self.kind:
            return True
        done = g.engine.netns.run("ip", "link", "add", "probe0", "link", "out0", "type", self.kind, check=False).returncode == 0
        if done:
            g.engine.netns.run("ip", "link", "del", "probe0")
        return done

    def make(self, g, expect=None):
        return g.network("net", self.subnet, self.v6, expect, Driver=self.driver, Options=self.options, Internal=self.internal)

    def ready(self, g):
        pass

    def act(self, g):
        return self.make(g)

    def done(self, g):
        return g.has("net")

    def check(self, g, done):
        if not done:
            return
        a, b = g.box("one", "net"), g.box("two", "net")
        try:
            g.talk(a, b, "net")
        finally:
            for box in (a, b):
                assert box.rm().status == 204

    def reset(self, g):
        a = g.http.delete("/networks/net")
        assert a.status in (204, 404), a


class CreateNat(CreateNetwork):
    name, options = "create", {"com.docker.network.bridge.name": "br-net"}


class CreateInternal(CreateNetwork):
    name, internal = "create internal", True


class CreateMacvlan(CreateNetwork):
    name, driver, options, v6, kind = "create macvlan", "macvlan", {"parent": "out0"}, None, "macvlan"


class CreateVlan(CreateMacvlan):
    name, options, kind = "create macvlan on a VLAN", {"parent": "out0.50"}, "macvlan"

    def usable(self, g):
        done = g.engine.netns.run("ip", "link", "add", "link", "out0", "probe0", "type", "vlan", "id", "49", check=False).returncode == 0
        if done:
            g.engine.netns.run("ip", "link", "del", "probe0")
        return done and super().usable(g)


class CreateIpvlan(CreateNetwork):
    name, driver, options, v6, kind = "create ipvlan", "ipvlan", {"parent": "out0"}, None, "ipvlan"


class CreateOverlay(CreateNetwork):
    name, driver, v6 = "create overlay", "overlay", None
    options = {"caisson.network.overlay.address": "192.0.2.1", "caisson.network.overlay.peers": "10.92.0.0/24@192.0.2.2"}


class RemoveNetwork(CreateNat):
    name = "remove"

    def ready(self, g):
        self.make(g, 201)

    def act(self, g):
        return g.http.delete("/networks/net", timeout=20)

    def done(self, g):
        return not g.has("net")

    def check(self, g, done):
        super().check(g, not done)


class RemoveOverlay(RemoveNetwork, CreateOverlay):
    name, driver, options, v6 = "remove overlay", "overlay", CreateOverlay.options, None


class Prune(RemoveNetwork):
    name = "prune"

    def act(self, g):
        return g.http.post("/networks/prune", {"filters": json.dumps({"label!": ["stays"]})}, timeout=20)


PORTS = {"70/tcp": [{"HostIp": "", "HostPort": "18070"}], "71/udp": [{"HostIp": "", "HostPort": "18071"}], "72/tcp": [{"HostIp": "::1", "HostPort": "18072"}]}
FIXED = {"IPv4Address": "10.91.0.77", "IPv6Address": "fd91::77"}


class Start:
    name = "start"

    def usable(self, g):
        return True

    def ready(self, g):
        self.box = g.box("it", "home", start=False, ports=PORTS, ip=FIXED)

    def act(self, g):
        return self.box.post("start", timeout=20)

    def done(self, g):
        return self.box.state["Running"]

    def check(self, g, done):
        if not done:
            return self.is_down(g)
        g.talk(g.peer, self.box, "home")
        g.talk(self.box, g.peer, "home")
        host = g.engine.netns.pid
        for address, port, to, udp in (("192.0.2.1", 18070, 70, False), ("127.0.0.1", 18070, 70, False), ("::1", 18070, 70, False), ("192.0.2.1", 18071, 71, True), ("::1", 18072, 72, False)):
            # what was refused once is tried again soon, without anybody's asking
            wait_for(lambda: st.reaches(host, self.box.pid, address, port, to, udp), 2, f"port {port} on {address}")  # noqa: B023
        shown = self.box.inspect()["NetworkSettings"]["Ports"]
        assert {p["HostPort"] for p in shown["70/tcp"]} == {"18070"} and shown["71/udp"] and shown["72/tcp"], shown

    def is_down(self, g):
        s = self.box.inspect()
        assert not s["State"]["Pid"] and not s["NetworkSettings"]["Networks"]["home"]["IPAddress"], s["State"]
        assert st.resolves(g.peer.pid, "it") == []
        assert self.box.id not in g.http.get("/networks/home").json["Containers"]

    def reset(self, g):
        g.remove("it")


class Stop(Start):
    name = "stop"

    def ready(self, g):
        super().ready(g)
        self.box.start()

    def act(self, g):
        return self.box.post("stop", timeout=20)

    def done(self, g):
        return not self.box.state["Running"]

    def check(self, g, done):
        super().check(g, not done)


class Restart(Stop):
    name = "restart"

    def ready(self, g):
        super().ready(g)
        self.pid = self.box.pid

    def act(self, g):
        return self.box.post("restart", timeout=20)

    def done(self, g):
        return self.box.state["Running"] and self.box.pid != self.pid

    def check(self, g, done):
        Start.check(self, g, self.box.state["Running"])


class Remove(Stop):
    name = "rm"

    def act(self, g):
        return g.http.delete(self.box.url, {"force": 1}, timeout=20)

    def done(self, g):
        return not g.find("it")

    def check(self, g, done):
        if done:
            assert st.resolves(g.peer.pid, "it") == []
        else:   # it may have ended and not gone
            Start.check(self, g, self.box.state["Running"])


class Rename(Stop):
    name = "rename"

    def act(self, g):
        return self.box.post("rename", {"name": "that"}, timeout=20)

    def done(self, g):
        return self.box.inspect()["Name"] == "/that"

    def check(self, g, done):
        Start.check(self, g, True)
        assert st.resolves(g.peer.pid, "it" if done else "that") == []

    def reset(self, g):
        g.remove("it")
        g.remove("that")


class Connect:
    name = "connect"

    def usable(self, g):
        return True

    def ready(self, g):
        g.network("net", "10.92.0.0/24", "fd92::/64")
        self.box, self.other = g.box("it", "home", ports=PORTS), g.box("other", "net")

    def connect(self, g):
        return g.http.post("/networks/net/connect", body={"Container": "it", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.92.0.77"}}}, timeout=20)

    act = connect

    def done(self, g):
        return "net" in self.box.inspect()["NetworkSettings"]["Networks"]

    def check(self, g, done):
        Start.check(self, g, True)
        listed = self.box.id in g.http.get("/networks/net").json["Containers"]
        assert listed == done
        if done:
            g.talk(self.box, self.other, "net")
            g.talk(self.other, self.box, "net")
        else:
            assert st.resolves(self.other.pid, "it") == [] == st.resolves(self.box.pid, "other")
            wait_for(lambda: "10.92.0" not in self.box.exec("ip addr")[1], 2, "no interface")

    def is_down(self, g):
        pass

    def reset(self, g):
        g.remove("it")
        g.remove("other")
        a = g.http.delete("/networks/net")
        assert a.status in (204, 404), a


class Disconnect(Connect):
    name = "disconnect"

    def ready(self, g):
        super().ready(g)
        a = self.connect(g)
        assert a.status == 200, a

    def act(self, g):
        return g.http.post("/networks/net/disconnect", body={"Container": "it"}, timeout=20)

    def done(self, g):
        return not super().done(g)

    def check(self, g, done):
        super().check(g, not done)


class Create(Start):
    name = "create container"

    def ready(self, g):
        pass

    def act(self, g):
        a = create(g.engine, ["sh", "-c", WAIT], name="it", network="home", Host={"PortBindings": PORTS}, ExposedPorts={k: {} for k in PORTS},
                   NetworkingConfig={"EndpointsConfig": {"home": {"IPAMConfig": FIXED}}})
        return a

    def done(self, g):
        return bool(g.find("it"))

    def check(self, g, done):
        if done:
            self.box = Box(g.engine, g.find("it")["Id"])
            self.is_down(g)
            assert self.box.post("start").status == 204
            super().check(g, True)
            assert self.box.post("stop").status == 204


class Kill(Stop):
    """The end is behind the answer."""
    name = "kill"

    def act(self, g):
        a = self.box.post("kill", timeout=20)
        if a.status == 204:
            wait_for(lambda: self.done(g), what="the end")
        return a


class AutoRemove(Remove):
    name = "auto-remove"

    def ready(self, g):
        a = create(g.engine, ["sh", "-c", WAIT], name="it", network="home", Host={"PortBindings": PORTS, "AutoRemove": True}, ExposedPorts={k: {} for k in PORTS},
                   NetworkingConfig={"EndpointsConfig": {"home": {"IPAMConfig": FIXED}}})
        self.box = Box(g.engine, a.json["Id"]).start()

    act = Kill.act


class StartOnTwo(Connect):
    """With the ports on the second: its gateway has the priority."""
    name = "start on two"

    def ready(self, g):
        g.network("net", "10.92.0.0/24", "fd92::/64")
        self.other = g.box("other", "net")
        self.box = g.box("it", "home", start=False, ports=PORTS)
        a = g.http.post("/networks/net/connect", body={"Container": "it", "EndpointConfig": {"GwPriority": 7, "IPAMConfig": {"IPv4Address": "10.92.0.77"}}})
        assert a.status == 200, a

    def act(self, g):
        return self.box.post("start", timeout=20)

    def done(self, g):
        return self.box.state["Running"]

    def check(self, g, done):
        if not done:
            return Start.is_down(self, g)
        super().check(g, True)
        assert "10.92.0.1" in self.box.exec("ip route show default")[1]


class DisconnectFirst(StartOnTwo):
    """The one with the default route and the ports: both go to the other."""
    name = "disconnect the gateway"

    def ready(self, g):
        super().ready(g)
        self.box.start()

    def act(self, g):
        return g.http.post("/networks/net/disconnect", body={"Container": "it"}, timeout=20)

    def done(self, g):
        return "net" not in self.box.inspect()["NetworkSettings"]["Networks"]

    def check(self, g, done):
        Connect.check(self, g, not done)
        assert ("10.91.0.1" if done else "10.92.0.1") in self.box.exec("ip route show default")[1]


OPERATIONS = [CreateNat, CreateInternal, CreateMacvlan, CreateVlan, CreateIpvlan, CreateOverlay, RemoveNetwork, RemoveOverlay, Prune, Start, Stop, Restart, Remove, Rename, Connect, Disconnect, Create, Kill, AutoRemove, StartOnTwo, DisconnectFirst]


# What fails, how, and whether it does from then on.
FAILURES = {"netlink": (st.NETLINK, errno.ENOBUFS, False), "netlink-and-on": (st.NETLINK, errno.ENOMEM, True), "answers": (st.RECEIVE, errno.ENOBUFS, False),
            "messages": (st.MESSAGES, errno.EOPNOTSUPP, False), "files": (st.FILES, errno.EIO, False), "files-and-on": (st.FILES, errno.ENOSPC, True), "kernel": (st.KERNEL | st.PORTS, errno.ENOMEM, False)}


# ---- a round ----

def attempt(g, op, at, kinds, error=0, sticky=False):
    """The answer, or None when the daemon died; and what the N-th step was (None: it was not reached)."""
    answer = []

    def ask():
        try:
            answer.append(op.act(g))
        except DIED:
            pass
    thread = threading.Thread(target=ask)
    g.steps.arm(at, kinds, error, sticky)
    thread.start()
    thread.join(30 * TIME_FACTOR)
    assert not thread.is_alive(), "a client that waits"
    if not error:
        g.steps.quiet()
    else:
        g.steps.quiet(0.03)
    reached = g.steps.count >= at > 0
    what = g.steps.name(at) if reached else None
    if reached and not error:
        g.engine.proc.wait(10)
    g.steps.disarm()
    return answer[0] if answer else None, what


def same_world(g, before, timeout=5):
    end = time.monotonic() + timeout * TIME_FACTOR
    while True:
        now = g.engine.world()
        if now == before:
            return
        if time.monotonic() > end:
            raise AssertionError(f"left: {sorted(now - before)}, missing: {sorted(before - now)}")
        time.sleep(0.05)


def start_again(g):
    offset = g.engine.log.stat().st_size
    began = time.monotonic()
    g.engine.start()
    took = time.monotonic() - began
    assert took < 5 * TIME_FACTOR, f"the start took {took:.1f} s"
    with open(g.engine.log, "rb") as f:
        f.seek(offset)
        lines = f.read().decode(errors="replace").splitlines()
    return [line for line in lines if ("level=error" in line or "level=warn" in line or " error " in line.lower()[:60])]


def finish(g, op, before):
    """From wherever it is: done, by asking again if it is not, looked at, and back to the beginning."""
    if not op.done(g):
        a = op.act(g)
        assert a.status < 300, ("again", a)
    wait_for(lambda: op.done(g), what="done")
    op.check(g, True)
    op.reset(g)
    same_world(g, before)
    g.home_is_well()


def kill_round(g, op, at, clean, log):
    op.ready(g)
    g.steps.quiet()
    ready = g.engine.world()
    answer, what = attempt(g, op, at, st.ALL)
    where = f"{op.name}, step {at}: {what}, seed {SEED}"
    try:
        if what is None:
            assert answer is not None and answer.status < 300, answer
        else:
            for line in start_again(g):
                log.append((where, line))
        done = op.done(g)
        assert done or not (answer and answer.status < 300), f"it was answered {answer} and has not happened"
        op.check(g, done)
        if not done and op.steady:
            same_world(g, ready)
        finish(g, op, clean)
    except Exception as e:
        raise AssertionError(f"{where}: {e}\n{g.engine.tail(15)}") from e
    return what


def fail_round(g, op, at, kinds, error, clean, log, sticky=False):
    op.ready(g)
    ready, fds = g.engine.world(), None
    answer, what = attempt(g, op, at, kinds, error, sticky)
    where = f"{op.name}, {os.strerror(error)}{' from here on' if sticky else ''} at step {at}: {what}, seed {SEED}"
    try:
        assert g.engine.alive(), f"the daemon died with {g.engine.proc.returncode}"
        assert answer is not None, "no answer"
        log.append((where, answer.status, answer.message))
        if answer.status >= 300:
            assert answer.status in (500, 501, 503, 507, 409, 403) and len(answer.message) > 10, answer
        done = op.done(g)
        if answer.status < 300 and not (op.name == "prune" and answer.json["NetworksDeleted"] is None):     # as Docker's: the rest is pruned, the log has the reason
            assert done, f"it was answered {answer} and has not happened"
        elif not done and op.steady:
            same_world(g, ready)
        if done and answer.status >= 300 and op.partly:
            op.reset(g)
            same_world(g, clean)
            return what
        op.check(g, done)
        finish(g, op, clean)
    except Exception as e:
        raise AssertionError(f"{where}: {e}\nanswer: {answer}\n{g.engine.tail(15)}") from e
    return what


for o in OPERATIONS:
    o.steady = o not in (Restart, Remove, AutoRemove)     # when it has not happened, nothing has
    o.partly = o is DisconnectFirst     # off the network all the same, and the error says what does not go on


@pytest.fixture(scope="module")
def ground():
    g = Ground()
    yield g
    g.engine.restart()      # which deletes what the disk refused to
    g.engine.close()


def steps_of(g, op, kinds):
    """How many there are when nothing fails."""
    op.ready(g)
    g.steps.quiet()
    answer, _ = attempt(g, op, 0, kinds)
    assert answer is not None and answer.status < 300, answer
    n = g.steps.count
    op.reset(g)
    return n


def chosen(rng, n, rounds):
    return sorted(rng.sample(range(1, n + 1), min(n, rounds)))


def rounds_of(g, op, kinds, what):
    n = steps_of(g, op, kinds)
    print(f"{op.name}, {what}: {n} steps, seed {SEED}")
    if ALL:
        yield from range(FIRST, n + 30)
    else:
        yield from chosen(random.Random(f"{SEED} {op.name} {what}"), n, ROUNDS)


def clean_of(g, op):
    op.ready(g)
    op.reset(g)
    time.sleep(0.3)
    return g.engine.world()


def ready_or_skip(g, op):
    if not op.usable(g):
        pytest.skip("this kernel has no such links")
    g.tidy()


@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("kind", OPERATIONS, ids=lambda o: o.name.replace(" ", "-"))
def test_killed(ground, kind):
    g, op, log = ground, kind(), []
    ready_or_skip(g, op)
    clean = clean_of(g, op)
    for at in rounds_of(g, op, st.ALL, "killed"):
        if kill_round(g, op, at, clean, log) is None:
            break
    for line in log:
        print(*line)


@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("kind,what", [(o, f) for o in OPERATIONS for f in FAILURES if not FEW or f == random.Random(f"{SEED} {o.name}").choice(list(FAILURES))],
                         ids=lambda v: v if isinstance(v, str) else v.name.replace(" ", "-"))
def test_failed(ground, kind, what):
    g, op, log = ground, kind(), []
    kinds, error, sticky = FAILURES[what]
    ready_or_skip(g, op)
    clean = clean_of(g, op)
    for at in rounds_of(g, op, kinds, what):
        if fail_round(g, op, at, kinds, error, clean, log, sticky) is None:
            break
    for line in log:
        print(*line)


# ---- the start itself ----

class Boot(Connect):
    """Of an engine whose containers, on two networks, have run on; one has ended meanwhile, one was just being removed."""
    name = "boot"

    def ready(self, g):
        super().ready(g)
        assert self.connect(g).status == 200
        self.gone = g.box("one", "net", ports={"73/tcp": [{"HostPort": "18073"}]})

    def boot(self, g, at, error=0):
        """What the N-th step was; None: it was not reached, and the engine is up."""
        pid = self.gone.pid
        g.engine.kill()
        if pid:
            os.kill(pid, 9)
        g.steps.arm(at, st.ALL if not error else st.NETLINK | st.FILES | st.KERNEL | st.PORTS, error)
        try:
            g.engine.start()
            g.steps.quiet()
        except (AssertionError, *DIED):
            pass
        reached = g.steps.count >= at
        if reached and not error:
            g.engine.proc.wait(10)
        g.steps.disarm()
        return g.steps.name(at) if reached else None

    def check(self, g, done):
        super().check(g, True)
        assert self.gone.state["Status"] == "exited"
        assert not st.reaches(g.engine.netns.pid, self.box.pid, "127.0.0.1", 18073, 73)

    def reset(self, g):
        g.remove("one")
        super().reset(g)


def boots(g, what):
    op = Boot()
    g.tidy()
    clean = clean_of(g, op)
    g.engine.kill()
    g.steps.arm()
    g.engine.start()
    g.steps.quiet()
    n = g.steps.count
    g.steps.disarm()
    print(f"boot, {what}: {n} steps, seed {SEED}")
    at = range(FIRST, n + 60) if ALL else chosen(random.Random(f"{SEED} boot {what}"), n, 2 * ROUNDS)
    return op, clean, at


@pytest.mark.timeout(LONG)
def test_killed_at_start(ground):
    g = ground
    op, clean, numbers = boots(g, "killed")
    for at in numbers:
        op.ready(g)
        what = op.boot(g, at)
        where = f"boot, step {at}: {what}, seed {SEED}"
        try:
            if what is not None:
                for line in start_again(g):
                    print(where, line)
            op.check(g, True)
            op.reset(g)
            same_world(g, clean)
            g.home_is_well()
        except Exception as e:
            raise AssertionError(f"{where}: {e}\n{g.engine.tail(15)}") from e
        if what is None:
            break


@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("error", [errno.ENOMEM, errno.EIO], ids=errno.errorcode.get)
def test_failed_at_start(ground, error):
    """It is up, or it ends with the reason; the next one has everything as it was."""
    g = ground
    op, clean, numbers = boots(g, errno.errorcode[error])
    for at in numbers:
        op.ready(g)
        what = op.boot(g, at, error)
        where = f"boot, {os.strerror(error)} at step {at}: {what}, seed {SEED}"
        try:
            print(where, "up" if g.engine.alive() else g.engine.tail(1))
            if not g.engine.alive():
                assert g.engine.proc.returncode == 1, f"it ended with {g.engine.proc.returncode}"
                start_again(g)
            else:
                g.engine.restart()
            op.check(g, True)
            op.reset(g)
            same_world(g, clean)
            g.home_is_well()
        except Exception as e:
            raise AssertionError(f"{where}: {e}\n{g.engine.tail(15)}") from e
        if what is None:
            break
