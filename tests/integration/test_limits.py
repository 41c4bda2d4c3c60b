# SPDX-License-Identifier: Apache-2.0
"""Resource limits: what was asked for stands in the cgroup, and misbehaving containers hurt nobody."""
import os
import time
from pathlib import Path

import pytest

from box import IS_DOCKERD, Boxes, create
from caisson_fixture import Engine, cgroup_dir, cgroup_is_v2

V2 = cgroup_is_v2()


CASES = [
    # (HostConfig, controller, v1 file, v1 value, v2 file, v2 value)
    ({"Memory": 64 << 20}, "memory", "memory.limit_in_bytes", str(64 << 20), "memory.max", str(64 << 20)),
    ({"Memory": 64 << 20, "MemoryReservation": 32 << 20}, "memory", "memory.soft_limit_in_bytes", str(32 << 20), "memory.low", str(32 << 20)),
    ({"Memory": 64 << 20, "MemorySwap": 96 << 20}, "memory", "memory.memsw.limit_in_bytes", str(96 << 20), "memory.swap.max", str(32 << 20)),
    ({"Memory": 64 << 20, "OomKillDisable": True}, "memory", "memory.oom_control", "oom_kill_disable 1\n", None, None),
    ({"CpuShares": 512}, "cpu", "cpu.shares", "512", "cpu.weight", "20"),
    ({"CpuPeriod": 50000, "CpuQuota": 25000}, "cpu", "cpu.cfs_quota_us", "25000", "cpu.max", "25000 50000"),
    ({"CpuQuota": -5}, "cpu", "cpu.cfs_quota_us", "-1", "cpu.max", "max 100000"),
    ({"NanoCpus": 500000000}, "cpu", "cpu.cfs_quota_us", "50000", "cpu.max", "50000 100000"),
    ({"CpusetCpus": "0"}, "cpuset", "cpuset.cpus", "0", "cpuset.cpus", "0"),
    ({"CpusetMems": "0"}, "cpuset", "cpuset.mems", "0", "cpuset.mems", "0"),
    ({"BlkioWeight": 300}, "blkio", "blkio.bfq.weight", "300", None, None),
    ({"PidsLimit": 77}, "pids", "pids.max", "77", "pids.max", "77"),
    ({"Memory": 64 << 20, "MemorySwappiness": 0}, "memory", "memory.swappiness", "0", None, None),
]


@pytest.mark.parametrize("host,controller,v1,want1,v2,want2", CASES, ids=["+".join(c[0]) for c in CASES])
def test_in_the_cgroup(boxes, host, controller, v1, want1, v2, want2):
    name, want = (v2, want2) if V2 else (v1, want1)
    if name is None:
        pytest.skip("no such knob on cgroup v2")
    b = boxes.sleeper(Host=host)
    f = cgroup_dir(b.pid, controller) / name
    if not f.exists():
        assert b.warnings, "the kernel lacks the knob: a warning must say so"
        return
    got = f.read_text()
    assert got.startswith(want) if want.endswith("\n") else got.strip() == want


@pytest.mark.skipif(V2, reason="test_cgroup_v2.py has io.max")
@pytest.mark.parametrize("key,name", [("BlkioDeviceReadBps", "read_bps_device"), ("BlkioDeviceWriteBps", "write_bps_device"),
                                      ("BlkioDeviceReadIOps", "read_iops_device"), ("BlkioDeviceWriteIOps", "write_iops_device")])
def test_throttles_in_the_cgroup(boxes, key, name):
    device = next((p for p in Path("/dev").iterdir() if p.is_block_device() and (Path("/sys/block") / p.name).exists()), None)
    if not device:
        pytest.skip("no block device here")
    b = boxes.sleeper(Host={key: [{"Path": str(device), "Rate": 4096}]})
    number = device.stat().st_rdev
    assert (cgroup_dir(b.pid, "blkio") / ("blkio.throttle." + name)).read_text() == f"{os.major(number)}:{os.minor(number)} 4096\n"


