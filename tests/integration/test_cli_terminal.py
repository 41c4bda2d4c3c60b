# SPDX-License-Identifier: Apache-2.0
"""The interactive end of both clients: terminals, detach keys, signals, pipes."""
import hashlib
import json
import os
import pty
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import uuid

import pytest

import caisson_fixture as fx
from caisson_fixture import wait_for
from fakeengine import ID, FakeEngine
from terminal import Terminal
from unixhttp import TIME_FACTOR

pytestmark = pytest.mark.caisson
CAISSON = str(fx.BUILD / "caisson")
IMAGE = "caisson-test/rootfs"
BOTH = ["docker", CAISSON] if shutil.which("docker") else [CAISSON]
both = pytest.mark.parametrize("program", BOTH, ids=lambda p: os.path.basename(p))


@pytest.fixture
def name(engine):
    n = "term-" + uuid.uuid4().hex[:8]
    yield n
    engine.cli("rm", "-f", n)


def is_raw(t):
    return not termios.tcgetattr(t.master)[3] & (termios.ICANON | termios.ECHO)


def settings(t):
    return termios.tcgetattr(t.master)[:4]


def shell(engine, program, name, *flags, command="read x; echo got $x; exit 7", first="", **more):
    t = Terminal(engine, "run", "-it", "--network", "none", "--name", name, *flags, IMAGE, "sh", "-c", f"{first}echo ready; {command}", program=program, **more)
    try:
        t.until(b"ready")
        wait_for(lambda: is_raw(t), what="raw mode")
    except BaseException:
        t.close()
        raise
    return t


def running(engine, name):
    return engine.cli("inspect", "-f", "{{.State.Running}}", name).stdout.strip() == "true"


@both
def test_a_session_and_its_end(engine, program, name):
    t = shell(engine, program, name)
    t.send(b"hi\r")
    t.until(b"got hi")
    assert t.wait() == 7 and settings(t) == t.before
    t.close()


@both
@pytest.mark.parametrize("keys,typed", [(None, b"\x10\x11"), ("ctrl-x,y", b"\x18y"), ("a,b,a,c", b"abac")])
def test_detach_keys(engine, program, name, keys, typed):
    t = shell(engine, program, name, *(["--detach-keys", keys] if keys else []))
    t.send(typed)
    assert t.wait() == 0 and settings(t) == t.before and running(engine, name)
    t.close()


def test_a_beginning_of_the_detach_keys_is_input(engine, name):
    t = shell(engine, CAISSON, name, "--detach-keys", "a,b,a,c")
    t.send(b"ababaz\r")    # begins three times
    t.until(b"got ababaz")
    assert t.wait() == 7
    t.close()


@both
def test_detach_keys_of_the_configuration(engine, program, name, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"detachKeys": "ctrl-e,e"}))
    t = shell(engine, program, name, env={"DOCKER_CONFIG": str(tmp_path)})
    t.send(b"\x05e")
    assert t.wait() == 0 and running(engine, name)
    t.close()


@both
def test_detached_from_attach_and_exec(engine, program, name):
    engine.cli("run", "-dit", "--network", "none", "--name", name, IMAGE, "sh", "-c", "while read x; do echo got $x; done", check=True)
    for words in (["attach", name], ["exec", "-it", name, "sh", "-c", "while read x; do echo got $x; done"]):
        t = Terminal(engine, *words, program=program)
        before = t.before
        wait_for(lambda t=t: is_raw(t), what="raw mode")
        t.send(b"there\r")
        t.until(b"got there")
        t.send(b"\x10\x11")
        t.until(b"read escape sequence")
        assert t.wait() == 1 and settings(t) == before and running(engine, name)
        t.close()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGALRM])
def test_the_terminal_is_restored_whatever_ends_the_client(engine, name, sig):
    t = shell(engine, CAISSON, name, "--sig-proxy=false")
    t.proc.send_signal(sig)
    assert t.wait() == -sig and settings(t) == t.before and running(engine, name)
    t.close()


