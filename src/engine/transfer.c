/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of transfers and the threads that work it off. */
#include "engine/transfer.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/guard.h"
#include "base/log.h"
#include "base/time.h"
#include "engine/image_internal.h"

#define STACK (512u << 10)

struct cs_transfer {
	struct cs_transfers *ts;
	struct cs_transfer_want want;
	struct cs_session *session;
	unsigned holders;
	bool running, cancelled, published, waiting;
	bool no_keep; /* the disk is full: what came of it goes, too */
	atomic_bool stop; /* with cancel_fd, for those who do not wait on descriptors */
	enum cs_transfer_phase phase;
	atomic_llong got;
	unsigned retries, pause_s;
	int64_t size;
	int cancel_fd;
	struct cs_layer_stage *stage;
	struct cs_err *err;
	struct cs_transfer *next; /* in the table, oldest first */
};

struct cs_transfers {
	struct cs_images *m;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct cs_transfer *list;
	unsigned threads, changes;
	bool closing;
};

/* lock held */
static void announce(struct cs_transfers *ts)
{
	ts->changes++;
	pthread_cond_broadcast(&ts->changed);
}

/* ---- sessions ---- */
static void on_retry(void *ctx, const char *digest, unsigned seconds)
{
	struct cs_session *s = ctx;
	CS_GUARD(&s->ts->lock);

	for (struct cs_transfer *t = s->ts->list; t; t = t->next) {
		if (t->running && strcmp(t->want.blob.s, digest) == 0) {
			t->retries++;
			t->pause_s = seconds;
		}
	}
	announce(s->ts);
}

int cs_session_open(struct cs_transfers *ts, struct cs_registry *reg, const struct cs_repo_options *o, struct cs_session **ret, struct cs_err **err)
{
	struct cs_session *s = cs_xcalloc(1, sizeof(*s));
	struct cs_repo_options mine = *o;

	atomic_init(&s->refs, 1);
	s->ts = ts;
	/* the session may outlive the one who opened it */
	s->cancel_fd = o->cancel_fd >= 0 ? fcntl(o->cancel_fd, F_DUPFD_CLOEXEC, 3) : -EBADF;
	mine.cancel_fd = s->cancel_fd >= 0 ? s->cancel_fd : -1;
	mine.on_retry = on_retry;
	mine.ctx = s;
	if (cs_repo_open(reg, &mine, &s->repo, err) < 0) {
		cs_session_unref(s);
		return -1;
	}
	*ret = s;
	return 0;
}

