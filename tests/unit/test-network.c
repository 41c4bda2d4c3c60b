/* SPDX-License-Identifier: Apache-2.0
 *
 * The pure parts of the network service: addresses, IPAM, documents, what is put into netlink messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/strv.h"
#include "network/documents.h"
#include "network/ipam.h"
#include "network/links.h"

/* ---- addresses ---- */

static void test_addresses(void **state)
{
	static const char *const good[] = {"0.0.0.0", "10.1.2.3", "255.255.255.255", "::", "::1", "fd00:1::2", "2001:db8::ffff:1"};
	static const char *const bad[] = {"", "10.1.2", "10.1.2.3.4", "10.1.2.256", "fd00::1::2", "fe80::1%eth0", "x", " 10.0.0.1"};
	char text[CS_IP_TEXT];
	struct cs_ip ip;

	for (size_t i = 0; i < CS_ARRAY_SIZE(good); i++) {
		assert_true(cs_ip_parse(good[i], &ip));
		assert_string_equal(cs_ip_text(ip, text), good[i]);
	}
	for (size_t i = 0; i < CS_ARRAY_SIZE(bad); i++)
		assert_false(cs_ip_parse(bad[i], &ip));
	assert_false(cs_ip_parse(NULL, &ip));
}

static struct cs_prefix prefix(const char *text)
{
	struct cs_prefix p;

	if (!cs_prefix_parse(text, &p))
		fail_msg("%s", text);
	return p;
}

static struct cs_ip ip_of(const char *text)
{
	struct cs_ip ip;

	if (!cs_ip_parse(text, &ip))
		fail_msg("%s", text);
	return ip;
}

static void test_prefixes(void **state)
{
	static const char *const bad[] = {"10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x", "::/129", "/8", "10.0.0.0/"};
	static const struct {
		const char *a, *b;
		bool overlap;
	} pairs[] = {{"10.0.0.0/8", "10.255.0.0/16", true},  {"10.0.0.0/8", "11.0.0.0/8", false}, {"10.0.1.7/24", "10.0.1.200/24", true},
		     {"0.0.0.0/0", "192.168.0.0/16", true},  {"::/0", "10.0.0.0/8", false},	  {"fd00::/64", "fd00:0:0:1::/64", false},
		     {"fd00::/63", "fd00:0:0:1::/64", true}, {"10.0.0.4/31", "10.0.0.5/32", true}, {"10.0.0.4/31", "10.0.0.6/32", false}};
	struct cs_prefix p;

	for (size_t i = 0; i < CS_ARRAY_SIZE(bad); i++)
		assert_false(cs_prefix_parse(bad[i], &p));
	for (size_t i = 0; i < CS_ARRAY_SIZE(pairs); i++) {
		assert_int_equal(cs_prefix_overlaps(prefix(pairs[i].a), prefix(pairs[i].b)), pairs[i].overlap);
		assert_int_equal(cs_prefix_overlaps(prefix(pairs[i].b), prefix(pairs[i].a)), pairs[i].overlap);
	}
	assert_true(cs_prefix_last(prefix("::/0")) == ~(cs_u128)0);
	assert_true(cs_prefix_has(prefix("fd00::/64"), ip_of("fd00::ffff:ffff:ffff:ffff")));
	assert_false(cs_prefix_has(prefix("fd00::/64"), ip_of("fd00:0:0:1::")));
}

static void test_macs(void **state)
{
	static const char *const bad[] = {"", "02-42-ac-12-00", "02-42-ac-12-00-0g", "02_42_ac_12_00_02", "01-00-5e-00-00-01", "02-42-ac-12-00-02-"};
	char text[CS_MAC_TEXT];
	uint8_t mac[6];

	assert_true(cs_mac_parse("02:42:AC:12:00:02", mac));
	assert_string_equal(cs_mac_text(mac, text), "02-42-ac-12-00-02");
	for (size_t i = 0; i < CS_ARRAY_SIZE(bad); i++)
		assert_false(cs_mac_parse(bad[i], mac));
}

