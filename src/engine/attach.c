/* SPDX-License-Identifier: Apache-2.0
 *
 * Attach: the engine checks, then gives the client's socket to the worker and is out of the way. Sockets that come before the start wait
 * on the container and travel with the start request; for a container that runs, the worker keeps the output from the moment of the grant until
 * the socket is there. So no byte of output is missed. */
#include "engine/container.h"

#include <poll.h>
#include <sys/socket.h>

#include "base/base64.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "engine/events.h"
#include "engine/log_files.h"
#include "engine/validate.h"

struct cs_attach {
	struct cs_container *c;
	struct cs_attach_opts o;
	uint8_t keys[CS_DETACH_KEYS_MAX];
	size_t n_keys;
	bool early; /* counted in c->attaching */
	struct cs_system *system; /* reference, for the moment to the hand-over: a restart waits for it; NULL with logs */
	unsigned run;
	int64_t token; /* that run's worker keeps the output for us */
	struct cs_log_pos logged; /* what the log had then */
	int64_t logged_at;
	int64_t granted; /* monotonic; the client sees its 101 later, and may count on all output from there on */
};
struct cs_pending {
	struct cs_pending *next;
	int fd;
	char *settings; /* AttachStdio's JSON */
};

char *cs_detach_keys_json(const uint8_t *keys, size_t n)
{
	struct cs_str s = CS_STR_INIT(1024);

	cs_str_putc(&s, '[');
	for (size_t i = 0; i < n; i++)
		cs_str_putf(&s, i ? ",%u" : "%u", keys[i]);
	cs_str_putc(&s, ']');
	return cs_str_steal(&s);
}

int cs_stdio_reserve(struct cs_system *s, const char *members, int64_t *token, struct cs_log_pos *logged, int64_t *at, struct cs_err **err)
{
	cs_autofree char *doc = cs_xasprintf("{\"Operation\":\"ReserveStdio\",\"ReserveStdio\":{%s}}", members);
	char *text = NULL;

	if (cs_hcs_modify_init_fds(s->h, doc, NULL, NULL, 0, &text, err) < 0)
		return -1;
	cs_autojson json_t *j = cs_json_parse(text ? text : "", text ? strlen(text) : 0, NULL);
	HcsFree(text);
	*token = json_integer_value(json_object_get(j, "Token"));
	*logged = (struct cs_log_pos){(uint64_t)json_integer_value(json_object_get(j, "Device")), (uint64_t)json_integer_value(json_object_get(j, "Inode")),
				      json_integer_value(json_object_get(j, "Offset"))};
	*at = json_integer_value(json_object_get(j, "At"));
	return *token ? 0 : cs_fail(err, CS_ERR_INTERNAL, 0, "the worker sent no token");
}

void cs_stdio_cancel(struct cs_system *s, int64_t token)
{
	cs_autofree char *doc = cs_xasprintf("{\"Operation\":\"CancelStdio\",\"CancelStdio\":{\"Token\":%lld}}", (long long)token);
	cs_autoerr struct cs_err *err = NULL;

	if (cs_hcs_modify_init(s->h, doc, NULL, -1, &err) < 0)
		cs_debug("engine", "cancel what a worker keeps for a client: %s", err ? err->msg : "?");
}

/* The place in the output from which on it is ours. Without it (an older worker, or the container just ended) the grant's time has to do. */
static void reserve(struct cs_attach *a)
{
	cs_autosystem struct cs_system *s = cs_container_system(a->c);
	cs_autostr struct cs_str o = CS_STR_INIT(4096);
	cs_autoerr struct cs_err *err = NULL;

	if (!s)
		return;
	cs_json_put_kbool(&o, "StdOut", a->o.want_stdout);
	cs_json_put_kbool(&o, "StdErr", a->o.want_stderr);
	cs_json_put_kbool(&o, "Framed", !a->c->tty && !a->o.raw);
	cs_json_put_kbool(&o, "AfterLog", a->o.logs && a->c->log_path);
	if (cs_stdio_reserve(s, o.buf, &a->token, &a->logged, &a->logged_at, &err) == 0) {
		a->run = s->run;
		if (!a->o.logs)
			a->system = TAKE_PTR(s);
	} else {
		a->token = 0;
		cs_logk(CS_LOG_DEBUG, "engine", "container", a->c->id, "attach: %s", err ? err->msg : "?");
	}
}

/* With a reference: the system whose worker keeps our output; NULL when that run is over. */
static struct cs_system *take_system(struct cs_attach *a)
{
	struct cs_system *s = a->system ? TAKE_PTR(a->system) : cs_container_system(a->c);

	if (!s || s->run == a->run)
		return s;
	cs_system_put(s);
	return NULL;
}

