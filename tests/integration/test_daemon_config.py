# SPDX-License-Identifier: Apache-2.0
"""daemon.json: what it gives to every container is checked before the daemon starts, not at each create."""
import json
import re
import signal
import subprocess

import pytest

from box import Boxes
from caisson_fixture import BUILD, BASE, REPO, Engine, wait_for

pytestmark = pytest.mark.caisson        # 20.10 has no --validate


def validate(tmp_path, config, *flags):
    f = tmp_path / "daemon.json"
    f.write_text(json.dumps(config))
    done = subprocess.run([str(BUILD / "caissond"), "--validate", "--config-file", str(f), *flags], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.strip()


def ulimit(name, soft, hard):
    return {"default-ulimits": {name: {"Name": name, "Soft": soft, "Hard": hard}}}


@pytest.mark.parametrize("config", [
    {"log-opts": {"max-size": "10m", "max-file": "3", "labels": "a", "tag": "{{.Name}}", "mode": "non-blocking", "max-buffer-size": "4m"}},
    {"log-driver": "local", "log-opts": {"max-size": "1m", "compress": "false"}}, ulimit("nofile", 64000, 64000), ulimit("core", -1, -1), {"dns": ["8.8.8.8", "fd00::1"]},
    {"seccomp-profile": "unconfined"}, {"storage-driver": "overlay2", "default-runtime": "runc"}, {"labels": ["a=b", "ab=c", "a=b"]}],
    ids=lambda c: " ".join(c))
def test_accepted(tmp_path, config):
    assert validate(tmp_path, config) == (0, "configuration OK")


@pytest.mark.parametrize("config,message", [
    ({"log-opts": {"foo": "x"}}, "failed to set log opts: unknown log opt 'foo' for json-file log driver"),
    ({"log-opts": {"max-size": "x"}}, "failed to set log opts: invalid log option max-size: invalid size: 'x'"),
    (ulimit("foo", 1, 1), "default-ulimits: invalid ulimit type: foo"),
    (ulimit("nofile", 5, 1), "default-ulimits: ulimit soft limit must be less than or equal to hard limit: 5 > 1"),
    ({"dns": ["8.8.8.8", "x"]}, "x is not an ip address"),
    *(({"dns-search": ["a.example", s]}, s + " is not a valid domain") for s in ("a b", "-a", "a..b", "1.2")),
    ({"seccomp-profile": "/nosuch.json"}, "opening seccomp profile (/nosuch.json) failed: No such file or directory"),
    ({"seccomp-profile": "/etc/passwd"}, "seccomp profile (/etc/passwd): decoding seccomp profile failed: invalid JSON: "),
    ({"storage-driver": "zfs"}, "storage driver zfs is not available in this build of Caisson: it uses overlay2"),
    ({"default-runtime": "runsc"}, "default runtime runsc is not available in this build of Caisson: it runs containers itself"),
    ({"labels": ["a=b", "a=c"]}, "conflict labels for a=c and a=b")], ids=lambda c: " ".join(c) if isinstance(c, dict) else "")
def test_refused(tmp_path, config, message):
    status, err = validate(tmp_path, config)
    assert status == 1 and err.startswith(message)


def test_the_documented_table_names_what_differs():
    """Each option that has no effect or is refused stands in docs/daemon.md, and nothing stands there that --help does not know."""
    page = (REPO / "docs" / "daemon.md").read_text().split("## dockerd's options")[1].split("## ")[0]
    table = (REPO / "src" / "daemon" / "options.c").read_text()
    special = re.findall(r'\{ "([^"]+)",[^{}]*?(?:"([^"]+)",)?\s*(?:NONE|MOOT)\(', table) + [(key, "") for key in re.findall(r'(?:NONE|MOOT)_KEY\("([^"]+)"', table)]
    assert len(special) > 25
    assert not [key or flag for flag, key in special if f"`{key or flag}`" not in page]
    known = {word for row in re.findall(r'\{ "([^"]+)",\s*(?:0|\'.\'),\s*(NULL|"[^"]+")', table) for word in (row[0], row[1].strip('"'))} | {key for key, _ in special}
    assert not [name for cell in re.findall(r"^\| (`[^|]+) \|", page, re.M) for name in re.findall(r"`([a-z0-9-]+)`", cell) if name not in known]


def test_flags(tmp_path):
    assert validate(tmp_path, {}, "-s", "overlay2", "--default-ulimit", "nofile=5:6", "--default-ulimit", "core=0") == (0, "configuration OK")
    assert validate(tmp_path, {}, "--default-ulimit", "nofile=5:x") == (1, "invalid default ulimit nofile=5:x: must be soft[:hard]")


def test_a_start_is_refused_too(tmp_path):
    f = tmp_path / "daemon.json"
    f.write_text(json.dumps({"log-opts": {"foo": "x"}}))
    done = subprocess.run([str(BUILD / "caissond"), "--config-file", str(f), "--data-root", str(tmp_path / "data"), "--exec-root", str(tmp_path / "exec"), "--pidfile",
                           str(tmp_path / "pid"), "-H", f"unix://{tmp_path}/s", "--bridge=none", "--firewall=false"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1 and "failed to start daemon: failed to set log opts: unknown log opt 'foo'" in done.stderr


class Quiet(Engine):
    def _command(self):
        return [word for word in super()._command() if word != "-D"] + ["-l", "error"]


def test_a_reload_keeps_the_level_of_the_log():
    eng = Quiet()
    try:
        eng.start()
        eng.config.write_text(json.dumps({"labels": ["a=b"]}))
        eng.proc.send_signal(signal.SIGHUP)
        wait_for(lambda: eng.http.get("/info").json["Labels"] == ["a=b"], 30, "the reload")
        assert any("firewall tables" in w for w in eng.http.get("/info").json["Warnings"])  # which these tests' engine does without
        eng.stop()      # its last words are level info, too
        assert "level=info" not in eng.log.read_text()
    finally:
        eng.close()


def timers(eng):
    """As the dump of SIGUSR1 tells."""
    for old in eng.exec.glob("dump-*.txt"):
        old.unlink()
    eng.proc.send_signal(signal.SIGUSR1)
    return int(wait_for(lambda: [m for f in eng.exec.glob("dump-*.txt") for m in re.findall(r"(\d+) timers", f.read_text())], 30, "the dump")[0])


def test_probes_of_removed_containers_are_forgotten(fresh):
    eng = fresh(prepare=False)

    def start():
        health = {"Test": ["CMD", "true"], "Interval": 3600 * 10**9}
        ident = eng.http.post("/containers/create", body={"Image": BASE, "Cmd": ["sleep", "1000"], "Healthcheck": health, "HostConfig": {"NetworkMode": "none"}}).json["Id"]
        assert eng.http.post(f"/containers/{ident}/start").status == 204
        return ident
    before = timers(eng)
    made = [start() for _ in range(5)]
    assert timers(eng) >= before + 5
    for ident in made:
        assert eng.http.delete(f"/containers/{ident}", {"force": 1}).status == 204
    wait_for(lambda: timers(eng) <= before, 30, "no more timers than before")


def test_options_that_containers_and_clients_see(fresh, tmp_path):
    init, resolv = tmp_path / "init", tmp_path / "resolv.conf"
    init.write_text('#!/bin/sh\necho "init is $$: $0 $*"\nshift\nexec "$@"\n')
    init.chmod(0o755)
    resolv.write_text("nameserver 192.0.2.7\nsearch example.test\n")
    eng = fresh(config={"experimental": True, "min-api-version": "1.40", "init-path": str(init), "resolv-conf": str(resolv), "api-cors-header": "https://example.test",
                        "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 512, "Hard": 1024}, "core": {"Name": "core", "Soft": 0, "Hard": 0}}})
    ping = eng.http.get("/_ping")
    assert ping.headers["Docker-Experimental"] == "true" and ping.headers["Access-Control-Allow-Origin"] == "https://example.test"
    asked = eng.http.request("OPTIONS", "/v1.44/containers/create", rec=False)
    assert asked.status == 200 and "DELETE" in asked.headers["Access-Control-Allow-Methods"]
    version = eng.http.get("/version").json
    assert version["MinAPIVersion"] == "1.40" and version["Experimental"] is True and eng.http.get("/info").json["ExperimentalBuild"] is True
    old = eng.http.get("/containers/json", version="1.39")
    assert old.status == 400 and "Minimum supported API version is 1.40" in old.message
    assert eng.http.get("/containers/json", version="1.40").status == 200

    boxes = Boxes(eng)
    b = boxes.run("grep -E 'nameserver|search' /etc/resolv.conf; ulimit -n; ulimit -Hn; ulimit -c", Host={"Init": True, "NetworkMode": "none",
                  "Ulimits": [{"Name": "core", "Soft": 3584, "Hard": 3584}]})
    assert b.wait() == 0
    first, *rest = b.out.splitlines()
    assert first.startswith("init is 1: /sbin/docker-init -- sh -c grep") and rest == ["search example.test", "nameserver 192.0.2.7", "512", "1024", "7"]
    limits = {u["Name"]: (u["Soft"], u["Hard"]) for u in b.inspect()["HostConfig"]["Ulimits"]}
    assert limits == {"core": (3584, 3584), "nofile": (512, 1024)}
    plain = boxes.run("cat /proc/1/comm; test -e /sbin/docker-init || echo none", Host={"NetworkMode": "none"})
    assert plain.wait() == 0 and plain.out.splitlines() == ["sh", "none"]
    boxes.clean()


def test_a_default_size_needs_quotas(tmp_path):
    done = subprocess.run([str(BUILD / "caissond"), "--config-file", "/dev/null", "--data-root", str(tmp_path / "data"), "--exec-root", str(tmp_path / "exec"), "--pidfile",
                           str(tmp_path / "pid"), "-H", f"unix://{tmp_path}/s", "--bridge=none", "--firewall=false", "--storage-opt", "overlay2.size=1G"],
                          capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1 and "overlay2.size only supported for backing file systems with project quotas" in done.stderr
