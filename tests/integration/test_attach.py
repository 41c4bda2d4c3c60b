# SPDX-License-Identifier: Apache-2.0
"""attach over hijacked connections and WebSocket: several clients, half close, detach keys, terminals."""
import json
import socket
import threading
import time

import pytest

from unixhttp import demux

CAT = ["sh", "-c", "echo ready; cat; echo eof"]


def test_attach_before_start(boxes):
    b = boxes.create("echo out; echo err >&2")
    with b.attach() as h:
        assert h.status == 101 and h.headers["upgrade"] == "tcp"
        assert h.headers["content-type"] in ("application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream")
        b.start()
        frames = []
        while (f := h.frame()) is not None:
            frames.append(f)
    assert sorted(frames) == [(1, b"out\n"), (2, b"err\n")]


def test_attach_without_upgrade_header(boxes):
    b = boxes.create("echo out")
    with b.http.hijack("POST", b.url + "/attach", {"stream": 1, "stdout": 1}, upgrade=False) as h:
        assert h.status == 200
        b.start()
        assert h.frame() == (1, b"out\n")


def test_stdin_half_close(boxes):
    b = boxes.create(CAT, OpenStdin=True, StdinOnce=True, AttachStdin=True)
    with b.attach() as h:
        b.start()
        h.frames_until(b"ready\n")
        h.send(b"hello\n")
        h.frames_until(b"hello\n")
        h.close_write()
        assert h.frames_until(b"eof\n").endswith(b"eof\n")
        assert h.frame() is None
    assert b.wait() == 0


