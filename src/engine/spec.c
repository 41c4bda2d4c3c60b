/* SPDX-License-Identifier: Apache-2.0
 *
 * The HCS document of a container with its OCI specification: Docker's default Linux container, changed by HostConfig.
 * Written straight into the buffer at every start. Any thread. */
#include "engine/spec.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/path.h"
#include "engine/hostfacts.h"
#include "engine/spec-internal.h"

/* ---- default paths ---- */

static char **masked;
static pthread_once_t masked_once = PTHREAD_ONCE_INIT;

/* Per-CPU thermal counters tell neighbours apart (a side channel); only the directories that this host has. */
static void make_masked(void)
{
	static const char *const fixed[] = {"/proc/acpi",       "/proc/asound",       "/proc/interrupts",  "/proc/kcore",
					    "/proc/keys",       "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
					    "/proc/timer_list", "/proc/timer_stats",  "/sys/devices/virtual/powercap", "/sys/firmware"};

	for (size_t i = 0; i < CS_ARRAY_SIZE(fixed); i++)
		cs_strv_push(&masked, fixed[i]);
	for (long cpu = 0, n = sysconf(_SC_NPROCESSORS_CONF); cpu < n; cpu++) {
		cs_autofree char *p = cs_xasprintf("/sys/devices/system/cpu/cpu%ld/thermal_throttle", cpu);
		if (access(p, F_OK) == 0)
			cs_strv_push(&masked, p);
	}
}

char *const *cs_default_masked_paths(void)
{
	(void)pthread_once(&masked_once, make_masked);
	return masked;
}

char *const *cs_default_readonly_paths(void)
{
	static char bus[] = "/proc/bus", fs[] = "/proc/fs", irq[] = "/proc/irq", sys[] = "/proc/sys", sysrq[] = "/proc/sysrq-trigger";
	static char *const paths[] = {bus, fs, irq, sys, sysrq, NULL};

	return paths;
}

/* ---- mounts ---- */

static void put_mount_open(struct cs_str *out, const char *dest, const char *type, const char *source, const char *options)
{
	cs_str_puts(out, out->buf[out->len - 1] == '[' ? "{" : ",{");
	cs_json_put_kstr(out, "destination", dest);
	cs_json_put_kstr(out, "type", type);
	cs_json_put_kstr(out, "source", source);
	cs_json_put_key(out, "options");
	cs_str_putc(out, '[');
	for (const char *p = options; *p;) {
		size_t n = strcspn(p, ",");
		if (p != options)
			cs_str_putc(out, ',');
		cs_json_put_stringn(out, p, n);
		p += n + (p[n] == ',');
	}
	cs_str_putc(out, ']');
}

static void put_mount(struct cs_str *out, const char *dest, const char *type, const char *source, const char *options)
{
	put_mount_open(out, dest, type, source, options);
	cs_str_putc(out, '}');
}

/* A bind of what lies at `subpath` below `source`, which no link on the way may leave; `ns` names another mount namespace or is NULL. */
static void put_bind_beneath(struct cs_str *out, const char *dest, const char *source, const char *options, const char *subpath,
			     const char *ns)
{
	put_mount_open(out, dest, "bind", source, options);
	cs_json_put_kstr(out, "subpath", subpath);
	if (ns)
		cs_json_put_kstr(out, "mountNamespace", ns);
	cs_str_putc(out, '}');
}

struct user_mount { /* one mount that the configuration asks for, in mounting order */
	const char *dest;
	const struct cs_mount_point *point; /* with */
	char *const *layers;                /* of an image, or */
	const char *tmpfs;                  /* options as written, or */
	const char *bind;                   /* host file */
	bool ro;                            /* bind only */
	int depth;
};

static int by_depth(const void *a, const void *b)
{
	const struct user_mount *x = a, *y = b;

	return x->depth != y->depth ? x->depth - y->depth : strcmp(x->dest, y->dest);
}

