# SPDX-License-Identifier: Apache-2.0
"""Escapes at set-up time: one test per advisory that touches what is built, named after it."""
import hashlib
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

import rootfs
from box import IS_DOCKERD, Box, create
from caisson_fixture import BUILD
from together import together

PATHENV = "ENV PATH=/bin"


class Canary:
    """A host directory that nobody may touch, read or mount over."""

    def __init__(self, path):
        self.path = path
        path.mkdir()
        (path / "secret").write_text("canary-secret\n")
        (path / "sub").mkdir()
        self.before = self.look()

    def look(self):
        found = {}
        for where, dirs, files in os.walk(self.path):
            for n in dirs + files:
                p = Path(where, n)
                st = p.lstat()
                found[str(p)] = (st.st_mode, st.st_uid, st.st_gid, st.st_size, st.st_mtime_ns)
        st = self.path.stat()
        found["."] = (st.st_mode, st.st_uid, st.st_gid)
        return found

    def check(self):
        assert self.look() == self.before, "the canary was touched"
        assert str(self.path) not in Path("/proc/self/mountinfo").read_text(), "something is mounted over the canary"


@pytest.fixture
def canary(tmp_path):
    c = Canary(tmp_path / "canary")
    yield c
    c.check()


@pytest.fixture
def image(engine):
    made = []

    def make(tar, *changes):
        name = f"t-security-{os.getpid()}-{len(made)}-{time.monotonic_ns()}"
        engine.import_tar(tar.bytes(), name, "latest", [PATHENV, *changes])
        made.append(name)
        return name
    yield make
    for name in made:
        engine.http.delete(f"/images/{name}", {"force": 1}, rec=False)


def try_start(boxes, cmd, **kw):
    """Start it or be refused; both are fine, a hang or an escape is not. Returns the box, or None when refused."""
    a = create(boxes.engine, cmd, **kw)
    if a.status != 201:
        assert a.status in (400, 404, 500), a
        return None
    b = Box(boxes.engine, a.json["Id"], bool(kw.get("Tty")))
    boxes.made.append(b)
    a = b.post("start")
    if a.status != 204:
        assert a.status in (400, 500) and a.message, a
        assert b.state["Pid"] == 0
        return None
    return b


def worker_hashes():
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (BUILD / "caisson-worker", BUILD / "caissond") if p.exists()}


def test_cve_2019_5736(boxes, image):
    """An entrypoint that is the runtime itself, and execs of it."""
    before = worker_hashes()
    tar = rootfs.busybox().file("evil", "#!/proc/self/exe\n", 0o755)
    ref = image(tar)
    b = try_start(boxes, ["/evil"], image=ref)
    if b:
        b.wait()
    b = boxes.sleeper(image=ref)
    for _ in range(5):
        ident = b.exec_create(["/evil"])
        b.http.post(f"/exec/{ident}/start", body={"Detach": False}, timeout=10)
    b.exec("for p in /proc/[0-9]*; do (echo x >> $p/exe) 2>/dev/null; done")
    assert worker_hashes() == before


def test_cve_2019_16884_volume_over_proc(boxes, tmp_path):
    for target in ("/proc", "/proc/self/attr", "/proc/sys"):
        b = try_start(boxes, "true", Host={"Binds": [f"{tmp_path}:{target}"]})
        assert b is None or (target != "/proc/self/attr" and IS_DOCKERD), f"a mount over {target} was accepted"


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_cve_2023_27561_mount_target_is_a_symlink(boxes, image, canary, name):
    """CVE-2019-18837, CVE-2023-27561, CVE-2023-28642, CVE-2026-41579, CVE-2026-47766"""
    ref = image(rootfs.busybox(skip=(name,)).symlink(name, str(canary.path)))
    b = try_start(boxes, "cat /proc/kcore | wc -c; cat /proc/self/mountinfo", image=ref)
    assert b is None or IS_DOCKERD, "a link was followed"
    if b:
        b.wait()
        assert b.out.startswith("0\n"), "/proc/kcore is readable"


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_cve_2023_27561_relative_symlink(boxes, image, name):
    tar = rootfs.busybox(skip=(name,)).dir("x").symlink(name, "x")
    b = try_start(boxes, "test -w /proc/sysrq-trigger && echo x > /proc/sysrq-trigger && echo open; cat /proc/kcore | wc -c", image=image(tar))
    assert b is None or IS_DOCKERD, "a link was followed"
    if b:
        b.wait()
        assert "open" not in b.out


