/* SPDX-License-Identifier: Apache-2.0
 *
 * The three files that are bound over /etc/hostname, /etc/hosts and /etc/resolv.conf. Written anew before each start; network_files.c edits them
 * while the container runs. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "engine/network.h"
#include "engine/spec-internal.h"

#define FILE_MAX ((size_t)1 << 20)

static char *read_host_file(const char *path)
{
	struct cs_str s cs_autostr = CS_STR_INIT(FILE_MAX);
	cs_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && cs_read_fd(fd, &s) == 0 ? cs_str_steal(&s) : NULL;
}

static void put_host(struct cs_str *out, const char *ip, const char *name, size_t n)
{
	cs_str_puts(out, ip);
	cs_str_putc(out, '\t');
	cs_str_put(out, name, n);
	cs_str_putc(out, '\n');
}

bool cs_host_without_ipv6(const struct cs_host_config *h)
{
	const char *off = cs_strmap_get(h->sysctls, "net.ipv6.conf.all.disable_ipv6");

	return !cs_empty(off) && strcmp(off, "0") != 0;
}

/* base: the host's own file for host networking, NULL for a private one. */
int cs_names_hosts(const struct cs_host_config *host, const struct cs_names_extra *x, const char *base, struct cs_str *out, struct cs_err **err)
{
	static const char six[] = "::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n"
				  "ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

	cs_str_puts(out, base ? base : "127.0.0.1\tlocalhost\n");
	if (!base && !cs_host_without_ipv6(host))
		cs_str_puts(out, six);
	if (out->len && out->buf[out->len - 1] != '\n')
		cs_str_putc(out, '\n');
	for (size_t i = 0; host->extra_hosts && host->extra_hosts[i]; i++) {
		const char *e = host->extra_hosts[i], *sep = strpbrk(e, ":=");
		if (!sep)
			continue;
		cs_autofree char *addr = cs_xstrdup(sep + 1);
		size_t n = strlen(addr);
		if (n > 2 && addr[0] == '[' && addr[n - 1] == ']') {
			addr[n - 1] = 0;
			memmove(addr, addr + 1, n - 1);
		}
		if (strcmp(addr, "host-gateway") != 0) {
			put_host(out, addr, e, (size_t)(sep - e));
			continue;
		}
		if (!x || !x->gateways || !*x->gateways)
			return cs_fail(err, CS_ERR_INVALID, 0, "unable to derive the IP value for host-gateway");
		for (char *const *ip = x->gateways; *ip; ip++)
			put_host(out, *ip, e, (size_t)(sep - e));
	}
	char *const *lists[] = {x ? x->links : NULL, x ? x->own : NULL};
	for (size_t k = 0; k < CS_ARRAY_SIZE(lists); k++)
		for (char *const *p = lists[k]; p && *p; p++) {
			cs_str_puts(out, *p);
			cs_str_putc(out, '\n');
		}
	return 0;
}

static bool is_loopback(const char *ns) { return cs_prefix(ns, "127.") || strcmp(ns, "::1") == 0; }

/* Words of the lines of resolv.conf that start with `key` (the last such line only, unless all). */
static char **conf_words(const char *text, const char *key, bool all)
{
	cs_autostrv char **lines = cs_strv_split(text ? text : "", '\n');
	char **ret = NULL;

	for (size_t i = 0; lines[i]; i++) {
		const char *rest = cs_prefix(lines[i], key);
		if (!rest || (*rest != ' ' && *rest != '\t'))
			continue;
		if (!all) {
			cs_strv_free(ret);
			ret = NULL;
		}
		while (*(rest += strspn(rest, " \t\r"))) {
			size_t n = strcspn(rest, " \t\r");
			cs_strv_take(&ret, cs_xstrndup(rest, n));
			rest += n;
		}
	}
	return ret;
}

