/* SPDX-License-Identifier: Apache-2.0
 *
 * Grammar of image references (distribution/reference), by hand and linear. No state. */
#include "registry/reference.h"

#include "base/strv.h"

#define DEFAULT_DOMAIN "docker.io"
#define OFFICIAL "library/"

static bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
static bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_alnum(char c) { return is_lower(c) || is_upper(c) || is_digit(c); }
static bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

bool cs_ref_is_id(const char *s)
{
	size_t n = 0;
	for (; s[n]; n++) {
		if (n >= 64 || !(is_digit(s[n]) || (s[n] >= 'a' && s[n] <= 'f')))
			return false;
	}
	return n == 64;
}

bool cs_ref_tag_valid(const char *t)
{
	size_t n = strlen(t);

	if (n == 0 || n > 128 || !(is_alnum(t[0]) || t[0] == '_'))
		return false;
	for (size_t i = 1; i < n; i++) {
		if (!is_alnum(t[i]) && t[i] != '_' && t[i] != '.' && t[i] != '-')
			return false;
	}
	return true;
}

/* host name or [IPv6], optional port */
static bool domain_valid(const char *d)
{
	const char *p = d;

	if (*p == '[') {
		for (p++; is_hex(*p) || *p == ':'; p++)
			;
		if (*p++ != ']')
			return false;
	} else {
		for (;;) {
			const char *start = p;
			while (is_alnum(*p) || *p == '-')
				p++;
			if (p == start || *start == '-' || p[-1] == '-')
				return false;
			if (*p != '.')
				break;
			p++;
		}
	}
	if (*p == ':') {
		const char *start = ++p;
		while (is_digit(*p))
			p++;
		if (p == start)
			return false;
	}
	return !*p;
}

/* components of [a-z0-9]+ joined by one '.', one or two '_', or any number of '-'; components joined by '/' */
static bool path_valid(const char *p)
{
	for (;;) {
		if (!is_lower(*p) && !is_digit(*p))
			return false;
		while (is_lower(*p) || is_digit(*p))
			p++;
		if (!*p)
			return true;
		if (*p == '/') {
			p++;
		} else if (*p == '.') {
			p++;
		} else if (*p == '_') {
			p += p[1] == '_' ? 2 : 1;
		} else if (*p == '-') {
			while (*p == '-')
				p++;
		} else {
			return false;
		}
	}
}

static int bad_format(struct cs_err **err) { return cs_fail(err, CS_ERR_INVALID, 0, "invalid reference format"); }

static int digest_check(const char *d, struct cs_err **err)
{
	static const struct {
		const char *name;
		size_t len;
	} algorithms[] = {{"sha256", 64}, {"sha384", 96}, {"sha512", 128}};
	const char *colon = strchr(d, ':');
	size_t n = 0;

	if (!colon || colon == d || !(is_lower(*d) || is_upper(*d)))
		return bad_format(err);
	for (const char *p = d; p < colon; p++) {
		if (!is_alnum(*p) && !(strchr("-_+.", *p) && (is_lower(p[1]) || is_upper(p[1]))))
			return bad_format(err);
	}
	while (is_hex(colon[1 + n]))
		n++;
	if (n < 32 || colon[1 + n])
		return bad_format(err);
	for (size_t i = 0; i < CS_ARRAY_SIZE(algorithms); i++) {
		if ((size_t)(colon - d) != strlen(algorithms[i].name) || strncmp(d, algorithms[i].name, (size_t)(colon - d)) != 0)
			continue;
		if (n != algorithms[i].len)
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid checksum digest length");
		for (size_t k = 0; k < n; k++) {
			if (is_upper(colon[1 + k]))
				return cs_fail(err, CS_ERR_INVALID, 0, "invalid checksum digest format");
		}
		return 0;
	}
	return cs_fail(err, CS_ERR_INVALID, 0, "unsupported digest algorithm");
}

/* First component is a registry when it looks like a host: a dot, a port, "localhost", or a capital. */
/* Does what stands before the first slash look like a host? */
static bool names_host(const char *text)
{
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : 0;
	bool host = memchr(text, '.', n) || memchr(text, ':', n) || (n == 9 && strncmp(text, "localhost", 9) == 0);

	for (size_t i = 0; i < n && !host; i++)
		host = is_upper(text[i]);
	return host;
}

