/* SPDX-License-Identifier: Apache-2.0
 *
 * Switches of the host's own network stack, and what its routes and name servers occupy. */
#include <dirent.h>
#include <fcntl.h>

#include "base/io.h"
#include "network/edge.h"
#include "network/netns.h"

static void try_write(const char *path, const char *value)
{
	cs_autoerr struct cs_err *err = NULL;

	if (cs_sysctl_write(&(struct cs_sysctl){path, value, false}, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_warn(SUBSYS, "%s; containers may not reach other networks", text);
	}
}

/* A host that gets its address by router advertisements must not lose it: with forwarding on, they are heeded only where accept_ra is 2
 * (Documentation/networking/ip-sysctl.rst; moby#43466). */
static void keep_advertisements(void)
{
	DIR *d = opendir("/proc/sys/net/ipv6/conf");

	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		cs_autofree char *path = cs_xasprintf("net/ipv6/conf/%s/accept_ra", e->d_name);
		if (*e->d_name == '.' || strcmp(e->d_name, "all") == 0 || strcmp(e->d_name, "default") == 0 || strcmp(e->d_name, "lo") == 0)
			continue;
		if (cs_sysctl_read(path) == 1)
			try_write(path, "2");
	}
	if (d)
		(void)closedir(d);
}

/* ---- forwarding ---- */

static struct {
	void (*fn)(void *arg, bool v6);
	void *arg;
	_Atomic bool waits[2]; /* by is_v6 */
} forwarding;

void cs_hcn_on_forwarding(void (*fn)(void *arg, bool v6), void *arg)
{
	forwarding.fn = fn;
	forwarding.arg = arg;
}

static bool forwards(uint8_t family) { return cs_sysctl_read(family == AF_INET ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding") == 1; }

static int close_host(uint8_t family)
{
	cs_autoerr struct cs_err *err = NULL;

	if (cs_edge_close_host(family, &err) == 0)
		return 0;
	cs_autofree char *text = cs_err_text(err);
	cs_warn(SUBSYS, "IPv%d forwarding: %s; containers may not reach other networks", family == AF_INET ? 4 : 6, text);
	return -1;
}

void cs_host_forward(uint8_t family)
{
	bool v6 = family == AF_INET6;

	if (!cs_net.ip_forward || forwards(family))
		return;
	if (cs_net.forward_drop && !cs_net.settled) {
		forwarding.waits[v6] = true;
		return;
	}
	if (cs_net.forward_drop && close_host(family) < 0)
		return;
	if (forwarding.fn)
		forwarding.fn(forwarding.arg, v6);
	cs_info(SUBSYS, "IPv%d forwarding is switched on%s", v6 ? 6 : 4, cs_net.forward_drop ? ", for containers only" : "");
	if (!v6) {
		try_write("net/ipv4/ip_forward", "1");
		return;
	}
	keep_advertisements();
	try_write("net/ipv6/conf/default/forwarding", "1");
	try_write("net/ipv6/conf/all/forwarding", "1");
}

void cs_host_forward_start(void)
{
	static const struct {
		const char *name;
		uint8_t family;
	} v[] = {{"IPv4", AF_INET}, {"IPv6", AF_INET6}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(v); i++) {
		forwarding.waits[i] = false;
		if (cs_net.forward_drop && cs_strv_has(cs_net.settings.forwarded, v[i].name) && forwards(v[i].family))
			(void)close_host(v[i].family);
	}
}

void cs_host_forward_settled(void)
{
	for (int v6 = 0; v6 < 2; v6++)
		if (atomic_exchange(&forwarding.waits[v6], false))
			cs_host_forward(v6 ? AF_INET6 : AF_INET);
}

/* ---- what the host uses ---- */

struct used {
	struct cs_prefix *v;
	size_t n;
};

static void add(struct used *u, struct cs_prefix p)
{
	u->v = cs_xreallocarray(u->v, u->n + 1, sizeof(*u->v));
	u->v[u->n++] = p;
}

static bool on_route(int index, struct cs_prefix p, void *ctx)
{
	add(ctx, p);
	return true;
}

static void add_servers(struct used *u)
{
	const char *path = cs_empty(cs_net.settings.resolv_conf) ? "/etc/resolv.conf" : cs_net.settings.resolv_conf;
	cs_autostr struct cs_str text = CS_STR_INIT(1 << 20);
	cs_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct cs_ip ip;

	if (fd < 0 || cs_read_fd(fd, &text) < 0 || !text.buf)
		return;
	cs_autostrv char **lines = cs_strv_split(text.buf, '\n');
	for (char **l = lines; *l; l++) {
		const char *rest = cs_prefix(*l, "nameserver");
		if (!rest || (*rest != ' ' && *rest != '\t'))
			continue;
		rest += strspn(rest, " \t");
		cs_autofree char *one = cs_xstrndup(rest, strcspn(rest, " \t\r%"));
		if (cs_ip_parse(one, &ip))
			add(u, (struct cs_prefix){ip, (uint8_t)cs_ip_bits(ip.family)});
	}
}

int cs_host_prefixes(struct cs_prefix **ret, size_t *ret_n, struct cs_err **err)
{
	cs_autortnl struct cs_rtnl r = {0};
	struct used u = {0};

	if (cs_host_rtnl(&r, err) < 0)
		return -1;
	if (cs_routes_each(&r, on_route, &u, err) < 0) {
		free(u.v);
		return -1;
	}
	add_servers(&u);
	*ret = u.v;
	*ret_n = u.n;
	return 0;
}
