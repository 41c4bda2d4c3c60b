/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson network create, connect, disconnect, ls, rm. Requests are what docker sends. */
#include <arpa/inet.h>
#include <string.h>

#include "base/num.h"
#include "cli/create.h"
#include "cli/rows.h"

/* ---- ls ---- */

METHOD(net_id)
{
	const struct row *r = self;
	return text_value(r->trunc ? truncate_id(a, jstr(r->j, "Id")) : jstr(r->j, "Id"));
}
static struct tpl_value flag_text(void *self, const char *key) { return text_value(json_is_true(json_object_get(((struct row *)self)->j, key)) ? "true" : "false"); }
METHOD(net_name) { return text_value(jstr(((struct row *)self)->j, "Name")); }
METHOD(net_driver) { return text_value(jstr(((struct row *)self)->j, "Driver")); }
METHOD(net_scope) { return text_value(jstr(((struct row *)self)->j, "Scope")); }
METHOD(net_ipv4) { return flag_text(self, "EnableIPv4"); }
METHOD(net_ipv6) { return flag_text(self, "EnableIPv6"); }
METHOD(net_internal) { return flag_text(self, "Internal"); }
METHOD(net_labels) { return text_value(labels_text(a, json_object_get(((struct row *)self)->j, "Labels"))); }
METHOD(net_label) { return text_value(jstr(json_object_get(((struct row *)self)->j, "Labels"), arg)); }
METHOD(net_created_at) { return text_value(utc_time_text(a, jstr(((struct row *)self)->j, "Created"))); }

static const struct tpl_method network_methods[] = {
	{"CreatedAt", net_created_at}, {"Driver", net_driver}, {"ID", net_id}, {"IPv4", net_ipv4}, {"IPv6", net_ipv6}, {"Internal", net_internal},
	{"Label", net_label, .takes_string = true}, {"Labels", net_labels}, {"Name", net_name}, {"Scope", net_scope}, {NULL}};
static const struct tpl_class network_class = {"*network.networkContext", network_methods};
static const char *const network_headers[] = {"ID", "NETWORK ID", "Name", "NAME", "Driver", "DRIVER", "Scope", "SCOPE", "IPv4", "IPV4", "IPv6", "IPV6", "Internal", "INTERNAL",
					      "Labels", "LABELS", "CreatedAt", "CREATED AT", NULL};

struct network_ls_opts {
	bool no_trunc, quiet;
	const char *format;
	char **filter;
};
static const struct flag network_ls_flags[] = {
	FLAG_AS(struct network_ls_opts, filter, FLAG_FILTER, "filter", 'f', "Provide filter values (e.g. \"driver=bridge\")"),
	FLAG(struct network_ls_opts, format, "format", 0, HELP_FORMAT_TABLE),
	FLAG(struct network_ls_opts, no_trunc, "no-trunc", 0, "Do not truncate the output"),
	FLAG(struct network_ls_opts, quiet, "quiet", 'q', "Only display network IDs"),
	FLAG_END,
};

static const struct listing network_listing = {
	"/networks", NULL, "networksFormat", "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
	"network_id: {{.ID}}\\nname: {{.Name}}\\ndriver: {{.Driver}}\\nscope: {{.Scope}}\\n", "{{.ID}}", "network_id: {{.ID}}", &network_class, network_headers};

static int cmd_ls(struct call *call)
{
	const struct network_ls_opts *o = call->opts;

	return listing_print(&network_listing, o->format, o->quiet, !o->no_trunc, o->filter);
}

/* ---- create ---- */

struct address {
	unsigned char b[16];
	bool v6;
};
struct prefix {
	struct address a;
	unsigned bits;
};

static bool parse_address(const char *s, struct address *a)
{
	a->v6 = strchr(s, ':') != NULL;
	return inet_pton(a->v6 ? AF_INET6 : AF_INET, s, a->b) == 1;
}

