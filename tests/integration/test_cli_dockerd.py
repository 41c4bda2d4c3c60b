# SPDX-License-Identifier: Apache-2.0
"""The client at a real dockerd of another age (Debian's 20.10, API 1.41), where that is installed: as docker's own client is there."""
import shutil

import pytest

import caisson_fixture as fx
from twins import Twins

pytestmark = [pytest.mark.caisson, pytest.mark.skipif(not shutil.which("docker") or not shutil.which("dockerd"), reason="no dockerd")]


@pytest.fixture(scope="module")
def dockerd():
    e = fx.Engine(kind="dockerd")
    try:
        e.start(timeout=60).prepare()
        yield e
    finally:
        e.close()


@pytest.fixture
def twins(dockerd, tmp_path):
    return Twins(tmp_path, DOCKER_HOST="unix://" + dockerd.sock)


@pytest.mark.parametrize("args", [
    ["version", "-f", "{{.Server.Version}} {{.Server.APIVersion}} {{.Client.APIVersion}}"], ["run", "--rm", "--network", "none", fx.ROOTFS, "sh", "-c", "echo hi; echo e >&2; exit 3"],
    ["images", "--digests", "--format", "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.Size}}", fx.ROOTFS], ["ps", "-a"], ["volume", "ls"], ["network", "ls"], ["system", "df"], ["info", "-f", "{{.ServerVersion}} {{.Swarm.LocalNodeState}}"], ["inspect", "nosuch"],
    ["rm", "nosuch"], ["run", "--annotation", "a=b", fx.ROOTFS], ["volume", "prune", "-af"], ["save", "--platform", "linux/amd64", fx.ROOTFS], ["run", "--rm", "nosuch:never", "x"]],
    ids=lambda a: a[0])
def test_as_docker(twins, args):
    if args[-2:] == ["nosuch:never", "x"]:
        args = [*args[:2], "--pull", "never", *args[2:]]
    twins.same(*args)


def test_streams(twins):
    data = "0123456789abcdef" * 20000
    assert twins.same("run", "--rm", "-i", "--network", "none", fx.ROOTFS, "cat", stdin=data)[1] == data
    for name in ("docker", "caisson"):
        assert twins.one(name, "save", "-o", "s.tar", fx.ROOTFS)[0] == 0
    assert twins.same("load", "-i", "s.tar")[1] == "Loaded image: docker-test/rootfs:latest\n"


def test_a_networks_name_is_taken_once(twins):
    """Engines before 1.44 make a second network of a name unless they are told to look first."""
    try:
        assert twins.one("docker", "network", "create", "--config-only", "once")[0] == 0      # makes no link
        assert twins.same("network", "create", "--config-only", "once")[::2] == (1, "Error response from daemon: network with name once already exists\n")
    finally:
        twins.one("docker", "network", "rm", "once")


def test_version_says_so(twins):
    out = twins.one("caisson", "version")[1]
    assert "API version:       1.41 (downgraded from 1." in out and "  API version:      1.41 (minimum version 1.12)\n" in out


def test_compute_is_ours_only(twins):
    status, _, err = twins.one("caisson", "compute", "ls")
    assert status == 1 and "no compute service" in err
