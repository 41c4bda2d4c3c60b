/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson-worker: supervisor of one container. Reads a plan, starts init, and then serves its loop until the container and its
 * clients are gone. Single-threaded. */
#include <elf.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/str.h"
#include "base/sys.h"
#include "base/time.h"
#include "worker/worker.h"

#define FD_CONTROL 3
#define FD_PLAN 4
#define FD_DIR 5
#define FD_GUARD 6 /* or none: nothing to do with it but to have it (compute/socket_guard.h) */

struct cs_worker worker = {
	.dirfd = FD_DIR,
	.self_exe = -EBADF,
	.own_pidns = -EBADF,
	.mounts = -EBADF,
	.ahead = CS_AHEAD_NONE,
	.signals = {.fd = -EBADF},
	.listener = {.fd = -EBADF},
	.oom = {.fd = -EBADF},
	.log = {.fd = -EBADF, .dirfd = -EBADF},
};

static void on_child(struct cs_source *s, uint32_t events)
{
	struct signalfd_siginfo si[8];

	(void)events;
	(void)!read(s->fd, si, sizeof(si)); /* several exits may share one signal: we ask for all */
	cs_proc_reap();
}

#ifndef __GLIBC__ /* a static program at fixed addresses */
/* A fault on a page of code brings in all 64 KiB around it, but nothing of another mapping. With a hint on every other strip, each strip is a
 * mapping of its own, and only what is really used counts as ours. */
#define STRIP ((uintptr_t)8 << 10)

static void drop_code(void)
{
	extern const Elf64_Ehdr __ehdr_start;
	const char *base = (const char *)&__ehdr_start;
	static bool in_strips;

	for (unsigned i = 0; i < __ehdr_start.e_phnum; i++) {
		const Elf64_Phdr *p = (const Elf64_Phdr *)(const void *)(base + __ehdr_start.e_phoff) + i;
		if (p->p_type != PT_LOAD || (p->p_flags & PF_W))
			continue;
		uintptr_t start = p->p_vaddr & ~(uintptr_t)4095, end = (p->p_vaddr + p->p_memsz) & ~(uintptr_t)4095;
		for (uintptr_t at = start; !in_strips && at < end; at += 2 * STRIP)
			(void)madvise((void *)at, CS_MIN(STRIP, end - at), MADV_RANDOM);
		(void)madvise((void *)start, end - start, MADV_DONTNEED);
	}
	in_strips = true;
}
#else
static void drop_code(void) {}
#endif

/* Idle for a second: what the start or a burst has touched goes back. Code pages are clean and come again at the next fault. */
static void on_trim(struct cs_timer *t)
{
	(void)t;
	cs_log_trim(&worker.log);
	cs_stdio_trim();
	cs_recent_trim();
	cs_control_trim();
	/* what deeper calls have left below us on the stack; there are no signal handlers that could be using it */
	uintptr_t here = ((uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)4095) - 4096;
	(void)madvise((void *)(here - (96u << 10)), 96u << 10, MADV_DONTNEED);
	drop_code();
}

static void own_the_process(void)
{
	struct cs_str s = CS_STR_INIT(4096);
	sigset_t set;

	/* the set-up's child resets all of this before exec */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGQUIT, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	(void)sigprocmask(SIG_SETMASK, &set, NULL);
	worker.signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (worker.signals.fd < 0)
		abort();
	worker.signals.fn = on_child;
	cs_source_watch(&worker.signals, EPOLLIN);

	(void)setsid();
	(void)umask(022);
	(void)prctl(PR_SET_NAME, "caisson-worker");
	(void)prctl(PR_SET_DUMPABLE, 0);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1); /* orphans of execs come to us */
	if (cs_read_file_at(AT_FDCWD, "/proc/self/oom_score_adj", &s) == 0 && s.len && s.len < sizeof(worker.oom_score))
		memcpy(worker.oom_score, s.buf, s.len);
	else
		worker.oom_score[0] = '0';
	cs_str_done(&s);
	worker.self_exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	worker.own_pidns = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
}

static bool check_descriptors(void)
{
	for (int fd = FD_CONTROL; fd <= FD_DIR; fd++)
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
			return false;
	(void)fcntl(FD_GUARD, F_SETFD, FD_CLOEXEC);
	(void)sys_close_range(FD_GUARD + 1, ~0u, 0);
	return true;
}

/* What the engine expects of the next plan: without it, or when this does not come about, the start does everything. */
static void prepare_ahead(void)
{
	cs_autoerr struct cs_err *err = NULL;
	struct cs_plan steps;

	if (cs_plan_map(FD_DIR, &steps) < 0) /* the null device */
		return;
	if (cs_setup_ahead(&steps, &worker.ahead, &err) < 0)
		cs_ahead_done(&worker.ahead);
	cs_plan_unmap(&steps);
}

