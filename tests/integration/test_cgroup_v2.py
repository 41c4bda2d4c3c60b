# SPDX-License-Identifier: Apache-2.0
"""What is different on pure cgroup v2. Skipped elsewhere; `make check-v2` runs it in a virtual machine."""
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from caisson_fixture import Engine, cgroup_dir, cgroup_is_v2, wait_for

pytestmark = pytest.mark.skipif(not cgroup_is_v2(), reason="needs cgroup v2")
ROOT = Path("/sys/fs/cgroup")


def group(b):
    return cgroup_dir(b.pid, "")


def value(b, name):
    return (group(b) / name).read_text().strip()


def table(text):
    return dict(line.split() for line in text.splitlines())


@pytest.fixture
def disk(tmp_path):
    """major:minor and path of a loop device."""
    image = tmp_path / "image"
    with open(image, "wb") as f:
        f.truncate(8 << 20)
    made = subprocess.run(["losetup", "--show", "-f", str(image)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip("no loop devices")
    path = made.stdout.strip()
    number = os.stat(path).st_rdev
    yield f"{os.major(number)}:{os.minor(number)}", path
    subprocess.run(["losetup", "-d", path], check=False)


# what info and the container say --------------------------------------------------------------------------------------

def test_info(http):
    i = http.get("/info").json
    assert i["CgroupVersion"] == "2" and i["CgroupDriver"] == "cgroupfs"
    assert "name=cgroupns" in i["SecurityOptions"]
    for name in ("MemoryLimit", "SwapLimit", "CpuCfsPeriod", "CpuCfsQuota", "CPUShares", "CPUSet", "PidsLimit"):
        assert i[name] is True, name
    assert i["OomKillDisable"] is False
    assert not [w for w in i["Warnings"] or [] if "cgroup" in w or "support" in w], i["Warnings"]


def test_namespace_is_private_by_default(boxes):
    b = boxes.run("cat /proc/self/cgroup; cat /proc/1/cgroup")
    assert b.out == "0::/\n0::/\n"
    assert b.inspect()["HostConfig"]["CgroupnsMode"] == "private"


def test_privileged_is_private_too(boxes):
    assert boxes.run("cat /proc/self/cgroup", Host={"Privileged": True}).out == "0::/\n"


def test_own_group_is_mounted_read_only(boxes):
    b = boxes.run("grep ' /sys/fs/cgroup ' /proc/self/mountinfo; cat /sys/fs/cgroup/pids.max; cat /sys/fs/cgroup/cgroup.procs; "
                  "mkdir /sys/fs/cgroup/x 2>/dev/null || echo refused; (echo max > /sys/fs/cgroup/pids.max) 2>/dev/null || echo refused",
                  Host={"PidsLimit": 55})
    line, pids, first, *rest = b.out.splitlines()
    fields = line.split()
    assert fields[3] == "/" and fields[5].startswith("ro,") and "nosuid" in fields[5] and "nodev" in fields[5] and "noexec" in fields[5]
    assert " - cgroup2 " in line and (pids, first) == ("55", "1") and rest[-2:] == ["refused", "refused"]


def test_namespace_of_the_host(boxes):
    """As with Docker: the whole hierarchy is in sight, and /proc/self/cgroup is a path in it."""
    b = boxes.run("g=$(cut -d: -f3 /proc/self/cgroup); echo $g; cat /sys/fs/cgroup$g/pids.max; mkdir /sys/fs/cgroup/x 2>/dev/null && echo made",
                  Host={"CgroupnsMode": "host", "PidsLimit": 44})
    path, pids = b.out.splitlines()
    assert path.endswith("/" + b.id) and pids == "44", b.err


# limits ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("host,name,want", [
    ({"Memory": 64 << 20}, "memory.swap.max", str(64 << 20)),                              # as much again
    ({"Memory": 64 << 20, "MemorySwap": 64 << 20}, "memory.swap.max", "0"),
    ({"Memory": 64 << 20, "MemorySwap": 96 << 20}, "memory.swap.max", str(32 << 20)),
    ({"Memory": 64 << 20, "MemorySwap": -1}, "memory.swap.max", "max"),
    ({"CpuShares": 2}, "cpu.weight", "1"), ({"CpuShares": 1024}, "cpu.weight", "39"), ({"CpuShares": 262144}, "cpu.weight", "10000"),
    ({"CpuQuota": 20000}, "cpu.max", "20000 100000"), ({"CpuPeriod": 50000}, "cpu.max", "max 50000"),
    ({"CpusetMems": "0"}, "cpuset.mems", "0"), ({"PidsLimit": -1}, "pids.max", "max"), ({}, "pids.max", "max"), ({}, "cpu.max", "max 100000"),
])
def test_limit(boxes, host, name, want):
    assert value(boxes.sleeper(Host=host), name) == want


