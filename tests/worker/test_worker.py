# SPDX-License-Identifier: Apache-2.0
"""The worker without an engine: protocol, stdio, logs, exit. Needs root and /bin/busybox (static); CAISSON_WORKER names the binary."""
import json
import os
import shutil
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from probe import *  # noqa: E402,F403

EXE = os.environ.get("CAISSON_WORKER", str(ROOT / "build/caisson-worker"))
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists(EXE) or not os.path.exists("/bin/busybox"),
                                reason="needs root, a built worker and busybox")
JSON = ("json-file", "", 0, 1, 0, "")
NAMESPACES = 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000
CAPS = 0xa80425fb
PROCESS = [("USER", "", 0, 0, [], []), ("CAPS", CAPS, CAPS, CAPS, 0, 0), ("UMASK", 0o22), ("CWD", "/", 1), ("ENV", ["PATH=/bin"])]


@pytest.fixture
def box(tmp_path):
    lower = tmp_path / "lower"
    for d in ("bin", "dev", "proc"):
        (lower / d).mkdir(parents=True)
    shutil.copy("/bin/busybox", lower / "bin/busybox")
    for n in ("sh", "cat", "echo", "sleep", "seq", "stty", "head", "tr", "wc"):
        (lower / "bin" / n).symlink_to("busybox")
    workers = []

    def run(script, exec_args=None, **kw):
        n = len(workers)
        for d in ("upper", "work", "merged"):
            (tmp_path / f"{n}" / d).mkdir(parents=True)
        b = str(tmp_path / f"{n}")
        steps = [("CLONE", NAMESPACES), ("ROOT_PROPAGATION", 1 << 18 | 1 << 14),
                 ("OVERLAY", "", [str(lower)], b + "/upper", b + "/work", b + "/merged", ""), ("MOUNT", "proc", "proc", "/proc", 0xe, "", 0),
                 ("MOUNT", "tmpfs", "tmpfs", "/dev", 2, "mode=755", 0),
                 ("MOUNT", "devpts", "devpts", "/dev/pts", 10, "newinstance,ptmxmode=0666,mode=0620", 0),
                 ("DEVICE", "/dev/null", 0o020000, 1, 3, 0o666, 0, 0), ("DEVICE", "/dev/zero", 0o020000, 1, 5, 0o666, 0, 0),
                 ("PIVOT",)] + PROCESS
        w = Worker(EXE, exec_args or ["sh", "-c", script], isolation=steps, dir=b, **kw)
        workers.append(w)
        return w
    yield run
    for w in workers:
        try:
            w.c.call(KILL)
        except OSError:
            pass
        except EOFError:
            pass
        w.c.s.close()
        if w.status is None:
            w.wait()


def lines(w):
    return [json.loads(x) for x in open(w.log)]


def end(w):
    e = exited(w.c.event(EXITED))
    w.quit()
    return e


def test_exit_and_log(box):
    w = box("echo out; echo err >&2; printf part; exit 3", log=JSON)
    w.started()
    e = end(w)
    assert (e["code"], e["signal"], e["forced"]) == (3, 0, 0)
    assert sorted((x["stream"], x["log"]) for x in lines(w)) == [("stderr", "err\n"), ("stdout", "out\n"), ("stdout", "part")]
    assert "exit_code=3\n" in open(w.dir + "/status").read() and not os.path.exists(w.dir + "/worker.sock")


def test_start_failure(box):
    w = box("", exec_args=["nosuch"])
    code, _, text = error(w.c.event(START_FAILED))
    assert code == 10 and text == 'exec: "nosuch": executable file not found in $PATH'
    w.wait()


def test_early_client_and_half_close(box):
    cl = Client()
    w = box("cat; echo done >&2", stdin=1, once=1, early=[(ATTACH, attach_body(stdin=1, data=b"first "), [cl.theirs.fileno()])])
    cl.theirs.close()
    cl.sock.send(b"second")
    cl.sock.shutdown(1)
    assert cl.read_all() == {1: b"first second", 2: b"done\n"}
    end(w)