/* The servers of resolv.conf: one in each line, as libcs read it; what is no address is none of them. */
static char **conf_servers(const char *text)
{
	cs_autostrv char **lines = cs_strv_split(text ? text : "", '\n');
	char **ret = NULL;

	for (size_t i = 0; lines[i]; i++) {
		cs_autostrv char **words = conf_words(lines[i], "nameserver", true);
		cs_autofree char *bare = words ? cs_xstrndup(words[0], strcspn(words[0], "%")) : NULL; /* fe80::1%eth0 */
		uint8_t b[16];
		bool v6;
		if (bare && cs_addr_parse(bare, b, &v6))
			cs_strv_push(&ret, words[0]);
	}
	return ret;
}

static void put_line(struct cs_str *out, const char *key, char *const *words)
{
	cs_str_puts(out, key);
	for (size_t i = 0; words[i]; i++) {
		cs_str_putc(out, ' ');
		cs_str_puts(out, words[i]);
	}
	cs_str_putc(out, '\n');
}

/* The container's word, else the engine's, else the host's. Borrowed. */
static char *const *choose(char *const *own, char *const *engine, char *const *host)
{
	return own && *own ? own : engine && *engine ? engine : host;
}

static const char *host_file(const struct cs_engine_config *cfg) { return cs_empty(cfg->resolv_conf) ? "/etc/resolv.conf" : cfg->resolv_conf; }

static bool is_ndots(const char *option) { return cs_prefix(option, "ndots:") != NULL; }

/* With networks of the user's own the embedded resolver is asked, which asks the servers that would stand here else. */
static void put_internal(const struct cs_engine_config *cfg, const struct cs_host_config *host, char *const *servers, char *const *search, char *const *options,
			 struct cs_str *out)
{
	cs_autofree char *ext = servers ? cs_strv_join(servers, " ") : cs_xstrdup("");
	bool ndots = false, own_ns = (host->dns && *host->dns) || (cfg->dns && *cfg->dns);
	bool own_search = (host->dns_search && *host->dns_search) || (cfg->dns_search && *cfg->dns_search);
	bool own_options = (host->dns_options && *host->dns_options) || (cfg->dns_opts && *cfg->dns_opts);

	cs_str_puts(out, "# Generated by Caisson.\n# This file can be edited; it is not changed while the container runs once it has been modified.\n\n"
			 "nameserver 127.0.0.11\n");
	if (search && *search && !(cs_streq(search[0], ".") && !search[1]))
		put_line(out, "search", search);
	cs_str_puts(out, "options");
	for (char *const *p = options; p && *p; p++) {
		ndots = ndots || is_ndots(*p);
		cs_str_putf(out, " %s", *p);
	}
	cs_str_puts(out, ndots ? "\n" : " ndots:0\n");
	cs_str_putf(out, "\n# Based on host file: '%s' (internal resolver)\n", host_file(cfg));
	if (*ext)
		cs_str_putf(out, "# ExtServers: [%s]\n", ext);
	else
		cs_str_puts(out, "# NO EXTERNAL NAMESERVERS DEFINED\n");
	cs_str_putf(out, "# Overrides: [%s%s%s%s%s]\n", own_ns ? "nameservers" : "", own_ns && own_search ? " " : "", own_search ? "search" : "",
		    (own_ns || own_search) && own_options ? " " : "", own_options ? "options" : "");
	cs_str_putf(out, "# Option ndots from: %s\n", !ndots ? "internal" : own_options ? "overrides" : "host");
}

