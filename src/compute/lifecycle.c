/* SPDX-License-Identifier: Apache-2.0
 *
 * What changes a system's state: requests on one side (any thread), the worker's events on the other (monitor thread). */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <utlist.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/spawn.h"
#include "base/strv.h"
#include "base/sys.h"
#include "base/time.h"
#include "compute/internal.h"

#define STUCK_MS 3000 /* from SIGKILL for everything in the system to the one for its worker */

static bool valid(const struct HcsSystem *h) { return h && h->magic == CS_MAGIC_SYSTEM; }

/* ---- start ---- */

int cs_system_runtime_open(const char *id, struct cs_err **err)
{
	int fd = openat(cs_service.systems_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "open the runtime directory of %s", id);
	return fd;
}

/* A new directory, locked: the lock lives as long as the worker holds the descriptor, which is how a later engine tells a living
 * worker from a dead one. */
static int runtime_make(struct cs_system *s, int *ret, struct cs_err **err)
{
	int r = mkdirat(cs_service.systems_fd, s->id, 0700) < 0 ? -errno : 0;
	if (r == -EEXIST) {
		r = cs_remove_tree_at(cs_service.systems_fd, s->id);
		if (r == 0 && mkdirat(cs_service.systems_fd, s->id, 0700) < 0)
			r = -errno;
	}
	if (r < 0)
		return cs_fail(err, r == -ENOSPC ? CS_ERR_NO_SPACE : CS_ERR_INTERNAL, -r, "make the runtime directory of %s", s->id);
	cs_autofd int fd = cs_system_runtime_open(s->id, err);
	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "lock the runtime directory of %s", s->id);
	cs_autofd int doc = openat(fd, "document", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	r = doc < 0 ? -errno : cs_write_full(doc, s->text, strlen(s->text));
	if (r < 0)
		return cs_fail(err, r == -ENOSPC ? CS_ERR_NO_SPACE : CS_ERR_INTERNAL, -r, "write the document of %s", s->id);
	*ret = TAKE_FD(fd);
	return 0;
}

/* For a later engine, should this one end before the worker can say so itself. */
static void note_worker(int dir, pid_t pid)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%d", (int)pid);
	if (symlinkat(text, dir, "worker") < 0)
		cs_debug("compute", "note the pid of a worker: %s", cs_errno_text(errno));
}

static int start(struct cs_system *s, struct HcsOperation *op, struct cs_err **err)
{
	struct cs_resource *res;
	size_t n;

	cs_departing_wait(s->id, 12000);
	cs_autofd int dir = -EBADF;
	s->has_directory = true; /* also of one in which something is missing since the disk is full */
	if (runtime_make(s, &dir, err) < 0)
		return -1;
	cs_auto(cs_new_worker_done) struct cs_new_worker w = {.control = -EBADF, .theirs = -EBADF, .begin = -EBADF};
	if (cs_worker_prepare(&w, err) < 0)
		return -1;
	cs_op_take_resources(op, &res, &n);
	char **warnings = NULL;
	for (size_t i = 0; i < n; i++)
		cs_start_send_resource(w.control, (uint32_t)i + 1, &res[i], &warnings);
	cs_resources_free(res, n);
	pthread_mutex_lock(&s->lock);
	s->start_op = cs_op_ref(op);
	for (char **t = s->document.warnings; t && *t; t++)
		cs_strv_push(&s->warnings, *t);
	for (char **t = warnings; t && *t; t++)
		cs_strv_push(&s->warnings, *t);
	pthread_mutex_unlock(&s->lock);
	cs_strv_free(warnings);
	if (cs_worker_begin(&w, s->id, s->plan_fd, dir, err) < 0) {
		pthread_mutex_lock(&s->lock);
		struct HcsOperation *mine = TAKE_PTR(s->start_op);
		pthread_mutex_unlock(&s->lock);
		cs_op_unref(mine);
		return -1;
	}
	note_worker(dir, w.pid);
	cs_close(TAKE_FD(s->plan_fd));
	free(TAKE_PTR(s->text));
	pthread_mutex_lock(&s->lock);
	s->worker = w.pid;
	pthread_mutex_unlock(&s->lock);
	cs_link_attach(s, TAKE_FD(w.control));
	return 0;
}