@pytest.mark.timeout(120)
def test_cve_2021_30465_symlink_swap(boxes, canary):
    """CVE-2021-30465, CVE-2024-45310: a mount target is swapped for a link while the other container starts."""
    vol = canary.path.parent / "vol"
    (vol / "d").mkdir(parents=True)
    swapper = boxes.start(f"ln -s {canary.path} /v/l; while :; do mv /v/d /v/t; mv /v/l /v/d; mv /v/d /v/l; mv /v/t /v/d; done",
                          Host={"Binds": [f"{vol}:/v"]})
    for n in range(40):
        try_start(boxes, "true", Host={"Binds": [f"{vol}:/v"], "Tmpfs": {f"/v/d/new{n % 3}": ""}})
        canary.check()
    swapper.kill()


@pytest.mark.timeout(120)
def test_cve_2024_21626_workdir_of_a_descriptor(boxes, canary):
    rel = "../" * 20 + str(canary.path).lstrip("/") + "/secret"
    for n in range(3, 65):
        b = try_start(boxes, f"cat {rel}; cat /proc/self/cwd/{rel}", WorkingDir=f"/proc/self/fd/{n}")
        assert b is None or IS_DOCKERD, f"descriptor {n} is a working directory"
        if b:
            b.wait()
            assert "canary-secret" not in b.out, f"descriptor {n} leads out"
    up = boxes.sleeper()
    for n in range(3, 20):
        ident = up.exec_create(f"cat {rel}", WorkingDir=f"/proc/self/fd/{n}")
        assert b"canary-secret" not in up.http.post(f"/exec/{ident}/start", body={}).body


def test_cve_2024_21626_open_descriptors(boxes, image, probe):
    ref = image(rootfs.busybox().file("probe", probe.read_bytes(), 0o755))
    assert boxes.run(["/probe", "fds"], image=ref).out.split() == ["0", "1", "2"]
    up = boxes.sleeper(image=ref)
    assert up.exec(["/probe", "fds"])[1].split() == ["0", "1", "2"]
    assert boxes.run(["/probe", "fds"], image=ref, Tty=True).out.split() == ["0", "1", "2"]


def test_cve_2025_31133_dev_null_is_a_symlink(boxes, image):
    tar = rootfs.busybox().symlink("dev/null", "/proc/sysrq-trigger")
    b = try_start(boxes, "cat /proc/timer_list | wc -c; cat /proc/keys | wc -c; readlink /dev/null; stat -c %t:%T /dev/null /proc/timer_list; "
                  "(echo 0 > /proc/sysrq-trigger) 2>/dev/null && echo written", image=image(tar))
    if b:
        b.wait()
        assert b.out == "0\n0\n1:3\n1:3\n", b.out


def test_cve_2025_52565_dev_console(boxes, image, canary):
    tar = rootfs.busybox().symlink("dev/console", str(canary.path / "secret")).symlink("dev/pts", str(canary.path)).symlink("dev/ptmx", "/etc/passwd")
    b = try_start(boxes, "tty; echo x > /dev/console; stat -c %F /dev/console", image=image(tar), Tty=True)
    if b:
        b.wait()
        assert "character special file" in b.out


