# SPDX-License-Identifier: Apache-2.0
"""--mount type=image: the files of an image, read-only, for as long as the container has them."""
import os
import shutil

import pytest

import imagetar as it
import rootfs
from box import ROOTFS, Boxes

pytestmark = pytest.mark.caisson
NAME = "t-mounted:1"


def image(engine, layers=3, name=NAME):
    """Files of several layers, one replaced and one removed on the way, and a directory with links."""
    stack = [rootfs.Tar().dir("dir").file("dir/low", "low").file("gone", "x").file("both", "below").symlink("dir/out", "/etc").symlink("in", "dir/low").bytes(),
             rootfs.Tar().file("both", "above").file(".wh.gone", "").bytes(),
             rootfs.Tar().file("top" + os.urandom(4).hex(), "top").bytes()][:layers]
    a = engine.http.post("/images/load", {"quiet": 1}, body=it.docker([name], *stack), headers={"Content-Type": "application/x-tar"}, rec=False)
    assert b"Loaded image" in a.body, a
    return engine.http.get(f"/images/{name}/json").json["Id"]


@pytest.fixture
def mounted(engine):
    made = Boxes(engine)
    yield made
    made.clean()
    engine.http.delete(f"/images/{NAME}", {"force": 1}, rec=False)


def host(target="/m", source=NAME, **options):
    return {"Mounts": [{"Type": "image", "Source": source, "Target": target, **({"ImageOptions": options} if options else {})}]}


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_files(engine, mounted, layers):
    image(engine, layers)
    box = mounted.run("cat /m/both /m/dir/low /m/in; ls /m | grep -c gone; touch /m/new; rm /m/both; grep -c ' /m ' /proc/mounts; grep ' /m ' /proc/mounts",
                      Host=host())
    out, err = box.logs()
    want = "below" if layers == 1 else "above"
    assert out.startswith(f"{want}lowlow{1 if layers == 1 else 0}\n1\n") and " ro," in out, (out, err)
    assert err.count("Read-only file system") == 2


def test_subpath(engine, mounted):
    image(engine)
    box = mounted.run("ls /m; cat /f", Host={"Mounts": host(Subpath="dir")["Mounts"] + host("/f", Subpath="dir/low")["Mounts"]})
    assert box.logs()[0] == "low\nout\nlow", box.logs()
    for sub, says in (("nothing", "cannot access path nothing: no such file or directory"), ("dir/out", "leads out of the image"), ("dir/out/passwd", "leads out of the image")):
        box = mounted.create("true", Host=host(Subpath=sub))
        a = engine.http.post(f"/containers/{box.id}/start")
        assert a.status == 400 and says in a.message, a
    for sub in ("../x", "/dir"):
        a = engine.http.post("/containers/create", body={"Image": ROOTFS, "HostConfig": host(Subpath=sub)})
        assert a.status == 400 and "subpath must be a relative path within the image" in a.message, a


def test_errors(engine, mounted):
    image(engine)
    create = lambda hc, **kw: engine.http.post("/containers/create", body={"Image": ROOTFS, "HostConfig": hc}, **kw)
    a = create(host(source="t-nothing:1"))
    assert a.status == 404 and a.message == "No such image: t-nothing:1"
    a = create(host(), version="1.47")
    assert a.status == 400 and a.message == 'Mount type "Image" needs API v1.48 or newer'
    a = create({"Mounts": [{"Type": "image", "Target": "/m"}]})
    assert a.status == 400 and "field Source must not be empty" in a.message
    a = create({"Mounts": [{**host()["Mounts"][0], "BindOptions": {"Propagation": "private"}}]})
    assert a.status == 400 and "field BindOptions must not be specified" in a.message


def test_in_use(engine, mounted):
    ident = image(engine)
    box = mounted.sleeper(Host=host())
    m = [x for x in box.inspect()["Mounts"] if x["Destination"] == "/m"]
    assert m == [{"Type": "image", "Name": NAME, "Source": ident, "Destination": "/m", "Mode": "", "RW": False, "Propagation": ""}], m
    a = engine.http.delete(f"/images/{NAME}")
    assert a.status == 409 and f"container {box.id[:12]} is using its referenced image" in a.message
    a = engine.http.delete(f"/images/{ident}", {"force": 1})
    assert a.status == 409 and "cannot be forced" in a.message
    assert engine.http.delete(f"/images/{NAME}", {"force": 1}).status == 200        # the name only
    engine.http.post("/images/prune")
    assert engine.http.get(f"/images/{ident}/json").status == 200
    assert box.exec("cat /m/both")[1] == "above"
    assert not [c for c in engine.http.get(f"/containers/{box.id}/changes").json or [] if c["Path"] not in ("/m",)]
    box.post("stop")
    box.start()                     # by its id, whatever its name means by now
    assert box.exec("cat /m/both")[1] == "above"
    engine.http.delete(f"/containers/{box.id}", {"force": 1})
    engine.http.delete(f"/images/{ident}")
    assert engine.http.get(f"/images/{ident}/json").status == 404


def test_forced_away(engine, mounted):
    ident = image(engine)
    box = mounted.create("true", Host=host())
    assert engine.http.delete(f"/images/{ident}").status == 409
    assert engine.http.delete(f"/images/{ident}", {"force": 1}).status == 200
    a = engine.http.post(f"/containers/{box.id}/start")
    assert a.status == 404 and "mount image t-mounted:1 at /m" in a.message and "No such image" in a.message, a


def test_survives_the_daemon(fresh):
    engine = fresh()
    ident = image(engine)
    boxes = Boxes(engine)
    box = boxes.sleeper(Host=host())
    engine.kill()
    engine.start()
    assert box.exec("cat /m/both")[1] == "above"
    assert engine.http.delete(f"/images/{ident}", {"force": 1}).status == 409
    box.post("stop")
    box.start()
    assert box.exec("cat /m/both")[1] == "above"
    boxes.clean()


def test_nothing_is_left_on_the_host(engine, mounted):
    image(engine)
    box = mounted.sleeper(Host=host())
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        assert not [x for x in f if f"{engine.data}/layers" in x]
    assert box.exec("cat /m/both")[1] == "above"


@pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")
@pytest.mark.new_docker
def test_docker_command(engine, mounted):
    image(engine)
    r = engine.cli("run", "--rm", "--mount", f"type=image,source={NAME},target=/m,image-subpath=dir", ROOTFS, "cat", "/m/low")
    assert r.returncode == 0 and r.stdout == "low", r