static bool parse_prefix(const char *s, struct prefix *p)
{
	const char *slash = strchr(s, '/');
	cs_autofree char *addr = cs_xstrndup(s, slash ? (size_t)(slash - s) : strlen(s));
	uint64_t bits = 0;

	if (!slash || !parse_address(addr, &p->a) || !cs_parse_u64(slash + 1, 0, p->a.v6 ? 128 : 32, &bits))
		return false;
	p->bits = (unsigned)bits;
	return true;
}

static bool contains(const struct prefix *p, const struct address *a)
{
	if (p->a.v6 != a->v6)
		return false;
	unsigned whole = p->bits / 8, rest = p->bits % 8;
	return memcmp(p->a.b, a->b, whole) == 0 && (!rest || ((p->a.b[whole] ^ a->b[whole]) >> (8 - rest)) == 0);
}

/* Is data (an address, or a CIDR's address) inside the subnet? 1, 0, or -1 with an error. */
static int subnet_matches(const char *subnet, const char *data, struct cs_err **err)
{
	struct prefix s, d;

	if (!parse_prefix(subnet, &s))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid subnet: invalid CIDR address: %s", subnet);
	if (!strchr(data, '/'))
		return parse_address(data, &d.a) && contains(&s, &d.a);
	if (!parse_prefix(data, &d))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid CIDR address: %s", data);
	return contains(&s, &d.a);
}

/* Puts each of `list` (ranges, gateways) into the entry of the subnet that it lies in. */
static int place(json_t *configs, char *const *list, const char *key, const char *what, struct cs_err **err)
{
	for (; list && *list; list++) {
		bool found = false;
		json_t *c;
		size_t i;
		struct prefix p;
		if (cs_streq(key, "IPRange") && !parse_prefix(*list, &p))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid CIDR address: %s", *list);
		json_array_foreach(configs, i, c)
		{
			int m = subnet_matches(jstr(c, "Subnet"), *list, err);
			if (m < 0)
				return -1;
			if (!m)
				continue;
			if (*jstr(c, key))
				return cs_fail(err, CS_ERR_INVALID, 0, "cannot configure multiple %ss (%s, %s) %s the same subnet (%s)", what, *list, jstr(c, key),
					       cs_streq(what, "range") ? "on" : "for", jstr(c, "Subnet"));
			(void)json_object_set_new(c, key, json_string(*list));
			found = true;
		}
		if (!found)
			return cs_fail(err, CS_ERR_INVALID, 0, "no matching subnet for %s %s", what, *list);
	}
	return 0;
}

static json_t *pairs(char *const *list)
{
	json_t *out = json_object();

	for (; list && *list; list++) {
		cs_autofree char *key = cs_xstrndup(*list, strcspn(*list, "="));
		jset(out, key, *list + strlen(key) + ((*list)[strlen(key)] == '='));
	}
	return out;
}

