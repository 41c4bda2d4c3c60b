/* SPDX-License-Identifier: Apache-2.0
 *
 * Table-driven JSON. One walker per direction; the tables decide. No state, any thread. */
#include "base/json.h"

#include <math.h>
#include <string.h>

#include "base/num.h"
#include "base/time.h"

#define TEXT_MAX ((size_t)64 << 20)
#define AT(T, obj, off) ((T *)(void *)((char *)(obj) + (off)))
#define CAT(T, obj, off) ((T const *)(const void *)((const char *)(obj) + (off)))

json_t *cs_json_parse(const char *text, size_t len, struct cs_err **err)
{
	json_error_t e;
	json_t *j = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);

	if (!j)
		cs_fail(err, CS_ERR_INVALID, 0, "invalid JSON: %s (line %d, column %d)", e.text, e.line, e.column);
	return j;
}

/* ---- decode ---- */

static const char *type_name(const json_t *j)
{
	switch (json_typeof(j)) {
	case JSON_OBJECT:
		return "object";
	case JSON_ARRAY:
		return "array";
	case JSON_STRING:
		return "string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "boolean";
	case JSON_NULL:
		return "null";
	}
	return "nothing";
}

static int mistyped(const char *path, const char *want, const json_t *j, struct cs_err **err)
{
	return cs_fail(err, CS_ERR_INVALID, 0, "invalid JSON: %s: expected %s, got %s", *path ? path : "document", want, type_name(j));
}

static char *sub_path(const char *path, const char *key)
{
	return *path ? cs_xasprintf("%s.%s", path, key) : cs_xstrdup(key);
}

/* A C string from JSON text; a NUL inside would cut it silently, so it is refused. */
static int take_string(const json_t *j, const char *path, char **ret, struct cs_err **err)
{
	if (!json_is_string(j))
		return mistyped(path, "string", j, err);
	if (memchr(json_string_value(j), 0, json_string_length(j)))
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid JSON: %s: contains a NUL character", path);
	*ret = cs_xstrdup(json_string_value(j));
	return 0;
}

static int decode_strv(const json_t *j, unsigned flags, const char *path, char ***ret, struct cs_err **err)
{
	cs_autostrv char **v = NULL;

	if (json_is_string(j) && (flags & JF_ONE)) {
		char *s;
		if (take_string(j, path, &s, err) < 0)
			return -1;
		cs_strv_take(&v, s);
	} else if (json_is_array(j)) {
		size_t i;
		json_t *item;
		v = cs_xcalloc(json_array_size(j) + 1, sizeof(*v)); /* no push: it counts, and the client decides how many there are */
		json_array_foreach(j, i, item)
		{
			char *s = NULL;
			cs_autofree char *p = cs_xasprintf("%s[%zu]", path, i);
			if (json_is_null(item))
				s = cs_xstrdup("");
			else if (take_string(item, p, &s, err) < 0)
				return -1;
			v[i] = s;
		}
	} else {
		return mistyped(path, flags & JF_ONE ? "string or array of strings" : "array of strings", j, err);
	}
	cs_strv_free(*ret);
	*ret = TAKE_PTR(v);
	return 0;
}

static int decode_strmap(json_t *j, unsigned flags, const char *path, struct cs_strmap **ret, struct cs_err **err)
{
	const char *key;
	json_t *val;

	if (!json_is_object(j))
		return mistyped(path, "object of strings", j, err);
	struct cs_strmap *m = cs_strmap_new();
	m->kv = cs_xcalloc(json_object_size(j) + 1, sizeof(*m->kv)); /* no look-up for each: keys of an object differ */
	json_object_foreach(j, key, val)
	{
		char *s = NULL;
		cs_autofree char *p = sub_path(path, key);
		if (json_is_null(val)) {
			s = cs_xstrdup("");
		} else if (take_string(val, p, &s, err) < 0) {
			cs_strmap_free(m);
			return -1;
		}
		m->kv[m->n++] = (struct cs_kv){cs_xstrdup(key), s};
	}
	cs_strmap_free(*ret);
	*ret = m;
	return 0;
}

