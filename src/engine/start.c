/* SPDX-License-Identifier: Apache-2.0
 *
 * A container's run: start, exit, and what follows an exit (waiters, restart policy, automatic removal). op_lock serialises a container's
 * kernel work; the compute service's callback only queues jobs. */
#include "engine/container.h"

#include <sys/stat.h>

#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "engine/events.h"
#include "engine/files.h"
#include "engine/image.h"
#include "engine/loop.h"
#include "engine/network.h"
#include "engine/restart.h"
#include "engine/spec.h"
#include "engine/validate.h"

#define START_TIMEOUT_MS 120000u
#define ATTACH_MS 500
#define SAVE_AGAIN_NS (2 * CS_NS_PER_SEC)
#define ANSWER_MS 100 /* for a client to take the code it waits for */
#define SIGNALLING_MS 20000 /* for the events of what may have ended it to come before its own; more than a signal takes */

/* ---- the handle ---- */

struct cs_system *cs_container_system(struct cs_container *c)
{
	CS_GUARD(&c->lock);
	if (c->system)
		atomic_fetch_add(&c->system->refs, 1);
	return c->system;
}

void cs_system_put(struct cs_system *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	HcsCloseComputeSystem(s->h); /* waits for a running callback, so the context stays valid */
	cs_container_unref(s->c);
	free(s);
}

/* ---- events of the service ---- */

struct cs_told {
	struct cs_told *next;
	cs_told_fn *fn;
	unsigned run;
	char *doc;
};

/* One job at a time for a container: an exec that has ended before its container must not be found running at the container's end, nor "oom" be
 * announced after "die". */
static void told_job(void *ctx)
{
	struct cs_container *c = ctx;

	for (;;) {
		pthread_mutex_lock(&c->lock);
		struct cs_told *t = c->told;
		c->telling = t != NULL;
		if (t)
			c->told = t->next;
		pthread_mutex_unlock(&c->lock);
		if (!t)
			break;
		t->fn(c, t->run, t->doc);
		free(t->doc);
		free(t);
	}
	cs_container_unref(c);
}

void cs_container_told(struct cs_container *c, cs_told_fn *fn, unsigned run, const char *doc)
{
	if (atomic_load(&c->e->closing))
		return;
	struct cs_told *t = cs_xcalloc(1, sizeof(*t)), **end = &c->told;
	*t = (struct cs_told){.fn = fn, .run = run, .doc = cs_xstrdup(doc)};
	pthread_mutex_lock(&c->lock);
	while (*end)
		end = &(*end)->next;
	*end = t;
	bool first = !c->telling;
	c->telling = true;
	pthread_mutex_unlock(&c->lock);
	if (first)
		cs_job(c->e->loop, told_job, cs_container_ref(c));
}

static void told_exit(struct cs_container *c, unsigned run, const char *doc)
{
	struct cs_exit x;

	cs_exit_parse(doc, &x);
	CS_GUARD(&c->op_lock);
	if (c->run == run)
		cs_container_exited(c, &x);
}

static void told_oom(struct cs_container *c, unsigned run, const char *doc) { cs_container_event(c, "oom", NULL); }

static void on_event(const HCS_EVENT *event, void *context)
{
	struct cs_system *s = context;

	if (event->Type == HcsEventSystemExited || event->Type == HcsEventSystemOom)
		cs_container_told(s->c, event->Type == HcsEventSystemOom ? told_oom : told_exit, s->run, event->EventData);
}

struct cs_system *cs_system_adopt(struct cs_container *c, HCS_SYSTEM h)
{
	struct cs_system *s = cs_xcalloc(1, sizeof(*s));

	s->h = h;
	atomic_init(&s->refs, 1);
	s->c = cs_container_ref(c);
	s->run = c->run;
	(void)HcsSetComputeSystemCallback(h, HcsEventOptionNone, s, on_event);
	return s;
}

