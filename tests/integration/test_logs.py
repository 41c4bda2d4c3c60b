# SPDX-License-Identifier: Apache-2.0
"""Logs: format on disk, queries, following, rotation, drivers."""
import datetime
import glob
import json
import os
import re
import time

import pytest

from box import IS_DOCKERD, create
from caisson_fixture import wait_for
from unixhttp import demux

STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ")


def test_streams(boxes):
    b = boxes.run("echo out; echo err >&2")
    assert b.logs(stderr=0) == ("out\n", "") and b.logs(stdout=0) == ("", "err\n")


def test_no_stream_chosen(boxes, http):
    b = boxes.run("echo out")
    a = http.get(b.url + "/logs")
    assert a.status == 400 and a.message == "Bad parameters: you must choose at least one stream"


def test_content_type(boxes, http):
    b = boxes.run("echo out")
    a = http.get(b.url + "/logs", {"stdout": 1})
    assert a.headers["Content-Type"] in ("application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream",
                                         "application/octet-stream", None if IS_DOCKERD else "")


@pytest.mark.caisson
def test_content_type_1_42(boxes, http):
    b, t = boxes.run("echo out"), boxes.run("echo out", Tty=True)
    kind = "application/vnd.docker."
    assert http.get(b.url + "/logs", {"stdout": 1}, version="1.42").headers["Content-Type"] == kind + "multiplexed-stream"
    assert http.get(t.url + "/logs", {"stdout": 1}, version="1.42").headers["Content-Type"] == kind + "raw-stream"
    assert http.get(b.url + "/logs", {"stdout": 1}, version="1.41").headers["Content-Type"] == kind + "raw-stream"


def test_tty_is_raw(boxes):
    assert boxes.run("echo out; echo err >&2", Tty=True).raw_logs() == b"out\r\nerr\r\n"


@pytest.mark.parametrize("tail,expect", [("0", ""), ("1", "3\n"), ("2", "2\n3\n"), ("9", "1\n2\n3\n"), ("all", "1\n2\n3\n"),
                                         ("-1", "1\n2\n3\n"), ("x", "1\n2\n3\n")])
def test_tail(boxes, tail, expect):
    b = boxes.run("echo 1; echo 2; echo 3")
    assert b.logs(tail=tail)[0] == expect


def test_timestamps(boxes):
    out = boxes.run("echo 1; echo 2").logs(timestamps=1)[0].splitlines()
    assert all(STAMP.match(line) for line in out) and [line.split(" ")[1] for line in out] == ["1", "2"]
    assert out[0] < out[1]


def test_since_and_until(boxes):
    b = boxes.run("echo 1; sleep 0.05; echo 2")
    first, second = [l.split(" ")[0] for l in b.logs(timestamps=1)[0].splitlines()]

    def unix(stamp):
        whole, frac = stamp[:-1].split(".")
        t = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc)
        return f"{int(t.timestamp())}.{frac}"
    assert b.logs(since=unix(second))[0] == "2\n"
    assert b.logs(until=unix(first))[0] in ("1\n", "")
    assert b.logs(since=str(int(time.time()) + 100))[0] == ""


def test_follow_ends_with_the_container(boxes):
    b = boxes.start("echo 1; read x; echo 2", OpenStdin=True, StdinOnce=True, AttachStdin=True)
    r = b.http.stream("GET", b.url + "/logs", {"stdout": 1, "follow": 1}, timeout=15)
    assert demux(r.read1(100))[0] == b"1\n"
    with b.attach(stdout=0, stderr=0) as h:
        h.send(b"go\n")
        assert demux(r.read())[0] == b"2\n"
    r.connection.close()


def test_follow_from_the_tail(boxes):
    b = boxes.start("echo 1; echo 2; read x; echo 3", OpenStdin=True)
    b.wait_log("2")
    r = b.http.stream("GET", b.url + "/logs", {"stdout": 1, "follow": 1, "tail": 1}, timeout=15)
    assert demux(r.read1(100))[0] == b"2\n"
    with b.attach(stdout=0, stderr=0) as h:
        h.send(b"\n")
        assert demux(r.read())[0] == b"3\n"
    r.connection.close()


def test_follow_before_start(boxes):
    b = boxes.create("echo 1")
    r = b.http.stream("GET", b.url + "/logs", {"stdout": 1, "follow": 1}, timeout=15)
    assert r.status == 200
    r.connection.close()


def test_json_file_format(boxes):
    b = boxes.run(r"printf 'a\042b\\c\t\001é\n'; echo err >&2; printf nonewline")
    lines = [json.loads(l) for l in open(b.inspect()["LogPath"], encoding="utf-8")]
    got = {(l["stream"], l["log"]) for l in lines}
    assert got == {("stdout", 'a"b\\c\t\x01é\n'), ("stderr", "err\n"), ("stdout", "nonewline")}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z", l["time"]) for l in lines)


def test_json_file_is_for_root_only(boxes):
    path = boxes.run("echo x").inspect()["LogPath"]
    assert os.stat(path).st_mode & 0o077 in (0, 0o040)


def test_partial_lines_are_16_kib(boxes):
    b = boxes.run("head -c 40000 /dev/zero | tr '\\0' x; echo")
    sizes = [len(json.loads(l)["log"]) for l in open(b.inspect()["LogPath"], encoding="utf-8")]
    assert sizes == [16384, 16384, 40000 - 32768 + 1]
    assert b.out == "x" * 40000 + "\n"


def test_exactly_16_kib_line(boxes):
    b = boxes.run("head -c 16384 /dev/zero | tr '\\0' x; echo; echo y")
    assert b.out == "x" * 16384 + "\ny\n"