static void add_mount(struct user_mount *v, size_t *n, struct user_mount m)
{
	for (const char *p = m.dest; *p; p++)
		m.depth += *p == '/';
	v[(*n)++] = m;
}

static bool has_dest(const struct user_mount *v, size_t n, const char *dest)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(v[i].dest, dest) == 0)
			return true;
	return false;
}

/* A mount of the user's stands in for Docker's own at the same place, and one at /dev for all below it. */
static bool overridden(const struct user_mount *v, size_t n, const char *dest)
{
	return has_dest(v, n, dest) || (cs_prefix(dest, "/dev/") && has_dest(v, n, "/dev"));
}

/* Who shares System V and POSIX IPC shares the shared memory, which is files: the host's, or the other container's. */
static void put_shm(const struct cs_spec_input *in, struct cs_str *out)
{
	char text[96];

	if (cs_streq(in->host->ipc_mode, "host")) {
		put_mount(out, "/dev/shm", "bind", "/dev/shm", "rbind,rprivate");
	} else if (in->ipc_mounts) {
		put_bind_beneath(out, "/dev/shm", "/", "rbind,rprivate", "dev/shm", in->ipc_mounts);
	} else {
		(void)snprintf(text, sizeof(text), "nosuid,noexec,nodev,mode=1777,size=%lld", (long long)in->host->shm_size);
		put_mount(out, "/dev/shm", "tmpfs", "shm", text);
	}
}

static void put_default_mounts(const struct cs_spec_input *in, const struct cs_security_opts *sec, const struct user_mount *v, size_t n,
			       struct cs_str *out)
{
	const struct cs_host_config *h = in->host;
	bool rw = h->privileged;
	const char *sys = rw ? "nosuid,noexec,nodev,rw" : "nosuid,noexec,nodev,ro";
	const char *cgroup = rw || sec->writable_cgroups ? "nosuid,noexec,nodev,rw" : "ro,nosuid,noexec,nodev";

	if (!overridden(v, n, "/proc"))
		put_mount(out, "/proc", "proc", "proc", "nosuid,noexec,nodev");
	if (!overridden(v, n, "/dev"))
		put_mount(out, "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k");
	if (!overridden(v, n, "/dev/pts"))
		put_mount(out, "/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5");
	if (!overridden(v, n, "/sys"))
		put_mount(out, "/sys", "sysfs", "sysfs", sys);
	if (!overridden(v, n, "/sys/fs/cgroup"))
		put_mount(out, "/sys/fs/cgroup", "cgroup", "cgroup", cgroup);
	if (!overridden(v, n, "/dev/mqueue"))
		put_mount(out, "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"); /* shows the queues of whatever namespace we are in */
	if (!overridden(v, n, "/dev/shm") && !cs_streq(h->ipc_mode, "none"))
		put_shm(in, out);
}

static void put_bind(struct cs_str *out, const struct cs_mount_point *p)
{
	const char *propagation = cs_empty(p->propagation) ? "rprivate" : p->propagation;
	bool bind = cs_streq(p->type, "bind");
	cs_autofree char *options =
		cs_xasprintf("%s,%s%s", p->non_recursive ? "bind" : "rbind",
			     p->rw ? "" : bind && !p->ro_non_recursive && !p->non_recursive ? "rro," : "ro,", propagation);

	if (cs_empty(p->subpath))
		put_mount(out, p->destination, "bind", p->source, options);
	else
		put_bind_beneath(out, p->destination, p->source, options, p->subpath, NULL);
}

