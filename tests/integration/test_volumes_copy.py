# SPDX-License-Identifier: Apache-2.0
"""What a container finds in its volumes: the image's content on first use, sub-paths, the volumes of other containers."""
import io
import os
import stat
import subprocess
import tarfile

import pytest

import rootfs
from box import IS_DOCKERD, Box, Boxes, create
from caisson_fixture import wait_for

PATHENV = "ENV PATH=/bin"


@pytest.fixture(scope="module")
def images(engine):
    made = []

    def make(tar, *changes):
        name = f"t-copy-{len(made)}"
        engine.import_tar(tar if isinstance(tar, bytes) else tar.bytes(), name, "latest", [PATHENV, *changes])
        made.append(name)
        return name
    yield make
    for name in made:
        engine.http.delete(f"/images/{name}", {"force": 1}, rec=False)


def full_tree():
    """Everything that a directory may hold."""
    tar = rootfs.busybox()
    tar.dir("data", 0o1771, 7, 8).file("data/suid", "S", 0o4755, 3, 4).file("data/empty", "", 0o600)
    tar.hardlink("data/hard", "data/suid", 0o4755, 3, 4).symlink("data/abs", "/etc/passwd").symlink("data/dangling", "../nowhere")
    tar.dir("data/sub", 0o2750, 1 << 21, 1 << 22).file("data/sub/deep", "deep\n", 0o440, 1, 2).hardlink("data/sub/hard", "data/suid", 0o4755, 3, 4)
    tar.device("data/null", 1, 3, 0o622).fifo("data/pipe")
    info = tar._info("data/caps", tarfile.REGTYPE, 0o755)
    info.pax_headers = {"SCHILY.xattr.user.note": "remember", "SCHILY.xattr.security.capability": (b"\1\0\0\2\0\4\0\0" + bytes(12)).decode("latin-1")}
    info.size = 1
    tar.tar.addfile(info, io.BytesIO(b"c"))
    return tar.symlink("link", "data").symlink("abslink", "/data").dir("d").symlink("d/up", "../../../data").file("plain", "x")


@pytest.fixture(scope="module")
def full(images):
    return images(full_tree())


def volume_dir(engine, name):
    return engine.data / "volumes" / name / "_data"


def drop(http, *names):
    for name in names:
        http.delete(f"/volumes/{name}", {"force": 1}, rec=False)


@pytest.fixture
def names(http, boxes):
    made = []

    def one(name):
        made.append(name)
        return name
    yield one
    boxes.clean()
    drop(http, *made)


def via(kind, name, target, **more):
    """The same mount by Binds and by Mounts."""
    if kind == "Binds":
        opts = ["ro"] * bool(more.get("ro")) + ["nocopy"] * bool(more.get("nocopy"))
        return {"Binds": [":".join([name, target, *([",".join(opts)] if opts else [])])]}
    m = {"Type": "volume", "Source": name, "Target": target, "ReadOnly": bool(more.get("ro"))}
    if more.get("nocopy"):
        m["VolumeOptions"] = {"NoCopy": True}
    return {"Mounts": [m]}


@pytest.mark.parametrize("kind", ["Binds", "Mounts"])
def test_everything_is_copied(boxes, engine, full, names, kind):
    name = names("copy-full-" + kind.lower())
    boxes.create("true", image=full, Host=via(kind, name, "/data"))
    top = volume_dir(engine, name)

    def st(path=""):
        return os.lstat(top / path)
    owner = {p: (st(p).st_uid, st(p).st_gid, oct(stat.S_IMODE(st(p).st_mode))) for p in ("", "suid", "sub", "sub/deep")}
    assert owner == {"": (7, 8, "0o1771"), "suid": (3, 4, "0o4755"), "sub": (1 << 21, 1 << 22, "0o2750"), "sub/deep": (1, 2, "0o440")}
    assert st("suid").st_ino == st("hard").st_ino == st("sub/hard").st_ino and st("suid").st_nlink == 3
    assert (top / "suid").read_text() == "S" and (top / "sub/deep").read_text() == "deep\n" and st("empty").st_size == 0
    assert os.readlink(top / "abs") == "/etc/passwd" and os.readlink(top / "dangling") == "../nowhere"
    assert stat.S_ISCHR(st("null").st_mode) and os.major(st("null").st_rdev) == 1 and stat.S_IMODE(st("null").st_mode) == 0o622
    assert stat.S_ISFIFO(st("pipe").st_mode)
    for p in ("suid", "sub", "abs", "null") if not IS_DOCKERD else ("suid",):
        assert int(st(p).st_mtime) == 1600000000, p
    if not IS_DOCKERD:     # its import drops them
        assert os.getxattr(top / "caps", "user.note") == b"remember"
    assert sorted(os.listdir(top)) == ["abs", "caps", "dangling", "empty", "hard", "null", "pipe", "sub", "suid"]


