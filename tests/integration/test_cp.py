# SPDX-License-Identifier: Apache-2.0
"""Files of containers: HEAD, GET and PUT of /containers/x/archive, and docker cp."""
import base64
import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import socket
import subprocess
import tarfile
import threading
import time
import uuid

import pytest

import rootfs
from archive import content, get, head, members, put, raw_names
from box import IS_DOCKERD

needs_cli = pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")
DIR, LINK, FIFO, SETUID, STICKY = 1 << 31, 1 << 27, 1 << 25, 1 << 23, 1 << 20


def tree():
    return (rootfs.Tar().dir("d").file("d/f", "hello", 0o640, 12, 34).dir("d/sub", 0o700).file("d/sub/g", "g").symlink("l", "/d").symlink("lf", "d/f")
            .symlink("chain", "l/sub/g").symlink("dang", "/no/../x/y").symlink("up", "../../../d").symlink("loop", "loop").fifo("p").file("suid", "s", 0o4755)
            .dir("sticky", 0o1777).dir("var/lib").symlink("var/run", "/run").dir("run"))


@pytest.fixture
def box(boxes):
    b = boxes.create("sleep 1000")
    assert put(b, "/", tree()).status == 200
    return b


def running(b):
    return b.start()


def paused(b):
    b.start()
    assert b.post("pause").status == 204
    return b


def exited(b):
    b.start().kill()
    b.wait()
    return b


STATES = {"created": lambda b: b, "running": running, "paused": paused, "exited": exited}


@pytest.fixture(params=sorted(STATES))
def anybox(request, box):
    return STATES[request.param](box)


# ---- what a path is ----

@pytest.mark.parametrize("path, name, mode, size, target", [
    ("/", "/", DIR | 0o755, None, ""),
    (".", ".", DIR | 0o755, None, ""),
    ("/d", "d", DIR | 0o755, None, ""),
    ("/d/", "d", DIR | 0o755, None, ""),
    ("/d/.", ".", DIR | 0o755, None, ""),
    ("d", "d", DIR | 0o755, None, ""),
    ("//d//f", "f", 0o640, 5, ""),
    ("/nope/../d/f", "f", 0o640, 5, ""),
    ("/../../d/sub/..//f", "f", 0o640, 5, ""),
    ("/l", "l", LINK | 0o777, 2, "/d"),
    ("/l/", "l", DIR | 0o755, None, ""),
    ("/l/.", ".", DIR | 0o755, None, ""),
    ("/l/f", "f", 0o640, 5, ""),
    ("/lf", "lf", LINK | 0o777, 3, "/d/f"),
    ("/chain", "chain", LINK | 0o777, 7, "/d/sub/g"),
    ("/dang", "dang", LINK | 0o777, 10, "/x/y"),
    ("/up", "up", LINK | 0o777, 10, "/d"),
    ("/p", "p", FIFO | 0o644, 0, ""),
    ("/suid", "suid", SETUID | 0o755, 1, ""),
    ("/sticky", "sticky", DIR | STICKY | 0o777, None, ""),
    ("/var/run/.", ".", DIR | 0o755, None, ""),
])
def test_stat(box, path, name, mode, size, target):
    status, st = head(box, path)
    assert status == 200
    assert (st["name"], st["mode"], st["linkTarget"]) == (name, mode, target)
    assert sorted(st) == ["linkTarget", "mode", "mtime", "name", "size"]
    if size is not None:
        assert st["size"] == size
    a = get(box, path)
    assert a.status == 200 and a.headers["Content-Type"] == "application/x-tar"
    assert json.loads(base64.b64decode(a.headers["X-Docker-Container-Path-Stat"])) == st


def test_stat_mtime(box):
    assert head(box, "/d/f")[1]["mtime"] == "2020-09-13T12:26:40Z"
    tar = rootfs.Tar()
    info = tar._info("nano", tarfile.REGTYPE, 0o644)
    info.pax_headers = {"mtime": "1600000000.123456789"}
    tar.tar.addfile(info)
    assert put(box, "/", tar).status == 200
    assert head(box, "/nano")[1]["mtime"] == "2020-09-13T12:26:40.123456789Z"


@pytest.mark.parametrize("path", ["/nope", "/nope/x", "/nope/", "/d/nope", "/dang/x", "/dang/"])
def test_missing(anybox, path):
    text = f"Could not find the file {path} in container {anybox.id}"
    assert head(anybox, path)[0] == 404
    for a in (get(anybox, path), put(anybox, path, rootfs.Tar().file("a"))):
        assert (a.status, a.message) == (404, text)


@pytest.mark.parametrize("path", ["/d/f/", "/d/f/.", "/d/f/x", "/loop/x"])
def test_not_a_directory_in_the_path(anybox, path):
    a = get(anybox, path)
    assert a.status == (500 if IS_DOCKERD else 400)
    assert ("too many links" if "loop" in path else "not a directory") in a.message


@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT"])
def test_path_is_needed(box, method):
    for query in ({}, {"path": ""}):
        a = box.http.request(method, box.url + "/archive", query, b"" if method == "PUT" else None)
        assert a.status == 400
        assert method == "HEAD" or a.message == "bad parameter: pathcannot be empty"


