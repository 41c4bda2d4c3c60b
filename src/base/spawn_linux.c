/* SPDX-License-Identifier: Apache-2.0
 *
 * vfork-like clone: the child shares our memory until exec, allocates nothing, and reports exec's errno in shared memory. It makes system
 * calls without libc's wrappers: those of a sanitizer would note its descriptors and signal handlers as the parent's.
 *
 * The clone is made by threads that have left the process's table of descriptors and have one of their own with a single socket, over which
 * the descriptors of each job come. A child begins with a copy of its maker's table, and so
 *   - it costs the same with ten thousand published ports, each of which is a descriptor, and
 *   - no child ever has our sockets and locks: what we close is closed, and when we are killed the next engine can have them at once. */
#include "base/spawn.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/io.h"
#include "base/sys.h"

#define STACK_SIZE (64 * 1024)
#define MAKERS_MAX 4u
#define FDS_MAX (CS_MAX_FDS - 1) /* and the program */

/* The thread sanitizer takes every clone for a fork and resets what it knows, which must not happen to the parent's memory; and it knows
 * one table of descriptors only. */
#if defined(__SANITIZE_THREAD__)
#define SHARE_MEMORY 0
#define NO_MAKERS true
#else
#define SHARE_MEMORY CLONE_VM
#define NO_MAKERS false
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
	int tmp[FDS_MAX];
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
	(void)syscall(SYS_exit_group, 127); /* the address sanitizer would look for the end of a stack that it does not know before _exit */
	__builtin_trap();
}

/* All signals are blocked. 0 or an errno. `stack`: STACK_SIZE bytes for the child until its exec. */
static int make_child(const struct cs_spawn *s, char *stack, pid_t *ret)
{
	volatile int child_err = 0;
	struct child c = {.s = s, .err = &child_err};

	if (!SHARE_MEMORY) {
		c.err = mmap(NULL, sizeof(*c.err), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (c.err == MAP_FAILED)
			return errno;
	}
	sigemptyset(&c.mask);
	pid_t pid = clone(child_main, stack + STACK_SIZE - 64, SHARE_MEMORY | CLONE_VFORK | SIGCHLD, &c);
	int e = pid < 0 ? errno : *c.err;
	if (!SHARE_MEMORY)
		(void)munmap((void *)(uintptr_t)c.err, sizeof(*c.err));
	*ret = pid;
	return e;
}

/* ---- the makers ---- */

struct job {
	const struct cs_spawn *s;
	char *stack;
	pid_t pid;
	int err;
	bool done;
	pthread_cond_t cond;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t ready; /* the first maker, or that there will be none */
	int ours, theirs;     /* a socket pair: jobs' addresses with their descriptors. Both stay open in the process's table, too */
	unsigned makers, busy;
	bool impossible; /* the kernel has no close_range(2) */
} spawner = {
	.lock = PTHREAD_MUTEX_INITIALIZER, .ready = PTHREAD_COND_INITIALIZER, .ours = -EBADF, .theirs = -EBADF, .impossible = NO_MAKERS};

static void *maker(void *unused);

/* All signals are blocked: makers never take one. */
static bool start_maker(void)
{
	pthread_attr_t attr;
	pthread_t thread;

	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	bool ok = pthread_create(&thread, &attr, maker, NULL) == 0;
	(void)pthread_attr_destroy(&attr);
	return ok;
}

static void work(int sock)
{
	struct job *j = NULL;
	int fds[CS_MAX_FDS], e = EMFILE;
	pid_t pid = -1;
	size_t n = CS_ARRAY_SIZE(fds);
	ssize_t got = cs_recv_fds(sock, &j, sizeof(j), fds, &n, 0);

	if (!j) /* cannot be: we have the other end ourselves */
		abort();
	pthread_mutex_lock(&spawner.lock);
	/* Another one begins with a copy of our table, not of the process's, so that nothing there has a second life even then. */
	if (spawner.busy > spawner.makers && spawner.makers < MAKERS_MAX && start_maker())
		spawner.makers++;
	pthread_mutex_unlock(&spawner.lock);
	if (got == (ssize_t)sizeof(j) && n == j->s->n_fds + 1) {
		struct cs_spawn s = *j->s;
		s.exe_fd = fds[0];
		s.fds = fds + 1;
		e = make_child(&s, j->stack, &pid);
	}
	for (size_t i = 0; got > 0 && i < n; i++)
		cs_close(fds[i]);
	pthread_mutex_lock(&spawner.lock);
	j->err = e;
	j->pid = pid;
	j->done = true;
	spawner.busy--;
	pthread_cond_signal(&j->cond);
	pthread_mutex_unlock(&spawner.lock);
}

static void *maker(void *unused)
{
	unsigned sock = (unsigned)spawner.theirs;

	(void)pthread_setname_np(pthread_self(), "spawner");
	/* a table with what lies below the socket, however many there are above; then only the socket, and where assert and abort write */
	bool apart = sys_close_range(sock + 1, ~0u, CLOSE_RANGE_UNSHARE) == 0 && (sock < 4 || sys_close_range(3, sock - 1, 0) == 0);
	pthread_mutex_lock(&spawner.lock);
	if (spawner.makers == 0) { /* the first */
		spawner.impossible = !apart;
		spawner.makers = apart;
		pthread_cond_broadcast(&spawner.ready);
	} else if (!apart) {
		spawner.makers--;
	}
	pthread_mutex_unlock(&spawner.lock);
	if (!apart)
		return NULL;
	for (;;)
		work((int)sock);
}

/* Makes the first, at the first spawn: when there is little in the table. The lock is held. */
static void first_maker(void)
{
	int sv[2];

	if (spawner.ours < 0 && !spawner.impossible) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
			return;
		spawner.ours = sv[0];
		spawner.theirs = sv[1];
		spawner.impossible = !start_maker();
	}
	while (spawner.makers == 0 && !spawner.impossible)
		pthread_cond_wait(&spawner.ready, &spawner.lock);
}

/* 0 or an errno. */
static int let_make(const struct cs_spawn *s, char *stack, pid_t *ret)
{
	struct job j = {.s = s, .stack = stack, .cond = PTHREAD_COND_INITIALIZER}, *at = &j;
	int fds[CS_MAX_FDS] = {s->exe_fd};

	memcpy(fds + 1, s->fds, s->n_fds * sizeof(int));
	pthread_mutex_lock(&spawner.lock);
	first_maker();
	bool any = spawner.makers > 0;
	spawner.busy += any;
	pthread_mutex_unlock(&spawner.lock);
	if (!any)
		return make_child(s, stack, ret);
	ssize_t n = cs_send_fds(spawner.ours, &at, sizeof(at), fds, s->n_fds + 1, 0);
	pthread_mutex_lock(&spawner.lock);
	if (n < 0) {
		spawner.busy--;
		j.err = (int)-n;
	}
	while (n >= 0 && !j.done)
		pthread_cond_wait(&j.cond, &spawner.lock);
	pthread_mutex_unlock(&spawner.lock);
	*ret = j.pid;
	return j.err;
}

int cs_spawn(const struct cs_spawn *s, pid_t *ret, struct cs_err **err)
{
	sigset_t all, old;

	if (s->n_fds > FDS_MAX)
		return cs_fail(err, CS_ERR_INTERNAL, EINVAL, "spawn: too many descriptors");
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	char *stack = cs_xmalloc(STACK_SIZE);
	int e = let_make(s, stack, ret);
	free(stack);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return e ? cs_fail(err, CS_ERR_INTERNAL, e, "start %s", s->argv[0]) : 0;
}
