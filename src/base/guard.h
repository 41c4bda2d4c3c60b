/* SPDX-License-Identifier: Apache-2.0
 *
 * A mutex that is held until the end of the scope, and conditions with deadlines. Guards end in the reverse order of their declaration, among the scope's other clean-ups. */
#pragma once

#include <pthread.h>
#include <time.h>

#include "base/macros.h"

static inline pthread_mutex_t *cs_guard_begin(pthread_mutex_t *m)
{
	if (m)
		pthread_mutex_lock(m);
	return m;
}
static inline void cs_guard_end(pthread_mutex_t **m)
{
	if (*m)
		pthread_mutex_unlock(*m);
}
#define CS_GUARD_NAME_(l) guard_##l
#define CS_GUARD_NAME(l) CS_GUARD_NAME_(l)
/* NULL: nothing to hold */
#define CS_GUARD(m) pthread_mutex_t *CS_GUARD_NAME(__LINE__) cs_auto(cs_guard_end) = cs_guard_begin(m)

/* Whose pthread_cond_timedwait takes times of CLOCK_MONOTONIC (base/time.h). */
static inline void cs_cond_init(pthread_cond_t *c)
{
	pthread_condattr_t attr;

	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(c, &attr);
	(void)pthread_condattr_destroy(&attr);
}
