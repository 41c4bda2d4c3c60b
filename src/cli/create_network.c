/* SPDX-License-Identifier: Apache-2.0
 *
 * --network, in its short and long form, and the older flags (--ip, --link, …) that speak of the first network. */
#include <ctype.h>

#include "base/strv.h"
#include "cli/cli.h"
#include "cli/create.h"

static void set(json_t *o, const char *key, const char *val)
{
	if (!cs_empty(val))
		jset(o, key, val);
}

static void append(json_t *o, const char *key, const char *val)
{
	json_t *list = json_object_get(o, key);

	if (!list) {
		list = json_array();
		(void)json_object_set_new(o, key, list);
	}
	(void)json_array_append_new(list, jtext(val));
}

static json_t *ipam(json_t *ep)
{
	json_t *o = json_object_get(ep, "IPAMConfig");

	if (!o) {
		o = json_object();
		(void)json_object_set_new(ep, "IPAMConfig", o);
	}
	return o;
}

/* net.ParseMAC: 6, 8 (EUI-64) or 20 bytes (InfiniBand), in pairs with ':' or '-', or in groups of two with '.'. */
static bool is_mac(const char *s)
{
	size_t group = strcspn(s, ":-."), n = strlen(s);

	if (!s[group] || group != (s[group] == '.' ? 4 : 2) || (n + 1) % (group + 1) != 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (i % (group + 1) == group ? s[i] != s[group] : !isxdigit((unsigned char)s[i]))
			return false;
	size_t bytes = (n + 1) / (group + 1) * group / 2;
	return bytes == 6 || bytes == 8 || bytes == 20;
}

/* Without the blanks at both ends. Caller frees. */
static char *trimmed(const char *s, size_t n)
{
	for (; n && isspace((unsigned char)*s); n--)
		s++;
	while (n && isspace((unsigned char)s[n - 1]))
		n--;
	return cs_xstrndup(s, n);
}

static char *lower(const char *s, size_t n)
{
	char *text = trimmed(s, n);

	for (char *p = text; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return text;
}

static char *driver_option(json_t *ep, const char *val)
{
	const char *eq = strchr(val, '=');
	json_t *map = json_object_get(ep, "DriverOpts");

	if (!eq)
		return cs_xstrdup("invalid key value pair format in driver options");
	if (!map) {
		map = json_object();
		(void)json_object_set_new(ep, "DriverOpts", map);
	}
	cs_autofree char *name = lower(val, (size_t)(eq - val)), *text = lower(eq + 1, strlen(eq + 1)); /* docker's own way */
	jset(map, name, text);
	return NULL;
}

static char *field(json_t *net, json_t *ep, const char *key, const char *val)
{
	int64_t n;
	const char *why;

	if (strcmp(key, "name") == 0)
		set(net, "name", val);
	else if (strcmp(key, "alias") == 0)
		append(ep, "Aliases", val);
	else if (strcmp(key, "ip") == 0)
		set(ipam(ep), "IPv4Address", val);
	else if (strcmp(key, "ip6") == 0)
		set(ipam(ep), "IPv6Address", val);
	else if (strcmp(key, "link-local-ip") == 0)
		append(ipam(ep), "LinkLocalIPs", val);
	else if (strcmp(key, "mac-address") == 0)
		set(ep, "MacAddress", val);
	else if (strcmp(key, "driver-opt") == 0)
		return driver_option(ep, val);
	else if (strcmp(key, "gw-priority") == 0) {
		if ((why = create_int(val, &n)))
			return cs_xasprintf("invalid gw-priority (%s): %s", val, why);
		(void)json_object_set_new(ep, "GwPriority", json_integer(n));
	} else
		return cs_xasprintf("invalid field key %s", key);
	return NULL;
}

static char *long_form(const char *text, json_t *net, json_t *ep)
{
	cs_autostrv char **fields = NULL;
	char *bad = csv_fields(text, &fields);

	if (bad)
		return bad;
	for (char **f = fields; *f; f++) {
		size_t n = strcspn(*f, "=");
		if (!(*f)[n] || !n)
			return cs_xasprintf("invalid field %s", *f);
		cs_autofree char *key = lower(*f, n), *val = trimmed(*f + n + 1, strlen(*f + n + 1));
		char *why = field(net, ep, key, val);
		if (why)
			return why;
	}
	return json_object_get(net, "name") ? NULL : cs_xstrdup("network name/id is not specified");
}

/* key=value[,key=value...] with something in each: everything else is a name. */
static bool is_long(const char *text)
{
	const char *eq = strchr(text, '=');

	if (!eq || eq == text || !eq[1])
		return false;
	for (const char *p = text; p < eq; p++)
		if (!isalnum((unsigned char)*p) && *p != '_' && *p != '-')
			return false;
	return true;
}

char *create_network(const char *text, json_t **ret)
{
	json_t *net = json_object(), *ep = json_object();
	bool is_long_form = is_long(text);
	char *why = NULL;

	(void)json_object_set_new(net, "settings", ep);
	(void)json_object_set_new(net, "long", json_boolean(is_long_form));
	if (is_long_form)
		why = long_form(text, net, ep);
	else
		jset(net, "name", text);
	if (!why && ret)
		*ret = net;
	else
		json_decref(net);
	return why;
}

static bool user_defined(const char *mode)
{
	return !cs_empty(mode) && strcmp(mode, "default") != 0 && strcmp(mode, "bridge") != 0 && strcmp(mode, "nat") != 0 && strcmp(mode, "host") != 0 &&
	       strcmp(mode, "none") != 0 && !cs_prefix(mode, "container:");
}

/* The older flags describe the first network; saying it in both places is an error. */
static int older_flags(const struct run_opts *o, const char *name, json_t *ep, struct cs_err **err)
{
	json_t *ip = json_object_get(ep, "IPAMConfig");
	const struct {
		bool older, newer;
		const char *flag, *what;
	} twice[] = {{o->network_alias, json_object_get(ep, "Aliases"), "network-alias", "per-network alias"},
		     {!cs_empty(o->ip), json_object_get(ip, "IPv4Address"), "ip", "per-network IPv4 address"},
		     {!cs_empty(o->ip6), json_object_get(ip, "IPv6Address"), "ip6", "per-network IPv6 address"},
		     {!cs_empty(o->mac_address), json_object_get(ep, "MacAddress"), "mac-address", "per-network MAC address"},
		     {o->link_local_ip, json_object_get(ip, "LinkLocalIPs"), "link-local-ip", "per-network link-local IP addresses"}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(twice); i++)
		if (twice[i].older && twice[i].newer)
			return cs_fail(err, CS_ERR_INVALID, 0, "conflicting options: cannot specify both --%s and %s", twice[i].flag, twice[i].what);
	if (o->network_alias && !user_defined(name))
		return cs_fail(err, CS_ERR_INVALID, 0, "network-scoped aliases are only supported for user-defined networks");
	for (char **a = o->network_alias; a && *a; a++)
		append(ep, "Aliases", *a);
	for (char **l = user_defined(name) ? o->link : NULL; l && *l; l++)
		append(ep, "Links", *l);
	if (!cs_empty(o->ip))
		set(ipam(ep), "IPv4Address", o->ip);
	if (!cs_empty(o->ip6))
		set(ipam(ep), "IPv6Address", o->ip6);
	for (char **l = o->link_local_ip; l && *l; l++)
		append(ipam(ep), "LinkLocalIPs", *l);
	set(ep, "MacAddress", o->mac_address);
	return 0;
}

/* One network into the map; the first one is the mode as well. */
static int one(const struct run_opts *o, const char *text, bool first, bool several, json_t *host, json_t *endpoints, struct cs_err **err)
{
	cs_autojson json_t *net = NULL;
	cs_autofree char *why = create_network(text, &net);

	if (why)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s", why);
	const char *name = json_string_value(json_object_get(net, "name"));
	json_t *ep = json_object_get(net, "settings");
	if (cs_empty(name))
		return cs_fail(err, CS_ERR_INVALID, 0, "no name set for network");
	if (several && !user_defined(name))
		return cs_fail(err, CS_ERR_INVALID, 0, "conflicting options: cannot attach both user-defined and non-user-defined network-modes");
	if (first) {
		(void)json_object_set_new(host, "NetworkMode", json_string(name));
		if (older_flags(o, name, ep, err) < 0)
			return -1;
	} else if (json_object_get(endpoints, name)) {
		return cs_fail(err, CS_ERR_INVALID, 0, "network \"%s\" is specified multiple times", name);
	}
	if (json_object_get(ep, "Aliases") && !user_defined(name))
		return cs_fail(err, CS_ERR_INVALID, 0, "network-scoped aliases are only supported for user-defined networks");
	const char *mac = json_string_value(json_object_get(ep, "MacAddress"));
	if (mac && !is_mac(mac))
		return cs_fail(err, CS_ERR_INVALID, 0, "%s is not a valid mac address", mac);
	/* host, none and container: have no endpoint to describe; an address given with them is for the engine to refuse */
	(void)json_object_set(endpoints, name, ep);
	return 0;
}

int create_networks(const struct run_opts *o, json_t *host, json_t *endpoints, struct cs_err **err)
{
	if (!o->network)
		return one(o, "default", true, false, host, endpoints, err);
	for (size_t i = 0; o->network[i]; i++)
		if (one(o, o->network[i], i == 0, o->network[1] != NULL, host, endpoints, err) < 0)
			return -1;
	return 0;
}
