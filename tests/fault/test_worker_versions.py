# SPDX-License-Identifier: Apache-2.0
"""A daemon of this build and workers of other releases: an older one, and one of the future (built for this; tests/worker/meson.build)."""
import shutil
import time

import pytest

from box import Boxes
from caisson_fixture import BUILD, wait_for
from terminal import Terminal
from unixhttp import demux

pytestmark = pytest.mark.caisson
WORKERS = BUILD / "tests" / "worker"
needs_workers = pytest.mark.skipif(not (WORKERS / "caisson-worker-v1").exists(), reason="workers of other versions are not built")


def use(engine, boxes, b, follow_survives):
    """Everything that the daemon asks a worker for."""
    assert b.exec("echo in; exit 3") == (3, "in\n", "")
    with b.attach() as h:
        h.send(b"hello\n")
        assert b"got hello\n" in h.frames_until(b"got hello\n")
    with b.attach(logs=1, stdin=0) as h:
        assert b"up\n" in h.frames_until(b"up\n")
    r = b.http.stream("GET", b.url + "/logs", {"stdout": 1, "follow": 1}, timeout=15)
    assert b"up" in r.read1(1000)
    with b.attach() as h:
        h.send(b"again\n")
        h.frames_until(b"got again\n")
    seen = b""
    while b"got again" not in seen:
        seen += r.read1(1000)
    ident = b.exec_create("sleep 30")
    assert b.http.post(f"/exec/{ident}/start", body={"Detach": True}).status == 200
    assert b.http.get(f"/exec/{ident}/json").json["Running"]
    assert b.post("pause").status == 204 and b.post("unpause").status == 204
    t = boxes.start(["sh"], Tty=True, OpenStdin=True)
    assert t.post("resize", {"h": 33, "w": 77}).status == 200
    if follow_survives:
        b.engine.kill()
        b.engine.start()
    assert b.kill("USR1").status == 204
    b.wait_log("usr1")
    assert b.kill("TERM").status == 204
    assert demux(r.read())[0].endswith(b"bye\n"), "the log is followed to its end"
    assert b.wait() == 5
    r.connection.close()


LOOP = "trap 'echo usr1' USR1; trap 'echo bye; exit 5' TERM; echo up; while :; do read -t 1 x && echo got $x; done"


@needs_workers
@pytest.mark.parametrize("other", ["v1", "newer"])
def test_it_starts_and_serves(fresh, other):
    engine = fresh(args=["--worker", str(WORKERS / f"caisson-worker-{other}")])
    boxes = Boxes(engine)
    b = boxes.start(LOOP, OpenStdin=True)
    b.wait_log("up")
    use(engine, boxes, b, False)
    assert boxes.run("exit 7").wait() == 7
    with_client = boxes.create("echo early")
    with with_client.attach() as h:     # travels with the start
        with_client.start()
        assert h.frames_until(b"early\n")
    bad = boxes.create("true", WorkingDir="/proc/self/fd/7/x")
    a = bad.post("start")
    assert a.status == 400 and a.message.endswith("too many levels of symbolic links"), a


@needs_workers
@pytest.mark.parametrize("other", ["v1", "newer"])
@pytest.mark.parametrize("graceful", [False, True])
def test_a_new_daemon_takes_it_over(fresh, other, graceful):
    engine = fresh(args=["--worker", str(WORKERS / f"caisson-worker-{other}")])
    boxes = Boxes(engine)
    b = boxes.start(LOOP, OpenStdin=True)
    b.wait_log("up")
    running = b.exec_create("sleep 1; exit 9")
    b.http.post(f"/exec/{running}/start", body={"Detach": True})
    engine.args = []
    engine.restart(graceful)
    assert b.state["Running"]
    wait_for(lambda: not b.http.get(f"/exec/{running}/json").json["Running"], what="the exec's end")
    assert b.http.get(f"/exec/{running}/json").json["ExitCode"] == 9
    use(engine, boxes, b, other == "newer")


@needs_workers
@pytest.mark.parametrize("other", ["v1", "newer"])
@pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")
def test_a_terminal_keeps_its_size(fresh, other):
    engine = fresh(args=["--worker", str(WORKERS / f"caisson-worker-{other}")])
    b = Boxes(engine).start(["sh"], Tty=True, OpenStdin=True)
    engine.args = []
    engine.restart()
    t = Terminal(engine, "attach", b.id)
    try:
        t.send(b"echo on''e\n")
        t.until(b"one\r\n")
        t.resize(44, 99)
        end = time.monotonic() + 10
        while True:
            t.send(b"stty size; echo do''ne\n")
            if b"44 99" in t.until(b"done\r\n"):
                break
            assert time.monotonic() < end, "the resize never arrived"
        t.send(b"exit 5\n")
        t.wait()
        assert b.wait() == 5
    finally:
        t.close()