def test_the_terminal_is_restored_when_nobody_reads_the_output(engine, name):
    r, w = os.pipe()
    t = Terminal(engine, "run", "-it", "--network", "none", "--name", name, IMAGE, "sh", "-c", "echo ready; read x; while :; do echo more; done", program=CAISSON, stdout=w)
    os.close(w)
    before = t.before
    assert os.read(r, 5) == b"ready"
    os.close(r)
    t.send(b"\r")
    assert t.wait() == -signal.SIGPIPE and settings(t) == before
    t.close()


def test_stopped_and_continued(engine, name):
    t = shell(engine, CAISSON, name, "--sig-proxy=false")
    t.proc.send_signal(signal.SIGTSTP)
    wait_for(lambda: os.waitid(os.P_PID, t.proc.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT), what="the stop")
    assert settings(t) == t.before
    t.proc.send_signal(signal.SIGCONT)
    wait_for(lambda: is_raw(t), what="raw mode again")
    t.send(b"hi\r")
    t.until(b"got hi")
    assert t.wait() == 7
    t.close()


def test_a_session_outlives_the_engine(tmp_path):
    eng = fx.Engine()
    try:
        eng.start().prepare()
        t = shell(eng, CAISSON, "box")
        eng.kill()
        t.send(b"hi\r")
        t.until(b"got hi")
        assert t.wait() == 7 and settings(t) == t.before
        t.close()
        eng.start()
        eng.cli("rm", "-f", "box")
    finally:
        eng.close()


def test_the_connection_is_lost():
    gate = threading.Event()
    with FakeEngine(answers={("POST", f"/containers/{ID}/attach"): (101, gate), ("POST", f"/containers/{ID}/wait"): (200, gate)}) as fake:
        fake.cli_env = lambda **env: {"DOCKER_HOST": fake.host, "HOME": "/nonexistent", **env}
        t = Terminal(fake, "run", "-it", "busybox", program=CAISSON)
        before = t.before
        wait_for(lambda: is_raw(t), what="raw mode")
        gate.set()
        t.until(b"connection to the engine was lost")
        assert t.wait() == 125 and settings(t) == before
        t.close()


@both
def test_the_window(engine, program, name):
    t = shell(engine, program, name, command="while read x; do stty size; done")
    t.resize(33, 77)
    for _ in range(50):
        t.send(b"\r")
        if b"33 77" in t.until(b"\n"):
            break
    else:
        t.send(b"\r")
        t.until(b"33 77")
    t.send(b"\x04")
    t.wait()
    t.close()


def test_the_window_is_right_from_the_first_byte_on(engine, name):
    t = Terminal(engine, "run", "-it", "--network", "none", "--name", name, IMAGE, "stty", "size", program=CAISSON, size=(41, 99))
    t.until(b"41 99")
    assert t.wait() == 0
    t.close()


@both
def test_attach_makes_the_screen_be_drawn_again(program):
    info = {"Id": ID, "State": {"Running": True, "Status": "running"}, "Config": {"Tty": True, "OpenStdin": True}, "HostConfig": {}}
    gate = threading.Event()
    with FakeEngine(answers={("GET", "/containers/web/json"): (200, info), ("GET", f"/containers/{ID}/json"): (200, info), ("POST", "/containers/web/attach"): (101, gate),
                             ("POST", f"/containers/{ID}/attach"): (101, gate), ("POST", "/containers/web/wait"): (200, {"StatusCode": 0})}) as fake:
        fake.cli_env = lambda **env: {"DOCKER_HOST": fake.host, "HOME": "/nonexistent", **env}
        t = Terminal(fake, "attach", "web", program=program, size=(30, 90))
        wait_for(lambda: len([s for s in fake.seen if s[1].endswith("/resize")]) >= 2, what="two sizes")
        assert [s[2] for s in fake.seen if s[1].endswith("/resize")][:2] == ["h=31&w=91", "h=30&w=90"]
        gate.set()
        assert t.wait() == 0
        t.close()


@both
def test_a_large_paste(engine, program, name):
    text = b"".join(b"%06d" % n + b"x" * 94 + b"\n" for n in range(3000))
    t = shell(engine, program, name, first="stty raw -echo; ", command="head -c %d | sha256sum" % len(text))
    feeder = threading.Thread(target=lambda: [t.send(text[i:i + 1000]) for i in range(0, len(text), 1000)])
    feeder.start()
    t.until(hashlib.sha256(text).hexdigest().encode())
    feeder.join()
    assert t.wait() == 0
    t.close()


