# SPDX-License-Identifier: Apache-2.0
"""The daemon dies in the middle of pulls, removals, prunes, imports and pushes. The next one finds rows, blobs and layers that agree, and every image
that was announced as complete still is."""
import json
import os
import random
import shutil
import sqlite3
import subprocess
import threading
import time

import pytest

import images
import rootfs
from caisson_fixture import wait_for
from registry import Fake, Stall
from images import busybox, files, pull, put

pytestmark = pytest.mark.caisson
ROUNDS = int(os.environ.get("CAISSON_FAULT_ROUNDS", "30"))
SEED = int(os.environ.get("CAISSON_FAULT_SEED", str(random.randrange(1 << 30))))


def rows(engine, sql):
    with sqlite3.connect(f"file:{engine.data}/caisson.db?mode=ro", uri=True) as db:
        return db.execute(sql).fetchall()


def check(engine):
    """Rows and files agree: every row has its files, every file has a row, index.json names what is there."""
    blobs = {"sha256:" + b for b in os.listdir(engine.data / "content/blobs/sha256")}
    dirs = {"sha256:" + d for d in os.listdir(engine.data / "layers")}
    layers = {chain: (parent, blob) for chain, parent, blob in rows(engine, "SELECT chain,parent,blob FROM layer")}
    found = rows(engine, "SELECT id,manifest,top FROM image")
    names = rows(engine, "SELECT name,id FROM image_name")
    assert dirs == set(layers), f"layers without rows {dirs - set(layers)}, rows without layers {set(layers) - dirs}"
    needed = set()
    used = set()
    for ident, manifest, top in found:
        assert {ident, manifest} <= blobs, f"{ident}: configuration or manifest missing"
        doc = json.loads((engine.data / "content/blobs/sha256" / manifest[7:]).read_text())
        needed |= {ident, manifest} | {l["digest"] for l in doc["layers"]}
        while top:
            assert top in layers, f"{ident}: layer {top} has no row"
            used.add(top)
            needed.add(layers[top][1])
            top = layers[top][0]
    assert used == set(layers), f"layers of nobody: {set(layers) - used}"
    needed |= {n.split("@")[1] for n, _ in names if "@" in n}
    assert blobs == needed, f"blobs of nobody {blobs - needed}, missing {needed - blobs}"
    ids = {i for i, _, _ in found}
    assert {i for _, i in names} <= ids, "names of nothing"
    index = json.loads((engine.data / "content/index.json").read_text())
    assert {m["digest"] for m in index["manifests"]} == {m for _, m, _ in found}
    wait_for(lambda: not os.listdir(engine.data / "tmp"), what="tmp/ empty: what is removed is deleted behind the answer")


class Load:
    """Threads that pull, remove, prune, import and tag until the daemon is gone. `complete`: what was answered as done."""

    def __init__(self, engine, fake, repos, rng):
        self.engine, self.fake, self.repos = engine, fake, repos
        self.over, self.lock = threading.Event(), threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(rng.randrange(1 << 30),)) for _ in range(4)]
        for t in self.threads:
            t.start()

    def run(self, seed):
        rng = random.Random(seed)
        http = self.engine.http
        while not self.over.is_set():
            repo = rng.choice(self.repos)
            name = f"{self.fake.host}/{repo}"
            try:
                what = rng.random()
                if what < 0.5:
                    pull(http, name, "1", timeout=20)
                elif what < 0.75:
                    http.delete(f"/images/{name}:1", {"force": 1}, timeout=20, rec=False)
                elif what < 0.85:
                    http.post("/images/prune", {"filters": {"dangling": ["false"], "label!": ["keep"]}}, timeout=20, rec=False)
                elif what < 0.95:
                    data = rootfs.Tar().file("f", os.urandom(20000)).bytes()
                    http.post("/images/create", {"fromSrc": "-", "repo": "imported"}, body=data, headers={"Content-Type": "application/x-tar"}, timeout=20, rec=False)
                else:
                    images.push(http, name, "1", timeout=20)
            except (OSError, ValueError, AssertionError, http_exception):
                if not self.engine.alive():
                    return

    def stop(self):
        self.over.set()
        for t in self.threads:
            t.join(30)


http_exception = __import__("http.client").client.HTTPException


@pytest.mark.timeout(600)
def test_killed_at_any_moment(fresh):
    rng = random.Random(SEED)
    print("seed", SEED)
    engine = fresh()
    with Fake() as fake:
        shared = [files(**{f"s{i}": os.urandom(30000).hex()}) for i in range(3)]
        repos = []
        for i in range(6):
            own = [files(**{f"o{k}": os.urandom(20000).hex() for k in range(5)}) for _ in range(2)]
            repos.append(f"r{i}")
            put(fake, f"r{i}", "1", shared[:rng.randrange(4)] + own)
        keep = f"{fake.host}/keep"
        put(fake, "keep", "1", [busybox(), *shared], conf=images.config([busybox(), *shared], config={"Cmd": ["true"], "Env": ["PATH=/bin"], "Labels": {"keep": "1"}}))
        assert not pull(engine.http, keep, "1").error
        engine.http.post("/images/caisson/base/tag", {"repo": "unused"})
        for n in range(ROUNDS):
            load = Load(engine, fake, repos, rng)
            time.sleep(rng.random() * 0.6)
            engine.kill()
            load.stop()
            engine.start()
            try:
                check(engine)
                assert engine.http.get(f"/images/{keep}:1/json").status == 200
                if n % 5 == 0:
                    a = engine.http.post("/containers/create", body={"Image": f"{keep}:1"})
                    assert a.status == 201, a
                    assert engine.http.post(f"/containers/{a.json['Id']}/start").status == 204
                    assert engine.http.post(f"/containers/{a.json['Id']}/wait").json["StatusCode"] == 0
                    engine.http.delete("/containers/" + a.json["Id"], {"force": 1})
                for i in engine.http.get("/images/json", {"all": 1}).json:
                    assert engine.http.get(f"/images/{i['Id']}/json").status == 200
            except AssertionError as err:
                raise AssertionError(f"round {n}, seed {SEED}: {err}\n{engine.tail(20)}") from None
        for repo in repos:
            assert not pull(engine.http, f"{fake.host}/{repo}", "1").error


