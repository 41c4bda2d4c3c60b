# SPDX-License-Identifier: Apache-2.0
"""An engine in a chroot: pivot_root and setns know only the root of the mount namespace, so it must not stay in there."""
import os

import pytest

import caisson_fixture as fx
from box import Boxes

pytestmark = pytest.mark.caisson


class Caged(fx.Engine):
    """The engine in a chroot that is no more than another view of the host's files."""

    def _command(self):
        cage = self.root / "cage"
        cage.mkdir(exist_ok=True)
        script = f'mount --rbind / {cage} && exec chroot {cage} "$@"'
        return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, "sh", *super()._command()]


@pytest.fixture
def caged():
    engine = Caged()
    try:
        yield engine.start().prepare()
    finally:
        engine.close()


def test_exec_stays_in_the_container(caged):
    up = Boxes(caged).sleeper()
    assert up.exec("ls /")[1] == up.exec("ls /proc/1/root/")[1]
    assert up.exec("test -e /etc/debian_version || test -e /etc/os-release; echo $?")[1] == "1\n"


def test_container_cannot_climb_out(caged):
    b = Boxes(caged).run("mkdir /in; chroot /in true 2>/dev/null; cd /../../..; ls -a / | tr '\\n' ' '; echo; cat /proc/self/mountinfo")
    assert b.wait() == 0
    out = b.out
    assert " / / rw" in out and str(caged.root / "cage") not in out and os.uname().nodename not in out.split("\n", 1)[0]
    # the root of the namespace is the container's: nothing is mounted above or beside it
    roots = [line for line in out.splitlines() if len(line.split()) > 4 and line.split()[4] == "/"]
    assert len(roots) == 1 and " overlay " in roots[0], roots
