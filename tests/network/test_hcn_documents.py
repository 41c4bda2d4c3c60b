# SPDX-License-Identifier: Apache-2.0
"""Documents with members that nothing could follow: refused when they are given, with a text that names the member, and nothing is left of them."""
import pytest

from conftest import HcnError, guid

OTHER = "11111111-2222-3333-4444-555555555555"
OPTIONS = ("", "zz", "ndots", "ndots:", "ndots:x", "timeout:-1", "attempts:2 rotate", "rotate:1", "Rotate")
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


def bridge(**settings):
    return policy("LinuxBridge", **settings)


def policies(*ps):
    return {"Policies": [p["Policies"][0] for p in ps]}


BRIDGES, PARENTS = ("NAT", "Internal", "Private", "Overlay"), ("Transparent", "L2Bridge")
# where it means nothing
OF_OTHER_TYPES = [
    (BRIDGES[:3], policy("NetAdapterName", NetworkAdapterName="x0"), "NetAdapterName"),
    (BRIDGES, policy("VLAN", IsolationId=5), "VLAN"),
    ((*BRIDGES, "L2Bridge"), policy("LinuxMacvlan", Mode="bridge"), "LinuxMacvlan"),
    ((*BRIDGES, "Transparent"), policy("LinuxIpvlan", Mode="l2"), "LinuxIpvlan"),
    *(((*BRIDGES[:3], *PARENTS), p, p["Policies"][0]["Type"]) for p in (
        policy("VSID", IsolationId=7), policy("VxlanPort", Port=4789), policy("ProviderAddress", ProviderAddress="192.0.2.1"),
        policy("RemoteSubnetRoute", DestinationPrefix="10.9.0.0/24", ProviderAddress="192.0.2.2"))),
    ((*BRIDGES[1:], *PARENTS), policy("OutBoundNAT"), "OutBoundNAT"),
    (PARENTS, acl("NetworkACL", Protocols="6"), "NetworkACL"),
    *((PARENTS, bridge(**{m: v}), "LinuxBridge." + m) for m, v in (("Name", "br9"), ("InterContainer", True), ("InterContainer", False))),
    (("Private", *PARENTS), bridge(InhibitIPv4=True), "LinuxBridge.InhibitIPv4"),
    *(((*BRIDGES[1:], *PARENTS), bridge(**{m: v}), "LinuxBridge." + m) for m, v in (
        ("Masquerade", True), ("Masquerade6", False), ("GatewayMode4", "routed"), ("GatewayMode6", "nat-unprotected"), ("HostIp4", "192.0.2.9"),
        ("HostIp6", "fd00::9"), ("TrustedHostInterfaces", "eth0"))),
    *((PARENTS, bridge(**{m: "isolated"}), "LinuxBridge." + m) for m in ("GatewayMode4", "GatewayMode6")),
]
NETWORKS = [
    *(({"Type": t, **(policies(doc, policy("VSID", IsolationId=7)) if t == "Overlay" else doc)}, f"{what} means nothing on a {t} network") for types, doc, what in OF_OTHER_TYPES for t in types),
    *(({"Type": t, "Flags": 1024}, f"Flags: 1024 are not supported by {t} networks") for t in PARENTS),
    ({"Type": "Transparent", **policy("VLAN", IsolationId=5)}, "VLAN.IsolationId: there is no NetAdapterName"),
    ({"Type": "Transparent", **policy("NetAdapterName", NetworkAdapterName="")}, "NetAdapterName.NetworkAdapterName: it is empty"),
    ({"Type": "Overlay", **policies(policy("VSID", IsolationId=7), policy("ProviderAddress", ProviderAddress="zz"))}, "ProviderAddress.ProviderAddress: zz"),
    ({"Type": "Transparent", **policies(policy("LinuxMacvlan", Mtu=1400), bridge(Mtu=1300))}, r"Policies\[1\].Settings: LinuxBridge.Mtu: LinuxMacvlan has one"),
    (policies(bridge(InterContainer=False), bridge(Mtu=1400)), r"Policies\[1\].Type: a second LinuxBridge"),
    *((bridge(**{m: v}), f"LinuxBridge.{m}: the network has no IPv6") for m, v in (("GatewayMode6", "routed"), ("Masquerade6", True), ("HostIp6", "fd00::9"))),
    *(({**bridge(EnableIPv4=False, EnableIPv6=True, **{m: v}), **subnets("fd00::/64")}, f"LinuxBridge.{m}: the network has no IPv4") for m, v in (
        ("GatewayMode4", "nat"), ("Masquerade", False), ("HostIp4", "192.0.2.9"), ("InhibitIPv4", True))),
    (bridge(GatewayMode4="routed", Masquerade=True), "LinuxBridge.Masquerade: GatewayMode4 says that it is routed"),
    (bridge(GatewayMode4="routed", HostIp4="192.0.2.9"), "LinuxBridge.HostIp4: the network does not masquerade IPv4"),
    (bridge(Masquerade=False, HostIp4="192.0.2.9"), "LinuxBridge.HostIp4: the network does not masquerade IPv4"),
    (policies(bridge(Masquerade=False), policy("OutBoundNAT")), "OutBoundNAT: LinuxBridge says that"),
    *((bridge(TrustedHostInterfaces=t), f'LinuxBridge.TrustedHostInterfaces: "{name}"') for t, name in (
        (":eth0", ""), ("eth0:", ""), ("eth0::eth1", ""), (":", ""), ("eth0:a23456789012345x", "a23456789012345x"), ("a/b", "a/b"), ("a b", "a b"), ("..", ".."))),
    (bridge(TrustedHostInterfaces=":".join(f"e{i}" for i in range(65))), "LinuxBridge.TrustedHostInterfaces: more than 64"),
    ({**bridge(EnableIPv6=False), **subnets("fd00::/64")}, "IPv6 is switched off"),
    *(({"Type": "Overlay", **policies(policy("VSID", IsolationId=7), p)}, f"{where}.ProviderAddress: 0.0.0.0") for where, p in (
        ("ProviderAddress", policy("ProviderAddress", ProviderAddress="0.0.0.0")),
        ("RemoteSubnetRoute", policy("RemoteSubnetRoute", DestinationPrefix="10.9.0.0/24", ProviderAddress="0.0.0.0")))),
    *(({"Dns": {"Options": ["rotate", o]}}, rf'Dns.Options\[1\]: "{o}" is no option') for o in OPTIONS),
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
        "127.0.0.0/8", "127.1.0.0/16", "224.0.0.0/4", "239.1.0.0/16", "255.255.255.255/32", "240.0.0.0/8", "0.0.0.0/0", "::/0", "::1/128",
        "ff00::/8", "ff02::/64", "::ffff:10.0.0.0/120")),
    *((subnets(p), f"IpAddressPrefix: {p} overlaps fe80::/64, which every interface has") for p in ("fe80::/10", "fe80::/80")),
    ({"Dns": {"ServerList": ["10.0.0.1", "zz"]}}, r"Dns.ServerList\[1\]: zz"),
    ({"Dns": {"ServerList": [f"10.0.0.{i}" for i in range(9)]}}, "Dns.ServerList: more than 8"),
    (acl("NetworkACL", Protocols="256"), 'Protocols: "256"'),
    (acl("NetworkACL", Protocols=256), 'Protocols: "256"'),
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
    *(({"Dns": {"Options": [o]}}, rf'Dns.Options\[0\]: "{o}" is no option') for o in OPTIONS),
    (policies(policy("QOS", MaximumOutgoingBandwidthInBytes=1 << 20), policy("QOS", MaximumOutgoingBandwidthInBytes=2 << 20)), r"Policies\[1\].Type: a second QOS"),
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
# those of networks of one type, with IPv4
ENDPOINTS_ON = [
    ("NAT", mapping(VIP="::1"), "published at ::1: the container has no address of that family"),
    ("NAT", interface(LinkLocal=["169.254.1.1", "fe80::5"]), "LinuxInterface.LinkLocal: fe80::5: the network has no addresses of that family"),
    *(("NAT", {"Routes": [{"DestinationPrefix": to, "NextHop": "fd00::1"}]}, rf"Routes\[0\].DestinationPrefix: {to}: the network has no") for to in (V6, "fd01::/64")),
    *((t, mapping(), f"PortMapping means nothing on a {t} network") for t in (*BRIDGES[1:], "Transparent")),
    ("Transparent", acl(), "ACL means nothing on a Transparent network"),
    *(("Transparent", interface(AntiSpoof=on), "LinuxInterface.AntiSpoof means nothing on a Transparent network") for on in (True, False)),
    ("Transparent", interface(ExposedPorts=["80/tcp"]), "LinuxInterface.ExposedPorts means nothing on a Transparent network"),
    ("Transparent", {"Flags": 2}, "Flags: 2 are not supported by Transparent networks"),
    ("L2Bridge", {"MacAddress": "02-42-00-00-00-01"}, "MacAddress: endpoints of a L2Bridge network have that of the parent"),
    ("L2Bridge", interface(AntiSpoof=True), "LinuxInterface.AntiSpoof means nothing on a L2Bridge network"),
]
NAMESPACES = [
    *(({"Type": t}, f"Type: {t} namespaces are not supported") for t in ("Host", "HostDefault", "GuestDefault")),
    *(({"Dns": {"Options": [o]}}, rf'Dns.Options\[0\]: "{o}" is no option') for o in OPTIONS),
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
            refused(text, service, "modify", "ep", e, {"ResourceType": "Policy", "RequestType": "Add", "Settings": {"Policies": doc["Policies"]}})
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


def test_endpoints_on_networks_of_other_types(service, host):
    nets = {}
    for i, t in enumerate((*BRIDGES, *PARENTS)):
        try:
            nets[t] = service.network([f"10.{i}.0.0/24"], type=t, name=t, policies=[{"Type": "VSID", "Settings": {"IsolationId": 7}}] if t == "Overlay" else ())
        except HcnError as why:  # what the kernel has not got
            assert t in PARENTS and "this kernel has no" in str(why)
    for t, doc, text in ENDPOINTS_ON:
        if t not in nets:
            continue
        refused(text, service, "ep", nets[t], guid(), doc)
        if "Policies" in doc:
            e = service.endpoint(nets[t])
            refused(text, service, "modify", "ep", e, {"ResourceType": "Policy", "RequestType": "Add", "Settings": doc["Policies"][0]})
            assert service("query", "ep", e)["Policies"] == []
            service("delete", "ep", e)
    assert service("list", "ep") == []


def test_changes_that_would_change_nothing(service):
    net = service.network(["10.1.0.0/24"])
    exposed = interface(ExposedPorts=["80/tcp"])["Policies"][0]
    e = service.endpoint(net, policies=[exposed])
    change = lambda kind, id, resource, how, settings: service("modify", kind, id, {"ResourceType": resource, "RequestType": how, "Settings": settings})
    other = interface(ExposedPorts=["81/tcp"])["Policies"][0]
    refused("LinuxInterface.ExposedPorts: they are told", change, "ep", e, "Policy", "Update", other)  # others' Links have read them
    refused("LinuxInterface.ExposedPorts: they are told", change, "ep", e, "Policy", "Remove", exposed)
    change("ep", e, "Policy", "Update", interface(ExposedPorts=["80/tcp"], GatewayPriority=3)["Policies"][0])
    refused("ModifyRequest.Settings: all of \"Dns\"", change, "net", net, "DNS", "Remove", {"Search": ["a.example"]})
    change("net", net, "DNS", "Update", {"Search": ["a.example"], "Options": ["ndots:2", "trust-ad"]})
    assert service("query", "net", net)["Dns"] == {"Search": ["a.example"], "Options": ["ndots:2", "trust-ad"]}
    change("net", net, "DNS", "Remove", {})
    assert service("query", "net", net)["Dns"] == {}


def test_load_balancers(service):
    net = service.network(["10.1.0.0/24"])
    e, lb, port = service.endpoint(net), guid(), {"Protocol": 6, "InternalPort": 80, "ExternalPort": 80}
    doc = {"HostComputeEndpoints": [e], "FrontendVIPs": ["10.9.9.9"], "PortMappings": [port]}
    service("lb", lb, doc)
    change = lambda doc: service("modify", "lb", lb, {"ResourceType": "LoadBalancer", "RequestType": "Update", "Settings": doc})
    bad = [({"ID": OTHER}, f"ID: {OTHER} is not"),
           ({"FrontendVIPs": ["10.9.9.8", "fd00::9"]}, "FrontendVIPs: fd00::9: none of the endpoints has an address of that family"),
           ({"FrontendVIPs": ["10.9.9.8", "10.9.9.8"]}, "FrontendVIPs: 10.9.9.8 is given twice"),
           ({"HostComputeEndpoints": [e, e.upper()]}, "HostComputeEndpoints: .* is given twice"),
           ({"PortMappings": [port, {**port, "InternalPort": 81}]}, r"PortMappings\[1\].ExternalPort: 80 is given twice")]
    try:
        wire = service.endpoint(service.network(["10.2.0.0/24"], type="Transparent", name="wire"))
        bad += [({"HostComputeEndpoints": [e, wire]}, f"HostComputeEndpoints: {wire} is on a Transparent network")]
    except HcnError as why:
        assert "this kernel has no" in str(why)
    for more, text in bad:
        refused(text, service, "lb", guid(), {**doc, **more})
        refused(text, change, {**doc, **more})
    assert service("list", "lb") == [lb]
    change({**doc, "ID": lb, "PortMappings": [port, {**port, "Protocol": 17}]})
    change({**doc, "HostComputeEndpoints": []})


def test_members_that_go_with_any_type(service, host):
    """And those of one type where they mean something."""
    vsid = policy("VSID", IsolationId=7)
    for t, *ps in (("NAT", bridge(InhibitIPv4=True, TrustedHostInterfaces="eth0:vxlan.1", GatewayMode4="routed", Masquerade=False)),
                   ("NAT", bridge(EnableIPv6=True, Masquerade6=False, HostIp4="192.0.2.9"), policy("OutBoundNAT")),
                   ("Internal", bridge(Name="br7", GatewayMode4="isolated", InhibitIPv4=True, InterContainer=False), acl("NetworkACL", Protocols="6")),
                   ("Private", bridge(GatewayMode4="isolated", InterContainer=False)),
                   ("Overlay", bridge(InterContainer=False, InhibitIPv4=True), vsid, policy("VxlanPort", Port=4790), policy("ProviderAddress", ProviderAddress="192.0.2.1")),
                   ("Transparent", bridge(EnableIPv6=True, ContainerPrefix="lan", Mtu=1400)),
                   ("L2Bridge", bridge(EnableIPv6=True, ContainerPrefix="lan"), policy("LinuxIpvlan", Mode="l2", Mtu=1400))):
        net = guid()
        try:
            service("net", net, {"Name": "n", "Type": t, **policies(*ps)})
        except HcnError as why:
            assert t in PARENTS and "this kernel has no" in str(why), (t, ps)
            continue
        service.endpoint(net, policies=[{"Type": "LinuxInterface", "Settings": {"Name": "x0", "GatewayPriority": 2}}, {"Type": "DnsNames", "Settings": {"Names": ["e"]}},
                                        {"Type": "InterfaceParameters", "Settings": {"Mtu": 1300}}, {"Type": "QOS", "Settings": {"MaximumOutgoingBandwidthInBytes": 1 << 20}}])


def test_members_that_stand_twice(service):
    net = service.network(["10.1.0.0/24"])
    twice = lambda key, one, two: '{"Policies": [{"Type": "LinuxInterface", "Settings": {%s: %s, %s: %s}}]}' % (key, one, key, two)
    for text in ('{"Name": "a", "Name": "a"}', twice('"Name"', '"x0"', '"x1"'), '{"Policies": [], "Policies": []}',
                 '{"Policies": [{"Type": "LinuxInterface", "Settings": {"Sysctls": {"net.ipv4.conf.IFNAME.forwarding": "0", "net.ipv4.conf.IFNAME.forwarding": "1"}}}]}'):
        refused("duplicate object key", service, "ep", net, guid(), text)
        refused("duplicate object key", service, "net", guid(), text)
    refused("duplicate object key", service, "list", "net", {"Filter": '{"Name": "a", "Name": "b"}'})
    e = service.endpoint(net)
    refused("duplicate object key", service, "modify", "ep", e, '{"ResourceType": "Policy", "RequestType": "Add", "Settings": %s}' % twice('"Name"', '"x0"', '"x1"'))
    assert service("list", "ep") == [e] and service("list", "net") == [net]


def test_settings_of_the_service(service):
    service("shutdown")
    for doc, text in (({"Instance": "A"}, "Instance: A is no name"), ({"WarmNamespaces": 65}, "WarmNamespaces: 65 is not within"), ({"Zz": 1}, "Zz: unknown member"),
                      ({"DefaultAddressPools": [{"Base": "10.0.0.0/16", "Size": 8}]}, r"DefaultAddressPools\[0\].Size: 8 is not within"),
                      *(({"DnsServers": ["10.0.0.1", a]}, f"DnsServers: {a} is no address") for a in ("zz", "fe80::1%eth0", ""))):
        refused(text, service, "init", {"Firewall": False, **doc})
    service("init", {"Firewall": False, "DnsServers": ["10.0.0.1", "fd00::1"]})


def test_what_looks_like_them_is_taken(service):
    net, e = guid(), guid()
    service("ns", guid(), {"Type": "Guest", "Dns": {"Options": ["ndots:0", "timeout:30", "attempts:2", "rotate", "edns0", "no-aaaa", "single-request-reopen"]}})
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