int cs_container_attach(struct cs_engine *e, const char *ref, const struct cs_attach_opts *o, struct cs_attach **ret, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	uint8_t keys[CS_DETACH_KEYS_MAX] = {16, 17}; /* ctrl-p ctrl-q */
	size_t n = 2;

	if (!cs_empty(o->detach_keys) && cs_detach_keys_parse(o->detach_keys, keys, &n, NULL) < 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "Invalid detach keys (%s) provided", o->detach_keys);
	if (cs_container_get(e, ref, &c, err) < 0)
		return -1;
	pthread_mutex_lock(&c->lock);
	bool paused = c->paused, restarting = c->status == CS_ST_RESTARTING;
	bool early = o->stream && !paused && c->status != CS_ST_RUNNING && !restarting;
	c->attaching += early;
	pthread_mutex_unlock(&c->lock);
	if (paused)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "container %s is paused, unpause the container before attach", ref);
	if (restarting)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "container %s is restarting, wait until the container is running", ref);
	struct cs_attach *a = cs_xcalloc(1, sizeof(*a));
	a->c = TAKE_PTR(c);
	a->o = *o;
	a->o.detach_keys = NULL;
	memcpy(a->keys, keys, sizeof(keys));
	a->n_keys = n;
	a->early = early;
	a->granted = cs_monotonic_ns();
	if (o->stream && !early && (o->want_stdout || o->want_stderr))
		reserve(a);
	*ret = a;
	return 0;
}

bool cs_attach_tty(const struct cs_attach *a) { return a->c->tty; }

void cs_attach_free(struct cs_attach *a)
{
	if (!a)
		return;
	if (a->early) {
		pthread_mutex_lock(&a->c->lock);
		if (--a->c->attaching == 0)
			pthread_cond_broadcast(&a->c->changed);
		pthread_mutex_unlock(&a->c->lock);
	}
	if (a->token) {
		cs_autosystem struct cs_system *s = take_system(a);
		if (s)
			cs_stdio_cancel(s, a->token);
	}
	cs_container_unref(a->c);
	free(a);
}

static char *settings_of(const struct cs_attach *a, const void *input, size_t input_len)
{
	cs_autostr struct cs_str o = CS_STR_INIT((size_t)4 << 20);
	cs_autofree char *keys = cs_detach_keys_json(a->keys, a->n_keys), *b64 = input_len ? cs_base64_encode(input, input_len, false) : NULL;

	cs_str_putc(&o, '{');
	cs_json_put_kbool(&o, "StdIn", a->o.want_stdin && a->c->config->open_stdin);
	cs_json_put_kbool(&o, "StdOut", a->o.want_stdout);
	cs_json_put_kbool(&o, "StdErr", a->o.want_stderr);
	cs_json_put_kbool(&o, "Framed", !a->c->tty && !a->o.raw);
	if (a->token)
		cs_json_put_ki64(&o, "Token", a->token);
	else if (!a->o.logs) /* the logs have it already */
		cs_json_put_ki64(&o, "Since", a->granted);
	cs_json_put_key(&o, "DetachKeys");
	cs_str_puts(&o, keys);
	if (b64)
		cs_json_put_kstr(&o, "InitialInput", b64);
	cs_str_putc(&o, '}');
	return cs_str_steal(&o);
}

/* ---- sockets that wait for the start ---- */