# -- pipes --------------------------------------------------------------------------------------------------------------

def start(engine, program, *words, **more):
    return subprocess.Popen([program, *words], env=engine.cli_env(), **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more})


@pytest.mark.parametrize("words", [["run", "-i", "--rm", "--log-driver", "none", "--network", "none", IMAGE, "cat"], ["exec", "-i", "NAME", "cat"]], ids=["run", "exec"])
def test_bytes_both_ways_at_once(engine, name, tmp_path, words):
    """Both directions fill up again and again: whoever waits in the one for the other stands still for ever."""
    data = os.urandom(1 << 20) * 24
    (tmp_path / "in").write_bytes(data)
    engine.cli("run", "-d", "--network", "none", "--name", name, IMAGE, "sleep", "1000", check=True)
    with open(tmp_path / "in", "rb") as i, open(tmp_path / "out", "wb") as o:
        assert start(engine, CAISSON, *[w.replace("NAME", name) for w in words], stdin=i, stdout=o).wait(50) == 0
    assert (tmp_path / "out").read_bytes() == data


def test_a_full_stdin_does_not_stop_the_output(tmp_path):
    """An engine that reads nothing before all of its output is taken."""
    (tmp_path / "in").write_bytes(bytes(8 << 20))
    data = os.urandom(1 << 20)
    frames = b"".join(struct.pack(">BxxxI", 1, len(data)) + data for _ in range(8))
    with FakeEngine(answers={("POST", f"/containers/{ID}/attach"): (101, frames), ("POST", f"/containers/{ID}/wait"): (200, {"StatusCode": 0})}) as fake, open(tmp_path / "in", "rb") as i:
        p = subprocess.run([CAISSON, "run", "-i", "busybox"], env={"DOCKER_HOST": fake.host, "HOME": "/nonexistent"}, stdin=i, capture_output=True, timeout=20 * fx.TIME_FACTOR, check=False)
    assert (p.returncode, p.stderr) == (0, b"") and p.stdout == data * 8


def test_pipe_to_pipe(engine):
    """What the kernel moves from pipe to socket and back arrives whole, also from a pipe that runs dry."""
    data = os.urandom(1 << 20) * 16
    p = start(engine, CAISSON, "run", "-i", "--rm", "--log-driver", "none", "--network", "none", IMAGE, "cat", stdin=subprocess.PIPE)
    out = []
    feeder = threading.Thread(target=lambda: [p.stdin.write(data[i:i + 300001]) for i in range(0, len(data), 300001)] + [p.stdin.close()])
    feeder.start()
    while part := p.stdout.read1(50000):
        out.append(part)
    feeder.join()
    assert b"".join(out) == data and p.wait(30) == 0 and p.stderr.read() == b""
    p.stderr.close()
    p.stdout.close()


def test_frames_of_all_sizes(tmp_path):
    """Large ones are moved from socket to pipe, small ones copied: the borders between the two, and between stdout and stderr."""
    chance = random.Random(7)
    sizes = [chance.choice((0, 1, 7, 100, 16383, 16384, 16385, 65536, 300000)) for _ in range(400)]
    parts = [(chance.choice((1, 1, 1, 2)), chance.randbytes(size)) for size in sizes]
    frames = b"".join(struct.pack(">BxxxI", fd, len(data)) + data for fd, data in parts)
    with FakeEngine(answers={("POST", f"/containers/{ID}/attach"): (101, frames), ("POST", f"/containers/{ID}/wait"): (200, {"StatusCode": 0})}) as fake:
        p = subprocess.run([CAISSON, "run", "busybox"], env={"DOCKER_HOST": fake.host, "HOME": "/nonexistent"}, stdin=subprocess.DEVNULL, capture_output=True, timeout=20 * fx.TIME_FACTOR, check=False)
    assert p.returncode == 0
    assert [p.stdout, p.stderr] == [b"".join(data for to, data in parts if to == fd) for fd in (1, 2)]


def test_output_that_is_appended(engine, tmp_path):
    (tmp_path / "out").write_bytes(b"first\n")
    with open(tmp_path / "out", "ab") as out:
        p = start(engine, CAISSON, "run", "--rm", "--network", "none", IMAGE, "head", "-c", "1000000", "/dev/zero", stdout=out)
        assert p.wait(30) == 0
    p.stderr.close()
    assert (tmp_path / "out").read_bytes() == b"first\n" + bytes(1000000)


