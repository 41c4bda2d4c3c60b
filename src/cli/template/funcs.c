/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions of text/template and those that Docker adds. */
#include <string.h>

#include "cli/template/node.h"
#include "cli/template/text.h"
#include "cli/template/value.h"

#define CALL(fn) static bool fn(struct tpl_arena *a, const struct tpl_value *v, size_t n, struct tpl_value *ret, const char **why)
#define MAX_TEXT ((size_t)64 << 20)

static bool fail(const char **why, const char *text)
{
	*why = text;
	return false;
}

/* The text as a value; the buffer is released. */
static bool give(struct tpl_arena *a, struct cs_str *s, struct tpl_value *ret, const char **why)
{
	bool good = !s->failed;
	if (good)
		*ret = tpl_stringn(tpl_strn(a, s->buf ? s->buf : "", s->len), s->len);
	else
		*why = "text is too long";
	cs_str_done(s);
	return good;
}

struct tpl_value tpl_indirect(struct tpl_value v, bool *nil)
{
	*nil = !v.type && v.boxed;
	while (tpl_kind_of(v) == TPL_PTR) {
		if (!v.v) {
			*nil = true;
			return v;
		}
		v = *v.v;
	}
	return v;
}

struct tpl_value tpl_printable(struct tpl_value v)
{
	bool nil, words = tpl_kind_of(v) == TPL_PTR && (v.type->elem->trait == TPL_ULIMIT || v.type->trait == TPL_PLATFORM);

	return words ? v : tpl_indirect(v, &nil);
}

bool tpl_truth(struct tpl_value v)
{
	switch (tpl_kind_of(v)) {
	case TPL_BOOL:
		return v.b;
	case TPL_INT:
	case TPL_UINT:
		return v.u != 0;
	case TPL_FLOAT:
		return v.f != 0;
	case TPL_STRING:
		return v.n > 0 || v.type->trait == TPL_TIME; /* a time is a struct */
	case TPL_SLICE:
		return v.count > 0;
	case TPL_MAP:
		return v.pairs > 0;
	case TPL_PTR:
		return v.v != NULL;
	case TPL_STRUCT:
	case TPL_OBJECT:
		return true;
	default:
		return false;
	}
}

/* ---- index, slice, len ---- */

static bool index_of(struct tpl_arena *a, struct tpl_value i, size_t len, size_t *ret, const char **why)
{
	if (!i.type)
		return fail(why, "cannot index slice/array with nil");
	if (i.type->kind != TPL_INT && i.type->kind != TPL_UINT)
		return fail(why, tpl_printf(a, "cannot index slice/array with type %s", i.boxed ? "interface {}" : tpl_type_name(i)));
	if (i.i < 0 || (uint64_t)i.i > len)
		return fail(why, tpl_printf(a, "index out of range: %lld", (long long)i.i));
	*ret = (size_t)i.i;
	return true;
}

/* May a value be a key of the map? */
static bool key_fits(struct tpl_arena *a, struct tpl_value map, struct tpl_value key, const char **why)
{
	if (!key.type)
		return fail(why, tpl_printf(a, "value is nil; should be of type %s", map.type->key->name));
	if (strcmp(tpl_type_name(key), map.type->key->name) != 0)
		return fail(why, tpl_printf(a, "value has type %s; should be %s", tpl_type_name(key), map.type->key->name));
	return true;
}

