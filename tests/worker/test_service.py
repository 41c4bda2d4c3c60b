# SPDX-License-Identifier: Apache-2.0
"""The host compute service over real workers, without an engine: tests/unit/run-system.c does the work."""
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXE = Path(os.environ.get("CAISSON_WORKER", str(ROOT / "build/caisson-worker")))
DRIVER = EXE.parent / "tests" / "unit" / "run-system"
SLOW = float(os.environ.get("CAISSON_TIME_FACTOR", "1"))
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not DRIVER.exists() or not os.path.exists("/bin/busybox"), reason="needs root, a build and busybox")


def test_service(tmp_path):
    layer = tmp_path / "layer"
    for d in ("bin", "dev", "proc"):
        (layer / d).mkdir(parents=True)
    shutil.copy("/bin/busybox", layer / "bin/busybox")
    for n in ("sh", "sleep"):
        (layer / "bin" / n).symlink_to("busybox")
    r = subprocess.run([str(DRIVER), str(EXE.resolve()), str(tmp_path)], capture_output=True, text=True, timeout=180 * SLOW)
    assert r.returncode == 0, (r.stdout[-2000:], r.stderr[-2000:])
    end = time.monotonic() + 10 * SLOW
    for group in Path("/sys/fs/cgroup").glob("**/caisson-compute-test"):
        while any(x.is_dir() for x in group.iterdir()):       # a worker removes its own behind its back
            assert time.monotonic() < end, list(group.iterdir())
            time.sleep(0.02)
        group.rmdir()
    assert " - the start has failed\n" in r.stdout        # the last check
