/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands on existing containers. Commands on several objects go on after an error and exit 1. */
#include "base/time.h"
#include "cli/cli.h"
#include "cli/stream.h"

/* POST/DELETE on each operand; prints the operand as typed. query starts with '?' or is "". */
static int each(char *const *operands, const char *method, const char *action, const char *query)
{
	int status = 0;

	for (; *operands; operands++) {
		struct cs_err *err = NULL;
		cs_autofree char *name = url_encode(*operands), *path = cs_xasprintf("/containers/%s%s%s", name, action, query);
		if (client_json(method, path, NULL, NULL, &err) < 0)
			status = cli_error(err, 1);
		else
			printf("%s\n", *operands);
	}
	return status;
}

struct stop_opts {
	const char *signal;
	int64_t timeout;
};
static const struct flag stop_flags[] = {
	FLAG(struct stop_opts, signal, "signal", 's', "Signal to send to the container"),
	FLAG(struct stop_opts, timeout, "timeout", 't', "Seconds to wait before killing the container"),
	FLAG(struct stop_opts, timeout, "time", 0, "Seconds to wait before killing the container", .deprecated = "use --timeout instead"),
	FLAG_END,
};

static int stop_or_restart(struct call *c, const char *action)
{
	const struct stop_opts *o = c->opts;
	cs_autofree char *t = flag_given(c, &o->timeout) ? cs_xasprintf("t=%lld&", (long long)o->timeout) : cs_xstrdup("");
	cs_autofree char *q = cs_xasprintf("?%s%s%s", t, o->signal ? "signal=" : "", o->signal ? o->signal : "");
	return each(c->args, "POST", action, q);
}

static int cmd_stop(struct call *c) { return stop_or_restart(c, "/stop"); }
static int cmd_restart(struct call *c) { return stop_or_restart(c, "/restart"); }

struct kill_opts {
	const char *signal;
};
static const struct flag kill_flags[] = {
	FLAG(struct kill_opts, signal, "signal", 's', "Signal to send to the container"),
	FLAG_END,
};

static int cmd_kill(struct call *c)
{
	const struct kill_opts *o = c->opts;
	cs_autofree char *e = url_encode(o->signal ? o->signal : "KILL"), *q = cs_xasprintf("?signal=%s", e);
	return each(c->args, "POST", "/kill", q);
}

static int cmd_pause(struct call *c) { return each(c->args, "POST", "/pause", ""); }
static int cmd_unpause(struct call *c) { return each(c->args, "POST", "/unpause", ""); }

struct rm_opts {
	bool force, link, volumes;
};
static const struct flag rm_flags[] = {
	FLAG(struct rm_opts, force, "force", 'f', "Force the removal of a running container (uses SIGKILL)"),
	FLAG(struct rm_opts, link, "link", 'l', "Remove the specified link"),
	FLAG(struct rm_opts, volumes, "volumes", 'v', "Remove anonymous volumes associated with the container"),
	FLAG_END,
};

static int cmd_rm(struct call *c)
{
	const struct rm_opts *o = c->opts;
	cs_autofree char *q = cs_xasprintf("?force=%d&v=%d&link=%d", o->force, o->volumes, o->link);
	return each(c->args, "DELETE", "", q);
}

static int cmd_rename(struct call *call)
{
	char **operands = call->args;
	struct cs_err *err = NULL;

	cs_autofree char *a = url_encode(operands[0]), *b = url_encode(operands[1]), *path = cs_xasprintf("/containers/%s/rename?name=%s", a, b);
	return client_json("POST", path, NULL, NULL, &err) < 0 ? cli_error(err, 1) : 0;
}

static int cmd_wait(struct call *call)
{
	char **operands = call->args;
	int status = 0;

	for (; *operands; operands++) {
		struct cs_err *err = NULL;
		json_t *j = NULL;
		cs_autofree char *name = url_encode(*operands), *path = cs_xasprintf("/containers/%s/wait", name);
		if (client_json("POST", path, NULL, &j, &err) < 0)
			status = cli_error(err, 1);
		else
			printf("%lld\n", (long long)jint(j, "StatusCode"));
		json_decref(j);
	}
	return status;
}

