# SPDX-License-Identifier: Apache-2.0
"""`caisson stats` while containers come and go, and commands that do several things at a time."""
import re
import signal
import subprocess
import threading
import time
import uuid

import pytest

import caisson_fixture as fx
from caisson_fixture import wait_for
from fakeengine import FakeEngine
from terminal import Terminal

pytestmark = pytest.mark.caisson
CAISSON = str(fx.BUILD / "caisson")
IMAGE = "caisson-test/rootfs"


@pytest.fixture
def names(engine):
    made = [f"stats-{uuid.uuid4().hex[:8]}-{c}" for c in "ab"]
    yield made
    engine.cli("rm", "-f", *made)


def sleeper(engine, name):
    engine.cli("run", "-d", "--network", "none", "--name", name, IMAGE, "sleep", "1000", check=True)


def frame(t, wanted):
    """The next whole frame on the terminal for which `wanted` holds."""
    end, seen = time.monotonic() + 20 * fx.TIME_FACTOR, b""
    while time.monotonic() < end:
        seen += t.until(b"\x1b[J")
        *whole, seen = seen.split(b"\x1b[J")
        for text in whole:
            lines = text.decode().split("\r\n")
            assert lines[0].startswith("\x1b[HCONTAINER ID") and lines[-1] == ""    # over the one before, from the top
            assert all(line.endswith("\x1b[K") for line in lines[:-1])             # what stood there goes
            rows = {line.split()[1]: line.removesuffix("\x1b[K") for line in lines[1:-1]}
            if wanted(rows):
                return rows
    raise AssertionError("no such frame")


@pytest.mark.parametrize("flags", [[], ["-a"]], ids=["running", "all"])
def test_they_come_and_go(engine, names, flags):
    one, two = names
    sleeper(engine, one)
    t = Terminal(engine, "stats", *flags, program=CAISSON)
    rows = frame(t, lambda r: one in r and two not in r and "--" not in r[one])
    assert re.search(r" \d+\.\d\d% +[\d.]+[KM]iB / [\d.]+[KMGT]iB +\d+\.\d\d% +0B / 0B +\S+B / \S+B +1$", rows[one]), rows[one]
    sleeper(engine, two)
    frame(t, lambda r: one in r and two in r and "--" not in r[two])
    engine.cli("kill", two, check=True)
    if not flags:      # with --all it stays until it is removed
        frame(t, lambda r: one in r and two not in r)
        engine.cli("start", two, check=True)
        frame(t, lambda r: two in r)
    engine.cli("rm", "-f", two, check=True)
    frame(t, lambda r: one in r and two not in r)
    t.proc.send_signal(signal.SIGINT)
    assert t.wait() == -signal.SIGINT
    t.close()


def test_a_named_one_and_its_end(engine, names):
    """Into a pipe: tables without a terminal's codes; when all that was named is removed there is nothing to wait for."""
    sleeper(engine, names[0])
    p = subprocess.Popen([CAISSON, "stats", "--format", "{{.Name}} {{.PIDs}}", names[0]], env=engine.cli_env(), stdout=subprocess.PIPE, text=True)
    assert p.stdout.readline() == f"{names[0]} 1\n"
    engine.cli("rm", "-f", names[0], check=True)
    rest = p.communicate(timeout=20)[0]
    assert p.returncode == 0 and "\x1b" not in rest


def test_a_small_window(engine, names):
    """What does not fit is left out: the terminal does not scroll with each frame. A line that is wider takes several."""
    for name in names:
        sleeper(engine, name)
    t = Terminal(engine, "stats", *names, program=CAISSON, size=(4, 200))
    frame(t, lambda rows: set(rows) == set(names))
    t.resize(3, 200)
    frame(t, lambda rows: set(rows) == {names[0]})
    t.resize(8, 60)
    frame(t, lambda rows: set(rows) == set(names))
    t.resize(6, 60)
    frame(t, lambda rows: set(rows) == {names[0]})
    t.close()


def test_processor_time(engine, names):
    """A loop that does nothing else is near one processor."""
    engine.cli("run", "-d", "--network", "none", "--name", names[0], "--cpus", "0.5", IMAGE, "sh", "-c", "while :; do :; done", check=True)
    out = subprocess.run([CAISSON, "stats", "--no-stream", "--format", "{{.CPUPerc}}", names[0]], env=engine.cli_env(), capture_output=True, text=True, check=True).stdout
    assert 1 < float(out.strip().removesuffix("%")) < 80


def test_several_at_a_time():
    """stop waits for all at once: none of them gets an answer before all have been asked."""
    gate, many = threading.Event(), [f"c{n}" for n in range(20)]
    with FakeEngine(answers={("POST", f"/containers/{c}/stop"): (200, gate) for c in many}) as fake:
        p = subprocess.Popen([CAISSON, "stop", *many], env={"DOCKER_HOST": fake.host, "HOME": "/nonexistent"}, stdout=subprocess.PIPE, text=True)
        wait_for(lambda: len(fake.seen) == len(many), what="all requests")
        gate.set()
        assert p.communicate(timeout=20)[0].split() == many and p.returncode == 0
