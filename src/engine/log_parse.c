/* SPDX-License-Identifier: Apache-2.0
 *
 * Parser of log records. The quick way never looks at a byte of the message more than twice, both times by memchr; no state, no
 * allocation. */
#include "engine/log_parse.h"

#include <endian.h>
#include <string.h>

#include "base/json.h"
#include "base/time.h"

#define LOCAL_OVERHEAD 20
#define LOCAL_MAX (1u << 20)

/* The quote that ends the string which begins at p, or NULL. */
static const char *string_end(const char *p, const char *end)
{
	const char *start = p;

	while ((p = memchr(p, '"', (size_t)(end - p)))) {
		const char *b = p;
		while (b > start && b[-1] == '\\')
			b--;
		if ((p - b) % 2 == 0)
			return p;
		p++;
	}
	return NULL;
}

static bool starts(const char *p, const char *end, const char *lit, size_t n) { return (size_t)(end - p) >= n && memcmp(p, lit, n) == 0; }
#define STARTS(p, end, lit) starts(p, end, lit, sizeof(lit) - 1)

static bool quick(const char *line, size_t len, struct cs_log_rec *r)
{
	const char *end = line + len, *p = line, *q;

	if (!STARTS(p, end, "{\"log\":\""))
		return false;
	p += 8;
	q = string_end(p, end);
	if (!q)
		return false;
	r->text = p;
	r->text_len = (size_t)(q - p);
	r->escaped = true;
	p = q + 1;
	if (STARTS(p, end, ",\"stream\":\"stdout\","))
		r->stream = 1;
	else if (STARTS(p, end, ",\"stream\":\"stderr\","))
		r->stream = 2;
	else
		return false;
	p += 19;
	if (STARTS(p, end, "\"attrs\":{")) {
		/* only flat objects of strings are written there */
		r->attrs = p + 8;
		for (p += 9; p < end && *p != '}'; p++) {
			if (*p == '{')
				return false;
			if (*p == '"' && !(p = string_end(p + 1, end)))
				return false;
		}
		if (p >= end)
			return false;
		r->attrs_len = (size_t)(p + 1 - r->attrs);
		p++;
		if (p >= end || *p++ != ',')
			return false;
	}
	if (!STARTS(p, end, "\"time\":\""))
		return false;
	p += 8;
	q = memchr(p, '"', (size_t)(end - p));
	if (!q || q + 2 != end || q[1] != '}')
		return false;
	r->time = p;
	r->time_len = (size_t)(q - p);
	return true;
}

/* Any key order, blanks, other escapes. */
static bool slow(const char *line, size_t len, struct cs_log_rec *r)
{
	cs_autojson json_t *j = cs_json_parse(line, len, NULL);
	json_t *log = json_object_get(j, "log"), *attrs = json_object_get(j, "attrs");
	const char *stream = json_string_value(json_object_get(j, "stream")), *time = json_string_value(json_object_get(j, "time"));

	if (!json_is_string(log) || !time)
		return false;
	cs_autofree char *a = json_is_object(attrs) ? json_dumps(attrs, JSON_COMPACT) : NULL;
	size_t n = json_string_length(log), tn = strlen(time), an = a ? strlen(a) : 0;
	char *m = cs_xmalloc(n + tn + an + 3);
	memcpy(m, json_string_value(log), n);
	memcpy(m + n, time, tn + 1);
	if (a)
		memcpy(m + n + tn + 1, a, an + 1);
	*r = (struct cs_log_rec){.text = m, .text_len = n, .stream = cs_streq(stream, "stderr") ? 2 : 1, .time = m + n, .time_len = tn, .owned = m};
	if (a) {
		r->attrs = m + n + tn + 1;
		r->attrs_len = an;
	}
	return true;
}

bool cs_log_parse_json(const char *line, size_t len, struct cs_log_rec *r)
{
	*r = (struct cs_log_rec){0};
	if (quick(line, len, r))
		return true;
	*r = (struct cs_log_rec){0};
	return slow(line, len, r);
}

