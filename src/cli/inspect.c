/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson inspect, container|image|network|volume inspect. A template is evaluated over the API's Go struct first, then over the raw document; JSON is the
 * engine's own text, re-indented. Volumes have no raw document in docker: only the struct's fields, in its order. */
#include <string.h>

#include "base/json.h"
#include "cli/list.h"
#include "cli/platform.h"
#include "cli/schema.h"

struct kind {
	const char *name, *path, *query, *schema;
	bool size, swarm, raw;
};
static const struct kind kinds[] = {
	{"container", "/containers/%s/json", "", "container.InspectResponse", .size = true, .raw = true},
	{"image", "/images/%s/json", "", "image.InspectResponse", .raw = true},
	{"network", "/networks/%s", "", "network.Inspect", .raw = true},
	{"volume", "/volumes/%s", "", "volume.Volume", .raw = true},
	{"service", "/services/%s", "?insertDefaults=true", NULL, .swarm = true, .raw = true},
	{"task", "/tasks/%s", "", NULL, .swarm = true, .raw = true},
	{"node", "/nodes/%s", "", NULL, .swarm = true, .raw = true},
	{"plugin", "/plugins/%s/json", "", NULL, .raw = true},
	{"secret", "/secrets/%s", "", NULL, .swarm = true, .raw = true},
	{"config", "/configs/%s", "", NULL, .swarm = true, .raw = true},
};
static const struct kind volume_alone = {"volume", "/volumes/%s", "", "volume.Volume"};
static const char all_types[] = "\"config\", \"container\", \"image\", \"network\", \"node\", \"plugin\", \"secret\", \"service\", \"task\", \"volume\"";

struct inspector {
	struct tpl_arena *a;
	const struct tpl *tpl; /* NULL: JSON */
	struct tpl_options o;
	bool compact;
	size_t n;
	struct cs_str out, errors;
};

static void add_error(struct inspector *in, const char *text) { cs_str_putf(&in->errors, "%s%s", in->errors.len ? "\n" : "", text); }

static void take_error(struct inspector *in, struct cs_err *err)
{
	cs_autofree char *text = cs_err_text(err);
	add_error(in, text);
	cs_err_free(err);
}

static void template_error(struct inspector *in, const char *message)
{
	add_error(in, tpl_printf(in->a, "template parsing error: %s", message));
}

/* Members with no value that the API leaves out since 1.52. To a template over the raw document they would be errors where docker 28, which speaks 1.50,
 * prints nothing, 0 or null. */
static const char container_network_none[] =
	"{\"Bridge\":\"\",\"EndpointID\":\"\",\"Gateway\":\"\",\"GlobalIPv6Address\":\"\",\"GlobalIPv6PrefixLen\":0,\"HairpinMode\":false,\"IPAddress\":\"\",\"IPPrefixLen\":0,"
	"\"IPv6Gateway\":\"\",\"LinkLocalIPv6Address\":\"\",\"LinkLocalIPv6PrefixLen\":0,\"MacAddress\":\"\",\"SecondaryIPAddresses\":null,\"SecondaryIPv6Addresses\":null}";
static const char image_none[] = "{\"Author\":\"\",\"DockerVersion\":\"\",\"Parent\":\"\"}";
static const char image_config_none[] = "{\"Entrypoint\":null,\"Labels\":null,\"OnBuild\":null,\"User\":\"\",\"Volumes\":null,\"WorkingDir\":\"\"}";

static void fill_in(json_t *object, const char *defaults)
{
	cs_autojson json_t *all = json_loads(defaults, 0, NULL);

	if (json_is_object(object))
		(void)json_object_update_missing(object, all);
}

/* What the API says of the default bridge a second time up to 1.51, and only with the network since: `{{.NetworkSettings.IPAddress}}` is the template that
 * everybody knows. */
static void add_default_network(json_t *settings)
{
	static const char *const keys[] = {"EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen", "IPv6Gateway", "MacAddress"};
	json_t *bridge = json_object_get(json_object_get(settings, "Networks"), "bridge");

	if (!json_is_object(bridge) || json_object_get(settings, "IPAddress"))
		return;
	for (size_t i = 0; i < CS_ARRAY_SIZE(keys); i++)
		if (json_object_get(bridge, keys[i]))
			(void)json_object_set(settings, keys[i], json_object_get(bridge, keys[i]));
}

