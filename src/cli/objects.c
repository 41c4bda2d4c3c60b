/* SPDX-License-Identifier: Apache-2.0
 *
 * What one container tells of itself: caisson port, top, diff, update, rename; and search, plugin ls. */
#include <string.h>

#include "base/num.h"
#include "cli/create.h"
#include "cli/auth.h"
#include "cli/rows.h"

/* ---- port ---- */

static int by_name(const void *x, const void *y)
{
	const char *const *p = x, *const *q = y;
	return natural_compare(*p, *q);
}

static char *host_port(json_t *binding)
{
	const char *ip = jstr(binding, "HostIp");
	return cs_xasprintf(strchr(ip, ':') ? "[%s]:%s" : "%s:%s", ip, jstr(binding, "HostPort"));
}

static int cmd_port(struct call *c)
{
	struct cs_err *err = NULL;
	json_t *j = NULL, *list, *b;
	cs_autostrv char **out = NULL;
	const char *from, *wanted = c->args[1];
	size_t i;
	int status = 0;
	uint64_t number;

	cs_autofree char *name = url_encode(c->args[0]), *path = cs_xasprintf("/containers/%s/json", name);
	if (client_named("container", c->args[0], &err) < 0 || client_json("GET", path, NULL, &j, &err) < 0)
		return cli_error(err, 1);
	json_t *ports = json_object_get(json_object_get(j, "NetworkSettings"), "Ports");
	if (wanted) {
		const char *slash = strchr(wanted, '/');
		cs_autofree char *port = cs_xstrndup(wanted, slash ? (size_t)(slash - wanted) : strlen(wanted));
		cs_autofree char *key = cs_xasprintf("%s/%s", port, slash && slash[1] ? slash + 1 : "tcp");
		list = json_object_get(ports, key);
		if (!cs_parse_u64(port, 0, UINT64_MAX, &number) || number > 65535)
			status = cli_fail(1, "Error: invalid port (%s): strconv.ParseUint: parsing \"%s\": %s", port, port, *port && !port[strspn(port, "0123456789")] ? "value out of range" : "invalid syntax");
		else if (json_array_size(list) == 0)
			status = cli_fail(1, "Error: No public port '%s' published for %s", wanted, c->args[0]);
		else
			json_array_foreach(list, i, b) cs_strv_take(&out, host_port(b));
	} else {
		json_object_foreach(ports, from, list) json_array_foreach(list, i, b)
		{
			cs_autofree char *to = host_port(b);
			cs_strv_take(&out, cs_xasprintf("%s -> %s", from, to));
		}
	}
	if (out)
		qsort(out, cs_strv_len(out), sizeof(*out), by_name);
	for (char **o = out; o && *o; o++)
		printf("%s\n", *o);
	json_decref(j);
	return status;
}

/* ---- top ---- */

static void put_cells(struct cs_str *s, json_t *cells)
{
	json_t *cell;
	size_t i;

	json_array_foreach(cells, i, cell) cs_str_putf(s, "%s%s", i ? "\t" : "", json_string_value(cell) ? json_string_value(cell) : "");
	cs_str_putc(s, '\n');
}

static int cmd_top(struct call *c)
{
	struct cs_str text = CS_STR_INIT((size_t)64 << 20), out = CS_STR_INIT((size_t)64 << 20);
	struct cs_err *err = NULL;
	json_t *j = NULL, *row;
	size_t i;

	cs_autofree char *args = cs_strv_join(c->args + 1, " "), *enc = url_encode(args), *name = url_encode(c->args[0]);
	cs_autofree char *path = cs_xasprintf("/containers/%s/top%s%s", name, *args ? "?ps_args=" : "", enc);
	if (client_named("container", c->args[0], &err) < 0 || client_json("GET", path, NULL, &j, &err) < 0)
		return cli_error(err, 1);
	put_cells(&text, json_object_get(j, "Titles"));
	json_array_foreach(json_object_get(j, "Processes"), i, row) put_cells(&text, row);
	tab_write(&out, text.buf, text.len, 20, 3);
	(void)fwrite(out.buf, 1, out.len, stdout);
	cs_str_done(&text);
	cs_str_done(&out);
	json_decref(j);
	return 0;
}