CALL(fn_index)
{
	struct tpl_value item = v[0];
	bool nil;
	size_t at;

	if (!item.type)
		return fail(why, "index of untyped nil");
	for (size_t i = 1; i < n; i++) {
		item = tpl_indirect(item, &nil);
		if (nil)
			return fail(why, "index of nil pointer");
		switch (tpl_kind_of(item)) {
		case TPL_SLICE:
		case TPL_STRING: {
			struct tpl_value i_th = v[i];
			bool string = item.type->kind == TPL_STRING;
			if (item.type->trait == TPL_TIME)
				return fail(why, "can't index item of type time.Time");
			size_t len = string ? item.n : item.count;
			i_th.boxed = false;
			if (!index_of(a, i_th, len, &at, why))
				return false;
			if (at == len) /* Go's reflect panics here, and the panic's text becomes the error */
				return fail(why, string ? "reflect: string index out of range" : "reflect: slice index out of range");
			item = string ? tpl_byte_value((unsigned char)item.s[at]) : item.v[at];
			break;
		}
		case TPL_MAP: {
			if (!key_fits(a, item, v[i], why))
				return false;
			const struct tpl_value *got = tpl_map_get(item, v[i].s, v[i].n);
			item = got ? *got : tpl_zero(a, item.type->elem);
			break;
		}
		default:
			return fail(why, tpl_printf(a, "can't index item of type %s", item.boxed && !item.type ? "interface {}" : tpl_type_name(item)));
		}
	}
	*ret = item;
	return true;
}

CALL(fn_slice)
{
	struct tpl_value item = v[0];
	size_t idx[3] = {0};

	if (!item.type)
		return fail(why, "slice of untyped nil");
	if (n > 4)
		return fail(why, tpl_printf(a, "too many slice indexes: %zu", n - 1));
	bool string = item.type->kind == TPL_STRING && item.type->trait != TPL_TIME;
	if (string && n == 4)
		return fail(why, "cannot 3-index slice a string");
	if (!string && item.type->kind != TPL_SLICE)
		return fail(why, tpl_printf(a, "can't slice item of type %s", tpl_type_name(item)));
	size_t len = string ? item.n : item.count;
	idx[1] = len;
	for (size_t i = 1; i < n; i++)
		if (!index_of(a, v[i], len, &idx[i - 1], why))
			return false;
	if (idx[0] > idx[1])
		return fail(why, tpl_printf(a, "invalid slice index: %zu > %zu", idx[0], idx[1]));
	if (n == 4 && idx[1] > idx[2])
		return fail(why, tpl_printf(a, "invalid slice index: %zu > %zu", idx[1], idx[2]));
	if (string) {
		item.s = tpl_strn(a, item.s + idx[0], idx[1] - idx[0]);
		item.n = idx[1] - idx[0];
	} else {
		item.v = item.v ? item.v + idx[0] : NULL;
		item.count = idx[1] - idx[0];
	}
	item.boxed = false;
	*ret = item;
	return true;
}

CALL(fn_len)
{
	bool nil;
	struct tpl_value item = tpl_indirect(v[0], &nil);

	if (nil)
		return fail(why, "len of nil pointer");
	switch (tpl_kind_of(item)) {
	case TPL_STRING:
		if (item.type->trait == TPL_TIME)
			break;
		*ret = tpl_int_value((int64_t)item.n);
		return true;
	case TPL_SLICE:
		*ret = tpl_int_value((int64_t)item.count);
		return true;
	case TPL_MAP:
		*ret = tpl_int_value((int64_t)item.pairs);
		return true;
	case TPL_INVALID:
		return fail(why, "reflect: call of reflect.Value.Type on zero Value");
	default:
		break;
	}
	return fail(why, tpl_printf(a, "len of type %s", tpl_type_name(item)));
}

CALL(fn_call)
{
	if (!v[0].type)
		return fail(why, "call of nil");
	return fail(why, "non-function"); /* the executor says what it is */
}

/* ---- logic, comparison ---- */

CALL(fn_not)
{
	*ret = tpl_bool_value(!tpl_truth(v[0]));
	return true;
}

/* and, or: the executor does them, since they do not look at every argument */
CALL(fn_unreachable) { return fail(why, "unreachable"); }

enum basic { BAD, BOOL, INT, UINT, FLOAT, STRING };
static enum basic basic_of(struct tpl_value v)
{
	if (v.type && v.type->trait == TPL_TIME)
		return BAD;
	switch (tpl_kind_of(v)) {
	case TPL_BOOL:
		return BOOL;
	case TPL_INT:
		return INT;
	case TPL_UINT:
		return UINT;
	case TPL_FLOAT:
		return FLOAT;
	case TPL_STRING:
		return STRING;
	default:
		return BAD;
	}
}

