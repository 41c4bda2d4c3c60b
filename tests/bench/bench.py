#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Side by side: caissond, Debian's dockerd and podman, each in a scratch root, in one run. Medians and ratios.

Both daemons are spoken to in the same way: raw HTTP over persistent unix connections, no client library.
Writes docs/benchmarks.md and docs/benchmarks.svg. Options: --quick, --only caisson,dockerd,podman, --idle 500, --images DIR (data made by make-image)
"""
import argparse
import http.client
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import caisson_fixture as fx  # noqa: E402
import image_bench  # noqa: E402
import network_bench  # noqa: E402
import rootfs  # noqa: E402
from unixhttp import UnixConnection  # noqa: E402
from wire import Wire, bench_engine, close  # noqa: E402

DOCS = fx.REPO / "docs"
# podman asks for more than an engine without CAP_SYS_RESOURCE may give
LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
MIB = 1 << 20


def median_ms(action, count, warm=2):
    for _ in range(warm):
        action()
    taken = []
    for _ in range(count):
        begin = time.perf_counter()
        action()
        taken.append((time.perf_counter() - begin) * 1000)
    return statistics.median(taken)


def pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return int(next(l for l in f if l.startswith("Pss:")).split()[1])


def parallel(engine, count=20):
    def one():
        Wire(engine.sock).life()
    threads = [threading.Thread(target=one) for _ in range(count)]
    begin = time.perf_counter()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return (time.perf_counter() - begin) * 1000


def exec_once(wire, ident):
    e = wire.json("POST", f"/containers/{ident}/exec", {"Cmd": ["true"], "AttachStdout": True, "AttachStderr": True})["Id"]
    # without an upgrade header the stream ends with the connection: a fresh one, for both engines
    other = UnixConnection(wire.path, 60)
    other.request("POST", f"/exec/{e}/start", '{"Detach":false}', {"Content-Type": "application/json"})
    r = other.getresponse()
    r.read()
    other.close()
    while (code := wire.json("GET", f"/exec/{e}/json")["ExitCode"]) is None:
        pass        # until the code is known, whoever needs how many questions for it
    assert code == 0


def logs_64m(wire):
    """Milliseconds to write 64 MiB in lines of 128 bytes to stdout and read them back through the API, and that all bytes came."""
    want, width = 64 * MIB, 128
    # the lines come from a file of the host: making them in the container would cost more than Caisson needs to log them
    lines = Path("/tmp") / f"cst-lines-{os.getpid()}"
    lines.write_bytes((b"x" * (width - 1) + b"\n") * (want // width))
    room = bytearray(want + 8 * (want // width) + MIB)
    begin = time.perf_counter()
    ident = wire.create(["cat", "/lines"], log={"Type": "json-file", "Config": {}}, binds=[f"{lines}:/lines:ro"])
    wire.call("POST", f"/containers/{ident}/start")
    wire.call("POST", f"/containers/{ident}/wait")
    # HTTP/1.0: no chunks to take apart, so that the client costs little
    conn = socket.socket(socket.AF_UNIX)
    conn.settimeout(300)
    conn.connect(wire.path)
    conn.sendall(f"GET /containers/{ident}/logs?stdout=1 HTTP/1.0\r\n\r\n".encode())
    view, n = memoryview(room), 0
    while piece := conn.recv_into(view[n:]):
        n += piece
    conn.close()
    taken = time.perf_counter() - begin
    lines.unlink()
    got, pos = 0, room.index(b"\r\n\r\n") + 4
    while pos < n:
        size = int.from_bytes(room[pos + 4:pos + 8], "big")
        got += size
        pos += 8 + size
    wire.call("DELETE", f"/containers/{ident}")
    if got != want:
        raise RuntimeError(f"logs: {got} of {want} bytes came back")
    return taken * 1000


def daemon_measures(kind, quick):
    """All numbers of one daemon."""
    engine = bench_engine(kind)
    try:
        engine.start().prepare()
        wire = Wire(engine.sock)
        n = 10 if quick else 40
        result = {"version": wire.json("GET", "/version")["Version"]}
        result["run, network none"] = median_ms(wire.life, n)
        result["run, network host"] = median_ms(lambda: wire.life("host"), n)
        result["20 in parallel"] = statistics.median(parallel(engine) for _ in range(2 if quick else 5))
        up = wire.create(["sleep", "100000"])
        wire.call("POST", f"/containers/{up}/start")
        result["exec"] = median_ms(lambda: exec_once(wire, up), n)
        result["64 MiB of logs"] = statistics.median(logs_64m(wire) for _ in range(1 if quick else 3))
        time.sleep(3)       # idle means idle
        result.update(memory(engine))
        engine.remove_all()
        return result
    finally:
        close(engine)


def memory(engine):
    """PSS of the daemon (with its containerd) and of what one running container needs besides itself."""
    daemon, helper = pss_kib(engine.proc.pid), []
    for pid, cmd in engine.helpers().items():
        name = cmd.split(" ")[0].rsplit("/", 1)[-1]
        try:
            if "--wait" in cmd:     # the idle worker kept for the next start belongs to no container
                continue
            if "shim" in name or "worker" in name:
                helper.append(pss_kib(pid))
            elif name == "containerd":
                daemon += pss_kib(pid)
        except OSError:
            continue
    return {"daemon, idle": daemon, "per container": statistics.median(helper) if helper else None}


def idle_containers(count):
    """Start many, leave them idle, ask for the list."""
    engine = bench_engine("caisson")
    try:
        engine.start().prepare()
        wire = Wire(engine.sock)
        begin = time.perf_counter()
        for _ in range(count):
            wire.call("POST", f"/containers/{wire.create(['sleep', '100000'])}/start")
        started = time.perf_counter() - begin
        latency = median_ms(lambda: wire.call("GET", "/containers/json"), 50)
        assert len(wire.json("GET", "/containers/json")) == count
        time.sleep(2)
        return {"count": count, "started_s": started, "list_ms": latency, **memory(engine)}
    finally:
        close(engine)


def podman_measures(quick):
    """podman has no daemon: its command line, in a root of its own."""
    root = Path("/tmp") / f"cst-podman-{os.getpid()}"
    root.mkdir()
    base = ["podman", "--root", str(root / "root"), "--runroot", str(root / "run"), "--cgroup-manager", "cgroupfs", "--events-backend", "none"]
    tar = root / "rootfs.tar"
    tar.write_bytes(rootfs.busybox().bytes())
    try:
        subprocess.run([*base, "import", "-c", "ENV PATH=/bin", str(tar), "localhost/bench"], check=True, capture_output=True)

        # crun refuses hybrid cgroups ("drop all controllers from cgroupv2"): then podman runs runc
        for runtime in ("crun", "runc"):
            trial = subprocess.run([*base, "--runtime", runtime, "run", "--rm", *LIMITS, "--network", "none", "localhost/bench", "true"], capture_output=True, check=False)
            if trial.returncode == 0:
                break
        base += ["--runtime", runtime]

        def life(network="none"):
            subprocess.run([*base, "run", "--rm", *LIMITS, "--network", network, "localhost/bench", "true"], check=True, capture_output=True)
        n = 5 if quick else 15
        result = {"version": subprocess.check_output(["podman", "--version"], text=True).split()[-1] + " + " + runtime}
        result["run, network none"] = median_ms(life, n, 1)
        result["run, network host"] = median_ms(lambda: life("host"), n, 1)
        subprocess.run([*base, "run", "-d", "--name", "up", *LIMITS, "--network", "none", "localhost/bench", "sleep", "100000"], check=True, capture_output=True)
        result["exec"] = median_ms(lambda: subprocess.run([*base, "exec", "up", "true"], check=True, capture_output=True), n, 1)
        return result
    finally:
        subprocess.run([*base, "rm", "-f", "-t", "0", "-a"], capture_output=True, check=False)
        subprocess.run([*base, "rmi", "-f", "-a"], capture_output=True, check=False)
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            where = line.split()[4]
            if where.startswith(str(root)):
                subprocess.run(["umount", "-l", where], capture_output=True, check=False)
        shutil.rmtree(root, ignore_errors=True)


ROWS = [("run, network none", "ms"), ("run, network host", "ms"), ("20 in parallel", "ms"), ("exec", "ms"), ("64 MiB of logs", "ms"),
        ("daemon, idle", "KiB"), ("per container", "KiB")] + network_bench.ROWS + image_bench.ROWS


def show(value, unit):
    if value is None:
        return "–"
    if unit == "Gbit/s":
        return f"{value:.1f} Gbit/s"
    if unit == "/s":
        return f"{value:,.0f} /s"
    if unit == "KiB":
        return f"{value / 1024:.1f} MiB" if value >= 1024 else f"{value:.0f} KiB"
    return f"{value:.1f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def ratio(unit, ours, theirs):
    """How many times better: less time and memory, more throughput."""
    return ours / theirs if unit.endswith("/s") else theirs / ours


def streams(results):
    """Streams and packets of each way, Caisson's beside dockerd's."""
    names = [n for n in ("caisson", "caisson, br_netfilter", "dockerd") if n in results]
    lines = ["Streams: Caisson's divided by dockerd's, of pieces taken one after the other, the median and its 95 % confidence interval. Packets: what one small datagram "
             "costs from `send` to the other's socket.", "", "| | " + " | ".join([f"stream, {n}" for n in names[:-1]] + [f"packet, {n}" for n in names]) + " |",
             "|---|" + "---:|" * (2 * len(names) - 1)]
    if "dockerd" not in names:
        return []
    for way in results["caisson"]["packets"]:
        r = [results[n]["beside dockerd"][way] for n in names[:-1]]
        lines.append(f"| {way} | " + " | ".join([f"{x['median']:.3f}× ({x['low']:.3f} to {x['high']:.3f})" for x in r] + [f"{results[n]['packets'][way]:.0f} ns" for n in names]) + " |")
    return lines


def table(results, idle):
    names = [n for n in ("caisson", "dockerd", "podman") if n in results]
    lines = ["| | " + " | ".join(f"{n} {results[n]['version']}" for n in names) + (" | dockerd / caisson |" if "dockerd" in names else " |"),
             "|---|" + "---:|" * (len(names) + ("dockerd" in names))]
    for row, unit in ROWS:
        if not any(row in results[n] for n in names):
            continue
        cells = [show(results[n].get(row), unit) for n in names]
        if "dockerd" in names:
            ours, theirs = results.get("caisson", {}).get(row), results["dockerd"].get(row)
            cells.append(f"{ratio(unit, ours, theirs):.1f}×" if ours and theirs else "–")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    own = results.get("caisson", {}).get("client")
    if own:
        lines += ["", f"`caisson version --client`: {own['ms']:.1f} ms, {show(own['rss'], 'KiB')} resident at its largest."]
    if "packets" in results.get("caisson", {}):
        lines += ["", *streams(results)]
    ports = results.get("caisson", {}).get("10000 ports")
    if ports:
        lines += ["", f"Published port number 1: run in {ports['first_ms']:.1f} ms; number 10,000: {ports['last_ms']:.1f} ms. "
                  f"A container that publishes 9,999 ports starts in {show(ports['start_s'] * 1000, 'ms')}."]
    if idle:
        lines += ["", f"{idle['count']} idle containers: list in {idle['list_ms']:.1f} ms, daemon {show(idle['daemon, idle'], 'KiB')}, "
                  f"worker {show(idle['per container'], 'KiB')}; started in {idle['started_s']:.1f} s one after the other."]
    return "\n".join(lines)


def plot(results):
    """Bars of dockerd / caisson on a logarithmic axis: how many times faster or smaller."""
    import math
    rows = [(r, ratio(u, results["caisson"][r], results["dockerd"][r])) for r, u in ROWS if results["dockerd"].get(r) and results["caisson"].get(r)]
    left, width, height, top = 170, 460, 26, 46
    high = max(100, max(v for _, v in rows))
    scale = width / math.log10(high)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 90}" height="{top + len(rows) * height + 30}" font-family="sans-serif" font-size="13">',
           '<rect width="100%" height="100%" fill="#ffffff"/>',
           f'<text x="10" y="22" font-size="15" font-weight="bold">dockerd {results["dockerd"]["version"]} divided by Caisson (more is better, log scale)</text>']
    for tick in (1, 10, 100):
        x = left + scale * math.log10(tick)
        out.append(f'<line x1="{x:.0f}" y1="{top - 8}" x2="{x:.0f}" y2="{top + len(rows) * height}" stroke="#cccccc"/>')
        out.append(f'<text x="{x:.0f}" y="{top + len(rows) * height + 16}" text-anchor="middle" fill="#666666">{tick}×</text>')
    for n, (name, value) in enumerate(rows):
        y = top + n * height
        bar = max(1.0, scale * math.log10(max(value, 1)))
        out.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{name}</text>')
        out.append(f'<rect x="{left}" y="{y + 3}" width="{bar:.0f}" height="{height - 9}" fill="#2f6f9f"/>')
        out.append(f'<text x="{left + bar + 6:.0f}" y="{y + 15}">{value:.1f}×</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


INTRO = """# Benchmarks

