/* SPDX-License-Identifier: Apache-2.0
 *
 * ComputeSystem documents to start plans. Order of the steps: see process/plan.h. Pure; any thread. */
#include <sched.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/strv.h"
#include "base/sys.h"
#include "compute/document/document.h"
#include "compute/document/fields.h"
#include "compute/process/plan.h"

#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

void cs_warnf(char ***warnings, const char *fmt, ...)
{
	cs_autostr struct cs_str s = CS_STR_INIT(16384);
	va_list ap;

	va_start(ap, fmt);
	cs_str_vputf(&s, fmt, ap);
	va_end(ap);
	if (s.buf)
		cs_strv_push(warnings, s.buf);
}

void cs_document_done(struct cs_document *d)
{
	free(d->owner);
	free(d->cgroups_path);
	cs_filter_unref(d->seccomp);
	cs_seccomp_release(d->profile);
	cs_strv_free(d->warnings);
	*d = (struct cs_document){0};
}

struct build {
	const struct cs_compile_env *env;
	struct cs_document *d;
	struct cs_str *plan;
	json_t *container, *spec, *linux_, *process;
	const char *root; /* "OciSpecification" */
	bool made_network; /* Networking.Namespace is given */
};

static int refuse_member(json_t *o, const char *path, const char *key, const char *why, struct cs_err **err)
{
	json_t *v = json_object_get(o, key);

	if (!v || json_is_null(v) || (json_is_object(v) && !json_object_size(v)) || (json_is_array(v) && !json_array_size(v)) ||
	    (json_is_string(v) && !json_string_length(v)))
		return 0;
	return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "%s.%s: %s", path, key, why);
}

/* ---- Container ---- */

static int stdio_step(struct build *b, struct cs_err **err)
{
	static const char *const known[] = {"OpenStdin", "StdinOnce", "ConsoleSize", "DetachKeys", NULL};
	unsigned char keys[16] = {16, 17};
	size_t n_keys = 2;
	json_t *o = NULL, *size = NULL;
	bool open_stdin = false, once = false, tty = false;
	int64_t rows = 0, cols = 0;

	if (cs_field_obj(b->container, "Container", "Stdio", 0, &o, err) < 0)
		return -1;
	if (o && (cs_field_only(o, "Container.Stdio", known, err) < 0 || cs_field_bool(o, "Container.Stdio", "OpenStdin", &open_stdin, err) < 0 ||
		  cs_field_bool(o, "Container.Stdio", "StdinOnce", &once, err) < 0 || cs_field_arr(o, "Container.Stdio", "ConsoleSize", 0, &size, err) < 0))
		return -1;
	if (o && json_object_get(o, "DetachKeys") && cs_detach_keys(json_object_get(o, "DetachKeys"), "Container.Stdio", keys, &n_keys, err) < 0)
		return -1;
	if (size) {
		json_t *r = json_array_get(size, 0), *c = json_array_get(size, 1);
		if (json_array_size(size) != 2 || !json_is_integer(r) || !json_is_integer(c) || json_integer_value(r) < 0 || json_integer_value(c) < 0 ||
		    json_integer_value(r) > UINT16_MAX || json_integer_value(c) > UINT16_MAX)
			return cs_fail(err, CS_ERR_INVALID, 0, "Container.Stdio.ConsoleSize: expected [rows, columns]");
		rows = json_integer_value(r);
		cols = json_integer_value(c);
	}
	if (cs_field_bool(b->process, "OciSpecification.process", "terminal", &tty, err) < 0)
		return -1;
	b->d->tty = tty;
	cs_plan_add(b->plan, CS_PLAN_STDIO, (uint64_t)tty, (uint64_t)open_stdin, (uint64_t)once, (uint64_t)rows, (uint64_t)cols);
	cs_plan_add(b->plan, CS_PLAN_DETACH_KEYS, keys, n_keys);
	return 0;
}

