/* SPDX-License-Identifier: Apache-2.0
 *
 * Starting workers. One idle worker is kept ready: it has been executed and set up, and waits for its plan and runtime directory, so a
 * start does not wait for that. It is replaced in the background when it is taken, and ends by itself when the engine goes. Any thread. */
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/log.h"
#include "base/spawn.h"
#include "compute/internal.h"
#include "compute/process/ahead.h"

static struct {
	pthread_mutex_t lock;
	int control, begin; /* of the idle worker, -1 when there is none */
	pid_t pid;
	bool filling, open, told; /* told: that a start begins */
	struct cs_str steps; /* what the plan that was made last allows to be done ahead */
	int steps_fd;        /* the same, sealed, or -1 */
} spare = {.lock = PTHREAD_MUTEX_INITIALIZER, .control = -1, .begin = -1, .steps = CS_STR_INIT(CS_PLAN_MAX_SIZE), .steps_fd = -1};

/* Empty; only a build with sanitizers tells its workers where reports go. */
static void worker_environment(char **envp, size_t room)
{
	size_t n = 0;
#ifdef __SANITIZE_ADDRESS__
	for (char **e = environ; *e && n + 1 < room; e++)
		if (cs_prefix(*e, "ASAN_OPTIONS=") || cs_prefix(*e, "UBSAN_OPTIONS="))
			envp[n++] = *e;
#endif
	if (n < room)
		envp[n] = NULL;
}

/* fd4, fd5: what the worker finds there; -1 = the null device. As 6 it keeps the sockets' guard, if there is one. */
static int spawn(char *id, bool wait, int control, int fd4, int fd5, pid_t *ret, struct cs_err **err)
{
	cs_autofd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char *const argv[] = {(char *)(uintptr_t)"caisson-worker", id, wait ? (char *)(uintptr_t)CS_W_WAIT_FLAG : NULL, NULL};
	char *envp[3];

	worker_environment(envp, CS_ARRAY_SIZE(envp));
	if (null < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open /dev/null");
	const int fds[] = {null, null, null, control, fd4, fd5 < 0 ? null : fd5, cs_service.guard_fd};
	struct cs_spawn sp = {.exe_fd = cs_service.worker_fd, .argv = argv, .envp = envp, .fds = fds, .n_fds = CS_ARRAY_SIZE(fds) - (cs_service.guard_fd < 0), .new_session = true};
	return cs_spawn(&sp, ret, err);
}

static int pair(int *ours, int *theirs, struct cs_err **err)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "create the worker's connection");
	*ours = sv[0];
	*theirs = sv[1];
	return 0;
}

/* ---- the idle worker ---- */

void cs_spare_learn(const struct cs_str *plan)
{
	cs_autostr struct cs_str steps = CS_STR_INIT(CS_PLAN_MAX_SIZE);
	cs_autofd int fd = -EBADF;

	if (plan->failed || !cs_ahead_steps(&(struct cs_plan){plan->buf, plan->len}, &steps))
		return; /* the next one will be an ordinary one again */
	pthread_mutex_lock(&spare.lock);
	bool known = spare.steps_fd >= 0 && steps.len == spare.steps.len && memcmp(steps.buf, spare.steps.buf, steps.len) == 0;
	if (!known && cs_plan_to_memfd(&steps, &fd, NULL) == 0) {
		CS_SWAP(spare.steps, steps);
		cs_close(spare.steps_fd);
		spare.steps_fd = TAKE_FD(fd);
	}
	pthread_mutex_unlock(&spare.lock);
}