/* The document as API 1.50 has it, for templates. Caller frees; NULL: it stays as it is. */
static char *as_before(const struct kind *k, const char *text, size_t len)
{
	bool container = cs_streq(k->name, "container"), image = cs_streq(k->name, "image");
	cs_autojson json_t *j = container || image ? json_loadb(text, len, 0, NULL) : NULL;

	if (!json_is_object(j))
		return NULL;
	if (container) {
		add_default_network(json_object_get(j, "NetworkSettings"));
		fill_in(json_object_get(j, "NetworkSettings"), container_network_none);
	} else {
		fill_in(j, image_none);
		fill_in(json_object_get(j, "Config"), image_config_none);
	}
	return json_dumps(j, JSON_COMPACT);
}

/* Shows one object. */
static void show(struct inspector *in, const struct kind *k, const struct cs_str *body)
{
	const struct tpl_type *type = k->schema ? schema_type(k->schema) : NULL;
	const char *message = "", *text = body->buf ? body->buf : "";
	struct tpl_value raw, typed;
	struct cs_str out = CS_STR_INIT((size_t)256 << 20);
	cs_autofree char *more = in->tpl ? as_before(k, text, body->len) : NULL;

	if (!tpl_parse_json(in->a, more ? more : text, more ? strlen(more) : body->len, &raw, &message)) {
		add_error(in, tpl_printf(in->a, "unable to read inspect data: %s", message));
		return;
	}
	if (!in->tpl && k->raw) {
		cs_str_puts(&in->out, in->n++ ? "," : "");
		cs_str_put(&in->out, text, body->len);
		return;
	}
	typed = type ? tpl_typed(in->a, type, raw) : raw;
	if (!in->tpl) {
		cs_str_puts(&in->out, in->n++ ? "," : "");
		tpl_marshal(&in->out, typed, true, in->a);
		return;
	}
	bool good = tpl_execute(in->tpl, typed, &in->o, in->a, &out, &message);
	if (!good && k->raw) {
		cs_str_clear(&out);
		in->o.missing_key_error = true; /* and stays so: docker sets it on the template */
		good = tpl_execute(in->tpl, raw, &in->o, in->a, &out, &message);
	}
	if (good) {
		cs_str_put(&in->out, out.buf ? out.buf : "", out.len);
		cs_str_putc(&in->out, '\n');
	} else {
		template_error(in, message);
	}
	cs_str_done(&out);
}

static int get(const struct kind *k, const char *ref, bool size, const char *query, struct cs_str *body, struct cs_err **err)
{
	cs_autofree char *name = url_encode(ref), *base = cs_xasprintf(k->path, name), *path = cs_xasprintf("%s%s%s", base, k->query, size && k->size ? "?size=1" : query);

	cs_str_clear(body);
	if (!*ref && cs_streq(k->name, "image"))
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "Error: No such image: ");
	if (!*ref) /* docker's client does not ask for it either */
		return client_named(k->name, ref, err);
	return client_text(path, body, err);
}

static bool skippable(const struct cs_err *err)
{
	return err->code == CS_ERR_NOT_FOUND || strstr(err->msg, "not supported") || strstr(err->msg, "invalid reference format");
}

static bool swarm_manager(void)
{
	json_t *j = NULL;
	struct cs_err *err = NULL;
	bool yes = false;

	if (client_json("GET", "/info", NULL, &j, &err) >= 0)
		yes = json_is_true(json_object_get(json_object_get(j, "Swarm"), "ControlAvailable"));
	cs_err_free(err);
	json_decref(j);
	return yes;
}

/* Looks in one kind after the other until one has it. */
static void any_kind(struct inspector *in, const char *ref, const char *only, bool size)
{
	struct cs_str body = CS_STR_INIT((size_t)256 << 20);
	int manager = -1;

	for (size_t i = 0; i < CS_ARRAY_SIZE(kinds); i++) {
		const struct kind *k = &kinds[i];
		struct cs_err *err = NULL;
		if (only ? !cs_streq(k->name, only) : k->swarm && (manager < 0 ? (manager = swarm_manager()) : manager) == 0)
			continue;
		if (get(k, ref, size, "", &body, &err) < 0) {
			if (!only && skippable(err)) {
				cs_err_free(err);
				continue;
			}
			take_error(in, err);
			cs_str_done(&body);
			return;
		}
		if (size && !k->size)
			fprintf(stderr, "WARNING: --size ignored for %s\n", k->name);
		show(in, k, &body);
		cs_str_done(&body);
		return;
	}
	add_error(in, tpl_printf(in->a, "Error: No such object: %s", ref));
	cs_str_done(&body);
}

