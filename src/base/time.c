/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"

#include "base/num.h"

int64_t cs_now_ns(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * CS_NS_PER_SEC + t.tv_nsec;
}

int64_t cs_monotonic_ns(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * CS_NS_PER_SEC + t.tv_nsec;
}

static void digits(char *p, unsigned v, int n)
{
	while (n--) {
		p[n] = (char)('0' + v % 10);
		v /= 10;
	}
}

/* Civil date of a day count since 1970-01-01 (proleptic Gregorian). */
static void civil(int64_t days, int *y, unsigned *m, unsigned *d)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	unsigned doe = (unsigned)(z - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;
	*d = doy - (153 * mp + 2) / 5 + 1;
	*m = mp < 10 ? mp + 3 : mp - 9;
	*y = (int)((int64_t)yoe + era * 400) + (*m <= 2);
}

static int64_t days_from_civil(int64_t y, unsigned m, unsigned d)
{
	y -= m <= 2;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	unsigned yoe = (unsigned)(y - era * 400);
	unsigned doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
	unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return era * 146097 + (int64_t)doe - 719468;
}

size_t cs_time_format_fixed(int64_t ns, char *buf)
{
	/* consecutive log lines mostly fall into one second: the date part is computed once per second */
	static _Thread_local int64_t cached_sec = INT64_MIN;
	static _Thread_local char cached[20];
	int64_t sec = ns / CS_NS_PER_SEC, frac = ns % CS_NS_PER_SEC;

	if (frac < 0) {
		frac += CS_NS_PER_SEC;
		sec--;
	}
	if (sec != cached_sec) {
		int y;
		unsigned m, d;
		int64_t days = sec / 86400, rest = sec % 86400;
		if (rest < 0) {
			rest += 86400;
			days--;
		}
		civil(days, &y, &m, &d);
		memcpy(cached, "0000-00-00T00:00:00.", 20);
		digits(cached, (unsigned)y, 4);
		digits(cached + 5, m, 2);
		digits(cached + 8, d, 2);
		digits(cached + 11, (unsigned)(rest / 3600), 2);
		digits(cached + 14, (unsigned)(rest / 60 % 60), 2);
		digits(cached + 17, (unsigned)(rest % 60), 2);
		cached_sec = sec;
	}
	memcpy(buf, cached, 20);
	digits(buf + 20, (unsigned)frac, 9);
	buf[29] = 'Z';
	buf[30] = 0;
	return 30;
}

char *cs_time_format(int64_t ns, char *buf)
{
	if (ns == CS_TIME_ZERO) {
		memcpy(buf, "0001-01-01T00:00:00Z", 21);
		return buf;
	}
	size_t n = cs_time_format_fixed(ns, buf) - 1;
	while (buf[n - 1] == '0')
		n--;
	if (buf[n - 1] == '.')
		n--;
	buf[n] = 'Z';
	buf[n + 1] = 0;
	return buf;
}

static bool num(const char **p, int n, unsigned min, unsigned max, unsigned *ret)
{
	uint64_t v;
	for (int i = 0; i < n; i++)
		if ((*p)[i] < '0' || (*p)[i] > '9')
			return false;
	if (!cs_parse_u64n(*p, (size_t)n, min, max, &v))
		return false;
	*p += n;
	*ret = (unsigned)v;
	return true;
}

