/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client asks of a network or an endpoint, checked, with dockerd's texts. Pure. */
#include <string.h>

#include "base/id.h"
#include "base/num.h"
#include "base/time.h"
#include "engine/network.h"

static int invalid(struct cs_err **err, const char *text) { return cs_fail(err, CS_ERR_INVALID, 0, "%s", text); }

/* ---- several findings are told at once ---- */

static void add(struct cs_str *s, const char *fmt, ...) CS_PRINTF(2, 3);
static void add(struct cs_str *s, const char *fmt, ...)
{
	va_list ap;

	if (s->len)
		cs_str_putc(s, '\n');
	va_start(ap, fmt);
	cs_str_vputf(s, fmt, ap);
	va_end(ap);
}

/* ---- IPAM ---- */

static bool same_prefix(const char *a, const char *b)
{
	uint8_t x[16] = {0}, y[16] = {0};
	unsigned n = 0, m = 0;
	bool six = false;

	return cs_addr_prefix_parse(a, x, &n, &six) && cs_addr_prefix_parse(b, y, &m, &six) && n == m && memcmp(x, y, sizeof(x)) == 0;
}

static void check_range(const struct cs_ipam_config *c, bool v6, unsigned bits, struct cs_str *bad)
{
	cs_autofree char *masked = cs_addr_masked(c->ip_range);
	uint8_t b[16];
	unsigned n = 0;
	bool six = false;

	if (!masked || !cs_addr_prefix_parse(c->ip_range, b, &n, &six))
		return add(bad, "invalid ip-range %s: invalid CIDR block notation", c->ip_range);
	if (six != v6)
		return add(bad, "invalid ip-range %s: parent subnet is an %s block", c->ip_range, v6 ? "IPv6" : "IPv4");
	if (n < bits)
		add(bad, "invalid ip-range %s: CIDR block is bigger than its parent subnet %s", c->ip_range, c->subnet);
	if (!same_prefix(masked, c->ip_range)) /* "::0" is "::" */
		add(bad, "invalid ip-range %s: it should be %s", c->ip_range, masked);
	cs_autofree char *addr = cs_xstrndup(c->ip_range, strcspn(c->ip_range, "/"));
	if (!cs_addr_in(c->subnet, addr))
		add(bad, "invalid ip-range %s: parent subnet %s doesn't contain ip-range", c->ip_range, c->subnet);
}

static void check_address(const struct cs_ipam_config *c, bool v6, const char *what, const char *shown, const char *ip, struct cs_str *bad)
{
	uint8_t b[16];
	bool six;

	if (cs_empty(ip))
		return;
	if (!cs_addr_parse(ip, b, &six))
		add(bad, "invalid %s %s: invalid address", what, shown);
	else if (six != v6)
		add(bad, "invalid %s %s: parent subnet is an %s block", what, shown, v6 ? "IPv6" : "IPv4");
	else if (!cs_addr_in(c->subnet, ip))
		add(bad, "invalid %s %s: parent subnet %s doesn't contain this address", what, shown, c->subnet);
}

