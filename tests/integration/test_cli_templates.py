# SPDX-License-Identifier: Apache-2.0
"""Go templates through both clients: those that people use, and some by chance out of a grammar (CAISSON_TEMPLATES=5000 for more of them, CAISSON_TEMPLATES_SEED
for others than the usual). Both print the same, or both fail with the same status."""
import json
import os
import random
import shutil
import subprocess

import pytest

import parity

if not shutil.which("docker"):
    pytest.skip("no docker client", allow_module_level=True)
pytestmark = pytest.mark.caisson
COUNT = int(os.environ.get("CAISSON_TEMPLATES", "40"))
SEED = int(os.environ.get("CAISSON_TEMPLATES_SEED", "28"))

# of docker's reference, of scripts and of answers to questions. What works is one template: a client is asked once.
CONTAINER = r"""{{.State.Status}}
{{.State.Health.Status}}
{{if .State.Health}}{{.State.Health.Status}}{{end}}
{{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}
{{if .Config.Healthcheck}}{{.State.Health.Status}}{{else}}none{{end}}
{{json .State.Health}}
{{range .State.Health.Log}}{{.ExitCode}} {{.Output}}{{end}}
{{.State.OOMKilled}} {{.State.Error}} {{.State.ExitCode}} {{.State.Paused}} {{.State.Restarting}} {{.State.Dead}}
{{if eq .State.ExitCode 0}}good{{end}}
{{if and .State.Running (not .State.Paused)}}up{{end}}
{{not .State.Running}}
{{.NetworkSettings.IPAddress}}
{{.NetworkSettings.Networks.none.IPAddress}}
{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}
{{range .NetworkSettings.Networks}}{{.MacAddress}}|{{.Gateway}}|{{.IPPrefixLen}}|{{.GlobalIPv6Address}}{{end}}
{{.Name}} - {{range.NetworkSettings.Networks}}{{.IPAddress}}{{end}}
{{range $name, $net := .NetworkSettings.Networks}}{{$name}}={{$net.IPAddress}} {{end}}
{{range $k, $v := .NetworkSettings.Networks}}{{printf "%s\n" $k}}{{end}}
{{(index .NetworkSettings.Networks "none").IPAddress}}
{{len .NetworkSettings.Networks}}
{{json .NetworkSettings.Networks}}
{{.NetworkSettings.Ports}}
{{json .NetworkSettings.Ports}}
{{range $p, $conf := .NetworkSettings.Ports}} {{$p}} -> {{(index $conf 0).HostPort}} {{end}}
{{range $p, $conf := .NetworkSettings.Ports}}{{$p}}{{if $conf}} => {{range $conf}}{{.HostIp}}:{{.HostPort}} {{end}}{{end}}{{end}}
{{range $p, $conf := .HostConfig.PortBindings}}{{$p}} -> {{(index $conf 0).HostPort}} {{end}}
{{range $index, $elem := .Config.ExposedPorts}}{{$index}}{{end}}
{{json .Config.ExposedPorts}} {{len .Config.ExposedPorts}}
{{.Config.ExposedPorts}}
{{.LogPath}}
{{.Config.Image}} {{.Image}}
{{.Config.Hostname}}.{{.Config.Domainname}}
{{.Config.User}}|{{.Config.WorkingDir}}|{{.Config.Tty}}|{{.Config.StopSignal}}
{{.Config.Env}}
{{range .Config.Env}}{{println .}}{{end}}
{{range .Config.Env}}{{if eq . "A=1"}}found{{end}}{{end}}
{{range $i, $e := .Config.Env}}{{if $i}}, {{end}}{{$e}}{{end}}
{{range $index, $value := .Config.Env}}{{if eq (index (split $value "=") 0) "A"}}{{index (split $value "=") 1}}{{end}}{{end}}
{{range .Config.Env}}{{with split . "="}}{{index . 0}}: {{index . 1}}{{"\n"}}{{end}}{{end}}
{{join .Config.Env "\n"}}
{{join .Config.Env ","}} {{json .Config.Env}}
{{index .Config.Env 0}}
{{.Config.Labels}}
{{json .Config.Labels}}
{{index .Config.Labels "com.example.a"}}
{{index .Config.Labels "nosuch"}}
{{.Config.Labels.z}}
{{range $k, $v := .Config.Labels}}{{$k}}={{$v}}{{println}}{{end}}
{{with .Config.Labels}}{{index . "com.example.a"}}{{end}}
{{if index .Config.Labels "com.example.a"}}yes{{else}}no{{end}}
{{or (index .Config.Labels "nosuch") "default"}}
{{index .Config.Labels "com.docker.compose.project"}}
{{$l := .Config.Labels}}{{range $k, $v := $l}}{{if eq $k "z"}}{{$v}}{{end}}{{end}}
{{.Config.Cmd}} {{.Config.Entrypoint}} {{.Path}} {{.Args}}
{{join .Config.Cmd " "}}
{{join .Args " "}}
{{json .Config.Cmd}} {{json .Config.Entrypoint}}
{{range .Config.Cmd}}{{printf "%q " .}}{{end}}
{{.Mounts}}
{{json .Mounts}}
{{range .Mounts}}{{.Source}}:{{.Destination}}{{end}}
{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}}{{"\n"}}{{end}}{{end}}
{{range .Mounts}}{{if eq .Destination "/data"}}{{.Name}}{{end}}{{end}}
{{range .Mounts}}{{printf "%-10s %-20s %t\n" .Type .Destination .RW}}{{end}}
{{range $mount := .Mounts}}{{$mount.Name}} {{end}}
{{range $i, $m := .Mounts}}{{$i}}{{$m.Mode}}{{end}}
{{(index .Mounts 0).Name}}
{{with index .Mounts 0}}{{.Driver}}{{end}}
{{len .Mounts}}
{{.HostConfig.Binds}} {{json .HostConfig.Binds}}
{{range .HostConfig.Binds}}{{.}}{{end}}
{{.HostConfig.VolumesFrom}}
{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}
{{json .HostConfig.RestartPolicy}}
{{.State.Status}}#{{.HostConfig.RestartPolicy.Name}}
{{.RestartCount}}
{{.HostConfig.NetworkMode}} {{.HostConfig.PidMode}} {{.HostConfig.IpcMode}} {{.HostConfig.Privileged}}
{{printf "%.2f" .HostConfig.Memory}}
{{printf "%d MB" .HostConfig.Memory}}
{{printf "%x %o %b %c" .HostConfig.Memory .HostConfig.Memory .State.ExitCode 65}}
{{.HostConfig.CapAdd}} {{.HostConfig.CapDrop}} {{json .HostConfig.CapAdd}}
{{.HostConfig.SecurityOpt}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Devices}}
{{.HostConfig.LogConfig.Type}} {{.HostConfig.LogConfig.Config}}
{{.HostConfig.ExtraHosts}} {{.HostConfig.Links}}
{{json .HostConfig.LogConfig}}
{{.HostConfig.ShmSize}} {{.HostConfig.Runtime}} {{.HostConfig.Init}} {{.HostConfig.PidsLimit}}
{{.HostConfig.OomKillDisable}} {{.HostConfig.MemorySwappiness}}
{{.HostConfig.ConsoleSize}} {{.HostConfig.AutoRemove}} {{.HostConfig.CgroupnsMode}}
{{.GraphDriver.Name}} {{.Driver}}
{{range $k, $v := .GraphDriver.Data}}{{$k}} {{end}}
{{slice .Name 1}}
{{.Name | printf "%s"}} {{.Name | upper | printf "%q"}}
{{.Created}} {{slice .Created 0 10}}
{{.State.StartedAt}}{{/* when */}}
{{- .Name -}}
   {{- .Name}}   x
{{.Name}}{{"\t"}}{{.State.Status}}{{"\t"}}{{.Config.Image}}
'{{.Name}}'
{{ .Name }} {{.Config.Image}}\t\n
{{.Platform}} {{.ProcessLabel}} {{.MountLabel}} {{.AppArmorProfile}} {{.ExecIDs}}
{{.ResolvConfPath}}{{.HostnamePath}}{{.HostsPath}}
{{.SizeRw}} {{.SizeRootFs}}
{{json .}}
{{json .State}} {{json .Config}}
{{with .Config.Entrypoint}}{{index . 0}}{{else}}none{{end}}
{{if .Config.Tty}}tty{{else if .Config.OpenStdin}}stdin{{else}}neither{{end}}
{{.State}}
{{.Config.Volumes}} {{range $k, $v := .Config.Volumes}}{{$k}}{{end}}
{{.NetworkSettings.SandboxID}}{{.NetworkSettings.SandboxKey}}
{{.NetworkSettings.Gateway}}{{.NetworkSettings.Bridge}}{{.NetworkSettings.MacAddress}}
{{eq .State.Status "running" "paused"}} {{ne .Name ""}} {{lt .RestartCount 5}} {{ge .HostConfig.Memory 1}}
{{if or (eq .State.Status "exited") (eq .State.Status "running")}}x{{end}}
{{printf "%v %+v %#v" .State.Running .Name .RestartCount}}
{{printf "%T" .State}} {{printf "%T" .Config.Labels}} {{printf "%T" .HostConfig.Memory}}
{{html .Config.Labels.z}} {{js .Name}} {{urlquery .Name}}
{{title "abc def"}} {{lower .Name}} {{pad .State.Status 2 3}}|
{{println .Name .State.Status}}{{print .Name 1 2 .State.Status}}
{{range split .Name "-"}}{{.}};{{end}}
{{define "x"}}[{{.}}]{{end}}{{range .Config.Env}}{{template "x" .}}{{end}}
{{block "y" .Name}}<{{.}}>{{end}}
{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}
{{range .Config.Env}}{{if eq . "A=1"}}{{break}}{{end}}{{.}}{{end}}
{{range .Config.Env}}{{if eq . "A=1"}}{{continue}}{{end}}{{.}}{{end}}
{{range 3}}{{.}}{{end}}
{{index .}}
{{.Name | }}
"""
# what fails, or needs the document as it came: docker tries that when its structs have no such field
ALONE = [("inspect tpl-web", template) for template in r"""{{index .NetworkSettings.Networks "none" "IPAddress"}}
{{with index .HostConfig.PortBindings "80/tcp"}}{{(index . 0).HostPort}}{{end}}
{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.CpuShares}} {{.HostConfig.NanoCpus}} {{.HostConfig.CpuQuota}}
{{.Id}} {{slice .Id 0 12}} {{truncate .Id 12}} {{printf "%.12s" .Id}}
{{.Name | json}} {{. | len}}
{{$n := .Name}}{{with .State}}{{$n}} {{.Status}} {{$.Id}}{{end}}
{{index .State "Status"}}
{{(index .State.Health.Log 0).ExitCode}}
{{with .State.Health}}{{with index .Log 0}}{{.ExitCode}}{{end}}{{end}}
{{with (index .State.Health.Log 99)}}{{.ExitCode}}{{end}}
{{if ne 0.0 .State.ExitCode}}{{.Name}} {{.State.ExitCode}}{{end}}
{{(index .NetworkSettings.Networks "nosuch").IPAddress}}
{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}
{{(index (index .HostConfig.PortBindings "80/tcp") 0).HostPort}}
{{index .Config.Env 100}}
{{.HostConfig.Dns}} {{.HostConfig.DNS}}
{{.ContainerConfig.Entrypoint}}
{{ with }}{{ else }}{{ with .Config.Entrypoint}}{{ index . 0 }}{{ end }}{{ end }}
{{.nosuch}}
{{.State.nosuch}}
{{.Name.x}}
{{.Config.Env.x}}
{{call .Name}}
{{nil}}
{{"unterminated}}
{{range .Name}}{{.}}{{end}}
{{else}}
{{end}}
{{if}}x{{end}}
{{template "nosuch"}}
{{ .Name }
{{printf "%s"}} {{printf "%d" .Name}} {{printf}}
{{json}}
{{split .Name}}
{{join .Name ","}}
{{upper 1}}
{{len 3}}
{{slice .Name 5 2}}
{{slice .Name 100}}
{{truncate .Name -1}}
{{pad .Name -1 2}}
{{eq .Name 1}}
{{lt .State.Running 1}}
{{eq .Config.Env .Config.Env}}
{{and}} {{or 0 "" nil}}
""".splitlines()] + [
    ("ps -a", "{{.HealthStatus}}"), ("image inspect caisson-test/rootfs", "{{.Id}}"), ("network inspect none", "{{.Id}}"), ("image inspect caisson-test/rootfs", "{{index .RepoDigests 0}}"), ("network inspect none", "{{(index .IPAM.Config 0).Gateway}}"), ("info", "{{.HttpProxy}}{{.NoProxy}}"),
]