void cs_names_resolv_conf(const struct cs_engine_config *cfg, const struct cs_host_config *host, const char *base, bool resolver, struct cs_str *out)
{
	bool private = cs_network_is_private(host->network_mode);
	cs_autostrv char **ns = conf_servers(base), **search = conf_words(base, "search", false),
			 **options = conf_words(base, "options", false), **usable = NULL;
	char *const *use;

	if (!private && base && !(host->dns && *host->dns) && !(host->dns_search && *host->dns_search) &&
	    !(host->dns_options && *host->dns_options) && !(cfg->dns && *cfg->dns) && !(cfg->dns_search && *cfg->dns_search) &&
	    !(cfg->dns_opts && *cfg->dns_opts)) {
		cs_str_puts(out, base);
		return;
	}
	if (resolver)
		return put_internal(cfg, host, choose(host->dns, cfg->dns, ns), choose(host->dns_search, cfg->dns_search, search),
				    choose(host->dns_options, cfg->dns_opts, options), out);
	for (size_t i = 0; ns && ns[i]; i++) /* on the default bridge without IPv6 no server can be reached by it */
		if (!private || (!is_loopback(ns[i]) && (cfg->network.ipv6 || !strchr(ns[i], ':'))))
			cs_strv_push(&usable, ns[i]);
	if (private && !usable) { /* dockerd's fallback when the host resolves through its own loopback */
		static const char *const google[] = {"8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"};
		for (size_t i = 0; i < (cfg->network.ipv6 ? 4 : 2); i++)
			cs_strv_push(&usable, google[i]);
	}
	use = choose(host->dns_search, cfg->dns_search, search);
	if (use && *use && !(cs_streq(use[0], ".") && !use[1]))
		put_line(out, "search", use);
	use = choose(host->dns, cfg->dns, usable);
	for (size_t i = 0; use && use[i]; i++)
		put_line(out, "nameserver", (char *[]){use[i], NULL});
	use = choose(host->dns_options, cfg->dns_opts, options);
	if (use && *use)
		put_line(out, "options", use);
}

/* systemd-resolved's stub answers on the host's loopback only; the real servers stand beside it. */
static char *host_resolv_conf(const struct cs_engine_config *cfg, bool private)
{
	char *text = read_host_file(host_file(cfg));
	cs_autostrv char **ns = conf_servers(text);

	if (private && cs_empty(cfg->resolv_conf) && cs_strv_len(ns) == 1 && strcmp(ns[0], "127.0.0.53") == 0) {
		char *real = read_host_file("/run/systemd/resolve/resolv.conf");
		if (real) {
			free(text);
			return real;
		}
	}
	return text;
}

static int replace(int dirfd, const char *dir, const char *name, const struct cs_str *s, struct cs_err **err)
{
	const char *text = s->buf ? s->buf : "";
	/* The first start fills the empty file that came with the directory: nobody can see it half-written, a later start replaces it anyway. */
	cs_autofd int fd = openat(dirfd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	bool fresh = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0;
	int r = s->failed ? -EFBIG : fresh ? cs_write_full(fd, text, s->len) : cs_replace_file_at(dirfd, name, text, s->len, 0644, false);

	return r < 0 ? cs_fail(err, r == -ENOSPC ? CS_ERR_NO_SPACE : CS_ERR_INTERNAL, -r, "write %s/%s", dir, name) : 0;
}

char *cs_names_resolv_text(const struct cs_engine_config *cfg, const struct cs_host_config *host, bool resolver)
{
	struct cs_str s cs_autostr = CS_STR_INIT(4 * FILE_MAX);
	cs_autofree char *base = host_resolv_conf(cfg, cs_network_is_private(host->network_mode) && !resolver);

	cs_names_resolv_conf(cfg, host, base, resolver, &s);
	return cs_str_steal(&s);
}

int cs_names_write(const struct cs_engine_config *cfg, const char *container_dir, const struct cs_config *config,
		   const struct cs_host_config *host, const struct cs_names_extra *x, struct cs_err **err)
{
	struct cs_str s cs_autostr = CS_STR_INIT(4 * FILE_MAX);
	bool private = cs_network_is_private(host->network_mode);
	cs_autofd int dirfd = open(container_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dirfd < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open %s", container_dir);
	cs_str_puts(&s, config->hostname ? config->hostname : "");
	cs_str_putc(&s, '\n');
	if (replace(dirfd, container_dir, "hostname", &s, err) < 0)
		return -1;
	cs_str_clear(&s);
	cs_autofree char *hosts = private ? NULL : read_host_file("/etc/hosts");
	if (cs_names_hosts(host, x, hosts, &s, err) < 0 || replace(dirfd, container_dir, "hosts", &s, err) < 0)
		return -1;
	cs_str_clear(&s);
	cs_autofree char *resolv = cs_names_resolv_text(cfg, host, x && x->resolver);
	cs_str_puts(&s, resolv);
	return resolv ? replace(dirfd, container_dir, "resolv.conf", &s, err)
		      : cs_fail(err, CS_ERR_INTERNAL, EFBIG, "write %s/resolv.conf", container_dir);
}
