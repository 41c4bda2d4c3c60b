/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes under the worker's care, and how the system ends:
 *   1. init dies           RUNNING -> DYING; execs and everything else in the cgroup are killed, with a growing pause between tries
 *   2. output at its end   or nobody writes any more, or ten seconds have passed
 *   3. log flushed, `status` written, EXITED sent: DYING -> DEAD; cgroups are removed when the worker ends
 *   4. QUIT or no engine: the worker departs, and its id is free for the next run
 *   5. clients have read everything, or are gone: the worker ends
 * An exec is told as exited when it is reaped; its clients are let go once its output has ended or was silent for a second. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/io.h"
#include "base/str.h"
#include "base/sys.h"
#include "base/time.h"
#include "worker/worker.h"

#define GRACE_NS CS_NS_PER_SEC
#define INIT_DRAIN_NS (10 * CS_NS_PER_SEC)
#define KILL_TRIES 120 /* about ten seconds */

static struct cs_stdio init_stdio = {{-EBADF, -EBADF, -EBADF}};

static void on_grace(struct cs_timer *t);
static void end_system(void);

struct cs_proc *cs_proc_init(void) { return worker.procs; }

struct cs_proc *cs_proc_find(const char *id)
{
	for (struct cs_proc *p = worker.procs; p; p = p->next)
		if (!p->released && strcmp(p->id, id) == 0)
			return p;
	return NULL;
}

static struct cs_proc *new_proc(const struct cs_plan *plan, const char *id)
{
	struct cs_proc *p = cs_xcalloc(1, sizeof(*p)), **last = &worker.procs;
	struct cs_step s;

	(void)snprintf(p->id, sizeof(p->id), "%s", id);
	p->pidfd = p->in.fd = p->out[0].src.fd = p->out[1].src.fd = -EBADF;
	p->grace.fn = on_grace;
	if (cs_plan_find(plan, CS_PLAN_STDIO, &s) == 1) {
		p->tty = s.arg[0].u;
		p->open_stdin = s.arg[1].u;
		p->stdin_once = s.arg[2].u;
		p->rows = (uint16_t)s.arg[3].u;
		p->cols = (uint16_t)s.arg[4].u;
	}
	p->detach_default = (struct cs_detach){.key = {16, 17}, .len = 2};
	if (cs_plan_find(plan, CS_PLAN_DETACH_KEYS, &s) == 1 && s.arg[0].b.len && s.arg[0].b.len <= CS_DETACH_MAX) {
		p->detach_default.len = (uint8_t)s.arg[0].b.len;
		memcpy(p->detach_default.key, s.arg[0].b.data, s.arg[0].b.len);
	}
	while (*last)
		last = &(*last)->next;
	*last = p;
	return p;
}

/* No client and no event of the loop may point at it. */
static void free_proc(struct cs_proc *p)
{
	for (struct cs_proc **i = &worker.procs; *i; i = &(*i)->next) {
		if (*i == p) {
			*i = p->next;
			break;
		}
	}
	cs_watch_drop(p);
	cs_timer_stop(&p->grace);
	for (int i = 0; i < 2; i++)
		cs_source_close(&p->out[i].src);
	cs_source_close(&p->in);
	cs_close(p->pidfd);
	free(p->in_buf);
	free(p);
}

void cs_proc_sweep(void)
{
	for (struct cs_proc *p = worker.procs, *next; p; p = next) {
		next = p->next;
		if (p->released && p->reported && !p->clients)
			free_proc(p);
	}
}

/* A lower score than ours must not be inherited, and with CAP_SYS_RESOURCE the written value is also the floor for the child. */
static void oom_score(const char *value) { (void)cs_write_file_at(AT_FDCWD, "/proc/self/oom_score_adj", value, strlen(value)); }
static void be_protected(void) { oom_score("-999"); }
static void be_ordinary(void) { oom_score(worker.oom_score); }

/* ---- start ---- */

