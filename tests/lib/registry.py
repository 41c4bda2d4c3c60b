# SPDX-License-Identifier: Apache-2.0
"""Registries for tests: Debian's docker-registry as it is, and one in Python that misbehaves as told.

    with Registry(tls=ca, htpasswd={"u": "p"}) as r: r.host            # 127.0.0.1:port
    with Registry(token=True, htpasswd={"u": "p"}) as r: …             # a token server beside it
    with Fake() as f: f.blob(b"…"); f.manifest("a/b", "latest", {…}); f.fault("GET", "/blobs/", Stall(after=10))
"""
import base64
import hashlib
import http.server
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Authority:
    """A CA of our own, and certificates of it."""

    def __init__(self, root, name="caisson test ca"):
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self.cert, self.key = self.root / "ca.crt", self.root / "ca.key"
        self._run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.cert)

    @staticmethod
    def _run(*args):
        subprocess.run(["openssl", *map(str, args)], check=True, stdin=subprocess.DEVNULL, capture_output=True)

    def issue(self, name, san="IP:127.0.0.1,DNS:localhost", days=2):
        cert, key, csr, ext = (self.root / f"{name}.{end}" for end in ("pem", "key", "csr", "ext"))
        ext.write_text(f"subjectAltName={san}\n")
        self._run("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", csr)
        self._run("x509", "-req", "-in", csr, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial", "-days", days, "-extfile", ext, "-out", cert)
        return cert, key


class TokenServer:
    """A token server (distribution's token spec, JWT signed with RS256). Remembers what it was asked."""

    def __init__(self, root, users=None, life=300, identity=None):
        self.users, self.life, self.identity = users or {}, life, identity or {}
        self.requests, self.fail = [], []
        root = Path(root)
        root.mkdir(parents=True, exist_ok=True)
        self.key, self.cert = root / "token.key", root / "token.crt"
        Authority._run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=token", "-keyout", self.key, "-out", self.cert)
        der = subprocess.run(["openssl", "x509", "-in", self.cert, "-outform", "DER"], check=True, capture_output=True).stdout
        self.x5c = base64.b64encode(der).decode()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_args):
                pass

            def reply(self, status, body, headers=None):
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def handle_any(self, query):
                outer.requests.append({"method": self.command, "query": query, "headers": dict(self.headers.items())})
                if outer.fail:
                    return self.reply(*outer.fail.pop(0))
                who, wrong = outer.who(self.headers.get("Authorization"), query)
                if wrong:
                    return self.reply(401, {"details": "incorrect username or password"})
                scopes = [s for given in query.get("scope", []) for s in given.split()]
                token = outer.token(who, scopes, query.get("service", [""])[0])
                body = {"token": token, "access_token": token, "expires_in": outer.life}
                if query.get("offline_token") == ["true"] and who:
                    body["refresh_token"] = "refresh-" + who
                return self.reply(200, body)

            def do_GET(self):
                self.handle_any(urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query))

            def do_POST(self):
                self.handle_any(urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/token"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def who(self, authorization, query):
        """(name or "", is wrong)"""
        if query.get("grant_type") == ["refresh_token"]:
            name = self.identity.get(query["refresh_token"][0])
            return name or "", name is None
        if not authorization:
            return "", False
        name, _, password = base64.b64decode(authorization.split()[1]).decode().partition(":")
        return name, self.users.get(name) != password

    def token(self, who, scopes, service):
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":", 2)
            allowed = [a for a in actions.split(",") if who or name.startswith("public/")]
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        head = {"typ": "JWT", "alg": "RS256", "x5c": [self.x5c]}
        body = {"iss": "caisson-test", "sub": who, "aud": service, "exp": now + max(self.life, 60), "nbf": now - 10, "iat": now, "jti": str(now), "access": access}
        b64 = lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        text = ".".join(b64(json.dumps(part).encode()) for part in (head, body))
        signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(self.key)], input=text.encode(), check=True, capture_output=True).stdout
        return text + "." + b64(signed)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Registry:
    """Debian's docker-registry on a free loopback port."""

    def __init__(self, tls=None, htpasswd=None, token=False, root=None, identity=None, san="IP:127.0.0.1,DNS:localhost", client_ca=None):
        self.own = root is None
        self.root = Path(root or tempfile.mkdtemp(prefix="cst-registry-", dir=os.environ.get("CAISSON_TEST_DIR", "/tmp")))
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.tls, self.tokens = tls, None
        config = {"version": "0.1", "log": {"level": "error"}, "http": {"addr": self.host},
                  "storage": {"filesystem": {"rootdirectory": str(self.root / "data")}, "delete": {"enabled": True}}}
        if tls:
            cert, key = tls.issue(f"registry-{self.port}", san)
            config["http"]["tls"] = {"certificate": str(cert), "key": str(key)}
            if client_ca:
                config["http"]["tls"]["clientcas"] = [str(client_ca)]
        if token:
            self.tokens = TokenServer(self.root / "token", htpasswd, identity=identity)
            config["auth"] = {"token": {"realm": self.tokens.url, "service": "test-registry", "issuer": "caisson-test", "rootcertbundle": str(self.tokens.cert)}}
        elif htpasswd:
            lines = [subprocess.run(["htpasswd", "-nbB", "-C", "4", u, p], check=True, capture_output=True, text=True).stdout.strip() for u, p in htpasswd.items()]
            (self.root / "htpasswd").write_text("\n".join(lines) + "\n")
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(self.root / "htpasswd")}}
        self.config = self.root / "config.yml"
        self.config.write_text(json.dumps(config))  # JSON is YAML
        self.proc = None

    def start(self):
        with open(self.root / "log", "ab") as log:
            self.proc = subprocess.Popen(["docker-registry", "serve", str(self.config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         env={**os.environ, "REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR": ""})
        end = time.monotonic() + 20
        while True:
            if self.proc.poll() is not None:
                raise AssertionError("docker-registry ended: " + (self.root / "log").read_text()[-2000:])
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    return self
            except OSError:
                if time.monotonic() > end:
                    raise AssertionError("docker-registry does not listen") from None
                time.sleep(0.02)

    def stop(self):
        if self.proc and self.proc.poll() is None:
            self.proc.terminate()
            try:
                self.proc.wait(5)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()

    def close(self):
        self.stop()
        if self.tokens:
            self.tokens.close()
        if self.own:
            shutil.rmtree(self.root, ignore_errors=True)

    __enter__ = start

    def __exit__(self, *_exc):
        self.close()


# ---- the hostile one ----

class Fault:
    """What happens instead of (or to) an answer. `times`: how often, -1 = always."""

    def __init__(self, times=1):
        self.times = times

    def answer(self, handler, status, headers, body):
        raise NotImplementedError


class Status(Fault):
    """An error status."""

    def __init__(self, status, code=None, message="", headers=(), body=None, times=1):
        super().__init__(times)
        self.status, self.headers = status, dict(headers)
        self.body = body if body is not None else json.dumps({"errors": [{"code": code, "message": message, "detail": {}}]}).encode() if code else b""

    def answer(self, handler, status, headers, body):
        handler.send(self.status, {"Content-Type": "application/json", **self.headers}, self.body)


class Stall(Fault):
    """Sends `after` bytes of the body (None: not even headers), then nothing more until the test ends."""

    def __init__(self, after=None, times=1):
        super().__init__(times)
        self.after = after

    def answer(self, handler, status, headers, body):
        if self.after is not None:
            handler.head(status, {**headers, "Content-Length": str(len(body))})
            handler.wfile.write(body[:self.after])
            handler.wfile.flush()
        handler.fake.over.wait(60)
        handler.close_connection = True


class Cut(Fault):
    """Closes the connection after `after` bytes of the body; None: before the headers."""

    def __init__(self, after=None, times=1):
        super().__init__(times)
        self.after = after

    def answer(self, handler, status, headers, body):
        if self.after is not None:
            handler.head(status, {**headers, "Content-Length": str(len(body))})
            handler.wfile.write(body[:self.after])
            handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True


class Drip(Fault):
    """A byte of the body, or a header (what="headers"), every tenth of a second, for as long as the client bears it; a minute at the most."""

    def __init__(self, what="body", times=1):
        super().__init__(times)
        self.what = what

    def answer(self, handler, status, headers, body):
        handler.close_connection = True
        handler.head(status, {**headers, "Content-Length": str(len(body))}) if self.what == "body" else handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for n in range(600):
            try:
                handler.wfile.write(body[n:n + 1] if self.what == "body" else b"X-Drop: %d\r\n" % n)
                handler.wfile.flush()
            except OSError:
                return
            time.sleep(0.1)


class Lie(Fault):
    """The right answer with other headers, status or body."""

    def __init__(self, status=None, headers=(), body=None, times=1):
        super().__init__(times)
        self.status, self.headers, self.body = status, dict(headers), body

    def answer(self, handler, status, headers, body):
        data = body if self.body is None else self.body
        handler.send(self.status or status, {**headers, **self.headers}, data)


class Endless(Fault):
    """A chunked body without an end."""

    def answer(self, handler, status, headers, body):
        handler.head(status, {**{k: v for k, v in headers.items() if k.lower() != "content-length"}, "Transfer-Encoding": "chunked"})
        block = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        try:
            while not handler.fake.over.is_set():
                handler.wfile.write(block)
        except OSError:
            pass
        handler.close_connection = True


class Chunked(Fault):
    """The body without a length in front."""

    def answer(self, handler, status, headers, body):
        handler.head(status, {**{k: v for k, v in headers.items() if k.lower() != "content-length"}, "Transfer-Encoding": "chunked"})
        for at in range(0, len(body), 7000):
            part = body[at:at + 7000]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        handler.wfile.write(b"0\r\n\r\n")


class Raw(Fault):
    """Bytes on the wire."""

    def __init__(self, data, times=1):
        super().__init__(times)
        self.data = data

    def answer(self, handler, status, headers, body):
        try:
            handler.wfile.write(self.data)
        except OSError:
            pass
        handler.close_connection = True


class Meanwhile(Fault):
    """Does something else first, then gives the right answer."""

    def __init__(self, what, times=1):
        super().__init__(times)
        self.what = what

    def answer(self, handler, status, headers, body):
        self.what()
        handler.send(status, headers, body)


class Redirect(Fault):
    def __init__(self, to, status=307, times=-1):
        super().__init__(times)
        self.to, self.status = to, status

    def answer(self, handler, status, headers, body):
        to = self.to(handler.path) if callable(self.to) else self.to
        handler.send(self.status, {"Location": to}, b"")


class Fake:
    """A registry over http (or https with tls=(cert, key)) that serves from dictionaries and misbehaves on demand. `requests` is what came."""

    def __init__(self, tls=None, ranges=True):
        self.blobs, self.manifests, self.tags = {}, {}, {}
        self.requests, self.faults, self.uploads = [], [], {}
        self.ranges, self.over, self.lock = ranges, threading.Event(), threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            fake = outer

            def log_message(self, *_args):
                pass

            def head(self, status, headers):
                self.send_response(status)
                for k, v in headers.items():
                    self.send_header(k, v)
                self.end_headers()

            def send(self, status, headers, body):
                given = {k.lower() for k in headers}
                self.head(status, headers if given & {"content-length", "transfer-encoding"} else {**headers, "Content-Length": str(len(body))})
                if self.command != "HEAD":
                    self.wfile.write(body)

            def any(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else b""
                entry = {"method": self.command, "path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}, "body": body}
                with outer.lock:
                    outer.requests.append(entry)
                    fault = outer._take(self.command, self.path)
                status, headers, data = outer._answer(self.command, self.path, entry["headers"], body)
                try:
                    if fault:
                        fault.answer(self, status, headers, data)
                    else:
                        self.send(status, headers, data)
                except OSError:
                    self.close_connection = True
            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = any

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # the other side goes away in many of these tests

        self.server = Server(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*map(str, tls))
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_port
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    # -- content --
    def blob(self, data):
        self.blobs[digest(data)] = data
        return digest(data)

    def manifest(self, repo, tag, body, media_type=MANIFEST):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        for ref in (tag, digest(data)):
            self.manifests[repo, ref] = (media_type, data)
        self.tags.setdefault(repo, []).append(tag)
        return digest(data)

    def image(self, repo, tag, layers, config=None):
        """A whole image of compressed layer tars; config: its JSON object."""
        text = json.dumps(config or {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}).encode()
        entry = lambda kind, data: {"mediaType": kind, "size": len(data), "digest": self.blob(data)}
        return self.manifest(repo, tag, {"schemaVersion": 2, "mediaType": MANIFEST, "config": entry(CONFIG, text), "layers": [entry(LAYER, l) for l in layers]})

    # -- faults --
    def fault(self, method, pattern, *faults):
        """For requests whose path contains the regular expression: each fault in turn, as often as it says."""
        for f in faults:
            self.faults.append([method, re.compile(pattern), f, f.times])
        return self

    def _take(self, method, path):
        for entry in self.faults:
            if entry[0] == method and entry[1].search(path) and entry[3] != 0:
                entry[3] -= entry[3] > 0
                return entry[2]
        return None

    def count(self, method, pattern):
        return sum(r["method"] == method and bool(re.search(pattern, r["path"])) for r in self.requests)

    # -- answers --
    def _error(self, status, code, message=""):
        return status, {"Content-Type": "application/json"}, json.dumps({"errors": [{"code": code, "message": message or code.lower().replace("_", " "), "detail": {}}]}).encode()

    def _answer(self, method, target, headers, body):
        url = urllib.parse.urlsplit(target)
        if url.path == "/v2/":
            return 200, {"Docker-Distribution-Api-Version": "registry/2.0"}, b"{}"
        m = re.fullmatch(r"/(?:[^/]+/)*?v2/(.+)/(manifests|blobs|tags)/(.+)", url.path)
        if not m:
            return 404, {}, b"404 page not found\n"
        repo, kind, ref = m.groups()
        if kind == "tags":
            return 200, {"Content-Type": "application/json"}, json.dumps({"name": repo, "tags": self.tags.get(repo)}).encode()
        if kind == "manifests":
            return self._manifest(method, repo, ref, headers, body)
        if ref.startswith("uploads/"):
            return self._upload(method, repo, ref[8:], urllib.parse.parse_qs(url.query), body)
        return self._blob(ref, headers)

    def _manifest(self, method, repo, ref, headers, body):
        if method == "PUT":
            self.manifests[repo, ref] = self.manifests[repo, digest(body)] = (headers.get("content-type"), body)
            return 201, {"Docker-Content-Digest": digest(body)}, b""
        if (repo, ref) not in self.manifests:
            return self._error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        media_type, data = self.manifests[repo, ref]
        return 200, {"Content-Type": media_type, "Docker-Content-Digest": digest(data)}, data

    def _blob(self, ref, headers):
        data = self.blobs.get(ref)
        if data is None:
            return self._error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        found = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        if found and self.ranges:
            first = int(found.group(1))
            if first >= len(data):
                return 416, {}, b""
            return 206, {"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}, data[first:]
        return 200, {"Content-Type": "application/octet-stream"}, data

    def _upload(self, method, repo, name, query, body):
        if method == "POST":
            if "mount" in query and query["mount"][0] in self.blobs:
                return 201, {"Location": f"/v2/{repo}/blobs/{query['mount'][0]}"}, b""
            return 202, {"Location": f"/v2/{repo}/blobs/uploads/u{len(self.requests)}?_state=x%2Fy"}, b""
        if method == "PUT":
            if digest(body) != query.get("digest", [""])[0]:
                return self._error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
            self.blobs[digest(body)] = body
            return 201, {"Location": f"/v2/{repo}/blobs/{digest(body)}"}, b""
        return 204, {}, b""

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.close()


def bearer(realm, service="fake", **more):
    """A 401 that asks for a token."""
    extra = "".join(f',{k}="{v}"' for k, v in more.items())
    return Status(401, "UNAUTHORIZED", "authentication required", {"Www-Authenticate": f'Bearer realm="{realm}",service="{service}"{extra}'}, times=-1)
