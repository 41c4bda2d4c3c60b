/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks, endpoints and ports as documents, and the checks of what clients ask for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/network.h"

#define ID "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static int make(const char *json, int api, const struct cs_strmap *defaults, struct cs_network_doc **ret, struct cs_err **err)
{
	struct cs_network_create req = {0};
	int r = cs_json_decode_text(&cs_network_create_type, json, &req, err);

	if (r == 0)
		r = cs_network_doc_make(&req, api, defaults, NULL, ret, err);
	cs_json_release(&cs_network_create_type, &req);
	return r;
}

static void create_refusals(void **state)
{
	static const struct {
		const char *json, *msg;
		enum cs_code code;
	} cases[] = {
		{"{}", "invalid name: name is empty", CS_ERR_INVALID},
		{"{\"Name\":\"  \"}", "invalid name: name is empty", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"Driver\":\"weave\"}", "plugin \"weave\" not found", CS_ERR_NOT_FOUND},
		{"{\"Name\":\"n\",\"Driver\":\"host\"}", "only one instance of \"host\" network is allowed", CS_ERR_DENIED},
		{"{\"Name\":\"n\",\"Driver\":\"null\"}", "only one instance of \"null\" network is allowed", CS_ERR_DENIED},
		{"{\"Name\":\"n\",\"Driver\":\"overlay\"}", "This node is not a swarm manager.", CS_ERR_DENIED},
		{"{\"Name\":\"n\",\"Scope\":\"swarm\"}", "there is no swarm", CS_ERR_UNSUPPORTED},
		{"{\"Name\":\"n\",\"IPAM\":{\"Driver\":\"x\"}}", "plugin \"x\" not found", CS_ERR_NOT_FOUND},
		{"{\"Name\":\"n\",\"EnableIPv4\":false}", "IPv4 or IPv6 must be enabled", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"IPAM\":{\"Config\":[{\"Subnet\":\"10.0.0.0/33\"}]}}", "invalid network config:\ninvalid subnet 10.0.0.0/33: invalid CIDR block notation", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"IPAM\":{\"Config\":[{\"Subnet\":\"127.0.0.0/8\"}]}}", "invalid subnet 127.0.0.0/8: no interface", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"IPAM\":{\"Config\":[{\"Subnet\":\"224.0.0.0/4\"}]}}", "invalid subnet 224.0.0.0/4: no interface", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"IPAM\":{\"Config\":[{\"Subnet\":\"0.0.0.0/0\"}]}}", "invalid subnet 0.0.0.0/0: no interface", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"EnableIPv6\":true,\"IPAM\":{\"Config\":[{\"Subnet\":\"::/0\"}]}}", "invalid subnet ::/0: no interface", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"IPAM\":{\"Config\":[{\"Subnet\":\"10.0.0.7/24\"}]}}", "invalid subnet 10.0.0.7/24: it should be 10.0.0.0/24", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"IPAM\":{\"Config\":[{\"Subnet\":\"10.0.0.0/24\",\"Gateway\":\"10.0.1.1\"}]}}",
		 "invalid gateway 10.0.1.1: parent subnet 10.0.0.0/24 doesn't contain this address", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"IPAM\":{\"Config\":[{\"Subnet\":\"10.0.0.0/24\",\"Gateway\":\"fd00::1\"}]}}", "invalid gateway fd00::1: parent subnet is an IPv4 block", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"IPAM\":{\"Config\":[{\"Subnet\":\"10.0.0.0/24\",\"IPRange\":\"10.0.0.0/16\"}]}}",
		 "invalid ip-range 10.0.0.0/16: CIDR block is bigger than its parent subnet 10.0.0.0/24", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"IPAM\":{\"Config\":[{\"Subnet\":\"10.0.0.0/24\",\"IPRange\":\"10.0.1.0/25\"}]}}",
		 "invalid ip-range 10.0.1.0/25: parent subnet 10.0.0.0/24 doesn't contain ip-range", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"IPAM\":{\"Config\":[{\"Subnet\":\"10.0.0.0/24\",\"AuxiliaryAddresses\":{\"r\":\"10.1.0.1\"}}]}}",
		 "invalid auxiliary address r: parent subnet 10.0.0.0/24 doesn't contain this address", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"IPAM\":{\"Config\":[{\"Subnet\":\"10.0.0.0/24\"},{\"Subnet\":\"10.0.0.0/16\"}]}}", "Pool overlaps with other one on this address space", CS_ERR_DENIED},
		{"{\"Name\":\"n\",\"Options\":{\"com.docker.network.bridge.enable_icc\":\"x\"}}", "strconv.ParseBool: parsing \"x\": invalid syntax", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"Options\":{\"com.docker.network.driver.mtu\":\"x\"}}", "failed to parse com.docker.network.driver.mtu value: x", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"Options\":{\"com.docker.network.bridge.name\":\"a/b\"}}", "not a name of an interface", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"Options\":{\"com.docker.network.bridge.gateway_mode_ipv4\":\"x\"}}", "unknown gateway mode", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"Options\":{\"com.docker.network.bridge.trusted_host_interfaces\":\"eth0:a/b\"}}", "not names of interfaces", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"EnableIPv6\":true,\"IPAM\":{\"Config\":[{\"Subnet\":\"fe80::/63\"}]}}", "'fe80::/63' clashes with the Link-Local prefix", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"Driver\":\"macvlan\",\"Options\":{\"macvlan_mode\":\"x\"}}", "requested macvlan mode 'x' is not valid", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"Driver\":\"ipvlan\",\"Options\":{\"ipvlan_mode\":\"x\"}}", "requested ipvlan mode 'x' is not valid", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"Options\":{\"com.docker.network.enable_ipv6\":\"x\"}}", "driver-opt \"com.docker.network.enable_ipv6\" is not a valid bool", CS_ERR_INVALID},
		{"{\"Name\":\"n\",\"ConfigOnly\":true,\"Internal\":true}", "configuration network can only contain network specific fields", CS_ERR_DENIED},
		{"{\"Name\":\"n\",\"ConfigFrom\":{\"Network\":\"c\"}}", "configuration network \"c\" does not exist", CS_ERR_NOT_FOUND},
		{"{\"Name\":\"n\",\"ConfigFrom\":{\"Network\":\"c\"},\"Options\":{\"a\":\"b\"}}", "network driver options are not supported", CS_ERR_DENIED},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		cs_autoerr struct cs_err *err = NULL;
		struct cs_network_doc *d = NULL;
		if (make(cases[i].json, 148, NULL, &d, &err) == 0)
			fail_msg("%s: accepted", cases[i].json);
		if (!strstr(err->msg, cases[i].msg) || err->code != cases[i].code)
			fail_msg("%s: %s (%s)", cases[i].json, err->msg, cs_code_name(err->code));
	}
}