LISTS = {
    "ps -a -f name=tpl-": ["{{.ID}}: {{.Command}}", "table {{.ID}}\t{{.Names}}\t{{.Image}}\t{{.Status}}\t{{.Ports}}", r"ID\t{{.ID}}\nNAME\t{{.Names}}\nIMAGE\t{{.Image}}\nPORTS\t{{.Ports}}\nCOMMAND\t{{.Command}}\nSTATUS\t{{.Status}}\n",
                           "  {{.Status}}  {{.Names}}", "{{.Names}} {{.Networks}} {{.Mounts}} {{.LocalVolumes}}", "{{.Label \"com.example.a\"}}", "table {{.Label \"z\"}}\t{{.Names}}", "{{json .}}", "{{json .Labels}}",
                           "{{if eq .State \"running\"}}{{.Names}}{{end}}", "{{range (split .Labels \",\")}}{{.}} {{end}}", "{{with .Ports}}{{.}}{{else}}none{{end}}", "table {{.Names}} {{.Image}}", "{{printf \"%-12s\" .Names}}|",
                           "{{upper .Names}} {{len .Labels}}", "{{.CreatedAt}} {{.RunningFor}}", "{{.Size}}", "{{ .Names }}:{{ .State }}", "table", "json", "raw", "tableX {{.ID}}", "{{.Platform}}"],
    "images caisson-test/*": ["{{.Repository}}:{{.Tag}}", "table {{.Repository}}\t{{.Tag}}\t{{.Size}}", "{{.ID}} {{.Digest}} {{.CreatedSince}}", "{{json .}}", "{{.Repository | printf \"%q\"}}", "{{if ne .Tag \"<none>\"}}{{.Repository}}{{end}}",
                              "{{.Size}} {{.VirtualSize}} {{.Containers}}"],
    "volume ls -f name=tpl-": ["{{.Name}}", "{{.Name}}: {{.Driver}}", "table {{.Name}}\t{{.Mountpoint}}", "{{.Labels}} {{.Label \"k\"}}", "{{json .}}", "{{.Scope}} {{.Size}}"],
    "network ls -f name=none": ["{{.ID}}: {{.Driver}}", "table {{.ID}}\t{{.Name}}\t{{.Driver}}", "{{.Internal}} {{.IPv6}} {{.CreatedAt}}", "{{json .}}", "{{.Labels}}"],
    "history caisson-test/rootfs": ["{{.ID}}: {{.CreatedSince}}", "table {{.CreatedBy}}\t{{.Size}}", "{{.Comment}}", "{{json .}}"],
    "image inspect caisson-test/rootfs": ["{{.RepoTags}} {{index .RepoTags 0}}", "{{range .RepoTags}}{{.}} {{end}}", "{{.Config.Entrypoint}} {{.Config.Cmd}}", "{{.Os}}/{{.Architecture}}{{if .Variant}}/{{.Variant}}{{end}}", "{{json .RootFS.Layers}}",
                                          "{{len .RootFS.Layers}} {{.Size}}", "{{range $k, $v := .Config.Labels}}{{$k}}{{end}}", "{{.Created}} {{.Author}} {{.Comment}}", "{{.Metadata.LastTagTime}}", "{{.Config.ExposedPorts}}",
                                          "{{.ContainerConfig}}", "{{.VirtualSize}}", "{{range .Config.Env}}{{println .}}{{end}}", "{{if .RepoDigests}}{{index .RepoDigests 0}}{{else}}none{{end}}", "{{.Parent}} {{.DockerVersion}}"],
    "network inspect none": ["{{range .IPAM.Config}}{{.Subnet}}{{end}}", "{{range .Containers}}{{.Name}} {{end}}", "{{json .Containers}}", "{{range $k, $v := .Containers}}{{$v.Name}} {{$v.IPv4Address}}{{println}}{{end}}",
                             "{{.Options}} {{index .Options \"com.docker.network.bridge.name\"}}", "{{.Driver}} {{.Scope}} {{.Internal}} {{.EnableIPv6}}", "{{.ID}}", "{{len .Containers}}"],
    "volume inspect tpl-vol": ["{{.Name}} {{.Driver}}", "{{.Options}}", "{{json .Labels}}", "{{.Labels.k}}", "{{index .Labels \"k\"}}", "{{.CreatedAt}}", "{{.Scope}} {{.Status}}"],
    "info": ["{{.ServerVersion}}", "{{.OSType}}/{{.Architecture}}", "{{.Driver}} {{.DockerRootDir}}", "{{json .SecurityOptions}}", "{{range .SecurityOptions}}{{println .}}{{end}}", "{{.Swarm.LocalNodeState}}", "{{.CgroupDriver}} {{.CgroupVersion}}", "{{.MemTotal}} {{.NCPU}}",
             "{{range .Plugins.Volume}}{{.}}{{end}}", "{{.Runtimes}}", "{{range $k, $v := .Runtimes}}{{$k}} {{end}}", "{{.DefaultRuntime}} {{.LoggingDriver}}", "{{.RegistryConfig.IndexConfigs}}", "{{json .RegistryConfig.Mirrors}}", "{{.ContainersRunning}}", "{{.LiveRestoreEnabled}}",
             "{{.KernelVersion}} {{.OperatingSystem}}", "{{.Labels}}", "{{.DriverStatus}}", "{{range .DriverStatus}}{{index . 0}}={{index . 1}} {{end}}", "{{.Warnings}}"],
    "version": ["{{.Server.Version}}", "{{.Server.APIVersion}} {{.Server.MinAPIVersion}}", "{{.Server.Os}} {{.Server.Arch}} {{.Server.Experimental}}", "{{range .Server.Components}}{{.Name}}={{.Version}} {{end}}", "{{json .Server.Components}}", "{{with .Server}}{{.KernelVersion}}{{end}}",
                "{{(index .Server.Components 0).Name}}"],
}