static int check_ipam(const struct cs_ipam *ipam, bool v6_on, struct cs_err **err)
{
	cs_autostr struct cs_str bad = CS_STR_INIT(1 << 16);

	for (size_t i = 0; i < ipam->n_config; i++) {
		const struct cs_ipam_config *c = &ipam->config[i];
		cs_autofree char *masked = cs_addr_masked(c->subnet);
		uint8_t b[16];
		unsigned bits = 0;
		bool v6 = false;
		if (!masked || !cs_addr_prefix_parse(c->subnet, b, &bits, &v6)) {
			add(&bad, "invalid subnet %s: invalid CIDR block notation", c->subnet ? c->subnet : "");
			continue;
		}
		if (v6 && !v6_on)
			continue;
		if (!same_prefix(masked, c->subnet))
			add(&bad, "invalid subnet %s: it should be %s", c->subnet, masked);
		cs_autofree char *own = cs_xstrndup(c->subnet, strcspn(c->subnet, "/"));
		static const uint8_t none[16];
		bool any = bits && memcmp(b, none, v6 ? 16 : 4) == 0; /* "::/96": any subnet of that size */
		if (bits < 4 || b[0] >= (v6 ? 0xff : 224) || (!v6 && b[0] == 127) || (!any && cs_addr_in(c->subnet, v6 ? "::1" : "127.0.0.1")))
			add(&bad, "invalid subnet %s: no interface of a network can have such addresses", c->subnet);
		static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
		if (v6 && bits != 64 && (cs_addr_in(c->subnet, "fe80::") || cs_addr_in("fe80::/64", own)))
			add(&bad, "invalid subnet %s: '%s' clashes with the Link-Local prefix 'fe80::/64'", c->subnet, c->subnet);
		if (v6 && memcmp(b, mapped, sizeof(mapped)) == 0)
			add(&bad, "invalid subnet %s: an IPv4 subnet in the form of IPv6 is none of either", c->subnet);
		if (!cs_empty(c->ip_range))
			check_range(c, v6, bits, &bad);
		check_address(c, v6, "gateway", c->gateway, c->gateway, &bad);
		for (size_t k = 0; c->aux_addresses && k < c->aux_addresses->n; k++)
			check_address(c, v6, "auxiliary address", c->aux_addresses->kv[k].key, c->aux_addresses->kv[k].val, &bad);
		for (size_t k = 0; k < i; k++) {
			cs_autofree char *other = cs_xstrndup(ipam->config[k].subnet, strcspn(ipam->config[k].subnet, "/"));
			if (cs_addr_in(ipam->config[k].subnet, own) || cs_addr_in(c->subnet, other))
				return cs_fail(err, CS_ERR_DENIED, 0, "invalid pool request: Pool overlaps with other one on this address space");
		}
	}
	return bad.len ? cs_fail(err, CS_ERR_INVALID, 0, "invalid network config:\n%s", bad.buf) : 0;
}

/* ---- options ---- */

static int bad_option(const char *key, const char *value, const char *why, struct cs_err **err)
{
	return cs_fail(err, CS_ERR_INVALID, 0, "failed to parse %s value: %s (%s)", key, value, why);
}

static bool one_of(const char *v, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(v, *list) == 0)
			return true;
	return false;
}

static int check_bridge_options(const struct cs_strmap *o, struct cs_err **err)
{
	static const char *const bools[] = {CS_OPT_ICC, CS_OPT_MASQ, CS_OPT_INHIBIT, CS_OPT_DEFAULT_BRIDGE, NULL};
	static const char *const modes[] = {"nat", "nat-unprotected", "routed", "isolated", NULL};
	static const char *const mode_keys[] = {CS_OPT_GATEWAY4, CS_OPT_GATEWAY6, NULL};
	static const char *const ips[] = {CS_OPT_HOST_BINDING, CS_OPT_HOST4, CS_OPT_HOST6, NULL};

	for (const char *const *k = bools; *k; k++) {
		const char *v = cs_strmap_get(o, *k);
		bool b;
		if (v && !cs_bool_parse(v, &b))
			return cs_fail(err, CS_ERR_INVALID, 0, "failed to parse %s value: %s (strconv.ParseBool: parsing \"%s\": invalid syntax)", *k, v, v);
	}
	for (const char *const *k = mode_keys; *k; k++) {
		const char *v = cs_strmap_get(o, *k);
		if (!cs_empty(v) && !one_of(v, modes))
			return bad_option(*k, v, "unknown gateway mode", err);
	}
	for (const char *const *k = ips; *k; k++) {
		const char *v = cs_strmap_get(o, *k);
		uint8_t b[16];
		bool v6;
		if (!cs_empty(v) && !cs_addr_parse(v, b, &v6))
			return bad_option(*k, v, "invalid address", err);
	}
	const char *v = cs_strmap_get(o, CS_OPT_BRIDGE_NAME);
	if (!cs_empty(v) && !cs_link_name_valid(v))
		return bad_option(CS_OPT_BRIDGE_NAME, v, "not a name of an interface", err);
	v = cs_strmap_get(o, CS_OPT_TRUSTED);
	cs_autostrv char **trusted = cs_empty(v) ? NULL : cs_strv_split(v, ':');
	for (char **t = trusted; t && *t; t++)
		if (**t && !cs_link_name_valid(*t))
			return bad_option(CS_OPT_TRUSTED, v, "not names of interfaces", err);
	v = cs_strmap_get(o, CS_OPT_PREFIX);
	if (!cs_empty(v) && (strlen(v) > 10 || strpbrk(v, "/ \t\n:.")))
		return bad_option(CS_OPT_PREFIX, v, "not a prefix of names of interfaces", err);
	return 0;
}

