/* SPDX-License-Identifier: Apache-2.0
 *
 * The embedded DNS without sockets: names, tables, answers; resolv.conf. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "network/dns_answer.h"
#include "network/dns_map.h"
#include "network/ldns_lib.h"
#include "network/resolv_conf.h"

enum { A = 1, NS = 2, PTR = 12, MX = 15, TXT = 16, AAAA = 28, SRV = 33, OPT = 41, IXFR = 251, AXFR = 252, ANY = 255 };
enum { NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED };

static struct cs_dns_table table;
static struct cs_dns_settings *seen;
static uint8_t out[CS_DNS_MESSAGE_MAX];
static struct cs_dns_query query;

/* A question as clients send it. */
struct ask {
	const char *name;
	unsigned type, class, edns, flags; /* class 0: IN; edns: size, 0: none */
	bool tcp;
};

static size_t build(const struct ask *a, uint8_t *msg)
{
	size_t n = CS_DNS_HEADER;
	unsigned class = a->class ? a->class : 1;

	memset(msg, 0, CS_DNS_HEADER);
	msg[0] = 0xab;
	msg[1] = 0xcd;
	msg[2] = (uint8_t)(1 | a->flags >> 8); /* RD */
	msg[3] = (uint8_t)a->flags;
	msg[5] = 1;
	for (const char *p = a->name; *p;) {
		size_t k = strcspn(p, ".");
		msg[n++] = (uint8_t)k;
		memcpy(msg + n, p, k);
		n += k;
		p += k + (p[k] == '.');
	}
	msg[n++] = 0;
	msg[n++] = (uint8_t)(a->type >> 8);
	msg[n++] = (uint8_t)a->type;
	msg[n++] = (uint8_t)(class >> 8);
	msg[n++] = (uint8_t)class;
	if (a->edns) {
		const uint8_t opt[11] = {0, 0, OPT, (uint8_t)(a->edns >> 8), (uint8_t)a->edns};
		memcpy(msg + n, opt, sizeof(opt));
		n += sizeof(opt);
		msg[11] = 1;
	}
	return n;
}

static enum cs_dns_verdict ask_with(const struct ask *a, uint64_t random, ldns_pkt **ret)
{
	uint8_t msg[1024];
	size_t len = build(a, msg), n = 0;
	enum cs_dns_verdict v = cs_dns_answer(&table, seen, msg, len, a->tcp, random, &query, out, &n);

	*ret = NULL;
	if (v != CS_DNS_REPLY)
		return v;
	assert_int_equal(cs_ldns.ldns_wire2pkt(ret, out, n), LDNS_STATUS_OK);
	assert_int_equal(out[0] << 8 | out[1], 0xabcd);
	assert_true(out[2] & 0x80);                    /* QR */
	assert_false(out[2] & 0x04);                   /* AA: not set by Docker */
	assert_int_equal(out[2] & 1, 1);               /* RD as asked */
	assert_true(out[3] & 0x80);                    /* RA */
	if (!a->tcp)
		assert_true(n <= (a->edns > 512 ? a->edns : 512));
	return v;
}

static unsigned rcode(void) { return out[3] & 15; }
static unsigned answers(void) { return (unsigned)(out[6] << 8 | out[7]); }
static unsigned additional(void) { return (unsigned)(out[10] << 8 | out[11]); }
static bool truncated(void) { return out[2] & 2; }

/* The answer's records as text of their data, sorted by the message's order: "10.0.0.2 10.0.0.3". */
static const char *ask(const char *name, unsigned type)
{
	static char text[1024];
	ldns_pkt *pkt;
	size_t n = 0;

	text[0] = 0;
	enum cs_dns_verdict v = ask_with(&(struct ask){.name = name, .type = type}, 1, &pkt);
	if (v == CS_DNS_FORWARD)
		return "forward";
	assert_int_equal(v, CS_DNS_REPLY);
	ldns_rr_list *list = ldns_pkt_answer(pkt);
	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		ldns_rr *rr = ldns_rr_list_rr(list, i);
		ldns_rdf *owner = ldns_rr_owner(rr), *asked = ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_question(pkt), 0));
		assert_int_equal(ldns_rdf_size(owner), ldns_rdf_size(asked));
		assert_memory_equal(ldns_rdf_data(owner), ldns_rdf_data(asked), ldns_rdf_size(owner)); /* in the question's case */
		assert_int_equal(ldns_rr_ttl(rr), 600);
		char *s = ldns_rdf2str(ldns_rr_rdf(rr, ldns_rr_rd_count(rr) - 1));
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n ? " " : "", s);
		free(s);
	}
	ldns_pkt_free(pkt);
	return text;
}

