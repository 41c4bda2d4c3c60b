# SPDX-License-Identifier: Apache-2.0
"""Raw HTTP over the engine's unix socket: what a client library would hide stays visible here.

Every answer is appended to a JSONL recording (CAISSON_RECORD) that scripts/check-openapi validates.
"""
import http.client
import json
import os
import socket
import struct
import threading
import time
from urllib.parse import urlencode

_record_lock = threading.Lock()
TIME_FACTOR = float(os.environ.get("CAISSON_TIME_FACTOR", "1"))     # emulated machines are slow


def record(method, path, status, body, version=None):
    """Append one exchange to the recording, if one was asked for."""
    target = os.environ.get("CAISSON_RECORD")
    if not target:
        return
    line = json.dumps({"method": method, "path": path, "status": status, "version": version, "body": body})
    with _record_lock, open(target, "a", encoding="utf-8") as out:
        out.write(line + "\n")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def message(self):
        try:
            return self.json.get("message", "")
        except (ValueError, AttributeError):
            return ""

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Http:
    """One request, one connection. `version` prefixes paths (None: unversioned)."""

    def __init__(self, socket_path, version=None, timeout=60):
        self.socket_path, self.version, self.timeout = socket_path, version, timeout

    def _url(self, path, query, version):
        version = version if version is not None else self.version
        url = (f"/v{version}" if version else "") + path
        if query:
            flat = {}
            for k, v in query.items():
                if v is None:
                    continue
                if isinstance(v, bool):
                    v = "1" if v else "0"
                elif isinstance(v, dict):
                    v = json.dumps(v)
                flat[k] = v
            url += "?" + urlencode(flat, doseq=True)
        return url

    def request(self, method, path, query=None, body=None, headers=None, version=None, timeout=None, rec=True):
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)) and not hasattr(body, "read"):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        if isinstance(body, str):
            body = body.encode()
        conn = UnixConnection(self.socket_path, (timeout or self.timeout) * TIME_FACTOR)
        try:
            try:
                conn.request(method, self._url(path, query, version), body=body, headers=headers)
            except BrokenPipeError:
                # answered before it had read everything: http.client must believe that the request is out
                conn._HTTPConnection__state = http.client._CS_REQ_SENT
            resp = conn.getresponse()
            data = resp.read()
            answer = Answer(resp.status, resp.headers, data)
        finally:
            conn.close()
        if rec:
            try:
                parsed = json.loads(data) if data else None
            except ValueError:
                parsed = None
            record(method, path, answer.status, parsed, version or self.version)
        return answer

    def get(self, path, query=None, **kw):
        return self.request("GET", path, query, **kw)

    def head(self, path, query=None, **kw):
        return self.request("HEAD", path, query, **kw)

    def post(self, path, query=None, body=None, **kw):
        return self.request("POST", path, query, body, **kw)

    def put(self, path, query=None, body=None, **kw):
        return self.request("PUT", path, query, body, **kw)

    def delete(self, path, query=None, **kw):
        return self.request("DELETE", path, query, **kw)

    def stream(self, method, path, query=None, body=None, timeout=None, version=None, headers=None):
        """An open streaming response: the caller closes `.connection`."""
        conn = UnixConnection(self.socket_path, (timeout or self.timeout) * TIME_FACTOR)
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        conn.request(method, self._url(path, query, version), body=body, headers=headers)
        resp = conn.getresponse()
        resp.connection = conn
        return resp

    def hijack(self, method, path, query=None, body=None, upgrade=True, timeout=None, version=None):
        """Send a request that turns the connection into a raw stream. Returns Hijacked."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout((timeout or self.timeout) * TIME_FACTOR)
        sock.connect(self.socket_path)
        data = b"" if body is None else json.dumps(body).encode()
        head = [f"{method} {self._url(path, query, version)} HTTP/1.1", "Host: docker"]
        if upgrade:
            head += ["Connection: Upgrade", "Upgrade: tcp"]
        head += ["Content-Type: application/json", f"Content-Length: {len(data)}", "", ""]
        sock.sendall("\r\n".join(head).encode() + data)
        buf = b""
        while b"\r\n\r\n" not in buf:
            piece = sock.recv(4096)
            if not piece:
                raise ConnectionError(f"closed in the header: {buf!r}")
            buf += piece
        header, rest = buf.split(b"\r\n\r\n", 1)
        lines = header.decode().split("\r\n")
        status = int(lines[0].split()[1])
        headers = {k.lower(): v.strip() for k, v in (l.split(":", 1) for l in lines[1:])}
        return Hijacked(sock, status, headers, rest)


class Hijacked:
    def __init__(self, sock, status, headers, rest):
        self.sock, self.status, self.headers, self._rest = sock, status, headers, rest

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.sock.sendall(data)

    def close_write(self):
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        self.sock.close()

    def recv(self, n=65536):
        if self._rest:
            out, self._rest = self._rest[:n], self._rest[n:]
            return out
        return self.sock.recv(n)

    def read_all(self):
        out = []
        while True:
            piece = self.recv()
            if not piece:
                return b"".join(out)
            out.append(piece)

    def read_until(self, needle, timeout=15):
        """Raw (terminal) stream: read until `needle` was seen."""
        end, seen = time.monotonic() + timeout * TIME_FACTOR, b""
        while needle not in seen:
            self.sock.settimeout(max(0.05, end - time.monotonic()))
            try:
                piece = self.recv()
            except socket.timeout:
                raise AssertionError(f"no {needle!r} in {seen!r} after {timeout} s") from None
            if not piece:
                raise AssertionError(f"closed before {needle!r}: {seen!r}")
            seen += piece
        return seen

    def frame(self):
        """Next (stream, payload) of the multiplexed format, or None at the end."""
        head = self._exact(8)
        if not head:
            return None
        kind, size = struct.unpack(">BxxxL", head)
        return kind, self._exact(size)

    def frames_until(self, needle, timeout=15):
        end, seen = time.monotonic() + timeout * TIME_FACTOR, b""
        while needle not in seen:
            self.sock.settimeout(max(0.05, end - time.monotonic()))
            try:
                got = self.frame()
            except socket.timeout:
                raise AssertionError(f"no {needle!r} in {seen!r} after {timeout} s") from None
            if got is None:
                raise AssertionError(f"closed before {needle!r}: {seen!r}")
            seen += got[1]
        return seen

    def _exact(self, n):
        out = b""
        while len(out) < n:
            piece = self.recv(n - len(out))
            if not piece:
                if out:
                    raise AssertionError(f"stream cut inside a frame: {out!r}")
                return b""
            out += piece
        return out


def demux(data):
    """Split a multiplexed body into (stdout, stderr)."""
    parts = {k: bytearray() for k in range(4)}
    pos = 0
    while pos < len(data):
        kind, size = struct.unpack(">BxxxL", data[pos:pos + 8])
        parts[kind] += data[pos + 8:pos + 8 + size]
        pos += 8 + size
    return bytes(parts[1]), bytes(parts[2])
