/* SPDX-License-Identifier: Apache-2.0
 *
 * How a container's run is known to the engine, and how it ends: the handle of its system, the service's events, the exit and what follows it
 * (waiters, restart policy, automatic removal). op_lock serialises a container's kernel work; the compute service's callback only queues jobs. */
#include "engine/container.h"

#include <signal.h>

#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "engine/events.h"
#include "engine/loop.h"
#include "engine/network.h"
#include "engine/restart.h"

#define SAVE_AGAIN_NS (2 * CS_NS_PER_SEC)
#define ANSWER_MS 100 /* for a client to take the code it waits for */
#define EXIT_TOLD_S 2 /* from the end of a process to the worker's word of it */
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

/* Clients ask for the exit code the moment their stream has ended, which is when the worker has reaped the process and sent us word: that may be on its
 * way still, or be worked on. */
void cs_container_await_exit(struct cs_container *c)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += EXIT_TOLD_S;
	CS_GUARD(&c->lock);
	int pid = c->status == CS_ST_RUNNING ? c->pid : 0;
	if (!c->ending && (pid <= 0 || kill(pid, 0) == 0 || errno != ESRCH))
		return;
	while ((c->ending || (c->status == CS_ST_RUNNING && c->pid == pid)) && pthread_cond_timedwait(&c->changed, &c->lock, &until) == 0)
		;
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
	cs_container_finish_left(c);
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
