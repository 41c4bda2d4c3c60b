/* SPDX-License-Identifier: Apache-2.0
 *
 * Probes the host once: cgroup layout, capabilities, namespaces, kernel features. Missing things become warnings, never failures. */
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/vfs.h>

#include "base/io.h"
#include "base/json.h"
#include "base/oom.h"
#include "base/strv.h"
#include "base/sys.h"
#include "compute/document/host.h"
#include "compute/document/document.h"

/* ---- cgroups ---- */

static const char *const v1_controllers[] = {"memory", "cpu", "cpuacct", "cpuset", "pids", "blkio", "devices", "freezer", "hugetlb",
					     "net_cls", "net_prio", "perf_event", "rdma", "misc", NULL};

static char *v1_names(const char *super_options)
{
	cs_autostr struct cs_str s = CS_STR_INIT(4096);

	for (const char *const *c = v1_controllers; *c; c++)
		if (cs_str_lists(super_options, *c, ",")) {
			if (s.len)
				cs_str_putc(&s, ',');
			cs_str_puts(&s, *c);
		}
	if (!s.len) {
		const char *name = strstr(super_options, "name=");
		if (name)
			cs_str_put(&s, name, strcspn(name, ","));
	}
	return s.len ? cs_str_steal(&s) : NULL;
}

static void add_hierarchy(struct cs_host *h, char *names, const char *mount, int version, bool bare)
{
	if (h->n_hierarchies == CS_HOST_MAX_HIERARCHIES || !names) {
		free(names);
		return;
	}
	for (size_t i = 0; i < h->n_hierarchies; i++)
		if (strcmp(h->hierarchy[i].names, names) == 0) { /* mounted twice */
			free(names);
			return;
		}
	h->hierarchy[h->n_hierarchies++] = (struct cs_hierarchy){.names = names, .mount = cs_xstrdup(mount), .version = version, .bare = bare};
	if (!strchr(names, '=')) {
		char **list = cs_strv_split(names, ',');
		for (char **c = list; *c; c++)
			cs_strv_push(&h->controllers, *c);
		cs_strv_free(list);
	}
}

static void probe_v2(struct cs_host *h, const char *mount)
{
	cs_autostr struct cs_str text = CS_STR_INIT(4096);
	cs_autofree char *type = cs_xasprintf("%s/cgroup.type", mount), *procs = cs_xasprintf("%s/cgroup.procs", mount);
	/* in a container of our own "/" is an ordinary group: with processes in it, it gives its children only what it gives already */
	bool stuck = access(type, F_OK) == 0 && cs_read_file_at(AT_FDCWD, procs, &text) == 0 && text.len > 0;
	cs_autofree char *file = cs_xasprintf("%s/cgroup.%s", mount, stuck ? "subtree_control" : "controllers");

	cs_str_clear(&text);
	if (stuck)
		cs_warnf(&h->warnings, "the cgroup at %s holds processes itself and cannot hand controllers down: move them to a group below", mount);
	h->cgroup_version = 2;
	h->hierarchy[h->n_hierarchies++] = (struct cs_hierarchy){.names = cs_xstrdup(""), .mount = cs_xstrdup(mount), .version = 2};
	if (cs_read_file_at(AT_FDCWD, file, &text) == 0 && text.buf) {
		text.buf[strcspn(text.buf, "\n")] = 0;
		char **list = cs_strv_split(text.buf, ' ');
		for (char **c = list; *c; c++)
			if (**c)
				cs_strv_push(&h->controllers, *c);
		cs_strv_free(list);
	}
	cs_strv_push(&h->controllers, "devices"); /* by BPF */
	cs_strv_push(&h->controllers, "freezer"); /* built in */
	cs_strv_push(&h->controllers, "cpuacct"); /* cpu.stat is always there */
}

/* One line: id parent dev root mountpoint options [tags] - fstype source superoptions */
static void mountinfo_line(struct cs_host *h, char *line, char **v2_mount)
{
	char *fields[5] = {0};
	char *save = line, *dash = strstr(line, " - ");
	char *type, *super;

	if (!dash)
		return;
	*dash = 0;
	for (int i = 0; i < 5; i++)
		fields[i] = strsep(&save, " ");
	type = dash + 3;
	super = strchr(type, ' ');
	if (!super || !fields[4])
		return;
	*super++ = 0;
	super = strchr(super, ' ');
	if (!super)
		return;
	super++;
	if (strcmp(type, "cgroup2") == 0 && !*v2_mount)
		*v2_mount = cs_xstrdup(fields[4]);
	else if (strcmp(type, "cgroup") == 0) {
		char *names = v1_names(super);
		/* systemd's own hierarchy matters to systemd only: the host's, or one in a container */
		bool bare = cs_streq(names, "name=systemd") && access("/run/systemd/system", F_OK) < 0;
		add_hierarchy(h, names, fields[4], 1, bare);
	}
}

