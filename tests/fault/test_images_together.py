# SPDX-License-Identifier: Apache-2.0
"""Everything that images know, at the same time and with the same few layers: pulls, pushes, loads, saves, imports, commits, tags, removals, prunes, df and
repairs, by clients of whom many leave at a random moment. Nothing is refused that could be done, what is told as done is there, and in the end rows and
files agree. Then the same with a daemon that is killed."""
import http.client
import io
import os
import random
import socket
import tarfile
import threading
import urllib.parse

import pytest

import images
import imagetar as it
import rootfs
from caisson_fixture import wait_for
from images import busybox, files, pull, put
from registry import Fake
from test_images_killed import check

pytestmark = pytest.mark.caisson
SEED = int(os.environ.get("CAISSON_FAULT_SEED", str(random.randrange(1 << 30))))
ROUNDS = int(os.environ.get("CAISSON_FAULT_ROUNDS", "30"))
THREADS, STEPS = 6, 80
ARCHS = ["amd64", "arm64"]
TAR = {"Content-Type": "application/x-tar"}
GONE = (OSError, http.client.HTTPException)     # the daemon, or the connection


class World:
    """A registry with images that share layers, archives that have the same ones, and a container to commit."""

    def __init__(self, engine, fake, rng):
        self.engine, self.fake, self.failed = engine, fake, []
        shared = [files(**{f"s{i}": rng.randbytes(20000).hex()}) for i in range(3)]
        own = [[files(**{f"o{i}": rng.randbytes(10000).hex()})] for i in range(5)]
        self.names = []
        for i, mine in enumerate(own):
            put(fake, f"r{i}", "1", shared[:i % 4] + mine)
            self.names.append(f"{fake.host}/r{i}:1")
        self.index = self.put_index(shared, files(o=rng.randbytes(10000).hex()), files(o=rng.randbytes(10000).hex()))
        self.names += [self.index] * 2
        self.archives = [it.docker([self.names[i]], *[l.tar for l in shared[:i % 4] + own[i]]) for i in range(4)]
        self.layout = it.Layout()
        self.layout = self.layout.add(self.layout.image(*[l.tar for l in shared]), "docker.io/t/layout:1").bytes()
        self.keep = f"{fake.host}/keep:1"
        layers = [busybox(), *shared]
        put(fake, "keep", "1", layers, conf=images.config(layers, config={"Cmd": ["true"], "Env": ["PATH=/bin"], "Labels": {"keep": "1"}}))
        assert not pull(engine.http, *self.keep.rsplit(":", 1)).error
        a = engine.http.post("/containers/create", {"name": "committed"}, body={"Image": self.keep, "HostConfig": {"NetworkMode": "none"}})
        assert a.status == 201, a
        assert engine.http.put("/containers/committed/archive", {"path": "/"}, it.tar(("own", rng.randbytes(30000)))).status == 200

    def put_index(self, shared, *own):
        """Two platforms, and what BuildKit says about one of them."""
        entries = []
        for arch, layer in zip(ARCHS, own):
            layers = [*shared[:2], layer]
            m = images.manifest(self.fake, layers, oci=True, conf=images.config(layers, arch=arch))
            entries.append(images.entry(self.fake, "index", m, {"os": "linux", "architecture": arch}))
        entries.append(images.attestation(self.fake, "index", entries[0]))
        self.fake.manifest("index", "1", {"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": entries}, images.OCI_INDEX)
        return f"{self.fake.host}/index:1"

    def expect(self, what, answer, *good):
        if answer.status not in good:
            self.failed.append(f"{what}: {answer}")

    # each: a client that waits for its answer, or that leaves at some moment
    def leave(self, rng, method, path, body=b"", headers=()):
        """Some of the request, some of the answer."""
        head = f"{method} {path} HTTP/1.1\r\nHost: d\r\nContent-Length: {len(body)}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in dict(headers).items())
        data = head.encode() + b"\r\n" + body
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            s.connect(self.engine.sock)
            s.sendall(data if rng.random() < 0.6 else data[:rng.randrange(len(data))])
            s.settimeout(rng.random() * 0.05)
            try:
                for _ in range(rng.randrange(4)):
                    if not s.recv(rng.choice([1, 1000, 100000])):
                        break
            except TimeoutError:
                pass

    def pull(self, rng, name, left):
        if left:
            self.leave(rng, "POST", "/images/create?fromImage=" + urllib.parse.quote(name, safe=""))
            return
        platform = {"platform": "linux/" + rng.choice(ARCHS)} if name == self.index and rng.random() < 0.7 else {}
        lines = pull(self.engine.http, *name.rsplit(":", 1), **platform)
        if lines.error or lines.status != 200:
            self.failed.append(f"pull {name}: {lines}")

    def push(self, rng, name, left):
        repo, tag = name.rsplit(":", 1)
        if name == self.index:      # what is here of it: the registry's own stays whole
            repo = f"{self.fake.host}/copy"
            self.expect("tag", self.engine.http.post(f"/images/{name}/tag", {"repo": repo, "tag": tag}, rec=False), 201, 404)
        if left:
            self.leave(rng, "POST", f"/images/{repo}/push?tag={tag}", headers=images.auth_header())
            return
        lines = images.push(self.engine.http, repo, tag)
        if lines.error and "does not exist" not in lines.error:      # removed by somebody else
            self.failed.append(f"push {name}: {lines}")

    def load(self, rng, name, left):
        body = rng.choice([*self.archives, self.layout])
        if left:
            self.leave(rng, "POST", "/images/load", body, TAR)
            return
        lines = images.Lines(self.engine.http.post("/images/load", {"quiet": rng.randrange(2)}, body, headers=TAR, rec=False))
        if lines.error or "Loaded image" not in lines[-1].get("stream", ""):
            self.failed.append(f"load: {lines}")

    def save(self, rng, name, left):
        names = [name, self.keep]
        if left:
            self.leave(rng, "GET", "/images/get?" + urllib.parse.urlencode({"names": names}, doseq=True))
            return
        a = self.engine.http.get("/images/get", {"names": names}, rec=False)
        self.expect("save", a, 200, 404)
        if a.status == 200:
            with tarfile.open(fileobj=io.BytesIO(a.body)) as t:
                for m in t:
                    digest = m.name.removeprefix("blobs/sha256/")
                    if m.isfile() and digest != m.name and it.sha(t.extractfile(m).read()) != "sha256:" + digest:
                        self.failed.append(f"saved {m.name}: other bytes")

    def import_(self, rng, name, left):
        body = rootfs.Tar().file("f", rng.randbytes(rng.choice([10, 300000]))).bytes()
        if left:
            self.leave(rng, "POST", "/images/create?fromSrc=-&repo=imported", body, TAR)
            return
        a = self.engine.http.post("/images/create", {"fromSrc": "-", "repo": "imported", "tag": str(rng.randrange(3))}, body, headers=TAR, rec=False)
        if images.Lines(a).error:
            self.failed.append(f"import: {a}")

    def commit(self, rng, name, left):
        if left:
            self.leave(rng, "POST", "/commit?container=committed&repo=made")
            return
        self.expect("commit", self.engine.http.post("/commit", {"container": "committed", "repo": "made", "tag": str(rng.randrange(3))}, body={}, rec=False), 201)

    def remove(self, rng, name, left):
        if name == self.index and rng.random() < 0.5:
            one = {"platforms": '{"os":"linux","architecture":"%s"}' % rng.choice(ARCHS)}
            self.expect("remove a platform", self.engine.http.delete(f"/images/{name}", {"force": rng.randrange(2), **one}, rec=False), 200, 404, 409)
            return
        name = rng.choice([name, name, "made:1", "imported:1", "t/layout:1"])
        self.expect("remove", self.engine.http.delete(f"/images/{name}", {"force": rng.randrange(2)}, rec=False), 200, 404, 409)

    def prune(self, rng, name, left):
        self.expect("prune", self.engine.http.post("/images/prune", {"filters": {"dangling": [rng.choice(["true", "false"])], "label!": ["keep"]}}, rec=False), 200, 409)

    def look(self, rng, name, left):
        for path in ("/system/df", "/images/json?all=1&shared-size=1", "/images/json?manifests=1"):
            self.expect(path, self.engine.http.get(path, rec=False), 200)
        for path in (f"/images/{name}/json", f"/images/{name}/history"):
            self.expect(path, self.engine.http.get(path, rec=False), 200, 404)
        for i in self.engine.http.get("/images/json?all=1", rec=False).json:
            self.expect("inspect", self.engine.http.get(f"/images/{i['Id']}/json", rec=False), 200, 404)

    def repair(self, rng, name, left):
        a = self.engine.http.post("/system/check", {"repair": 1, "deep": rng.randrange(2)}, rec=False)
        self.expect("check", a, 200)
        if a.status == 200:
            self.failed += [f"check: {p}" for p in a.json["Problems"] if p["Kind"] not in ("blob-unused", "layer-unused")]

    def tag(self, rng, name, left):
        self.expect("tag", self.engine.http.post(f"/images/{name}/tag", {"repo": "made", "tag": str(rng.randrange(3))}, rec=False), 201, 404)

    def container(self, rng, name, left):
        a = self.engine.http.post("/containers/create", body={"Image": name, "Cmd": ["x"]}, rec=False)
        self.expect("create", a, 201, 404)
        if a.status == 201:
            box = "/containers/" + a.json["Id"]
            out = self.engine.http.get(box + "/export", rec=False)
            self.expect("export", out, 200)
            self.expect("rm", self.engine.http.delete(box, rec=False), 204)
            if not any(n.startswith("o") for n in tarfile.open(fileobj=io.BytesIO(out.body)).getnames()):
                self.failed.append(f"a container of {name} lacks its files")

    WORK = [(pull, 6), (push, 2), (load, 3), (save, 2), (import_, 1), (commit, 2), (remove, 5), (prune, 2), (look, 1), (repair, 2), (tag, 1), (container, 2)]

    def client(self, seed, steps, over):
        """Until all is done, or the daemon is gone."""
        rng = random.Random(seed)
        for _ in range(steps):
            fn = rng.choices([f for f, _ in self.WORK], [n for _, n in self.WORK])[0]
            if over.is_set():
                return
            try:
                fn(self, rng, rng.choice(self.names), rng.random() < 0.3)
            except GONE as err:
                if not over.is_set():
                    self.failed.append(f"{fn.__name__}: {err!r}")
                    return
            except (ValueError, tarfile.TarError, KeyError, TypeError) as err:       # half an answer
                if not over.is_set():
                    self.failed.append(f"{fn.__name__}: {err!r}")

    def all_together(self, rng, steps):
        over = threading.Event()
        threads = [threading.Thread(target=self.client, args=(rng.randrange(1 << 30), steps, over)) for _ in range(THREADS)]
        for t in threads:
            t.start()
        return over, threads

    def settled(self):
        """Nothing is on its way any more."""
        def agree():
            try:
                check(self.engine)
            except (AssertionError, OSError) as err:
                self.why = err
                return False
            return True
        for c in self.engine.http.get("/containers/json", {"all": 1}).json:     # those that a kill left: they keep layers, also of images that are gone
            if c["Names"] != ["/committed"]:
                assert self.engine.http.delete("/containers/" + c["Id"]).status == 204
        assert self.engine.http.post("/images/prune", {"filters": {"dangling": ["false"], "label!": ["keep"]}}, rec=False).status == 200
        try:
            wait_for(agree, 20, "rows and files that agree")
        except AssertionError:
            raise AssertionError(f"{self.why}\n{self.engine.tail(20)}") from None
        a = self.engine.http.post("/containers/create", body={"Image": self.keep, "HostConfig": {"NetworkMode": "none"}})
        assert a.status == 201, a
        box = "/containers/" + a.json["Id"]
        assert self.engine.http.post(box + "/start").status == 204 and self.engine.http.post(box + "/wait").json["StatusCode"] == 0
        self.engine.http.delete(box)


@pytest.fixture
def world(fresh):
    print("CAISSON_FAULT_SEED", SEED)
    engine = fresh()
    with Fake() as fake:
        yield World(engine, fake, random.Random(SEED))


@pytest.mark.timeout(600)
def test_all_at_once(world):
    _, threads = world.all_together(random.Random(SEED), STEPS)
    for t in threads:
        t.join()
    assert world.engine.alive(), world.engine.tail()
    assert not world.failed, "\n".join(world.failed[:10])
    world.settled()


@pytest.mark.timeout(600)
def test_killed_in_the_midst(world):
    rng = random.Random(SEED)
    for n in range(max(1, ROUNDS // 5)):
        over, threads = world.all_together(rng, 1000)
        over.wait(rng.random())
        over.set()          # what fails from now on is the kill's
        world.engine.kill()
        for t in threads:
            t.join()
        assert not world.failed, f"round {n}: " + "\n".join(world.failed[:10])
        world.engine.start()
        world.settled()
