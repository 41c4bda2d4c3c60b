# SPDX-License-Identifier: Apache-2.0
"""A container that makes directories in each other, deeper than a path, a stack or a table of descriptors."""
import pytest

from box import Boxes

DEEP = 900  # the daemon fell at 500


@pytest.fixture(scope="module")
def deep(engine):
    """A stopped container with a chain of directories and a file in each hundredth."""
    boxes = Boxes(engine)
    b = boxes.create(["/bin/sh", "-c", f"i=0; while [ $i -lt {DEEP} ]; do mkdir d && cd -P d || exit 1; [ $((i % 100)) = 0 ] && echo x > f; "
                      "i=$((i + 1)); done 2>/dev/null; echo made $i"])
    b.start()
    b.wait(timeout=100)
    made = int(b.out.split()[-1]) if "made" in b.out else 0
    yield b, made
    boxes.clean()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("path", ["/containers/{id}/json?size=1", "/containers/json?all=1&size=1", "/system/df", "/containers/{id}/changes",
                                  "/containers/{id}/export", "/containers/{id}/archive?path=/d"])
def test_the_daemon_measures_it(engine, deep, path):
    box, made = deep
    assert made > 600, made
    a = engine.http.get(path.format(id=box.id), rec=False, timeout=100)
    assert a.status in (200, 500), a
    assert engine.http.get("/_ping").status == 200
    if "size" in path or "df" in path:
        assert a.status == 200


@pytest.mark.timeout(120)
def test_commit_and_removal(engine, deep):
    box, _ = deep
    a = engine.http.post("/commit", {"container": box.id, "repo": "t-deep"}, rec=False, timeout=100)
    assert a.status in (201, 500), a
    if a.status == 201:
        assert engine.http.delete("/images/t-deep", {"force": 1}, rec=False).status == 200
    box.rm()
    assert engine.http.get("/_ping").status == 200
