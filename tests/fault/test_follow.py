# SPDX-License-Identifier: Apache-2.0
"""logs -f once the worker has it: nothing is lost or doubled at the seam, whatever dies, lags or rotates."""
import os
import re
import socket
import time

import pytest

from box import Boxes
from caisson_fixture import processes, sanitized, wait_for
from unixhttp import demux

pytestmark = pytest.mark.caisson
# Waits for a line, then numbers without end of the world: n lines, with a breath now and then.
COUNT = "read x; i=0; while [ $i -lt %d ]; do echo line $i; i=$((i+1)); %s done; read x; while [ $i -lt 6010 ]; do echo line $i; i=$((i+1)); done; echo end >&2"


LONG = "0123456789" * 15


def follow(b, **query):
    r = b.http.stream("GET", b.url + "/logs", {"stdout": 1, "stderr": 1, "follow": 1, **query}, timeout=30)
    assert r.status == 200
    return r


def go(b):
    with b.attach(stdout=0, stderr=0) as h:
        h.send(b"\n")
        h.close_write()
        h.read_all()    # it has taken the line


def worker_pid(b):
    return next(pid for pid, _, cmd in processes() if cmd.startswith("caisson-worker " + b.id))


def pss_kib(pid):
    text = open(f"/proc/{pid}/smaps_rollup").read()
    return int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1))


def numbers(out):
    return [int(x) for x in re.findall(rb"^line (\d+)$", out, re.M)]


LOGS = [{"Type": "json-file", "Config": {}}, {"Type": "local", "Config": {}},
        {"Type": "json-file", "Config": {"max-size": "8k", "max-file": "3"}},
        {"Type": "json-file", "Config": {"max-size": "8k", "max-file": "3", "compress": "true"}},
        {"Type": "json-file", "Config": {"max-size": "8k", "max-file": "1"}},
        {"Type": "local", "Config": {"max-size": "8k", "max-file": "2", "compress": "false"}}]
IDS = ["json", "local", "rotated", "compressed", "one-file", "local-rotated"]


@pytest.mark.parametrize("log", LOGS, ids=IDS)
@pytest.mark.parametrize("die", [False, True])
def test_every_line_once(fresh, log, die):
    """The writer never rests; followers come at any moment, the daemon dies in between and comes back."""
    engine = fresh()
    b = Boxes(engine).start(COUNT % (6000, "[ $((i%500)) = 0 ] && usleep 50000;"), OpenStdin=True, Host={"LogConfig": log})
    first = follow(b)
    go(b)
    late = []
    for _ in range(3):
        time.sleep(0.1)
        late.append(follow(b, tail=0))
    time.sleep(0.05)
    if die:
        engine.kill()
        time.sleep(0.1)
        engine.start()
        late.append(follow(b, tail=0))
    go(b)
    for r in [first, *late]:
        out, err = demux(r.read())      # raises when the last chunk is missing
        got = numbers(out)
        assert got and got == list(range(got[0], 6010)), "a line is lost or doubled"
        assert err == b"end\n"
        assert r is not first or got[0] == 0
        r.connection.close()


def test_the_last_chunk_while_the_daemon_is_dead(fresh):
    engine = fresh()
    b = Boxes(engine).start("echo one; read x; echo two", OpenStdin=True)
    r = follow(b)
    assert b"one" in r.read1(100)
    attached = b.attach(stdout=0, stderr=0)
    time.sleep(0.2)     # both handed over
    engine.kill()
    attached.send(b"\n")
    assert demux(r.read())[0] == b"two\n"
    attached.close()
    r.connection.close()
    engine.start()


