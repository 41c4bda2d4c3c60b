/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /containers/x/wait as a stream with an eventfd, and its hand-over to the worker, so that the answer comes even when the engine is
 * gone. Waiters hang on their container and are guarded by its lock. */
#include "engine/container.h"

#include <fcntl.h>
#include <sys/eventfd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/time.h"

enum condition { NOT_RUNNING, NEXT_EXIT, REMOVED };

struct cs_waiter {
	struct cs_stream stream;
	struct cs_container *c; /* reference */
	struct cs_waiter *next;
	enum condition condition;
	bool done, linked, counted;
	int code, fd;
	char text[64];
	size_t off;
	/* handed over before the start */
	int watch_fd;
	unsigned sent; /* the run whose worker has it, plus one */
	char *prefix, *suffix;
};

static void finish(struct cs_waiter *w, int code)
{
	uint64_t one = 1;

	w->done = true;
	w->code = code;
	if (w->watch_fd >= 0) {
		w->counted = true;
		w->c->answering++;
	}
	(void)snprintf(w->text, sizeof(w->text), "{\"StatusCode\":%d}\n", code);
	(void)!write(w->fd, &one, sizeof(one));
}

static void unlink_done(struct cs_container *c)
{
	for (struct cs_waiter **p = &c->waiters; *p;)
		if ((*p)->done) {
			(*p)->linked = false;
			*p = (*p)->next;
		} else {
			p = &(*p)->next;
		}
}

void cs_waiters_exit(struct cs_container *c, int code)
{
	for (struct cs_waiter *w = c->waiters; w; w = w->next)
		if (w->condition != REMOVED)
			finish(w, code);
	unlink_done(c);
}

void cs_waiters_removed(struct cs_container *c)
{
	for (struct cs_waiter *w = c->waiters; w; w = w->next)
		finish(w, c->exit_code);
	unlink_done(c);
}

static ssize_t wait_read(struct cs_stream *s, void *buf, size_t max)
{
	struct cs_waiter *w = (struct cs_waiter *)s;

	CS_GUARD(&w->c->lock);
	if (!w->done)
		return -EAGAIN;
	size_t n = CS_MIN(max, strlen(w->text) - w->off);
	memcpy(buf, w->text + w->off, n);
	w->off += n;
	return (ssize_t)n;
}

static int wait_fd(struct cs_stream *s) { return ((struct cs_waiter *)s)->fd; }

static void wait_free(struct cs_stream *s)
{
	struct cs_waiter *w = (struct cs_waiter *)s;

	pthread_mutex_lock(&w->c->lock);
	for (struct cs_waiter **p = &w->c->waiters; *p; p = &(*p)->next)
		if (*p == w) {
			*p = w->next;
			break;
		}
	if (w->counted && --w->c->answering == 0)
		pthread_cond_broadcast(&w->c->changed);
	pthread_mutex_unlock(&w->c->lock);
	cs_container_unref(w->c);
	cs_close(w->fd);
	cs_close(w->watch_fd);
	free(w->prefix);
	free(w->suffix);
	free(w);
}

static const struct cs_stream_ops wait_ops = {wait_read, wait_fd, NULL, wait_free};

static int parse_condition(const char *text, enum condition *ret, struct cs_err **err)
{
	if (cs_empty(text) || cs_streq(text, "not-running"))
		*ret = NOT_RUNNING;
	else if (cs_streq(text, "next-exit"))
		*ret = NEXT_EXIT;
	else if (cs_streq(text, "removed"))
		*ret = REMOVED;
	else
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid condition: \"%s\"", text);
	return 0;
}

