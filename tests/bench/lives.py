#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Lives of containers (create, start, wait, remove of `true`), alternating between builds, and dockerd if asked for: each round gives every engine a few
lives, so that what else the machine does hits all of them. Medians of the wall time, and the processor time per life of everything that
belongs to the engine (daemon, workers, containers: cgroup accounting), which is the steadier measure.

    lives.py build ../other/build [--dockerd] [--rounds 20] [--network host,none,bridge] [--first]
"""
import argparse
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import caisson_fixture as fx  # noqa: E402
from network_bench import Host, engine_on  # noqa: E402
from wire import Wire, bench_engine, close  # noqa: E402


def cpu_seconds(engine):
    """Processor time of all that is or was below the engine's cgroup."""
    for where in set(fx.cgroup_roots()):
        v1, v2 = Path(where + engine.cgroup, "cpuacct.usage"), Path(where + engine.cgroup, "cpu.stat")
        if v1.exists():
            return int(v1.read_text()) / 1e9
        if v2.exists() and fx.cgroup_is_v2():
            return int(v2.read_text().split()[1]) / 1e6
    raise RuntimeError("no accounting of processor time")


def account(engine, first):
    """The daemon into a group beside its containers', so that one counter has both. first: before all else on this machine."""
    for where in set(fx.cgroup_roots()):
        base = Path(where + engine.cgroup)
        own = base / "own"
        if not fx.cgroup_is_v2() and not (base.parent / "cpuacct.usage").exists() and not (base.parent / "cpu.shares").exists():
            continue
        own.mkdir(parents=True, exist_ok=True)
        for pid in [engine.proc.pid, *engine.helpers()]:
            (own / "cgroup.procs").write_text(str(pid))
        for group in (base, own) if first else ():
            for name, value in (("cpu.shares", 1 << 18), ("cpu.weight", 10000)):
                if (group / name).exists():
                    (group / name).write_text(str(value))


class Contender:
    def __init__(self, name, engine, networks, first):
        self.name, self.engine = name, engine
        engine.start().prepare()
        account(engine, first)
        self.wire = Wire(engine.sock)
        self.wall = {n: [] for n in networks}
        self.cpu = {n: [] for n in networks}
        self.phases = {n: [] for n in networks}

    def life(self, network):
        w, t = self.wire, [time.perf_counter()]
        ident = w.create(["true"], network)
        t.append(time.perf_counter())
        w.call("POST", f"/containers/{ident}/start")
        t.append(time.perf_counter())
        assert w.json("POST", f"/containers/{ident}/wait")["StatusCode"] == 0
        t.append(time.perf_counter())
        w.call("DELETE", f"/containers/{ident}")
        t.append(time.perf_counter())
        return [(b - a) * 1000 for a, b in zip(t, t[1:])]

    def round(self, network, lives, warm):
        for _ in range(warm):
            self.life(network)
        before = cpu_seconds(self.engine)
        took = [self.life(network) for _ in range(lives)]
        self.wall[network] += [sum(t) for t in took]
        self.phases[network] += took
        time.sleep(0.05)    # what goes on behind the answers belongs to the lives
        self.cpu[network].append((cpu_seconds(self.engine) - before) * 1000 / lives)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("builds", nargs="+", type=Path)
    parser.add_argument("--dockerd", action="store_true")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--lives", type=int, default=8)
    parser.add_argument("--network", default="host,none")
    parser.add_argument("--first", action="store_true", help="before all else that runs here, as far as weights go: for a busy machine")
    args = parser.parse_args()
    if args.first:
        os.nice(-20)
    networks = args.network.split(",")
    engines = [(str(b), bench_engine("caisson", b.resolve())) for b in args.builds] + ([("dockerd", bench_engine("dockerd"))] if args.dockerd else [])
    hosts = [Host(f"-{n}") for n in range(len(engines))] if "bridge" in networks else []     # each engine has its own bridges
    for host, (_, engine) in zip(hosts, engines):
        engine_on(host, engine)
    try:
        contenders = [Contender(name, engine, networks, args.first) for name, engine in engines]
        for n in range(args.rounds):
            for network in networks:
                for c in contenders if n % 2 else reversed(contenders):
                    slow = c.name == "dockerd"
                    c.round(network, 1 if slow else args.lives, 0 if slow and n else 1)
        for network in networks:
            for c in contenders:
                parts = " ".join(f"{statistics.median(p):.2f}" for p in zip(*c.phases[network]))
                low, *best = (statistics.quantiles(v, n=10)[0] for v in (c.wall[network], *zip(*c.phases[network])))
                print(f"{network:8} {c.name:40} wall {statistics.median(c.wall[network]):6.2f} ms (create start wait remove {parts}), best tenth {low:.2f} ({' '.join(f'{b:.2f}' for b in best)}), "
                      f"cpu {statistics.median(c.cpu[network]):6.2f} ms")
    finally:
        for _, engine in engines:
            if engine.proc:
                close(engine)
        for host in hosts:
            host.close()


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C")
    main()
