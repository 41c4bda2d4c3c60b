/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /containers/x/logs as a stream: records of the log files, selected, decorated and framed. A client that follows is handed to the
 * container's worker once it has what was there (worker/follow.c); until then, with TLS, or with a worker that cannot, following wakes by
 * inotify on the log's directory, and ends when the container stops (a wait stream of our own). A stream is used by one thread. */
#include <ctype.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>

#include "base/json.h"
#include "base/log.h"
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
	struct cs_container *c; /* reference, while it may be handed over, to the worker of this run; not its system, which a restart waits for */
	unsigned run;
	int64_t token;          /* that worker keeps the log for us; 0: handed over */
	int inotify, epoll;
	int peer;         /* handed over: our end of the pair */
	bool told;        /* the worker has sent everything */
	bool until_told;  /* and it was enough: the container runs on */
	unsigned attempts;
	char *details;    /* of the last record; the same for all of a run */
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
		if (l->following && !l->details)
			l->details = cs_xstrndup(d.buf, d.len);
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

	if (!l->following)
		return 0;
	if (l->stopped)
		return l->token ? -EAGAIN : 0; /* the worker still has what was rotated meanwhile: to be handed over */
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

/* ---- with the worker ---- */

#define HANDOVER_ATTEMPTS 20 /* each may meet a rotation */

/* With a reference; NULL when that run is over. */
static struct cs_system *system_of_run(struct logs *l)
{
	struct cs_system *s = l->c ? cs_container_system(l->c) : NULL;

	if (!s || s->run == l->run)
		return s;
	cs_system_put(s);
	return NULL;
}

static char *follow_document(const struct logs *l, const struct cs_log_pos *at, bool chunked)
{
	cs_autostr struct cs_str o = CS_STR_INIT(1 << 16);

	cs_str_puts(&o, "{\"Operation\":\"FollowLog\",\"FollowLog\":{");
	cs_json_put_kbool(&o, "StdOut", l->o.want_stdout);
	cs_json_put_kbool(&o, "StdErr", l->o.want_stderr);
	cs_json_put_kbool(&o, "Framed", l->framed);
	cs_json_put_kbool(&o, "Timestamps", l->o.timestamps);
	cs_json_put_kbool(&o, "Chunked", chunked);
	cs_json_put_kstr(&o, "Details", l->o.details ? l->details : "");
	cs_json_put_ki64(&o, "Token", l->token);
	cs_json_put_ki64(&o, "Device", (int64_t)at->dev);
	cs_json_put_ki64(&o, "Inode", (int64_t)at->ino);
	cs_json_put_ki64(&o, "Offset", at->offset);
	cs_json_put_ki64(&o, "Since", CS_MAX(l->o.since, 0));
	cs_json_put_ki64(&o, "Until", CS_MAX(l->o.until, 0));
	cs_str_puts(&o, "}}");
	return cs_str_steal(&o);
}

static int poll_for(int epoll, int op, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN};
	return fd < 0 ? 0 : epoll_ctl(epoll, op, fd, &ev);
}

static int hand_over(struct logs *l, const struct cs_log_pos *at, int fd, bool chunked, struct cs_err **err)
{
	static const char *const uris[] = {"hcs:/Process/FollowLog", "hcs:/Process/FollowLog/Peer"};
	cs_autosystem struct cs_system *s = system_of_run(l);
	cs_autofree char *doc = follow_document(l, at, chunked);
	int sv[2];

	if (!s)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "the container is not running");
	if (!doc)
		return cs_fail(err, CS_ERR_INVALID, EMSGSIZE, "details are too long");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "socketpair");
	const int fds[] = {fcntl(fd, F_DUPFD_CLOEXEC, 3), sv[1]};
	cs_autofd int mine = sv[0];
	if (fds[0] < 0) {
		cs_close(sv[1]);
		return cs_fail(err, CS_ERR_INTERNAL, errno, "duplicate a socket");
	}
	if (poll_for(l->epoll, EPOLL_CTL_ADD, mine) < 0) {
		cs_close(fds[0]);
		cs_close(fds[1]);
		return cs_fail(err, CS_ERR_INTERNAL, errno, "epoll");
	}
	if (cs_hcs_modify_init_fds(s->h, doc, uris, fds, 2, NULL, err) < 0)
		return -1;
	l->peer = TAKE_FD(mine);
	return 0;
}

/* It is ours for good. */
static void stay(struct logs *l)
{
	cs_autosystem struct cs_system *s = l->token ? system_of_run(l) : NULL;

	if (s)
		cs_stdio_cancel(s, l->token);
	l->token = 0;
	cs_container_unref(l->c);
	l->c = NULL;
	if (l->files)
		cs_log_files_hold(l->files, false);
}

static bool logs_handover(struct cs_stream *s, int fd, bool chunked)
{
	struct logs *l = cs_container_of(s, struct logs, stream);
	cs_autoerr struct cs_err *err = NULL;
	struct cs_log_pos at;

	if (!l->c || l->ended || l->spill_len)
		return false;
	if ((l->o.details && !l->details) || !cs_log_files_position(l->files, &at)) {
		if (l->stopped)
			stay(l);
		return false;
	}
	if (hand_over(l, &at, fd, chunked, &err) < 0) {
		cs_debug("engine", "a followed log stays here: %s", err ? err->msg : "?");
		/* a time-out does not tell whether the worker has it: then the connection must end, or a line could come twice */
		l->ended = cs_err_code(err) == CS_ERR_TIMEOUT;
		if (++l->attempts >= HANDOVER_ATTEMPTS || l->token || cs_err_code(err) == CS_ERR_UNSUPPORTED)
			stay(l);
		return false;
	}
	(void)poll_for(l->epoll, EPOLL_CTL_DEL, l->inotify);
	(void)poll_for(l->epoll, EPOLL_CTL_DEL, l->wait->ops->poll_fd(l->wait));
	cs_close(l->inotify);
	l->inotify = -EBADF;
	cs_log_files_free(l->files);
	l->files = NULL;
	l->token = 0;
	stay(l);
	return true;
}

