# SPDX-License-Identifier: Apache-2.0
"""Images, side by side: pull, push, save, load, import and cp of real data. Used by bench.py.

The data comes from make-image (debootstrap); the registry is Debian's docker-registry on loopback.
"""
import contextlib
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
        shutil.rmtree(self.root, ignore_errors=True)


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


def peak_reset(pid):
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def peak_kib(pid):
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(l for l in status.splitlines() if l.startswith("VmHWM:")).split()[1])


def remove(wire, name):
    wire.call("DELETE", f"/images/{name}?force=1")
    time.sleep(0.5)     # what is deleted behind the answer is not part of the next measure


def measure(engine, wire, data, rounds):
    """All rows of ROWS for a running engine."""
    work = Path(str(engine.root) + "-images")
    work.mkdir()
    registry, target = Registry(work / "registry"), None
    auth = "X-Registry-Auth: e30=\r\n"
    result = {}
    try:
        subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{data}/layout:8", f"docker://{registry.name}/bench/big:8"], check=True)
        name = f"{registry.name}/bench/big"
        pull = f"/images/create?fromImage={name}&tag=8"
        pulls, again, peaks = [], [], []
        for _ in range(rounds):
            with contextlib.suppress(RuntimeError):
                remove(wire, name + ":8")
            os.sync()
            peak_reset(engine.proc.pid)
            pulls.append(transfer(engine.sock, "POST", pull)[0])
            peaks.append(peak_kib(engine.proc.pid))
            again += [transfer(engine.sock, "POST", pull)[0] for _ in range(5)]
        result["pull, 8 layers"], result["pull again"], result["peak during pull"] = map(statistics.median, (pulls, again, peaks))

        pushes = []
        for i in range(rounds):
            target = Registry(work / f"target{i}")
            wire.call("POST", f"/images/{name}:8/tag?repo={target.name}/bench/pushed&tag=8")
            os.sync()
            pushes.append(transfer(engine.sock, "POST", f"/images/{target.name}/bench/pushed/push?tag=8", headers=auth)[0])
            wire.call("DELETE", f"/images/{target.name}/bench/pushed:8")
            target.close()
        result["push"] = statistics.median(pushes)

        saves = []
        with open("/dev/null", "wb", buffering=0) as null:
            for _ in range(rounds):
                saves.append(transfer(engine.sock, "GET", f"/images/{name}:8/get", sink=null)[0])
        result["save"] = statistics.median(saves)

        archive = data / "dockerd.tar"
        loads = []
        if archive.exists():
            for _ in range(rounds):
                with contextlib.suppress(RuntimeError):
                    remove(wire, name + ":8")
                with contextlib.suppress(RuntimeError):
                    remove(wire, "bench/big:8")
                os.sync()
                with open(archive, "rb") as source:
                    loads.append(transfer(engine.sock, "POST", "/images/load?quiet=1", source, kind="application/x-tar")[0])
            result["load"] = statistics.median(loads)

        imports = []
        for i in range(rounds):
            os.sync()
            with open(data / "rootfs.tar", "rb") as source:
                imports.append(transfer(engine.sock, "POST", "/images/create?fromSrc=-&repo=bench/import&tag=1", source, kind="application/x-tar")[0])
            remove(wire, "bench/import:1")
        result["import"] = statistics.median(imports)
        result.update(copies(engine, wire, work, rounds))
        return result
    finally:
        registry.close()
        if target and target.proc.poll() is None:
            target.close()
        shutil.rmtree(work, ignore_errors=True)


def copies(engine, wire, work, rounds):
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
    ins, outs = [], []
    with open("/dev/null", "wb", buffering=0) as null:
        for _ in range(rounds):
            os.sync()
            with open(tar, "rb") as source:
                ins.append(transfer(engine.sock, "PUT", f"/containers/{ident}/archive?path=/", source, kind="application/x-tar")[0])
            outs.append(transfer(engine.sock, "GET", f"/containers/{ident}/archive?path=/big.bin", sink=null)[0])
    wire.call("DELETE", f"/containers/{ident}?force=1")
    return {"cp 1 GB in": statistics.median(ins), "cp 1 GB out": statistics.median(outs)}


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
        engine.close(check=False)