static void test_guids(void **state)
{
	char text[CS_HCN_GUID_TEXT];
	HCN_GUID g;

	assert_true(cs_hcn_guid_of("0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef", &g));
	cs_hcn_guid_text(&g, text);
	assert_string_equal(text, "01234567-89ab-cdef-0123-456789abcdef");
	assert_true(cs_hcn_guid_parse(text, &g));
	assert_int_equal(g.Data2, 0x89ab);
	assert_false(cs_hcn_guid_parse("01234567-89ab-cdef-0123-456789abcde", &g));
	assert_false(cs_hcn_guid_parse("0123456789ab-cdef-0123-456789abcdef--", &g));
	assert_false(cs_hcn_guid_of("0123", &g));
	assert_false(cs_hcn_guid_of("0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef0", &g));
	assert_false(cs_hcn_guid_of(NULL, &g));
}

/* ---- IPAM ---- */

static uint32_t seed;
static uint32_t next_random(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

/* Against a plain array of flags, for long random walks; the spans stay sorted, disjoint and apart. */
static void test_spans(void **state)
{
	for (seed = 1; seed < 50; seed++) {
		bool has[64] = {false};
		struct cs_spans s = {0};
		uint32_t keep = seed;
		for (int step = 0; step < 400; step++) {
			unsigned a = next_random() % 64, free_at = 64;
			if (next_random() % 5 < 3) {
				assert_int_equal(cs_spans_add(&s, a), !has[a]);
				has[a] = true;
			} else {
				assert_int_equal(cs_spans_del(&s, a), has[a]);
				has[a] = false;
			}
			for (size_t i = 0; i < s.n; i++) {
				assert_true(s.v[i].lo <= s.v[i].hi);
				assert_true(i == 0 || s.v[i].lo > s.v[i - 1].hi + 1);
			}
			for (unsigned i = 64; i-- > a;)
				free_at = has[i] ? free_at : i;
			cs_u128 got = 0;
			assert_int_equal(cs_spans_free(&s, a, 63, &got), free_at < 64);
			assert_true(free_at == 64 || got == free_at);
			assert_int_equal(cs_spans_has(&s, a), has[a]);
		}
		cs_spans_done(&s);
		seed = keep;
	}
}

/* Every address of a subnet is given out once, in order. */
static void test_a_subnet_to_its_end(void **state)
{
	static const struct {
		const char *prefix, *range;
		unsigned count;
		const char *first;
	} cases[] = {{"10.0.0.0/24", NULL, 254, "10.0.0.1"},	   {"10.0.0.0/30", NULL, 2, "10.0.0.1"}, {"10.0.0.0/31", NULL, 2, "10.0.0.0"},
		     {"10.0.0.7/32", NULL, 1, "10.0.0.7"},	   {"10.0.0.0/16", "10.0.5.0/24", 256, "10.0.5.0"}, {"fd00::/120", NULL, 255, "fd00::1"},
		     {"fd00::/127", NULL, 2, "fd00::"},		   {"fd00::/128", NULL, 1, "fd00::"},	 {"10.0.0.0/24", "10.0.0.128/25", 127, "10.0.0.128"}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		struct cs_prefix range = cases[i].range ? prefix(cases[i].range) : (struct cs_prefix){0};
		struct cs_ip ip, first;
		struct cs_subnet s;
		char text[CS_IP_TEXT];
		assert_int_equal(cs_subnet_init(&s, prefix(cases[i].prefix), cases[i].range ? &range : NULL, NULL), 0);
		for (unsigned j = 0; j < cases[i].count; j++) {
			assert_int_equal(cs_subnet_take_any(&s, &ip, NULL), 0);
			first = j ? first : ip;
			assert_true(ip.n == first.n + j);
		}
		assert_string_equal(cs_ip_text(first, text), cases[i].first);
		cs_autoerr struct cs_err *err = NULL;
		assert_int_equal(cs_subnet_take_any(&s, &ip, &err), -1);
		assert_int_equal(cs_err_code(err), CS_ERR_NO_SPACE);
		cs_subnet_give(&s, first);
		assert_int_equal(cs_subnet_take_any(&s, &ip, NULL), 0);
		assert_true(cs_ip_is(ip, first));
		cs_subnet_done(&s);
	}
}

static void test_the_first_free_address_comes_next(void **state)
{
	struct cs_subnet s;
	struct cs_ip a[4], b;

	assert_int_equal(cs_subnet_init(&s, prefix("10.0.0.0/29"), NULL, NULL), 0);
	for (size_t i = 0; i < CS_ARRAY_SIZE(a); i++)
		assert_int_equal(cs_subnet_take_any(&s, &a[i], NULL), 0);
	cs_subnet_give(&s, a[2]);
	cs_subnet_give(&s, a[1]);
	assert_int_equal(cs_subnet_take_any(&s, &b, NULL), 0);
	assert_true(cs_ip_is(b, a[1]));
	assert_int_equal(cs_subnet_take_any(&s, &b, NULL), 0);
	assert_true(cs_ip_is(b, a[2]));
	cs_subnet_done(&s);
}

static void test_wanted_addresses(void **state)
{
	static const struct {
		const char *ip;
		enum cs_code code;
	} cases[] = {{"10.0.0.0", CS_ERR_INVALID}, {"10.0.0.255", CS_ERR_INVALID}, {"10.0.1.1", CS_ERR_INVALID}, {"fd00::1", CS_ERR_INVALID},
		     {"10.0.0.9", CS_ERR_NONE},	   {"10.0.0.9", CS_ERR_CONFLICT},  {"10.0.0.254", CS_ERR_NONE}};
	struct cs_subnet s;

	assert_int_equal(cs_subnet_init(&s, prefix("10.0.0.0/24"), NULL, NULL), 0);
	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		cs_autoerr struct cs_err *err = NULL;
		int r = cs_subnet_take(&s, ip_of(cases[i].ip), &err);
		assert_int_equal(r, cases[i].code == CS_ERR_NONE ? 0 : -1);
		assert_int_equal(cs_err_code(err), cases[i].code);
	}
	cs_subnet_done(&s);
	struct cs_prefix outside = prefix("10.0.1.0/25"), wider = prefix("10.0.0.0/23");
	assert_int_equal(cs_subnet_init(&s, prefix("10.0.0.0/24"), &outside, NULL), -1);
	assert_int_equal(cs_subnet_init(&s, prefix("10.0.0.0/24"), &wider, NULL), -1);
}

