# SPDX-License-Identifier: Apache-2.0
"""The registry client (src/registry) against Debian's docker-registry and against one that misbehaves. No engine here: registry-probe calls the
library. The texts of errors were compared with dockerd 20.10 against the same servers."""
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from caisson_fixture import BUILD, KIND  # noqa: E402
from registry import (MANIFEST, Authority, Chunked, Cut, Drip, Endless, Fake, Fault, Lie, Raw, Redirect, Registry, Stall, Status, TokenServer, bearer,  # noqa: E402
                      digest)

pytestmark = pytest.mark.skipif(KIND != "caisson", reason="tests Caisson's own library")
PROBE = BUILD / "tests/unit/registry-probe"
MIB = 1 << 20


def probe(*args, timeout=60, env=None):
    """(object, exit status). Patience is short: tests do not wait for real back-offs."""
    clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and not k.startswith("SSL_CERT")}
    args = [str(a) for a in args]
    for option, value in (("--backoff", "5"), ("--stall", "1500"), ("--certs", "/nonexistent")):
        if option not in args:
            args = [option, value, *args]
    out = subprocess.run([str(PROBE), *args], capture_output=True, text=True, timeout=timeout, env={**clean, **(env or {})})
    assert out.returncode in (0, 1) and out.stdout, (out.returncode, out.stdout, out.stderr)
    return json.loads(out.stdout)


def good(*args, **kw):
    got = probe(*args, **kw)
    assert "error" not in got, got
    return got


def bad(*args, **kw):
    got = probe(*args, **kw)
    assert "error" in got, got
    return got


@pytest.fixture
def fake():
    with Fake() as f:
        yield f


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def data():
    return os.urandom(3 * MIB + 17)


def certs_dir(root, host, ca, client=None):
    d = root / host
    d.mkdir(parents=True)
    (d / "ca.crt").write_bytes(ca.cert.read_bytes())
    if client:
        (d / "client.cert").write_bytes(client[0].read_bytes())
        (d / "client.key").write_bytes(client[1].read_bytes())
    return root


def hosts_dir(root, name, text):
    (root / name).mkdir(parents=True, exist_ok=True)
    (root / name / "hosts.toml").write_text(text)
    return root


# ---- the real registry ----

@pytest.fixture(scope="module")
def plain():
    with Registry() as r:
        yield r


def push_file(tmp_path, data, *args):
    path = tmp_path / "blob"
    path.write_bytes(data)
    return (*args, digest(data), path)


def test_real_roundtrip(plain, tmp_path, data):
    up = good("push", plain.host, *push_file(tmp_path, data, "a/b"))
    assert (up["progress"], up["rewinds"]) == (len(data), 0)
    assert good("blob-head", plain.host, "a/b", digest(data))["size"] == len(data)
    assert good("blob", plain.host, "a/b", digest(data), len(data))["digest"] == digest(data)
    assert good("--chunk", 1, "blob", plain.host, "a/b", good("push", plain.host, *push_file(tmp_path, b"x" * 5000, "a/b")) and digest(b"x" * 5000), 5000)["got"] == 5000
    assert good("mount", plain.host, "c/d", digest(data), "a/b")["mounted"] is True
    assert good("blob-head", plain.host, "c/d", digest(data))["size"] == len(data)
    assert good("mount", plain.host, "c/e", digest(b"nowhere"), "a/b")["mounted"] is False
    text = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
                       "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(data), "digest": digest(data)}})
    (tmp_path / "m").write_text(text)
    good("put", plain.host, "a/b", "v1", MANIFEST, tmp_path / "m")
    for ref in ("v1", digest(text.encode())):
        m = good("manifest", plain.host, "a/b", ref)
        assert (m["data"], m["media_type"], m["digest"], m["len"]) == (text, MANIFEST, digest(text.encode()), len(text))
        h = good("head", plain.host, "a/b", ref)
        assert (h["digest"], h["len"], h["media_type"]) == (digest(text.encode()), len(text), MANIFEST)
    for i in range(12):
        good("put", plain.host, "a/b", f"t{i}", MANIFEST, tmp_path / "m")
    assert sorted(good("tags", plain.host, "a/b")["tags"]) == sorted(["v1", *(f"t{i}" for i in range(12))])


def test_real_empty_blob_and_many_threads(plain, tmp_path, data):
    good("push", plain.host, *push_file(tmp_path, b"", "e/e"))
    assert good("blob", plain.host, "e/e", digest(b""), 0)["got"] == 0
    good("push", plain.host, *push_file(tmp_path, data, "e/e"))
    assert good("--threads", 8, "blob", plain.host, "e/e", digest(data), len(data))["got"] == len(data)


def test_real_errors(plain):
    e = bad("manifest", plain.host, "no/such", "v9")
    assert e["error"] == f"manifest for {plain.host}/no/such:v9 not found: manifest unknown: manifest unknown" and e["code"] == "NOT_FOUND"
    e = bad("blob", plain.host, "no/such", digest(b"?"), 5)
    assert e["code"] == "NOT_FOUND" and digest(b"?") in e["error"] and "unknown blob" in e["error"]
    assert bad("tags", plain.host, "no/such")["code"] == "NOT_FOUND"
    assert bad("push", plain.host, "a/b", digest(b"other"), "/etc/hostname")["error"].startswith("blob sha256:")


def test_real_registry_restarts_under_a_pull(tmp_path):
    big = os.urandom(24 * MIB)
    with Registry() as r:
        good("push", r.host, *push_file(tmp_path, big, "a/b"))
        reader = subprocess.Popen([str(PROBE), "--backoff", "300", "--pause", "4", "blob", r.host, "a/b", digest(big), str(len(big))], stdout=subprocess.PIPE, text=True)
        time.sleep(0.4)
        r.proc.kill()
        r.proc.wait()
        r.start()
        got = json.loads(reader.communicate(timeout=60)[0])
        assert got.get("digest") == digest(big) and got["retries"] > 0, got


