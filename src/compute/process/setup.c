/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker's side of a start and of an exec: opens what the child must not open by itself, clones once, listens on the set-up
 * socket until exec has succeeded, and turns what the child says into one error object. Single-threaded. */
#include "compute/process/setup.h"

#include <linux/nsfs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#include "base/io.h"
#include "base/sys.h"
#include "compute/process/child.h"

#define NSFS_MAGIC_ 0x6e736673
#define SETUP_DEADLINE_MS 120000 /* a bind source on a dead network file system must not block the worker for ever */
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif
#ifndef NS_GET_NSTYPE
#define NS_GET_NSTYPE _IO(0xb7, 0x3)
#endif

static int open_namespace(const char *path, uint64_t type, struct cs_err **err)
{
	struct statfs fs;
	cs_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return cs_fail(err, CS_ERR_INVALID, errno, "open namespace %s", path);
	if (fstatfs(fd, &fs) < 0 || (unsigned long)fs.f_type != NSFS_MAGIC_)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s is not a namespace", path);
	if (ioctl(fd, NS_GET_NSTYPE) != (int)type)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s is not a namespace of the wanted type", path);
	return TAKE_FD(fd);
}

/* Namespaces to join are opened by us, before the clone, and checked: the child has nothing left to resolve. */
static int open_namespaces(const struct cs_plan *plan, struct cs_child_args *a, int *ret_pidns, struct cs_err **err)
{
	struct cs_plan_cursor c = {.plan = plan};
	struct cs_step s;
	int r;

	while ((r = cs_plan_next(&c, &s)) == 1) {
		if (s.op == CS_PLAN_BIND_BENEATH && *s.arg[0].s) {
			if (a->mntns >= 0)
				return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "binds from several other mount namespaces");
			a->mntns = open_namespace(s.arg[0].s, CLONE_NEWNS, err);
			if (a->mntns < 0)
				return -1;
		}
		if (s.op != CS_PLAN_SETNS)
			continue;
		if (s.arg[0].u == CLONE_NEWUSER)
			return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "joining a user namespace is not available in this build");
		if (a->n_ns == CS_ARRAY_SIZE(a->ns))
			return cs_fail(err, CS_ERR_INVALID, 0, "too many namespaces to join");
		int fd = open_namespace(s.arg[1].s, s.arg[0].u, err);
		if (fd < 0)
			return -1;
		if (s.arg[0].u == CLONE_NEWPID) {
			cs_close(*ret_pidns);
			*ret_pidns = fd;
		} else {
			a->ns_type[a->n_ns] = (int)s.arg[0].u;
			a->ns[a->n_ns++] = fd;
		}
	}
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "malformed plan") : 0;
}

