# SPDX-License-Identifier: Apache-2.0
"""OCI artifacts: manifests whose blobs are no layers of an image. They are pulled, listed, pushed, saved and loaded, and not run."""
import gzip
import io
import json
import os
import subprocess
import tarfile

import pytest

import images
import rootfs
from caisson_fixture import wait_for
from images import Layer, pull, push, put
from registry import Fake, Registry, digest

pytestmark = pytest.mark.caisson
EMPTY = b"{}"
HELM = "application/vnd.cncf.helm.config.v1+json"


def artifact(fake, repo, tag, blobs, config=EMPTY, config_type="application/vnd.oci.empty.v1+json", **extra):
    """Returns (manifest digest, digests of its blobs)."""
    entry = lambda kind, data: {"mediaType": kind, "digest": fake.blob(data), "size": len(data)}
    m = {"schemaVersion": 2, "mediaType": images.OCI_MANIFEST, "config": entry(config_type, config), "layers": [entry(k, b) for k, b in blobs], **extra}
    return fake.manifest(repo, tag, m, images.OCI_MANIFEST), {digest(config)} | {digest(b) for _, b in blobs}


def chart():
    return gzip.compress(rootfs.Tar().file("chart/Chart.yaml", os.urandom(8).hex()).bytes(), mtime=0)


def blobs(engine):
    return {"sha256:" + b for b in os.listdir(engine.data / "content/blobs/sha256")}


def listed(engine, name):
    return [i for i in engine.http.get("/images/json").json if any(n.startswith(name) for n in i["RepoTags"] or [])]


@pytest.fixture
def made(fresh):
    """Two artifacts in an engine: a helm chart, and three blobs of no known kind with a type of their own and the empty configuration."""
    engine = fresh()
    with Fake() as fake:
        tgz = chart()
        helm = artifact(fake, "charts/app", "1", [("application/vnd.cncf.helm.chart.content.v1.tar+gzip", tgz)], b'{"name":"app"}', HELM)
        other = artifact(fake, "files", "1", [("text/plain", b"hello"), ("application/wasm", os.urandom(300000)), ("application/json", b"[1]")],
                         artifactType="application/vnd.example")
        for repo in ("charts/app", "files"):
            lines = pull(engine.http, f"{fake.host}/{repo}", "1")
            assert "Downloaded" in lines[-1]["status"], lines
        yield engine, fake, helm, other


def test_pull_list_inspect(made):
    engine, fake, helm, other = made
    layers = set(os.listdir(engine.data / "layers"))
    for (md, parts), repo in ((helm, "charts/app"), (other, "files")):
        name = f"{fake.host}/{repo}:1"
        assert parts | {md} <= blobs(engine)
        i = engine.http.get(f"/images/{name}/json").json
        assert i["Id"] == md and i["RepoDigests"] == [f"{fake.host}/{repo}@{md}"] and i["RootFS"]["Layers"] == []
        size = sum(os.stat(engine.data / "content/blobs/sha256" / p[7:]).st_size for p in parts)
        assert i["Size"] == size and listed(engine, name)[0]["Size"] == size
        assert engine.http.get(f"/images/{name}/history").json == []
        found = next(x for x in engine.http.get("/images/json", {"manifests": 1}).json if x["Id"] == md)
        assert found["Manifests"][0]["Kind"] == "unknown" and "ImageData" not in found["Manifests"][0]
        assert "up to date" in pull(engine.http, f"{fake.host}/{repo}", "1")[-1]["status"]
        a = engine.http.post("/containers/create", body={"Image": name, "Cmd": ["x"]})
        assert a.status == 400 and "artifact" in a.message, a
    assert set(os.listdir(engine.data / "layers")) == layers, "nothing of an artifact is unpacked"


def test_survive_and_go(made):
    """A restart and a prune leave them; the configuration that two of them share stays for the second."""
    engine, fake, helm, other = made
    third = artifact(fake, "third", "1", [("text/plain", os.urandom(8))])
    assert not pull(engine.http, f"{fake.host}/third", "1").error
    engine.restart()
    engine.http.post("/images/prune")
    needed = {helm[0], other[0], third[0]} | helm[1] | other[1] | third[1]
    assert needed <= blobs(engine)
    assert not [p for p in engine.http.post("/system/check", {"deep": 1}).json.get("Problems", []) if p]
    assert engine.http.delete(f"/images/{fake.host}/third:1").status == 200
    wait_for(lambda: not third[1] - {digest(EMPTY)} & blobs(engine), what="its own blob gone")
    assert digest(EMPTY) in blobs(engine)
    for repo in ("files", "charts/app"):
        assert engine.http.delete(f"/images/{fake.host}/{repo}:1").status == 200
    wait_for(lambda: not needed & blobs(engine), what="all of them gone")


def test_push(made):
    engine, fake, helm, other = made
    with Registry() as target:
        for (md, _), repo in ((helm, "charts/app"), (other, "files")):
            name = f"{target.host}/{repo}"
            assert engine.http.post(f"/images/{fake.host}/{repo}:1/tag", {"repo": name, "tag": "2"}).status == 201
            lines = push(engine.http, name, "2")
            assert not lines.error, lines
            raw = subprocess.run(["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}:2"], capture_output=True, check=True).stdout
            assert digest(raw) == md


def test_save_and_load(made, fresh):
    engine, fake, helm, other = made
    layer = Layer(rootfs.Tar().file("x", os.urandom(8).hex()).bytes())
    put(fake, "image", "1", [layer])
    pull(engine.http, f"{fake.host}/image", "1")
    names = [f"{fake.host}/{r}:1" for r in ("charts/app", "files", "image")]
    data = engine.http.get("/images/get", {"names": names}).body
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        docker = json.load(tar.extractfile("manifest.json"))
        index = json.load(tar.extractfile("index.json"))
        assert {"sha256:" + n[13:] for n in tar.getnames() if n.startswith("blobs/sha256/")} >= helm[1] | other[1] | {helm[0], other[0]}
    assert [d["RepoTags"] for d in docker] == [[names[2]]] and len(index["manifests"]) == 3
    assert engine.http.get("/images/get", {"names": names}).body == data
    two = fresh()
    said = two.http.post("/images/load", {"quiet": 1}, body=data, headers={"Content-Type": "application/x-tar"}).body.decode()
    assert all(f"Loaded image: {n}" in said for n in names), said
    for (md, parts), name in zip((helm, other), names):
        assert two.http.get(f"/images/{name}/json").json["Id"] == md and parts | {md} <= blobs(two)
    assert two.http.get("/images/get", {"names": names}).body == data
    # an archive of artifacts alone, and one that lacks a blob
    alone = engine.http.get("/images/get", {"names": names[:2]}).body
    three = fresh()
    assert f"Loaded image: {names[1]}" in three.http.post("/images/load", {"quiet": 1}, body=alone, headers={"Content-Type": "application/x-tar"}).body.decode()
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(alone)) as tar, tarfile.open(fileobj=out, mode="w") as less:
        for m in tar:
            if m.name[13:] != digest(b"hello")[7:]:
                less.addfile(m, tar.extractfile(m))
    four = fresh()
    before = blobs(four)
    said = four.http.post("/images/load", {"quiet": 1}, body=out.getvalue(), headers={"Content-Type": "application/x-tar"}).body.decode()
    assert "errorDetail" in said and digest(b"hello")[7:] in said, said
    assert listed(four, names[1]) == []
    wait_for(lambda: not (other[1] - {digest(EMPTY)}) & blobs(four), what="nothing left of it")
    assert before <= blobs(four)
