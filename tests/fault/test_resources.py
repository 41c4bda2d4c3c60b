# SPDX-License-Identifier: Apache-2.0
"""Full disks, dead workers, hostile loads: clear errors, and the neighbours are well."""
import os
import signal
import socket
import subprocess
import tarfile
import threading
import time
from pathlib import Path

import pytest

import caisson_fixture as fx
import imagetar as it
from box import Boxes, create, execs_of_worker
from caisson_fixture import wait_for

pytestmark = pytest.mark.caisson


@pytest.fixture
def small(tmp_path):
    """An engine whose data root is a small file system of its own."""
    data = tmp_path / "data"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=0710", "caisson-test", str(data)], check=True)
    engine = fx.Engine(data_root=data)
    engine.mounts = lambda: []      # the test's own mount is not a leak
    try:
        yield engine.start().prepare()
    finally:
        engine.close()
        subprocess.run(["umount", "-l", str(data)], check=True)


def fill(engine):
    ballast = engine.data / "ballast"
    fd = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(fd, b"\0" * 4096)
    except OSError:
        pass
    finally:
        os.close(fd)
    return ballast


def test_disk_full_while_creating(small):
    boxes = Boxes(small)
    before = boxes.run("exit 3")
    ballast = fill(small)
    a = create(small, "true")
    if a.status == 201:
        a = small.http.post(f"/containers/{a.json['Id']}/start")
    assert a.status >= 500 and "o space left on device" in a.message or "full" in a.message, a
    assert small.http.get("/_ping").status == 200
    assert before.state["ExitCode"] == 3
    ballast.unlink()
    assert boxes.run("exit 4").code == 4


def test_disk_full_while_logging(small):
    boxes = Boxes(small)
    b = boxes.start("while :; do echo line; usleep 1000; done", Host={"LogConfig": {"Type": "json-file", "Config": {}}})
    b.wait_log("line")
    ballast = fill(small)
    time.sleep(0.3)
    assert b.state["Running"] and os.path.exists(f"/proc/{b.pid}")
    ballast.unlink()
    size = os.path.getsize(b.inspect()["LogPath"])
    wait_for(lambda: os.path.getsize(b.inspect()["LogPath"]) > size, what="the log goes on")
    small.restart()
    assert b.state["Running"]


def test_who_filled_the_disk_can_be_removed(small):
    """Not even the deletion of a row has room then: the container's files make it."""
    boxes = Boxes(small)
    b = boxes.start("cat /dev/zero >/big; cat /dev/zero >/more; sleep 1000")
    wait_for(lambda: os.statvfs(small.data).f_bavail == 0 and "sleep 1000" in str(small.http.get(b.url + "/top").json["Processes"]), what="a full disk")
    assert small.http.delete(b.url, {"force": 1}).status == 204
    assert small.http.get(b.url + "/json").status == 404
    small.restart()
    assert small.http.get("/containers/json", {"all": 1}).json == []
    assert boxes.run("echo again").out == "again\n"


def test_disk_full_while_importing(small):
    import rootfs
    images = len(small.http.get("/images/json").json)
    a = small.http.post("/images/create", {"fromSrc": "-", "repo": "big"}, body=rootfs.Tar().file("big", os.urandom(64 << 20)).bytes(),
                        headers={"Content-Type": "application/x-tar"}, rec=False)
    assert a.status >= 400 or b'"error' in a.body
    assert len(small.http.get("/images/json").json) == images
    assert Boxes(small).run("exit 4").code == 4


def worker_of(box):
    return int(Path(f"/proc/{box.pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_worker_killed(fresh):
    engine = fresh()
    boxes = Boxes(engine)
    b, other = boxes.sleeper(), boxes.sleeper()
    pid = b.pid
    os.kill(worker_of(b), 9)
    wait_for(lambda: not b.state["Running"], what="the engine notices")
    wait_for(lambda: not os.path.exists(f"/proc/{pid}") or b" Z " in Path(f"/proc/{pid}/stat").read_bytes(), what="the container ends with it")
    assert b.state["ExitCode"] in (137, 255)
    assert other.state["Running"]
    assert b.rm().status == 204


def test_worker_killed_while_the_daemon_is_dead(fresh):
    engine = fresh()
    b = Boxes(engine).sleeper()
    worker, pid = worker_of(b), b.pid
    engine.kill()
    os.kill(worker, 9)
    engine.start()
    assert not b.state["Running"]
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), what="no orphan")
    assert b.rm().status == 204


