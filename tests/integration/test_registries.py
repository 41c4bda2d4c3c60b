# SPDX-License-Identifier: Apache-2.0
"""The daemon and its registries: mirrors, hosts.toml, certificates, insecure registries, proxies, credentials; what info says, what a reload changes."""
import json
import os
import shutil
import signal
import subprocess

import pytest

from box import IS_DOCKERD
from caisson_fixture import BUILD, wait_for
from images import files, put
from registry import Authority, Fake, Registry, Status

caisson = pytest.mark.skipif(IS_DOCKERD, reason="Caisson's own")
needs_docker = pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")


def info(eng):
    return eng.http.get("/info").json


def reload(eng, config, check):
    eng.config.write_text(json.dumps(config))
    eng.proc.send_signal(signal.SIGHUP)
    wait_for(check, 10, "the reload")


@pytest.fixture
def mirror():
    with Fake() as f:
        f.layers = [files(hello="from the mirror")]
        put(f, "library/mirrored", "v1", f.layers)
        yield f


def pull(eng, ref):
    image, tag = ref.rsplit(":", 1)
    a = eng.http.post("/images/create", {"fromImage": image, "tag": tag}, rec=False)
    assert a.status == 200 and b'"error"' not in a.body, a


def names(eng):
    return {t for i in eng.http.get("/images/json").json for t in i["RepoTags"] or []}


def test_mirror_of_the_hub(fresh, mirror):
    eng = fresh(prepare=False, config={"registry-mirrors": [mirror.url]})
    assert info(eng)["RegistryConfig"]["Mirrors"] == [mirror.url + "/"]
    assert info(eng)["RegistryConfig"]["IndexConfigs"]["docker.io"]["Mirrors"] == [mirror.url + "/"]
    pull(eng, "mirrored:v1")
    assert "mirrored:v1" in names(eng)


def test_reload(fresh, mirror):
    eng = fresh(prepare=False, config={"insecure-registries": ["10.9.0.0/16", "a.example:5000"], "max-concurrent-downloads": 1})
    before = info(eng)["RegistryConfig"]
    assert before["InsecureRegistryCIDRs"][-2:] in (["::1/128", "127.0.0.0/8"], ["10.9.0.0/16", "127.0.0.0/8"]) and "10.9.0.0/16" in before["InsecureRegistryCIDRs"]
    assert before["IndexConfigs"]["a.example:5000"] == {"Mirrors": [], "Name": "a.example:5000", "Official": False, "Secure": False}
    # one that makes no sense changes nothing
    reload(eng, {"registry-mirrors": ["nonsense"]}, lambda: "nonsense" in eng.log.read_text())
    assert info(eng)["RegistryConfig"] == before
    # dockerd keeps what is no longer written down; here that goes back to its default. Both take an empty list
    reload(eng, {"registry-mirrors": [mirror.url], "insecure-registries": []}, lambda: info(eng)["RegistryConfig"]["Mirrors"] == [mirror.url + "/"])
    assert "a.example:5000" not in info(eng)["RegistryConfig"]["IndexConfigs"]
    pull(eng, "mirrored:v1")
    assert "mirrored:v1" in names(eng)


@pytest.mark.parametrize("config,message", [
    ({"registry-mirrors": ["mirror.example"]}, "invalid mirror"), ({"registry-mirrors": ["https://u:p@mirror.example"]}, "username/password not allowed"),
    ({"insecure-registries": ["-x"]}, "Cannot begin or end with a hyphen"), ({"max-concurrent-downloads": -1}, "invalid max concurrent downloads: -1"),
    ({"max-download-attempts": -1}, "invalid max download attempts: -1"),
])
def test_refused_at_the_start(tmp_path, config, message):
    (tmp_path / "d.json").write_text(json.dumps(config))
    program = ["dockerd", "--data-root", str(tmp_path / "dr"), "--exec-root", str(tmp_path / "er"), "--pidfile", str(tmp_path / "p"), "-H", f"unix://{tmp_path}/s",
               "--bridge=none", "--iptables=false"] if IS_DOCKERD else [str(BUILD / "caissond"), "--validate"]
    out = subprocess.run([*program, "--config-file", str(tmp_path / "d.json")], capture_output=True, text=True, timeout=30)
    subprocess.run(["umount", "-q", str(tmp_path / "dr")], check=False, capture_output=True)     # dockerd leaves a mount of its own there
    assert out.returncode != 0 and message in out.stdout + out.stderr


