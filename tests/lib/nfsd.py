# SPDX-License-Identifier: Apache-2.0
"""The kernel's own NFS server, version 4, with one export, for tests. What rpc.mountd does is answered here (see its man page, and the kernel's
Documentation on sunrpc caches: a question per line on a channel, the answer written back), so no package is needed."""
import os
import select
import shutil
import subprocess
import threading
from pathlib import Path

NFSD = Path("/proc/fs/nfsd")
RPC = Path("/proc/net/rpc")
FOREVER = 2 ** 31 - 1
INSECURE_PORT, NO_SUBTREE_CHECK, FSID = 0x2, 0x400, 0x2000      # NFSEXP_… of the kernel; root is root


def missing():
    """Why there can be no server and client here, or None."""
    for module in ("nfs", "nfsv4", "nfsd") if shutil.which("modprobe") else ():
        subprocess.run(["modprobe", "-q", module], check=False, capture_output=True)
    have = {line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines()}
    lacks = [x for x in ("nfs", "nfs4", "nfsd") if x not in have]
    if lacks:
        return f"this kernel lacks {', '.join(lacks)}"
    if not NFSD.joinpath("threads").exists() and subprocess.run(["mount", "-t", "nfsd", "nfsd", str(NFSD)], check=False, capture_output=True).returncode:
        return "nfsd cannot be mounted"
    if NFSD.joinpath("threads").read_text().strip() != "0":
        return "another NFS server runs"
    return None


class Nfsd:
    """Exports `root` as :/ to everybody on port 2049 of this network namespace."""

    def __init__(self, root):
        self.root, self.over = Path(root), os.eventfd(0)
        self.thread = threading.Thread(target=self.answer, daemon=True)

    def reply(self, name, line):
        w = line.split()
        if name == "auth.unix.ip":
            return f"{w[0]} {w[1]} {FOREVER} all\n"
        if name == "nfsd.export":
            ok = Path(w[1]) == self.root
            return f"{w[0]} {w[1]} {FOREVER}" + (f" {INSECURE_PORT | NO_SUBTREE_CHECK | FSID} 65534 65534 0\n" if ok else "\n")
        ok = w[1] == "1" and set(w[2].replace("\\x", "")) == {"0"}      # fsid 0
        return f"{w[0]} {w[1]} {w[2]} {FOREVER}" + (f" {self.root}\n" if ok else "\n")

    def answer(self):
        channels = {}
        for name in ("auth.unix.ip", "nfsd.export", "nfsd.fh"):
            channels[os.open(RPC / name / "channel", os.O_RDWR)] = name
        poll = select.poll()
        for fd in [*channels, self.over]:
            poll.register(fd, select.POLLIN)
        self.ready.set()
        while True:
            for fd, _ in poll.poll():
                if fd == self.over:
                    for c in channels:
                        os.close(c)
                    return
                line = os.read(fd, 32768).decode()
                if line.strip():
                    os.write(fd, self.reply(channels[fd], line).encode())

    def __enter__(self):
        self.ready = threading.Event()
        self.thread.start()
        assert self.ready.wait(30)
        for name, text in (("versions", "-2 -3 +4 +4.1 +4.2"), ("nfsv4leasetime", "10"), ("nfsv4gracetime", "10"), ("portlist", "tcp 2049"), ("threads", "2"),
                           ("v4_end_grace", "Y")):
            try:
                NFSD.joinpath(name).write_text(text + "\n")
            except OSError:
                if name in ("portlist", "threads"):
                    raise
        return self

    def __exit__(self, *exc):
        NFSD.joinpath("threads").write_text("0\n")
        os.eventfd_write(self.over, 1)
        self.thread.join(30)
        for name in ("auth.unix.ip", "nfsd.export", "nfsd.fh"):
            (RPC / name / "flush").write_text(f"{FOREVER}\n")
