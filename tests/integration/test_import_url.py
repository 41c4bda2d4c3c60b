# SPDX-License-Identifier: Apache-2.0
"""POST /images/create?fromSrc=URL: the daemon fetches the archive itself."""
import gzip
import http.server
import json
import threading

import pytest

import rootfs
from box import IS_DOCKERD, Events


@pytest.fixture(scope="module")
def web():
    tar = rootfs.busybox().file("unique", "url").bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self, status, body, length=None, **headers):
            self.send_response(status)
            for k, v in headers.items():
                self.send_header(k, v)
            if length != "chunked":
                self.send_header("Content-Length", str(length or len(body)))
            else:
                self.send_header("Transfer-Encoding", "chunked")
                body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:1000], body[1000:])) + b"0\r\n\r\n"
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                pass
            if length and length != "chunked":
                self.close_connection = True

        def do_GET(self):
            what = self.path.split("?")[0]
            seen.append((self.path, dict(self.headers)))
            if what == "/ok.tar":
                self.answer(200, tar)
            elif what == "/chunked.tar":
                self.answer(200, tar, "chunked")
            elif what == "/ok.tar.gz":
                self.answer(200, gzip.compress(tar, 1))
            elif what == "/cut.tar":
                self.answer(200, tar[:len(tar) // 2], len(tar))
            elif what == "/moved":
                self.answer(302, b"", Location="/ok.tar")
            elif what == "/loop":
                self.answer(302, b"", Location="/loop")
            elif what == "/garbage":
                self.answer(200, b"no tar" * 1000)
            elif what.startswith("/status/"):
                self.answer(int(what.split("/")[2]), b"  go away\n")
            else:
                self.answer(404, b"nothing here")
    seen = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen = seen
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def fetch(http_, src, **query):
    a = http_.post("/images/create", {"fromSrc": src, **query}, rec=False)
    return a, [json.loads(line) for line in a.body.decode().splitlines() if line.strip()]


@pytest.mark.parametrize("what", ["ok.tar", "chunked.tar", "ok.tar.gz", "moved"])
def test_import(http, web, boxes, what):
    a, lines = fetch(http, f"{web.url}/{what}", repo="t-url", tag="x", changes='CMD ["cat", "/unique"]')
    assert a.status == 200 and a.headers["Content-Type"] == "application/json"
    assert lines[0] == {"status": f"Downloading from {web.url}/{what}"}
    assert lines[-1]["status"].startswith("sha256:")
    i = http.get("/images/t-url:x/json").json
    assert i["Id"] == lines[-1]["status"] and i["Comment"] == f"Imported from {web.url}/{what}"
    assert boxes.run(None, image="t-url:x").out == "url"
    boxes.clean()
    assert http.delete("/images/t-url:x").status == 200


def test_without_a_scheme(http, web):
    a, lines = fetch(http, web.url[len("http://"):] + "/ok.tar", message="mine")
    assert a.status == 200 and lines[0] == {"status": f"Downloading from {web.url}/ok.tar"}
    assert http.get(f"/images/{lines[-1]['status']}/json").json["Comment"] == "mine"
    http.delete(f"/images/{lines[-1]['status']}")


@pytest.mark.parametrize("status,want", [(404, 404), (403, 403), (401, 401), (400, 400), (500, 500), (503, 500)])
def test_refused(http, web, status, want):
    a, _ = fetch(http, f"{web.url}/status/{status}")
    assert a.status == want
    assert a.message.startswith(f"failed to GET {web.url}/status/{status} with status {status}") and a.message.endswith(": go away"), a


@pytest.mark.parametrize("src", ["http://127.0.0.1:1/x", "http://no-such-host.invalid/x", "ftp://127.0.0.1/x", "http://", "http://[bad/x"])
def test_unreachable(http, src):
    a, _ = fetch(http, src)
    assert a.status in (400, 404, 500) and a.message, a
    if "127.0.0.1:1" in src:
        assert a.message == f'Get "{src}": dial tcp 127.0.0.1:1: connect: connection refused'
    if "invalid" in src:
        assert a.message.startswith(f'Get "{src}": dial tcp: lookup no-such-host.invalid')


@pytest.mark.parametrize("what", ["cut.tar", "garbage", "loop"])
def test_bad_archives(http, web, what):
    before = http.get("/images/json", {"all": 1}).json
    a, lines = fetch(http, f"{web.url}/{what}", repo="t-bad")
    if a.status == 200:
        assert lines[-1]["error"] and lines[-1]["errorDetail"]["message"], lines
    assert http.get("/images/json", {"all": 1}).json == before


def test_nothing_is_fetched_for_bad_parameters(http, web):
    del web.seen[:]
    a, _ = fetch(http, f"{web.url}/ok.tar", changes="RUN x")
    assert a.status == 400
    if not IS_DOCKERD:
        assert fetch(http, f"{web.url}/ok.tar", repo="BAD")[0].status == 400
    assert web.seen == []


@pytest.mark.caisson
def test_credentials_in_the_url(http, web):
    a, _ = fetch(http, f"http://me:secret@{web.url[7:]}/ok.tar")
    assert a.status == 400 and "credentials" in a.message


def test_event(engine, web):
    events = Events(engine)
    _, lines = fetch(engine.http, f"{web.url}/ok.tar", repo="t-url-event")
    ident = lines[-1]["status"]
    assert events.until("import", ident)["Actor"]["Attributes"]["name"] == ident
    assert events.until("tag", ident)["Actor"]["Attributes"]["name"].startswith("t-url-event")
    engine.http.delete("/images/t-url-event")


def test_cli(engine, web):
    out = engine.cli("import", f"{web.url}/ok.tar", "t-url-cli:1", check=True)
    assert out.stdout.strip().splitlines()[-1].startswith("sha256:")
    engine.cli("rmi", "t-url-cli:1", check=True)
