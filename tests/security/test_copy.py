# SPDX-License-Identifier: Apache-2.0
"""docker cp against containers that want out of it. Each test has a canary on the host (path, content, owner, mode, times)."""
import bz2
import gzip
import io
import lzma
import os
import socket
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

import rootfs
from archive import content, get, head, members, put, raw_names
from box import IS_DOCKERD
from test_archives import CORPUS
from together import together
from test_runtime import canary, image  # noqa: F401  (fixtures)

RACES = int(os.environ.get("CAISSON_CP_RACES", "1000"))


def copy_all(box, canary, path, count=1, secret=b"canary-secret"):  # noqa: F811
    """GET, HEAD and PUT of one path; whatever the answers, nothing of the host comes out or changes."""
    statuses = set()
    for n in range(count):
        a = get(box, path)
        assert secret not in a.body, f"GET {path} number {n} read the host"
        statuses.add(a.status)
        statuses.add(head(box, path)[0])
        a = put(box, path, rootfs.Tar().file("planted", "x", 0o4777, 1, 1).file("secret", "overwritten"))
        statuses.add(a.status)
    canary.check()
    return statuses


# ---- races ----

@pytest.mark.timeout(600)
@pytest.mark.parametrize("where", ["root", "volume"])
def test_cve_2018_15664_swap(boxes, canary, where, tmp_path):  # noqa: F811
    """CVE-2018-15664: a directory is swapped with a link to the host's path while files are copied."""
    (tmp_path / "v").mkdir()
    base = {"root": "/x", "volume": "/v/x"}[where]
    # what the link means inside is empty: only a path resolved on the host leads to the canary
    b = boxes.start(f"mkdir -p {base}/d/stash {base}/t; ln -s {canary.path} {base}/l; echo up; cd {base}; "
                    "while :; do mv d t/d; mv l d; mv d l; mv t/d d; done", Host={"Binds": [f"{tmp_path}/v:/v"]})
    b.wait_log("up")

    def storm(count):
        statuses = copy_all(b, canary, f"{base}/d", count)
        copy_all(b, canary, f"{base}/d/secret", 20)
        copy_all(b, canary, base, 20)
        return statuses
    done = together(storm, RACES // 2, RACES // 2)
    assert all(200 in s and s <= {200, 400, 404, 500} for s in done), done
    b.kill()
    b.wait()
    copy_all(b, canary, f"{base}/d", 20)
    copy_all(b, canary, f"{base}/l", 5)


@pytest.mark.caisson
@pytest.mark.timeout(300)
def test_cve_2018_15664_swap_inside_the_archives_tree(boxes, canary):  # noqa: F811
    """The directories that the archive itself makes are swapped while it is extracted, and the tree while it is packed."""
    b = boxes.start(f"mkdir -p /x/a; echo up; while :; do for d in /x/a/b /x/a/b/c /x/a; do mv $d /x/old; ln -s {canary.path} $d; rm $d; mv /x/old $d; done; done")
    b.wait_log("up")
    tar = rootfs.Tar().dir("a", 0o777, 9, 9).dir("a/b", 0o777, 9, 9).dir("a/b/c", 0o777, 9, 9)
    for n in range(50):
        tar.file(f"a/b/c/secret{n}", "x", 0o4777, 9, 9).file("a/b/secret", "x", 0o4777, 9, 9).symlink(f"a/b/l{n}", "c").hardlink(f"a/b/h{n}", "a/b/secret").fifo(f"a/b/c/p{n}")
    data = tar.bytes()
    for _ in range(RACES // 10):
        assert put(b, "/x", data).status in (200, 400, 500)
        a = get(b, "/x")
        assert b"canary-secret" not in a.body
    canary.check()


@pytest.mark.timeout(300)
def test_ghsa_vp62_mount_points(boxes, canary, engine, tmp_path):  # noqa: F811
    """GHSA-vp62-88p7-qqf5, CVE-2026-42306: cp mounts volumes and makes their mount points; a neighbour swaps the parent for a link to the host."""
    (tmp_path / "v").mkdir()
    neighbour = boxes.start(f"mkdir -p /v/p/q; ln -s {canary.path} /v/l; ln -s ../../../../../../../../../../..{canary.path} /v/r; echo up; cd /v; "
                            "while :; do mv p t; mv l p; mv p l; mv r p; mv p r; mv t p; done", Host={"Binds": [f"{tmp_path}/v:/v"]})
    neighbour.wait_log("up")
    stopped = boxes.create("true", Host={"Binds": [f"{tmp_path}/v:/v", f"{tmp_path}:/v/p/new", f"{tmp_path}/v:/v/p/q/deep", "/etc/hostname:/v/p/file"]})
    for _ in range(RACES // 10):
        get(stopped, "/v/p")
        head(stopped, "/v/p/new")
        put(stopped, "/v/p", rootfs.Tar().file("secret", "overwritten"))
        canary.check()


def test_ghsa_vp62_links_in_the_image(boxes, image, canary):  # noqa: F811
    """The parents of mount points are links of the image. Good ones work (/var/run -> /run), bad ones stay inside."""
    tar = rootfs.busybox().dir("run").symlink("var/run", "/run").symlink("bad", str(canary.path)).symlink("up", "../" * 20 + str(canary.path).lstrip("/"))
    ref = image(tar.dir("run/inner"))
    host = canary.path.parent / "bindme"
    host.mkdir()
    (host / "given").write_text("given")
    b = boxes.create("true", image=ref, Host={"Binds": [f"{host}:/var/run/inner", f"{host}:/bad/x", f"{host}:/up/sub"]})
    assert content(b, "/var/run/inner/given") == b"given"
    assert content(b, "/run/inner/given") == b"given"
    assert put(b, "/var/run", rootfs.Tar().file("z", "1")).status == 200 and content(b, "/run/z") == b"1"
    for path in ("/bad", "/bad/x", "/up", "/up/sub", "/bad/secret"):
        get(b, path)
        put(b, path, rootfs.Tar().file("secret", "x"))
        canary.check()
    assert not (canary.path / "x").exists()


@pytest.mark.caisson
def test_mounts_stay_out_of_sight(boxes, tmp_path, engine):
    """While a stopped container is copied from and to, the host has no mount of it (CVE-2018-15664's first half), and none stays."""
    b = boxes.create("true", Host={"Binds": [f"{tmp_path}:/mnt"]})
    put(b, "/tmp", rootfs.Tar().file("big", os.urandom(1 << 20) * 16))
    r = b.http.stream("GET", b.url + "/archive", {"path": "/tmp"})
    r.read1(1000)
    s = socket.socket(socket.AF_UNIX)
    s.connect(engine.sock)
    s.sendall(f"PUT {b.url}/archive?path=/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n".encode() + bytes(1000))
    time.sleep(0.3)
    assert not engine.mounts()
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    s.close()
    r.connection.close()
    b.start()
    b.wait()


# ---- what a container offers to those who look ----

@pytest.mark.parametrize("path", ["/proc/self/root", "/proc/1/root", "/proc/self/root/", "/proc/self/cwd", "/proc/self/exe", "/proc/self/fd/1", "/proc/thread-self/root",
                                  "/magic", "/magic/", "/magic/secret", "/proc/sys/kernel/core_pattern", "/dev/fd/3", "/proc/kcore"])
@pytest.mark.parametrize("state", ["running", "stopped"])
def test_cve_2024_21626_magic_links(boxes, canary, path, state):  # noqa: F811
    """CVE-2024-21626 and kin: links that the kernel makes lead to what a process has open, ours for instance."""
    b = boxes.start(f"ln -s /proc/self/root{canary.path} /magic; ln -s /proc/self/root/proc/self/root /magic2; echo up; sleep 1000")
    b.wait_log("up")
    if state == "stopped":
        b.kill()
        b.wait()
    before = Path("/proc/sys/kernel/core_pattern").read_bytes()
    statuses = copy_all(b, canary, path)
    assert statuses <= {200, 400, 403, 404, 500}
    if not path.startswith(("/magic", "/dev")):
        assert get(b, path).status == 404
    assert Path("/proc/sys/kernel/core_pattern").read_bytes() == before


@pytest.mark.parametrize("path", ["{c}", "{c}/secret", "/../../../../../..{c}", "/tmp/../../..{c}/secret", "/abs", "/abs/secret", "/rel", "/rel/secret", "/chain/secret",
                                  "/d/abs/../secret", "/etc/../abs"])
@pytest.mark.parametrize("state", ["running", "stopped"])
def test_links_and_dots(boxes, canary, path, state):  # noqa: F811
    b = boxes.start(f"ln -s {canary.path} /abs; ln -s {'../' * 20}{str(canary.path).lstrip('/')} /rel; ln -s abs /chain; mkdir /d; ln -s ../abs /d/abs; echo up; sleep 1000")
    b.wait_log("up")
    if state == "stopped":
        b.kill()
        b.wait()
    assert copy_all(b, canary, path.format(c=canary.path)) <= {200, 400, 404, 500}
    st = head(b, "/abs")[1]
    assert st["linkTarget"] == str(canary.path), "where a link leads inside, in words"


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_special_files_do_not_hold_us(boxes, canary, state):  # noqa: F811
    """FIFOs, devices and sockets where files are expected: an answer at once."""
    b = boxes.start("mkdir /s; mkfifo /s/fifo; mknod /s/null c 1 3; mknod /s/zero c 1 5; mknod /s/disk b 8 0; mknod /s/tty c 5 0; "
                    "mkdir /x; mkfifo /x/passwd; rm /etc/passwd; mkfifo /etc/passwd; ln -s fifo /s/l; echo up; sleep 1000", User="0")
    b.wait_log("up")
    if state == "stopped":
        b.kill()
        b.wait()
    began = time.monotonic()
    assert {m.name: m.type for m in members(get(b, "/s").body)} == {
        "s": tarfile.DIRTYPE, "s/disk": tarfile.BLKTYPE, "s/fifo": tarfile.FIFOTYPE, "s/null": tarfile.CHRTYPE, "s/tty": tarfile.CHRTYPE, "s/zero": tarfile.CHRTYPE,
        "s/l": tarfile.SYMTYPE}
    for name in ("fifo", "null", "zero", "disk", "tty"):
        assert len(members(get(b, f"/s/{name}").body)) == 1
        assert put(b, f"/s/{name}", rootfs.Tar().file("x")).status in (400, 500)
        assert put(b, "/s", rootfs.Tar().file(name, "now a file")).status == 200
        assert content(b, f"/s/{name}") == b"now a file"
    if not IS_DOCKERD:
        put(b, "/tmp", rootfs.Tar().file("x"), copyUIDGID=1)
    assert time.monotonic() - began < 20


@pytest.mark.caisson
def test_fifo_as_passwd(boxes):
    b = boxes.start("rm /etc/passwd /etc/group; mkfifo /etc/passwd; ln -s /dev/zero /etc/group; echo up; sleep 1000", User="0:daemon")
    b.wait_log("up")
    a = put(b, "/tmp", rootfs.Tar().file("x"), copyUIDGID=1)
    assert a.status == 400 and "daemon" in a.message


@pytest.mark.caisson
def test_passwd_is_opened_only_if_it_is_a_file(boxes):
    """A device may do something because it is opened (a watchdog begins to count, a tape is wound back), and the engine's device rules are not the container's. A FIFO tells
    the one who waits at its other end."""
    b = boxes.start("rm /etc/passwd /etc/group; mkfifo /etc/passwd /etc/group; (: > /etc/passwd; echo opened) & (: > /etc/group; echo opened) & echo up; sleep 1000", User="0:0")
    b.wait_log("up")
    for _ in range(10):      # an exec would look into them, too, but as one of the container's
        assert put(b, "/tmp", rootfs.Tar().file("x"), copyUIDGID=1).status == 200
    assert "opened" not in b.logs()[0]


# ---- programs and libraries of the container ----

HOSTILE = "#!/bin/sh\necho ran >> /ran\necho ran >> {c}/secret\nexec cat\n"


@pytest.mark.parametrize("state", ["created", "running"])
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, "zstd"], ids=["gzip", "bzip2", "xz", "zstd"])
def test_cve_2026_41567_no_decompressor_of_the_container(boxes, image, canary, pack, state):  # noqa: F811
    """CVE-2026-41567 (GHSA-x86f-5xw2-fm2r): the archive is unpacked by xz, unpigz … of the container."""
    if pack == "zstd" and IS_DOCKERD:
        pytest.skip("20.10 does not know zstd")
    tar = rootfs.busybox().dir("usr").dir("usr/bin").dir("usr/local").dir("usr/local/bin").dir("sbin")
    for name in ("xz", "unxz", "xzcat", "unpigz", "pigz", "gzip", "gunzip", "zcat", "bzip2", "bunzip2", "bzcat", "zstd", "unzstd", "tar", "bsdtar", "docker-untar"):
        for where in ("usr/bin", "usr/local/bin", "sbin"):
            tar.file(f"{where}/{name}", HOSTILE.format(c=canary.path), 0o755)
    b = boxes.create("sleep 1000", image=image(tar))
    if state == "running":
        b.start()
    data = rootfs.Tar().file("packed", "inside").bytes()
    data = subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout if pack == "zstd" else pack(data)
    assert put(b, "/tmp", data).status == 200
    assert content(b, "/tmp/packed") == b"inside"
    assert get(b, "/ran").status == 404, "a program of the container was run"


@pytest.mark.parametrize("state", ["created", "running"])
def test_cve_2019_14271_no_library_of_the_container(boxes, image, canary, state, tmp_path):  # noqa: F811
    """CVE-2019-14271: what copies chroots into the container, and then looks a user up: libnss_*.so of the container is loaded into root on the host."""
    (tmp_path / "evil.c").write_text(f"""#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void evil(void) {{ int fd = open("/loaded", O_CREAT | O_WRONLY, 0644); close(fd);
 fd = open("{canary.path}/secret", O_WRONLY | O_APPEND); if (fd >= 0) {{ write(fd, "x", 1); close(fd); }} }}
""")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(tmp_path / "evil.so"), str(tmp_path / "evil.c")], check=True)
    evil = (tmp_path / "evil.so").read_bytes()
    tar = rootfs.busybox()
    for where in ("lib", "lib64", "lib/x86_64-linux-gnu", "usr", "usr/lib", "usr/lib/x86_64-linux-gnu"):
        tar.dir(where)
    for where in ("lib", "lib64", "lib/x86_64-linux-gnu", "usr/lib", "usr/lib/x86_64-linux-gnu"):
        for name in ("libnss_files.so.2", "libnss_dns.so.2", "libnss_compat.so.2", "libnss_systemd.so.2", "libarchive.so.13", "libzstd.so.1", "libisal.so.2", "liblzma.so.5",
                     "libz.so.1", "libgcc_s.so.1", "libc.so.6"):
            tar.file(f"{where}/{name}", evil, 0o755)
    tar.file("etc/nsswitch.conf", "passwd: files dns compat systemd\ngroup: files dns compat systemd\nhosts: files dns\n")
    b = boxes.create("sleep 1000", image=image(tar), User="0" if IS_DOCKERD else "app")
    if state == "running":
        b.start()
    for pack in (bytes, gzip.compress, bz2.compress, lzma.compress):
        assert put(b, "/tmp", pack(rootfs.Tar().file("x", "1", uid=1000).bytes()), copyUIDGID=1).status == 200
        assert get(b, "/etc").status == 200 and head(b, "/etc")[0] == 200
    assert get(b, "/loaded").status == 404, "a library of the container was loaded"
    maps = Path(f"/proc/{boxes.engine.proc.pid}/maps").read_text()
    assert "/snapshots/" not in maps and "/overlay2/" not in maps and "/merged/" not in maps


