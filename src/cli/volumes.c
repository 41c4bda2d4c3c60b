/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson volume create, ls, rm. */
#include <stdio.h>

#include "cli/create.h"
#include "cli/rows.h"

#define NO_CLUSTER "this engine has no swarm mode, hence no cluster volumes"

struct volume_create_opts {
	const char *availability, *driver, *group, *name, *scope, *sharing, *type;
	char **label, **opt, **secret, **topology_preferred, **topology_required;
	int64_t limit_bytes, required_bytes;
};
static const struct flag volume_create_flags[] = {
	FLAG(struct volume_create_opts, availability, "availability", 0, "Cluster Volume availability (\"active\", \"pause\", \"drain\")", .def = "active", .refused = NO_CLUSTER, .api = 142),
	FLAG(struct volume_create_opts, driver, "driver", 'd', "Specify volume driver name", .def = "local"),
	FLAG(struct volume_create_opts, group, "group", 0, "Cluster Volume group (cluster volumes)", .refused = NO_CLUSTER, .api = 142),
	FLAG(struct volume_create_opts, label, "label", 0, "Set metadata for a volume", .check = check_label),
	FLAG_AS(struct volume_create_opts, limit_bytes, FLAG_BYTES, "limit-bytes", 0, "Minimum size of the Cluster Volume in bytes", .refused = NO_CLUSTER, .api = 142),
	FLAG(struct volume_create_opts, name, "name", 0, "Specify volume name", .flags = FLAG_HIDDEN),
	FLAG_AS(struct volume_create_opts, opt, FLAG_MAP, "opt", 'o', "Set driver specific options (default map[])"),
	FLAG_AS(struct volume_create_opts, required_bytes, FLAG_BYTES, "required-bytes", 0, "Maximum size of the Cluster Volume in bytes", .refused = NO_CLUSTER, .api = 142),
	FLAG(struct volume_create_opts, scope, "scope", 0, "Cluster Volume access scope (\"single\", \"multi\")", .def = "single", .refused = NO_CLUSTER, .api = 142),
	FLAG_AS(struct volume_create_opts, secret, FLAG_MAP, "secret", 0, "Cluster Volume secrets (default map[])", .refused = NO_CLUSTER, .api = 142),
	FLAG(struct volume_create_opts, sharing, "sharing", 0, "Cluster Volume access sharing (\"none\", \"readonly\", \"onewriter\", \"all\")", .def = "none", .refused = NO_CLUSTER, .api = 142),
	FLAG(struct volume_create_opts, topology_preferred, "topology-preferred", 0, "A topology that the Cluster Volume would be preferred in", .refused = NO_CLUSTER, .api = 142),
	FLAG(struct volume_create_opts, topology_required, "topology-required", 0, "A topology that the Cluster Volume must be accessible from", .refused = NO_CLUSTER, .api = 142),
	FLAG(struct volume_create_opts, type, "type", 0, "Cluster Volume access type (\"mount\", \"block\")", .def = "block", .refused = NO_CLUSTER, .api = 142),
	FLAG_END,
};

static int cmd_create(struct call *call)
{
	const struct volume_create_opts *o = call->opts;
	char **operands = call->args;
	struct cs_err *err = NULL;
	json_t *j = NULL;

	if (operands[0] && o->name)
		return cli_fail(1, "conflicting options: cannot specify a volume-name through both --name and as a positional arg");
	json_t *body = json_pack("{s:s,s:s}", "Name", operands[0] ? operands[0] : o->name ? o->name : "", "Driver", o->driver);
	for (int k = 0; k < 2; k++) {
		json_t *map = json_object();
		for (char **v = k ? o->label : o->opt; v && *v; v++) {
			cs_autofree char *key = cs_xstrndup(*v, strcspn(*v, "="));
			const char *value = *v + strlen(key) + ((*v)[strlen(key)] == '=');
			jset(map, key, value);
		}
		if (json_object_size(map)) /* inspect shows {} where {} was asked for */
			(void)json_object_set(body, k ? "Labels" : "DriverOpts", map);
		json_decref(map);
	}
	int r = client_json("POST", "/volumes/create", body, &j, &err);
	json_decref(body);
	if (r < 0)
		return cli_error(err, 1);
	printf("%s\n", jstr(j, "Name"));
	json_decref(j);
	return 0;
}

