/* SPDX-License-Identifier: Apache-2.0
 *
 * run, create, start, attach, exec: the commands that set up a container or hold a connection to one. */
#include <signal.h>

#include "base/io.h"
#include "base/num.h"
#include "base/time.h"
#include "cli/cli.h"
#include "cli/run_opts.h"
#include "cli/stream.h"

#define NO_VALUE INT64_MIN

static json_t *list(char *const *v)
{
	json_t *a = json_array();
	for (; v && *v; v++)
		(void)json_array_append_new(a, json_string(*v));
	return a;
}

static void set_list(json_t *o, const char *key, char *const *v)
{
	if (v)
		(void)json_object_set_new(o, key, list(v));
}

static void set_str(json_t *o, const char *key, const char *v)
{
	if (v)
		(void)json_object_set_new(o, key, json_string(v));
}

static void set_int(json_t *o, const char *key, int64_t v)
{
	if (v != NO_VALUE)
		(void)json_object_set_new(o, key, json_integer(v));
}

/* "k=v" list to an object; a missing value is "". sep is the character between them. */
static void set_map(json_t *o, const char *key, char *const *v, char sep)
{
	if (!v)
		return;
	json_t *m = json_object();
	for (; *v; v++) {
		const char *eq = strchr(*v, sep);
		cs_autofree char *k = cs_xstrndup(*v, eq ? (size_t)(eq - *v) : strlen(*v));
		(void)json_object_set_new(m, k, json_string(eq ? eq + 1 : ""));
	}
	(void)json_object_set_new(o, key, m);
}

/* NAME alone takes the value of our own environment, and is left out when that has none. */
static int add_env(char ***env, const char *item)
{
	if (strchr(item, '=')) {
		cs_strv_push(env, item);
	} else {
		const char *val = getenv(item);
		if (val)
			cs_strv_take(env, cs_xasprintf("%s=%s", item, val));
	}
	return 0;
}

static int collect_env(const struct run_opts *o, char ***ret, struct cs_err **err)
{
	for (char **f = o->env_file; f && *f; f++) {
		cs_autostr struct cs_str text = CS_STR_INIT(1 << 20);
		int e = cs_read_file_at(-100 /* AT_FDCWD */, *f, &text);
		if (e < 0)
			return cs_fail(err, CS_ERR_INVALID, -e, "read %s", *f);
		cs_autostrv char **lines = cs_strv_split(text.buf ? text.buf : "", '\n');
		for (char **l = lines; *l; l++)
			if (**l && **l != '#')
				(void)add_env(ret, *l);
	}
	for (char **e = o->env; e && *e; e++)
		(void)add_env(ret, *e);
	return 0;
}

static int set_ulimits(json_t *host, char *const *v, struct cs_err **err)
{
	json_t *a = json_array();

	(void)json_object_set_new(host, "Ulimits", a);
	for (; v && *v; v++) {
		int64_t soft, hard;
		const char *eq = strchr(*v, '='), *colon = eq ? strchr(eq, ':') : NULL;
		cs_autofree char *s = eq ? cs_xstrndup(eq + 1, colon ? (size_t)(colon - eq - 1) : strlen(eq + 1)) : NULL;
		if (!eq || !cs_parse_i64(s, -1, INT64_MAX, &soft))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid ulimit: %s (want name=soft[:hard])", *v);
		hard = soft;
		if (colon && !cs_parse_i64(colon + 1, -1, INT64_MAX, &hard))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid ulimit: %s", *v);
		cs_autofree char *name = cs_xstrndup(*v, (size_t)(eq - *v));
		(void)json_array_append_new(a, json_pack("{s:s,s:I,s:I}", "Name", name, "Soft", (json_int_t)soft, "Hard", (json_int_t)hard));
	}
	return 0;
}

static void set_devices(json_t *host, char *const *v)
{
	json_t *a = json_array();

	(void)json_object_set_new(host, "Devices", a);
	for (; v && *v; v++) {
		cs_autostrv char **part = cs_strv_split(*v, ':');
		const char *in = part[1] ? part[1] : part[0], *perm = part[1] && part[2] ? part[2] : "rwm";
		(void)json_array_append_new(a, json_pack("{s:s,s:s,s:s}", "PathOnHost", part[0], "PathInContainer", in, "CgroupPermissions", perm));
	}
}

