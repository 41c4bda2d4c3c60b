# SPDX-License-Identifier: Apache-2.0
"""Drives a caisson-worker without an engine: builds plans, speaks compute/worker_protocol.h. Used by test_worker.py and by hand."""
import ctypes, fcntl, os, socket, struct, array, time, signal, tempfile, re, pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAGIC = 0x43570001
SLOW = float(os.environ.get("CAISSON_TIME_FACTOR", "1"))     # multiplies every time-out here: emulated machines are slow
(HELLO, EXEC, ATTACH, RESIZE, CLOSE_STDIN, WATCH_EXIT, SIGNAL, LIST, RELEASE, REOPEN_LOG, QUIT, KILL) = range(0x41, 0x4d)
(OK, ERROR, HELLO_REPLY, EXEC_STARTED, LIST_REPLY) = range(0x80, 0x85)
(STARTED, START_FAILED, EXITED, EXEC_EXITED, OOM, DETACHED, WARNING) = range(0xc0, 0xc7)
ID = 65


def _ops():
    text = (ROOT / "src/compute/process/plan.h").read_text()
    names = re.findall(r'^\s*X\((\w+),\s*"(\w*)"\)', text, re.M)
    return {n: (0x41 + i, sig) for i, (n, sig) in enumerate(names)}


OPS = _ops()


def _pad(b):
    return b + b"\0" * (-len(b) % 8)


