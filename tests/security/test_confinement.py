# SPDX-License-Identifier: Apache-2.0
"""What a running container can reach: system calls, capabilities, devices, kernel files, the worker's own program."""
import json
import os
import re
import time

import pytest

import rootfs
from test_runtime import canary, image, try_start, worker_hashes  # noqa: F401  (fixtures)

pytestmark = pytest.mark.caisson


def health_output(box, timeout=10):
    end = time.monotonic() + timeout
    while not box.state["Health"]["Log"]:
        assert time.monotonic() < end
        time.sleep(0.05)
    return box.state["Health"]["Log"][0]["Output"]


@pytest.fixture
def probed(image, probe):  # noqa: F811
    return image(rootfs.busybox().file("probe", probe.read_bytes(), 0o755))


def status(text):
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_every_process_is_confined(boxes):
    """seccomp filter, no inheritable or ambient capabilities, the default 14 as bounding set: init, exec, user, health check, --init."""
    show = "grep -E '^(Cap|Seccomp:|NoNewPrivs|Groups)' /proc/self/status"
    up = boxes.sleeper(Host={"Init": True}, Healthcheck={"Test": ["CMD-SHELL", show], "Interval": 100_000_000})
    looks = {"exec": up.exec(show)[1], "user": up.exec(show, User="app")[1], "pid 1": up.exec("cat /proc/1/status")[1],
             "run": boxes.run(show).out, "health": health_output(up)}
    for who, text in looks.items():
        s = status(text)
        assert s["Seccomp"] == "2", who
        assert int(s["CapInh"], 16) == 0 and int(s["CapAmb"], 16) == 0, who
        assert int(s["CapBnd"], 16) == 0x00000000a80425fb & int(s["CapBnd"], 16), who
        assert int(s["CapEff"], 16) == (0 if who == "user" else int(s["CapBnd"], 16)), who
        assert int(s["CapPrm"], 16) == int(s["CapEff"], 16), who
    hard = boxes.sleeper(Host={"SecurityOpt": ["no-new-privileges"], "CapDrop": ["ALL"]})
    for text in (hard.exec(show)[1], boxes.run(show, Host={"SecurityOpt": ["no-new-privileges"], "CapDrop": ["ALL"]}).out):
        s = status(text)
        assert s["NoNewPrivs"] == "1" and int(s["CapBnd"], 16) == 0 and int(s["CapPrm"], 16) == 0


def test_privileged_exec_only_where_asked(boxes):
    up = boxes.sleeper()
    assert int(status(up.exec("cat /proc/self/status", Privileged=True)[1])["CapEff"], 16) > 0xa80425fb
    assert int(status(up.exec("cat /proc/self/status")[1])["CapEff"], 16) & ~0xa80425fb == 0


def test_blocked_system_calls(boxes, probed):
    assert boxes.run(["/probe", "blocked"], image=probed).out == ""
    assert boxes.run(["/probe", "blocked"], image=probed, User="app").out == ""
    assert boxes.run(["/probe", "vsock"], image=probed).out.strip() == "vsock EPERM"
    up = boxes.sleeper(image=probed)
    assert up.exec(["/probe", "blocked"])[1] == ""
    assert "mount" not in boxes.run(["/probe", "blocked"], image=probed, Host={"CapAdd": ["SYS_PTRACE"]}).out


def test_system_calls_newer_than_the_profile(boxes, probed):
    """They do not exist: who tries one falls back when he hears so, and only then. What the profile knows is refused."""
    assert boxes.run(["/probe", "newest"], image=probed).out.split() == ["500", "ENOSYS", "60000", "ENOSYS", "bpf", "EPERM", "mount", "EPERM"]
    assert boxes.sleeper(image=probed).exec(["/probe", "newest"])[1].split()[:2] == ["500", "ENOSYS"]
    kills = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["bpf"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]}
    out = boxes.run(["/probe", "newest"], image=probed, Host={"SecurityOpt": ["seccomp=" + json.dumps(kills)]}).out.split()
    assert out[:6] == ["500", "ENOSYS", "60000", "ENOSYS", "bpf", "EACCES"]
    b = boxes.run(["/probe", "newest32"], image=probed)
    if os.uname().machine == "x86_64" and b.code != 128 + 11:
        assert b.out.split() == ["500", "ENOSYS", "bpf", "EPERM"]