HRESULT HcsStartComputeSystem(HCS_SYSTEM h, HCS_OPERATION op, const char *options)
{
	struct cs_err *err = NULL;

	(void)options;
	if (!valid(h))
		return HCS_E_INVALIDARG;
	HRESULT hr = cs_op_begin(op, HcsOperationTypeStart, h, NULL);
	if (hr != HCS_S_OK)
		return hr;
	struct cs_system *s = h->system;
	pthread_mutex_lock(&s->lock);
	hr = cs_system_may(s, CS_REQ_START, &err);
	if (hr == HCS_S_OK)
		s->starting = true;
	pthread_mutex_unlock(&s->lock);
	if (hr != HCS_S_OK) {
		cs_op_fail(op, hr, err);
		return HCS_S_OK;
	}
	if (start(s, op, &err) < 0) {
		pthread_mutex_lock(&s->lock);
		s->starting = false;
		s->state = CS_STATE_STOPPED;
		s->exit = (struct cs_exit){.valid = true, .type = CS_EXIT_UNEXPECTED, .code = 128, .exited_at = cs_now_ns()};
		pthread_cond_broadcast(&s->changed);
		pthread_mutex_unlock(&s->lock);
		cs_op_fail(op, 0, err);
	}
	return HCS_S_OK;
}

static void finish_start(struct cs_system *s, struct HcsOperation *op)
{
	cs_autostr struct cs_str out = CS_STR_INIT(1 << 20);

	pthread_mutex_lock(&s->lock);
	cs_str_putc(&out, '{');
	cs_json_put_ki64(&out, "ProcessId", s->init->pid);
	cs_json_put_ki64(&out, "StartedAt", s->init->started_at);
	cs_json_put_key(&out, "Warnings");
	char *none[] = {NULL};
	cs_json_put_strv(&out, s->warnings ? s->warnings : none);
	cs_str_putc(&out, '}');
	op->info.ProcessId = (uint32_t)s->init->pid;
	pthread_mutex_unlock(&s->lock);
	cs_op_complete(op, HCS_S_OK, cs_str_steal(&out));
	cs_op_unref(op);
}

void cs_system_started(struct cs_system *s, const struct cs_w_started *st)
{
	pthread_mutex_lock(&s->lock);
	bool reconnected = s->state == CS_STATE_UNKNOWN;
	pthread_mutex_unlock(&s->lock);
	bool frozen = reconnected && cs_freezer_is_frozen(s); /* an earlier engine has paused it */

	pthread_mutex_lock(&s->lock);
	s->starting = false;
	if (s->state == CS_STATE_CREATED || s->state == CS_STATE_UNKNOWN)
		s->state = frozen ? CS_STATE_PAUSED : CS_STATE_RUNNING;
	s->init->pid = st->pid;
	s->init->started_at = st->started_at;
	/* terminated before there was anything to end */
	if (s->terminated && cs_link_request(s, CS_W_KILL, NULL, 0, NULL, 0, NULL, 0, CS_REPLY_KILL, NULL, NULL, 1000, NULL) < 0)
		cs_debug("compute", "end %s after its start: no worker", s->id);
	struct HcsOperation *op = TAKE_PTR(s->start_op);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	if (op)
		finish_start(s, op);
}

void cs_system_warn(struct cs_system *s, const char *text)
{
	pthread_mutex_lock(&s->lock);
	if (cs_strv_len(s->warnings) < 64)
		cs_strv_push(&s->warnings, text);
	pthread_mutex_unlock(&s->lock);
}

void cs_system_start_failed(struct cs_system *s, enum cs_code code, int sys, const char *text)
{
	pthread_mutex_lock(&s->lock);
	s->starting = false;
	s->state = CS_STATE_STOPPED;
	if (!s->exit.valid)
		s->exit = (struct cs_exit){.valid = true, .type = CS_EXIT_UNEXPECTED, .code = cs_code_exit(code), .exited_at = cs_now_ns()};
	struct HcsOperation *op = TAKE_PTR(s->start_op);
	bool forget = s->n_handles == 0;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	HRESULT hr = code == CS_ERR_INVALID ? HCS_E_INVALIDARG : code == CS_ERR_NO_SPACE ? HCS_E_DISK_FULL : HCS_E_TERMINATED_DURING_START;
	cs_op_complete(op, hr, cs_result_error(hr, code, sys, text));
	cs_op_unref(op);
	cs_spare_refill();
	if (forget)
		cs_system_forget(s);
}