static void endpoint(const char *network, const char *id, const char *name, const char *alias, const char *a1, const char *a2)
{
	struct cs_resolver_addr addr[2];
	struct cs_resolver_port port = {"http", "tcp", 8080};
	struct cs_resolver_endpoint e = {.id = id, .name = name, .aliases = (const char *const[]){alias, NULL}, .addr = addr, .n_addr = a2 ? 2 : 1, .port = &port, .n_port = 1};
	struct cs_err *err = NULL;

	assert_int_equal(cs_resolver_addr_parse(a1, &addr[0]), 0);
	if (a2)
		assert_int_equal(cs_resolver_addr_parse(a2, &addr[1]), 0);
	assert_int_equal(cs_dns_endpoint_set(&table, network, &e, &err), 0);
}

static void see(const struct cs_resolver_settings *s)
{
	struct cs_dns_settings *old = seen;

	assert_int_equal(cs_dns_settings_new(&table, s, &seen, NULL), 0);
	cs_dns_settings_retire(&table, old);
}

static int setup(void **state)
{
	cs_dns_table_init(&table, -EBADF);
	seen = NULL;
	cs_dns_network_set(&table, "n1", "front");
	cs_dns_network_set(&table, "n2", "Back.End");
	endpoint("n1", "e1", "web", "app", "10.0.0.2", "fd00::2");
	endpoint("n1", "e2", "web2", "app", "10.0.0.3", NULL);
	endpoint("n2", "e3", "db", "store", "10.1.0.2", NULL);
	endpoint("n2", "e4", "six", "only.six", "fd01::2", NULL);
	see(&(struct cs_resolver_settings){.networks = (const char *const[]){"n1", NULL}});
	return cs_ldns_get(NULL);
}

static int teardown(void **state)
{
	cs_dns_settings_retire(&table, TAKE_PTR(seen));
	cs_dns_table_done(&table);
	cs_ldns_put();
	return 0;
}

static void names(void **state)
{
	struct cs_dns_name n, suffix, cut;
	char label64[65], long_name[300];
	uint8_t addr[16];

	memset(label64, 'a', 64);
	label64[64] = 0;
	assert_int_equal(cs_dns_name_parse(label64 + 1, &n), 0);
	assert_int_equal(n.len, 65);
	assert_int_equal(cs_dns_name_parse(label64, &n), -1);
	static const char *const bad[] = {"", ".", "a..b", ".a"};
	for (size_t i = 0; i < CS_ARRAY_SIZE(bad); i++)
		assert_int_equal(cs_dns_name_parse(bad[i], &n), -1);
	for (size_t i = 0; i < 127; i++)
		memcpy(long_name + 2 * i, "a.", 3);
	assert_int_equal(cs_dns_name_parse(long_name, &n), 0); /* 127 labels: 255 bytes */
	assert_int_equal(n.len, 255);
	memcpy(long_name + 254, "a", 2);
	assert_int_equal(cs_dns_name_parse(long_name, &n), -1);

	assert_int_equal(cs_dns_name_parse("Web.FRONT.", &n), 0);
	assert_memory_equal(n.wire, "\3web\5front", 11);
	assert_int_equal(cs_dns_name_parse("front", &suffix), 0);
	assert_true(cs_dns_name_cut(&n, &suffix, &cut));
	assert_int_equal(cut.len, 5);
	assert_memory_equal(cut.wire, "\3web", 5);
	assert_false(cs_dns_name_cut(&suffix, &suffix, &cut)); /* nothing before it */
	/* a label that ends like the suffix's wire form is no border */
	struct cs_dns_name trap = {.len = 9, .wire = "\7x\5front"};
	assert_false(cs_dns_name_cut(&trap, &suffix, &cut));
	assert_true(cs_dns_name_join(&cut, &suffix, &n));
	assert_int_equal(cs_dns_name_labels(&n), 2);

	static const struct {
		const char *name;
		size_t len;
		const char *bytes;
	} reverse[] = {
		{"4.3.2.1.in-addr.arpa", 4, "\1\2\3\4"},
		{"255.0.0.10.IN-ADDR.ARPA", 4, "\12\0\0\377"},
		{"256.0.0.10.in-addr.arpa", 0, NULL},
		{"01.0.0.10.in-addr.arpa", 0, NULL},
		{"0.0.10.in-addr.arpa", 0, NULL},
		{"5.4.3.2.1.in-addr.arpa", 0, NULL},
		{"x.0.0.10.in-addr.arpa", 0, NULL},
		{"in-addr.arpa", 0, NULL},
		{"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.F.ip6.arpa", 16, "\375\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2"},
		{"g.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", 0, NULL},
		{"0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", 0, NULL},
	};
	for (size_t i = 0; i < CS_ARRAY_SIZE(reverse); i++) {
		assert_int_equal(cs_dns_name_parse(reverse[i].name, &n), 0);
		assert_int_equal(cs_dns_name_reverse(&n, addr), reverse[i].len);
		if (reverse[i].len)
			assert_memory_equal(addr, reverse[i].bytes, reverse[i].len);
	}
}