def test_input_of_many_clients(box):
    """All of it comes, however many write to a process that does not read yet: clients wait, nothing is dropped."""
    each, many = 60000, 100
    w = box(f"read go; head -c {each * many} | wc -c", stdin=1)
    w.started()
    out = w.attach()
    clients = [w.attach(stdin=1, stdout=0, stderr=0) for _ in range(many)]
    for cl in clients:
        cl.sock.settimeout(20 * SLOW)
        cl.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    clients[0].sock.send(b"go\n")
    for cl in clients:
        assert cl.sock.send(b"x" * each) == each
    assert out.read_until(b"\n", 20)[8:].decode().strip() == str(each * many)
    assert end(w)["code"] == 0


def test_terminal_resize_detach(box):
    cl = Client(False)
    w = box("stty size; read x; stty size; echo got $x", tty=1, stdin=1, rows=33, cols=77,
            early=[(ATTACH, attach_body(stdin=1, framed=0), [cl.theirs.fileno()])])
    cl.theirs.close()
    cl.read_until(b"33 77")
    cl.sock.send(b"a\x10")
    time.sleep(0.05)
    cl.sock.send(b"\x11lost")
    cl.read_all()
    assert w.c.event(DETACHED)
    assert w.c.call(RESIZE, struct.pack("<65sxHH", sid(""), 10, 20))[0] == OK
    cl = w.attach(framed=0, stdin=1)
    cl.sock.send(b"b\n")
    assert b"10 20\r\ngot ab" in cl.read_all()
    end(w)


def test_exec(box):
    w = box("sleep 100")
    w.started()
    t, b, cl = w.exec("e1", ["sh", "-c", "cat; exit 7"], stdin=1, data=b"in", isolation=PROCESS)
    assert t == EXEC_STARTED, error(b)
    cl.sock.shutdown(1)
    assert cl.read_all()[1] == b"in" and exited(w.c.event(EXEC_EXITED))["code"] == 7
    assert w.c.call(RELEASE, sid("e1"))[0] == OK
    t, b, cl = w.exec("e2", ["sh", "-c", "sleep 50 & echo x"], isolation=PROCESS)
    start = time.time()
    assert exited(w.c.event(EXEC_EXITED))["code"] == 0 and time.time() - start < 0.8
    assert cl.read_all()[1] == b"x\n" and time.time() - start < 3
    t, b, _ = w.exec("e3", ["nosuch"], isolation=PROCESS)
    assert t == ERROR and error(b)[0] == 10
    w.c.call(KILL)
    e = end(w)
    assert (e["code"], e["forced"]) == (137, 1)


def test_slow_reader_loses_nothing(box):
    cl, count = Client(), 2000000 if SLOW == 1 else 200000
    w = box(f"seq {count}", log=JSON, early=[(ATTACH, attach_body(), [cl.theirs.fileno()])])
    cl.theirs.close()
    exited(w.c.event(EXITED, 30))  # the container is not held up
    want = "".join(f"{i}\n" for i in range(1, count + 1)).encode()
    assert cl.read_all()[1] == want
    assert sum(1 for _ in open(w.log)) == count
    w.quit()