@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT"])
def test_no_container(engine, method):
    a = engine.http.request(method, "/containers/nosuch/archive", {"path": "/"}, rootfs.Tar().file("a").bytes() if method == "PUT" else None)
    assert a.status == 404 and (method == "HEAD" or a.message == "No such container: nosuch")


def test_name_of_the_container_in_the_error(boxes):
    b = boxes.create("true", name="cp-" + uuid.uuid4().hex[:8])
    a = b.http.get(f"/containers/{b.id[:12]}/archive", {"path": "x"})
    assert a.message == f"Could not find the file x in container {b.id[:12]}"


# ---- out ----

@pytest.mark.parametrize("path, names", [
    ("/d", ["d/", "d/f", "d/sub/", "d/sub/g"]),
    ("/d/", ["d/", "d/f", "d/sub/", "d/sub/g"]),
    ("/d/.", ["./", "./f", "./sub/", "./sub/g"]),
    ("d", ["d/", "d/f", "d/sub/", "d/sub/g"]),
    ("/d/f", ["f"]),
    ("/l", ["l"]),
    ("/l/", ["l/", "l/f", "l/sub/", "l/sub/g"]),
    ("/l/.", ["./", "./f", "./sub/", "./sub/g"]),
    ("/l/sub", ["sub/", "sub/g"]),
    ("/p", ["p"]),
])
def test_names(anybox, path, names):
    assert raw_names(get(anybox, path).body) == names


def test_whole_root(anybox):
    names = raw_names(get(anybox, "/").body)
    assert names[0] == "/" and "/d/sub/g" in names and "/bin/busybox" in names
    # what the kernel mounts in a running container is no file of it
    assert "/proc/" in names and "/sys/" in names and "/dev/" in names
    assert not [n for n in names if n.startswith(("/proc/", "/sys/")) and n.count("/") > 2]
    assert "/dev/null" not in names


def test_kernel_files_are_not_the_containers(anybox):
    assert raw_names(get(anybox, "/proc").body) == ["proc/"]
    assert head(anybox, "/proc")[0] == 200
    for path in ("/proc/self", "/proc/1/root", "/proc/kmsg", "/proc/self/root/etc/passwd"):
        assert get(anybox, path).status == 404
        assert head(anybox, path)[0] == 404


def test_metadata_out(box):
    by_name = {m.name: m for m in members(get(box, "/d").body)}
    f = by_name["d/f"]
    assert (f.mode & 0o7777, f.uid, f.gid, f.mtime, f.size) == (0o640, 12, 34, 1600000000, 5)
    assert by_name["d/sub"].mode & 0o7777 == 0o700
    link = members(get(box, "/lf").body)[0]
    assert link.issym() and link.linkname == "d/f"
    assert members(get(box, "/suid").body)[0].mode & 0o7777 == 0o4755


# ---- in ----

def test_put_and_see_it_inside(box):
    running(box)
    tar = (rootfs.Tar().file("suid", "", 0o4711, 1000, 2000).file("new", "data", 0o711, 1000, 2000).dir("dir", 0o2750, 7, 8).file("dir/x", "x").symlink("dir/s", "../d").hardlink("hard", "new", 0o711, 1000, 2000)
           .fifo("dir/p").device("dir/null", 1, 3))
    assert put(box, "/tmp", tar).status == 200
    out = box.exec("stat -c '%n %a %u:%g %F %Y' /tmp/suid /tmp/new /tmp/dir /tmp/dir/p /tmp/dir/null; readlink /tmp/dir/s; cat /tmp/hard /tmp/dir/x; echo; stat -c %h /tmp/hard")[1].splitlines()
    assert out == ["/tmp/suid 4711 1000:2000 regular empty file 1600000000", "/tmp/new 711 1000:2000 regular file 1600000000", "/tmp/dir 2750 7:8 directory 1600000000", "/tmp/dir/p 644 0:0 fifo 1600000000",
                   "/tmp/dir/null 666 0:0 character special file 1600000000", "../d", "datax", "2"]


def test_put_survives_start_and_stop(box):
    assert put(box, "/d", rootfs.Tar().file("kept", "1")).status == 200
    exited(box)
    assert content(box, "/d/kept") == b"1"
    assert put(box, "/d", rootfs.Tar().file("kept", "2")).status == 200
    box.start()
    assert box.exec("cat /d/kept")[1] == "2"


@pytest.mark.parametrize("to, there", [("/l", "/d/new"), ("/var/run", "/run/new"), ("/up/sub", "/d/sub/new"), ("/", "/new"), (".", "/new"), ("d/.", "/d/new"),
                                       ("/l/../tmp", "/tmp/new")])
def test_put_through_links(anybox, to, there):
    assert put(anybox, to, rootfs.Tar().file("new", "x")).status == 200
    assert content(anybox, there) == b"x"


@pytest.mark.parametrize("path", ["/d/f", "/lf", "/p", "/suid"])
def test_put_needs_a_directory(anybox, path):
    a = put(anybox, path, rootfs.Tar().file("a"))
    assert a.status == (500 if IS_DOCKERD else 400) and a.message == "extraction point is not a directory"