@pytest.mark.caisson
def test_capability_is_copied(boxes, engine, images, names):
    tar = rootfs.busybox().dir("data")
    info = tar._info("data/caps", tarfile.REGTYPE, 0o755)
    info.pax_headers = {"SCHILY.xattr.security.capability": "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"}
    tar.tar.addfile(info)
    name = names("copy-caps")
    boxes.create("true", image=images(tar), Host={"Binds": [name + ":/data"]})
    assert os.getxattr(volume_dir(engine, name) / "caps", "security.capability") == b"\1\0\0\2\0\4\0\0" + bytes(12)


def test_sparse_stays_sparse(boxes, engine, images, names):
    """A hole in the image's file is a hole in the volume."""
    base = images(rootfs.busybox().dir("data"))
    b = boxes.run("dd if=/dev/zero of=/data/big bs=1 count=1 seek=500000000; echo end >> /data/big", image=base)
    a = engine.http.post("/commit", {"container": b.id, "repo": "t-copy-sparse"})
    if a.status != 201:
        pytest.skip("no commit here")
    name = names("copy-sparse")
    try:
        c = boxes.create("tail -c4 /data/big", image="t-copy-sparse", Host={"Binds": [name + ":/data"]})
        st = os.stat(volume_dir(engine, name) / "big")
        assert st.st_size == 500000005 and (st.st_blocks < 1000 or IS_DOCKERD)
        c.start().wait()
        assert c.out == "end\n"
        c.rm()
    finally:
        boxes.clean()
        engine.http.delete("/images/t-copy-sparse", {"force": 1})


@pytest.mark.parametrize("target", ["/link", "/abslink", "/d/up", "/d/../link", "/link/../data"])
def test_target_is_a_link_of_the_image(boxes, engine, full, names, target):
    """Resolved inside the image, also where it climbs: dockerd does so, and the mount lands there too."""
    name = names("copy-link")
    b = boxes.run("cat /data/sub/deep; ls /data | wc -l", image=full, Host={"Binds": [f"{name}:{target}"]})
    assert b.out == "deep\n9\n" and (volume_dir(engine, name) / "sub/deep").exists()


def test_volume_of_an_image_behind_a_link(boxes, images):
    ref = images(rootfs.busybox().dir("data", 0o700, 9, 9).file("data/f", "x").symlink("link", "/data"), "VOLUME /link")
    b = boxes.run("cat /data/f; stat -c %u:%a /link/", image=ref)
    assert b.out == "x9:700\n"


def test_layers_are_seen_as_one(boxes, engine, images, names):
    """What an upper layer deletes, replaces and adds."""
    base = images(rootfs.busybox().dir("data").file("data/gone", "x").file("data/kept", "old").dir("data/opaque").file("data/opaque/hidden", "x").file("data/was-file", "x")
                  .symlink("moved", "data"))
    b = boxes.run("cd /data; rm gone; echo new > kept; rm -r opaque; mkdir opaque; echo s > opaque/seen; rm was-file; mkdir was-file; touch was-file/in; rm /moved; mkdir /other; mv /data/kept /other; ln -s other /moved", image=base)
    a = engine.http.post("/commit", {"container": b.id, "repo": "t-copy-layers"})
    if a.status != 201:
        pytest.skip("no commit here")
    try:
        c = boxes.run("cd /data; find . | sort; cat /moved/kept", image="t-copy-layers", Host={"Binds": [names("copy-layers") + ":/data", names("copy-moved") + ":/moved"]})
        assert c.out == ".\n./opaque\n./opaque/seen\n./was-file\n./was-file/in\nnew\n"
        assert os.listdir(volume_dir(engine, "copy-moved")) == ["kept"]
    finally:
        boxes.clean()
        engine.http.delete("/images/t-copy-layers", {"force": 1})


@pytest.mark.parametrize("kind", ["Binds", "Mounts"])
def test_nocopy(boxes, engine, full, names, kind):
    name = names("copy-not-" + kind.lower())
    b = boxes.run("ls -A /data | wc -l", image=full, Host=via(kind, name, "/data", nocopy=True))
    if not IS_DOCKERD:     # 20.10 forgets it when the container is created
        assert b.out == "0\n"
    boxes.create("true", image=full, Host=via(kind, name, "/data"))   # the next one may
    assert (volume_dir(engine, name) / "sub/deep").exists()


