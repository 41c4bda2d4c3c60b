/* SPDX-License-Identifier: Apache-2.0
 *
 * The answers of the embedded DNS. The header's few bits are looked at here, since a message without a sound header is not worth parsing;
 * everything behind it is libldns' job. */
#include "network/dns_answer.h"

#include <string.h>

#include "network/ldns_lib.h"

#define FIXED_A 16    /* pointer to the question's name, type, class, TTL, length, address */
#define FIXED_AAAA 28
#define FIXED_SRV 18  /* and the target, which is not compressed (RFC 2782) */
#define OPT_BYTES 11

enum { TYPE_META_FIRST = 249, TYPE_META_LAST = 254 }; /* TKEY, TSIG, IXFR, AXFR, MAILB, MAILA: nothing that a stub resolver asks */

static void cleanup_pkt(ldns_pkt **p)
{
	if (*p)
		cs_ldns.ldns_pkt_free(*p);
}
#define autopkt cs_auto(cleanup_pkt)

/* The header alone, for messages of which the rest is not understood. */
static size_t bare(const uint8_t *msg, unsigned rcode, uint8_t *out)
{
	memset(out, 0, CS_DNS_HEADER);
	out[0] = msg[0];
	out[1] = msg[1];
	out[2] = (uint8_t)(LDNS_QR_MASK | (msg[2] & (LDNS_OPCODE_MASK | LDNS_RD_MASK)));
	out[3] = (uint8_t)(LDNS_RA_MASK | rcode);
	return CS_DNS_HEADER;
}

static unsigned count(const uint8_t *msg, size_t at) { return (unsigned)msg[at] << 8 | msg[at + 1]; }

struct reply {
	ldns_pkt *pkt;
	const ldns_rr *question;
	size_t limit;
};

static void reply_init(struct reply *r, const ldns_pkt *query, const ldns_rr *question, const uint8_t *msg, const struct cs_dns_query *q, unsigned rcode)
{
	r->pkt = cs_ldns.ldns_pkt_new();
	r->question = question;
	r->limit = q->limit;
	cs_ldns.ldns_pkt_set_id(r->pkt, q->id);
	cs_ldns.ldns_pkt_set_qr(r->pkt, true);
	cs_ldns.ldns_pkt_set_rd(r->pkt, LDNS_RD_WIRE(msg) != 0);
	cs_ldns.ldns_pkt_set_ra(r->pkt, true);
	cs_ldns.ldns_pkt_set_rcode(r->pkt, (uint8_t)(rcode & 15));
	cs_ldns.ldns_pkt_push_rr(r->pkt, LDNS_SECTION_QUESTION, cs_ldns.ldns_rr_clone(question));
	if (cs_ldns.ldns_pkt_edns(query)) { /* RFC 6891 6.1.1: the answer to an OPT has one */
		cs_ldns.ldns_pkt_set_edns_udp_size(r->pkt, CS_DNS_UDP_MAX);
		cs_ldns.ldns_pkt_set_edns_do(r->pkt, cs_ldns.ldns_pkt_edns_do(query));
		cs_ldns.ldns_pkt_set_edns_extended_rcode(r->pkt, (uint8_t)(rcode >> 4));
	}
}

static ldns_rdf *name_rdf(const uint8_t *wire, size_t len) { return cs_ldns.ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, len, wire); }

static ldns_rr *record(ldns_rr_type type, ldns_rdf *owner)
{
	ldns_rr *rr = cs_ldns.ldns_rr_new(); /* class IN */

	cs_ldns.ldns_rr_set_type(rr, type);
	cs_ldns.ldns_rr_set_ttl(rr, CS_DNS_TTL);
	cs_ldns.ldns_rr_set_owner(rr, owner);
	return rr;
}

static ldns_rdf *asked(const struct reply *r) /* in the client's spelling */
{
	ldns_rdf *owner = cs_ldns.ldns_rr_owner(r->question);

	return cs_ldns.ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, cs_ldns.ldns_rdf_size(owner), cs_ldns.ldns_rdf_data(owner));
}