def test_put_replaces_and_merges(anybox):
    assert put(anybox, "/", rootfs.Tar().dir("d", 0o711, 5, 6).file("d/f", "longer than before", 0o600).file("d/sub", "was a directory").dir("suid").file("suid/in", "")
               .file("l", "was a link")).status == 200
    names = raw_names(get(anybox, "/d").body)
    assert names == ["d/", "d/f", "d/sub"]
    assert content(anybox, "/d/f") == b"longer than before" and content(anybox, "/l") == b"was a link"
    assert raw_names(get(anybox, "/suid").body) == ["suid/", "suid/in"]
    d = members(get(anybox, "/d").body)[0]
    assert (d.mode & 0o7777, d.uid, d.gid, d.mtime) == (0o711, 5, 6, 1600000000)


def test_no_overwrite(anybox):
    a = put(anybox, "/", rootfs.Tar().file("d", "x"), noOverwriteDirNonDir=1)
    assert a.status == (500 if IS_DOCKERD else 400) and 'cannot overwrite directory "/d" with non-directory "/"' in a.message
    a = put(anybox, "/d", rootfs.Tar().dir("f"), noOverwriteDirNonDir="true")
    assert a.status == (500 if IS_DOCKERD else 400) and 'cannot overwrite non-directory "/d/f" with directory "/d"' in a.message
    assert content(anybox, "/d/f") == b"hello"
    assert put(anybox, "/", rootfs.Tar().dir("d").file("d/f", "same kinds are fine"), noOverwriteDirNonDir=1).status == 200


def test_put_makes_missing_parents(anybox):
    assert put(anybox, "/tmp", rootfs.Tar().file("x/y/z", "deep", 0o600, 3, 4)).status == 200
    x, _, z = members(get(anybox, "/tmp/x").body)
    assert (x.mode & 0o7777, x.uid, x.gid) == (0o755, 0, 0) and (z.uid, z.gid) == (3, 4)


def test_put_leaves_the_destination_alone(anybox):
    before = head(anybox, "/tmp")[1]["mode"]
    assert put(anybox, "/tmp", rootfs.Tar().dir(".", 0o700, 1, 1).dir("./", 0o700).file("./a", "x")).status == 200
    assert head(anybox, "/tmp")[1]["mode"] == before
    assert content(anybox, "/tmp/a") == b"x"


def test_whiteouts_are_ordinary_names(anybox):
    assert put(anybox, "/d", rootfs.Tar().file(".wh.f", "").file(".wh..wh..opq", "")).status == 200
    assert sorted(raw_names(get(anybox, "/d").body)) == ["d/", "d/.wh..wh..opq", "d/.wh.f", "d/f", "d/sub/", "d/sub/g"]


def zstd(data):
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress,
                                  pytest.param(zstd, marks=[pytest.mark.caisson, pytest.mark.skipif(not shutil.which("zstd"), reason="no zstd")])],
                         ids=["gzip", "bzip2", "xz", "zstd"])
def test_compressed(anybox, pack):
    assert put(anybox, "/tmp", pack(rootfs.Tar().file("a", "packed" * 1000).bytes())).status == 200
    assert content(anybox, "/tmp/a") == b"packed" * 1000


def test_empty_and_broken_bodies(anybox):
    assert put(anybox, "/tmp", b"").status == 200
    assert put(anybox, "/tmp", b"\0" * 1024).status == 200
    for body in (b"garbage" * 200, rootfs.Tar().file("a", "x" * 5000).bytes()[:3000], gzip.compress(rootfs.Tar().file("a", "x" * 5000).bytes())[:60]):
        a = put(anybox, "/tmp", body)
        assert a.status == (500 if IS_DOCKERD else 400) and a.message


@pytest.mark.caisson
@pytest.mark.parametrize("user, owner", [("app", (1000, 1000)), ("second", (1001, 2000)), ("1001", (1001, 2000)), ("4242", (4242, 0)), ("4242:daemon", (4242, 1)),
                                         ("app:77", (1000, 77)), ("", (12, 34))])
def test_copy_uid_gid(boxes, user, owner):
    """By the container's passwd and group; 20.10 asks the host's."""
    b = boxes.create("sleep 1000", User=user)
    tar = lambda: rootfs.Tar().dir("x", uid=12, gid=34).file("x/y", "", 0o644, 12, 34).symlink("x/l", "y")  # noqa: E731
    assert put(b, "/tmp", tar(), copyUIDGID=1).status == 200
    assert {(m.uid, m.gid) for m in members(get(b, "/tmp/x").body) if not m.issym() or user} == {owner}
    assert put(b, "/tmp", tar()).status == 200
    assert [(m.uid, m.gid) for m in members(get(b, "/tmp/x").body)][-1] == (12, 34)


@pytest.mark.caisson
def test_copy_uid_gid_of_nobody(boxes):
    a = put(boxes.create("true", User="nosuch"), "/tmp", rootfs.Tar().file("x"), copyUIDGID=1)
    assert a.status == 400 and "unable to find user nosuch" in a.message


