/* SPDX-License-Identifier: Apache-2.0
 *
 * Names in wire form. */
#include "network/dns_name.h"

#include <string.h>

static uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c; }

struct cs_dns_packed *cs_dns_name_pack(const struct cs_dns_name *n)
{
	struct cs_dns_packed *p = cs_xmalloc(sizeof(*p) + n->len);

	p->len = n->len;
	memcpy(p->wire, n->wire, n->len);
	return p;
}

void cs_dns_name_unpack(const struct cs_dns_packed *p, struct cs_dns_name *ret)
{
	ret->len = p->len;
	memcpy(ret->wire, p->wire, p->len);
}

int cs_dns_name_parse(const char *text, struct cs_dns_name *ret)
{
	size_t at = 0;

	do {
		size_t n = strcspn(text, ".");
		if (n == 0 || n > CS_DNS_LABEL_MAX || at + 1 + n + 1 > CS_DNS_NAME_MAX)
			return -1;
		ret->wire[at++] = (uint8_t)n;
		for (size_t i = 0; i < n; i++)
			ret->wire[at++] = lower((uint8_t)text[i]);
		text += n;
	} while (*text == '.' && *++text);
	ret->wire[at++] = 0;
	ret->len = (uint8_t)at;
	return 0;
}

void cs_dns_name_lower(const uint8_t *wire, size_t len, struct cs_dns_name *ret)
{
	/* lengths are below 64, so they are no letters */
	for (size_t i = 0; i < len; i++)
		ret->wire[i] = lower(wire[i]);
	ret->len = (uint8_t)len;
}

bool cs_dns_name_join(const struct cs_dns_name *prefix, const struct cs_dns_name *suffix, struct cs_dns_name *ret)
{
	if (prefix->len - 1 + suffix->len > CS_DNS_NAME_MAX)
		return false;
	memcpy(ret->wire, prefix->wire, prefix->len - 1u);
	memcpy(ret->wire + prefix->len - 1, suffix->wire, suffix->len);
	ret->len = (uint8_t)(prefix->len - 1 + suffix->len);
	return true;
}

bool cs_dns_name_cut(const struct cs_dns_name *name, const struct cs_dns_name *suffix, struct cs_dns_name *ret)
{
	size_t at = 0, want = (size_t)name->len - suffix->len;

	if (suffix->len < 2 || name->len <= suffix->len || memcmp(name->wire + want, suffix->wire, suffix->len) != 0)
		return false;
	while (at < want)
		at += 1u + name->wire[at];
	if (at != want)
		return false;
	memcpy(ret->wire, name->wire, want);
	ret->wire[want] = 0;
	ret->len = (uint8_t)(want + 1);
	return true;
}

size_t cs_dns_name_labels(const struct cs_dns_name *name)
{
	size_t n = 0;

	for (size_t at = 0; at < name->len && name->wire[at]; at += 1u + name->wire[at])
		n++;
	return n;
}

static int digit(uint8_t c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

/* A decimal octet without leading zeros, -1 else. */
static int octet(const uint8_t *label, size_t n)
{
	int v = 0;

	if (n == 0 || n > 3 || (n > 1 && label[0] == '0'))
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (label[i] < '0' || label[i] > '9')
			return -1;
		v = v * 10 + label[i] - '0';
	}
	return v <= 255 ? v : -1;
}

static size_t reverse4(const struct cs_dns_name *host, uint8_t ret[16])
{
	size_t at = 0;

	if (cs_dns_name_labels(host) != 4)
		return 0;
	for (size_t i = 4; i-- > 0; at += 1u + host->wire[at]) {
		int v = octet(host->wire + at + 1, host->wire[at]);
		if (v < 0)
			return 0;
		ret[i] = (uint8_t)v;
	}
	return 4;
}

static size_t reverse6(const struct cs_dns_name *host, uint8_t ret[16])
{
	if (host->len != 65)
		return 0;
	for (size_t i = 0; i < 16; i++) {
		const uint8_t *p = host->wire + (15 - i) * 4; /* 1 low 1 high */
		int low = digit(p[1]), high = digit(p[3]);
		if (p[0] != 1 || p[2] != 1 || low < 0 || high < 0)
			return 0;
		ret[i] = (uint8_t)(high << 4 | low);
	}
	return 16;
}

size_t cs_dns_name_reverse(const struct cs_dns_name *name, uint8_t ret[16])
{
	static const struct cs_dns_name arpa4 = {14, "\7in-addr\4arpa"}, arpa6 = {10, "\3ip6\4arpa"};
	struct cs_dns_name host;

	if (cs_dns_name_cut(name, &arpa4, &host))
		return reverse4(&host, ret);
	if (cs_dns_name_cut(name, &arpa6, &host))
		return reverse6(&host, ret);
	return 0;
}
