/* SPDX-License-Identifier: Apache-2.0 */
#include "network/ipam.h"

/* ---- spans ---- */

/* The first span that ends at a or behind it. */
static size_t lower(const struct cs_spans *s, cs_u128 a)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (s->v[mid].hi < a)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool cs_spans_has(const struct cs_spans *s, cs_u128 a)
{
	size_t i = lower(s, a);

	return i < s->n && s->v[i].lo <= a;
}

static void insert(struct cs_spans *s, size_t i, struct cs_span span)
{
	s->v = cs_xreallocarray(s->v, s->n + 1, sizeof(*s->v));
	memmove(s->v + i + 1, s->v + i, (s->n - i) * sizeof(*s->v));
	s->v[i] = span;
	s->n++;
}

static void erase(struct cs_spans *s, size_t i)
{
	s->n--;
	memmove(s->v + i, s->v + i + 1, (s->n - i) * sizeof(*s->v));
}

bool cs_spans_add(struct cs_spans *s, cs_u128 a)
{
	size_t i = lower(s, a);

	if (i < s->n && s->v[i].lo <= a)
		return false;
	bool left = i > 0 && s->v[i - 1].hi + 1 == a, right = i < s->n && a + 1 == s->v[i].lo;
	if (left && right) {
		s->v[i - 1].hi = s->v[i].hi;
		erase(s, i);
	} else if (left) {
		s->v[i - 1].hi = a;
	} else if (right) {
		s->v[i].lo = a;
	} else {
		insert(s, i, (struct cs_span){a, a});
	}
	return true;
}

bool cs_spans_del(struct cs_spans *s, cs_u128 a)
{
	size_t i = lower(s, a);

	if (i >= s->n || s->v[i].lo > a)
		return false;
	struct cs_span old = s->v[i];
	if (old.lo == old.hi) {
		erase(s, i);
	} else if (a == old.lo) {
		s->v[i].lo++;
	} else if (a == old.hi) {
		s->v[i].hi--;
	} else {
		s->v[i].hi = a - 1;
		insert(s, i + 1, (struct cs_span){a + 1, old.hi});
	}
	return true;
}

bool cs_spans_free(const struct cs_spans *s, cs_u128 lo, cs_u128 hi, cs_u128 *ret)
{
	if (lo > hi)
		return false;
	size_t i = lower(s, lo);
	if (i < s->n && s->v[i].lo <= lo) { /* spans do not touch: what follows one is free */
		if (s->v[i].hi >= hi)
			return false;
		lo = s->v[i].hi + 1;
	}
	*ret = lo;
	return true;
}

void cs_spans_done(struct cs_spans *s)
{
	free(s->v);
	*s = (struct cs_spans){0};
}

/* ---- a subnet ---- */

int cs_subnet_init(struct cs_subnet *s, struct cs_prefix prefix, const struct cs_prefix *range, struct cs_err **err)
{
	char a[CS_PREFIX_TEXT], b[CS_PREFIX_TEXT];
	unsigned bits = cs_ip_bits(prefix.ip.family);

	if (range && (range->ip.family != prefix.ip.family || range->len < prefix.len || !cs_prefix_has(prefix, range->ip)))
		return cs_fail(err, CS_ERR_INVALID, 0, "range %s is not in subnet %s", cs_prefix_text(*range, a), cs_prefix_text(prefix, b));
	prefix.ip = cs_prefix_base(prefix);
	*s = (struct cs_subnet){.prefix = prefix, .range = range ? *range : prefix};
	s->range.ip = cs_prefix_base(s->range);
	if (prefix.len + 1u < bits) {
		(void)cs_spans_add(&s->used, cs_prefix_first(prefix));
		if (prefix.ip.family == AF_INET)
			(void)cs_spans_add(&s->used, cs_prefix_last(prefix));
	}
	return 0;
}

void cs_subnet_done(struct cs_subnet *s) { cs_spans_done(&s->used); }

int cs_subnet_take(struct cs_subnet *s, struct cs_ip ip, struct cs_err **err)
{
	char a[CS_IP_TEXT], p[CS_PREFIX_TEXT];
	bool edges = s->prefix.len + 1u < cs_ip_bits(s->prefix.ip.family);

	if (!cs_prefix_has(s->prefix, ip))
		return cs_fail(err, CS_ERR_INVALID, 0, "address %s is not in subnet %s", cs_ip_text(ip, a), cs_prefix_text(s->prefix, p));
	if (edges && (ip.n == cs_prefix_first(s->prefix) || (ip.family == AF_INET && ip.n == cs_prefix_last(s->prefix))))
		return cs_fail(err, CS_ERR_INVALID, 0, "address %s is reserved in subnet %s", cs_ip_text(ip, a), cs_prefix_text(s->prefix, p));
	if (!cs_spans_add(&s->used, ip.n))
		return cs_fail(err, CS_ERR_CONFLICT, 0, "address %s is already in use", cs_ip_text(ip, a));
	return 0;
}

int cs_subnet_take_any(struct cs_subnet *s, struct cs_ip *ret, struct cs_err **err)
{
	cs_u128 first = cs_prefix_first(s->range), last = cs_prefix_last(s->range), n;
	char p[CS_PREFIX_TEXT];

	if (!cs_spans_free(&s->used, first, last, &n))
		return cs_fail(err, CS_ERR_NO_SPACE, 0, "no available IPv%d addresses on this network's address pools: %s",
			       s->prefix.ip.family == AF_INET ? 4 : 6, cs_prefix_text(s->range, p));
	(void)cs_spans_add(&s->used, n);
	*ret = (struct cs_ip){n, s->prefix.ip.family};
	return 0;
}

void cs_subnet_give(struct cs_subnet *s, struct cs_ip ip)
{
	if (cs_prefix_has(s->prefix, ip))
		(void)cs_spans_del(&s->used, ip.n);
}

/* ---- pools ---- */

static bool choose_in(const struct cs_pool *pool, uint8_t len, const struct cs_prefix *taken, size_t n_taken, struct cs_prefix *ret)
{
	struct cs_prefix p = {.ip = cs_prefix_base(pool->base), .len = len};
	cs_u128 end = cs_prefix_last(pool->base);

	for (;;) {
		const struct cs_prefix *hit = NULL;
		for (size_t i = 0; i < n_taken && !hit; i++)
			if (cs_prefix_overlaps(p, taken[i]))
				hit = &taken[i];
		if (!hit) {
			*ret = p;
			return true;
		}
		/* behind whichever is the bigger one: a thousand small subnets inside of a taken /12 are one step */
		cs_u128 last = CS_MAX(cs_prefix_last(p), cs_prefix_last(*hit));
		if (last >= end)
			return false;
		p.ip.n = last + 1;
		if (cs_prefix_first(p) != p.ip.n) { /* the taken one was smaller and ended inside of the next */
			if (cs_prefix_last(p) >= end)
				return false;
			p.ip.n = cs_prefix_first(p);
		}
	}
}

int cs_pools_choose(const struct cs_pool *pools, size_t n_pools, uint8_t family, uint8_t len, const struct cs_prefix *taken, size_t n_taken,
		    struct cs_prefix *ret, struct cs_err **err)
{
	for (size_t i = 0; i < n_pools; i++) {
		uint8_t size = len ? len : pools[i].size;
		if (pools[i].base.ip.family == family && size >= pools[i].base.len && size <= cs_ip_bits(family) &&
		    choose_in(&pools[i], size, taken, n_taken, ret))
			return 0;
	}
	return cs_fail(err, CS_ERR_NO_SPACE, 0, "all predefined address pools have been fully subnetted");
}
