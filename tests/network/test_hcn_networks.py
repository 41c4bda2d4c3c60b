# SPDX-License-Identifier: Apache-2.0
"""Networks, endpoints and namespaces, as the kernel shows them."""
import json
import subprocess
import time

import pytest

from conftest import HcnError, Service, guid, wait_for
from unixhttp import TIME_FACTOR


def test_container_on_a_bridge(service, host):
    net = service.network(["172.30.0.0/16"])
    a, b = service.container(net), service.container(net)
    assert a.addresses("eth0") == ["172.30.0.2/16"]
    assert b.address() == "172.30.0.3"
    assert a.document()["MacAddress"] == "02-42-ac-1e-00-02"
    assert a.ip("link", "show", "dev", "eth0")[0]["address"] == "02:42:ac:1e:00:02"
    assert a.ip("route")[0]["gateway"] == "172.30.0.1"
    assert a.pings("172.30.0.1") and a.pings(b.address()) and a.pings("127.0.0.1")
    assert host.run("busybox", "ping", "-c1", "-W1", a.address())


def test_names_and_numbers_of_the_first_addresses(service, host):
    net = service.network(id="0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9")
    link = host.links()["br-0a1b2c3d4e5f"]
    assert link["ifalias"] == "caisson:caisson:" + net and link["linkinfo"]["info_data"]["forward_delay"] == 0
    subnet = service("query", "net", net)["Ipams"][0]["Subnets"][0]
    assert subnet["IpAddressPrefix"] == "172.17.0.0/16" and subnet["Routes"][0]["NextHop"] == "172.17.0.1"
    assert service("query", "net", service.network(name="two"))["Ipams"][0]["Subnets"][0]["IpAddressPrefix"] == "172.18.0.0/16"


def test_an_ipv4_network_has_no_ipv6_address(service, host):
    c = service.container(service.network(["10.9.0.0/24"]))  # CVE-2024-32473
    assert c.addresses("eth0") == ["10.9.0.2/24"]
    assert c.run("cat", "/proc/sys/net/ipv6/conf/eth0/disable_ipv6").strip() == "1"
    assert "::1/128" in c.addresses("lo")
    bridge = [a for link in host.ip("addr") if link["ifname"].startswith(("br-", "csp")) for a in link["addr_info"]]
    assert [a["local"] for a in bridge] == ["10.9.0.1"]


def test_dual_stack(service, host):
    net = service.network(["10.9.0.0/24", "fd00:9::/64"])
    a, b = service.container(net), service.container(net)
    assert a.addresses("eth0")[:2] == ["10.9.0.2/24", "fd00:9::2/64"]
    assert all(not i.get("tentative") for i in a.ip("addr", "show", "dev", "eth0")[0]["addr_info"])
    assert a.pings("fd00:9::1") and a.pings("fd00:9::3") and a.pings("10.9.0.3") and b.pings("fd00:9::2")
    assert a.ip("-6", "route", "show", "default")[0]["gateway"] == "fd00:9::1"
    assert host.run("cat", "/proc/sys/net/ipv6/conf/all/forwarding").strip() == "1"


def test_ipv6_only(service):
    net = service.network(EnableIPv4=False, EnableIPv6=True)
    subnet = service("query", "net", net)["Ipams"][0]["Subnets"]
    assert len(subnet) == 1 and subnet[0]["IpAddressPrefix"].startswith("fd") and subnet[0]["IpAddressPrefix"].endswith("::/64")
    a, b = service.container(net), service.container(net)
    assert a.pings(b.address()) and not a.ip("-4", "route")


def test_several_networks_and_the_default_route(service):
    one, two = service.network(["10.1.0.0/24"], name="beta"), service.network(["10.2.0.0/24"], name="alpha")
    inside = service.network(["10.3.0.0/24"], name="aaa", type="Internal")
    c = service.container(one, inside)
    gateway = lambda: [(r["gateway"], r["dev"]) for r in c.ip("route", "show", "default")]
    assert gateway() == [("10.1.0.1", "eth0")]
    later = service.endpoint(two)
    service("add", c.ns, later)  # while it runs; by name it goes first
    assert gateway() == [("10.2.0.1", "eth2")]
    assert c.pings("10.2.0.1") and c.pings("10.3.0.1") and c.pings("10.1.0.1")
    service("remove", c.ns, later)
    assert gateway() == [("10.1.0.1", "eth0")]
    wanted = service.endpoint(two, policies=[{"Type": "LinuxInterface", "Settings": {"GatewayPriority": -1, "Name": "lan0"}}])
    service("add", c.ns, wanted)
    assert gateway() == [("10.1.0.1", "eth0")] and c.addresses("lan0") == ["10.2.0.3/24"]
    service("remove", c.ns, c.eps[0])
    assert gateway() == [("10.2.0.1", "lan0")]
    service("add", c.ns, c.eps[0])
    assert gateway() == [("10.1.0.1", "eth0")]
    first = {"Type": "LinuxInterface", "Settings": {"GatewayPriority": 5, "Name": "lan0"}}
    service("modify", "ep", wanted, {"ResourceType": "Policy", "RequestType": "Update", "Settings": first})
    assert gateway() == [("10.2.0.1", "lan0")]
    for change in ({"Name": "lan1"}, {"Name": "lan0", "Sysctls": {"net.ipv4.conf.IFNAME.log_martians": "1"}}, {"Name": "lan0", "LinkLocal": ["169.254.1.1"]}):
        with pytest.raises(HcnError) as e:
            service("modify", "ep", wanted, {"ResourceType": "Policy", "RequestType": "Update", "Settings": {"Type": "LinuxInterface", "Settings": change}})
        assert e.value.code == 0x803B0015
    assert c.addresses("eth0") == ["10.1.0.2/24"]