/* Reads one message; 1 when the child has something more to say, 0 when the program runs, -1 with an error. */
static int receive(struct cs_setup_child *ch, bool *executing, void (*warn)(void *, const char *), void *ctx, struct cs_err **err)
{
	union {
		struct cs_setup_packet p;
		char raw[sizeof(struct cs_setup_packet) + CS_SETUP_TEXT_MAX + 1];
	} buf;
	struct pollfd pfd = {.fd = ch->sock, .events = POLLIN};
	int fd = -EBADF;
	size_t n_fds = 1;
	int r = poll(&pfd, 1, SETUP_DEADLINE_MS);

	if (r < 0)
		return errno == EINTR ? 1 : cs_fail(err, CS_ERR_INTERNAL, errno, "wait for the container's set-up");
	if (r == 0)
		return cs_fail(err, CS_ERR_TIMEOUT, 0, "the container's set-up did not finish within %d seconds", SETUP_DEADLINE_MS / 1000);
	ssize_t n = cs_recv_fds(ch->sock, buf.raw, sizeof(buf.raw) - 1, &fd, &n_fds, 0);
	if (n == -ECONNRESET) { /* it ended before it read our GO; its own last word is still there */
		n_fds = 1;
		n = cs_recv_fds(ch->sock, buf.raw, sizeof(buf.raw) - 1, &fd, &n_fds, 0);
	}
	if (n < 0 && n != -ECONNRESET)
		return cs_fail(err, CS_ERR_INTERNAL, (int)-n, "read from the container's set-up");
	if (n <= 0)
		return *executing ? 0 : cs_fail(err, CS_ERR_INTERNAL, 0, "the container's set-up died without a word (out of memory?)");
	if ((size_t)n < sizeof(buf.p)) {
		cs_close(n_fds ? fd : -EBADF);
		return cs_fail(err, CS_ERR_INTERNAL, 0, "malformed message from the container's set-up");
	}
	buf.raw[n] = 0;
	const char *text = buf.raw + sizeof(buf.p);
	if (n_fds && (buf.p.type != CS_SETUP_PTY || ch->pty >= 0))
		cs_close(fd);
	switch ((enum cs_setup_msg)buf.p.type) {
	case CS_SETUP_GO: /* ours to say, not the child's */
	case CS_SETUP_PLAN:
		break;
	case CS_SETUP_EXECUTING:
		*executing = true;
		return 1;
	case CS_SETUP_PTY:
		if (n_fds && ch->pty < 0)
			ch->pty = fd;
		return 1;
	case CS_SETUP_WARNING:
		if (warn)
			warn(ctx, text);
		return 1;
	case CS_SETUP_ERROR: {
		enum cs_code code = buf.p.code > CS_ERR_NONE && buf.p.code < CS_ERR_MAX ? (enum cs_code)buf.p.code : CS_ERR_INTERNAL;
		return cs_fail(err, code, buf.p.sys, "%s", text);
	}
	}
	return cs_fail(err, CS_ERR_INTERNAL, 0, "unknown message %u from the container's set-up", buf.p.type);
}

/* After a failed set-up nothing of the child may be left. */
static void reap(struct cs_setup_child *ch)
{
	(void)sys_pidfd_send_signal(ch->pidfd, SIGKILL);
	while (waitpid(ch->pid, NULL, 0) < 0 && errno == EINTR)
		;
	cs_close(TAKE_FD(ch->pidfd));
	cs_close(TAKE_FD(ch->sock));
	cs_close(TAKE_FD(ch->pty));
	ch->pid = -1;
}

static int follow(struct cs_setup_child *ch, void (*warn)(void *, const char *), void *ctx, struct cs_err **err)
{
	bool executing = false;
	int r;

	while ((r = receive(ch, &executing, warn, ctx, err)) == 1)
		;
	if (r < 0) {
		reap(ch);
		return -1;
	}
	cs_close(TAKE_FD(ch->sock));
	return 0;
}

/* clone3 and the child's entry, which does not return. */
static int clone_child(struct cs_child_args *a, uint64_t flags, int cgroup_fd, struct cs_setup_child *ch)
{
	int sv[2], pidfd = -EBADF;
	struct clone_args args = {
		.flags = flags | CLONE_PIDFD | (cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup_fd >= 0 ? (uint64_t)cgroup_fd : 0,
	};

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return -errno;
	a->sock = sv[1];
	int pid = sys_clone3(&args, sizeof(args));
	if (pid == 0) {
		cs_close(sv[0]);
		cs_child_main(a);
	}
	cs_close(sv[1]);
	if (pid < 0) {
		cs_close(sv[0]);
		return pid;
	}
	*ch = (struct cs_setup_child){.pid = pid, .pidfd = pidfd, .sock = sv[0], .pty = -EBADF};
	return 0;
}

static int clone_flags(const struct cs_plan *plan, uint64_t *ret, bool *ret_cgroupns, struct cs_err **err)
{
	const uint64_t known = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
	struct cs_step s;

	if (cs_plan_find(plan, CS_PLAN_CLONE, &s) != 1)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "plan without a CLONE step");
	if (s.arg[0].u & ~known)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "namespace flags 0x%llx are not available in this build",
			       (unsigned long long)(s.arg[0].u & ~known));
	if (!(s.arg[0].u & CLONE_NEWNS))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "plan without a mount namespace");
	/* A cgroup namespace made by clone has the worker's group as its root, even with CLONE_INTO_CGROUP: the child unshares it once
	 * it is in its own group. */
	*ret_cgroupns = (s.arg[0].u & CLONE_NEWCGROUP) != 0;
	*ret = s.arg[0].u & ~(uint64_t)CLONE_NEWCGROUP;
	return 0;
}