static json_t *hcn(const char *json, int api, const struct cs_strmap *defaults)
{
	cs_autostr struct cs_str s = CS_STR_INIT(1 << 20);
	cs_autoerr struct cs_err *err = NULL;
	struct cs_network_doc *d = NULL;

	if (make(json, api, defaults, &d, &err) < 0)
		fail_msg("%s: %s", json, err->msg);
	d->id = cs_xstrdup(ID);
	cs_network_put_hcn(d, &s);
	json_t *j = cs_json_parse(s.buf, s.len, &err);
	if (!j)
		fail_msg("%s: %s", s.buf, err->msg);
	cs_network_doc_free(d);
	return j;
}

static json_t *policy(json_t *j, const char *type)
{
	json_t *p;
	size_t i;

	json_array_foreach(json_object_get(j, "Policies"), i, p)
		if (cs_streq(json_string_value(json_object_get(p, "Type")), type))
			return json_object_get(p, "Settings");
	return NULL;
}

static void expect(json_t *o, const char *key, const char *want)
{
	cs_autofree char *have = json_dumps(json_object_get(o, key), JSON_ENCODE_ANY | JSON_COMPACT);
	assert_string_equal(have ? have : "(none)", want);
}

static void networks(void **state)
{
	struct cs_strmap *defaults = cs_strmap_new();
	json_t *j = hcn("{\"Name\":\"n\"}", 148, NULL), *b = policy(j, "LinuxBridge");

	expect(j, "Type", "\"NAT\"");
	expect(j, "ID", "\"00112233-4455-6677-8899-aabbccddeeff\"");
	expect(j, "Ipams", "(none)");
	expect(b, "Name", "\"br-001122334455\"");
	expect(b, "EnableIPv4", "true");
	expect(b, "EnableIPv6", "false");
	expect(b, "InterContainer", "true");
	assert_non_null(policy(j, "OutBoundNAT"));
	json_decref(j);

	j = hcn("{\"Name\":\"n\",\"Driver\":\"nat\",\"Internal\":true,\"EnableIPv6\":true,\"IPAM\":{\"Config\":[{\"Subnet\":\"10.1.0.0/16\",\"IPRange\":\"10.1.2.0/24\",\"Gateway\":\"10.1.0.9\","
		"\"AuxiliaryAddresses\":{\"r\":\"10.1.0.7\"}},{\"Subnet\":\"fd00:1::/64\"}]},\"Options\":{\"com.docker.network.bridge.name\":\"mybr\",\"com.docker.network.driver.mtu\":\"1400\"}}",
		148, NULL);
	b = policy(j, "LinuxBridge");
	expect(j, "Type", "\"Internal\"");
	expect(b, "Name", "\"mybr\"");
	expect(b, "Mtu", "1400");
	expect(b, "EnableIPv6", "true");
	assert_null(policy(j, "OutBoundNAT"));
	expect(json_array_get(json_object_get(j, "Ipams"), 0), "Subnets",
	       "[{\"IpAddressPrefix\":\"10.1.0.0/16\",\"IpRange\":\"10.1.2.0/24\",\"Routes\":[{\"NextHop\":\"10.1.0.9\",\"DestinationPrefix\":\"0.0.0.0/0\"}],"
	       "\"AuxAddresses\":[\"10.1.0.7\"]},{\"IpAddressPrefix\":\"fd00:1::/64\"}]");
	json_decref(j);

	/* before 1.48 there was no EnableIPv4; defaults of the daemon hold where nothing is asked */
	cs_strmap_set(defaults, "bridge=com.docker.network.driver.mtu", "1234");
	cs_strmap_set(defaults, "macvlan=parent", "eth9");
	j = hcn("{\"Name\":\"n\",\"EnableIPv4\":false}", 147, defaults);
	expect(policy(j, "LinuxBridge"), "EnableIPv4", "true");
	expect(policy(j, "LinuxBridge"), "Mtu", "1234");
	json_decref(j);
	j = hcn("{\"Name\":\"n\",\"Driver\":\"macvlan\"}", 148, defaults);
	expect(j, "Type", "\"Transparent\"");
	expect(policy(j, "NetAdapterName"), "NetworkAdapterName", "\"eth9\"");
	json_decref(j);
	cs_strmap_free(defaults);

	j = hcn("{\"Name\":\"n\",\"Driver\":\"transparent\",\"Options\":{\"parent\":\"eth0.50\",\"macvlan_mode\":\"vepa\",\"com.docker.network.driver.mtu\":\"1300\"}}", 148, NULL);
	expect(policy(j, "NetAdapterName"), "NetworkAdapterName", "\"eth0\"");
	expect(policy(j, "VLAN"), "IsolationId", "50");
	expect(policy(j, "LinuxMacvlan"), "Mode", "\"vepa\"");
	expect(policy(j, "LinuxMacvlan"), "Mtu", "1300");
	expect(policy(j, "LinuxBridge"), "EnableIPv6", "false");
	json_decref(j);
	j = hcn("{\"Name\":\"n\",\"Driver\":\"ipvlan\",\"Options\":{\"parent\":\"eth0\",\"ipvlan_mode\":\"l3\",\"ipvlan_flag\":\"vepa\"}}", 148, NULL);
	expect(j, "Type", "\"L2Bridge\"");
	expect(policy(j, "LinuxIpvlan"), "Mode", "\"l3\"");
	expect(policy(j, "LinuxIpvlan"), "Flag", "\"vepa\"");
	json_decref(j);
	j = hcn("{\"Name\":\"n\",\"Driver\":\"overlay\",\"Options\":{\"caisson.network.overlay.address\":\"192.0.2.1\",\"caisson.network.overlay.peers\":"
		"\"10.5.0.0/24@192.0.2.2\",\"com.docker.network.driver.overlay.vxlanid_list\":\"77\",\"caisson.network.overlay.port\":\"8472\"}}", 148, NULL);
	expect(j, "Type", "\"Overlay\"");
	expect(policy(j, "VSID"), "IsolationId", "77");
	expect(policy(j, "VxlanPort"), "Port", "8472");
	expect(policy(j, "ProviderAddress"), "ProviderAddress", "\"192.0.2.1\"");
	expect(policy(j, "RemoteSubnetRoute"), "ProviderAddress", "\"192.0.2.2\"");
	expect(policy(j, "RemoteSubnetRoute"), "DestinationPrefix", "\"10.5.0.0/24\"");
	json_decref(j);
}

