/* SPDX-License-Identifier: Apache-2.0
 *
 * A registry configuration: checked once, then read by any thread. Also who is insecure, and which proxy a host is behind. */
#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

#include "base/num.h"
#include "base/time.h"
#include "registry/internal.h"

#define DOWN_S 60

/* ---- addresses ---- */

static int parse_address(const char *text, unsigned char *out)
{
	if (inet_pton(AF_INET, text, out) == 1)
		return AF_INET;
	return inet_pton(AF_INET6, text, out) == 1 ? AF_INET6 : AF_UNSPEC;
}

bool cs_rg_cidr_parse(const char *text, struct cs_rg_cidr *ret)
{
	const char *slash = strchr(text, '/');
	struct cs_rg_cidr c = {0};
	uint64_t bits;

	if (!slash)
		return false;
	cs_autofree char *addr = cs_xstrndup(text, (size_t)(slash - text));
	c.family = parse_address(addr, c.addr);
	if (c.family == AF_UNSPEC || !cs_parse_u64(slash + 1, 0, c.family == AF_INET ? 32 : 128, &bits))
		return false;
	c.bits = (unsigned)bits;
	*ret = c;
	return true;
}

bool cs_rg_cidr_has(const struct cs_rg_cidr *c, int family, const void *addr)
{
	const unsigned char *a = addr;
	unsigned rest = c->bits % 8;

	if (c->family != family || memcmp(a, c->addr, c->bits / 8) != 0)
		return false;
	return rest == 0 || ((a[c->bits / 8] ^ c->addr[c->bits / 8]) & (0xffu << (8 - rest) & 0xff)) == 0;
}

static bool in_any(const struct cs_registry *reg, int family, const void *addr)
{
	for (size_t i = 0; i < reg->n_cidr; i++)
		if (cs_rg_cidr_has(&reg->cidr[i], family, addr))
			return true;
	return false;
}

char *cs_rg_host_only(const char *hostport)
{
	if (*hostport == '[')
		return cs_xstrndup(hostport + 1, strcspn(hostport + 1, "]"));
	const char *colon = strchr(hostport, ':');
	if (colon && strchr(colon + 1, ':')) /* a bare IPv6 address */
		return cs_xstrdup(hostport);
	return cs_xstrndup(hostport, colon ? (size_t)(colon - hostport) : strlen(hostport));
}

bool cs_rg_is_loopback(const char *hostport)
{
	cs_autofree char *host = cs_rg_host_only(hostport);
	unsigned char addr[16];
	int family = parse_address(host, addr);

	if (strcasecmp(host, "localhost") == 0)
		return true;
	return family == AF_INET ? addr[0] == 127 : family == AF_INET6 && IN6_IS_ADDR_LOOPBACK((const struct in6_addr *)(const void *)addr);
}

bool cs_rg_insecure_host(const struct cs_registry *reg, const char *hostport)
{
	cs_autofree char *host = cs_rg_host_only(hostport);
	unsigned char addr[16];
	int family = parse_address(host, addr);

	if (cs_rg_is_loopback(hostport) || cs_strv_has(reg->insecure, hostport))
		return true;
	/* as in Docker, an entry without a port is a host with its default port alone */
	return family != AF_UNSPEC && in_any(reg, family, addr);
}

bool cs_rg_insecure_by_address(const struct cs_registry *reg, const char *hostport)
{
	cs_autofree char *host = cs_rg_host_only(hostport);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	bool found = false;

	if (getaddrinfo(host, NULL, &hints, &list) != 0)
		return false;
	for (struct addrinfo *a = list; a && !found; a = a->ai_next) {
		if (a->ai_family == AF_INET)
			found = in_any(reg, AF_INET, &((struct sockaddr_in *)(void *)a->ai_addr)->sin_addr);
		else if (a->ai_family == AF_INET6)
			found = in_any(reg, AF_INET6, &((struct sockaddr_in6 *)(void *)a->ai_addr)->sin6_addr);
	}
	freeaddrinfo(list);
	return found;
}

/* ---- checks ---- */

int cs_registry_check_mirror(const char *text, char **ret_normal, struct cs_err **err)
{
	struct cs_rg_url u = {0};
	const char *sep = strstr(text, "://"), *at;
	size_t n = strlen(text);

	if (!sep)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid mirror: no scheme specified for \"%s\": must use either 'https://' or 'http://'", text);
	if (strncasecmp(text, "http://", 7) != 0 && strncasecmp(text, "https://", 8) != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid mirror: unsupported scheme \"%.*s\" in \"%s\": must use either 'https://' or 'http://'", (int)(sep - text), text, text);
	at = memchr(sep + 3, '@', strcspn(sep + 3, "/?#"));
	if (at) {
		size_t user = strcspn(sep + 3, ":@");
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid mirror: username/password not allowed in URI \"%.*s%.*s:xxxxx%s\"", (int)(sep + 3 - text), text,
			       (int)user, sep + 3, at);
	}
	if (strpbrk(text, "?#"))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid mirror: query or fragment at end of the URI \"%s\"", text);
	if (!cs_rg_url_parse(text, &u))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid mirror: \"%s\" is not a valid URI", text);
	cs_rg_url_done(&u);
	if (ret_normal)
		*ret_normal = cs_xasprintf("%.*s/", (int)(n - (text[n - 1] == '/')), text);
	return 0;
}

