# SPDX-License-Identifier: Apache-2.0
"""exec: into running containers, with every option, and what is refused."""
import socket
import time

import pytest

from box import IS_DOCKERD, Boxes
from caisson_fixture import wait_for
from unixhttp import demux


@pytest.fixture
def up(boxes):
    b = boxes.sleeper(Env=["INNER=1"])
    b.wait_log("up")
    return b


def test_output_and_code(up):
    assert up.exec("echo out; echo err >&2; exit 9") == (9, "out\n", "err\n")


def test_same_namespaces_and_pid(up):
    code, out, _ = up.exec("cat /proc/1/comm; hostname; ls /proc | grep -c '^[0-9]'")
    assert out.splitlines()[:2] == ["sh", up.id[:12]] and code == 0


def test_env(up):
    out = up.exec("env", Env=["EXTRA=2", "INNER=3"])[1].splitlines()
    assert "EXTRA=2" in out and "INNER=3" in out and "PATH=/bin" in out and "HOME=/root" in out
    assert f"HOSTNAME={up.id[:12]}" in out


@pytest.mark.parametrize("user,expect", [("app", "1000:1000:/home/app"), ("1000", "1000:1000:/home/app"), ("app:team", "1000:2000:/home/app"),
                                         ("4242", "4242:0:/"), ("4242:4343", "4242:4343:/"), ("second", "1001:2000:/"), ("", "0:0:/root")])
def test_user(up, user, expect):
    assert up.exec("echo $(id -u):$(id -g):$HOME", User=user)[1] == expect + "\n"


def test_user_groups(up):
    assert up.exec("id -G", User="app")[1].split() == ["1000", "29", "44"]


@pytest.mark.parametrize("user", ["nosuch", "app:nosuch", "-1", "4294967296", "99999999999"])
def test_bad_user(up, user):
    a = up.http.post(f"/exec/{up.exec_create('true', User=user)}/start", body={"Detach": True})
    assert a.status in (400, 500) and a.message, a


def test_workdir(up):
    assert up.exec("pwd", WorkingDir="/tmp")[1] == "/tmp\n"


def test_bad_workdir(up):
    ident = up.exec_create("pwd", WorkingDir="/nosuch")
    a = up.http.post(f"/exec/{ident}/start", body={"Detach": False})
    assert b"no such file or directory" in a.body
    assert up.http.get(f"/exec/{ident}/json").json["ExitCode"] in (126, 127, 128)


def test_not_found(up):
    ident = up.exec_create(["nosuch"])
    a = up.http.post(f"/exec/{ident}/start", body={"Detach": False})
    assert b'exec: "nosuch": executable file not found in $PATH' in a.body
    assert up.http.get(f"/exec/{ident}/json").json["ExitCode"] == (126 if IS_DOCKERD else 127)


def test_not_executable(up):
    ident = up.exec_create(["/etc/passwd"])
    a = up.http.post(f"/exec/{ident}/start", body={"Detach": False})
    assert b"permission denied" in a.body
    assert up.http.get(f"/exec/{ident}/json").json["ExitCode"] == 126


def test_tty(up):
    code, out, _ = up.exec("tty; echo x", Tty=True)
    assert code == 0 and out.startswith("/dev/pts/") and out.endswith("x\r\n")


def test_the_start_decides_about_frames(up):
    """As in dockerd: whoever starts it says whether the stream has frames, whatever the exec was made with."""
    ident = up.exec_create("tty; echo x >&2", Tty=True)
    with up.http.hijack("POST", f"/exec/{ident}/start", body={"Detach": False}) as h:
        out, err = demux(h.read_all())
        assert IS_DOCKERD or h.headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    assert out.startswith(b"/dev/pts/") and out.endswith(b"x\r\n") and err == b""
    ident = up.exec_create("echo out; echo err >&2")
    with up.http.hijack("POST", f"/exec/{ident}/start", body={"Detach": False, "Tty": True}) as h:
        assert h.read_all() == b"out\n"
        assert h.headers["content-type"] == "application/vnd.docker.raw-stream"
    ident = up.exec_create(["/nosuch"], Tty=True)
    with up.http.hijack("POST", f"/exec/{ident}/start", body={}) as h:
        assert b"no such file or directory" in demux(h.read_all())[0]


