# SPDX-License-Identifier: Apache-2.0
"""Policies of what is in use are changed, and at the N-th step of that the service dies, or a call of its fails: the new ones are in force or the old ones.
Each N, of one kind of failure for each change, another each day, or of all (CAISSON_STEPS=all). The engine's operations: tests/fault/test_network_steps.py."""
import datetime
import errno
import json
import os
import random
import re
import select
import subprocess

import pytest

import steps as st
from conftest import HcnError, Service, wait_for

pytestmark = [pytest.mark.unsanitized, pytest.mark.skipif(not st.library(), reason="needs a compiler")]
ALL = os.environ.get("CAISSON_STEPS") == "all"
SEED = os.environ.get("CAISSON_FAULT_SEED") or datetime.date.today().isoformat()
SUBNETS = ["10.1.0.0/24", "fd00:1::/64"]


def port(outer, inner, protocol=6):
    return {"Type": "PortMapping", "Settings": {"Protocol": protocol, "InternalPort": inner, "ExternalPort": outer}}


def interface(**s):
    return {"Type": "LinuxInterface", "Settings": s}


def acl(**s):
    return {"Type": "ACL", "Settings": {"Action": "Block", "Direction": "In", **s}}


def rate(n):
    return {"Type": "QOS", "Settings": {"MaximumOutgoingBandwidthInBytes": n}}


# what it has, and what that becomes
CHANGES = {
    "ports": ([port(8080, 80)], [port(8080, 80), port(8081, 81), port(8082, 82, 17)]),
    "other ports": ([port(8080, 80), port(8081, 81)], [port(8080, 81)]),
    "no ports": ([port(8080, 80)], []),
    "antispoof": ([interface(AntiSpoof=False)], [interface(AntiSpoof=True)]),
    "no antispoof": ([interface(AntiSpoof=True), port(8080, 80)], [interface(AntiSpoof=False), port(8080, 80)]),
    "acl": ([], [acl(Protocols="6", LocalPorts="80")]),
    "other acl": ([acl(Protocols="6", LocalPorts="80")], [acl(Protocols="17"), acl(Direction="Out", RemoteAddresses="10.9.0.0/16")]),
    "rate": ([rate(1 << 20)], [rate(1 << 21), port(8080, 80)]),
}
FAILURES = {"killed": (st.ALL, 0), "netlink": (st.NETLINK, errno.ENOBUFS), "messages": (st.MESSAGES, errno.EOPNOTSUPP), "answers": (st.RECEIVE, errno.ENOBUFS),
            "ports": (st.PORTS, errno.ENOMEM)}


@pytest.fixture
def steps(tmp_path):
    return st.Steps(tmp_path / "steps")


class Died(Exception):
    pass


class Mortal(Service):
    """Its children have its output, which therefore does not end with it."""

    def __call__(self, *words):
        if self.process.poll() is not None:
            raise Died
        line = "\t".join(json.dumps(w) if isinstance(w, dict) else str(w) for w in words)
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        while not select.select([self.process.stdout], [], [], 0.02)[0]:
            if self.process.poll() is not None:
                raise Died
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(10)
            raise Died
        answer = json.loads(line)
        if isinstance(answer, dict) and "ErrorCode" in answer:
            raise HcnError(answer)
        return answer


