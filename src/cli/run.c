/* SPDX-License-Identifier: Apache-2.0
 *
 * run and create. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/json.h"
#include "base/strv.h"
#include "cli/api_socket.h"
#include "cli/cli.h"
#include "cli/create.h"
#include "cli/platform.h"
#include "cli/session.h"
#include "cli/stream.h"
#include "cli/transfer.h"
#include "registry/reference.h"

struct run {
	const struct call *call;
	const struct run_opts *o;
	unsigned attach;
	char *image, *platform; /* as the engine is asked: familiar name with tag; os/arch[/variant] or "" */
	int cid;                /* descriptor of --cidfile, until there is an id in it */
};

static void run_done(struct run *r)
{
	free(r->image);
	free(r->platform);
	if (r->cid >= 0) /* nothing was made: the next try must not meet the file */
		(void)unlink(r->o->cidfile);
	cs_close(r->cid);
}

/* Exit status of what goes wrong before there is a container: create says 1 and the bare sentence, run 125 with its name, or
 * 126 or 127 by the same words as later (docker's "permission denied" of a socket is 126). */
static int refuse(const struct run *r, struct cs_err *err)
{
	int status = r->call->cmd->flags & CMD_RUN_ERRORS ? session_start_status(err) : 1;
	return cli_error(err, status);
}

/* ---- what is looked at before the engine is asked ---- */

static const char *const windows_only[] = {"cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops"};

static int refuse_windows_flags(const struct call *c)
{
	int status = 0;

	for (size_t i = 0; c->cmd->options[i].name; i++)
		for (size_t k = 0; k < CS_ARRAY_SIZE(windows_only); k++)
			if (c->given[i] && cs_streq(c->cmd->options[i].name, windows_only[k])) {
				fprintf(stderr, "\"--%s\" is only supported on a Caisson daemon running on windows, but the Caisson daemon is running on linux\n", windows_only[k]);
				status = 1;
			}
	return status;
}

static int set_platform(struct run *r, struct cs_err **err)
{
	r->platform = platform_text(platform_given(r->o->platform), err);
	return r->platform ? 0 : cs_wrap(err, "error parsing specified platform");
}

static int set_image(struct run *r, const char *text, struct cs_err **err)
{
	cs_autoref struct cs_ref ref = {0};

	if (cs_ref_is_id(text)) {
		r->image = cs_xstrdup(text);
		return 0;
	}
	if (cs_ref_parse(text, &ref, err) < 0)
		return -1;
	cs_ref_default_tag(&ref);
	r->image = cs_ref_familiar(&ref);
	return 0;
}

/* The file is made before the container, so that a name that is taken or cannot be written costs nothing. */
static int open_cidfile(struct run *r, struct cs_err **err)
{
	const char *path = r->o->cidfile;
	struct stat st;

	if (cs_empty(path))
		return 0;
	if (stat(path, &st) == 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "container ID file found, make sure the other container isn't running or delete %s", path);
	r->cid = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (r->cid < 0) {
		(void)create_open_failed(path, errno, err);
		return cs_wrap(err, "failed to create the container ID file");
	}
	return 0;
}

/* ---- create ---- */

static int pull(struct run *r)
{
	int status = transfer_pull(r->image, r->platform, r->o->quiet, stderr);
	return status && !(r->call->cmd->flags & CMD_RUN_ERRORS) ? 1 : status;
}

static int post_create(const struct run *r, json_t *body, json_t **answer, struct cs_err **err)
{
	cs_autofree char *name = url_encode(r->o->name), *platform = url_encode(r->platform);
	cs_autofree char *path = cs_xasprintf("/containers/create%s%s%s%s%s", *name || *platform ? "?" : "", *name ? "name=" : "", name,
					      *platform ? (*name ? "&platform=" : "platform=") : "", platform);

	return client_json("POST", path, body, answer, err);
}

/* The container's id (caller frees), or NULL with *status after a message. */
static char *create(struct run *r, int *status)
{
	struct cs_err *err = NULL;
	cs_autojson json_t *answer = NULL, *creds = NULL, *body = create_body(r->call, r->o, r->call->args, r->attach, &err);
	const char *when = r->o->pull;
	json_t *w;
	size_t i;

	*status = 0;
	if (!body) {
		*status = cli_parse_error(err);
		return NULL;
	}
	unsigned rows, cols; /* from the first byte on, where a resize after the start may come too late */
	if (r->o->tty && r->call->cmd->flags & CMD_RUN_ERRORS && stream_window(&rows, &cols))
		(void)json_object_set_new(json_object_get(body, "HostConfig"), "ConsoleSize", json_pack("[i,i]", (int)rows, (int)cols));
	if (!cs_streq(when, "always") && !cs_streq(when, "missing") && !cs_streq(when, "never") && !cs_empty(when)) {
		(void)cs_fail(&err, CS_ERR_INVALID, 0, "invalid pull option: '%s': must be one of \"always\", \"missing\" or \"never\"", when);
		*status = cli_parse_error(err);
		return NULL;
	}
	if (set_platform(r, &err) < 0 || set_image(r, r->call->args[0], &err) < 0 || open_cidfile(r, &err) < 0) {
		*status = refuse(r, err);
		return NULL;
	}
	if (r->o->use_api_socket && api_socket_add(body, &creds, &err) < 0) {
		*status = refuse(r, err);
		return NULL;
	}
	if (cs_streq(when, "always") && (*status = pull(r)))
		return NULL;
	int http = post_create(r, body, &answer, &err);
	if (http < 0 && cs_err_code(err) == CS_ERR_NOT_FOUND && cs_streq(when, "missing") && (strstr(err->msg, "No such image") || strstr(err->msg, "does not match the specified platform"))) {
		if (!r->o->quiet)
			fprintf(stderr, "Unable to find image '%s' locally\n", r->image);
		if ((*status = pull(r)))
			return NULL;
		cs_err_free(TAKE_PTR(err));
		http = post_create(r, body, &answer, &err);
	}
	if (http < 0) {
		*status = refuse(r, err);
		return NULL;
	}
	json_array_foreach(json_object_get(answer, "Warnings"), i, w) fprintf(stderr, "WARNING: %s\n", json_string_value(w));
	char *id = cs_xstrdup(jstr(answer, "Id"));
	if (creds && api_socket_put(id, creds, &err) < 0) {
		cs_wrap(&err, "injecting docker config.json into container failed");
		*status = refuse(r, err);
		free(id);
		return NULL;
	}
	int e = r->cid >= 0 ? cs_write_full(r->cid, id, strlen(id)) : 0;
	if (e < 0)
		fprintf(stderr, "failed to write the container ID to the file: %s\n", cs_errno_text(-e));
	cs_close(TAKE_FD(r->cid));
	return id;
}

