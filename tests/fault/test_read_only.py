# SPDX-License-Identifier: Apache-2.0
"""The data root is, or becomes, read-only (a disk that failed, a wrong mount): a clear error, no crash, and containers stay."""
import subprocess

import pytest

from box import Boxes, create
from caisson_fixture import Engine, wait_for

pytestmark = pytest.mark.caisson
# In a mount namespace of its own, so that nothing of it reaches the host.
PRIVATE = ["unshare", "--mount", "--propagation", "private", "sh", "-c", 'mount --bind "$1" "$1" && mount -o remount,bind,$2 "$1" && shift 2 && exec "$@"', "sh"]


def try_start(engine):
    """Its exit code and what it said."""
    command = [*PRIVATE, str(engine.data), "ro", *engine._command()]
    r = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return r.returncode, r.stderr


def test_a_fresh_one():
    engine = Engine()
    engine.data.mkdir()
    try:
        code, said = try_start(engine)
        assert code == 1 and f"{engine.data} is on a read-only file system" in said, (code, said)
        assert "failed to start daemon" in said and len(said.splitlines()) == 1, said
    finally:
        engine.start()
        engine.close()


def test_containers_outlive_the_attempt(fresh):
    engine = fresh()
    b = Boxes(engine).sleeper()
    b.wait_log("up")
    pid = b.pid
    engine.kill()
    code, said = try_start(engine)
    assert code == 1 and "read-only file system" in said, (code, said)
    engine.start()
    assert b.pid == pid and b.exec("echo in")[1] == "in\n"
    assert b.post("stop").status == 204


class Namespaced(Engine):
    def _command(self):
        self.data.mkdir(exist_ok=True)
        return [*PRIVATE, str(self.data), "rw", *super()._command()]

    def protect(self, on):
        """What holds containers; a mount on which a file is open for writing, as the database, cannot become read-only."""
        for sub in ("containers", "snapshots"):
            d = str(self.data / sub)
            script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"' if on else 'umount -l "$1"'
            subprocess.run(["nsenter", "-t", str(self.proc.pid), "-m", "sh", "-c", script, "sh", d], check=True)


def test_it_becomes_read_only():
    engine = Namespaced()
    try:
        engine.start().prepare()
        boxes = Boxes(engine)
        b, stopped = boxes.sleeper(), boxes.create("echo again")
        b.wait_log("up")
        engine.protect(True)
        a = create(engine, "true")
        assert a.status == 500 and "read-only" in a.message.lower(), a
        a = stopped.post("start")
        assert a.status == 500 and "read-only" in a.message.lower(), a
        assert len(engine.http.get("/containers/json", {"all": 1}).json) == 2
        assert b.exec("echo in; exit 3") == (3, "in\n", "")
        assert b.post("kill").status == 204
        wait_for(lambda: b.state["Status"] == "exited", what="an exit that cannot be written down is still told")
        assert b.state["ExitCode"] == 137
        assert engine.alive()
        engine.protect(False)
        assert stopped.post("start").status == 204 and stopped.wait() == 0 and stopped.out == "again\n"
        assert b.post("start").status == 204 and b.state["Running"]
        assert create(engine, "true").status == 201
    finally:
        engine.close()
