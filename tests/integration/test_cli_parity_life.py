# SPDX-License-Identifier: Apache-2.0
"""Commands that start, stop, watch and remove containers: `docker` 28.2.2 and `caisson` side by side (tests/lib/parity.py)."""
import shutil

import pytest

import caisson_fixture as fx
import parity

if not shutil.which("docker"):
    pytest.skip("no docker client", allow_module_level=True)
pytestmark = pytest.mark.caisson

ONE = {"before": ["run -d --network none --name {x} IMAGE sleep 1000"], "after": ["rm -f {x}"]}
TWO = {"before": ["run -d --network none --name {x} IMAGE sleep 1000", "run -d --network none --name {x}-b IMAGE sleep 1000"], "after": ["rm -f {x} {x}-b"]}
IDLE = {"before": ["create --network none --name {x} IMAGE sh -c 'echo out; echo err >&2; exit 3'"], "after": ["rm -f {x}"]}
DONE = {"before": ["run --network none --name {x} IMAGE sh -c 'echo out; echo err >&2; exit 3'"], "after": ["rm -f {x}"], "loose": True}
TALK = {"before": ["run --network none --name {x} --log-opt labels=a --log-opt env=E -e E=1 --label a=b IMAGE sh -c 'i=0; while [ $i -lt 20 ]; do echo line $i; i=$((i+1)); done'"], "after": ["rm -f {x}"]}
GONE = {"after": ["rm -f {x}"]}