static bool nil_of(struct tpl_value v)
{
	enum tpl_kind k = tpl_kind_of(v);
	return k == TPL_INVALID || (k == TPL_PTR && !v.v) || (k == TPL_SLICE && !v.v) || (k == TPL_MAP && !v.p);
}

static const char *shown(struct tpl_arena *a, struct tpl_value v)
{
	struct cs_str s = CS_STR_INIT(MAX_TEXT);
	tpl_sprint(&s, v);
	char *text = tpl_strn(a, s.buf ? s.buf : "", s.len);
	cs_str_done(&s);
	return text;
}

static const char bad_types[] = "incompatible types for comparison";

static bool deep_equal(struct tpl_value x, struct tpl_value y)
{
	struct cs_str s = CS_STR_INIT(MAX_TEXT), t = CS_STR_INIT(MAX_TEXT);
	tpl_marshal(&s, x, false, NULL);
	tpl_marshal(&t, y, false, NULL);
	bool same = x.type == y.type && s.len == t.len && memcmp(s.buf, t.buf, s.len) == 0;
	cs_str_done(&s);
	cs_str_done(&t);
	return same;
}

/* Both of no basic kind: equal if both are nil; structs compare, maps and slices do not. */
static bool odd_equal(struct tpl_arena *a, struct tpl_value x, struct tpl_value y, bool *truth, const char **why)
{
	if (tpl_kind_of(x) != tpl_kind_of(y) && x.type && y.type)
		return fail(why, tpl_printf(a, "non-comparable types %s: %s, %s: %s", shown(a, x), tpl_type_name(x), tpl_type_name(y), shown(a, y)));
	if (nil_of(x) || nil_of(y)) {
		*truth = nil_of(x) == nil_of(y);
		return true;
	}
	if (y.type->kind == TPL_SLICE || y.type->kind == TPL_MAP)
		return fail(why, tpl_printf(a, "non-comparable type %s: %s", shown(a, y), tpl_type_name(y)));
	*truth = y.type->kind == TPL_PTR ? x.v == y.v : y.type->kind == TPL_OBJECT ? x.obj == y.obj : deep_equal(x, y);
	return true;
}

static bool equal(struct tpl_arena *a, struct tpl_value x, struct tpl_value y, bool *truth, const char **why)
{
	enum basic k1 = basic_of(x), k2 = basic_of(y);

	*truth = false;
	if (k1 != k2) {
		if ((k1 == INT && k2 == UINT) || (k1 == UINT && k2 == INT))
			*truth = x.u == y.u && (k1 == INT ? x.i : y.i) >= 0;
		else if (x.type && y.type)
			return fail(why, bad_types);
		return true;
	}
	switch (k1) {
	case BOOL:
		*truth = x.b == y.b;
		break;
	case INT:
	case UINT:
		*truth = x.u == y.u;
		break;
	case FLOAT:
		*truth = x.f == y.f;
		break;
	case STRING:
		*truth = x.n == y.n && memcmp(x.s, y.s, x.n) == 0;
		break;
	case BAD:
		return odd_equal(a, x, y, truth, why);
	}
	return true;
}

static bool less(struct tpl_value x, struct tpl_value y, bool *truth, const char **why)
{
	enum basic k1 = basic_of(x), k2 = basic_of(y);

	if (k1 == BAD || k2 == BAD)
		return fail(why, "invalid type for comparison");
	if (k1 != k2) {
		if (k1 == INT && k2 == UINT)
			*truth = x.i < 0 || x.u < y.u;
		else if (k1 == UINT && k2 == INT)
			*truth = y.i >= 0 && x.u < y.u;
		else
			return fail(why, bad_types);
		return true;
	}
	switch (k1) {
	case INT:
		*truth = x.i < y.i;
		break;
	case UINT:
		*truth = x.u < y.u;
		break;
	case FLOAT:
		*truth = x.f < y.f;
		break;
	case STRING: {
		int c = memcmp(x.s, y.s, CS_MIN(x.n, y.n));
		*truth = c < 0 || (c == 0 && x.n < y.n);
		break;
	}
	default:
		return fail(why, "invalid type for comparison");
	}
	return true;
}