static int decode_int(const json_t *j, const struct cs_jfield *f, const char *path, int64_t *ret, struct cs_err **err)
{
	bool is_unsigned = f->kind == JK_U64;

	if (json_is_integer(j)) {
		*ret = json_integer_value(j);
	} else if ((f->flags & JF_LAX) && json_is_string(j)) {
		if (!*json_string_value(j))
			*ret = 0;
		else if (!cs_parse_i64(json_string_value(j), INT64_MIN, INT64_MAX, ret))
			return mistyped(path, "integer", j, err);
	} else if (json_is_real(j)) {
		double d = json_real_value(j);
		if (d != floor(d) || fabs(d) > 9007199254740992.0)
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid JSON: %s: expected integer, got number %g", path, d);
		*ret = (int64_t)d;
	} else {
		return mistyped(path, "integer", j, err);
	}
	if (is_unsigned && *ret < 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid JSON: %s: expected non-negative integer, got %lld", path, (long long)*ret);
	return 0;
}

static int decode_raw(const json_t *j, const char *path, char **ret, struct cs_err **err)
{
	char *s = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);
	if (!s)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid JSON: %s", path);
	free(*ret);
	*ret = s;
	return 0;
}

static int decode_set(json_t *j, const char *path, char ***ret, struct cs_err **err)
{
	const char *key;
	json_t *val;

	if (!json_is_object(j))
		return mistyped(path, "object", j, err);
	char **v = cs_xcalloc(json_object_size(j) + 1, sizeof(*v));
	size_t n = 0;
	json_object_foreach(j, key, val)
	{
		if (!json_is_object(val) && !json_is_null(val)) {
			cs_autofree char *p = sub_path(path, key);
			cs_strv_free(v);
			return mistyped(p, "object", val, err);
		}
		v[n++] = cs_xstrdup(key);
	}
	cs_strv_free(*ret);
	*ret = v;
	return 0;
}

static void release_items(const struct cs_jtype *t, bool map, void *items, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *item = (char *)items + i * t->size;
		if (map)
			free(*AT(char *, item, 0));
		cs_json_release(t, item);
	}
	free(items);
}

static int decode_list(json_t *j, const struct cs_jfield *f, const char *path, void *obj, struct cs_err **err)
{
	const struct cs_jtype *t = f->type;
	bool map = f->kind == JK_MAP;

	if (map ? !json_is_object(j) : !json_is_array(j))
		return mistyped(path, map ? "object" : "array", j, err);
	size_t n = map ? json_object_size(j) : json_array_size(j), i = 0;
	char *items = cs_xcalloc(n, t->size);
	const char *key = NULL;
	json_t *item;
	int r = 0;

	if (map) {
		json_object_foreach(j, key, item)
		{
			cs_autofree char *p = sub_path(path, key);
			void *slot = items + i++ * t->size;
			if (!json_is_null(item))
				r = cs_json_decode(t, item, slot, p, err);
			free(*AT(char *, slot, 0));
			*AT(char *, slot, 0) = cs_xstrdup(key);
			if (r < 0)
				break;
		}
	} else {
		size_t k;
		json_array_foreach(j, k, item)
		{
			cs_autofree char *p = cs_xasprintf("%s[%zu]", path, k);
			i = k + 1;
			if (!json_is_null(item))
				r = cs_json_decode(t, item, items + k * t->size, p, err);
			if (r < 0)
				break;
		}
	}
	if (r < 0) {
		release_items(t, map, items, i);
		return -1;
	}
	release_items(t, map, *AT(void *, obj, f->off), *AT(size_t, obj, f->count_off));
	*AT(void *, obj, f->off) = items;
	*AT(size_t, obj, f->count_off) = n;
	return 0;
}

