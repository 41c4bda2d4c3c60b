/* SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"

#include <ctype.h>
#include <netinet/in.h>

bool cs_parse_u64n(const char *s, size_t n, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (!s || n == 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v))
			return false;
	}
	if (v < min || v > max)
		return false;
	*ret = v;
	return true;
}

bool cs_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
	return s && cs_parse_u64n(s, strlen(s), min, max, ret);
}

bool cs_parse_i64(const char *s, int64_t min, int64_t max, int64_t *ret)
{
	uint64_t u;
	bool neg;
	int64_t v;

	if (!s)
		return false;
	neg = *s == '-';
	if (!cs_parse_u64(s + neg, 0, (uint64_t)INT64_MAX + neg, &u))
		return false;
	v = neg ? (int64_t)(0 - u) : (int64_t)u;
	if (v < min || v > max)
		return false;
	*ret = v;
	return true;
}

bool cs_parse_mode(const char *s, uint32_t *ret)
{
	uint32_t v = 0;

	if (cs_empty(s) || strlen(s) > 5)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '7')
			return false;
		v = v * 8 + (uint32_t)(*s - '0');
	}
	if (v > 07777)
		return false;
	*ret = v;
	return true;
}

/* Digits from s[n] on, with a point among them or not, then the letter and a decimal exponent: the length of all, or 0 for anything else. */
static size_t with_exponent(const char *s, size_t n, const char *all, char letter)
{
	size_t digits = strspn(s + n, all);

	n += digits;
	if (s[n] == '.') {
		size_t more = strspn(s + n + 1, all);
		n += 1 + more;
		digits += more;
	}
	if (!digits || (s[n] | 0x20) != letter)
		return 0;
	n++;
	if (s[n] == '+' || s[n] == '-')
		n++;
	size_t power = strspn(s + n, "0123456789");
	return power ? n + power : 0;
}

/* 1.5e+2, or 0x1.8p3 as Go has it: there the exponent must be. */
static size_t floating(const char *s)
{
	bool hex = s[0] == '0' && (s[1] | 0x20) == 'x';

	return hex ? with_exponent(s, 2, "0123456789abcdefABCDEF", 'p') : with_exponent(s, 0, "0123456789", 'e');
}

/* k, MB, GiB, b, with a blank in front or not, to the end: what it multiplies with, 0 for anything else. */
static uint64_t unit_of(const char *p)
{
	static const char units[] = "kmgtp";
	uint64_t mult = 1;

	if (*p == ' ')
		p++;
	if (!*p)
		return 1;
	char c = (char)(*p | 0x20);
	const char *u = c == 'b' ? NULL : strchr(units, c);
	if (u) {
		for (const char *q = units; q <= u; q++)
			mult *= 1024;
		p++;
		if ((*p | 0x20) == 'i' && (p[1] | 0x20) == 'b')
			p++;
	} else if (c != 'b') {
		return 0;
	}
	if ((*p | 0x20) == 'b')
		p++;
	return *p ? 0 : mult;
}

/* Without the '_' that Go takes between digits, and behind 0x. False where one stands elsewhere. */
static bool without_underscores(const char *s, char *out, size_t size)
{
	size_t n = 0;
	bool hex = s[0] == '0' && (s[1] | 0x20) == 'x', digit = false;

	for (size_t i = 0; s[i]; i++) {
		if (s[i] == '_') {
			bool next = hex ? isxdigit((unsigned char)s[i + 1]) : isdigit((unsigned char)s[i + 1]);
			if (!digit || !next)
				return false;
			digit = false;
			continue;
		}
		digit = (hex && i == 1) || (hex ? isxdigit((unsigned char)s[i]) : isdigit((unsigned char)s[i]));
		if (n + 1 >= size)
			return false;
		out[n++] = s[i];
	}
	out[n] = 0;
	return true;
}

bool cs_parse_bytes(const char *s, int64_t *ret)
{
	uint64_t whole = 0, frac = 0, scale = 1, mult, v;
	const char *p = s && *s == '+' ? s + 1 : s;
	char plain[256];

	if (s && strchr(p, '_')) {
		if (!without_underscores(p, plain, sizeof(plain)))
			return false;
		p = plain;
	}
	if (!s || ((*p < '0' || *p > '9') && (*p != '.' || p[1] < '0' || p[1] > '9')))
		return false;
	size_t n = floating(p);
	if (n) {
		double d = strtod(p, NULL);
		mult = unit_of(p + n);
		if (!mult || !(d * (double)mult < 0x1p63))
			return false;
		*ret = (int64_t)(d * (double)mult);
		return true;
	}
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(whole, 10u, &whole) || __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole))
			return false;
	if (*p == '.') {
		p++;
		for (; *p >= '0' && *p <= '9'; p++) {
			if (scale < 1000000) {
				frac = frac * 10 + (uint64_t)(*p - '0');
				scale *= 10;
			}
		}
	}
	mult = unit_of(p);
	if (!mult || __builtin_mul_overflow(whole, mult, &v) || v > INT64_MAX)
		return false;
	/* the unit is at most 2^50 and frac below 10^6, so split the product to stay inside 64 bits */
	uint64_t part = mult / scale * frac + mult % scale * frac / scale;
	if (__builtin_add_overflow(v, part, &v) || v > INT64_MAX)
		return false;
	*ret = (int64_t)v;
	return true;
}

bool cs_parse_bool(const char *s, bool *ret)
{
	static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"}, *const no[] = {"0", "f", "F", "FALSE", "false", "False"};

	for (size_t i = 0; i < CS_ARRAY_SIZE(yes); i++)
		if (strcmp(s, yes[i]) == 0 || strcmp(s, no[i]) == 0) {
			*ret = strcmp(s, yes[i]) == 0;
			return true;
		}
	return false;
}

static const struct {
	uint8_t proto;
	const char *name;
} protos[] = {{IPPROTO_TCP, "tcp"}, {IPPROTO_UDP, "udp"}, {IPPROTO_SCTP, "sctp"}};

const char *cs_proto_name(uint8_t proto)
{
	for (size_t i = 1; i < CS_ARRAY_SIZE(protos); i++)
		if (protos[i].proto == proto)
			return protos[i].name;
	return protos[0].name;
}

bool cs_parse_ports(const char *s, struct cs_port_range *ret)
{
	size_t n = strcspn(s, "/");
	const char *dash = memchr(s, '-', n), *proto = s[n] ? s + n + 1 : "tcp";
	size_t first = dash ? (size_t)(dash - s) : n;
	uint64_t lo, hi;

	if (!cs_parse_u64n(s, first, 0, 65535, &lo))
		return false;
	hi = lo;
	if (dash && !cs_parse_u64n(dash + 1, n - first - 1, lo, 65535, &hi))
		return false;
	for (size_t i = 0; i < CS_ARRAY_SIZE(protos); i++)
		if (strcasecmp(proto, protos[i].name) == 0) {
			*ret = (struct cs_port_range){protos[i].proto, (uint16_t)lo, (uint16_t)hi};
			return true;
		}
	return false;
}
