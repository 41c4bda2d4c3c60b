/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson volume create, ls, inspect, rm, prune. */
#include <stdio.h>

#include "cli/cli.h"

static int cmd_create(char **argv)
{
	char **options = NULL, **labels = NULL;
	const char *driver = "local";
	const struct opt opts[] = {{"driver", 'd', OPT_STR, &driver, "Volume driver"}, {"opt", 'o', OPT_LIST, &options, "Driver option key=value"},
				   {"label", 0, OPT_LIST, &labels, "Label key=value"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "volume create [OPTIONS] [VOLUME]");
	struct cs_err *err = NULL;
	json_t *j = NULL;

	if (!operands)
		return 125;
	json_t *body = json_pack("{s:s,s:s,s:{},s:{}}", "Name", operands[0] ? operands[0] : "", "Driver", driver, "DriverOpts", "Labels");
	for (int k = 0; k < 2; k++) {
		for (char **o = k ? labels : options; o && *o; o++) {
			cs_autofree char *key = cs_xstrndup(*o, strcspn(*o, "="));
			const char *value = *o + strlen(key) + ((*o)[strlen(key)] == '=');
			(void)json_object_set_new(json_object_get(body, k ? "Labels" : "DriverOpts"), key, json_string(value));
		}
	}
	cs_strv_free(options);
	cs_strv_free(labels);
	int r = client_json("POST", "/volumes/create", body, &j, &err);
	json_decref(body);
	if (r < 0)
		return cli_error(err, 1);
	printf("%s\n", jstr(j, "Name"));
	json_decref(j);
	return 0;
}

static int cmd_ls(char **argv)
{
	bool quiet = false;
	const struct opt opts[] = {{"quiet", 'q', OPT_BOOL, &quiet, "Only names"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "volume ls [-q]");
	struct table t = {.columns = 2};
	struct cs_err *err = NULL;
	json_t *j = NULL, *v;
	size_t i;

	if (!operands)
		return 125;
	if (client_json("GET", "/volumes", NULL, &j, &err) < 0)
		return cli_error(err, 1);
	if (!quiet) {
		table_cell(&t, "DRIVER");
		table_cell(&t, "VOLUME NAME");
	}
	json_array_foreach(json_object_get(j, "Volumes"), i, v)
	{
		if (quiet) {
			printf("%s\n", jstr(v, "Name"));
			continue;
		}
		table_cell(&t, jstr(v, "Driver"));
		table_cell(&t, jstr(v, "Name"));
	}
	if (!quiet)
		table_print(&t);
	json_decref(j);
	return 0;
}

/* The same request for each name; inspect prints what comes back as one list. */
static int each_volume(char **argv, const char *usage, const char *method, bool force)
{
	struct cs_err *err = NULL;
	json_t *all = json_array();
	int status = 0;

	if (!*argv) {
		json_decref(all);
		return cli_usage(usage, "requires at least 1 argument");
	}
	for (; *argv; argv++) {
		json_t *j = NULL;
		cs_autofree char *name = url_encode(*argv), *path = cs_xasprintf("/volumes/%s%s", name, force ? "?force=1" : "");
		if (client_json(method, path, NULL, &j, &err) < 0)
			status = cli_error(err, 1);
		else if (j)
			(void)json_array_append_new(all, j);
		else
			printf("%s\n", *argv);
		err = NULL;
	}
	if (strcmp(method, "GET") == 0) {
		cs_autofree char *text = json_dumps(all, JSON_INDENT(4) | JSON_PRESERVE_ORDER);
		printf("%s\n", text);
	}
	json_decref(all);
	return status;
}

static int cmd_inspect(char **argv)
{
	static const struct opt opts[] = {OPT_END};
	char **operands = opt_parse(argv, opts, false, "volume inspect VOLUME [VOLUME...]");
	return operands ? each_volume(operands, "volume inspect", "GET", false) : 125;
}

static int cmd_rm(char **argv)
{
	bool force = false;
	const struct opt opts[] = {{"force", 'f', OPT_BOOL, &force, "No error for volumes that are not there"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "volume rm [-f] VOLUME [VOLUME...]");
	return operands ? each_volume(operands, "volume rm", "DELETE", force) : 125;
}

static int cmd_prune(char **argv)
{
	bool force = false, all = false;
	const struct opt opts[] = {{"all", 'a', OPT_BOOL, &all, "Named volumes too, not only anonymous ones"}, {"force", 'f', OPT_BOOL, &force, "Do not ask"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "volume prune [-a] [-f]");
	struct cs_err *err = NULL;
	json_t *j = NULL, *v;
	size_t i;

	if (!operands)
		return 125;
	if (!force && !cli_confirm(all ? "all volumes not used by at least one container" : "anonymous local volumes not used by at least one container"))
		return 0;
	if (client_json("POST", all ? "/volumes/prune?filters=%7B%22all%22%3A%5B%22true%22%5D%7D" : "/volumes/prune", NULL, &j, &err) < 0)
		return cli_error(err, 1);
	json_array_foreach(json_object_get(j, "VolumesDeleted"), i, v) printf("%s\n", json_string_value(v));
	cs_autofree char *size = human_size(jint(j, "SpaceReclaimed"));
	printf("Total reclaimed space: %s\n", size);
	json_decref(j);
	return 0;
}

const struct command volume_commands[] = {
	{"volume create", cmd_create, "Make a volume"},
	{"volume ls", cmd_ls, "List volumes"},
	{"volume inspect", cmd_inspect, "Show everything about volumes as JSON"},
	{"volume rm", cmd_rm, "Remove volumes"},
	{"volume prune", cmd_prune, "Remove volumes that nobody uses"},
	{NULL, NULL, NULL},
};
