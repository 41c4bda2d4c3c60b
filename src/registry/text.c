/* SPDX-License-Identifier: Apache-2.0
 *
 * Parsers of header values. No state. */
#include "registry/text.h"

#include "base/num.h"

#define HEADER_MAX (16u << 10)

static bool is_alnum(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_token(char c) { return is_alnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c)); }
static bool is_blank(char c) { return c == ' ' || c == '\t'; }

static const char *skip_blanks(const char *p)
{
	while (is_blank(*p))
		p++;
	return p;
}

static const char *skip_token(const char *p)
{
	while (is_token(*p))
		p++;
	return p;
}

/* ---- WWW-Authenticate ---- */

/* "text" with backslashes, or a token. Returns behind it, NULL when there is neither. */
static const char *take_value(const char *p, struct cs_str *out)
{
	if (*p != '"') {
		const char *end = p;
		while (*end && *end != ',' && !is_blank(*end))
			end++;
		cs_str_put(out, p, (size_t)(end - p));
		return end;
	}
	for (p++; *p && *p != '"'; p++) {
		if (*p == '\\' && p[1])
			p++;
		cs_str_putc(out, *p);
	}
	return *p == '"' ? p + 1 : NULL;
}

static void set_param(struct cs_rg_challenge *c, const char *name, size_t n, struct cs_str *value)
{
	const struct {
		const char *name;
		char **to;
	} known[] = {{"realm", &c->realm}, {"service", &c->service}, {"scope", &c->scope}, {"error", &c->error}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(known); i++)
		if (strlen(known[i].name) == n && strncasecmp(known[i].name, name, n) == 0 && !*known[i].to)
			*known[i].to = cs_str_steal(value);
}

/* Parameters until the next scheme or the end. */
static const char *take_params(const char *p, struct cs_rg_challenge *c)
{
	for (;;) {
		const char *start, *end, *eq;
		for (start = skip_blanks(p); *start == ','; start = skip_blanks(start + 1))
			;
		end = skip_token(start);
		eq = skip_blanks(end);
		if (end == start || *eq != '=')
			return start;
		cs_autostr struct cs_str value = CS_STR_INIT(HEADER_MAX);
		p = take_value(skip_blanks(eq + 1), &value);
		if (!p)
			return NULL;
		set_param(c, start, (size_t)(end - start), &value);
	}
}

static void challenge_done(struct cs_rg_challenge *c)
{
	free(c->scheme);
	free(c->realm);
	free(c->service);
	free(c->scope);
	free(c->error);
	*c = (struct cs_rg_challenge){0};
}

void cs_rg_challenges_add(struct cs_rg_challenges *c, const char *header)
{
	const char *p = header;

	if (strnlen(header, HEADER_MAX + 1) > HEADER_MAX)
		return;
	while (p && c->n < CS_RG_CHALLENGES) {
		while (*p == ',' || is_blank(*p))
			p++;
		const char *end = skip_token(p);
		if (end == p || (*end && !is_blank(*end) && *end != ','))
			return;
		struct cs_rg_challenge one = {.scheme = cs_xstrndup(p, (size_t)(end - p))};
		for (char *s = one.scheme; *s; s++)
			if (*s >= 'A' && *s <= 'Z')
				*s = (char)(*s - 'A' + 'a');
		p = take_params(end, &one);
		if (p)
			c->c[c->n++] = one;
		else
			challenge_done(&one);
	}
}

void cs_rg_challenges_done(struct cs_rg_challenges *c)
{
	for (size_t i = 0; i < c->n; i++)
		challenge_done(&c->c[i]);
	c->n = 0;
}

const struct cs_rg_challenge *cs_rg_challenge_find(const struct cs_rg_challenges *c, const char *scheme)
{
	for (size_t i = 0; i < c->n; i++)
		if (strcmp(c->c[i].scheme, scheme) == 0)
			return &c->c[i];
	return NULL;
}

/* ---- Link ---- */

