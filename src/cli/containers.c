/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands on existing containers. Commands on several objects go on after an error and exit 1. */
#include "base/time.h"
#include "cli/cli.h"
#include "cli/stream.h"

/* POST/DELETE on each operand; prints the operand as typed. query starts with '?' or is "". */
static int each(const char *cmd, char *const *operands, const char *method, const char *action, const char *query)
{
	int status = 0;

	if (!operands)
		return 125;
	if (!operands[0])
		return cli_usage(cmd, "requires at least 1 argument");
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

static const struct opt no_opts[] = {OPT_END};

static int stop_or_restart(char **argv, const char *action, const char *usage)
{
	int64_t timeout = INT64_MIN;
	const char *sig = NULL;
	const struct opt opts[] = {{"time", 't', OPT_I64, &timeout, "Seconds to wait before killing; -1 = for ever"},
				   {"timeout", 0, OPT_I64, &timeout, "Same as --time"},
				   {"signal", 's', OPT_STR, &sig, "Signal to send"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, usage);
	cs_autofree char *t = timeout != INT64_MIN ? cs_xasprintf("t=%lld&", (long long)timeout) : cs_xstrdup("");
	cs_autofree char *q = cs_xasprintf("?%s%s%s", t, sig ? "signal=" : "", sig ? sig : "");
	return each(argv[0], operands, "POST", action, q);
}

static int cmd_stop(char **argv) { return stop_or_restart(argv, "/stop", "stop [OPTIONS] CONTAINER [CONTAINER...]"); }
static int cmd_restart(char **argv) { return stop_or_restart(argv, "/restart", "restart [OPTIONS] CONTAINER [CONTAINER...]"); }

static int cmd_kill(char **argv)
{
	const char *sig = "KILL";
	const struct opt opts[] = {{"signal", 's', OPT_STR, &sig, "Signal to send"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "kill [OPTIONS] CONTAINER [CONTAINER...]");
	cs_autofree char *e = url_encode(sig), *q = cs_xasprintf("?signal=%s", e);
	return each(argv[0], operands, "POST", "/kill", q);
}

static int cmd_pause(char **argv) { return each(argv[0], opt_parse(argv, no_opts, false, "pause CONTAINER [CONTAINER...]"), "POST", "/pause", ""); }
static int cmd_unpause(char **argv) { return each(argv[0], opt_parse(argv, no_opts, false, "unpause CONTAINER [CONTAINER...]"), "POST", "/unpause", ""); }

static int cmd_rm(char **argv)
{
	bool force = false, volumes = false;
	const struct opt opts[] = {{"force", 'f', OPT_BOOL, &force, "Kill running containers first"}, {"volumes", 'v', OPT_BOOL, &volumes, "Remove anonymous volumes"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "rm [OPTIONS] CONTAINER [CONTAINER...]");
	cs_autofree char *q = cs_xasprintf("?force=%d&v=%d", force, volumes);
	return each(argv[0], operands, "DELETE", "", q);
}

static int cmd_rename(char **argv)
{
	char **operands = opt_parse(argv, no_opts, false, "rename CONTAINER NEW_NAME");
	struct cs_err *err = NULL;

	if (!operands)
		return 125;
	if (!operands[0] || !operands[1] || operands[2])
		return cli_usage(argv[0], "requires exactly 2 arguments");
	cs_autofree char *a = url_encode(operands[0]), *b = url_encode(operands[1]), *path = cs_xasprintf("/containers/%s/rename?name=%s", a, b);
	return client_json("POST", path, NULL, NULL, &err) < 0 ? cli_error(err, 1) : 0;
}

static int cmd_wait(char **argv)
{
	char **operands = opt_parse(argv, no_opts, false, "wait CONTAINER [CONTAINER...]");
	int status = 0;

	if (!operands)
		return 125;
	if (!operands[0])
		return cli_usage(argv[0], "requires at least 1 argument");
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

/* -f key=value flags to the API's {"key":["value",…]} as a query part; "" without any. Caller frees; NULL after an error message. */
static char *filter_query(char *const *filters, const char *cmd)
{
	json_t *j = json_object();

	for (; filters && *filters; filters++) {
		const char *eq = strchr(*filters, '=');
		if (!eq) {
			json_decref(j);
			(void)cli_usage(cmd, "invalid argument for \"--filter\": want key=value");
			return NULL;
		}
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

static int cmd_ps(char **argv)
{
	bool all = false, quiet = false, no_trunc = false, latest = false;
	int64_t last = 0;
	char **filters = NULL;
	const struct opt opts[] = {{"all", 'a', OPT_BOOL, &all, "Show all containers"}, {"quiet", 'q', OPT_BOOL, &quiet, "Only ids"},
				   {"no-trunc", 0, OPT_BOOL, &no_trunc, "Do not shorten"}, {"latest", 'l', OPT_BOOL, &latest, "The last created"},
				   {"last", 'n', OPT_I64, &last, "The n last created"}, {"filter", 'f', OPT_LIST, &filters, "Filter (key=value)"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "ps [OPTIONS]");
	static const char *const head[] = {"CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"};
	struct table t = {.columns = CS_ARRAY_SIZE(head)};
	struct cs_err *err = NULL;
	json_t *list = NULL, *c;
	size_t i;

	if (!operands)
		return 125;
	if (operands[0])
		return cli_usage(argv[0], "accepts no arguments");
	cs_autofree char *f = filter_query(filters, argv[0]);
	cs_strv_free(filters);
	if (!f)
		return 125;
	cs_autofree char *path = cs_xasprintf("/containers/json?all=%d&limit=%lld%s", all || latest || last > 0, (long long)(latest ? 1 : last), f);
	if (client_json("GET", path, NULL, &list, &err) < 0)
		return cli_error(err, 1);
	for (i = 0; !quiet && i < CS_ARRAY_SIZE(head); i++)
		table_cell(&t, head[i]);
	json_array_foreach(list, i, c)
	{
		if (quiet)
			printf("%s\n", no_trunc ? jstr(c, "Id") : short_id(jstr(c, "Id")));
		else
			ps_row(&t, c, no_trunc);
	}
	if (!quiet)
		table_print(&t);
	json_decref(list);
	return 0;
}

static int cmd_logs(char **argv)
{
	bool follow = false, timestamps = false, details = false;
	const char *tail = "all", *since = NULL, *until = NULL;
	const struct opt opts[] = {{"follow", 'f', OPT_BOOL, &follow, "Follow the output"}, {"timestamps", 't', OPT_BOOL, &timestamps, "Show timestamps"},
				   {"details", 0, OPT_BOOL, &details, "Show extra details"}, {"tail", 'n', OPT_STR, &tail, "Lines from the end"},
				   {"since", 0, OPT_STR, &since, "Since a time or a duration ago"}, {"until", 0, OPT_STR, &until, "Before a time or a duration ago"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "logs [OPTIONS] CONTAINER");
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;
	json_t *j = NULL;

	if (!operands)
		return 125;
	if (!operands[0] || operands[1])
		return cli_usage(argv[0], "requires exactly 1 argument");
	cs_autofree char *name = url_encode(operands[0]), *ipath = cs_xasprintf("/containers/%s/json", name);
	if (client_json("GET", ipath, NULL, &j, &err) < 0)
		return cli_error(err, 1);
	bool tty = json_is_true(json_object_get(json_object_get(j, "Config"), "Tty"));
	json_decref(j);
	/* the API takes times, not durations ago */
	int64_t times[2] = {0, 0};
	const char *const given[2] = {since, until};
	for (size_t i = 0; i < 2; i++)
		if (given[i] && !cs_time_parse_param(given[i], cs_now_ns(), &times[i]))
			return cli_usage(argv[0], "invalid value for --since or --until");
	cs_autofree char *tail_enc = url_encode(tail);
	cs_autofree char *path =
		cs_xasprintf("/containers/%s/logs?stdout=1&stderr=1&follow=%d&timestamps=%d&details=%d&tail=%s&since=%lld.%09lld&until=%lld.%09lld", name, follow,
			     timestamps, details, tail_enc, (long long)(times[0] / CS_NS_PER_SEC), (long long)(times[0] % CS_NS_PER_SEC),
			     (long long)(times[1] / CS_NS_PER_SEC), (long long)(times[1] % CS_NS_PER_SEC));
	if (client_open("GET", path, NULL, 0, false, &r, &err) < 0 || stream_copy(&r, tty, &err) < 0)
		return cli_error(err, 1);
	return 0;
}

static int cmd_inspect(char **argv)
{
	bool size = false;
	const char *type = NULL;
	const struct opt opts[] = {{"size", 's', OPT_BOOL, &size, "Sizes of containers"}, {"type", 0, OPT_STR, &type, "container or image"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "inspect [OPTIONS] NAME|ID [NAME|ID...]");
	json_t *all = json_array();
	int status = 0;

	if (!operands)
		return 125;
	if (!operands[0])
		return cli_usage(argv[0], "requires at least 1 argument");
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

static int cmd_top(char **argv)
{
	char **operands = opt_parse(argv, no_opts, true, "top CONTAINER [ps OPTIONS]");
	struct cs_err *err = NULL;
	json_t *j = NULL, *row, *cell;
	size_t i, k;

	if (!operands)
		return 125;
	if (!operands[0])
		return cli_usage(argv[0], "requires at least 1 argument");
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

static int cmd_diff(char **argv)
{
	char **operands = opt_parse(argv, no_opts, false, "diff CONTAINER");
	struct cs_err *err = NULL;
	json_t *j = NULL, *c;
	size_t i;

	if (!operands)
		return 125;
	if (!operands[0] || operands[1])
		return cli_usage(argv[0], "requires exactly 1 argument");
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

static int prune(char **argv, const char *path, const char *usage, const char *warning, const char *key)
{
	bool force = false;
	const struct opt opts[] = {{"force", 'f', OPT_BOOL, &force, "Do not ask"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, usage);
	struct cs_err *err = NULL;
	json_t *j = NULL, *d;
	size_t i;

	if (!operands)
		return 125;
	if (!force && !cli_confirm(warning))
		return 0;
	if (client_json("POST", path, NULL, &j, &err) < 0)
		return cli_error(err, 1);
	json_array_foreach(json_object_get(j, key), i, d) printf("%s\n", json_is_string(d) ? json_string_value(d) : *jstr(d, "Deleted") ? jstr(d, "Deleted") : jstr(d, "Untagged"));
	cs_autofree char *size = human_size(jint(j, "SpaceReclaimed"));
	printf("Total reclaimed space: %s\n", size);
	json_decref(j);
	return 0;
}

static int cmd_prune(char **argv) { return prune(argv, "/containers/prune", "container prune [-f]", "all stopped containers", "ContainersDeleted"); }

const struct command container_commands[] = {
	{"ps", cmd_ps, "List containers"},
	{"stop", cmd_stop, "Stop containers"},
	{"restart", cmd_restart, "Restart containers"},
	{"kill", cmd_kill, "Send a signal to containers"},
	{"rm", cmd_rm, "Remove containers"},
	{"pause", cmd_pause, "Freeze all processes of containers"},
	{"unpause", cmd_unpause, "Thaw containers"},
	{"rename", cmd_rename, "Rename a container"},
	{"wait", cmd_wait, "Wait for containers to stop, print their exit codes"},
	{"logs", cmd_logs, "Show a container's logs"},
	{"inspect", cmd_inspect, "Show everything about containers or images as JSON"},
	{"top", cmd_top, "Show a container's processes"},
	{"diff", cmd_diff, "Show changes to a container's file system"},
	{"prune", cmd_prune, "Remove all stopped containers"},
	{NULL, NULL, NULL},
};