@pytest.mark.parametrize("kind", ["Binds", "Mounts"])
def test_only_into_an_empty_one(boxes, engine, full, names, kind):
    name = names("copy-once-" + kind.lower())
    boxes.run("echo mine > /v/f", Host={"Binds": [name + ":/v"]})
    assert boxes.run("ls -A /data; stat -c %u /data", image=full, Host=via(kind, name, "/data")).out == "f\n0\n"


@pytest.mark.parametrize("kind", ["Binds", "Mounts"])
def test_read_only(boxes, full, names, kind):
    """It is filled, and then nobody can write."""
    b = boxes.run("cat /data/sub/deep; touch /data/x 2>&1", image=full, Host=via(kind, names("copy-ro-" + kind.lower()), "/data", ro=True))
    assert b.out.startswith("deep\n") and "Read-only" in b.out
    m = b.inspect()["Mounts"][0]
    assert (m["Type"], m["RW"], m["Driver"], m["Destination"], m["Propagation"]) == ("volume", False, "local", "/data", "")


def test_legacy_and_new_look_alike(boxes, names):
    """Everything inspect says about a volume, but the mode, is the same by either way."""
    name = names("copy-alike")
    seen = []
    for kind in ("Binds", "Mounts"):
        b = boxes.create("true", Host=via(kind, name, "/v/../w//x/"))
        m = b.inspect()["Mounts"]
        assert len(m) == 1
        seen.append(m[0])
    assert seen[0]["Mode"] == seen[1]["Mode"] == "z" and seen[0] == seen[1]
    assert seen[0]["Destination"] == "/w/x"


def test_a_file_is_no_place_for_a_volume(boxes, full, http):
    a = create(boxes.engine, "true", image=full, Host={"Binds": ["copy-file:/plain"]})
    assert a.status == 500 and a.message.startswith("source ") and a.message.endswith("/plain is not directory"), a
    a = create(boxes.engine, "true", image=full, Volumes={"/plain": {}})
    assert a.status == 500 and a.message.startswith("cannot mount volume over existing file, file exists ") and a.message.endswith("/plain"), a
    assert not [c for c in http.get("/containers/json", {"all": 1}).json if c["Image"] == full]
    assert http.get("/volumes/copy-file").status == 200     # named ones stay, as with dockerd
    drop(http, "copy-file")
    before = {v["Name"] for v in http.get("/volumes").json["Volumes"]}
    create(boxes.engine, "true", image=full, Volumes={"/plain": {}, "/data": {}, "/x": {}})
    assert {v["Name"] for v in http.get("/volumes").json["Volumes"]} == before   # anonymous ones go


