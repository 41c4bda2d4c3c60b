# SPDX-License-Identifier: Apache-2.0
"""Command lines that nobody writes, until somebody does: bundles of short flags, empty values, --, the environment's variables, filters and formats that make no sense.
`docker` 28.2.2 and `caisson` side by side (tests/lib/parity.py). A test runs a whole group: pytest would take longer than the commands."""
import shutil

import pytest

import parity

if not shutil.which("docker"):
    pytest.skip("no docker client", allow_module_level=True)
pytestmark = [pytest.mark.caisson, pytest.mark.unsanitized]

OTHERS = [
    "-D ps -a --format {{.Names}}", "--debug=false ps -q", "-l=error ps -aq", "-lfatal ps -aq", "-H", "ps -n=-1 -q", "ps -l -n 2 -q", "ps --all=1 -q", "ps -f name= -aq",
    "ps -f 'name = odd-web' -q", "ps -a -f 'label=com.example.a' -f label=x --format '{{.Names}}'", "ps -a -f exited=3 -q",
    "ps -a -f volume=odd-vol --format '{{.Names}}'", "ps -a -f network=none --format '{{.Names}}'", "ps -a -f before=odd-web --format '{{.Names}}'",
    "ps -a -f since=nosuch", "ps -a -f is-task=true", "ps -a -f publish=x/y", "ps -a -f expose=1-x", "ps -a -f id=zz", "ps --format",
    "ps -a --format '{{with .Ports}}x{{else}}none{{end}}'", "ps -a --format '{{- .Names -}}'", "ps -a --format '{{slice .ID 0 3 | len}}'",
    "ps -a --format '{{not .Ports}}'", "ps -a --format '{{pad .Names 3 2}}|'", "ps -a --format '{{join (split .Names \"-\") \"+\"}}'",
    "ps -a --format '{{truncate .Names 3}}'", "ps -a --format '{{define \"x\"}}y{{end}}{{template \"x\"}}'", "ps -a --format '{{call .Names}}'",
    "ps -a --format '{{if .Names}}'", "ps -a --format '{{range}}'", "ps -a --format '{{.Names }'", "ps -a --format '{{break}}'", "context", "help ps", "ps -h",
    "ps --help -x", "-c default ps -q", "help ps x", "search", "logout 127.0.0.1:1", "events --since 2020-01-01 --until 2020-01-02 --format json",
    "events --since= --until 1", "events --format table --since 1 --until 2", "events --since 5y --until 1", "info -f json -x", "info --format '{{json .DriverStatus}}'",
    "version -f '{{.Server.Platform.Name}}|{{range .Server.Components}}{{.Name}} {{end}}'", "version -f '{{.Client.Nosuch}}'",
    "version -f '{{json .Server.Components}}'", "context inspect nosuch", "context inspect default -f '{{.Name}}'", "context rm default",
    "context create x --docker bogus=1", "context create x --from nosuch", "plugin ls --format '{{.ID}}'", "plugin ls -f capability=x -q", "plugin rm -f nosuch",
    "plugin enable --timeout x nosuch",
]

