# SPDX-License-Identifier: Apache-2.0
"""Shared fixtures. `-m "not caisson"` is implied on dockerd: those tests need something that 20.10 lacks."""
import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "lib"))

import caisson_fixture as fx  # noqa: E402
from box import Boxes, Events, Networks  # noqa: E402

LIBRARIES = {"dns": "python3-dnspython", "docker": "python3-docker", "jsonschema": "python3-jsonschema", "websocket": "python3-websocket", "yaml": "python3-yaml"}
TEST_TIMEOUT = int(os.environ.get("CAISSON_TEST_TIMEOUT", "60"))


def pytest_configure(config):
    missing = sorted(package for module, package in LIBRARIES.items() if not importlib.util.find_spec(module))
    if missing:  # not a reason to skip: another python3 than Debian's in the PATH would leave whole files out
        raise pytest.UsageError(f"{sys.executable} lacks {', '.join(missing)}: use /usr/bin/python3 -m pytest, and scripts/deps check")
    # a shell starts what runs in its background with these ignored (nohup the last one), and so would everything that a test starts
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    config.addinivalue_line("markers", "caisson: beyond dockerd 20.10 (newer API or Caisson's own behaviour)")
    config.addinivalue_line("markers", "unsanitized: measures memory, or needs the static worker that a build with sanitizers cannot have")
    config.addinivalue_line("markers", "host_mounts: the engine has to see mounts that the test makes")
    config.addinivalue_line("markers", "new_docker: uses flags that Debian's docker command (20.10) has not")
    config.addinivalue_line("markers", "timeout(seconds): a limit other than the default")


def docker_release():
    """Of the docker command: 28 of "Docker version 28.2.2, build e6534b4"; 0 when there is none."""
    try:
        said = subprocess.run(["docker", "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return 0
    release = re.search(r"version (\d+)\.", said)
    return int(release.group(1)) if release else 0


def pytest_collection_modifyitems(config, items):
    # Debian's docker (20.10) drives what any will do for; who compares word by word needs the release that was compared with.
    if docker_release() != 28:
        for item in items:
            if hasattr(item.module, "parity") or hasattr(item.module, "Twins") or item.module.__name__.startswith("test_cli_parity"):
                item.add_marker(pytest.mark.skip(reason="compares with docker 28"))
    if docker_release() < 28:
        for item in items:
            if item.get_closest_marker("new_docker"):
                item.add_marker(pytest.mark.skip(reason="docker 28 or newer"))
    if fx.sanitized():
        for item in items:
            if item.get_closest_marker("unsanitized"):
                item.add_marker(pytest.mark.skip(reason="not with sanitizers"))
    if fx.in_chroot():
        for item in items:
            if item.get_closest_marker("host_mounts"):
                item.add_marker(pytest.mark.skip(reason="in a chroot the engine has mounts of its own"))
    if fx.KIND == "dockerd":
        for item in items:
            if item.get_closest_marker("caisson"):
                item.add_marker(pytest.mark.skip(reason="not in dockerd 20.10"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    mark = item.get_closest_marker("timeout")
    limit = int((mark.args[0] if mark else TEST_TIMEOUT) * fx.TIME_FACTOR)

    def expired(_sig, _frame):
        raise AssertionError(f"test took longer than {limit} s")
    old = signal.signal(signal.SIGALRM, expired)
    signal.alarm(limit)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """One daemon for all ordinary tests of the session."""
    eng = fx.Engine()
    try:
        eng.start().prepare()
        yield eng
        assert eng.alive(), f"the daemon died during the tests:\n{eng.tail(60)}"
    finally:
        eng.close()


@pytest.fixture(autouse=True)
def _survived(request):
    """A crash of the shared daemon belongs to the test that caused it; the next one gets a new daemon."""
    yield
    if "engine" in request.fixturenames:
        eng = request.getfixturevalue("engine")
        if not eng.alive():
            code, tail = eng.proc.returncode, eng.tail(15)
            eng.start()
            pytest.fail(f"the daemon died with {code}:\n{tail}")


@pytest.fixture
def fresh():
    """Own daemon per test, for tests that kill it. Call it for more: fresh(args=[…])."""
    made = []

    def make(prepare=True, **kw):
        eng = fx.Engine(**kw)
        made.append(eng)
        eng.start()
        return eng.prepare() if prepare else eng
    yield make
    for eng in made:
        eng.close()


@pytest.fixture(scope="session")
def net_engine(tmp_path_factory):
    """As engine, with bridges and a firewall, in a network namespace of its own."""
    eng = fx.Engine(netns=True)
    try:
        eng.start().prepare()
        yield eng
        assert eng.alive(), f"the daemon died during the tests:\n{eng.tail(60)}"
    finally:
        eng.close()


@pytest.fixture
def net_boxes(net_engine, networks):
    made = Boxes(net_engine)
    yield made
    made.clean()


@pytest.fixture
def networks(net_engine):
    """Makes networks, and removes them with the test's containers."""
    made = Networks(net_engine)
    yield made
    made.clean()


@pytest.fixture
def http(engine):
    return engine.http


@pytest.fixture
def boxes(engine):
    made = Boxes(engine)
    yield made
    made.clean()


@pytest.fixture
def events(engine):
    with Events(engine) as ev:
        yield ev


@pytest.fixture(scope="session")
def api(engine):
    client = engine.api()
    yield client
    client.close()


@pytest.fixture(scope="session")
def client(engine):
    c = engine.client()
    yield c
    c.close()


@pytest.fixture(scope="session")
def probe(tmp_path_factory):
    """A static program with one verb per thing that busybox cannot observe."""
    if os.environ.get("CAISSON_PROBE"):     # where there is no compiler
        return Path(os.environ["CAISSON_PROBE"])
    out = tmp_path_factory.mktemp("probe") / "probe"
    subprocess.run(["gcc", "-static", "-O1", "-o", str(out), str(Path(__file__).parent / "lib" / "probe.c")], check=True)
    return out
