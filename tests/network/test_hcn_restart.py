# SPDX-License-Identifier: Apache-2.0
"""SIGKILL, and the next service: what runs goes on, what belongs to nothing goes."""
import subprocess

from conftest import Service, guid, wait_for


def again(s, net, c, **network):
    """What an engine does after a restart."""
    s.network(id=net, **network)
    ns = s.namespace(pid=c.pid, id=c.ns)
    for e in c.eps:
        s.endpoint(net, id=e, ips=c.ips)
        s("add", ns, e)


def interface(c):
    link = c.ip("addr", "show", "dev", "eth0")[0]
    return link["ifindex"], link["address"], [(a["local"], a["prefixlen"]) for a in link["addr_info"] if a["scope"] == "global"]


def test_a_running_container_is_taken_over_without_losing_a_packet(host):
    first = Service(host)
    net = first.network(["10.1.0.0/24", "fd00:1::/64"])
    c = first.container(net)
    c.ips = [i["IpAddress"] for i in c.document()["IpConfigurations"]]
    before = interface(c)
    stream = subprocess.Popen(["nsenter", "--net", "-t", str(c.pid), "busybox", "ping", "-A", "-c", "2000", "-q", "10.1.0.1"], stdout=subprocess.PIPE, text=True)
    first.kill()
    second = Service(host)
    again(second, net, c, subnets=["10.1.0.0/24", "fd00:1::/64"])
    assert second("settle")["Links"] == []
    c.service = second
    assert interface(c) == before
    assert "2000 packets transmitted, 2000 packets received" in stream.communicate(timeout=60)[0]
    assert c.document()["InterfaceName"] == "eth0" and c.pings("fd00:1::1")
    # and it can be left again
    second("remove", c.ns, c.ep)
    wait_for(lambda: len(c.ip("link")) == 1)
    second.close()
    first.close()


def test_what_belongs_to_nothing_goes(host):
    first = Service(host)
    net, other = first.network(["10.1.0.0/24"]), first.network(["10.2.0.0/24"], name="other")
    c, gone = first.container(net), first.container(net)
    left = first.container(other)
    c.ips = [c.address()]
    host.run("ip", "link", "add", "stranger", "type", "bridge")
    host.run("ip", "link", "set", "stranger", "alias", "caisson:someone-else:" + guid())
    first.kill()
    gone.kill()
    second = Service(host)
    again(second, net, c, subnets=["10.1.0.0/24"])
    marked = lambda: {n for n, link in host.links().items() if link.get("ifalias", "").startswith("caisson:caisson:")}
    wait_for(lambda: len([n for n in marked() if n.startswith("csp")]) == 2)  # without that of the dead
    links = marked()
    cleaned = second("settle")["Links"]
    assert set(cleaned) == links - marked()
    assert any(n.startswith("br-") for n in cleaned) and "stranger" in host.links()
    assert c.pings("10.1.0.1") and not left.pings("10.2.0.1")
    wait_for(lambda: len([n for n in host.links() if n.startswith("csp")]) == 1 + second("pool")["ready"])
    second.close()
    first.close()


def test_the_warm_ones_vanish_with_their_service(host):
    s = Service(host, WarmNamespaces=6)
    wait_for(lambda: s("pool")["ready"] == 6)
    assert len([n for n in host.links() if n.startswith("csp")]) == 6
    s.kill()
    wait_for(lambda: not [n for n in host.links() if n.startswith("csp")])


def test_a_clean_end_leaves_networks_and_containers(host):
    s = Service(host)
    c = s.container(s.network(["10.1.0.0/24"]))
    s("shutdown")
    assert c.pings("10.1.0.1")
    wait_for(lambda: len([n for n in host.links() if n.startswith("csp")]) == 1)
    s.close()


def test_an_endpoint_whose_interface_is_gone_gets_a_new_one(host):
    first = Service(host)
    net = first.network(["10.1.0.0/24"])
    c = first.container(net)
    c.ips = [c.address()]
    first.kill()
    c.run("ip", "link", "del", "eth0")
    second = Service(host)
    again(second, net, c, subnets=["10.1.0.0/24"])
    assert second("settle")["Links"] == [] and c.pings("10.1.0.1")
    second.close()
    first.close()