static void test_pools(void **state)
{
	const struct cs_pool pools[] = {{prefix("10.0.0.0/22"), 24}, {prefix("172.16.0.0/16"), 20}, {prefix("fd00::/48"), 64}};
	const struct cs_prefix taken[] = {prefix("10.0.0.0/24"), prefix("10.0.1.128/25"), prefix("10.0.2.7/32"), prefix("fd00::/63")};
	struct cs_prefix p;
	char text[CS_PREFIX_TEXT];

	assert_int_equal(cs_pools_choose(pools, 3, AF_INET, 0, taken, 4, &p, NULL), 0);
	assert_string_equal(cs_prefix_text(p, text), "10.0.3.0/24");
	assert_int_equal(cs_pools_choose(pools, 3, AF_INET, 25, taken, 4, &p, NULL), 0);
	assert_string_equal(cs_prefix_text(p, text), "10.0.1.0/25");
	assert_int_equal(cs_pools_choose(pools, 3, AF_INET, 17, taken, 4, &p, NULL), 0);
	assert_string_equal(cs_prefix_text(p, text), "172.16.0.0/17");
	assert_int_equal(cs_pools_choose(pools, 3, AF_INET6, 0, taken, 4, &p, NULL), 0);
	assert_string_equal(cs_prefix_text(p, text), "fd00:0:0:2::/64");
	const struct cs_prefix all = prefix("0.0.0.0/0");
	cs_autoerr struct cs_err *err = NULL;
	assert_int_equal(cs_pools_choose(pools, 3, AF_INET, 0, &all, 1, &p, &err), -1);
	assert_int_equal(cs_err_code(err), CS_ERR_NO_SPACE);
	assert_int_equal(cs_pools_choose(pools, 3, AF_INET, 8, NULL, 0, &p, NULL), -1);
}

