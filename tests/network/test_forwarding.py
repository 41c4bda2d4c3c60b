# SPDX-License-Identifier: Apache-2.0
"""The engine switches IP forwarding on, and the host is no router between its other networks for that. left - host - right."""
import pytest

import caisson_fixture as fx
from netns import Netns

V4, V6 = "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"


def sysctl(ns, name, value=None):
    if value is not None:
        ns.run("sysctl", "-qw", f"{name}={value}")
    return ns.run("sysctl", "-n", name).stdout.strip()


class Trio:
    def __init__(self, on, args=(), config=None):
        self.eng = fx.Engine(netns=True, args=args, config=config)
        self.host = self.eng.netns
        for name in (V4, V6):
            sysctl(self.host, name, on)
        self.left = self.host.neighbour()
        self.right = self.host.neighbour("198.51.100", "2001:db8:3::", "out1")
        for there in (self.left, self.right):      # so that silence means the host's refusal
            for address in (there.gateway, there.gateway6):
                fx.wait_for(lambda ns=there, a=address: ns.pings(a), what=f"a way to {address}")

    def routes(self):
        """Which families the host forwards between left and right."""
        return {f for f, a in ((4, self.right.address), (6, self.right.address6)) if self.left.pings(a)}

    def close(self):
        self.left.close()
        self.right.close()
        self.eng.close()


@pytest.fixture
def trio():
    made = []

    def make(*a, **kw):
        made.append(Trio(*a, **kw))
        return made[-1]
    yield make
    for t in made:
        t.close()


def test_no_router_where_we_switched_forwarding_on(trio):
    from box import Boxes
    t = trio(0)
    assert t.routes() == set()
    t.eng.start().prepare()
    assert sysctl(t.host, V4) == "1" and sysctl(t.host, V6) == "0" and t.routes() == set()
    t.eng.http.post("/networks/create", body={"Name": "six", "EnableIPv6": True})
    assert sysctl(t.host, V6) == "1" and t.routes() == set()
    b = Boxes(t.eng).sleeper(network="six")
    for address in (t.left.address, t.left.address6):     # what containers need is there
        assert b.exec(f"ping -c1 -W3 {address}")[0] == 0
    for graceful in (False, True):                         # and it is known after a restart
        t.eng.restart(graceful=graceful)
        assert t.routes() == set() and b.exec(f"ping -c1 -W3 {t.right.address}")[0] == 0


def test_who_had_forwarding_on_keeps_it(trio):
    t = trio(1)
    t.eng.start().prepare()
    assert t.routes() == {4, 6}
    t.eng.http.post("/networks/create", body={"Name": "six", "EnableIPv6": True})
    t.eng.restart()
    assert t.routes() == {4, 6}


def test_one_family_does_not_close_the_other(trio):
    t = trio(1)
    sysctl(t.host, V4, 0)
    t.eng.start().prepare()
    assert sysctl(t.host, V4) == "1" and t.routes() == {6}


def test_ip_forward_no_drop(trio):
    t = trio(0, args=["--ip-forward-no-drop"])
    t.eng.start().prepare()
    assert sysctl(t.host, V4) == "1" and t.routes() == {4}


def test_ip_forward_false(trio):
    t = trio(0, args=["--ip-forward=false"])
    t.eng.start().prepare()
    assert sysctl(t.host, V4) == "0"
    sysctl(t.host, V4, 1)       # the owner of the host wants it
    assert t.routes() == {4}


def test_another_daemon_is_let_through(trio):
    from box import Boxes
    t = trio(0)
    t.eng.start().prepare()
    two = fx.Engine(netns=True)
    two.netns.close()
    two.netns = t.host
    try:
        two.start().prepare()
        b = Boxes(two).sleeper(network="bridge")
        assert b.exec(f"ping -c1 -W3 {t.left.address}")[0] == 0 and t.routes() == set()
        two.remove_all()
    finally:
        two.network_leaks = lambda: {}

        class Kept:
            command, close = t.host.command, staticmethod(lambda: None)
        two.netns = Kept()
        two.close()
        t.eng.network_leaks = lambda: {}


def test_machines_on_a_bridge_talk_with_br_netfilter_on(trio):
    """Their frames pass the host's forward chains."""
    t = trio(0)
    t.host.run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
    t.host.run("ip", "link", "add", "virbr9", "type", "bridge")
    t.host.run("ip", "link", "set", "virbr9", "up")
    machines = [Netns(), Netns()]
    try:
        for i, m in enumerate(machines):
            t.host.run("ip", "link", "add", f"tap{i}", "type", "veth", "peer", "name", "eth0", "netns", str(m.pid))
            t.host.run("ip", "link", "set", f"tap{i}", "up", "master", "virbr9")
            m.run("ip", "addr", "add", f"10.99.0.{i + 1}/24", "dev", "eth0")
            m.run("ip", "link", "set", "eth0", "up")
        t.eng.start().prepare()
        assert sysctl(t.host, V4) == "1" and t.routes() == set()
        assert machines[0].pings("10.99.0.2", 3)
    finally:
        for m in machines:
            m.close()
        t.host.run("ip", "link", "del", "virbr9", check=False)