/* One packet from the engine: 1 the plan is there, 0 a start begins, -1 no work for us. */
static int take_work(char *id, size_t room)
{
	size_t n_fds = 2;
	int fds[2];

	memset(id, 0, room);
	ssize_t n = cs_recv_fds(FD_PLAN, id, room, fds, &n_fds, 0);
	if (n == 1 && n_fds == 0 && *id == CS_W_WAIT_BEGIN) {
		cs_setup_early(&worker.ahead, worker.self_exe);
		return 0;
	}
	if (n <= 0 || n_fds != 2)
		return -1;
	bool taken = dup3(fds[0], FD_PLAN, O_CLOEXEC) == FD_PLAN && dup3(fds[1], FD_DIR, O_CLOEXEC) == FD_DIR && close(fds[0]) == 0 && close(fds[1]) == 0;
	return taken ? 1 : -1;
}

/* The idle worker's wait. Returns false when the engine has gone or has no work for us. */
static bool wait_for_work(char *id)
{
	struct pollfd p[2] = {{.fd = FD_CONTROL}, {.fd = FD_PLAN, .events = POLLIN}};
	size_t room = strlen(id);
	bool trimmed = false;

	prepare_ahead();
	for (;;) {
		int ready = poll(p, 2, trimmed && worker.ahead.early.pid < 0 ? -1 : 1000);
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready < 0)
			return false;
		if (ready == 0) { /* nobody needs us soon; and a process that is cloned now should begin to run now */
			if (worker.ahead.early.pid > 0)
				cs_ahead_done(&worker.ahead);
			drop_code();
			trimmed = true;
		}
		if (p[0].revents & (POLLHUP | POLLERR))
			return false;
		int r = p[1].revents ? take_work(id, room) : 0;
		if (r)
			return r > 0;
	}
}

static int start(struct cs_err **err)
{
	int r = cs_plan_map(FD_PLAN, &worker.plan);

	if (r < 0)
		return cs_fail(err, CS_ERR_INVALID, -r, "map the start plan");
	if (cs_proc_prepare_init(err) < 0)
		return -1;
	cs_control_take_early();
	r = cs_proc_start_init(FD_PLAN, err);
	cs_close(FD_PLAN);
	return r;
}

static void start_failed(const struct cs_err *err)
{
	/* members that a half-done start left in the cgroup die first; bounded, this is no place for a loop */
	for (int i = 0; worker.cgroups_left && i < 200; i++) {
		int left = cs_cgroup_kill_all(&worker.plan);
		cs_proc_reap();
		if (left <= 0) {
			(void)cs_cgroup_remove(&worker.plan);
			break;
		}
		(void)usleep(5000);
	}
	cs_control_start_failed(err);
	if (cs_proc_init())
		cs_client_end_all(cs_proc_init());
	cs_log_close(&worker.log);
	cs_control_close();
}

/* Nothing of the system is left but clients that have not read everything yet: from here on they have only us, and nobody waits for them. */
static void depart(void)
{
	cs_close(worker.mounts);
	worker.mounts = -EBADF;
	for (int i = 0; worker.cgroups_left && i < 50; i++) {
		if (cs_cgroup_remove(&worker.plan) == 0)
			break;
		(void)usleep(10000);
	}
	cs_log_retire(&worker.log);
	cs_control_close();
	for (struct cs_proc *p = worker.procs; p; p = p->next)
		cs_watch_drop(p); /* the engine has answered them: our descriptors would only keep the clients from their end of file */
	cs_close(worker.dirfd); /* and with it the lock of the runtime directory */
	worker.dirfd = -EBADF;
}

int main(int argc, char **argv)
{
	cs_autoerr struct cs_err *err = NULL;

	if (argc > 0 && strcmp(argv[0], "caisson-init") == 0)
		cs_init_main(argv);
	if (!check_descriptors()) {
		static const char text[] = "caisson-worker is started by caissond, not by hand\n";
		(void)!write(2, text, sizeof(text) - 1);
		return 125;
	}
	cs_loop_init();
	own_the_process();
	if (argc > 2 && strcmp(argv[2], CS_W_WAIT_FLAG) == 0) {
		if (!wait_for_work(argv[1])) {
			cs_ahead_done(&worker.ahead);
			return 0;
		}
		memset(argv[2], 0, strlen(argv[2]));
	}
	/* of an earlier run in the same directory: if we are killed, nobody may take them for ours */
	(void)unlinkat(worker.dirfd, "started", 0);
	(void)unlinkat(worker.dirfd, "status", 0);
	worker.trim.fn = on_trim;
	cs_control_init(FD_CONTROL);
	if (start(&err) < 0) {
		start_failed(err);
		return 1;
	}
	cs_timer_arm(&worker.trim, cs_monotonic_ns() + CS_NS_PER_SEC);
	for (bool more = false, departed = false; !departed || !cs_worker_may_end();) {
		(void)cs_loop_turn(!more);
		/* whatever this turn brought is in the file before we sleep */
		cs_log_flush(&worker.log);
		more = cs_follow_pump();
		cs_proc_sweep();
		if (!departed && cs_worker_may_depart()) {
			departed = true;
			depart();
			more = true; /* perhaps nobody is left to wait for */
		}
	}
	cs_log_close(&worker.log);
	return 0;
}
