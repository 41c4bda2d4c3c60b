/* SPDX-License-Identifier: Apache-2.0
 *
 * The child, from clone to the last stage: sheds what it inherited, joins groups and namespaces, walks the plan.
 *
 * The order, and what breaks otherwise:
 *   1. not dumpable, before any namespace of a container is joined: nobody in there may look into a copy of the worker
 *   2. descriptors: only 0-2, the socket and what this set-up needs survive, before anything foreign is touched (CVE-2024-21626, CVE-2016-9962)
 *   3. OOM score, and cgroups on v2, while the host's /proc and /sys/fs/cgroup are the ones in sight. v1 groups are made by the worker meanwhile (a
 *      fifth of the start) and entered before the first mount that shows them, at the latest before the pivot: nothing of the image runs until then
 *   4. cgroup namespace, after the group is joined: its root is the group of that moment
 *   5. other namespaces; mounts come last among them, since the paths of the others were opened by the worker
 *   6. propagation before the first mount: else it would appear on the host
 *   7. the plan's steps as they stand: mounts, devices, pivot, masks (which need the mounts), read-only root, sysctl (own namespaces)
 *   8. the program: see program_linux.c */
#include "compute/process/child.h"

#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statfs.h>

#include "base/io.h"
#include "base/sys.h"

#define PROC_SUPER_MAGIC_ 0x9fa0
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

void cs_child_stage(const char *name) { (void)prctl(PR_SET_NAME, name); }

static void say(struct cs_child *c, enum cs_setup_msg type, enum cs_code code, int sys, const char *text)
{
	char buf[sizeof(struct cs_setup_packet) + CS_SETUP_TEXT_MAX];
	struct cs_setup_packet p = {.type = (uint32_t)type, .code = (uint32_t)code, .sys = sys};
	size_t n = CS_MIN(strlen(text), (size_t)CS_SETUP_TEXT_MAX);

	memcpy(buf, &p, sizeof(p));
	memcpy(buf + sizeof(p), text, n);
	(void)cs_write_full(c->sock, buf, sizeof(p) + n); /* write, not sendmsg: more seccomp profiles allow it */
}

void cs_child_warn(struct cs_child *c, const char *fmt, ...)
{
	struct cs_str s = CS_STR_INIT(CS_SETUP_TEXT_MAX);
	va_list ap;

	va_start(ap, fmt);
	cs_str_vputf(&s, fmt, ap);
	va_end(ap);
	say(c, CS_SETUP_WARNING, CS_ERR_NONE, 0, s.buf ? s.buf : "");
	cs_str_done(&s);
}

int cs_child_send_pty(struct cs_child *c, int master, struct cs_err **err)
{
	struct cs_setup_packet p = {.type = CS_SETUP_PTY};
	ssize_t n = cs_send_fds(c->sock, &p, sizeof(p), &master, 1, 0);

	return n < 0 ? cs_fail(err, CS_ERR_INTERNAL, (int)-n, "hand over the terminal") : 0;
}

void cs_child_executing(struct cs_child *c) { say(c, CS_SETUP_EXECUTING, CS_ERR_NONE, 0, ""); }

/* Of a message with a name of kilobytes in it the beginning and the end, where the reason is: docker run decides by that. */
static void put_short(struct cs_str *s, const char *msg)
{
	const size_t half = CS_SETUP_TEXT_MAX / 4, n = strlen(msg);

	if (n <= 2 * half) {
		cs_str_puts(s, msg);
		return;
	}
	cs_str_put(s, msg, half);
	cs_str_puts(s, "...");
	cs_str_puts(s, msg + n - half);
}

static _Noreturn void die(struct cs_child *c, struct cs_err *err)
{
	struct cs_str s = CS_STR_INIT(1 << 16);
	int sys = 0;

	for (struct cs_err *e = err; e; e = e->cause) {
		if (s.len)
			cs_str_puts(&s, ": ");
		put_short(&s, e->msg);
		sys = e->sys;
	}
	enum cs_code code = cs_err_code(err);
	say(c, CS_SETUP_ERROR, code ? code : CS_ERR_INTERNAL, sys, s.buf ? s.buf : "unknown error");
	_exit(code == CS_ERR_EXEC_NOT_FOUND ? 127 : code == CS_ERR_EXEC_DENIED ? 126 : 125);
}

