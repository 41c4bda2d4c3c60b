/* SPDX-License-Identifier: Apache-2.0
 *
 * run, create, start, attach, exec: the commands that set up a container or hold a connection to one. */
#include <signal.h>

#include "base/io.h"
#include "base/num.h"
#include "base/time.h"
#include "cli/cli.h"
#include "cli/stream.h"

struct run_opts {
	bool interactive, tty, detach, rm, privileged, read_only, init, publish_all, no_healthcheck, oom_kill_disable;
	const char *name, *workdir, *user, *network, *entrypoint, *hostname, *domainname, *restart, *pid, *ipc, *uts, *cgroupns, *log_driver;
	const char *stop_signal, *detach_keys, *cpus, *cpuset_cpus, *health_cmd, *health_interval, *health_timeout, *health_start, *isolation, *cidfile;
	char **env, **env_file, **volume, **label, **tmpfs, **cap_add, **cap_drop, **security_opt, **ulimit, **device, **log_opt, **attach, **group_add;
	char **sysctl, **dns, **add_host, **publish, **expose, **volumes_from, **mount;
	int64_t memory, memory_swap, memory_reservation, cpu_shares, pids_limit, shm_size, stop_timeout, health_retries, oom_score_adj, blkio_weight;
};

#define NO_VALUE INT64_MIN

static void run_table(struct run_opts *o, struct opt *t)
{
	/* clang-format off */
	const struct opt table[] = {
		{"add-host", 0, OPT_LIST, &o->add_host, "Add a host-to-IP entry (host:ip)"},
		{"attach", 'a', OPT_LIST, &o->attach, "Attach to STDIN, STDOUT or STDERR"},
		{"blkio-weight", 0, OPT_I64, &o->blkio_weight, "Block IO weight, 10 to 1000"},
		{"cap-add", 0, OPT_LIST, &o->cap_add, "Add Linux capabilities"},
		{"cap-drop", 0, OPT_LIST, &o->cap_drop, "Drop Linux capabilities"},
		{"cgroupns", 0, OPT_STR, &o->cgroupns, "Cgroup namespace: host or private"},
		{"cidfile", 0, OPT_STR, &o->cidfile, "Write the container id to this file"},
		{"cpu-shares", 'c', OPT_I64, &o->cpu_shares, "CPU shares (relative weight)"},
		{"cpus", 0, OPT_STR, &o->cpus, "Number of CPUs"},
		{"cpuset-cpus", 0, OPT_STR, &o->cpuset_cpus, "CPUs in which to allow execution (0-3, 0,1)"},
		{"detach", 'd', OPT_BOOL, &o->detach, "Run in the background and print the container id"},
		{"detach-keys", 0, OPT_STR, &o->detach_keys, "Key sequence for detaching"},
		{"device", 0, OPT_LIST, &o->device, "Add a host device"},
		{"dns", 0, OPT_LIST, &o->dns, "DNS servers"},
		{"domainname", 0, OPT_STR, &o->domainname, "NIS domain name"},
		{"entrypoint", 0, OPT_STR, &o->entrypoint, "Overwrite the image's ENTRYPOINT"},
		{"env", 'e', OPT_LIST, &o->env, "Set environment variables"},
		{"env-file", 0, OPT_LIST, &o->env_file, "Read environment variables from a file"},
		{"expose", 0, OPT_LIST, &o->expose, "Expose a port"},
		{"group-add", 0, OPT_LIST, &o->group_add, "Additional groups"},
		{"health-cmd", 0, OPT_STR, &o->health_cmd, "Command that checks health"},
		{"health-interval", 0, OPT_STR, &o->health_interval, "Time between checks (1m30s)"},
		{"health-retries", 0, OPT_I64, &o->health_retries, "Failures in a row until unhealthy"},
		{"health-start-period", 0, OPT_STR, &o->health_start, "Time in which failures do not count"},
		{"health-timeout", 0, OPT_STR, &o->health_timeout, "Time one check may take"},
		{"hostname", 'h', OPT_STR, &o->hostname, "Host name"},
		{"init", 0, OPT_BOOL, &o->init, "Run an init that forwards signals and reaps"},
		{"interactive", 'i', OPT_BOOL, &o->interactive, "Keep STDIN open"},
		{"ipc", 0, OPT_STR, &o->ipc, "IPC mode"},
		{"isolation", 0, OPT_STR, &o->isolation, "Isolation: process or hyperv"},
		{"label", 'l', OPT_LIST, &o->label, "Set labels"},
		{"log-driver", 0, OPT_STR, &o->log_driver, "Logging driver: json-file, local or none"},
		{"log-opt", 0, OPT_LIST, &o->log_opt, "Logging driver options"},
		{"memory", 'm', OPT_BYTES, &o->memory, "Memory limit"},
		{"memory-reservation", 0, OPT_BYTES, &o->memory_reservation, "Memory soft limit"},
		{"memory-swap", 0, OPT_BYTES, &o->memory_swap, "Memory plus swap; -1 = unlimited swap"},
		{"mount", 0, OPT_LIST, &o->mount, "Attach a mount: type=bind,source=/a,target=/b[,readonly]"},
		{"name", 0, OPT_STR, &o->name, "Name of the container"},
		{"network", 0, OPT_STR, &o->network, "Network: none, host, container:NAME or default"},
		{"no-healthcheck", 0, OPT_BOOL, &o->no_healthcheck, "Disable the image's HEALTHCHECK"},
		{"oom-kill-disable", 0, OPT_BOOL, &o->oom_kill_disable, "Disable the OOM killer"},
		{"oom-score-adj", 0, OPT_I64, &o->oom_score_adj, "OOM preference, -1000 to 1000"},
		{"pid", 0, OPT_STR, &o->pid, "PID namespace"},
		{"pids-limit", 0, OPT_I64, &o->pids_limit, "Limit of processes; -1 = unlimited"},
		{"privileged", 0, OPT_BOOL, &o->privileged, "Extended privileges"},
		{"publish", 'p', OPT_LIST, &o->publish, "Publish a port"},
		{"read-only", 0, OPT_BOOL, &o->read_only, "Mount the root file system read-only"},
		{"restart", 0, OPT_STR, &o->restart, "no, on-failure[:max], always, unless-stopped"},
		{"rm", 0, OPT_BOOL, &o->rm, "Remove the container when it exits"},
		{"security-opt", 0, OPT_LIST, &o->security_opt, "Security options"},
		{"shm-size", 0, OPT_BYTES, &o->shm_size, "Size of /dev/shm"},
		{"stop-signal", 0, OPT_STR, &o->stop_signal, "Signal to stop the container"},
		{"stop-timeout", 0, OPT_I64, &o->stop_timeout, "Seconds to stop the container"},
		{"sysctl", 0, OPT_LIST, &o->sysctl, "Kernel parameters"},
		{"tmpfs", 0, OPT_LIST, &o->tmpfs, "Mount a tmpfs"},
		{"tty", 't', OPT_BOOL, &o->tty, "Allocate a terminal"},
		{"ulimit", 0, OPT_LIST, &o->ulimit, "Ulimits: name=soft[:hard]"},
		{"user", 'u', OPT_STR, &o->user, "User name or id [:group]"},
		{"uts", 0, OPT_STR, &o->uts, "UTS namespace"},
		{"volume", 'v', OPT_LIST, &o->volume, "Bind mount or volume"},
		{"volumes-from", 0, OPT_LIST, &o->volumes_from, "Mount the volumes of another container"},
		{"workdir", 'w', OPT_STR, &o->workdir, "Working directory"},
		OPT_END,
	};
	/* clang-format on */
	memcpy(t, table, sizeof(table));
}
#define RUN_TABLE_SIZE 64

