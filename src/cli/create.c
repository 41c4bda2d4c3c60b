/* SPDX-License-Identifier: Apache-2.0
 *
 * The create request of run and create. Members that were not given stay out: the engine has its own defaults, and an engine of an older API
 * does not meet what it does not know. */
#include "cli/create.h"

#include <ctype.h>
#include <fcntl.h>

#include "base/io.h"
#include "base/strv.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/endpoint.h"

/* ---- small pieces ---- */

static json_t *list(char *const *v)
{
	json_t *a = json_array();
	for (; v && *v; v++)
		(void)json_array_append_new(a, jtext(*v));
	return a;
}

static void set_list(json_t *o, const char *key, char *const *v)
{
	if (v && *v)
		(void)json_object_set_new(o, key, list(v));
}

/* For lists that docker leaves out when they are empty: the engine keeps null and [] apart, and inspect shows it. */
static void drop_empty(json_t *o, const char *key)
{
	if (!json_array_size(json_object_get(o, key)))
		(void)json_object_del(o, key);
}

static void set_str(json_t *o, const char *key, const char *v)
{
	if (!cs_empty(v))
		jset(o, key, v);
}

static void set_true(json_t *o, const char *key, bool v)
{
	if (v)
		(void)json_object_set_new(o, key, json_true());
}

static void set_int(json_t *o, const char *key, int64_t v)
{
	if (v)
		(void)json_object_set_new(o, key, json_integer(v));
}

static void set_given(const struct call *c, json_t *o, const char *key, const int64_t *v)
{
	if (flag_given(c, v))
		(void)json_object_set_new(o, key, json_integer(*v));
}

/* "k=v" items into an object; a missing value is "". */
static void add_map(json_t *map, char *const *v, char sep)
{
	for (; v && *v; v++) {
		const char *at = strchr(*v, sep);
		cs_autofree char *k = cs_xstrndup(*v, at ? (size_t)(at - *v) : strlen(*v));
		jset(map, k, at ? at + 1 : "");
	}
}

static void set_map(json_t *o, const char *key, char *const *v, char sep)
{
	if (!v)
		return;
	json_t *m = json_object();
	add_map(m, v, sep);
	(void)json_object_set_new(o, key, m);
}

int create_open_failed(const char *path, int sys, struct cs_err **err)
{
	cs_autofree char *why = cs_xstrdup(cs_errno_text(sys));

	*why = (char)tolower((unsigned char)*why);
	return cs_fail(err, CS_ERR_INVALID, 0, "open %s: %s", path, why);
}

/* ---- files of variables ---- */

/* "[65 61 255]", as Go prints bytes. Caller frees. */
static char *bytes_text(const char *s)
{
	struct cs_str out = CS_STR_INIT((size_t)64 << 20);

	cs_str_putc(&out, '[');
	for (const char *p = s; *p; p++)
		cs_str_putf(&out, p == s ? "%u" : " %u", (unsigned)(unsigned char)*p);
	cs_str_putc(&out, ']');
	return cs_str_steal(&out);
}

static bool is_utf8(const char *s)
{
	json_t *j = json_string(s);

	json_decref(j);
	return j;
}

static int file_line(const char *file, const char *line, size_t number, bool from_env, char ***ret, struct cs_err **err)
{
	if (!is_utf8(line)) {
		cs_autofree char *bytes = bytes_text(line);
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid env file (%s): invalid utf8 bytes at line %zu: %s", file, number, bytes ? bytes : "too many");
	}
	if (number == 1 && cs_prefix(line, "\xef\xbb\xbf"))
		line += 3;
	while (isspace((unsigned char)*line))
		line++;
	if (!*line || *line == '#')
		return 0;
	size_t n = strcspn(line, "=");
	if (!n)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid env file (%s): no variable name on line '%s'", file, line);
	for (size_t i = 0; i < n; i++)
		if (isspace((unsigned char)line[i]))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid env file (%s): variable '%.*s' contains whitespaces", file, (int)n, line);
	if (line[n]) {
		cs_strv_push(ret, line);
	} else if (from_env) {
		const char *val = getenv(line);
		if (val)
			cs_strv_take(ret, cs_xasprintf("%s=%s", line, val));
	}
	return 0;
}

