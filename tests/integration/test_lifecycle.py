# SPDX-License-Identifier: Apache-2.0
"""start, stop, restart, kill, wait, pause, rename, update, rm, prune."""
import json
import os
import socket
import threading
import time

import pytest

from box import IS_DOCKERD, Boxes, Events, execs_of_worker
from caisson_fixture import cgroup_is_v2, wait_for


@pytest.mark.caisson
@pytest.mark.parametrize("policy", [{"Name": "always"}, {"Name": "unless-stopped"}, {"Name": "on-failure", "MaximumRetryCount": 3}])
def test_a_restart_that_fails_is_tried_again(boxes, tmp_path, policy):
    """What a start needs may come back: a policy goes on with its growing pauses, and says why meanwhile."""
    source, away = tmp_path / "source", tmp_path / "away"
    source.mkdir()
    b = boxes.start("sleep 0.3; exit 1", Host={"RestartPolicy": policy, "Mounts": [{"Type": "bind", "Source": str(source), "Target": "/m"}]})
    source.rename(away)
    if policy["Name"] == "on-failure":
        wait_for(lambda: b.state["Status"] == "exited", what="the tries are used up")
        assert b.inspect()["RestartCount"] == 3 and "bind source path does not exist" in b.state["Error"]
        return
    wait_for(lambda: b.inspect()["RestartCount"] >= 3, what="three tries")
    state = b.state
    assert state["Restarting"] and state["Status"] == "restarting" and "bind source path does not exist" in state["Error"], state
    count, began = b.inspect()["RestartCount"], time.monotonic()
    wait_for(lambda: b.inspect()["RestartCount"] >= count + 2, 60, what="two more")
    assert time.monotonic() - began > 0.8, "no pauses"      # at least the whole one between these two
    away.rename(source)
    wait_for(lambda: b.state["Status"] == "running" or b.state["Error"] == "", what="it runs again", timeout=60)
    source.rename(away)
    wait_for(lambda: b.state["Error"], what="fails again")
    assert b.post("stop").status == 204
    count = b.inspect()["RestartCount"]
    time.sleep(0.5)
    assert b.state["Status"] == "exited" and b.inspect()["RestartCount"] == count


@pytest.mark.caisson
def test_restart_for_its_health_that_fails_is_tried_again(boxes, tmp_path):
    """Stopped because it is unhealthy is not stopped by somebody: what comes after is its policy's affair, a start that fails included."""
    source, away = tmp_path / "source", tmp_path / "away"
    source.mkdir()
    b = boxes.sleeper(Labels={"io.caisson.restart-unhealthy": "true"}, StopTimeout=0,
                      Healthcheck={"Test": ["CMD-SHELL", "test ! -e /m/ill"], "Interval": 50_000_000, "Retries": 1},
                      Host={"RestartPolicy": {"Name": "always"}, "Mounts": [{"Type": "bind", "Source": str(source), "Target": "/m"}]})
    source.rename(away)
    (away / "ill").touch()
    wait_for(lambda: b.state["Error"], 30, what="a start that fails")
    wait_for(lambda: b.inspect()["RestartCount"] >= 3, 30, what=f"more of them: {b.state}")


@pytest.mark.caisson
def test_restart_keeps_the_automatic_removal(boxes, http):
    """While a restart waits for the stop, and two at a time: --rm stays what it is, and is obeyed after the end of them all."""
    b = boxes.start("trap 'sleep 0.5; exit 0' TERM; echo up; while :; do sleep 0.05; done", Host={"AutoRemove": True})
    b.wait_log("up")
    threads = [threading.Thread(target=b.post, args=("restart",)) for _ in range(2)]
    for t in threads:
        t.start()
    seen = set()
    while any(t.is_alive() for t in threads):
        seen.add(b.inspect()["HostConfig"]["AutoRemove"])
    for t in threads:
        t.join()
    assert seen == {True}
    b.kill()
    wait_for(lambda: http.get(b.url + "/json").status == 404, 30, "removed")


def test_start_twice(boxes):
    b = boxes.sleeper()
    assert b.post("start").status == 304


