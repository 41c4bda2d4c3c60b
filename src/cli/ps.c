/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson ps. */
#include <string.h>

#include "cli/list.h"
#include "cli/ports.h"
#include "cli/schema.h"
#include "cli/rows.h"
#include "cli/template/text.h"

#define TEXT_METHOD(fn, key) METHOD(fn) { return text_value(jstr(((struct row *)self)->j, key)); }

METHOD(ps_id)
{
	const struct row *r = self;
	const char *id = jstr(r->j, "Id");
	return text_value(r->trunc ? truncate_id(a, id) : id);
}

METHOD(ps_names)
{
	const struct row *r = self;
	struct cs_str s = CS_STR_INIT((size_t)1 << 20);
	json_t *n;
	size_t i;

	json_array_foreach(json_object_get(r->j, "Names"), i, n)
	{
		const char *name = json_string_value(n);
		name = name && *name ? name + 1 : "";
		if (r->trunc && !strchr(name, '/')) { /* the container's own name, not those that links gave it */
			cs_str_clear(&s);
			cs_str_puts(&s, name);
			break;
		}
		cs_str_putf(&s, "%s%s", s.len ? "," : "", name);
	}
	const char *text = tpl_strn(a, s.buf ? s.buf : "", s.len);
	cs_str_done(&s);
	return text_value(text);
}

METHOD(ps_image)
{
	const struct row *r = self;
	const char *image = jstr(r->j, "Image"), *id = truncate_id(a, jstr(r->j, "ImageID")), *name, *tag, *digest;

	if (!*image)
		return text_value("<no image>");
	if (r->trunc) {
		if (cs_streq(id, truncate_id(a, image)))
			return text_value(id);
		if (reference_split(a, image, &name, &tag, &digest))
			return text_value(*tag ? tpl_printf(a, "%s:%s", name, tag) : name);
	}
	return text_value(image);
}

METHOD(ps_command)
{
	const struct row *r = self;
	struct cs_str s = CS_STR_INIT((size_t)1 << 22);
	const char *command = jstr(r->j, "Command");

	if (r->trunc)
		command = ellipsis(a, command, 20);
	tpl_quote(&s, command, strlen(command), '"', false);
	const char *text = tpl_strn(a, s.buf ? s.buf : "", s.len);
	cs_str_done(&s);
	return text_value(text);
}

METHOD(ps_created_at) { return text_value(local_time_text(a, jint(((struct row *)self)->j, "Created"))); }
METHOD(ps_running_for) { return text_value(ago_text(a, jint(((struct row *)self)->j, "Created"))); }
METHOD(ps_ports) { return text_value(ports_text(a, json_object_get(((struct row *)self)->j, "Ports"))); }
TEXT_METHOD(ps_state, "State")
TEXT_METHOD(ps_status, "Status")
METHOD(ps_labels) { return text_value(labels_text(a, json_object_get(((struct row *)self)->j, "Labels"))); }
METHOD(ps_label) { return text_value(jstr(json_object_get(((struct row *)self)->j, "Labels"), arg)); }

/* Somebody looked at a size: a template, tried before the engine is asked for what it needs. */
static bool size_seen;

METHOD(ps_size)
{
	const struct row *r = self;
	const char *rw = size_text(a, (double)jint(r->j, "SizeRw"), 3);
	int64_t all = jint(r->j, "SizeRootFs");
	size_seen = true;
	return text_value(all > 0 ? tpl_printf(a, "%s (virtual %s)", rw, size_text(a, (double)all, 3)) : rw);
}

METHOD(ps_mounts)
{
	const struct row *r = self;
	struct cs_str s = CS_STR_INIT((size_t)1 << 20);
	json_t *m;
	size_t i;

	json_array_foreach(json_object_get(r->j, "Mounts"), i, m)
	{
		const char *name = *jstr(m, "Name") ? jstr(m, "Name") : jstr(m, "Source");
		cs_str_putf(&s, "%s%s", i ? "," : "", r->trunc ? ellipsis(a, name, 15) : name);
	}
	const char *text = tpl_strn(a, s.buf ? s.buf : "", s.len);
	cs_str_done(&s);
	return text_value(text);
}

METHOD(ps_local_volumes)
{
	json_t *m;
	size_t i;
	unsigned n = 0;

	json_array_foreach(json_object_get(((struct row *)self)->j, "Mounts"), i, m) n += cs_streq(jstr(m, "Driver"), "local");
	return text_value(tpl_printf(a, "%u", n));
}

METHOD(ps_networks)
{
	const char *text = "", *k;
	json_t *v;

	json_object_foreach(json_object_get(json_object_get(((struct row *)self)->j, "NetworkSettings"), "Networks"), k, v)
		text = *text ? tpl_printf(a, "%s,%s", text, k) : tpl_strn(a, k, strlen(k));
	return text_value(text);
}

METHOD(ps_platform)
{
	static const struct tpl_type pointer = {.name = "*formatter.Platform", .kind = TPL_PTR, .trait = TPL_PLATFORM};
	static struct tpl_type own;
	json_t *p = json_object_get(json_object_get(((struct row *)self)->j, "ImageManifestDescriptor"), "platform");
	struct tpl_value raw, *v;
	const char *message;

	own = pointer;
	own.elem = schema_type("v1.Platform");
	if (!json_is_object(p))
		return (struct tpl_value){.type = &own};
	cs_autofree char *text = json_dumps(p, JSON_COMPACT);
	if (!text || !tpl_parse_json(a, text, strlen(text), &raw, &message))
		return (struct tpl_value){.type = &own};
	v = tpl_alloc(a, sizeof(*v));
	*v = tpl_typed(a, own.elem, raw);
	return (struct tpl_value){.type = &own, .v = v, .count = 1};
}

