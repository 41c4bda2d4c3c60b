# SPDX-License-Identifier: Apache-2.0
"""The daemon dies at any moment; containers, terminals, logs and exit codes do not notice."""
import ctypes
import http.client
import json
import os
import random
import re
import shutil
import subprocess
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from box import Box, Boxes, Events, create
from caisson_fixture import wait_for
from terminal import Terminal

pytestmark = pytest.mark.caisson
ROUNDS = int(os.environ.get("CAISSON_FAULT_ROUNDS", "15"))
SEED = int(os.environ.get("CAISSON_FAULT_SEED", str(random.randrange(1 << 30))))
IMAGE = "caisson-test/rootfs"
needs_docker = pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")


def parse(stamp):
    return datetime.fromisoformat(stamp[:26].rstrip("Z") + "+00:00").timestamp() if "." in stamp else \
        datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()


def answered(engine, name):
    """The prompt may be there before `start` has been answered, and an unanswered start is rightly an error for the command."""
    wait_for(lambda: engine.http.get(f"/containers/{name}/json").json["State"]["Running"], what="running")
    time.sleep(0.1)


class Load:
    """Threads that create, start, exec into and remove containers until the daemon is gone; they note what was promised."""

    def __init__(self, engine, rng):
        self.engine, self.rng = engine, rng
        self.lock, self.over = threading.Lock(), threading.Event()
        self.created, self.started, self.removing, self.removed = {}, set(), set(), set()
        self.problems = []

    def worker(self, seed):
        rng = random.Random(seed)
        while not self.over.is_set():
            code = rng.randrange(1, 120)
            try:
                cmd = rng.choice([f"exit {code}", f"sleep 0.0{rng.randrange(1, 9)}; exit {code}", f"sleep 0.{rng.randrange(1, 5)}; exit {code}"])
                a = create(self.engine, cmd)
                if a.status != 201:
                    self.problems.append(("create", a))
                    return
                box = Box(self.engine, a.json["Id"])
                with self.lock:
                    self.created[box.id] = code
                a = box.post("start", timeout=15)
                if a.status != 204:
                    self.problems.append(("start", a))
                    return
                with self.lock:
                    self.started.add(box.id)
                what = rng.random()
                if what < 0.3:
                    box.post("exec", body={"Cmd": ["true"]}, timeout=15)
                elif what < 0.6:
                    with self.lock:
                        self.removing.add(box.id)
                    a = box.http.delete(box.url, {"force": 1}, timeout=15)
                    if a.status not in (204, 404):
                        self.problems.append(("rm", a))
                    with self.lock:
                        self.removed.add(box.id)
            except (OSError, ConnectionError, ValueError, __import__("http.client").client.HTTPException):
                return      # the daemon is gone: what was not answered was not promised

    def run_until_kill(self, delay):
        threads = [threading.Thread(target=self.worker, args=(self.rng.random(),)) for _ in range(4)]
        for t in threads:
            t.start()
        time.sleep(delay)
        self.engine.kill()
        self.over.set()
        for t in threads:
            t.join(20)
            assert not t.is_alive(), "a client hangs although the daemon is dead"


@pytest.mark.timeout(60 + ROUNDS * 8)
def test_kill_under_load(fresh):
    rng = random.Random(SEED)
    engine = fresh()
    for number in range(ROUNDS):
        where = f"round {number}, seed {SEED}"
        load = Load(engine, rng)
        load.run_until_kill(rng.uniform(0.02, 0.5))
        engine.start()
        assert not load.problems, (where, load.problems)
        for ident, code in load.created.items():
            box = Box(engine, ident)
            a = engine.http.get(box.url + "/json")
            if ident in load.removed:
                assert a.status == 404, f"{where}: {ident} was removed, and is back"
                continue
            if ident in load.removing and a.status == 404:
                continue
            assert a.status == 200, f"{where}: {ident} is lost"
            if ident in load.started and ident not in load.removing:
                assert box.wait(timeout=20) == code, f"{where}: {ident}: {a.json['State']}"
                state = box.state
                assert state["Status"] == "exited" and state["ExitCode"] == code
                assert parse(state["StartedAt"]) <= parse(state["FinishedAt"]) <= time.time() + 1, state
        engine.remove_all()
        try:
            engine.check_leaks()
        except AssertionError as err:
            raise AssertionError(f"{where}: {err}") from None