static int add_file(const char *file, bool from_env, char ***ret, struct cs_err **err)
{
	cs_autostr struct cs_str text = CS_STR_INIT((size_t)8 << 20);
	cs_autofd int fd = open(file, O_RDONLY | O_CLOEXEC);
	int e = fd < 0 ? -errno : cs_read_fd(fd, &text);

	if (fd < 0)
		return create_open_failed(file, -e, err);
	if (e < 0) {
		cs_autofree char *why = cs_xstrdup(cs_errno_text(-e));
		*why = (char)tolower((unsigned char)*why);
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid env file (%s): read %s: %s", file, file, why);
	}
	cs_autostrv char **lines = cs_strv_split(text.buf ? text.buf : "", '\n');
	for (size_t i = 0; lines[i]; i++) {
		size_t n = strlen(lines[i]);
		if (n && lines[i][n - 1] == '\r')
			lines[i][n - 1] = 0;
		if (file_line(file, lines[i], i + 1, from_env, ret, err) < 0)
			return -1;
	}
	return 0;
}

int create_env(char *const *env, char *const *env_files, char ***ret, struct cs_err **err)
{
	for (; env_files && *env_files; env_files++)
		if (add_file(*env_files, true, ret, err) < 0)
			return -1;
	for (; env && *env; env++) {
		const char *val = strchr(*env, '=') ? NULL : getenv(*env);
		if (val)
			cs_strv_take(ret, cs_xasprintf("%s=%s", *env, val));
		else
			cs_strv_push(ret, *env); /* without a value: the engine takes it out of the image's */
	}
	return 0;
}

static int set_labels(json_t *cfg, const struct run_opts *o, struct cs_err **err)
{
	cs_autostrv char **lines = NULL;
	json_t *labels = json_object();

	(void)json_object_set_new(cfg, "Labels", labels);
	for (char **f = o->label_file; f && *f; f++)
		if (add_file(*f, false, &lines, err) < 0)
			return -1;
	add_map(labels, lines, '=');
	add_map(labels, o->label, '=');
	return 0;
}

/* ---- Config ---- */

static int set_health(const struct call *c, json_t *cfg, const struct run_opts *o, struct cs_err **err)
{
	const struct {
		const int64_t *value;
		const char *flag, *key;
	} numbers[] = {{&o->health_interval, "health-interval", "Interval"},
		       {&o->health_timeout, "health-timeout", "Timeout"},
		       {&o->health_start_period, "health-start-period", "StartPeriod"},
		       {&o->health_start_interval, "health-start-interval", "StartInterval"},
		       {&o->health_retries, "health-retries", "Retries"}};
	bool any = !cs_empty(o->health_cmd);

	for (size_t i = 0; i < CS_ARRAY_SIZE(numbers); i++)
		any |= *numbers[i].value != 0;
	if (o->no_healthcheck && any)
		return cs_fail(err, CS_ERR_INVALID, 0, "--no-healthcheck conflicts with --health-* options");
	if (!o->no_healthcheck && !any)
		return 0;
	json_t *h = json_object();
	(void)json_object_set_new(cfg, "Healthcheck", h);
	if (o->no_healthcheck)
		(void)json_object_set_new(h, "Test", json_pack("[s]", "NONE"));
	else if (!cs_empty(o->health_cmd))
		(void)json_object_set_new(h, "Test", json_pack("[s,o]", "CMD-SHELL", jtext(o->health_cmd)));
	for (size_t i = 0; i < CS_ARRAY_SIZE(numbers); i++) {
		if (*numbers[i].value < 0)
			return cs_fail(err, CS_ERR_INVALID, 0, "--%s cannot be negative", numbers[i].flag);
		set_int(h, numbers[i].key, *numbers[i].value);
	}
	return 0;
}