static int check_overlay_options(const struct cs_strmap *o, struct cs_err **err)
{
	const char *vni = cs_strmap_get(o, CS_OPT_VXLAN_ID), *port = cs_strmap_get(o, CS_OPT_OVERLAY_PORT);
	const char *own = cs_strmap_get(o, CS_OPT_OVERLAY_ADDRESS), *peers = cs_strmap_get(o, CS_OPT_OVERLAY_PEERS);
	cs_autostrv char **list = cs_empty(peers) ? NULL : cs_strv_split(peers, ',');
	uint8_t b[16];
	unsigned bits;
	uint64_t n;
	bool v6;

	if (cs_empty(own) || cs_empty(peers))
		return cs_fail(err, CS_ERR_DENIED, 0,
			       "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again. "
			       "(Without a swarm an overlay network needs the options %s and %s.)", CS_OPT_OVERLAY_ADDRESS, CS_OPT_OVERLAY_PEERS);
	const char *encrypted = cs_strmap_get(o, "encrypted");
	bool on = true;
	if (encrypted && (!cs_bool_parse(encrypted, &on) || on)) /* as dockerd has it: the key says it, with whatever value but a false one (CVE-2023-28840) */
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "overlay networks cannot be encrypted in this build: option encrypted");
	if (!cs_empty(vni) && !cs_parse_u64(vni, 1, 0xffffff, &n))
		return bad_option(CS_OPT_VXLAN_ID, vni, "one number up to 16777215 is needed", err);
	if (!cs_empty(port) && !cs_parse_u64(port, 1, 65535, &n))
		return bad_option(CS_OPT_OVERLAY_PORT, port, "not a port", err);
	if (!cs_addr_parse(own, b, &v6))
		return bad_option(CS_OPT_OVERLAY_ADDRESS, own, "invalid address", err);
	for (char **p = list; p && *p; p++) {
		const char *at = strchr(*p, '@');
		cs_autofree char *prefix = cs_xstrndup(*p, at ? (size_t)(at - *p) : 0);
		if (!at || !cs_addr_prefix_parse(prefix, b, &bits, &v6) || !cs_addr_parse(at + 1, b, &v6))
			return bad_option(CS_OPT_OVERLAY_PEERS, *p, "subnet@address is needed", err);
	}
	return check_bridge_options(o, err);
}

static int check_lan_options(const char *driver, const struct cs_strmap *o, struct cs_err **err)
{
	static const char *const mac[] = {"bridge", "private", "vepa", "passthru", NULL}, *const ip[] = {"l2", "l3", "l3s", NULL},
			   *const flags[] = {"bridge", "private", "vepa", NULL};
	const char *parent = cs_strmap_get(o, "parent"), *m = cs_strmap_get(o, "macvlan_mode"), *i = cs_strmap_get(o, "ipvlan_mode"),
		   *f = cs_strmap_get(o, "ipvlan_flag");

	if (cs_streq(driver, "macvlan") && !cs_empty(m) && !one_of(m, mac))
		return cs_fail(err, CS_ERR_INVALID, 0, "requested macvlan mode '%s' is not valid, 'bridge' mode is the macvlan driver default", m);
	if (!cs_streq(driver, "macvlan") && !cs_empty(i) && !one_of(i, ip))
		return cs_fail(err, CS_ERR_INVALID, 0, "requested ipvlan mode '%s' is not valid, 'l2' mode is the ipvlan driver default", i);
	if (!cs_streq(driver, "macvlan") && !cs_empty(f) && !one_of(f, flags))
		return cs_fail(err, CS_ERR_INVALID, 0, "requested ipvlan flag '%s' is not valid, 'bridge' is the ipvlan driver default", f);
	if (cs_streq(parent, "lo"))
		return cs_fail(err, CS_ERR_INVALID, 0, "loopback interface is not a valid %s parent link", driver);
	if (!cs_empty(parent) && !cs_link_name_valid(parent))
		return bad_option("parent", parent, "not a name of an interface", err);
	return 0;
}