LIFE = [
    "container", "container ls extra", "container ls --help", "container -h", "exec -h", "top --help", "top -h", "rm -fv nosuch", "rm -vf=false nosuch", "rm -lf nosuch",
    "exec -itd nosuch x", "exec -ditu 1 nosuch x", "exec -e nosuch x", "exec -e=A=b nosuch x", "exec --env=A=b nosuch x", "exec --env= nosuch x", "exec -u= nosuch x",
    "exec -w= nosuch x", "exec --user nosuch x y", "logs -n= odd-idle", "logs -n -1 odd-idle", "logs --since 2020-01-01T00:00:00.5Z odd-idle",
    "logs --since 2020-01-01T00:00:00+02:00 odd-idle", "logs --since 1577836800.000000001 odd-idle", "logs --since now odd-idle", "logs --since 1.5h odd-idle", "logs --since 1m30.5s --until .5h odd-idle", "top /odd-web", "port /odd-web", "diff /odd-web", "container inspect /odd-web -f {{.Name}}",
    "exec /odd-web pwd", "exec -e A=b -e A odd-web sh -c 'echo $A'", "update /odd-web --cpu-shares 512", "rename /odd-web odd-idle", "push x@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    "network connect --link a:b:c n c", "logs --details=x odd-idle",
    "logs odd-idle -n 1", "logs -- odd-idle", "logs /odd-idle", "container logs odd-idle extra",
    ("logs -n 2 {x}", {'before': ["run --network none --name {x} IMAGE sh -c 'i=0; while [ $i -lt 5 ]; do echo line $i; i=$((i+1)); done; echo bad >&2'"], 'after': ['rm -f {x}']}),
    ("logs --tail=3 {x}", {'before': ["run --network none --name {x} IMAGE sh -c 'i=0; while [ $i -lt 5 ]; do echo line $i; i=$((i+1)); done; echo bad >&2'"], 'after': ['rm -f {x}']}),
    ("logs {x} 2>&1", {'before': ["run --network none --name {x} IMAGE sh -c 'i=0; while [ $i -lt 5 ]; do echo line $i; i=$((i+1)); done; echo bad >&2'"], 'after': ['rm -f {x}']}),
    
    "exec -T odd-web x", "exec -it odd-web true", "exec -d odd-web nosuch", "exec -w relative odd-web pwd", "exec -w /tmp odd-web pwd", "exec -u 0:0 odd-web id -u",
    "exec -u : odd-web id", "exec odd-web sh -c 'kill -15 $$'", "exec odd-web -- echo x", "exec -- odd-web echo x", "exec odd-web echo -n x", "exec odd-web ''",
    "exec odd-web /tmp", "exec odd-web /etc/passwd", "exec -i odd-web cat", ("exec -i odd-web cat", {"stdin": "a\x00b\n"}), "top odd-web -o nosuch", "top -x odd-web",
    "top odd-web -- x", "port odd-web /", "port odd-web tcp", "wait odd-idle", "kill -s '' odd-idle", "kill -s=KILL odd-idle", "kill --signal= nosuch",
    "kill -s -1 odd-web", "stop -t -1 nosuch", "stop -t= nosuch", "stop -s '' nosuch", "restart -t x nosuch", "pause ''", "unpause odd-web odd-web",
    "rename odd-web odd-web", "rename odd-web ''", "rename odd-web 'a b'", "rename odd-web /", "update odd-web -m 1", "update --cpus x odd-web",
    "update --cpus 1000 odd-web", "update --restart '' odd-web", "update --cpu-quota 1 odd-web", "cp", "cp a b", "cp nosuch:/a .", "cp odd-web:/a odd-idle:/b",
    "cp -L odd-web:/nosuch -", "cp -- a b", "create --name odd-web IMAGE", "create --name 'a b' IMAGE", "create -h", "create ''", "create 'BAD'",
    "create --network nosuch --rm IMAGE nosuch-cmd -x", "start -ai odd-idle odd-web", "start -i nosuch", "start --detach-keys x odd-web",
]

