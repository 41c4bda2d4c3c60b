# SPDX-License-Identifier: Apache-2.0
"""Images: import with changes, list, inspect, history, tag, remove, prune."""
import json

import pytest

import rootfs
from box import IS_DOCKERD, create


def import_raw(http, data, **query):
    return http.post("/images/create", {"fromSrc": "-", **query}, body=data, headers={"Content-Type": "application/x-tar"}, rec=False)


@pytest.fixture
def image(engine, request):
    """A small image with a tag of its own, gone after the test."""
    name = "t-" + request.node.name.split("[")[0].lower().replace("_", "-")
    made = []

    def make(changes=(), tar=None, tag="latest"):
        data = (tar or rootfs.busybox().file("unique", name + str(len(made)))).bytes()
        engine.import_tar(data, name, tag, changes)
        made.append(f"{name}:{tag}")
        return f"{name}:{tag}"
    yield make
    for m in made:
        engine.http.delete(f"/images/{m}", {"force": 1})


CHANGES = [
    ('CMD ["a", "b"]', "Cmd", ["a", "b"]),
    ("CMD echo hi", "Cmd", ["/bin/sh", "-c", "echo hi"]),
    ('ENTRYPOINT ["/bin/echo"]', "Entrypoint", ["/bin/echo"]),
    ("ENV A=1 B=2", "Env", ["A=1", "B=2"]),
    ("ENV A one two", "Env", ["A=one two"]),
    ('ENV Q="a b"', "Env", ["Q=a b"]),
    ("EXPOSE 80 53/udp", "ExposedPorts", {"80/tcp": {}, "53/udp": {}}),
    ('LABEL a=1 b="two words"', "Labels", {"a": "1", "b": "two words"}),
    pytest.param("STOPSIGNAL SIGINT", "StopSignal", "SIGINT", marks=pytest.mark.caisson),
    ("USER app", "User", "app"),
    ("VOLUME /v /w", "Volumes", {"/v": {}, "/w": {}}),
    ('VOLUME ["/v"]', "Volumes", {"/v": {}}),
    ("WORKDIR /work", "WorkingDir", "/work"),
    ("ONBUILD RUN true", "OnBuild", ["RUN true"]),
    ("HEALTHCHECK --interval=5s --retries=3 CMD true", "Healthcheck", {"Test": ["CMD-SHELL", "true"], "Interval": 5000000000, "Retries": 3}),
    ("HEALTHCHECK NONE", "Healthcheck", {"Test": ["NONE"]}),
]


@pytest.mark.parametrize("change,key,value", CHANGES)
def test_import_change(http, image, change, key, value):
    ref = image([change])
    assert http.get(f"/images/{ref}/json").json["Config"][key] == value


@pytest.mark.parametrize("change", ["NOSUCH x", "RUN true", "EXPOSE x", "ENV", "FROM x"])
def test_import_bad_change(http, change):
    a = import_raw(http, rootfs.Tar().file("x", "y").bytes(), changes=change)
    assert a.status == 400 and a.message, a


def test_import_answers_progress(http):
    a = import_raw(http, rootfs.Tar().file("x", "y").bytes(), repo="t-progress")
    assert a.status == 200 and a.headers["Content-Type"] == "application/json"
    ident = json.loads(a.body.decode().splitlines()[-1])["status"]
    assert ident.startswith("sha256:") and len(ident) == 71
    assert http.get("/images/t-progress/json").json["Id"] == ident
    assert http.delete("/images/t-progress").status == 200


def test_import_garbage(http):
    a = import_raw(http, b"this is no tar at all" * 100)
    assert a.status in (400, 500) or b'"error' in a.body


def test_import_message(http, engine):
    a = import_raw(http, rootfs.Tar().file("x", "z").bytes(), repo="t-message", message="my words")
    assert a.status == 200
    assert http.get("/images/t-message/json").json["Comment"] == "my words"
    http.delete("/images/t-message")


@pytest.mark.parametrize("compress", ["gzip", "bz2", "lzma"])
def test_import_compressed(http, compress):
    import importlib
    data = rootfs.Tar().file("x", compress).bytes()
    module = importlib.import_module(compress)
    a = import_raw(http, module.compress(data), repo="t-z-" + compress)
    assert a.status == 200 and b"sha256:" in a.body, a
    assert http.delete("/images/t-z-" + compress).status == 200


def test_run_uses_image_config(boxes, image):
    ref = image(['ENTRYPOINT ["/bin/sh","-c"]', 'CMD ["pwd; id -u; echo $V"]', "WORKDIR /tmp", "USER app", "ENV V=x PATH=/bin"])
    assert boxes.run(None, image=ref).out == "/tmp\n1000\nx\n"
    assert boxes.run(["echo over"], image=ref).out == "over\n"
    assert boxes.run(["cmd"], image=ref, Entrypoint=["/bin/echo"]).out == "cmd\n"


def test_volume_of_image(boxes, image):
    ref = image(["VOLUME /etc", "ENV PATH=/bin"])
    b = boxes.run("ls /etc", image=ref)
    assert "passwd" in b.out and b.inspect()["Mounts"][0]["Destination"] == "/etc"


def test_files_keep_what_the_tar_says(boxes, image):
    tar = rootfs.busybox().file("own", "x", 0o640, 12, 34).file("setuid", "x", 0o4755).hardlink("linked", "own", 0o640, 12, 34).symlink("sym", "own").fifo("pipe")
    b = boxes.run("stat -c '%a %u %g %h' /own; stat -c %a /setuid; readlink /sym; stat -c %F /pipe", image=image(["ENV PATH=/bin"], tar))
    assert b.out.splitlines() == ["640 12 34 2", "4755", "own", "fifo"], b.err