def test_htpasswd(tmp_path, data):
    with Registry(htpasswd={"ann": "pä:ss"}) as r:
        who = ("--user", "ann", "--password", "pä:ss")
        good(*who, "push", r.host, *push_file(tmp_path, data, "a/b"))
        assert good(*who, "blob", r.host, "a/b", digest(data), len(data))["digest"] == digest(data)
        e = bad("manifest", r.host, "a/b", "v1")
        assert e["error"] == f'Head "http://{r.host}/v2/a/b/manifests/v1": no basic auth credentials'
        assert bad("--user", "ann", "--password", "no", "manifest", r.host, "a/b", "v1")["error"] == "unauthorized: authentication required"
        assert good(*who, "login", r.host)["status"] == "Login Succeeded"
        assert good(*who, "login", f"http://{r.host}/v1/")["status"] == "Login Succeeded"
        e = bad("--user", "ann", "--password", "no", "login", r.host)
        assert e["error"] == f"login attempt to http://{r.host}/v2/ failed with status: 401 Unauthorized"


def test_token_server(tmp_path, data):
    with Registry(token=True, htpasswd={"ann": "secret"}, identity={"idtok": "ann"}) as r:
        who = ("--user", "ann", "--password", "secret")
        good(*who, "push", r.host, *push_file(tmp_path, data, "a/b"))
        asked = r.tokens.requests[0]["query"]
        assert asked["scope"] == ["repository:a/b:pull,push"] and asked["service"] == ["test-registry"] and asked["account"] == ["ann"]
        before = len(r.tokens.requests)
        assert good(*who, "--repeat", 1, "blob", r.host, "a/b", digest(data), len(data))["digest"] == digest(data)
        assert len(r.tokens.requests) == before + 1 and r.tokens.requests[-1]["query"]["scope"] == ["repository:a/b:pull"]
        # an identity token by POST, also for a mount, which names both repositories
        assert good("--identity-token", "idtok", "mount", r.host, "c/d", digest(data), "a/b")["mounted"] is True
        post = r.tokens.requests[-1]
        assert post["method"] == "POST" and post["query"]["scope"] == ["repository:c/d:pull,push repository:a/b:pull"] and "Authorization" not in post["headers"]
        e = bad("manifest", r.host, "a/b", "v1")
        assert e["error"].startswith(f"pull access denied for {r.host}/a/b, repository does not exist or may require 'docker login': denied: ") and e["code"] == "NOT_FOUND"
        e = bad("--user", "ann", "--password", "no", "manifest", r.host, "a/b", "v1")
        assert e["error"] == f'Head "http://{r.host}/v2/a/b/manifests/v1": unauthorized: incorrect username or password'
        assert good(*who, "login", r.host) | {"maxrss_kib": 0} == {"status": "Login Succeeded", "token": "refresh-ann", "retries": 0, "maxrss_kib": 0}
        e = bad("--user", "ann", "--password", "no", "login", r.host)
        assert e["code"] == "UNAUTHORIZED" and e["error"] == f'Get "http://{r.host}/v2/": unauthorized: incorrect username or password'
        # public by the token server's rule: anonymous pulls get a token too
        good(*who, "push", r.host, *push_file(tmp_path, data, "public/x"))
        assert good("blob", r.host, "public/x", digest(data), len(data))["digest"] == digest(data)
        r.tokens.fail = [(503, {}), (200, {"token": ""})]
        assert "authorization server did not include a token in the response" in bad(*who, "manifest", r.host, "a/b", "v1")["error"]


@pytest.mark.parametrize("said,seconds", [((429, {"details": "later"}, {"Retry-After": "1"}), 0.9), ((429, {}), 0), ((503, {}, {"Retry-After": "1"}), 0.9)])
def test_token_server_that_wants_a_pause(fake, tmp_path, said, seconds):
    """As long as it says, like other requests, and not more often."""
    tokens = TokenServer(tmp_path / "t", {"u": "p"})
    try:
        fake.fault("GET", "/v2/$", bearer(tokens.url))
        tokens.fail = [said, said]
        start = time.monotonic()
        assert bad("--attempts", 3, "manifest", fake.host, "a/b", "v1")["code"] == "NOT_FOUND" and len(tokens.requests) == 3
        assert time.monotonic() - start >= 2 * seconds
        tokens.fail, tokens.requests[:] = [said] * 4, []
        fake.fault("GET", "/v2/$", bearer(tokens.url))
        assert bad("--attempts", 2, "manifest", fake.host, "a/b", "v1")["code"] != "NOT_FOUND" and len(tokens.requests) == 2
        tokens.fail, tokens.requests[:] = [(said[0], {}, {"Retry-After": "86400"})], []
        fake.fault("GET", "/v2/$", bearer(tokens.url))
        assert str(said[0]) in bad("manifest", fake.host, "a/b", "v1")["error"] and len(tokens.requests) == 1
    finally:
        tokens.close()


# ---- TLS ----

def test_tls_certs_d(ca, tmp_path, data):
    client_ca = Authority(tmp_path / "client-ca", "client ca")
    client = client_ca.issue("client")
    with Registry(tls=ca, client_ca=client_ca.cert) as r:
        certs = certs_dir(tmp_path / "certs", r.host, ca, client)
        assert good("--certs", certs, "push", r.host, *push_file(tmp_path, data, "a/b"))["progress"] == len(data)
        assert good("--certs", certs, "blob", r.host, "a/b", digest(data), len(data))["digest"] == digest(data)
        (certs / r.host / "client.key").unlink()
        assert "missing key client.key for client certificate client.cert" in bad("--certs", certs, "manifest", r.host, "a/b", "x")["error"]


def strict(tmp_path, url, extra=""):
    """Loopback is insecure by default; this asks for verification nevertheless."""
    return ("--hosts", hosts_dir(tmp_path / "hosts", "example.test", f'server = "{url}"\nskip_verify = false\n{extra}'))


