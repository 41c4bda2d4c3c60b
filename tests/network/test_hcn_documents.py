# SPDX-License-Identifier: Apache-2.0
"""Documents with members that nothing could follow: refused when they are given, with a text that names the member, and nothing is left of them."""
import pytest

from conftest import HcnError, guid

OTHER = "11111111-2222-3333-4444-555555555555"
V4, V6 = "0.0.0.0/0", "::/0"


def subnets(*prefixes, **more):
    return {"Ipams": [{"Subnets": [{"IpAddressPrefix": p, **more} for p in prefixes]}]}


def routes(*rs, prefix="10.2.0.0/24"):
    return subnets(prefix, Routes=[{"DestinationPrefix": to, "NextHop": via} for to, via in rs])


def policy(type, **settings):
    return {"Policies": [{"Type": type, "Settings": settings}]}


def acl(type="ACL", **settings):
    return policy(type, Action="Block", Direction="In", **settings)


def interface(**settings):
    return policy("LinuxInterface", **settings)


def mapping(**settings):
    return policy("PortMapping", **{"Protocol": 6, "InternalPort": 80, **settings})


NETWORKS = [
    ({"SchemaVersion": {"Major": 1}}, "SchemaVersion.Major: 1 is not 2"),
    ({"SchemaVersion": {"Major": 99, "Minor": 1}}, "SchemaVersion.Major: 99 is not 2"),
    ({"ID": OTHER}, f"ID: {OTHER} is not"),
    ({"ID": "zz"}, "ID: zz is no GUID"),
    (routes(("192.0.2.0/24", "10.2.0.1")), r"Routes\[0\].DestinationPrefix: 192.0.2.0/24"),
    (routes((V4, "10.2.0.1"), (V4, "10.2.0.2")), r"Routes\[1\]: a second default route"),
    (routes((V6, "10.2.0.1")), r"Routes\[0\].DestinationPrefix: ::/0"),
    (routes((V6, "10.2.0.1"), prefix="fd00::/64"), r"Routes\[0\].NextHop: 10.2.0.1"),
    (routes((V4, "")), r"Routes\[0\].NextHop"),
    (subnets("10.2.0.0/24", Routes=[{"DestinationPrefix": V4, "NextHop": "10.2.0.1", "Metric": 3}]), r"Routes\[0\].Metric"),
    *((subnets(p), f"IpAddressPrefix: {p}: no interface") for p in (
        "127.0.0.0/8", "127.1.0.0/16", "224.0.0.0/4", "239.1.0.0/16", "255.255.255.255/32", "240.0.0.0/8", "0.0.0.0/0", "::/0", "::1/128", "fe80::/10",
        "fe80::/80", "ff00::/8", "ff02::/64", "::ffff:10.0.0.0/120")),
    ({"Dns": {"ServerList": ["10.0.0.1", "zz"]}}, r"Dns.ServerList\[1\]: zz"),
    ({"Dns": {"ServerList": [f"10.0.0.{i}" for i in range(9)]}}, "Dns.ServerList: more than 8"),
    (acl("NetworkACL", Protocols="256"), 'Protocols: "256"'),
    (acl("NetworkACL", Protocols=256), 'Protocols: "256"'),
    ({"Type": "Transparent", **acl("NetworkACL", Protocols="6")}, "Policies: a Transparent network has no NetworkACL"),
    (policy("LinuxBridge", Mtu=3), "Mtu: 3 is not within 68"),
    ({**policy("LinuxBridge", Mtu=1000), **subnets("fd00::/64")}, "Mtu: 1000: IPv6 needs 1280"),
]
ENDPOINTS = [
    ({"SchemaVersion": {"Major": 3}}, "SchemaVersion.Major: 3 is not 2"),
    ({"ID": OTHER}, f"ID: {OTHER} is not"),
    ({"HostComputeNetwork": OTHER}, f"HostComputeNetwork: {OTHER} is not"),
    ({"HostComputeNetwork": "zz"}, "HostComputeNetwork: zz is no GUID"),
    ({"HostComputeNamespace": OTHER}, "HostComputeNamespace"),
    ({"InterfaceName": "eth7"}, "InterfaceName: this is of answers only"),
    ({"HostInterface": "x0"}, "HostInterface: this is of answers only"),
    ({"IpConfigurations": [{"IpAddress": "10.1.0.9", "PrefixLength": 99}]}, "IpConfigurations.PrefixLength: 99 is not 24"),
    ({"IpConfigurations": [{"IpAddress": "fd00:1::9", "PrefixLength": 24}]}, "IpConfigurations.PrefixLength: 24 is not 64"),
    ({"Dns": {"ServerList": ["fe80::1%eth0"]}}, r"Dns.ServerList\[0\]: fe80::1%eth0"),
    ({"MacAddress": "00-00-00-00-00-00"}, "MacAddress: 00-00"),
    ({"MacAddress": "01-42-00-00-00-01"}, "MacAddress: 01-42"),
    ({"Routes": [{"DestinationPrefix": V4, "NextHop": "10.1.0.3"}, {"DestinationPrefix": V4, "NextHop": "10.1.0.4"}]}, r"Routes\[1\]: a second default"),
    ({"Routes": [{"DestinationPrefix": V6, "NextHop": "10.1.0.3"}]}, r"Routes\[0\].NextHop: 10.1.0.3"),
    ({"Routes": [{"DestinationPrefix": V4}]}, r"Routes\[0\].NextHop"),
    ({"Routes": [{"DestinationPrefix": V4, "NextHop": "10.1.0.3", "Metric": 5}]}, r"Routes\[0\].Metric"),
    (mapping(Flags=1), "PortMapping.Flags: 1"),
    (mapping(ExternalPortEnd=9000), "PortMapping.ExternalPortEnd"),
    (mapping(ExternalPort=9001, ExternalPortEnd=9000), "PortMapping.ExternalPortEnd"),
    (policy("DnsNames", Links={"db": "zz"}), "DnsNames.Links: zz of db is no GUID"),
    *((interface(ExposedPorts=[p]), f"LinuxInterface.ExposedPorts: {p}") for p in ("zz", "0/tcp", "80/icmp", "90-80/tcp", "0-80", "80-", "80-90-95", "65536")),
    *((interface(Name=n), f"LinuxInterface.Name: interface name {n}") for n in ("a/b", "lo", "..", "a23456789012345x", "a b")),
    *((interface(Sysctls={s: "1"}), f"LinuxInterface.Sysctls: sysctl {s}") for s in (
        "net.ipv4.conf.eth0.x", "kernel.core_pattern", "net.ipv4.conf.IFNAME.a.b", "net.core.conf.IFNAME.x", "net.ipv4..IFNAME.x")),
    (interface(LinkLocal=["x"]), "LinuxInterface.LinkLocal: x"),
    (policy("InterfaceParameters", Mtu=3), "InterfaceParameters.Mtu: 3 is not within 68"),
    (policy("InterfaceParameters", Mtu=1000), "InterfaceParameters.Mtu: 1000: IPv6 needs 1280"),
    *((acl(**{m: v}), f'{m}: "{v}" is not valid') for m, v in (
        ("Protocols", "256"), ("Protocols", "zz"), ("LocalPorts", "0"), ("RemotePorts", "90-80"), ("LocalAddresses", "10.0.0.0/33"), ("RemoteAddresses", "zz"))),
    (acl(Protocols="1", LocalPorts="80"), "protocol 1 has no ports"),
    (acl(LocalAddresses="10.1.0.0/24", RemoteAddresses="fd00::/64"), "LocalAddresses and RemoteAddresses"),
]
NAMESPACES = [
    ({"SchemaVersion": {"Major": 1}}, "SchemaVersion.Major: 1 is not 2"),
    ({"ID": OTHER}, f"ID: {OTHER} is not"),
    ({"Dns": {"ServerList": ["zz"]}}, r"Dns.ServerList\[0\]: zz"),
]
QUERIES = [
    ({"Flags": 2}, "HostComputeQuery.Flags: 2"),
    ({"SchemaVersion": {"Major": 1}}, "SchemaVersion.Major: 1 is not 2"),
    ({"Filter": "[]"}, "HostComputeQuery.Filter: expected an object"),
]