/* What Linux lets an interface have (ETH_MIN_MTU, and RFC 8200 5); 0: as it comes. */
static int check_mtu(const struct cs_network_doc *d, struct cs_err **err)
{
	const char *v = cs_strmap_get(d->options, CS_OPT_MTU);
	int64_t mtu;

	if (v && (!cs_parse_i64(v, 0, 65535, &mtu) || (mtu && mtu < 68)))
		return bad_option(CS_OPT_MTU, v, "a number from 68 to 65535 is needed", err);
	if (v && mtu && mtu < 1280 && d->enable_ipv6)
		return bad_option(CS_OPT_MTU, v, "IPv6 needs 1280", err);
	return 0;
}

/* Windows' names stand for what they are on Linux. */
static const char *driver_of(const char *asked)
{
	if (cs_empty(asked) || strcasecmp(asked, "nat") == 0)
		return "bridge";
	if (strcasecmp(asked, "transparent") == 0)
		return "macvlan";
	return asked;
}

static int check_driver(const struct cs_network_doc *d, struct cs_err **err)
{
	const char *driver = d->driver;

	if (check_mtu(d, err) < 0)
		return -1;
	if (cs_streq(driver, "bridge"))
		return check_bridge_options(d->options, err);
	if (cs_streq(driver, "macvlan") || cs_streq(driver, "ipvlan") || cs_streq(driver, "l2bridge"))
		return check_lan_options(driver, d->options, err);
	if (cs_streq(driver, "overlay"))
		return check_overlay_options(d->options, err);
	if (cs_streq(driver, "host") || cs_streq(driver, "null"))
		return cs_fail(err, CS_ERR_DENIED, 0, "only one instance of \"%s\" network is allowed", driver);
	return cs_fail(err, CS_ERR_NOT_FOUND, 0, "plugin \"%s\" not found", driver);
}

/* ---- the whole ---- */

static int flag(enum cs_tri asked, struct cs_strmap *options, const char *key, bool dflt, bool *ret, struct cs_err **err)
{
	const char *v = cs_strmap_get(options, key);

	*ret = dflt;
	if (asked != CS_NULL) {
		*ret = asked == CS_TRUE;
		cs_strmap_del(options, key);
	} else if (v && !cs_bool_parse(v, ret)) {
		return cs_fail(err, CS_ERR_INVALID, 0, "driver-opt \"%s\" is not a valid bool", key);
	}
	return 0;
}

static int check_config_only(const struct cs_network_create *req, const struct cs_network_doc *from, struct cs_err **err)
{
	bool refers = req->config_from && !cs_empty(req->config_from->network);

	if (req->config_only && (req->internal || req->attachable || req->ingress || !cs_empty(req->scope)))
		return cs_fail(err, CS_ERR_DENIED, 0,
			       "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | "
			       "scope ] are not supported.");
	if (!refers)
		return 0;
	if (req->config_only)
		return cs_fail(err, CS_ERR_DENIED, 0, "a configuration network cannot depend on another configuration network");
	if (req->enable_ipv6 == CS_TRUE || (req->labels && req->labels->n) || (req->ipam && (req->ipam->n_config || (req->ipam->options && req->ipam->options->n))))
		return cs_fail(err, CS_ERR_DENIED, 0, "user specified configurations are not supported if the network depends on a configuration network");
	if (req->options && req->options->n)
		return cs_fail(err, CS_ERR_DENIED, 0, "network driver options are not supported if the network depends on a configuration network");
	if (!from || !from->config_only)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "configuration network \"%s\" %s", req->config_from->network,
			       from ? "is not a configuration network" : "does not exist");
	return 0;
}

