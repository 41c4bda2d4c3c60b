/* SPDX-License-Identifier: Apache-2.0
 *
 * URLs as far as registries need them: http and https, a plain host, no user. What is odd is refused here, so that nobody below has to guess
 * which host a text means. No state. */
#include <arpa/inet.h>

#include "base/num.h"
#include "registry/internal.h"

#define URL_MAX (16u << 10)

static bool is_host_char(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'; }

/* host or [v6], optional :port. Returns behind it or NULL. */
static const char *take_host(const char *p, struct cs_rg_url *u)
{
	const char *start = p;
	struct in6_addr v6;
	uint64_t port;

	if (*p == '[') {
		const char *end = strchr(p, ']');
		u->host = end && end - p < 64 ? cs_xstrndup(p + 1, (size_t)(end - p - 1)) : NULL;
		if (!u->host || inet_pton(AF_INET6, u->host, &v6) != 1)
			return NULL;
		p = end + 1;
	} else {
		while (is_host_char(*p))
			p++;
		if (p == start || p - start > 253 || *start == '.' || *start == '-')
			return NULL;
		u->host = cs_xstrndup(start, (size_t)(p - start));
	}
	if (*p == ':') {
		size_t n = strspn(p + 1, "0123456789");
		if (!cs_parse_u64n(p + 1, n, 1, 65535, &port))
			return NULL;
		u->port = cs_xasprintf("%u", (unsigned)port);
		p += 1 + n;
	}
	return p;
}

/* Blanks and what is not ASCII are escaped, as clients do; the fragment is ours alone. */
static char *take_path(const char *p)
{
	struct cs_str s = CS_STR_INIT(3 * URL_MAX);

	if (*p != '/')
		cs_str_putc(&s, '/');
	for (; *p && *p != '#'; p++) {
		unsigned char c = (unsigned char)*p;
		if (c < 0x20 || c == 0x7f) {
			cs_str_done(&s);
			return NULL;
		}
		if (c == ' ' || c >= 0x80)
			cs_str_putf(&s, "%%%02X", (unsigned)c);
		else
			cs_str_putc(&s, (char)c);
	}
	return cs_str_steal(&s);
}

void cs_rg_url_done(struct cs_rg_url *u)
{
	free(u->scheme);
	free(u->host);
	free(u->port);
	free(u->path);
	*u = (struct cs_rg_url){0};
}

bool cs_rg_url_parse(const char *text, struct cs_rg_url *ret)
{
	struct cs_rg_url u = {0};
	bool tls = strncasecmp(text, "https://", 8) == 0;
	const char *p = tls ? text + 8 : text + 7, *at;
	size_t authority;

	if (strnlen(text, URL_MAX + 1) > URL_MAX || (!tls && strncasecmp(text, "http://", 7) != 0))
		return false;
	authority = strcspn(p, "/?#");
	at = memrchr(p, '@', authority);
	u.user = at != NULL;
	p = take_host(at ? at + 1 : p, &u);
	if (p && (*p == '/' || *p == '?' || *p == '#' || !*p))
		u.path = take_path(p);
	if (!u.path) {
		cs_rg_url_done(&u);
		return false;
	}
	u.scheme = cs_xstrdup(tls ? "https" : "http");
	if (!u.port)
		u.port = cs_xstrdup(tls ? "443" : "80");
	for (char *h = u.host; *h; h++)
		if (*h >= 'A' && *h <= 'Z')
			*h = (char)(*h - 'A' + 'a');
	*ret = u;
	return true;
}

static char *origin_text(const struct cs_rg_url *u)
{
	bool v6 = strchr(u->host, ':') != NULL;
	return cs_xasprintf("%s://%s%s%s:%s", u->scheme, v6 ? "[" : "", u->host, v6 ? "]" : "", u->port);
}

bool cs_rg_same_origin(const char *a, const char *b)
{
	struct cs_rg_url ua = {0}, ub = {0};
	bool same = cs_rg_url_parse(a, &ua) && cs_rg_url_parse(b, &ub) && strcmp(ua.scheme, ub.scheme) == 0 && strcmp(ua.host, ub.host) == 0 &&
		    strcmp(ua.port, ub.port) == 0;

	cs_rg_url_done(&ua);
	cs_rg_url_done(&ub);
	return same;
}

/* Has "scheme:" in front? */
static bool has_scheme(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
	return n > 0 && s[n] == ':' && !(*s >= '0' && *s <= '9');
}

char *cs_rg_url_join(const char *base, const char *target)
{
	struct cs_rg_url b = {0}, check = {0};
	char *out = NULL;

	if (!cs_rg_url_parse(base, &b))
		return NULL;
	cs_autofree char *origin = origin_text(&b);
	if (has_scheme(target)) {
		out = cs_xstrdup(target);
	} else if (strncmp(target, "//", 2) == 0) {
		out = cs_xasprintf("%s:%s", b.scheme, target);
	} else if (*target == '/') {
		out = cs_xasprintf("%s%s", origin, target);
	} else {
		size_t keep = strcspn(b.path, "?");
		while (*target != '?' && keep > 0 && b.path[keep - 1] != '/')
			keep--;
		out = cs_xasprintf("%s%.*s%s", origin, (int)keep, b.path, target);
	}
	cs_rg_url_done(&b);
	if (!cs_rg_url_parse(out, &check) || check.user) {
		cs_rg_url_done(&check);
		free(out);
		return NULL;
	}
	cs_autofree char *clean = origin_text(&check);
	free(out);
	out = cs_xasprintf("%s%s", clean, check.path);
	cs_rg_url_done(&check);
	return out;
}