@pytest.mark.caisson
def test_attributes(anybox):
    tar = rootfs.Tar()
    info = tar._info("x", tarfile.REGTYPE, 0o755)
    caps = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    info.pax_headers = {"SCHILY.xattr.user.note": "hi", "SCHILY.xattr.security.capability": caps.decode("latin-1"), "SCHILY.xattr.trusted.overlay.opaque": "y"}
    tar.tar.addfile(info)
    assert put(anybox, "/tmp", tar).status == 200
    m = members(get(anybox, "/tmp/x").body)[0]
    assert m.pax_headers["SCHILY.xattr.user.note"] == "hi" and m.pax_headers["SCHILY.xattr.security.capability"] == caps.decode("latin-1")
    assert "SCHILY.xattr.trusted.overlay.opaque" not in m.pax_headers


# ---- mounts ----

@pytest.fixture
def mounted(request, boxes, tmp_path, engine):
    (tmp_path / "rw").mkdir()
    (tmp_path / "ro").mkdir()
    (tmp_path / "ro" / "given").write_text("given")
    (tmp_path / "one").write_text("one file")
    vol = "cp" + uuid.uuid4().hex[:8]
    b = boxes.create("sleep 1000", Host={"Binds": [f"{vol}:/vol", f"{tmp_path}/rw:/mnt/rw", f"{tmp_path}/ro:/mnt/ro:ro", f"{tmp_path}/one:/etc/one"]})
    b.path, b.vol = tmp_path, vol
    b.start()
    yield b
    b.rm()
    engine.http.delete(f"/volumes/{vol}", {"force": 1})


@pytest.mark.parametrize("state", ["running", "exited"])
def test_volumes_and_binds(mounted, engine, state):
    if state == "exited":
        mounted.kill()
        mounted.wait()
    assert put(mounted, "/vol", rootfs.Tar().file("v", "in the volume")).status == 200
    assert put(mounted, "/mnt/rw", rootfs.Tar().file("b", "in the bind")).status == 200
    assert content(mounted, "/vol/v") == b"in the volume"
    assert (mounted.path / "rw" / "b").read_text() == "in the bind"
    assert content(mounted, "/mnt/ro/given") == b"given" and content(mounted, "/etc/one") == b"one file"
    names = raw_names(get(mounted, "/mnt").body)
    assert names == ["mnt/", "mnt/ro/", "mnt/ro/given", "mnt/rw/", "mnt/rw/b"]
    where = engine.http.get(f"/volumes/{mounted.vol}").json["Mountpoint"]
    with open(where + "/v") as f:
        assert f.read() == "in the volume"
    a = put(mounted, "/mnt/ro", rootfs.Tar().file("x"))
    assert a.status == (500 if IS_DOCKERD else 403) and a.message == "mounted volume is marked read-only"
    assert not (mounted.path / "ro" / "x").exists()
    # the mounts are the container's and this copy's alone
    assert str(mounted.path) not in open("/proc/self/mountinfo").read() or IS_DOCKERD


def test_fill_a_volume_by_a_container_that_never_runs(boxes, engine):
    """`docker create -v data:/data …; docker cp . x:/data`: a well-known way, also where the image has no /data."""
    vol = "cp" + uuid.uuid4().hex[:8]
    try:
        b = boxes.create("true", Host={"Binds": [f"{vol}:/not/in/image"]})
        assert put(b, "/not/in/image", rootfs.Tar().dir("deep").file("deep/x", "filled")).status == 200
        assert content(b, "/not/in/image/deep/x") == b"filled"
        assert raw_names(get(b, "/not/in/image").body) == ["image/", "image/deep/", "image/deep/x"]
        assert head(b, "/not/in/image/")[1]["name"] == "image"
        r = boxes.run("cat /v/deep/x", Host={"Binds": [f"{vol}:/v"]})
        assert r.out == "filled"
        if not IS_DOCKERD:      # CVE-2026-42306
            assert head(b, "/not")[0] == 404, "a copy made a mount point"
    finally:
        boxes.clean()
        engine.http.delete(f"/volumes/{vol}", {"force": 1})


@pytest.mark.parametrize("state", ["created", "running"])
def test_read_only_root(boxes, state):
    b = boxes.create("sleep 1000", Host={"ReadonlyRootfs": True, "Tmpfs": {"/tmp": ""}, "Binds": ["/work"] if False else []})
    STATES[state](b)
    a = put(b, "/etc", rootfs.Tar().file("x"))
    assert a.status == (500 if IS_DOCKERD else 403) and a.message == "container rootfs is marked read-only"
    assert get(b, "/etc/passwd").status == 200
    if not IS_DOCKERD and state == "running":
        assert put(b, "/tmp", rootfs.Tar().file("x", "1")).status == 200
        assert b.exec("cat /tmp/x")[1] == "1"


@pytest.mark.caisson
def test_mounts_of_the_running_container(boxes):
    """A tmpfs, and a mount that the container made: what is copied is what it sees."""
    b = running(boxes.create("sleep 1000", Host={"Tmpfs": {"/t": "size=1m"}, "CapAdd": ["SYS_ADMIN"], "SecurityOpt": ["apparmor=unconfined"]}))
    assert b.exec("echo in > /t/x; mkdir -p /m; mount -t tmpfs none /m && echo mine > /m/y; echo s > /dev/shm/z")[0] == 0
    assert content(b, "/t/x") == b"in\n" and content(b, "/m/y") == b"mine\n" and content(b, "/dev/shm/z") == b"s\n"
    assert "/t/x" in raw_names(get(b, "/").body)
    assert put(b, "/m", rootfs.Tar().file("z", "put")).status == 200
    assert b.exec("cat /m/z")[1] == "put"
    a = put(b, "/t", rootfs.Tar().file("big", b"x" * (2 << 20)))
    assert a.status == 507 and "No space left" in a.message


