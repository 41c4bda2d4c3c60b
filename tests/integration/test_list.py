# SPDX-License-Identifier: Apache-2.0
"""GET /containers/json with every filter, top, stats, changes."""
import json

import pytest

from box import IS_DOCKERD
from caisson_fixture import cgroup_is_v2, wait_for


@pytest.fixture(scope="module")
def zoo(engine):
    """One container per state, made once for the whole module."""
    from box import Boxes
    made = Boxes(engine)
    z = {"created": made.create("true", name="zoo-created", Labels={"zoo": "1", "kind": "c"}),
         "running": made.sleeper(name="zoo-running", Labels={"zoo": "1", "kind": "r"}, Volumes={"/zv": {}},
                                 Host={"Binds": ["/usr/share:/zb:ro"]}),
         "exited": made.run("exit 3", name="zoo-exited", Labels={"zoo": "1"}),
         "paused": made.sleeper(name="zoo-paused", Labels={"zoo": "1"}, ExposedPorts={"80/tcp": {}, "9000-9010/udp": {}})}
    z["paused"].post("pause")
    z["running"].wait_log("up")
    yield z
    made.clean()


def listed(zoo, all=1, **filters):
    http = zoo["running"].http
    f = {"label": ["zoo=1"], **filters}
    a = http.get("/containers/json", {"all": all, "filters": f})
    assert a.status == 200, a
    ids = {c["Id"] for c in a.json}
    return {name for name, b in zoo.items() if b.id in ids}


def test_default_is_running(zoo):
    assert listed(zoo, all=0) == {"running", "paused"}


def test_all(zoo):
    assert listed(zoo) == set(zoo)


@pytest.mark.parametrize("status", ["created", "running", "exited", "paused"])
def test_by_status(zoo, status):
    assert listed(zoo, all=0, status=[status]) == {status}


def test_filters(zoo):
    z = zoo
    assert listed(z, label=["zoo=1", "kind=r"]) == {"running"}
    assert listed(z, label=["kind"]) == {"running", "created"}
    assert listed(z, name=["zoo-exited"]) == {"exited"}
    assert listed(z, name=["^/zoo-[ec]"]) == {"exited", "created"}
    assert listed(z, id=[z["exited"].id[:12]]) == {"exited"}
    assert listed(z, exited=["3"]) == {"exited"}
    assert listed(z, ancestor=["caisson-test/rootfs"]) == set(z)
    assert listed(z, ancestor=["nosuch"]) == set()
    assert listed(z, before=["zoo-exited"]) == {"created", "running"}
    assert listed(z, since=["zoo-exited"]) == {"paused"}
    assert listed(z, volume=["/zv"]) == {"running"}
    assert listed(z, network=["none"]) == set(z)
    assert listed(z, network=["host"]) == set()
    if not IS_DOCKERD:      # 20.10 knows exposed ports of bridge networks only
        for port in ("80/tcp", "9005/udp", "9010-9020/udp"):
            assert listed(z, expose=[port]) == {"paused"}
        assert listed(z, expose=["9011/udp", "9005/tcp"]) == set()
    assert listed(z, health=["none"]) == set(z)
    assert listed(z, **{"is-task": ["false"]}) == set(z)


def test_old_filter_shape(zoo):
    a = zoo["running"].http.get("/containers/json", {"all": 1, "filters": {"label": {"zoo=1": True}}})
    assert len(a.json) == 4


def test_bad_filters(zoo):
    http = zoo["running"].http
    a = http.get("/containers/json", {"filters": {"nosuch": ["x"]}})
    assert a.status == 400 and a.message in ("Invalid filter 'nosuch'", "invalid filter 'nosuch'")
    assert http.get("/containers/json", {"filters": "{"}).status == (500 if IS_DOCKERD else 400)
    assert http.get("/containers/json", {"filters": {"status": ["nosuch"]}}).status == 400
    assert http.get("/containers/json", {"filters": {"exited": ["x"]}}).status in (400, 500)
    assert http.get("/containers/json", {"limit": "x"}).status in (400, 500)
    for key in ("publish", "expose"):
        a = http.get("/containers/json", {"filters": {key: ["x"]}})
        assert a.status in (400, 500) and a.message.startswith(f"error while looking up for {key} x: ")
    assert http.get("/containers/json", {"filters": "null"}).status == 200


def test_limit_and_order(zoo):
    http = zoo["running"].http
    a = http.get("/containers/json", {"limit": 2, "filters": {"label": ["zoo=1"]}})
    assert [c["Names"][0] for c in a.json] == ["/zoo-paused", "/zoo-exited"]


def test_entry(zoo):
    http = zoo["running"].http
    c = http.get("/containers/json", {"filters": {"id": [zoo["running"].id]}}).json[0]
    assert c["Names"] == ["/zoo-running"] and c["Image"] == "caisson-test/rootfs:latest" and c["ImageID"].startswith("sha256:")
    assert c["Command"].startswith("sh -c 'trap '") or c["Command"].startswith('sh -c "trap ')
    assert c["State"] == "running" and c["Status"].startswith("Up ") and isinstance(c["Created"], int)
    assert c["Labels"] == {"zoo": "1", "kind": "r"} and c["Ports"] == []
    assert c["HostConfig"]["NetworkMode"] == "none" and "none" in c["NetworkSettings"]["Networks"]
    assert {m["Destination"] for m in c["Mounts"]} == {"/zv", "/zb"}
    assert "SizeRw" not in c


