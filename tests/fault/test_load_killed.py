# SPDX-License-Identifier: Apache-2.0
"""The daemon dies in the middle of a load: the next one has the image whole or not at all, and nothing else of it."""
import hashlib
import json
import os
import random
import socket
import threading
import time

import pytest

import caisson_fixture as fx
import imagetar as it
from caisson_fixture import wait_for

pytestmark = pytest.mark.caisson
ROUNDS = int(os.environ.get("CAISSON_FAULT_ROUNDS", "20"))
SEED = int(os.environ.get("CAISSON_FAULT_SEED", str(random.randrange(1 << 30))))


def send(engine, data, pause):
    """A load in pieces, so that the end may come between any two of them."""
    try:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(engine.sock)
        sock.sendall(b"POST /images/load HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\nContent-Length: %d\r\n\r\n" % len(data))
        for at in range(0, len(data), 1 << 18):
            sock.sendall(data[at:at + (1 << 18)])
            time.sleep(pause)
        while sock.recv(65536):
            pass
    except OSError:
        pass


def referenced(engine):
    """Blobs and layers that the images of the API need, by what save puts into its archive."""
    blobs, layers = set(), set()
    for i in engine.http.get("/images/json", {"all": 1}, rec=False).json:
        a = engine.http.get("/images/get", {"names": i["Id"]}, rec=False)
        assert a.status == 200, a
        for name, data in it.read(a.body).items():
            if name.startswith("blobs/sha256/") and data is not None:
                assert hashlib.sha256(data).hexdigest() == name[13:]
                blobs.add(name[13:])
        chain = None
        for diff in engine.http.get(f"/images/{i['Id']}/json", rec=False).json["RootFS"].get("Layers") or []:
            chain = diff if chain is None else it.sha(f"{chain} {diff}".encode())
            layers.add(chain[7:])
    return blobs, layers


@pytest.mark.timeout(300)
def test_killed_during_load():
    rng = random.Random(SEED)
    print("seed", SEED)
    layers = [it.tar(*((f"d{k}/f{i}", rng.randbytes(rng.randrange(20000))) for i in range(60))) for k in range(4)]
    conf = it.config(*layers)
    data = it.docker(["t/killed:1"], *layers, conf=conf)
    engine = fx.Engine().start()
    whole = 0
    try:
        for _ in range(ROUNDS):
            client = threading.Thread(target=send, args=(engine, data, rng.choice([0, 0.002, 0.01])))
            client.start()
            time.sleep(rng.random() ** 2 * 0.4)
            engine.kill()
            client.join()
            engine.start()
            wait_for(lambda: os.listdir(engine.data / "tmp") == [], what="tmp/ is empty")
            blobs, chains = referenced(engine)
            assert sorted(os.listdir(engine.data / "content/blobs/sha256")) == sorted(blobs)
            assert sorted(os.listdir(engine.data / "layers")) == sorted(chains)
            index = json.loads((engine.data / "content/index.json").read_text())
            assert {m["digest"][7:] for m in index["manifests"]} <= blobs
            a = engine.http.get("/images/t/killed:1/json", rec=False)
            if a.status == 200:
                whole += 1
                assert a.json["Id"] == it.sha(conf)
                assert engine.http.delete("/images/t/killed:1", {"force": 1}, rec=False).status == 200
        print(f"{whole} of {ROUNDS} loads were complete before the end")
        a = engine.http.post("/images/load", body=data, headers={"Content-Type": "application/x-tar"}, rec=False)
        assert b"Loaded image: t/killed:1" in a.body
    finally:
        engine.close()
