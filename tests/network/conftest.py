# SPDX-License-Identifier: Apache-2.0
"""The host network service, driven by tests/unit/run-network in network namespaces of its own: each test has a "host" that nothing else sees."""
import json
import os
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from unixhttp import TIME_FACTOR

BUILD = Path(os.environ.get("CAISSON_BUILD", Path(__file__).resolve().parents[2] / "build"))
DRIVER = BUILD / "tests" / "unit" / "run-network"


def guid():
    return str(uuid.uuid4())


def wait_for(condition, *_, timeout=10):
    """The kernel takes things down behind the answer: looked at until it is so."""
    end = time.monotonic() + timeout * TIME_FACTOR
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


class HcnError(Exception):
    def __init__(self, answer):
        super().__init__(answer["Error"])
        self.code = answer["ErrorCode"] & 0xFFFFFFFF


SERVE = """
import socket, sys
s = socket.create_server(("", int(sys.argv[1])), family=socket.AF_INET6 if int(sys.argv[3]) else socket.AF_INET, dualstack_ipv6=bool(int(sys.argv[3])))
print("ready", flush=True)
while True:
    c, peer = s.accept()
    c.sendall(f"{sys.argv[2]} {peer[0]}".encode())
    c.close()
"""
FETCH = """
import socket, sys
for _ in range(int(sys.argv[4])):
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])) as s:
        print(s.makefile().read())
"""
# without site-packages: it starts in half the time, on an emulated machine seconds
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")


