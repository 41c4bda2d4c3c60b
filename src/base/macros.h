/* SPDX-License-Identifier: Apache-2.0
 *
 * Cleanup attributes, ownership transfer and the other few macros that every file uses.
 * Depends on libc only; used by the daemon and by the static worker. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/banned.h"

#define CS_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define CS_MUST_CHECK __attribute__((warn_unused_result))
#define CS_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define CS_UNUSED __attribute__((unused))
#define CS_STR_(x) #x
#define CS_STR(x) CS_STR_(x)
#define CS_MIN(a, b) ((a) < (b) ? (a) : (b))
#define CS_MAX(a, b) ((a) > (b) ? (a) : (b))
#define cs_container_of(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

/* Closes once, never retries (on Linux the descriptor is gone even on EINTR), keeps errno, accepts -1/-EBADF. */
static inline void cs_close(int fd)
{
	if (fd >= 0) {
		int saved = errno;
		(void)close(fd);
		errno = saved;
	}
}

static inline void cs_autofd_done(int *fd) { cs_close(*fd); }
static inline void cs_autofree_done(void *p)
{
	int saved = errno;
	free(*(void **)p);
	errno = saved;
}
static inline void cs_autofile_done(FILE **f)
{
	if (*f) {
		int saved = errno;
		(void)fclose(*f);
		errno = saved;
	}
}

/* unused: to clang, a variable that is there for its cleanup only is one that nobody needs */
#define cs_auto(fn) __attribute__((cleanup(fn), unused))
#define cs_autofd cs_auto(cs_autofd_done)     /* int, initialise to -EBADF */
#define cs_autofree cs_auto(cs_autofree_done) /* any pointer from malloc, initialise to NULL */
#define cs_autofile cs_auto(cs_autofile_done) /* FILE * */

/* Move ownership out of a cleanup variable. */
#define TAKE_FD(fd)                                                                                                    \
	({                                                                                                             \
		int *fdp_ = &(fd);                                                                                     \
		int fd_ = *fdp_;                                                                                       \
		*fdp_ = -EBADF;                                                                                        \
		fd_;                                                                                                   \
	})
#define TAKE_PTR(p)                                                                                                    \
	({                                                                                                             \
		__typeof__(p) *pp_ = &(p);                                                                             \
		__typeof__(p) p_ = *pp_;                                                                               \
		*pp_ = NULL;                                                                                           \
		p_;                                                                                                    \
	})

/* Exchange two variables of one type. */
#define CS_SWAP(a, b)                                                                                                  \
	do {                                                                                                           \
		__typeof__(a) *ap_ = &(a), *bp_ = &(b);                                                                \
		__typeof__(a) a_ = *ap_;                                                                               \
		*ap_ = *bp_;                                                                                           \
		*bp_ = a_;                                                                                             \
	} while (0)

/* Allocation that cannot fail: a container engine without memory for a small object is over; the caller's
 * data is in SQLite and in the workers, so dying is safe (crash-only). Big, client-sized buffers use malloc
 * and report. */
void *cs_xmalloc(size_t n) __attribute__((malloc, returns_nonnull));
void *cs_xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *cs_xrealloc(void *p, size_t n) __attribute__((returns_nonnull));
void *cs_xreallocarray(void *p, size_t n, size_t size) __attribute__((returns_nonnull));
char *cs_xstrdup(const char *s) __attribute__((malloc)); /* NULL in, NULL out */
char *cs_xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
char *cs_xasprintf(const char *fmt, ...) CS_PRINTF(1, 2) __attribute__((malloc, returns_nonnull));

/* Equality that treats NULL as a value of its own, and prefix test returning the rest or NULL. */
bool cs_streq(const char *a, const char *b);
const char *cs_prefix(const char *s, const char *prefix);
static inline bool cs_empty(const char *s) { return !s || !*s; }
