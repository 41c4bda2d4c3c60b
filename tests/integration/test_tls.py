# SPDX-License-Identifier: Apache-2.0
"""-H tcp:// with --tlsverify, as the real docker client uses it; sessions stay in the daemon, since what is encrypted cannot be handed on."""
import json
import os
import shutil
import socket
import ssl
import subprocess

import pytest

from caisson_fixture import ROOTFS, Engine, wait_for

pytestmark = [pytest.mark.caisson, pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl")]


def openssl(where, *args):
    subprocess.run(["openssl", *args], cwd=where, check=True, capture_output=True, stdin=subprocess.DEVNULL)


def authority(where, name):
    openssl(where, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "2")


def certificate(where, ca, name):
    (where / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n")
    openssl(where, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    openssl(where, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", "ext")


class Secured(Engine):
    def __init__(self, certs):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        super().__init__(args=["-H", f"tcp://127.0.0.1:{self.port}", "--tlsverify", "--tlscacert", str(certs / "ca.pem"),
                               "--tlscert", str(certs / "server.pem"), "--tlskey", str(certs / "server.key")])


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    where = tmp_path_factory.mktemp("certs")
    authority(where, "ca")
    authority(where, "others")
    for ca, name in (("ca", "server"), ("ca", "client"), ("others", "stranger")):
        certificate(where, ca, name)
    for name in ("client", "stranger"):
        d = where / f"cli-{name}"
        d.mkdir()
        for source, to in (("ca.pem", "ca.pem"), (f"{name}.pem", "cert.pem"), (f"{name}.key", "key.pem")):
            shutil.copy(where / source, d / to)
    return where


@pytest.fixture(scope="module")
def secured(certs):
    engine = Secured(certs)
    try:
        yield engine.start().prepare()
    finally:
        engine.close()


def docker(engine, certs, *args, who="client", text=None):
    env = {**os.environ, "DOCKER_HOST": f"tcp://127.0.0.1:{engine.port}", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certs / f"cli-{who}")}
    return subprocess.run(["docker", *args], env=env, input=text, capture_output=True, text=True, timeout=60, check=False)


def ask(engine, certs, who, path="/_ping"):
    """Status of a request over TLS, or None when the handshake or the connection fails."""
    ctx = ssl.create_default_context(cafile=str(certs / "ca.pem"))
    if who:
        ctx.load_cert_chain(certs / f"{who}.pem", certs / f"{who}.key")
    try:
        with ctx.wrap_socket(socket.create_connection(("127.0.0.1", engine.port), 10), server_hostname="localhost") as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            return int(s.recv(4096).split()[1])
    except (OSError, IndexError):
        return None


def test_who_is_let_in(secured, certs):
    assert ask(secured, certs, "client") == 200
    assert ask(secured, certs, None) in (None, 401)
    assert ask(secured, certs, "stranger") in (None, 401)
    assert ask(secured, certs, None, "/containers/json") in (None, 401)
    with socket.create_connection(("127.0.0.1", secured.port), 10) as s:    # not TLS at all
        s.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        s.settimeout(20)
        try:
            assert not s.recv(4096).startswith(b"HTTP/1.1 200")
        except ConnectionError:
            pass
    assert secured.http.get("/_ping").status == 200     # the unix socket asks for nothing


@pytest.mark.skipif(not shutil.which("docker"), reason="no docker client")
def test_the_real_client(secured, certs):
    r = docker(secured, certs, "run", "--rm", "--network", "none", ROOTFS, "sh", "-c", "echo out; echo err >&2; exit 5")
    assert (r.returncode, r.stdout, r.stderr) == (5, "out\n", "err\n")
    r = docker(secured, certs, "run", "-i", "--rm", "--network", "none", ROOTFS, "sh", "-c", "cat; exit 3", text="typed\n" * 5000)
    assert (r.returncode, r.stdout) == (3, "typed\n" * 5000)
    assert docker(secured, certs, "run", "-d", "--name", "up", "--network", "none", ROOTFS, "sh", "-c", "echo begun; sleep 1000").returncode == 0
    r = docker(secured, certs, "exec", "-i", "up", "sh", "-c", "cat; exit 7", text="in\n")
    assert (r.returncode, r.stdout) == (7, "in\n")
    assert docker(secured, certs, "logs", "up").stdout == "begun\n"
    assert json.loads(docker(secured, certs, "inspect", "up").stdout)[0]["State"]["Running"]
    assert docker(secured, certs, "rm", "-f", "up").returncode == 0
    r = docker(secured, certs, "ps", who="stranger")
    assert r.returncode != 0 and not r.stdout.startswith("CONTAINER")


def test_half_of_the_options_is_refused(certs, tmp_path):
    """--tlsverify without what it needs: the daemon says so and does not listen."""
    engine = Engine(args=["-H", "tcp://127.0.0.1:0", "--tlsverify", "--tlscacert", str(tmp_path / "none.pem"), "--tlscert", str(certs / "server.pem"),
                          "--tlskey", str(certs / "server.key")])
    try:
        r = subprocess.run(engine._command(), capture_output=True, text=True, timeout=30, check=False)
        assert r.returncode == 1 and "none.pem" in r.stderr + r.stdout, r
    finally:
        shutil.rmtree(engine.root, ignore_errors=True)


def test_strangers_do_not_lock_others_out(secured, certs):
    """Connections that never begin a handshake, more than may wait: whoever has a certificate gets his answer."""
    held = []
    try:
        for n in range(700):
            held.append(socket.create_connection(("127.0.0.1", secured.port), 60))
            if n % 100 == 99:
                wait_for(lambda: ask(secured, certs, "client") == 200, 30, f"an answer beside {n + 1} connections")   # they end by themselves after 60 s
    finally:
        for s in held:
            s.close()
    wait_for(lambda: ask(secured, certs, "client") == 200, 30, "an answer")