def test_state_while_running(boxes):
    s = boxes.sleeper().state
    assert s["Status"] == "running" and s["Running"] and not s["Paused"] and not s["Restarting"] and not s["Dead"]
    assert s["Pid"] > 1 and s["ExitCode"] == 0 and s["Error"] == "" and not s["OOMKilled"]


def test_start_again_after_exit(boxes):
    b = boxes.run("echo x; exit 5")
    assert b.code == 5
    first = b.state
    b.start().wait()
    assert b.out == "x\nx\n" and b.state["StartedAt"] > first["FinishedAt"]


@pytest.mark.parametrize("code", [0, 1, 42, 125, 255])
def test_exit_code(boxes, code):
    assert boxes.run(f"exit {code}").code == code


@pytest.mark.parametrize("sig,number", [("KILL", 9), ("SIGTERM", 15), ("10", 10), ("HUP", 1)])
def test_killed_is_128_plus_n(boxes, sig, number):
    b = boxes.start("trap 'kill -9 $$' USR2; sleep 1000")
    # pid 1 ignores signals without a handler: only KILL reaches it, so send the others to a shell with one
    if number != 9:
        b.rm()
        b = boxes.start(f"trap 'exit {128 + number}' {number}; echo up; while :; do sleep 1000 & wait $!; done")
        b.wait_log("up")
    assert b.kill(sig).status == 204
    assert b.wait() == 128 + number


def test_kill_not_running(boxes):
    b = boxes.create("true")
    a = b.kill()
    assert a.status == 409
    assert a.message == f"Cannot kill container: {b.id}: Container {b.id} is not running" or \
        a.message.lower() == f"cannot kill container: {b.id}: container {b.id} is not running"


def test_kill_bad_signal(boxes):
    b = boxes.sleeper()
    a = b.kill("NOSUCH")
    assert a.status in ((400, 500) if IS_DOCKERD else (400,)) and "nvalid signal: NOSUCH" in a.message


def test_stop_by_sigterm(boxes, events):
    b = boxes.sleeper()
    b.wait_log("up")
    assert b.post("stop").status == 204
    assert b.state["ExitCode"] == 0 and b.state["Status"] == "exited"
    assert b.post("stop").status == 304
    events.until("stop", b.id)
    assert events.actions(b.id)[-3:] == ["kill", "die", "stop"]


def test_stop_kills_after_timeout(boxes):
    b = boxes.start("trap '' TERM; echo up; while :; do sleep 1000 & wait $!; done")
    b.wait_log("up")
    before = time.monotonic()
    assert b.post("stop", {"t": 1}).status == 204
    assert 0.9 < time.monotonic() - before < 5
    assert b.state["ExitCode"] == 137


def test_stop_timeout_zero_kills_at_once(boxes):
    b = boxes.start("trap '' TERM; echo up; while :; do sleep 1000 & wait $!; done")
    b.wait_log("up")
    before = time.monotonic()
    assert b.post("stop", {"t": 0}).status == 204
    assert time.monotonic() - before < 3 and b.state["ExitCode"] == 137


def test_stop_uses_stop_signal(boxes):
    b = boxes.start("trap 'exit 9' USR1; echo up; while :; do sleep 1000 & wait $!; done", StopSignal="SIGUSR1")
    b.wait_log("up")
    assert b.post("stop", {"t": 10}).status == 204
    assert b.state["ExitCode"] == 9


@pytest.mark.caisson
def test_stop_signal_query(boxes):
    b = boxes.start("trap 'exit 9' USR1; echo up; while :; do sleep 1000 & wait $!; done")
    b.wait_log("up")
    assert b.post("stop", {"t": 10, "signal": "USR1"}).status == 204
    assert b.state["ExitCode"] == 9


def test_a_kill_is_told_before_the_exit(boxes, events):
    """The signal comes first, so its event does; twenty at once make the exits overtake what is told without care."""
    made = [boxes.start("sleep 1000") for _ in range(20)]
    threads = [threading.Thread(target=b.kill) for b in made]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for b in made:
        events.until("die", b.id)
    assert [events.actions(b.id)[-2:] for b in made] == [["kill", "die"]] * len(made)


