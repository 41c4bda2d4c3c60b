# SPDX-License-Identifier: Apache-2.0
"""Volumes of the local driver without options: made by name, by a container, in use, removed, pruned."""
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


@pytest.mark.caisson
def test_options_are_refused(http):
    a = http.post("/volumes/create", body={"Name": "with-options", "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}})
    assert a.status == 501 and "options of volume driver local" in a.message
    assert "with-options" not in names(http)


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
        assert not http.post("/volumes/prune", {"filters": json.dumps({"label": ["n=" + volume]})}).json["VolumesDeleted"]
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
