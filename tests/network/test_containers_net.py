# SPDX-License-Identifier: Apache-2.0
"""Containers on networks: addresses, names, ports, connect and disconnect, and what inspect and the list say of them."""
import ipaddress
import json
import os
import re
import subprocess
import threading
import time

import pytest

import caisson_fixture as fx
from box import IS_DOCKERD, Boxes, create
from netns import fetch, in_netns, lookup

SERVE = "mkdir -p /w && echo {0} >/w/index.html && exec httpd -f -p {1} -h /w"


def server(boxes, text="hello", port=80, **kw):
    box = boxes.start("echo up; " + SERVE.format(text, port), **kw)
    box.wait_log("up")
    fx.wait_for(lambda: in_netns(box.pid, "ss", "-ltnH", f"sport = :{port}").stdout.strip(), what="the server")
    return box


def settings(box, net=None, version=None):
    n = box.engine.http.get(box.url + "/json", version=version).json["NetworkSettings"]
    return n["Networks"][net] if net else n


def ip(box, net="bridge"):
    return settings(box, net)["IPAddress"]


def interfaces(box):
    code, out, _ = box.exec("ip -o addr")
    assert code == 0
    return out


# -- one network ----------------------------------------------------------------------------------------------------------

def test_default_bridge(net_engine, net_boxes):
    a, b = server(net_boxes, network=None, name="web-a"), net_boxes.sleeper(network="bridge")
    assert not [w for w in net_engine.http.get("/info").json["Warnings"] or [] if "firewall" in w]
    s = settings(a, "bridge")
    assert s["IPAddress"].startswith("172.17.0.") and s["IPPrefixLen"] == 16 and s["Gateway"] == "172.17.0.1"
    assert re.fullmatch("(..:){5}..", s["MacAddress"]) and len(s["EndpointID"]) == 64
    assert s["NetworkID"] == net_engine.http.get("/networks/bridge").json["Id"] and s["DNSNames"] is None
    assert s["IPAddress"] in interfaces(a) and "eth0" in interfaces(a)
    assert "default via 172.17.0.1" in a.exec("ip route")[1]
    assert fetch(b, f"http://{s['IPAddress']}/") == "hello"
    assert net_engine.netns.fetch(f"http://{s['IPAddress']}/") == "hello\n"
    hosts = a.exec("cat /etc/hosts")[1]
    assert f"{s['IPAddress']}\t{a.id[:12]}\n" in hosts
    assert "127.0.0.11" not in a.exec("cat /etc/resolv.conf")[1]
    old = settings(a, version="1.44")
    assert old["IPAddress"] == s["IPAddress"] and old["Gateway"] == "172.17.0.1" and old["MacAddress"] == s["MacAddress"] and old["EndpointID"] == s["EndpointID"]
    assert "IPAddress" not in settings(a, version="1.52")


def test_nothing_is_left_of_a_stopped_one(net_engine, net_boxes):
    b = net_boxes.sleeper(network="bridge")
    address = ip(b)
    b.post("stop")
    s = settings(b, "bridge")
    assert s["IPAddress"] == s["EndpointID"] == s["MacAddress"] == s["Gateway"] == "" and s["IPPrefixLen"] == 0
    assert settings(b)["SandboxID"] == "" and settings(b)["Ports"] == {}
    b.start()
    assert ip(b).startswith("172.17.") and address
    assert net_engine.http.get("/networks/bridge").json["Containers"][b.id]["IPv4Address"] == ip(b) + "/16"


def test_whoever_hears_of_the_end_finds_everything_free(networks, net_engine, net_boxes):
    """Name, address and port of a container that has ended are the next one's at once, and the network has told that it left."""
    networks.create("turns", IPAM={"Config": [{"Subnet": "10.72.9.0/24"}]})
    both = [net_boxes.create("exec sleep 1000", network="turns", name=f"turn{n}", StopSignal="SIGKILL", Host=publish(p80_tcp={"HostPort": "18127"}),
                             NetworkingConfig={"EndpointsConfig": {"turns": {"IPAMConfig": {"IPv4Address": "10.72.9.9"}}}}) for n in range(2)]
    for n in range(10):
        box, began = both[n % 2], time.time()
        assert box.post("start").status == 204
        assert list(net_engine.http.get("/networks/turns").json["Containers"]) == [box.id]
        assert box.post("kill" if n % 4 < 2 else "stop").status == 204
        told = net_engine.http.get("/events", {"since": f"{began:.9f}", "until": f"{time.time():.9f}", "filters": {"type": ["network"], "event": ["disconnect"]}}, rec=False)
        assert box.id in told.body.decode(), "a wait that comes back, comes back after this"
        assert settings(box, "turns")["IPAddress"] == "" and not net_engine.http.get("/networks/turns").json["Containers"]


def test_v4_only_has_no_ipv6(net_boxes):
    """CVE-2024-32473"""
    b = net_boxes.sleeper(network="bridge")
    assert "inet6" not in b.exec("ip -o addr show dev eth0")[1]


def test_none_and_host(net_engine, net_boxes):
    none, host = net_boxes.sleeper(network="none"), net_boxes.sleeper(network="host")
    assert "eth0" not in interfaces(none) and "lo" in interfaces(none)
    assert "csb-" in interfaces(host)
    members = net_engine.http.get("/networks/host").json["Containers"]
    assert host.id in members and members[host.id]["IPv4Address"] == ""


def test_network_disabled(net_boxes):
    b = net_boxes.sleeper(network="bridge", NetworkDisabled=True)
    assert "eth0" not in interfaces(b) and "localhost" in b.exec("cat /etc/hosts")[1]


@pytest.mark.caisson
@pytest.mark.parametrize("cfg", [{"Host": {"Sysctls": {"net.ipv6.conf.all.disable_ipv6": "1"}}},
                                 {"NetworkingConfig": {"EndpointsConfig": {"some6": {"DriverOpts": {"com.docker.network.endpoint.sysctls": "net.ipv6.conf.IFNAME.disable_ipv6=1"}}}}}],
                         ids=["container", "endpoint"])
def test_a_container_without_ipv6_on_a_network_that_has_it(networks, net_boxes, cfg):
    """No address is set, shown or told by name: also the second of two that are connected is without, where the container is."""
    networks.create("some6", EnableIPv6=True)
    networks.create("tail6", EnableIPv6=True)
    b, other = net_boxes.sleeper(network="some6", name="has-no6", **cfg), net_boxes.sleeper(network="some6")
    s = settings(b, "some6")
    assert s["IPAddress"] and (s["GlobalIPv6Address"], s["GlobalIPv6PrefixLen"], s["IPv6Gateway"]) == ("", 0, "")
    assert "inet6" not in b.exec("ip addr show eth0")[1]
    assert lookup(other, "has-no6") == [s["IPAddress"]]
    assert other.exec(f"ping -c1 -W2 {s['IPAddress']}")[0] == 0
    assert ("::" in b.exec("cat /etc/hosts")[1]) == ("Host" not in cfg)
    networks.connect("tail6", b)
    assert bool(settings(b, "tail6")["GlobalIPv6Address"]) == ("Host" not in cfg)
    assert ("inet6 fd" in b.exec("ip addr show eth1")[1]) == ("Host" not in cfg)
    b.post("restart", {"t": 0})
    assert settings(b, "some6")["GlobalIPv6Address"] == "" and "inet6" not in b.exec("ip addr show eth0")[1]


def test_ipv6_only(networks, net_boxes):
    networks.create("six-only", EnableIPv4=False, EnableIPv6=True)
    a, b = net_boxes.sleeper(network="six-only", name="six-a"), net_boxes.sleeper(network="six-only")
    s = settings(a, "six-only")
    assert s["IPAddress"] == "" and s["GlobalIPv6Address"].startswith("fd") and "inet 10." not in interfaces(a) and "inet 172." not in interfaces(a)
    assert b.exec(f"ping -6 -c1 -W2 {s['GlobalIPv6Address']}")[0] == 0