/* name=value filters to the API's {"name":["value",…]} as a query part; "" without any. Caller frees. */
static char *filter_query(char *const *filters)
{
	json_t *j = json_object();

	for (; filters && *filters; filters++) {
		const char *eq = strchr(*filters, '=');
		cs_autofree char *key = cs_xstrndup(*filters, (size_t)(eq - *filters));
		json_t *l = json_object_get(j, key);
		if (!l) {
			l = json_array();
			(void)json_object_set_new(j, key, l);
		}
		(void)json_array_append_new(l, json_string(eq + 1));
	}
	cs_autofree char *text = json_dumps(j, JSON_COMPACT), *enc = url_encode(text);
	char *out = json_object_size(j) ? cs_xasprintf("&filters=%s", enc) : cs_xstrdup("");
	json_decref(j);
	return out;
}

static char *ports_text(json_t *ports)
{
	cs_autostr struct cs_str s = CS_STR_INIT(65536);
	size_t i;
	json_t *p;

	json_array_foreach(ports, i, p)
	{
		if (i)
			cs_str_puts(&s, ", ");
		if (jint(p, "PublicPort"))
			cs_str_putf(&s, "%s:%lld->", jstr(p, "IP"), (long long)jint(p, "PublicPort"));
		cs_str_putf(&s, "%lld/%s", (long long)jint(p, "PrivatePort"), jstr(p, "Type"));
	}
	return cs_xstrdup(s.buf ? s.buf : "");
}

static void ps_row(struct table *t, const json_t *c, bool no_trunc)
{
	const char *id = jstr(c, "Id"), *cmd = jstr(c, "Command");
	cs_autostr struct cs_str names = CS_STR_INIT(65536);
	cs_autofree char *ago = human_ago(cs_now_ns() / CS_NS_PER_SEC - jint(c, "Created")), *created = cs_xasprintf("%s ago", ago);
	cs_autofree char *quoted = no_trunc || strlen(cmd) <= 20 ? cs_xasprintf("\"%s\"", cmd) : cs_xasprintf("\"%.19s\xe2\x80\xa6\"", cmd);
	cs_autofree char *ports = ports_text(json_object_get(c, "Ports"));
	size_t i;
	json_t *n;

	json_array_foreach(json_object_get(c, "Names"), i, n)
	{
		const char *s = json_string_value(n);
		cs_str_putf(&names, "%s%s", i ? "," : "", s && *s == '/' ? s + 1 : "");
	}
	table_cell(t, no_trunc ? id : short_id(id));
	table_cell(t, jstr(c, "Image"));
	table_cell(t, quoted);
	table_cell(t, created);
	table_cell(t, jstr(c, "Status"));
	table_cell(t, ports);
	table_cell(t, names.buf ? names.buf : "");
}

struct ps_opts {
	bool all, latest, no_trunc, quiet, size;
	const char *format;
	char **filter;
	int64_t last;
};
static const struct flag ps_flags[] = {
	FLAG(struct ps_opts, all, "all", 'a', "Show all containers (default shows just running)"),
	FLAG_AS(struct ps_opts, filter, FLAG_FILTER, "filter", 'f', "Filter output based on conditions provided"),
	FLAG(struct ps_opts, format, "format", 0, HELP_FORMAT_TABLE, .refused = NOT_YET),
	FLAG(struct ps_opts, last, "last", 'n', "Show n last created containers (includes all states)", .def = "-1"),
	FLAG(struct ps_opts, latest, "latest", 'l', "Show the latest created container (includes all states)"),
	FLAG(struct ps_opts, no_trunc, "no-trunc", 0, "Don't truncate output"),
	FLAG(struct ps_opts, quiet, "quiet", 'q', "Only display container IDs"),
	FLAG(struct ps_opts, size, "size", 's', "Display total file sizes", .refused = NOT_YET),
	FLAG_END,
};

