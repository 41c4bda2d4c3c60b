/* SPDX-License-Identifier: Apache-2.0
 *
 * The firewall without a kernel: elements as bytes and text, the counted store, ACLs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "network/firewall_internal.h"

static struct cs_fw_addr addr(const char *s)
{
	struct cs_fw_addr a = {.family = strchr(s, ':') ? AF_INET6 : AF_INET};

	assert_int_equal(inet_pton(a.family, s, a.bytes), 1);
	return a;
}

static struct fw_elem published(const char *host, uint16_t port, const char *to, uint16_t to_port)
{
	struct fw_elem e = fw_elem(FW_port4);
	struct cs_fw_addr h = addr(host), t = addr(to);

	return *fw_put_port(fw_put_addr(fw_put_port(fw_put_proto(fw_put_addr(&e, &h), IPPROTO_TCP), port), &t), to_port);
}

static void elements_as_the_kernel_wants_them(void **state)
{
	struct fw_elem e = published("10.1.2.3", 8080, "172.17.0.2", 80), guard = fw_elem(FW_macs);
	static const uint8_t want[] = {10, 1, 2, 3, 6, 0, 0, 0, 0x1f, 0x90, 0, 0, 172, 17, 0, 2, 0, 80, 0, 0}, mac[6] = {2, 0, 0, 0, 0, 9};

	assert_int_equal(e.klen, 12);
	assert_int_equal(e.dlen, 8);
	assert_memory_equal(e.bytes, want, sizeof(want));
	assert_true(fw_elem_whole(&e));
	(void)fw_put_ifname(&guard, "a-name-that-is-too-long");
	assert_false(fw_elem_whole(&guard));
	(void)fw_put_mac(&guard, mac);
	assert_int_equal(guard.klen, 24);
	assert_memory_equal(guard.bytes, "a-name-that-is-\0\2\0\0\0\0\11\0\0", 24);
}

static void elements_as_text(void **state)
{
	struct fw_elem e = published("10.1.2.3", 8080, "172.17.0.2", 80), t = fw_elem(FW_targets6), lb = fw_elem(FW_balance6);
	struct cs_fw_addr six = addr("fd00::12");
	cs_autostr struct cs_str s = CS_STR_INIT(4096);

	fw_format_elem(&s, e.set, e.bytes, e.bytes + e.klen);
	cs_str_puts(&s, "|");
	(void)fw_put_addr(fw_put_ifname(&t, "veth1"), &six);
	fw_format_elem(&s, t.set, t.bytes, NULL);
	cs_str_puts(&s, "|");
	(void)fw_put_port(fw_put_addr(fw_put_slot(fw_put_port(fw_put_proto(fw_put_addr(&lb, &six), 17), 53), 419), &six), 5353);
	fw_format_elem(&s, lb.set, lb.bytes, lb.bytes + lb.klen);
	assert_string_equal(s.buf, "10.1.2.3 . 6 . 8080 : 172.17.0.2 . 80|\"veth1\" . 0xfd000000000000000000000000000012|fd00::12 . 17 . 53 . 419 : fd00::12 . 5353");
	cs_str_clear(&s);
	fw_format_set(&s, FW_port4, "");
	fw_format_set(&s, FW_within, "");
	assert_string_equal(s.buf, "map port4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; set within { type ifname . ifname; ");
}

static size_t changes(struct fw_store *s, bool add)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_touched; i++)
		n += add ? fw_touched_adds(&s->touched[i]) : fw_touched_deletes(&s->touched[i]);
	return n;
}

static void the_store_counts_and_undoes(void **state)
{
	struct fw_store s = {0};
	struct fw_elem a = published("10.0.0.1", 1, "10.0.0.2", 1), other = published("10.0.0.1", 1, "10.0.0.3", 1);
	cs_autoerr struct cs_err *err = NULL;

	assert_int_equal(fw_store_ref(&s, &a, NULL), 0);
	assert_int_equal(fw_store_ref(&s, &a, NULL), 0);
	assert_int_equal(changes(&s, true), 1);
	fw_store_commit(&s);
	assert_true(fw_store_unref(&s, &a));
	assert_int_equal(changes(&s, false), 0);
	fw_store_commit(&s);
	assert_int_equal(fw_store_ref(&s, &other, &err), -1);
	assert_int_equal(cs_err_code(err), CS_ERR_CONFLICT);
	assert_string_equal(err->msg, "firewall: port4 has 10.0.0.1 . 6 . 1 : 10.0.0.2 . 1 already");
	fw_store_abort(&s);
	/* replaced by other data: deleted and added */
	assert_false(fw_store_unref(&s, &other));
	assert_true(fw_store_unref(&s, &a));
	assert_false(fw_store_unref(&s, &a));
	assert_int_equal(fw_store_ref(&s, &other, NULL), 0);
	assert_int_equal(changes(&s, false), 1);
	assert_int_equal(changes(&s, true), 1);
	fw_store_abort(&s);
	/* gone and back again: nothing happened */
	assert_true(fw_store_has(&s, &a));
	assert_true(fw_store_unref(&s, &a));
	assert_false(fw_store_has(&s, &a));
	assert_int_equal(changes(&s, false), 1);
	assert_int_equal(fw_store_ref(&s, &a, NULL), 0);
	assert_int_equal(changes(&s, false) + changes(&s, true), 0);
	assert_true(fw_store_unref(&s, &a));
	fw_store_commit(&s);
	assert_int_equal(s.n, 0);
	/* added and undone */
	assert_int_equal(fw_store_ref(&s, &a, NULL), 0);
	fw_store_abort(&s);
	assert_int_equal(s.n, 0);
	fw_store_done(&s);
}

