/* SPDX-License-Identifier: Apache-2.0
 *
 * Create-time checks and defaults of Config and HostConfig (limits: validate_resources.c, networks: validate_network.c, mounts:
 * mounts.c, what depends on the image: config_merge.c). Pure but for host facts. docs/api-fields.md has the table. */
#include "base/caps.h"
#include "engine/validate.h"

#include <string.h>

#include "base/path.h"
#include "engine/hostfacts.h"
#include "engine/spec-internal.h"

#define SHM_DEFAULT ((int64_t)64 << 20)

static void set(char **p, const char *v)
{
	free(*p);
	*p = cs_xstrdup(v);
}

/* "container:name" -> "container:<id>", so that a rename does not matter. */
static int resolve_mode(const struct cs_container_lookup *lookup, char **mode, struct cs_err **err)
{
	const char *ref = cs_mode_container(*mode);
	struct cs_err *inner = NULL;
	char *id = NULL;

	if (!ref || !*ref || !lookup || !lookup->resolve)
		return 0;
	if (lookup->resolve(lookup->ctx, ref, &id, &inner) < 0) {
		if (cs_err_code(inner) == CS_ERR_NOT_FOUND)
			inner->code = CS_ERR_INVALID; /* as dockerd: docker run takes a 404 of the creation for a missing image */
		return cs_err_move(err, inner);
	}
	free(*mode);
	*mode = cs_xasprintf("container:%s", id);
	free(id);
	return 0;
}

static bool hostname_valid(const char *s)
{
	size_t n = strlen(s);

	if (n > 64 || !n)
		return n == 0;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] <= ' ' || s[i] == '/' || s[i] == 0x7f)
			return false;
	return true;
}

static int check_config(const struct cs_config *c, struct cs_err **err)
{
	if (!hostname_valid(c->hostname ? c->hostname : ""))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid hostname: \"%.80s\": at most 64 characters without blanks or slashes", c->hostname);
	if (!hostname_valid(c->domainname ? c->domainname : ""))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid domain name: \"%.80s\": at most 64 characters without blanks or slashes",
			       c->domainname);
	for (size_t i = 0; c->env && c->env[i]; i++)
		if (!c->env[i][0] || c->env[i][0] == '=')
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid environment variable: %s", c->env[i]);
	if (!cs_empty(c->working_dir) && c->working_dir[0] != '/')
		return cs_fail(err, CS_ERR_INVALID, 0, "the working directory '%s' is invalid, it needs to be an absolute path", c->working_dir);
	if (!cs_empty(c->stop_signal) && cs_signal_parse(c->stop_signal) == 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "Invalid signal: %s", c->stop_signal);
	for (size_t i = 0; c->labels && i < c->labels->n; i++)
		if (!*c->labels->kv[i].key)
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid label: the key is empty");
	return cs_health_check(c->healthcheck, err);
}

/* ---- modes ---- */