static void split_domain(const char *text, struct cs_ref *r, const char **rest)
{
	const char *slash = strchr(text, '/');
	bool host = names_host(text);

	r->domain = host ? cs_xstrndup(text, (size_t)(slash - text)) : cs_xstrdup(DEFAULT_DOMAIN);
	*rest = host ? slash + 1 : text;
	if (strcmp(r->domain, "index.docker.io") == 0) {
		free(r->domain);
		r->domain = cs_xstrdup(DEFAULT_DOMAIN);
	}
}

static int parse_rest(const char *rest, struct cs_ref *r, struct cs_err **err)
{
	bool official = strcmp(r->domain, DEFAULT_DOMAIN) == 0 && !strchr(rest, '/');
	cs_autofree char *work = cs_xasprintf("%s%s", official ? OFFICIAL : "", rest);
	size_t remote = strcspn(work, ":");

	for (size_t i = 0; i < remote; i++) {
		if (is_upper(work[i]))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid reference format: repository name (%.*s) must be lowercase", (int)CS_MIN(remote, 300u), work);
	}
	char *at = strchr(work, '@');
	if (at)
		*at = 0;
	char *slash = strrchr(work, '/'), *colon = strchr(slash ? slash : work, ':');
	if (colon)
		*colon = 0;
	if (!domain_valid(r->domain) || !path_valid(work) || (colon && !cs_ref_tag_valid(colon + 1)))
		return bad_format(err);
	if (at && digest_check(at + 1, err) < 0)
		return -1;
	if (strlen(r->domain) + 1 + strlen(work) > 255)
		return cs_fail(err, CS_ERR_INVALID, 0, "repository name must not be more than 255 characters");
	r->path = cs_xstrdup(work);
	r->tag = colon ? cs_xstrdup(colon + 1) : NULL;
	r->digest = at ? cs_xstrdup(at + 1) : NULL;
	return 0;
}

int cs_ref_parse(const char *text, struct cs_ref *ret, struct cs_err **err)
{
	struct cs_ref r = {0};
	const char *rest;

	if (cs_ref_is_id(text))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid repository name (%s), cannot specify 64-byte hexadecimal strings", text);
	if (strlen(text) > 4096)
		return bad_format(err);
	split_domain(text, &r, &rest);
	if (parse_rest(rest, &r, err) < 0) {
		cs_ref_done(&r);
		return -1;
	}
	*ret = r;
	return 0;
}

void cs_ref_done(struct cs_ref *r)
{
	free(r->domain);
	free(r->path);
	free(r->tag);
	free(r->digest);
	*r = (struct cs_ref){0};
}

void cs_ref_default_tag(struct cs_ref *r)
{
	if (!r->tag && !r->digest)
		r->tag = cs_xstrdup("latest");
}

static char *with_suffix(const char *name, const struct cs_ref *r)
{
	return cs_xasprintf("%s%s%s%s%s", name, r->tag ? ":" : "", r->tag ? r->tag : "", r->digest ? "@" : "", r->digest ? r->digest : "");
}

/* The part of a path on the default host that people write. NULL when it would mean another host: docker.io/evil.example/x stays what it is. */
static const char *short_path(const char *path)
{
	const char *official = cs_prefix(path, OFFICIAL);

	if (official && strlen(official) == 64 && strspn(official, "0123456789abcdef") == 64)
		return path; /* alone it would be an id */
	if (official && !strchr(official, '/'))
		return official;
	return names_host(path) ? NULL : path;
}

char *cs_ref_familiar_name(const struct cs_ref *r)
{
	const char *path = strcmp(r->domain, DEFAULT_DOMAIN) == 0 ? short_path(r->path) : NULL;
	return path ? cs_xstrdup(path) : cs_xasprintf("%s/%s", r->domain, r->path);
}

char *cs_ref_full(const struct cs_ref *r)
{
	cs_autofree char *name = cs_xasprintf("%s/%s", r->domain, r->path);
	return with_suffix(name, r);
}

char *cs_ref_familiar(const struct cs_ref *r)
{
	cs_autofree char *name = cs_ref_familiar_name(r);
	return with_suffix(name, r);
}

char *cs_ref_shorten(const char *full)
{
	const char *rest = cs_prefix(full, DEFAULT_DOMAIN "/");
	const char *path = rest ? short_path(rest) : NULL;
	return cs_xstrdup(path ? path : full);
}