def test_cve_2019_5736_init_and_exec_children(boxes, probed):
    """The worker's program as pid 1 (--init) and as an exec that is being set up, also for a root that may ptrace."""
    before = worker_hashes()
    for caps in ([], ["SYS_PTRACE"]):
        up = boxes.sleeper(image=probed, Host={"Init": True, "CapAdd": caps})
        link = up.exec("readlink /proc/1/exe")[1]
        assert link == "" or "memfd:" in link, link
        assert up.exec(["/probe", "write", "/proc/1/exe"])[1].strip() in ("write EPERM", "write EACCES", "write ETXTBSY")
        up.exec("(while :; do for p in /proc/[0-9]*; do /probe write $p/exe; done; done) >/hits 2>/dev/null &")
        for _ in range(30):
            up.exec("true")
        assert "write ok" not in up.exec("grep -v '^write E' /hits | grep -v '^$' | head -3")[1]
        up.kill()
    assert worker_hashes() == before
    assert boxes.run("echo fine").out == "fine\n"


def test_cve_2019_5736_script_of_the_runtime(boxes, image):  # noqa: F811
    """An interpreter line that names the running program executes the worker inside: it must only complain and end."""
    tar = rootfs.busybox().file("evil", "#!/proc/self/exe -x\n", 0o755).symlink("selfexe", "/proc/self/exe")
    ref = image(tar)
    for cmd in (["/evil"], ["/selfexe"], ["/proc/self/exe"], ["/proc/self/exe", "caisson-init", "/bin/true"]):
        b = try_start(boxes, cmd, image=ref)
        if b:
            assert b.wait() != 0
            assert boxes.run("echo fine", image=ref).out == "fine\n"


def test_cve_2024_21626_descriptors_of_health_and_init(boxes, probed):
    up = boxes.sleeper(image=probed, Host={"Init": True}, Healthcheck={"Test": ["CMD", "/probe", "fds"], "Interval": 100_000_000})
    assert health_output(up).split() == ["0", "1", "2"]
    assert boxes.run(["/probe", "fds"], image=probed, Host={"Init": True}).out.split() == ["0", "1", "2"]
    assert set(up.exec("ls /proc/1/fd")[1].split()) <= {"0", "1", "2"}
    other = boxes.sleeper()
    assert boxes.run(["/probe", "fds"], image=probed, Host={"PidMode": "container:" + other.id, "NetworkMode": "container:" + other.id}).out.split() == ["0", "1", "2"]


@pytest.mark.timeout(120)
def test_cve_2024_21626_exec_workdir_3_to_64(boxes, image, canary):  # noqa: F811
    rel = "../" * 20 + str(canary.path).lstrip("/") + "/secret"
    tar = rootfs.busybox()
    for n in range(3, 16):
        tar.symlink(f"l{n}", f"/proc/self/fd/{n}").symlink(f"m{n}", f"/proc/1/fd/{n}")
    up = boxes.sleeper(image=image(tar))
    dirs = [f"/proc/self/fd/{n}" for n in range(3, 65)] + [f"/l{n}" for n in range(3, 16)] + [f"/m{n}" for n in range(3, 16)]
    dirs += ["/proc/self/cwd", "/proc/1/cwd", "/proc/1/root", "/proc/self/root/..", "/proc/self/fd/7/../../.."]
    for where in dirs:
        ident = up.exec_create(f"cat {rel}; pwd", WorkingDir=where)
        out = up.http.post(f"/exec/{ident}/start", body={}).body
        assert b"canary-secret" not in out and b"unreachable" not in out, (where, out)
        if where.startswith(("/proc/self/fd/", "/l", "/m")):
            assert b"chdir to cwd" in out and up.http.get(f"/exec/{ident}/json").json["ExitCode"] in (126, 127), (where, out)


# Kernel files ----------------------------------------------------------------------------------------------------------

MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
          "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap", "/proc/interrupts", "/proc/asound"]


