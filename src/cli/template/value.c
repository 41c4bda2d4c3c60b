/* SPDX-License-Identifier: Apache-2.0
 *
 * Values: the basic types, and JSON text to values. */
#include <string.h>

#include "cli/template/text.h"
#include "cli/template/value.h"

const struct tpl_type tpl_any = {.name = "interface {}", .kind = TPL_IFACE};
const struct tpl_type tpl_bool = {.name = "bool", .kind = TPL_BOOL};
const struct tpl_type tpl_int = {.name = "int", .kind = TPL_INT};
const struct tpl_type tpl_int64 = {.name = "int64", .kind = TPL_INT};
const struct tpl_type tpl_uint64 = {.name = "uint64", .kind = TPL_UINT};
const struct tpl_type tpl_float64 = {.name = "float64", .kind = TPL_FLOAT};
const struct tpl_type tpl_string = {.name = "string", .kind = TPL_STRING};
const struct tpl_type tpl_number = {.name = "json.Number", .kind = TPL_STRING, .trait = TPL_NUMBER};
const struct tpl_type tpl_strings = {.name = "[]string", .kind = TPL_SLICE, .elem = &tpl_string};
const struct tpl_type tpl_anys = {.name = "[]interface {}", .kind = TPL_SLICE, .elem = &tpl_any};
const struct tpl_type tpl_map_any = {.name = "map[string]interface {}", .kind = TPL_MAP, .key = &tpl_string, .elem = &tpl_any};
const struct tpl_type tpl_map_string = {.name = "map[string]string", .kind = TPL_MAP, .key = &tpl_string, .elem = &tpl_string};
const struct tpl_type tpl_headers = {.name = "formatter.SubHeaderContext", .kind = TPL_MAP, .trait = TPL_HEADERS, .key = &tpl_string, .elem = &tpl_string};
static const struct tpl_type byte_type = {.name = "uint8", .kind = TPL_UINT, .bits = 8};

const struct tpl_value tpl_nothing; /* also what a non-nil empty slice points at */
const struct tpl_pair tpl_no_pair;

struct tpl_value tpl_stringn(const char *s, size_t n) { return (struct tpl_value){.type = &tpl_string, .s = s, .n = n}; }
struct tpl_value tpl_byte_value(unsigned char c) { return (struct tpl_value){.type = &byte_type, .u = c}; }

struct tpl_value tpl_str_value(struct tpl_arena *a, const char *s)
{
	size_t n = s ? strlen(s) : 0;
	return tpl_stringn(tpl_strn(a, s, n), n);
}

struct tpl_value tpl_int_value(int64_t i) { return (struct tpl_value){.type = &tpl_int, .i = i}; }
struct tpl_value tpl_i64_value(int64_t i) { return (struct tpl_value){.type = &tpl_int64, .i = i}; }
struct tpl_value tpl_bool_value(bool b) { return (struct tpl_value){.type = &tpl_bool, .b = b}; }

struct tpl_value tpl_object_value(struct tpl_arena *a, const struct tpl_class *class, void *self)
{
	static const struct tpl_type type = {.name = "object", .kind = TPL_OBJECT};
	struct tpl_object *o = tpl_alloc(a, sizeof(*o));
	o->class = class;
	o->self = self;
	return (struct tpl_value){.type = &type, .obj = o};
}

static int compare_keys(const struct tpl_value *x, const struct tpl_value *y)
{
	int c = memcmp(x->s, y->s, CS_MIN(x->n, y->n));
	return c ? c : x->n < y->n ? -1 : x->n > y->n;
}

static int compare_pairs(const void *x, const void *y)
{
	const struct tpl_pair *const *p = x, *const *q = y;
	int c = compare_keys(&(*p)->key, &(*q)->key);
	return c ? c : *p < *q ? -1 : *p > *q;
}

/* Sorts n pairs; of equal keys the last one stays. */
static struct tpl_value make_map(struct tpl_arena *a, const struct tpl_type *type, const struct tpl_pair *pairs, size_t n)
{
	const struct tpl_pair **order = cs_xreallocarray(NULL, n + 1, sizeof(*order));
	struct tpl_pair *out = tpl_alloc(a, (n + 1) * sizeof(*out));
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		order[i] = &pairs[i];
	qsort(order, n, sizeof(*order), compare_pairs);
	for (size_t i = 0; i < n; i++) {
		if (count && compare_keys(&out[count - 1].key, &order[i]->key) == 0)
			count--;
		out[count++] = *order[i];
	}
	free(order);
	return (struct tpl_value){.type = type, .p = out, .pairs = count};
}

struct tpl_value tpl_map_of(struct tpl_arena *a, const struct tpl_type *type, const char *const *keys, const char *const *values, size_t n)
{
	struct tpl_pair *pairs = tpl_alloc(a, (n + 1) * sizeof(*pairs));