static int cmd_ps(struct call *call)
{
	const struct ps_opts *o = call->opts;
	static const char *const head[] = {"CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"};
	struct table t = {.columns = CS_ARRAY_SIZE(head)};
	struct cs_err *err = NULL;
	json_t *list = NULL, *c;
	size_t i;

	cs_autofree char *f = filter_query(o->filter);
	cs_autofree char *path = cs_xasprintf("/containers/json?all=%d&limit=%lld%s", o->all || o->latest || o->last > 0, (long long)(o->latest ? 1 : o->last), f);
	if (client_json("GET", path, NULL, &list, &err) < 0)
		return cli_error(err, 1);
	for (i = 0; !o->quiet && i < CS_ARRAY_SIZE(head); i++)
		table_cell(&t, head[i]);
	json_array_foreach(list, i, c)
	{
		if (o->quiet)
			printf("%s\n", o->no_trunc ? jstr(c, "Id") : short_id(jstr(c, "Id")));
		else
			ps_row(&t, c, o->no_trunc);
	}
	if (!o->quiet)
		table_print(&t);
	json_decref(list);
	return 0;
}

struct logs_opts {
	bool details, follow, timestamps;
	const char *since, *tail, *until;
};
static const struct flag logs_flags[] = {
	FLAG(struct logs_opts, details, "details", 0, "Show extra details provided to logs"),
	FLAG(struct logs_opts, follow, "follow", 'f', "Follow log output"),
	FLAG(struct logs_opts, since, "since", 0, "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)"),
	FLAG(struct logs_opts, tail, "tail", 'n', "Number of lines to show from the end of the logs", .def = "all"),
	FLAG(struct logs_opts, timestamps, "timestamps", 't', "Show timestamps"),
	FLAG(struct logs_opts, until, "until", 0, "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)"),
	FLAG_END,
};

static int cmd_logs(struct call *call)
{
	const struct logs_opts *o = call->opts;
	char **operands = call->args;
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;
	json_t *j = NULL;

	cs_autofree char *name = url_encode(operands[0]), *ipath = cs_xasprintf("/containers/%s/json", name);
	if (client_json("GET", ipath, NULL, &j, &err) < 0)
		return cli_error(err, 1);
	bool tty = json_is_true(json_object_get(json_object_get(j, "Config"), "Tty"));
	json_decref(j);
	/* the API takes times, not durations ago */
	int64_t times[2] = {0, 0};
	const char *const given[2] = {o->since, o->until};
	for (size_t i = 0; i < 2; i++)
		if (given[i] && !cs_time_parse_param(given[i], cs_now_ns(), &times[i]))
			return cli_fail(1, "invalid value for \"%s\": %s", i ? "until" : "since", given[i]);
	cs_autofree char *tail_enc = url_encode(o->tail);
	cs_autofree char *path =
		cs_xasprintf("/containers/%s/logs?stdout=1&stderr=1&follow=%d&timestamps=%d&details=%d&tail=%s&since=%lld.%09lld&until=%lld.%09lld", name, o->follow,
			     o->timestamps, o->details, tail_enc, (long long)(times[0] / CS_NS_PER_SEC), (long long)(times[0] % CS_NS_PER_SEC),
			     (long long)(times[1] / CS_NS_PER_SEC), (long long)(times[1] % CS_NS_PER_SEC));
	if (client_open("GET", path, NULL, 0, false, &r, &err) < 0 || stream_copy(&r, tty, &err) < 0)
		return cli_error(err, 1);
	return 0;
}

struct inspect_opts {
	bool size;
	const char *format, *type;
};
static const struct flag inspect_flags[] = {
	FLAG(struct inspect_opts, format, "format", 'f', HELP_FORMAT, .refused = NOT_YET),
	FLAG(struct inspect_opts, size, "size", 's', "Display total file sizes if the type is container"),
	FLAG(struct inspect_opts, type, "type", 0, "Only inspect objects of the given type"),
	FLAG_END,
};

static int inspect(char **operands, bool size, const char *type)
{
	json_t *all = json_array();
	int status = 0;

	for (; *operands; operands++) {
		struct cs_err *err = NULL;
		json_t *j = NULL;
		cs_autofree char *name = url_encode(*operands), *c = cs_xasprintf("/containers/%s/json?size=%d", name, size), *i = cs_xasprintf("/images/%s/json", name);
		int r = -1;
		if (!cs_streq(type, "image"))
			r = client_json("GET", c, NULL, &j, &err);
		if (r < 0 && !cs_streq(type, "container") && (!err || err->code == CS_ERR_NOT_FOUND)) {
			cs_err_free(err);
			err = NULL;
			r = client_json("GET", i, NULL, &j, &err);
			if (r < 0 && !type && err->code == CS_ERR_NOT_FOUND) {
				cs_err_free(err);
				err = NULL;
				cs_fail(&err, CS_ERR_NOT_FOUND, 0, "No such object: %s", *operands);
			}
		}
		if (r < 0)
			status = cli_error(err, 1);
		else
			(void)json_array_append_new(all, j);
	}
	cs_autofree char *text = json_dumps(all, JSON_INDENT(4));
	printf("%s\n", text);
	json_decref(all);
	return status;
}