static int set_mounts(json_t *host, char *const *v, struct cs_err **err)
{
	json_t *a = json_array();

	(void)json_object_set_new(host, "Mounts", a);
	for (; v && *v; v++) {
		cs_autostrv char **part = cs_strv_split(*v, ',');
		json_t *m = json_pack("{s:s}", "Type", "volume");
		(void)json_array_append_new(a, m);
		for (char **p = part; *p; p++) {
			char *eq = strchr(*p, '=');
			const char *val = eq ? eq + 1 : "true";
			if (eq)
				*eq = 0;
			if (cs_streq(*p, "type"))
				set_str(m, "Type", val);
			else if (cs_streq(*p, "source") || cs_streq(*p, "src"))
				set_str(m, "Source", val);
			else if (cs_streq(*p, "target") || cs_streq(*p, "dst") || cs_streq(*p, "destination"))
				set_str(m, "Target", val);
			else if (cs_streq(*p, "readonly") || cs_streq(*p, "ro"))
				(void)json_object_set_new(m, "ReadOnly", json_boolean(cs_streq(val, "true") || cs_streq(val, "1")));
			else if (cs_streq(*p, "bind-propagation"))
				(void)json_object_set_new(m, "BindOptions", json_pack("{s:s}", "Propagation", val));
			else
				return cs_fail(err, CS_ERR_INVALID, 0, "invalid argument \"%s\" for \"--mount\": unexpected key '%s'", *v, *p);
		}
	}
	return 0;
}

/* name[:max] */
static int set_restart(json_t *host, const char *policy, struct cs_err **err)
{
	const char *colon = policy ? strchr(policy, ':') : NULL;
	int64_t max = 0;

	if (!policy)
		return 0;
	if (colon && !cs_parse_i64(colon + 1, 0, INT32_MAX, &max))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid restart policy format: maximum retry count must be an integer");
	cs_autofree char *name = cs_xstrndup(policy, colon ? (size_t)(colon - policy) : strlen(policy));
	(void)json_object_set_new(host, "RestartPolicy", json_pack("{s:s,s:I}", "Name", name, "MaximumRetryCount", (json_int_t)max));
	return 0;
}

static int set_health(json_t *cfg, const struct run_opts *o, struct cs_err **err)
{
	if (o->no_healthcheck) {
		(void)json_object_set_new(cfg, "Healthcheck", json_pack("{s:[s]}", "Test", "NONE"));
		return 0;
	}
	json_t *h = json_object();
	if (o->health_cmd)
		(void)json_object_set_new(h, "Test", json_pack("[s,s]", "CMD-SHELL", o->health_cmd));
	set_int(h, "Interval", o->health_interval);
	set_int(h, "Timeout", o->health_timeout);
	set_int(h, "StartPeriod", o->health_start_period);
	set_int(h, "StartInterval", o->health_start_interval);
	set_int(h, "Retries", o->health_retries);
	if (json_object_size(h))
		(void)json_object_set(cfg, "Healthcheck", h);
	json_decref(h);
	return 0;
}

static int set_ports(json_t *cfg, json_t *host, const struct run_opts *o)
{
	json_t *exposed = json_object(), *bindings = json_object();

	for (char **p = o->expose; p && *p; p++) {
		cs_autofree char *key = strchr(*p, '/') ? cs_xstrdup(*p) : cs_xasprintf("%s/tcp", *p);
		(void)json_object_set_new(exposed, key, json_object());
	}
	for (char **p = o->publish; p && *p; p++) {
		/* [[ip:]hostPort:]containerPort[/proto] */
		cs_autofree char *spec = cs_xstrdup(*p);
		char *last = strrchr(spec, ':'), *port = last ? last + 1 : spec;
		cs_autofree char *key = strchr(port, '/') ? cs_xstrdup(port) : cs_xasprintf("%s/tcp", port);
		const char *ip = "", *hp = "";
		if (last) {
			*last = 0;
			char *mid = strrchr(spec, ':');
			if (mid)
				*mid = 0;
			ip = mid ? spec : "";
			hp = mid ? mid + 1 : spec;
		}
		json_t *l = json_object_get(bindings, key);
		if (!l) {
			l = json_array();
			(void)json_object_set_new(bindings, key, l);
		}
		(void)json_array_append_new(l, json_pack("{s:s,s:s}", "HostIp", ip, "HostPort", hp));
		(void)json_object_set_new(exposed, key, json_object());
	}
	(void)json_object_set_new(cfg, "ExposedPorts", exposed);
	(void)json_object_set_new(host, "PortBindings", bindings);
	return 0;
}