def test_container_mode(net_boxes):
    a = server(net_boxes, network="bridge", name="joined")
    b = net_boxes.sleeper(network="container:joined")
    assert fetch(b, "http://127.0.0.1/") == "hello"
    assert settings(b)["Networks"] == {}
    assert b.exec("cat /etc/hosts")[1] == a.exec("cat /etc/hosts")[1]


def test_static_addresses(networks, net_boxes):
    networks.subnet("static", ["10.71.0.0/24", "fd00:71::/64"], EnableIPv6=True)
    cfg = {"NetworkingConfig": {"EndpointsConfig": {"static": {"IPAMConfig": {"IPv4Address": "10.71.0.77", "IPv6Address": "fd00:71::77"},
                                                               "MacAddress": "02:00:00:00:71:77"}}}}
    b = net_boxes.sleeper(network="static", **cfg)
    s = settings(b, "static")
    assert (s["IPAddress"], s["GlobalIPv6Address"], s["GlobalIPv6PrefixLen"], s["IPv6Gateway"]) == ("10.71.0.77", "fd00:71::77", 64, "fd00:71::1")
    assert s["MacAddress"] == "02:00:00:00:71:77" and s["IPAMConfig"] == {"IPv4Address": "10.71.0.77", "IPv6Address": "fd00:71::77"}
    out = b.exec("ip addr show dev eth0")[1]
    assert "10.71.0.77/24" in out and "fd00:71::77/64" in out and "02:00:00:00:71:77" in out
    other = net_boxes.create("true", network="static", **cfg)
    a = other.post("start")
    assert a.status == 403 and "already in use" in a.message.lower() or "in use" in a.message.lower(), a
    b.post("restart", {"t": 0})
    assert settings(b, "static")["IPAddress"] == "10.71.0.77"


@pytest.mark.caisson        # dockerd before 29 wants a subnet of the user's
def test_static_address_in_a_subnet_of_the_pools(networks, net_boxes):
    networks.create("dyn")
    subnet = ipaddress.ip_network(networks.inspect("dyn")["IPAM"]["Config"][0]["Subnet"])
    wants = lambda ip: {"NetworkingConfig": {"EndpointsConfig": {"dyn": {"IPAMConfig": {"IPv4Address": str(ip)}}}}}
    b = net_boxes.sleeper(network="dyn", **wants(subnet[9]))
    assert settings(b, "dyn")["IPAddress"] == str(subnet[9])
    b.post("restart", {"t": 0})
    assert settings(b, "dyn")["IPAddress"] == str(subnet[9])
    other = net_boxes.create("true", network="dyn", **wants(subnet[9]))
    assert other.post("start").status == 403
    far = subnet.network_address - 1
    a = create(networks.engine, "true", network="dyn", **wants(far))
    assert a.status == 400 and a.message == f"invalid endpoint settings:\nno configured subnet contains IP address {far}"


def test_mac_address_by_version(net_engine, net_boxes):
    a = create(net_engine, "sleep 1000", network="bridge", MacAddress="02:11:22:33:44:55", version="1.43")
    box = net_boxes.create("true")      # for its clean-up
    box.made = None
    from box import Box
    b = Box(net_engine, a.json["Id"])
    net_boxes.made.append(b)
    b.start()
    assert settings(b, "bridge")["MacAddress"] == "02:11:22:33:44:55"
    assert "02:11:22:33:44:55" in b.exec("cat /sys/class/net/eth0/address; ip link show eth0")[1]
    seen = lambda b: {v: net_engine.http.get(b.url + "/json", version=v).json["Config"].get("MacAddress") for v in ("1.43", "1.44", "1.51", "1.52")}
    shown = {"1.43": "02:11:22:33:44:55", "1.44": "02:11:22:33:44:55", "1.51": "02:11:22:33:44:55", "1.52": None}
    assert seen(b) == shown
    b.rm()
    b = net_boxes.create("true", network="bridge", NetworkingConfig={"EndpointsConfig": {"bridge": {"MacAddress": "02:11:22:33:44:55"}}})
    assert seen(b) == shown         # however it was given; but one that was chosen is not
    assert set(seen(net_boxes.sleeper(network="bridge")).values()) == {None}


@pytest.mark.caisson        # before 29 it is shown as it was given
@pytest.mark.parametrize("given", ["0211.2233.44aB", "02-11-22-33-44-AB"])
def test_mac_address_in_other_spellings(networks, net_boxes, given):
    networks.create("macs")
    b = net_boxes.sleeper(network="macs", NetworkingConfig={"EndpointsConfig": {"macs": {"MacAddress": given}}})
    assert settings(b, "macs")["MacAddress"] == "02:11:22:33:44:ab" and "02:11:22:33:44:ab" in b.exec("ip link show eth0")[1]
    for bad in ("02:11-22:33:44:55", "0211.2233.4455.6677", "02:11:22:33:44:55:66:77", "0211:2233:4455"):
        a = create(networks.engine, "true", network="macs", NetworkingConfig={"EndpointsConfig": {"macs": {"MacAddress": bad}}})
        assert a.status == 400 and a.message == f"invalid MAC address {bad}"


@pytest.mark.caisson
def test_template_with_the_address_on_the_default_bridge(net_boxes):
    """The API has it in NetworkSettings up to 1.51 only."""
    b = net_boxes.sleeper(network="bridge")
    bridge = settings(b, "bridge")
    form = "{{.NetworkSettings.IPAddress}} {{.NetworkSettings.IPPrefixLen}} {{.NetworkSettings.Gateway}} {{.NetworkSettings.MacAddress}}"
    env = {**os.environ, "DOCKER_HOST": "unix://" + b.engine.sock}
    out = subprocess.run([str(fx.BUILD / "caisson"), "inspect", "-f", form, b.id], env=env, capture_output=True, text=True, timeout=60, check=True).stdout
    assert out == f"{bridge['IPAddress']} {bridge['IPPrefixLen']} {bridge['Gateway']} {bridge['MacAddress']}\n"


def test_endpoint_options(networks, net_boxes):
    networks.create("opts")
    b = net_boxes.sleeper(network="opts", NetworkingConfig={"EndpointsConfig": {"opts": {"DriverOpts": {
        "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1", "com.docker.network.endpoint.ifname": "lan7"},
        "IPAMConfig": {"LinkLocalIPs": ["169.254.7.7"]}}}})
    out = interfaces(b)
    assert "lan7" in out and "169.254.7.7" in out and "eth0" not in out
    assert b.exec("cat /proc/sys/net/ipv4/conf/lan7/log_martians")[1] == "1\n"


def test_sysctls_and_stats_as_with_an_own_network(net_boxes):
    b = net_boxes.sleeper(network="bridge", Host={"Sysctls": {"net.ipv4.ip_default_ttl": "77"}})
    assert b.exec("cat /proc/sys/net/ipv4/ip_default_ttl")[1] == "77\n"
    assert b.exec("cat /proc/sys/net/ipv4/ip_unprivileged_port_start")[1] == "0\n"
    one = b.engine.http.get(b.url + "/stats", {"stream": 0, "one-shot": 1}).json
    assert set(one["networks"]) == {"eth0"}


# -- names ----------------------------------------------------------------------------------------------------------------

