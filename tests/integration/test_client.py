# SPDX-License-Identifier: Apache-2.0
"""The caisson command, Caisson's own client."""
import json
import os
import subprocess
import uuid

import pytest

import caisson_fixture as fx
import rootfs
from terminal import Terminal

pytestmark = pytest.mark.caisson
IMAGE = "caisson-test/rootfs"


def client(engine, *args, stdin=None, timeout=60):
    """Runs build/caisson and returns the finished process; input and output are text."""
    env = {"PATH": os.environ["PATH"], "CAISSON_HOST": f"unix://{engine.sock}"}
    return subprocess.run([str(fx.BUILD / "caisson"), *args], env=env, text=True, capture_output=True, timeout=timeout, check=False,
                          **({"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}))


@pytest.fixture
def name(engine):
    n = "own-" + uuid.uuid4().hex[:8]
    yield n
    engine.http.delete(f"/containers/{n}", {"force": 1, "v": 1}, rec=False)


def test_run(engine):
    r = client(engine, "run", "--rm", "--network", "none", "-e", "A=b c", "-w", "/tmp", IMAGE, "sh", "-c", "echo $A; pwd; echo err >&2; exit 3")
    assert (r.returncode, r.stdout, r.stderr) == (3, "b c\n/tmp\n", "err\n")


def test_run_stdin(engine):
    data = "0123456789abcdef" * 20000
    assert client(engine, "run", "--rm", "-i", "--network", "none", IMAGE, "cat", stdin=data).stdout == data


@pytest.mark.parametrize("command, status, text", [("nosuch", 127, "executable file not found"), ("/etc", 126, "permission denied")])
def test_run_cannot_start(engine, name, command, status, text):
    r = client(engine, "run", "--name", name, "--network", "none", IMAGE, command)
    assert r.returncode == status and text in r.stderr and r.stderr.startswith("Error response from daemon: ")


@pytest.mark.parametrize("args", [["run"], ["run", "--nosuch", IMAGE], ["run", "--memory", "x", IMAGE], ["exec", "x"], ["ps", "x"], ["rename", "a"],
                                  ["run", "--cpus", "x", IMAGE], ["ps", "-f", "x"]])
def test_usage_errors(engine, args):
    r = client(engine, *args)
    assert r.returncode == 125 and r.stderr and not r.stdout


def test_unknown_command(engine):
    r = client(engine, "frobnicate")
    assert r.returncode != 0 and "is not a caisson command" in r.stderr


def test_life(engine, name):
    r = client(engine, "run", "-d", "--name", name, "--network", "none", "--label", "a=b", "-m", "64m", IMAGE, "sh", "-c", "echo hello; sleep 1000")
    assert r.returncode == 0
    ident = r.stdout.strip()
    assert len(ident) == 64
    listed = client(engine, "ps", "-f", f"name={name}").stdout.splitlines()
    assert listed[0].split("   ")[0] == "CONTAINER ID" and listed[1].startswith(ident[:12]) and listed[1].endswith(name)
    assert client(engine, "ps", "-q", "--no-trunc", "-f", "label=a=b").stdout.split() == [ident]
    seen = json.loads(client(engine, "inspect", name).stdout)[0]
    assert seen["Id"] == ident and seen["HostConfig"]["Memory"] == 64 << 20
    r = client(engine, "exec", "-u", "1000", "-e", "X=1", name, "sh", "-c", "id -u; echo $X; exit 5")
    assert (r.returncode, r.stdout) == (5, "1000\n1\n")
    assert client(engine, "exec", "-i", name, "cat", stdin="in\n").stdout == "in\n"
    assert client(engine, "logs", name).stdout == "hello\n"
    assert client(engine, "logs", "-t", "-n", "1", name).stdout.endswith("Z hello\n")
    assert "sleep 1000" in client(engine, "top", name).stdout
    assert client(engine, "pause", name).stdout == name + "\n"
    assert client(engine, "unpause", name).stdout == name + "\n"
    assert client(engine, "rename", name, name + "x").returncode == 0
    assert client(engine, "rename", name + "x", name).returncode == 0
    assert client(engine, "kill", "-s", "9", name).stdout == name + "\n"
    assert client(engine, "wait", name).stdout == "137\n"
    assert "A /" not in client(engine, "diff", name).stdout
    assert client(engine, "start", name).stdout == name + "\n"
    assert client(engine, "restart", "-t", "0", name).stdout == name + "\n"
    assert client(engine, "stop", "-t", "0", name).stdout == name + "\n"
    assert client(engine, "rm", name).stdout == name + "\n"
    r = client(engine, "rm", name)
    assert r.returncode == 1 and r.stderr == f"Error response from daemon: No such container: {name}\n"


def test_terminal(engine, name):
    t = Terminal(engine, "-H", "unix://" + engine.sock, "run", "-it", "--name", name, "--network", "none", IMAGE, "sh", program=str(fx.BUILD / "caisson"))
    try:
        t.resize(31, 97)
        t.until(b"/ # ")
        t.send(b"echo size $(stty size)\r")
        assert b"31 97" in t.until(b"size 31 97")
        t.send(b"\x10\x11")            # the detach keys leave the container running
        assert t.wait() == 0
    finally:
        t.close()
    t = Terminal(engine, "-H", "unix://" + engine.sock, "attach", name, program=str(fx.BUILD / "caisson"))
    try:
        t.send(b"echo back; exit 4\r")
        t.until(b"back\r\n")
        assert t.wait() == 4
    finally:
        t.close()


def test_several_objects_go_on(engine, name):
    client(engine, "create", "--name", name, "--network", "none", IMAGE, "true")
    r = client(engine, "rm", "nosuch1", name, "nosuch2")
    assert (r.returncode, r.stdout) == (1, name + "\n") and r.stderr.count("No such container") == 2


def test_images(engine):
    repo = "own/import-" + uuid.uuid4().hex[:6]
    tar = rootfs.busybox().bytes()
    r = subprocess.run([str(fx.BUILD / "caisson"), "import", "-c", 'CMD ["echo","from import"]', "-c", "ENV PATH=/bin", "-", repo + ":v1"], input=tar,
                       env={"CAISSON_HOST": f"unix://{engine.sock}"}, capture_output=True, timeout=60, check=False)
    assert r.returncode == 0 and r.stdout.startswith(b"sha256:"), r.stderr
    assert client(engine, "run", "--rm", "--network", "none", repo + ":v1").stdout == "from import\n"
    assert client(engine, "tag", repo + ":v1", repo + ":v2").returncode == 0
    rows = client(engine, "images", repo).stdout.splitlines()
    assert len(rows) == 3 and {row.split()[1] for row in rows[1:]} == {"v1", "v2"}
    assert client(engine, "history", repo + ":v1").stdout.startswith("IMAGE")
    r = client(engine, "rmi", repo + ":v1", repo + ":v2")
    assert r.returncode == 0 and f"Untagged: {repo}:v1" in r.stdout and "Deleted: sha256:" in r.stdout


def test_import_of_nonsense(engine):
    r = client(engine, "import", "-", "own/nonsense", stdin="this is no archive")
    assert r.returncode == 1 and r.stderr


def test_system(engine):
    assert "Server:" in client(engine, "version").stdout
    assert "Containers: " in client(engine, "info").stdout
    assert client(engine, "system", "df").stdout.startswith("TYPE")
    assert " container create " in client(engine, "events", "--since", "1h", "--until", "0s").stdout


def test_no_engine():
    r = subprocess.run([str(fx.BUILD / "caisson"), "-H", "unix:///nonexistent.sock", "ps"], capture_output=True, text=True, timeout=10, check=False)
    assert r.returncode == 1 and "Is caissond running?" in r.stderr


def test_help():
    for args in (["--help"], ["run", "--help"], ["ps", "--help"], ["import", "--help"]):
        r = subprocess.run([str(fx.BUILD / "caisson"), *args], capture_output=True, text=True, timeout=10, check=False)
        assert r.returncode == 0 and r.stdout.startswith("Usage:  caisson") and not r.stderr
