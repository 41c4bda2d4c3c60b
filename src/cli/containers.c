/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands on existing containers. Commands on several objects go on after an error and exit 1. */
#include "base/time.h"
#include "cli/cli.h"
#include "cli/stream.h"

/* POST/DELETE on each operand; prints the operand as typed. query starts with '?' or is "". */
static int each(char *const *operands, const char *method, const char *action, const char *query)
{
	int status = 0;

	for (; *operands; operands++) {
		struct cs_err *err = NULL;
		cs_autofree char *name = url_encode(*operands), *path = cs_xasprintf("/containers/%s%s%s", name, action, query);
		if (client_json(method, path, NULL, NULL, &err) < 0)
			status = cli_error(err, 1);
		else
			printf("%s\n", *operands);
	}
	return status;
}

struct stop_opts {
	const char *signal;
	int64_t timeout;
};
static const struct flag stop_flags[] = {
	FLAG(struct stop_opts, signal, "signal", 's', "Signal to send to the container"),
	FLAG(struct stop_opts, timeout, "timeout", 't', "Seconds to wait before killing the container"),
	FLAG(struct stop_opts, timeout, "time", 0, "Seconds to wait before killing the container", .deprecated = "use --timeout instead"),
	FLAG_END,
};

static int stop_or_restart(struct call *c, const char *action)
{
	const struct stop_opts *o = c->opts;
	cs_autofree char *t = flag_given(c, &o->timeout) ? cs_xasprintf("t=%lld&", (long long)o->timeout) : cs_xstrdup("");
	cs_autofree char *q = cs_xasprintf("?%s%s%s", t, o->signal ? "signal=" : "", o->signal ? o->signal : "");
	return each(c->args, "POST", action, q);
}

static int cmd_stop(struct call *c) { return stop_or_restart(c, "/stop"); }
static int cmd_restart(struct call *c) { return stop_or_restart(c, "/restart"); }

struct kill_opts {
	const char *signal;
};
static const struct flag kill_flags[] = {
	FLAG(struct kill_opts, signal, "signal", 's', "Signal to send to the container"),
	FLAG_END,
};

static int cmd_kill(struct call *c)
{
	const struct kill_opts *o = c->opts;
	cs_autofree char *e = url_encode(o->signal ? o->signal : "KILL"), *q = cs_xasprintf("?signal=%s", e);
	return each(c->args, "POST", "/kill", q);
}

static int cmd_pause(struct call *c) { return each(c->args, "POST", "/pause", ""); }
static int cmd_unpause(struct call *c) { return each(c->args, "POST", "/unpause", ""); }

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
	cs_autofree char *q = cs_xasprintf("?force=%d&v=%d&link=%d", o->force, o->volumes, o->link);
	return each(c->args, "DELETE", "", q);
}

static int cmd_wait(struct call *call)
{
	char **operands = call->args;
	int status = 0;

	for (; *operands; operands++) {
		struct cs_err *err = NULL;
		json_t *j = NULL;
		cs_autofree char *name = url_encode(*operands), *path = cs_xasprintf("/containers/%s/wait", name);
		if (client_json("POST", path, NULL, &j, &err) < 0)
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
	char **operands = call->args;
	auto_reply struct reply r = REPLY_INIT;
	struct cs_err *err = NULL;
	json_t *j = NULL;

	cs_autofree char *name = url_encode(operands[0]), *ipath = cs_xasprintf("/containers/%s/json", name);
	if (client_json("GET", ipath, NULL, &j, &err) < 0)
		return cli_error(err, 1);
	bool tty = json_is_true(json_object_get(json_object_get(j, "Config"), "Tty"));
	json_decref(j);
	/* the API takes times, not durations ago */
	int64_t times[2] = {0, 0};
	const char *const given[2] = {o->since, o->until};
	for (size_t i = 0; i < 2; i++)
		if (given[i] && !cs_time_parse_param(given[i], cs_now_ns(), &times[i]))
			return cli_fail(1, "invalid value for \"%s\": %s", i ? "until" : "since", given[i]);
	cs_autofree char *tail_enc = url_encode(o->tail);
	cs_autofree char *path =
		cs_xasprintf("/containers/%s/logs?stdout=1&stderr=1&follow=%d&timestamps=%d&details=%d&tail=%s&since=%lld.%09lld&until=%lld.%09lld", name, o->follow,
			     o->timestamps, o->details, tail_enc, (long long)(times[0] / CS_NS_PER_SEC), (long long)(times[0] % CS_NS_PER_SEC),
			     (long long)(times[1] / CS_NS_PER_SEC), (long long)(times[1] % CS_NS_PER_SEC));
	if (client_open("GET", path, NULL, 0, false, &r, &err) < 0 || stream_copy(&r, tty, &err) < 0)
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
