# SPDX-License-Identifier: Apache-2.0
"""login, logout and the credentials that pull and push send: beside docker, with helper programs and without."""
import json
import os
import shutil
import signal
import termios

import pytest

import caisson_fixture as fx
from registry import Registry
from terminal import Terminal
from twins import CAISSON, Twins

pytestmark = [pytest.mark.caisson, pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")]

HELPER = """#!/bin/sh
# a credential store in a folder; says what it was asked
dir=$(dirname "$0")
read -r line
echo "$1 $line" >> "$dir/log"
case $1 in
get) if [ -e "$dir/secret" ]; then cat "$dir/secret"; else echo 'credentials not found in native keychain'; exit 1; fi ;;
store) printf %s "$line" > "$dir/secret" ;;
erase) rm -f "$dir/secret" ;;
esac
"""


@pytest.fixture(scope="module")
def registry():
    with Registry(htpasswd={"me": "secret:word"}) as r:
        yield r


@pytest.fixture(scope="module")
def tokens():
    with Registry(token=True, htpasswd={"me": "secret:word"}) as r:
        yield r


@pytest.fixture
def twins(engine, tmp_path):
    t = Twins(tmp_path, DOCKER_HOST="unix://" + engine.sock)
    for name in ("docker", "caisson"):
        (tmp_path / name / "bin").mkdir()
    t.write("bin/docker-credential-test", HELPER, 0o755)
    return t


def with_helper(twins, name):
    return {"PATH": f"{twins.root / name / 'bin'}:{os.environ['PATH']}"}


def same(twins, *args, **kw):
    docker, caisson = (twins.one(n, *args, **with_helper(twins, n), **kw) for n in ("docker", "caisson"))
    assert caisson == docker, args
    return docker


def configs(twins):
    a, b = twins.texts("config/config.json")
    assert (json.loads(a) if a else None) == (json.loads(b) if b else None)
    return json.loads(a) if a else None


def test_login_and_out(twins, registry):
    host = registry.host
    status, out, err = same(twins, "login", "-u", "me", "-p", "secret:word", host)
    assert status == 0 and out == "Login Succeeded\n" and "stored unencrypted" in err
    assert configs(twins) == {"auths": {host: {"auth": "bWU6c2VjcmV0OndvcmQ="}}}
    assert oct((twins.root / "caisson/config/config.json").stat().st_mode & 0o777) == "0o600"
    assert "existing credentials" in same(twins, "login", host)[2]
    assert "unencrypted" not in same(twins, "login", "-u", "me", "--password-stdin", host, stdin="secret:word\n")[2]
    same(twins, "login", f"http://{host}/v2/", "-u", "me", "-p", "secret:word")
    assert same(twins, "logout", f"https://{host}/v1/")[1] == f"Removing login credentials for {host}\n"
    assert configs(twins) == {"auths": {}}
    same(twins, "logout", host)
    same(twins, "logout")


@pytest.mark.parametrize("args, stdin", [
    (["-u", "other"], None), (["-u", "me", "-p", "wrong"], None), (["--password-stdin"], "x"), (["-u", "me", "-p", "x", "--password-stdin"], "x"), ([], None),
    (["-u", ""], None), (["-p", "x"], None), (["-u", "me", "--password-stdin"], "wrong\n"), (["a", "b"], None), (["--nosuch"], None)])
def test_refused(twins, registry, args, stdin):
    docker, caisson = (twins.one(n, "login", *args, registry.host, stdin=stdin) for n in ("docker", "caisson"))
    assert caisson[0] == docker[0] != 0
    if args != ["a", "b"]:  # docker's has a typing error there
        assert caisson == docker


def test_identity_token(twins, tokens):
    same(twins, "login", "-u", "me", "-p", "secret:word", tokens.host)
    entry = configs(twins)["auths"][tokens.host]
    assert entry["identitytoken"] and entry["auth"] == "bWU6"
    same(twins, "logout", tokens.host)


def test_helper(twins, registry):
    host = registry.host
    twins.write("config/config.json", json.dumps({"credsStore": "test"}))
    same(twins, "login", "-u", "me", "-p", "secret:word", host)
    same(twins, "login", host)
    assert configs(twins) == {"auths": {host: {}}, "credsStore": "test"}
    same(twins, "logout", host)
    a, b = ([line for line in text.splitlines() if not line.startswith("get")] for text in twins.texts("bin/log"))
    assert set(a) == set(b) and any(line.startswith("store") for line in b)
    assert not (twins.root / "caisson/bin/secret").exists()


def test_helper_of_one_registry(twins, registry):
    host = registry.host
    twins.write("config/config.json", json.dumps({"credHelpers": {host: "none"}}))
    status, _, err = same(twins, "login", "-u", "me", "-p", "secret:word", host)
    assert status == 1 and 'exec: "docker-credential-none": executable file not found in $PATH' in err
    twins.write("config/config.json", json.dumps({"credHelpers": {"other.example": "none"}}))
    same(twins, "login", "-u", "me", "-p", "secret:word", host)


def test_logout_without_the_helper(twins):
    twins.write("config/config.json", json.dumps({"credsStore": "none"}))
    status, _, err = twins.one("caisson", "logout")
    assert status == 0 and err.startswith("WARNING: could not erase credentials:\nhttps://index.docker.io/v1/: error erasing credentials - err: exec:")
    assert twins.one("docker", "logout")[0] == status       # and says the same besides another warning


def test_pull_sends_what_a_helper_gives(engine, twins, registry):
    name = f"{registry.host}/login/image:1"
    twins.write("config/config.json", json.dumps({"credsStore": "test"}))
    assert twins.one("caisson", "tag", fx.ROOTFS, name)[0] == 0
    try:
        assert twins.one("caisson", "push", name, **with_helper(twins, "caisson"))[0] == 1
        assert twins.one("caisson", "login", "-u", "me", "-p", "secret:word", registry.host, **with_helper(twins, "caisson"))[0] == 0
        assert twins.one("caisson", "push", name, **with_helper(twins, "caisson"))[0] == 0
    finally:
        twins.one("caisson", "rmi", name)


def test_asks_without_echo(engine, twins, registry):
    t = Terminal(engine, "-H", "unix://" + engine.sock, "--config", str(twins.root / "caisson/config"), "login", registry.host, program=str(fx.BUILD / "caisson"))
    try:
        t.until(b"Username: ")
        t.send(b"me\r")
        t.until(b"Password: ")
        t.send(b"secret:word\r")
        said = t.until(b"Login Succeeded")
        assert b"secret" not in said
        assert t.wait() == 0
    finally:
        t.close()
    assert json.loads(twins.texts("config/config.json")[1])["auths"][registry.host]["auth"] == "bWU6c2VjcmV0OndvcmQ="


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_the_terminal_echoes_again_whatever_ends_the_question(engine, tmp_path, sig):
    t = Terminal(engine, "login", "-u", "me", "r.invalid", program=CAISSON, env={"HOME": str(tmp_path)})
    t.until(b"Password")
    assert not termios.tcgetattr(t.master)[3] & termios.ECHO
    t.proc.send_signal(sig)
    assert t.wait() == -sig and termios.tcgetattr(t.master)[3] & termios.ECHO
    t.close()
