# SPDX-License-Identifier: Apache-2.0
"""Archives as layers, without an engine: what GNU tar and Python write, and what nobody should. Needs root."""
import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import struct
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("CAISSON_BUILD", Path(__file__).resolve().parents[2] / "build"))
EXE = BUILD / "tests/unit/run-layer"
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not EXE.exists(), reason="needs root and a build")


class Store:
    def __init__(self, path):
        self.path = path

    def names(self):
        return [sorted(os.listdir(self.path / d)) if (self.path / d).exists() else [] for d in ("layers", "content/blobs/sha256")]

    def unpack(self, data, *limits, wrapper=()):
        before = self.names()
        r = subprocess.run([*wrapper, EXE, self.path, *limits], input=data, capture_output=True, timeout=50)
        assert r.returncode == 0, r.stderr
        answer = json.loads(r.stdout)
        assert not os.listdir(self.path / "tmp"), "something half-made stays"
        if "error" in answer:
            assert self.names() == before, "something bad stays"
        return answer

    def good(self, data, *limits):
        a = self.unpack(data, *limits)
        assert "error" not in a, a
        return self.path / "layers" / a["chain_id"][7:] / "diff", a

    def bad(self, data, *limits, code="INVALID", **kw):
        a = self.unpack(data, *limits, **kw)
        assert a.get("code") == code, a
        return a["error"]


@pytest.fixture
def store(tmp_path):
    (tmp_path / "root").mkdir()
    os.umask(0o22)
    yield Store(tmp_path / "root")
    subprocess.run(["rm", "-rf", tmp_path / "root"])  # deeper than Python goes


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def field(n, width):
    return (b"%0*o\0" % (width - 1, n)) if n >= 0 else struct.pack(">" + "x" * 0 + "q", n).rjust(width, b"\xff")


def header(name=b"f", size=0, typ=b"0", mode=0o644, uid=0, gid=0, mtime=1000000000, link=b"", magic=b"ustar\x0000", rest=b"", checksum=None):
    b = bytearray(name.ljust(100, b"\0")[:100] + field(mode, 8) + (uid if isinstance(uid, bytes) else field(uid, 8)) + field(gid, 8) +
                  (size if isinstance(size, bytes) else field(size, 12)) + (mtime if isinstance(mtime, bytes) else field(mtime, 12)) + b" " * 8 + typ +
                  link.ljust(100, b"\0") + magic + b"\0" * 64 + field(0, 8) + field(0, 8))
    b += rest.ljust(512 - len(b), b"\0")
    total = sum(b) if checksum is None else checksum(b)
    b[148:156] = b"%06o\0 " % total
    return bytes(b)


def pad(data):
    return data + b"\0" * (-len(data) % 512)


def pax(*records, typ=b"x"):
    data = b""
    for key, value in records:
        body = b" %s=%s\n" % (key, value)
        n = len(body) + 1
        while len(str(n)) + len(body) != n:
            n += 1
        data += str(n).encode() + body
    return header(b"PaxHeader", len(data), typ) + pad(data)


END = b"\0" * 1024


def tree(root):
    """Everything of a tree that matters."""
    out = {}
    for d, dirs, files in os.walk(root):
        for n in dirs + files + ["."] * (d == str(root)):
            p = os.path.join(d, n)
            s = os.lstat(p)
            out[os.path.relpath(p, root)] = (
                stat.S_IFMT(s.st_mode), stat.S_IMODE(s.st_mode), s.st_uid, s.st_gid, s.st_mtime_ns, s.st_nlink if not stat.S_ISDIR(s.st_mode) else 0,
                s.st_rdev, os.readlink(p) if stat.S_ISLNK(s.st_mode) else open(p, "rb").read() if stat.S_ISREG(s.st_mode) else None,
                sorted((x, os.getxattr(p, x, follow_symlinks=False)) for x in os.listxattr(p, follow_symlinks=False)))
    return out