# ---- archives ----

@pytest.mark.parametrize("kind", sorted(CORPUS))
@pytest.mark.parametrize("state", ["created", "running"])
def test_cve_2026_17106_tar_escapes(boxes, canary, kind, state):  # noqa: F811
    """CVE-2026-17106 (go-archive): refused, or all of it inside."""
    b = boxes.create("sleep 1000")
    if state == "running":
        b.start()
    data = CORPUS[kind](rootfs.Tar(), str(canary.path)).bytes()
    for path in ("/", "/tmp"):
        a = put(b, path, data)
        assert a.status in (200, 400, 500), a
        canary.check()
        assert b"canary-secret" not in get(b, "/tmp").body
    if state == "running":
        assert "canary-secret" not in b.exec("cat /h /l/secret /s /tmp/h /tmp/l/secret /tmp/s 2>/dev/null")[1]


def test_hard_links_to_what_was_there(boxes, canary):  # noqa: F811
    """A hard link in an archive may name what the container has, never what the host has, and never through the container's links outwards."""
    b = boxes.create("true")
    assert put(b, "/", rootfs.Tar().symlink("out", str(canary.path)).symlink("tmp/out", str(canary.path)).file("mine", "mine")).status == 200
    for target in ("out/secret", "/out/secret", "tmp/out/secret", str(canary.path) + "/secret", "../out/secret", "../.." + str(canary.path) + "/secret", "out"):
        put(b, "/", rootfs.Tar().hardlink("stolen", target).file("stolen", "overwritten"))
        put(b, "/tmp", rootfs.Tar().hardlink("stolen", target))
        assert b"canary-secret" not in get(b, "/tmp").body
        canary.check()