void cs_exit_parse(const char *doc, struct cs_exit *ret)
{
	cs_autojson json_t *j = doc ? cs_json_parse(doc, strlen(doc), NULL) : NULL;

	*ret = (struct cs_exit){.code = 255, .exited_at = cs_now_ns()};
	if (!j) {
		ret->error = "the exit status is unknown";
		return;
	}
	ret->code = (int)json_integer_value(json_object_get(j, "ExitCode"));
	ret->signal = (int)json_integer_value(json_object_get(j, "Signal"));
	ret->oom = json_is_true(json_object_get(j, "OomKilled"));
	int64_t at = json_integer_value(json_object_get(j, "ExitedAt"));
	if (at > 0)
		ret->exited_at = at;
	ret->started_at = json_integer_value(json_object_get(j, "StartedAt"));
	if (cs_streq(json_string_value(json_object_get(j, "ExitType")), "Unknown"))
		ret->error = "the container's worker vanished: the exit status is unknown";
}

/* ---- exit ---- */

struct autoremove {
	struct cs_container *c;
	struct cs_system *system; /* its worker tells those who wait for the removal, if we die before it is done */
};

static void autoremove_job(void *ctx)
{
	cs_autofree struct autoremove *a = ctx;
	struct cs_container *c = a->c;
	cs_autoerr struct cs_err *err = NULL;

	if (cs_container_remove_obj(c, false, true, &err) < 0 && cs_err_code(err) != CS_ERR_CONFLICT) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_ERROR, "engine", "container", c->id, "automatic removal: %s", text);
	}
	cs_container_settle(c, &c->answering, ANSWER_MS);
	cs_system_put(a->system);
	cs_container_unref(c);
}

void cs_container_autoremove(struct cs_container *c, struct cs_system *system)
{
	struct autoremove *a = cs_xcalloc(1, sizeof(*a));

	a->c = cs_container_ref(c);
	a->system = system;
	cs_job(c->e->loop, autoremove_job, a);
}

static void restart_job(void *ctx)
{
	struct cs_container *c = ctx;
	cs_autoerr struct cs_err *err = NULL;

	if (cs_container_start_obj(c, true, &err) < 0 && cs_err_code(err) != CS_ERR_NOT_MODIFIED) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_ERROR, "engine", "container", c->id, "restart: %s", text);
	}
	cs_container_unref(c);
}

static void restart_due(void *ctx)
{
	struct cs_container *c = ctx;
	cs_job(c->e->loop, restart_job, c); /* the timer's reference moves on */
}

void cs_restart_schedule(struct cs_container *c, int64_t delay_ns)
{
	uint64_t t = cs_timer_set(c->e->loop, cs_monotonic_ns() + delay_ns, restart_due, cs_container_ref(c));

	pthread_mutex_lock(&c->lock);
	c->restart_timer = t;
	pthread_mutex_unlock(&c->lock);
}

void cs_restart_cancel(struct cs_container *c)
{
	pthread_mutex_lock(&c->lock);
	uint64_t t = c->restart_timer;
	c->restart_timer = 0;
	pthread_mutex_unlock(&c->lock);
	if (cs_timer_cancel(c->e->loop, t))
		cs_container_unref(c);
}

/* Fields of an ended run; returns the policy's answer. lock held. */
static struct cs_restart_out record_exit(struct cs_container *c, const struct cs_exit *x, struct cs_system **system)
{
	int64_t ran = c->started_at > 0 ? CS_MAX(x->exited_at - c->started_at, 0) : 0;
	struct cs_restart_in in = {.policy = c->host->restart_policy.name, .max_retries = c->host->restart_policy.maximum_retry_count,
				   .count = c->restart_count, .exit_code = x->code, .manually_stopped = c->manually_stopped || (c->stopping && !c->unhealthy_stop),
				   .ran_ns = ran, .backoff_ns = c->backoff_ns, .daemon_start = x->while_away, .unhealthy = c->unhealthy_stop};
	struct cs_restart_out out = cs_restart_decide(&in);

	if (c->removing || atomic_load(&c->e->closing) || (c->host->auto_remove && !x->while_away))
		out.restart = false;
	c->status = out.restart ? CS_ST_RESTARTING : CS_ST_EXITED;
	c->backoff_ns = out.restart ? out.delay_ns : 0;
	c->restart_count += out.restart;
	c->paused = false;
	c->pid = 0;
	c->exit_code = x->code;
	c->oom = x->oom;
	c->finished_at = x->exited_at;
	c->unhealthy_stop = c->stopping = false;
	c->ending = true;
	free(c->error);
	c->error = cs_xstrdup(x->error);
	*system = c->system;
	c->system = NULL;
	return out;
}