static void addresses(void **state)
{
	assert_string_equal(ask("web", A), "10.0.0.2");
	assert_string_equal(ask("WeB", A), "10.0.0.2");
	assert_string_equal(ask("web", AAAA), "fd00::2");
	assert_string_equal(ask("web.front", A), "10.0.0.2");
	assert_string_equal(ask("web.FRONT", A), "10.0.0.2");
	assert_string_equal(ask("app", AAAA), "fd00::2");
	/* there, but not of that type: NODATA at once */
	assert_string_equal(ask("web2", AAAA), "");
	assert_int_equal(rcode(), NOERROR);
	assert_string_equal(ask("web", MX), "");
	assert_string_equal(ask("web", TXT), "");
	assert_string_equal(ask("web", 65), ""); /* HTTPS */
	/* not ours, or on a network that we are not attached to */
	static const char *const foreign[] = {"db", "db.back.end", "example.com", "nosuch", "x.web", "web.back", "front", "web.front.front"};
	for (size_t i = 0; i < CS_ARRAY_SIZE(foreign); i++)
		assert_string_equal(ask(foreign[i], A), "forward");
	see(&(struct cs_resolver_settings){.networks = (const char *const[]){"n2", "n1", NULL}});
	assert_string_equal(ask("db", A), "10.1.0.2");
	assert_string_equal(ask("db.back.end", A), "10.1.0.2");
	assert_string_equal(ask("db.front", A), "forward");
	assert_string_equal(ask("six", A), "");
	assert_string_equal(ask("only.six", AAAA), "fd01::2");
	assert_string_equal(ask("only.six.Back.End", AAAA), "fd01::2");
}

static void several(void **state)
{
	bool first[2] = {false};

	for (uint64_t i = 1; i < 40; i++) {
		ldns_pkt *pkt;
		assert_int_equal(ask_with(&(struct ask){.name = "app", .type = A}, i * 0x9e3779b97f4a7c15, &pkt), CS_DNS_REPLY);
		assert_int_equal(answers(), 2);
		ldns_rr *rr = ldns_rr_list_rr(ldns_pkt_answer(pkt), 0);
		first[ldns_rdf_data(ldns_rr_rdf(rr, 0))[3] - 2] = true;
		ldns_pkt_free(pkt);
	}
	assert_true(first[0] && first[1]);
	cs_dns_endpoint_remove(&table, "n1", "e1");
	assert_string_equal(ask("app", A), "10.0.0.3");
	assert_string_equal(ask("web", A), "forward");
	assert_string_equal(ask("2.0.0.10.in-addr.arpa", PTR), "forward");
	endpoint("n1", "e2", "web2", "other", "10.0.0.9", NULL); /* replaced */
	assert_string_equal(ask("app", A), "forward");
	assert_string_equal(ask("other", A), "10.0.0.9");
	assert_string_equal(ask("3.0.0.10.in-addr.arpa", PTR), "forward");
	cs_dns_network_set(&table, "n1", "renamed");
	assert_string_equal(ask("other.front", A), "forward");
	assert_string_equal(ask("other.renamed", A), "10.0.0.9");
	cs_dns_network_remove(&table, "n1");
	assert_string_equal(ask("other", A), "forward");
	cs_dns_network_set(&table, "n1", "front"); /* the settings still name it */
	endpoint("n1", "e7", "late", NULL, "10.0.0.7", NULL);
	assert_string_equal(ask("late", A), "10.0.0.7");
}

