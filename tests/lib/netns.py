# SPDX-License-Identifier: Apache-2.0
"""Network namespaces of our own: the engine's "host", and neighbours that see it from outside."""
import json
import subprocess
import urllib.parse

# Prints the addresses that the embedded resolver gives for a name. The static busybox of the test images has no resolver.
LOOKUP = r"""
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(float(sys.argv[2]))
name = b"".join(bytes([len(p)]) + p.encode() for p in sys.argv[1].split(".")) + b"\0"
s.sendto(struct.pack(">6H", 77, 256, 1, 0, 0, 0) + name + struct.pack(">2H", 1, 1), ("127.0.0.11", 53))
m = s.recv(4096)
ident, flags, _, answers = struct.unpack(">4H", m[:8])
at = 12 + len(name) + 4
for _ in range(answers):
    while m[at] and m[at] < 192:
        at += m[at] + 1
    at += 2 if m[at] else 1
    kind, _, _, n = struct.unpack(">HHIH", m[at:at + 10])
    if kind == 1:
        print(socket.inet_ntoa(m[at + 10:at + 10 + n]))
    at += 10 + n
"""


def in_netns(pid, *argv, timeout=30):
    return subprocess.run(["nsenter", "--net", "-t", str(pid), "--", *argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False)


def lookup(box, name, timeout=5):
    """Addresses of a name as a container sees it: its hosts file, then the embedded resolver."""
    for line in box.exec("cat /etc/hosts")[1].splitlines():
        if name in line.split()[1:]:
            return [line.split()[0]]
    done = in_netns(box.pid, "/usr/bin/python3", "-c", LOOKUP, name, str(timeout), timeout=timeout + 20)
    return done.stdout.split()


def fetch(box, url, timeout=3):
    """What a container gets from a URL; None when it gets nothing."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname
    if ":" not in host and not host.replace(".", "").isdigit():
        found = lookup(box, host)
        if not found:
            return None
        url = url.replace("//" + host, "//" + found[0], 1)
    done = in_netns(box.pid, "curl", "-gsS", "--noproxy", "*", "-m", str(timeout), url, timeout=timeout + 20)
    return done.stdout.strip() if done.returncode == 0 else None


class Netns:
    """Held by a sleeping process, so that it outlives whatever runs in it."""

    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec sleep infinity"],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline().strip() == "ready"
        self.pid = self.holder.pid
        self.cable = False

    def command(self, *argv):
        return ["nsenter", "--net", "-t", str(self.pid), "--", *argv]

    def run(self, *argv, check=True, timeout=30, stdin=None):
        done = subprocess.run(self.command(*argv), input=stdin, stdin=None if stdin else subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, check=False)
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def popen(self, *argv, **kw):
        return subprocess.Popen(self.command(*argv), **kw)

    def links(self):
        return {one["ifname"]: one for one in json.loads(self.run("ip", "-j", "-d", "link").stdout or "[]")}

    def nft(self):
        """The whole ruleset as text."""
        return self.run("nft", "list", "ruleset", check=False).stdout

    def fetch(self, url, timeout=3, check=True):
        """What curl gets; None when nothing answers."""
        done = self.run("curl", "-gsS", "--noproxy", "*", "-m", str(timeout), url, check=False, timeout=timeout + 10)
        assert not check or done.returncode == 0, f"{url}: {done.stderr}"
        return done.stdout if done.returncode == 0 else None

    def pings(self, address, timeout=1):
        return self.run("busybox", "ping", "-c1", f"-W{timeout}", address, check=False).returncode == 0

    def neighbour(self, subnet="192.0.2", subnet6="2001:db8:2::", dev="out0"):
        """Another host on a cable of its own: we are .1, it is .2, and routes everything by us."""
        other = Netns()
        other.cable = True
        self.run("ip", "link", "add", dev, "type", "veth", "peer", "name", "eth0", "netns", str(other.pid))
        for ns, name, n in ((self, dev, 1), (other, "eth0", 2)):
            ns.run("ip", "addr", "add", f"{subnet}.{n}/24", "dev", name)
            ns.run("ip", "addr", "add", f"{subnet6}{n}/64", "dev", name, "nodad")
            ns.run("ip", "link", "set", name, "up")
        other.run("ip", "route", "add", "default", "via", f"{subnet}.1")
        other.run("ip", "-6", "route", "add", "default", "via", f"{subnet6}1")
        other.address, other.address6, other.gateway, other.gateway6 = f"{subnet}.2", f"{subnet6}2", f"{subnet}.1", f"{subnet6}1"
        return other

    def close(self):
        if self.cable:      # now, and not when the kernel finds the time
            self.run("ip", "link", "del", "eth0", check=False)
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