/* ---- diff ---- */

static int cmd_diff(struct call *c)
{
	static const char *const kinds[] = {"C", "A", "D"};
	struct cs_err *err = NULL;
	json_t *j = NULL, *change;
	size_t i;

	if (!*c->args[0])
		return cli_fail(1, "Container name cannot be empty");
	cs_autofree char *name = url_encode(c->args[0]), *path = cs_xasprintf("/containers/%s/changes", name);
	if (client_json("GET", path, NULL, &j, &err) < 0)
		return cli_error(err, 1);
	json_array_foreach(j, i, change)
	{
		int64_t kind = jint(change, "Kind");
		printf("%s %s\n", kind >= 0 && kind < 3 ? kinds[kind] : "", jstr(change, "Path"));
	}
	json_decref(j);
	return 0;
}

/* ---- rename, update ---- */

static int cmd_rename(struct call *c)
{
	struct cs_err *err = NULL;
	const char *from = c->args[0] + strspn(c->args[0], " \t\n"), *to = c->args[1] + strspn(c->args[1], " \t\n");

	if (!*from || !*to)
		return cli_fail(1, "Error: Neither old nor new names may be empty");
	cs_autofree char *a = url_encode(from), *b = url_encode(to), *path = cs_xasprintf("/containers/%s/rename?name=%s", a, b);
	if (client_json("POST", path, NULL, NULL, &err) >= 0)
		return 0;
	(void)cli_error(err, 1);
	return cli_fail(1, "Error: failed to rename container named %s", from);
}