def test_stdin(up):
    ident = up.exec_create("cat; exit 5", AttachStdin=True)
    with up.http.hijack("POST", f"/exec/{ident}/start", body={"Detach": False}) as h:
        h.send(b"to stdin")
        h.close_write()
        assert h.frames_until(b"to stdin") == b"to stdin"
        assert h.frame() is None
    assert up.http.get(f"/exec/{ident}/json").json["ExitCode"] == 5


def test_resize(up):
    ident = up.exec_create("trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done", Tty=True, AttachStdin=True)
    with up.http.hijack("POST", f"/exec/{ident}/start", body={"Tty": True}) as h:
        h.read_until(b"up\r\n")
        assert up.http.post(f"/exec/{ident}/resize", {"h": 30, "w": 70}).status in (200, 201)
        h.read_until(b"30 70\r\n")


@pytest.mark.caisson
@pytest.mark.parametrize("size,why", [("-100", "value out of range"), ("4294967296", "value out of range"), ("", "invalid syntax"), ("-", "invalid syntax"), ("1x", "invalid syntax")])
def test_bad_sizes_are_told_apart(up, size, why):
    for url in (up.url, "/exec/" + up.exec_create("true")):
        a = up.http.post(url + "/resize", {"h": size, "w": 80})
        assert a.status == 400 and a.message == f'invalid resize height "{size}": {why}'


def test_detach(up, events):
    ident = up.exec_create("echo x > /made; exit 3", AttachStdout=False, AttachStderr=False)
    assert up.http.post(f"/exec/{ident}/start", body={"Detach": True}).status == 200
    wait_for(lambda: not up.http.get(f"/exec/{ident}/json").json["Running"], what="end of exec")
    assert up.http.get(f"/exec/{ident}/json").json["ExitCode"] == 3
    assert up.exec("cat /made")[1] == "x\n"
    assert events.until("exec_die", up.id)["Actor"]["Attributes"]["exitCode"] == "3"


def test_inspect(up):
    ident = up.exec_create("sleep 1000", User="app", Tty=False)
    i = up.http.get(f"/exec/{ident}/json").json
    assert i["ID"] == ident and i["Running"] is False and i["ExitCode"] is None and i["ContainerID"] == up.id and i["Pid"] == 0
    assert i["ProcessConfig"]["entrypoint"] == "sh" and i["ProcessConfig"]["arguments"] == ["-c", "sleep 1000"]
    assert i["ProcessConfig"]["user"] == "app" and i["ProcessConfig"]["tty"] is False
    up.http.post(f"/exec/{ident}/start", body={"Detach": True})
    i = up.http.get(f"/exec/{ident}/json").json
    assert i["Running"] is True and i["Pid"] > 1
    assert ident in up.inspect()["ExecIDs"]


def test_start_twice(up):
    ident = up.exec_create("sleep 1000")
    assert up.http.post(f"/exec/{ident}/start", body={"Detach": True}).status == 200
    a = up.http.post(f"/exec/{ident}/start", body={"Detach": True})
    assert a.status == 409 and a.message == f"Error: Exec command {ident} is already running" or a.status in (409, 500)


@pytest.mark.skipif(IS_DOCKERD, reason="runc refuses all capabilities where the machine lacks one")
def test_privileged(up):
    """All capabilities, and the container's seccomp filter all the same, as with runc: a profile that its owner chose holds for all that runs in it."""
    def status(**config):
        return dict(l.split(None, 1) for l in up.exec("cat /proc/self/status", **config)[1].splitlines() if len(l.split()) > 1)
    plain, full = status(), status(Privileged=True)
    plain_caps, full_caps = int(plain["CapEff:"], 16), int(full["CapEff:"], 16)
    assert plain_caps == 0xa80425fb and full_caps & plain_caps == plain_caps and full_caps > plain_caps
    assert plain["Seccomp:"] == full["Seccomp:"] == "2"


def test_killed_by_signal(up):
    assert up.exec("kill -9 $$")[0] == 137


def test_unknown(http, boxes):
    a = http.get("/exec/nosuch/json")
    assert a.status == 404 and a.message in ("No such exec instance: nosuch", "No such exec instance nosuch")
    assert http.post("/exec/nosuch/start", body={}).status == 404
    assert http.post("/containers/nosuch/exec", body={"Cmd": ["x"]}).status == 404


