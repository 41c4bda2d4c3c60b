/* SPDX-License-Identifier: Apache-2.0
 *
 * attach, start and exec: the commands that hold a connection to a process in a container that is there. */
#include "base/json.h"
#include "base/strv.h"
#include "cli/cli.h"
#include "cli/create.h"
#include "cli/session.h"
#include "cli/stream.h"

static bool truth(const json_t *j, const char *key) { return json_is_true(json_object_get(j, key)); }

/* ---- attach, start -a ---- */

struct hold {
	const char *ref, *keys;
	bool in, proxy, start;
};

static int refuse_state(const json_t *state)
{
	if (!truth(state, "Running"))
		return cli_fail(1, "You cannot attach to a stopped container, start it first");
	if (truth(state, "Paused"))
		return cli_fail(1, "You cannot attach to a paused container, unpause it first");
	if (truth(state, "Restarting"))
		return cli_fail(1, "You cannot attach to a restarting container, wait until it is running");
	return 0;
}

static int attach_to(const struct hold *h)
{
	auto_reply struct reply att = REPLY_INIT, wait = REPLY_INIT;
	struct cs_err *err = NULL;
	cs_autojson json_t *info = NULL;
	cs_autofree char *keys = url_encode(session_detach_keys(h->keys)), *named = container_path(h->ref, &err);
	if (!named)
		return cli_error(err, 1);
	cs_autofree char *ipath = cs_xasprintf("%s/json", named), *early = cs_xasprintf("%s/wait", named);

	/* whoever runs is waited for before he is looked at, so that his exit code is not missed */
	if (!h->start && client_open("POST", early, NULL, 0, false, &wait, &err) < 0)
		return cli_error(err, 1);
	if (client_json("GET", ipath, NULL, &info, &err) < 0)
		return cli_error(err, 1);
	const json_t *cfg = json_object_get(info, "Config"), *state = json_object_get(info, "State");
	int status = h->start ? 0 : refuse_state(state);
	if (status)
		return status;
	/* by id from here on: the same container, whoever bears the name by then */
	cs_autofree char *base = container_path(jstr(info, "Id"), &err), *spath = cs_xasprintf("%s/start", base ? base : "");
	if (!base)
		return cli_error(err, 1);
	struct session s = {.base = base, .in = h->in && truth(cfg, "OpenStdin"), .tty = truth(cfg, "Tty"), .proxy = h->proxy && !truth(cfg, "Tty"), .keys = session_detach_keys(h->keys)};
	if (session_needs_terminal(s.in, s.tty))
		return cli_fail(1, "the input device is not a TTY");
	bool gone = truth(json_object_get(info, "HostConfig"), "AutoRemove");
	cs_autofree char *wpath = cs_xasprintf("%s/wait?condition=%s", base, gone ? "removed" : "next-exit");
	cs_autofree char *apath = cs_xasprintf("%s/attach?stream=1&stdin=%d&stdout=1&stderr=1%s%s", base, s.in, *keys ? "&detachKeys=" : "", keys);
	if (client_open("POST", apath, NULL, 0, true, &att, &err) < 0)
		return cli_error(err, 1);
	if (h->start && (client_open("POST", wpath, NULL, 0, false, &wait, &err) < 0 || client_json("POST", spath, NULL, NULL, &err) < 0))
		return cli_error(err, 1);
	unsigned rows, cols;
	if (!h->start && s.tty && stream_window(&rows, &cols)) /* only a size that changes makes what runs there draw its screen once more */
		session_resize(&s, rows + 1, cols + 1);
	if (session_pump(&s, &att, &err) < 0)
		return cli_error(err, 1);
	if (s.detached)
		return h->start ? 0 : cli_fail(1, "read escape sequence");
	int code = session_exit_code(&s, &wait, &err);
	return code < 0 ? cli_error(err, 1) : code;
}

struct attach_opts {
	bool no_stdin, sig_proxy;
	const char *detach_keys;
};
static const struct flag attach_flags[] = {
	FLAG(struct attach_opts, detach_keys, "detach-keys", 0, "Override the key sequence for detaching a container"),
	FLAG(struct attach_opts, no_stdin, "no-stdin", 0, "Do not attach STDIN"),
	FLAG(struct attach_opts, sig_proxy, "sig-proxy", 0, "Proxy all received signals to the process", .def = "true"),
	FLAG_END,
};

