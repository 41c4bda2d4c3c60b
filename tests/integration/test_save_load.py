# SPDX-License-Identifier: Apache-2.0
"""docker save and docker load: every format in, one format out, and archives that mean harm."""
import bz2
import gzip
import hashlib
import http.client
import io
import json
import lzma
import os
import platform
import random
import shutil
import socket
import sqlite3
import subprocess
import tarfile
import threading
import urllib.parse

import pytest

import caisson_fixture as fx
import imagetar as it
import rootfs
from box import IS_DOCKERD, Events
from caisson_fixture import wait_for

caisson = pytest.mark.caisson
TAR = {"Content-Type": "application/x-tar"}
A, B = it.layer("a", "layer a"), it.layer("b", "layer b")


class Lines(list):
    def __init__(self, answer):
        super().__init__(json.loads(l) for l in answer.body.decode().splitlines() if l.strip())
        self.status, self.answer = answer.status, answer

    @property
    def error(self):
        return next((l["error"] for l in self if "error" in l), None)

    @property
    def said(self):
        return [l["stream"] for l in self if "stream" in l]


def load(engine, data, **query):
    a = engine.http.post("/images/load", query, body=data, headers=TAR, rec=False)
    return Lines(a)


def loaded(engine, data, **query):
    lines = load(engine, data, **query)
    assert lines.status == 200 and not lines.error, lines.answer
    return lines


def inspect(engine, ref):
    a = engine.http.get(f"/images/{ref}/json")
    return a.json if a.status == 200 else None


def save(engine, *names, **query):
    return engine.http.get("/images/get", {"names": names, **query}, rec=False)


def stored(engine):
    """Everything that an archive could leave behind, and what the API says."""
    found = {}
    if not IS_DOCKERD:
        wait_for(lambda: not any(n.startswith("gone-") for n in os.listdir(engine.data / "tmp")), what="what was removed before is deleted")
        for sub in ("content/blobs/sha256", "layers", "tmp"):
            found[sub] = sorted(os.listdir(engine.data / sub))
    found["images"] = sorted((i["Id"], sorted(i["RepoTags"] or [])) for i in engine.http.get("/images/json", {"all": 1}, rec=False).json)
    return found


@pytest.fixture(autouse=True)
def clean(engine):
    """Images of a test go with it."""
    before = {i["Id"] for i in engine.http.get("/images/json", {"all": 1}, rec=False).json}
    yield
    for _ in range(3):
        for i in engine.http.get("/images/json", {"all": 1}, rec=False).json:
            if i["Id"] not in before:
                engine.http.delete("/images/" + i["Id"], {"force": 1}, rec=False)


# ---- load: formats ----

def test_docker_archive(engine):
    conf = it.config(A, B)
    lines = loaded(engine, it.docker(["t/load:1", "t/load:2"], A, B, conf=conf))
    assert lines.said == ["Loaded image: t/load:1\n", "Loaded image: t/load:2\n"]
    image = inspect(engine, "t/load:1")
    assert image["Id"] == it.sha(conf) and sorted(image["RepoTags"]) == ["t/load:1", "t/load:2"]
    assert image["RootFS"]["Layers"] == [it.sha(A), it.sha(B)]


def test_progress(engine):
    big = it.layer("big", random.Random(1).randbytes(300000))
    lines = loaded(engine, it.docker(["t/progress:1"], big), quiet=0)
    steps = [l for l in lines if l.get("status") == "Loading layer"]
    ident = it.sha(big)[7:19]
    assert steps[0] == {"status": "Loading layer", "progressDetail": {"current": 32768, "total": len(big)},
                        "progress": "[=====>                                             ]  32.77kB/" + f"{len(big) / 1000:.4g}kB", "id": ident}
    assert steps[-1] == {"status": "Loading layer", "progressDetail": {"current": len(big), "total": len(big)}, "id": ident,
                         "progress": "[" + "=" * 50 + ">] " + f"{len(big) / 1000:.4g}kB".rjust(8) + f"/{len(big) / 1000:.4g}kB"}
    assert lines[-1] == {"stream": "Loaded image: t/progress:1\n"}
    assert lines.answer.headers["Content-Type"] == "application/json"
    assert lines.answer.body.endswith(b"\r\n")
    again = loaded(engine, it.docker(["t/progress:1"], big), quiet=0)
    assert again == [{"stream": "Loaded image: t/progress:1\n"}]        # layers that are there are not worth a line


def test_quiet_is_the_default(engine):
    assert loaded(engine, it.docker(["t/quiet:1"], it.layer("q"))) == [{"stream": "Loaded image: t/quiet:1\n"}]


def test_without_name(engine):
    conf, other = it.config(A), it.config(B)
    lines = loaded(engine, it.docker(None, A, conf=conf))
    assert lines.said == [f"Loaded image ID: {it.sha(conf)}\n"]
    two = it.tar(("a.json", conf), ("b.json", other), ("a.tar", A), ("b.tar", B),
                 ("manifest.json", it.manifest_json(("a.json", None, ["a.tar"]), ("b.json", [], ["b.tar"]))))
    assert loaded(engine, two).said == [f"Loaded image ID: {it.sha(conf)}\nLoaded image ID: {it.sha(other)}\n"]


def test_tag_moves(engine):
    old, new = it.config(A, author="old"), it.config(A, author="new")
    loaded(engine, it.docker(["t/moves:1"], A, conf=old))
    lines = loaded(engine, it.docker(["t/moves:1"], A, conf=new))
    assert lines.said == [f"The image t/moves:1 already exists, renaming the old one with ID {it.sha(old)} to empty string\n", "Loaded image: t/moves:1\n"]
    assert inspect(engine, "t/moves:1")["Id"] == it.sha(new)
    assert not inspect(engine, it.sha(old))["RepoTags"]