	for (size_t i = 0; i < n; i++) {
		pairs[i].key = tpl_str_value(a, keys[i]);
		pairs[i].val = tpl_str_value(a, values[i]);
	}
	return make_map(a, type, pairs, n);
}

const struct tpl_value *tpl_map_get(struct tpl_value map, const char *key, size_t n)
{
	struct tpl_value want = tpl_stringn(key, n);
	size_t lo = 0, hi = map.pairs;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = compare_keys(&want, &map.p[mid].key);
		if (c == 0)
			return &map.p[mid].val;
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

/* ---- JSON ---- */

struct json {
	struct tpl_arena *a;
	const char *p, *end;
	const char *error;
	unsigned depth;
};

static struct tpl_value json_value(struct json *j);

static bool json_fail(struct json *j, const char *why)
{
	if (!j->error)
		j->error = why;
	return false;
}

static void json_blanks(struct json *j)
{
	while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\r' || *j->p == '\n'))
		j->p++;
}

static bool json_hex4(struct json *j, uint32_t *ret)
{
	uint32_t v = 0;

	if (j->end - j->p < 4)
		return json_fail(j, "unexpected end of JSON input");
	for (int i = 0; i < 4; i++, j->p++) {
		char c = *j->p;
		int d = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
		if (d < 0)
			return json_fail(j, "invalid character in \\u hexadecimal character escape");
		v = v << 4 | (uint32_t)d;
	}
	*ret = v;
	return true;
}

static void json_escape(struct json *j, struct cs_str *out)
{
	static const char names[] = "\"\\/bfnrt", plain[] = "\"\\/\b\f\n\r\t";
	char c = j->p < j->end ? *j->p++ : 0;
	const char *at = c ? strchr(names, c) : NULL;
	uint32_t r = 0, low = 0;

	if (at) {
		cs_str_putc(out, plain[at - names]);
	} else if (c != 'u') {
		json_fail(j, "invalid character in string escape code");
	} else if (json_hex4(j, &r)) {
		if (r >= 0xd800 && r < 0xdc00 && j->end - j->p >= 6 && j->p[0] == '\\' && j->p[1] == 'u') {
			const char *back = j->p;
			j->p += 2;
			if (json_hex4(j, &low) && low >= 0xdc00 && low < 0xe000)
				r = 0x10000 + ((r - 0xd800) << 10) + (low - 0xdc00);
			else
				j->p = back;
		}
		tpl_put_rune(out, r);
	}
}

static struct tpl_value json_string_at(struct json *j)
{
	struct cs_str out = CS_STR_INIT((size_t)256 << 20);
	struct tpl_value v = {.type = &tpl_string, .s = ""};
	size_t len;

	j->p++;
	while (!j->error) {
		const char *run = j->p;
		while (j->p < j->end && *j->p != '"' && *j->p != '\\' && (unsigned char)*j->p >= 0x20 && (unsigned char)*j->p < 0x80)
			j->p++;
		cs_str_put(&out, run, (size_t)(j->p - run));
		if (j->p >= j->end) {
			json_fail(j, "unexpected end of JSON input");
		} else if (*j->p == '"') {
			j->p++;
			v.s = tpl_strn(j->a, out.buf ? out.buf : "", out.len);
			v.n = out.len;
			break;
		} else if (*j->p == '\\') {
			j->p++;
			json_escape(j, &out);
		} else if ((unsigned char)*j->p < 0x20) {
			json_fail(j, "invalid character in string literal");
		} else {
			tpl_put_rune(&out, tpl_rune(j->p, (size_t)(j->end - j->p), &len));
			j->p += len;
		}
	}
	if (out.failed)
		json_fail(j, "string is too long");
	cs_str_done(&out);
	return v;
}

static bool json_digits(struct json *j)
{
	const char *from = j->p;
	while (j->p < j->end && *j->p >= '0' && *j->p <= '9')
		j->p++;
	return j->p > from || json_fail(j, "invalid character in numeric literal");
}

static struct tpl_value json_number(struct json *j)
{
	const char *from = j->p;

	j->p += *j->p == '-';
	if (j->p < j->end && *j->p == '0')
		j->p++;
	else
		(void)json_digits(j);
	if (j->p < j->end && *j->p == '.') {
		j->p++;
		(void)json_digits(j);
	}
	if (j->p < j->end && (*j->p | 0x20) == 'e') {
		j->p++;
		if (j->p < j->end && (*j->p == '+' || *j->p == '-'))
			j->p++;
		(void)json_digits(j);
	}
	size_t n = (size_t)(j->p - from);
	return (struct tpl_value){.type = &tpl_number, .s = tpl_strn(j->a, from, n), .n = n};
}

struct list {
	void *items;
	size_t n, cap;
};

static void *list_push(struct list *l, size_t size)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 8;
		l->items = cs_xreallocarray(l->items, l->cap, size);
	}
	return (char *)l->items + l->n++ * size;
}

