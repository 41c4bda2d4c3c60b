# SPDX-License-Identifier: Apache-2.0
"""Options of the local driver: what is mounted, when, for whom, and what survives the daemon."""
import json
import os
import subprocess
import uuid
from pathlib import Path

import pytest

from box import IS_DOCKERD, Boxes
from caisson_fixture import wait_for

TMPFS = {"type": "tmpfs", "device": "tmpfs"}


@pytest.fixture
def make(http):
    made = []

    def one(name, opts, **more):
        a = http.post("/volumes/create", body={"Name": name, "DriverOpts": opts, **more})
        if a.status == 201:
            made.append(name)
        return a
    yield one
    for name in made:
        http.delete(f"/volumes/{name}", {"force": 1}, rec=False)


def mounts(engine, name):
    """Lines of mountinfo for the volume's directory, as the daemon's host sees them."""
    at = f"{engine.data}/volumes/{name}/_data"
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if line.split()[4] == at]


@pytest.mark.parametrize("opts,message", [
    ({"foo": "x"}, 'create o: invalid option: "foo"'),
    ({"type": "tmpfs"}, 'create o: missing required option: "device"'),
    ({"device": "x"}, 'create o: missing required option: "type"'),
    ({"o": "x"}, 'create o: missing required option: "device"'),
    ({"o": "x", "device": "y"}, 'create o: missing required option: "type"'),
    ({"size": "10m"}, "create o: quota size requested but no quota support"),
])
def test_checked_at_create(http, opts, message):
    message = message.replace("create o:", "create opts-bad:")
    a = http.post("/volumes/create", body={"Name": "opts-bad", "DriverOpts": opts})
    assert a.status == 400 and (a.message == message or IS_DOCKERD and "missing required" in a.message), a  # its order of keys is random
    assert http.get("/volumes/opts-bad").status == 404


def test_bad_size(http):
    a = http.post("/volumes/create", body={"Name": "opts-bad", "DriverOpts": {"size": "bogus"}})
    assert a.status == (500 if IS_DOCKERD else 400) and a.message == "create opts-bad: invalid size: 'bogus'"
    assert http.post("/volumes/create", body={"Name": "opts-zero", "DriverOpts": {"size": "0"}}).json["Options"] == {"size": "0"}
    http.delete("/volumes/opts-zero")


def test_inspect_and_file(engine, make):
    opts = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=1000"}
    a = make("opts-file", opts)
    assert a.json["Options"] == opts and a.json["Labels"] is None
    assert json.loads((engine.data / "volumes/opts-file/opts.json").read_text()) == \
        {"MountType": "tmpfs", "MountOpts": "size=1m,uid=1000", "MountDevice": "tmpfs", "Quota": {"Size": 0}}
    assert make("opts-empty", {}).json["Options"] == {} and make("opts-null", None).json["Options"] is None


