# SPDX-License-Identifier: Apache-2.0
"""Host ports: what the kernel says is free, who holds what is not, and nobody gets what is published. Needs root."""
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from netlab import Driver, Lab

BUILD = Path(os.environ.get("CAISSON_BUILD", Path(__file__).resolve().parents[2] / "build"))
EXE = BUILD / "tests/unit/run-firewall"
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not EXE.exists(), reason="needs root and a build")
STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM


@pytest.fixture
def lab():
    lab = Lab()
    lab.h = lab.add("host")
    lab.h.ip("addr add 192.0.2.1/24 dev lo")
    lab.d = Driver(EXE, lab.h)
    yield lab
    lab.d.close()
    lab.close()


def listener(h, addr, port, kind=STREAM, only=True):
    s = h.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in addr:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only))
    s.bind((addr, port))
    if kind == STREAM:
        s.listen(5)
    return s


def taken(h, addr, port, kind=STREAM):
    try:
        listener(h, addr, port, kind).close()
        return False
    except OSError:
        return True


@pytest.mark.parametrize("proto,kind", [("tcp", STREAM), ("udp", DGRAM)])
def test_nobody_else_gets_a_held_port(lab, proto, kind):
    r = lab.d("hold", proto=proto, addrs=["0.0.0.0", "::"], first=8080, last=8080)
    assert r["port"] == 8080
    for addr in ("0.0.0.0", "127.0.0.1", "192.0.2.1", "::", "::1"):
        assert taken(lab.h, addr, 8080, kind), addr
        assert not taken(lab.h, addr, 8081, kind)
    lab.d("release", hold=r["hold"])
    for addr in ("0.0.0.0", "::"):
        assert not taken(lab.h, addr, 8080, kind)


@pytest.mark.unsanitized
def test_a_held_port_is_one_descriptor_for_both_families(lab):
    lab.d("release", hold=0)  # it is up: its loader has no file open
    before = len(os.listdir(f"/proc/{lab.d.process.pid}/fd"))
    lab.d("hold", addrs=["0.0.0.0", "::"], first=8080, last=8080)
    assert len(os.listdir(f"/proc/{lab.d.process.pid}/fd")) == before + 1


def test_a_held_port_refuses_and_hears_nothing(lab):
    """Where nothing translates, a client is refused at once, and datagrams do not pile up."""
    lab.d("hold", addrs=["0.0.0.0", "::"], first=8080, last=8080)
    with pytest.raises(ConnectionRefusedError):
        lab.h.connect("127.0.0.1", 8080)
    lab.d("hold", proto="udp", addrs=["0.0.0.0"], first=8080, last=8080)
    s = lab.h.connect("127.0.0.1", 8080, "udp")
    for _ in range(50):
        s.send(b"x" * 1000)
    queued = [line for line in lab.h.inside(lambda: Path("/proc/thread-self/net/udp").read_text()).splitlines() if ":1F90 00000000" in line]
    assert len(queued) == 1 and queued[0].split()[4].endswith(":00000000"), queued


def test_addresses_and_families_are_kept_apart(lab):
    lab.d("hold", addrs=["127.0.0.1"], first=8080, last=8080)
    lab.d("hold", addrs=["192.0.2.1"], first=8080, last=8080)
    lab.d("hold", addrs=["::"], first=8080, last=8080)
    lab.d("hold", proto="udp", addrs=["0.0.0.0", "::"], first=8080, last=8080)
    code, text = lab.d.error("hold", addrs=["127.0.0.1"], first=8080, last=8080)
    assert (code, text) == ("CONFLICT", "Bind for 127.0.0.1:8080 failed: port is already allocated")
    code, text = lab.d.error("hold", addrs=["::1"], first=8080, last=8080)
    assert (code, text) == ("CONFLICT", "Bind for [::1]:8080 failed: port is already allocated")
    assert lab.d.error("hold", addrs=["0.0.0.0"], first=8080, last=8080)[1].startswith("Bind for 0.0.0.0:8080 failed: port is already allocated")
    assert lab.d.error("hold", addrs=["0.0.0.0", "::"], first=8080, last=8080)[1].endswith("port is already allocated")


