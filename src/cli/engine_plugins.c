/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson plugin enable, disable, rm, set, push: the engine's managed plugins. Caissond has none and says so; dockerd may. */
#include "cli/auth.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "registry/reference.h"

/* A request without an answer worth showing. path is taken. */
static int ask(const char *method, char *path, json_t *body, struct cs_err **err)
{
	int r = client_json(method, path, body, NULL, err);

	free(path);
	json_decref(body);
	return r < 0 ? -1 : 0;
}

static char *path_of(const char *name, const char *rest)
{
	cs_autofree char *n = url_encode(name);
	return cs_xasprintf("/plugins/%s%s", n, rest);
}

struct enable_opts {
	int64_t timeout;
};
static const struct flag enable_flags[] = {
	FLAG(struct enable_opts, timeout, "timeout", 0, "HTTP client timeout (in seconds)", .def = "30"),
	FLAG_END,
};

static int cmd_enable(struct call *c)
{
	const struct enable_opts *o = c->opts;
	cs_autofree char *rest = cs_xasprintf("/enable?timeout=%lld", (long long)o->timeout);
	struct cs_err *err = NULL;

	if (o->timeout < 0)
		return cli_fail(1, "negative timeout %lld is invalid", (long long)o->timeout);
	if (ask("POST", path_of(c->args[0], rest), NULL, &err) < 0)
		return cli_error(err, 1);
	printf("%s\n", c->args[0]);
	return 0;
}

struct force_opts {
	bool force;
};
static const struct flag disable_flags[] = {
	FLAG(struct force_opts, force, "force", 'f', "Force the disable of an active plugin"),
	FLAG_END,
};
static const struct flag rm_flags[] = {
	FLAG(struct force_opts, force, "force", 'f', "Force the removal of an active plugin"),
	FLAG_END,
};

static int cmd_disable(struct call *c)
{
	const struct force_opts *o = c->opts;
	struct cs_err *err = NULL;

	if (ask("POST", path_of(c->args[0], o->force ? "/disable?force=1" : "/disable"), NULL, &err) < 0)
		return cli_error(err, 1);
	printf("%s\n", c->args[0]);
	return 0;
}

static int cmd_rm(struct call *c)
{
	const struct force_opts *o = c->opts;
	int status = 0;

	for (size_t i = 0; i < c->n_args; i++) {
		struct cs_err *err = NULL;
		if (ask("DELETE", path_of(c->args[i], o->force ? "?force=1" : ""), NULL, &err) < 0)
			status = cli_error(err, 1);
		else
			printf("%s\n", c->args[i]);
	}
	return status;
}

static int cmd_set(struct call *c)
{
	json_t *body = json_array();
	struct cs_err *err = NULL;

	for (size_t i = 1; i < c->n_args; i++)
		(void)json_array_append_new(body, json_string(c->args[i]));
	return ask("POST", path_of(c->args[0], "/set"), body, &err) < 0 ? cli_error(err, 1) : 0;
}

struct push_opts {
	bool disable_content_trust;
};
static const struct flag push_flags[] = {
	FLAG(struct push_opts, disable_content_trust, "disable-content-trust", 0, "Skip image signing", .def = "true", .check = check_no_trust),
	FLAG_END,
};

static int cmd_push(struct call *c)
{
	auto_reply struct reply r = REPLY_INIT;
	cs_autoref struct cs_ref ref = {0};
	struct cs_err *err = NULL;

	if (cs_ref_parse(c->args[0], &ref, &err) < 0)
		return cli_error(err, 1);
	if (ref.digest)
		return cli_fail(1, "invalid name: %s", c->args[0]);
	cs_ref_default_tag(&ref);
	cs_autofree char *full = cs_ref_full(&ref), *name = cs_ref_familiar(&ref), *auth = auth_header(full), *path = path_of(name, "/push");
	client_registry_auth = auth;
	int opened = client_open("POST", path, NULL, 0, false, &r, &err);
	client_registry_auth = NULL;
	return opened < 0 ? cli_error(err, 1) : progress_show(&r, stdout, NULL);
}

const struct command plugin_commands[] = {
	{.names = "plugin disable", .usage = "[OPTIONS] PLUGIN", .help = "Disable a plugin", .min = 1, .max = 1, CMD_OPTS(struct force_opts, disable_flags), .run = cmd_disable},
	{.names = "plugin enable", .usage = "[OPTIONS] PLUGIN", .help = "Enable a plugin", .min = 1, .max = 1, CMD_OPTS(struct enable_opts, enable_flags), .run = cmd_enable},
	{.names = "plugin push", .usage = "[OPTIONS] PLUGIN[:TAG]", .help = "Push a plugin to a registry", .min = 1, .max = 1, CMD_OPTS(struct push_opts, push_flags), .run = cmd_push},
	{.names = "plugin rm|plugin remove", .usage = "[OPTIONS] PLUGIN [PLUGIN...]", .help = "Remove one or more plugins", .min = 1, .max = ANY,
	 CMD_OPTS(struct force_opts, rm_flags), .run = cmd_rm},
	{.names = "plugin set", .usage = "PLUGIN KEY=VALUE [KEY=VALUE...]", .help = "Change settings for a plugin", .min = 2, .max = ANY, .run = cmd_set},
	CMD_END,
};