def test_statistics(service):
    net = service.network(["10.1.0.0/24"])
    c = service.container(net)
    before = service("stats", c.ep)
    assert c.pings("10.1.0.1", count=3)
    after = service("stats", c.ep)
    assert after["PacketsSent"] - before["PacketsSent"] >= 3 and after["BytesReceived"] - before["BytesReceived"] >= 3 * 64
    assert after["EndpointId"] == c.ep


def test_deleting(service, host):
    net = service.network(["10.1.0.0/24"])
    c = service.container(net)
    with pytest.raises(HcnError) as e:
        service("delete", "net", net)
    assert e.value.code == 0x803B002C
    service("delete", "ns", c.ns)
    assert service("query", "ep", c.ep)["HostComputeNamespace"] == ""
    service("delete", "ep", c.ep)
    service("delete", "net", net)
    c.kill()
    wait_for(lambda: [n for n in host.links() if n.startswith("br-")] == [])
    with pytest.raises(HcnError) as e:
        service("delete", "net", net)
    assert e.value.code == 0x803B0001


def test_many_at_once(service, host):
    net = service.network(["10.1.0.0/24"])
    r = service("many", 20, net, guid(), guid())
    assert r["Error"] is None and len(r["us"]) == 20
    taken = {ip["IpAddress"] for e in service("list", "ep", {"Flags": 1}) for ip in e["IpConfigurations"]}
    assert len(taken) == 20
    bridge = service("list", "net", {"Flags": 1})[0]["ID"]
    assert len([x for x in host.ip("link") if x.get("master", "").startswith("br-")]) == 20 and bridge == net


def test_an_exhausted_network(service):
    net = service.network(["10.1.0.0/29"])  # .1 is the gateway, .7 broadcast
    eps = [service.endpoint(net) for _ in range(5)]
    with pytest.raises(HcnError, match="no available IPv4 addresses") as e:
        service.endpoint(net)
    assert e.value.code == 0x803B002F
    service("delete", "ep", eps[2])
    assert service("query", "ep", service.endpoint(net))["IpConfigurations"][0]["IpAddress"] == "10.1.0.4"


@pytest.mark.parametrize("family,subnets", [(6, ["fd00:1::/127", "10.1.0.0/24"]), (6, ["10.1.0.0/24", "fd00:1::/127"]), (4, ["10.1.0.0/30", "fd00:1::/64"])])
def test_an_exhausted_family_is_named(service, family, subnets):
    net = service.network(subnets, EnableIPv6=True)
    service.endpoint(net)
    for _ in range(3):          # the other family's address comes back, too
        with pytest.raises(HcnError, match=f"no available IPv{family} addresses"):
            service.endpoint(net)


def test_wanted_addresses(service):
    net = service.network([{"IpAddressPrefix": "10.1.0.0/16", "IpRange": "10.1.5.0/24", "AuxAddresses": ["10.1.5.1"]}])
    assert service("query", "net", net)["Ipams"][0]["Subnets"][0]["Routes"][0]["NextHop"] == "10.1.5.0"
    assert service("query", "ep", service.endpoint(net))["IpConfigurations"][0]["IpAddress"] == "10.1.5.2"
    fixed = service.endpoint(net, ips=["10.1.200.7"], MacAddress="02-00-00-00-00-07")
    assert service("query", "ep", fixed)["MacAddress"] == "02-00-00-00-00-07"
    for address in ("10.1.200.7", "10.1.5.1", "10.1.5.0", "10.1.0.0", "10.1.255.255", "10.2.0.1"):
        with pytest.raises(HcnError) as e:
            service.endpoint(net, ips=[address])
        assert e.value.code == 0x803B002F, address
    service("delete", "ep", fixed)  # a restart of its container asks for it again at once
    service.endpoint(net, ips=["10.1.200.7"])