@pytest.mark.caisson
def test_files_that_are_mounts(box):
    """docker says "device or resource busy"; the content is what was meant."""
    running(box)
    assert put(box, "/etc", rootfs.Tar().file("hosts", "10.0.0.1 new\n", 0o600)).status == 200
    assert box.exec("cat /etc/hosts; stat -c %a /etc/hosts")[1] == "10.0.0.1 new\n644\n"
    box.kill()
    box.wait()
    assert content(box, "/etc/hosts") == b"10.0.0.1 new\n"


@pytest.mark.caisson
def test_a_volume_is_not_replaced(mounted):
    assert put(mounted, "/vol", rootfs.Tar().file("v", "1")).status == 200
    a = put(mounted, "/", rootfs.Tar().file("vol", "x"))
    assert a.status == 500 and "busy" in a.message
    assert content(mounted, "/vol/v") == b"1"


# ---- events, and several at once ----

def test_events(box, events):
    get(box, "/d")
    put(box, "/d", rootfs.Tar().file("x"))
    events.until("archive-path", box.id)
    e = events.until("extract-to-dir", box.id)
    assert e["Actor"]["Attributes"]["image"] == "caisson-test/rootfs:latest"
    get(box, "/nope")
    put(box, "/nope", rootfs.Tar().file("x"))
    head(box, "/d")
    time.sleep(0.2)
    assert sorted(a for a in events.actions(box.id) if a in ("archive-path", "extract-to-dir")) == ["archive-path", "extract-to-dir"]


def test_many_at_once(anybox):
    wrong = []

    def work(n):
        for i in range(6):
            a = put(anybox, "/d", rootfs.Tar().dir(f"w{n}").file(f"w{n}/f{i}", f"{n}-{i}"))
            if a.status != 200 or content(anybox, f"/d/w{n}/f{i}") != f"{n}-{i}".encode() or head(anybox, "/d")[0] != 200:
                wrong.append((n, i, a))
    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert len(raw_names(get(anybox, "/d").body)) == 4 + 8 * 7