static bool hung_up(int fd)
{
	struct pollfd p = {.fd = fd, .events = 0};
	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

struct cs_pending *cs_pending_take(struct cs_container *c)
{
	struct cs_pending *p = c->pending;
	c->pending = NULL;
	return p;
}

static void pending_free(struct cs_pending *p)
{
	cs_close(p->fd);
	free(p->settings);
	free(p);
}

void cs_pending_close(struct cs_pending *list)
{
	while (list) {
		struct cs_pending *next = list->next;
		if (list->fd >= 0)
			(void)shutdown(list->fd, SHUT_RDWR); /* the API side may hold a copy */
		pending_free(list);
		list = next;
	}
}

/* lock held. Takes fd and settings. Clients that have gone make room: a container may wait for its start for ever. */
static void pending_add(struct cs_container *c, int fd, char *settings)
{
	struct cs_pending **tail = &c->pending;

	while (*tail) {
		struct cs_pending *p = *tail;
		if (hung_up(p->fd)) {
			*tail = p->next;
			pending_free(p);
		} else {
			tail = &p->next;
		}
	}
	*tail = cs_xcalloc(1, sizeof(**tail));
	**tail = (struct cs_pending){.fd = fd, .settings = settings};
}

void cs_pending_add_to_start(struct cs_pending *list, struct cs_container *c, HCS_OPERATION start)
{
	while (list) {
		struct cs_pending *next = list->next;
		if (!hung_up(list->fd)) {
			cs_autofree char *uri = cs_xasprintf("hcs:/Process/Stdio?%s", list->settings);
			int fd = list->fd;
			list->fd = -EBADF;
			if (HcsAddResourceToOperation(start, HcsResourceTypeSocket, uri, fd) != HCS_S_OK)
				cs_logk(CS_LOG_WARN, "engine", "container", c->id, "an attached client could not be passed on");
		}
		pending_free(list);
		list = next;
	}
}

static void deliver(struct cs_container *c, struct cs_system *s, const char *settings, int fd)
{
	cs_autofree char *doc = cs_xasprintf("{\"Operation\":\"AttachStdio\",\"AttachStdio\":%s}", settings);
	cs_autoerr struct cs_err *err = NULL;

	if (cs_hcs_modify_init(s->h, doc, "hcs:/Process/Stdio", fd, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_logk(CS_LOG_DEBUG, "engine", "container", c->id, "attach: %s", text);
	}
}

void cs_pending_deliver(struct cs_pending *list, struct cs_container *c, struct cs_system *s)
{
	while (list) {
		struct cs_pending *next = list->next;
		deliver(c, s, list->settings, list->fd);
		list->fd = -EBADF;
		pending_free(list);
		list = next;
	}
}

/* ---- run ---- */

static bool is_running(struct cs_attach *a)
{
	cs_autosystem struct cs_system *s = cs_container_system(a->c);
	return s && s->run == a->run;
}

/* logs=1: what was written so far. The client may be slow: at most 30 s without progress. */
static int replay_logs(struct cs_attach *a, int fd)
{
	struct cs_stream *s = NULL;
	char buf[16384];
	bool tty = false;
	int r = 0;
	struct cs_logs_opts o = {.want_stdout = a->o.want_stdout, .want_stderr = a->o.want_stderr, .tail = -1};

	if (a->token && a->logged.ino) {
		o.end = &a->logged;
		o.end_at = a->logged_at;
	}

	if (cs_container_logs(a->c->e, a->c->id, &o, &tty, &s, NULL) < 0)
		return 0;
	for (int64_t deadline = cs_monotonic_ns() + 30 * CS_NS_PER_SEC; r == 0 && cs_monotonic_ns() < deadline;) {
		ssize_t n = s->ops->read(s, buf, sizeof(buf));
		if (n == -EAGAIN) {
			struct pollfd p = {.fd = s->ops->poll_fd(s), .events = POLLIN};
			(void)poll(&p, 1, 20);
			continue;
		}
		if (n == 0 && o.end && !is_running(a)) { /* nobody keeps the rest for us any more, but it is in the log */
			o.end = NULL;
			cs_container_logs_go_on(s);
			continue;
		}
		if (n <= 0)
			break;
		struct pollfd p = {.fd = fd, .events = POLLOUT};
		for (ssize_t off = 0; off < n && r == 0;) {
			ssize_t w = send(fd, buf + off, (size_t)(n - off), MSG_NOSIGNAL | MSG_DONTWAIT);
			if (w > 0)
				off += w;
			else if (w < 0 && errno != EAGAIN && errno != EINTR)
				r = -errno;
			else if (w < 0 && poll(&p, 1, 30000) <= 0)
				r = -ETIMEDOUT;
		}
		deadline = cs_monotonic_ns() + 30 * CS_NS_PER_SEC;
	}
	cs_stream_free(s);
	return r;
}

void cs_attach_run(struct cs_attach *a, int fd, const void *input, size_t input_len)
{
	struct cs_container *c = a->c;
	cs_autofd int client = fd;

	cs_container_event(c, "attach", NULL);
	if ((a->o.logs && replay_logs(a, client) < 0) || !a->o.stream) {
		(void)shutdown(client, SHUT_RDWR);
		cs_attach_free(a);
		return;
	}
	cs_autofree char *settings = settings_of(a, input, input_len);
	struct cs_system *s = a->token ? take_system(a) : NULL; /* also if it has ended meanwhile */
	bool wait = false;
	pthread_mutex_lock(&c->lock);
	if (a->token) {
		a->token = 0; /* ended meanwhile: nothing more comes, the log was sent to its end */
	} else if (c->status == CS_ST_RUNNING && c->system) {
		s = c->system;
		atomic_fetch_add(&s->refs, 1);
	} else if (settings && !c->removing && !c->dead) {
		pending_add(c, TAKE_FD(client), TAKE_PTR(settings));
		wait = true;
	}
	pthread_mutex_unlock(&c->lock);
	if (s && settings)
		deliver(c, s, settings, TAKE_FD(client));
	else if (!wait)
		(void)shutdown(client, SHUT_RDWR);
	cs_system_put(s);
	cs_attach_free(a);
}