def test_statuses(zoo):
    http = zoo["running"].http
    status = {c["Names"][0]: c["Status"] for c in http.get("/containers/json", {"all": 1, "filters": {"label": ["zoo"]}}).json}
    assert status["/zoo-created"] == "Created" and status["/zoo-exited"].startswith("Exited (3) ")
    assert status["/zoo-exited"].endswith(" ago") and status["/zoo-paused"].endswith(" (Paused)")


def test_size(zoo):
    http = zoo["running"].http
    c = http.get("/containers/json", {"all": 1, "size": 1, "filters": {"name": ["zoo-exited"]}}).json[0]
    assert c["SizeRootFs"] > 1 << 20


# top, stats, changes ---------------------------------------------------------------------------------------------------

def started_sleep(boxes, **kw):
    """start answers when the program is about to be executed; top may see what comes before it."""
    b = boxes.start(["sleep", "1234"], **kw)
    wait_for(lambda: open(f"/proc/{b.pid}/comm", encoding="utf-8").read() == "sleep\n", what="sleep runs")
    return b


def test_top(boxes):
    b = started_sleep(boxes)
    t = b.http.get(b.url + "/top").json
    assert t["Titles"] == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert len(t["Processes"]) == 1 and len(t["Processes"][0]) == 8
    row = dict(zip(t["Titles"], t["Processes"][0]))
    assert row["UID"] == "root" and row["PID"] == str(b.pid) and row["CMD"] == "sleep 1234"


def test_top_arguments(boxes):
    b = started_sleep(boxes, User="1000")
    t = b.http.get(b.url + "/top", {"ps_args": "-o pid,comm"})
    assert t.status == 200 and t.json["Titles"] == ["PID", "COMMAND"]
    assert t.json["Processes"] == [[str(b.pid), "sleep"]]
    for args in ("aux", "-aux"):
        assert b.http.get(b.url + "/top", {"ps_args": args}).json["Titles"][:2] == ["USER", "PID"]


def test_top_stopped(boxes):
    b = boxes.create("true")
    a = b.http.get(b.url + "/top")
    assert a.status in (409, 500) and a.message.lower() == f"container {b.id} is not running"


def test_stats_one_shot(boxes):
    b = boxes.sleeper(Host={"Memory": 64 << 20})
    s = b.http.get(b.url + "/stats", {"stream": 0, "one-shot": 1}).json
    assert s["id"] == b.id and s["name"].startswith("/")
    assert s["memory_stats"]["usage"] > 0 and s["memory_stats"]["limit"] == 64 << 20
    assert s["cpu_stats"]["system_cpu_usage"] > 0 and s["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert s["cpu_stats"]["online_cpus"] >= 1 and s["pids_stats"]["current"] >= 1
    assert s["read"] and "precpu_stats" in s and "blkio_stats" in s


def test_stats_not_streamed_has_two_samples(boxes):
    b = boxes.sleeper()
    s = b.http.get(b.url + "/stats", {"stream": 0}).json
    assert s["precpu_stats"].get("system_cpu_usage", 0) > 0 and s["preread"] < s["read"]


@pytest.mark.skipif(cgroup_is_v2(), reason="shown as v1 names it")
def test_stats_of_io(boxes):
    b = boxes.start("dd if=/dev/zero of=/f bs=64k count=16 conv=fsync 2>/dev/null; echo done; sleep 1000")
    b.wait_log("done")
    io = b.http.get(b.url + "/stats", {"stream": 0}).json["blkio_stats"]["io_service_bytes_recursive"]
    if not io:
        pytest.skip("the data root is on no disk")
    assert {e["op"] for e in io} >= {"Read", "Write", "Sync", "Async", "Total"}
    assert sum(e["value"] for e in io if e["op"] == "Write") >= 1 << 20


def test_stats_stream(boxes):
    b = boxes.sleeper()
    r = b.http.stream("GET", b.url + "/stats", {"stream": 1}, timeout=15)
    one, two = json.loads(r.readline()), json.loads(r.readline())
    r.connection.close()
    assert two["cpu_stats"]["system_cpu_usage"] > one["cpu_stats"]["system_cpu_usage"]


def test_stats_of_stopped(boxes):
    b = boxes.run("true")
    s = b.http.get(b.url + "/stats", {"stream": 0})
    assert s.status == 200 and s.json["id"] == b.id if not IS_DOCKERD else s.status == 200


def test_changes(boxes):
    b = boxes.run("echo x > /new; mkdir /d; echo y > /d/f; rm /etc/group; echo z >> /etc/passwd")
    got = {c["Path"]: c["Kind"] for c in b.http.get(b.url + "/changes").json}
    assert got == {"/new": 1, "/d": 1, "/d/f": 1, "/etc": 0, "/etc/group": 2, "/etc/passwd": 0}


def test_changes_none(boxes):
    a = boxes.create("true").http.get
    b = boxes.create("true")
    assert a(b.url + "/changes").json in (None, [])


def test_changes_while_running(boxes):
    b = boxes.start("echo x > /new; echo up; sleep 1000")
    b.wait_log("up")
    assert {"Path": "/new", "Kind": 1} in b.http.get(b.url + "/changes").json
