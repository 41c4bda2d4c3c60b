# SPDX-License-Identifier: Apache-2.0
"""SIGKILL of the daemon while files are copied in and out: nothing stays mounted, the next engine takes the container as it is."""
import socket
import time

import pytest

import rootfs
from archive import content, get, put, raw_names
from box import Boxes

pytestmark = pytest.mark.caisson


@pytest.mark.parametrize("state", ["created", "running"])
@pytest.mark.parametrize("way", ["in", "out"])
def test_killed_during_a_copy(fresh, state, way):
    engine = fresh()
    boxes = Boxes(engine)
    box = boxes.create("sleep 1000")
    assert put(box, "/tmp", rootfs.Tar().file("before", b"b" * (4 << 20))).status == 200
    if state == "running":
        box.start()
    data = rootfs.Tar().file("small", "whole").file("big", b"x" * (8 << 20)).bytes()
    s = socket.socket(socket.AF_UNIX)
    s.connect(engine.sock)
    if way == "in":
        s.sendall(f"PUT {box.url}/archive?path=/tmp HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data[:6 << 20])
    else:
        s.sendall(f"GET {box.url}/archive?path=/tmp HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        s.recv(1000)
    time.sleep(0.3)
    engine.kill()
    s.close()
    engine.start()
    assert not engine.mounts()
    assert box.state["Running"] == (state == "running")
    assert put(box, "/tmp", rootfs.Tar().file("after", "a")).status == 200
    assert content(box, "/tmp/before") == b"b" * (4 << 20) and content(box, "/tmp/after") == b"a"
    if way == "in":
        assert content(box, "/tmp/small") == b"whole"
    if state == "created":
        box.start()
    assert box.exec("cat /tmp/after")[1] == "a"
    assert "tmp/before" in raw_names(get(box, "/tmp").body)
    boxes.clean()
