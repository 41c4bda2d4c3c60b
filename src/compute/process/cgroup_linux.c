/* SPDX-License-Identifier: Apache-2.0
 *
 * The container's cgroups: v1, hybrid and v2, as named by the plan's CGROUP steps. Used by the worker; joining also by the child.
 * Single-threaded. Group directories are the engine's own names; what a container made below them is only ever listed and removed. */
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <time.h>

#include "base/io.h"
#include "base/num.h"
#include "base/str.h"
#include "base/sys.h"
#include "compute/process/internal.h"
#include "compute/process/setup.h"

#define FILE_MAX (1u << 20)
#define KILL_ROUNDS 64
#define REMOVE_ROUNDS 100
#define MAX_DEPTH 64

static bool has_controller(const char *list, const char *name) { return cs_str_lists(list, name, ", \n"); }

static int write_file(int dir, const char *path, const char *value)
{
	return cs_write_file_at(dir, path, value, strlen(value));
}

/* A new v1 cpuset group is empty and refuses members until it has its parent's values. */
static int inherit_cpuset(const char *dir, const char *parent, struct cs_err **err)
{
	static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};

	for (size_t i = 0; i < CS_ARRAY_SIZE(files); i++) {
		cs_autofree char *to = cs_xasprintf("%s/%s", dir, files[i]), *from = cs_xasprintf("%s/%s", parent, files[i]);
		struct cs_str have = CS_STR_INIT(4096), value = CS_STR_INIT(4096);
		int r = cs_read_file_at(AT_FDCWD, to, &have);
		if (r == 0 && (have.len == 0 || have.buf[0] == '\n')) {
			r = cs_read_file_at(AT_FDCWD, from, &value);
			if (r == 0)
				r = cs_write_file_at(AT_FDCWD, to, value.buf ? value.buf : "", value.len);
		}
		cs_str_done(&have);
		cs_str_done(&value);
		if (r < 0)
			return cs_fail(err, CS_ERR_INTERNAL, -r, "copy %s to cgroup %s", files[i], dir);
	}
	return 0;
}

/* The engine in a container of its own: "/" is an ordinary group there, with the engine in it. The kernel would hand cpu and pids down
 * from such a group, but at the price that no process can be put into the groups below ("domain invalid"). */
static bool holds_processes(const char *dir)
{
	cs_autofree char *type = cs_xasprintf("%s/cgroup.type", dir), *procs = cs_xasprintf("%s/cgroup.procs", dir);
	struct cs_str text = CS_STR_INIT(FILE_MAX);
	bool holds = access(type, F_OK) == 0 && cs_read_file_at(AT_FDCWD, procs, &text) == 0 && text.len > 0; /* the real root has no type */

	cs_str_done(&text);
	return holds;
}

/* v2: hands the controllers down to the children of `dir`. What cannot be enabled is not fatal: a limit that needs it fails later by
 * its own name (a group with processes of its own refuses, and so does a delegated tree without the controller). */
static void enable_controllers(const char *dir)
{
	static const char *const wanted[] = {"cpu", "memory", "io", "pids", "cpuset", "hugetlb"};
	cs_autofree char *avail_path = cs_xasprintf("%s/cgroup.controllers", dir), *sub_path = cs_xasprintf("%s/cgroup.subtree_control", dir);
	struct cs_str avail = CS_STR_INIT(4096), sub = CS_STR_INIT(4096);

	if (cs_read_file_at(AT_FDCWD, avail_path, &avail) == 0 && cs_read_file_at(AT_FDCWD, sub_path, &sub) == 0 && avail.buf) {
		for (size_t i = 0; i < CS_ARRAY_SIZE(wanted); i++) {
			char word[32];
			if (!has_controller(avail.buf, wanted[i]) || (sub.buf && has_controller(sub.buf, wanted[i])))
				continue;
			if (holds_processes(dir))
				break;
			(void)snprintf(word, sizeof(word), "+%s", wanted[i]);
			(void)write_file(AT_FDCWD, sub_path, word);
		}
	}
	cs_str_done(&avail);
	cs_str_done(&sub);
}

