/* SPDX-License-Identifier: Apache-2.0
 *
 * Layer candidates of an archive. The thread that reads the archive hashes each one and writes it into the content store; a few workers unpack
 * what is there already, from the page cache, while the reader is at the next. So layers are unpacked side by side although the archive has them
 * one after the other, and nothing waits for the manifest, which most archives have at their end. */
#include "engine/load_internal.h"

#include "base/guard.h"
#include "base/time.h"

/* ---- unpacking ---- */
struct feed { /* a stored blob on its way to its stage */
	struct cs_load_session *l;
	struct candidate *c;
	int fd;
	bool own; /* by the session's thread, which tells the client meanwhile */
};

static ssize_t read_blob(void *ctx, void *buf, size_t max)
{
	struct feed *f = ctx;
	ssize_t n;

	if (load_cancelled(f->l) || (f->own && load_tick(f->l, NULL) < 0))
		return -ECANCELED;
	do
		n = read(f->fd, buf, max);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	atomic_fetch_add(&f->c->got, n);
	return n;
}

static int unpack(struct cs_load_session *l, struct candidate *c, bool own, struct cs_layer_stage **stage, struct cs_layer_result *res, struct cs_err **err)
{
	cs_autofd int fd = -EBADF;
	bool foreign = c->kind == CS_CONTENT_FOREIGN; /* a layer may not be bzip2 or xz: it is kept as gzip */

	if (cs_blob_open(l->m->storage, &c->blob, &fd, NULL, err) < 0)
		return -1;
	struct feed feed = {.l = l, .c = c, .fd = fd, .own = own};
	atomic_store(&c->got, 0);
	struct cs_layer_source src = {.read = read_blob, .ctx = &feed, .store_blob = foreign, .diff_id = c->kind == CS_CONTENT_TAR ? &c->blob : NULL, .verified = true};
	if (cs_layer_stage(l->m->storage, &src, stage, res, err) < 0)
		return cs_wrap(err, "layer %s", c->blob.s);
	if (!foreign) {
		res->blob = c->blob;
		res->blob_size = c->size;
	}
	return 0;
}

/* Under the lock, which is let go while it works. */
static void run_job(struct cs_load_session *l, struct candidate *c, bool own)
{
	struct cs_layer_stage *stage = NULL;
	struct cs_layer_result res = {0};
	struct cs_err *e = NULL;

	c->state = CAND_RUNNING;
	pthread_mutex_unlock(&l->lock);
	int r = unpack(l, c, own, &stage, &res, &e);
	pthread_mutex_lock(&l->lock);
	c->stage = stage;
	c->result = res;
	c->err = e;
	c->state = r < 0 ? CAND_FAILED : CAND_DONE;
	pthread_cond_broadcast(&l->done);
}

static struct candidate *next_job(struct cs_load_session *l)
{
	struct candidate *c = l->jobs;

	if (c) {
		l->jobs = c->next_job;
		if (!l->jobs)
			l->last_job = &l->jobs;
	}
	return c;
}