static int prepare(struct run *r, struct call *c, bool detach)
{
	const struct run_opts *o = c->opts;
	int status = refuse_windows_flags(c);

	*r = (struct run){.call = c, .o = o, .cid = -EBADF};
	if (status)
		return status;
	if (flag_given(c, &o->kernel_memory))
		fprintf(stderr, "WARNING: --kernel-memory is deprecated and has no effect: no kernel has this limit any more\n");
	for (char **a = o->attach; a && *a; a++)
		r->attach |= strcmp(*a, "stdin") == 0 ? ATTACH_STDIN : strcmp(*a, "stdout") == 0 ? ATTACH_STDOUT : ATTACH_STDERR;
	if (detach && o->attach)
		return cli_plain(1, "conflicting options: cannot specify both --attach and --detach");
	if (!o->attach && !detach)
		r->attach = ATTACH_STDOUT | ATTACH_STDERR | (o->interactive ? ATTACH_STDIN : 0);
	return 0;
}

static int cmd_create(struct call *c)
{
	cs_auto(run_done) struct run r;
	int status = prepare(&r, c, false);
	cs_autofree char *id = status ? NULL : create(&r, &status);

	if (id)
		printf("%s\n", id);
	return status;
}

/* ---- run ---- */

static int run_detached(const char *id)
{
	cs_autofree char *path = cs_xasprintf("/containers/%s/start", id);
	struct cs_err *err = NULL;

	printf("%s\n", id);
	if (client_json("POST", path, NULL, NULL, &err) < 0) {
		int status = session_start_status(err);
		return cli_error(err, status);
	}
	return 0;
}

static int run_attached(const struct run *r, const char *id)
{
	const struct run_opts *o = r->o;
	auto_reply struct reply att = REPLY_INIT, wait = REPLY_INIT;
	cs_autofree char *keys = url_encode(session_detach_keys(o->detach_keys)), *base = cs_xasprintf("/containers/%s", id);
	bool in = r->attach & ATTACH_STDIN;
	cs_autofree char *apath = cs_xasprintf("%s/attach?stream=1&stdin=%d&stdout=%d&stderr=%d%s%s", base, in, !!(r->attach & ATTACH_STDOUT),
					       !!(r->attach & ATTACH_STDERR), *keys ? "&detachKeys=" : "", keys);
	cs_autofree char *wpath = cs_xasprintf("%s/wait?condition=%s", base, o->rm ? "removed" : "next-exit"), *spath = cs_xasprintf("%s/start", base);
	struct session s = {.base = base, .in = in, .tty = o->tty, .proxy = o->sig_proxy, .keys = session_detach_keys(o->detach_keys)};
	struct cs_err *err = NULL;

	if (client_open("POST", apath, NULL, 0, true, &att, &err) < 0 || client_open("POST", wpath, NULL, 0, false, &wait, &err) < 0)
		return refuse(r, err);
	if (client_json("POST", spath, NULL, NULL, &err) < 0) {
		int status = session_start_status(err);
		return cli_error(err, status);
	}
	if (session_pump(&s, &att, &err) < 0)
		return cli_error(err, 125);
	if (s.detached)
		return 0;
	int code = session_exit_code(&s, &wait, &err);
	return code < 0 ? cli_error(err, 125) : code;
}

static int cmd_run(struct call *c)
{
	const struct run_opts *o = c->opts;
	cs_auto(run_done) struct run r;
	int status = prepare(&r, c, o->detach);

	if (status)
		return status;
	if (session_needs_terminal(r.attach & ATTACH_STDIN, o->tty))
		return cli_plain(1, "the input device is not a TTY");
	cs_autofree char *id = create(&r, &status);
	if (!id)
		return status;
	return o->detach ? run_detached(id) : run_attached(&r, id);
}

const struct command run_commands[] = {
	{.names = "container run|run", .usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]", .help = "Create and run a new container from an image",
	 .min = 1, .max = ANY, .flags = CMD_STOP | CMD_RUN_ERRORS, .complete = COMP_IMAGE_THEN_NONE, CMD_OPTS(struct run_opts, run_flags), .run = cmd_run},
	{.names = "container create|create", .usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]", .help = "Create a new container",
	 .min = 1, .max = ANY, .flags = CMD_STOP, .complete = COMP_IMAGE_THEN_NONE, CMD_OPTS(struct run_opts, create_flags), .run = cmd_create},
	CMD_END,
};