/* Makes the group and its missing parents, preparing each level for the next. */
static int make_group(const struct cs_step *g, struct cs_err **err)
{
	const char *dir = g->arg[1].s;
	bool v2 = g->arg[2].u == 2, cpuset = !v2 && has_controller(g->arg[0].s, "cpuset");
	cs_autofree char *path = cs_xstrdup(dir);

	if (*dir != '/' || strstr(dir, "/../"))
		return cs_fail(err, CS_ERR_INVALID, 0, "cgroup directory %s", dir);
	/* mostly only the group itself is missing; on v2 the levels above are still looked at */
	if (!v2 && !cpuset && mkdir(path, 0755) == 0)
		return 0;
	for (char *p = path + 1;; p++) {
		if (*p && *p != '/')
			continue;
		char c = *p;
		*p = 0;
		bool made = mkdir(path, 0755) == 0;
		if (!made && errno != EEXIST && errno != EROFS)
			return cs_fail(err, errno == ENOSPC ? CS_ERR_NO_SPACE : CS_ERR_INTERNAL, errno, "create cgroup %s", path);
		if (made && cpuset) {
			char *slash = strrchr(path, '/');
			*slash = 0;
			cs_autofree char *parent = cs_xstrdup(path);
			*slash = '/';
			if (inherit_cpuset(path, parent, err) < 0)
				return -1;
		}
		if (!c)
			return access(path, F_OK) == 0 ? 0 : cs_fail(err, CS_ERR_INTERNAL, errno, "create cgroup %s", path);
		if (v2 && !*g->arg[0].s) /* a hybrid host's hands nothing down */
			enable_controllers(path);
		*p = c;
	}
}

int cs_cgroup_create(const struct cs_plan *plan, void (*warn)(void *ctx, const char *text), void *ctx, struct cs_err **err)
{
	struct cs_plan_cursor c = {.plan = plan};
	struct cs_step s;
	int r;

	while ((r = cs_plan_next(&c, &s)) == 1) {
		if (s.op == CS_PLAN_CGROUP && make_group(&s, err) < 0)
			return -1;
		if (s.op == CS_PLAN_CGROUP_DEVICE_BPF && cs_cgroup_device_program(s.arg[0].s, s.arg[1].b.data, s.arg[1].b.len, err) < 0)
			return -1;
		if (s.op != CS_PLAN_CGROUP_SET)
			continue;
		r = write_file(AT_FDCWD, s.arg[0].s, s.arg[1].s);
		if (r == 0)
			continue;
		if (s.arg[2].u == CS_CGROUP_SET_IF_THERE && r == -ENOENT)
			continue;
		if (s.arg[2].u == 1)
			return cs_fail(err, r == -ENOENT ? CS_ERR_UNSUPPORTED : CS_ERR_INVALID, -r, "write \"%s\" to %s", s.arg[1].s, s.arg[0].s);
		if (warn) {
			cs_autofree char *text = cs_xasprintf("write \"%s\" to %s: %s", s.arg[1].s, s.arg[0].s, cs_errno_text(-r));
			warn(ctx, text);
		}
	}
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "malformed plan") : 0;
}

static int each_group(const struct cs_plan *plan, struct cs_plan_cursor *c, struct cs_step *s)
{
	int r;

	c->plan = plan;
	while ((r = cs_plan_next(c, s)) == 1)
		if (s->op == CS_PLAN_CGROUP)
			return 1;
	return r;
}

/* "0" into `tasks` moves the calling thread alone. Unlike any other migration this needs no hold on all forks of the machine
 * (cgroup_threadgroup_rwsem), whose first writer after a pause waits for an RCU grace period of about 9 ms. */
int cs_cgroup_join_v1(const struct cs_plan *plan, struct cs_err **err)
{
	struct cs_plan_cursor c = {0};
	struct cs_step s;

	while (each_group(plan, &c, &s) == 1) {
		if (s.arg[2].u != 1)
			continue;
		cs_autofree char *path = cs_xasprintf("%s/tasks", s.arg[1].s);
		int r = write_file(AT_FDCWD, path, "0");
		if (r < 0)
			return cs_fail(err, CS_ERR_INTERNAL, -r, "join cgroup %s", s.arg[1].s);
	}
	return 0;
}

