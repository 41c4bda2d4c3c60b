# SPDX-License-Identifier: Apache-2.0
"""What is done of a start before its plan is there (compute/process/ahead.h) gives the same container as doing all of it at once."""
import os
import re
from pathlib import Path

import pytest

import rootfs
from box import Boxes
from caisson_fixture import cgroup_is_v2, processes, wait_for

pytestmark = [pytest.mark.caisson, pytest.mark.timeout(180)]
BEFORE = 1 if cgroup_is_v2() else 2       # what `started` says when all that can be done before was
HYBRID = os.path.exists("/sys/fs/cgroup/unified/cgroup.procs")

SELF = ("cat /proc/self/mountinfo; echo ==; stat -c '%n %A %u %g %t,%T' / /dev/* /dev/pts/* /dev/shm /sys /proc /sys/fs/cgroup/*; "
        "grep -E '^(Cap|Seccomp|NoNewPrivs|Sig[PBIC]|Groups|Uid|Gid|Umask)' /proc/self/status; ls /proc/self/fd; pwd; env; hostname; "
        "cat /proc/self/oom_score_adj /proc/self/cgroup; ulimit -a; for f in /proc/kcore /proc/keys /proc/timer_list; do head -c 1 $f | wc -c; done; "
        "touch /proc/sys/kernel/hostname /sys/x; echo x > /dev/null; ls /proc/acpi /sys/firmware; ls -a /..; ls -a / /proc/1/root/..; read x")


def idle_worker(eng):
    return [pid for pid, parent, cmd in processes() if parent == eng.proc.pid and "caisson-worker" in cmd and cmd.endswith("--wait")]


def is_ready(pid):
    """It has made its namespaces, which it holds by descriptors."""
    try:
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return False
    return any(link.startswith("mnt:") for link in links)


def ready(eng):
    """An idle worker that has prepared for the next start."""
    return wait_for(lambda: [pid for pid in idle_worker(eng) if is_ready(pid)], timeout=60, what="an idle worker that has prepared itself")[0]


def how(eng, box):
    text = (eng.exec / "systems" / box.id / "started").read_text()
    return int(re.search(r"^ahead=(\d)$", text, re.M)[1])


def start(eng, cmd="while true; do sleep 1000; done", **kw):
    return eng.boxes.create(cmd, **kw).start()


def before(eng, *args, **kw):
    """A start of which a part was done before. A machine that is too busy may have let that expire: then once more."""
    for _ in range(30):
        ready(eng)
        box = start(eng, *args, **kw)
        if how(eng, box) == BEFORE:
            return box
        box.rm()
    raise AssertionError("no start had a part of it done before")


def forget(eng):
    """No idle worker: the next start has to do everything itself."""
    for pid in wait_for(lambda: idle_worker(eng), timeout=60, what="an idle worker"):
        os.kill(pid, 9)
        wait_for(lambda p=pid: "(caisson-worker)" not in stat(p) or ") Z " in stat(p), timeout=60, what="the end of the idle worker")


