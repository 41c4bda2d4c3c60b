# SPDX-License-Identifier: Apache-2.0
"""What commands ask of the engine, print and exit with, against what Docker's client 28 was seen to do with the same engine (tests/lib/fakeengine.py).

tests/golden/requests.json holds Docker's side: {command line: [exit code, stdout, stderr, requests]}, made by CAISSON_UPDATE_GOLDEN_REQUESTS=1 with the docker
command; where one of that release is installed, a test sees whether it still holds. `create` and `run` have test_cli_create.py.

What differs on purpose is said once, in `differences`."""
import json
import os
import re
import shlex
import shutil
import struct
import subprocess
import time
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

import caisson_fixture as fx
from fakeengine import ID, FakeEngine, ordered

GOLDEN = Path(__file__).parents[1] / "golden" / "requests.json"


def frame(fd, data):
    return struct.pack(">BxxxI", fd, len(data)) + data


def listed(*things):
    return 200, json.dumps(things).encode()


def container(ident, **state):
    return 200, {"Id": ident, "Name": "/web", "State": {"Running": True, "Status": "running", **state}, "Config": {"Tty": False, "OpenStdin": True, "Image": "busybox"},
                 "HostConfig": {"AutoRemove": False, "NetworkMode": "default"}, "NetworkSettings": {"Networks": {}, "Ports": {}}, "Image": "sha256:" + "1" * 64}


SAMPLE = {"read": "2026-01-01T00:00:02Z", "name": "/web", "id": ID, "cpu_stats": {"cpu_usage": {"total_usage": 300000000, "percpu_usage": [1, 2]}, "system_cpu_usage": 4000000000},
          "precpu_stats": {"cpu_usage": {"total_usage": 100000000}, "system_cpu_usage": 2000000000},
          "memory_stats": {"usage": 50 << 20, "limit": 1 << 30, "stats": {"inactive_file": 5 << 20, "total_inactive_file": 10 << 20}}, "pids_stats": {"current": 7},
          "blkio_stats": {"io_service_bytes_recursive": [{"op": "read", "value": 4096}, {"op": "Write", "value": 1500000}, {"op": "Read", "value": 1}, {"op": "", "value": 1}]},
          "networks": {"eth0": {"rx_bytes": 1234, "tx_bytes": 5678}, "eth1": {"rx_bytes": 1, "tx_bytes": 2}}}