const char *cs_go_errno(int e)
{
	switch (e) {
	case ENOENT:
		return "no such file or directory";
	case EACCES:
		return "permission denied";
	case EPERM:
		return "operation not permitted";
	case ENOTDIR:
		return "not a directory";
	case EISDIR:
		return "is a directory";
	case ENOEXEC:
		return "exec format error";
	case ELOOP:
		return "too many levels of symbolic links";
	case ENAMETOOLONG:
		return "file name too long";
	case E2BIG:
		return "argument list too long";
	case ETXTBSY:
		return "text file busy";
	case EIO:
		return "input/output error";
	default:
		return cs_errno_text(e);
	}
}

/* Moves fd to a number of at least `low`, so that the fixed numbers below it are free. */
static int lift(int fd, int low)
{
	if (fd < 0 || fd >= low)
		return fd;
	return fcntl(fd, F_DUPFD_CLOEXEC, low);
}

/* Leaves 0,1,2 = stdio, 3 = socket, 4.. = what is still needed (self_exe, namespaces, init's pidfd), nothing else. */
static int shed_descriptors(struct cs_child *c, struct cs_child_args *a, struct cs_err **err)
{
	int *list[3 + 6 + CS_ARRAY_SIZE(a->ns)];
	size_t n = 0;

	for (int i = 0; i < 3; i++)
		list[n++] = &a->stdio[i];
	list[n++] = &a->sock;
	list[n++] = &a->self_exe;
	list[n++] = &a->init_pidfd;
	list[n++] = &a->mntns;
	list[n++] = &a->ahead[0];
	list[n++] = &a->ahead[1];
	for (size_t i = 0; i < a->n_ns; i++)
		list[n++] = &a->ns[i];
	for (size_t i = 0; i < n; i++)
		if (*list[i] >= 0 && (*list[i] = lift(*list[i], (int)n)) < 0)
			return cs_fail(err, CS_ERR_INTERNAL, errno, "rearrange descriptors");
	int next = 3;
	for (size_t i = 0; i < n; i++) {
		int to = i < 3 ? (int)i : next;
		if (*list[i] < 0) {
			if (i < 3 && !c->tty) /* with a terminal the worker's null device stays until the terminal takes over */
				return cs_fail(err, CS_ERR_INTERNAL, EBADF, "standard stream %d is missing", to);
			continue;
		}
		if ((i < 3 ? dup2(*list[i], to) : dup3(*list[i], to, O_CLOEXEC)) < 0)
			return cs_fail(err, CS_ERR_INTERNAL, errno, "rearrange descriptors");
		*list[i] = to;
		if (i >= 3)
			next++;
	}
	int r = sys_close_range((unsigned)next, ~0u, 0);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "close inherited descriptors");
	c->sock = a->sock;
	c->self_exe = a->self_exe;
	c->mntns = a->mntns;
	return 0;
}