/* Elements or members up to the closing bracket. */
static struct tpl_value json_container(struct json *j, char close)
{
	struct list l = {NULL};
	bool object = close == '}';
	struct tpl_value v = tpl_nothing;

	if (++j->depth > 200)
		json_fail(j, "exceeded max depth");
	j->p++;
	json_blanks(j);
	if (j->p < j->end && *j->p == close) {
		j->p++;
	} else {
		while (!j->error) {
			struct tpl_value key = tpl_nothing;
			json_blanks(j);
			if (object) {
				if (j->p >= j->end || *j->p != '"') {
					json_fail(j, "invalid character looking for beginning of object key string");
					break;
				}
				key = json_string_at(j);
				json_blanks(j);
				if (j->error || j->p >= j->end || *j->p++ != ':') {
					json_fail(j, "invalid character after object key");
					break;
				}
			}
			struct tpl_value item = json_value(j);
			item.boxed = true;
			if (object)
				*(struct tpl_pair *)list_push(&l, sizeof(struct tpl_pair)) = (struct tpl_pair){key, item};
			else
				*(struct tpl_value *)list_push(&l, sizeof(item)) = item;
			json_blanks(j);
			char c = j->p < j->end ? *j->p++ : 0;
			if (c == close)
				break;
			if (c != ',')
				json_fail(j, c ? "invalid character after a value" : "unexpected end of JSON input");
		}
	}
	if (object) {
		v = make_map(j->a, &tpl_map_any, l.items, l.n);
	} else {
		struct tpl_value *copy = tpl_alloc(j->a, (l.n + 1) * sizeof(*copy));
		if (l.n)
			memcpy(copy, l.items, l.n * sizeof(*copy));
		v = (struct tpl_value){.type = &tpl_anys, .v = copy, .count = l.n};
	}
	free(l.items);
	j->depth--;
	return v;
}

static bool json_word(struct json *j, const char *word)
{
	size_t n = strlen(word);
	if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n) != 0)
		return json_fail(j, "invalid character looking for beginning of value");
	j->p += n;
	return true;
}

static struct tpl_value json_value(struct json *j)
{
	json_blanks(j);
	if (j->p >= j->end) {
		json_fail(j, "unexpected end of JSON input");
		return tpl_nothing;
	}
	switch (*j->p) {
	case '{':
		return json_container(j, '}');
	case '[':
		return json_container(j, ']');
	case '"':
		return json_string_at(j);
	case 't':
		return json_word(j, "true") ? tpl_bool_value(true) : tpl_nothing;
	case 'f':
		return json_word(j, "false") ? tpl_bool_value(false) : tpl_nothing;
	case 'n':
		(void)json_word(j, "null");
		return tpl_nothing;
	default:
		if (*j->p == '-' || (*j->p >= '0' && *j->p <= '9'))
			return json_number(j);
		json_fail(j, "invalid character looking for beginning of value");
		return tpl_nothing;
	}
}

bool tpl_parse_json(struct tpl_arena *a, const char *text, size_t len, struct tpl_value *ret, const char **message)
{
	struct json j = {.a = a, .p = text, .end = text + len};
	struct tpl_value v = json_value(&j);

	json_blanks(&j);
	if (!j.error && j.p < j.end)
		json_fail(&j, "invalid character after top-level value");
	*message = j.error;
	if (j.error)
		return false;
	*ret = v;
	return true;
}

/* ---- a Go type from it ---- */

/* The zero value. */
struct tpl_value tpl_zero(struct tpl_arena *a, const struct tpl_type *type)
{
	struct tpl_value v = {.type = type};

	if (type->kind == TPL_IFACE) {
		v.type = NULL;
		v.boxed = true;
	} else if (type->kind == TPL_STRING) {
		v.s = type->trait == TPL_TIME ? "0001-01-01T00:00:00Z" : "";
		v.n = strlen(v.s);
	} else if (type->kind == TPL_STRUCT || (type->kind == TPL_SLICE && type->n_fields)) { /* an array has its elements */
		struct tpl_value *f = tpl_alloc(a, (type->n_fields + 1) * sizeof(*f));
		for (size_t i = 0; i < type->n_fields; i++)
			f[i] = tpl_zero(a, type->kind == TPL_SLICE ? type->elem : type->fields[i].type);
		v.v = f;
		v.count = type->n_fields;
	}
	return v;
}