static const struct tpl_method container_methods[] = {
	{"Command", ps_command}, {"CreatedAt", ps_created_at}, {"ID", ps_id}, {"Image", ps_image}, {"Label", ps_label, .takes_string = true},
	{"Labels", ps_labels}, {"LocalVolumes", ps_local_volumes}, {"Mounts", ps_mounts}, {"Names", ps_names}, {"Networks", ps_networks},
	{"Platform", ps_platform}, {"Ports", ps_ports}, {"RunningFor", ps_running_for}, {"Size", ps_size}, {"State", ps_state}, {"Status", ps_status}, {NULL}};
const struct tpl_class container_class = {"*formatter.ContainerContext", container_methods};
const char *const container_headers[] = {"ID", "CONTAINER ID", "Names", "NAMES", "Image", "IMAGE", "Command", "COMMAND", "CreatedAt", "CREATED AT", "RunningFor",
					 "CREATED", "Ports", "PORTS", "State", "STATE", "Status", "STATUS", "Size", "SIZE", "Labels", "LABELS", "Mounts", "MOUNTS",
					 "LocalVolumes", "LOCAL VOLUMES", "Networks", "NETWORKS", "Platform", "PLATFORM", NULL};

char *container_format(const char *source, bool quiet, bool size)
{
	if (list_is_default(source))
		return quiet ? cs_xstrdup("{{.ID}}") :
			       cs_xasprintf("table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}%s", size ? "\t{{.Size}}" : "");
	if (cs_streq(source, "raw"))
		return quiet ? cs_xstrdup("container_id: {{.ID}}") :
			       cs_xasprintf("container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{- pad .State 1 0}}\n"
					    "status: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n%s",
					    size ? "size: {{.Size}}\\n" : "");
	return cs_xstrdup(quiet ? "{{.ID}}" : source);
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
	FLAG(struct ps_opts, format, "format", 0, HELP_FORMAT_TABLE),
	FLAG(struct ps_opts, last, "last", 'n', "Show n last created containers (includes all states)", .def = "-1"),
	FLAG(struct ps_opts, latest, "latest", 'l', "Show the latest created container (includes all states)"),
	FLAG(struct ps_opts, no_trunc, "no-trunc", 0, "Don't truncate output"),
	FLAG(struct ps_opts, quiet, "quiet", 'q', "Only display container IDs"),
	FLAG(struct ps_opts, size, "size", 's', "Display total file sizes"),
	FLAG_END,
};

/* Does the format show sizes? The engine has to walk trees for them, so they are asked for only then. Also says what is wrong with a template before anything
 * is asked: over an empty container, as docker does. */
static int wants_size(const char *format, bool *size)
{
	tpl_autoarena struct tpl_arena *a = tpl_arena_new();
	struct cs_str out = CS_STR_INIT((size_t)1 << 24);
	json_t *empty = json_object();
	struct row r = {empty, false};
	const char *message;
	const struct tpl *t = tpl_parse(a, format, &message);
	int status = 0;

	if (!t)
		status = cli_fail(1, "failed to parse template: %s", message);
	else if (!tpl_execute(t, tpl_object_value(a, &container_class, &r), NULL, a, &out, &message))
		status = cli_fail(1, "failed to execute template: %s", message);
	else
		*size = size_seen;
	json_decref(empty);
	cs_str_done(&out);
	return status;
}

static int cmd_ps(struct call *call)
{
	const struct ps_opts *o = call->opts;
	bool size = o->size, used = false;
	struct cs_err *err = NULL;
	json_t *list = NULL, *c;
	struct list l;
	size_t i;

	if (!cs_empty(o->format) && o->quiet)
		fprintf(stderr, "WARNING: Ignoring custom format, because both --format and --quiet are set.\n");
	const char *source = !cs_empty(o->format) ? o->format : list_format(NULL, "psFormat", false);
	if (!list_is_default(source)) {
		int status = wants_size(source, &used);
		if (status)
			return status;
		if (used && !o->quiet && !flag_given(call, &o->size))
			size = true;
	}
	int64_t limit = o->latest && o->last == -1 ? 1 : o->last;
	cs_autofree char *f = filters_query(filters_json(o->filter)), *lim = limit > 0 ? cs_xasprintf("&limit=%lld", (long long)limit) : cs_xstrdup("");
	cs_autofree char *query = cs_xasprintf("%s%s%s%s", o->all ? "&all=1" : "", f, lim, size ? "&size=1" : "");
	cs_autofree char *path = cs_xasprintf("/containers/json%s%s", *query ? "?" : "", *query ? query + 1 : "");
	if (client_json("GET", path, NULL, &list, &err) < 0)
		return cli_error(err, 1);
	cs_autofree char *format = container_format(source, o->quiet, size);
	list_begin(&l, format);
	json_array_foreach(list, i, c) list_row(&l, &container_class, &(struct row){c, !o->no_trunc});
	int status = list_end(&l, container_headers);
	json_decref(list);
	return status;
}

const struct command ps_commands[] = {
	{.names = "container ls|container list|container ps|ps", .usage = "[OPTIONS]", .help = "List containers",
	 .min = 0, .max = 0, CMD_OPTS(struct ps_opts, ps_flags), .run = cmd_ps},
	CMD_END,
};
