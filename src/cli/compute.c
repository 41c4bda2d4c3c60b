/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson compute list, inspect, processes, stats: what the host compute service runs, as hcsdiag and Get-ComputeProcess show it on Windows. Needs an
 * engine of ours: /compute/systems is no part of Docker's API. */
#include "base/time.h"
#include "cli/cli.h"

/* The list of systems; NULL with an error that says what kind of engine this needs. */
static json_t *systems(struct cs_err **err)
{
	struct cs_err *mine = NULL;
	json_t *j = NULL;

	if (client_json("GET", "/compute/systems", NULL, &j, &mine) >= 0)
		return j;
	if (cs_err_code(mine) == CS_ERR_NOT_FOUND) {
		cs_err_free(mine);
		cs_fail(err, CS_ERR_UNSUPPORTED, 0, "this engine has no compute service to show: that needs caissond");
		return NULL;
	}
	(void)cs_err_move(err, mine);
	return NULL;
}

/* One system with these properties ("type=Statistics&type=…" or ""). */
static json_t *properties(const char *ref, const char *types, struct cs_err **err)
{
	cs_autofree char *name = url_encode(ref), *path = cs_xasprintf("/compute/systems/%s%s%s", name, *types ? "?" : "", types);
	json_t *j = NULL;

	return client_json("GET", path, NULL, &j, err) < 0 ? NULL : j;
}

static char *ago(const json_t *system)
{
	int64_t at = jint(system, "StartedAt");
	cs_autofree char *text = at ? human_ago((cs_now_ns() - at) / CS_NS_PER_SEC) : NULL;

	return text ? cs_xasprintf("%s ago", text) : cs_xstrdup("");
}

struct list_opts {
	bool quiet, no_trunc, json;
};
static const struct flag list_flags[] = {
	FLAG(struct list_opts, json, "json", 0, "Print the documents, one per line"),
	FLAG(struct list_opts, no_trunc, "no-trunc", 0, "Don't truncate output"),
	FLAG(struct list_opts, quiet, "quiet", 'q', "Only display IDs"),
	FLAG_END,
};

static int cmd_list(struct call *c)
{
	static const char *const titles[] = {"SYSTEM ID", "OWNER", "TYPE", "OS", "STATE", "PID", "STARTED"};
	const struct list_opts *o = c->opts;
	struct table t = {.columns = CS_ARRAY_SIZE(titles)};
	struct cs_err *err = NULL;
	json_t *list = systems(&err), *s;
	size_t i;

	if (!list)
		return cli_error(err, 1);
	for (i = 0; i < CS_ARRAY_SIZE(titles); i++)
		table_cell(&t, titles[i]);
	json_array_foreach(list, i, s)
	{
		const char *id = o->no_trunc ? jstr(s, "Id") : short_id(jstr(s, "Id"));
		cs_autofree char *pid = cs_xasprintf("%lld", (long long)jint(s, "ProcessId")), *started = ago(s), *line = o->json ? json_text(s, 0) : NULL;
		if (o->json || o->quiet)
			printf("%s\n", o->json ? line : id);
		const char *const cells[] = {id, jstr(s, "Owner"), jstr(s, "SystemType"), jstr(s, "RuntimeOsType"), jstr(s, "State"), pid, started};
		for (size_t k = 0; k < CS_ARRAY_SIZE(cells); k++)
			table_cell(&t, cells[k]);
	}
	if (o->json || o->quiet)
		cs_strv_free(t.cells);
	else
		table_print(&t);
	json_decref(list);
	return 0;
}

static int cmd_inspect(struct call *c)
{
	json_t *all = json_array();
	int status = 0;

	for (char **name = c->args; *name; name++) {
		struct cs_err *err = NULL;
		json_t *j = properties(*name, "type=Statistics&type=Processes", &err);
		if (j)
			(void)json_array_append_new(all, j);
		else
			status = cli_error(err, 1);
	}
	cs_autofree char *text = json_text(all, 4);
	printf("%s\n", text);
	json_decref(all);
	return status;
}

/* The image of a process id in a ProcessList, or "". */
static const char *image_of(const json_t *list, int64_t pid)
{
	const json_t *p;
	size_t i;

	json_array_foreach(list, i, p) if (jint(p, "ProcessId") == pid) return jstr(p, "ImageName");
	return "";
}