CALL(fn_eq)
{
	bool truth = false;

	if (n < 2)
		return fail(why, "missing argument for comparison");
	for (size_t i = 1; i < n && !truth; i++)
		if (!equal(a, v[0], v[i], &truth, why))
			return false;
	*ret = tpl_bool_value(truth);
	return true;
}

CALL(fn_ne)
{
	bool truth;
	if (!equal(a, v[0], v[1], &truth, why))
		return false;
	*ret = tpl_bool_value(!truth);
	return true;
}

static bool ordered(struct tpl_arena *a, const struct tpl_value *v, bool or_equal, bool negate, struct tpl_value *ret, const char **why)
{
	bool truth;
	if (!less(v[0], v[1], &truth, why) || (!truth && or_equal && !equal(a, v[0], v[1], &truth, why)))
		return false;
	*ret = tpl_bool_value(truth != negate);
	return true;
}
CALL(fn_lt) { return ordered(a, v, false, false, ret, why); }
CALL(fn_le) { return ordered(a, v, true, false, ret, why); }
CALL(fn_gt) { return ordered(a, v, true, true, ret, why); }
CALL(fn_ge) { return ordered(a, v, false, true, ret, why); }

/* ---- printing, escaping ---- */

CALL(fn_print)
{
	struct cs_str s = CS_STR_INIT(MAX_TEXT);
	tpl_sprint_args(&s, v, n, false);
	return give(a, &s, ret, why);
}

CALL(fn_println)
{
	struct cs_str s = CS_STR_INIT(MAX_TEXT);
	tpl_sprint_args(&s, v, n, true);
	return give(a, &s, ret, why);
}

CALL(fn_printf)
{
	struct cs_str s = CS_STR_INIT(MAX_TEXT);
	tpl_sprintf(&s, v[0], v + 1, n - 1);
	return give(a, &s, ret, why);
}

/* What html, js and urlquery work on: as a template would print it. */
static void printable(struct cs_str *s, const struct tpl_value *v, size_t n)
{
	bool before = false;

	for (size_t i = 0; i < n; i++) {
		struct tpl_value x = tpl_printable(v[i]);
		if (!x.type)
			x = tpl_stringn("<no value>", 10);
		bool string = x.type->kind == TPL_STRING && x.type->trait != TPL_TIME;
		if (i && !string && !before)
			cs_str_putc(s, ' ');
		tpl_sprint(s, x);
		before = string;
	}
}

CALL(fn_html)
{
	struct cs_str in = CS_STR_INIT(MAX_TEXT), out = CS_STR_INIT(MAX_TEXT);
	static const char *const to[128] = {['"'] = "&#34;", ['\''] = "&#39;", ['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;"};

	printable(&in, v, n);
	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = (unsigned char)in.buf[i];
		if (!c)
			cs_str_puts(&out, "\xef\xbf\xbd");
		else if (c < 128 && to[c])
			cs_str_puts(&out, to[c]);
		else
			cs_str_putc(&out, (char)c);
	}
	cs_str_done(&in);
	return give(a, &out, ret, why);
}

CALL(fn_js)
{
	struct cs_str in = CS_STR_INIT(MAX_TEXT), out = CS_STR_INIT(MAX_TEXT);
	size_t len;

	printable(&in, v, n);
	for (size_t i = 0; i < in.len; i += len) {
		uint32_t r = tpl_rune(in.buf + i, in.len - i, &len);
		if (r == '\\' || r == '\'' || r == '"')
			cs_str_put(&out, (char[]){'\\', (char)r}, 2);
		else if (r == '<' || r == '>' || r == '&' || r == '=' || r < ' ' || (r >= 0x80 && !tpl_rune_is_print(r)))
			cs_str_putf(&out, "\\u%04X", (unsigned)r);
		else
			cs_str_put(&out, in.buf + i, len);
	}
	cs_str_done(&in);
	return give(a, &out, ret, why);
}

CALL(fn_urlquery)
{
	struct cs_str in = CS_STR_INIT(MAX_TEXT), out = CS_STR_INIT(MAX_TEXT);

	printable(&in, v, n);
	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = (unsigned char)in.buf[i];
		if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' || c == '_' || c == '.' || c == '~')
			cs_str_putc(&out, (char)c);
		else if (c == ' ')
			cs_str_putc(&out, '+');
		else
			cs_str_putf(&out, "%%%02X", c);
	}
	cs_str_done(&in);
	return give(a, &out, ret, why);
}

