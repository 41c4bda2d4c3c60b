# SPDX-License-Identifier: Apache-2.0
"""Hostile tars at the import, and requests that try to make the daemon grow."""
import os
import tarfile
import time

import pytest

import rootfs
from box import IS_DOCKERD
from test_runtime import canary  # noqa: F401  (fixture)


ATTACHES = int(os.environ.get("CAISSON_ATTACHES", "100"))     # 10000 have been run


def bring(engine, data, name="t-archive"):
    a = engine.http.post("/images/create", {"fromSrc": "-", "repo": name, "changes": ["ENV PATH=/bin"]}, body=data,
                         headers={"Content-Type": "application/x-tar"}, rec=False)
    good = a.status == 200 and b'"error' not in a.body
    return good, a


def rss(engine):
    with open(f"/proc/{engine.proc.pid}/status") as f:
        return int(next(l for l in f if l.startswith("VmRSS")).split()[1])


CORPUS = {
    "symlink-then-file": lambda t, c: t.symlink("l", c).file("l/planted", "x"),
    "symlink-chain": lambda t, c: t.symlink("a", "b").symlink("b", c).file("a/planted", "x"),
    "relative-symlink": lambda t, c: t.symlink("l", "../" * 30 + c.lstrip("/")).file("l/planted", "x"),
    "hardlink-absolute": lambda t, c: t.hardlink("h", c + "/secret").file("h", "overwritten"),
    "hardlink-dotdot": lambda t, c: t.hardlink("h", "../" * 30 + c.lstrip("/") + "/secret").file("h", "overwritten"),
    "hardlink-through-symlink": lambda t, c: t.symlink("l", c).hardlink("h", "l/secret").file("h", "overwritten"),
    "dotdot": lambda t, c: t.file("../" * 30 + c.lstrip("/") + "/planted", "x"),
    "dotdot-inside": lambda t, c: t.dir("d").file("d/../../" + "../" * 30 + c.lstrip("/") + "/planted", "x"),
    "absolute": lambda t, c: t.file(c + "/planted", "x"),
    "dir-replaced-by-link": lambda t, c: t.dir("d").symlink("d", c).file("d/planted", "x"),
    "file-over-symlink": lambda t, c: t.symlink("s", c + "/secret").file("s", "overwritten"),
    "chmod-through-symlink": lambda t, c: t.symlink("m", c).dir("m", 0o777, 65534, 65534),        # CVE-2021-32760
    "whiteout-through-symlink": lambda t, c: t.symlink("w", c).file("w/.wh.secret", ""),
    "opaque-through-symlink": lambda t, c: t.symlink("w", c).file("w/.wh..wh..opq", ""),
    "whiteout-dotdot": lambda t, c: t.file(".wh...", ""),
    "whiteout-of-root": lambda t, c: t.file(".wh..", ""),
    "long-pax-path": lambda t, c: t.file("/".join(["p" * 200] * 40), "x"),
    "nul-ish": lambda t, c: t.file("a\x01b\nc", "x"),
    "device": lambda t, c: t.device("disk", 8, 0),
    "dot": lambda t, c: t.dir(".", 0o700, 12, 34),
    "windows-names": lambda t, c: t.dir("Files").file("Files/..\\..\\planted", "x").file("..\\..\\planted", "x").file("f:stream:$DATA", "x"),     # CVE-2018-8115
    "empty-name": lambda t, c: t.dir("", 0o777),
}


@pytest.mark.parametrize("kind", sorted(CORPUS))
def test_cve_2026_17106_tar_escapes(engine, boxes, canary, kind):  # noqa: F811
    """CVE-2026-17106 (go-archive), CVE-2021-32760: refused, or all of it inside."""
    data = CORPUS[kind](rootfs.busybox(), str(canary.path)).bytes()
    good, a = bring(engine, data)
    try:
        assert good or a.status in (200, 400, 500), a
        if good and kind not in ("whiteout-of-root", "whiteout-dotdot"):
            b = boxes.create("cat /h /l/secret /s 2>/dev/null; true", image="t-archive")
            if b.post("start").status == 204:
                b.wait()
                assert "canary-secret" not in b.out
            b.rm()
    finally:
        if good:
            engine.http.delete("/images/t-archive", {"force": 1}, rec=False)
    assert engine.http.get("/_ping").status == 200
    canary.check()


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"\0" * 10240, b"\x1f\x8b" + b"x" * 50, b"BZh9" + b"x" * 50, b"\xfd7zXZ\0" + b"x" * 50,
                                  b"\x28\xb5\x2f\xfd" + b"x" * 50, os.urandom(5000)], ids=["empty", "short", "zeros", "gzip", "bzip2", "xz", "zstd", "random"])
def test_broken_archives(engine, data):
    bring(engine, data, "t-broken")
    engine.http.delete("/images/t-broken", {"force": 1}, rec=False)
    assert engine.http.get("/_ping").status == 200


def test_truncated_tar(engine):
    data = rootfs.busybox().bytes()
    good, a = bring(engine, data[:len(data) // 2], "t-trunc")
    assert not good or IS_DOCKERD, "half an archive became an image"


def test_cve_2023_25153_huge_header(engine):
    """CVE-2023-25153: a header that promises 10 GB must not be believed."""
    info = tarfile.TarInfo("big")
    info.size = 10 << 30
    before = rss(engine)
    good, _ = bring(engine, info.tobuf(tarfile.PAX_FORMAT) + b"x" * 1024, "t-huge")
    assert not good or IS_DOCKERD
    pax = tarfile.TarInfo("pax")
    pax.pax_headers = {"comment": "x" * (8 << 20)}
    bring(engine, pax.tobuf(tarfile.PAX_FORMAT) + b"\0" * 1024, "t-huge")
    engine.http.delete("/images/t-huge", {"force": 1}, rec=False)
    assert rss(engine) - before < 64 << 10


def test_cve_2022_31030_exec_output(engine, boxes):
    """Output that nobody reads must not pile up in the daemon."""
    up = boxes.sleeper()
    before = rss(engine)
    ident = up.exec_create("head -c 300000000 /dev/zero")
    with up.http.hijack("POST", f"/exec/{ident}/start", body={}) as h:
        time.sleep(0.5)
        assert rss(engine) - before < 32 << 10
        assert h.status in (101, 200)


def test_cve_2022_23471_resize_and_attach(engine, boxes):
    """CVE-2022-23471, CVE-2025-64329: resizes and attaches leave no threads and no memory."""
    up = boxes.sleeper(Tty=True, OpenStdin=True)

    def storm():
        for _ in range(ATTACHES):
            up.post("resize", {"h": 20, "w": 20}, rec=False)
            up.attach(stdin=0).close()
    storm()
    before, threads = rss(engine), len(os.listdir(f"/proc/{engine.proc.pid}/task"))
    storm()
    storm()
    assert rss(engine) - before < 8 << 10
    assert len(os.listdir(f"/proc/{engine.proc.pid}/task")) <= threads + 10


def test_slow_clients_do_not_use_up_the_daemon(engine):
    """Half requests that never go on."""
    import socket
    idle = []
    for _ in range(100):
        s = socket.socket(socket.AF_UNIX)
        s.connect(engine.sock)
        s.sendall(b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        idle.append(s)
    assert engine.http.get("/_ping", timeout=5).status == 200
    for s in idle:
        s.close()
    assert engine.http.get("/containers/json", timeout=5).status == 200
