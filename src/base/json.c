/* SPDX-License-Identifier: Apache-2.0
 *
 * Table-driven JSON, outwards (straight into a buffer), and what else the tables do: copy and release. No state, any thread. */
#include "base/json.h"

#include <math.h>
#include <string.h>

#include "base/json_internal.h"
#include "base/time.h"

/* ---- encode ---- */

/* Length of the valid UTF-8 sequence at s, 0 if there is none. */
static size_t utf8_len(const unsigned char *s, size_t n)
{
	unsigned char c = s[0];

	if (c < 0x80)
		return 1;
	if (c < 0xc2 || c > 0xf4)
		return 0;
	size_t len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	if (n < len)
		return 0;
	if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f) || (c == 0xf0 && s[1] < 0x90) || (c == 0xf4 && s[1] > 0x8f))
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

void cs_json_put_stringn(struct cs_str *out, const char *s, size_t n)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *p = (const unsigned char *)s;
	size_t i = 0, start = 0;

	cs_str_putc(out, '"');
	while (i < n) {
		unsigned char c = p[i];
		if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
			i++;
			continue;
		}
		size_t len = utf8_len(p + i, n - i);
		bool line_sep = len == 3 && c == 0xe2 && p[i + 1] == 0x80 && (p[i + 2] & 0xfe) == 0xa8; /* U+2028, U+2029 */
		if (len > 1 && !line_sep) {
			i += len;
			continue;
		}
		cs_str_put(out, s + start, i - start);
		if (len == 0) {
			cs_str_puts(out, "\\ufffd");
			i++;
		} else if (line_sep) {
			cs_str_puts(out, p[i + 2] & 1 ? "\\u2029" : "\\u2028");
			i += 3;
		} else {
			char esc[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
			if (c == '"' || c == '\\')
				cs_str_put(out, (char[]){'\\', (char)c}, 2);
			else if (c == '\n')
				cs_str_puts(out, "\\n");
			else if (c == '\r')
				cs_str_puts(out, "\\r");
			else if (c == '\t')
				cs_str_puts(out, "\\t");
			else if (c == 0x7f)
				cs_str_putc(out, (char)c);
			else
				cs_str_put(out, esc, 6);
			i++;
		}
		start = i;
	}
	cs_str_put(out, s + start, n - start);
	cs_str_putc(out, '"');
}

void cs_json_put_string(struct cs_str *out, const char *s) { cs_json_put_stringn(out, s ? s : "", s ? strlen(s) : 0); }

static void comma(struct cs_str *out)
{
	if (out->len && out->buf[out->len - 1] != '{' && out->buf[out->len - 1] != '[')
		cs_str_putc(out, ',');
}

void cs_json_put_key(struct cs_str *out, const char *key)
{
	comma(out);
	cs_json_put_string(out, key);
	cs_str_putc(out, ':');
}

void cs_json_put_kstr(struct cs_str *out, const char *key, const char *val)
{
	cs_json_put_key(out, key);
	cs_json_put_string(out, val);
}

void cs_json_put_ki64(struct cs_str *out, const char *key, int64_t val)
{
	cs_json_put_key(out, key);
	cs_str_put_i64(out, val);
}

void cs_json_put_kbool(struct cs_str *out, const char *key, bool val)
{
	cs_json_put_key(out, key);
	cs_str_puts(out, val ? "true" : "false");
}

static void put_time(struct cs_str *out, int64_t ns)
{
	char buf[CS_TIME_BUF];

	cs_str_putc(out, '"');
	cs_str_puts(out, cs_time_format(ns ? ns : CS_TIME_ZERO, buf));
	cs_str_putc(out, '"');
}

void cs_json_put_ktime(struct cs_str *out, const char *key, int64_t ns)
{
	cs_json_put_key(out, key);
	put_time(out, ns);
}

void cs_json_put_strv(struct cs_str *out, char *const *v)
{
	if (!v) {
		cs_str_puts(out, "null");
		return;
	}
	cs_str_putc(out, '[');
	for (size_t i = 0; v[i]; i++) {
		if (i)
			cs_str_putc(out, ',');
		cs_json_put_string(out, v[i]);
	}
	cs_str_putc(out, ']');
}

