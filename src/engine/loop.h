/* SPDX-License-Identifier: Apache-2.0
 *
 * Time and background work of the engine: one thread with a heap of timers, and a pool of threads for jobs
 * that may block (exit handling, restarts, probes, automatic removal). The pool grows while all of its threads are stuck, so a
 * container that does not answer never starves the others, and shrinks when idle. */
#pragma once

#include "base/error.h"

struct cs_loop;
typedef void (*cs_loop_fn)(void *ctx);

CS_MUST_CHECK int cs_loop_new(struct cs_loop **ret, struct cs_err **err);
/* Waits for running jobs up to drain_ms, drops timers; contexts of what never ran are not freed. */
void cs_loop_free(struct cs_loop *l, int drain_ms);

/* One-shot; fn runs on the loop's thread and must be short (usually it submits a job). Never 0. */
uint64_t cs_timer_set(struct cs_loop *l, int64_t at_monotonic_ns, cs_loop_fn fn, void *ctx);
/* True: fn will not run, the context is the caller's again. False: it ran or is running. 0 is accepted (false). */
bool cs_timer_cancel(struct cs_loop *l, uint64_t id);

void cs_job(struct cs_loop *l, cs_loop_fn fn, void *ctx);

void cs_loop_counts(struct cs_loop *l, size_t *timers, size_t *threads, size_t *queued);