TWO = "2" * 64
WORDS = {"message": "No such container: gone"}
ANSWERS = {
    **{(m, "/containers/gone" + p): (404, WORDS) for m in ("GET", "POST", "DELETE", "PUT", "HEAD")
       for p in ("", "/json", "/start", "/stop", "/restart", "/kill", "/pause", "/unpause", "/wait", "/logs", "/stats", "/exec", "/attach", "/rename", "/update", "/top", "/changes", "/export", "/archive")},
    ("DELETE", "/containers/busy"): (409, {"message": "cannot remove container: it is running"}),
    ("POST", "/containers/idle/kill"): (409, {"message": "container idle is not running"}),
    ("GET", "/containers/web/json"): container(ID), ("GET", f"/containers/{ID}/json"): container(ID),
    ("GET", "/containers/idle/json"): container(TWO, Running=False, Status="exited"),
    ("GET", f"/containers/{TWO}/json"): container(TWO, Running=False, Status="exited"),
    ("GET", "/containers/paused/json"): container("3" * 64, Paused=True, Status="paused"),
    ("GET", f"/containers/{ID}/logs"): (200, frame(1, b"out\n") + frame(2, b"err\n")), ("GET", "/containers/web/logs"): (200, frame(1, b"out\n") + frame(2, b"err\n")),
    ("POST", "/containers/web/wait"): (200, {"StatusCode": 3}), ("POST", f"/containers/{ID}/wait"): (200, {"StatusCode": 3}),
    ("POST", "/containers/idle/wait"): (200, {"StatusCode": 0}), ("POST", f"/containers/{TWO}/wait"): (200, {"StatusCode": 7}),
    ("POST", "/containers/web/attach"): (101, frame(1, b"attached\n")), ("POST", f"/containers/{ID}/attach"): (101, frame(1, b"attached\n")),
    ("POST", "/containers/idle/attach"): (101, frame(2, b"started\n")), ("POST", f"/containers/{TWO}/attach"): (101, frame(2, b"started\n")),
    ("POST", "/containers/web/exec"): (201, {"Id": "e1"}), ("POST", "/exec/e1/start"): (101, frame(1, b"hello\n") + frame(2, b"world\n")),
    ("GET", "/exec/e1/json"): (200, {"ID": "e1", "ExitCode": 4, "Running": False}),
    ("POST", "/containers/plain/exec"): (201, {"Id": "e2"}), ("GET", "/containers/plain/json"): container("4" * 64),
    ("POST", "/exec/e2/start"): (200, ""), ("POST", "/containers/bad/exec"): (201, {"Id": "e3"}), ("GET", "/containers/bad/json"): container("5" * 64),
    ("POST", "/exec/e3/start"): (400, {"message": 'OCI runtime exec failed: exec: "x": executable file not found in $PATH'}),
    ("GET", "/exec/e3/json"): (200, {"ID": "e3", "ExitCode": 127}),
    ("GET", "/containers/json"): listed({"Id": ID, "Names": ["/web"]}, {"Id": TWO, "Names": ["/two"]}),
    **{("GET", f"/containers/{n}/stats"): (200, SAMPLE) for n in ("web", ID[:12])}, ("GET", f"/containers/{TWO[:12]}/stats"): (200, {**SAMPLE, "name": "/two", "id": TWO}),
    ("GET", "/containers/empty/stats"): (200, {}),
    ("POST", "/containers/prune"): (200, {"ContainersDeleted": [ID, TWO], "SpaceReclaimed": 123456}),
    ("POST", "/containers/web/update"): (200, {"Warnings": ["careful"]}),
    ("GET", "/containers/web/top"): (200, {"Titles": ["PID", "CMD"], "Processes": [["1", "sh -c x"]]}),
    ("GET", "/containers/web/changes"): listed({"Path": "/a", "Kind": 0}, {"Path": "/a/b", "Kind": 1}, {"Path": "/c", "Kind": 2}),
    ("POST", "/commit"): (201, {"Id": "sha256:" + "7" * 64}),
    ("POST", "/networks/create"): (201, {"Id": "n" * 64, "Warning": ""}), ("POST", "/volumes/create"): (201, {"Name": "vol", "Driver": "local"}),
    ("DELETE", "/networks/gone"): (404, {"message": "network gone not found"}), ("DELETE", "/volumes/gone"): (404, {"message": "get gone: no such volume"}),
    ("DELETE", "/images/busybox"): listed({"Untagged": "busybox:latest"}, {"Deleted": "sha256:" + "8" * 64}), ("DELETE", "/images/gone"): (404, {"message": "No such image: gone:latest"}),
    ("POST", "/images/busybox/tag"): (201, ""), ("POST", "/images/gone/tag"): (404, {"message": "No such image: gone:latest"}),
    ("POST", "/networks/prune"): (200, {"NetworksDeleted": ["n1"]}), ("POST", "/volumes/prune"): (200, {"VolumesDeleted": ["v1"], "SpaceReclaimed": 10}),
    ("POST", "/images/prune"): (200, {"ImagesDeleted": [{"Untagged": "a:1"}, {"Deleted": "sha256:1"}], "SpaceReclaimed": 2048}),
    ("GET", "/images/busybox/history"): listed(), ("GET", "/volumes"): (200, {"Volumes": []}), ("GET", "/networks"): listed(), ("GET", "/images/json"): listed(),
}