def test_names_on_a_network(networks, net_boxes):
    networks.create("names")
    web = server(net_boxes, "named", network="names", name="n-web",
                 NetworkingConfig={"EndpointsConfig": {"names": {"Aliases": ["www", "front"]}}})
    user = net_boxes.sleeper(network="names", name="n-user")
    assert "nameserver 127.0.0.11" in user.exec("cat /etc/resolv.conf")[1] and "ndots:0" in user.exec("cat /etc/resolv.conf")[1]
    for name in ("n-web", "www", "front", web.id[:12], "n-web.names"):
        assert fetch(user, f"http://{name}/") == "named", name
    s = settings(web, "names")
    assert s["DNSNames"] == ["n-web", "www", "front", web.id[:12]] and s["Aliases"] == ["www", "front"]
    assert settings(web, "names", version="1.43")["Aliases"] == ["www", "front", web.id[:12]]
    assert web.http.post(web.url + "/rename", {"name": "n-renamed"}).status == 204
    assert fetch(user, "http://n-renamed/") == "named" and fetch(user, "http://www/") == "named"
    assert fetch(user, "http://n-web/") is None


def test_links_on_a_network(networks, net_boxes):
    networks.create("lnk")
    server(net_boxes, "linked", network="lnk", name="l-db")
    user = net_boxes.sleeper(network="lnk", NetworkingConfig={"EndpointsConfig": {"lnk": {"Links": ["l-db:database"]}}})
    assert fetch(user, "http://database/") == "linked"
    other = net_boxes.sleeper(network="lnk")
    assert fetch(other, "http://database/") is None


@pytest.mark.parametrize("mode,exposed", [("bridge", "80/tcp"), ("default", "80/tcp"), ("bridge", "79-81/tcp")])
def test_a_legacy_link_opens_ports_where_containers_may_not_talk(fresh, mode, exposed):
    """The docker command says "default". Images, and clients of the API, may expose ranges."""
    eng = fresh(netns=True, config={"icc": False})
    boxes = Boxes(eng)
    db = server(boxes, "db", network=mode, name="icc-db", ExposedPorts={exposed: {}})
    user, other = boxes.sleeper(network=mode, Host={"Links": ["icc-db:db"]}), boxes.sleeper(network=mode)
    assert fetch(user, f"http://{ip(db)}/") == "db" and fetch(other, f"http://{ip(db)}/", timeout=1) is None
    boxes.clean()


def test_links_to_who_comes_later(networks, net_boxes):
    """As in dockerd a link on a network of one's own is a name for a name, and no container need bear it yet."""
    networks.create("lnl")
    user = net_boxes.sleeper(network="lnl", NetworkingConfig={"EndpointsConfig": {"lnl": {"Links": ["ll-db:database"]}}})
    assert lookup(user, "database") == []
    late = net_boxes.sleeper(network="lnl", name="ll-db")
    assert lookup(user, "database") == [settings(late, "lnl")["IPAddress"]]
    between = net_boxes.sleeper(network="lnl")
    late.post("stop", {"t": 0})
    took = net_boxes.sleeper(network="lnl")         # its address, so that it gets another one
    late.post("start")
    assert lookup(user, "database") == [settings(late, "lnl")["IPAddress"]]
    between.rm(), took.rm()


def test_legacy_links(net_engine, net_boxes):
    db = server(net_boxes, "db", network="bridge", name="l-legacy", ExposedPorts={"80/tcp": {}}, Env=["PASS=word"])
    user = net_boxes.sleeper(network="bridge", name="l-user", Host={"Links": ["l-legacy:db"]})
    assert f"{ip(db)}\tdb {db.id[:12]} l-legacy\n" in user.exec("cat /etc/hosts")[1]
    assert fetch(user, "http://db/") == "db"
    env = net_engine.http.get(f"/containers/{user.id}/top").json and user.exec("tr '\\0' '\\n' </proc/1/environ")[1]
    assert f"DB_PORT=tcp://{ip(db)}:80\n" in env and f"DB_PORT_80_TCP_ADDR={ip(db)}\n" in env and "DB_ENV_PASS=word\n" in env and "DB_NAME=/l-user/db\n" in env
    assert user.inspect()["HostConfig"]["Links"] == ["/l-legacy:/l-user/db"]
    names = {c["Id"]: c["Names"] for c in net_engine.http.get("/containers/json").json}
    assert names[db.id] == ["/l-legacy", "/l-user/db"] and names[user.id] == ["/l-user"]
    db.post("stop")
    user.post("stop")
    a = user.post("start")
    assert a.status == 409 and "Cannot link to a non running container: /l-legacy AS /l-user/db" in a.message


def test_a_link_on_a_user_defined_network_is_no_name(networks, net_engine, net_boxes):
    """As in dockerd: the list of names is the container's own, and HostConfig shows links of the default bridge only."""
    networks.create("lnn")
    db = net_boxes.sleeper(network="lnn", name="lnn-db")
    user = net_boxes.sleeper(network="lnn", name="lnn-user", Host={"Links": ["lnn-db:database"]},
                             NetworkingConfig={"EndpointsConfig": {"lnn": {"Links": ["lnn-db:database"]}}})
    names = {c["Id"]: c["Names"] for c in net_engine.http.get("/containers/json").json}
    assert names[db.id] == ["/lnn-db"] and names[user.id] == ["/lnn-user"]
    assert user.inspect()["HostConfig"]["Links"] is None
    assert settings(user, "lnn")["Links"] == ["lnn-db:database"] and lookup(user, "database") == [settings(db, "lnn")["IPAddress"]]


def test_a_link_is_removed(net_engine, net_boxes):
    db = server(net_boxes, "db", network="bridge", name="rl-db")
    user = net_boxes.sleeper(network="bridge", name="rl-user", Host={"Links": ["rl-db:first", "rl-db:second"]})
    http = net_engine.http
    assert http.get("/containers/rl-user/first/json").json["Id"] == db.id          # a link's name is one of the container's
    assert http.get("/containers/rl-user/third/json").status == 404
    a = http.delete("/containers/rl-user?link=1")
    assert a.status == 409 and a.message == "Conflict, cannot remove the default link name of the container"
    assert http.delete("/containers/rl-user/third?link=1").status == 404
    assert http.delete("/containers/nobody/first?link=1").status == 404
    docker = subprocess.run(["docker", "-H", "unix://" + net_engine.sock, "rm", "--link", "/rl-user/first"], capture_output=True, text=True, check=False)
    assert docker.returncode == 0, docker.stderr
    hosts = user.exec("cat /etc/hosts")[1]
    assert f"\tsecond {db.id[:12]} rl-db\n" in hosts and "\tfirst " not in hosts and f"{ip(user)}\t{user.id[:12]}\n" in hosts
    assert fetch(user, "http://second/") == "db"
    assert "FIRST_" not in user.exec("env")[1] and "SECOND_NAME=/rl-user/second" in user.exec("env")[1]
    assert user.inspect()["HostConfig"]["Links"] == ["/rl-db:/rl-user/second"]
    assert http.get("/containers/rl-user/first/json").status == 404 and http.delete("/containers/rl-user/first?link=1").status == 404
    net_engine.restart()
    assert user.inspect()["HostConfig"]["Links"] == ["/rl-db:/rl-user/second"]
    user.kill()
    user.wait()
    assert http.delete("/containers/rl-user/second?link=1").status == 204                  # it need not run
    user.start()
    assert "second" not in user.exec("cat /etc/hosts; env")[1] and not user.inspect()["HostConfig"]["Links"]


def test_a_link_on_a_user_defined_network_is_removed(networks, net_engine, net_boxes):
    networks.create("rlu")
    server(net_boxes, "linked", network="rlu", name="rlu-db")
    user = net_boxes.sleeper(network="rlu", name="rlu-user", Host={"Links": ["rlu-db:database"]},
                             NetworkingConfig={"EndpointsConfig": {"rlu": {"Links": ["rlu-db:database", "rlu-db:other"]}}})
    assert fetch(user, "http://database/") == "linked"
    assert net_engine.http.delete("/containers/rlu-user/database?link=1").status == 204
    assert fetch(user, "http://database/") is None and fetch(user, "http://other/") == "linked" and fetch(user, "http://rlu-db/") == "linked"


