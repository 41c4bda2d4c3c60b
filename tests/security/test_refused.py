# SPDX-License-Identifier: Apache-2.0
"""What advisories are about and is not built: asking for it gets a refusal that says so. Nothing is accepted and left out."""
import json
import os
import stat
import subprocess

import pytest

import imagetar as it
from box import create
from caisson_fixture import BUILD
from test_load import A, load

pytestmark = pytest.mark.caisson


@pytest.mark.parametrize("method,path", [("POST", "/containers/{c}/checkpoints"), ("GET", "/containers/{c}/checkpoints"), ("DELETE", "/containers/{c}/checkpoints/x"),
                                         ("POST", "/containers/{c}/start?checkpoint=x"), ("POST", "/containers/{c}/start?checkpoint=x&checkpoint-dir=/tmp")])
def test_checkpoints(boxes, method, path):
    """CVE-2026-50195, CVE-2026-53489, CVE-2026-53492"""
    b = boxes.create("true")
    a = b.http.request(method, path.format(c=b.id), body={"CheckpointID": "x"} if method == "POST" and "start" not in path else None)
    assert a.status == 501 and "checkpoint" in a.message, a
    assert b.state["Status"] == "created"


@pytest.mark.parametrize("path", ["/build", "/build?remote=https%3A%2F%2Fexample.com%2Fx.git%23main%3A..%2F..", "/build?version=2", "/session", "/grpc", "/build/cancel?id=x"])
def test_builder(http, path):
    """All of the builder's rows: CVE-2024-23651, -23652, -23653, CVE-2024-1753, CVE-2024-24557, CVE-2026-33747, CVE-2026-33748 …"""
    a = http.post(path, body=b"", headers={"Content-Type": "application/x-tar"})
    assert a.status == 501 and "not available in this build" in a.message, a


@pytest.mark.parametrize("method,path", [("POST", "/plugins/pull?remote=x"), ("POST", "/plugins/create?name=x"), ("POST", "/plugins/x/enable"), ("POST", "/plugins/x/upgrade?remote=y"),
                                         ("GET", "/plugins/privileges?remote=x")])
def test_plugins(http, method, path):
    """CVE-2026-33997"""
    a = http.request(method, path, body=[] if method == "POST" else None)
    assert a.status == 501 and "plugin" in a.message, a


@pytest.mark.parametrize("key,value", [("authorization-plugins", ["x"]), ("userns-remap", "default"), ("selinux-enabled", True)])
def test_keys_of_the_daemon(tmp_path, key, value):
    """CVE-2024-41110, CVE-2026-34040: a daemon that should ask a plugin and cannot does not start. Nor one that should remap users, or label."""
    (tmp_path / "daemon.json").write_text(json.dumps({key: value}))
    r = subprocess.run([str(BUILD / "caissond"), "--validate", "--config-file", str(tmp_path / "daemon.json")], capture_output=True, text=True, check=False)
    assert r.returncode != 0 and key in r.stderr and "not available" in r.stderr, r


@pytest.mark.parametrize("host", [{"UsernsMode": "private"}, {"Isolation": "hyperv"}, {"Runtime": "krun"}, {"SecurityOpt": ["apparmor=x"]}])
def test_container_options(engine, host):
    """CVE-2023-25809 (rootless), CVE-2025-24965 (krun), CVE-2025-52881 (labels): refused, at the latest when it would start."""
    a = create(engine, "true", Host=host)
    assert a.status in (400, 404, 501) and a.message, a


def test_windows_images(engine):
    """CVE-2018-8115: layers of Windows are not unpacked."""
    conf = json.loads(it.config(A))
    conf.update(os="windows")
    conf["os.version"] = "10.0.20348.1"
    layout = it.Layout()
    error, lines = load(engine, layout.add(layout.image(A, conf=it.js(conf)), "t/windows:1").bytes())
    assert error and "windows" in error, lines
    assert engine.http.get("/images/t/windows:1/json").status == 404


def test_no_setuid_programs():
    """CVE-2018-6556, CVE-2022-47952, CVE-2026-39402: there is no helper that gives rights away."""
    programs = [p for p in BUILD.glob("caisson*") if p.is_file() and os.access(p, os.X_OK)]
    assert {"caisson", "caissond", "caisson-worker"} <= {p.name for p in programs}
    for p in programs:
        assert not p.stat().st_mode & (stat.S_ISUID | stat.S_ISGID) and "security.capability" not in os.listxattr(p), p
