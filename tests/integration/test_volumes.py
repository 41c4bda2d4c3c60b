# SPDX-License-Identifier: Apache-2.0
"""Volumes of the local driver: made by name, by a container, in use, removed, pruned. Their options: test_volumes_mounted.py."""
import os
import uuid

import pytest

from box import IS_DOCKERD


@pytest.fixture
def volume(http):
    name = "vol-" + uuid.uuid4().hex[:8]
    a = http.post("/volumes/create", body={"Name": name, "Labels": {"part": "test", "n": name}})
    assert a.status == 201 and a.json["Name"] == name, a
    yield name
    http.delete(f"/volumes/{name}", {"force": 1})


def names(http, **filters):
    import json
    a = http.get("/volumes", {"filters": json.dumps(filters)})
    assert a.status == 200, a
    return {v["Name"] for v in a.json["Volumes"] or []}


def test_inspect(http, volume):
    v = http.get(f"/volumes/{volume}").json
    assert v["Driver"] == "local" and v["Scope"] == "local" and v["Labels"]["part"] == "test" and not v["Options"]
    assert v["Mountpoint"].endswith(f"/volumes/{volume}/_data") and os.path.isdir(v["Mountpoint"])
    assert v["CreatedAt"][10] == "T" and "." not in v["CreatedAt"]


def test_create_again_gives_the_same(http, volume):
    a = http.post("/volumes/create", body={"Name": volume, "Labels": {"other": "1"}})
    assert a.status == 201 and a.json["Labels"]["part"] == "test"


def test_create_without_name(http):
    a = http.post("/volumes/create", body={})
    assert a.status == 201 and len(a.json["Name"]) == 64
    assert http.delete("/volumes/" + a.json["Name"]).status == 204


def test_keeps_data_between_containers(boxes, volume):
    boxes.run("echo kept > /v/f", Host={"Binds": [volume + ":/v"]})
    assert boxes.run("cat /v/f", Host={"Mounts": [{"Type": "volume", "Source": volume, "Target": "/v"}]}).out == "kept\n"


def test_in_use(boxes, http, volume):
    b = boxes.create("true", Host={"Binds": [volume + ":/v"]})
    for force in (0, 1):
        a = http.delete(f"/volumes/{volume}", {"force": force})
        assert a.status == 409 and a.message == f"remove {volume}: volume is in use - [{b.id}]", a
    b.rm()
    assert volume in names(http)    # a named one outlives rm -v
    assert http.delete(f"/volumes/{volume}").status == 204
    assert volume not in names(http)


def test_unknown(http):
    for a in (http.get("/volumes/nosuch"), http.delete("/volumes/nosuch")):
        assert a.status == 404 and a.message == "get nosuch: no such volume", a
    assert http.delete("/volumes/nosuch", {"force": 1}).status == 204


@pytest.mark.parametrize("body,status,message", [
    ({"Name": "a b"}, 400, "includes invalid characters for a local volume name"),
    ({"Name": "../x"}, 400, "includes invalid characters for a local volume name"),
    ({"Name": "x"}, 400, "volume name is too short"),
    ({"Name": "xx", "Driver": "nosuch"}, 404, 'plugin "nosuch" not found'),
])
def test_bad_create(http, body, status, message):
    a = http.post("/volumes/create", body=body)
    assert a.status == status and message in a.message, a