def test_events(engine):
    conf = it.config(A)
    with_events = Events(engine, type=["image"])
    loaded(engine, it.docker(["t/events:1"], A, conf=conf))
    assert save(engine, "t/events:1").status == 200
    engine.http.post("/images/t/events:1/tag", {"repo": "t/events", "tag": "end"})
    with_events.until("tag")
    seen = [(e["Action"], e["Actor"]["ID"], e["Actor"]["Attributes"].get("name")) for e in with_events.seen]
    assert seen[:2] == [("load", it.sha(conf), it.sha(conf)), ("save", it.sha(conf), it.sha(conf))]
    assert [s[0] for s in seen] == ["load", "save", "tag"]      # a loaded name is not told as a tag


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress,
                                  pytest.param(lambda d: subprocess.run(["zstd", "-qc"], input=d, capture_output=True, check=True).stdout, marks=caisson)],
                         ids=["gzip", "bzip2", "xz", "zstd"])
def test_compressed_archive(engine, pack):
    assert loaded(engine, pack(it.docker(["t/packed:1"], A))).said == ["Loaded image: t/packed:1\n"]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress,
                                  pytest.param(lambda d: subprocess.run(["zstd", "-qc"], input=d, capture_output=True, check=True).stdout, marks=caisson)],
                         ids=["gzip", "bzip2", "xz", "zstd"])
def test_compressed_layer(engine, pack):
    """The configuration names the tar; what is stored may be compressed. bzip2 and xz are no layers of OCI: they are kept as gzip."""
    body = it.layer("x", random.Random(2).randbytes(5000))
    data = it.tar(("l.tar", pack(body)), ("c.json", it.config(body)), ("manifest.json", it.manifest_json(("c.json", ["t/cl:1"], ["l.tar"]))))
    loaded(engine, data)
    assert inspect(engine, "t/cl:1")["RootFS"]["Layers"] == [it.sha(body)]
    if not IS_DOCKERD:
        out = it.read(save(engine, "t/cl:1").body)
        stored_layer = out[json.loads(out["manifest.json"])[0]["Layers"][0]]
        assert stored_layer[:2] == b"\x1f\x8b" or stored_layer[:4] == b"\x28\xb5\x2f\xfd"


def test_manifest_first(engine):
    assert loaded(engine, it.docker(["t/first:1"], A, B, first=True)).said == ["Loaded image: t/first:1\n"]


@pytest.mark.parametrize("kind", ["-> ", "=> l/"], ids=["symbolic", "hard"])
def test_linked_layer(engine, kind):
    """20.10 writes a layer once and links the others to it; skopeo has <diff id>.tar and links."""
    new = it.layer("linked", kind)
    target = "-> ../l/layer.tar" if kind == "-> " else "=> l/layer.tar"
    data = it.tar(("l/layer.tar", new), ("m/layer.tar", target), ("c.json", it.config(new)),
                  ("manifest.json", it.manifest_json(("c.json", ["t/link:1"], ["m/layer.tar"]))))
    assert loaded(engine, data).said == ["Loaded image: t/link:1\n"]


def test_one_layer_twice(engine):
    same = it.layer("same", "twice")
    data = it.tar(("l.tar", same), ("c.json", it.config(same, A, same)), ("a.tar", A),
                  ("manifest.json", it.manifest_json(("c.json", ["t/twice:1"], ["l.tar", "a.tar", "l.tar"]))))
    loaded(engine, data)
    assert inspect(engine, "t/twice:1")["RootFS"]["Layers"] == [it.sha(same), it.sha(A), it.sha(same)]


def test_images_that_share_layers(engine):
    c1, c2 = it.config(A, author="1"), it.config(A, B, author="2")
    data = it.tar(("a.tar", A), ("b.tar", B), ("c1", c1), ("c2", c2),
                  ("manifest.json", it.manifest_json(("c1", ["t/share:1"], ["a.tar"]), ("c2", ["t/share:2"], ["a.tar", "b.tar"]))))
    assert loaded(engine, data).said == ["Loaded image: t/share:1\n", "Loaded image: t/share:2\n"]
    out = it.read(save(engine, "t/share:1", "t/share:2").body)
    assert len(json.loads(out["manifest.json"])) == 2


def test_no_layers(engine):
    conf = it.config(diff_ids=[])
    loaded(engine, it.docker(["t/none:1"], conf=conf))
    assert inspect(engine, "t/none:1")["Id"] == it.sha(conf)


def test_loaded_image_runs(engine):
    root = rootfs.busybox().file("which", "loaded").bytes()
    above = it.layer("above", "yes")
    loaded(engine, it.docker(["t/runs:1"], root, above))
    a = engine.http.post("/containers/create", body={"Image": "t/runs:1", "Cmd": ["sh", "-c", "cat /which /above"]})
    assert a.status == 201, a
    ident = a.json["Id"]
    try:
        assert engine.http.post(f"/containers/{ident}/start").status == 204
        assert engine.http.post(f"/containers/{ident}/wait").json["StatusCode"] == 0
        assert b"loadedyes" in engine.http.get(f"/containers/{ident}/logs", {"stdout": 1}, rec=False).body.replace(b"\x01\0\0\0\0\0\0\x03", b"")
    finally:
        engine.http.delete(f"/containers/{ident}", {"force": 1})


# ---- load: OCI layouts ----

@caisson
@pytest.mark.parametrize("first", [False, True], ids=["index-last", "index-first"])
def test_oci_layout(engine, first):
    layout = it.Layout()
    desc = layout.image(A, B)
    lines = loaded(engine, layout.add(desc, "docker.io/t/oci:1").add(desc, "docker.io/t/oci:2").bytes(first))
    assert lines.said == ["Loaded image: t/oci:1\n", "Loaded image: t/oci:2\n"]
    out = it.read(save(engine, "t/oci:1").body)
    assert json.loads(out["index.json"])["manifests"][0]["digest"] == desc["digest"]        # the manifest stays as it was


