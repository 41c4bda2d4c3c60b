# SPDX-License-Identifier: Apache-2.0
"""An engine that only writes down what a client asks of it: what `docker` and `caisson` send for the same words can then be compared."""
import json
import os
import socketserver
import tempfile
import threading
from http.server import BaseHTTPRequestHandler

ID = "c0ffee" + "0" * 58


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args):
        pass

    def address_string(self):
        return "unix"

    def _body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self):
        body = self._body()
        path, _, query = self.path.partition("?")
        bare = "/" + path.split("/", 2)[2] if path.startswith("/v1.") else path
        if bare != "/_ping":
            self.server.seen.append((self.command, bare, query, json.loads(body) if body[:1] in (b"{", b"[") else body))
        status, answer = self.server.answers.get((self.command, bare), (None, None))
        if status is None:
            status, answer = (201, {"Id": ID, "Warnings": []}) if bare == "/containers/create" else (200, {})
            if bare == "/_ping":
                answer = "OK"
            if self.command == "POST" and bare.endswith(("/start", "/kill", "/resize")):
                status, answer = 204, ""
        data = answer if isinstance(answer, bytes) else answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        for key, value in {"Api-Version": self.server.api, "Ostype": "linux", "Docker-Experimental": "false", "Server": "Docker/28.0.0 (linux)",
                           "Content-Type": "application/json", **self.server.headers}.items():
            self.send_header(key, value)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(data)

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = _answer


class FakeEngine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """with FakeEngine() as e: run a client with DOCKER_HOST=e.host; e.seen is the list of (method, path, query, body).

    answers: {(method, path): (status, JSON or text)} for what is not to be answered in the usual way."""
    daemon_threads = True

    def __init__(self, api="1.50", answers=None, headers=None):
        self.dir = tempfile.mkdtemp(prefix="cst-fake-")
        self.path = os.path.join(self.dir, "s")
        self.host, self.api, self.seen, self.answers, self.headers = "unix://" + self.path, api, [], answers or {}, headers or {}
        super().__init__(self.path, _Handler)

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.shutdown()
        self.server_close()
        os.unlink(self.path)
        os.rmdir(self.dir)
