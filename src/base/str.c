/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <ctype.h>
#include <string.h>

void cs_str_init(struct cs_str *s, size_t max) { *s = (struct cs_str){.max = max}; }

void cs_str_done(struct cs_str *s)
{
	int saved = errno;
	free(s->buf);
	errno = saved;
	s->buf = NULL;
	s->len = s->cap = 0;
}

void cs_str_clear(struct cs_str *s)
{
	s->len = 0;
	s->failed = false;
	if (s->buf)
		s->buf[0] = 0;
}

char *cs_str_reserve(struct cs_str *s, size_t n)
{
	if (s->failed)
		return NULL;
	if (n > s->max || s->len > s->max - n) {
		s->failed = true;
		return NULL;
	}
	size_t need = s->len + n + 1;
	if (need > s->cap) {
		size_t cap = s->cap ? s->cap : 64;
		while (cap < need)
			cap += cap < (1u << 20) ? cap : cap / 2;
		if (cap > s->max + 1)
			cap = s->max + 1;
		char *p = realloc(s->buf, cap);
		if (!p) {
			s->failed = true;
			return NULL;
		}
		s->buf = p;
		s->cap = cap;
	}
	return s->buf + s->len;
}

void cs_str_put(struct cs_str *s, const void *data, size_t len)
{
	char *p = cs_str_reserve(s, len);
	if (!p)
		return;
	if (len)
		memcpy(p, data, len);
	s->len += len;
	s->buf[s->len] = 0;
}

void cs_str_puts(struct cs_str *s, const char *text) { cs_str_put(s, text, strlen(text)); }
void cs_str_putc(struct cs_str *s, char c) { cs_str_put(s, &c, 1); }

void cs_str_vputf(struct cs_str *s, const char *fmt, va_list ap)
{
	va_list again;
	char small[256];

	va_copy(again, ap);
	int n = vsnprintf(small, sizeof(small), fmt, ap);
	if (n < 0) {
		s->failed = true;
	} else if ((size_t)n < sizeof(small)) {
		cs_str_put(s, small, (size_t)n);
	} else {
		char *p = cs_str_reserve(s, (size_t)n);
		if (p) {
			(void)vsnprintf(p, (size_t)n + 1, fmt, again);
			s->len += (size_t)n;
		}
	}
	va_end(again);
}

void cs_str_putf(struct cs_str *s, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	cs_str_vputf(s, fmt, ap);
	va_end(ap);
}

void cs_str_put_u64(struct cs_str *s, uint64_t v)
{
	char tmp[24], *p = tmp + sizeof(tmp);
	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	cs_str_put(s, p, (size_t)(tmp + sizeof(tmp) - p));
}

void cs_str_put_i64(struct cs_str *s, int64_t v)
{
	if (v < 0) {
		cs_str_putc(s, '-');
		cs_str_put_u64(s, (uint64_t) - (v + 1) + 1);
	} else {
		cs_str_put_u64(s, (uint64_t)v);
	}
}

void cs_str_consume(struct cs_str *s, size_t n)
{
	if (n >= s->len) {
		s->len = 0;
	} else {
		memmove(s->buf, s->buf + n, s->len - n);
		s->len -= n;
	}
	if (s->buf)
		s->buf[s->len] = 0;
}

char *cs_str_steal(struct cs_str *s)
{
	if (s->failed) {
		cs_str_done(s);
		return NULL;
	}
	if (!s->buf && !cs_str_reserve(s, 0))
		return NULL;
	s->buf[s->len] = 0;
	char *p = s->buf;
	s->buf = NULL;
	s->len = s->cap = 0;
	return p;
}

bool cs_str_lists(const char *list, const char *word, const char *separators)
{
	size_t n = strlen(word);

	for (const char *p = list; *p;) {
		size_t len = strcspn(p, separators);
		if (len == n && memcmp(p, word, n) == 0)
			return true;
		p += len + (p[len] != 0);
	}
	return false;
}

bool cs_str_is_domain(const char *s)
{
	size_t n = strlen(s);
	bool alpha = false;

	if (n > 1 && s[n - 1] == '.')
		n--;
	for (size_t i = 0; i < n; i++) {
		bool edge = i == 0 || s[i - 1] == '.' || i + 1 == n || s[i + 1] == '.';
		alpha |= isalpha((unsigned char)s[i]) != 0;
		if (!isalnum((unsigned char)s[i]) && (s[i] == '.' ? i == 0 || s[i - 1] == '.' || i + 1 == n : (s[i] != '-' && s[i] != '_') || edge))
			return false;
	}
	return alpha && n < 255;
}
