# SPDX-License-Identifier: Apache-2.0
"""A container as the tests see it: thin words over the raw API, so that a test reads like its claim."""
import http.client
import json
import os
import socket
import struct
import threading

from caisson_fixture import ROOTFS, KIND
from unixhttp import TIME_FACTOR, demux


def argv(cmd):
    return ["sh", "-c", cmd] if isinstance(cmd, str) else list(cmd)


class Box:
    def __init__(self, engine, ident, tty=False):
        self.engine, self.http, self.id, self.tty = engine, engine.http, ident, tty

    @property
    def url(self):
        return "/containers/" + self.id

    def post(self, verb, query=None, body=None, **kw):
        return self.http.post(f"{self.url}/{verb}", query, body, **kw)

    def start(self, expect=204):
        a = self.post("start")
        assert a.status == expect, a
        return self

    def wait(self, timeout=30):
        a = self.post("wait", timeout=timeout)
        assert a.status == 200, a
        self.code = a.json["StatusCode"]
        return self.code

    def inspect(self):
        a = self.http.get(self.url + "/json")
        assert a.status == 200, a
        return a.json

    @property
    def state(self):
        return self.inspect()["State"]

    @property
    def pid(self):
        return self.state["Pid"]

    def raw_logs(self, **query):
        a = self.http.get(self.url + "/logs", {"stdout": 1, "stderr": 1, **query})
        assert a.status == 200, a
        return a.body

    def logs(self, **query):
        """(stdout, stderr) as text."""
        body = self.raw_logs(**query)
        if self.tty:
            return body.decode(), ""
        out, err = demux(body)
        return out.decode(errors="replace"), err.decode(errors="replace")

    @property
    def out(self):
        return self.logs()[0]

    @property
    def err(self):
        return self.logs()[1]

    def kill(self, sig="KILL"):
        return self.post("kill", {"signal": sig})

    def rm(self, force=True, v=True):
        return self.http.delete(self.url, {"force": force, "v": v})

    def exec_create(self, cmd, **cfg):
        a = self.post("exec", body={"Cmd": argv(cmd), "AttachStdout": True, "AttachStderr": True, **cfg})
        assert a.status == 201, a
        return a.json["Id"]

    def exec(self, cmd, **cfg):
        """(exit code, stdout, stderr)."""
        ident = self.exec_create(cmd, **cfg)
        with self.http.hijack("POST", f"/exec/{ident}/start", body={"Detach": False, "Tty": bool(cfg.get("Tty"))}) as h:
            body = h.read_all()
            assert h.status in (101, 200), (h.status, body)
        out, err = (body, b"") if cfg.get("Tty") else demux(body)
        code = self.http.get(f"/exec/{ident}/json").json["ExitCode"]
        return code, out.decode(errors="replace"), err.decode(errors="replace")

    def attach(self, **query):
        query = {"stream": 1, "stdin": 1, "stdout": 1, "stderr": 1, **query}
        return self.http.hijack("POST", self.url + "/attach", query)

    def wait_log(self, needle, timeout=15):
        """Follow the log until `needle`; a container saying so is the event we wait for."""
        r = self.http.stream("GET", self.url + "/logs", {"stdout": 1, "stderr": 1, "follow": 1}, timeout=timeout)
        seen = b""
        needle = needle if isinstance(needle, bytes) else needle.encode()
        try:
            while needle not in seen:
                piece = r.read1(65536)
                if not piece:
                    raise AssertionError(f"log ended before {needle!r}: {seen!r}")
                seen += piece
        finally:
            r.connection.close()
        return seen


def create(engine, cmd=None, image=ROOTFS, name=None, version=None, network="none", **cfg):
    """Create a container; returns the raw answer. HostConfig keys go under Host=…"""
    host = {"NetworkMode": network, **cfg.pop("Host", {})}
    if network is None:
        host.pop("NetworkMode")
    body = {"Image": image, "HostConfig": host, **cfg}
    if cmd is not None:
        body["Cmd"] = argv(cmd)
    return engine.http.post("/containers/create", {"name": name}, body, version=version)


