# SPDX-License-Identifier: Apache-2.0
"""What a container may see and do: namespaces, mounts, devices, capabilities, users, seccomp."""
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from box import IS_DOCKERD, Boxes, create
from caisson_fixture import wait_for

DEFAULT_CAPS = 0xa80425fb
no_rlimit_cap = pytest.mark.skipif(IS_DOCKERD, reason="runc refuses what the machine lacks (CAP_SYS_RESOURCE)")


def caps(box_or_text):
    text = box_or_text if isinstance(box_or_text, str) else box_or_text.out
    return {l.split(":")[0]: int(l.split()[1], 16) for l in text.splitlines() if l.startswith("Cap")}


def test_default_capabilities(boxes):
    c = caps(boxes.run("cat /proc/self/status"))
    assert c["CapEff"] == c["CapPrm"] == c["CapBnd"] == DEFAULT_CAPS and c["CapInh"] == 0 and c["CapAmb"] == 0


def test_user_has_no_effective_capabilities(boxes):
    c = caps(boxes.run("cat /proc/self/status", User="app"))
    assert c["CapEff"] == c["CapPrm"] == c["CapInh"] == c["CapAmb"] == 0 and c["CapBnd"] == DEFAULT_CAPS


@pytest.mark.parametrize("add,drop,expect", [(["NET_ADMIN"], [], DEFAULT_CAPS | 1 << 12), (["CAP_NET_ADMIN"], ["CHOWN"], (DEFAULT_CAPS | 1 << 12) & ~1),
                                             ([], ["ALL"], 0), (["chown"], ["all"], 1)])
def test_cap_add_drop(boxes, add, drop, expect):
    assert caps(boxes.run("cat /proc/self/status", Host={"CapAdd": add, "CapDrop": drop}))["CapEff"] == expect


@pytest.mark.parametrize("key", ["CapAdd", "CapDrop"])
def test_unknown_capability(engine, key):
    a = create(engine, "true", Host={key: ["NOSUCH"]})
    assert a.status == 400 and "unknown capability" in a.message.lower() and "NOSUCH" in a.message


@no_rlimit_cap
def test_privileged(boxes):
    b = boxes.run("cat /proc/self/status; ls /dev; mkdir /m && mount -t tmpfs x /m && echo mounted; test -w /proc/sys/kernel/hostname && echo w",
                  Host={"Privileged": True})
    assert caps(b)["CapEff"] & ~DEFAULT_CAPS and "mounted\n" in b.out and "kmsg\n" in b.out, b.err
    assert "Seccomp:\t0\n" in b.out


def test_seccomp_is_on(boxes):
    b = boxes.run("grep Seccomp: /proc/self/status; unshare -m true; echo $?")
    assert b.out.startswith("Seccomp:\t2\n") and not b.out.endswith("\n0\n")


def test_seccomp_unconfined(boxes):
    assert boxes.run("grep Seccomp: /proc/self/status", Host={"SecurityOpt": ["seccomp=unconfined"]}).out == "Seccomp:\t0\n"


def test_seccomp_custom(boxes):
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}
    b = boxes.run("mkdir /x; echo $?", Host={"SecurityOpt": ["seccomp=" + json.dumps(profile)]})
    assert b.out == "1\n" and "Operation not permitted" in b.err


@pytest.mark.caisson
def test_seccomp_custom_holds_for_a_privileged_one(boxes):
    """dockerd 26 and later; 20.10 ignored the profile."""
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}
    b = boxes.sleeper(Host={"Privileged": True, "SecurityOpt": ["seccomp=" + json.dumps(profile)]})
    code, _, err = b.exec("mkdir /x")
    assert code == 1 and "Operation not permitted" in err
    assert b.exec("grep Seccomp: /proc/1/status")[1] == "Seccomp:\t2\n"


@pytest.mark.caisson
def test_writable_cgroups_without_a_value(boxes):
    b = boxes.run("grep ' /sys/fs/cgroup' /proc/mounts | grep -c ' ro,'", Host={"SecurityOpt": ["writable-cgroups"], "CgroupnsMode": "private"})
    assert b.out == "0\n"


