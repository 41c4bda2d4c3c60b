# SPDX-License-Identifier: Apache-2.0
"""A daemon that dies, or whose call fails, at the N-th thing that it does to the world outside (steps.c), and what that world looks like."""
import ctypes
import errno
import json
import mmap
import os
import re
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from caisson_fixture import Engine
from threadns import CLONE_NEWNET, _check, in_thread, LIBC

NETLINK, FILES, KERNEL, PORTS, LOCAL, RECEIVE, MESSAGES = 1, 2, 4, 8, 16, 32, 64
ALL = NETLINK | FILES | KERNEL | PORTS | LOCAL
NAMES, NAME_LEN, HEAD = 4000, 120, 24
# What stays once it was needed, until the daemon ends: firewall_script.c, firewall_loopback.c.
OPTIONAL = {("inet", "raw"), ("inet", "input"), ("bridge", "forward"), ("bridge", "postrouting")}
PINS = {"bpf", "connect", "flows", "recvmsg", "sendmsg", "maps.debug", "progs.debug"}


def library():
    """The preloaded half, compiled once per process; None where there is no compiler."""
    if os.environ.get("CAISSON_STEPS_LIBRARY"):
        return os.environ["CAISSON_STEPS_LIBRARY"]
    if not hasattr(library, "made"):
        out = tempfile.mkdtemp(prefix="cst-steps-") + "/steps.so"
        try:
            subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", out, str(Path(__file__).parent / "steps.c"), "-ldl"], check=True)
            library.made = out
        except FileNotFoundError:
            library.made = None
    return library.made


class Steps:
    """The control block: struct control of steps.c."""

    def __init__(self, path):
        self.path = str(path)
        with open(self.path, "wb") as f:
            f.truncate(HEAD + NAMES * NAME_LEN)
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)

    @property
    def prefix(self):
        """Of the command whose steps these shall be."""
        return ("env", "LD_PRELOAD=" + library(), "STEPS_CONTROL=" + self.path)

    def _put(self, i, value):
        self.map[4 * i:4 * i + 4] = struct.pack("I", value)

    @property
    def count(self):
        return struct.unpack("I", self.map[20:24])[0]

    def arm(self, at=0, kinds=ALL, error=0, sticky=False):
        self.disarm()
        for i, value in ((5, 0), (1, kinds), (2, at), (3, error), (4, int(sticky))):
            self._put(i, value)
        self._put(0, 1)

    def disarm(self):
        self._put(0, 0)

    def name(self, n):
        at = HEAD + (n - 1) * NAME_LEN
        return repr(self.map[at:at + NAME_LEN].split(b"\0")[0])[2:-1]

    def names(self):
        return [self.name(n) for n in range(1, min(self.count, NAMES) + 1)]

    def quiet(self, longer=0.06, most=2.0):
        """Until nothing is done any more: what is behind the answer counts, too."""
        end, seen, since = time.monotonic() + most, self.count, time.monotonic()
        while time.monotonic() < end and time.monotonic() - since < longer:
            time.sleep(0.005)
            if self.count != seen:
                seen, since = self.count, time.monotonic()


def kernel(run):
    """What the kernel has, in words that are the same in each life of the daemon, without the pairs that are kept ready; run(command…): its output."""
    show = lambda *argv: json.loads(run(*argv) or "[]")  # noqa: E731
    links = show("ip", "-j", "-d", "link")
    ports = {l["ifname"]: "port of " + l["ifalias"] for l in links if l["ifname"].startswith("csp") and l.get("ifalias")}
    ports |= {str(l["ifindex"]): ports[l["ifname"]] for l in links if l["ifname"] in ports}
    warm = {l["ifname"] for l in links if l["ifname"].startswith("csp") and not l.get("master") and not l.get("ifalias")}
    found = set()
    for l in links:
        if l["ifname"] not in warm:
            info = l.get("linkinfo", {})
            flags = {k: v for k, v in info.get("info_slave_data", {}).items() if k in ("hairpin", "isolated", "locked", "learning", "flood", "neigh_suppress")}
            found.add(f"link {l['ifname']} {info.get('info_kind', '')} {l.get('master', '')} {l.get('ifalias', '')} {l.get('group', '')} {l['mtu']} {flags}")
    for l in show("ip", "-j", "addr"):
        if l["ifname"] not in warm:
            found |= {f"address {a['local']}/{a['prefixlen']} {l['ifname']}" for a in l["addr_info"] if not a["local"].startswith("fe80::") or a["local"] == "fe80::1"}
    for family in "-4", "-6":
        for r in show("ip", "-j", family, "route"):
            if not r["dst"].startswith(("fe80", "ff00")):
                found.add(f"route {r['dst']} {r.get('gateway', '')} {r.get('dev', '')}")
        found |= {f"rule {json.dumps(r)}" for r in show("ip", "-j", family, "rule")}
    for f in show("bridge", "-j", "fdb"):
        if f.get("dst") or f.get("state") == "static":
            found.add(f"fdb {f['mac']} {f['ifname']} {f.get('dst', '')}")
    found |= ruleset(run, warm)
    found |= {"socket " + line.split()[4] for line in run("ss", "-Hlntu").splitlines()}
    swap = lambda text: re.sub(r"csp[0-9a-f]{8}", lambda m: ports.get(m[0], m[0]), text)  # noqa: E731
    return {re.sub(r'^(nft .*?concat": \[)"(\d+)"', lambda m: f'{m[1]}"{ports.get(m[2], m[2])}"', swap(line)) for line in found}


