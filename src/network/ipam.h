/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses of a subnet, and subnets of pools. Pure: no kernel, no locks (a subnet belongs to its network's lock).
 * What is taken is kept as spans, so that a /64 costs what is used of it. */
#pragma once

#include "base/error.h"
#include "network/addr.h"

struct cs_span {
	cs_u128 lo, hi; /* both included */
};
struct cs_spans { /* sorted, disjoint, not touching */
	struct cs_span *v;
	size_t n;
};
bool cs_spans_has(const struct cs_spans *s, cs_u128 a);
bool cs_spans_add(struct cs_spans *s, cs_u128 a); /* false: has it already */
bool cs_spans_del(struct cs_spans *s, cs_u128 a); /* false: had it not */
/* The first number of [lo, hi] that is in no span. */
bool cs_spans_free(const struct cs_spans *s, cs_u128 lo, cs_u128 hi, cs_u128 *ret);
void cs_spans_done(struct cs_spans *s);

struct cs_subnet {
	struct cs_prefix prefix, range; /* range: where addresses are chosen from; the prefix, unless given */
	struct cs_ip gateway;           /* no family: none */
	struct cs_spans used;
};
/* Takes the network's and broadcast address out (IPv4 up to /30, RFC 3021; IPv6 up to /126: the routers' anycast address, RFC 4291 2.6.1).
 * range: NULL = all. Error: INVALID. */
CS_MUST_CHECK int cs_subnet_init(struct cs_subnet *s, struct cs_prefix prefix, const struct cs_prefix *range, struct cs_err **err);
void cs_subnet_done(struct cs_subnet *s);
/* A wanted address: in the prefix, not necessarily in the range. Errors: INVALID (outside, reserved), CONFLICT (in use). */
CS_MUST_CHECK int cs_subnet_take(struct cs_subnet *s, struct cs_ip ip, struct cs_err **err);
/* The first free one of the range, as dockerd chooses outside of swarm. Error: NO_SPACE. */
CS_MUST_CHECK int cs_subnet_take_any(struct cs_subnet *s, struct cs_ip *ret, struct cs_err **err);
void cs_subnet_give(struct cs_subnet *s, struct cs_ip ip);

struct cs_pool {
	struct cs_prefix base;
	uint8_t size; /* length of the subnets it is cut into */
};
/* The first subnet of the pools of this family that overlaps nothing in taken[]. len: 0, or the wanted length of prefix (then each pool
 * with room for one is cut so). Error: NO_SPACE. */
CS_MUST_CHECK int cs_pools_choose(const struct cs_pool *pools, size_t n_pools, uint8_t family, uint8_t len, const struct cs_prefix *taken,
				  size_t n_taken, struct cs_prefix *ret, struct cs_err **err);
