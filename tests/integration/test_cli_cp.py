# SPDX-License-Identifier: Apache-2.0
"""`caisson cp` beside `docker cp`: the same words, the same files afterwards, the same exit code and last line."""
import os
import shlex
import shutil
import subprocess

import pytest

import caisson_fixture as fx
from terminal import Terminal
from test_cli_create import docker_is_28

pytestmark = pytest.mark.caisson
OUT = ["box:/d .", "box:/d/. .", "box:/d new", "box:/d/. new", "box:/d f", "box:/f .", "box:/f new", "box:/f f", "box:/f new/", "box:/d empty",
       "box:/dl .", "box:/dl new", "-L box:/dl .", "-L box:/dl new", "-L box:/fl new", "box:/fl new", "box:/nope .", "box:/f nodir/x", "box:/f f/",
       "box:/bad .", "-L box:/bad .", "box:/d/x d", "box:/d d", "box:/d d/.", "box:/d/sub/h new", "box:/ empty", "none:/f ."]
IN = ["d box:/t", "d/. box:/t", "d box:/newd", "d/. box:/newd", "d box:/f", "f box:/t", "f box:/newf", "f box:/f", "f box:/nodir/", "f box:/nodir/x",
      "d box:/tl", "f box:/tl", "f box:/fl2", "dl box:/t", "-L dl box:/t", "-L fl box:/t", "-L fl box:/newf", "-L dl box:/newd", "nope box:/t", "f box:/f/",
      "empty box:/t", "-a d box:/t", "bad box:/t", "f box:t/z", "d/x box:/t/q", "f box:", "- box:/t", "- box:/f", "f box:/t/nested/", "f none:/t"]
WORDS = ["box:/f box:/g", "f g", "'' box:/t", "f ''", ":f box:/t", "box:/f :new", ":f :g"]


def tree(root):
    found = []
    for where, dirs, files in os.walk(root):
        for name in dirs + files:
            path = os.path.join(where, name)
            st = os.lstat(path)
            content = os.readlink(path) if os.path.islink(path) else open(path, "rb").read(64) if os.path.isfile(path) else ""
            found.append((os.path.relpath(path, root), oct(st.st_mode), str(content)))
    return sorted(found)


@pytest.fixture
def stage(engine, tmp_path):
    """A directory and a container's root with the same things in them."""
    def make(name):
        here = tmp_path / name
        (here / "d" / "sub").mkdir(parents=True)
        (here / "empty").mkdir()
        (here / "f").write_text("file")
        (here / "d" / "x").write_text("xx")
        (here / "d" / "x").chmod(0o640)
        os.link(here / "d" / "x", here / "d" / "sub" / "h")
        for link, target in {"d/l": "x", "dl": "d", "fl": "f", "bad": "nowhere"}.items():
            (here / link).symlink_to(target)
        subprocess.run("mkdir t && touch t/keep && ln -s t tl && ln -s newtarget fl2", shell=True, cwd=here, check=True)
        engine.cli("rm", "-f", "box")
        engine.cli("create", "--name", "box", fx.ROOTFS, "true", check=True)
        subprocess.run("tar -cf - d f dl fl bad t tl fl2 | docker cp - box:/", shell=True, cwd=here, env=engine.cli_env(), check=True)
        subprocess.run(["rm", "-rf", "t", "tl", "fl2"], cwd=here, check=True)
        return here
    yield make
    engine.cli("rm", "-f", "box")


def copy(engine, program, words, here):
    into = words.split(" ")[-1].startswith("box:")
    tar = subprocess.run(["tar", "-C", str(here), "-cf", "-", "f"], capture_output=True, check=True).stdout
    out = subprocess.run([program, "cp", *shlex.split(words)], cwd=here, env=engine.cli_env(), capture_output=True, input=tar,
                         timeout=30 * fx.TIME_FACTOR, check=False)
    said = out.stderr.decode().strip().replace(str(here), "HERE").splitlines()
    if into:
        (here / "out").mkdir()
        subprocess.run("docker export box | tar -x -C out", shell=True, cwd=here, env=engine.cli_env(), check=True)
        for name in ("bin", "dev", "proc", "sys", "etc"):
            shutil.rmtree(here / "out" / name, ignore_errors=True)
        return out.returncode, said, tree(here / "out")
    return out.returncode, said, tree(here)


@pytest.mark.parametrize("words", OUT + IN + WORDS)
def test_cp(engine, stage, words):
    docker = copy(engine, "docker", words, stage("docker"))
    ours = copy(engine, str(fx.BUILD / "caisson"), words, stage("ours"))
    assert (ours[0], ours[2]) == (docker[0], docker[2])
    if docker_is_28():
        theirs = [line.replace("docker", "caisson") for line in docker[1]]     # among what its archiver logs meanwhile
        assert ours[1] == theirs or (len(ours[1]) == 1 and ours[1][0] in theirs)


def test_stream_out(engine, stage):
    here = stage("here")
    out = subprocess.run([str(fx.BUILD / "caisson"), "cp", "box:/d", "-"], cwd=here, env=engine.cli_env(), capture_output=True, check=True)
    names = subprocess.run(["tar", "-t"], input=out.stdout, capture_output=True, check=True).stdout.decode().split()
    assert sorted(names) == ["d/", "d/l", "d/sub/", "d/sub/h", "d/x"]


def test_progress_on_a_terminal(engine, stage):
    here = stage("here")
    (here / "big").write_bytes(b"x" * 3_000_000)
    for words, what in (((str(here / "big"), "box:/big"), b"Copying to container - "), (("box:/d", str(here / "out")), b"Copying from container - ")):
        term = Terminal(engine, "cp", *words, program=str(fx.BUILD / "caisson"))
        try:
            assert what in term.until(b"Successfully copied ")
            assert term.wait() == 0
        finally:
            term.close()


def test_an_archive_stays_in_its_directory(tmp_path):
    """What an engine sends is not believed: neither .. nor links lead out of the destination (CVE-2019-14271's and CVE-2018-15664's kin)."""
    import io
    import tarfile
    from fakeengine import FakeEngine

    canary = tmp_path / "canary"
    canary.write_text("whole")
    for evil in ("dotdot", "absolute", "link", "hardlink"):
        buf = io.BytesIO()
        with tarfile.open(fileobj=buf, mode="w") as t:
            def add(name, data=b"evil", **kw):
                info = tarfile.TarInfo(name)
                for key, value in kw.items():
                    setattr(info, key, value)
                info.size = len(data) if info.type == tarfile.REGTYPE else 0
                t.addfile(info, io.BytesIO(data))
            if evil == "dotdot":
                add("../canary")
            elif evil == "absolute":
                add(str(canary))
            elif evil == "link":
                add("d", type=tarfile.SYMTYPE, linkname=str(tmp_path))
                add("d/canary")
            else:
                add("d", type=tarfile.LNKTYPE, linkname="../canary")
                add("d")
        dest = tmp_path / evil
        dest.mkdir()
        stat = "eyJuYW1lIjoiZCIsInNpemUiOjAsIm1vZGUiOjIxNDc0ODQxNDEsIm10aW1lIjoiMDAwMS0wMS0wMVQwMDowMDowMFoiLCJsaW5rVGFyZ2V0IjoiIn0="
        with FakeEngine(answers={("GET", "/containers/x/archive"): (200, buf.getvalue())}, headers={"X-Docker-Container-Path-Stat": stat}) as engine:
            subprocess.run([str(fx.BUILD / "caisson"), "cp", "x:/d", str(dest)], env={**os.environ, "DOCKER_HOST": engine.host}, capture_output=True, check=False)
        assert canary.read_text() == "whole", evil
