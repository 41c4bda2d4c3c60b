/* SPDX-License-Identifier: Apache-2.0
 *
 * See query.h. No state, no threads. */
#include "api/query.h"

#include <strings.h>

#include "base/num.h"
#include "base/strv.h"
#include "base/time.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *cs_url_decode(const char *s, size_t n, bool plus)
{
	cs_autofree char *out = cs_xmalloc(n + 1);
	size_t o = 0;

	for (size_t i = 0; i < n; i++) {
		char c = s[i];
		if (c == '%') {
			int hi = i + 1 < n ? hex_digit(s[i + 1]) : -1;
			int lo = i + 2 < n ? hex_digit(s[i + 2]) : -1;
			if (hi < 0 || lo < 0)
				return NULL;
			c = (char)(hi * 16 + lo);
			i += 2;
		} else if (c == '+' && plus) {
			c = ' ';
		}
		if (!c)
			return NULL;
		out[o++] = c;
	}
	out[o] = '\0';
	return TAKE_PTR(out);
}

static int parse_pair(const char *p, size_t len, struct cs_query *q, struct cs_err **err)
{
	const char *eq = memchr(p, '=', len);
	size_t klen = eq ? (size_t)(eq - p) : len;
	cs_autofree char *key = cs_url_decode(p, klen, true);
	cs_autofree char *val = eq ? cs_url_decode(eq + 1, len - klen - 1, true) : cs_xstrdup("");

	if (memchr(p, ';', len))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid semicolon separator in query");
	if (!key || !val)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid URL escape in query");
	if (q->n >= CS_QUERY_MAX_PAIRS)
		return cs_fail(err, CS_ERR_INVALID, 0, "too many query parameters");
	q->pair = cs_xreallocarray(q->pair, q->n + 1, sizeof(*q->pair));
	q->pair[q->n++] = (struct cs_query_pair){ TAKE_PTR(key), TAKE_PTR(val) };
	return 0;
}

int cs_query_parse(const char *text, struct cs_query *ret, struct cs_err **err)
{
	struct cs_query q = { 0 };

	for (const char *p = text; p && *p;) {
		size_t len = strcspn(p, "&");
		if (len > 0 && parse_pair(p, len, &q, err) < 0) {
			cs_query_done(&q);
			return -1;
		}
		p += len;
		if (*p == '&')
			p++;
	}
	*ret = q;
	return 0;
}

void cs_query_done(struct cs_query *q)
{
	for (size_t i = 0; i < q->n; i++) {
		free(q->pair[i].key);
		free(q->pair[i].val);
	}
	free(q->pair);
	*q = (struct cs_query){ 0 };
}

const char *cs_query_get(const struct cs_query *q, const char *key)
{
	for (size_t i = 0; i < q->n; i++)
		if (!strcmp(q->pair[i].key, key))
			return q->pair[i].val;
	return NULL;
}

const char *cs_query_str(const struct cs_query *q, const char *key)
{
	const char *v = cs_query_get(q, key);

	return cs_empty(v) ? NULL : v;
}

char **cs_query_all(const struct cs_query *q, const char *key)
{
	char **v = NULL;

	for (size_t i = 0; i < q->n; i++)
		if (!strcmp(q->pair[i].key, key))
			cs_strv_push(&v, q->pair[i].val);
	return v;
}

bool cs_query_bool(const struct cs_query *q, const char *key)
{
	static const char *const no[] = { "", "0", "no", "false", "none" };
	cs_autofree char *v = cs_xstrdup(cs_query_get(q, key));
	char *s = v;

	if (!v)
		return false;
	while (*s == ' ' || *s == '\t')
		s++;
	for (size_t n = strlen(s); n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'); n--)
		s[n - 1] = '\0';
	for (size_t i = 0; i < CS_ARRAY_SIZE(no); i++)
		if (!strcasecmp(s, no[i]))
			return false;
	return true;
}

bool cs_query_bool_or(const struct cs_query *q, const char *key, bool dflt)
{
	return cs_query_get(q, key) ? cs_query_bool(q, key) : dflt;
}

int cs_query_i64(const struct cs_query *q, const char *key, int64_t dflt, int64_t min, int64_t max, int64_t *ret, struct cs_err **err)
{
	const char *v = cs_query_str(q, key);
	int64_t n;

	if (!v) {
		*ret = dflt;
		return 0;
	}
	if (!cs_parse_i64(v, INT64_MIN, INT64_MAX, &n))
		return cs_fail(err, CS_ERR_INVALID, 0, "%s: strconv.Atoi: parsing \"%s\": invalid syntax", key, v);
	if (n < min || n > max)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s: strconv.Atoi: parsing \"%s\": value out of range", key, v);
	*ret = n;
	return 0;
}

int cs_query_time(const struct cs_query *q, const char *key, int64_t *ret, struct cs_err **err)
{
	const char *v = cs_query_str(q, key);
	int64_t t = 0;

	if (v && strcmp(v, "0") && !cs_time_parse_param(v, cs_now_ns(), &t))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid value for \"%s\": %s", key, v);
	*ret = t;
	return 0;
}

/* Is the weight of a media type, "…;q=0.5", nothing? */
static bool is_refused(const char *params, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (params[i] != ';')
			continue;
		size_t k = i + 1;
		while (k < len && (params[k] == ' ' || params[k] == '\t'))
			k++;
		if (k + 2 < len && (params[k] | 0x20) == 'q' && params[k + 1] == '=') {
			size_t end = k + 2;
			while (end < len && strchr("0.", params[end]))
				end++;
			return params[k + 2] == '0' && (end == len || strchr("; \t", params[end]));
		}
	}
	return false;
}

const char *cs_accept_lines(const char *accept)
{
	static const char *const types[] = {"application/jsonl", "application/x-ndjson"};

	for (const char *p = accept; p && *p; p += *p == ',') {
		p += strspn(p, " \t");
		size_t all = strcspn(p, ","), len = strcspn(p, ",; \t");
		for (size_t i = 0; i < CS_ARRAY_SIZE(types); i++)
			if (len == strlen(types[i]) && strncasecmp(p, types[i], len) == 0 && !is_refused(p + len, all - len))
				return types[i];
		p += all;
	}
	return NULL;
}
