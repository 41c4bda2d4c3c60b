# SPDX-License-Identifier: Apache-2.0
"""The network's part of `make bench`: each engine in a network namespace of its own, as the host of its containers."""
import json
import math
import os
import socket
import statistics
import struct
import subprocess
import threading
import time
from pathlib import Path


ROWS = [("run, bridge", "ms"), ("run, bridge + port", "ms"), ("20 in parallel, bridge", "ms"), ("client: run --rm, bridge", "ms"), ("container to host", "Gbit/s"),
        ("host to container", "Gbit/s"), ("container to container", "Gbit/s"), ("DNS answers", "/s")]
IMAGE = "caisson-test/rootfs:latest"
BRIDGED = "/proc/sys/net/bridge/bridge-nf-call-iptables"
PUBLISHED = {"80/tcp": [{"HostIp": "", "HostPort": "18080"}]}


class Host:
    """A network namespace that plays the host."""

    def __init__(self, suffix=""):
        self.name = f"cst-bench-{os.getpid()}{suffix}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        subprocess.run(["ip", "-n", self.name, "link", "set", "lo", "up"], check=True)
        # a way out: without one containers would send each other larger packets than they do on most hosts (docs/networks.md)
        subprocess.run(["ip", "-n", self.name, "link", "add", "up0", "type", "veth", "peer", "name", "up1"], check=True)
        subprocess.run(["ip", "-n", self.name, "link", "set", "up0", "up"], check=True)
        # nsenter, not `ip netns exec`: that would cover /sys and with it the cgroups
        self.enter = ["nsenter", f"--net=/run/netns/{self.name}"]

    def close(self):
        subprocess.run(["ip", "netns", "del", self.name], check=False)


def engine_on(host, engine):
    """Makes `engine` start its daemon in the namespace, with a bridge and a firewall."""
    plain = engine._command
    off = ("--bridge=none", "--bridge", "--iptables=false", "--ip6tables=false", "--firewall=false")

    def command():
        words, skip = [], False
        for w in plain():
            if not skip and w not in off:
                words.append(w)
            skip = w == "--bridge"
        return host.enter + words
    engine._command = command
    return engine


def create(wire, cmd, network="bridge", binds=None, ports=None, name=None):
    body = {"Image": IMAGE, "Cmd": cmd, "ExposedPorts": {p: {} for p in ports or {}},
            "HostConfig": {"NetworkMode": network, "Binds": binds or [], "PortBindings": ports or {}}}
    return wire.json("POST", "/containers/create" + (f"?name={name}" if name else ""), body)["Id"]


def life(wire, ports=None):
    ident = create(wire, ["true"], ports=ports)
    wire.call("POST", f"/containers/{ident}/start")
    assert wire.json("POST", f"/containers/{ident}/wait")["StatusCode"] == 0
    wire.call("DELETE", f"/containers/{ident}")


def parallel(wire_of, count=20):
    def one():
        life(wire_of())
    threads = [threading.Thread(target=one) for _ in range(count)]
    begin = time.perf_counter()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return (time.perf_counter() - begin) * 1000


def address(wire, ident, network="bridge"):
    return wire.json("GET", f"/containers/{ident}/json")["NetworkSettings"]["Networks"][network]["IPAddress"]


def pid_of(wire, ident):
    return str(wire.json("GET", f"/containers/{ident}/json")["State"]["Pid"])


def gbit(text):
    size, ns = map(int, text.split()[-2:])
    return size * 8 / ns


def flow(sink, source, seconds):
    """Runs the two command prefixes with the flow program; Gbit/s as the sink saw it."""
    with subprocess.Popen(sink, stdout=subprocess.PIPE, text=True) as s:
        assert s.stdout.readline() == "ready\n"
        subprocess.run([*source, str(seconds)], check=True)
        return gbit(s.stdout.read())


