/* SPDX-License-Identifier: Apache-2.0
 *
 * A response body made by a thread of its own (save, export, archive, progress of a pull): fn writes into a bounded queue, the connection's
 * thread reads the stream. When the client leaves, the stream is freed: writes then answer -EPIPE, `cancelled` turns true, and free waits for fn. */
#pragma once

#include <stdatomic.h>

#include "base/queue.h"
#include "engine/engine.h"
#include "engine/stream.h"

struct cs_producer {
	struct cs_queue *queue;      /* fn writes here: cs_queue_write */
	atomic_bool cancelled;       /* polled by fn, or handed to whoever may block */
	int cancel_fd;               /* eventfd: readable once cancelled, for poll(2) */
	void *ctx;
};
/* fn runs in its own thread; its value ends the stream: 0 = a proper end, -errno = the connection is cut. done(ctx) runs after fn, in any case. */
typedef int cs_producer_fn(struct cs_producer *p);
/* The stream owns ctx from here on, also on failure (done is called). capacity: bytes of the queue. */
CS_MUST_CHECK int cs_producer_start(cs_producer_fn *fn, void *ctx, void (*done)(void *ctx), size_t capacity, struct cs_stream **ret, struct cs_err **err);