static void endpoints_refused(void **state)
{
	struct cs_resolver_addr addr = {.family = AF_INET};
	struct cs_resolver_endpoint e = {.id = "x", .name = "ok", .addr = &addr, .n_addr = 1};
	struct cs_err *err = NULL;

	assert_int_equal(cs_dns_endpoint_set(&table, "nosuch", &e, &err), -1);
	assert_int_equal(cs_err_code(err), CS_ERR_NOT_FOUND);
	cs_err_free(TAKE_PTR(err));
	e.n_addr = 0;
	assert_int_equal(cs_dns_endpoint_set(&table, "n1", &e, &err), -1);
	assert_int_equal(cs_err_code(err), CS_ERR_INVALID);
	cs_err_free(TAKE_PTR(err));
	e.n_addr = 1;
	/* what Docker takes as a name and DNS does not is left out, and no reason not to start a container */
	e.name = "a-name-of-more-than-sixty-three-bytes-as-compose-makes-them-of-long-projects-1";
	e.aliases = (const char *const[]){"fine", "not..fine", NULL};
	inet_pton(AF_INET, "10.0.0.8", &addr.v4);
	assert_int_equal(cs_dns_endpoint_set(&table, "n1", &e, &err), 0);
	assert_string_equal(ask("fine", A), "10.0.0.8");
	assert_string_equal(ask("8.0.0.10.in-addr.arpa", PTR), "forward");
	cs_dns_endpoint_remove(&table, "n1", "x");
	assert_string_equal(ask("fine", A), "forward");
	e.port = &(struct cs_resolver_port){"..", "tcp", 1};
	e.n_port = 1;
	assert_int_equal(cs_dns_endpoint_set(&table, "n1", &e, &err), -1);
	assert_int_equal(cs_err_code(err), CS_ERR_INVALID);
	cs_err_free(TAKE_PTR(err));
	assert_string_equal(ask("fine", A), "forward");
}

static void reverse(void **state)
{
	assert_string_equal(ask("2.0.0.10.in-addr.arpa", PTR), "web.front.");
	assert_string_equal(ask("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.F.IP6.arpa", PTR), "web.front.");
	assert_string_equal(ask("2.0.1.10.in-addr.arpa", PTR), "forward"); /* db: another network */
	assert_string_equal(ask("9.9.9.9.in-addr.arpa", PTR), "forward");
	assert_string_equal(ask("2.0.0.10.in-addr.arpa", A), "forward");
	cs_dns_network_set(&table, "n1", "a network..with an odd name");
	assert_string_equal(ask("2.0.0.10.in-addr.arpa", PTR), "web.");
}

static void services(void **state)
{
	assert_string_equal(ask("_http._tcp.web", SRV), "web.");
	assert_int_equal(additional(), 2);
	assert_string_equal(ask("_HTTP._tcp.app.front", SRV), "web. web2.");
	assert_int_equal(additional(), 3);
	assert_string_equal(ask("_ftp._tcp.web", SRV), "");
	assert_int_equal(rcode(), NXDOMAIN);
	assert_string_equal(ask("web", SRV), "");
	assert_int_equal(rcode(), NOERROR);
	static const char *const foreign[] = {"_http._tcp.example.com", "_http._tcp", "http._tcp.web", "_http.tcp.web", "_sip._udp.db"};
	for (size_t i = 0; i < CS_ARRAY_SIZE(foreign); i++)
		assert_string_equal(ask(foreign[i], SRV), "forward");
}

static void links(void **state)
{
	struct cs_resolver_link link[] = {{"n2", "..", "db"}, {"n2", "database", "db"}, {"n2", "web", "db"}, {"n2", "gone", "nobody"}};

	see(&(struct cs_resolver_settings){.networks = (const char *const[]){"n1", NULL}, .link = link, .n_link = 4});
	assert_string_equal(ask("database", A), "10.1.0.2");
	assert_string_equal(ask("web", A), "10.1.0.2"); /* before the network's own */
	assert_string_equal(ask("gone", A), "forward");
	assert_string_equal(ask("db", A), "forward");
	endpoint("n2", "e3", "db", "store", "10.1.0.77", NULL); /* restarted */
	assert_string_equal(ask("database", A), "10.1.0.77");
}

