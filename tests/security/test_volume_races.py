# SPDX-License-Identifier: Apache-2.0
"""Volumes whose other user, or whose image, is hostile. The races bite: run against dockerd 20.10 (CAISSON_ENGINE=dockerd CAISSON_SHOW=1) the first
one finds the image's files in the canary."""
import os
import subprocess
import time

import pytest

import rootfs
from box import Box, create
from test_pack_races import RENAME_EXCHANGE, libc
from together import together
from test_runtime import canary, image, try_start  # noqa: F401  (fixtures)

RACES = int(os.environ.get("CAISSON_RACES", "150"))
COMPARE = os.environ.get("CAISSON_SHOW")     # let dockerd run what is known to break it
ours = pytest.mark.caisson if not COMPARE else lambda f: f
FILES = 600


@pytest.fixture
def named(engine, boxes):
    made = []

    def make(opts=None):
        name = f"sec-{os.getpid()}-{len(made)}"
        assert engine.http.post("/volumes/create", body={"Name": name, "DriverOpts": opts}).status == 201
        made.append(name)
        return name
    yield make
    boxes.clean()
    for name in made:
        engine.http.delete(f"/volumes/{name}", {"force": 1}, rec=False)


def wide_tree():
    """A directory that takes a while to copy: time to put something else in its place."""
    tar = rootfs.busybox().dir("d").dir("d/sub", 0o777)
    for n in range(FILES):
        tar.file(f"d/sub/f{n}", "x" * 200, 0o4777, 1234, 1234)
    return tar.dir("d/sub/z", 0o777, 1234, 1234).file("d/sub/z/secret", "overwritten", 0o4777, 1234, 1234)


# As soon as a copy shows itself, it is moved aside and a link to the host takes its place; afterwards the volume is empty again.
SWAP = """cd /v{at}; while :; do
  if [ -d sub ] && [ ! -L sub ]; then mv sub moved && ln -s {canary} sub; usleep 60000; rm -rf sub moved; fi
done"""


class Eager:
    """The same from outside and in one system call: between mkdir and open of the copy is time enough."""

    def __init__(self, volume, canary):  # noqa: F811
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._run(str(volume / "s" / "sub"), str(volume / "evil"), str(canary.path))
            finally:
                os._exit(1)

    @staticmethod
    def _run(sub, evil, target):
        swap, a, b = libc.renameat2, os.fsencode(sub), os.fsencode(evil)
        os.symlink(target, evil)
        end = time.monotonic() + 300
        while time.monotonic() < end:
            for _ in range(10000):
                if swap(-100, a, -100, b, RENAME_EXCHANGE) == 0:
                    time.sleep(0.03)
                    os.unlink(sub)
                    subprocess.run(["rm", "-rf", evil], check=False)
                    os.symlink(target, evil)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