ENVIRONMENT = [
    ("ps -q", {"env": {"DOCKER_CONTEXT": "nosuch"}}), ("ps -q", {"env": {"DOCKER_CONTEXT": "default"}}), ("ps -q", {"env": {"DOCKER_CONTEXT": ""}}),
    ("ps -q", {"env": {"DOCKER_TLS_VERIFY": "1"}}), ("ps -q", {"env": {"DOCKER_TLS_VERIFY": "0"}}), ("ps -q", {"env": {"DOCKER_TLS_VERIFY": ""}}),
    ("ps -q", {"env": {"DOCKER_TLS": "1"}}), ("ps -q", {"env": {"DOCKER_CONFIG": "/nonexistent"}}), ("context ls", {"env": {"DOCKER_CONFIG": "/nonexistent"}}),
    ("ps -q", {"env": {"DOCKER_CONFIG": ""}}), ("create --pull never nosuch", {"env": {"DOCKER_DEFAULT_PLATFORM": "linux/arm64"}}),
    ("run --rm --network none IMAGE true", {"env": {"DOCKER_DEFAULT_PLATFORM": "linux/amd64"}}),
    ("run --rm --network none --pull never IMAGE true", {"env": {"DOCKER_DEFAULT_PLATFORM": "linux/arm64"}}),
    ("run --rm --network none IMAGE true", {"env": {"DOCKER_DEFAULT_PLATFORM": "bogus/a/b/c"}}),
    ("run --rm --network none IMAGE true", {"env": {"DOCKER_DEFAULT_PLATFORM": "linux"}}),
    ("run --rm --network none IMAGE true", {"env": {"DOCKER_DEFAULT_PLATFORM": ""}}),
    ("image inspect IMAGE -f {{.Os}}", {"env": {"DOCKER_DEFAULT_PLATFORM": "linux/arm64"}}), ("ps -q", {"env": {"DOCKER_CUSTOM_HEADERS": "a=b"}}),
    ("ps -q", {"env": {"DOCKER_CUSTOM_HEADERS": "a"}}), ("ps -q", {'env': {'DOCKER_CUSTOM_HEADERS': '"'}}), ("ps -q", {"env": {"DOCKER_CUSTOM_HEADERS": "=b"}}),
    ("ps -q", {"env": {"DOCKER_CUSTOM_HEADERS": "a=b,a=c"}}), ("ps -q", {"env": {"DOCKER_HOST": "/x.sock"}}), ("logs --tail 1 odd-idle", {"env": {"NO_COLOR": "1"}}),
]

