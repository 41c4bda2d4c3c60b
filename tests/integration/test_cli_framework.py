# SPDX-License-Identifier: Apache-2.0
"""What lies below the client's commands: help, usage errors, plugins, completion, connections, versions. Beside docker where it has the same."""
import contextlib
import json
import os
import re
import select
import shutil
import socket
import ssl
import subprocess
import tempfile

import pytest

import caisson_fixture as fx
from listener import Listener
from registry import Authority, free_port
from terminal import Terminal
from twins import CAISSON, Twins, plain

pytestmark = [pytest.mark.caisson, pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")]
DOCKER = json.loads((fx.REPO / "tests/lib/docker-cli-28.2.2.json").read_text())
TABLES = [json.loads(line) for line in subprocess.run([CAISSON, "__describe"], capture_output=True, text=True, check=True).stdout.splitlines()]
BY_NAME = {n: c for c in TABLES for n in c["names"]}


@pytest.fixture
def twins(engine, tmp_path):
    return Twins(tmp_path, DOCKER_HOST="unix://" + engine.sock)


@pytest.fixture
def offline(tmp_path):
    return Twins(tmp_path)


# -- help ---------------------------------------------------------------------------------------------------------------

def whole(name):
    """Commands that have all that docker's have, and nothing else: their --help must be docker's."""
    c = BY_NAME.get(name)
    if not c or c.get("refused") or c.get("group") or name in ("", "version") or name.startswith("completion"):
        return False
    return not any(f.get("refused") for f in c["flags"]) and {f["name"] for f in c["flags"] if not f["hidden"] and f["name"] != "help"} == set(DOCKER[name])


def test_help_is_dockers(offline):
    names = [n for n in DOCKER if whole(n)]
    assert len(names) > 40, names
    bad = []
    for name in names:
        docker, caisson = offline.both(*name.split(), "--help")
        if docker != caisson:
            bad.append(f"{name}\n{docker[1]}\n---\n{caisson[1]}")
    assert not bad, "\n\n".join(bad)


@pytest.mark.parametrize("args", [["context"], ["context", "--help"], ["help", "context", "use"], ["help", "nosuch"], ["help", "help"], ["help", "context", "nosuch"], ["context", "ls", "-h"],
                                  ["-v"], ["--version"], ["system", "dial-stdio", "--help"]])
def test_help_ways(offline, args):
    docker, caisson = offline.both(*args)
    if args[0] in ("-v", "--version"):
        assert caisson[0] == 0 and re.fullmatch(r"Docker version \S+(, build \S+)?\n", caisson[1]), caisson
        return
    assert (caisson[0], caisson[2]) == (docker[0], docker[2])
    assert caisson[1].split() == docker[1].split()


@pytest.mark.parametrize("columns", [40, 60, 100, 300])
def test_help_folds_at_the_terminals_width(offline, columns):
    import fcntl
    import pty
    import struct
    import termios
    main, sub = pty.openpty()
    fcntl.ioctl(sub, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    said = [plain(subprocess.run([p, "logs", "--help"], stdin=sub, capture_output=True, text=True, check=True).stdout) for p in ("docker", CAISSON)]
    os.close(main)
    os.close(sub)
    assert said[0] == said[1]


# -- what is wrong with a command line ----------------------------------------------------------------------------------

WRONG = """rm
run
create
exec x
commit
commit a b c
cp a
ps x
load x
tag a
rename a
port
events x
version x
info x
pull
pull a b
save
top
diff
history
import
attach
wait
stop
kill
logs
inspect
images a b
rmi
context use
context create
frob
container frob
context frob
swarm frob
swarm --frob
trust key frob
container --nosuch ls
--nosuch ps
ps --nosuch
ps -Z
ps -aZ
logs -fZ x
ps --=x
ps ---x
ps --filter
ps -f
ps -f x
kill -s
logs --tail
ps --all=maybe
ps --last=5x
ps -n 99999999999999999999
stop -t x y
stop --time
stop --time 3
stop --time x
run -m x y
run --memory-swap x y
run --shm-size x y
run --cpus x y
run --cpus 1e y
run --health-interval 5 y
run --health-interval x y
run --health-retries x y
run --blkio-weight 70000 y
run --blkio-weight x y
run --pids-limit x y
run --detach=x y
run -h
run -e
rm -fvx
container rm --force=7
system df --nosuch
login a --nosuch
version --format
events --since
-H
-H a -H b ps
-H zzz://x ps
--log-level x ps
-c a -H b ps
--config
"""


@pytest.mark.parametrize("line", WRONG.splitlines())
def test_wrong(offline, line):
    c = BY_NAME.get(line.split()[0])
    if c and c.get("refused") and not c["group"]:
        pytest.skip(f"{line.split()[0]}: {c['refused']}")
    docker, caisson = offline.both(*line.split())
    if line.startswith("--") or line.startswith("-H a") or "zzz" in line or line == "-H":  # who is named in the usage line is the program
        assert (caisson[0], caisson[1], caisson[2].splitlines()[0]) == (docker[0], docker[1], docker[2].splitlines()[0])
    elif line == "context use":  # cobra's own words there; ours are those of all the others
        assert caisson[0] == docker[0] == 1
    else:
        assert caisson == docker


@pytest.mark.parametrize("args, hint", [(["imges"], "caisson images"), (["contxt"], "caisson context"), (["context", "lst"], "caisson context list"), (["rn"], None), (["pss"], "caisson ps"), (["volume", "lss"], "caisson volume ls"),
                                        (["ps", "--fliter", "a=b"], "--filter"), (["run", "--netwrok", "x", "y"], "--network"), (["ps", "--zzzzzz"], None)])
def test_the_nearest_is_named(args, hint):
    r = subprocess.run([CAISSON, *args], capture_output=True, text=True, check=False)
    assert r.returncode == (125 if len(args) > 1 and args[1].startswith("-") else 1)
    assert (f"Did you mean '{hint}'?" in r.stderr or f"Did you mean {hint}?" in r.stderr) if hint else "Did you mean" not in r.stderr or args == ["rn"]


def test_refused_commands_say_why():
    for c in TABLES:
        if c.get("refused") and not c["group"]:
            r = subprocess.run([CAISSON, *c["names"][0].split(), "x"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
            assert r.returncode == 1 and c["refused"] in r.stderr and not r.stdout, c["names"]


@pytest.mark.parametrize("line", ["swarm", "trust", "trust key", "config", "node", "secret", "service", "stack", "builder"])
def test_refused_groups_show_their_commands(offline, line):
    docker, caisson = offline.both(*line.split())
    said = [re.findall(r"^  ([a-z]\S*)  ", who[2], re.M) for who in (docker, caisson)]
    assert caisson[:2] == docker[:2] == (0, "") and set(said[1]) >= set(said[0]) and len(said[0]) > 1
    assert "Not available: " in caisson[2]


@pytest.mark.parametrize("line", ["config ls --frob", "node ls --frob=x", "service create --nme x y", "checkpoint create --frob a b", "secret create --frob a"])
def test_unknown_flags_of_refused_commands(offline, line):
    assert offline.same(*line.split())[0] == 125


def test_flags_of_refused_commands_are_known():
    """Everything that docker has there is refused with the reason, not as a mistake."""
    for c in TABLES:
        for name in c["names"] if c.get("refused") and not c["group"] else []:
            flags = [f"--{f}=x" for f in DOCKER.get(name, [])]
            r = subprocess.run([CAISSON, *name.split(), *flags], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
            assert r.returncode == 1 and c["refused"] in r.stderr, (name, r.stderr)


def test_refused_flags_say_why():
    for c in TABLES:
        for f in c["flags"]:
            if not f.get("refused") or c.get("refused"):
                continue
            value = {"": [], "int": ["1"], "uint": ["1"], "decimal": ["1"], "uint16": ["1"], "bytes": ["1m"], "duration": ["1s"], "filter": ["a=b"], "map": ["a=b"]}.get(f["type"], ["x"])
            r = subprocess.run([CAISSON, *c["names"][0].split(), f"--{f['name']}" + ("=" + value[0] if value else ""), "x", "y"], capture_output=True, text=True, check=False,
                               stdin=subprocess.DEVNULL)
            assert r.returncode == 125 and f"--{f['name']}: {f['refused']}" in r.stderr and not r.stdout, (c["names"], f["name"], r)


def test_docs_are_of_these_tables():
    r = subprocess.run([str(fx.REPO / "scripts/make-cli-docs"), CAISSON, "--check", str(fx.REPO / "docs/cli.md")], capture_output=True, text=True, check=False)
    assert r.returncode == 0, r.stdout


def test_manual_pages(tmp_path):
    subprocess.run([str(fx.REPO / "scripts/make-man"), "caisson", CAISSON, str(tmp_path / "man1")], check=True)
    for c in TABLES:
        for name in c["names"] if not c.get("hidden") else []:
            page = tmp_path / "man1" / ("caisson" + "".join("-" + w for w in name.split()) + ".1")
            text = page.read_text()
            if text.startswith(".so "):
                assert (tmp_path / text.split()[1]).exists()
            else:
                assert f"caisson {name}".strip().replace("-", "\\-") in text and all(f["name"].replace("-", "\\-") in text for f in c["flags"] if not f["hidden"])


def test_output_that_cannot_be_written():
    with open("/dev/full", "w", encoding="utf-8") as full:
        r = subprocess.run([CAISSON, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert r.returncode == 1 and "write to standard output" in r.stderr


# -- completion ---------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def things(engine):
    names = ["comp-running", "comp-created"]
    engine.cli("run", "-d", "--network", "none", "--name", names[0], fx.ROOTFS, "sleep", "1000", check=True)
    engine.cli("create", "--network", "none", "--name", names[1], fx.ROOTFS, "true", check=True)
    engine.cli("volume", "create", "comp-volume", check=True)
    yield names
    engine.cli("rm", "-f", *names)
    engine.cli("volume", "rm", "comp-volume")


@pytest.mark.parametrize("line", ["start ", "stop ", "logs ", "run ", "run --network ", "run --network=", "run --restart ", "run --pull ", "rmi ", "volume rm ",
                                  "context use ", "pull ", "tag ", "nosuch ", "ps ", "run x ", "import ", "history ", "save ", "unpause ", "attach ", "run --ipc ", "run --pid ",
                                  "run -it --nam", "container re", "kill ", "run --env-file ", "load -i ", "rename ", "run --cap-add ", "create --cap-drop ", "run -e ", "exec -e ",
                                  "run --volume-driver "])
def test_completes_as_docker(twins, things, line):
    words = line.split(" ")
    docker, caisson = twins.both("__complete", *words)
    assert sorted(caisson[1].splitlines()) == sorted(docker[1].splitlines())


@pytest.mark.parametrize("line", ["kill -s ", "stop --signal ", "restart -s ", "run --stop-signal ", "pull --platform ", "create --platform ", "save --platform ", "run --ulimit ",
                                  "events --filter "])
def test_completes_what_can_be_of_use(twins, things, line):
    """docker has real-time signals by number and other systems, too, and offers files behind "nofile="."""
    docker, caisson = ({w for w in r[1].splitlines() if w[0] != ":"} for r in twins.both("__complete", *line.split(" ")))
    assert caisson and caisson <= docker and all(word.startswith(("RT", "windows/", "wasi")) for word in docker - caisson)


def test_bash_completes(twins, things):
    script = subprocess.run([CAISSON, "completion", "bash"], capture_output=True, text=True, check=True).stdout
    test = f"""PATH={fx.BUILD}:$PATH
{script}
try() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _caisson; echo "${{COMPREPLY[*]}}"; }}
try caisson conta; try caisson start comp-; try caisson run --network no; try caisson ps --no-tr; try caisson volume rm comp"""
    r = subprocess.run(["bash", "-c", test], capture_output=True, text=True, check=True, env={**os.environ, **twins.env})
    assert r.stdout.splitlines() == ["container", "comp-created", "none", "--no-trunc", "comp-volume"], r


FISH = {"caisson conta": "container\tManage containers", "caisson start comp-": "comp-created", "caisson run --network=no": "--network=none", "caisson ps --no-tr": "--no-trunc\tDon't truncate output",
        "caisson --debug volume rm comp": "comp-volume"}


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish")
def test_fish_completes(twins, things, tmp_path):
    script = tmp_path / "caisson.fish"
    script.write_text(subprocess.run([CAISSON, "completion", "fish"], capture_output=True, text=True, check=True).stdout)
    env = {**os.environ, **twins.env, "HOME": str(tmp_path), "PATH": f"{fx.BUILD}:{os.environ['PATH']}"}
    for line, offered in FISH.items():
        r = subprocess.run(["fish", "-c", f"source {script}; complete -C '{line}'"], capture_output=True, text=True, check=True, env=env)
        assert r.stdout.splitlines() == [offered], r


ZSH = {"caisson conta": ["caisson", "container"], "caisson start comp-": ["caisson", "start", "comp-created"], "caisson run --network=no": ["caisson", "run", "--network=none"],
       "caisson ps --no-tr": ["caisson", "ps", "--no-trunc"], "caisson --debug volume rm comp": ["caisson", "--debug", "volume", "rm", "comp-volume"]}


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh")
def test_zsh_completes(engine, things, tmp_path):
    """In a zsh at a terminal: after the tab, the line is made one that prints its words."""
    (tmp_path / "_caisson").write_text(subprocess.run([CAISSON, "completion", "zsh"], capture_output=True, text=True, check=True).stdout)
    t = Terminal(engine, "-f", "-i", program="zsh", env={"HOME": str(tmp_path), "ZDOTDIR": str(tmp_path), "TERM": "dumb", "PATH": f"{fx.BUILD}:{os.environ['PATH']}"})
    try:
        t.send(f"PS1=; fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -u -D; bindkey -e; unsetopt beep; print LOAD''ED\n".encode())
        t.until(b"LOADED")
        for line, words in ZSH.items():
            t.send(line.encode() + b"\t\x01print -rl -- BEGIN \x05 END\n")
            t.until("\r\n".join(["BEGIN", *words, "END", ""]).encode())
    finally:
        t.close()


# -- plugins ------------------------------------------------------------------------------------------------------------

PLUGIN = """#!/bin/sh
if [ "$1" = docker-cli-plugin-metadata ]; then
    echo '{"SchemaVersion":"0.1.0","Vendor":"Tests","Version":"v9","ShortDescription":"Says what it got"}'
    exit
fi
for a; do printf '<%s>' "$a"; done
echo " $DOCKER_HOST"
exit 7
"""


def test_plugin(engine, tmp_path):
    t = Twins(tmp_path)
    t.write("config/cli-plugins/docker-hello", PLUGIN, 0o755)
    t.write("extra/docker-more", PLUGIN, 0o755)
    t.write("config/cli-plugins/docker-noexec", PLUGIN, 0o644)
    for name in ("docker", "caisson"):
        (tmp_path / name / "config/config.json").write_text(json.dumps({"cliPluginsExtraDirs": [str(tmp_path / name / "extra")]}))
    host = {"DOCKER_HOST": "unix://" + engine.sock}
    for args in (["hello", "a b", "--flag", "-x"], ["--debug", "hello", "a"], ["more"], ["hello", "--help"]):
        assert t.same(*args, **host)[0] == 7
    assert t.same("noexec", **host)[0] == 1
    assert "  hello*      Says what it got" in t.one("caisson", "--help")[1]
    docker, caisson = t.both("info", **host)
    assert "  hello: Says what it got (Tests)\n    Version:  v9\n    Path:     FOLDER/config/cli-plugins/docker-hello\n" in docker[1]
    assert caisson[1].split("Plugins:")[1].split("Server:")[0] == docker[1].split("Plugins:")[1].split("Server:")[0]
    # what only we know of the engine
    assert plain(f"unix://{engine.sock}") in t.one("caisson", "hello", CAISSON_HOST="unix://" + engine.sock)[1]
    assert "unix:///run/docker.sock" in t.one("caisson", "hello")[1]


def test_aliases(tmp_path):
    """docker knows one alias, builder, and none that stands for a command of its own."""
    t = Twins(tmp_path)
    t.write("config/cli-plugins/docker-hello", PLUGIN, 0o755)
    for aliases, status in (({"builder": "hello"}, 7), ({"builder": "ps"}, 1), ({"ls": "ps"}, 1), ({"builder": "hello", "x": "y"}, 1)):
        for name in ("docker", "caisson"):
            (tmp_path / name / "config/config.json").write_text(json.dumps({"aliases": aliases}))
        docker, caisson = t.both("build", "-t", "x", ".", DOCKER_HOST="unix:///nonexistent.sock")
        assert caisson[:2] == docker[:2] and caisson[0] == status and caisson[2].split(" (")[0].strip() == docker[2].split(" (")[0].strip()
    assert [r[0] for r in t.both("context", "show")] == [1, 1]


# -- connections --------------------------------------------------------------------------------------------------------

class Relay(Listener):
    """Loopback port to the engine's socket, with TLS or without."""

    def __init__(self, sock, context=None):
        self.path, self.context = sock, context
        super().__init__()

    def serve(self, conn):
        try:
            if self.context:
                conn = self.context.wrap_socket(conn, server_side=True)
        except OSError:
            conn.close()
            return
        up = socket.socket(socket.AF_UNIX)
        up.connect(self.path)
        with conn, up:
            try:
                self.pass_on(conn, up)
            except OSError:
                pass

    def pass_on(self, conn, up):
        """In one thread: two in one TLS connection at once corrupt memory of OpenSSL's."""
        conn.setblocking(False)
        up.setblocking(False)
        ended, told, to = set(), set(), {conn: b"", up: b""}
        while len(ended) < 2 or to[conn] or to[up]:
            pending = [conn] if self.context and conn not in ended and conn.pending() else []
            readable, writable, _ = select.select({conn, up} - ended, [s for s in to if to[s]], [], 0 if pending else 5 if up in ended else None)
            if not readable and not writable and not pending:
                return
            for a, b in ((conn, up), (up, conn)):
                with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                    if a in writable:
                        to[a] = to[a][a.send(to[a]):]
                    if a not in ended and (a in readable or a in pending):
                        data = a.recv(65536)
                        to[b] += data
                        if not data:
                            ended.add(a)
                    if b in ended and not to[a] and a not in told:
                        told.add(a)
                        a.unwrap() if a is conn and self.context else a.shutdown(socket.SHUT_WR)


@pytest.fixture
def tls(engine, tmp_path):
    ca = Authority(tmp_path / "ca")
    server, client = ca.issue("server"), ca.issue("client")
    certs = tmp_path / "certs"
    certs.mkdir()
    for source, name in ((ca.cert, "ca.pem"), (client[0], "cert.pem"), (client[1], "key.pem")):
        shutil.copy(source, certs / name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server)
    context.load_verify_locations(ca.cert)
    context.verify_mode = ssl.CERT_REQUIRED
    relay = Relay(engine.sock, context)
    yield f"tcp://127.0.0.1:{relay.port}", certs, tmp_path
    relay.close()


def test_tls(engine, tls):
    host, certs, tmp = tls
    t = Twins(tmp / "twins")
    verify = {"DOCKER_HOST": host, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certs)}
    for env in (verify, {**verify, "DOCKER_HOST": host.replace("127.0.0.1", "localhost")}, {"DOCKER_HOST": host, "DOCKER_TLS": "1", "DOCKER_CERT_PATH": str(certs)}):
        assert t.same("version", "-f", "{{.Server.Version}}", **env)[0] == 0
    flags = ["-H", host, "--tlsverify", "--tlscacert", str(certs / "ca.pem"), "--tlscert", str(certs / "cert.pem"), "--tlskey", str(certs / "key.pem")]
    assert t.same(*flags, "version", "-f", "{{.Server.Version}}")[0] == 0
    # a context carries its certificates
    t.same("context", "create", "sec", "--docker", f"host={host},ca={certs}/ca.pem,cert={certs}/cert.pem,key={certs}/key.pem")
    assert t.same("-c", "sec", "version", "-f", "{{.Server.Version}}")[0] == 0
    # streams, both ways, with a half-close
    data = "0123456789abcdef" * 20000
    r = t.one("caisson", "run", "--rm", "-i", "--network", "none", fx.ROOTFS, "sh", "-c", "cat; echo; echo end", stdin=data, **verify)
    assert r == (0, data + "\nend\n", "")
    # whom it does not trust
    other = Authority(tmp / "other")
    wrong = ["-H", host, "--tlsverify", "--tlscacert", str(other.cert), "--tlscert", str(certs / "cert.pem"), "--tlskey", str(certs / "key.pem")]
    for args in (wrong, ["-H", host, "--tls", "--tlscacert", str(certs / "ca.pem")], ["-H", host]):
        docker, caisson = t.both(*args, "ps")
        assert docker[0] == caisson[0] == 1 and caisson[2].strip()
    assert "failed to verify certificate" in t.one("caisson", *wrong, "ps")[2]
    assert t.same("-H", host, "--tlsverify", "ps")[2].startswith("Failed to initialize: unable to resolve docker endpoint: open FOLDER/config/ca.pem: no such file")


def test_plain_where_tls_is_spoken_and_the_other_way_round(engine, tmp_path):
    relay = Relay(engine.sock)
    t = Twins(tmp_path)
    try:
        host = f"tcp://127.0.0.1:{relay.port}"
        assert t.same("-H", host, "version", "-f", "{{.Server.Version}}")[0] == 0
        assert t.same("-H", host.removeprefix("tcp://"), "version", "-f", "{{.Server.Version}}")[0] == 0
        t.write("config/ca.pem", Authority(tmp_path / "ca").cert.read_text())
        docker, caisson = t.both("-H", host, "--tls", "ps")
        assert docker[0] == caisson[0] == 1 and caisson[2].strip()
    finally:
        relay.close()


def test_http_unix(engine):
    path = engine.sock.replace("/", "%2F")
    r = subprocess.run([CAISSON, "-H", f"http+unix://{path}", "version", "-f", "{{.Server.Version}}"], capture_output=True, text=True, check=False)
    assert r.returncode == 0 and r.stdout.strip()


# What ssh does: the words behind the host, with blanks between, are what the far login shell is told. There only what is in far/ can be run.
SSH = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/log"
while [ "$1" != -- ]; do shift; done
shift 2
PATH=FAR DOCKER_HOST=unix://SOCK exec /bin/sh -c "$*"
"""


@pytest.mark.parametrize("far", [["docker"], ["caisson"], ["caisson", "docker"]], ids=" ".join)
def test_ssh(engine, tmp_path, far):
    t = Twins(tmp_path / "near")
    (tmp_path / "far").mkdir()
    (tmp_path / "far/sh").symlink_to("/bin/sh")
    for name in ("docker", "caisson"):  # docker asks for docker, whoever that is
        real = shutil.which("docker") if far == ["docker"] else CAISSON
        if name == "docker" and far == ["caisson", "docker"]:
            real = "/bin/false"
        if name in far or far == ["caisson"]:
            (tmp_path / "far" / name).symlink_to(real)
    t.write("bin/ssh", SSH.replace("SOCK", engine.sock).replace("FAR", str(tmp_path / "far")), 0o755)
    for name in ("docker", "caisson") if len(far) == 1 else ("caisson",):
        env = {"PATH": f"{tmp_path}/near/{name}/bin:{os.environ['PATH']}", "DOCKER_HOST": "ssh://me@far.example:2222"}
        assert t.one(name, "version", "-f", "{{.Server.Version}}", **env)[0] == 0
        log = (tmp_path / "near" / name / "bin/log").read_text().splitlines()
        begins = "-o ConnectTimeout=30 -T -l me -p 2222 -- far.example "
        assert log and all(line.startswith(begins + ("docker system dial-stdio" if name == "docker" else "sh -c 'command -v caisson ")) for line in log)
    data = "0123456789abcdef" * 10000
    r = t.one("caisson", "run", "--rm", "-i", "--network", "none", fx.ROOTFS, "cat", stdin=data, **{**env, "DOCKER_HOST": "ssh://far.example"})
    assert r[:2] == (0, data)  # docker's dial-stdio grumbles on stderr when it is closed


@pytest.mark.parametrize("shell", ["bash", "dash", "busybox sh", "zsh", "fish", "tcsh"])
def test_ssh_whatever_the_far_login_shell_is(engine, tmp_path, shell):
    """With a path that needs quotes: it is the argument of --host there."""
    if not shutil.which(shell.split()[0]):
        pytest.skip(f"no {shell}")
    t = Twins(tmp_path)
    t.write("bin/ssh", f"#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift 2\nPATH={tmp_path}/far:$PATH exec {shell} -c \"$*\"\n", 0o755)
    t.write("../far/caisson", f"#!/bin/sh\nprintf '<%s>' \"$@\" > {tmp_path}/args\nDOCKER_HOST=unix://{engine.sock} exec {CAISSON} system dial-stdio\n", 0o755)
    path = "/a b/$HOME/`id`;x&y|z\"*"
    status, out, _ = t.one("caisson", "-H", f"ssh://far.example{path}", "version", "-f", "{{.Server.Version}}", PATH=f"{tmp_path}/caisson/bin:{os.environ['PATH']}")
    assert status == 0 and out.strip() and (tmp_path / "args").read_text() == f"<--host><unix://{path}><system><dial-stdio>"
    for bad in ("/it's", "/back\\slash", "/line\nend", "/ev!ent"):
        assert "not supported" in t.one("caisson", "-H", f"ssh://far.example{bad}", "ps")[2]


def test_ssh_that_fails(tmp_path):
    t = Twins(tmp_path)
    t.write("bin/ssh", "#!/bin/sh\necho no way >&2\nexit 255\n", 0o755)
    for name in ("docker", "caisson"):
        r = t.one(name, "-H", "ssh://far.example", "ps", PATH=f"{tmp_path / name / 'bin'}:{os.environ['PATH']}")
        assert r[0] == 1
        if name == "caisson":  # docker's words depend on who is faster, the write or ssh's end
            assert "] has exited with exit status 255, make sure the URL is valid" in r[2] and "no way" in r[2]


@pytest.mark.parametrize("mode, group, hint", [(0o660, "games", "the members of group games may: sudo usermod -aG games $USER, then log in again"),
                                              (0o660, 54321, "the members of group 54321 may"), (0o600, "games", "only root may"), (0o660, 0, "only root may")])
def test_a_socket_that_one_may_not_open(mode, group, hint):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        program, path = shutil.copy(CAISSON, folder), os.path.join(folder, "s")
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path)
            shutil.chown(path, group=group)
            os.chmod(path, mode)
            r = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program, "-H", "unix://" + path, "ps"], capture_output=True, text=True, check=False,
                               env={"PATH": os.environ["PATH"], "HOME": folder})
    assert r.returncode == 1 and r.stderr.startswith(f"permission denied while trying to connect to the Caisson daemon socket at unix://{path} ({hint}"), r


def test_nobody_there(offline):
    for host in ("unix:///nonexistent.sock", f"tcp://127.0.0.1:{free_port()}", "unix:///etc/passwd"):
        for command in (["ps"], ["run", "x"], ["version"], ["info"], ["context", "ls"]):
            offline.same("-H", host, *command) if command not in (["version"], ["info"]) else None
            docker, caisson = offline.both("-H", host, *command)
            assert (caisson[0], caisson[2]) == (docker[0], docker[2]), (host, command)


# -- versions and headers -----------------------------------------------------------------------------------------------

class Talk(Listener):
    """A server of one API version that says what it was asked."""

    def __init__(self, api):
        self.api, self.seen = api, []
        super().__init__()
        self.host = f"tcp://127.0.0.1:{self.port}"

    def serve(self, conn):
        with conn:
            head = b""
            while b"\r\n\r\n" not in head and (part := conn.recv(4096)):
                head += part
            line, *headers = head.decode().split("\r\n\r\n")[0].split("\r\n")
            self.seen.append((line.rsplit(" ", 1)[0], dict(h.split(": ", 1) for h in headers)))
            asked = re.match(r"\S+ /v1\.(\d+)/", line)
            status, body = "200 OK", "[]"
            if asked and int(asked.group(1)) > self.api:
                status, body = "400 Bad Request", json.dumps({"message": f"client version 1.{asked.group(1)} is too new. Maximum supported API version is 1.{self.api}"})
            if line.startswith("HEAD"):
                body = ""
            conn.sendall(f"HTTP/1.1 {status}\r\nApi-Version: 1.{self.api}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())


@pytest.fixture
def old():
    t = Talk(41)
    yield t
    t.close()


def run(*args, **env):
    return subprocess.run([CAISSON, *args], capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **env}, stdin=subprocess.DEVNULL)


def test_an_older_engine_is_spoken_to_in_its_version(old):
    assert run("-H", old.host, "ps").returncode == 0
    assert [line.split("?")[0] for line, _ in old.seen] == ["GET /v1.55/containers/json", "GET /v1.41/containers/json"]


def test_a_newer_engine_is_spoken_to_in_ours():
    new = Talk(99)
    try:
        assert run("-H", new.host, "ps").returncode == 0
        assert [line.split("?")[0] for line, _ in new.seen] == ["GET /v1.55/containers/json"]
    finally:
        new.close()


def test_a_stream_asks_first(old, tmp_path):
    (tmp_path / "x.tar").write_bytes(b"x" * 100000)
    run("-H", old.host, "load", "-i", str(tmp_path / "x.tar"))
    assert [line.split("?")[0] for line, _ in old.seen] == ["HEAD /_ping", "POST /v1.41/images/load"]


def test_the_version_can_be_pinned(old):
    assert run("-H", old.host, "ps", DOCKER_API_VERSION="1.30").returncode == 0
    assert old.seen[0][0].startswith("GET /v1.30/")
    r = run("-H", old.host, "ps", DOCKER_API_VERSION="1.45")
    assert r.returncode == 1 and "client version 1.45 is too new" in r.stderr and len(old.seen) == 2


def test_headers_of_ones_own(old, tmp_path):
    for bad, why in (("Bad\r\nName", "name"), ("A B", "name"), ("", "name"), ("X-Bad", "value for")):      # as docker refuses them
        (tmp_path / "config.json").write_text(json.dumps({"HttpHeaders": {bad: "a\r\nb" if bad == "X-Bad" else "x"}}))
        r = run("--config", str(tmp_path), "-H", old.host, "ps")
        assert r.returncode == 1 and f'invalid header field {why} "' in r.stderr and not old.seen
    (tmp_path / "config.json").write_text(json.dumps({"HttpHeaders": {"X-Mine": "a b"}}))
    run("--config", str(tmp_path), "-H", old.host, "ps")
    assert old.seen[-1][1]["X-Mine"] == "a b"
    run("--config", str(tmp_path), "-H", old.host, "ps", DOCKER_CUSTOM_HEADERS='X-One=1,"X-Two=a,b"')
    assert old.seen[-1][1]["X-One"] == "1" and old.seen[-1][1]["X-Two"] == "a,b"


# -- info, version, doctor, compute -------------------------------------------------------------------------------------

def test_info_and_version(twins):
    docker, caisson = twins.both("info")
    cut = re.compile(r"(File Descriptors|Goroutines|System Time|EventsListeners): .*")
    halves = [cut.sub("", r[1]).split("\nServer:\n")[1] for r in (docker, caisson)]
    # a map of Go's: in whatever order
    halves = [re.sub(r"Runtimes: (.*)", lambda m: " ".join(sorted(m.group(1).split())), h) for h in halves]
    assert halves[0] == halves[1] and caisson[2] == docker[2]
    for args in (["info", "-f", "{{.Name}} {{.Swarm.LocalNodeState}} {{len .SecurityOptions}}"], ["info", "-f", "{{.Nosuch}}"], ["info", "-f", "{{"], ["version", "-f", "{{.Nosuch}}"],
                 ["info", "-f", "{{json .RegistryConfig}}"], ["version", "-f", "{{json .Server}}"], ["version", "-f", "{{.Server.Os}}/{{.Client.Context}}"], ["version", "-f", "{{"]):
        twins.same(*args)
    server = [r[1].split("\nServer:")[1] for r in twins.both("version")]
    assert re.sub(r"  Go version: *\n", "", server[0]) == server[1]
    for args in (["version", "-f", "{{.Server.Version}}"], ["version", "-f", "{{.Client.Os}}"], ["info", "-f", "{{.ID}}"]):
        twins.same(*args, DOCKER_HOST="unix:///nonexistent.sock")


def test_doctor(engine, things):
    r = run("doctor", "--json", CAISSON_HOST="unix://" + engine.sock)
    found = json.loads(r.stdout)
    subjects = {f["Subject"] for f in found}
    assert {"kernel", "namespaces", "cgroups", "overlayfs", "seccomp", "firewall", "KVM", "engine", "space"} <= subjects
    assert r.returncode == (1 if any(f["Health"] == "fail" for f in found) else 0)
    assert os.uname().release in next(f["Found"] for f in found if f["Subject"] == "kernel")
    for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        t = Terminal(engine, "doctor", program=CAISSON, env=env)
        seen = t.until(b"engine")
        t.wait()
        t.close()
        assert (b"\x1b[" in seen) == coloured
    r = run("doctor", CAISSON_HOST="unix:///nonexistent.sock")
    assert r.returncode == 1 and "[FAIL] engine" in r.stdout and "-> start it" in r.stdout


def test_compute(engine, things, twins):
    env = {"CAISSON_HOST": "unix://" + engine.sock}
    ident = json.loads(run("inspect", "comp-running", **env).stdout)[0]["Id"]
    assert ident in run("compute", "list", "-q", "--no-trunc", **env).stdout.split()
    listed = [json.loads(line) for line in run("compute", "ls", "--json", **env).stdout.splitlines()]
    mine = next(s for s in listed if s["Id"] == ident)
    assert mine["State"] == "Running" and mine["ProcessId"] > 1
    seen = json.loads(run("compute", "inspect", "comp-running", **env).stdout)[0]
    assert seen["Id"] == ident and seen["Statistics"]["Memory"]["MemoryUsageCommitBytes"] > 0
    rows = run("compute", "processes", "comp-running", **env).stdout.splitlines()
    assert rows[0].split()[:3] == ["PROCESS", "PID", "IMAGE"] and rows[1].split()[:3] == ["init", str(mine["ProcessId"]), "sleep"]
    assert ident[:12] in run("compute", "stats", **env).stdout
    for args in (["processes", "comp-created"], ["inspect", "nosuch"], ["stats", "nosuch"]):
        r = run("compute", *args, **env)
        assert r.returncode == 1 and "no such compute system" in r.stderr


def test_compute_needs_our_engine():
    t = Talk(41)
    try:
        assert run("-H", t.host, "compute", "list").returncode == 0  # it answers [] to everything
    finally:
        t.close()


@pytest.mark.unsanitized
# -- what starting costs ------------------------------------------------------------------------------------------------

def test_version_of_the_client_loads_nothing_it_does_not_need():
    libraries = subprocess.run(["ldd", CAISSON], capture_output=True, text=True, check=True).stdout
    assert {re.sub(r"\.so.*", "", line.split()[0]) for line in libraries.splitlines() if "/" in line} <= {"linux-vdso", "libjansson", "libc", "/lib64/ld-linux-x86-64", "libm"}
    usage = subprocess.run(["/usr/bin/env", "-i", "python3", "-c", f"import resource, subprocess; subprocess.run([{CAISSON!r}, 'version', '--client'], check=True); "
                            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert usage[0].startswith("Client:")
    if "asan" not in str(fx.BUILD) and "san" not in libraries:
        assert int(usage[-1]) <= 12288  # the measure counts python's fork, too; /usr/bin/time says 2 MiB


@pytest.mark.parametrize("args", [["volume", "prune", "-a", "-f"], ["run", "--annotation", "a=b", "--cgroupns", "host", "x"], ["image", "inspect", "--platform", "linux/amd64", "x"]])
def test_flags_that_are_newer_than_the_engine(args, tmp_path):
    t = Talk(30)
    try:
        Twins(tmp_path).same("-H", t.host, *args)
        assert not [line for line, _ in t.seen if "_ping" not in line], "nothing was asked for before that was known"
    finally:
        t.close()