class Ground:
    def __init__(self, host, steps, policies):
        self.host, self.steps, self.services, self.forwarded = host, steps, [], []
        self.service = self.life()
        self.service("settle")
        self.net = self.service.network(SUBNETS)
        self.c, self.other = self.service.container(self.net, policies=policies), self.service.container(self.net)
        for c in (self.c, self.other):
            c.ips = [i["IpAddress"] for i in c.document()["IpConfigurations"]]
        self.forwarded = [f for f in ("IPv4", "IPv6") if f'nft caisson set closed: "{f.lower()}"' in self.state()]     # as the engine notes it

    def life(self):
        s = Mortal(self.host, prefix=self.steps.prefix, Firewall=True, Forwarded=self.forwarded)
        self.services.append(s)
        return s

    def run(self, *argv):
        """A dump that somebody's change interrupts is made again."""
        for _ in range(20):
            done = subprocess.run(self.host.command(*argv), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                break
        return done.stdout

    def state(self):
        found = {re.sub(r"\bacl\d+_", "acl_", line) for line in st.kernel(self.run)}
        return found | {"tc " + " ".join(self.c.run("tc", "qdisc", "show", "dev", "eth0").split())}

    def settled(self, wanted, what):
        try:
            wait_for(lambda: self.state() in wanted, timeout=6)
        except AssertionError:
            now = self.state()
            raise AssertionError(f"{what}: " + "; or ".join(f"left {sorted(now - w)}, missing {sorted(w - now)}" for w in wanted)) from None

    def change(self, policies):
        """One document for all: the service's own way of an update replaces those of one type."""
        have = self.c.document()["Policies"]
        for kind in {p["Type"] for p in have} - {p["Type"] for p in policies}:
            for p in [p for p in have if p["Type"] == kind]:
                self.service("modify", "ep", self.c.ep, {"ResourceType": "Policy", "RequestType": "Remove", "Settings": p})
        if policies:
            self.service("modify", "ep", self.c.ep, {"ResourceType": "Policy", "RequestType": "Update", "Settings": {"Policies": policies}})

    def kill_and_again(self, policies):
        self.service.kill()
        self.service = self.life()
        self.service.network(id=self.net, subnets=SUBNETS)
        for c, p in ((self.c, policies), (self.other, [])):
            c.service = self.service
            self.service.namespace(pid=c.pid, id=c.ns)
            self.service.endpoint(self.net, id=c.ep, ips=c.ips, policies=p)
            self.service("add", c.ns, c.ep)
        self.service("settle")

    def close(self):
        for s in self.services:
            s.close()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name,how", [(n, h) for n in CHANGES for h in FAILURES if ALL or h == random.Random(f"{SEED} {n}").choice(list(FAILURES))])
def test_policies(host, steps, name, how):
    before, after = CHANGES[name]
    kinds, error = FAILURES[how]
    g = Ground(host, steps, before)
    try:
        old = g.state()
        g.change(after)
        new = g.state()
        g.change(before)
        g.settled([old], "and back")
        for at in range(1, 100):
            steps.arm(at, kinds, error)
            try:
                g.change(after)
                answered = True
            except HcnError:
                answered = False
            except (Died, BrokenPipeError):
                answered = None
            reached = steps.count >= at
            what = f"{name}, {how}, step {at}: {steps.name(at)}"
            steps.disarm()
            assert (answered is None) == (reached and not error), what
            if answered is None:
                for policies, wanted in ((before, old), (after, new), (before, old)):
                    g.kill_and_again(policies)
                    g.settled([wanted], what)
            else:
                g.settled([new if answered else old], what)
                g.change(after)
                g.settled([new], what)
                g.change(before)
                g.settled([old], what)
            if not reached:
                break
    finally:
        g.close()


def test_an_acl_meets_no_shortcut_whose_answer_was_lost(host, steps):
    """src/network/shortcut.c: the program is in the kernel, and the service was not told so."""
    g = Ground(host, steps, [])
    try:
        there = set()
        for n in range(1, 5):
            c = g.service.container(g.net, policies=[interface(AntiSpoof=True)])
            host.run("sleep", "0.6")  # another pair takes the place of its own
            steps.arm(n, st.RECEIVE, errno.ENOBUFS)
            host.run("sleep", "1")
            steps.disarm()
            filters = lambda c=c: host.run("tc", "filter", "show", "dev", c.document()["HostInterface"], "ingress")
            there.add("caisson_host" in filters() and steps.count >= n)
            g.service("modify", "ep", c.ep, {"ResourceType": "Policy", "RequestType": "Add", "Settings": acl(Direction="Out", Protocols="6", RemotePorts="81")})
            assert "caisson_host" not in filters(), n
        assert True in there, "no answer about a program was lost"
    finally:
        g.close()
