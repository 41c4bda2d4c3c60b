# SPDX-License-Identifier: Apache-2.0
"""Engines that go away in the middle, or are none: no command may take that for success, stand still, or say nothing."""
import os
import shutil
import socket
import subprocess
import tempfile

import pytest

import caisson_fixture as fx
from caisson_fixture import wait_for
from listener import Listener

pytestmark = pytest.mark.caisson
CAISSON = str(fx.BUILD / "caisson")
JSON = b"HTTP/1.1 200 OK\r\nApi-Version: 1.50\r\nContent-Type: application/json\r\n"
HTML = b"Content-Type: text/html\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>"
CUT = {
    "nothing": b"",
    "half a header": b"HTTP/1.1 200 OK\r\nApi-Ver",
    "half a body": JSON + b"Content-Length: 1000\r\n\r\n[{",
    "a chunk": JSON + b"Transfer-Encoding: chunked\r\n\r\n18\r\n{\"status\":\"x\",\"id\":\"a\"}\r\n\r\n",
    "half a chunk": JSON + b"Transfer-Encoding: chunked\r\n\r\n400\r\n{\"sta",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a web site": b"HTTP/1.1 200 OK\r\nApi-Version: 1.50\r\n" + HTML,
    "a proxy": b"HTTP/1.1 502 Bad Gateway\r\n" + HTML,
    "no message": b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
}
COMMANDS = ["ps", "images", "pull x", "push x", "load -i /dev/null", "import /dev/null", "events", "events --format {{.ID}}", "inspect x", "inspect -f {{.Id}} x", "start x", "stop x", "wait x", "create x", "run x", "exec x y",
            "attach x", "logs x", "logs -f x", "top x", "stats --no-stream x", "stats --no-stream", "stats", "system df", "info", "version", "rm x", "rmi x", "search x", "image prune -f", "commit x", "rename x y", "history x",
            "kill x", "update -m 5m x", "diff x", "port x", "cp x:/a .", "volume ls", "network ls", "volume inspect x", "network inspect x", "compute ls", "system check"]

STATUS_IS_ALL = {"stop x", "rm x", "kill x", "start x", "rename x y"}   # what the engine did is said by that: there is nothing to read


class Cut(Listener):
    """Answers /_ping, and everything else with some bytes and a closed connection."""

    def __init__(self, answer):
        self.answer, self.dir = answer, tempfile.mkdtemp(prefix="cst-cut-")
        self.path = os.path.join(self.dir, "s")
        super().__init__(self.path)

    def serve(self, conn):
        with conn:
            head = b""
            try:
                while b"\r\n\r\n" not in head and (part := conn.recv(65536)):
                    head += part
                conn.sendall(JSON + b"Content-Length: 0\r\n\r\n" if b"/_ping " in head else self.answer)
                conn.shutdown(socket.SHUT_WR)
                while conn.recv(65536):     # what it still sends is not what this is about
                    pass
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
        os.unlink(self.path)
        os.rmdir(self.dir)