@caisson
@pytest.mark.parametrize("name,shown", [("name:tag", "name:tag"), ("t/x", "t/x:latest"), ("latest", "latest:latest"), ("quay.io/a/b:1", "quay.io/a/b:1"),
                                        ("NOT A NAME", None)])
def test_oci_ref_name(engine, name, shown):
    layout = it.Layout()
    conf = it.config(A, author=name)
    desc = layout.image(A, conf=conf)
    lines = loaded(engine, layout.add(desc, name, "org.opencontainers.image.ref.name").bytes())
    assert lines.said == [f"Loaded image: {shown}\n" if shown else f"Loaded image ID: {it.sha(conf)}\n"]


@caisson
@pytest.mark.parametrize("media,pack", [("tar+gzip", gzip.compress),
                                        ("tar+zstd", lambda d: subprocess.run(["zstd", "-qc"], input=d, capture_output=True, check=True).stdout)])
def test_oci_compressed_layers(engine, media, pack):
    layout = it.Layout()
    body = it.layer("packed", media)
    loaded(engine, layout.add(layout.image(pack(body), conf=it.config(body), media=media), "t/oci:" + media[4:]).bytes())
    assert inspect(engine, "t/oci:" + media[4:])["RootFS"]["Layers"] == [it.sha(body)]


def multi(layout, nested=False):
    confs = {arch: it.config(it.layer("arch", arch), arch=arch) for arch in ("amd64", "arm64", "s390x")}
    descs = [it.platform(layout.image(it.layer("arch", arch), conf=confs[arch]), "linux", arch) for arch in confs]
    note = layout.image(it.layer("sbom"), conf=it.js({"architecture": "unknown", "os": "unknown", "rootfs": {"type": "layers", "diff_ids": [it.sha(it.layer("sbom"))]}}))
    note = {**it.platform(note, "unknown", "unknown"), "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    top = layout.index(note, *descs)
    return (layout.index(top) if nested else top), confs


@caisson
@pytest.mark.parametrize("nested", [False, True], ids=["index", "index-in-index"])
def test_multi_platform(engine, nested):
    layout = it.Layout()
    top, confs = multi(layout, nested)
    before = stored(engine)
    host = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    assert loaded(engine, layout.add(top, "t/multi:1").bytes()).said == ["Loaded image: t/multi:1\n"]
    assert inspect(engine, "t/multi:1")["Id"] == it.sha(confs[host])
    after = stored(engine)
    # all of it: three platforms, the attestation (which has a layer, too, but is none of ours to unpack), and the indexes
    assert len(after["layers"]) == len(before["layers"]) + 3
    assert set(after["content/blobs/sha256"]) - set(before["content/blobs/sha256"]) == {d[7:] for d in layout.blobs}
    assert [i for i, _ in after["images"] if i in map(it.sha, confs.values())] == [it.sha(confs[host])]
    engine.http.delete("/images/t/multi:1", {"force": 1})
    assert stored(engine) == before
    layout.entries = []             # without a name: what runs here
    assert loaded(engine, layout.add(top).bytes()).said == [f"Loaded image ID: {it.sha(confs[host])}\n"]


@caisson
def test_index_that_names_indexes_over_and_over(engine):
    """900 times the same index, in which 900 times the same index … : each is looked at once."""
    layout = it.Layout()
    conf = it.config(it.layer("over"), arch=platform.machine().replace("x86_64", "amd64").replace("aarch64", "arm64"))
    image = it.platform(layout.image(it.layer("over"), conf=conf), "linux", json.loads(conf)["architecture"])
    inner = layout.index()
    for _ in range(3):
        inner = layout.index(*[inner] * 200)
    top = layout.index(image, *[inner] * 200)
    assert loaded(engine, layout.add(top, "t/over:1").bytes()).said == ["Loaded image: t/over:1\n"]
    assert inspect(engine, "t/over:1")["Id"] == it.sha(conf)
    windows = layout.index(it.platform(layout.image(it.layer("dll"), conf=it.config(it.layer("dll"), os="windows")), "windows", "amd64"))
    layout.entries = []
    loaded(engine, layout.add(layout.index(windows, layout.index(image)), "t/beside:1").bytes())     # nothing in one of them is no failure
    assert inspect(engine, "t/beside:1")["Id"] == it.sha(conf)
    layout.entries = []
    assert "not found in " + windows["digest"] in load(engine, layout.add(windows, "t/windows:1").bytes()).error
    deep = image
    for _ in range(5):
        deep = layout.index(deep)
    layout.entries = []
    deepest = json.loads(layout.blobs[deep["digest"]])["manifests"][0]
    error = load(engine, layout.add(layout.index(deep), "t/deep:1").bytes()).error
    assert error.startswith("index sha256:") and error.endswith(" is nested more than 4 deep") and deepest["digest"] not in error, error


@caisson
def test_platform_parameter(engine):
    layout = it.Layout()
    top, confs = multi(layout)
    data = layout.add(top, "t/multi:1").bytes()
    loaded(engine, data, platform='{"os":"linux","architecture":"s390x"}')
    assert inspect(engine, "t/multi:1")["Id"] == it.sha(confs["s390x"])
    assert "requested platform (linux/ppc64le) not found" in load(engine, data, platform='{"os":"linux","architecture":"ppc64le"}').error
    assert "OS and Architecture must be provided" in load(engine, data, platform='{"os":"linux"}').error
    assert save(engine, "t/multi:1", platform='{"os":"linux","architecture":"s390x"}').status == 200
    a = save(engine, "t/multi:1", platform='{"os":"linux","architecture":"arm64"}')
    assert a.status == 404 and "does not provide the specified platform (linux/arm64)" in a.message


@caisson
def test_only_image_of_another_platform(engine):
    layout = it.Layout()
    conf = it.config(A, arch="s390x")
    loaded(engine, layout.add(layout.index(it.platform(layout.image(A, conf=conf), "linux", "s390x")), "t/other:1").bytes())
    assert inspect(engine, "t/other:1")["Architecture"] == "s390x"


# ---- load: harm ----

def good(**entries):
    """An archive that is right but for what the case changes; None takes an entry away."""
    parts = {"l.tar": A, "c.json": it.config(A), "manifest.json": it.manifest_json(("c.json", ["t/bad:1"], ["l.tar"])), **entries}
    return it.tar(*((k, v) for k, v in parts.items() if v is not None))


def header(name, size_field=None, kind=b"0", size=0):
    info = tarfile.TarInfo(name)
    info.size = size
    raw = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    if size_field:
        raw[124:136] = size_field
    raw[156:157] = kind
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1:]