/* ---- exit ---- */

void cs_system_exited(struct cs_system *s, const struct cs_exit *e)
{
	pthread_mutex_lock(&s->lock);
	if (s->exit.valid) {
		pthread_mutex_unlock(&s->lock);
		return;
	}
	s->exit = *e;
	if (s->terminated && s->exit.type != CS_EXIT_UNKNOWN)
		s->exit.type = CS_EXIT_FORCED;
	if (!s->exit.started_at)
		s->exit.started_at = s->init->started_at;
	s->exit_announced = true;
	s->state = CS_STATE_STOPPED;
	s->starting = false;
	s->init->exited = true;
	s->init->exit_code = e->code;
	s->init->exited_at = e->exited_at;
	struct HcsOperation *op = TAKE_PTR(s->start_op);
	/* the worker is let go with the last handle: until then the exit may be told to an engine that dies before it does anything with it */
	if (s->n_handles == 0)
		cs_system_quit_worker(s);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	if (op) {
		cs_spare_refill();
		cs_op_failf(op, HCS_E_TERMINATED_DURING_START, CS_ERR_INTERNAL, "system %s ended while it was starting", s->id);
		cs_op_unref(op);
	}
	cs_system_deliver_exit(s);
	cs_process_deliver_exits(s->init);
	pthread_mutex_lock(&s->lock);
	bool forget = s->remove_when_stopped && s->n_handles == 0;
	pthread_mutex_unlock(&s->lock);
	if (forget)
		cs_system_forget(s);
}

/* Execs die with init's pid namespace; a worker that ended has said so for all but the luckless. */
static void end_processes(struct cs_system *s)
{
	for (;;) {
		struct cs_process *p, *found = NULL;
		pthread_mutex_lock(&s->lock);
		DL_FOREACH(s->processes, p)
		{
			if (p->exited || !p->pid)
				continue;
			p->exited = true;
			p->exit_code = 128 + SIGKILL;
			p->exited_at = s->exit.exited_at ? s->exit.exited_at : cs_now_ns();
			found = cs_process_ref(p);
			pthread_cond_broadcast(&s->changed);
			break;
		}
		pthread_mutex_unlock(&s->lock);
		if (!found)
			return;
		cs_process_deliver_exits(found);
		cs_process_unref(found);
	}
}

static void vanished_done(void *arg)
{
	struct cs_system *s = arg;
	struct cs_exit x = {.valid = true, .type = CS_EXIT_UNKNOWN, .code = 255, .exited_at = cs_now_ns()};

	end_processes(s);
	pthread_mutex_lock(&s->lock);
	s->cleaning = false;
	if (s->terminated) { /* the sweep's SIGKILL is known to be the end */
		x.type = CS_EXIT_FORCED;
		x.code = 128 + SIGKILL;
		x.signal = SIGKILL;
	}
	pthread_mutex_unlock(&s->lock);
	cs_system_exited(s, &x);
	cs_departing_remove(s->id);
	cs_system_unref(s);
}

static void vanished_sweep(void *arg)
{
	struct cs_system *s = arg;
	cs_system_sweep(s);
	cs_monitor_post(vanished_done, s);
}

void cs_system_worker_gone(struct cs_system *s)
{
	struct cs_exit x = {0};

	pthread_mutex_lock(&s->lock);
	bool known = s->exit.valid;
	pthread_mutex_unlock(&s->lock);
	if (!known) {
		cs_autofd int dir = cs_system_runtime_open(s->id, NULL);
		if (dir >= 0 && cs_exit_load(dir, &x) == 0) {
			cs_system_exited(s, &x);
			known = true;
		}
	}
	if (known) {
		end_processes(s);
		cs_departing_remove(s->id);
		return;
	}
	cs_debug("compute", "the worker of %s has vanished", s->id);
	pthread_mutex_lock(&s->lock);
	s->cleaning = true;
	pthread_mutex_unlock(&s->lock);
	cs_background(vanished_sweep, cs_system_ref(s));
}

/* ---- terminate, shut down ---- */

struct terminated {
	struct cs_system *system;
	struct cs_exit exit;
};

