# SPDX-License-Identifier: Apache-2.0
"""Hosts with cgroup v1 beside v2: who gets a group in the hierarchies that limit nothing (name=systemd, unified)."""
from pathlib import Path

import pytest

from caisson_fixture import cgroup_is_v2, cgroup_roots, wait_for

pytestmark = [pytest.mark.caisson, pytest.mark.skipif(cgroup_is_v2(), reason="one hierarchy for everything")]
BARE = {"name=systemd": "systemd", "": "unified"}


def places(pid):
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return {names: path for _, names, path in (line.split(":", 2) for line in lines)}


def own_groups(ident):
    """By the name of the hierarchy's mount point; one may be mounted at several places."""
    return {Path(root).name: group for root in cgroup_roots() for group in Path(root).glob(f"*/{ident}")}


@pytest.mark.parametrize("host", [{"Privileged": True}, {"Binds": ["/sys/fs/cgroup:/sys/fs/cgroup"]}, {"CapAdd": ["SYS_ADMIN"], "CgroupnsMode": "private"},
                                  {"SecurityOpt": ["writable-cgroups=true"], "CgroupnsMode": "private"}], ids=["privileged", "bind", "sys-admin", "writable"])
def test_who_may_make_groups_has_a_place_in_every_hierarchy(boxes, host):
    """A systemd that finds itself in the root of one takes the host's init.scope and system.slice for its own."""
    b = boxes.sleeper(Host=host)
    where = places(b.pid)
    assert all(path.endswith("/" + b.id) for path in where.values()), where
    # as systemd does it: init goes into a group below; who comes later is in the container's part of the tree all the same
    for name, own in own_groups(b.id).items():
        if name in BARE.values():
            (own / "init.scope").mkdir()
            (own / "init.scope" / "cgroup.procs").write_text(str(b.pid))
    assert places(b.pid)[""].endswith(f"/{b.id}/init.scope")
    code, out = b.exec("cat /proc/self/cgroup")[:2]
    assert code == 0 and out, out
    b.kill()
    b.rm()
    wait_for(lambda: not own_groups(b.id), 30, "its groups to be gone")


def test_others_have_none_there(boxes):
    """Each costs a start a tenth of a millisecond, and v2's the process that is cloned ahead of it."""
    b = boxes.sleeper()
    where = places(b.pid)
    for names, path in where.items():
        of_systemd = names == "name=systemd" and Path("/run/systemd/system").exists()
        assert path.endswith("/" + b.id) is (of_systemd or names not in BARE), where


def test_writable_groups_are_all_in_sight(boxes):
    b = boxes.run("cd /sys/fs/cgroup; for h in systemd unified; do [ ! -d $h ] || mkdir $h/new && [ -d $h/new ] && rmdir $h/new && echo $h; done",
                  Host={"SecurityOpt": ["writable-cgroups=true"], "CgroupnsMode": "private"})
    there = {Path(root).name for root in cgroup_roots()}
    assert b.out.split() == [name for name in BARE.values() if name in there]