@pytest.mark.parametrize("policy", ["unless-stopped", "on-failure"])
def test_policy_between_two_restarts(fresh, policy):
    """An engine that takes its containers with it stops what waits for its next restart, too; but no user did, so it goes on with the next engine."""
    engine = fresh(config={"live-restore": False})
    box = Box(engine, create(engine, "exit 1", Host={"RestartPolicy": {"Name": policy}}).json["Id"])
    box.start()
    wait_for(lambda: box.inspect()["RestartCount"] >= 4, 30, "a pause that is longer than what is to come")
    wait_for(lambda: box.state["Restarting"], 30, "between two restarts")
    engine.restart(graceful=True)
    count = box.inspect()["RestartCount"]
    wait_for(lambda: box.inspect()["RestartCount"] > count, 30, "restarted")
    box.rm()


@pytest.mark.timeout(60 + ROUNDS * 8)
@pytest.mark.parametrize("what", ["create", "start", "exec", "pause", "unpause", "stop", "restart", "remove", "rename"])
def test_kill_inside(fresh, what):
    """The daemon dies inside one operation: afterwards it has happened or not, and everything can be used and removed."""
    engine = fresh()
    rng = random.Random(SEED)
    for number in range(ROUNDS):
        box = Box(engine, create(engine, "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done").json["Id"])
        if what not in ("create", "start"):
            assert box.post("start").status == 204
            box.wait_log("up")
        if what == "unpause":
            box.post("pause")
        answer = []

        def act():
            try:
                if what == "create":
                    answer.append(create(engine, "true").status)
                elif what == "exec":
                    answer.append(box.exec("sleep 0.01; exit 7")[0])
                elif what == "remove":
                    answer.append(engine.http.delete(box.url, {"force": 1}, timeout=15).status)
                elif what == "rename":
                    answer.append(box.post("rename", {"name": f"new{number}"}, timeout=15).status)
                else:
                    answer.append(box.post(what, timeout=15).status)
            except (OSError, ConnectionError, ValueError, AssertionError, http.client.HTTPException):
                pass
        thread = threading.Thread(target=act)
        delay = rng.uniform(0, 0.012 if what != "restart" else 0.06)
        where = f"{what}, round {number}, seed {SEED}, after {delay:.5f} s"
        thread.start()
        time.sleep(delay)
        engine.kill()
        thread.join(20)
        assert not thread.is_alive(), where
        engine.start()
        listed = {c["Id"] for c in engine.http.get("/containers/json", {"all": 1}).json}
        if what == "remove":
            assert not answer or box.id not in listed, where
        else:
            assert box.id in listed, f"{where}: lost"
        if box.id in listed:
            if what in ("stop", "restart"):
                time.sleep(0.15)    # the signal may be on its way
            state = box.state
            if answer and answer[0] == 204 and what in ("start", "pause", "unpause", "stop"):
                assert state["Status"] == {"start": "running", "pause": "paused", "unpause": "running", "stop": "exited"}[what], (where, state)
            if state["Paused"]:
                assert box.post("unpause").status == 204, where
            if not box.state["Running"]:
                assert box.post("start").status == 204, where
            assert box.exec("exit 5")[0] == 5, where
            assert box.post("stop").status == 204 and box.state["ExitCode"] in (3, 137), where
        engine.remove_all()
        try:
            engine.check_leaks()
        except AssertionError as err:
            raise AssertionError(f"{where}: {err}") from None


def test_exit_while_the_daemon_is_dead(fresh):
    engine = fresh()
    boxes = Boxes(engine)
    b = boxes.start("sleep 0.3; exit 7")
    engine.kill()
    time.sleep(1)
    back = time.time()
    engine.start()
    s = b.state
    assert s["Status"] == "exited" and s["ExitCode"] == 7
    assert parse(s["FinishedAt"]) < back, "the time of the exit, not of its discovery"