BAD = {
    "empty": (b"", "does not contain a manifest.json"),
    "garbage": (b"x" * 4096, "tar"),
    "no manifest": (it.tar(("foo", b"x")), "does not contain a manifest.json"),
    "legacy": (it.tar(("repositories", b'{"a":{"b":"c"}}'), ("c/json", b"{}"), ("c/layer.tar", A)), "does not contain a manifest.json"),
    "manifest is no JSON": (good(**{"manifest.json": b"{"}), "manifest.json"),
    "manifest is an object": (good(**{"manifest.json": b"{}"}), "manifest.json"),
    "manifest of numbers": (good(**{"manifest.json": b"[1]"}), "manifest.json"),
    "config is a number": (good(**{"manifest.json": b'[{"Config":1,"Layers":[]}]'}), "manifest.json"),
    "many images": (good(**{"manifest.json": b"[" + b",".join([b"{}"] * 2000) + b"]"}), "manifest.json"),
    "config missing": (good(**{"c.json": None}), "c.json: no such file or directory"),
    "config is no JSON": (good(**{"c.json": b"{"}), "c.json"),
    "config empty": (good(**{"c.json": b"{}"}), "invalid image JSON, no RootFS key"),
    "config is a layer": (good(**{"manifest.json": it.manifest_json(("l.tar", ["t/bad:1"], ["l.tar"]))}), "l.tar"),
    "config too large": (good(**{"c.json": b"{" + b" " * (9 << 20) + b"}"}), "c.json"),
    "config deep": (good(**{"c.json": b"[" * 100000 + b"]" * 100000}), "c.json"),
    "layer missing": (good(**{"l.tar": None, "manifest.json": it.manifest_json(("c.json", ["t/bad:1"], ["m.tar"]))}), "m.tar: no such file or directory"),
    "layer is JSON": (good(**{"manifest.json": it.manifest_json(("c.json", ["t/bad:1"], ["c.json"]))}), "c.json"),
    "layer is text": (good(**{"l.tar": b"no tar at all"}), "l.tar"),
    "layer truncated": (good(**{"l.tar": A[:700], "c.json": it.config(A[:700])}), it.sha(A[:700])),
    "layer bad gzip": (good(**{"l.tar": flipped(gzip.compress(A), 40)}), it.sha(flipped(gzip.compress(A), 40))),
    "layer escapes": (good(**{"l.tar": it.layer("../../x"), "c.json": it.config(it.layer("../../x"))}), "../../x"),
    "counts differ": (good(**{"manifest.json": it.manifest_json(("c.json", ["t/bad:1"], ["l.tar", "l.tar"]))}), "layers length mismatch: expected 2, got 1"),
    "other layer": (good(**{"l.tar": B}), f"invalid diffID for layer 0: expected \"{it.sha(A)}\", got \"{it.sha(B)}\""),
    "bad diff id": (good(**{"c.json": it.config(diff_ids=["sha256:xx"])}), "diff"),
    "config outside": (good(**{"manifest.json": it.manifest_json(("../../../etc/passwd", ["t/bad:1"], ["l.tar"]))}), "etc/passwd"),
    "layer outside": (good(**{"manifest.json": it.manifest_json(("c.json", ["t/bad:1"], ["../../../etc/passwd"]))}), "etc/passwd"),
    "absolute layer": (good(**{"manifest.json": it.manifest_json(("c.json", ["t/bad:1"], ["/etc/passwd"]))}), "etc/passwd"),
    "entry outside": (it.tar(("../../evil", b"x"))[:1024] + good(), "../../evil"),
    "link loop": (good(**{"l.tar": "-> l.tar"}), "l.tar"),
    "link ring": (good(**{"l.tar": "-> m.tar", "m.tar": "-> l.tar"}), "l.tar"),
    "link to the host": (good(**{"c.json": "-> /etc/passwd"}), "c.json"),
    "link climbs": (good(**{"c.json": "-> ../../../../../../etc/passwd"}), "c.json"),
    "hard link to the host": (good(**{"c.json": "=> /etc/passwd"}), "c.json"),
    "tag upper case": (good(**{"manifest.json": it.manifest_json(("c.json", ["T/Bad:1"], ["l.tar"]))}), "must be lowercase"),
    "tag with digest": (good(**{"manifest.json": it.manifest_json(("c.json", ["t/bad@" + it.sha(A)], ["l.tar"]))}), "invalid tag \"t/bad@"),
    "tag without tag": (good(**{"manifest.json": it.manifest_json(("c.json", ["t/bad"], ["l.tar"]))}), "invalid tag \"t/bad\""),
    "windows": (good(**{"c.json": it.config(A, os="windows")}), "cannot load windows image on linux"),
    "cut in a layer": (good()[:1500], "unexpected"),
    "cut in a header": (good()[:200], "unexpected"),
    "cut gzip": (gzip.compress(good())[:-30], ""),
    "flipped gzip": (flipped(gzip.compress(good()), 100), ""),
    "negative size": (header("x", b"\xff" * 12) + good(), ""),
    "huge size": (header("x", b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7) + good(), ""),
    "wrong checksum": (flipped(good(), 3), ""),
}
# what dockerd 20.10 lets through: it looks at layers only when it does not have them, and follows links that its own extraction made harmless
LENIENT = {"link to the host", "hard link to the host", "config deep", "many images", "config too large", "absolute layer", "cut in a header", "negative size", "huge size",
           "link climbs", "layer escapes", "legacy", "entry outside", "layer is text", "layer truncated", "manifest of numbers"}