static void announce_exit(struct cs_container *c)
{
	pthread_mutex_lock(&c->lock);
	c->ending = false;
	c->exits++;
	cs_waiters_exit(c, c->exit_code);
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

/* ---- an exit that the disk did not take ---- */

void cs_container_release_unsaved(struct cs_container *c)
{
	pthread_mutex_lock(&c->lock);
	struct cs_system *s = TAKE_PTR(c->unsaved);
	pthread_mutex_unlock(&c->lock);
	cs_system_put(s);
}

static void save_again_due(void *ctx);

static void save_again(void *ctx)
{
	struct cs_container *c = ctx;

	pthread_mutex_lock(&c->lock);
	bool needed = c->unsaved;
	pthread_mutex_unlock(&c->lock);
	if (needed)
		cs_container_save(c);
	if (needed && atomic_load(&c->save_failed)) {
		(void)cs_timer_set(c->e->loop, cs_monotonic_ns() + SAVE_AGAIN_NS, save_again_due, c);
		return;
	}
	cs_container_release_unsaved(c);
	cs_container_unref(c);
}

static void save_again_due(void *ctx) { cs_job(((struct cs_container *)ctx)->e->loop, save_again, ctx); }

/* With the handle open the runtime directory stays, and its status is what a next engine would read. */
static void keep_unsaved(struct cs_container *c, struct cs_system *system)
{
	pthread_mutex_lock(&c->lock);
	c->unsaved = system;
	pthread_mutex_unlock(&c->lock);
	(void)cs_timer_set(c->e->loop, cs_monotonic_ns() + SAVE_AGAIN_NS, save_again_due, cs_container_ref(c));
}

void cs_container_exited(struct cs_container *c, const struct cs_exit *x)
{
	struct cs_system *system = NULL;
	char code[16], seconds[32];

	pthread_mutex_lock(&c->lock);
	if (c->status != CS_ST_RUNNING) {
		pthread_mutex_unlock(&c->lock);
		return;
	}
	int64_t began = c->started_at;
	bool paused = c->paused;
	struct cs_restart_out next = record_exit(c, x, &system);
	bool auto_remove = c->host->auto_remove && !next.restart && !c->removing && !c->restarts;
	pthread_mutex_unlock(&c->lock);

	if (paused)
		cs_container_forget_held(c);
	cs_health_stop(c);
	cs_execs_container_exited(c);
	cs_container_save(c);
	cs_container_settle(c, &c->signalling, SIGNALLING_MS);
	(void)snprintf(code, sizeof(code), "%d", x->code);
	(void)snprintf(seconds, sizeof(seconds), "%lld", began > 0 ? CS_MAX(x->exited_at - began, 0) / CS_NS_PER_SEC : 0);
	cs_container_event(c, "die", "exitCode", code, "execDuration", seconds, NULL);
	cs_volumes_stop(c);
	cs_container_net_stop(c); /* who hears of the exit finds names, ports and addresses free */
	announce_exit(c);
	if (next.restart)
		cs_restart_schedule(c, next.delay_ns);
	else if (auto_remove && !atomic_load(&c->e->closing))
		cs_container_autoremove(c, TAKE_PTR(system));
	/* recorded and told: lets the worker end, which would have told it in our place */
	cs_container_settle(c, &c->answering, ANSWER_MS);
	if (system && atomic_load(&c->save_failed))
		return keep_unsaved(c, system);
	cs_system_put(system);
}

/* ---- start ---- */

void cs_container_await_start(struct cs_container *c)
{
	while (c->starting)
		(void)pthread_cond_wait(&c->changed, &c->lock);
}

static int may_start(struct cs_container *c, struct cs_err **err)
{
	CS_GUARD(&c->lock);
	if (c->removing || c->dead)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "container is marked for removal and cannot be started");
	if (c->paused)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "cannot start a paused container, try unpause instead");
	if (c->status == CS_ST_RUNNING)
		return cs_fail(err, CS_ERR_NOT_MODIFIED, 0, "container is already running");
	c->starting = true;
	return 0;
}