static int cmd_attach(struct call *c)
{
	const struct attach_opts *o = c->opts;

	return attach_to(&(struct hold){.ref = c->args[0], .keys = o->detach_keys, .in = !o->no_stdin, .proxy = o->sig_proxy});
}

struct start_opts {
	bool attach, interactive;
	const char *checkpoint, *checkpoint_dir, *detach_keys;
};
static const struct flag start_flags[] = {
	FLAG(struct start_opts, attach, "attach", 'a', "Attach STDOUT/STDERR and forward signals"),
	FLAG(struct start_opts, checkpoint, "checkpoint", 0, "Restore from this checkpoint", .refused = "checkpoints are not supported"),
	FLAG(struct start_opts, checkpoint_dir, "checkpoint-dir", 0, "Use a custom checkpoint storage directory", .refused = "checkpoints are not supported"),
	FLAG(struct start_opts, detach_keys, "detach-keys", 0, "Override the key sequence for detaching a container"),
	FLAG(struct start_opts, interactive, "interactive", 'i', "Attach container's STDIN"),
	FLAG_END,
};

static int cmd_start(struct call *c)
{
	const struct start_opts *o = c->opts;
	cs_autostr struct cs_str failed = CS_STR_INIT(1 << 20);
	bool fail = false;

	if (o->attach || o->interactive) {
		if (c->n_args > 1)
			return cli_fail(1, "you cannot start and attach multiple containers at once");
		return attach_to(&(struct hold){.ref = c->args[0], .keys = o->detach_keys, .in = o->interactive, .proxy = true, .start = true});
	}
	for (char **a = c->args; *a; a++) {
		struct cs_err *err = NULL;
		cs_autofree char *base = container_path(*a, &err), *path = cs_xasprintf("%s/start", base ? base : "");
		if (!base || client_json("POST", path, NULL, NULL, &err) < 0) {
			(void)cli_error(err, 1);
			cs_str_putf(&failed, "%s%s", fail ? ", " : "", *a);
			fail = true;
		} else {
			printf("%s\n", *a);
		}
	}
	return fail ? cli_fail(1, "Error: failed to start containers: %s", failed.buf) : 0;
}

/* ---- exec ---- */

struct exec_opts {
	bool detach, interactive, privileged, tty;
	const char *detach_keys, *user, *workdir;
	char **env, **env_file;
};
static const struct flag exec_flags[] = {
	FLAG(struct exec_opts, detach, "detach", 'd', "Detached mode: run command in the background"),
	FLAG(struct exec_opts, detach_keys, "detach-keys", 0, "Override the key sequence for detaching a container"),
	FLAG(struct exec_opts, env, "env", 'e', "Set environment variables", .type = "list", .check = check_env, .complete = COMP_ENV, .api = 125),
	FLAG(struct exec_opts, env_file, "env-file", 0, "Read in a file of environment variables", .api = 125),
	FLAG(struct exec_opts, interactive, "interactive", 'i', "Keep STDIN open even if not attached"),
	FLAG(struct exec_opts, privileged, "privileged", 0, "Give extended privileges to the command"),
	FLAG(struct exec_opts, tty, "tty", 't', "Allocate a pseudo-TTY"),
	FLAG(struct exec_opts, user, "user", 'u', "Username or UID (format: \"<name|uid>[:<group|gid>]\")"),
	FLAG(struct exec_opts, workdir, "workdir", 'w', "Working directory inside the container", .api = 135),
	FLAG_END,
};