/* The worker's handlers are gone with exec, but ignored and blocked signals would be inherited. */
static void reset_signals(void)
{
	sigset_t none;

	for (int s = 1; s < 32; s++)
		if (s != SIGKILL && s != SIGSTOP)
			(void)signal(s, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The namespaces in which a part was done before. Joining a mount namespace sets root and working directory to its root. */
static int join_ahead(struct cs_child *c, const struct cs_child_args *a, struct cs_err **err)
{
	int r = sys_setns(a->ahead[0], CLONE_NEWIPC);

	if (r == 0)
		r = sys_setns(a->ahead[1], CLONE_NEWNS);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "join the namespaces that were made ahead");
	if (c->empty < 0)
		c->empty = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return c->empty < 0 ? cs_fail(err, CS_ERR_INTERNAL, errno, "open the empty root") : 0;
}

static int join(struct cs_child *c, const struct cs_child_args *a, struct cs_err **err)
{
	const int all = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
	int r;

	for (size_t i = 0; i < a->n_ns; i++) {
		r = sys_setns(a->ns[i], a->ns_type[i]);
		if (r < 0)
			return cs_fail(err, CS_ERR_INTERNAL, -r, "join namespace 0x%x", (unsigned)a->ns_type[i]);
		cs_close(a->ns[i]);
	}
	if (c->ahead && join_ahead(c, a, err) < 0)
		return -1;
	if (c->is_exec) {
		r = sys_setns(a->init_pidfd, all);
		if (r == -ESRCH)
			return cs_fail(err, CS_ERR_CONFLICT, 0, "container is not running");
		if (r < 0)
			return cs_fail(err, CS_ERR_INTERNAL, -r, "join the container's namespaces");
		cs_close(a->init_pidfd);
		c->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (c->root < 0)
			return cs_fail(err, CS_ERR_INTERNAL, errno, "open the container's root");
	}
	return 0;
}

static void await_worker(struct cs_child *c)
{
	char go;

	if (cs_recv_fds(c->sock, &go, 1, NULL, NULL, 0) != 1) /* the worker has failed, or is gone: it reports, not we */
		_exit(125);
}

/* Enters the cgroups, and then the namespace whose root they become. On v1 the worker makes them while we mount: this waits for it, at the latest
 * where the host's /sys/fs/cgroup is still in sight. */
int cs_child_enter_groups(struct cs_child *c, const struct cs_plan *groups, struct cs_err **err)
{
	if (c->groups_pending)
		await_worker(c);
	c->groups_pending = false;
	if (cs_cgroup_join_v1(groups, err) < 0)
		return -1;
	if (c->unshare_cgroup && unshare(CLONE_NEWCGROUP) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "make a cgroup namespace");
	return 0;
}

void cs_child_await_caller(struct cs_child *c)
{
	if (c->caller_pending)
		await_worker(c);
	c->caller_pending = false;
}

/* musl returns a group of small blocks to the kernel with its last block and maps it again for the next: holding one block of each
 * size saves a hundred mmap/munmap in the walk. In a child they go with exec. */
#define N_PRIMED 10
static void prime_allocator(void *held[N_PRIMED])
{
	static const size_t sizes[N_PRIMED] = {12, 28, 44, 60, 76, 92, 108, 124, 188, 252};

	for (size_t i = 0; i < N_PRIMED; i++)
		held[i] = cs_xmalloc(sizes[i]);
}

static int private_null_tree(struct cs_child *c, struct cs_err **err);

/* What needs no plan. */
static int begin(struct cs_child *c, struct cs_child_args *a, struct cs_err **err)
{
	struct statfs fs;

	(void)prctl(PR_SET_DUMPABLE, 0);
	if (shed_descriptors(c, a, err) < 0)
		return -1;
	reset_signals();
	(void)umask(0);
	cs_child_stage("caisson:join");
	c->host_proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (c->host_proc < 0 || fstatfs(c->host_proc, &fs) < 0 || (unsigned long)fs.f_type != PROC_SUPER_MAGIC_)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "the host's /proc is not a proc file system");
	return 0;
}

static void read_stdio(struct cs_child *c)
{
	struct cs_step s;

	if (cs_plan_find(c->plan, CS_PLAN_STDIO, &s) != 1)
		return;
	c->tty = s.arg[0].u != 0;
	c->rows = (uint16_t)s.arg[3].u;
	c->cols = (uint16_t)s.arg[4].u;
}

static int prologue(struct cs_child *c, struct cs_child_args *a, struct cs_err **err)
{
	struct cs_step s;

	c->init = cs_plan_find(c->plan, CS_PLAN_INIT, &s) == 1;
	if (cs_plan_find(c->plan, CS_PLAN_OOM_SCORE, &s) == 1 && cs_step_oom_score(c, c->host_proc, s.arg[0].s, err) < 0)
		return -1;
	if (c->is_exec) /* nothing of the host may be open while processes of the container can see us */
		cs_close(TAKE_FD(c->host_proc));
	c->groups_pending = c->caller_pending = a->late_groups;
	c->unshare_cgroup = a->unshare_cgroup;
	if (!c->groups_pending && cs_child_enter_groups(c, a->start ? a->start : a->plan, err) < 0)
		return -1;
	c->ahead = a->ahead[1] >= 0;
	if (c->ahead) {
		c->parts = cs_parts_of(c->plan);
		c->parts.early = c->parts.early && a->early;
		if (cs_child_open_host(c, err) < 0 || private_null_tree(c, err) < 0)
			return -1;
	}
	return join(c, a, err);
}

