# SPDX-License-Identifier: Apache-2.0
"""GET /containers/x/export: the container's own files, whether it runs or not."""
import hashlib
import http.client
import io
import os
import subprocess
import tarfile

import pytest

import rootfs
import trees
from box import IS_DOCKERD, Events
from caisson_fixture import wait_for


def export(box, timeout=60):
    a = box.http.get(box.url + "/export", rec=False, timeout=timeout)
    assert a.status == 200, a
    return a.body


def members(data):
    return {m.name: m for m in tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape")}


@pytest.fixture
def everything(engine, tmp_path):
    """An image of a tree with everything, and the tree."""
    trees.build(tmp_path / "tree", rich=not IS_DOCKERD)
    engine.import_tar(trees.tar(tmp_path / "tree"), "t-everything", changes=['CMD ["none"]'])
    yield tmp_path / "tree"
    engine.http.delete("/images/t-everything", {"force": 1})


def test_no_such_container(http):
    a = http.get("/containers/nosuch/export")
    assert a.status == 404 and a.message == "No such container: nosuch"


def test_content_type_and_event(engine, boxes):
    box = boxes.create("true")
    events = Events(engine)
    a = box.http.get(box.url + "/export", rec=False)
    assert a.headers["Content-Type"] == "application/octet-stream"
    assert events.until("export", box.id)["Type"] == "container"


def test_changes_of_the_container_are_there(boxes):
    box = boxes.sleeper()
    assert box.exec("echo new > /new; rm /bin/ls; mkdir -p /d/e; ln -s x /link; chmod 600 /etc/group")[0] == 0
    for data in (export(box), (box.kill(), box.wait(), export(box))[2]):
        m = members(data)
        assert tarfile.open(fileobj=io.BytesIO(data)).extractfile("new").read() == b"new\n"
        assert "bin/ls" not in m and "bin/cat" in m and m["d/e"].isdir() and m["link"].linkname == "x"
        assert m["etc/group"].mode & 0o777 == 0o600
        assert not any(os.path.basename(n).startswith(".wh.") for n in m)


def test_mounts_are_not_there(boxes, tmp_path):
    (tmp_path / "secret").write_text("host")
    box = boxes.sleeper(Host={"Binds": [f"{tmp_path}:/mnt/bind"], "Tmpfs": {"/tmpfs": ""}}, Volumes={"/vol": {}})
    assert box.exec("touch /vol/in /tmpfs/in; mkdir /own; touch /own/f")[0] == 0
    m = members(export(box))
    for place in ("mnt/bind", "vol", "tmpfs", "proc", "sys"):
        assert m[place].isdir() and not [n for n in m if n.startswith(place + "/")], place
    assert "own/f" in m and not any("secret" in n for n in m)
    # what is mounted over a file is not it
    for name in ("etc/hosts", "etc/resolv.conf", "etc/hostname"):
        assert m[name].isreg() and m[name].size == 0
    assert not [n for n in m if n.startswith("dev/") and n not in ("dev/console", "dev/pts", "dev/shm")]


def test_everything_comes_back(engine, boxes, everything, tmp_path):
    box = boxes.create(["none"], image="t-everything")
    data = export(box)
    trees.untar(data, tmp_path / "back")
    want = trees.describe(everything, seconds=IS_DOCKERD)
    got = trees.describe(tmp_path / "back", seconds=IS_DOCKERD)
    if IS_DOCKERD:          # its init layer
        want = {k: v for k, v in want.items() if not k.startswith((b"d" * 200, b"dev", b"etc"))}
        got = {k: v for k, v in got.items() if k in want}
        for d in (want, got):
            for v in d.values():
                v.pop("mtime")
    assert trees.differences(want, got) == []


@pytest.mark.caisson
def test_export_import_export_is_identical(engine, boxes, everything):
    first = export(boxes.create(["none"], image="t-everything"))
    again = export(boxes.create(["none"], image="t-everything"))
    assert first == again
    engine.import_tar(first, "t-everything-2", changes=['CMD ["none"]'])
    try:
        box = boxes.create(["none"], image="t-everything-2")
        assert hashlib.sha256(export(box)).hexdigest() == hashlib.sha256(first).hexdigest()
    finally:
        boxes.clean()
        engine.http.delete("/images/t-everything-2", {"force": 1})


def test_others_read_it(boxes, everything):
    data = export(boxes.create(["none"], image="t-everything"))
    listed = subprocess.run(["tar", "-t"], input=data, capture_output=True, check=True)
    assert listed.stderr == b"" and len(listed.stdout.splitlines()) == len(members(data))


@pytest.mark.caisson
def test_sparse_terabyte(boxes):
    """A lastlog with a large user id is no reason to send a terabyte."""
    box = boxes.run("truncate -s 1099511627776 /lastlog; echo x >> /lastlog")
    data = export(box, timeout=50)
    assert len(data) < 8 << 20
    assert members(data)["lastlog"].size == (1 << 40) + 2


def test_sockets_are_left_out(boxes):
    box = boxes.sleeper()
    assert box.exec("nc -l -s 127.0.0.1 -p 1 & mkfifo /fifo; true")[0] == 0
    assert members(export(box))["fifo"].isfifo()


def test_client_leaves(engine, boxes):
    box = boxes.run("dd if=/dev/zero of=/big bs=1M count=64 2>/dev/null")
    for _ in range(3):
        r = box.http.stream("GET", box.url + "/export")
        assert len(r.read(100000)) == 100000
        r.connection.close()
    assert box.rm().status == 204
    if not IS_DOCKERD:
        wait_for(lambda: not [t for t in os.listdir(f"/proc/{engine.proc.pid}/fd") if "memfd" in t], what="descriptors closed")
    assert engine.alive()


def test_removed_while_exported(engine, boxes):
    """Half of a container must not look like a whole one: the connection is cut."""
    box = boxes.run("mkdir /a; dd if=/dev/zero of=/a/big bs=1M count=64 2>/dev/null; for i in 1 2 3 4 5 6 7 8 9; do echo $i > /z$i; done")
    r = box.http.stream("GET", box.url + "/export")
    got = r.read(100000)
    assert box.rm().status == 204
    cut = False
    try:
        while True:
            piece = r.read(1 << 20)
            if not piece:
                break
            got += piece
    except (OSError, http.client.HTTPException):
        cut = True
    assert engine.alive() and engine.http.get("/_ping").status == 200
    assert cut or got.endswith(bytes(1024)), "cut, or complete"
    if not IS_DOCKERD:
        assert cut


def test_cli(engine, boxes, tmp_path):
    box = boxes.run("echo hi > /f")
    engine.cli("export", "-o", str(tmp_path / "x.tar"), box.id, check=True)
    assert members((tmp_path / "x.tar").read_bytes())["f"].size == 3


CHANGES = {
    "new file": ("touch /new", {"/new": 1}),
    "new directory": ("mkdir -p /n/m; touch /n/m/f", {"/n": 1, "/n/m": 1, "/n/m/f": 1}),
    "modified": ("echo >> /etc/group", {"/etc": 0, "/etc/group": 0}),
    "mode only": ("chmod 600 /etc/group", {"/etc": 0, "/etc/group": 0}),
    "owner only": ("chown 5 /etc/group", {"/etc": 0, "/etc/group": 0}),
    "mode of a directory": ("chmod 700 /var", {"/var": 0}),
    "deleted": ("rm /bin/ls", {"/bin": 0, "/bin/ls": 2}),
    "deleted tree": ("rm -r /home", {"/home": 2}),
    "replaced directory": ("rm -r /home; mkdir /home; touch /home/y", {"/home": 0, "/home/y": 1, "/home/app": 2}),
    "replaced, same names": ("rm -r /home; mkdir -p /home/app/z; rm -r /etc; mkdir /etc; echo x > /etc/group",
                             {"/home": 0, "/home/app": 0, "/home/app/z": 1, "/etc": 0, "/etc/group": 0, "/etc/passwd": 2}),
    "directory by file": ("rm -r /home; touch /home", {"/home": 0}),
    "file by directory": ("rm /bin/ls; mkdir /bin/ls; touch /bin/ls/x", {"/bin": 0, "/bin/ls": 0, "/bin/ls/x": 1}),
    "renamed": ("mv /bin/ls /bin/ls2", {"/bin": 0, "/bin/ls": 2, "/bin/ls2": 1}),
    "link": ("ln /etc/group /hard; ln -s x /soft", {"/etc": 0, "/etc/group": 0, "/hard": 1, "/soft": 1}),
    "gone again": ("touch /x; rm /x", {}),
    "nothing": ("true", {}),
}


@pytest.mark.parametrize("case", sorted(CHANGES))
@pytest.mark.parametrize("running", [False, True])
def test_changes(boxes, case, running):
    cmd, want = CHANGES[case]
    box = boxes.start(f"{cmd}; echo done; " + ("sleep 1000" if running else "true"))
    box.wait_log("done") if running else box.wait()
    a = box.http.get(box.url + "/changes")
    got = {c["Path"]: c["Kind"] for c in a.json or [] if c["Path"] != "/etc/mtab"}        # of dockerd's init layer
    if case == "link" and got.get("/etc/group") is None:
        want = {"/hard": 1, "/soft": 1}
    assert got == want


DEEP = {
    "rm -r /d; mkdir -p /d/e; echo > /d/e/f": {"/d": 0, "/d/e": 0, "/d/e/f": 0, "/d/e/g": 2, "/d/e/x": 2, "/d/f": 2},
    "rm -r /d/e; mkdir -p /d/e/x/new": {"/d": 0, "/d/e": 0, "/d/e/x": 0, "/d/e/x/new": 1, "/d/e/x/h": 2, "/d/e/f": 2, "/d/e/g": 2},
    "rm -r /d/e; mkdir -p /d/e/x; echo 2 > /d/e/x/h": {"/d": 0, "/d/e": 0, "/d/e/x": 0, "/d/e/x/h": 0, "/d/e/f": 2, "/d/e/g": 2},
    "mv /d /away; mkdir /d": {"/d": 0, "/d/e": 2, "/d/f": 2, "/away": 1, "/away/e": 1, "/away/e/f": 1, "/away/e/g": 1, "/away/e/x": 1, "/away/e/x/h": 1, "/away/f": 1},
}


@pytest.mark.parametrize("cmd", sorted(DEEP))
def test_changes_of_a_tree_made_again(engine, boxes, cmd):
    """Below a directory that was removed and made again nothing is the image's, however deep."""
    engine.import_tar(rootfs.busybox().file("d/f", "1").file("d/e/f", "1").file("d/e/g", "1").file("d/e/x/h", "1").bytes(), "t-deep")
    box = boxes.run(cmd, image="t-deep")
    assert {c["Path"]: c["Kind"] for c in box.http.get(box.url + "/changes").json} == DEEP[cmd]
    box.rm()
    engine.http.delete("/images/t-deep", {"force": 1}, rec=False)


def test_changes_with_mounts(boxes, tmp_path):
    box = boxes.run("touch /vol/x /bind/y /tm/z; echo 1 > /etc/hosts", Host={"Binds": [f"{tmp_path}:/bind"], "Tmpfs": {"/tm": ""}}, Volumes={"/vol": {}})
    got = {c["Path"]: c["Kind"] for c in box.http.get(box.url + "/changes").json}
    assert got == {"/vol": 1, "/bind": 1, "/tm": 1}
