/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"

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