def test_a_removed_link_closes_its_ports(networks, net_engine, net_boxes):
    networks.create("rlc", Options={"com.docker.network.bridge.enable_icc": "false"})
    server(net_boxes, "db", network="rlc", name="rlc-db", ExposedPorts={"80/tcp": {}})
    user = net_boxes.sleeper(network="rlc", name="rlc-user", Host={"Links": ["rlc-db:db"]})
    assert fetch(user, "http://db/") == "db"
    assert net_engine.http.delete("/containers/rlc-user/db?link=1").status == 204
    assert fetch(user, "http://rlc-db/", timeout=1) is None


@pytest.mark.parametrize("config,names", [({"Hostname": "a.b.example"}, "a.b.example a"), ({"Hostname": "a", "Domainname": "b.example"}, "a.b.example a"),
                                          ({"Hostname": "a.b", "Domainname": "c"}, "a.b.c a"), ({"Hostname": "a"}, "a")])
def test_own_names(net_boxes, config, names):
    """As dockerd writes them: the full name, and its first part."""
    b = net_boxes.sleeper(network="bridge", **config)
    assert b.exec("cat /etc/hosts")[1].splitlines()[-1] == f"{ip(b)}\t{names}"


def test_variables_of_a_link_to_many_ports(net_boxes):
    """As docker 29: TCP comes first, and ports in a row have a first and a last one. Of a range they are all that there is."""
    db = net_boxes.sleeper(network="bridge", name="vp-db", ExposedPorts={p: {} for p in ("53/udp", "90/tcp", "80/tcp", "81/tcp", "8000-8010/tcp", "8010-8020/tcp", "1-65535/sctp")})
    user = net_boxes.sleeper(network="bridge", Host={"Links": ["vp-db:db"]})
    env = dict(line.split("=", 1) for line in user.exec("tr '\\0' '\\n' </proc/1/environ")[1].splitlines())
    assert env["DB_PORT"] == f"tcp://{ip(db)}:80" and env["DB_PORT_81_TCP_PORT"] == "81"
    ends = {"DB_PORT_80_TCP_START": f"tcp://{ip(db)}:80", "DB_PORT_80_TCP_PORT_START": "80", "DB_PORT_80_TCP_END": f"tcp://{ip(db)}:81", "DB_PORT_80_TCP_PORT_END": "81",
            "DB_PORT_8000_TCP_START": f"tcp://{ip(db)}:8000", "DB_PORT_8000_TCP_PORT_START": "8000", "DB_PORT_8000_TCP_END": f"tcp://{ip(db)}:8020",
            "DB_PORT_8000_TCP_PORT_END": "8020", "DB_PORT_1_SCTP_START": f"sctp://{ip(db)}:1", "DB_PORT_1_SCTP_PORT_START": "1",
            "DB_PORT_1_SCTP_END": f"sctp://{ip(db)}:65535", "DB_PORT_1_SCTP_PORT_END": "65535"}
    assert {k: v for k, v in env.items() if "START" in k or k.endswith("_END")} == ends
    assert len([k for k in env if k.startswith("DB_PORT_")]) == 16 + len(ends)


def test_extra_hosts(net_boxes):
    b = net_boxes.sleeper(network="bridge", Host={"ExtraHosts": ["up:host-gateway", "db:10.1.2.3"]})
    hosts = b.exec("cat /etc/hosts")[1]
    assert "172.17.0.1\tup\n" in hosts and "10.1.2.3\tdb\n" in hosts


def test_an_exec_has_the_variables_of_links(net_boxes):
    db = net_boxes.sleeper(network="bridge", name="xe-db", Env=["PW=x"], ExposedPorts={"80/tcp": {}})
    b = net_boxes.sleeper(network="bridge", name="xe-web", Env=["DB_ENV_PW=own"], Host={"Links": ["xe-db:db"]})
    env = b.exec("env")[1].splitlines()
    assert f"DB_PORT_80_TCP_ADDR={ip(db)}" in env and "DB_NAME=/xe-web/db" in env and "DB_ENV_PW=own" in env and "DB_ENV_PW=x" not in env
    db.kill()
    db.wait()
    code, out, _ = b.exec("env")        # dockerd refuses every exec then
    assert code == 0 and "DB_PORT" not in out


# -- several networks -----------------------------------------------------------------------------------------------------

def test_several_networks_at_create(networks, net_boxes):
    networks.subnet("m-a", "10.72.1.0/24")
    networks.subnet("m-b", "10.72.2.0/24")
    networks.subnet("m-in", "10.72.3.0/24", Internal=True)
    b = net_boxes.sleeper(network="m-a", NetworkingConfig={"EndpointsConfig": {"m-a": {}, "m-b": {"GwPriority": 10}, "m-in": {"GwPriority": 99}}})
    assert set(settings(b)["Networks"]) == {"m-a", "m-b", "m-in"} and settings(b, "m-b")["GwPriority"] == 10
    assert "default via 10.72.2.1" in b.exec("ip route")[1]
    assert settings(b, "m-in")["Gateway"] == ""
    hosts = b.exec("cat /etc/hosts")[1]
    for net in ("m-a", "m-b", "m-in"):
        assert f"{ip(b, net)}\t{b.id[:12]}\n" in hosts


def test_the_first_free_address_is_next(networks, net_engine, net_boxes):
    """As dockerd outside of swarm. Neighbours that remember who had it before talk to the new one at once."""
    networks.subnet("ff", "10.75.1.0/24")
    peer = net_boxes.sleeper(network="ff")
    one = server(net_boxes, "one", network="ff")
    assert (ip(peer, "ff"), ip(one, "ff")) == ("10.75.1.2", "10.75.1.3")
    for look in (lambda: fetch(peer, "http://10.75.1.3/"), lambda: net_engine.netns.fetch("http://10.75.1.3/").strip()):
        assert look() == "one"
    one.rm()

    def first():        # it is free when the interface is gone, which nobody waits for
        box = net_boxes.start("echo up; " + SERVE.format("two", 80), network="ff")
        if ip(box, "ff") == "10.75.1.3":
            return box
        box.rm()
        return None
    two = fx.wait_for(first, 60, what="the first free address")
    fx.wait_for(lambda: in_netns(two.pid, "ss", "-ltnH", "sport = :80").stdout.strip(), what="the server")
    assert fetch(peer, "http://10.75.1.3/") == "two" and net_engine.netns.fetch("http://10.75.1.3/").strip() == "two"
    two.post("restart?t=0")
    assert ip(two, "ff") == "10.75.1.3"


def test_connect_and_disconnect_running(networks, net_boxes):
    networks.subnet("c-a", "10.73.1.0/24")
    networks.subnet("c-b", "10.73.2.0/24")
    web = server(net_boxes, "moving", network="c-b", name="c-web")
    b = net_boxes.sleeper(network="c-a", name="c-box")
    assert fetch(b, "http://c-web/") is None
    networks.connect("c-b", b, Aliases=["other"])
    assert settings(b, "c-b")["IPAddress"].startswith("10.73.2.") and "10.73.2." in interfaces(b)
    assert fetch(b, "http://c-web/") == "moving"
    assert lookup(web, "other") == [ip(b, "c-b")]
    assert f"{ip(b, 'c-b')}\tc-box\n" not in b.exec("cat /etc/hosts")[1]       # by host name, as Docker
    assert f"{ip(b, 'c-b')}\t{b.id[:12]}\n" in b.exec("cat /etc/hosts")[1]
    a = networks.connect("c-b", b, expect=403)
    assert "endpoint with name c-box already exists in network c-b" in a.message
    networks.disconnect("c-b", b)
    assert "c-b" not in settings(b)["Networks"] and "10.73.2." not in interfaces(b) and "10.73.2." not in b.exec("cat /etc/hosts")[1]
    a = networks.disconnect("c-b", b, expect=500)
    assert "is not connected to network c-b" in a.message
    networks.disconnect("c-a", b)
    assert settings(b)["Networks"] == {} and "eth" not in interfaces(b)
    networks.connect("c-a", b)
    assert b.exec("ping -c1 -W2 10.73.1.1")[0] == 0


