# SPDX-License-Identifier: Apache-2.0
"""Names through the resolvers that programs really have: glibc's and musl's, with the files that the engine writes."""
import json
import shutil
import subprocess
import textwrap
import time

import pytest

import caisson_fixture as fx
from box import Boxes
from netns import in_netns
from test_containers_net import ip, settings

SLEEP = ["sleep", "1000"]
NOTHING = r"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 53))
print("ready", flush=True)
while True:
    q, peer = s.recvfrom(4096)
    s.sendto(q[:2] + b"\x81\x83" + q[4:6] + bytes(6) + q[12:q.index(b"\0", 12) + 5], peer)
"""
C_SOURCE = r"""
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
int main(int argc, char **argv) /* families 0, 4, 6, or r: reverse; prints addresses in order, or the error; then milliseconds */
{
	struct timespec a, b;
	clock_gettime(CLOCK_MONOTONIC, &a);
	if (argv[1][0] == 'r') {
		struct sockaddr_in sin = {.sin_family = AF_INET};
		struct sockaddr_in6 six = {.sin6_family = AF_INET6};
		char host[256];
		int v6 = inet_pton(AF_INET, argv[2], &sin.sin_addr) != 1 && inet_pton(AF_INET6, argv[2], &six.sin6_addr) == 1;
		int e = getnameinfo(v6 ? (void *)&six : (void *)&sin, v6 ? sizeof(six) : sizeof(sin), host, sizeof(host), NULL, 0, NI_NAMEREQD);
		printf("%s", e ? gai_strerror(e) : host);
	} else {
		struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = argv[1][0] == '4' ? AF_INET : argv[1][0] == '6' ? AF_INET6 : AF_UNSPEC}, *r = NULL;
		int e = getaddrinfo(argv[2], NULL, &hints, &r);
		if (e)
			printf("%s", gai_strerror(e));
		for (; r; r = r->ai_next) {
			char text[64];
			inet_ntop(r->ai_family, r->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)r->ai_addr)->sin_addr : (void *)&((struct sockaddr_in6 *)r->ai_addr)->sin6_addr, text, sizeof(text));
			printf("%s ", text);
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("\n%ld\n", (long)((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000));
	return 0;
}
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The question asked by a C program: glibc's is run over the container's files, musl's is static and runs in the container."""
    where = tmp_path_factory.mktemp("resolve")
    (where / "resolve.c").write_text(C_SOURCE)
    subprocess.run(["gcc", "-O1", "-o", str(where / "glibc"), str(where / "resolve.c")], check=True)
    if shutil.which("musl-gcc"):
        subprocess.run(["musl-gcc", "-static", "-O1", "-o", str(where / "musl"), str(where / "resolve.c")], check=True)
    return where


@pytest.fixture(params=["glibc", "musl"])
def ask(request, programs):
    """ask(box, name, family) -> (words, milliseconds)"""
    exe = programs / request.param
    if not exe.exists():
        pytest.skip("no musl-gcc")

    def run(box, name, family="0"):
        root = f"/proc/{box.pid}/root"
        if request.param == "musl":
            argv = ["nsenter", "--net", "--mount", f"--root={root}", "-t", str(box.pid), "--"]
            shutil.copy(exe, f"{root}/tmp-resolve")
            argv += ["/tmp-resolve"]
        else:
            for name_ in ("resolv.conf", "hosts"):
                (programs / name_).write_text(open(f"{root}/etc/{name_}").read())
            script = f"mount --make-rprivate /; mount --bind {programs}/resolv.conf /etc/resolv.conf; mount --bind {programs}/hosts /etc/hosts; exec \"$@\""
            argv = ["nsenter", "--net", "-t", str(box.pid), "--", "unshare", "--mount", "sh", "-c", script, "sh", str(exe)]
        done = subprocess.run([*argv, family, name], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=40, check=False)
        assert done.returncode == 0, done.stderr
        words, ms = done.stdout.rsplit("\n", 2)[:2]
        return words.split(), int(ms)
    return run


