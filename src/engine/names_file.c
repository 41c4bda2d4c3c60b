/* SPDX-License-Identifier: Apache-2.0
 *
 * The three files that are bound over /etc/hostname, /etc/hosts and /etc/resolv.conf. Written anew before each start. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "engine/spec-internal.h"

#define FILE_MAX ((size_t)1 << 20)

static char *read_host_file(const char *path)
{
	struct cs_str s cs_autostr = CS_STR_INIT(FILE_MAX);
	cs_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && cs_read_fd(fd, &s) == 0 ? cs_str_steal(&s) : NULL;
}

/* base: the host's own file for host networking, NULL for a private one. */
void cs_names_hosts(const struct cs_config *config, const struct cs_host_config *host, const char *ip, const char *base, struct cs_str *out)
{
	cs_str_puts(out, base ? base
			      : "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n"
				"ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n");
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
			cs_str_puts(out, addr + 1);
		} else {
			cs_str_puts(out, addr);
		}
		cs_str_putc(out, '\t');
		cs_str_put(out, e, (size_t)(sep - e));
		cs_str_putc(out, '\n');
	}
	if (cs_empty(ip) || cs_empty(config->hostname))
		return;
	cs_str_putf(out, "%s\t", ip);
	if (!cs_empty(config->domainname))
		cs_str_putf(out, "%s.%s ", config->hostname, config->domainname);
	cs_str_putf(out, "%s\n", config->hostname);
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

void cs_names_resolv_conf(const struct cs_engine_config *cfg, const struct cs_host_config *host, const char *base, struct cs_str *out)
{
	bool private = cs_network_is_private(host->network_mode);
	cs_autostrv char **ns = conf_words(base, "nameserver", true), **search = conf_words(base, "search", false),
			 **options = conf_words(base, "options", false), **usable = NULL;
	char *const *use;

	if (!private && base && !(host->dns && *host->dns) && !(host->dns_search && *host->dns_search) &&
	    !(host->dns_options && *host->dns_options) && !(cfg->dns && *cfg->dns) && !(cfg->dns_search && *cfg->dns_search) &&
	    !(cfg->dns_opts && *cfg->dns_opts)) {
		cs_str_puts(out, base);
		return;
	}
	for (size_t i = 0; ns && ns[i]; i++)
		if (!private || !is_loopback(ns[i]))
			cs_strv_push(&usable, ns[i]);
	if (private && !usable) { /* dockerd's fallback when the host resolves through its own loopback */
		cs_strv_push(&usable, "8.8.8.8");
		cs_strv_push(&usable, "8.8.4.4");
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
static char *host_resolv_conf(bool private)
{
	char *text = read_host_file("/etc/resolv.conf");
	cs_autostrv char **ns = conf_words(text, "nameserver", true);

	if (private && cs_strv_len(ns) == 1 && strcmp(ns[0], "127.0.0.53") == 0) {
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

int cs_names_write(const struct cs_engine_config *cfg, const char *container_dir, const struct cs_config *config,
		   const struct cs_host_config *host, const char *ip, struct cs_err **err)
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
	cs_names_hosts(config, host, ip, hosts, &s);
	if (replace(dirfd, container_dir, "hosts", &s, err) < 0)
		return -1;
	cs_str_clear(&s);
	cs_autofree char *resolv = host_resolv_conf(private);
	cs_names_resolv_conf(cfg, host, resolv, &s);
	return replace(dirfd, container_dir, "resolv.conf", &s, err);
}
