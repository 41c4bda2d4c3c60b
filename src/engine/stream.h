/* SPDX-License-Identifier: Apache-2.0
 *
 * A body that comes over time (logs -f, events, stats, wait, pull progress): pulled by whoever owns the connection, which also
 * watches the client; the engine knows nothing of clients. */
#pragma once

#include <sys/types.h>

#include "base/error.h"

struct cs_stream;
struct cs_stream_ops {
	/* Up to max bytes: > 0 bytes, 0 end of stream, -EAGAIN nothing yet, other -errno failure (the connection is cut). Never blocks. */
	ssize_t (*read)(struct cs_stream *s, void *buf, size_t max);
	/* Descriptor to poll for POLLIN while read says -EAGAIN, or -1. */
	int (*poll_fd)(struct cs_stream *s);
	/* Monotonic ns at which read should be tried again although poll_fd is silent, or -1. Optional. */
	int64_t (*deadline)(struct cs_stream *s);
	void (*free)(struct cs_stream *s);
	/* Optional: gives the rest of the body to a process that outlives this one. Called between two reads, when all that was read is out.
	 * fd: the client's plain socket (borrowed); chunked: what is sent has to be in HTTP/1.1 chunks. True: handed over, nothing may be sent from
	 * here any more; read() then tells of the end only, which the caller marks (0), or that the client is gone (an error). */
	bool (*handover)(struct cs_stream *s, int fd, bool chunked);
};
struct cs_stream { /* embed as first member */
	const struct cs_stream_ops *ops;
	bool bulk; /* megabytes are to be expected: large pieces pay */
};
static inline void cs_stream_free(struct cs_stream *s)
{
	if (s)
		s->ops->free(s);
}
