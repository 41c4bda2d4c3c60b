# SPDX-License-Identifier: Apache-2.0
"""Whatever is done a hundred times leaves nothing behind that would end it the thousandth time: descriptors and threads of the engine and of a
container's worker."""
import collections
import os
import re
from pathlib import Path

import pytest

import imagetar as it
from box import Box, Boxes
from caisson_fixture import wait_for

pytestmark = pytest.mark.caisson
ROUNDS = 6


def descriptors(pid):
    """What a process has open, by kind: digits mean nothing."""
    kinds = collections.Counter()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            kinds[re.sub(r"[0-9a-f]{12,}|\d+", "N", os.readlink(f"/proc/{pid}/fd/{fd}"))] += 1
        except FileNotFoundError:
            pass
    return kinds


@pytest.fixture
def world(fresh):
    """An engine, a container that stays with its pid, and all that it is used with."""
    engine = fresh(netns=True)
    boxes = Boxes(engine)
    assert engine.http.post("/networks/create", body={"Name": "n"}).status == 201
    assert engine.http.post("/networks/create", body={"Name": "m"}).status == 201
    up = boxes.sleeper(name="up", network="n", OpenStdin=True)
    terminal = boxes.sleeper(name="terminal", network="n", Tty=True, OpenStdin=True)
    boxes.create("true", name="idle")
    yield engine, boxes, up, terminal
    boxes.clean()


def execs(engine, boxes, up, terminal):
    assert up.exec("echo x")[0] == 0
    assert up.exec("exit 3", Tty=True)[0] == 3
    assert up.exec(["nosuch"])[0] in (126, 127)
    assert terminal.exec("true", User="1:1", WorkingDir="/tmp", Env=["A=b"])[0] == 0
    ident = up.exec_create("sleep 0.1")
    assert engine.http.post(f"/exec/{ident}/start", body={"Detach": True}).status == 200
    with engine.http.hijack("POST", f"/exec/{up.exec_create('cat', AttachStdin=True)}/start", body={"Detach": False}) as h:
        h.send(b"half")


def clients(engine, boxes, up, terminal):
    for box in (up, terminal):
        box.attach().close()
        box.attach(logs=1, stdin=0).close()
        assert box.raw_logs(timestamps=1, tail=2)
        box.wait_log("up")
        assert engine.http.post(f"{box.url}/resize", {"h": 30, "w": 90}).status == 200
    for _ in range(3):
        Box(engine, "idle").attach().close()       # they wait for a start that never comes
    engine.http.stream("GET", up.url + "/stats", timeout=30).connection.close()
    assert engine.http.get(up.url + "/stats", {"stream": 0, "one-shot": 1}).status == 200
    engine.http.stream("GET", "/events", timeout=30).connection.close()
    assert engine.http.get(up.url + "/top").status == 200


def changes(engine, boxes, up, terminal):
    for verb, status in (("pause", 204), ("unpause", 204), ("kill?signal=CONT", 204), ("rename?name=other", 204), ("rename?name=up", 204)):
        assert engine.http.post(f"{up.url}/{verb}").status == status
    assert up.post("update", body={"PidsLimit": 100}).status == 200
    for verb in ("connect", "disconnect"):
        assert engine.http.post(f"/networks/m/{verb}", body={"Container": "up"}).status == 200
    assert engine.http.put(up.url + "/archive", {"path": "/tmp"}, it.layer()).status == 200
    assert engine.http.get(up.url + "/archive", {"path": "/tmp/f"}).status == 200
    assert engine.http.get(up.url + "/archive", {"path": "/nosuch"}).status == 404
    assert engine.http.get(up.url + "/changes").status == 200
    assert engine.http.get(up.url + "/export").status == 200


def lives(engine, boxes, up, terminal):
    boxes.run("echo x", network="none").rm()
    boxes.run("echo x", network="n", Host={"PortBindings": {"80/tcp": [{"HostPort": "0"}]}}).rm()
    boxes.run("exit 1", network="host", Host={"Binds": ["vol:/v"]}).rm()
    boxes.create(["nosuch"]).start(expect=400).rm()
    box = boxes.start("sleep 100", Healthcheck={"Test": ["CMD", "true"], "Interval": 100_000_000})
    wait_for(lambda: box.state["Health"]["Status"] == "healthy", 30, "healthy")
    assert box.post("restart", {"t": 0}).status == 204
    box.rm()


def stores(engine, boxes, up, terminal):
    assert engine.http.post("/volumes/create", body={"Name": "v2"}).status == 201
    assert engine.http.delete("/volumes/v2").status == 204
    assert engine.http.post("/networks/create", body={"Name": "x"}).status == 201
    assert engine.http.delete("/networks/x").status == 204
    assert engine.http.post("/images/load", body=it.docker(["steady:1"], it.layer()), headers={"Content-Type": "application/x-tar"}).status == 200
    assert engine.http.get("/images/steady:1/get").status == 200
    assert engine.http.post("/commit", {"container": "up", "repo": "steady", "tag": "2"}, body={}).status == 201
    for tag in ("1", "2"):
        assert engine.http.delete(f"/images/steady:{tag}").status == 200
    assert engine.http.post("/images/load", body=b"no archive" * 100, headers={"Content-Type": "application/x-tar"}).status in (200, 400, 500)
    for path in ("/info", "/version", "/system/df", "/containers/json?all=1&size=1", "/images/json", "/volumes", "/networks"):
        assert engine.http.get(path).status == 200
    assert engine.http.post("/containers/prune", {"filters": '{"label": ["none"]}'}).status == 200


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


@pytest.mark.parametrize("work", [execs, clients, changes, lives, stores])
def test_nothing_adds_up(world, work):
    engine, _boxes, up, terminal = world
    pids = {"engine": engine.proc.pid, "worker": parent(up.pid), "worker of a terminal": parent(terminal.pid)}

    def count():
        """What each process has open or runs, by kind."""
        return {(name, kind): n for name, pid in pids.items() for kind, n in (*descriptors(pid).items(), ("threads", len(os.listdir(f"/proc/{pid}/task"))))}
    for _ in range(2):
        work(*world)
    before = count()
    for _ in range(ROUNDS):
        work(*world)

    def grown():
        return {key: n for key, n in count().items() if n - before.get(key, 0) >= ROUNDS}
    wait_for(lambda: not grown(), 20, f"an end of {grown()}")