@pytest.fixture
def source(tmp_path):
    """One of everything."""
    top = tmp_path / "source"
    top.mkdir()
    (top / "plain").write_bytes(b"hello")
    (top / "empty").touch()
    (top / "setuid").write_bytes(b"x")
    os.chown(top / "setuid", 1234, 2345)
    os.chmod(top / "setuid", 0o6751)
    (top / "big-owner").touch()
    os.chown(top / "big-owner", 3000000000, 4000000000)
    deep = top / "/".join(["d" * 100] * 5).lstrip("/")
    deep.mkdir(parents=True)
    (deep / ("n" * 250)).write_bytes(b"long")
    (top / "döner\n").write_bytes(b"name")
    os.symlink("/etc/passwd", top / "link")
    os.symlink("x" * 200, top / "long-link")
    os.link(top / "plain", top / "hard")
    os.mkfifo(top / "fifo", 0o600)
    os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(top / "disk", stat.S_IFBLK | 0o660, os.makedev(259, 70000))
    (top / "readonly").mkdir(0o555)
    (top / "sticky").mkdir()
    os.chmod(top / "sticky", 0o3777)
    (top / "sticky/in").touch()
    with open(top / "sparse", "wb") as f:
        for i in range(40):
            f.seek(i * 300000)
            f.write(b"%d" % i * 500)
        f.truncate(20000000)
    with open(top / "hole", "wb") as f:
        f.truncate(64 << 20)
    os.setxattr(top / "plain", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
    for p in sorted(top.rglob("*"), key=lambda p: -len(str(p))):
        if not p.is_symlink():
            os.utime(p, ns=(1600000000123456789, 1500000000987654321))
    os.utime(top, ns=(1, 1400000000000000001))
    return top


FORMATS = {
    "pax": ["--format=pax", "--xattrs", "--xattrs-include=*"],
    "pax-sparse-0.0": ["--format=pax", "--sparse", "--sparse-version=0.0", "--xattrs", "--xattrs-include=*"],
    "pax-sparse-0.1": ["--format=pax", "--sparse", "--sparse-version=0.1", "--xattrs", "--xattrs-include=*"],
    "pax-sparse-1.0": ["--format=pax", "--sparse", "--sparse-version=1.0", "--xattrs", "--xattrs-include=*"],
    "gnu": ["--format=gnu"],
    "gnu-sparse": ["--format=gnu", "--sparse"],
}


@pytest.mark.parametrize("form", FORMATS)
def test_gnu_tar(store, source, form):
    """What GNU tar writes comes out as it was, whatever its format."""
    data = subprocess.run(["tar", "-C", source, *FORMATS[form], "--numeric-owner", "-cf", "-", "."], stdout=subprocess.PIPE, check=True).stdout
    out, a = store.good(data)
    want, have = tree(source), tree(out)
    if form.startswith("gnu"):  # whole seconds, no attributes
        want = {k: (*v[:4], v[4] // 10**9 * 10**9, *v[5:8], []) for k, v in want.items()}
    assert have == want
    assert a["diff_id"] == a["blob"] == sha(data)
    assert os.stat(out / "hole").st_blocks == 0 or "sparse" not in form, "a hole is no data"
    for packed in (gzip.compress(data, 1), subprocess.run(["zstd", "-qc"], input=data, stdout=subprocess.PIPE, check=True).stdout,
                   subprocess.run(["bzip2", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout)[:3 if form == "gnu-sparse" else 0]:
        _, b = store.good(packed)
        assert b["diff_id"] == sha(data)
        kept = (store.path / "content/blobs/sha256" / b["blob"][7:]).read_bytes()
        assert sha(kept) == b["blob"] and (kept == packed or gzip.decompress(kept) == data)


def test_umask_and_setgid_parents(store, source):
    """Owner and mode are left to creation only where it does what the archive says."""
    data = (header(b"d/", typ=b"5", mode=0o2777, uid=0, gid=50) + header(b"d/f", mode=0o666) + header(b"d/s/", typ=b"5", mode=0o777) +
            header(b"f", mode=0o777) + END)
    os.umask(0o77)
    out, _ = store.good(data)
    for name, mode, gid in (("d", 0o2777, 50), ("d/f", 0o666, 0), ("d/s", 0o777, 0), ("f", 0o777, 0)):
        s = os.stat(out / name)
        assert (stat.S_IMODE(s.st_mode), s.st_gid) == (mode, gid), name


def test_pax_times_and_owners(store):
    for value, ns in ((b"1.5", 1500000000), (b"-1.5", -1500000000), (b"1600000000.123456789123", 1600000000123456789), (b"7", 7000000000)):
        out, _ = store.good(pax((b"mtime", value), (b"uid", b"4294967294"), (b"gid", b"2097152")) + header() + END)
        s = os.stat(out / "f")
        assert (s.st_mtime_ns, s.st_uid, s.st_gid) == (ns, 4294967294, 2097152)
    for key, value in ((b"uid", b"4294967295"), (b"uid", b"-1"), (b"gid", b"99999999999999999999"), (b"mtime", b"1.x"), (b"size", b"-1"),
                       (b"size", b"0x10"), (b"path", b"a\0b")):
        store.bad(pax((key, value)) + header() + END)


def test_numbers_of_base_256(store):
    big = b"\x80\0\0\0" + struct.pack(">I", 3000000)
    out, _ = store.good(header(uid=big, mtime=b"\xff" * 11 + b"\xff") + END)
    s = os.stat(out / "f")
    assert s.st_uid == 3000000 and s.st_mtime == -1
    store.bad(header(size=b"\xff" * 12) + END)             # -1 bytes
    store.bad(header(size=b"\x80" + b"\xff" * 11) + END)   # more than there is
    store.bad(header(size=b"000000000x0\0") + END)
    store.bad(header(uid=b"\xff" * 8) + END)


def test_old_and_odd_headers(store):
    v7 = header(b"d/", typ=b"\0", mode=0o700, magic=b"\0" * 8)
    star = header(b"n", rest=b"p".ljust(131, b"\0") + b"\0" * 24 + b"\0" * 8 + b"tar\0")
    signed = header(b"caf\xe9", checksum=lambda b: sum(c - 256 if c > 127 else c for c in b))
    link = header(b"h", typ=b"1", link=b"n2", size=1000)   # says a size, has no data
    out, _ = store.good(v7 + header(b"n2", 2) + pad(b"ab") + header(b"name", rest=b"prefix/of/it") + star + signed + link +
                        pax((b"comment", b"hi"), typ=b"g") + header(b"after", typ=b"7", size=3) + pad(b"xyz") + END)
    assert (out / "d").is_dir() and (out / "prefix/of/it/name").is_file() and (out / "p/n").is_file()
    assert (out / "after").read_bytes() == b"xyz" and (out / "h").read_bytes() == b"ab" and b"caf\xe9" in os.listdir(os.fsencode(out))


def test_libarchive_xattr(store):
    out, _ = store.good(pax((b"LIBARCHIVE.xattr.security%2ecapability", b"AQAAAgAEAAAAAAAAAAAAAAAAAAA")) + header() + END)
    assert os.getxattr(out / "f", "security.capability").hex() == "0100000200040000000000000000000000000000"
    store.good(pax((b"SCHILY.xattr.trusted.overlay.opaque", b"y"), (b"SCHILY.xattr.security.selinux", b"x")) + header(b"t") + END)
    store.bad(pax((b"SCHILY.xattr.security.capability", b"x" * 70000)) + header() + END)


def test_end_of_archive(store):
    f = header(b"f", 3) + pad(b"abc")
    store.good(f + END)
    store.good(f)                       # Go and so Docker take an archive without end marks
    store.good(f + b"\0" * 512)
    store.good(b"")
    store.good(f + END + b"trailing\n" * 3000)
    store.bad(f + b"\0" * 512 + f)
    for cut in (1, 511, 513, 514):
        store2 = store.unpack(f[:cut])
        assert store2["code"] == "INVALID", cut


BROKEN = {
    "checksum": lambda: header(checksum=lambda b: sum(b) + 1),
    "not-tar": lambda: b"x" * 2048,
    "unknown-type": lambda: header(typ=b"V"),
    "pax-alone": lambda: pax((b"path", b"x")),
    "pax-record": lambda: header(b"p", 10, b"x") + pad(b"99 path=a\n") + header(),
    "pax-no-newline": lambda: header(b"p", 9, b"x") + pad(b"9 path=ab") + header(),
    "pax-no-key": lambda: header(b"p", 6, b"x") + pad(b"5 =a\n\n") + header(),
    "pax-huge": lambda: header(b"p", 2 << 20, b"x") + b"\0" * (2 << 20) + header(),
    "long-name-huge": lambda: header(b"p", 5000, b"L") + pad(b"n" * 5000) + header(),
    "name-too-long": lambda: pax((b"path", b"a/" * 2047 + b"abc")) + header(),
    "component-too-long": lambda: pax((b"path", b"a" * 256)) + header(),
    "no-name": lambda: header(b""),
    "root-is-file": lambda: header(b"./"[:1]),
    "size-lies": lambda: header(size=10 << 30) + b"x" * 4096,
    "hard-link-to-nothing": lambda: header(typ=b"1", link=b"nothing"),
    "hard-link-to-lower": lambda: header(typ=b"1", link=b"etc/passwd"),
    "hard-link-to-dir": lambda: header(b"d", typ=b"5") + header(typ=b"1", link=b"d"),
    "below-a-file": lambda: header(b"f") + header(b"f/x"),
    "whiteout-device": lambda: header(typ=b"3"),
    "whiteout-of-dotdot": lambda: header(b".wh..."),
    "sparse-without-size": lambda: pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")) + header(size=512) + pad(b"0\n"),
    "sparse-overlap": lambda: pax((b"GNU.sparse.size", b"100"), (b"GNU.sparse.map", b"0,10,5,10")) + header(size=20) + pad(b"x" * 20),
    "sparse-outside": lambda: pax((b"GNU.sparse.size", b"100"), (b"GNU.sparse.map", b"95,10")) + header(size=10) + pad(b"x" * 10),
    "sparse-too-little": lambda: pax((b"GNU.sparse.size", b"100"), (b"GNU.sparse.map", b"0,50")) + header(size=20) + pad(b"x" * 20),
    "sparse-too-much": lambda: pax((b"GNU.sparse.size", b"100"), (b"GNU.sparse.map", b"0,10")) + header(size=20) + pad(b"x" * 20),
    "sparse-overflow": lambda: pax((b"GNU.sparse.size", b"9223372036854775807"), (b"GNU.sparse.map", b"9223372036854775807,1")) + header(size=1) + pad(b"x"),
    "sparse-odd": lambda: pax((b"GNU.sparse.size", b"100"), (b"GNU.sparse.offset", b"1")) + header(size=1) + pad(b"x"),
    "sparse-map-endless": lambda: pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.realsize", b"100")) + header(size=3 << 20) + b"99999999\n" + b"0\n" * (3 << 19),
    "sparse-map-number": lambda: pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.realsize", b"100")) + header(size=512) + b"1" * 512,
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken(store, kind):
    before = time.monotonic()
    error = store.bad(BROKEN[kind]() + END)
    assert error and time.monotonic() - before < 20


@pytest.mark.parametrize("pack", ["gzip", "zstd"])
def test_compressed_streams(store, pack):
    """Members and frames in any number and cut; every damaged bit is seen."""
    tar = header(b"f", 5000) + pad(os.urandom(5000)) + END

    def run(data):
        return gzip.compress(data) if pack == "gzip" else subprocess.run(["zstd", "-qc", "--check"], input=data, stdout=subprocess.PIPE, check=True).stdout
    whole = run(tar)
    split = run(tar[:700]) + run(tar[700:3000]) + run(b"") + run(tar[3000:])
    goods = [whole, split]
    if pack == "zstd":      # frames that a reader has to skip, also in front, of any kind
        frames = [bytes([0x50 + kind, 0x2a, 0x4d, 0x18, 3, 0, 0, 0]) + b"abc" for kind in (0, 1, 15)]
        goods += [whole + frames[0], *(f + whole for f in frames)]
    for good in goods:
        assert store.good(good)[1]["diff_id"] == sha(tar)
    for cut in (1, 3, 5, 9, 10, 11, 100, len(whole) // 2, len(whole) - 9, len(whole) - 8, len(whole) - 1):
        assert "error" in store.unpack(whole[:cut]), cut
    for at in (*range(0, len(whole), 611), len(whole) - 8, len(whole) - 4, len(whole) - 1):
        flipped = bytearray(whole)
        flipped[at] ^= 0x40
        a = store.unpack(bytes(flipped))
        if "error" not in a:  # a gzip header has bytes that mean nothing: time, system
            assert a["diff_id"] == sha(tar) and at < 10, at
    assert "error" in store.unpack(whole + b"garbage")
    if pack == "gzip":
        assert store.good(whole + b"\0" * 700)[1]["diff_id"] == sha(tar)


def test_bombs(store):
    zeros = header(b"z", 300 << 20) + b"\0" * (300 << 20) + END
    bomb = gzip.compress(zeros, 9)
    assert "bomb" in store.bad(bomb, "ratio=400")
    assert "larger than" in store.bad(bomb, "bytes=1000000")
    assert "larger than" in store.bad(zeros, "bytes=1000000")
    twice = gzip.compress(bomb)
    store.bad(twice)  # a layer is a tar in one compression, not in two
    many = b"".join(header(b"f%d" % i) for i in range(100)) + END
    assert "entries" in store.bad(many, "entries=99")
    store.good(many, "entries=100")
    window = subprocess.run(["zstd", "-qc", "--ultra", "-22", "--long=31", "--single-thread"], input=b"\0" * (200 << 20), stdout=subprocess.PIPE, check=True).stdout
    store.bad(window)


def test_deep_trees_go_again(store):
    """A directory that is deeper than a stack or a table of descriptors is refused or unpacked, and in any case removed."""
    level = b"a/" * 900
    t = io.BytesIO()
    with tarfile.open(fileobj=t, mode="w", format=tarfile.PAX_FORMAT) as tar:
        def add(name, typ, link=""):
            i = tarfile.TarInfo(name)
            i.type, i.linkname = typ, link
            tar.addfile(i)
        add(level.decode() + "x", tarfile.DIRTYPE)
        last = level.decode().rstrip("/")
        for n in range(8):
            add(f"s{n}", tarfile.SYMTYPE, last)
            last = f"s{n}/" + level.decode().rstrip("/")
            add(last + "/x", tarfile.DIRTYPE)
    data = t.getvalue()
    store.bad(pad(data.rstrip(b"\0")) + b"x" * 512)
    store.bad(pax((b"path", b"a/" * 1500 + b"x")) + header() + END)


def wh(name):
    return header(name)


def is_whiteout(p):
    s = os.lstat(p)
    return stat.S_ISCHR(s.st_mode) and s.st_rdev == 0


def test_whiteouts(store):
    out, a = store.good(header(b".wh.rootgone") + header(b"d/", typ=b"5", mode=0o755) + header(b"d/.wh..wh..opq") + header(b"d/.wh.Gone") +
                        header(b"d/gone", 1) + pad(b"x") + header(b"made") + header(b".wh.made") + header(b".wh.back") + header(b"back", 1) + pad(b"y") +
                        header(b"tree/", typ=b"5") + header(b"tree/f") + header(b".wh.tree") + header(b".wh..wh.plnk/x") + header(b".wh..wh.aufs") +
                        header(b"new/dir/.wh.x") + header(b".wh.." + b"hidden") + END)
    assert is_whiteout(out / "rootgone") and is_whiteout(out / "d/Gone") and (out / "d/gone").read_bytes() == b"x"
    assert os.getxattr(out / "d", "trusted.overlay.opaque") == b"y"
    assert is_whiteout(out / "made"), "a whiteout hides what the same layer made before it"
    assert (out / "back").read_bytes() == b"y", "and is replaced by what comes after"
    assert is_whiteout(out / "tree") and is_whiteout(out / "new/dir/x") and is_whiteout(out / ".hidden")
    assert not (out / ".wh..wh.aufs").exists()


def test_directory_in_place_of_a_whiteout(store):
    """A deletion is of what lies below, so a directory of the same layer shows nothing of one that was there: overlayfs knows by the opaque mark."""
    out, _ = store.good(header(b".wh.a") + header(b"a/", typ=b"5", mode=0o755) + header(b"a/own") + header(b"b") + header(b"b/", typ=b"5") + END)
    assert os.getxattr(out / "a", "trusted.overlay.opaque") == b"y" and (out / "a/own").is_file()
    assert not os.listxattr(out / "b")


def test_hard_link_to_a_whiteout(store):
    assert "not a file of the archive" in store.bad(header(b".wh.a") + header(b"b", typ=b"1", link=b"a") + END)


def test_whiteouts_are_lower_case(store):
    out, _ = store.good(header(b".WH.x") + header(b"d/.Wh..wh..opq") + END)
    assert (out / ".WH.x").is_file() and (out / "d/.Wh..wh..opq").is_file() and not os.listxattr(out / "d")


@pytest.mark.parametrize("capability,data,word", [
    ("mknod", header(b"null", typ=b"4"), "make device"), ("sys_admin", header(b".wh..wh..opq"), "opaque"),
    ("chown", header(b"f", uid=5), "chown"), ("setfcap", pax((b"SCHILY.xattr.security.capability", bytes.fromhex("01000002" + "00200000" + "00" * 12))) +
                                      header(b"f"), "security.capability")])
def test_without_the_capability(store, capability, data, word):
    """What an archive needs and the engine may not is an error that says so, and no layer without it."""
    error = store.bad(data + END, code="INTERNAL", wrapper=("setpriv", "--bounding-set", "-" + capability, "--inh-caps", "-" + capability))
    assert word in error and "not permitted" in error, error


def test_full_disk(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", place], check=True)
    try:
        small = Store(place)
        error = small.bad(header(b"f", 6 << 20) + b"x" * (6 << 20) + END, code="NO_SPACE")
        assert "No space left" in error
        small.good(header(b"f", 1 << 20) + b"x" * (1 << 20) + END)
    finally:
        subprocess.run(["umount", place], check=True)


def test_hard_links_say_for_the_file(store):
    """Owner, mode and times of the second name's header are the file's, as in Docker; what is the same does not take away set-id bits or capabilities."""
    caps = pax((b"SCHILY.xattr.security.capability", bytes.fromhex("01000002" + "00200000" + "00" * 12)))
    out, _ = store.good(header(b"f", uid=5, gid=6) + header(b"g", typ=b"1", link=b"f", uid=7, gid=8, mode=0o4711, mtime=1500000000) + caps + header(b"p", mode=0o2755, uid=9) +
                        header(b"q", typ=b"1", link=b"p", mode=0o2755, uid=9) + header(b"s", typ=b"2", link=b"f", uid=1) + header(b"t", typ=b"1", link=b"s", uid=2, mode=0o777) + END)
    st = os.stat(out / "f")
    assert (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode), st.st_mtime, st.st_nlink) == (7, 8, 0o4711, 1500000000, 2)
    st = os.stat(out / "p")
    assert (st.st_uid, stat.S_IMODE(st.st_mode), st.st_nlink) == (9, 0o2755, 2) and os.getxattr(out / "q", "security.capability")
    assert os.lstat(out / "s").st_uid == 2 and stat.S_IMODE(os.stat(out / "f").st_mode) == 0o4711, "of a link's link nothing is followed"


def test_root_is_opaque(store):
    out, _ = store.good(header(b".wh..wh..opq") + header(b"f") + END)
    assert os.getxattr(out, "trusted.overlay.opaque") == b"y"


def test_replaced_entries(store):
    """The last entry of a name counts; directories are merged."""
    out, _ = store.good(header(b"a/", typ=b"5", mode=0o700) + header(b"a/f") + header(b"a/", typ=b"5", mode=0o755, uid=5) + header(b"b") +
                        header(b"b/", typ=b"5") + header(b"b/in") + header(b"c/", typ=b"5") + header(b"c/x") + header(b"c", 1) + pad(b"z") +
                        header(b"l", typ=b"2", link=b"a") + header(b"l/through") + header(b"l/", typ=b"5", mode=0o711) + header(b"l/own") + END)
    assert (out / "a/f").is_file() and os.stat(out / "a").st_uid == 5 and (out / "b/in").is_file() and (out / "c").read_bytes() == b"z"
    assert (out / "a/through").is_file() and not (out / "l").is_symlink() and (out / "l/own").is_file() and not (out / "a/own").exists()
    assert os.stat(out / "a/through").st_uid == 0


def test_links_cannot_leave(store, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    t = os.fsencode(secret)
    for data in (header(b"l", typ=b"2", link=t) + header(b"l/planted"), header(b"l", typ=b"2", link=b"../" * 40 + t[1:]) + header(b"l/planted"),
                 header(b"l", typ=b"2", link=t) + header(b"l/.wh..wh..opq"), header(b"../planted"), header(b"a/../../planted"),
                 header(b"l", typ=b"2", link=t) + header(b"l", typ=b"5", mode=0o777, uid=7) + header(b"l/x")):
        store.unpack(data + END)
        assert not os.listdir(secret) and os.stat(secret).st_uid == 0 and not (store.path / "planted").exists() and not os.listxattr(secret)
        shutil.rmtree(store.path / "layers")
        shutil.rmtree(store.path / "content")
