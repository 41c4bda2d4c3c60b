# SPDX-License-Identifier: Apache-2.0
"""caisson manifest inspect beside docker's: both ask the registry themselves, no engine runs."""
import json
import re
import shutil
import subprocess

import pytest

import caisson_fixture as fx
from registry import CONFIG, LAYER, MANIFEST, Authority, Fake, digest
from twins import CAISSON, Twins

pytestmark = [pytest.mark.caisson, pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")]
OCI, OCI_INDEX, LIST = (f"application/vnd.{x}+json" for x in ("oci.image.manifest.v1", "oci.image.index.v1", "docker.distribution.manifest.list.v2"))


def fill(fake):
    config = json.dumps({"architecture": "arm64", "variant": "v8", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "config": {}}).encode()
    layer = b"x" * 100

    def image(kind, config_type, layer_type, **more):
        return {"schemaVersion": 2, "mediaType": kind, "config": {"mediaType": config_type, "size": len(config), "digest": fake.blob(config)},
                "layers": [{"mediaType": layer_type, "size": len(layer), "digest": fake.blob(layer)}], **more}
    docker = image(MANIFEST, CONFIG, LAYER)
    oci = image(OCI, "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip", annotations={"k": "<a> & \"b\"\té"})
    fake.manifest("a/b", "docker", docker)
    raw = json.dumps(oci, ensure_ascii=False).encode()
    fake.manifest("a/b", "oci", raw, OCI)
    entries = [{"mediaType": MANIFEST, "digest": digest(json.dumps(docker).encode()), "size": len(json.dumps(docker)), "platform": p}
               for p in ({"architecture": "amd64", "os": "linux"}, {"architecture": "arm64", "os": "linux", "variant": "v8"})]
    fake.manifest("a/b", "list", {"schemaVersion": 2, "mediaType": LIST, "manifests": entries}, LIST)
    fake.manifest("a/b", "index", {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI, "digest": digest(raw), "size": len(raw), "annotations": {"q": "r"}, "platform": {"architecture": "amd64", "os": "linux"}}]}, OCI_INDEX)


@pytest.fixture
def secure(tmp_path):
    ca = Authority(tmp_path / "ca")
    with Fake(tls=ca.issue("registry")) as fake:
        fill(fake)
        yield fake, str(ca.cert)


@pytest.mark.parametrize("flags", [[], ["--verbose"], ["-v", "--insecure"]])
def test_as_docker(secure, tmp_path, flags):
    fake, ca = secure
    twins = Twins(tmp_path, SSL_CERT_FILE=ca)
    for ref in (":docker", ":oci", ":list", ":index", "@" + digest(fake.manifests["a/b", "oci"][1])):
        status, out, _ = twins.same("manifest", "inspect", *flags, f"{fake.host}/a/b{ref}")
        assert status == 0 and json.loads(out)
    assert twins.same("manifest", "inspect", *flags, f"{fake.host}/a/b:nosuch")[2] == f"no such manifest: {fake.host}/a/b:nosuch\n"
    assert twins.same("manifest", "inspect", *flags, f"{fake.host}/a/list", f"{fake.host}/a/b:docker")[0] == 1
    assert twins.same("manifest", "inspect", "A/B")[0] == 1


def test_plain_http_of_this_host(tmp_path):
    """docker refuses it, even with --insecure."""
    with Fake() as fake:
        fill(fake)
        status, out, _ = Twins(tmp_path).one("caisson", "manifest", "inspect", f"{fake.host}/a/b:docker")
        assert status == 0 and json.loads(out)["mediaType"] == MANIFEST


def test_a_registry_that_lies(tmp_path):
    """What was asked for by digest has that digest, also in a list, or nothing is shown."""
    with Fake() as fake:
        fill(fake)
        good = digest(fake.manifests["a/b", "docker"][1])
        fake.manifests["a/b", good] = (MANIFEST, fake.manifests["a/b", "docker"][1] + b" ")
        for args in ([f"{fake.host}/a/b@{good}"], ["-v", f"{fake.host}/a/b:list"]):
            status, out, err = Twins(tmp_path / args[0][:2].strip("-1")).one("caisson", "manifest", "inspect", *args)
            assert status == 1 and not out and "digest" in err, err
        fake.manifest("a/b", "text", b"[]")
        status, out, err = Twins(tmp_path / "t").one("caisson", "manifest", "inspect", f"{fake.host}/a/b:text")
        assert status == 1 and not out and err.strip()


def test_credentials(tmp_path):
    twins = Twins(tmp_path)
    with Fake() as fake:
        fill(fake)
        twins.write("config/config.json", json.dumps({"auths": {fake.host: {"auth": "dTpw"}}}))
        assert twins.one("caisson", "manifest", "inspect", f"{fake.host}/a/b:docker")[0] == 0
        sent = [r["headers"].get("authorization") for r in fake.requests]
        assert set(sent) <= {None, "Basic dTpw"}


@pytest.mark.unsanitized
def test_libraries_come_late(tmp_path):
    maps = subprocess.run(["ldd", CAISSON], capture_output=True, text=True, check=True).stdout
    assert not re.search(r"nettle|curl|gnutls|libm\.", maps)
    assert b"libcurl.so.4" in (fx.BUILD / "caisson").read_bytes()