@pytest.mark.caisson        # new in 1.55
@pytest.mark.skipif(V2, reason="test_cgroup_v2.py has io.max")
def test_throttles_change_while_it_runs(boxes):
    device = next((p for p in Path("/dev").iterdir() if p.is_block_device() and (Path("/sys/block") / p.name).exists()), None)
    if not device:
        pytest.skip("no block device here")
    number, limit = device.stat().st_rdev, lambda rate: [{"Path": str(device), "Rate": rate}]
    line = lambda rate: f"{os.major(number)}:{os.minor(number)} {rate}\n"
    b = boxes.sleeper(Host={"BlkioDeviceReadBps": limit(4096), "BlkioDeviceWriteIOps": limit(50)})
    knob = lambda name: (cgroup_dir(b.pid, "blkio") / ("blkio.throttle." + name)).read_text()
    a = b.post("update", body={"BlkioDeviceReadBps": limit(8192), "BlkioDeviceReadIOps": limit(70), "BlkioDeviceWriteIOps": None}, version="1.55")
    assert a.status == 200 and not a.json["Warnings"]
    assert (knob("read_bps_device"), knob("read_iops_device"), knob("write_iops_device")) == (line(8192), line(70), line(50))
    h = b.inspect()["HostConfig"]
    assert (h["BlkioDeviceReadBps"], h["BlkioDeviceReadIOps"], h["BlkioDeviceWriteIOps"]) == (limit(8192), limit(70), limit(50))
    assert b.post("update", body={"BlkioDeviceReadBps": []}).status == 200
    assert (knob("read_bps_device"), knob("read_iops_device"), b.inspect()["HostConfig"]["BlkioDeviceReadBps"]) == ("", line(70), [])
    a = b.post("update", body={"BlkioDeviceReadIOps": limit(90)}, version="1.54")
    assert a.json["Warnings"] == ["BlkioDeviceReadIOps cannot be updated. Discarded."] and knob("read_iops_device") == line(70)
    assert b.post("update", body={"BlkioDeviceReadIOps": [{"Path": "/dev/null", "Rate": 1}]}).status == 400
    b.post("restart", {"t": 0})
    assert (knob("read_bps_device"), knob("read_iops_device")) == ("", line(70))


def test_cgroup_is_below_the_parent(boxes, engine):
    b = boxes.sleeper()
    assert str(cgroup_dir(b.pid, "pids")).endswith(f"{engine.cgroup}/{b.id}")


def test_cgroup_parent(boxes, engine):
    b = boxes.sleeper(Host={"CgroupParent": engine.cgroup + "/own"})
    assert str(cgroup_dir(b.pid, "pids")).endswith(f"{engine.cgroup}/own/{b.id}")


def test_cgroup_is_gone_after_exit(boxes):
    b = boxes.sleeper()
    where = cgroup_dir(b.pid, "pids")
    b.kill()
    b.wait()
    end = time.monotonic() + 5
    while where.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not where.exists()