static int apply(struct cs_child *c, const struct cs_step *s, struct cs_err **err)
{
	switch (s->op) {
	case CS_PLAN_ROOT_PROPAGATION:
		return cs_step_propagation(c, s->arg[0].u, err);
	case CS_PLAN_OVERLAY:
		return cs_step_overlay(c, s, err);
	case CS_PLAN_MOUNT:
		return cs_step_mount(c, s, err);
	case CS_PLAN_BIND:
		return cs_step_bind(c, s, err);
	case CS_PLAN_BIND_BENEATH:
		return cs_step_bind_beneath(c, s, err);
	case CS_PLAN_LAYERS:
		return cs_step_layers(c, s, err);
	case CS_PLAN_CGROUP_MOUNT:
		return cs_step_cgroup_mount(c, s, err);
	case CS_PLAN_DEVICE:
		return cs_step_device(c, s, err);
	case CS_PLAN_SYMLINK:
		return cs_step_symlink(c, s, err);
	case CS_PLAN_CONSOLE:
		return cs_step_console(c, err);
	case CS_PLAN_MASK:
		return cs_step_mask(c, s->arg[0].s, err);
	case CS_PLAN_READONLY:
		return cs_step_readonly(c, s->arg[0].s, err);
	case CS_PLAN_PIVOT:
		return cs_step_pivot(c, err);
	case CS_PLAN_ROOT_READONLY:
		return cs_step_root_readonly(c, err);
	case CS_PLAN_HOSTNAME:
		if (sethostname(s->arg[0].s, strlen(s->arg[0].s)) < 0)
			return cs_fail(err, CS_ERR_INVALID, errno, "set host name %s", s->arg[0].s);
		return 0;
	case CS_PLAN_DOMAINNAME:
		if (setdomainname(s->arg[0].s, strlen(s->arg[0].s)) < 0)
			return cs_fail(err, CS_ERR_INVALID, errno, "set domain name %s", s->arg[0].s);
		return 0;
	case CS_PLAN_LOOPBACK:
		return cs_step_loopback(c, err);
	case CS_PLAN_SYSCTL:
		return cs_step_sysctl(c, s, err);
	case CS_PLAN_RLIMIT:
		return cs_step_rlimit(c, s, err);
	case CS_PLAN_USER:
		c->user = *s;
		c->have_user = true;
		return 0;
	case CS_PLAN_CAPS:
		c->caps = *s;
		c->have_caps = true;
		return 0;
	case CS_PLAN_NO_NEW_PRIVS:
		c->no_new_privs = true;
		return 0;
	case CS_PLAN_SECCOMP:
		c->seccomp = *s;
		c->have_seccomp = true;
		return 0;
	case CS_PLAN_UMASK:
		c->umask = (mode_t)s->arg[0].u;
		return 0;
	case CS_PLAN_CWD:
		c->cwd = *s;
		c->have_cwd = true;
		return 0;
	case CS_PLAN_ENV:
		c->env = *s;
		return 0;
	case CS_PLAN_ARGS:
		c->args = *s;
		return 0;
	/* the worker's own steps, and what the prologue has done */
	case CS_PLAN_NONE:
	case CS_PLAN_ID:
	case CS_PLAN_STDIO:
	case CS_PLAN_DETACH_KEYS:
	case CS_PLAN_LOG:
	case CS_PLAN_CGROUP:
	case CS_PLAN_CGROUP_SET:
	case CS_PLAN_CLONE:
	case CS_PLAN_SETNS:
	case CS_PLAN_INIT:
	case CS_PLAN_OOM_SCORE:
	case CS_PLAN_CGROUP_DEVICE_BPF:
	case CS_PLAN_MAX:
		return 0;
	}
	return cs_fail(err, CS_ERR_INTERNAL, 0, "unknown step %d in plan", (int)s->op);
}

