/* SPDX-License-Identifier: Apache-2.0
 *
 * Stop, restart, kill, pause, unpause, update, resize. Waiting happens on c->changed without op_lock, so a container that ignores its signal
 * can still be killed, inspected or removed; every wait has a bound, or ends when its client leaves: what is to be done at the exit is then
 * noted in the container ("left"), and done without a thread that waits for it. */
#include "engine/container.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "engine/events.h"
#include "engine/loop.h"
#include "engine/network.h"
#include "engine/spec.h"
#include "engine/store.h"
#include "engine/validate.h"

#define KILL_WAIT_NS (12 * CS_NS_PER_SEC)
#define LOOK_NS CS_NS_PER_SEC /* how often a wait looks whether its client is still there */

static int not_running(struct cs_container *c, struct cs_err **err)
{
	return cs_fail(err, CS_ERR_CONFLICT, 0, "container %s is not running", c->id);
}

/* Waits until an exit after `exits` was announced. until: monotonic ns, -1 for ever. */
static bool wait_exit(struct cs_container *c, unsigned exits, int64_t until)
{
	struct timespec ts = {until / CS_NS_PER_SEC, until % CS_NS_PER_SEC};
	int r = 0;

	CS_GUARD(&c->lock);
	while (c->exits == exits && r == 0)
		r = until < 0 ? pthread_cond_wait(&c->changed, &c->lock) : pthread_cond_timedwait(&c->changed, &c->lock, &ts);
	return c->exits != exits;
}

/* One that only says nothing more has not left; where that cannot be told apart (TCP) it counts as if, as in Go's server. */
static bool client_left(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLRDHUP};
	int domain = AF_UNIX;
	socklen_t len = sizeof(domain);

	if (fd < 0 || poll(&p, 1, 0) <= 0)
		return false;
	if (p.revents & (POLLHUP | POLLERR | POLLNVAL))
		return true;
	return p.revents & POLLRDHUP && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain != AF_UNIX;
}

/* As wait_exit, as long as the client is there (client -1: nobody needs to be); *ret_left: it is not. */
static bool wait_with(struct cs_container *c, unsigned exits, int64_t until, int client, bool *ret_left)
{
	for (;;) {
		int64_t look = cs_monotonic_ns() + LOOK_NS;
		bool last = until >= 0 && until <= look;
		if (wait_exit(c, exits, last || client < 0 ? until : look))
			return true;
		if (last || client < 0)
			return false;
		*ret_left = client_left(client);
		if (*ret_left)
			return false;
	}
}

static void signal_event(struct cs_container *c, int sig)
{
	char num[16];
	(void)snprintf(num, sizeof(num), "%d", sig);
	cs_container_event(c, "kill", "signal", num, NULL);
}

static int parse_signal(const char *text, int *ret, struct cs_err **err)
{
	*ret = cs_signal_parse(text);
	return *ret > 0 ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "invalid signal: %s", text);
}

/* dockerd sends the signal first and then thaws a paused container, so that it acts on it at once. */
static void thaw(struct cs_container *c, struct cs_system *s)
{
	pthread_mutex_lock(&c->lock);
	bool paused = c->paused;
	pthread_mutex_unlock(&c->lock);
	if (!paused || cs_hcs_pause(s->h, false, NULL) < 0)
		return;
	pthread_mutex_lock(&c->lock);
	c->paused = false;
	pthread_mutex_unlock(&c->lock);
	cs_container_event(c, "unpause", NULL);
}

static int deliver_signal(struct cs_container *c, struct cs_system *s, int sig, struct cs_err **err)
{
	struct cs_err *inner = NULL;
	int r = sig == SIGKILL ? cs_hcs_terminate(s->h, &inner) : cs_hcs_signal(s->h, sig, &inner);

	/* already gone: its exit is on the way */
	if (r < 0 && (cs_err_code(inner) == CS_ERR_CONFLICT || cs_err_code(inner) == CS_ERR_NOT_FOUND)) {
		cs_err_free(inner);
		return 0;
	}
	if (r < 0)
		return cs_err_move(err, inner);
	signal_event(c, sig);
	return 0;
}