class Flows:
    """Two containers of one engine and the host they are on. The ends of a stream stand in the namespaces: what runs in them is the same for all engines."""

    def __init__(self, host, wire, program):
        self.boxes = [create(wire, ["sleep", "1000"], name=f"flow{n}") for n in range(2)]
        for b in self.boxes:
            wire.call("POST", f"/containers/{b}/start")
        first, second = [["nsenter", "--net", "-t", pid_of(wire, b), program] for b in self.boxes]
        at = address(wire, self.boxes[0])
        gateway = wire.json("GET", f"/containers/{self.boxes[0]}/json")["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
        home = [*host.enter, program]
        self.host = host
        self.ways = {"container to host": (home, first, gateway), "host to container": (first, home, at), "container to container": (first, second, at)}

    def filtered(self, on):
        """Frames within the host's bridges pass its IP chains, or do not. Where there is no br_netfilter nothing is to be done."""
        subprocess.run([*self.host.enter, "sh", "-c", f"[ ! -e {BRIDGED} ] || echo {on:d} >{BRIDGED}"], check=True)

    def stream(self, way, port, seconds):
        sink, source, to = self.ways[way]
        return flow([*sink, "sink", str(port)], [*source, "source", to, str(port)], seconds)

    def packet(self, way):
        """Nanoseconds for one small datagram."""
        sink, source, to = self.ways[way]
        with subprocess.Popen([*sink, "hole", "7"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as hole:
            assert hole.stdout.readline() == "ready\n"
            taken = int(subprocess.run([*source, "packets", to, "7"], check=True, capture_output=True, text=True).stdout)
            hole.stdin.close()
        return taken

    def close(self, wire):
        for b in self.boxes:
            wire.call("DELETE", f"/containers/{b}?force=1")


def beside(ours, theirs):
    """Median of the ratios of pieces measured one after the other, and its 95 % confidence interval (by ranks: no distribution is assumed)."""
    ratios = sorted(a / b for a, b in zip(ours, theirs))
    n, half = len(ratios), 0.98 * math.sqrt(len(ratios))
    return {"median": statistics.median(ratios), "low": ratios[max(0, math.floor(n / 2 - half))], "high": ratios[min(n - 1, math.ceil(n / 2 + half))]}


def throughput(make_engine, close, wire_of, kinds, rounds):
    """{kind: {way: Gbit/s}}. All engines run at once and take turns in short pieces, since one and the same stream differs by a third from minute to
    minute on a machine with neighbours; the order changes with each round. Medians of the pieces, the first of each being left out; and what one packet
    costs, in "packets": {way: ns}. Each engine is as on a host of its own on Debian, where br_netfilter is a module that dockerd loads and Caisson does
    not; "caisson, br_netfilter" is Caisson on a host where somebody has loaded it. With a dockerd, both have "beside dockerd": {way: {median, low, high}}, too."""
    seconds = 0.25
    hosts, engines, flows = [], {}, {}
    variants = [(k, k, k != "caisson") for k in kinds]
    if "caisson" in kinds and os.path.exists(BRIDGED):
        variants.append(("caisson, br_netfilter", "caisson", True))
    try:
        for kind in kinds:
            hosts.append(Host(kind))
            engines[kind] = engine_on(hosts[-1], make_engine(kind))
            engines[kind].start().prepare()
            program = str(engines[kind].root / "flow")
            subprocess.run(["gcc", "-O2", "-static", "-o", program, str(Path(__file__).with_name("flow.c"))], check=True)
            flows[kind] = Flows(hosts[-1], wire_of(engines[kind]), program)
        ways = list(flows[kinds[0]].ways)
        streams, packets = ({v[0]: {way: [] for way in ways} for v in variants} for _ in range(2))
        for n in range(rounds + 1):
            for way in ways:
                for name, kind, filtered in variants if n % 2 else reversed(variants):
                    flows[kind].filtered(filtered)
                    streams[name][way].append(flows[kind].stream(way, 5000 + n, seconds))
                    if n <= 10:
                        packets[name][way].append(flows[kind].packet(way))
        for kind, f in flows.items():
            f.close(wire_of(engines[kind]))  # another connection: the first has been idle for too long
        result = {name: {way: statistics.median(v[1:]) for way, v in found.items()} | {"packets": {way: statistics.median(v[1:]) for way, v in packets[name].items()}}
                  for name, found in streams.items()}
        for name, found in streams.items():
            if name.startswith("caisson") and "dockerd" in streams:
                result[name]["beside dockerd"] = {way: beside(v[1:], streams["dockerd"][way][1:]) for way, v in found.items()}
        return result
    finally:
        for e in engines.values():
            close(e)
        for h in hosts:
            h.close()


def dns_client(count, name):
    """Asks 127.0.0.11 for A records one after the other; prints lost answers and answers per second. Runs in the container's namespace."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(2)
    s.connect(("127.0.0.11", 53))
    question = b"".join(bytes([len(p)]) + p for p in name.encode().split(b".")) + b"\0" + struct.pack("!HH", 1, 1)
    lost, begin = 0, time.perf_counter()
    for n in range(count):
        ident = n & 0xFFFF
        s.send(struct.pack("!HHHHHH", ident, 0x0100, 1, 0, 0, 0) + question)
        try:
            got = s.recv(2048)
            lost += got[:2] != struct.pack("!H", ident) or got[7] == 0
        except TimeoutError:
            lost += 1
    print(json.dumps({"lost": lost, "rate": count / (time.perf_counter() - begin)}))


def dns(wire, count):
    wire.call("POST", "/networks/create", {"Name": "benchnet"})
    box = create(wire, ["sleep", "1000"], network="benchnet", name="dnsbox")
    wire.call("POST", f"/containers/{box}/start")
    out = subprocess.run(["nsenter", "--net", "-t", pid_of(wire, box), "/usr/bin/python3", __file__, str(count), "dnsbox"],
                         check=True, capture_output=True, text=True).stdout
    wire.call("DELETE", f"/containers/{box}?force=1")
    wire.call("DELETE", "/networks/benchnet")
    found = json.loads(out)
    if found["lost"]:
        raise RuntimeError(f"DNS: {found['lost']} of {count} answers lost")
    return found["rate"]


def many_ports(wire, other, rounds):
    """What one more published port costs when one is there (the engine behind `other`), and when 9,999 are (`wire`): the two take turns, so that
    whatever else the machine does meets both alike."""
    ports = {f"{n}/tcp": [{"HostPort": str(20000 + n)}] for n in range(1, 10000)}
    box = create(wire, ["sleep", "1000"], ports=ports)
    begin = time.perf_counter()
    wire.call("POST", f"/containers/{box}/start")
    all_s = time.perf_counter() - begin
    alone = create(other, ["sleep", "1000"], ports={"1/tcp": [{"HostPort": "20001"}]})
    other.call("POST", f"/containers/{alone}/start")
    taken = {wire: [], other: []}
    for n in range(rounds + 4):
        for w in (wire, other) if n % 2 else (other, wire):
            begin = time.perf_counter()
            life(w, PUBLISHED)
            taken[w].append((time.perf_counter() - begin) * 1000)
    first, last = statistics.median(taken[other][4:]), statistics.median(taken[wire][4:])
    wire.call("DELETE", f"/containers/{box}?force=1")
    other.call("DELETE", f"/containers/{alone}?force=1")
    return {"first_ms": first, "last_ms": last, "start_s": all_s}


def client(engine, kind, build, median_ms, count):
    """The engine's own command line: `caisson` of this build, or `docker`, run --rm on the default bridge."""
    program = str(build / "caisson") if kind == "caisson" else "docker"
    env = {**os.environ, "DOCKER_HOST": "unix://" + engine.sock, "CAISSON_HOST": "", "DOCKER_CONFIG": str(engine.root / "cli")}
    return median_ms(lambda: subprocess.run([program, "run", "--rm", IMAGE, "true"], env=env, check=True, capture_output=True), count)


def own_client(build, median_ms):
    """What `caisson version --client` takes: milliseconds, and KiB of resident memory at its largest."""
    words = [str(build / "caisson"), "version", "--client"]

    def once():
        os.waitpid(os.posix_spawn(words[0], words, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]), 0)
    # a child's largest size is never less than its parent's, and time(1) is small
    rss = int(subprocess.run(["/usr/bin/time", "-f", "%M", *words], capture_output=True, text=True, check=True).stderr)
    return {"ms": median_ms(once, 100), "rss": rss}


def measure(make_engine, close, wire_of, median_ms, kind, quick, build):
    host = Host()
    engine = engine_on(host, make_engine())
    try:
        engine.start().prepare()
        wire = wire_of(engine)
        n = 10 if quick else 40
        result = {"run, bridge": median_ms(lambda: life(wire), n), "run, bridge + port": median_ms(lambda: life(wire, PUBLISHED), n),
                  "20 in parallel, bridge": statistics.median(parallel(lambda: wire_of(engine)) for _ in range(2 if quick else 5))}
        result["client: run --rm, bridge"] = client(engine, kind, build, median_ms, n)
        result["DNS answers"] = dns(wire, 5000 if quick else 50000)
        if kind == "caisson":
            result["client"] = own_client(build, median_ms)
            beside = Host("-2")
            second = engine_on(beside, make_engine())
            try:
                second.start().prepare()
                result["10000 ports"] = many_ports(wire, wire_of(second), 20 if quick else 100)
                second.remove_all()
            finally:
                close(second)
                beside.close()
        engine.remove_all()
        return result
    finally:
        close(engine)
        host.close()


if __name__ == "__main__":
    import sys
    dns_client(int(sys.argv[1]), sys.argv[2])