static int log_step(struct build *b, struct cs_err **err)
{
	static const char *const known[] = {"Driver", "Path", "MaxSize", "MaxFile", "Compress", "Attrs", NULL};
	static const char at[] = "Container.Logging";
	const char *driver = "none", *path = "";
	json_t *o = NULL, *attrs = NULL;
	int64_t max_size = 0, max_file = 1;
	bool compress = false;

	if (cs_field_obj(b->container, "Container", "Logging", 0, &o, err) < 0)
		return -1;
	if (o && (cs_field_only(o, at, known, err) < 0 || cs_field_str(o, at, "Driver", CS_F_REQUIRED, &driver, err) < 0 ||
		  cs_field_str(o, at, "Path", 0, &path, err) < 0 || cs_field_i64(o, at, "MaxSize", 0, INT64_MAX, &max_size, err) < 0 ||
		  cs_field_i64(o, at, "MaxFile", 1, 100000, &max_file, err) < 0 || cs_field_bool(o, at, "Compress", &compress, err) < 0 ||
		  cs_field_obj(o, at, "Attrs", 0, &attrs, err) < 0))
		return -1;
	if (strcmp(driver, "json-file") != 0 && strcmp(driver, "local") != 0 && strcmp(driver, "none") != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.Driver: %s is not known", at, driver);
	if (strcmp(driver, "none") != 0 && *path != '/')
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.Path: must be an absolute path", at);
	cs_autofree char *text = attrs && json_object_size(attrs) ? json_dumps(attrs, JSON_COMPACT) : NULL;
	cs_plan_add(b->plan, CS_PLAN_LOG, driver, path, (uint64_t)max_size, (uint64_t)max_file, (uint64_t)compress, text ? text : "");
	return 0;
}

size_t cs_layers_common(char **layers, size_t n)
{
	size_t len = strlen(layers[0]);

	for (size_t i = 1; i < n; i++) {
		size_t k = 0;
		while (k < len && layers[i][k] == layers[0][k])
			k++;
		len = k;
	}
	while (len && layers[0][len - 1] != '/')
		len--;
	return len; /* with the slash */
}

static int overlay_step(struct build *b, struct cs_err **err)
{
	static const char *const known[] = {"Layers", "Path", "Options", NULL}, *const layer_known[] = {"Id", "Path", NULL};
	json_t *o = NULL, *layers = NULL, *v;
	const char *path = NULL, *options = "";
	size_t i;

	if (cs_field_obj(b->container, "Container", "Storage", CS_F_REQUIRED, &o, err) < 0 || cs_field_only(o, "Container.Storage", known, err) < 0 ||
	    cs_field_arr(o, "Container.Storage", "Layers", CS_F_REQUIRED, &layers, err) < 0 ||
	    cs_field_str(o, "Container.Storage", "Path", CS_F_REQUIRED, &path, err) < 0 || cs_field_str(o, "Container.Storage", "Options", 0, &options, err) < 0)
		return -1;
	size_t n = json_array_size(layers);
	if (n == 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "Container.Storage.Layers: at least one layer is needed");
	if (*path != '/')
		return cs_fail(err, CS_ERR_INVALID, 0, "Container.Storage.Path: must be an absolute path");
	cs_autofree char **list = cs_xcalloc(n + 1, sizeof(char *));
	json_array_foreach(layers, i, v)
	{
		cs_autofree char *at = cs_xasprintf("Container.Storage.Layers[%zu]", i);
		const char *p = NULL;
		if (cs_field_is_obj(v, at, err) < 0 || cs_field_only(v, at, layer_known, err) < 0 || cs_field_str(v, at, "Path", CS_F_REQUIRED, &p, err) < 0)
			return -1;
		if (*p != '/')
			return cs_fail(err, CS_ERR_INVALID, 0, "%s.Path: must be an absolute path", at);
		list[i] = (char *)(uintptr_t)p;
	}
	size_t common = cs_layers_common(list, n);
	cs_autofree char *dir = cs_xstrndup(list[0], common > 1 ? common - 1 : 1);
	for (i = 0; i < n; i++)
		list[i] += common;
	cs_autofree char *upper = cs_xasprintf("%s/upper", path), *work = cs_xasprintf("%s/work", path);
	/* on the directory itself: it is seen in the container's own mount namespace only, and one directory less is to be made and deleted */
	cs_plan_add(b->plan, CS_PLAN_OVERLAY, dir, list, upper, work, path, options);
	return 0;
}

/* ---- namespaces, cgroups ---- */

static const struct {
	const char *type;
	uint64_t flag;
} ns_types[] = {{"pid", CLONE_NEWPID}, {"network", CLONE_NEWNET}, {"mount", CLONE_NEWNS},
		{"ipc", CLONE_NEWIPC}, {"uts", CLONE_NEWUTS},	  {"cgroup", CLONE_NEWCGROUP}};

struct join {
	uint64_t flag;
	const char *path;
};

static int one_namespace(struct build *b, json_t *v, const char *at, uint64_t *seen, struct join *join, struct cs_err **err)
{
	const char *type = NULL, *path = "";
	uint64_t flag = 0;

	if (cs_field_is_obj(v, at, err) < 0 || cs_field_str(v, at, "type", CS_F_REQUIRED, &type, err) < 0 || cs_field_str(v, at, "path", 0, &path, err) < 0)
		return -1;
	for (size_t k = 0; k < CS_ARRAY_SIZE(ns_types); k++)
		if (strcmp(ns_types[k].type, type) == 0)
			flag = ns_types[k].flag;
	if (strcmp(type, "user") == 0 || strcmp(type, "time") == 0)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "%s: %s namespaces are not available in this build", at, type);
	if (!flag)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.type: %s is not known", at, type);
	if (*seen & flag)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s: the %s namespace is given twice", at, type);
	*seen |= flag;
	if (*path) {
		if (*path != '/')
			return cs_fail(err, CS_ERR_INVALID, 0, "%s.path: must be an absolute path", at);
		if (flag == CLONE_NEWNS)
			return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "%s.path: a mount namespace cannot be joined", at);
		*join = (struct join){flag, path};
		return 0;
	}
	if (flag == CLONE_NEWCGROUP && !b->env->host->cgroupns) {
		cs_warnf(&b->d->warnings, "this kernel has no cgroup namespaces: the container sees the host's");
		return 0;
	}
	b->d->clone_flags |= flag;
	return 0;
}

