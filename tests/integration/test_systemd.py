# SPDX-License-Identifier: Apache-2.0
"""systemd: the unit files, and a daemon that inherits its socket, as socket activation does it."""
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from caisson_fixture import BUILD, REPO, Engine, wait_for

pytestmark = pytest.mark.caisson


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
def test_units_are_valid(tmp_path):
    unit = (REPO / "share/caissond.service.in").read_text().replace("@bindir@/caissond", str(BUILD / "caissond"))
    (tmp_path / "caissond.service").write_text(unit)
    shutil.copy(REPO / "share/caissond.socket", tmp_path)
    r = subprocess.run(["systemd-analyze", "verify", "--man=no", tmp_path / "caissond.service", tmp_path / "caissond.socket"],
                       capture_output=True, text=True, check=False)
    mine = [line for line in (r.stdout + r.stderr).splitlines() if "caisson" in line]
    assert r.returncode == 0 and not mine, r


class Activated(Engine):
    """systemd-socket-activate holds the socket and starts the daemon with the first client."""

    def _command(self):
        command = super()._command()
        at = command.index("-H")
        command[at + 1] = "fd://"
        return ["systemd-socket-activate", "-l", self.sock, *command]


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="no systemd-socket-activate")
def test_socket_activation():
    engine = Activated()
    try:
        with open(engine.log, "ab") as log:
            engine.proc = subprocess.Popen(engine._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        wait_for(lambda: os.path.exists(engine.sock), what="the socket")
        assert "Execing" not in engine.tail(), "started without a client"

        def answers():
            try:
                return engine.http.get("/_ping").status == 200
            except ConnectionRefusedError:      # bound, and not yet listening
                return False
        wait_for(answers, what="an answer")
        engine.prepare()
        inside = Path(f"/proc/{engine.proc.pid}/environ").read_bytes()
        assert b"LISTEN_FDS=1" in inside      # its environment at exec
        from box import Boxes
        b = Boxes(engine).run("env; ls -l /proc/self/fd | wc -l; exit 4")
        assert b.code == 4 and "LISTEN_" not in b.out, "the variables are the daemon's own"
        assert not re.search("NOTIFY_SOCKET", b.out)
        b.rm()
        os.kill(engine.proc.pid, signal.SIGTERM)
        assert engine.proc.wait(20) == 0
        assert os.path.exists(engine.sock), "the socket belongs to systemd"
    finally:
        if engine.proc.poll() is None:
            engine.kill()
        os.unlink(engine.sock)
        engine.__class__ = Engine
        engine.start()
        engine.close()


def test_fd_without_a_socket_is_an_error():
    engine = Engine()
    command = engine._command()
    command[command.index("-H") + 1] = "fd://"
    r = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    shutil.rmtree(engine.root)
    assert r.returncode == 1 and "no sockets found via socket activation" in r.stderr, r.stderr