@pytest.mark.parametrize("mode,code", [(0o777, "1"), (0o111, "0")])
def test_seccomp_masks_are_unsigned(boxes, mode, code):
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
    args = [[{"index": i, "value": 2**64 - 1, "valueTwo": mode, "op": "SCMP_CMP_MASKED_EQ"}] for i in (1, 2)]
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{**rule, "args": a} for a in args]}
    b = boxes.run("mkdir /x; echo $?", Host={"SecurityOpt": ["seccomp=" + json.dumps(profile)]})
    assert b.out.split() == [code], (b.out, b.err)


def refuses_mkdir(mode):
    rule = {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": mode, "op": "SCMP_CMP_EQ"}]}
    return {"SecurityOpt": ["seccomp=" + json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})]}


@pytest.mark.caisson
def test_profiles_go_with_their_last_container(fresh):
    """Two have one; the next engine keeps those of containers that run, and only those."""
    eng = fresh()
    boxes, kept = Boxes(eng), eng.exec / "seccomp"
    boxes.run("true")

    def files():
        return set(os.listdir(kept))
    builtin = files()
    first, second = boxes.sleeper(Host=refuses_mkdir(0o777)), boxes.create("true", Host=refuses_mkdir(0o777))
    profile, = files() - builtin
    first.rm()
    second.start()
    second.wait()
    assert second.state["ExitCode"] == 0
    second.rm()
    wait_for(lambda: files() == builtin, what="the profile's file to go")
    many = [boxes.create("true" if i % 2 else ["/no/such/file"], Host=refuses_mkdir(i)) for i in range(40)]  # more than the engine remembers
    for b in many:
        b.post("start")
    for b in many:
        b.rm()
    wait_for(lambda: files() == builtin, what="all of them to go")
    lives = boxes.sleeper(Host=refuses_mkdir(0o777))
    eng.kill()
    (kept / ("0" * 64)).write_text("{}")
    eng.start()
    assert files() == {profile}
    assert lives.exec("mkdir /x; grep Seccomp: /proc/self/status")[1] == "Seccomp:\t2\n" and lives.exec("ls -d /x")[0] != 0
    lives.rm()
    wait_for(lambda: not files(), what="that of the earlier engine to go")


@pytest.mark.caisson
def test_who_starts_has_its_profile_while_others_go(fresh):
    """Twenty profiles, more than the engine remembers, each of containers that come and go beside each other."""
    eng = fresh()
    boxes = Boxes(eng)

    def lives(n):
        out = []
        for i in range(6):
            b = boxes.run("mkdir -m 777 /x; ls -d /x", Host=refuses_mkdir(0o777 if n % 2 else n))
            out.append(b.out)
            b.rm()
        return out
    with ThreadPoolExecutor(20) as pool:
        for n, out in enumerate(pool.map(lives, range(40))):
            assert out == ["" if n % 2 else "/x\n"] * 6, (n, out)
    wait_for(lambda: not os.listdir(eng.exec / "seccomp"), what="all profiles to go")


@pytest.mark.parametrize("profile", ["{", '{"defaultAction":"NOSUCH"}', "[]", '{"defaultAction":"SCMP_ACT_ALLOW","architectures":"SCMP_ARCH_X86"}', *(
    '{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ALLOW",%s}]}' % condition for condition in
    ('"includes":{"caps":"CAP_SYS_ADMIN"}', '"includes":{"arches":[1]}', '"includes":[]', '"excludes":{"minKernel":"new"}', '"excludes":{"minKernel":4.8}'))])
def test_seccomp_bad(engine, profile):
    from box import Box
    a = create(engine, "true", Host={"SecurityOpt": ["seccomp=" + profile]})
    if a.status == 201:
        b = Box(engine, a.json["Id"])
        a = b.post("start")
        assert b.state["Status"] in ("created", "exited") and b.state["Pid"] == 0
        b.rm()
    assert a.status in (400, 500) and a.message


@pytest.mark.parametrize("opt", ["nosuch=1", "nosuch"])
def test_unknown_security_option(boxes, engine, opt):
    from box import Box
    a = create(engine, "true", Host={"SecurityOpt": [opt]})
    if a.status == 201:
        b = Box(engine, a.json["Id"])
        a = b.post("start")
        b.rm()
    assert a.status in (400, 500) and "nosuch" in a.message