static int namespace_steps(struct build *b, struct cs_err **err)
{
	struct join joins[CS_ARRAY_SIZE(ns_types)];
	json_t *list = NULL, *v;
	uint64_t seen = 0;
	size_t i, n = 0;

	if (cs_field_arr(b->linux_, "OciSpecification.linux", "namespaces", 0, &list, err) < 0)
		return -1;
	json_array_foreach(list, i, v)
	{
		cs_autofree char *at = cs_xasprintf("OciSpecification.linux.namespaces[%zu]", i);
		struct join j = {0};
		if (one_namespace(b, v, at, &seen, &j, err) < 0)
			return -1;
		if (j.flag)
			joins[n++] = j;
	}
	if (!(b->d->clone_flags & CLONE_NEWNS))
		return cs_fail(err, CS_ERR_INVALID, 0, "OciSpecification.linux.namespaces: a container needs a mount namespace of its own");
	/* made by the host network service for this container alone: its own, though it is joined */
	for (i = 0; i < n; i++)
		b->d->own_network = b->d->own_network || (joins[i].flag == CLONE_NEWNET && b->made_network);
	b->d->own_network = b->d->own_network || (b->d->clone_flags & CLONE_NEWNET);
	if (b->made_network && (!b->d->own_network || (b->d->clone_flags & CLONE_NEWNET)))
		return cs_fail(err, CS_ERR_INVALID, 0, "Container.Networking.Namespace: OciSpecification.linux.namespaces must give its path");
	cs_plan_add(b->plan, CS_PLAN_CLONE, b->d->clone_flags);
	for (i = 0; i < n; i++)
		cs_plan_add(b->plan, CS_PLAN_SETNS, joins[i].flag, joins[i].path);
	return 0;
}