ssize_t cs_log_parse_local(const char *p, size_t len, struct cs_log_rec *r)
{
	uint32_t n, tail, flags;
	uint64_t ts;

	if (len < 4)
		return 0;
	memcpy(&n, p, 4);
	n = le32toh(n);
	if (n < LOCAL_OVERHEAD || n > LOCAL_MAX)
		return -1;
	if (len < n)
		return 0;
	memcpy(&flags, p + 4, 4);
	memcpy(&ts, p + 8, 8);
	memcpy(&tail, p + n - 4, 4);
	if (le32toh(tail) != n)
		return -1;
	flags = le32toh(flags);
	*r = (struct cs_log_rec){.text = p + 16, .text_len = n - LOCAL_OVERHEAD, .stream = (flags & 0xff) == 2 ? 2 : 1, .newline = !(flags & 0x100),
				 .ts = (int64_t)le64toh(ts)};
	return (ssize_t)n;
}

static int hex4(const char *p)
{
	int v = 0;
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
		if (d < 0)
			return -1;
		v = v << 4 | d;
	}
	return v;
}

static char *put_utf8(char *o, uint32_t c)
{
	if (c < 0x80) {
		*o++ = (char)c;
	} else if (c < 0x800) {
		*o++ = (char)(0xc0 | c >> 6);
		*o++ = (char)(0x80 | (c & 63));
	} else if (c < 0x10000) {
		*o++ = (char)(0xe0 | c >> 12);
		*o++ = (char)(0x80 | (c >> 6 & 63));
		*o++ = (char)(0x80 | (c & 63));
	} else {
		*o++ = (char)(0xf0 | c >> 18);
		*o++ = (char)(0x80 | (c >> 12 & 63));
		*o++ = (char)(0x80 | (c >> 6 & 63));
		*o++ = (char)(0x80 | (c & 63));
	}
	return o;
}

/* p is behind the backslash; returns behind the escape. Never writes more than it reads. */
static const char *unescape_one(const char *p, const char *end, char **out)
{
	char c = *p++;

	switch (c) {
	case 'n':
		*(*out)++ = '\n';
		return p;
	case 'r':
		*(*out)++ = '\r';
		return p;
	case 't':
		*(*out)++ = '\t';
		return p;
	case 'b':
		*(*out)++ = '\b';
		return p;
	case 'f':
		*(*out)++ = '\f';
		return p;
	case 'u':
		break;
	default: /* " \ / */
		*(*out)++ = c;
		return p;
	}
	int v = end - p >= 4 ? hex4(p) : -1;
	if (v < 0) {
		*(*out)++ = 'u';
		return p;
	}
	p += 4;
	uint32_t cp = (uint32_t)v;
	if (cp >= 0xd800 && cp < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
		int lo = hex4(p + 2);
		if (lo >= 0xdc00 && lo < 0xe000) {
			cp = 0x10000 + ((cp - 0xd800) << 10) + ((uint32_t)lo - 0xdc00);
			p += 6;
		}
	}
	if (cp >= 0xd800 && cp < 0xe000)
		cp = 0xfffd;
	*out = put_utf8(*out, cp);
	return p;
}

size_t cs_log_rec_text(const struct cs_log_rec *r, char *out)
{
	const char *p = r->text, *end = p + r->text_len;
	char *o = out;

	while (r->escaped && p < end) {
		const char *b = memchr(p, '\\', (size_t)(end - p));
		if (!b || b + 1 >= end)
			break;
		memcpy(o, p, (size_t)(b - p));
		o += b - p;
		p = unescape_one(b + 1, end, &o);
	}
	memcpy(o, p, (size_t)(end - p));
	o += end - p;
	if (r->newline)
		*o++ = '\n';
	return (size_t)(o - out);
}

bool cs_log_rec_time(struct cs_log_rec *r)
{
	char buf[64];

	if (!r->time)
		return true;
	if (r->time_len >= sizeof(buf))
		return false;
	memcpy(buf, r->time, r->time_len);
	buf[r->time_len] = 0;
	return cs_time_parse(buf, &r->ts);
}