def test_memory_fill_spares_the_neighbour(fresh):
    engine = fresh()
    boxes = Boxes(engine)
    calm = boxes.sleeper()
    b = boxes.start(["sh", "-c", "tail /dev/zero"], Host={"Memory": 16 << 20, "MemorySwap": 16 << 20})
    assert b.wait() == 137 and b.state["OOMKilled"] and calm.state["Running"]


def test_oom_of_a_child_spares_pid_1(fresh):
    engine = fresh()
    b = Boxes(engine).run("sh -c 'tail /dev/zero'; echo survived", Host={"Memory": 16 << 20, "MemorySwap": 16 << 20})
    assert "survived\n" in b.out and b.code == 0


def test_sigterm_ignorer_does_not_delay_shutdown(fresh):
    engine = fresh()
    b = Boxes(engine).start("trap '' TERM; echo up; while :; do sleep 0.1; done")
    b.wait_log("up")
    before = time.monotonic()
    engine.stop()
    assert time.monotonic() - before < 5        # live-restore: the daemon leaves, the container stays
    engine.start()
    assert b.state["Running"]


def test_sighup_and_sigusr1(fresh):
    import json
    import signal
    engine = fresh(config={"labels": ["a=1"]})
    assert "a=1" in (engine.http.get("/info").json["Labels"] or [])
    engine.config.write_text(json.dumps({"labels": ["a=2"]}))
    engine.proc.send_signal(signal.SIGHUP)
    wait_for(lambda: "a=2" in (engine.http.get("/info").json["Labels"] or []), what="reload")
    engine.config.write_text("{ broken")
    engine.proc.send_signal(signal.SIGHUP)
    engine.proc.send_signal(signal.SIGUSR1)
    wait_for(lambda: any("dump" in f for f in os.listdir(engine.exec)) or "dump" in engine.log.read_text().lower()
             or "thread" in engine.log.read_text().lower(), what="dump")
    assert engine.http.get("/_ping").status == 200 and "a=2" in engine.http.get("/info").json["Labels"]


def test_exit_on_a_full_disk_is_not_lost(small):
    """Neither the row nor the memory of a killed daemon has it: the runtime directory keeps it until the row is written."""
    boxes = Boxes(small)
    b, c = boxes.start("sleep 0.5; exit 4"), boxes.start("sleep 0.5; exit 1", Host={"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 1}})
    ballast = fill(small)
    assert b.wait() == 4 and b.state["ExitCode"] == 4
    wait_for(lambda: not c.state["Running"], what="exit")
    small.kill()
    small.start()
    assert b.state["Status"] == "exited" and b.state["ExitCode"] == 4 and not b.state["Error"]
    ballast.unlink()
    wait_for(lambda: not os.path.isdir(small.exec / "systems" / b.id), what="the row is written, the directory goes")
    small.restart()
    assert b.state["ExitCode"] == 4 and c.state["ExitCode"] == 1


def test_exit_with_a_full_exec_root(tmp_path):
    engine = fx.Engine()
    engine.exec.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "caisson-test", str(engine.exec)], check=True)
    engine.mounts = lambda: []
    try:
        engine.start().prepare()
        boxes = Boxes(engine)
        up = boxes.sleeper()
        away = boxes.start("read x; exit 8", OpenStdin=True)
        with away.attach(stdout=0, stderr=0) as h:
            ballast = engine.exec / "ballast"
            with open(ballast, "wb", buffering=0) as f:
                try:
                    while True:
                        f.write(b"\0" * 4096)
                except OSError:
                    pass
            a = create(engine, "true")
            a = engine.http.post(f"/containers/{a.json['Id']}/start")
            assert a.status >= 500 and "o space left on device" in a.message, a
            assert up.exec("exit 3")[0] == 3
            engine.kill()
            h.send(b"\n")
            time.sleep(0.3)
        engine.start()
        assert up.state["Running"] and away.state["ExitCode"] == 8 and not away.state["Error"]
        ballast.unlink()
        assert boxes.run("exit 5").code == 5
    finally:
        try:
            engine.close()
        finally:
            subprocess.run(["umount", "-l", str(engine.exec)], check=True)