static bool good_cgroups_path(const char *p)
{
	bool good = *p == '/' && p[1];
	char **parts = cs_strv_split(p, '/');

	for (char **q = parts + 1; good && *q; q++)
		good = **q && strcmp(*q, ".") != 0 && strcmp(*q, "..") != 0 && strlen(*q) < 256 && !strpbrk(*q, "\n\r");
	cs_strv_free(parts);
	return good;
}

static bool overlap(const char *x, const char *y)
{
	size_t n = CS_MIN(strlen(x), strlen(y));

	return strncmp(x, y, n) == 0 && (x[n] == 0 || x[n] == '/' || n == 1) && (y[n] == 0 || y[n] == '/' || n == 1);
}

/* May the container make groups of its own? Then it needs a place in every hierarchy: a systemd in it that finds itself in the root of one takes the host's
 * groups (init.scope, system.slice) for its own. */
static bool may_make_groups(const struct build *b)
{
	const json_t *bounding = json_object_get(json_object_get(b->process, "capabilities"), "bounding");
	json_t *m, *o;
	size_t i, k;

	json_array_foreach(json_object_get(b->spec, "mounts"), i, m)
	{
		const char *source = json_string_value(json_object_get(m, "source"));
		bool ro = false;
		json_array_foreach(json_object_get(m, "options"), k, o) ro = ro || cs_streq(json_string_value(o), "ro");
		if (cs_streq(json_string_value(json_object_get(m, "type")), "cgroup") ? !ro : source && overlap(source, "/sys/fs/cgroup"))
			return true;
	}
	json_array_foreach(bounding, i, o) if (cs_streq(json_string_value(o), "CAP_SYS_ADMIN")) return true;
	return false;
}

static int cgroup_steps(struct build *b, struct cs_err **err)
{
	const struct cs_host *h = b->env->host;
	static const char at[] = "OciSpecification.linux";
	const char *path = NULL;
	json_t *resources = NULL;
	struct cs_settings set = {0};

	if (cs_field_str(b->linux_, at, "cgroupsPath", 0, &path, err) < 0 || cs_field_obj(b->linux_, at, "resources", 0, &resources, err) < 0)
		return -1;
	b->d->cgroups_path = path && *path ? cs_xstrdup(path) : cs_xasprintf("/caisson/%s", b->env->id);
	if (!good_cgroups_path(b->d->cgroups_path))
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.cgroupsPath: %s is not a clean absolute path", at, b->d->cgroups_path);
	bool all = may_make_groups(b);
	for (size_t i = 0; i < h->n_hierarchies; i++) {
		const struct cs_hierarchy *y = &h->hierarchy[i];
		cs_autofree char *dir = cs_xasprintf("%s%s", y->mount, b->d->cgroups_path);
		if (all || !y->bare)
			cs_plan_add(b->plan, CS_PLAN_CGROUP, y->names, dir, (uint64_t)y->version);
	}
	int r = cs_resources_compile(resources, "OciSpecification.linux.resources", h, b->d->cgroups_path, false, &set, err);
	for (size_t i = 0; r == 0 && i < set.n; i++)
		cs_plan_add(b->plan, CS_PLAN_CGROUP_SET, set.v[i].file, set.v[i].value, (uint64_t)set.v[i].required);
	if (r == 0 && set.device_bpf_len && h->n_hierarchies) {
		cs_autofree char *dir = cs_xasprintf("%s%s", h->hierarchy[0].mount, b->d->cgroups_path);
		cs_plan_add(b->plan, CS_PLAN_CGROUP_DEVICE_BPF, dir, set.device_bpf, set.device_bpf_len);
	}
	for (char **w = set.warnings; r == 0 && w && *w; w++)
		cs_strv_push(&b->d->warnings, *w);
	cs_settings_done(&set);
	return r;
}

/* ---- devices ---- */