static void put_addr(struct reply *r, ldns_pkt_section section, ldns_rdf *owner, const struct cs_resolver_addr *a)
{
	bool v4 = a->family == AF_INET;
	ldns_rr *rr = record(v4 ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA, owner);

	cs_ldns.ldns_rr_push_rdf(rr, cs_ldns.ldns_rdf_new_frm_data(v4 ? LDNS_RDF_TYPE_A : LDNS_RDF_TYPE_AAAA, v4 ? 4 : 16, &a->v6));
	cs_ldns.ldns_pkt_push_rr(r->pkt, section, rr);
}

static uint64_t step(uint64_t *x) /* xorshift64*: an order, not a secret */
{
	*x ^= *x >> 12;
	*x ^= *x << 25;
	*x ^= *x >> 27;
	return *x * 0x2545f4914f6cdd1d;
}

/* As many addresses of the family as fit, in an order that changes. */
static void put_addresses(struct reply *r, const struct cs_dns_node *node, sa_family_t family, size_t used, uint64_t random)
{
	cs_autofree const struct cs_resolver_addr **list = NULL;
	size_t n = 0, max = 0, fit = (r->limit - used) / (family == AF_INET ? FIXED_A : FIXED_AAAA);

	for (size_t i = 0; i < node->n; i++)
		max += node->endpoint[i]->n_addr;
	list = cs_xcalloc(max, sizeof(*list));
	for (size_t i = 0; i < node->n; i++)
		for (size_t k = 0; k < node->endpoint[i]->n_addr; k++)
			if (node->endpoint[i]->addr[k].family == family)
				list[n++] = &node->endpoint[i]->addr[k];
	random |= 1;
	for (size_t i = n; i > 1; i--) {
		size_t k = step(&random) % i;
		const struct cs_resolver_addr *a = list[i - 1];
		list[i - 1] = list[k];
		list[k] = a;
	}
	if (n > fit) {
		n = fit;
		cs_ldns.ldns_pkt_set_tc(r->pkt, true);
	}
	for (size_t i = 0; i < n; i++)
		put_addr(r, LDNS_SECTION_ANSWER, asked(r), list[i]);
}

static void put_srv(struct reply *r, const struct cs_dns_packed *target, uint16_t port)
{
	ldns_rr *rr = record(LDNS_RR_TYPE_SRV, asked(r));
	uint8_t number[2] = {(uint8_t)(port >> 8), (uint8_t)port}, zero[2] = {0};

	cs_ldns.ldns_rr_push_rdf(rr, cs_ldns.ldns_rdf_new_frm_data(LDNS_RDF_TYPE_INT16, 2, zero)); /* priority */
	cs_ldns.ldns_rr_push_rdf(rr, cs_ldns.ldns_rdf_new_frm_data(LDNS_RDF_TYPE_INT16, 2, zero)); /* weight */
	cs_ldns.ldns_rr_push_rdf(rr, cs_ldns.ldns_rdf_new_frm_data(LDNS_RDF_TYPE_INT16, 2, number));
	cs_ldns.ldns_rr_push_rdf(rr, name_rdf(target->wire, target->len));
	cs_ldns.ldns_pkt_push_rr(r->pkt, LDNS_SECTION_ANSWER, rr);
}

/* To bytes. Only a failure of the reckoning above can make too many of them. */
static size_t finish(struct reply *r, const uint8_t *msg, const struct cs_dns_query *q, uint8_t *out)
{
	autopkt ldns_pkt *pkt = TAKE_PTR(r->pkt);
	cs_autofree uint8_t *wire = NULL;
	size_t n = 0;

	if (cs_ldns.ldns_pkt2wire(&wire, pkt, &n) != LDNS_STATUS_OK)
		return cs_dns_failure(q, msg, LDNS_RCODE_SERVFAIL, out);
	if (n > r->limit) {
		n = cs_dns_failure(q, msg, LDNS_RCODE_NOERROR, out);
		LDNS_TC_SET(out);
		return n;
	}
	memcpy(out, wire, n);
	return n;
}

static bool srv_split(const struct cs_dns_name *name, struct cs_dns_name *prefix, struct cs_dns_name *service)
{
	size_t at = 0;

	for (int i = 0; i < 2; i++, at += 1u + name->wire[at])
		if (name->wire[at] < 2 || name->wire[at + 1] != '_')
			return false;
	if (name->wire[at] == 0)
		return false;
	memcpy(prefix->wire, name->wire, at);
	prefix->wire[at] = 0;
	prefix->len = (uint8_t)(at + 1);
	service->len = (uint8_t)(name->len - at);
	memcpy(service->wire, name->wire + at, service->len);
	return true;
}