def test_no_new_privileges(boxes):
    assert boxes.run("grep NoNewPrivs /proc/self/status", Host={"SecurityOpt": ["no-new-privileges"]}).out == "NoNewPrivs:\t1\n"
    assert boxes.run("grep NoNewPrivs /proc/self/status").out == "NoNewPrivs:\t0\n"


def test_pid_namespace(boxes):
    assert boxes.run("echo $$; ls /proc | grep -c '^[0-9][0-9]*$'").out.splitlines()[0] == "1"


def test_hostname_and_domain(boxes):
    b = boxes.run("hostname; cat /etc/hostname; cat /proc/sys/kernel/domainname", Hostname="inner", Domainname="corp.example")
    assert b.out == "inner\ninner\ncorp.example\n"


def test_hosts_and_resolv(boxes):
    b = boxes.run("cat /etc/hosts; cat /etc/resolv.conf", network="none",
                  Host={"ExtraHosts": ["extra:10.1.2.3"], "Dns": ["9.9.9.9"], "DnsSearch": ["corp"], "DnsOptions": ["ndots:3"]})
    assert "127.0.0.1\tlocalhost\n" in b.out and "10.1.2.3\textra\n" in b.out
    if not IS_DOCKERD:      # dockerd gives network none the host's file
        assert "nameserver 9.9.9.9\n" in b.out and "search corp\n" in b.out and "options ndots:3\n" in b.out


def test_network_none(boxes):
    assert boxes.run("ls /sys/class/net; cat /proc/net/dev | wc -l").out.split() == ["lo", "3"]
    assert "UP" in boxes.run("ip link show lo").out


def test_network_host(boxes):
    assert boxes.run("readlink /proc/self/ns/net", network="host").out.strip() == os.readlink("/proc/self/ns/net")


@pytest.mark.parametrize("key,ns", [("NetworkMode", "net"), ("PidMode", "pid"), ("IpcMode", "ipc")])
def test_shared_with_container(boxes, key, ns):
    one = boxes.sleeper(Host={"IpcMode": "shareable"})
    two = boxes.run(f"readlink /proc/self/ns/{ns}", Host={key: "container:" + one.id})
    assert two.out.strip() == os.readlink(f"/proc/{one.pid}/ns/{ns}"), two.err


@pytest.mark.caisson
def test_shared_by_descriptor(fresh):
    """Not by the number of a process, which may be another's by the time the worker uses it. What was joined holds without the descriptors."""
    eng = fresh()
    boxes = Boxes(eng)
    one = boxes.sleeper(Host={"IpcMode": "shareable"})
    mode = "container:" + one.id
    two = boxes.sleeper(network=mode, Host={"PidMode": mode, "IpcMode": mode})
    document = (eng.exec / "systems" / two.id / "document").read_text()
    assert f"/proc/{one.pid}/" not in document and document.count(f"/proc/{eng.proc.pid}/fd/") == 4
    links = "; ".join(f"readlink /proc/self/ns/{ns}" for ns in ("net", "pid", "ipc"))
    want = [os.readlink(f"/proc/{one.pid}/ns/{ns}") for ns in ("net", "pid", "ipc")]
    assert two.exec(links)[1].split() == want
    assert not any(os.readlink(f"/proc/{eng.proc.pid}/fd/{fd}") in want[1:] for fd in os.listdir(f"/proc/{eng.proc.pid}/fd") if os.path.exists(f"/proc/{eng.proc.pid}/fd/{fd}"))
    eng.restart()
    assert two.exec(links)[1].split() == want


@pytest.mark.parametrize("key,ns", [("PidMode", "pid"), ("IpcMode", "ipc"), ("UTSMode", "uts")])
def test_shared_with_host(boxes, key, ns):
    b = boxes.run(f"readlink /proc/self/ns/{ns}", Host={key: "host"})
    assert b.out.strip() == os.readlink(f"/proc/self/ns/{ns}")


