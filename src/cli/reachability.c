/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson network reachability: what is published, from where it can be reached, and whose rules stand in the way (docs/firewall.md). Needs an engine of
 * ours: /networks/reachability is no part of Docker's API, which would take it for a network of that name. */
#include "cli/cli.h"
#include "cli/list.h"
#include "cli/show.h"

struct reach_opts {
	const char *format;
};
static const struct flag reach_flags[] = {
	FLAG(struct reach_opts, format, "format", 'f', "Format the report: 'table' (default), 'json', or a Go template over the whole of it"),
	FLAG_END,
};

static char *place(const char *address, int64_t port)
{
	return cs_xasprintf(strchr(address, ':') ? "[%s]:%lld" : "%s:%lld", address, (long long)port);
}

static void print_ports(const json_t *ports)
{
	static const char *const titles[] = {"PROTO", "HOST", "CONTAINER", "ADDRESS", "INTERFACE", "REACHABLE FROM"};
	struct table t = {.columns = CS_ARRAY_SIZE(titles)};
	const json_t *p;
	size_t i;

	for (i = 0; i < CS_ARRAY_SIZE(titles); i++)
		table_cell(&t, titles[i]);
	json_array_foreach(ports, i, p)
	{
		cs_autofree char *host = place(jstr(p, "HostAddress"), jint(p, "HostPort")), *to = place(jstr(p, "Address"), jint(p, "Port"));
		cs_autostrv char **from = NULL;
		const json_t *f;
		size_t k;
		json_array_foreach(json_object_get(p, "ReachableFrom"), k, f) cs_strv_push(&from, json_string_value(f));
		cs_autofree char *list = from ? cs_strv_join(from, ", ") : cs_xstrdup("nowhere");
		const char *const cells[] = {jstr(p, "Protocol"), host, jstr(p, "Name"), to, jstr(p, "Bridge"), list};
		for (k = 0; k < CS_ARRAY_SIZE(cells); k++)
			table_cell(&t, cells[k]);
	}
	table_print(&t);
}

static int cmd_reachability(struct call *c)
{
	const struct reach_opts *o = c->opts;
	struct cs_err *err = NULL;
	json_t *j = NULL, *v;
	size_t i;

	if (client_json("GET", "/networks/reachability", NULL, &j, &err) < 0) {
		if (cs_err_code(err) != CS_ERR_NOT_FOUND)
			return cli_error(err, 1);
		cs_err_free(err);
		return cli_fail(1, "this engine does not tell what is reachable: that needs caissond");
	}
	int status = 0;
	if (!list_is_default(o->format ? o->format : "")) {
		status = show_format(o->format, "", NULL, j);
	} else {
		print_ports(json_object_get(j, "Ports"));
		json_array_foreach(json_object_get(j, "HostChains"), i, v)
			printf("%sdrops (%s): %s %s %s, hook %s\n", i ? "" : "\n", jstr(v, "Drops"), jstr(v, "Family"), jstr(v, "Table"), jstr(v, "Chain"), jstr(v, "Hook"));
		json_array_foreach(json_object_get(j, "Warnings"), i, v) fprintf(stderr, "WARNING: %s\n", json_string_value(v));
	}
	json_decref(j);
	return status;
}

const struct command reachability_commands[] = {
	{.names = "network reachability", .usage = "[OPTIONS]", .help = "Show which published ports can be reached from where", .max = 0,
	 CMD_OPTS(struct reach_opts, reach_flags), .run = cmd_reachability},
	CMD_END,
};