static bool offers(const struct cs_dns_endpoint *e, size_t at, const struct cs_dns_name *prefix)
{
	return e->name && e->port[at].prefix.len == prefix->len && memcmp(e->port[at].prefix.wire, prefix->wire, prefix->len) == 0;
}

/* As many services as fit, then what fits of their addresses: without those the answer is whole (RFC 2181 9). Gives how many there are. */
static size_t put_services(struct reply *r, const struct cs_dns_node *node, const struct cs_dns_name *prefix, size_t used)
{
	size_t found = 0, put = 0;

	for (size_t i = 0; i < node->n; i++)
		for (size_t k = 0; k < node->endpoint[i]->n_port; k++) {
			const struct cs_dns_endpoint *e = node->endpoint[i];
			if (!offers(e, k, prefix))
				continue;
			found++;
			if (put + 1 < found || used + FIXED_SRV + e->name->len > r->limit)
				continue;
			put_srv(r, e->name, e->port[k].port);
			used += FIXED_SRV + e->name->len;
			put++;
		}
	cs_ldns.ldns_pkt_set_tc(r->pkt, put < found);
	for (size_t i = 0, n = 0; i < node->n; i++)
		for (size_t k = 0; k < node->endpoint[i]->n_port && n < put; k++) {
			const struct cs_dns_endpoint *e = node->endpoint[i];
			if (!offers(e, k, prefix))
				continue;
			n++;
			for (size_t a = 0; a < e->n_addr; a++) {
				size_t size = e->name->len - 2u + (e->addr[a].family == AF_INET ? (size_t)FIXED_A : FIXED_AAAA); /* the owner in full */
				if (used + size > r->limit)
					return found;
				put_addr(r, LDNS_SECTION_ADDITIONAL, name_rdf(e->name->wire, e->name->len), &e->addr[a]);
				used += size;
			}
		}
	return found;
}

static bool has(const struct cs_dns_node *node, sa_family_t family)
{
	for (size_t i = 0; i < node->n; i++)
		for (size_t k = 0; k < node->endpoint[i]->n_addr; k++)
			if (node->endpoint[i]->addr[k].family == family)
				return true;
	return false;
}

/* A question of class IN for a plain type. */
static enum cs_dns_verdict local(const struct cs_dns_table *t, const struct cs_dns_settings *s, const struct cs_dns_query *q, struct reply *r, uint64_t random)
{
	const struct cs_dns_node *node = cs_dns_lookup(t, s, &q->name);
	size_t used = CS_DNS_HEADER + q->question_len + OPT_BYTES;

	if (node) { /* of any other type we have none, and nobody else may have one: NODATA (RFC 2308 2.2) at once */
		if (q->type == LDNS_RR_TYPE_A || q->type == LDNS_RR_TYPE_AAAA)
			put_addresses(r, node, q->type == LDNS_RR_TYPE_A ? AF_INET : AF_INET6, used, random);
		else if (q->type == LDNS_RR_TYPE_ANY) /* RFC 8482 4.1: one of the sets */
			put_addresses(r, node, has(node, AF_INET) ? AF_INET : AF_INET6, used, random);
		return CS_DNS_REPLY;
	}
	if (q->type == LDNS_RR_TYPE_PTR) {
		uint8_t addr[16];
		size_t n = cs_dns_name_reverse(&q->name, addr);
		struct cs_dns_name name;
		if (n && cs_dns_reverse(t, s, addr, n, &name)) {
			ldns_rr *rr = record(LDNS_RR_TYPE_PTR, asked(r));
			cs_ldns.ldns_rr_push_rdf(rr, name_rdf(name.wire, name.len));
			cs_ldns.ldns_pkt_push_rr(r->pkt, LDNS_SECTION_ANSWER, rr);
			return CS_DNS_REPLY;
		}
	}
	if (q->type == LDNS_RR_TYPE_SRV) {
		struct cs_dns_name prefix, service;
		if (srv_split(&q->name, &prefix, &service) && (node = cs_dns_lookup(t, s, &service))) {
			if (put_services(r, node, &prefix, used) == 0) /* the service is ours, so nobody else knows of its ports */
				cs_ldns.ldns_pkt_set_rcode(r->pkt, LDNS_RCODE_NXDOMAIN);
			return CS_DNS_REPLY;
		}
	}
	if (s->ndots_set && (q->type == LDNS_RR_TYPE_A || q->type == LDNS_RR_TYPE_AAAA) && cs_dns_name_labels(&q->name) == 1)
		return CS_DNS_REPLY;
	return CS_DNS_FORWARD;
}