static void the_store_finds_everything_after_growing_and_shrinking(void **state)
{
	struct fw_store s = {0};

	for (unsigned i = 1; i <= 5000; i++) {
		struct fw_elem e = published("10.0.0.1", (uint16_t)i, "10.0.0.2", 1);
		assert_int_equal(fw_store_ref(&s, &e, NULL), 0);
	}
	fw_store_commit(&s);
	for (unsigned i = 1; i <= 5000; i += 2) {
		struct fw_elem e = published("10.0.0.1", (uint16_t)i, "10.0.0.2", 1);
		assert_true(fw_store_unref(&s, &e));
	}
	fw_store_commit(&s);
	assert_int_equal(s.n, 2500);
	for (unsigned i = 1; i <= 5000; i++) {
		struct fw_elem e = published("10.0.0.1", (uint16_t)i, "10.0.0.2", 1);
		assert_int_equal(fw_store_has(&s, &e), i % 2 == 0);
	}
	fw_store_done(&s);
}

#define IN "goto entering_known\n"
#define OUT "goto leaving_known\n"

static void acls_become_rules(void **state)
{
	static const struct {
		struct cs_firewall_acl acl;
		const char *in, *out;
	} cases[] = {
		{{.block = true}, "drop\n" IN, NULL},
		{{.out = true}, NULL, OUT OUT},
		{{.protocols = "6, UDP", .local_ports = "80,90-100,95-110,111"}, "meta l4proto { 6, 17 } th dport { 80, 90-111 } " IN IN, NULL},
		{{.out = true, .block = true, .local_ports = "1", .remote_ports = "65535"}, NULL, "meta l4proto { 6, 17, 132 } th sport { 1 } th dport { 65535 } drop\n" OUT},
		{{.block = true, .local_addresses = "10.0.0.1,fd00::1", .remote_addresses = "192.168.0.0/16, ::/0"},
		 "ip daddr 10.0.0.1/32 ip saddr 192.168.0.0/16 drop\nip6 daddr fd00::1/128 ether type ip6 drop\n" IN, NULL},
		{{.local_addresses = "10.0.0.1", .remote_addresses = "fd00::/8"}, IN, NULL}, /* matches nothing */
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		char *in = NULL, *out = NULL;

		assert_int_equal(fw_acl_rules(&cases[i].acl, 1, &in, &out, NULL), 0);
		assert_int_equal(!in, !cases[i].in);
		assert_int_equal(!out, !cases[i].out);
		if (in)
			assert_string_equal(in, cases[i].in);
		if (out)
			assert_string_equal(out, cases[i].out);
		free(in);
		free(out);
	}
}