/* Elements whose first member is `char *key`: pointers to them, ordered by key. */
static int by_key(const void *a, const void *b)
{
	return strcmp(**(char *const *const *)a, **(char *const *const *)b);
}

static const void **sorted(const void *items, size_t n, size_t size)
{
	const void **v = cs_xcalloc(n, sizeof(*v));

	for (size_t i = 0; i < n; i++)
		v[i] = (const char *)items + i * size;
	qsort(v, n, sizeof(*v), by_key);
	return v;
}

void cs_json_put_strmap(struct cs_str *out, const struct cs_strmap *m)
{
	if (!m) {
		cs_str_puts(out, "null");
		return;
	}
	cs_autofree const void **v = sorted(m->kv, m->n, sizeof(*m->kv));
	cs_str_putc(out, '{');
	for (size_t i = 0; i < m->n; i++) {
		const struct cs_kv *kv = v[i];
		cs_json_put_kstr(out, kv->key, kv->val);
	}
	cs_str_putc(out, '}');
}

static void put_set(struct cs_str *out, char *const *set)
{
	size_t n = cs_strv_len(set);

	if (!set) {
		cs_str_puts(out, "null");
		return;
	}
	cs_autofree const void **v = sorted(set, n, sizeof(*set));
	cs_str_putc(out, '{');
	for (size_t i = 0; i < n; i++) {
		cs_json_put_key(out, *(char *const *)v[i]);
		cs_str_puts(out, "{}");
	}
	cs_str_putc(out, '}');
}

/* As Go prints: the shortest digits that read back as the same double, without an exponent between 1e-6 and 1e21. */
static void put_double(struct cs_str *out, double d)
{
	char buf[40], digits[20];
	int prec = 0, n = 0;

	if (!isfinite(d))
		d = 0;
	do
		(void)snprintf(buf, sizeof(buf), "%.*e", prec, d);
	while (strtod(buf, NULL) != d && ++prec <= 17);
	char *e = strchr(buf, 'e');
	int exp = (int)strtol(e + 1, NULL, 10);
	if (d != 0 && (exp < -6 || exp >= 21)) {
		bool padded = e[1] == '-' && e[2] == '0'; /* e-07: Go writes e-7 */
		cs_str_put(out, buf, (size_t)(e - buf) + (padded ? 2 : 0));
		cs_str_puts(out, padded ? e + 3 : e);
		return;
	}
	for (const char *p = buf; p < e; p++)
		if (*p >= '0' && *p <= '9')
			digits[n++] = *p;
	if (*buf == '-')
		cs_str_putc(out, '-');
	for (int i = CS_MIN(exp, 0); i < CS_MAX(n, exp + 1); i++) {
		cs_str_putc(out, i >= 0 && i < n ? digits[i] : '0');
		if (i == exp && i + 1 < n)
			cs_str_putc(out, '.');
	}
}

static bool object_is_empty(const struct cs_jtype *t, const void *obj);

static bool is_empty(const struct cs_jfield *f, const void *obj)
{
	switch (f->kind) {
	case JK_STR:
		return cs_empty(*CAT(char *, obj, f->off));
	case JK_BOOL:
		return !*CAT(bool, obj, f->off);
	case JK_TRI:
		return *CAT(enum cs_tri, obj, f->off) == CS_NULL;
	case JK_I64:
	case JK_U64:
	case JK_TIME:
		return *CAT(int64_t, obj, f->off) == 0;
	case JK_F64:
		return *CAT(double, obj, f->off) == 0;
	case JK_NI64:
	case JK_OBJ:
	case JK_RAW:
		return *CAT(void *, obj, f->off) == NULL;
	case JK_STRV:
	case JK_SET: {
		char *const *v = *CAT(char **, obj, f->off);
		return !v || !*v;
	}
	case JK_STRMAP: {
		const struct cs_strmap *m = *CAT(struct cs_strmap *, obj, f->off);
		return !m || m->n == 0;
	}
	case JK_LIST:
	case JK_MAP:
		return *CAT(size_t, obj, f->count_off) == 0;
	case JK_INLINE:
		return object_is_empty(f->type, (const char *)obj + f->off);
	}
	return false;
}

