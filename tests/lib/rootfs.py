# SPDX-License-Identifier: Apache-2.0
"""Root file systems for tests, built in memory from Debian's static busybox."""
import io
import subprocess
import tarfile

BUSYBOX = "/bin/busybox"
PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
app:x:1000:1000:App:/home/app:/bin/sh
second:x:1001:2000::/:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
"""
GROUP = """root:x:0:
daemon:x:1:
audio:x:29:app
video:x:44:app,second
app:x:1000:
team:x:2000:
nogroup:x:65534:
"""


class Tar:
    """A tar under construction; every entry is a line in the test that builds it."""

    def __init__(self):
        self.buf = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buf, mode="w", format=tarfile.PAX_FORMAT)

    def _info(self, name, kind, mode, uid=0, gid=0):
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.uid, info.gid, info.mtime = kind, mode, uid, gid, 1600000000
        return info

    def dir(self, name, mode=0o755, uid=0, gid=0):
        self.tar.addfile(self._info(name, tarfile.DIRTYPE, mode, uid, gid))
        return self

    def file(self, name, data=b"", mode=0o644, uid=0, gid=0):
        if isinstance(data, str):
            data = data.encode()
        info = self._info(name, tarfile.REGTYPE, mode, uid, gid)
        info.size = len(data)
        self.tar.addfile(info, io.BytesIO(data))
        return self

    def symlink(self, name, target):
        info = self._info(name, tarfile.SYMTYPE, 0o777)
        info.linkname = target
        self.tar.addfile(info)
        return self

    def hardlink(self, name, target, mode=0o644, uid=0, gid=0):
        info = self._info(name, tarfile.LNKTYPE, mode, uid, gid)
        info.linkname = target
        self.tar.addfile(info)
        return self

    def device(self, name, major, minor, mode=0o666):
        info = self._info(name, tarfile.CHRTYPE, mode)
        info.devmajor, info.devminor = major, minor
        self.tar.addfile(info)
        return self

    def fifo(self, name):
        self.tar.addfile(self._info(name, tarfile.FIFOTYPE, 0o644))
        return self

    def bytes(self):
        self.tar.close()
        return self.buf.getvalue()


def busybox(skip=()):
    """A usable root: busybox with all its applets, users, groups. `skip` leaves entries out, for hostile variants."""
    tar = Tar()
    for name, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("root", 0o700), ("home", 0o755), ("proc", 0o555),
                       ("sys", 0o555), ("dev", 0o755), ("var", 0o755), ("home/app", 0o755)):
        if name not in skip:
            tar.dir(name, mode)
    with open(BUSYBOX, "rb") as f:
        tar.file("bin/busybox", f.read(), 0o755)
    for applet in subprocess.check_output([BUSYBOX, "--list"], text=True).split():
        if applet != "busybox" and f"bin/{applet}" not in skip:
            tar.symlink(f"bin/{applet}", "busybox")
    for name, text in (("etc/passwd", PASSWD), ("etc/group", GROUP), ("etc/hosts", ""), ("etc/hostname", ""), ("etc/resolv.conf", "")):
        if name not in skip:
            tar.file(name, text)
    return tar