@pytest.mark.parametrize("case", BAD)
def test_harm(engine, case):
    data, says = BAD[case]
    if IS_DOCKERD and case in LENIENT:
        pytest.skip("dockerd is more lenient, or differs")
    before = stored(engine)
    lines = load(engine, data)
    assert lines.status == 200 and lines.error, lines.answer
    assert lines[-1]["errorDetail"]["message"] == lines.error
    if not IS_DOCKERD:
        assert says in lines.error, lines.error
        assert stored(engine) == before     # dockerd keeps an image whose tag is bad


def oci_bad():
    def build(change=None, **more):
        layout = it.Layout()
        desc = layout.image(A, B, **more)
        if change:
            desc = change(layout, desc) or desc
        return layout.add(desc, "t/bad:1")
    both = it.Layout()
    image = both.image(A)
    doc = json.loads(both.blobs[image["digest"]])
    both.add(both.blob(it.js({**doc, "manifests": [image]}), it.OCI + "manifest.v1+json"), "t/bad:1")
    wrong_type = it.Layout()
    image = wrong_type.image(A)
    wrong_type.add({**image, "mediaType": it.OCI + "index.v1+json"}, "t/bad:1")
    deep = it.Layout()
    top = deep.image(A)
    for _ in range(50):
        top = deep.index(top)
    deep.add(top, "t/bad:1")

    def drop(what):
        def change(layout, desc):
            doc = json.loads(layout.blobs[desc["digest"]])
            victim = desc["digest"] if what == "manifest" else doc["config"]["digest"] if what == "config" else doc["layers"][1]["digest"]
            del layout.blobs[victim]
        return change

    def swap(layout, desc):
        doc = json.loads(layout.blobs[desc["digest"]])
        layout.blobs[doc["layers"][0]["digest"]] = it.layer("swapped")

    def swap_config(layout, desc):
        doc = json.loads(layout.blobs[desc["digest"]])
        layout.blobs[doc["config"]["digest"]] = it.config(A, B, author="other")

    def size(layout, desc):
        doc = json.loads(layout.blobs[desc["digest"]])
        doc["layers"][0]["size"] += 1
        return layout.blob(it.js(doc), it.OCI + "manifest.v1+json")

    def digest_form(layout, desc):
        return {**desc, "digest": "sha256:../../../etc/passwd"}

    def negative(layout, desc):
        return {**desc, "size": -1}
    cases = {
        "manifest and index at once": (both.bytes(), "both layers and manifests"),
        "manifest told to be an index": (wrong_type.bytes(), wrong_type.entries[0]["digest"]),
        "deeply nested": (deep.bytes(), "nested"),
        "layer swapped": (build(swap).bytes(), it.sha(it.layer("swapped"))),
        "config swapped": (build(swap_config).bytes(), "was expected"),
        "layer size": (build(size).bytes(), it.sha(A)),
        "digest is a path": (build(digest_form).bytes(), "digest"),
        "negative size": (build(negative).bytes(), "size"),
        "index is a manifest": (it.Layout().bytes(index=it.js({"schemaVersion": 2, "config": {}, "layers": []})), "index.json"),
        "index without list": (it.Layout().bytes(index=b'{"schemaVersion":2,"manifests":7}'), "index.json"),
        "schema 1": (it.Layout().bytes(index=b'{"schemaVersion":1,"manifests":[]}'), "index.json"),
        "diff ids differ": (build(conf=it.config(A, A)).bytes(), "invalid diffID for layer 1"),
        "diff ids fewer": (build(conf=it.config(A)).bytes(), "layers length mismatch"),
    }
    for what in ("manifest", "config", "layer"):
        layout = build(drop(what))
        cases["no " + what] = (layout.bytes(), "no such file or directory")
    return cases


OCI_BAD = oci_bad()


@caisson
@pytest.mark.parametrize("case", OCI_BAD)
def test_harm_oci(engine, case):
    data, says = OCI_BAD[case]
    before = stored(engine)
    lines = load(engine, data)
    assert lines.error and says in lines.error, lines.answer
    assert stored(engine) == before


def test_first_image_stays_when_the_second_is_bad(engine):
    data = good(**{"manifest.json": it.manifest_json(("c.json", ["t/good:1"], ["l.tar"]), ("d.json", ["t/bad:1"], ["l.tar"]))})
    lines = load(engine, data)
    assert lines.said == ["Loaded image: t/good:1\n"] and "d.json" in lines.error
    assert inspect(engine, "t/good:1") and not inspect(engine, "t/bad:1")


@caisson
def test_what_nobody_names_is_dropped(engine):
    before = stored(engine)
    extra = it.layer("extra", random.Random(3).randbytes(100000))
    loaded(engine, good(**{"extra.tar": extra, "extra.json": b"{}", "manifest.json": it.manifest_json(("c.json", ["t/drop:1"], ["l.tar"]))}))
    assert engine.http.delete("/images/t/drop:1").status == 200
    assert stored(engine) == before


@caisson
def test_last_entry_of_a_name_counts(engine):
    before = stored(engine)
    loaded(engine, it.tar(("manifest.json", b"rubbish"), ("l.tar", B), ("l.tar", A), ("c.json", it.config(A)),
                          ("manifest.json", it.manifest_json(("c.json", ["t/last:1"], ["l.tar"])))))
    assert inspect(engine, "t/last:1")["RootFS"]["Layers"] == [it.sha(A)]
    engine.http.delete("/images/t/last:1")
    assert stored(engine) == before


