/* SPDX-License-Identifier: Apache-2.0
 *
 * A ring under one mutex. Both sides copy under the lock: the pieces are large (tens of KiB), so the lock is taken rarely; the two
 * threads work on their data between the calls. */
#include "base/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/io.h"
#include "base/macros.h"
#include "base/error.h"

struct cs_queue {
	pthread_mutex_t lock;
	pthread_cond_t can_read, can_write;
	size_t cap, len, head; /* head: next byte to read */
	size_t wake_at;        /* bytes that are worth waking the reader for */
	bool ended, closed;
	int error;
	int event_fd; /* -1 until somebody polls */
	char *buf;
};

struct cs_queue *cs_queue_new(size_t capacity)
{
	struct cs_queue *q = cs_xcalloc(1, sizeof(*q));

	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->can_read, NULL);
	pthread_cond_init(&q->can_write, NULL);
	q->cap = capacity;
	q->wake_at = 1;
	q->event_fd = -1;
	q->buf = cs_xmalloc(capacity);
	return q;
}

void cs_queue_free(struct cs_queue *q)
{
	if (!q)
		return;
	cs_close(q->event_fd);
	pthread_mutex_destroy(&q->lock);
	pthread_cond_destroy(&q->can_read);
	pthread_cond_destroy(&q->can_write);
	free(q->buf);
	free(q);
}

/* Under the lock. The counter of an eventfd never fills: each wake is 1. */
static void wake_reader(struct cs_queue *q)
{
	uint64_t one = 1;

	pthread_cond_signal(&q->can_read);
	if (q->event_fd >= 0)
		(void)!write(q->event_fd, &one, sizeof(one));
}

void cs_queue_batch(struct cs_queue *q, size_t bytes)
{
	pthread_mutex_lock(&q->lock);
	q->wake_at = CS_MAX((size_t)1, CS_MIN(bytes, q->cap));
	pthread_mutex_unlock(&q->lock);
}

/* Under the lock, with room for something. Returns how much went in. */
static size_t put(struct cs_queue *q, const char *p, size_t len)
{
	size_t tail = (q->head + q->len) % q->cap;
	size_t n = CS_MIN(len, CS_MIN(q->cap - q->len, q->cap - tail));
	bool was_little = q->len < q->wake_at;

	memcpy(q->buf + tail, p, n);
	q->len += n;
	if (was_little && q->len >= q->wake_at)
		wake_reader(q);
	return n;
}

int cs_queue_write(struct cs_queue *q, const void *data, size_t len)
{
	const char *p = data;

	pthread_mutex_lock(&q->lock);
	while (len && !q->closed) {
		if (q->len == q->cap) {
			pthread_cond_wait(&q->can_write, &q->lock);
			continue;
		}
		size_t n = put(q, p, len);
		p += n;
		len -= n;
	}
	int r = q->closed ? -EPIPE : 0;
	pthread_mutex_unlock(&q->lock);
	return r;
}

int cs_queue_offer(struct cs_queue *q, const void *data, size_t len)
{
	const char *p = data;

	pthread_mutex_lock(&q->lock);
	int r = q->closed ? -EPIPE : q->cap - q->len < len ? -EAGAIN : 0;
	while (r == 0 && len) {
		size_t n = put(q, p, len);
		p += n;
		len -= n;
	}
	pthread_mutex_unlock(&q->lock);
	return r;
}

void cs_queue_end(struct cs_queue *q, int error)
{
	pthread_mutex_lock(&q->lock);
	q->ended = true;
	q->error = error;
	wake_reader(q);
	pthread_mutex_unlock(&q->lock);
}

static ssize_t take(struct cs_queue *q, void *buf, size_t max, bool block)
{
	size_t done = 0;
	ssize_t r;

	pthread_mutex_lock(&q->lock);
	while (block && q->len == 0 && !q->ended)
		pthread_cond_wait(&q->can_read, &q->lock);
	while (q->len && done < max) {
		size_t n = CS_MIN(max - done, CS_MIN(q->len, q->cap - q->head));
		memcpy((char *)buf + done, q->buf + q->head, n);
		q->head = (q->head + n) % q->cap;
		q->len -= n;
		done += n;
	}
	if (done) {
		/* a writer that fills small holes would be woken for each: let it sleep until a good part is free */
		if (q->len <= q->cap / 2)
			pthread_cond_signal(&q->can_write);
		r = (ssize_t)done;
	} else
		r = q->ended ? q->error : -EAGAIN;
	if (q->event_fd >= 0 && q->len == 0 && !q->ended) {
		uint64_t n;
		(void)!read(q->event_fd, &n, sizeof(n));
	}
	pthread_mutex_unlock(&q->lock);
	return r;
}

ssize_t cs_queue_read(struct cs_queue *q, void *buf, size_t max) { return take(q, buf, max, true); }
ssize_t cs_queue_try_read(struct cs_queue *q, void *buf, size_t max) { return take(q, buf, max, false); }

int cs_queue_pollfd(struct cs_queue *q)
{
	pthread_mutex_lock(&q->lock);
	if (q->event_fd < 0) {
		q->event_fd = eventfd(q->len || q->ended ? 1 : 0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (q->event_fd < 0)
			q->event_fd = -1;
	}
	int r = q->event_fd >= 0 ? q->event_fd : -EMFILE;
	pthread_mutex_unlock(&q->lock);
	return r;
}

void cs_queue_close(struct cs_queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->closed = true;
	q->len = 0;
	pthread_cond_broadcast(&q->can_write);
	pthread_mutex_unlock(&q->lock);
}