def test_restart(boxes, events):
    b = boxes.sleeper()
    b.wait_log("up")
    pid = b.pid
    assert b.post("restart", {"t": 5}).status == 204
    assert b.state["Running"] and b.pid != pid
    events.until("restart", b.id)
    assert events.actions(b.id)[-5:] == ["kill", "die", "stop", "start", "restart"]


def test_restart_starts_a_stopped_one(boxes):
    b = boxes.create("sleep 1000")
    assert b.post("restart", {"t": 0}).status == 204 and b.state["Running"]


def test_wait_on_exited_returns_at_once(boxes):
    b = boxes.run("exit 4")
    assert b.post("wait").json["StatusCode"] == 4


def test_wait_next_exit(boxes, http, engine):
    b = boxes.create("exit 6")
    r = http.stream("POST", b.url + "/wait", {"condition": "next-exit"}, timeout=20)
    assert r.status == 200          # the header comes before the exit: clients wait for it before they start
    b.start()
    assert json.loads(r.read())["StatusCode"] == 6
    r.connection.close()


def test_wait_removed(boxes, http):
    b = boxes.create("exit 7", Host={"AutoRemove": True})
    r = http.stream("POST", b.url + "/wait", {"condition": "removed"}, timeout=20)
    b.start()
    assert json.loads(r.read())["StatusCode"] == 7
    r.connection.close()
    assert http.get(b.url + "/json").status == 404


@pytest.mark.caisson
def test_wait_bad_condition(boxes):
    a = boxes.create("true").post("wait", {"condition": "nosuch"})
    assert a.status == 400 and "invalid condition" in a.message


def test_wait_not_running_on_created(boxes):
    assert boxes.create("true").post("wait", {"condition": "not-running"}).json["StatusCode"] == 0


def test_auto_remove(boxes, http, events):
    b = boxes.start("exit 3", Host={"AutoRemove": True})
    events.until("destroy", b.id)
    a = http.get(b.url + "/json")
    assert a.status == 404 and a.message == f"No such container: {b.id}"


def test_pause(boxes, events):
    b = boxes.start("while :; do echo x; sleep 0.02; done")
    b.wait_log("x")
    assert b.post("pause").status == 204
    s = b.state
    assert s["Paused"] and s["Running"] and s["Status"] == "paused"
    size = len(b.out)
    time.sleep(0.15)
    assert len(b.out) == size
    a = b.post("pause")
    assert a.status == 409 and a.message.lower() == f"container {b.id} is already paused"
    assert b.post("exec", body={"Cmd": ["true"]}).status == 409
    assert b.post("unpause").status == 204 and b.state["Status"] == "running"
    a = b.post("unpause")
    assert a.status == (500 if IS_DOCKERD else 409) or a.status in (409, 500)
    assert a.message.lower() == f"container {b.id} is not paused"
    events.until("unpause", b.id)
    assert b.rm().status == 204


def test_pause_not_running(boxes):
    b = boxes.create("true")
    a = b.post("pause")
    assert a.status == 409 and a.message.lower() == f"container {b.id} is not running"


def test_remove_paused_by_force(boxes):
    b = boxes.sleeper()
    b.post("pause")
    assert b.rm(force=True).status == 204


def test_rm_running(boxes):
    b = boxes.sleeper()
    a = b.rm(force=False)
    assert a.status == 409
    assert "cannot remove" in a.message and "running" in a.message and "force remove" in a.message
    assert b.rm(force=True).status == 204
    assert b.rm().status == 404


def test_rm_volumes(boxes, http):
    b = boxes.create("true", Volumes={"/v": {}})
    vol = b.inspect()["Mounts"][0]
    assert b.rm(v=True).status == 204
    import os
    assert not os.path.exists(vol["Source"])


