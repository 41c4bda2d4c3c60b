/* SPDX-License-Identifier: Apache-2.0
 *
 * Switches of the host's own network stack, and what its routes and name servers occupy. */
#include <dirent.h>
#include <fcntl.h>

#include "base/io.h"
#include "network/internal.h"
#include "network/netns.h"

static void try_write(const char *path, const char *value)
{
	cs_autoerr struct cs_err *err = NULL;

	if (cs_sysctl_write(&(struct cs_sysctl){path, value, false}, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_warn(SUBSYS, "%s; containers may not reach other networks", text);
	}
}

void cs_host_forward4(void)
{
	if (cs_net.ip_forward && cs_sysctl_read("net/ipv4/ip_forward") != 1)
		try_write("net/ipv4/ip_forward", "1");
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

void cs_host_forward6(void)
{
	if (!cs_net.ip_forward || cs_sysctl_read("net/ipv6/conf/all/forwarding") != 0)
		return;
	keep_advertisements();
	try_write("net/ipv6/conf/default/forwarding", "1");
	try_write("net/ipv6/conf/all/forwarding", "1");
}

/* ---- what the host uses ---- */

struct used {
	struct cs_prefix *v;
	size_t n;
	int *ours; /* indexes of our bridges: their routes are ours */
	size_t n_ours;
};

static void add(struct used *u, struct cs_prefix p)
{
	u->v = cs_xreallocarray(u->v, u->n + 1, sizeof(*u->v));
	u->v[u->n++] = p;
}

static bool on_route(int index, struct cs_prefix p, void *ctx)
{
	struct used *u = ctx;

	for (size_t i = 0; i < u->n_ours; i++)
		if (u->ours[i] == index)
			return true;
	add(u, p);
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
	size_t n;

	void **nets = cs_obj_all(CS_NETWORK, &n);
	u.ours = cs_xcalloc(n + 1, sizeof(*u.ours));
	for (size_t i = 0; i < n; i++)
		u.ours[u.n_ours++] = ((struct HcnNetwork *)nets[i])->index;
	cs_obj_put_all(CS_NETWORK, nets, n);
	int failed = cs_host_rtnl(&r, err);
	if (failed == 0)
		failed = cs_routes_each(&r, on_route, &u, err);
	free(u.ours);
	if (failed < 0) {
		free(u.v);
		return -1;
	}
	add_servers(&u);
	*ret = u.v;
	*ret_n = u.n;
	return 0;
}
