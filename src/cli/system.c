/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"
#include "cli/cli.h"

struct events_opts {
	const char *format, *since, *until;
	char **filter;
};
static const struct flag events_flags[] = {
	FLAG_AS(struct events_opts, filter, FLAG_FILTER, "filter", 'f', "Filter output based on conditions provided", .refused = NOT_YET),
	FLAG(struct events_opts, format, "format", 0, HELP_FORMAT, .refused = NOT_YET),
	FLAG(struct events_opts, since, "since", 0, "Show all events created since timestamp"),
	FLAG(struct events_opts, until, "until", 0, "Stream events until this timestamp"),
	FLAG_END,
};

static int cmd_events(struct call *call)
{
	const struct events_opts *o = call->opts;
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;
	char *line;

	cs_autofree char *s = url_encode(o->since ? o->since : ""), *u = url_encode(o->until ? o->until : ""), *path = cs_xasprintf("/events?since=%s&until=%s", s, u);
	if (client_open("GET", path, NULL, 0, false, &r, &err) < 0)
		return cli_error(err, 1);
	while ((line = reply_line(&r, &err))) {
		json_t *j = json_loads(line, 0, NULL), *actor = json_object_get(j, "Actor"), *v;
		char when[CS_TIME_BUF];
		const char *k;
		bool first = true;
		printf("%s %s %s %s (", cs_time_format(jint(j, "timeNano"), when), jstr(j, "Type"), jstr(j, "Action"), jstr(actor, "ID"));
		json_object_foreach(json_object_get(actor, "Attributes"), k, v)
		{
			printf("%s%s=%s", first ? "" : ", ", k, json_string_value(v));
			first = false;
		}
		printf(")\n");
		(void)fflush(stdout);
		json_decref(j);
		free(line);
	}
	return err ? cli_error(err, 1) : 0;
}

static void df_row(struct table *t, const char *kind, json_t *list, const char *size_key, int64_t total)
{
	int64_t bytes = 0;
	size_t i;
	json_t *o;

	json_array_foreach(list, i, o) bytes += jint(o, size_key);
	if (total >= 0)
		bytes = total;
	cs_autofree char *n = cs_xasprintf("%zu", json_array_size(list)), *size = human_size(bytes);
	table_cell(t, kind);
	table_cell(t, n);
	table_cell(t, size);
}

struct system_df_opts {
	bool verbose;
	const char *format;
};
static const struct flag system_df_flags[] = {
	FLAG(struct system_df_opts, format, "format", 0, HELP_FORMAT_TABLE, .refused = NOT_YET),
	FLAG(struct system_df_opts, verbose, "verbose", 'v', "Show detailed information on space usage", .refused = NOT_YET),
	FLAG_END,
};

static int cmd_df(struct call *call)
{
	struct table t = {.columns = 3};
	struct cs_err *err = NULL;
	json_t *j = NULL;

	if (client_json("GET", "/system/df?verbose=1", NULL, &j, &err) < 0)
		return cli_error(err, 1);
	for (size_t i = 0; i < 3; i++)
		table_cell(&t, (const char *const[]){"TYPE", "TOTAL", "SIZE"}[i]);
	json_t *iu = json_object_get(j, "ImageUsage"), *cu = json_object_get(j, "ContainerUsage");
	df_row(&t, "Images", iu ? json_object_get(iu, "Items") : json_object_get(j, "Images"), "Size", iu ? jint(iu, "TotalSize") : jint(j, "LayersSize"));
	df_row(&t, "Containers", cu ? json_object_get(cu, "Items") : json_object_get(j, "Containers"), "SizeRw", cu ? jint(cu, "TotalSize") : -1);
	table_print(&t);
	json_decref(j);
	return 0;
}

struct check_opts {
	bool repair, deep;
};
static const struct flag check_flags[] = {
	FLAG(struct check_opts, repair, "repair", 0, "Put right what can be put right"),
	FLAG(struct check_opts, deep, "deep", 0, "Read all content and compare digests, too"),
	FLAG_END,
};

static int cmd_check(struct call *call)
{
	const struct check_opts *o = call->opts;
	struct table t = {.columns = 4};
	struct cs_err *err = NULL;
	json_t *j = NULL, *p;
	size_t i;

	cs_autofree char *path = cs_xasprintf("/system/check?repair=%d&deep=%d", o->repair, o->deep);
	if (client_json("POST", path, NULL, &j, &err) < 0)
		return cli_error(err, 1);
	int64_t found = jint(j, "Found"), repaired = jint(j, "Repaired");
	for (i = 0; found && i < 4; i++)
		table_cell(&t, (const char *const[]){"KIND", "NAME", "PROBLEM", "REPAIRED"}[i]);
	json_array_foreach(json_object_get(j, "Problems"), i, p)
	{
		table_cell(&t, jstr(p, "Kind"));
		table_cell(&t, jstr(p, "Name"));
		table_cell(&t, jstr(p, "Text"));
		table_cell(&t, json_is_true(json_object_get(p, "Repaired")) ? "yes" : "no");
	}
	if (found)
		table_print(&t);
	printf("%lld problems, %lld repaired\n", (long long)found, (long long)repaired);
	json_decref(j);
	return found > repaired;
}

const struct command system_commands[] = {
	{.names = "system events|events", .usage = "[OPTIONS]", .help = "Get real time events from the server",
	 .min = 0, .max = 0, CMD_OPTS(struct events_opts, events_flags), .run = cmd_events},
	{.names = "system df", .usage = "[OPTIONS]", .help = "Show caisson disk usage",
	 .min = 0, .max = 0, CMD_OPTS(struct system_df_opts, system_df_flags), .run = cmd_df},
	{.names = "system check", .usage = "[OPTIONS]", .help = "Compare the disk with the engine's tables, and repair it",
	 .min = 0, .max = 0, CMD_OPTS(struct check_opts, check_flags), .run = cmd_check},
	CMD_END,
};
