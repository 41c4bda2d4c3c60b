/* SPDX-License-Identifier: Apache-2.0
 *
 * A growable byte buffer with a ceiling from birth and sticky failure: append ten times, check once.
 * Always NUL-terminated when buf is non-NULL. */
#pragma once

#include <stdarg.h>

#include "base/macros.h"

struct cs_str {
	char *buf;
	size_t len, cap, max;
	bool failed; /* an append would have passed max, or memory ran out; later appends do nothing */
};

#define CS_STR_INIT(maximum)                                                                                           \
	{                                                                                                              \
		.max = (maximum)                                                                                       \
	}
void cs_str_init(struct cs_str *s, size_t max);
void cs_str_done(struct cs_str *s);
#define cs_autostr cs_auto(cs_str_done) /* struct cs_str x = CS_STR_INIT(max) */
void cs_str_clear(struct cs_str *s);    /* keeps the memory, resets failed */
void cs_str_put(struct cs_str *s, const void *data, size_t len);
void cs_str_puts(struct cs_str *s, const char *text);
void cs_str_putc(struct cs_str *s, char c);
void cs_str_putf(struct cs_str *s, const char *fmt, ...) CS_PRINTF(2, 3);
void cs_str_vputf(struct cs_str *s, const char *fmt, va_list ap) CS_PRINTF(2, 0);
void cs_str_put_u64(struct cs_str *s, uint64_t v); /* decimal, without printf */
void cs_str_put_i64(struct cs_str *s, int64_t v);
/* Makes room for n more bytes and returns where to write, NULL on failure; then add to len what was written. */
char *cs_str_reserve(struct cs_str *s, size_t n);
/* Removes n bytes at the front. */
void cs_str_consume(struct cs_str *s, size_t n);
/* Is word one of those in list? separators: the characters between them. */
bool cs_str_lists(const char *list, const char *word, const char *separators);
/* A domain as docker takes it for a search list: labels of letters, digits and inner hyphens, one letter at least; it may end with the root's dot. */
bool cs_str_is_domain(const char *s);
/* Hands out the buffer ("" if nothing was appended), NULL if failed. Caller frees. */
char *cs_str_steal(struct cs_str *s);
