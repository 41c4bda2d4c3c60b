# SPDX-License-Identifier: Apache-2.0
"""Names that mean an index: which platforms are here, which one is taken, what goes with the name, and what is passed on."""
import json
import os
import shutil
import sqlite3
import subprocess
import urllib.request

import pytest

import images
import imagetar as it
import rootfs
from caisson_fixture import wait_for
from images import busybox, files, pull, push
from registry import Fake, Lie, Registry, Status, digest

pytestmark = pytest.mark.caisson
HOST = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
OTHER = {"amd64": "arm64", "arm64": "amd64"}[HOST]
TAR = {"Content-Type": "application/x-tar"}
NAME = "t/multi:1"


def p(arch, os_="linux"):
    return json.dumps({"os": os_, "architecture": arch})


def unique():
    return files(x=os.urandom(8).hex())


class Multi:
    """A layout with an index for three platforms, an attestation, and one of another system."""

    def __init__(self, name=NAME, archs=("amd64", "arm64", "s390x")):
        self.layout, self.label = it.Layout(), os.urandom(4).hex()
        base = rootfs.busybox().bytes()
        self.layers = {a: it.layer("arch", a + os.urandom(4).hex()) for a in archs}
        self.confs = {a: it.config(base, self.layers[a], arch=a, config={"Cmd": ["cat", "/arch"], "Labels": {"test": self.label}}, history=[{"created_by": "a"}, {"created_by": "b"}]) for a in archs}
        self.manifests = {a: it.platform(self.layout.image(base, self.layers[a], conf=self.confs[a]), "linux", a) for a in archs}
        windows = it.platform(self.layout.image(it.layer("dll"), conf=it.config(it.layer("dll"), os="windows")), "windows", "amd64")
        note = self.layout.image(b'{"_type":"https://in-toto.io/Statement/v0.1"}', conf=b"{}", media="json")
        self.note = {**it.platform(note, "unknown", "unknown"),
                     "annotations": {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": self.manifests[archs[0]]["digest"]}}
        self.index = self.layout.index(*self.manifests.values(), windows, self.note)
        self.ids = {a: it.sha(c) for a, c in self.confs.items()}
        self.bytes = self.layout.add(self.index, "docker.io/" + name).bytes()
        self.all = {d[7:] for d in self.layout.blobs}


def load(engine, data, **query):
    a = engine.http.post("/images/load", query, body=data, headers=TAR, rec=False)
    lines = [json.loads(x) for x in a.body.decode().splitlines() if x.strip()]
    assert a.status == 200 and not [x for x in lines if "error" in x], a
    return lines


def stored(engine):
    wait_for(lambda: not any(n.startswith("gone-") for n in os.listdir(engine.data / "tmp")), what="what was removed before is deleted")
    return {sub: sorted(os.listdir(engine.data / sub)) for sub in ("content/blobs/sha256", "layers", "tmp")}


def blobs(engine):
    return set(os.listdir(engine.data / "content/blobs/sha256"))


def inspect(engine, ref, **query):
    return engine.http.get(f"/images/{ref}/json", query)


def manifests(engine, ref):
    return {m["ImageData"]["Platform"]["architecture"] + m["ImageData"]["Platform"]["os"]: m for m in inspect(engine, ref, manifests=1).json["Manifests"]
            if m["Kind"] == "image"}


@pytest.fixture(autouse=True)
def clean(engine):
    engine.http.post("/images/prune", rec=False)       # what others left: tests here prune, too, and count what is there
    before, store = {i["Id"] for i in engine.http.get("/images/json", {"all": 1}, rec=False).json}, stored(engine)
    yield
    for c in engine.http.get("/containers/json", {"all": 1}, rec=False).json:
        if c["Image"].startswith("t/") or "/app" in c["Image"]:
            engine.http.delete(f"/containers/{c['Id']}", {"force": 1, "v": 1})
    for _ in range(3):
        for i in engine.http.get("/images/json", {"all": 1}, rec=False).json:
            if i["Id"] not in before:
                engine.http.delete("/images/" + i["Id"], {"force": 1}, rec=False)
    wait_for(lambda: stored(engine) == store, what="nothing is left")     # of any of these tests


# ---- load ----

def test_load_keeps_all_platforms(engine):
    m = Multi()
    assert load(engine, m.bytes) == [{"stream": "Loaded image: t/multi:1\n"}]
    assert m.all <= blobs(engine)
    i = inspect(engine, NAME).json
    assert i["Id"] == m.ids[HOST] and i["Descriptor"] == {k: m.index[k] for k in ("mediaType", "digest", "size")}
    listed = [x for x in engine.http.get("/images/json", {"all": 1, "manifests": 1}).json if x["Id"] in m.ids.values()]
    assert [x["Id"] for x in listed] == [m.ids[HOST]] and listed[0]["Descriptor"]["digest"] == m.index["digest"]
    found = {x["ID"]: x for x in listed[0]["Manifests"]}
    assert list(found) == [d["digest"] for d in json.loads(m.layout.blobs[m.index["digest"]])["manifests"]]
    for arch, d in m.manifests.items():
        x = found[d["digest"]]
        assert x["Available"] and x["Kind"] == "image" and x["Descriptor"] == d and x["ImageData"]["Platform"]["architecture"] == arch
        assert x["Size"]["Total"] == x["Size"]["Content"] + x["ImageData"]["Size"]["Unpacked"] and x["ImageData"]["Size"]["Unpacked"] > 0
    note = found[m.note["digest"]]
    assert note["Kind"] == "attestation" and note["AttestationData"] == {"For": m.note["annotations"]["vnd.docker.reference.digest"]}
    one = inspect(engine, m.ids[HOST]).json["Size"]
    assert one < listed[0]["Size"] < 3 * one       # what they share is counted once
    df = engine.http.get("/system/df", {"type": "image"}, version="1.48").json
    seen = [x for x in df["Images"] if x["Id"] in m.ids.values()]
    assert [x["Size"] for x in seen] == [listed[0]["Size"]]


def test_load_of_one_platform(engine):
    m = Multi()
    load(engine, m.bytes, platform=p("s390x"))
    assert inspect(engine, NAME).json["Id"] == m.ids["s390x"]
    assert {a: x["Available"] for a, x in manifests(engine, NAME).items()} == {"amd64linux": False, "arm64linux": False, "s390xlinux": True, "amd64windows": True}
    load(engine, m.bytes, platform=p(HOST))         # the other joins it
    assert inspect(engine, NAME).json["Id"] == m.ids[HOST]
    assert inspect(engine, NAME, platform=p("s390x")).json["Id"] == m.ids["s390x"]
    a = inspect(engine, NAME, platform=p(OTHER))
    assert a.status == 404 and a.message == f"image with reference t/multi:1 was found but does not provide the specified platform (linux/{OTHER})"


def test_platform_of_a_request(engine):
    m = Multi()
    load(engine, m.bytes)
    for arch, ident in m.ids.items():
        i = inspect(engine, NAME, platform=p(arch)).json
        assert i["Id"] == ident and i["Architecture"] == arch and i["Descriptor"]["digest"] == m.manifests[arch]["digest"]
        assert engine.http.get(f"/images/{NAME}/history", {"platform": p(arch)}).json[0]["Id"] == ident
    assert inspect(engine, m.index["digest"]).json["Id"] == m.ids[HOST]                 # what lists show is understood
    assert inspect(engine, m.manifests["s390x"]["digest"][7:19]).json["Id"] == m.ids["s390x"]


def test_containers_of_platforms(engine):
    m = Multi()
    load(engine, m.bytes)
    made = {}
    for arch in (HOST, "s390x"):
        a = engine.http.post("/containers/create", {"platform": "linux/" + arch}, body={"Image": NAME})
        assert a.status == 201, a
        made[arch] = a.json["Id"]
        assert engine.http.get(f"/containers/{a.json['Id']}/json").json["Image"] == m.ids[arch]
    assert engine.http.get(f"/containers/{made['s390x']}/archive", {"path": "/arch"}).status == 200
    rows = {c["Id"]: c for c in engine.http.get("/containers/json", {"all": 1, "filters": json.dumps({"ancestor": [NAME]})}).json}
    assert {rows[c]["Image"] for c in made.values()} == {NAME}
    assert manifests(engine, NAME)["s390xlinux"]["ImageData"]["Containers"] == [made["s390x"]]
    for arch, c in made.items():        # the manifest that it was made of, as the index has it
        assert engine.http.get(f"/containers/{c}/json").json["ImageManifestDescriptor"] == m.manifests[arch]
        assert rows[c]["ImageManifestDescriptor"] == m.manifests[arch]
        assert "ImageManifestDescriptor" not in engine.http.get(f"/containers/{c}/json", version="1.47").json
    engine.http.delete(f"/containers/{made[HOST]}")
    # the container of another platform holds the name, and its platform
    a = engine.http.delete(f"/images/{NAME}")
    assert a.status == 409 and "is using its referenced image" in a.message
    assert engine.http.delete(f"/images/{NAME}", {"platforms": p("s390x")}).status == 409
    engine.http.post("/images/prune", {"filters": json.dumps({"dangling": ["false"], "label": ["none-such"]})})
    assert engine.http.delete(f"/images/{NAME}", {"platforms": p(OTHER)}).status == 200
    assert engine.http.delete(f"/containers/{made['s390x']}").status == 204


# ---- rmi and prune ----

def test_platforms_are_removed_one_by_one(engine):
    m = Multi()
    load(engine, m.bytes)
    a = engine.http.delete(f"/images/{NAME}", {"platforms": p(HOST)})
    assert a.status == 200 and a.json[0] == {"Deleted": m.ids[HOST]} and not [x for x in a.json if "Untagged" in x]
    assert not manifests(engine, NAME)[HOST + "linux"]["Available"] and m.manifests[HOST]["digest"][7:] not in blobs(engine)
    assert inspect(engine, NAME).json["Id"] in (m.ids[OTHER], m.ids["s390x"])           # the name leads to what is left
    assert engine.http.delete(f"/images/{NAME}", {"platforms": p(HOST)}).status == 404
    a = engine.http.delete(f"/images/{NAME}", {"platforms": [p(OTHER), p("s390x")]})
    assert {"Untagged": NAME} in a.json and {"Deleted": m.ids["s390x"]} in a.json
    assert inspect(engine, NAME).status == 404


def test_all_goes_with_the_last_name(engine):
    m = Multi()
    before = stored(engine)
    load(engine, m.bytes)
    engine.http.post(f"/images/{NAME}/tag", {"repo": "t/multi", "tag": "2"})
    assert engine.http.delete(f"/images/{NAME}").json == [{"Untagged": NAME}]
    assert inspect(engine, "t/multi:2", platform=p("s390x")).json["Id"] == m.ids["s390x"]      # the index has another name
    a = engine.http.delete("/images/t/multi:2").json
    assert {x["Deleted"] for x in a if "Deleted" in x} >= set(m.ids.values())
    wait_for(lambda: stored(engine) == before, what="nothing is left")


def test_prune_takes_no_platform_alone(engine):
    m = Multi()
    load(engine, m.bytes)
    engine.http.post("/images/prune")
    assert all(x["Available"] for x in manifests(engine, NAME).values()) and m.all <= blobs(engine)
    load(engine, Multi().bytes)         # the name moves on
    engine.http.post("/images/prune")
    assert not {d["digest"][7:] for d in m.manifests.values()} & blobs(engine) and m.index["digest"][7:] not in blobs(engine)


def test_prune_all(engine):
    m = Multi()
    before = stored(engine)
    load(engine, m.bytes)
    mine = json.dumps({"dangling": ["false"], "label": [f"test={m.label}"]})
    box = engine.http.post("/containers/create", {"platform": "linux/s390x"}, body={"Image": NAME}).json["Id"]
    assert engine.http.post("/images/prune", {"filters": mine}).json == {"ImagesDeleted": None, "SpaceReclaimed": 0}
    engine.http.delete(f"/containers/{box}")
    size = [x["Size"] for x in engine.http.get("/images/json").json if x["Id"] == m.ids[HOST]][0]
    shared = {x["Id"]: x["SharedSize"] for x in engine.http.get("/images/json", {"shared-size": 1}).json}[m.ids[HOST]]
    a = engine.http.post("/images/prune", {"filters": mine}).json
    assert {x["Deleted"] for x in a["ImagesDeleted"] if "Deleted" in x} >= set(m.ids.values())
    assert size - shared <= a["SpaceReclaimed"] <= size
    wait_for(lambda: stored(engine) == before, what="nothing is left")


# ---- save ----

def test_save_and_load_again(engine):
    m = Multi()
    load(engine, m.bytes)
    a = engine.http.get("/images/get", {"names": [NAME]}, rec=False)
    out = it.read(a.body)
    top = json.loads(out["index.json"])["manifests"]
    assert [x["digest"] for x in top] == [m.index["digest"]] and top[0]["mediaType"] == m.index["mediaType"]
    assert {n[13:] for n in out if n.startswith("blobs/sha256/") and len(n) > 13} == m.all
    docker = json.loads(out["manifest.json"])
    assert len(docker) == 1 and docker[0]["Config"][13:] == m.ids[HOST][7:] and docker[0]["RepoTags"] == [NAME]
    engine.http.delete(f"/images/{NAME}", {"force": 1})
    assert load(engine, a.body) == [{"stream": "Loaded image: t/multi:1\n"}]
    assert inspect(engine, NAME).json["Id"] == m.ids[HOST] and m.all <= blobs(engine)
    assert engine.http.get("/images/get", {"names": [NAME]}, rec=False).body == a.body


def test_save_of_some_platforms(engine):
    m = Multi()
    load(engine, m.bytes)
    out = it.read(engine.http.get("/images/get", {"names": [NAME], "platform": p("s390x")}, rec=False).body)
    assert [x["digest"] for x in json.loads(out["index.json"])["manifests"]] == [m.manifests["s390x"]["digest"]]
    a = engine.http.get("/images/get", {"names": [NAME], "platform": [p("s390x"), p(HOST)]}, rec=False)
    out = it.read(a.body)
    assert [x["digest"] for x in json.loads(out["index.json"])["manifests"]] == [m.index["digest"]]
    assert "blobs/sha256/" + m.manifests[OTHER]["digest"][7:] not in out
    engine.http.delete(f"/images/{NAME}", {"force": 1})
    load(engine, a.body)                # an index of which not everything is there
    assert {k: x["Available"] for k, x in manifests(engine, NAME).items() if k.endswith("linux")} == {HOST + "linux": True, OTHER + "linux": False, "s390xlinux": True}
    a = engine.http.get("/images/get", {"names": [NAME], "platform": p(OTHER)}, rec=False)
    assert a.status == 404 and "does not provide the specified platform" in a.message


@pytest.mark.skipif(not shutil.which("skopeo"), reason="no skopeo")
def test_skopeo_sees_the_index(engine, tmp_path):
    m = Multi()
    load(engine, m.bytes)
    ref = f"oci:{engine.data}/content:docker.io/{NAME}"
    raw = subprocess.run(["skopeo", "inspect", "--raw", ref], capture_output=True, check=True).stdout
    assert digest(raw) == m.index["digest"]
    out = json.loads(subprocess.run(["skopeo", "inspect", ref], capture_output=True, check=True, text=True).stdout)
    assert out["Architecture"] == HOST
    subprocess.run(["skopeo", "copy", "-q", "--all", "--insecure-policy", ref, f"oci-archive:{tmp_path}/all.tar:docker.io/{NAME}"], check=True, capture_output=True)
    engine.http.delete(f"/images/{NAME}", {"force": 1})
    load(engine, (tmp_path / "all.tar").read_bytes())
    assert inspect(engine, NAME, platform=p("s390x")).json["Id"] == m.ids["s390x"]


# ---- registries ----

@pytest.fixture
def remote():
    with Fake() as fake:
        base, entries, fake.ids = busybox(), [], {}
        for arch in ("amd64", "arm64", "s390x"):
            layers = [base, unique()]
            mf = images.manifest(fake, layers, oci=True, conf=images.config(layers, arch=arch))
            fake.ids[arch] = mf["config"]["digest"]
            entries.append((mf, {"os": "linux", "architecture": arch}))
        fake.index = images.index(fake, "app", "1", entries)
        fake.name = f"{fake.host}/app"
        yield fake


def test_pull_adds_a_platform(engine, remote):
    assert "Downloaded newer" in pull(engine.http, remote.name, "1")[-1]["status"]
    assert "Downloaded newer" in pull(engine.http, remote.name, "1", platform="linux/s390x")[-1]["status"]
    i = inspect(engine, remote.name + ":1").json
    assert i["Id"] == remote.ids[HOST] and i["RepoDigests"] == [f"{remote.name}@{remote.index}"] and i["Descriptor"]["digest"] == remote.index
    assert {a: x["Available"] for a, x in manifests(engine, remote.name + ":1").items()} == {HOST + "linux": True, OTHER + "linux": False, "s390xlinux": True}
    before = len(remote.requests)
    for platform in ("linux/s390x", ""):
        assert "up to date" in pull(engine.http, remote.name, "1", **({"platform": platform} if platform else {}))[-1]["status"]
    assert not [r for r in remote.requests[before:] if r["method"] != "HEAD" and "/manifests/" in r["path"]]
    assert [x["Id"] for x in engine.http.get("/images/json", {"all": 1}).json if x["Id"] in remote.ids.values()] == [remote.ids[HOST]]


def test_push(engine, remote):
    with Fake() as other:
        to = f"{other.host}/app"
        pull(engine.http, remote.name, "1")
        engine.http.post(f"/images/{remote.name}:1/tag", {"repo": to, "tag": "x"})
        lines = push(engine.http, to, "x")          # one platform is here: that one, and a note
        assert not lines.error, lines
        note = lines[-1]["aux"]
        assert note["manifestPushedInsteadOfIndex"] and note["originalIndex"]["digest"] == remote.index
        assert note["selectedManifest"]["digest"] == digest(other.manifests["app", "x"][1])
        for arch in ("s390x", OTHER):
            pull(engine.http, remote.name, "1", platform="linux/" + arch)
        lines = push(engine.http, to, "x", platform=p("s390x"))
        assert not lines.error and json.loads(other.manifests["app", "x"][1])["config"]["digest"] == remote.ids["s390x"]
        assert push(engine.http, to, "x", platform=p("riscv64")).error.endswith("was found but does not provide the specified platform (linux/riscv64)")
        lines = push(engine.http, to, "x")          # all of it
        assert not lines.error and lines[-1]["aux"]["Digest"] == remote.index, lines
        assert other.manifests["app", "x"] == remote.manifests["app", "1"]
        for d in json.loads(other.manifests["app", "x"][1])["manifests"]:
            assert other.manifests["app", d["digest"]][1] == remote.manifests["app", d["digest"]][1]
        assert set(remote.blobs) <= set(other.blobs)
        assert f"{to}@{remote.index}" in inspect(engine, f"{to}:x").json["RepoDigests"]


@pytest.fixture
def noted():
    """An index as BuildKit pushes it: two platforms, an attestation of each; the other platform's lies in an index within it."""
    with Fake() as fake:
        fake.own, fake.ids, fake.notes = {}, {}, {}
        for arch in (HOST, OTHER):
            layers = [busybox(), unique()]
            mf = images.manifest(fake, layers, oci=True, conf=images.config(layers, arch=arch))
            fake.ids[arch] = mf["config"]["digest"]
            fake.own[arch] = images.entry(fake, "app", mf, {"os": "linux", "architecture": arch})
            fake.notes[arch] = images.attestation(fake, "app", fake.own[arch], b'{"about":"%s"}' % os.urandom(8).hex().encode())
        doc = lambda *entries, **more: {"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": list(entries), **more}
        fake.inner = images.entry(fake, "app", doc(fake.own[OTHER], fake.notes[OTHER]))
        fake.doc = doc(fake.own[HOST], fake.notes[HOST], fake.inner, annotations={"org.example": "kept"})
        fake.index = fake.manifest("app", "1", fake.doc, images.OCI_INDEX)
        fake.name = f"{fake.host}/app"
        yield fake


def kinds(engine, ref):
    return {m["ID"]: (m["Kind"], m["Available"]) for m in inspect(engine, ref, manifests=1).json["Manifests"]}


def test_pull_of_an_index_in_an_index(engine, noted):
    """OCI lets indexes nest: the platform that stands in the inner one is found, and so is what is said about it."""
    before = stored(engine)
    pull(engine.http, noted.name, "1", platform="linux/" + OTHER)
    assert inspect(engine, noted.name + ":1").json["Id"] == noted.ids[OTHER]
    assert kinds(engine, noted.name + ":1") == {noted.own[HOST]["digest"]: ("image", False), noted.notes[HOST]["digest"]: ("attestation", False),
                                                noted.own[OTHER]["digest"]: ("image", True), noted.notes[OTHER]["digest"]: ("attestation", True)}
    n = len(noted.requests)
    assert "up to date" in pull(engine.http, noted.name, "1", platform="linux/" + OTHER)[-1]["status"]
    assert {r["method"] for r in noted.requests[n:] if "/v2/app" in r["path"]} == {"HEAD"}
    pull(engine.http, noted.name, "1")
    assert {x for _, x in kinds(engine, noted.name + ":1").values()} == {True}
    engine.restart()
    assert {x for _, x in kinds(engine, noted.name + ":1").values()} == {True}
    engine.http.delete(f"/images/{noted.name}:1")
    wait_for(lambda: stored(engine) == before, what="nothing is left")


def test_provenance_comes_along(engine, noted):
    """docker pull of an image that BuildKit built, docker push to another registry: what is said about it is still there."""
    with Fake() as other, Registry() as real:
        for to in (f"{other.host}/app", f"{real.host}/app"):
            pull(engine.http, noted.name, "1")
            engine.http.post(f"/images/{noted.name}:1/tag", {"repo": to, "tag": "x"})
            lines = push(engine.http, to, "x")          # an index of what is here
            assert not lines.error, lines
            assert "2 of 4 manifests" in " ".join(lines.said()), lines
            text = fetch(to, lines[-1]["aux"]["Digest"])
            assert digest(text) == lines[-1]["aux"]["Digest"] and len(text) == lines[-1]["aux"]["Size"]
            assert json.loads(text) == {**noted.doc, "manifests": [noted.own[HOST], noted.notes[HOST]]}
            assert fetch(to, "x") == text
            for d in (noted.own[HOST], noted.notes[HOST]):
                assert digest(fetch(to, d["digest"])) == d["digest"]
            assert f"{to}@{digest(text)}" in inspect(engine, f"{to}:x").json["RepoDigests"]
            engine.http.delete(f"/images/{to}:x")
            engine.http.delete(f"/images/{noted.name}:1")
            pull(engine.http, to, "x")                  # and back
            assert set(kinds(engine, f"{to}:x").values()) == {("image", True), ("attestation", True)}
            engine.http.delete(f"/images/{to}:x")


def fetch(repo, ref):
    host, _, path = repo.partition("/")
    with urllib.request.urlopen(urllib.request.Request(f"http://{host}/v2/{path}/manifests/{ref}", headers={"Accept": images.OCI_INDEX + ", " + images.OCI_MANIFEST})) as r:
        return r.read()


def test_single_platform_with_provenance(engine):
    """What `docker buildx build --push` makes for one machine: the index stays what it is, digest and all."""
    with Fake() as fake, Registry() as real:
        layers = [busybox(), unique()]
        own = images.entry(fake, "app", images.manifest(fake, layers, oci=True, conf=images.config(layers, arch=HOST)), {"os": "linux", "architecture": HOST})
        index = fake.manifest("app", "1", {"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": [own, images.attestation(fake, "app", own)]}, images.OCI_INDEX)
        pull(engine.http, f"{fake.host}/app", "1")
        engine.http.post(f"/images/{fake.host}/app:1/tag", {"repo": f"{real.host}/app", "tag": "1"})
        lines = push(engine.http, f"{real.host}/app", "1")
        assert not lines.error and lines[-1]["aux"]["Digest"] == index, lines
        assert fetch(f"{real.host}/app", "1") == fake.manifests["app", "1"][1]


@pytest.mark.parametrize("fault", [("manifest", Status(404, "MANIFEST_UNKNOWN", times=-1)), ("manifest", Lie(body=b"{}", times=-1)), ("blob", Status(404, "BLOB_UNKNOWN", times=-1)),
                                   ("blob", Lie(body=b'{"other":"bytes, as many"}', times=-1))], ids=["no manifest", "wrong manifest", "no blob", "wrong blob"])
def test_attestation_that_cannot_be_had(engine, noted, fault):
    """It is no part of the image: the pull goes on without it, and nothing of it stays."""
    before = stored(engine)
    kind, what = fault
    note = json.loads(noted.manifests["app", noted.notes[HOST]["digest"]][1])
    noted.fault("GET", "/manifests/" + noted.notes[HOST]["digest"] if kind == "manifest" else "/blobs/" + note["layers"][0]["digest"], what)
    lines = pull(engine.http, noted.name, "1")
    assert "Downloaded" in lines[-1]["status"], lines
    assert kinds(engine, noted.name + ":1")[noted.notes[HOST]["digest"]] == ("attestation", False)
    blobs_of_note = {d["digest"][7:] for d in [note["config"], *note["layers"], noted.notes[HOST]]}
    assert not blobs_of_note & blobs(engine)
    engine.http.delete(f"/images/{noted.name}:1")
    wait_for(lambda: stored(engine) == before, what="nothing is left")


def test_huge_attestation_is_left_out(engine, noted):
    big = {**json.loads(noted.manifests["app", noted.notes[HOST]["digest"]][1])}
    big["layers"] = [{**big["layers"][0], "size": 65 << 20}]
    note = {**images.entry(noted, "app", big, noted.notes[HOST]["platform"]), "annotations": noted.notes[HOST]["annotations"]}
    noted.manifest("app", "2", {**noted.doc, "manifests": [noted.own[HOST], note]}, images.OCI_INDEX)
    lines = pull(engine.http, noted.name, "2")
    assert "Downloaded" in lines[-1]["status"], lines
    assert not noted.count("GET", "/blobs/" + big["layers"][0]["digest"])


def test_push_of_a_part(engine, remote):
    with Fake() as other:
        to = f"{other.host}/app"
        for arch in (OTHER, "s390x"):
            pull(engine.http, remote.name, "1", platform="linux/" + arch)
        engine.http.post(f"/images/{remote.name}:1/tag", {"repo": to, "tag": "x"})
        lines = push(engine.http, to, "x")          # an index of these two
        assert not lines.error and "2 of 3 manifests" in " ".join(lines.said()), lines
        entries = {d["platform"]["architecture"]: d for d in json.loads(remote.manifests["app", "1"][1])["manifests"]}
        mine = json.loads(other.manifests["app", "x"][1])["manifests"]
        assert mine == [d for a, d in entries.items() if a != HOST]
        for d in mine:
            assert other.manifests["app", d["digest"]] == remote.manifests["app", d["digest"]]
        assert ("app", entries[HOST]["digest"]) not in other.manifests
        assert inspect(engine, f"{to}:x").json["Descriptor"]["digest"] == remote.index       # here the name means what it meant
        pull(engine.http, remote.name, "1")
        # what the other registry has is a name of its own for these two
        assert engine.http.delete(f"/images/{remote.name}:1", {"platforms": [p("s390x"), p(OTHER)], "force": 1}).status == 200
        lines = push(engine.http, to, "x")          # the only one
        assert not lines.error and json.loads(other.manifests["app", "x"][1])["config"]["digest"] == remote.ids[HOST]


@pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")
@pytest.mark.new_docker
def test_docker_command(engine, remote):
    engine.cli("pull", "-q", f"{remote.name}:1", check=True)
    engine.cli("pull", "-q", "--platform", "linux/s390x", f"{remote.name}:1", check=True)
    tree = engine.cli("image", "ls", "--tree", check=True).stdout
    assert f"linux/{HOST}" in tree and "linux/s390x" in tree, tree
    out = engine.cli("image", "inspect", "--platform", "linux/s390x", "--format", "{{.Architecture}}", f"{remote.name}:1", check=True).stdout
    assert out == "s390x\n"
    with Fake() as other:
        engine.cli("tag", f"{remote.name}:1", f"{other.host}/app:1", check=True)
        engine.cli("image", "rm", "--platform", "linux/s390x", f"{remote.name}:1", check=True)
        r = engine.cli("push", f"{other.host}/app:1", check=True)
        assert "Not all multiplatform-content is present and only the available single-platform image was pushed" in r.stdout + r.stderr


# ---- what stays ----

def test_restart_and_older_roots(fresh):
    engine = fresh()
    m = Multi()
    load(engine, m.bytes)
    with Fake() as fake:
        layers = [busybox(), unique()]
        mf = images.manifest(fake, layers, oci=True, conf=images.config(layers, arch=HOST))
        index = images.index(fake, "old", "1", [(mf, {"os": "linux", "architecture": HOST})])
        pull(engine.http, f"{fake.host}/old", "1")
        engine.restart()
        assert m.all <= blobs(engine) and inspect(engine, NAME, platform=p("s390x")).json["Id"] == m.ids["s390x"]
        assert inspect(engine, NAME).json["Id"] == m.ids[HOST]
        checked = engine.http.post("/system/check", rec=False)
        assert checked.status == 200 and checked.json["Problems"] == []
        engine.stop()
        db = sqlite3.connect(engine.data / "caisson.db")       # as an engine leaves it that knows of no indexes
        db.execute("DELETE FROM name_index WHERE name LIKE ?", (f"{fake.host}%",))
        db.execute("UPDATE name_index SET digest=? WHERE name=?", (index, "docker.io/" + NAME))     # not of this image
        db.commit()
        db.close()
        engine.start()
        assert index[7:] in blobs(engine) and inspect(engine, f"{fake.host}/old@{index}").json["Descriptor"]["digest"] == index
        assert inspect(engine, f"{fake.host}/old:1").json["Id"] == mf["config"]["digest"]
        assert inspect(engine, NAME).json["Descriptor"]["digest"] == m.manifests[HOST]["digest"]
        assert len([x for x in engine.http.get("/images/json", {"all": 1}).json if x["Id"] in m.ids.values()]) == 3      # images of their own now


def test_descriptor_of_a_plain_image(engine):
    """Without an index there is a manifest all the same; its platform is the configuration's."""
    c = engine.http.post("/containers/create", body={"Image": "caisson/base"}).json["Id"]
    of_image = inspect(engine, "caisson/base").json
    d = engine.http.get(f"/containers/{c}/json").json["ImageManifestDescriptor"]
    assert d == {**of_image["Descriptor"], "platform": {"architecture": of_image["Architecture"], "os": "linux"}}
    assert engine.http.delete(f"/containers/{c}").status == 204


def test_digests_are_as_good_as_ids(engine, remote):
    """Id, manifest and index mean the image in every call, as far as Docker has it: the classic store knows ids only, containerd's the digest of what was pulled."""
    with Fake() as other:
        alone, _ = images.put(other, "alone", "1", [unique()])
        for name, tag, index in ((remote.name, "1", remote.index), (f"{other.host}/alone", "1", None)):
            pull(engine.http, name, tag)
            image = inspect(engine, f"{name}:{tag}").json
            one = inspect(engine, f"{name}:{tag}", platform=p(HOST)).json["Descriptor"]["digest"]
            digests = [image["Id"], one] + ([index] if index else [])
            for ref in [digests[0][:19]] + digests[1:] + [d[7:19] for d in digests[1:]]:
                assert inspect(engine, ref).json["Id"] == image["Id"], ref
                assert engine.http.get(f"/images/{ref}/history").status == 200, ref
                a = engine.http.post("/containers/create", body={"Image": ref})
                assert a.status == 201 and engine.http.get(f"/containers/{a.json['Id']}/json").json["Image"] == image["Id"], ref
                rows = engine.http.get("/containers/json", {"all": 1, "filters": json.dumps({"ancestor": [ref]})}).json
                assert [c["Id"] for c in rows] == [a.json["Id"]], ref
                a = engine.http.delete(f"/images/{ref}")
                assert a.status == 409 and "is being used by stopped container" in a.message, ref
                engine.http.delete(f"/containers/{rows[0]['Id']}")
                assert engine.http.post(f"/images/{ref}/tag", {"repo": "t/by", "tag": "digest"}).status == 201
                assert inspect(engine, "t/by:digest").json["Descriptor"] == image["Descriptor"], ref
                out = it.read(engine.http.get("/images/get", {"names": [ref]}, rec=False).body)
                assert image["Id"][7:] in out["manifest.json"].decode(), ref
                assert engine.http.delete("/images/t/by:digest").status == 200
            for ref in [d[7:19] for d in digests]:
                assert {"Deleted": image["Id"]} in engine.http.delete(f"/images/{ref}").json, ref
                assert inspect(engine, f"{name}:{tag}").status == 404
                pull(engine.http, name, tag)
            # a digest behind a name is that repository's, and no other's
            for ref in (f"{name}@{index or alone}", f"{name}:{tag}@{index or alone}"):
                assert inspect(engine, ref).json["Id"] == image["Id"], ref
            assert inspect(engine, f"elsewhere/app@{index or alone}").status == 404


def test_rmi_of_one_platform_by_digest(engine, remote):
    """The manifest of a platform that has no name of its own: it goes, and the others stay."""
    pull(engine.http, remote.name, "1")
    pull(engine.http, remote.name, "1", platform="linux/s390x")
    one = inspect(engine, remote.name + ":1", platform=p("s390x")).json["Descriptor"]["digest"]
    a = engine.http.delete(f"/images/{one[7:19]}")
    assert a.status == 200 and a.json[0] == {"Deleted": remote.ids["s390x"]}, a
    assert inspect(engine, remote.name + ":1").json["Id"] == remote.ids[HOST]
    assert inspect(engine, remote.name + ":1", platform=p("s390x")).status == 404