@pytest.mark.parametrize("mine,theirs,proto", [("0.0.0.0", "127.0.0.1", "tcp"), ("127.0.0.1", "0.0.0.0", "tcp"), ("0.0.0.0", "::", "tcp"), ("0.0.0.0", "0.0.0.0", "udp"), ("::", "::1", "udp")])
def test_a_strangers_port_names_its_holder(lab, mine, theirs, proto):
    code = f"""import socket, sys
s = socket.socket(socket.{'AF_INET6' if ':' in theirs else 'AF_INET'}, socket.{'SOCK_STREAM' if proto == 'tcp' else 'SOCK_DGRAM'})
s.bind(("{theirs}", 8080))
if {proto == 'tcp'}: s.listen()
print("ready", flush=True)
sys.stdin.read()"""
    with subprocess.Popen(lab.h.command(sys.executable, "-c", code), pass_fds=[lab.h.fd], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p:
        assert p.stdout.readline() == "ready\n"
        code, text = lab.d.error("hold", proto=proto, addrs=[mine], first=8080, last=8080)
        comm = Path(f"/proc/{p.pid}/comm").read_text().strip()
        place = f"[{mine}]" if ":" in mine else mine
        assert code == "CONFLICT"
        assert text == f"failed to bind host port for {place}:8080/{proto}: address already in use: port 8080/{proto} on {mine} is held by {comm} (pid {p.pid})"
        p.stdin.close()
    lab.d("hold", proto=proto, addrs=[mine], first=8080, last=8080)


def test_connections_of_yesterday_are_nobody(lab):
    """A server that has just ended leaves TIME_WAIT, which hinders a plain bind for a minute."""
    s = listener(lab.h, "0.0.0.0", 8080)
    c = lab.h.connect("127.0.0.1", 8080)
    a, _ = s.accept()
    a.close()  # the server closes first
    assert c.recv(1) == b""
    c.close()
    s.close()
    probe = lab.h.socket(socket.AF_INET, STREAM)
    with pytest.raises(OSError):
        probe.bind(("0.0.0.0", 8080))
    lab.d("hold", addrs=["0.0.0.0"], first=8080, last=8080)
    assert taken(lab.h, "0.0.0.0", 8080) and taken(lab.h, "127.0.0.1", 8080)


def test_ranges_take_the_first_free_port(lab):
    listener(lab.h, "0.0.0.0", 8000)
    first = lab.d("hold", addrs=["0.0.0.0", "::"], first=8000, last=8002)
    assert first["port"] == 8001
    assert lab.d("hold", addrs=["0.0.0.0"], first=8000, last=8002)["port"] == 8002
    code, text = lab.d.error("hold", addrs=["0.0.0.0"], first=8000, last=8002)
    assert code == "CONFLICT" and "all ports are allocated" in text and "8000-8002" in text
    lab.d("release", hold=first["hold"])
    assert lab.d("hold", addrs=["0.0.0.0"], first=8000, last=8002)["port"] == 8001


def test_picked_ports_are_in_the_range_and_free_on_all_addresses(lab):
    lab.h.sysctl("net.ipv4.ip_local_port_range", "40000 40019")
    theirs = {listener(lab.h, "::", p).getsockname()[1] for p in range(40000, 40010)}
    picked = {lab.d("hold", addrs=["192.0.2.1", "::"], first=0, last=0)["port"] for _ in range(10)}
    assert picked == set(range(40000, 40020)) - theirs


def test_ephemeral_sockets_of_the_host_do_not_meet(lab):
    picked = {lab.d("hold", addrs=["0.0.0.0", "::"], first=0, last=0)["port"] for _ in range(500)}
    assert len(picked) == 500
    low, high = map(int, lab.h.sysctl("net.ipv4.ip_local_port_range").split())
    assert all(low <= p <= high for p in picked)


def test_sctp_without_a_kernel_that_has_it(lab):
    try:
        socket.socket(socket.AF_INET, STREAM, 132).close()
        pytest.skip("this kernel has SCTP")
    except OSError:
        pass
    lab.d("hold", proto="sctp", addrs=["0.0.0.0"], first=9000, last=9000)
    assert lab.d.error("hold", proto="sctp", addrs=["127.0.0.1"], first=9000, last=9000)[1] == "Bind for 127.0.0.1:9000 failed: port is already allocated"
    a = lab.d("hold", proto="sctp", addrs=["0.0.0.0", "::"], first=0, last=0)["port"]
    assert lab.d("hold", proto="sctp", addrs=["0.0.0.0", "::"], first=0, last=0)["port"] != a


def test_what_cannot_be_held(lab):
    code, text = lab.d.error("hold", addrs=["198.51.100.7"], first=80, last=80)
    assert code == "INVALID" and "cannot assign requested address" in text and "198.51.100.7:80/tcp" in text
    for bad in ({"first": 90, "last": 80}, {"first": 0, "last": 80}, {"addrs": []}, {"proto": "icmp"}, {"addrs": ["x"]}):
        assert lab.d.error("hold", **{"addrs": ["0.0.0.0"], "first": 80, "last": 80, **bad})[0] == "INVALID"


def test_descriptors_run_out(lab):
    subprocess.run(["prlimit", f"--pid={lab.d.process.pid}", "--nofile=20:20"], check=True)
    for _ in range(20):
        r = lab.d.raw("hold", addrs=["0.0.0.0"], first=0, last=0)
        if "error" in r:
            break
    assert r["code"] == "UNAVAILABLE" and re.search("file descriptor.*[Tt]oo many open files", r["error"])


@pytest.mark.timeout(120)
def test_ten_thousand_ports(lab):
    subprocess.run(["prlimit", f"--pid={lab.d.process.pid}", "--nofile=12000:12000"], check=True)
    ports = {lab.d("hold", addrs=["0.0.0.0", "::"], first=0, last=0)["port"] for _ in range(10000)}
    assert len(ports) == 10000
    assert lab.d.error("hold", addrs=["0.0.0.0"], first=min(ports), last=min(ports))[0] == "CONFLICT"