def test_rename(boxes, http, events):
    b = boxes.create("true", name="old-name")
    assert b.post("rename", {"name": "new-name"}).status == 204
    assert http.get("/containers/old-name/json").status == 404
    assert http.get("/containers/new-name/json").json["Name"] == "/new-name"
    assert events.until("rename", b.id)["Actor"]["Attributes"]["oldName"] == "/old-name"
    other = boxes.create("true", name="other-name")
    a = other.post("rename", {"name": "new-name"})
    assert a.status == 409 and "is already in use by container" in a.message
    a = b.post("rename", {"name": "new-name"})
    assert a.status in (400, 409, 500) and "same name" in a.message
    a = b.post("rename", {"name": "bad name!"})
    assert a.status in (400, 500) and "Invalid container name" in a.message


def test_update_memory(boxes):
    from caisson_fixture import cgroup_dir, cgroup_is_v2
    b = boxes.sleeper(Host={"Memory": 64 << 20})
    a = b.post("update", body={"Memory": 32 << 20, "MemorySwap": 32 << 20})
    assert a.status == 200, a
    assert b.inspect()["HostConfig"]["Memory"] == 32 << 20
    f = cgroup_dir(b.pid, "memory") / ("memory.max" if cgroup_is_v2() else "memory.limit_in_bytes")
    assert int(f.read_text()) == 32 << 20


def test_update_restart_policy(boxes):
    b = boxes.sleeper()
    assert b.post("update", body={"RestartPolicy": {"Name": "always"}}).status == 200
    assert b.inspect()["HostConfig"]["RestartPolicy"]["Name"] == "always"


def test_update_pids_and_cpu(boxes):
    from caisson_fixture import cgroup_dir
    b = boxes.sleeper()
    assert b.post("update", body={"PidsLimit": 33, "CpuShares": 256}).status == 200
    assert (cgroup_dir(b.pid, "pids") / "pids.max").read_text().strip() == "33"


@pytest.mark.parametrize("host,update,message", [
    ({"NanoCpus": 10**9}, {"CpuQuota": 10000}, "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"),
    ({"CpuQuota": 10000}, {"NanoCpus": 10**9}, "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set"),
    ({"Memory": 64 << 20}, {"Memory": 1 << 30}, "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"),
    ({"AutoRemove": True}, {"RestartPolicy": {"Name": "always"}}, "Restart policy cannot be updated because AutoRemove is enabled for the container")])
def test_update_against_what_is_set(boxes, host, update, message):
    b = boxes.create("true", Host=host)
    a = b.post("update", body=update)
    assert a.status == 409 and a.message == f"Cannot update container {b.id}: {message}"


def test_update_without_limit_of_pids(boxes):
    b = boxes.sleeper(Host={"PidsLimit": 33})
    assert b.post("update", body={"PidsLimit": 5}, version="1.39").status == 200
    assert b.inspect()["HostConfig"]["PidsLimit"] in (33, 5)        # 20.10 has yet to learn that 1.39 knows no such limit
    assert b.post("update", body={"PidsLimit": -7}).status == 200
    assert b.inspect()["HostConfig"]["PidsLimit"] == 0


@pytest.mark.caisson        # dockerd says nothing
def test_update_of_what_cannot_be_updated_is_told(boxes):
    b = boxes.create("true")
    a = b.post("update", body={"CpuShares": 512, "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 1}], "MemorySwappiness": 5, "OomKillDisable": True, "CgroupParent": "/x", "DeviceCgroupRules": ["c 1:3 r"],
                               "BlkioWeightDevice": [], "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/n", "CgroupPermissions": "r"}]})
    said = [w for w in a.json["Warnings"] if "cannot be updated" in w]
    of_v1 = ("MemorySwappiness", "OomKillDisable")                     # v2 has neither, and may say that instead
    assert a.status == 200 and [w for w in said if not w.startswith(of_v1)] == [f"{f} cannot be updated. Discarded." for f in ("CgroupParent", "DeviceCgroupRules", "Devices", "Ulimits")]
    assert all(any(word in w.lower() for w in a.json["Warnings"]) for word in ("swappiness", "oomkilldisable" if not cgroup_is_v2() else "oom")), a.json["Warnings"]
    h = b.inspect()["HostConfig"]
    assert h["CpuShares"] == 512 and not h["Ulimits"] and not h["Devices"] and h["CgroupParent"] == ""
    assert b.post("update", body={"CpuShares": 256}).json["Warnings"] in (None, [])


