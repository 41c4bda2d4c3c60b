/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <string.h>

#include "cli/template.h"

#define BLOCK 16384

struct block {
	struct block *next;
	size_t used, size;
	_Alignas(16) char data[];
};
struct tpl_arena {
	struct block *head;
	size_t total;
};

struct tpl_arena *tpl_arena_new(void) { return cs_xcalloc(1, sizeof(struct tpl_arena)); }

void tpl_arena_free(struct tpl_arena *a)
{
	if (!a)
		return;
	for (struct block *b = a->head, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	free(a);
}

void *tpl_alloc(struct tpl_arena *a, size_t n)
{
	n = (n + 15) & ~(size_t)15;
	if (!a->head || a->head->size - a->head->used < n) {
		size_t size = CS_MAX((size_t)BLOCK, n);
		struct block *b = cs_xcalloc(1, sizeof(*b) + size);
		b->size = size;
		b->next = a->head;
		a->head = b;
	}
	void *p = a->head->data + a->head->used;
	a->head->used += n;
	a->total += n;
	return p;
}

char *tpl_strn(struct tpl_arena *a, const char *s, size_t n)
{
	char *p = tpl_alloc(a, n + 1);
	if (n)
		memcpy(p, s, n);
	return p;
}

char *tpl_printf(struct tpl_arena *a, const char *fmt, ...)
{
	struct cs_str s = CS_STR_INIT((size_t)1 << 24);
	va_list ap;

	va_start(ap, fmt);
	cs_str_vputf(&s, fmt, ap);
	va_end(ap);
	char *p = tpl_strn(a, s.buf ? s.buf : "", s.buf ? s.len : 0);
	cs_str_done(&s);
	return p;
}

size_t tpl_arena_used(const struct tpl_arena *a) { return a->total; }
