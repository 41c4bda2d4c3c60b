/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread that fills a queue, and the stream that empties it. The stream's owner joins the thread when it frees the stream. */
#include "engine/producer.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/io.h"
#include "base/error.h"

#define BULK (1u << 20)
#define STACK (512u << 10)

struct stream {
	struct cs_stream stream;
	struct cs_producer p;
	cs_producer_fn *fn;
	void (*done)(void *ctx);
	pthread_t thread;
};

static void *run(void *arg)
{
	struct stream *s = arg;

	cs_queue_end(s->p.queue, s->fn(&s->p));
	return NULL;
}

static ssize_t stream_read(struct cs_stream *st, void *buf, size_t max)
{
	return cs_queue_try_read(((struct stream *)st)->p.queue, buf, max);
}

static int stream_fd(struct cs_stream *st) { return cs_queue_pollfd(((struct stream *)st)->p.queue); }

static void release(struct stream *s)
{
	if (s->done)
		s->done(s->p.ctx);
	cs_queue_free(s->p.queue);
	cs_close(s->p.cancel_fd);
	free(s);
}

static void stream_free(struct cs_stream *st)
{
	struct stream *s = (struct stream *)st;
	uint64_t one = 1;

	atomic_store(&s->p.cancelled, true);
	(void)!write(s->p.cancel_fd, &one, sizeof(one));
	cs_queue_close(s->p.queue);
	(void)pthread_join(s->thread, NULL);
	release(s);
}

int cs_producer_start(cs_producer_fn *fn, void *ctx, void (*done)(void *ctx), size_t capacity, struct cs_stream **ret, struct cs_err **err)
{
	static const struct cs_stream_ops ops = {.read = stream_read, .poll_fd = stream_fd, .free = stream_free};
	struct stream *s = cs_xcalloc(1, sizeof(*s));
	pthread_attr_t attr;

	s->stream.ops = &ops;
	s->fn = fn;
	s->done = done;
	s->p.ctx = ctx;
	s->p.queue = cs_queue_new(capacity);
	s->stream.bulk = capacity >= BULK;
	if (s->stream.bulk)
		cs_queue_batch(s->p.queue, capacity / 4);
	s->p.cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r = s->p.cancel_fd < 0 ? errno : 0;
	if (r == 0 && (r = -CS_MIN(cs_queue_pollfd(s->p.queue), 0)) == 0) {
		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, STACK);
		r = pthread_create(&s->thread, &attr, run, s);
		pthread_attr_destroy(&attr);
	}
	if (r) {
		release(s);
		return cs_fail(err, CS_ERR_INTERNAL, r, "start a thread for the response");
	}
	*ret = &s->stream;
	return 0;
}