struct cs_session *cs_session_ref(struct cs_session *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void cs_session_unref(struct cs_session *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	cs_repo_close(s->repo);
	cs_close(s->cancel_fd);
	free(s);
}

/* ---- one transfer ---- */
static void set_phase(struct cs_transfer *t, enum cs_transfer_phase phase)
{
	CS_GUARD(&t->ts->lock);
	t->phase = phase;
	announce(t->ts);
}

struct source {
	struct cs_transfer *t;
	struct cs_remote_blob *remote; /* or NULL: fd alone */
	int fd;                        /* first: the blob, or what an earlier transfer got of it */
	struct cs_blob_writer *resumed; /* which has that, too */
	bool fetched, ended, broken;   /* fetched: not from our own store */
};

static ssize_t read_local(int *fd, void *buf, size_t max)
{
	ssize_t n;

	do
		n = read(*fd, buf, max);
	while (n < 0 && errno == EINTR);
	n = n < 0 ? -errno : n;
	if (n == 0)
		cs_close(TAKE_FD(*fd));
	return n;
}

static ssize_t source_read(void *ctx, void *buf, size_t max)
{
	struct source *s = ctx;
	ssize_t n = 0;

	s->broken = true; /* until it went well */
	if (atomic_load(&s->t->stop)) /* a local source would go on to its end */
		return -ECANCELED;
	if (s->fd >= 0)
		n = read_local(&s->fd, buf, max);
	if (n == 0 && s->remote)
		n = cs_remote_blob_read(s->remote, buf, max);
	if (n < 0)
		return n;
	s->broken = false;
	if (s->fetched)
		atomic_fetch_add(&s->t->got, n);
	if (n == 0 && !s->ended) {
		s->ended = true;
		set_phase(s->t, CS_TR_EXTRACTING);
	}
	return n;
}

static int copy_blob(struct cs_transfer *t, struct source *src, struct cs_err **err)
{
	struct cs_blob_writer *w = TAKE_PTR(src->resumed);
	cs_autofree char *buf = cs_xmalloc(128u << 10);
	ssize_t n = 0;
	int r = 0;

	if (!w && cs_blob_begin(t->ts->m->storage, &w, err) < 0)
		return -1;
	while (r == 0 && (n = source_read(src, buf, 128u << 10)) > 0)
		r = cs_blob_write(w, buf, (size_t)n, err);
	if (r == 0 && n == 0)
		return cs_blob_commit(w, &t->want.blob, NULL, NULL, err);
	if (src->broken)
		cs_blob_keep(w, &t->want.blob);
	else
		cs_blob_abort(w);
	return r < 0 ? -1 : cs_fail(err, CS_ERR_INTERNAL, (int)-n, "read");
}

static int stage_layer(struct cs_transfer *t, struct source *src, struct cs_err **err)
{
	struct cs_layer_result res;
	struct cs_layer_source ls = {.read = source_read, .ctx = src, .diff_id = &t->want.diff, .store_blob = src->fetched, .keep_broken = src->fetched,
				     .resumed = TAKE_PTR(src->resumed)};

	if (src->fetched)
		ls.blob = &t->want.blob;
	struct cs_layer_stage *stage;
	if (cs_layer_stage(t->ts->m->storage, &ls, &stage, &res, err) < 0)
		return -1;
	CS_GUARD(&t->ts->lock);
	t->stage = stage;
	t->size = res.size;
	return 0;
}

/* What an earlier transfer has left, and the registry for the rest. have: so much is there. */
static int open_source(struct cs_transfer *t, struct source *src, int64_t *have, struct cs_err **err)
{
	*have = 0;
	src->fetched = true;
	if (cs_blob_resume(t->ts->m->storage, &t->want.blob, t->want.size, &src->resumed, &src->fd, have) == 0)
		cs_logk(CS_LOG_DEBUG, "image", "blob", t->want.blob.s, "goes on at byte %lld of %lld", (long long)*have, (long long)t->want.size);
	if (*have && *have == t->want.size)
		return 0;
	if (cs_remote_blob_open_at(t->session->repo, t->want.blob.s, t->want.size, *have, t->cancel_fd, &src->remote, err) == 0)
		return 0;
	cs_blob_keep(TAKE_PTR(src->resumed), &t->want.blob);
	return -1;
}

static int fetch(struct cs_transfer *t, bool *ret_again, struct cs_err **err)
{
	struct source src = {.t = t, .fd = -EBADF};
	bool local = cs_blob_open(t->ts->m->storage, &t->want.blob, &src.fd, NULL, NULL) == 0;
	int64_t have = 0;
	int r = 0;

	if (!local && (r = open_source(t, &src, &have, err)) < 0) {
		cs_close(src.fd);
		return r;
	}
	if (!local || t->want.chain.s[0])
		r = t->want.chain.s[0] ? stage_layer(t, &src, err) : copy_blob(t, &src, err);
	*ret_again = r < 0 && have && !src.broken; /* what was kept may be what is wrong */
	if (r < 0 && src.remote && cs_remote_blob_error(src.remote)) {
		/* the rest only follows from it */
		if (err) {
			cs_err_free(*err);
			*err = NULL;
		}
		r = cs_remote_blob_take_error(src.remote, err);
	} else if (r < 0 && !(src.fetched && t->want.chain.s[0])) {
		cs_wrap(err, "layer %s", t->want.blob.s); /* storage names the blob of a layer that it takes in */
	}
	cs_remote_blob_close(src.remote);
	cs_close(src.fd);
	return r;
}

static int transfer(struct cs_transfer *t, struct cs_err **err)
{
	bool again = false;
	int r = fetch(t, &again, err);

	if (r == 0 || !again)
		return r;
	cs_logk(CS_LOG_INFO, "image", "blob", t->want.blob.s, "what was kept of it is damaged: all of it again");
	if (err) {
		cs_err_free(*err);
		*err = NULL;
	}
	atomic_store(&t->got, 0);
	set_phase(t, CS_TR_DOWNLOADING);
	return fetch(t, &again, err);
}

/* ---- the table; lock held ---- */
static void unlink_transfer(struct cs_transfers *ts, struct cs_transfer *t)
{
	struct cs_transfer **p = &ts->list;

	while (*p && *p != t)
		p = &(*p)->next;
	if (*p)
		*p = t->next;
}

static void transfer_free(struct cs_transfer *t)
{
	cs_layer_drop(t->stage);
	cs_session_unref(t->session);
	cs_err_free(t->err);
	cs_close(t->cancel_fd);
	free(t);
}

static void cancel(struct cs_transfer *t)
{
	atomic_store(&t->stop, true);
	if (t->cancel_fd >= 0)
		(void)eventfd_write(t->cancel_fd, 1);
}

/* The oldest that may run: two of the same blob would fetch it twice, so the second waits until the first has it. */
static struct cs_transfer *next_to_run(struct cs_transfers *ts)
{
	for (struct cs_transfer *t = ts->list; t; t = t->next) {
		bool same = false;
		if (t->phase != CS_TR_QUEUED || t->running || t->cancelled)
			continue;
		for (struct cs_transfer *o = ts->list; o && !same; o = o->next)
			same = o->running && strcmp(o->want.blob.s, t->want.blob.s) == 0;
		if (!same)
			return t;
	}
	return NULL;
}

static void sweep(struct cs_images *m)
{
	CS_GUARD(&m->write);
	cs_images_sweep(m);
}

static void *work(void *arg)
{
	struct cs_transfers *ts = arg;
	struct cs_transfer *t;

	pthread_mutex_lock(&ts->lock);
	while (!ts->closing && (t = next_to_run(ts))) {
		struct cs_err *err = NULL;
		t->running = true;
		t->phase = CS_TR_DOWNLOADING;
		announce(ts);
		pthread_mutex_unlock(&ts->lock);
		int r = transfer(t, &err);
		bool full = r < 0 && cs_err_code(err) == CS_ERR_NO_SPACE;
		pthread_mutex_lock(&ts->lock);
		for (struct cs_transfer *o = ts->list; full && o; o = o->next)
			o->no_keep = o->no_keep || o->running;
		if (full)
			(void)cs_partials_clean(ts->m->storage, true);
		else if (t->no_keep)
			cs_partial_drop(ts->m->storage, &t->want.blob);
		t->running = false;
		t->phase = r < 0 ? CS_TR_FAILED : CS_TR_READY;
		t->err = err;
		if (t->holders == 0) {
			unlink_transfer(ts, t);
			pthread_mutex_unlock(&ts->lock);
			transfer_free(t);
			sweep(ts->m); /* a blob that it had finished is nobody's */
			pthread_mutex_lock(&ts->lock);
		}
		announce(ts);
	}
	ts->threads--;
	announce(ts);
	pthread_mutex_unlock(&ts->lock);
	return NULL;
}

static unsigned limit(struct cs_transfers *ts)
{
	int64_t n = cs_engine_config(ts->m->e)->max_concurrent_downloads;
	return n > 0 && n < 100 ? (unsigned)n : 3;
}

/* Returns whether one more runs now. */
static bool spawn(struct cs_transfers *ts)
{
	pthread_attr_t attr;
	pthread_t th;

	if (ts->threads >= limit(ts) || ts->closing)
		return false;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	/* without a thread, those that run (or the next pull) take it on */
	bool started = pthread_create(&th, &attr, work, ts) == 0;
	ts->threads += started;
	pthread_attr_destroy(&attr);
	return started;
}

struct cs_transfer *cs_transfer_get(struct cs_transfers *ts, const struct cs_transfer_want *want, struct cs_session *s)
{
	struct cs_transfer **p;
	CS_GUARD(&ts->lock);

	for (p = &ts->list; *p; p = &(*p)->next) {
		struct cs_transfer *t = *p;
		if (strcmp(t->want.chain.s, want->chain.s) == 0 && strcmp(t->want.blob.s, want->blob.s) == 0 && !t->cancelled && t->phase != CS_TR_FAILED) {
			t->holders++;
			return t;
		}
	}
	struct cs_transfer *t = cs_xcalloc(1, sizeof(*t));
	t->ts = ts;
	t->want = *want;
	t->session = cs_session_ref(s);
	t->holders = 1;
	t->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->cancel_fd < 0) {
		t->phase = CS_TR_FAILED;
		cs_fail(&t->err, CS_ERR_INTERNAL, errno, "event descriptor");
	}
	*p = t;
	t->waiting = !spawn(ts);
	return t;
}

