# SPDX-License-Identifier: Apache-2.0
"""HostConfig.StorageOpt: Docker's words where there are no project quotas, a limit where there are."""
import os
import shutil
import subprocess

import pytest

from box import Boxes
from caisson_fixture import ROOTFS

UNSUPPORTED = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"


@pytest.mark.parametrize("options,text", [({"size": "10G"}, UNSUPPORTED), ({"foo": "1"}, "Unknown option foo")])
def test_refused(engine, options, text):
    before = set(os.listdir(engine.data / "snapshots")) if (engine.data / "snapshots").exists() else None
    a = engine.http.post("/containers/create", body={"Image": ROOTFS, "Cmd": ["true"], "HostConfig": {"StorageOpt": options}}, rec=False)
    if a.status == 201:
        pytest.skip("the data root has project quotas")
    assert a.status == 500 and a.json["message"] == text
    if before is not None:
        assert set(os.listdir(engine.data / "snapshots")) == before


@pytest.fixture(params=["ext4", "xfs"])
def quota_root(request, tmp_path):
    """A data root on a file system with enforced project quotas."""
    image, place = tmp_path / "disk", tmp_path / "mounted"
    make, option = {"ext4": (["mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota"], "prjquota"), "xfs": (["mkfs.xfs", "-q"], "pquota")}[request.param]
    if not shutil.which(make[0]):
        pytest.skip("no " + make[0])
    place.mkdir()
    with open(image, "wb") as f:
        f.truncate(400 << 20)
    subprocess.run([*make, image], check=True)
    if subprocess.run(["mount", "-o", "loop," + option, image, place], capture_output=True).returncode:
        pytest.skip(f"this kernel has no project quotas for {request.param} (CONFIG_QFMT_V2, CONFIG_XFS_QUOTA)")
    yield place
    subprocess.run(["umount", "-l", place])


@pytest.mark.caisson
@pytest.mark.host_mounts
def test_size_is_a_limit(fresh, quota_root):
    eng = fresh(data_root=quota_root / "data")
    boxes = Boxes(eng)
    b = boxes.create("dd if=/dev/zero of=/big bs=1M count=50 2>&1; ls -l /big | awk '{print $5}'; rm /big; dd if=/dev/zero of=/small bs=1M count=5 && echo fits",
                     Host={"StorageOpt": {"size": "20M"}})
    b.start()
    b.wait()
    assert "No space" in b.out or "quota" in b.out.lower(), b.out
    assert "fits" in b.out
    refused = eng.http.post("/containers/create", body={"Image": ROOTFS, "HostConfig": {"StorageOpt": {"size": "many"}}})
    assert refused.status == 400 or refused.status == 500, refused
    eng.restart()                       # the limit stays, and the next project is none that somebody has
    b.start()
    b.wait()
    assert b.out.count("fits") == 2 and not b.out.count("52428800"), b.out
    second = boxes.create("dd if=/dev/zero of=/big bs=1M count=15 && echo fits", Host={"StorageOpt": {"size": "20M"}})
    second.start()
    second.wait()
    assert "fits" in second.out, second.out
    other = boxes.run("dd if=/dev/zero of=/big bs=1M count=50 && echo fits")
    other.wait()
    assert "fits" in other.out
    boxes.clean()