static const struct {
	const char *path;
	unsigned major, minor;
} default_devices[] = {{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
		       {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};
static const char *const links[][2] = {{"/proc/self/fd", "/dev/fd"},	  {"/proc/self/fd/0", "/dev/stdin"}, {"/proc/self/fd/1", "/dev/stdout"},
				       {"/proc/self/fd/2", "/dev/stderr"}, {"pts/ptmx", "/dev/ptmx"},	      {"/proc/kcore", "/dev/core"}};

static int one_device(struct build *b, json_t *v, const char *at, struct cs_err **err)
{
	const char *path = NULL, *type = NULL;
	int64_t major = 0, minor = 0, mode = 0666, uid = 0, gid = 0;

	if (cs_field_is_obj(v, at, err) < 0 || cs_field_str(v, at, "path", CS_F_REQUIRED, &path, err) < 0 ||
	    cs_field_str(v, at, "type", CS_F_REQUIRED, &type, err) < 0 || cs_field_i64(v, at, "major", 0, 0xfff, &major, err) < 0 ||
	    cs_field_i64(v, at, "minor", 0, 0xfffff, &minor, err) < 0 || cs_field_i64(v, at, "fileMode", 0, 0177777, &mode, err) < 0 ||
	    cs_field_i64(v, at, "uid", 0, UINT32_MAX - 1, &uid, err) < 0 || cs_field_i64(v, at, "gid", 0, UINT32_MAX - 1, &gid, err) < 0)
		return -1;
	mode_t kind = strcmp(type, "c") == 0 || strcmp(type, "u") == 0 ? S_IFCHR : strcmp(type, "b") == 0 ? S_IFBLK : strcmp(type, "p") == 0 ? S_IFIFO : 0;
	if (!kind)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.type: expected c, b, u or p, got %s", at, type);
	if (*path != '/')
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.path: must be an absolute path", at);
	cs_plan_add(b->plan, CS_PLAN_DEVICE, path, (uint64_t)kind, (uint64_t)major, (uint64_t)minor, (uint64_t)(mode & 07777), (uint64_t)uid, (uint64_t)gid);
	return 0;
}

static bool names_device(json_t *list, const char *path)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		const char *p = json_string_value(json_object_get(v, "path"));
		if (p && strcmp(p, path) == 0)
			return true;
	}
	return false;
}

static int device_steps(struct build *b, bool dev_is_bind, struct cs_err **err)
{
	json_t *list = NULL, *v;
	size_t i;

	if (cs_field_arr(b->linux_, "OciSpecification.linux", "devices", 0, &list, err) < 0)
		return -1;
	for (i = 0; !dev_is_bind && i < CS_ARRAY_SIZE(default_devices); i++)
		if (!names_device(list, default_devices[i].path))
			cs_plan_add(b->plan, CS_PLAN_DEVICE, default_devices[i].path, (uint64_t)S_IFCHR, (uint64_t)default_devices[i].major,
				    (uint64_t)default_devices[i].minor, (uint64_t)0666, (uint64_t)0, (uint64_t)0);
	json_array_foreach(list, i, v)
	{
		cs_autofree char *at = cs_xasprintf("OciSpecification.linux.devices[%zu]", i);
		if (dev_is_bind)
			break; /* the host's /dev stays as it is */
		if (one_device(b, v, at, err) < 0)
			return -1;
	}
	for (i = 0; !dev_is_bind && i < CS_ARRAY_SIZE(links); i++)
		cs_plan_add(b->plan, CS_PLAN_SYMLINK, links[i][0], links[i][1]);
	if (b->d->tty && !dev_is_bind)
		cs_plan_add(b->plan, CS_PLAN_CONSOLE);
	return 0;
}

/* ---- the rest of the root ---- */

static int path_steps(struct build *b, const char *key, enum cs_plan_op op, struct cs_err **err)
{
	cs_autofree char **list = NULL;

	if (cs_field_strv(b->linux_, "OciSpecification.linux", key, &list, err) < 0)
		return -1;
	for (size_t i = 0; list && list[i]; i++) {
		if (*list[i] != '/')
			return cs_fail(err, CS_ERR_INVALID, 0, "OciSpecification.linux.%s[%zu]: must be an absolute path", key, i);
		cs_plan_add(b->plan, op, list[i]);
	}
	return 0;
}