void cs_transfer_put(struct cs_transfers *ts, struct cs_transfer *t)
{
	if (!t)
		return;
	pthread_mutex_lock(&ts->lock);
	if (--t->holders > 0) {
		pthread_mutex_unlock(&ts->lock);
		return;
	}
	t->cancelled = true;
	if (t->running) {
		cancel(t);
		t = NULL; /* its thread frees it */
	} else {
		unlink_transfer(ts, t);
	}
	pthread_mutex_unlock(&ts->lock);
	if (t)
		transfer_free(t);
}

void cs_transfer_state(struct cs_transfers *ts, struct cs_transfer *t, struct cs_transfer_state *ret)
{
	CS_GUARD(&ts->lock);
	*ret = (struct cs_transfer_state){
		.phase = t->phase, .waiting = t->waiting, .got = atomic_load(&t->got), .size = t->size, .retries = t->retries, .pause_s = t->pause_s};
}

void cs_transfers_wait(struct cs_transfers *ts, unsigned *seen, int timeout_ms)
{
	struct timespec until;
	int r = 0;
	CS_GUARD(&ts->lock);

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	int64_t ns = until.tv_nsec + timeout_ms * CS_NS_PER_MS;
	until.tv_sec += ns / CS_NS_PER_SEC;
	until.tv_nsec = ns % CS_NS_PER_SEC;
	while (r == 0 && ts->changes == *seen)
		r = pthread_cond_timedwait(&ts->changed, &ts->lock, &until);
	*seen = ts->changes;
}