def refused(text, call, *words):
    """Of HCN_E_…, or an invalid argument of namespaces."""
    with pytest.raises(HcnError, match=text) as e:
        call(*words)
    assert e.value.code >> 16 == 0x803B or e.value.code == 0x80070057, hex(e.value.code)


def test_bad_documents_are_refused_when_they_are_given(service, host):
    net = service.network(["10.1.0.0/24", "fd00:1::/64"])
    e = service.endpoint(net)
    ns = service.namespace()
    made = lambda: {n for n in host.links() if not n.startswith("csp")}  # warm pairs come when they are ready
    links = made()
    for doc, text in NETWORKS:
        refused(text, service, "net", guid(), {"Name": "bad", "Type": "NAT", **doc})
    for doc, text in ENDPOINTS:
        refused(text, service, "ep", net, guid(), doc)
        if "Policies" in doc:  # and where they come later
            refused(text, service, "modify", "ep", e, {"ResourceType": "Policy", "RequestType": "Add", "Settings": doc["Policies"][0]})
    for doc, text in NAMESPACES:
        refused(text, service, "ns", guid(), doc)
    for doc, text in QUERIES:
        refused(text, service, "list", "net", doc)
        for kind, id in (("net", net), ("ep", e), ("ns", ns)):
            refused(text, service, "query", kind, id, doc)
    refused("HostComputeQuery.Filter: it is known", service, "query", "net", net, {"Filter": '{"Name": "x"}'})
    bad = {"ServerList": ["zz"]}
    refused("Dns.ServerList", service, "modify", "net", net, {"ResourceType": "DNS", "RequestType": "Update", "Settings": bad})
    refused("Dns.ServerList", service, "modify", "ns", ns, {"ResourceType": "Dns", "RequestType": "Update", "Settings": bad})
    assert [service("list", k) for k in ("net", "ep", "ns")] == [[net], [e], [ns]]
    assert made() == links and service("query", "ep", e)["Policies"] == []