/* Prepares for a --format. 0, or the exit status after a message. */
static int begin(struct inspector *in, const char *format)
{
	const char *message;

	*in = (struct inspector){.a = tpl_arena_new(), .out = CS_STR_INIT((size_t)1 << 30), .errors = CS_STR_INIT((size_t)1 << 24)};
	in->compact = cs_streq(format, "json");
	if (cs_empty(format) || in->compact)
		return 0;
	in->tpl = tpl_parse(in->a, format, &message);
	if (in->tpl)
		return 0;
	int status = cli_fail(64, "template parsing error: %s", message);
	tpl_arena_free(in->a);
	return status;
}

static int finish(struct inspector *in)
{
	int status = 0;

	if (in->tpl) {
		if (!in->out.len)
			cs_str_putc(&in->out, '\n');
		(void)fwrite(in->out.buf, 1, in->out.len, stdout);
	} else {
		struct cs_str list = CS_STR_INIT((size_t)1 << 30), pretty = CS_STR_INIT((size_t)1 << 30);
		cs_str_putc(&list, '[');
		cs_str_put(&list, in->out.buf ? in->out.buf : "", in->out.len);
		cs_str_putc(&list, ']');
		if (in->compact)
			tpl_json_compact(&pretty, list.buf, list.len);
		else
			tpl_json_indent(&pretty, list.buf, list.len, "    ");
		cs_str_putc(&pretty, '\n');
		(void)fwrite(pretty.buf, 1, pretty.len, stdout);
		cs_str_done(&list);
		cs_str_done(&pretty);
	}
	if (in->errors.len)
		status = cli_fail(1, "%s", in->errors.buf);
	cs_str_done(&in->out);
	cs_str_done(&in->errors);
	tpl_arena_free(in->a);
	return status;
}

static int each(struct call *c, const char *format, const struct kind *k, bool size, const char *query)
{
	struct inspector in;
	int status = begin(&in, format);

	if (status)
		return status;
	for (char **ref = c->args; *ref; ref++) {
		struct cs_str body = CS_STR_INIT((size_t)256 << 20);
		struct cs_err *err = NULL;
		if (get(k, *ref, size, query, &body, &err) < 0)
			take_error(&in, err);
		else
			show(&in, k, &body);
		cs_str_done(&body);
	}
	return finish(&in);
}

struct inspect_opts {
	bool size;
	const char *format, *type;
};
static const struct flag inspect_flags[] = {
	FLAG(struct inspect_opts, format, "format", 'f', HELP_FORMAT),
	FLAG(struct inspect_opts, size, "size", 's', "Display total file sizes if the type is container"),
	FLAG(struct inspect_opts, type, "type", 0, "Only inspect objects of the given type", .values = "config|container|image|network|node|plugin|secret|service|task|volume"),
	FLAG_END,
};

static int cmd_inspect(struct call *c)
{
	const struct inspect_opts *o = c->opts;
	struct inspector in;
	bool known = cs_empty(o->type);

	if (flag_given(c, &o->type) && !*o->type)
		return cli_fail(1, "type is empty: must be one of %s", all_types);
	for (size_t i = 0; i < CS_ARRAY_SIZE(kinds); i++)
		known |= cs_streq(kinds[i].name, o->type);
	if (!known)
		return cli_fail(1, "unknown type: \"%s\": must be one of %s", o->type, all_types);
	int status = begin(&in, o->format);
	if (status)
		return status;
	for (char **ref = c->args; *ref; ref++)
		any_kind(&in, *ref, cs_empty(o->type) ? NULL : o->type, o->size);
	return finish(&in);
}