struct network_create_opts {
	bool attachable, config_only, ingress, internal, ipv4, ipv6;
	const char *config_from, *driver, *ipam_driver, *scope;
	char **aux_address, **gateway, **ip_range, **ipam_opt, **label, **opt, **subnet;
};
static const struct flag network_create_flags[] = {
	FLAG(struct network_create_opts, attachable, "attachable", 0, "Enable manual container attachment", .api = 125),
	FLAG_AS(struct network_create_opts, aux_address, FLAG_MAP, "aux-address", 0, "Auxiliary IPv4 or IPv6 addresses used by Network driver (default map[])"),
	FLAG(struct network_create_opts, config_from, "config-from", 0, "The network from which to copy the configuration", .api = 130),
	FLAG(struct network_create_opts, config_only, "config-only", 0, "Create a configuration only network", .api = 130),
	FLAG(struct network_create_opts, driver, "driver", 'd', "Driver to manage the Network", .def = "bridge"),
	FLAG_AS(struct network_create_opts, gateway, FLAG_STRINGS, "gateway", 0, "IPv4 or IPv6 Gateway for the master subnet", .type = "strings"),
	FLAG(struct network_create_opts, ingress, "ingress", 0, "Create swarm routing-mesh network", .api = 129),
	FLAG(struct network_create_opts, internal, "internal", 0, "Restrict external access to the network"),
	FLAG_AS(struct network_create_opts, ip_range, FLAG_STRINGS, "ip-range", 0, "Allocate container ip from a sub-range", .type = "strings"),
	FLAG(struct network_create_opts, ipam_driver, "ipam-driver", 0, "IP Address Management Driver", .def = "default"),
	FLAG_AS(struct network_create_opts, ipam_opt, FLAG_MAP, "ipam-opt", 0, "Set IPAM driver specific options (default map[])"),
	FLAG(struct network_create_opts, ipv4, "ipv4", 0, "Enable or disable IPv4 address assignment", .def = "true"),
	FLAG(struct network_create_opts, ipv6, "ipv6", 0, "Enable or disable IPv6 address assignment"),
	FLAG(struct network_create_opts, label, "label", 0, "Set metadata on a network", .check = check_label),
	FLAG_AS(struct network_create_opts, opt, FLAG_MAP, "opt", 'o', "Set driver specific options (default map[])"),
	FLAG(struct network_create_opts, scope, "scope", 0, "Control the network's scope", .api = 130),
	FLAG_AS(struct network_create_opts, subnet, FLAG_STRINGS, "subnet", 0, "Subnet in CIDR format that represents a network segment", .type = "strings"),
	FLAG_END,
};

/* {"Driver", "Options", "Config"} with a configuration for each subnet; NULL with an error. */
static json_t *ipam(const struct network_create_opts *o, struct cs_err **err)
{
	json_t *configs = json_array(), *c, *v;
	const char *key;
	size_t i;
	int r = 0;

	if (cs_strv_len(o->subnet) < cs_strv_len(o->ip_range) || cs_strv_len(o->subnet) < cs_strv_len(o->gateway))
		r = cs_fail(err, CS_ERR_INVALID, 0, "every ip-range or gateway must have a corresponding subnet");
	for (char **s = o->subnet; r == 0 && s && *s; s++) {
		struct prefix p;
		json_array_foreach(configs, i, c)
		{
			int m = subnet_matches(*s, jstr(c, "Subnet"), err), n = m < 0 ? m : subnet_matches(jstr(c, "Subnet"), *s, err);
			if (m < 0 || n < 0)
				r = -1;
			else if (m || n)
				r = cs_fail(err, CS_ERR_INVALID, 0, "multiple overlapping subnet configuration is not supported");
		}
		(void)p;
		(void)json_array_append_new(configs, json_pack("{s:s}", "Subnet", *s));
	}
	if (r == 0)
		r = place(configs, o->ip_range, "IPRange", "range", err);
	if (r == 0)
		r = place(configs, o->gateway, "Gateway", "gateway", err);
	json_t *aux = pairs(o->aux_address);
	if (r == 0)
		json_object_foreach(aux, key, v)
		{
			bool found = false;
			json_array_foreach(configs, i, c)
			{
				int m = subnet_matches(jstr(c, "Subnet"), json_string_value(v), err);
				if (m < 0)
					r = -1;
				if (m <= 0)
					continue;
				if (!json_object_get(c, "AuxiliaryAddresses"))
					(void)json_object_set_new(c, "AuxiliaryAddresses", json_object());
				(void)json_object_set(json_object_get(c, "AuxiliaryAddresses"), key, v);
				found = true;
			}
			if (r == 0 && !found)
				r = cs_fail(err, CS_ERR_INVALID, 0, "no matching subnet for aux-address %s", json_string_value(v));
		}
	json_decref(aux);
	if (r < 0) {
		json_decref(configs);
		return NULL;
	}
	return json_pack("{s:s,s:o,s:o}", "Driver", o->ipam_driver, "Options", pairs(o->ipam_opt), "Config", configs);
}

