/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"
#include "cli/cli.h"

static const struct opt no_opts[] = {OPT_END};

static int cmd_version(char **argv)
{
	char **operands = opt_parse(argv, no_opts, false, "version");
	struct cs_err *err = NULL;
	json_t *j = NULL;

	if (!operands)
		return 125;
	printf("Client:\n Version:      " CAISSON_VERSION "\n API version:  " CLIENT_API "\n");
	(void)fflush(stdout);
	if (client_json("GET", "/version", NULL, &j, &err) < 0)
		return cli_error(err, 1);
	printf("\nServer:\n Version:      %s\n API version:  %s (minimum version %s)\n Git commit:   %s\n OS/Arch:      %s/%s\n Kernel:       %s\n", jstr(j, "Version"),
	       jstr(j, "ApiVersion"), jstr(j, "MinAPIVersion"), jstr(j, "GitCommit"), jstr(j, "Os"), jstr(j, "Arch"), jstr(j, "KernelVersion"));
	json_decref(j);
	return 0;
}

static int cmd_info(char **argv)
{
	static const struct {
		const char *key, *title;
	} rows[] = {{"ServerVersion", "Server Version"}, {"Driver", "Storage Driver"}, {"LoggingDriver", "Logging Driver"}, {"CgroupDriver", "Cgroup Driver"},
		    {"CgroupVersion", "Cgroup Version"}, {"DefaultRuntime", "Default Runtime"}, {"Isolation", "Isolation"}, {"KernelVersion", "Kernel Version"},
		    {"OperatingSystem", "Operating System"}, {"OSType", "OSType"}, {"Architecture", "Architecture"}, {"Name", "Name"}, {"ID", "ID"},
		    {"DockerRootDir", "Root Dir"}};
	char **operands = opt_parse(argv, no_opts, false, "info");
	struct cs_err *err = NULL;
	json_t *j = NULL, *w;
	size_t i;

	if (!operands)
		return 125;
	if (client_json("GET", "/info", NULL, &j, &err) < 0)
		return cli_error(err, 1);
	printf("Containers: %lld\n Running: %lld\n Paused: %lld\n Stopped: %lld\nImages: %lld\n", (long long)jint(j, "Containers"), (long long)jint(j, "ContainersRunning"),
	       (long long)jint(j, "ContainersPaused"), (long long)jint(j, "ContainersStopped"), (long long)jint(j, "Images"));
	for (i = 0; i < CS_ARRAY_SIZE(rows); i++)
		if (*jstr(j, rows[i].key))
			printf("%s: %s\n", rows[i].title, jstr(j, rows[i].key));
	cs_autofree char *mem = human_size(jint(j, "MemTotal"));
	printf("CPUs: %lld\nTotal Memory: %s\nLive Restore Enabled: %s\n", (long long)jint(j, "NCPU"), mem,
	       json_is_true(json_object_get(j, "LiveRestoreEnabled")) ? "true" : "false");
	(void)fflush(stdout);
	json_array_foreach(json_object_get(j, "Warnings"), i, w) fprintf(stderr, "WARNING: %s\n", json_string_value(w));
	json_decref(j);
	return 0;
}

static int cmd_events(char **argv)
{
	const char *since = NULL, *until = NULL;
	const struct opt opts[] = {{"since", 0, OPT_STR, &since, "Events since this time"}, {"until", 0, OPT_STR, &until, "Events until this time"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "events [OPTIONS]");
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;
	char *line;

	if (!operands)
		return 125;
	cs_autofree char *s = url_encode(since ? since : ""), *u = url_encode(until ? until : ""), *path = cs_xasprintf("/events?since=%s&until=%s", s, u);
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

static int cmd_df(char **argv)
{
	char **operands = opt_parse(argv, no_opts, false, "system df");
	struct table t = {.columns = 3};
	struct cs_err *err = NULL;
	json_t *j = NULL;

	if (!operands)
		return 125;
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

static int cmd_check(char **argv)
{
	bool repair = false, deep = false;
	const struct opt opts[] = {{"repair", 0, OPT_BOOL, &repair, "Put right what can be put right"},
				   {"deep", 0, OPT_BOOL, &deep, "Read all content and compare digests, too"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "system check [--repair] [--deep]");
	struct table t = {.columns = 4};
	struct cs_err *err = NULL;
	json_t *j = NULL, *p;
	size_t i;

	if (!operands)
		return 125;
	cs_autofree char *path = cs_xasprintf("/system/check?repair=%d&deep=%d", repair, deep);
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
	{"version", cmd_version, "Show the versions of client and engine"},
	{"info", cmd_info, "Show what the engine is and runs on"},
	{"events", cmd_events, "Show events as they happen"},
	{"system df", cmd_df, "Show what takes disk space"},
	{"system check", cmd_check, "Compare the disk with the engine's tables, and repair it"},
	{NULL, NULL, NULL},
};