int cs_cgroup_trees(const struct cs_plan *plan, int *ret, size_t *ret_n, struct cs_err **err)
{
	struct cs_plan_cursor c = {0};
	struct cs_step s;

	for (*ret_n = 0; each_group(plan, &c, &s) == 1 && *ret_n < CS_AHEAD_MAX_GROUPS; (*ret_n)++) {
		ret[*ret_n] = sys_open_tree(AT_FDCWD, s.arg[1].s, OPEN_TREE_CLONE);
		if (ret[*ret_n] < 0)
			return cs_fail(err, CS_ERR_INTERNAL, -ret[*ret_n], "mount cgroup %s", s.arg[1].s);
	}
	return 0;
}

bool cs_cgroup_v2_dir(const struct cs_plan *plan, struct cs_step *ret)
{
	struct cs_plan_cursor c = {0};

	while (each_group(plan, &c, ret) == 1)
		if (ret->arg[2].u == 2)
			return true;
	return false;
}

bool cs_cgroup_has_v2(const struct cs_plan *plan)
{
	struct cs_step s;

	return cs_cgroup_v2_dir(plan, &s);
}

int cs_cgroup_v2_fd(const struct cs_plan *plan)
{
	struct cs_step s;

	if (!cs_cgroup_v2_dir(plan, &s))
		return -ENOENT;
	int fd = open(s.arg[1].s, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : errno == ENOENT ? -ENODEV : -errno;
}

/* What a walk over a group and those below it does. */
struct walk {
	int sig, count;
	bool remove;
};

static int visit_procs(int dir, struct walk *w)
{
	struct cs_str s = CS_STR_INIT(FILE_MAX);
	int r = cs_read_file_at(dir, "cgroup.procs", &s);

	for (const char *p = s.buf; r == 0 && p && *p;) {
		size_t n = strcspn(p, "\n");
		uint64_t pid;
		if (cs_parse_u64n(p, n, 1, INT32_MAX, &pid)) {
			w->count++;
			(void)kill((pid_t)pid, w->sig);
		}
		p += n + (p[n] == '\n');
	}
	cs_str_done(&s);
	return r;
}

/* Takes fd. Deepest groups first, so that they can be removed. */
static int walk_group(int fd, struct walk *w, int depth)
{
	DIR *d = fdopendir(fd);
	struct dirent *e;
	int r = 0;

	if (!d) {
		r = -errno;
		cs_close(fd);
		return r;
	}
	while (depth < MAX_DEPTH && (e = readdir(d))) {
		if (e->d_type != DT_DIR || strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		int child = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (child >= 0)
			(void)walk_group(child, w, depth + 1);
		if (w->remove && unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			r = -errno;
	}
	if (!w->remove)
		r = visit_procs(dirfd(d), w);
	(void)closedir(d);
	return r;
}

static int kill_round(const char *dir, int sig)
{
	struct walk w = {.sig = sig};
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	int r = walk_group(fd, &w, 0);
	return r < 0 && w.count == 0 ? r : w.count;
}

static void pause_ms(long ms)
{
	struct timespec ts = {.tv_nsec = ms * 1000000};
	(void)nanosleep(&ts, NULL);
}

/* The group that knows its members best: v2, else the one that can also forbid forks, else any. */
static int choose_group(const struct cs_plan *plan, struct cs_step *best)
{
	struct cs_plan_cursor c = {0};
	struct cs_step s;
	int rank = 0;

	while (each_group(plan, &c, &s) == 1) {
		int k = s.arg[2].u == 2 ? 3 : has_controller(s.arg[0].s, "pids") ? 2 : 1;
		if (k > rank) {
			rank = k;
			*best = s;
		}
	}
	return rank ? 0 : -ENOENT;
}

int cs_cgroup_kill_all(const struct cs_plan *plan)
{
	struct cs_step g;
	int n = choose_group(plan, &g);

	if (n < 0)
		return n;
	cs_autofree char *kill_file = cs_xasprintf("%s/cgroup.kill", g.arg[1].s), *pids = cs_xasprintf("%s/pids.max", g.arg[1].s);
	bool by_kernel = g.arg[2].u == 2 && write_file(AT_FDCWD, kill_file, "1") == 0;
	if (!by_kernel)
		(void)write_file(AT_FDCWD, pids, "0"); /* nobody is born while we count */
	for (int i = 0; i < KILL_ROUNDS; i++) {
		n = kill_round(g.arg[1].s, by_kernel ? 0 : SIGKILL);
		if (n <= 0)
			return n;
		pause_ms(i < 8 ? 1 : 5);
	}
	return n;
}

static int remove_group(const char *dir)
{
	if (rmdir(dir) == 0 || errno == ENOENT)
		return 0;
	if (errno != EBUSY && errno != ENOTEMPTY)
		return -errno;
	struct walk w = {.remove = true};
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		(void)walk_group(fd, &w, 0);
	return rmdir(dir) == 0 || errno == ENOENT ? 0 : -errno;
}

int cs_cgroup_remove(const struct cs_plan *plan)
{
	struct cs_plan_cursor c = {0};
	struct cs_step s;
	int result = 0, rounds = 0;

	while (each_group(plan, &c, &s) == 1) {
		int r;
		/* a process that has just died leaves its groups a moment after its parent has been told */
		while ((r = remove_group(s.arg[1].s)) == -EBUSY && rounds++ < REMOVE_ROUNDS)
			pause_ms(1);
		if (r < 0 && result == 0)
			result = r;
	}
	return result;
}

static int memory_group(const struct cs_plan *plan, struct cs_step *ret)
{
	struct cs_plan_cursor c = {0};
	struct cs_step s;
	int found = -ENOENT;

	while (each_group(plan, &c, &s) == 1) {
		if (s.arg[2].u == 1 && has_controller(s.arg[0].s, "memory")) {
			*ret = s;
			return 0;
		}
		if (s.arg[2].u == 2) {
			*ret = s;
			found = 0;
		}
	}
	return found;
}

int cs_cgroup_oom_kills(const struct cs_plan *plan, uint64_t *ret)
{
	struct cs_str text = CS_STR_INIT(4096);
	struct cs_step g;
	int r = memory_group(plan, &g);

	if (r < 0)
		return r;
	cs_autofree char *path = cs_xasprintf("%s/%s", g.arg[1].s, g.arg[2].u == 2 ? "memory.events" : "memory.oom_control");
	r = cs_read_file_at(AT_FDCWD, path, &text);
	if (r == 0) {
		r = -ENODATA;
		for (const char *p = text.buf; p && *p;) {
			size_t n = strcspn(p, "\n");
			const char *value = cs_prefix(p, "oom_kill ");
			if (value)
				r = cs_parse_u64n(value, n - strlen("oom_kill "), 0, UINT64_MAX, ret) ? 0 : -EBADMSG;
			p += n + (p[n] == '\n');
		}
	}
	cs_str_done(&text);
	return r;
}

static int oom_fd_v1(const char *dir)
{
	cs_autofree char *control = cs_xasprintf("%s/memory.oom_control", dir), *event = cs_xasprintf("%s/cgroup.event_control", dir);
	cs_autofd int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	cs_autofd int of = open(control, O_RDONLY | O_CLOEXEC);
	char text[32];

	if (fd < 0 || of < 0)
		return -errno;
	(void)snprintf(text, sizeof(text), "%d %d", fd, of);
	int r = write_file(AT_FDCWD, event, text);
	return r < 0 ? r : TAKE_FD(fd);
}

/* Ready by EPOLLIN in both cases; a read of up to 4096 bytes makes it quiet again. Readiness is a hint: the counter decides. */
int cs_cgroup_oom_fd(const struct cs_plan *plan, uint32_t *epoll_events)
{
	struct cs_step g;
	int r = memory_group(plan, &g);

	if (r < 0)
		return r;
	*epoll_events = EPOLLIN;
	if (g.arg[2].u == 1)
		return oom_fd_v1(g.arg[1].s);
	cs_autofree char *path = cs_xasprintf("%s/memory.events", g.arg[1].s);
	cs_autofd int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0 || inotify_add_watch(fd, path, IN_MODIFY) < 0)
		return -errno;
	return TAKE_FD(fd);
}