static bool attached(const struct run_opts *o, const char *stream)
{
	if (!o->attach)
		return !o->detach;
	for (char **a = o->attach; *a; a++)
		if (strcasecmp(*a, stream) == 0)
			return true;
	return false;
}

static json_t *create_body(const struct run_opts *o, char *const *operands, struct cs_err **err)
{
	json_t *cfg = json_object(), *host = json_object();
	cs_autostrv char **env = NULL;
	bool in = o->interactive && (o->attach ? attached(o, "stdin") : true);

	(void)json_object_set_new(cfg, "HostConfig", host);
	set_str(cfg, "Image", operands[0]);
	if (operands[1])
		set_list(cfg, "Cmd", operands + 1);
	if (o->entrypoint)
		(void)json_object_set_new(cfg, "Entrypoint", *o->entrypoint ? json_pack("[s]", o->entrypoint) : json_pack("[s]", ""));
	const struct {
		const char *key;
		bool value;
	} flags[] = {{"Tty", o->tty}, {"OpenStdin", o->interactive}, {"StdinOnce", in && !o->detach}, {"AttachStdin", in && attached(o, "stdin")},
		     {"AttachStdout", attached(o, "stdout")}, {"AttachStderr", attached(o, "stderr")}};
	for (size_t i = 0; i < CS_ARRAY_SIZE(flags); i++)
		(void)json_object_set_new(cfg, flags[i].key, json_boolean(flags[i].value));
	if (collect_env(o, &env, err) < 0 || set_health(cfg, o, err) < 0 || set_restart(host, o->restart, err) < 0 ||
	    set_ulimits(host, o->ulimit, err) < 0 || set_mounts(host, o->mount, err) < 0 || set_ports(cfg, host, o) < 0) {
		json_decref(cfg);
		return NULL;
	}
	set_list(cfg, "Env", env);
	set_str(cfg, "WorkingDir", o->workdir);
	set_str(cfg, "User", o->user);
	set_str(cfg, "Hostname", o->hostname);
	set_str(cfg, "Domainname", o->domainname);
	set_str(cfg, "StopSignal", o->stop_signal);
	set_int(cfg, "StopTimeout", o->stop_timeout);
	set_map(cfg, "Labels", o->label, '=');
	set_list(host, "Binds", o->volume);
	set_map(host, "Tmpfs", o->tmpfs, ':');
	set_list(host, "CapAdd", o->cap_add);
	set_list(host, "CapDrop", o->cap_drop);
	set_list(host, "SecurityOpt", o->security_opt);
	set_list(host, "GroupAdd", o->group_add);
	set_list(host, "Dns", o->dns);
	set_list(host, "ExtraHosts", o->add_host);
	set_list(host, "VolumesFrom", o->volumes_from);
	set_map(host, "Sysctls", o->sysctl, '=');
	set_devices(host, o->device);
	set_str(host, "NetworkMode", o->network ? o->network[0] : "default");
	set_str(host, "PidMode", o->pid);
	set_str(host, "IpcMode", o->ipc);
	set_str(host, "UTSMode", o->uts);
	set_str(host, "CgroupnsMode", o->cgroupns);
	set_str(host, "CpusetCpus", o->cpuset_cpus);
	set_str(host, "Isolation", o->isolation);
	set_int(host, "Memory", o->memory);
	set_int(host, "MemorySwap", o->memory_swap);
	set_int(host, "MemoryReservation", o->memory_reservation);
	set_int(host, "CpuShares", o->cpu_shares);
	set_int(host, "PidsLimit", o->pids_limit);
	set_int(host, "ShmSize", o->shm_size);
	set_int(host, "OomScoreAdj", o->oom_score_adj);
	set_int(host, "BlkioWeight", o->blkio_weight);
	set_int(host, "NanoCpus", o->cpus);
	const struct {
		const char *key;
		bool value;
	} hflags[] = {{"AutoRemove", o->rm}, {"Privileged", o->privileged}, {"ReadonlyRootfs", o->read_only}, {"OomKillDisable", o->oom_kill_disable}};
	for (size_t i = 0; i < CS_ARRAY_SIZE(hflags); i++)
		if (hflags[i].value)
			(void)json_object_set_new(host, hflags[i].key, json_true());
	if (o->init)
		(void)json_object_set_new(host, "Init", json_true());
	if (o->log_driver || o->log_opt) {
		json_t *log = json_object();
		set_str(log, "Type", o->log_driver ? o->log_driver : "");
		set_map(log, "Config", o->log_opt, '=');
		(void)json_object_set_new(host, "LogConfig", log);
	}
	return cfg;
}