@pytest.mark.parametrize("user", ["1000", "1000:", ":5", "+1", "01000", "4294967296", "1000:4294967296", "-1", "2147483648", "0x10", " 1000", "1000 "])
def test_cve_2026_30892_user_syntax(boxes, user):
    """CVE-2026-30892, CVE-2024-40635, CVE-2026-46680: the exact user, or an error; never another one."""
    exact = {"1000": "1000:1000", "1000:": "1000:1000", ":5": "0:5", "01000": "1000:1000", "+1": "1:1"}
    b = try_start(boxes, "echo $(id -u):$(id -g)", User=user)
    if b:
        b.wait()
        assert b.out.strip() == exact.get(user), (user, b.out)
    up = boxes.sleeper()
    ident = up.exec_create("echo $(id -u):$(id -g)", User=user)
    a = up.http.post(f"/exec/{ident}/start", body={})
    from unixhttp import demux
    out = demux(a.body)[0].decode().strip() if a.status == 200 and a.body.startswith(b"\x01") else ""
    if user in exact:
        assert out == exact[user], (user, a)
    else:
        assert not re.search(r"\d+:\d+$", out) and up.http.get(f"/exec/{ident}/json").json["ExitCode"] != 0, (user, a)     # dockerd tells errors on this stream


def test_cve_2022_29162_inheritable_capabilities(boxes):
    """CVE-2022-27650, CVE-2022-24769, CVE-2022-29162: CapInh is 0 in run, exec and health check."""
    b = boxes.sleeper(Host={"CapAdd": ["NET_ADMIN"]}, Healthcheck={"Test": ["CMD-SHELL", "grep CapInh /proc/self/status"], "Interval": 100_000_000})
    want = "CapInh:\t0000000000000000\n"
    assert b.exec("grep CapInh /proc/self/status")[1] == want
    assert b.exec("grep CapInh /proc/self/status", User="app")[1] == want
    assert b.exec("grep CapInh /proc/1/status")[1] == want
    end = time.monotonic() + 10
    while not b.state["Health"]["Log"]:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert b.state["Health"]["Log"][0]["Output"] == want


@pytest.mark.parametrize("what", [{"WorkingDir": "/" + "a" * 70000}, {"Host": {"Binds": ["/tmp:/" + "b/" * 40000]}}, {"Hostname": "h" * 70000},
                                  {"Host": {"Sysctls": {"net.ipv4." + "x" * 70000: "1"}}}, {"User": "u" * 70000}])
def test_cve_2021_43784_oversized(boxes, http, what):
    assert try_start(boxes, "true", **what) is None
    assert http.get("/_ping").status == 200


def test_cve_2021_43784_large_but_fine(boxes, tmp_path):
    """More than 64 KiB of environment and of paths of mounts, in what goes from the engine to the worker and on to the child."""
    assert int(boxes.run("env | wc -c", Env=[f"V{n}=" + "x" * 1000 for n in range(100)]).out) > 100000
    deep = "/".join(["d" * 200] * 9)
    b = boxes.run("for d in /m*; do find $d -name file | wc -l; done; grep -c ' /m' /proc/self/mounts", Host={"Binds": [f"{tmp_path}:/m{n}/{deep}/file" for n in range(40)]})
    assert b.out.split() == ["1"] * 40 + ["40"]


def test_cve_2022_36109_groups(boxes):
    """CVE-2022-36109, CVE-2023-25173: the image's groups for a name; nothing extra for numbers with a group."""
    assert sorted(boxes.run("id -G", User="app").out.split()) == ["1000", "29", "44"]
    assert boxes.run("id -G", User="app:team").out.split()[0] == "2000"
    assert boxes.run("id -G", User="4242:4343").out.split() == ["4343"]
    assert "0" not in boxes.run("id -G", User="second").out.split()
    # what the kernel knows, and not what id(1) makes of it: who could shed the primary group would get around rights that are denied to it
    for user, groups in (("app", {"1000", "29", "44"}), ("app:team", {"2000"}), ("4242:4343", {"4343"}), ("root", {"0"})):
        for text in (boxes.run("cat /proc/self/status", User=user).out, boxes.sleeper().exec("cat /proc/self/status", User=user)[1]):
            assert set(re.search("^Groups:(.*)$", text, re.M)[1].split()) == groups or IS_DOCKERD, (user, text)