static bool lit(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

static bool fraction(const char **p, int64_t *ns)
{
	int64_t scale = 100000000;

	*ns = 0;
	if (**p < '0' || **p > '9')
		return false;
	for (; **p >= '0' && **p <= '9'; (*p)++) {
		if (scale == 0)
			return false;
		*ns += (**p - '0') * scale;
		scale /= 10;
	}
	return true;
}

bool cs_time_parse(const char *s, int64_t *ret)
{
	unsigned y, mo, d, h = 0, mi = 0, sec = 0;
	int64_t frac = 0, off = 0;
	const char *p = s;

	if (!s || !num(&p, 4, 1, 9999, &y) || !lit(&p, '-') || !num(&p, 2, 1, 12, &mo) || !lit(&p, '-') ||
	    !num(&p, 2, 1, 31, &d))
		return false;
	if (*p) {
		if ((*p | 0x20) != 't')
			return false;
		p++;
		if (!num(&p, 2, 0, 23, &h) || !lit(&p, ':') || !num(&p, 2, 0, 59, &mi))
			return false;
		if (*p == ':') {
			p++;
			if (!num(&p, 2, 0, 59, &sec))
				return false;
			if (*p == '.') {
				p++;
				if (!fraction(&p, &frac))
					return false;
			}
		}
		if ((*p | 0x20) == 'z') {
			p++;
		} else if (*p == '+' || *p == '-') {
			bool neg = *p++ == '-';
			unsigned oh, om;
			if (!num(&p, 2, 0, 23, &oh) || !lit(&p, ':') || !num(&p, 2, 0, 59, &om))
				return false;
			off = (int64_t)(oh * 3600 + om * 60) * (neg ? -1 : 1);
		}
		if (*p)
			return false;
	}
	int64_t total = days_from_civil((int64_t)y, mo, d) * 86400 + h * 3600 + mi * 60 + sec - off;
	if (y == 1 && mo == 1 && d == 1) {
		*ret = CS_TIME_ZERO;
		return true;
	}
	if (__builtin_mul_overflow(total, CS_NS_PER_SEC, &total) || __builtin_add_overflow(total, frac, &total))
		return false;
	*ret = total;
	return true;
}

bool cs_duration_parse(const char *s, int64_t *ret)
{
	static const struct {
		const char *name;
		int64_t ns;
	} units[] = {{"ns", 1},	  {"us", 1000}, {"\xc2\xb5s", 1000}, {"ms", CS_NS_PER_MS}, {"s", CS_NS_PER_SEC},
		     {"m", 60 * CS_NS_PER_SEC}, {"h", 3600 * CS_NS_PER_SEC}};
	int64_t total = 0;
	bool neg = false;

	if (cs_empty(s))
		return false;
	if (*s == '-' || *s == '+')
		neg = *s++ == '-';
	if (strcmp(s, "0") == 0) {
		*ret = 0;
		return true;
	}
	if (!*s)
		return false;
	while (*s) {
		size_t n = strspn(s, "0123456789");
		uint64_t whole = 0;
		int64_t frac = 0, part;
		if (n && !cs_parse_u64n(s, n, 0, INT64_MAX, &whole))
			return false;
		s += n;
		if (*s == '.') {
			s++;
			if (!fraction(&s, &frac))
				return false;
		} else if (!n) {
			return false;
		}
		size_t u;
		n = strcspn(s, "0123456789.");
		for (u = 0; u < CS_ARRAY_SIZE(units); u++)
			if (strlen(units[u].name) == n && strncmp(s, units[u].name, n) == 0)
				break;
		if (u == CS_ARRAY_SIZE(units))
			return false;
		s += n;
		if (__builtin_mul_overflow((int64_t)whole, units[u].ns, &part) || __builtin_add_overflow(total, part, &total))
			return false;
		part = (int64_t)((__int128)frac * units[u].ns / CS_NS_PER_SEC);
		if (__builtin_add_overflow(total, part, &total))
			return false;
	}
	*ret = neg ? -total : total;
	return true;
}

bool cs_time_parse_param(const char *s, int64_t now, int64_t *ret)
{
	uint64_t sec;
	int64_t frac = 0, v;

	if (cs_empty(s))
		return false;
	size_t n = strspn(s, "0123456789");
	if (n && (s[n] == 0 || s[n] == '.')) {
		if (!cs_parse_u64n(s, n, 0, INT64_MAX / CS_NS_PER_SEC - 1, &sec))
			return false;
		const char *p = s + n;
		if (*p == '.') {
			p++;
			if (!fraction(&p, &frac) || *p)
				return false;
		}
		*ret = (int64_t)sec * CS_NS_PER_SEC + frac;
		return true;
	}
	if (cs_time_parse(s, ret))
		return true;
	if (!cs_duration_parse(s, &v) || __builtin_sub_overflow(now, v, &v))
		return false;
	*ret = v;
	return true;
}