def test_connect_a_stopped_one(networks, net_boxes):
    networks.subnet("s-a", "10.74.1.0/24")
    b = net_boxes.create(["sleep", "1000"], network="bridge")
    networks.connect("s-a", b, IPAMConfig={"IPv4Address": "10.74.1.50"})
    assert settings(b, "s-a")["IPAddress"] == "" and settings(b, "s-a")["IPAMConfig"] == {"IPv4Address": "10.74.1.50"}
    networks.disconnect("bridge", b)
    networks.connect("s-a", b, IPAMConfig={}, Aliases=[], Links=[])       # what the command sends when nothing is asked for
    assert settings(b, "s-a")["IPAMConfig"] == {"IPv4Address": "10.74.1.50"}
    networks.connect("s-a", b, IPAMConfig={"IPv4Address": "10.74.1.51"})
    b.start()
    assert list(settings(b)["Networks"]) == ["s-a"] and ip(b, "s-a") == "10.74.1.51"


def test_from_the_default_bridge_to_names_and_back(networks, net_boxes):
    networks.create("resolv")
    server(net_boxes, "resolved", network="resolv", name="r-web")
    b = net_boxes.sleeper(network="bridge")
    before = b.exec("cat /etc/resolv.conf")[1]
    networks.connect("resolv", b)
    assert "nameserver 127.0.0.11" in b.exec("cat /etc/resolv.conf")[1]
    assert fetch(b, "http://r-web/") == "resolved"
    networks.disconnect("resolv", b)
    assert b.exec("cat /etc/resolv.conf")[1] == before


def test_connect_refusals(networks, net_boxes):
    networks.create("ref")
    host, none, joined = (net_boxes.sleeper(network=n) for n in ("host", "none", "container:" + net_boxes.sleeper(network="none").id))
    for box, words in ((host, "sharing network namespace"), (none, "private (none) mode"), (joined, "sharing network namespace")):
        a = networks.connect("ref", box, expect=400)
        assert words in a.message
    a = networks.disconnect("host", host, expect=400)
    assert "cannot disconnect container from host network" in a.message
    a = networks.connect("host", net_boxes.sleeper(network="bridge"), expect=400)
    assert "cannot connect container to host network" in a.message
    a = networks.engine.http.post("/networks/ref/connect", body={"Container": "nosuch"})
    assert a.status == 404 and "No such container: nosuch" in a.message
    a = networks.engine.http.post("/networks/nosuch/connect", body={"Container": none.id})
    assert a.status == 404 and a.message == "network nosuch not found"
    networks.disconnect("none", none)
    networks.connect("ref", none)       # out of the private mode it may
    assert "eth0" in interfaces(none)


def test_internal_has_no_way_out(net_engine, networks, net_boxes):
    networks.subnet("inner", "10.75.0.0/24", Internal=True)
    outside = net_engine.netns.neighbour("198.51.100", "2001:db8:75::")
    try:
        web = outside.popen("busybox", "httpd", "-f", "-p", "80", "-h", "/etc")
        a, b = net_boxes.sleeper(network="inner"), net_boxes.sleeper(network="inner", Host={"PortBindings": {"80/tcp": [{"HostPort": "18075"}]}})
        assert a.exec(f"ping -c1 -W2 {ip(b, 'inner')}")[0] == 0
        assert a.exec(f"ping -c1 -W1 {outside.address}")[0] != 0
        assert "default" not in a.exec("ip route")[1]
        assert settings(b)["Ports"] in ({}, {"80/tcp": None})
        c = net_boxes.sleeper(network="bridge")
        fx.wait_for(lambda: fetch(c, f"http://{outside.address}/hostname") is not None, what="the way out of the default bridge")
    finally:
        web.kill()
        web.wait()
        outside.close()


def test_networks_are_isolated_from_each_other(networks, net_boxes):
    networks.subnet("iso-a", "10.76.1.0/24")
    networks.subnet("iso-b", "10.76.2.0/24")
    a, b = net_boxes.sleeper(network="iso-a"), net_boxes.sleeper(network="iso-b")
    assert a.exec(f"ping -c1 -W1 {ip(b, 'iso-b')}")[0] != 0
    networks.create("no-icc", Options={"com.docker.network.bridge.enable_icc": "false"})
    c, d = net_boxes.sleeper(network="no-icc"), net_boxes.sleeper(network="no-icc")
    assert c.exec(f"ping -c1 -W1 {ip(d, 'no-icc')}")[0] != 0


# -- ports ----------------------------------------------------------------------------------------------------------------

def publish(**ports):
    return {"PortBindings": {k.replace("_", "/")[1:]: [v] if isinstance(v, dict) else v for k, v in ports.items()}}


def test_published_port(net_engine, net_boxes):
    outside = net_engine.netns.neighbour()
    try:
        b = server(net_boxes, "published", network="bridge", Host=publish(p80_tcp={"HostPort": "18080"}), ExposedPorts={"80/tcp": {}, "443/tcp": {}})
        assert settings(b)["Ports"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "18080"}], "443/tcp": None}
        row = next(c for c in net_engine.http.get("/containers/json").json if c["Id"] == b.id)
        assert row["Ports"] == [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 18080, "Type": "tcp"}, {"PrivatePort": 443, "Type": "tcp"}]
        assert row["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] == ip(b)
        fx.wait_for(lambda: outside.fetch(f"http://{outside.gateway}:18080/", check=False) == "published\n", what="the port from outside")
        assert net_engine.netns.fetch("http://127.0.0.1:18080/") == "published\n"
        other = net_boxes.sleeper(network="bridge")
        assert fetch(other, f"http://{outside.gateway}:18080/") == "published"      # hairpin, and the server's own
        assert fetch(b, f"http://{outside.gateway}:18080/") == "published"
        b.post("stop", {"t": 0})
        assert outside.fetch(f"http://{outside.gateway}:18080/", check=False, timeout=1) is None
        b.start()
        fx.wait_for(lambda: outside.fetch(f"http://{outside.gateway}:18080/", check=False) == "published\n", what="the port after a restart")
    finally:
        outside.close()


def test_port_on_loopback_only(net_engine, net_boxes):
    outside = net_engine.netns.neighbour()
    try:
        server(net_boxes, "local", network="bridge", Host=publish(p80_tcp={"HostIp": "127.0.0.1", "HostPort": "18081"}))
        fx.wait_for(lambda: net_engine.netns.fetch("http://127.0.0.1:18081/", check=False) == "local\n", what="the port on loopback")
        assert outside.fetch(f"http://{outside.gateway}:18081/", check=False, timeout=1) is None
        outside.run("ip", "route", "add", "127.0.0.1/32", "via", outside.gateway, check=False)
    finally:
        outside.close()


def test_ports_in_use(net_engine, net_boxes):
    one = net_boxes.sleeper(network="bridge", name="port-holder", Host=publish(p80_tcp={"HostPort": "18082"}))
    two = net_boxes.create("true", network="bridge", name="port-wants", Host=publish(p80_tcp={"HostPort": "18082"}))
    a = two.post("start")
    assert a.status == 500, a
    assert re.search(r"failed to set up container networking: driver failed programming external connectivity on endpoint port-wants \([0-9a-f]{64}\): "
                     r"Bind for 0\.0\.0\.0:18082 failed: port is already allocated", a.message), a.message
    assert "port-holder" in a.message
    assert two.inspect()["State"]["Status"] == "created" and settings(two, "bridge")["IPAddress"] == ""
    one.rm()
    assert two.post("start").status == 204
    listener = net_engine.netns.popen("busybox", "nc", "-l", "-p", "18083", stdin=subprocess.PIPE)
    try:
        fx.wait_for(lambda: ":18083 " in net_engine.netns.run("ss", "-ltn").stdout, what="a listener")
        three = net_boxes.create("true", network="bridge", Host=publish(p80_tcp={"HostPort": "18083"}))
        a = three.post("start")
        assert a.status == 500 and f"port 18083/tcp on 0.0.0.0 is held by busybox (pid {listener.pid})" in a.message, a
    finally:
        listener.kill()
        listener.wait()


@pytest.mark.parametrize("bindings", [[], None])
def test_a_port_with_no_bindings_is_any_port(net_boxes, bindings):
    b = server(net_boxes, "any", network="bridge", Host={"PortBindings": {"80/tcp": bindings}})
    assert all(int(one["HostPort"]) for one in settings(b)["Ports"]["80/tcp"])
    if not IS_DOCKERD:
        assert b.inspect()["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostIp": "", "HostPort": ""}]}