static void terminated_task(void *arg)
{
	struct terminated *t = arg;
	cs_system_exited(t->system, &t->exit);
	cs_system_unref(t->system);
	free(t);
}

/* The other end of an open connection cannot have been reused: the pid is looked up first, the connection checked then. */
static void kill_worker(struct cs_system *s)
{
	pthread_mutex_lock(&s->lock);
	pid_t pid = s->worker;
	pthread_mutex_unlock(&s->lock);
	cs_autofd int pidfd = pid > 0 ? sys_pidfd_open(pid, 0) : -EBADF;

	if (pidfd < 0)
		return;
	pthread_mutex_lock(&s->lock);
	struct pollfd p = {.fd = s->link && !s->exit.valid ? s->link->fd : -1, .events = 0};
	bool there = p.fd >= 0 && poll(&p, 1, 0) == 0;
	pthread_mutex_unlock(&s->lock);
	if (!there)
		return;
	cs_warn("compute", "the worker of %s does not answer and is killed", s->id);
	(void)sys_pidfd_send_signal(pidfd, SIGKILL);
}

void cs_system_sweep_stuck(struct cs_system *s)
{
	cs_system_sweep(s);
	struct timespec until = cs_timespec(cs_monotonic_ns() + STUCK_MS * CS_NS_PER_MS);
	pthread_mutex_lock(&s->lock);
	for (int r = 0; !s->exit.valid && r == 0;)
		r = pthread_cond_timedwait(&s->changed, &s->lock, &until);
	bool stuck = !s->exit.valid;
	pthread_mutex_unlock(&s->lock);
	if (stuck)
		kill_worker(s);
}

/* Is the process a worker that has the system's id, or has not taken its work yet? */
static bool is_worker_of(pid_t pid, const char *id)
{
	cs_autofree char *path = cs_xasprintf("/proc/%d/cmdline", (int)pid);
	cs_autostr struct cs_str text = CS_STR_INIT(4096);

	if (cs_read_file_at(AT_FDCWD, path, &text) < 0 || !text.buf || strcmp(text.buf, "caisson-worker") != 0 || text.len <= sizeof("caisson-worker"))
		return false;
	const char *arg = text.buf + sizeof("caisson-worker");
	return strcmp(arg, id) == 0 || strspn(arg, " \1") == strlen(arg); /* CS_W_WAIT_BEGIN comes there, too */
}

/* It has the runtime directory, but no connection to us: an engine that is gone has started it, and it has not come so far that it would listen. */
static void kill_unconnected(struct cs_system *s)
{
	cs_autofd int dir = cs_system_runtime_open(s->id, NULL);
	int64_t until = cs_monotonic_ns() + STUCK_MS * CS_NS_PER_MS;

	while (dir >= 0 && cs_worker_lives(dir) && cs_monotonic_ns() < until)
		(void)nanosleep(&(struct timespec){.tv_nsec = 20 * CS_NS_PER_MS}, NULL);
	pthread_mutex_lock(&s->lock);
	pid_t pid = s->link || s->exit.valid ? 0 : s->worker;
	pthread_mutex_unlock(&s->lock);
	cs_autofd int pidfd = pid > 0 ? sys_pidfd_open(pid, 0) : -EBADF;
	if (pidfd < 0 || dir < 0 || !cs_worker_lives(dir) || !is_worker_of(pid, s->id))
		return;
	cs_warn("compute", "the worker of %s is stuck in its start and is killed", s->id);
	(void)sys_pidfd_send_signal(pidfd, SIGKILL);
}

static void sweep_and_complete(void *arg)
{
	struct HcsOperation *op = arg;
	struct cs_system *s = op->context_system;

	cs_system_sweep(s);
	cs_op_complete(op, HCS_S_OK, NULL);
	cs_op_unref(op);
	kill_unconnected(s);
	cs_system_unref(s);
}