LINES = """
stop web
stop web gone idle
stop -t 5 web
stop --time 5 web
stop -t -1 web
stop -s INT web
stop -s INT -t 3 web idle
stop --signal '' web
stop /web
stop ''
stop
restart web gone
restart -t 3 web
restart -s USR1 web
restart ''
kill web
kill web gone idle
kill -s HUP web
kill --signal 9 web
kill --signal SIGRTMIN+3 web
kill --signal '' web
kill ''
pause web gone
pause ''
unpause web idle
rm web
rm web gone idle
rm -f web
rm -f gone
rm -f web gone
rm -f gone busy
rm busy gone
rm -fvl web
rm -v web
rm -l web/db
rm /web
rm ''
container rm web
container remove web
wait web
wait web gone idle
wait ''
wait
start idle
start idle gone web
start ''
start -a gone
start -a idle web
start -a idle
start -i idle
start -ai --detach-keys ctrl-x idle
start
attach gone
attach idle
attach paused
attach ''
attach web
attach --no-stdin web
attach --detach-keys ctrl-a,a web
attach --sig-proxy=false web
attach a b
exec gone ls
exec web
exec web ls -l
exec -d plain ls
exec -i web cat
exec -u 1:2 -w /tmp -e A=1 -e B=2 --privileged web sh -c 'echo $A'
exec -d -e A -e B= plain ls
exec -it web sh
exec -t web sh
exec --detach-keys ctrl-x web ls
exec bad x
exec '' ls
exec web ''
logs web
logs gone
logs ''
logs -f web
logs -n 5 web
logs --tail abc web
logs --tail '' web
logs -t web
logs --details web
logs --since 10m web
logs --since 1577836800 web
logs --since 1577836800.5 web
logs --since 2020-01-01 web
logs --since 2020-01-01T10:00 web
logs --since 2020-01-01T10:00:00Z --until 2020-01-01T11:00:00.5+01:00 web
logs --since x web
logs --since 2020-13-01 web
logs --since 2020-00-01 web
logs --since 2020-01-32 web
logs --since 2020-01-01T24:00 web
logs --since 2020-01-01T10:60 web
logs --since 2020-01-01T10:00:60 web
logs --since 2020-02-30 web
logs --until x web
logs --until 5s web
logs --since '' --until '' web
logs --since 1h30m -n 1 -t --details -f web
logs a b
stats --no-stream
stats --no-stream -a
stats --no-stream web
stats --no-stream --no-trunc web
stats --no-stream web web
stats --no-stream web gone
stats --no-stream gone
stats --no-stream empty
stats --no-stream ''
stats --no-stream --format json web
stats --no-stream --format '{{json .}}' web
stats --no-stream --format '{{.Container}} {{.ID}} {{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.MemPerc}} {{.NetIO}} {{.BlockIO}} {{.PIDs}}' web
stats --no-stream --format 'table {{.Name}}\\t{{.PIDs}}' web
stats --no-stream --format '{{.X}}' web
stats --no-stream --format '{{' web
container prune -f
container prune -f --filter until=24h --filter label=a=b --filter label!=c
container prune -f --filter x
container prune
image prune -f
image prune -af --filter until=1h
network prune -f
volume prune -f
volume prune -af
volume prune -f --filter label=x
rename web new
rename gone new
rename web ''
update --memory 64m web
update --memory 64m --memory-swap -1 --cpus 1.5 --cpu-shares 10 --cpuset-cpus 0,1 --restart always --pids-limit 5 web
update --restart on-failure:3 --blkio-weight 100 --cpu-period 1000 --cpu-quota 500 --memory-reservation 10m web gone
update --kernel-memory 50m web
update --cpu-rt-period 1000 --cpu-rt-runtime 500 --cpuset-mems 0 web
update web
top web
top web -o pid,cmd
top gone
diff web
diff gone
commit web
commit web repo:tag
commit -m 'a message' -a me -p=false -c 'ENV A=1' -c 'CMD ["x"]' web repo
commit web 'Bad Name'
commit gone repo
network create net
network create -d macvlan --subnet 10.1.0.0/16 --gateway 10.1.0.1 --ip-range 10.1.2.0/24 --aux-address a=10.1.0.2 -o parent=eth0 --label x=y --internal --attachable net
network create --ipv6 --subnet fd00::/64 --ipam-driver default --ipam-opt a=b --scope local --ingress net
network create --ipv4=false net
network create --subnet 10.1.0.0/16 --subnet 10.2.0.0/16 --gateway 10.2.0.1 net
network create --config-only --config-from other net
network connect net web
network connect --ip 10.0.0.5 --ip6 fd00::5 --alias a --alias b --link x:y --link-local-ip 169.254.1.1 --driver-opt a=b --gw-priority 5 net web
network connect net gone
network disconnect net web
network disconnect -f net web
network rm net gone other
network rm -f gone
network ls
network ls -f driver=bridge -f name=x
volume create
volume create vol
volume create -d local -o type=tmpfs -o device=tmpfs --label a=b --name x
volume create --name a b
volume rm vol gone
volume rm -f gone
volume ls
volume ls -f dangling=true
tag busybox new:1
tag gone new
tag busybox 'Bad Name'
rmi busybox
rmi -f busybox gone
rmi --no-prune busybox
rmi gone
images
images -a
images busybox:1
images -f dangling=true
history busybox
""".strip().split("\n")


def meaning(query):
    """A query's parts in order, JSON as what it says, times near now as NOW."""
    parts = []
    for key, value in sorted(parse_qsl(query, keep_blank_values=True)):
        if value[:1] in ("{", "["):
            value = json.loads(value)
        elif re.fullmatch(r"\d{10}(\.\d+)?", value):
            seconds = float(value)
            value = "NOW" if abs(time.time() - seconds) < 90000 else f"{seconds:.9f}"
        parts.append([key, value])
    return parts


def prune(value):
    if isinstance(value, dict):
        small = {k: prune(v) for k, v in value.items()}
        return {k: v for k, v in small.items() if v not in (None, "", [], {}, 0, False, [0, 0])}
    return [prune(v) for v in value] if isinstance(value, list) else value


