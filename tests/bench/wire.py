# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: an engine whose run-time files are where a host has them, and a connection to it that costs little."""
import json
import shutil
import socket
import subprocess
from pathlib import Path

import caisson_fixture as fx

IMAGE = "caisson-test/rootfs:latest"


class Wire:
    """One persistent connection, made anew when the engine says that it ends; `call` is one request on it. As little Python as can be: http.client takes
    0.2 ms of each request."""

    def __init__(self, path):
        self.path, self.sock = path, None
        self.connect()

    def connect(self):
        if self.sock:
            self.sock.close()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(300)
        self.sock.connect(self.path)

    def more(self):
        data = self.sock.recv(1 << 20)
        if not data:
            raise RuntimeError("the engine closed the connection")
        return data

    def chunked(self, rest):
        out = bytearray()
        while True:
            while (eol := rest.find(b"\r\n")) < 0:
                rest += self.more()
            size = int(rest[:eol], 16)
            while len(rest) < eol + 4 + size:
                rest += self.more()
            if size == 0:
                return bytes(out)
            out += rest[eol + 2:eol + 2 + size]
            rest = rest[eol + 4 + size:]

    def call(self, method, path, body=None, ok=(200, 201, 204, 304)):
        data = b"" if body is None else json.dumps(body).encode()
        kind = "Content-Type: application/json\r\n" if body is not None else ""
        self.sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: engine\r\n{kind}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        got = self.more()
        while (end := got.find(b"\r\n\r\n")) < 0:
            got += self.more()
        head, rest = got[:end].lower(), got[end + 4:]
        status = int(head[9:12])
        if b"transfer-encoding: chunked" in head:
            rest = self.chunked(rest)
        elif (at := head.find(b"\r\ncontent-length:")) >= 0:
            want = int(head[at + 17:].split(b"\r\n", 1)[0])
            while len(rest) < want:
                rest += self.more()
        if b"\r\nconnection: close" in head:
            self.connect()
        if status not in ok:
            raise RuntimeError(f"{method} {path}: {status} {rest[:700]!r}")
        return rest

    def json(self, *args, **kw):
        return json.loads(self.call(*args, **kw))

    def create(self, cmd, network="none", log=None, binds=None):
        host = {"NetworkMode": network, "Binds": binds or []}
        if log is not None:
            host["LogConfig"] = log
        return self.json("POST", "/containers/create", {"Image": IMAGE, "Cmd": cmd, "HostConfig": host})["Id"]

    def life(self, network="none"):
        ident = self.create(["true"], network)
        self.call("POST", f"/containers/{ident}/start")
        code = self.json("POST", f"/containers/{ident}/wait")["StatusCode"]
        assert code == 0, code
        self.call("DELETE", f"/containers/{ident}")


def bench_engine(kind, build=None):
    """A scratch engine whose run-time directory is on a tmpfs, as /run is on a usual host (and is not on some test machines)."""
    engine = fx.Engine(kind=kind, build=build)
    if Path("/dev/shm").is_mount():
        engine.exec = Path("/dev/shm" + str(engine.root))
    return engine


def close(engine):
    engine.close(check=False)
    where = "/dev/shm" + str(engine.root)
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        if line.split()[4].startswith(where + "/"):     # dockerd's network namespaces
            subprocess.run(["umount", "-l", line.split()[4]], capture_output=True, check=False)
    shutil.rmtree(where, ignore_errors=True)