/* Handed over: only the end is ours. Who has seen the end of the log also sees that the container has ended. */
static ssize_t read_peer(struct logs *l)
{
	char word = 0, answer[64];

	if (!l->told) {
		ssize_t n = recv(l->peer, &word, 1, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return -EAGAIN;
		if (n <= 0)
			return -EPIPE;
		l->told = true;
		l->until_told = word == HCS_FOLLOW_UNTIL;
		if (poll_for(l->epoll, EPOLL_CTL_ADD, l->wait->ops->poll_fd(l->wait)) < 0)
			return 0;
	}
	return !l->until_told && l->wait->ops->read(l->wait, answer, sizeof(answer)) == -EAGAIN ? -EAGAIN : 0;
}

static ssize_t logs_read(struct cs_stream *s, void *buf, size_t max)
{
	struct logs *l = cs_container_of(s, struct logs, stream);
	char *out = buf;

	if (l->peer >= 0)
		return read_peer(l);
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

	if (!l->following || !l->o.until || l->peer >= 0)
		return -1;
	return cs_monotonic_ns() + CS_MAX(l->o.until - cs_now_ns(), 0) + CS_NS_PER_MS;
}

static void logs_free(struct cs_stream *s)
{
	struct logs *l = cs_container_of(s, struct logs, stream);

	static const char done = HCS_FOLLOW_DONE;

	if (l->told)
		(void)!send(l->peer, &done, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	cs_close(l->peer);
	stay(l);
	free(l->details);
	cs_log_files_free(l->files);
	cs_stream_free(l->wait);
	cs_close(l->inotify);
	cs_close(l->epoll);
	free(l->spill);
	free(l);
}

static const struct cs_stream_ops logs_ops = {.read = logs_read, .poll_fd = logs_poll_fd, .deadline = logs_deadline, .free = logs_free, .handover = logs_handover};

/* Before the files are opened: from here on nothing that is rotated away is lost to us. */
static void keep_for_worker(struct logs *l, struct cs_container *c)
{
	cs_autoerr struct cs_err *err = NULL;
	struct cs_log_pos at;
	int64_t when;

	cs_autosystem struct cs_system *s = cs_container_system(c);
	if (!s)
		return;
	if (cs_stdio_reserve(s, "\"LogOnly\":true", &l->token, &at, &when, &err) < 0) {
		cs_logk(CS_LOG_DEBUG, "engine", "container", c->id, "follow the log: %s", err ? err->msg : "?");
		l->token = 0;
		return;
	}
	l->c = cs_container_ref(c);
	l->run = s->run;
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
	    poll_for(l->epoll, EPOLL_CTL_ADD, l->inotify) < 0 || poll_for(l->epoll, EPOLL_CTL_ADD, l->wait->ops->poll_fd(l->wait)) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "follow the log of container %s", c->id);
	l->following = true;
	if (l->o.plain)
		keep_for_worker(l, c);
	return 0;
}

void cs_container_logs_go_on(struct cs_stream *s)
{
	struct logs *l = cs_container_of(s, struct logs, stream);

	l->ended = false;
	cs_log_files_limit(l->files, NULL, 0);
}

int cs_container_logs(struct cs_engine *e, const char *ref, const struct cs_logs_opts *o, bool *ret_tty, struct cs_stream **ret, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;

	if (!o->want_stdout && !o->want_stderr)
		return cs_fail(err, CS_ERR_INVALID, 0, "Bad parameters: you must choose at least one stream");
	if (cs_container_get(e, ref, &c, err) < 0)
		return -1;
	pthread_mutex_lock(&c->lock);
	bool dead = c->removing || c->dead, running = c->status == CS_ST_RUNNING;
	pthread_mutex_unlock(&c->lock);
	if (dead)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "can not get logs from container which is dead or marked for removal");
	if (!c->log_path || cs_streq(c->log_driver, "none"))
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "configured logging driver does not support reading");
	struct logs *l = cs_xcalloc(1, sizeof(*l));
	l->stream.ops = &logs_ops;
	l->o = *o;
	l->framed = !c->tty;
	l->inotify = l->epoll = l->peer = -EBADF;
	/* the watch first, then the files: a change between the two is seen twice rather than never */
	if ((o->follow && running && start_following(l, c, err) < 0) ||
	    cs_log_files_open(c->log_path, !cs_streq(c->log_driver, "local"), o->tail, l->following, &l->files, err) < 0) {
		logs_free(&l->stream);
		return -1;
	}
	if (l->token)
		cs_log_files_hold(l->files, true);
	if (o->end)
		cs_log_files_limit(l->files, o->end, o->end_at);
	l->o.end = NULL;
	*ret_tty = c->tty;
	*ret = &l->stream;
	return 0;
}