def upload(box, path, length):
    """A PUT whose body is still to come."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(30)
    s.connect(box.engine.sock)
    s.sendall(f"PUT {box.url}/archive?path={path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: {length}\r\n\r\n".encode())
    return s


def answer(s):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = s.recv(65536)
        if not piece:
            return None
        data += piece
    return int(data.split()[1])


def test_start_during_an_upload(box):
    """The root is not mounted twice: a start waits for who writes, as in Docker."""
    data = rootfs.Tar().file("big", b"x" * 300000).bytes()
    with upload(box, "/d", len(data)) as s:
        s.sendall(data[:100000])
        time.sleep(0.3)
        done = []
        t = threading.Thread(target=lambda: done.append(box.post("start").status))
        t.start()
        time.sleep(0.5)
        assert not done
        s.sendall(data[100000:])
        assert answer(s) == 200
        t.join(20)
    assert done == [204]
    assert box.exec("wc -c < /d/big")[1].strip() == "300000"


def test_removal_during_a_start(box, http):
    """What comes of the start decides: who is refused to remove what runs is so also a moment before."""
    data = rootfs.Tar().file("big", b"x" * 300000).bytes()
    with upload(box, "/d", len(data)) as s:
        s.sendall(data[:100000])
        time.sleep(0.3)
        answers = {}
        start = threading.Thread(target=lambda: answers.update(start=box.post("start").status))
        start.start()
        time.sleep(0.3)             # it waits for the upload, as in test_start_during_an_upload
        remove = threading.Thread(target=lambda: answers.update(remove=http.delete(box.url).status))
        remove.start()
        time.sleep(0.3)
        s.sendall(data[100000:])
        assert answer(s) == 200
        start.join(20)
        remove.join(20)
    assert answers == {"start": 204, "remove": 409}
    assert box.state["Running"] and box.exec("wc -c < /d/big")[1].strip() == "300000"


@pytest.mark.caisson
def test_start_during_an_upload_that_hangs(box):
    """A client that sends nothing more holds a start up for ten seconds, not for ever."""
    data = rootfs.Tar().file("big", b"x" * 300000).bytes()
    with upload(box, "/d", len(data)) as s:
        s.sendall(data[:100000])
        time.sleep(0.3)
        assert box.post("start").status == 204
        s.sendall(data[100000:])
        assert answer(s) == 409


@pytest.mark.caisson
def test_start_during_an_upload_that_trickles(box):
    """Nor does one that sends a byte now and then."""
    data = rootfs.Tar().file("big", b"x" * 300000).bytes()
    with upload(box, "/d", len(data)) as s:
        s.sendall(data[:100000])
        time.sleep(0.3)
        done, sent = threading.Event(), [100000]

        def trickle():
            while not done.wait(0.1) and sent[0] < 100400:
                s.sendall(data[sent[0]:sent[0] + 1])
                sent[0] += 1
        t = threading.Thread(target=trickle)
        t.start()
        assert box.post("start").status == 204
        assert t.is_alive(), "the start waited for the whole trickle"
        done.set()
        t.join()
        s.sendall(data[sent[0]:])
        assert answer(s) == 409


@pytest.mark.caisson
def test_start_during_a_download_that_hangs(box):
    assert put(box, "/d", rootfs.Tar().file("big", b"y" * (8 << 20))).status == 200
    r = box.http.stream("GET", box.url + "/archive", {"path": "/d"})
    r.read1(1000)
    began = time.monotonic()
    assert put(box, "/d", rootfs.Tar().file("x", "1")).status == 200
    box.start()
    assert box.rm().status == 204
    assert time.monotonic() - began < 5
    r.connection.close()


@pytest.mark.caisson
@pytest.mark.parametrize("state", ["created", "running"])
def test_removal_during_an_upload(box, state):
    STATES[state](box)
    data = rootfs.Tar().file("big", b"x" * 300000).bytes()
    with upload(box, "/d", len(data)) as s:
        s.sendall(data[:100000])
        time.sleep(0.3)
        began = time.monotonic()
        assert box.rm().status == 204
        assert time.monotonic() - began < 5
        s.sendall(data[100000:])
        assert answer(s) == 409


@pytest.mark.caisson
def test_exit_during_an_upload(box):
    running(box)
    data = rootfs.Tar().file("big", b"x" * 300000).bytes()
    with upload(box, "/d", len(data)) as s:
        s.sendall(data[:100000])
        time.sleep(0.3)
        box.kill()
        box.wait()
        s.sendall(data[100000:])
        assert answer(s) == 200
    assert len(content(box, "/d/big")) == 300000
    box.start()
    assert box.exec("wc -c < /d/big")[1].strip() == "300000"


def test_client_leaves_in_the_middle(anybox):
    running_ = anybox.state["Running"]
    assert put(anybox, "/d", rootfs.Tar().file("big", b"y" * (8 << 20))).status == 200
    for _ in range(5):
        r = anybox.http.stream("GET", anybox.url + "/archive", {"path": "/d"})
        assert r.status == 200
        r.read1(1000)
        r.connection.close()
    s = upload(anybox, "/d", 1 << 20)
    s.sendall(rootfs.Tar().file("half", b"z" * (1 << 20)).bytes()[:100000])
    s.close()
    assert content(anybox, "/d/f") == b"hello"
    assert anybox.state["Running"] == running_
    if not running_:
        anybox.start()      # nobody holds it


def test_restarting(boxes):
    b = boxes.create("exit 1", Host={"RestartPolicy": {"Name": "always"}})
    b.start()
    for n in range(30):
        assert put(b, "/tmp", rootfs.Tar().file("n", str(n))).status == 200
        assert content(b, "/tmp/n") == str(n).encode()
    b.rm()


@pytest.mark.timeout(120)
def test_exits_and_copies(boxes):
    """Short lives, and copies all the time: each is answered properly."""
    b = boxes.create("sleep 0.02")
    stop, seen = threading.Event(), set()

    def copy():
        while not stop.is_set():
            seen.add(get(b, "/etc/passwd").status)
            seen.add(put(b, "/tmp", rootfs.Tar().file("x", "1")).status)
    t = threading.Thread(target=copy)
    t.start()
    for _ in range(15):
        b.start()
        b.wait()
    stop.set()
    t.join()
    assert seen == {200}


def test_large_file(box):
    data = os.urandom(1 << 20) * 24
    assert put(box, "/d", rootfs.Tar().file("large", data)).status == 200
    assert content(box, "/d/large") == data


# ---- docker cp ----

@pytest.fixture
def local(tmp_path):
    (tmp_path / "file").write_text("local file")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "dir" / "sub").mkdir(parents=True)
    (tmp_path / "dir" / "a").write_text("a")
    (tmp_path / "dir" / "sub" / "b").write_text("b")
    (tmp_path / "todir").symlink_to("dir")
    (tmp_path / "tofile").symlink_to("file")
    (tmp_path / "broken").symlink_to("nowhere")
    return tmp_path


def listing(box, path):
    """{relative path: content or None} of a directory in a container."""
    a = get(box, path + "/.")
    assert a.status == 200, a
    found = {}
    with tarfile.open(fileobj=io.BytesIO(a.body)) as t:
        for m in t.getmembers():
            name = m.name[2:] if m.name.startswith("./") else m.name.lstrip(".")
            if name:
                found[name] = None if m.isdir() else "-> " + m.linkname if m.issym() else t.extractfile(m).read().decode()
    return found


def on_disk(path):
    found = {}
    for where, dirs, files in os.walk(path):
        for n in dirs + files:
            p = os.path.join(where, n)
            found[os.path.relpath(p, path)] = "-> " + os.readlink(p) if os.path.islink(p) else None if os.path.isdir(p) else open(p).read()
    return found


# Where the destination directory w holds: file f ("old"), directory e (empty), directory x (holds file "dir"), link tod -> e, link tof -> f
FILE, TREE = "local file", {"a": "a", "sub": None, "sub/b": "b"}


def under(prefix, entries):
    return {prefix: None, **{f"{prefix}/{k}": v for k, v in entries.items()}}


MATRIX = [  # source, destination, what is new, or an error text
    ("file", "w", {"file": FILE}),
    ("file", "w/", {"file": FILE}),
    ("file", "w/.", {"file": FILE}),
    ("file", "w/new", {"new": FILE}),
    ("file", "w/new/", "not a directory|no such directory|not exist"),
    ("file", "w/missing/new", "no such|not find|not exist"),
    ("file", "w/f", {"f": FILE}),
    ("file", "w/f/", "not a directory|lstat|not find|no such"),
    ("file", "w/e", {"e/file": FILE}),
    ("file", "w/tod", {"e/file": FILE}),
    ("file", "w/tof", {"f": FILE}),
    ("file", "w/x", {"x/file": FILE}),
    ("dir", "w", under("dir", TREE)),
    ("dir", "w/new", under("new", TREE)),
    ("dir", "w/new/", under("new", TREE)),
    ("dir", "w/e", under("e/dir", TREE)),
    ("dir", "w/tod", under("e/dir", TREE)),
    ("dir", "w/f", "cannot copy directory"),
    ("dir", "w/missing/new", "no such|not find|not exist"),
    ("dir", "w/x", "cannot overwrite non-directory"),
    ("dir/.", "w", TREE),
    ("dir/.", "w/new", under("new", TREE)),
    ("dir/.", "w/e", {f"e/{k}": v for k, v in TREE.items()}),
    ("dir/.", "w/f", "cannot copy directory"),
    ("dir/", "w/e", under("e/dir", TREE)),
    ("todir", "w/new", {"new": "-> dir"}),
    ("todir/", "w/e", under("e/todir", TREE)),
    ("todir/.", "w/new", under("new", TREE)),
    ("tofile", "w/e", {"e/tofile": "-> file"}),
    ("broken", "w/e", {"e/broken": "-> nowhere"}),
    ("nosuch", "w/e", "no such|not find|not exist"),
    ("file/", "w/e", "not a directory|lstat|not find|no such"),
]
OLD = {"f": "old", "e": None, "x": None, "x/dir": "in the way", "tod": "-> e", "tof": "-> f"}


def check_cp(result, expected, got):
    import re
    if isinstance(expected, str):
        assert result.returncode != 0 and re.search(expected, result.stderr, re.I), result
        assert got == OLD, result
    else:
        assert result.returncode == 0, result
        assert got == {**OLD, **expected}


@needs_cli
@pytest.mark.parametrize("source, destination, expected", MATRIX, ids=lambda v: v if isinstance(v, str) and len(v) < 16 else "")
@pytest.mark.parametrize("state", ["created", "running"])
def test_cli_in(box, engine, local, source, destination, expected, state):
    assert put(box, "/", rootfs.Tar().dir("w").file("w/f", "old").dir("w/e").dir("w/x").file("w/x/dir", "in the way").symlink("w/tod", "e").symlink("w/tof", "f")).status == 200
    STATES[state](box)
    r = engine.cli("cp", f"{local}/{source}", f"{box.id}:/{destination}")
    check_cp(r, expected, listing(box, "/w"))


@needs_cli
@pytest.mark.parametrize("source, destination, expected", MATRIX, ids=lambda v: v if isinstance(v, str) and len(v) < 16 else "")
@pytest.mark.parametrize("state", ["created", "running"])
def test_cli_out(box, engine, tmp_path, source, destination, expected, state):
    assert put(box, "/", rootfs.Tar().dir("s").file("s/file", FILE).dir("s/dir").file("s/dir/a", "a").dir("s/dir/sub").file("s/dir/sub/b", "b").symlink("s/todir", "dir")
               .symlink("s/tofile", "file").symlink("s/broken", "nowhere")).status == 200
    STATES[state](box)
    w = tmp_path / "w"
    (w / "e").mkdir(parents=True)
    (w / "x").mkdir()
    (w / "f").write_text("old")
    (w / "x" / "dir").write_text("in the way")
    (w / "tod").symlink_to("e")
    (w / "tof").symlink_to("f")
    r = engine.cli("cp", f"{box.id}:/s/{source}", f"{tmp_path}/{destination}")
    check_cp(r, expected, on_disk(w))


@needs_cli
def test_cli_follow_link(anybox, engine, local):
    """-L: the client asks for the link's target."""
    assert engine.cli("cp", "-L", f"{anybox.id}:/lf", f"{local}/got", check=True)
    assert (local / "got").read_text() == "hello" and not (local / "got").is_symlink()
    assert engine.cli("cp", "-L", f"{anybox.id}:/l", f"{local}/gotdir", check=True)
    assert (local / "gotdir" / "sub" / "g").read_text() == "g"
    assert engine.cli("cp", "-L", f"{local}/tofile", f"{anybox.id}:/d/t", check=True)
    assert content(anybox, "/d/t") == b"local file"