/* The exit that it may cause is announced after it. */
static int send_signal(struct cs_container *c, struct cs_system *s, int sig, bool and_thaw, struct cs_err **err)
{
	pthread_mutex_lock(&c->lock);
	c->signalling++;
	pthread_mutex_unlock(&c->lock);
	int r = deliver_signal(c, s, sig, err);
	if (and_thaw)
		thaw(c, s);
	pthread_mutex_lock(&c->lock);
	if (--c->signalling == 0)
		pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	return r;
}

/* A container between two restarts, or with a restart due. */
static bool stop_restarting(struct cs_container *c, bool by_user)
{
	CS_GUARD(&c->op_lock);
	pthread_mutex_lock(&c->lock);
	bool was = c->status == CS_ST_RESTARTING;
	if (was) {
		c->status = CS_ST_EXITED;
		c->manually_stopped = c->manually_stopped || by_user;
		c->exits++;
		cs_waiters_exit(c, c->exit_code);
		pthread_cond_broadcast(&c->changed);
	}
	pthread_mutex_unlock(&c->lock);
	if (!was)
		return false;
	cs_restart_cancel(c);
	cs_container_save(c);
	return true;
}

static int kill_and_wait(struct cs_container *c, struct cs_system *s, unsigned exits, struct cs_err **err)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		if (send_signal(c, s, SIGKILL, false, err) < 0)
			return -1;
		if (wait_exit(c, exits, cs_monotonic_ns() + KILL_WAIT_NS))
			return 0;
	}
	return cs_fail(err, CS_ERR_INTERNAL, 0, "tried to kill container, but did not receive an exit event");
}

static int stop_signal(struct cs_container *c, const char *signal, int *ret, struct cs_err **err)
{
	if (!cs_empty(signal))
		return parse_signal(signal, ret, err);
	*ret = cs_empty(c->config->stop_signal) ? SIGTERM : cs_signal_parse(c->config->stop_signal);
	if (*ret <= 0)
		*ret = SIGTERM;
	return 0;
}

static int64_t stop_timeout(struct cs_container *c, int64_t timeout_s)
{
	if (timeout_s != CS_STOP_DEFAULT)
		return timeout_s;
	if (c->config->stop_timeout)
		return *c->config->stop_timeout;
	int64_t t = cs_engine_config(c->e)->default_stop_timeout;
	return t ? t : 10;
}

/* ---- what a client has left behind ---- */

static void kill_left(void *ctx)
{
	struct cs_container *c = ctx;
	cs_autoerr struct cs_err *err = NULL;

	pthread_mutex_lock(&c->lock);
	cs_autosystem struct cs_system *s = c->left.kill_at && c->left.kill_at <= cs_monotonic_ns() && c->status == CS_ST_RUNNING ? c->system : NULL;
	if (s)
		atomic_fetch_add(&s->refs, 1);
	unsigned exits = c->exits;
	pthread_mutex_unlock(&c->lock);
	if (s && kill_and_wait(c, s, exits, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_ERROR, "engine", "container", c->id, "stop: %s", text);
	}
	cs_container_unref(c);
}

static void kill_due(void *ctx) { cs_job(((struct cs_container *)ctx)->e->loop, kill_left, ctx); }

/* lock held */
static void forget_kill(struct cs_container *c)
{
	if (cs_timer_cancel(c->e->loop, c->left.kill_timer))
		cs_container_unref(c); /* never the last: its caller has one */
	c->left.kill_timer = 0;
	c->left.kill_at = 0;
}

/* False: it has ended meanwhile. */
static bool leave(struct cs_container *c, unsigned exits, int64_t until, bool restart)
{
	CS_GUARD(&c->lock);
	if (c->exits != exits)
		return false;
	c->left.stops++;
	c->left.restarts += restart;
	if (until >= 0 && (!c->left.kill_at || until < c->left.kill_at)) {
		forget_kill(c);
		c->left.kill_at = until;
		c->left.kill_timer = cs_timer_set(c->e->loop, until, kill_due, cs_container_ref(c));
	}
	return true;
}