def test_a_closed_stdout_does_not_become_the_stdin(engine):
    """What the container says does not go into the connection that got the free descriptor."""
    words = f"exec >&-; exec {CAISSON} run -i --rm --network none {IMAGE} sh -c 'echo said; echo ready >&2; read x; echo got $x >&2'"
    p = subprocess.Popen(["sh", "-c", words], env=engine.cli_env(), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.stderr.readline() == b"ready\n"
    assert p.communicate(b"typed\n", timeout=30)[1] == b"got typed\n" and p.returncode == 0


def test_half_close(engine):
    p = start(engine, CAISSON, "run", "-i", "--rm", "--network", "none", IMAGE, "sh", "-c", "cat; echo end; exit 9", stdin=subprocess.PIPE)
    assert p.communicate(b"text", timeout=30) == (b"textend\n", b"") and p.returncode == 9


def test_signals_pass_while_the_output_is_blocked(engine, name):
    """Nobody reads what the container writes; a signal still gets there."""
    p = start(engine, CAISSON, "run", "--network", "none", "--log-driver", "none", "--name", name, IMAGE, "sh", "-c",
              "trap 'touch /got' USR1; (while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done) & touch /up; while :; do sleep 0.1; done")
    wait_for(lambda: engine.cli("exec", name, "test", "-e", "/up").returncode == 0, what="the container")
    p.send_signal(signal.SIGUSR1)
    wait_for(lambda: engine.cli("exec", name, "test", "-e", "/got").returncode == 0, what="the signal")
    p.kill()
    p.communicate()


def test_the_code_comes_after_the_output_ended(engine, name):
    """A container that closes its output early was not left: its exit code counts."""
    engine.cli("create", "--network", "none", "--name", name, IMAGE, "sh", "-c", "echo out; exec >&- 2>&-; sleep 1; exit 6", check=True)
    p = start(engine, CAISSON, "start", "-a", name)
    assert p.communicate(timeout=30) == (b"out\n", b"") and p.returncode == 6


@pytest.mark.parametrize("words", [["logs", "-f"], ["logs", "-ft"]])
def test_logs_end_when_nobody_reads(engine, name, words):
    engine.cli("run", "-d", "--network", "none", "--name", name, IMAGE, "sh", "-c", "echo one; sleep 1000", check=True)
    p = start(engine, CAISSON, *words, name)
    assert p.stdout.readline().endswith(b"one\n")
    p.stdout.close()     # and the container says nothing more
    assert p.wait(20) == -signal.SIGPIPE
    p.stderr.close()


@pytest.mark.parametrize("fd", [0, 1, 2])
def test_closed_descriptors_do_not_become_sockets(engine, name, fd):
    command = f"exec {fd}{'<' if fd == 0 else '>'}&-; exec {CAISSON} run --rm --network none {IMAGE} sh -c 'echo out; echo err >&2; exit 3'"
    p = subprocess.run(["sh", "-c", command], env=engine.cli_env(), capture_output=True, timeout=30, check=False)
    assert (p.returncode, p.stdout, p.stderr) == (3, b"" if fd == 1 else b"out\n", b"" if fd == 2 else b"err\n")


def test_a_full_disk_is_said(engine):
    with open("/dev/full", "wb") as full:
        p = start(engine, CAISSON, "run", "--rm", "--network", "none", IMAGE, "echo", "x", stdout=full)
        assert b"No space left on device" in p.communicate(timeout=30)[1] and p.returncode == 125


# -- signals, against an engine that only listens -----------------------------------------------------------------------

JOB = """
import os, signal, subprocess, sys
p = subprocess.Popen(sys.argv[1:], preexec_fn=lambda: os.setpgid(0, 0))
print("stopped", os.WIFSTOPPED(os.waitpid(p.pid, os.WUNTRACED)[1]), flush=True)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
os.tcsetpgrp(0, p.pid)
os.kill(p.pid, signal.SIGCONT)
status = os.waitpid(p.pid, 0)[1]
os.tcsetpgrp(0, os.getpgrp())
print("ended", os.waitstatus_to_exitcode(status), flush=True)
"""


def test_in_the_background_it_waits_to_be_brought_forward(engine, name):
    """As any program that wants the terminal: stopped, not busy with being told that it may not have it."""
    pid, master = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-c", JOB, CAISSON, "run", "-it", "--network", "none", "--name", name, IMAGE, "sh", "-c", "echo ready; read x; echo got $x; exit 7"], engine.cli_env())
    try:
        seen = b""
        for answer, needle in ((None, b"stopped True"), (None, b"ready"), (b"hi\r", b"got hi"), (None, b"ended 7")):
            if answer:
                os.write(master, answer)
            while needle not in seen:
                assert select.select([master], [], [], 20 * TIME_FACTOR)[0], seen
                seen += os.read(master, 65536)
    finally:
        os.killpg(pid, signal.SIGKILL)
        engine.cli("rm", "-f", name)
        os.waitpid(pid, 0)
        os.close(master)


class Held:
    """A `run` whose container neither speaks nor ends."""

    def __init__(self, *flags, **more):
        self.gate = threading.Event()
        hold = {("POST", f"/containers/{ID}/attach"): (101, self.gate), ("POST", f"/containers/{ID}/wait"): (200, self.gate)}
        self.fake = FakeEngine(answers=hold)
        self.fake.__enter__()
        self.proc = subprocess.Popen([CAISSON, "run", *flags, "busybox"], env={"DOCKER_HOST": self.fake.host, "HOME": "/nonexistent"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, **more)
        wait_for(lambda: [s for s in self.fake.seen if s[1].endswith("/start")], what="the start")

    def __enter__(self):
        return self

    def kills(self):
        return [q for m, p, q, b in self.fake.seen if p.endswith("/kill")]

    def __exit__(self, *exc):
        self.gate.set()
        self.proc.kill()
        self.proc.communicate()
        self.fake.__exit__()


def caught(pid, sig):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        mask = int(next(line for line in f if line.startswith("SigCgt")).split()[1], 16)
    return mask >> (sig - 1) & 1


def test_every_signal_that_can_be_is_passed_on():
    names = "HUP INT QUIT ABRT USR1 USR2 ALRM TERM CONT TSTP TTIN TTOU XCPU XFSZ VTALRM PROF WINCH IO PWR STKFLT".split()
    numbers = {n: getattr(signal, "SIG" + n, 16 if n == "STKFLT" else None) for n in names}
    with Held() as h:
        wait_for(lambda: caught(h.proc.pid, signal.SIGTERM), what="the handlers")
        for i, n in enumerate(names):
            h.proc.send_signal(numbers[n])
            wait_for(lambda i=i: len(h.kills()) == i + 1, what=n)
        h.proc.send_signal(signal.SIGRTMIN + 3)
        wait_for(lambda: len(h.kills()) == len(names) + 1, what="RTMIN+3")
        assert h.kills() == [f"signal={n}" for n in names] + [f"signal={signal.SIGRTMIN + 3}"]


def test_three_of_them_are_a_way_out():
    with Held() as h:
        wait_for(lambda: caught(h.proc.pid, signal.SIGTERM), what="the handlers")
        for i, sig in enumerate((signal.SIGINT, signal.SIGTERM)):
            h.proc.send_signal(sig)
            wait_for(lambda i=i: len(h.kills()) == i + 1, what="the signal")
        h.proc.send_signal(signal.SIGINT)
        assert h.proc.wait(20) == 1 and h.proc.stderr.read() == b"\ngot 3 SIGTERM/SIGINTs, forcefully exiting\n"


def test_without_the_proxy_a_signal_ends_the_client():
    with Held("--sig-proxy=false") as h:
        wait_for(lambda: caught(h.proc.pid, signal.SIGTERM), what="the handlers")
        h.proc.send_signal(signal.SIGTERM)
        assert h.proc.wait(20) == -signal.SIGTERM and not h.kills()


def test_ignored_signals_stay_ignored():
    with Held("--sig-proxy=false", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as h:
        wait_for(lambda: caught(h.proc.pid, signal.SIGTERM), what="the handlers")
        assert not caught(h.proc.pid, signal.SIGHUP)