def test_names_aliases_and_what_is_not_there(ask, networks, net_boxes):
    networks.subnet("rn", "10.46.0.0/24")
    web = net_boxes.start(SLEEP, network="rn", name="rn-web", Hostname="rnhost", NetworkingConfig={"EndpointsConfig": {"rn": {"Aliases": ["www", "Up.Per"]}}})
    user = net_boxes.start(SLEEP, network="rn", name="rn-user")
    for name in ("rn-web", "RN-WEB", "www", "up.per", web.id[:12], "rn-web.rn", "rn-web."):
        found, ms = ask(user, name)
        assert found == [ip(web, "rn")], name
        assert ms < 1000, f"{name}: the AAAA of a name without IPv6 took its time"
    assert ask(user, "rn-web", "6")[0] != [ip(web, "rn")]
    assert ask(user, ip(web, "rn"), "r")[0] == ["rn-web.rn"]
    assert ask(user, user.id[:12])[0] == [ip(user, "rn")]      # of the hosts file
    assert ask(web, "rnhost")[0] == [ip(web, "rn")]
    assert set(ask(user, "localhost", "4")[0]) == {"127.0.0.1"}


def test_both_families_and_round_robin(ask, networks, net_boxes):
    networks.subnet("rr", ["10.47.0.0/24", "fd00:47::/64"], EnableIPv6=True)
    cfg = {"EndpointsConfig": {"rr": {"Aliases": ["svc"]}}}
    made = [net_boxes.start(SLEEP, network="rr", NetworkingConfig=cfg) for _ in range(3)]
    user = net_boxes.start(SLEEP, network="rr")
    four, six = {ip(b, "rr") for b in made}, {settings(b, "rr")["GlobalIPv6Address"] for b in made}
    assert set(ask(user, "svc", "4")[0]) == four and set(ask(user, "svc", "6")[0]) == six and set(ask(user, "svc")[0]) == four | six
    assert ask(user, sorted(six)[0], "r")[0][0].endswith(".rr")
    made[0].post("stop", {"t": 0})
    assert len(set(ask(user, "svc", "4")[0])) == 2
    networks.disconnect("rr", made[1])
    assert ask(user, "svc", "4")[0] == [ip(made[2], "rr")]
    made[0].start()
    assert set(ask(user, "svc", "4")[0]) == {ip(made[0], "rr"), ip(made[2], "rr")}


def test_extra_hosts_and_links_come_before(ask, networks, net_boxes):
    networks.subnet("eh", "10.48.0.0/24")
    db = net_boxes.start(SLEEP, network="eh", name="eh-db")
    user = net_boxes.start(SLEEP, network="eh", Host={"ExtraHosts": ["eh-db:192.0.2.77", "gw:host-gateway", "six:2001:db8::7"], "Links": ["eh-db:store"]})
    assert ask(user, "eh-db", "4")[0] == ["192.0.2.77"] and ask(user, "gw", "4")[0] == ["172.17.0.1"] and ask(user, "six", "6")[0] == ["2001:db8::7"]
    assert ask(user, "store", "4")[0] == [ip(db, "eh")]


def test_search_domains_and_dns_options(ask, networks, net_boxes):
    """--dns, --dns-search and --dns-option as the container's libc takes them. The upstream server is in another container, and knows nothing."""
    networks.subnet("sd", "10.49.0.0/24")
    other = net_boxes.start(SLEEP, network="sd", name="sd-other", NetworkingConfig={"EndpointsConfig": {"sd": {"Aliases": ["db.corp.example"]}}})
    user = net_boxes.start(SLEEP, network="sd", Host={"DnsSearch": ["corp.example"], "DnsOptions": ["ndots:2", "timeout:1", "attempts:1"], "Dns": [ip(other, "sd")]})
    text = user.exec("cat /etc/resolv.conf")[1]
    assert "nameserver 127.0.0.11" in text and "search corp.example" in text and "ndots:2" in text and ip(other, "sd") not in text.split("#")[0]
    upstream = subprocess.Popen(["nsenter", "--net", "-t", str(other.pid), "--", "/usr/bin/python3", "-c", NOTHING], stdout=subprocess.PIPE, text=True)
    try:
        assert upstream.stdout.readline() == "ready\n"
        assert ask(user, "db")[0] == [ip(other, "sd")]
        assert ask(user, "sd-other")[0] == [ip(other, "sd")]
        words, ms = ask(user, "no.such.name.example")
        assert not [w for w in words if w[0].isdigit()] and ms < 1000
    finally:
        upstream.kill()
        upstream.wait()
        upstream.stdout.close()