static json_t *exec_body(const struct exec_opts *o, char *const *cmd, struct cs_err **err)
{
	cs_autostrv char **env = NULL;
	json_t *body = json_pack("{s:b,s:b,s:b,s:b,s:b,s:b}", "AttachStdin", o->interactive && !o->detach, "AttachStdout", !o->detach, "AttachStderr",
				 !o->detach, "Detach", o->detach, "Tty", o->tty, "Privileged", o->privileged);
	const struct {
		const char *key, *value;
	} texts[] = {{"User", o->user}, {"WorkingDir", o->workdir}, {"DetachKeys", session_detach_keys(o->detach_keys)}};
	json_t *argv = json_array(), *vars = json_array();

	for (; *cmd; cmd++)
		(void)json_array_append_new(argv, jtext(*cmd));
	(void)json_object_set_new(body, "Cmd", argv);
	(void)json_object_set_new(body, "Env", vars);
	for (size_t i = 0; i < CS_ARRAY_SIZE(texts); i++)
		if (!cs_empty(texts[i].value))
			jset(body, texts[i].key, texts[i].value);
	unsigned rows, cols;
	if (o->tty && stream_window(&rows, &cols))
		(void)json_object_set_new(body, "ConsoleSize", json_pack("[i,i]", (int)rows, (int)cols));
	if (create_env(o->env, o->env_file, &env, err) < 0) {
		json_decref(body);
		return NULL;
	}
	for (char **e = env; e && *e; e++)
		(void)json_array_append_new(vars, jtext(*e));
	return body;
}

static int cmd_exec(struct call *c)
{
	const struct exec_opts *o = c->opts;
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;
	cs_autojson json_t *created = NULL, *ended = NULL, *body = exec_body(o, c->args + 1, &err);

	if (!body)
		return cli_error(err, 1);
	if (!o->detach && session_needs_terminal(o->interactive, o->tty))
		return cli_fail(1, "the input device is not a TTY");
	cs_autofree char *of = container_path(c->args[0], &err), *path = cs_xasprintf("%s/exec", of ? of : "");
	if (!of || client_json("POST", path, body, &created, &err) < 0)
		return cli_error(err, 1);
	cs_autofree char *base = cs_xasprintf("/exec/%s", jstr(created, "Id")), *spath = cs_xasprintf("%s/start", base), *ipath = cs_xasprintf("%s/json", base);
	unsigned rows, cols;
	bool window = o->tty && stream_window(&rows, &cols);
	cs_autofree char *size = window ? cs_xasprintf(",\"ConsoleSize\":[%u,%u]", rows, cols) : cs_xstrdup("");
	cs_autofree char *start = cs_xasprintf("{\"Detach\":%s,\"Tty\":%s%s}", o->detach ? "true" : "false", o->tty ? "true" : "false", size);
	if (client_open("POST", spath, start, strlen(start), !o->detach, &r, &err) < 0) {
		int status = session_start_status(err);
		return cli_error(err, status == 125 || o->detach ? 1 : status); /* -d: docker does not look for the process' own code */
	}
	if (o->detach)
		return 0;
	struct session s = {.base = base, .in = o->interactive, .tty = o->tty, .keys = session_detach_keys(o->detach_keys)};
	if (session_pump(&s, &r, &err) < 0)
		return cli_error(err, 1);
	if (s.detached)
		return cli_fail(1, "read escape sequence");
	if (client_json("GET", ipath, NULL, &ended, &err) < 0)
		return cli_error(err, 1);
	return (int)jint(ended, "ExitCode");
}

const struct command attach_commands[] = {
	{.names = "container start|start", .usage = "[OPTIONS] CONTAINER [CONTAINER...]", .help = "Start one or more stopped containers",
	 .min = 1, .max = ANY, .complete = COMP_STOPPED, CMD_OPTS(struct start_opts, start_flags), .run = cmd_start},
	{.names = "container exec|exec", .usage = "[OPTIONS] CONTAINER COMMAND [ARG...]", .help = "Execute a command in a running container",
	 .min = 2, .max = ANY, .flags = CMD_STOP, .complete = COMP_RUNNING_THEN_NONE, CMD_OPTS(struct exec_opts, exec_flags), .run = cmd_exec},
	{.names = "container attach|attach", .usage = "[OPTIONS] CONTAINER", .help = "Attach local standard input, output, and error streams to a running container",
	 .min = 1, .max = 1, .complete = COMP_RUNNING_THEN_NONE, CMD_OPTS(struct attach_opts, attach_flags), .run = cmd_attach},
	CMD_END,
};
