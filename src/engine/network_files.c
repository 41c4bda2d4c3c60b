/* SPDX-License-Identifier: Apache-2.0
 *
 * /etc/hosts and /etc/resolv.conf of containers with networks: what goes in at start, and changes in place while a container runs (the files are
 * bound into it, so their inodes must stay; lines that somebody added inside stay, too). op_lock is held. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "engine/network.h"
#include "engine/spec.h"
#include "engine/validate.h"

#define FILE_MAX ((size_t)1 << 20)

bool cs_container_resolver(struct cs_container *c)
{
	for (size_t i = 0; c->nets && i < c->nets->n_endpoints; i++)
		if (!cs_network_predefined(c->nets->endpoints[i].key))
			return true;
	return false;
}

/* Any text may stand in the container's resolv.conf; what the embedded resolver does not heed is not told to its service, which would refuse what it
 * does not know. */
static char **heeded(char *const *options)
{
	char **ret = NULL;
	uint64_t n;

	for (; options && *options; options++) {
		const char *ndots = cs_prefix(*options, "ndots:");
		if (ndots && cs_parse_u64(ndots, 0, INT32_MAX, &n))
			cs_strv_push(&ret, *options);
	}
	return ret;
}

void cs_container_put_dns(struct cs_container *c, struct cs_str *out)
{
	const struct cs_engine_config *cfg = cs_engine_config(c->e);
	const struct cs_host_config *h = c->host;
	cs_autostrv char **options = heeded(h->dns_options && *h->dns_options ? h->dns_options : cfg->dns_opts);
	const struct {
		const char *key;
		char *const *own, *const *engine;
	} lists[] = {{"ServerList", h->dns, cfg->dns}, {"Search", h->dns_search, cfg->dns_search}, {"Options", options, NULL}};

	cs_str_putc(out, '{');
	for (size_t i = 0; i < CS_ARRAY_SIZE(lists); i++) {
		char *const *v = lists[i].own && *lists[i].own ? lists[i].own : lists[i].engine;
		if (!v || !*v)
			continue;
		cs_json_put_key(out, lists[i].key);
		cs_json_put_strv(out, v);
	}
	cs_json_put_kbool(out, "Resolver", cs_container_resolver(c));
	cs_str_putc(out, '}');
}

/* What host-gateway stands for. */
static char **gateway_ips(struct cs_container *c)
{
	char *const *given = cs_engine_config(c->e)->network.host_gateway_ips;
	cs_autonetwork struct cs_network *n = NULL;
	char **ret = cs_strv_copy(given);

	if (given || cs_network_get(c->e, "bridge", &n, NULL) < 0)
		return ret;
	for (size_t i = 0; i < n->doc->ipam.n_config; i++)
		if (!cs_empty(n->doc->ipam.config[i].gateway))
			cs_strv_push(&ret, n->doc->ipam.config[i].gateway);
	return ret;
}

/* The full name and its first label, also where the whole of it was given as host name. */
static char *own_names(const struct cs_config *config)
{
	if (cs_empty(config->hostname))
		return NULL;
	cs_autofree char *fqdn = cs_empty(config->domainname) ? cs_xstrdup(config->hostname) : cs_xasprintf("%s.%s", config->hostname, config->domainname);
	const char *dot = strchr(fqdn, '.');
	return dot && dot > fqdn ? cs_xasprintf("%s %.*s", fqdn, (int)(dot - fqdn), fqdn) : TAKE_PTR(fqdn);
}

static void own_lines(struct cs_container *c, const struct cs_endpoint_settings *s, char ***lines)
{
	cs_autofree char *names = own_names(c->config);
	const char *const ips[] = {s->ip_address, s->global_ipv6_address};

	for (size_t i = 0; names && i < CS_ARRAY_SIZE(ips); i++)
		if (!cs_empty(ips[i]))
			cs_strv_take(lines, cs_xasprintf("%s\t%s", ips[i], names));
}

int cs_container_files_write(struct cs_container *c, char *const *link_hosts, struct cs_err **err)
{
	cs_autostrv char **own = NULL, **gateways = gateway_ips(c);
	struct cs_names_extra x = {.links = link_hosts, .gateways = gateways, .resolver = cs_container_resolver(c)};

	for (size_t i = 0; i < c->nets->n_endpoints; i++)
		own_lines(c, &c->nets->endpoints[i], &own);
	x.own = own;
	return cs_names_write(cs_engine_config(c->e), c->dir, c->config, c->host, &x, err);
}

/* ---- in place ---- */