static int decode_field(const struct cs_jfield *f, json_t *j, void *obj, const char *path, struct cs_err **err)
{
	int64_t i;

	switch (f->kind) {
	case JK_STR: {
		char *s = NULL;
		if ((f->flags & JF_LAX) && json_is_integer(j))
			s = cs_xasprintf("%lld", (long long)json_integer_value(j));
		else if (take_string(j, path, &s, err) < 0)
			return -1;
		free(*AT(char *, obj, f->off));
		*AT(char *, obj, f->off) = s;
		return 0;
	}
	case JK_BOOL:
		if (!json_is_boolean(j))
			return mistyped(path, "boolean", j, err);
		*AT(bool, obj, f->off) = json_is_true(j);
		return 0;
	case JK_TRI:
		if (!json_is_boolean(j))
			return mistyped(path, "boolean", j, err);
		*AT(enum cs_tri, obj, f->off) = json_is_true(j) ? CS_TRUE : CS_FALSE;
		return 0;
	case JK_I64:
	case JK_U64:
		return decode_int(j, f, path, AT(int64_t, obj, f->off), err);
	case JK_F64:
		if (!json_is_number(j))
			return mistyped(path, "number", j, err);
		*AT(double, obj, f->off) = json_number_value(j);
		return 0;
	case JK_NI64:
		if (decode_int(j, f, path, &i, err) < 0)
			return -1;
		free(*AT(int64_t *, obj, f->off));
		*AT(int64_t *, obj, f->off) = cs_xmalloc(sizeof(i));
		**AT(int64_t *, obj, f->off) = i;
		return 0;
	case JK_STRV:
		return decode_strv(j, f->flags, path, AT(char **, obj, f->off), err);
	case JK_STRMAP:
		return decode_strmap(j, f->flags, path, AT(struct cs_strmap *, obj, f->off), err);
	case JK_SET:
		return decode_set(j, path, AT(char **, obj, f->off), err);
	case JK_OBJ: {
		void **p = AT(void *, obj, f->off);
		if (!*p)
			*p = cs_xcalloc(1, f->type->size);
		return cs_json_decode(f->type, j, *p, path, err);
	}
	case JK_INLINE:
		return cs_json_decode(f->type, j, (char *)obj + f->off, path, err);
	case JK_LIST:
	case JK_MAP:
		return decode_list(j, f, path, obj, err);
	case JK_RAW:
		return decode_raw(j, path, AT(char *, obj, f->off), err);
	case JK_TIME:
		if (!json_is_string(j))
			return mistyped(path, "RFC 3339 time", j, err);
		if (!cs_time_parse(json_string_value(j), AT(int64_t, obj, f->off)))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid JSON: %s: not an RFC 3339 time: \"%.64s\"", path, json_string_value(j));
		return 0;
	}
	return cs_fail(err, CS_ERR_INTERNAL, 0, "%s: bad table", path);
}

/* Exact name first, then without case, as Go does. */
static json_t *lookup(json_t *in, const char *want)
{
	const char *key;
	json_t *val = json_object_get(in, want), *item;

	if (val)
		return val;
	json_object_foreach(in, key, item) if (strcasecmp(key, want) == 0) val = item;
	return val;
}

int cs_json_decode(const struct cs_jtype *t, json_t *in, void *obj, const char *path, struct cs_err **err)
{
	if (!json_is_object(in))
		return mistyped(*path ? path : t->name, "object", in, err);
	for (const struct cs_jfield *f = t->fields; f->key; f++) {
		if (f->flags & JF_NODECODE)
			continue;
		json_t *val = lookup(in, f->key);
		if (!val || json_is_null(val)) {
			if (!(f->flags & JF_REQUIRED))
				continue;
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid JSON: %s%s%s is missing", path, *path ? "." : "", f->key);
		}
		cs_autofree char *p = sub_path(path, f->key);
		if (decode_field(f, val, obj, p, err) < 0)
			return -1;
	}
	return 0;
}

int cs_json_decode_text(const struct cs_jtype *t, const char *text, void *obj, struct cs_err **err)
{
	cs_autojson json_t *j = cs_json_parse(text, strlen(text), err);
	return j ? cs_json_decode(t, j, obj, "", err) : -1;
}

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

/* The shortest text that reads back as the same double, as Go prints. */
static void put_double(struct cs_str *out, double d)
{
	char buf[40];

	if (!isfinite(d))
		d = 0;
	for (int prec = 1; prec <= 17; prec++) {
		(void)snprintf(buf, sizeof(buf), "%.*g", prec, d);
		if (strtod(buf, NULL) == d)
			break;
	}
	cs_str_puts(out, buf);
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
			release_items(f->type, f->kind == JK_MAP, *p, *AT(size_t, obj, f->count_off));
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
