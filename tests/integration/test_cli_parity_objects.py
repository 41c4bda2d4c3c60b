# SPDX-License-Identifier: Apache-2.0
"""Lists, formats, inspects, and commands on objects: `docker` 28.2.2 and `caisson` side by side (tests/lib/parity.py)."""
import shutil
import subprocess

import pytest

import parity

if not shutil.which("docker"):
    pytest.skip("no docker client", allow_module_level=True)
pytestmark = pytest.mark.caisson

PS_FIELDS = ["ID", "Names", "Image", "Command", "CreatedAt", "RunningFor", "Ports", "State", "Status", "Size", "Labels", "Mounts", "LocalVolumes", "Networks", "Platform"]
IMAGE_FIELDS = ["ID", "Repository", "Tag", "Digest", "CreatedSince", "CreatedAt", "Size", "Containers", "VirtualSize", "SharedSize", "UniqueSize"]

READ = [
    # -- ps
    "ps", "ps -a", "ps -aq", "ps -a --no-trunc", "ps -q", "ps -as", "ps -l", "ps -n 1", "ps -n 0", "ps -a -n 2 -q", "container ls -a", "container list -aq",
    "ps -a --format json", "ps -a --format '{{json .}}'", "ps -a --format raw", "ps -aq --format raw", "ps -a --format table", "ps -aq --format '{{.Names}}'",
    *[f"ps -a --format '{{{{.{f}}}}}'" for f in PS_FIELDS],
    *[f"ps -a --format 'table {{{{.{f}}}}}\\t{{{{.Names}}}}'" for f in PS_FIELDS],
    "ps -a --format '{{.Label \"com.example.a\"}}|{{.Label \"none\"}}'", "ps -a --format 'table {{.Label \"com.example.a-b_c\"}}\\t{{.ID}}'",
    "ps -a --format '{{.Nosuch}}'", "ps -a --format '{{.ID'", "ps -a --format '{{.ID.x}}'", "ps -a --format '{{.Label}}'", "ps -a --format '{{nosuch .ID}}'",
    "ps -a --format '{{upper .Names}} {{lower .Image}} {{truncate .ID 4}} {{len .Names}}'", "ps -a --format '{{printf \"%-30s|%5s\" .Names .State}}'",
    "ps -a --format 'table {{upper .Names}}\\t{{truncate .ID 4}}\\t{{json .State}}'", "ps -a --format '{{range split .Names \"-\"}}[{{.}}]{{end}}'",
    "ps -a --format '{{if eq .State \"running\"}}up{{else}}down{{end}} {{.Names}}'", "ps -a --format ''", "ps -a --format 'plain text'", "ps -a --format 'a\\tb\\nc'",
    "ps -a -f name=parity-web", "ps -a -f status=created --format '{{.Names}}'", "ps -a -f label=com.example.a --format '{{.Names}}'", "ps -a -f nosuch=1", "ps -a -f name",
    "ps -a -f status=nosuch", "ps -a --filter name=parity --filter status=running --format '{{.Names}}'", "ps x",
    # -- images
    ("images", {"sort": True}), ("images -a", {"sort": True}), ("images -q", {"sort": True}), ("images --no-trunc", {"sort": True}), ("images --digests", {"sort": True}),
    "images IMAGE", "images -q IMAGE", "image ls IMAGE", "images nosuch", "images ls", "images IMAGE:latest", "images IMAGE:none", "images --format json IMAGE",
    "images --format '{{json .}}' IMAGE", "images --format raw IMAGE", "images -q --format raw IMAGE", "images --format raw --digests IMAGE", "images --format table IMAGE",
    *[f"images --format '{{{{.{f}}}}}' IMAGE" for f in IMAGE_FIELDS], *[f"images --format 'table {{{{.{f}}}}}' IMAGE" for f in IMAGE_FIELDS],
    "images --format '{{.Nosuch}}' IMAGE", "images --format 'table {{.Nosuch}}' IMAGE", "images --format '{{.ID' IMAGE", "images -f dangling=true", "images -f nosuch=1",
    "images -f reference=caisson-test/* --format '{{.Repository}}'", "images a b", "images -f label=nosuch -q",
    "history IMAGE", "history -q IMAGE", "history --no-trunc IMAGE", "history -H=false IMAGE", "history --format json IMAGE", "history --format '{{.CreatedBy}}|{{.Size}}|{{.Comment}}' IMAGE",
    "history --format '{{.CreatedAt}} {{.CreatedSince}}' IMAGE", "history nosuch", "history", "history a b", "history --format '{{.X}}' IMAGE",
    # -- volumes
    "volume ls", "volume ls -q", "volume ls --format json", "volume ls --format '{{json .}}'", "volume ls --format raw", "volume ls -q --format raw", "volume ls --format table",
    "volume ls --format '{{.Name}} {{.Driver}} {{.Scope}} {{.Links}} {{.Size}} {{.Group}} {{.Availability}} {{.Status}}'", "volume ls --format 'table {{.Name}}\\t{{.Labels}}'",
    "volume ls --format '{{.Label \"k\"}}'", "volume ls --format '{{.Mountpoint}}'", "volume ls --format '{{.X}}'", "volume ls -f name=parity", "volume ls -f dangling=false -q",
    "volume ls -f label=k", "volume ls -f nosuch=1", "volume ls x", "volume list",
    "volume inspect parity-vol", "volume inspect -f '{{.Name}} {{.Driver}}' parity-vol", "volume inspect --format json parity-vol", "volume inspect -f '{{json .}}' parity-vol",
    "volume inspect -f '{{.Labels.k}}' parity-vol", "volume inspect -f '{{.Nosuch}}' parity-vol", "volume inspect nosuch", "volume inspect parity-vol nosuch", "volume inspect",
    "volume inspect -f '{{.Labels}} {{.Options}} {{.Status}} {{.UsageData}}' parity-vol",
    # -- inspect
    "inspect parity-web", "inspect parity-web parity-idle", "inspect nosuch", "inspect parity-web nosuch", "inspect IMAGE", "inspect parity-vol", "inspect --type container parity-web",
    "inspect --type image IMAGE", "inspect --type image parity-web", "inspect --type volume parity-vol", "inspect --type network nosuch", "inspect --type nosuch x", "inspect --type '' x",
    "inspect", "inspect --type container nosuch", "inspect -f '{{.Name}}' parity-web parity-idle", "inspect --format json parity-web", "container inspect parity-web", "container inspect nosuch",
    "container inspect -f '{{.State.Status}}' parity-web", "image inspect IMAGE", "image inspect nosuch", "image inspect -f '{{.Os}}/{{.Architecture}}' IMAGE", "image inspect IMAGE nosuch",
    "inspect -s -f '{{.SizeRw}}' parity-idle", "inspect -s IMAGE", "inspect -f '{{.Id}}' parity-web", "inspect -f '{{.ID}}' parity-web", "inspect -f '{{.Nosuch}}' parity-web",
    "inspect -f '{{.State.Nosuch}}' parity-web", "inspect -f '{{.Config.Labels}}' parity-web", "inspect -f '{{index .Config.Labels \"com.example.a\"}}' parity-web",
    "inspect -f '{{.Config.Labels.nosuch}}' parity-web", "inspect -f '{{json .Config}}' parity-web", "inspect -f '{{json .HostConfig}}' parity-web", "inspect -f '{{json .State}}' parity-idle",
    "inspect -f '{{json .}}' parity-idle", "inspect -f '{{.Config.Env}}' parity-web", "inspect -f '{{range .Config.Env}}{{println .}}{{end}}' parity-web",
    "inspect -f '{{.HostConfig.RestartPolicy}} {{.HostConfig.LogConfig}}' parity-web", "inspect -f '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}' parity-web",
    "inspect -f '{{.HostConfig.Memory}} {{.HostConfig.NanoCPUs}}' parity-web", "inspect -f '{{.Mounts}}' parity-web", "inspect -f '{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}}{{end}}' parity-web",
    "inspect -f '{{json .Mounts}}' parity-web", "inspect -f '{{.NetworkSettings.Networks}}' parity-idle", "inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{end}}' parity-web",
    "inspect -f '{{.State}}' parity-idle", "inspect -f '{{.Created}} {{.State.StartedAt}} {{.State.FinishedAt}}' parity-idle", "inspect -f '{{if .State.Running}}yes{{else}}no{{end}}' parity-web",
    "inspect -f '{{eq .State.ExitCode 0}} {{gt .State.Pid 0}}' parity-web", "inspect -f '{{.State.Health}}' parity-web", "inspect -f '{{.State.Health.Status}}' parity-web",
    "inspect -f '{{.Config.Cmd}} {{json .Config.Cmd}} {{join .Config.Cmd \",\"}}' parity-web", "inspect -f '{{with .Config}}{{.Image}}{{end}}' parity-web", "inspect -f '{{' parity-web",
    "inspect -f '{{nosuch}}' parity-web", "inspect -f '}}' parity-web", "inspect -f '{{.Name' parity-web", "inspect -f '{{range .}}' parity-web", "inspect -f '{{.Config.User.x}}' parity-web",
    "inspect -f '{{slice .Id 0 8}}' parity-web", "inspect -f '{{.HostConfig.NetworkMode}} {{printf \"%T\" .HostConfig.NetworkMode}}' parity-web", "inspect -f '{{upper .HostConfig.NetworkMode}}' parity-web",
    "inspect -f '{{printf \"%s|%q|%v|%5d\" .Name .Driver .State.Running .RestartCount}}' parity-web", "inspect -f '' parity-idle", "inspect -f text parity-web", "inspect -f '{{.}}' nosuch",
    "inspect -f '{{.RepoTags}} {{index .RepoTags 0}}' IMAGE", "inspect -f '{{.Config.Cmd}} {{.Config.Env}}' IMAGE", "inspect -f '{{json .Config}}' IMAGE", "inspect -f '{{json .RootFS}}' IMAGE",
    "inspect -f '{{.RootFS.Type}} {{len .RootFS.Layers}}' IMAGE", "inspect -f '{{.Size}}' IMAGE", "inspect -f '{{json .}}' IMAGE", "inspect -f '{{.GraphDriver.Name}}' IMAGE",
    "inspect -f '{{define \"t\"}}<{{.}}>{{end}}{{template \"t\" .Name}}' parity-web", "inspect -f '{{.Args}} {{.Path}} {{.Platform}}' parity-web", "inspect -f '{{.HostConfig.Ulimits}}' parity-web",
    # -- networks
    "network ls", "network ls -q", "network ls --no-trunc", "network ls --format json", "network ls --format '{{.Name}} {{.Driver}} {{.Scope}} {{.IPv4}} {{.IPv6}} {{.Internal}}'", "network ls --format raw",
    "network ls --format 'table {{.Name}}\\t{{.CreatedAt}}'", "network ls -f driver=host", "network ls -f nosuch=1", "network ls x", "network inspect nosuch", "network ls --format '{{.X}}'",
    "network inspect host", "network inspect -f '{{.Name}} {{.Driver}} {{.ID}} {{.Scope}}' host", "network inspect -f '{{json .IPAM}}' host", "network inspect -f '{{.Created}}' host", "network inspect",
    "network create", "network create a b", "network connect a", "network create --subnet nonsense x", "network create --gateway 10.1.2.3 x", "network create --subnet 10.1.0.0/16 --gateway 10.2.0.1 x",
    "network create --subnet 10.1.0.0/16 --subnet 10.1.2.0/24 x", "network create --subnet 10.1.0.0/16 --ip-range nonsense x", "network create --subnet 10.1.0.0/16 --aux-address a=10.2.0.1 x",
    "network connect --driver-opt nonsense a b", "network rm", "network connect nosuch parity-web", "network disconnect nosuch parity-web",
    # -- others
    "port parity-web", "port nosuch", "port parity-web 80", "port parity-web x", "port parity-web 99999", "port parity-web 80/udp", "port", "port a b c", "top nosuch", "top parity-idle", "top", "diff nosuch", "diff parity-idle",
    "diff", "diff a b", "rename", "rename a", "rename nosuch b", "rename '' b", "update", "update parity-web", "update --memory x parity-web", "update --restart on-failure:x parity-web", "update --restart :3 parity-web",
    "update --cpus 1.5 nosuch", "plugin ls", "plugin ls -q", "plugin ls --format json", "plugin list", "plugin inspect nosuch", "system df --format '{{.Type}} {{.TotalCount}} {{.Active}}'", "system df --format '{{.X}}'",
    "system df x", "system df", "system df --format json", "system df --format raw", "system df -v --format '{{range .Volumes}}{{.Name}} {{.Links}}{{end}}'", "system df -v --format '{{range .Images}}{{.Repository}}{{println}}{{end}}'", "system df -v --format '{{.X}}'",
    "search", "search a b", "version --format '{{.Server.Version}} {{.Server.Os}}/{{.Server.Arch}} {{.Server.APIVersion}}'", "version -f '{{.Server.KernelVersion}}'", "version -f '{{.X}}'", "version -f '{{json .Server}}'", "version x",
    "version --format '{{.Client.Os}}/{{.Client.Arch}} {{.Client.Context}}'", "version -f '{{'", "info -f '{{.Driver}} {{.NCPU}} {{.Name}} {{.ServerVersion}}'", "info -f '{{.X}}'", "info -f '{{json .Plugins}}'", "info -f '{{.Swarm.LocalNodeState}}'",
    "info -f '{{.ID}}'", "info -f '{{'", "info x", "info -f '{{json .Runtimes}}'", "info -f '{{.ClientInfo.Debug}} {{.ClientInfo.Context}}'", "info --format '{{.SecurityOptions}}'", "info -f '{{range .Warnings}}{{println .}}{{end}}'",
    "events --until 0s --since 0s", "events --format '{{.X}}' --until 0s", "events --format '{{' --until 0s", "events x", "events --since nonsense --until 0s", "events -f nosuch --until 0s",
    "events --since 1h --until 0s --filter container=parity-idle --filter event=create", "events --since 1h --until 0s -f container=parity-idle -f event=create --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}}'",
    "events --since 1h --until 0s -f container=parity-idle -f event=create --format json", "events --since 1h --until 0s -f type=nosuch", "events --since 1h --until 0s -f container=parity-idle -f event=create --format '{{.ID}} {{.From}} {{.Status}} {{.Scope}}'",
    "tag", "tag a", "tag nosuch b", "tag IMAGE 'B A D'", "tag IMAGE BAD:tag", "tag IMAGE bad:", "rmi", "rmi nosuch", "rmi -f nosuch", "rmi nosuch1 nosuch2", "rmi 'BAD NAME'", "image rm nosuch", "volume rm", "volume rm nosuch", "volume rm -f nosuch", "volume create a b",
    "volume create 'bad name'", "volume update", "network rm nosuch", "network rm -f nosuch", "image prune x", "container prune x", "system prune x", "system prune --volumes -f --filter until=1h", "volume prune -f --filter nosuch=1",
    "container prune -f --filter nosuch=1", "image prune -f --filter nosuch=1", "volume prune -a -f --filter all=1",
]

