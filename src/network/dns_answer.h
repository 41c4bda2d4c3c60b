/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages in, messages out: what is asked, what we answer of ourselves, and whether an upstream server's message answers the question.
 * No sockets here. cs_ldns_get comes first; the reader of the table only (dns_table.h). */
#pragma once

#include "network/dns_table.h"

#define CS_DNS_HEADER 12
#define CS_DNS_UDP_MIN 512       /* RFC 1035 4.2.1: what a client takes who does not say more */
#define CS_DNS_UDP_MAX 4096      /* what we send and take over UDP, however much a client offers */
#define CS_DNS_QUERY_MAX 4096    /* no honest query is longer */
#define CS_DNS_MESSAGE_MAX 65535
#define CS_DNS_TTL 600           /* Docker's */

enum cs_dns_verdict {
	CS_DNS_DROP,    /* not to be answered: no query at all */
	CS_DNS_REPLY,   /* the answer stands in out */
	CS_DNS_FORWARD, /* somebody else has to know */
};

struct cs_dns_query {
	uint16_t id, type;
	struct cs_dns_name name; /* len 0: the message did not get as far */
	size_t question_len;     /* bytes of the question, behind the header */
	size_t limit;            /* of an answer in bytes */
	bool edns, edns_do;      /* it has an OPT, with that flag: so has its answer (RFC 6891 6.1.1) */
	/* what became of it, for the counters */
	bool malformed, refused;
};

/* `settings` NULL: a namespace that has none yet; everything is refused. `random` decides the order of several addresses. `out` has room for
 * CS_DNS_MESSAGE_MAX bytes. */
enum cs_dns_verdict cs_dns_answer(const struct cs_dns_table *t, const struct cs_dns_settings *settings, const uint8_t *msg, size_t len, bool tcp,
	uint64_t random, struct cs_dns_query *ret, uint8_t *out, size_t *out_len);

/* An answer without records to a query that is to be forwarded and cannot: `msg` is the query. Returns its length. */
size_t cs_dns_failure(const struct cs_dns_query *q, const uint8_t *msg, unsigned rcode, uint8_t *out);

/* Is it a well-formed answer to that query, as we sent it with `id`? */
CS_MUST_CHECK bool cs_dns_is_answer(const struct cs_dns_query *q, const uint8_t *query, uint16_t id, const uint8_t *msg, size_t len);
/* A failure with nothing but a header: servers that do not understand a query, or do not want to, say no more. */
CS_MUST_CHECK bool cs_dns_is_bare_failure(uint16_t id, const uint8_t *msg, size_t len);
/* Makes such an answer one for our client: its id, its spelling of the name, its limit. Returns the new length. */
size_t cs_dns_pass_on(const struct cs_dns_query *q, const uint8_t *query, uint8_t *msg, size_t len);