def test_io_limits(boxes, disk):
    number, path = disk
    b = boxes.sleeper(Host={"BlkioDeviceReadBps": [{"Path": path, "Rate": 1 << 20}], "BlkioDeviceWriteBps": [{"Path": path, "Rate": 2 << 20}],
                            "BlkioDeviceReadIOps": [{"Path": path, "Rate": 300}], "BlkioDeviceWriteIOps": [{"Path": path, "Rate": 400}]})
    assert value(b, "io.max") == f"{number} rbps={1 << 20} wbps={2 << 20} riops=300 wiops=400"


def test_io_limits_change_while_it_runs(boxes, disk):
    number, path = disk
    b = boxes.sleeper(Host={"BlkioDeviceReadBps": [{"Path": path, "Rate": 1 << 20}], "BlkioDeviceWriteIOps": [{"Path": path, "Rate": 400}]})
    assert b.post("update", body={"BlkioDeviceReadBps": [], "BlkioDeviceReadIOps": [{"Path": path, "Rate": 300}]}).status == 200
    assert value(b, "io.max") == f"{number} rbps=max wbps=max riops=300 wiops=400"


def test_io_weight(boxes):
    b = boxes.sleeper(Host={"BlkioWeight": 500})
    assert not b.warnings
    if (group(b) / "io.bfq.weight").exists():
        assert value(b, "io.bfq.weight") in ("500", "default 500")
    if (group(b) / "io.weight").exists():
        assert value(b, "io.weight") == "default 4950"


def test_memory_switches_of_v1_are_dropped_with_a_warning(boxes):
    b = boxes.create("true", Host={"Memory": 64 << 20, "MemorySwappiness": 10, "OomKillDisable": True})
    text = " ".join(b.warnings)
    assert "swappiness" in text and "OomKillDisable" in text
    assert b.start().wait() == 0


def test_update(boxes):
    b = boxes.sleeper(Host={"Memory": 64 << 20, "CpuPeriod": 50000, "CpuQuota": 25000})
    assert b.post("update", body={"CpuQuota": 40000}).status == 200
    assert value(b, "cpu.max") == "40000 50000"
    assert b.post("update", body={"MemorySwap": 256 << 20}).status == 200
    assert value(b, "memory.swap.max") == str(192 << 20)
    assert b.post("update", body={"Memory": 128 << 20}).status == 200
    assert (value(b, "memory.max"), value(b, "memory.swap.max")) == (str(128 << 20), str(128 << 20))
    assert b.post("update", body={"MemorySwap": -1, "CpuShares": 512, "CpusetCpus": "0", "PidsLimit": 21, "MemoryReservation": 32 << 20}).status == 200
    assert [value(b, n) for n in ("memory.swap.max", "cpu.weight", "cpuset.cpus", "pids.max", "memory.low")] == ["max", "20", "0", "21", str(32 << 20)]
    assert b.post("update", body={"PidsLimit": -1}).status == 200
    assert value(b, "pids.max") == "max"


def test_pids_limit_holds(boxes):
    b = boxes.run("for i in 1 2 3 4 5 6 7 8 9 10; do sleep 5 & done", Host={"PidsLimit": 5})
    assert "fork" in b.err