static int set_config(const struct call *c, json_t *cfg, const struct run_opts *o, char *const *operands, unsigned attach, struct cs_err **err)
{
	cs_autostrv char **env = NULL;

	set_str(cfg, "Image", operands[0]);
	set_list(cfg, "Cmd", operands + 1);
	if (flag_given(c, &o->entrypoint))
		(void)json_object_set_new(cfg, "Entrypoint", json_pack("[o]", jtext(o->entrypoint)));
	set_true(cfg, "Tty", o->tty);
	set_true(cfg, "OpenStdin", o->interactive);
	set_true(cfg, "StdinOnce", o->interactive && attach & ATTACH_STDIN);
	set_true(cfg, "AttachStdin", attach & ATTACH_STDIN);
	set_true(cfg, "AttachStdout", attach & ATTACH_STDOUT);
	set_true(cfg, "AttachStderr", attach & ATTACH_STDERR);
	set_str(cfg, "WorkingDir", o->workdir);
	set_str(cfg, "User", o->user);
	set_str(cfg, "Hostname", o->hostname);
	set_str(cfg, "Domainname", o->domainname);
	set_str(cfg, "StopSignal", o->stop_signal);
	set_given(c, cfg, "StopTimeout", &o->stop_timeout);
	if (create_env(o->env, o->env_file, &env, err) < 0 || set_labels(cfg, o, err) < 0 || set_health(c, cfg, o, err) < 0)
		return -1;
	const struct endpoint *engine = endpoint_get(NULL);
	config_proxy_env(engine ? engine->host : "", &env);
	set_list(cfg, "Env", env);
	return 0;
}

/* ---- HostConfig: volumes ---- */

static int one_volume(const char *spec, json_t *volumes, json_t *binds, struct cs_err **err)
{
	const char *colon = strchr(spec, ':');
	size_t n = strlen(spec);

	if (!n)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid empty volume spec");
	if (!colon) {
		(void)json_object_set_new(volumes, spec, json_object());
		return 0;
	}
	if (colon == spec || spec[n - 1] == ':' || strstr(spec, "::"))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid spec: %s: empty section between colons", spec);
	cs_autofree char *host = cs_xstrndup(spec, (size_t)(colon - spec)), *abs = *host == '.' ? path_absolute(host) : NULL;
	cs_autofree char *bind = cs_xasprintf("%s%s", abs ? abs : host, colon);
	size_t i;
	json_t *v;
	json_array_foreach(binds, i, v) if (cs_streq(json_string_value(v), bind)) return 0;
	(void)json_array_append_new(binds, jtext(bind));
	return 0;
}

static int set_volumes(json_t *cfg, json_t *host, const struct run_opts *o, struct cs_err **err)
{
	json_t *volumes = json_object(), *binds = json_array(), *mounts = json_array();

	(void)json_object_set_new(cfg, "Volumes", volumes);
	(void)json_object_set_new(host, "Binds", binds);
	(void)json_object_set_new(host, "Mounts", mounts);
	for (char **v = o->volume; v && *v; v++)
		if (one_volume(*v, volumes, binds, err) < 0)
			return -1;
	for (char **m = o->mount; m && *m; m++) {
		json_t *j = NULL;
		cs_autofree char *why = create_mount(*m, &j); /* looked at when the flag was read */
		if (!why)
			(void)json_array_append_new(mounts, j);
	}
	drop_empty(host, "Binds");
	drop_empty(host, "Mounts");
	set_map(host, "Tmpfs", o->tmpfs, ':');
	set_list(host, "VolumesFrom", o->volumes_from);
	set_str(host, "VolumeDriver", o->volume_driver);
	return 0;
}

/* ---- HostConfig: security ---- */

/* Upper case, CAP_ in front, each once, sorted. */
static void set_caps(json_t *host, const char *key, char *const *v)
{
	cs_autostrv char **caps = NULL;

	for (; v && *v; v++) {
		cs_autofree char *up = cs_xstrdup(*v);
		for (char *p = up; *p; p++)
			*p = (char)toupper((unsigned char)*p);
		bool plain = strcmp(up, "ALL") == 0 || cs_prefix(up, "CAP_");
		cs_autofree char *name = cs_xasprintf("%s%s", plain ? "" : "CAP_", up);
		if (!cs_strv_has(caps, name))
			cs_strv_push(&caps, name);
	}
	cs_strv_sort(caps);
	set_list(host, key, caps);
}