def test_ipc_of_container_shares_memory(boxes):
    one = boxes.sleeper(Host={"IpcMode": "shareable"})
    assert one.exec("echo from-one > /dev/shm/a")[0] == 0
    two = boxes.run("cat /dev/shm/a; echo from-two > /dev/shm/b; grep ' /dev/shm ' /proc/mounts", Host={"IpcMode": "container:" + one.id})
    assert two.out.startswith("from-one\n") and "nosuid" in two.out and "nodev" in two.out, (two.out, two.err)
    assert one.exec("cat /dev/shm/b")[1] == "from-two\n"
    three = boxes.run("cat /dev/shm/b; ls /", Host={"IpcMode": "container:" + one.id}, WorkingDir="/tmp")
    assert three.out.startswith("from-two\nbin\n")     # back in its own root


def test_ipc_modes(boxes, tmp_path):
    name = f"caisson-test-{os.getpid()}"
    path = os.path.join("/dev/shm", name)
    with open(path, "w") as f:
        f.write("host\n")
    try:
        assert boxes.run(f"cat /dev/shm/{name}", Host={"IpcMode": "host"}).out == "host\n"
        for mode in ("private", "shareable"):
            assert boxes.run("ls /dev/shm; readlink /proc/self/ns/ipc", Host={"IpcMode": mode}).out.strip() != os.readlink("/proc/self/ns/ipc")
        assert boxes.run("grep ' /dev/shm ' /proc/mounts", Host={"IpcMode": "none"}).out == ""
    finally:
        os.unlink(path)


def test_shared_with_unknown(boxes, engine):
    from box import Box
    a = create(engine, "true", network="container:nosuch")
    if a.status == 201:
        b = Box(engine, a.json["Id"])
        a = b.post("start")
        b.rm()
    assert a.status in (404, 409, 500) and "No such container: nosuch" in a.message


@pytest.mark.parametrize("key", ["PidMode", "IpcMode"])
def test_processes_shared_with_unknown(engine, key):
    a = create(engine, "true", Host={key: "container:nosuch"})
    assert a.status == 400 and a.message == "No such container: nosuch"     # a 404 would send docker run to pull the image


@pytest.mark.parametrize("key,word", [("NetworkMode", "network"), ("PidMode", "PID"), ("IpcMode", "IPC")])
def test_join_stopped_container(boxes, key, word):
    one = boxes.create("true", Host={"IpcMode": "shareable"})
    a = boxes.create("true", Host={key: "container:" + one.id}).post("start")
    assert a.status in (409, 500)
    assert a.message == f"cannot join {word} of a non running container: {one.id}" or IS_DOCKERD and "not running" in a.message


@pytest.mark.caisson        # 20.10 does not know addresses of endpoints
def test_joined_network_has_its_own_endpoints(boxes, engine):
    mode = "container:" + boxes.create("true").id
    body = {"NetworkingConfig": {"EndpointsConfig": {mode: {"MacAddress": "02:42:00:00:00:01"}}}}
    a = create(engine, "true", network=mode, **body)
    assert a.status == 400 and a.message == "conflicting options: mac-address and the network mode"
    for endpoints in ({"bridge": {}}, {mode: {"IPAMConfig": {"IPv4Address": "10.9.8.7"}}}):
        assert "endpoints are discarded" in boxes.create("true", network=mode, NetworkingConfig={"EndpointsConfig": endpoints}).warnings[0]
    assert boxes.create("true", network=mode, NetworkingConfig={"EndpointsConfig": {mode: {}}}).warnings == []
    a = create(engine, "true", network=mode, ExposedPorts={"80/tcp": {}}, Host={"PortBindings": {"80/tcp": [{"HostPort": "80"}]}})
    assert a.status == 400 and a.message == "conflicting options: port publishing and the container type network mode"


def test_joined_networks_names(boxes):
    """Whoever joins a network, directly or through another that did, bears the names of whose it is, and shares its files."""
    one = boxes.sleeper(Hostname="boss", Domainname="lair.example", Host={"ExtraHosts": ["friend:10.9.8.7"]})
    two = boxes.sleeper(network="container:" + one.id)
    three = boxes.create("sleep 1000", network="container:" + two.id)
    assert three.inspect()["Config"]["Hostname"] == three.id[:12]
    three.start()
    for b in (two, three):
        code, out, err = b.exec("hostname; echo $HOSTNAME; cat /etc/hostname; grep -c friend /etc/hosts; cat /proc/sys/kernel/domainname")
        assert (code, out.split()) == (0, ["boss", "boss", "boss", "1", "lair.example"]), err
        seen, whose = b.inspect(), one.inspect()
        assert (seen["Config"]["Hostname"], seen["Config"]["Domainname"]) == ("boss", "lair.example")
        for key in ("HostnamePath", "HostsPath", "ResolvConfPath"):
            assert seen[key] == whose[key] and whose[key]