static void *worker(void *arg)
{
	struct cs_load_session *l = arg;

	pthread_mutex_lock(&l->lock);
	while (!l->stop) {
		struct candidate *c = next_job(l);
		if (c)
			run_job(l, c, false);
		else
			pthread_cond_wait(&l->work, &l->lock);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

void load_workers_init(struct cs_load_session *l)
{
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->work, NULL);
	cs_cond_init(&l->done);
	l->last_job = &l->jobs;
}

void load_unpack(struct cs_load_session *l, struct candidate *c)
{
	pthread_mutex_lock(&l->lock);
	if (c->state == CAND_IDLE) {
		c->state = CAND_QUEUED;
		c->next_job = NULL;
		*l->last_job = c;
		l->last_job = &c->next_job;
		/* without a thread, whoever wants the stage does the work */
		if (l->n_threads < LOAD_WORKERS && pthread_create(&l->threads[l->n_threads], NULL, worker, l) == 0)
			l->n_threads++;
		pthread_cond_signal(&l->work);
	}
	pthread_mutex_unlock(&l->lock);
}

void load_workers_done(struct cs_load_session *l)
{
	struct candidate *c, *next;

	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_cond_broadcast(&l->work);
	pthread_mutex_unlock(&l->lock);
	for (unsigned i = 0; i < l->n_threads; i++)
		(void)pthread_join(l->threads[i], NULL);
	for (c = l->candidates; c; c = next) {
		next = c->next;
		cs_layer_drop(c->stage);
		cs_err_free(c->err);
		free(c->same.media_type);
		free(c);
	}
	pthread_mutex_destroy(&l->lock);
	pthread_cond_destroy(&l->work);
	pthread_cond_destroy(&l->done);
}

/* Under the lock. Takes a job that nobody has begun out of the queue. */
static void unqueue(struct cs_load_session *l, struct candidate *c)
{
	struct candidate **p = &l->jobs;

	while (*p && *p != c)
		p = &(*p)->next_job;
	if (!*p)
		return;
	*p = c->next_job;
	if (l->last_job == &c->next_job)
		l->last_job = p;
}

/* Under the lock: until something may have changed, or there is something to tell. */
static int wait_a_tick(struct cs_load_session *l, struct cs_err **err)
{
	int64_t until = cs_monotonic_ns() + LOAD_TICK_MS * CS_NS_PER_MS;
	const struct timespec ts = {until / CS_NS_PER_SEC, until % CS_NS_PER_SEC};

	if (pthread_cond_timedwait(&l->done, &l->lock, &ts) != ETIMEDOUT)
		return 0;
	pthread_mutex_unlock(&l->lock); /* a slow client holds us up, not the workers */
	int r = load_tick(l, err);
	pthread_mutex_lock(&l->lock);
	return r;
}

/* Under the lock, until the result is there. */
static int settle(struct cs_load_session *l, struct candidate *c, struct cs_err **err)
{
	if (c->state == CAND_IDLE || c->state == CAND_QUEUED) {
		/* better here and now than after all that is queued before it */
		unqueue(l, c);
		run_job(l, c, true);
	}
	while (c->state == CAND_RUNNING) {
		if (wait_a_tick(l, err) < 0)
			return -1;
	}
	if (c->state == CAND_FAILED) {
		c->state = CAND_IDLE;
		return cs_err_move(err, TAKE_PTR(c->err));
	}
	return 0;
}

int load_take_stage(struct cs_load_session *l, struct candidate *c, struct cs_layer_stage **ret, struct cs_layer_result *res, struct cs_err **err)
{
	pthread_mutex_lock(&l->lock);
	if (c->state == CAND_DONE && !c->stage)
		c->state = CAND_IDLE; /* it went into another image of this archive */
	int r = settle(l, c, err);
	if (r == 0) {
		*ret = TAKE_PTR(c->stage);
		*res = c->result;
	}
	pthread_mutex_unlock(&l->lock);
	return r;
}

int load_diff_id(struct cs_load_session *l, struct candidate *c, struct cs_digest *ret, struct cs_err **err)
{
	if (c->kind == CS_CONTENT_TAR) {
		*ret = c->blob;
		return 0;
	}
	if (c->known) {
		*ret = c->same.diff;
		return 0;
	}
	pthread_mutex_lock(&l->lock);
	int r = settle(l, c, err);
	if (r == 0)
		*ret = c->result.diff_id;
	pthread_mutex_unlock(&l->lock);
	return r;
}

/* ---- reading ---- */
/* A layer of an image that we have: one that is stored as this very blob, or also one whose tar this is. */
static bool find_same(struct cs_images *m, const struct cs_digest *d, bool tar_too, struct cs_image_layer *ret)
{
	struct cs_image_rec *r, *next;
	bool found = false;

	pthread_rwlock_rdlock(&m->lock);
	HASH_ITER(hh, m->by_id, r, next)
	{
		for (size_t i = 0; i < r->n_layers && !found; i++) {
			const struct cs_image_layer *y = &r->layers[i];
			if (strcmp(y->blob.s, d->s) != 0 && !(tar_too && strcmp(y->diff.s, d->s) == 0))
				continue;
			*ret = *y;
			ret->media_type = cs_xstrdup(y->media_type);
			found = true;
		}
		if (found)
			break;
	}
	pthread_rwlock_unlock(&m->lock);
	return found;
}

static bool blob_exists(struct cs_images *m, const struct cs_digest *d)
{
	int fd;

	if (cs_blob_open(m->storage, d, &fd, NULL, NULL) < 0)
		return false;
	cs_close(fd);
	return true;
}

/* All of the entry's data to w, or only into its digest when w is NULL. */
static int pour(struct cs_load_session *l, const void *head, size_t head_len, struct cs_blob_writer *w, struct cs_hash *h, int64_t *size, struct cs_err **err)
{
	const void *p = head;
	size_t n = head_len;

	do {
		if (w && cs_blob_write(w, p, n, err) < 0)
			return -1;
		if (h)
			cs_hash_update(h, p, n);
		*size += (int64_t)n;
		if (cs_archive_in_data(l->archive, &p, &n, err) < 0)
			return -1;
	} while (n);
	return 0;
}

static int verify_only(struct cs_load_session *l, const void *head, size_t head_len, const struct cs_digest *want, int64_t *size, struct cs_err **err)
{
	struct cs_hash *h = cs_hash_new();
	struct cs_digest is;

	int r = pour(l, head, head_len, NULL, h, size, err);
	cs_hash_done(h, r < 0 ? NULL : &is);
	return r < 0 ? -1 : cs_digest_expect(&is, want, err);
}

static int store(struct cs_load_session *l, const void *head, size_t head_len, const struct cs_digest *want, struct cs_digest *ret, int64_t *size, struct cs_err **err)
{
	struct cs_blob_writer *w;

	if (cs_blob_begin(l->m->storage, &w, err) < 0)
		return -1;
	if (pour(l, head, head_len, w, NULL, size, err) < 0) {
		cs_blob_abort(w);
		return -1;
	}
	return cs_blob_commit(w, want, ret, NULL, err);
}

int load_blob(struct cs_load_session *l, const void *head, size_t head_len, const struct cs_digest *want, struct cs_err **err)
{
	struct cs_digest is;
	int64_t size = 0;

	l->stray = true;
	return store(l, head, head_len, want, &is, &size, err);
}

int load_candidate(struct cs_load_session *l, const void *head, size_t head_len, enum cs_content_kind kind, const struct cs_digest *name_digest,
		   struct candidate **ret, struct cs_err **err)
{
	struct candidate *c = cs_xcalloc(1, sizeof(*c));
	int r;

	c->kind = kind;
	c->next = l->candidates;
	l->candidates = c;
	if (name_digest && find_same(l->m, name_digest, false, &c->same) && blob_exists(l->m, name_digest)) {
		c->known = true;
		c->blob = *name_digest;
		r = verify_only(l, head, head_len, name_digest, &c->size, err);
	} else {
		free(TAKE_PTR(c->same.media_type));
		r = store(l, head, head_len, name_digest, &c->blob, &c->size, err);
		c->known = r == 0 && find_same(l->m, &c->blob, true, &c->same);
	}
	*ret = c;
	return r;
}