/* dockerd takes all options on all bridges; the service is told those from which something comes. */
static void options_of_types(void **state)
{
#define B "com.docker.network.bridge."
#define N "com.docker.network."
	static const char all[] = "\"" B "enable_ip_masquerade\":\"true\",\"" B "inhibit_ipv4\":\"true\",\"" B "trusted_host_interfaces\":\":eth0::eth1:\",\"" N
				  "host_ipv4\":\"192.0.2.9\",\"" N "host_ipv6\":\"fd00::9\",\"" B "gateway_mode_ipv6\":\"routed\"";
	static const struct {
		const char *driver, *more, *bridge;
		bool nat;
	} cases[] = {
		{"bridge", "", "{\"EnableIPv4\":true,\"EnableIPv6\":false,\"InterContainer\":true,\"InhibitIPv4\":true,\"HostIp4\":\"192.0.2.9\",\"TrustedHostInterfaces\":\"eth0:eth1\"}", true},
		{"bridge", ",\"EnableIPv6\":true", "{\"EnableIPv4\":true,\"EnableIPv6\":true,\"InterContainer\":true,\"InhibitIPv4\":true,\"HostIp4\":\"192.0.2.9\",\"GatewayMode6\":\"routed\","
						      "\"TrustedHostInterfaces\":\"eth0:eth1\"}", true},
		{"bridge", ",\"EnableIPv4\":false,\"EnableIPv6\":true", "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"InterContainer\":true,\"GatewayMode6\":\"routed\",\"TrustedHostInterfaces\":\"eth0:eth1\"}", false},
		{"bridge", ",\"Internal\":true,\"EnableIPv6\":true", "{\"EnableIPv4\":true,\"EnableIPv6\":true,\"InterContainer\":true,\"InhibitIPv4\":true}", false},
		{"macvlan", ",\"EnableIPv6\":true", "{\"EnableIPv4\":true,\"EnableIPv6\":true}", false},
		{"ipvlan", "", "{\"EnableIPv4\":true,\"EnableIPv6\":false}", false},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		cs_autofree char *body = cs_xasprintf("{\"Name\":\"n\",\"Driver\":\"%s\",\"Options\":{%s}%s}", cases[i].driver, all, cases[i].more);
		cs_autojson json_t *j = hcn(body, 148, NULL), *b = json_incref(policy(j, "LinuxBridge"));
		(void)json_object_del(b, "Name");
		cs_autofree char *have = json_dumps(b, JSON_COMPACT);
		assert_string_equal(have, cases[i].bridge);
		assert_int_equal(policy(j, "OutBoundNAT") != NULL, cases[i].nat);
	}
}