/* ---- ls ---- */

METHOD(volume_name) { return text_value(jstr(((struct row *)self)->j, "Name")); }
METHOD(volume_driver) { return text_value(jstr(((struct row *)self)->j, "Driver")); }
METHOD(volume_scope) { return text_value(jstr(((struct row *)self)->j, "Scope")); }
METHOD(volume_mountpoint) { return text_value(jstr(((struct row *)self)->j, "Mountpoint")); }
METHOD(volume_labels) { return text_value(labels_text(a, json_object_get(((struct row *)self)->j, "Labels"))); }
METHOD(volume_label) { return text_value(jstr(json_object_get(((struct row *)self)->j, "Labels"), arg)); }

METHOD(volume_links)
{
	json_t *u = json_object_get(((struct row *)self)->j, "UsageData");
	return text_value(json_is_object(u) ? tpl_printf(a, "%lld", (long long)jint(u, "RefCount")) : "N/A");
}

METHOD(volume_size)
{
	json_t *u = json_object_get(((struct row *)self)->j, "UsageData");
	return text_value(json_is_object(u) ? size_text(a, (double)jint(u, "Size"), 4) : "N/A");
}

/* Cluster volumes are swarm's; of other engines' these are shown nevertheless. */
static json_t *cluster(void *self) { return json_object_get(((struct row *)self)->j, "ClusterVolume"); }
METHOD(volume_group) { return text_value(json_is_object(cluster(self)) ? jstr(json_object_get(cluster(self), "Spec"), "Group") : "N/A"); }
METHOD(volume_availability) { return text_value(json_is_object(cluster(self)) ? jstr(json_object_get(cluster(self), "Spec"), "Availability") : "N/A"); }

METHOD(volume_status)
{
	size_t nodes = json_array_size(json_object_get(cluster(self), "PublishStatus"));

	if (!json_is_object(cluster(self)))
		return text_value("N/A");
	if (!*jstr(json_object_get(cluster(self), "Info"), "VolumeID"))
		return text_value("pending creation");
	return text_value(nodes == 0 ? "created" : nodes == 1 ? "in use (1 node)" : tpl_printf(a, "in use (%zu nodes)", nodes));
}

static const struct tpl_method volume_methods[] = {
	{"Availability", volume_availability}, {"Driver", volume_driver}, {"Group", volume_group}, {"Label", volume_label, .takes_string = true}, {"Labels", volume_labels},
	{"Links", volume_links}, {"Mountpoint", volume_mountpoint}, {"Name", volume_name}, {"Scope", volume_scope}, {"Size", volume_size}, {"Status", volume_status}, {NULL}};
const struct tpl_class volume_class = {"*formatter.volumeContext", volume_methods};
const char *const volume_headers[] = {"ID", "ID", "Name", "VOLUME NAME", "Group", "GROUP", "Driver", "DRIVER", "Scope", "SCOPE", "Availability", "AVAILABILITY", "Mountpoint",
				      "MOUNTPOINT", "Labels", "LABELS", "Links", "LINKS", "Size", "SIZE", "Status", "STATUS", NULL};

static const struct listing volume_listing = {
	"/volumes", "Volumes", "volumesFormat", "table {{.Driver}}\t{{.Name}}", "name: {{.Name}}\\ndriver: {{.Driver}}\\n", "{{.Name}}", "name: {{.Name}}", &volume_class, volume_headers};

const char *volume_format(const char *source, bool quiet) { return listing_format(&volume_listing, source, quiet); }

