# SPDX-License-Identifier: Apache-2.0
"""Images, side by side: pull, push, save, load, import and cp of real data. Used by bench.py.

The data comes from make-image (debootstrap); the registry is Debian's docker-registry on loopback.
"""
import contextlib
import mmap
import os
import shutil
import socket
import statistics
import subprocess
import time
from pathlib import Path

MIB = 1 << 20
ROWS = [("pull, 8 layers", "ms"), ("pull again", "ms"), ("push", "ms"), ("save", "ms"), ("load", "ms"), ("import", "ms"), ("cp 1 GB out", "ms"), ("cp 1 GB in", "ms"),
        ("peak during pull", "KiB")]


class Registry:
    """Debian's docker-registry, plain HTTP, on a port of its own."""

    def __init__(self, root):
        self.root = Path(root)
        self.root.mkdir(parents=True)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        config = self.root / "config.yml"
        config.write_text(f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {self.root}/data}}}}\nhttp: {{addr: 127.0.0.1:{self.port}}}\n")
        with open(self.root / "log", "wb") as log:
            self.proc = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
        self.name = f"127.0.0.1:{self.port}"
        for _ in range(200):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            time.sleep(0.05)
        raise RuntimeError("docker-registry does not start")

    def close(self):
        self.proc.terminate()
        self.proc.wait()


def transfer(path, method, target, source=None, sink=None, kind=None, headers=""):
    """One request with a large body one way or the other. Returns (milliseconds, what came unless it went to sink)."""
    conn = socket.socket(socket.AF_UNIX)
    conn.settimeout(600)
    conn.connect(path)
    begin = time.perf_counter()
    length = os.fstat(source.fileno()).st_size if source else 0
    extra = f"Content-Type: {kind}\r\n" if kind else ""
    conn.sendall(f"{method} {target} HTTP/1.0\r\n{extra}{headers}Content-Length: {length}\r\n\r\n".encode())
    if source:
        conn.sendfile(source)
    room, view = bytearray(MIB), None
    view = memoryview(room)
    head = b""
    while b"\r\n\r\n" not in head:
        n = conn.recv_into(view)
        if n == 0:
            raise RuntimeError(f"{method} {target}: no answer: {head!r}")
        head += view[:n]
    head, rest = head.split(b"\r\n\r\n", 1)
    status = int(head.split(b" ", 2)[1])
    out = bytearray(rest)
    if sink and status < 300:
        sink.write(rest)
    while n := conn.recv_into(view):
        if sink and status < 300:
            sink.write(view[:n])
        else:
            out += view[:n]
    taken = (time.perf_counter() - begin) * 1000
    conn.close()
    if status >= 300 or b'"errorDetail"' in out:
        raise RuntimeError(f"{method} {target}: {status} {bytes(out[-400:])!r}")
    return taken, bytes(out)


def settle(mib=2048):
    """Before something is timed: nothing dirty, and free memory that the host has given to this machine already. In a virtual machine the first touch of a
    page costs up to 0.9 s for each GiB, which would fall on whoever comes first, and by chance."""
    os.sync()
    with mmap.mmap(-1, mib * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE):
        pass


def peak_reset(pid):
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def peak_kib(pid):
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(l for l in status.splitlines() if l.startswith("VmHWM:")).split()[1])