/* ---- Docker's ---- */

CALL(fn_json)
{
	struct cs_str s = CS_STR_INIT(MAX_TEXT);
	tpl_marshal(&s, v[0], false, a);
	return give(a, &s, ret, why);
}

CALL(fn_split)
{
	size_t count = 0, cap = 8, sep = v[1].n, len;
	struct tpl_value *parts = cs_xreallocarray(NULL, cap, sizeof(*parts));
	const char *p = v[0].s, *end = p + v[0].n;

	for (bool more = true; more;) {
		const char *hit;
		if (sep) {
			hit = memmem(p, (size_t)(end - p), v[1].s, sep);
			more = hit != NULL;
			if (!hit)
				hit = end;
		} else { /* into characters */
			if (p >= end)
				break;
			(void)tpl_rune(p, (size_t)(end - p), &len);
			hit = p + len;
			more = hit < end;
		}
		if (count == cap) {
			cap *= 2;
			parts = cs_xreallocarray(parts, cap, sizeof(*parts));
		}
		parts[count++] = tpl_stringn(tpl_strn(a, p, (size_t)(hit - p)), (size_t)(hit - p));
		p = hit + (more ? sep : 0);
	}
	struct tpl_value *copy = tpl_alloc(a, (count + 1) * sizeof(*copy));
	if (count)
		memcpy(copy, parts, count * sizeof(*copy));
	free(parts);
	*ret = (struct tpl_value){.type = &tpl_strings, .v = copy, .count = count};
	return true;
}

CALL(fn_join)
{
	struct cs_str s = CS_STR_INIT(MAX_TEXT);

	for (size_t i = 0; i < v[0].count; i++) {
		if (i)
			cs_str_put(&s, v[1].s, v[1].n);
		cs_str_put(&s, v[0].v[i].s, v[0].v[i].n);
	}
	return give(a, &s, ret, why);
}

/* Letters of ASCII, Latin-1, Greek and Cyrillic; others stay as they are. */
static uint32_t change_case(uint32_t r, bool up)
{
	if (r < 0x80)
		return up ? (r >= 'a' && r <= 'z' ? r - 32 : r) : (r >= 'A' && r <= 'Z' ? r + 32 : r);
	if (up)
		return (r >= 0xe0 && r <= 0xfe && r != 0xf7) || (r >= 0x3b1 && r <= 0x3c9 && r != 0x3c2) || (r >= 0x430 && r <= 0x44f) ? r - 32 : r >= 0x450 && r <= 0x45f ? r - 80 : r == 0xff ? 0x178 : r == 0x3c2 ? 0x3a3 : r;
	return (r >= 0xc0 && r <= 0xde && r != 0xd7) || (r >= 0x391 && r <= 0x3a9) || (r >= 0x410 && r <= 0x42f) ? r + 32 : r >= 0x400 && r <= 0x40f ? r + 80 : r;
}

static bool is_separator(uint32_t r) { return r < 0x80 ? !tpl_rune_is_word(r) : !tpl_rune_is_word(r) && (r == 0x85 || r == 0xa0 || (r >= 0x2000 && r <= 0x200a) || r == 0x3000); }

static bool recase(struct tpl_arena *a, struct tpl_value v, bool up, bool title, struct tpl_value *ret, const char **why)
{
	struct cs_str s = CS_STR_INIT(MAX_TEXT);
	uint32_t before = ' ';
	size_t len;

	for (size_t i = 0; i < v.n; i += len) {
		uint32_t r = tpl_rune(v.s + i, v.n - i, &len);
		tpl_put_rune(&s, title ? (is_separator(before) ? change_case(r, true) : r) : change_case(r, up));
		before = r;
	}
	return give(a, &s, ret, why);
}
CALL(fn_lower) { return recase(a, v[0], false, false, ret, why); }
CALL(fn_upper) { return recase(a, v[0], true, false, ret, why); }
CALL(fn_title) { return recase(a, v[0], true, true, ret, why); }