static bool object_is_empty(const struct cs_jtype *t, const void *obj)
{
	for (const struct cs_jfield *f = t->fields; f->key; f++)
		if (!is_empty(f, obj))
			return false;
	return true;
}

static void put_items(const struct cs_jfield *f, const void *obj, int api, struct cs_str *out)
{
	const char *items = *CAT(char *, obj, f->off);
	size_t n = *CAT(size_t, obj, f->count_off), size = f->type->size;
	bool map = f->kind == JK_MAP;

	if (!items && !(f->flags & JF_EMPTY)) {
		cs_str_puts(out, "null");
		return;
	}
	cs_autofree const void **v = map ? sorted(items, n, size) : NULL;
	cs_str_putc(out, map ? '{' : '[');
	for (size_t i = 0; i < n; i++) {
		const void *item = map ? v[i] : items + i * size;
		if (map)
			cs_json_put_key(out, *CAT(char *, item, 0));
		else
			comma(out);
		cs_json_encode(f->type, item, api, out);
	}
	cs_str_putc(out, map ? '}' : ']');
}

static void put_value(const struct cs_jfield *f, const void *obj, int api, struct cs_str *out)
{
	switch (f->kind) {
	case JK_STR:
		cs_json_put_string(out, *CAT(char *, obj, f->off));
		break;
	case JK_BOOL:
		cs_str_puts(out, *CAT(bool, obj, f->off) ? "true" : "false");
		break;
	case JK_TRI: {
		enum cs_tri t = *CAT(enum cs_tri, obj, f->off);
		cs_str_puts(out, t == CS_NULL ? "null" : t == CS_TRUE ? "true" : "false");
		break;
	}
	case JK_I64:
		cs_str_put_i64(out, *CAT(int64_t, obj, f->off));
		break;
	case JK_U64:
		cs_str_put_u64(out, *CAT(uint64_t, obj, f->off));
		break;
	case JK_F64:
		put_double(out, *CAT(double, obj, f->off));
		break;
	case JK_NI64: {
		const int64_t *p = *CAT(int64_t *, obj, f->off);
		if (p)
			cs_str_put_i64(out, *p);
		else
			cs_str_puts(out, "null");
		break;
	}
	case JK_STRV: {
		char *const *v = *CAT(char **, obj, f->off);
		if (!v && (f->flags & JF_EMPTY))
			cs_str_puts(out, "[]");
		else
			cs_json_put_strv(out, v);
		break;
	}
	case JK_STRMAP: {
		const struct cs_strmap *m = *CAT(struct cs_strmap *, obj, f->off);
		if (!m && (f->flags & JF_EMPTY))
			cs_str_puts(out, "{}");
		else
			cs_json_put_strmap(out, m);
		break;
	}
	case JK_SET: {
		char *const *v = *CAT(char **, obj, f->off);
		if (!v && (f->flags & JF_EMPTY))
			cs_str_puts(out, "{}");
		else
			put_set(out, v);
		break;
	}
	case JK_OBJ: {
		const void *p = *CAT(void *, obj, f->off);
		if (p)
			cs_json_encode(f->type, p, api, out);
		else
			cs_str_puts(out, f->flags & JF_EMPTY ? "{}" : "null");
		break;
	}
	case JK_INLINE:
		cs_json_encode(f->type, (const char *)obj + f->off, api, out);
		break;
	case JK_LIST:
	case JK_MAP:
		put_items(f, obj, api, out);
		break;
	case JK_RAW: {
		const char *raw = *CAT(char *, obj, f->off);
		cs_str_puts(out, raw ? raw : "null");
		break;
	}
	case JK_TIME:
		put_time(out, *CAT(int64_t, obj, f->off));
		break;
	}
}