static void chosen_subnets(void **state)
{
	static const char text[] = "{\"Ipams\":[{\"Subnets\":[{\"IpAddressPrefix\":\"10.1.0.0/16\",\"Routes\":[{\"NextHop\":\"10.1.0.1\",\"DestinationPrefix\":\"0.0.0.0/0\"}]},"
						   "{\"IpAddressPrefix\":\"fd00::/64\",\"Routes\":[{\"NextHop\":\"fd00::1\",\"DestinationPrefix\":\"::/0\"}]}]}]}";
	cs_autojson json_t *answer = cs_json_parse(text, strlen(text), NULL);
	struct cs_network_doc *d = NULL;

	assert_non_null(answer);
	assert_int_equal(make("{\"Name\":\"n\",\"EnableIPv6\":true,\"IPAM\":{\"Config\":[{\"Subnet\":\"10.1.0.0/16\"}]}}", 148, NULL, &d, NULL), 0);
	cs_network_take_ipams(d, answer);
	assert_int_equal(d->ipam.n_config, 2);
	assert_string_equal(d->ipam.config[0].gateway, "10.1.0.1");
	assert_string_equal(d->ipam.config[1].subnet, "fd00::/64");
	assert_string_equal(d->ipam.config[1].gateway, "fd00::1");
	assert_false(d->chosen_v4);
	assert_true(d->chosen_v6);
	cs_network_doc_free(d);

	/* asked for by size: what was chosen takes its place, so that the next daemon does not ask again */
	assert_int_equal(make("{\"Name\":\"n\",\"EnableIPv6\":true,\"IPAM\":{\"Config\":[{\"Subnet\":\"0.0.0.0/16\"}]}}", 148, NULL, &d, NULL), 0);
	for (int again = 0; again < 2; again++) {
		cs_network_take_ipams(d, answer);
		assert_int_equal(d->ipam.n_config, 2);
		assert_string_equal(d->ipam.config[0].subnet, "10.1.0.0/16");
		assert_string_equal(d->ipam.config[0].gateway, "10.1.0.1");
		assert_string_equal(d->ipam.config[1].subnet, "fd00::/64");
		assert_true(d->chosen_v4);
	}
	cs_network_doc_free(d);
}

