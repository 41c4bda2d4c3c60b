# SPDX-License-Identifier: Apache-2.0
"""daemon.json: what it gives to every container is checked before the daemon starts, not at each create."""
import json
import re
import signal
import subprocess

import pytest

from caisson_fixture import BUILD, BASE, Engine, wait_for

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
    {"seccomp-profile": "unconfined"}, {"storage-driver": "overlay2", "default-runtime": "runc", "runtimes": {"runsc": {"path": "/runsc"}}}, {"labels": ["a=b", "ab=c", "a=b"]}],
    ids=lambda c: " ".join(c))
def test_accepted(tmp_path, config):
    assert validate(tmp_path, config) == (0, "configuration OK")


@pytest.mark.parametrize("config,message", [
    ({"log-opts": {"foo": "x"}}, "failed to set log opts: unknown log opt 'foo' for json-file log driver"),
    ({"log-opts": {"max-size": "x"}}, "failed to set log opts: invalid log option max-size: invalid size: 'x'"),
    (ulimit("foo", 1, 1), "default-ulimits: invalid ulimit type: foo"),
    (ulimit("nofile", 5, 1), "default-ulimits: ulimit soft limit must be less than or equal to hard limit: 5 > 1"),
    ({"dns": ["8.8.8.8", "x"]}, "x is not an ip address"),
    ({"seccomp-profile": "/nosuch.json"}, "opening seccomp profile (/nosuch.json) failed: No such file or directory"),
    ({"seccomp-profile": "/etc/passwd"}, "seccomp profile (/etc/passwd): decoding seccomp profile failed: invalid JSON: "),
    ({"storage-driver": "zfs"}, "storage driver zfs is not available in this build of Caisson: it uses overlay2"),
    ({"default-runtime": "runsc", "runtimes": {"runsc": {"path": "/runsc"}}}, "default runtime runsc is not available in this build of Caisson: it runs containers itself"),
    ({"labels": ["a=b", "a=c"]}, "conflict labels for a=c and a=b")], ids=lambda c: " ".join(c) if isinstance(c, dict) else "")
def test_refused(tmp_path, config, message):
    status, err = validate(tmp_path, config)
    assert status == 1 and err.startswith(message)


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
