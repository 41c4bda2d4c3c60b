# SPDX-License-Identifier: Apache-2.0
"""What `docker` 28.2.2 and `caisson` send for the same command line, and what they draw for the same answer: both against a fake engine."""
import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import termios
from urllib.parse import parse_qsl

import pytest

import caisson_fixture as fx
from fakeengine import ordered
from scriptedengine import ScriptedEngine

if not shutil.which("docker"):
    pytest.skip("no docker client", allow_module_level=True)
pytestmark = pytest.mark.caisson
PROGRAMS = {"docker": "docker", "caisson": str(fx.BUILD / "caisson")}


def environment(engine, home):
    return {"PATH": os.environ["PATH"], "DOCKER_HOST": f"unix://{engine.sock}", "HOME": str(home), "DOCKER_CLI_HINTS": "false", "TERM": "xterm"}


# -- requests ---------------------------------------------------------------------------------------------------------

ANSWERS = {("POST", "/networks/create"): (201, {"Id": "n1"}), ("POST", "/networks/n/connect"): (200, b""), ("POST", "/networks/n/disconnect"): (200, b""), ("DELETE", "/networks/n"): (204, b""),
           ("GET", "/networks/n"): (200, {"Name": "n"}), ("GET", "/networks"): (200, b"[]"), ("POST", "/networks/prune"): (200, {}), ("POST", "/volumes/create"): (201, {"Name": "v"}),
           ("GET", "/volumes"): (200, {"Volumes": []}), ("POST", "/volumes/prune"): (200, {}), ("DELETE", "/volumes/v"): (204, b""), ("GET", "/containers/json"): (200, b"[]"), ("GET", "/images/json"): (200, b"[]"),
           ("POST", "/containers/prune"): (200, {}), ("POST", "/images/prune"): (200, {}), ("POST", "/build/prune"): (200, {}), ("DELETE", "/images/i"): (200, b"[]"), ("POST", "/images/i/tag"): (201, b""),
           ("GET", "/images/i/history"): (200, b"[]"), ("GET", "/images/i/json"): (200, {"Id": "i"}), ("POST", "/containers/c/update"): (200, {"Warnings": ["w"]}), ("POST", "/containers/c/rename"): (204, b""),
           ("GET", "/containers/c/json"): (200, {"Id": "c", "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "::", "HostPort": "8"}, {"HostIp": "0.0.0.0", "HostPort": "8"}], "9/udp": None}}}), ("GET", "/containers/c/changes"): (200, b"[]"), ("GET", "/containers/c/top"): (200, {"Titles": ["PID"], "Processes": [["1"]]}),
           ("GET", "/system/df"): (200, {"LayersSize": 0}), ("GET", "/plugins"): (200, b"[]"), ("GET", "/images/search"): (200, b"[]"), ("GET", "/events"): (200, b""), ("POST", "/images/create"): (200, []),
           ("POST", "/images/docker.io/library/i/push"): (200, []), ("POST", "/images/load"): (200, []), ("GET", "/networks/x/y"): (200, {})}

LINES = [
    "network create n", "network create -d bridge --subnet 10.1.0.0/16 --gateway 10.1.0.1 --ip-range 10.1.2.0/24 --aux-address a=10.1.0.5 n", "network create --subnet 10.1.0.0/16,fd00::/64 --ipv6 n",
    "network create --internal --attachable --ingress --scope local --label a=b --label c --opt x=y -o z n", "network create --ipv4=false --ipv6 n", "network create --ipam-driver d --ipam-opt a=b n", "network create --config-only --subnet 10.2.0.0/16 n",
    "network create --config-from other n", "network connect n c", "network connect --ip 10.0.0.5 --ip6 fd00::5 --alias a,b --alias c --link x:y --link-local-ip 169.254.1.1 --driver-opt a=b --gw-priority 5 n c",
    "network disconnect n c", "network disconnect -f n c", "network ls -f driver=bridge -f name=a -f name=b", "network prune -f --filter until=1h --filter label!=x", "network inspect n", "network inspect -v n",
    "volume create v", "volume create -d d -o a=b --label x=y --label z v", "volume create", "volume rm v", "volume rm -f v", "volume ls -f dangling=true", "volume prune -f", "volume prune -af --filter label=x",
    "ps", "ps -a", "ps -n 3", "ps -l", "ps -s", "ps -a -f name=x -f status=running -f label=a=b", "ps --format '{{.Size}}'", "ps --size=false --format '{{.Size}}'", "ps -q --format '{{.Size}}'", "ps --format '{{json .}}'", "ps --format json",
    "images", "images -a", "images foo", "images foo -f dangling=true -f reference=bar", "container prune -f", "container prune -f --filter until=24h", "image prune -f", "image prune -af --filter label=x", "system prune -f", "system prune -af --filter label=a",
    "system prune -f --volumes", "rmi i", "rmi -f i", "rmi --no-prune i", "rmi --platform linux/amd64 --platform linux/arm64/v8 i", "tag i a", "tag i a:b", "tag i host:5000/x/y:z", "tag i docker.io/library/q", "history i", "history --platform linux/arm/v7 i",
    "image inspect i", "image inspect --platform linux/amd64 i", "update -m 64m --memory-swap -1 --cpus 1.5 --cpu-shares 10 --cpuset-cpus 0,1 --pids-limit -1 --restart always c", "update --restart on-failure:5 c", "update --blkio-weight 10 --memory-reservation 1m --cpu-period 5 --cpu-quota 6 c",
    "rename c d", "container inspect c", "container inspect -s c", "inspect --type container c", "inspect --type image -s i", "diff c", "top c", "top c -o pid,comm", "port c", "system df", "system df -v", "plugin ls -f enabled=true", "search --limit 5 -f stars=3 term",
    "events --since 10 --until 20", "events --until 20 -f type=container -f event=die", "pull i", "pull i:t", "pull i@sha256:" + "0" * 64, "pull -a i", "pull --platform linux/arm64 i", "pull -q i", "push i", "push i:t", "push -a i", "push -q i", "push --platform linux/amd64 i:t",
    "load -i /dev/null", "load -q -i /dev/null", "load --platform linux/amd64 -i /dev/null",
]


def said(request):
    """A request in a form that the order of keys and of parameters does not matter for."""
    method, path, query, body = request
    parsed = json.loads(body) if body[:1] == b"{" else body
    params = sorted((k, json.dumps(json.loads(v), sort_keys=True) if v[:1] in ("{", "[") else v) for k, v in parse_qsl(query))  # an empty one is none
    return method, path, params, parsed


def meaning(value):
    """What a field that is absent, null, empty or zero means is the same to the engine."""
    if isinstance(value, dict):
        return {k: m for k, m in ((k, meaning(v)) for k, v in value.items()) if m not in (None, {}, [], "", 0, False)}
    if isinstance(value, list):
        return [meaning(v) for v in value]
    return value


@pytest.mark.parametrize("line", LINES)
def test_requests(line, tmp_path):
    import shlex
    seen = {}
    for name, program in PROGRAMS.items():
        with ScriptedEngine(ANSWERS) as engine:
            r = subprocess.run([program, *shlex.split(line)], env=environment(engine, tmp_path), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
            requests = [(m, p, q, meaning(ordered(b)) if isinstance(b, dict) else b) for m, p, q, b in map(said, engine.requests)]
            # docker looks at a network before it removes it, to warn about swarm's; it asks for information that nobody needs
            seen[name] = [x for x in requests if (x[0], x[1]) not in (("GET", "/info"), ("GET", "/version"))], r.returncode, r.stdout
    assert seen["caisson"] == seen["docker"]


# -- images --tree ----------------------------------------------------------------------------------------------------

def manifest(ident, platform, kind="image", available=True, content=10**7, total=2 * 10**7, containers=()):
    m = {"ID": "sha256:" + ident * 64, "Descriptor": {"mediaType": "x", "digest": "sha256:" + ident * 64, "size": 5}, "Available": available, "Kind": kind, "Size": {"Total": total, "Content": content}}
    if kind == "image":
        system, machine, *variant = platform.split("/")
        m["ImageData"] = {"Platform": {"os": system, "architecture": machine, **({"variant": variant[0]} if variant else {})}, "Size": {"Unpacked": total - content}, "Containers": list(containers)}
    elif kind == "attestation":
        m["AttestationData"] = {"For": "sha256:" + "1" * 64}
    return m


def image(ident, tags, created, manifests=(), size=123456789):
    return {"Id": "sha256:" + ident * 64, "RepoTags": tags, "RepoDigests": [], "Created": created, "Size": size, "Labels": {}, "Containers": 2, "Manifests": list(manifests), "ParentId": "", "SharedSize": -1}


TREES = {
    "none": [], "plain": [image("a", ["x:1"], 100), image("b", ["y:2", "y:latest", "longer/name/of/image:tag"], 200)],
    "several": [image("c", ["m:1", "m:2"], 300, [manifest("1", "linux/amd64", containers=["q"]), manifest("2", "linux/arm64/v8", available=False, content=0, total=0), manifest("3", "", "attestation"), manifest("5", "", "unknown")]),
                image("d", [], 50, [manifest("4", "linux/amd64")]), image("e", ["z:1"], 40)],
    "long": [image("f", ["registry.example.com:5000/some/very/long/name/that/does/not/fit/into/a/terminal/of/eighty/columns:with-a-long-tag", "x:y"], 1, [manifest("5", "linux/amd64")])],
    "names": [image("a", ["b:1", "a:1", "bbbb:1", "cc:1", "aaaa:1"], 100), image("b", ["x:y"], 90, [manifest("1", "linux/amd64/v2"), manifest("2", "windows/amd64"), manifest("3", "linux/386")])],
    "untagged": [image("a", [], 100, [manifest("1", "linux/amd64")]), image("b", ["<none>:<none>"], 90), image("c", None, 80, [manifest("2", "linux/amd64", containers=["x"])], 0)],
}


@pytest.mark.parametrize("columns", [10, 30, 50, 80, 200])
@pytest.mark.parametrize("tree", TREES)
def test_image_tree(tree, columns, tmp_path):
    with ScriptedEngine({("GET", "/images/json"): (200, json.dumps(TREES[tree]).encode())}) as engine:
        for args in (["images", "--tree"], ["images", "--tree", "-a", "-f", "dangling=true", "x"]):
            docker, caisson = (on_terminal(p, args, engine, tmp_path, columns) for p in PROGRAMS.values())
            assert caisson == docker and said(engine.requests[-1]) == said(engine.requests[-2])


@pytest.mark.parametrize("tree", TREES)
def test_image_tree_without_colours(tree, tmp_path):
    """docker's pipes get escapes for the titles; ours none, and neither does a terminal with NO_COLOR."""
    with ScriptedEngine({("GET", "/images/json"): (200, json.dumps(TREES[tree]).encode())}) as engine:
        docker, caisson = (subprocess.run([p, "images", "--tree"], env=environment(engine, tmp_path), capture_output=True, stdin=subprocess.DEVNULL, timeout=30, check=False).stdout for p in PROGRAMS.values())
        plain = on_terminal(PROGRAMS["caisson"], ["images", "--tree"], engine, tmp_path, 80, NO_COLOR="1")[1]
    assert caisson == re.sub(rb"\x1b\[\d+m", b"", docker) and (tree == "long" or plain.replace(b"\r\n", b"\n") == caisson)


# -- what is drawn ----------------------------------------------------------------------------------------------------

def bar(ident, status, current, total, **more):
    return {"status": status, "progressDetail": {"current": current, "total": total, **more}, "progress": "[==>  ]", "id": ident}


PULL = [{"status": "Pulling from library/i", "id": "latest"}, {"status": "Pulling fs layer", "progressDetail": {}, "id": "aaaaaaaaaaaa"}, {"status": "Pulling fs layer", "progressDetail": {}, "id": "bbbbbbbbbbbb"},
        {"status": "Waiting", "progressDetail": {}, "id": "cccccccccccc"}, bar("aaaaaaaaaaaa", "Downloading", 1, 1000), bar("bbbbbbbbbbbb", "Downloading", 123456, 7654321), bar("aaaaaaaaaaaa", "Downloading", 500, 1000),
        bar("aaaaaaaaaaaa", "Downloading", 1000, 1000), {"status": "Verifying Checksum", "progressDetail": {}, "id": "aaaaaaaaaaaa"}, {"status": "Download complete", "progressDetail": {}, "id": "aaaaaaaaaaaa"},
        bar("bbbbbbbbbbbb", "Extracting", 8000000, 7654321), bar("cccccccccccc", "Extracting", 3, 0), bar("cccccccccccc", "Extracting", 3, 9, units="s"), bar("cccccccccccc", "Extracting", 12, 9, units="s"),
        bar("cccccccccccc", "Extracting", 5, 10, hidecounts=True), {"status": "Pull complete", "progressDetail": {}, "id": "bbbbbbbbbbbb"}, {"status": "Already exists", "progressDetail": {}, "id": "dddddddddddd"},
        {"status": "Digest: sha256:00"}, {"status": "Status: Downloaded newer image for i:latest"}, bar("aaaaaaaaaaaa", "Downloading", 7, 1000), {"status": "with time", "time": 1700000000}, {"stream": "text of a stream\n"},
        {"status": "old form", "progress": "[=>]", "id": "eeeeeeeeeeee"}, {"aux": {"ID": "x"}}, {"status": "from", "from": "where", "id": "f"}]
BROKEN = [*PULL[:4], {"errorDetail": {"message": "it broke"}, "error": "it broke"}]


def on_terminal(program, args, engine, home, columns, **env):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    proc = subprocess.Popen([program, *args], stdin=slave, stdout=slave, stderr=subprocess.PIPE, env={**environment(engine, home), **env}, start_new_session=True)
    os.close(slave)
    out = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        out += data
    err = proc.stderr.read()
    os.close(master)
    return proc.wait(20), out, err


@pytest.mark.parametrize("stream", [PULL, BROKEN], ids=["pull", "broken"])
@pytest.mark.parametrize("line, columns", [*[("pull i", n) for n in (200, 111, 110, 51, 50, 20)], ("push i", 200), ("load -i /dev/null", 200), ("pull -q i", 200), ("push -q i", 200)])
def test_progress_on_a_terminal(line, columns, stream, tmp_path):
    answers = {("POST", "/images/create"): (200, stream), ("POST", "/images/docker.io/library/i/push"): (200, stream), ("POST", "/images/load"): (200, stream)}
    with ScriptedEngine(answers) as engine:
        docker, caisson = (on_terminal(p, line.split(), engine, tmp_path, columns) for p in PROGRAMS.values())
    assert caisson == docker


@pytest.mark.parametrize("stream", [PULL, BROKEN], ids=["pull", "broken"])
@pytest.mark.parametrize("args", [["pull", "i"], ["push", "i"], ["load", "-i", "/dev/null"], ["pull", "-q", "i"], ["push", "-q", "i:t"], ["pull", "host.invalid:5000/a/b:c"], ["pull", "-a", "i:t"], ["push", "-a", "i:t"], ["pull", "BAD"], ["push", "BAD"]], ids=" ".join)
def test_progress_in_a_pipe(args, stream, tmp_path):
    answers = {("POST", "/images/create"): (200, stream), ("POST", "/images/docker.io/library/i/push"): (200, stream), ("POST", "/images/load"): (200, stream)}
    with ScriptedEngine(answers) as engine:
        docker, caisson = (subprocess.run([p, *args], env=environment(engine, tmp_path), capture_output=True, stdin=subprocess.DEVNULL, timeout=30, check=False) for p in PROGRAMS.values())
    assert (caisson.returncode, caisson.stdout, caisson.stderr) == (docker.returncode, docker.stdout, docker.stderr)


def test_an_answer_from_somewhere_else_is_none(tmp_path):
    """What a proxy, or an engine's router, says to whom it sends elsewhere: nothing was done."""
    with ScriptedEngine({("POST", "/containers/a/rename"): (301, b""), ("POST", "/containers/a/start"): (304, b"")}) as engine:
        codes = [subprocess.run([PROGRAMS["caisson"], *line.split()], env=environment(engine, tmp_path), capture_output=True, timeout=30, check=False).returncode for line in ("rename a b", "start a")]
    assert codes == [1, 0]  # 304: it runs already


def test_a_moment_to_the_nanosecond(tmp_path):
    event = {"Type": "container", "Action": "start", "Actor": {"ID": "c", "Attributes": {}}, "time": 1764378000, "timeNano": 1764378000123456789}
    with ScriptedEngine({("GET", "/events"): (200, [event])}) as engine:
        said = [subprocess.run([p, "events", "--until", "1"], env={**environment(engine, tmp_path), "TZ": "UTC"}, capture_output=True, text=True, timeout=30, check=True).stdout for p in PROGRAMS.values()]
    assert said == ["2025-11-29T01:00:00.123456789Z container start c\n"] * 2


# -- methods of modes -------------------------------------------------------------------------------------------------

MODES = ["", "default", "host", "none", "bridge", "mine", "container:x", "container:", "private", "shareable", "HyperV", "process", "no", "always", "on-failure", "unless-stopped"]
METHODS = {"NetworkMode": "IsNone IsDefault IsPrivate IsContainer ConnectedContainer UserDefined IsBridge IsHost IsUserDefined NetworkName", "IpcMode": "IsPrivate IsHost IsShareable IsContainer IsNone IsEmpty Valid Container",
           "PidMode": "IsPrivate IsHost IsContainer Valid Container", "UTSMode": "IsPrivate IsHost Valid", "UsernsMode": "IsPrivate IsHost Valid", "CgroupnsMode": "IsPrivate IsHost IsEmpty Valid",
           "Isolation": "IsDefault IsHyperV IsProcess IsValid", "RestartPolicy": "IsNone IsAlways IsOnFailure IsUnlessStopped"}


@pytest.mark.parametrize("mode", MODES)
def test_what_modes_say_of_themselves(mode, tmp_path):
    host = {key: {"Name": mode} if key == "RestartPolicy" else mode for key in METHODS}
    every = " ".join(f"{{{{.HostConfig.{key}.{m}}}}}|" for key, methods in METHODS.items() for m in methods.split())
    with ScriptedEngine({("GET", "/containers/c/json"): (200, {"Id": "c", "HostConfig": host})}) as engine:
        for template in (every, "{{.HostConfig.NetworkMode.IsHost 1}}", "{{.HostConfig.PidMode.Nosuch}}", "{{if .HostConfig.NetworkMode.IsUserDefined}}{{.HostConfig.NetworkMode}}{{end}}"):
            docker, caisson = ((r.returncode, r.stdout, r.stderr) for r in (subprocess.run([p, "container", "inspect", "-f", template, "c"], env=environment(engine, tmp_path), capture_output=True, text=True, timeout=30, check=False)
                                                                         for p in PROGRAMS.values()))
            assert caisson == docker, template