/* Whatever is taken, what is chosen lies in a pool, has its size and overlaps nothing; and it is found as long as there is any. */
static void test_pools_at_random(void **state)
{
	const struct cs_pool pool = {prefix("10.0.0.0/24"), 28};

	for (seed = 1; seed < 300; seed++) {
		struct cs_prefix taken[24], p;
		uint32_t keep = seed;
		size_t n = next_random() % 24;
		bool hit[16] = {false}, any = false;
		for (size_t i = 0; i < n; i++) {
			uint8_t len = (uint8_t)(25 + next_random() % 8);
			taken[i] = (struct cs_prefix){{0x0A000000u + next_random() % 256, AF_INET}, len};
			for (unsigned k = 0; k < 16; k++)
				hit[k] |= cs_prefix_overlaps(taken[i], (struct cs_prefix){{0x0A000000u + 16 * k, AF_INET}, 28});
		}
		for (unsigned k = 0; k < 16; k++)
			any |= !hit[k];
		assert_int_equal(cs_pools_choose(&pool, 1, AF_INET, 0, taken, n, &p, NULL) == 0, any);
		if (any) {
			unsigned k = (unsigned)(p.ip.n - 0x0A000000u) / 16;
			assert_true(k < 16 && !hit[k] && p.len == 28 && (p.ip.n & 15) == 0);
			for (unsigned j = 0; j < k; j++)
				assert_true(hit[j]); /* the first one */
		}
		seed = keep;
	}
}

/* ---- documents ---- */

static void test_documents_are_strict(void **state)
{
	static const struct {
		const struct cs_jtype *type;
		const char *text, *error; /* NULL: fine */
	} cases[] = {
		{&cs_doc_network_type, "{}", NULL},
		{&cs_doc_network_type, "{\"Name\":\"n\",\"Ipams\":[{\"Subnets\":[{\"IpAddressPrefix\":\"10.0.0.0/8\"}]}]}", NULL},
		{&cs_doc_network_type, "{\"name\":\"n\"}", "name: unknown member"},
		{&cs_doc_network_type, "{\"Ipams\":[{\"Subnets\":[{\"IpAddressPrefix\":\"10.0.0.0/8\",\"Gateway\":\"x\"}]}]}",
		 "Ipams[0].Subnets[0].Gateway: unknown member"},
		{&cs_doc_network_type, "{\"Ipams\":[{\"Subnets\":[{}]}]}", "IpAddressPrefix"},
		{&cs_doc_network_type, "{\"Flags\":\"1\"}", "Flags"},
		{&cs_doc_network_type, "{\"SchemaVersion\":{\"Major\":0}}", "SchemaVersion.Major: 0 is not 2"},
		{&cs_doc_network_type, "{\"SchemaVersion\":{\"Major\":2,\"Minor\":9}}", NULL},
		{&cs_doc_endpoint_type, "{\"InterfaceName\":\"eth0\"}", "InterfaceName: this is of answers only"},
		{&cs_doc_network_type, "[]", "expected an object"},
		{&cs_doc_network_type, "", "HostComputeNetwork"},
		{&cs_doc_endpoint_type, "{\"IpConfigurations\":[{\"IpAddress\":\"10.0.0.2\",\"PrefixLength\":8}]}", NULL},
		{&cs_doc_endpoint_type, "{\"IpConfigurations\":[{\"Address\":\"10.0.0.2\"}]}", "IpConfigurations[0].Address: unknown member"},
		{&cs_doc_namespace_type, "{\"Linux\":{\"ProcessId\":1},\"Dns\":{\"Resolver\":true}}", NULL},
		{&cs_doc_namespace_type, "{\"Linux\":{\"Pid\":1}}", "Linux.Pid: unknown member"},
		{&cs_doc_lb_type, "{\"PortMappings\":[{\"Protocol\":6,\"Port\":1}]}", "PortMappings[0].Port: unknown member"},
		{&cs_doc_modify_type, "{\"ResourceType\":\"Policy\"}", "RequestType"},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		cs_autoerr struct cs_err *err = NULL;
		void *doc = cs_xcalloc(1, cases[i].type->size);
		int r = cs_doc_read(cases[i].type, cases[i].text, doc, &err);
		cs_autofree char *text = err ? cs_err_text(err) : cs_xstrdup("");
		if ((r == 0) != !cases[i].error || (cases[i].error && !strstr(text, cases[i].error)))
			fail_msg("%s: %d %s", cases[i].text, r, text);
		if (r == 0) { /* what is written is read again */
			cs_autofree char *out = cs_doc_write(cases[i].type, doc);
			cs_json_release(cases[i].type, doc);
			assert_int_equal(cs_doc_read(cases[i].type, out, doc, NULL), 0);
			cs_autofree char *again = cs_doc_write(cases[i].type, doc);
			assert_string_equal(out, again);
			cs_json_release(cases[i].type, doc);
		}
		free(doc);
	}
}