struct container_inspect_opts {
	bool size;
	const char *format;
};
static const struct flag container_inspect_flags[] = {
	FLAG(struct container_inspect_opts, format, "format", 'f', HELP_FORMAT),
	FLAG(struct container_inspect_opts, size, "size", 's', "Display total file sizes"),
	FLAG_END,
};
static int cmd_container(struct call *c)
{
	const struct container_inspect_opts *o = c->opts;
	return each(c, o->format, &kinds[0], o->size, "");
}

struct image_inspect_opts {
	const char *format, *platform;
};
static const struct flag image_inspect_flags[] = {
	FLAG(struct image_inspect_opts, format, "format", 'f', HELP_FORMAT),
	FLAG(struct image_inspect_opts, platform, "platform", 0,
	     "Inspect a specific platform of the multi-platform image.\nIf the image or the server is not multi-platform capable, the command will error out if the platform does not match.\n"
	     "'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)", .api = 149),
	FLAG_END,
};
static int cmd_image(struct call *c)
{
	const struct image_inspect_opts *o = c->opts;
	struct cs_err *err = NULL;
	cs_autofree char *query = platform_query(o->platform, "?platform=", &err);

	return query ? each(c, o->format, &kinds[1], false, query) : cli_error(err, 1);
}

struct network_inspect_opts {
	bool verbose;
	const char *format;
};
static const struct flag network_inspect_flags[] = {
	FLAG(struct network_inspect_opts, format, "format", 'f', HELP_FORMAT),
	FLAG(struct network_inspect_opts, verbose, "verbose", 'v', "Verbose output for diagnostics"),
	FLAG_END,
};
static int cmd_network(struct call *c)
{
	const struct network_inspect_opts *o = c->opts;
	return each(c, o->format, &kinds[2], false, o->verbose ? "?verbose=true" : "");
}

struct volume_inspect_opts {
	const char *format;
};
static const struct flag volume_inspect_flags[] = {
	FLAG(struct volume_inspect_opts, format, "format", 'f', HELP_FORMAT),
	FLAG_END,
};
static int cmd_volume(struct call *c)
{
	const struct volume_inspect_opts *o = c->opts;
	return each(c, o->format, &volume_alone, false, "");
}

static int cmd_plugin(struct call *c)
{
	const struct volume_inspect_opts *o = c->opts;
	return each(c, o->format, &kinds[7], false, "");
}

const struct command inspect_commands[] = {
	{.names = "inspect", .usage = "[OPTIONS] NAME|ID [NAME|ID...]", .help = "Return low-level information on Docker objects",
	 .min = 1, .max = ANY, .complete = COMP_OBJECT, CMD_OPTS(struct inspect_opts, inspect_flags), .run = cmd_inspect},
	{.names = "container inspect", .usage = "[OPTIONS] CONTAINER [CONTAINER...]", .help = "Display detailed information on one or more containers",
	 .min = 1, .max = ANY, .complete = COMP_CONTAINER, CMD_OPTS(struct container_inspect_opts, container_inspect_flags), .run = cmd_container},
	{.names = "image inspect", .usage = "[OPTIONS] IMAGE [IMAGE...]", .help = "Display detailed information on one or more images",
	 .min = 1, .max = ANY, .complete = COMP_IMAGE, CMD_OPTS(struct image_inspect_opts, image_inspect_flags), .run = cmd_image},
	{.names = "network inspect", .usage = "[OPTIONS] NETWORK [NETWORK...]", .help = "Display detailed information on one or more networks",
	 .min = 1, .max = ANY, .complete = COMP_NETWORK, CMD_OPTS(struct network_inspect_opts, network_inspect_flags), .run = cmd_network},
	{.names = "volume inspect", .usage = "[OPTIONS] VOLUME [VOLUME...]", .help = "Display detailed information on one or more volumes",
	 .min = 1, .max = ANY, .complete = COMP_VOLUME, CMD_OPTS(struct volume_inspect_opts, volume_inspect_flags), .run = cmd_volume},
	{.names = "plugin inspect", .usage = "[OPTIONS] PLUGIN [PLUGIN...]", .help = "Display detailed information on one or more plugins",
	 .min = 1, .max = ANY, CMD_OPTS(struct volume_inspect_opts, volume_inspect_flags), .run = cmd_plugin},
	CMD_END,
};
