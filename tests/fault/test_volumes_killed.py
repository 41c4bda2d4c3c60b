# SPDX-License-Identifier: Apache-2.0
"""The daemon dies while volumes are made, filled, mounted, removed and pruned; the next one finds each of them whole or not at all."""
import http.client
import os
import random
import sqlite3
import threading
import time
from pathlib import Path

import pytest

import rootfs
from box import Box, Boxes, create
from caisson_fixture import wait_for

pytestmark = pytest.mark.caisson
ROUNDS = int(os.environ.get("CAISSON_FAULT_ROUNDS", "15"))
SEED = int(os.environ.get("CAISSON_FAULT_SEED", str(random.randrange(1 << 30))))
GONE = (OSError, ConnectionError, ValueError, http.client.HTTPException)
FILES = 300
TMPFS = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}


def prepare(engine):
    tar = rootfs.busybox().dir("data", 0o750, 7, 8)
    for n in range(FILES):
        tar.file(f"data/f{n}", "x" * 300)
    engine.import_tar(tar.bytes(), "t-filled", "latest", ["ENV PATH=/bin"])
    return engine


def mounts(engine):
    at = f"{engine.data}/volumes/"
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if line.split()[4].startswith(at)]


class Load:
    def __init__(self, engine, seed):
        self.engine, self.over = engine, threading.Event()
        self.made, self.removed = set(), set()
        self.removing, self.problems, self.seed = set(), [], seed

    def volumes(self, number):
        """Named ones come and go."""
        rng = random.Random(self.seed + number)
        count = 0
        while not self.over.is_set():
            name = f"named-{number}-{count}"
            count += 1
            try:
                opts = TMPFS if rng.random() < 0.3 else None
                a = self.engine.http.post("/volumes/create", body={"Name": name, "DriverOpts": opts, "Labels": {"a": "b"}}, timeout=15, rec=False)
                if a.status != 201:
                    self.problems.append(a)
                self.made.add(name)
                if rng.random() < 0.5:
                    self.removing.add(name)
                    a = self.engine.http.delete(f"/volumes/{name}", timeout=15, rec=False)
                    if a.status not in (204, 404):      # a prune was first
                        self.problems.append(a)
                    self.removed.add(name)
            except GONE:
                return

    def containers(self, number):
        """A named, an anonymous and a mounted volume each, filled from the image."""
        rng = random.Random(self.seed + number)
        count = 0
        while not self.over.is_set():
            name = f"filled-{number}-{count}"
            count += 1
            try:
                host = {"Binds": [f"{name}:/data"], "Mounts": [{"Type": "volume", "Source": f"mnt-{number}", "Target": "/m", "VolumeOptions": {"DriverConfig": {"Options": TMPFS}}}]}
                a = create(self.engine, rng.choice(["true", "sleep 0.05"]), image="t-filled", Host=host, Volumes={"/anon": {}, "/bin": {}})
                if a.status != 201:
                    self.problems.append(a)
                    return
                box = Box(self.engine, a.json["Id"])
                self.made.add(name)
                if rng.random() < 0.7:
                    a = box.post("start", timeout=15)
                    if a.status != 204:
                        self.problems.append(a)
                if rng.random() < 0.7:
                    self.engine.http.delete(box.url, {"force": 1, "v": 1}, timeout=15, rec=False)
            except GONE:
                return

    def pruner(self, _number):
        while not self.over.is_set():
            try:
                a = self.engine.http.post("/volumes/prune", {"filters": '{"label":["a=b"],"all":["1"]}'} if self.seed % 2 else None, timeout=15, rec=False)
                self.removed |= set(a.json["VolumesDeleted"]) if a.status == 200 else set()
            except GONE:
                return
            time.sleep(0.01)

    def run_until_kill(self, delay):
        threads = [threading.Thread(target=f, args=(n,)) for n, f in enumerate([self.volumes, self.volumes, self.containers, self.containers, self.pruner])]
        for t in threads:
            t.start()
        time.sleep(delay)
        self.engine.kill()
        self.over.set()
        for t in threads:
            t.join(20)
            assert not t.is_alive(), "a client hangs although the daemon is dead"