def test_join_itself(boxes):
    a = boxes.create("true", name="selfish", network="container:selfish").post("start")
    assert a.status in (409, 500) and "cannot join own network" in a.message


def test_published_ports_of_a_joined_network(engine):
    """A client that publishes exposes as well: what is said is about what was typed."""
    for host, exposed, word in (({"PortBindings": {"80/tcp": [{"HostPort": "80"}]}}, {"80/tcp": {}}, "publishing"), ({}, {"80/tcp": {}}, "exposing")):
        a = create(engine, "true", network="container:x", ExposedPorts=exposed, Host=host)
        assert a.status == 400 and f"port {word} and the container type network mode" in a.message, a


def test_uts_host_with_hostname(engine):
    a = create(engine, "true", Hostname="x", Host={"UTSMode": "host"})
    assert a.status == 400 and a.message.lower().startswith("conflicting options: hostname and the uts mode")


def test_cgroup_namespace(boxes):
    b = boxes.run("cat /proc/self/cgroup", Host={"CgroupnsMode": "private"})
    assert all(l.split(":", 2)[2] == "/" for l in b.out.splitlines()), b.out


# Mounts --------------------------------------------------------------------------------------------------------------

def test_root_is_writable_and_its_own(boxes):
    assert boxes.run("echo x > /f && cat /f").out == "x\n"
    assert boxes.run("cat /f").code == 1


def test_read_only_root(boxes):
    files = "for f in hosts hostname resolv.conf; do echo x > /etc/$f && echo $f; done"
    b = boxes.run(f"echo x > /f || echo ro; echo x > /dev/shm/f && echo shm; {files}; echo x > /t/f && echo tmpfs", Host={"ReadonlyRootfs": True, "Tmpfs": {"/t": ""}})
    assert b.out.split() == ["ro", "shm", "tmpfs"]
    assert boxes.run(files).out.split() == ["hosts", "hostname", "resolv.conf"]


def test_bind(boxes, tmp_path):
    (tmp_path / "in").write_text("hello\n")
    b = boxes.run("cat /b/in; echo back > /b/out", Host={"Binds": [f"{tmp_path}:/b"]})
    assert b.out == "hello\n" and (tmp_path / "out").read_text() == "back\n"


def test_bind_file(boxes, tmp_path):
    f = tmp_path / "file"
    f.write_text("one\n")
    assert boxes.run("cat /etc/one", Host={"Binds": [f"{f}:/etc/one:ro"]}).out == "one\n"


def test_bind_read_only(boxes, tmp_path):
    b = boxes.run("touch /b/x || echo refused", Host={"Binds": [f"{tmp_path}:/b:ro"]})
    assert b.out == "refused\n" and os.listdir(tmp_path) == []


def test_bind_creates_missing_source(boxes, tmp_path):
    boxes.run("true", Host={"Binds": [f"{tmp_path}/new:/b"]})
    assert (tmp_path / "new").is_dir()


def test_mount_does_not_create_source(engine, tmp_path):
    a = create(engine, "true", Host={"Mounts": [{"Type": "bind", "Source": f"{tmp_path}/new", "Target": "/b"}]})
    assert a.status == 400
    assert a.message == f'invalid mount config for type "bind": bind source path does not exist: {tmp_path}/new'


@pytest.mark.caisson
def test_mount_create_mountpoint(boxes, tmp_path):
    m = {"Type": "bind", "Source": f"{tmp_path}/new", "Target": "/b", "BindOptions": {"CreateMountpoint": True}}
    boxes.run("true", Host={"Mounts": [m]})
    assert (tmp_path / "new").is_dir()