/* Returns the id (caller frees) or NULL; warnings go to stderr. */
static char *create(const struct run_opts *o, char *const *operands, struct cs_err **err)
{
	cs_autofree char *query = o->name ? url_encode(o->name) : cs_xstrdup("");
	cs_autofree char *path = cs_xasprintf("/containers/create%s%s", o->name ? "?name=" : "", query);
	json_t *body = create_body(o, operands, err), *answer = NULL, *w;
	size_t i;

	if (!body)
		return NULL;
	int status = client_json("POST", path, body, &answer, err);
	json_decref(body);
	if (status < 0)
		return NULL;
	json_array_foreach(json_object_get(answer, "Warnings"), i, w) fprintf(stderr, "WARNING: %s\n", json_string_value(w));
	char *id = cs_xstrdup(jstr(answer, "Id"));
	json_decref(answer);
	if (o->cidfile) {
		int e = cs_replace_file_at(-100, o->cidfile, id, strlen(id), 0644, false);
		if (e < 0)
			fprintf(stderr, "caisson: write %s: %s\n", o->cidfile, cs_errno_text(-e));
	}
	return id;
}

struct session {
	const char *id;
	const char *resize_path; /* "/containers/ID" or "/exec/ID" */
};

static void session_resize(void *ctx, unsigned rows, unsigned cols)
{
	const struct session *s = ctx;
	cs_autofree char *path = cs_xasprintf("%s/resize?h=%u&w=%u", s->resize_path, rows, cols);
	(void)client_json("POST", path, NULL, NULL, NULL); /* the process may have ended meanwhile */
}

static void session_signal(void *ctx, int sig)
{
	const struct session *s = ctx;
	cs_autofree char *path = cs_xasprintf("/containers/%s/kill?signal=%d", s->id, sig);
	(void)client_json("POST", path, NULL, NULL, NULL);
}

/* Exit status of `run` for an error of start. */
static int start_status(const struct cs_err *err)
{
	cs_autofree char *text = cs_err_text(err);
	if (strstr(text, "executable file not found") || strstr(text, "no such file or directory"))
		return 127;
	return strstr(text, "permission denied") || strstr(text, "is a directory") || strstr(text, "exec format error") ? 126 : 125;
}

static int read_exit_code(struct reply *wait, struct cs_err **err)
{
	cs_autofree char *line = reply_line(wait, err);
	json_t *j = line ? json_loads(line, 0, NULL) : NULL;

	if (!j)
		return err && *err ? -1 : cs_fail(err, CS_ERR_UNAVAILABLE, 0, "the engine went away while waiting for the exit code");
	int code = (int)jint(j, "StatusCode");
	json_decref(j);
	return code;
}