/* Pid of the container that a "container:x" mode names. */
static int joined_pid(struct cs_container *c, const char *mode, int *ret, char **ret_dir, struct cs_err **err)
{
	const char *ref = cs_mode_container(mode);
	cs_autocontainer struct cs_container *other = NULL;

	if (!ref)
		return 0;
	if (cs_container_get(c->e, ref, &other, err) < 0)
		return -1;
	if (other == c && mode == c->host->network_mode)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "cannot join own network");
	const char *what = mode == c->host->network_mode ? "network" : mode == c->host->pid_mode ? "PID" : "IPC";
	CS_GUARD(&other->lock);
	if (other->status == CS_ST_RESTARTING)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "container %s is restarting, wait until the container is running", other->id);
	if (other->status != CS_ST_RUNNING)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "cannot join %s of a non running container: %s", what, other->id);
	if (mode == c->host->ipc_mode && (cs_streq(other->host->ipc_mode, "private") || cs_streq(other->host->ipc_mode, "none")))
		return cs_fail(err, CS_ERR_CONFLICT, 0,
			       "can't join IPC of container %s: non-shareable IPC (hint: use IpcMode:shareable for the donor container)", other->id);
	*ret = other->pid;
	if (ret_dir)
		*ret_dir = cs_xstrdup(other->dir);
	return 0;
}

/* Images that are mounted, for as long as the document needs their paths. */
struct image_mounts {
	struct cs_image_info **v;
	char *const **layers;
	size_t n;
};

static void image_mounts_done(struct image_mounts *x)
{
	for (size_t i = 0; i < x->n; i++)
		cs_image_info_free(x->v[i]);
	free(x->v);
	free(x->layers);
}

static int image_mounts_get(struct cs_container *c, struct image_mounts *x, struct cs_err **err)
{
	for (size_t i = 0; i < c->n_mounts; i++) {
		if (!cs_streq(c->mounts[i].type, "image"))
			continue;
		if (!x->v) {
			x->n = c->n_mounts;
			x->v = cs_xcalloc(x->n, sizeof(*x->v));
			x->layers = cs_xcalloc(x->n, sizeof(*x->layers));
		}
		if (cs_image_get(c->e, c->mounts[i].source, NULL, &x->v[i], err) < 0) /* removed by force */
			return cs_wrap(err, "mount image %s at %s", c->mounts[i].name, c->mounts[i].destination);
		x->layers[i] = x->v[i]->layer_dirs;
	}
	return 0;
}

static int build_document(struct cs_container *c, struct cs_network_run *net, struct cs_str *doc, struct cs_err **err)
{
	const struct cs_engine_config *cfg = cs_engine_config(c->e);
	cs_autostrv char **dirs = NULL, **ids = NULL;
	cs_autofree char *snap = NULL, *net_dir = NULL, *marks = NULL;
	struct cs_spec_input in = {.cfg = cfg, .id = c->id, .name = c->name, .image_id = c->image_id, .image_name = c->config->image,
				   .created = c->created, .config = c->config, .host = c->host, .mounts = c->mounts, .n_mounts = c->n_mounts,
				   .container_dir = c->dir, .log_path = c->log_path};

	if (joined_pid(c, c->host->network_mode, &in.net_pid, &net_dir, err) < 0 || joined_pid(c, c->host->pid_mode, &in.pid_pid, NULL, err) < 0 ||
	    joined_pid(c, c->host->ipc_mode, &in.ipc_pid, NULL, err) < 0)
		return -1;
	/* the snapshot's own layers: the image may have been removed by force, its containers live on */
	if (cs_snapshot_layers(c->e, c->id, &dirs, &ids, err) < 0 || cs_volumes_start(c, err) < 0)
		return -1;
	cs_auto(image_mounts_done) struct image_mounts images = {0};
	if (image_mounts_get(c, &images, err) < 0)
		return -1;
	in.mount_layers = images.layers;
	cs_snapshot_dir(c->e, c->id, &snap);
	in.marks_dir = marks = cs_snapshot_marks(c->e, cs_strv_len(dirs));
	if (!net_dir && cs_container_net_start(c, net, err) < 0)
		return -1;
	in.net_ns = *net->ns ? net->ns : NULL;
	in.net_path = net->path;
	in.link_env = net->link_env;
	in.layer_ids = ids;
	in.layer_dirs = dirs;
	in.snapshot_dir = snap;
	in.network_dir = net_dir;
	return cs_spec_build(&in, doc, err);
}

