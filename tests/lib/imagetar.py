# SPDX-License-Identifier: Apache-2.0
"""Archives of images, good and bad ones: each is a few lines in the test that sends it."""
import hashlib
import io
import json
import tarfile

OCI = "application/vnd.oci.image."


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def js(obj):
    return json.dumps(obj, separators=(",", ":")).encode()


def tar(*entries):
    """(name, bytes), (name, "-> target") for a symbolic link, (name, "=> target") for a hard one, (name, None) for a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as t:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.mtime = 1600000000
            if data is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(data, str):
                info.type = tarfile.SYMTYPE if data.startswith("->") else tarfile.LNKTYPE
                info.linkname = data[3:]
            else:
                info.size = len(data)
            t.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else None)
    return out.getvalue()


def layer(name="f", data=b"hello"):
    return tar((name, data if isinstance(data, bytes) else data.encode()))


def config(*layers, diff_ids=None, os="linux", arch="amd64", **more):
    ids = diff_ids if diff_ids is not None else [sha(x) for x in layers]
    return js({"architecture": arch, "os": os, "config": {"Cmd": ["sh"]}, "rootfs": {"type": "layers", "diff_ids": ids}, **more})


def manifest_json(*items):
    """Each item: (config path, tags, layer paths)"""
    return js([{"Config": c, "RepoTags": t, "Layers": ls} for c, t, ls in items])


def docker(tags, *layers, conf=None, first=False):
    """As docker save of 20.10: <id>/layer.tar, the manifest at the end (or first)."""
    conf = conf or config(*layers)
    name = hashlib.sha256(conf).hexdigest() + ".json"
    dirs = [hashlib.sha256(b"v1" + x).hexdigest() for x in layers]
    entries = []
    for d, data in zip(dirs, layers):
        entries += [(d + "/", None), (d + "/VERSION", b"1.0"), (d + "/json", js({"id": d})), (d + "/layer.tar", data)]
    entries.append((name, conf))
    entries.append(("manifest.json", manifest_json((name, tags, [d + "/layer.tar" for d in dirs]))))
    entries.append(("repositories", b"{}"))
    return tar(*(entries[::-1] if first else entries))


class Layout:
    """An OCI image layout: blobs by digest, then index.json."""

    def __init__(self):
        self.blobs, self.entries = {}, []

    def blob(self, data, media_type, **more):
        self.blobs[sha(data)] = data
        return {"mediaType": media_type, "digest": sha(data), "size": len(data), **more}

    def image(self, *layers, conf=None, media="tar", config_type=OCI + "config.v1+json", **more):
        """layers: what is stored; conf: when they are compressed, the configuration cannot be derived."""
        doc = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
               "config": self.blob(conf or config(*layers), config_type),
               "layers": [self.blob(x, OCI + "layer.v1." + media) for x in layers], **more}
        return self.blob(js(doc), OCI + "manifest.v1+json")

    def index(self, *descs, **more):
        return self.blob(js({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": list(descs), **more}), OCI + "index.v1+json")

    def add(self, desc, name=None, key="io.containerd.image.name"):
        self.entries.append({**desc, "annotations": {key: name}} if name else desc)
        return self

    def bytes(self, first=False, index=None, extra=()):
        top = [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", index or js({"schemaVersion": 2, "manifests": self.entries}))]
        blobs = [("blobs/sha256/" + d[7:], self.blobs[d]) for d in sorted(self.blobs)]
        return tar(*(top + blobs if first else blobs + top), *extra)


def platform(desc, os, arch, variant=None):
    return {**desc, "platform": {"os": os, "architecture": arch, **({"variant": variant} if variant else {})}}


def read(data):
    """name -> bytes of an archive, None for directories."""
    with tarfile.open(fileobj=io.BytesIO(data)) as t:
        return {m.name: t.extractfile(m).read() if m.isfile() else None for m in t}
