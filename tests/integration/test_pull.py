# SPDX-License-Identifier: Apache-2.0
"""Pull: what it says, what it fetches, what it refuses, and what is left behind afterwards."""
import gzip
import json
import os
import shutil
import subprocess
import threading
import time

import pytest

import images
import rootfs
from box import IS_DOCKERD
from caisson_fixture import wait_for
from registry import Cut, Fake, Fault, Lie, Registry, Stall, Status, digest
from images import Layer, busybox, files, pull, put

HOST = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]

needs_docker = pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")


class Slow(Fault):
    """The body in pieces, with pauses."""

    def __init__(self, pieces=20, pause=0.05, times=-1):
        super().__init__(times)
        self.pieces, self.pause = pieces, pause

    def answer(self, handler, status, headers, body):
        handler.head(status, {**headers, "Content-Length": str(len(body))})
        step = max(1, len(body) // self.pieces)
        for at in range(0, len(body), step):
            handler.wfile.write(body[at:at + step])
            handler.wfile.flush()
            if handler.fake.over.wait(self.pause):
                break


@pytest.fixture
def fake(engine):
    """A registry of our own; what was pulled from it goes afterwards."""
    with Fake() as f:
        yield f
        for i in engine.http.get("/images/json", {"all": 1}).json:
            names = (i["RepoTags"] or []) + (i["RepoDigests"] or [])
            if any(n.startswith(f.host) for n in names) or not [n for n in names if not n.startswith("<none>")]:
                engine.http.delete("/images/" + i["Id"], {"force": 1})


def blobs(engine):
    return set(os.listdir(engine.data / "content/blobs/sha256"))


def store(engine):
    """What is on disk of images."""
    return {"blobs": blobs(engine), "layers": set(os.listdir(engine.data / "layers")), "tmp": set(os.listdir(engine.data / "tmp"))}


def unique(n=1, size=0):
    """Layers that nobody else has."""
    return [files(**{"f%d" % i: os.urandom(8).hex() + "x" * size}) for i in range(n)]


# ---- what it says ----

def test_pull_by_tag(engine, fake, events, boxes):
    top = unique()[0]
    md, ident = put(fake, "a/b", "t1", [busybox(), top])
    name = f"{fake.host}/a/b:t1"
    lines = pull(engine.http, f"{fake.host}/a/b", "t1")
    assert lines.status == 200 and lines.answer.headers["Content-Type"] == "application/json" and not lines.error, lines
    assert lines[0] == {"status": "Pulling from a/b", "id": "t1"}
    short = top.digest[7:19]
    said = lines.said(short)
    assert said[0] == "Pulling fs layer" and said[-1] == "Pull complete" and "Download complete" in said, said
    assert lines[-2:] == [{"status": f"Digest: {md}"}, {"status": f"Status: Downloaded newer image for {name}"}]
    assert all(b"\r\n" == l[-2:] for l in lines.answer.body.splitlines(keepends=True))
    i = engine.http.get(f"/images/{name}/json").json
    assert i["Id"] == ident and i["RepoTags"] == [name] and i["RepoDigests"] == [f"{fake.host}/a/b@{md}"]
    e = events.until("pull", name)
    assert e["Type"] == "image" and e["Actor"]["Attributes"]["name"] == f"{fake.host}/a/b"
    box = boxes.start("cat /f0", Image=name) if hasattr(boxes, "start") else None
    if box:
        assert box.wait() == 0


def test_progress_has_numbers(engine, fake):
    fake.fault("GET", "/blobs/", Slow(pieces=10, pause=0.15))
    layer = Layer(rootfs.Tar().file("big", os.urandom(200000)).bytes())
    fake.faults[-1][1] = __import__("re").compile("/blobs/" + layer.digest)
    put(fake, "slow", "1", [layer])
    lines = pull(engine.http, f"{fake.host}/slow", "1")
    steps = [l for l in lines if l.get("status") == "Downloading"]
    assert len(steps) >= 2, lines
    for s in steps:
        d = s["progressDetail"]
        assert 0 < d["current"] <= d["total"] == len(layer.data)
        assert s["progress"].startswith("[") and "kB" in s["progress"], s
    assert len(steps) <= 20       # ten a second at most


def test_pull_again_is_up_to_date(engine, fake):
    md, _ = put(fake, "again", "1", unique(2))
    pull(engine.http, f"{fake.host}/again", "1")
    before = len(fake.requests)
    lines = pull(engine.http, f"{fake.host}/again", "1")
    assert [l["status"] for l in lines] == ["Pulling from again", f"Digest: {md}", f"Status: Image is up to date for {fake.host}/again:1"]
    asked = fake.requests[before:]
    assert not [r for r in asked if "/blobs/" in r["path"]]
    if not IS_DOCKERD:
        assert not [r for r in asked if r["method"] == "GET" and "/manifests/" in r["path"]], asked


def test_pull_by_digest(engine, fake, boxes):
    md, ident = put(fake, "dig", "x", [busybox()])
    ref = f"{fake.host}/dig@{md}"
    lines = pull(engine.http, f"{fake.host}/dig", md)
    assert lines[0] == {"status": "Pulling from dig", "id": ref}
    assert lines[-1] == {"status": f"Status: Downloaded newer image for {ref}"}
    i = engine.http.get(f"/images/{ref}/json").json
    assert i["Id"] == ident and i["RepoTags"] == [] and i["RepoDigests"] == [ref]
    listed = [x for x in engine.http.get("/images/json", version="1.44" if not IS_DOCKERD else "1.41").json if x["Id"] == ident][0]
    assert listed["RepoDigests"] == [ref] and not listed["RepoTags"]
    a = engine.http.post("/containers/create", body={"Image": ref, "Cmd": ["true"]})
    assert a.status == 201, a
    engine.http.delete("/containers/" + a.json["Id"])
    assert engine.http.post(f"/images/{ref}/tag", {"repo": "t-from-digest"}).status == 201
    gone = engine.http.delete("/images/t-from-digest").json
    assert {"Untagged": "t-from-digest:latest"} in gone and not any("Deleted" in g for g in gone)
    gone = engine.http.delete(f"/images/{ref}").json
    assert {"Untagged": ref} in gone and {"Deleted": ident} in gone


def test_removing_the_last_tag_takes_the_digest_with_it(engine, fake):
    md, ident = put(fake, "lasttag", "1", unique())
    fake.manifests["lasttag", "2"] = fake.manifests["lasttag", "1"]
    for tag in "12":
        pull(engine.http, f"{fake.host}/lasttag", tag)
    name, ref = f"{fake.host}/lasttag", f"{fake.host}/lasttag@{md}"
    assert engine.http.delete(f"/images/{name}:1").json == [{"Untagged": f"{name}:1"}]
    assert engine.http.get(f"/images/{ref}/json").status == 200
    gone = engine.http.delete(f"/images/{name}:2").json
    assert gone[:2] == [{"Untagged": f"{name}:2"}, {"Untagged": ref}] and {"Deleted": ident} in gone
    assert engine.http.get(f"/images/{ref}/json").status == 404


def test_all_tags(engine, fake):
    base = unique()[0]
    ids = {t: put(fake, "many", t, [base, *unique()])[1] for t in ("one", "two", "three")}
    lines = pull(engine.http, f"{fake.host}/many")
    assert lines[-1] == {"status": f"Status: Downloaded newer image for {fake.host}/many"}
    for tag, ident in ids.items():
        assert engine.http.get(f"/images/{fake.host}/many:{tag}/json").json["Id"] == ident
    assert fake.count("GET", "/blobs/" + base.digest) == 1
    assert pull(engine.http, f"{fake.host}/many")[-1] == {"status": f"Status: Image is up to date for {fake.host}/many"}


def test_moved_tag_leaves_the_old_image(engine, fake):
    old, old_id = put(fake, "moves", "1", unique())
    pull(engine.http, f"{fake.host}/moves", "1")
    new, new_id = put(fake, "moves", "1", unique())
    lines = pull(engine.http, f"{fake.host}/moves", "1")
    assert "Downloaded newer image" in lines[-1]["status"]
    was, now = engine.http.get(f"/images/{old_id}/json").json, engine.http.get(f"/images/{fake.host}/moves:1/json").json
    assert was["RepoTags"] == [] and was["RepoDigests"] == [f"{fake.host}/moves@{old}"]
    assert now["Id"] == new_id and now["RepoDigests"] == [f"{fake.host}/moves@{new}"]
    dangling = engine.http.get("/images/json", {"filters": {"dangling": ["true"]}}).json
    assert old_id in [d["Id"] for d in dangling]
    assert {"Deleted": old_id} in engine.http.post("/images/prune").json["ImagesDeleted"]


@pytest.mark.caisson
def test_survives_a_restart(fresh):
    engine = fresh()
    with Fake() as fake:
        md, ident = put(fake, "keep", "1", [busybox(), *unique()])
        pull(engine.http, f"{fake.host}/keep", "1")
        engine.restart()
        i = engine.http.get(f"/images/{fake.host}/keep@{md}/json").json
        assert i["Id"] == ident and i["RepoTags"] == [f"{fake.host}/keep:1"]
        assert pull(engine.http, f"{fake.host}/keep", "1")[-1]["status"].startswith("Status: Image is up to date")


# ---- what it fetches ----

def test_layers_that_are_here_are_not_fetched(engine, fake):
    base, a, b = unique(3)
    put(fake, "share", "a", [base, a])
    put(fake, "share", "b", [base, b])
    pull(engine.http, f"{fake.host}/share", "a")
    lines = pull(engine.http, f"{fake.host}/share", "b")
    assert lines.said(base.digest[7:19]) == ["Already exists"]
    assert fake.count("GET", "/blobs/" + base.digest) == 1


def test_same_layer_twice_in_an_image(engine, fake):
    a, b = unique(2)
    put(fake, "twice", "1", [a, b, a])
    lines = pull(engine.http, f"{fake.host}/twice", "1")
    assert "Downloaded newer image" in lines[-1]["status"], lines
    assert fake.count("GET", "/blobs/" + a.digest) == 1
    assert len(engine.http.get(f"/images/{fake.host}/twice:1/json").json["RootFS"]["Layers"]) == 3


@pytest.mark.caisson
@pytest.mark.parametrize("how", ["zstd", "tar", "gzip"])
def test_compressions(engine, fake, how):
    layer = files(how, oci=True, hello=os.urandom(8).hex())
    _, ident = put(fake, "comp", how, [layer], oci=True)
    lines = pull(engine.http, f"{fake.host}/comp", how)
    assert "Downloaded newer image" in lines[-1]["status"], lines
    assert engine.http.get(f"/images/{ident}/json").json["RootFS"]["Layers"] == [layer.diff]


def test_image_without_layers(engine, fake):
    _, ident = put(fake, "empty", "1", [], conf=images.config([], comment=os.urandom(8).hex()))
    lines = pull(engine.http, f"{fake.host}/empty", "1")
    if not IS_DOCKERD:
        assert "Downloaded newer image" in lines[-1]["status"], lines
        assert engine.http.get(f"/images/{ident}/json").json["Size"] == 0


@pytest.mark.caisson
def test_concurrent_pulls_fetch_once(engine, fake):
    base, a, b = unique(3, size=5000)
    for name, top in (("a", a), ("b", b)):
        put(fake, "conc", name, [base, top])
    fake.fault("GET", "/blobs/" + base.digest, Slow(pieces=10, pause=0.05))
    results = {}

    def go(key, tag):
        results[key] = pull(engine.http, f"{fake.host}/conc", tag)
    threads = [threading.Thread(target=go, args=(i, tag)) for i, tag in enumerate(["a", "b", "a", "a"])]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for r in results.values():
        assert r.status == 200 and not r.error and r[-1]["status"].startswith("Status: "), r
    for layer in (base, a, b):
        assert fake.count("GET", "/blobs/" + layer.digest) == 1


@pytest.mark.caisson
def test_no_more_than_three_at_once(engine, fake):
    seen = {"now": 0, "most": 0}
    lock = threading.Lock()

    class Count(Slow):
        def answer(self, handler, status, headers, body):
            with lock:
                seen["now"] += 1
                seen["most"] = max(seen["most"], seen["now"])
            try:
                super().answer(handler, status, headers, body)
            finally:
                with lock:
                    seen["now"] -= 1
    layers = unique(7)
    put(fake, "limit", "1", layers)
    for l in layers:
        fake.fault("GET", "/blobs/" + l.digest, Count(pieces=3, pause=0.05))
    lines = pull(engine.http, f"{fake.host}/limit", "1")
    assert "Downloaded" in lines[-1]["status"]
    assert seen["most"] == 3
    assert "Waiting" in lines.said()


@pytest.mark.caisson
def test_broken_connection_goes_on_where_it_was(engine, fake):
    layer = Layer(rootfs.Tar().file("data", os.urandom(400000)).bytes())
    put(fake, "cut", "1", [layer])
    fake.fault("GET", "/blobs/" + layer.digest, Cut(after=150000))
    lines = pull(engine.http, f"{fake.host}/cut", "1")
    assert "Downloaded" in lines[-1]["status"], lines
    again = [r for r in fake.requests if layer.digest in r["path"]]
    assert len(again) == 2 and again[1]["headers"].get("range", "").startswith("bytes=")
    assert any(s.startswith("Retrying in ") for s in lines.said()), lines.said()


@pytest.mark.caisson
def test_other_compression_of_a_layer_that_is_here(engine, fake):
    """The layer is not extracted again, but its blob comes, or the image could not be pushed as it was."""
    tar = rootfs.Tar().file("same", os.urandom(8).hex()).bytes()
    one, two = Layer(tar, oci=True), Layer(tar, "zstd", oci=True)
    put(fake, "rec", "1", [one], oci=True)
    put(fake, "rec", "2", [two], oci=True, conf=images.config([two], comment="other"))
    for tag in "12":
        assert not pull(engine.http, f"{fake.host}/rec", tag).error
    assert {one.digest[7:], two.digest[7:]} <= blobs(engine)


# ---- platforms ----

@pytest.fixture
def multi(fake):
    made = {}
    entries = []
    for arch, variant in (("arm", "v6"), ("arm", "v7"), ("arm64", "v8"), ("amd64", ""), ("386", "")):
        layers = unique()
        conf = images.config(layers, arch=arch, **({"variant": variant} if variant else {}))
        m = images.manifest(fake, layers, oci=True, conf=conf)
        p = {"os": "linux", "architecture": arch, **({"variant": variant} if variant else {})}
        entries.append((m, p))
        made[arch + variant] = m["config"]["digest"]
    att = images.manifest(fake, unique(), oci=True)
    entries.append((att, {"os": "unknown", "architecture": "unknown"}))
    made["index"] = images.index(fake, "multi", "1", entries)
    return made


@pytest.mark.parametrize("platform,key", [(None, "amd64"), ("linux/arm64", "arm64v8"), ("linux/arm64/v8", "arm64v8"), ("linux/arm/v7", "armv7"),
                                          ("linux/arm/v6", "armv6"), ("linux/386", "386"),
                                          pytest.param("linux/x86_64", "amd64"), pytest.param("linux/arm/v5", None, marks=pytest.mark.caisson), ("linux/s390x", None)])
def test_platform(engine, fake, multi, platform, key):
    lines = pull(engine.http, f"{fake.host}/multi", "1", **({"platform": platform} if platform else {}))
    if key:
        assert not lines.error, lines
        i = engine.http.get(f"/images/{fake.host}/multi:1/json").json
        assert i["Id"] == multi[key] and i["RepoDigests"] == [f"{fake.host}/multi@{multi['index']}"]
        assert {"status": f"Digest: {multi['index']}"} in lines
    else:
        want = platform
        assert lines.error == f"no matching manifest for {want} in the manifest list entries", lines
        assert engine.http.get(f"/images/{fake.host}/multi:1/json").status == 404


@pytest.mark.caisson
def test_other_platform_replaces(engine, fake, multi):
    name = f"{fake.host}/multi"
    pull(engine.http, name, "1", platform="linux/arm64")
    lines = pull(engine.http, name, "1")
    assert "Downloaded newer" in lines[-1]["status"]
    assert engine.http.get(f"/images/{name}:1/json").json["Id"] == multi["amd64"]
    before = len(fake.requests)
    assert "up to date" in pull(engine.http, name, "1")[-1]["status"]
    assert not [r for r in fake.requests[before:] if "/blobs/" in r["path"]]
    assert multi["index"][7:] in blobs(engine)       # the index itself is kept


def test_single_image_of_another_platform_warns(engine, fake):
    layers = unique()
    put(fake, "single", "1", layers, conf=images.config(layers, arch="s390x"))
    lines = pull(engine.http, f"{fake.host}/single:1", platform="linux/arm64")      # dockerd 20.10 forgets the tag when it is a parameter
    assert lines[-1] == {"status": f"WARNING: image with reference {fake.host}/single:1 was found but does not match the specified platform: "
                                   "wanted linux/arm64, actual: linux/s390x"}, lines
    assert lines[-2]["status"].startswith("Status: Downloaded")


@pytest.mark.parametrize("platform", ["a/b/c/d", "linux/", "!", "linux/am d64"])
def test_bad_platform(engine, fake, platform):
    put(fake, "bp", "1", unique())
    a = engine.http.post("/images/create", {"fromImage": f"{fake.host}/bp", "tag": "1", "platform": platform})
    assert a.status == 400 and platform in a.message, a


# ---- errors ----

def test_errors_before_the_stream_are_statuses(engine, fake):
    put(fake, "here", "1", unique())
    for image, tag, status, text in (("here", "nope", 404, f"manifest for {fake.host}/here:nope not found: manifest unknown: manifest unknown"),
                                     ("no/where", "x", 404, f"manifest for {fake.host}/no/where:x not found: manifest unknown: manifest unknown"),
                                     ("here", "sha256:" + "1" * 64, 404, "not found: manifest unknown"),
                                     ("here", "a b", 400, "invalid tag format"),
                                     ("Here", "x", 400, "must be lowercase")):
        a = engine.http.post("/images/create", {"fromImage": f"{fake.host}/{image}", "tag": tag})
        assert a.status == status and text in a.message, a


def test_nobody_listens(engine):
    a = engine.http.post("/images/create", {"fromImage": "127.0.0.1:9/x", "tag": "1"})
    assert a.status == 500 and "connection refused" in a.message


def damage(fake, kind):
    """An image that is wrong in one way; the text that the error must have."""
    a, b = unique(2)
    m = images.manifest(fake, [a, b])
    if kind == "blob":
        fake.blobs[b.digest] = fake.blobs[b.digest][:-9] + b"x" * 9
        text = b.digest
    elif kind == "diff id":
        m = images.manifest(fake, [a, b], conf=images.config([a, a]))
        text = b.digest
    elif kind == "not a layer":
        junk = b"no gzip at all" * 100
        m["layers"][1].update(digest=fake.blob(junk), size=len(junk))
        text = digest(junk)
    elif kind == "truncated":
        part = b.data[:len(b.data) // 2]
        m["layers"][1].update(digest=fake.blob(part), size=len(part))
        text = digest(part)
    elif kind == "no blob":
        del fake.blobs[b.digest]
        text = "unknown blob"
    elif kind == "config":
        fake.blobs[m["config"]["digest"]] = b"{}".ljust(m["config"]["size"])
        text = m["config"]["digest"]
    elif kind == "layer count":
        m["layers"].pop()
        text = "layers"
    fake.manifest("bad", "1", m)
    return text


def wrong_bytes(layer):
    """What a registry may send instead of a layer, each as long as it should be."""
    size = len(layer.data)
    page = b"<!DOCTYPE html><html><head><title>Sign in to the network</title></head>"
    flipped = bytearray(layer.data)
    flipped[size // 2] ^= 0x40
    return {"a page": page.ljust(size, b"\n"), "a flipped bit": bytes(flipped), "another layer": gzip.compress(rootfs.Tar().file("other", b"x").bytes(), mtime=0).ljust(size, b"\0"),
            "zeros": bytes(size), "a bad tar": gzip.compress(os.urandom(4096), mtime=0).ljust(size, b"\0"), "noise": os.urandom(size),
            "zstd with noise": b"\x28\xb5\x2f\xfd" + os.urandom(size - 4), "xz with noise": b"\xfd7zXZ\0" + os.urandom(size - 6)}


@pytest.mark.caisson
@pytest.mark.parametrize("media", ["gzip", "tar", "zstd"])
def test_wrong_bytes_are_told_by_their_digest(engine, media):
    """Not that the archive is bad: it is not the archive that was asked for."""
    with Fake() as fake:
        layer = Layer(rootfs.Tar().file("data", os.urandom(300000)).bytes(), media, oci=True)
        put(fake, "wrong", "1", [layer], oci=True)
        before = store(engine)
        for what, data in wrong_bytes(layer).items():
            fake.blobs[layer.digest] = data
            error = pull(engine.http, f"{fake.host}/wrong", "1").error
            assert error == f"layer {layer.digest}: digest mismatch: the content is {digest(data)} where {layer.digest} was expected", (what, error)
        wait_for(lambda: store(engine) == before, what="nothing left")
        fake.blobs[layer.digest] = layer.data
        assert not pull(engine.http, f"{fake.host}/wrong", "1").error


@pytest.mark.parametrize("pack", ["xz", "bzip2"])
def test_layer_in_a_compression_that_oci_has_not(engine, fake, pack):
    """dockerd looks at the bytes, not at the media type. They stay what they are: the manifest has their digest."""
    layer = files(x="packed with " + pack)
    layer.data = subprocess.run([pack, "-c"], input=layer.tar, check=True, capture_output=True).stdout
    layer.digest = digest(layer.data)
    put(fake, "odd" + pack, "1", [layer])
    lines = pull(engine.http, f"{fake.host}/odd{pack}", "1")
    assert "Downloaded" in lines[-1]["status"], lines
    assert engine.http.get(f"/images/{fake.host}/odd{pack}:1/json").json["RootFS"]["Layers"] == [layer.diff]
    if not IS_DOCKERD:
        assert layer.digest[7:] in blobs(engine)


@pytest.mark.caisson
@pytest.mark.parametrize("kind", ["blob", "diff id", "not a layer", "truncated", "no blob", "config", "layer count"])
def test_damaged_image_leaves_nothing(fresh, kind):
    engine = fresh(config={"max-download-attempts": 1})
    with Fake() as fake:
        good, _ = put(fake, "good", "1", [busybox()])
        pull(engine.http, f"{fake.host}/good", "1")
        before = store(engine)
        text = damage(fake, kind)
        lines = pull(engine.http, f"{fake.host}/bad", "1")
        assert lines.status == 200 and lines.error and text in lines.error, lines
        assert lines.error.count("layer sha256:") <= 1, lines.error
        assert lines[-1]["errorDetail"]["message"] == lines.error
        wait_for(lambda: store(engine) == before, what=f"nothing left: {store(engine)} against {before}")
        assert engine.http.get(f"/images/{fake.host}/bad:1/json").status == 404
        assert engine.http.get(f"/images/{fake.host}/good:1/json").status == 200


def hostile_manifest(fake, kind):
    m = images.manifest(fake, unique(), oci=True)
    inner = images.manifest(fake, unique(), oci=True)
    linux = {"os": "linux", "architecture": HOST}
    media = images.OCI_MANIFEST
    if kind == "ambiguous":
        m["manifests"] = [{"mediaType": media, "digest": digest(b""), "size": 0}]
        return m, media, "ambiguous"
    if kind == "index as image":
        return {"schemaVersion": 2, "manifests": []}, media, "index where an image"
    if kind == "image as index":
        return {k: v for k, v in m.items() if k != "mediaType"}, images.OCI_INDEX, "image where an index"
    if kind == "contradicting type":
        return m, images.MANIFEST, "the registry says"
    if kind == "nested":
        data = json.dumps({"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": []}).encode()
        fake.manifests["hostile", digest(data)] = (images.OCI_INDEX, data)
        entry = {"mediaType": images.OCI_MANIFEST, "digest": digest(data), "size": len(data), "platform": {"os": "linux", "architecture": "amd64"}}
        return {"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": [entry]}, images.OCI_INDEX, ""
    index = lambda *entries: {"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": list(entries)}
    put_in = lambda m, **more: images.entry(fake, "hostile", m, **more)
    if kind == "an empty index inside":
        return index(put_in(index())), images.OCI_INDEX, "no matching manifest"
    if kind == "index inside missing":
        return index(put_in(m, platform=linux), {"mediaType": images.OCI_INDEX, "digest": digest(b"x"), "size": 1}), images.OCI_INDEX, "index " + digest(b"x")
    if kind == "image as inner index":
        d = {**put_in({k: v for k, v in m.items() if k != "mediaType"} | {"mediaType": images.OCI_MANIFEST}), "mediaType": images.OCI_INDEX}
        return index(d), images.OCI_INDEX, d["digest"] + " is an image where an index was announced"
    if kind == "nested deep":
        d = deepest = put_in(index(put_in(m, platform=linux)))
        for _ in range(4):
            d = put_in(index(d))
        return index(d), images.OCI_INDEX, f"index {deepest['digest']} is nested more than 4 deep"
    if kind == "many inside":
        inner = [put_in({**index(), "annotations": {"n": str(i)}}) for i in range(64)]
        return index(*inner), images.OCI_INDEX, f"index {inner[63]['digest']} is one of more than 64 in one index"
    if kind == "many entries":
        d = put_in(m, platform={"os": "linux", "architecture": "other"})
        inner = [put_in({**index(*[d] * 400), "annotations": {"n": str(i)}}) for i in range(3)]
        return index(*inner), images.OCI_INDEX, f"index {inner[2]['digest']}: with it there are more than 1000 entries in one index"
    if kind == "schema 1":
        return {"schemaVersion": 1, "name": "x", "tag": "y", "fsLayers": []}, "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1 support has been removed"
    if kind == "layer type":
        m["layers"][0]["mediaType"] = "application/x-foo"
        return m, media, "application/x-foo"
    if kind == "plugin":
        plugin = "application/vnd.docker.plugin.v1+json"
        m["config"]["mediaType"] = plugin
        return {**m, "mediaType": images.MANIFEST}, images.MANIFEST, f'Encountered remote "{plugin}"(plugin) when fetching'
    if kind == "digest":
        m["layers"][0]["digest"] = "sha256:../../../../etc/passwd"
        return m, media, "unsupported digest"
    if kind == "negative size":
        m["layers"][0]["size"] = -1
        return m, media, "impossible size"
    if kind == "huge size":
        m["layers"][0]["size"] = 1 << 62
        return m, media, "impossible size"
    if kind == "string size":
        m["layers"][0]["size"] = "12"
        return m, media, "impossible size"
    if kind == "many layers":
        m["layers"] = m["layers"] * 1000
        return m, media, "1000 entries"
    if kind == "windows":
        layers = unique()
        return images.manifest(fake, layers, conf=images.config(layers, os="windows"), oci=True), media, 'operating system "windows" cannot be used'
    if kind == "no json":
        return b"\x00\x01" * 50, media, "manifest"
    if kind == "a list":
        return [inner], media, "not an object"
    if kind == "index entry's size":
        data = json.dumps(inner).encode()
        fake.manifests["hostile", digest(data)] = (media, data)
        entry = {"mediaType": media, "digest": digest(data), "size": len(data) + 1, "platform": {"os": "linux", "architecture": "amd64"}}
        return {"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": [entry]}, images.OCI_INDEX, "bytes where its index says"
    raise AssertionError(kind)


@pytest.mark.caisson
@pytest.mark.parametrize("kind", ["ambiguous", "index as image", "image as index", "contradicting type", "nested", "an empty index inside",
                                  "index inside missing", "image as inner index", "nested deep", "many inside", "many entries", "plugin", "schema 1",
                                  "layer type", "digest", "negative size", "huge size", "string size", "many layers", "windows", "no json", "a list",
                                  "index entry's size"])
def test_hostile_manifest(engine, fake, kind):
    """CVE-2021-21285 (one that made the daemon fall over), CVE-2021-41190"""
    body, media, text = hostile_manifest(fake, kind)
    before = store(engine)
    fake.manifest("hostile", "1", body, media)
    lines = pull(engine.http, f"{fake.host}/hostile", "1")
    said = lines.error if lines.status == 200 else lines.answer.message
    assert said and text in said, lines or lines.answer
    assert not fake.count("GET", "passwd")
    wait_for(lambda: store(engine) == before, what="nothing left")


@pytest.mark.caisson
def test_registry_that_answers_another_manifest(engine, fake):
    put(fake, "lie", "1", unique())
    md, _ = put(fake, "lie", "2", unique())
    fake.fault("GET", "/lie/manifests/" + md, Lie(body=fake.manifests["lie", "1"][1], times=-1))
    a = engine.http.post("/images/create", {"fromImage": f"{fake.host}/lie", "tag": md})
    assert a.status >= 400 and md in a.message, a


# ---- going on with a pull that failed ----

KEPT = 131072   # whole blocks of what broken_off lets through

def broken_off(engine, fake, name, after=150000):
    """A pull whose registry closes the connection in the middle of a layer and then has it no more. Returns the layer."""
    layer = Layer(rootfs.Tar().file("data", os.urandom(400000)).bytes())
    put(fake, name, "1", [layer])
    fake.fault("GET", "/blobs/" + layer.digest, Cut(after=after), Status(404, "BLOB_UNKNOWN"))
    assert pull(engine.http, f"{fake.host}/{name}", "1").error
    return layer


def kept(engine):
    return {n: os.stat(engine.data / "partial" / n).st_size for n in os.listdir(engine.data / "partial")}


@pytest.mark.caisson
@pytest.mark.parametrize("restart", [False, True])
def test_the_next_pull_goes_on(fresh, restart):
    engine = fresh()
    with Fake() as fake:
        layer = broken_off(engine, fake, "goon")
        assert kept(engine) == {layer.digest[7:]: KEPT}
        assert layer.digest[7:] not in blobs(engine) and not os.listdir(engine.data / "tmp")
        if restart:
            engine.stop()
            engine.start()
        fake.requests.clear()
        lines = pull(engine.http, f"{fake.host}/goon", "1")
        assert "Downloaded" in lines[-1]["status"], lines
        asked = [r["headers"].get("range") for r in fake.requests if layer.digest in r["path"]]
        assert asked == [f"bytes={KEPT}-"], asked
        assert kept(engine) == {} and (engine.data / "content/blobs/sha256" / layer.digest[7:]).read_bytes() == layer.data


@pytest.mark.caisson
def test_what_is_kept_is_not_believed(fresh):
    engine = fresh()
    with Fake() as fake:
        layer = broken_off(engine, fake, "lie")
        with open(engine.data / "partial" / layer.digest[7:], "r+b") as f:
            f.seek(100000)
            f.write(b"something else")
        fake.requests.clear()
        lines = pull(engine.http, f"{fake.host}/lie", "1")
        assert "Downloaded" in lines[-1]["status"], lines
        asked = [r["headers"].get("range") for r in fake.requests if layer.digest in r["path"]]
        assert asked == [f"bytes={KEPT}-", None], asked
        assert kept(engine) == {} and not os.listdir(engine.data / "tmp")
        # longer than the blob, or no file: as if nothing were there
        for other in (layer.data + b"more", None):
            two = broken_off(engine, fake, "lie2")
            path = engine.data / "partial" / two.digest[7:]
            path.unlink()
            path.write_bytes(other) if other else path.symlink_to("/etc/passwd")
            assert "Downloaded" in pull(engine.http, f"{fake.host}/lie2", "1")[-1]["status"]
            assert kept(engine) == {}


@pytest.mark.caisson
def test_going_on_without_ranges(fresh):
    engine = fresh()
    with Fake(ranges=False) as fake:
        layer = broken_off(engine, fake, "whole")
        assert "Downloaded" in pull(engine.http, f"{fake.host}/whole", "1")[-1]["status"]
        assert (engine.data / "content/blobs/sha256" / layer.digest[7:]).read_bytes() == layer.data


@pytest.mark.caisson
def test_what_is_kept_goes_again(fresh):
    """A week after, with a prune, and never for what was wrong in itself."""
    engine = fresh()
    with Fake() as fake:
        layer = broken_off(engine, fake, "old")
        assert engine.http.post("/images/prune").json["SpaceReclaimed"] == KEPT and kept(engine) == {}
        layer = broken_off(engine, fake, "old2")
        path = engine.data / "partial" / layer.digest[7:]
        os.utime(path, (time.time() - 6 * 86400,) * 2)
        engine.restart(graceful=True)
        assert kept(engine)
        os.utime(path, (time.time() - 8 * 86400,) * 2)
        engine.restart(graceful=True)
        assert kept(engine) == {}
        bad = Layer(rootfs.Tar().file("data", os.urandom(400000)).bytes())
        put(fake, "bad", "1", [bad])
        fake.blobs[bad.digest] = bad.data[:-1] + b"x"
        assert pull(engine.http, f"{fake.host}/bad", "1").error
        assert kept(engine) == {} and not os.listdir(engine.data / "tmp")


@pytest.mark.caisson
def test_cancelled_pull_goes_on(fresh):
    engine = fresh()
    with Fake() as fake:
        layer = Layer(rootfs.Tar().file("data", os.urandom(400000)).bytes())
        put(fake, "cancel", "1", [layer])
        fake.fault("GET", "/blobs/" + layer.digest, Stall(after=200000))
        r = engine.http.stream("POST", "/images/create", {"fromImage": f"{fake.host}/cancel", "tag": "1"})
        wait_for(lambda: [f for f in os.listdir(engine.data / "tmp") if f.startswith("blob") and os.stat(engine.data / "tmp" / f).st_size >= 131072], what="some of it")
        r.connection.close()
        wait_for(lambda: kept(engine), what="it is kept")
        have = kept(engine)[layer.digest[7:]]
        fake.requests.clear()
        assert "Downloaded" in pull(engine.http, f"{fake.host}/cancel", "1")[-1]["status"]
        assert [r["headers"].get("range") for r in fake.requests if layer.digest in r["path"]] == [f"bytes={have}-"]


# ---- cancel ----

@pytest.mark.caisson
def test_client_leaves(fresh):
    engine = fresh()
    with Fake() as fake:
        layers = unique(2, size=100000)
        put(fake, "leave", "1", layers)
        fake.fault("GET", "/blobs/" + layers[0].digest, Stall(after=10, times=-1))
        before = store(engine)
        r = engine.http.stream("POST", "/images/create", {"fromImage": f"{fake.host}/leave", "tag": "1"})
        assert r.status == 200 and b"Pulling" in r.readline()
        wait_for(lambda: fake.count("GET", "/blobs/" + layers[0].digest), what="the download")
        r.connection.close()
        wait_for(lambda: store(engine) == before, what="all of it gone", timeout=10)


@pytest.mark.caisson
def test_client_leaves_before_the_registry_answers(fresh):
    engine = fresh()
    with Fake() as fake:
        put(fake, "leave", "1", unique())
        fake.fault("GET", "/manifests/1", Stall(times=-1))
        import socket
        s = socket.socket(socket.AF_UNIX)
        s.connect(engine.sock)
        s.sendall(f"POST /images/create?fromImage={fake.host}/leave&tag=1 HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n".encode())
        wait_for(lambda: fake.count("GET", "/manifests/1"), what="the request")
        threads = lambda: len(os.listdir(f"/proc/{engine.proc.pid}/task"))
        busy = threads()
        s.close()
        wait_for(lambda: threads() < busy, what="its threads to end")


@pytest.mark.caisson
def test_one_leaves_the_other_goes_on(engine, fake):
    layer = unique(1, size=50000)[0]
    put(fake, "two", "1", [layer])
    fake.fault("GET", "/blobs/" + layer.digest, Slow(pieces=20, pause=0.06))
    first = engine.http.stream("POST", "/images/create", {"fromImage": f"{fake.host}/two", "tag": "1"})
    assert first.status == 200
    wait_for(lambda: fake.count("GET", "/blobs/" + layer.digest), what="the download")
    result = []
    t = threading.Thread(target=lambda: result.append(pull(engine.http, f"{fake.host}/two", "1")))
    t.start()
    wait_for(lambda: fake.count("GET", "/manifests/1") + fake.count("HEAD", "/manifests/1") >= 2, what="the second pull")
    time.sleep(0.2)
    first.connection.close()
    t.join()
    assert "Downloaded newer image" in result[0][-1]["status"], result
    assert fake.count("GET", "/blobs/" + layer.digest) == 1


@pytest.mark.caisson
def test_prune_takes_nothing_of_a_pull(engine, fake):
    a, b = unique(2, size=20000)
    put(fake, "pr", "1", [a, b])
    fake.fault("GET", "/blobs/" + b.digest, Slow(pieces=20, pause=0.05))
    engine.import_tar(rootfs.Tar().file("x", os.urandom(8)).bytes(), "t-prune-me")
    victim = engine.http.get("/images/t-prune-me/json").json["Id"]
    engine.import_tar(rootfs.Tar().file("x", os.urandom(8)).bytes(), "t-prune-me")
    result = []
    t = threading.Thread(target=lambda: result.append(pull(engine.http, f"{fake.host}/pr", "1")))
    t.start()
    wait_for(lambda: a.digest[7:] in blobs(engine), what="the first layer")
    gone = engine.http.post("/images/prune").json
    assert {"Deleted": victim} in gone["ImagesDeleted"]      # pruning is of use meanwhile
    t.join()
    assert "Downloaded newer image" in result[0][-1]["status"], result
    assert engine.http.get(f"/images/{fake.host}/pr:1/json").status == 200
    engine.http.delete("/images/t-prune-me")


# ---- the store ----

@pytest.mark.caisson
@pytest.mark.skipif(not shutil.which("skopeo"), reason="no skopeo")
def test_content_is_an_image_layout(engine, fake, tmp_path):
    layers = [busybox(), *unique()]
    md, _ = put(fake, "lay/out", "v1", layers, oci=True)
    pull(engine.http, f"{fake.host}/lay/out", "v1")
    index = json.loads((engine.data / "content/index.json").read_text())
    mine = [m for m in index["manifests"] if m["digest"] == md]
    assert len(mine) == 1 and mine[0]["annotations"]["io.containerd.image.name"] == f"{fake.host}/lay/out:v1"
    run = subprocess.run(["skopeo", "inspect", f"oci:{engine.data}/content:{fake.host}/lay/out:v1"], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout)["Digest"] == md
    other, _ = put(fake, "lay/other", "v1", [busybox(), *unique()], oci=True)      # the same tag
    pull(engine.http, f"{fake.host}/lay/other", "v1")
    for repo, want in (("out", md), ("other", other)):
        run = subprocess.run(["skopeo", "inspect", f"oci:{engine.data}/content:{fake.host}/lay/{repo}:v1"], capture_output=True, text=True, check=True)
        assert json.loads(run.stdout)["Digest"] == want
    for m in index["manifests"]:
        assert (engine.data / "content/blobs/sha256" / m["digest"][7:]).stat().st_size == m["size"]


# ---- real clients, real registries ----

@needs_docker
def test_docker_command(engine, fake):
    md, _ = put(fake, "cli", "1", [busybox(), *unique()])
    out = engine.cli("pull", f"{fake.host}/cli:1", check=True).stdout.splitlines()
    assert out[0] == "1: Pulling from cli" and out[-3:] == [f"Digest: {md}", f"Status: Downloaded newer image for {fake.host}/cli:1", f"{fake.host}/cli:1"]
    out = engine.cli("pull", "-q", f"{fake.host}/cli:1", check=True).stdout
    assert out == f"{fake.host}/cli:1\n"
    out = engine.cli("pull", f"{fake.host}/cli:none")
    assert out.returncode == 1 and out.stderr.strip() == f"Error response from daemon: manifest for {fake.host}/cli:none not found: manifest unknown: manifest unknown"
    if not IS_DOCKERD:
        out = engine.cli("run", "--rm", f"{fake.host}/cli@{md}", "echo", "hi", check=True)
        assert out.stdout == "hi\n"
    out = engine.cli("images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}", f"{fake.host}/cli", check=True).stdout
    assert out == f"{fake.host}/cli 1 {md}\n"


def test_docker_py(engine, fake):
    _, ident = put(fake, "py", "1", unique())
    img = engine.client().images.pull(f"{fake.host}/py", "1")
    assert img.id == ident


@pytest.mark.parametrize("token", [False, True])
def test_credentials(engine, token):
    with Registry(htpasswd={"ann": "secret"}, token=token) as reg:
        out = subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", "--dest-creds", "ann:secret", f"docker-archive:{archive(engine)}",
                              f"docker://{reg.host}/private/x:1"], capture_output=True, text=True)
        assert out.returncode == 0, out
        name = f"{reg.host}/private/x"
        for headers in ({}, images.auth_header("ann", "wrong")):
            a = engine.http.post("/images/create", {"fromImage": name, "tag": "1"}, headers=headers)
            assert a.status in (401, 403, 404, 500) and a.message, a
        lines = pull(engine.http, name, "1", headers=images.auth_header("ann", "secret"))
        assert not lines.error and lines.status == 200, lines or lines.answer
        a = engine.http.get(f"/distribution/{name}:1/json", headers=images.auth_header("ann", "secret"))
        assert a.status == 200 and a.json["Platforms"] == [{"architecture": "amd64", "os": "linux"}]
        body = {"username": "ann", "password": "secret", "serveraddress": reg.host}
        a = engine.http.post("/auth", body=body)
        assert a.status == 200 and a.json["Status"] == "Login Succeeded", a
        a = engine.http.post("/auth", body={**body, "password": "no"})
        assert a.status in (401, 500) and a.message, a
        engine.http.delete(f"/images/{name}:1")


def archive(engine):
    """A Docker archive of a small image, made once."""
    path = engine.root / "tiny.tar"
    if not path.exists():
        import io
        import tarfile
        layer = files(hello="world")
        conf = images.config([layer])
        with tarfile.open(path, "w") as tar:
            for name, data in (("l.tar", layer.tar), ("c.json", conf), ("manifest.json", json.dumps([{"Config": "c.json", "RepoTags": ["tiny:1"], "Layers": ["l.tar"]}]).encode())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def test_distribution(engine, fake):
    layers = unique()
    md, _ = put(fake, "dist", "1", layers)
    d = engine.http.get(f"/distribution/{fake.host}/dist:1/json").json
    assert d["Descriptor"] == {"mediaType": images.MANIFEST, "digest": md, "size": len(fake.manifests["dist", "1"][1])}
    assert d["Platforms"] == [{"architecture": "amd64", "os": "linux"}]
    assert engine.http.get(f"/distribution/{fake.host}/dist:2/json").status == 404
    a = engine.http.get(f"/distribution/{'0' * 64}/json")
    assert a.status == (500 if IS_DOCKERD else 400) and a.message == "no manifest found for full image ID"


@needs_docker
@pytest.mark.caisson
def test_run_pulls_what_is_missing(engine, fake):
    put(fake, "missing", "1", [busybox(), *unique()])
    out = engine.cli("run", "--rm", f"{fake.host}/missing:1", "echo", "here")
    assert out.returncode == 0 and out.stdout == "here\n" and f"Unable to find image '{fake.host}/missing:1' locally" in out.stderr
    assert f"Status: Downloaded newer image for {fake.host}/missing:1" in out.stderr


@pytest.mark.caisson
@pytest.mark.unsanitized
def test_memory_of_a_pull(fresh):
    """Queues are bounded: what a pull needs does not grow with the image."""
    engine = fresh()
    with Fake() as fake:
        layers = [Layer(rootfs.Tar().file(f"f{i}", os.urandom(12 << 20)).bytes()) for i in range(6)]
        put(fake, "mem", "1", layers)
        assert not pull(engine.http, f"{fake.host}/mem", "1").error
        status = open(f"/proc/{engine.proc.pid}/status").read()
        peak = int(status.split("VmHWM:")[1].split()[0])
        assert peak <= 40 << 10, f"{peak} KiB"


@pytest.mark.caisson
def test_search(engine, fake):
    hits = [{"name": f"n{i}", "description": "d", "star_count": i * 10, "is_official": i == 2, "is_automated": i == 1} for i in range(3)]
    fake.fault("GET", "/v1/search", Lie(status=200, headers={"Content-Type": "application/json"}, body=json.dumps({"query": "x", "num_results": 3, "results": hits}).encode(), times=-1))
    find = lambda **q: engine.http.get("/images/search", {"term": f"{fake.host}/x", **q})
    a = find()
    assert a.status == 200, a
    assert [sorted(h) for h in a.json] == [["description", "is_automated", "is_official", "name", "star_count"]] * 3
    names = lambda **f: [h["name"].rsplit("/", 1)[-1] for h in find(filters=f).json]
    assert names(stars=["10"]) == ["n1", "n2"] and names(**{"is-official": ["true"]}) == ["n2"] and names(**{"is-official": ["false"]}) == ["n0", "n1"]
    assert find(limit=101).status == 400 and find(filters={"stars": ["x"]}).status == 400 and find(filters={"nope": ["x"]}).status == 400


@pytest.mark.caisson
def test_digest_of_another_repository(engine, fake):
    """Content that is here for one repository is no proof that another one has it."""
    md, _ = put(fake, "mine", "1", unique())
    pull(engine.http, f"{fake.host}/mine", "1")
    a = engine.http.post("/images/create", {"fromImage": f"{fake.host}/theirs", "tag": md})
    assert a.status == 404 and "not found" in a.message, a
    assert engine.http.get(f"/images/{fake.host}/theirs@{md}/json").status == 404


@pytest.mark.caisson
@pytest.mark.parametrize("where", ["/manifests/1", "/blobs/"])
def test_daemon_stops_during_a_pull(fresh, where):
    engine = fresh()
    with Fake() as fake:
        put(fake, "stop", "1", unique())
        fake.fault("GET", where, Stall(times=-1))
        import socket
        s = socket.socket(socket.AF_UNIX)
        s.connect(engine.sock)
        s.sendall(f"POST /images/create?fromImage={fake.host}/stop&tag=1 HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n".encode())
        wait_for(lambda: fake.count("GET", where), what="the request")
        start = time.monotonic()
        assert engine.stop(timeout=25) == 0
        took = time.monotonic() - start
        s.close()
        assert took < 15, took
        engine.start()