def test_killed_container_while_the_daemon_is_dead(fresh):
    engine = fresh()
    b = Boxes(engine).sleeper()
    pid = b.pid
    engine.kill()
    os.kill(pid, 9)
    engine.start()
    assert b.wait() == 137


@pytest.mark.parametrize("graceful", [False, True])
def test_running_containers_stay(fresh, graceful):
    engine = fresh()
    b = Boxes(engine).sleeper(Healthcheck={"Test": ["CMD", "true"], "Interval": 100_000_000})
    b.wait_log("up")
    pid = b.pid
    engine.restart(graceful)
    s = b.state
    assert s["Running"] and s["Pid"] == pid and os.path.exists(f"/proc/{pid}")
    assert b.exec("echo in; exit 3") == (3, "in\n", "")
    wait_for(lambda: b.state["Health"]["Status"] == "healthy", what="health checks go on")
    assert b.post("stop").status == 204 and b.state["ExitCode"] == 0


@pytest.mark.parametrize("graceful", [False, True])
def test_health_status_is_no_news_after_a_restart(fresh, graceful):
    """What was healthy is healthy: no second transition. And a stop does not wait for the probe that runs."""
    engine = fresh()
    b = Boxes(engine).sleeper(Healthcheck={"Test": ["CMD", "sleep", "0.3"], "Interval": 100_000_000})
    with Events(engine) as events:
        events.until("health_status", b.id)
    wait_for(lambda: (engine.data / "containers" / b.id / "health").exists(), what="status on disk")
    began = time.monotonic()
    engine.restart(graceful)
    assert time.monotonic() - began < 3
    assert b.state["Health"]["Status"] == "healthy"
    with Events(engine) as events:
        events.until("exec_die", b.id)
        wait_for(lambda: b.state["Health"]["Log"], what="a result")
        assert not [a for a in events.actions(b.id) if a.startswith("health_status")]
    b.kill()
    b.wait()
    b.start()       # a new run begins anew
    assert b.state["Health"]["Status"] == "starting"


@pytest.mark.parametrize("graceful", [False, True])
def test_health_results_survive(fresh, graceful):
    """The last results are there after a restart of the daemon, also of a container that has stopped; they end with five."""
    engine = fresh()
    b = Boxes(engine).sleeper(Healthcheck={"Test": ["CMD-SHELL", "echo 'sa\"id'; exit 3"], "Interval": 60_000_000, "Retries": 2})
    wait_for(lambda: len(b.state["Health"]["Log"]) == 5, what="five results")
    engine.kill()
    time.sleep(0.2)
    engine.start()
    log = b.state["Health"]["Log"]
    assert len(log) == 5 and log[0]["Output"] == 'sa"id\n' and log[0]["ExitCode"] == 3
    assert b.state["Health"]["Status"] == "unhealthy" and b.state["Health"]["FailingStreak"] >= 5
    assert parse(log[0]["Start"]) < parse(log[4]["End"]) <= time.time()
    b.kill()
    b.wait()
    last = b.state["Health"]
    assert last["Status"] == "unhealthy" and len(last["Log"]) == 5
    engine.restart(graceful)
    assert b.state["Health"]["Log"] == last["Log"] and b.state["Health"]["Status"] == "unhealthy"


def test_paused_stays_paused(fresh):
    engine = fresh()
    b = Boxes(engine).sleeper()
    b.post("pause")
    engine.restart()
    assert b.state["Status"] == "paused"
    assert b.post("unpause").status == 204 and b.state["Status"] == "running"


