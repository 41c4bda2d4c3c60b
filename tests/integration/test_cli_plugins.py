# SPDX-License-Identifier: Apache-2.0
"""The engine's plugins, the plugin that builds, and a search with credentials: what docker's client and ours ask of the same engine, and what they say."""
import base64
import json
import shlex
import shutil
import subprocess

import pytest

import fakeengine
from fakeengine import FakeEngine
from twins import CAISSON, Twins

pytestmark = [pytest.mark.caisson, pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")]
ANSWERS = {("DELETE", "/plugins/gone"): (404, {"message": 'plugin "gone" not found'}),
           ("POST", "/plugins/h:1/x/p:latest/push"): (200, [{"status": "Pushing", "id": "a"}, {"status": "done"}]),
           ("POST", "/plugins/bad:latest/push"): (200, [{"errorDetail": {"message": "it broke"}, "error": "it broke"}])}
LINES = """
plugin enable p
plugin enable --timeout 5 x/p:1
plugin enable --timeout -1 p
plugin enable
plugin disable p
plugin disable -f p
plugin rm a gone x/b:1
plugin rm -f a
plugin remove gone
plugin set p A=b C=d
plugin set p
plugin push h:1/x/p
plugin push bad
plugin push x@sha256:%s
plugin push Upper
""" % ("0" * 64)


@pytest.mark.parametrize("line", LINES.strip().splitlines())
def test_as_docker(tmp_path, line):
    seen, twins = [], Twins(tmp_path)
    for name in ("docker", "caisson"):
        with FakeEngine(ANSWERS) as engine:
            said = twins.one(name, *line.split(), DOCKER_HOST=engine.host)
            seen.append((said, [(m, p, q, b) for m, p, q, b in engine.seen]))
    assert seen[0] == seen[1]


def test_our_engine_says_that_it_has_none(engine):
    for args in (["enable", "p"], ["set", "p", "a=b"], ["push", "p"], ["rm", "p"]):
        r = subprocess.run([CAISSON, "-H", "unix://" + engine.sock, "plugin", *args], capture_output=True, text=True, check=False)
        assert r.returncode == 1 and r.stderr.startswith("Error response from daemon: ") and "plugin" in r.stderr and not r.stdout, r


BUILDX = """#!/bin/sh
if [ "$1" = docker-cli-plugin-metadata ]; then
    echo '{"SchemaVersion":"0.1.0","Vendor":"Tests","Version":"v9","ShortDescription":"Builds"}'
    exit
fi
for a; do printf '<%s>' "$a"; done
exit 7
"""


@pytest.mark.parametrize("line", ["build -t a .", "image build .", "builder prune -f", "--debug build .", "build --help"])
def test_builder_alias(tmp_path, line):
    t = Twins(tmp_path)
    t.write("config/cli-plugins/docker-mybuild", BUILDX, 0o755)
    assert "not done" in t.one("caisson", *line.split())[2] or "--help" in line
    t.write("config/config.json", json.dumps({"aliases": {"builder": "mybuild"}}))
    assert t.same(*line.split())[0] == 7


GOOD = """echo '{"SchemaVersion":"0.1.0","Vendor":"V","Version":"v1","ShortDescription":"Does"}'"""
CANDIDATES = {"good": GOOD, "fails": "echo no >&2; exit 3", "oldschema": """echo '{"SchemaVersion":"9","Vendor":"V"}'""", "novendor": """echo '{"SchemaVersion":"0.1.0"}'""",
              "foo-bar": GOOD, "Upper": GOOD, "ps": GOOD, "": GOOD, "plain": """echo '{"SchemaVersion":"0.1.0","Vendor":"V"}'"""}


@pytest.fixture
def candidates(tmp_path):
    """Programs in the plugins' folder: two of them are plugins."""
    t = Twins(tmp_path, DOCKER_HOST="unix:///nonexistent")
    for name, about in CANDIDATES.items():
        t.write(f"config/cli-plugins/docker-{name}", f'#!/bin/sh\n[ "$1" = docker-cli-plugin-metadata ] && {{ {about}; exit; }}\necho "RUN $*"\ncase $1 in help | __complete) ;; *) exit 5 ;; esac\n', 0o755)
    t.write("config/cli-plugins/docker-noexec", "#!/bin/sh\n", 0o644)
    for name in ("docker", "caisson"):
        (tmp_path / name / "config/cli-plugins/docker-folder").mkdir()
        (tmp_path / name / "config/cli-plugins/docker-dangling").symlink_to("nosuch")
    return t


@pytest.mark.parametrize("line", ["good a --x", "good --help", "--debug good x", "-H tcp://h:1 good", "help good", "plain", "__complete good ''", "__complete good a --b", "ps -q",
                                  *[name for name in (*CANDIDATES, "noexec", "folder", "dangling") if name not in ("", "good", "plain", "ps")], "help fails"])
def test_who_is_run(candidates, line):
    """Only who says that he is a plugin, as docker has it: nobody knows what another program does with the words."""
    candidates.same(*shlex.split(line))


def test_who_is_none_is_said(candidates):
    sections = [next((part for part in out.split("\n\n") if part.startswith("Invalid Plugins:\n")), None) for _, out, _ in candidates.both("--help")]
    assert sections[0] and sections[0] == sections[1]
    warnings = [[line for line in err.splitlines() if line.startswith("WARNING: Plugin")] for _, _, err in candidates.both("info")]
    assert len(warnings[0]) == 9 and warnings[0] == warnings[1]
    told = [(status, json.loads(out)) for status, out, _ in candidates.both("info", "-f", "{{json .ClientInfo.Plugins}}")]
    assert told[0][0] == told[1][0] == 0 and [{k: v for k, v in p.items() if v} for p in told[1][1]] == told[0][1]  # the engine is not asked


def test_completion_knows_plugins(candidates):
    docker, caisson = candidates.both("__complete", "goo")
    assert caisson[:2] == docker[:2] == (0, "good\tDoes\n:4\n")


def test_a_plugin_that_does_not_stop_talking(tmp_path):
    """It is none; and nobody waits for it, who has stopped listening."""
    t = Twins(tmp_path)
    t.write("config/cli-plugins/docker-endless", "#!/bin/sh\nexec yes\n", 0o755)
    status, out, _ = t.one("caisson", "--help", timeout=20)
    assert status == 0 and "Common Commands" in out


def test_a_credential_helper_that_does_not_stop_talking(tmp_path):
    t = Twins(tmp_path)
    t.write("bin/docker-credential-endless", "#!/bin/sh\nexec yes\n", 0o755)
    t.write("config/config.json", json.dumps({"credsStore": "endless"}))
    with FakeEngine({("GET", "/images/search"): (200, b"[]")}) as engine:
        assert t.one("caisson", "search", "x", DOCKER_HOST=engine.host, PATH=f"{tmp_path}/caisson/bin:/usr/bin:/bin", timeout=20)[0] == 0


def test_search_sends_credentials(tmp_path, monkeypatch):
    sent = []
    real = fakeengine._Handler._answer

    def answer(handler):
        sent.append(handler.headers.get("X-Registry-Auth"))
        real(handler)
    monkeypatch.setattr(fakeengine._Handler, "do_GET", answer)
    t = Twins(tmp_path)
    t.write("config/config.json", json.dumps({"auths": {"h:5000": {"auth": "dTpw"}, "https://index.docker.io/v1/": {"auth": "YTpi"}}}))
    for term in ("h:5000/x", "busybox", "other:1/x"):
        found = []
        for name in ("docker", "caisson"):
            with FakeEngine({("GET", "/images/search"): (200, b"[]")}) as engine:
                sent.clear()
                assert t.one(name, "search", term, DOCKER_HOST=engine.host)[0] == 0
                found.append(decoded(sent[-1]))
        assert found[0] == found[1], term


def decoded(header):
    text = json.loads(base64.urlsafe_b64decode(header or "e30="))
    return {k: v for k, v in text.items() if v}