static int run_attached(const struct run_opts *o, const char *id, struct cs_err **err)
{
	auto_reply struct reply att = REPLY_INIT, wait = REPLY_INIT;
	bool in = o->interactive && attached(o, "stdin");
	cs_autofree char *base = cs_xasprintf("/containers/%s", id);
	cs_autofree char *apath = cs_xasprintf("%s/attach?stream=1&stdin=%d&stdout=%d&stderr=%d%s%s", base, in, attached(o, "stdout"),
					       attached(o, "stderr"), o->detach_keys ? "&detachKeys=" : "", o->detach_keys ? o->detach_keys : "");
	cs_autofree char *wpath = cs_xasprintf("%s/wait?condition=%s", base, o->rm ? "removed" : "next-exit");
	cs_autofree char *spath = cs_xasprintf("%s/start", base);
	struct session s = {id, base};
	const struct stream_hooks hooks = {session_resize, session_signal, &s};

	if (client_open("POST", apath, NULL, 0, true, &att, err) < 0 || client_open("POST", wpath, NULL, 0, false, &wait, err) < 0)
		return 125;
	if (client_json("POST", spath, NULL, NULL, err) < 0)
		return start_status(err ? *err : NULL);
	if (stream_pump(&att, in, o->tty, &hooks, err) < 0)
		return 125;
	/* a client that left by the detach keys finds the container still running */
	json_t *j = NULL;
	if (o->tty && in) {
		cs_autofree char *ipath = cs_xasprintf("%s/json", base);
		bool running = client_json("GET", ipath, NULL, &j, NULL) > 0 && json_is_true(json_object_get(json_object_get(j, "State"), "Running"));
		json_decref(j);
		if (running)
			return 0;
	}
	int code = read_exit_code(&wait, err);
	return code < 0 ? 125 : code;
}

/* Numbers that were not given stay out of the request. */
static void forget_what_is_not_given(const struct call *c)
{
	size_t i = 0;

	for (const struct flag *f = c->cmd->options; f->name; f++, i++)
		if (f->kind >= FLAG_INT && f->off != NO_MEMBER && !c->given[i])
			*(int64_t *)(void *)((char *)c->opts + f->off) = NO_VALUE;
}

static int run_or_create(struct call *c, bool start)
{
	const struct run_opts *o = c->opts;
	char **operands = c->args;
	struct cs_err *err = NULL;
	int status;

	forget_what_is_not_given(c);
	if (o->network && o->network[1])
		return cli_fail(125, "--network: more than one network: " NOT_YET);
	if (o->tty && o->interactive && !o->detach && start && !isatty(0))
		return cli_fail(125, "the input device is not a TTY");
	cs_autofree char *id = create(o, operands, &err);
	if (!id)
		return cli_error(err, 125);
	if (!start) {
		printf("%s\n", id);
		return 0;
	}
	if (o->detach) {
		cs_autofree char *path = cs_xasprintf("/containers/%s/start", id);
		status = client_json("POST", path, NULL, NULL, &err) < 0 ? start_status(err) : 0;
		if (status)
			return cli_error(err, status);
		printf("%s\n", id);
		return 0;
	}
	status = run_attached(o, id, &err);
	return err ? cli_error(err, status) : status;
}

static int cmd_run(struct call *c) { return run_or_create(c, true); }
static int cmd_create(struct call *c) { return run_or_create(c, false); }

/* attach, and start -a: the container exists. */
static int attach_to(const char *ref, bool in, bool start, const char *keys)
{
	auto_reply struct reply att = REPLY_INIT, wait = REPLY_INIT;
	struct cs_err *err = NULL;
	json_t *j = NULL;
	cs_autofree char *name = url_encode(ref);
	cs_autofree char *base = cs_xasprintf("/containers/%s", name);
	cs_autofree char *ipath = cs_xasprintf("%s/json", base), *wpath = cs_xasprintf("%s/wait%s", base, start ? "?condition=next-exit" : "");

	if (client_json("GET", ipath, NULL, &j, &err) < 0)
		return cli_error(err, 1);
	json_t *cfg = json_object_get(j, "Config"), *state = json_object_get(j, "State");
	bool tty = json_is_true(json_object_get(cfg, "Tty")), running = json_is_true(json_object_get(state, "Running"));
	bool paused = json_is_true(json_object_get(state, "Paused"));
	in = in && json_is_true(json_object_get(cfg, "OpenStdin"));
	json_decref(j);
	if (!start && (!running || paused)) {
		cs_fail(&err, CS_ERR_CONFLICT, 0, "You cannot attach to a %s container, %s it first", running ? "paused" : "stopped", running ? "unpause" : "start");
		return cli_error(err, 1);
	}
	cs_autofree char *apath = cs_xasprintf("%s/attach?stream=1&stdin=%d&stdout=1&stderr=1%s%s", base, in, keys ? "&detachKeys=" : "", keys ? keys : "");
	cs_autofree char *spath = cs_xasprintf("%s/start", base);
	if (client_open("POST", apath, NULL, 0, true, &att, &err) < 0 || client_open("POST", wpath, NULL, 0, false, &wait, &err) < 0)
		return cli_error(err, 1);
	if (start && client_json("POST", spath, NULL, NULL, &err) < 0)
		return cli_error(err, start_status(err));
	struct session s = {name, base};
	const struct stream_hooks hooks = {session_resize, session_signal, &s};
	if (stream_pump(&att, in, tty, &hooks, &err) < 0)
		return cli_error(err, 1);
	if (client_json("GET", ipath, NULL, &j, NULL) > 0) {
		running = json_is_true(json_object_get(json_object_get(j, "State"), "Running"));
		json_decref(j);
		if (running)
			return 0; /* detached */
	}
	int code = read_exit_code(&wait, &err);
	return code < 0 ? cli_error(err, 1) : code;
}