def test_unknown_names_of_an_internal_network(ask, networks, net_boxes):
    """Nobody is asked (CVE-2024-29018), and the answer is there at once. (SERVFAIL, as Docker's; musl asks on until its own limit.)"""
    networks.create("in-names", Internal=True)
    user, peer = net_boxes.start(SLEEP, network="in-names", Host={"DnsOptions": ["timeout:1", "attempts:1"]}), net_boxes.start(SLEEP, network="in-names", name="in-peer")
    words, ms = ask(user, "nobody.example.com")
    assert not [w for w in words if w[0].isdigit()] and ms < 2000, (words, ms)
    assert ask(user, "in-peer")[0] == [ip(peer, "in-names")]


def test_names_follow_renames_and_networks(networks, net_boxes, programs):
    """Two networks: a name is known where both are, and only there."""
    networks.subnet("fa", "10.50.1.0/24")
    networks.subnet("fb", "10.50.2.0/24")
    from netns import lookup
    mid = net_boxes.start(SLEEP, network="fa", name="f-mid", NetworkingConfig={"EndpointsConfig": {"fa": {}, "fb": {"Aliases": ["only-b"]}}})
    a, b = net_boxes.start(SLEEP, network="fa"), net_boxes.start(SLEEP, network="fb", name="f-b")
    assert lookup(a, "f-mid") == [ip(mid, "fa")] and lookup(b, "f-mid") == [ip(mid, "fb")] and lookup(b, "only-b") == [ip(mid, "fb")]
    assert lookup(a, "only-b") == [] and lookup(a, "f-b") == [] and lookup(mid, "f-b") == [ip(b, "fb")]
    assert mid.http.post(mid.url + "/rename", {"name": "f-new"}).status == 204
    assert lookup(a, "f-new") == [ip(mid, "fa")] and lookup(a, "f-mid") == []
    networks.disconnect("fa", mid)
    assert lookup(a, "f-new") == [] and lookup(b, "f-new") == [ip(mid, "fb")]


def test_hosts_file_of_a_user_is_left_alone(networks, net_boxes):
    """What somebody wrote into /etc/hosts of a running container survives connects and disconnects."""
    networks.subnet("hf", "10.51.0.0/24")
    b = net_boxes.start(SLEEP, network="bridge")
    b.exec("echo '192.0.2.9 mine' >>/etc/hosts")
    networks.connect("hf", b)
    assert "192.0.2.9 mine" in b.exec("cat /etc/hosts")[1] and "10.51.0." in b.exec("cat /etc/hosts")[1]
    networks.disconnect("hf", b)
    text = b.exec("cat /etc/hosts")[1]
    assert "192.0.2.9 mine" in text and "10.51.0." not in text
    assert b.exec("sed -i s/mine/yours/ /etc/hosts; cp /etc/hosts /x && echo >>/x && cat /x >/etc/hosts")[0] in (0, 1)     # the file is a mount: no rename over it


def test_container_mode_shares_names(networks, net_boxes):
    from netns import lookup
    networks.subnet("cm", "10.52.0.0/24")
    a, other = net_boxes.start(SLEEP, network="cm", name="cm-a"), net_boxes.start(SLEEP, network="cm", name="cm-other")
    b = net_boxes.start(SLEEP, network="container:cm-a")
    assert lookup(b, "cm-other") == [ip(other, "cm")] and b.exec("cat /etc/resolv.conf /etc/hosts /etc/hostname")[1] == a.exec("cat /etc/resolv.conf /etc/hosts /etc/hostname")[1]
    networks.disconnect("cm", a)
    assert "eth0" not in b.exec("ip -o link")[1]
    networks.connect("cm", a)
    assert lookup(b, "cm-other") == [ip(other, "cm")]
    a.post("stop", {"t": 0})
    assert b.state["Running"]
    a.start()
    assert a.exec("ping -c1 -W2 10.52.0.1")[0] == 0