static int cmd_inspect(struct call *call)
{
	const struct inspect_opts *o = call->opts;
	return inspect(call->args, o->size, o->type);
}

struct container_inspect_opts {
	bool size;
	const char *format;
};
static const struct flag container_inspect_flags[] = {
	FLAG(struct container_inspect_opts, format, "format", 'f', HELP_FORMAT, .refused = NOT_YET),
	FLAG(struct container_inspect_opts, size, "size", 's', "Display total file sizes"),
	FLAG_END,
};

static int cmd_container_inspect(struct call *call)
{
	const struct container_inspect_opts *o = call->opts;
	return inspect(call->args, o->size, "container");
}

static int cmd_top(struct call *call)
{
	char **operands = call->args;
	struct cs_err *err = NULL;
	json_t *j = NULL, *row, *cell;
	size_t i, k;

	cs_autofree char *args = cs_strv_join(operands + 1, " "), *enc = url_encode(args), *name = url_encode(operands[0]);
	cs_autofree char *path = cs_xasprintf("/containers/%s/top%s%s", name, *args ? "?ps_args=" : "", enc);
	if (client_json("GET", path, NULL, &j, &err) < 0)
		return cli_error(err, 1);
	json_t *titles = json_object_get(j, "Titles");
	struct table t = {.columns = CS_MAX(1u, json_array_size(titles))};
	json_array_foreach(titles, i, cell) table_cell(&t, json_string_value(cell));
	json_array_foreach(json_object_get(j, "Processes"), i, row) json_array_foreach(row, k, cell) table_cell(&t, json_string_value(cell));
	table_print(&t);
	json_decref(j);
	return 0;
}

static int cmd_diff(struct call *call)
{
	char **operands = call->args;
	struct cs_err *err = NULL;
	json_t *j = NULL, *c;
	size_t i;

	cs_autofree char *name = url_encode(operands[0]), *path = cs_xasprintf("/containers/%s/changes", name);
	if (client_json("GET", path, NULL, &j, &err) < 0)
		return cli_error(err, 1);
	json_array_foreach(j, i, c)
	{
		int64_t kind = jint(c, "Kind");
		printf("%c %s\n", kind == 0 ? 'C' : kind == 1 ? 'A' : 'D', jstr(c, "Path"));
	}
	json_decref(j);
	return 0;
}

struct container_prune_opts {
	bool force;
	char **filter;
};
static const struct flag container_prune_flags[] = {
	FLAG_AS(struct container_prune_opts, filter, FLAG_FILTER, "filter", 0, "Provide filter values (e.g. \"until=<timestamp>\")"),
	FLAG(struct container_prune_opts, force, "force", 'f', "Do not prompt for confirmation"),
	FLAG_END,
};

static int cmd_prune(struct call *c)
{
	const struct container_prune_opts *o = c->opts;
	struct cs_err *err = NULL;
	json_t *j = NULL, *d;
	size_t i;

	if (!o->force && !cli_confirm("all stopped containers"))
		return 0;
	cs_autofree char *f = filter_query(o->filter), *path = cs_xasprintf("/containers/prune?%s", f);
	if (client_json("POST", path, NULL, &j, &err) < 0)
		return cli_error(err, 1);
	json_t *gone = json_object_get(j, "ContainersDeleted");
	if (json_array_size(gone))
		printf("Deleted Containers:\n");
	json_array_foreach(gone, i, d) printf("%s\n", json_string_value(d));
	cs_autofree char *size = human_size(jint(j, "SpaceReclaimed"));
	printf("%sTotal reclaimed space: %s\n", json_array_size(gone) ? "\n" : "", size);
	json_decref(j);
	return 0;
}