#define FREE_MS 5000

/* The id of the run before is free once nobody holds that system any more: a client that was just attached, a query. They are quick. */
static int create_system(struct cs_container *c, const char *doc, HCS_SYSTEM *ret, struct cs_err **err)
{
	int64_t until = cs_monotonic_ns() + FREE_MS * CS_NS_PER_MS;

	for (;;) {
		struct cs_err *inner = NULL;
		HCS_OPERATION op = HcsCreateOperation(NULL, NULL);
		if (cs_hcs_finish(op, op ? HcsCreateComputeSystem(c->id, doc, op, NULL, ret) : HCS_E_OUTOFMEMORY, CS_HCS_TIMEOUT_MS, NULL, &inner) == 0)
			return 0;
		if (*ret)
			HcsCloseComputeSystem(TAKE_PTR(*ret));
		if (cs_err_code(inner) != CS_ERR_CONFLICT || cs_monotonic_ns() > until)
			return cs_err_move(err, inner);
		cs_err_free(inner);
		(void)nanosleep(&(struct timespec){0, 2 * CS_NS_PER_MS}, NULL);
	}
}

static int launch(struct cs_container *c, const char *doc, struct cs_system **ret, int *pid, int64_t *started_at, struct cs_err **err)
{
	HCS_SYSTEM h = NULL;
	char *result = NULL;

	if (create_system(c, doc, &h, err) < 0)
		return -1;
	c->run++;
	struct cs_system *s = cs_system_adopt(c, h);
	HCS_OPERATION op = HcsCreateOperation(NULL, NULL);
	if (op) {
		pthread_mutex_lock(&c->lock);
		struct cs_pending *early = cs_pending_take(c);
		cs_waiters_watch_pending(c, op);
		pthread_mutex_unlock(&c->lock);
		cs_pending_add_to_start(early, c, op);
	}
	if (cs_hcs_finish(op, op ? HcsStartComputeSystem(h, op, NULL) : HCS_E_OUTOFMEMORY, START_TIMEOUT_MS, &result, err) < 0) {
		if (cs_hcs_terminate(h, NULL) < 0)
			cs_logk(CS_LOG_DEBUG, "engine", "container", c->id, "nothing to terminate after a failed start");
		c->run++; /* late events of this attempt mean nothing */
		cs_system_put(s);
		return -1;
	}
	cs_autojson json_t *j = result ? cs_json_parse(result, strlen(result), NULL) : NULL;
	*pid = (int)json_integer_value(json_object_get(j, "ProcessId"));
	*started_at = json_integer_value(json_object_get(j, "StartedAt"));
	if (*started_at <= 0)
		*started_at = cs_now_ns();
	HcsFree(result);
	*ret = s;
	return 0;
}

/* A start that the policy wanted did not come about (disk full, a mount's source gone, …): the cause may pass, so it is as good a failure as any
 * other exit. dockerd gives up here. lock held. */
static struct cs_restart_out decide_again(struct cs_container *c, int exit_code)
{
	struct cs_restart_in in = {.policy = c->host->restart_policy.name, .max_retries = c->host->restart_policy.maximum_retry_count,
				   .count = c->restart_count, .exit_code = exit_code, .manually_stopped = c->manually_stopped || c->stopping,
				   .backoff_ns = c->backoff_ns};
	struct cs_restart_out out = cs_restart_decide(&in);

	if (c->removing || atomic_load(&c->e->closing))
		out.restart = false;
	if (out.restart) {
		c->backoff_ns = out.delay_ns;
		c->restart_count++;
	}
	return out;
}

