/* SPDX-License-Identifier: Apache-2.0
 *
 * A bounded pipe of bytes between two threads of one process: one writes, one reads, each blocks when it must. Memory is the capacity. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct cs_queue;

struct cs_queue *cs_queue_new(size_t capacity);
/* For bulk: a sleeping reader is woken when so many bytes are there, or at the end; waking it for each piece costs more than the copy. 1 at first. */
void cs_queue_batch(struct cs_queue *q, size_t bytes);
void cs_queue_free(struct cs_queue *q); /* both sides must be done; accepts NULL */

/* Blocks until everything is taken. 0, or -EPIPE when the reader has closed. */
int cs_queue_write(struct cs_queue *q, const void *data, size_t len);
/* Never blocks: all of it, or nothing. 0, -EAGAIN when it has no room for that now, -EPIPE when the reader has closed. */
int cs_queue_offer(struct cs_queue *q, const void *data, size_t len);
/* End of the stream: error 0 = a proper end, else what read shall answer after the bytes that are there (-errno). */
void cs_queue_end(struct cs_queue *q, int error);
/* > 0 bytes (as many as there are, up to max), 0 end, -errno. Blocks while nothing is there. */
ssize_t cs_queue_read(struct cs_queue *q, void *buf, size_t max);
/* As read, but -EAGAIN instead of blocking; pollfd is readable while there is something to read or to tell. */
ssize_t cs_queue_try_read(struct cs_queue *q, void *buf, size_t max);
int cs_queue_pollfd(struct cs_queue *q); /* made at the first call; borrowed; -errno */
/* The reader wants no more: writes answer -EPIPE from now on, blocked ones too. */
void cs_queue_close(struct cs_queue *q);