def test_auto_remove_and_restart_policy_are_made_up_for(fresh):
    engine = fresh()
    boxes = Boxes(engine)
    gone = boxes.start("sleep 0.2", Host={"AutoRemove": True})
    again = boxes.start("sleep 0.2; exit 1", Host={"RestartPolicy": {"Name": "always"}})
    once = again.pid
    engine.kill()
    time.sleep(0.6)
    engine.start()
    wait_for(lambda: engine.http.get(gone.url + "/json").status == 404, what="auto-remove")
    wait_for(lambda: again.state["Running"] and again.pid != once, what="restart")


def test_log_is_complete(fresh):
    engine = fresh()
    b = Boxes(engine).start("i=0; while [ $i -lt 600 ]; do echo $i; i=$((i+1)); usleep 2000; done")
    for _ in range(3):
        time.sleep(0.2)
        engine.kill()
        time.sleep(0.1)
        engine.start()
    assert b.wait() == 0
    assert b.out.split() == [str(n) for n in range(600)]


def test_follow_goes_on(fresh):
    """logs -f belongs to the worker once what was there before is out."""
    engine = fresh()
    b = Boxes(engine).start("echo one; read x; echo two", OpenStdin=True)
    b.wait_log("one")
    attached = b.attach(stdout=0, stderr=0)
    worker = re.search(r"PPid:\t(\d+)", Path(f"/proc/{b.pid}/status").read_text())[1]

    def sockets():
        return [f for f in map(os.readlink, Path(f"/proc/{worker}/fd").iterdir()) if f.startswith("socket:")]
    before = len(sockets())
    r = engine.http.stream("GET", b.url + "/logs", {"stdout": 1, "follow": 1}, timeout=15)
    assert b"one" in r.read1(100)
    wait_for(lambda: len(sockets()) > before, what="the worker to have the client")
    engine.kill()
    attached.send(b"\n")
    seen = b""
    try:
        while b"two" not in seen:
            piece = r.read1(100)
            assert piece, "the stream ended with the daemon"
            seen += piece
    finally:
        engine.start()
    attached.close()
    r.connection.close()


def test_raw_attach_goes_on(fresh):
    engine = fresh()
    b = Boxes(engine).start("cat; echo eof; exit 4", OpenStdin=True, StdinOnce=True)
    with b.attach() as h:
        h.send(b"before\n")
        h.frames_until(b"before\n")
        engine.kill()
        h.send(b"while dead\n")
        h.frames_until(b"while dead\n")
        engine.start()
        h.send(b"after\n")
        h.frames_until(b"after\n")
        h.close_write()
        h.frames_until(b"eof\n")
    assert b.wait() == 4


@needs_docker
@pytest.mark.parametrize("graceful", [False, True])
def test_run_terminal_goes_on(fresh, graceful):
    engine = fresh()
    t = Terminal(engine, "run", "-it", "--name", "term", "--network", "none", IMAGE, "sh")
    try:
        t.until(b"# ")
        answered(engine, "term")
        engine.stop() if graceful else engine.kill()
        t.send(b"echo de''ad\n")
        t.until(b"dead\r\n")
        engine.start()
        t.resize(44, 99)
        end = time.monotonic() + 10
        while True:
            t.send(b"stty size; echo do''ne\n")
            if b"44 99" in t.until(b"done\r\n"):
                break
            assert time.monotonic() < end, "the resize never arrived"
        t.send(b"exit 6\n")
        t.wait()
        assert engine.http.post("/containers/term/wait").json["StatusCode"] == 6
    finally:
        t.close()


@needs_docker
def test_exec_terminal_goes_on(fresh):
    engine = fresh()
    b = Boxes(engine).sleeper()
    t = Terminal(engine, "exec", "-it", b.id, "sh")
    try:
        t.until(b"# ")
        engine.restart()
        t.resize(44, 99)
        end = time.monotonic() + 10
        while True:
            t.send(b"stty size; echo do''ne\n")
            if b"44 99" in t.until(b"done\r\n"):
                break
            assert time.monotonic() < end, "the resize never arrived"
        t.send(b"exit 8\n")
        assert t.wait() == 8        # the command asks the new daemon for the code
    finally:
        t.close()