@pytest.mark.host_mounts
@pytest.mark.caisson
def test_read_only_is_recursive(boxes, tmp_path):
    import subprocess
    sub = tmp_path / "sub"
    sub.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "x", str(sub)], check=True)
    try:
        mount = {"Type": "bind", "Source": str(tmp_path), "Target": "/b", "ReadOnly": True}
        assert boxes.run("touch /b/sub/x || echo refused", Host={"Mounts": [mount]}).out == "refused\n"
        mount["BindOptions"] = {"ReadOnlyNonRecursive": True}
        assert boxes.run("touch /b/sub/x && echo made", Host={"Mounts": [mount]}).out == "made\n"
    finally:
        subprocess.run(["umount", str(sub)], check=True)


@pytest.mark.host_mounts
@pytest.mark.parametrize("mode,seen", [("rshared", "shared:"), ("rslave", "master:"), ("rprivate", None)])
def test_propagation(boxes, tmp_path, mode, seen):
    import subprocess
    src = tmp_path / "p"
    src.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "x", str(src)], check=True)
    subprocess.run(["mount", "--make-shared", str(src)], check=True)
    try:
        line = boxes.run("grep ' /b ' /proc/self/mountinfo", Host={"Binds": [f"{src}:/b:{mode}"]}).out
        assert (seen in line) if seen else ("shared:" not in line and "master:" not in line), line
    finally:
        subprocess.run(["umount", str(src)], check=True)


@pytest.mark.host_mounts
@pytest.mark.parametrize("mode,words", [("rshared", "shared"), ("shared", "shared"), ("rslave", "shared or slave"), ("slave", "shared or slave")])
def test_propagation_needs_a_shared_source(boxes, tmp_path, mode, words):
    import subprocess
    src = tmp_path / "with space"
    src.mkdir()
    (src / "sub").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "x", str(src)], check=True)
    subprocess.run(["mount", "--make-private", str(src)], check=True)
    try:
        a = boxes.create("true", Host={"Binds": [f"{src}/sub:/b:{mode}"]}).post("start")
        assert a.status == 500 and a.message.endswith(f"path {src}/sub is mounted on {src} but it is not a {words} mount"), a
    finally:
        subprocess.run(["umount", str(src)], check=True)


def test_tmpfs(boxes):
    b = boxes.run("grep ' /t ' /proc/mounts; stat -c %a /t; touch /t/x && echo w", Host={"Tmpfs": {"/t": "size=1m,mode=1770"}})
    line, mode, w = b.out.splitlines()
    assert "size=1024k" in line and "nosuid" in line and "nodev" in line and "noexec" in line and mode == "1770" and w == "w"


def test_tmpfs_by_another_path(boxes):
    b = boxes.run("stat -f -c %T /c; stat -c %n /a/b; true", Host={"Tmpfs": {"/a/b/../..//c/": ""}})
    assert b.out.split() == ["tmpfs"] and list(b.inspect()["HostConfig"]["Tmpfs"]) == ["/a/b/../..//c/"]


def test_tmpfs_mount_type(boxes):
    m = {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 65536, "Mode": 0o700}}
    line, mode = boxes.run("grep ' /t ' /proc/mounts; stat -c %a /t", Host={"Mounts": [m]}).out.splitlines()
    assert "size=64k" in line and mode == "700"


def test_shm_size(boxes):
    assert "size=65536k" in boxes.run("grep ' /dev/shm ' /proc/mounts").out
    assert "size=2048k" in boxes.run("grep ' /dev/shm ' /proc/mounts", Host={"ShmSize": 2 << 20}).out


def test_anonymous_volume_copies_up(boxes):
    b = boxes.run("ls /etc; stat -c %a /tmp", Volumes={"/etc": {}, "/tmp": {}})
    assert "passwd" in b.out and "1777" in b.out


def test_volume_survives_restart(boxes):
    b = boxes.run("cat /v/x; echo kept > /v/x", Volumes={"/v": {}})
    b.start().wait()
    assert b.out == "kept\n"


def test_standard_devices(boxes):
    out = boxes.run("ls /dev; stat -c '%t:%T %a' /dev/null; readlink /dev/fd; readlink /dev/ptmx").out.splitlines()
    assert {"null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr", "pts", "shm", "mqueue", "ptmx"} <= set(out)
    assert "1:3 666" in out and "/proc/self/fd" in out and "pts/ptmx" in out