/* An exec plan may hold only process steps: the rest would act on the container's root from inside, or on the host. */
static bool allowed_in_exec(enum cs_plan_op op)
{
	return op == CS_PLAN_ID || op == CS_PLAN_STDIO || op == CS_PLAN_DETACH_KEYS || (op >= CS_PLAN_RLIMIT && op <= CS_PLAN_ARGS);
}

/* Of what was done before: the mount in which all the rest is. */
static bool is_top(const struct cs_step *s) { return s->op == CS_PLAN_MOUNT && !strchr(s->arg[2].s + 1, '/'); }

static int walk(struct cs_child *c, struct cs_err **err)
{
	struct cs_plan_cursor cur = {.plan = c->plan};
	struct cs_step s;
	int r;

	while ((r = cs_plan_next(&cur, &s)) == 1) {
		if (c->is_exec && !allowed_in_exec(s.op))
			return cs_fail(err, CS_ERR_INTERNAL, 0, "step %d is not allowed in an exec plan", (int)s.op);
		if (c->groups_pending && (s.op == CS_PLAN_CGROUP_MOUNT || s.op == CS_PLAN_PIVOT) && cs_child_enter_groups(c, c->plan, err) < 0)
			return -1;
		if (cs_step_when(&c->parts, &s) == CS_WHEN_LATE ? apply(c, &s, err) < 0 : is_top(&s) && cs_step_ready(c, &s, err) < 0)
			return -1;
	}
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "malformed plan");
	if (c->groups_pending)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "plan without a PIVOT step");
	if (c->args.op != CS_PLAN_ARGS || c->args.arg[0].v.n == 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "no command specified");
	return 0;
}

/* ---- before the plan is there ---- */

/* The host's null device, for what is masked. A copy of a mount is its original's peer until it is told not to be. */
static int private_null_tree(struct cs_child *c, struct cs_err **err)
{
	if (c->null_tree >= 0)
		return 0;
	if (cs_child_null_tree(c, err) < 0)
		return -1;
	int r = sys_mount_setattr(c->null_tree, "", AT_EMPTY_PATH, 0, 0, MS_PRIVATE);
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "separate the null device's mount") : 0;
}

/* The plan's steps of one kind, in the empty root. */
static int walk_before(struct cs_child *c, const struct cs_plan *steps, enum cs_when when, struct cs_err **err)
{
	const struct cs_parts all = {true, true, true};
	struct cs_plan_cursor cur = {.plan = steps};
	struct cs_step s;
	int r;

	while ((r = cs_plan_next(&cur, &s)) == 1)
		if (cs_step_when(&all, &s) == when && apply(c, &s, err) < 0)
			return -1;
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "malformed plan") : 0;
}