`make bench` measures Caisson, Debian's dockerd and podman in one run on one machine and writes this page. Every engine gets a scratch root
of its own and the same images. Daemons are spoken to over persistent unix connections by the same few lines of socket code (tests/bench/bench.py);
podman has no daemon, so its command line is measured, process start included. *run* is create, start, wait and remove of `true`. Medians.
Memory is PSS; dockerd's includes its containerd; *per container* is the worker or the shim; *peak during pull* is the daemon's largest resident
set (without containerd). For the network rows each engine has a network namespace of its own as its host (tests/bench/network_bench.py), which has a cable to another host, as
a real one has a network card. Streams and packets are measured as on Debian, where br_netfilter (frames within a bridge pass the IP chains) is a module that dockerd
loads and Caisson does not; *caisson, br_netfilter* is Caisson where somebody else has loaded it, as dockerd on the same host does. Streams take turns in pieces of a quarter of a second; the medians. *pull* to *cp* move a Debian of 8 layers, about 510 MB, from and to Debian's docker-registry on loopback, dockerd's own
archive of it (load), its tree as one tar (import), and a file of 1 GB; each round begins with empty roots (tests/bench/image_bench.py).
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="caisson,dockerd,podman")
    parser.add_argument("--idle", type=int, default=0)
    parser.add_argument("--images", type=Path, help="measure images, too, with the data in this directory (made when missing)")
    parser.add_argument("--no-runs", action="store_true", help="images only")
    parser.add_argument("--streams", type=int, default=41, help="pieces of each stream")
    parser.add_argument("--streams-only", action="store_true", help="nothing but the streams; prints, writes nothing")
    parser.add_argument("--dry", action="store_true", help="print, write nothing")
    args = parser.parse_args()
    results, kept = {}, []
    if args.images:
        subprocess.run([str(Path(__file__).with_name("make-image")), str(args.images)], check=True)
        image_bench.save_of_dockerd(fx.Engine, args.images)
    for kind in args.only.split(","):
        if args.streams_only:
            results[kind] = {"version": kind}
        elif kind == "podman":
            if not args.no_runs and shutil.which("podman"):
                try:
                    results[kind] = podman_measures(args.quick)
                except subprocess.CalledProcessError as err:
                    print(f"podman does not run here: {err.stderr.decode(errors='replace')[:300]}", file=sys.stderr)
        elif kind == "dockerd" and not shutil.which("dockerd"):
            print("dockerd is not installed: left out", file=sys.stderr)
        else:
            results[kind] = {"version": kind} if args.no_runs else daemon_measures(kind, args.quick)
            if not args.no_runs:
                results[kind].update(network_bench.measure(lambda k=kind: bench_engine(k), close, lambda e: Wire(e.sock), median_ms, kind, args.quick, fx.BUILD))
            if args.images:
                results[kind].update(image_bench.measure(lambda k=kind: bench_engine(k), lambda e: Wire(e.sock), args.images, 1 if args.quick else 3, kept))
        print(kind, json.dumps(results.get(kind)), flush=True)
    daemons = [k for k in results if k != "podman"]
    if daemons and not args.no_runs:
        for kind, found in network_bench.throughput(bench_engine, close, lambda e: Wire(e.sock), daemons, 11 if args.quick else args.streams).items():
            results.setdefault(kind, {}).update(found)
            print(kind, json.dumps(found), flush=True)
    idle = idle_containers(args.idle) if args.idle else None
    for path in kept:
        shutil.rmtree(path, ignore_errors=True)
    text = table(results, idle)
    print(text)
    if args.dry or args.streams_only or "caisson" not in results:
        return
    machine = f"{time.strftime('%Y-%m-%d')}, Linux {platform.release()}, {os.cpu_count()} CPUs, {platform.machine()}."
    picture = ""
    if "dockerd" in results:
        (DOCS / "benchmarks.svg").write_text(plot(results), encoding="utf-8")
        picture = "\n![dockerd divided by Caisson](benchmarks.svg)\n"
    (DOCS / "benchmarks.md").write_text(f"{INTRO}\n## Last run\n\n{machine}\n\n{text}\n{picture}", encoding="utf-8")


try:
    main()
except http.client.HTTPException as err:
    sys.exit(f"bench: the engine hung up: {err!r}")
