/* SPDX-License-Identifier: Apache-2.0 */
#include "base/strv.h"

#include "base/str.h"

size_t cs_strv_len(char *const *v)
{
	size_t n = 0;
	while (v && v[n])
		n++;
	return n;
}

void cs_strv_free(char **v)
{
	int saved = errno;
	for (char **p = v; p && *p; p++)
		free(*p);
	free(v);
	errno = saved;
}

char **cs_strv_copy(char *const *v)
{
	if (!v)
		return NULL;
	size_t n = cs_strv_len(v);
	char **out = cs_xcalloc(n + 1, sizeof(*out));
	for (size_t i = 0; i < n; i++)
		out[i] = cs_xstrdup(v[i]);
	return out;
}

void cs_strv_take(char ***v, char *s)
{
	size_t n = cs_strv_len(*v);
	/* a vector may come from anywhere with room for its entries only; realloc is cheap when there is room */
	*v = cs_xreallocarray(*v, n + 2, sizeof(**v));
	(*v)[n] = s;
	(*v)[n + 1] = NULL;
}

void cs_strv_push(char ***v, const char *s) { cs_strv_take(v, cs_xstrdup(s)); }

bool cs_strv_has(char *const *v, const char *s)
{
	for (; v && *v; v++)
		if (strcmp(*v, s) == 0)
			return true;
	return false;
}

bool cs_strv_equal(char *const *a, char *const *b)
{
	size_t n = cs_strv_len(a);

	if (n != cs_strv_len(b))
		return false;
	for (size_t i = 0; i < n; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return true;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

void cs_strv_sort(char **v)
{
	if (v)
		qsort(v, cs_strv_len(v), sizeof(*v), by_text);
}

char **cs_strv_split(const char *s, char sep)
{
	char **v = NULL;
	for (;;) {
		const char *e = strchr(s, sep);
		cs_strv_take(&v, cs_xstrndup(s, e ? (size_t)(e - s) : strlen(s)));
		if (!e)
			return v;
		s = e + 1;
	}
}

char *cs_strv_join(char *const *v, const char *sep)
{
	struct cs_str s = CS_STR_INIT(SIZE_MAX / 4);
	for (size_t i = 0; v && v[i]; i++) {
		if (i)
			cs_str_puts(&s, sep);
		cs_str_puts(&s, v[i]);
	}
	char *out = cs_str_steal(&s);
	return out ? out : cs_xstrdup("");
}

struct cs_strmap *cs_strmap_new(void) { return cs_xcalloc(1, sizeof(struct cs_strmap)); }

void cs_strmap_free(struct cs_strmap *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++) {
		free(m->kv[i].key);
		free(m->kv[i].val);
	}
	free(m->kv);
	free(m);
}

struct cs_strmap *cs_strmap_copy(const struct cs_strmap *m)
{
	if (!m)
		return NULL;
	struct cs_strmap *c = cs_strmap_new();
	c->n = m->n;
	c->kv = cs_xcalloc(m->n, sizeof(*c->kv));
	for (size_t i = 0; i < m->n; i++)
		c->kv[i] = (struct cs_kv){cs_xstrdup(m->kv[i].key), cs_xstrdup(m->kv[i].val)};
	return c;
}

static struct cs_kv *find(const struct cs_strmap *m, const char *key)
{
	for (size_t i = 0; m && i < m->n; i++)
		if (strcmp(m->kv[i].key, key) == 0)
			return &m->kv[i];
	return NULL;
}

void cs_strmap_set(struct cs_strmap *m, const char *key, const char *val)
{
	struct cs_kv *kv = find(m, key);
	char *copy = cs_xstrdup(val);
	if (kv) {
		free(kv->val);
		kv->val = copy;
		return;
	}
	m->kv = cs_xreallocarray(m->kv, m->n + 1, sizeof(*m->kv));
	m->kv[m->n++] = (struct cs_kv){cs_xstrdup(key), copy};
}

const char *cs_strmap_get(const struct cs_strmap *m, const char *key)
{
	struct cs_kv *kv = find(m, key);
	return kv ? kv->val : NULL;
}

void cs_strmap_del(struct cs_strmap *m, const char *key)
{
	struct cs_kv *kv = find(m, key);
	if (!kv)
		return;
	free(kv->key);
	free(kv->val);
	size_t i = (size_t)(kv - m->kv);
	memmove(kv, kv + 1, (m->n - i - 1) * sizeof(*kv));
	m->n--;
}

bool cs_strmap_equal(const struct cs_strmap *a, const struct cs_strmap *b)
{
	if ((a ? a->n : 0) != (b ? b->n : 0))
		return false;
	for (size_t i = 0; a && i < a->n; i++) {
		const char *other = cs_strmap_get(b, a->kv[i].key);
		if (!other || strcmp(a->kv[i].val, other) != 0)
			return false;
	}
	return true;
}