@caisson
def test_proxies(fresh):
    eng = fresh(prepare=False, config={"proxies": {"http-proxy": "http://user:secret@127.0.0.1:1", "no-proxy": "a.example"}}, args=["--https-proxy", "http://127.0.0.1:1"])
    i = info(eng)
    assert (i["HttpProxy"], i["HttpsProxy"], i["NoProxy"]) == ("http://xxxxx:xxxxx@127.0.0.1:1", "http://127.0.0.1:1", "a.example")
    a = eng.http.post("/images/create?fromImage=nosuch.invalid/x&tag=v1")       # goes to the proxy, which is not there
    assert a.status == 500 and "proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused" in a.json["message"] and "secret" not in a.json["message"]


@caisson
def test_hosts_toml_is_read_for_each_pull(fresh, mirror, tmp_path):
    hosts = tmp_path / "hosts"
    eng = fresh(prepare=False, config={"registry-hosts-dirs": [str(hosts)]})
    put(mirror, "team/app", "v1", mirror.layers)
    assert eng.http.post("/images/create?fromImage=registry.invalid/team/app&tag=v1").status == 500
    (hosts / "registry.invalid").mkdir(parents=True)
    (hosts / "registry.invalid/hosts.toml").write_text(f'[host."http://127.0.0.1:1"]\n[host."{mirror.url}"]\n')
    pull(eng, "registry.invalid/team/app:v1")
    assert "registry.invalid/team/app:v1" in names(eng)
    (hosts / "registry.invalid/hosts.toml").write_text("capabilities = [\n")
    a = eng.http.post("/images/create?fromImage=registry.invalid/team/app&tag=v1")
    assert "hosts.toml: line 2:" in a.json["message"], a


@caisson
def test_certificates(fresh, tmp_path):
    """A name that resolves to loopback is first tried with verification; a wrong certificate is then still loopback's. Strict by hosts.toml."""
    ca, hosts = Authority(tmp_path / "ca"), tmp_path / "hosts"
    with Fake(tls=ca.issue("registry")) as f:
        put(f, "team/app", "v1", [files(a="b")])
        d = hosts / "secure.invalid"
        d.mkdir(parents=True)
        (d / "hosts.toml").write_text(f'server = "{f.url}"\nskip_verify = false\n')
        eng = fresh(prepare=False, config={"registry-hosts-dirs": [str(hosts)]})
        a = eng.http.post("/images/create?fromImage=secure.invalid/team/app&tag=v1")
        assert a.status == 500 and "x509: certificate signed by unknown authority" in a.json["message"]
        (hosts / f.host).mkdir()
        shutil.copy(ca.cert, hosts / f.host / "ca.crt")          # certs.d of the host that is spoken to
        pull(eng, "secure.invalid/team/app:v1")


@needs_docker
def test_login_of_the_docker_command(fresh):
    with Registry(htpasswd={"ann": "secret"}) as r:
        eng = fresh(prepare=False)
        bad = eng.cli("login", "-u", "ann", "-p", "wrong", r.host)
        assert bad.returncode != 0 and "401 Unauthorized" in bad.stderr
        assert "Login Succeeded" in eng.cli("login", "-u", "ann", "-p", "secret", r.host, check=True).stdout
        out = eng.cli("pull", f"{r.host}/no/such")
        assert f"manifest for {r.host}/no/such:latest not found: manifest unknown" in out.stderr, out


@needs_docker
def test_login_with_a_token_server(fresh):
    with Registry(token=True, htpasswd={"ann": "secret"}, identity={"refresh-ann": "ann"}) as r:
        eng = fresh(prepare=False)
        assert "Login Succeeded" in eng.cli("login", "-u", "ann", "-p", "secret", r.host, check=True).stdout
        saved = json.loads((eng.root / "cli/config.json").read_text())["auths"][r.host]
        assert saved.get("identitytoken") == "refresh-ann"
        out = eng.cli("pull", f"{r.host}/no/such")
        assert f"manifest for {r.host}/no/such:latest not found: manifest unknown" in out.stderr, out
        assert r.tokens.requests[-1]["method"] == "POST" and r.tokens.requests[-1]["query"]["refresh_token"] == ["refresh-ann"]


@pytest.mark.unsanitized  # those keep libraries, to name what is in a stack
def test_memory_goes_back_after_a_pull(fresh, mirror):
    if IS_DOCKERD:
        pytest.skip("Caisson's own")
    eng = fresh(prepare=False, config={"registry-mirrors": [mirror.url]})

    def mapped():
        return {os.path.basename(line.split()[-1]) for line in open(f"/proc/{eng.proc.pid}/maps") if ".so" in line}
    assert not any(m.startswith("libcurl") for m in mapped())
    pull(eng, "mirrored:v1")
    wait_for(lambda: not any(m.startswith("libcurl") for m in mapped()), 10, "libcurl unloaded")