/* ---- ports ---- */

static void ports(void **state)
{
	struct cs_host_config h = {.port_bindings = (char[]){"{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"},{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"\"}],"
							      "\"53/udp\":[{\"HostIp\":\"::1\",\"HostPort\":\"5000-5002\"}]}"},
				   .publish_all_ports = true};
	struct cs_config c = {0};
	cs_autoports struct cs_ports p = {0}, again = {0};

	cs_strv_push(&c.exposed_ports, "80/tcp");
	cs_strv_push(&c.exposed_ports, "443/tcp");
	struct cs_ports_way way = {{"0.0.0.0", "0.0.0.0"}, false};
	assert_int_equal(cs_ports_wanted(&c, &h, &way, &p, NULL), 0);
	assert_int_equal(p.n, 4);
	assert_int_equal(p.p[0].lo, 8080); /* the only fixed one */
	assert_string_equal(p.p[0].host_ip, "");
	assert_int_equal(p.p[1].proto, 17);
	assert_int_equal(p.p[1].lo, 5000);
	assert_int_equal(p.p[1].hi, 5002);
	assert_string_equal(p.p[1].host_ip, "::1");
	assert_int_equal(p.p[2].lo, 0);
	assert_string_equal(p.p[2].host_ip, "127.0.0.1");
	assert_int_equal(p.p[3].port, 443);
	assert_int_equal(p.p[3].lo, 0);
	p.p[1].lo = p.p[1].hi = 5001;
	p.p[2].lo = p.p[2].hi = 32768;
	p.p[3].lo = p.p[3].hi = 32769;
	cs_strv_push(&c.exposed_ports, "9/tcp");
	cs_strv_push(&c.exposed_ports, "7/none"); /* of an image: nothing that could be published */
	cs_autofree char *json = cs_ports_json(c.exposed_ports, &p, true, true);
	assert_string_equal(json, "{\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"8080\"},"
				  "{\"HostIp\":\"::\",\"HostPort\":\"8080\"},{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"32768\"}],\"53/udp\":[{\"HostIp\":\"::1\",\"HostPort\":\"5001\"}],"
				  "\"443/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"32769\"},{\"HostIp\":\"::\",\"HostPort\":\"32769\"}],\"9/tcp\":null,\"7/none\":null}");
	/* and back, for a daemon that finds the container running */
	assert_int_equal(cs_ports_given(json, &h, false, &again, NULL), 0);
	assert_int_equal(again.n, 4);
	for (size_t i = 0; i < 4; i++) {
		bool found = false;
		for (size_t k = 0; k < 4; k++)
			found = found || (again.p[i].port == p.p[k].port && again.p[i].lo == p.p[k].lo && again.p[i].proto == p.p[k].proto && cs_streq(again.p[i].host_ip, p.p[k].host_ip));
		assert_true(found);
	}
	cs_ports_done(&p);
	const struct {
		const char *wanted, *given;
		bool meet;
	} pairs[] = {{"", "127.0.0.1", true}, {"127.0.0.1", "", true}, {"0.0.0.0", "::1", false}, {"0.0.0.0", "10.0.0.1", true}, {"::", "::1", true},
		     {"::1", "0:0::1", true}, {"::1", "::2", false}, {"127.0.0.1", "127.0.0.2", false}};
	for (size_t i = 0; i < CS_ARRAY_SIZE(pairs); i++) {
		struct cs_port a = {.proto = 6, .lo = 80, .host_ip = (char *)(uintptr_t)pairs[i].wanted}, b = {.proto = 6, .lo = 80, .host_ip = (char *)(uintptr_t)pairs[i].given};
		assert_int_equal(cs_port_meets(&a, &b), pairs[i].meet);
		b.proto = 17;
		assert_false(cs_port_meets(&a, &b));
	}
	h.port_bindings = NULL;
	way = (struct cs_ports_way){{"127.0.0.1", "127.0.0.1"}, false};
	assert_int_equal(cs_ports_wanted(&c, &h, &way, &p, NULL), 0);
	assert_string_equal(p.p[0].host_ip, "127.0.0.1");
	assert_int_equal(p.n, 3);
	cs_strv_free(c.exposed_ports);
}