static void run_opts_done(struct run_opts *o)
{
	char **const lists[] = {o->env, o->env_file, o->volume, o->label, o->tmpfs, o->cap_add, o->cap_drop, o->security_opt, o->ulimit, o->device,
				o->log_opt, o->attach, o->group_add, o->sysctl, o->dns, o->add_host, o->publish, o->expose, o->volumes_from, o->mount};
	for (size_t i = 0; i < CS_ARRAY_SIZE(lists); i++)
		cs_strv_free(lists[i]);
}

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
	const char *const text[] = {o->health_interval, o->health_timeout, o->health_start}, *const key[] = {"Interval", "Timeout", "StartPeriod"};
	for (size_t i = 0; i < 3; i++) {
		int64_t ns;
		if (!text[i])
			continue;
		if (!cs_duration_parse(text[i], &ns)) {
			json_decref(h);
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid duration: %s", text[i]);
		}
		set_int(h, key[i], ns);
	}
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
	set_str(host, "NetworkMode", o->network ? o->network : "default");
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
	if (o->cpus) {
		char *end;
		double n = strtod(o->cpus, &end);
		if (*end || !(n >= 0 && n < 1e6)) {
			cs_fail(err, CS_ERR_INVALID, 0, "invalid argument \"%s\" for \"--cpus\"", o->cpus);
			json_decref(cfg);
			return NULL;
		}
		set_int(host, "NanoCpus", (int64_t)(n * 1e9 + 0.5));
	}
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

