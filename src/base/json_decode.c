/* SPDX-License-Identifier: Apache-2.0
 *
 * Table-driven JSON, inwards: from a jansson tree into structs. The tables decide; errors name the path. No state, any thread. */
#include "base/json.h"

#include <math.h>
#include <string.h>

#include "base/json_internal.h"
#include "base/num.h"
#include "base/time.h"

static size_t span(const char *text, size_t len, size_t from, const char *set)
{
	size_t i = from;

	while (i < len && text[i] && strchr(set, text[i]))
		i++;
	return i - from;
}

/* jansson has signed 64 bit integers only, and refuses the whole text for a longer one. The same text, in which such a number is a real; or,
 * where it is exact and an uint64 holds it, a string of its digits behind a '+'. */
static void widen(const char *text, size_t len, bool exact, struct cs_str *out)
{
	for (size_t i = 0; i < len;) {
		size_t from = i;
		uint64_t v;
		if (text[i] == '"') {
			for (i++; i < len && text[i] != '"'; i++)
				i += text[i] == '\\';
			i = CS_MIN(i + 1, len);
			cs_str_put(out, text + from, i - from);
			continue;
		}
		bool negative = text[i] == '-';
		size_t digits = i + negative;
		size_t n = span(text, len, digits, "0123456789");
		i = n ? digits + n : from + 1;
		size_t rest = n ? span(text, len, i, ".eE+-0123456789") : 0;
		i += rest;
		bool small = !n || rest || cs_parse_u64n(text + digits, n, 0, (uint64_t)INT64_MAX + negative, &v);
		if (!small && exact && !negative && cs_parse_u64n(text + digits, n, 0, UINT64_MAX, &v)) {
			cs_str_putf(out, "\"+%llu\"", (unsigned long long)v);
			continue;
		}
		cs_str_put(out, text + from, i - from);
		if (!small)
			cs_str_puts(out, ".0");
	}
}

static json_t *parse(const char *text, size_t len, bool exact, size_t more, struct cs_err **err)
{
	const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL | more;
	json_error_t e;
	json_t *j = json_loadb(text, len, flags, &e);

	if (!j && json_error_code(&e) == json_error_numeric_overflow) {
		cs_autostr struct cs_str wide = CS_STR_INIT(len + len / 2 + 64);
		widen(text, len, exact, &wide);
		if (!wide.failed)
			j = json_loadb(wide.buf, wide.len, flags, &e);
	}
	if (!j && json_error_code(&e) == json_error_end_of_input_expected) /* dockerd's sentence, and where */
		cs_fail(err, CS_ERR_INVALID, 0, "unexpected content after JSON (line %d, column %d)", e.line, e.column);
	else if (!j)
		cs_fail(err, CS_ERR_INVALID, 0, "invalid JSON: %s (line %d, column %d)", e.text, e.line, e.column);
	return j;
}

json_t *cs_json_parse(const char *text, size_t len, struct cs_err **err) { return parse(text, len, false, 0, err); }
json_t *cs_json_parse_unique(const char *text, size_t len, struct cs_err **err) { return parse(text, len, false, JSON_REJECT_DUPLICATES, err); }
json_t *cs_json_parse_u64(const char *text, size_t len, struct cs_err **err) { return parse(text, len, true, 0, err); }

bool cs_json_u64(const json_t *v, uint64_t *ret)
{
	const char *digits = json_is_string(v) ? cs_prefix(json_string_value(v), "+") : NULL;

	if (digits)
		return cs_parse_u64(digits, 0, UINT64_MAX, ret);
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return false;
	*ret = (uint64_t)json_integer_value(v);
	return true;
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
		cs_json_release_items(t, map, items, i);
		return -1;
	}
	cs_json_release_items(t, map, *AT(void *, obj, f->off), *AT(size_t, obj, f->count_off));
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
		if (f->flags & (JF_NODECODE | JF_OURS))
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