def test_masked_paths(boxes, image):  # noqa: F811
    """CVE-2025-31133: also with an image whose /dev/null leads elsewhere, and the mask itself cannot be written."""
    script = "for p in " + " ".join(MASKED) + "; do if [ -d $p ]; then ls -A $p; touch $p/x 2>/dev/null && echo wrote $p; else head -c 10 $p 2>/dev/null; fi; done"
    for ref in (None, image(rootfs.busybox().symlink("dev/null", "/proc/sysrq-trigger")), image(rootfs.busybox().file("dev/null", "fake"))):
        b = boxes.run(script, **({"image": ref} if ref else {}))
        assert b.out == "", b.out


def test_read_only_kernel_files(boxes):
    targets = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/vm/panic_on_oom", "/proc/sysrq-trigger", "/proc/sys/fs/binfmt_misc/register",
               "/sys/kernel/uevent_helper", "/sys/power/state", "/proc/sys/kernel/modprobe", "/proc/bus/x", "/proc/irq/default_smp_affinity", "/sys/fs/cgroup/x",
               "/sys/kernel/mm/transparent_hugepage/enabled", "/proc/sys/net/ipv4/ip_forward"]
    b = boxes.run("for f in " + " ".join(targets) + "; do (echo 1 > $f) 2>/dev/null && echo written $f; done; "
                  "find /sys/fs/cgroup -name release_agent -o -name notify_on_release -o -name devices.allow | while read f; do (echo 1 > $f) 2>/dev/null && echo written $f; done; "
                  "mkdir /sys/fs/cgroup/new /sys/fs/cgroup/*/new 2>/dev/null && echo made; grep -E ' (/sys|/proc/sys|/sys/fs/cgroup) ' /proc/mounts | grep -v -E ' ro[, ]'")
    assert b.out == "", b.out


# Devices ---------------------------------------------------------------------------------------------------------------

def test_device_access(boxes):
    """mknod is allowed, opening is the devices cgroup's business: memory, disks, kernel log and consoles stay shut."""
    disk = os.stat("/dev").st_dev
    root = os.stat("/").st_dev
    closed = {"mem": "c 1 1", "kmsg": "c 1 11", "port": "c 1 4", "tty0": "c 4 0", "console": "c 5 1", "fuse": "c 10 229", "loop": "c 10 237", "sda": "b 8 0",
              "root": f"b {os.major(root)} {os.minor(root)}", "tmp": f"b {os.major(disk)} {os.minor(disk)}", "ram": "b 1 0"}
    script = "cd /tmp; " + "".join(f"mknod {n} {what}; (head -c 1 {n} >/dev/null) 2>/dev/null && echo open {n}; (: > {n}) 2>/dev/null && [ -b {n} -o -c {n} ] && echo written {n}; "
                                   for n, what in closed.items())
    script += "mknod null c 1 3 && echo x > null && mknod zero c 1 5 && head -c 3 zero | wc -c"
    up = boxes.sleeper()
    assert up.exec(script)[1] == "3\n"
    assert up.exec("ls /dev")[1].split() == ["core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"]


def test_ptrace_of_others_with_the_capability(boxes, probed):
    """SYS_PTRACE in a container reaches its own processes only: nothing of the host has a number there."""
    up = boxes.sleeper(image=probed, Host={"CapAdd": ["SYS_PTRACE"]})
    assert "caisson" not in up.exec("cat /proc/[0-9]*/comm; ls -l /proc/[0-9]*/exe")[1].replace("caisson-init", "")


# Users and groups ------------------------------------------------------------------------------------------------------

def test_cve_2022_36109_group_add(boxes, image):  # noqa: F811
    assert sorted(boxes.run("id -G", User="app", Host={"GroupAdd": ["team", "4242"]}).out.split()) == ["1000", "2000", "29", "4242", "44"]
    up = boxes.sleeper(Host={"GroupAdd": ["team"]})
    assert sorted(up.exec("id -G", User="app")[1].split()) == ["1000", "2000", "29", "44"]
    for bad in ("nosuch", "4294967296", "-1", "2147483648"):
        assert try_start(boxes, "id -G", Host={"GroupAdd": [bad]}) is None, bad
    # rows without a proper number must not become 0
    etc = rootfs.busybox(skip=("etc/group", "etc/passwd")).file("etc/group", "zero::x:app\nneg:x:-1:app\nbig:x:4294967296:app\nteam:x:2000:app\n")
    etc.file("etc/passwd", "app:x:1000:1000::/:/bin/sh\nnull:x:x:x::/:/bin/sh\nbig:x:4294967296:4294967296::/:/bin/sh\nneg:x:-1:-1::/:/bin/sh\n")
    ref = image(etc)
    assert sorted(boxes.run("id -G", User="app", image=ref).out.split()) == ["1000", "2000"]
    for user in ("null", "big", "neg", "app:zero", "app:big", "app:neg"):
        b = try_start(boxes, "echo $(id -u):$(id -g)", User=user, image=ref)
        assert b is None or (b.wait() == 0 and "0" not in b.out.strip().split(":")), user