static void ndots(void **state)
{
	see(&(struct cs_resolver_settings){.networks = (const char *const[]){"n1", NULL}, .ndots_set = true});
	assert_string_equal(ask("nosuch", A), "");
	assert_int_equal(rcode(), NOERROR);
	assert_string_equal(ask("nosuch", MX), "forward");
	assert_string_equal(ask("nosuch.example", A), "forward");
	assert_string_equal(ask("web", A), "10.0.0.2");
}

static void settings_refused(void **state)
{
	struct cs_dns_settings *s;
	struct cs_err *err = NULL;
	static const char *const nine[] = {"1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5", "1.1.1.6", "1.1.1.7", "1.1.1.8", "1.1.1.9", NULL};

	assert_int_equal(cs_dns_settings_new(&table, &(struct cs_resolver_settings){.servers = (const char *const[]){"dns.example", NULL}}, &s, &err), -1);
	assert_int_equal(cs_err_code(err), CS_ERR_INVALID);
	cs_err_free(TAKE_PTR(err));
	assert_int_equal(cs_dns_settings_new(&table, &(struct cs_resolver_settings){.servers = nine}, &s, &err), -1);
	cs_err_free(TAKE_PTR(err));
	/* ourselves: no server, but no reason to ask the host's either */
	assert_int_equal(cs_dns_settings_new(&table, &(struct cs_resolver_settings){.servers = (const char *const[]){"127.0.0.11", "fe80::1", NULL}}, &s, &err), 0);
	assert_true(s->own_servers);
	assert_int_equal(s->n_server, 1);
	cs_dns_settings_retire(&table, s);
	assert_int_equal(cs_dns_settings_new(&table, &(struct cs_resolver_settings){.servers = (const char *const[]){"fe80::1%lo", NULL}}, &s, NULL), -1);
	union cs_dns_sockaddr a;
	assert_int_equal(cs_dns_server_parse("fe80::1%lo", &a), 0); /* of the host's file */
	assert_int_equal(a.v6.sin6_scope_id, 1);
	assert_int_equal(cs_dns_server_parse("10.0.0.1%lo", &a), -1);
}

static void edns(void **state)
{
	ldns_pkt *pkt;

	assert_int_equal(ask_with(&(struct ask){.name = "web", .type = A, .edns = 1232}, 1, &pkt), CS_DNS_REPLY);
	assert_true(ldns_pkt_edns(pkt));
	assert_int_equal(ldns_pkt_edns_udp_size(pkt), CS_DNS_UDP_MAX);
	assert_int_equal(ldns_pkt_edns_version(pkt), 0);
	assert_int_equal(query.limit, 1232);
	ldns_pkt_free(pkt);
	assert_int_equal(ask_with(&(struct ask){.name = "web", .type = A}, 1, &pkt), CS_DNS_REPLY);
	assert_false(ldns_pkt_edns(pkt));
	ldns_pkt_free(pkt);
	assert_int_equal(ask_with(&(struct ask){.name = "nosuch", .type = A, .edns = 65000}, 1, &pkt), CS_DNS_FORWARD);
	assert_int_equal(query.limit, CS_DNS_UDP_MAX);
	assert_int_equal(ask_with(&(struct ask){.name = "nosuch", .type = A, .edns = 100}, 1, &pkt), CS_DNS_FORWARD);
	assert_int_equal(query.limit, CS_DNS_UDP_MIN);

	uint8_t msg[256];
	size_t n = 0, len = build(&(struct ask){.name = "web", .type = A, .edns = 1232}, msg);
	msg[len - 5] = 1; /* version 1 */
	assert_int_equal(cs_dns_answer(&table, seen, msg, len, false, 1, &query, out, &n), CS_DNS_REPLY);
	assert_int_equal(cs_ldns.ldns_wire2pkt(&pkt, out, n), LDNS_STATUS_OK);
	assert_int_equal(ldns_pkt_edns_extended_rcode(pkt) << 4 | ldns_pkt_get_rcode(pkt), 16); /* BADVERS */
	assert_int_equal(answers(), 0);
	ldns_pkt_free(pkt);
	msg[len - 5] = 0;
	memcpy(msg + len, msg + len - 11, 11); /* a second OPT */
	msg[11] = 2;
	assert_int_equal(cs_dns_answer(&table, seen, msg, len + 11, false, 1, &query, out, &n), CS_DNS_REPLY);
	assert_int_equal(rcode(), FORMERR);
}