def test_cve_2024_9676_huge_group_file(boxes):
    up = boxes.sleeper()
    up.exec("truncate -s 4G /etc/group; truncate -s 4G /etc/passwd")
    ident = up.exec_create("true", User="app")
    a = up.http.post(f"/exec/{ident}/start", body={})
    assert IS_DOCKERD or b"/etc/passwd" in a.body and up.http.get(f"/exec/{ident}/json").json["ExitCode"] == 126, a     # told on the stream, as dockerd does


@pytest.mark.caisson
@pytest.mark.parametrize("name", ["passwd", "group"])
def test_cve_2024_9676_huge_file_at_the_start(boxes, tmp_path, name):
    """CVE-2024-40635: a gigabyte is not read, not even by a worker whose memory nobody limits."""
    (tmp_path / "big").touch()
    os.truncate(tmp_path / "big", 1 << 30)
    a = create(boxes.engine, "true", User="app:team", Host={"Binds": [f"{tmp_path}/big:/etc/{name}"]})
    b = Box(boxes.engine, a.json["Id"])
    boxes.made.append(b)
    a = b.post("start")
    assert a.status in (400, 500) and f"/etc/{name}" in a.message, a


@pytest.mark.skipif(IS_DOCKERD, reason="20.10 hangs for ever")
def test_cve_2024_9676_fifo_as_passwd(boxes, http, tmp_path):
    up = boxes.sleeper()
    up.exec("rm /etc/passwd /etc/group; mkfifo /etc/passwd /etc/group")
    ident = up.exec_create("true", User="app")
    a = up.http.post(f"/exec/{ident}/start", body={})
    assert b"unable to find user app" in a.body, a
    assert http.get("/_ping").status == 200 and up.rm().status == 204
    os.mkfifo(tmp_path / "fifo")
    binds = {"Binds": [f"{tmp_path}/fifo:/etc/passwd", f"{tmp_path}/fifo:/etc/group"]}
    assert try_start(boxes, "true", User="app", Host=binds) is None
    assert boxes.run(["cat", "/proc/self/status"], User="1000:5", Host=binds).out.count("\t1000\t1000\t1000\t1000\n") == 1


@pytest.mark.caisson
def test_cve_2026_31431_af_alg(boxes, image, probe):
    ref = image(rootfs.busybox().file("probe", probe.read_bytes(), 0o755))
    assert boxes.run(["/probe", "afalg"], image=ref).out.strip() == "afalg EPERM"      # by the filter: a kernel without it would say EAFNOSUPPORT
    assert boxes.sleeper(image=ref).exec(["/probe", "afalg"])[1].strip() == "afalg EPERM"
    assert boxes.run(["/probe", "keyctl"], image=ref).out.strip() in ("keyctl EPERM", "keyctl ENOSYS")
    assert boxes.run(["/probe", "handle"], image=ref).out.strip() == "handle EPERM"