static int restart_again(struct cs_container *c, struct cs_err **err);

static void restart_left(void *ctx)
{
	struct cs_container *c = ctx;
	cs_autoerr struct cs_err *err = NULL;

	if (restart_again(c, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_ERROR, "engine", "container", c->id, "restart: %s", text);
	}
	cs_container_unref(c);
}

void cs_container_finish_left(struct cs_container *c)
{
	pthread_mutex_lock(&c->lock);
	unsigned stops = c->left.stops, restarts = c->left.restarts;
	c->left.stops = c->left.restarts = 0;
	c->restarts -= restarts;
	forget_kill(c);
	pthread_mutex_unlock(&c->lock);
	for (unsigned i = 0; i < stops; i++)
		cs_container_event(c, "stop", NULL);
	if (restarts)
		cs_job(c->e->loop, restart_left, cs_container_ref(c));
}

/* ---- stop, restart, kill ---- */

/* 0, -1, or 1: the client has left; the rest happens without it. */
static int stop(struct cs_container *c, const char *signal, int64_t timeout_s, bool by_user, int client, bool restart, struct cs_err **err)
{
	int sig = SIGTERM;

	if (stop_signal(c, signal, &sig, err) < 0)
		return -1;
	pthread_mutex_lock(&c->lock);
	bool restarting = c->status == CS_ST_RESTARTING;
	bool removal = c->removing; /* a forced one kills: as dockerd's, it tells of no stop */
	pthread_mutex_unlock(&c->lock);
	if (restarting && stop_restarting(c, by_user)) {
		if (!removal)
			cs_container_event(c, "stop", NULL);
		return 0;
	}
	pthread_mutex_lock(&c->lock);
	cs_container_await_start(c);
	cs_autosystem struct cs_system *s = c->status == CS_ST_RUNNING ? c->system : NULL;
	if (s) {
		atomic_fetch_add(&s->refs, 1);
		c->manually_stopped = c->manually_stopped || by_user;
		c->stopping = true;
	}
	unsigned exits = c->exits;
	pthread_mutex_unlock(&c->lock);
	if (!s)
		return cs_fail(err, CS_ERR_NOT_MODIFIED, 0, "container is already stopped");
	cs_container_save(c); /* a policy must know, even if we die now */

	int64_t t = stop_timeout(c, timeout_s);
	bool left = false;
	int r = 0;
	if (sig == SIGKILL) {
		r = kill_and_wait(c, s, exits, err);
	} else {
		r = send_signal(c, s, sig, true, err);
		int64_t until = t < 0 ? -1 : cs_monotonic_ns() + CS_MIN(t, 1 << 30) * CS_NS_PER_SEC;
		bool ended = r == 0 && wait_with(c, exits, until, client, &left);
		if (left && leave(c, exits, until, restart))
			return 1;
		if (!ended && !left) {
			if (r < 0 && err) {
				cs_err_free(*err);
				*err = NULL;
			}
			r = kill_and_wait(c, s, exits, err);
		}
	}
	if (r < 0) {
		pthread_mutex_lock(&c->lock);
		c->stopping = false;
		pthread_mutex_unlock(&c->lock);
		return cs_wrap(err, "cannot stop container: %s", c->id);
	}
	if (!removal)
		cs_container_event(c, "stop", NULL);
	return 0;
}

int cs_container_stop_obj(struct cs_container *c, const char *signal, int64_t timeout_s, bool by_user, struct cs_err **err)
{
	return stop(c, signal, timeout_s, by_user, -1, false, err);
}

int cs_container_stop(struct cs_engine *e, const char *ref, const char *signal, int64_t timeout_s, int client_fd, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	if (cs_container_get(e, ref, &c, err) < 0)
		return -1;
	return stop(c, signal, timeout_s, true, client_fd, false, err) < 0 ? -1 : 0;
}