static void fill(void *arg)
{
	char id[CS_W_WAIT_ID_ROOM + 1];
	cs_autofd int control = -EBADF, control_theirs = -EBADF, begin = -EBADF, begin_theirs = -EBADF;
	cs_autoerr struct cs_err *err = NULL;
	pid_t pid = 0;

	(void)arg;
	memset(id, ' ', CS_W_WAIT_ID_ROOM); /* the worker writes its system's id over it, for ps(1) */
	id[CS_W_WAIT_ID_ROOM] = 0;
	pthread_mutex_lock(&spare.lock);
	cs_autofd int steps = spare.steps_fd < 0 ? -EBADF : fcntl(spare.steps_fd, F_DUPFD_CLOEXEC, 0);
	pthread_mutex_unlock(&spare.lock);
	bool ok = pair(&control, &control_theirs, &err) == 0 && pair(&begin, &begin_theirs, &err) == 0 &&
		  spawn(id, true, control_theirs, begin_theirs, steps, &pid, &err) == 0;
	if (!ok) {
		cs_autofree char *text = cs_err_text(err);
		cs_debug("compute", "no idle worker: %s", text);
	}
	pthread_mutex_lock(&spare.lock);
	spare.filling = false;
	if (ok && spare.open && spare.control < 0) {
		spare.control = TAKE_FD(control);
		spare.begin = TAKE_FD(begin);
		spare.pid = pid;
		spare.told = false;
	}
	pthread_mutex_unlock(&spare.lock);
}

void cs_spare_refill(void)
{
	pthread_mutex_lock(&spare.lock);
	bool want = spare.open && spare.control < 0 && !spare.filling;
	if (want)
		spare.filling = true;
	pthread_mutex_unlock(&spare.lock);
	if (want)
		cs_background(fill, NULL);
}

void cs_spare_expect(void)
{
	const char byte = CS_W_WAIT_BEGIN;

	pthread_mutex_lock(&spare.lock);
	if (spare.begin >= 0 && !spare.told)
		spare.told = cs_send_fds(spare.begin, &byte, 1, NULL, 0, MSG_DONTWAIT) == 1;
	pthread_mutex_unlock(&spare.lock);
}

void cs_spare_open(void)
{
	pthread_mutex_lock(&spare.lock);
	spare.open = true;
	pthread_mutex_unlock(&spare.lock);
	cs_spare_refill();
}

void cs_spare_close(void)
{
	pthread_mutex_lock(&spare.lock);
	spare.open = false;
	cs_close(spare.control);
	cs_close(spare.begin);
	cs_close(spare.steps_fd);
	cs_str_done(&spare.steps);
	spare.control = spare.begin = spare.steps_fd = -1;
	pthread_mutex_unlock(&spare.lock);
}

/* ---- a start ---- */

int cs_worker_prepare(struct cs_new_worker *w, struct cs_err **err)
{
	*w = (struct cs_new_worker){.control = -EBADF, .theirs = -EBADF, .begin = -EBADF};
	pthread_mutex_lock(&spare.lock);
	if (spare.control >= 0) {
		w->control = spare.control;
		w->begin = spare.begin;
		w->pid = spare.pid;
		spare.control = spare.begin = -1;
	}
	pthread_mutex_unlock(&spare.lock);
	struct pollfd p = {.fd = w->control, .events = 0};
	if (w->control >= 0 && poll(&p, 1, 0) > 0) { /* somebody has killed it */
		cs_new_worker_done(w);
		*w = (struct cs_new_worker){.control = -EBADF, .theirs = -EBADF, .begin = -EBADF};
	}
	return w->control >= 0 ? 0 : pair(&w->control, &w->theirs, err);
}

int cs_worker_begin(struct cs_new_worker *w, char *id, int plan, int dir, struct cs_err **err)
{
	int r = 0;

	if (w->begin < 0) {
		r = spawn(id, false, w->theirs, plan, dir, &w->pid, err);
	} else {
		ssize_t n = cs_send_fds(w->begin, id, strlen(id), (const int[]){plan, dir}, 2, MSG_DONTWAIT);
		if (n < 0)
			r = cs_fail(err, CS_ERR_INTERNAL, (int)-n, "hand the plan to the worker");
	}
	if (r < 0 || w->begin < 0) /* else the start does it when it is over: it needs both processors itself */
		cs_spare_refill();
	return r;
}

void cs_new_worker_done(struct cs_new_worker *w)
{
	cs_close(w->control);
	cs_close(w->theirs);
	cs_close(w->begin);
}
