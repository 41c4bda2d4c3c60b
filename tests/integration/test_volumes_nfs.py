# SPDX-License-Identifier: Apache-2.0
"""Volumes of type nfs against the kernel's own server: runs where the kernel has both ends (scripts/vm-test)."""
import subprocess
from pathlib import Path

import pytest

from box import Boxes
from caisson_fixture import wait_for
from nfsd import Nfsd, missing

why = missing()
pytestmark = [pytest.mark.caisson, pytest.mark.skipif(bool(why), reason=why or "")]
OPTS = "vers=4,soft,timeo=100"


@pytest.fixture
def export(tmp_path_factory):
    """The server's directory, a file system of its own."""
    at = tmp_path_factory.mktemp("export")
    subprocess.run(["mount", "-t", "tmpfs", "export", str(at)], check=True)
    (at / "hello").write_text("from the server\n")
    (at / "dir").mkdir()
    try:
        with Nfsd(at):
            yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=False)


def mounted(engine, name):
    at = f"{engine.data}/volumes/{name}/_data"
    return [x.split(" - ")[1] for x in Path("/proc/self/mountinfo").read_text().splitlines() if x.split()[4] == at]


def volume(engine, name, device=":/", addr="127.0.0.1"):
    a = engine.http.post("/volumes/create", body={"Name": name, "DriverOpts": {"type": "nfs", "device": device, "o": f"addr={addr},{OPTS}"}})
    assert a.status == 201, a


def test_nfs(fresh, export):
    engine = fresh()
    boxes = Boxes(engine)
    volume(engine, "shares", addr="localhost")      # the kernel knows addresses only
    box = boxes.run("cat /v/hello; echo written >/v/new; mkdir /v/dir/sub; stat -f -c %T /v", Host={"Binds": ["shares:/v"]})
    assert box.logs() == ("from the server\nnfs\n", "") and (export / "new").read_text() == "written\n"
    wait_for(lambda: not mounted(engine, "shares"), what="it is unmounted after its last use")

    one, two = boxes.sleeper(Host={"Binds": ["shares:/v"]}), boxes.sleeper(Host={"Mounts": [
        {"Type": "volume", "Source": "shares", "Target": "/v", "ReadOnly": True, "VolumeOptions": {"Subpath": "dir"}}]})
    assert len(mounted(engine, "shares")) == 1 and "addr=127.0.0.1" in mounted(engine, "shares")[0]
    assert two.exec("ls /v")[1] == "sub\n" and "Read-only" in two.exec("touch /v/x")[2]
    assert engine.http.delete("/volumes/shares").status == 409
    assert two.post("stop").status == 204 and one.exec("cat /v/new")[1] == "written\n"
    engine.kill()
    assert mounted(engine, "shares")                # containers go on
    engine.start()
    assert one.exec("cat /v/new")[1] == "written\n"
    assert one.post("stop").status == 204
    wait_for(lambda: not mounted(engine, "shares"), what="the next engine unmounts it")
    boxes.clean()
    assert engine.http.delete("/volumes/shares").status == 204 and (export / "new").exists()


def test_what_fails(fresh, export):
    engine = fresh()
    boxes = Boxes(engine)
    volume(engine, "nowhere", device=":/nowhere")
    a = boxes.create("true", Host={"Binds": ["nowhere:/v"]}).post("start")
    assert a.status == 500 and a.message.endswith(f"failed to mount local volume: mount :/nowhere:{engine.data}/volumes/nowhere/_data, data: addr=127.0.0.1,{OPTS}: "
                                                  "no such file or directory"), a
    assert not mounted(engine, "nowhere")
    boxes.clean()
