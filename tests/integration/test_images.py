# SPDX-License-Identifier: Apache-2.0
"""Images: import with changes, list, inspect, history, tag, remove, prune."""
import json
import os

import pytest

import images
import rootfs
from box import IS_DOCKERD, create
from caisson_fixture import wait_for
from registry import Fake


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


@pytest.mark.caisson
def test_list_by_time(http, boxes):
    """Each bound may be given several times, and all of them hold; until excludes the moment itself."""
    b = boxes.create("true")
    made = [http.post("/commit", {"container": b.id, "repo": "t-by-time", "tag": f"v{n}"}).json["Id"] for n in range(5)]
    times = [http.get(f"/images/{i}/json").json["Created"] for i in made]
    try:
        def find(**f):
            return [made.index(i["Id"]) for i in reversed(http.get("/images/json", {"filters": f}).json) if i["Id"] in made]
        assert find(until=times[2:4], since=made[:1]) == [1]
        assert find(before=[made[2], made[3]], reference=["t-by-time"]) == [0, 1] == find(before=[made[3], made[2]], reference=["t-by-time"])
        assert find(since=[made[1], made[2]]) == [3, 4] == find(since=[made[2], made[1]])
    finally:
        for n in range(5):
            http.delete(f"/images/t-by-time:v{n}")


@pytest.mark.caisson
def test_list_by_the_full_name(http, image):
    ref = image()
    name = ref.split(":")[0]
    for pattern in (f"docker.io/library/{name}", f"docker.io/library/{name}:*", f"docker.io/*/{name}", name, ref):
        assert [i["RepoTags"] for i in http.get("/images/json", {"filters": {"reference": [pattern]}}).json] == [[ref]], pattern
    assert http.get("/images/json", {"filters": {"reference": [f"docker.io/other/{name}"]}}).json == []


@pytest.mark.caisson
def test_list_with_identity(http):
    a = http.get("/images/json", {"identity": 1}, version="1.54")
    assert a.status == 400 and a.message == "conflicting options: identity requires manifests=1"
    assert http.get("/images/json", {"identity": 1, "manifests": 1}, version="1.54").status == http.get("/images/json", {"identity": 1}, version="1.53").status == 200


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
    a = http.post(f"/images/{ref}/tag", {"repo": "sha256", "tag": "v1"})
    assert a.status in (400, 500) and a.message == "refusing to create an ambiguous tag using digest algorithm as name"
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


def test_remove_by_id_between_two_restarts(http, boxes, image):
    ref = image()
    b = boxes.start("exit 1", image=ref, Env=["PATH=/bin"], Host={"RestartPolicy": {"Name": "always"}})
    wait_for(lambda: b.state["Restarting"], 30, "between two")
    a = http.delete(f"/images/{http.get(f'/images/{ref}/json').json['Id']}", {"force": 1})
    assert a.status == 409 and "image is being used by running container " + b.id[:12] in a.message
    b.rm()


def test_remove_by_id_while_running(http, boxes, image):
    ref = image()
    b = boxes.sleeper(image=ref, Env=["PATH=/bin"])
    ident = http.get(f"/images/{ref}/json").json["Id"]
    a = http.delete(f"/images/{ident}", {"force": 1})
    assert a.status == 409 and "image is being used by running container " + b.id[:12] in a.message


@pytest.mark.parametrize("again", ["", pytest.param("restarted", marks=pytest.mark.caisson)])
def test_container_lives_on_without_its_image(fresh, again):
    """Its layers stay as long as it does; `docker ps` shows the id, because the name means nothing any more."""
    engine = fresh()
    layers = lambda: set(os.listdir(engine.data / ("overlay2" if IS_DOCKERD else "layers")))  # noqa: E731
    before = layers()
    engine.import_tar(rootfs.busybox().file("unique", "outlived" + again).bytes(), "t-outlived", changes=["ENV PATH=/bin"])
    http = engine.http
    ident = http.get("/images/t-outlived/json").json["Id"]
    b = create(engine, ["sh", "-c", "cat /unique; exec sleep 1000"], image="t-outlived", name="t-outlives")
    cid = b.json["Id"]

    def shown():
        return [c["Image"] for c in http.get("/containers/json", {"all": 1}).json if c["Id"] == cid]
    assert shown() == ["t-outlived"]
    assert http.delete(f"/images/{ident}", {"force": 1}).status == 200
    assert shown() == [ident]
    if again:
        engine.restart()
    assert http.post(f"/containers/{cid}/start").status == 204
    assert http.post(f"/containers/{cid}/restart", {"t": 0}).status == 204
    assert shown() == [ident]
    assert http.get(f"/containers/{cid}/json").json["State"]["Running"]
    assert http.delete(f"/containers/{cid}", {"force": 1}).status == 204
    if not IS_DOCKERD:
        wait_for(lambda: layers() == before, what="its layers gone with it")