static int prepare(const struct cs_plan *plan, const struct cs_setup_caller *caller, struct cs_err **err)
{
	if (cs_cgroup_create(plan, caller->warn, caller->ctx, err) < 0)
		return -1;
	return caller->meanwhile ? caller->meanwhile(caller->ctx, err) : 0;
}

/* While the child mounts. It may have failed by now: then follow() has its word. */
static int prepare_beside(struct cs_setup_child *ch, const struct cs_plan *plan, const struct cs_setup_caller *caller, struct cs_err **err)
{
	const char go = (char)CS_SETUP_GO;
	int r = cs_cgroup_create(plan, caller->warn, caller->ctx, err);

	if (r == 0) {
		(void)cs_send_fds(ch->sock, &go, 1, NULL, 0, 0);
		r = caller->meanwhile ? caller->meanwhile(caller->ctx, err) : 0;
	}
	if (r == 0)
		(void)cs_send_fds(ch->sock, &go, 1, NULL, 0, 0);
	else
		reap(ch);
	return r;
}

/* ---- before the plan is there ---- */

#define NO_ARGS .self_exe = -EBADF, .init_pidfd = -EBADF, .mntns = -EBADF, .ahead = {-EBADF, -EBADF}

void cs_ahead_done(struct cs_ahead *a)
{
	if (a->early.pid > 0)
		reap(&a->early);
	cs_close(TAKE_FD(a->mntns));
	cs_close(TAKE_FD(a->ipcns));
	cs_str_done(&a->steps);
}

int cs_setup_ahead(const struct cs_plan *steps, struct cs_ahead *ret, struct cs_err **err)
{
	int ns[2];

	*ret = (struct cs_ahead)CS_AHEAD_NONE;
	cs_str_init(&ret->steps, CS_PLAN_MAX_SIZE);
	if (cs_child_ahead(steps, ns, err) < 0)
		return -1;
	ret->ipcns = ns[0];
	ret->mntns = ns[1];
	cs_str_put(&ret->steps, steps->data, steps->len);
	return 0;
}

void cs_setup_early(struct cs_ahead *a, int self_exe)
{
	const struct cs_plan steps = {.data = a->steps.buf, .len = a->steps.len};
	struct cs_child_args args = {NO_ARGS, .plan = &steps, .stdio = {0, 1, 2}, .early = true};
	struct cs_step s;

	args.self_exe = self_exe;
	args.ahead[0] = a->ipcns;
	args.ahead[1] = a->mntns;
	if (a->mntns < 0 || a->early.pid > 0 || a->steps.failed || cs_plan_find(&steps, CS_PLAN_CLONE, &s) != 1)
		return;
	if (clone_child(&args, s.arg[0].u & ~(uint64_t)(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWCGROUP), -1, &a->early) < 0)
		a->early.pid = -1;
}

static bool ahead_fits(const struct cs_ahead *a, const struct cs_plan *plan)
{
	struct cs_str steps = CS_STR_INIT(CS_PLAN_MAX_SIZE);
	bool fit = a && a->mntns >= 0 && !a->steps.failed && cs_ahead_steps(plan, &steps) && steps.len == a->steps.len &&
		   memcmp(steps.buf, a->steps.buf, steps.len) == 0;

	cs_str_done(&steps);
	return fit;
}