/* Goes there, does what is EARLY, and comes back: the plan will name things of the host's. */
static int do_early(struct cs_child *c, const struct cs_child_args *a, struct cs_err **err)
{
	cs_autofd int home = openat(c->host_proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
	struct stat before, after;

	if (home < 0 || stat("/", &before) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open the own mount namespace");
	if (private_null_tree(c, err) < 0 || join_ahead(c, a, err) < 0)
		return -1;
	c->root = c->empty;
	if (walk_before(c, a->plan, CS_WHEN_EARLY, err) < 0)
		return -1;
	c->root = -EBADF;
	int r = sys_setns(home, CLONE_NEWNS);
	if (r < 0 || stat("/", &after) < 0 || before.st_dev != after.st_dev || before.st_ino != after.st_ino)
		return cs_fail(err, CS_ERR_INTERNAL, r < 0 ? -r : errno, "return to the own mount namespace");
	return 0;
}

/* Waits for the plan and what comes with it: standard streams, namespaces to join. */
static int take_plan(struct cs_child *c, struct cs_child_args *a, struct cs_plan *plan, struct cs_err **err)
{
	struct cs_setup_plan m;
	int fds[4 + CS_ARRAY_SIZE(a->ns)];
	size_t n = CS_ARRAY_SIZE(fds);
	ssize_t len = cs_recv_fds(c->sock, &m, sizeof(m), fds, &n, 0);

	if (len != (ssize_t)sizeof(m) || m.type != CS_SETUP_PLAN || n != 4 + m.n_ns) /* not wanted any more */
		_exit(125);
	int r = cs_plan_map(fds[0], plan);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "map the plan");
	cs_close(fds[0]);
	for (int i = 0; i < 3; i++) {
		if (dup2(fds[1 + i], i) < 0)
			return cs_fail(err, CS_ERR_INTERNAL, errno, "rearrange descriptors");
		cs_close(fds[1 + i]);
	}
	for (size_t i = 0; i < m.n_ns; i++) {
		a->ns[i] = fds[4 + i];
		a->ns_type[i] = m.ns_type[i];
	}
	a->n_ns = m.n_ns;
	a->late_groups = m.late_groups;
	a->unshare_cgroup = m.unshare_cgroup;
	c->plan = a->plan = plan;
	return 0;
}

static struct cs_child new_child(const struct cs_child_args *a)
{
	return (struct cs_child){.plan = a->plan, .sock = a->sock, .is_exec = a->start != NULL, .self_exe = a->self_exe, .host_proc = -EBADF, .mntns = -EBADF,
				 .root = -EBADF, .null_tree = -EBADF, .mask_tree = -EBADF, .pty_slave = -EBADF, .overlay = -EBADF, .empty = -EBADF,
				 .umask = 0022};
}

_Noreturn void cs_child_main(const struct cs_child_args *args)
{
	struct cs_child_args a = *args;
	struct cs_child c = new_child(&a);
	struct cs_err *err = NULL;
	struct cs_plan plan;
	void *held[N_PRIMED];

	prime_allocator(held);
	read_stdio(&c);
	if (begin(&c, &a, &err) < 0)
		die(&c, err);
	if (a.early) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (do_early(&c, &a, &err) < 0 || take_plan(&c, &a, &plan, &err) < 0)
			die(&c, err);
		read_stdio(&c);
	}
	if (prologue(&c, &a, &err) < 0)
		die(&c, err);
	cs_child_stage("caisson:mounts");
	if (walk(&c, &err) < 0)
		die(&c, err);
	cs_child_stage("caisson:program");
	(void)cs_run_program(&c, &err);
	die(&c, err);
}

/* In the new namespaces. */
static int make_ahead(struct cs_child *c, int ret[2], struct cs_err **err)
{
	if (cs_child_empty_root(c, err) < 0 || walk_before(c, c->plan, CS_WHEN_AHEAD, err) < 0)
		return -1;
	cs_autofd int ipc = openat(c->host_proc, "self/ns/ipc", O_RDONLY | O_CLOEXEC);
	cs_autofd int mnt = openat(c->host_proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (ipc < 0 || mnt < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open the new namespaces");
	ret[0] = TAKE_FD(ipc);
	ret[1] = TAKE_FD(mnt);
	return 0;
}

/* By the worker itself, since a process more would cost as much as all the rest. It must not stay there: then it is no worker any more. */
int cs_child_ahead(const struct cs_plan *steps, int ret[2], struct cs_err **err)
{
	const struct cs_child_args a = {.plan = steps, .sock = -EBADF, .self_exe = -EBADF};
	struct cs_child c = new_child(&a);
	struct stat before, after;

	cs_autofd int proc = c.host_proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cs_autofd int home_ipc = openat(c.host_proc, "self/ns/ipc", O_RDONLY | O_CLOEXEC);
	cs_autofd int home_mnt = openat(c.host_proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (home_ipc < 0 || home_mnt < 0 || stat("/", &before) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open the own namespaces");
	void *held[N_PRIMED];
	prime_allocator(held);
	mode_t mask = umask(0);
	int r = unshare(CLONE_NEWNS | CLONE_NEWIPC) < 0 ? cs_fail(err, CS_ERR_INTERNAL, errno, "make namespaces") : make_ahead(&c, ret, err);
	if (sys_setns(home_ipc, CLONE_NEWIPC) < 0 || sys_setns(home_mnt, CLONE_NEWNS) < 0 || stat("/", &after) < 0 || before.st_dev != after.st_dev ||
	    before.st_ino != after.st_ino)
		_exit(125);
	(void)umask(mask);
	for (size_t i = 0; i < N_PRIMED; i++)
		free(held[i]);
	cs_close(c.root);
	cs_close(c.null_tree);
	return r;
}