def test_name_that_means_another_image_now(http, engine, boxes, image):
    ref = image()
    ident = http.get(f"/images/{ref}/json").json["Id"]
    b = boxes.create("true", image=ref)
    engine.import_tar(rootfs.Tar().file("unique", "newer").bytes(), ref.split(":")[0])
    assert [c["Image"] for c in http.get("/containers/json", {"all": 1}).json if c["Id"] == b.id] == [ident]
    http.delete(f"/containers/{b.id}", {"force": 1})
    http.delete(f"/images/{ident}", {"force": 1})


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


# ---- digests, parents, sizes ----

def test_reference_filter_and_digests(http, engine):
    """Filters look at digest names, too; an image that only has those is dangling to prune, but listed."""
    with Fake() as fake:
        md, ident = images.put(fake, "filt/er", "1", [images.files(x="filter " + fake.host)])
        images.pull(http, f"{fake.host}/filt/er", "1")
        ref = f"{fake.host}/filt/er@{md}"
        find = lambda **f: [i["Id"] for i in http.get("/images/json", {"filters": f}).json]
        assert find(reference=[f"{fake.host}/filt/er"]) == [ident] and find(reference=[f"{fake.host}/*/*:1"]) == [ident]
        assert find(reference=["*/nothing"]) == []
        assert ident not in find(dangling=["true"])
        assert http.delete(f"/images/{ref}").status == 200            # the tag stays
        i = http.get(f"/images/{ident}/json").json
        assert i["RepoTags"] == [f"{fake.host}/filt/er:1"] and i["RepoDigests"] == []
        images.pull(http, f"{fake.host}/filt/er", md)                 # and the digest comes back
        assert http.get(f"/images/{ident}/json").json["RepoDigests"] == [ref]
        http.delete(f"/images/{ident}")
        assert http.get(f"/images/{ident}/json").status == 404


def test_remove_by_id_takes_tag_and_digest(http):
    with Fake() as fake:
        md, ident = images.put(fake, "byid", "1", [images.files(x="by id " + fake.host)])
        images.pull(http, f"{fake.host}/byid", "1")
        gone = http.delete(f"/images/{ident[7:19]}").json
        assert {"Untagged": f"{fake.host}/byid:1"} in gone and {"Untagged": f"{fake.host}/byid@{md}"} in gone and {"Deleted": ident} in gone


def test_two_repositories_must_be_forced(http):
    with Fake() as fake:
        _, ident = images.put(fake, "two", "1", [images.files(x="two " + fake.host)])
        images.pull(http, f"{fake.host}/two", "1")
        http.post(f"/images/{fake.host}/two:1/tag", {"repo": "t-two-other"})
        a = http.delete(f"/images/{ident}")
        assert a.status == 409 and a.message == f"conflict: unable to delete {ident[7:19]} (must be forced) - image is referenced in multiple repositories"
        assert {"Deleted": ident} in http.delete(f"/images/{ident}", {"force": 1}).json


def test_shared_sizes(http):
    with Fake() as fake:
        base, a, b = (images.files(**{n: n * 1000 + fake.host}) for n in "xyz")
        ids = [images.put(fake, "sizes", t, [base, top])[1] for t, top in (("a", a), ("b", b))]
        for t in "ab":
            images.pull(http, f"{fake.host}/sizes", t)
        size = len("x" * 1000 + fake.host)
        listed = {i["Id"]: i for i in http.get("/images/json", {"shared-size": 1}, version="1.42" if not IS_DOCKERD else "1.41").json}
        df = {i["Id"]: i for i in http.get("/system/df", version="1.41").json["Images"]}
        for i in ids:
            assert df[i]["SharedSize"] == size and df[i]["Size"] == 2 * size and df[i]["Containers"] == 0
            if not IS_DOCKERD:
                assert listed[i]["SharedSize"] == size
            http.delete(f"/images/{i}")


