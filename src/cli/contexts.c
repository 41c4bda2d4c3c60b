/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson context create, inspect, ls, rm, show, update, use; export and import are in context_archive.c. */
#include <fcntl.h>

#include "base/io.h"
#include "base/json.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/context.h"
#include "cli/endpoint.h"
#include "cli/rows.h"
#include "cli/schema.h"

#define FILE_MAX ((size_t)1 << 20)
#define BAD_ENDPOINT "unable to create docker endpoint config"

/* Gives another context all of a stored one's TLS files. */
static int copy_tls(const struct context *from, const char *to, struct cs_err **err)
{
	cs_autojson json_t *files = context_tls_files(from->name);
	const char *endpoint;
	json_t *list, *file;
	size_t i;

	json_object_foreach(files, endpoint, list) json_array_foreach(list, i, file)
	{
		cs_autostr struct cs_str text = CS_STR_INIT(CONTEXT_FILE_MAX);
		const char *name = json_string_value(file);
		if (context_read_tls(from, endpoint, name, &text, err) < 0 || context_put_tls(to, endpoint, name, text.buf ? text.buf : "", text.len, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- what --docker says ---- */

struct wanted {
	char *host, *from;
	bool skip_verify, given;
	char *pem[3];         /* content of ca, cert, key */
	size_t len[3];
};

static void wanted_done(struct wanted *w)
{
	free(w->host);
	free(w->from);
	for (size_t i = 0; i < 3; i++)
		free(w->pem[i]);
}

static int read_pem(struct wanted *w, size_t i, const char *path, struct cs_err **err)
{
	struct cs_str text = CS_STR_INIT(FILE_MAX);
	int e = cs_read_file_at(AT_FDCWD, path, &text);

	if (e < 0) {
		cs_str_done(&text);
		return cs_fail(err, CS_ERR_INVALID, 0, BAD_ENDPOINT ": open %s: %s", path, e == -ENOENT ? "no such file or directory" : cs_errno_text(-e));
	}
	w->len[i] = text.len;
	w->pem[i] = cs_str_steal(&text);
	return 0;
}

static int copy_from(struct wanted *w, const char *name, struct cs_err **err)
{
	auto_context struct context c = {0};

	if (context_get(name, &c, err) < 0)
		return -1;
	w->host = cs_xstrdup(c.host);
	w->skip_verify = c.skip_verify;
	const char *const paths[] = {c.ca, c.cert, c.key};
	for (size_t i = 0; i < 3; i++)
		if (paths[i] && read_pem(w, i, paths[i], err) < 0)
			return -1;
	return 0;
}

/* What would only be noticed when somebody uses it. */
static int check_wanted(const struct wanted *w, struct cs_err **err)
{
	const char *colon = cs_empty(w->host) ? NULL : strstr(w->host, "://");
	const char *ca = w->pem[0];

	if (!cs_empty(w->host) && (!colon || !colon[3]))
		return cs_fail(err, CS_ERR_INVALID, 0, BAD_ENDPOINT ": unable to apply docker endpoint options: unable to parse docker host `%s`", w->host);
	if (!cs_empty(w->host) && endpoint_check_ssh(w->host, err) < 0)
		return cs_wrap(err, BAD_ENDPOINT ": invalid docker endpoint options");
	if (ca && !memmem(ca, w->len[0], "-----BEGIN CERTIFICATE-----", 27))
		return cs_fail(err, CS_ERR_INVALID, 0, BAD_ENDPOINT ": invalid docker endpoint options: failed to retrieve context tls info: ca.pem seems invalid");
	return 0;
}

static int parse_truth(const char *val, bool *ret, struct cs_err **err)
{
	static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};

	*ret = false;
	for (size_t i = 0; i < CS_ARRAY_SIZE(yes); i++)
		*ret |= cs_streq(val, yes[i]);
	return *ret || go_false(val) ? 0 : cs_fail(err, CS_ERR_INVALID, 0, BAD_ENDPOINT ": skip-tls-verify: parsing \"%s\": invalid syntax", val);
}

/* key=value elements of --docker. */
static int parse_wanted(char *const *list, struct wanted *w, struct cs_err **err)
{
	static const char *const pem_keys[] = {"ca", "cert", "key"};

	for (; list && *list; list++) {
		const char *val = strchr(*list, '=') + 1;
		size_t n = (size_t)(val - *list) - 1;
		cs_autofree char *key = cs_xstrndup(*list, n);
		size_t i = 0;
		w->given = true;
		while (i < 3 && !cs_streq(key, pem_keys[i]))
			i++;
		if (i < 3) {
			if (*val && read_pem(w, i, val, err) < 0)
				return -1;
		} else if (cs_streq(key, "host")) {
			free(w->host);
			w->host = cs_xstrdup(val);
		} else if (cs_streq(key, "from")) {
			free(w->from);
			w->from = cs_xstrdup(val);
		} else if (cs_streq(key, "skip-tls-verify")) {
			if (parse_truth(val, &w->skip_verify, err) < 0)
				return -1;
		} else {
			return cs_fail(err, CS_ERR_INVALID, 0, BAD_ENDPOINT ": unrecognized config key: %s", key);
		}
	}
	if (w->from) {
		cs_autofree char *from = TAKE_PTR(w->from);
		wanted_done(w);
		*w = (struct wanted){.given = true};
		return copy_from(w, from, err) < 0 ? cs_wrap(err, BAD_ENDPOINT) : 0;
	}
	return check_wanted(w, err);
}

static int store(const char *name, json_t *meta, const struct wanted *w, bool with_endpoint, struct cs_err **err)
{
	if (with_endpoint) {
		json_t *ends = json_object_get(meta, "Endpoints");
		if (!json_is_object(ends)) {
			ends = json_object();
			(void)json_object_set_new(meta, "Endpoints", ends);
		}
		json_t *docker = json_object();
		if (!cs_empty(w->host))
			(void)json_object_set_new(docker, "Host", json_string(w->host));
		(void)json_object_set_new(docker, "SkipTLSVerify", json_boolean(w->skip_verify));
		(void)json_object_set_new(ends, "docker", docker);
	}
	if (context_save(name, meta, err) < 0)
		return -1;
	if (with_endpoint && context_remove_tls(name, "docker", err) < 0) /* also what no --docker can name */
		return -1;
	for (size_t i = 0; with_endpoint && i < 3; i++)
		if (w->pem[i] && context_put_tls(name, "docker", context_pem_files[i], w->pem[i], w->len[i], err) < 0)
			return -1;
	return 0;
}

static void set_description(json_t *meta, const char *text)
{
	json_t *m = json_object_get(meta, "Metadata");

	if (!json_is_object(m)) {
		m = json_object();
		(void)json_object_set_new(meta, "Metadata", m);
	}
	(void)json_object_set_new(m, "Description", json_string(text));
}

/* ---- create, update ---- */

struct context_create_opts {
	const char *description, *from;
	char **docker;
};
static const struct flag context_create_flags[] = {
	FLAG(struct context_create_opts, description, "description", 0, "Description of the context"),
	FLAG_AS(struct context_create_opts, docker, FLAG_STRINGS, "docker", 0, "set the docker endpoint (default [])", .type = "stringToString", .check = check_key_value),
	FLAG(struct context_create_opts, from, "from", 0, "create context from a named context"),
	FLAG_END,
};

static int create(const struct context_create_opts *o, const char *name, struct cs_err **err)
{
	auto_context struct context c = {0};
	struct wanted w = {0};
	json_t *meta = NULL;
	int r = -1;

	if (context_check_name(name, err) < 0)
		return -1;
	if (context_exists(name))
		return cs_fail(err, CS_ERR_CONFLICT, 0, "context \"%s\" already exists", name);
	if (o->from && o->docker)
		return cs_fail(err, CS_ERR_INVALID, 0, "cannot use --docker flag when --from is set");
	if (o->docker) {
		meta = json_pack("{s:s,s:{},s:{}}", "Name", name, "Metadata", "Endpoints");
		r = parse_wanted(o->docker, &w, err);
	} else {
		const char *from = o->from ? o->from : endpoint_context();
		r = context_get(from, &c, err);
		if (r == 0) {
			meta = json_deep_copy(c.meta);
			if (cs_streq(from, "default"))
				set_description(meta, "Current DOCKER_HOST based configuration");
			r = copy_from(&w, from, err);
		}
	}
	if (r == 0 && !cs_empty(o->description))
		set_description(meta, o->description);
	if (r == 0)
		r = context_remove(name, err); /* what an earlier one may have left */
	if (r == 0)
		r = store(name, meta, &w, true, err);
	if (r == 0 && !o->docker && !cs_streq(c.name, "default"))
		r = copy_tls(&c, name, err);
	json_decref(meta);
	wanted_done(&w);
	return r;
}

static int cmd_create(struct call *c)
{
	struct cs_err *err = NULL;

	if (create(c->opts, c->args[0], &err) < 0)
		return cli_error(err, 1);
	return context_said(c->args[0], "created");
}

struct context_update_opts {
	const char *description;
	char **docker;
};
static const struct flag context_update_flags[] = {
	FLAG(struct context_update_opts, description, "description", 0, "Description of the context"),
	FLAG_AS(struct context_update_opts, docker, FLAG_STRINGS, "docker", 0, "set the docker endpoint (default [])", .type = "stringToString", .check = check_key_value),
	FLAG_END,
};

static int update(const struct context_update_opts *o, const char *name, struct cs_err **err)
{
	auto_context struct context c = {0};
	struct wanted w = {0};

	if (cs_streq(name, "default"))
		return cs_fail(err, CS_ERR_INVALID, 0, "\"default\" is a reserved context name");
	if (context_check_name(name, err) < 0 || context_load(name, &c, err) < 0)
		return -1;
	if (!cs_empty(o->description))
		set_description(c.meta, o->description);
	int r = parse_wanted(o->docker, &w, err);
	if (r == 0)
		r = store(name, c.meta, &w, w.given, err);
	wanted_done(&w);
	return r;
}

static int cmd_update(struct call *c)
{
	struct cs_err *err = NULL;

	if (update(c->opts, c->args[0], &err) < 0)
		return cli_error(err, 1);
	return context_said(c->args[0], "updated");
}

/* ---- use, show, rm ---- */

static int cmd_show(struct call *c)
{
	printf("%s\n", endpoint_context());
	return 0;
}

static int set_current(const char *name, struct cs_err **err)
{
	json_t *root = config_root();

	if (cs_streq(name, "default")) {
		if (!json_object_get(root, "currentContext"))
			return 0;
		(void)json_object_del(root, "currentContext");
	} else {
		(void)json_object_set_new(root, "currentContext", json_string(name));
	}
	return config_save(err);
}

static int cmd_use(struct call *c)
{
	const char *name = c->args[0], *variable = endpoint_host_variable();
	auto_context struct context ctx = {0};
	struct cs_err *err = NULL;

	if (!cs_streq(name, "default")) {
		if (context_check_name(name, &err) < 0 || context_load(name, &ctx, &err) < 0)
			return cli_error(err, 1);
	}
	if (set_current(name, &err) < 0)
		return cli_error(err, 1);
	printf("%s\n", name);
	(void)fflush(stdout);
	fprintf(stderr, "Current context is now \"%s\"\n", name);
	if (variable && !cs_streq(name, "default"))
		fprintf(stderr, "Warning: %s environment variable overrides the active context. To use \"%s\", either set the global --context flag, or unset %s environment variable.\n",
			variable, name, variable);
	return 0;
}

struct context_rm_opts {
	bool force;
};
static const struct flag context_rm_flags[] = {
	FLAG(struct context_rm_opts, force, "force", 'f', "Force the removal of a context in use"),
	FLAG_END,
};

static int remove_one(const char *name, bool force, const char *current, struct cs_err **err)
{
	const char *in_config = config_str("currentContext");

	if (cs_streq(name, "default"))
		return cs_fail(err, CS_ERR_INVALID, 0, "context \"default\" cannot be removed");
	if (!force && !context_exists(name))
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "context \"%s\" does not exist", name);
	if (cs_streq(name, current) && !force)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "context \"%s\" is in use, set -f flag to force remove", name);
	if (cs_streq(name, in_config) && set_current("default", err) < 0)
		return -1;
	return context_remove(name, err);
}

static int cmd_rm(struct call *c)
{
	const struct context_rm_opts *o = c->opts;
	cs_autofree char *current = cs_xstrdup(endpoint_context());
	int status = 0;

	for (char **name = c->args; *name; name++) {
		struct cs_err *err = NULL;
		if (remove_one(*name, o->force, current, &err) < 0)
			status = cli_error(err, 1);
		else
			printf("%s\n", *name);
	}
	return status;
}

/* ---- inspect, ls ---- */

struct context_inspect_opts {
	const char *format;
};
static const struct flag context_inspect_flags[] = {
	FLAG(struct context_inspect_opts, format, "format", 'f', HELP_FORMAT),
	FLAG_END,
};

static json_t *inspect(const char *name, struct cs_err **err)
{
	auto_context struct context c = {0};

	if (context_get(name, &c, err) < 0)
		return NULL;
	bool is_default = cs_streq(name, "default");
	cs_autofree char *meta = is_default ? NULL : context_dir(name, false, err), *tls = is_default ? NULL : context_dir(name, true, err);
	json_t *j = json_deep_copy(c.meta);
	if (!json_object_get(j, "Metadata"))
		(void)json_object_set_new(j, "Metadata", json_object());
	(void)json_object_set_new(j, "TLSMaterial", context_files(&c));
	(void)json_object_set_new(j, "Storage", json_pack("{s:s,s:s}", "MetadataPath", meta ? meta : "<IN MEMORY>", "TLSPath", tls ? tls : "<IN MEMORY>"));
	return j;
}

/* One context through a template, and a newline. The exit status after a message. */
static int format_one(struct tpl_arena *a, const struct tpl *t, const json_t *doc)
{
	cs_autostr struct cs_str out = CS_STR_INIT((size_t)16 << 20);
	cs_autofree char *text = json_dumps(doc, JSON_COMPACT);
	const struct tpl_options options = {0};
	const char *message;
	struct tpl_value raw;

	if (!tpl_parse_json(a, tpl_strn(a, text, strlen(text)), strlen(text), &raw, &message) ||
	    !tpl_execute(t, tpl_typed(a, schema_type("context.contextWithTLSListing"), raw), &options, a, &out, &message)) {
		printf("\n");
		/* docker tries the raw document next, which a struct has not got, and says it of that, too */
		return cli_fail(1, "template parsing error: %s", message);
	}
	printf("%s\n", out.buf ? out.buf : "");
	return 0;
}

static int cmd_inspect(struct call *c)
{
	const struct context_inspect_opts *o = c->opts;
	tpl_autoarena struct tpl_arena *a = tpl_arena_new();
	char *none[] = {cs_xstrdup(endpoint_context()), NULL}, **names = c->args[0] ? c->args : none;
	bool compact = cs_streq(o->format, "json");
	const char *message = NULL;
	struct tpl *t = cs_empty(o->format) || compact ? NULL : tpl_parse(a, o->format, &message);
	json_t *all = json_array();
	int status = message ? cli_fail(64, "template parsing error: %s", message) : 0;
	bool parsed = !status;

	for (; *names && parsed; names++) {
		struct cs_err *err = NULL;
		json_t *j = inspect(*names, &err);
		int bad = !j ? cli_error(err, 1) : t ? format_one(a, t, j) : 0;
		if (bad)
			status = bad;
		if (j)
			(void)json_array_append_new(all, j);
	}
	free(none[0]);
	if (parsed && !t) {
		cs_autofree char *text = json_text(all, compact ? 0 : 4);
		printf("%s\n", text);
	}
	json_decref(all);
	return status;
}

struct context_ls_opts {
	bool quiet;
	const char *format;
};
static const struct flag context_ls_flags[] = {
	FLAG(struct context_ls_opts, format, "format", 0, HELP_FORMAT_TABLE),
	FLAG(struct context_ls_opts, quiet, "quiet", 'q', "Only show context names"),
	FLAG_END,
};

/* One row: what `ls` shows of a context. */
static json_t *ls_row(const char *name, bool current)
{
	auto_context struct context c = {0};
	struct cs_err *err = NULL;
	cs_autofree char *why = NULL;
	const char *about = cs_streq(name, "default") ? "Current DOCKER_HOST based configuration" : "";

	if (context_get(name, &c, &err) < 0) {
		why = cs_err_text(err);
		cs_err_free(err);
	}
	const char *d = jstr(json_object_get(c.meta, "Metadata"), "Description");
	return json_pack("{s:b,s:s,s:s,s:s,s:s}", "Current", current, "Description", *d ? d : about, "DockerEndpoint", c.host ? c.host : "", "Error", why ? why : "", "Name", name);
}

static json_t *ls_rows(void)
{
	cs_autostrv char **names = context_names();
	cs_autofree char *current = cs_xstrdup(endpoint_context());
	json_t *rows = json_array();

	cs_strv_push(&names, "default");
	if (!cs_strv_has(names, current))
		cs_strv_push(&names, current);
	cs_strv_sort(names);
	for (char **n = names; *n; n++)
		(void)json_array_append_new(rows, ls_row(*n, cs_streq(*n, current)));
	return rows;
}

METHOD(ctx_current) { return tpl_bool_value(json_is_true(json_object_get(((struct row *)self)->j, "Current"))); }
METHOD(ctx_description) { return text_value(jstr(((struct row *)self)->j, "Description")); }
METHOD(ctx_endpoint) { return text_value(jstr(((struct row *)self)->j, "DockerEndpoint")); }
METHOD(ctx_error) { return text_value(ellipsis(a, jstr(((struct row *)self)->j, "Error"), 45)); }
METHOD(ctx_name) { return text_value(jstr(((struct row *)self)->j, "Name")); }
static const struct tpl_method context_methods[] = {
	{"Current", ctx_current}, {"Description", ctx_description}, {"DockerEndpoint", ctx_endpoint}, {"Error", ctx_error}, {"Name", ctx_name}, {NULL}};
static const struct tpl_class context_class = {"*formatter.clientContextContext", context_methods};
static const char *const context_headers[] = {"Name", "NAME", "Description", "DESCRIPTION", "DockerEndpoint", "DOCKER ENDPOINT", "Error", "ERROR", NULL};

static int cmd_ls(struct call *c)
{
	const struct context_ls_opts *o = c->opts;
	const char *variable = endpoint_host_variable();
	const char *format = o->format ? o->format : "table";
	json_t *rows = ls_rows(), *row;
	struct list l;
	size_t i;

	if (list_is_default(format))
		format = o->quiet ? "{{.Name}}" : "table {{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}";
	list_begin(&l, format);
	json_array_foreach(rows, i, row) list_row(&l, &context_class, &(struct row){row, true});
	int status = list_end(&l, context_headers);
	json_decref(rows);
	if (variable) {
		(void)fflush(stdout);
		fprintf(stderr, "Warning: %s environment variable overrides the active context. To use a context, either set the global --context flag, or unset %s environment variable.\n",
			variable, variable);
	}
	return status;
}

#define ENDPOINT_HELP                                                                                                                                  \
	"Docker endpoint config:\n\nNAME                DESCRIPTION\nfrom                Copy named context's Docker endpoint configuration\n"                 \
	"host                Docker endpoint on which to connect\nca                  Trust certs signed only by this CA\n"                                  \
	"cert                Path to TLS certificate file\nkey                 Path to TLS key file\nskip-tls-verify     Skip TLS certificate validation\n\n"  \
	"Example:\n\n$ caisson context "

/* clang-format off */
const struct command context_commands[] = {
	{.names = "context create", .usage = "[OPTIONS] CONTEXT", .help = "Create a context", .about = "Create a context\n\n" ENDPOINT_HELP "create my-context --description \"some description\" --docker \"host=tcp://myserver:2376,ca=~/ca-file,cert=~/cert-file,key=~/key-file\"",
	 .min = 1, .max = 1, CMD_OPTS(struct context_create_opts, context_create_flags), .run = cmd_create},
	{.names = "context export", .usage = "[OPTIONS] CONTEXT [FILE|-]", .help = "Export a context to a tar archive FILE or a tar stream on STDOUT.",
	 .min = 1, .max = 2, .complete = COMP_CONTEXT, .run = context_export},
	{.names = "context import", .usage = "CONTEXT FILE|-", .help = "Import a context from a tar or zip file",
	 .min = 2, .max = 2, .complete = COMP_FILES, .run = context_import},
	{.names = "context inspect", .usage = "[OPTIONS] [CONTEXT] [CONTEXT...]", .help = "Display detailed information on one or more contexts",
	 .min = 0, .max = ANY, .complete = COMP_CONTEXT, CMD_OPTS(struct context_inspect_opts, context_inspect_flags), .run = cmd_inspect},
	{.names = "context ls|context list", .usage = "[OPTIONS]", .help = "List contexts",
	 .min = 0, .max = 0, CMD_OPTS(struct context_ls_opts, context_ls_flags), .run = cmd_ls},
	{.names = "context rm|context remove", .usage = "CONTEXT [CONTEXT...]", .help = "Remove one or more contexts",
	 .min = 1, .max = ANY, .complete = COMP_CONTEXT, CMD_OPTS(struct context_rm_opts, context_rm_flags), .run = cmd_rm},
	{.names = "context show", .usage = "", .help = "Print the name of the current context",
	 .min = 0, .max = 0, .run = cmd_show},
	{.names = "context update", .usage = "[OPTIONS] CONTEXT", .help = "Update a context", .about = "Update a context\n\n" ENDPOINT_HELP "update my-context --description \"some description\" --docker \"host=tcp://myserver:2376,ca=~/ca-file,cert=~/cert-file,key=~/key-file\"",
	 .min = 1, .max = 1, .complete = COMP_CONTEXT, CMD_OPTS(struct context_update_opts, context_update_flags), .run = cmd_update},
	{.names = "context use", .usage = "CONTEXT", .help = "Set the current docker context",
	 .min = 1, .max = 1, .complete = COMP_CONTEXT, .run = cmd_use},
	CMD_END,
};