@pytest.fixture(scope="module")
def world(engine):
    def docker(line, must=True):
        done = parity.command(engine, "docker", line, "unused")
        assert done.returncode == 0 or not must, done.stderr
    docker("volume create --label k=v tpl-vol")
    docker("run -d --name tpl-web --network none --label com.example.a=1 --label 'z=<html> & \"q\"' -e A=1 -e 'B=2 & 3=4' -m 64m -v tpl-vol:/data:ro -v /tmp:/host --expose 80 --expose 53/udp --restart on-failure:2 "
           "--health-cmd true --health-interval 1h --cap-add NET_ADMIN --ulimit nofile=10:20 --tmpfs /t:size=1m --dns 10.1.2.3 --add-host a:1.2.3.4 --log-opt max-size=1m IMAGE sleep 1000")
    yield engine
    docker("rm -f tpl-web", False)
    docker("volume rm tpl-vol", False)


def quoted(template):
    return "'" + template.replace("'", "'\\''") + "'"


def named(template):
    return template.startswith("table") or template in ("json", "raw")


@pytest.mark.parametrize("line, template", ALONE + [(line, t) for line, templates in LISTS.items() for t in templates if named(t)], ids=lambda text: text[:50])
def test_one(world, line, template):
    parity.compare(world, (f"{line} --format {quoted(template)}", {"sort": line.startswith("images")}))