@caisson
@pytest.mark.timeout(120)
def test_thousands_of_entries(engine):
    before = stored(engine)
    many = b"".join(header(f"e/{i:08}") for i in range(20500))
    assert "too many entries" in load(engine, many + good()).error
    few = b"".join(header(f"e/{i:08}") for i in range(5000))
    assert loaded(engine, few + good()).said == ["Loaded image: t/bad:1\n"]
    engine.http.delete("/images/t/bad:1")
    assert stored(engine) == before


@caisson
def test_many_documents_do_not_fill_the_memory(engine):
    """Beyond a few megabytes documents wait on disk, and are found there."""
    before = stored(engine)
    pad = b" " * (2 << 20)
    data = it.tar(*((f"pad{i}.json", b"[" + pad + b"%d]" % i) for i in range(12)), ("l.tar", A), ("c.json", it.config(A) + pad),
                  ("manifest.json", it.manifest_json(("c.json", ["t/pad:1"], ["l.tar"]))))
    loaded(engine, data)
    assert inspect(engine, "t/pad:1")["Id"] == it.sha(it.config(A) + pad)
    engine.http.delete("/images/t/pad:1")
    assert stored(engine) == before


@caisson
def test_the_same_at_the_same_time(engine):
    """Two clients load one image, a third removes it: each gets a proper answer, and what stays is whole."""
    body = it.layer("race", random.Random(5).randbytes(1 << 20))
    data, said = it.docker(["t/race:1"], A, body), []

    def work():
        for _ in range(5):
            said.append(load(engine, data))
    threads = [threading.Thread(target=work) for _ in range(2)]
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        assert engine.http.delete("/images/t/race:1", {"force": 1}, rec=False).status in (200, 404)
    assert len(said) == 10 and all(s.said == ["Loaded image: t/race:1\n"] for s in said), said
    loaded(engine, data)
    assert hashlib.sha256(it.read(save(engine, "t/race:1").body)["blobs/sha256/" + it.sha(body)[7:]]).hexdigest() == it.sha(body)[7:]