static void test_network_policies(void **state)
{
	struct cs_doc_policy v[] = {
		{(char *)(uintptr_t)"LinuxBridge", (char *)(uintptr_t)"{\"Name\":\"br9\",\"Mtu\":1400,\"InterContainer\":false,\"GatewayMode4\":\"routed\"}"},
		{(char *)(uintptr_t)"VSID", (char *)(uintptr_t)"{\"IsolationId\":0}"},
		{(char *)(uintptr_t)"RemoteSubnetRoute", (char *)(uintptr_t)"{\"DestinationPrefix\":\"10.0.0.0/8\",\"ProviderAddress\":\"1.2.3.4\"}"},
		{(char *)(uintptr_t)"RemoteSubnetRoute", (char *)(uintptr_t)"{\"DestinationPrefix\":\"11.0.0.0/8\",\"ProviderAddress\":\"1.2.3.5\"}"}};
	struct cs_network_policies p;

	assert_int_equal(cs_network_policies_read(v, 4, &p, NULL), 0);
	assert_string_equal(p.bridge, "br9");
	assert_int_equal(p.mtu, 1400);
	assert_int_equal(p.icc, CS_FALSE);
	assert_int_equal(p.masquerade, CS_NULL);
	assert_int_equal(p.gw4, CS_GW_ROUTED);
	assert_true(p.has_vsid && !p.outbound_nat);
	assert_int_equal(p.n_remotes, 2);
	assert_string_equal(p.remotes[1].provider, "1.2.3.5");
	cs_network_policies_done(&p);
	static const char *const bad[][2] = {{"LinuxBridge", "{\"GatewayMode4\":\"magic\"}"}, {"VLAN", "{\"IsolationId\":4095}"}, {"VLAN", "{}"},
					     {"LinuxBridge", "{\"Mtu\":-1}"}, {"LinuxBridge", "{\"mtu\":1}"}, {"QOS", "{}"}, {"VxlanPort", "[]"},
					     {"NetworkACL", "{\"Action\":\"Maybe\",\"Direction\":\"In\"}"}, {NULL, "{}"}};
	for (size_t i = 0; i < CS_ARRAY_SIZE(bad); i++) {
		struct cs_doc_policy one = {(char *)(uintptr_t)bad[i][0], (char *)(uintptr_t)bad[i][1]};
		assert_int_equal(cs_network_policies_read(&one, 1, &p, NULL), -1);
	}
}

static void test_port_mappings_are_written_back(void **state)
{
	struct cs_doc_policy v[] = {{cs_xstrdup("QOS"), cs_xstrdup("{\"MaximumOutgoingBandwidthInBytes\":5}")},
				    {cs_xstrdup("PortMapping"), cs_xstrdup("{\"Protocol\":6,\"InternalPort\":80}")},
				    {cs_xstrdup("PortMapping"), cs_xstrdup("{\"Protocol\":17,\"InternalPort\":53,\"ExternalPort\":53}")}};
	struct cs_endpoint_policies p;

	assert_int_equal(cs_endpoint_policies_read(v, 3, &p, NULL), 0);
	assert_int_equal(p.n_ports, 2);
	p.ports[0].external = 40000;
	cs_port_mappings_write(v, 3, &p);
	cs_endpoint_policies_done(&p);
	assert_int_equal(cs_endpoint_policies_read(v, 3, &p, NULL), 0);
	assert_int_equal(p.ports[0].external, 40000);
	assert_int_equal(p.ports[1].external, 53);
	assert_int_equal(p.max_outgoing, 5);
	cs_endpoint_policies_done(&p);
	for (size_t i = 0; i < 3; i++) {
		free(v[i].type);
		free(v[i].settings);
	}
	static const char *const bad[] = {"{\"Protocol\":1,\"InternalPort\":80}", "{\"Protocol\":6}", "{\"Protocol\":6,\"InternalPort\":65536}",
					  "{\"Protocol\":6,\"InternalPort\":1,\"VIP\":\"here\"}",
					  "{\"Protocol\":6,\"InternalPort\":1,\"ExternalPort\":9,\"ExternalPortEnd\":8}"};
	for (size_t i = 0; i < CS_ARRAY_SIZE(bad); i++) {
		struct cs_doc_policy one = {(char *)(uintptr_t)"PortMapping", (char *)(uintptr_t)bad[i]};
		assert_int_equal(cs_endpoint_policies_read(&one, 1, &p, NULL), -1);
	}
}