@needs_cli
def test_cli_archive_owner(boxes, engine, local):
    b = boxes.create("true", User="1234:56")
    os.chown(local / "file", 77, 88)
    engine.cli("cp", f"{local}/file", f"{b.id}:/tmp/plain", check=True)
    assert {(m.uid, m.gid) for m in members(get(b, "/tmp/plain").body)} == {(77, 88)}
    if not IS_DOCKERD:
        engine.cli("cp", "-a", f"{local}/file", f"{b.id}:/tmp/a", check=True)
        assert {(m.uid, m.gid) for m in members(get(b, "/tmp/a").body)} == {(1234, 56)}
    engine.cli("cp", "-a", f"{b.id}:/tmp/plain", f"{local}/back", check=True)
    assert (local / "back").stat().st_mode & 0o7777 == 0o640


@needs_cli
def test_cli_stdin_stdout(anybox, engine):
    env = engine.cli_env()
    out = subprocess.run(["docker", "cp", f"{anybox.id}:/d", "-"], env=env, capture_output=True, check=True).stdout
    assert raw_names(out) == ["d/", "d/f", "d/sub/", "d/sub/g"]
    subprocess.run(["docker", "cp", "-", f"{anybox.id}:/tmp"], env=env, input=out, check=True, capture_output=True)
    assert content(anybox, "/tmp/d/f") == b"hello"
    r = subprocess.run(["docker", "cp", "-", f"{anybox.id}:/d/f"], env=env, input=out, check=False, capture_output=True)
    assert r.returncode != 0 and b"must be a directory" in r.stderr


