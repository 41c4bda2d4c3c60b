/* SPDX-License-Identifier: Apache-2.0
 *
 * Docker's json-file records. Escaping is that of Go's jsonlog: < > & and control characters as \u00xx, \n \r \" \\ short,
 * U+2028/2029 escaped, each byte of invalid UTF-8 becomes \ufffd. Plain text is copied eight bytes at a time. */
#include "worker/log.h"

#include "base/time.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O2") /* the worker is built for size, this is its hot loop */
#endif

#define ONES 0x0101010101010101ull
#define HIGH 0x8080808080808080ull

/* Non-zero if one of the eight bytes needs a look: below 0x20, above 0x7f, or one of " & < > \. May report too much, never too little. */
static inline uint64_t special(uint64_t v)
{
	uint64_t q = v ^ ONES * '"', a = v ^ ONES * '&', b = v ^ ONES * '\\';
	uint64_t lg = (v & ONES * 0xfd) ^ ONES * '<'; /* '<' 0x3c and '>' 0x3e differ in one bit */

	return ((v - ONES * 0x20) | (q - ONES) | (a - ONES) | (b - ONES) | (lg - ONES) | v) & HIGH;
}

/* Length of the valid UTF-8 sequence at s (Go's rules: no surrogates, shortest form), or 0. */
static size_t utf8_len(const uint8_t *s, size_t n)
{
	uint8_t c = s[0], lo = 0x80, hi = 0xbf;
	size_t len;

	if (c >= 0xc2 && c <= 0xdf) {
		len = 2;
	} else if (c >= 0xe0 && c <= 0xef) {
		len = 3;
		if (c == 0xe0)
			lo = 0xa0;
		else if (c == 0xed)
			hi = 0x9f;
	} else if (c >= 0xf0 && c <= 0xf4) {
		len = 4;
		if (c == 0xf0)
			lo = 0x90;
		else if (c == 0xf4)
			hi = 0x8f;
	} else {
		return 0;
	}
	if (n < len || s[1] < lo || s[1] > hi)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

static uint8_t *put(uint8_t *d, const char *text, size_t n)
{
	memcpy(d, text, n);
	return d + n;
}

static uint8_t *escape_ascii(uint8_t *d, uint8_t c)
{
	static const char hex[] = "0123456789abcdef";

	switch (c) {
	case '"':
	case '\\':
		*d++ = '\\';
		*d++ = c;
		return d;
	case '\n':
		return put(d, "\\n", 2);
	case '\r':
		return put(d, "\\r", 2);
	default:
		d = put(d, "\\u00", 4);
		*d++ = (uint8_t)hex[c >> 4];
		*d++ = (uint8_t)hex[c & 15];
		return d;
	}
}

static inline bool is_plain(uint8_t c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
}

uint8_t *cs_log_json_escape(uint8_t *d, const uint8_t *s, size_t n)
{
	size_t i = 0;

	while (i < n) {
		while (n - i >= 8) {
			uint64_t v;
			memcpy(&v, s + i, 8);
			if (special(v))
				break;
			memcpy(d, &v, 8);
			d += 8;
			i += 8;
		}
		/* up to the end of these eight bytes one by one */
		for (size_t stop = CS_MIN(n, i + 8); i < stop;) {
			uint8_t c = s[i];
			if (is_plain(c)) {
				*d++ = c;
				i++;
			} else if (c < 0x80) {
				d = escape_ascii(d, c);
				i++;
			} else {
				size_t len = utf8_len(s + i, n - i);
				if (!len) {
					d = put(d, "\\ufffd", 6);
					i++;
				} else if (len == 3 && c == 0xe2 && s[i + 1] == 0x80 && (s[i + 2] & 0xfe) == 0xa8) {
					d = put(d, s[i + 2] == 0xa8 ? "\\u2028" : "\\u2029", 6);
					i += 3;
				} else {
					memcpy(d, s + i, len);
					d += len;
					i += len;
				}
			}
		}
	}
	return d;
}

char *cs_log_json_mid(int stream, const char *attrs, size_t *ret_len)
{
	bool has = !cs_empty(attrs) && strcmp(attrs, "{}") != 0 && strcmp(attrs, "null") != 0;
	char *s = cs_xasprintf("\",\"stream\":\"%s\",%s%s%s\"time\":\"", stream ? "stderr" : "stdout", has ? "\"attrs\":" : "", has ? attrs : "",
			       has ? "," : "");

	*ret_len = strlen(s);
	return s;
}

uint8_t *cs_log_json_record(uint8_t *d, const uint8_t *text, size_t n, bool newline, const char *mid, size_t mid_len, int64_t ts)
{
	char stamp[CS_TIME_BUF];

	d = put(d, "{\"log\":\"", 8);
	d = cs_log_json_escape(d, text, n);
	if (newline)
		d = put(d, "\\n", 2);
	d = put(d, mid, mid_len);
	/* Go's RFC3339Nano: trailing zeros of the fraction are dropped */
	size_t len = cs_time_format_fixed(ts, stamp) - 1;
	while (stamp[len - 1] == '0')
		len--;
	if (stamp[len - 1] == '.')
		len--;
	d = put(d, stamp, len);
	return put(d, "Z\"}\n", 4);
}

int64_t cs_log_json_good_end(int fd, int64_t size)
{
	uint8_t block[4096];

	/* records end in a newline and hold none */
	for (int64_t end = size; end > 0;) {
		int64_t from = CS_MAX(end - (int64_t)sizeof(block), 0);
		ssize_t n = pread(fd, block, (size_t)(end - from), from);
		if (n != end - from)
			return n < 0 ? -errno : -EIO;
		uint8_t *nl = memrchr(block, '\n', (size_t)n);
		if (nl)
			return from + (nl - block) + 1;
		end = from;
	}
	return 0;
}