/* Go drops trailing zeros of a fraction when it prints a time that it parsed. */
static struct tpl_value typed_time(struct tpl_arena *a, struct tpl_value raw, const struct tpl_type *type)
{
	const char *dot = memchr(raw.s, '.', raw.n), *end;
	struct tpl_value v = {.type = type};

	if (raw.n < 20)
		return tpl_zero(a, type);
	if (dot) {
		for (end = dot + 1; *end >= '0' && *end <= '9'; end++)
			;
		const char *last = end;
		while (last > dot + 1 && last[-1] == '0')
			last--;
		if (last == dot + 1)
			last = dot;
		v.s = tpl_printf(a, "%.*s%s", (int)(last - raw.s), raw.s, end);
	} else {
		v.s = raw.s;
	}
	v.n = strlen(v.s);
	return v;
}

static bool same_name(const char *a, size_t n, const char *b) { return strlen(b) == n && strncasecmp(a, b, n) == 0; }

static void typed_fields(struct tpl_arena *a, const struct tpl_type *type, struct tpl_value raw, struct tpl_value *out)
{
	for (size_t i = 0; i < type->n_fields; i++) {
		const struct tpl_field *f = &type->fields[i];
		if (f->embedded) {
			out[i] = tpl_typed(a, f->type, raw);
			continue;
		}
		const struct tpl_value *got = strcmp(f->json, "-") != 0 ? tpl_map_get(raw, f->json, strlen(f->json)) : NULL;
		for (size_t k = 0; !got && k < raw.pairs; k++)
			if (same_name(raw.p[k].key.s, raw.p[k].key.n, f->json))
				got = &raw.p[k].val;
		if (got)
			out[i] = tpl_typed(a, f->type, *got);
	}
}

struct tpl_value tpl_typed(struct tpl_arena *a, const struct tpl_type *type, struct tpl_value raw)
{
	struct tpl_value v = tpl_zero(a, type);
	enum tpl_kind from = raw.type ? raw.type->kind : TPL_INVALID;

	if (from == TPL_INVALID)
		return v;
	switch (type->kind) {
	case TPL_IFACE:
		/* without UseNumber numbers of an interface are float64 */
		if (raw.type->trait == TPL_NUMBER)
			raw = (struct tpl_value){.type = &tpl_float64, .f = strtod(raw.s, NULL)};
		raw.boxed = true;
		return raw;
	case TPL_BOOL:
		if (from == TPL_BOOL)
			v.b = raw.b;
		break;
	case TPL_INT:
		if (raw.type->trait == TPL_NUMBER)
			v.i = strtoll(raw.s, NULL, 10);
		break;
	case TPL_UINT:
		if (raw.type->trait == TPL_NUMBER)
			v.u = strtoull(raw.s, NULL, 10);
		break;
	case TPL_FLOAT:
		if (raw.type->trait == TPL_NUMBER)
			v.f = strtod(raw.s, NULL);
		break;
	case TPL_STRING:
		if (from == TPL_STRING && raw.type->trait != TPL_NUMBER) {
			if (type->trait == TPL_TIME)
				return typed_time(a, raw, type);
			v.s = raw.s;
			v.n = raw.n;
		}
		break;
	case TPL_SLICE:
		if (from == TPL_SLICE || (from == TPL_STRING && type->list_or_string)) {
			size_t n = from == TPL_SLICE ? raw.count : 1;
			struct tpl_value *items = tpl_alloc(a, (n + 1) * sizeof(*items));
			for (size_t i = 0; i < n; i++)
				items[i] = tpl_typed(a, type->elem, from == TPL_SLICE ? raw.v[i] : raw);
			v.v = items;
			v.count = n;
		}
		break;
	case TPL_MAP:
		if (from == TPL_MAP) {
			struct tpl_pair *pairs = tpl_alloc(a, (raw.pairs + 1) * sizeof(*pairs));
			for (size_t i = 0; i < raw.pairs; i++) {
				pairs[i].key = raw.p[i].key;
				pairs[i].key.type = type->key;
				pairs[i].val = tpl_typed(a, type->elem, raw.p[i].val);
			}
			v.p = pairs;
			v.pairs = raw.pairs;
		}
		break;
	case TPL_PTR: {
		struct tpl_value *to = tpl_alloc(a, sizeof(*to));
		*to = tpl_typed(a, type->elem, raw);
		v.v = to;
		v.count = 1;
		break;
	}
	case TPL_STRUCT:
		if (from == TPL_MAP) {
			struct tpl_value *f = tpl_alloc(a, (type->n_fields + 1) * sizeof(*f));
			memcpy(f, v.v, type->n_fields * sizeof(*f));
			typed_fields(a, type, raw, f);
			v.v = f;
		}
		break;
	case TPL_OBJECT:
	case TPL_INVALID:
		break;
	}
	return v;
}
