# SPDX-License-Identifier: Apache-2.0
"""/events: order, content, filters, since and until."""
import json
import time

from box import Events


def test_order_of_a_life(boxes, events):
    b = boxes.run("true")
    b.rm()
    events.until("destroy", b.id)
    assert [a for a in events.actions(b.id)] in (["create", "start", "die", "destroy"], ["create", "attach", "start", "die", "destroy"])


def test_forced_removal_kills_and_does_not_stop(boxes, events):
    b = boxes.sleeper()
    b.rm()
    events.until("destroy", b.id)
    assert [a for a in events.actions(b.id) if a not in ("attach", "disconnect")] == ["create", "start", "kill", "die", "destroy"]


def test_content(boxes, events, http):
    since = time.time()
    b = boxes.run("exit 4", name="ev-content", Labels={"l": "v"})
    e = events.until("die", b.id)
    assert e["Type"] == "container" and e["scope"] == "local" and e["Actor"]["ID"] == b.id
    attr = e["Actor"]["Attributes"]
    assert attr["name"] == "ev-content" and attr["image"] == "caisson-test/rootfs:latest" and attr["exitCode"] == "4" and attr["l"] == "v"
    # these three went away with API 1.52
    old = http.get("/events", {"since": f"{since:.9f}", "until": f"{time.time() + 0.01:.9f}", "filters": {"container": [b.id], "event": ["die"]}}, version="1.41", rec=False)
    e = json.loads(old.body.decode().splitlines()[0])
    assert e["status"] == "die" and e["id"] == b.id and e["from"] == "caisson-test/rootfs:latest"
    assert abs(e["time"] - time.time()) < 60 and e["timeNano"] // 10**9 == e["time"]


def test_filters(engine, boxes):
    with Events(engine, event=["die"], label=["pick=1"]) as ev:
        boxes.run("true")
        b = boxes.run("true", Labels={"pick": "1"})
        ev.until("die", b.id)
        assert [e["Actor"]["ID"] for e in ev.seen] == [b.id]
    with Events(engine, type=["image"]) as ev:
        boxes.run("true")
        engine.http.post("/images/caisson-test/rootfs/tag", {"repo": "t-evfilter"})
        ev.until("tag")
        assert {e["Type"] for e in ev.seen} == {"image"}
        engine.http.delete("/images/t-evfilter")


def test_since_until(http, boxes):
    start = time.time()
    b = boxes.run("exit 0")
    a = http.get("/events", {"since": f"{start:.9f}", "until": f"{time.time() + 0.01:.9f}", "filters": {"container": [b.id]}}, rec=False)
    events = [json.loads(l) for l in a.body.decode().splitlines()]
    assert [e["Action"] for e in events] == ["create", "start", "die"]


def test_bad_queries(http):
    assert http.get("/events", {"since": "x"}).status in (400, 500)
    assert http.get("/events", {"filters": "{", "until": "1"}).status in (400, 500)
    a = http.get("/events", {"since": "200", "until": "100"})
    assert a.status == 400 and "`since` time" in a.message


def test_exec_and_top_events(boxes, events):
    b = boxes.sleeper()
    b.exec(["true"])
    b.exec(["sh", "-c", "exit 0"])
    b.http.get(b.url + "/top")
    events.until("top", b.id)
    got = events.actions(b.id)
    for want in ("exec_create: true ", "exec_start: true ", "exec_create: sh -c exit 0", "exec_start: sh -c exit 0", "top"):
        assert want in got, got