static int run_or_create(char **argv, bool start)
{
	struct run_opts o = {.memory = NO_VALUE, .memory_swap = NO_VALUE, .memory_reservation = NO_VALUE, .cpu_shares = NO_VALUE, .pids_limit = NO_VALUE,
			     .shm_size = NO_VALUE, .stop_timeout = NO_VALUE, .health_retries = NO_VALUE, .oom_score_adj = NO_VALUE, .blkio_weight = NO_VALUE};
	struct opt table[RUN_TABLE_SIZE];
	struct cs_err *err = NULL;
	int status;

	run_table(&o, table);
	char **operands = opt_parse(argv, table, true, start ? "run [OPTIONS] IMAGE [COMMAND] [ARG...]" : "create [OPTIONS] IMAGE [COMMAND] [ARG...]");
	if (!operands)
		return 125;
	if (!operands[0])
		return cli_usage(argv[0], "requires at least 1 argument");
	if (o.tty && o.interactive && !o.detach && start && !isatty(0))
		return cli_usage(argv[0], "the input device is not a TTY");
	cs_autofree char *id = create(&o, operands, &err);
	if (!id) {
		status = cli_error(err, 125);
	} else if (!start) {
		printf("%s\n", id);
		status = 0;
	} else if (o.detach) {
		cs_autofree char *path = cs_xasprintf("/containers/%s/start", id);
		status = client_json("POST", path, NULL, NULL, &err) < 0 ? start_status(err) : 0;
		if (status)
			(void)cli_error(err, status);
		else
			printf("%s\n", id);
	} else {
		status = run_attached(&o, id, &err);
		if (err)
			(void)cli_error(err, status);
	}
	run_opts_done(&o);
	return status;
}

static int cmd_run(char **argv) { return run_or_create(argv, true); }
static int cmd_create(char **argv) { return run_or_create(argv, false); }

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

static int cmd_attach(char **argv)
{
	bool no_stdin = false;
	const char *keys = NULL;
	const struct opt opts[] = {{"no-stdin", 0, OPT_BOOL, &no_stdin, "Do not attach STDIN"}, {"detach-keys", 0, OPT_STR, &keys, "Key sequence for detaching"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "attach [OPTIONS] CONTAINER");
	if (!operands)
		return 125;
	if (!operands[0] || operands[1])
		return cli_usage(argv[0], "requires exactly 1 argument");
	return attach_to(operands[0], !no_stdin, false, keys);
}

static int cmd_start(char **argv)
{
	bool attach = false, in = false;
	const char *keys = NULL;
	const struct opt opts[] = {{"attach", 'a', OPT_BOOL, &attach, "Attach STDOUT/STDERR"}, {"interactive", 'i', OPT_BOOL, &in, "Attach STDIN"},
				   {"detach-keys", 0, OPT_STR, &keys, "Key sequence for detaching"}, OPT_END};
	char **operands = opt_parse(argv, opts, false, "start [OPTIONS] CONTAINER [CONTAINER...]");
	int status = 0;

	if (!operands)
		return 125;
	if (!operands[0])
		return cli_usage(argv[0], "requires at least 1 argument");
	if (attach || in)
		return operands[1] ? cli_usage(argv[0], "you cannot start and attach multiple containers at once") : attach_to(operands[0], in, true, keys);
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

static int cmd_exec(char **argv)
{
	bool detach = false, in = false, tty = false, privileged = false;
	const char *user = NULL, *workdir = NULL, *keys = NULL;
	struct run_opts env = {0};
	const struct opt opts[] = {{"detach", 'd', OPT_BOOL, &detach, "Run in the background"}, {"interactive", 'i', OPT_BOOL, &in, "Keep STDIN open"},
				   {"tty", 't', OPT_BOOL, &tty, "Allocate a terminal"}, {"privileged", 0, OPT_BOOL, &privileged, "Extended privileges"},
				   {"user", 'u', OPT_STR, &user, "User name or id [:group]"}, {"workdir", 'w', OPT_STR, &workdir, "Working directory"},
				   {"env", 'e', OPT_LIST, &env.env, "Set environment variables"}, {"env-file", 0, OPT_LIST, &env.env_file, "Read variables from a file"},
				   {"detach-keys", 0, OPT_STR, &keys, "Key sequence for detaching"}, OPT_END};
	char **operands = opt_parse(argv, opts, true, "exec [OPTIONS] CONTAINER COMMAND [ARG...]");
	auto_reply struct reply r = REPLY_INIT;
	cs_autostrv char **vars = NULL;
	struct cs_err *err = NULL;
	json_t *j = NULL;

	if (!operands)
		return 125;
	if (!operands[0] || !operands[1])
		return cli_usage(argv[0], "requires at least 2 arguments");
	if (tty && in && !isatty(0))
		return cli_usage(argv[0], "the input device is not a TTY");
	if (collect_env(&env, &vars, &err) < 0)
		return cli_error(err, 125);
	run_opts_done(&env);
	json_t *body = json_pack("{s:b,s:b,s:b,s:b,s:b}", "AttachStdin", in && !detach, "AttachStdout", !detach, "AttachStderr", !detach, "Tty", tty, "Privileged", privileged);
	set_list(body, "Cmd", operands + 1);
	set_list(body, "Env", vars);
	set_str(body, "User", user);
	set_str(body, "WorkingDir", workdir);
	set_str(body, "DetachKeys", keys);
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
	{"run", cmd_run, "Create a container from an image and run a command in it"},
	{"create", cmd_create, "Create a container"},
	{"start", cmd_start, "Start stopped containers"},
	{"exec", cmd_exec, "Run a command in a running container"},
	{"attach", cmd_attach, "Attach to a running container's input and output"},
	{NULL, NULL, NULL},
};