RUN = [
    "run -itd", "run -p80 -p=81 --pull never nosuch", "run -p= --pull never nosuch", "run -m= --pull never nosuch", "run -m=5 --pull=never nosuch",
    "run --cpus= --pull never nosuch", "run --cpus=0 --pull=never nosuch", "run -c= --pull never nosuch", "run -l= --pull never nosuch", "run -l =x --pull never nosuch",
    "run -v= --pull never nosuch", "run --tmpfs= --pull never nosuch", "run --restart= --pull never nosuch", "run --entrypoint= --pull never nosuch",
    "run --platform= --pull never nosuch", "run --platform=x/y/z/w --pull never nosuch", "run --platform linux --pull never nosuch",
    "run --isolation=bogus --rm --network none IMAGE true", "run --isolation default --rm --network none IMAGE echo x",
    "run --isolation= --rm --network none IMAGE echo x", "run --shm-size= --pull never nosuch", "run --ulimit= --pull never nosuch",
    "run --ulimit nofile=5:2 --pull never nosuch", "run --ulimit nofile --pull never nosuch", "run --device a:b:c:d --pull never nosuch",
    "run --device /dev/null:/x:zz --pull never nosuch", "run --mount= --pull never nosuch", "run --mount type --pull never nosuch",
    "run --mount type=bogus,dst=/x --pull never nosuch", "run --mount dst=/x,dst=/y --pull never nosuch", "run --mount type=bind,src=rel,dst=/x --pull never nosuch",
    "run --mount type=volume,volume-opt=a=b,volume-driver=local,dst=/d,ro=maybe --pull never nosuch", "run --mount type=tmpfs,tmpfs-size=x,dst=/d --pull never nosuch",
    "run --mount type=tmpfs,tmpfs-mode=9,dst=/d --pull never nosuch", "run --mount type=bind,src=/,dst=/d,bind-propagation=x --pull never nosuch",
    "run --mount type=bind,src=/,dst=/d,bind-recursive=x --pull never nosuch", "run --mount type=bind,src=/,dst=/d,consistency=x --pull never nosuch",
    "run --mount type=image,src=x,dst=/d,image-subpath=/a --pull never nosuch", "run --mount 'type=bind,\"src=/a,b\",dst=/d' --rm --network none IMAGE true",
    "run --log-opt x --pull never nosuch", "run --log-driver none --log-opt a=b --pull never nosuch", "run --link x --pull never nosuch",
    "run --add-host x --pull never nosuch", "run --add-host x:nonsense --pull never nosuch", "run --add-host x=1.2.3.4 --add-host y:::1 --pull never nosuch",
    "run --dns x --pull never nosuch", "run --dns-search= --pull never nosuch", "run --expose x --pull never nosuch", "run --expose 80-x --pull never nosuch",
    "run -p 1-3:1 --pull never nosuch", "run -p 1:2:3:4 --pull never nosuch", "run -p 99999:1 --pull never nosuch", "run -p [::1]:80:80/sctp --pull never nosuch",
    "run -p x:80 --pull never nosuch", "run -p 1.2.3:80:80 --pull never nosuch", "run --network= --rm IMAGE true", "run --network name= --pull never nosuch",
    "run --network name=a,alias=b,foo=c --pull never nosuch", "run --network a --network host --pull never nosuch", "run --network host --ip 1.2.3.4 --rm IMAGE true",
    "run --ip x --rm IMAGE true", "run --mac-address x --rm --network none IMAGE true", "run --hostname _bad_ --rm --network none IMAGE hostname",
    "run -h '' --rm --network none IMAGE true", "run --health-cmd x --no-healthcheck --pull never nosuch", "run --health-retries -1 --pull never nosuch",
    "run --health-interval -1s --pull never nosuch", "run --health-interval 1us --rm --network none IMAGE true", "run --stop-timeout -5 --pull never nosuch",
    "run --stop-signal x --rm --network none IMAGE true", "run --oom-score-adj 5000 --rm --network none IMAGE true",
    "run --memory-swappiness 101 --rm --network none IMAGE true", "run --pids-limit= --pull never nosuch", "run --cap-add nosuch --rm --network none IMAGE true",
    "run --cap-add ALL --cap-drop ALL --rm --network none IMAGE true", "run --security-opt x --rm --network none IMAGE true",
    "run --security-opt seccomp=/nosuch --pull never nosuch", "run --security-opt seccomp=unconfined --rm --network none IMAGE true",
    "run --security-opt no-new-privileges=x --rm --network none IMAGE true", "run --uts x --pull never nosuch", "run --pid x --pull never nosuch",
    "run --ipc x --rm --network none IMAGE true", "run --cgroupns x --pull never nosuch", "run --sysctl x --pull never nosuch",
    "run --sysctl a=b --rm --network none IMAGE true", "run --storage-opt x --pull never nosuch", "run --storage-opt a=b --rm --network none IMAGE true",
    "run --volumes-from nosuch --rm --network none IMAGE true", "run --env-file /nosuch --pull never nosuch", "run --label-file /nosuch --pull never nosuch",
    "run --cidfile /etc/passwd --pull never nosuch", "run --cidfile /nosuch/x --pull never nosuch", "run --cgroup-parent x --rm --network none IMAGE true",
    "run --device-cgroup-rule x --pull never nosuch", "run --device-read-bps x --pull never nosuch", "run --device-read-iops /dev/null:-1 --pull never nosuch",
    "run --blkio-weight 5 --rm --network none IMAGE true", "run --blkio-weight-device /x:5 --pull never nosuch", "run --group-add nosuch --rm --network none IMAGE true",
    "run --net=none --rm IMAGE echo x", "run --net", "run --net name=a,foo=b --pull never nosuch", "run --net none --net-alias a --rm IMAGE true",
    "run --network none --dns 192.0.2.1 --dns-opt a --dns-option b --rm IMAGE cat /etc/resolv.conf",
    "run --network none --security-opt systempaths=unconfined --rm IMAGE true", "run --domainname x.y --rm --network none IMAGE hostname", "run --init --rm --network none IMAGE true",
    "run --read-only --tmpfs /tmp:size=1x --rm --network none IMAGE true", "run --attach x --pull never nosuch", "run -a STDIN -a STDOUT --rm --network none IMAGE true",
    "run --detach-keys x --rm --network none IMAGE true", "run --io-maxiops 5 --pull never nosuch", "run --cpu-count 5 --pull never nosuch", "run -- IMAGE true",
    "run --rm --network none -- IMAGE echo -- x", "run --rm --network none IMAGE -- echo x",
]

