/* SPDX-License-Identifier: Apache-2.0
 *
 * vfork-like clone: the child shares our memory until exec, allocates nothing, and reports exec's errno in shared memory. */
#include "base/spawn.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/sys.h"

#define STACK_SIZE (64 * 1024)

struct child {
	const struct cs_spawn *s;
	sigset_t mask;
	volatile int err;
};

static int child_main(void *arg)
{
	struct child *c = arg;
	const struct cs_spawn *s = c->s;
	int high = 64 + (int)s->n_fds;
	int tmp[CS_ARRAY_SIZE((int[64]){0})];
	struct sigaction dfl = {.sa_handler = SIG_DFL};

	for (int sig = 1; sig < NSIG; sig++)
		(void)sigaction(sig, &dfl, NULL);
	if (s->new_session)
		(void)setsid();
	/* first above the target range, so that no dup2 hits a descriptor still needed */
	int exe = fcntl(s->exe_fd, F_DUPFD_CLOEXEC, high);
	if (exe < 0)
		goto fail;
	for (size_t i = 0; i < s->n_fds; i++) {
		tmp[i] = fcntl(s->fds[i], F_DUPFD_CLOEXEC, high);
		if (tmp[i] < 0)
			goto fail;
	}
	for (size_t i = 0; i < s->n_fds; i++)
		if (dup2(tmp[i], (int)i) < 0)
			goto fail;
	if (sys_close_range((unsigned)s->n_fds, ~0u, CLOSE_RANGE_CLOEXEC) < 0) {
		/* before 5.11: everything of ours is close-on-exec from birth anyway */
	}
	(void)sigprocmask(SIG_SETMASK, &c->mask, NULL);
	(void)syscall(SYS_execveat, exe, "", s->argv, s->envp, AT_EMPTY_PATH);
fail:
	c->err = errno ? errno : EINVAL;
	_exit(127);
}

int cs_spawn(const struct cs_spawn *s, pid_t *ret_pid, int *ret_pidfd, struct cs_err **err)
{
	struct child c = {.s = s};
	sigset_t all, old;
	int pidfd = -1;

	if (s->n_fds > 64)
		return cs_fail(err, CS_ERR_INTERNAL, EINVAL, "spawn: too many descriptors");
	char *stack = cs_xmalloc(STACK_SIZE);
	sigemptyset(&c.mask);
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	pid_t pid = clone(child_main, stack + STACK_SIZE - 64, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &c, &pidfd);
	int e = pid < 0 ? errno : c.err;
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	free(stack);
	if (e) {
		cs_close(pidfd);
		return cs_fail(err, CS_ERR_INTERNAL, e, "start %s", s->argv[0]);
	}
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	return 0;
}
