/* SPDX-License-Identifier: Apache-2.0 */
#include "network/addr.h"

#include <arpa/inet.h>

#include "base/num.h"

struct cs_ip cs_ip_of(uint8_t family, const void *bytes)
{
	const uint8_t *b = bytes;
	struct cs_ip ip = {.family = family};

	for (unsigned i = 0; i < cs_ip_bits(family) / 8; i++)
		ip.n = ip.n << 8 | b[i];
	return ip;
}

size_t cs_ip_bytes(struct cs_ip ip, uint8_t ret[16])
{
	size_t len = cs_ip_bits(ip.family) / 8;

	for (size_t i = len; i-- > 0; ip.n >>= 8)
		ret[i] = (uint8_t)ip.n;
	return len;
}

bool cs_ip_parse(const char *text, struct cs_ip *ret)
{
	uint8_t b[16];

	if (!text)
		return false;
	for (int i = 0; i < 2; i++) {
		uint8_t family = i ? AF_INET6 : AF_INET;
		if (inet_pton(family, text, b) == 1) {
			*ret = cs_ip_of(family, b);
			return true;
		}
	}
	return false;
}

bool cs_prefix_parse(const char *text, struct cs_prefix *ret)
{
	const char *slash = text ? strchr(text, '/') : NULL;
	struct cs_prefix p;
	uint64_t len;

	if (!slash || slash - text >= CS_IP_TEXT)
		return false;
	cs_autofree char *ip = cs_xstrndup(text, (size_t)(slash - text));
	if (!cs_ip_parse(ip, &p.ip) || !cs_parse_u64(slash + 1, 0, cs_ip_bits(p.ip.family), &len))
		return false;
	p.len = (uint8_t)len;
	*ret = p;
	return true;
}

char *cs_ip_text(struct cs_ip ip, char buf[CS_IP_TEXT])
{
	uint8_t b[16];

	*buf = 0;
	if (ip.family) {
		(void)cs_ip_bytes(ip, b);
		(void)inet_ntop(ip.family, b, buf, CS_IP_TEXT);
	}
	return buf;
}

char *cs_prefix_text(struct cs_prefix p, char buf[CS_PREFIX_TEXT])
{
	char ip[CS_IP_TEXT];

	(void)snprintf(buf, CS_PREFIX_TEXT, "%s/%u", cs_ip_text(p.ip, ip), p.len);
	return buf;
}

static cs_u128 host_mask(struct cs_prefix p)
{
	unsigned bits = cs_ip_bits(p.ip.family) - p.len;

	return bits == 128 ? ~(cs_u128)0 : ((cs_u128)1 << bits) - 1;
}

cs_u128 cs_prefix_first(struct cs_prefix p) { return p.ip.n & ~host_mask(p); }
cs_u128 cs_prefix_last(struct cs_prefix p) { return p.ip.n | host_mask(p); }

bool cs_prefix_has(struct cs_prefix p, struct cs_ip ip)
{
	return p.ip.family == ip.family && ip.n >= cs_prefix_first(p) && ip.n <= cs_prefix_last(p);
}

bool cs_prefix_overlaps(struct cs_prefix a, struct cs_prefix b)
{
	return a.ip.family == b.ip.family && cs_prefix_first(a) <= cs_prefix_last(b) && cs_prefix_first(b) <= cs_prefix_last(a);
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool cs_mac_parse(const char *text, uint8_t ret[6])
{
	uint8_t mac[6];

	if (!text || strlen(text) != CS_MAC_TEXT - 1)
		return false;
	for (size_t i = 0; i < 6; i++) {
		int hi = hex(text[3 * i]), lo = hex(text[3 * i + 1]);
		char sep = text[3 * i + 2];
		if (hi < 0 || lo < 0 || (i < 5 && sep != '-' && sep != ':'))
			return false;
		mac[i] = (uint8_t)(hi << 4 | lo);
	}
	if (mac[0] & 1)
		return false;
	memcpy(ret, mac, 6);
	return true;
}

char *cs_mac_text(const uint8_t mac[6], char buf[CS_MAC_TEXT])
{
	(void)snprintf(buf, CS_MAC_TEXT, "%02x-%02x-%02x-%02x-%02x-%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return buf;
}
