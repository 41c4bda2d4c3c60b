# SPDX-License-Identifier: Apache-2.0
"""An engine that answers what a test says, on a unix socket, and keeps what it was asked: for what clients send and how they show an answer."""
import http.server
import json
import os
import socketserver
import tempfile
import threading


class ScriptedEngine:
    """answers: {(method, path without version and query): (status, body)}; a list as body is a stream of JSON messages, one chunk each."""

    def __init__(self, answers, api="1.50"):
        self.answers, self.api, self.requests = answers, api, []
        self.dir = tempfile.TemporaryDirectory(prefix="cst-fake-")
        self.sock = os.path.join(self.dir.name, "s")
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def address_string(self):
                return "unix"

            def chunks(self):
                while True:
                    size = int(self.rfile.readline().strip() or b"0", 16)
                    data = self.rfile.read(size)
                    self.rfile.readline()
                    if not size:
                        return
                    yield data

            def answer(self):
                body = b"".join(self.chunks()) if "chunked" in self.headers.get("Transfer-Encoding", "") else self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path, _, query = self.path.partition("?")
                if path.startswith("/v1."):
                    path = "/" + path.split("/", 2)[2]
                if path != "/_ping":
                    fake.requests.append((self.command, path, query, body))
                status, answer = fake.answers.get((self.command, path), (200, b"OK") if path == "/_ping" else (404, {"message": f"page not found: {path}"}))
                self.send_response(status)
                self.send_header("Api-Version", fake.api)
                self.send_header("Content-Type", "application/json")
                if isinstance(answer, list):
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    for message in answer:
                        data = (json.dumps(message) + "\r\n").encode()
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                    self.wfile.write(b"0\r\n\r\n")
                    return
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_POST = do_DELETE = do_HEAD = do_PUT = answer

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self.server = Server(self.sock, Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
        self.dir.cleanup()