static const char *without_scheme(const char *s)
{
	return strncasecmp(s, "http://", 7) == 0 ? s + 7 : strncasecmp(s, "https://", 8) == 0 ? s + 8 : s;
}

bool cs_registry_insecure_is_cidr(const char *text)
{
	struct cs_rg_cidr c;
	return cs_rg_cidr_parse(text, &c);
}

int cs_registry_check_insecure(const char *text, struct cs_err **err)
{
	const char *name = without_scheme(text);
	struct cs_rg_url u = {0};
	unsigned char addr[16];

	if (*text == '-' || (*text && text[strlen(text) - 1] == '-'))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid index name (%s). Cannot begin or end with a hyphen.", text);
	if (strstr(name, "://"))
		return cs_fail(err, CS_ERR_INVALID, 0, "insecure registry %s should not contain '://'", text);
	if (cs_registry_insecure_is_cidr(name) || parse_address(name, addr) != AF_UNSPEC)
		return 0;
	cs_autofree char *url = cs_xasprintf("https://%s", name);
	bool ok = cs_rg_url_parse(url, &u) && !u.user && strcmp(u.path, "/") == 0 && !strpbrk(name, "/?#@");
	cs_rg_url_done(&u);
	return ok ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "insecure registry %s is not valid: invalid host \"%s\"", text, name);
}

/* ---- proxies ---- */

static bool suffix_of(const char *host, const char *tail)
{
	size_t h = strlen(host), t = strlen(tail);
	return h >= t && strcasecmp(host + h - t, tail) == 0;
}

/* One entry of no_proxy: *, .suffix, *.suffix, name (and what is below it), address, CIDR; with or without a port. */
static bool entry_matches(const char *entry, const char *host, const char *port)
{
	unsigned char addr[16], own[16];
	struct cs_rg_cidr c;
	int family = parse_address(host, addr);

	if (strcmp(entry, "*") == 0)
		return true;
	if (cs_rg_cidr_parse(entry, &c))
		return family != AF_UNSPEC && cs_rg_cidr_has(&c, family, addr);
	cs_autofree char *name = cs_rg_host_only(entry);
	size_t skip = *entry == '[' ? strcspn(entry, "]") + 1 : strlen(name);
	if (entry[skip < strlen(entry) ? skip : strlen(entry)] == ':' && strcmp(entry + skip + 1, port) != 0)
		return false;
	if (parse_address(name, own) == family && family != AF_UNSPEC)
		return memcmp(addr, own, family == AF_INET ? 4 : 16) == 0;
	const char *bare = *name == '*' && name[1] == '.' ? name + 1 : name;
	if (*bare == '.')
		return suffix_of(host, bare);
	return strcasecmp(host, bare) == 0 || (suffix_of(host, bare) && strlen(host) > strlen(bare) && host[strlen(host) - strlen(bare) - 1] == '.');
}

const char *cs_rg_proxy_for(const struct cs_registry *reg, const char *scheme, const char *host, const char *port)
{
	const char *proxy = strcmp(scheme, "https") == 0 ? reg->https_proxy : reg->http_proxy;
	unsigned char addr[16];

	/* as in Go; a bare address of version 6 must not be taken for host:port */
	if (!proxy || strcasecmp(host, "localhost") == 0 || (parse_address(host, addr) != AF_UNSPEC && cs_rg_is_loopback(host)))
		return NULL;
	for (char **e = reg->no_proxy; e && *e; e++)
		if (**e && entry_matches(*e, host, port))
			return NULL;
	return proxy;
}

/* given: NULL = what the environment says. NULL: none. */
static char *proxy_setting(const char *given, const char *upper, const char *lower)
{
	const char *v = given ? given : getenv(upper);

	if (cs_empty(v) && !given)
		v = getenv(lower);
	return cs_empty(v) ? NULL : cs_xstrdup(v);
}

static char **no_proxy_list(const char *given)
{
	cs_autofree char *text = proxy_setting(given, "NO_PROXY", "no_proxy");
	char **list = NULL;

	for (const char *p = text; p && *p;) {
		p += strspn(p, ", \t");
		size_t n = strcspn(p, ", \t");
		if (n > 0)
			cs_strv_take(&list, cs_xstrndup(p, n));
		p += n;
	}
	return list;
}

/* ---- mirrors that are down ---- */

