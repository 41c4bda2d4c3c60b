# SPDX-License-Identifier: Apache-2.0
"""Advisories about archives of images (docker load)."""
import json

import pytest

import imagetar as it
from test_runtime import canary  # noqa: F401  (fixture)

TAR = {"Content-Type": "application/x-tar"}
A, B = it.layer("a", "one"), it.layer("b", "two")


def load(engine, data):
    a = engine.http.post("/images/load", body=data, headers=TAR, rec=False)
    lines = [json.loads(l) for l in a.body.decode().splitlines() if l.strip()]
    return next((l["error"] for l in lines if "error" in l), None), lines


@pytest.mark.caisson
@pytest.mark.parametrize("told", ["manifest", "index", None])
@pytest.mark.parametrize("nested", [False, True])
def test_cve_2021_41190_document_of_two_kinds(engine, told, nested):
    """A document with layers and manifests is one image to this reader and another to that one: nobody gets any."""
    layout = it.Layout()
    good, other = layout.image(A), layout.image(B)
    doc = {**json.loads(layout.blobs[good["digest"]]), "manifests": [other]}
    if told:
        doc["mediaType"] = f"{it.OCI}{told}.v1+json"
    else:
        del doc["mediaType"]
    desc = layout.blob(it.js(doc), f"{it.OCI}{told or 'manifest'}.v1+json")
    error, _ = load(engine, layout.add(layout.index(desc) if nested else desc, "t/both:1").bytes())
    assert error and desc["digest"] in error
    assert engine.http.get("/images/t/both:1/json").status == 404


@pytest.mark.caisson
def test_cve_2021_41190_top_of_two_kinds(engine):
    layout = it.Layout()
    desc = layout.image(A)
    index = {"schemaVersion": 2, "manifests": [desc], "layers": [], "config": desc}
    error, _ = load(engine, layout.bytes(index=it.js(index)))
    assert error and "index.json" in error


@pytest.mark.parametrize("where", ["{c}/secret", "../../../../../../../../../..{c}/secret", "l/secret", "l2"])
def test_cve_2014_9356_paths_of_the_manifest(engine, canary, where):  # noqa: F811
    """What manifest.json names is an entry of the archive; links in it lead nowhere else."""
    base = str(canary.path)
    path = where.format(c=base)
    for item in ((path, ["t/path:1"], ["a.tar"]), ("c.json", ["t/path:1"], [path])):
        error, lines = load(engine, it.tar(("l", "-> " + base), ("l2", "=> " + base + "/secret"), ("a.tar", A), ("c.json", it.config(A)),
                                           ("manifest.json", it.manifest_json(item))))
        assert error, lines
    assert engine.http.get("/images/t/path:1/json").status == 404


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a" * 64 + "/../../../x"])
def test_cve_2014_9358_ids_are_computed(engine, name):
    """Names of files inside the archive never become names of ours: an id is the digest of the configuration."""
    conf = it.config(A, author=name)
    error, lines = load(engine, it.tar(("a.tar", A), ("c.json", conf), ("manifest.json", it.manifest_json(("c.json", ["t/id:1"], ["a.tar"]))),
                                       ("repositories", it.js({name: {name: name}}))))
    assert not error, lines
    assert engine.http.get("/images/t/id:1/json").json["Id"] == it.sha(conf)
    engine.http.delete("/images/t/id:1", {"force": 1})


@pytest.mark.caisson
@pytest.mark.parametrize("kind", ["->", "=>"])
@pytest.mark.parametrize("which", ["manifest", "config", "layer"])
def test_links_do_not_stand_for_digests(engine, which, kind):
    """blobs/sha256/<digest> as a link to something else: what a digest names is what it is the digest of, by whatever way it came."""
    layout = it.Layout()
    good, bad = layout.image(A, conf=it.config(A, author="good")), layout.image(A, conf=it.config(A, author="evil"))
    doc = {d["digest"]: json.loads(layout.blobs[d["digest"]]) for d in (good, bad)}
    at = {"manifest": lambda d: d["digest"], "config": lambda d: doc[d["digest"]]["config"]["digest"], "layer": lambda d: doc[d["digest"]]["layers"][0]["digest"]}[which]
    wanted, other = at(good), at(bad)
    if which == "layer":
        twin = A[:-1] + b"\1"       # the same files, other bytes behind the end
        layout.blobs.pop(wanted)
        doc[good["digest"]]["config"] = layout.blob(it.config(twin), it.OCI + "config.v1+json")
        good = layout.blob(it.js(doc[good["digest"]]), it.OCI + "manifest.v1+json")
        other = layout.blob(twin, "x")["digest"]
    layout.blobs.pop(wanted, None)
    error, lines = load(engine, with_link(layout.add(good, "t/link:1"), wanted, other, kind))
    assert error and wanted in error, lines
    assert engine.http.get("/images/t/link:1/json").status == 404


def with_link(layout, name, target, kind):
    path = f"blobs/sha256/{target[7:]}" if kind == "=>" else target[7:]
    top = [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", it.js({"schemaVersion": 2, "manifests": layout.entries}))]
    return it.tar(*top, *(("blobs/sha256/" + d[7:], layout.blobs[d]) for d in sorted(layout.blobs)), (f"blobs/sha256/{name[7:]}", f"{kind} {path}"))