static int propagation_step(struct build *b, struct cs_err **err)
{
	static const struct {
		const char *name;
		uint64_t flags;
	} known[] = {{"private", MS_PRIVATE}, {"rprivate", MS_PRIVATE | MS_REC}, {"slave", MS_SLAVE},
		     {"rslave", MS_SLAVE | MS_REC}, {"shared", MS_SHARED}, {"rshared", MS_SHARED | MS_REC}};
	const char *name = "";
	uint64_t flags = 0;

	if (cs_field_str(b->linux_, "OciSpecification.linux", "rootfsPropagation", 0, &name, err) < 0)
		return -1;
	for (size_t i = 0; i < CS_ARRAY_SIZE(known); i++)
		if (strcmp(known[i].name, name) == 0)
			flags = known[i].flags;
	if (*name && !flags)
		return cs_fail(err, CS_ERR_INVALID, 0, "OciSpecification.linux.rootfsPropagation: %s is not known", name);
	cs_plan_add(b->plan, CS_PLAN_ROOT_PROPAGATION, flags ? flags : (uint64_t)(MS_PRIVATE | MS_REC));
	return 0;
}

static int readonly_step(struct build *b, struct cs_err **err)
{
	json_t *root = NULL;
	bool readonly = false;

	if (cs_field_obj(b->spec, "OciSpecification", "root", 0, &root, err) < 0)
		return -1;
	if (root && cs_field_bool(root, "OciSpecification.root", "readonly", &readonly, err) < 0)
		return -1;
	if (readonly)
		cs_plan_add(b->plan, CS_PLAN_ROOT_READONLY);
	return 0;
}

static int name_steps(struct build *b, struct cs_err **err)
{
	static const char *const known[] = {"HostName", NULL};
	const char *host = "", *domain = "";
	json_t *guest = NULL;

	if (cs_field_obj(b->container, "Container", "GuestOs", 0, &guest, err) < 0)
		return -1;
	if (guest && (cs_field_only(guest, "Container.GuestOs", known, err) < 0 || cs_field_str(guest, "Container.GuestOs", "HostName", 0, &host, err) < 0))
		return -1;
	if (cs_field_str(b->spec, "OciSpecification", "hostname", 0, &host, err) < 0 ||
	    cs_field_str(b->spec, "OciSpecification", "domainname", 0, &domain, err) < 0)
		return -1;
	bool own = b->d->clone_flags & CLONE_NEWUTS;
	if (strlen(host) > 64 || strlen(domain) > 64)
		return cs_fail(err, CS_ERR_INVALID, 0, "OciSpecification.hostname: at most 64 characters are possible");
	/* a shared name is not ours to change (docker run --uts=host keeps Config.Hostname) */
	if (*host && own)
		cs_plan_add(b->plan, CS_PLAN_HOSTNAME, host);
	if (*domain && own)
		cs_plan_add(b->plan, CS_PLAN_DOMAINNAME, domain);
	if (b->d->clone_flags & CLONE_NEWNET)
		cs_plan_add(b->plan, CS_PLAN_LOOPBACK);
	return 0;
}

/* A sysctl that is not the container's own would change the host. */
static bool sysctl_is_own(const struct build *b, const char *key)
{
	static const char *const ipc[] = {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
					  "kernel.shmmni", "kernel.shm_rmid_forced", NULL};

	for (const char *const *k = ipc; *k; k++)
		if (strcmp(*k, key) == 0)
			return b->d->clone_flags & CLONE_NEWIPC;
	if (cs_prefix(key, "fs.mqueue."))
		return b->d->clone_flags & CLONE_NEWIPC;
	if (cs_prefix(key, "net."))
		return b->d->own_network;
	if (strcmp(key, "kernel.domainname") == 0 || strcmp(key, "kernel.hostname") == 0)
		return b->d->clone_flags & CLONE_NEWUTS;
	return false;
}