LINES = [
    # -- run
    "run --rm --network none IMAGE echo hi", "run --rm --network none IMAGE sh -c 'echo out; echo err >&2; exit 3'", "run --rm --network none IMAGE sh -c 'kill -9 $$'", "run --rm --network none IMAGE sh -c 'kill -TERM $$'",
    "run --rm --network none IMAGE sh -c 'exit 255'", "run --rm --network none IMAGE nosuch", "run --rm --network none IMAGE /etc/passwd", "run --rm --network none IMAGE /etc", "run --rm --network none IMAGE ''", "run --rm --network none --entrypoint '' IMAGE",
    "run --rm --network none -w /made/up IMAGE pwd", "run --rm --network none -w relative IMAGE pwd", "run --rm --network none -u 12:34 IMAGE id -u", "run --rm --network none -u nosuch IMAGE id", "run --rm --network none -e A=1 -e B IMAGE sh -c 'echo $A-$B'",
    "run --rm --network none -h box IMAGE hostname", "run --rm --network none --read-only IMAGE touch /x", "run --rm --network none --tmpfs /t IMAGE touch /t/x", "run --rm --network nosuch IMAGE true", "run --rm --pull never nosuch:never true", "run", "run --nosuch IMAGE",
    "run --rm --network none -it IMAGE true", "run --rm --network none -t IMAGE echo hi", "run -d -a stdout IMAGE", "run --rm -d --restart always IMAGE", "run --rm --network none -a stdout IMAGE sh -c 'echo out; echo err >&2'", "run --rm --network none -a stderr IMAGE sh -c 'echo out; echo err >&2'",
    "run --rm --network none --name '' IMAGE echo x", "run --rm --network none --name 'bad name' IMAGE echo x", "run --rm --network none --memory 1 IMAGE true", "run --rm --network none -v /nosuch:relative IMAGE true", "run --rm --network none --mount type=bind,src=/nosuch,dst=/x IMAGE true",
    ("run --network none --name {x} IMAGE true", ONE), ("run -d --network none --name {x} IMAGE nosuch", {**GONE, "sort": True}), ("run -d --network none --name {x} IMAGE true", GONE), ("run --network none --name {x} --init IMAGE sh -c 'exit 4'", GONE),
    ("run --rm -i --network none IMAGE cat", {"stdin": "one\ntwo\n"}), ("run --rm -i --network none IMAGE sh -c 'read a; echo got $a; exit 5'", {"stdin": "x\ny\n"}), ("run --rm --network none IMAGE cat", {"stdin": "unread"}), ("run --rm -i --network none IMAGE wc -c", {"stdin": "x" * 300000}),
    ("run --rm -i --network none IMAGE true", {"stdin": "y" * 300000}), ("run -dit --network none --name {x} IMAGE", GONE),
    # -- create, start, attach
    ("create --network none --name {x} IMAGE true", GONE), ("create --network none --name {x} IMAGE true", ONE), "create", ("start {x}", IDLE), ("start -a {x}", IDLE), ("start -ai {x}", IDLE), ("start -a {x} nosuch", IDLE), ("start {x} nosuch {x}", IDLE), "start nosuch", "start -a nosuch",
    ("start {x}", ONE), ("start -a {x}", DONE), "attach nosuch", ("attach {x}", IDLE), ("attach {x}", {**ONE, "before": [*ONE["before"], "pause {x}"], "after": ["unpause {x}", *ONE["after"]]}), "attach", "attach a b", ("start -i {x}", {"before": ["create -i --network none --name {x} IMAGE cat"], "after": ["rm -f {x}"], "stdin": "text\n"}),
    ("start {x}", {"before": ["create --network none --name {x} IMAGE nosuch"], "after": ["rm -f {x}"]}), ("start -a {x}", {"before": ["create --network none --name {x} IMAGE nosuch"], "after": ["rm -f {x}"]}),
    # -- exec
    ("exec {x} sh -c 'echo out; echo err >&2; exit 3'", ONE), ("exec {x} nosuch", ONE), ("exec {x} /etc", ONE), ("exec -w /nosuch {x} ls", ONE), ("exec -u 5 {x} id -u", ONE), ("exec -u nosuch {x} id", ONE), ("exec -e A=b {x} sh -c 'echo $A'", ONE), ("exec -d {x} true", ONE), ("exec -d {x} nosuch", ONE),
    ("exec -i {x} cat", {**ONE, "stdin": "abc\n"}), ("exec {x} cat", {**ONE, "stdin": "abc\n"}), ("exec -i {x} wc -c", {**ONE, "stdin": "z" * 300000}), ("exec -t {x} echo x", ONE), ("exec -it {x} echo x", ONE), ("exec {x}", ONE), "exec", "exec nosuch ls", ("exec {x} ls", IDLE), ("exec {x} sh -c 'kill -9 $$'", ONE),
    ("exec {x} ls", {**ONE, "before": [*ONE["before"], "pause {x}"], "after": ["unpause {x}", *ONE["after"]]}), ("exec --privileged --env-file /dev/null {x} true", ONE),
    # -- logs
    ("logs {x}", DONE), ("logs {x}", IDLE), "logs nosuch", "logs", "logs a b", ("logs -n 3 {x}", TALK), ("logs --tail 0 {x}", TALK), ("logs --tail all {x}", TALK), ("logs --tail abc {x}", TALK), ("logs --tail -1 {x}", TALK), ("logs -f {x}", TALK), ("logs -f -n 2 {x}", TALK), ("logs -t -n 2 {x}", TALK),
    ("logs --details -n 2 {x}", TALK), ("logs --since 1h {x}", TALK), ("logs --until 1h {x}", TALK), ("logs --since 2000-01-01 --until 2001-01-01T00:00:00Z {x}", TALK), ("logs --since 1h --until -5m -n 1 {x}", TALK), ("logs --since nonsense {x}", TALK), ("logs --until nonsense {x}", TALK), ("logs --since 2000-13-01 {x}", TALK),
    ("logs --since 1.5 {x}", TALK), ("logs --since -5m {x}", TALK), ("logs {x}", {"before": ["run --network none --log-driver none --name {x} IMAGE true"], "after": ["rm {x}"]}),
    ("logs {x}", {"before": ["run -t --network none --name {x} IMAGE sh -c 'echo out; echo err >&2'"], "after": ["rm {x}"]}),
    # -- stop, restart, kill, pause, wait
    ("stop -t 0 {x}", ONE), ("stop -t 0 {x} nosuch {x}-b", TWO), ("stop -s KILL {x}", ONE), ("stop -s NOSUCH {x}", ONE), ("stop --timeout 0 {x}", ONE), ("stop {x}", DONE), ("stop {x}", IDLE), "stop nosuch", "stop", "stop -t x a", "stop nosuch1 nosuch2", ("stop -t 0 /{x}", ONE),
    ("restart -t 0 {x}", ONE), ("restart -t 0 {x} nosuch", ONE), "restart nosuch", "restart", ("restart -t 0 -s KILL {x}", ONE), ("restart {x}", IDLE), ("kill {x}", ONE), ("kill -s TERM {x}", ONE), ("kill -s 9 {x}", ONE), ("kill -s SIGKILL {x} nosuch {x}-b", TWO), ("kill -s NOSUCH {x}", ONE), ("kill -s 99 {x}", ONE),
    ("kill {x}", IDLE), "kill nosuch", "kill", ("pause {x}", {**ONE, "after": ["unpause {x}", *ONE["after"]]}), ("pause {x} {x}", {**ONE, "after": ["unpause {x}", *ONE["after"]], "only": "code"}), ("pause {x}", IDLE), "pause nosuch", "pause", ("unpause {x}", {**ONE, "before": [*ONE["before"], "pause {x}"]}), ("unpause {x}", ONE), "unpause nosuch",
    ("wait {x}", DONE), ("wait {x}", IDLE), ("wait {x} nosuch {x}", DONE), "wait nosuch", "wait", ("wait {x}", {"before": ["run -d --network none --name {x} IMAGE sh -c 'sleep 1; exit 6'"], "after": ["rm -f {x}"]}),
    # -- rm, prune
    ("rm {x}", DONE), ("rm {x}", ONE), ("rm -f {x}", ONE), ("rm -f {x} nosuch {x}-b", TWO), ("rm {x} {x}-b", TWO), ("rm {x} nosuch", DONE), "rm nosuch", "rm -f nosuch", "rm -f nosuch1 nosuch2", "rm", ("rm -v {x}", {"before": ["create --network none -v /data --name {x} IMAGE true"], "after": ["rm -f {x}"]}), ("rm -l {x}", DONE), ("container rm /{x}", DONE), ("rm -fv {x}", ONE),
    # -- stats
    ("stats --no-stream --format '{{.Container}} {{.Name}} {{.PIDs}} {{.NetIO}}' {x}", ONE), ("stats --no-stream --format '{{.Container}}|{{.Name}}|{{.ID}}|{{.CPUPerc}}|{{.MemUsage}}|{{.MemPerc}}|{{.NetIO}}|{{.BlockIO}}|{{.PIDs}}' {x}", IDLE), ("stats --no-stream {x}", IDLE), ("stats --no-stream --no-trunc {x}", IDLE),
    ("stats --no-stream --format json {x}", IDLE), ("stats --no-stream --format '{{json .}}' {x}", IDLE), ("stats --no-stream --format 'table {{.Name}}\\t{{.PIDs}}' {x} {x}", ONE), ("stats --no-stream --format '{{.X}}' {x}", IDLE), ("stats --no-stream --format '{{' {x}", IDLE), "stats --no-stream nosuch", ("stats --no-stream {x} nosuch", IDLE), "stats nosuch",
    ("stats --no-stream --format '{{.Name}}'", ONE), ("stats -a --no-stream --format '{{.Name}}'", {**IDLE, "sort": True}), "stats --nosuch",
]


