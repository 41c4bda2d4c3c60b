# SPDX-License-Identifier: Apache-2.0
"""An engine that answers what a test says, on a unix socket, and keeps what it was asked: for what clients send, and how they show an answer."""
import json
import os
import socketserver
import tempfile
import threading
from http.server import BaseHTTPRequestHandler

ID = "c0ffee" + "0" * 58
EMPTY = ("/start", "/kill", "/resize", "/stop", "/restart", "/pause", "/unpause", "/rename")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args):
        pass

    def address_string(self):
        return "unix"

    def handle(self):
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            pass            # a client that has seen enough

    def _body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _usual(self, path):
        """For what no test has an answer to."""
        if path == "/_ping":
            return 200, "OK"
        if path == "/containers/create":
            return 201, {"Id": ID, "Warnings": []}
        return (204, "") if self.command == "POST" and path.endswith(EMPTY) else (200, {})

    def _head(self, status, headers):
        self.send_response(status)
        for key, value in {"Api-Version": self.server.api, "Ostype": "linux", "Docker-Experimental": "false", "Server": "Docker/28.0.0 (linux)", **headers, **self.server.headers}.items():
            self.send_header(key, value)
        self.end_headers()

    def _answer(self):
        body = self._body()
        path, _, query = self.path.partition("?")
        bare = "/" + path.split("/", 2)[2] if path.startswith("/v1.") else path
        if bare != "/_ping":
            self.server.seen.append((self.command, bare, query, json.loads(body) if body[:1] in (b"{", b"[") else body))
        given = self.server.answers.get((self.command, bare))
        if given is None and self.headers.get("Upgrade") == "tcp":
            given = (101, b"")
        status, answer = given or self._usual(bare)
        if status == 101:   # what the process says; then the connection ends
            self.close_connection = True
            self._head(101, {"Content-Type": "application/vnd.docker.multiplexed-stream", "Connection": "Upgrade", "Upgrade": "tcp"})
        if isinstance(answer, threading.Event):
            if status != 101:
                self._head(status, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})
            answer.wait()
            self.close_connection = True
        elif status == 101:
            self.wfile.write(answer)
        elif isinstance(answer, list):
            self._head(status, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})
            for message in answer:
                data = (json.dumps(message) + "\r\n").encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.write(b"0\r\n\r\n")
        else:
            data = answer if isinstance(answer, bytes) else answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self._head(status, {"Content-Type": "application/json", **({} if status == 204 else {"Content-Length": str(len(data))})})
            if self.command != "HEAD" and status != 204:
                self.wfile.write(data)

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = _answer


class FakeEngine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """with FakeEngine() as e: run a client with DOCKER_HOST=e.host; e.seen is the list of (method, path, query, body).

    answers: {(method, path): (status, answer)} for what is not to be answered in the usual way. An answer is a JSON object, text or bytes; a list is a stream
    of JSON messages, one chunk each; with status 101 it is what comes over the connection that was taken over. An event is an answer that does not come until it is set, and then is none. headers: more of them in each answer."""
    request_queue_size = 64   # clients ask about many containers at a time
    daemon_threads = True

    def __init__(self, answers=None, api="1.50", headers=None):
        self.dir = tempfile.mkdtemp(prefix="cst-fake-")
        self.sock = os.path.join(self.dir, "s")
        self.host, self.api, self.seen, self.answers, self.headers = "unix://" + self.sock, api, [], answers or {}, headers or {}
        super().__init__(self.sock, _Handler)

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.shutdown()
        self.server_close()
        os.unlink(self.sock)
        os.rmdir(self.dir)


def ordered(body):
    """docker takes a network's subnets from a Go map: their order in the request is chance."""
    if isinstance(body, dict) and isinstance((body.get("IPAM") or {}).get("Config"), list):
        body["IPAM"]["Config"].sort(key=lambda c: c.get("Subnet", ""))
    return body