def test_cpu_is_throttled(boxes):
    b = boxes.start("while :; do :; done", Host={"CpuQuota": 5000, "CpuPeriod": 100000})
    wait_for(lambda: int(table(value(b, "cpu.stat"))["nr_throttled"]) > 2, 30, "throttling")
    t = b.http.get(b.url + "/stats", {"stream": 0, "one-shot": 1}).json["cpu_stats"]["throttling_data"]
    assert t["periods"] >= t["throttled_periods"] > 0 and t["throttled_time"] > 0


@pytest.mark.parametrize("victim", ["init", "child", "nested"])
def test_oom_kill(boxes, events, victim):
    eat = "tail /dev/zero"
    if victim == "child":
        eat = "(tail /dev/zero); exit 3"
    elif victim == "nested":        # counted in a group of the container's own
        eat = "mkdir /sys/fs/cgroup/in && echo $$ > /sys/fs/cgroup/in/cgroup.procs && (tail /dev/zero); exit 3"
    cmd = ["tail", "/dev/zero"] if victim == "init" else ["sh", "-c", eat]
    b = boxes.start(cmd, Host={"Memory": 16 << 20, "MemorySwap": 16 << 20, "Privileged": victim == "nested"})
    assert b.wait(timeout=60) == (137 if victim == "init" else 3)
    assert b.state["OOMKilled"] is True
    events.until("oom", b.id)


# devices: a BPF program -----------------------------------------------------------------------------------------------

def test_block_device_made_by_hand_is_refused(boxes, disk):
    major, minor = disk[0].split(":")
    script = f"mknod /d b {major} {minor} && head -c 4 /d | wc -c; (: > /d) 2>/dev/null && echo written"
    b = boxes.run(script)
    assert b.out == "0\n" and "not permitted" in b.err, (b.out, b.err)
    b = boxes.run(script, Host={"Privileged": True})
    assert b.out == "4\nwritten\n", (b.out, b.err)


@pytest.mark.parametrize("access,want", [("rwm", "4\nwritten\n"), ("r", "4\n"), ("rm", "4\n")])
def test_device_that_was_given(boxes, disk, access, want):
    host = {"Devices": [{"PathOnHost": disk[1], "PathInContainer": "/dev/disk", "CgroupPermissions": access}]}
    b = boxes.run("head -c 4 /dev/disk | wc -c; (: > /dev/disk) 2>/dev/null && echo written", Host=host)
    assert b.out == want, (b.out, b.err)
    if access == "rwm":             # execs are in the same group
        b = boxes.sleeper(Host=host)
        assert b.exec("head -c 4 /dev/disk | wc -c")[1] == "4\n"


def test_device_rule(boxes, disk):
    major = disk[0].split(":", maxsplit=1)[0]
    script = f"mknod /d b {disk[0].replace(':', ' ')} && head -c 4 /d | wc -c"
    assert boxes.run(script, Host={"DeviceCgroupRules": [f"b {major}:* rm"]}).out == "4\n"
    assert boxes.run(script, Host={"DeviceCgroupRules": [f"b {int(major) + 1}:* rm"]}).out == "0\n"


def test_privileged_group_below_keeps_the_rules_of_the_outer_one(boxes, disk):
    """A container that makes a group of its own does not leave its device rules."""
    b = boxes.run(f"mount -o remount,rw /sys/fs/cgroup && mkdir /sys/fs/cgroup/in && echo $$ > /sys/fs/cgroup/in/cgroup.procs && "
                  f"mknod /d b {disk[0].replace(':', ' ')} && head -c 4 /d | wc -c",
                  Host={"CapAdd": ["SYS_ADMIN"], "SecurityOpt": ["apparmor=unconfined", "seccomp=unconfined"]})
    assert "4" not in b.out.split(), (b.out, b.err)


# groups of the container's own ------------------------------------------------------------------------------------------

NEST = """cd /sys/fs/cgroup
mkdir init.scope work work/deep
echo 1 > init.scope/cgroup.procs
echo '+memory +pids +cpu' > cgroup.subtree_control || exit 9
(echo 0 > work/deep/cgroup.procs; exec sleep 1000) &
while ! grep -q . work/deep/cgroup.procs; do sleep 0.1; done
echo up
trap 'exit 0' TERM
sleep 1000 &
wait
"""