def check(engine, where):
    listed = {v["Name"]: v for v in engine.http.get("/volumes").json["Volumes"]}
    here = {n for n in os.listdir(engine.data / "volumes") if not n.startswith(".gone-")}
    assert here == set(listed), f"{where}: {here ^ set(listed)}"
    used = set()
    for c in engine.http.get("/containers/json", {"all": 1}).json:
        used |= {m["Name"] for m in Box(engine, c["Id"]).inspect()["Mounts"]}
    assert used <= set(listed), f"{where}: used and gone: {used - set(listed)}"
    orphans = {n for n, v in listed.items() if "com.docker.volume.anonymous" in (v["Labels"] or {})} - used
    assert not orphans, f"{where}: anonymous volumes of nobody: {orphans}"
    for name in listed:
        data = engine.data / "volumes" / name / "_data"
        if name.startswith("filled-"):
            n = len(os.listdir(data))
            assert n in (0, FILES), f"{where}: {name} holds {n} of {FILES} files"
            st = os.stat(data)
            assert n == 0 or (st.st_uid, st.st_gid, st.st_mode & 0o7777) == (7, 8, 0o750), (where, name)
    return listed


@pytest.mark.host_mounts
@pytest.mark.timeout(60 + ROUNDS * 10)
def test_kill_under_load(fresh):
    rng = random.Random(SEED)
    engine = prepare(fresh())
    for number in range(ROUNDS):
        where = f"round {number}, seed {SEED}"
        load = Load(engine, SEED + number)
        load.run_until_kill(rng.uniform(0.02, 0.6))
        engine.start()
        assert not load.problems, (where, load.problems[:3])
        listed = check(engine, where)
        named = {n for n in load.made if n.startswith("named-")}
        if not load.seed % 2:   # else the prune may have taken them unseen
            assert named - load.removing <= set(listed), f"{where}: lost {named - load.removing - set(listed)}"
        assert not load.removed & set(listed), f"{where}: back again: {load.removed & set(listed)}"
        for n in named & set(listed):
            assert listed[n]["Labels"] == {"a": "b"}, (where, listed[n])
        engine.remove_all()
        wait_for(lambda: not mounts(engine), what=f"{where}: unmounted")
        for v in engine.http.get("/volumes").json["Volumes"]:
            a = engine.http.delete(f"/volumes/{v['Name']}")
            assert a.status == 204, f"{where}: cannot be removed: {a}"
        wait_for(lambda: os.listdir(engine.data / "volumes") == [], what=f"{where}: deleted")