@needs_cli
def test_cli_read_only(boxes, engine, local):
    b = boxes.create("true", Host={"ReadonlyRootfs": True, "Binds": [f"{local}/dir:/ro:ro"]})
    for path in ("/etc/x", "/ro/x") if IS_DOCKERD is False else ("/etc/x",):
        r = engine.cli("cp", f"{local}/file", f"{b.id}:{path}")
        assert r.returncode != 0 and "marked read-only" in r.stderr


@needs_cli
def test_cli_relative_and_names(anybox, engine, local):
    engine.cli("cp", f"{local}/file", f"{anybox.id}:tmp", check=True)
    assert content(anybox, "/tmp/file") == b"local file"
    odd = local / "with : colon é"
    odd.write_text("odd")
    engine.cli("cp", str(odd), f"{anybox.id}:/tmp/", check=True)
    assert content(anybox, "/tmp/with : colon é") == b"odd"
    engine.cli("cp", f"{anybox.id}:/tmp/with : colon é", f"{local}/back", check=True)
    assert (local / "back").read_text() == "odd"


# ---- python ----

def test_python_client(client, anybox):
    c = client.containers.get(anybox.id)
    stream, st = c.get_archive("/d/f")
    assert st["name"] == "f" and st["size"] == 5
    data = b"".join(stream)
    assert raw_names(data) == ["f"]
    assert c.put_archive("/tmp", data) is True
    assert content(anybox, "/tmp/f") == b"hello"


# ---- what only a start mounts ----

def test_tmpfs_of_a_stopped_container(boxes):
    """Volumes are mounted for a copy, tmpfs is not: what is copied lies below, and is seen when nothing runs. /dev/shm is there before the first start."""
    host = {"Tmpfs": {"/t": ""}, "Mounts": [{"Type": "tmpfs", "Target": "/m"}]}
    b = boxes.create("echo run > /t/run; echo run > /dev/shm/run; ls /dev/shm /t", Host=host)
    assert head(b, "/t")[0] == 404 and head(b, "/m")[0] == 404
    assert head(b, "/dev/shm")[0] == 200 and put(b, "/dev/shm", rootfs.Tar().file("below", "1")).status == 200
    changes = lambda: {c["Path"]: c["Kind"] for c in b.http.get(b.url + "/changes").json or []}
    assert {p: k for p, k in changes().items() if p.startswith("/dev")} == {"/dev": 0, "/dev/shm": 0, "/dev/shm/below": 1}
    for _ in range(2):
        b.start().wait()
        assert put(b, "/t", rootfs.Tar().file("below", "1")).status == 200
        for place in ("/t", "/dev/shm"):
            assert content(b, place + "/below") == b"1" and head(b, place + "/run")[0] == 404
    assert b"below" not in b.http.get(b.url + "/logs", {"stdout": 1}, rec=False).body


def test_looking_at_shm_changes_nothing(boxes):
    b = boxes.create("true")
    assert head(b, "/dev/shm")[0] == 200 and get(b, "/dev/shm").status == 200 and head(b, "/dev/shm/none")[0] == 404
    assert b.http.get(b.url + "/changes").json is None


def test_shm_that_is_the_users(boxes, tmp_path):
    """Nothing is made in what is mounted there, nor through a link of the image."""
    b = boxes.create("true", Host={"Binds": [f"{tmp_path}:/dev"]})
    head(b, "/dev/shm")
    put(b, "/dev/shm", rootfs.Tar().file("f", "1"))
    assert IS_DOCKERD or not os.listdir(tmp_path)
    c = boxes.create("true")
    assert put(c, "/", rootfs.Tar().symlink("dev", str(tmp_path))).status in (200, 400, 500)
    head(c, "/dev/shm")
    put(c, "/dev/shm", rootfs.Tar().file("f", "1"))
    assert IS_DOCKERD or not os.listdir(tmp_path)