def test_exec_that_ends_without_a_daemon(fresh):
    """Its container lives on: the next daemon tells the code with which it ended, though the worker has forgotten it by then."""
    engine = fresh()
    b = Boxes(engine).sleeper()
    assert b.exec("mkfifo /go")[0] == 0
    ids = [b.post("exec", body={"Cmd": ["sh", "-c", f"read x < /go; exit {code}"]}).json["Id"] for code in (7, 8)]
    first, second = (f"/exec/{i}" for i in ids)
    assert engine.http.post(first + "/start", body={"Detach": True}).status == 200
    pid = b.pid
    engine.kill()
    with open(f"/proc/{pid}/root/go", "w") as go:
        go.write("\n")
    ended = engine.exec / "systems" / b.id / f"exec-{ids[0]}"
    wait_for(ended.exists, what="the worker notes the end")
    engine.start()
    wait_for(lambda: not engine.http.get(first + "/json").json["Running"], what="the end is known")
    assert engine.http.get(first + "/json").json["ExitCode"] == 7
    wait_for(lambda: not ended.exists(), what="what the daemon knows now is noted no longer")
    assert engine.http.post(second + "/start", body={"Detach": True}).status == 200


@needs_docker
def test_attach_terminal_goes_on(fresh):
    engine = fresh()
    b = Boxes(engine).start(["sh"], Tty=True, OpenStdin=True)
    t = Terminal(engine, "attach", b.id)
    try:
        t.send(b"echo on''e\n")
        t.until(b"one\r\n")
        engine.restart()
        t.send(b"echo tw''o\n")
        t.until(b"two\r\n")
        t.send(b"exit 5\n")
        t.wait()
        assert b.wait() == 5
    finally:
        t.close()


@needs_docker
@pytest.mark.parametrize("rm", [False, True])
@pytest.mark.parametrize("how", ["kill", "graceful", "twice", "dead"])
def test_run_reports_the_exit_code_after_a_kill(fresh, how, rm):
    """`docker run` waits on a request of its own; that one must survive too, also if a newer daemon is there at the exit."""
    engine = fresh()
    t = Terminal(engine, "run", "-it", *(["--rm"] if rm else []), "--name", "code", "--network", "none", IMAGE, "sh")
    try:
        t.until(b"# ")
        answered(engine, "code")
        if how == "dead":
            engine.kill()
        else:
            engine.restart(graceful=how == "graceful")
        if how == "twice":
            engine.restart()
        t.send(b"exit 6\n")
        assert t.wait() == 6
        if how == "dead":
            engine.start()
        if rm:
            wait_for(lambda: engine.http.get("/containers/code/json").status == 404, what="removal")
        else:
            wait_for(lambda: engine.http.get("/containers/code/json").json["State"]["ExitCode"] == 6, what="exit recorded")
    finally:
        t.close()


def test_wait_survives_a_kill_at_the_exit(fresh):
    """SIGKILL between the exit and its answer: either the daemon has answered, or the worker does."""
    engine = fresh()
    boxes = Boxes(engine)
    for n in range(25):
        b = boxes.start("read x; exit 5", OpenStdin=True)
        attached = b.attach(stdout=0, stderr=0)
        r = engine.http.stream("POST", b.url + "/wait", {"condition": "not-running"}, timeout=15)
        time.sleep(0.02)    # handed over
        attached.send(b"\n")
        time.sleep(0.0005 * n)
        engine.kill()
        assert json.loads(r.read())["StatusCode"] == 5
        r.connection.close()
        attached.close()
        engine.start()
        assert b.wait() == 5
        b.rm()


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
def test_the_answer_of_a_wait_is_one_piece(fresh, tmp_path):
    """Killed between the answer and the end of its body, the daemon would have the worker say it again in the same body."""
    engine = fresh()
    b = Boxes(engine).start("read x; exit 5", OpenStdin=True)
    attached = b.attach(stdout=0, stderr=0)
    r = engine.http.stream("POST", b.url + "/wait", {"condition": "not-running"}, timeout=15)
    time.sleep(0.1)     # handed over
    log = tmp_path / "trace"
    tracer = subprocess.Popen(["strace", "-f", "-s", "200", "-e", "trace=sendto,sendmsg,write,writev", "-p", str(engine.proc.pid), "-o", str(log)],
                              stderr=subprocess.PIPE, text=True)
    try:
        assert "attached" in tracer.stderr.readline()
        attached.send(b"\n")
        assert json.loads(r.read()) == {"StatusCode": 5}
    finally:
        tracer.terminate()
        tracer.wait()
    sent = [line for line in log.read_text().splitlines() if "StatusCode" in line]
    assert len(sent) == 1 and r"\r\n0\r\n\r\n" in sent[0], sent
    assert r.getheader("Connection") == "close"
    r.connection.close()
    attached.close()