BAD = [
    ({"Memory": 1}, "Minimum memory limit allowed is 6MB"),
    ({"Memory": 64 << 20, "MemorySwap": 32 << 20}, "Minimum memoryswap limit should be larger than memory limit, see usage"),
    ({"MemorySwap": 64 << 20}, "You should always set the Memory limit when using Memoryswap limit, see usage"),
    ({"Memory": 64 << 20, "MemoryReservation": 128 << 20}, "Minimum memory limit can not be less than memory reservation limit, see usage"),
    ({"NanoCpus": 1000_000_000_000}, "Range of CPUs is from 0.01 to "),
    ({"NanoCpus": 10**9, "CpuQuota": 10000}, "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
    ({"CpuPeriod": 10}, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
    ({"CpuQuota": 10}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
    ({"CpusetCpus": "4000"}, "Requested CPUs are not available"),
    ({"CpusetCpus": "x"}, "Invalid value x for cpuset cpus"),
    ({"BlkioWeight": 5}, "Range of blkio weight is from 10 to 1000"),
    ({"OomScoreAdj": 2000}, "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
    ({"ShmSize": -1}, "SHM size can not be less than 0"),
    ({"MemorySwappiness": 200, "Memory": 64 << 20}, "valid memory swappiness range is 0-100"),
]


@pytest.mark.parametrize("host,message", BAD, ids=["+".join(b[0]) for b in BAD])
def test_bad_limits(engine, host, message):
    a = create(engine, "true", Host=host)
    if a.status == 201 and "BlkioWeight" in host:
        from box import Box
        Box(engine, a.json["Id"]).rm()
        assert a.json["Warnings"]
        return
    assert a.status == 400, a
    assert message.lower() in a.message.lower(), a.message


def test_oom_kill_is_reported(boxes, events):
    b = boxes.start(["sh", "-c", "tail /dev/zero"], Host={"Memory": 16 << 20, "MemorySwap": 16 << 20})
    assert b.wait() == 137
    if not IS_DOCKERD:
        assert b.state["OOMKilled"] is True
        events.until("oom", b.id)


def test_fork_bomb(boxes, http):
    b = boxes.start("bomb() { bomb | bomb & }; echo up; bomb; sleep 1000", Host={"PidsLimit": 30})
    b.wait_log("up")
    assert http.get("/_ping", timeout=10).status == 200
    assert boxes.run("echo neighbour").out == "neighbour\n"
    assert b.rm().status == 204


def test_log_flood(boxes, http):
    b = boxes.start("yes flood flood flood flood", Host={"LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}})
    b.wait_log("flood")
    before = time.monotonic()
    assert http.get("/containers/json").status == 200 and time.monotonic() - before < 5
    time.sleep(0.3)
    path = b.inspect()["LogPath"]
    assert sum(os.path.getsize(p) for p in (path, path + ".1") if os.path.exists(p)) < 4 << 20
    assert b.rm().status == 204


def test_zombies_left_behind(boxes):
    b = boxes.start("for i in 1 2 3 4 5 6 7 8 9; do (sleep 0 & exec true); done; echo up; exec sleep 1000")
    b.wait_log("up")
    assert b.post("stop", {"t": 0}).status == 204 and b.state["ExitCode"] == 137


def test_closes_its_stdio(boxes):
    b = boxes.start("echo before; exec <&- >&- 2>&-; while :; do sleep 0.05; done")
    b.wait_log("before")
    assert b.state["Running"] and b.exec("echo x")[1] == "x\n"


def test_children_outlive_pid_1(boxes):
    """The kernel kills what is left in the PID namespace; the exit code is pid 1's."""
    assert boxes.run("sleep 1000 & sleep 1000 & exit 3").code == 3


@pytest.mark.parametrize("limit", [0, -1])
def test_unlimited_pids_is_no_limit(boxes, limit):
    assert boxes.create("true", Host={"PidsLimit": limit}).inspect()["HostConfig"]["PidsLimit"] is None


@pytest.mark.caisson
def test_what_the_engine_may_not_give_is_told_at_creation(boxes, http):
    """An engine without CAP_SYS_RESOURCE: a warning in info and in the answer of create, and what is possible at the start."""
    import resource
    lacks = not int(next(l for l in open("/proc/self/status") if l.startswith("CapBnd")).split()[1], 16) >> 24 & 1
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    own = int(open("/proc/self/oom_score_adj").read())
    wanted = most + 1 if lacks else most
    b = boxes.create("ulimit -Hn; cat /proc/self/oom_score_adj", Host={"Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": wanted}], "OomScoreAdj": -1000})
    told = " ".join(b.warnings)
    b.start().wait()
    if lacks:
        assert any("CAP_SYS_RESOURCE" in w for w in http.get("/info").json["Warnings"])
        assert f"Ulimit nofile is limited to {most}." in told and f"it stays at {b.out.split()[1]}." in told, b.warnings
        assert b.out.split()[0] == str(most) and -1000 < int(b.out.split()[1]) <= own
    else:
        assert b.warnings == [] and b.out.split() == [str(most), "-1000"]
    assert boxes.create("true", Host={"Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 100}], "OomScoreAdj": 500}).warnings == []


@pytest.mark.caisson
def test_the_engines_own_oom_score_is_not_the_containers(boxes):
    """Also when the engine may not lower scores: its own was raised, so what it began with can be set again."""
    usual = boxes.run("cat /proc/self/oom_score_adj").out
    other = Engine(args=["--oom-score-adjust=500"])
    try:
        other.start().prepare()
        assert Path(f"/proc/{other.proc.pid}/oom_score_adj").read_text() == "500\n"
        theirs = Boxes(other)
        assert theirs.run("cat /proc/self/oom_score_adj").out == usual
        assert theirs.run("cat /proc/self/oom_score_adj", Host={"OomScoreAdj": 300}).out == "300\n"
        theirs.clean()
    finally:
        other.close()