struct update_opts {
	int64_t blkio_weight, cpu_period, cpu_quota, cpu_rt_period, cpu_rt_runtime, cpu_shares, cpus, kernel_memory, memory, memory_reservation, memory_swap, pids_limit;
	const char *cpuset_cpus, *cpuset_mems, *restart;
};
static const struct flag update_flags[] = {
	FLAG_AS(struct update_opts, blkio_weight, FLAG_UINT16, "blkio-weight", 0, "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)"),
	FLAG(struct update_opts, cpu_period, "cpu-period", 0, "Limit CPU CFS (Completely Fair Scheduler) period"),
	FLAG(struct update_opts, cpu_quota, "cpu-quota", 0, "Limit CPU CFS (Completely Fair Scheduler) quota"),
	FLAG(struct update_opts, cpu_rt_period, "cpu-rt-period", 0, "Limit the CPU real-time period in microseconds", .api = 125),
	FLAG(struct update_opts, cpu_rt_runtime, "cpu-rt-runtime", 0, "Limit the CPU real-time runtime in microseconds", .api = 125),
	FLAG(struct update_opts, cpu_shares, "cpu-shares", 'c', "CPU shares (relative weight)"),
	FLAG_AS(struct update_opts, cpus, FLAG_NANO, "cpus", 0, "Number of CPUs", .api = 129),
	FLAG(struct update_opts, cpuset_cpus, "cpuset-cpus", 0, "CPUs in which to allow execution (0-3, 0,1)"),
	FLAG(struct update_opts, cpuset_mems, "cpuset-mems", 0, "MEMs in which to allow execution (0-3, 0,1)"),
	FLAG_AS(struct update_opts, kernel_memory, FLAG_BYTES, "kernel-memory", 0, "Kernel memory limit (deprecated)", .flags = FLAG_HIDDEN),
	FLAG_AS(struct update_opts, memory, FLAG_BYTES, "memory", 'm', "Memory limit"),
	FLAG_AS(struct update_opts, memory_reservation, FLAG_BYTES, "memory-reservation", 0, "Memory soft limit"),
	FLAG_AS(struct update_opts, memory_swap, FLAG_SWAP, "memory-swap", 0, "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
	FLAG(struct update_opts, pids_limit, "pids-limit", 0, "Tune container pids limit (set -1 for unlimited)", .api = 140),
	FLAG(struct update_opts, restart, "restart", 0, "Restart policy to apply when a container exits", .values = "no|on-failure|always|unless-stopped"),
	FLAG_END,
};

/* name[:count] */
static json_t *restart_policy(const char *text, struct cs_err **err)
{
	const char *colon = text ? strchr(text, ':') : NULL;
	int64_t n = 0;

	if (cs_empty(text))
		return json_pack("{s:s,s:i}", "Name", "", "MaximumRetryCount", 0);
	if (colon == text) {
		cs_fail(err, CS_ERR_INVALID, 0, "invalid restart policy format: no policy provided before colon");
		return NULL;
	}
	if (colon && colon[1] && create_int(colon + 1, &n)) {
		cs_fail(err, CS_ERR_INVALID, 0, "invalid restart policy format: maximum retry count must be an integer");
		return NULL;
	}
	cs_autofree char *name = cs_xstrndup(text, colon ? (size_t)(colon - text) : strlen(text));
	return json_pack("{s:s,s:I}", "Name", name, "MaximumRetryCount", (json_int_t)n);
}

static int cmd_update(struct call *c)
{
	const struct update_opts *o = c->opts;
	struct cs_err *err = NULL;
	struct cs_str warnings = CS_STR_INIT(1 << 20), errors = CS_STR_INIT(1 << 20);
	bool any = false;
	size_t i;
	json_t *w;

	for (i = 0; c->cmd->options[i].name; i++)
		any |= c->given[i];
	if (!any)
		return cli_fail(1, "you must provide one or more flags when using this command");
	json_t *policy = restart_policy(o->restart, &err);
	if (!policy)
		return cli_error(err, 1);
	const struct {
		const char *key;
		int64_t v;
	} numbers[] = {{"CpuShares", o->cpu_shares}, {"Memory", o->memory}, {"NanoCpus", o->cpus}, {"BlkioWeight", o->blkio_weight}, {"CpuPeriod", o->cpu_period},
		       {"CpuQuota", o->cpu_quota}, {"CpuRealtimePeriod", o->cpu_rt_period}, {"CpuRealtimeRuntime", o->cpu_rt_runtime}, {"KernelMemory", o->kernel_memory},
		       {"MemoryReservation", o->memory_reservation}, {"MemorySwap", o->memory_swap}};
	json_t *body = json_pack("{s:o,s:s,s:s}", "RestartPolicy", policy, "CpusetCpus", o->cpuset_cpus ? o->cpuset_cpus : "", "CpusetMems", o->cpuset_mems ? o->cpuset_mems : "");
	for (i = 0; i < CS_ARRAY_SIZE(numbers); i++)
		(void)json_object_set_new(body, numbers[i].key, json_integer(numbers[i].v));
	if (o->pids_limit)
		(void)json_object_set_new(body, "PidsLimit", json_integer(o->pids_limit));
	for (char **name = c->args; *name; name++) {
		json_t *j = NULL;
		cs_autofree char *n = url_encode(*name), *path = cs_xasprintf("/containers/%s/update", n);
		err = NULL;
		if (client_named("container", *name, &err) < 0 || client_json("POST", path, body, &j, &err) < 0) {
			cs_autofree char *text = cs_err_text(err);
			cs_str_putf(&errors, "%s%s", errors.len ? "\n" : "", text);
			cs_err_free(err);
		} else {
			printf("%s\n", *name);
		}
		json_array_foreach(json_object_get(j, "Warnings"), i, w) cs_str_putf(&warnings, "%s%s", warnings.len ? "\n" : "", json_string_value(w));
		json_decref(j);
	}
	json_decref(body);
	if (warnings.len)
		printf("%s\n", warnings.buf);
	int status = errors.len ? cli_fail(1, "%s", errors.buf) : 0;
	cs_str_done(&warnings);
	cs_str_done(&errors);
	return status;
}

/* ---- search ---- */

static const char *one_line(struct tpl_arena *a, const char *s, char instead, bool trunc)
{
	char *text = tpl_strn(a, s, strlen(s)), *out = text;

	for (const char *p = text; *p; p++)
		if (*p != '\n' && *p != '\r')
			*out++ = *p;
		else if (instead)
			*out++ = instead;
	*out = 0;
	return trunc ? ellipsis(a, text, 45) : text;
}

METHOD(search_name) { return text_value(jstr(((struct row *)self)->j, "name")); }
METHOD(search_description)
{
	const struct row *r = self;
	return text_value(one_line(a, jstr(r->j, "description"), ' ', r->trunc));
}
METHOD(search_stars) { return text_value(tpl_printf(a, "%lld", (long long)jint(((struct row *)self)->j, "star_count"))); }
METHOD(search_official) { return text_value(json_is_true(json_object_get(((struct row *)self)->j, "is_official")) ? "[OK]" : ""); }
METHOD(search_official_json) { return text_value(json_is_true(json_object_get(((struct row *)self)->j, "is_official")) ? "true" : "false"); }

static const struct tpl_method search_methods[] = {{"Description", search_description}, {"IsOfficial", search_official}, {"Name", search_name}, {"StarCount", search_stars}, {NULL}};
/* in JSON truth has words of its own */
static const struct tpl_method search_json_methods[] = {{"Description", search_description}, {"IsOfficial", search_official_json}, {"Name", search_name}, {"StarCount", search_stars}, {NULL}};
static const struct tpl_class search_class = {"*registry.searchContext", search_methods}, search_json_class = {"*registry.searchContext", search_json_methods};
static const char *const search_headers[] = {"Name", "NAME", "Description", "DESCRIPTION", "StarCount", "STARS", "IsOfficial", "OFFICIAL", NULL};

struct search_opts {
	bool no_trunc;
	const char *format;
	char **filter;
	int64_t limit;
};
static const struct flag search_flags[] = {
	FLAG_AS(struct search_opts, filter, FLAG_FILTER, "filter", 'f', "Filter output based on conditions provided"),
	FLAG(struct search_opts, format, "format", 0, "Pretty-print search using a Go template"),
	FLAG(struct search_opts, limit, "limit", 0, "Max number of search results"),
	FLAG(struct search_opts, no_trunc, "no-trunc", 0, "Don't truncate output"),
	FLAG_END,
};

static int cmd_search(struct call *c)
{
	const struct search_opts *o = c->opts;
	const char *format = cs_empty(o->format) || cs_streq(o->format, "table") ? "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}" : o->format;
	bool json = cs_streq(o->format, "json") || strstr(format, "json .}}");
	struct cs_err *err = NULL;
	json_t *list = NULL, *r;
	struct list l;
	size_t i;

	cs_autofree char *term = url_encode(c->args[0]), *f = filters_query(filters_json(o->filter));
	cs_autofree char *limit = o->limit > 0 ? cs_xasprintf("&limit=%lld", (long long)o->limit) : cs_xstrdup("");
	cs_autofree char *path = cs_xasprintf("/images/search?term=%s%s%s", term, f, limit);
	cs_autofree char *auth = auth_header(c->args[0]);
	client_registry_auth = auth;
	int got = client_json("GET", path, NULL, &list, &err);
	client_registry_auth = NULL;
	if (got < 0)
		return cli_error(err, 1);
	list_begin(&l, format);
	json_array_foreach(list, i, r) list_row(&l, json ? &search_json_class : &search_class, &(struct row){r, !o->no_trunc});
	int status = list_end(&l, search_headers);
	json_decref(list);
	return status;
}

/* ---- plugin ls ---- */

METHOD(plugin_id)
{
	const struct row *r = self;
	return text_value(r->trunc ? truncate_id(a, jstr(r->j, "Id")) : jstr(r->j, "Id"));
}
METHOD(plugin_description)
{
	const struct row *r = self;
	return text_value(one_line(a, jstr(json_object_get(r->j, "Config"), "Description"), 0, r->trunc));
}
METHOD(plugin_enabled) { return tpl_bool_value(json_is_true(json_object_get(((struct row *)self)->j, "Enabled"))); }
METHOD(plugin_name) { return text_value(jstr(((struct row *)self)->j, "Name")); }
METHOD(plugin_reference) { return text_value(jstr(((struct row *)self)->j, "PluginReference")); }

static const struct tpl_method plugin_methods[] = {{"Description", plugin_description}, {"Enabled", plugin_enabled}, {"ID", plugin_id}, {"Name", plugin_name}, {"PluginReference", plugin_reference}, {NULL}};
static const struct tpl_class plugin_class = {"*plugin.pluginContext", plugin_methods};
static const char *const plugin_headers[] = {"ID", "ID", "Name", "NAME", "Description", "DESCRIPTION", "Enabled", "ENABLED", "PluginReference", "IMAGE", NULL};

struct plugin_ls_opts {
	bool no_trunc, quiet;
	const char *format;
	char **filter;
};
static const struct flag plugin_ls_flags[] = {
	FLAG_AS(struct plugin_ls_opts, filter, FLAG_FILTER, "filter", 'f', "Provide filter values (e.g. \"enabled=true\")"),
	FLAG(struct plugin_ls_opts, format, "format", 0, HELP_FORMAT_TABLE),
	FLAG(struct plugin_ls_opts, no_trunc, "no-trunc", 0, "Don't truncate output"),
	FLAG(struct plugin_ls_opts, quiet, "quiet", 'q', "Only display plugin IDs"),
	FLAG_END,
};

static const struct listing plugin_listing = {
	"/plugins", NULL, "pluginsFormat", "table {{.ID}}\t{{.Name}}\t{{.Description}}\t{{.Enabled}}",
	"plugin_id: {{.ID}}\\nname: {{.Name}}\\ndescription: {{.Description}}\\nenabled: {{.Enabled}}\\n", "{{.ID}}", "plugin_id: {{.ID}}", &plugin_class, plugin_headers};

static int cmd_plugin_ls(struct call *c)
{
	const struct plugin_ls_opts *o = c->opts;

	return listing_print(&plugin_listing, o->format, o->quiet, !o->no_trunc, o->filter);
}

const struct command object_commands[] = {
	{.names = "container port|port", .usage = "CONTAINER [PRIVATE_PORT[/PROTO]]", .help = "List port mappings or a specific mapping for the container",
	 .min = 1, .max = 2, .complete = COMP_RUNNING_THEN_NONE, .run = cmd_port},
	{.names = "container top|top", .usage = "CONTAINER [ps OPTIONS]", .help = "Display the running processes of a container",
	 .min = 1, .max = ANY, .flags = CMD_STOP, .complete = COMP_RUNNING_THEN_NONE, .run = cmd_top},
	{.names = "container diff|diff", .usage = "CONTAINER", .help = "Inspect changes to files or directories on a container's filesystem",
	 .min = 1, .max = 1, .complete = COMP_CONTAINER_THEN_NONE, .run = cmd_diff},
	{.names = "container rename|rename", .usage = "CONTAINER NEW_NAME", .help = "Rename a container",
	 .min = 2, .max = 2, .complete = COMP_CONTAINER_THEN_NONE, .run = cmd_rename},
	{.names = "container update|update", .usage = "[OPTIONS] CONTAINER [CONTAINER...]", .help = "Update configuration of one or more containers",
	 .min = 1, .max = ANY, .complete = COMP_CONTAINER, CMD_OPTS(struct update_opts, update_flags), .run = cmd_update},
	{.names = "search", .usage = "[OPTIONS] TERM", .help = "Search Docker Hub for images",
	 .min = 1, .max = 1, CMD_OPTS(struct search_opts, search_flags), .run = cmd_search},
	{.names = "plugin ls|plugin list", .usage = "[OPTIONS]", .help = "List plugins",
	 .min = 0, .max = 0, CMD_OPTS(struct plugin_ls_opts, plugin_ls_flags), .run = cmd_plugin_ls},
	CMD_END,
};