@pytest.mark.caisson
def test_parents(http, engine, boxes):
    """What a commit was made from cannot be removed before it, is hidden without a name, and goes with it."""
    first = http.get("/images/caisson-test/rootfs/json").json["Id"]
    c = create(engine, "true").json["Id"]
    one = http.post("/commit", {"container": c, "repo": "t-parent"}).json["Id"]
    d = http.post("/containers/create", body={"Image": "t-parent", "Cmd": ["true"]}).json["Id"]
    two = http.post("/commit", {"container": d, "repo": "t-child"}).json["Id"]
    for x in (c, d):
        http.delete(f"/containers/{x}", {"force": 1})
    assert http.get("/images/t-child/json").json["Parent"] == one and http.get("/images/t-parent/json").json["Parent"] == first
    assert http.delete("/images/t-parent").json == [{"Untagged": "t-parent:latest"}]
    a = http.delete(f"/images/{one}", {"force": 1})
    assert a.status == 409 and a.message.endswith("(cannot be forced) - image has dependent child images"), a
    shown = lambda **q: [i["Id"] for i in http.get("/images/json", q).json]
    assert one not in shown() and one in shown(all=1)
    assert one not in [g.get("Deleted") for g in http.post("/images/prune").json["ImagesDeleted"] or []]
    gone = http.delete("/images/t-child").json
    assert {"Deleted": two} in gone and {"Deleted": one} in gone, gone
    assert http.get(f"/images/{first}/json").status == 200


def test_prune_all_with_parents(http, engine):
    """What a used image was made from loses its name and stays, also in the store; the others go all the same."""
    label = "t-prune-parents"
    first = create(engine, "true", Labels={}).json["Id"]
    parent = http.post("/commit", {"container": first, "repo": "t-pp-parent", "changes": f"LABEL {label}=1"}).json["Id"]
    second = http.post("/containers/create", body={"Image": "t-pp-parent", "Cmd": ["true"]}).json["Id"]
    child = http.post("/commit", {"container": second, "repo": "t-pp-child"}).json["Id"]
    third = http.post("/containers/create", body={"Image": "t-pp-child", "Cmd": ["true"]}).json["Id"]
    other = http.post("/commit", {"container": first, "repo": "t-pp-other", "changes": f"LABEL {label}=2"}).json["Id"]
    for x in (first, second):
        http.delete(f"/containers/{x}", {"force": 1})
    prune = lambda: http.post("/images/prune", {"filters": json.dumps({"dangling": ["false"], "label": [label]})})
    a = prune()
    assert a.status == 200, a
    done = [{k: v for k, v in one.items() if v} for one in a.json["ImagesDeleted"]]      # 20.10 has empty members
    assert {"Untagged": "t-pp-parent:latest"} in done and {"Deleted": other} in done
    assert not {parent, child} & {one.get("Deleted") for one in done}
    assert http.get(f"/images/{parent}/json").json["RepoTags"] == [] and http.get("/images/t-pp-child/json").json["Parent"] == parent
    http.delete(f"/containers/{third}", {"force": 1})
    gone = [one.get("Deleted") for one in prune().json["ImagesDeleted"]]
    assert {parent, child} <= set(gone)


@pytest.mark.caisson        # 20.10 keeps the last of the names, whichever it is
def test_prune_all_takes_further_names_of_an_image_in_use(http, engine):
    """The name that a container was made with stays; made by id: the last one, and one always."""
    label = "t-prune-names"
    prune = lambda: http.post("/images/prune", {"filters": json.dumps({"dangling": ["false"], "label": [label]})}).json
    first = create(engine, "true", Labels={}).json["Id"]
    ident = http.post("/commit", {"container": first, "repo": "t-pn-b", "changes": f"LABEL {label}=1"}).json["Id"]
    http.delete(f"/containers/{first}")
    for repo in ("t-pn-a", "t-pn-c", "example.test/t-pn-d"):
        assert http.post("/images/t-pn-b/tag", {"repo": repo, "tag": "1"}).status == 201
    tags = lambda: http.get(f"/images/{ident}/json").json["RepoTags"]
    box = create(engine, "true", image="t-pn-c:1").json["Id"]
    http.post("/images/prune")
    assert len(tags()) == 4                                 # dangling ones only
    assert prune() == {"ImagesDeleted": [{"Untagged": t} for t in ("t-pn-a:1", "t-pn-b:latest", "example.test/t-pn-d:1")], "SpaceReclaimed": 0}
    assert tags() == ["t-pn-c:1"] and prune()["ImagesDeleted"] is None
    http.delete(f"/containers/{box}")
    box = create(engine, "true", image=ident).json["Id"]
    http.post("/images/t-pn-c:1/tag", {"repo": "t-pn-z"})
    assert prune()["ImagesDeleted"] == [{"Untagged": "t-pn-c:1"}] and tags() == ["t-pn-z:latest"]
    http.delete(f"/containers/{box}")
    assert {"Deleted": ident} in prune()["ImagesDeleted"]


@pytest.mark.caisson
def test_manifests_member(http, image):
    ref = image()
    i = http.get(f"/images/{ref}/json", {"manifests": 1}, version="1.48").json
    m = i["Manifests"][0]
    assert m["Descriptor"] == i["Descriptor"] and m["Available"] and m["Kind"] == "image" and m["ImageData"]["Platform"]["os"] == "linux"
    assert "Manifests" not in http.get(f"/images/{ref}/json", version="1.48").json
    assert "Descriptor" not in http.get(f"/images/{ref}/json", version="1.47").json
    for version, there in (("1.46", False), ("1.47", True)):
        listed = [x for x in http.get("/images/json", {"manifests": 1}, version=version).json if x["Id"] == i["Id"]][0]
        assert ("Manifests" in listed) == there