CHANGE = [
    ("volume create {x}", {"after": ["volume rm {x}"]}), ("volume create --label a=b --label c -o type=tmpfs -o device=tmpfs {x}", {"after": ["volume rm {x}"]}),
    ("volume rm {x}", {"before": ["volume create {x}"]}), ("volume rm {x} nosuch {x}", {"before": ["volume create {x}"]}), ("volume rm -f {x}", {"before": ["volume create {x}"]}),
    ("volume rm parity-vol", {}), ("volume update parity-vol", {}), ("volume update nosuch", {}), ("tag IMAGE a@sha256:" + "0" * 64, {}), ("tag nosuch:1 {x}", {}), ("tag " + "a" * 64 + " {x}", {}), ("volume create -d nosuch {x}", {}), ("volume create {x}", {"before": ["volume create {x}"], "after": ["volume rm {x}"]}),
    ("tag IMAGE {x}:v1", {"after": ["rmi {x}:v1"]}), ("tag IMAGE {x}", {"after": ["rmi {x}"]}), ("tag IMAGE host.invalid:5000/a/{x}:1", {"after": ["rmi host.invalid:5000/a/{x}:1"]}),
    ("rmi {x}:v1", {"before": ["tag IMAGE {x}:v1"]}), ("rmi {x}:v1 nosuch {x}:v2", {"before": ["tag IMAGE {x}:v1", "tag IMAGE {x}:v2"]}), ("rmi --no-prune {x}", {"before": ["tag IMAGE {x}"]}),
    ("images {x}", {"before": ["tag IMAGE {x}:v1", "tag IMAGE {x}:v2"], "after": ["rmi {x}:v1 {x}:v2"], "sort": True}),
    ("rename {x} {x}-new", {"before": ["create --network none --name {x} IMAGE true"], "after": ["rm -f {x}-new"]}),
    ("rename {x} parity-web", {"before": ["create --network none --name {x} IMAGE true"], "after": ["rm -f {x}"]}),
    ("update --memory 64m --memory-swap 128m --cpu-shares 512 --restart on-failure:3 {x}", {"before": ["create --network none --name {x} IMAGE true"], "after": ["rm -f {x}"]}),
    ("update --pids-limit 100 {x} nosuch", {"before": ["create --network none --name {x} IMAGE true"], "after": ["rm -f {x}"]}),
    ("diff {x}", {"before": ["run --network none --name {x} IMAGE sh -c 'mkdir /made; echo 1 > /made/file; rm /etc/passwd'"], "after": ["rm {x}"]}),
    ("network create {x}", {"after": ["network rm {x}"]}), ("network create --subnet 10.231.7.0/24 --gateway 10.231.7.1 --label a=b --internal {x}", {"after": ["network rm {x}"]}),
    ("network create -d nosuch {x}", {}), ("network create host", {}), ("network create {x}", {"before": ["network create {x}"], "after": ["network rm {x}"]}),
    ("network rm {x} nosuch", {"before": ["network create --internal {x}"]}), ("network rm host", {}), ("network prune -f --filter label={x}", {"before": ["network create --internal --label {x} {x}"]}),
    ("network inspect {x}", {"before": ["network create --internal --subnet 10.231.8.0/24 --label 'a=<b>' -o x=y {x}"], "after": ["network rm {x}"]}),
    ("network inspect -f '{{range .IPAM.Config}}{{.Subnet}}{{end}} {{.Labels}} {{.Options}} {{json .Containers}}' {x}",
     {"before": ["network create --internal --subnet 10.231.8.0/24 --label 'a=<b>' -o x=y {x}"], "after": ["network rm {x}"]}),
    ("network ls -f name={x} --format '{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.Labels}} {{.Label \"a\"}}'", {"before": ["network create --internal --label a=b {x}"], "after": ["network rm {x}"]}),
    ("network connect {x} parity-idle", {"before": ["network create --internal {x}"], "after": ["network disconnect -f {x} parity-idle", "network rm {x}"]}),
    ("network disconnect {x} parity-idle", {"before": ["network create --internal {x}"], "after": ["network rm {x}"]}),
    ("container prune", {"stdin": "n\n"}), ("container prune", {"stdin": ""}), ("image prune", {"stdin": "n\n"}), ("image prune -a", {"stdin": "no\n"}), ("network prune", {"stdin": "N\n"}), ("volume prune", {"stdin": "n\n"}),
    ("volume prune -a", {"stdin": "x\n"}), ("system prune", {"stdin": "n\n"}), ("system prune -a --volumes", {"stdin": "n\n"}), ("system prune --filter label=a --filter until=24h --filter label!=b", {"stdin": "n\n"}),
    ("container prune -f --filter label={x}", {"before": ["create --network none --label {x} --name {x} IMAGE true"]}), ("container prune -f --filter label=nosuch", {}), ("volume prune -a -f --filter label={x}", {"before": ["volume create --label {x} {x}"]}),
    ("volume prune -f --filter label=nosuch", {}), ("image prune -f --filter label=nosuch", {}), ("network prune -f --filter label=nosuch", {}), ("container prune --filter label={x}", {"before": ["create --network none --label {x} --name {x} IMAGE true"], "stdin": " y \n"}),
    ("system prune -f --filter label={x}", {"before": ["create --network none --label {x} --name {x} IMAGE true"]}),
    ("ps -a -f name={x} --format '{{.Names}} {{.Status}} {{.Command}}'", {"before": ["run --network none --name {x} IMAGE sh -c 'exit 3'"], "after": ["rm {x}"], "loose": True}),
    ("inspect {x}", {"before": ["create --network none --name {x} --health-cmd true --health-interval 5s --ulimit nofile=10:20 --tmpfs /t:size=1m -e 'A=<&>' IMAGE true"], "after": ["rm {x}"]}),
    ("inspect -f '{{.Config.Healthcheck}} {{.Config.Healthcheck.Interval}} {{.HostConfig.Tmpfs}} {{json .Config.Env}}' {x}",
     {"before": ["create --network none --name {x} --health-cmd true --health-interval 5s --tmpfs /t:size=1m -e 'A=<&>' IMAGE true"], "after": ["rm {x}"]}),
    ("ps -a --no-trunc -f name={x} --format '{{json .}}'", {"before": ["create --network none --name {x} -v /tmp:/somewhere/rather/long -v {x}:/vol --label 'a=<b>' IMAGE sh -c 'echo \"quoted\" & <x>'"], "after": ["rm {x}", "volume rm {x}"]}),
    ("ps -a -f name={x}", {"before": ["create --network none --name {x} IMAGE sh -c 'a command that is longer than twenty'"], "after": ["rm {x}"]}),
    ("port {x}", {"before": ["create --network none --name {x} --expose 80 IMAGE true"], "after": ["rm {x}"]}),
]

