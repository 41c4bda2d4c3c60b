# SPDX-License-Identifier: Apache-2.0
"""Trees with everything that a file system can hold, and what is the same about two of them."""
import os
import stat
import struct
import subprocess

CAPABILITY = struct.pack("<5I", 0x02000001, 0x400, 0, 0, 0)         # cap_net_bind_service=ep
ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in
                                      ((1, 6, 0xffffffff), (2, 6, 1234), (4, 4, 0xffffffff), (16, 6, 0xffffffff), (32, 4, 0xffffffff)))


def build(top, rich=True):
    """rich: also what dockerd 20.10 does not keep (user attributes, ACLs, fractions of seconds, negative times)."""
    top = os.fsencode(top)
    os.makedirs(top, exist_ok=True)
    at = os.open(top, os.O_RDONLY)

    def file(name, data=b"", mode=0o644):
        fd = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode, dir_fd=at)
        os.write(fd, data)
        os.close(fd)
        return b"/proc/self/fd/%d/%s" % (at, name)

    def mkdir(name, mode=0o755):
        os.mkdir(name, dir_fd=at)
        os.chmod(name, mode, dir_fd=at)
    try:
        mkdir(b"a")
        file(b"a/plain", b"hello")
        file(b"new\nline", b"x")
        file("süß".encode(), b"z")
        file(b"n" * 255, b"long")
        os.symlink(b"l" * 200, b"longlink", dir_fd=at)
        os.symlink(b"../../..", b"up", dir_fd=at)
        os.symlink(b"/absolute", b"abs", dir_fd=at)
        os.chown(file(b"bigid", b"1"), 4294967294, 4294967293)
        os.setxattr(file(b"caps", b"2"), b"security.capability", CAPABILITY)
        os.chmod(file(b"mode0"), 0)
        os.chmod(file(b"suid", b"4"), 0o6755)
        mkdir(b"sticky", 0o1777)
        mkdir(b"locked", 0)
        os.mkfifo(b"fifo", dir_fd=at)
        os.mknod(b"cdev", 0o20666, os.makedev(1, 3), dir_fd=at)
        os.mknod(b"bdev", 0o60660, os.makedev(259, 1048575), dir_fd=at)
        file(b"h1", b"hard")
        os.link(b"h1", b"h2", src_dir_fd=at, dst_dir_fd=at)
        os.symlink(b"tgt", b"s1", dir_fd=at)
        os.link(b"s1", b"s2", src_dir_fd=at, dst_dir_fd=at, follow_symlinks=False)
        os.truncate(file(b"sparse", b"start"), 5 << 20)
        file(b"empty")
        deep = os.dup(at)
        for _ in range(19):
            os.mkdir(b"d" * 200, dir_fd=deep)
            below = os.open(b"d" * 200, os.O_RDONLY, dir_fd=deep)
            os.close(deep)
            deep = below
        leaf = os.open(b"leaf", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=deep)
        os.write(leaf, b"deepest")
        os.close(leaf)
        os.close(deep)
        if rich:
            file(b"\xff\xfebad", b"y")
            os.symlink(b"\xff\xc0", b"badlink", dir_fd=at)
            os.setxattr(file(b"ux", b"3"), b"user.foo", b"bar\0\n=baz")
            os.setxattr(file(b"ux"), b"user.empty", b"")
            os.setxattr(file(b"acl"), b"system.posix_acl_access", ACL)
            os.utime(file(b"old"), ns=(0, -1500000000))
            os.utime(file(b"future"), ns=(0, 9000000000 * 10**9 + 5))
            big = os.open(b"huge", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=at)
            os.truncate(big, 1 << 40)
            os.pwrite(big, b"mid", 1 << 38)
            os.close(big)
        else:
            for name in os.listdir(top):
                os.utime(name, (1600000000, 1600000000), dir_fd=at, follow_symlinks=False)
    finally:
        os.close(at)


def tar(top):
    """By GNU tar: somebody else's idea of the same tree."""
    return subprocess.run(["tar", "-C", top, "--format=pax", "--xattrs", "--xattrs-include=*", "--sort=name", "-c", "--sparse", "."],
                          capture_output=True, check=True).stdout


def untar(data, top):
    os.makedirs(top, exist_ok=True)
    out = subprocess.run(["tar", "-C", top, "--xattrs", "--xattrs-include=*", "-xp", "--numeric-owner", "--delay-directory-restore"], input=data, capture_output=True, check=False)
    assert out.returncode == 0, out.stderr


def describe(top, seconds=False, xattrs=True, below=""):
    """{path: what it is}; the top itself is left out."""
    found, inodes = {}, {}
    top = os.fsencode(top)

    def entry(fd, name, path):
        st = os.stat(name, dir_fd=fd, follow_symlinks=False)
        proc = b"/proc/self/fd/%d/%s" % (fd, name)
        kind = stat.S_IFMT(st.st_mode)
        what = {"kind": kind, "mode": stat.S_IMODE(st.st_mode), "owner": (st.st_uid, st.st_gid),
                "mtime": st.st_mtime_ns // 10**9 if seconds else st.st_mtime_ns}
        if kind == stat.S_IFREG:
            what["size"] = st.st_size
            f = os.open(name, os.O_RDONLY, dir_fd=fd)
            what["data"] = os.pread(f, 1 << 16, 0), os.pread(f, 16, 1 << 38)
            os.close(f)
        if kind == stat.S_IFLNK:
            what["to"] = os.readlink(name, dir_fd=fd)
        if kind in (stat.S_IFCHR, stat.S_IFBLK):
            what["rdev"] = st.st_rdev
        if xattrs and kind != stat.S_IFLNK:
            what["xattrs"] = {k: os.getxattr(proc, k) for k in os.listxattr(proc) if not k.startswith("trusted.")}
        if kind != stat.S_IFDIR:
            what["same"] = inodes.setdefault(st.st_ino, path)
        found[path] = what
        if kind == stat.S_IFDIR:
            sub = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
            try:
                for n in sorted(os.listdir(b"/proc/self/fd/%d" % sub)):
                    entry(sub, n, path + b"/" + n)
            finally:
                os.close(sub)
    at = os.open(top, os.O_RDONLY)
    try:
        for n in sorted(os.listdir(top)):
            entry(at, n, n)
    finally:
        os.close(at)
    return found


def differences(a, b, limit=10):
    out = []
    for path in sorted(set(a) | set(b)):
        if a.get(path) != b.get(path):
            one, two = a.get(path) or {}, b.get(path) or {}
            out.append((path[-60:], {k: (one.get(k), two.get(k)) for k in set(one) | set(two) if one.get(k) != two.get(k)}))
    return out[:limit]