/* What dockerd keeps of a failed start: exit code 126, 127 or 128 and the text. Returns -1. */
static int start_failed(struct cs_container *c, bool by_policy, struct cs_err *why, struct cs_err **err)
{
	enum cs_code code = cs_err_code(why);
	int exit_code = code == CS_ERR_EXEC_NOT_FOUND ? 127 : code == CS_ERR_EXEC_DENIED ? 126 : 128;

	struct cs_restart_out next = {0};
	cs_autofree char *text = cs_err_text(why);
	cs_container_net_stop(c);
	cs_volumes_stop(c);
	pthread_mutex_lock(&c->lock);
	c->starting = false;
	if (exit_code == 128 && c->exit_code) /* as dockerd: what the last run ended with stays, and the error says what came then */
		exit_code = c->exit_code;
	if (by_policy)
		next = decide_again(c, exit_code);
	c->status = next.restart ? CS_ST_RESTARTING : c->started_at == CS_TIME_ZERO ? CS_ST_CREATED : CS_ST_EXITED;
	c->exit_code = exit_code;
	free(c->error);
	c->error = TAKE_PTR(text);
	struct cs_pending *left = cs_pending_take(c);
	bool auto_remove = c->host->auto_remove;
	c->exits++;
	if (by_policy)
		cs_waiters_exit(c, exit_code);
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	cs_pending_close(left);
	cs_container_save(c);
	if (next.restart)
		cs_restart_schedule(c, next.delay_ns);
	else if (auto_remove)
		cs_container_autoremove(c, NULL);
	return cs_err_move(err, why);
}

static void started(struct cs_container *c, struct cs_system *s, int pid, int64_t started_at, bool by_policy)
{
	pthread_mutex_lock(&c->lock);
	c->system = s;
	c->pid = pid;
	c->status = CS_ST_RUNNING;
	c->paused = c->oom = false;
	c->exit_code = 0;
	free(c->error);
	c->error = NULL;
	c->started_at = started_at;
	c->ever_started = true;
	c->starting = c->stopping = c->manually_stopped = c->unhealthy_stop = false;
	if (!by_policy) {
		c->restart_count = 0;
		c->backoff_ns = 0;
	}
	struct cs_pending *late = cs_pending_take(c);
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	cs_pending_deliver(late, c, s);
	cs_waiters_deliver(c, s);
	cs_container_save(c);
	cs_health_start(c, false);
	cs_container_event(c, "start", NULL);
}

int cs_container_start_obj(struct cs_container *c, bool by_policy, struct cs_err **err)
{
	cs_autostr struct cs_str doc = CS_STR_INIT(CS_SPEC_MAX);
	cs_auto(cs_network_run_done) struct cs_network_run net = {0};
	struct cs_err *inner = NULL;
	struct cs_system *s = NULL;
	int64_t started_at = 0;
	int pid = 0;

	CS_GUARD(&c->op_lock);
	if (by_policy) {
		CS_GUARD(&c->lock);
		c->restart_timer = 0;
		if (c->status != CS_ST_RESTARTING || c->removing || atomic_load(&c->e->closing))
			return 0; /* somebody stopped or removed it meanwhile */
	} else {
		cs_restart_cancel(c);
	}
	if (may_start(c, err) < 0)
		return -1;
	cs_files_settle(c);
	/* what every start needs is begun while we say what this one needs; not more than a hint */
	(void)HcsModifyServiceSettings("{\"PropertyType\":\"StartExpected\"}", NULL);
	if (build_document(c, &net, &doc, &inner) < 0)
		return start_failed(c, by_policy, inner, err);
	if (doc.failed) {
		(void)cs_fail(&inner, CS_ERR_INTERNAL, 0, "the container's document is too large");
		return start_failed(c, by_policy, inner, err);
	}
	cs_container_release_unsaved(c);
	cs_container_settle(c, &c->attaching, ATTACH_MS); /* a client may start it the moment it sees its 101 */
	if (launch(c, doc.buf, &s, &pid, &started_at, &inner) < 0) {
		if (!cs_hcs_unknown_user(inner)) /* dockerd finds that one out before there is a task */
			(void)cs_wrap(&inner, "failed to create task for container");
		return start_failed(c, by_policy, inner, err);
	}
	started(c, s, pid, started_at, by_policy);
	return 0;
}

int cs_container_start(struct cs_engine *e, const char *ref, const char *detach_keys, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	uint8_t keys[CS_DETACH_KEYS_MAX];
	size_t n = 0;

	/* detach keys travel with each attach; here they are only checked */
	if (!cs_empty(detach_keys) && cs_detach_keys_parse(detach_keys, keys, &n, err) < 0)
		return -1;
	if (cs_container_get(e, ref, &c, err) < 0)
		return -1;
	return cs_container_start_obj(c, false, err);
}