@pytest.mark.parametrize("line", ["inspect tpl-web", *LISTS])
def test_many(world, line):
    template = "\n".join(t for t in LISTS[line] if not named(t)) if line in LISTS else CONTAINER
    assert parity.compare(world, (f"{line} --format {quoted(template)}", {"sort": line.startswith("images")}))[0] == 0


@pytest.mark.parametrize("line, members", [
    ("inspect tpl-web", [".NetworkSettings." + m for m in ("Bridge EndpointID Gateway GlobalIPv6Address GlobalIPv6PrefixLen HairpinMode IPAddress IPPrefixLen IPv6Gateway LinkLocalIPv6Address "
                                                           "LinkLocalIPv6PrefixLen MacAddress SecondaryIPAddresses SecondaryIPv6Addresses").split()]),
    ("image inspect IMAGE", ".Author .DockerVersion .Parent .Config.Entrypoint .Config.Labels .Config.OnBuild .Config.User .Config.Volumes .Config.WorkingDir".split())])
def test_members_left_out(world, line, members):
    """Each client with the API's version that it has by itself: since 1.52 members without a value are left out. `.Id` is no field: it is the raw document's."""
    template = "{{$raw := .Id}}" + "\n".join(f"{{{{{m}}}}} {{{{json {m}}}}}" for m in members)
    assert parity.compare(world, (f"{line} --format {quoted(template)}", {"env": {"DOCKER_API_VERSION": ""}}))[0] == 0