def test_create_again_without_event_and_with_other_options(http, volume):
    a = http.post("/volumes/create", body={"Name": volume, "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}})
    assert a.status == 201 and not a.json["Options"] and a.json["Labels"]["part"] == "test"


@pytest.mark.caisson
def test_cluster_volumes_need_a_swarm(http, volume):
    a = http.put(f"/volumes/{volume}", {"version": 1}, body={}, version="1.42")
    assert a.status == 503 and a.message == "volume update only valid for cluster volumes, but swarm is unavailable"
    a = http.post("/volumes/create", body={"Name": "cluster", "ClusterVolumeSpec": {"Group": "g"}})
    assert a.status == 503 and "not a swarm manager" in a.message


@pytest.mark.caisson
def test_anonymous_label(boxes, http):
    """How newer clients know what prune may take: of the API's own and of a container's."""
    a = http.post("/volumes/create", body={})
    assert a.json["Labels"] == {"com.docker.volume.anonymous": ""}
    b = boxes.create("true", Volumes={"/v": {}})
    name = b.inspect()["Mounts"][0]["Name"]
    assert http.get(f"/volumes/{name}").json["Labels"] == {"com.docker.volume.anonymous": ""}
    b.rm(v=False)
    http.post("/volumes/create", body={"Name": "labelled", "Labels": {"com.docker.volume.anonymous": ""}})
    deleted = http.post("/volumes/prune").json["VolumesDeleted"]
    assert {name, a.json["Name"], "labelled"} <= set(deleted)


def test_list_filters(boxes, http, volume):
    used = http.post("/volumes/create", body={}).json["Name"]
    boxes.create("true", Host={"Binds": [used + ":/v"]})
    assert {volume, used} <= names(http) and names(http, name=[volume]) == {volume} and names(http, label=["n=" + volume]) == {volume}
    assert volume in names(http, dangling=["true"]) and used not in names(http, dangling=["true"])
    assert used in names(http, dangling=["false"]) and volume not in names(http, dangling=["false"])
    assert volume in names(http, driver=["local"]) and volume not in names(http, driver=["other"])


def test_prune(boxes, http, volume):
    import json
    b = boxes.create("true", Host={"Binds": [volume + ":/v"]})
    only = json.dumps({"label": ["n=" + volume], **({} if IS_DOCKERD else {"all": ["true"]})})
    assert volume not in (http.post("/volumes/prune", {"filters": only}).json["VolumesDeleted"] or [])
    b.rm()
    if not IS_DOCKERD:      # newer engines prune only what has no name, unless told otherwise
        assert http.post("/volumes/prune", {"filters": json.dumps({"label": ["n=" + volume]})}).json["VolumesDeleted"] == []
    assert http.post("/volumes/prune", {"filters": only}).json["VolumesDeleted"] == [volume]
    assert volume not in names(http)


def test_events(http, events, volume):
    http.delete(f"/volumes/{volume}")
    e = events.until("destroy", volume)
    assert e["Type"] == "volume" and e["Actor"]["Attributes"]["driver"] == "local"


def test_docker_command(engine):
    assert engine.cli("volume", "create", "cli-vol").stdout == "cli-vol\n"
    assert "cli-vol" in engine.cli("volume", "ls", "-q").stdout.split()
    assert '"cli-vol"' in engine.cli("volume", "inspect", "cli-vol").stdout
    assert engine.cli("volume", "rm", "cli-vol").stdout == "cli-vol\n"


@pytest.mark.parametrize("filters", ['{"bogus":["1"]}', '{"name":["x"]}', '{"dangling":["true"]}'])
def test_prune_filters(http, filters):
    a = http.post("/volumes/prune", {"filters": filters})
    assert a.status == 400 and "nvalid filter" in a.message


def test_prune_before_142_takes_all(http):
    for name in ("old-a", "old-b"):
        http.post("/volumes/create", body={"Name": name, "Labels": {"old": "1"}})
    a = http.post("/volumes/prune", {"filters": '{"label":["old"]}'}, version="1.41")
    assert sorted(a.json["VolumesDeleted"]) == ["old-a", "old-b"] and a.json["SpaceReclaimed"] == 0


def test_prune_reclaims(boxes, http, engine):
    http.post("/volumes/create", body={"Name": "space", "Labels": {"space": "1"}})
    boxes.run("dd if=/dev/zero of=/v/f bs=1000 count=100; ln /v/f /v/g", Host={"Binds": ["space:/v"]}).rm()
    a = http.post("/volumes/prune", {"filters": '{"label":["space"]}'}, version="1.41")
    assert a.json == {"VolumesDeleted": ["space"], "SpaceReclaimed": 100000}
    assert not (engine.data / "volumes" / "space").exists()


def test_remove_with_container(boxes, http):
    """rm -v and --rm take what has no name, and nothing else."""
    for auto in (False, True):
        host = {"Binds": ["keep-named:/n"], "Mounts": [{"Type": "volume", "Target": "/m"}, {"Type": "volume", "Source": "keep-mount", "Target": "/s"}], "AutoRemove": auto}
        b = boxes.create("true", Volumes={"/v": {}}, Host=host)
        anonymous = [m["Name"] for m in b.inspect()["Mounts"] if m["Destination"] in ("/v", "/m")]
        assert len(anonymous) == 2 and set(anonymous) <= names(http)
        if auto:
            w = http.stream("POST", b.url + "/wait", {"condition": "removed"})
            b.start()
            w.read()
            w.connection.close()
        else:
            b.rm()
        assert not set(anonymous) & names(http) and {"keep-named", "keep-mount"} <= names(http)
    b = boxes.create("true", Volumes={"/v": {}})
    left = b.inspect()["Mounts"][0]["Name"]
    b.rm(v=False)
    assert left in names(http)
    for name in (left, "keep-named", "keep-mount"):
        assert http.delete(f"/volumes/{name}").status == 204


def test_df(boxes, http):
    import json
    http.post("/volumes/create", body={"Name": "df-a", "Labels": {"l": "1"}})
    http.post("/volumes/create", body={"Name": "df-b"})
    http.post("/volumes/create", body={"Name": "df-opts", "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}})
    b = boxes.run("echo 12345 > /v/f; ln /v/f /w/g", Host={"Binds": ["df-a:/v", "df-a:/w"]})
    boxes.create("true", Host={"VolumesFrom": [b.id]})
    by = {v["Name"]: v for v in http.get("/system/df", version="1.41").json["Volumes"]}
    assert by["df-a"]["UsageData"] == {"RefCount": 1 if IS_DOCKERD else 2, "Size": 6} and by["df-a"]["Labels"] == {"l": "1"}
    assert by["df-b"]["UsageData"] == {"RefCount": 0, "Size": 0} and "df-opts" not in by
    assert all("UsageData" not in v for v in http.get("/volumes", {"filters": json.dumps({"name": ["df-"]})}).json["Volumes"])
    assert "UsageData" not in http.get("/volumes/df-a").json
    boxes.clean()
    for name in ("df-a", "df-b", "df-opts"):
        assert http.delete(f"/volumes/{name}").status == 204


def test_events_of_a_run(boxes, events):
    b = boxes.create("true", Host={"Binds": ["ev-one:/a", "ev-two:/b:ro"]})
    events.until("create", "ev-one")
    b.start().wait()
    for name, dest, rw in (("ev-one", "/a", "true"), ("ev-two", "/b", "false")):
        assert events.until("mount", name)["Actor"]["Attributes"] == {"driver": "local", "container": b.id, "destination": dest, "propagation": "", "read/write": rw}
        assert events.until("unmount", name)["Actor"]["Attributes"] == {"driver": "local", "container": b.id}
    b.rm()
    b.http.delete("/volumes/ev-one")
    b.http.delete("/volumes/ev-two")
    events.until("destroy", "ev-two")
    assert events.actions("ev-one") == ["create", "mount", "unmount", "destroy"]
    order = [e["Action"] for e in events.seen if e["Actor"]["ID"] in (b.id, "ev-one") and e["Type"] in ("container", "volume") and not e["Action"].startswith("attach")]
    assert order.index("mount") < order.index("start") < order.index("die") < order.index("unmount")


@pytest.mark.timeout(120)
def test_remove_against_create(boxes, http):
    """A container that is being created with a volume keeps it: either the removal comes first, and the container gets a new one, or it is refused."""
    import threading
    from box import Box, create
    stop, wrong = threading.Event(), []

    def remover():
        while not stop.is_set():
            a = http.delete("/volumes/raced", rec=False)
            if a.status not in (204, 404, 409):
                wrong.append(a)
            a = http.post("/volumes/prune", {"filters": '{"label":["no-such"]}'}, rec=False)
            if a.status not in (200, 409):
                wrong.append(a)
    threads = [threading.Thread(target=remover) for _ in range(2)]
    for t in threads:
        t.start()
    try:
        for _ in range(60):
            a = create(boxes.engine, "echo x > /v/f", Host={"Binds": ["raced:/v"]})
            assert a.status == 201, a
            b = Box(boxes.engine, a.json["Id"])
            boxes.made.append(b)
            assert http.get("/volumes/raced").status == 200     # from now on it is in use
            assert http.delete("/volumes/raced").status == 409
            if _ % 10 == 0:
                assert b.start().wait() == 0
            b.rm()
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not wrong
    http.delete("/volumes/raced")
