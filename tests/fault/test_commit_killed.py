# SPDX-License-Identifier: Apache-2.0
"""The daemon dies in the middle of a commit: nobody stays frozen, nothing stays behind, and the next commit works."""
import http.client
import os
import random
import subprocess
import threading
import time
from pathlib import Path

import pytest

import caisson_fixture as fx
from box import Boxes
from caisson_fixture import wait_for

pytestmark = pytest.mark.caisson
ROUNDS = int(os.environ.get("CAISSON_FAULT_ROUNDS", "15"))
SEED = int(os.environ.get("CAISSON_FAULT_SEED", str(random.randrange(1 << 30))))


def names(data, *below):
    return {f"{b}/{p.name}" for b in below for p in (Path(data) / b).iterdir()}


@pytest.mark.timeout(300)
def test_killed_during_commit(engine, boxes):
    rng = random.Random(SEED)
    print("CAISSON_FAULT_SEED", SEED)
    box = boxes.sleeper()
    # not of one piece: many small files, and some that take their time
    assert box.exec("mkdir /d; i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo $i > /d/$i; done; for i in 1 2 3; do dd if=/bin/busybox of=/d/b$i bs=1M 2>/dev/null; done; "
                    "dd if=/dev/urandom of=/d/big bs=1M count=80 2>/dev/null")[0] == 0
    data = engine.data
    before = names(data, "layers", "content/blobs/sha256")
    images = {i["Id"] for i in engine.http.get("/images/json", {"all": 1}).json}
    a = engine.http.post("/commit", {"container": box.id}, timeout=60)         # how long does one take?
    start = time.monotonic()
    engine.http.delete("/images/" + a.json["Id"], {"force": 1})
    a = engine.http.post("/commit", {"container": box.id}, timeout=60)
    full = time.monotonic() - start
    engine.http.delete("/images/" + a.json["Id"], {"force": 1})
    frozen = 0
    for _ in range(ROUNDS):
        answers = []

        def go():
            try:
                answers.append(engine.http.post("/commit", {"container": box.id}, timeout=60))
            except (OSError, http.client.HTTPException):
                pass
        t = threading.Thread(target=go)
        t.start()
        time.sleep(rng.uniform(0, full * 1.1))
        held = (data / "containers" / box.id / "held").exists()
        engine.kill()
        t.join()
        frozen += held
        engine.start()
        state = box.state
        assert state["Status"] == "running" and not state["Paused"], (state, held)
        assert not (data / "containers" / box.id / "held").exists()
        assert box.exec("echo alive")[1] == "alive\n"
        now = {i["Id"] for i in engine.http.get("/images/json", {"all": 1}).json}
        new = now - images
        assert len(new) <= 1
        if answers and answers[0].status == 201:
            assert new == {answers[0].json["Id"]}
        for ident in new:
            assert boxes.run("cat /d/7; wc -c < /d/big", image=ident).out.split() == ["7", str(80 << 20)]
            boxes.made.pop().rm()
            assert engine.http.delete("/images/" + ident, {"force": 1}).status == 200
        wait_for(lambda: names(data, "layers", "content/blobs/sha256") == before, what="nothing left of a commit that was cut")
        wait_for(lambda: not list((data / "tmp").iterdir()), what="tmp/ empty")
    assert frozen, "the daemon never died while the container was held"
    assert engine.http.post("/commit", {"container": box.id, "repo": "t-after"}, timeout=60).status == 201
    engine.http.delete("/images/t-after", {"force": 1})


def test_dead_container_does_not_keep_the_note(engine, boxes):
    """It was held, and ended while the engine was away."""
    box = boxes.sleeper()
    assert box.exec("dd if=/dev/urandom of=/big bs=1M count=60 2>/dev/null")[0] == 0
    pid = box.pid
    t = threading.Thread(target=lambda: pytest.raises(Exception, engine.http.post, "/commit", {"container": box.id}))
    t.start()
    wait_for(lambda: (engine.data / "containers" / box.id / "held").exists(), what="held", step=0.001)
    engine.kill()
    t.join()
    os.kill(pid, 9)
    engine.start()
    box.wait()
    wait_for(lambda: not (engine.data / "containers" / box.id / "held").exists(), what="note gone")
    assert box.start().state["Status"] == "running"


def test_disk_full(tmp_path):
    """A commit that does not fit is an error that says so, and leaves everything as it was."""
    data = tmp_path / "data"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", data], check=True)
    try:
        eng = fx.Engine(data_root=data)
        try:
            eng.start().prepare()
            made = Boxes(eng)
            box = made.sleeper()
            assert box.exec("dd if=/dev/urandom of=/big bs=1M count=14 2>/dev/null")[0] == 0
            before = names(data, "layers", "content/blobs/sha256")
            for _ in range(3):
                a = eng.http.post("/commit", {"container": box.id}, timeout=60)
                assert a.status == 507 and "No space left" in a.message, a
                assert box.state["Status"] == "running"
                wait_for(lambda: names(data, "layers", "content/blobs/sha256") == before and not list((data / "tmp").iterdir()), what="nothing left")
            assert box.exec("rm /big; echo small > /small")[0] == 0
            a = eng.http.post("/commit", {"container": box.id})
            assert a.status == 201, a
            assert made.run("cat /small", image=a.json["Id"]).out == "small\n"
        finally:
            eng.close()
    finally:
        subprocess.run(["umount", "-l", data], check=False)