def test_prune(boxes, http):
    keep = boxes.run("true", Labels={"prune": "no"})
    gone = boxes.run("echo 12345 > /x", Labels={"prune": "yes"})
    a = http.post("/containers/prune", {"filters": {"label": ["prune=yes"]}})
    assert a.status == 200 and a.json["ContainersDeleted"] == [gone.id] and a.json["SpaceReclaimed"] >= 6
    assert keep.state["Status"] == "exited" and http.get(gone.url + "/json").status == 404


def test_twenty_at_once(boxes, engine):
    made = [boxes.create(f"exit {n}") for n in range(20)]
    threads = [threading.Thread(target=b.start) for b in made]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [b.wait() for b in made] == list(range(20))


def test_start_and_remove_race(boxes):
    """Whoever wins, the answers are clean and nothing stays."""
    for _ in range(5):
        b = boxes.create("sleep 1000")
        got = []
        threads = [threading.Thread(target=lambda: got.append(b.post("start").status)),
                   threading.Thread(target=lambda: got.append(b.rm().status))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert set(got) <= {204, 404, 409}, got
        b.rm()


def test_list_while_a_container_is_stopping(boxes, http):
    b = boxes.start("trap '' TERM; echo up; while :; do sleep 1000 & wait $!; done")
    b.wait_log("up")
    t = threading.Thread(target=b.post, args=("stop", {"t": 3}))
    t.start()
    before = time.monotonic()
    assert http.get("/containers/json").status == 200
    if not IS_DOCKERD:
        assert b.inspect()["State"]["Running"]
    assert time.monotonic() - before < 1
    b.kill()
    t.join()


def leave(engine, box, verb):
    """Asks for it, and goes away before it is done."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(engine.sock)
        s.sendall(f"POST {box.url}/{verb} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        s.settimeout(1)
        with pytest.raises(TimeoutError):
            s.recv(1)


STUBBORN = "trap 'echo got' TERM; echo up; while :; do sleep 1000 & wait $!; done"


@pytest.mark.caisson
def test_stop_without_its_client(fresh):
    """A stop without an end keeps a thread as long as somebody waits for it. What it was for is done all the same."""
    eng = fresh()
    boxes, threads = Boxes(eng), lambda: len(os.listdir(f"/proc/{eng.proc.pid}/task"))
    with Events(eng) as events:
        b = boxes.start(STUBBORN)
        b.wait_log("up")
        before = threads()
        clients = [threading.Thread(target=leave, args=(eng, b, "stop?t=-1")) for _ in range(30)]
        for t in clients:
            t.start()
        for t in clients:
            t.join()
        wait_for(lambda: threads() <= before + 5, 20, "the threads to end")
        assert b.state["Running"] and b.out.count("got") >= 1
        b.kill()
        wait_for(lambda: events.actions(b.id).count("stop") == 30, 10, "what is told of each stop")


@pytest.mark.caisson
@pytest.mark.parametrize("host", [{}, {"AutoRemove": True}])
def test_restart_without_its_client(boxes, engine, events, host):
    b = boxes.start(STUBBORN, Host=host)
    b.wait_log("up")
    leave(engine, b, "restart?t=-1")
    time.sleep(1.5)                     # it has seen that
    assert b.state["Running"] and "restart" not in events.actions(b.id)
    b.kill()
    events.until("restart", b.id)
    assert b.state["Running"]


@pytest.mark.caisson
def test_stop_with_a_time_without_its_client(boxes, engine, events):
    b = boxes.start(STUBBORN)
    b.wait_log("up")
    leave(engine, b, "stop?t=4")
    events.until("stop", b.id)
    assert b.state["ExitCode"] == 137
    actions = events.actions(b.id)
    assert actions[actions.index("kill"):] == ["kill", "kill", "die", "stop"]
    b.start()                           # what was left is done, and not for the next run
    time.sleep(4)
    assert b.state["Running"]


# Health and restart policies -----------------------------------------------------------------------------------------

def test_health_becomes_healthy(boxes, events):
    b = boxes.sleeper(Healthcheck={"Test": ["CMD-SHELL", "echo fine"], "Interval": 100_000_000, "Retries": 2})
    assert b.state["Health"]["Status"] in ("starting", "healthy")
    assert events.until("health_status", b.id)["Action"] == "health_status: healthy"
    h = b.state["Health"]
    assert h["Status"] == "healthy" and h["FailingStreak"] == 0
    assert h["Log"][0]["ExitCode"] == 0 and h["Log"][0]["Output"] == "fine\n" and h["Log"][0]["Start"] <= h["Log"][0]["End"]


def test_health_probe_events(boxes, events):
    b = boxes.sleeper(Healthcheck={"Test": ["CMD-SHELL", "exit 0"], "Interval": 100_000_000})
    die = events.until("exec_die", b.id)["Actor"]["Attributes"]
    assert die["exitCode"] == "0" and len(die["execID"]) == 64
    assert [a for a in events.actions(b.id) if a.startswith("exec_")][:3] == ["exec_create: /bin/sh -c exit 0", "exec_start: /bin/sh -c exit 0", "exec_die"]


def test_health_becomes_unhealthy(boxes, events, http):
    b = boxes.sleeper(Healthcheck={"Test": ["CMD", "sh", "-c", "echo no; exit 1"], "Interval": 100_000_000, "Retries": 2})
    assert events.until("health_status", b.id)["Action"] == "health_status: unhealthy"
    assert b.state["Health"]["FailingStreak"] >= 2
    listed = http.get("/containers/json", {"filters": {"health": ["unhealthy"], "id": [b.id]}}).json
    assert len(listed) == 1 and "(unhealthy)" in listed[0]["Status"]


def test_health_timeout(boxes, events):
    b = boxes.sleeper(Healthcheck={"Test": ["CMD-SHELL", "sleep 1000"], "Interval": 100_000_000, "Timeout": 200_000_000, "Retries": 1})
    events.until("health_status", b.id)
    h = b.state["Health"]["Log"][0]
    assert h["ExitCode"] == -1 and h["Output"] == "Health check exceeded timeout (200ms)"


def test_health_timeout_tells_what_the_probe_said(boxes, events):
    b = boxes.sleeper(Healthcheck={"Test": ["CMD-SHELL", "echo out; echo err >&2; sleep 1000"], "Interval": 100_000_000, "Timeout": 2_000_000_000, "Retries": 1})
    events.until("health_status", b.id)
    h = b.state["Health"]["Log"][0]
    assert h["ExitCode"] == -1 and h["Output"] == "Health check exceeded timeout (2s): out\nerr\n"


@pytest.mark.caisson
def test_health_timeout_of_what_cannot_be_killed_yet(boxes, events, engine):
    """A frozen process takes its SIGKILL when it is thawed (v1): its entry in the worker goes then."""
    b = boxes.sleeper(Healthcheck={"Test": ["CMD-SHELL", "sleep 1000"], "Interval": 100_000_000, "Timeout": 1_000_000_000, "Retries": 100})
    ident = events.until("exec_start", b.id)["Actor"]["Attributes"]["execID"]
    wait_for(lambda: ident in execs_of_worker(engine, b.id), 10, "the probe")
    assert b.post("pause").status == 204
    assert events.until("exec_die", b.id, timeout=20)["Actor"]["Attributes"]["execID"] == ident
    assert b.post("unpause").status == 204
    wait_for(lambda: ident not in execs_of_worker(engine, b.id), 10, "the probe to be forgotten")


@pytest.mark.caisson
@pytest.mark.parametrize("graceful", [True, False])
def test_health_probe_of_an_earlier_engine(fresh, graceful):
    """Nobody asks for it any more: it is forgotten when it ends, also if it has ended while no engine was there."""
    eng = fresh()
    b = Boxes(eng).sleeper(Healthcheck={"Test": ["CMD-SHELL", "sleep 4"], "Interval": 100_000_000, "Timeout": 20_000_000_000})
    first = wait_for(lambda: execs_of_worker(eng, b.id), 10, "a probe")[0]
    eng.restart(graceful=graceful)
    assert first in execs_of_worker(eng, b.id)      # it still runs
    wait_for(lambda: first not in execs_of_worker(eng, b.id), 15, "the probe to be forgotten")
    second = wait_for(lambda: execs_of_worker(eng, b.id), 10, "the next probe")[0]
    eng.stop() if graceful else eng.kill()
    wait_for(lambda: second not in execs_of_worker(eng, b.id), 15, "the worker to forget by itself")
    note = eng.exec / "systems" / b.id / f"exec-{second}"
    assert note.exists()
    eng.start()
    wait_for(lambda: not note.exists(), 10, "its note to be collected")


@pytest.mark.caisson
@pytest.mark.parametrize("policy,label,restarted", [("always", "true", True), ("on-failure", "true", True), ("unless-stopped", "true", True), ("no", "true", False),
                                                    ("always", "false", False), ("always", None, False)])
def test_unhealthy_is_restarted_where_asked_for(boxes, events, policy, label, restarted):
    """Docker leaves an unhealthy container running, whatever its policy. Ours is restarted when a label of its own says so, and it has a policy."""
    b = boxes.start("n=$(cat /n 2>/dev/null || echo 0); echo $((n+1)) > /n; trap 'exit 0' TERM; while :; do sleep 0.1; done", Host={"RestartPolicy": {"Name": policy}},
                    Labels={"io.caisson.restart-unhealthy": label} if label else {},
                    Healthcheck={"Test": ["CMD-SHELL", "test $(cat /n) -gt 1"], "Interval": 100_000_000, "Retries": 2})
    assert events.until("health_status", b.id)["Action"] == "health_status: unhealthy"
    if restarted:
        wait_for(lambda: b.inspect()["RestartCount"] == 1 and b.state["Health"]["Status"] == "healthy", 15, "a second run, which is healthy")
        assert b.inspect()["RestartCount"] == 1 and b.exec("cat /n")[1] == "2\n"
        assert b.post("stop", {"t": 1}).status == 204     # a person's stop still ends it
        assert b.state["Status"] == "exited"
    else:
        assert b.state["Health"]["FailingStreak"] >= 2 and b.state["Running"]
        assert b.inspect()["RestartCount"] == 0 and b.exec("cat /n")[1] == "1\n"


def test_health_none_disables(boxes):
    assert "Health" not in boxes.sleeper(Healthcheck={"Test": ["NONE"]}).state


def test_restart_on_failure(boxes, events):
    b = boxes.start("echo again; exit 1", Host={"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}})
    wait_for(lambda: b.inspect()["RestartCount"] == 2 and b.state["Status"] == "exited", 10, "two restarts")
    assert b.out == "again\n" * 3 and b.state["ExitCode"] == 1


def test_restart_on_failure_not_on_success(boxes):
    b = boxes.run("true", Host={"RestartPolicy": {"Name": "on-failure"}})
    assert b.state["Status"] == "exited" and b.inspect()["RestartCount"] == 0


def test_restart_always_until_stopped(boxes):
    b = boxes.start("echo again; exit 0", Host={"RestartPolicy": {"Name": "always"}})
    wait_for(lambda: b.inspect()["RestartCount"] >= 2, 10, "restarts")
    assert b.post("stop").status in (204, 304)
    assert b.state["Status"] == "exited" and not b.state["Restarting"]


def test_restart_and_autoremove_conflict(engine):
    from box import create
    a = create(engine, "true", Host={"AutoRemove": True, "RestartPolicy": {"Name": "always"}})
    assert a.status == 400 and "AutoRemove" in a.message


def test_events_stream_survives_other_clients_leaving(engine, boxes):
    with Events(engine, container=["nobody"]):
        pass
    with Events(engine) as ev:
        b = boxes.run("true")
        ev.until("die", b.id)