static int open_log(struct cs_err **err)
{
	struct cs_step s;

	worker.log.fd = worker.log.dirfd = -EBADF;
	worker.log.warn = cs_control_warn;
	if (cs_plan_find(&worker.plan, CS_PLAN_LOG, &s) != 1)
		return 0;
	struct cs_log_opts o = {.path = s.arg[1].s, .max_size = s.arg[2].u, .max_file = (unsigned)CS_MIN(s.arg[3].u, 10000),
				.compress = s.arg[4].u, .attrs = s.arg[5].s};
	if (strcmp(s.arg[0].s, "json-file") == 0)
		o.driver = CS_LOG_JSON;
	else if (strcmp(s.arg[0].s, "local") == 0)
		o.driver = CS_LOG_LOCAL;
	else if (strcmp(s.arg[0].s, "none") != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "unknown log driver %s", s.arg[0].s);
	return cs_log_open(&worker.log, &o, err);
}

/* What the child need not wait for while it mounts: a new file may take the disk 0.2 ms. Nothing can be logged before it has begun. */
static int beside_the_child(void *ctx, struct cs_err **err)
{
	(void)ctx;
	cs_control_listen();
	return open_log(err);
}

int cs_proc_prepare_init(struct cs_err **err)
{
	struct cs_proc *p = new_proc(&worker.plan, "");

	return cs_stdio_prepare(p, true, &init_stdio, err);
}

/* Later calls need the cgroups and the namespaces; the rest (environment, mounts, seccomp) is given back. */
static void shrink_plan(void)
{
	struct cs_plan_cursor c = {.plan = &worker.plan};
	struct cs_str *out = &worker.plan_buf;
	struct cs_step s;

	cs_str_init(out, CS_PLAN_MAX_SIZE);
	while (cs_plan_next(&c, &s) == 1) {
		if (s.op == CS_PLAN_ID)
			cs_plan_add(out, s.op, s.arg[0].s);
		else if (s.op == CS_PLAN_CGROUP)
			cs_plan_add(out, s.op, s.arg[0].s, s.arg[1].s, s.arg[2].u);
		else if (s.op == CS_PLAN_CLONE)
			cs_plan_add(out, s.op, s.arg[0].u);
		else if (s.op == CS_PLAN_SETNS)
			cs_plan_add(out, s.op, s.arg[0].u, s.arg[1].s);
	}
	if (out->failed)
		return;
	cs_plan_unmap(&worker.plan);
	worker.plan = (struct cs_plan){out->buf, out->len};
}

static bool oom_grew(void)
{
	uint64_t n = 0;

	if (cs_cgroup_oom_kills(&worker.plan, &n) < 0)
		return false;
	bool grew = n > worker.oom_kills;
	worker.oom_kills = CS_MAX(worker.oom_kills, n);
	if (grew)
		cs_control_event(CS_W_OOM, 0, NULL, 0);
	return grew;
}

/* v1 notifies when it begins to look for a victim: the counter may move a little later. */
static void on_oom_again(struct cs_timer *t)
{
	if (!oom_grew() && --worker.oom_looks > 0)
		cs_timer_arm(t, cs_monotonic_ns() + 20 * CS_NS_PER_MS);
}

static void on_oom(struct cs_source *s, uint32_t events)
{
	char junk[4096];

	(void)events;
	if (read(s->fd, junk, sizeof(junk)) < 0 && errno != EAGAIN && errno != EINTR)
		cs_source_close(s);
	worker.oom_looks = 10;
	worker.oom_timer.fn = on_oom_again;
	on_oom_again(&worker.oom_timer);
}

static void watch_oom(void)
{
	uint32_t events = EPOLLIN;
	int fd = cs_cgroup_oom_fd(&worker.plan, &events);

	worker.oom.fd = fd >= 0 ? fd : -EBADF;
	worker.oom.fn = on_oom;
	cs_source_watch(&worker.oom, events);
}