/* The child that was cloned early gets its plan. What it has to say follows on the socket. */
static int send_plan(struct cs_ahead *ahead, const struct cs_child_args *a, int plan_fd, struct cs_setup_child *ch)
{
	struct cs_setup_plan m = {.type = CS_SETUP_PLAN, .late_groups = a->late_groups, .unshare_cgroup = a->unshare_cgroup, .n_ns = (uint32_t)a->n_ns};
	int fds[4 + CS_ARRAY_SIZE(a->ns)] = {plan_fd};

	for (int i = 0; i < 3; i++) /* with a terminal there are none, and the null device stays */
		fds[1 + i] = a->stdio[i] < 0 ? i : a->stdio[i];
	memcpy(m.ns_type, a->ns_type, sizeof(m.ns_type));
	memcpy(fds + 4, a->ns, a->n_ns * sizeof(a->ns[0]));
	ssize_t n = cs_send_fds(ahead->early.sock, &m, sizeof(m), fds, 4 + a->n_ns, 0);
	if (n < 0)
		return (int)n;
	*ch = ahead->early;
	ch->early = true;
	ahead->early.pid = -1;
	return 0;
}

/* The container's first process: the one that was cloned early, or a new one. */
static int first_process(struct cs_child_args *a, const struct cs_setup_caller *caller, uint64_t flags, int cgroup, struct cs_setup_child *ch)
{
	struct cs_ahead *ahead = caller->ahead;
	bool fit = ahead && ahead_fits(ahead, a->plan);

	if (fit && ahead->early.pid > 0 && send_plan(ahead, a, caller->plan_fd, ch) == 0) {
		ch->ahead = true;
		return 0;
	}
	if (ahead && ahead->early.pid > 0) /* what it has begun in there is of no use any more */
		fit = false;
	if (fit) {
		flags &= ~(uint64_t)(CLONE_NEWNS | CLONE_NEWIPC);
		a->ahead[0] = ahead->ipcns;
		a->ahead[1] = ahead->mntns;
	} else if (ahead) {
		cs_ahead_done(ahead);
	}
	int r = clone_child(a, flags, cgroup, ch);
	ch->ahead = fit;
	return r;
}

static int start(const struct cs_plan *plan, const int stdio[3], int self_exe, const struct cs_setup_caller *caller, struct cs_setup_child *ret,
		 struct cs_err **err)
{
	struct cs_child_args a = {.plan = plan, .self_exe = self_exe, .init_pidfd = -EBADF, .mntns = -EBADF, .ahead = {-EBADF, -EBADF}};
	cs_autofd int pidns = -EBADF, own_pidns = -EBADF, cgroup = -EBADF;
	struct cs_setup_child ch = {.pid = -1, .pidfd = -EBADF, .sock = -EBADF, .pty = -EBADF};
	uint64_t flags = 0;
	int r;

	memcpy(a.stdio, stdio, sizeof(a.stdio));
	if (clone_flags(plan, &flags, &a.unshare_cgroup, err) < 0)
		return -1;
	/* v2: the clone happens into the group. v1: the child needs its groups late, so they are made beside its mounting. */
	a.late_groups = !cs_cgroup_has_v2(plan);
	if (!a.late_groups && prepare(plan, caller, err) < 0)
		return -1;
	cgroup = cs_cgroup_v2_fd(plan);
	if (cgroup < 0 && cgroup != -ENOENT)
		return cs_fail(err, CS_ERR_INTERNAL, -cgroup, "open the container's cgroup");
	r = open_namespaces(plan, &a, &pidns, err);
	if (r == 0 && pidns >= 0) {
		own_pidns = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
		if (own_pidns < 0 || (r = sys_setns(pidns, CLONE_NEWPID)) < 0)
			r = cs_fail(err, CS_ERR_INTERNAL, own_pidns < 0 ? errno : -r, "join the other container's process namespace");
	}
	if (r == 0) {
		r = first_process(&a, caller, flags, cgroup, &ch);
		if (r < 0)
			r = cs_fail(err, CS_ERR_INTERNAL, -r, "clone the container's first process");
		if (own_pidns >= 0)
			(void)sys_setns(own_pidns, CLONE_NEWPID);
	}
	if (caller->ahead)
		cs_ahead_done(caller->ahead);
	for (size_t i = 0; i < a.n_ns; i++)
		cs_close(a.ns[i]);
	cs_close(a.mntns);
	if (r < 0)
		return -1;
	if (a.late_groups && prepare_beside(&ch, plan, caller, err) < 0)
		return -1;
	if (follow(&ch, caller->warn, caller->ctx, err) < 0)
		return -1;
	*ret = ch;
	return 0;
}