@pytest.mark.caisson
@pytest.mark.parametrize("platform,fits", [('{"os":"linux","architecture":"arm","variant":"v7"}', True), ('{"os":"linux","architecture":"arm64"}', True),
                                           ('{"os":"linux","architecture":"amd64"}', False), ('{"os":"linux","architecture":"arm","variant":"v6"}', False)])
def test_platform_is_asked_for(http, image, platform, fits):
    """inspect, history and rmi of an image for another platform: nothing is shown, nothing is deleted. 20.10 has none of these."""
    name = "t-platform-asked"
    assert import_raw(http, rootfs.Tar().file("unique", "arm").bytes(), repo=name, platform="linux/arm/v7").status == 200
    words = "was found but its platform (linux/arm/v7) does not match the specified platform (linux/"
    for path in ("json", "history"):
        a = http.get(f"/v1.50/images/{name}/{path}", {"platform": platform})
        assert a.status == (200 if fits else 404) and (fits or words in a.message), a
    a = http.get(f"/v1.50/images/{name}/json", {"platform": platform, "manifests": 1})
    assert a.status == 400 and a.message == "conflicting options: manifests and platform options cannot both be set"
    assert http.get(f"/v1.50/images/{name}/json", {"platform": "{}"}).status == 400
    a = http.delete(f"/v1.50/images/{name}", {"platforms": [platform, '{"os":"linux","architecture":"s390x"}']})
    assert a.status == 404 and http.get(f"/images/{name}/json").status == 200
    a = http.delete(f"/v1.50/images/{name}", {"platforms": [platform, platform]})
    assert a.status == (200 if fits else 404) and (fits or words in a.message), a
    assert http.get(f"/images/{name}/json").status == (404 if fits else 200)
    # older clients' parameter of that name meant nothing
    if not fits:
        assert http.get(f"/v1.47/images/{name}/history", {"platform": platform}).status == 200
        assert http.delete(f"/v1.49/images/{name}", {"platforms": platform}).status == 200


@pytest.mark.caisson    # 20.10 imports for its own architecture, whatever is asked for
@pytest.mark.parametrize("platform,fits", [("linux/arm/v7", True), ("linux/arm", True), ("linux/arm64", True), ("linux/arm/v6", False), ("linux/amd64", False)])
def test_create_for_a_platform(http, image, platform, fits):
    name = "t-platform-create"
    assert import_raw(http, rootfs.Tar().file("unique", "arm").bytes(), repo=name, platform="linux/arm/v7").status == 200
    a = http.post("/containers/create", {"platform": platform}, body={"Image": name, "Cmd": ["x"]})
    assert a.status == (201 if fits else 404), a
    if fits:
        http.delete(f"/containers/{a.json['Id']}")
    http.delete(f"/images/{name}", {"force": 1})


@pytest.mark.parametrize("pattern,good", [("[", False), ("a\\", False), ("x[a-", False), ("[-a]", False), ("[]", False), ("[a]]", True), ("\\[", True), ("[^a-c\\]]", True)])
def test_bad_pattern(http, image, pattern, good):
    image()
    a = http.get("/images/json", {"filters": json.dumps({"reference": [pattern]})})
    assert (a.status, a.json) == (200, []) if good else (a.status, a.message) == (500, "syntax error in pattern")


@pytest.mark.parametrize("what", ["images", "containers"])
def test_prune_until_nonsense(http, what):
    a = http.post(f"/{what}/prune", {"filters": json.dumps({"until": ["nonsense"]})})
    assert a.message == 'failed to parse value as time or duration: "nonsense"'


@pytest.mark.caisson
@pytest.mark.parametrize("asked, got", [("linux/arm64", ("arm64", "")), ("linux/arm/v6", ("arm", "v6")), ("x86_64", ("amd64", "")), ("windows/amd64", None), ("a/b/c/d", None), ("!", None)])
def test_platform_of_an_import(engine, asked, got):
    a = import_raw(engine.http, rootfs.Tar().file("f", "x").bytes(), repo="t-platform", platform=asked)
    if got is None:
        assert a.status == 400, a
        return
    j = engine.http.get("/images/t-platform/json", rec=False).json
    assert (j["Architecture"], j.get("Variant", ""), j["Os"]) == (*got, "linux")
    assert engine.http.delete("/images/t-platform", rec=False).status == 200