static int check_modes(const struct cs_host_config *h, struct cs_err **err)
{
	static const char *const ipc[] = {"", "none", "private", "shareable", "host"};
	const char *m = h->ipc_mode ? h->ipc_mode : "";
	bool ok = !cs_empty(cs_mode_container(m));

	for (size_t i = 0; i < CS_ARRAY_SIZE(ipc); i++)
		ok = ok || strcmp(m, ipc[i]) == 0;
	if (!ok)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid IPC mode: %s", m);
	if (!cs_empty(h->pid_mode) && strcmp(h->pid_mode, "host") != 0 && cs_empty(cs_mode_container(h->pid_mode)))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid PID mode: %s", h->pid_mode);
	if (!cs_empty(h->uts_mode) && strcmp(h->uts_mode, "host") != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid UTS mode: %s", h->uts_mode);
	if (!cs_empty(h->userns_mode) && strcmp(h->userns_mode, "host") != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid user namespace mode: %s", h->userns_mode);
	m = h->cgroupns_mode ? h->cgroupns_mode : "";
	if (*m && strcmp(m, "private") != 0 && strcmp(m, "host") != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid cgroup namespace mode: %s", m);
	if (strcmp(m, "private") == 0 && !cs_host_facts()->cgroupns)
		return cs_fail(err, CS_ERR_INVALID, 0, "Your kernel does not support cgroup namespaces.  Cgroup namespace mode can not be set");
	if (!cs_empty(h->cgroup))
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "HostConfig.Cgroup (%s) is not available in this build", h->cgroup);
	if (!cs_empty(h->isolation) && strcasecmp(h->isolation, "hyperv") == 0)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "isolation hyperv is not available in this build");
	if (!cs_empty(h->isolation) && strcasecmp(h->isolation, "default") != 0 && strcasecmp(h->isolation, "process") != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid isolation '%s' on linux", h->isolation);
	return 0;
}

/* A sysctl outside the container's own namespaces would change the host. */
static int check_sysctl(const struct cs_host_config *h, const char *key, struct cs_err **err)
{
	static const char *const ipc[] = {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
					  "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"};
	bool own_ipc = !cs_streq(h->ipc_mode, "host"), own_net = !cs_streq(h->network_mode, "host"), own_uts = !cs_streq(h->uts_mode, "host");
	cs_autofree char *k = cs_xstrdup(key);
	bool ok = false;

	for (char *p = k; *p; p++)
		if (*p == '/')
			*p = '.';
	for (size_t i = 0; i < CS_ARRAY_SIZE(ipc); i++)
		ok = ok || (own_ipc && strcmp(k, ipc[i]) == 0);
	ok = ok || (own_ipc && cs_prefix(k, "fs.mqueue.")) || (own_net && cs_prefix(k, "net.")) ||
	     (own_uts && strcmp(k, "kernel.domainname") == 0);
	if (!ok || strstr(k, ".."))
		return cs_fail(err, CS_ERR_INVALID, 0, "sysctl \"%s\" is not in a separate kernel namespace", key);
	return 0;
}

static int check_paths(const char *field, char *const *v, struct cs_err **err)
{
	for (size_t i = 0; v && v[i]; i++)
		if (v[i][0] != '/')
			return cs_fail(err, CS_ERR_INVALID, 0, "%s: \"%s\" is not an absolute path", field, v[i]);
	return 0;
}

static int check_misc(const struct cs_host_config *h, struct cs_err **err)
{
	static const char *const runtimes[] = {"caisson", "runc", "io.containerd.runc.v2"};
	bool known = cs_empty(h->runtime);

	for (size_t i = 0; i < CS_ARRAY_SIZE(runtimes); i++)
		known = known || strcmp(h->runtime, runtimes[i]) == 0;
	if (!known)
		return cs_fail(err, CS_ERR_INVALID, 0, "unknown or invalid runtime name: %s", h->runtime);
	if (h->shm_size < 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "SHM size can not be less than 0");
	if (h->oom_score_adj < -1000 || h->oom_score_adj > 1000)
		return cs_fail(err, CS_ERR_INVALID, 0, "Invalid value %lld, range for oom score adj is [-1000, 1000]", (long long)h->oom_score_adj);
	for (size_t i = 0; h->annotations && i < h->annotations->n; i++)
		if (!*h->annotations->kv[i].key)
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid Annotations: the empty string is not permitted as an annotation key");
	for (size_t i = 0; h->sysctls && i < h->sysctls->n; i++)
		if (check_sysctl(h, h->sysctls->kv[i].key, err) < 0)
			return -1;
	if (!cs_empty(h->res.cgroup_parent)) {
		cs_autostrv char **parts = cs_strv_split(h->res.cgroup_parent, '/');
		if (cs_strv_has(parts, "..") || strpbrk(h->res.cgroup_parent, " \t\n"))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid cgroup parent: %s", h->res.cgroup_parent);
	}
	for (size_t i = 0; h->group_add && h->group_add[i]; i++)
		if (!*h->group_add[i] || strpbrk(h->group_add[i], ":\n"))
			return cs_fail(err, CS_ERR_INVALID, 0, "unable to find group %s", h->group_add[i]);
	if (check_paths("HostConfig.MaskedPaths", h->masked_paths, err) < 0 || check_paths("HostConfig.ReadonlyPaths", h->readonly_paths, err) < 0)
		return -1;
	uint16_t rows, cols;
	return cs_console_size_parse(h->console_size, "HostConfig.ConsoleSize", &rows, &cols, err);
}

static int check_security(const struct cs_host_config *h, char ***warnings, struct cs_err **err)
{
	struct cs_security_opts sec cs_auto(cs_security_opts_done) = {0};
	const struct cs_host_facts *f = cs_host_facts();
	uint64_t caps;

	if (cs_caps_effective(h->cap_add, h->cap_drop, h->privileged, &caps, err) < 0 || cs_security_opts_parse(h->security_opt, &sec, err) < 0)
		return -1;
	for (size_t i = 0; h->cap_add && h->cap_add[i]; i++) {
		int cap = cs_cap_by_name(h->cap_add[i]);
		if (cap < 0 || (f->capabilities & (1ull << cap)))
			continue;
		cs_autofree char *text = cs_xasprintf("The engine itself lacks %s. Capability discarded.", cs_cap_name(cap));
		cs_warn(warnings, text);
	}
	if (h->oom_score_adj < 0 && h->oom_score_adj < cs_host_oom_score_min()) {
		cs_autofree char *text = cs_xasprintf("The engine itself lacks CAP_SYS_RESOURCE. The OOM score cannot be lowered, it stays at %d.", cs_host_oom_score_min());
		cs_warn(warnings, text);
	}
	if (sec.label && strcmp(sec.label, "disable") != 0 && !f->selinux)
		cs_warn(warnings, "SELinux is not enabled on this host. Security labels discarded.");
	else if (sec.label && strcmp(sec.label, "disable") != 0)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "security option label: SELinux labels are not available in this build");
	return 0;
}

static int check_tmpfs(const struct cs_host_config *h, struct cs_err **err)
{
	for (size_t i = 0; h->tmpfs && i < h->tmpfs->n; i++) {
		cs_autofree char *opts = NULL;
		if (cs_tmpfs_target_check(h->tmpfs->kv[i].key, err) < 0 || cs_tmpfs_options(h->tmpfs->kv[i].val, &opts, err) < 0)
			return -1;
	}
	return 0;
}

/* Shape only; merging comes after the image is known. */
static int check_mount_specs(const struct cs_create_request *req, struct cs_err **err)
{
	const struct cs_host_config *h = req->host_config;

	for (size_t i = 0; h->binds && h->binds[i]; i++) {
		struct cs_bind_spec b cs_auto(cs_bind_spec_done) = {0};
		if (cs_bind_spec_parse(h->binds[i], &b, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < h->n_mounts; i++)
		if (cs_mount_check(&h->mounts[i], err) < 0)
			return -1;
	for (size_t i = 0; h->volumes_from && h->volumes_from[i]; i++) {
		cs_autofree char *ref = NULL;
		const char *mode;
		if (cs_volumes_from_parse(h->volumes_from[i], &ref, &mode, err) < 0)
			return -1;
	}
	return check_tmpfs(h, err);
}

/* ---- defaults ---- */

static void default_logging(const struct cs_engine_config *cfg, struct cs_log_config *log)
{
	bool engine_driver = cs_empty(log->type);

	if (engine_driver)
		set(&log->type, cs_empty(cfg->log_driver) ? "json-file" : cfg->log_driver);
	if (!log->config)
		log->config = cs_strmap_new();
	/* the engine's options belong to the engine's driver */
	if (engine_driver || cs_streq(log->type, cs_empty(cfg->log_driver) ? "json-file" : cfg->log_driver))
		for (size_t i = 0; cfg->log_opts && i < cfg->log_opts->n; i++)
			if (!cs_strmap_get(log->config, cfg->log_opts->kv[i].key))
				cs_strmap_set(log->config, cfg->log_opts->kv[i].key, cfg->log_opts->kv[i].val);
}

static bool labelled(char *const *opts)
{
	for (; opts && *opts; opts++)
		if (cs_prefix(*opts, "label=") || cs_prefix(*opts, "label:"))
			return true;
	return false;
}

static void default_modes(const struct cs_engine_config *cfg, struct cs_host_config *h)
{
	const struct cs_host_facts *f = cs_host_facts();

	if (cs_empty(h->ipc_mode))
		set(&h->ipc_mode, cs_empty(cfg->default_ipc_mode) ? "private" : cfg->default_ipc_mode);
	if (cs_empty(h->cgroupns_mode)) {
		/* dockerd: private on v2, host on v1 and for privileged containers there */
		const char *m = cs_empty(cfg->default_cgroupns_mode) ? (f->cgroup_version == 2 ? "private" : "host") : cfg->default_cgroupns_mode;
		set(&h->cgroupns_mode, f->cgroupns && !(h->privileged && f->cgroup_version == 1) ? m : "host");
	}
	if (cs_empty(h->runtime))
		set(&h->runtime, "caisson");
	if (cs_empty(h->restart_policy.name))
		set(&h->restart_policy.name, "no");
	uint16_t rows = 0, cols = 0;
	if (cs_console_size_parse(h->console_size, "", &rows, &cols, NULL) == 0) { /* two numbers, however many were sent */
		free(h->console_size);
		h->console_size = cs_xasprintf("[%u,%u]", rows, cols);
	}
	/* shown by dockerd for containers that labels could not hold anyway */
	if (!labelled(h->security_opt) && (h->privileged || cs_streq(h->pid_mode, "host") || cs_streq(h->ipc_mode, "host")))
		cs_strv_push(&h->security_opt, "label=disable");
	if (h->privileged) {
		cs_strv_free(h->masked_paths);
		cs_strv_free(h->readonly_paths);
		h->masked_paths = h->readonly_paths = NULL;
		return;
	}
	if (!h->masked_paths)
		h->masked_paths = cs_strv_copy(cs_default_masked_paths());
	if (!h->readonly_paths)
		h->readonly_paths = cs_strv_copy(cs_default_readonly_paths());
}

static void default_resources(const struct cs_engine_config *cfg, struct cs_host_config *h)
{
	if (h->shm_size == 0)
		h->shm_size = cfg->default_shm_size > 0 ? cfg->default_shm_size : SHM_DEFAULT;
	if (h->res.memory > 0 && h->res.memory_swap == 0 && h->res.memory <= INT64_MAX / 2)
		h->res.memory_swap = 2 * h->res.memory; /* as much swap as memory */
	if (h->res.oom_kill_disable == CS_NULL && cs_host_facts()->oom_kill_disable)
		h->res.oom_kill_disable = CS_FALSE;
}

static void default_hostname(const char *id, struct cs_create_request *req)
{
	struct cs_config *c = &req->config;
	char name[256];

	if (!cs_empty(c->hostname))
		return;
	/* a joined network brings its container's name at start; the host's network the host's */
	if (cs_streq(req->host_config->network_mode, "host") || cs_streq(req->host_config->uts_mode, "host")) {
		if (gethostname(name, sizeof(name) - 1) == 0) {
			name[sizeof(name) - 1] = 0;
			set(&c->hostname, name);
		}
		return;
	}
	free(c->hostname);
	c->hostname = cs_xstrndup(id, strnlen(id, 12));
}

/* Ports are elements of the firewall's tables: without them what is asked for does not happen, and that is told. */
static void warn_unpublished(const struct cs_engine_config *cfg, const struct cs_host_config *h, char ***warnings)
{
	bool publishes = h->publish_all_ports || (!cs_empty(h->port_bindings) && strcmp(h->port_bindings, "{}") != 0);

	if (publishes && !cfg->network.firewall && cs_network_is_private(h->network_mode) && !cs_streq(h->network_mode, "none"))
		cs_warn(warnings, "Published ports are discarded: the engine runs without its firewall tables (firewall: false)");
}

/* ---- older clients ---- */

static int forget_newer_of_mount(struct cs_mount *m, int api, struct cs_err **err)
{
	struct cs_bind_options *b = m->bind_options;

	if (b) {
		b->non_recursive = b->non_recursive && api >= 140;
		b->create_mountpoint = b->create_mountpoint && api >= 142;
		b->read_only_non_recursive = b->read_only_non_recursive && api >= 144; /* what is read-only is so without its submounts, anyway */
	}
	if (api < 142 && m->volume_options && !cs_streq(m->type, "volume")) { /* unseen then, an error since */
		cs_volume_options_free(m->volume_options);
		m->volume_options = NULL;
	}
	if (api < 142 && m->tmpfs_options && !cs_streq(m->type, "tmpfs")) {
		cs_tmpfs_options_free(m->tmpfs_options);
		m->tmpfs_options = NULL;
	}
	/* dockerd refuses these instead: whoever asks for them relies on them */
	if (api < 144 && b && b->read_only_force_recursive)
		return cs_fail(err, CS_ERR_INVALID, 0, "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer");
	if (api < 145 && m->volume_options && !cs_empty(m->volume_options->subpath))
		return cs_fail(err, CS_ERR_INVALID, 0, "VolumeOptions.Subpath needs API v1.45 or newer");
	return 0;
}

/* What a version of the API does not have, its clients cannot have meant; and some defaults were others. */
static int forget_newer(struct cs_create_request *req, int api, struct cs_err **err)
{
	struct cs_host_config *h = req->host_config;
	struct cs_networking_config *n = req->networking_config;

	if (api < 125)
		h->auto_remove = false; /* the client removes it */
	if (api < 140) {
		h->res.kernel_memory_tcp = 0;
		if (cs_empty(h->ipc_mode))
			set(&h->ipc_mode, "shareable");
	}
	if (api < 141 && cs_empty(h->cgroupns_mode) && cs_host_facts()->cgroup_version != 2)
		set(&h->cgroupns_mode, "host");
	if (api < 142)
		set(&h->console_size, NULL);
	if (api < 143) {
		cs_strmap_free(h->annotations);
		h->annotations = NULL;
	}
	if (api < 144 && req->config.healthcheck)
		req->config.healthcheck->start_interval = 0;
	for (size_t i = 0; i < h->n_mounts; i++)
		if (forget_newer_of_mount(&h->mounts[i], api, err) < 0)
			return -1;
	for (size_t i = 0; n && i < n->n_endpoints; i++) {
		if (api < 144)
			set(&n->endpoints[i].mac_address, NULL);
		if (api < 148)
			n->endpoints[i].gw_priority = 0;
	}
	return 0;
}

int cs_validate_create(const struct cs_engine_config *cfg, const struct cs_container_lookup *lookup, const char *id,
		       struct cs_create_request *req, int api, char ***warnings, struct cs_err **err)
{
	if (!req->host_config)
		req->host_config = cs_xcalloc(1, sizeof(*req->host_config));
	struct cs_host_config *h = req->host_config;

	if (api && forget_newer(req, api, err) < 0)
		return -1;
	if (check_config(&req->config, err) < 0)
		return -1;
	if (h->auto_remove && !cs_empty(h->restart_policy.name) && strcmp(h->restart_policy.name, "no") != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "can't create 'AutoRemove' container with restart policy");
	default_resources(cfg, h);
	if (cs_restart_policy_check(&h->restart_policy, err) < 0 || check_modes(h, err) < 0 || cs_network_check(lookup, req, api, warnings, err) < 0 ||
	    check_mount_specs(req, err) < 0 || cs_resources_check(&h->res, false, warnings, err) < 0 || check_misc(h, err) < 0 ||
	    check_security(h, warnings, err) < 0)
		return -1;
	warn_unpublished(cfg, h, warnings);
	default_logging(cfg, &h->log_config);
	if (cs_log_config_check(&h->log_config, err) < 0)
		return -1;
	default_modes(cfg, h);
	if (req->config.volumes && !req->config.volumes[0]) { /* {} is shown as null */
		cs_strv_free(req->config.volumes);
		req->config.volumes = NULL;
	}
	cs_autoerr struct cs_err *later = NULL; /* an unknown network is told at the start, as dockerd does */
	(void)resolve_mode(lookup, &h->network_mode, &later);
	if (resolve_mode(lookup, &h->pid_mode, err) < 0 || resolve_mode(lookup, &h->ipc_mode, err) < 0)
		return -1;
	default_hostname(id, req);
	return 0;
}

int cs_validate_exec(const struct cs_exec_config *exec, struct cs_err **err)
{
	uint8_t keys[CS_DETACH_KEYS_MAX];
	uint16_t rows, cols;
	size_t n;

	if (!exec->cmd || !exec->cmd[0])
		return cs_fail(err, CS_ERR_INVALID, 0, "No exec command specified");
	for (size_t i = 0; exec->env && exec->env[i]; i++)
		if (!exec->env[i][0] || exec->env[i][0] == '=')
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid environment variable: %s", exec->env[i]);
	if (!cs_empty(exec->working_dir) && exec->working_dir[0] != '/')
		return cs_fail(err, CS_ERR_INVALID, 0, "the working directory '%s' is invalid, it needs to be an absolute path", exec->working_dir);
	if (cs_console_size_parse(exec->console_size, "ConsoleSize", &rows, &cols, err) < 0)
		return -1;
	return cs_detach_keys_parse(exec->detach_keys, keys, &n, err);
}
