# SPDX-License-Identifier: Apache-2.0
"""What goes into create comes out of inspect."""
import re

import pytest

from box import IS_DOCKERD, create
from caisson_fixture import ROOTFS


def test_identity(boxes, http):
    b = boxes.create("true", name="ident-1")
    assert re.fullmatch("[0-9a-f]{64}", b.id)
    for ref in (b.id, b.id[:12], "ident-1", "/ident-1"):
        a = http.get(f"/containers/{ref}/json" if ref[0] != "/" else f"/containers{ref}/json")
        assert a.status == 200 and a.json["Id"] == b.id
    i = b.inspect()
    assert i["Name"] == "/ident-1" and i["Path"] == "sh" and i["Args"] == ["-c", "true"]
    assert i["State"]["Status"] == "created" and i["State"]["Running"] is False and i["State"]["Pid"] == 0
    assert i["State"]["StartedAt"] == "0001-01-01T00:00:00Z" and i["State"]["FinishedAt"] == "0001-01-01T00:00:00Z"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z", i["Created"])
    assert i["Image"].startswith("sha256:") and i["Config"]["Image"] == ROOTFS
    assert i["Platform"] == "linux" and i["RestartCount"] == 0 and i["ExecIDs"] is None
    assert i["GraphDriver"]["Name"].startswith("overlay")
    assert i["Config"]["Hostname"] == b.id[:12]


def test_generated_name(boxes):
    assert re.fullmatch("/[a-z]+_[a-z]+[0-9]?", boxes.create("true").inspect()["Name"])


CONFIG = {
    "Hostname": "h", "Domainname": "d.example", "User": "app", "AttachStdin": True, "AttachStdout": True, "AttachStderr": True,
    "Tty": True, "OpenStdin": True, "StdinOnce": True, "WorkingDir": "/work/dir", "Labels": {"a": "1", "b": ""},
    "StopSignal": "SIGINT", "StopTimeout": 7, "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"/vol": {}},
    "Entrypoint": ["/bin/sh", "-c"], "Healthcheck": {"Test": ["CMD", "true"], "Interval": 2000000000, "Timeout": 3000000000,
                                                     "Retries": 4, "StartPeriod": 1000000000},
}


@pytest.mark.parametrize("key", sorted(CONFIG))
def test_config_round_trip(boxes, key):
    b = boxes.create(["x"], **{key: CONFIG[key]})
    assert b.inspect()["Config"][key] == CONFIG[key]


def test_env_merges_with_image(boxes):
    env = boxes.create("true", Env=["A=1", "B=two words"]).inspect()["Config"]["Env"]
    assert env == ["A=1", "B=two words", "PATH=/bin"]


def test_cmd_defaults_to_image(boxes):
    i = boxes.create(None).inspect()
    assert i["Config"]["Cmd"] == ["sh"] and i["Path"] == "sh" and i["Args"] == []


HOST = {
    "Binds": ["/tmp:/host:ro"], "AutoRemove": False, "CapAdd": ["NET_ADMIN"], "CapDrop": ["MKNOD"], "Dns": ["1.1.1.1"],
    "DnsSearch": ["example.org"], "DnsOptions": ["ndots:2"], "ExtraHosts": ["a:10.0.0.1"], "GroupAdd": ["audio", "55"],
    "IpcMode": "private", "OomScoreAdj": 100, "PidMode": "host", "Privileged": True, "PublishAllPorts": False,
    "ReadonlyRootfs": True, "SecurityOpt": ["no-new-privileges"], "Tmpfs": {"/t": "size=1m"}, "UTSMode": "host",
    "ShmSize": 1 << 20, "Sysctls": {"net.ipv4.ip_forward": "1"}, "CpuShares": 512, "Memory": 64 << 20,
    "MemoryReservation": 32 << 20, "NanoCpus": 500000000, "CpusetCpus": "0", "PidsLimit": 50, "Init": True,
    "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}], "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
    "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}, "CgroupnsMode": "private",
    "Devices": [{"PathOnHost": "/dev/zero", "PathInContainer": "/dev/z", "CgroupPermissions": "rwm"}],
    "Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/m", "ReadOnly": True}],
    "DeviceCgroupRules": ["c 1:3 rw"], "CpuPeriod": 50000, "CpuQuota": 25000,
}