@pytest.mark.caisson
def test_links_of_the_same_archive(boxes, canary):  # noqa: F811
    """Entries through links that the archive made a moment ago land where the container itself would put them."""
    b = boxes.create("true")
    c = str(canary.path)
    assert put(b, "/tmp", rootfs.Tar().symlink("l", "/etc").file("l/landed", "in etc").symlink("u", "../" * 30 + "etc").file("u/landed2", "too")).status == 200
    assert content(b, "/etc/landed") == b"in etc" and content(b, "/etc/landed2") == b"too"
    assert put(b, "/tmp", rootfs.Tar().symlink("m", c).file("m/secret", "x")).status == 400
    canary.check()
    assert put(b, "/tmp", rootfs.Tar().dir("m2").symlink("m2", c).dir("m2", 0o777, 5, 5)).status == 200
    canary.check()
    assert raw_names(get(b, "/tmp/m2").body) == ["m2/"]


def test_sockets_and_whiteout_devices(boxes):
    b = boxes.create("true")
    tar = rootfs.Tar().device("white", 0, 0)
    a = put(b, "/tmp", tar)
    assert a.status in (400, 500) or IS_DOCKERD
    assert get(b, "/etc/passwd").status == 200


@pytest.mark.caisson
@pytest.mark.timeout(120)
def test_bomb_does_not_grow_the_daemon(boxes, engine):
    """A gigabyte of zeros in a few kilobytes goes through, or the disk's quota says no; the daemon stays small."""
    def rss():
        return int(next(l for l in Path(f"/proc/{engine.proc.pid}/status").read_text().splitlines() if l.startswith("VmHWM")).split()[1])
    b = boxes.create("sleep 1000", Host={"Tmpfs": {"/t": "size=8m"}}).start()
    info = tarfile.TarInfo("zeros")
    info.size = 256 << 20
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as z:
        z.write(info.tobuf())
        for _ in range(256):
            z.write(bytes(1 << 20))
    before = rss()
    a = put(b, "/t", out.getvalue())
    assert a.status == 507, a
    assert rss() - before < 24 << 10
