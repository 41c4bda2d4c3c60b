# SPDX-License-Identifier: Apache-2.0
"""system check: what a crash, a full disk or a person left is told, put right on request, and nothing that is needed goes (moby#21925)."""
import json
import os
import sqlite3
import subprocess
import threading

import pytest

import caisson_fixture as fx
import images
from registry import Fake

pytestmark = pytest.mark.caisson


@pytest.fixture
def own():
    """An engine of our own: its data root is damaged on purpose."""
    e = fx.Engine()
    e.start().prepare()
    yield e
    e.close()


def check(engine, **query):
    r = engine.http.post("/system/check", query, rec=False)
    assert r.status == 200, r
    return r.json


def kinds(answer):
    return sorted(p["Kind"] for p in answer["Problems"])


def names(engine):
    return engine.http.get("/images/json", rec=False).json


def runs(engine):
    a = engine.http.post("/containers/create", body={"Image": fx.ROOTFS, "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}, rec=False)
    assert a.status == 201, a
    c = a.json["Id"]
    a = engine.http.post(f"/containers/{c}/start", rec=False)
    assert a.status == 204, a
    code = engine.http.post(f"/containers/{c}/wait", rec=False).json["StatusCode"]
    engine.http.delete(f"/containers/{c}", rec=False)
    return code == 0


def old(path):
    os.utime(path, (1, 1))


def test_nothing_to_find(own):
    assert check(own, deep=1) == {"Problems": [], "Found": 0, "Repaired": 0}


def test_rubbish_is_told_and_removed(own):
    up = own.http.post("/containers/create", body={"Image": fx.ROOTFS, "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}}, rec=False).json["Id"]
    own.http.post(f"/containers/{up}/start", rec=False)
    (own.data / "layers" / ("a" * 64) / "diff").mkdir(parents=True)
    (own.data / "layers" / ("b" * 64)).mkdir()
    (own.data / "content/blobs/sha256" / ("c" * 64)).write_text("nobody's")
    (own.data / "content/blobs/sha256/readme").write_text("no blob")
    snap = own.data / "snapshots" / ("d" * 64)
    for sub in ("upper", "work"):
        (snap / sub).mkdir(parents=True)
    old(snap)
    young = own.data / "snapshots" / ("e" * 64)     # a container that is being made
    for sub in ("upper", "work"):
        (young / sub).mkdir(parents=True)
    (own.data / "tmp/layer-1-1").mkdir()
    before = sorted(i["Id"] for i in names(own))
    told = check(own)
    assert kinds(told) == ["blob-unused", "foreign", "layer-damaged", "layer-unused", "snapshot-unused", "tmp"], told
    assert told["Found"] == 6 and told["Repaired"] == 0 and snap.exists()
    told = check(own, repair=1)
    assert (told["Found"], told["Repaired"]) == (6, 6), told
    assert check(own) == {"Problems": [], "Found": 0, "Repaired": 0}
    assert young.exists() and not snap.exists() and sorted(i["Id"] for i in names(own)) == before
    assert runs(own) and own.http.get(f"/containers/{up}/json", rec=False).json["State"]["Running"]
    young_dir = str(young)
    subprocess.run(["rm", "-rf", young_dir], check=True)


def test_damaged_content(own):
    blobs = own.data / "content/blobs/sha256"
    small = [json.loads(p.read_text()) for p in blobs.iterdir() if p.stat().st_size < 20000 and p.read_bytes()[:1] == b"{"]
    layer = next(m for m in small if "layers" in m)["layers"][0]["digest"].split(":")[1]
    blob = blobs / layer
    blob.chmod(0o600)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    assert check(own)["Found"] == 0                 # a quick look does not read it
    told = check(own, deep=1)
    assert kinds(told) == ["blob-damaged"] and told["Problems"][0]["Name"] == "sha256:" + layer, told
    told = check(own, deep=1, repair=1)
    assert told["Problems"][0]["Repaired"] and not blob.exists()
    assert runs(own)                                # its files are extracted, so it still runs


@pytest.mark.parametrize("text", ["", "{", '{"schemaVersion":2,"manifests":[]}x', '{"schemaVersion":2,"manifests":[{"digest":"sha256:' + "f" * 64 + '","size":3}]}'])
def test_index(own, text):
    index = own.data / "content/index.json"
    want = index.read_text()
    index.write_text(text)
    assert kinds(check(own)) == ["index"]
    assert check(own, repair=1)["Repaired"] == 1
    assert index.read_text() == want


def test_lost_files(own):
    c = own.http.post("/containers/create", body={"Image": fx.ROOTFS, "Cmd": ["true"]}, rec=False).json["Id"]
    subprocess.run(["rm", "-rf", own.data / "snapshots" / c / "upper"], check=True)
    assert "container" in kinds(check(own))
    for layer in (own.data / "layers").iterdir():
        subprocess.run(["rm", "-rf", layer / "diff"], check=True)
    told = check(own)
    assert {"image", "layer-damaged", "snapshot-parent"} <= set(kinds(told)), told


def test_unreadable_container(own):
    """A row that cannot be read (damaged, or of a later version) is left alone, and so is all that may be its container's."""
    a = own.http.post("/containers/create", body={"Image": fx.ROOTFS, "Cmd": ["true"], "Volumes": {"/v": {}}}, rec=False)
    assert a.status == 201, a
    c = a.json["Id"]
    volume = own.http.get(f"/containers/{c}/json", rec=False).json["Mounts"][0]["Name"]

    def set_row(text):
        own.stop()
        db = sqlite3.connect(own.data / "caisson.db")
        with db:
            was = db.execute("select config from containers where id = ?", (c,)).fetchone()[0]
            db.execute("update containers set config = ? where id = ?", (text, c))
        db.close()
        own.start()
        return was
    row = set_row("{")
    assert own.http.get(f"/containers/{c}/json", rec=False).status == 404
    old(own.data / "snapshots" / c)
    check(own, repair=1)
    assert (own.data / "snapshots" / c / "upper").is_dir()
    assert own.http.post("/volumes/prune", rec=False).json["SpaceReclaimed"] == 0
    assert (own.data / "volumes" / volume / "_data").is_dir()
    set_row(row)
    assert own.http.get(f"/containers/{c}/json", rec=False).status == 200


def test_repairs_beside_pulls_and_creates(own):
    """What is on its way counts as needed: forty repairs while images come and go."""
    done, failed = threading.Event(), []

    def repair():
        while not done.is_set():
            told = check(own, repair=1)
            failed.extend(p for p in told["Problems"] if p["Kind"] not in ("blob-unused", "layer-unused"))

    with Fake() as fake:
        busy = threading.Thread(target=repair)
        busy.start()
        try:
            for i in range(15):
                name = f"{fake.host}/check/i{i % 3}"
                images.put(fake, f"check/i{i % 3}", "1", [images.files(f=os.urandom(20000)), images.busybox()])
                lines = images.pull(own.http, name, "1")
                assert not lines.error, lines
                assert runs(own)
                assert own.http.delete(f"/images/{name}:1", rec=False).status == 200
        finally:
            done.set()
            busy.join()
    assert not failed, failed
    assert runs(own)


def test_client(own):
    env = {"PATH": os.environ["PATH"], "CAISSON_HOST": f"unix://{own.sock}"}

    def run(*args):
        return subprocess.run([str(fx.BUILD / "caisson"), "system", "check", *args], env=env, text=True, capture_output=True, timeout=60, check=False)
    assert (run().returncode, run().stdout) == (0, "0 problems, 0 repaired\n")
    (own.data / "layers" / ("a" * 64) / "diff").mkdir(parents=True)
    r = run()
    assert r.returncode == 1 and "layer-unused" in r.stdout and r.stdout.endswith("1 problems, 0 repaired\n")
    assert run("--repair").returncode == 0 and run().returncode == 0


@pytest.mark.parametrize("harm", ["content", "mode", "owner", "time", "gone", "more", "whiteout"])
def test_files_of_a_layer(own, harm):
    """What somebody did to the files that containers see is found, although the blobs are whole."""
    with Fake() as fake:
        tar = images.rootfs.Tar().file("implied/f", "one").file("g", "two").symlink("l", "g").hardlink("h", "g").file(".wh.gone", "").file("o/.wh..wh..opq", "")
        layer = images.Layer(tar.bytes())
        images.put(fake, "files", "1", [layer])
        assert not images.pull(own.http, f"{fake.host}/files", "1").error
        assert check(own, deep=1)["Problems"] == []
        at = own.data / "layers" / layer.diff[7:] / "diff"
        st = os.stat(at / "implied/f")
        if harm == "content":
            (at / "implied/f").write_text("eno")
            os.utime(at / "implied/f", ns=(st.st_atime_ns, st.st_mtime_ns))
        elif harm == "mode":
            os.chmod(at / "g", 0o777)
        elif harm == "owner":
            os.lchown(at / "l", 1, 0)
        elif harm == "time":
            os.utime(at / "implied/f", ns=(st.st_atime_ns, st.st_mtime_ns + 1))
        elif harm == "gone":
            os.unlink(at / "h")
        elif harm == "more":
            (at / "o/x").write_text("")
        else:
            os.unlink(at / "gone")
        assert check(own)["Problems"] == [], "only --deep reads files"
        found = check(own, deep=1, repair=1)
        assert [(p["Kind"], p["Name"], p["Repaired"]) for p in found["Problems"]] == [("layer-files", layer.diff, False)], found
        assert layer.digest in found["Problems"][0]["Text"]
        own.http.delete(f"/images/{fake.host}/files:1")
        assert not images.pull(own.http, f"{fake.host}/files", "1").error
        assert check(own, deep=1)["Problems"] == [] and not os.listdir(own.data / "tmp")