static int put_user_mount(struct cs_str *out, const struct user_mount *m, struct cs_err **err)
{
	cs_autofree char *options = NULL;

	if (m->bind) {
		put_mount(out, m->dest, "bind", m->bind, m->ro ? "rbind,ro,rprivate" : "rbind,rprivate");
		return 0;
	}
	if (m->tmpfs) {
		if (cs_tmpfs_options(m->tmpfs, &options, err) < 0)
			return -1;
		put_mount(out, m->dest, "tmpfs", "tmpfs", options);
		return 0;
	}
	const struct cs_mount_point *p = m->point;
	if (cs_streq(p->type, "image")) {
		put_mount_open(out, m->dest, "layers", p->source, "ro");
		cs_json_put_key(out, "layers");
		cs_json_put_strv(out, m->layers);
		if (!cs_empty(p->subpath))
			cs_json_put_kstr(out, "subpath", p->subpath);
		cs_str_putc(out, '}');
	} else if (cs_streq(p->type, "tmpfs")) {
		put_mount(out, m->dest, "tmpfs", "tmpfs", p->options ? p->options : "noexec,nosuid,nodev");
	} else {
		put_bind(out, p);
	}
	return 0;
}

static int put_mounts(const struct cs_spec_input *in, const struct cs_security_opts *sec, struct cs_str *out, struct cs_err **err)
{
	static const char *const files[] = {"resolv.conf", "hostname", "hosts"};
	bool init = cs_spec_init(in->cfg, in->host) == CS_INIT_FILE;
	const struct cs_strmap *tmpfs = in->host->tmpfs;
	size_t n_tmpfs = tmpfs ? tmpfs->n : 0, n = 0;
	cs_autofree struct user_mount *v = cs_xcalloc(in->n_mounts + n_tmpfs + CS_ARRAY_SIZE(files) + init, sizeof(*v));
	char *paths[CS_ARRAY_SIZE(files)] = {NULL}, *dests[CS_ARRAY_SIZE(files)] = {NULL};
	cs_autostrv char **targets = cs_xcalloc(n_tmpfs + 1, sizeof(*targets)); /* Binds and Mounts are clean; these are as they were written */
	const char *dir = in->network_dir ? in->network_dir : in->container_dir;

	for (size_t i = 0; i < in->n_mounts; i++)
		add_mount(v, &n, (struct user_mount){.dest = in->mounts[i].destination, .point = &in->mounts[i], .layers = in->mount_layers ? in->mount_layers[i] : NULL});
	for (size_t i = 0; i < n_tmpfs; i++)
		add_mount(v, &n, (struct user_mount){.dest = targets[i] = cs_path_clean(tmpfs->kv[i].key), .tmpfs = tmpfs->kv[i].val ? tmpfs->kv[i].val : ""});
	size_t n_user = n;
	for (size_t i = 0; i < CS_ARRAY_SIZE(files); i++) {
		dests[i] = cs_xasprintf("/etc/%s", files[i]);
		paths[i] = cs_xasprintf("%s/%s", dir, files[i]);
		if (!has_dest(v, n_user, dests[i]))
			add_mount(v, &n, (struct user_mount){.dest = dests[i], .bind = paths[i], .ro = in->host->readonly_rootfs});
	}
	if (init)
		add_mount(v, &n, (struct user_mount){.dest = CS_INIT_PLACE, .bind = in->cfg->init_path, .ro = true});
	qsort(v, n, sizeof(*v), by_depth);
	cs_json_put_key(out, "mounts");
	cs_str_putc(out, '[');
	put_default_mounts(in, sec, v, n, out);
	int r = 0;
	for (size_t i = 0; i < n && r == 0; i++)
		r = put_user_mount(out, &v[i], err);
	cs_str_putc(out, ']');
	for (size_t i = 0; i < CS_ARRAY_SIZE(files); i++) {
		free(paths[i]);
		free(dests[i]);
	}
	return r;
}

/* The container's root must let events through as far as its most open bind does. */
static const char *root_propagation(const struct cs_spec_input *in)
{
	const char *ret = "rprivate";

	for (size_t i = 0; i < in->n_mounts; i++) {
		const char *p = in->mounts[i].propagation;
		if (cs_streq(p, "shared") || cs_streq(p, "rshared"))
			return "shared";
		if (cs_streq(p, "slave") || cs_streq(p, "rslave"))
			ret = "rslave";
	}
	return ret;
}

