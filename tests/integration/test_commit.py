# SPDX-License-Identifier: Apache-2.0
"""POST /commit: what a container has written becomes an image."""
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

import rootfs
import trees
from box import IS_DOCKERD, Events
from caisson_fixture import ROOTFS, wait_for
from test_export import export


@pytest.fixture
def commit(http):
    """commit(box, **query) -> image id; images go after the test."""
    made = []

    def do(box, body=None, **query):
        a = http.post("/commit", {"container": box.id, **query}, body)
        assert a.status == 201, a
        made.append(a.json["Id"])
        return a.json["Id"]
    yield do
    for ident in reversed(made):
        http.delete(f"/images/{ident}", {"force": 1})


def image(http, ident, version="1.44"):
    a = http.get(f"/images/{ident}/json", version=version if not IS_DOCKERD else None)
    assert a.status == 200, a
    return a.json


def test_the_image_has_what_the_container_had(http, boxes, commit):
    box = boxes.run("echo 1 > /new; rm /bin/ls; rm -r /home; mkdir /home; echo 2 > /home/x; chmod 4711 /etc/group; ln /new /hard; ln -s new /soft; mkfifo /p; "
                    "mknod /null c 1 3; chown -h 7:8 /soft; mkdir -m 1777 /sticky")
    ident = commit(box, repo="t-commit", tag="one")
    again = boxes.run("cat /new /home/x; ls /home; [ -e /bin/ls ] && echo still; stat -c '%a %h' /etc/group /hard; readlink /soft; stat -c %F /p; "
                      "stat -c '%t %T' /null; stat -c %u:%g /soft; stat -c %a /sticky", image="t-commit:one")
    out = again.out.splitlines()
    assert out[:2] == ["1", "2"] and "still" not in out
    assert out[2:] == ["4711 1", "644 2", "new", "fifo", "1 3", "7:8", "1777"] or out[2:] == ["x", "4711 1", "644 2", "new", "fifo", "1 3", "7:8", "1777"]
    i = image(http, ident)
    assert i["RepoTags"] == ["t-commit:one"] and i["Parent"] == image(http, ROOTFS)["Id"]
    assert len(i["RootFS"]["Layers"]) == 2 and i["RootFS"]["Layers"][0] == image(http, ROOTFS)["RootFS"]["Layers"][0]


def test_metadata(http, boxes, commit):
    box = boxes.run("echo $0 > /x", Labels={"own": "label"}, Env=["A=1"])
    ident = commit(box, author="Me <me@example.org>", comment="some words")
    i, h = image(http, ident), http.get(f"/images/{ident}/history").json
    assert (i["Author"], i["Comment"], i["Container"]) == ("Me <me@example.org>", "some words", box.id)
    assert i["Config"]["Labels"] == {"own": "label"} and "A=1" in i["Config"]["Env"] and i["Config"]["Cmd"] == ["sh", "-c", "echo $0 > /x"]
    assert i["ContainerConfig"]["Cmd"] == i["Config"]["Cmd"] and i["Architecture"] and i["Os"] == "linux"
    assert h[0]["CreatedBy"] == "sh -c echo $0 > /x" and h[0]["Comment"] == "some words" and h[0]["Size"] > 0
    assert h[1]["Comment"] == "Imported from -"


def test_nothing_changed(http, boxes, commit):
    """No layer, but an entry in the history."""
    box = boxes.create("true")
    i = image(http, commit(box))
    assert i["RootFS"]["Layers"] == image(http, ROOTFS)["RootFS"]["Layers"]
    assert http.get(f"/images/{i['Id']}/history").json[0]["Size"] == 0


def test_mount_points_of_the_engine_are_no_change(http, boxes, commit, tmp_path):
    box = boxes.run("echo 1 > /etc/hosts; touch /vol/x", Volumes={"/vol": {}}, Host={"Binds": [f"{tmp_path}:/mnt/b"]})
    again = boxes.run("ls /vol /mnt/b; wc -c < /etc/resolv.conf", image=commit(box))
    assert "x" not in again.out.split()


