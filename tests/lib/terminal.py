# SPDX-License-Identifier: Apache-2.0
"""Commands on a pseudo terminal: what a person at a keyboard would do and see."""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

from unixhttp import TIME_FACTOR


class Terminal:
    """A docker command on a terminal of its own."""

    def __init__(self, engine, *args, program="docker", env=None, stdout=None, size=None):
        self.master, slave = pty.openpty()
        if size:
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.before = termios.tcgetattr(self.master)[:4]     # before anybody can have changed it
        self.proc = subprocess.Popen([program, *args], stdin=slave, stdout=slave if stdout is None else stdout, stderr=slave, env=engine.cli_env(**(env or {})), start_new_session=True)
        os.close(slave)

    def send(self, data):
        os.write(self.master, data)

    def until(self, needle, timeout=20):
        end, seen = time.monotonic() + timeout * TIME_FACTOR, b""
        while needle not in seen:
            left = end - time.monotonic()
            assert left > 0, f"no {needle!r} in {seen!r}"
            if select.select([self.master], [], [], left)[0]:
                try:
                    seen += os.read(self.master, 65536)
                except OSError:
                    raise AssertionError(f"ended before {needle!r}: {seen!r}") from None
        return seen

    def resize(self, rows, cols):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        os.kill(self.proc.pid, signal.SIGWINCH)

    def wait(self, timeout=20):
        end = time.monotonic() + timeout * TIME_FACTOR
        while self.proc.poll() is None:      # keep draining: a full terminal would block it
            assert time.monotonic() < end, "the command hangs"
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    os.read(self.master, 65536)
                except OSError:
                    break
        return self.proc.wait(5 * TIME_FACTOR)

    def close(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        os.close(self.master)