@pytest.mark.caisson
@pytest.mark.parametrize("version,warns", [("1.51", False), ("1.52", True), ("1.55", True)])
def test_newer_clients_are_warned_of_a_port_with_no_bindings(net_boxes, version, warns):
    a = create(net_boxes.engine, "true", network="bridge", version=version, Host={"PortBindings": {"80": []}})
    net_boxes.engine.http.delete("/containers/" + a.json["Id"])
    text = "Following container port(s) have an empty list of port-bindings: 80/tcp. Such bindings will be discarded in a future version."
    assert (text in a.json["Warnings"]) == warns


def test_ranges_and_ephemeral_ports(net_engine, net_boxes):
    made = [net_boxes.sleeper(network="bridge", Host=publish(p80_tcp={"HostPort": "18090-18092"})) for _ in range(3)]
    assert sorted(settings(b)["Ports"]["80/tcp"][0]["HostPort"] for b in made) == ["18090", "18091", "18092"]
    full = net_boxes.create("true", network="bridge", Host=publish(p80_tcp={"HostPort": "18090-18092"}))
    assert full.post("start").status == 500
    b = server(net_boxes, "eph", network="bridge", ExposedPorts={"80/tcp": {}, "81/udp": {}}, Host={"PublishAllPorts": True})
    ports = settings(b)["Ports"]
    assert int(ports["80/tcp"][0]["HostPort"]) > 1024 and int(ports["81/udp"][0]["HostPort"]) > 1024
    fx.wait_for(lambda: net_engine.netns.fetch(f"http://127.0.0.1:{ports['80/tcp'][0]['HostPort']}/", check=False) == "eph\n", what="an ephemeral port")


def test_default_publish_address(net_engine, networks, net_boxes):
    networks.create("bind-local", Options={"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"})
    b = server(net_boxes, network="bind-local", Host=publish(p80_tcp={"HostPort": "18084"}))
    assert settings(b)["Ports"]["80/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": "18084"}]


def test_ports_move_with_the_way_out(net_engine, networks, net_boxes):
    networks.subnet("mv-a", "10.77.1.0/24")
    networks.subnet("mv-b", "10.77.2.0/24")
    b = server(net_boxes, "moved", network="mv-a", Host=publish(p80_tcp={"HostPort": "18085"}))
    networks.connect("mv-b", b, GwPriority=5)
    assert "default via 10.77.2.1" in b.exec("ip route")[1]
    fx.wait_for(lambda: net_engine.netns.fetch("http://127.0.0.1:18085/", check=False) == "moved\n", what="the port on the new network")
    networks.disconnect("mv-b", b)
    assert settings(b)["Ports"]["80/tcp"][0]["HostPort"] == "18085"
    fx.wait_for(lambda: net_engine.netns.fetch("http://127.0.0.1:18085/", check=False) == "moved\n", what="the port on the old network")
    networks.disconnect("mv-a", b)
    assert settings(b)["Ports"] == {"80/tcp": None} or settings(b)["Ports"] == {}
    assert net_engine.netns.fetch("http://127.0.0.1:18085/", check=False, timeout=1) is None


def test_ipv6(net_engine, networks, net_boxes):
    networks.subnet("six", ["10.78.0.0/24", "fd00:78::/64"], EnableIPv6=True)
    outside = net_engine.netns.neighbour()
    try:
        b = server(net_boxes, "six", network="six", name="six-web", Host=publish(p80_tcp={"HostPort": "18086"}))
        assert settings(b)["Ports"]["80/tcp"] == [{"HostIp": "0.0.0.0", "HostPort": "18086"}, {"HostIp": "::", "HostPort": "18086"}]
        user = net_boxes.sleeper(network="six")
        assert fetch(user, f"http://[{settings(b, 'six')['GlobalIPv6Address']}]/") == "six"
        fx.wait_for(lambda: outside.fetch(f"http://[{outside.gateway6}]:18086/", check=False) == "six\n", what="the port by IPv6")
        assert user.exec(f"ping -6 -c1 -W2 {outside.address6}")[0] == 0
    finally:
        outside.close()


# -- the daemon goes and comes --------------------------------------------------------------------------------------------

def test_restart_under_traffic(fresh):
    """Connections, addresses, ports and names go on while the daemon is killed, and after."""
    from box import Boxes
    eng = fresh(netns=True)
    boxes = Boxes(eng)
    assert eng.http.post("/networks/create", body={"Name": "app"}).status == 201
    web = server(boxes, "on and on", network="app", name="rs-web", Host=publish(p80_tcp={"HostPort": "18100"}, p81_tcp={"HostPort": ""}))
    user = boxes.sleeper(network="app", name="rs-user")
    assert eng.http.post("/networks/bridge/connect", body={"Container": user.id}).status == 200
    fx.wait_for(lambda: eng.netns.fetch("http://127.0.0.1:18100/", check=False), what="the port")
    before, before_user = settings(web), settings(user)
    failures, stop = [], threading.Event()

    def traffic():
        while not stop.is_set():
            for host in ("127.0.0.1", "[::1]"):
                if eng.netns.fetch(f"http://{host}:18100/", check=False) != "on and on\n":
                    failures.append((host, time.monotonic()))
    t = threading.Thread(target=traffic)
    t.start()
    try:
        for graceful in (False, True, False):
            eng.restart(graceful=graceful)
            assert settings(web) == before and settings(user) == before_user
    finally:
        stop.set()
        t.join()
    assert not failures
    assert fetch(user, "http://rs-web/") == "on and on"
    assert eng.http.post("/networks/app/disconnect", body={"Container": user.id}).status == 200
    new = boxes.create("true", network="app", Host=publish(p80_tcp={"HostPort": "18100"}))
    assert new.post("start").status == 500      # the new daemon knows who has it
    web.rm()
    assert eng.netns.fetch("http://127.0.0.1:18100/", check=False, timeout=1) is None
    assert new.post("start").status == 204


def test_what_died_while_the_daemon_was_away_is_cleaned(fresh):
    from box import Boxes
    eng = fresh(netns=True)
    boxes = Boxes(eng)
    made = [boxes.sleeper(network="bridge", Host=publish(p80_tcp={"HostPort": str(18110 + i)})) for i in range(3)]
    pids = [b.pid for b in made]
    eng.kill()
    for pid in pids:
        subprocess.run(["kill", "-9", str(pid)], check=True)
    eng.start()
    for b in made:
        fx.wait_for(lambda b=b: b.state["Status"] == "exited", what="the exit")
    assert not eng.network_leaks()
    again = boxes.sleeper(network="bridge", Host=publish(p80_tcp={"HostPort": "18110"}))
    assert ip(again)