bool cs_rg_is_down(struct cs_registry *reg, const char *url)
{
	int64_t now = cs_monotonic_ns();
	bool down = false;

	pthread_mutex_lock(&reg->down_lock);
	for (size_t i = 0; i < CS_RG_DOWN_MAX && !down; i++)
		down = reg->down[i].url && reg->down[i].until_ns > now && strcmp(reg->down[i].url, url) == 0;
	pthread_mutex_unlock(&reg->down_lock);
	return down;
}

void cs_rg_mark_down(struct cs_registry *reg, const char *url)
{
	pthread_mutex_lock(&reg->down_lock);
	unsigned i = reg->next_down++ % CS_RG_DOWN_MAX;
	free(reg->down[i].url);
	reg->down[i].url = cs_xstrdup(url);
	reg->down[i].until_ns = cs_monotonic_ns() + DOWN_S * CS_NS_PER_SEC;
	pthread_mutex_unlock(&reg->down_lock);
}

/* ---- life ---- */

static int take_lists(struct cs_registry *reg, const struct cs_registry_config *cfg, struct cs_err **err)
{
	for (char **m = cfg->mirrors; m && *m; m++) {
		char *normal = NULL;
		if (cs_registry_check_mirror(*m, &normal, err) < 0)
			return -1;
		cs_strv_take(&reg->mirrors, normal);
	}
	for (char **i = cfg->insecure; i && *i; i++) {
		struct cs_rg_cidr c;
		if (cs_registry_check_insecure(*i, err) < 0)
			return -1;
		if (cs_rg_cidr_parse(without_scheme(*i), &c)) {
			reg->cidr = cs_xreallocarray(reg->cidr, reg->n_cidr + 1, sizeof(c));
			reg->cidr[reg->n_cidr++] = c;
		} else {
			cs_strv_push(&reg->insecure, without_scheme(*i));
		}
	}
	return 0;
}

int cs_registry_new(const struct cs_registry_config *cfg, struct cs_registry **ret, struct cs_err **err)
{
	static const char *const certs[] = {"/etc/caisson/certs.d", "/etc/docker/certs.d"}, *const always[] = {"127.0.0.0/8", "::1/128"};
	struct cs_registry *reg = cs_xcalloc(1, sizeof(*reg));

	atomic_init(&reg->refs, 1);
	(void)pthread_mutex_init(&reg->down_lock, NULL);
	for (size_t i = 0; i < CS_ARRAY_SIZE(always); i++) {
		reg->cidr = cs_xreallocarray(reg->cidr, reg->n_cidr + 1, sizeof(*reg->cidr));
		if (cs_rg_cidr_parse(always[i], &reg->cidr[reg->n_cidr]))
			reg->n_cidr++;
	}
	reg->certs_dirs = cs_strv_copy(cfg->certs_dirs);
	for (size_t i = 0; !cfg->certs_dirs && i < CS_ARRAY_SIZE(certs); i++)
		cs_strv_push(&reg->certs_dirs, certs[i]);
	reg->hosts_dirs = cs_strv_copy(cfg->hosts_dirs ? cfg->hosts_dirs : reg->certs_dirs);
	reg->http_proxy = proxy_setting(cfg->http_proxy, "HTTP_PROXY", "http_proxy");
	reg->https_proxy = proxy_setting(cfg->https_proxy, "HTTPS_PROXY", "https_proxy");
	reg->no_proxy = no_proxy_list(cfg->no_proxy);
	reg->user_agent = cs_xstrdup(cfg->user_agent ? cfg->user_agent : "caisson");
	reg->max_attempts = cfg->max_attempts > 0 ? cfg->max_attempts : 5;
	reg->stall_ms = cfg->stall_timeout_ms > 0 ? cfg->stall_timeout_ms : 30000;
	reg->backoff_ms = cfg->backoff_ms > 0 ? cfg->backoff_ms : 1000;
	if (take_lists(reg, cfg, err) < 0) {
		cs_registry_unref(reg);
		return -1;
	}
	*ret = reg;
	return 0;
}

struct cs_registry *cs_registry_ref(struct cs_registry *r)
{
	(void)atomic_fetch_add(&r->refs, 1);
	return r;
}

void cs_registry_unref(struct cs_registry *r)
{
	if (!r || atomic_fetch_sub(&r->refs, 1) != 1)
		return;
	cs_strv_free(r->mirrors);
	cs_strv_free(r->insecure);
	cs_strv_free(r->certs_dirs);
	cs_strv_free(r->hosts_dirs);
	cs_strv_free(r->no_proxy);
	for (size_t i = 0; i < CS_RG_DOWN_MAX; i++)
		free(r->down[i].url);
	(void)pthread_mutex_destroy(&r->down_lock);
	free(r->cidr);
	free(r->http_proxy);
	free(r->https_proxy);
	free(r->user_agent);
	free(r);
}