static int sysctl_steps(struct build *b, struct cs_err **err)
{
	static const char at[] = "OciSpecification.linux.sysctl";
	json_t *o = NULL, *v;
	const char *key;

	if (cs_field_obj(b->linux_, "OciSpecification.linux", "sysctl", 0, &o, err) < 0)
		return -1;
	json_object_foreach(o, key, v)
	{
		if (!json_is_string(v))
			return cs_fail(err, CS_ERR_INVALID, 0, "%s.%s: expected string", at, key);
		if (strstr(key, "..") || strstr(key, "//") || *key == '/' || *key == '.')
			return cs_fail(err, CS_ERR_INVALID, 0, "%s: %s is not a sysctl", at, key);
		cs_autofree char *dotted = cs_xstrdup(key);
		const char *first = strpbrk(dotted, "./");
		if (first && *first == '/') /* sysctl(8): with slashes first, the two are swapped */
			for (char *p = dotted; *p; p++)
				*p = *p == '/' ? '.' : *p == '.' ? '/' : *p;
		if (!sysctl_is_own(b, dotted))
			return cs_fail(err, CS_ERR_INVALID, 0, "sysctl \"%s\" is not in a separate kernel namespace", key);
		cs_plan_add(b->plan, CS_PLAN_SYSCTL, key, json_string_value(v));
	}
	return 0;
}

/* ---- what is known and not done ---- */

static int refused(struct build *b, struct cs_err **err)
{
	static const char top[] = "OciSpecification", l[] = "OciSpecification.linux";

	if (refuse_member(b->spec, top, "hooks", "hooks are not available in this build", err) < 0 ||
	    refuse_member(b->spec, top, "windows", "a Linux host runs no Windows process", err) < 0 ||
	    refuse_member(b->spec, top, "vm", "isolation hyperv is not available in this build", err) < 0 ||
	    refuse_member(b->linux_, l, "uidMappings", "user namespaces are not available in this build", err) < 0 ||
	    refuse_member(b->linux_, l, "gidMappings", "user namespaces are not available in this build", err) < 0 ||
	    refuse_member(b->linux_, l, "intelRdt", "Intel RDT is not available in this build", err) < 0 ||
	    refuse_member(b->linux_, l, "personality", "personalities are not available in this build", err) < 0 ||
	    refuse_member(b->linux_, l, "timeOffsets", "time namespaces are not available in this build", err) < 0 ||
	    refuse_member(b->linux_, l, "netDevices", "moving network devices is not available in this build", err) < 0 ||
	    refuse_member(b->linux_, l, "memoryPolicy", "memory policies are not available in this build", err) < 0 ||
	    refuse_member(b->linux_, l, "mountLabel", "SELinux is not available in this build", err) < 0)
		return -1;
	return 0;
}

static int parse_top(json_t *doc, struct build *b, struct cs_err **err)
{
	static const char *const known[] = {"Owner", "SchemaVersion", "ShouldTerminateOnLastHandleClosed", "Container", "OciSpecification",
					    "HostingSystemId", "VirtualMachine", NULL};
	static const char *const version_known[] = {"Major", "Minor", NULL};
	static const char *const container_known[] = {"GuestOs", "Storage", "Networking", "Stdio", "Logging", "Init", NULL};
	static const char *const net_known[] = {"Namespace", NULL};
	json_t *version = NULL, *net = NULL;
	const char *owner = NULL, *ns = "";
	int64_t major = 2, minor = 1;

	if (cs_field_is_obj(doc, "ComputeSystem", err) < 0 || cs_field_only(doc, "", known, err) < 0)
		return -1;
	if (refuse_member(doc, "ComputeSystem", "HostingSystemId", "isolation hyperv is not available in this build", err) < 0 ||
	    (json_object_get(doc, "VirtualMachine") &&
	     cs_fail(err, CS_ERR_UNSUPPORTED, 0, "ComputeSystem.VirtualMachine: isolation hyperv is not available in this build") < 0))
		return -1;
	if (cs_field_str(doc, "", "Owner", 0, &owner, err) < 0 || cs_field_obj(doc, "", "SchemaVersion", CS_F_REQUIRED, &version, err) < 0 ||
	    cs_field_only(version, "SchemaVersion", version_known, err) < 0 || cs_field_i64(version, "SchemaVersion", "Major", 0, 1000, &major, err) < 0 ||
	    cs_field_i64(version, "SchemaVersion", "Minor", 0, 1000, &minor, err) < 0 ||
	    cs_field_bool(doc, "", "ShouldTerminateOnLastHandleClosed", &b->d->terminate_on_last_close, err) < 0 ||
	    cs_field_obj(doc, "", "Container", CS_F_REQUIRED, &b->container, err) < 0 ||
	    cs_field_only(b->container, "Container", container_known, err) < 0 ||
	    cs_field_obj(doc, "", "OciSpecification", CS_F_REQUIRED, &b->spec, err) < 0 ||
	    cs_field_obj(b->spec, "OciSpecification", "process", CS_F_REQUIRED, &b->process, err) < 0 ||
	    cs_field_obj(b->spec, "OciSpecification", "linux", CS_F_REQUIRED, &b->linux_, err) < 0 ||
	    cs_field_obj(b->container, "Container", "Networking", 0, &net, err) < 0)
		return -1;
	if (major != 2)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "SchemaVersion: 2.x is understood, not %lld.%lld", (long long)major, (long long)minor);
	if (net && (cs_field_only(net, "Container.Networking", net_known, err) < 0 || cs_field_str(net, "Container.Networking", "Namespace", 0, &ns, err) < 0))
		return -1;
	b->made_network = *ns;
	b->d->owner = cs_xstrdup(owner ? owner : "");
	return 0;
}