def test_a_stopped_one_has_no_addresses_after_a_restart(fresh):
    from box import Boxes
    eng = fresh(netns=True)
    b = Boxes(eng).sleeper(network="bridge", Host=publish(p80_tcp={"HostPort": "18119"}))
    b.post("stop")
    before = settings(b)
    assert not eng.http.get("/networks/bridge").json["Containers"]
    eng.restart()
    assert settings(b) == before and settings(b, "bridge")["IPAddress"] == settings(b, "bridge")["EndpointID"] == ""


def test_killed_in_starts(fresh):
    """SIGKILL in the middle of starts, twice: nothing leaks, and everything can be started."""
    from box import Boxes
    eng = fresh(netns=True)
    boxes = Boxes(eng)
    made = [boxes.create(["sleep", "1000"], network="bridge", Host=publish(p80_tcp={"HostPort": str(18120 + i)})) for i in range(8)]
    for delay in (0.004, 0.012, 0.03):
        def start(box):
            try:
                box.http.post(box.url + "/start", rec=False)
            except OSError:
                pass
        threads = [threading.Thread(target=start, args=(b,)) for b in made]
        for t in threads:
            t.start()
        time.sleep(delay)       # the moment of death is what is varied here
        eng.kill()
        for t in threads:
            t.join()
        eng.start()
        running = [b for b in made if b.state["Running"]]
        for b in running:
            assert ip(b) in b.exec("ip -o addr")[1]
        for b in made:
            b.post("kill") if b.state["Running"] else None
            fx.wait_for(lambda b=b: not b.state["Running"], what="the end")
        fx.wait_for(lambda: not eng.network_leaks(), what=f"no leaks: {eng.network_leaks()}")
    for b in made:
        b.start()
    assert len({ip(b) for b in made}) == 8


def test_twenty_at_once(net_engine, networks, net_boxes):
    networks.subnet("many", "10.79.0.0/24")
    made = [net_boxes.create(["sleep", "1000"], network="many", Host=publish(p80_tcp={"HostPort": str(18200 + i)})) for i in range(20)]
    answers = []

    def start(box):
        answers.append(box.post("start").status)
    threads = [threading.Thread(target=start, args=(b,)) for b in made]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert answers == [204] * 20
    assert len({ip(b, "many") for b in made}) == 20
    for b in made:
        b.rm()
    fx.wait_for(lambda: not net_engine.network_leaks(), what="no leaks")
    assert networks.inspect("many", "1.52")["Status"]["IPAM"]["Subnets"]["10.79.0.0/24"]["IPsInUse"] == 3


def test_restart_policy_and_failed_starts_leak_nothing(net_engine, net_boxes):
    b = net_boxes.start("sleep 0.05; exit 1", network="bridge", Host={"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, **publish(p80_tcp={"HostPort": "18130"})})
    fx.wait_for(lambda: b.state["Status"] == "exited" and b.inspect()["RestartCount"] == 3, what="three restarts")
    bad = net_boxes.create(["/nosuch"], network="bridge", Host=publish(p80_tcp={"HostPort": "18130"}))
    for _ in range(3):
        assert bad.post("start").status in (400, 404, 500)
    ok = net_boxes.sleeper(network="bridge", Host=publish(p80_tcp={"HostPort": "18130"}))
    ok.rm()
    fx.wait_for(lambda: not net_engine.network_leaks(), what="no leaks")


# -- the daemon's own settings --------------------------------------------------------------------------------------------

def test_default_bridge_by_daemon_json(fresh):
    from box import Boxes
    eng = fresh(netns=True, config={"bip": "10.90.0.1/24", "fixed-cidr": "10.90.0.128/25", "mtu": 1300, "icc": False, "ip": "127.0.0.1", "bridge": "mybr0",
                                    "default-address-pools": [{"base": "10.91.0.0/16", "size": 24}],
                                    "default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1250"}}, "host-gateway-ips": ["10.90.0.77"]})
    boxes = Boxes(eng)
    n = eng.http.get("/networks/bridge").json
    assert n["IPAM"]["Config"] == [{"Subnet": "10.90.0.0/24", "IPRange": "10.90.0.128/25", "Gateway": "10.90.0.1"}]
    assert eng.netns.links()["mybr0"]["mtu"] == 1300
    a = boxes.sleeper(network="bridge", Host={"ExtraHosts": ["h:host-gateway"], **publish(p80_tcp={"HostPort": "18140"})})
    b = boxes.sleeper(network="bridge")
    assert int(ip(a).rsplit(".", 1)[1]) >= 128 and settings(a)["Ports"]["80/tcp"][0]["HostIp"] == "127.0.0.1"
    assert "10.90.0.77\th\n" in a.exec("cat /etc/hosts")[1] and "mtu 1300" in a.exec("ip link show eth0")[1]
    assert a.exec(f"ping -c1 -W1 {ip(b)}")[0] != 0
    ident = eng.http.post("/networks/create", body={"Name": "pooled"}).json["Id"]
    p = eng.http.get("/networks/pooled").json
    assert p["IPAM"]["Config"][0]["Subnet"] == "10.91.0.0/24" and eng.netns.links()["br-" + ident[:12]]["mtu"] == 1250
    assert eng.http.get("/info").json["DefaultAddressPools"] == [{"Base": "10.91.0.0/16", "Size": 24}]


def test_the_default_bridge_is_one_of_the_users():
    """Its subnet is that of the bridge's address, as with dockerd: containers are on the LAN that is bridged there. Nothing is added to it."""
    from box import Boxes
    eng = fx.Engine(netns=True, config={"bridge": "lan0", "fixed-cidr": "10.94.0.128/25"})
    try:
        eng.netns.run("ip", "link", "add", "lan0", "type", "bridge")
        eng.netns.run("ip", "addr", "add", "10.94.0.7/24", "dev", "lan0")
        eng.netns.run("ip", "link", "set", "lan0", "up")
        eng.start().prepare()
        b = Boxes(eng).sleeper(network="bridge")
        for _ in range(2):
            assert eng.http.get("/networks/bridge").json["IPAM"]["Config"] == [{"Subnet": "10.94.0.0/24", "IPRange": "10.94.0.128/25", "Gateway": "10.94.0.7"}]
            assert int(ip(b).removeprefix("10.94.0.")) >= 128 and "default via 10.94.0.7" in b.exec("ip route")[1]
            assert eng.netns.run("ip", "-4", "-o", "addr", "show", "lan0").stdout.count("inet ") == 1
            eng.restart()
    finally:
        eng.close()


def test_default_gateway_and_dual_stack_by_daemon_json(fresh):
    from box import Boxes
    eng = fresh(netns=True, config={"bip": "10.92.0.1/24", "default-gateway": "10.92.0.254", "ipv6": True, "fixed-cidr-v6": "fd00:92::/64"})
    b = Boxes(eng).sleeper(network="bridge")
    assert "default via 10.92.0.254" in b.exec("ip route")[1]
    s = settings(b, "bridge")
    assert s["GlobalIPv6Address"].startswith("fd00:92::") and s["IPv6Gateway"] == "fd00:92::1"
    assert eng.http.get("/networks/bridge").json["IPAM"]["Config"][0]["AuxiliaryAddresses"] == {"DefaultGatewayIPv4": "10.92.0.254"}


def test_no_default_bridge(fresh):
    from box import Boxes
    eng = fresh(netns=True, args=["--bridge=none"])
    boxes = Boxes(eng)
    assert {n["Name"] for n in eng.http.get("/networks").json} == {"host", "none"}
    b = boxes.sleeper(network="bridge")
    assert "eth0" not in interfaces(b) and "lo" in interfaces(b)
    assert set(eng.netns.links()) == {"lo"}     # neither a bridge nor anything kept ready