IMAGES = [
    "images -qa IMAGE", "images --all=false IMAGE -q", "images -f label= -q", "images -f reference=", "images -f before=IMAGE", "images -f until=x",
    "images -f until=1h", "images -f dangling=x", "images -f dangling=false -f reference=IMAGE --format '{{.Repository}}'", "images ''", "images 'BAD NAME'",
    "images --digests -q IMAGE", "images --digests --format json IMAGE", "images --digests --format '{{.Digest}}' IMAGE", "images --format table --digests IMAGE",
    "image ls -q --filter reference=IMAGE:latest", "image list --filter=dangling=true -q", "image inspect", "image inspect ''", "image inspect 'BAD NAME'",
    "image inspect --platform linux/arm64 IMAGE", "image inspect --platform x/y/z/w IMAGE", "image inspect -f json IMAGE", "image inspect 000000000000", "rmi -fz x",
    "image rm -f", "tag '' x", "tag IMAGE x:y:z", "tag IMAGE host:99999999/x", "tag IMAGE a/b/c/d:e.f-g", "image tag", "save nosuch", "save -o /nosuch/x IMAGE",
    "save -o /tmp IMAGE", "load -i /nosuch", "load -i ''", "load", ("load", {"stdin": ""}), ("load", {"stdin": "junk"}), "import", "import /nosuch", "import ''", "pull",
    "pull ''", "pull -a x:y",
]

OBJECTS = [
    "volume ls -qf name=parity", "volume ls -f label=k=v -q", "volume ls -f label!=k -q", "volume ls --format 'table {{.Name}}'", "volume ls --format= -q",
    "volume inspect ''", "volume inspect odd-vol2 -f '{{index .Labels \"k\"}}'", "volume inspect -f '{{range $k,$v := .Labels}}{{$k}}={{$v}}{{end}}' odd-vol2 odd-vol",
    "volume inspect -f json odd-vol2 nosuch", "volume create --name x y", "volume create 'a b'", "volume create /x", "volume create x/y", "volume create .x",
    "network ls -qf name=parity", "network ls -f type=custom -q", "network ls -f type=x", "network ls -f scope=local -f driver=bridge -q",
    "network ls -f dangling=true -q", "network ls -f label=a=b --format '{{.Name}}'", "network ls --format '{{.Label \"a\"}}'",
    "network ls --format '{{.Labels}} {{.CreatedAt}}' -f name=parity", "network ls --no-trunc -q", "network ls --format json -f name=odd-net",
    "network inspect odd-net -f '{{(index .IPAM.Config 0).Subnet}}'", "network inspect odd-net nosuch -f '{{.Name}}'", "network inspect ''",
    "network create --driver ''", "network create --subnet 10.1.2.0/24 --gateway 10.1.2.1 --gateway 10.1.2.2 x", "network create --ip-range 10.1.0.0/16 x",
    "network create --aux-address x x", "network create --gateway 1.2.3.4 --subnet 1.2.3.0/33 x", "network create -d host x", "network create -d null x",
    "network create -d overlay x", "network prune -f --filter x", "network prune -f --filter until=x", "network connect", "network connect odd-net",
    "network connect odd-net nosuch", "network connect nosuch nosuch", "network connect --ip x odd-net odd-web", "network connect --alias '' none odd-web",
    "network disconnect -f odd-net nosuch", "network disconnect x",
]

