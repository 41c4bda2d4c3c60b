/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses, prefixes and options of networks as text. Pure. */
#include <arpa/inet.h>
#include <string.h>

#include "base/num.h"
#include "engine/network.h"

bool cs_addr_parse(const char *text, uint8_t out[16], bool *v6)
{
	uint8_t b[16] = {0};

	if (!text)
		return false;
	*v6 = strchr(text, ':') != NULL;
	if (inet_pton(*v6 ? AF_INET6 : AF_INET, text, b) != 1)
		return false;
	memcpy(out, b, sizeof(b));
	return true;
}

bool cs_addr_prefix_parse(const char *text, uint8_t out[16], unsigned *bits, bool *v6)
{
	const char *slash = text ? strchr(text, '/') : NULL;
	cs_autofree char *addr = slash ? cs_xstrndup(text, (size_t)(slash - text)) : NULL;
	uint64_t n;

	if (!slash || !cs_addr_parse(addr, out, v6) || !cs_parse_u64(slash + 1, 0, *v6 ? 128 : 32, &n))
		return false;
	*bits = (unsigned)n;
	return true;
}

static void mask(uint8_t ip[16], unsigned bits)
{
	for (unsigned i = 0; i < 16; i++) {
		unsigned left = bits > 8 * i ? bits - 8 * i : 0;
		if (left < 8)
			ip[i] &= (uint8_t)(0xff00 >> left);
	}
}

bool cs_addr_in(const char *prefix, const char *ip)
{
	uint8_t net[16], addr[16];
	bool v6 = false, ip6 = false;
	unsigned bits;

	if (!cs_addr_prefix_parse(prefix, net, &bits, &v6) || !cs_addr_parse(ip, addr, &ip6) || v6 != ip6)
		return false;
	mask(net, bits);
	mask(addr, bits);
	return memcmp(net, addr, v6 ? 16 : 4) == 0;
}

char *cs_addr_masked(const char *prefix)
{
	char text[INET6_ADDRSTRLEN];
	uint8_t net[16];
	bool v6 = false;
	unsigned bits;

	if (!cs_addr_prefix_parse(prefix, net, &bits, &v6))
		return NULL;
	mask(net, bits);
	return cs_xasprintf("%s/%u", inet_ntop(v6 ? AF_INET6 : AF_INET, net, text, sizeof(text)), bits);
}

bool cs_bool_parse(const char *s, bool *ret)
{
	static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"}, *const no[] = {"0", "f", "F", "FALSE", "false", "False"};

	for (size_t i = 0; s && i < CS_ARRAY_SIZE(yes); i++)
		if (strcmp(s, yes[i]) == 0 || strcmp(s, no[i]) == 0) {
			*ret = strcmp(s, yes[i]) == 0;
			return true;
		}
	return false;
}

bool cs_option_true(const struct cs_strmap *m, const char *key, bool dflt)
{
	bool b = dflt;
	return cs_bool_parse(cs_strmap_get(m, key), &b) ? b : dflt;
}
