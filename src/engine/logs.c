/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /containers/x/logs as a stream: records of the log files, selected, decorated and framed. Following wakes by inotify on the log's
 * directory, and ends when the container stops (a wait stream of our own). A stream is used by one thread. */
#include <ctype.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

#include "base/time.h"
#include "engine/container.h"
#include "engine/log_files.h"

struct logs {
	struct cs_stream stream;
	struct cs_log_files *files;
	struct cs_logs_opts o;
	bool framed;
	bool following, stopped, ended;
	struct cs_stream *wait;
	int inotify, epoll;
	/* a record that did not fit the caller's buffer */
	char *spill;
	size_t spill_cap, spill_len, spill_pos;
};

/* Go's url.QueryEscape */
static void query_escape(struct cs_str *out, const char *s)
{
	for (; *s; s++) {
		if (isalnum((unsigned char)*s) || strchr("-_.~", *s))
			cs_str_putc(out, *s);
		else if (*s == ' ')
			cs_str_putc(out, '+');
		else
			cs_str_putf(out, "%%%02X", (unsigned)(unsigned char)*s);
	}
}

/* "k=v,k2=v2 " in the order of the keys; a blank even without attributes, as dockerd does. */
static void put_details(struct cs_str *out, const struct cs_log_rec *r)
{
	cs_autojson json_t *j = r->attrs ? cs_json_parse(r->attrs, r->attrs_len, NULL) : NULL;
	struct cs_strmap *m = cs_strmap_new();
	const char *k;
	json_t *v;

	json_object_foreach(j, k, v)
	{
		if (json_is_string(v))
			cs_strmap_set(m, k, json_string_value(v));
	}
	for (size_t left = m->n; left; left--) {
		size_t best = 0;
		for (size_t i = 1; i < m->n; i++)
			best = strcmp(m->kv[i].key, m->kv[best].key) < 0 ? i : best;
		if (left != m->n || out->len)
			cs_str_puts(out, out->len ? "," : "");
		query_escape(out, m->kv[best].key);
		cs_str_putc(out, '=');
		query_escape(out, m->kv[best].val);
		cs_autofree char *gone = cs_xstrdup(m->kv[best].key);
		cs_strmap_del(m, gone);
	}
	cs_str_putc(out, ' ');
	cs_strmap_free(m);
}

static size_t put_time(struct cs_log_rec *r, char *out)
{
	/* Our own records: widen the fraction in the text; parsing and printing would be the slowest part of it all. */
	if (r->time && r->time_len >= 20 && r->time_len <= 30 && r->time[r->time_len - 1] == 'Z' && (r->time[19] == '.' || r->time_len == 20)) {
		size_t digits = r->time_len > 21 ? r->time_len - 21 : 0;
		memcpy(out, r->time, 19);
		out[19] = '.';
		memcpy(out + 20, r->time + 20, digits);
		memset(out + 20 + digits, '0', 9 - digits);
		out[29] = 'Z';
		out[30] = ' ';
		return 31;
	}
	if (!cs_log_rec_time(r))
		return 0;
	char buf[CS_TIME_BUF];
	size_t n = cs_time_format_fixed(r->ts, buf);
	memcpy(out, buf, n);
	out[n] = ' ';
	return n + 1;
}

/* The most that format() may write. */
static size_t room_for(const struct logs *l, const struct cs_log_rec *r) { return r->text_len + 64 + (l->o.details ? 3 * r->attrs_len + 8 : 0); }

static size_t format(struct logs *l, struct cs_log_rec *r, char *out)
{
	char *p = out + (l->framed ? 8 : 0);

	if (l->o.timestamps)
		p += put_time(r, p);
	if (l->o.details) {
		cs_autostr struct cs_str d = CS_STR_INIT(3 * r->attrs_len + 8);
		put_details(&d, r);
		memcpy(p, d.buf, d.len);
		p += d.len;
	}
	p += cs_log_rec_text(r, p);
	if (l->framed) {
		uint32_t n = (uint32_t)(p - out - 8);
		const unsigned char head[8] = {(unsigned char)r->stream, 0, 0, 0, (unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8), (unsigned char)n};
		memcpy(out, head, 8);
	}
	return (size_t)(p - out);
}

/* 1 take it, 0 leave it out, -1 the end (until). */
static int selected(struct logs *l, struct cs_log_rec *r)
{
	if (l->o.since || l->o.until) {
		if (!cs_log_rec_time(r))
			return 0;
		if (l->o.until && r->ts > l->o.until)
			return -1;
		if (l->o.since && r->ts < l->o.since)
			return 0;
	}
	return r->stream == 2 ? l->o.want_stderr : l->o.want_stdout;
}

static size_t take_spill(struct logs *l, char *buf, size_t max)
{
	size_t n = CS_MIN(max, l->spill_len - l->spill_pos);

	memcpy(buf, l->spill + l->spill_pos, n);
	l->spill_pos += n;
	if (l->spill_pos == l->spill_len) {
		l->spill_pos = l->spill_len = 0;
		if (l->spill_cap > (256u << 10)) {
			free(TAKE_PTR(l->spill));
			l->spill_cap = 0;
		}
	}
	return n;
}