def test_slow_reader_of_an_exec(box):
    """Its exec is over and forgotten by the engine, another one runs: the client gets everything, and says nothing to a stranger."""
    count = 200000
    w = box("sleep 100")
    w.started()
    t, b, slow = w.exec("e1", ["seq", str(count)], stdin=1, isolation=PROCESS)
    assert t == EXEC_STARTED, error(b)
    assert exited(w.c.event(EXEC_EXITED))["code"] == 0
    assert w.c.call(RELEASE, sid("e1"))[0] == OK
    while w.c.call(RELEASE, sid("e1"))[0] == OK:    # until its output has ended, too
        time.sleep(0.01)
    others = []
    for i in range(20):     # one of them has the memory
        t, b, cl = w.exec(f"f{i}", ["cat"], stdin=1, isolation=PROCESS)
        assert t == EXEC_STARTED, error(b)
        others.append(cl)
    slow.sock.send(b"not for you")
    assert w.c.call(LIST)[0] == LIST_REPLY
    for cl in others:
        cl.sock.send(b"mine")
        cl.sock.shutdown(1)
        assert cl.read_all()[1] == b"mine"
    wait = Client()     # who waits for the exit has been answered by the engine, and gets its end of file from us
    assert w.c.call(WATCH_EXIT, struct.pack("<65sxxxII", sid(""), 0, 0), [wait.theirs.fileno()])[0] == OK
    wait.theirs.close()
    assert w.c.call(KILL)[0] == OK
    w.c.event(EXITED)
    assert w.c.call(QUIT)[0] == OK
    assert wait.read_all() == {1: b"", 2: b""}
    assert slow.read_all()[1] == "".join(f"{i}\n" for i in range(1, count + 1)).encode()
    w.wait()


def test_without_engine(box):
    w = box("sleep .3; seq 1000; exit 9", log=JSON)
    w.started()
    wait = Client()
    assert w.c.call(WATCH_EXIT, struct.pack("<65sxxxII", sid(""), 4, 2) + b"pre:\r\n", [wait.theirs.fileno()])[0] == OK
    wait.theirs.close()
    w.c.s.close()
    w.wait()
    assert wait.sock.recv(100) == b"pre:  9\r\n"
    assert "exit_code=9\n" in open(w.dir + "/status").read() and len(lines(w)) == 1000


def test_no_room_for_a_slow_reader(box):
    """Its queue cannot be written: it is told or hung up on, but never told within a frame that it has the beginning of."""
    import resource
    cl = Client()
    cl.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)     # smaller than a frame
    w = box("read x; seq 100000", stdin=1, early=[(ATTACH, attach_body(stdin=1), [cl.theirs.fileno()])])
    cl.theirs.close()
    w.started()
    resource.prlimit(w.pid, resource.RLIMIT_FSIZE, (4096, resource.prlimit(w.pid, resource.RLIMIT_FSIZE)[1]))
    cl.sock.send(b"\n")
    assert exited(w.c.event(EXITED))["code"] == 0
    cl.sock.settimeout(20 * SLOW)
    while b := cl.sock.recv(1 << 20):
        cl.raw += b
    w.quit()
    at = 0
    while at + 8 <= len(cl.raw):
        kind, n = cl.raw[at], struct.unpack_from(">I", cl.raw, at + 4)[0]
        assert kind == 2 or b"caisson" not in cl.raw[at + 8:at + 8 + n]
        at += 8 + n


def test_no_descriptors_left(box):
    """A connection that cannot be taken waits, without the worker asking for it again and again."""
    import resource
    w = box("sleep 50")
    w.started()
    limit = resource.prlimit(w.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(w.pid, resource.RLIMIT_NOFILE, (3, limit[1]))
    late = w.connect()
    late.send(HELLO)

    deadline = time.time() + 10 * SLOW
    while open(f"/proc/{w.pid}/stat").read().rsplit(")", 1)[1].split()[0] != "S":   # awake since the connection came
        assert time.time() < deadline, "it spins"
        time.sleep(0.005)
    resource.prlimit(w.pid, resource.RLIMIT_NOFILE, limit)
    assert late.recv(30)[0] == HELLO_REPLY
    late.s.close()


def test_garbage(box):
    w = box("sleep 50")
    w.started()
    for i in range(2000):
        b = os.urandom(1 + i % 200)
        if i % 2:
            b = struct.pack("<IIII", MAGIC, 0x40 + i % 11, i, 0) + b
        w.c.s.send(b)
        if i % 20 == 19:
            w.c.call(LIST)
    assert w.connect().call(HELLO)[0] == HELLO_REPLY