@pytest.mark.caisson
def test_ghsa_jq35_85cj_fj4p_side_channels(boxes):
    """GHSA-jq35-85cj-fj4p, GHSA-6fw5-f8r9-fgfm. Not every machine has them: what is masked where they are is told by the container's own list."""
    b = boxes.run("ls -A /sys/devices/virtual/powercap 2>/dev/null | wc -l; cat /proc/interrupts | wc -c; "
                  "cat /sys/devices/system/cpu/cpu*/thermal_throttle/* 2>/dev/null | wc -c; ls -A /sys/kernel/mm | wc -l")
    there = os.listdir("/sys/kernel/mm")
    assert b.out.split() == ["0", "0", "0", str(len(there))]
    masked = b.inspect()["HostConfig"]["MaskedPaths"]
    throttles = [str(p) for p in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle")]
    assert {"/sys/devices/virtual/powercap", "/proc/interrupts", "/sys/firmware", *throttles} <= set(masked), masked
    # a directory of sysfs that every machine has, in the place of those
    b = boxes.run("ls -A /sys/kernel/mm | wc -l; cat /proc/interrupts | wc -c; touch /sys/kernel/mm/x 2>/dev/null && echo wrote", Host={"MaskedPaths": [*masked, "/sys/kernel/mm"]})
    assert there and b.out.split() == ["0", "0"]


@pytest.mark.caisson
def test_ptrace_from_container_to_worker(boxes, image, probe):
    ref = image(rootfs.busybox().file("probe", probe.read_bytes(), 0o755))
    b = boxes.sleeper(image=ref, Host={"PidMode": "host"})
    worker = Path(f"/proc/{b.pid}/stat").read_text().rsplit(")", 1)[1].split()[1]
    assert b.exec(["/probe", "ptrace", worker])[1].strip() in ("ptrace EPERM", "ptrace ESRCH")
    assert b.exec(f"readlink /proc/{worker}/exe; readlink /proc/{worker}/fd/*; cat /proc/{worker}/mem /proc/{worker}/environ | head -c 1")[1] == ""


@pytest.mark.caisson
def test_worker_is_out_of_sight(boxes):
    b = boxes.sleeper()
    assert "caisson" not in b.exec("cat /proc/[0-9]*/comm")[1]


# What the engine writes into images and volumes -------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["hosts", "resolv.conf", "hostname", "mtab"])
def test_symlink_in_etc_of_the_image(boxes, image, canary, name):
    ref = image(rootfs.busybox().symlink("etc/" + name, str(canary.path / "secret")))
    b = try_start(boxes, f"echo x >> /etc/{name}; cat /etc/hosts", image=ref, network="none", Hostname="h")
    if b:
        b.wait()
        assert "canary-secret" not in b.out


def test_etc_of_the_image_is_a_symlink(boxes, image, canary):
    ref = image(rootfs.busybox(skip=("etc", "etc/passwd", "etc/group")).symlink("etc", str(canary.path)))
    b = try_start(boxes, "echo x > /etc/hosts", image=ref)
    if b:
        b.wait()


def test_symlinked_bind_target(boxes, image, canary, tmp_path):
    src = tmp_path / "src"
    src.mkdir()
    ref = image(rootfs.busybox().symlink("link", str(canary.path)))
    b = try_start(boxes, "touch /link/x/made", image=ref, Host={"Binds": [f"{src}:/link/x"]})
    if b:
        b.wait()


def test_cve_2022_23648_volume_through_symlink(boxes, image, canary):
    ref = image(rootfs.busybox().symlink("x", str(canary.path)), "VOLUME /x")
    b = try_start(boxes, "ls -R /x; cat /x/secret", image=ref)
    if b:
        b.wait()
        assert "canary-secret" not in b.out and "secret\n" not in b.out
    ref = image(rootfs.busybox().symlink("y", "../../../../../.." + str(canary.path)), "VOLUME /y")
    b = try_start(boxes, "cat /y/secret", image=ref)
    if b:
        b.wait()
        assert "canary-secret" not in b.out


def test_cve_2020_1726_copy_up_only_into_empty(boxes):
    b = boxes.create("echo mine > /etc/passwd; cat /etc/passwd", Volumes={"/etc": {}})
    b.start().wait()
    b.start().wait()
    assert b.out.splitlines()[-1] == "mine"


def test_cve_2026_55686_workdir_through_symlink(boxes, image, canary):
    ref = image(rootfs.busybox().symlink("link", str(canary.path)))
    b = try_start(boxes, "pwd", image=ref, WorkingDir="/link/new/dir")
    if b:
        b.wait()
    ref = image(rootfs.busybox().symlink("up", "../../../../../../.." + str(canary.path)))
    b = try_start(boxes, "pwd", image=ref, WorkingDir="/up/new", User="app")
    if b:
        b.wait()


def test_cve_2022_1227_top_runs_nothing_of_the_image(boxes, image):
    tar = rootfs.busybox(skip=("bin/ps", "bin/nsenter"))
    for name in ("ps", "nsenter", "top"):
        if name != "top":
            tar.file("bin/" + name, "#!/bin/sh\ntouch /hit\n", 0o755)
    b = boxes.sleeper(image=image(tar))
    assert b.http.get(b.url + "/top").status == 200
    assert b.http.get(b.url + "/stats", {"stream": 0, "one-shot": 1}).status == 200
    assert b.exec("ls /hit")[0] != 0


def test_cve_2020_14370_environment(boxes, engine):
    """What the daemon was started with, and what others have, is in nobody's environment."""
    ours = dict(v.split("=", 1) for v in Path(f"/proc/{engine.proc.pid}/environ").read_text().split("\0") if "=" in v)
    assert len(ours) > 2 and "PYTEST_CURRENT_TEST" in ours, "the daemon has nothing that could leak"
    boxes.run("true", Env=["OTHER=other-secret"])
    for out in (boxes.run("env").out, boxes.sleeper().exec("env")[1]):
        names = {line.split("=")[0] for line in out.splitlines()}
        assert names <= {"PATH", "HOME", "HOSTNAME", "TERM", "PWD", "SHLVL", "OLDPWD", "_"}, names
        assert "other-secret" not in out and "PATH=/bin\n" in out


def test_cve_2020_15257_abstract_sockets(boxes):
    """A container on the host's network must not find an engine socket there."""
    b = boxes.run("cat /proc/net/unix", network="host")
    ours = [l.split()[-1] for l in b.out.splitlines() if "@" in l and ("caisson" in l or (IS_DOCKERD and "@/containerd-shim" in l))]
    assert ours == []


def test_cve_2021_41091_data_root_modes(engine, boxes):
    """CVE-2021-21284, CVE-2021-41091, CVE-2024-25621: nobody but root gets to images', containers' and volumes' files, not even the group root."""
    boxes.run("true", Volumes={"/v": {}})
    assert engine.data.stat().st_mode & 0o027 == 0 or IS_DOCKERD and engine.data.stat().st_mode & 0o066 == 0
    assert os.stat(engine.sock).st_mode & 0o007 == 0
    os.chmod(engine.root, 0o755)        # the fixture's own directory would keep everybody out
    try:
        for group in () if IS_DOCKERD else ("0", "65534"):
            # marks: its mode may become that of a container's root; nothing but an empty file is in it
            places = [engine.data, engine.exec, *(p for p in engine.data.iterdir() if p.name != "marks"), *engine.exec.iterdir()]
            assert len(places) > 8
            r = subprocess.run(["setpriv", "--reuid", "65534", "--regid", group, "--clear-groups", "sh", "-c",
                                'cd "$0" || exit 1; for f; do { [ -w "$f" ] || [ -r "$f" ]; } && echo "$f"; done; true', engine.root, *places], capture_output=True, text=True, check=False)
            assert (r.returncode, r.stdout, r.stderr) == (0, "", ""), (group, r)
        r = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "ls", str(engine.data)], capture_output=True, check=False)
        assert r.returncode != 0
    finally:
        os.chmod(engine.root, 0o700)


def test_container_cannot_see_the_data_root(boxes, engine):
    assert str(engine.data) not in boxes.run("cat /proc/self/mountinfo | cut -d' ' -f5").out


def test_cgroup_is_read_only(boxes):
    """CVE-2022-0492: no release_agent, no writing to the controllers."""
    b = boxes.run("ls /sys/fs/cgroup; for f in /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs; do "
                  "(echo 1 > $f) 2>/dev/null && echo written $f; done; mkdir /m; mount -t cgroup -o memory x /m 2>/dev/null && echo mounted")
    assert "written" not in b.out and "mounted" not in b.out


def test_parallel_hostile_neighbours(boxes):
    """Many hostile starts at once leave the daemon well."""
    together(lambda _: try_start(boxes, ["/proc/self/exe"]), *range(8))
    assert boxes.engine.http.get("/_ping").status == 200