int cs_document_compile(json_t *doc, const struct cs_compile_env *env, struct cs_document *ret, struct cs_str *plan, struct cs_err **err)
{
	struct cs_document d = {0};
	struct build b = {.env = env, .d = &d, .plan = plan};
	bool init = false, dev_is_bind = false;
	json_t *seccomp = NULL;

	int r = parse_top(doc, &b, err);
	if (r == 0)
		r = refused(&b, err);
	if (r == 0)
		r = cs_field_bool(b.container, "Container", "Init", &init, err);
	if (r == 0)
		r = cs_field_obj_or_text(b.linux_, "OciSpecification.linux", "seccomp", &seccomp, err);
	if (r == 0 && seccomp && !env->host->seccomp)
		cs_warnf(&d.warnings, "seccomp is missing in this kernel: the container's system calls are not filtered");
	else if (r == 0 && json_is_string(seccomp) && cs_prefix(json_string_value(seccomp), CS_SECCOMP_PREFIX))
		r = cs_seccomp_by_name(json_string_value(seccomp), "OciSpecification.linux.seccomp", &d.profile, &d.seccomp, err);
	else if (r == 0 && seccomp)
		r = cs_seccomp_get(seccomp, "OciSpecification.linux.seccomp", &d.seccomp, err);
	if (r == 0)
		cs_plan_add(plan, CS_PLAN_ID, env->id);
	if (r < 0 || stdio_step(&b, err) < 0 || log_step(&b, err) < 0 || cgroup_steps(&b, err) < 0 ||
	    namespace_steps(&b, err) < 0)
		goto fail;
	if (init)
		cs_plan_add(plan, CS_PLAN_INIT);
	if (propagation_step(&b, err) < 0 || overlay_step(&b, err) < 0 ||
	    cs_mounts_compile(b.spec, "OciSpecification", &d, &dev_is_bind, plan, err) < 0 || device_steps(&b, dev_is_bind, err) < 0)
		goto fail;
	cs_plan_add(plan, CS_PLAN_PIVOT); /* before what does not need the host's tree any more: letting that go takes a while */
	if (path_steps(&b, "maskedPaths", CS_PLAN_MASK, err) < 0 || path_steps(&b, "readonlyPaths", CS_PLAN_READONLY, err) < 0 ||
	    readonly_step(&b, err) < 0 || name_steps(&b, err) < 0 || sysctl_steps(&b, err) < 0 ||
	    cs_process_compile(b.process, "OciSpecification.process", env->host, d.seccomp, &d.warnings, plan, err) < 0)
		goto fail;
	if (plan->failed) {
		(void)cs_fail(err, CS_ERR_INVALID, 0, "the document is too large");
		goto fail;
	}
	*ret = d;
	return 0;
fail:
	cs_document_done(&d);
	return -1;
}