def test_the_default_bridge_makes_way(fresh):
    """172.17 belongs to somebody on the host (a dockerd): the next pool is taken, and kept."""
    from box import Boxes
    eng = fx.Engine(netns=True)
    try:
        eng.netns.run("ip", "link", "add", "docker0", "type", "bridge")
        eng.netns.run("ip", "addr", "add", "172.17.0.1/16", "dev", "docker0")
        eng.netns.run("ip", "link", "set", "docker0", "up")
        eng.start().prepare()
        assert eng.http.get("/networks/bridge").json["IPAM"]["Config"][0]["Subnet"] == "172.18.0.0/16"
        b = Boxes(eng).sleeper(network="bridge")
        assert ip(b).startswith("172.18.")
        eng.restart()
        assert eng.http.get("/networks/bridge").json["IPAM"]["Config"][0]["Subnet"] == "172.18.0.0/16" and ip(b).startswith("172.18.")
    finally:
        eng.netns.run("ip", "link", "del", "docker0", check=False)
        eng.close()


def test_a_network_refused_at_the_start_is_tried_again(fresh):
    """Somebody's bridge has its subnet while the daemon starts."""
    from box import Boxes
    eng = fresh(netns=True)
    boxes = Boxes(eng)
    net = eng.http.post("/networks/create", body={"Name": "late", "IPAM": {"Config": [{"Subnet": "10.95.0.0/24"}]}}).json["Id"]
    eng.kill()
    host = eng.netns.run
    host("ip", "link", "del", f"br-{net[:12]}")
    host("ip", "link", "add", "theirs", "type", "bridge")
    host("ip", "addr", "add", "10.95.0.1/24", "dev", "theirs")
    eng.start()
    b = boxes.create(["sleep", "1000"], network="late", name="late-box", Host=publish(p80_tcp={"HostPort": "18599"}))
    runs = boxes.sleeper(network="bridge")
    for _ in range(2):
        a = b.post("start")
        assert a.status == 503 and "network late cannot be used" in a.message and "theirs" in a.message, a
        a = eng.http.post("/networks/late/connect", body={"Container": runs.id})
        assert a.status == 503 and "network late cannot be used" in a.message, a
    host("ip", "link", "del", "theirs")
    b.start()
    assert ip(b, "late").startswith("10.95.0.") and b.exec("ping -c1 -W3 10.95.0.1")[0] == 0
    assert b.inspect()["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"] == "18599"
    assert eng.http.post("/networks/late/connect", body={"Container": runs.id}).status == 200
    assert runs.exec(f"ping -c1 -W3 {ip(b, 'late')}")[0] == 0
    boxes.clean()
    assert eng.http.delete("/networks/late").status == 204


def test_two_daemons_on_one_host(fresh):
    from box import Boxes
    one = fresh(netns=True)
    two = fx.Engine(netns=True)
    two.netns.close()
    two.netns = one.netns
    try:
        two.start().prepare()
        a, b = Boxes(one).sleeper(network="bridge"), Boxes(two).sleeper(network="bridge")
        assert ip(a).startswith("172.17.") and ip(b).startswith("172.18.")
        two.restart()
        assert ip(a) in a.exec("ip -o addr")[1] and a.exec("ping -c1 -W2 172.17.0.1")[0] == 0 and b.exec("ping -c1 -W2 172.18.0.1")[0] == 0
        two.remove_all()
    finally:
        two.network_leaks = lambda: {}      # the other one's links are no leak
        class Kept:
            command, close = one.netns.command, staticmethod(lambda: None)
        two.netns = Kept()
        two.close()
        one.network_leaks = lambda: {}


def test_without_the_right_to_networks(fresh):
    """No CAP_NET_ADMIN: none and host work, the rest says why not."""
    from box import Boxes
    eng = fx.Engine(netns=True)
    try:
        plain = eng._command
        eng._command = lambda: ["setpriv", "--bounding-set=-net_admin", *plain()]
        eng.start().prepare()
        boxes = Boxes(eng)
        assert boxes.run("echo ok", network="none").out == "ok\n" and boxes.run("echo ok", network="host").out == "ok\n"
        c = boxes.create("true", network="bridge")
        a = c.post("start")
        assert a.status == 503 and "network" in a.message, a
        assert any("network" in w.lower() for w in eng.http.get("/info").json["Warnings"])
        assert eng.http.post("/networks/create", body={"Name": "x"}).status == 503
    finally:
        eng.close()


# -- real clients ---------------------------------------------------------------------------------------------------------

@pytest.mark.skipif(not os.path.ismount("/sys/fs/cgroup/unified"), reason="hiding the only hierarchy leaves no engine")
def test_without_a_cgroup2_it_is_told_what_is_missing(fresh):
    eng = fx.Engine(netns=True)
    try:
        plain = eng._command
        eng._command = lambda: ["unshare", "-m", "sh", "-c", 'umount /sys/fs/cgroup/unified && exec "$@"', "sh", *plain()]
        eng.start()
        told = [w for w in eng.http.get("/info").json["Warnings"] if "::1" in w]
        assert len(told) == 1 and "cgroup2" in told[0], told
    finally:
        eng.close()


def test_a_network_that_comes_later(net_engine, networks, net_boxes):
    """As with Docker the start tells what is missing; docker run would take a 404 of the creation for a missing image."""
    b = net_boxes.create(["sleep", "1000"], network="later", NetworkingConfig={"EndpointsConfig": {"later": {"Aliases": ["x"]}}})
    a = b.post("start")
    assert a.status == 404 and a.message == "failed to set up container networking: network later not found"
    networks.create("later")
    b.start()
    assert settings(b, "later")["IPAddress"] and settings(b, "later")["DNSNames"][1] == "x"


def test_docker_cli(net_engine, networks):
    run = net_engine.cli
    assert len(run("network", "create", "--subnet", "10.80.0.0/24", "--label", "x=y", "cli-net", check=True).stdout.strip()) == 64
    networks.made.append("cli-net")
    try:
        assert "cli-net" in run("network", "ls", check=True).stdout
        run("run", "-d", "--name", "cli-web", "--network", "cli-net", "--network-alias", "www", "--ip", "10.80.0.9", "-p", "18150:80", fx.ROOTFS, "sh", "-c",
            SERVE.format("cli", 80), check=True)
        assert run("run", "--rm", "--network", "cli-net", fx.ROOTFS, "cat", "/etc/resolv.conf", check=True).stdout.count("127.0.0.11") == 1
        assert run("port", "cli-web", check=True).stdout == "80/tcp -> 0.0.0.0:18150\n"
        assert "0.0.0.0:18150->80/tcp" in run("ps", "--format", "{{.Ports}}", "--filter", "name=cli-web", check=True).stdout
        assert run("inspect", "-f", '{{(index .NetworkSettings.Networks "cli-net").IPAddress}}', "cli-web", check=True).stdout == "10.80.0.9\n"
        run("network", "connect", "bridge", "cli-web", check=True)
        run("network", "disconnect", "cli-net", "cli-web", check=True)
        assert run("network", "rm", "cli-net", check=True).stdout == "cli-net\n"
    finally:
        run("rm", "-f", "cli-web", "cli-no")
    bad = run("run", "--rm", "--network", "nosuch", fx.ROOTFS, "true")
    assert bad.returncode == 125 and "network nosuch not found" in bad.stderr


def test_python_docker(net_engine, networks):
    c = net_engine.client()
    try:
        net = c.networks.create("py-net", driver="bridge", labels={"a": "b"})
        networks.made.append(net.id)
        box = c.containers.run(fx.ROOTFS, ["sleep", "1000"], detach=True, ports={"80/tcp": None}, network="bridge", name="py-box")
        try:
            net.connect(box, aliases=["py"])
            net.reload()
            assert [x.name for x in net.containers] == ["py-box"]
            box.reload()
            assert set(box.attrs["NetworkSettings"]["Networks"]) == {"bridge", "py-net"} and box.ports["80/tcp"][0]["HostPort"].isdigit()
            net.disconnect(box)
        finally:
            box.remove(force=True)
        net.remove()
    finally:
        c.close()