def test_kill_during_start_up(fresh):
    engine = fresh()
    boxes = Boxes(engine)
    b = boxes.sleeper()
    done = boxes.run("exit 9")
    for n in range(6):
        engine.kill()
        import subprocess
        with open(engine.log, "ab") as log:
            p = subprocess.Popen(engine._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        time.sleep(0.005 * n)
        p.kill()
        p.wait()
        engine.start()
    assert b.state["Running"] and done.state["ExitCode"] == 9
    assert b.exec("echo x")[1] == "x\n"


def test_a_socket_named_twice_is_opened_once(fresh):
    """moby's test suite does so, with the same address in other words, too."""
    def sockets(engine):
        return [line for line in Path("/proc/net/unix").read_text().splitlines() if line.endswith(" " + engine.sock) and " 00010000 " in line]     # those that listen
    engine = fresh(prepare=False)
    engine.stop()
    engine.args += ["-H", "unix://" + engine.sock, "-H", engine.sock]
    engine.start()
    assert len(sockets(engine)) == 1


def test_second_daemon_is_refused(fresh):
    import subprocess
    engine = fresh()
    p = subprocess.run(engine._command(), capture_output=True, text=True, timeout=15)
    assert p.returncode != 0 and p.stderr.strip()
    assert engine.http.get("/_ping").status == 200


def test_pidfile_and_socket_are_the_daemons_alone(fresh, tmp_path):
    """Two at once are refused. After a SIGKILL the next one is not, though a child between clone and execve still has all files open."""
    eng = fresh(prepare=False)
    command = eng._command()
    elsewhere = [word if word.startswith("unix:") else word.replace(str(eng.root), str(tmp_path)) for word in command]
    shutil.copy(eng.config, tmp_path)
    for words, message in ((command, f"process with PID {eng.proc.pid} is still running"), (command, "is still running"),
                           (elsewhere, "another process listens on it")):
        second = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
        assert second.returncode == 1 and message in second.stderr, second
    libc, daemon = ctypes.CDLL(None, use_errno=True), os.pidfd_open(eng.proc.pid)
    # pidfd_getfd: the same open files, as such a child has them
    copies = [libc.syscall(438, daemon, int(n), 0) for n in os.listdir(f"/proc/{eng.proc.pid}/fd") if int(n) > 2]
    try:
        assert sum(fd >= 0 for fd in copies) > 5, os.strerror(ctypes.get_errno())
        eng.kill()
        eng.start()
    finally:
        for fd in [daemon, *(fd for fd in copies if fd >= 0)]:
            os.close(fd)


def test_children_are_cloned_from_an_empty_table(fresh):
    """A child between clone and execve has what its maker has: not the API's sockets, which the next daemon wants at once, nor reserved ports."""
    engine = fresh()
    Boxes(engine).run("true")
    tasks = Path(f"/proc/{engine.proc.pid}/task")

    def name(task):
        try:
            return (task / "comm").read_text()
        except OSError:     # ended meanwhile
            return ""
    makers = [t for t in tasks.iterdir() if name(t) == "spawner\n"]
    assert makers and len(os.listdir(tasks.parent / "fd")) > 10
    wait_for(lambda: all(len(os.listdir(t / "fd")) <= 4 for t in makers), 30, what="only standard streams and a socket")