const struct command container_commands[] = {
	{.names = "container ls|container list|container ps|ps", .usage = "[OPTIONS]", .help = "List containers",
	 .min = 0, .max = 0, CMD_OPTS(struct ps_opts, ps_flags), .run = cmd_ps},
	{.names = "container stop|stop", .usage = "[OPTIONS] CONTAINER [CONTAINER...]", .help = "Stop one or more running containers",
	 .min = 1, .max = ANY, .complete = COMP_RUNNING, CMD_OPTS(struct stop_opts, stop_flags), .run = cmd_stop},
	{.names = "container restart|restart", .usage = "[OPTIONS] CONTAINER [CONTAINER...]", .help = "Restart one or more containers",
	 .min = 1, .max = ANY, .complete = COMP_CONTAINER, CMD_OPTS(struct stop_opts, stop_flags), .run = cmd_restart},
	{.names = "container kill|kill", .usage = "[OPTIONS] CONTAINER [CONTAINER...]", .help = "Kill one or more running containers",
	 .min = 1, .max = ANY, .complete = COMP_RUNNING, CMD_OPTS(struct kill_opts, kill_flags), .run = cmd_kill},
	{.names = "container rm|container remove|rm", .usage = "[OPTIONS] CONTAINER [CONTAINER...]", .help = "Remove one or more containers",
	 .min = 1, .max = ANY, .complete = COMP_CONTAINER, CMD_OPTS(struct rm_opts, rm_flags), .run = cmd_rm},
	{.names = "container pause|pause", .usage = "CONTAINER [CONTAINER...]", .help = "Pause all processes within one or more containers",
	 .min = 1, .max = ANY, .complete = COMP_RUNNING, .run = cmd_pause},
	{.names = "container unpause|unpause", .usage = "CONTAINER [CONTAINER...]", .help = "Unpause all processes within one or more containers",
	 .min = 1, .max = ANY, .complete = COMP_PAUSED, .run = cmd_unpause},
	{.names = "container rename|rename", .usage = "CONTAINER NEW_NAME", .help = "Rename a container",
	 .min = 2, .max = 2, .complete = COMP_CONTAINER_THEN_NONE, .run = cmd_rename},
	{.names = "container wait|wait", .usage = "CONTAINER [CONTAINER...]", .help = "Block until one or more containers stop, then print their exit codes",
	 .min = 1, .max = ANY, .complete = COMP_CONTAINER, .run = cmd_wait},
	{.names = "container logs|logs", .usage = "[OPTIONS] CONTAINER", .help = "Fetch the logs of a container",
	 .min = 1, .max = 1, .complete = COMP_CONTAINER, CMD_OPTS(struct logs_opts, logs_flags), .run = cmd_logs},
	{.names = "inspect", .usage = "[OPTIONS] NAME|ID [NAME|ID...]", .help = "Return low-level information on Docker objects",
	 .min = 1, .max = ANY, .complete = COMP_OBJECT, CMD_OPTS(struct inspect_opts, inspect_flags), .run = cmd_inspect},
	{.names = "container inspect", .usage = "[OPTIONS] CONTAINER [CONTAINER...]", .help = "Display detailed information on one or more containers",
	 .min = 1, .max = ANY, .complete = COMP_CONTAINER, CMD_OPTS(struct container_inspect_opts, container_inspect_flags), .run = cmd_container_inspect},
	{.names = "container top|top", .usage = "CONTAINER [ps OPTIONS]", .help = "Display the running processes of a container",
	 .min = 1, .max = ANY, .flags = CMD_STOP, .complete = COMP_RUNNING_THEN_NONE, .run = cmd_top},
	{.names = "container diff|diff", .usage = "CONTAINER", .help = "Inspect changes to files or directories on a container's filesystem",
	 .min = 1, .max = 1, .complete = COMP_CONTAINER_THEN_NONE, .run = cmd_diff},
	{.names = "container prune", .usage = "[OPTIONS]", .help = "Remove all stopped containers",
	 .min = 0, .max = 0, CMD_OPTS(struct container_prune_opts, container_prune_flags), .run = cmd_prune},
	CMD_END,
};