static int cmd_create(struct call *call)
{
	const struct network_create_opts *o = call->opts;
	struct cs_err *err = NULL;
	json_t *j = NULL, *i = ipam(o, &err);

	if (!i)
		return cli_error(err, 1);
	json_t *body = json_pack("{s:s,s:s,s:s,s:o,s:b,s:b,s:b,s:b,s:n,s:o,s:o}", "Name", call->args[0], "Driver", o->driver, "Scope", o->scope ? o->scope : "", "IPAM", i, "Internal",
				 o->internal, "Attachable", o->attachable, "Ingress", o->ingress, "ConfigOnly", o->config_only, "ConfigFrom", "Options", pairs(o->opt), "Labels",
				 pairs(o->label));
	if (flag_given(call, &o->ipv4))
		(void)json_object_set_new(body, "EnableIPv4", json_boolean(o->ipv4));
	if (flag_given(call, &o->ipv6))
		(void)json_object_set_new(body, "EnableIPv6", json_boolean(o->ipv6));
	int api = client_api(&err);
	if (api >= 0 && api < 144) /* before, an engine made a second network of the name unless it was asked to look */
		(void)json_object_set_new(body, "CheckDuplicate", json_true());
	if (!cs_empty(o->config_from))
		(void)json_object_set_new(body, "ConfigFrom", json_pack("{s:s}", "Network", o->config_from));
	int r = api < 0 ? -1 : client_json("POST", "/networks/create", body, &j, &err);
	json_decref(body);
	if (r < 0)
		return cli_error(err, 1);
	printf("%s\n", jstr(j, "Id"));
	json_decref(j);
	return 0;
}

/* ---- connect, disconnect, rm ---- */

struct network_connect_opts {
	const char *ip, *ip6;
	char **alias, **driver_opt, **link, **link_local_ip;
	int64_t gw_priority;
};
static const struct flag network_connect_flags[] = {
	FLAG_AS(struct network_connect_opts, alias, FLAG_STRINGS, "alias", 0, "Add network-scoped alias for the container", .type = "strings"),
	FLAG_AS(struct network_connect_opts, driver_opt, FLAG_STRINGS, "driver-opt", 0, "driver options for the network", .type = "strings"),
	FLAG(struct network_connect_opts, gw_priority, "gw-priority", 0, "Highest gw-priority provides the default gateway. Accepts positive and negative values."),
	FLAG(struct network_connect_opts, ip, "ip", 0, "IPv4 address (e.g., \"172.30.100.104\")"),
	FLAG(struct network_connect_opts, ip6, "ip6", 0, "IPv6 address (e.g., \"2001:db8::33\")"),
	FLAG(struct network_connect_opts, link, "link", 0, "Add link to another container", .complete = COMP_CONTAINER, .check = check_link),
	FLAG_AS(struct network_connect_opts, link_local_ip, FLAG_STRINGS, "link-local-ip", 0, "Add a link-local address for the container", .type = "strings"),
	FLAG_END,
};

static json_t *strings(char *const *list)
{
	json_t *out = json_array();
	for (; list && *list; list++)
		(void)json_array_append_new(out, jtext(*list));
	return out;
}

static char *trimmed(const char *s, size_t n)
{
	while (n && strchr(" \t\r\n", *s))
		s++, n--;
	while (n && strchr(" \t\r\n", s[n - 1]))
		n--;
	return cs_xstrndup(s, n);
}