class Grammar:
    """Templates over an object: what stands in it is reached by paths that are right most of the time.

    What has pointers inside is no value: docker prints where they point to, which has another length each time."""
    POINTERS = ("", ".Config", ".HostConfig", ".State", ".NetworkSettings", ".NetworkSettings.Networks")

    def __init__(self, chance, thing):
        self.chance, self.depth, self.variables = chance, 0, []
        self.paths = {"str": [], "num": [], "bool": [], "list": [], "map": [], "null": [], "struct": []}
        self.walk("", thing)

    def walk(self, path, thing):
        kinds = {str: "str", bool: "bool", int: "num", float: "num", list: "list", dict: "map", type(None): "null"}
        self.paths["struct" if path in self.POINTERS else kinds[type(thing)]].append(path or ".")
        for key, value in thing.items() if isinstance(thing, dict) else ():
            if key.isidentifier():
                self.walk(f"{path}.{key}", value)

    def pick(self, *choices):
        return self.chance.choice(choices)

    def path(self, kind):
        if self.chance.random() < 0.04:
            kind = self.pick("str", "num", "bool", "list", "map", "null")
        if self.chance.random() < 0.02:
            return self.pick(".Nosuch", ".State.Nosuch", ".Name.x", "$nosuch", "nosuch")
        known = self.paths[kind]
        return ("$" if self.depth else "") + self.chance.choice(known) if known else '""'

    def string(self):
        c = self.chance.random()
        if c < 0.45 or self.depth > 3:
            return self.path("str")
        a = self.value
        return self.pick('"a b"', '"x\\ty<&>"', "`raw\\n`", '"é世"', "'a'", '"%s"', lambda: f"(upper {self.path('str')})", lambda: f"(lower {self.string()})", lambda: f"(title {self.string()})", lambda: f"(json {self.path(self.pick('map', 'struct'))})",
                         lambda: f"(printf \"{self.verb()}|{self.verb()}\" {a()} {a()})", lambda: f"(print {a()} {a()})", lambda: f"(join {self.path('list')} \"{self.pick(',', '', '<')}\")",
                         lambda: f"(truncate {self.path('str')} {self.number()})", lambda: f"(pad {self.path('str')} {self.pick(0, 1, 3)} {self.pick(0, 2)})", lambda: f"(slice {self.path('str')} {self.pick(0, 1, 3)})",
                         lambda: f"(html {a()})", lambda: f"(js {a()})", lambda: f"(urlquery {a()})", lambda: f"(index {self.path('list')} {self.pick(0, 1, 7)})", lambda: f"(println {a()})")

    def verb(self):
        return "%" + self.pick("", "", "", "-", "+", "#", "0", " ") + self.pick("", "", "5", "12", ".3", "8.2", "-9") + self.pick(*"svdqxtTXobcUeFg")

    def number(self):
        return self.pick("0", "1", "2", "-1", "0x1f", "1_000", "3.5", "1e3", "'x'", lambda: self.path("num"), lambda: f"(len {self.path(self.pick('str', 'list', 'map'))})")

    def boolean(self):
        two = lambda: self.pick(lambda: f"{self.string()} {self.string()}", lambda: f"{self.number()} {self.number()}", lambda: f"{self.value()} {self.value()}")
        return self.pick("true", "false", lambda: self.path("bool"), lambda: f"({self.pick('eq', 'ne', 'lt', 'le', 'gt', 'ge')} {two()})", lambda: f"(not {self.value()})", lambda: f"({self.pick('and', 'or')} {two()})")

    def value(self):
        self.depth += 1
        try:
            made = self.pick(self.string, self.string, self.number, self.boolean, lambda: self.path(self.pick("list", "map", "null")), lambda: self.pick(*self.variables) if self.variables else "$.Name") if self.depth < 5 else "1"
            return self.finish(made)
        finally:
            self.depth -= 1

    def finish(self, made):
        while callable(made):
            made = made()
        return str(made)

    def pipeline(self):
        first = self.finish(self.pick(self.string, self.string, self.number, self.boolean, self.value))
        return first + self.pick("", "", "", "", " | json", " | print", ' | printf "%v"', " | len", " | upper", " | not", " | println", " | html")

    def action(self, size):
        kind = self.pick("value", "value", "value", "text", "if", "with", "range", "range2", "set", "chain")
        left, right = self.pick("{{", "{{", "{{- "), self.pick("}}", "}}", " -}}")
        if kind == "value" or size <= 0:
            return left + self.pipeline() + right
        if kind == "text":
            return self.pick(" ", "text", "\\n", "\\t", "<b>", "{", "}", "é")
        if kind == "set":
            name = f"$v{len(self.variables)}"
            made = f"{{{{{name} := {self.pipeline()}}}}}"
            self.variables.append(name)
            return made
        if kind == "chain":
            return f"{{{{if {self.boolean_text()}}}}}{self.body(size)}{{{{else if {self.boolean_text()}}}}}{self.body(size)}{{{{else}}}}{self.body(size)}{{{{end}}}}"
        what = {"if": self.boolean_text, "with": lambda: self.path(self.pick("str", "map", "struct", "null")), "range": lambda: self.path(self.pick("list", "map")), "range2": lambda: "$k, $e := " + self.path(self.pick("list", "map"))}[kind]()
        return f"{{{{{kind.rstrip('2')} {what}}}}}{self.body(size, inside=True)}" + self.pick("", "{{else}}none") + "{{end}}"

    def boolean_text(self):
        return self.finish(self.boolean())

    def body(self, size, inside=False):
        known = len(self.variables)
        self.depth += inside
        made = self.pick("{{.}}", "{{json .}}", "", "{{break}}", "{{continue}}", "{{$}}")[:40] if inside and self.chance.random() < 0.5 else "".join(self.action(size - 1) for _ in range(self.chance.randint(1, 2)))
        self.depth -= inside
        del self.variables[known:]
        return made

    def template(self):
        self.variables = []
        return "".join(self.action(3) for _ in range(self.chance.randint(1, 3)))