INSPECT = [
    "inspect -sf '{{.SizeRootFs}}' nosuch", "inspect --type=container -f '{{.Name}}' odd-web IMAGE", "inspect --type= odd-web -f '{{.Name}}'",
    "inspect --type network none -f '{{.Name}}'", "inspect --type node x", "inspect --type secret x", "inspect --type config x", "inspect --type task x",
    "inspect --type Container odd-web", "inspect -f json odd-web nosuch", "inspect -f '{{json .Config.Labels}}' odd-web",
    "inspect -f '{{.Config.ExposedPorts}}' odd-web", "inspect -f '{{.HostConfig.Binds}} {{.HostConfig.Mounts}}' odd-web",
    "inspect -f '{{range .Mounts}}{{.Name}}:{{.Destination}}:{{.Mode}}:{{.Propagation}} {{end}}' odd-web", "inspect -f '{{.HostConfig.PortBindings}}' odd-web",
    "inspect -f '{{.NetworkSettings.Ports}}' odd-web", "inspect -f '{{.NetworkSettings.IPAddress}}|{{.NetworkSettings.Gateway}}' odd-web",
    "inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{.MacAddress}}{{end}}' odd-web", "inspect -f '{{.Created | len}}' odd-web",
    "inspect -f '{{.State.Status}} {{.State.Running}} {{.State.OOMKilled}} {{.State.Dead}} {{.State.Error}}' odd-web",
    "inspect -f '{{.HostConfig.LogConfig.Type}} {{.HostConfig.LogConfig.Config}}' odd-web", "inspect -f '{{index .Config.Cmd 0}} {{index .Config.Cmd 1}}' odd-web",
    "inspect -f '{{.Config.Healthcheck}} {{.Config.Shell}} {{.Config.OnBuild}}' odd-web",
    "inspect -f '{{with index .HostConfig.Ulimits 0}}{{.Name}}={{.Soft}}:{{.Hard}}{{end}}' odd-web", "inspect -f '{{.ResolvConfPath | len | lt 5}}' odd-web",
    "inspect -f '{{.GraphDriver.Data}}' nosuch", "inspect -f '{{split .Config.Image \"/\"}}' odd-web",
    "inspect -f '{{pad \"x\" 2 2}}|{{truncate \"abcdef\" 3}}' odd-web", "inspect -f '{{range $i, $e := .Config.Env}}{{if $i}}, {{end}}{{$e}}{{end}}' odd-web",
    "inspect -f '{{if and .State.Running (not .State.Paused)}}ok{{end}}' odd-web", "inspect -f '{{println .Path .Args}}' odd-web",
    "inspect -f '{{json .NetworkSettings.Networks.none.DriverOpts}}' odd-web", "inspect -f '{{.Config.Labels.x}}|{{.Config.Labels.nosuch}}' odd-web",
    "inspect -f '{{index .Config.Labels \"nosuch\"}}' odd-web", "inspect -f '{{slice .Id 0 12}} {{.Id}}' odd-web nosuch",
    "inspect -f '{{.RepoDigests}} {{.Parent}} {{.Comment}} {{.Author}} {{.Architecture}} {{.Variant}} {{.Os}} {{.OsVersion}}' IMAGE",
    "inspect -f '{{json .Config.Cmd}} {{json .Config.Env}} {{.Metadata}}' IMAGE", "inspect -f '{{.VirtualSize}}' IMAGE", "inspect -f '{{.ContainerConfig}}' IMAGE",
    "inspect -f '{{.DockerVersion}}|{{.Container}}' IMAGE",
]


@pytest.fixture(scope="module")
def things(engine):
    lines = ["create --network none --name odd-idle -l com.example.a=b --memory 64m IMAGE sh -c 'exit 3'", "volume create --label k=v odd-vol2", "network create --internal --label a=b odd-net",
             "run -d --network none --name odd-web -l com.example.a=c -l x -v odd-vol:/v -e A=1 --ulimit nofile=10:20 IMAGE sleep 1000"]
    for line in lines:
        done = parity.command(engine, "docker", line, "odd")
        assert done.returncode == 0, (line, done.stderr)
    yield engine
    for line in ("rm -f odd-idle odd-web", "volume rm odd-vol odd-vol2", "network rm odd-net"):
        parity.command(engine, "docker", line, "odd")


GROUPS = {"environment": ENVIRONMENT, "run": RUN, "life": LIFE, "images": IMAGES, "objects": OBJECTS, "inspect": INSPECT, "others": OTHERS}
PART = 15


@pytest.mark.parametrize("name, first", [(name, first) for name, lines in GROUPS.items() for first in range(0, len(lines), PART)])
def test_odd(things, name, first):
    wrong = []
    for case in GROUPS[name][first:first + PART]:
        try:
            parity.compare(things, case)
        except AssertionError as e:
            wrong.append(str(e))
    assert not wrong, "\n\n".join(wrong)
