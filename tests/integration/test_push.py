# SPDX-License-Identifier: Apache-2.0
"""Push: what it says, what it sends, what it does not send twice."""
import gzip
import json
import os
import shutil
import subprocess
import threading

import pytest

import images
import rootfs
from box import IS_DOCKERD
from caisson_fixture import wait_for
from registry import Cut, Fake, Meanwhile, Registry, Stall, Status, digest
from images import busybox, files, pull, push, put

needs_docker = pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")
needs_skopeo = pytest.mark.skipif(not shutil.which("skopeo"), reason="no skopeo")


@pytest.fixture
def fake(engine):
    if IS_DOCKERD:
        pytest.skip("dockerd uploads in pieces without a length, which this registry does not know")
    with Fake() as f:
        yield f
        for i in engine.http.get("/images/json", {"all": 1}).json:
            names = (i["RepoTags"] or []) + (i["RepoDigests"] or [])
            if any(n.startswith(f.host) for n in names) or not [n for n in names if not n.startswith("<none>")]:
                engine.http.delete("/images/" + i["Id"], {"force": 1})


def made(engine, name, tag="1", text=None):
    """An imported image: its layer is stored as a plain tar."""
    engine.import_tar(rootfs.busybox().file("unique", text or os.urandom(8).hex()).bytes(), name, tag, ['CMD ["sh"]'])
    return engine.http.get(f"/images/{name}:{tag}/json").json


def test_push_says(engine, fake, events):
    name = f"{fake.host}/p/q"
    i = made(engine, name)
    lines = push(engine.http, name, "1")
    assert lines.status == 200 and not lines.error, lines
    short = i["RootFS"]["Layers"][0][7:19]
    assert lines[0] == {"status": f"The push refers to repository [{name}]"}
    assert lines.said(short) == ["Preparing", "Pushing", "Pushed"]
    media, body = fake.manifests["p/q", "1"]
    assert lines[-2] == {"status": f"1: digest: {digest(body)} size: {len(body)}"}
    assert lines[-1] == {"progressDetail": {}, "aux": {"Tag": "1", "Digest": digest(body), "Size": len(body)}}
    m = json.loads(body)
    assert m["mediaType"] == media and m["config"]["digest"] == i["Id"]
    blob = fake.blobs[m["layers"][0]["digest"]]
    assert m["layers"][0]["size"] == len(blob) and digest(gzip.decompress(blob)) == i["RootFS"]["Layers"][0]
    assert engine.http.get(f"/images/{name}:1/json").json["RepoDigests"] == [f"{name}@{digest(body)}"]
    e = events.until("push", f"{name}:1")
    assert e["Actor"]["Attributes"]["name"] == name


def test_second_push_sends_nothing(engine, fake):
    name = f"{fake.host}/twice"
    made(engine, name)
    first = push(engine.http, name, "1")
    before = len(fake.requests)
    second = push(engine.http, name, "1")
    assert second[-1] == first[-1]
    assert not [r for r in fake.requests[before:] if r["method"] in ("POST", "PATCH") or (r["method"] == "PUT" and "/blobs/" in r["path"])]
    assert second.said()[1:3] == ["Preparing", "Layer already exists"]


def test_pushed_image_comes_back(engine, fake, boxes):
    name = f"{fake.host}/back"
    i = made(engine, name)
    push(engine.http, name, "1")
    engine.http.delete(f"/images/{name}:1", {"force": 1})
    assert engine.http.get(f"/images/{i['Id']}/json").status == 404
    lines = pull(engine.http, name, "1")
    assert "Downloaded" in lines[-1]["status"] and engine.http.get(f"/images/{name}:1/json").json["Id"] == i["Id"]


def test_all_tags(engine, fake):
    name = f"{fake.host}/all"
    for tag in ("1", "2"):
        made(engine, name, tag)
    engine.http.post(f"/images/{name}:1/tag", {"repo": name, "tag": "3"})
    lines = push(engine.http, name)
    assert not lines.error and {l["aux"]["Tag"] for l in lines if "aux" in l} == {"1", "2", "3"}
    assert {t for r, t in fake.manifests if r == "all" and ":" not in t} == {"1", "2", "3"}


def test_mounted_from_another_repository(engine, fake):
    one, two = f"{fake.host}/from/one", f"{fake.host}/to/two"
    i = made(engine, one)
    push(engine.http, one, "1")
    engine.http.post(f"/images/{one}:1/tag", {"repo": two, "tag": "1"})
    # a registry keeps blobs by repository; this one does not, so it is told to
    fake.fault("HEAD", "/to/two/blobs/", Status(404, times=-1))
    before = len(fake.requests)
    lines = push(engine.http, two, "1")
    assert "Mounted from from/one" in lines.said(i["RootFS"]["Layers"][0][7:19]), lines
    sent = fake.requests[before:]
    assert any("mount=" in r["path"] and "from=from" in r["path"] for r in sent if r["method"] == "POST")