def test_invalid_utf8_is_replaced_in_json(boxes):
    b = boxes.run(r"printf '\377ok\n'")
    assert json.loads(open(b.inspect()["LogPath"], encoding="utf-8").read())["log"] == "\ufffdok\n"


def test_labels_and_env_in_log(boxes):
    b = boxes.run("echo x", Labels={"a": "1"}, Env=["E=2"],
                  Host={"LogConfig": {"Type": "json-file", "Config": {"labels": "a", "env": "E"}}})
    assert json.loads(open(b.inspect()["LogPath"]).read())["attrs"] == {"a": "1", "E": "2"}
    assert b.logs(details=1)[0] == "E=2,a=1 x\n"


def test_rotation(boxes):
    b = boxes.run("i=0; while [ $i -lt 400 ]; do echo line $i 0123456789012345678901234567890123456789; i=$((i+1)); done",
                  Host={"LogConfig": {"Type": "json-file", "Config": {"max-size": "10k", "max-file": "3"}}})
    path = b.inspect()["LogPath"]
    files = sorted(glob.glob(path + "*"))
    assert files == [path, path + ".1", path + ".2"]
    assert all(os.path.getsize(f) < 11000 for f in files)
    out = b.out.splitlines()
    assert out[-1].startswith("line 399 ")
    first = int(out[0].split()[1])
    assert [int(l.split()[1]) for l in out] == list(range(first, 400))
    assert b.logs(tail=1)[0].startswith("line 399 ")


def test_rotation_compressed(boxes):
    b = boxes.run("i=0; while [ $i -lt 400 ]; do echo line $i 0123456789012345678901234567890123456789; i=$((i+1)); done; sleep 0.2",
                  Host={"LogConfig": {"Type": "json-file", "Config": {"max-size": "10k", "max-file": "3", "compress": "true"}}})
    path = b.inspect()["LogPath"]
    assert [f for f in glob.glob(path + ".*") if f.endswith(".gz")]
    out = b.out.splitlines()
    first = int(out[0].split()[1])
    assert [int(l.split()[1]) for l in out] == list(range(first, 400)) and first < 350


@pytest.mark.caisson
def test_compressor_is_no_better_protected_than_others(boxes):
    """The worker hardly ever is a victim of the OOM killer; what it compresses can be compressed again."""
    b = boxes.start("head -c 40000000 /dev/urandom | base64; sleep 1000",
                    Host={"LogConfig": {"Type": "json-file", "Config": {"max-size": "48m", "max-file": "3", "compress": "true"}}})
    worker = int(open(f"/proc/{b.pid}/stat").read().rsplit(")", 1)[1].split()[1])

    def compressors():
        for pid in open(f"/proc/{worker}/task/{worker}/children").read().split():
            try:
                if open(f"/proc/{pid}/comm").read() == "caisson-log\n":
                    yield int(open(f"/proc/{pid}/oom_score_adj").read())
            except OSError:
                pass
    assert wait_for(lambda: list(compressors()), 60, "the compressor", step=0.002) == [0]


@pytest.mark.caisson
def test_rotation_is_on_by_default(boxes):
    config = boxes.create("true").inspect()["HostConfig"]["LogConfig"]["Config"]
    assert config is not None       # the default limits need not be shown, but the flood test relies on them


def test_driver_local(boxes):
    b = boxes.run("echo out; echo err >&2; printf nonewline", Host={"LogConfig": {"Type": "local", "Config": {}}})
    assert b.logs()[1] == "err\n" and b.logs(tail=1)[0] in ("nonewline", "nonewline\n") and b.logs()[0].startswith("out\nnonewline")
    assert STAMP.match(b.logs(timestamps=1)[0])


def test_driver_none(boxes, http):
    b = boxes.run("echo out", Host={"LogConfig": {"Type": "none", "Config": {}}})
    a = http.get(b.url + "/logs", {"stdout": 1})
    assert a.status in (500, 501) or b"configured logging driver does not support reading" in a.body, a
    assert b"configured logging driver does not support reading" in a.body


def test_unknown_driver(engine):
    a = create(engine, "true", Host={"LogConfig": {"Type": "nosuch", "Config": {}}})
    assert a.status in (400, 500) and "nosuch" in a.message


@pytest.mark.parametrize("opts", [{"nosuch": "1"}, {"max-size": "abc"}, {"max-file": "0"}, {"compress": "maybe"}])
def test_bad_log_options(engine, boxes, opts):
    a = create(engine, "true", Host={"LogConfig": {"Type": "json-file", "Config": opts}})
    if a.status == 201:     # some are only found when the driver starts
        from box import Box
        b = Box(engine, a.json["Id"])
        a = b.post("start")
        b.rm()
    assert a.status in (400, 500) and a.message


def test_logs_of_unknown(http):
    a = http.get("/containers/nosuch/logs", {"stdout": 1})
    assert a.status == 404 and a.message == "No such container: nosuch"


def test_docker_py_stream(client, boxes):
    b = boxes.start("for i in 1 2 3; do echo $i; done")
    assert b"".join(client.containers.get(b.id).logs(stream=True, follow=True)) == b"1\n2\n3\n"


@pytest.mark.timeout(120)
def test_large_log_loses_nothing(boxes):
    import hashlib
    b = boxes.start("seq 1 300000", Host={"LogConfig": {"Type": "json-file", "Config": {}}})
    assert b.wait(timeout=100) == 0
    want = hashlib.sha256("".join(f"{i}\n" for i in range(1, 300001)).encode()).hexdigest()
    out = demux(b.raw_logs())[0]
    assert hashlib.sha256(out).hexdigest() == want, len(out)
