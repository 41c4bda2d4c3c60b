# SPDX-License-Identifier: Apache-2.0
"""HostConfig.StorageOpt: Docker's words where there are no project quotas, a limit where there are."""
import os
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


@pytest.fixture
def quota_root(tmp_path):
    """A data root on ext4 with enforced project quotas."""
    image, place = tmp_path / "disk", tmp_path / "mounted"
    place.mkdir()
    with open(image, "wb") as f:
        f.truncate(400 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota", image], check=True)
    if subprocess.run(["mount", "-o", "loop,prjquota", image, place], capture_output=True).returncode:
        pytest.skip("this kernel has no project quotas for ext4 (CONFIG_QFMT_V2)")
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
    other = boxes.run("dd if=/dev/zero of=/big bs=1M count=50 && echo fits")
    other.wait()
    assert "fits" in other.out
    boxes.clean()