static void expect_ports(const struct cs_ports *p, const char *const *all)
{
	size_t n = 0;

	for (; all[n]; n++) {
		cs_autofree char *text = n < p->n ? cs_xasprintf("%s %u %u-%u", p->p[n].host_ip, p->p[n].port, p->p[n].lo, p->p[n].hi) : NULL;
		assert_non_null(text);
		assert_string_equal(text, all[n]);
	}
	assert_int_equal(p->n, n);
}

/* Two networks, one for each family: both parts of what was asked for have one number, and keep it. */
static void ports_apart(void **state)
{
	struct cs_host_config h = {.port_bindings = (char[]){"{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"\"},{\"HostIp\":\"\",\"HostPort\":\"\"},{\"HostIp\":\"\",\"HostPort\":\"8080\"},"
							      "{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"90-99\"},{\"HostIp\":\"::1\",\"HostPort\":\"90-99\"}]}"}};
	struct cs_config c = {0};
	const struct cs_ports_way apart = {{NULL, "0.0.0.0"}, true}, local = {{"127.0.0.1", "127.0.0.1"}, true}, one = {{"0.0.0.0", NULL}, false};
	static const char *const wanted[] = {"0.0.0.0 80 8080-8080", ":: 80 8080-8080", "0.0.0.0 80 0-0", ":: 80 0-0", "0.0.0.0 80 0-0", ":: 80 0-0",
					     "127.0.0.1 80 90-99", "::1 80 90-99", NULL};
	static const char *const numbered[] = {"0.0.0.0 80 8080-8080", ":: 80 8080-8080", "0.0.0.0 80 5001-5001", ":: 80 5001-5001", "0.0.0.0 80 5002-5002",
					       ":: 80 5002-5002", "127.0.0.1 80 92-92", "::1 80 92-92", NULL};
	static const char *const together[] = {" 80 8080-8080", " 80 5001-5001", " 80 5002-5002", "127.0.0.1 80 92-92", "::1 80 92-92", NULL};
#define AT(ip, port) "{\"HostIp\":\"" ip "\",\"HostPort\":\"" port "\"}"
	static const char *const was[] = {/* IPv4 alone, IPv6 alone, both */
		"{\"80/tcp\":[" AT("0.0.0.0", "8080") "," AT("0.0.0.0", "5001") "," AT("0.0.0.0", "5002") "," AT("127.0.0.1", "92") "]}",
		"{\"80/tcp\":[" AT("::", "8080") "," AT("::", "5001") "," AT("::", "5002") "," AT("::1", "92") "]}",
		"{\"80/tcp\":[" AT("0.0.0.0", "8080") "," AT("::", "8080") "," AT("0.0.0.0", "5001") "," AT("::", "5001") "," AT("0.0.0.0", "5002") "," AT("::", "5002") ","
		AT("127.0.0.1", "92") "," AT("::1", "92") "]}"};
#undef AT

	for (size_t i = 0; i < CS_ARRAY_SIZE(was); i++) {
		cs_autoports struct cs_ports p = {0}, q = {0}, given = {0};
		assert_int_equal(cs_ports_wanted(&c, &h, &apart, &p, NULL), 0);
		expect_ports(&p, wanted);
		assert_int_equal(cs_ports_number(&p, was[i], &h, NULL), 0);
		expect_ports(&p, numbered);
		cs_autofree char *json = cs_ports_json(NULL, &p, true, true);
		assert_string_equal(json, was[2]);
		assert_int_equal(cs_ports_given(json, &h, true, &given, NULL), 0);
		expect_ports(&given, numbered);
		assert_int_equal(cs_ports_wanted(&c, &h, &one, &q, NULL), 0);
		assert_int_equal(cs_ports_number(&q, was[i], &h, NULL), 0);
		expect_ports(&q, together);
	}
	/* the default address of each network is that of its own family */
	cs_autoports struct cs_ports p = {0};
	h.port_bindings = (char[]){"{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"7\"}]}"};
	assert_int_equal(cs_ports_wanted(&c, &h, &local, &p, NULL), 0);
	expect_ports(&p, (const char *const[]){"127.0.0.1 80 7-7", NULL});
}