int cs_container_wait(struct cs_engine *e, const char *ref, const char *condition, struct cs_stream **ret, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	enum condition cond = NOT_RUNNING;

	if (parse_condition(condition, &cond, err) < 0 || cs_container_get(e, ref, &c, err) < 0)
		return -1;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "eventfd");
	struct cs_waiter *w = cs_xcalloc(1, sizeof(*w));
	w->stream.ops = &wait_ops;
	w->fd = fd;
	w->watch_fd = -EBADF;
	w->condition = cond;
	w->c = cs_container_ref(c);
	pthread_mutex_lock(&c->lock);
	bool running = cs_container_is_alive(c) || c->ending;
	if (c->gone || (cond == NOT_RUNNING && !running)) {
		finish(w, c->exit_code);
	} else {
		w->linked = true;
		w->next = c->waiters;
		c->waiters = w;
	}
	pthread_mutex_unlock(&c->lock);
	*ret = &w->stream;
	return 0;
}

/* ---- hand-over ---- */

static char *watch_document(const struct cs_waiter *w, bool wrapped)
{
	cs_autostr struct cs_str o = CS_STR_INIT(1 << 16);

	if (wrapped)
		cs_str_puts(&o, "{\"Operation\":\"WatchExit\",\"WatchExit\":");
	cs_str_putc(&o, '{');
	cs_json_put_kstr(&o, "Prefix", w->prefix);
	cs_json_put_kstr(&o, "Suffix", w->suffix);
	cs_str_putc(&o, '}');
	if (wrapped)
		cs_str_putc(&o, '}');
	return cs_str_steal(&o);
}

void cs_waiters_watch_pending(struct cs_container *c, HCS_OPERATION start)
{
	for (struct cs_waiter *w = c->waiters; w; w = w->next) {
		if (w->watch_fd < 0)
			continue;
		/* the container may run again: what the worker gets is a copy */
		int fd = fcntl(w->watch_fd, F_DUPFD_CLOEXEC, 3);
		cs_autofree char *doc = watch_document(w, false), *uri = doc ? cs_xasprintf("hcs:/Process/ExitWatch?%s", doc) : NULL;
		w->sent = c->run + 1;
		if (fd >= 0 && uri)
			(void)HcsAddResourceToOperation(start, HcsResourceTypeSocket, uri, fd);
		else
			cs_close(fd);
	}
}

/* Those that the worker of this run does not have yet: handed over while it was starting, or just now. */
void cs_waiters_deliver(struct cs_container *c, struct cs_system *s)
{
	for (;;) {
		cs_autofree char *doc = NULL;
		cs_autoerr struct cs_err *err = NULL;
		int fd = -EBADF;

		pthread_mutex_lock(&c->lock);
		struct cs_waiter *w = c->waiters;
		while (w && (w->done || w->watch_fd < 0 || w->sent == s->run + 1))
			w = w->next;
		if (w) {
			w->sent = s->run + 1;
			doc = watch_document(w, true);
			fd = fcntl(w->watch_fd, F_DUPFD_CLOEXEC, 3); /* the container may run again: what the worker gets is a copy */
		}
		pthread_mutex_unlock(&c->lock);
		if (!w)
			return;
		if (!doc || fd < 0)
			cs_close(fd);
		else if (cs_hcs_modify_init(s->h, doc, "hcs:/Process/ExitWatch", fd, &err) < 0)
			cs_logk(CS_LOG_DEBUG, "engine", "container", c->id, "the worker took no waiting client: %s", err ? err->msg : "?");
	}
}

void cs_container_wait_handover(struct cs_stream *wait, int fd, const char *prefix, const char *suffix)
{
	struct cs_waiter *w = (struct cs_waiter *)wait;
	cs_autofd int mine = fd;

	if (wait->ops != &wait_ops)
		return;
	pthread_mutex_lock(&w->c->lock);
	if (!w->done && w->watch_fd < 0) {
		w->prefix = cs_xstrdup(prefix ? prefix : "");
		w->suffix = cs_xstrdup(suffix ? suffix : "");
		w->watch_fd = TAKE_FD(mine);
	}
	pthread_mutex_unlock(&w->c->lock);
	cs_autosystem struct cs_system *s = cs_container_system(w->c);
	if (s) /* else it goes along with the start, or follows it */
		cs_waiters_deliver(w->c, s);
}
