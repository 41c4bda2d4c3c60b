/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson volume create, ls, inspect, rm, prune. */
#include <stdio.h>

#include "cli/cli.h"

struct volume_create_opts {
	const char *availability, *driver, *group, *scope, *sharing, *type;
	char **label, **opt, **secret, **topology_preferred, **topology_required;
	int64_t limit_bytes, required_bytes;
};
static const struct flag volume_create_flags[] = {
	FLAG(struct volume_create_opts, availability, "availability", 0, "Cluster Volume availability (\"active\", \"pause\", \"drain\")", .def = "active", .refused = NOT_YET),
	FLAG(struct volume_create_opts, driver, "driver", 'd', "Specify volume driver name", .def = "local"),
	FLAG(struct volume_create_opts, group, "group", 0, "Cluster Volume group (cluster volumes)", .refused = NOT_YET),
	FLAG(struct volume_create_opts, label, "label", 0, "Set metadata for a volume"),
	FLAG_AS(struct volume_create_opts, limit_bytes, FLAG_BYTES, "limit-bytes", 0, "Minimum size of the Cluster Volume in bytes", .refused = NOT_YET),
	FLAG_AS(struct volume_create_opts, opt, FLAG_MAP, "opt", 'o', "Set driver specific options (default map[])"),
	FLAG_AS(struct volume_create_opts, required_bytes, FLAG_BYTES, "required-bytes", 0, "Maximum size of the Cluster Volume in bytes", .refused = NOT_YET),
	FLAG(struct volume_create_opts, scope, "scope", 0, "Cluster Volume access scope (\"single\", \"multi\")", .def = "single", .refused = NOT_YET),
	FLAG_AS(struct volume_create_opts, secret, FLAG_MAP, "secret", 0, "Cluster Volume secrets (default map[])", .refused = NOT_YET),
	FLAG(struct volume_create_opts, sharing, "sharing", 0, "Cluster Volume access sharing (\"none\", \"readonly\", \"onewriter\", \"all\")", .def = "none", .refused = NOT_YET),
	FLAG(struct volume_create_opts, topology_preferred, "topology-preferred", 0, "A topology that the Cluster Volume would be preferred in", .refused = NOT_YET),
	FLAG(struct volume_create_opts, topology_required, "topology-required", 0, "A topology that the Cluster Volume must be accessible from", .refused = NOT_YET),
	FLAG(struct volume_create_opts, type, "type", 0, "Cluster Volume access type (\"mount\", \"block\")", .def = "block", .refused = NOT_YET),
	FLAG_END,
};

static int cmd_create(struct call *call)
{
	const struct volume_create_opts *o = call->opts;
	char **operands = call->args;
	struct cs_err *err = NULL;
	json_t *j = NULL;

	json_t *body = json_pack("{s:s,s:s,s:{},s:{}}", "Name", operands[0] ? operands[0] : "", "Driver", o->driver, "DriverOpts", "Labels");
	for (int k = 0; k < 2; k++) {
		for (char **v = k ? o->label : o->opt; v && *v; v++) {
			cs_autofree char *key = cs_xstrndup(*v, strcspn(*v, "="));
			const char *value = *v + strlen(key) + ((*v)[strlen(key)] == '=');
			(void)json_object_set_new(json_object_get(body, k ? "Labels" : "DriverOpts"), key, json_string(value));
		}
	}
	int r = client_json("POST", "/volumes/create", body, &j, &err);
	json_decref(body);
	if (r < 0)
		return cli_error(err, 1);
	printf("%s\n", jstr(j, "Name"));
	json_decref(j);
	return 0;
}

struct volume_ls_opts {
	bool cluster, quiet;
	const char *format;
	char **filter;
};
static const struct flag volume_ls_flags[] = {
	FLAG(struct volume_ls_opts, cluster, "cluster", 0, "Display only cluster volumes, and use cluster volume list formatting", .refused = NOT_YET),
	FLAG_AS(struct volume_ls_opts, filter, FLAG_FILTER, "filter", 'f', "Provide filter values (e.g. \"dangling=true\")", .refused = NOT_YET),
	FLAG(struct volume_ls_opts, format, "format", 0, HELP_FORMAT_TABLE, .refused = NOT_YET),
	FLAG(struct volume_ls_opts, quiet, "quiet", 'q', "Only display volume names"),
	FLAG_END,
};