def test_overlaps(service, host):
    service.network(["10.1.0.0/16"], name="first")
    for subnet in ("10.1.0.0/16", "10.1.4.0/24", "10.0.0.0/8"):
        with pytest.raises(HcnError, match="overlaps 10.1.0.0/16 of first") as e:
            service.network([subnet], name="other")
        assert e.value.code == 0x803B0032
    assert len([n for n in host.links() if n.startswith("br-")]) == 1


def test_the_subnet_of_a_strangers_bridge(service, host):
    host.run("ip", "link", "add", "other0", "type", "bridge")
    host.run("ip", "addr", "add", "10.7.0.1/24", "dev", "other0")
    with pytest.raises(HcnError, match="subnet 10.7.0.0/24 is that of bridge other0") as e:
        service.network(["10.7.0.0/24"])
    assert e.value.code == 0x803B0032
    service.network(["10.7.0.0/24"], Name="other0")  # on that very bridge it is what is wanted


def test_pools_keep_clear_of_the_hosts_routes(service, host):
    host.run("ip", "link", "add", "vpn", "type", "veth", "peer", "name", "far")
    host.run("ip", "link", "set", "vpn", "up")
    host.run("ip", "route", "add", "172.16.0.0/14", "dev", "vpn")  # a VPN with 172.16 to 172.19
    net = service.network()
    assert service("query", "net", net)["Ipams"][0]["Subnets"][0]["IpAddressPrefix"] == "172.20.0.0/16"
    service.network(["172.18.0.0/16"], name="wanted")  # the user's own wish is not second-guessed


def test_the_host_keeps_its_advertised_address(service, host, outside):
    """With forwarding on Linux heeds router advertisements only where accept_ra is 2 (moby#43466)."""
    host.wire(outside, "192.0.2.1/24", "192.0.2.2/24")
    host.wire(outside, "192.0.3.1/24", "192.0.3.2/24", name="quiet0")
    accepts = lambda dev: host.run("cat", f"/proc/sys/net/ipv6/conf/{dev}/accept_ra").strip()
    host.run("sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/quiet0/accept_ra")
    assert accepts("wire0") == "1"
    service.network(["10.1.0.0/24"])
    assert accepts("wire0") == "1", "nobody has asked for IPv6"
    service.network(["fd00:9::/64"], EnableIPv4=False, EnableIPv6=True, name="six")
    assert (accepts("wire0"), accepts("quiet0")) == ("2", "0")


def test_pools_of_the_settings(host):
    s = Service(host, DefaultAddressPools=[{"Base": "10.200.0.0/23", "Size": 24}])
    nets = [s.network(name=str(i)) for i in range(2)]
    assert [s("query", "net", n)["Ipams"][0]["Subnets"][0]["IpAddressPrefix"] for n in nets] == ["10.200.0.0/24", "10.200.1.0/24"]
    with pytest.raises(HcnError, match="fully subnetted"):
        s.network(name="3")
    size = s.network([{"IpAddressPrefix": "10.201.0.0/24"}], name="4")
    assert size
    s.close()


def test_a_bridge_of_the_users_stays(service, host):
    host.run("ip", "link", "add", "mine0", "type", "bridge")
    net = service.network(["10.1.0.0/24"], Name="mine0")
    c = service.container(net)
    assert c.pings("10.1.0.1") and "ifalias" not in host.links()["mine0"]
    service("delete", "ns", c.ns)
    service("delete", "ep", c.ep)
    service("delete", "net", net)
    assert "mine0" in host.links()


def test_a_bridge_of_the_users_lends_its_subnet(service, host):
    """Where none is given; a part of it that is given is the range. Its addresses stay what they are."""
    host.run("ip", "link", "add", "mine0", "type", "bridge")
    for address in ("10.2.0.9/24", "10.3.0.9/24", "fd00:2::9/64"):
        host.run("ip", "addr", "add", address, "dev", "mine0", *(["nodad"] if ":" in address else []))
    for given, want in ((), {"10.2.0.0/24": None, "fd00:2::/64": None}), (["10.2.0.128/25"], {"10.2.0.0/24": "10.2.0.128/25", "fd00:2::/64": None}), \
            (["10.4.0.0/24"], {"10.4.0.0/24": None, "fd00:2::/64": None}):
        net = service.network(given, Name="mine0", EnableIPv4=True, EnableIPv6=True)
        subnets = service("query", "net", net)["Ipams"][0]["Subnets"]
        assert {s["IpAddressPrefix"]: s.get("IpRange") for s in subnets} == want
        assert subnets[0]["Routes"][0]["NextHop"] == ("10.4.0.1" if "10.4.0.0/24" in want else "10.2.0.9")
        c = service.container(net)
        assert c.pings(subnets[0]["Routes"][0]["NextHop"])
        service("delete", "ns", c.ns)
        service("delete", "ep", c.ep)
        service("delete", "net", net)
        have = [a["local"] for a in json.loads(host.run("ip", "-j", "addr", "show", "mine0"))[0]["addr_info"] if not a["local"].startswith("fe80")]
        assert have == ["10.2.0.9", "10.3.0.9", *(["10.4.0.1"] if "10.4.0.0/24" in want else []), "fd00:2::9"]