static void autodoc_done(struct cs_network_doc **d) { cs_network_doc_free(*d); }

static void take_ipam(struct cs_ipam *to, const struct cs_ipam *from)
{
	if (from)
		cs_json_copy(&cs_ipam_type, to, from);
	if (cs_empty(to->driver)) {
		free(to->driver);
		to->driver = cs_xstrdup("default");
	}
}

static int check_request(const struct cs_network_create *req, const struct cs_network_doc *from, struct cs_err **err)
{
	const char *name = req->name;

	if (cs_empty(name) || !name[strspn(name, " \t\r\n")])
		return invalid(err, "invalid name: name is empty");
	if (strlen(name) > 255 || strpbrk(name, "\r\n"))
		return invalid(err, "invalid name: at most 255 characters without line breaks are possible");
	if (!cs_empty(req->scope) && strcmp(req->scope, "local") != 0)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "scope %s is not available in this build: there is no swarm", req->scope);
	if (req->ingress)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "ingress networks are not available in this build: there is no swarm");
	return check_config_only(req, from, err);
}

/* The daemon's options for networks of this driver. */
static void take_defaults(struct cs_network_doc *d, const struct cs_strmap *defaults)
{
	for (size_t i = 0; defaults && i < defaults->n; i++) {
		const char *key = cs_prefix(defaults->kv[i].key, d->driver);
		if (key && *key++ == '=' && !cs_strmap_get(d->options, key))
			cs_strmap_set(d->options, key, defaults->kv[i].val);
	}
}

/* Options of Docker's that something would have to come of on each driver. */
static int check_undone(const struct cs_strmap *options, struct cs_err **err)
{
	static const char *const undone[] = {"com.docker.network.advertise_addr_nmsgs", "com.docker.network.advertise_addr_ms"};

	for (size_t i = 0; i < CS_ARRAY_SIZE(undone); i++)
		if (cs_strmap_get(options, undone[i]))
			return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "option %s is not supported", undone[i]);
	return 0;
}

static int check_made(const struct cs_network_doc *d, struct cs_err **err)
{
	if (check_undone(d->options, err) < 0)
		return -1;
	if (!d->enable_ipv4 && !d->enable_ipv6)
		return invalid(err, "IPv4 or IPv6 must be enabled");
	if (strcmp(d->ipam.driver, "default") != 0)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "plugin \"%s\" not found", d->ipam.driver);
	if (check_ipam(&d->ipam, d->enable_ipv6, err) < 0 || (!d->config_only && check_driver(d, err) < 0))
		return -1;
	if (!d->config_only && !d->internal && cs_streq(d->driver, "bridge") &&
	    (cs_streq(cs_strmap_get(d->options, CS_OPT_GATEWAY4), "isolated") || cs_streq(cs_strmap_get(d->options, CS_OPT_GATEWAY6), "isolated")))
		return invalid(err, "gateway mode 'isolated' can only be used for an internal network");
	return 0;
}

/* A subnet of a family that is off is accepted and not used, as dockerd has it. */
static void drop_unused(struct cs_network_doc *d)
{
	size_t kept = 0;

	for (size_t i = 0; i < d->ipam.n_config; i++) {
		bool v6 = strchr(d->ipam.config[i].subnet, ':');
		if (v6 ? d->enable_ipv6 : d->enable_ipv4)
			d->ipam.config[kept++] = d->ipam.config[i];
		else
			cs_json_release(&cs_ipam_config_type, &d->ipam.config[i]);
	}
	d->ipam.n_config = kept;
}

int cs_network_doc_make(const struct cs_network_create *req, int api, const struct cs_strmap *defaults, const struct cs_network_doc *from,
			struct cs_network_doc **ret, struct cs_err **err)
{
	cs_auto(autodoc_done) struct cs_network_doc *d = cs_xcalloc(1, sizeof(*d));
	bool refers = req->config_from && !cs_empty(req->config_from->network);