/* The second half: it has ended. */
static int restart_again(struct cs_container *c, struct cs_err **err)
{
	struct cs_err *inner = NULL;

	cs_container_net_flush(c); /* its addresses are free again: as in Docker it gets the same, if they are the first */
	if (cs_container_start_obj(c, false, &inner) < 0 && cs_err_code(inner) != CS_ERR_NOT_MODIFIED)
		return cs_err_move(err, inner);
	cs_err_free(inner);
	cs_container_event(c, "restart", NULL);
	return 0;
}

int cs_container_restart(struct cs_engine *e, const char *ref, const char *signal, int64_t timeout_s, int client_fd, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	struct cs_err *inner = NULL;

	if (cs_container_get(e, ref, &c, err) < 0)
		return -1;
	/* --rm must not fire between the two halves */
	pthread_mutex_lock(&c->lock);
	c->restarts++;
	pthread_mutex_unlock(&c->lock);
	int r = stop(c, signal, timeout_s, true, client_fd, true, &inner);
	if (r > 0) /* its end will say so */
		return 0;
	pthread_mutex_lock(&c->lock);
	c->restarts--;
	pthread_mutex_unlock(&c->lock);
	if (r < 0 && cs_err_code(inner) != CS_ERR_NOT_MODIFIED) {
		(void)cs_err_move(err, inner);
		return cs_wrap(err, "Cannot restart container %s", ref);
	}
	cs_err_free(inner);
	if (restart_again(c, err) < 0)
		return cs_wrap(err, "Cannot restart container %s", ref);
	return 0;
}

int cs_container_kill_obj(struct cs_container *c, int sig, struct cs_err **err)
{
	int stop = SIGTERM;

	(void)stop_signal(c, NULL, &stop, NULL);
	pthread_mutex_lock(&c->lock);
	cs_autosystem struct cs_system *s = c->status == CS_ST_RUNNING ? c->system : NULL;
	if (s)
		atomic_fetch_add(&s->refs, 1);
	bool manual = s && (sig == SIGKILL || sig == stop);
	bool was = c->manually_stopped;
	if (manual)
		c->manually_stopped = true;
	unsigned exits = c->exits;
	pthread_mutex_unlock(&c->lock);
	if (!s)
		return not_running(c, err);
	if (manual && !was)
		cs_container_save(c);
	if (sig == SIGKILL)
		return kill_and_wait(c, s, exits, err);
	return send_signal(c, s, sig, sig == stop, err);
}

int cs_container_kill(struct cs_engine *e, const char *ref, const char *signal, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	int sig = SIGKILL;

	if (!cs_empty(signal) && parse_signal(signal, &sig, err) < 0)
		return -1;
	if (cs_container_get(e, ref, &c, err) < 0)
		return cs_wrap(err, "cannot kill container: %s", ref);
	pthread_mutex_lock(&c->lock);
	bool restarting = c->status == CS_ST_RESTARTING;
	pthread_mutex_unlock(&c->lock);
	if (restarting && stop_restarting(c, true))
		return 0;
	if (cs_container_kill_obj(c, sig, err) < 0)
		return cs_wrap(err, "cannot kill container: %s", ref);
	return 0;
}

int cs_container_set_paused(struct cs_container *c, bool pause, struct cs_err **err)
{
	pthread_mutex_lock(&c->lock);
	bool running = c->status == CS_ST_RUNNING, paused = c->paused, restarting = c->status == CS_ST_RESTARTING;
	pthread_mutex_unlock(&c->lock);
	if (restarting)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "container %s is restarting, wait until the container is running", c->id);
	if (pause && !running)
		return not_running(c, err);
	if (pause && paused)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "container %s is already paused", c->id);
	if (!pause && !paused)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "container %s is not paused", c->id);
	cs_autosystem struct cs_system *s = cs_container_system(c);
	if (!s)
		return not_running(c, err);
	if (cs_hcs_pause(s->h, pause, err) < 0)
		return cs_wrap(err, "cannot %s container %s", pause ? "pause" : "unpause", c->id);
	pthread_mutex_lock(&c->lock);
	if (c->status == CS_ST_RUNNING)
		c->paused = pause;
	pthread_mutex_unlock(&c->lock);
	cs_container_save(c);
	cs_container_event(c, pause ? "pause" : "unpause", NULL);
	return 0;
}