def plan(*steps):
    out = b"CSPLAN\x01\n"
    for name, *args in steps:
        op, sig = OPS[name]
        assert len(sig) == len(args), name
        body = b""
        for kind, a in zip(sig, args):
            if kind == "u":
                body += struct.pack("<Q", a)
            elif kind == "v":
                raw = b"".join(x.encode() + b"\0" for x in a)
                body += struct.pack("<II", len(a), len(raw)) + _pad(raw)
            else:
                raw = a.encode() + b"\0" if kind == "s" else a
                body += struct.pack("<II", len(raw), 0) + _pad(raw)
        out += struct.pack("<II", op, 8 + len(body)) + body
    fd = os.memfd_create("plan", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.write(fd, out)
    fcntl.fcntl(fd, 1033, 15)
    return fd


def sid(x):
    return x.encode().ljust(ID, b"\0")


class Client:
    """The peer of a socket that was given to the worker."""

    def __init__(self, framed=True):
        self.sock, self.theirs = socket.socketpair()
        self.framed, self.raw = framed, bytearray()

    def read_all(self, timeout=20):
        self.sock.settimeout(timeout * SLOW)
        while True:
            b = self.sock.recv(1 << 20)
            if not b:
                break
            self.raw += b
        return self.frames() if self.framed else bytes(self.raw)

    def read_until(self, what, timeout=5):
        self.sock.settimeout(timeout * SLOW)
        while what not in self.raw:
            b = self.sock.recv(65536)
            if not b:
                raise EOFError(self.raw)
            self.raw += b
        return self.raw

    def frames(self):
        out, at = {1: bytearray(), 2: bytearray()}, 0
        while at < len(self.raw):
            t, n = self.raw[at], struct.unpack_from(">I", self.raw, at + 4)[0]
            assert len(self.raw) >= at + 8 + n and self.raw[at + 1:at + 4] == b"\0\0\0", self.raw[at:at + 16]
            out[t] += self.raw[at + 8:at + 8 + n]
            at += 8 + n
        return {k: bytes(v) for k, v in out.items()}


class Conn:
    def __init__(self, sock):
        self.s, self.seq, self.events = sock, 0, []

    def send(self, typ, body=b"", fds=()):
        self.seq += 1
        anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.s.sendmsg([struct.pack("<IIII", MAGIC, typ, self.seq, 0) + body], anc)
        return self.seq

    def recv(self, timeout=10):
        self.s.settimeout(timeout * SLOW)
        b = self.s.recv(65536)
        if not b:
            raise EOFError
        magic, typ, seq, more = struct.unpack("<IIII", b[:16])
        assert magic == MAGIC
        return typ, seq, b[16:]

    def call(self, typ, body=b"", fds=(), timeout=10):
        seq = self.send(typ, body, fds)
        while True:
            t, s, b = self.recv(timeout)
            if s == seq:
                return t, b
            self.events.append((t, b))

    def event(self, typ, timeout=10):
        end = time.time() + timeout * SLOW
        for i, (t, b) in enumerate(self.events):
            if t == typ:
                del self.events[i]
                return b
        while True:
            t, s, b = self.recv(max(0.01, end - time.time()) / SLOW)
            if s == 0 and t == typ:
                return b
            self.events.append((t, b))


def attach_body(id="", stdin=0, stdout=1, stderr=1, framed=1, keys=b"", data=b"", since=0):
    return struct.pack("<65s4BxxxIIq", sid(id), stdin, stdout, stderr, framed, len(keys), len(data), since) + keys + data


def exec_body(id, client=1, stdin=0, stdout=1, stderr=1, framed=1, keys=b"", data=b""):
    return struct.pack("<65s5BxxII", sid(id), client, stdin, stdout, stderr, framed, len(keys), len(data)) + keys + data


def exited(b):
    id, oom, forced, pid, code, sig, started, ended = struct.unpack_from("<65sBBxiiiqq", b)
    return dict(id=id.rstrip(b"\0").decode(), oom=oom, forced=forced, pid=pid, code=code, signal=sig, started=started, exited=ended)


def error(b):
    return struct.unpack("<Ii", b[:8]) + (b[8:].decode(),)


class Worker:
    """Runs `args` by a worker; `isolation` are further plan steps."""

    def __init__(self, exe, args, tty=0, stdin=0, once=0, log=("none", "", 0, 0, 0, ""), rows=0, cols=0, isolation=(), early=(), dir=None):
        self.dir = dir or tempfile.mkdtemp(prefix="worker-")
        if log[0] != "none" and not log[1]:
            log = (log[0], self.dir + "/c.log") + tuple(log[2:])
        self.log = log[1]
        fd = plan(("ID", "x"), ("STDIO", tty, stdin, once, rows, cols), ("LOG", *log), *isolation, ("ARGS", args))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        dirfd = os.open(self.dir, os.O_RDONLY | os.O_DIRECTORY)
        self.c = Conn(ours)
        for typ, body, fds in early:
            self.c.send(typ, body, fds)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                null = os.open("/dev/null", os.O_RDWR)
                src = [null, null, 2, theirs.fileno(), fd, dirfd]
                high = [fcntl.fcntl(x, fcntl.F_DUPFD, 100) for x in src]
                for i, h in enumerate(high):
                    os.dup2(h, i)
                os.closerange(6, 1024)
                os.execv(exe, ["caisson-worker", "x"])
            finally:
                os._exit(99)
        for x in (fd, dirfd):
            os.close(x)
        theirs.close()
        self.status = None

    def started(self):
        return struct.unpack_from("<65sxxxiq", self.c.event(STARTED))

    def attach(self, framed=1, **kw):
        cl = Client(framed)
        t, b = self.c.call(ATTACH, attach_body(framed=framed, **kw), [cl.theirs.fileno()])
        assert t == OK, error(b)
        cl.theirs.close()
        return cl

    def exec(self, id, args, client=True, tty=0, stdin=0, framed=1, isolation=(), **kw):
        cl = Client(framed)
        fds = [plan(("ID", id), ("STDIO", tty, stdin, 1, 0, 0), *isolation, ("ARGS", args))]
        if client:
            fds.append(cl.theirs.fileno())
        t, b = self.c.call(EXEC, exec_body(id, int(client), stdin=stdin, framed=framed, **kw), fds)
        os.close(fds[0])
        cl.theirs.close()
        return t, b, cl

    def connect(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.connect(self.dir + "/worker.sock")
        return Conn(s)

    def quit(self):
        assert self.c.call(QUIT)[0] == OK
        self.wait()

    def wait(self, timeout=15):
        end = time.time() + timeout * SLOW
        while time.time() < end:
            pid, st = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = st
                return st
            time.sleep(0.002)
        raise TimeoutError("worker does not end")

    def pss_kib(self):
        for line in open(f"/proc/{self.pid}/smaps_rollup"):
            if line.startswith("Pss:"):
                return int(line.split()[1])

    def kill(self):
        if self.status is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