def test_killed_during_a_pull(fresh):
    """At rest in the middle of a layer: nothing of it is left at the next start, and the same pull works."""
    engine = fresh()
    with Fake() as fake:
        layers = [busybox(), files(big=os.urandom(200000).hex())]
        put(fake, "a", "1", layers)
        fake.fault("GET", "/blobs/" + layers[1].digest, Stall(after=30000))
        r = engine.http.stream("POST", "/images/create", {"fromImage": f"{fake.host}/a", "tag": "1"})
        assert r.status == 200
        wait_for(lambda: layers[0].digest[7:] in os.listdir(engine.data / "content/blobs/sha256"), what="the first layer's blob")
        engine.restart()
        check(engine)
        assert layers[0].digest[7:] not in os.listdir(engine.data / "content/blobs/sha256")
        lines = pull(engine.http, f"{fake.host}/a", "1")
        assert "Downloaded newer image" in lines[-1]["status"], lines
        check(engine)


@pytest.mark.parametrize("what", ["layer", "manifest", "configuration"])
def test_lost_files(fresh, what):
    """Somebody took files away: the image goes, with a line in the log; the others stay; it can be pulled again."""
    engine = fresh()
    with Fake() as fake:
        base = busybox()
        lost, kept = [base, files(x=os.urandom(8).hex())], [base, files(y=os.urandom(8).hex())]
        md, ident = put(fake, "lost", "1", lost)
        put(fake, "kept", "1", kept)
        for repo in ("lost", "kept"):
            assert not pull(engine.http, f"{fake.host}/{repo}", "1").error
        engine.stop()
        top = [t for i, t in rows(engine, "SELECT id,top FROM image") if i == ident][0]
        blobs = engine.data / "content/blobs/sha256"
        if what == "layer":
            shutil.rmtree(engine.data / "layers" / top[7:])
        else:
            (blobs / (md if what == "manifest" else ident)[7:]).unlink()
        engine.start()
        assert ident in engine.log.read_text() and "removed" in engine.log.read_text()
        check(engine)
        assert engine.http.get(f"/images/{fake.host}/lost:1/json").status == 404
        assert engine.http.get(f"/images/{fake.host}/kept:1/json").status == 200
        lines = pull(engine.http, f"{fake.host}/lost", "1")
        assert "Downloaded newer image" in lines[-1]["status"], lines
        check(engine)


@pytest.fixture
def small_disk(tmp_path):
    where = tmp_path / "disk"
    where.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "tmpfs", str(where)], capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=False)


@pytest.mark.host_mounts
def test_disk_full(fresh, small_disk):
    """In the middle of a pull: an error that says so, nothing left behind, other images whole and runnable, and the next pull works."""
    engine = fresh(prepare=False, data_root=small_disk / "data")
    with Fake() as fake:
        put(fake, "small", "1", [busybox(), files(x="1")])
        assert not pull(engine.http, f"{fake.host}/small", "1").error
        big = [busybox(), files(a=os.urandom(3000000).hex()), files(b=os.urandom(6000000).hex()), files(c=os.urandom(6000000).hex())]
        put(fake, "big", "1", big)
        before = shutil.disk_usage(small_disk).used
        lines = pull(engine.http, f"{fake.host}/big", "1")
        assert lines.error and "no space left on device" in lines.error.lower(), lines
        wait_for(lambda: shutil.disk_usage(small_disk).used < before + 500000, what="the space back")
        check(engine)
        assert engine.http.get(f"/images/{fake.host}/big:1/json").status == 404
        a = engine.http.post("/containers/create", body={"Image": f"{fake.host}/small:1", "Cmd": ["cat", "/x"]})
        assert a.status == 201, a
        assert engine.http.post(f"/containers/{a.json['Id']}/start").status == 204
        assert engine.http.post(f"/containers/{a.json['Id']}/wait").json["StatusCode"] == 0
        engine.http.delete("/containers/" + a.json["Id"], {"force": 1})
        put(fake, "other", "1", [busybox(), files(d=os.urandom(100).hex())])
        assert not pull(engine.http, f"{fake.host}/other", "1").error


def test_stop_does_not_wait_for_deletions(fresh):
    """What was removed is gone for everybody; deleting its files goes on at the next start."""
    engine = fresh()
    tar = rootfs.Tar().dir("d")
    for n in range(50000):
        tar.file(f"d/{n}", "")
    before = set(os.listdir(engine.data / "layers"))
    engine.import_tar(tar.bytes(), "t-many", "latest")
    assert engine.http.delete("/images/t-many").status == 200
    engine.stop()
    left = [n for n in os.listdir(engine.data / "tmp") if n.startswith("gone-")]
    assert left, "the end of the daemon waited until 50000 files were deleted"
    engine.start()
    assert set(os.listdir(engine.data / "layers")) == before
    wait_for(lambda: not os.listdir(engine.data / "tmp"), 30, what="the rest deleted behind the next start")