static int edit(struct cs_container *c, const char *name, void (*change)(const struct cs_str *old, void *ctx, struct cs_str *out), void *ctx)
{
	cs_autofree char *path = cs_xasprintf("%s/%s", c->dir, name);
	cs_autostr struct cs_str old = CS_STR_INIT(FILE_MAX), fresh = CS_STR_INIT(2 * FILE_MAX);
	cs_autofd int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	int r = fd < 0 ? -errno : cs_read_fd(fd, &old);

	if (r < 0)
		return r;
	change(&old, ctx, &fresh);
	if (fresh.failed)
		return -EFBIG;
	if (fresh.len == old.len && (!fresh.len || memcmp(fresh.buf, old.buf, fresh.len) == 0))
		return 0;
	r = cs_pwrite_full(fd, fresh.buf ? fresh.buf : "", fresh.len, 0);
	return r < 0 ? r : ftruncate(fd, (off_t)fresh.len) < 0 ? -errno : 0;
}

static void append(const struct cs_str *old, void *ctx, struct cs_str *out)
{
	cs_str_put(out, old->buf, old->len);
	if (out->len && out->buf[out->len - 1] != '\n')
		cs_str_putc(out, '\n');
	for (char **p = ctx; p && *p; p++) {
		cs_str_puts(out, *p);
		cs_str_putc(out, '\n');
	}
}

static void remove_lines(const struct cs_str *old, void *ctx, struct cs_str *out)
{
	for (const char *p = old->buf, *end = p + old->len; p && p < end;) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t n = nl ? (size_t)(nl - p) + 1 : (size_t)(end - p);
		cs_autofree char *line = cs_xstrndup(p, nl ? n - 1 : n);
		if (!cs_strv_has(ctx, line))
			cs_str_put(out, p, n);
		p += n;
	}
}

/* ctx: what the lines that go end with */
static void remove_ending(const struct cs_str *old, void *ctx, struct cs_str *out)
{
	size_t len = strlen(ctx);

	for (const char *p = old->buf, *end = p + old->len; p && p < end;) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t n = nl ? (size_t)(nl - p) + 1 : (size_t)(end - p), text = nl ? n - 1 : n;
		if (text < len || memcmp(p + text - len, ctx, len) != 0)
			cs_str_put(out, p, n);
		p += n;
	}
}

struct texts {
	const char *from, *to;
};

static void replace_if(const struct cs_str *old, void *ctx, struct cs_str *out)
{
	const struct texts *t = ctx;
	bool same = old->buf && strcmp(old->buf, t->from) == 0;

	cs_str_puts(out, same ? t->to : old->buf ? old->buf : "");
}

/* From the host's servers to the embedded resolver or back, unless somebody has edited the file. */
static void switch_resolver(struct cs_container *c, bool to)
{
	cs_autofree char *with = cs_names_resolv_text(cs_engine_config(c->e), c->host, true), *without = cs_names_resolv_text(cs_engine_config(c->e), c->host, false);
	struct texts t = {to ? without : with, to ? with : without};
	int r = t.from && t.to ? edit(c, "resolv.conf", replace_if, &t) : 0;

	if (r < 0)
		cs_logk(CS_LOG_WARN, "engine", "container", c->id, "its resolv.conf: %s", cs_errno_text(-r));
}

void cs_container_files_connected(struct cs_container *c, const struct cs_endpoint_settings *s)
{
	cs_autostrv char **lines = NULL;

	own_lines(c, s, &lines);
	int r = edit(c, "hosts", append, lines);
	if (r < 0)
		cs_logk(CS_LOG_WARN, "engine", "container", c->id, "its hosts file: %s", cs_errno_text(-r));
	if (cs_container_resolver(c))
		switch_resolver(c, true);
}

void cs_container_files_disconnected(struct cs_container *c, const char *ip, const char *ip6)
{
	struct cs_endpoint_settings s = {.ip_address = (char *)(uintptr_t)ip, .global_ipv6_address = (char *)(uintptr_t)ip6};
	cs_autostrv char **lines = NULL;

	own_lines(c, &s, &lines);
	int r = edit(c, "hosts", remove_lines, lines);
	if (r < 0)
		cs_logk(CS_LOG_WARN, "engine", "container", c->id, "its hosts file: %s", cs_errno_text(-r));
	if (!cs_container_resolver(c))
		switch_resolver(c, false);
}

void cs_container_files_unlinked(struct cs_container *c, const char *names)
{
	cs_autofree char *ending = cs_xasprintf("\t%s", names);
	int r = edit(c, "hosts", remove_ending, ending);

	if (r < 0)
		cs_logk(CS_LOG_WARN, "engine", "container", c->id, "its hosts file: %s", cs_errno_text(-r));
}