def test_no_command(up):
    a = up.post("exec", body={})
    assert a.status == 400 and a.message.lower() == "no exec command specified"


def test_not_running(boxes):
    b = boxes.run("true")
    a = b.post("exec", body={"Cmd": ["true"]})
    assert a.status == 409 and a.message.lower() == f"container {b.id} is not running"


def test_ends_with_the_container(up):
    ident = up.exec_create("sleep 1000")
    with up.http.hijack("POST", f"/exec/{ident}/start", body={}) as h:
        wait_for(lambda: up.http.get(f"/exec/{ident}/json").json["Running"], what="the exec runs")
        up.kill()
        h.read_all()
    if not IS_DOCKERD:      # 20.10 forgets the code
        a = up.http.get(f"/exec/{ident}/json")
        assert a.status == 404 or a.json["ExitCode"] == 137, a


def test_code_of_an_exec_that_died_with_its_container(boxes, events):
    b = boxes.sleeper()
    ident = b.exec_create("sleep 1000")
    with b.http.hijack("POST", f"/exec/{ident}/start", body={}) as h:
        wait_for(lambda: b.http.get(f"/exec/{ident}/json").json["Running"], what="the exec runs")
        b.kill()
        h.read_all()
    b.wait()
    if not IS_DOCKERD:      # 20.10 forgets the code
        a = b.http.get(f"/exec/{ident}/json")
        assert a.status == 200 and a.json["ExitCode"] == 137 and a.json["Running"] is False, a
        assert events.until("exec_die", b.id)["Actor"]["Attributes"]["exitCode"] == "137"
    b.start()       # a new run, and execs of its own
    assert b.exec("exit 3")[0] == 3 and b.inspect()["ExecIDs"] is None


def test_background_child_does_not_hold_the_stream(up):
    """The exec'ed process ended; a child that kept stdout must not keep the client waiting for the exit code."""
    ident = up.exec_create("sleep 1000 & exit 2")
    h = up.http.hijack("POST", f"/exec/{ident}/start", body={})
    wait_for(lambda: up.http.get(f"/exec/{ident}/json").json["ExitCode"] == 2, what="exit code")
    h.close()


def test_fifty_execs(up):
    for n in range(50):
        assert up.exec(f"exit {n}")[0] == n


@pytest.mark.caisson
def test_shutdown_while_execs_end(fresh):
    """Their ends are told to a daemon that is closing: the events go nowhere, and not into memory that has been freed."""
    engine = fresh()
    b = Boxes(engine).sleeper()
    assert b.exec("mkfifo /go")[0] == 0
    execs = ["/exec/" + b.exec_create(": < /go") for n in range(40)]
    for one in execs:
        assert b.http.post(one + "/start", body={"Detach": True}).status == 200
    go = f"/proc/{b.pid}/root/go"
    wait_for(lambda: b.http.get(f"/containers/{b.id}/top").json["Processes"][40:], what="all wait")
    with open(go, "w"):         # they end one after another in the daemon's eyes
        wait_for(lambda: not b.http.get(execs[2] + "/json").json["Running"], what="the first have ended", step=0)
        assert engine.stop() == 0
    assert "Daemon shutdown complete" in engine.tail()


def test_output_comes_after_the_headers_are_read(up):
    """docker-py reads headers through a buffer and the stream from the bare socket: output in the same read would be lost."""
    for _ in range(20):
        ident = up.exec_create("echo out")
        body = b'{"Detach": false, "Tty": false}'
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(up.engine.sock)
            s.sendall(b"POST /exec/%s/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: Upgrade\r\n"
                      b"Upgrade: tcp\r\nContent-Length: %d\r\n\r\n%s" % (ident.encode(), len(body), body))
            time.sleep(0.02)        # a slow reader
            head = s.recv(65536)
            assert head.startswith(b"HTTP/1.1 101") and head.endswith(b"\r\n\r\n"), head
            assert b"out\n" in s.recv(65536)


def test_docker_py(client, up):
    code, out = client.containers.get(up.id).exec_run(["sh", "-c", "echo o; echo e >&2; exit 2"], demux=True)
    assert code == 2 and out == (b"o\n", b"e\n")