	if (check_request(req, from, err) < 0)
		return -1;
	d->name = cs_xstrdup(req->name);
	d->driver = cs_xstrdup(driver_of(req->driver));
	d->scope = cs_xstrdup("local");
	d->created = cs_now_ns();
	d->internal = req->internal;
	d->attachable = req->attachable;
	d->config_only = req->config_only;
	d->options = cs_strmap_copy(refers ? from->options : req->options);
	d->labels = cs_strmap_copy(refers ? from->labels : req->labels);
	if (!d->options)
		d->options = cs_strmap_new();
	if (!d->labels)
		d->labels = cs_strmap_new();
	if (refers) {
		d->config_from = cs_xstrdup(req->config_from->network);
		d->enable_ipv4 = from->enable_ipv4;
		d->enable_ipv6 = from->enable_ipv6;
		take_ipam(&d->ipam, &from->ipam);
	} else {
		take_defaults(d, defaults);
		if (flag(!api || api >= 148 ? req->enable_ipv4 : CS_NULL, d->options, "com.docker.network.enable_ipv4", true, &d->enable_ipv4, err) < 0 ||
		    flag(req->enable_ipv6, d->options, "com.docker.network.enable_ipv6", false, &d->enable_ipv6, err) < 0)
			return -1;
		take_ipam(&d->ipam, req->ipam);
	}
	if (check_made(d, err) < 0)
		return -1;
	if (d->config_only) { /* as dockerd shows it: nothing is made of it */
		free(d->driver);
		d->driver = cs_xstrdup("null");
	}
	drop_unused(d);
	*ret = TAKE_PTR(d);
	return 0;
}

/* ---- endpoints ---- */

/* Pairs with ':' or '-', or groups of two bytes with '.', to the usual spelling, as Go's net package reads and writes it. False: *mac is none. */
static bool usual_mac(char **mac)
{
	const char *m = *mac;
	size_t n = strlen(m), group = n == 14 ? 4 : 2, digits = 0;
	char sep = n == 14 ? '.' : n == 17 ? m[2] : 0, hex[13] = "";

	if (!sep || !strchr(":-.", sep) || (sep == '.') != (n == 14))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (i % (group + 1) == group ? m[i] != sep : !strchr("0123456789abcdefABCDEF", m[i]))
			return false;
		if (i % (group + 1) != group)
			hex[digits++] = m[i] >= 'A' && m[i] <= 'F' ? (char)(m[i] + ('a' - 'A')) : m[i];
	}
	free(*mac);
	*mac = cs_xasprintf("%.2s:%.2s:%.2s:%.2s:%.2s:%.2s", hex, hex + 2, hex + 4, hex + 6, hex + 8, hex + 10);
	return true;
}

static void check_sysctls(const char *text, struct cs_str *bad)
{
	cs_autostrv char **list = cs_strv_split(text, ',');

	for (char **p = list; *p; p++) {
		const char *eq = strchr(*p, '=');
		cs_autofree char *key = cs_xstrndup(*p, eq ? (size_t)(eq - *p) : strlen(*p));
		cs_autostrv char **part = cs_strv_split(key, '.');
		size_t n = cs_strv_len(part);
		bool ok = n >= 5 && strcmp(part[0], "net") == 0 && (!strcmp(part[1], "ipv4") || !strcmp(part[1], "ipv6") || !strcmp(part[1], "mpls")) &&
			  (!strcmp(part[3], "IFNAME") || !strcmp(part[3], "ifname")) && !strstr(key, "..") && *part[n - 1] && !strchr(key, '/');
		if (!ok)
			add(bad,
			    "unrecognised network interface sysctl '%s'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or "
			    "'mpls'", *p);
		else if (!eq) /* dockerd says so when the container starts, likewise of the next one */
			add(bad, "expected sysctl '%s' to have format name=value", *p);
		else if (n > 5)
			add(bad, "expected sysctl '%s' to have format net.X.Y.IFNAME.Z", *p);
	}
}