int cs_transfer_error(struct cs_transfers *ts, struct cs_transfer *t, struct cs_err **err)
{
	CS_GUARD(&ts->lock);
	cs_autofree char *text = t->err ? cs_err_text(t->err) : cs_xstrdup("the transfer failed");
	return cs_fail(err, t->err ? cs_err_code(t->err) : CS_ERR_INTERNAL, 0, "%s", text);
}

/* Stages first..last-1, one on top of the other. m->publish is held. */
static int publish_run(struct cs_transfers *ts, struct cs_transfer *const *t, const struct cs_digest *chains, size_t first, size_t last, struct cs_err **err)
{
	struct cs_layer_stage **v = cs_xcalloc(last - first, sizeof(struct cs_layer_stage *));
	bool all = true;

	pthread_mutex_lock(&ts->lock);
	for (size_t i = first; i < last; i++)
		all = all && t[i]->stage;
	for (size_t i = first; all && i < last; i++)
		v[i - first] = TAKE_PTR(t[i]->stage);
	pthread_mutex_unlock(&ts->lock);
	int r = all ? cs_layers_publish(v, last - first, first ? &chains[first - 1] : NULL, NULL, err) :
		      cs_fail(err, CS_ERR_INTERNAL, 0, "layer %s could not be stored", t[first]->want.blob.s);
	free(v);
	pthread_mutex_lock(&ts->lock);
	for (size_t i = first; r == 0 && i < last; i++)
		t[i]->published = true;
	pthread_mutex_unlock(&ts->lock);
	return r;
}

int cs_transfers_publish(struct cs_transfers *ts, struct cs_transfer *const *t, const struct cs_digest *chains, size_t n, struct cs_err **err)
{
	CS_GUARD(&ts->m->publish);
	for (size_t i = 0; i < n;) {
		size_t first = i;
		while (i < n && t[i] && t[i]->want.chain.s[0] && !t[i]->published)
			i++;
		if (i > first && publish_run(ts, t, chains, first, i, err) < 0)
			return -1;
		if (i == first)
			i++;
	}
	return 0;
}

struct cs_transfers *cs_transfers_new(struct cs_images *m)
{
	struct cs_transfers *ts = cs_xcalloc(1, sizeof(*ts));

	ts->m = m;
	pthread_mutex_init(&ts->lock, NULL);
	cs_cond_init(&ts->changed);
	return ts;
}

void cs_transfers_free(struct cs_transfers *ts)
{
	if (!ts)
		return;
	pthread_mutex_lock(&ts->lock);
	ts->closing = true;
	for (struct cs_transfer *t = ts->list; t; t = t->next)
		cancel(t);
	while (ts->threads > 0)
		pthread_cond_wait(&ts->changed, &ts->lock);
	bool idle = !ts->list;
	pthread_mutex_unlock(&ts->lock);
	if (!idle)
		return; /* a pull is still about; the process ends */
	pthread_mutex_destroy(&ts->lock);
	pthread_cond_destroy(&ts->changed);
	free(ts);
}