def test_nested_groups(boxes):
    """As systemd does in a container: init in a group below, controllers handed down. The kernel then refuses processes in the outer group."""
    b = boxes.start(NEST, Host={"Privileged": True, "Memory": 256 << 20})
    b.wait_log("up")
    outer = next(p for p in [group(b), *group(b).parents] if p.name == b.id)
    assert "memory" in (outer / "cgroup.subtree_control").read_text()
    assert (outer / "cgroup.procs").read_text() == ""
    code, out, err = b.exec("cat /proc/self/cgroup")
    assert (code, out) == (0, "0::/init.scope\n"), err
    top = b.http.get(b.url + "/top").json
    assert sum("sleep 1000" in p[-1] for p in top["Processes"]) >= 2
    s = b.http.get(b.url + "/stats", {"stream": 0, "one-shot": 1}).json
    assert s["pids_stats"]["current"] >= 3 and s["memory_stats"]["limit"] == 256 << 20
    assert b.post("pause").status == 204
    assert "frozen 1" in (outer / "work/deep/cgroup.events").read_text()
    assert b.post("unpause").status == 204
    assert b.exec("echo again")[1] == "again\n"
    assert b.rm().status == 204
    wait_for(lambda: not outer.exists(), 10, "the groups are gone")


def test_restart_with_nested_groups(boxes):
    b = boxes.start(NEST, Host={"Privileged": True})
    b.wait_log("up")
    assert b.post("restart", {"t": 0}).status == 204
    assert b.state["Running"] and b.exec("echo x")[1] == "x\n"


def test_everything_in_the_group_dies(boxes):
    """Without a PID namespace only cgroup.kill finds what init leaves behind."""
    b = boxes.start("(trap '' TERM HUP; exec sleep 4321) & (setsid sleep 4321 &) ; echo up; exit 0", Host={"PidMode": "host"})
    assert b.wait() == 0
    ours = [p for p in ROOT.rglob("cgroup.procs") if b.id in str(p)]
    assert not [p for p in ours if p.exists() and p.read_text()]


def test_forking_container_is_killed(boxes):
    b = boxes.start("while :; do (sleep 0.01 &); done", Host={"PidsLimit": 50})
    where = group(b)
    assert b.rm().status == 204
    wait_for(lambda: not where.exists(), 10, "the group is gone")


# freezer ----------------------------------------------------------------------------------------------------------------

def test_pause(boxes):
    b = boxes.sleeper()
    assert b.post("pause").status == 204
    assert value(b, "cgroup.freeze") == "1" and "frozen 1" in value(b, "cgroup.events")
    assert b.post("exec", body={"Cmd": ["true"]}).status == 409
    assert b.post("unpause").status == 204
    assert value(b, "cgroup.freeze") == "0" and b.exec("echo x")[1] == "x\n"


@pytest.mark.parametrize("how", ["rm", "kill", "stop"])
def test_end_of_a_paused_container(boxes, how):
    b = boxes.sleeper()
    where = group(b)
    assert b.post("pause").status == 204
    if how == "rm":
        assert b.rm().status == 204
    elif how == "kill":
        assert b.kill().status == 204 and b.wait() == 137
    else:
        assert b.post("stop", {"t": 1}).status == 204
    wait_for(lambda: not where.exists(), 10, "the group is gone")


# stats ------------------------------------------------------------------------------------------------------------------

def test_stats(boxes, disk):
    b = boxes.start("dd if=/dev/disk of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null || dd if=/dev/disk of=/dev/null bs=64k count=16; echo up; "
                    "exec sleep 1000", Host={"Memory": 64 << 20, "Devices": [{"PathOnHost": disk[1], "PathInContainer": "/dev/disk", "CgroupPermissions": "rwm"}]})
    b.wait_log("up")
    s = b.http.get(b.url + "/stats", {"stream": 0, "one-shot": 1}).json
    m = s["memory_stats"]
    assert m["limit"] == 64 << 20 and 0 < m["usage"] < 64 << 20
    assert "max_usage" not in m and "failcnt" not in m
    assert {"anon", "file", "inactive_file", "active_anon", "slab", "pgfault"} <= set(m["stats"]) and "total_inactive_file" not in m["stats"]
    cpu = s["cpu_stats"]
    assert cpu["cpu_usage"]["total_usage"] > 0 and "percpu_usage" not in cpu["cpu_usage"] and cpu["online_cpus"] == os.cpu_count()
    assert s["pids_stats"]["current"] == 1
    io = s["blkio_stats"]
    assert {(e["op"], f"{e['major']}:{e['minor']}") for e in io["io_service_bytes_recursive"]} >= {("read", disk[0]), ("write", disk[0])}
    assert sum(e["value"] for e in io["io_service_bytes_recursive"] if e["op"] == "read") >= 1 << 20
    assert io["io_time_recursive"] is None