/* Does the container see directories of the user's? Then its mounts end with its last process: who waits for the container may unmount them. */
static bool has_user_mounts(void)
{
	static const char *const own[] = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"};
	struct cs_plan_cursor c = {.plan = &worker.plan};
	struct cs_step s;
	bool found = false;

	while (!found && cs_plan_next(&c, &s) == 1) {
		found = s.op == CS_PLAN_BIND_BENEATH || s.op == CS_PLAN_BIND;
		for (size_t i = 0; found && s.op == CS_PLAN_BIND && i < CS_ARRAY_SIZE(own); i++)
			found = strcmp(s.arg[1].s, own[i]) != 0;
	}
	return found;
}

/* The kernel tells a parent of its child's end only after the child's mount namespace is gone: an overlay to sync, a grace period to wait for.
 * A descriptor of the namespace makes that our own work, after the exit has been told (depart in main.c). */
static void hold_mounts(void)
{
	char path[48];

	if (has_user_mounts())
		return;
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/mnt", cs_proc_init()->pid);
	worker.mounts = open(path, O_RDONLY | O_CLOEXEC);
}

static void on_settle(struct cs_timer *t)
{
	(void)t;
	if (worker.phase != CS_PHASE_RUNNING)
		return;
	shrink_plan();
	watch_oom();
}

static void runs(struct cs_proc *p, const struct cs_setup_child *ch)
{
	p->pid = ch->pid;
	p->pidfd = ch->pidfd;
	p->started_at = cs_now_ns();
	if (ch->pty >= 0)
		cs_stdio_set_pty(p, ch->pty);
}

int cs_proc_start_init(int plan_fd, struct cs_err **err)
{
	struct cs_proc *p = cs_proc_init();
	struct cs_setup_child ch = {0};

	worker.cgroups_left = true;
	be_ordinary();
	int r = cs_setup_start(&worker.plan, init_stdio.fd, worker.self_exe, &(struct cs_setup_caller){.warn = cs_control_warn, .meanwhile = beside_the_child, .ahead = &worker.ahead, .plan_fd = plan_fd}, &ch, err);
	be_protected();
	cs_stdio_done(&init_stdio);
	if (r < 0)
		return -1;
	runs(p, &ch);
	hold_mounts();
	worker.phase = CS_PHASE_RUNNING;
	cs_state_started(p, ch.early ? 2 : ch.ahead);
	struct {
		struct cs_w_started s;
		uint32_t protocol;
	} s = {.s = {.pid = p->pid, .started_at = p->started_at}, .protocol = CS_W_PROTOCOL};
	cs_control_event(CS_W_STARTED, sizeof(s.s), &s, sizeof(s.s) + sizeof(s.protocol));
	cs_stdio_run(p);
	/* what nobody waits for comes in a moment: an engine woken on our processor should get it now */
	worker.settle.fn = on_settle;
	cs_timer_arm(&worker.settle, cs_monotonic_ns() + CS_NS_PER_MS);
	return 0;
}

/* ---- exec ---- */

static int run_exec(const struct cs_plan *plan, const struct cs_w_request *r, struct cs_proc *p, bool has_client, struct cs_err **err)
{
	struct cs_proc *init = cs_proc_init();
	struct cs_setup_child ch = {0};
	struct cs_stdio io;

	if (!has_client)
		p->open_stdin = false;
	else if (r->want_stdin)
		p->open_stdin = true;
	p->stdin_once = true; /* an exec's stdin has one client */
	int rc = cs_stdio_prepare(p, has_client, &io, err);
	if (rc == 0) {
		be_ordinary();
		rc = cs_setup_exec(&worker.plan, plan, init->pidfd, init->pid, io.fd, &ch, err);
		be_protected();
		/* the call leaves us with the container's pid namespace for our next children: the log's compressor must not be born there */
		if (worker.own_pidns >= 0)
			(void)sys_setns(worker.own_pidns, CLONE_NEWPID);
	}
	cs_stdio_done(&io);
	if (rc < 0)
		return -1;
	runs(p, &ch);
	return 0;
}