/* ---- netlink ---- */

static const struct nlattr *find(const struct nlmsghdr *h, size_t fixed, uint16_t type)
{
	const struct nlattr *a;

	mnl_attr_for_each (a, h, fixed)
		if (mnl_attr_get_type(a) == type)
			return a;
	fail_msg("attribute %u is missing", type);
	return NULL;
}

static void test_messages(void **state)
{
	struct cs_rtnl none = {0};
	static struct cs_nl b;
	const uint8_t mac[6] = {2, 0x42, 1, 2, 3, 4};

	cs_nl_init(&b, &none);
	cs_link_set(&b, &(struct cs_link_change){.index = 7, .mac = mac, .mtu = 1400, .master = 3, .alias = "caisson:x:y", .up = true}, "set");
	cs_route_set(&b, &(struct cs_route){.to = {{0, AF_INET}, 0}, .via = ip_of("10.0.0.1"), .index = 7, .onlink = true});
	cs_addr_add(&b, 7, prefix("10.0.0.2/24"), EEXIST);
	cs_addr_add(&b, 7, prefix("fd00::2/64"), 0);
	assert_int_equal(b.n, 4);
	const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)b.buf;
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(h);
	assert_int_equal(h->nlmsg_type, RTM_SETLINK);
	assert_int_equal(ifi->ifi_index, 7);
	assert_int_equal(ifi->ifi_flags & ifi->ifi_change, IFF_UP);
	assert_memory_equal(mnl_attr_get_payload(find(h, sizeof(*ifi), IFLA_ADDRESS)), mac, 6);
	assert_int_equal(mnl_attr_get_u32(find(h, sizeof(*ifi), IFLA_MASTER)), 3);
	int left = (int)sizeof(b.buf);
	h = mnl_nlmsg_next(h, &left);
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(h);
	assert_int_equal(h->nlmsg_type, RTM_NEWROUTE);
	assert_int_equal(h->nlmsg_flags & (NLM_F_REPLACE | NLM_F_CREATE), NLM_F_REPLACE | NLM_F_CREATE);
	assert_int_equal(rtm->rtm_dst_len, 0);
	assert_true(rtm->rtm_flags & RTNH_F_ONLINK);
	assert_memory_equal(mnl_attr_get_payload(find(h, sizeof(*rtm), RTA_GATEWAY)), "\x0a\0\0\x01", 4);
	h = mnl_nlmsg_next(h, &left);
	assert_memory_equal(mnl_attr_get_payload(find(h, 8, IFA_BROADCAST)), "\x0a\0\0\xff", 4);
	assert_int_equal(b.msg[2].tolerate, EEXIST);
}

static int count(const struct nlmsghdr *h, void *n)
{
	++*(int *)n;
	return MNL_CB_OK;
}

/* The kernel tells in the message that ends a dump that it could not be made. */
static void test_a_dump_that_fails(void **state)
{
	const struct ifaddrmsg ifa = {.ifa_family = AF_INET, .ifa_index = 0x7ffffff0};
	cs_autoerr struct cs_err *err = NULL;
	struct cs_rtnl r;
	struct cs_nl b;
	int n = 0;

	assert_int_equal(cs_rtnl_open(&r, NULL), 0);
	cs_nl_init(&b, &r);
	(void)cs_nl_add(&b, RTM_GETADDR, NLM_F_DUMP, &ifa, sizeof(ifa), "list the addresses", 0);
	assert_int_equal(cs_nl_ask(&b, count, &n, &err), -1);
	assert_int_equal(err->sys, ENODEV);
	assert_int_equal(n, 0);
	cs_rtnl_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_macs),
		cmocka_unit_test(test_guids),
		cmocka_unit_test(test_spans),
		cmocka_unit_test(test_a_subnet_to_its_end),
		cmocka_unit_test(test_the_first_free_address_comes_next),
		cmocka_unit_test(test_wanted_addresses),
		cmocka_unit_test(test_pools),
		cmocka_unit_test(test_pools_at_random),
		cmocka_unit_test(test_documents_are_strict),
		cmocka_unit_test(test_network_policies),
		cmocka_unit_test(test_port_mappings_are_written_back),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_a_dump_that_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