@pytest.mark.parametrize("changes,want", [
    (['CMD ["a"]'], {"Cmd": ["a"]}),
    (['ENTRYPOINT ["e"]'], {"Entrypoint": ["e"], "Cmd": None}),
    (['CMD ["c"]', 'ENTRYPOINT ["e"]'], {"Entrypoint": ["e"], "Cmd": ["c"]}),
    (["ENV B=2 C=$A"], {"Env": ["A=1", "PATH=/bin", "B=2", "C=1"]}),
    (["ENV B=2\nUSER app\n# comment\nWORKDIR \\\n /w"], {"User": "app", "WorkingDir": "/w"}),
    (["LABEL x=y"], {"Labels": {"own": "label", "x": "y"}}),
    (["EXPOSE 80", "VOLUME /v"], {"ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}}}),
    (["ONBUILD RUN x"], {"OnBuild": ["RUN x"]}),
])
def test_changes(http, boxes, commit, changes, want):
    box = boxes.create(["orig"], Labels={"own": "label"}, Env=["A=1"])
    cfg = image(http, commit(box, changes=changes))["Config"]
    assert {k: cfg.get(k) for k in want} == want


def test_config_in_the_body(http, boxes, commit):
    box = boxes.create(["orig"], Labels={"own": "label"}, User="app")
    cfg = image(http, commit(box, body={"Env": ["Z=1"], "Labels": {"q": "w"}, "ExposedPorts": {"80/tcp": {}}, "Cmd": ["new"]}))["Config"]
    assert cfg["Env"] == ["Z=1", "PATH=/bin"] and cfg["Labels"] == {"q": "w", "own": "label"} and cfg["Cmd"] == ["new"] and cfg["User"] == "app"


@pytest.mark.parametrize("query,status,text", [
    ({"container": "nosuch"}, 404, "No such container: nosuch"),
    ({"changes": "RUN x"}, 400, "is not a valid change command"),
    ({"changes": ""}, 400, "file with no instructions"),
    ({"changes": "ENV"}, 400, "ENV requires at least one argument"),
    ({"repo": "BAD"}, 400 if not IS_DOCKERD else 500, "must be lowercase"),
    ({"repo": "x", "tag": "bad tag"}, 400 if not IS_DOCKERD else 500, "invalid tag format"),
    ({"repo": "x@sha256:" + "a" * 64}, 400, "digest reference"),
])
def test_errors(http, boxes, query, status, text):
    box = boxes.create("true")
    before = {i["Id"] for i in http.get("/images/json", {"all": 1}).json}
    a = http.post("/commit", {"container": box.id, **query})
    assert a.status == status and text in a.message, a
    if not IS_DOCKERD:
        assert {i["Id"] for i in http.get("/images/json", {"all": 1}).json} == before


def test_bad_body(http, boxes):
    box = boxes.create("true")
    assert http.post("/commit", {"container": box.id}, body="{bad", headers={"Content-Type": "application/json"}).status in (400, 500)
    assert http.post("/commit", {"container": box.id}, body="{}", headers={"Content-Type": "text/plain"}).status == 400


def test_events(engine, boxes, commit):
    box = boxes.sleeper()
    events = Events(engine)
    ident = commit(box, repo="t-commit-events", comment="c")
    e = events.until("commit", box.id)
    attrs = e["Actor"]["Attributes"]
    assert (attrs["comment"], attrs["imageID"]) == ("c", ident)
    assert attrs["imageRef"] == "t-commit-events" + (":latest" if not IS_DOCKERD else "")
    assert events.until("tag", ident)["Actor"]["Attributes"]["name"] == attrs["imageRef"]
    events.until("pause", box.id)
    events.until("unpause", box.id)


def test_no_pause(engine, boxes, commit):
    box = boxes.sleeper()
    events = Events(engine)
    commit(box, pause=False)
    events.until("commit", box.id)
    assert not [e for e in events.seen if e["Action"] == "pause"]
    assert box.state["Status"] == "running"


def test_paused_by_its_user(boxes, commit):
    box = boxes.sleeper()
    assert box.post("pause").status == 204
    commit(box)
    assert box.state["Paused"]
    assert box.post("unpause").status == 204


def test_paused_is_really_paused(boxes, commit):
    """Two counters that are written one after the other: an image must not see the later one ahead."""
    box = boxes.sleeper()
    box.exec("(i=0; while :; do i=$((i+1)); echo $i > /a.tmp; mv /a.tmp /a; echo $i > /z.tmp; mv /z.tmp /z; done) > /dev/null 2>&1 &")
    wait_for(lambda: box.exec("cat /z")[0] == 0, what="counting")
    for _ in range(5):
        ident = commit(box)
        a, z = (int(x) for x in boxes.run("cat /a /z", image=ident).out.split())
        assert a - 1 <= z <= a, (a, z)
    assert box.state["Status"] == "running"


@pytest.mark.caisson
def test_two_commits_at_once(http, boxes, commit):
    """The first one to end must not let the container go on under the other."""
    import threading
    box = boxes.sleeper()
    assert box.exec("dd if=/dev/zero of=/big bs=1M count=100 2>/dev/null")[0] == 0
    done = []
    threads = [threading.Thread(target=lambda: done.append(commit(box))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(done)) == 4 and box.state["Status"] == "running"
    assert len({image(http, i)["RootFS"]["Layers"][1] for i in done}) == 1


def test_chain(http, boxes, commit):
    """Commit of a container of a committed image, three deep, with deletions of what a layer in the middle brought."""
    ident = ROOTFS
    for n in range(1, 4):
        box = boxes.run(f"touch /f{n}; rm -f /f{n - 1}; rm -rf /d; mkdir /d; touch /d/{n}", image=ident)
        ident = commit(box)
    out = boxes.run("echo /f* /d/*", image=ident).out.split()
    assert out == ["/f3", "/d/3"]
    assert len(image(http, ident)["RootFS"]["Layers"]) == 4


@pytest.mark.caisson
def test_deterministic(http, boxes, commit):
    box = boxes.run("for i in 1 2 3 4 5 6 7 8 9; do mkdir -p /d/$i; echo $i > /d/$i/f; done")
    layers = {tuple(image(http, commit(box))["RootFS"]["Layers"]) for _ in range(3)}
    assert len(layers) == 1


@pytest.mark.caisson
def test_reserved_names_are_refused(http, boxes):
    """In dockerd such a file silently becomes a deletion."""
    box = boxes.run("touch /bin/.wh.cat")
    a = http.post("/commit", {"container": box.id})
    assert a.status == 400 and "bin/.wh.cat" in a.message and "rename" in a.message, a


def test_removed_image(http, boxes, engine):
    """The container's image has been removed by force."""
    engine.import_tar(rootfs.busybox().file("u", "1").bytes(), "t-gone")
    box = boxes.run("touch /x", image="t-gone")
    assert http.delete("/images/t-gone", {"force": 1}).status in (200, 409)
    a = http.post("/commit", {"container": box.id})
    assert a.status in (201, 404) + ((500,) if IS_DOCKERD else ()), a
    if a.status == 201:
        http.delete("/images/" + a.json["Id"], {"force": 1})


@pytest.mark.caisson
def test_removed_while_committed(engine, http, boxes):
    """An image has all of a container, or there is none."""
    import threading
    before = {i["Id"] for i in http.get("/images/json", {"all": 1}).json}
    for n in range(6):
        box = boxes.run("i=0; while [ $i -lt 600 ]; do i=$((i+1)); echo $i > /f$i; done; dd if=/dev/urandom of=/a bs=1M count=20 2>/dev/null")
        answers = []
        t = threading.Thread(target=lambda: answers.append(http.post("/commit", {"container": box.id})))
        t.start()
        wait_for(lambda: os.listdir(engine.data / "tmp") or answers, what="begun", step=0.001)
        time.sleep(n * 0.02)
        assert box.rm().status == 204
        t.join()
        a = answers[0]
        if a.status == 201:
            assert boxes.run("ls / | grep -c '^f[0-9]'", image=a.json["Id"]).out == "600\n"
            boxes.clean()
            http.delete("/images/" + a.json["Id"], {"force": 1})
        else:
            assert a.status in (404, 409), a
    assert {i["Id"] for i in http.get("/images/json", {"all": 1}).json} == before


@pytest.mark.caisson
def test_failure_leaves_nothing(engine, http, boxes):
    box = boxes.run("dd if=/dev/zero of=/big bs=1M count=5 2>/dev/null; touch /zz.; mkdir /zzz; touch /zzz/.wh.x")
    data = Path(engine.data)

    def held():
        return sorted(p.relative_to(data) for d in ("content/blobs/sha256", "layers", "tmp") for p in (data / d).iterdir())
    wait_for(lambda: not any((data / "tmp").iterdir()), what="what earlier tests removed is gone")
    before = held()
    for _ in range(3):
        assert http.post("/commit", {"container": box.id}).status == 400
    wait_for(lambda: held() == before, what="nothing left of a failed commit")


@pytest.mark.caisson
def test_everything_in_a_layer(engine, http, boxes, commit, tmp_path):
    """What a container may write: committed, run, and exported, it is the same tree."""
    box = boxes.create(["none"])
    upper = next(Path(engine.data, "snapshots", box.id).glob("upper"))
    trees.build(upper)
    os.mknod(upper / "sock", 0o140644)
    image_id = commit(box, repo="t-layer")
    (upper / "sock").unlink()
    trees.untar(export(boxes.create(["none"], image=image_id)), tmp_path / "back")
    want, got = trees.describe(upper), trees.describe(tmp_path / "back")
    assert trees.differences(want, {k: v for k, v in got.items() if k in want}) == []
    # the blob is what the others read, too
    digest = http.get(f"/images/{image_id}/json").json["RootFS"]["Layers"][-1]
    index = json.loads(Path(engine.data, "content/index.json").read_text())
    blob = next(m for m in index["manifests"] if m.get("annotations", {}).get("io.containerd.image.name", "").endswith("t-layer:latest"))
    layer = json.loads(Path(engine.data, "content/blobs/sha256", blob["digest"][7:]).read_text())["layers"][-1]
    packed = Path(engine.data, "content/blobs/sha256", layer["digest"][7:]).read_bytes()
    assert layer["mediaType"].endswith("tar+gzip") and len(packed) == layer["size"]
    plain = subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True).stdout
    assert "sha256:" + hashlib.sha256(plain).hexdigest() == digest
    assert b"sock" not in subprocess.run(["tar", "-t"], input=plain, capture_output=True, check=True).stdout.split()


def test_cli(engine, boxes):
    box = boxes.run("echo hi > /f")
    out = engine.cli("commit", "-m", "words", "-a", "me", "-c", 'CMD ["cat", "/f"]', box.id, "t-cli:x", check=True)
    assert out.stdout.startswith("sha256:")
    assert engine.cli("run", "--rm", "--network=none", "t-cli:x", check=True).stdout == "hi\n"
    engine.cli("rmi", "-f", "t-cli:x", check=True)


@pytest.mark.caisson
@pytest.mark.skipif(not shutil.which("skopeo"), reason="no skopeo")
def test_skopeo_reads_it(engine, boxes, commit, tmp_path):
    """Out of our content store into a Docker archive: every digest is verified, the layer unpacked by Go's reader."""
    box = boxes.run("echo hi > /f; rm /bin/ls; rm -r /home; mkdir /home")
    commit(box, repo="t-skopeo", tag="only-one")
    subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", f"oci:{engine.data}/content:docker.io/library/t-skopeo:only-one", f"docker-archive:{tmp_path}/a.tar:x:y"],
                   capture_output=True, text=True, check=True)
    names = []
    with tarfile.open(tmp_path / "a.tar") as outer:
        layers = json.load(outer.extractfile("manifest.json"))[0]["Layers"]
        with tarfile.open(fileobj=outer.extractfile(layers[-1])) as inner:
            names = inner.getnames()
    assert names == ["bin", "bin/.wh.ls", "f", "home", "home/.wh..wh..opq"]
