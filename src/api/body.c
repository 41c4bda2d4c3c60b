/* SPDX-License-Identifier: Apache-2.0
 *
 * A large body on its way from the connection's thread to its handler, in whole blocks: two threads that hand over each piece of a few
 * KiB wait for each other, and for the scheduler, most of the time. The handler works in the block itself. One writer, one reader. */
#include "api/body.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/guard.h"
#include "base/macros.h"
#include "base/time.h"

#define BLOCK (512u << 10)
#define BLOCKS 4u
#define STEP_MS 200 /* how late a reader notices the end of the daemon */

static atomic_bool stopping;

struct cs_body {
	atomic_int refs;
	pthread_mutex_t lock;
	pthread_cond_t can_read, can_write;
	/* under lock: numbers only grow; block n is at n % BLOCKS. taken <= full; the reader works in block taken - 1. */
	size_t full, taken, done;
	bool ended, closed;
	int error;
	/* the reader's */
	const char *rest;
	size_t n_rest;
	/* the writer's, while it is not full */
	size_t fill;
	size_t len[BLOCKS];
	char *block[BLOCKS];
};

struct cs_body *cs_body_new(void)
{
	struct cs_body *b = cs_xcalloc(1, sizeof(*b));

	atomic_init(&b->refs, 1);
	pthread_mutex_init(&b->lock, NULL);
	cs_cond_init(&b->can_read);
	pthread_cond_init(&b->can_write, NULL);
	return b;
}

struct cs_body *cs_body_ref(struct cs_body *b)
{
	atomic_fetch_add(&b->refs, 1);
	return b;
}

void cs_body_free(struct cs_body *b)
{
	if (!b || atomic_fetch_sub(&b->refs, 1) > 1)
		return;
	for (size_t i = 0; i < BLOCKS; i++)
		free(b->block[i]);
	pthread_mutex_destroy(&b->lock);
	pthread_cond_destroy(&b->can_read);
	pthread_cond_destroy(&b->can_write);
	free(b);
}

/* Hands the current block over. Under lock. */
static void push(struct cs_body *b)
{
	b->len[b->full % BLOCKS] = b->fill;
	b->full++;
	b->fill = 0;
	pthread_cond_signal(&b->can_read);
}

int cs_body_put(struct cs_body *b, const char *data, size_t len)
{
	while (len) {
		pthread_mutex_lock(&b->lock);
		if (b->fill == BLOCK)
			push(b);
		while (!b->closed && b->full - b->done == BLOCKS)
			pthread_cond_wait(&b->can_write, &b->lock);
		bool closed = b->closed;
		char **block = &b->block[b->full % BLOCKS]; /* ours until it is pushed */
		pthread_mutex_unlock(&b->lock);
		if (closed)
			return -EPIPE;
		if (!*block)
			*block = cs_xmalloc(BLOCK);
		size_t n = CS_MIN(len, BLOCK - b->fill);
		memcpy(*block + b->fill, data, n);
		b->fill += n;
		data += n;
		len -= n;
	}
	return 0;
}

void cs_body_end(struct cs_body *b, int error)
{
	pthread_mutex_lock(&b->lock);
	if (!b->ended) {
		if (b->fill)
			push(b);
		b->ended = true;
		b->error = error;
		pthread_cond_signal(&b->can_read);
	}
	pthread_mutex_unlock(&b->lock);
}

ssize_t cs_body_next(struct cs_body *b, const void **ret, int timeout_ms)
{
	int64_t until = cs_monotonic_ns() + timeout_ms * CS_NS_PER_MS;
	const struct timespec ts = {until / CS_NS_PER_SEC, until % CS_NS_PER_SEC};
	ssize_t r = 0;

	if (atomic_load(&stopping))
		return -ECANCELED;
	pthread_mutex_lock(&b->lock);
	b->done = b->taken;
	pthread_cond_signal(&b->can_write);
	while (b->full == b->taken && !b->ended && r == 0)
		r = pthread_cond_timedwait(&b->can_read, &b->lock, &ts) == ETIMEDOUT ? -EAGAIN : 0;
	if (b->full > b->taken) {
		*ret = b->block[b->taken % BLOCKS];
		r = (ssize_t)b->len[b->taken % BLOCKS];
		b->taken++;
	} else if (b->ended) {
		r = b->error;
	}
	pthread_mutex_unlock(&b->lock);
	return r;
}

ssize_t cs_body_read(struct cs_body *b, void *buf, size_t max)
{
	while (b->n_rest == 0) {
		const void *piece = NULL;
		ssize_t n = cs_body_next(b, &piece, STEP_MS);
		if (n == -EAGAIN)
			continue;
		if (n <= 0 || !piece)
			return n;
		b->rest = piece;
		b->n_rest = (size_t)n;
	}
	size_t n = CS_MIN(max, b->n_rest);
	memcpy(buf, b->rest, n);
	b->rest += n;
	b->n_rest -= n;
	return (ssize_t)n;
}

void cs_body_close(struct cs_body *b)
{
	pthread_mutex_lock(&b->lock);
	b->closed = true;
	pthread_cond_signal(&b->can_write);
	pthread_mutex_unlock(&b->lock);
}

void cs_body_stop_all(void) { atomic_store(&stopping, true); }
