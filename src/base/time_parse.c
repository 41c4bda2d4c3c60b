/* SPDX-License-Identifier: Apache-2.0
 *
 * Times and durations from text, as Go's time.Parse and time.ParseDuration take them: a date that no calendar has is refused, digits of a
 * fraction beyond nanoseconds are dropped. */
#include <time.h>

#include "base/num.h"
#include "base/time.h"

static int64_t days_from_civil(int64_t y, unsigned m, unsigned d)
{
	y -= m <= 2;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	unsigned yoe = (unsigned)(y - era * 400);
	unsigned doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
	unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return era * 146097 + (int64_t)doe - 719468;
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
		*ns += (**p - '0') * scale;
		scale /= 10;
	}
	return true;
}

static unsigned days_in(unsigned y, unsigned m)
{
	static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = y % 4 == 0 && (y % 100 || y % 400 == 0);

	return days[m - 1] + (m == 2 && leap);
}

struct clock {
	unsigned y, mo, d, h, mi, sec;
	int64_t frac, off;
	bool zone; /* one was given */
};

static bool zone(const char **p, struct clock *t)
{
	unsigned h, m;

	if (**p != 'Z' && **p != 'z' && **p != '+' && **p != '-')
		return true;
	t->zone = true;
	bool utc = (**p | 0x20) == 'z', neg = **p == '-';
	(*p)++;
	if (utc)
		return true;
	if (!num(p, 2, 0, 23, &h) || !lit(p, ':') || !num(p, 2, 0, 59, &m))
		return false;
	t->off = (int64_t)(h * 3600 + m * 60) * (neg ? -1 : 1);
	return true;
}

/* brief: minutes, seconds and the zone may be missing, and the whole time of day. */
static bool parse(const char *p, bool brief, struct clock *t)
{
	*t = (struct clock){0};
	if (!p || !num(&p, 4, 1, 9999, &t->y) || !lit(&p, '-') || !num(&p, 2, 1, 12, &t->mo) || !lit(&p, '-') ||
	    !num(&p, 2, 1, days_in(t->y, t->mo), &t->d))
		return false;
	bool day = (*p | 0x20) == 't';
	if (!day && !brief)
		return false;
	if (day) {
		p++;
		if (!num(&p, 2, 0, 23, &t->h))
			return false;
		bool minutes = lit(&p, ':'), seconds = false;
		if (minutes && !num(&p, 2, 0, 59, &t->mi))
			return false;
		seconds = minutes && lit(&p, ':');
		if (seconds && !num(&p, 2, 0, 59, &t->sec))
			return false;
		if (seconds && lit(&p, '.') && !fraction(&p, &t->frac))
			return false;
		if (!seconds && !brief)
			return false;
	}
	return zone(&p, t) && (t->zone || brief) && !*p;
}

/* Without a zone it is the machine's, which counts as it is now, in another half of the year too: as docker has it. */
static int64_t local_offset(int64_t now)
{
	time_t at = (time_t)(now / CS_NS_PER_SEC);
	struct tm tm = {0};

	return localtime_r(&at, &tm) ? tm.tm_gmtoff : 0;
}

static bool epoch(const struct clock *t, int64_t *ret)
{
	int64_t total = days_from_civil((int64_t)t->y, t->mo, t->d) * 86400 + t->h * 3600 + t->mi * 60 + t->sec - t->off;

	if (t->y == 1 && t->mo == 1 && t->d == 1) {
		*ret = CS_TIME_ZERO;
		return true;
	}
	if (__builtin_mul_overflow(total, CS_NS_PER_SEC, &total) || __builtin_add_overflow(total, t->frac, &total))
		return false;
	*ret = total;
	return true;
}

bool cs_time_parse(const char *s, int64_t *ret)
{
	struct clock t;

	return parse(s, false, &t) && epoch(&t, ret);
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
	if (n && !s[strspn(s, "0123456789.")]) { /* "1.5h" is a duration */
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
	struct clock t;
	if (parse(s, true, &t)) {
		t.off = t.zone ? t.off : local_offset(now);
		return epoch(&t, ret);
	}
	if (!cs_duration_parse(s, &v) || __builtin_sub_overflow(now, v, &v))
		return false;
	*ret = v;
	return true;
}