/* Nothing to read for now: 0 the end, -EAGAIN later, 1 look again. */
static int idle(struct logs *l)
{
	char events[4096];

	if (!l->following || l->stopped)
		return 0;
	if (l->o.until && cs_now_ns() > l->o.until)
		return 0;
	char answer[64];
	ssize_t n = l->wait->ops->read(l->wait, answer, sizeof(answer));
	if (n != -EAGAIN) {
		l->stopped = true; /* once more: what the worker wrote last */
		return 1;
	}
	bool any = false;
	while (read(l->inotify, events, sizeof(events)) > 0)
		any = true;
	return any ? 1 : -EAGAIN;
}

static ssize_t logs_read(struct cs_stream *s, void *buf, size_t max)
{
	struct logs *l = cs_container_of(s, struct logs, stream);
	char *out = buf;
	size_t done = l->spill_len ? take_spill(l, out, max) : 0;

	while (done < max && !l->ended) {
		struct cs_log_rec r;
		int n = cs_log_files_next(l->files, &r);
		if (n < 0)
			return done ? (ssize_t)done : n;
		if (n == 0) {
			if (done)
				break;
			n = idle(l);
			if (n == 1)
				continue;
			l->ended = n == 0;
			return n;
		}
		int sel = selected(l, &r);
		if (sel < 0)
			l->ended = true;
		if (sel <= 0)
			continue;
		size_t room = room_for(l, &r);
		if (max - done >= room) {
			done += format(l, &r, out + done);
			continue;
		}
		if (l->spill_cap < room) {
			free(l->spill);
			l->spill_cap = room;
			l->spill = cs_xmalloc(room);
		}
		l->spill_len = format(l, &r, l->spill);
		done += take_spill(l, out + done, max - done);
	}
	return (ssize_t)done;
}

static int logs_poll_fd(struct cs_stream *s) { return cs_container_of(s, struct logs, stream)->epoll; }

static int64_t logs_deadline(struct cs_stream *s)
{
	struct logs *l = cs_container_of(s, struct logs, stream);

	if (!l->following || !l->o.until)
		return -1;
	return cs_monotonic_ns() + CS_MAX(l->o.until - cs_now_ns(), 0) + CS_NS_PER_MS;
}

static void logs_free(struct cs_stream *s)
{
	struct logs *l = cs_container_of(s, struct logs, stream);

	cs_log_files_free(l->files);
	cs_stream_free(l->wait);
	cs_close(l->inotify);
	cs_close(l->epoll);
	free(l->spill);
	free(l);
}

static const struct cs_stream_ops logs_ops = {.read = logs_read, .poll_fd = logs_poll_fd, .deadline = logs_deadline, .free = logs_free};

static int watch(int epoll, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN};
	return fd < 0 ? 0 : epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev);
}

static int start_following(struct logs *l, struct cs_container *c, struct cs_err **err)
{
	cs_autofree char *dir = cs_xstrdup(c->log_path);
	char *slash = strrchr(dir, '/');

	if (slash)
		*slash = 0;
	if (cs_container_wait(c->e, c->id, "not-running", &l->wait, err) < 0)
		return -1;
	l->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->inotify < 0 || l->epoll < 0 || inotify_add_watch(l->inotify, dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) < 0 ||
	    watch(l->epoll, l->inotify) < 0 || watch(l->epoll, l->wait->ops->poll_fd(l->wait)) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "follow the log of container %s", c->id);
	l->following = true;
	return 0;
}

int cs_container_logs(struct cs_engine *e, const char *ref, const struct cs_logs_opts *o, bool *ret_tty, struct cs_stream **ret, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;

	if (!o->want_stdout && !o->want_stderr)
		return cs_fail(err, CS_ERR_INVALID, 0, "Bad parameters: you must choose at least one stream");
	if (cs_container_get(e, ref, &c, err) < 0)
		return -1;
	pthread_mutex_lock(&c->lock);
	bool dead = c->removing || c->dead, running = cs_container_is_running(c);
	pthread_mutex_unlock(&c->lock);
	if (dead)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "can not get logs from container which is dead or marked for removal");
	if (!c->log_path || cs_streq(c->log_driver, "none"))
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "configured logging driver does not support reading");
	struct logs *l = cs_xcalloc(1, sizeof(*l));
	l->stream.ops = &logs_ops;
	l->o = *o;
	l->framed = !c->tty;
	l->inotify = l->epoll = -EBADF;
	/* the watch first, then the files: a change between the two is seen twice rather than never */
	if ((o->follow && running && start_following(l, c, err) < 0) ||
	    cs_log_files_open(c->log_path, !cs_streq(c->log_driver, "local"), o->tail, l->following, &l->files, err) < 0) {
		logs_free(&l->stream);
		return -1;
	}
	*ret_tty = c->tty;
	*ret = &l->stream;
	return 0;
}
