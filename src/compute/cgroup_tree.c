/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups of a system on the host: finding, listing, killing, removing; whole trees, since a container may have made groups of its
 * own. Paths are ours (host mounts and ids that were checked). Any thread. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "base/path.h"
#include "base/strv.h"
#include "base/time.h"
#include "compute/internal.h"

#define MAX_DEPTH 32

/* The system's group in a hierarchy. Made when needed: a dozen paths per system would be most of what an idle one holds. */
static char *group(const struct cs_system *s, size_t hierarchy)
{
	return cs_xasprintf("%s%s", cs_service.host.hierarchy[hierarchy].mount, s->document.cgroups_path);
}

static size_t n_groups(const struct cs_system *s) { return s->document.cgroups_path ? cs_service.host.n_hierarchies : 0; }

char *cs_system_cgroup(const struct cs_system *s, const char *controller)
{
	for (size_t i = 0; i < n_groups(s); i++)
		if (cs_service.host.cgroup_version == 2 || cs_str_lists(cs_service.host.hierarchy[i].names, controller, ","))
			return group(s, i);
	return NULL;
}

static int pids_of(int dirfd, pid_t **list, size_t *n)
{
	cs_autostr struct cs_str text = CS_STR_INIT(16 << 20);
	int r = cs_read_file_at(dirfd, "cgroup.procs", &text);

	if (r < 0)
		return r == -EOPNOTSUPP ? 0 : r; /* a threaded group */
	for (char *rest = text.buf, *line; rest && (line = strsep(&rest, "\n"));) {
		int64_t pid;
		if (!cs_parse_i64(line, 1, INT32_MAX, &pid))
			continue;
		if ((*n & (*n - 1)) == 0)
			*list = cs_xreallocarray(*list, *n ? *n * 2 : 1, sizeof(pid_t));
		(*list)[(*n)++] = (pid_t)pid;
	}
	return 0;
}

/* Takes fd. */
static int walk_pids(int fd, pid_t **list, size_t *n, int depth)
{
	int r = pids_of(fd, list, n);
	DIR *d = fdopendir(fd);
	struct dirent *e;

	if (!d) {
		cs_close(fd);
		return r;
	}
	while (depth < MAX_DEPTH && (e = readdir(d))) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		int sub = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0)
			(void)walk_pids(sub, list, n, depth + 1);
	}
	(void)closedir(d);
	return r;
}

static int by_number(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;
	return (x > y) - (x < y);
}

int cs_cgroup_tree_pids(const char *dir, pid_t **ret, size_t *ret_n)
{
	pid_t *list = NULL;
	size_t n = 0;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int r = walk_pids(fd, &list, &n, 0);
	if (r < 0) {
		free(list);
		return r;
	}
	if (n)
		qsort(list, n, sizeof(*list), by_number);
	*ret = list;
	*ret_n = n;
	return 0;
}

int cs_cgroup_tree_kill(const char *dir, bool v2)
{
	cs_autofree pid_t *list = NULL;
	size_t n = 0;
	int r = cs_cgroup_tree_pids(dir, &list, &n);

	if (r < 0)
		return r;
	if (v2 && n) {
		cs_autofree char *file = cs_xasprintf("%s/cgroup.kill", dir);
		if (cs_write_file_at(AT_FDCWD, file, "1", 1) == 0)
			return (int)CS_MIN(n, (size_t)INT32_MAX);
	}
	for (size_t i = 0; i < n; i++)
		(void)kill(list[i], SIGKILL);
	return (int)CS_MIN(n, (size_t)INT32_MAX);
}

/* Takes fd. Removes the groups below it. */
static void remove_below(int fd, int depth)
{
	DIR *d = fdopendir(fd);
	struct dirent *e;

	if (!d) {
		cs_close(fd);
		return;
	}
	while (depth < MAX_DEPTH && (e = readdir(d))) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		int sub = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0)
			remove_below(sub, depth + 1);
		(void)unlinkat(fd, e->d_name, AT_REMOVEDIR);
	}
	(void)closedir(d);
}

int cs_cgroup_tree_remove(const char *dir)
{
	if (rmdir(dir) == 0 || errno == ENOENT)
		return 0;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	remove_below(fd, 0);
	return rmdir(dir) == 0 || errno == ENOENT ? 0 : -errno;
}

static int kill_round(struct cs_system *s)
{
	int left = 0;

	for (size_t i = 0; i < n_groups(s); i++) {
		cs_autofree char *dir = group(s, i);
		int n = cs_cgroup_tree_kill(dir, cs_service.host.cgroup_version == 2);
		left = CS_MAX(left, n);
	}
	return left;
}

void cs_system_sweep(struct cs_system *s)
{
	static const struct timespec pause = {.tv_nsec = 5000000};
	int64_t until = cs_monotonic_ns() + 10 * CS_NS_PER_SEC;

	(void)!cs_freezer_set(s, false, 0, NULL); /* a frozen process does not die (v1) */
	while (kill_round(s) > 0 && cs_monotonic_ns() < until)
		(void)nanosleep(&pause, NULL);
	for (size_t i = 0; i < n_groups(s); i++) {
		cs_autofree char *dir = group(s, i);
		int r = -EBUSY;
		while ((r = cs_cgroup_tree_remove(dir)) == -EBUSY && cs_monotonic_ns() < until)
			(void)nanosleep(&pause, NULL);
		if (r < 0)
			cs_debug("compute", "remove %s: %s", dir, cs_errno_text(-r));
	}
}

/* ---- cpuset on v1: a new group has no CPUs and no memory nodes, and cannot take a process ---- */

static char *read_value(const char *dir, const char *file)
{
	cs_autostr struct cs_str text = CS_STR_INIT(65536);
	cs_autofree char *path = cs_xasprintf("%s/%s", dir, file);

	if (cs_read_file_at(AT_FDCWD, path, &text) < 0 || !text.buf)
		return NULL;
	text.buf[strcspn(text.buf, "\n")] = 0;
	return cs_str_steal(&text);
}

static void inherit(const char *dir, const char *file, const char *value)
{
	cs_autofree char *have = read_value(dir, file);
	cs_autofree char *path = cs_xasprintf("%s/%s", dir, file);

	if (have && !*have && value && *value)
		(void)!cs_write_file_at(AT_FDCWD, path, value, strlen(value));
}

void cs_cpuset_prepare(const char *parent)
{
	const struct cs_host *h = &cs_service.host;
	const char *mount = h->cgroup_version == 1 ? cs_host_controller_mount(h, "cpuset") : NULL;
	char **parts = cs_strv_split(parent, '/');
	cs_autofree char *dir = cs_xstrdup(mount);

	for (char **p = parts; dir && *p; p++) {
		cs_autofree char *cpus = read_value(dir, "cpuset.cpus"), *mems = read_value(dir, "cpuset.mems");
		if (!cs_is_plain_name(*p))
			continue;
		char *sub = cs_xasprintf("%s/%s", dir, *p);
		free(dir);
		dir = sub;
		if (mkdir(dir, 0755) < 0 && errno != EEXIST)
			break;
		inherit(dir, "cpuset.cpus", cpus);
		inherit(dir, "cpuset.mems", mems);
	}
	cs_strv_free(parts);
}