static void acls_in_the_order_of_their_priorities(void **state)
{
	const struct cs_firewall_acl acls[] = {{.priority = 5, .protocols = "1"}, {.priority = 9, .block = true}, {.priority = 1, .protocols = "2"}, {.priority = 5, .protocols = "3"}};
	char *in, *out;

	assert_int_equal(fw_acl_rules(acls, CS_ARRAY_SIZE(acls), &in, &out, NULL), 0);
	assert_string_equal(in, "meta l4proto { 2 } " IN "meta l4proto { 1 } " IN "meta l4proto { 3 } " IN "drop\n" IN);
	assert_null(out);
	free(in);
	assert_int_equal(fw_acl_rules(NULL, 0, &in, &out, NULL), 0);
	assert_null(in);
}

static void acls_that_are_wrong_say_where(void **state)
{
	static const struct {
		struct cs_firewall_acl acl;
		const char *text;
	} cases[] = {
		{{.protocols = "256"}, "ACL policy 2: Protocols: \"256\" is not valid"},
		{{.protocols = "6,"}, "ACL policy 2: Protocols: \"\" is not valid"},
		{{.protocols = "1", .local_ports = "80"}, "ACL policy 2: protocol 1 has no ports"},
		{{.local_ports = "80-79"}, "ACL policy 2: LocalPorts: \"80-79\" is not valid"},
		{{.remote_ports = "0"}, "ACL policy 2: RemotePorts: \"0\" is not valid"},
		{{.remote_ports = "65536"}, "ACL policy 2: RemotePorts: \"65536\" is not valid"},
		{{.local_addresses = "10.0.0"}, "ACL policy 2: LocalAddresses: \"10.0.0\" is not valid"},
		{{.remote_addresses = "fd00::/129"}, "ACL policy 2: RemoteAddresses: \"fd00::/129\" is not valid"},
		{{.remote_addresses = "10.0.0.1\n drop"}, "ACL policy 2: RemoteAddresses: \"10.0.0.1\n drop\" is not valid"},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		struct cs_firewall_acl acls[2] = {{0}, cases[i].acl};
		cs_autoerr struct cs_err *err = NULL;
		char *in, *out;

		assert_int_equal(fw_acl_rules(acls, 2, &in, &out, &err), -1);
		assert_int_equal(cs_err_code(err), CS_ERR_INVALID);
		cs_autofree char *said = cs_err_text(err);
		assert_string_equal(said, cases[i].text);
	}
}

static void before_settle_only_the_model_changes(void **state)
{
	const struct cs_firewall_config config = {.table = "caisson-test"};
	const struct cs_firewall_network n = {.bridge = "br0", .icc = true};
	struct cs_firewall_port p = {.proto = IPPROTO_TCP, .host = {.family = AF_INET}, .host_port = 80, .to = addr("172.17.0.2"), .to_port = 80, .bridge = "br0"};
	cs_autostr struct cs_str s = CS_STR_INIT(65536);
	struct cs_firewall *fw;

	assert_int_equal(cs_firewall_open(&config, &fw, NULL), 0);
	assert_int_equal(cs_firewall_network_add(fw, &n, NULL), 0);
	assert_int_equal(cs_firewall_ports_add(fw, &p, 1, NULL), 0);
	assert_int_equal(cs_firewall_ports_add(fw, &p, 1, NULL), -1);
	assert_int_equal(cs_firewall_reachability(fw, &s, NULL), 0);
	assert_non_null(strstr(s.buf, "\"HostPort\":80,\"Address\":\"172.17.0.2\""));
	assert_int_equal(cs_firewall_ports_remove(fw, &p, 1, NULL), 0);
	assert_int_equal(cs_firewall_ports_remove(fw, &p, 1, NULL), 0);
	assert_int_equal(cs_firewall_ports_add(fw, &p, 1, NULL), 0);
	cs_firewall_close(fw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(elements_as_the_kernel_wants_them),
		cmocka_unit_test(elements_as_text),
		cmocka_unit_test(the_store_counts_and_undoes),
		cmocka_unit_test(the_store_finds_everything_after_growing_and_shrinking),
		cmocka_unit_test(acls_become_rules),
		cmocka_unit_test(acls_in_the_order_of_their_priorities),
		cmocka_unit_test(acls_that_are_wrong_say_where),
		cmocka_unit_test(before_settle_only_the_model_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