HRESULT HcsTerminateComputeSystem(HCS_SYSTEM h, HCS_OPERATION op, const char *options)
{
	struct cs_err *err = NULL;
	bool never_ran = false, direct = false;

	(void)options;
	if (!valid(h))
		return HCS_E_INVALIDARG;
	HRESULT hr = cs_op_begin(op, HcsOperationTypeTerminate, h, NULL);
	if (hr != HCS_S_OK)
		return hr;
	struct cs_system *s = h->system;
	pthread_mutex_lock(&s->lock);
	hr = cs_system_may(s, CS_REQ_TERMINATE, &err);
	bool paused = s->state == CS_STATE_PAUSED;
	if (hr == HCS_S_OK) {
		s->terminated = true;
		never_ran = s->state == CS_STATE_CREATED && !s->starting;
		if (!never_ran)
			direct = cs_link_request(s, CS_W_KILL, NULL, 0, NULL, 0, NULL, 0, CS_REPLY_KILL, op, NULL, 1000, NULL) < 0;
	}
	pthread_mutex_unlock(&s->lock);
	if (hr != HCS_S_OK) {
		cs_op_fail(op, hr, err);
		return HCS_S_OK;
	}
	if (never_ran) {
		struct terminated *t = cs_xcalloc(1, sizeof(*t));
		t->system = cs_system_ref(s);
		t->exit = (struct cs_exit){.valid = true, .type = CS_EXIT_FORCED, .code = 128 + SIGKILL, .signal = SIGKILL, .exited_at = cs_now_ns()};
		cs_monitor_post(terminated_task, t);
		cs_op_complete(op, HCS_S_OK, NULL);
	} else if (direct) {
		op->context_system = cs_system_ref(s);
		cs_background(sweep_and_complete, cs_op_ref(op));
	}
	/* on v1 a frozen process takes its SIGKILL when it thaws */
	if (paused && cs_freezer_set(s, false, 0, NULL) < 0)
		cs_debug("compute", "thaw %s to terminate it", s->id);
	return HCS_S_OK;
}

HRESULT HcsShutDownComputeSystem(HCS_SYSTEM h, HCS_OPERATION op, const char *options)
{
	struct cs_w_signal sig = {.sig = SIGTERM};
	struct cs_err *err = NULL;

	(void)options;
	if (!valid(h))
		return HCS_E_INVALIDARG;
	HRESULT hr = cs_op_begin(op, HcsOperationTypeShutdown, h, NULL);
	if (hr != HCS_S_OK)
		return hr;
	struct cs_system *s = h->system;
	pthread_mutex_lock(&s->lock);
	hr = cs_system_may(s, CS_REQ_SHUTDOWN, &err);
	bool sent = hr == HCS_S_OK && cs_link_request(s, CS_W_SIGNAL, &sig, sizeof(sig), NULL, 0, NULL, 0, CS_REPLY_PLAIN, op, NULL, 10000, &err) == 0;
	pthread_mutex_unlock(&s->lock);
	if (!sent)
		cs_op_fail(op, hr, err);
	return HCS_S_OK;
}

/* ---- pause, resume ---- */

static HRESULT freeze(HCS_SYSTEM h, HCS_OPERATION op, HCS_OPERATION_TYPE type, bool frozen)
{
	struct cs_err *err = NULL;

	if (!valid(h))
		return HCS_E_INVALIDARG;
	HRESULT hr = cs_op_begin(op, type, h, NULL);
	if (hr != HCS_S_OK)
		return hr;
	struct cs_system *s = h->system;
	pthread_mutex_lock(&s->lock);
	hr = cs_system_may(s, frozen ? CS_REQ_PAUSE : CS_REQ_RESUME, &err);
	pthread_mutex_unlock(&s->lock);
	if (hr != HCS_S_OK || cs_freezer_set(s, frozen, 10000, &err) < 0) {
		cs_op_fail(op, hr, err);
		return HCS_S_OK;
	}
	pthread_mutex_lock(&s->lock);
	bool still = s->state == CS_STATE_RUNNING || s->state == CS_STATE_PAUSED;
	if (still)
		s->state = frozen ? CS_STATE_PAUSED : CS_STATE_RUNNING;
	/* a terminate that came while we froze thawed too early */
	bool thaw = frozen && s->terminated;
	pthread_mutex_unlock(&s->lock);
	if (thaw && cs_freezer_set(s, false, 0, NULL) < 0)
		cs_debug("compute", "thaw %s to terminate it", s->id);
	if (still)
		cs_op_complete(op, HCS_S_OK, NULL);
	else
		cs_op_failf(op, HCS_E_SYSTEM_ALREADY_STOPPED, CS_ERR_CONFLICT, "system %s has stopped meanwhile", s->id);
	return HCS_S_OK;
}

