# SPDX-License-Identifier: Apache-2.0
"""A name server that behaves as the first label of the question says. UDP and TCP, on one address."""
import select
import socket
import threading
import time

import dns.flags
import dns.message
import dns.rrset

MANY = 100


def reply(query, address="192.0.2.1", rcode=0, count=1):
    r = dns.message.make_response(query, recursion_available=True)
    r.set_rcode(rcode)
    if count and rcode == 0:
        q = query.question[0]
        if q.rdtype == 1:
            addresses = [address] if count == 1 else [f"198.51.100.{i + 1}" for i in range(count)]
            r.answer.append(dns.rrset.from_text(q.name, 60, "IN", "A", *addresses))
    return r


class Upstream:
    """mode(name, proto, nth): what to do with the nth question for that name; by default the first label says it."""

    def __init__(self, ip, port, address="192.0.2.1", make=None):
        make = make or (lambda f: f())
        self.address, self.seen, self.ports, self.ids, self.held = address, [], set(), [], []
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        self.udp = make(lambda: socket.socket(family, socket.SOCK_DGRAM))
        self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.udp.bind((ip, port))
        self.tcp = make(lambda: socket.socket(family, socket.SOCK_STREAM))
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((ip, port))
        self.tcp.listen(16)
        self.stop_r, self.stop_w = socket.socketpair()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def close(self):
        self.stop_w.send(b"x")
        self.thread.join()
        for s in (self.udp, self.tcp, self.stop_r, self.stop_w, *self.held):
            s.close()

    def names(self):
        return [n for n, _ in self.seen]

    def run(self):
        while True:
            ready, _, _ = select.select([self.udp, self.tcp, self.stop_r], [], [])
            if self.stop_r in ready:
                return
            if self.udp in ready:
                wire, peer = self.udp.recvfrom(65535)
                self.ports.add(peer[1])
                self.ids.append(int.from_bytes(wire[:2], "big"))
                for out in self.answers(wire, "udp"):
                    self.udp.sendto(out, peer)
            if self.tcp in ready:
                self.serve_tcp()

    def serve_tcp(self):
        conn, _ = self.tcp.accept()
        with conn:
            conn.settimeout(5)
            with conn.makefile("rb") as f:
                head = f.read(2)
                answers = self.answers(f.read(int.from_bytes(head, "big")), "tcp") if len(head) == 2 else []
            if not answers:
                self.held.append(conn.dup())
            for out in answers:
                data = len(out).to_bytes(2, "big") + out
                for i in range(0, len(data), 700):  # in pieces
                    conn.sendall(data[i:i + 700])

    def answers(self, wire, proto):
        query = dns.message.from_wire(wire)
        name = query.question[0].name.to_text().rstrip(".")
        self.seen.append((name, proto))
        good = reply(query, self.address).to_wire()
        match name.lower().split(".")[0].split("-")[0]:
            case "silent":
                return []
            case "bareform":    # knows no EDNS, and not what the question was
                return [wire[:2] + b"\x81\x81" + bytes(8)] if query.edns >= 0 else [good]
            case "bareserv":
                return [wire[:2] + b"\x81\x82" + bytes(8)]
            case "nx":
                return [reply(query, rcode=3).to_wire()]
            case "servfail":
                return [reply(query, rcode=2).to_wire()]
            case "refused":
                return [reply(query, rcode=5).to_wire()]
            case "garbage":  # with the right id, in front of the good one
                return [wire[:2] + b"\xff" * 40, wire[:2] + b"\x81\x80\0\1\0\1\0\0\0\0", b"", b"x", wire, good]
            case "wrongid":
                bad = bytes([good[0] ^ 1]) + good[1:]
                return [bad, bad, good]
            case "wrongname":
                other = dns.message.make_query("evil.example", "A", id=query.id)
                return [reply(other, "203.0.113.66").to_wire(), good]
            case "onlywrong":
                return [bytes([good[0] ^ 1]) + good[1:]]
            case "many":
                if proto == "tcp":
                    return [reply(query, count=MANY).to_wire(max_size=65535)]
                r = reply(query, count=0)
                r.flags |= dns.flags.TC
                return [r.to_wire()]
            case "shout":  # more than a client without EDNS takes
                return [reply(query, count=MANY).to_wire(max_size=65535)]
            case "slow":
                time.sleep(0.3)
                return [good]
            case "lower":
                return [good[:12] + good[12:].lower()]
        return [good]
