# SPDX-License-Identifier: Apache-2.0
"""Images of more layers than names of them fit into one page of mount options."""
import hashlib
import io
import json
import tarfile

import pytest

import rootfs

pytestmark = pytest.mark.caisson  # dockerd stops at 127 layers


def archive(count, name):
    """A docker archive: busybox, then layers of one file each; every tenth hides a file of the one before."""
    layers = [rootfs.busybox().bytes()]
    for i in range(1, count):
        t = rootfs.Tar().file(f"layers/f{i}", str(i)).file("layers/last", str(i))
        if i % 10 == 0:
            t.file(f"layers/.wh.f{i - 1}")
        layers.append(t.bytes())
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]}, "rootfs": {
        "type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(x).hexdigest() for x in layers]}}).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        def add(path, data):
            info = tarfile.TarInfo(path)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
        for i, data in enumerate(layers):
            add(f"{i}/layer.tar", data)
        add("config.json", config)
        add("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": [f"{i}/layer.tar" for i in range(count)]}]).encode())
    return out.getvalue()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("count", [128, 300, 500])
def test_runs(engine, boxes, count):
    name = f"t-many-{count}:latest"
    a = engine.http.post("/images/load", {"quiet": 1}, body=archive(count, name), headers={"Content-Type": "application/x-tar"}, rec=False, timeout=150)
    assert a.status == 200 and b"error" not in a.body, a
    try:
        b = boxes.create(f"cd /layers; cat last; echo; ls | wc -l; cat f1; echo; cat f{count - 1}; echo; ls f9; echo new > f1; rm f2; ls f2; cat f1", image=name)
        assert b.post("start").status == 204, b
        b.wait()
        assert b.out.split() == [str(count - 1), str(count - 1 - (count - 1) // 10 + 1), "1", str(count - 1), "new"], b.out
    finally:
        engine.http.delete(f"/images/{name}", {"force": 1}, rec=False)