static bool is_refused(const struct cs_dns_settings *s, ldns_rr_class class, unsigned type)
{
	return !s || class != LDNS_RR_CLASS_IN || type == 0 || type == LDNS_RR_TYPE_OPT || (type >= TYPE_META_FIRST && type <= TYPE_META_LAST);
}

static enum cs_dns_verdict parsed(const struct cs_dns_table *t, const struct cs_dns_settings *settings, const ldns_pkt *pkt, const uint8_t *msg, bool tcp,
	uint64_t random, struct cs_dns_query *q, uint8_t *out, size_t *out_len)
{
	const ldns_rr *question = cs_ldns.ldns_rr_list_rr(cs_ldns.ldns_pkt_question(pkt), 0);
	ldns_rdf *owner = cs_ldns.ldns_rr_owner(question);
	size_t n_name = cs_ldns.ldns_rdf_size(owner);
	unsigned taken = count(msg, 10) - cs_ldns.ldns_pkt_arcount(pkt) - (cs_ldns.ldns_pkt_tsig(pkt) ? 1 : 0); /* OPTs: libldns takes them out */
	enum cs_dns_verdict verdict = CS_DNS_REPLY;
	unsigned rcode = LDNS_RCODE_NOERROR;

	q->type = (uint16_t)cs_ldns.ldns_rr_get_type(question);
	cs_dns_name_lower(cs_ldns.ldns_rdf_data(owner), n_name, &q->name);
	q->question_len = n_name + 4;
	/* the first name of a message has nothing that a pointer could point at but itself and the header */
	if (memcmp(msg + CS_DNS_HEADER, cs_ldns.ldns_rdf_data(owner), n_name) != 0 || taken > 1) {
		q->name.len = 0;
		q->malformed = true;
		*out_len = bare(msg, LDNS_RCODE_FORMERR, out);
		return CS_DNS_REPLY;
	}
	q->edns = cs_ldns.ldns_pkt_edns(pkt);
	q->edns_do = q->edns && cs_ldns.ldns_pkt_edns_do(pkt);
	if (tcp)
		q->limit = CS_DNS_MESSAGE_MAX;
	else if (cs_ldns.ldns_pkt_edns(pkt))
		q->limit = CS_MIN(CS_MAX(cs_ldns.ldns_pkt_edns_udp_size(pkt), CS_DNS_UDP_MIN), CS_DNS_UDP_MAX);
	if (cs_ldns.ldns_pkt_edns(pkt) && cs_ldns.ldns_pkt_edns_version(pkt) != 0)
		rcode = 16; /* BADVERS, RFC 6891 6.1.3 */
	else if (is_refused(settings, cs_ldns.ldns_rr_get_class(question), q->type))
		rcode = LDNS_RCODE_REFUSED;

	struct reply r;
	reply_init(&r, pkt, question, msg, q, rcode);
	if (rcode == LDNS_RCODE_NOERROR)
		verdict = local(t, settings, q, &r, random);
	if (verdict == CS_DNS_FORWARD && q->type == LDNS_RR_TYPE_ANY) { /* RFC 8482 */
		cs_ldns.ldns_pkt_set_rcode(r.pkt, LDNS_RCODE_REFUSED);
		rcode = LDNS_RCODE_REFUSED;
		verdict = CS_DNS_REPLY;
	}
	q->refused = rcode == LDNS_RCODE_REFUSED;
	if (verdict == CS_DNS_REPLY)
		*out_len = finish(&r, msg, q, out);
	else
		cleanup_pkt(&r.pkt);
	return verdict;
}