struct volume_ls_opts {
	bool cluster, quiet;
	const char *format;
	char **filter;
};
static const struct flag volume_ls_flags[] = {
	FLAG(struct volume_ls_opts, cluster, "cluster", 0, "Display only cluster volumes, and use cluster volume list formatting", .refused = NO_CLUSTER, .api = 142),
	FLAG_AS(struct volume_ls_opts, filter, FLAG_FILTER, "filter", 'f', "Provide filter values (e.g. \"dangling=true\")"),
	FLAG(struct volume_ls_opts, format, "format", 0, HELP_FORMAT_TABLE),
	FLAG(struct volume_ls_opts, quiet, "quiet", 'q', "Only display volume names"),
	FLAG_END,
};

static int cmd_ls(struct call *call)
{
	const struct volume_ls_opts *o = call->opts;

	return listing_print(&volume_listing, o->format, o->quiet, false, o->filter);
}

struct volume_rm_opts {
	bool force;
};
static const struct flag volume_rm_flags[] = {
	FLAG(struct volume_rm_opts, force, "force", 'f', "Force the removal of one or more volumes", .api = 125),
	FLAG_END,
};

static int cmd_rm(struct call *c)
{
	const struct volume_rm_opts *o = c->opts;
	cs_autostr struct cs_str errors = CS_STR_INIT(1 << 24);

	for (char **v = c->args; *v; v++) {
		struct cs_err *err = NULL;
		cs_autofree char *name = url_encode(*v), *path = cs_xasprintf("/volumes/%s%s", name, o->force ? "?force=1" : "");
		if (client_named("volume", *v, &err) < 0 || client_json("DELETE", path, NULL, NULL, &err) < 0) {
			cs_autofree char *text = cs_err_text(err);
			cs_str_putf(&errors, "%s%s", errors.len ? "\n" : "", text);
			cs_err_free(err);
		} else {
			printf("%s\n", *v);
		}
	}
	return errors.len ? cli_fail(1, "%s", errors.buf) : 0;
}

/* ---- update ---- */

struct volume_update_opts {
	const char *availability;
};
static const struct flag volume_update_flags[] = {
	FLAG(struct volume_update_opts, availability, "availability", 0, "Cluster Volume availability (\"active\", \"pause\", \"drain\")", .def = "active", .refused = NO_CLUSTER, .api = 142),
	FLAG_END,
};

/* There is nothing else to update: the engine says whether the volume exists, docker's client says the rest. */
static int cmd_update(struct call *c)
{
	struct cs_err *err = NULL;
	json_t *j = NULL;
	cs_autofree char *name = url_encode(c->args[0]), *path = cs_xasprintf("/volumes/%s", name);

	if (client_named("volume", c->args[0], &err) < 0 || client_json("GET", path, NULL, &j, &err) < 0)
		return cli_error(err, 1);
	json_decref(j);
	return cli_fail(1, "can only update cluster volumes");
}

const struct command volume_commands[] = {
	{.names = "volume create", .usage = "[OPTIONS] [VOLUME]", .help = "Create a volume",
	 .min = 0, .max = 1, CMD_OPTS(struct volume_create_opts, volume_create_flags), .run = cmd_create},
	{.names = "volume ls|volume list", .usage = "[OPTIONS]", .help = "List volumes",
	 .min = 0, .max = 0, CMD_OPTS(struct volume_ls_opts, volume_ls_flags), .run = cmd_ls},
	{.names = "volume rm|volume remove", .usage = "[OPTIONS] VOLUME [VOLUME...]", .help = "Remove one or more volumes", .about = "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
	 .min = 1, .max = ANY, .complete = COMP_VOLUME, CMD_OPTS(struct volume_rm_opts, volume_rm_flags), .run = cmd_rm},
	{.names = "volume update", .api = 142, .usage = "[OPTIONS] [VOLUME]", .help = "Update a volume (cluster volumes only)",
	 .min = 1, .max = 1, .complete = COMP_VOLUME, CMD_OPTS(struct volume_update_opts, volume_update_flags), .run = cmd_update},
	CMD_END,
};