def ruleset(run, warm):
    found = set()
    for item in json.loads(run("nft", "-j", "list", "ruleset") or "{}").get("nftables", []):
        for kind, one in item.items():
            if kind == "metainfo" or (kind in ("chain", "rule") and (one["family"], one.get("name", one.get("chain"))) in OPTIONAL):
                continue
            where = f"nft {one.get('table', '')} {kind} {one.get('name', one.get('chain', ''))}"
            if kind in ("set", "map"):
                for e in one.get("elem", []):
                    text = json.dumps(e, sort_keys=True)
                    if not any(f'"{w}"' in text for w in warm):
                        found.add(f"{where}: {text}")
            elif kind == "rule":
                found.add(f"{where}: {re.sub(r'.(handle|packets|bytes).: [0-9]+', '', json.dumps(one['expr'], sort_keys=True))}")
            found.add(where)
    return found


class SteppedEngine(Engine):
    def __init__(self, **kw):
        super().__init__(netns=True, **kw)
        self.steps = Steps(self.root / "steps")

    def _command(self):
        command = super()._command()
        at = command.index(str(self.build / "caissond"))
        return [*command[:at], *self.steps.prefix, *command[at:]]

    # -- what is there ----------------------------------------------------------------------------------------------------
    def world(self):
        """Everything outside that could be left behind."""
        found = kernel(lambda *argv: self.netns.run(*argv, check=False).stdout)
        for top, depth in ((self.data, 1), (self.exec, 9)):
            for path, dirs, files in os.walk(top):
                short = os.path.relpath(path, top)
                if short.split("/")[0] in ("spare", "content", "layers", "systems", "containers", "snapshots") or short.count("/") >= depth:
                    dirs[:] = []
                if "/gone-" in short:
                    continue
                found |= {f"file {top.name}/{short}/{f}" for f in [*dirs, *files] if short != "spare" and not f.startswith(("caisson.db", "gone-")) and f not in PINS}
        return found


# ---- packets, without a process for each ----

def inside(pid, f):
    """f() in the network namespace of a process: the sockets that it makes stay there."""
    def run():
        fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(LIBC.setns(fd, CLONE_NEWNET))
        finally:
            os.close(fd)
        return f()
    return in_thread(run)


def reaches(client, server, address, port, to_port=None, udp=False, timeout=1.5):
    """A word goes from the namespace of one process to a port in that of another, and back. port: as the client says it, to_port: as the server does."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM

    def serve():
        s = socket.socket(family, kind)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", to_port or port))
        if not udp:
            s.listen()
        s.settimeout(timeout)
        return s

    with inside(server, serve) as s, inside(client, lambda: socket.socket(family, kind)) as c:
        c.settimeout(timeout)
        try:
            c.connect((address, port))
            c.sendall(b"word")
            if udp:
                word, peer = s.recvfrom(10)
                s.sendto(word, peer)
            else:
                t = s.accept()[0]
                with t:
                    t.settimeout(timeout)
                    t.sendall(t.recv(10))
            return c.recv(10) == b"word"
        except OSError as e:
            if e.errno not in (None, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EACCES, errno.ETIMEDOUT):
                raise
            return False


def resolves(pid, name, timeout=3.0):
    """What the embedded DNS says to a container: addresses, [] for no such name, None for no answer."""
    wire = b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"
    with inside(pid, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as s:
        s.settimeout(timeout)
        try:
            s.sendto(struct.pack(">6H", 77, 256, 1, 0, 0, 0) + wire + struct.pack(">2H", 1, 1), ("127.0.0.11", 53))
            m = s.recv(4096)
        except OSError:
            return None
    at, found = 12 + len(wire) + 4, []
    for _ in range(struct.unpack(">4H", m[:8])[3]):
        while m[at] and m[at] < 192:
            at += m[at] + 1
        at += 2 if m[at] else 1
        kind, _, _, n = struct.unpack(">HHIH", m[at:at + 10])
        if kind == 1:
            found.append(socket.inet_ntoa(m[at + 10:at + 10 + n]))
        at += 10 + n
    return found
