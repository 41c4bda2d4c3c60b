# SPDX-License-Identifier: Apache-2.0
"""Hosts made of network namespaces: no names, no files, gone with the descriptor. Sockets are made inside one and used from outside of it."""
import contextlib
import json
import os
import select
import socket
import struct
import subprocess
import threading
import time

from threadns import Namespace


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff


class Host:
    def __init__(self, name):
        self.name = name
        self.open = []

        self.ns = Namespace()
        self.fd = self.ns.fd
        self.sysctl("net.ipv6.conf.default.accept_dad", 0)
        self.sysctl("net.ipv6.conf.all.accept_dad", 0)
        for family in ("iptables", "ip6tables", "arptables"):
            with contextlib.suppress(FileNotFoundError):
                self.sysctl(f"net.bridge.bridge-nf-call-{family}", 0)

    def close(self):
        for s in self.open:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def inside(self, work):
        return self.ns.run(work)

    def command(self, *argv):
        return ["nsenter", f"--net=/proc/self/fd/{self.fd}", *argv]

    def run(self, *argv, other=(), text=None, fail=False):
        r = subprocess.run(self.command(*argv), pass_fds=[self.fd, *(o.fd for o in other)], capture_output=True, text=True, input=text, timeout=30)
        assert fail or r.returncode == 0, f"{self.name}: {argv}: {r.stderr}"
        return r.stdout

    def ip(self, line, other=()):
        return self.run("ip", *line.split(), other=other)

    def nft(self, script):
        return self.run("nft", "-f", "-", text=script)

    def tables(self):
        return [t["table"]["name"] for t in json.loads(self.run("nft", "-j", "list", "tables"))["nftables"] if "table" in t]

    def sysctl(self, name, value=None):
        path = "/proc/sys/" + name.replace(".", "/")

        def work():
            if value is None:
                with open(path, encoding="ascii") as f:
                    return f.read().strip()
            with open(path, "w", encoding="ascii") as f:
                return f.write(str(value))
        return self.inside(work)

    def mac(self, dev):
        return json.loads(self.run("ip", "-j", "link", "show", dev))[0]["address"]

    # -- sockets --

    def socket(self, family, kind, proto=0):
        s = self.inside(lambda: socket.socket(family, kind, proto))
        self.open.append(s)
        return s

    def serve(self, port, addr="::", name=""):
        """TCP and UDP: answers the client's address (as seen), and the server's name."""
        def answer(a):
            return f"{a[0].removeprefix('::ffff:')} {name or self.name}".encode()
        family = socket.AF_INET6 if ":" in addr else socket.AF_INET
        tcp, udp = self.socket(family, socket.SOCK_STREAM), self.socket(family, socket.SOCK_DGRAM)
        for s in (tcp, udp):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if addr == "::":
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            s.bind((addr, port))
        tcp.listen(128)

        def streams():
            with contextlib.suppress(OSError):
                while True:
                    c, a = tcp.accept()
                    threading.Thread(target=stream, args=(c, a), daemon=True).start()

        def stream(c, a):
            with contextlib.suppress(OSError), c:
                c.sendall(answer(a))
                while data := c.recv(65536):
                    c.sendall(data)

        def datagrams():
            with contextlib.suppress(OSError):
                while True:
                    _, a = udp.recvfrom(65536)
                    if not a:
                        return
                    udp.sendto(answer(a), a)
        for work in (streams, datagrams):
            threading.Thread(target=work, daemon=True).start()

    def connect(self, addr, port, proto="tcp", timeout=5.0, source=None):
        s = self.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM)
        s.settimeout(timeout)
        if source:
            s.bind(source)
        s.connect((addr, port))
        return s

    def ask(self, addr, port, proto="tcp", timeout=5.0, source=None):
        """(client's address as the server saw it, server's name)"""
        with self.connect(addr, port, proto, timeout, source) as s:
            self.open.remove(s)
            if proto != "tcp":
                s.send(b"?")
            return tuple(s.recv(200).decode().split(" "))

    def reaches(self, addr, port, proto="tcp", timeout=0.5):
        try:
            return bool(self.ask(addr, port, proto, timeout))
        except OSError:
            return False

    def pings(self, addr, timeout=0.5):
        v4 = ":" not in addr
        s = self.socket(*(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) if v4 else (socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6))
        echo = struct.pack("!BBHHH", 8 if v4 else 128, 0, 0, 0x1234, 1)
        if v4:
            echo = echo[:2] + struct.pack("!H", checksum(echo)) + echo[4:]
        s.sendto(echo, (addr, 0))
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0 and select.select([s], [], [], left)[0]:
            data, sender = s.recvfrom(2000)
            data = data[20:] if v4 else data
            if data[0] == (0 if v4 else 129) and sender[0] == addr:
                return True
        return False


class Lab:
    def __init__(self):
        self.hosts = []

    def add(self, name):
        self.hosts.append(Host(name))
        return self.hosts[-1]

    def close(self):
        for h in self.hosts:
            h.close()

    def cable(self, a, dev_a, b, dev_b):
        a.ip(f"link add {dev_a} type veth peer name {dev_b} netns /proc/self/fd/{b.fd}", other=[b])

    def bridge(self, host, dev, v4, v6):
        host.ip(f"link add {dev} type bridge")
        for a in (v4, v6):
            if a:
                host.ip(f"addr add {a} dev {dev}")
        host.ip(f"link set {dev} up")

    def container(self, host, bridge, name, veth, v4, v6, gw4=None, gw6=None, mac=None, dev="eth0", ns=None):
        c = ns or self.add(name)
        self.cable(host, veth, c, dev)
        host.ip(f"link set {veth} master {bridge} up")
        if mac:
            c.ip(f"link set {dev} address {mac}")
        for a in (v4, v6):
            if a:
                c.ip(f"addr add {a} dev {dev}")
        c.ip(f"link set {dev} up")
        for gw in (gw4, gw6):
            if gw:
                c.ip(f"route add default via {gw}")
        return c


class Driver:
    """run-firewall in a host."""
    def __init__(self, exe, host, env=None):
        self.process = subprocess.Popen(host.command(str(exe)), pass_fds=[host.fd], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1, env=env)
        self.host = host
        self.log = []
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self.reader.start()

    def raw(self, op, **args):
        self.process.stdin.write(json.dumps({"op": op, **args}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "".join(self.log)
        return json.loads(line)

    def __call__(self, op, **args):
        r = self.raw(op, **args)
        assert "ok" in r, r
        return r["ok"]

    def error(self, op, **args):
        r = self.raw(op, **args)
        assert "error" in r, r
        return r["code"], r["error"]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            code = self.process.wait(timeout=20)
            self.reader.join(5)
            assert code == 0, "".join(self.log)