struct attach_opts {
	bool no_stdin, sig_proxy;
	const char *detach_keys;
};
static const struct flag attach_flags[] = {
	FLAG(struct attach_opts, detach_keys, "detach-keys", 0, "Override the key sequence for detaching a container"),
	FLAG(struct attach_opts, no_stdin, "no-stdin", 0, "Do not attach STDIN"),
	FLAG(struct attach_opts, sig_proxy, "sig-proxy", 0, "Proxy all received signals to the process", .def = "true", .refused = NOT_YET),
	FLAG_END,
};

static int cmd_attach(struct call *c)
{
	const struct attach_opts *o = c->opts;
	return attach_to(c->args[0], !o->no_stdin, false, o->detach_keys);
}

struct start_opts {
	bool attach, interactive;
	const char *checkpoint, *checkpoint_dir, *detach_keys;
};
static const struct flag start_flags[] = {
	FLAG(struct start_opts, attach, "attach", 'a', "Attach STDOUT/STDERR and forward signals"),
	FLAG(struct start_opts, checkpoint, "checkpoint", 0, "Restore from this checkpoint", .refused = NOT_YET),
	FLAG(struct start_opts, checkpoint_dir, "checkpoint-dir", 0, "Use a custom checkpoint storage directory", .refused = NOT_YET),
	FLAG(struct start_opts, detach_keys, "detach-keys", 0, "Override the key sequence for detaching a container"),
	FLAG(struct start_opts, interactive, "interactive", 'i', "Attach container's STDIN"),
	FLAG_END,
};

static int cmd_start(struct call *c)
{
	const struct start_opts *o = c->opts;
	char **operands = c->args;
	int status = 0;

	if (o->attach || o->interactive)
		return operands[1] ? cli_fail(1, "you cannot start and attach multiple containers at once") : attach_to(operands[0], o->interactive, true, o->detach_keys);
	for (; *operands; operands++) {
		struct cs_err *err = NULL;
		cs_autofree char *name = url_encode(*operands), *path = cs_xasprintf("/containers/%s/start", name);
		if (client_json("POST", path, NULL, NULL, &err) < 0)
			status = cli_error(err, 1);
		else
			printf("%s\n", *operands);
	}
	return status;
}

struct exec_opts {
	bool detach, interactive, privileged, tty;
	const char *detach_keys, *user, *workdir;
	char **env, **env_file;
};
static const struct flag exec_flags[] = {
	FLAG(struct exec_opts, detach, "detach", 'd', "Detached mode: run command in the background"),
	FLAG(struct exec_opts, detach_keys, "detach-keys", 0, "Override the key sequence for detaching a container"),
	FLAG(struct exec_opts, env, "env", 'e', "Set environment variables"),
	FLAG(struct exec_opts, env_file, "env-file", 0, "Read in a file of environment variables"),
	FLAG(struct exec_opts, interactive, "interactive", 'i', "Keep STDIN open even if not attached"),
	FLAG(struct exec_opts, privileged, "privileged", 0, "Give extended privileges to the command"),
	FLAG(struct exec_opts, tty, "tty", 't', "Allocate a pseudo-TTY"),
	FLAG(struct exec_opts, user, "user", 'u', "Username or UID (format: \"<name|uid>[:<group|gid>]\")"),
	FLAG(struct exec_opts, workdir, "workdir", 'w', "Working directory inside the container"),
	FLAG_END,
};

