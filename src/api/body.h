/* SPDX-License-Identifier: Apache-2.0
 *
 * A large body between the connection's thread, which writes, and a handler in a thread of its own, which reads. */
#pragma once

#include <sys/types.h>

struct cs_body;

struct cs_body *cs_body_new(void);
/* Counted: a handler whose work goes on after it returned keeps a reference. */
struct cs_body *cs_body_ref(struct cs_body *b);
void cs_body_free(struct cs_body *b); /* gives a reference back; accepts NULL */

/* Writer. put blocks while the reader is behind; 0, or -EPIPE when it wants no more. end: 0, or why there is no more (-errno). */
int cs_body_put(struct cs_body *b, const char *data, size_t len);
void cs_body_end(struct cs_body *b, int error);

/* Reader. The next piece, borrowed until the next call: > 0 bytes, 0 at the end, -EAGAIN when nothing came in time, other -errno. What a slow client has
 * sent may stay behind until a block is full or the body ends. */
ssize_t cs_body_next(struct cs_body *b, const void **ret, int timeout_ms);
/* The same as bytes: > 0 as many as there are, up to max; 0 at the end, -errno. Not beside next. */
ssize_t cs_body_read(struct cs_body *b, void *buf, size_t max);
void cs_body_close(struct cs_body *b);
/* The daemon ends: readers of all bodies get -ECANCELED, within a fraction of a second. */
void cs_body_stop_all(void);