def test_tls_is_verified(ca, tmp_path):
    """CVE-2025-6032"""
    with Registry(tls=ca) as r:
        e = bad(*strict(tmp_path, f"https://{r.host}"), "manifest", "example.test", "a/b", "v1")
        assert e["error"] == f'Get "https://{r.host}/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority'
        known = strict(tmp_path, f"https://{r.host}", f'ca = "{ca.cert}"\n')
        assert bad(*known, "manifest", "example.test", "a/b", "v1")["code"] == "NOT_FOUND"
        relative = strict(tmp_path, f"https://{r.host}", 'ca = ["here.crt"]\n')
        (tmp_path / "hosts/example.test/here.crt").write_bytes(ca.cert.read_bytes())
        assert bad(*relative, "manifest", "example.test", "a/b", "v1")["code"] == "NOT_FOUND"
    with Registry(tls=ca, san="DNS:other.example") as r:
        e = bad(*strict(tmp_path, f"https://{r.host}", f'ca = "{ca.cert}"\n'), "manifest", "example.test", "a/b", "v1")
        assert "x509: certificate is not valid for 127.0.0.1" in e["error"]


def test_tls_both_flavours_of_the_library(ca, tmp_path, data):
    """Without libcurl4 (here: a file that is none), the GnuTLS flavour does the same."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libcurl.so.4").write_bytes(b"")
    env = {"LD_LIBRARY_PATH": str(tmp_path / "lib")}
    with Registry(tls=ca) as r:
        known = strict(tmp_path, f"https://{r.host}", f'ca = "{ca.cert}"\n')
        good(*known, "push", "example.test", *push_file(tmp_path, data, "a/b"), env=env)
        assert good(*known, "blob", "example.test", "a/b", digest(data), len(data), env=env)["digest"] == digest(data)
        e = bad(*strict(tmp_path, f"https://{r.host}"), "manifest", "example.test", "a/b", "v1", env=env)
        assert "x509: certificate signed by unknown authority" in e["error"]
    with Registry(tls=ca, san="DNS:other.example") as r:
        e = bad(*strict(tmp_path, f"https://{r.host}", f'ca = "{ca.cert}"\n'), "manifest", "example.test", "a/b", "v1", env=env)
        assert "x509: certificate is not valid for 127.0.0.1" in e["error"]
    with Fake() as f:
        assert "server gave HTTP response to HTTPS client" in bad(*strict(tmp_path, f"https://{f.host}"), "manifest", "example.test", "a/b", "v1", env=env)["error"]


def test_tls_system_authorities(ca, tmp_path):
    """SSL_CERT_FILE takes the place of the system's, as in Go; by itself and with certificates of the host."""
    env = {"SSL_CERT_FILE": str(ca.cert)}
    other = Authority(tmp_path / "other", "another ca")
    with Registry(tls=ca) as r:
        assert bad(*strict(tmp_path, f"https://{r.host}"), "manifest", "example.test", "a/b", "v1", env=env)["code"] == "NOT_FOUND"
        both = strict(tmp_path, f"https://{r.host}", f'ca = "{other.cert}"\n')
        assert bad(*both, "manifest", "example.test", "a/b", "v1", env=env)["code"] == "NOT_FOUND"
        assert "unknown authority" in bad(*both, "manifest", "example.test", "a/b", "v1")["error"]
        assert "read /nonexistent" in bad(*both, "manifest", "example.test", "a/b", "v1", env={"SSL_CERT_FILE": "/nonexistent"})["error"]


def test_insecure_loopback_tries_https_then_http(ca, fake, data):
    assert good("blob", fake.host, "a/b", fake.blob(data), len(data))["got"] == len(data)
    with Registry(tls=ca) as r:     # a certificate of nobody: fine for an insecure host
        assert bad("manifest", r.host, "a/b", "v1")["code"] == "NOT_FOUND"


def test_http_where_https_was_written(fake, tmp_path):
    e = bad(*strict(tmp_path, f"https://{fake.host}"), "manifest", "example.test", "a/b", "v1")
    assert e["error"] == f'Get "https://{fake.host}/v2/": http: server gave HTTP response to HTTPS client'


# ---- broken transfers ----

