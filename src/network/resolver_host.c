/* SPDX-License-Identifier: Apache-2.0
 *
 * The host's name servers. resolv.conf is looked at when somebody wants them, at most once in a second; no watch, no descriptor. Behind
 * systemd-resolved's stub, which is asked first, since it alone knows which domains belong to which link (a VPN's, say), stand the servers
 * that it asks itself, for the case that it is silent. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/str.h"
#include "base/strv.h"
#include "base/time.h"
#include "network/resolv_conf.h"
#include "network/resolver_internal.h"

#define CONF_MAX ((size_t)64 << 10)

static struct stamp stamp_of(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? (struct stamp){0}
				   : (struct stamp){st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_size, st.st_ino};
}

static bool same(const struct stamp *a, const struct stamp *b) { return a->sec == b->sec && a->nsec == b->nsec && a->size == b->size && a->ino == b->ino; }

static bool is_stub(const union cs_dns_sockaddr *a)
{
	uint32_t v4 = ntohl(a->v4.sin_addr.s_addr);

	return a->any.sa_family == AF_INET && (v4 == 0x7f000035 || v4 == 0x7f000036); /* 127.0.0.53, .54 */
}

static bool equal(const union cs_dns_sockaddr *a, const union cs_dns_sockaddr *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return false;
	if (a->any.sa_family == AF_INET)
		return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0 && a->v6.sin6_scope_id == b->v6.sin6_scope_id;
}

static void add(struct cs_host_servers *h, const union cs_dns_sockaddr *a)
{
	for (size_t i = 0; i < h->n; i++)
		if (equal(&h->server[i], a))
			return;
	if (h->n < CS_DNS_SERVERS_MAX)
		h->server[h->n++] = *a;
}

/* False: it names the stub. */
static bool add_file(struct cs_host_servers *h, const char *path)
{
	struct cs_str text cs_autostr = CS_STR_INIT(CONF_MAX);
	struct cs_resolv_conf conf;
	bool real = true;

	(void)cs_read_file_at(AT_FDCWD, path, &text); /* none: no servers */
	cs_resolv_conf_parse(text.buf ? text.buf : "", &conf);
	for (size_t i = 0; conf.servers && conf.servers[i]; i++) {
		union cs_dns_sockaddr a;
		if (cs_dns_server_parse(conf.servers[i], &a) == 0) {
			add(h, &a);
			real = real && !is_stub(&a);
		}
	}
	cs_resolv_conf_done(&conf);
	return real;
}

const struct cs_host_servers *cs_host_servers(struct cs_resolver *r, int64_t now)
{
	struct cs_host_servers *h = &r->host;

	if (h->looked && now - h->looked < CS_NS_PER_SEC)
		return h;
	struct stamp conf = stamp_of(r->resolv_conf), uplink = stamp_of(r->resolv_uplink);
	bool fresh = !h->looked || !same(&conf, &h->conf) || !same(&uplink, &h->uplink);
	h->looked = now;
	if (!fresh)
		return h;
	h->conf = conf;
	h->uplink = uplink;
	h->n = 0;
	if (!add_file(h, r->resolv_conf))
		(void)add_file(h, r->resolv_uplink);
	return h;
}
