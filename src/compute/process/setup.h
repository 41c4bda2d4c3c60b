/* SPDX-License-Identifier: Apache-2.0
 *
 * The process-isolation side of a start: called by the worker. Single-threaded by contract. */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"
#include "compute/process/plan.h"

/* What the child says to the worker over the set-up socket (SOCK_SEQPACKET, close-on-exec: end of file means exec succeeded). */
enum cs_setup_msg { CS_SETUP_EXECUTING = 0x40 /* only execve is left */, CS_SETUP_PTY /* + master descriptor */, CS_SETUP_ERROR /* code, errno, text */, CS_SETUP_WARNING,
		    CS_SETUP_GO /* worker to child, one byte: the v1 cgroups exist; the second time: the caller is prepared */,
		    CS_SETUP_PLAN /* worker to a child that was cloned early: types of namespaces; fds: plan, stdio, namespaces to join */ };


/* cs_setup_start also makes the plan's cgroups. */
struct cs_setup_child {
	pid_t pid;
	int pidfd;
	int sock;    /* set-up socket, worker's end; -EBADF once finished */
	int pty;     /* terminal master, or -EBADF */
	bool ahead, early; /* with what was done before */
};

/* Made before the plan is there, with the steps that were done in it: see ahead.h. */
struct cs_ahead {
	int mntns, ipcns;           /* -EBADF: none */
	struct cs_str steps;
	struct cs_setup_child early; /* pid -1: not cloned */
};
#define CS_AHEAD_NONE {.mntns = -EBADF, .ipcns = -EBADF, .early = {.pid = -1, .pidfd = -EBADF, .sock = -EBADF, .pty = -EBADF}}
/* For plans of which cs_ahead_steps says the same as `steps`. */
CS_MUST_CHECK int cs_setup_ahead(const struct cs_plan *steps, struct cs_ahead *ret, struct cs_err **err);
/* A start begins: clones the container's first process, which does what is EARLY. Nothing happens when that is not possible. */
void cs_setup_early(struct cs_ahead *a, int self_exe);
void cs_ahead_done(struct cs_ahead *a);

/* stdio[3]: descriptors that become 0,1,2 of the process when the plan has no tty (borrowed). `self_exe` is a descriptor of the
 * worker's own binary, used for the built-in init. The call returns once the process has been exec'ed (or the set-up failed: the child is
 * then dead and reaped, and cgroups may be left for cs_cgroup_remove; err says why with EXEC_NOT_FOUND / EXEC_DENIED / INVALID ...). `warn` may be called for each warning.
 * `meanwhile` (or NULL): the caller's own preparations, done once, beside the child's mounting where the child can wait; when it fails, nothing of
 * the image has run. `ahead` (or NULL) is taken for a plan that it fits, and let go in any case. */
struct cs_setup_caller {
	void (*warn)(void *ctx, const char *text);
	int (*meanwhile)(void *ctx, struct cs_err **err);
	void *ctx;
	struct cs_ahead *ahead;
	int plan_fd; /* the plan's, for a child that was cloned early */
};
CS_MUST_CHECK int cs_setup_start(const struct cs_plan *plan, const int stdio[3], int self_exe, const struct cs_setup_caller *caller,
				 struct cs_setup_child *ret, struct cs_err **err);

/* Runs a further process in the namespaces and cgroups of a running init (exec plan; cgroups come from the start plan). */
CS_MUST_CHECK int cs_setup_exec(const struct cs_plan *start, const struct cs_plan *exec, int init_pidfd, pid_t init_pid, const int stdio[3],
				struct cs_setup_child *ret, struct cs_err **err);

/* cgroups named by the plan. */
CS_MUST_CHECK int cs_cgroup_create(const struct cs_plan *plan, void (*warn)(void *ctx, const char *text), void *ctx, struct cs_err **err);
int cs_cgroup_kill_all(const struct cs_plan *plan);   /* SIGKILL to every member; number of processes still there, or -errno */
int cs_cgroup_remove(const struct cs_plan *plan);     /* 0, or -EBUSY when processes are left */
int cs_cgroup_oom_kills(const struct cs_plan *plan, uint64_t *ret); /* kernel's counter of OOM kills in the group */
int cs_cgroup_oom_fd(const struct cs_plan *plan, uint32_t *epoll_events); /* descriptor that becomes ready at an OOM, or -errno */

/* The built-in init (worker re-executed as argv[0] "caisson-init"): pid 1 that starts argv, forwards signals, reaps, and exits with
 * the status of its child. Never returns. */
_Noreturn void cs_init_main(char **argv);
