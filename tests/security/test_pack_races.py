# SPDX-License-Identifier: Apache-2.0
"""A tree that changes while it is packed (export, commit, docker cp): CVE-2018-15664, CVE-2019-14271, CVE-2023-0778 and their kin.

Nothing of the host's may get into the archive, no device may be opened, nothing may block, whatever is exchanged for whatever at any moment."""
import ctypes
import io
import os
import subprocess
import tarfile
import threading
import time

import pytest

from caisson_fixture import BUILD, wait_for

pytestmark = pytest.mark.caisson
ROUNDS = int(os.environ.get("CAISSON_RACE_ROUNDS", "1000"))
PACK = BUILD / "tests/unit/run-pack"
SECRET = b"the host's own words, which no archive may have"
RENAME_EXCHANGE = 2
libc = ctypes.CDLL(None, use_errno=True)


def exchange(a, b):
    libc.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), RENAME_EXCHANGE)


class Swapper:
    """A process of its own (Python's lock would slow the swapping down to the pace of the test)."""

    def __init__(self, pairs):
        self.pid = os.fork()
        if self.pid == 0:
            end = time.monotonic() + 300
            while time.monotonic() < end:
                for _ in range(50):
                    for a, b in pairs:
                        exchange(a, b)
            os._exit(0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


@pytest.fixture
def tree(tmp_path):
    """(tree, pairs to exchange); what the links lead to is outside."""
    host, top = tmp_path / "host", tmp_path / "tree"
    (host / "sub").mkdir(parents=True)
    for p in (host / "file", host / "sub" / "file", host / "f"):
        p.write_bytes(SECRET)
    top.mkdir()
    pairs = []

    def pair(name, make, other):
        (top / name).mkdir()
        make(top / name / "x")
        other(top / name / "y")
        pairs.append((top / name / "x", top / name / "y"))

    def directory(p):
        (p / "sub").mkdir(parents=True)
        for n in ("file", "f", "sub/file"):
            (p / n).write_bytes(b"inside")

    def many(p):
        directory(p)
        for n in range(30):
            (p / f"n{n}").write_bytes(b"inside")
    pair("dir-link", directory, lambda p: p.symlink_to(host))
    pair("many-link", many, lambda p: p.symlink_to(host))
    pair("dir-relative", directory, lambda p: p.symlink_to("../" * 20 + str(host).lstrip("/")))
    pair("file-link", lambda p: p.write_bytes(b"inside"), lambda p: p.symlink_to(host / "file"))
    pair("file-fifo", lambda p: p.write_bytes(b"inside"), lambda p: os.mkfifo(p))
    pair("file-device", lambda p: p.write_bytes(b"inside"), lambda p: os.mknod(p, 0o20666, os.makedev(1, 5)))
    pair("file-dir", lambda p: p.write_bytes(b"inside"), directory)
    pair("dir-dir", directory, many)
    pair("proc-link", directory, lambda p: p.symlink_to("/proc/self/root" + str(host)))
    return top, pairs


def check(data):
    assert SECRET not in data
    names = 0
    for m in tarfile.open(fileobj=io.BytesIO(data)):
        names += 1
        assert not m.name.startswith("/") and ".." not in m.name.split("/")
        assert not m.isreg() or m.size <= 6
    return names


@pytest.mark.timeout(240)
def test_swapped_while_packed(tree):
    top, pairs = tree
    with Swapper(pairs):
        for n in range(ROUNDS):
            out = subprocess.run([PACK, "tree", top], capture_output=True, check=False, timeout=20)
            assert out.returncode == 0, out.stderr
            assert SECRET not in out.stdout, n
            if n % 50 == 0:
                assert check(out.stdout) > 10


@pytest.mark.timeout(240)
def test_swapped_below_the_path(tree):
    """docker cp: the path's own parts are exchanged while they are resolved; the tree's links lead into the tree."""
    top, pairs = tree
    inner = top / "dir-link"
    with Swapper(pairs):
        for _ in range(ROUNDS):
            out = subprocess.run([PACK, "tree", top, "dir-link/x/sub/file", "got"], capture_output=True, check=False, timeout=20)
            assert SECRET not in out.stdout
            out = subprocess.run([PACK, "tree", inner, "x", "got"], capture_output=True, check=False, timeout=20)
            assert out.returncode == 0 and SECRET not in out.stdout


@pytest.mark.timeout(240)
def test_moved_out_and_in(tmp_path):
    """A deep directory leaves the tree while the walk is in it, and comes back elsewhere."""
    top, aside = tmp_path / "tree", tmp_path / "aside"
    aside.mkdir()
    deep = top / "m"
    for n in range(60):
        deep.mkdir(parents=True)
        (deep / "z").write_bytes(b"inside")
        deep = deep / f"d{n}"
    (aside / "secret").write_bytes(SECRET)
    (top / "other").mkdir()
    middle = top / "m/d0/d1/d2"
    with Swapper([(middle, aside / "secret"), (top / "m", top / "other")]):
        for _ in range(ROUNDS // 2):
            # the file that takes the directory's place is in the tree then: it may be packed, as a file, under the directory's name
            out = subprocess.run([PACK, "tree", top], capture_output=True, check=False, timeout=20)
            assert out.returncode == 0, out.stderr
            for m in tarfile.open(fileobj=io.BytesIO(out.stdout)):
                assert not m.name.endswith("secret")


def test_swapped_above(tmp_path):
    """What the walk has closed on its way down, since it holds no more than some, is a link to the host when it comes back."""
    top, host = tmp_path / "tree", tmp_path / "host"
    host.mkdir()
    (host / "z").write_bytes(SECRET)
    deep = top / "m"
    for n in range(60):
        deep.mkdir(parents=True)
        (deep / "z").write_bytes(b"inside")
        deep = deep / f"d{n}"
    (top / "l").symlink_to(host)
    left = 0
    with Swapper([(top / "m/d0/d1", top / "l")]):
        for _ in range(ROUNDS // 10):
            out = subprocess.run([PACK, "tree", top], capture_output=True, check=False, timeout=20)
            assert out.returncode == 0, out.stderr
            assert SECRET not in out.stdout
            left += b"d58/z" in out.stdout and b"m/d0/d1/z" not in out.stdout
    print("left out after the way down:", left)


SWAP = ("mkdir -p /r/d/sub /r/e; echo inside > /r/d/f; echo inside > /r/d/sub/f; ln -s {host} /r/l; echo inside > /r/p; ln -s {host}/f /r/q; mkfifo /r/w; echo inside > /r/v; "
        "echo ready; while :; do mv /r/d /r/t; mv /r/l /r/d; mv /r/d /r/l; mv /r/t /r/d; mv /r/p /r/t; mv /r/q /r/p; mv /r/p /r/q; mv /r/t /r/p; "
        "mv /r/v /r/t; mv /r/w /r/v; mv /r/v /r/w; mv /r/t /r/v; done")


@pytest.mark.timeout(120)
def test_running_container(engine, boxes, tmp_path):
    (tmp_path / "sub").mkdir()
    for p in (tmp_path / "f", tmp_path / "sub" / "f"):
        p.write_bytes(SECRET)
    box = boxes.start(SWAP.format(host=tmp_path))
    box.wait_log("ready")
    made, stop = [], threading.Event()

    def commits():
        while not stop.is_set():
            a = box.http.post("/commit", {"container": box.id, "pause": False})
            assert a.status == 201, a
            made.append(a.json["Id"])
    t = threading.Thread(target=commits)
    t.start()
    try:
        for _ in range(60):
            a = box.http.get(box.url + "/export", rec=False)
            assert a.status == 200 and SECRET not in a.body
            names = tarfile.open(fileobj=io.BytesIO(a.body)).getnames()
            assert "r" in names and "bin/busybox" in names
    finally:
        stop.set()
        t.join()
    assert len(made) > 5
    for ident in made[:20]:
        out = boxes.run("find /r | sort; cat /r/*/f /r/p 2>/dev/null", image=ident).out
        assert SECRET.decode() not in out
    boxes.clean()
    for ident in made:
        engine.http.delete(f"/images/{ident}", {"force": 1})


def test_host_descriptors_come_back(engine, boxes):
    """Mounts and descriptors of an export go with it."""
    box = boxes.sleeper()
    idle = len(os.listdir(f"/proc/{engine.proc.pid}/fd"))
    for _ in range(10):
        assert box.http.get(box.url + "/export", rec=False).status == 200
    wait_for(lambda: len(os.listdir(f"/proc/{engine.proc.pid}/fd")) <= idle + 1, what="descriptors closed")
    assert not [m for m in engine.mounts() if "merged" in m]