/* Does ;rel="next" stand among the parameters that start at p? */
static bool is_next(const char *p, const char **after)
{
	bool found = false;

	for (p = skip_blanks(p); *p == ';'; p = skip_blanks(p)) {
		cs_autostr struct cs_str value = CS_STR_INIT(HEADER_MAX);
		const char *name = skip_blanks(p + 1), *end = skip_token(name), *eq = skip_blanks(end);
		p = end;
		if (*eq != '=')
			continue;
		const char *v = skip_blanks(eq + 1);
		if (*v == '"') {
			p = take_value(v, &value);
		} else {
			p = skip_token(v);
			cs_str_put(&value, v, (size_t)(p - v));
		}
		if (!p)
			return false;
		if (end - name == 3 && strncasecmp(name, "rel", 3) == 0 && value.buf && strcasecmp(value.buf, "next") == 0)
			found = true;
	}
	*after = p;
	return found;
}

char *cs_rg_link_next(const char *header)
{
	const char *p = header;

	if (strnlen(header, HEADER_MAX + 1) > HEADER_MAX)
		return NULL;
	for (;;) {
		while (*p == ',' || is_blank(*p))
			p++;
		const char *end = *p == '<' ? strchr(p, '>') : NULL, *after = NULL;
		if (!end)
			return NULL;
		if (is_next(end + 1, &after))
			return cs_xstrndup(p + 1, (size_t)(end - p - 1));
		if (!after || *after != ',')
			return NULL;
		p = after;
	}
}

/* ---- numbers ---- */

bool cs_rg_content_range(const char *header, struct cs_rg_range *ret)
{
	const char *p = skip_blanks(header), *dash, *slash;
	uint64_t first, last, total = 0;
	size_t n;

	if (strncasecmp(p, "bytes", 5) != 0 || !is_blank(p[5]))
		return false;
	p = skip_blanks(p + 5);
	dash = strchr(p, '-');
	slash = dash ? strchr(dash, '/') : NULL;
	if (!slash || !cs_parse_u64n(p, (size_t)(dash - p), 0, INT64_MAX - 1, &first) ||
	    !cs_parse_u64n(dash + 1, (size_t)(slash - dash - 1), first, INT64_MAX - 1, &last))
		return false;
	for (n = strlen(slash + 1); n > 0 && is_blank(slash[n]); n--)
		;
	bool any = n == 1 && slash[1] == '*';
	if (!any && !cs_parse_u64n(slash + 1, n, last + 1, INT64_MAX, &total))
		return false;
	*ret = (struct cs_rg_range){.first = (int64_t)first, .last = (int64_t)last, .total = any ? -1 : (int64_t)total};
	return true;
}

int64_t cs_rg_retry_after(const char *header, int64_t now_s)
{
	struct tm tm = {0};
	uint64_t seconds;

	if (cs_parse_u64(header, 0, INT32_MAX, &seconds))
		return (int64_t)seconds;
	const char *end = strptime(header, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	if (!end || *end)
		return -1;
	int64_t then = timegm(&tm);
	return then <= now_s ? 0 : then - now_s > INT32_MAX ? -1 : then - now_s;
}

bool cs_rg_digest_valid(const char *s)
{
	const char *hex = cs_prefix(s, "sha256:");
	size_t n = 0;

	if (!hex)
		return false;
	while ((hex[n] >= '0' && hex[n] <= '9') || (hex[n] >= 'a' && hex[n] <= 'f'))
		n++;
	return n == 64 && !hex[n];
}

/* ---- encodings ---- */

void cs_rg_query_escape(struct cs_str *out, const char *s)
{
	for (; *s; s++) {
		if (is_alnum(*s) || strchr("-._~", *s))
			cs_str_putc(out, *s);
		else
			cs_str_putf(out, "%%%02X", (unsigned)(unsigned char)*s);
	}
}

bool cs_rg_header_value_ok(const char *s)
{
	for (const char *p = s; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			return false;
	return *s && !is_blank(*s) && !is_blank(s[strlen(s) - 1]);
}
