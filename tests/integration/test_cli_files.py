# SPDX-License-Identifier: Apache-2.0
"""Files that save and export write: what stands there already may be no file."""
import os
import shutil
import socket

import pytest

from fakeengine import FakeEngine
from twins import Twins

pytestmark = [pytest.mark.caisson, pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")]
ANSWERS = {("GET", "/images/get"): (200, b"archive"), ("GET", "/containers/c/export"): (200, b"archive")}


def device(path):
    try:
        os.mknod(path, 0o20600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no right to make devices")


KINDS = {"a file": lambda p: p.write_text("old"), "nothing": lambda p: None, "a directory": lambda p: p.mkdir(), "a FIFO": os.mkfifo, "a link": lambda p: p.symlink_to("other"),
         "a socket": lambda p: socket.socket(socket.AF_UNIX).bind(str(p)), "a device": device}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("line", [["save", "-o", "out", "x"], ["export", "-o", "out", "c"]], ids=" ".join)
def test_what_stands_there(tmp_path, kind, line):
    """A file appears in its place when all has come; anything else is left alone: nobody wants a file for /dev/null."""
    t = Twins(tmp_path)
    for name in ("docker", "caisson"):
        KINDS[kind](tmp_path / name / "out")
    with FakeEngine(ANSWERS) as engine:
        t.same(*line, DOCKER_HOST=engine.host)
    modes = [os.lstat(tmp_path / name / "out").st_mode & 0o170000 for name in ("docker", "caisson")]
    assert modes[0] == modes[1] and sorted(os.listdir(tmp_path / "docker")) == sorted(os.listdir(tmp_path / "caisson"))
    if kind in ("a file", "nothing"):
        assert t.texts("out") == ["archive"] * 2