def test_worker_killed_with_a_policy(fresh):
    engine = fresh()
    b = Boxes(engine).start("while :; do sleep 0.1; done", Host={"RestartPolicy": {"Name": "always"}})
    pid = b.pid
    os.kill(worker_of(b), 9)
    wait_for(lambda: b.state["Running"] and b.pid != pid, 3, what="restart by policy")
    wait_for(lambda: dead(pid), what="end of the first run")


def dead(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def test_a_stuck_worker_holds_up_nobody(fresh):
    """Its worker is stopped: the others go on, what is asked of it ends in time, the daemon leaves and comes back, the container stays."""
    import signal
    import threading
    engine = fresh()
    boxes = Boxes(engine)
    stuck, other = boxes.sleeper(Tty=True), boxes.sleeper()     # without a terminal a resize asks nobody
    pid, worker = stuck.pid, worker_of(stuck)
    ends = [worker]
    os.kill(worker, signal.SIGSTOP)
    try:
        answers = {}

        def ask(what, *args):
            before = time.monotonic()
            answers[what] = (engine.http.post(stuck.url + "/" + what, *args, timeout=40).status, time.monotonic() - before)
        threads = [threading.Thread(target=ask, args=a) for a in (("kill", {"signal": "USR1"}), ("resize", {"h": 9, "w": 9}))]
        for t in threads:
            t.start()
        before = time.monotonic()
        starts = [threading.Thread(target=boxes.start, args=("sleep 100",)) for _ in range(20)]
        for t in starts:
            t.start()
        assert len(engine.http.get("/containers/json").json) >= 2 and stuck.state["Running"] and other.exec("true")[0] == 0
        for t in starts:
            t.join()
        assert time.monotonic() - before < 5, "twenty starts waited for the stuck one"
        for t in threads:
            t.join()
        assert all(status >= 500 and took < 15 for status, took in answers.values()), answers
        before = time.monotonic()
        engine.restart(graceful=True)
        assert time.monotonic() - before < 10
        assert stuck.state["Running"] and stuck.pid == pid and os.path.exists(f"/proc/{pid}"), "killed because it was slow"
        os.kill(worker, signal.SIGCONT)
        wait_for(lambda: engine.http.post(stuck.url + "/kill", {"signal": "URG"}).status == 204, what="the worker answers again")
        young = boxes.sleeper()     # by this daemon itself, the other one by its predecessor
        young_pid, young_worker = young.pid, worker_of(young)
        ends = [pid, worker, young_pid, young_worker]
        os.kill(worker, signal.SIGSTOP)
        os.kill(young_worker, signal.SIGSTOP)
        removal = threading.Thread(target=young.rm)
        removal.start()
        before = time.monotonic()
        assert stuck.rm().status == 204 and time.monotonic() - before < 15
        removal.join()
        wait_for(lambda: all(dead(p) for p in ends), what="end of containers and workers")
    finally:
        for p in ends:
            if os.path.exists(f"/proc/{p}"):
                os.kill(p, signal.SIGCONT)


def test_an_exec_that_its_worker_starts_too_late(fresh):
    """Its client has been told that it failed: then it does not run, and nobody keeps it."""
    import signal
    engine = fresh()
    b = Boxes(engine).sleeper()
    worker = worker_of(b)
    os.kill(worker, signal.SIGSTOP)
    try:
        ident = engine.http.post(b.url + "/exec", body={"Cmd": ["sleep", "777"]}).json["Id"]
        assert engine.http.post(f"/exec/{ident}/start", body={"Detach": True}, timeout=60).status >= 500
    finally:
        os.kill(worker, signal.SIGCONT)
    wait_for(lambda: engine.http.post(b.url + "/kill", {"signal": "URG"}).status == 204, what="the worker answers again")
    wait_for(lambda: execs_of_worker(engine, b.id) == [], what="the exec is forgotten")
    assert not any("777" in " ".join(p) for p in engine.http.get(b.url + "/top").json["Processes"])


def test_first_bytes_under_load(fresh):
    """A client starts the container the moment it has its 101: nothing that the container says may be lost, also on a busy machine."""
    import threading
    engine = fresh()
    boxes = Boxes(engine)
    lost = []

    def client():
        for _ in range(15):
            b = boxes.create("echo first; read x", Tty=True, OpenStdin=True)
            with b.attach() as h:
                b.start()
                try:
                    h.read_until(b"first\r\n", timeout=5)
                except AssertionError as err:
                    lost.append(str(err))
            b.rm()
    threads = [threading.Thread(target=client) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not lost


def test_sweep_does_not_guess(fresh):
    """A snapshot that cannot tell what it stands on (damaged; or the daemon has no descriptors left) may stand on anything: no layer goes."""
    engine = fresh()
    engine.import_tar(it.layer("a", b"only the container needs this"), "t/below")
    engine.import_tar(it.layer("b"), "t/other")
    before = {p.name for p in (engine.data / "layers").iterdir()}
    a = engine.http.post("/containers/create", body={"Image": "t/below", "Cmd": ["/x"]}, rec=False)
    assert a.status == 201, a
    snapshot = engine.data / "snapshots" / a.json["Id"]
    parent = os.getxattr(snapshot, "trusted.caisson.parent")
    os.setxattr(snapshot, "trusted.caisson.parent", b"?")
    assert engine.http.delete("/images/t/below", {"force": 1}, rec=False).status == 200
    assert engine.http.delete("/images/t/other", rec=False).status == 200
    assert {p.name for p in (engine.data / "layers").iterdir()} == before
    os.setxattr(snapshot, "trusted.caisson.parent", parent)
    # with it, the sweep goes on where it was: what the container needs stays
    engine.import_tar(it.layer("c"), "t/third")
    assert engine.http.delete("/images/t/third", rec=False).status == 200
    assert {p.name for p in (engine.data / "layers").iterdir()} == {p.decode()[7:] for p in [parent]} | base_layers(engine)


def base_layers(engine):
    """Chain ids of the images that are there (with one layer each)."""
    return {engine.http.get(f"/images/{i['Id']}/json", rec=False).json["RootFS"]["Layers"][0][7:] for i in engine.http.get("/images/json", rec=False).json}


def test_shutdown_during_a_load(fresh):
    """The end of the daemon ends a load in good order, and does not take apart what it works in (a crash instead of an end)."""
    engine = fresh()
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(engine.sock)
    sock.sendall(b"POST /images/load HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n")
    header = tarfile.TarInfo("layer.tar")
    header.size = 1 << 40
    inner = tarfile.TarInfo("f")
    inner.size = 1 << 39
    done = threading.Event()

    def piece(data):
        sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def send():
        try:
            piece(header.tobuf(tarfile.GNU_FORMAT) + inner.tobuf(tarfile.GNU_FORMAT))
            while not done.is_set():
                piece(os.urandom(1 << 16))
                time.sleep(0.001)
        except OSError:
            pass
    client = threading.Thread(target=send)
    client.start()
    wait_for(lambda: any((engine.data / "tmp").glob("blob-*")), what="begin of the load")
    process = engine.proc
    try:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        done.set()
        client.join()
        sock.close()
    assert not list((engine.data / "tmp").iterdir())
    assert "still running" not in engine.tail(200)
    engine.start()