static void truncation(void **state)
{
	ldns_pkt *pkt;
	char id[16], addr[32];

	for (int i = 0; i < 300; i++) {
		snprintf(id, sizeof(id), "m%d", i);
		snprintf(addr, sizeof(addr), "10.2.%d.%d", i / 250, i % 250 + 1);
		endpoint("n1", id, id, "many", addr, NULL);
	}
	assert_int_equal(ask_with(&(struct ask){.name = "many", .type = A}, 1, &pkt), CS_DNS_REPLY);
	assert_true(truncated());
	assert_in_range(answers(), 25, 30); /* as many as fit, for clients that do not come back over TCP */
	ldns_pkt_free(pkt);
	assert_int_equal(ask_with(&(struct ask){.name = "many", .type = A, .edns = 1232}, 1, &pkt), CS_DNS_REPLY);
	assert_true(truncated());
	assert_in_range(answers(), 70, 76);
	ldns_pkt_free(pkt);
	assert_int_equal(ask_with(&(struct ask){.name = "many", .type = A, .tcp = true}, 1, &pkt), CS_DNS_REPLY);
	assert_false(truncated());
	assert_int_equal(answers(), 300);
	/* each owner is a pointer to the question's name */
	size_t n = CS_DNS_HEADER + 6 + 4;
	assert_int_equal(out[n], 0xc0);
	assert_int_equal(out[n + 1], CS_DNS_HEADER);
	ldns_pkt_free(pkt);
	/* services: 18 bytes and the target's name; their addresses are no reason for TC */
	assert_int_equal(ask_with(&(struct ask){.name = "_http._tcp.many", .type = SRV}, 1, &pkt), CS_DNS_REPLY);
	assert_true(truncated());
	assert_in_range(answers(), 17, 22);
	ldns_pkt_free(pkt);
	assert_int_equal(ask_with(&(struct ask){.name = "_http._tcp.many", .type = SRV, .edns = 4096}, 1, &pkt), CS_DNS_REPLY);
	assert_true(truncated());
	assert_in_range(answers(), 165, 180);
	ldns_pkt_free(pkt);
	assert_int_equal(ask_with(&(struct ask){.name = "_http._tcp.many", .type = SRV, .tcp = true}, 1, &pkt), CS_DNS_REPLY);
	assert_false(truncated());
	assert_int_equal(answers(), 300);
	assert_int_equal(additional(), 300);
	ldns_pkt_free(pkt);
	for (int i = 0; i < 15; i++) {
		snprintf(id, sizeof(id), "f%d", i);
		snprintf(addr, sizeof(addr), "10.3.0.%d", i + 1);
		endpoint("n1", id, id, "fifteen", addr, NULL);
	}
	assert_int_equal(ask_with(&(struct ask){.name = "_http._tcp.fifteen", .type = SRV}, 1, &pkt), CS_DNS_REPLY);
	assert_false(truncated());
	assert_int_equal(answers(), 15);
	assert_in_range(additional(), 1, 14);
	ldns_pkt_free(pkt);
	for (int i = 0; i < 300; i++) {
		snprintf(id, sizeof(id), "m%d", i);
		snprintf(addr, sizeof(addr), "10.2.%d.%d", i / 250, i % 250 + 1);
		assert_string_equal(ask(id, A), addr);
		cs_dns_endpoint_remove(&table, "n1", id);
		assert_string_equal(ask(id, A), "forward");
		if (i % 7 == 0)
			cs_dns_table_quiesce(&table);
	}
	assert_string_equal(ask("many", A), "forward");
	assert_string_equal(ask("web", A), "10.0.0.2");
}

