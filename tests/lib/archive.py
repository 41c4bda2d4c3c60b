# SPDX-License-Identifier: Apache-2.0
"""Words for /containers/x/archive."""
import base64
import io
import json
import subprocess
import tarfile

import rootfs


def head(box, path):
    a = box.http.head(box.url + "/archive", {"path": path})
    text = a.headers.get("X-Docker-Container-Path-Stat")
    return a.status, json.loads(base64.b64decode(text)) if text else None


def get(box, path, **kw):
    return box.http.get(box.url + "/archive", {"path": path}, **kw)


def put(box, path, data, **query):
    data = data.bytes() if isinstance(data, rootfs.Tar) else data
    return box.http.put(box.url + "/archive", {"path": path, **query}, data, headers={"Content-Type": "application/x-tar"})


def members(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as t:
        return t.getmembers()


def raw_names(data):
    return subprocess.run(["tar", "-tPf", "-"], input=data, capture_output=True, check=True).stdout.decode().splitlines()


def content(box, path):
    a = get(box, path)
    assert a.status == 200, a
    with tarfile.open(fileobj=io.BytesIO(a.body)) as t:
        return t.extractfile(t.getmembers()[0]).read()