HRESULT HcsPauseComputeSystem(HCS_SYSTEM h, HCS_OPERATION op, const char *options)
{
	(void)options;
	return freeze(h, op, HcsOperationTypePause, true);
}

HRESULT HcsResumeComputeSystem(HCS_SYSTEM h, HCS_OPERATION op, const char *options)
{
	(void)options;
	return freeze(h, op, HcsOperationTypeResume, false);
}

/* ---- modify ---- */

static int modify(struct cs_system *s, HCS_OPERATION op, const char *text, bool *ret_pending, struct cs_err **err)
{
	static const char *const known[] = {"ResourcePath", "RequestType", "Settings", "GuestRequest", NULL};
	cs_autojson json_t *doc = cs_json_parse(text, strlen(text), err);
	const char *path = NULL, *type = "Update";
	json_t *settings = NULL;

	if (!doc || cs_field_is_obj(doc, "request", err) < 0 || cs_field_only(doc, "", known, err) < 0 ||
	    cs_field_str(doc, "", "ResourcePath", CS_F_REQUIRED, &path, err) < 0 || cs_field_str(doc, "", "RequestType", 0, &type, err) < 0 ||
	    cs_field_obj(doc, "", "Settings", CS_F_REQUIRED, &settings, err) < 0)
		return -1;
	if (json_object_get(doc, "GuestRequest"))
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "GuestRequest: a container has no guest");
	if (strcmp(type, "Update") != 0)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "RequestType: only Update is possible for %s", path);
	if (strcmp(path, "Container/Resources") == 0)
		return cs_resources_update(s, settings, err);
	if (strcmp(path, "Container/Logging") == 0) {
		static const char *const log_known[] = {"Reopen", NULL};
		bool reopen = false;
		if (cs_field_only(settings, "Settings", log_known, err) < 0 || cs_field_bool(settings, "Settings", "Reopen", &reopen, err) < 0)
			return -1;
		if (!reopen)
			return 0;
		pthread_mutex_lock(&s->lock);
		int r = cs_link_request(s, CS_W_REOPEN_LOG, NULL, 0, NULL, 0, NULL, 0, CS_REPLY_PLAIN, op, NULL, 10000, err);
		pthread_mutex_unlock(&s->lock);
		*ret_pending = r == 0;
		return r;
	}
	return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "ResourcePath: %s cannot be modified", path);
}

HRESULT HcsModifyComputeSystem(HCS_SYSTEM h, HCS_OPERATION op, const char *configuration, void *identity)
{
	struct cs_err *err = NULL;
	bool pending = false;

	(void)identity;
	if (!valid(h) || !configuration)
		return HCS_E_INVALIDARG;
	HRESULT hr = cs_op_begin(op, HcsOperationTypeModify, h, NULL);
	if (hr != HCS_S_OK)
		return hr;
	struct cs_system *s = h->system;
	pthread_mutex_lock(&s->lock);
	hr = cs_system_may(s, CS_REQ_MODIFY, &err);
	pthread_mutex_unlock(&s->lock);
	if (hr != HCS_S_OK || modify(s, op, configuration, &pending, &err) < 0)
		cs_op_fail(op, hr, err);
	else if (!pending)
		cs_op_complete(op, HCS_S_OK, NULL);
	return HCS_S_OK;
}

/* ---- what a container cannot do ---- */

static HRESULT refuse(HCS_SYSTEM h, HCS_OPERATION op, HCS_OPERATION_TYPE type, const char *what)
{
	if (!valid(h))
		return HCS_E_INVALIDARG;
	HRESULT hr = cs_op_begin(op, type, h, NULL);
	if (hr == HCS_S_OK)
		cs_op_failf(op, HCS_E_NOT_SUPPORTED, CS_ERR_UNSUPPORTED, "%s is not possible with process isolation", what);
	return hr;
}

HRESULT HcsCrashComputeSystem(HCS_SYSTEM h, HCS_OPERATION op, const char *options)
{
	(void)options;
	return refuse(h, op, HcsOperationTypeCrash, "a guest crash");
}

HRESULT HcsSaveComputeSystem(HCS_SYSTEM h, HCS_OPERATION op, const char *options)
{
	(void)options;
	return refuse(h, op, HcsOperationTypeSave, "saving");
}