static void check_ip(char **ip, bool want6, struct cs_str *bad)
{
	uint8_t b[16];
	bool v6;

	if (cs_empty(*ip))
		return;
	if (!cs_addr_parse(*ip, b, &v6) || v6 != want6 || strcmp(*ip, "0.0.0.0") == 0 || strcmp(*ip, "::") == 0)
		return add(bad, "invalid %s address: %s", want6 ? "IPv6" : "IPv4", *ip);
	cs_autofree char *full = cs_xasprintf("%s/%d", *ip, v6 ? 128 : 32);
	char *masked = cs_addr_masked(full); /* the usual spelling */
	if (!masked)
		return;
	masked[strcspn(masked, "/")] = 0;
	free(*ip);
	*ip = masked;
}

static void check_in(const struct cs_network_doc *n, const char *ip, struct cs_str *bad)
{
	bool in = cs_empty(ip);

	for (size_t i = 0; i < n->ipam.n_config && !in; i++)
		in = cs_addr_in(n->ipam.config[i].subnet, ip);
	if (!in)
		add(bad, "no configured subnet contains IP address %s", ip);
}

void cs_endpoint_wanted(struct cs_endpoint_settings *s)
{
	char **given[] = {&s->network_id, &s->endpoint_id, &s->gateway, &s->ip_address, &s->ipv6_gateway, &s->global_ipv6_address};

	for (size_t i = 0; i < CS_ARRAY_SIZE(given); i++)
		free(TAKE_PTR(*given[i]));
	s->ip_prefix_len = s->global_ipv6_prefix_len = 0;
	cs_strv_free(TAKE_PTR(s->dns_names));
	if (!s->wanted_mac)
		s->wanted_mac = TAKE_PTR(s->mac_address);
	free(TAKE_PTR(s->mac_address));
}

int cs_endpoint_check(struct cs_endpoint_settings *s, const char *name, const struct cs_network_doc *n, struct cs_err **err)
{
	cs_autostr struct cs_str bad = CS_STR_INIT(1 << 16);
	struct cs_endpoint_ipam *ip = s->ipam_config;
	const char *sysctls = cs_strmap_get(s->driver_opts, CS_OPT_EP_SYSCTLS), *ifname = cs_strmap_get(s->driver_opts, CS_OPT_EP_IFNAME);

	if (cs_network_predefined(name)) {
		if (ip && (!cs_empty(ip->ipv4_address) || !cs_empty(ip->ipv6_address)))
			add(&bad, "user-specified IP address is supported on user-defined networks only");
		if (s->aliases && *s->aliases)
			add(&bad, "network-scoped aliases are only supported for user-defined networks");
	}
	if (ip) {
		check_ip(&ip->ipv4_address, false, &bad);
		check_ip(&ip->ipv6_address, true, &bad);
		for (char **p = ip->link_local_ips; p && *p; p++) {
			uint8_t b[16];
			bool v6;
			if (!cs_addr_parse(*p, b, &v6) || !strcmp(*p, "0.0.0.0") || !strcmp(*p, "::"))
				add(&bad, "invalid link-local IP address: %s", *p);
		}
		if (n && !bad.len && !cs_network_predefined(name)) {
			check_in(n, ip->ipv4_address, &bad);
			check_in(n, ip->ipv6_address, &bad);
		}
	}
	if (!cs_empty(s->wanted_mac) && !usual_mac(&s->wanted_mac))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid MAC address %s", s->wanted_mac);
	bool flag;
	const char *antispoof = cs_strmap_get(s->driver_opts, CS_OPT_EP_ANTISPOOF);
	if (antispoof && !cs_bool_parse(antispoof, &flag))
		add(&bad, "invalid value for " CS_OPT_EP_ANTISPOOF ": %s", antispoof);
	else if (antispoof && n && cs_network_on_parent(n))
		add(&bad, "driver %s has no option " CS_OPT_EP_ANTISPOOF, n->driver);
	if (!cs_empty(sysctls))
		check_sysctls(sysctls, &bad);
	if (!cs_empty(ifname) && (strlen(ifname) > 15 || strpbrk(ifname, "/ \t\n:") || !strcmp(ifname, "lo") || !strcmp(ifname, ".") || !strcmp(ifname, "..")))
		add(&bad, "invalid interface name: %s", ifname);
	return bad.len ? cs_fail(err, CS_ERR_INVALID, 0, "invalid endpoint settings:\n%s", bad.buf) : 0;
}