@pytest.mark.parametrize("target", ["/proc/kmsg", "/proc/1/environ", "/proc/self/mem", "/dev/zero", "/dev/tty", "/proc", "../../../../etc/passwd", "/etc/group"])
def test_cve_2024_9676_passwd_is_a_link(boxes, image, target):  # noqa: F811
    tar = rootfs.busybox(skip=("etc/passwd",)).symlink("etc/passwd", target)
    began = time.monotonic()
    # not by id(1) or sh: those would read the endless file themselves
    b = try_start(boxes, ["cat", "/proc/self/status", "/proc/self/environ"], User="1000", image=image(tar))
    if b:
        b.wait()
        assert "Uid:\t1000\t1000\t1000\t1000\n" in b.out and ("HOME=/\0" in b.out or b.out.endswith("HOME=/")), b.out
    assert time.monotonic() - began < 10
    assert try_start(boxes, ["true"], User="nobody-at-all", image=image(rootfs.busybox(skip=("etc/passwd",)).symlink("etc/passwd", target))) is None


@pytest.mark.parametrize("user", ["1000:2147483648", "1000:-1", "-1:-1", ":", "::", "1000:1000:0", "app:", "0x3e8", "1e3", "１０００", "1000\t", "root\n", "\n", "00"])
def test_cve_2024_40635_more_users(boxes, user):
    exact = {"::": "0:0", ":": "0:0", "1000:1000:0": "1000:1000", "app:": "1000:1000", "00": "0:0"}
    b = try_start(boxes, "echo $(id -u):$(id -g)", User=user)
    if b:
        b.wait()
        assert b.out.strip() == exact.get(user), (user, b.out)
    else:
        assert user not in exact


# Out of reach ----------------------------------------------------------------------------------------------------------

def test_worker_socket_is_out_of_reach(boxes, engine):
    """Neither by name nor as an abstract socket, nor through the host's network."""
    b = boxes.run(f"ls -d {engine.exec} {engine.data} {engine.sock} 2>/dev/null; cat /proc/net/unix; find / -xdev -name worker.sock 2>/dev/null", network="host")
    assert "No such" not in b.out
    assert [l for l in b.out.splitlines() if re.search(r"@\S*(caisson|worker)", l)] == []
    assert not b.out.startswith("/")
    for where in (engine.data, engine.exec, engine.exec / "systems"):
        assert os.stat(where).st_mode & 0o007 == 0, where


def test_cve_2026_53488_control_labels_of_images(boxes, image):  # noqa: F811
    """A label that steers the engine counts only when the user sets it."""
    ref = image(rootfs.busybox(), "LABEL io.caisson.restart-unhealthy=true", "LABEL IO.caisson=x", "LABEL plain=1")
    box = boxes.create("true", image=ref)
    labels = box.inspect()["Config"]["Labels"]
    assert not [k for k in labels if k.startswith("io.caisson.")], labels
    assert labels["plain"] == "1"
    box = boxes.create("true", image=ref, Labels={"io.caisson.restart-unhealthy": "true"})
    assert box.inspect()["Config"]["Labels"]["io.caisson.restart-unhealthy"] == "true"


def test_cve_2020_14370_health_and_init_environment(boxes):
    up = boxes.sleeper(Env=["MINE=1"], Host={"Init": True}, Healthcheck={"Test": ["CMD-SHELL", "env"], "Interval": 100_000_000})
    for text in (health_output(up), up.exec("cat /proc/1/environ | tr '\\0' '\\n'")[1], up.exec("env")[1]):
        names = {line.split("=")[0] for line in text.splitlines()}
        assert names <= {"MINE", "PATH", "HOME", "HOSTNAME", "TERM", "PWD", "SHLVL", "OLDPWD", "_"}, names