@pytest.mark.parametrize("faults", [
    [Cut(0)], [Cut(1)], [Cut(None)], [Cut(2 * MIB)], [Cut(5000), Cut(6000), Cut(7000)], [Stall(100000)], [Stall(None)], [Status(500)], [Status(503), Status(502)],
    [Status(429, headers={"Retry-After": "0"})], [Cut(MIB), Stall(10), Status(504), Cut(3)], [Chunked()], [Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99")],
], ids=lambda f: "+".join(type(x).__name__ + str(getattr(x, "after", getattr(x, "status", ""))) for x in f))
@pytest.mark.parametrize("ranges", [True, False])
def test_blob_survives(faults, ranges, data):
    with Fake(ranges=ranges) as f:
        d = f.blob(data)
        f.fault("GET", "/blobs/", *faults)
        got = good("blob", f.host, "a/b", d, len(data))
        assert got["digest"] == d and got["got"] == len(data)
        asked = [r["headers"].get("range") for r in f.requests if "/blobs/" in r["path"]]
        assert len(asked) == len(faults) + (not isinstance(faults[0], Chunked))
        if isinstance(faults[0], Cut) and faults[0].after == 2 * MIB:
            assert asked == [None, f"bytes={2 * MIB}-"]         # not a byte twice


def test_attempts_are_counted_from_the_last_progress(data):
    with Fake() as f:
        d = f.blob(data)
        f.fault("GET", "/blobs/", Cut(MIB + 1, times=-1))        # more than a mebibyte each time
        assert good("--attempts", 2, "blob", f.host, "a/b", d, len(data))["digest"] == d
    with Fake() as f:
        d = f.blob(data)
        f.fault("GET", "/blobs/", Cut(1000, times=-1))
        e = bad("--attempts", 3, "blob", f.host, "a/b", d, len(data))
        assert d in e["error"] and e["error"].endswith("unexpected EOF") and f.count("GET", "/blobs/") == 3 and e["retries"] == 2


def test_stall_is_not_a_hang(fake, data):
    fake.fault("GET", "/blobs/", Stall(1000, times=-1))
    start = time.monotonic()
    e = bad("--attempts", 2, "--stall", 300, "blob", fake.host, "a/b", fake.blob(data), len(data))
    assert e["code"] == "TIMEOUT" and time.monotonic() - start < 10
    fake.fault("GET", "/v2/$", Stall(None, times=-1))
    assert bad("--stall", 300, "manifest", fake.host, "a/b", "v1")["code"] == "TIMEOUT"


@pytest.mark.parametrize("what", ["body", "headers"])
def test_drops_are_a_stall(fake, data, what):
    """A registry that sends something now and then, but never enough, would keep a pull for ever."""
    fake.fault("GET", "/blobs/", Drip(what, times=-1))
    e = bad("--attempts", 2, "--stall", 500, "blob", fake.host, "a/b", fake.blob(data), len(data))
    assert e["code"] == "TIMEOUT" and fake.count("GET", "/blobs/") == 2


def test_a_slow_reader_is_no_stall(fake, data):
    got = good("--stall", 100, "--chunk", 700000, "--pause", 200, "blob", fake.host, "a/b", fake.blob(data), len(data))
    assert got["got"] == len(data) and got["retries"] == 0


@pytest.mark.parametrize("fault,message", [
    (Lie(headers={"Content-Length": "10"}, body=b"x" * 10, times=-1), "says that it has 10 bytes, but its manifest 1000"),
    (Endless(times=-1), "more than the 1000 bytes"),
    (Lie(body=b"x" * 3000, headers={"Content-Length": "3000"}, times=-1), "says that it has 3000 bytes"),
    (Raw(b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"y" * 90000 + b"\r\n" + b"X-B: zzzzzz\r\n" * 40000, times=-1), "headers are larger"),
    (Raw(b"nonsense\r\n\r\n", times=-1), "malformed HTTP response"),
    (Status(416, times=-1), "416"),
    (Status(403, "DENIED", "no", times=-1), "denied: no"),
    (Redirect("gopher://127.0.0.1/"), "no http or https"),
    (Redirect("file:///etc/passwd"), "no http or https"),
    (Redirect("http://user:pw@127.0.0.1/x"), "no http or https"),
    (Redirect(lambda path: path), "10 redirects"),
    (Status(429, "TOOMANYREQUESTS", "later", {"Retry-After": "86400"}, times=-1), "toomanyrequests: later"),
], ids=lambda f: type(f).__name__ if not isinstance(f, str) else "")
def test_blob_nonsense_is_reported(fake, fault, message):
    d = fake.blob(b"a" * 1000)
    fake.fault("GET", "/blobs/", fault)
    e = bad("--attempts", 2, "blob", fake.host, "a/b", d, 1000, timeout=30)
    assert message in e["error"] and d in e["error"], e
    assert e["maxrss_kib"] < 40 * 1024


def test_wrong_content_range(fake, data):
    d = fake.blob(data)
    fake.fault("GET", "/blobs/", Cut(MIB), Lie(status=206, headers={"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"}))
    assert good("blob", fake.host, "a/b", d, len(data))["digest"] == d
    fake.fault("GET", "/blobs/", Cut(MIB), Lie(status=206, headers={"Content-Range": f"bytes {MIB}-{len(data)}/{len(data) + 1}"}))
    assert good("blob", fake.host, "a/b", d, len(data))["digest"] == d
    fake.fault("GET", "/blobs/", Cut(MIB), Status(416))
    assert good("blob", fake.host, "a/b", d, len(data))["digest"] == d
    fake.fault("GET", "/blobs/", Lie(status=206, headers={"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"}))
    assert good("blob", fake.host, "a/b", d, len(data))["digest"] == d        # 206 although nothing was asked for


def test_unknown_size_is_taken_from_the_answer(fake, data):
    d = fake.blob(data)
    fake.fault("GET", "/blobs/", Cut(MIB))
    assert good("blob", fake.host, "a/b", d, -1)["digest"] == d


def test_small_blobs_are_verified(fake):
    d = fake.blob(b"config")
    assert good("blob-get", fake.host, "a/b", d, 6, 100)["got"] == 6
    fake.blobs[d] = b"fiddle"
    assert "what the registry sent has the digest " + digest(b"fiddle") in bad("blob-get", fake.host, "a/b", d, 6, 100)["error"]
    assert "more than 5" in bad("blob-get", fake.host, "a/b", d, 6, 5)["error"]
    assert "larger than 5 bytes" in bad("blob-get", fake.host, "a/b", d, -1, 5)["error"]


def test_digests_and_names_do_not_become_urls(fake):
    """CVE-2024-3727"""
    for d in ("sha256:../../evil", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "sha512:" + "a" * 128, "../../x", "sha256:" + "a" * 64 + "/../x"):
        assert bad("blob", fake.host, "a/b", d, 5)["code"] == "INVALID"
    for path in ("../x", "a/../b", "a b", "a?b", "A", "a%2fb", "", "a/b:c", "a@" + digest(b"")):
        assert bad("manifest", fake.host, path, "v1")["code"] == "INVALID", path
    for ref in ("../x", "a/b", "a?b", "", "x" * 129, "a:b"):
        assert bad("manifest", fake.host, "a/b", ref)["code"] == "INVALID", ref
    for host in ("127.0.0.1/x", "a@" + fake.host, "..", "a b", fake.host + "#"):
        assert bad("manifest", host, "a/b", "v1")["code"] == "INVALID", host
    assert not [r for r in fake.requests if r["path"] != "/v2/"]


def test_cancel(fake, data):
    d = fake.blob(data)
    for method, pattern, command in (("GET", "/v2/$", ("manifest", fake.host, "a/b", "v1")), ("GET", "/blobs/", ("blob", fake.host, "a/b", d, len(data))),
                                     ("GET", "/manifests/", ("manifest", fake.host, "a/b", "v1"))):
        with Fake() as f:
            f.blob(data)
            f.fault(method, pattern, Stall(None if "blobs" not in pattern else 100, times=-1))
            args = [f.host if a == fake.host else a for a in command]
            start = time.monotonic()
            e = bad("--stall", 20000, "--cancel-after", 200, *args)
            assert e["code"] == "CANCELLED" and e["error"].endswith("context canceled") and time.monotonic() - start < 5
    fake.fault("GET", "/blobs/", Status(503, times=-1))         # while it pauses between attempts
    e = bad("--backoff", 20000, "--cancel-after", 200, "blob", fake.host, "a/b", d, len(data))
    assert e["code"] == "CANCELLED"


class Flow(Fault):
    """Zeros for as long as somebody takes them."""

    def answer(self, handler, status, headers, body):
        handler.head(200, {"Content-Length": str(4 << 30)})
        try:
            while not handler.fake.over.is_set():
                handler.wfile.write(bytes(65536))
        except OSError:
            pass
        handler.close_connection = True


def test_cancel_while_it_flows(fake):
    """The leak checker of the sanitized build is what looks here: bytes and the end are met in the same moment."""
    fake.fault("GET", "/blobs/", Flow(times=-1))
    assert bad("--cancel-after", 300, "blob", fake.host, "a/b", digest(b"x"), 4 << 30)["code"] == "CANCELLED"


# ---- manifests ----

def test_manifest_is_verified(fake):
    m = fake.manifest("a/b", "v1", {"schemaVersion": 2})
    assert good("manifest", fake.host, "a/b", m)["digest"] == m
    fake.manifests["a/b", m] = (MANIFEST, b'{"schemaVersion":3}')
    assert f"manifest verification failed for digest {m}" in bad("manifest", fake.host, "a/b", m)["error"]
    fake.fault("GET", "/manifests/v1", Lie(headers={"Docker-Content-Digest": digest(b"other")}))
    assert "manifest verification failed" in bad("manifest", fake.host, "a/b", "v1")["error"]
    fake.fault("GET", "/manifests/v1", Lie(body=b"{" + b" " * (5 * MIB)))
    e = bad("manifest", fake.host, "a/b", "v1")
    assert "larger than 4194304 bytes" in e["error"]
    fake.fault("GET", "/manifests/v1", Endless())
    assert "larger than 4194304 bytes" in bad("manifest", fake.host, "a/b", "v1")["error"]
    fake.fault("GET", "/manifests/v1", Cut(), Status(502), Lie(headers={"Content-Type": "Application/VND.oci.image.index.v1+json; charset=utf-8"}))
    assert good("manifest", fake.host, "a/b", "v1")["media_type"] == "application/vnd.oci.image.index.v1+json"


@pytest.mark.parametrize("fault,code,message", [
    (Status(401, "UNAUTHORIZED", "authentication required", times=-1), "INTERNAL", "unauthorized: authentication required"),
    (Status(403, "DENIED", "requested access to the resource is denied", times=-1), "NOT_FOUND",
     "pull access denied for {host}/a/b, repository does not exist or may require 'docker login': denied: requested access to the resource is denied"),
    (Status(404, "NAME_UNKNOWN", "repository name not known to registry", times=-1), "NOT_FOUND", "repository {host}/a/b not found: name unknown: repository name not known to registry"),
    (Status(429, "TOOMANYREQUESTS", "You have reached your pull rate limit.", times=-1), "INTERNAL", "toomanyrequests: You have reached your pull rate limit."),
    (Status(500, times=-1), "INTERNAL", "received unexpected HTTP status: 500 Internal Server Error"),
    (Status(404, body=b"<html>no", times=-1), "INTERNAL", "error parsing HTTP 404 response body: invalid character '<' looking for beginning of value: \"<html>no\""),
    (Status(418, "FOO_BAR", "tea\x1b[31m\npot", times=-1), "INTERNAL", "unknown: tea [31m pot"),
    (Cut(None, times=-1), "INTERNAL", "Head \"http://{host}/v2/a/b/manifests/v1\": EOF"),
])
def test_manifest_errors_as_dockerd_words_them(fake, fault, code, message):
    fake.fault("GET", "/manifests/", fault)
    e = bad("manifest", fake.host, "a/b", "v1")
    assert (e["error"], e["code"]) == (message.format(host=fake.host), code)


def test_head_of_a_registry_that_says_little(fake):
    m = fake.manifest("a/b", "v1", {"schemaVersion": 2})
    assert good("head", fake.host, "a/b", "v1")["digest"] == m and fake.count("GET", "/manifests/") == 0
    fake.fault("HEAD", "/manifests/", Lie(headers={"Docker-Content-Digest": "sha256:../x"}), Status(405), Status(404))
    for _ in range(3):
        got = good("head", fake.host, "a/b", "v1")
        assert (got["digest"], got["len"]) == (m, len(fake.manifests["a/b", "v1"][1])) and "data" not in got
    assert fake.count("GET", "/manifests/") == 3
    assert bad("head", fake.host, "a/b", "v2")["error"] == f"manifest for {fake.host}/a/b:v2 not found: manifest unknown: manifest unknown"


def test_no_registry_there():
    e = bad("manifest", "127.0.0.1:1", "a/b", "v1")
    assert e["error"] == 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused'
    e = bad("manifest", "nosuch.invalid", "a/b", "v1")
    assert e["error"] == 'Get "https://nosuch.invalid/v2/": dial tcp: lookup nosuch.invalid: no such host'


def test_tags_over_pages(fake):
    fake.fault("GET", "a/b/tags/list$", Lie(body=b'{"name":"a/b","tags":["a","b","../evil"]}', headers={"Link": '</v2/a/b/tags/list?last=b&n=2>; rel="next"'}, times=-1))
    fake.fault("GET", "last=b", Lie(body=b'{"tags":["c"]}', headers={"Link": '<list?last=c>; rel="next"'}, times=-1))
    fake.fault("GET", "last=c", Lie(body=b'{"tags":null}', times=-1))
    assert good("tags", fake.host, "a/b")["tags"] == ["a", "b", "c"]
    fake.fault("GET", "x/y/tags/", Lie(body=b'{"tags":["a"]}', headers={"Link": '</v2/x/y/tags/list>; rel="next"'}, times=-1))
    assert "does not end" in bad("tags", fake.host, "x/y")["error"]


# ---- credentials ----

def test_credentials_do_not_follow_redirects(fake, data, tmp_path):
    """CVE-2024-3727"""
    with Fake() as other:
        d = other.blob(data)
        fake.blob(data)
        fake.fault("GET", "/v2/", Status(401, headers={"Www-Authenticate": 'Basic realm="x"'}))
        fake.fault("GET", "/blobs/", Redirect(other.url + f"/v2/x/y/blobs/{d}?sig=1"))
        got = good("--user", "u", "--password", "p", "blob", fake.host, "a/b", d, len(data))
        assert got["digest"] == d
        assert [r for r in fake.requests if "/blobs/" in r["path"]][0]["headers"]["authorization"].startswith("Basic ")
        assert other.requests and all("authorization" not in r["headers"] for r in other.requests)
        # nor do they come back, if the other host sends us there
        other.fault("GET", "/blobs/", Redirect(fake.url + f"/v2/secret/repo/blobs/{d}"))
        before = len(fake.requests)
        probe("--user", "u", "--password", "p", "--attempts", 1, "blob", fake.host, "a/b", d, len(data))
        back = [r for r in fake.requests[before:] if "secret/repo" in r["path"]]
        assert all("authorization" not in r["headers"] for r in back)


def test_redirect_and_resume(fake, data):
    with Fake() as cdn:
        d = cdn.blob(data)
        fake.fault("GET", "/blobs/", Redirect(cdn.url + f"/v2/x/y/blobs/{d}"))
        cdn.fault("GET", "/blobs/", Cut(2 * MIB), Status(503))
        assert good("blob", fake.host, "a/b", d, len(data))["digest"] == d
        assert cdn.requests[-1]["headers"]["range"] == f"bytes={2 * MIB}-"


def test_a_401_of_the_redirected_host_gets_nothing(fake, data, tmp_path):
    """It must not make us send credentials to a realm of its choice."""
    d = fake.blob(data)
    tokens = TokenServer(tmp_path / "t")
    try:
        with Fake() as cdn:
            fake.fault("GET", "/blobs/", Redirect(cdn.url + f"/v2/x/y/blobs/{d}"))
            cdn.fault("GET", "/", bearer(tokens.url))
            e = bad("--user", "u", "--password", "p", "blob", fake.host, "a/b", d, len(data))
            assert "unauthorized" in e["error"] and tokens.requests == []
    finally:
        tokens.close()


def test_expired_token_is_renewed_once(fake, tmp_path, data):
    tokens = TokenServer(tmp_path / "t", {"u": "p"})
    d = fake.blob(data)
    challenge = {"Www-Authenticate": f'Bearer realm="{tokens.url}",service="fake",error="invalid_token"'}
    try:
        fake.fault("GET", "/v2/$", bearer(tokens.url))
        fake.fault("GET", "/blobs/", Status(401, "UNAUTHORIZED", "expired", challenge), Cut(MIB), Status(401, "UNAUTHORIZED", "expired", challenge))
        assert good("--user", "u", "--password", "p", "blob", fake.host, "a/b", d, len(data))["digest"] == d
        assert len(tokens.requests) == 3
        fake.fault("GET", "/manifests/", Status(401, "UNAUTHORIZED", "no", challenge, times=-1))
        assert "unauthorized" in bad("--user", "u", "--password", "p", "manifest", fake.host, "a/b", "v1")["error"]
        assert fake.count("GET", "/manifests/") == 2
    finally:
        tokens.close()


@pytest.mark.parametrize("realm,message", [
    ("ftp://127.0.0.1/x", "invalid token auth challenge realm"), ("", "invalid token auth challenge realm"), ("/token", "invalid token auth challenge realm"),
    ("http://a:b@127.0.0.1:1/x", "invalid token auth challenge realm"), ("http://127.0.0.1:1/t", "connection refused"),
])
def test_odd_realms(fake, realm, message):
    fake.fault("GET", "/v2/$", bearer(realm))
    assert message in bad("--user", "u", "--password", "p", "manifest", fake.host, "a/b", "v1")["error"]


def test_credentials_of_a_tls_registry_are_not_sent_in_the_clear(ca, tmp_path):
    tokens = TokenServer(tmp_path / "t", {"u": "p"})
    try:
        with Fake(tls=ca.issue("tls")) as f:
            f.fault("GET", "/v2/$", bearer(tokens.url))
            assert "without TLS" in bad("--user", "u", "--password", "p", "manifest", f.host, "a/b", "v1")["error"]
            assert tokens.requests == []
            assert bad("manifest", f.host, "a/b", "v1")["code"] == "NOT_FOUND" and tokens.requests      # nothing to protect
    finally:
        tokens.close()


def test_hostile_token_answers(fake, tmp_path):
    tokens = TokenServer(tmp_path / "t", {"u": "p"})
    try:
        fake.fault("GET", "/v2/$", bearer(tokens.url))
        for body, message in (({"token": "a\r\nX-Evil: 1"}, "cannot be sent in a header"), ({"token": "x" * 200000}, "cannot be sent"), ([], "did not include a token"),
                              ({"token": 5}, "did not include a token"), ({"access_token": ""}, "did not include a token")):
            tokens.fail = [(200, body)]
            assert message in bad("--user", "u", "--password", "p", "manifest", fake.host, "a/b", "v1")["error"]
        assert not any("x-evil" in r["headers"] for r in fake.requests)
        tokens.fail = [(200, {"token": "good", "expires_in": -5})]
        assert bad("--registry-token", "given", "manifest", fake.host, "a/b", "v1")["code"] == "NOT_FOUND"
        assert fake.requests[-1]["headers"]["authorization"] == "Bearer given" and len(tokens.requests) == 5
    finally:
        tokens.close()


# ---- uploads ----

def test_upload_starts_again(fake, tmp_path, data):
    d = digest(data)
    fake.fault("PUT", "/uploads/", Cut(None), Status(500))
    fake.fault("POST", "/uploads/", Status(503))
    up = good("push", fake.host, *push_file(tmp_path, data, "a/b"))
    assert fake.blobs[d] == data and up["progress"] == len(data) and up["rewinds"] == 3
    puts = [r for r in fake.requests if r["method"] == "PUT"]
    assert all(r["headers"]["content-length"] == str(len(data)) and "_state=x%2Fy&digest=sha256%3A" in r["path"] for r in puts)


def test_upload_refused(fake, tmp_path, data):
    fake.fault("POST", "/uploads/", Status(401, "UNAUTHORIZED", "authentication required", times=-1))
    e = bad("push", fake.host, *push_file(tmp_path, data, "a/b"))
    assert e["error"].endswith("unauthorized: authentication required") and e["code"] == "UNAUTHORIZED" and e["retries"] == 0
    fake.faults.clear()
    fake.fault("POST", "/uploads/", Status(403, "DENIED", "requested access to the resource is denied", times=-1))
    assert bad("push", fake.host, *push_file(tmp_path, data, "a/b"))["error"].endswith("denied: requested access to the resource is denied")
    fake.faults.clear()
    fake.fault("PUT", "/uploads/", Cut(None, times=-1))
    e = bad("--attempts", 3, "push", fake.host, *push_file(tmp_path, data, "a/b"))
    assert e["retries"] == 2
    fake.faults.clear()
    e = bad("--source-fail", 1000, "push", fake.host, *push_file(tmp_path, data, "a/b"))
    assert "read what is to be uploaded" in e["error"] and e["retries"] == 0


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_upload_waits_as_long_as_it_is_told(fake, tmp_path, data, method):
    """Not at all when that is longer than anybody would wait; and not the pause of our own when it is shorter (which here is half a minute)."""
    fake.fault(method, "/uploads/", Status(429, "TOOMANYREQUESTS", "later", {"Retry-After": "86400"}, times=-1))
    e = bad("push", fake.host, *push_file(tmp_path, data, "a/b"))
    assert "toomanyrequests: later" in e["error"] and e["retries"] == 0, e
    fake.faults.clear()
    fake.fault(method, "/uploads/", Status(503, headers={"Retry-After": "0"}))
    assert good("--backoff", 600000, "push", fake.host, *push_file(tmp_path, data, "a/b"), timeout=20)["rewinds"] == 1
    assert fake.blobs[digest(data)] == data


def test_upload_location_of_another_host_gets_no_credentials(fake, tmp_path, data):
    with Fake() as other:
        fake.fault("GET", "/v2/$", Status(401, headers={"Www-Authenticate": 'Basic realm="x"'}))
        fake.fault("POST", "/uploads/", Lie(headers={"Location": other.url + "/v2/a/b/blobs/uploads/z"}))
        good("--user", "u", "--password", "p", "push", fake.host, *push_file(tmp_path, data, "a/b"))
        assert other.blobs[digest(data)] == data and "authorization" not in other.requests[-1]["headers"]


def test_mount(fake, data):
    d = fake.blob(data)
    assert good("mount", fake.host, "a/b", d, "c/d")["mounted"] is True
    assert f"mount=sha256%3A{d[7:]}&from=c%2Fd" in fake.requests[-1]["path"]
    assert good("mount", fake.host, "a/b", digest(b"?"), "c/d")["mounted"] is False
    assert fake.requests[-1]["method"] == "DELETE"       # the upload that was begun instead


# ---- mirrors, hosts.toml ----

def test_registry_mirrors_are_for_the_hub_alone(fake, data, tmp_path):
    m = fake.manifest("library/busybox", "v1", {"schemaVersion": 2})
    d = fake.blob(data)
    got = good("--mirror", "http://127.0.0.1:1", "--mirror", fake.url, "--user", "u", "--password", "p", "manifest", "docker.io", "library/busybox", "v1")
    assert got["digest"] == m
    assert good("--mirror", fake.url, "blob", "docker.io", "library/busybox", d, len(data))["digest"] == d
    assert all("authorization" not in r["headers"] for r in fake.requests)
    before = len(fake.requests)
    assert bad("--mirror", fake.url, "manifest", "127.0.0.1:1", "a/b", "v1")["error"].endswith("connection refused")
    assert len(fake.requests) == before


def test_credentials_are_not_for_mirrors(fake, tmp_path):
    tokens = TokenServer(tmp_path / "t", {"u": "p"})
    try:
        with Fake() as origin:
            m = origin.manifest("a/b", "v1", {"schemaVersion": 2})
            fake.fault("GET", r"/v2/\?ns=", bearer(tokens.url))
            origin.fault("GET", "/v2/$", Status(401, headers={"Www-Authenticate": 'Basic realm="x"'}, times=-1))
            hosts = hosts_dir(tmp_path / "h", "example.test", f'server = "{origin.url}"\n[host."{fake.url}"]\n  capabilities = ["pull", "resolve"]\n')
            assert good("--hosts", hosts, "--user", "u", "--password", "p", "manifest", "example.test", "a/b", "v1")["digest"] == m
            assert all("Authorization" not in r["headers"] and "account" not in r["query"] for r in tokens.requests) and tokens.requests
            assert all(not r["headers"].get("authorization", "").startswith("Basic") for r in fake.requests)
            assert origin.requests[-1]["headers"]["authorization"].startswith("Basic ")
            assert "ns=example.test" in fake.requests[-1]["path"] and "ns=" not in origin.requests[-1]["path"]
    finally:
        tokens.close()


def test_hosts_toml(fake, data, tmp_path):
    with Fake() as mirror, Fake() as pathed:
        m = fake.manifest("a/b", "v1", {"schemaVersion": 2})
        d = pathed.blob(data)
        text = f'''
server = "{fake.url}"     # the registry itself
[host."{mirror.url}"]
  capabilities = ["pull"]
  [host."{mirror.url}".header]
    x-one = "1"
    x-two = ["2", "3"]
[host."{pathed.url}/deep/v2"]
  capabilities = ["pull"]
  override_path = true
'''
        hosts = ("--hosts", hosts_dir(tmp_path / "h", "example.test:8443", text))
        assert good(*hosts, "manifest", "example.test:8443", "a/b", "v1")["digest"] == m
        assert not any("manifests" in r["path"] for r in mirror.requests)            # may not resolve
        assert good(*hosts, "blob", "example.test:8443", "a/b", d, len(data))["digest"] == d
        asked = [r for r in mirror.requests if "/blobs/" in r["path"]]
        assert asked and asked[0]["headers"]["x-one"] == "1"
        assert [r for r in pathed.requests if r["path"].startswith("/deep/v2/a/b/blobs/")]
        assert all("x-one" not in r["headers"] for r in fake.requests)
        # a mirror that dies in the middle: the next goes on where it was
        mirror.blobs[d] = data
        mirror.fault("GET", "/blobs/", Cut(2 * MIB), Status(404, "BLOB_UNKNOWN", "gone", times=-1))
        before = len(pathed.requests)
        assert good(*hosts, "blob", "example.test:8443", "a/b", d, len(data))["digest"] == d
        assert [r for r in pathed.requests[before:] if r["headers"].get("range") == f"bytes={2 * MIB}-"]
        # pushes go to the registry itself, unless a host says that it takes them
        good(*hosts, "push", "example.test:8443", *push_file(tmp_path, b"pushed", "a/b"))
        assert digest(b"pushed") in fake.blobs and digest(b"pushed") not in mirror.blobs


def test_a_mirror_that_swallows_everything_costs_its_time_once(fake, tmp_path):
    with Fake() as dead:
        dead.fault("GET", "/", Stall(None, times=-1))
        hosts = ("--hosts", hosts_dir(tmp_path / "h", "example.test", f'server = "{fake.url}"\n[host."{dead.url}"]\n'), "--stall", 600)
        assert good(*hosts, "cycle", "example.test", "a/b", 6)["us"] < 300000         # on average
        assert len(dead.requests) == 1 and fake.count("GET", "/v2/") == 6


def test_hosts_toml_default(fake, tmp_path):
    m = fake.manifest("a/b", "v1", {"schemaVersion": 2})
    hosts = hosts_dir(tmp_path / "h", "_default", f'server = "{fake.url}"\n')
    assert good("--hosts", hosts, "manifest", "anything.example", "a/b", "v1")["digest"] == m


@pytest.mark.parametrize("text,message", [
    ("server = 5\n", "server: expected a string"), ("server = \"https://x\"\nfoo = true\n", "foo: unknown key"), ("[host.x]\ncapabilities = [\"fly\"]\n", "pull, resolve and push"),
    ("server = \"https://x\n", "line 1: string does not end"), ("[[host]]\n", "arrays of tables"), ("a = 1\na = 2\n", "defined twice"), ("server = \"ftp://x\"\n", "invalid registry endpoint"),
    ("server = \"https://127.0.0.1\"\nca = \"/nonexistent.crt\"\n", "read CA certificate"), ("skip_verify = true\n", "server: is missing"),
    ("[host.\"https://x\".header]\na = \"b\\r\\nc: d\"\n", "printable"), ("[host.\"https://u:p@x\"]\n", "invalid registry endpoint"),
])
def test_hosts_toml_errors(tmp_path, text, message):
    hosts = hosts_dir(tmp_path / "h", "example.test", text)
    e = bad("--hosts", hosts, "manifest", "example.test", "a/b", "v1")
    assert message in e["error"] and "hosts.toml" in e["error"], e


def test_bad_configuration():
    for mirror, message in (("x", "no scheme"), ("ftp://x", "unsupported scheme"), ("https://u:p@x", "username/password not allowed in URI \"https://u:xxxxx@x\""),
                            ("https://x/?q", "query or fragment"), ("https://", "is not a valid URI")):
        assert message in bad("--mirror", mirror, "manifest", "docker.io", "library/x", "v1")["error"]
    for name, message in (("-x", "hyphen"), ("ftp://x", "should not contain '://'"), ("a b", "invalid host"), ("x:99999", "invalid host"), ("x/y", "invalid host")):
        assert message in bad("--insecure", name, "manifest", "docker.io", "library/x", "v1")["error"]


# ---- proxies ----

def test_proxy(fake, data):
    """The proxy is a plain server here: it sees absolute URLs. Loopback and no_proxy go past it, credentials or not."""
    seen = Fake()
    try:
        d = seen.blob(data)
        proxy = ("--http-proxy", seen.url, "--insecure", "registry.example:80", "--https-proxy", seen.url)
        assert good(*proxy, "blob", "registry.example:80", "a/b", d, len(data))["digest"] == d
        assert any(r["method"] == "CONNECT" or r["path"].startswith("http://registry.example") for r in seen.requests)
        before = len(seen.requests)
        assert "no such host" in bad(*proxy, "--no-proxy", "foo,.example", "manifest", "registry.example:80", "a/b", "v1")["error"]
        assert good(*proxy, "blob", fake.host, "a/b", fake.blob(data), len(data))["got"] == len(data)
        assert len(seen.requests) == before
    finally:
        seen.close()


# ---- search ----

def test_search(fake):
    body = json.dumps({"query": "x", "results": [{"name": "a/x", "description": "d", "star_count": 3, "is_official": True}, 5, {"name": "y"}]}).encode()
    fake.fault("GET", "/v1/search", Lie(status=200, body=body))
    assert good("search", f"{fake.host}/x y", 3)["names"] == ["a/x", "y"]
    assert fake.requests[-1]["path"] == "/v1/search?q=x%20y&n=3"
    fake.fault("GET", "/v1/search", Status(404))
    assert bad("search", f"{fake.host}/x", 0)["error"] == "Unexpected status code 404"
    fake.fault("GET", "/v1/search", Lie(status=200, body=b"[]"))
    assert bad("search", f"{fake.host}/x", 0)["error"] == "error decoding registry search results"
    assert bad("search", "x", 101)["error"] == "limit 101 is outside the range of [1, 100]"
    assert "should not have a scheme" in bad("search", "https://x/y", 1)["error"]
    fake.fault("GET", "/v1/search", Lie(status=200, body=body))
    good("--user", "u", "--password", "p", "search", f"{fake.host}/x", 1)
    assert fake.requests[-1]["headers"]["authorization"].startswith("Basic ")


# ---- resources ----

@pytest.mark.skipif(PROBE.exists() and b"__asan_init" in PROBE.read_bytes(), reason="sanitizers take memory of their own")
def test_memory_of_parallel_pulls(fake):
    big = os.urandom(32 * MIB)
    d = fake.blob(big)
    assert good("--threads", 4, "blob", fake.host, "a/b", d, len(big))["maxrss_kib"] < 24 * 1024


def test_library_comes_and_goes(fake):
    got = good("cycle", fake.host, "a/b", 30)
    assert got["us"] < 100000, got