def test_into_mounted_volumes(boxes, engine, http, full, names, tmp_path):
    """bind: filled as any other; tmpfs: the copy is gone before the first run, as with dockerd."""
    os.makedirs(tmp_path / "b")
    http.post("/volumes/create", body={"Name": names("copy-bind"), "DriverOpts": {"type": "none", "o": "bind", "device": str(tmp_path / "b")}})
    http.post("/volumes/create", body={"Name": names("copy-tmpfs"), "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}})
    assert boxes.run("cat /data/sub/deep", image=full, Host={"Binds": ["copy-bind:/data"]}).out == "deep\n"
    assert (tmp_path / "b/hard").stat().st_nlink == 3 and (tmp_path / "b").stat().st_uid == 7
    assert boxes.run("ls -A /data", image=full, Host={"Binds": ["copy-tmpfs:/data"]}).out == ""


def test_into_one_that_runs(boxes, full, names):
    """The other container sees the content appear: it keeps the directory that it has."""
    name = names("copy-live")
    a = boxes.sleeper(Host={"Binds": [name + ":/v"]})
    boxes.create("true", image=full, Host={"Binds": [name + ":/data"]})
    assert a.exec("cat /v/sub/deep; stat -c %u:%g:%a /v; stat -c %h /v/hard; touch /v/mine")[1] == "deep\n7:8:1771\n3\n"
    assert "mine" in boxes.run("ls /data", image=full, Host={"Binds": [name + ":/data"]}).out


# sub-paths ---------------------------------------------------------------------------------------------------------------

def sub(name, path, **more):
    return {"Mounts": [{"Type": "volume", "Source": name, "Target": "/data", "VolumeOptions": {"Subpath": path, **more}}]}


@pytest.mark.caisson
def test_subpath(boxes, engine, full, names):
    name = names("copy-sub")
    boxes.run("mkdir -p /v/a/b /v/full; touch /v/full/x", Host={"Binds": [name + ":/v"]})
    assert boxes.run("cat sub/deep; pwd", image=full, WorkingDir="/data", Host=sub(name, "a/b")).out == "deep\n/data\n"
    assert (volume_dir(engine, name) / "a/b/sub/deep").exists() and sorted(os.listdir(volume_dir(engine, name))) == ["a", "full"]
    assert boxes.run("ls /data", image=full, Host=sub(name, "full")).out == "x\n"
    b = boxes.create("true", image=full, Host=sub(name, "missing"))
    a = b.post("start")
    assert a.status == 400 and "cannot access path" in a.message and a.message.endswith("no such file or directory")
    boxes.run("mkdir /v/missing", Host={"Binds": [name + ":/v"]})
    assert b.start().wait() == 0      # it may come later
    assert boxes.run("ls -A /data", image=full, Host=sub(name, "missing", NoCopy=True)).out == ""


@pytest.mark.caisson
@pytest.mark.parametrize("path", ["/abs", "..", "a/../../b", "../x"])
def test_subpath_is_checked(boxes, path):
    a = create(boxes.engine, "true", Host=sub("copy-sub-bad", path))
    assert a.status == 400 and "subpath must be a relative path within the volume" in a.message
    assert boxes.engine.http.get("/volumes/copy-sub-bad").status == 404


# volumes-from -------------------------------------------------------------------------------------------------------------

def table(box):
    return {m["Destination"]: (m["Type"], m.get("Name"), m["RW"], m["Mode"]) for m in box.inspect()["Mounts"]}


def test_volumes_from(boxes, http, names, tmp_path):
    a = boxes.run("echo A > /v/f; echo B > /b/f; echo C > /anon/f", Volumes={"/anon": {}}, Host={"Binds": [names("vf-1") + ":/v", f"{tmp_path}:/b"]})
    script = "cat /v/f /b/f /anon/f; touch /v/x 2>&1 && echo writes"
    b = boxes.run(script, Host={"VolumesFrom": [a.id]})     # it has ended: no matter
    assert b.out == "A\nB\nC\nwrites\n" and table(b) == {d: (*m[:3], "") for d, m in table(a).items()}
    c = boxes.run(script, Host={"VolumesFrom": [a.id + ":ro"]})
    assert c.out.startswith("A\nB\nC\n") and "Read-only" in c.out and table(c) == {d: (*m[:2], False, "") for d, m in table(a).items()}
    d = boxes.create("true", Host={"VolumesFrom": [c.id + ":rw"]})     # what is read-only there stays it
    assert not any(m[2] for m in table(d).values())
    anonymous = table(a)["/anon"][1]
    a.rm()
    assert http.get(f"/volumes/{anonymous}").status == 200      # others have it
    assert boxes.run("cat /anon/f", Host={"VolumesFrom": [b.id]}).out == "C\n"
    boxes.clean()
    assert http.get(f"/volumes/{anonymous}").status == 404      # the last one takes it along


def test_volumes_from_order(boxes, names):
    """Several: the later wins; what the container itself says wins over all."""
    a = boxes.create("true", Host={"Binds": [names("vf-a") + ":/v", names("vf-a2") + ":/only-a"]})
    b = boxes.create("true", Host={"Binds": [names("vf-b") + ":/v", "vf-b:/w"]})
    c = boxes.create("true", Volumes={"/v": {}, "/new": {}}, Host={"VolumesFrom": [a.id, b.id], "Binds": [names("vf-c") + ":/w"]})
    t = table(c)
    assert (t["/v"][1], t["/w"][1], t["/only-a"][1]) == ("vf-b", "vf-c", "vf-a2") and len(t["/new"][1]) == 64 and len(t) == 4


def test_volumes_from_does_not_fill(boxes, full, names):
    name = names("vf-empty")
    a = boxes.create("true", Host={"Binds": [name + ":/data"]})
    assert boxes.run("ls -A /data", image=full, Host={"VolumesFrom": [a.id]}).out == ""


@pytest.mark.parametrize("spec,status,message", [
    ("nosuch", 400, "No such container: nosuch"), ("{a}:bogus", 400, "invalid mode: bogus"), ("{a}:ro,rw", 400, "invalid mode: ro,rw"),
    ("{a}:nocopy", 400, "invalid mode: nocopy"), ("{a}:shared", 400, "invalid mode: shared"), ("", 400, "volumes-from specification cannot be an empty string"),
])
def test_volumes_from_refused(boxes, spec, status, message):
    a = boxes.create("true")
    r = create(boxes.engine, "true", Host={"VolumesFrom": [spec.format(a=a.id)]})
    assert (r.status == status or IS_DOCKERD and not spec) and message in r.message, r


@pytest.mark.caisson
def test_volumes_from_passes_over_tmpfs(boxes, names):
    """dockerd 20.10 fails: "get: no such volume"."""
    a = boxes.create("true", Host={"Binds": [names("vf-t") + ":/v"], "Mounts": [{"Type": "tmpfs", "Target": "/t"}]})
    assert set(table(boxes.create("true", Host={"VolumesFrom": [a.id]}))) == {"/v"}


def test_docker_command(engine, full, http):
    run = ["run", "--network=none"]
    out = engine.cli(*run, "--name", "cli-from", "-v", "/anon", "-v", "cli-named:/data:ro", full, "sh", "-c", "cat /data/sub/deep; touch /anon/f")
    assert out.stdout == "deep\n", out
    assert engine.cli(*run, "--rm", "--volumes-from", "cli-from:ro", full, "sh", "-c", "ls /anon; cat /data/sub/deep").stdout == "f\ndeep\n"
    out = engine.cli(*run, "--rm", "--mount", "source=cli-m,target=/data,readonly", "--mount", "type=volume,src=cli-n,dst=/n,volume-nocopy,volume-label=a=b", full, "ls", "/data/sub")
    assert out.stdout == "deep\nhard\n", out
    assert http.get("/volumes/cli-n").json["Labels"] == {"a": "b"}
    engine.cli("rm", "-v", "cli-from", check=True)
    for name in ("cli-named", "cli-m", "cli-n"):
        engine.cli("volume", "rm", name, check=True)


# trouble ------------------------------------------------------------------------------------------------------------------

@pytest.mark.caisson
@pytest.mark.host_mounts
def test_full_disk(fresh, tmp_path):
    """The copy does not fit: the creation fails, nothing of it stays, and what is there works on."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)], check=True)
    try:
        engine = fresh(prepare=False)
        engine.stop()
        os.rmdir(engine.data / "volumes")
        os.symlink(small, engine.data / "volumes")      # volumes on a disk of their own
        engine.start()
        boxes = Boxes(engine)
        engine.import_tar(rootfs.busybox().dir("data").file("data/big", bytes(range(256)) * 4 * 9000).bytes(), "t-big", "latest", [PATHENV])
        before = os.listdir(small)
        for host, volumes in (({"Binds": ["filled:/data"]}, None), ({}, {"/data": {}})):
            a = create(engine, "true", image="t-big", Host=host, Volumes=volumes)
            assert a.status in (500, 507) and "no space left on device" in a.message.lower(), a
        assert engine.http.get("/containers/json", {"all": 1}).json == []
        assert os.listdir(small / "filled/_data") == []
        wait_for(lambda: set(os.listdir(small)) - set(before) == {"filled"}, what="the rest deleted")
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        assert boxes.run("stat -c %s /data/big", image="t-big", Host={"Binds": ["filled:/data"]}).out == "9216000\n"
        boxes.clean()
        assert engine.http.delete("/volumes/filled").status == 204
        wait_for(lambda: subprocess.run(["mount", "-o", "remount,ro", str(small)]).returncode == 0, what="nothing is deleted behind the answer any more")
        a = engine.http.post("/volumes/create", body={"Name": "cannot"})
        assert a.status == 500 and "ead-only file system" in a.message and engine.http.get("/volumes/cannot").status == 404
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


@pytest.mark.caisson
def test_deep_tree(boxes, engine, images, names):
    """As deep as it goes, and one that is refused: neither ends the daemon."""
    for depth, status in ((150, 201), (400, 500)):
        tar = rootfs.busybox()
        for n in range(1, depth + 1):
            tar.dir("d/" * n)
        tar.file("d/" * depth + "f", "deep")
        name = names(f"copy-depth-{depth}")
        a = create(engine, "true", image=images(tar), Host={"Binds": [name + ":/d"]})
        assert a.status == status, a
        if status == 201:
            boxes.made.append(Box(engine, a.json["Id"]))
            assert (volume_dir(engine, name) / ("d/" * (depth - 1)) / "f").read_text() == "deep"
        else:
            assert os.listdir(volume_dir(engine, name)) == [] and "nested deeper" in a.message