bool cs_json_encode_members(const struct cs_jtype *t, const void *obj, int api, struct cs_str *out)
{
	bool any = false;

	for (const struct cs_jfield *f = t->fields; f->key; f++) {
		if (f->flags & JF_OURS)
			continue;
		if (api && ((f->min_api && api < f->min_api) || (f->max_api && api > f->max_api)))
			continue;
		if ((f->flags & JF_OMIT) && is_empty(f, obj))
			continue;
		if (any)
			cs_str_putc(out, ',');
		cs_json_put_string(out, f->key);
		cs_str_putc(out, ':');
		put_value(f, obj, api, out);
		any = true;
	}
	return any;
}

void cs_json_encode(const struct cs_jtype *t, const void *obj, int api, struct cs_str *out)
{
	cs_str_putc(out, '{');
	(void)cs_json_encode_members(t, obj, api, out);
	cs_str_putc(out, '}');
}

/* ---- release and copy ---- */

void cs_json_release_items(const struct cs_jtype *t, bool map, void *items, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *item = (char *)items + i * t->size;
		if (map)
			free(*AT(char *, item, 0));
		cs_json_release(t, item);
	}
	free(items);
}


void cs_json_release(const struct cs_jtype *t, void *obj)
{
	if (!obj)
		return;
	for (const struct cs_jfield *f = t->fields; f->key; f++) {
		void **p = AT(void *, obj, f->off);
		switch (f->kind) {
		case JK_STR:
		case JK_RAW:
		case JK_NI64:
			free(*p);
			break;
		case JK_STRV:
		case JK_SET:
			cs_strv_free(*p);
			break;
		case JK_STRMAP:
			cs_strmap_free(*p);
			break;
		case JK_OBJ:
			if (*p)
				cs_json_release(f->type, *p);
			free(*p);
			break;
		case JK_INLINE:
			cs_json_release(f->type, (char *)obj + f->off);
			break;
		case JK_LIST:
		case JK_MAP:
			cs_json_release_items(f->type, f->kind == JK_MAP, *p, *AT(size_t, obj, f->count_off));
			break;
		case JK_BOOL:
		case JK_TRI:
		case JK_I64:
		case JK_U64:
		case JK_F64:
		case JK_TIME:
			break;
		}
	}
	memset(obj, 0, t->size);
}

void cs_json_copy(const struct cs_jtype *t, void *dst, const void *src)
{
	memcpy(dst, src, t->size);
	for (const struct cs_jfield *f = t->fields; f->key; f++) {
		void **d = AT(void *, dst, f->off);
		switch (f->kind) {
		case JK_STR:
		case JK_RAW:
			*d = cs_xstrdup(*d);
			break;
		case JK_NI64:
			if (*d) {
				int64_t *copy = cs_xmalloc(sizeof(*copy));
				*copy = *(int64_t *)*d;
				*d = copy;
			}
			break;
		case JK_STRV:
		case JK_SET:
			*d = cs_strv_copy(*d);
			break;
		case JK_STRMAP:
			*d = cs_strmap_copy(*d);
			break;
		case JK_OBJ:
			if (*d) {
				const void *from = *d;
				*d = cs_xcalloc(1, f->type->size);
				cs_json_copy(f->type, *d, from);
			}
			break;
		case JK_INLINE:
			cs_json_copy(f->type, (char *)dst + f->off, (const char *)src + f->off);
			break;
		case JK_LIST:
		case JK_MAP: {
			size_t n = *AT(size_t, dst, f->count_off);
			const char *from = *d;
			if (!from)
				break;
			*d = cs_xcalloc(n, f->type->size);
			for (size_t i = 0; i < n; i++) {
				char *slot = (char *)*d + i * f->type->size;
				cs_json_copy(f->type, slot, from + i * f->type->size);
				if (f->kind == JK_MAP)
					*AT(char *, slot, 0) = cs_xstrdup(*AT(char *, slot, 0));
			}
			break;
		}
		case JK_BOOL:
		case JK_TRI:
		case JK_I64:
		case JK_U64:
		case JK_F64:
		case JK_TIME:
			break;
		}
	}
}