int cs_setup_start(const struct cs_plan *plan, const int stdio[3], int self_exe, const struct cs_setup_caller *caller,
		   struct cs_setup_child *ret, struct cs_err **err)
{
	int r = start(plan, stdio, self_exe, caller, ret, err);

	if (r < 0 && caller->ahead) /* what failed before it got that far */
		cs_ahead_done(caller->ahead);
	return r;
}

/* A container that organises its own groups below (systemd) leaves the outer one without processes, and the kernel then refuses
 * new ones there: follow init to where it is, as the OCI runtimes do. */
static int init_cgroup_fd(const char *group, pid_t init)
{
	struct cs_str s = CS_STR_INIT(16384);
	char path[64];
	int fd = -ENOENT;

	(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)init);
	if (cs_read_file_at(AT_FDCWD, path, &s) == 0 && s.buf) {
		char *line = strstr(s.buf, "0::/");
		if (line && (line == s.buf || line[-1] == '\n')) {
			char *rel = line + 3;
			rel[strcspn(rel, "\n")] = 0;
			/* "<mount>/caisson/ID" and "/caisson/ID/init.scope" overlap in "/caisson/ID": what follows is below our group */
			size_t n = strlen(rel), len = strlen(group);
			while (n > 1 && (n > len || memcmp(group + len - n, rel, n) != 0 || (rel[n] && rel[n] != '/')))
				n--;
			cs_autofree char *dir = cs_xasprintf("%s%s", group, n > 1 ? rel + n : "");
			fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			fd = fd < 0 ? -errno : fd;
		}
	}
	cs_str_done(&s);
	return fd;
}

int cs_setup_exec(const struct cs_plan *start, const struct cs_plan *exec, int init_pidfd, pid_t init_pid, const int stdio[3],
		  struct cs_setup_child *ret, struct cs_err **err)
{
	struct cs_child_args a = {.plan = exec, .start = start, .self_exe = -EBADF, .init_pidfd = init_pidfd, .mntns = -EBADF, .ahead = {-EBADF, -EBADF}};
	struct cs_setup_child ch = {.pid = -1, .pidfd = -EBADF, .sock = -EBADF, .pty = -EBADF};
	cs_autofd int cgroup = cs_cgroup_v2_fd(start);
	struct cs_step g;

	memcpy(a.stdio, stdio, sizeof(a.stdio));
	if (cgroup < 0 && cgroup != -ENOENT)
		return cs_fail(err, CS_ERR_INTERNAL, -cgroup, "open the container's cgroup");
	/* only children are affected; the caller restores its own for those that come after (proc.c) */
	int r = sys_setns(init_pidfd, CLONE_NEWPID);
	if (r < 0)
		return cs_fail(err, r == -ESRCH ? CS_ERR_CONFLICT : CS_ERR_INTERNAL, r == -ESRCH ? 0 : -r,
			       r == -ESRCH ? "container is not running" : "join the container's process namespace");
	r = clone_child(&a, 0, cgroup, &ch);
	if (r == -EBUSY && cgroup >= 0) {
		cs_autofd int other = cs_cgroup_v2_dir(start, &g) ? init_cgroup_fd(g.arg[1].s, init_pid) : -ENOENT;
		if (other >= 0)
			r = clone_child(&a, 0, other, &ch);
	}
	if (r == -ENOMEM && sys_pidfd_send_signal(init_pidfd, 0) == -ESRCH)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "container is not running");
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "clone the new process");
	if (follow(&ch, NULL, NULL, err) < 0)
		return -1;
	*ret = ch;
	return 0;
}