int cs_proc_exec(const struct cs_w_request *r, int plan_fd, int client_fd, struct cs_proc **ret, struct cs_err **err)
{
	cs_autofd int client = client_fd;
	struct cs_plan plan;

	if (worker.phase != CS_PHASE_RUNNING)
		return cs_fail(err, CS_ERR_CONFLICT, ESRCH, "the container is not running");
	if (cs_proc_find(r->id))
		return cs_fail(err, CS_ERR_CONFLICT, EEXIST, "exec %s exists", r->id);
	int rc = cs_plan_map(plan_fd, &plan);
	if (rc < 0)
		return cs_fail(err, CS_ERR_INVALID, -rc, "map the exec's plan");
	struct cs_proc *p = new_proc(&plan, r->id);
	rc = run_exec(&plan, r, p, client >= 0, err);
	cs_plan_unmap(&plan);
	if (rc < 0) {
		free_proc(p);
		return -1;
	}
	if (client >= 0)
		cs_client_new(p, TAKE_FD(client), r);
	cs_stdio_run(p);
	*ret = p;
	return 0;
}

/* ---- exit ---- */

void cs_proc_fill_exited(const struct cs_proc *p, struct cs_w_exited *x)
{
	*x = (struct cs_w_exited){.pid = p->pid, .exit_code = p->exit_code, .signal = p->signal, .started_at = p->started_at,
				  .exited_at = p->exited_at};
	memcpy(x->id, p->id, sizeof(x->id));
	if (!p->id[0]) {
		x->oom_killed = worker.oom_kills > 0;
		x->forced = worker.forced;
	}
}

static void kill_rest(void)
{
	bool lives = false; /* also one that has left our groups, and hangs */

	for (struct cs_proc *p = worker.procs; p; p = p->next) {
		if (p->exited || p->pidfd < 0)
			continue;
		lives = true;
		(void)sys_pidfd_send_signal(p->pidfd, SIGKILL);
	}
	int left = cs_cgroup_kill_all(&worker.plan);
	worker.rest_killed = (left <= 0 && !lives) || ++worker.kill_tries > KILL_TRIES;
	if (!worker.rest_killed) {
		int64_t pause = CS_NS_PER_MS << CS_MIN(worker.kill_tries - 1, 6);
		cs_timer_arm(&worker.kill_timer, cs_monotonic_ns() + CS_MIN(pause, 100 * CS_NS_PER_MS));
	}
}

static void on_kill_timer(struct cs_timer *t)
{
	(void)t;
	cs_proc_reap();
	kill_rest();
	end_system();
}

void cs_proc_kill_system(void)
{
	struct cs_proc *init = cs_proc_init();

	if (worker.phase != CS_PHASE_RUNNING)
		return;
	worker.forced = true;
	if (init->pidfd >= 0)
		(void)sys_pidfd_send_signal(init->pidfd, SIGKILL);
	(void)cs_cgroup_kill_all(&worker.plan);
}

static void init_exited(struct cs_proc *p)
{
	worker.phase = CS_PHASE_DYING;
	worker.kill_timer.fn = on_kill_timer;
	kill_rest();
	int64_t now = cs_monotonic_ns();
	p->drain_until = now + INIT_DRAIN_NS;
	cs_timer_arm(&p->grace, now + GRACE_NS);
}

static void exec_exited(struct cs_proc *p)
{
	struct cs_w_exited x;
	bool engine = cs_control_has_engine();

	cs_proc_fill_exited(p, &x);
	if (!engine)
		cs_state_exec(p);
	cs_control_event(CS_W_EXEC_EXITED, sizeof(x), &x, sizeof(x));
	cs_watch_fire(p);
	if (!engine)
		p->released = true; /* the file tells it */
	cs_timer_arm(&p->grace, cs_monotonic_ns() + GRACE_NS);
}

