# SPDX-License-Identifier: Apache-2.0
"""The real docker command against our socket."""
import json
import shutil
import subprocess
import time
import uuid

import pytest

import caisson_fixture as fx
from box import IS_DOCKERD
from terminal import Terminal

pytestmark = pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")
IMAGE = "caisson-test/rootfs"


@pytest.fixture
def name(engine):
    n = "cli-" + uuid.uuid4().hex[:8]
    yield n
    engine.http.delete(f"/containers/{n}", {"force": 1, "v": 1}, rec=False)


def run(engine, *args, **kw):
    return engine.cli("run", "--network", "none", *args, **kw)


def test_run_rm(engine):
    r = run(engine, "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (r.returncode, r.stdout, r.stderr) == (3, "out\n", "err\n")


def test_run_stdin(engine):
    assert run(engine, "--rm", "-i", IMAGE, "cat", stdin="some\ntext\n").stdout == "some\ntext\n"


def test_run_many_bytes_through_stdin(engine):
    data = "0123456789abcdef" * 40000
    assert run(engine, "--rm", "-i", IMAGE, "cat", stdin=data).stdout == data


@pytest.mark.parametrize("cmd,code,text", [(["nosuch"], 127, "executable file not found in $PATH"), (["/etc/passwd"], 126, "permission denied"),
                                           pytest.param(["sh", "-c", "kill -9 $$; sleep 1"], 137, "", marks=pytest.mark.unsanitized)])
def test_run_exit_codes(engine, cmd, code, text):
    r = run(engine, "--rm", "--init", IMAGE, "sh", "-c", "sh -c 'kill -9 $$'") if code == 137 else run(engine, "--rm", IMAGE, *cmd)
    assert r.returncode == code and text in r.stderr, r


def test_run_125(engine):
    assert run(engine, "--rm", "--memory", "1k", IMAGE, "true").returncode == 125


def test_run_pull_never(engine):
    r = run(engine, "--rm", "--pull", "never", "nosuch-image-here", "true")
    assert r.returncode == 125 and "No such image: nosuch-image-here:latest" in r.stderr


def test_run_detached_and_logs(engine, name):
    r = run(engine, "-d", "--name", name, IMAGE, "sh", "-c", "echo one; echo two >&2")
    assert r.returncode == 0 and len(r.stdout.strip()) == 64
    assert engine.cli("wait", name).stdout == "0\n"
    r = engine.cli("logs", name)
    assert (r.stdout, r.stderr) == ("one\n", "two\n")
    assert engine.cli("logs", "--tail", "0", name).stdout == ""


@pytest.mark.unsanitized
def test_options_reach_the_container(engine):
    r = run(engine, "--rm", "-e", "A=1", "-w", "/tmp", "-u", "1000:5", "-h", "host1", "--read-only", "--tmpfs", "/t", "--memory", "64m",
            "--cpus", "0.5", "--pids-limit", "20", "--cap-drop", "ALL", "--ulimit", "nofile=64", "--shm-size", "1m", "--label", "l=1", "--init",
            IMAGE, "sh", "-c", "echo $A $(pwd) $(id -u):$(id -g) $(hostname) $(ulimit -n); touch /x 2>/dev/null || echo ro")
    assert r.stdout == "1 /tmp 1000:5 host1 64\nro\n", r


def test_ps(engine, name):
    run(engine, "-d", "--name", name, IMAGE, "sleep", "1000")
    r = engine.cli("ps", "--filter", f"name={name}", "--format", "{{.Names}}|{{.Image}}|{{.State}}|{{.Command}}|{{.Ports}}", check=True)
    assert r.stdout.strip() == f'{name}|{IMAGE}|running|"sleep 1000"|'
    assert engine.cli("ps", "-q", "--no-trunc", "--filter", f"name={name}").stdout.strip()
    assert name in engine.cli("ps", "-a", "-s").stdout


def test_life(engine, name):
    run(engine, "-d", "--name", name, IMAGE, "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 100 & wait $!; done")
    for cmd in (["pause"], ["unpause"], ["restart", "-t", "5"], ["stop", "-t", "5"], ["start"], ["kill"]):
        r = engine.cli(*cmd, name)
        assert r.returncode == 0 and r.stdout == name + "\n", r
    assert engine.cli("rename", name, name + "x").returncode == 0
    assert engine.cli("rm", "-f", name + "x").stdout == name + "x\n"


def test_exec(engine, name):
    run(engine, "-d", "--name", name, IMAGE, "sleep", "1000")
    r = engine.cli("exec", "-e", "E=1", "-w", "/tmp", "-u", "app", name, "sh", "-c", "echo $E $(pwd) $(id -u); exit 7")
    assert (r.returncode, r.stdout) == (7, "1 /tmp 1000\n")
    assert engine.cli("exec", "-i", name, "cat", stdin="piped").stdout == "piped"
    assert engine.cli("exec", "-d", name, "true").returncode == 0
    r = engine.cli("exec", name, "nosuch")
    assert r.returncode in ((126, 127) if IS_DOCKERD else (127,)) and "executable file not found" in r.stdout + r.stderr


def test_inspect_and_templates(engine, name):
    engine.cli("create", "--name", name, "--network", "none", IMAGE, "true", check=True)
    assert json.loads(engine.cli("inspect", name).stdout)[0]["Name"] == "/" + name
    assert engine.cli("inspect", "-f", "{{.State.Status}} {{.HostConfig.NetworkMode}}", name).stdout == "created none\n"
    r = engine.cli("inspect", "nosuch-thing")
    assert r.returncode == 1 and "no such object: nosuch-thing" in r.stderr.lower()


def test_top_stats_diff_port(engine, name):
    run(engine, "-d", "--name", name, IMAGE, "sh", "-c", "echo > /made; exec sleep 1000")
    assert "sleep 1000" in engine.cli("top", name).stdout
    r = engine.cli("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", name)
    assert r.stdout.strip() == f"{name} 1", r
    assert engine.cli("diff", name).stdout == "A /made\n"
    assert engine.cli("port", name).returncode == 0


def test_update(engine, name):
    run(engine, "-d", "--name", name, "--memory", "64m", IMAGE, "sleep", "1000")
    assert engine.cli("update", "--memory", "32m", "--memory-swap", "32m", name).returncode == 0
    assert engine.cli("inspect", "-f", "{{.HostConfig.Memory}}", name).stdout == f"{32 << 20}\n"


def test_info_version_df(engine):
    assert "Storage Driver: overlay" in engine.cli("info", check=True).stdout
    assert "Server" in engine.cli("version", check=True).stdout
    assert "Images" in engine.cli("system", "df", check=True).stdout
    assert "Local Volumes" in engine.cli("system", "df").stdout
    assert "caisson/base" in engine.cli("system", "df", "-v", check=True).stdout


def test_images(engine, tmp_path):
    import rootfs
    tar = tmp_path / "r.tar"
    tar.write_bytes(rootfs.busybox().bytes())
    assert engine.cli("import", "-c", 'CMD ["/bin/echo","hi"]', str(tar), "cli-import:v1").stdout.startswith("sha256:")
    assert "cli-import" in engine.cli("images").stdout
    assert run(engine, "--rm", "cli-import:v1").stdout == "hi\n"
    engine.cli("tag", "cli-import:v1", "cli-import:v2", check=True)
    assert "Imported from" in engine.cli("history", "cli-import:v1", check=True).stdout
    assert engine.cli("rmi", "cli-import:v2").stdout.strip() == "Untagged: cli-import:v2"
    assert "Deleted: sha256:" in engine.cli("rmi", "cli-import:v1").stdout
    r = engine.cli("rmi", "cli-import:v1")
    assert r.returncode == 1 and "No such image" in r.stderr


@pytest.mark.caisson
def test_events_have_the_members_of_older_templates(engine, name):
    """The API has them no more since 1.52; docker 28 has them of an older API, for containers and images."""
    run(engine, "--name", name, IMAGE, "true")
    engine.cli("tag", IMAGE, f"{name}:1")
    engine.cli("volume", "create", name)
    ask = ("events", "--since", "1h", "--until", str(time.time() + 0.1), "--filter", "event=create", "--filter", "event=tag", "--format")
    ident = engine.cli("inspect", "-f", "{{.Id}}", name).stdout.strip()
    for program in ("caisson", "docker"):
        path = str(fx.BUILD / "caisson") if program == "caisson" else "docker"
        call = lambda form: subprocess.run([path, *ask, form], env=engine.cli_env(), capture_output=True, text=True, timeout=60, check=True).stdout
        out = call("{{.Status}}|{{.ID}}|{{.From}}|{{.Actor.ID}}").splitlines()
        assert f"create|{ident}|{IMAGE}|{ident}" in out and f"|||{name}" in out
        assert any(line.startswith("tag|sha256:") and "||sha256:" in line for line in out)
        first = [json.loads(line) for line in call("json").splitlines()]
        assert [x["from"] for x in first if x.get("id") == ident] == [IMAGE]
    engine.cli("volume", "rm", name)
    engine.cli("rmi", f"{name}:1")


def test_events(engine, name):
    since = str(time.time())
    run(engine, "--name", name, IMAGE, "true")
    r = engine.cli("events", "--since", since, "--until", str(time.time() + 0.1), "--filter", f"container={name}", "--format", "{{.Action}}")
    assert [l for l in r.stdout.split() if l not in ("attach",)][:3] == ["create", "start", "die"], r


def test_prune(engine, name):
    run(engine, "--name", name, "--label", "cliprune=1", IMAGE, "true")
    assert "Deleted Containers" in engine.cli("container", "prune", "-f", "--filter", "label=cliprune=1").stdout


def test_swarm_is_refused_as_usual(engine):
    r = engine.cli("service", "ls")
    assert r.returncode == 1 and "This node is not a swarm manager" in r.stderr


def test_volumes_and_networks_list(engine):
    assert engine.cli("network", "ls", "--format", "{{.Name}}").returncode == 0
    assert engine.cli("volume", "ls").returncode == 0


def test_terminal(engine, name):
    t = Terminal(engine, "run", "-it", "--name", name, "--network", "none", IMAGE, "sh")
    try:
        t.until(b"# ")
        t.resize(41, 123)
        end = time.monotonic() + 10
        while True:
            t.send(b"stty size; echo do''ne\n")
            if b"41 123" in t.until(b"done\r\n"):
                break
            assert time.monotonic() < end
        t.send(b"exit 6\n")
        assert t.wait() == 6
    finally:
        t.close()


def test_detach_and_attach(engine, name):
    t = Terminal(engine, "run", "-it", "--name", name, "--network", "none", IMAGE, "sh")
    try:
        t.until(b"# ")
        t.send(b"\x10\x11")
        assert t.wait() == 0
    finally:
        t.close()
    t = Terminal(engine, "attach", name)
    try:
        t.send(b"echo a''gain\n")
        t.until(b"again\r\n")
        t.send(b"exit 3\n")
        assert t.wait() == 3
    finally:
        t.close()


def test_exec_terminal(engine, name):
    run(engine, "-d", "--name", name, IMAGE, "sleep", "1000")
    t = Terminal(engine, "exec", "-it", name, "sh")
    try:
        t.until(b"# ")
        t.send(b"tty; exit 4\n")
        t.until(b"/dev/pts/")
        assert t.wait() == 4
    finally:
        t.close()


def test_ctrl_c(engine, name):
    t = Terminal(engine, "run", "-it", "--name", name, "--network", "none", IMAGE, "sh", "-c", "trap 'exit 9' INT; echo up; while :; do sleep 0.1; done")
    try:
        t.until(b"up")
        t.send(b"\x03")
        assert t.wait() == 9
    finally:
        t.close()


def test_run_no_tty_forwards_signals(engine, name):
    p = subprocess.Popen(["docker", "run", "--name", name, "--network", "none", IMAGE, "sh", "-c",
                          "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done"], stdout=subprocess.PIPE, env=engine.cli_env(), stdin=subprocess.DEVNULL)
    assert p.stdout.readline() == b"up\n"
    p.terminate()
    assert p.wait(20) == 5
    p.stdout.close()