def test_refusals(service, host):
    for words, code in [
        (("net", guid(), {"Name": "x", "Nonsense": 1}), 0x803B001B),
        (("net", guid(), {"Type": "Magic"}), 0x803B000B),
        (("net", guid(), {"Policies": [{"Type": "Nothing", "Settings": {}}]}), 0x803B000E),
        (("net", guid(), {"Policies": [{"Type": "LinuxBridge", "Settings": {"Mtu": "big"}}]}), 0x803B000D),
        (("net", guid(), {"Ipams": [{"Subnets": [{"IpAddressPrefix": "10.0.0.0"}]}]}), 0x803B0030),
        (("net", guid(), {"Ipams": [{"Type": "Dhcp"}]}), 0x803B000A),
        (("net", guid(), {"Policies": [{"Type": "LinuxBridge", "Settings": {"Name": "lo"}}]}), 0x803B000A),
        (("query", "net", guid()), 0x803B0001),
        (("query", "ep", guid()), 0x803B0002),
        (("query", "ns", guid()), 0x80070490),
        (("ep", guid(), guid(), {}), 0x803B0001),
        (("ns", guid(), {"Linux": {"ProcessId": 4000000}}), 0x80070490),
    ]:
        with pytest.raises(HcnError) as e:
            service(*words)
        assert e.value.code == code, words
    assert not [n for n in host.links() if n.startswith("br-")]


def test_sysctls_and_link_local(service):
    net = service.network(["10.1.0.0/24"])
    settings = {"Sysctls": {"net.ipv4.conf.IFNAME.log_martians": "1"}, "LinkLocal": ["169.254.8.8"]}
    c = service.container(net, policies=[{"Type": "LinuxInterface", "Settings": settings}])
    assert c.run("cat", "/proc/sys/net/ipv4/conf/eth0/log_martians").strip() == "1"
    assert "169.254.8.8/16" in c.addresses("eth0")
    with pytest.raises(HcnError, match="not of the form"):
        service.endpoint(net, policies=[{"Type": "LinuxInterface", "Settings": {"Sysctls": {"kernel.hostname": "x"}}}])


def test_notifications(service):
    net = service.network(["10.1.0.0/24"])
    c = service.container(net)
    service("remove", c.ns, c.ep)
    wait_for(lambda: len(seen.extend(service("notifications")) or seen) >= 4, seen := [])
    assert [n for n, _ in seen] == [2, 5, 9, 16] and seen[2][1] == {"ID": c.ep, "HostComputeNetwork": net}


def test_an_ipv6_address_keeps_its_hardware_address(service, host):
    """Without IPv4: the kernel still has it for the next one with the address."""
    net = service.network(["fd00:7::/64"], EnableIPv4=False, EnableIPv6=True)
    macs = []
    for _ in range(3):
        c = service.container(net, ips=["fd00:7::7"])
        c.serve(80, "six", v6=True)
        macs.append(c.document()["MacAddress"])
        assert host.fetch("fd00:7::7", 80)[0] == "six"
        c.stop_servers()
        service("delete", "ns", c.ns)
        service("delete", "ep", c.ep)
    assert len(set(macs)) == 1 and int(macs[0][:2], 16) & 3 == 2
    assert service.container(net, ips=["fd00:7::1:0:0:7"]).document()["MacAddress"] not in macs


def test_a_second_interface_is_found_at_once(service, host):
    """Somebody has been asking for its address in vain, and it has announced itself before its port of the bridge carried anything."""
    one, two = service.network(["10.1.0.0/24"]), service.network(["10.2.0.0/24"])
    c = service.container(one)
    c.serve(80, "found")
    service.container(two, ips=["10.2.0.9"])  # the bridge carries
    for address in ("10.2.0.20", "10.2.0.21", "10.2.0.22"):
        knock = subprocess.Popen(host.command("busybox", "ping", "-c", "20", "-i", "0.1", address), stdout=subprocess.DEVNULL)
        wait_for(lambda: [n for n in host.ip("neigh", "show", address) if "INCOMPLETE" in n["state"]])
        e = service.endpoint(two, ips=[address])
        service("add", c.ns, e)
        start = time.monotonic()
        assert host.fetch(address, 80)[0] == "found"
        took = time.monotonic() - start
        knock.kill()
        knock.wait()
        service("delete", "ep", e)
        assert took < 0.5 * TIME_FACTOR, took