static void bad_queries(void **state)
{
	uint8_t msg[1024];
	size_t len = build(&(struct ask){.name = "web", .type = A}, msg), n;
	ldns_pkt *pkt;
	static const struct {
		unsigned at, is, verdict, rcode;
	} change[] = {
		{2, 0x81, CS_DNS_DROP, 0},         /* an answer */
		{2, 0x11, CS_DNS_REPLY, NOTIMP},   /* status */
		{2, 0x29, CS_DNS_REPLY, NOTIMP},   /* update */
		{5, 0, CS_DNS_REPLY, FORMERR},     /* no question */
		{5, 2, CS_DNS_REPLY, FORMERR},     /* two */
		{7, 1, CS_DNS_REPLY, FORMERR},     /* an answer in a query */
		{9, 1, CS_DNS_REPLY, FORMERR},
		{11, 1, CS_DNS_REPLY, FORMERR},    /* announced, and not there */
		{12, 0xc0, CS_DNS_REPLY, FORMERR}, /* pointers: forward, into the header, to itself */
		{12, 0x40, CS_DNS_REPLY, FORMERR},
		{12, 63, CS_DNS_REPLY, FORMERR},   /* over the end */
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(change); i++) {
		uint8_t copy[1024];
		memcpy(copy, msg, len);
		copy[change[i].at] = (uint8_t)change[i].is;
		assert_int_equal(cs_dns_answer(&table, seen, copy, len, false, 1, &query, out, &n), change[i].verdict);
		if (change[i].verdict == CS_DNS_REPLY) {
			assert_int_equal(rcode(), change[i].rcode);
			assert_int_equal(n, CS_DNS_HEADER);
			assert_int_equal(out[0], 0xab);
			assert_true(out[2] & 0x80);
		}
	}
	for (uint8_t at = 0; at < 14; at++) { /* a name that is a pointer to itself, or to a byte of the header */
		const uint8_t loop[] = {0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, at, 0, 1, 0, 1};
		assert_int_equal(cs_dns_answer(&table, seen, loop, sizeof(loop), false, 1, &query, out, &n), CS_DNS_REPLY);
		assert_int_equal(rcode(), FORMERR);
	}
	for (size_t short_len = 0; short_len < len; short_len++) {
		enum cs_dns_verdict v = cs_dns_answer(&table, seen, msg, short_len, false, 1, &query, out, &n);
		assert_int_equal(v, short_len < CS_DNS_HEADER ? CS_DNS_DROP : CS_DNS_REPLY);
		assert_true(query.malformed);
	}
	static const struct ask refused[] = {{"web", A, .class = 3}, {"web", A, .class = 255}, {"web", AXFR}, {"web", IXFR}, {"web", 0}, {"web", OPT}, {"web", 250}, {"example.com", ANY}};
	for (size_t i = 0; i < CS_ARRAY_SIZE(refused); i++) {
		assert_int_equal(ask_with(&refused[i], 1, &pkt), CS_DNS_REPLY);
		assert_int_equal(rcode(), REFUSED);
		assert_true(query.refused);
		ldns_pkt_free(pkt);
	}
	assert_int_equal(ask_with(&(struct ask){.name = "web", .type = ANY}, 1, &pkt), CS_DNS_REPLY);
	assert_int_equal(answers(), 1); /* one of the sets */
	ldns_pkt_free(pkt);
	struct cs_dns_settings *none = NULL;
	assert_int_equal(cs_dns_answer(&table, none, msg, len, false, 1, &query, out, &n), CS_DNS_REPLY);
	assert_int_equal(rcode(), REFUSED);
}

static void upstream_answers(void **state)
{
	uint8_t asked[256], answer[600];
	size_t n = 0, len = build(&(struct ask){.name = "Example.COM", .type = A}, asked), a_len;

	assert_int_equal(cs_dns_answer(&table, seen, asked, len, false, 1, &query, out, &n), CS_DNS_FORWARD);
	a_len = build(&(struct ask){.name = "example.com", .type = A}, answer);
	answer[0] = 0x12;
	answer[1] = 0x34;
	answer[2] |= 0x80;
	const uint8_t record[] = {0xc0, 12, 0, A, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1};
	memcpy(answer + a_len, record, sizeof(record));
	a_len += sizeof(record);
	answer[7] = 1;
	assert_true(cs_dns_is_answer(&query, asked, 0x1234, answer, a_len));
	assert_false(cs_dns_is_answer(&query, asked, 0x1235, answer, a_len)); /* id */
	assert_false(cs_dns_is_answer(&query, asked, 0x1234, answer, a_len - 1)); /* cut */
	static const unsigned at[] = {2, 5, 13, 12 + 13, 12 + 13 + 1, 12 + 13 + 3}; /* no answer, two questions, name, type, class */
	static const uint8_t is[] = {1, 2, 'x', 1, AAAA, 3};
	for (size_t i = 0; i < CS_ARRAY_SIZE(at); i++) {
		uint8_t was = answer[at[i]];
		answer[at[i]] = is[i];
		assert_false(cs_dns_is_answer(&query, asked, 0x1234, answer, a_len));
		answer[at[i]] = was;
	}
	assert_int_equal(cs_dns_pass_on(&query, asked, answer, a_len), a_len);
	assert_memory_equal(answer, "\xab\xcd", 2);
	assert_memory_equal(answer + CS_DNS_HEADER, "\7Example\3COM", 12); /* as the client spells it */
	query.limit = 40;
	assert_int_equal(cs_dns_pass_on(&query, asked, answer, a_len), CS_DNS_HEADER + 13 + 4);
	assert_true(answer[2] & 2);
	assert_int_equal(answer[7], 0);
	assert_int_equal(cs_dns_failure(&query, asked, SERVFAIL, out), CS_DNS_HEADER + 13 + 4);
	assert_int_equal(rcode(), SERVFAIL);
}