def test_device_added(boxes):
    dev = {"PathOnHost": "/dev/zero", "PathInContainer": "/dev/extra/z", "CgroupPermissions": "r"}
    b = boxes.run("head -c 2 /dev/extra/z | wc -c; (echo > /dev/extra/z) 2>/dev/null || echo refused; ls -l /dev/extra/z",
                  Host={"Devices": [dev]})
    assert b.out.splitlines()[0] == "2"


def test_device_given_twice(boxes):
    """The first node counts, and both may be used."""
    twice = [{"PathOnHost": p, "PathInContainer": t, "CgroupPermissions": "rw"} for p, t in (("/dev/zero", "/dev/twice"), ("/dev/null", "/dev/../dev/twice"))]
    b = boxes.run("stat -c %t:%T /dev/twice; head -c 3 /dev/twice | wc -c", Host={"Devices": twice})
    assert b.out.split() == ["1:5", "3"], b.err


@pytest.mark.caisson        # runc wants the capabilities that the machine of the tests lacks
def test_device_in_place_of_the_hosts(boxes):
    b = boxes.run("stat -c %t:%T /dev/zero", Host={"Privileged": True, "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/zero", "CgroupPermissions": "rw"}]})
    assert b.out.split() == ["1:5"], b.err


def test_device_access_is_denied(boxes):
    """mknod is allowed, opening what was not granted is not."""
    b = boxes.run("mknod /d b 7 0 && (dd if=/d bs=1 count=0 || echo refused); mknod /k c 1 11 && (head -c 1 /k || echo refused)")
    assert b.out == "refused\nrefused\n", (b.out, b.err)


@pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="no /dev/fuse to try with")
def test_device_cgroup_rule(boxes):
    assert boxes.run("mknod /d c 10 229 && (exec 3</d) && echo opened").out == ""
    b = boxes.run("mknod /d c 10 229 && (exec 3</d) && echo opened", Host={"DeviceCgroupRules": ["c 10:229 rwm"]})
    assert b.out == "opened\n", b.err


def test_missing_device(boxes):
    a = boxes.create("true", Host={"Devices": [{"PathOnHost": "/dev/nosuch", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}]}).post("start")
    assert a.status in (400, 500) and "/dev/nosuch" in a.message


def test_masked_paths(boxes):
    b = boxes.run("cat /proc/kcore | wc -c; ls /proc/scsi /sys/firmware | grep -v : | wc -w; echo x > /proc/sysrq-trigger || echo ro; "
                  "echo 1 > /proc/sys/kernel/printk || echo ro; wc -c < /proc/keys; wc -c < /proc/timer_list")
    assert b.out.split() == ["0", "0", "ro", "ro", "0", "0"], b.out + b.err


def test_masked_paths_cleared(boxes):
    b = boxes.create("true", Host={"MaskedPaths": [], "ReadonlyPaths": []})
    assert b.inspect()["HostConfig"]["MaskedPaths"] == []


def test_sys_is_read_only(boxes):
    assert " ro," in " " + boxes.run("grep ' /sys ' /proc/mounts | cut -d' ' -f4").out.replace("ro,", " ro,", 1)


def test_only_standard_descriptors(boxes):
    assert boxes.run(["ls", "/proc/self/fd"]).out.split() == ["0", "1", "2", "3"]     # 3 is ls reading the directory


# Users, limits of processes -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("user,ids", [("app", "1000 1000 1000 29 44"), ("app:team", "1000 2000 2000"), ("1000:5", "1000 5 5"),
                                      ("4242", "4242 0 0"), ("second", "1001 2000 2000 44"), (":team", "0 2000 2000")])
def test_user(boxes, user, ids):
    out = boxes.run("echo $(id -u) $(id -g) $(id -G)", User=user).out
    assert out.split()[:2] == ids.split()[:2] and set(out.split()[2:]) >= set(ids.split()[2:]), out


def test_group_add(boxes):
    assert {"29", "55"} <= set(boxes.run("id -G", Host={"GroupAdd": ["audio", "55"]}).out.split())