static int cmd_processes(struct call *c)
{
	static const char *const titles[] = {"PROCESS", "PID", "IMAGE", "TTY", "STATE", "STARTED"};
	struct table t = {.columns = CS_ARRAY_SIZE(titles)};
	struct cs_err *err = NULL;
	json_t *j = properties(c->args[0], "type=ProcessList&type=Processes", &err), *p;
	size_t i;

	if (!j)
		return cli_error(err, 1);
	json_t *seen = json_object_get(j, "ProcessList"), *ours = json_object_get(j, "Processes");
	for (i = 0; i < CS_ARRAY_SIZE(titles); i++)
		table_cell(&t, titles[i]);
	json_array_foreach(ours, i, p)
	{
		bool exited = json_is_true(json_object_get(p, "Exited"));
		cs_autofree char *pid = cs_xasprintf("%lld", (long long)jint(p, "ProcessId")), *started = ago(p);
		cs_autofree char *state = exited ? cs_xasprintf("Exited (%lld)", (long long)jint(p, "ExitCode")) : cs_xstrdup("Running");
		const char *const cells[] = {jstr(p, "Id"), pid, image_of(seen, jint(p, "ProcessId")), json_is_true(json_object_get(p, "Tty")) ? "yes" : "no", state, started};
		for (size_t k = 0; k < CS_ARRAY_SIZE(cells); k++)
			table_cell(&t, cells[k]);
	}
	/* what these have started themselves */
	json_array_foreach(seen, i, p)
	{
		const json_t *own;
		bool named = false;
		size_t k;
		json_array_foreach(ours, k, own) named |= jint(own, "ProcessId") == jint(p, "ProcessId");
		if (named)
			continue;
		cs_autofree char *pid = cs_xasprintf("%lld", (long long)jint(p, "ProcessId"));
		const char *const cells[] = {"-", pid, jstr(p, "ImageName"), "", "Running", ""};
		for (k = 0; k < CS_ARRAY_SIZE(cells); k++)
			table_cell(&t, cells[k]);
	}
	table_print(&t);
	json_decref(j);
	return 0;
}

static void stats_row(struct table *t, const json_t *j)
{
	const json_t *s = json_object_get(j, "Statistics"), *cpu = json_object_get(s, "Processor"), *mem = json_object_get(s, "Memory"), *io = json_object_get(s, "Storage");
	cs_autofree char *up = cs_xasprintf("%.1fs", (double)jint(s, "Uptime100ns") / 1e7), *used = cs_xasprintf("%.3fs", (double)jint(cpu, "TotalRuntime100ns") / 1e7);
	cs_autofree char *now = human_size(jint(mem, "MemoryUsageCommitBytes")), *peak = human_size(jint(mem, "MemoryUsageCommitPeakBytes"));
	cs_autofree char *in = human_size(jint(io, "ReadSizeBytes")), *out = human_size(jint(io, "WriteSizeBytes"));
	const char *const cells[] = {short_id(jstr(j, "Id")), up, used, now, peak, in, out};

	for (size_t k = 0; k < CS_ARRAY_SIZE(cells); k++)
		table_cell(t, cells[k]);
}

static int cmd_stats(struct call *c)
{
	static const char *const titles[] = {"SYSTEM ID", "UPTIME", "CPU TIME", "MEMORY", "MEMORY PEAK", "READ", "WRITTEN"};
	struct table t = {.columns = CS_ARRAY_SIZE(titles)};
	cs_autostrv char **names = NULL;
	struct cs_err *err = NULL;
	int status = 0;

	for (size_t i = 0; i < CS_ARRAY_SIZE(titles); i++)
		table_cell(&t, titles[i]);
	for (char **n = c->args; *n; n++)
		cs_strv_push(&names, *n);
	if (!names) {
		json_t *all = systems(&err), *s;
		size_t i;
		if (!all)
			return cli_error(err, 1);
		json_array_foreach(all, i, s) cs_strv_push(&names, jstr(s, "Id"));
		json_decref(all);
	}
	for (char **n = names; n && *n; n++) {
		json_t *j = properties(*n, "type=Statistics", &err);
		if (j)
			stats_row(&t, j);
		else if (c->n_args || cs_err_code(err) != CS_ERR_NOT_FOUND) /* one that has ended since is none */
			status = cli_error(TAKE_PTR(err), 1);
		cs_err_free(err);
		err = NULL;
		json_decref(j);
	}
	table_print(&t);
	return status;
}

const struct command compute_commands[] = {
	{.names = "compute", .usage = "COMMAND", .help = "Show what the host compute service runs"},
	{.names = "compute list|compute ls", .usage = "[OPTIONS]", .help = "List compute systems", .max = 0, CMD_OPTS(struct list_opts, list_flags), .run = cmd_list},
	{.names = "compute inspect", .usage = "SYSTEM [SYSTEM...]", .help = "Display properties, statistics and processes of compute systems", .min = 1, .max = ANY,
	 .complete = COMP_RUNNING, .run = cmd_inspect},
	{.names = "compute processes", .usage = "SYSTEM", .help = "List the processes of a compute system", .min = 1, .max = 1, .complete = COMP_RUNNING_THEN_NONE,
	 .run = cmd_processes},
	{.names = "compute stats", .usage = "[SYSTEM...]", .help = "Display the counters of compute systems", .max = ANY, .complete = COMP_RUNNING, .run = cmd_stats},
	CMD_END,
};