def test_tmpfs(boxes, engine, make):
    make("opts-tmpfs", {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=1000,nosuid"})
    b = boxes.create("grep ' /v ' /proc/mounts; stat -c %u /v", Host={"Binds": ["opts-tmpfs:/v"]})
    assert mounts(engine, "opts-tmpfs") == []   # not before somebody runs
    b.start().wait()
    fields = b.out.split()
    assert fields[2] == "tmpfs" and {"rw", "nosuid", "size=1024k", "uid=1000"} <= set(fields[3].split(",")) and fields[6] == "1000"
    wait_for(lambda: mounts(engine, "opts-tmpfs") == [], what="unmounted after the run")


def test_read_only_use_and_full(boxes, make):
    make("opts-small", {"type": "tmpfs", "device": "tmpfs", "o": "size=64k"})
    keeper = boxes.sleeper(Host={"Binds": ["opts-small:/v"]})
    b = boxes.run("dd if=/dev/zero of=/v/f bs=1024 count=100 2>&1", Host={"Binds": ["opts-small:/v"]})
    assert "No space left" in b.out
    assert "Read-only" in boxes.run("touch /v/x 2>&1", Host={"Binds": ["opts-small:/v:ro"]}).out
    keeper.rm()


def test_one_mount_for_all(boxes, engine, make):
    """The last user to stop unmounts, not the first; the next run finds a new one."""
    make("opts-shared", TMPFS)
    host = {"Binds": ["opts-shared:/v", "opts-shared:/w"]}
    a = boxes.sleeper(Host=host)
    assert a.exec("echo hello > /v/f; cat /w/f")[1] == "hello\n"
    assert boxes.run("cat /v/f; echo more >> /v/f", Host=host).out == "hello\n"
    assert len(mounts(engine, "opts-shared")) == 1
    assert a.exec("cat /v/f")[1] == "hello\nmore\n"
    a.post("stop")
    wait_for(lambda: mounts(engine, "opts-shared") == [], what="unmounted after the last")
    assert boxes.run("ls /v", Host=host).out == ""


@pytest.mark.parametrize("opts", [{"type": "none", "o": "bind"}, {"type": "none", "o": "rbind,rw"}, {"type": "", "o": "bind"}])
def test_bind(boxes, engine, make, tmp_path, opts):
    (tmp_path / "f").write_text("of the host\n")
    make("opts-bind", {**opts, "device": str(tmp_path)})
    assert boxes.run("cat /v/f; echo new > /v/g", Host={"Binds": ["opts-bind:/v"]}).out == "of the host\n"
    assert (tmp_path / "g").read_text() == "new\n"
    wait_for(lambda: mounts(engine, "opts-bind") == [], what="unmounted")
    boxes.clean()
    assert engine.http.delete("/volumes/opts-bind").status == 204
    assert (tmp_path / "f").exists() and (tmp_path / "g").exists()   # what was mounted is not what is removed


def test_bind_read_only(boxes, make, tmp_path):
    make("opts-bind-ro", {"type": "none", "o": "bind,ro", "device": str(tmp_path)})
    assert "Read-only" in boxes.run("touch /v/x 2>&1", Host={"Binds": ["opts-bind-ro:/v"]}).out


def test_block_device(boxes, make, tmp_path):
    """Any file system of the kernel: here ext4 on a loop device."""
    disk = tmp_path / "disk"
    disk.write_bytes(b"")
    os.truncate(disk, 8 << 20)
    if subprocess.run(["mkfs.ext4", "-q", "-F", str(disk)], check=False).returncode:
        pytest.skip("no mkfs.ext4")
    loop = subprocess.run(["losetup", "-f", "--show", str(disk)], capture_output=True, text=True, check=False)
    if loop.returncode:
        pytest.skip("no loop device: " + loop.stderr.strip())
    try:
        make("opts-block", {"type": "ext4", "device": loop.stdout.strip(), "o": "noatime"})
        host = {"Binds": ["opts-block:/v"]}
        assert boxes.run("echo kept > /v/f; grep ' /v ' /proc/mounts | cut -d' ' -f3", Host=host).out == "ext4\n"
        assert boxes.run("cat /v/f; ls /v", Host=host).out == "kept\nf\nlost+found\n"
    finally:
        boxes.clean()
        subprocess.run(["losetup", "-d", loop.stdout.strip()], check=True)


@pytest.mark.parametrize("opts,message", [
    ({"type": "none", "device": "/nosuch", "o": "bind"}, "failed to mount local volume: mount /nosuch:{data}, flags: 0x1000: no such file or directory"),
    ({"type": "nofs", "device": "x", "o": "ro"}, "failed to mount local volume: mount x:{data}, flags: 0x1: no such device"),
    ({"type": "none", "device": "", "o": "bind"}, "missing device in volume options"),
    ({"type": "nofs", "device": "x", "o": "a=b,c"}, "failed to mount local volume: mount x:{data}, data: a=b,c: no such device"),
])
def test_cannot_be_mounted(boxes, engine, make, opts, message):
    make("opts-fails", opts)
    data = f"{engine.data}/volumes/opts-fails/_data"
    b = boxes.create("true", Host={"Binds": ["opts-fails:/v"]})
    a = b.post("start")
    assert a.status == 500 and a.message == f"error while mounting volume '{data}': " + message.format(data=data)
    s = b.state
    assert s["Status"] == "created" and not s["Running"]
    assert b.rm().status == 204 and engine.http.delete("/volumes/opts-fails").status == 204


def test_nfs_address_is_looked_up(boxes, make):
    make("opts-nfs", {"type": "nfs", "device": ":/x", "o": "addr=nosuch.invalid,ro"})
    a = boxes.create("true", Host={"Binds": ["opts-nfs:/v"]}).post("start")
    assert a.status == 500 and "error resolving passed in network volume address: lookup nosuch.invalid" in a.message, a
    make("opts-nfs-local", {"type": "nfs", "device": ":/x", "o": "addr=localhost,soft,timeo=1,retrans=0,nolock,vers=3"})
    a = boxes.create("true", Host={"Binds": ["opts-nfs-local:/v"]}).post("start")
    assert a.status == 500 and "addr=127.0.0.1,soft" in a.message and "localhost" not in a.message, a
    if "nfs" not in Path("/proc/filesystems").read_text():
        assert a.message.endswith(": no such device"), a        # what the kernel says when it knows no nfs


@pytest.mark.caisson
@pytest.mark.parametrize("device,given,passed", [
    ("//localhost/share/dir", "username=u,password=p,vers=3.0,ro", "username=u,password=*,vers=3.0,addr=127.0.0.1"),
    ("//127.0.0.1/share", "username=u,uid=1000", "username=u,uid=1000,addr=127.0.0.1"),
    ("//nosuch.invalid/share", "username=u,addr=localhost", "username=u,addr=127.0.0.1"),
    ("//nosuch.invalid/share", "addr=127.0.0.1,credentials=/x", "addr=127.0.0.1,credentials=/x"),
    ("//nosuch.invalid/share", "username=u,ip=127.0.0.1", "username=u,ip=127.0.0.1"),
])
def test_what_cifs_gets(boxes, make, engine, device, given, passed):
    """All options as they were given, flags aside, and the address of the server, since the kernel looks nothing up."""
    name = "opts-cifs-" + uuid.uuid4().hex[:8]
    make(name, {"type": "cifs", "device": device, "o": given})
    a = boxes.create("true", Host={"Binds": [f"{name}:/v"]}).post("start")
    flags = ", flags: 0x1" if given.endswith(",ro") else ""
    assert a.status == 500 and f"mount {device}:{engine.data}/volumes/{name}/_data{flags}, data: {passed}: " in a.message, a
    if "cifs" not in Path("/proc/filesystems").read_text():
        assert a.message.endswith(": no such device"), a        # what the kernel says when it knows no cifs


@pytest.mark.caisson
def test_cifs_server_that_is_not_there(boxes, make):
    make("opts-cifs-gone", {"type": "cifs", "device": "//nosuch.invalid/share", "o": "username=u,password=geheim"})
    a = boxes.create("true", Host={"Binds": ["opts-cifs-gone:/v"]}).post("start")
    assert a.status == 500 and "error resolving passed in network volume address: lookup nosuch.invalid: " in a.message and "geheim" not in a.message, a


@pytest.mark.caisson
@pytest.mark.parametrize("key", ["password", "pass", "password2"])
def test_password_is_masked(boxes, make, key):
    make(f"opts-{key}", {"type": "cifs", "device": "//127.0.0.1/s", "o": f"username=u,{key}=geheim,addr=127.0.0.1"})
    a = boxes.create("true", Host={"Binds": [f"opts-{key}:/v"]}).post("start")
    assert a.status == 500 and "geheim" not in a.message and f"username=u,{key}=******,addr=127.0.0.1" in a.message, a


@pytest.mark.caisson
def test_remount_is_refused(boxes, make):
    """dockerd would remount the file system below its own data root."""
    make("opts-remount", {"type": "tmpfs", "device": "tmpfs", "o": "remount,ro"})
    assert boxes.create("true", Host={"Binds": ["opts-remount:/v"]}).post("start").status == 500
    assert boxes.run("touch /v/x", Host={"Binds": ["opts-remount-other:/v"]}).code == 0


def test_by_container(boxes, http, engine):
    """Mounts with a driver configuration make the volume; one that exists keeps its own."""
    mount = {"Type": "volume", "Source": "opts-inline", "Target": "/v",
             "VolumeOptions": {"Labels": {"a": "b"}, "DriverConfig": {"Name": "local", "Options": TMPFS}}}
    assert boxes.run("grep ' /v ' /proc/mounts | cut -d' ' -f3", Host={"Mounts": [mount]}).out == "tmpfs\n"
    v = http.get("/volumes/opts-inline").json
    assert v["Options"] == TMPFS and v["Labels"] == {"a": "b"}
    mount["VolumeOptions"]["DriverConfig"]["Options"] = {"foo": "bar"}
    assert boxes.run("true", Host={"Mounts": [mount]}).code == 0
    b = boxes.create("grep ' /v ' /proc/mounts | cut -d' ' -f3", Host={"Mounts": [{"Type": "volume", "Target": "/v", "VolumeOptions": {"Labels": {"x": "y"}, "DriverConfig": {"Options": TMPFS}}}]})
    anonymous = b.inspect()["Mounts"][0]["Name"]
    v = http.get(f"/volumes/{anonymous}").json
    assert v["Options"] == TMPFS and v["Labels"]["x"] == "y"
    b.start().wait()
    assert b.out == "tmpfs\n"
    boxes.clean()
    assert http.get(f"/volumes/{anonymous}").status == 404
    assert http.delete("/volumes/opts-inline").status == 204


@pytest.mark.parametrize("host,status,message", [
    ({"Mounts": [{"Type": "volume", "Source": "dr-1", "Target": "/v", "VolumeOptions": {"DriverConfig": {"Options": {"foo": "x"}}}}]}, 400, 'create dr-1: invalid option: "foo"'),
    ({"Mounts": [{"Type": "volume", "Source": "dr-1", "Target": "/v", "VolumeOptions": {"DriverConfig": {"Name": "nosuch"}}}]}, 404,
     'create dr-1: error looking up volume plugin nosuch: plugin "nosuch" not found'),
    ({"VolumeDriver": "nosuch", "Binds": ["dr-1:/v"]}, 404, 'create dr-1: error looking up volume plugin nosuch: plugin "nosuch" not found'),
])
def test_driver_of_a_container(boxes, http, host, status, message):
    from box import create
    a = create(boxes.engine, "true", Host=host)
    assert a.status == status and a.message == message, a
    assert http.get("/volumes/dr-1").status == 404


def test_driver_matters_to_volumes_only(boxes, tmp_path):
    from box import create
    boxes.create("true", Host={"VolumeDriver": "nosuch", "Binds": [f"{tmp_path}:/v"]})
    boxes.create("true", Host={"VolumeDriver": "local", "Binds": ["dr-2:/v"]})
    a = create(boxes.engine, "true", Host={"VolumeDriver": "nosuch"}, Volumes={"/v": {}})
    assert a.status == 404 and a.message.endswith('error looking up volume plugin nosuch: plugin "nosuch" not found')
    boxes.clean()
    boxes.engine.http.delete("/volumes/dr-2")


def test_prune_leaves_options_alone(http, make):
    make("opts-prune", TMPFS, Labels={"opts-prune": "1"})
    a = http.post("/volumes/prune", {"filters": '{"label":["opts-prune"]}'}, version="1.41")
    assert a.json["VolumesDeleted"] == [] and http.get("/volumes/opts-prune").status == 200


def test_docker_command(engine):
    assert engine.cli("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=2m", "cli-opts").stdout == "cli-opts\n"
    out = engine.cli("run", "--rm", "--network=none", "-v", "cli-opts:/v", "caisson-test/rootfs", "df", "-k", "/v")
    assert "2048" in out.stdout, out
    out = engine.cli("run", "--rm", "--network=none", "--mount", "type=volume,src=cli-inline,dst=/v,volume-opt=type=tmpfs,volume-opt=device=tmpfs,\"volume-opt=o=size=3m,uid=7\"",
                     "caisson-test/rootfs", "sh", "-c", "df -k /v; stat -c %u /v")
    assert "3072" in out.stdout and out.stdout.endswith("7\n"), out
    assert engine.cli("volume", "rm", "cli-opts", "cli-inline").stdout == "cli-opts\ncli-inline\n"


def test_python_docker(client):
    v = client.volumes.create("py-opts", driver="local", driver_opts=TMPFS, labels={"k": "v"})
    try:
        out = client.containers.run("caisson-test/rootfs", ["sh", "-c", "grep ' /v ' /proc/mounts"], volumes={"py-opts": {"bind": "/v", "mode": "rw"}}, remove=True, network_mode="none")
        assert b" tmpfs " in out and client.volumes.get("py-opts").attrs["Options"] == TMPFS
    finally:
        v.remove()


# The daemon goes, the mounts stay ------------------------------------------------------------------------------------------

@pytest.mark.caisson
@pytest.mark.host_mounts
@pytest.mark.parametrize("graceful", [False, True])
def test_survives_the_daemon(fresh, graceful):
    engine = fresh(config={"live-restore": True})
    boxes = Boxes(engine)
    for name in ("used", "stale"):
        assert engine.http.post("/volumes/create", body={"Name": name, "DriverOpts": TMPFS}).status == 201
    a = boxes.sleeper(Host={"Binds": ["used:/v"]})
    b = boxes.sleeper(Host={"Binds": ["stale:/v"]})
    assert a.exec("echo kept > /v/f")[0] == 0
    pid = b.pid
    engine.stop() if graceful else engine.kill()
    assert len(mounts(engine, "used")) == 1
    os.kill(pid, 9)     # ends while nobody looks
    engine.start()
    wait_for(lambda: mounts(engine, "stale") == [], what="unmounted: nobody uses it")
    assert len(mounts(engine, "used")) == 1
    c = boxes.run("cat /v/f", Host={"Binds": ["used:/v"]})
    assert c.out == "kept\n" and len(mounts(engine, "used")) == 1
    assert engine.http.delete("/volumes/used").status == 409
    a.kill()
    a.wait()
    wait_for(lambda: mounts(engine, "used") == [], what="unmounted after the last")
    boxes.clean()
    for name in ("used", "stale"):
        assert engine.http.delete(f"/volumes/{name}").status == 204


def test_directories_are_volumes(fresh):
    """What lies in volumes/ when the daemon starts is a volume, with the options in its file."""
    engine = fresh()
    engine.http.post("/volumes/create", body={"Name": "lost", "Labels": {"a": "b"}})
    engine.stop()
    for name, opts in (("plain", None), ("mounted", {"MountType": "tmpfs", "MountOpts": "size=1m", "MountDevice": "tmpfs", "Quota": {"Size": 0}})):
        (engine.data / f"volumes/{name}/_data").mkdir(parents=True)
        if opts:
            (engine.data / f"volumes/{name}/opts.json").write_text(json.dumps(opts))
    (engine.data / "volumes/plain/_data/f").write_text("found\n")
    if not IS_DOCKERD:
        (engine.data / "volumes/.hidden").mkdir()
        (engine.data / "volumes/broken/_data").mkdir(parents=True)
        (engine.data / "volumes/broken/opts.json").write_text('{"MountType": 5}')
    engine.start()
    boxes = Boxes(engine)
    by = {v["Name"]: v for v in engine.http.get("/volumes").json["Volumes"]}
    assert {"plain", "mounted", "lost"} == set(by) and by["plain"]["Labels"] is None and not by["plain"]["Options"]
    assert boxes.run("cat /v/f", Host={"Binds": ["plain:/v"]}).out == "found\n"
    assert boxes.run("grep ' /v ' /proc/mounts | cut -d' ' -f3", Host={"Binds": ["mounted:/v"]}).out == "tmpfs\n"
    boxes.clean()


@pytest.mark.caisson
def test_directories_that_are_gone(fresh):
    """Somebody deleted them: the row goes, unless a container needs its volume."""
    import shutil
    engine = fresh()
    boxes = Boxes(engine)
    for name in ("unused", "used"):
        engine.http.post("/volumes/create", body={"Name": name})
    b = boxes.create("echo works > /v/f; cat /v/f", Host={"Binds": ["used:/v"]})
    engine.kill()
    for name in ("unused", "used"):
        shutil.rmtree(engine.data / "volumes" / name)
    engine.start()
    assert [v["Name"] for v in engine.http.get("/volumes").json["Volumes"]] == ["used"]
    b.start().wait()
    assert b.out == "works\n"
    log = engine.log.read_text()
    assert "unused" in log and "forgotten" in log and "made again, empty" in log
    shutil.rmtree(engine.data / "volumes" / "used")     # and while it runs
    b.start().wait()
    assert b.out == "works\nworks\n"
    boxes.clean()


@pytest.mark.caisson
@pytest.mark.host_mounts
def test_what_somebody_mounted_inside_is_not_deleted(engine, http, boxes, tmp_path):
    (tmp_path / "precious").write_text("x")
    http.post("/volumes/create", body={"Name": "foreign"})
    inside = engine.data / "volumes/foreign/_data/inside"
    inside.mkdir()
    subprocess.run(["mount", "--bind", str(tmp_path), str(inside)], check=True)
    try:
        http.delete("/volumes/foreign")
        boxes.run("true")
    finally:
        left = [l.split()[4] for l in Path("/proc/self/mountinfo").read_text().splitlines() if l.split()[4].endswith("/inside")]
        for m in left:
            subprocess.run(["umount", m], check=True)
    assert (tmp_path / "precious").exists()