static int seccomp_profile(const char *path, char **ret, struct cs_err **err)
{
	cs_autostr struct cs_str text = CS_STR_INIT((size_t)4 << 20);
	cs_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	int e = fd < 0 ? -errno : cs_read_fd(fd, &text);
	json_error_t je;

	if (e < 0) {
		(void)create_open_failed(path, -e, err);
		return cs_wrap(err, "opening seccomp profile (%s) failed", path);
	}
	/* looked at only: a system call's arguments have 64 bits without a sign, which are no number of jansson's */
	cs_autojson json_t *j = json_loadb(text.buf ? text.buf : "", text.len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &je);
	if (!j || !text.buf)
		return cs_fail(err, CS_ERR_INVALID, 0, "compacting json for seccomp profile (%s) failed: %s", path, je.text);
	char *to = text.buf;
	bool quoted = false;
	for (const char *p = text.buf; *p; p++) {
		bool escape = quoted && *p == '\\';
		quoted ^= *p == '"';
		if (quoted || !strchr(" \t\r\n", *p))
			*to++ = *p;
		if (escape)
			*to++ = *++p;
	}
	*to = 0;
	*ret = cs_xasprintf("seccomp=%s", text.buf);
	return 0;
}

static int set_security(json_t *host, char *const *opts, struct cs_err **err)
{
	cs_autostrv char **kept = NULL;
	const char *first = opts ? *opts : NULL;

	for (; opts && *opts; opts++) {
		size_t n = strcspn(*opts, "=");
		if (!(*opts)[n])
			n = strcspn(*opts, ":");
		bool bare = n == 17 && cs_prefix(*opts, "no-new-privileges");
		if ((!(*opts)[n] || !(*opts)[n + 1]) && !bare)
			return cs_fail(err, CS_ERR_INVALID, 0, "Invalid --security-opt: \"%s\"", *opts);
		const char *val = (*opts)[n] ? *opts + n + 1 : "";
		if (strcmp(*opts, "systempaths=unconfined") == 0) {
			(void)json_object_set_new(host, "MaskedPaths", json_array());
			(void)json_object_set_new(host, "ReadonlyPaths", json_array());
			continue;
		}
		if (n == 7 && cs_prefix(*opts, "seccomp") && strcmp(val, "unconfined") != 0 && strcmp(val, "builtin") != 0) {
			char *profile = NULL;
			if (seccomp_profile(val, &profile, err) < 0)
				return -1;
			cs_strv_take(&kept, profile);
			continue;
		}
		cs_strv_push(&kept, *opts);
	}
	if (first)
		(void)json_object_set_new(host, "SecurityOpt", list(kept));
	return 0;
}

static bool joins(const char *mode)
{
	const char *who = cs_prefix(mode, "container:");
	return who && *who;
}

static int check_modes(const struct run_opts *o, struct cs_err **err)
{
	const struct {
		const char *mode, *flag, *what;
		bool good;
	} modes[] = {{o->pid, "pid", "PID", cs_empty(o->pid) || cs_streq(o->pid, "host") || joins(o->pid)},
		     {o->uts, "uts", "UTS", cs_empty(o->uts) || cs_streq(o->uts, "host")},
		     {o->userns, "userns", "USER", cs_empty(o->userns) || cs_streq(o->userns, "host")},
		     {o->cgroupns, "cgroupns", "CGROUP", cs_empty(o->cgroupns) || cs_streq(o->cgroupns, "host") || cs_streq(o->cgroupns, "private")}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(modes); i++)
		if (!modes[i].good)
			return cs_fail(err, CS_ERR_INVALID, 0, "--%s: invalid %s mode", modes[i].flag, modes[i].what);
	return 0;
}

/* ---- HostConfig: resources ---- */

static void set_parsed(json_t *host, const char *key, char *const *v, char *(*parse)(const char *, json_t **))
{
	json_t *a = json_array();

	for (; v && *v; v++) {
		json_t *j = NULL;
		cs_autofree char *why = parse(*v, &j); /* looked at when the flag was read */
		if (!why)
			(void)json_array_append_new(a, j);
	}
	(void)json_object_set_new(host, key, a);
}

static char *bps(const char *text, json_t **ret) { return create_rate(text, true, ret); }
static char *iops(const char *text, json_t **ret) { return create_rate(text, false, ret); }