@caisson
def test_client_leaves_in_the_middle(engine):
    before = stored(engine)
    data = it.docker(["t/left:1"], it.layer("x", random.Random(4).randbytes(2 << 20)), B)
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(engine.sock)
    sock.sendall(b"POST /images/load HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\nContent-Length: %d\r\n\r\n" % len(data))
    sock.sendall(data[: len(data) // 2])
    sock.close()
    wait_for(lambda: stored(engine) == before, what="nothing left")


class Stalled:
    """A load whose archive has been sent, while no image can be added: somebody else writes to the database."""

    def __init__(self, engine, data, **query):
        self.db = sqlite3.connect(engine.data / "caisson.db", isolation_level=None, timeout=30)
        self.db.execute("BEGIN IMMEDIATE")
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(engine.sock)
        self.sock.sendall(b"POST /images/load?%s HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\nContent-Length: %d\r\n\r\n"
                          % (urllib.parse.urlencode(query).encode(), len(data)))
        self.sock.sendall(data)
        self.got = b""

    def until(self, text):
        while text not in self.got:
            piece = self.sock.recv(65536)
            assert piece, self.got
            self.got += piece

    def go_on(self):
        self.db.execute("ROLLBACK")
        self.db.close()


@caisson
def test_progress_comes_while_it_works(engine):
    big = it.layer("big", random.Random(2).randbytes(300000))
    load = Stalled(engine, it.docker(["t/live:1"], big), quiet=0)
    try:
        load.until(b'"total":%d},"progress":"[%s' % (len(big), b"=" * 50))     # all of the layer
        assert b"200 OK" in load.got and b"Loaded image" not in load.got and not inspect(engine, "t/live:1")
    finally:
        load.go_on()
    load.until(b"Loaded image: t/live:1")
    load.until(b"\r\n0\r\n\r\n")
    load.sock.close()
    assert inspect(engine, "t/live:1")


@caisson
def test_client_leaves_after_the_body(engine):
    before = stored(engine)
    layers = [it.layer(f"n{i}", random.Random(i).randbytes(100000)) for i in range(3)]
    load = Stalled(engine, it.docker(["t/left:2"], *layers), quiet=0)
    try:
        load.until(b"Loading layer")
        load.sock.close()
    finally:
        load.go_on()

    def settled():      # in time or too late: a whole image or nothing
        if inspect(engine, "t/left:2"):
            engine.http.delete("/images/t/left:2", {"force": 1})
        return stored(engine) == before
    wait_for(settled, what="nothing left")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", range(3))
def test_random_damage(engine, seed):
    """Bits flip anywhere: an error or a right image, the daemon lives, and what was there before still is."""
    rng = random.Random(seed)
    layout = it.Layout()
    body = gzip.compress(it.layer("r", rng.randbytes(3000)))
    whole = [it.docker(["t/flip:1"], A, it.layer("r", rng.randbytes(3000))),
             layout.add(layout.image(body, conf=it.config(gzip.decompress(body)), media="tar+gzip"), "t/flip:2").bytes()]
    loaded(engine, it.docker(["t/intact:1"], B))
    for _ in range(25):
        data = bytearray(rng.choice(whole if not IS_DOCKERD else whole[:1]))
        for _ in range(rng.choice([1, 1, 2, 8])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        if rng.random() < 0.3:
            data = data[:rng.randrange(len(data))]
        lines = load(engine, bytes(data))
        assert lines.status == 200 and len(lines) > 0
    assert inspect(engine, "t/intact:1")["RootFS"]["Layers"] == [it.sha(B)]


# ---- save ----

@caisson
def test_layout_of_the_archive(engine):
    conf = it.config(A, B)
    loaded(engine, it.docker(["t/save:1", "t/save:2"], A, B, conf=conf))
    a = save(engine, "t/save:1", "t/save:2")
    assert a.headers["Content-Type"] == "application/x-tar" and int(a.headers["Content-Length"]) == len(a.body)
    out = it.read(a.body)
    blob = {n.split("/")[2]: d for n, d in out.items() if n.startswith("blobs/sha256/")}
    assert all(hashlib.sha256(d).hexdigest() == n for n, d in blob.items())
    assert json.loads(out["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    ident = hashlib.sha256(conf).hexdigest()
    layers = ["blobs/sha256/" + it.sha(x)[7:] for x in (A, B)]
    assert json.loads(out["manifest.json"]) == [{"Config": "blobs/sha256/" + ident, "RepoTags": ["t/save:1", "t/save:2"], "Layers": layers}]
    assert json.loads(out["repositories"]) == {"t/save": {"1": it.sha(B)[7:], "2": it.sha(B)[7:]}}
    index = json.loads(out["index.json"])
    assert [m["annotations"] for m in index["manifests"]] == [
        {"io.containerd.image.name": f"docker.io/t/save:{n}", "org.opencontainers.image.ref.name": n} for n in "12"]
    manifest = json.loads(blob[index["manifests"][0]["digest"][7:]])
    assert manifest["config"]["digest"] == "sha256:" + ident and [l["digest"] for l in manifest["layers"]] == [it.sha(A), it.sha(B)]
    assert blob[ident] == conf
    with tarfile.open(fileobj=io.BytesIO(a.body)) as t:
        assert {(m.mtime, m.uid, m.gid) for m in t} == {(0, 0, 0)}
    assert save(engine, "t/save:1", "t/save:2").body == a.body


def repo_tags(answer):
    return [m["RepoTags"] for m in json.loads(it.read(answer.body)["manifest.json"])]


def test_what_a_name_stands_for(engine):
    conf, other = it.config(A), it.config(B)
    loaded(engine, it.docker(["t/names:1", "t/names:2"], A, conf=conf))
    loaded(engine, it.docker(["t/names:3"], B, conf=other))
    assert repo_tags(save(engine, "t/names:2")) == [["t/names:2"]]
    assert sorted(sum(repo_tags(save(engine, "t/names")), [])) == ["t/names:1", "t/names:2", "t/names:3"]     # a repository: all of it
    assert repo_tags(save(engine, it.sha(conf))) == [None]
    assert repo_tags(save(engine, it.sha(conf)[7:20])) == [None]
    assert repo_tags(save(engine, "t/names:1", "t/names:1", it.sha(conf))) == [["t/names:1"]]
    one = engine.http.get("/images/t/names:3/get", rec=False)
    assert one.status == 200 and repo_tags(one) == [["t/names:3"]]


@pytest.mark.parametrize("names,code,says", [
    (["nosuch"], 404, "No such image: nosuch"),
    (["caisson-test/rootfs", "nosuch"], 404, "No such image: nosuch"),
    pytest.param(["sha256:" + "0" * 64], 404, "No such image: sha256:" + "0" * 64, marks=caisson),
    pytest.param(["a/b:nosuch"], 404, "No such image: a/b:nosuch", marks=caisson),
    pytest.param([""], 400, "invalid reference format", marks=caisson),
    pytest.param(["UPPER:1"], 400, "must be lowercase", marks=caisson),
])
def test_save_errors(engine, names, code, says):
    a = save(engine, *names)
    assert a.status == code and says in a.message, a
    if len(names) == 1 and names[0]:
        assert engine.http.get(f"/images/{names[0]}/get", rec=False).status == code


def test_save_nothing(engine):
    a = engine.http.get("/images/get", rec=False)
    assert a.status == 200 and not json.loads(it.read(a.body)["manifest.json"])


def test_there_and_back(engine):
    conf = it.config(A, B, author="there")
    loaded(engine, it.docker(["t/back:1"], A, B, conf=conf))
    data = save(engine, "t/back:1").body
    engine.http.delete("/images/t/back:1", {"force": 1})
    assert not inspect(engine, "t/back:1")
    assert loaded(engine, data).said == ["Loaded image: t/back:1\n"]
    assert inspect(engine, "t/back:1")["Id"] == it.sha(conf)


def big_image(engine, name, size=24 << 20):
    body = it.layer("big", random.Random(name).randbytes(size))
    loaded(engine, it.docker([name], body))
    return body


@caisson
def test_removal_during_save(engine):
    before = stored(engine)
    body = big_image(engine, "t/gone:1")
    r = engine.http.stream("GET", "/images/t/gone:1/get")
    data = r.read(4096)
    assert engine.http.delete("/images/t/gone:1", {"force": 1}).status == 200
    assert not inspect(engine, "t/gone:1")
    data += r.read()
    r.connection.close()
    assert it.read(data)["blobs/sha256/" + it.sha(body)[7:]] == body
    wait_for(lambda: stored(engine) == before, what="blobs swept after the save")


@caisson
def test_client_leaves_during_save(engine):
    big_image(engine, "t/left:1")
    r = engine.http.stream("GET", "/images/t/left:1/get")
    r.read(4096)
    r.connection.close()
    assert save(engine, "t/left:1").status == 200


@caisson
@pytest.mark.parametrize("how", ["damaged", "truncated", "vanished"])
def test_damaged_blob_cuts_the_connection(engine, how):
    """Half an archive must not look like a whole one."""
    body = big_image(engine, "t/damaged:1")
    path = engine.data / "content/blobs/sha256" / it.sha(body)[7:]
    r = engine.http.stream("GET", "/images/t/damaged:1/get")
    r.read(2048)
    kept = path.read_bytes()
    if how == "damaged":
        with open(path, "r+b") as f:
            f.seek(len(body) - 5000)
            f.write(b"damage")
    elif how == "truncated":
        os.truncate(path, 1000)
    else:
        path.unlink()
    try:
        if how != "vanished":       # who has it open reads on
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                r.read()
            wait_for(lambda: it.sha(body) in engine.tail(200), what="a line in the log")
        r.connection.close()
        a = save(engine, "t/damaged:1") if how == "vanished" else None
        if a:
            assert a.status == 500 and it.sha(body) in a.message
    finally:
        path.write_bytes(kept)


# ---- other engines and tools ----

needs_docker = pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")
needs_skopeo = pytest.mark.skipif(not shutil.which("skopeo"), reason="no skopeo")


@needs_docker
def test_cli(engine, tmp_path):
    loaded(engine, it.docker(["t/cli:1"], A))
    engine.cli("save", "-o", str(tmp_path / "x.tar"), "t/cli:1", "caisson-test/rootfs", check=True)
    engine.http.delete("/images/t/cli:1")
    out = engine.cli("load", "-i", str(tmp_path / "x.tar"), check=True)
    assert "Loaded image: t/cli:1" in out.stdout
    (tmp_path / "bad.tar").write_bytes(it.tar(("foo", b"x")))
    out = engine.cli("load", "-i", str(tmp_path / "bad.tar"))
    assert out.returncode == 1 and out.stderr


@caisson
@needs_skopeo
@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_skopeo_both_ways(engine, tmp_path, kind):
    """What skopeo writes is loaded, what we write skopeo reads."""
    conf = it.config(A, B, author="skopeo", created="2024-01-01T00:00:00Z")
    loaded(engine, it.docker(["t/skopeo:1"], A, B, conf=conf))
    ours, theirs = tmp_path / "ours.tar", tmp_path / "theirs.tar"
    ours.write_bytes(save(engine, "t/skopeo:1").body)
    target = f"{kind}:{theirs}:t/skopeo:2"
    subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", f"{kind}:{ours}", target], check=True, capture_output=True)
    assert loaded(engine, theirs.read_bytes()).said == ["Loaded image: t/skopeo:2\n"]
    assert inspect(engine, "t/skopeo:2")["RootFS"]["Layers"] == [it.sha(A), it.sha(B)]


@caisson
@pytest.mark.skipif(not shutil.which("umoci"), reason="no umoci")
def test_umoci_unpacks_ours(engine, tmp_path):
    loaded(engine, it.docker(["t/umoci:1"], A, B))
    with tarfile.open(fileobj=io.BytesIO(save(engine, "t/umoci:1").body)) as t:
        t.extractall(tmp_path / "layout")
    subprocess.run(["umoci", "unpack", "--image", f"{tmp_path}/layout:1", str(tmp_path / "bundle")], check=True, capture_output=True)
    assert (tmp_path / "bundle/rootfs/b").read_text() == "layer b"


@caisson
@pytest.mark.timeout(120)
@pytest.mark.skipif(not shutil.which("dockerd"), reason="no dockerd")
def test_dockerd_both_ways(engine):
    """docker save | docker load between the two keeps the id."""
    root = it.layer("from", "dockerd")
    conf = it.config(root, A, author="both", created="2024-01-01T00:00:00Z")
    other = fx.Engine("dockerd").start()
    try:
        loaded(other, it.docker(["t/both:1"], root, A, conf=conf))
        loaded(engine, save(other, "t/both:1").body)
        assert inspect(engine, "t/both:1")["Id"] == it.sha(conf)
        packed = it.layer("packed", "gzip")
        layout = it.Layout()
        desc = layout.image(gzip.compress(packed), conf=it.config(packed), media="tar+gzip")
        loaded(engine, layout.add(desc, "t/both:2").bytes())
        loaded(other, save(engine, "t/both:1", "t/both:2").body)
        assert inspect(other, "t/both:1")["Id"] == it.sha(conf) and inspect(other, "t/both:2")["Id"] == it.sha(it.config(packed))
    finally:
        other.close(check=False)


@caisson
@pytest.mark.unsanitized
@pytest.mark.timeout(180)
def test_memory_stays_bounded():
    """A daemon of its own: its peak is what we ask for."""
    eng = fx.Engine().start()
    try:
        layers = [it.layer(f"m{i}", random.Random(i).randbytes(24 << 20)) for i in range(4)]
        loaded(eng, it.docker(["t/memory:1"], *layers))
        for x in layers:
            assert it.sha(x) in str(inspect(eng, "t/memory:1"))
        assert save(eng, "t/memory:1").status == 200
        peak = next(int(l.split()[1]) for l in open(f"/proc/{eng.proc.pid}/status") if l.startswith("VmHWM"))
        assert peak < 40 << 10, f"{peak} KiB"
    finally:
        eng.close()


@caisson
def test_removed_while_it_is_read(engine):
    """save, commit and push of what somebody removes this very moment: all of it, or no such image. Never a piece of it that is missing."""
    data = it.Layout()
    data = data.add(data.image(*[it.layer(f"f{i}", os.urandom(100)) for i in range(3)]), "t/going:1").bytes()
    over, said = threading.Event(), []

    def comes_and_goes():
        http_ = fx.Http(engine.sock)
        while not over.is_set():
            http_.post("/images/load", body=data, headers=TAR, rec=False)
            http_.delete("/images/t/going:1", {"force": 1}, rec=False)
    movers = [threading.Thread(target=comes_and_goes) for _ in range(2)]
    for t in movers:
        t.start()
    try:
        for n in range(1000):
            a = save(engine, "t/going:1")
            said.append((a.status, "" if a.status == 200 else a.message))
            box = engine.http.post("/containers/create", body={"Image": "t/going:1"}, rec=False)
            if box.status == 201:
                a = engine.http.post("/commit", {"container": box.json["Id"]}, rec=False)
                said.append((a.status, a.message if a.status >= 400 else ""))
                engine.http.delete(f"/containers/{box.json['Id']}")
                if a.status == 201:
                    engine.http.delete("/images/" + a.json["Id"], {"force": 1})
            if n >= 40 and {200, 201} <= {status for status, _ in said}:
                break
    finally:
        over.set()
        for t in movers:
            t.join()
    assert all(status in (200, 201) or (status == 404 and text.startswith("No such image: ")) for status, text in said), set(said)