def stat(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""


def warm(eng, **kw):
    """After this the next start of this kind finds a part done."""
    box = start(eng, **kw)
    box.rm()
    return ready(eng)


@pytest.fixture
def eng(engine, boxes):
    engine.boxes = boxes
    return engine


def same(text, ident):
    """Without what differs from start to start: the id, numbers of mounts and devices, order."""
    mounts, rest = text.replace(ident, "ID").replace(ident[:12], "ID").split("==\n")
    lines = []
    for line in mounts.splitlines():
        left, right = line.split(" - ", 1)
        lines.append((left.split()[3:6], right))
    return sorted(lines), rest


@pytest.mark.parametrize("kw", [{}, {"network": "host"},
                                pytest.param({"User": "1000:1000", "Host": {"Init": True, "ReadonlyRootfs": True}}, marks=pytest.mark.unsanitized),
                                pytest.param({"Host": {"Privileged": True}}, marks=pytest.mark.skipif(HYBRID, reason="who may make groups is cloned into that of v2: nothing is used that was done before")),
                                {"Host": {"Tmpfs": {"/run": "size=1m"}, "Binds": ["/usr/share:/usr/share:ro"], "ShmSize": 1 << 20}}],
                         ids=["plain", "host", "user", "privileged", "mounts"])
def test_same_container(eng, kw):
    def finish(box):
        with box.attach(stdout=0, stderr=0) as h:
            h.send(b"\n")
        box.wait()
        out, err = box.logs()
        box.rm()
        return *same(out, box.id), err
    forget(eng)
    box = start(eng, SELF, OpenStdin=True, **kw)
    assert how(eng, box) == 0
    mounts, rest, err = finish(box)
    mounts2, rest2, err2 = finish(before(eng, SELF, OpenStdin=True, **kw))
    assert mounts == mounts2
    if not kw.get("Host", {}).get("Privileged"):     # which sees the host's devices, and those come and go
        assert rest.splitlines() == rest2.splitlines()
    assert err == err2


@pytest.mark.parametrize("network", ["none", "bridge"])
def test_sys_shows_the_own_network(net_engine, net_boxes, network):
    """Whether it is made with the first process or joined with the plan."""
    net_engine.boxes = net_boxes
    warm(net_engine, network=network)
    box = before(net_engine, network=network)
    want = "lo\n" if network == "none" else "eth0\nlo\n"
    assert box.exec("ls /sys/class/net")[1] == want
    assert box.exec("grep -c : /proc/net/dev")[1] == f"{len(want.split())}\n"


def test_root_is_the_first_mount(eng):
    warm(eng)
    box = before(eng)
    assert box.exec("head -1 /proc/self/mountinfo")[1].split()[4] == "/"


def test_exec_and_terminal(eng):
    warm(eng)
    box = before(eng, "tty; ls -l /dev/console; sh", Tty=True, OpenStdin=True)
    box.wait_log("/dev/console")
    code, out, _ = box.exec("ls /; mount | grep -c 'on /proc type proc'; cat /etc/hosts")
    assert code == 0 and "\nproc\n" in out and "\n1\n" in out and "localhost" in out


@pytest.mark.parametrize("kw", [{"Host": {"PidMode": "host"}}, {"Host": {"IpcMode": "host"}}, {"Host": {"Binds": ["/usr/share:/dev/share"]}}],
                         ids=["pid", "ipc", "dev"])
def test_plans_that_do_everything_themselves(eng, kw):
    warm(eng)
    box = start(eng, **kw)
    assert how(eng, box) == 0
    assert box.exec("ls /dev/null")[0] == 0
    box.rm()
    before(eng)     # what was learnt is still there for the next


def test_plan_differs_from_the_last(eng):
    warm(eng)
    box = start(eng, Host={"ShmSize": 1 << 20})
    assert how(eng, box) == 0
    assert box.exec("df -k /dev/shm | tail -1")[1].split()[1] == "1024"
    box.rm()
    box = before(eng, Host={"ShmSize": 1 << 20})
    assert box.exec("df -k /dev/shm | tail -1")[1].split()[1] == "1024"


def test_start_time_is_its_own(eng):
    """The first process is not older than the request that started it."""
    warm(eng)
    ticks = os.sysconf("SC_CLK_TCK")
    began = int(float(Path("/proc/uptime").read_text().split()[0]) * ticks)
    box = before(eng)
    assert int(stat(box.pid).rsplit(")", 1)[1].split()[19]) >= began - 1


def test_worker_dies_before(eng):
    warm(eng)
    forget(eng)
    box = start(eng)
    assert how(eng, box) == 0 and box.exec("true")[0] == 0


def test_engine_dies(fresh):
    eng = fresh()
    eng.boxes = Boxes(eng)
    pid = warm(eng)
    eng.kill()
    wait_for(lambda: not stat(pid) or ") Z " in stat(pid), timeout=60, what="the end of the idle worker")
    eng.start()
    assert how(eng, start(eng)) == 0


def begin_in_vain(eng):
    """A start that fails before its plan is there. Returns the idle worker that has been told of it."""
    donor = start(eng)
    joined = eng.boxes.create("true", network="container:" + donor.id)
    donor.kill()
    donor.wait()
    pid = ready(eng)
    assert joined.post("start").status == 409
    return pid


def children(pid):
    return [child for child, parent, _ in processes() if parent == pid]


def test_begun_and_not_wanted(eng):
    """The process that was cloned for it goes after a moment, and the next start does without."""
    pid = begin_in_vain(eng)
    if BEFORE == 2:
        wait_for(lambda: not is_ready(pid) and not children(pid), timeout=60, what="the process goes")
    assert idle_worker(eng) == [pid]
    assert start(eng).exec("true")[0] == 0


def test_engine_dies_when_begun(fresh):
    eng = fresh()
    eng.boxes = Boxes(eng)
    warm(eng)
    pid = begin_in_vain(eng)
    family = [pid, *children(pid)]
    eng.kill()
    wait_for(lambda: not any(") Z " not in stat(p) and stat(p) for p in family), timeout=60, what="the end of the worker and its process")


@pytest.mark.parametrize("name", ["proc", "dev", "sys"])
def test_image_with_a_link(eng, name):
    """An image that makes one of the kernel's directories a link is refused, as ever."""
    eng.import_tar(rootfs.busybox(skip=(name,)).symlink(name, "/tmp").bytes(), "caisson-test/linked")
    warm(eng)
    box = eng.boxes.create("true", image="caisson-test/linked")
    answer = box.post("start")
    assert answer.status == 400 and f"mount target /{name} of the image is a symbolic link" in answer.message, answer