@pytest.mark.timeout(300 + COUNT)
def test_by_chance(world):
    shown = json.loads(parity.command(world, "docker", "inspect tpl-web", "unused").stdout)[0]
    grammar = Grammar(random.Random(SEED), shown)
    bad, good = [], 0
    for _ in range(COUNT):
        template = grammar.template()
        line = f"inspect -f {quoted(template)} tpl-web"
        docker, caisson = (parity.run(world, program, line, {}) for program in ("docker", "caisson"))
        good += docker[0] == 0
        if docker != caisson:
            bad.append(f"{template}\n  docker  {docker}\n  caisson {caisson}")
    assert not bad, f"{len(bad)} of {COUNT}\n" + "\n".join(bad[:20])
    assert good > COUNT / 4, "the grammar makes hardly anything that means something"


@pytest.mark.parametrize("template, status, said", [
    ("{{" + "(print " * 999 + "1" + ")" * 999 + "}}", 0, "1"),
    ("{{if true}}" * 999 + "x" + "{{end}}" * 999, 0, "x"),
    ('{{define "a"}}' + "{{if true}}" * 900 + '{{template "a" .}}' + "{{end}}" * 900 + '{{end}}{{template "a" .}}', 1, "exceeded maximum template depth"),
    ('{{define "a"}}{{if ' + "(print " * 900 + "1" + ")" * 900 + '}}{{template "a" .}}{{end}}{{end}}{{template "a" .}}', 1, "exceeded maximum template depth")], ids=["calls", "blocks", "blocks of templates", "calls of templates"])
def test_deep(tmp_path, template, status, said):
    """As deep as the parser lets it be: the stack holds."""
    done = subprocess.run([parity.PROGRAMS["caisson"], "context", "ls", "--format", template], capture_output=True, text=True, check=False, env={"HOME": str(tmp_path)})
    assert done.returncode == status and said in done.stdout + done.stderr