/* ---- namespaces, sysctls, paths ---- */

static void put_namespace(struct cs_str *out, const char *type, const char *path)
{
	cs_str_puts(out, out->buf[out->len - 1] == '[' ? "{" : ",{");
	cs_json_put_kstr(out, "type", type);
	if (path)
		cs_json_put_kstr(out, "path", path);
	cs_str_putc(out, '}');
}

/* "container:" without a living process cannot be joined. */
static int check_joined(const char *mode, const char *path, struct cs_err **err)
{
	const char *ref = cs_mode_container(mode);

	if (ref && !path)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "cannot join namespace of a non running container: %s", ref);
	return 0;
}

static int put_namespaces(const struct cs_spec_input *in, struct cs_str *out, struct cs_err **err)
{
	const struct cs_host_config *h = in->host;

	if (check_joined(h->network_mode, in->net_path, err) < 0 || check_joined(h->pid_mode, in->pid_path, err) < 0 ||
	    check_joined(h->ipc_mode, in->ipc_path, err) < 0)
		return -1;
	cs_json_put_key(out, "namespaces");
	cs_str_putc(out, '[');
	put_namespace(out, "mount", NULL);
	if (!cs_streq(h->network_mode, "host"))
		put_namespace(out, "network", in->net_path);
	if (!cs_streq(h->uts_mode, "host"))
		put_namespace(out, "uts", NULL);
	if (!cs_streq(h->pid_mode, "host"))
		put_namespace(out, "pid", in->pid_path);
	if (!cs_streq(h->ipc_mode, "host"))
		put_namespace(out, "ipc", in->ipc_path);
	if (cs_streq(h->cgroupns_mode, "private") && cs_host_facts()->cgroupns)
		put_namespace(out, "cgroup", NULL);
	cs_str_putc(out, ']');
	return 0;
}

static void put_sysctls(const struct cs_host_config *h, struct cs_str *out)
{
	/* with a network of its own a container may ping and use low ports without privileges, as Docker has it since 20.10 */
	bool own_net = !cs_streq(h->network_mode, "host") && !cs_mode_container(h->network_mode);
	struct cs_strmap *m = h->sysctls ? cs_strmap_copy(h->sysctls) : cs_strmap_new();

	if (own_net && !cs_strmap_get(m, "net.ipv4.ip_unprivileged_port_start"))
		cs_strmap_set(m, "net.ipv4.ip_unprivileged_port_start", "0");
	if (own_net && !cs_strmap_get(m, "net.ipv4.ping_group_range"))
		cs_strmap_set(m, "net.ipv4.ping_group_range", "0 2147483647");
	if (m->n) {
		cs_json_put_key(out, "sysctl");
		cs_json_put_strmap(out, m);
	}
	cs_strmap_free(m);
}

static int put_seccomp(const struct cs_spec_input *in, const struct cs_security_opts *sec, uint64_t caps, struct cs_str *out,
		       struct cs_err **err)
{
	struct cs_str file cs_autostr = CS_STR_INIT((size_t)1 << 20);
	const char *profile = sec->seccomp, *engine = in->cfg->seccomp_profile;

	if (sec->seccomp_unconfined || (in->host->privileged && !profile)) /* a profile of its own holds for a privileged one, too */
		return 0;
	if (!profile && !sec->seccomp_builtin && !cs_empty(engine) && strcmp(engine, "builtin") != 0) {
		if (strcmp(engine, "unconfined") == 0)
			return 0;
		cs_autofd int fd = open(engine, O_RDONLY | O_CLOEXEC);
		int r = fd < 0 ? -errno : cs_read_fd(fd, &file);
		if (r < 0)
			return cs_fail(err, CS_ERR_INTERNAL, -r, "opening seccomp profile (%s) failed", engine);
		profile = file.buf ? file.buf : "";
	}
	struct cs_str text cs_autostr = CS_STR_INIT((size_t)1 << 20);
	/* by the name under which the compute service has it: no start parses four hundred names; else the text in a string */
	if (cs_seccomp_ref(profile, caps, in->use, &text, err) < 0)
		return -1;
	cs_json_put_key(out, "seccomp");
	cs_json_put_string(out, text.buf);
	return 0;
}