def test_list(http, image):
    ref = image(["LABEL t=list"])
    got = http.get("/images/json", {"filters": {"reference": [ref]}}).json
    assert len(got) == 1 and got[0]["RepoTags"] == [ref] and got[0]["Id"].startswith("sha256:")
    assert got[0]["Size"] > 1 << 20 and got[0]["Created"] > 1500000000 and got[0]["Labels"] == {"t": "list"}
    assert got[0]["Containers"] == -1 and got[0]["SharedSize"] == -1 and got[0]["ParentId"] == ""
    assert len(http.get("/images/json", {"filters": {"label": ["t=list"]}}).json) == 1
    assert http.get("/images/json", {"filters": {"label": ["t=other"]}}).json == []
    assert http.get("/images/json", {"filters": {"nosuch": ["x"]}}).status == 400


def test_inspect(http, image):
    ref = image(['CMD ["x"]'])
    i = http.get(f"/images/{ref}/json").json
    assert i["RepoTags"] == [ref] and i["Os"] == "linux" and i["Architecture"] in ("amd64", "arm64")
    assert i["RootFS"]["Type"] == "layers" and len(i["RootFS"]["Layers"]) == 1 and i["RootFS"]["Layers"][0].startswith("sha256:")
    assert i["Size"] > 0 and i["GraphDriver"]["Name"].startswith("overlay") and i["Config"]["Cmd"] == ["x"]
    short = i["Id"][7:19]
    assert http.get(f"/images/{short}/json").json["Id"] == i["Id"]
    assert http.get(f"/images/{i['Id']}/json").json["Id"] == i["Id"]


def test_history(http, image):
    h = http.get(f"/images/{image()}/history").json
    assert len(h) == 1 and h[0]["Id"].startswith("sha256:") and h[0]["Size"] > 0 and h[0]["Comment"].startswith("Imported from")


def test_tag_and_untag(http, image):
    ref = image()
    assert http.post(f"/images/{ref}/tag", {"repo": "t-other/name", "tag": "v1"}).status == 201
    assert http.get("/images/t-other/name:v1/json").status == 200
    a = http.delete("/images/t-other/name:v1")
    assert a.status == 200 and a.json == [{"Untagged": "t-other/name:v1"}]
    assert http.get(f"/images/{ref}/json").status == 200


def test_remove_last_tag_deletes(http, engine):
    engine.import_tar(rootfs.Tar().file("only", "once").bytes(), "t-last")
    i = http.get("/images/t-last/json").json
    a = http.delete("/images/t-last")
    assert {"Untagged": "t-last:latest"} in a.json and {"Deleted": i["Id"]} in a.json
    assert http.get("/images/t-last/json").status == 404


@pytest.mark.parametrize("repo", ["UPPER", "a//b", "bad name", "a" * 300])
def test_bad_tag(http, image, repo):
    a = http.post(f"/images/{image()}/tag", {"repo": repo})
    assert a.status in (400, 500) and a.message


def test_remove_in_use(http, boxes, image):
    ref = image()
    b = boxes.create("true", image=ref)
    a = http.delete(f"/images/{ref}")
    assert a.status == 409
    assert a.message.startswith(f'conflict: unable to remove repository reference "{ref}" (must force) - container {b.id[:12]} is using its referenced image')


def test_remove_by_id_while_running(http, boxes, image):
    ref = image()
    b = boxes.sleeper(image=ref, Env=["PATH=/bin"])
    ident = http.get(f"/images/{ref}/json").json["Id"]
    a = http.delete(f"/images/{ident}", {"force": 1})
    assert a.status == 409 and "image is being used by running container " + b.id[:12] in a.message


def test_unknown(http, engine):
    a = http.get("/images/nosuch/json")
    assert a.status == 404 and "No such image: nosuch" in a.message
    assert http.delete("/images/nosuch").status == 404
    assert http.post("/images/nosuch/tag", {"repo": "x"}).status == 404
    a = create(engine, "true", image="nosuch:tag")
    assert a.status == 404 and a.message == "No such image: nosuch:tag"


def test_bad_reference(engine):
    a = create(engine, "true", image="UPPER:tag")
    assert a.status == 400 and a.message in ("invalid reference format: repository name must be lowercase",
                                             "invalid reference format: repository name (library/UPPER) must be lowercase")


def test_prune(http, engine):
    engine.import_tar(rootfs.Tar().file("prune", "me").bytes(), "t-prune")
    ident = http.get("/images/t-prune/json").json["Id"]
    engine.import_tar(rootfs.Tar().file("prune", "other").bytes(), "t-prune")     # takes the tag, the first one dangles
    a = http.post("/images/prune")
    assert a.status == 200 and {"Deleted": ident} in a.json["ImagesDeleted"]
    assert http.get(f"/images/{ident}/json").status == 404
    http.delete("/images/t-prune")


def test_image_events(http, engine, events):
    engine.import_tar(rootfs.Tar().file("ev", "1").bytes(), "t-events")
    events.until("import")
    http.post("/images/t-events/tag", {"repo": "t-events2"})
    events.until("tag")
    http.delete("/images/t-events2")
    events.until("untag")
    http.delete("/images/t-events")
    events.until("delete")


def test_base_image(boxes):
    assert boxes.run(["echo", "hi"], image="caisson/base").out == "hi\n"


@pytest.mark.caisson
def test_base_image_greets(boxes, http):
    b = boxes.run(None, image="caisson/base")
    assert b.code == 0 and len(b.out) > 20
    assert "linux" in http.get("/images/caisson/base/json").json["Os"] and not IS_DOCKERD
