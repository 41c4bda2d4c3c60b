# SPDX-License-Identifier: Apache-2.0
"""Network namespaces without processes: a descriptor each. Threads enter them, make sockets, and end."""
import ctypes
import fcntl
import os
import socket
import struct
import threading

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def _check(r):
    if r < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def in_thread(f):
    """The result of f() in a thread of its own, whose namespaces die with it."""
    result = []

    def run():
        try:
            result.append((f(), None))
        except BaseException as e:  # noqa: BLE001
            result.append((None, e))
    t = threading.Thread(target=run)
    t.start()
    t.join()
    value, error = result[0]
    if error:
        raise error
    return value


class Namespace:
    def __init__(self, up=True):
        def make():
            _check(LIBC.unshare(CLONE_NEWNET))
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.fd = in_thread(make)
        if up:
            self.up()

    @property
    def path(self):
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    def run(self, f):
        def inside():
            _check(LIBC.setns(self.fd, CLONE_NEWNET))
            return f()
        return in_thread(inside)

    def up(self):
        def loopback():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0x41))  # SIOCSIFFLAGS: up, running
        self.run(loopback)

    def socket(self, kind=socket.SOCK_DGRAM, timeout=8.0):
        s = self.run(lambda: socket.socket(socket.AF_INET, kind))
        s.settimeout(timeout)
        return s

    def close(self):
        os.close(self.fd)
