/* SPDX-License-Identifier: Apache-2.0
 *
 * A shared library that is loaded for its first user and let go after the last: an idle engine has none of them. Any thread; the
 * functions may be called between get and put only. */
#pragma once

#include <pthread.h>

#include "base/error.h"

struct cs_late_symbol {
	const char *name;
	size_t offset; /* of the pointer in the table that get fills */
};
struct cs_late {
	const char *name;                     /* with its ABI number */
	const struct cs_late_symbol *symbols; /* ended by a row without a name */
	pthread_mutex_t lock;                 /* of the two below */
	void *handle;
	unsigned users;
};

#define CS_LATE_INIT .lock = PTHREAD_MUTEX_INITIALIZER
#define CS_LATE_MEMBER(f) __typeof__(f) *(f);        /* of the table: a pointer with the function's name */
#define CS_LATE_ROW(table, f) {#f, offsetof(table, f)},

CS_MUST_CHECK int cs_late_get(struct cs_late *l, void *table, struct cs_err **err);
void cs_late_put(struct cs_late *l);