def test_stats_of_an_unlimited_container(boxes, engine):
    b = boxes.sleeper()
    s = b.http.get(b.url + "/stats", {"stream": 0, "one-shot": 1}).json
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert s["memory_stats"]["limit"] == total
    line = engine.cli("stats", "--no-stream", "--format", "{{json .}}", b.id, check=True).stdout
    assert json.loads(line)["PIDs"] == str(s["pids_stats"]["current"])


# the engine goes away ---------------------------------------------------------------------------------------------------

def test_daemon_killed(fresh):
    from box import Boxes
    engine = fresh()
    b = Boxes(engine).sleeper(Host={"Memory": 64 << 20})
    c = Boxes(engine).start("sleep 1; exit 7")
    engine.kill()
    time.sleep(1.5)
    engine.start()
    assert b.state["Running"] and c.wait() == 7
    assert b.exec("cat /proc/self/cgroup")[1] == "0::/\n"
    assert b.http.get(b.url + "/stats", {"stream": 0, "one-shot": 1}).json["memory_stats"]["limit"] == 64 << 20
    assert b.post("pause").status == 204 and b.post("unpause").status == 204
    where = group(b)
    assert b.rm().status == 204
    wait_for(lambda: not where.exists(), 10, "the group is gone")


def test_controllers_are_handed_down(fresh):
    engine = fresh()
    from box import Boxes
    b = Boxes(engine).sleeper(Host={"PidsLimit": 5})
    parent = ROOT / engine.cgroup.lstrip("/")
    assert {"cpu", "memory", "pids", "io", "cpuset"} <= set((parent / "cgroup.subtree_control").read_text().split())
    assert value(b, "pids.max") == "5"


def test_engine_inside_a_container():
    """"/" is then an ordinary group that holds processes and cannot hand controllers down. Limits are dropped with a warning, the rest works."""
    from box import Boxes
    nest = ROOT / f"caisson-test-nest-{os.getpid()}"
    nest.mkdir()
    engine = Engine()
    inner = "umount /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec \"$@\""
    command = ["sh", "-c", f"echo $$ > {nest}/cgroup.procs; exec unshare -Cm sh -c '{inner}' sh \"$@\"", "sh", *engine._command()]
    engine._command = lambda: command
    try:
        engine.start().prepare()
        i = engine.http.get("/info").json
        assert i["MemoryLimit"] is False and any("cannot hand controllers down" in w for w in i["Warnings"])
        b = Boxes(engine).sleeper(Host={"Memory": 64 << 20, "PidsLimit": 5})
        assert len(b.warnings) == 2 and "memory limit" in b.warnings[0]
        assert b.exec("cat /proc/self/cgroup")[1] == "0::/\n"
        assert b.post("pause").status == 204 and b.post("unpause").status == 204
        assert b.http.get(b.url + "/stats", {"stream": 0, "one-shot": 1}).json["cpu_stats"]["cpu_usage"]["total_usage"] > 0
        assert len(b.http.get(b.url + "/top").json["Processes"]) >= 1
        assert b.rm().status == 204
    finally:
        engine.close()
        for group_dir in sorted([nest, *(p for p in nest.rglob("*") if p.is_dir())], reverse=True):
            wait_for(lambda g=group_dir: not g.exists() or _rmdir(g), 5, f"{group_dir} is empty")


def _rmdir(path):
    try:
        path.rmdir()
        return True
    except OSError:
        return False