@pytest.mark.caisson
def test_a_flood_after_the_101_is_complete(boxes):
    """However much comes between the grant and the moment when the client reads: from the 101 on all of it is his."""
    b = boxes.start("echo ready; read x; seq 1 40000; echo end; read x", OpenStdin=True, Tty=True)
    b.wait_log("ready")
    with b.attach(stdout=0, stderr=0) as one, socket.socket(socket.AF_UNIX) as two:
        two.settimeout(15)
        two.connect(b.engine.sock)
        two.sendall(f"POST {b.url}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
        assert two.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 101"
        one.send(b"\n")
        b.wait_log("end\r\n")
        got = b""
        while not got.endswith(b"end\r\n"):
            more = two.recv(1 << 20)
            assert more, got[-100:]
            got += more
    assert got.split(b"\r\n\r\n", 1)[1].lstrip(b"\r\n") == b"".join(b"%d\r\n" % n for n in range(1, 40001)) + b"end\r\n"


@pytest.mark.caisson
@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("log", [{"Type": "json-file", "Config": {}}, {"Type": "local", "Config": {}}], ids=["json", "local"])
def test_logs_and_stream_meet_exactly(boxes, tty, log):
    """logs=1&stream=1: what is in the log, then what comes; also in the middle of lines that are in no record yet."""
    b = boxes.start("i=0; while [ $i -lt 30000 ]; do printf \"$i \"; i=$((i+1)); [ $((i%600)) = 0 ] && usleep 5000; [ $((i%997)) = 0 ] && echo; done; echo end",
                    Tty=tty, Host={"LogConfig": log})
    streams = []
    for _ in range(8):
        h = b.attach(stdin=0, logs=1)
        streams.append(h)
        time.sleep(0.03)
    texts = [h.read_all() for h in streams]
    for h in streams:
        h.__exit__(None, None, None)
    assert b.wait() == 0
    whole = b.raw_logs() if tty else b.out.encode()
    assert whole.split()[-1] == b"end" and len(whole.split()) == 30001
    for text in texts:
        text = text if tty else demux(text)[0]
        assert text == whole, "a gap or an overlap"


def test_stdin_stays_open_without_stdin_once(boxes):
    b = boxes.start(CAT, OpenStdin=True)
    for word in (b"one\n", b"two\n"):
        with b.attach(logs=0) as h:
            h.send(word)
            h.frames_until(word)
    assert b.state["Running"]


def test_two_clients_see_the_same(boxes):
    b = boxes.start(CAT, OpenStdin=True)
    b.wait_log("ready")
    with b.attach() as one, b.attach(stdin=0) as two:
        one.send(b"shared\n")
        one.frames_until(b"shared\n")
        two.frames_until(b"shared\n")


def test_nothing_is_missed_after_the_101(boxes):
    """Somebody who sees the 101, but takes his time to read it, gets what the container says from then on."""
    b = boxes.start(CAT, OpenStdin=True)
    b.wait_log("ready")
    with b.attach() as one, socket.socket(socket.AF_UNIX) as two:
        two.settimeout(15)
        two.connect(b.engine.sock)
        two.sendall(f"POST {b.url}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
        assert two.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 101"
        one.send(b"shared\n")
        one.frames_until(b"shared\n")
        got = b""
        while b"shared\n" not in got:
            more = two.recv(65536)
            assert more, got
            got += more
        one.send(b"again\n")
        while b"again\n" not in got:
            got += two.recv(65536)
        assert got.count(b"shared\n") == 1


def test_attach_with_logs(boxes):
    b = boxes.start("echo early; cat", OpenStdin=True)
    b.wait_log("early")
    with b.attach(logs=1) as h:
        h.frames_until(b"early\n")
        h.send(b"late\n")
        h.frames_until(b"late\n")


def test_attach_logs_only(boxes):
    b = boxes.run("echo x; echo y")
    with b.http.hijack("POST", b.url + "/attach", {"logs": 1, "stdout": 1, "stream": 0}) as h:
        assert h.frames_until(b"y\n") == b"x\ny\n"


def test_tty(boxes):
    b = boxes.create("tty; stty size; read x; echo got $x", Tty=True, OpenStdin=True)
    with b.attach() as h:
        b.start()
        h.read_until(b"\r\n")
        h.send(b"line\n")
        assert b"got line\r\n" in h.read_until(b"got line\r\n")
    assert b.wait() == 0


def test_resize(boxes):
    b = boxes.create("trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done", Tty=True, OpenStdin=True)
    with b.attach() as h:
        b.start()
        h.read_until(b"up\r\n")
        assert b.post("resize", {"h": 33, "w": 77}).status == 200
        h.read_until(b"33 77\r\n")


def test_console_size_at_create(boxes, engine):
    b = boxes.run("stty size", Tty=True, Host={"ConsoleSize": [11, 22]})
    assert b.out == "11 22\r\n" or engine.kind == "dockerd"


def test_resize_without_a_terminal(boxes):
    b = boxes.sleeper()
    assert b.post("resize", {"h": 33, "w": 77}).status == 200
    ident = b.exec_create("sleep 100")
    assert b.http.post(f"/exec/{ident}/start", body={"Detach": True}).status == 200
    assert b.http.post(f"/exec/{ident}/resize", {"h": 33, "w": 77}).status in (200, 201)


def test_resize_bad(boxes):
    b = boxes.sleeper(Tty=True)
    a = b.post("resize", {"h": "x", "w": 1})
    assert a.status in (400, 500) and a.message
    assert boxes.create("true", Tty=True).post("resize", {"h": 1, "w": 1}).status in (409, 500)


@pytest.mark.parametrize("keys,typed", [(None, b"\x10\x11"), ("ctrl-a,d", b"\x01d"), ("x,y", b"xy")])
def test_detach_keys(boxes, keys, typed):
    b = boxes.create("echo up; cat", Tty=True, OpenStdin=True)
    with b.attach(**({"detachKeys": keys} if keys else {})) as h:
        b.start()
        h.read_until(b"up\r\n")
        h.send(typed)
        h.sock.settimeout(10)
        h.read_all()            # ends although the container goes on
    assert b.state["Running"]


def test_bad_detach_keys(boxes):
    b = boxes.sleeper(Tty=True, OpenStdin=True)
    a = b.post("attach", {"stream": 1, "detachKeys": "ctrl-nosuch"})
    assert a.status in (400, 500) and "nvalid detach keys" in a.body.decode()   # plain text on dockerd


def test_attach_stopped(boxes):
    b = boxes.run("true")
    with b.http.hijack("POST", b.url + "/attach", {"stream": 1, "stdout": 1}, timeout=5) as h:
        assert h.status in (101, 200, 409)


def test_attach_paused(boxes):
    b = boxes.sleeper()
    b.post("pause")
    a = b.post("attach", {"stream": 1, "stdout": 1})
    assert a.status == 409
    assert f"ontainer {b.id} is paused, unpause the container before attach" in a.body.decode()


def test_attach_unknown(http):
    assert http.post("/containers/nosuch/attach", {"stream": 1}).status == 404


def test_slow_reader_does_not_block(boxes):
    """A client that never reads must not stop the container from writing."""
    b = boxes.create("head -c 4000000 /dev/zero | tr '\\0' x; echo done >&2")
    with b.attach(stdin=0):
        b.start()
        if b.engine.kind != "dockerd":
            assert b.wait(timeout=20) == 0
        else:
            b.kill()


def test_many_attaches(boxes):
    b = boxes.start("read x; echo bye", OpenStdin=True)
    clients = [b.attach(stdin=0) for _ in range(30)]
    with b.attach() as h:
        h.send(b"\n")
        h.frames_until(b"bye\n")
    for c in clients:
        assert c.frames_until(b"bye\n") == b"bye\n"
        c.close()


def test_close_without_half_close_ends_nothing(boxes):
    b = boxes.start("cat; echo eof", OpenStdin=True)
    h = b.attach()
    h.send(b"x\n")
    h.frames_until(b"x\n")
    h.close()
    with b.attach() as again:
        again.send(b"y\n")
        again.frames_until(b"y\n")


def websocket_to(b, query):
    import websocket
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(10)
    sock.connect(b.engine.sock)
    ws = websocket.WebSocket()
    ws.connect(f"ws://localhost{b.url}/attach/ws?{query}", socket=sock)
    return ws


def test_websocket(boxes):
    b = boxes.start("echo up; read x; echo got $x", OpenStdin=True, Tty=True)
    b.wait_log("up")
    ws = websocket_to(b, "stream=1&stdin=1&stdout=1&stderr=1")
    ws.send("hello\n")
    seen = b""
    while b"got hello" not in seen:
        piece = ws.recv()
        seen += piece.encode() if isinstance(piece, str) else piece
    ws.close()


def test_websocket_ends_with_the_container(boxes):
    import websocket
    b = boxes.start("echo up; read x", OpenStdin=True)
    b.wait_log("up")
    ws = websocket_to(b, "stream=1&stdin=1&stdout=1")
    ws.send("go\n")
    with pytest.raises((websocket.WebSocketConnectionClosedException, OSError)):
        while ws.recv() != "":
            pass
        raise websocket.WebSocketConnectionClosedException
    assert b.wait() == 0


def test_concurrent_attach_and_exit(boxes):
    """Attaching while the container ends: an answer, never a hang. Who comes after the end waits for the next start, until there can be none."""
    for _ in range(5):
        b = boxes.create("true")
        t = threading.Thread(target=b.start)
        t.start()
        with b.http.hijack("POST", b.url + "/attach", {"stream": 1, "stdout": 1}, timeout=60) as h:
            t.join()
            b.wait()
            b.rm()
            if h.status in (101, 200) and b.engine.kind != "dockerd":
                h.read_all()


def test_the_exit_is_known_when_the_stream_ends(boxes):
    """Nobody waits who has seen the end of the stream: what is asked next knows how the container ended, as dockerd's lock has it."""
    seen = set()
    for _ in range(40):
        b = boxes.create("exit 3")
        with b.attach(stdin=0) as h:
            b.start()
            h.read_all()
            state = b.state
        seen.add((state["Status"], state["Running"], state["ExitCode"]))
    assert seen == {("exited", False, 3)}


def test_docker_py_attach(client, boxes):
    b = boxes.create("echo one; echo two")
    stream = client.api.attach(b.id, stream=True, stdout=True, stderr=True)
    b.start()
    assert b"".join(stream) == b"one\ntwo\n"
    assert json.dumps(b.state["ExitCode"]) == "0"
