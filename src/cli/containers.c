/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands on existing containers. Commands on several objects go on after an error and exit 1. */
#include "cli/list.h"
#include "cli/session.h"
#include "cli/stream.h"

/* As many requests as docker has under way at a time. */
#define AT_ONCE 50

static void drain(struct reply *r)
{
	char buf[1024];

	while (reply_read(r, buf, sizeof(buf), NULL) > 0)
		continue;
}

/* Requests on all operands, `width` at a time; prints each operand as typed when it is done, and errors, in the operands' order. query starts with '?' or
 * is "". `forgive`: not to find one is no failure, only said. */
static int each(char *const *operands, const char *method, const char *action, const char *query, size_t width, bool forgive)
{
	bool alone = width == 1 || !operands[1];
	int status = 0;

	while (*operands) {
		struct reply r[AT_ONCE];
		struct cs_err *err[AT_ONCE] = {0};
		size_t n = 0;

		for (; operands[n] && n < width; n++) {
			cs_autofree char *base = container_path(operands[n], &err[n]), *path = cs_xasprintf("%s%s%s", base ? base : "", action, query);
			r[n] = (struct reply)REPLY_INIT;
			if (!base && *method == 'D') { /* docker has words of its own there */
				cs_err_free(TAKE_PTR(err[n]));
				(void)cs_fail(&err[n], CS_ERR_INVALID, 0, "container name cannot be empty");
			}
			if (base && alone) /* negotiates by itself, without a question more */
				(void)!client_open(method, path, NULL, 0, false, &r[n], &err[n]);
			else if (base)
				(void)!client_send(method, path, &r[n], &err[n]);
		}
		for (size_t i = 0; i < n; i++) {
			if (!err[i] && (alone || client_answer(&r[i], &err[i]) == 0)) {
				drain(&r[i]);
				printf("%s\n", operands[i]);
				(void)fflush(stdout);
			} else {
				int code = forgive && cs_err_code(err[i]) == CS_ERR_NOT_FOUND ? 0 : 1;
				status |= cli_error(err[i], code);
			}
			reply_done(&r[i]);
		}
		operands += n;
	}
	return status;
}

struct stop_opts {
	const char *signal;
	int64_t timeout;
};
static const struct flag stop_flags[] = {
	FLAG(struct stop_opts, signal, "signal", 's', "Signal to send to the container", .values = VALUES_SIGNALS),
	FLAG(struct stop_opts, timeout, "timeout", 't', "Seconds to wait before killing the container"),
	FLAG(struct stop_opts, timeout, "time", 0, "Seconds to wait before killing the container", .deprecated = "use --timeout instead"),
	FLAG_END,
};

static int stop_or_restart(struct call *c, const char *action, size_t width)
{
	const struct stop_opts *o = c->opts;
	bool given[2] = {false, false}; /* one member, two names: --timeout and what it was called before */

	for (size_t i = 0, k = 0; stop_flags[i].name; i++)
		if (stop_flags[i].off == offsetof(struct stop_opts, timeout))
			given[k++] = c->given[i];
	if (given[0] && given[1])
		return cli_fail(1, "conflicting options: cannot specify both --timeout and --time");
	cs_autofree char *sig = url_encode(o->signal), *q = flag_given(c, &o->timeout) ? cs_xasprintf("?t=%lld", (long long)o->timeout) : cs_xstrdup("");
	cs_autofree char *both = cs_xasprintf("%s%s%s", q, *sig ? (*q ? "&signal=" : "?signal=") : "", sig);

	return each(c->args, "POST", action, both, width, false);
}

static int cmd_stop(struct call *c) { return stop_or_restart(c, "/stop", AT_ONCE); }
static int cmd_restart(struct call *c) { return stop_or_restart(c, "/restart", 1); }

struct kill_opts {
	const char *signal;
};
static const struct flag kill_flags[] = {
	FLAG(struct kill_opts, signal, "signal", 's', "Signal to send to the container", .values = VALUES_SIGNALS),
	FLAG_END,
};

static int cmd_kill(struct call *c)
{
	const struct kill_opts *o = c->opts;
	cs_autofree char *e = url_encode(o->signal), *q = cs_xasprintf("%s%s", *e ? "?signal=" : "", e);
	return each(c->args, "POST", "/kill", q, AT_ONCE, false);
}

static int cmd_pause(struct call *c) { return each(c->args, "POST", "/pause", "", AT_ONCE, false); }
static int cmd_unpause(struct call *c) { return each(c->args, "POST", "/unpause", "", AT_ONCE, false); }

struct rm_opts {
	bool force, link, volumes;
};
static const struct flag rm_flags[] = {
	FLAG(struct rm_opts, force, "force", 'f', "Force the removal of a running container (uses SIGKILL)"),
	FLAG(struct rm_opts, link, "link", 'l', "Remove the specified link"),
	FLAG(struct rm_opts, volumes, "volumes", 'v', "Remove anonymous volumes associated with the container"),
	FLAG_END,
};

static int cmd_rm(struct call *c)
{
	const struct rm_opts *o = c->opts;
	cs_autofree char *q = cs_xasprintf("%s%s%s", o->force ? "&force=1" : "", o->link ? "&link=1" : "", o->volumes ? "&v=1" : "");

	if (*q)
		*q = '?';
	return each(c->args, "DELETE", "", q, AT_ONCE, o->force);
}