static int set_paused(struct cs_engine *e, const char *ref, bool pause, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;

	if (cs_container_get(e, ref, &c, err) < 0)
		return -1;
	CS_GUARD(&c->op_lock);
	return cs_container_set_paused(c, pause, err);
}

int cs_container_pause(struct cs_engine *e, const char *ref, struct cs_err **err) { return set_paused(e, ref, true, err); }
int cs_container_unpause(struct cs_engine *e, const char *ref, struct cs_err **err) { return set_paused(e, ref, false, err); }

static int apply_resources(struct cs_container *c, const struct cs_resources *res, struct cs_err **err)
{
	cs_autosystem struct cs_system *s = cs_container_system(c);
	cs_autostr struct cs_str doc = CS_STR_INIT(1 << 20);

	if (!s)
		return 0;
	cs_str_puts(&doc, "{\"ResourcePath\":\"Container/Resources\",\"RequestType\":\"Update\",\"Settings\":");
	cs_spec_resources(res, &doc);
	cs_str_putc(&doc, '}');
	if (doc.failed)
		return cs_fail(err, CS_ERR_INVALID, 0, "the resources are too large");
	return cs_hcs_modify(s->h, doc.buf, err);
}

static void cs_autohost_done(struct cs_host_config **h) { cs_host_config_free(*h); }
static void autoresources_done(struct cs_resources **r) { cs_resources_free(*r); }

int cs_container_update(struct cs_engine *e, const char *ref, const struct cs_update_request *req, char ***ret_warnings, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	cs_auto(cs_autohost_done) struct cs_host_config *host = NULL;
	cs_autostr struct cs_str json = CS_STR_INIT(8 << 20);
	cs_autostrv char **warnings = NULL;

	if (cs_container_get(e, ref, &c, err) < 0)
		return -1;
	CS_GUARD(&c->op_lock);
	pthread_mutex_lock(&c->lock);
	host = cs_host_config_copy(c->host);
	bool running = c->status == CS_ST_RUNNING, gone = c->removing || c->dead;
	pthread_mutex_unlock(&c->lock);
	if (gone)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "Cannot update container %s: container is marked for removal and cannot be \"update\"", c->id);
	if (cs_validate_update(req, host, running, &warnings, err) < 0)
		return cs_err_code(*err) == CS_ERR_CONFLICT ? cs_wrap(err, "Cannot update container %s", c->id) : -1;
	cs_auto(autoresources_done) struct cs_resources *change = cs_resources_change(&c->host->res, &host->res); /* op_lock: nobody changes it */
	if (running && apply_resources(c, change, err) < 0)
		return cs_wrap(err, "Cannot update container %s", c->id);
	cs_json_encode(&cs_host_config_type, host, 0, &json);
	if (cs_store_container_host(e->store, c->id, json.buf, err) < 0)
		return -1;
	pthread_mutex_lock(&c->lock);
	CS_SWAP(c->host, host);
	pthread_mutex_unlock(&c->lock);
	cs_container_event(c, "update", NULL);
	if (ret_warnings)
		*ret_warnings = TAKE_PTR(warnings);
	return 0;
}

int cs_container_resize(struct cs_engine *e, const char *ref, uint16_t rows, uint16_t cols, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	char doc[128], h[8], w[8];

	if (cs_container_get(e, ref, &c, err) < 0)
		return -1;
	cs_autosystem struct cs_system *s = cs_container_system(c);
	if (!s)
		return not_running(c, err);
	(void)snprintf(doc, sizeof(doc), "{\"Operation\":\"ConsoleSize\",\"ConsoleSize\":{\"Height\":%u,\"Width\":%u}}", rows, cols);
	if (c->config->tty && cs_hcs_modify_init(s->h, doc, NULL, -1, err) < 0) /* without a terminal it is no error, as dockerd has it */
		return -1;
	(void)snprintf(h, sizeof(h), "%u", rows);
	(void)snprintf(w, sizeof(w), "%u", cols);
	cs_container_event(c, "resize", "height", h, "width", w, NULL);
	return 0;
}
