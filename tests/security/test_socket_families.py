# SPDX-License-Identifier: Apache-2.0
"""CVE-2026-31431: families of sockets that a profile refuses, by the ways in which 32-bit programs make sockets. moby 29.4.2 closed
socketcall for everything and broke them; what is right is that the refused families are refused, and nothing else."""
import json
import os
from pathlib import Path

import pytest

import rootfs
from caisson_fixture import wait_for
from test_runtime import image  # noqa: F401  (fixture)

pytestmark = [pytest.mark.caisson, pytest.mark.skipif(os.uname().machine != "x86_64", reason="the i386 table of x86-64")]
FAMILIES = {"alg": "AF_ALG", "vsock": "AF_VSOCK"}
ARCHES = {"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]}
DEFAULT = Path(__file__).resolve().parents[2] / "share" / "seccomp.json"
ORDINARY = ("socket-inet", "socketcall-socket-inet", "socketcall-socketpair", "socketcall-send")


def seen(text):
    return dict(line.split() for line in text.splitlines())


@pytest.fixture
def sockets(boxes, image, probe):  # noqa: F811
    """The image; what the kernel itself has; and what a confined program gets by socketcall: EPERM, or what the engine says about this host."""
    ref = image(rootfs.busybox().file("probe", probe.read_bytes(), 0o755))
    b = boxes.run(["/probe", "sockets32"], image=ref, Host={"SecurityOpt": ["seccomp=unconfined"]})
    if b.code == 128 + 11:
        pytest.skip("this kernel runs no 32-bit programs")
    kernel = seen(b.out)
    warnings = [w for w in boxes.engine.http.get("/info").json["Warnings"] or [] if "32-bit programs" in w]
    said_open = {f for f, name in FAMILIES.items() if any(name in w for w in warnings)}
    assert said_open in (set(), {f for f in FAMILIES if kernel["socketcall-socket-" + f] == "ok"}), (warnings, kernel)

    def check(text):
        got = seen(text)
        assert [got[k] for k in ORDINARY] == ["ok"] * len(ORDINARY), got
        for f in FAMILIES:
            assert got["socket-" + f] == "EPERM", got
            what = got["socketcall-socket-" + f]
            assert what == ("ok" if f in said_open else "EPERM") or what == kernel["socketcall-socket-" + f] != "ok", (what, warnings)
    return ref, kernel, check


def test_cve_2026_31431_socketcall(boxes, sockets):
    ref, _, check = sockets
    check(boxes.run(["/probe", "sockets32"], image=ref, network="host").out)
    check(boxes.run(["/probe", "sockets32"], image=ref, User="app").out)
    check(boxes.run(["/probe", "sockets32"], image=ref, Host={"PidMode": "host", "SecurityOpt": ["no-new-privileges"]}).out)
    check(boxes.sleeper(image=ref).exec(["/probe", "sockets32"])[1])


def test_cve_2026_31431_socketcall_in_other_namespaces(boxes, sockets):
    ref, _, check = sockets
    up = boxes.sleeper(image=ref, Host={"CapAdd": ["SYS_ADMIN"]})
    code, out = up.exec("unshare -m -p -n -i -u -f /probe sockets32")[:2]
    assert code == 0, out
    check(out)


def test_cve_2026_31431_socketcall_without_the_engine(boxes, sockets, tmp_path):
    """The containers that it leaves behind are protected as before."""
    ref, _, check = sockets
    tmp_path.chmod(0o755)
    boxes.sleeper(image=ref, Host={"Binds": [f"{tmp_path}:/out"]}).exec(["/probe", "sockets32"])
    boxes.start("until [ -e /out/go ]; do usleep 10000; done; /probe sockets32 >/out/new; mv /out/new /out/text", image=ref, Host={"Binds": [f"{tmp_path}:/out"]})
    boxes.engine.kill()
    (tmp_path / "go").touch()
    wait_for(lambda: (tmp_path / "text").exists(), 60, "the container's answer")
    boxes.engine.start()
    check((tmp_path / "text").read_text())


def test_who_may_keeps_them(boxes, sockets):
    """No profile, or one that does not refuse them: nothing of ours stands in the way, whatever other containers there are."""
    ref, kernel, check = sockets
    boxes.sleeper(image=ref)
    for host in ({"Privileged": True}, {"SecurityOpt": ["seccomp=" + json.dumps({"defaultAction": "SCMP_ACT_ALLOW", **ARCHES})]}):
        assert seen(boxes.run(["/probe", "sockets32"], image=ref, Host=host).out) == kernel
    up = boxes.sleeper(image=ref)
    assert seen(up.exec(["/probe", "sockets32"], Privileged=True)[1]) == seen(up.exec(["/probe", "sockets32"])[1])


def test_families_of_an_own_profile(boxes, sockets):
    """The list is made of the profile that a container has: here one that refuses AF_VSOCK alone."""
    ref, kernel, _ = sockets
    profile = json.loads(DEFAULT.read_text())
    profile["syscalls"] = [r for r in profile["syscalls"] if r["names"] != ["socket"]]
    profile["syscalls"] += [{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 40, "op": op}]} for op in ("SCMP_CMP_LT", "SCMP_CMP_GT")]
    got = seen(boxes.run(["/probe", "sockets32"], image=ref, Host={"SecurityOpt": ["seccomp=" + json.dumps(profile)]}).out)
    warned = any("32-bit programs" in w for w in boxes.engine.http.get("/info").json["Warnings"] or [])
    assert got["socket-vsock"] == "EPERM"
    assert got["socketcall-socket-vsock"] in ("EPERM", kernel["socketcall-socket-vsock"] if warned or kernel["socketcall-socket-vsock"] != "ok" else "EPERM")
    assert [got[k] for k in got if "vsock" not in k] == [kernel[k] for k in kernel if "vsock" not in k]