static void probe_cgroups(struct cs_host *h)
{
	cs_autostr struct cs_str text = CS_STR_INIT(4 << 20);
	cs_autofree char *v2 = NULL;

	if (cs_read_file_at(AT_FDCWD, "/proc/self/mountinfo", &text) < 0 || !text.buf)
		return;
	char *rest = text.buf, *line;
	while ((line = strsep(&rest, "\n")))
		mountinfo_line(h, line, &v2);
	bool v1 = h->controllers != NULL;
	if (v1) {
		h->cgroup_version = 1;
		h->hybrid = v2 != NULL;
		if (v2)
			add_hierarchy(h, cs_xstrdup("name=unified"), v2, 2, true);
		h->unified = TAKE_PTR(v2);
	} else if (v2) {
		for (size_t i = 0; i < h->n_hierarchies; i++) { /* name=systemd alone */
			free(h->hierarchy[i].names);
			free(h->hierarchy[i].mount);
		}
		h->n_hierarchies = 0;
		probe_v2(h, v2);
	}
	const char *memory = cs_host_controller_mount(h, "memory");
	if (memory) {
		cs_autofree char *f = cs_xasprintf("%s/%s", memory, h->cgroup_version == 2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes");
		/* v2's root group has no limits: ask any child of it */
		h->swap_accounting = access(f, F_OK) == 0 || h->cgroup_version == 2;
	}
}

static void warn_cgroups(struct cs_host *h)
{
	static const struct {
		const char *v1, *v2, *lost;
	} wanted[] = {
		{"memory", "memory", "memory limits and statistics"}, {"cpu", "cpu", "CPU limits"},
		{"cpuset", "cpuset", "CPU pinning"},		       {"pids", "pids", "the limit of processes"},
		{"blkio", "io", "block I/O limits and statistics"},    {"devices", "devices", "access control of devices"},
		{"freezer", "freezer", "pausing"},		       {"cpuacct", "cpuacct", "CPU statistics"},
	};

	if (h->cgroup_version == 0) {
		cs_warnf(&h->warnings, "no cgroup hierarchy is mounted: containers run without limits and statistics");
		return;
	}
	for (size_t i = 0; i < CS_ARRAY_SIZE(wanted); i++) {
		const char *name = h->cgroup_version == 2 ? wanted[i].v2 : wanted[i].v1;
		if (cs_host_has_controller(h, name))
			continue;
		cs_strv_push(&h->missing, name);
		cs_warnf(&h->warnings, "cgroup controller %s is missing: %s will not work", name, wanted[i].lost);
	}
}

const char *cs_host_controller_mount(const struct cs_host *h, const char *controller)
{
	if (h->cgroup_version == 2)
		return h->n_hierarchies && cs_strv_has(h->controllers, controller) ? h->hierarchy[0].mount : NULL;
	for (size_t i = 0; i < h->n_hierarchies; i++)
		if (cs_str_lists(h->hierarchy[i].names, controller, ","))
			return h->hierarchy[i].mount;
	return NULL;
}

bool cs_host_has_controller(const struct cs_host *h, const char *controller) { return cs_strv_has(h->controllers, controller); }

/* ---- capabilities ---- */

static void probe_caps(struct cs_host *h)
{
	static const struct {
		int cap;
		const char *lost;
	} wanted[] = {
		{CAP_SYS_ADMIN, "containers cannot be started"},
		{CAP_SYS_RESOURCE, "hard limits cannot be raised and OOM scores cannot be lowered"},
		{CAP_SYS_CHROOT, "containers cannot be started"},
		{CAP_SETPCAP, "capabilities of containers cannot be limited"},
		{CAP_SETUID, "containers cannot run as another user"},
		{CAP_SETGID, "containers cannot run as another group"},
		{CAP_MKNOD, "device nodes cannot be made"},
		{CAP_NET_ADMIN, "networks cannot be set up"},
	};
	struct __user_cap_header_struct hdr = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	if (syscall(SYS_capget, &hdr, data) == 0)
		h->caps = data[0].permitted | (uint64_t)data[1].permitted << 32;
	for (unsigned i = 0; i < 64; i++)
		if (i > CS_CAP_LAST || prctl(PR_CAPBSET_READ, i, 0, 0, 0) != 1)
			h->caps &= ~(1ull << i);
	for (size_t i = 0; i < CS_ARRAY_SIZE(wanted); i++)
		if (!cs_host_has_cap(h, (unsigned)wanted[i].cap))
			cs_warnf(&h->warnings, "%s is missing: %s", cs_cap_name((int)wanted[i].cap), wanted[i].lost);
}

/* ---- features ---- */

static bool exists(const char *path) { return access(path, F_OK) == 0; }
static bool has_syscall(long r) { return !(r < 0 && errno == ENOSYS); }

static void probe_features(struct cs_host *h)
{
	static const char *const ns[][2] = {{"pid", "process ids"}, {"net", "networks"}, {"ipc", "IPC"}, {"uts", "host names"}, {"mnt", "mounts"}};
	struct open_how how = {.flags = O_PATH | O_CLOEXEC};

	h->userns = exists("/proc/self/ns/user");
	h->cgroupns = exists("/proc/self/ns/cgroup");
	h->timens = exists("/proc/self/ns/time");
	h->seccomp = prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
	h->apparmor = exists("/sys/kernel/security/apparmor") || exists("/sys/module/apparmor");
	h->selinux = exists("/sys/fs/selinux/status");
	cs_autofd int fd = (int)syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));
	h->openat2 = has_syscall(fd);
	h->clone3 = has_syscall(syscall(SYS_clone3, NULL, 0));
	cs_autofd int pidfd = sys_pidfd_open(getpid(), 0);
	h->pidfd = pidfd >= 0;
	h->mount_setattr = has_syscall(syscall(SYS_mount_setattr, -1, "", 0, NULL, 0));
	cs_autofd int mem = sys_memfd_create("probe", MFD_CLOEXEC | MFD_EXEC);
	h->memfd_exec = mem >= 0;
	for (size_t i = 0; i < CS_ARRAY_SIZE(ns); i++) {
		cs_autofree char *path = cs_xasprintf("/proc/self/ns/%s", ns[i][0]);
		if (!exists(path))
			cs_warnf(&h->warnings, "%s namespaces are missing in this kernel: %s are shared with the host", ns[i][0], ns[i][1]);
	}
	if (!h->seccomp)
		cs_warnf(&h->warnings, "seccomp is missing in this kernel: system calls are not filtered");
	for (int i = 0; i < CS_HOST_RLIMITS; i++) {
		struct rlimit rl;
		h->rlimit_max[i] = getrlimit((__rlimit_resource_t)i, &rl) == 0 ? rl.rlim_max : RLIM_INFINITY;
	}
	h->oom_score_least = cs_oom_score_least();
	if (h->oom_score_least > 0)
		cs_warnf(&h->warnings, "the OOM score of containers cannot be below %d: the engine was started with that, without CAP_SYS_RESOURCE", h->oom_score_least);
}

