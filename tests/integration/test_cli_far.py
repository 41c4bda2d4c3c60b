# SPDX-License-Identifier: Apache-2.0
"""Engines that are elsewhere: what the far end of ssh:// runs (`system dial-stdio`), the keyboard's signals beside ssh, connections to hosts that vanish."""
import array
import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import termios
import threading
import time

import pytest

import caisson_fixture as fx
from caisson_fixture import wait_for
from unixhttp import TIME_FACTOR

pytestmark = pytest.mark.caisson
CAISSON = str(fx.BUILD / "caisson")
SSH = "#!/bin/sh\nDOCKER_HOST=unix://SOCK exec CAISSON system dial-stdio\n"


@pytest.fixture
def far(engine, tmp_path):
    """The environment of a client whose ssh ends at the tests' engine."""
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(SSH.replace("SOCK", engine.sock).replace("CAISSON", CAISSON))
    ssh.chmod(0o755)
    return {"PATH": f"{ssh.parent}:{os.environ['PATH']}", "DOCKER_HOST": "ssh://far.example", "HOME": str(tmp_path)}


def test_neither_direction_waits_for_the_other(tmp_path):
    """An engine that goes on reading when all that it has to say is taken, and a client that wants to be heard first."""
    size = 4 << 20
    with dialled(tmp_path) as (p, conn):
        conn.settimeout(20 * TIME_FACTOR)
        feeder, reader = (threading.Thread(target=f, args=a) for f, a in ((feed, (p.stdin, size)), (p.stdout.read, (size,))))
        feeder.start()
        reader.start()
        conn.sendall(bytes(size))
        with conn.makefile("rb") as heard:
            assert len(heard.read(size)) == size
        reader.join()
        feeder.join()
        assert conn.recv(1) == b""


def test_what_a_closing_engine_said_arrives(tmp_path):
    with dialled(tmp_path) as (p, conn):
        feeder = threading.Thread(target=feed, args=(p.stdin, 4 << 20))
        feeder.start()
        wait_for(lambda: stands_still(conn), what="a client that cannot send more")
        conn.sendall(b"go away")
        conn.close()
        assert p.stdout.read() == b"go away" and p.wait(20 * TIME_FACTOR) == 0
        feeder.join()


@contextlib.contextmanager
def dialled(tmp_path):
    """`system dial-stdio` and the engine's end of its connection."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        p = subprocess.Popen([CAISSON, "-H", "unix://" + path, "system", "dial-stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"HOME": str(tmp_path)})
        with listener.accept()[0] as conn:
            try:
                yield p, conn
            finally:
                p.kill()
                p.wait()
                p.stdout.close()


def feed(pipe, size):
    try:
        pipe.write(bytes(size))
        pipe.close()
    except BrokenPipeError:
        pass


def stands_still(conn):
    seen = []
    for _ in range(2):
        n = array.array("i", [0])
        fcntl.ioctl(conn, termios.FIONREAD, n)
        seen.append(n[0])
        time.sleep(0.1)
    return seen[0] > 0 and seen[0] == seen[1]


def test_a_key_for_the_container_does_not_end_ssh(far):
    """Ctrl-C goes to the whole process group: the client passes it on, over ssh."""
    p = subprocess.Popen([CAISSON, "run", "--rm", "--network", "none", fx.ROOTFS, "sh", "-c", "trap 'echo got it; exit 9' INT; echo ready; while :; do sleep 0.1; done"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=far, start_new_session=True)
    assert p.stdout.readline() == b"ready\n"
    os.killpg(p.pid, signal.SIGINT)
    out, err = p.communicate(timeout=30 * TIME_FACTOR)
    assert (p.returncode, out, err) == (9, b"got it\n", b"")


def test_a_host_that_vanishes_is_noticed(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        p = subprocess.Popen([CAISSON, "-H", f"tcp://127.0.0.1:{port}", "events"], env={"HOME": str(tmp_path)}, stderr=subprocess.DEVNULL)
        with listener.accept()[0] as conn:
            conn.recv(1)
            with open("/proc/net/tcp", encoding="ascii") as f:
                timers = [line.split()[5][:2] for line in f if line.split()[2].endswith(f":{port:04X}") and line.split()[3] == "01"]
            assert timers == ["02"]  # keepalive
        p.wait(20 * TIME_FACTOR)