def differences(line, seen):
    """Takes out what Caisson does differently on purpose."""
    code, out, err, sent = seen
    words = line.split()
    # stdout is for what was asked for: --time's deprecation goes to stderr
    if "--time " in line:
        err = "".join(t for t in (out, err) if "deprecated" in t).split("\n")[0]
        out = out.split("\n")[-2]
    err = err.replace("exit status 1\n", "")
    if line == "exec bad x":      # docker has no words for an engine that refuses the upgrade with a reason; Caisson has the engine's, and their exit code
        code, err = 1, ""
    # names are sent as typed; docker looks a container up first and then asks by its id, and looks at it before it makes an exec or attaches
    sent = [[m, p.replace(ID, "web").replace(TWO, "idle"), q, b] for m, p, q, b in sent if not (m == "GET" and re.fullmatch(r"/containers/[^/]+/json", p) and words[0] in ("exec", "attach", "start"))]
    # who comes and goes does not matter to one sample
    if words[0] == "stats":
        sent = [s for s in sent if s[1] != "/events"]
    # docker looks at a network before it removes it, for the sake of Swarm's ingress; a container that is not there is found out by the request itself
    sent = [s for s in sent if not (line.startswith("network rm") and s[0] == "GET") and not (words[:2] == ["exec", "gone"])]
    for s in sent:
        # the engine completes names, and pauses unless it is told not to; a terminal of no size is none
        s[2] = [[k, v.removeprefix("docker.io/library/") if isinstance(v, str) else v] for k, v in s[2] if [k, v] != ["pause", "1"] and k not in ("", "pause") or [k, v] == ["pause", "0"]]
        # asking for a whole attach twice is no use: what was not asked for is 0 or left out
        s[2] = [[k, v] for k, v in s[2] if v not in ("0", "") or k == "pause"]
    return [code, out, err, sorted(sent, key=json.dumps)]


def observe(program, line, config, **more):
    name = Path(program).name
    with FakeEngine(answers=ANSWERS) as engine:
        env = {"PATH": os.environ["PATH"], "HOME": str(config), "DOCKER_HOST": engine.host, "DOCKER_CONFIG": str(config), "LANG": "C.UTF-8", **more}
        out = subprocess.run([program, *shlex.split(line)], env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20 * fx.TIME_FACTOR, check=False)
        sent = [[m, p, meaning(q), prune(ordered(b)) if isinstance(b, (dict, list)) else b.decode(errors="replace")] for m, p, q, b in engine.seen]
    said = [re.sub(rf"\b{name}\b", "NAME", text, flags=re.I) for text in (out.stdout, out.stderr)]
    said[1] = re.sub(r"^\d{4}/\d\d/\d\d [\d:]+ Unsolicited response .*\n", "", said[1], flags=re.M)
    return json.loads(json.dumps([out.returncode, *said, sent]))


def golden():
    return {} if os.environ.get("CAISSON_UPDATE_GOLDEN_REQUESTS") else json.loads(GOLDEN.read_text(encoding="utf-8"))


def docker_is_28():
    return shutil.which("docker") and "version 28." in subprocess.run(["docker", "--version"], capture_output=True, text=True, check=False).stdout


@pytest.mark.caisson
def test_every_line_is_recorded():
    assert sorted(golden()) == sorted(LINES)


@pytest.mark.caisson
@pytest.mark.parametrize("line", LINES)
def test_as_docker_does(line, tmp_path):
    assert differences(line, observe(str(fx.BUILD / "caisson"), line, tmp_path)) == differences(line, golden()[line])


@pytest.mark.caisson
@pytest.mark.timeout(180)
def test_docker_still_does_so(tmp_path):
    if not docker_is_28():
        pytest.skip("no docker command of release 28")
    assert {line: differences(line, observe("docker", line, tmp_path)) for line in LINES} == {line: differences(line, seen) for line, seen in golden().items()}


@pytest.mark.skipif("not os.environ.get('CAISSON_UPDATE_GOLDEN_REQUESTS')")
@pytest.mark.timeout(300)
def test_update(tmp_path):
    rows = [f"{json.dumps(line)}: {json.dumps(observe('docker', line, tmp_path), sort_keys=True)}" for line in LINES]
    GOLDEN.write_text("{" + ",\n".join(rows) + "}\n", encoding="utf-8")


@pytest.mark.caisson
@pytest.mark.parametrize("typed,since", [("2020-01-01", "1577858400.000000000"), ("2020-01-01T10", "1577894400.000000000"), ("2020-07-01T10:00:00.5", "1593619200.500000000"),
                                         ("2020-01-01T10:00Z", "1577872800.000000000"), ("2020-01-01Z", "1577836800.000000000")])
def test_times_without_a_zone_are_local(typed, since, tmp_path):
    """In a zone without summer time: docker takes the difference of the day on which it runs."""
    for program in (str(fx.BUILD / "caisson"), "docker"):
        if program != "docker" or docker_is_28():
            sent = observe(program, f"logs --since {typed} web", tmp_path, TZ="Etc/GMT+6")[3]
            assert [v for m, p, q, _ in sent if p.endswith("/logs") for k, v in q if k == "since"] == [since], program