def test_pulled_image_is_pushed_as_it_was(engine, fake):
    layers = [busybox(), files(x=os.urandom(8).hex())]
    md, _ = put(fake, "orig", "1", layers, oci=not IS_DOCKERD)
    pull(engine.http, f"{fake.host}/orig", "1")
    with Fake() as other:
        engine.http.post(f"/images/{fake.host}/orig:1/tag", {"repo": f"{other.host}/copy", "tag": "x"})
        lines = push(engine.http, f"{other.host}/copy", "x")
        assert not lines.error, lines
        if not IS_DOCKERD:
            assert lines[-1]["aux"]["Digest"] == md and other.manifests["copy", "x"] == fake.manifests["orig", "1"]
        refs = sorted(engine.http.get(f"/images/{other.host}/copy:x/json").json["RepoDigests"])
        assert f"{fake.host}/orig@{md}" in refs and any(r.startswith(other.host) for r in refs)
        engine.http.delete(f"/images/{other.host}/copy:x")


@pytest.mark.caisson
def test_compressed_once(engine, fake):
    """The plain tar of an import gives way to what was pushed; the image stays what it is."""
    name = f"{fake.host}/plain"
    i = made(engine, name)
    diff = i["RootFS"]["Layers"][0][7:]
    content = engine.data / "content/blobs/sha256"
    assert (content / diff).exists()
    lines = push(engine.http, name, "1")
    blob = json.loads(fake.manifests["plain", "1"][1])["layers"][0]["digest"][7:]
    wait_for(lambda: not (content / diff).exists(), what="the plain tar gone")
    assert (content / blob).exists()
    after = engine.http.get(f"/images/{name}:1/json").json
    assert after["Id"] == i["Id"] and after["Descriptor"]["digest"] == lines[-1]["aux"]["Digest"]


@pytest.mark.parametrize("image,tag,text", [("nope/none", "1", "An image does not exist locally with the tag: {host}/nope/none"), ("some", "9", "tag does not exist: {host}/some:9")])
def test_nothing_to_push(engine, fake, image, tag, text):
    made(engine, f"{fake.host}/some")
    lines = push(engine.http, f"{fake.host}/{image}", tag)
    assert lines.status == 200 and lines.error == text.format(host=fake.host)
    assert lines[0]["status"].startswith("The push refers to")


def test_bad_requests(engine, fake):
    name = f"{fake.host}/some"
    made(engine, name)
    for image, tag in ((name, "a b"), (f"{fake.host}/UP", "1")):
        a = engine.http.post(f"/images/{image.replace(' ', '%20')}/push", {"tag": tag}, headers=images.auth_header())
        assert a.status == 400 and a.message, a
    a = engine.http.post(f"/images/{name}/push", {"tag": "1"})
    assert a.status == 400 and "missing X-Registry-Auth" in a.message


@pytest.mark.caisson
def test_credentials_in_the_body(engine, fake):
    name = f"{fake.host}/body"
    made(engine, name)
    a = engine.http.post(f"/images/{name}/push", {"tag": "1"}, body={"username": "u", "password": "p"}, rec=False)
    assert a.status == 200 and b"aux" in a.body


def test_refused(engine, fake):
    name = f"{fake.host}/refused"
    made(engine, name)
    fake.fault("POST", "/blobs/uploads/", Status(403, "DENIED", "requested access to the resource is denied", times=-1))
    lines = push(engine.http, name, "1")
    assert lines.status == 200 and lines.error and "denied" in lines.error, lines


@pytest.mark.caisson
def test_broken_upload_is_repeated(engine, fake):
    name = f"{fake.host}/broken"
    made(engine, name)
    fake.fault("PUT", "/blobs/uploads/", Cut())
    lines = push(engine.http, name, "1")
    assert not lines.error and "aux" in lines[-1], lines


@pytest.mark.caisson
def test_client_leaves(engine, fake):
    name = f"{fake.host}/leaves"
    made(engine, name)
    fake.fault("PUT", "/blobs/uploads/", Stall(times=-1))
    r = engine.http.stream("POST", f"/images/{name}/push", {"tag": "1"}, headers=images.auth_header())
    assert r.status == 200
    wait_for(lambda: fake.count("PUT", "/blobs/uploads/"), what="the upload")
    threads = lambda: len(os.listdir(f"/proc/{engine.proc.pid}/task"))
    busy = threads()
    r.connection.close()
    wait_for(lambda: threads() < busy, what="its threads to end")
    assert engine.http.get(f"/images/{name}:1/json").status == 200