@pytest.mark.parametrize("how", CUT)
def test_every_command_says_so(how, tmp_path):
    wrong = []
    with Cut(CUT[how]) as cut:
        for line in COMMANDS:
            if CUT[how].startswith(b"HTTP/1.1 200") and line in STATUS_IS_ALL and b"\r\n\r\n" in CUT[how] or (how, line) == ("a chunk", "stats --no-stream x"):     # that is a whole sample
                continue
            r = subprocess.run([CAISSON, *line.split(" ")], cwd=tmp_path, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DOCKER_HOST": "unix://" + cut.path}, stdin=subprocess.DEVNULL,
                               capture_output=True, text=True, timeout=30 * fx.TIME_FACTOR, check=False)
            if r.returncode != (125 if line.startswith("run") else 1) or not r.stderr.strip() or r.stdout.strip() not in ("", "[]", "Using default tag: latest") and not line.startswith(("version", "info", "events", "pull", "push", "load", "import")):
                wrong.append((line, r.returncode, r.stdout[:200], r.stderr[:200]))
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("words, status, said", [(["stats"], 1, "the connection to the engine was lost"), (["stats", "box"], 1, "the connection to the engine was lost"), (["events"], 1, "the connection to the engine was lost"),
                                                 (["stop", "-t", "100", "stubborn"], 1, "the engine closed the connection")], ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_the_engine_is_killed(tmp_path, words, status, said):
    eng = fx.Engine()
    try:
        eng.start().prepare()
        eng.cli("run", "-d", "--network", "none", "--name", "box", "caisson-test/rootfs", "sleep", "1000", check=True)
        eng.cli("run", "-d", "--network", "none", "--name", "stubborn", "caisson-test/rootfs", "sh", "-c", "trap '' TERM; while :; do sleep 1; done", check=True)
        with open(tmp_path / "out", "wb") as out:
            p = subprocess.Popen([CAISSON, *words], env=eng.cli_env(), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, text=True)
        if words[0] == "events":
            wait_for(lambda: eng.cli("rename", "box", "box") or b"rename" in (tmp_path / "out").read_bytes() or eng.cli("kill", "-s", "WINCH", "box") and b"kill" in (tmp_path / "out").read_bytes(), what="an event")
        elif words[0] == "stats":
            wait_for(lambda: b"box" in (tmp_path / "out").read_bytes(), what="a sample")
        else:
            wait_for(lambda: _waits_for_the_engine(p.pid), what="the request")
        eng.kill()
        code, err = p.wait(60 * fx.TIME_FACTOR), p.stderr.read()
        assert code == status and (said in err or words == ["events"] and err.strip()), (code, err)    # an event may have been cut in its middle
        p.stderr.close()
        eng.start()
        eng.cli("rm", "-f", "box", "stubborn")
    finally:
        eng.close()


def _waits_for_the_engine(pid):
    """It has a connection and reads from it."""
    with open(f"/proc/{pid}/wchan", encoding="ascii") as f:
        return "unix_stream" in f.read() or "stream_data_wait" in f.read()


def test_a_wait_outlives_the_engine():
    """docker's waits for ever then; so does ours, but for what the worker says."""
    eng = fx.Engine()
    try:
        eng.start().prepare()
        eng.cli("run", "-d", "-i", "--network", "none", "--name", "box", "caisson-test/rootfs", "sh", "-c", "while [ ! -e /end ]; do sleep 0.1; done; exit 6", check=True)
        ident = eng.http.get("/containers/box/json").json["Id"]
        worker = next(pid for pid, cmd in eng.helpers().items() if cmd.startswith("caisson-worker") and ident in cmd)
        held = len(os.listdir(f"/proc/{worker}/fd"))
        p = subprocess.Popen([CAISSON, "wait", "box"], env=eng.cli_env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        wait_for(lambda: len(os.listdir(f"/proc/{worker}/fd")) > held, what="the worker has the client")
        eng.kill()
        eng.start()
        eng.cli("exec", "box", "touch", "/end", check=True)
        assert p.communicate(timeout=60 * fx.TIME_FACTOR)[0] == "6\n" and p.returncode == 0
        eng.cli("rm", "-f", "box")
    finally:
        eng.close()


@pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")
@pytest.mark.parametrize("how", ["nothing", "another protocol", "a web site", "a proxy", "no message"])
def test_the_status_is_dockers(how, tmp_path):
    with Cut(CUT[how]) as cut:
        for line in ("ps", "pull x", "inspect x", "run x", "exec x y"):
            said = [subprocess.run([p, *line.split(" ")], cwd=tmp_path, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DOCKER_HOST": "unix://" + cut.path, "DOCKER_CLI_HINTS": "false"},
                                   stdin=subprocess.DEVNULL, capture_output=True, timeout=30 * fx.TIME_FACTOR, check=False).returncode for p in ("docker", CAISSON)]
            assert said[0] == said[1], line