/* The last one for each name counts; sorted by name. */
static void set_ulimits(json_t *host, char *const *v)
{
	cs_autostrv char **last = NULL;

	for (; v && *v; v++) {
		size_t n = strcspn(*v, "=") + 1;
		char **p = last;
		while (p && *p && strncmp(*p, *v, n) != 0)
			p++;
		if (p && *p) {
			free(*p);
			*p = cs_xstrdup(*v);
		} else {
			cs_strv_push(&last, *v);
		}
	}
	cs_strv_sort(last);
	set_parsed(host, "Ulimits", last, create_ulimit);
}

static int set_resources(const struct call *c, json_t *host, const struct run_opts *o, struct cs_err **err)
{
	json_t *devices = json_array(), *requests = json_array();

	(void)json_object_set_new(host, "Devices", devices);
	(void)json_object_set_new(host, "DeviceRequests", requests);
	if (o->memory_swappiness < -1 || o->memory_swappiness > 100)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid value: %lld. Valid memory swappiness range is 0-100", (long long)o->memory_swappiness);
	if (o->memory_swappiness >= 0 && flag_given(c, &o->memory_swappiness))
		(void)json_object_set_new(host, "MemorySwappiness", json_integer(o->memory_swappiness));
	for (char **g = o->gpus; g && *g; g++) {
		json_t *j = NULL;
		cs_autofree char *why = create_gpus(*g, &j);
		if (!why)
			(void)json_array_append_new(requests, j);
	}
	if (create_devices(o->device, devices, requests, err) < 0)
		return -1;
	drop_empty(host, "DeviceRequests");
	set_list(host, "DeviceCgroupRules", o->device_cgroup_rule);
	set_parsed(host, "BlkioWeightDevice", o->blkio_weight_device, create_weight);
	set_parsed(host, "BlkioDeviceReadBps", o->device_read_bps, bps);
	set_parsed(host, "BlkioDeviceWriteBps", o->device_write_bps, bps);
	set_parsed(host, "BlkioDeviceReadIOps", o->device_read_iops, iops);
	set_parsed(host, "BlkioDeviceWriteIOps", o->device_write_iops, iops);
	set_ulimits(host, o->ulimit);
	const struct {
		const char *key;
		int64_t value;
	} numbers[] = {{"Memory", o->memory}, {"MemorySwap", o->memory_swap}, {"MemoryReservation", o->memory_reservation}, {"CpuShares", o->cpu_shares},
		       {"NanoCpus", o->cpus}, {"CpuPeriod", o->cpu_period}, {"CpuQuota", o->cpu_quota}, {"CpuRealtimePeriod", o->cpu_rt_period},
		       {"CpuRealtimeRuntime", o->cpu_rt_runtime}, {"BlkioWeight", o->blkio_weight}, {"PidsLimit", o->pids_limit},
		       {"ShmSize", o->shm_size}, {"OomScoreAdj", o->oom_score_adj}};
	for (size_t i = 0; i < CS_ARRAY_SIZE(numbers); i++)
		set_int(host, numbers[i].key, numbers[i].value);
	set_true(host, "OomKillDisable", o->oom_kill_disable);
	set_str(host, "CpusetCpus", o->cpuset_cpus);
	set_str(host, "CpusetMems", o->cpuset_mems);
	set_str(host, "CgroupParent", o->cgroup_parent);
	return 0;
}

/* ---- HostConfig: the rest ---- */

/* name[:max] */
static int set_restart(json_t *host, const struct run_opts *o, struct cs_err **err)
{
	const char *policy = o->restart ? o->restart : "", *colon = strchr(policy, ':');
	int64_t max = 0;

	if (colon == policy && colon)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid restart policy format: no policy provided before colon");
	if (colon && colon[1] && create_int(colon + 1, &max))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid restart policy format: maximum retry count must be an integer");
	cs_autofree char *name = cs_xstrndup(policy, strcspn(policy, ":"));
	if (*name && strcmp(name, "no") != 0 && o->rm)
		return cs_fail(err, CS_ERR_INVALID, 0, "conflicting options: cannot specify both --restart and --rm");
	(void)json_object_set_new(host, "RestartPolicy", json_pack("{s:s,s:I}", "Name", name, "MaximumRetryCount", (json_int_t)max));
	return 0;
}