@pytest.mark.host_mounts
@pytest.mark.timeout(60 + ROUNDS * 6)
@pytest.mark.parametrize("what", ["create", "fill", "start", "remove", "prune"])
def test_kill_inside(fresh, what):
    """One operation, one death: done or not, and everything can be used and removed afterwards."""
    engine = prepare(fresh())
    rng = random.Random(SEED)
    for number in range(ROUNDS):
        where = f"{what}, round {number}, seed {SEED}"
        boxes = Boxes(engine)
        box = None
        if what == "start":
            engine.http.post("/volumes/create", body={"Name": "vv", "DriverOpts": TMPFS})
            box = boxes.create("sleep 60", Host={"Binds": ["vv:/v"]})
        elif what in ("remove", "prune"):
            assert boxes.run("echo kept > /data/mine", image="t-filled", Host={"Binds": ["vv:/data"]}).rm().status == 204
        answer = []

        def act():
            try:
                if what == "create":
                    answer.append(engine.http.post("/volumes/create", body={"Name": "vv", "DriverOpts": TMPFS, "Labels": {"l": "1"}}, timeout=15))
                elif what == "fill":
                    answer.append(create(engine, "true", image="t-filled", Host={"Binds": ["vv:/data"]}, Volumes={"/anon": {}}))
                elif what == "start":
                    answer.append(box.post("start", timeout=15))
                elif what == "remove":
                    answer.append(engine.http.delete("/volumes/vv", timeout=15))
                else:
                    answer.append(engine.http.post("/volumes/prune", {"filters": '{"all":["1"]}'}, timeout=15))
            except GONE:
                pass
        thread = threading.Thread(target=act)
        thread.start()
        time.sleep(rng.uniform(0, 0.02 if what == "fill" else 0.004))
        engine.kill()
        thread.join(20)
        engine.start()
        there = engine.http.get("/volumes/vv")
        if what in ("remove", "prune"):
            assert there.status == (404 if answer else there.status), where
            if there.status == 200:
                assert (engine.data / "volumes/vv/_data/mine").read_text() == "kept\n", where
        elif answer:
            assert there.status == 200 and answer[0].status < 300, (where, answer)
        if there.status == 200 and what == "create":
            assert there.json["Options"] == TMPFS or not answer, (where, there)
        if what == "fill":
            data = engine.data / "volumes/vv/_data"
            n = len(os.listdir(data)) if there.status == 200 else 0
            assert n in (0, FILES) and (n or not answer), (where, n)
            assert boxes.run("ls /data | wc -l", image="t-filled", Host={"Binds": ["vv:/data"]}).out == f"{FILES}\n", where
        if what == "start":
            running = box.state["Running"]
            assert len(mounts(engine)) == running, (where, running)
        left = {v["Name"] for v in engine.http.get("/volumes").json["Volumes"]}
        used = {m["Name"] for c in engine.http.get("/containers/json", {"all": 1}).json for m in c["Mounts"]}
        assert left - used <= {"vv"}, f"{where}: {left - used}"
        engine.remove_all()
        engine.http.delete("/volumes/vv", {"force": 1})
        assert engine.http.get("/volumes").json["Volumes"] == [], where
        wait_for(lambda: not mounts(engine) and os.listdir(engine.data / "volumes") == [], what=where)


def test_killed_before_the_row(fresh):
    """A death while the row of an anonymous volume cannot be written yet: nothing of it is left, above all no directory that nobody owns."""
    engine = prepare(fresh())
    db = sqlite3.connect(engine.data / "caisson.db", isolation_level=None)
    db.execute("BEGIN IMMEDIATE")       # whoever writes has to wait
    gone = []
    seen = len(engine.log.read_text(errors="replace"))
    thread = threading.Thread(target=lambda: gone.append(pytest.raises(GONE, create, engine, "true", image="t-filled", Volumes={"/anon": {}})))
    thread.start()
    wait_for(lambda: "POST /containers/create" in engine.log.read_text(errors="replace")[seen:], 30, "the request")
    time.sleep(0.2)     # not waited for: a volume's directory, which must not come
    engine.kill()
    thread.join(20)
    db.close()
    engine.start()
    assert gone and engine.http.get("/volumes").json["Volumes"] == [] and os.listdir(engine.data / "volumes") == []


@pytest.mark.timeout(120)
def test_removal_with_volumes_is_finished(fresh):
    """rm -v that died half-way is finished with its volumes, rm without -v leaves them."""
    engine = fresh()
    boxes = Boxes(engine)
    rng = random.Random(SEED)
    for number in range(ROUNDS):
        keep = number % 2 == 0
        box = boxes.create("true", Volumes={"/a": {}, "/b": {}})
        names = {m["Name"] for m in box.inspect()["Mounts"]}
        answer = []

        def act():
            try:
                answer.append(engine.http.delete(box.url, {"v": not keep}, timeout=15).status)
            except GONE:
                pass
        thread = threading.Thread(target=act)
        thread.start()
        time.sleep(rng.uniform(0, 0.004))
        engine.kill()
        thread.join(20)
        engine.start()
        where = f"round {number}, seed {SEED}, keep {keep}, answer {answer}"
        left = {v["Name"] for v in engine.http.get("/volumes").json["Volumes"]} & names
        there = engine.http.get(box.url + "/json").status == 200
        if there:
            assert not answer and left == names, where
            box.rm()
        elif keep:
            assert left == names, where
        else:
            assert left == set(), where
        engine.http.post("/volumes/prune")