@pytest.mark.caisson
@pytest.mark.parametrize("media", ["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"])
def test_foreign_layer_is_not_passed_on(engine, fake, media):
    """What may not be distributed comes from whoever has it, here the registry itself, and is not sent to another; the manifest says where it is."""
    ours, theirs = busybox(), files(theirs=os.urandom(8).hex())
    m = images.manifest(fake, [ours, theirs], oci="oci" in media)
    m["layers"][1].update(mediaType=media, urls=["http://127.0.0.1:1/layer"])
    fake.manifest("foreign", "1", m, m["mediaType"])
    assert not pull(engine.http, f"{fake.host}/foreign", "1").error
    with Fake() as other:
        name = f"{other.host}/foreign"
        assert engine.http.post(f"/images/{fake.host}/foreign:1/tag", {"repo": name, "tag": "1"}).status == 201
        lines = push(engine.http, name, "1")
        assert not lines.error and lines.said(theirs.diff[7:19])[-1] == "Skipped foreign layer", lines
        assert other.manifests["foreign", "1"] == fake.manifests["foreign", "1"]
        assert ours.digest in other.blobs and theirs.digest not in other.blobs and not [r for r in other.requests if theirs.digest[7:] in r["path"]]
        engine.http.delete(f"/images/{name}:1")
    engine.http.delete(f"/images/{fake.host}/foreign:1")
    del fake.blobs[theirs.digest]       # nobody has it: its address is not asked, as with dockerd on Linux
    error = pull(engine.http, f"{fake.host}/foreign", "1").error
    assert error and theirs.digest in error and "unknown blob" in error, error


@pytest.mark.caisson
def test_removed_while_pushed(engine, fake):
    """What has been begun goes to its end, also where the layers had to be compressed first."""
    name = f"{fake.host}/removed"
    ident = made(engine, name)["Id"]
    fake.fault("PUT", "/blobs/uploads/", Meanwhile(lambda: engine.http.delete(f"/images/{ident}", {"force": 1})))
    lines = push(engine.http, name, "1")
    assert not lines.error and "aux" in lines[-1], lines
    assert engine.http.get(f"/images/{ident}/json").status == 404
    assert not pull(engine.http, name, "1").error and engine.http.get(f"/images/{ident}/json").status == 200


@pytest.mark.caisson
def test_two_pushes_of_the_same(engine, fake):
    """Each has the plain layer compressed; the second to come may not fall over the manifest that the first has changed."""
    name, other = f"{fake.host}/first", f"{fake.host}/second"
    made(engine, name)
    assert engine.http.post(f"/images/{name}:1/tag", {"repo": other, "tag": "1"}).status == 201
    inner = []
    fake.fault("PUT", "/blobs/uploads/", Meanwhile(lambda: inner.append(push(engine.http, other, "1"))))
    lines = push(engine.http, name, "1")
    assert not lines.error and not inner[0].error, (lines, inner)
    assert lines[-1]["aux"]["Digest"] == inner[0][-1]["aux"]["Digest"]
    assert sorted(engine.http.get(f"/images/{name}:1/json").json["RepoDigests"]) == sorted(f"{n}@{lines[-1]['aux']['Digest']}" for n in (name, other))


@pytest.mark.caisson
def test_platform(engine, fake):
    name = f"{fake.host}/plat"
    made(engine, name)
    lines = push(engine.http, name, "1", platform=json.dumps({"os": "linux", "architecture": "arm64"}))
    assert "does not match the specified platform" in (lines.error or lines.answer.message)
    assert not push(engine.http, name, "1", platform=json.dumps({"os": "linux", "architecture": "amd64"})).error


@needs_docker
@needs_skopeo
def test_real_registry_and_clients(engine, tmp_path):
    with Registry() as reg:
        name = f"{reg.host}/team/app"
        i = made(engine, name, "v1")
        out = engine.cli("push", f"{name}:v1", check=True).stdout.splitlines()
        assert out[0] == f"The push refers to repository [{name}]" and out[-1].startswith("v1: digest: sha256:"), out
        md = out[-1].split()[2]
        run = subprocess.run(["skopeo", "inspect", "--tls-verify=false", f"docker://{name}:v1"], capture_output=True, text=True, check=True)
        assert json.loads(run.stdout)["Digest"] == md
        out = engine.cli("push", "-q", f"{name}:v1", check=True).stdout
        assert out == f"{name}:v1\n"
        engine.http.post(f"/images/{name}:v1/tag", {"repo": f"{reg.host}/other/app", "tag": "v1"})
        lines = push(engine.http, f"{reg.host}/other/app", "v1")
        assert "Mounted from team/app" in lines.said(), lines
        run = subprocess.run(["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{reg.host}/other/app:v1", f"oci:{tmp_path}/out:v1"], capture_output=True, text=True)
        assert run.returncode == 0, run
        for line in engine.client().api.push(name, "v1", stream=True, decode=True):
            assert "error" not in line, line
        engine.http.delete(f"/images/{i['Id']}", {"force": 1})


def test_with_credentials(engine):
    with Registry(htpasswd={"ann": "secret"}) as reg:
        name = f"{reg.host}/x"
        made(engine, name)
        assert push(engine.http, name, "1", headers=images.auth_header("ann", "wrong")).error == "unauthorized: authentication required"
        assert push(engine.http, name, "1").error == "no basic auth credentials"
        lines = push(engine.http, name, "1", headers=images.auth_header("ann", "secret"))
        assert not lines.error and "aux" in lines[-1], lines
        engine.http.delete(f"/images/{name}:1", {"force": 1})
