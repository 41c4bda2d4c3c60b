# SPDX-License-Identifier: Apache-2.0
"""Prunes that are watched: progress as JSON lines for who accepts such, the usual answer as the last of them."""
import json
import uuid

import pytest

import caisson_fixture as fx
import rootfs
from caisson_fixture import wait_for
from terminal import Terminal

pytestmark = pytest.mark.caisson


@pytest.fixture
def label():
    return "watched-" + uuid.uuid4().hex[:8]


def volumes(http, label, n=3):
    made = [f"{label}-{i}" for i in range(n)]
    for name in made:
        assert http.post("/volumes/create", body={"Name": name, "Labels": {label: "1"}}).status == 201
    return made


def containers(http, label, n=3):
    made = [http.post("/containers/create", body={"Image": "caisson-test/rootfs", "Cmd": ["true"], "Labels": {label: "1"}}) for _ in range(n)]
    assert all(a.status == 201 for a in made)
    return [a.json["Id"] for a in made]


def images(engine, label, n=3):
    made = []
    for i in range(n):
        engine.import_tar(rootfs.Tar().file("x", label + str(i)).bytes(), label, changes=[f"LABEL {label}=1"])
        made.append(engine.http.get(f"/images/{label}/json").json["Id"])
    engine.import_tar(rootfs.Tar().file("x", "last" + label).bytes(), label)       # takes the tag, has no label: stays
    return made


def watched(http, what, filters, accept="application/jsonl"):
    r = http.stream("POST", f"/{what}/prune", {"filters": json.dumps(filters)}, headers={"Accept": accept})
    text = r.read()
    r.connection.close()
    return r, [json.loads(x) for x in text.splitlines()]


@pytest.mark.parametrize("what, key", [("containers", "ContainersDeleted"), ("images", "ImagesDeleted"), ("volumes", "VolumesDeleted")])
def test_stream(http, engine, label, what, key):
    made = {"containers": lambda: containers(http, label), "images": lambda: images(engine, label), "volumes": lambda: volumes(http, label)}[what]()
    filters = {"label": [label], **({"all": ["true"]} if what == "volumes" else {})}
    r, lines = watched(http, what, filters)
    assert r.status == 200 and r.getheader("Content-Type") == "application/jsonl"
    *steps, result = lines
    gone = [g.get("Deleted", "") if isinstance(g, dict) else g for g in result[key]]
    assert set(made) <= set(gone) and isinstance(result["SpaceReclaimed"], int) and set(result) == {key, "SpaceReclaimed"}
    assert sorted(s["id"] for s in steps if s["status"] == "Deleting") == sorted(made)
    assert [s["status"] for s in steps] == ["Deleting", "Deleted"] * 3
    assert [s["progressDetail"] for s in steps] == [{"current": n, "total": 3, "units": what} for n in (0, 1, 1, 2, 2, 3)]
    # nothing is left: the result alone, the same as for everybody
    _, lines = watched(http, what, filters)
    plain = http.post(f"/{what}/prune", {"filters": json.dumps(filters)}, rec=False)
    assert len(lines) == 1 and lines[0][key] in ([], None) and lines[0] == plain.json
    engine.http.delete(f"/images/{label}", {"force": 1}, rec=False)


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/json-seq", "application/jsonl;q=0"])
def test_others_get_one_object(http, label, accept):
    made = volumes(http, label, 1)
    a = http.post("/volumes/prune", {"filters": {"label": [label], "all": ["true"]}}, headers={"Accept": accept})
    assert a.json == {"VolumesDeleted": made, "SpaceReclaimed": 0} and a.headers["Content-Type"] == "application/json"


def test_ndjson(http, label):
    volumes(http, label, 1)
    r, lines = watched(http, "volumes", {"label": [label], "all": ["true"]}, "application/x-ndjson")
    assert r.getheader("Content-Type") == "application/x-ndjson" and len(lines) == 3


@pytest.mark.parametrize("what", ["containers", "images", "volumes"])
def test_errors_are_statuses(http, what):
    a = http.post(f"/{what}/prune", {"filters": {"bogus": ["1"]}}, headers={"Accept": "application/jsonl"})
    assert a.status == 400 and "nvalid filter" in a.message and a.headers["Content-Type"] == "application/json"


def test_kept(http, label, boxes):
    """What is used is neither counted nor told of."""
    used, free = volumes(http, label, 2)
    boxes.create("true", Host={"Binds": [used + ":/v"]})
    _, lines = watched(http, "volumes", {"label": [label], "all": ["true"]})
    assert lines[-1]["VolumesDeleted"] == [free]
    assert [(x["id"], x["status"], x["progressDetail"]["total"]) for x in lines[:-1]] == [(free, "Deleting", 1), (free, "Deleted", 1)]


def test_who_does_not_read_holds_nothing_up(http, label):
    """More lines than all buffers hold: some are left out, and the last one has everything."""
    made = [label + f"-{i:04}-" + "x" * 180 for i in range(1000)]
    for name in made:
        assert http.post("/volumes/create", body={"Name": name, "Labels": {label: "1"}}, rec=False).status == 201
    r = http.stream("POST", "/volumes/prune", {"filters": json.dumps({"label": [label], "all": ["true"]})}, headers={"Accept": "application/jsonl"})
    left = lambda: [v for v in http.get("/volumes", {"filters": {"label": [label]}}, rec=False).json["Volumes"] or []]
    wait_for(lambda: not left(), 30, "all volumes are gone while nobody reads")
    lines = [json.loads(x) for x in r.read().splitlines()]
    r.connection.close()
    assert sorted(lines[-1]["VolumesDeleted"]) == made and 1 < len(lines) < 2001


def test_client_that_leaves(http, label):
    made = volumes(http, label, 2)
    r = http.stream("POST", "/volumes/prune", {"filters": json.dumps({"label": [label], "all": ["true"]})}, headers={"Accept": "application/jsonl"})
    r.connection.close()
    r.close()
    free = lambda: http.post("/volumes/prune", {"filters": {"label": [label], "all": ["true"]}}, rec=False)
    wait_for(lambda: free().status == 200, 10, "the next prune may run")
    assert not set(made) & {v["Name"] for v in http.get("/volumes", rec=False).json["Volumes"] or []}


@pytest.mark.parametrize("args", [["volume", "prune", "-af"], ["container", "prune", "-f"], ["image", "prune", "-f"], ["system", "prune", "-f"]], ids=" ".join)
def test_client(engine, http, label, args):
    """On a terminal: a line while it works, which is wiped, and then docker's output."""
    kind = args[0]
    made = {"volume": volumes(http, label), "container": [], "image": [], "system": []}[kind] if kind == "volume" else \
        images(engine, label) if kind == "image" else containers(http, label)
    t = Terminal(engine, *args, "--filter", f"label={label}", program=str(fx.BUILD / "caisson"))
    seen = t.until(b"Total reclaimed space: ")
    assert t.wait() == 0
    t.close()
    units = {"volume": b"volumes", "image": b"images"}.get(kind, b"containers")
    assert b"3/3 " + units in seen and b"0/3 " + units in seen, seen
    before, _, after = seen.rpartition(b"\x1b[2K\r")
    assert b"Deleted " in after and b"3/3" not in after and all(m.encode() in after for m in made), seen
    engine.http.delete(f"/images/{label}", {"force": 1}, rec=False)