/* ---- endpoints ---- */

static void endpoints(void **state)
{
	cs_autostr struct cs_str s = CS_STR_INIT(1 << 20);
	struct cs_network_doc *d = NULL;
	struct cs_endpoint_settings e = {0};
	struct cs_port ports_of[] = {{.proto = 6, .port = 80, .lo = 8080, .hi = 8080, .host_ip = (char[]){""}}, {.proto = 6, .port = 81, .lo = 90, .hi = 99, .host_ip = (char[]){""}}};
	struct cs_ports p = {ports_of, 2};

	assert_int_equal(make("{\"Name\":\"n\",\"IPAM\":{\"Config\":[{\"Subnet\":\"10.1.0.0/16\",\"Gateway\":\"10.1.0.1\"}]}}", 148, NULL, &d, NULL), 0);
	d->id = cs_xstrdup(ID);
	struct cs_network n = {.doc = d};
	assert_true(cs_hcn_guid_of(ID, &n.guid));
	assert_int_equal(cs_json_decode_text(&cs_endpoint_settings_type, "{\"IPAMConfig\":{\"IPv4Address\":\"10.1.0.5\",\"LinkLocalIPs\":[\"169.254.1.1\"]},\"MacAddress\":\"02:AA:bb:00:00:01\","
					     "\"GwPriority\":7,\"DriverOpts\":{\"com.docker.network.endpoint.sysctls\":\"net.ipv4.conf.ifname.log_martians=1\"}}", &e, NULL), 0);
	cs_endpoint_wanted(&e);
	assert_null(e.mac_address);
	e.endpoint_id = cs_xstrdup("ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100");
	cs_strv_push(&e.dns_names, "web");
	struct cs_endpoint_doc doc = {.s = &e, .n = &n, .container_name = "web", .ports = &p};
	cs_endpoint_put_hcn(&doc, &s);
	cs_autojson json_t *j = cs_json_parse(s.buf, s.len, NULL);
	assert_non_null(j);
	expect(j, "ID", "\"ffeeddcc-bbaa-9988-7766-554433221100\"");
	expect(j, "IpConfigurations", "[{\"IpAddress\":\"10.1.0.5\",\"PrefixLength\":16}]");
	expect(j, "MacAddress", "\"02-aa-bb-00-00-01\"");
	expect(policy(j, "LinuxInterface"), "Sysctls", "{\"net.ipv4.conf.IFNAME.log_martians\":\"1\"}");
	expect(policy(j, "LinuxInterface"), "LinkLocal", "[\"169.254.1.1\"]");
	expect(policy(j, "LinuxInterface"), "GatewayPriority", "7");
	expect(policy(j, "DnsNames"), "Names", "[\"web\"]");
	expect(policy(j, "PortMapping"), "ExternalPort", "8080");
	assert_int_equal(json_array_size(json_object_get(j, "Policies")), 4);
	expect(json_object_get(json_array_get(json_object_get(j, "Policies"), 3), "Settings"), "ExternalPortEnd", "99");

	static const char text[] = "{\"IpConfigurations\":[{\"IpAddress\":\"10.1.0.5\",\"PrefixLength\":16}],\"MacAddress\":\"02-aa-bb-00-00-01\","
				   "\"Policies\":[{\"Type\":\"PortMapping\",\"Settings\":{\"Protocol\":6,\"InternalPort\":81,\"ExternalPort\":95}}]}";
	cs_autojson json_t *answer = cs_json_parse(text, strlen(text), NULL);
	cs_endpoint_take(&e, &n, &p, answer);
	assert_string_equal(e.ip_address, "10.1.0.5");
	assert_int_equal(e.ip_prefix_len, 16);
	assert_string_equal(e.gateway, "10.1.0.1");
	assert_string_equal(e.mac_address, "02:aa:bb:00:00:01");
	assert_int_equal(ports_of[1].lo, 95);
	cs_json_release(&cs_endpoint_settings_store_type, &e);
	cs_network_doc_free(d);
}