@pytest.mark.parametrize("key", sorted(HOST))
def test_host_config_round_trip(boxes, key):
    b = boxes.create("true", Host={key: HOST[key]})
    assert b.inspect()["HostConfig"][key] == HOST[key]


def test_host_config_defaults(boxes):
    h = boxes.create("true").inspect()["HostConfig"]
    assert h["ShmSize"] == 64 << 20 and h["LogConfig"]["Type"] == "json-file"
    assert h["RestartPolicy"]["Name"] in ("no", "") and h["RestartPolicy"]["MaximumRetryCount"] == 0
    assert h["NetworkMode"] == "none" and h["IpcMode"] in ("private", "shareable")
    assert "/proc/kcore" in h["MaskedPaths"] and "/proc/sys" in h["ReadonlyPaths"]
    assert h["Runtime"] and h["Isolation"] in ("", "process")


def test_older_clients_have_the_defaults_that_they_know(boxes):
    def made(version, **host):
        return boxes.create("true", version=version, Host=host).inspect()["HostConfig"]
    assert [made(v)["IpcMode"] for v in ("1.39", "1.40")] == ["shareable", "private"]
    assert made("1.39", IpcMode="private")["IpcMode"] == "private"
    assert made("1.41", ConsoleSize=[10, 20])["ConsoleSize"] == [0, 0]
    if not IS_DOCKERD:
        assert made("1.42", ConsoleSize=[10, 20])["ConsoleSize"] == [10, 20]
        assert "Annotations" not in made("1.42", Annotations={"a": "b"}) and made("1.43", Annotations={"a": "b"})["Annotations"] == {"a": "b"}


@pytest.mark.caisson
def test_an_annotation_has_a_name(engine):
    a = create(engine, "true", Host={"Annotations": {"": "a"}})
    assert a.status == 400 and a.message == "invalid Annotations: the empty string is not permitted as an annotation key"


def test_mounts_are_listed(boxes):
    b = boxes.create("true", Volumes={"/anon": {}}, Host={"Binds": ["/usr/share:/b:ro"], "Tmpfs": {"/t": ""}})
    mounts = {m["Destination"]: m for m in b.inspect()["Mounts"]}
    assert mounts["/b"]["Type"] == "bind" and mounts["/b"]["Source"] == "/usr/share" and mounts["/b"]["RW"] is False
    assert mounts["/b"]["Mode"] == "ro" and mounts["/b"]["Propagation"] == "rprivate"
    assert mounts["/anon"]["Type"] == "volume" and mounts["/anon"]["Driver"] == "local"
    assert re.fullmatch("[0-9a-f]{64}", mounts["/anon"]["Name"]) and mounts["/anon"]["RW"] is True
    assert "/t" not in mounts


def test_inspect_size(http, boxes):
    b = boxes.run("echo 0123456789 > /f")
    i = http.get(b.url + "/json", {"size": 1}).json
    assert i["SizeRw"] == 11 and i["SizeRootFs"] > i["SizeRw"]
    assert "SizeRw" not in b.inspect()


def test_name_conflict(boxes, engine):
    b = boxes.create("true", name="taken")
    a = create(engine, "true", name="taken")
    assert a.status == 409
    assert a.message == (f'Conflict. The container name "/taken" is already in use by container "{b.id}". You have to remove '
                         '(or rename) that container to be able to reuse that name.')


def test_paths_exist_after_start(boxes):
    i = boxes.run("true").inspect()
    assert i["LogPath"].endswith(i["Id"] + "-json.log")
    assert i["HostnamePath"] and i["ResolvConfPath"] and i["HostsPath"]
    if not IS_DOCKERD:      # its shim notes the end before the daemon notes the start
        assert i["State"]["StartedAt"] < i["State"]["FinishedAt"]


def test_network_settings(boxes):
    n = boxes.sleeper(network="none").inspect()["NetworkSettings"]
    assert list(n["Networks"]) == ["none"] and n["Ports"] == {} and n["SandboxID"]
    assert list(boxes.create("true", network="host").inspect()["NetworkSettings"]["Networks"]) == ["host"]


# ---- what an older version of the API does not have, its clients did not mean -------------------------------------------------------------------------