@pytest.mark.caisson
@pytest.mark.timeout(300)
def test_cve_2018_15664_swapped_as_it_is_made(boxes, image, canary, engine, named):  # noqa: F811
    """A directory of the copy is a link to the host by the time that it is opened."""
    ref = image(wide_tree())
    name = named()
    boxes.run("mkdir -m 777 /v/s", Host={"Binds": [f"{name}:/v:nocopy"]})
    mount = {"Type": "volume", "Source": name, "Target": "/d", "VolumeOptions": {"Subpath": "s"}}
    refused = 0
    with Eager(engine.data / "volumes" / name / "_data", canary):
        for _ in range(max(RACES // 5, 8)):
            a = create(boxes.engine, "true", image=ref, Host={"Mounts": [mount]})
            assert a.status in (201, 500), a
            refused += a.status == 500
            if a.status == 201:
                Box(boxes.engine, a.json["Id"]).rm(v=False)
            canary.check()
            if refused == 2:    # it came at the right moment: what there is to see has been seen
                break


@ours
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["plain", "mounted", "subpath"])
def test_cve_2018_15664_swapped_while_it_is_filled(boxes, image, canary, named, kind):  # noqa: F811
    """CVE-2018-15664 for volumes: the copy of the image's files follows nothing that the volume's other user puts in its way."""
    ref = image(wide_tree())
    name = named({"type": "tmpfs", "device": "tmpfs"} if kind == "mounted" else None)
    mount = {"Type": "volume", "Source": name, "Target": "/d"}
    if kind == "subpath":
        boxes.run("mkdir -m 777 /v/s", Host={"Binds": [f"{name}:/v:nocopy"]})
        mount["VolumeOptions"] = {"Subpath": "s"}
    swapper = boxes.start(SWAP.format(at="/s" if kind == "subpath" else "", canary=canary.path), Host={"Binds": [f"{name}:/v:nocopy"]})
    filled = 0
    for _ in range(max(RACES // 10, 8)):
        a = create(boxes.engine, "true", image=ref, Host={"Mounts": [mount]})
        assert a.status in (201, 500), a
        if a.status == 201:
            Box(boxes.engine, a.json["Id"]).rm(v=False)
            filled += 1
        canary.check()
    assert filled and swapper.state["Running"]


@ours
def test_swapped_hard_links(boxes, image, canary, named):  # noqa: F811
    """The second name of a file is made from what was copied, not from what stands there by now."""
    tar = rootfs.busybox().dir("d").file("d/sub/a", "first", 0o644)
    for n in range(FILES):
        tar.file(f"d/sub/f{n}", "x" * 200)
    ref = image(tar.dir("d/z").hardlink("d/z/secret", "d/sub/a"))
    name = named({"type": "tmpfs", "device": "tmpfs"})
    boxes.start(f"cd /v; while :; do if [ -f sub/a ]; then mv sub moved && ln -s {canary.path} sub; usleep 60000; rm -rf sub moved z; fi; done",
                Host={"Binds": [f"{name}:/v:nocopy"]})
    for _ in range(max(RACES // 10, 8)):
        a = create(boxes.engine, "cat /d/z/secret 2>/dev/null", image=ref, Host={"Binds": [f"{name}:/d"]})
        if a.status == 201:
            b = Box(boxes.engine, a.json["Id"])
            b.post("start")
            b.wait()
            assert "canary-secret" not in b.out
            b.rm(v=False)


@pytest.mark.parametrize("kind", ["plain", "mounted"])
def test_cve_2020_1726_content_is_not_overwritten(boxes, image, named, kind):  # noqa: F811
    """CVE-2020-1726: what is in a volume stays, whatever an image brings to the same place."""
    name = named({"type": "tmpfs", "device": "tmpfs"} if kind == "mounted" else None)
    boxes.start("echo mine > /v/f; mkdir /v/sub; echo deep > /v/sub/f; chmod 700 /v; chown 5:6 /v; echo up; sleep 1000", Host={"Binds": [f"{name}:/v"]}).wait_log("up")
    ref = image(rootfs.busybox().dir("d", 0o777, 1234, 1234).file("d/f", "theirs", 0o777).file("d/new", "x").dir("d/sub").file("d/sub/f", "theirs"), "VOLUME /d")
    for host in ({"Binds": [f"{name}:/d"]}, {"Mounts": [{"Type": "volume", "Source": name, "Target": "/d"}]}):
        assert boxes.run("cd /d; cat f sub/f; ls; stat -c %u:%g:%a .", image=ref, Host=host).out == "mine\ndeep\nf\nsub\n5:6:700\n"


def test_cve_2020_1726_one_hidden_file_is_not_empty(boxes, image, named):  # noqa: F811
    name = named()
    boxes.run("touch /v/.hidden", Host={"Binds": [f"{name}:/v"]})
    ref = image(rootfs.busybox().dir("d").file("d/f", "theirs"))
    assert boxes.run("ls -A /d", image=ref, Host={"Binds": [f"{name}:/d"]}).out == ".hidden\n"


@pytest.mark.parametrize("where", ["absolute", "relative", "chain", "parent", "magic"])
def test_cve_2022_23648_nothing_of_the_host(boxes, image, canary, engine, where):  # noqa: F811
    """The place of an image's volume is a link that leads out, as the host would see it."""
    tar = rootfs.busybox()
    up = "../" * 20 + str(canary.path).lstrip("/")
    target = {"absolute": "/x", "relative": "/x", "chain": "/x", "parent": "/p/sub", "magic": "/x"}[where]
    {"absolute": lambda: tar.symlink("x", str(canary.path)), "relative": lambda: tar.symlink("x", up), "chain": lambda: tar.symlink("y", up).symlink("x", "y"),
     "parent": lambda: tar.symlink("p", str(canary.path)), "magic": lambda: tar.symlink("x", f"/proc/{os.getpid()}/cwd")}[where]()
    a = create(boxes.engine, "find /x /p 2>/dev/null", image=image(tar, f"VOLUME {target}"))
    if a.status != 201:
        assert a.status in (400, 500), a
        return
    b = Box(boxes.engine, a.json["Id"])
    boxes.made.append(b)
    for m in b.inspect()["Mounts"]:
        assert os.listdir(m["Source"]) == [], "files of the host are in the volume"
    if b.post("start").status == 204:
        b.wait()
        assert "secret" not in b.out


@pytest.mark.caisson
def test_cve_2025_9566_filling_a_sub_path(boxes, image, canary, engine, named):  # noqa: F811
    """CVE-2019-10152, CVE-2025-9566: content for a sub-path is not written through a link in the volume."""
    name = named()
    boxes.run(f"ln -s {canary.path} /v/abs; ln -s {'../' * 20}{canary.path} /v/up; ln -s /proc/self/root /v/magic; mkdir /v/real; ln -s real /v/rel", Host={"Binds": [f"{name}:/v"]})
    ref = image(rootfs.busybox().dir("d", 0o777, 1234, 1234).file("d/f", "x"))
    for path in ("abs", "abs/sub", "up", "up/sub", "magic", "magic" + str(canary.path)):
        mount = {"Type": "volume", "Source": name, "Target": "/d", "VolumeOptions": {"Subpath": path}}
        assert try_start(boxes, "cat /d/secret", image=ref, Host={"Mounts": [mount]}) is None, path
        canary.check()
    mount = {"Type": "volume", "Source": name, "Target": "/d", "VolumeOptions": {"Subpath": "rel"}}
    b = try_start(boxes, "cat /d/f", image=ref, Host={"Mounts": [mount]})
    b.wait()
    assert b.out == "x"


@ours
@pytest.mark.host_mounts
def test_removal_stays_inside(boxes, canary, engine, named):  # noqa: F811
    """What a container linked or what is bound into a volume is not what is deleted with it."""
    name = named()
    boxes.run(f"ln -s {canary.path} /v/l; mkdir -p /v/m /v/d; ln -s {canary.path}/secret /v/d/s", Host={"Binds": [f"{name}:/v"]})
    inside = engine.data / "volumes" / name / "_data" / "m"
    subprocess.run(["mount", "--bind", str(canary.path.parent), str(inside)], check=True)
    try:
        boxes.clean()
        engine.http.delete(f"/volumes/{name}")
        boxes.run("true")       # the deletion goes on behind the answer
    finally:
        for line in open("/proc/self/mountinfo", encoding="utf-8").read().splitlines():
            where = line.split()[4]
            if where.startswith(str(engine.data / "volumes")) and where.endswith("/_data/m"):
                subprocess.run(["umount", where], check=True)
    canary.check()


@ours
@pytest.mark.timeout(300)
def test_volume_swapped_while_it_is_mounted(boxes, canary, engine, named):  # noqa: F811
    """CVE-2021-30465 with a named volume: its root is changed by one container while others start with it and with mounts below it."""
    name = named()
    boxes.start(f"cd /v; mkdir d; ln -s {canary.path} l; while :; do mv d t; mv l d; mv d l; mv t d; done", Host={"Binds": [f"{name}:/v"]})

    def storm(_):
        for _ in range(RACES // 3):
            b = try_start(boxes, "cat /v/d/secret", Host={"Binds": [f"{name}:/v"], "Tmpfs": {"/v/d/x": ""}})
            if b:
                b.wait()
                assert "canary-secret" not in b.out
                b.rm(v=False)
    together(storm, 1, 2)