static char *cgroups_path(const struct cs_spec_input *in)
{
	const char *parent = cs_empty(in->host->res.cgroup_parent) ? in->cfg->cgroup_parent : in->host->res.cgroup_parent;
	cs_autofree char *joined = cs_xasprintf("/%s/%s", cs_empty(parent) ? "caisson" : parent, in->id);

	return cs_path_clean(joined);
}

static int put_linux(const struct cs_spec_input *in, const struct cs_security_opts *sec, uint64_t caps, struct cs_str *out,
		     struct cs_err **err)
{
	const struct cs_host_config *h = in->host;
	struct cs_str devices cs_autostr = CS_STR_INIT(CS_SPEC_MAX), rules cs_autostr = CS_STR_INIT(CS_SPEC_MAX);
	cs_autofree char *cgroup = cgroups_path(in);
	static char *const none[] = {NULL};

	if (cs_devices_put(h, &devices, &rules, err) < 0)
		return -1;
	cs_json_put_key(out, "linux");
	cs_str_putc(out, '{');
	if (put_namespaces(in, out, err) < 0)
		return -1;
	cs_json_put_kstr(out, "cgroupsPath", cgroup);
	cs_json_put_kstr(out, "rootfsPropagation", root_propagation(in));
	put_sysctls(h, out);
	cs_json_put_key(out, "devices");
	cs_str_putc(out, '[');
	cs_str_put(out, devices.buf, devices.len);
	cs_str_puts(out, "],\"resources\":{\"devices\":[");
	cs_str_put(out, rules.buf, rules.len);
	cs_str_putc(out, ']');
	cs_resources_put_members(&h->res, out);
	cs_str_putc(out, '}');
	cs_json_put_key(out, "maskedPaths");
	cs_json_put_strv(out, h->privileged || !h->masked_paths ? none : h->masked_paths);
	cs_json_put_key(out, "readonlyPaths");
	cs_json_put_strv(out, h->privileged || !h->readonly_paths ? none : h->readonly_paths);
	if (put_seccomp(in, sec, caps, out, err) < 0)
		return -1;
	cs_str_putc(out, '}');
	return 0;
}

/* ---- the document ---- */

static void put_storage(const struct cs_spec_input *in, struct cs_str *out)
{
	cs_json_put_key(out, "Storage");
	cs_str_puts(out, "{\"Layers\":[");
	if (in->marks_dir) {
		cs_str_putc(out, '{');
		cs_json_put_kstr(out, "Path", in->marks_dir);
		cs_str_putc(out, '}');
	}
	for (size_t i = 0; in->layer_dirs && in->layer_dirs[i]; i++) {
		cs_str_puts(out, i || in->marks_dir ? ",{" : "{");
		cs_json_put_kstr(out, "Id", in->layer_ids && in->layer_ids[i] ? in->layer_ids[i] : "");
		cs_json_put_kstr(out, "Path", in->layer_dirs[i]);
		cs_str_putc(out, '}');
	}
	cs_str_putc(out, ']');
	cs_json_put_kstr(out, "Path", in->snapshot_dir);
	cs_str_putc(out, '}');
}