def pushed_and_pulled(engine, wire, data, work):
    """A registry to an empty engine, from there to an empty registry and into an archive."""
    registry = Registry(work / "registry")
    target = Registry(work / "target")
    try:
        subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{data}/layout:8", f"docker://{registry.name}/bench/big:8"], check=True)
        name = f"{registry.name}/bench/big"
        pull = f"/images/create?fromImage={name}&tag=8"
        out = {}
        settle()
        peak_reset(engine.proc.pid)
        out["pull, 8 layers"] = transfer(engine.sock, "POST", pull)[0]
        out["peak during pull"] = peak_kib(engine.proc.pid)
        out["pull again"] = statistics.median(transfer(engine.sock, "POST", pull)[0] for _ in range(5))
        wire.call("POST", f"/images/{name}:8/tag?repo={target.name}/bench/pushed&tag=8")
        settle()
        out["push"] = transfer(engine.sock, "POST", f"/images/{target.name}/bench/pushed/push?tag=8", headers="X-Registry-Auth: e30=\r\n")[0]
        with open("/dev/null", "wb", buffering=0) as null:
            out["save"] = transfer(engine.sock, "GET", f"/images/{name}:8/get", sink=null)[0]
        return out
    finally:
        registry.close()
        target.close()


def archives_in(engine, wire, data, work):
    """Archives into an empty engine, and a large file into and out of a container."""
    out = {}
    for row, file, path in (("load", "dockerd.tar", "/images/load?quiet=1"), ("import", "rootfs.tar", "/images/create?fromSrc=-&repo=bench/import&tag=1")):
        settle()
        with open(data / file, "rb") as source:
            out[row] = transfer(engine.sock, "POST", path, source, kind="application/x-tar")[0]
    big = work / "in"
    big.mkdir()
    with open(big / "big.bin", "wb") as f:
        block = os.urandom(MIB)
        for _ in range(1000):
            f.write(block)
    tar = work / "big.tar"
    subprocess.run(["tar", "-C", str(big), "-cf", str(tar), "big.bin"], check=True)
    ident = wire.create(["sleep", "100000"])
    wire.call("POST", f"/containers/{ident}/start")
    settle()
    with open(tar, "rb") as source:
        out["cp 1 GB in"] = transfer(engine.sock, "PUT", f"/containers/{ident}/archive?path=/", source, kind="application/x-tar")[0]
    with open("/dev/null", "wb", buffering=0) as null:
        out["cp 1 GB out"] = transfer(engine.sock, "GET", f"/containers/{ident}/archive?path=/big.bin", sink=null)[0]
    wire.call("DELETE", f"/containers/{ident}?force=1")
    return out


def measure(new_engine, wire_of, data, rounds, kept):
    """All rows of ROWS. Each round has engines with empty roots, and nothing is deleted before the end (the paths come back in kept): a file
    system avoids inodes that were freed a minute ago, and looking for others would be measured."""
    found = []
    for _ in range(rounds):
        result = {}
        for part in (pushed_and_pulled, archives_in):
            engine = new_engine()
            work = Path(str(engine.root) + "-images")
            work.mkdir()
            kept += [str(engine.root), str(work)]
            try:
                engine.start().prepare()
                result.update(part(engine, wire_of(engine), data, work))
            finally:
                os.environ["CAISSON_KEEP"] = "1"
                engine.close(check=False)
                del os.environ["CAISSON_KEEP"]
        found.append(result)
    return {row: statistics.median(f[row] for f in found) for row in found[0]}


def save_of_dockerd(engine_class, data):
    """dockerd's own archive of the image (layers not compressed): what both engines load."""
    archive = data / "dockerd.tar"
    if archive.exists():
        return
    tmp = data / "dockerd.tar.tmp"
    engine = engine_class(kind="dockerd")
    registry = Registry(str(engine.root) + "-registry")
    try:
        engine.start()
        subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{data}/layout:8", f"docker://{registry.name}/bench/big:8"], check=True)
        transfer(engine.sock, "POST", f"/images/create?fromImage={registry.name}/bench/big&tag=8")
        transfer(engine.sock, "POST", f"/images/{registry.name}/bench/big:8/tag?repo=bench/big&tag=8")
        with open(tmp, "wb") as sink:
            transfer(engine.sock, "GET", "/images/bench/big:8/get", sink=sink)
        tmp.rename(archive)
    finally:
        registry.close()
        shutil.rmtree(registry.root, ignore_errors=True)
        engine.close(check=False)