@pytest.mark.parametrize("user,message", [("nosuch", "unable to find user nosuch"), ("root:nosuch", "unable to find group nosuch")])
def test_unknown_user(boxes, user, message):
    b = boxes.create("true", User=user)
    a = b.post("start")
    assert a.status == 500 and a.message.startswith(message)        # without "failed to create task for container: "
    assert b.state["Status"] == "created" and b.state["Error"]


def test_home(boxes):
    assert boxes.run("echo $HOME", User="app").out == "/home/app\n"


def test_workdir_is_created(boxes):
    assert boxes.run("pwd; stat -c %u /a/b", WorkingDir="/a/b").out == "/a/b\n0\n"


def test_relative_workdir(engine):
    a = create(engine, "true", WorkingDir="rel")
    assert a.status == 400 and a.message == "the working directory 'rel' is invalid, it needs to be an absolute path"


def test_ulimit(boxes):
    b = boxes.run("ulimit -n; ulimit -Hn", Host={"Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}]})
    assert b.out == "100\n200\n"


def test_bad_ulimit(engine):
    assert create(engine, "true", Host={"Ulimits": [{"Name": "nosuch", "Soft": 1, "Hard": 1}]}).status in (400, 500, 201)
    a = create(engine, "true", Host={"Ulimits": [{"Name": "nofile", "Soft": 5, "Hard": 1}]})
    if a.status == 201:
        from box import Box
        b = Box(engine, a.json["Id"])
        a = b.post("start")
        b.rm()
    assert a.status in (400, 500), a


def test_sysctl(boxes):
    assert boxes.run("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax",
                     Host={"Sysctls": {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096"}}).out == "1\n4096\n"


def test_sysctl_of_the_host_refused(boxes, engine):
    from box import Box
    a = create(engine, "true", Host={"Sysctls": {"kernel.panic": "1"}})
    if a.status == 201:
        b = Box(engine, a.json["Id"])
        a = b.post("start")
        b.rm()
    assert a.status in (400, 500) and "kernel.panic" in a.message


@pytest.mark.parametrize("cmd,code,text", [
    (["nosuch"], 127, 'exec: "nosuch": executable file not found in $PATH'),
    (["n" * 9000], 127, 'nnn": executable file not found in $PATH'), (["/" + "n" * 3900], 127, "nnn: file name too long"),
    (["/nosuch"], 127, "no such file or directory"),
    (["/etc/passwd"], 126, "permission denied"),
    (["/tmp"], 126, "")])
def test_cannot_start(boxes, cmd, code, text):
    b = boxes.create(cmd)
    a = b.post("start")
    assert a.status == 400 and text in a.message, a
    s = b.state
    assert s["ExitCode"] == code and s["Status"] == "created" and text in s["Error"] and s["Pid"] == 0


@pytest.mark.unsanitized
def test_init(boxes):
    b = boxes.start("exec sleep 1000", Host={"Init": True})
    assert b.post("stop", {"t": 10}).status == 204
    assert b.state["ExitCode"] == 143


@pytest.mark.unsanitized
def test_init_reaps(boxes):
    b = boxes.run("(sh -c 'sleep 0.01 &'); sleep 0.2; ps | grep -c '\\[sleep\\]'", Host={"Init": True})
    assert b.out == "0\n"


@pytest.mark.parametrize("adj", [100, 1000])
def test_oom_score_adj(boxes, adj):
    assert boxes.run("cat /proc/self/oom_score_adj", Host={"OomScoreAdj": adj}).out == f"{adj}\n"


def test_host_environment_does_not_leak(boxes):
    b = boxes.run("env")
    assert {l.split("=")[0] for l in b.out.splitlines()} <= {"PATH", "HOSTNAME", "HOME", "PWD", "SHLVL", "OLDPWD", "_"}


def test_term_with_tty(boxes):
    assert "TERM=xterm" in boxes.run("env", Tty=True).out


def test_dockerenv(boxes):
    """Programs look for /.dockerenv to see that they are in a container. It is the engine's, not the container's: no change, in no commit."""
    box = boxes.run("test -f /.dockerenv && stat -c '%a %u %s' /.dockerenv")
    assert box.wait() == 0
    assert box.out == "755 0 0\n"
    changes = box.http.get(box.url + "/changes").json or []
    assert ".dockerenv" not in json.dumps(changes)