@pytest.mark.parametrize("case", LINES, ids=parity.ident)
def test_lives(engine, case):
    parity.compare(engine, case)


# -- dockerd 20.10, API 1.41 ------------------------------------------------------------------------------------------

OLD = ["version --format '{{.Server.APIVersion}} {{.Client.APIVersion}}'"] + [c for c in LINES if (c if isinstance(c, str) else c[0]) in (
    "run --rm --network none IMAGE sh -c 'echo out; echo err >&2; exit 3'", "run --rm --network none IMAGE nosuch", "run --rm --network none IMAGE /etc/passwd", "start -a {x}", "exec {x} sh -c 'echo out; echo err >&2; exit 3'", "exec {x} nosuch", "exec -i {x} wc -c",
    "logs -n 3 {x}", "logs --since nonsense {x}", "logs --details -n 2 {x}", "stop -t 0 {x} nosuch {x}-b", "kill -s SIGKILL {x} nosuch {x}-b", "wait {x} nosuch {x}", "rm -f {x} nosuch {x}-b", "rm {x}", "stats --no-stream {x}", "restart -t 0 {x} nosuch", "pause {x}", "unpause {x}")]


@pytest.fixture(scope="module")
def dockerd():
    e = fx.Engine(kind="dockerd")
    try:
        e.start(timeout=60).prepare()
        yield e
    finally:
        e.close()


@pytest.mark.skipif(not shutil.which("dockerd"), reason="no dockerd")
@pytest.mark.parametrize("case", OLD, ids=parity.ident)
def test_at_dockerd(dockerd, case):
    line, options = case if isinstance(case, tuple) else (case, {})
    parity.compare(dockerd, (line, {**options, "env": {"DOCKER_API_VERSION": ""}}))
