# SPDX-License-Identifier: Apache-2.0
"""The caisson command, Caisson's own client."""
import base64
import json
import os
import subprocess
import tarfile
import uuid

import pytest

import caisson_fixture as fx
import rootfs
from registry import Registry
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
    assert r.returncode == status and text in r.stderr and r.stderr.startswith("caisson: Error response from daemon: ")


@pytest.mark.parametrize("args, status", [(["run"], 1), (["run", "--nosuch", IMAGE], 125), (["run", "--memory", "x", IMAGE], 125), (["exec", "x"], 1), (["ps", "x"], 1),
                                          (["rename", "a"], 1), (["run", "--cpus", "x", IMAGE], 125), (["ps", "-f", "x"], 125)])
def test_usage_errors(engine, args, status):
    r = client(engine, *args)
    assert r.returncode == status and r.stderr and not r.stdout


def test_unknown_command(engine):
    r = client(engine, "frobnicate")
    assert r.returncode != 0 and "unknown command: caisson frobnicate" in r.stderr


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
    assert r.returncode == 1 and "Is the caisson daemon running?" in r.stderr


def test_help():
    for args in (["--help"], ["run", "--help"], ["ps", "--help"], ["import", "--help"]):
        r = subprocess.run([str(fx.BUILD / "caisson"), *args], capture_output=True, text=True, timeout=10, check=False)
        assert r.returncode == 0 and r.stdout.startswith("Usage:  caisson") and not r.stderr


# -- images on their way, volumes -------------------------------------------------------------------------------------

def test_save_and_load(engine, tmp_path):
    tag = "own/saved:" + uuid.uuid4().hex[:8]
    assert client(engine, "tag", IMAGE, tag).returncode == 0
    ident = client(engine, "images", "-q", "--no-trunc", tag).stdout
    out = tmp_path / "a.tar"
    r = client(engine, "save", "-o", str(out), tag)
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "")
    with tarfile.open(out) as t:
        assert {"manifest.json", "index.json", "oci-layout"} <= set(t.getnames())
    assert client(engine, "rmi", tag).returncode == 0
    r = client(engine, "load", "-i", str(out))
    assert r.returncode == 0 and r.stdout.splitlines()[-1] == f"Loaded image: {tag}", r
    assert client(engine, "images", "-q", "--no-trunc", tag).stdout == ident
    assert client(engine, "rmi", tag).returncode == 0


def test_save_leaves_no_half_file(engine, tmp_path):
    r = client(engine, "save", "-o", str(tmp_path / "a.tar"), "no/such:image")
    assert r.returncode == 1 and "No such image" in r.stderr and os.listdir(tmp_path) == []


def test_commit_and_export(engine, name, tmp_path):
    assert client(engine, "run", "--name", name, "--network", "none", IMAGE, "sh", "-c", "echo hello > /made").returncode == 0
    tag = "own/made:" + name
    r = client(engine, "commit", "-m", "why", "-a", "who", "-c", "ENV A=1", name, tag)
    assert r.returncode == 0 and r.stdout.startswith("sha256:"), r
    try:
        assert client(engine, "run", "--rm", "--network", "none", tag, "sh", "-c", "cat /made; echo $A").stdout == "hello\n1\n"
        assert client(engine, "history", tag).returncode == 0
    finally:
        client(engine, "rmi", "-f", tag)
    out = tmp_path / "e.tar"
    assert client(engine, "export", "-o", str(out), name).returncode == 0
    with tarfile.open(out) as t:
        assert t.extractfile("made").read() == b"hello\n"


def test_push_and_pull_with_credentials(engine, tmp_path):
    with Registry(htpasswd={"me": "secret:word"}) as r:
        name = f"{r.host}/own/moved"
        assert client(engine, "tag", IMAGE, name + ":1").returncode == 0
        refused = client(engine, "push", name + ":1")
        assert refused.returncode == 1 and refused.stderr.strip(), refused
        auth = base64.b64encode(b"me:secret:word").decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {r.host: {"auth": auth}}}))
        env = {"PATH": os.environ["PATH"], "CAISSON_HOST": f"unix://{engine.sock}", "DOCKER_CONFIG": str(tmp_path)}

        def mine(*args):
            return subprocess.run([str(fx.BUILD / "caisson"), *args], env=env, text=True, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
        pushed = mine("push", name + ":1")
        assert pushed.returncode == 0 and "1: digest: sha256:" in pushed.stdout, pushed
        assert mine("rmi", name + ":1").returncode == 0
        pulled = mine("pull", name + ":1")
        assert pulled.returncode == 0 and pulled.stdout.splitlines()[-1] == name + ":1", pulled
        assert mine("pull", "-q", name + ":1").stdout == name + ":1\n"
        missing = mine("pull", name + ":2")
        assert missing.returncode == 1 and "not found" in missing.stderr, missing
        assert mine("rmi", name + ":1").returncode == 0


def test_a_cidfile_stays_only_with_an_id_in_it(engine, name, tmp_path):
    file = tmp_path / "cid"
    for wrong in (["--pull", "never", "no/such:image"], ["--platform", "bogus", IMAGE], ["--name", "a b", IMAGE]):
        assert client(engine, "create", "--cidfile", str(file), *wrong).returncode == 1
        assert not file.exists(), wrong
    made = client(engine, "create", "--name", name, "--network", "none", "--cidfile", str(file), IMAGE)
    assert made.returncode == 0 and file.read_text() == made.stdout.strip()
    assert "container ID file found" in client(engine, "create", "--cidfile", str(file), IMAGE).stderr and file.exists()


def test_volumes(engine, name):
    assert client(engine, "volume", "create", "--label", "a=b=c", name).stdout == name + "\n"
    v = json.loads(client(engine, "volume", "inspect", name).stdout)
    assert v[0]["Name"] == name and v[0]["Labels"] == {"a": "b=c"}
    assert name in client(engine, "volume", "ls", "-q").stdout.split()
    assert client(engine, "volume", "rm", name).stdout == name + "\n"
    r = client(engine, "volume", "rm", name)
    assert r.returncode == 1 and "no such volume" in r.stderr.lower()
    assert client(engine, "volume", "rm", "-f", name).returncode == 0


def test_prune_asks(engine, name):
    assert client(engine, "volume", "create", name).returncode == 0
    r = client(engine, "volume", "prune", "-a", stdin="n\n")
    assert r.returncode == 0 and "[y/N]" in r.stdout and name in client(engine, "volume", "ls", "-q").stdout
    assert name in client(engine, "volume", "prune", "-a", "-f").stdout