@pytest.mark.parametrize("killed", [False, True])
def test_a_slow_reader_costs_nobody(fresh, killed):
    """It does not read while 6 MB go by and the files are rotated away under it; then it gets every line."""
    engine = fresh()
    b = Boxes(engine).start(f"read x; yes {LONG} | head -n 40000 | cat -n; echo end; read x", OpenStdin=True,
                            Host={"LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}})
    r = follow(b)
    attached = b.attach(stdout=0, stderr=0)
    time.sleep(0.2)     # handed over
    attached.send(b"\n")
    wait_for(lambda: b.logs(tail=1)[0] == "end\n", what="the container is not held up", timeout=20)
    if killed:
        engine.kill()
    pid = worker_pid(b)
    wait_for(lambda: sanitized() or pss_kib(pid) <= 300, what="the worker is small again", timeout=10)
    attached.send(b"\n")
    out = demux(r.read())[0]
    assert out == b"".join(b"%6d\t%s\n" % (n, LONG.encode()) for n in range(1, 40001)) + b"end\n"
    r.connection.close()
    attached.close()
    if killed:
        engine.start()


def test_a_slow_reader_does_not_delay_the_next_run(fresh):
    """The container restarts at once; who had not read everything gets the rest of its run, and nothing of the next one."""
    engine = fresh()
    b = Boxes(engine).start(f"read x; yes {LONG} | head -n 20000 | cat -n; echo end; read x", OpenStdin=True)
    r = follow(b)
    slow = b.attach()
    slow.send(b"\n")
    wait_for(lambda: b.logs(tail=1)[0] == "end\n", what="all is written", timeout=20)
    old = worker_pid(b)
    began = time.monotonic()
    assert b.post("restart", {"t": 0}).status == 204
    assert time.monotonic() - began < 3, "it waited for a client"
    assert os.path.exists(f"/proc/{old}"), "somebody has to serve them"
    with b.attach(stdout=0, stderr=0) as h:
        h.send(b"\n")
    wait_for(lambda: len(b.raw_logs()) > 2 * 20000 * 158, what="the next run writes as much")
    want = b"".join(b"%6d\t%s\n" % (n, LONG.encode()) for n in range(1, 20001)) + b"end\n"
    assert demux(r.read())[0] == want
    assert demux(slow.read_all())[0] == want
    r.connection.close()
    slow.__exit__(None, None, None)
    wait_for(lambda: not os.path.exists(f"/proc/{old}"), what="the old worker's end")


@pytest.mark.unsanitized
def test_two_followers_fit_into_a_small_worker(fresh):
    engine = fresh()
    b = Boxes(engine).sleeper()
    readers = [follow(b), follow(b)]
    for r in readers:
        assert b"up" in r.read1(100)
    pid = worker_pid(b)
    time.sleep(1.5)
    wait_for(lambda: pss_kib(pid) <= 200, what=f"{pss_kib(pid)} KiB", timeout=10)
    for r in readers:
        r.connection.close()
    wait_for(lambda: len(os.listdir(f"/proc/{pid}/fd")) < 20, what="its descriptors are closed")


@pytest.mark.parametrize("tty", [False, True])
def test_decoration(fresh, tty):
    """Time stamps, details and the choice of streams are the same from the worker as from the daemon."""
    engine = fresh()
    text = r"printf 'a\042b\\c\t\001é\377\n'; echo err >&2; echo '<&>'; printf 'no newline'"
    b = Boxes(engine).start(f"echo first; read x; {text}", OpenStdin=True, StdinOnce=True, Tty=tty, Labels={"k": "v w"},
                            Host={"LogConfig": {"Type": "json-file", "Config": {"labels": "k"}}})
    b.wait_log("first")
    streams = {n: follow(b, **q) for n, q in
               {"all": {}, "details": {"details": 1}, "stamps": {"timestamps": 1}, "both": {"timestamps": 1, "details": 1},
                "err": {"stdout": 0}, "tail": {"tail": 0}, "never": {"since": "4000000000"}}.items()}
    time.sleep(0.3)     # all handed over
    engine.kill()
    engine.start()
    go(b)
    got = {}
    for n, r in streams.items():
        print(n)
        got[n] = r.read()
    assert got["all"] == b.raw_logs()
    assert got["details"] == b.raw_logs(details=1)
    assert got["stamps"] == b.raw_logs(timestamps=1)
    assert got["both"] == b.raw_logs(timestamps=1, details=1)
    assert got["err"] == b.raw_logs(stdout=0)
    assert got["never"] == b""
    assert b"first" not in got["tail"] and got["all"].endswith(got["tail"])
    for r in streams.values():
        r.connection.close()


def test_until_ends_it(fresh):
    engine = fresh()
    b = Boxes(engine).start("while :; do echo x; usleep 20000; done")
    began = time.time()
    r = follow(b, until=f"{began + 1:.9f}")
    time.sleep(0.2)
    engine.kill()
    r.read()
    assert 0.8 < time.time() - began < 3
    r.connection.close()
    engine.start()
    assert b.state["Running"]


def test_the_connection_serves_the_next_request(fresh):
    """The end of a followed log is the end of a response, not of its connection."""
    engine = fresh()
    b = Boxes(engine).start("echo one; read x", OpenStdin=True, StdinOnce=True)
    r = follow(b)
    assert b"one" in r.read1(100)
    time.sleep(0.1)
    go(b)
    assert r.read() == b""
    r.connection.request("GET", b.url + "/json")
    answer = r.connection.getresponse()
    assert answer.status == 200 and b'"Status":"exited"' in answer.read().replace(b" ", b""), "who saw the end sees the exit"
    r.connection.close()


def test_http_1_0(fresh):
    """No chunks: the body is bare, and ends with the connection."""
    engine = fresh()
    b = Boxes(engine).start("echo one; read x; echo two", OpenStdin=True, StdinOnce=True)
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(engine.sock)
        s.settimeout(15)
        s.sendall(f"GET {b.url}/logs?stdout=1&follow=1 HTTP/1.0\r\n\r\n".encode())
        seen = b""
        while b"one\n" not in seen:
            seen += s.recv(4096)
        time.sleep(0.1)
        engine.kill()
        engine.start()
        go(b)
        while piece := s.recv(4096):
            seen += piece
    assert demux(seen.split(b"\r\n\r\n", 1)[1])[0] == b"one\ntwo\n"


def test_a_client_that_leaves(fresh):
    engine = fresh()
    b = Boxes(engine).sleeper()
    pid = worker_pid(b)
    b.wait_log("up")
    time.sleep(0.2)
    before = len(os.listdir(f"/proc/{pid}/fd"))
    for dead in (False, True):
        r = follow(b)
        assert b"up" in r.read1(100)
        wait_for(lambda: len(os.listdir(f"/proc/{pid}/fd")) > before, what="handed over")
        if dead:
            engine.kill()
            engine.start()
        r.connection.close()
        r.close()
        wait_for(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before, what="the worker lets go of it")