static int put_container(const struct cs_spec_input *in, uint16_t rows, uint16_t cols, struct cs_str *out, struct cs_err **err)
{
	const struct cs_config *c = in->config;

	cs_str_puts(out, "{\"Owner\":\"caisson\",\"SchemaVersion\":{\"Major\":2,\"Minor\":1},\"ShouldTerminateOnLastHandleClosed\":false,"
			 "\"Container\":{\"GuestOs\":{");
	if (!cs_streq(in->host->uts_mode, "host") && !cs_empty(c->hostname))
		cs_json_put_kstr(out, "HostName", c->hostname);
	cs_str_putc(out, '}');
	put_storage(in, out);
	cs_str_puts(out, ",\"Networking\":{");
	cs_json_put_kstr(out, "Namespace", in->net_ns);
	cs_str_putc(out, '}');
	cs_json_put_key(out, "Stdio");
	cs_str_putc(out, '{');
	cs_json_put_kbool(out, "OpenStdin", c->open_stdin);
	cs_json_put_kbool(out, "StdinOnce", c->stdin_once);
	if (rows && cols)
		cs_str_putf(out, ",\"ConsoleSize\":[%u,%u]", rows, cols);
	cs_str_putc(out, '}');
	if (cs_log_put(in, out, err) < 0)
		return -1;
	cs_json_put_kbool(out, "Init", cs_spec_init(in->cfg, in->host) == CS_INIT_BUILT_IN);
	cs_str_putc(out, '}');
	return 0;
}

static int build(const struct cs_spec_input *in, struct cs_str *out, struct cs_err **err);

int cs_spec_build(const struct cs_spec_input *in, struct cs_str *out, struct cs_err **err)
{
	struct cs_spec_input own = *in;
	struct cs_config config = *in->config; /* borrowed but for the environment */
	cs_autostrv char **env = cs_strv_copy(in->link_env);

	for (char **p = env ? config.env : NULL; p && *p; p++) /* links first: the container's own may override them */
		cs_strv_push(&env, *p);
	if (env)
		config.env = env;
	own.config = &config;
	return build(&own, out, err);
}

static int build(const struct cs_spec_input *in, struct cs_str *out, struct cs_err **err)
{
	struct cs_security_opts sec cs_auto(cs_security_opts_done) = {0};
	const struct cs_host_config *h = in->host;
	uint16_t rows = in->rows, cols = in->cols;
	uint64_t caps;

	if (cs_security_opts_parse(h->security_opt, &sec, err) < 0 || cs_caps_effective(h->cap_add, h->cap_drop, h->privileged, &caps, err) < 0)
		return -1;
	if (!(rows && cols) && cs_console_size_parse(h->console_size, "HostConfig.ConsoleSize", &rows, &cols, err) < 0)
		return -1;
	if (put_container(in, rows, cols, out, err) < 0)
		return -1;
	cs_json_put_key(out, "OciSpecification");
	cs_str_puts(out, "{\"ociVersion\":\"1.2.0\"");
	cs_process_put(in->cfg, in->config, h, &sec, caps, rows, cols, out);
	cs_json_put_key(out, "root");
	cs_str_putc(out, '{');
	cs_json_put_kstr(out, "path", in->snapshot_dir);
	cs_json_put_kbool(out, "readonly", h->readonly_rootfs);
	cs_str_putc(out, '}');
	if (!cs_streq(h->uts_mode, "host")) {
		if (!cs_empty(in->config->hostname))
			cs_json_put_kstr(out, "hostname", in->config->hostname);
		if (!cs_empty(in->config->domainname))
			cs_json_put_kstr(out, "domainname", in->config->domainname);
	}
	if (put_mounts(in, &sec, out, err) < 0)
		return -1;
	if (h->annotations && h->annotations->n) {
		cs_json_put_key(out, "annotations");
		cs_json_put_strmap(out, h->annotations);
	}
	if (put_linux(in, &sec, caps, out, err) < 0)
		return -1;
	cs_str_puts(out, "}}");
	return out->failed ? cs_fail(err, CS_ERR_INVALID, 0, "container %s: its configuration is too large", in->id) : 0;
}
