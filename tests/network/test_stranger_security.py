# SPDX-License-Identifier: Apache-2.0
"""Advisories about container networks, tried as their finders did. docs/security.md has the list."""
import subprocess

import pytest

import caisson_fixture as fx
from box import Box, create
from netns import fetch, in_netns
from test_containers_net import ip, publish, server, settings

SLEEP = ["sleep", "1000"]
PEER = "import socket,sys\ns=socket.create_server(('',int(sys.argv[1])))\nprint('ready',flush=True)\nwhile True:\n c,a=s.accept()\n c.recv(9999)\n c.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\n'+a[0].encode()+b'\\n')\n c.close()"


def peer_server(box, port=80):
    """Says who the client is."""
    p = subprocess.Popen(["nsenter", "--net", "-t", str(box.pid), "--", "/usr/bin/python3", "-c", PEER, str(port)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert p.stdout.readline() == "ready\n"
    return p


def received(netns, dev):
    return int(netns.run("cat", "/proc/net/dev").stdout.split(dev + ":")[1].split()[1])


def test_nobody_outside_comes_by_the_hosts_loopback_address(net_engine, net_boxes):
    """A neighbour that sends packets for 127.0.0.1 over the wire (moby's 28.0 hardening, CVE-2020-8558's way) reaches nothing that is published there."""
    outside = net_engine.netns.neighbour()
    try:
        server(net_boxes, "inner", network="bridge", Host=publish(p80_tcp={"HostIp": "127.0.0.1", "HostPort": "18660"}, p81_tcp={"HostPort": "18661"}))
        for argv in (("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1"), ("ip", "addr", "flush", "dev", "lo"), ("ip", "route", "flush", "table", "local", "127.0.0.0/8"),
                     ("ip", "route", "add", "127.0.0.0/8", "via", outside.gateway)):
            outside.run(*argv, check=False)
        assert f"via {outside.gateway}" in outside.run("ip", "route", "get", "127.0.0.1").stdout
        before = received(net_engine.netns, "out0")
        for port in (18660, 18661):
            assert outside.fetch(f"http://127.0.0.1:{port}/", check=False, timeout=1) is None
        assert received(net_engine.netns, "out0") >= before + 2        # they did arrive
        assert net_engine.netns.fetch("http://127.0.0.1:18660/") == "inner\n"
    finally:
        outside.close()


def test_a_forwarded_connection_is_never_from_loopback(net_engine, net_boxes):
    """CVE-2021-20199: a service that trusts 127.0.0.1 must not take a client of the published port for its own host."""
    outside = net_engine.netns.neighbour()
    b = net_boxes.start(SLEEP, network="bridge", Host=publish(p80_tcp={"HostPort": "18662"}))
    p = peer_server(b)
    try:
        fx.wait_for(lambda: outside.fetch(f"http://{outside.gateway}:18662/", check=False), what="the port")
        assert outside.fetch(f"http://{outside.gateway}:18662/") == outside.address + "\n"
        assert net_engine.netns.fetch("http://127.0.0.1:18662/") == settings(b, "bridge")["Gateway"] + "\n"
        assert fetch(b, f"http://{settings(b, 'bridge')['Gateway']}:18662/") == settings(b, "bridge")["Gateway"]
        other = net_boxes.start(SLEEP, network="bridge")
        assert not fetch(other, f"http://{outside.gateway}:18662/").startswith("127.")
    finally:
        p.kill()
        p.wait()
        p.stdout.close()
        outside.close()


def test_no_abstract_sockets(net_engine, net_boxes):
    """CVE-2020-15257: whoever shares the host's network sees abstract sockets of its services. There are none of ours."""
    before = {line.split()[-1] for line in net_engine.netns.run("cat", "/proc/net/unix").stdout.splitlines() if "@" in line}
    b = net_boxes.start(SLEEP, network="host")
    c = net_boxes.start(SLEEP, network="bridge")
    c.exec("true")
    assert "@" not in b.exec("cat /proc/net/unix")[1] and not before


@pytest.mark.parametrize("how", ["start", "connect", "restart", "macvlan"])
def test_no_ipv6_where_none_was_asked_for(net_engine, networks, net_boxes, how):
    """CVE-2024-32473, in all the ways by which an interface comes into a container."""
    outside = net_engine.netns.neighbour()
    try:
        if how == "macvlan":
            a = net_engine.http.post("/networks/create", body={"Name": "v4", "Driver": "macvlan", "Options": {"parent": "out0"}, "IPAM": {"Config": [{"Subnet": "10.57.0.0/24"}]}})
            if a.status == 501:
                return
            networks.made.append(a.json["Id"])
        else:
            networks.subnet("v4", "10.57.0.0/24")
        b = net_boxes.start(SLEEP, network="bridge" if how == "connect" else "v4")
        if how == "connect":
            networks.connect("v4", b)
        if how == "restart":
            b.post("restart", {"t": 0})
        assert "10.57.0." in b.exec("ip -o addr")[1]
        assert [line for line in b.exec("ip -o -6 addr")[1].splitlines() if ": lo" not in line] == []
        b.rm()
        networks.clean()
    finally:
        outside.close()


def test_an_overlay_does_not_pretend_to_be_encrypted(net_engine):
    """CVE-2023-28840 and its kin: encryption that is asked for and not there is refused, not left out."""
    a = net_engine.http.post("/networks/create", body={"Name": "enc", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.58.0.0/24"}]}, "Options": {
        "encrypted": "", "caisson.network.overlay.address": "127.0.0.1", "caisson.network.overlay.peers": "10.58.0.0/24@127.0.0.2"}})
    if a.status == 201:
        net_engine.http.delete("/networks/" + a.json["Id"])
    assert a.status in (400, 501) and "encrypt" in a.message, a


def test_other_networks_are_not_seen(net_engine, networks, net_boxes):
    """Neither by the container's address, nor by the other bridge's gateway as a router, nor with an address of theirs."""
    networks.subnet("see-a", "10.59.1.0/24")
    networks.subnet("see-b", "10.59.2.0/24")
    a, b = net_boxes.start(SLEEP, network="see-a"), server(net_boxes, "hidden", network="see-b")
    assert fetch(a, f"http://{ip(b, 'see-b')}/", timeout=1) is None
    in_netns(a.pid, "ip", "addr", "add", "10.59.2.77/24", "dev", "eth0")
    in_netns(a.pid, "ip", "route", "replace", "10.59.2.0/24", "via", "10.59.1.1", "dev", "eth0", "src", "10.59.2.77")
    assert "via 10.59.1.1" in in_netns(a.pid, "ip", "route", "get", ip(b, "see-b")).stdout
    assert fetch(a, f"http://{ip(b, 'see-b')}/", timeout=1) is None
    assert net_engine.netns.fetch(f"http://{ip(b, 'see-b')}/") == "hidden\n"


def test_a_name_of_a_container_is_no_line_in_a_file(net_engine, networks, net_boxes):
    """Hostile aliases, host names and extra hosts do not make lines of their own in /etc/hosts or resolv.conf, and do not end the resolver."""
    networks.subnet("lines", "10.60.0.0/24")
    for alias in ("a\n192.0.2.66 bank.example", "x" * 300, "a b", "\u00fc", "..", ".", "a..b", "-", "*"):
        b = net_boxes.create(SLEEP, network="lines", NetworkingConfig={"EndpointsConfig": {"lines": {"Aliases": [alias]}}})
        a = b.post("start")
        assert a.status in (204, 400, 500), (alias, a)
        if a.status == 204:
            assert "192.0.2.66" not in b.exec("cat /etc/hosts /etc/resolv.conf")[1]
        b.rm()
    for host in ({"ExtraHosts": ["bad\n192.0.2.66 x:1.2.3.4"]}, {"ExtraHosts": ["x:1.2.3.4\n192.0.2.66 bank"]}, {"DnsSearch": ["a\nnameserver 192.0.2.66"]}, {"DnsOptions": ["a\nnameserver 192.0.2.66"]}, {"Dns": ["1.2.3.4\nnameserver 192.0.2.66"]}):
        a = create(net_engine, SLEEP, network="lines", Host=host)
        if a.status == 201:
            b = Box(net_engine, a.json["Id"])
            net_boxes.made.append(b)
            if b.post("start").status == 204:
                text = b.exec("cat /etc/hosts /etc/resolv.conf")[1]
                assert "\n192.0.2.66" not in text and "\nnameserver 192.0.2.66" not in text, (host, text)
        else:
            assert a.status == 400, (host, a)
    assert net_boxes.start(SLEEP, network="lines").exec("ping -c1 -W2 10.60.0.1")[0] == 0
