# SPDX-License-Identifier: Apache-2.0
"""Where the state lies: odd names work, what cannot work is refused at the start."""
import os
import subprocess

import pytest

from box import Boxes
from caisson_fixture import BUILD

pytestmark = pytest.mark.caisson


def refusal(tmp_path, data, execution=None):
    done = subprocess.run([str(BUILD / "caissond"), "--config-file", "/dev/null", "--data-root", str(data), "--exec-root", str(execution or tmp_path / "exec"), "--pidfile",
                           str(tmp_path / "pid"), "-H", f"unix://{tmp_path}/s", "--bridge=none", "--firewall=false"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1, done.stderr
    return done.stderr


@pytest.fixture
def mounted(tmp_path):
    """Mounts on tmp_path/m; skips where that is not possible."""
    place = tmp_path / "m"
    place.mkdir()

    def mount(*args):
        done = subprocess.run(["mount", *map(str, args), str(place)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(done.stderr)
        return place
    yield mount
    subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def test_a_link_and_odd_names(fresh, tmp_path):
    real = tmp_path / "a b,c:d\\e 'ü→\n%s"
    real.mkdir()
    link = tmp_path / "link"
    link.symlink_to(real)
    eng = fresh(data_root=link)
    boxes = Boxes(eng)
    b = boxes.run("echo x >/data/f && cat /data/f", Host={"Binds": ["named:/data"], "NetworkMode": "none"})
    assert b.wait() == 0 and b.out == "x\n"
    assert (real / "volumes" / "named" / "_data" / "f").read_text() == "x\n"
    boxes.clean()


@pytest.mark.host_mounts
def test_an_overlay_cannot_hold_snapshots(mounted, tmp_path):
    base = tmp_path / "base"
    subprocess.run(["mkdir", "-p", base / "l", base / "u", base / "w"], check=True)
    place = mounted("-t", "overlay", "-o", f"lowerdir={base}/l,upperdir={base}/u,workdir={base}/w", "o")
    text = refusal(tmp_path, place / "data")
    assert f"storage driver overlay2 is not supported on the file system of {place}/data: it cannot be the upper of an overlay" in text
    assert os.listdir(place / "data" / "tmp") == []


@pytest.mark.host_mounts
def test_directories_without_types(mounted, tmp_path):
    image = tmp_path / "disk"
    with open(image, "wb") as f:
        f.truncate(16 << 20)
    subprocess.run(["mkfs.ext2", "-q", "-O", "^filetype", image], check=True)
    place = mounted("-o", "loop", image)
    assert "it is formatted without d_type support" in refusal(tmp_path, place / "data")


def test_one_daemon_for_each_root(engine, tmp_path):
    assert f"{engine.data} is in use by another caissond (PID {engine.proc.pid})" in refusal(tmp_path, engine.data)
    assert f"{engine.exec} is in use by another caissond (PID {engine.proc.pid})" in refusal(tmp_path, tmp_path / "data", engine.exec)
    assert engine.http.get("/_ping").status == 200