static void check_text(const struct cs_resolv_conf_settings *s, const char *expected)
{
	cs_autofree char *text = cs_resolv_conf_text(s);

	assert_non_null(text);
	assert_string_equal(text, expected);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void resolv_conf(void **state)
{
	struct cs_resolv_conf c;

	cs_resolv_conf_parse("# comment\nnameserver 10.0.0.1\n nameserver\t::1 # x\nnameserver nonsense\nnameserver fe80::1%lo\nsearch a b\ndomain c\n"
			     "options ndots:2\noptions rotate\nsortlist x\nnameserver",
		&c);
	assert_string_equal(c.servers[0], "10.0.0.1");
	assert_string_equal(c.servers[1], "::1");
	assert_string_equal(c.servers[2], "fe80::1%lo");
	assert_null(c.servers[3]);
	assert_string_equal(c.search[0], "c");
	assert_null(c.search[1]);
	assert_string_equal(c.options[1], "rotate");
	assert_string_equal(c.other[0], "sortlist x");
	assert_null(c.other[1]);
	cs_resolv_conf_done(&c);

	check_text(&(struct cs_resolv_conf_settings){.host_path = "/etc/resolv.conf", .host_text = "nameserver 10.0.0.1\nnameserver ::1\nsearch corp\n;x\nsortlist 10.0.0.0\noptions rotate\n", .embedded = true},
		"# Generated by Caisson.\n\nnameserver 127.0.0.11\nsearch corp\noptions rotate ndots:0\nsortlist 10.0.0.0\n\n# Based on host file: '/etc/resolv.conf' (internal resolver)\n"
		"# ExtServers: [host(10.0.0.1) host(::1)]\n# Overrides: []\n# Option ndots from: internal\n");
	check_text(&(struct cs_resolv_conf_settings){.host_path = "/x", .host_text = "nameserver 10.0.0.1\nsearch corp\noptions ndots:7\n", .embedded = true,
			   .servers = LIST("1.2.3.4", "::1"), .search = LIST("."), .options = LIST("ndots:no", "timeout:1", "ndots:2")},
		"# Generated by Caisson.\n\nnameserver 127.0.0.11\noptions timeout:1 ndots:2\n\n# Based on host file: '/x' (internal resolver)\n"
		"# ExtServers: [1.2.3.4 ::1]\n# Overrides: [nameservers search options]\n# Option ndots from: override\n");
	check_text(&(struct cs_resolv_conf_settings){.host_path = "/x", .host_text = "nameserver 127.0.0.53\nnameserver 10.0.0.1\noptions ndots:7\n"},
		"# Generated by Caisson.\n\nnameserver 10.0.0.1\noptions ndots:7\n\n# Based on host file: '/x' (legacy)\n# Overrides: []\n# Option ndots from: host\n");
	check_text(&(struct cs_resolv_conf_settings){.host_path = "/x", .host_text = "nameserver 127.0.0.53\n"},
		"# Generated by Caisson.\n\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n\n# Based on host file: '/x' (legacy)\n# Used default nameservers.\n# Overrides: []\n");
	check_text(&(struct cs_resolv_conf_settings){.host_path = "/x", .host_text = NULL, .servers = LIST("127.0.0.1")},
		"# Generated by Caisson.\n\nnameserver 127.0.0.1\n\n# Based on host file: '/x' (legacy)\n# Overrides: [nameservers]\n");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(names), T(addresses), T(several), T(endpoints_refused), T(reverse), T(services), T(links), T(ndots), T(settings_refused), T(edns), T(truncation),
		T(bad_queries), T(upstream_answers), cmocka_unit_test(resolv_conf),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