def test_clients_of_1_24_remove_themselves(boxes):
    assert boxes.create("true", version="1.24", Host={"AutoRemove": True}).inspect()["HostConfig"]["AutoRemove"] is False
    assert boxes.create("true", version="1.25", Host={"AutoRemove": True}).inspect()["HostConfig"]["AutoRemove"] is True


@pytest.mark.caisson        # newer than 20.10
def test_older_clients_do_not_know(boxes, engine, tmp_path):
    host = {"ConsoleSize": [4, 5], "Annotations": {"a": "b"},
            "Mounts": [{"Type": "bind", "Source": str(tmp_path), "Target": "/m", "BindOptions": {"NonRecursive": True}, "TmpfsOptions": {"SizeBytes": 5}}]}
    check = {"Test": ["CMD", "true"], "StartInterval": 2000000000}
    seen = boxes.create("true", version="1.39", Host=host, Healthcheck=check).inspect()
    assert seen["HostConfig"]["ConsoleSize"] == [0, 0] and "Annotations" not in seen["HostConfig"] and "StartInterval" not in seen["Config"]["Healthcheck"]
    assert seen["HostConfig"]["Mounts"] == [{"Type": "bind", "Source": str(tmp_path), "Target": "/m", "BindOptions": {}}]
    a = create(engine, "true", version="1.42", Host=host)
    assert a.status == 400 and "TmpfsOptions must not be specified" in a.message
    del host["Mounts"][0]["TmpfsOptions"]
    seen = boxes.create("true", version="1.44", Host=host, Healthcheck=check).inspect()
    assert seen["HostConfig"]["ConsoleSize"] == [4, 5] and seen["HostConfig"]["Annotations"] == {"a": "b"} and seen["Config"]["Healthcheck"] == check
    assert seen["HostConfig"]["Mounts"][0]["BindOptions"] == {"NonRecursive": True}


@pytest.mark.caisson
@pytest.mark.parametrize("version,mount,message", [
    ("1.43", {"Type": "bind", "Source": "/tmp", "ReadOnly": True, "BindOptions": {"ReadOnlyForceRecursive": True, "Propagation": "rprivate"}}, "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer"),
    ("1.44", {"Type": "volume", "Source": "v", "VolumeOptions": {"Subpath": "s"}}, "VolumeOptions.Subpath needs API v1.45 or newer")])
def test_what_a_client_relies_on_is_refused(engine, version, mount, message):
    a = create(engine, "true", version=version, Host={"Mounts": [{"Target": "/m", **mount}]})
    assert a.status == 400 and a.message == message


@pytest.mark.caisson
def test_empty_lists_of_bindings(boxes):
    """A free port of the host's; clients since 1.52 are warned."""
    ports = {"80/tcp": [], "81/tcp": None, "82/tcp": [{"HostPort": "7"}]}
    own = [{"HostIp": "", "HostPort": "7"}]
    some = [{"HostIp": "", "HostPort": ""}]
    for version in ("1.51", "1.52", "1.53"):
        b = boxes.create("true", version=version, Host={"PortBindings": ports})
        assert b.inspect()["HostConfig"]["PortBindings"] == {"80/tcp": some, "81/tcp": some, "82/tcp": own}
        assert any("have an empty list of port-bindings: 80/tcp, 81/tcp." in w for w in b.warnings) == (version != "1.51")


def test_label_of_what_cannot_be_labelled(boxes):
    assert boxes.create("true", Host={"Privileged": True, "SecurityOpt": ["no-new-privileges"]}).inspect()["HostConfig"]["SecurityOpt"] == ["no-new-privileges", "label=disable"]
    assert boxes.create("true", Host={"PidMode": "host", "SecurityOpt": ["label=disable"]}).inspect()["HostConfig"]["SecurityOpt"] == ["label=disable"]


@pytest.mark.parametrize("size,shown", [([1], [1, 0]), ([1, 2, 3], [1, 2])])
def test_console_size_is_two_numbers(boxes, size, shown):
    assert boxes.create("true", Host={"ConsoleSize": size}).inspect()["HostConfig"]["ConsoleSize"] == shown


def test_nothing_is_null(boxes):
    i = boxes.create("true", Volumes={}, Host={"Links": []}).inspect()
    assert i["Config"]["Volumes"] is None and i["HostConfig"]["Links"] is None