static int set_logging(json_t *host, const struct run_opts *o, struct cs_err **err)
{
	json_t *log = json_object();

	(void)json_object_set_new(host, "LogConfig", log);
	if (cs_streq(o->log_driver, "none") && o->log_opt)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid logging opts for driver %s", o->log_driver);
	set_str(log, "Type", o->log_driver);
	set_map(log, "Config", o->log_opt, '=');
	return 0;
}

static int set_storage(json_t *host, char *const *v, struct cs_err **err)
{
	for (char *const *p = v; p && *p; p++)
		if (!strchr(*p, '='))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid storage option");
	set_map(host, "StorageOpt", v, '=');
	return 0;
}

static void set_names(json_t *host, const struct run_opts *o)
{
	(void)json_object_set_new(host, "Dns", list(o->dns));
	(void)json_object_set_new(host, "DnsOptions", list(o->dns_option));
	(void)json_object_set_new(host, "DnsSearch", list(o->dns_search));
	set_list(host, "ExtraHosts", o->add_host);
	set_list(host, "Links", o->link);
	for (char **d = o->dns; d && *d; d++)
		if (cs_prefix(*d, "127.") || strcmp(*d, "::1") == 0)
			fprintf(stderr, "WARNING: Localhost DNS (%s) may fail in containers.\n", *d);
}

static int set_host(const struct call *c, json_t *cfg, json_t *host, const struct run_opts *o, struct cs_err **err)
{
	json_t *exposed = json_object(), *bindings = json_object(), *endpoints = json_object();

	(void)json_object_set_new(cfg, "ExposedPorts", exposed);
	(void)json_object_set_new(host, "PortBindings", bindings);
	(void)json_object_set_new(cfg, "NetworkingConfig", json_pack("{s:o}", "EndpointsConfig", endpoints));
	if (set_resources(c, host, o, err) < 0 || set_volumes(cfg, host, o, err) < 0 || create_ports(o->publish, o->expose, exposed, bindings, err) < 0 ||
	    check_modes(o, err) < 0 || set_restart(host, o, err) < 0 || set_logging(host, o, err) < 0 || set_security(host, o->security_opt, err) < 0 ||
	    set_storage(host, o->storage_opt, err) < 0 || create_networks(o, host, endpoints, err) < 0)
		return -1;
	set_names(host, o);
	set_caps(host, "CapAdd", o->cap_add);
	set_caps(host, "CapDrop", o->cap_drop);
	set_list(host, "GroupAdd", o->group_add);
	set_map(host, "Sysctls", o->sysctl, '=');
	set_map(host, "Annotations", o->annotation, '=');
	const struct {
		const char *key, *value;
	} texts[] = {{"PidMode", o->pid}, {"IpcMode", o->ipc}, {"UTSMode", o->uts}, {"UsernsMode", o->userns}, {"CgroupnsMode", o->cgroupns},
		     {"Isolation", o->isolation}, {"Runtime", o->runtime}, {"ContainerIDFile", o->cidfile}};
	for (size_t i = 0; i < CS_ARRAY_SIZE(texts); i++)
		set_str(host, texts[i].key, texts[i].value);
	set_true(host, "AutoRemove", o->rm);
	set_true(host, "Privileged", o->privileged);
	set_true(host, "ReadonlyRootfs", o->read_only);
	set_true(host, "PublishAllPorts", o->publish_all);
	if (flag_given(c, &o->init))
		(void)json_object_set_new(host, "Init", json_boolean(o->init));
	return 0;
}

json_t *create_body(const struct call *c, const struct run_opts *o, char *const *operands, unsigned attach, struct cs_err **err)
{
	json_t *cfg = json_object(), *host = json_object();

	(void)json_object_set_new(cfg, "HostConfig", host);
	if (set_config(c, cfg, o, operands, attach, err) < 0 || set_host(c, cfg, host, o, err) < 0) {
		json_decref(cfg);
		return NULL;
	}
	return cfg;
}