/* No bridge: nobody looks at who sends as whom; and ipvlan has the parent's hardware address. */
static void endpoints_on_parents(void **state)
{
	static const char *const drivers[] = {"macvlan", "ipvlan", "l2bridge"};
	static char *const exposed[] = {(char *)(uintptr_t)"80/tcp", NULL};

	for (size_t i = 0; i < CS_ARRAY_SIZE(drivers); i++) {
		cs_autofree char *body = cs_xasprintf("{\"Name\":\"n\",\"Driver\":\"%s\"}", drivers[i]);
		cs_autostr struct cs_str s = CS_STR_INIT(1 << 20);
		cs_autoerr struct cs_err *err = NULL;
		struct cs_endpoint_settings e = {0};
		struct cs_network_doc *d = NULL;
		assert_int_equal(make(body, 148, NULL, &d, NULL), 0);
		d->id = cs_xstrdup(ID);
		struct cs_network n = {.doc = d};
		e.endpoint_id = cs_xstrdup(ID);
		e.mac_address = cs_xstrdup("02:42:0a:01:00:02");
		struct cs_endpoint_doc doc = {.s = &e, .n = &n, .container_name = "web", .antispoof = true, .exposed = exposed, .given = true};
		cs_endpoint_put_hcn(&doc, &s);
		cs_autojson json_t *j = cs_json_parse(s.buf, s.len, NULL);
		expect(policy(j, "LinuxInterface"), "AntiSpoof", "(none)");
		expect(policy(j, "LinuxInterface"), "ExposedPorts", "(none)");
		expect(j, "MacAddress", i ? "\"\"" : "\"02-42-0a-01-00-02\"");
		e.driver_opts = cs_strmap_new();
		cs_strmap_set(e.driver_opts, CS_OPT_EP_ANTISPOOF, "true");
		assert_int_equal(cs_endpoint_check(&e, "n", d, &err), -1);
		assert_non_null(strstr(err->msg, "has no option " CS_OPT_EP_ANTISPOOF));
		cs_json_release(&cs_endpoint_settings_store_type, &e);
		cs_network_doc_free(d);
	}
}

static void prefixes(void **state)
{
	cs_autofree char *a = cs_addr_masked("10.1.2.3/9"), *b = cs_addr_masked("fd00:1:2:3::9/48"), *c = cs_addr_masked("10.0.0.0"), *d = cs_addr_masked("1.2.3.4/0");

	assert_string_equal(a, "10.0.0.0/9");
	assert_string_equal(b, "fd00:1:2::/48");
	assert_null(c);
	assert_string_equal(d, "0.0.0.0/0");
	assert_true(cs_addr_in("10.0.0.0/9", "10.127.255.255"));
	assert_false(cs_addr_in("10.0.0.0/9", "10.128.0.0"));
	assert_false(cs_addr_in("10.0.0.0/9", "fd00::1"));
	assert_true(cs_addr_in("fd00::/64", "fd00::ffff"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(create_refusals), cmocka_unit_test(networks), cmocka_unit_test(options_of_types), cmocka_unit_test(chosen_subnets),
					   cmocka_unit_test(ports), cmocka_unit_test(ports_apart), cmocka_unit_test(endpoints), cmocka_unit_test(endpoints_on_parents), cmocka_unit_test(prefixes)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