def test_what_looks_like_them_is_taken(service):
    net, e = guid(), guid()
    service("net", net, {"SchemaVersion": {"Major": 2, "Minor": 16}, "ID": net, "Name": "n", "Type": "NAT", "Dns": {"ServerList": ["fd00::1", "10.0.0.1"]}, "Ipams": [{"Subnets": [
        {"IpAddressPrefix": "10.1.0.0/24", "Routes": [{"NextHop": "10.1.0.254", "DestinationPrefix": V4}]}, {"IpAddressPrefix": "fe80::/64"}]}]})
    service("ep", net, e, {"SchemaVersion": {}, "ID": e.upper(), "HostComputeNetwork": net, "HostComputeNamespace": "",
                           "IpConfigurations": [{"IpAddress": "10.1.0.7", "PrefixLength": 24}],
                           "Policies": [{"Type": "LinuxInterface", "Settings": {"ExposedPorts": ["80", "53/UDP", "8000-8010/sctp"], "Sysctls": {"net.ipv4.conf.IFNAME.forwarding": "0"}}},
                                        {"Type": "ACL", "Settings": {"Action": "Allow", "Direction": "In", "Protocols": 6, "LocalPorts": "80, 90-99"}},
                                        {"Type": "PortMapping", "Settings": {"Protocol": 6, "InternalPort": 80, "ExternalPort": 0, "Flags": 0}}]})
    assert service("query", "ep", e)["IpConfigurations"][0] == {"IpAddress": "10.1.0.7", "PrefixLength": 24}
    assert service("query", "ep", e)["SchemaVersion"]["Major"] == 2
    assert service("list", "net", {"Flags": 1, "SchemaVersion": {"Major": 2}})[0]["ID"] == net