CONFIGS = [("psFormat", "table {{.Names}}\\t{{.State}}", "ps -a"), ("psFormat", "{{.Names}}", "ps -aq"), ("psFormat", "{{.Nosuch}}", "ps -a"), ("psFormat", "{{.Names}}", "ps -a --format table"), ("imagesFormat", "{{.Repository}}", "images IMAGE"),
           ("imagesFormat", "{{.Repository}}", "images -q IMAGE"), ("volumesFormat", "{{.Name}}!", "volume ls"), ("networksFormat", "{{.Name}}!", "network ls"), ("pluginsFormat", "table {{.Name}}!", "plugin ls")]


@pytest.fixture(scope="module")
def world(engine):
    """Something to look at."""
    def docker(line):
        done = parity.command(engine, "docker", line, "unused")
        assert done.returncode == 0, done.stderr
    docker("volume create --label k=v parity-vol")
    docker("run -d --name parity-web --network none --label com.example.a=1 --label 'z=<html>' -e A=1 -e 'B=2 & 3' -m 64m -v parity-vol:/data:ro --restart on-failure:2 IMAGE sleep 1000")
    docker("create --name parity-idle --network none IMAGE true")
    yield engine
    for line in ("rm -f parity-web parity-idle", "volume rm parity-vol"):
        parity.command(engine, "docker", line, "unused")


@pytest.mark.parametrize("case", READ, ids=parity.ident)
def test_reading(world, case):
    parity.compare(world, case)


@pytest.mark.parametrize("case", CHANGE, ids=parity.ident)
def test_changing(world, case):
    parity.compare(world, case)


@pytest.mark.parametrize("key, value, line", CONFIGS)
def test_configured_formats(world, tmp_path, key, value, line):
    import json
    (tmp_path / "config.json").write_text(json.dumps({key: value}))
    parity.compare(world, (line, {"env": {"DOCKER_CONFIG": str(tmp_path)}}))


def test_the_harness_sees_differences(world, monkeypatch):
    monkeypatch.setitem(parity.PROGRAMS, "caisson", "echo")
    with pytest.raises(AssertionError):
        parity.compare(world, "ps")


def test_the_real_thing():
    assert "28." in subprocess.run(["docker", "--version"], capture_output=True, text=True, check=True).stdout