enum cs_dns_verdict cs_dns_answer(const struct cs_dns_table *t, const struct cs_dns_settings *settings, const uint8_t *msg, size_t len, bool tcp,
	uint64_t random, struct cs_dns_query *ret, uint8_t *out, size_t *out_len)
{
	autopkt ldns_pkt *pkt = NULL;

	*ret = (struct cs_dns_query){.limit = CS_DNS_UDP_MIN, .malformed = true};
	if (len < CS_DNS_HEADER || LDNS_QR_WIRE(msg)) /* an answer is never answered: two resolvers would go on for ever */
		return CS_DNS_DROP;
	ret->id = (uint16_t)count(msg, 0);
	if (LDNS_OPCODE_WIRE(msg) != LDNS_PACKET_QUERY) {
		ret->malformed = false;
		ret->refused = true;
		*out_len = bare(msg, LDNS_RCODE_NOTIMPL, out);
		return CS_DNS_REPLY;
	}
	if (count(msg, 4) != 1 || count(msg, 6) || count(msg, 8) || cs_ldns.ldns_wire2pkt(&pkt, msg, len) != LDNS_STATUS_OK) {
		*out_len = bare(msg, LDNS_RCODE_FORMERR, out);
		return CS_DNS_REPLY;
	}
	ret->malformed = false;
	return parsed(t, settings, pkt, msg, tcp, random, ret, out, out_len);
}

/* Of a message that has no other additional record yet, its end. Resolvers that get none back think that we do not know EDNS, and ask again. */
static size_t put_opt(const struct cs_dns_query *q, uint8_t *msg, size_t len)
{
	const uint8_t opt[OPT_BYTES] = {0, 0, LDNS_RR_TYPE_OPT, CS_DNS_UDP_MAX >> 8, CS_DNS_UDP_MAX & 0xff, 0, 0, q->edns_do ? 0x80 : 0};

	if (!q->edns)
		return 0;
	memcpy(msg + len, opt, sizeof(opt));
	msg[11] = 1;
	return sizeof(opt);
}

size_t cs_dns_failure(const struct cs_dns_query *q, const uint8_t *msg, unsigned rcode, uint8_t *out)
{
	size_t n = bare(msg, rcode, out);

	if (q->name.len) {
		memcpy(out + n, msg + n, q->question_len);
		n += q->question_len;
		out[5] = 1;
	}
	return q->name.len ? n + put_opt(q, out, n) : n;
}

bool cs_dns_is_answer(const struct cs_dns_query *q, const uint8_t *query, uint16_t id, const uint8_t *msg, size_t len)
{
	autopkt ldns_pkt *pkt = NULL;
	struct cs_dns_name name;

	if (len < CS_DNS_HEADER + q->question_len || count(msg, 0) != id || !LDNS_QR_WIRE(msg) || LDNS_OPCODE_WIRE(msg) != LDNS_PACKET_QUERY ||
	    count(msg, 4) != 1)
		return false;
	cs_dns_name_lower(msg + CS_DNS_HEADER, q->name.len, &name);
	if (memcmp(name.wire, q->name.wire, q->name.len) != 0 ||
	    memcmp(msg + CS_DNS_HEADER + q->name.len, query + CS_DNS_HEADER + q->name.len, 4) != 0) /* type, class */
		return false;
	return cs_ldns.ldns_wire2pkt(&pkt, msg, len) == LDNS_STATUS_OK;
}

bool cs_dns_is_bare_failure(uint16_t id, const uint8_t *msg, size_t len)
{
	unsigned rcode;

	if (len != CS_DNS_HEADER || count(msg, 0) != id || !LDNS_QR_WIRE(msg) || LDNS_OPCODE_WIRE(msg) != LDNS_PACKET_QUERY || count(msg, 4) || count(msg, 6) ||
	    count(msg, 8) || count(msg, 10))
		return false;
	rcode = LDNS_RCODE_WIRE(msg);
	return rcode == LDNS_RCODE_FORMERR || rcode == LDNS_RCODE_SERVFAIL || rcode == LDNS_RCODE_NOTIMPL || rcode == LDNS_RCODE_REFUSED;
}

size_t cs_dns_pass_on(const struct cs_dns_query *q, const uint8_t *query, uint8_t *msg, size_t len)
{
	msg[0] = (uint8_t)(q->id >> 8);
	msg[1] = (uint8_t)q->id;
	memcpy(msg + CS_DNS_HEADER, query + CS_DNS_HEADER, q->question_len);
	if (len <= q->limit)
		return len;
	LDNS_TC_SET(msg);
	memset(msg + 6, 0, 6);
	len = CS_DNS_HEADER + q->question_len;
	return len + put_opt(q, msg, len);
}
