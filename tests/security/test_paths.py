# SPDX-License-Identifier: Apache-2.0
"""Paths that somebody else wrote: mount targets in images, volumes that a neighbour changes, sub-paths, races."""
import os
import subprocess

import pytest

import rootfs
from box import Box, create
from test_pack_races import Swapper
from together import together
from test_runtime import canary, image, try_start  # noqa: F401  (fixtures)

RACES = int(os.environ.get("CAISSON_RACES", "150"))


@pytest.mark.timeout(600)
def test_cve_2021_30465_parallel_swaps(boxes, canary):  # noqa: F811
    """CVE-2021-30465, CVE-2024-45310, CVE-2025-52881: many starts while two neighbours swap the targets of their mounts."""
    vol = canary.path.parent / "vol"
    (vol / "d" / "e").mkdir(parents=True)
    boxes.start(f"ln -s {canary.path} /v/l; ln -s /proc/self /v/p; while :; do mv /v/d /v/t; mv /v/l /v/d; mv /v/d /v/l; mv /v/p /v/d; mv /v/d /v/p; mv /v/t /v/d; done",
                Host={"Binds": [f"{vol}:/v"]})
    boxes.start(f"while :; do mkdir /v/q; rmdir /v/q; ln -s {canary.path} /v/q; rm /v/q; ln -s ../../../../../../../../{canary.path} /v/q; rm /v/q; touch /v/q; rm /v/q; done",
                Host={"Binds": [f"{vol}:/v"]})
    started = [0]

    def storm(count):
        for n in range(count):
            host = {"Binds": [f"{vol}:/v", f"{vol}:/v/d/e", f"/etc/hostname:/v/q/file{n % 3}"], "Tmpfs": {f"/v/q/new{n % 3}": "", "/v/d/x": ""}}
            a = create(boxes.engine, "true", Host=host, WorkingDir="/v/q/w")
            assert a.status == 201, a
            b = Box(boxes.engine, a.json["Id"])
            a = b.post("start")
            assert a.status in (204, 400, 500), a
            started[0] += a.status == 204
            b.rm()
    together(storm, RACES // 2, RACES // 2)
    canary.check()


@pytest.mark.caisson
def test_volume_subpath_stays_inside(boxes, canary, engine):  # noqa: F811
    """CVE-2019-10152, CVE-2023-0778: a sub-path is resolved beneath its volume."""
    name = f"sub{os.getpid()}"

    def sub(path, cmd="cat /m/f /m/secret /m 2>/dev/null"):
        mount = {"Type": "volume", "Source": name, "Target": "/m", "VolumeOptions": {"Subpath": path}}
        return try_start(boxes, cmd, Host={"Mounts": [mount]})
    boxes.run(f"mkdir -p /v/a/b; echo inside > /v/a/b/f; echo file > /v/file; ln -s a/b /v/rel; ln -s {canary.path} /v/abs; ln -s ../../../../../../../../{canary.path} /v/up;"
              "ln -s /proc/self/root /v/magic; ln -s /a /v/rooted; ln -s loop /v/loop; mkfifo /v/pipe", Host={"Binds": [f"{name}:/v"]})
    try:
        for path, out in {"a/b": "inside\n", "a/./b/": "inside\n", "rel": "inside\n", "file": "file\n"}.items():
            b = sub(path)
            b.wait()
            assert b.out == out, path
        for path in ("abs", "abs/sub", "up", "up/secret", "magic", "rooted", "loop", "nosuch", "a/nosuch", "file/x", "rel/../../../etc", "..", "a/../..", "/etc"):
            assert sub(path) is None, path
        a = boxes.create("true", Host={"Mounts": [{"Type": "volume", "Source": name, "Target": "/m", "VolumeOptions": {"Subpath": "nosuch"}}]}).post("start")
        assert a.status == 400 and "cannot access path" in a.message and a.message.endswith("no such file or directory"), a
        assert not (engine.data / "volumes" / name / "_data" / "nosuch").exists()
        # races: the volume's other user swaps the directory for a link
        boxes.start(f"cd /v; mkdir s; ln -s {canary.path} l; while :; do mv s t; mv l s; mv s l; mv t s; done", Host={"Binds": [f"{name}:/v"]})
        for _ in range(RACES // 5):
            b = sub("s")
            if b:
                b.wait()
                assert "canary-secret" not in b.out
    finally:
        boxes.clean()
        engine.http.delete(f"/volumes/{name}", {"force": 1}, rec=False)


@pytest.mark.caisson
@pytest.mark.parametrize("link,volume", [("/proc", "/x"), ("/proc/self", "/x/attr"), ("/proc/sys", "/x"), ("/proc/sys/kernel", "/x"), ("/proc", "/x/self/attr"),
                                         ("/proc/self/fd", "/x"), ("/proc/1", "/x/ns")])
def test_cve_2019_16884_proc_under_another_name(boxes, image, tmp_path, link, volume):  # noqa: F811
    """CVE-2019-16884, CVE-2025-52881: a volume of the image that a link leads into /proc."""
    ref = image(rootfs.busybox().symlink("x", link), f"VOLUME {volume}")
    assert try_start(boxes, "cat /proc/self/mountinfo", image=ref) is None
    ref = image(rootfs.busybox().symlink("x", link))
    assert try_start(boxes, "true", image=ref, Host={"Binds": [f"{tmp_path}:{volume}"]}) is None
    assert try_start(boxes, "true", image=ref, Host={"Tmpfs": {volume: ""}}) is None


@pytest.mark.parametrize("name", ["hosts", "resolv.conf", "hostname"])
@pytest.mark.parametrize("kind", ["dir", "fifo", "device", "dangling", "proc", "loop", "absolute-inside"])
def test_strange_files_in_etc_of_the_image(boxes, image, canary, name, kind):  # noqa: F811
    tar = rootfs.busybox()
    path = "etc/" + name
    {"dir": lambda: tar.dir(path), "fifo": lambda: tar.fifo(path), "device": lambda: tar.device(path, 1, 3),
     "dangling": lambda: tar.symlink(path, "../run/systemd/resolve/stub-" + name), "proc": lambda: tar.symlink(path, "/proc/self/environ"),
     "loop": lambda: tar.symlink(path, name), "absolute-inside": lambda: tar.file("inside", "x").symlink(path, "/inside")}[kind]()
    b = try_start(boxes, f"(echo added >> /etc/{name}) 2>/dev/null; timeout 2 cat /etc/hosts", image=image(tar), Hostname="h")
    if kind in ("dangling", "absolute-inside"):
        assert b is not None and b.wait() == 0, kind
    elif b:
        b.wait()


@pytest.mark.caisson
@pytest.mark.timeout(300)
def test_cve_2025_31133_dev_is_a_volume(boxes, canary):  # noqa: F811
    """CVE-2025-31133: where /dev is a neighbour's, its null device is whatever he makes of it, at any moment."""
    vol = canary.path.parent / "dev"
    vol.mkdir()
    os.mknod(vol / "null", 0o20666, os.makedev(1, 3))
    (vol / "evil").symlink_to("/proc/sysrq-trigger")
    # both are there on every kernel; a covered one is the null device itself
    look = "cat /proc/keys /proc/timer_list | wc -c; (echo 0 > /proc/sysrq-trigger) 2>/tmp/e && echo written; stat -c %t:%T /proc/keys /proc/timer_list"
    with Swapper([(vol / "null", vol / "evil")]):
        for _ in range(RACES // 5):
            assert boxes.run(look, Host={"Binds": [f"{vol}:/dev"]}).out.split() == ["0", "1:3", "1:3"]
    canary.check()


@pytest.mark.caisson
def test_cve_2025_52565_terminals_that_are_none(boxes, canary):  # noqa: F811
    """A terminal comes from a devpts of the container's, or there is none: whatever stands in its place in somebody's directory."""
    where = canary.path.parent / "dev"
    for n, make in enumerate([lambda d: None, lambda d: os.mknod(d / "ptmx", 0o20666, os.makedev(5, 2)), lambda d: (d / "ptmx").symlink_to(canary.path / "secret"),
                              lambda d: (d / "ptmx").symlink_to("/dev/tty"), lambda d: os.mkfifo(d / "ptmx")]):
        pts = where / str(n) / "pts"
        pts.mkdir(parents=True)
        make(pts)
        make(pts.parent)
        (pts.parent / "console").symlink_to(canary.path / "secret")
        for target, source in (("/dev/pts", pts), ("/dev", pts.parent)):
            assert try_start(boxes, "tty", Tty=True, Host={"Binds": [f"{source}:{target}"]}) is None, (n, target)


def test_cve_2026_55686_workdir_in_a_volume(boxes, canary, engine):  # noqa: F811
    """WORKDIR through a link in a volume that points out, and one that is swapped."""
    vol = canary.path.parent / "w"
    vol.mkdir()
    (vol / "l").symlink_to(canary.path)
    (vol / "u").symlink_to("../" * 20 + str(canary.path).lstrip("/"))
    for where in ("/w/l/new", "/w/u/new/er", "/w/l", "/w/l/secret"):
        b = try_start(boxes, "pwd; ls", WorkingDir=where, Host={"Binds": [f"{vol}:/w"]})
        if b:
            b.wait()
            assert "secret" not in b.out.splitlines()[1:], where
    canary.check()


def test_the_old_root_is_out_of_sight_before_the_image_has_a_say(boxes, image, canary):  # noqa: F811
    """A thread lets the host's tree go while the set-up goes on. Until it has vanished, ".." in a link of the image would lead onto it."""
    up = "../" * 20
    where = str(canary.path).lstrip("/")
    tar = rootfs.busybox().dir("x").dir("x/y").symlink("x/y/out", up + where).symlink("bin/prog", up + where + "/secret")
    ref = image(tar)
    for _ in range(40):
        b = try_start(boxes, "ls; cat /proc/self/mountinfo", image=ref, WorkingDir="/x/y/out")
        assert b is None, b.wait() or b.out
        a = create(boxes.engine, ["prog"], image=ref)
        b = Box(boxes.engine, a.json["Id"])
        boxes.made.append(b)
        assert b.post("start").status == 400
        b = boxes.run("ls -a /x/y/../../..; cat /proc/self/mountinfo | cut -d' ' -f4,5", image=ref)
        assert str(canary.path) not in b.out and sum(l.split()[-1] == "/" for l in b.out.splitlines() if " " in l) == 1, b.out
    canary.check()


@pytest.mark.parametrize("limit", [1, 2])
def test_hardly_any_process_allowed(boxes, limit):
    """There may be no room for that thread."""
    b = create(boxes.engine, ["cat", "/proc/self/mountinfo"], Host={"PidsLimit": limit})
    b = Box(boxes.engine, b.json["Id"])
    boxes.made.append(b)
    for _ in range(5):
        assert b.post("start").status == 204 and b.wait() == 0
    assert all(l.split()[4].startswith(("/proc", "/sys", "/dev", "/etc")) or l.split()[4] == "/" for l in b.out.splitlines()), b.out


# The API -----------------------------------------------------------------------------------------------------------------

def rss(engine):
    with open(f"/proc/{engine.proc.pid}/status") as f:
        return int(next(l for l in f if l.startswith("VmRSS")).split()[1])


@pytest.mark.caisson
def test_hostile_request_bodies(engine):
    """Deep, huge and wrong JSON: an answer of 400 or 413, and the memory comes back."""
    before = rss(engine)
    bodies = [b'{"a":' * 100000, b"[" * 1000000, b'{"Labels":{' + b",".join(b'"%d":"x"' % n for n in range(300000)) + b"}}", b'"' + b"x" * 5000000, b"{" * 10,
              b'{"Image":"' + b"a" * 9000000 + b'"}', b'{"Image":1e999}', b'{"HostConfig":{"Memory":99999999999999999999}}', b'{"Env":[' + b"null," * 100000 + b"null]}",
              b"\xff\xfe{\x00}\x00", b'{"Image":"\\ud800"}', b'{"Image":"a\\u0000b"}', b"", b"null", b"[]", b"1"]
    for body in bodies:
        a = engine.http.post("/containers/create", {}, body, headers={"Content-Type": "application/json"}, rec=False)
        assert a.status in (400, 404, 413), (a.status, body[:40])
        assert a.json["message"], body[:40]
    assert engine.http.get("/_ping").status == 200
    assert rss(engine) - before < 100 << 10


@pytest.mark.caisson
def test_request_smuggling_is_refused(engine):
    """A body whose length is told twice, or not at all."""
    import socket

    def raw(text):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(3)
        s.connect(engine.sock)
        got = b""
        try:
            s.sendall(text)
            s.shutdown(socket.SHUT_WR)
            while True:
                piece = s.recv(65536)
                if not piece:
                    return got
                got += piece
        except OSError:
            return got
        finally:
            s.close()
    for text in (b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}",
                 b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
                 b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50000 + b"\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\0" * 1000):
        assert b" 200 " not in raw(text).split(b"\r\n")[0]
    assert engine.http.get("/_ping").status == 200


def test_cve_2021_32760_layers_keep_the_host_as_it_is(engine, canary):  # noqa: F811
    """CVE-2025-47290: two imports at once whose links point at each other's names."""
    import test_archives as t

    def one(n):
        data = rootfs.busybox().symlink("a", str(canary.path)).dir("b").symlink("b", str(canary.path)).file("a/x", "x").file("b/y", "y").bytes()
        t.bring(engine, data, f"t-par{n}")
        assert engine.http.delete(f"/images/t-par{n}", {"force": 1}, rec=False).status in (200, 404)
    together(one, *range(4))
    canary.check()
