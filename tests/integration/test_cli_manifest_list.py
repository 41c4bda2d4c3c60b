# SPDX-License-Identifier: Apache-2.0
"""manifest create, annotate, push and rm beside docker's: both keep files beside config.json and push them themselves, no engine runs."""
import json
import select
import shutil
import socket
import ssl
import urllib.error
import urllib.request

import pytest

from listener import Listener
from registry import CONFIG, LAYER, MANIFEST, Authority, Registry, digest
from twins import Twins

pytestmark = [pytest.mark.caisson, pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")]
OCI, OCI_INDEX, LIST = (f"application/vnd.{x}+json" for x in ("oci.image.manifest.v1", "oci.image.index.v1", "docker.distribution.manifest.list.v2"))


class Front(Listener):
    """TLS and plain HTTP at one port, before a registry that speaks plain HTTP: of a registry at a loopback address docker reads by TLS, and writes without."""

    def __init__(self, behind, cert, key):
        self.behind, self.context = behind, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        super().__init__()
        self.host = f"127.0.0.1:{self.port}"

    def serve(self, conn):
        try:
            if conn.recv(1, socket.MSG_PEEK) == b"\x16":
                conn = self.context.wrap_socket(conn, server_side=True)
            with conn, socket.create_connection(self.behind) as up:
                while True:     # one thread: a TLS connection is not for two
                    buffered = isinstance(conn, ssl.SSLSocket) and conn.pending()
                    ready = [conn] if buffered else select.select([conn, up], [], [])[0]
                    for a in ready:
                        data = a.recv(65536)
                        if not data:
                            return
                        (up if a is conn else conn).sendall(data)
        except OSError:
            conn.close()


class Remote:
    """What is in the registry, by its API."""

    def __init__(self, host, ca):
        self.host, self.context = host, ssl.create_default_context(cafile=str(ca.cert))

    def ask(self, method, path, data=None, kind="application/octet-stream", accept=f"{MANIFEST}, {OCI}, {LIST}, {OCI_INDEX}"):
        url = path if path.startswith("http") else f"https://{self.host}/v2/{path}"
        request = urllib.request.Request(url, data, {"Content-Type": kind, "Accept": accept}, method=method)
        with urllib.request.urlopen(request, context=self.context, timeout=30) as answer:
            return answer.headers, answer.read()

    def blob(self, repo, data):
        where = self.ask("POST", f"{repo}/blobs/uploads/", b"")[0]["Location"]
        self.ask("PUT", f"{where}{'&' if '?' in where else '?'}digest={digest(data)}", data)
        return {"size": len(data), "digest": digest(data)}

    def image(self, repo, tag, architecture, kind=MANIFEST, **more):
        config = json.dumps({"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, **more}).encode()
        types = (CONFIG, LAYER) if kind == MANIFEST else ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip")
        data = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": {"mediaType": types[0], **self.blob(repo, config)},
                           "layers": [{"mediaType": types[1], **self.blob(repo, b"layer of " + architecture.encode())}]}, indent=3).encode()
        self.ask("PUT", f"{repo}/manifests/{tag}", data, kind)
        return digest(data)

    def manifest(self, repo, ref):
        headers, data = self.ask("GET", f"{repo}/manifests/{ref}")
        return headers["Content-Type"], data


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    ca = Authority(tmp_path_factory.mktemp("ca"))
    with Registry() as registry:
        front = Front(("127.0.0.1", registry.port), *ca.issue("front"))
        r = Remote(front.host, ca)
        r.ca = str(ca.cert)
        r.image("a/b", "amd64", "amd64")
        r.arm = r.image("a/b", "arm64", "arm64", variant="v8")
        r.image("other/place", "s390x", "s390x")
        r.image("a/b", "nothing", "")
        r.image("oci/one", "amd64", "amd64", OCI)
        r.image("oci/one", "arm64", "arm64", OCI)
        yield r
        front.close()


@pytest.fixture
def twins(remote, tmp_path):
    return Twins(tmp_path, SSL_CERT_FILE=remote.ca)


def stored(twins):
    """What each has beside its config.json: {file: content}."""
    roots = [twins.root / name / "config/manifests" for name in ("docker", "caisson")]
    return [{str(p.relative_to(root)): json.loads(p.read_text()) for p in root.rglob("*") if p.is_file()} for root in roots]


def test_made_annotated_and_pushed(remote, twins):
    h = remote.host
    assert twins.same("manifest", "create", f"{h}/a/b:all", f"{h}/a/b:amd64", f"{h}/a/b@{remote.arm}")[1] == f"Created manifest list {h}/a/b:all\n"
    docker, caisson = stored(twins)
    assert caisson == docker and len(docker) == 2
    assert twins.same("manifest", "create", f"{h}/a/b:all", f"{h}/a/b:amd64")[0] == 1       # it is there
    assert twins.same("manifest", "create", "-a", f"{h}/a/b:all", f"{h}/other/place:s390x")[0] == 0
    assert twins.same("manifest", "annotate", "--os-version", "1.2", "--os-features", "x,y", "--os-features", "x", "--variant", "v9", f"{h}/a/b:all", f"{h}/a/b@{remote.arm}")[0] == 0
    docker, caisson = stored(twins)
    assert caisson == docker and len(docker) == 3
    for args in (["inspect", f"{h}/a/b:all"], ["inspect", "-v", f"{h}/a/b:all"], ["inspect", f"{h}/a/b:all", f"{h}/a/b:amd64"], ["inspect", "-v", f"{h}/a/b:all", f"{h}/other/place:s390x"]):
        assert twins.same("manifest", *args)[0] == 0
    pushed = []
    for name in ("docker", "caisson"):
        status, out, err = twins.one(name, "manifest", "push", f"{h}/a/b:all")
        assert (status, err) == (0, ""), err
        pushed.append((out, remote.manifest("a/b", "all")))
        kind, data = pushed[-1][1]
        assert kind == LIST and out.splitlines()[-1] == digest(data) and out.startswith(f"Pushed ref {h}/a/b@sha256:")
        remote.ask("DELETE", f"a/b/manifests/{digest(data)}")
    assert pushed[0] == pushed[1]
    entries = json.loads(data)["manifests"]
    assert {e["platform"]["architecture"] for e in entries} == {"amd64", "arm64", "s390x"}
    for e in entries:   # all of it came along
        for blob in [b for m in [json.loads(remote.manifest("a/b", e["digest"])[1])] for b in (m["config"], *m["layers"])]:
            remote.ask("HEAD", f"a/b/blobs/{blob['digest']}")
    assert twins.same("manifest", "push", "--purge", f"{h}/a/b:all")[0] == 0
    assert stored(twins) == [{}, {}] and twins.same("manifest", "push", f"{h}/a/b:all")[0] == 1


def test_each_reads_what_the_other_wrote(remote, tmp_path):
    h = remote.host
    for maker, user in (("docker", "caisson"), ("caisson", "docker")):
        t = Twins(tmp_path / maker, SSL_CERT_FILE=remote.ca)
        assert t.one(maker, "manifest", "create", f"{h}/a/b:{maker}", f"{h}/a/b:amd64", f"{h}/a/b:arm64")[0] == 0
        shutil.copytree(t.root / maker / "config/manifests", t.root / user / "config/manifests")
        assert t.one(user, "manifest", "annotate", "--variant", "v7", f"{h}/a/b:{maker}", f"{h}/a/b:amd64")[0] == 0
        assert t.one(user, "manifest", "push", "-p", f"{h}/a/b:{maker}")[0] == 0
        assert {e["platform"].get("variant") for e in json.loads(remote.manifest("a/b", maker)[1])["manifests"]} == {"v7", "v8"}


def test_an_index_of_oci_images(remote, twins):
    h = remote.host
    twins.same("manifest", "create", f"{h}/oci/one:all", f"{h}/oci/one:amd64", f"{h}/oci/one:arm64")
    assert twins.same("manifest", "inspect", f"{h}/oci/one:all")[0] == 0
    both = []
    for name in ("docker", "caisson"):
        assert twins.one(name, "manifest", "push", f"{h}/oci/one:all")[0] == 0
        both.append(remote.manifest("oci/one", "all"))
        assert both[-1][0] == OCI_INDEX
    assert both[0] == both[1]


def test_what_is_wrong(remote, twins):
    h = remote.host
    for args in (["create", "A/B", f"{h}/a/b:amd64"], ["create", f"{h}/a/b:x", "A/B"], ["create", f"{h}/a/b:x", f"{h}/a/b:nosuch"], ["create", "x"], ["annotate", "x"], ["annotate", "x", "y"],
                 ["annotate", "A", "b"], ["annotate", "a", "B"], ["rm"], ["rm", "nosuch"], ["rm", "nosuch", "A/B", "other:tag"], ["push"], ["push", "nosuch"], ["push", "A/B"], ["push", "a", "b"],
                 ["inspect", "nosuch", "x"], ["inspect", f"{h}/a/b:x", "A"], ["create", "--nosuch"], ["annotate", "--os"]):
        assert twins.same("manifest", *args)[0] in (1, 125), args
    twins.same("manifest", "create", f"{h}/a/b:x", f"{h}/a/b:amd64", f"{h}/a/b:nothing")
    for args in (["push", f"{h}/a/b:x"], ["annotate", "--os", "linux", f"{h}/a/b:x", f"{h}/a/b:nothing"], ["annotate", "--os", "beos", "--arch", "ppc", f"{h}/a/b:x", f"{h}/a/b:amd64"],
                 ["annotate", f"{h}/a/b:x", f"{h}/a/b:arm64"], ["create", f"{h}/a/b:x", f"{h}/a/b:amd64"]):
        assert twins.same("manifest", *args)[0] == 1, args
    assert twins.same("manifest", "annotate", f"{h}/a/b:x", f"{h}/a/b:amd64")[0] == 0
    # of another registry
    twins.same("manifest", "create", "other.invalid/a/b:x", f"{h}/a/b:amd64")
    for args in (["inspect", "other.invalid/a/b:x"], ["push", "other.invalid/a/b:x"]):
        assert twins.same("manifest", *args)[0] == 1
    assert twins.same("manifest", "rm", f"{h}/a/b:x", "nosuch", "other.invalid/a/b:x")[0] == 1 and stored(twins) == [{}, {}]


def test_platforms_that_there_are(remote, twins):
    """All pairs, against docker's table: it takes no registry to see, once an image is there."""
    h = remote.host
    twins.same("manifest", "create", f"{h}/a/b:x", f"{h}/a/b:amd64")
    for os, arch in (("linux", "riscv64"), ("linux", "ppc64"), ("windows", "amd64"), ("windows", "arm"), ("darwin", "arm64"), ("darwin", "ppc64le"), ("freebsd", "arm64"), ("freebsd", "arm"),
                     ("plan9", "386"), ("plan9", "arm"), ("aix", "ppc64"), ("openbsd", "arm64"), ("netbsd", "arm"), ("solaris", "amd64"), ("dragonfly", "386"), ("android", "arm64"), ("js", "wasm"), ("linux", "mipsle")):
        twins.same("manifest", "annotate", "--os", os, "--arch", arch, f"{h}/a/b:x", f"{h}/a/b:amd64")
    for os, arch in (("linux", "loong64"), ("windows", "arm64")):     # docker 28.2.2 does not know of these yet
        assert twins.one("caisson", "manifest", "annotate", "--os", os, "--arch", arch, f"{h}/a/b:x", f"{h}/a/b:amd64")[0] == 0


def test_a_file_that_is_none(remote, twins):
    """A broken file is named; what was changed by hand is not pushed as the image that it was."""
    h = remote.host
    assert twins.one("caisson", "manifest", "create", f"{h}/a/b:x", f"{h}/other/place:s390x")[0] == 0
    file = next((twins.root / "caisson/config/manifests").rglob("*s390x"))
    image = json.loads(file.read_text())
    file.write_text(json.dumps({**image, "Raw": "e30="}))
    status, _, err = twins.one("caisson", "manifest", "push", f"{h}/a/b:x")
    assert status == 1 and "another digest" in err
    for text in ("{", "[]", "{}", '{"Ref": 1}', ""):
        file.write_text(text)
        for args in (["push", f"{h}/a/b:x"], ["inspect", f"{h}/a/b:x"], ["annotate", f"{h}/a/b:x", f"{h}/other/place:s390x"]):
            status, _, err = twins.one("caisson", "manifest", *args)
            assert status == 1 and str(file.name) in err, err
    with pytest.raises(urllib.error.HTTPError):
        remote.manifest("a/b", "x")