CALL(fn_pad)
{
	struct cs_str s = CS_STR_INIT(MAX_TEXT);

	if (v[0].n == 0) {
		*ret = tpl_stringn("", 0);
		return true;
	}
	if (v[1].i < 0 || v[2].i < 0)
		return fail(why, "strings: negative Repeat count");
	for (int64_t i = 0; i < v[1].i && !s.failed; i++)
		cs_str_putc(&s, ' ');
	cs_str_put(&s, v[0].s, v[0].n);
	for (int64_t i = 0; i < v[2].i && !s.failed; i++)
		cs_str_putc(&s, ' ');
	return give(a, &s, ret, why);
}

CALL(fn_truncate)
{
	if (v[1].i < 0)
		return fail(why, tpl_printf(a, "runtime error: slice bounds out of range [:%lld]", (long long)v[1].i));
	size_t len = (uint64_t)v[1].i < v[0].n ? (size_t)v[1].i : v[0].n;
	*ret = tpl_stringn(tpl_strn(a, v[0].s, len), len);
	return true;
}

CALL(fn_same)
{
	*ret = v[0];
	return true;
}

#define V PARAM_VALUE
#define S PARAM_STRING
static const struct tpl_function functions[] = {
	{"and", fn_unreachable, {V, V}, 2, true},   {"call", fn_call, {V, V}, 2, true},       {"eq", fn_eq, {V, V}, 2, true},
	{"ge", fn_ge, {V, V}, 2, false},            {"gt", fn_gt, {V, V}, 2, false},          {"html", fn_html, {PARAM_ANY}, 1, true},
	{"index", fn_index, {V, V}, 2, true},       {"join", fn_join, {PARAM_STRINGS, S}, 2, false}, {"js", fn_js, {PARAM_ANY}, 1, true},
	{"json", fn_json, {PARAM_ANY}, 1, false},   {"le", fn_le, {V, V}, 2, false},          {"len", fn_len, {V}, 1, false},
	{"lower", fn_lower, {S}, 1, false},         {"lt", fn_lt, {V, V}, 2, false},          {"ne", fn_ne, {V, V}, 2, false},
	{"not", fn_not, {V}, 1, false},             {"or", fn_unreachable, {V, V}, 2, true},  {"pad", fn_pad, {S, PARAM_INT, PARAM_INT}, 3, false},
	{"print", fn_print, {PARAM_ANY}, 1, true},  {"printf", fn_printf, {S, PARAM_ANY}, 2, true}, {"println", fn_println, {PARAM_ANY}, 1, true},
	{"slice", fn_slice, {V, V}, 2, true},       {"split", fn_split, {S, S}, 2, false},    {"title", fn_title, {S}, 1, false},
	{"truncate", fn_truncate, {S, PARAM_INT}, 2, false}, {"upper", fn_upper, {S}, 1, false}, {"urlquery", fn_urlquery, {PARAM_ANY}, 1, true},
};
/* In the titles of a table these leave the title alone, so that `table {{json .Names}}` still has one. */
static const struct tpl_function header_functions[] = {
	{"join", fn_same, {S, S}, 2, false}, {"json", fn_same, {S}, 1, false}, {"lower", fn_same, {S}, 1, false}, {"split", fn_same, {S, S}, 2, false},
	{"title", fn_same, {S}, 1, false}, {"truncate", fn_same, {S, PARAM_INT}, 2, false}, {"upper", fn_same, {S}, 1, false},
};

const struct tpl_function *tpl_function_find(const char *name, bool header)
{
	for (size_t i = 0; header && i < CS_ARRAY_SIZE(header_functions); i++)
		if (strcmp(header_functions[i].name, name) == 0)
			return &header_functions[i];
	for (size_t i = 0; i < CS_ARRAY_SIZE(functions); i++)
		if (strcmp(functions[i].name, name) == 0)
			return &functions[i];
	return NULL;
}

bool tpl_is_function(const char *name) { return tpl_function_find(name, false) != NULL; }