static int cmd_connect(struct call *call)
{
	const struct network_connect_opts *o = call->opts;
	struct cs_err *err = NULL;
	json_t *opts = json_object(), *ip = json_object();

	for (char **d = o->driver_opt; d && *d; d++) {
		size_t n = strcspn(*d, "=");
		cs_autofree char *key = trimmed(*d, n), *value = trimmed(*d + n + ((*d)[n] == '='), strlen(*d + n + ((*d)[n] == '=')));
		if (!(*d)[n] || !*key) {
			json_decref(opts);
			json_decref(ip);
			return cli_fail(1, "invalid key/value pair format in driver options");
		}
		jset(opts, key, value);
	}
	if (!cs_empty(o->ip))
		(void)json_object_set_new(ip, "IPv4Address", json_string(o->ip));
	if (!cs_empty(o->ip6))
		(void)json_object_set_new(ip, "IPv6Address", json_string(o->ip6));
	if (o->link_local_ip)
		(void)json_object_set_new(ip, "LinkLocalIPs", strings(o->link_local_ip));
	json_t *body = json_pack("{s:s,s:{s:o,s:o,s:o,s:o,s:I}}", "Container", call->args[1], "EndpointConfig", "IPAMConfig", ip, "Links", strings(o->link), "Aliases",
				 strings(o->alias), "DriverOpts", opts, "GwPriority", (json_int_t)o->gw_priority);
	cs_autofree char *name = url_encode(call->args[0]), *path = cs_xasprintf("/networks/%s/connect", name);
	bool named = client_named("network", call->args[0], &err) == 0 && client_named("container", call->args[1], &err) == 0;
	int r = named ? client_json("POST", path, body, NULL, &err) : -1;
	json_decref(body);
	return r < 0 ? cli_error(err, 1) : 0;
}

struct network_force_opts {
	bool force;
};
static const struct flag network_disconnect_flags[] = {
	FLAG(struct network_force_opts, force, "force", 'f', "Force the container to disconnect from a network"),
	FLAG_END,
};

static int cmd_disconnect(struct call *call)
{
	const struct network_force_opts *o = call->opts;
	struct cs_err *err = NULL;
	cs_autofree char *name = url_encode(call->args[0]), *path = cs_xasprintf("/networks/%s/disconnect", name);
	json_t *body = json_pack("{s:s,s:b}", "Container", call->args[1], "Force", o->force);
	bool named = client_named("network", call->args[0], &err) == 0 && client_named("container", call->args[1], &err) == 0;
	int r = named ? client_json("POST", path, body, NULL, &err) : -1;

	json_decref(body);
	return r < 0 ? cli_error(err, 1) : 0;
}

static const struct flag network_rm_flags[] = {
	FLAG(struct network_force_opts, force, "force", 'f', "Do not error if the network does not exist"),
	FLAG_END,
};

static int cmd_rm(struct call *call)
{
	const struct network_force_opts *o = call->opts;
	int status = 0;

	for (char **n = call->args; *n; n++) {
		struct cs_err *err = NULL;
		cs_autofree char *name = url_encode(*n), *path = cs_xasprintf("/networks/%s", name);
		if (client_named("network", *n, &err) == 0 && client_json("DELETE", path, NULL, NULL, &err) >= 0)
			printf("%s\n", *n);
		else if (o->force && err->code == CS_ERR_NOT_FOUND)
			cs_err_free(err);
		else
			status = cli_error(err, 1);
	}
	return status;
}

const struct command network_commands[] = {
	{.names = "network connect", .usage = "[OPTIONS] NETWORK CONTAINER", .help = "Connect a container to a network",
	 .min = 2, .max = 2, .complete = COMP_NETWORK_CONTAINER, CMD_OPTS(struct network_connect_opts, network_connect_flags), .run = cmd_connect},
	{.names = "network create", .usage = "[OPTIONS] NETWORK", .help = "Create a network",
	 .min = 1, .max = 1, CMD_OPTS(struct network_create_opts, network_create_flags), .run = cmd_create},
	{.names = "network disconnect", .usage = "[OPTIONS] NETWORK CONTAINER", .help = "Disconnect a container from a network",
	 .min = 2, .max = 2, .complete = COMP_NETWORK_CONTAINER, CMD_OPTS(struct network_force_opts, network_disconnect_flags), .run = cmd_disconnect},
	{.names = "network ls|network list", .usage = "[OPTIONS]", .help = "List networks",
	 .min = 0, .max = 0, CMD_OPTS(struct network_ls_opts, network_ls_flags), .run = cmd_ls},
	{.names = "network rm|network remove", .usage = "NETWORK [NETWORK...]", .help = "Remove one or more networks",
	 .min = 1, .max = ANY, .complete = COMP_NETWORK, CMD_OPTS(struct network_force_opts, network_rm_flags), .run = cmd_rm},
	CMD_END,
};