static int cmd_ls(struct call *call)
{
	const struct volume_ls_opts *o = call->opts;
	struct table t = {.columns = 2};
	struct cs_err *err = NULL;
	json_t *j = NULL, *v;
	size_t i;

	if (client_json("GET", "/volumes", NULL, &j, &err) < 0)
		return cli_error(err, 1);
	if (!o->quiet) {
		table_cell(&t, "DRIVER");
		table_cell(&t, "VOLUME NAME");
	}
	json_array_foreach(json_object_get(j, "Volumes"), i, v)
	{
		if (o->quiet) {
			printf("%s\n", jstr(v, "Name"));
			continue;
		}
		table_cell(&t, jstr(v, "Driver"));
		table_cell(&t, jstr(v, "Name"));
	}
	if (!o->quiet)
		table_print(&t);
	json_decref(j);
	return 0;
}

/* The same request for each name; inspect prints what comes back as one list. */
static int each_volume(char **argv, const char *method, bool force)
{
	struct cs_err *err = NULL;
	json_t *all = json_array();
	int status = 0;

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

struct volume_inspect_opts {
	const char *format;
};
static const struct flag volume_inspect_flags[] = {
	FLAG(struct volume_inspect_opts, format, "format", 'f', HELP_FORMAT, .refused = NOT_YET),
	FLAG_END,
};

static int cmd_inspect(struct call *c) { return each_volume(c->args, "GET", false); }

struct volume_rm_opts {
	bool force;
};
static const struct flag volume_rm_flags[] = {
	FLAG(struct volume_rm_opts, force, "force", 'f', "Force the removal of one or more volumes"),
	FLAG_END,
};

static int cmd_rm(struct call *c)
{
	const struct volume_rm_opts *o = c->opts;
	return each_volume(c->args, "DELETE", o->force);
}

struct volume_prune_opts {
	bool all, force;
	char **filter;
};
static const struct flag volume_prune_flags[] = {
	FLAG(struct volume_prune_opts, all, "all", 'a', "Remove all unused volumes, not just anonymous ones"),
	FLAG_AS(struct volume_prune_opts, filter, FLAG_FILTER, "filter", 0, "Provide filter values (e.g. \"label=<label>\")", .refused = NOT_YET),
	FLAG(struct volume_prune_opts, force, "force", 'f', "Do not prompt for confirmation"),
	FLAG_END,
};

static int cmd_prune(struct call *call)
{
	const struct volume_prune_opts *o = call->opts;
	struct cs_err *err = NULL;
	json_t *j = NULL, *v;
	size_t i;

	if (!o->force && !cli_confirm(o->all ? "all volumes not used by at least one container" : "anonymous local volumes not used by at least one container"))
		return 0;
	if (client_json("POST", o->all ? "/volumes/prune?filters=%7B%22all%22%3A%5B%22true%22%5D%7D" : "/volumes/prune", NULL, &j, &err) < 0)
		return cli_error(err, 1);
	json_array_foreach(json_object_get(j, "VolumesDeleted"), i, v) printf("%s\n", json_string_value(v));
	cs_autofree char *size = human_size(jint(j, "SpaceReclaimed"));
	printf("Total reclaimed space: %s\n", size);
	json_decref(j);
	return 0;
}

const struct command volume_commands[] = {
	{.names = "volume create", .usage = "[OPTIONS] [VOLUME]", .help = "Create a volume",
	 .min = 0, .max = 1, CMD_OPTS(struct volume_create_opts, volume_create_flags), .run = cmd_create},
	{.names = "volume ls|volume list", .usage = "[OPTIONS]", .help = "List volumes",
	 .min = 0, .max = 0, CMD_OPTS(struct volume_ls_opts, volume_ls_flags), .run = cmd_ls},
	{.names = "volume inspect", .usage = "[OPTIONS] VOLUME [VOLUME...]", .help = "Display detailed information on one or more volumes",
	 .min = 1, .max = ANY, .complete = COMP_VOLUME, CMD_OPTS(struct volume_inspect_opts, volume_inspect_flags), .run = cmd_inspect},
	{.names = "volume rm|volume remove", .usage = "[OPTIONS] VOLUME [VOLUME...]", .help = "Remove one or more volumes", .about = "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
	 .min = 1, .max = ANY, .complete = COMP_VOLUME, CMD_OPTS(struct volume_rm_opts, volume_rm_flags), .run = cmd_rm},
	{.names = "volume prune", .usage = "[OPTIONS]", .help = "Remove unused local volumes",
	 .min = 0, .max = 0, CMD_OPTS(struct volume_prune_opts, volume_prune_flags), .run = cmd_prune},
	CMD_END,
};
