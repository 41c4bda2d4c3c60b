/* SPDX-License-Identifier: Apache-2.0
 *
 * vfork-like clone: the child shares our memory until exec, allocates nothing, and reports exec's errno in shared memory. It makes system calls
 * without libc's wrappers: those of a sanitizer would note its descriptors and signal handlers as the parent's. */
#include "base/spawn.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/sys.h"

#define STACK_SIZE (64 * 1024)

/* The thread sanitizer takes every clone for a fork and resets what it knows, which must not happen to the parent's memory. */
#if defined(__SANITIZE_THREAD__)
#define SHARE_MEMORY 0
#else
#define SHARE_MEMORY CLONE_VM
#endif

struct child {
	const struct cs_spawn *s;
	sigset_t mask;
	volatile int *err;
};

static int child_main(void *arg)
{
	struct child *c = arg;
	const struct cs_spawn *s = c->s;
	int high = 64 + (int)s->n_fds;
	int tmp[CS_ARRAY_SIZE((int[64]){0})];
	static const unsigned long dfl[8]; /* the kernel's struct sigaction, all zero: SIG_DFL */

	for (int sig = 1; sig < NSIG; sig++)
		(void)syscall(SYS_rt_sigaction, sig, dfl, NULL, (size_t)8);
	if (s->new_session)
		(void)syscall(SYS_setsid);
	/* first above the target range, so that no dup2 hits a descriptor still needed */
	int exe = (int)syscall(SYS_fcntl, s->exe_fd, F_DUPFD_CLOEXEC, high);
	if (exe < 0)
		goto fail;
	for (size_t i = 0; i < s->n_fds; i++) {
		tmp[i] = (int)syscall(SYS_fcntl, s->fds[i], F_DUPFD_CLOEXEC, high);
		if (tmp[i] < 0)
			goto fail;
	}
	for (size_t i = 0; i < s->n_fds; i++)
		if (syscall(SYS_dup3, tmp[i], (int)i, 0) < 0)
			goto fail;
	if (sys_close_range((unsigned)s->n_fds, ~0u, CLOSE_RANGE_CLOEXEC) < 0) {
		/* before 5.11: everything of ours is close-on-exec from birth anyway */
	}
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &c->mask, NULL, (size_t)8);
	(void)syscall(SYS_execveat, exe, "", s->argv, s->envp, AT_EMPTY_PATH);
fail:
	*c->err = errno ? errno : EINVAL;
	_exit(127);
}

int cs_spawn(const struct cs_spawn *s, pid_t *ret_pid, int *ret_pidfd, struct cs_err **err)
{
	volatile int child_err = 0;
	struct child c = {.s = s, .err = &child_err};
	sigset_t all, old;
	int pidfd = -1;

	if (s->n_fds > 64)
		return cs_fail(err, CS_ERR_INTERNAL, EINVAL, "spawn: too many descriptors");
	if (!SHARE_MEMORY) {
		c.err = mmap(NULL, sizeof(*c.err), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (c.err == MAP_FAILED)
			return cs_fail(err, CS_ERR_INTERNAL, errno, "spawn");
	}
	char *stack = cs_xmalloc(STACK_SIZE);
	sigemptyset(&c.mask);
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	pid_t pid = clone(child_main, stack + STACK_SIZE - 64, SHARE_MEMORY | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &c, &pidfd);
	int e = pid < 0 ? errno : *c.err;
	if (!SHARE_MEMORY)
		(void)munmap((void *)(uintptr_t)c.err, sizeof(*c.err));
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
