/* SPDX-License-Identifier: Apache-2.0
 *
 * resolv.conf(5), read and written. The comments are Docker's, of which other programs (k3d, kind) read the servers. */
#include "network/resolv_conf.h"

#include <string.h>

#include "base/num.h"
#include "base/str.h"
#include "base/strv.h"
#include "network/dns_table.h"

#define TEXT_MAX ((size_t)256 << 10)

static bool is_address(const char *s)
{
	union cs_dns_sockaddr a;

	return cs_dns_server_parse(s, &a) == 0;
}

static char **words(const char *s, size_t len)
{
	char **v = NULL;

	for (size_t i = 0; i < len;) {
		size_t n = 0;
		while (i < len && strchr(" \t\r\v\f", s[i]))
			i++;
		while (i + n < len && !strchr(" \t\r\v\f", s[i + n]))
			n++;
		if (n)
			cs_strv_take(&v, cs_xstrndup(s + i, n));
		i += n;
	}
	return v;
}

static void replace(char ***v, char **words)
{
	cs_strv_free(*v);
	*v = cs_strv_copy(words);
}

static void parse_line(struct cs_resolv_conf *ret, char **w, const char *line, size_t len)
{
	if (strcmp(w[0], "nameserver") == 0) {
		if (w[1] && is_address(w[1]))
			cs_strv_push(&ret->servers, w[1]);
	} else if (strcmp(w[0], "search") == 0 || strcmp(w[0], "domain") == 0) {
		if (w[1])
			replace(&ret->search, w + 1);
	} else if (strcmp(w[0], "options") == 0) {
		for (size_t i = 1; w[i]; i++)
			cs_strv_push(&ret->options, w[i]);
	} else {
		cs_strv_take(&ret->other, cs_xstrndup(line, len));
	}
}

void cs_resolv_conf_parse(const char *text, struct cs_resolv_conf *ret)
{
	*ret = (struct cs_resolv_conf){0};
	while (*text) {
		size_t len = strcspn(text, "\n");
		const char *line = text;
		cs_autostrv char **w = words(line, len);
		text += len + (text[len] == '\n');
		if (w && *w[0] != '#' && *w[0] != ';')
			parse_line(ret, w, line, len);
	}
}

void cs_resolv_conf_done(struct cs_resolv_conf *c)
{
	cs_strv_free(c->servers);
	cs_strv_free(c->search);
	cs_strv_free(c->options);
	cs_strv_free(c->other);
	*c = (struct cs_resolv_conf){0};
}

static bool given(const char *const *v) { return v && *v; }

static bool is_loopback(const char *s) { return cs_prefix(s, "127.") || strcmp(s, "::1") == 0; }

static void put_list(struct cs_str *out, const char *before, const char *const *v, const char *after)
{
	cs_str_puts(out, before);
	for (size_t i = 0; v && v[i]; i++) {
		if (i)
			cs_str_putc(out, ' ');
		cs_str_puts(out, v[i]);
	}
	cs_str_puts(out, after);
}

/* The option's value with "ndots:" in front, if it is a number. */
static bool is_ndots(const char *option)
{
	const char *value = cs_prefix(option, "ndots:");
	uint64_t n;

	return value && cs_parse_u64(value, 0, INT32_MAX, &n);
}

/* The options of the container; whether ndots is among them. */
static char **options_of(const struct cs_resolv_conf_settings *s, const struct cs_resolv_conf *host, bool *ndots)
{
	const char *const *from = given(s->options) ? s->options : (const char *const *)host->options;
	char **v = NULL;

	*ndots = false;
	for (size_t i = 0; from && from[i]; i++) {
		bool is = cs_prefix(from[i], "ndots:") || strcmp(from[i], "ndots") == 0;
		if (is && s->embedded && !is_ndots(from[i]))
			continue;
		*ndots = *ndots || is;
		cs_strv_push(&v, from[i]);
	}
	return v;
}

static char **search_of(const struct cs_resolv_conf_settings *s, const struct cs_resolv_conf *host)
{
	char **v = NULL;

	if (!given(s->search))
		return cs_strv_copy(host->search);
	for (size_t i = 0; s->search[i]; i++)
		if (strcmp(s->search[i], ".") != 0)
			cs_strv_push(&v, s->search[i]);
	return v;
}

static void put_comments(struct cs_str *out, const struct cs_resolv_conf_settings *s, const struct cs_resolv_conf *host, const char *ndots, bool fallback)
{
	const char *overrides[] = {given(s->servers) ? "nameservers" : NULL, given(s->search) ? "search" : NULL, given(s->options) ? "options" : NULL};
	const char *list[4] = {0};
	size_t n = 0;

	cs_str_putf(out, "\n# Based on host file: '%s' (%s)\n", s->host_path, s->embedded ? "internal resolver" : "legacy");
	if (fallback)
		cs_str_puts(out, "# Used default nameservers.\n");
	if (s->embedded && given(s->servers)) {
		put_list(out, "# ExtServers: [", s->servers, "]\n");
	} else if (s->embedded && host->servers) {
		cs_autostrv char **servers = NULL;
		for (size_t i = 0; host->servers[i]; i++)
			cs_strv_take(&servers, cs_xasprintf("host(%s)", host->servers[i]));
		put_list(out, "# ExtServers: [", (const char *const *)servers, "]\n");
	}
	for (size_t i = 0; i < CS_ARRAY_SIZE(overrides); i++)
		if (overrides[i])
			list[n++] = overrides[i];
	put_list(out, "# Overrides: [", list, "]\n");
	if (ndots)
		cs_str_putf(out, "# Option ndots from: %s\n", ndots);
}

char *cs_resolv_conf_text(const struct cs_resolv_conf_settings *s)
{
	struct cs_str out cs_autostr = CS_STR_INIT(TEXT_MAX);
	struct cs_resolv_conf host;
	bool ndots, fallback = false;
	const char *from = NULL;

	cs_resolv_conf_parse(s->host_text ? s->host_text : "", &host);
	cs_autostrv char **search = search_of(s, &host), **options = options_of(s, &host, &ndots), **servers = NULL;
	if (ndots)
		from = given(s->options) ? "override" : "host";
	if (s->embedded) {
		cs_strv_push(&servers, CS_RESOLVER_ADDRESS);
		if (!ndots) {
			cs_strv_push(&options, "ndots:0");
			from = "internal";
		}
	} else if (given(s->servers)) {
		servers = cs_strv_copy((char *const *)(uintptr_t)s->servers);
	} else {
		for (size_t i = 0; host.servers && host.servers[i]; i++)
			if (!is_loopback(host.servers[i]))
				cs_strv_push(&servers, host.servers[i]);
		if (!servers) {
			fallback = true;
			cs_strv_push(&servers, "8.8.8.8");
			cs_strv_push(&servers, "8.8.4.4");
		}
	}
	cs_str_puts(&out, "# Generated by Caisson.\n\n");
	for (size_t i = 0; servers && servers[i]; i++)
		cs_str_putf(&out, "nameserver %s\n", servers[i]);
	if (search)
		put_list(&out, "search ", (const char *const *)search, "\n");
	if (options)
		put_list(&out, "options ", (const char *const *)options, "\n");
	for (size_t i = 0; host.other && host.other[i]; i++)
		cs_str_putf(&out, "%s\n", host.other[i]);
	put_comments(&out, s, &host, from, fallback);
	cs_resolv_conf_done(&host);
	return cs_str_steal(&out);
}