int cs_host_probe(struct cs_host *ret, struct cs_err **err)
{
	(void)err;
	*ret = (struct cs_host){0};
	probe_cgroups(ret);
	probe_caps(ret);
	warn_cgroups(ret);
	probe_features(ret);
	return 0;
}

void cs_host_done(struct cs_host *h)
{
	for (size_t i = 0; i < h->n_hierarchies; i++) {
		free(h->hierarchy[i].names);
		free(h->hierarchy[i].mount);
	}
	cs_strv_free(h->controllers);
	cs_strv_free(h->missing);
	cs_strv_free(h->warnings);
	free(h->unified);
	*h = (struct cs_host){0};
}

void cs_host_describe(const struct cs_host *h, struct cs_str *out)
{
	char *none[] = {NULL};
	const struct {
		const char *name;
		bool value;
	} features[] = {
		{"userns", h->userns},	  {"cgroupns", h->cgroupns}, {"timens", h->timens},	    {"openat2", h->openat2},
		{"clone3", h->clone3},	  {"pidfd", h->pidfd},	      {"mount_setattr", h->mount_setattr}, {"memfd_exec", h->memfd_exec},
		{"seccomp", h->seccomp},  {"apparmor", h->apparmor}, {"selinux", h->selinux},	    {"swap_accounting", h->swap_accounting},
		{"freezer", cs_host_has_controller(h, "freezer")},   {"hybrid", h->hybrid},
	};

	cs_str_putc(out, '{');
	cs_json_put_ki64(out, "CgroupVersion", h->cgroup_version);
	cs_json_put_key(out, "Controllers");
	cs_json_put_strv(out, h->controllers ? h->controllers : none);
	cs_json_put_key(out, "Features");
	cs_str_putc(out, '{');
	for (size_t i = 0; i < CS_ARRAY_SIZE(features); i++)
		cs_json_put_kbool(out, features[i].name, features[i].value);
	cs_str_putc(out, '}');
	cs_json_put_key(out, "Warnings");
	cs_json_put_strv(out, h->warnings ? h->warnings : none);
	cs_json_put_key(out, "Capabilities");
	cs_str_putc(out, '[');
	bool first = true;
	for (unsigned i = 0; i <= CS_CAP_LAST; i++) {
		if (!cs_host_has_cap(h, i))
			continue;
		if (!first)
			cs_str_putc(out, ',');
		first = false;
		cs_json_put_string(out, cs_cap_name((int)i));
	}
	cs_str_puts(out, "]}");
}
