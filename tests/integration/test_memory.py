# SPDX-License-Identifier: Apache-2.0
"""What an idle engine and an idle worker hold, as if nobody else on the host used the same libraries (but libc)."""
import statistics
import time
from pathlib import Path

import pytest

from box import Box, create
from caisson_fixture import BASE, processes, wait_for

pytestmark = [pytest.mark.caisson, pytest.mark.unsanitized, pytest.mark.timeout(120)]
QUIET = 2       # seconds until memory has gone back
KIB_PER_CONTAINER = 6


def pages(pid):
    """(KiB that the process would hold alone, KiB of anonymous memory)."""
    alone = anon = 0
    shared = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            shared = len(words) > 5 and words[5].rsplit("/", 1)[-1].startswith(("libc.so", "ld-linux", "[vdso]"))
        elif words[0] == "Pss:" and shared or words[0] == "Rss:" and not shared:
            alone += int(words[1])
        elif words[0] == "Anonymous:":
            anon += int(words[1])
    return alone, anon


def settled(pid, which=0):
    """Median of several readings after a quiet moment."""
    time.sleep(QUIET)
    values = []
    for _ in range(5):
        values.append(pages(pid)[which])
        time.sleep(0.1)
    return statistics.median(values)


def worker_of(eng, box):
    """Not the one that is kept ready for the next start: that one is not in `alone` either, which counts shared code in full."""
    return [pid for pid, parent, cmd in processes() if parent == eng.proc.pid and cmd.startswith("caisson-worker") and box.id in cmd]


def test_idle_engine(fresh):
    eng = fresh()       # has imported the base image and one more
    assert settled(eng.proc.pid) <= 8 << 10, "after the first start, with imports"
    eng.restart()
    assert settled(eng.proc.pid) <= 6 << 10, "after a restart"


def test_idle_engine_that_has_served(fresh):
    eng = fresh(prepare=False)
    for _ in range(3):
        for args in (("version",), ("run", "--rm", "--network", "none", BASE, "echo", "x"), ("images",), ("ps", "-a"), ("info",)):
            eng.cli(*args, check=True)
    assert settled(eng.proc.pid) <= 8 << 10


def test_lone_worker(fresh):
    eng = fresh(prepare=False)
    box = Box(eng, create(eng, "echo ready; while true; do sleep 1000; done", image=BASE).json["Id"]).start()
    box.wait_log("ready")
    pid = wait_for(lambda: worker_of(eng, box), what="the worker")[0]
    assert settled(pid) <= 170, "after the start"
    for _ in range(3):
        assert box.exec("echo x")[0] == 0
    assert settled(pid) <= 170, "after execs"
    assert eng.http.get(f"/containers/{box.id}/json").json["State"]["Running"]


# What the docker command sends for a plain `docker create`.
PLAIN = {"Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": True, "AttachStderr": True, "Tty": False, "OpenStdin": False,
         "StdinOnce": False, "Env": [], "Cmd": ["sleep", "1000"], "Image": BASE, "Volumes": {}, "WorkingDir": "", "Entrypoint": None, "OnBuild": None,
         "Labels": {}, "HostConfig": {"Binds": None, "ContainerIDFile": "", "LogConfig": {"Type": "", "Config": {}}, "NetworkMode": "none",
                                      "PortBindings": {}, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "AutoRemove": False}}


@pytest.mark.parametrize("running,warm,count", [(False, 260, 200), (True, 140, 60)], ids=["created", "running"])
def test_heap_per_container(fresh, running, warm, count):
    eng = fresh(prepare=False)

    def make(n):
        for _ in range(n):
            a = eng.http.post("/containers/create", body=PLAIN, rec=False)
            assert a.status == 201, a
            if running:
                a = eng.http.post(f"/containers/{a.json['Id']}/start", rec=False)
                assert a.status == 204, a
    make(warm)          # fills what is bounded and there once for all: the history of 256 events, SQLite's cache
    before = settled(eng.proc.pid, 1)
    make(count)
    after = settled(eng.proc.pid, 1)
    assert (after - before) / count <= KIB_PER_CONTAINER


def test_idle_engine_that_had_networks(fresh):
    """Names answered, ports published, the firewall made anew: libraries that are loaded for that stay, and what they hold is bounded."""
    from netns import lookup
    eng = fresh(netns=True)
    for n in range(2):
        net = eng.http.post("/networks/create", body={"Name": f"mem{n}"}).json["Id"]
        boxes = []
        for i in range(10):
            a = create(eng, ["sleep", "1000"], network=f"mem{n}", name=f"mem{n}-{i}", Host={"PortBindings": {"80/tcp": [{"HostPort": str(20000 + i)}]}})
            boxes.append(Box(eng, a.json["Id"]).start())
        assert lookup(boxes[0], f"mem{n}-9") and lookup(boxes[1], "nobody.invalid") == []
        eng.netns.run("nft", "flush", "ruleset")
        wait_for(lambda: "20009" in eng.netns.nft(), what="our rules again")
        for b in boxes:
            assert b.rm().status == 204
        assert eng.http.delete("/networks/" + net).status == 204
    assert settled(eng.proc.pid) <= 8 << 10
