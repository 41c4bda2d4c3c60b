/* SPDX-License-Identifier: Apache-2.0
 *
 * Docker's progress stream: one JSON object per line ("\r\n"), in the shape and with the texts that its clients draw. Belongs to one thread;
 * others may read `broken`. */
#pragma once

#include <stdatomic.h>

#include "base/error.h"
#include "base/queue.h"
#include "base/str.h"
#include "engine/producer.h"

struct cs_progress {
	struct cs_queue *queue; /* borrowed */
	struct cs_str line;
	atomic_int broken;      /* -EPIPE: nobody reads any more */
	int first_fd;           /* eventfd, written to before the first line; -1: nobody waits for that */
};
void cs_progress_init(struct cs_progress *p, struct cs_queue *q);
void cs_progress_done(struct cs_progress *p);

/* {"status":…,"id":…}; id may be NULL. */
void cs_progress_status(struct cs_progress *p, const char *id, const char *fmt, ...) CS_PRINTF(3, 4);
/* {"status":…,"progressDetail":{…},"progress":…,"id":…}: a step of one layer. total 0: without numbers. */
void cs_progress_step(struct cs_progress *p, const char *id, const char *action, int64_t current, int64_t total);
/* {"status":…,"progressDetail":{"current":…,"total":…,"units":…},"id":…}: things that are counted. Never waits for the reader, so that locks
 * may be held: a line that finds no room is left out. */
void cs_progress_count(struct cs_progress *p, const char *id, const char *status, int64_t current, int64_t total, const char *units);
/* One JSON value as a line. */
void cs_progress_json(struct cs_progress *p, const char *json, size_t len);
/* {"stream":…} */
void cs_progress_stream(struct cs_progress *p, const char *fmt, ...) CS_PRINTF(2, 3);
/* {"progressDetail":{},"aux":…}; json is a complete value. */
void cs_progress_aux(struct cs_progress *p, const char *json);
/* {"errorDetail":{"message":…},"error":…}: the last line of a stream that failed. */
void cs_progress_error(struct cs_progress *p, const char *text);

/* go-units' HumanSize: "1.5MB". buf: 32 bytes. */
const char *cs_human_size(double bytes, char *buf);
/* "[====>    ]  1.5MB/3MB": what clients without a bar of their own print. Pure. */
void cs_progress_bar(struct cs_str *out, int64_t current, int64_t total);

/* A request whose answer is such a stream. work runs in a thread of its own; what fails before its first line is this function's error (so that it
 * becomes an HTTP status), what fails later is the last line of the stream. The stream owns ctx, also on failure: done(ctx). client_fd: -1, or the
 * client's socket: when it hangs up during the wait for the first line, the work is cancelled. */
typedef int cs_progress_work(struct cs_progress *out, struct cs_producer *p, void *ctx, struct cs_err **err);
CS_MUST_CHECK int cs_progress_start(cs_progress_work *work, void *ctx, void (*done)(void *ctx), int client_fd, struct cs_stream **ret, struct cs_err **err);
/* The same without the wait: everything that fails is the last line of the stream. */
CS_MUST_CHECK int cs_progress_begin(cs_progress_work *work, void *ctx, void (*done)(void *ctx), struct cs_stream **ret, struct cs_err **err);
/* At the end of the engine: who waits for a first line gives up, and all work is over on return, or after timeout_ms. Returns how many are left. */
unsigned cs_progress_stop(int timeout_ms);
