# SPDX-License-Identifier: Apache-2.0
"""run --use-api-socket: the engine's socket and the credentials for registries, in a container. Beside docker's where both do the same."""
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import uuid

import pytest

from fakeengine import ID, FakeEngine
from twins import CAISSON, Twins

pytestmark = pytest.mark.caisson
IMAGE = "caisson-test/rootfs"
CONFIG = {"auths": {"r.example": {"auth": "dTpw"}, "https://index.docker.io/v1/": {"auth": "YTpiOmM=", "identitytoken": "tok"}}}
HELPER = """#!/bin/sh
case $1 in
list) echo '{"s.example":"who"}' ;;
get) read server; echo "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"u-$server\\",\\"Secret\\":\\"s\\"}" ;;
esac
"""


def sent(fake):
    """The create request's part of it, and what was put into the container."""
    body = next(b for m, p, q, b in fake.seen if p == "/containers/create")
    mounts = [{k: v for k, v in m.items() if v} for m in body["HostConfig"].get("Mounts") or []]
    files = []
    for method, path, query, data in fake.seen:
        if method == "PUT":
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                files += [(path, sorted(query.split("&")), m.name.lstrip("/"), m.mode, m.uid, json.load(tar.extractfile(m))) for m in tar.getmembers()]
    return mounts, body.get("Env") or [], files


@pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")
@pytest.mark.parametrize("config, env", [({}, []), (CONFIG, []), (CONFIG, ["-e", "A=b"]), (CONFIG, ["-e", "DOCKER_CONFIG=/x"]), ({"credsStore": "test"}, []),
                                         ({"credHelpers": {"h.example": "test"}, **CONFIG}, [])])
def test_what_is_asked_for(tmp_path, config, env):
    t = Twins(tmp_path)
    t.write("config/config.json", json.dumps(config))
    t.write("bin/docker-credential-test", HELPER, 0o755)
    said = []
    for name in ("docker", "caisson"):
        with FakeEngine() as fake:
            status, out, err = t.one(name, "create", "--use-api-socket", "--mount", "type=tmpfs,dst=/t", *env, "busybox", DOCKER_HOST=fake.host, PATH=f"{tmp_path / name / 'bin'}:{os.environ['PATH']}")
            assert (status, out, err) == (0, ID + "\n", "")
            mounts, variables, files = sent(fake)
            assert mounts[1]["Source"] == fake.sock
            mounts[1]["Source"] = "the engine's"
            said.append((mounts, variables, files))
    assert said[1] == said[0]
    assert bool(said[0][2]) == (config != {} and "DOCKER_CONFIG=/x" not in env)


def test_a_container_speaks_to_its_engine(engine, tmp_path):
    """What is in the container's /var/run/docker.sock answers, and the file is there for root alone."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    name = "api-" + uuid.uuid4().hex[:8]
    run = [CAISSON, "--config", str(tmp_path), "-H", "unix://" + engine.sock, "run", "-d", "--network", "none", "--name", name, "--use-api-socket", IMAGE, "sleep", "1000"]
    subprocess.run(run, check=True, capture_output=True, env=engine.cli_env())
    try:
        inside = subprocess.run([CAISSON, "exec", name, "sh", "-c", "ls -l $DOCKER_CONFIG; cat $DOCKER_CONFIG/config.json"], capture_output=True, text=True, check=True, env=engine.cli_env()).stdout
        assert "-rw-------    1 root     root" in inside and json.loads(inside[inside.index("{"):]) == CONFIG
        pid = int(engine.cli("inspect", "-f", "{{.State.Pid}}", name).stdout)
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(f"/proc/{pid}/root/var/run/docker.sock")
            s.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            assert s.recv(64).startswith(b"HTTP/1.")
    finally:
        engine.cli("rm", "-f", name)


def test_credentials_that_cannot_be_had(tmp_path):
    """Before anything is made."""
    t = Twins(tmp_path)
    t.write("config/config.json", json.dumps({"credsStore": "nosuch"}))
    with FakeEngine() as fake:
        status, out, err = t.one("caisson", "run", "--use-api-socket", "busybox", DOCKER_HOST=fake.host)
        assert status == 127 and not out and "resolving credentials failed" in err and not fake.seen     # "executable file not found", as docker takes it
    if shutil.which("docker"):
        with FakeEngine() as fake:
            assert t.one("docker", "run", "--use-api-socket", "busybox", DOCKER_HOST=fake.host)[0] == 127
        for host in ("tcp://127.0.0.1:1", "ssh://far.example"):
            assert t.same("-H", host, "create", "--use-api-socket", "busybox")[0] == 1