static void exited(struct cs_proc *p, int status)
{
	p->exited = true;
	p->exited_at = cs_now_ns();
	p->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	p->exit_code = WIFSIGNALED(status) ? 128 + p->signal : WEXITSTATUS(status);
	cs_close(p->pidfd);
	p->pidfd = -EBADF;
	if (p->tty)
		for (int i = 0; i < 2; i++)
			cs_source_watch(&p->out[i].src, EPOLLIN); /* may have been paused on a hang-up */
	if (p->id[0])
		exec_exited(p);
	else
		init_exited(p);
	if (!cs_stdio_is_open(p))
		cs_proc_output_done(p);
}

void cs_proc_reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct cs_proc *p = worker.procs;
		while (p && (p->pid != pid || p->exited))
			p = p->next;
		if (p)
			exited(p, status);
		else
			(void)cs_log_reaped(&worker.log, pid, status); /* or an orphan of an exec */
	}
	if (worker.phase == CS_PHASE_DYING)
		end_system();
}

/* After the exit: output that others hold open ends once it has been silent. Before the exit, with a terminal: see whether somebody opened it. */
static void on_grace(struct cs_timer *t)
{
	struct cs_proc *p = cs_container_of(t, struct cs_proc, grace);
	int64_t now = cs_monotonic_ns();

	if (!p->exited) {
		cs_source_watch(&p->out[0].src, EPOLLIN);
		return;
	}
	bool late = p->drain_until && now > p->drain_until;
	if (now - p->last_data < GRACE_NS && !late)
		cs_timer_arm(t, p->last_data + GRACE_NS);
	else
		cs_stdio_drain_and_close(p);
}

void cs_proc_output_done(struct cs_proc *p)
{
	if (!p->exited || p->reported)
		return;
	cs_timer_stop(&p->grace);
	if (!p->id[0]) {
		end_system();
		return;
	}
	p->reported = true;
	cs_client_end_all(p);
	if (worker.phase == CS_PHASE_DYING)
		end_system();
}

static bool all_done(void)
{
	for (struct cs_proc *p = worker.procs; p; p = p->next) {
		/* what SIGKILL does not end within ten seconds hangs in the kernel and is given up */
		if (!p->exited && worker.kill_tries <= KILL_TRIES)
			return false;
		if (p->exited && cs_stdio_is_open(p))
			return false;
	}
	return worker.rest_killed;
}

static void end_system(void)
{
	struct cs_proc *init = cs_proc_init();
	struct cs_w_exited x;

	if (worker.phase != CS_PHASE_DYING || !all_done())
		return;
	worker.phase = CS_PHASE_DEAD; /* no second time */
	cs_timer_stop(&worker.kill_timer);
	cs_source_close(&worker.oom);
	cs_timer_stop(&worker.oom_timer);
	(void)oom_grew();
	cs_log_trim(&worker.log);
	init->reported = true;
	cs_proc_fill_exited(init, &x);
	cs_state_status(&x);
	cs_control_event(CS_W_EXITED, sizeof(x), &x, sizeof(x));
	cs_watch_fire(init);
	for (struct cs_proc *p = worker.procs; p; p = p->next)
		cs_client_end_all(p);
	cs_follow_end_all();
	/* the cgroups go last (depart in main.c): whoever waits for the exit should not wait for them. A new start of this id waits for us. */
	cs_timer_stop(&worker.settle);
}

bool cs_worker_may_depart(void)
{
	return worker.phase == CS_PHASE_DEAD && (worker.quit || !cs_control_has_engine()) && !cs_client_any_reserved(cs_proc_init());
}

bool cs_worker_may_end(void)
{
	if (!cs_worker_may_depart() || cs_follow_any())
		return false;
	for (struct cs_proc *p = worker.procs; p; p = p->next)
		if (p->clients)
			return false;
	return true;
}
