# SPDX-License-Identifier: Apache-2.0
"""Images made in memory, for registries of tests: layers, configurations, manifests and indexes in both dialects; and pulls and pushes as lines."""
import base64
import gzip
import json
import subprocess

import rootfs
from registry import CONFIG, LAYER, MANIFEST, digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


class Layer:
    """One layer: its tar, and how it travels."""

    def __init__(self, tar, how="gzip", oci=False):
        self.tar, self.diff = tar, digest(tar)
        if how == "gzip":
            self.data = gzip.compress(tar, 1, mtime=0)
        elif how == "zstd":
            self.data = subprocess.run(["zstd", "-q", "-c"], input=tar, check=True, capture_output=True).stdout
        else:
            self.data = tar
        end = {"gzip": "+gzip", "zstd": "+zstd", "tar": ""}[how]
        self.media = OCI_LAYER + end if oci or how != "gzip" else LAYER
        self.digest = digest(self.data)


def files(how="gzip", oci=False, **content):
    """A layer of a few files."""
    tar = rootfs.Tar()
    for name, text in content.items():
        tar.file(name, text)
    return Layer(tar.bytes(), how, oci)


_BUSYBOX = []


def busybox():
    if not _BUSYBOX:
        _BUSYBOX.append(Layer(rootfs.busybox().bytes()))
    return _BUSYBOX[0]


def config(layers, arch="amd64", os="linux", **extra):
    c = {"architecture": arch, "os": os, "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]}, "rootfs": {"type": "layers", "diff_ids": [l.diff for l in layers]},
         "created": "2024-01-01T00:00:00Z", **extra}
    return json.dumps(c).encode()


def manifest(fake, layers, oci=False, conf=None, **extra):
    """The manifest's object; its blobs are in the registry."""
    text = conf if conf is not None else config(layers)
    for l in layers:
        fake.blob(l.data)
    return {"schemaVersion": 2, "mediaType": OCI_MANIFEST if oci else MANIFEST,
            "config": {"mediaType": OCI_CONFIG if oci else CONFIG, "size": len(text), "digest": fake.blob(text)},
            "layers": [{"mediaType": l.media, "size": len(l.data), "digest": l.digest} for l in layers], **extra}


def put(fake, repo, tag, layers, oci=False, conf=None, **extra):
    """Puts a whole image there; returns (manifest digest, image id)."""
    m = manifest(fake, layers, oci, conf, **extra)
    return fake.manifest(repo, tag, m, m["mediaType"]), m["config"]["digest"]


def entry(fake, repo, m, platform=None, **more):
    """Puts a manifest or an index there; returns its descriptor, as it stands in an index."""
    data = json.dumps(m).encode()
    fake.manifests[repo, digest(data)] = (m["mediaType"], data)
    return {"mediaType": m["mediaType"], "size": len(data), "digest": digest(data), **({"platform": platform} if platform else {}), **more}


def attestation(fake, repo, subject, text=b'{"_type":"https://in-toto.io/Statement/v0.1"}'):
    """What BuildKit says about a manifest: the descriptor of an entry beside it."""
    conf = config([], arch="unknown", os="unknown")
    m = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {"mediaType": OCI_CONFIG, "size": len(conf), "digest": fake.blob(conf)},
         "layers": [{"mediaType": "application/vnd.in-toto+json", "size": len(text), "digest": fake.blob(text)}]}
    return entry(fake, repo, m, {"os": "unknown", "architecture": "unknown"},
                 annotations={"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": subject["digest"]})


def index(fake, repo, tag, entries, oci=True):
    """entries: (manifest object, platform)."""
    listed = [entry(fake, repo, m, platform) for m, platform in entries]
    return fake.manifest(repo, tag, {"schemaVersion": 2, "mediaType": OCI_INDEX if oci else LIST, "manifests": listed}, OCI_INDEX if oci else LIST)


def auth_header(user="", password="", **more):
    text = json.dumps({"username": user, "password": password, **more} if user else more)
    return {"X-Registry-Auth": base64.urlsafe_b64encode(text.encode()).decode()}


class Lines(list):
    """The lines of a progress stream."""

    def __init__(self, answer):
        super().__init__(json.loads(l) for l in answer.body.decode().splitlines() if l.strip())
        self.status = answer.status
        self.answer = answer

    @property
    def error(self):
        return next((l["error"] for l in self if "error" in l), None)

    def said(self, ident=None):
        """Statuses, each once in a row; of one id, or all."""
        out = []
        for l in self:
            if "status" in l and (ident is None or l.get("id") == ident) and (not out or out[-1] != l["status"]):
                out.append(l["status"])
        return out


def pull(http, image, tag=None, headers=None, timeout=60, **query):
    q = {"fromImage": image, **query}
    if tag:
        q["tag"] = tag
    return Lines(http.post("/images/create", q, headers=headers or {}, timeout=timeout, rec=False))


def push(http, image, tag=None, headers=None, timeout=60, **query):
    q = dict(query)
    if tag:
        q["tag"] = tag
    return Lines(http.post(f"/images/{image}/push", q, headers={**auth_header(), **(headers or {})}, timeout=timeout, rec=False))