class Boxes:
    """Factory with a memory: everything made is removed at the end of the test."""

    def __init__(self, engine):
        self.engine, self.made = engine, []

    def create(self, cmd=None, **kw):
        a = create(self.engine, cmd, **kw)
        assert a.status == 201, a
        box = Box(self.engine, a.json["Id"], bool(kw.get("Tty")))
        box.warnings = a.json.get("Warnings")
        self.made.append(box)
        return box

    def start(self, cmd=None, **kw):
        return self.create(cmd, **kw).start()

    def run(self, cmd=None, **kw):
        box = self.start(cmd, **kw)
        box.wait()
        return box

    def sleeper(self, **kw):
        """Runs until stopped, and dies at once of SIGTERM."""
        return self.start(["sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 3600 & wait $!; done"], **kw)

    def clean(self):
        for box in self.made:
            if box.http.get(box.url + "/json", rec=False).status == 200:
                if box.http.get(box.url + "/json", rec=False).json["State"]["Paused"]:
                    box.post("unpause", rec=False)
                box.http.delete(box.url, {"force": 1, "v": 1}, rec=False)


def execs_of_worker(eng, ident):
    """The processes that the container's worker knows besides the first: LIST of compute/worker_protocol.h."""
    systems = os.open(eng.exec / "systems" / ident, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.connect(f"/proc/self/fd/{systems}/worker.sock")
            s.send(struct.pack("<IIII", 0x43570001, 0x48, 1, 0))
            answer = s.recv(65536)[16:]
    finally:
        os.close(systems)
    ids = [answer[i:i + 65].rstrip(b"\0").decode() for i in range(0, len(answer), 96)]
    assert ids[0] == ""
    return ids[1:]


class Networks:
    """Factory of networks with a memory."""

    def __init__(self, engine):
        self.engine, self.made = engine, []

    def create(self, name, expect=201, version=None, **body):
        a = self.engine.http.post("/networks/create", body={"Name": name, **body}, version=version)
        assert a.status == expect, a
        if a.status == 201:
            self.made.append(a.json["Id"])
        return a.json["Id"] if a.status == 201 else a

    def subnet(self, name, subnet, **body):
        return self.create(name, IPAM={"Config": [{"Subnet": s} for s in ([subnet] if isinstance(subnet, str) else subnet)]}, **body)

    def inspect(self, ref, version=None):
        a = self.engine.http.get("/networks/" + ref, version=version)
        assert a.status == 200, a
        return a.json

    def connect(self, ref, box, expect=200, **config):
        a = self.engine.http.post(f"/networks/{ref}/connect", body={"Container": box.id, "EndpointConfig": config})
        assert a.status == expect, a
        return a

    def disconnect(self, ref, box, expect=200, force=False):
        a = self.engine.http.post(f"/networks/{ref}/disconnect", body={"Container": box.id, "Force": force})
        assert a.status == expect, a
        return a

    def clean(self):
        for ident in self.made:
            a = self.engine.http.delete("/networks/" + ident, rec=False)
            assert a.status in (204, 404), a


class Events:
    """Collect /events in the background; `until` waits for one that matches."""

    def __init__(self, engine, **filters):
        self.engine = engine
        query = {"filters": json.dumps(filters)} if filters else {}
        self.response = engine.http.stream("GET", "/events", query, timeout=60)
        assert self.response.status == 200
        self.seen, self.cond = [], threading.Condition()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        buf = b""
        try:
            while True:
                piece = self.response.read1(65536)
                if not piece:
                    return
                buf += piece
                while b"\n" in buf or buf.rstrip().endswith(b"}"):
                    text = buf.decode().lstrip()
                    if not text:
                        buf = b""
                        break
                    try:
                        event, end = json.JSONDecoder().raw_decode(text)
                    except ValueError:
                        break
                    buf = text[end:].encode()
                    with self.cond:
                        self.seen.append(event)
                        self.cond.notify_all()
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            return

    def until(self, action, ident=None, timeout=15):
        def match():
            return [e for e in self.seen
                    if e["Action"].split(":")[0] == action and (ident is None or e["Actor"]["ID"] == ident)]
        with self.cond:
            if not self.cond.wait_for(match, timeout * TIME_FACTOR):
                raise AssertionError(f"no event {action} in {[(e['Action'], e['Actor']['ID'][:8]) for e in self.seen]}")
            return match()[0]

    def actions(self, ident):
        with self.cond:
            return [e["Action"] for e in self.seen if e["Actor"]["ID"] == ident]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            import socket as s
            self.response.connection.sock and self.response.connection.sock.shutdown(s.SHUT_RDWR)
        except OSError:
            pass
        self.thread.join(5)
        self.response.connection.close()


IS_DOCKERD = KIND == "dockerd"