static int cmd_wait(struct call *call)
{
	char **operands = call->args;
	int status = 0;

	for (; *operands; operands++) {
		struct cs_err *err = NULL;
		json_t *j = NULL;
		cs_autofree char *base = container_path(*operands, &err), *path = cs_xasprintf("%s/wait", base ? base : "");
		if (!base || client_json("POST", path, NULL, &j, &err) < 0)
			status = cli_error(err, 1);
		else
			printf("%lld\n", (long long)jint(j, "StatusCode"));
		json_decref(j);
	}
	return status;
}

struct logs_opts {
	bool details, follow, timestamps;
	const char *since, *tail, *until;
};
static const struct flag logs_flags[] = {
	FLAG(struct logs_opts, details, "details", 0, "Show extra details provided to logs"),
	FLAG(struct logs_opts, follow, "follow", 'f', "Follow log output"),
	FLAG(struct logs_opts, since, "since", 0, "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)"),
	FLAG(struct logs_opts, tail, "tail", 'n', "Number of lines to show from the end of the logs", .def = "all"),
	FLAG(struct logs_opts, timestamps, "timestamps", 't', "Show timestamps"),
	FLAG(struct logs_opts, until, "until", 0, "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)", .api = 135),
	FLAG_END,
};

static int cmd_logs(struct call *call)
{
	const struct logs_opts *o = call->opts;
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;
	json_t *j = NULL;

	cs_autofree char *base = container_path(call->args[0], &err), *ipath = cs_xasprintf("%s/json", base ? base : "");
	if (!base || client_json("GET", ipath, NULL, &j, &err) < 0)
		return cli_error(err, 1);
	bool tty = json_is_true(json_object_get(json_object_get(j, "Config"), "Tty"));
	cs_autofree char *id = url_encode(jstr(j, "Id")); /* the same container, whoever bears the name by then */
	json_decref(j);
	const char *const given[] = {o->since, o->until}, *const names[] = {"since", "until"};
	cs_autostr struct cs_str path = CS_STR_INIT(1 << 20);
	cs_autofree char *tail = url_encode(o->tail);
	cs_str_putf(&path, "/containers/%s/logs?stdout=1&stderr=1%s%s%s%s%s", id, o->follow ? "&follow=1" : "", o->timestamps ? "&timestamps=1" : "", o->details ? "&details=1" : "", *tail ? "&tail=" : "", tail);
	for (size_t i = 0; i < CS_ARRAY_SIZE(given); i++) {
		if (cs_empty(given[i]))
			continue;
		cs_autofree char *time = api_time(given[i], &err), *enc = url_encode(time);
		if (!time) {
			cs_autofree char *why = cs_err_text(err);
			cs_err_free(err);
			return cli_fail(1, "invalid value for \"%s\": %s", names[i], why);
		}
		cs_str_putf(&path, "&%s=%s", names[i], enc);
	}
	if (client_open("GET", path.buf, NULL, 0, false, &r, &err) < 0 || stream_copy(&r, tty, &err) < 0)
		return cli_error(err, 1);
	return 0;
}

const struct command container_commands[] = {
	{.names = "container stop|stop", .usage = "[OPTIONS] CONTAINER [CONTAINER...]", .help = "Stop one or more running containers",
	 .min = 1, .max = ANY, .complete = COMP_RUNNING, CMD_OPTS(struct stop_opts, stop_flags), .run = cmd_stop},
	{.names = "container restart|restart", .usage = "[OPTIONS] CONTAINER [CONTAINER...]", .help = "Restart one or more containers",
	 .min = 1, .max = ANY, .complete = COMP_CONTAINER, CMD_OPTS(struct stop_opts, stop_flags), .run = cmd_restart},
	{.names = "container kill|kill", .usage = "[OPTIONS] CONTAINER [CONTAINER...]", .help = "Kill one or more running containers",
	 .min = 1, .max = ANY, .complete = COMP_RUNNING, CMD_OPTS(struct kill_opts, kill_flags), .run = cmd_kill},
	{.names = "container rm|container remove|rm", .usage = "[OPTIONS] CONTAINER [CONTAINER...]", .help = "Remove one or more containers",
	 .min = 1, .max = ANY, .complete = COMP_CONTAINER, CMD_OPTS(struct rm_opts, rm_flags), .run = cmd_rm},
	{.names = "container pause|pause", .usage = "CONTAINER [CONTAINER...]", .help = "Pause all processes within one or more containers",
	 .min = 1, .max = ANY, .complete = COMP_RUNNING, .run = cmd_pause},
	{.names = "container unpause|unpause", .usage = "CONTAINER [CONTAINER...]", .help = "Unpause all processes within one or more containers",
	 .min = 1, .max = ANY, .complete = COMP_PAUSED, .run = cmd_unpause},
	{.names = "container wait|wait", .usage = "CONTAINER [CONTAINER...]", .help = "Block until one or more containers stop, then print their exit codes",
	 .min = 1, .max = ANY, .complete = COMP_CONTAINER, .run = cmd_wait},
	{.names = "container logs|logs", .usage = "[OPTIONS] CONTAINER", .help = "Fetch the logs of a container",
	 .min = 1, .max = 1, .complete = COMP_CONTAINER, CMD_OPTS(struct logs_opts, logs_flags), .run = cmd_logs},
	CMD_END,
};