static int cmd_exec(struct call *c)
{
	const struct exec_opts *o = c->opts;
	bool detach = o->detach, in = o->interactive, tty = o->tty;
	char **operands = c->args;
	const struct run_opts env = {.env = o->env, .env_file = o->env_file};
	auto_reply struct reply r = REPLY_INIT;
	cs_autostrv char **vars = NULL;
	struct cs_err *err = NULL;
	json_t *j = NULL;

	if (tty && in && !isatty(0))
		return cli_fail(1, "the input device is not a TTY");
	if (collect_env(&env, &vars, &err) < 0)
		return cli_error(err, 1);
	json_t *body = json_pack("{s:b,s:b,s:b,s:b,s:b}", "AttachStdin", in && !detach, "AttachStdout", !detach, "AttachStderr", !detach, "Tty", tty, "Privileged", o->privileged);
	set_list(body, "Cmd", operands + 1);
	set_list(body, "Env", vars);
	set_str(body, "User", o->user);
	set_str(body, "WorkingDir", o->workdir);
	set_str(body, "DetachKeys", o->detach_keys);
	cs_autofree char *name = url_encode(operands[0]), *path = cs_xasprintf("/containers/%s/exec", name);
	int r1 = client_json("POST", path, body, &j, &err);
	json_decref(body);
	if (r1 < 0)
		return cli_error(err, 1);
	cs_autofree char *base = cs_xasprintf("/exec/%s", jstr(j, "Id")), *spath = cs_xasprintf("%s/start", base), *ipath = cs_xasprintf("%s/json", base);
	json_decref(j);
	cs_autofree char *start = cs_xasprintf("{\"Detach\":%s,\"Tty\":%s}", detach ? "true" : "false", tty ? "true" : "false");
	if (client_open("POST", spath, start, strlen(start), !detach, &r, &err) < 0)
		return cli_error(err, start_status(err));
	if (detach)
		return 0;
	struct session s = {name, base};
	const struct stream_hooks hooks = {session_resize, NULL, &s};
	if (stream_pump(&r, in, tty, &hooks, &err) < 0)
		return cli_error(err, 1);
	if (client_json("GET", ipath, NULL, &j, &err) < 0)
		return cli_error(err, 1);
	int code = (int)jint(j, "ExitCode");
	json_decref(j);
	return code;
}

const struct command run_commands[] = {
	{.names = "container run|run", .usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]", .help = "Create and run a new container from an image",
	 .min = 1, .max = ANY, .flags = CMD_STOP | CMD_RUN_ERRORS, .complete = COMP_IMAGE_THEN_NONE, CMD_OPTS(struct run_opts, run_flags), .run = cmd_run},
	{.names = "container create|create", .usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]", .help = "Create a new container",
	 .min = 1, .max = ANY, .flags = CMD_STOP | CMD_RUN_ERRORS, .complete = COMP_IMAGE_THEN_NONE, CMD_OPTS(struct run_opts, create_flags), .run = cmd_create},
	{.names = "container start|start", .usage = "[OPTIONS] CONTAINER [CONTAINER...]", .help = "Start one or more stopped containers",
	 .min = 1, .max = ANY, .complete = COMP_STOPPED, CMD_OPTS(struct start_opts, start_flags), .run = cmd_start},
	{.names = "container exec|exec", .usage = "[OPTIONS] CONTAINER COMMAND [ARG...]", .help = "Execute a command in a running container",
	 .min = 2, .max = ANY, .flags = CMD_STOP, .complete = COMP_RUNNING_THEN_NONE, CMD_OPTS(struct exec_opts, exec_flags), .run = cmd_exec},
	{.names = "container attach|attach", .usage = "[OPTIONS] CONTAINER", .help = "Attach local standard input, output, and error streams to a running container",
	 .min = 1, .max = 1, .complete = COMP_RUNNING_THEN_NONE, CMD_OPTS(struct attach_opts, attach_flags), .run = cmd_attach},
	CMD_END,
};
