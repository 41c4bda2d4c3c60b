# SPDX-License-Identifier: Apache-2.0
"""What `caisson create` sends for each flag, and what it says of bad ones, against what Docker's client 28 was seen to send and say.

tests/golden/create.json holds Docker's side: a line is [command line, exit code, stdout, stderr, requests]. It was made by the docker command with
CAISSON_UPDATE_GOLDEN=1, and where a docker command of that release is installed, one test sees whether it still holds."""
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

import caisson_fixture as fx
from fakeengine import FakeEngine

GOLDEN = Path(__file__).parents[1] / "golden" / "create.json"
FILES = {"e1": "# c\nA=1\n  B=2\nC\nHOME\n\nD=a b\nE=\u20ac\n", "e2": "A B=1\n", "e3": "\ufeffA=1\n=x\n", "l1": "a=b\nc\n# x\n d=e\n",
         "s1": '{ "defaultAction": "SCMP_ACT_ALLOW" }\n', "s2": '{ "a": 18446744073709551615, "a": 1.50, "b": "x  \\" y\\\\" }\n', "bad": "A=1\nB=\udcff\udcfe\n"}
# a member that only says what leaving it out says as well
DEFAULTS = {"MemorySwappiness": -1, "RestartPolicy": {"Name": "no"}, "ConsoleSize": [0, 0], "NetworkMode": "default"}


def prune(value):
    """Without members that are empty: both ways of saying nothing are the same."""
    if isinstance(value, dict):
        small = {k: prune(v) for k, v in value.items()}
        return {k: v for k, v in small.items() if v not in (None, "", [], {}, 0) or k in ("MaskedPaths", "ReadonlyPaths") and v == []}
    return [prune(v) for v in value] if isinstance(value, list) else value


def meaning(body):
    if not isinstance(body, dict):
        return None
    body = prune(body)
    host = body.get("HostConfig", {})
    for key, usual in DEFAULTS.items():
        if host.get(key) == usual:
            del host[key]
    if not host:
        body.pop("HostConfig", None)
    return body


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    where = tmp_path_factory.mktemp("create")
    (where / "config").mkdir()
    for name, text in FILES.items():
        (where / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    return where


def observe(program, line, where):
    name = Path(program).name
    with FakeEngine() as engine:
        env = {"PATH": os.environ["PATH"], "HOME": "/root", "DOCKER_HOST": engine.host, "DOCKER_CONFIG": str(where / "config"), "LANG": "C.UTF-8"}
        out = subprocess.run([program, "create", *shlex.split(line), "busybox"], env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                             timeout=20 * fx.TIME_FACTOR, cwd=where, check=False)
        sent = [[m, p, sorted(parse_qsl(q)), meaning(b)] for m, p, q, b in engine.seen]
    text = json.dumps([out.returncode, out.stdout, re.sub(rf"\b{name}\b", "NAME", out.stderr, flags=re.I).strip(), sent], sort_keys=True)
    return json.loads(text.replace(str(where), "/HERE").replace(str(where.parent), "/ABOVE"))


def docker_is_28():
    docker = shutil.which("docker")
    if not docker:
        return False
    said = subprocess.run([docker, "--version"], capture_output=True, text=True, check=False).stdout
    return "version 28." in said


def lines():
    if os.environ.get("CAISSON_UPDATE_GOLDEN"):
        return []
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.caisson
@pytest.mark.parametrize("line,expected", lines(), ids=lambda v: v if isinstance(v, str) else "")
def test_create_as_docker_does(line, expected, place):
    assert observe(str(fx.BUILD / "caisson"), line, place) == expected


@pytest.mark.caisson
@pytest.mark.timeout(180)
def test_docker_still_does_so(place):
    if not docker_is_28():
        pytest.skip("no docker command of release 28")
    wrong = []
    for line, expected in lines():
        seen = [observe("docker", line, place)]
        while seen[-1] != expected and len(seen) < 4:     # it walks over maps in any order
            seen.append(observe("docker", line, place))
        if seen[-1] != expected:
            wrong.append((line, seen[-1], expected))
    assert not wrong


@pytest.mark.caisson
def test_empty_lists_are_dockers(place):
    """An engine keeps null and [] apart, and inspect shows which it was given."""
    lists = {}
    for program in ("caisson", "docker") if docker_is_28() else ("caisson",):
        with FakeEngine() as engine:
            env = {"PATH": os.environ["PATH"], "HOME": "/root", "DOCKER_HOST": engine.host, "DOCKER_CONFIG": str(place / "config")}
            subprocess.run([str(fx.BUILD / "caisson") if program == "caisson" else program, "create", "busybox"], env=env, capture_output=True, stdin=subprocess.DEVNULL, check=True)
            lists[program] = {k for k, v in engine.seen[0][3]["HostConfig"].items() if v == []}
    assert lists["caisson"] == {"Dns", "DnsOptions", "DnsSearch", "Devices", "Ulimits", "BlkioWeightDevice",
                                "BlkioDeviceReadBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteBps", "BlkioDeviceWriteIOps"}
    assert lists.get("docker", lists["caisson"]) == lists["caisson"]


@pytest.mark.caisson
def test_bytes_that_are_no_text(place):
    """JSON cannot hold them: a sign in their place, as Go has it, and not the whole argument away."""
    line = [b"-e", b"A=\xff1", b"-l", b"\xfe=\xfd", b"-w", b"/\xc3(", b"busybox", b"say", b"a\xf0\x9fb"]
    for program in ("caisson", "docker") if docker_is_28() else ("caisson",):
        with FakeEngine() as engine:
            env = {"PATH": os.environ["PATH"], "HOME": "/root", "DOCKER_HOST": engine.host, "DOCKER_CONFIG": str(place / "config")}
            subprocess.run([str(fx.BUILD / "caisson") if program == "caisson" else program, "create", *line], env=env, capture_output=True, stdin=subprocess.DEVNULL, check=True)
            body = engine.seen[0][3]
            assert {k: body[k] for k in ("Env", "Labels", "WorkingDir", "Cmd")} == {"Env": ["A=\ufffd1"], "Labels": {"\ufffd": "\ufffd"}, "WorkingDir": "/\ufffd(", "Cmd": ["say", "a\ufffd\ufffdb"]}


@pytest.mark.caisson
def test_what_docker_drops_is_said(place):
    out = observe(str(fx.BUILD / "caisson"), "--kernel-memory 5m", place)
    assert out[0] == 0 and "--kernel-memory is deprecated and has no effect" in out[2]


@pytest.mark.skipif("not os.environ.get('CAISSON_UPDATE_GOLDEN')")
@pytest.mark.timeout(300)
def test_update(place):
    words = Path(os.environ["CAISSON_UPDATE_GOLDEN"]).read_text(encoding="utf-8").splitlines()
    rows = [json.dumps([w, observe("docker", w, place)], sort_keys=True) for w in words if w]
    GOLDEN.write_text("[" + ",\n".join(rows) + "]\n", encoding="utf-8")