class Place:
    """Where commands run: a host or a container, each with command()."""

    servers = ()

    def run(self, *argv, check=True, timeout=30):
        r = subprocess.run(self.command(*argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout * TIME_FACTOR)
        assert not check or r.returncode == 0, f"{argv}: {r.stdout}"
        return r.stdout if check else r

    def ip(self, *argv):
        out = subprocess.run(self.command("ip", "-j", "-d", *argv), stdout=subprocess.PIPE, text=True, timeout=30 * TIME_FACTOR, check=True).stdout
        return json.loads(out) if out.strip() else []

    def popen(self, *argv):
        return subprocess.Popen(self.command(*argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def pipe(self, text, *argv):
        """Gives the command its standard input."""
        subprocess.run(self.command(*argv), input=text, text=True, timeout=30 * TIME_FACTOR, check=True)

    def serve(self, port, word, v6=False):
        """A TCP server that says its word and the client's address to everybody."""
        p = subprocess.Popen(self.command(*PYTHON, SERVE, str(port), word, str(int(v6))), stdout=subprocess.PIPE, text=True)
        assert p.stdout.readline() == "ready\n"
        self.servers = [*self.servers, p]

    def fetch(self, address, port, timeout=2 * TIME_FACTOR):
        """What such a server says, [word, client's address]; None: not reached, for which a test says how long it waits."""
        r = self.run(*PYTHON, FETCH, address, str(port), str(timeout), "1", check=False)
        return r.stdout.split() if r.returncode == 0 else None

    def words(self, address, port, times):
        """What such servers say in so many connections."""
        return set(self.run(*PYTHON, FETCH, address, str(port), "10", str(times), timeout=60).split()[::2])

    def stop_servers(self):
        for p in self.servers:
            p.kill()
            p.wait()


class Host(Place):
    """A network namespace, held by a sleeping process."""

    def __init__(self):
        # br_netfilter, where the kernel has it built in, is on in each new namespace; tests for it switch it on again
        start = "mount -t sysfs sysfs /sys; ip link set lo up; for f in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do [ ! -e $f ] || echo 0 >$f; done"
        self.holder = subprocess.Popen(["unshare", "--net", "--mount", "sh", "-c", start + "; echo ready; exec sleep 900"], stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline().strip() == "ready"
        self.pid = self.holder.pid

    def command(self, *argv):
        return ["nsenter", "--net", "--mount", "-t", str(self.pid), *argv]

    def links(self):
        return {link["ifname"]: link for link in self.ip("link")}

    def wire(self, other, mine, its, name="wire0"):
        """A cable to another host: a veth pair with an address at each end."""
        self.run("ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns", str(other.pid))
        for h, address in ((self, mine), (other, its)):
            h.run("ip", "addr", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
            h.run("ip", "link", "set", name, "up")

    def close(self):
        self.stop_servers()
        self.holder.kill()
        self.holder.wait()


class Service:
    """One life of the service on a host."""

    def __init__(self, host, prefix=(), **settings):
        self.host = host
        settings.setdefault("WarmNamespaces", 2)
        settings.setdefault("Firewall", False)
        self.children = []
        self.process = subprocess.Popen(host.command(*prefix, str(DRIVER)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self("init", settings)

    def __call__(self, *words):
        line = "\t".join(json.dumps(w) if isinstance(w, dict) else str(w) for w in words)
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the driver died at {words}: {self.process.wait()}"
        answer = json.loads(line)
        if isinstance(answer, dict) and "ErrorCode" in answer:
            raise HcnError(answer)
        return answer

    def network(self, subnets=(), type="NAT", id=None, name="net", policies=(), **bridge):
        id = id or guid()
        doc = {"Name": name, "Type": type, "Policies": list(policies)}
        if subnets:
            doc["Ipams"] = [{"Subnets": [s if isinstance(s, dict) else {"IpAddressPrefix": s} for s in subnets]}]
        if bridge:
            doc["Policies"] = doc["Policies"] + [{"Type": "LinuxBridge", "Settings": bridge}]
        self("net", id, doc)
        return id

    def endpoint(self, net, id=None, ips=(), policies=(), **doc):
        id = id or guid()
        if ips:
            doc["IpConfigurations"] = [{"IpAddress": ip} for ip in ips]
        self("ep", net, id, {**doc, "Policies": list(policies)})
        return id

    def namespace(self, pid=0, id=None, **dns):
        id = id or guid()
        self("ns", id, {"Linux": {"ProcessId": pid}, "Dns": dns})
        return id

    def container(self, *nets, dns=None, **endpoint):
        """A namespace with an endpoint on each network and a process in it."""
        ns = self.namespace(**(dns or {}))
        eps = [self.endpoint(n, **endpoint) for n in nets]
        for e in eps:
            self("add", ns, e)
        return Container(self, ns, eps)

    def kill(self):
        """As SIGKILL to the engine."""
        self.process.kill()
        self.process.wait()

    def close(self):
        ended = None
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                ended = self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                ended = self.process.wait()
        for c in self.children:
            c.stop_servers()
            try:
                os.kill(c.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        assert not ended, f"the driver ended with {ended}"  # also what a sanitizer has found


class Container(Place):
    def __init__(self, service, ns, eps):
        self.service, self.ns, self.eps = service, ns, eps
        self.ep = eps[0] if eps else None
        self.pid = service("spawn", ns)["pid"]
        service.children.append(self)

    def command(self, *argv):
        return ["nsenter", "--net", "-t", str(self.pid), *argv]

    def addresses(self, dev):
        return [f"{a['local']}/{a['prefixlen']}" for a in self.ip("addr", "show", "dev", dev)[0]["addr_info"]]

    def pings(self, address, count=1):
        return self.run("busybox", "ping", "-c", str(count), "-W", "1", address, check=False).returncode == 0

    def document(self, i=0):
        return self.service("query", "ep", self.eps[i])

    def address(self, i=0, n=0):
        return self.document(i)["IpConfigurations"][n]["IpAddress"]

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


@pytest.fixture
def host():
    if os.geteuid() != 0:
        pytest.skip("needs root")
    h = Host()
    yield h
    h.close()


@pytest.fixture
def outside():
    """Another host; wire() it."""
    h = Host()
    yield h
    h.close()


@pytest.fixture
def walled(host):
    """A service with its firewall, settled."""
    s = Service(host, Firewall=True)
    s("settle")
    yield s
    s.close()


@pytest.fixture
def service(host):
    s = Service(host)
    yield s
    s.close()
